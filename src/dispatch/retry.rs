//! What follows an answer: a pure function of call, answer and attempts.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

use crate::omnidesk::{Answer, CallKind, Meaning, Proof};

/// Attempts of one call so far, the one just answered included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attempts {
    /// Requests that were answered or lost. Refused connections, requests to wait
    /// and outages of the whole server do not count.
    pub(super) used: u32,
    /// Connections that could not be made, one after another.
    pub(super) unconnected: u32,
    /// Requests that were perhaps carried out: no answer proves that they were not.
    pub(super) perhaps_done: u32,
    /// Of these, those that may still be carried out.
    pub(super) lost: u32,
}

/// The attempts of a call, and its last answer.
#[derive(Debug, Default)]
pub(super) struct SentCall {
    /// `None`: the run stopped before the call had an end.
    pub(super) answer: Option<Answer>,
    pub(super) attempts: Attempts,
    /// Requests that were sent, or could not be.
    pub(super) requests: u32,
    /// Those of them that the server refused for its limit.
    pub(super) refused: u32,
    /// An unrecorded call cannot have been sent.
    pub(super) is_recorded: bool,
    /// When the last lost answer was noticed.
    pub(super) lost_at: Option<Instant>,
}

impl SentCall {
    pub(super) fn meaning(&self) -> Option<Meaning> {
        self.answer.as_ref().map(|answer| answer.meaning)
    }

    /// The HTTP status, if an answer came.
    pub(super) fn status(&self) -> Option<u16> {
        self.answer.as_ref().and_then(|answer| answer.status)
    }

    /// The API's message, or the failure of the request.
    pub(super) fn message(&self) -> &str {
        self.answer.as_ref().map(|answer| answer.message.as_str()).unwrap_or_default()
    }

    /// Whether another call may replace this one. Then that one shows whether the
    /// settings work.
    pub(super) fn has_follow_up(&self) -> bool {
        matches!(self.meaning(), Some(Meaning::Exists | Meaning::NotFound))
    }

    /// Whether the call certainly changed nothing.
    pub(super) fn is_without_effect(&self) -> bool {
        let has_worked = self.answer.as_ref().is_some_and(|answer| answer.proof == Proof::Done);
        self.attempts.perhaps_done == 0 && !has_worked
    }

    pub(super) fn is_suspicious(&self) -> bool {
        self.meaning().is_some_and(Meaning::is_suspicious)
    }

    /// Whether nothing proves that the call's last request was not carried out.
    pub(super) fn proves_nothing(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.proof == Proof::Nothing)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// The answer is the call's last.
    End,
    /// Send the call again after a pause of its own.
    Retry(Duration),
    /// Nothing was sent: send the call again, if the API can be reached at all.
    Reconnect(Duration),
    /// All calls wait, then this one is sent again. No attempt is used.
    Hold,
}

/// First pause of a call's own; each further one may be twice as long.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// Longest pause of a call's own.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

pub(super) fn decide(
    kind: CallKind,
    answer: &Answer,
    attempts: Attempts,
    attempts_max: NonZeroU32,
) -> Decision {
    // A create that was perhaps carried out is probed before another one is sent.
    let is_safe = kind.is_repeatable() || answer.proof == Proof::NotDone;
    match answer.meaning {
        Meaning::Done
        | Meaning::DoneBefore
        | Meaning::Exists
        | Meaning::NotFound
        | Meaning::Refused
        | Meaning::Unclear
        | Meaning::KeyRefused
        | Meaning::Redirected
        | Meaning::Page => Decision::End,
        Meaning::Unsent => Decision::Reconnect(backoff(attempts.unconnected)),
        Meaning::Limited if is_safe => Decision::Hold,
        Meaning::Unavailable if is_safe && attempts.used < attempts_max.get() => {
            Decision::Retry(backoff(attempts.used))
        }
        Meaning::Limited | Meaning::Unavailable => Decision::End,
    }
}

/// The longest pause after this many attempts: doubling, bounded. The caller takes
/// a random share of it ("full jitter"), so that calls that fail together do not
/// return together.
fn backoff(attempts: u32) -> Duration {
    BACKOFF_FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTEMPTS: NonZeroU32 = NonZeroU32::new(3).expect("three");

    /// What follows each meaning, for a create that was perhaps carried out and
    /// for any other call, at the first and the last attempt.
    #[test]
    fn what_follows_each_meaning() {
        use Meaning::*;
        for meaning in [
            Done,
            DoneBefore,
            Exists,
            NotFound,
            Refused,
            Unclear,
            KeyRefused,
            Redirected,
            Page,
            Limited,
            Unavailable,
            Unsent,
        ] {
            let (create, first, last) = match meaning {
                Unavailable => ("end", "retry", "end"),
                Limited => ("end", "hold", "hold"),
                Unsent => ("reconnect", "reconnect", "reconnect"),
                _ => ("end", "end", "end"),
            };
            let decided = |kind, proof, used| {
                let answer = Answer::new(meaning, proof, "");
                match decide(kind, &answer, Attempts { used, ..Attempts::default() }, ATTEMPTS) {
                    Decision::End => "end",
                    Decision::Retry(_) => "retry",
                    Decision::Reconnect(_) => "reconnect",
                    Decision::Hold => "hold",
                }
            };
            assert_eq!(decided(CallKind::Create, Proof::Nothing, 1), create, "{meaning:?}");
            assert_eq!(decided(CallKind::Create, Proof::NotDone, 1), first, "{meaning:?}");
            for kind in [CallKind::Update, CallKind::AddChannel, CallKind::Purge] {
                assert_eq!(decided(kind, Proof::Nothing, 1), first, "{meaning:?} {kind:?}");
                assert_eq!(decided(kind, Proof::Nothing, 3), last, "{meaning:?} {kind:?}");
            }
        }
    }

    #[test]
    fn pauses_are_bounded() {
        assert_eq!(backoff(1), BACKOFF_FIRST);
        assert_eq!(backoff(3), 4 * BACKOFF_FIRST);
        assert_eq!(backoff(u32::MAX), BACKOFF_MAX);
    }
}
