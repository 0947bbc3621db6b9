//! Who may send when: one queue for all workers.
//!
//! governor keeps the mean rate; a ring of the last N send times in front of
//! it keeps every single window of the rate's unit at N or fewer, which a
//! token bucket alone does not. One waiter asks at a time: waiters that wake
//! together leave slots unused. Whatever the server asks for holds everybody.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::stop::Switch;
use crate::units::Rate;

/// tokio's clock for governor, so that both agree on what now is.
#[derive(Debug, Clone, Copy)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The pace of all calls together.
#[derive(Debug)]
pub(super) struct Pacer {
    /// Held by the one waiter whose turn it is; fair.
    turn: Mutex<()>,
    clock: TokioClock,
    limiter: RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>,
    window: Window,
    held_until: Cell<Instant>,
}

impl Pacer {
    pub(super) fn new(rate: Rate) -> Self {
        let clock = TokioClock(Instant::now());
        // A little burst makes up for timers that wake late (at least 1 ms);
        // the window keeps it from ever showing.
        let burst = NonZeroU32::new(rate.calls.get() / 50).map_or(TWO, |burst| burst.max(TWO));
        let interval = rate.per / rate.calls.get();
        let quota =
            Quota::with_period(interval).unwrap_or(Quota::per_second(NonZeroU32::MAX)).allow_burst(burst);
        Self {
            turn: Mutex::new(()),
            clock,
            limiter: RateLimiter::direct_with_clock(quota, clock),
            window: Window::new(rate),
            held_until: Cell::new(clock.0),
        }
    }

    /// Waits for leave to send one request; `false` if the run stopped first.
    pub(super) async fn slot(&self, switch: &Switch) -> bool {
        let _turn = self.turn.lock().await;
        loop {
            if switch.is_set() {
                return false;
            }
            let now = Instant::now();
            let free = self.held_until.get().max(self.window.free_at(now));
            if free > now {
                if !switch.sleep_until(free).await {
                    return false;
                }
                continue;
            }
            match self.limiter.check() {
                Ok(()) => {
                    self.window.sent(Instant::now());
                    return true;
                }
                Err(not_until) => {
                    let wait = not_until.wait_time_from(self.clock.now());
                    if !switch.sleep(wait).await {
                        return false;
                    }
                }
            }
        }
    }

    /// Holds everybody for `wait`, from now on.
    pub(super) fn hold(&self, wait: Duration) {
        self.held_until.set(self.held_until.get().max(Instant::now() + wait));
    }
}

const TWO: NonZeroU32 = NonZeroU32::new(2).unwrap();

/// The last N send times.
#[derive(Debug)]
struct Window {
    sent: RefCell<VecDeque<Instant>>,
    calls: usize,
    per: Duration,
}

impl Window {
    fn new(rate: Rate) -> Self {
        Self { sent: RefCell::default(), calls: rate.calls.get() as usize, per: rate.per }
    }

    /// When one more request would be the N-th of its window, or now.
    fn free_at(&self, now: Instant) -> Instant {
        let sent = self.sent.borrow();
        match sent.front() {
            Some(first) if sent.len() >= self.calls => *first + self.per,
            _ => now,
        }
    }

    fn sent(&self, at: Instant) {
        let mut sent = self.sent.borrow_mut();
        if sent.len() >= self.calls {
            sent.pop_front();
        }
        sent.push_back(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Send times of `calls` requests, in a time that only sleeping moves.
    async fn send_times(rate: &str, calls: usize) -> Vec<Duration> {
        let pacer = Pacer::new(rate.parse().expect("a rate"));
        let (switch, start) = (Switch::default(), Instant::now());
        let mut times = Vec::new();
        for _ in 0..calls {
            assert!(pacer.slot(&switch).await);
            times.push(start.elapsed());
        }
        times
    }

    #[tokio::test(start_paused = true)]
    async fn no_window_holds_more_than_the_rate_and_hardly_any_slot_is_lost() {
        for (rate, calls, per) in [("5/s", 5, 1), ("200/s", 200, 1), ("10000/s", 10_000, 1), ("3/min", 3, 60)]
        {
            let per = Duration::from_secs(per);
            let times = send_times(rate, 4 * calls + 1).await;
            for (first, last) in times.iter().zip(&times[calls..]) {
                assert!(*last - *first >= per, "{rate}: {calls} more within {:?}", *last - *first);
            }
            let ideal = 4 * per;
            assert!(times[4 * calls] <= ideal + ideal / 100, "{rate}: {:?}", times[4 * calls]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_holds_everybody_and_never_gets_shorter() {
        let pacer = Pacer::new("1000/s".parse().expect("a rate"));
        let (switch, start) = (Switch::default(), Instant::now());
        pacer.hold(Duration::from_secs(7));
        pacer.hold(Duration::from_secs(3));
        assert!(pacer.slot(&switch).await);
        assert!(start.elapsed() >= Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_waiting() {
        let pacer = Pacer::new("1/h".parse().expect("a rate"));
        let switch = Switch::default();
        assert!(pacer.slot(&switch).await);
        let stopping = async {
            tokio::task::yield_now().await;
            switch.stop(super::super::Stop::Interrupted);
        };
        let (slot, ()) = tokio::join!(pacer.slot(&switch), stopping);
        assert!(!slot);
    }
}
