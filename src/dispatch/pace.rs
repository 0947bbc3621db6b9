//! How the rate was used, and which settings would use it better.

use std::num::NonZeroU32;
use std::time::Duration;

use super::stop::Stop;
use super::timeline::Timeline;
use crate::units::Rate;

/// How the calls of a run ended.
#[derive(Debug, Clone, Default)]
pub struct DispatchEnd {
    /// Why it stopped early, if it did.
    pub stop: Option<Stop>,
    /// `None` if no call was due, or the run stopped at once.
    pub pace: Option<Pace>,
    /// What the calls did over time; `None` if none was due.
    pub timeline: Option<Timeline>,
}

/// How the rate was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The highest rate that was set in this time.
    pub rate: Rate,
    /// Requests that the server refused for its limit.
    pub refused: u64,
    /// The rate that the server accepted, rounded down, if that was less.
    pub accepted: Option<Rate>,
    /// The average time to an answer.
    pub answer: Option<Duration>,
    /// The concurrency that would reach the rate, if the one set could not.
    pub concurrency: Option<u32>,
}

/// Fewer answers are too few for advice.
const ANSWERS_MIN: u64 = 50;
/// The advice exceeds the bare need, since answers take different times.
const ROOM: f64 = 1.1;
/// Below this share of the rate it counts as not reached.
const REACHED: f64 = 0.98;

/// The time that answers take.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    answers: u64,
    total: Duration,
}

impl Gauge {
    /// Adds the time from a request to its answer.
    pub(super) fn add(&mut self, time: Duration) {
        self.answers += 1;
        self.total += time;
    }

    /// `accepted` is in calls a second.
    pub(super) fn pace(&self, rate: Rate, workers: NonZeroU32, refused: u64, accepted: Option<f64>) -> Pace {
        let accepted = accepted.and_then(readable_rate);
        let answer = (self.answers > 0).then(|| self.total.div_f64(self.answers as f64));
        let is_enough = self.answers >= ANSWERS_MIN.max(4 * u64::from(workers.get()));
        let needed = accepted.unwrap_or(rate).per_second() * answer.unwrap_or_default().as_secs_f64();
        let is_short = is_enough && f64::from(workers.get()) < REACHED * needed;
        let concurrency = is_short.then_some((ROOM * needed).ceil() as u32);
        Pace { rate, refused, accepted, answer, concurrency }
    }
}

/// As a person would set it: whole calls in a unit in which they are several.
fn readable_rate(per_second: f64) -> Option<Rate> {
    let units: [u32; 3] = [1, 60, 3600];
    let unit = units.into_iter().find(|unit| per_second * f64::from(*unit) >= 20.0).unwrap_or(3600);
    let calls = NonZeroU32::new((per_second * f64::from(unit)).floor() as u32)?;
    Some(Rate { calls, per: Duration::from_secs(unit.into()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().expect("a rate")
    }

    fn proposed(workers: u32, set: &str, accepted: Option<f64>, answer_ms: u64, answers: u64) -> Option<u32> {
        let mut gauge = Gauge::default();
        (0..answers).for_each(|_| gauge.add(Duration::from_millis(answer_ms)));
        gauge.pace(rate(set), NonZeroU32::new(workers).expect("workers"), 0, accepted).concurrency
    }

    #[test]
    fn the_concurrency_that_the_answers_ask_for_is_proposed() {
        assert_eq!(proposed(8, "50/s", None, 420, 1000), Some(24));
        assert_eq!(proposed(24, "50/s", None, 420, 1000), None);
        assert_eq!(proposed(8, "5/s", None, 420, 1000), None);
        // The server would not accept more.
        assert_eq!(proposed(8, "50/s", Some(10.0), 420, 1000), None);
        // Too few answers.
        assert_eq!(proposed(8, "50/s", None, 420, 20), None);
    }

    #[test]
    fn the_accepted_rate_is_as_a_person_would_set_it() {
        for (per_second, text) in [(97.9, "97/s"), (1.64, "98/min"), (0.2, "720/h"), (0.001, "3/h")] {
            assert_eq!(readable_rate(per_second), Some(rate(text)), "{per_second}");
        }
        assert_eq!(readable_rate(0.0), None);
    }
}
