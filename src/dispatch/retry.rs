//! What to do with an answer: a pure function of call, answer and tries.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::omnidesk::{Answer, CallKind};

/// Tries of one call so far, the one just answered included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Requests that were answered or lost; refused connections, requests to
    /// wait and an outage of the whole server do not count.
    pub used: u32,
    /// Connections that could not be made, in a row.
    pub unconnected: u32,
    /// Requests whose answer was lost.
    pub lost: u32,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The call worked.
    Accept,
    /// What it would make is there: as good as done, and worth a note.
    AcceptExisting,
    /// The customer exists: go on as an update.
    TurnExisting,
    /// The customer does not exist: go on as a create.
    TurnAbsent,
    /// The row fails.
    Refuse,
    /// The row fails: attempts used up.
    GiveUp,
    /// Try this call again after a pause of its own.
    Again(Duration),
    /// Nothing was sent: try this call again, if the API is to be reached at all.
    Reconnect(Duration),
    /// Everybody waits, then this call is tried again; no attempt is used.
    HoldAll,
    /// The create may have been carried out.
    InDoubt,
    /// The run stops.
    StopRun,
}

/// First pause of a call's own; each further one may be twice as long.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// Longest pause of a call's own.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// What to do with `answer` to a call of `kind`.
#[must_use]
pub fn decide(kind: CallKind, answer: &Answer, tries: Attempts, attempts: NonZeroU32) -> Decision {
    match answer {
        Answer::Done => Decision::Accept,
        Answer::Exists { message, .. } => match kind {
            CallKind::Create => Decision::TurnExisting,
            // The address is there, and not where it was to go.
            CallKind::AddChannel if is_of_another(message) => Decision::Refuse,
            CallKind::AddChannel => Decision::AcceptExisting,
            CallKind::Update | CallKind::Purge => Decision::Refuse,
        },
        Answer::NotFound { .. } => match kind {
            // An earlier try, whose answer was lost, has purged it.
            CallKind::Purge if tries.lost > 0 => Decision::Accept,
            // A purge goes on as nothing, but who is gone is to be forgotten.
            CallKind::Update | CallKind::AddChannel | CallKind::Purge => Decision::TurnAbsent,
            CallKind::Create => Decision::Refuse,
        },
        Answer::Refused { .. } => Decision::Refuse,
        Answer::KeyRefused { .. } => Decision::StopRun,
        Answer::Throttled { .. } => Decision::HoldAll,
        Answer::NotSent { .. } => Decision::Reconnect(backoff(tries.unconnected)),
        Answer::Unsettled { .. } if !kind.is_repeatable() => Decision::InDoubt,
        Answer::Unsettled { .. } if tries.used < attempts.get() => Decision::Again(backoff(tries.used)),
        Answer::Unsettled { .. } => Decision::GiveUp,
    }
}

/// Whether the API says that an address is there, but somebody else's.
fn is_of_another(message: &str) -> bool {
    let message = message.to_lowercase();
    ["other", "different"]
        .iter()
        .any(|word| ["customer", "user"].iter().any(|who| message.contains(&format!("{word} {who}"))))
}

/// The longest pause after `tries` tries: doubling, bounded. The caller takes
/// a random share of it, so that calls that failed together do not come back
/// together ("full jitter").
fn backoff(tries: u32) -> Duration {
    BACKOFF_FIRST.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::omnidesk::{Exchange, RefusalTexts, RetryAfter, judge};

    const ATTEMPTS: NonZeroU32 = NonZeroU32::new(3).expect("three");

    fn word(kind: CallKind, answer: &Answer, tries: Attempts) -> &'static str {
        match decide(kind, answer, tries, ATTEMPTS) {
            Decision::Accept => "accept",
            Decision::AcceptExisting => "accept existing",
            Decision::TurnExisting => "go on as update",
            Decision::TurnAbsent => "go on as create",
            Decision::Refuse => "refuse",
            Decision::GiveUp => "give up",
            Decision::Again(_) => "again",
            Decision::Reconnect(_) => "reconnect",
            Decision::HoldAll => "hold all",
            Decision::InDoubt => "in doubt",
            Decision::StopRun => "stop",
        }
    }

    fn tries(used: u32, lost: u32) -> Attempts {
        Attempts { used, lost, unconnected: 0 }
    }

    /// Every status code, for each call, first and last try.
    #[test]
    fn the_table_of_status_codes() {
        for status in 100..=599_u16 {
            let body = if status < 300 {
                r#"{"type":"result","message":"Fine."}"#
            } else {
                r#"{"status":"error","message":"No."}"#
            };
            let exchange = Exchange::Answered { status, retry_after: None, spent: None, body: body.into() };
            for kind in CallKind::ALL {
                let answer = judge(kind, &exchange, &RefusalTexts::default());
                let (first, last) = match (status, kind) {
                    (200..=299, _) => ("accept", "accept"),
                    (401 | 403, _) => ("stop", "stop"),
                    (429, _) => ("hold all", "hold all"),
                    (408 | 425 | 500..=599, CallKind::Create) => ("in doubt", "in doubt"),
                    (408 | 425 | 500..=599, _) => ("again", "give up"),
                    _ => ("refuse", "refuse"),
                };
                assert_eq!(word(kind, &answer, tries(1, 0)), first, "{status} {kind:?}, first");
                assert_eq!(word(kind, &answer, tries(3, 0)), last, "{status} {kind:?}, last");
            }
        }
    }

    #[test]
    fn what_is_no_status_code() {
        let texts = RefusalTexts::default();
        for kind in CallKind::ALL {
            let lost = judge(kind, &Exchange::Lost("reset".into()), &texts);
            let expected = if kind == CallKind::Create { "in doubt" } else { "again" };
            assert_eq!(word(kind, &lost, tries(1, 1)), expected);
            let unsent = judge(kind, &Exchange::NotSent("refused".into()), &texts);
            assert_eq!(word(kind, &unsent, tries(99, 0)), "reconnect");
            let busy = Exchange::Answered {
                status: 503,
                retry_after: Some(RetryAfter(Duration::from_secs(9))),
                spent: None,
                body: vec![],
            };
            assert_eq!(word(kind, &judge(kind, &busy, &texts), tries(99, 0)), "hold all");
        }
    }

    #[test]
    fn refusals_with_a_meaning() {
        let exists = Answer::Exists { status: 400, message: String::new() };
        let absent = Answer::NotFound { status: 400, message: String::new() };
        let cases = [
            (CallKind::Create, "go on as update", "refuse"),
            (CallKind::Update, "refuse", "go on as create"),
            (CallKind::AddChannel, "accept existing", "go on as create"),
            (CallKind::Purge, "refuse", "go on as create"),
        ];
        for (kind, if_exists, if_absent) in cases {
            assert_eq!(word(kind, &exists, tries(1, 0)), if_exists, "{kind:?}");
            assert_eq!(word(kind, &absent, tries(1, 0)), if_absent, "{kind:?}");
        }
        assert_eq!(word(CallKind::Purge, &absent, tries(2, 1)), "accept");
    }

    #[test]
    fn waits_are_bounded() {
        assert_eq!(backoff(1), BACKOFF_FIRST);
        assert_eq!(backoff(3), 4 * BACKOFF_FIRST);
        assert_eq!(backoff(u32::MAX), BACKOFF_MAX);
    }
}
