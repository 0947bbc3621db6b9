//! The rate limit of the whole server: a token bucket, kept as the one time at which it would be full again.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// How many calls the server accepts before it answers 429: a bucket of `calls` tokens that gains one each `per / calls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    pub calls: NonZeroU32,
    pub per: Duration,
    /// Whether a 429 holds the wait in `Retry-After`, in seconds rounded up.
    pub retry_after: bool,
}

#[derive(Debug)]
pub(super) struct RateLimiter {
    limit: RateLimit,
    full_at: Instant,
}

impl RateLimiter {
    /// Starts with a full bucket.
    pub(super) fn new(limit: RateLimit, now: Instant) -> Self {
        Self { limit, full_at: now }
    }

    /// Takes one token. If there is none, the error is the wait until the next.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let calls = self.limit.calls.get();
        let interval = self.limit.per / calls;
        let depth = interval * (calls - 1);
        let drawn = self.full_at.saturating_duration_since(now);
        if drawn > depth {
            return Err(drawn - depth);
        }
        self.full_at = now + drawn + interval;
        Ok(())
    }

    /// A wait as `Retry-After` writes it: whole seconds, rounded up; nothing where the limit keeps it to itself.
    pub(super) fn retry_after(&self, wait: Duration) -> Option<u64> {
        self.limit.retry_after.then(|| wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]
mod tests {
    use super::*;

    fn limiter(calls: u32, per: Duration, now: Instant) -> RateLimiter {
        let calls = NonZeroU32::new(calls).unwrap();
        RateLimiter::new(RateLimit { calls, per, retry_after: true }, now)
    }

    #[test]
    fn a_full_bucket_gives_its_calls_at_once_and_then_one_an_interval() {
        let start = Instant::now();
        let mut limiter = limiter(4, Duration::from_secs(2), start);
        for _ in 0..4 {
            assert_eq!(limiter.take(start), Ok(()));
        }
        assert_eq!(limiter.take(start), Err(Duration::from_millis(500)));
        let later = start + Duration::from_millis(500);
        assert_eq!(limiter.take(later), Ok(()));
        assert_eq!(limiter.take(later), Err(Duration::from_millis(500)));
    }

    #[test]
    fn a_pause_fills_the_bucket_but_not_beyond_its_size() {
        let start = Instant::now();
        let mut limiter = limiter(2, Duration::from_secs(1), start);
        let later = start + Duration::from_secs(60);
        assert_eq!(limiter.take(later), Ok(()));
        assert_eq!(limiter.take(later), Ok(()));
        assert!(limiter.take(later).is_err());
    }

    #[test]
    fn one_call_a_day_is_one_call_a_day() {
        let start = Instant::now();
        let day = Duration::from_secs(86_400);
        let mut limiter = limiter(1, day, start);
        assert_eq!(limiter.take(start), Ok(()));
        assert_eq!(limiter.take(start), Err(day));
        assert_eq!(limiter.take(start + day), Ok(()));
    }

    #[test]
    fn retry_after_is_rounded_up() {
        let limiter = limiter(1, Duration::from_secs(1), Instant::now());
        for (millis, seconds) in [(1, 1), (1000, 1), (1001, 2)] {
            assert_eq!(limiter.retry_after(Duration::from_millis(millis)), Some(seconds));
        }
    }
}
