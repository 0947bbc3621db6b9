//! When the next request may be sent: one queue for all workers.
//!
//! The rate may change by the clock. governor keeps the rate that is set, with a small credit for late timers. A
//! ring of the last N send times keeps every window of the rate's unit at N or
//! fewer, which a token bucket alone does not. A new process starts without credit.
//! So one that is killed and started again adds at most one call, also if the unit
//! is an hour. One waiter asks at a time: waiters that wake together leave slots
//! unused.
//!
//! Where the rate falls by the clock, the new one counts from then on, or a lower
//! rate by the hour would stop all calls for up to an hour. The higher rate before
//! counts until its unit has passed, so no window holds more than that.
//!
//! Where the server accepts less, the rate finder sets the time of the next send.
//! No call is sent while the server asks to wait or fails: the circuit breaker
//! holds all of them.

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

use super::circuit_breaker::{BreakerEvent, BreakerState, CallRole, CircuitBreaker, OpenCause, Signal};
use super::rate_finder::RateFinder;
use super::stop::StopSwitch;
use crate::units::{Rate, RateSpan, RateTimeline};

/// How late a send may be without delay for the next ones: timers wake a
/// millisecond or two late, and later on a busy machine.
const CREDIT: Duration = Duration::from_millis(20);

/// tokio's clock for governor, so that both agree on the time.
#[derive(Debug, Clone, Copy)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>;

/// A limiter that starts without credit.
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
    /// Held by the waiter that asks; fair.
    turn: Mutex<()>,
    clock: TokioClock,
    rates: RateTimeline,
    state: RefCell<PacerState>,
    /// The circuit breaker has opened or closed.
    changed: Notify,
}

#[derive(Debug)]
struct PacerState {
    /// When the next send is due by the rate finder.
    next: Instant,
    limiter: Limiter,
    bounds: SendBounds,
    /// When the rate changes.
    changes_at: Option<Instant>,
    /// The highest rate so far.
    highest: Rate,
    rate_finder: RateFinder,
    breaker: CircuitBreaker,
    refused: u64,
}

/// Permission to send one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Permit {
    pub(super) at: Instant,
    role: CallRole,
}

impl Pacer {
    pub(super) fn new(rates: RateTimeline, breaker: CircuitBreaker) -> Self {
        let clock = TokioClock(Instant::now());
        let RateSpan { rate, until } = rates.at(Duration::ZERO);
        let state = PacerState {
            next: clock.0,
            limiter: limiter(rate, clock),
            bounds: SendBounds::new(rate, rates.schedule().rates()),
            changes_at: until.map(|until| clock.0 + until),
            highest: rate,
            rate_finder: RateFinder::new(rate.per_second()),
            breaker,
            refused: 0,
        };
        let (turn, changed) = (Mutex::new(()), Notify::new());
        Self { turn, clock, rates, state: RefCell::new(state), changed }
    }

    /// Takes over the rate that the clock asks for.
    fn follow_clock(&self, now: Instant) {
        let mut state = self.state.borrow_mut();
        if state.changes_at.is_some_and(|at| at <= now) {
            let RateSpan { rate, until } = self.rates.at(now - self.clock.0);
            state.changes_at = until.map(|until| self.clock.0 + until);
            state.set_rate(rate, self.clock, now);
        }
    }

    /// Waits until one request may be sent; `None` if the run stopped first.
    pub(super) async fn acquire(&self, switch: &StopSwitch) -> Option<Permit> {
        let _turn = self.turn.lock().await;
        while !switch.is_set() {
            let now = Instant::now();
            self.follow_clock(now);
            let free = self.state.borrow().free_at(now);
            match free {
                Some(free) if free <= now => {
                    let checked = self.state.borrow().limiter.check();
                    let Err(not_until) = checked else { return Some(self.state.borrow_mut().pass(now)) };
                    self.sleep_until(now + not_until.wait_time_from(self.clock.now()), switch).await;
                }
                Some(free) => self.sleep_until(free, switch).await,
                None => tokio::select! {
                    () = switch.wait() => {}
                    () = self.changed.notified() => {}
                },
            }
        }
        None
    }

    /// Sleeps until then, or until the rate changes or the run stops.
    async fn sleep_until(&self, until: Instant, switch: &StopSwitch) {
        let changes_at = self.state.borrow().changes_at;
        switch.sleep_until(changes_at.map_or(until, |at| at.min(until))).await;
    }

    /// The highest rate that was set so far.
    pub(super) fn highest(&self) -> Rate {
        self.state.borrow().highest
    }

    /// Whether a request waits for its permit.
    pub(super) fn is_awaited(&self) -> bool {
        self.turn.try_lock().is_err()
    }

    /// Adds the answer to a request of `row`.
    pub(super) fn add_answer(&self, permit: Permit, row: u64, signal: Signal) -> BreakerEvent {
        let event = self.state.borrow_mut().add_answer(permit, row, signal, fastrand::f64());
        self.changed.notify_one();
        event
    }

    pub(super) fn with_breaker<T>(&self, change: impl FnOnce(&mut CircuitBreaker) -> T) -> T {
        change(&mut self.state.borrow_mut().breaker)
    }

    /// How many requests the server refused for its limit.
    pub(super) fn refused(&self) -> u64 {
        self.state.borrow().refused
    }

    /// See [`RateFinder::accepted_rate`].
    pub(super) fn accepted_rate(&self) -> Option<f64> {
        self.state.borrow().rate_finder.accepted_rate(Instant::now())
    }
}

impl PacerState {
    /// When one may be sent, as far as is known now; `None` while one tries the server.
    fn free_at(&self, now: Instant) -> Option<Instant> {
        let due = self.next.max(self.bounds.free_at(now));
        match self.breaker.state() {
            BreakerState::Closed => Some(due),
            BreakerState::Open { until, .. } => Some(due.max(until)),
            BreakerState::HalfOpen { .. } => None,
        }
    }

    fn set_rate(&mut self, rate: Rate, clock: TokioClock, now: Instant) {
        if rate == self.bounds.rate() {
            return;
        }
        self.bounds.set_rate(rate, now);
        self.limiter = limiter(rate, clock);
        self.highest = self.highest.max(rate);
        self.rate_finder.set_max(rate.per_second());
        // The next send was due by the rate before.
        self.next = self.next.min(now + Duration::from_secs_f64(1.0 / self.rate_finder.rate(now)));
    }

    fn pass(&mut self, now: Instant) -> Permit {
        let accepted = self.rate_finder.rate(now);
        let credited = now.checked_sub(CREDIT).map_or(self.next, |from| from.max(self.next));
        let is_reduced = accepted < self.bounds.rate().per_second();
        self.next = if is_reduced { credited + Duration::from_secs_f64(1.0 / accepted) } else { now };
        self.bounds.push(now);
        Permit { at: now, role: self.breaker.pass() }
    }

    fn add_answer(&mut self, permit: Permit, row: u64, signal: Signal, jitter: f64) -> BreakerEvent {
        let now = Instant::now();
        let event = self.breaker.add(signal, row, permit.role, now, jitter);
        if matches!(signal, Signal::Good | Signal::Spent(_)) {
            self.rate_finder.count_accepted();
        }
        if self.breaker.is_limit(signal) {
            self.refused += u64::from(!matches!(signal, Signal::Spent(_)));
            match signal {
                Signal::Busy => self.rate_finder.cut_unsure(permit.at, now),
                _ => self.rate_finder.cut(permit.at, now),
            }
        }
        match event {
            BreakerEvent::Closed(OpenCause::Limit) => self.rate_finder.resume(now),
            BreakerEvent::Closed(OpenCause::Outage) => {
                // It may have been the limit after all.
                if !self.breaker.is_limit(Signal::Busy) {
                    self.rate_finder.discard_measurement();
                }
                self.rate_finder.ramp(now);
            }
            _ => {}
        }
        event
    }
}

/// The longest unit of a rate.
const UNIT_MAX: Duration = Duration::from_secs(3600);

/// The send times, and what bounds the next one.
#[derive(Debug)]
struct SendBounds {
    times: VecDeque<Instant>,
    /// As many as the most calls that a rate allows in its unit.
    kept: usize,
    /// The rate that is set, and higher ones before it, the highest first.
    bounds: Vec<Bound>,
}

/// No more sends in a unit of time than a rate allows.
#[derive(Debug, Clone, Copy)]
struct Bound {
    rate: Rate,
    /// Earlier sends were made at a higher rate, and do not count.
    since: Option<Instant>,
    /// When a lower rate was set. The bound holds until its unit has passed.
    ended: Option<Instant>,
}

impl SendBounds {
    fn new(rate: Rate, rates: impl Iterator<Item = Rate>) -> Self {
        let kept = rates.map(|rate| rate.calls.get() as usize).max().unwrap_or_default();
        Self { times: VecDeque::new(), kept, bounds: vec![Bound { rate, since: None, ended: None }] }
    }

    fn rate(&self) -> Rate {
        self.bounds[self.bounds.len() - 1].rate
    }

    fn set_rate(&mut self, rate: Rate, now: Instant) {
        for bound in &mut self.bounds {
            bound.ended.get_or_insert(now);
        }
        let is_past = |ended: Instant| now >= ended + UNIT_MAX;
        self.bounds
            .retain(|bound| bound.rate.per_second() > rate.per_second() && !bound.ended.is_some_and(is_past));
        let since = self.bounds.last().and_then(|higher| higher.ended);
        self.bounds.push(Bound { rate, since, ended: None });
    }

    /// When one more request would be the last that all bounds allow, or now.
    fn free_at(&self, now: Instant) -> Instant {
        self.bounds.iter().filter_map(|bound| self.freed_by(bound, now)).fold(now, Instant::max)
    }

    fn freed_by(&self, bound: &Bound, now: Instant) -> Option<Instant> {
        let Rate { calls, per } = bound.rate;
        let first = *self.times.get(self.times.len().checked_sub(calls.get() as usize)?)?;
        let counts = bound.since.is_none_or(|since| first >= since);
        let holds = bound.ended.is_none_or(|ended| now < ended + per);
        (counts && holds).then_some(first + per)
    }

    fn push(&mut self, at: Instant) {
        if self.times.len() >= self.kept {
            self.times.pop_front();
        }
        self.times.push_back(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;
    use std::rc::Rc;
    use tokio::task::LocalSet;
    use tokio::time::sleep;

    fn pacer(rate: &str) -> Pacer {
        let mut breaker = CircuitBreaker::new(Duration::from_secs(3600));
        breaker.arm();
        Pacer::new(rate.parse::<Rate>().expect("a rate").into(), breaker)
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

    /// A rate in use between two times since the start.
    type Span = (Duration, Duration, Rate);

    fn spans(rates: &RateTimeline, end: Duration) -> Vec<Span> {
        let (mut spans, mut at) = (Vec::new(), Duration::ZERO);
        while at < end {
            let RateSpan { rate, until } = rates.at(at);
            let next = until.unwrap_or(end).min(end);
            spans.push((at, next, rate));
            at = next;
        }
        spans
    }

    /// Sends for 40 minutes, with a pause after every `busy` calls.
    fn send_by_clock(rates: &RateTimeline, busy: usize, pause: Duration) -> Vec<Duration> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let pacer = Pacer::new(rates.clone(), CircuitBreaker::new(Duration::from_secs(3600)));
            let (switch, start, mut times) = (StopSwitch::default(), Instant::now(), Vec::new());
            let all = async {
                loop {
                    let permit = pacer.acquire(&switch).await.expect("a permit");
                    times.push(permit.at - start);
                    if times.len() % busy == 0 {
                        sleep(pause).await;
                    }
                }
            };
            let _: Result<(), _> = tokio::time::timeout(BY_CLOCK, all).await;
            times
        })
    }

    const BY_CLOCK: Duration = Duration::from_secs(40 * 60);

    /// A window of time holds no more than the highest rate that is set in it. So at a
    /// change it holds no more than the higher one, and later none more than the new one.
    fn check_bounds(times: &[Duration], spans: &[Span]) {
        for unit in [1, 60, 3600].map(Duration::from_secs) {
            let mut last = 0;
            for (first, from) in times.iter().enumerate() {
                while last < times.len() && times[last] < *from + unit {
                    last += 1;
                }
                let within = spans.iter().filter(|(began, ended, _)| began < &(*from + unit) && ended > from);
                let highest = within.map(|(.., rate)| *rate).reduce(Rate::max).expect("a span");
                let units = unit.as_secs().div_ceil(highest.per.as_secs());
                let most = u64::from(highest.calls.get()) * units;
                if unit >= highest.per {
                    assert!(
                        (last - first) as u64 <= most,
                        "{from:?}: {} of {most} in {unit:?}",
                        last - first
                    );
                }
            }
        }
    }

    fn any_rate() -> impl Strategy<Value = &'static str> {
        let rates = ["1/s", "5/s", "30/s", "10/min", "90/min", "600/min", "100/h", "1000/h", "5000/h"];
        proptest::sample::select(rates.to_vec())
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 24,
            rng_seed: proptest::test_runner::RngSeed::Fixed(20_261_123),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]
        #[test]
        fn no_window_holds_more_than_the_highest_rate_set_in_it(
            base in any_rate(),
            windows in proptest::collection::vec((0_u32..9, 1_u32..9, any_rate()), 1..4),
            busy in 1_usize..2000,
            pause in 0_u64..200,
        ) {
            let mut list = format!("[\"{base}\"");
            let mut minute = 0;
            for (gap, length, rate) in &windows {
                let (from, to) = (minute + gap, minute + gap + length);
                list += &format!(", {{ from = \"20:{from:02}\", to = \"20:{to:02}\", rate = \"{rate}\" }}");
                minute = to;
            }
            let rates = RateTimeline::parse(&format!("{list}]"), "2026-11-23T19:55[UTC]");
            let times = send_by_clock(&rates, busy, Duration::from_secs(pause));
            check_bounds(&times, &spans(&rates, 2 * BY_CLOCK));
        }
    }

    #[test]
    fn a_change_by_the_clock_wastes_hardly_any_time() {
        for list in [
            r#"["1000/h", { from = "20:00", to = "20:10", rate = "30/s" }]"#,
            r#"["30/s", { from = "20:00", to = "20:10", rate = "1000/h" }]"#,
            r#"["1/h", { from = "20:05", to = "20:06", rate = "5/s" }, { from = "20:10", to = "20:30", rate = "90/min" }]"#,
            r#"["100/h", { from = "20:00", to = "20:10", rate = "30/s" }, { from = "20:20", to = "20:30", rate = "1000/h" }]"#,
        ] {
            let rates = RateTimeline::parse(list, "2026-11-23T19:55[UTC]");
            let spans = spans(&rates, BY_CLOCK);
            let times = send_by_clock(&rates, usize::MAX, Duration::ZERO);
            for (began, ended, rate) in spans {
                let sent = times.iter().filter(|at| (began..ended).contains(*at)).count() as f64;
                let allowed = rate.per_second() * (ended - began).as_secs_f64();
                assert!(sent >= 0.99 * allowed - 1.0, "{list}: {sent} of {allowed} at {rate}");
            }
        }
    }

    /// Killed at any moment and started again at once: the new process knows
    /// nothing of the sends before it, or of a credit that they used.
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

    /// The process pauses for 5 ms after every ten calls.
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
        assert_eq!(pacer.add_answer(first, 1, Signal::Limited(Some(wait))), BreakerEvent::Held(wait));
        let held = Instant::now();
        let trial = pacer.acquire(&switch).await.expect("a permit");
        assert!(held.elapsed() >= wait && held.elapsed() <= wait.mul_f64(1.1) + CREDIT);
        let answering = async {
            tokio::time::sleep(wait).await;
            pacer.add_answer(trial, 1, Signal::Good)
        };
        let (second, event) = tokio::join!(pacer.acquire(&switch), answering);
        assert!(matches!(event, BreakerEvent::Closed(..)), "{event:?}");
        assert!(second.expect("a permit").at - trial.at >= wait);
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

    /// How a server limits its calls.
    #[derive(Debug, Clone, Copy)]
    enum Limit {
        /// Calls a second, and calls at once after a pause. With a small depth this is
        /// nginx' `limit_req` with `burst` and `nodelay`.
        Bucket { per_second: f64, depth: f64 },
        /// Calls in each full `per`.
        Window { calls: u64, per: Duration },
    }

    /// How a server refuses a call.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Refusal {
        Bare429,
        /// 429 with whole seconds, rounded up.
        Seconds,
        Bare503,
        /// The answer to the last accepted call announces that it was the last.
        Before,
    }

    struct Server {
        limit: Limit,
        refusal: Refusal,
        start: Instant,
        /// Tokens, or calls accepted in this window.
        level: f64,
        at: Duration,
        accepted: u64,
        refused: u64,
    }

    impl Server {
        fn new(limit: Limit, refusal: Refusal) -> Self {
            let level = if let Limit::Bucket { depth, .. } = limit { depth } else { 0.0 };
            Self { limit, refusal, start: Instant::now(), level, at: Duration::ZERO, accepted: 0, refused: 0 }
        }

        fn receive(&mut self) -> Signal {
            let now = self.start.elapsed();
            let left = match self.limit {
                Limit::Bucket { per_second, depth } => {
                    self.level = (self.level + (now - self.at).as_secs_f64() * per_second).min(depth);
                    self.level
                }
                Limit::Window { calls, per } => {
                    let turned = now.as_nanos() / per.as_nanos() != self.at.as_nanos() / per.as_nanos();
                    self.level = if turned { 0.0 } else { self.level };
                    calls as f64 - self.level
                }
            };
            self.at = now;
            let wait = match self.limit {
                Limit::Bucket { per_second, .. } => {
                    Duration::from_secs_f64((2.0 - left).max(0.0) / per_second)
                }
                Limit::Window { per, .. } => {
                    per - Duration::from_nanos((now.as_nanos() % per.as_nanos()) as u64)
                }
            };
            let seconds = Duration::from_secs(wait.as_secs_f64().ceil() as u64);
            if left < 1.0 {
                self.refused += 1;
                return match self.refusal {
                    Refusal::Bare429 => Signal::Limited(None),
                    Refusal::Bare503 => Signal::Busy,
                    Refusal::Seconds | Refusal::Before => Signal::Limited(Some(seconds)),
                };
            }
            self.accepted += 1;
            self.level += if let Limit::Window { .. } = self.limit { 1.0 } else { -1.0 };
            if self.refusal == Refusal::Before && left < 2.0 { Signal::Spent(seconds) } else { Signal::Good }
        }
    }

    struct SimulationResult {
        accepted: u64,
        refused: u64,
        took: Duration,
        accepted_rate: Option<f64>,
    }

    /// Makes `calls` calls with `workers`. Answers take `latency`.
    async fn simulate(
        rate: &str,
        server: Server,
        calls: u64,
        workers: u64,
        latency: Duration,
    ) -> SimulationResult {
        let pacer = Rc::new(pacer(rate));
        let (server, next) = (Rc::new(RefCell::new(server)), Rc::new(Cell::new(0)));
        let start = Instant::now();
        let local = LocalSet::new();
        for _ in 0..workers {
            let (pacer, server, next) = (Rc::clone(&pacer), Rc::clone(&server), Rc::clone(&next));
            local.spawn_local(async move {
                let switch = StopSwitch::default();
                while next.get() < calls {
                    let row = next.replace(next.get() + 1);
                    loop {
                        let permit = pacer.acquire(&switch).await.expect("a permit");
                        sleep(latency / 2).await;
                        let signal = server.borrow_mut().receive();
                        sleep(latency / 2).await;
                        let event = pacer.add_answer(permit, row, signal);
                        assert!(!matches!(event, BreakerEvent::GivenUp(..)), "{event:?}");
                        if matches!(signal, Signal::Good | Signal::Spent(_)) {
                            break;
                        }
                    }
                }
            });
        }
        local.await;
        let server = server.borrow();
        SimulationResult {
            accepted: server.accepted,
            refused: server.refused,
            took: start.elapsed(),
            accepted_rate: pacer.accepted_rate(),
        }
    }

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);

    /// The rate set is up to ten times that of the server. All calls are accepted in
    /// the end, few are refused, hardly any time is lost, and the report is right.
    #[tokio::test(start_paused = true)]
    async fn the_rate_that_a_server_accepts_is_found() {
        use Limit::{Bucket, Window};
        let bucket = |per_second, depth| Bucket { per_second, depth };
        let limits = [
            ("1000/s", bucket(100.0, 100.0), 100.0, 6000),
            ("1000/s", bucket(100.0, 6.0), 100.0, 6000),
            ("1000/s", bucket(100.0, 21.0), 100.0, 6000),
            ("120/s", bucket(100.0, 6.0), 100.0, 6000),
            ("1000/s", Window { calls: 100, per: SECOND }, 100.0, 6000),
            ("1000/s", Window { calls: 6000, per: MINUTE }, 100.0, 12_000),
            ("1000/min", bucket(100.0 / 60.0, 100.0), 100.0 / 60.0, 2000),
            ("1000/min", Window { calls: 100, per: MINUTE }, 100.0 / 60.0, 2000),
        ];
        let mut problems = Vec::new();
        for (at, (rate, limit, allowed, calls)) in limits.into_iter().enumerate() {
            for (kind, refusal) in [Refusal::Bare429, Refusal::Seconds, Refusal::Bare503, Refusal::Before]
                .into_iter()
                .enumerate()
            {
                // Few and near, or many and far.
                for (workers, latency) in [[(8, 20), (64, 50)][(at + kind) % 2]] {
                    let server = Server::new(limit, refusal);
                    let latency = Duration::from_millis(latency);
                    let ended = simulate(rate, server, calls, workers, latency).await;
                    assert_eq!(ended.accepted, calls);
                    let reachable = (workers as f64 / latency.as_secs_f64()).min(allowed);
                    let ideal = calls as f64 / reachable;
                    let share = ended.refused as f64 / (ended.refused + calls) as f64;
                    let longer = ended.took.as_secs_f64() / ideal;
                    let line = format!(
                        "{rate} {limit:?} {refusal:?} {workers} workers {latency:?}: {share:.4} refused, {longer:.3} of the ideal time, accepted_rate {:?}",
                        ended.accepted_rate
                    );
                    // A server may ask for a second and need milliseconds.
                    let is_hasty = matches!(limit, Bucket { depth, .. } if depth < 100.0)
                        || matches!(limit, Window { per: SECOND, .. });
                    let asks_too_long = is_hasty && matches!(refusal, Refusal::Seconds | Refusal::Before);
                    let longer_max = if asks_too_long { 1.17 } else { 1.15 };
                    let is_right = ended.accepted_rate.is_none_or(|rate| rate <= 1.05 * allowed);
                    if share >= 0.05 || longer > longer_max || !is_right {
                        problems.push(line);
                    }
                }
            }
        }
        assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    }
}
