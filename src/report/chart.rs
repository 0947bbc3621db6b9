//! Charts as paths of SVG. The page writes the words and numbers around them, so that
//! these stay as large as its text at any width.

use serde::Serialize;
use serde_json::Value;

/// The drawing's width and height; the page stretches it.
pub(super) const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 100.0;
/// Marks on an axis, at most.
const TICKS_MAX: f64 = 5.0;
/// If the highest value is so many times the lowest, equal steps are equal ratios.
const RATIO_LINEAR_MAX: f64 = 40.0;

/// Heights of values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// From zero.
    Linear { high: f64, step: f64 },
    /// From one power of ten to another.
    Logarithmic { low: i32, high: i32 },
}

/// A mark on an axis.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Tick {
    /// Percent of the height.
    pub(super) at: f64,
    pub(super) value: f64,
}

impl Scale {
    /// From zero to a round number from `highest` on.
    pub(super) fn linear(highest: f64) -> Self {
        let rough = (highest / (TICKS_MAX - 1.0)).max(1e-3);
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * power >= rough * (1.0 - 1e-9));
        let step = step.unwrap_or(10.0) * power;
        Self::Linear { high: (highest / step).ceil().max(1.0) * step, step }
    }

    /// For values of which the small ones matter as much as the large ones.
    pub(super) fn for_ratios(lowest: f64, highest: f64) -> Self {
        if lowest <= 0.0 || highest / lowest <= RATIO_LINEAR_MAX {
            return Self::linear(highest);
        }
        let (low, high) = (lowest.log10().floor() as i32, highest.log10().ceil() as i32);
        Self::Logarithmic { low, high: high.max(low + 1) }
    }

    pub(super) fn ticks(self) -> Vec<Tick> {
        let values: Vec<f64> = match self {
            Self::Linear { high, step } => {
                (0..=(high / step).round() as u32).map(|nth| step * f64::from(nth)).collect()
            }
            Self::Logarithmic { low, high } => (low..=high).map(|power| 10_f64.powi(power)).collect(),
        };
        values.into_iter().map(|value| Tick { at: 100.0 * self.share(value), value }).collect()
    }

    /// From 0 to 1.
    fn share(self, value: f64) -> f64 {
        let share = match self {
            Self::Linear { high, .. } => value / high,
            Self::Logarithmic { low, high } => {
                (value.max(f64::MIN_POSITIVE).log10() - f64::from(low)) / f64::from(high - low)
            }
        };
        share.clamp(0.0, 1.0)
    }

    fn y(self, value: f64) -> f64 {
        HEIGHT * (1.0 - self.share(value))
    }
}

/// Where each bucket begins, and where the last one ends.
pub(super) fn edges(seconds: f64, bucket_seconds: f64, buckets: usize) -> Vec<f64> {
    let at = |nth: usize| WIDTH * (nth as f64 * bucket_seconds / seconds.max(1e-3)).min(1.0);
    (0..buckets).map(at).chain([WIDTH]).collect()
}

/// Bars from one height to another, as one path.
pub(super) fn bars(scale: Scale, edges: &[f64], from: &[f64], to: &[f64]) -> String {
    let bars = edges.windows(2).zip(from.iter().zip(to)).filter(|(_, (from, to))| to > from);
    let bar = |(edges, (from, to)): (&[f64], (&f64, &f64))| {
        // A small space tells bars apart. Of many bars there is none.
        let gap = if edges[1] - edges[0] > 6.0 { 1.0 } else { 0.0 };
        let (left, right) = (edges[0] + gap / 2.0, edges[1] - gap / 2.0);
        let (top, bottom) = (scale.y(*to), scale.y(*from));
        format!("M{} {}H{}V{}H{}z", short(left), short(bottom), short(right), short(top), short(left))
    };
    bars.map(bar).collect()
}

/// A line of steps, with gaps where there is no value.
pub(super) fn steps(scale: Scale, edges: &[f64], values: &[Option<f64>]) -> String {
    let mut path = String::new();
    let mut is_drawn = false;
    for (edges, value) in edges.windows(2).zip(values) {
        if let Some(value) = value {
            let y = short(scale.y(*value));
            let start = if is_drawn { format!("V{y}") } else { format!("M{} {y}", short(edges[0])) };
            path = format!("{path}{start}H{}", short(edges[1]));
        }
        is_drawn = value.is_some();
    }
    path
}

/// Numbers of a list in JSON.
pub(super) fn numbers(list: &Value) -> Vec<Option<f64>> {
    list.as_array().into_iter().flatten().map(Value::as_f64).collect()
}

/// As a coordinate: a tenth is less than a pixel.
fn short(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(scale: Scale) -> Vec<f64> {
        scale.ticks().iter().map(|tick| tick.value).collect()
    }

    #[test]
    fn marks_are_round_numbers_up_to_the_highest_value() {
        assert_eq!(marks(Scale::linear(5.0)), [0.0, 2.0, 4.0, 6.0]);
        assert_eq!(marks(Scale::linear(298.0)), [0.0, 100.0, 200.0, 300.0]);
        assert_eq!(marks(Scale::linear(20_000.0)), [0.0, 5000.0, 10_000.0, 15_000.0, 20_000.0]);
        assert_eq!(marks(Scale::for_ratios(4.0, 130.0)), [0.0, 50.0, 100.0, 150.0]);
        assert_eq!(marks(Scale::for_ratios(4.0, 1300.0)), [1.0, 10.0, 100.0, 1000.0, 10_000.0]);
        assert_eq!(marks(Scale::linear(0.0)).len(), 2);
        for highest in (1..4000).map(|nth| f64::from(nth) * 0.37) {
            let marks = marks(Scale::linear(highest));
            assert!(marks.len() <= 5 + 1 && marks.last().is_some_and(|last| *last >= highest), "{marks:?}");
        }
    }

    #[test]
    fn bars_and_steps_end_where_their_buckets_do() {
        let scale = Scale::linear(4.0);
        let edges = edges(2.5, 1.0, 2);
        assert_eq!(edges, [0.0, 400.0, 1000.0]);
        assert_eq!(bars(scale, &edges, &[0.0, 1.0], &[0.0, 4.0]), "M400.5 75H999.5V0H400.5z");
        let line = steps(scale, &edges, &[Some(1.0), Some(2.0)]);
        assert_eq!(line, "M0 75H400V50H1000");
        assert_eq!(steps(scale, &edges, &[None, Some(2.0)]), "M400 50H1000");
    }
}
