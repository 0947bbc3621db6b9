//! The rate limit of the whole server: a token bucket, kept as the one time at which it would be full again.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// How many calls the server accepts before it answers 429.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// So many calls, all of which may come at once after a pause.
    pub calls: NonZeroU32,
    /// In this time; above zero and at most a day.
    pub per: Duration,
    /// Whether a 429 says in `Retry-After` when to come back, in seconds rounded up.
    pub retry_after: bool,
}

/// A full bucket holds `calls` tokens and gains one each `per / calls`.
#[derive(Debug)]
pub(super) struct Bucket {
    interval: Duration,
    /// How far ahead of now the bucket may be drawn; beyond that it is empty.
    depth: Duration,
    full_at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(limit: RateLimit, now: Instant) -> Self {
        let interval = limit.per / limit.calls.get();
        Self { interval, depth: interval * (limit.calls.get() - 1), full_at: now }
    }

    /// Takes one token, or says after what time there is one.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let drawn = self.full_at.saturating_duration_since(now);
        if drawn > self.depth {
            return Err(drawn - self.depth);
        }
        self.full_at = now + drawn + self.interval;
        Ok(())
    }
}

/// A wait as `Retry-After` writes it: whole seconds, rounded up, at least one.
pub(super) fn seconds_up(wait: Duration) -> u64 {
    let rest = u64::from(wait.subsec_nanos() > 0);
    (wait.as_secs() + rest).max(1)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]
mod tests {
    use super::*;

    fn bucket(calls: u32, per: Duration, now: Instant) -> Bucket {
        let calls = NonZeroU32::new(calls).unwrap();
        Bucket::new(RateLimit { calls, per, retry_after: true }, now)
    }

    #[test]
    fn a_full_bucket_gives_its_calls_at_once_and_then_one_an_interval() {
        let start = Instant::now();
        let mut bucket = bucket(4, Duration::from_secs(2), start);
        for _ in 0..4 {
            assert_eq!(bucket.take(start), Ok(()));
        }
        assert_eq!(bucket.take(start), Err(Duration::from_millis(500)));
        let later = start + Duration::from_millis(500);
        assert_eq!(bucket.take(later), Ok(()));
        assert_eq!(bucket.take(later), Err(Duration::from_millis(500)));
    }

    #[test]
    fn a_pause_fills_the_bucket_but_not_beyond_its_size() {
        let start = Instant::now();
        let mut bucket = bucket(2, Duration::from_secs(1), start);
        let later = start + Duration::from_secs(60);
        assert_eq!(bucket.take(later), Ok(()));
        assert_eq!(bucket.take(later), Ok(()));
        assert!(bucket.take(later).is_err());
    }

    #[test]
    fn one_call_a_day_is_one_call_a_day() {
        let start = Instant::now();
        let day = Duration::from_secs(86_400);
        let mut bucket = bucket(1, day, start);
        assert_eq!(bucket.take(start), Ok(()));
        assert_eq!(bucket.take(start), Err(day));
        assert_eq!(bucket.take(start + day), Ok(()));
    }

    #[test]
    fn retry_after_is_rounded_up() {
        assert_eq!(seconds_up(Duration::from_millis(1)), 1);
        assert_eq!(seconds_up(Duration::from_secs(1)), 1);
        assert_eq!(seconds_up(Duration::from_millis(1001)), 2);
    }
}
