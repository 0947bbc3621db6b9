//! Whether calls may be sent: what the answers of all calls together show.
//!
//! Two things open the circuit breaker: the server asks to wait, or so many
//! calls of several rows fail in a row that no row is to blame. Then no call
//! passes for a time, and after it one call at a time tries the server
//! (half-open). One that works closes the breaker again. A server that does
//! not work for as long as `patience` is given up.
//!
//! A pure state machine that reads no clock of its own.

use std::time::Duration;

use tokio::time::Instant;

/// The longest a server can hold the run with one answer; then it is tried again.
pub(super) const HOLD_MAX: Duration = Duration::from_secs(300);

/// The first wait where a server asks to wait without saying how long. Each one
/// that follows at once is twice as long, also if the server names a shorter
/// one: servers that answer 0 seconds and 429 again do not mean it.
const HOLD_FIRST: Duration = Duration::from_millis(100);
/// The first wait for a server that fails.
const OUTAGE_FIRST: Duration = Duration::from_millis(250);
/// The longest wait that the server did not ask for.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Failures in a row, and rows that they are of, before the server is to
/// blame. A row that fails alone comes nowhere near it.
const FAILURES: u32 = 8;
const ROWS: usize = 3;

/// A 503 without `Retry-After` is how nginx refuses by default what is over
/// its limit, and how a server fails. So many of so many of the last answers,
/// with successes between them, are a limit: half of a few, or a sixth of many.
const BUSY_OF_RECENT: [(u32, u32); 2] = [(6, 12), (20, 128)];
/// Where a limit needed longer waits than the first, the next one begins with
/// this part of what it needed: each try is a call refused.
const LEARNED: u32 = 4;

/// What an answer shows of the server, whatever it says of the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// It works.
    Good,
    /// It works, and its limit is reached for so long.
    Spent(Duration),
    /// It asks to wait, perhaps for so long.
    Limited(Option<Duration>),
    /// It is limiting, or failing.
    Busy,
    /// It fails, or is not there.
    Failed,
}

/// Why the breaker is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OpenCause {
    /// The server asked to wait.
    Limit,
    /// The server fails.
    Outage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BreakerState {
    /// Calls pass.
    Closed,
    /// None passes before then; then one.
    Open { cause: OpenCause, until: Instant },
    /// One call is on its way to try the server.
    HalfOpen { cause: OpenCause },
}

/// Which calls pass now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BreakerGate {
    /// All.
    Closed,
    /// None before then; then one.
    Open(Instant),
    /// None before that one is answered.
    HalfOpen,
}

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BreakerEvent {
    /// Nothing worth a line.
    None,
    /// All calls wait for so long: the server's limit is reached.
    Held(Duration),
    /// The server has been failing for `since`; one call tries it after `wait`.
    Failing { since: Duration, wait: Duration },
    /// It works again.
    Closed(OpenCause),
    /// It has not worked for so long that it is given up.
    GivenUp(OpenCause, Duration),
}

/// What is known of the server.
#[derive(Debug)]
pub(super) struct CircuitBreaker {
    state: BreakerState,
    patience: Duration,
    /// Whether failures may be the server's fault: before anything has
    /// worked, they are more likely the settings'.
    is_armed: bool,
    has_answered: bool,
    /// Since when nothing has worked.
    failing_since: Option<Instant>,
    /// How often it opened since it was last closed.
    openings: u32,
    /// The first and the last wait, where the server does not say how long.
    first: Duration,
    waited: Duration,
    failures: u32,
    rows: Vec<u64>,
    /// The last answers, newest in the lowest bit: whether each was busy, or good.
    busy: u128,
    good: u128,
    is_limiter: bool,
}

impl CircuitBreaker {
    pub(super) fn new(patience: Duration, is_armed: bool) -> Self {
        Self {
            state: BreakerState::Closed,
            patience,
            is_armed,
            has_answered: false,
            failing_since: None,
            openings: 0,
            first: HOLD_FIRST,
            waited: Duration::ZERO,
            failures: 0,
            rows: Vec::new(),
            busy: 0,
            good: 0,
            is_limiter: false,
        }
    }

    /// The API has been shown to work.
    pub(super) fn arm(&mut self) {
        self.is_armed = true;
    }

    pub(super) fn gate(&self) -> BreakerGate {
        match self.state {
            BreakerState::Closed => BreakerGate::Closed,
            BreakerState::Open { until, .. } => BreakerGate::Open(until),
            BreakerState::HalfOpen { .. } => BreakerGate::HalfOpen,
        }
    }

    /// A call is sent; whether it is one that tries the server.
    pub(super) fn pass(&mut self) -> bool {
        let BreakerState::Open { cause, .. } = self.state else { return false };
        self.state = BreakerState::HalfOpen { cause };
        true
    }

    /// Whether outages are recognised.
    pub(super) fn is_armed(&self) -> bool {
        self.is_armed
    }

    /// A server that has never answered is most likely a wrong address.
    pub(super) fn has_answered(&self) -> bool {
        self.has_answered
    }

    pub(super) fn set_answered(&mut self) {
        self.has_answered = true;
    }

    /// Whether what fails now is the server's fault and no row's.
    pub(super) fn is_outage(&self) -> bool {
        let (BreakerState::Open { cause, .. } | BreakerState::HalfOpen { cause }) = self.state else {
            return false;
        };
        cause == OpenCause::Outage
    }

    /// Whether a signal means that the call was one too many.
    pub(super) fn is_limit(&self, signal: Signal) -> bool {
        match signal {
            Signal::Spent(_) | Signal::Limited(_) => true,
            Signal::Busy => self.is_limiter,
            Signal::Good | Signal::Failed => false,
        }
    }

    /// Takes in what the answer to a call of `row` shows. `jitter` is from 0 to
    /// 1: waits get up to a tenth longer by it, so that the clients of one
    /// limit do not come back together.
    pub(super) fn add(
        &mut self,
        signal: Signal,
        row: u64,
        is_trial: bool,
        now: Instant,
        jitter: f64,
    ) -> BreakerEvent {
        self.remember(signal);
        let is_limit = self.is_limit(signal);
        match signal {
            Signal::Good => return self.succeed(is_trial),
            Signal::Spent(wait) => {
                self.succeed(is_trial);
                return self.open(OpenCause::Limit, Some(wait), now, jitter);
            }
            Signal::Limited(_) | Signal::Busy | Signal::Failed => {}
        }
        let since = *self.failing_since.get_or_insert(now);
        if !matches!(signal, Signal::Limited(_)) && (is_trial || !is_limit) {
            self.count_failure(row);
        }
        let cause = match self.state {
            // A call that was sent before: the one that tries shows more.
            BreakerState::HalfOpen { .. } if !is_trial => return BreakerEvent::None,
            BreakerState::Open { cause: OpenCause::Outage, .. } => return BreakerEvent::None,
            BreakerState::HalfOpen { cause: OpenCause::Outage } => OpenCause::Outage,
            _ if self.is_armed && self.failures >= FAILURES && self.rows.len() >= ROWS => OpenCause::Outage,
            _ if is_limit => OpenCause::Limit,
            BreakerState::HalfOpen { cause } => cause,
            BreakerState::Closed | BreakerState::Open { .. } => return BreakerEvent::None,
        };
        let waited = now.saturating_duration_since(since);
        if waited > self.patience && is_trial {
            return BreakerEvent::GivenUp(cause, waited);
        }
        let asked = if let Signal::Limited(wait) = signal { wait } else { None };
        match self.open(cause, asked, now, jitter) {
            BreakerEvent::Held(wait) if cause == OpenCause::Outage => {
                BreakerEvent::Failing { since: waited, wait }
            }
            event => event,
        }
    }

    fn remember(&mut self, signal: Signal) {
        self.busy = self.busy << 1 | u128::from(signal == Signal::Busy);
        self.good = self.good << 1 | u128::from(signal == Signal::Good);
        self.is_limiter |= BUSY_OF_RECENT.into_iter().any(|(busy, of)| {
            let last = u128::MAX >> (u128::BITS - of);
            (self.busy & last).count_ones() >= busy && self.good & last > 0
        });
    }

    fn count_failure(&mut self, row: u64) {
        self.failures = self.failures.saturating_add(1);
        if self.rows.len() < ROWS && !self.rows.contains(&row) {
            self.rows.push(row);
        }
    }

    fn succeed(&mut self, is_trial: bool) -> BreakerEvent {
        self.failures = 0;
        self.rows.clear();
        self.failing_since = None;
        let BreakerState::HalfOpen { cause } = self.state else { return BreakerEvent::None };
        if !is_trial {
            return BreakerEvent::None;
        }
        self.state = BreakerState::Closed;
        self.openings = 0;
        BreakerEvent::Closed(cause)
    }

    /// Opens the breaker, or keeps it open for longer.
    fn open(&mut self, cause: OpenCause, asked: Option<Duration>, now: Instant, jitter: f64) -> BreakerEvent {
        let open_until = match self.state {
            BreakerState::Open { until, .. } => Some(until),
            BreakerState::Closed | BreakerState::HalfOpen { .. } => None,
        };
        self.openings = self.openings.saturating_add(u32::from(open_until.is_none()));
        if self.openings == 1 {
            self.first = match cause {
                OpenCause::Outage => OUTAGE_FIRST,
                OpenCause::Limit => HOLD_FIRST.max(self.waited / LEARNED),
            };
        }
        let doubled = self.first.saturating_mul(1 << self.openings.saturating_sub(1).min(16)).min(WAIT_MAX);
        let wait = asked.unwrap_or_default().min(HOLD_MAX).max(doubled);
        if cause == OpenCause::Limit || self.is_limiter {
            self.waited = doubled;
        }
        let until = now + wait + wait.mul_f64(jitter / 10.0);
        self.state = BreakerState::Open { cause, until: open_until.map_or(until, |known| known.max(until)) };
        match open_until {
            // Answers to calls that were on their way together are one event.
            Some(known) if known >= now && cause == OpenCause::Limit => BreakerEvent::None,
            _ => BreakerEvent::Held(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(3600);
    const SECOND: Duration = Duration::from_secs(1);

    /// A server and its time.
    struct World {
        breaker: CircuitBreaker,
        now: Instant,
    }

    impl World {
        fn new() -> Self {
            Self { breaker: CircuitBreaker::new(PATIENCE, true), now: Instant::now() }
        }

        /// A call of `row` that was sent while the breaker was closed.
        fn straggler(&mut self, row: u64, signal: Signal) -> BreakerEvent {
            self.breaker.add(signal, row, false, self.now, 0.0)
        }

        /// Waits for the breaker, sends a call of `row` and takes in its answer.
        fn call(&mut self, row: u64, signal: Signal) -> BreakerEvent {
            if let BreakerGate::Open(until) = self.breaker.gate() {
                self.now = self.now.max(until);
            }
            let is_trial = self.breaker.pass();
            self.breaker.add(signal, row, is_trial, self.now, 0.0)
        }

        fn waited(&mut self, row: u64, signal: Signal) -> u128 {
            match self.call(row, signal) {
                BreakerEvent::Held(wait) | BreakerEvent::Failing { wait, .. } => wait.as_millis(),
                event => panic!("{event:?}"),
            }
        }
    }

    #[test]
    fn all_calls_wait_as_long_as_the_server_asks_and_then_one_call_tries() {
        let mut world = World::new();
        assert_eq!(world.call(1, Signal::Limited(Some(9 * SECOND))), BreakerEvent::Held(9 * SECOND));
        assert_eq!(world.straggler(2, Signal::Limited(Some(20 * SECOND))), BreakerEvent::None);
        assert_eq!(world.breaker.gate(), BreakerGate::Open(world.now + 20 * SECOND));
        world.now += 20 * SECOND;
        assert!(world.breaker.pass());
        assert_eq!((world.breaker.gate(), world.breaker.pass()), (BreakerGate::HalfOpen, false));
        // Others that were sent before show nothing of it.
        assert_eq!(world.straggler(3, Signal::Good), BreakerEvent::None);
        assert_eq!(world.straggler(4, Signal::Limited(None)), BreakerEvent::None);
        assert_eq!(world.breaker.gate(), BreakerGate::HalfOpen);
        assert!(matches!(
            world.breaker.add(Signal::Good, 1, true, world.now, 0.0),
            BreakerEvent::Closed(OpenCause::Limit)
        ));
        assert_eq!(world.breaker.gate(), BreakerGate::Closed);
    }

    #[test]
    fn waits_grow_while_nothing_else_is_answered_and_are_bounded() {
        let mut world = World::new();
        let waits: Vec<u128> = (0..4).map(|row| world.waited(row, Signal::Limited(None))).collect();
        assert_eq!(waits, [100, 200, 400, 800]);
        world.call(9, Signal::Good);
        // The next time it begins with a part of what was needed.
        assert_eq!(world.waited(0, Signal::Limited(Some(Duration::ZERO))), 200);
        assert_eq!(world.waited(0, Signal::Limited(Some(Duration::MAX))), HOLD_MAX.as_millis());
        let waits: Vec<u128> = (0..40).map(|row| world.waited(row, Signal::Limited(None))).collect();
        assert_eq!(waits[39], WAIT_MAX.as_millis());
        // Spread over time, never shorter than asked for.
        let mut world = World::new();
        world.breaker.add(Signal::Limited(Some(10 * SECOND)), 1, false, world.now, 1.0);
        assert_eq!(world.breaker.gate(), BreakerGate::Open(world.now + 11 * SECOND));
    }

    #[test]
    fn a_limit_that_is_announced_with_a_success_holds_too() {
        let mut world = World::new();
        assert_eq!(world.call(1, Signal::Spent(7 * SECOND)), BreakerEvent::Held(7 * SECOND));
        assert!(matches!(world.call(2, Signal::Good), BreakerEvent::Closed(OpenCause::Limit)));
    }

    #[test]
    fn a_run_of_failures_of_several_rows_is_an_outage() {
        let mut world = World::new();
        world.call(0, Signal::Good);
        for row in 1..u64::from(FAILURES) {
            assert_eq!(world.call(row, Signal::Failed), BreakerEvent::None);
            assert!(!world.breaker.is_outage());
        }
        let failing = world.call(9, Signal::Failed);
        assert!(matches!(failing, BreakerEvent::Failing { wait: OUTAGE_FIRST, .. }), "{failing:?}");
        assert!(world.breaker.is_outage());
        // Those under way are part of it.
        assert_eq!(world.straggler(10, Signal::Failed), BreakerEvent::None);
        let waits: Vec<u128> = (0..8).map(|row| world.waited(row, Signal::Failed)).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        assert!(world.breaker.is_outage());
        let back = world.call(1, Signal::Good);
        assert!(matches!(back, BreakerEvent::Closed(OpenCause::Outage)), "{back:?}");
        assert!(!world.breaker.is_outage() && world.breaker.gate() == BreakerGate::Closed);
    }

    #[test]
    fn a_row_that_fails_alone_is_no_outage() {
        let mut world = World::new();
        for _ in 0..1000 {
            assert_eq!(world.call(1, Signal::Failed), BreakerEvent::None);
            assert_eq!(world.call(2, Signal::Failed), BreakerEvent::None);
        }
        for row in 0..1000 {
            world.call(row, Signal::Good);
            assert_eq!(world.call(1, Signal::Failed), BreakerEvent::None);
        }
    }

    #[test]
    fn before_anything_has_worked_failures_are_not_the_servers() {
        let mut world = World { breaker: CircuitBreaker::new(PATIENCE, false), now: Instant::now() };
        for row in 0..100 {
            assert_eq!(world.call(row, Signal::Failed), BreakerEvent::None);
        }
        world.breaker.arm();
        assert!(matches!(world.call(1, Signal::Failed), BreakerEvent::Failing { .. }));
    }

    #[test]
    fn many_bare_503_between_successes_are_a_limit_and_few_are_not() {
        let mut world = World::new();
        for row in 0..100 {
            assert_eq!(
                world.call(row, if row % 8 == 0 { Signal::Busy } else { Signal::Good }),
                BreakerEvent::None
            );
        }
        let mut held = 0;
        for row in 0..20 {
            let signal = if row % 10 == 0 { Signal::Good } else { Signal::Busy };
            held += u32::from(matches!(world.straggler(row, signal), BreakerEvent::Held(_)));
        }
        assert!(held > 0 && !world.breaker.is_outage());
        assert!(world.breaker.is_limit(Signal::Busy));
    }

    #[test]
    fn nothing_but_503_is_an_outage() {
        let mut world = World::new();
        for row in 0..40 {
            world.call(row, if row < 20 { Signal::Good } else { Signal::Busy });
        }
        assert!(world.breaker.is_outage());
    }

    #[test]
    fn patience_ends_whatever_the_server_does() {
        for (signal, cause) in [
            (Signal::Failed, OpenCause::Outage),
            (Signal::Limited(None), OpenCause::Limit),
            (Signal::Limited(Some(HOLD_MAX)), OpenCause::Limit),
        ] {
            let mut world = World::new();
            let start = world.now;
            let mut event = (0..1000).map(|row| world.call(row, signal));
            let end = event.find(|event| matches!(event, BreakerEvent::GivenUp(..)));
            let Some(BreakerEvent::GivenUp(found, after)) = end else { panic!("{signal:?}: {end:?}") };
            assert_eq!(found, cause);
            assert!(after > PATIENCE && world.now - start <= PATIENCE + HOLD_MAX, "{signal:?} {after:?}");
        }
    }
}
