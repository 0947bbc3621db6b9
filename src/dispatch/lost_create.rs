//! Whether a create whose answer was lost was carried out.
//!
//! The API has no idempotency key and offers one safe probe: update the
//! customer. Success means that the customer exists. A refusal that means "not
//! found" makes a second create safe. The server may still be at work on the
//! lost request, so the probe waits for `settle`, for that customer alone.

use tokio::time::Instant;

use super::call_queue::{Asker, Purpose, QueuedCall};
use super::retry::{Attempts, SentCall};
use super::row::{LostCreate, Row, RowEnd, hands_off_end, problem};
use super::scheduler::{Due, Scheduler};
use super::settings::InDoubt;
use super::waits::WaitCause;
use crate::mapping::Operation;
use crate::omnidesk::{Call, Meaning};
use crate::reconcile::{AfterAnswer, CustomerState, Outcome, PendingCall, acknowledge_probe, probe_call};

const HELD: &str =
    "a create of this customer was sent and its answer lost; nothing more is sent for this customer";
const FOOLED: &str = "look for the customer in Omnidesk: the API answers success to updates of customers who do not exist, so a probe shows nothing";
const UNPROBED: &str = "a create of this customer was sent and its answer lost; before the probe, a control request was answered: ";
const PROBE_AGAIN: &str =
    "run the same command again, which probes once more; or look for the customer in Omnidesk";

impl Scheduler {
    /// Nothing proves whether the create was carried out. `since` is when its answer
    /// was lost.
    pub(super) fn suspect_create(&mut self, mut row: Box<Row>, create: PendingCall, since: Instant) {
        if self.settings.in_doubt == InDoubt::Hold {
            let hint = "look for the customer in Omnidesk, or set in_doubt = \"probe\" and run the same command again";
            return self.end_row(row, in_doubt(HELD.to_owned(), hint, &SentCall::default()));
        }
        row.doubt = Some(create);
        row.extend_cool_down(since + self.settings.settle);
        self.resolve_create(LostCreate { row, create });
    }

    /// Finds out whether the lost create was carried out, once the server is done with it.
    pub(super) fn resolve_create(&mut self, lost: LostCreate) {
        if self.is_stopped() {
            return self.end_row(lost.row, RowEnd::Stopped);
        }
        if let Some(until) = lost.row.cooling_until() {
            return self.wait_until(until, WaitCause::CoolDown, Due::LostCreate(lost));
        }
        // A purge needs no probe: it also ends the effect of the lost create.
        let is_purge = lost.row.intent().operation == Operation::Purge;
        match self.probing {
            _ if is_purge || self.settings.in_doubt == InDoubt::Resend => self.go_on_without(lost.row),
            Some(true) => {
                let call = probe_call(lost.row.intent());
                let purpose = Purpose::Probe(lost.create);
                self.enqueue(QueuedCall::new(lost.row, call, purpose, Attempts::default()));
            }
            Some(false) => {
                self.end_row(lost.row, in_doubt(HELD.to_owned(), FOOLED, &SentCall::default()));
            }
            None if self.is_asking => self.unprobed.push(lost),
            None => self.ask_control(lost.row, Asker::Probe(lost.create)),
        }
    }

    /// Takes in the answer to the control request that was sent before a probe.
    pub(super) fn end_question(&mut self, lost: LostCreate, sent: &SentCall) {
        let end = match self.probing {
            _ if self.is_stopped() => RowEnd::Stopped,
            Some(_) => return self.resolve_create(lost),
            None => in_doubt(format!("{UNPROBED}{}", sent.message()), PROBE_AGAIN, &SentCall::default()),
        };
        self.end_row(lost.row, end);
    }

    pub(super) fn take_in_probe(
        &mut self,
        mut row: Box<Row>,
        call: &Call,
        sent: &SentCall,
        create: PendingCall,
    ) {
        if !sent.has_follow_up() {
            self.report_to_canary(&row, call, sent, AfterAnswer::GoOn);
        }
        let end = match sent.meaning() {
            Some(Meaning::Done | Meaning::DoneBefore | Meaning::Exists) => {
                row.doubt = None;
                row.was_found = true;
                let policy = self.policy();
                let Row { job, situation, .. } = &mut *row;
                let after = acknowledge_probe(&create, &job.intent, situation, &policy);
                self.record_end(&row, call, sent, None);
                match after {
                    AfterAnswer::HandsOff(cause, outcome) => hands_off_end(cause, outcome, sent),
                    AfterAnswer::GoOn | AfterAnswer::Settled(_) | AfterAnswer::Fail => {
                        return self.advance(row);
                    }
                }
            }
            Some(Meaning::NotFound) => {
                row.doubt = None;
                if !row.situation.state.is_purged() {
                    row.situation.state = CustomerState::Unknown;
                }
                self.record_end(&row, call, sent, None);
                return self.go_on_without(row);
            }
            None => RowEnd::Stopped,
            Some(_) => {
                self.record_end(&row, call, sent, Some(create));
                let message = format!(
                    "a create was sent and its answer lost; the probe was answered: {}",
                    sent.message()
                );
                in_doubt(message, PROBE_AGAIN, sent)
            }
        };
        self.end_row(row, end);
    }

    /// Another create may be sent, unless all attempts were lost or it would be answered
    /// like the last one.
    fn go_on_without(&mut self, mut row: Box<Row>) {
        if row.lost_creates >= self.settings.attempts.get() {
            let message = format!("the answer to the create was lost {} times", row.lost_creates);
            let hint = "the server fails at every attempt; run the same command again later";
            return self.end_row(row, in_doubt(message, hint, &SentCall::default()));
        }
        match row.end_if_absent.take() {
            Some(end) if !row.situation.state.may_exist() => self.end_row(row, *end),
            _ => self.advance(row),
        }
    }
}

fn in_doubt(message: String, hint: &'static str, sent: &SentCall) -> RowEnd {
    RowEnd::Settled(Outcome::InDoubt, Some(problem("in_doubt", message, hint, sent)))
}
