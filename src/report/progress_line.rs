//! How far a run is, in one line: pure, with times from outside.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use jiff::Timestamp;

use crate::units::{Count, Period, Rate, RateTimeline, counted, local_time};

/// The rate that is shown is that of so long, or of the rate's unit if it is longer.
const RATE_WINDOW: Duration = Duration::from_secs(10);
/// Moments of which the rate is made: one for each status of a window.
const SAMPLES_MAX: usize = 64;

/// What is counted, and how much of it is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    /// In the plural.
    pub(crate) noun: &'static str,
    pub(crate) all: u64,
    pub(crate) done: u64,
    /// Rows with calls, and those that are done.
    pub(crate) rows: (u64, u64),
}

/// What has come to an end.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ProgressStep {
    pub(crate) calls: u64,
    pub(crate) rows: u64,
    /// Rows that failed, or are in doubt.
    pub(crate) failed: u64,
    /// All attempts of the calls.
    pub(crate) requests: u64,
    /// Those of them that the server refused for its limit.
    pub(crate) refused: u64,
    /// Those of them that were sent again for another reason.
    pub(crate) retried: u64,
}

/// What nothing is sent for.
#[derive(Debug, Clone)]
struct Wait {
    until: Timestamp,
    reason: String,
    since: Duration,
}

/// How far a run is, since when, and at which rate. Times are since its start.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    workload: Workload,
    rates: RateTimeline,
    /// Since the start.
    steps: ProgressStep,
    wait: Option<Wait>,
    /// The time in earlier waits.
    waited: Duration,
    /// When so many requests, or other units, were done.
    samples: VecDeque<(Duration, u64)>,
}

impl Progress {
    pub(super) fn new(workload: Workload, rates: RateTimeline) -> Self {
        let (steps, samples) = (ProgressStep::default(), VecDeque::from([(Duration::ZERO, 0)]));
        Self { workload, rates, steps, wait: None, waited: Duration::ZERO, samples }
    }

    pub(super) fn add(&mut self, step: ProgressStep) {
        let all = &mut self.steps;
        all.calls += step.calls;
        all.rows += step.rows;
        all.failed += step.failed;
        all.requests += step.requests;
        all.refused += step.refused;
        all.retried += step.retried;
    }

    /// How much is done of how much that is known by now, if nothing was planned.
    pub(super) fn set(&mut self, done: u64, all: u64) {
        self.steps.calls = done.saturating_sub(self.workload.done);
        self.steps.requests = self.steps.calls;
        self.workload.all = all;
    }

    pub(super) fn set_wait(&mut self, wait: Option<(Timestamp, &str)>, elapsed: Duration) {
        if let Some(wait) = self.wait.take() {
            self.waited += elapsed.saturating_sub(wait.since);
        }
        self.wait = wait.map(|(until, reason)| Wait { until, reason: reason.to_owned(), since: elapsed });
    }

    /// Each row that is done had a call, though perhaps none that counts.
    pub(super) fn done(&self) -> u64 {
        self.workload.done + self.steps.calls.max(self.steps.rows)
    }

    /// A probe or a second attempt of a row may need more calls than were planned.
    pub(super) fn all(&self) -> u64 {
        self.workload.all.max(self.done())
    }

    pub(super) fn rows(&self) -> (u64, u64) {
        (self.workload.rows.0, self.workload.rows.1 + self.steps.rows)
    }

    pub(super) fn steps(&self) -> ProgressStep {
        self.steps
    }

    pub(super) fn wait_text(&self) -> Option<String> {
        self.wait.as_ref().map(|wait| wait_text(wait.until, &wait.reason))
    }

    pub(super) fn rate_text(&self, elapsed: Duration) -> String {
        self.rates.text(elapsed)
    }

    /// Notes the moment, for the rate that is shown.
    pub(super) fn sample(&mut self, elapsed: Duration) {
        let window = RATE_WINDOW.max(self.rates.at(elapsed).rate.per);
        let step = window / SAMPLES_MAX as u32;
        if self.samples.back().is_some_and(|(at, _)| *at + step > elapsed) {
            return;
        }
        self.samples.push_back((elapsed, self.steps.requests));
        while self.samples.get(1).is_some_and(|(at, _)| *at + window <= elapsed) {
            self.samples.pop_front();
        }
    }

    /// The time that the rest takes, if it uses as much of the rate as the calls so
    /// far did outside of waits. Without an answer there is no estimate.
    #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
    pub(super) fn left(&self, elapsed: Duration, now: Timestamp) -> Option<Duration> {
        let done = (self.done() - self.workload.done) as f64;
        let requests = self.steps.requests as f64;
        if done == 0.0 {
            return None;
        }
        let waiting = self.wait.as_ref().map_or(Duration::ZERO, |wait| elapsed.saturating_sub(wait.since));
        let active = elapsed.saturating_sub(self.waited + waiting);
        let possible = self.rates.calls_in(elapsed, Duration::ZERO) * active.as_secs_f64()
            / elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        let share = (requests / possible).min(1.0);
        let rest = (self.all() - self.done()) as f64 * requests / done / share;
        let wait = self.wait.as_ref().map_or(Duration::ZERO, |wait| {
            Duration::try_from(now.duration_until(wait.until)).unwrap_or_default()
        });
        Some(wait.saturating_add(self.rates.time_for(rest, elapsed.saturating_add(wait))))
    }

    /// As much as fits into so many columns.
    pub(super) fn line(&self, elapsed: Duration, now: Timestamp, width: usize) -> String {
        let head = format!("{} of {} {}", Count(self.done()), Count(self.all()), self.workload.noun);
        let wait = self.wait_text();
        let left = match self.left(elapsed, now) {
            Some(left) => format!("{} left", Period(left)),
            None => format!("none in the last {}", Period(elapsed)),
        };
        let (speed, problems) = (self.speed_text(elapsed), self.problems_text());
        let fits = |parts: &[Option<&str>]| {
            let line = parts.iter().flatten().fold(head.clone(), |line, part| format!("{line}, {part}"));
            Some(line).filter(|line| line.chars().count() <= width)
        };
        let (left, speed, problems) = (Some(left.as_str()), speed.as_deref(), problems.as_deref());
        let line = match (&wait, &self.wait) {
            (Some(text), Some(wait)) => {
                let short = format!("waiting until {}", short_time(wait.until));
                let short = Some(short.as_str());
                fits(&[Some(text), problems])
                    .or_else(|| fits(&[Some(text)]))
                    .or_else(|| fits(&[short, problems]))
                    .or_else(|| fits(&[short]))
                    .or_else(|| short.filter(|short| short.len() <= width).map(str::to_owned))
            }
            _ => fits(&[speed, left, problems])
                .or_else(|| fits(&[speed, left]))
                .or_else(|| fits(&[left]))
                .or_else(|| fits(&[])),
        };
        line.unwrap_or_else(|| head.chars().take(width).collect())
    }

    /// `298/s of 300/s`
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    fn speed_text(&self, elapsed: Duration) -> Option<String> {
        let (since, before) = *self.samples.front()?;
        let (took, requests) = (elapsed.saturating_sub(since), self.steps.requests - before);
        if requests == 0 || took.is_zero() {
            return None;
        }
        let speed = rate_in_unit_of(self.rates.at(elapsed).rate, requests as f64 / took.as_secs_f64())?;
        let is_limited = self.workload.noun == "calls";
        Some(if is_limited { format!("{speed} of {}", self.rate_text(elapsed)) } else { speed.to_string() })
    }

    /// `12 refused, 3 retried, 2 rows failed`
    fn problems_text(&self) -> Option<String> {
        let ProgressStep { refused, retried, failed, .. } = self.steps;
        let counts = [
            (refused, format!("{} refused", Count(refused))),
            (retried, format!("{} retried", Count(retried))),
            (failed, format!("{} failed", counted(failed, "row"))),
        ];
        let texts: Vec<String> =
            counts.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text).collect();
        (!texts.is_empty()).then(|| texts.join(", "))
    }
}

/// A whole number, in the unit of the limit if that shows any.
fn rate_in_unit_of(limit: Rate, per_second: f64) -> Option<Rate> {
    let units = [limit.per, Duration::from_secs(60), Duration::from_secs(3600)];
    let shown = |per: &Duration| {
        let calls = NonZeroU32::new((per_second * per.as_secs_f64()).round() as u32)?;
        Some(Rate { calls, per: *per })
    };
    units.iter().find_map(shown)
}

/// The date, if it is another day.
fn short_time(time: Timestamp) -> String {
    let (time, now) = (local_time(time), local_time(Timestamp::now()));
    match time.split_once(' ') {
        Some((date, time)) if now.starts_with(date) => time.to_owned(),
        _ => time,
    }
}

/// `waiting until 21:04:10: the server fails`
pub(crate) fn wait_text(until: Timestamp, reason: &str) -> String {
    format!("waiting until {}: {reason}", short_time(until))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn progress(rates: &str, all: u64, done: u64) -> Progress {
        let rates = RateTimeline::parse(rates, "2026-11-23T19:55[UTC]");
        Progress::new(Workload { noun: "calls", all, done, rows: (all, done) }, rates)
    }

    fn calls(calls: u64) -> ProgressStep {
        ProgressStep { calls, requests: calls, ..ProgressStep::default() }
    }

    fn line(progress: &Progress, elapsed: Duration, width: usize) -> String {
        progress.line(elapsed, Timestamp::UNIX_EPOCH, width)
    }

    #[test]
    fn a_line_shows_calls_the_rate_beside_its_limit_and_the_time_left() {
        let mut progress = progress("\"300/s\"", 30_000, 1200);
        assert_eq!(line(&progress, MINUTE, 99), "1,200 of 30,000 calls, none in the last 1 min 00 s");
        progress.add(calls(298 * 60));
        progress.sample(MINUTE);
        assert_eq!(line(&progress, MINUTE, 99), "19,080 of 30,000 calls, 298/s of 300/s, 36 s left");
        progress.add(ProgressStep { refused: 12, retried: 3, failed: 1, ..ProgressStep::default() });
        let all = "19,080 of 30,000 calls, 298/s of 300/s, 36 s left, 12 refused, 3 retried, 1 row failed";
        for (width, shown) in [
            (99, all),
            (60, &all[..49]),
            (40, "19,080 of 30,000 calls, 36 s left"),
            (30, &all[..22]),
            (9, &all[..9]),
        ] {
            assert_eq!(line(&progress, MINUTE, width), shown, "{width}");
        }
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds_and_never_shown_as_none() {
        let mut progress = progress("\"300/s\"", 9000, 0);
        for second in 1..=60 {
            progress.add(calls(if second <= 40 { 300 } else { 6 }));
            progress.sample(Duration::from_secs(second));
        }
        assert!(line(&progress, MINUTE, 99).contains(", 6/s of 300/s, "), "{}", line(&progress, MINUTE, 99));
        assert!(progress.samples.len() <= SAMPLES_MAX + 2);
        let shown = |per_second, limit: &str| {
            rate_in_unit_of(limit.parse().expect("a rate"), per_second).map(|rate| rate.to_string())
        };
        assert_eq!(shown(0.4, "1/s").as_deref(), Some("24/min"));
        assert_eq!(shown(1.49, "90/min").as_deref(), Some("89/min"));
        assert_eq!(shown(0.0001, "5/s"), None);
    }

    #[test]
    fn the_time_left_holds_waits_and_follows_the_clock() {
        let night = r#"["5/s", { from = "20:00", to = "06:00", rate = "20/s" }]"#;
        let mut progress = progress(night, 3000, 0);
        progress.add(calls(300));
        // 1,200 calls in the four minutes until 20:00, then 1,500 at 20/s.
        let left = |progress: &Progress, elapsed| progress.left(elapsed, Timestamp::UNIX_EPOCH);
        assert_eq!(left(&progress, MINUTE), Some(4 * MINUTE + Duration::from_secs(75)));
        // A minute in which nothing was sent does not count as a slow one.
        let until = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(120);
        progress.set_wait(Some((until, "the server fails")), MINUTE);
        assert_eq!(left(&progress, 2 * MINUTE), Some(2 * MINUTE + MINUTE + Duration::from_secs(120)));
        progress.set_wait(None, 2 * MINUTE);
        assert_eq!(left(&progress, 2 * MINUTE), Some(3 * MINUTE + Duration::from_secs(90)));
    }

    /// A customer who exists costs a create and an update, and only one was planned.
    #[test]
    fn a_row_that_is_done_counts_as_a_call_at_least() {
        let mut progress = progress("\"300/s\"", 900, 0);
        progress.add(ProgressStep { rows: 300, requests: 600, ..ProgressStep::default() });
        assert_eq!(line(&progress, MINUTE / 30, 99), "300 of 900 calls, 300/s of 300/s, 4 s left");
    }

    #[test]
    fn a_line_shows_the_wait_and_until_when() {
        let mut progress = progress("\"5/s\"", 450, 30);
        progress.set_wait(Some((Timestamp::MAX, "the server fails")), MINUTE);
        let shown = line(&progress, MINUTE, 99);
        assert!(shown.starts_with("30 of 450 calls, waiting until 9999-12-"), "{shown}");
        assert!(shown.ends_with(": the server fails"), "{shown}");
        let short = line(&progress, MINUTE, 55);
        assert_eq!(short, shown.trim_end_matches(": the server fails"));
        assert!(line(&progress, MINUTE, 40).starts_with("waiting until 9999-12-"));
        assert_eq!(line(&progress, MINUTE, 20), "30 of 450 calls");
    }
}
