//! What the run waits for while it sends nothing, for people who look at it.

use std::collections::BTreeMap;
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
    pub(crate) const ALL: [Self; 4] = [Self::Limit, Self::Outage, Self::CoolDown, Self::Retry];

    /// Whether the circuit breaker holds all calls.
    pub(super) fn is_of_breaker(self) -> bool {
        matches!(self, Self::Limit | Self::Outage)
    }

    /// For programs.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Outage => "outage",
            Self::CoolDown => "cool_down",
            Self::Retry => "retry",
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "the server's limit is reached",
            Self::Outage => "the server fails",
            Self::CoolDown => "the server may still be at work on a call whose answer was lost",
            Self::Retry => "a call failed and is sent again",
        }
    }
}

/// What is due at a time, and whether anything is sent until then.
#[derive(Debug)]
pub(super) struct Waits<T> {
    /// By time. Of two that are due at once, the earlier one goes first.
    timers: BTreeMap<(Instant, u64), (WaitCause, T)>,
    added: u64,
    on_their_way: u32,
    sent: u64,
    sent_at_check: u64,
    shown: Option<(Instant, WaitCause)>,
}

impl<T> Waits<T> {
    pub(super) fn new() -> Self {
        let timers = BTreeMap::new();
        Self { timers, added: 0, on_their_way: 0, sent: 0, sent_at_check: 0, shown: None }
    }

    pub(super) fn add(&mut self, until: Instant, cause: WaitCause, item: T) {
        self.added += 1;
        self.timers.insert((until, self.added), (cause, item));
    }

    /// When the first one is due, and what it waits for.
    pub(super) fn first(&self) -> Option<(Instant, WaitCause)> {
        self.timers.first_key_value().map(|((until, _), (cause, _))| (*until, *cause))
    }

    pub(super) fn pop_due(&mut self, now: Instant) -> Option<T> {
        let first = self.timers.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove().1)
    }

    pub(super) fn take_all(&mut self) -> impl Iterator<Item = T> {
        std::mem::take(&mut self.timers).into_values().map(|(_, item)| item)
    }

    pub(super) fn len(&self) -> usize {
        self.timers.len()
    }

    /// A request is sent.
    pub(super) fn begin(&mut self) {
        self.on_their_way += 1;
        self.sent += 1;
    }

    /// It is answered or lost.
    pub(super) fn end(&mut self) {
        self.on_their_way -= 1;
    }

    /// The wait to show, if another one than before. `is_due`: a call may be sent
    /// as soon as the rate allows it.
    pub(super) fn check(
        &mut self,
        breaker: BreakerState,
        is_due: bool,
        now: Instant,
    ) -> Option<Option<Wait>> {
        let has_sent = std::mem::replace(&mut self.sent_at_check, self.sent) != self.sent;
        let is_idle = self.on_their_way == 0 && !has_sent && !is_due;
        let found = match breaker {
            BreakerState::Open { cause, until } if until > now => Some((until, cause.into())),
            // The trial's answer is part of the wait.
            BreakerState::HalfOpen { .. } => self.shown,
            BreakerState::Open { .. } | BreakerState::Closed => self.first().filter(|_| is_idle),
        };
        let is_shown = found == self.shown;
        let found = found.filter(|(until, _)| is_shown || *until >= now + WAIT_SHOWN_MIN);
        if std::mem::replace(&mut self.shown, found) == found {
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
        let mut waits = Waits::new();
        let check = |waits: &mut Waits<()>, breaker, is_due, now| {
            waits.check(breaker, is_due, at(now)).map(|wait| wait.map(|wait| wait.cause))
        };
        let closed = BreakerState::Closed;
        let open = |until| BreakerState::Open { cause: OpenCause::Limit, until: at(until) };
        assert_eq!(check(&mut waits, closed, false, 0), None);
        waits.add(at(30), WaitCause::CoolDown, ());
        waits.begin();
        assert_eq!(check(&mut waits, closed, false, 1), None, "one call is on its way");
        waits.end();
        assert_eq!(check(&mut waits, closed, true, 2), None, "another one is due");
        assert_eq!(check(&mut waits, closed, false, 3), Some(Some(WaitCause::CoolDown)));
        assert_eq!(check(&mut waits, closed, false, 29), None, "it is shown already");
        assert_eq!(check(&mut waits, open(31), false, 30), Some(None), "too short to be shown");
        assert_eq!(check(&mut waits, open(90), false, 31), Some(Some(WaitCause::Limit)));
        assert_eq!(check(&mut waits, BreakerState::HalfOpen { cause: OpenCause::Limit }, false, 91), None);
        assert!(waits.pop_due(at(29)).is_none() && waits.pop_due(at(92)).is_some());
        assert_eq!(check(&mut waits, closed, false, 92), Some(None));
    }

    #[test]
    fn the_first_that_is_due_goes_first() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut waits = Waits::new();
        for (seconds, item) in [(3, "c"), (1, "a"), (3, "d"), (2, "b")] {
            waits.add(at(seconds), WaitCause::Retry, item);
        }
        assert_eq!(waits.first(), Some((at(1), WaitCause::Retry)));
        assert_eq!(waits.pop_due(at(0)), None);
        let due: Vec<_> = std::iter::from_fn(|| waits.pop_due(at(3))).collect();
        assert_eq!(due, ["a", "b", "c", "d"]);
        waits.add(at(5), WaitCause::CoolDown, "e");
        assert_eq!((waits.len(), waits.take_all().count(), waits.len()), (1, 1, 0));
    }
}
