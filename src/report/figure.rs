//! The charts of a page over time, with their words and a table of their numbers.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::Value;

use super::chart::{Scale, Tick, WIDTH, bars, edges, numbers, steps};
use super::headline::number_text;

/// Marks on the axis of time beside its start, at most.
const TIMES_MAX: u32 = 4;
/// A limit so many times as high as the bars would flatten them.
const ALLOWED_SHOWN_MAX: f64 = 4.0;
/// Shorter runs are shown by seconds from their start.
const BY_CLOCK_FROM: f64 = 60.0;

/// A chart.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    name: &'static str,
    title: &'static str,
    /// For people who do not see it.
    text: String,
    unit: &'static str,
    ticks: Vec<Tick>,
    layers: Vec<Layer>,
    /// The waits, below.
    strip: Option<Layer>,
    caption: String,
    /// What the axis of time shows, from its start to its end.
    times: Vec<String>,
    begins: Vec<String>,
    columns: Vec<Column>,
}

/// What is drawn in one color.
#[derive(Debug, Serialize)]
struct Layer {
    /// Its class of style.
    name: &'static str,
    legend: String,
    is_line: bool,
    path: String,
}

/// One number a bucket, as text.
#[derive(Debug, Serialize)]
struct Column {
    /// Its list in the summary.
    key: String,
    text: &'static str,
    cells: Vec<String>,
}

/// What all charts of a run share.
struct TimeAxis<'a> {
    timeline: &'a Value,
    seconds: f64,
    width: f64,
    edges: Vec<f64>,
}

/// The charts of a summary, by name; none if no call was due.
pub(super) fn figures(summary: &Value) -> impl Iterator<Item = (&'static str, Figure)> {
    let timeline = &summary["timeline"];
    let axis = timeline.is_object().then(|| TimeAxis::new(timeline));
    let requests = axis.as_ref().map(TimeAxis::requests).map(|figure| ("requests_figure", figure));
    let answers = axis.as_ref().and_then(|axis| axis.answers(&summary["answers"]));
    requests.into_iter().chain(answers.map(|figure| ("answers_figure", figure)))
}

impl<'a> TimeAxis<'a> {
    fn new(timeline: &'a Value) -> Self {
        let number = |key: &str| timeline[key].as_f64().unwrap_or_default();
        let (seconds, width) = (number("seconds"), number("bucket_seconds"));
        let edges = edges(seconds, width, numbers(&timeline["requests"]).len());
        Self { timeline, seconds, width, edges }
    }

    fn list(&self, key: &str) -> Vec<f64> {
        numbers(&self.timeline[key]).into_iter().map(Option::unwrap_or_default).collect()
    }

    fn sum(&self, key: &str) -> f64 {
        self.list(key).iter().sum()
    }

    /// So many seconds after the start.
    fn text(&self, at: f64) -> String {
        let started = self.timeline["started"].as_str().unwrap_or_default();
        match self.seconds {
            ..BY_CLOCK_FROM => format!("{} s", number_text((at * 10.0).round() / 10.0)),
            ..1800.0 => clock_text(started, at, "%H:%M:%S"),
            ..86_400.0 => clock_text(started, at, "%H:%M"),
            _ => clock_text(started, at, "%d %b %H:%M"),
        }
    }

    fn times(&self) -> Vec<String> {
        // Of a run of seconds, only its start and its end.
        let marks = if self.seconds < f64::from(2 * TIMES_MAX) { 1 } else { TIMES_MAX };
        (0..=marks).map(|nth| self.text(self.seconds * f64::from(nth) / f64::from(marks))).collect()
    }

    fn begins(&self) -> Vec<String> {
        (0..self.edges.len() - 1).map(|nth| self.text(self.width * nth as f64)).collect()
    }

    fn span(&self) -> String {
        let times = self.times();
        format!("from {} to {}", times[0], times[times.len() - 1])
    }

    fn columns(&self, columns: &[(&str, &'static str)]) -> Vec<Column> {
        let column = |(key, text): &(&str, &'static str)| {
            let list = key.split('.').fold(self.timeline, |value, key| &value[key]);
            let cell = |number: Option<f64>| number.map_or("–".to_owned(), number_text);
            let cells = numbers(list).into_iter().map(cell).collect();
            Column { key: format!("timeline.{key}"), text, cells }
        };
        columns.iter().map(column).collect()
    }

    /// Requests a second.
    fn requests(&self) -> Figure {
        let highest_of = |key: &str| self.list(key).into_iter().fold(0.0, f64::max);
        let (highest, allowed) = (highest_of("per_second"), highest_of("allowed_per_second"));
        let is_allowed_shown = allowed <= ALLOWED_SHOWN_MAX * highest;
        let scale = Scale::linear(if is_allowed_shown { highest.max(allowed) } else { highest });
        let mut layers = self.request_layers(scale);
        if is_allowed_shown {
            let path = steps(scale, &self.edges, &numbers(&self.timeline["allowed_per_second"]));
            let legend = "the rate that is set".to_owned();
            layers.push(Layer { name: "allowed", legend, is_line: true, path });
        }
        let text = format!(
            "Bars {}, at most {} a second. Requests refused for the limit: {}. Failed: {}. The table below has the numbers.",
            self.span(),
            number_text(highest),
            number_text(self.sum("limited")),
            number_text(self.sum("failed"))
        );
        Figure {
            name: "requests",
            title: "Requests a second",
            text,
            unit: "",
            ticks: scale.ticks(),
            layers,
            strip: self.waits(),
            caption: String::new(),
            times: self.times(),
            begins: self.begins(),
            columns: self.columns(&[
                ("requests", "requests"),
                ("calls", "calls ended"),
                ("limited", "refused for the limit"),
                ("failed", "failed"),
                ("per_second", "a second"),
                ("allowed_per_second", "allowed a second"),
                ("waited_seconds", "waited, s"),
            ]),
        }
    }

    /// Bars, each with a part that was answered, one refused for the limit, and one failed.
    fn request_layers(&self, scale: Scale) -> Vec<Layer> {
        let (requests, rates) = (self.list("requests"), self.list("per_second"));
        let (failed, limited) = (self.list("failed"), self.list("limited"));
        let troubled: Vec<f64> =
            failed.iter().zip(&limited).map(|(failed, limited)| failed + limited).collect();
        // So high do these requests of each bucket stand.
        let heights = |parts: &[f64]| -> Vec<f64> {
            let shares = parts.iter().zip(&requests).map(|(part, all)| part / all.max(1.0));
            shares.zip(&rates).map(|(share, rate)| share * rate).collect()
        };
        let (failed, troubled) = (heights(&failed), heights(&troubled));
        let bar = |name, legend, from: &[f64], to: &[f64]| Layer {
            name,
            legend,
            is_line: false,
            path: bars(scale, &self.edges, from, to),
        };
        let legend = |text: &str, key: &str| format!("{text}: {}", number_text(self.sum(key)));
        let mut layers = vec![
            bar("answered", "answered".to_owned(), &troubled, &rates),
            bar("limited", legend("refused for the limit", "limited"), &failed, &troubled),
            bar("failed", legend("failed", "failed"), &vec![0.0; rates.len()], &failed),
        ];
        layers.retain(|layer| !layer.path.is_empty());
        layers
    }

    /// The share of each bucket in which the run waited.
    fn waits(&self) -> Option<Layer> {
        let widths = self.edges.windows(2).map(|pair| self.seconds * (pair[1] - pair[0]) / WIDTH);
        let waited = self.list("waited_seconds");
        let shares: Vec<f64> =
            waited.iter().zip(widths).map(|(waited, width)| waited / width.max(1e-3)).collect();
        let path = bars(Scale::linear(1.0), &self.edges, &vec![0.0; shares.len()], &shares);
        let legend = "waited, and sent nothing".to_owned();
        (!path.is_empty()).then_some(Layer { name: "waited", legend, is_line: false, path })
    }

    /// The times within which half, 95 % and 99 % of the answers came.
    fn answers(&self, all: &Value) -> Option<Figure> {
        let lines =
            [("p99", "99 % within"), ("p95", "95 % within"), ("median", "half of the answers within")];
        let lists = lines.map(|(name, _)| numbers(&self.timeline["answer_ms"][name]));
        let times = || lists.iter().flatten().flatten().copied();
        let (lowest, highest) = (times().fold(f64::MAX, f64::min), times().fold(0.0, f64::max));
        times().next()?;
        let scale = Scale::for_ratios(lowest, highest);
        let layers = lines.iter().zip(&lists).map(|((name, legend), list)| Layer {
            name,
            legend: (*legend).to_owned(),
            is_line: true,
            path: steps(scale, &self.edges, list),
        });
        let overall = |key: &str| number_text(all[key].as_f64().unwrap_or_default());
        let text = format!(
            "Lines {}. Half of the answers came within {} ms, 95 % within {} ms and 99 % within {} ms. The table below has the numbers.",
            self.span(),
            overall("median_ms"),
            overall("p95_ms"),
            overall("p99_ms")
        );
        let ratios = matches!(scale, Scale::Logarithmic { .. });
        let ratios = if ratios { "Each line of the grid is ten times the one below. " } else { "" };
        Some(Figure {
            name: "answers",
            title: "Time to an answer",
            text,
            unit: " ms",
            ticks: scale.ticks(),
            layers: layers.collect(),
            strip: None,
            caption: format!(
                "{ratios}Without requests that were refused for the limit or failed; to within 3 %."
            ),
            times: self.times(),
            begins: self.begins(),
            columns: self.columns(&[
                ("answer_ms.median", "half within, ms"),
                ("answer_ms.p95", "95 % within, ms"),
                ("answer_ms.p99", "99 % within, ms"),
            ]),
        })
    }
}

/// A time so many seconds after another one, by the local clock.
pub(super) fn clock_text(start: &str, seconds: f64, format: &str) -> String {
    let Ok(start) = start.parse::<Timestamp>() else { return start.to_owned() };
    let time = start.checked_add(jiff::SignedDuration::from_secs_f64(seconds)).unwrap_or(start);
    time.to_zoned_datetime(TimeZone::system()).strftime(format).to_string()
}
