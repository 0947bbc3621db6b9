//! What follows an answer: a pure function of call, answer and attempts.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::omnidesk::{CallKind, Meaning};

/// Attempts of one call so far, the one just answered included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attempts {
    /// Requests that were answered or lost. Refused connections, requests to wait
    /// and outages of the whole server do not count.
    pub(super) used: u32,
    /// Connections that could not be made, one after another.
    pub(super) unconnected: u32,
    /// Requests whose answer was lost.
    pub(super) lost: u32,
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
    StopRun,
}

/// First pause of a call's own; each further one may be twice as long.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// Longest pause of a call's own.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

pub(super) fn decide(
    kind: CallKind,
    meaning: Meaning,
    attempts: Attempts,
    attempts_max: NonZeroU32,
) -> Decision {
    match meaning {
        Meaning::Done
        | Meaning::DoneBefore
        | Meaning::Exists
        | Meaning::NotFound
        | Meaning::Refused
        | Meaning::Unclear => Decision::End,
        Meaning::KeyRefused => Decision::StopRun,
        Meaning::Limited => Decision::Hold,
        Meaning::Unsent => Decision::Reconnect(backoff(attempts.unconnected)),
        // A create is in doubt, and is probed before another one is sent.
        Meaning::Unavailable if !kind.is_repeatable() => Decision::End,
        Meaning::Unavailable if attempts.used < attempts_max.get() => Decision::Retry(backoff(attempts.used)),
        Meaning::Unavailable => Decision::End,
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
    use crate::omnidesk::{Exchange, RefusalTexts, judge};

    const ATTEMPTS: NonZeroU32 = NonZeroU32::new(3).expect("three");

    fn decided(kind: CallKind, meaning: Meaning, used: u32) -> &'static str {
        match decide(kind, meaning, Attempts { used, ..Attempts::default() }, ATTEMPTS) {
            Decision::End => "end",
            Decision::Retry(_) => "retry",
            Decision::Reconnect(_) => "reconnect",
            Decision::Hold => "hold",
            Decision::StopRun => "stop",
        }
    }

    /// Every status code, for each call, first and last attempt.
    #[test]
    fn the_table_of_status_codes() {
        for status in 100..=599_u16 {
            let body = if status < 300 {
                r#"{"type":"result","message":"Fine."}"#
            } else {
                r#"{"status":"error","message":"No."}"#
            };
            let exchange =
                Exchange::Answered { status, retry_after: None, quota_wait: None, body: body.into() };
            for kind in CallKind::ALL {
                let meaning = judge(kind, &exchange, &RefusalTexts::default()).meaning;
                let (first, last) = match (status, kind) {
                    (401 | 403, _) => ("stop", "stop"),
                    (429, _) => ("hold", "hold"),
                    (408 | 425 | 500..=599, kind) if kind != CallKind::Create => ("retry", "end"),
                    _ => ("end", "end"),
                };
                assert_eq!(decided(kind, meaning, 1), first, "{status} {kind:?}, first");
                assert_eq!(decided(kind, meaning, 3), last, "{status} {kind:?}, last");
            }
        }
    }

    #[test]
    fn the_table_of_lost_and_unsent_requests() {
        for kind in CallKind::ALL {
            let meaning = |exchange| judge(kind, &exchange, &RefusalTexts::default()).meaning;
            let expected = if kind == CallKind::Create { "end" } else { "retry" };
            assert_eq!(decided(kind, meaning(Exchange::Lost("reset".into())), 1), expected);
            assert_eq!(decided(kind, meaning(Exchange::NotSent("refused".into())), 99), "reconnect");
        }
    }

    #[test]
    fn pauses_are_bounded() {
        assert_eq!(backoff(1), BACKOFF_FIRST);
        assert_eq!(backoff(3), 4 * BACKOFF_FIRST);
        assert_eq!(backoff(u32::MAX), BACKOFF_MAX);
    }
}
