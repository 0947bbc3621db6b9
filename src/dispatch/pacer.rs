//! When the next request may be sent: one queue for all workers.
//!
//! governor keeps the rate that is set, with a little credit for late timers. A
//! ring of the last N send times keeps every single window of the rate's unit
//! at N or fewer, which a token bucket alone does not. A new process starts
//! without credit. So one that is killed and started again adds one call at
//! most, also where the unit is an hour. One waiter asks at a time: waiters that
//! wake together leave slots unused.
//!
//! Below that the rate moves. It is lower if the server accepts less
//! (`rate_finder`, spaced here), and none while the server asks to wait or fails
//! (`circuit_breaker`). That holds all calls.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use super::circuit_breaker::{BreakerEvent, BreakerGate, CircuitBreaker, OpenCause, Signal};
use super::rate_finder::RateFinder;
use super::stop::StopSwitch;
use crate::units::Rate;

/// How late a send may be and still not delay those behind it: timers wake a
/// millisecond or two late, and a busy machine later.
const CREDIT: Duration = Duration::from_millis(20);

/// tokio's clock for governor, so that both agree on what now is.
#[derive(Debug, Clone, Copy)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>;

/// governor at this rate, without the credit that it would begin with.
fn limiter(rate: Rate, clock: TokioClock) -> Limiter {
    let interval = rate.per / rate.calls.get();
    let credit = (CREDIT.as_secs_f64() * rate.per_second()).ceil() as u32;
    let burst = NonZeroU32::MIN.saturating_add(credit);
    let quota = Quota::with_period(interval).unwrap_or(Quota::per_second(NonZeroU32::MAX)).allow_burst(burst);
    let limiter = RateLimiter::direct_with_clock(quota, clock);
    (1..burst.get()).for_each(|_| drop(limiter.check()));
    limiter
}

/// The pace of all calls together.
#[derive(Debug)]
pub(super) struct Pacer {
    /// Held by the one waiter whose turn it is; fair.
    turn: Mutex<()>,
    clock: TokioClock,
    limiter: Limiter,
    state: RefCell<PacerState>,
    /// The circuit breaker has opened or closed.
    changed: Notify,
}

#[derive(Debug)]
struct PacerState {
    /// When the next send is due.
    next: Instant,
    window: SendWindow,
    rate_finder: RateFinder,
    breaker: CircuitBreaker,
    refused: u64,
}

/// Permission to send one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Permit {
    /// When it was given.
    pub(super) at: Instant,
    /// Whether all others wait for its answer.
    is_trial: bool,
}

impl Pacer {
    pub(super) fn new(rate: Rate, breaker: CircuitBreaker) -> Self {
        let state = PacerState {
            next: Instant::now(),
            window: SendWindow::new(rate),
            rate_finder: RateFinder::new(rate.per_second()),
            breaker,
            refused: 0,
        };
        let clock = TokioClock(Instant::now());
        let limiter = limiter(rate, clock);
        let (turn, state, changed) = (Mutex::new(()), RefCell::new(state), Notify::new());
        Self { turn, clock, limiter, state, changed }
    }

    /// Waits until one request may be sent; `None` if the run stopped first.
    pub(super) async fn acquire(&self, switch: &StopSwitch) -> Option<Permit> {
        let _turn = self.turn.lock().await;
        while !switch.is_set() {
            let now = Instant::now();
            let free = self.state.borrow().free_at(now);
            match free {
                Some(free) if free <= now => match self.limiter.check() {
                    Ok(()) => return Some(self.state.borrow_mut().pass(now)),
                    Err(not_until) => {
                        switch.sleep_until(now + not_until.wait_time_from(self.clock.now())).await;
                    }
                },
                Some(free) => {
                    switch.sleep_until(free).await;
                }
                None => tokio::select! {
                    () = switch.wait() => {}
                    () = self.changed.notified() => {}
                },
            }
        }
        None
    }

    /// Takes in what the answer to a request of `row` shows of the server.
    pub(super) fn answered(&self, permit: Permit, row: u64, signal: Signal) -> BreakerEvent {
        let event = self.state.borrow_mut().answered(permit, row, signal, fastrand::f64());
        self.changed.notify_one();
        event
    }

    pub(super) fn with_breaker<T>(&self, change: impl FnOnce(&mut CircuitBreaker) -> T) -> T {
        change(&mut self.state.borrow_mut().breaker)
    }

    /// Requests that were refused for being too many, and the rate that the
    /// server accepted, in calls a second, if that was less than the one set.
    pub(super) fn refusals(&self) -> (u64, Option<f64>) {
        let state = self.state.borrow();
        (state.refused, state.rate_finder.found(Instant::now()))
    }
}

impl PacerState {
    /// When one may be sent, as far as is known now; `None` while one tries the server.
    fn free_at(&self, now: Instant) -> Option<Instant> {
        let due = self.next.max(self.window.free_at(now));
        match self.breaker.gate() {
            BreakerGate::Closed => Some(due),
            BreakerGate::Open(until) => Some(due.max(until)),
            BreakerGate::HalfOpen => None,
        }
    }

    fn pass(&mut self, now: Instant) -> Permit {
        let credited = now.checked_sub(CREDIT).map_or(self.next, |from| from.max(self.next));
        self.next = credited + Duration::from_secs_f64(1.0 / self.rate_finder.rate(now));
        self.window.sent(now);
        Permit { at: now, is_trial: self.breaker.pass() }
    }

    fn answered(&mut self, permit: Permit, row: u64, signal: Signal, jitter: f64) -> BreakerEvent {
        let now = Instant::now();
        let event = self.breaker.add(signal, row, permit.is_trial, now, jitter);
        if matches!(signal, Signal::Good | Signal::Spent(_)) {
            self.rate_finder.accepted();
        }
        if self.breaker.is_limit(signal) {
            self.refused += u64::from(!matches!(signal, Signal::Spent(_)));
            self.rate_finder.refused(permit.at, now, signal != Signal::Busy);
        }
        match event {
            BreakerEvent::Closed(OpenCause::Limit) => self.rate_finder.resume(now),
            BreakerEvent::Closed(OpenCause::Outage) => {
                self.rate_finder.ramp(now, self.breaker.is_limit(Signal::Busy));
            }
            _ => {}
        }
        event
    }
}

/// The last N send times.
#[derive(Debug)]
struct SendWindow {
    sent: VecDeque<Instant>,
    calls: usize,
    per: Duration,
}

impl SendWindow {
    fn new(rate: Rate) -> Self {
        Self { sent: VecDeque::new(), calls: rate.calls.get() as usize, per: rate.per }
    }

    /// When one more request would be the N-th of its window, or now.
    fn free_at(&self, now: Instant) -> Instant {
        match self.sent.front() {
            Some(first) if self.sent.len() >= self.calls => *first + self.per,
            _ => now,
        }
    }

    fn sent(&mut self, at: Instant) {
        if self.sent.len() >= self.calls {
            self.sent.pop_front();
        }
        self.sent.push_back(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pacer(rate: &str) -> Pacer {
        let breaker = CircuitBreaker::new(Duration::from_secs(3600), true);
        Pacer::new(rate.parse().expect("a rate"), breaker)
    }

    /// Send times of `calls` requests, in a time that only sleeping moves.
    async fn send_times(pacer: &Pacer, calls: usize) -> Vec<Instant> {
        let switch = StopSwitch::default();
        let mut times = Vec::new();
        for _ in 0..calls {
            times.push(pacer.acquire(&switch).await.expect("a permit").at);
        }
        times
    }

    /// The most sends in any window of this length.
    fn fullest(times: &[Instant], window: Duration) -> usize {
        let mut last = 0;
        let counts = times.iter().enumerate().map(|(first, from)| {
            while last < times.len() && times[last] - *from < window {
                last += 1;
            }
            last - first
        });
        counts.max().unwrap_or_default()
    }

    const RATES: [(&str, usize, u64); 12] = [
        ("1/s", 1, 1),
        ("5/s", 5, 1),
        ("200/s", 200, 1),
        ("999/s", 999, 1),
        ("10000/s", 10_000, 1),
        ("20000/s", 20_000, 1),
        ("1/min", 1, 60),
        ("7/min", 7, 60),
        ("6000/min", 6000, 60),
        ("1/h", 1, 3600),
        ("1000/h", 1000, 3600),
        ("100000/h", 100_000, 3600),
    ];

    #[tokio::test(start_paused = true)]
    async fn no_window_holds_more_than_the_rate_and_hardly_any_slot_is_lost() {
        for (rate, calls, per) in RATES {
            let per = Duration::from_secs(per);
            let times = send_times(&pacer(rate), 3 * calls + 1).await;
            assert!(fullest(&times, per) <= calls, "{rate}");
            let took = times[3 * calls] - times[0];
            assert!(took.mul_f64(0.995) <= 3 * per, "{rate}: {took:?}");
        }
    }

    /// Killed at any moment and started again at once: nothing is known then of
    /// what was sent before, also not that it was late and made up for it.
    #[tokio::test(start_paused = true)]
    async fn a_restart_adds_one_call_at_most() {
        for (rate, calls, per) in RATES {
            let per = Duration::from_secs(per);
            for share in [1, 2, 3] {
                let mut times = send_times(&pacer(rate), calls * share / 3 + 1).await;
                // The least that a process takes to start.
                tokio::time::advance(CREDIT).await;
                times.append(&mut send_times(&pacer(rate), calls + 1).await);
                assert!(fullest(&times, per) <= calls + 1, "{rate}: {}", fullest(&times, per));
            }
        }
    }

    /// The process is held up for 5 ms after every ten calls.
    #[tokio::test(start_paused = true)]
    async fn late_timers_cost_nothing_and_a_pause_is_not_made_up_for() {
        let pacer = pacer("1000/s");
        let mut times = Vec::new();
        for _ in 0..400 {
            times.append(&mut send_times(&pacer, 10).await);
            tokio::time::advance(Duration::from_millis(5)).await;
        }
        let second = Duration::from_secs(1);
        let took = times[3999] - times[0];
        assert!(took.mul_f64(0.995) <= 4 * second, "{took:?}");
        assert!(fullest(&times, second) <= 1000);
        tokio::time::advance(60 * second).await;
        let times = send_times(&pacer, 1000).await;
        assert!(times[999] - times[0] >= second - CREDIT - CREDIT);
        // The credit, and no more of the minute.
        let burst = fullest(&times, second / 10);
        assert!(burst <= 100 + 25, "{burst}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_holds_everybody_and_one_tries_first() {
        let pacer = pacer("1000/s");
        let switch = StopSwitch::default();
        let first = pacer.acquire(&switch).await.expect("a permit");
        let wait = Duration::from_secs(7);
        assert_eq!(pacer.answered(first, 1, Signal::Limited(Some(wait))), BreakerEvent::Held(wait));
        let held = Instant::now();
        let try_first = pacer.acquire(&switch).await.expect("a permit");
        assert!(held.elapsed() >= wait && held.elapsed() <= wait.mul_f64(1.1) + CREDIT);
        let answering = async {
            tokio::time::sleep(wait).await;
            pacer.answered(try_first, 1, Signal::Good)
        };
        let (second, event) = tokio::join!(pacer.acquire(&switch), answering);
        assert!(matches!(event, BreakerEvent::Closed(..)), "{event:?}");
        assert!(second.expect("a permit").at - try_first.at >= wait);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_waiting() {
        let pacer = pacer("1/h");
        let switch = StopSwitch::default();
        assert!(pacer.acquire(&switch).await.is_some());
        let stopping = async {
            tokio::task::yield_now().await;
            switch.stop(super::super::Stop::Interrupted);
        };
        let (slot, ()) = tokio::join!(pacer.acquire(&switch), stopping);
        assert!(slot.is_none());
    }
}
