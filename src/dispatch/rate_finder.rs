//! Finds the rate that the server accepts, if that is less than the one set.
//!
//! A refusal cuts the rate (multiplicative decrease). Then the rate rises by a
//! cubic curve, as in TCP (RFC 9438). It is soon near the level again and stays
//! there for long. Then it rises faster and faster, since the server may allow
//! more by now.
//!
//! The level lies between two bounds. The lower one is the rate of accepted calls
//! between two refusals. A server with a large bucket or a window accepts just
//! that: at both refusals its bucket was empty, or its window full. The upper one
//! is the rate at which it refused. A server with a small bucket accepts more than
//! the lower one, since the time spent waiting for it is lost.
//!
//! A pure state machine: it reads no clock and sends nothing. It never exceeds the
//! rate that is set.

use std::time::Duration;

use tokio::time::Instant;

/// The time from a cut to the level.
const RECOVERY: Duration = Duration::from_secs(10);
/// A cut before the first measurement.
const CUT_BLIND: f64 = 0.5;
/// The level after such a cut. After the first refusal it is the rate itself, since
/// that refusal may have been an accident.
const LEVEL_BLIND: f64 = 0.75;
/// A cut below the level.
const CUT: f64 = 0.97;
/// The least level, as a share of a rate that was accepted for this long before
/// it was refused. Otherwise a server would count as slow if it asks for whole
/// seconds and needs milliseconds. A rate that is refused sooner is far too fast.
const LEVEL_MIN: f64 = 0.75;
const SUSTAINED: Duration = Duration::from_millis(500);
/// The start after an outage: a server that has just come up must not get all
/// waiting calls at once.
const RAMP: f64 = 0.1;
/// An unsure refusal cuts no rate below this share of the measured one. Otherwise
/// a server that fails at random would slow the run without end.
const FLOOR_UNSURE: f64 = 0.5;
/// The fewest calls and the shortest time of a measurement.
const CALLS_MIN: u64 = 10;
const SPAN_MIN: Duration = Duration::from_secs(1);
/// An accepted rate is reported only below this share of the rate set.
const NOTABLE: f64 = 0.95;

/// The rate in use. All rates are calls a second.
#[derive(Debug, Default)]
pub(super) struct RateFinder {
    /// The rate that is set.
    rate_max: f64,
    curve: Option<Curve>,
    /// The last cut. Calls that were sent before it were too fast.
    cut_at: Option<Instant>,
    /// Calls accepted since the last cut.
    since_cut: u64,
    /// The start of the current measurement, and the calls accepted since.
    measurement: Option<(Instant, u64)>,
    /// The result of the last measurement.
    measured_rate: Option<f64>,
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
    pub(super) fn new(rate_max: f64) -> Self {
        Self { rate_max, ..Self::default() }
    }

    /// Another rate is set. Calls at the one before measure nothing for it.
    pub(super) fn set_max(&mut self, rate_max: f64) {
        self.rate_max = rate_max;
        self.discard_measurement();
    }

    /// The rate to send at now.
    pub(super) fn rate(&self, now: Instant) -> f64 {
        self.curve.map_or(self.rate_max, |curve| curve.at(now).min(self.rate_max))
    }

    pub(super) fn count_accepted(&mut self) {
        self.since_cut += 1;
        if let Some((_, calls)) = &mut self.measurement {
            *calls += 1;
        }
    }

    /// Cuts the rate for a refusal that may have another reason than the limit.
    pub(super) fn cut_unsure(&mut self, sent_at: Instant, now: Instant) {
        let is_low = |measured: f64| self.rate(now) < FLOOR_UNSURE * measured;
        if !self.measured_rate.is_some_and(is_low) {
            self.cut(sent_at, now);
        }
    }

    /// Cuts the rate for a call sent at `sent_at`, which the server refused for
    /// its limit. Refusals of calls that were sent before the last cut show nothing
    /// new. Neither do refusals since then, before a call is accepted.
    pub(super) fn cut(&mut self, sent_at: Instant, now: Instant) {
        if self.cut_at.is_some_and(|cut_at| sent_at < cut_at || self.since_cut == 0) {
            return;
        }
        let rate = self.rate(now);
        let (base, level) = match self.measure(now) {
            Some(measured) => {
                // Nearer to the upper bound: too high costs a refusal, too low
                // costs time until the next refusal.
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
        let Some((from, calls)) = self.measurement else {
            self.measurement = Some((now, 0));
            return None;
        };
        let span = now.saturating_duration_since(from);
        if calls < CALLS_MIN || span < SPAN_MIN {
            return None;
        }
        self.measurement = Some((now, 0));
        self.total = (self.total.0 + calls, self.total.1 + span);
        self.measured_rate = Some(per_second(calls, span));
        self.measured_rate
    }

    /// Restarts the rise after a wait that the server asked for.
    pub(super) fn resume(&mut self, now: Instant) {
        if let Some(curve) = &mut self.curve {
            curve.since = now;
        }
    }

    /// Starts slowly after an outage, and rises to the former level.
    pub(super) fn ramp(&mut self, now: Instant) {
        let level = self.curve.map_or(self.rate_max, |curve| curve.level.min(self.rate_max));
        self.curve = Some(Curve { base: RAMP * level, level, since: now });
    }

    pub(super) fn discard_measurement(&mut self) {
        self.measurement = None;
    }

    /// The rate that the server accepted, if that was less than the rate set.
    pub(super) fn accepted_rate(&self, now: Instant) -> Option<f64> {
        let accepted = per_second(self.total.0, self.total.1);
        let is_notable = accepted.max(self.rate(now)) < NOTABLE * self.rate_max;
        (self.measured_rate.is_some() && is_notable).then_some(accepted)
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

    fn accept(finder: &mut RateFinder, calls: u64) {
        (0..calls).for_each(|_| finder.count_accepted());
    }

    #[test]
    fn one_refusal_halves_the_rate_for_a_short_time() {
        let start = Instant::now();
        let mut finder = RateFinder::new(5.0);
        finder.cut(start, start);
        assert_eq!(finder.rate(start), 2.5);
        assert!(finder.rate(start + 5 * SECOND) > 4.6);
        assert_eq!(finder.rate(start + 11 * SECOND), 5.0);
        assert_eq!(finder.accepted_rate(start + 11 * SECOND), None);
    }

    #[test]
    fn calls_between_two_refusals_show_the_accepted_rate() {
        let start = Instant::now();
        let mut finder = RateFinder::new(1000.0);
        accept(&mut finder, 100);
        finder.cut(start, start);
        accept(&mut finder, 200);
        let second = start + 2 * SECOND;
        finder.cut(second, second);
        // Between the 744/s of the curve and the 100/s that were accepted.
        let level = LEVEL_MIN * 744.0;
        assert_eq!(finder.rate(second).round(), (CUT * level).round());
        assert_eq!(finder.rate(second + RECOVERY).round(), level.round());
        assert!(finder.rate(second + 3 * RECOVERY) > 1.2 * level);
        assert_eq!(finder.rate(second + 100 * RECOVERY), 1000.0);
        assert_eq!(finder.accepted_rate(second), Some(100.0));
        // The server allows the rate set by now.
        assert_eq!(finder.accepted_rate(second + 100 * RECOVERY), None);
    }

    #[test]
    fn refusals_of_the_same_excess_cut_once() {
        let start = Instant::now();
        let mut finder = RateFinder::new(1000.0);
        finder.cut(start, start);
        let later = start + SECOND / 100;
        // Sent before the cut.
        accept(&mut finder, 3);
        finder.cut(start - SECOND / 100, later);
        assert!(finder.rate(later) >= 500.0);
        // Sent after it, but no call was accepted: the server only says "not yet".
        let mut finder = RateFinder::new(1000.0);
        finder.cut(start, start);
        finder.cut(later, later);
        assert!(finder.rate(later) >= 500.0);
    }

    #[test]
    fn unsure_refusals_do_not_sink_the_rate_without_end() {
        let mut now = Instant::now();
        let mut finder = RateFinder::new(1000.0);
        finder.cut_unsure(now, now);
        accept(&mut finder, 100);
        now += SECOND;
        finder.cut_unsure(now, now);
        for _ in 0..100 {
            finder.count_accepted();
            now += SECOND / 100;
            finder.cut_unsure(now, now);
        }
        assert!(finder.rate(now) > 20.0, "{}", finder.rate(now));
    }

    #[test]
    fn after_an_outage_the_rate_comes_back_slowly_and_not_higher() {
        let start = Instant::now();
        let mut finder = RateFinder::new(100.0);
        finder.ramp(start);
        assert!((finder.rate(start) - 10.0).abs() < 1e-9);
        assert!(finder.rate(start + RECOVERY / 2) < 90.0);
        assert!(finder.rate(start + RECOVERY) >= 99.9);
        assert_eq!(finder.rate(start + 9 * RECOVERY), 100.0);
        assert_eq!(finder.accepted_rate(start), None);
    }
}
