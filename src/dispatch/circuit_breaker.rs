//! Whether calls may be sent, judged by the answers of all calls together.
//!
//! Two things open the circuit breaker. The server asks to wait, or so many calls
//! of several rows fail one after another that no row is to blame. Then no call
//! passes for a time. After it one call at a time tries the server (half-open),
//! and a success closes the breaker again. A server that fails for longer than
//! `patience`, or asks to wait beyond it, is given up.
//!
//! A pure state machine that reads no clock.

use std::time::Duration;

use tokio::time::Instant;

/// A longer patience would overflow clocks.
const PATIENCE_MAX: Duration = Duration::from_secs(400 * 86_400);

/// The first wait if a server asks to wait without a time. Each wait that follows
/// at once is twice as long, also if the server names a shorter one: some servers
/// name 0 seconds and answer 429 again.
const HOLD_FIRST: Duration = Duration::from_millis(100);
/// The first wait for a server that fails.
const OUTAGE_FIRST: Duration = Duration::from_millis(250);
/// The longest wait that the server did not ask for.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Failures one after another, and rows that fail, before the server is to blame.
/// A row that fails alone stays far below.
const FAILURES: u32 = 8;
const ROWS: usize = 3;

/// nginx answers 503 without `Retry-After` over its limit, and so does a failing
/// server. So many of the last answers, with successes between them, are a
/// limit: half of a few, or a sixth of many.
const BUSY_OF_RECENT: [(u32, u32); 2] = [(6, 12), (20, 128)];
/// If a limit needed longer waits than the first, the next one begins with this
/// part of the last wait: each trial is a refused call.
const LEARNED: u32 = 4;

/// What an answer shows about the server, whatever it says about the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// It works.
    Good,
    /// It works, and its limit is reached for this time.
    Spent(Duration),
    /// It asks to wait, perhaps for a time that it names.
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

/// Which calls pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum BreakerState {
    /// All.
    #[default]
    Closed,
    /// None before `until`; then one.
    Open { cause: OpenCause, until: Instant },
    /// None before the call that tries the server is answered.
    HalfOpen { cause: OpenCause },
}

/// Why a call passes the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallRole {
    Regular,
    /// It tries the server, and all others wait for its answer.
    Trial,
}

/// A change of the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BreakerEvent {
    /// Nothing worth a line.
    None,
    /// All calls wait for this time: the server's limit is reached.
    Held(Duration),
    /// The server has been failing for `since`; one call tries it after `wait`.
    Failing { since: Duration, wait: Duration },
    /// It works again.
    Closed(OpenCause),
    /// It has not worked for this time, and is given up.
    GivenUp(OpenCause, Duration),
    /// It asks to wait for this time, which ends after the patience.
    AskedToWait(Duration),
}

/// The state of the server as far as its answers show it.
#[derive(Debug, Default)]
pub(super) struct CircuitBreaker {
    state: BreakerState,
    patience: Duration,
    /// Whether failures may be the server's fault. Before the first success they
    /// are more likely the settings' fault.
    is_armed: bool,
    /// The first failure since the last success.
    failing_since: Option<Instant>,
    /// How often it opened since it was last closed.
    openings: u32,
    /// The first and the last wait, if the server names no time.
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
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience: patience.min(PATIENCE_MAX), ..Self::default() }
    }

    /// Recognises outages from now on: the API has been shown to work.
    pub(super) fn arm(&mut self) {
        self.is_armed = true;
    }

    pub(super) fn is_armed(&self) -> bool {
        self.is_armed
    }

    pub(super) fn state(&self) -> BreakerState {
        self.state
    }

    /// A call is sent.
    pub(super) fn pass(&mut self) -> CallRole {
        let BreakerState::Open { cause, .. } = self.state else { return CallRole::Regular };
        self.state = BreakerState::HalfOpen { cause };
        CallRole::Trial
    }

    /// Whether failures are the server's fault now, and not the rows'.
    pub(super) fn is_outage(&self) -> bool {
        use BreakerState::{HalfOpen, Open};
        matches!(self.state, Open { cause: OpenCause::Outage, .. } | HalfOpen { cause: OpenCause::Outage })
    }

    /// Whether a signal means that the call was one too many.
    pub(super) fn is_limit(&self, signal: Signal) -> bool {
        match signal {
            Signal::Spent(_) | Signal::Limited(_) => true,
            Signal::Busy => self.is_limiter,
            Signal::Good | Signal::Failed => false,
        }
    }

    /// Adds the answer to a call of `row`. `jitter` is from 0 to 1: it makes waits
    /// up to a tenth longer, so that the clients of one limit do not return
    /// together.
    pub(super) fn add(
        &mut self,
        signal: Signal,
        row: u64,
        role: CallRole,
        now: Instant,
        jitter: f64,
    ) -> BreakerEvent {
        let is_trial = role == CallRole::Trial;
        self.remember(signal);
        let is_limit = self.is_limit(signal);
        let asked = match signal {
            Signal::Good => return self.succeed(role),
            Signal::Spent(wait) => {
                self.succeed(role);
                if wait > self.patience {
                    return BreakerEvent::AskedToWait(wait);
                }
                return self.open(OpenCause::Limit, Some(wait), now, jitter);
            }
            Signal::Limited(wait) => wait.filter(|wait| !wait.is_zero()),
            Signal::Busy | Signal::Failed => None,
        };
        let since = *self.failing_since.get_or_insert(now);
        let waited = now.saturating_duration_since(since);
        if let Some(asked) = asked.filter(|asked| waited.saturating_add(*asked) > self.patience) {
            return BreakerEvent::AskedToWait(asked);
        }
        if !matches!(signal, Signal::Limited(_)) && (is_trial || !is_limit) {
            self.count_failure(row);
        }
        let cause = match self.state {
            // Sent before the trial, whose answer shows more.
            BreakerState::HalfOpen { .. } if !is_trial && asked.is_none() => return BreakerEvent::None,
            BreakerState::Open { cause: OpenCause::Outage, .. } if asked.is_none() => {
                return BreakerEvent::None;
            }
            BreakerState::HalfOpen { cause: OpenCause::Outage } => OpenCause::Outage,
            _ if self.is_armed && self.failures >= FAILURES && self.rows.len() >= ROWS => OpenCause::Outage,
            _ if is_limit => OpenCause::Limit,
            BreakerState::HalfOpen { cause } => cause,
            BreakerState::Closed | BreakerState::Open { .. } => return BreakerEvent::None,
        };
        if waited > self.patience && is_trial {
            return BreakerEvent::GivenUp(cause, waited);
        }
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
        self.is_limiter |= BUSY_OF_RECENT.into_iter().any(|(busy, recent)| {
            let last = u128::MAX >> (u128::BITS - recent);
            (self.busy & last).count_ones() >= busy && self.good & last > 0
        });
    }

    fn count_failure(&mut self, row: u64) {
        self.failures = self.failures.saturating_add(1);
        if self.rows.len() < ROWS && !self.rows.contains(&row) {
            self.rows.push(row);
        }
    }

    fn succeed(&mut self, role: CallRole) -> BreakerEvent {
        self.failures = 0;
        self.rows.clear();
        self.failing_since = None;
        let (BreakerState::HalfOpen { cause }, CallRole::Trial) = (self.state, role) else {
            return BreakerEvent::None;
        };
        self.state = BreakerState::Closed;
        self.openings = 0;
        BreakerEvent::Closed(cause)
    }

    /// Opens the breaker, or keeps it open for longer.
    fn open(&mut self, cause: OpenCause, asked: Option<Duration>, now: Instant, jitter: f64) -> BreakerEvent {
        let open_until = if let BreakerState::Open { until, .. } = self.state { Some(until) } else { None };
        self.openings = self.openings.saturating_add(u32::from(open_until.is_none()));
        if self.openings == 1 {
            self.first = match cause {
                OpenCause::Outage => OUTAGE_FIRST,
                OpenCause::Limit => HOLD_FIRST.max(self.waited / LEARNED),
            };
        }
        let doubled = self.first.saturating_mul(1 << self.openings.saturating_sub(1).min(16)).min(WAIT_MAX);
        let wait = asked.unwrap_or_default().max(doubled);
        if cause == OpenCause::Limit || self.is_limiter {
            self.waited = doubled;
        }
        let until = now + wait + wait.mul_f64(jitter / 10.0);
        self.state =
            BreakerState::Open { cause, until: open_until.map_or(until, |before| before.max(until)) };
        match open_until {
            // Answers to calls that were on their way together are one event.
            Some(before) if before >= now && cause == OpenCause::Limit => BreakerEvent::None,
            _ => BreakerEvent::Held(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(3600);
    const SECOND: Duration = Duration::from_secs(1);

    /// A breaker and its time.
    struct World {
        breaker: CircuitBreaker,
        now: Instant,
    }

    impl World {
        fn new() -> Self {
            let mut world = Self { breaker: CircuitBreaker::new(PATIENCE), now: Instant::now() };
            world.breaker.arm();
            world
        }

        /// A call of `row` that was sent while the breaker was closed.
        fn straggler(&mut self, row: u64, signal: Signal) -> BreakerEvent {
            self.breaker.add(signal, row, CallRole::Regular, self.now, 0.0)
        }

        /// Waits for the breaker, sends a call of `row` and adds its answer.
        fn call(&mut self, row: u64, signal: Signal) -> BreakerEvent {
            if let BreakerState::Open { until, .. } = self.breaker.state() {
                self.now = self.now.max(until);
            }
            let role = self.breaker.pass();
            self.breaker.add(signal, row, role, self.now, 0.0)
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
        let cause = OpenCause::Limit;
        let mut world = World::new();
        assert_eq!(world.call(1, Signal::Limited(Some(9 * SECOND))), BreakerEvent::Held(9 * SECOND));
        assert_eq!(world.straggler(2, Signal::Limited(Some(20 * SECOND))), BreakerEvent::None);
        let until = world.now + 20 * SECOND;
        assert_eq!(world.breaker.state(), BreakerState::Open { cause, until });
        world.now = until;
        assert_eq!(world.breaker.pass(), CallRole::Trial);
        assert_eq!(world.breaker.pass(), CallRole::Regular);
        // Calls that were sent before show nothing of the server now.
        assert_eq!(world.straggler(3, Signal::Good), BreakerEvent::None);
        assert_eq!(world.straggler(4, Signal::Limited(None)), BreakerEvent::None);
        assert_eq!(world.breaker.state(), BreakerState::HalfOpen { cause });
        let event = world.breaker.add(Signal::Good, 1, CallRole::Trial, world.now, 0.0);
        assert_eq!(event, BreakerEvent::Closed(cause));
        assert_eq!(world.breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn waits_grow_while_nothing_else_is_answered_and_are_bounded() {
        let mut world = World::new();
        let waits: Vec<u128> = (0..4).map(|row| world.waited(row, Signal::Limited(None))).collect();
        assert_eq!(waits, [100, 200, 400, 800]);
        world.call(9, Signal::Good);
        // The next hold begins with a part of the last wait.
        assert_eq!(world.waited(0, Signal::Limited(Some(Duration::ZERO))), 200);
        let waits: Vec<u128> = (0..40).map(|row| world.waited(row, Signal::Limited(None))).collect();
        assert_eq!(waits[39], WAIT_MAX.as_millis());
        // Spread over time, never shorter than the server asks.
        let mut world = World::new();
        world.breaker.add(Signal::Limited(Some(10 * SECOND)), 1, CallRole::Regular, world.now, 1.0);
        let until = world.now + 11 * SECOND;
        assert_eq!(world.breaker.state(), BreakerState::Open { cause: OpenCause::Limit, until });
    }

    #[test]
    fn a_wait_that_the_server_asks_for_is_honoured_whole_or_ends_the_run() {
        let asking = |seconds| Signal::Limited(Some(Duration::from_secs(seconds)));
        let asked_to_wait = |seconds| BreakerEvent::AskedToWait(Duration::from_secs(seconds));
        let mut world = World::new();
        assert_eq!(world.call(1, asking(1500)), BreakerEvent::Held(1500 * SECOND));
        assert_eq!(world.call(1, asking(2000)), BreakerEvent::Held(2000 * SECOND));
        // Patience counts from the first of them.
        assert_eq!(world.call(1, asking(101)), asked_to_wait(101));
        world.call(1, Signal::Good);
        for seconds in [3601, 86_400, 1_000_000_000, u64::MAX] {
            assert_eq!(world.call(1, asking(seconds)), asked_to_wait(seconds));
            let spent = Signal::Spent(Duration::from_secs(seconds));
            assert_eq!(world.call(1, spent), asked_to_wait(seconds));
            assert_eq!(world.straggler(1, asking(seconds)), asked_to_wait(seconds));
        }
        world.breaker = CircuitBreaker::new(Duration::MAX);
        assert_eq!(world.call(1, asking(86_400)), BreakerEvent::Held(86_400 * SECOND));
        assert_eq!(world.call(1, asking(u64::MAX)), asked_to_wait(u64::MAX));
    }

    #[test]
    fn a_straggler_that_is_asked_to_wait_holds_all_calls_whatever_the_state() {
        for trial in [false, true] {
            let mut world = World::new();
            for row in 0..9 {
                world.call(row, Signal::Failed);
            }
            assert!(world.breaker.is_outage());
            if trial {
                assert_eq!(world.breaker.pass(), CallRole::Trial);
            }
            world.straggler(9, Signal::Limited(Some(60 * SECOND)));
            let until = world.now + 60 * SECOND;
            assert_eq!(world.breaker.state(), BreakerState::Open { cause: OpenCause::Outage, until });
        }
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
        // Calls on their way are part of it.
        assert_eq!(world.straggler(10, Signal::Failed), BreakerEvent::None);
        let waits: Vec<u128> = (0..8).map(|row| world.waited(row, Signal::Failed)).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        assert!(world.breaker.is_outage());
        let back = world.call(1, Signal::Good);
        assert!(matches!(back, BreakerEvent::Closed(OpenCause::Outage)), "{back:?}");
        assert!(!world.breaker.is_outage() && world.breaker.state() == BreakerState::Closed);
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
        let mut world = World { breaker: CircuitBreaker::new(PATIENCE), now: Instant::now() };
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
        for (signal, cause) in
            [(Signal::Failed, OpenCause::Outage), (Signal::Limited(None), OpenCause::Limit)]
        {
            let mut world = World::new();
            let start = world.now;
            let mut event = (0..1000).map(|row| world.call(row, signal));
            let end = event.find(|event| matches!(event, BreakerEvent::GivenUp(..)));
            let Some(BreakerEvent::GivenUp(found, after)) = end else { panic!("{signal:?}: {end:?}") };
            assert_eq!(found, cause);
            assert!(after > PATIENCE && world.now - start <= PATIENCE + WAIT_MAX, "{signal:?} {after:?}");
        }
    }
}
