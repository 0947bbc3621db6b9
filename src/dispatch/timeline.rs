//! What a run does over time: requests, waits, and the times to an answer.
//!
//! It stays small, however long the run is: at most [`BUCKETS_MAX`] buckets of one
//! width. When they are full, each two become one. A request adds to a few counters.

use std::time::Duration;

use tokio::time::Instant;

use super::circuit_breaker::{BreakerState, Signal};
use super::waits::{Wait, WaitCause};
use crate::units::RateTimeline;

/// At most; at least half as many once they were full.
const BUCKETS_MAX: usize = 120;
/// Rates are set by the second.
const WIDTH_FIRST: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub struct Timeline {
    /// When it began, by the clock of its owner. No decision here depends on that.
    pub(crate) started: String,
    start: Instant,
    /// Of the whole, once it has ended.
    pub(crate) took: Duration,
    /// Of a bucket. The last one ends with the run.
    pub(crate) width: Duration,
    pub(crate) buckets: Vec<Bucket>,
    /// Requests a second that the settings allow in each bucket.
    pub(crate) allowed: Vec<f64>,
    /// Requests that another one of the same call followed.
    pub(crate) sent_again: u64,
    waits: [WaitTotal; WaitCause::ALL.len()],
    /// The wait that lasts, and since when.
    wait: Option<(WaitCause, Instant)>,
}

/// A part of the time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bucket {
    /// Requests that ended in it, answered or not.
    pub(crate) requests: u64,
    /// Of them, the last ones of their calls.
    pub(crate) calls: u64,
    /// Of them, those that the server refused for its limit.
    pub(crate) limited: u64,
    /// Of them, those that the server failed at, or that did not reach it.
    pub(crate) failed: u64,
    pub(crate) waited: Duration,
    /// Of the others.
    pub(crate) answers: AnswerTimes,
}

/// Waits for one cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct WaitTotal {
    pub(crate) count: u64,
    pub(crate) total: Duration,
    pub(crate) longest: Duration,
}

/// How a request ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestEnd {
    pub(super) signal: Signal,
    /// Whether the signal means that it was one too many.
    pub(super) is_limit: bool,
    /// Whether it was the last one of its call.
    pub(super) is_last: bool,
    pub(super) took: Duration,
}

impl Default for Timeline {
    fn default() -> Self {
        Self {
            started: String::new(),
            start: Instant::now(),
            took: Duration::ZERO,
            width: WIDTH_FIRST,
            buckets: Vec::new(),
            allowed: Vec::new(),
            sent_again: 0,
            waits: Default::default(),
            wait: None,
        }
    }
}

impl Timeline {
    pub(super) fn add_request(&mut self, now: Instant, end: RequestEnd) {
        let bucket = self.bucket(now);
        bucket.requests += 1;
        bucket.calls += u64::from(end.is_last);
        match end.signal {
            Signal::Good | Signal::Spent(_) => bucket.answers.add(end.took),
            _ if end.is_limit => bucket.limited += 1,
            _ => bucket.failed += 1,
        }
    }

    /// All calls wait as long as the circuit breaker is not closed.
    pub(super) fn note_breaker(&mut self, state: BreakerState, now: Instant) {
        match state {
            BreakerState::Open { cause, .. } | BreakerState::HalfOpen { cause } => {
                self.set_wait(Some(cause.into()), now);
            }
            BreakerState::Closed if self.wait.is_some_and(|(cause, _)| cause.is_of_breaker()) => {
                self.set_wait(None, now);
            }
            BreakerState::Closed => {}
        }
    }

    /// The wait that is shown to people. Those of the circuit breaker are noted already.
    pub(super) fn note_wait(&mut self, wait: Option<Wait>, now: Instant) {
        let cause = wait.map(|wait| wait.cause);
        let current = self.wait.map(|(cause, _)| cause);
        if !cause.or(current).is_some_and(WaitCause::is_of_breaker) {
            self.set_wait(cause, now);
        }
    }

    fn set_wait(&mut self, cause: Option<WaitCause>, now: Instant) {
        if self.wait.map(|(cause, _)| cause) == cause {
            return;
        }
        let ended = std::mem::replace(&mut self.wait, cause.map(|cause| (cause, now)));
        let Some((cause, since)) = ended else { return };
        let waited = now.saturating_duration_since(since);
        let total = &mut self.waits[cause as usize];
        total.count += 1;
        total.total += waited;
        total.longest = total.longest.max(waited);
        // Each bucket gets its part. This one comes first: it may make them wider.
        self.bucket(now);
        let (start, end, width) = (since - self.start, now - self.start, self.width);
        for (bucket, begin) in self.buckets.iter_mut().zip((0..).map(|nth| width * nth)) {
            bucket.waited += end.min(begin + width).saturating_sub(start.max(begin));
        }
    }

    /// Ends it. `rates` began with it, at this time.
    pub(crate) fn end(&mut self, rates: &RateTimeline, started: String) {
        self.started = started;
        let now = Instant::now();
        self.set_wait(None, now);
        self.took = now - self.start;
        self.bucket(now);
        let begins = (0..).map(|nth| self.width * nth).take(self.buckets.len());
        let allowed = begins.map(|begin| rates.calls_in(self.width, begin) / self.width.as_secs_f64());
        self.allowed = allowed.collect();
    }

    pub(crate) fn waits(&self) -> impl Iterator<Item = (WaitCause, WaitTotal)> {
        WaitCause::ALL.into_iter().zip(self.waits)
    }

    /// Of all answers together.
    pub(crate) fn answers(&self) -> AnswerTimes {
        let mut all = AnswerTimes::default();
        self.buckets.iter().for_each(|bucket| all.merge(&bucket.answers));
        all
    }

    fn bucket(&mut self, now: Instant) -> &mut Bucket {
        let elapsed = now.saturating_duration_since(self.start).as_nanos() as u64;
        let nth = loop {
            let nth = (elapsed / self.width.as_nanos() as u64) as usize;
            if nth < BUCKETS_MAX {
                break nth;
            }
            self.merge_pairs();
        };
        if nth >= self.buckets.len() {
            self.buckets.resize_with(nth + 1, Bucket::default);
        }
        &mut self.buckets[nth]
    }

    fn merge_pairs(&mut self) {
        self.width *= 2;
        let merged = self.buckets.chunks_mut(2).map(|pair| match pair {
            [first, second] => {
                first.merge(second);
                std::mem::take(first)
            }
            rest => rest.iter_mut().map(std::mem::take).next().unwrap_or_default(),
        });
        self.buckets = merged.collect();
    }
}

impl Bucket {
    fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.calls += other.calls;
        self.limited += other.limited;
        self.failed += other.failed;
        self.waited += other.waited;
        self.answers.merge(&other.answers);
    }
}

/// Shorter times count as this, in microseconds.
const SHORTEST: u32 = 64;
/// Each doubling of the time has so many classes, so a time is known within a
/// thirty-second of it.
const CLASSES: u32 = 16;
/// Doublings of the shortest time: up to 71 minutes. Longer times count as that.
const DOUBLINGS: u32 = 26;

/// How many answers took how long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AnswerTimes {
    pub(crate) count: u64,
    /// By class; empty before the first answer.
    classes: Vec<u32>,
}

impl AnswerTimes {
    pub(crate) fn add(&mut self, took: Duration) {
        if self.classes.is_empty() {
            self.classes = vec![0; (CLASSES * DOUBLINGS) as usize];
        }
        let longest = u128::from(SHORTEST) << DOUBLINGS;
        let micros = took.as_micros().clamp(SHORTEST.into(), longest - 1) as u64;
        let doublings = micros.ilog2() - SHORTEST.ilog2();
        // The shortest of a doubling has 16 of its 16th parts, the longest 31.
        let parts = micros >> (micros.ilog2() - CLASSES.ilog2());
        self.classes[(doublings * CLASSES) as usize + (parts as usize - CLASSES as usize)] += 1;
        self.count += 1;
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        if self.classes.is_empty() {
            self.classes.clone_from(&other.classes);
            return;
        }
        for (count, other) in self.classes.iter_mut().zip(&other.classes) {
            *count = count.saturating_add(*other);
        }
    }

    /// The time within which this share of the answers came, from 0 to 1.
    pub(crate) fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = (share * self.count as f64).ceil().max(1.0) as u64;
        let mut passed = 0;
        let class = self.classes.iter().position(|count| {
            passed += u64::from(*count);
            passed >= rank
        })? as u32;
        let part = (SHORTEST / CLASSES) as f64 * 2_f64.powi((class / CLASSES) as i32);
        let middle = f64::from(CLASSES + class % CLASSES) + 0.5;
        Some(Duration::from_secs_f64(part * middle / 1e6))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::circuit_breaker::OpenCause;
    use crate::units::Rate;
    use proptest::prelude::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn good(took: Duration) -> RequestEnd {
        RequestEnd { signal: Signal::Good, is_limit: false, is_last: true, took }
    }

    fn rates() -> RateTimeline {
        "5/s".parse::<Rate>().expect("a rate").into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_of_any_length_has_a_bounded_number_of_buckets() {
        for length in [1, 59, 119, 120, 121, 7000, 400 * 86_400] {
            let mut timeline = Timeline::default();
            for _ in 0..200 {
                tokio::time::advance(seconds(length) / 200).await;
                timeline.add_request(Instant::now(), good(Duration::from_millis(5)));
            }
            timeline.end(&rates(), String::new());
            let buckets = timeline.buckets.len();
            assert!(buckets <= BUCKETS_MAX && (length < 60 || buckets >= BUCKETS_MAX / 2), "{buckets}");
            assert_eq!(timeline.buckets.iter().map(|bucket| bucket.requests).sum::<u64>(), 200);
            assert_eq!(timeline.answers().count, 200);
            let begin = timeline.width * (buckets as u32 - 1);
            assert!(begin <= timeline.took && timeline.took < begin + timeline.width);
            assert!(timeline.allowed.iter().all(|allowed| (allowed - 5.0).abs() < 1e-9));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_counts_once_and_each_bucket_has_its_part() {
        let mut timeline = Timeline::default();
        let open = |cause| BreakerState::Open { cause, until: Instant::now() };
        tokio::time::advance(Duration::from_millis(500)).await;
        timeline.note_breaker(open(OpenCause::Limit), Instant::now());
        // People see it too, later.
        let wait = |cause| Some(Wait { cause, left: seconds(1) });
        timeline.note_wait(wait(WaitCause::Limit), Instant::now());
        tokio::time::advance(seconds(2)).await;
        timeline.note_breaker(BreakerState::HalfOpen { cause: OpenCause::Limit }, Instant::now());
        timeline.note_wait(None, Instant::now());
        tokio::time::advance(seconds(1)).await;
        timeline.note_breaker(BreakerState::Closed, Instant::now());
        timeline.note_wait(wait(WaitCause::CoolDown), Instant::now());
        timeline.note_breaker(BreakerState::Closed, Instant::now());
        let rest = Duration::from_millis(3750);
        tokio::time::advance(rest).await;
        timeline.end(&rates(), String::new());
        let waits: Vec<_> = timeline.waits().filter(|(_, wait)| wait.count > 0).collect();
        let total = |cause, total| (cause, WaitTotal { count: 1, total, longest: total });
        assert_eq!(waits, [total(WaitCause::Limit, seconds(3)), total(WaitCause::CoolDown, rest)]);
        let waited: Vec<f64> = timeline.buckets.iter().map(|bucket| bucket.waited.as_secs_f64()).collect();
        assert_eq!(waited, [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.25]);
    }

    #[test]
    fn what_the_server_refuses_or_fails_at_has_no_answer_time() {
        let (mut timeline, now) = (Timeline::default(), Instant::now());
        let end = good(seconds(1));
        timeline.add_request(now, end);
        timeline.add_request(now, RequestEnd { signal: Signal::Busy, is_last: false, ..end });
        timeline.add_request(now, RequestEnd { signal: Signal::Busy, is_limit: true, ..end });
        let Bucket { requests, calls, limited, failed, answers, .. } = &timeline.buckets[0];
        assert_eq!((*requests, *calls, *limited, *failed, answers.count), (3, 2, 1, 1, 1));
    }

    proptest! {
        #[test]
        fn a_time_is_known_within_a_thirty_second(micros in 64_u64..4_000_000_000, others in 0_u64..50) {
            let (mut times, took) = (AnswerTimes::default(), Duration::from_micros(micros));
            (0..others).for_each(|_| times.add(Duration::ZERO));
            (0..=others).for_each(|_| times.add(took));
            let found = times.quantile(0.95).expect("a time").as_secs_f64();
            let error = (found - took.as_secs_f64()).abs() / took.as_secs_f64();
            prop_assert!(error <= 1.0 / 32.0 + 1e-6, "{error}");
            prop_assert!(others == 0 || times.quantile(0.3).expect("a time") < Duration::from_micros(70));
        }
    }

    #[test]
    fn every_time_has_a_class() {
        let mut times = AnswerTimes::default();
        assert_eq!(times.quantile(0.5), None);
        [Duration::ZERO, Duration::MAX].into_iter().for_each(|took| times.add(took));
        assert!(times.quantile(1.0).is_some_and(|longest| longest > seconds(4000)));
    }
}
