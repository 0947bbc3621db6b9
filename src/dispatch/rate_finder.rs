//! Which rate the server accepts, where that is less than the one set.
//!
//! A refusal cuts the rate (multiplicative decrease); from there it rises by
//! a cubic curve (RFC 9438, as TCP does): soon back near the level that was
//! found, long about there, and then faster and faster upwards, in case that
//! the server allows more by now.
//!
//! The level lies between two bounds. What got through between two refusals
//! is what a server with a large bucket or a window accepts: its bucket was
//! empty, or its window full, at both. One with a small bucket accepts
//! more, the time spent waiting for it being lost: up to the rate at which it
//! refused.
//!
//! A pure state machine: it knows no clock and sends nothing. It never goes
//! over the rate that is set.

use std::time::Duration;

use tokio::time::Instant;

/// From a cut to the level that was found.
const RECOVERY: Duration = Duration::from_secs(10);
/// A cut where nothing is measured yet.
const CUT_BLIND: f64 = 0.5;
/// And where the curve is flat after it: at the rate itself after the first
/// refusal, which may have been an accident; below it once there are more.
const LEVEL_BLIND: f64 = 0.75;
/// A cut below the level.
const CUT: f64 = 0.97;
/// The level is not set lower than this share of a rate that was refused after
/// it had gone well for so long: a wait of whole seconds for what needs
/// milliseconds would else pass for the server's slowness. What is refused
/// sooner is far too fast.
const LEVEL_MIN: f64 = 0.75;
const SUSTAINED: Duration = Duration::from_millis(500);
/// The start after an outage: a server that has just come up is not to be
/// met by everything that has piled up.
const RAMP: f64 = 0.1;
/// Of refusals that may have other reasons, none cuts the rate below this
/// share of what was measured: a server that fails at random would else be
/// called slower and slower without end.
const FLOOR_UNSURE: f64 = 0.5;
/// What counts as a measurement: so many calls in so long, at the least.
const CALLS_MIN: u64 = 10;
const SPAN_MIN: Duration = Duration::from_secs(1);
/// Before it is called the server's own, it must be so far below the rate set.
const NOTABLE: f64 = 0.95;

/// The rate in use. All rates are calls a second.
#[derive(Debug)]
pub(super) struct RateFinder {
    /// The rate that is set.
    most: f64,
    curve: Option<Curve>,
    /// What was sent before is known to have been too fast.
    cut_at: Option<Instant>,
    /// Accepted since the last cut.
    since_cut: u64,
    /// Where the measurement under way began, and what was accepted since.
    measuring: Option<(Instant, u64)>,
    /// The last measurement.
    measured: Option<f64>,
    /// All measurements together.
    total: (u64, Duration),
}

/// A rise from `base`, flat about `level`.
#[derive(Debug, Clone, Copy)]
struct Curve {
    base: f64,
    level: f64,
    since: Instant,
}

impl Curve {
    fn at(&self, now: Instant) -> f64 {
        let x = now.saturating_duration_since(self.since).as_secs_f64() / RECOVERY.as_secs_f64() - 1.0;
        self.level + (self.level - self.base) * x.powi(3)
    }
}

impl RateFinder {
    pub(super) fn new(most: f64) -> Self {
        Self {
            most,
            curve: None,
            cut_at: None,
            since_cut: 0,
            measuring: None,
            measured: None,
            total: (0, Duration::ZERO),
        }
    }

    /// The rate to go at now.
    pub(super) fn rate(&self, now: Instant) -> f64 {
        self.curve.map_or(self.most, |curve| curve.at(now).min(self.most))
    }

    /// A call was accepted.
    pub(super) fn accepted(&mut self) {
        self.since_cut += 1;
        if let Some((_, calls)) = &mut self.measuring {
            *calls += 1;
        }
    }

    /// A call sent at `sent` was refused for being one too many. `is_sure` if
    /// the server says so itself. Answers to what was sent before a cut, or
    /// while nothing was accepted since, show nothing new of the rate.
    pub(super) fn refused(&mut self, sent: Instant, now: Instant, is_sure: bool) {
        let is_known = self.cut_at.is_some_and(|cut| sent < cut || self.since_cut == 0);
        let rate = self.rate(now);
        let is_low = |measured: f64| rate < FLOOR_UNSURE * measured;
        if is_known || !is_sure && self.measured.is_some_and(is_low) {
            return;
        }
        let (base, level) = match self.measure(now) {
            Some(measured) => {
                // Nearer to the upper bound: too high costs a refusal, too low
                // costs time until the next one.
                let is_sustained = self.curve.is_some_and(|curve| now >= curve.since + SUSTAINED);
                let least = if is_sustained { LEVEL_MIN * rate } else { 0.0 };
                let level = rate.min((measured + 2.0 * rate) / 3.0).max(least);
                (CUT * level, level)
            }
            None if self.cut_at.is_none() => (CUT_BLIND * rate, rate),
            None => (CUT_BLIND * rate, LEVEL_BLIND * rate),
        };
        self.curve = Some(Curve { base, level, since: now });
        self.cut_at = Some(now);
        self.since_cut = 0;
    }

    fn measure(&mut self, now: Instant) -> Option<f64> {
        let Some((from, calls)) = self.measuring else {
            self.measuring = Some((now, 0));
            return None;
        };
        let span = now.saturating_duration_since(from);
        if calls < CALLS_MIN || span < SPAN_MIN {
            return None;
        }
        self.measuring = Some((now, 0));
        self.total = (self.total.0 + calls, self.total.1 + span);
        self.measured = Some(per_second(calls, span));
        self.measured
    }

    /// Calls go out again after a wait that the server asked for.
    pub(super) fn resume(&mut self, now: Instant) {
        if let Some(curve) = &mut self.curve {
            curve.since = now;
        }
    }

    /// Calls go out again after an outage: slowly, then up to where they were.
    /// `is_limit` if it may have been the limit after all.
    pub(super) fn ramp(&mut self, now: Instant, is_limit: bool) {
        let level = self.curve.map_or(self.most, |curve| curve.level.min(self.most));
        self.curve = Some(Curve { base: RAMP * level, level, since: now });
        // An outage measures nothing.
        self.measuring = self.measuring.filter(|_| is_limit);
    }

    /// What the server accepted, if that was less than the rate set.
    pub(super) fn found(&self, now: Instant) -> Option<f64> {
        let (calls, span) = self.total;
        let accepted = per_second(calls, span);
        (self.measured.is_some() && accepted.max(self.rate(now)) < NOTABLE * self.most).then_some(accepted)
    }
}

#[expect(clippy::cast_precision_loss, reason = "2^53 calls are centuries")]
fn per_second(calls: u64, span: Duration) -> f64 {
    calls as f64 / span.as_secs_f64().max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn let_in(tolerance: &mut RateFinder, calls: u64) {
        (0..calls).for_each(|_| tolerance.accepted());
    }

    #[test]
    fn one_refusal_halves_the_rate_and_is_forgotten() {
        let start = Instant::now();
        let mut tolerance = RateFinder::new(5.0);
        tolerance.refused(start, start, true);
        assert_eq!(tolerance.rate(start), 2.5);
        assert!(tolerance.rate(start + 5 * SECOND) > 4.6);
        assert_eq!(tolerance.rate(start + 11 * SECOND), 5.0);
        assert_eq!(tolerance.found(start + 11 * SECOND), None);
    }

    #[test]
    fn what_is_let_in_between_two_refusals_is_what_is_accepted() {
        let start = Instant::now();
        let mut tolerance = RateFinder::new(1000.0);
        let_in(&mut tolerance, 100);
        tolerance.refused(start, start, true);
        let_in(&mut tolerance, 200);
        let second = start + 2 * SECOND;
        tolerance.refused(second, second, true);
        // The curve had come to 744/s: between that and what got through.
        let level = LEVEL_MIN * 744.0;
        assert_eq!(tolerance.rate(second).round(), (CUT * level).round());
        assert_eq!(tolerance.rate(second + RECOVERY).round(), level.round());
        assert!(tolerance.rate(second + 3 * RECOVERY) > 1.2 * level);
        assert_eq!(tolerance.rate(second + 100 * RECOVERY), 1000.0);
        assert_eq!(tolerance.found(second), Some(100.0));
        // The server has come to allow what is set.
        assert_eq!(tolerance.found(second + 100 * RECOVERY), None);
    }

    #[test]
    fn refusals_of_the_same_excess_cut_once() {
        let start = Instant::now();
        let mut tolerance = RateFinder::new(1000.0);
        tolerance.refused(start, start, true);
        let later = start + SECOND / 100;
        // Sent before the cut.
        let_in(&mut tolerance, 3);
        tolerance.refused(start - SECOND / 100, later, true);
        assert!(tolerance.rate(later) >= 500.0);
        // Sent after it, but nothing was let in: the server only says "not yet".
        let mut tolerance = RateFinder::new(1000.0);
        tolerance.refused(start, start, true);
        tolerance.refused(later, later, true);
        assert!(tolerance.rate(later) >= 500.0);
    }

    #[test]
    fn unsure_refusals_do_not_sink_the_rate_without_end() {
        let mut now = Instant::now();
        let mut tolerance = RateFinder::new(1000.0);
        tolerance.refused(now, now, false);
        let_in(&mut tolerance, 100);
        now += SECOND;
        tolerance.refused(now, now, false);
        for _ in 0..100 {
            tolerance.accepted();
            now += SECOND / 100;
            tolerance.refused(now, now, false);
        }
        assert!(tolerance.rate(now) > 20.0, "{}", tolerance.rate(now));
    }

    #[test]
    fn after_an_outage_the_rate_comes_back_slowly_and_not_higher() {
        let start = Instant::now();
        let mut tolerance = RateFinder::new(100.0);
        tolerance.ramp(start, false);
        assert!((tolerance.rate(start) - 10.0).abs() < 1e-9);
        assert!(tolerance.rate(start + RECOVERY / 2) < 90.0);
        assert!(tolerance.rate(start + RECOVERY) >= 99.9);
        assert_eq!(tolerance.rate(start + 9 * RECOVERY), 100.0);
        assert_eq!(tolerance.found(start), None);
    }
}
