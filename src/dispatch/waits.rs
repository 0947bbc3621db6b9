//! What the run waits for while it sends nothing, for people who look at it.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::time::Instant;

use super::circuit_breaker::{BreakerState, OpenCause};

/// How often it is checked.
pub(super) const WAIT_CHECKED_EVERY: Duration = Duration::from_secs(1);
/// A shorter wait is over before anybody looks.
const WAIT_SHOWN_MIN: Duration = Duration::from_secs(2);

/// The time until which nothing is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    pub cause: WaitCause,
    /// From now on.
    pub left: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitCause {
    /// The server asked to wait.
    Limit,
    /// The server fails.
    Outage,
    /// All that is left are customers with a lost answer.
    CoolDown,
    /// All that is left are calls that failed and are sent again.
    Retry,
}

impl WaitCause {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "the server's limit is reached",
            Self::Outage => "the server fails",
            Self::CoolDown => "the server may still be at work on a call whose answer was lost",
            Self::Retry => "a call failed and is sent again",
        }
    }
}

/// Rows that rest, and whether anything else is sent.
#[derive(Debug, Default)]
pub(super) struct Waits {
    resting: RefCell<Vec<(Instant, WaitCause)>>,
    on_their_way: Cell<u32>,
    sent: Cell<u64>,
    sent_at_check: Cell<u64>,
    shown: Cell<Option<(Instant, WaitCause)>>,
}

/// A row that rests, until it is dropped.
#[derive(Debug)]
pub(super) struct Rest<'a>(&'a Waits, (Instant, WaitCause));

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        let mut resting = self.0.resting.borrow_mut();
        if let Some(at) = resting.iter().position(|rest| *rest == self.1) {
            resting.swap_remove(at);
        }
    }
}

impl Waits {
    pub(super) fn rest(&self, until: Instant, cause: WaitCause) -> Rest<'_> {
        self.resting.borrow_mut().push((until, cause));
        Rest(self, (until, cause))
    }

    /// A request is sent.
    pub(super) fn begin(&self) {
        self.on_their_way.set(self.on_their_way.get() + 1);
        self.sent.set(self.sent.get() + 1);
    }

    /// It is answered or lost.
    pub(super) fn end(&self) {
        self.on_their_way.set(self.on_their_way.get() - 1);
    }

    /// The wait to show, if another one than before. `is_due`: a call may be sent
    /// as soon as the rate allows it.
    pub(super) fn check(&self, breaker: BreakerState, is_due: bool, now: Instant) -> Option<Option<Wait>> {
        let has_sent = self.sent_at_check.replace(self.sent.get()) != self.sent.get();
        let is_idle = self.on_their_way.get() == 0 && !has_sent && !is_due;
        let first_rest =
            || self.resting.borrow().iter().copied().min_by_key(|(until, _)| *until).filter(|_| is_idle);
        let found = match breaker {
            BreakerState::Open { cause, until } if until > now => Some((until, cause.into())),
            // The trial's answer is part of the wait.
            BreakerState::HalfOpen { .. } => self.shown.get(),
            BreakerState::Open { .. } | BreakerState::Closed => first_rest(),
        };
        let is_shown = found == self.shown.get();
        let found = found.filter(|(until, _)| is_shown || *until >= now + WAIT_SHOWN_MIN);
        if self.shown.replace(found) == found {
            return None;
        }
        Some(found.map(|(until, cause)| Wait { cause, left: until.saturating_duration_since(now) }))
    }
}

impl From<OpenCause> for WaitCause {
    fn from(cause: OpenCause) -> Self {
        match cause {
            OpenCause::Limit => Self::Limit,
            OpenCause::Outage => Self::Outage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_shown_once_and_only_if_nothing_else_is_sent() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let waits = Waits::default();
        let check = |breaker, is_due, now| {
            waits.check(breaker, is_due, at(now)).map(|wait| wait.map(|wait| wait.cause))
        };
        let closed = BreakerState::Closed;
        let open = |until| BreakerState::Open { cause: OpenCause::Limit, until: at(until) };
        assert_eq!(check(closed, false, 0), None);
        let rest = waits.rest(at(30), WaitCause::CoolDown);
        waits.begin();
        assert_eq!(check(closed, false, 1), None, "one call is on its way");
        waits.end();
        assert_eq!(check(closed, true, 2), None, "another one is due");
        assert_eq!(check(closed, false, 3), Some(Some(WaitCause::CoolDown)));
        assert_eq!(check(closed, false, 29), None, "it is shown already");
        assert_eq!(check(open(31), false, 30), Some(None), "too short to be shown");
        assert_eq!(check(open(90), false, 31), Some(Some(WaitCause::Limit)));
        assert_eq!(check(BreakerState::HalfOpen { cause: OpenCause::Limit }, false, 91), None);
        drop(rest);
        assert_eq!(check(closed, false, 92), Some(None));
    }
}
