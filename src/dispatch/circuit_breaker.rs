//! Whether calls may go out: what the answers of all calls together show.
//!
//! A gate that is open, or closed until a time and then tried by one call at
//! a time. Two things close it: the server asks to wait, or so many calls in
//! a row came to nothing, of several rows, that it is no row's own fault.
//! Either way one call that works opens it again. A server that does neither
//! for as long as `patience` is given up.
//!
//! A pure state machine, except for reading no clock of its own.

use std::time::Duration;

use tokio::time::Instant;

/// The longest a server can hold the run with one answer; then it is asked again.
pub(crate) const HOLD_MAX: Duration = Duration::from_secs(300);

/// The first wait where a server asks to wait and not for how long. Each one
/// that follows at once is twice as long, also if the server names a shorter
/// one: it says 0 seconds and 429 again, and does not mean it.
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
pub(crate) enum Signal {
    /// It works.
    Good,
    /// It works, and says that its limit is reached for so long.
    Spent(Duration),
    /// It asks to wait, perhaps for so long.
    Limited(Option<Duration>),
    /// It is limiting, or failing.
    Busy,
    /// It fails, or is not there.
    Failed,
}

/// Why the gate is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClosedCause {
    /// The server asked to wait.
    Limit,
    /// The server fails.
    Outage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BreakerState {
    Open,
    Closed {
        cause: ClosedCause,
        until: Instant,
    },
    /// One call is on its way to try.
    Tried {
        cause: ClosedCause,
    },
}

/// Who may go now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    /// Nobody before then; then one.
    Closed(Instant),
    /// Nobody before that one is answered.
    Tried,
}

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BreakerEvent {
    /// Nothing that anybody needs to know.
    None,
    /// Everybody waits for so long: the server's limit is reached.
    Held(Duration),
    /// The server is failing, for so long so far; the next try is after `wait`.
    Failing { since: Duration, wait: Duration },
    /// It works again, after so long.
    Reopened(ClosedCause, Duration),
    /// It has not worked for so long that it is given up.
    GivenUp(ClosedCause, Duration),
}

/// What is known of the server.
#[derive(Debug)]
pub(crate) struct CircuitBreaker {
    state: BreakerState,
    patience: Duration,
    /// Whether failures may be the server's fault: before anything has
    /// worked, they are more likely the settings'.
    is_armed: bool,
    has_answered: bool,
    /// Since when nothing has worked.
    bad_since: Option<Instant>,
    /// Closed so often since it was last open.
    closings: u32,
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
    pub(crate) fn new(patience: Duration, is_armed: bool) -> Self {
        Self {
            state: BreakerState::Open,
            patience,
            is_armed,
            has_answered: false,
            bad_since: None,
            closings: 0,
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
    pub(crate) fn arm(&mut self) {
        self.is_armed = true;
    }

    pub(crate) fn gate(&self) -> Gate {
        match self.state {
            BreakerState::Open => Gate::Open,
            BreakerState::Closed { until, .. } => Gate::Closed(until),
            BreakerState::Tried { .. } => Gate::Tried,
        }
    }

    /// A call goes out; whether it is one that tries.
    pub(crate) fn go(&mut self) -> bool {
        let BreakerState::Closed { cause, .. } = self.state else { return false };
        self.state = BreakerState::Tried { cause };
        true
    }

    /// A server that has never said anything is most likely a wrong address.
    /// Whether outages are looked for.
    pub(crate) fn is_armed(&self) -> bool {
        self.is_armed
    }

    pub(crate) fn has_answered(&self) -> bool {
        self.has_answered
    }

    pub(crate) fn answered(&mut self) {
        self.has_answered = true;
    }

    /// Whether what fails now is the server's fault and no row's.
    pub(crate) fn is_outage(&self) -> bool {
        let (BreakerState::Closed { cause, .. } | BreakerState::Tried { cause }) = self.state else {
            return false;
        };
        cause == ClosedCause::Outage
    }

    /// Whether a sign means that the call was one too many.
    pub(crate) fn is_limit(&self, sign: Signal) -> bool {
        match sign {
            Signal::Spent(_) | Signal::Limited(_) => true,
            Signal::Busy => self.is_limiter,
            Signal::Good | Signal::Failed => false,
        }
    }

    /// Takes in what the answer to a call of `row` shows. `luck` is from 0 to
    /// 1: waits get up to a tenth longer by it, so that the clients of one
    /// limit do not come back together.
    pub(crate) fn note(
        &mut self,
        sign: Signal,
        row: u64,
        is_try: bool,
        now: Instant,
        luck: f64,
    ) -> BreakerEvent {
        self.remember(sign);
        let is_limit = self.is_limit(sign);
        match sign {
            Signal::Good => return self.worked(is_try, now),
            Signal::Spent(wait) => {
                self.worked(is_try, now);
                return self.close(ClosedCause::Limit, Some(wait), now, luck);
            }
            Signal::Limited(_) | Signal::Busy | Signal::Failed => {}
        }
        let since = *self.bad_since.get_or_insert(now);
        if !matches!(sign, Signal::Limited(_)) && (is_try || !is_limit) {
            self.count_failure(row);
        }
        let cause = match self.state {
            // The answer of a call that left before: the one that tries knows better.
            BreakerState::Tried { .. } if !is_try => return BreakerEvent::None,
            BreakerState::Closed { cause: ClosedCause::Outage, .. } => return BreakerEvent::None,
            BreakerState::Tried { cause: ClosedCause::Outage } => ClosedCause::Outage,
            _ if self.is_armed && self.failures >= FAILURES && self.rows.len() >= ROWS => ClosedCause::Outage,
            _ if is_limit => ClosedCause::Limit,
            BreakerState::Tried { cause } => cause,
            BreakerState::Open | BreakerState::Closed { .. } => return BreakerEvent::None,
        };
        let waited = now.saturating_duration_since(since);
        if waited > self.patience && is_try {
            return BreakerEvent::GivenUp(cause, waited);
        }
        let asked = if let Signal::Limited(wait) = sign { wait } else { None };
        match self.close(cause, asked, now, luck) {
            BreakerEvent::Held(wait) if cause == ClosedCause::Outage => {
                BreakerEvent::Failing { since: waited, wait }
            }
            news => news,
        }
    }

    fn remember(&mut self, sign: Signal) {
        self.busy = self.busy << 1 | u128::from(sign == Signal::Busy);
        self.good = self.good << 1 | u128::from(sign == Signal::Good);
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

    fn worked(&mut self, is_try: bool, now: Instant) -> BreakerEvent {
        self.failures = 0;
        self.rows.clear();
        let since = self.bad_since.take().unwrap_or(now);
        let BreakerState::Tried { cause } = self.state else { return BreakerEvent::None };
        if !is_try {
            return BreakerEvent::None;
        }
        self.state = BreakerState::Open;
        self.closings = 0;
        BreakerEvent::Reopened(cause, now.saturating_duration_since(since))
    }

    /// Closes the gate, or keeps it closed for longer.
    fn close(
        &mut self,
        cause: ClosedCause,
        asked: Option<Duration>,
        now: Instant,
        luck: f64,
    ) -> BreakerEvent {
        let closed = match self.state {
            BreakerState::Closed { until, .. } => Some(until),
            BreakerState::Open | BreakerState::Tried { .. } => None,
        };
        self.closings = self.closings.saturating_add(u32::from(closed.is_none()));
        if self.closings == 1 {
            self.first = match cause {
                ClosedCause::Outage => OUTAGE_FIRST,
                ClosedCause::Limit => HOLD_FIRST.max(self.waited / LEARNED),
            };
        }
        let doubled = self.first.saturating_mul(1 << self.closings.saturating_sub(1).min(16)).min(WAIT_MAX);
        let wait = asked.unwrap_or_default().min(HOLD_MAX).max(doubled);
        if cause == ClosedCause::Limit || self.is_limiter {
            self.waited = doubled;
        }
        let until = now + wait + wait.mul_f64(luck / 10.0);
        self.state = BreakerState::Closed { cause, until: closed.map_or(until, |known| known.max(until)) };
        match closed {
            // Answers to calls that were under way together are one piece of news.
            Some(known) if known >= now && cause == ClosedCause::Limit => BreakerEvent::None,
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
        health: CircuitBreaker,
        now: Instant,
    }

    impl World {
        fn new() -> Self {
            Self { health: CircuitBreaker::new(PATIENCE, true), now: Instant::now() }
        }

        /// A call of `row` that left while the gate was open.
        fn straggler(&mut self, row: u64, sign: Signal) -> BreakerEvent {
            self.health.note(sign, row, false, self.now, 0.0)
        }

        /// Waits for the gate, sends a call of `row` and takes in its answer.
        fn call(&mut self, row: u64, sign: Signal) -> BreakerEvent {
            if let Gate::Closed(until) = self.health.gate() {
                self.now = self.now.max(until);
            }
            let is_try = self.health.go();
            self.health.note(sign, row, is_try, self.now, 0.0)
        }

        fn waited(&mut self, row: u64, sign: Signal) -> u128 {
            match self.call(row, sign) {
                BreakerEvent::Held(wait) | BreakerEvent::Failing { wait, .. } => wait.as_millis(),
                news => panic!("{news:?}"),
            }
        }
    }

    #[test]
    fn everybody_waits_as_long_as_the_server_asks_and_then_one_call_tries() {
        let mut world = World::new();
        assert_eq!(world.call(1, Signal::Limited(Some(9 * SECOND))), BreakerEvent::Held(9 * SECOND));
        assert_eq!(world.straggler(2, Signal::Limited(Some(20 * SECOND))), BreakerEvent::None);
        assert_eq!(world.health.gate(), Gate::Closed(world.now + 20 * SECOND));
        world.now += 20 * SECOND;
        assert!(world.health.go());
        assert_eq!((world.health.gate(), world.health.go()), (Gate::Tried, false));
        // Others that left before say nothing of it.
        assert_eq!(world.straggler(3, Signal::Good), BreakerEvent::None);
        assert_eq!(world.straggler(4, Signal::Limited(None)), BreakerEvent::None);
        assert_eq!(world.health.gate(), Gate::Tried);
        assert!(matches!(
            world.health.note(Signal::Good, 1, true, world.now, 0.0),
            BreakerEvent::Reopened(ClosedCause::Limit, _)
        ));
        assert_eq!(world.health.gate(), Gate::Open);
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
        world.health.note(Signal::Limited(Some(10 * SECOND)), 1, false, world.now, 1.0);
        assert_eq!(world.health.gate(), Gate::Closed(world.now + 11 * SECOND));
    }

    #[test]
    fn a_limit_that_is_announced_with_a_success_holds_too() {
        let mut world = World::new();
        assert_eq!(world.call(1, Signal::Spent(7 * SECOND)), BreakerEvent::Held(7 * SECOND));
        assert!(matches!(world.call(2, Signal::Good), BreakerEvent::Reopened(ClosedCause::Limit, _)));
    }

    #[test]
    fn a_run_of_failures_of_several_rows_is_an_outage() {
        let mut world = World::new();
        world.call(0, Signal::Good);
        for row in 1..u64::from(FAILURES) {
            assert_eq!(world.call(row, Signal::Failed), BreakerEvent::None);
            assert!(!world.health.is_outage());
        }
        let failing = world.call(9, Signal::Failed);
        assert!(matches!(failing, BreakerEvent::Failing { wait: OUTAGE_FIRST, .. }), "{failing:?}");
        assert!(world.health.is_outage());
        // Those under way are part of it.
        assert_eq!(world.straggler(10, Signal::Failed), BreakerEvent::None);
        let waits: Vec<u128> = (0..8).map(|row| world.waited(row, Signal::Failed)).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        assert!(world.health.is_outage());
        let back = world.call(1, Signal::Good);
        assert!(
            matches!(back, BreakerEvent::Reopened(ClosedCause::Outage, since) if since > 60 * SECOND),
            "{back:?}"
        );
        assert!(!world.health.is_outage() && world.health.gate() == Gate::Open);
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
        let mut world = World { health: CircuitBreaker::new(PATIENCE, false), now: Instant::now() };
        for row in 0..100 {
            assert_eq!(world.call(row, Signal::Failed), BreakerEvent::None);
        }
        world.health.arm();
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
            let sign = if row % 10 == 0 { Signal::Good } else { Signal::Busy };
            held += u32::from(matches!(world.straggler(row, sign), BreakerEvent::Held(_)));
        }
        assert!(held > 0 && !world.health.is_outage());
        assert!(world.health.is_limit(Signal::Busy));
    }

    #[test]
    fn nothing_but_503_is_an_outage() {
        let mut world = World::new();
        for row in 0..40 {
            world.call(row, if row < 20 { Signal::Good } else { Signal::Busy });
        }
        assert!(world.health.is_outage());
    }

    #[test]
    fn patience_ends_whatever_the_server_does() {
        for (sign, cause) in [
            (Signal::Failed, ClosedCause::Outage),
            (Signal::Limited(None), ClosedCause::Limit),
            (Signal::Limited(Some(HOLD_MAX)), ClosedCause::Limit),
        ] {
            let mut world = World::new();
            let start = world.now;
            let mut news = (0..1000).map(|row| world.call(row, sign));
            let end = news.find(|news| matches!(news, BreakerEvent::GivenUp(..)));
            let Some(BreakerEvent::GivenUp(found, after)) = end else { panic!("{sign:?}: {end:?}") };
            assert_eq!(found, cause);
            assert!(after > PATIENCE && world.now - start <= PATIENCE + HOLD_MAX, "{sign:?} {after:?}");
        }
    }
}
