//! Whether the API is there at all: what no single row is to blame for.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use super::retry::{HOLD_MAX, Tries};

/// Without any answer for so long, an API that did answer is called unreachable.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// With no other answer than "too many requests" for so long, it is too.
const THROTTLED_MAX: Duration = Duration::from_secs(1800);

/// The shortest hold; each one that follows at once is twice as long, since a
/// server that says 0 seconds and 429 again does not mean it.
const HOLD_MIN: Duration = Duration::from_millis(50);

/// What the answers of all calls together show.
#[derive(Debug, Default)]
pub(super) struct Health {
    answered: Cell<Option<Instant>>,
    throttled_since: Cell<Option<Instant>>,
    held_until: Cell<Option<Instant>>,
    holds: Cell<u32>,
}

impl Health {
    /// An answer came.
    pub(super) fn answered(&self, throttled: bool) {
        let now = Instant::now();
        self.answered.set(Some(now));
        if !throttled {
            self.throttled_since.set(None);
            self.holds.set(0);
        } else if self.throttled_since.get().is_none() {
            self.throttled_since.set(Some(now));
        }
    }

    /// How long everybody waits when the server asks for `wait`. Answers to
    /// requests that were under way together count as one.
    pub(super) fn hold(&self, wait: Duration) -> Duration {
        let now = Instant::now();
        if self.held_until.get().is_none_or(|until| until <= now) {
            self.holds.set(self.holds.get() + 1);
        }
        let floor = HOLD_MIN.saturating_mul(1 << self.holds.get().min(16)).min(HOLD_MAX);
        let wait = wait.max(floor);
        self.held_until.set(Some(now + wait));
        wait
    }

    /// An API that has never answered gets as many tries as a call; one that
    /// has is waited for, since rows are not to blame for an outage.
    pub(super) fn is_unreachable(&self, tries: Tries, attempts: u32) -> bool {
        let silent = self.answered.get().is_none_or(|last| last.elapsed() > SILENCE_MAX);
        silent && tries.unconnected >= attempts
    }

    pub(super) fn is_only_throttling(&self) -> bool {
        self.throttled_since.get().is_some_and(|since| since.elapsed() > THROTTLED_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn holds_grow_while_nothing_else_is_answered() {
        let health = Health::default();
        let mut waits = Vec::new();
        for _ in 0..4 {
            health.answered(true);
            let wait = health.hold(Duration::ZERO);
            // A second answer of the same moment makes it no longer.
            assert_eq!(health.hold(Duration::ZERO), wait);
            waits.push(wait.as_millis());
            tokio::time::advance(wait).await;
        }
        assert_eq!(waits, [100, 200, 400, 800]);
        health.answered(false);
        health.answered(true);
        assert_eq!(health.hold(Duration::ZERO).as_millis(), 100);
        assert_eq!(health.hold(Duration::from_secs(9)), Duration::from_secs(9));
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_that_never_answered_is_given_up_sooner() {
        let health = Health::default();
        let tries = |unconnected| Tries { unconnected, ..Tries::default() };
        assert!(!health.is_unreachable(tries(2), 3) && health.is_unreachable(tries(3), 3));
        health.answered(false);
        assert!(!health.is_unreachable(tries(9), 3));
        tokio::time::advance(SILENCE_MAX + Duration::from_secs(1)).await;
        assert!(health.is_unreachable(tries(9), 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_only_asks_to_wait_is_given_up_in_the_end() {
        let health = Health::default();
        health.answered(true);
        tokio::time::advance(THROTTLED_MAX).await;
        health.answered(true);
        assert!(!health.is_only_throttling());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(health.is_only_throttling());
    }
}
