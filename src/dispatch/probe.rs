//! Whether a create whose answer was lost was carried out.
//!
//! The API has no idempotency key and offers one safe probe: update the
//! customer. Success means that the customer exists. A refusal that means "not
//! found" makes a second create safe. The server may still be at work on the
//! lost request, so the probe waits for `settle`, for that customer alone.

use std::rc::Rc;

use tokio::time::Instant;

use super::record::RecorderClosed;
use super::retry::Attempts;
use super::row_task::{RowEnd, RowTask, hands_off_end, problem};
use super::send::SentCall;
use super::settings::InDoubt;
use crate::mapping::Operation;
use crate::omnidesk::Meaning;
use crate::reconcile::{AfterAnswer, CustomerState, Outcome, PendingCall, acknowledge_probe, probe_call};

const HELD: &str =
    "a create of this customer was sent and its answer lost; nothing more is sent for this customer";
const FOOLED: &str = "look for the customer in Omnidesk: the API answers success to updates of customers who do not exist, so a probe shows nothing";
const UNPROBED: &str = "a create of this customer was sent and its answer lost; before the probe, a control request was answered: ";
const PROBE_AGAIN: &str =
    "run the same command again, which probes once more; or look for the customer in Omnidesk";

impl RowTask {
    /// Finds out whether the lost create was carried out; `Some` if the row ends
    /// with it.
    pub(super) async fn resolve_create(
        &mut self,
        pending: PendingCall,
        since: Instant,
    ) -> Result<Option<RowEnd>, RecorderClosed> {
        if self.dispatcher.settings.in_doubt == InDoubt::Hold {
            let hint = "look for the customer in Omnidesk, or set in_doubt = \"probe\" and run the same command again";
            return Ok(Some(in_doubt(HELD.to_owned(), hint, &SentCall::default())));
        }
        self.doubt = Some(pending);
        self.extend_cool_down(since);
        if !self.wait_for_cool_down().await {
            return Ok(Some(RowEnd::Stopped));
        }
        // A purge needs no probe: it also ends the effect of the lost create.
        let settings = &self.dispatcher.settings;
        if settings.in_doubt == InDoubt::Resend || self.job.intent.operation == Operation::Purge {
            return Ok(self.end_if_lost_too_often());
        }
        self.probe(pending).await
    }

    async fn probe(&mut self, pending: PendingCall) -> Result<Option<RowEnd>, RecorderClosed> {
        let dispatcher = Rc::clone(&self.dispatcher);
        let brand_id = self.job.intent.customer.brand_id;
        match dispatcher.probing_works(brand_id, self.at()).await? {
            Ok(true) => {}
            _ if dispatcher.switch.is_set() => return Ok(Some(RowEnd::Stopped)),
            Ok(false) => return Ok(Some(in_doubt(HELD.to_owned(), FOOLED, &SentCall::default()))),
            Err(message) => {
                let message = format!("{UNPROBED}{message}");
                return Ok(Some(in_doubt(message, PROBE_AGAIN, &SentCall::default())));
            }
        }
        let call = probe_call(&self.job.intent);
        // The record of the create stays until the answer is known.
        let mut sent = dispatcher.send(&call, self.at(), None, Attempts::default()).await?;
        if sent.is_suspicious() && !self.is_own_fault(&sent).await? {
            sent.answer = None;
        }
        self.count_call(&sent);
        if !sent.has_follow_up() {
            self.report_to_canary(&call, &sent, AfterAnswer::GoOn);
        }
        match sent.meaning() {
            Some(Meaning::Done | Meaning::DoneBefore | Meaning::Exists) => {
                self.doubt = None;
                let policy = &dispatcher.policy();
                self.was_found = true;
                let after = acknowledge_probe(&pending, &self.job.intent, &mut self.situation, policy);
                self.record_end(&call, &sent, None)?;
                Ok(match after {
                    AfterAnswer::HandsOff(cause, outcome) => Some(hands_off_end(cause, outcome, &sent)),
                    AfterAnswer::GoOn | AfterAnswer::Settled(_) | AfterAnswer::Fail => None,
                })
            }
            Some(Meaning::NotFound) => {
                self.doubt = None;
                if !self.situation.state.is_purged() {
                    self.situation.state = CustomerState::Unknown;
                }
                self.record_end(&call, &sent, None)?;
                Ok(self.end_if_lost_too_often())
            }
            None => Ok(Some(RowEnd::Stopped)),
            Some(_) => {
                self.record_end(&call, &sent, Some(pending))?;
                let message = format!(
                    "a create was sent and its answer lost; the probe was answered: {}",
                    sent.message()
                );
                Ok(Some(in_doubt(message, PROBE_AGAIN, &sent)))
            }
        }
    }

    /// Another create may be sent, unless all attempts were lost.
    fn end_if_lost_too_often(&self) -> Option<RowEnd> {
        if self.lost_creates < self.dispatcher.settings.attempts.get() {
            return None;
        }
        let message = format!("the answer to the create was lost {} times", self.lost_creates);
        let hint = "the server fails at every attempt; run the same command again later";
        Some(in_doubt(message, hint, &SentCall::default()))
    }
}

fn in_doubt(message: String, hint: &'static str, sent: &SentCall) -> RowEnd {
    RowEnd::Settled(Outcome::InDoubt, Some(problem("in_doubt", message, hint, sent)))
}
