//! A create whose answer was lost: was it carried out?
//!
//! The API has no idempotency key and offers one safe question: update the
//! customer. Success means that it exists; a refusal that means "not found"
//! makes a second create safe. The server may still be at work on the lost
//! request, so the question waits for `settle`, for that customer alone.

use std::rc::Rc;

use tokio::time::Instant;

use super::record::{FlightChange, RecorderClosed};
use super::row_task::{Ended, RowTask, trouble};
use super::send::{CallResult, End};
use super::settings::InDoubt;
use crate::mapping::Operation;
use crate::omnidesk::CallKind;
use crate::reconcile::{Outcome, PendingCall, found_by_probe, probe};

impl RowTask {
    /// Finds out whether the lost create `flight` was carried out; an outcome
    /// if that cannot be done now.
    pub(crate) async fn resolve(
        &mut self,
        flight: PendingCall,
        since: Instant,
    ) -> Result<Option<Ended>, RecorderClosed> {
        if self.shared.settings.in_doubt == InDoubt::Hold {
            let message = "a create of this customer was sent and its answer lost; with in_doubt = \"hold\" nothing more is sent";
            let hint = "look for the customer in Omnidesk, or set in_doubt = \"probe\" and run the same command again";
            return Ok(Some(in_doubt(message.to_owned(), hint, &CallResult::nothing())));
        }
        self.has_open_doubt = true;
        self.keep_quiet(since);
        if !self.wait_quiet().await {
            return Ok(Some(None));
        }
        // A purge is its own probe: whatever the lost create did, it ends it.
        if self.shared.settings.in_doubt == InDoubt::Resend || self.job.intent.operation == Operation::Purge {
            return Ok(self.lost_too_often());
        }
        self.ask(flight).await
    }

    async fn ask(&mut self, flight: PendingCall) -> Result<Option<Ended>, RecorderClosed> {
        let shared = Rc::clone(&self.shared);
        let call = probe(&self.job.intent);
        // The record of the create stays until the answer is known.
        let sent = shared.send(&call, self.job.key, self.row(), None, false).await?;
        self.take_in(&sent);
        self.note_for_canary(&call, &sent, true);
        match sent.end {
            End::Done | End::DoneBefore | End::Exists => {
                self.has_open_doubt = false;
                found_by_probe(&flight, &self.job.intent, &mut self.situation, &shared.settings.policy);
                // A probe whose answer was lost may itself come late.
                let straggler = PendingCall::new(flight.export, flight.row, CallKind::Update, None);
                let change =
                    if sent.tries.lost > 0 { FlightChange::Become(straggler) } else { FlightChange::Clear };
                self.ended(&call, &sent, change)?;
                Ok(None)
            }
            End::NotFound => {
                self.has_open_doubt = false;
                self.situation.told.take_if(|told| !told.purged);
                self.ended(&call, &sent, FlightChange::Clear)?;
                Ok(self.lost_too_often())
            }
            End::Stopped => Ok(Some(None)),
            End::Refused { .. } | End::GaveUp | End::InDoubt => {
                self.ended(&call, &sent, FlightChange::Keep)?;
                let message = format!(
                    "a create was sent and its answer lost; the probe came back with: {}",
                    sent.message
                );
                let hint =
                    "run the same command again: it asks once more; or look for the customer in Omnidesk";
                Ok(Some(in_doubt(message, hint, &sent)))
            }
        }
    }

    /// Another create may go, unless all attempts were lost.
    fn lost_too_often(&self) -> Option<Ended> {
        if self.lost_creates < self.shared.settings.attempts.get() {
            return None;
        }
        let message = format!("the answer to the create was lost {} times", self.lost_creates);
        let hint = "the server fails at every attempt; run the same command again later";
        Some(in_doubt(message, hint, &CallResult::nothing()))
    }
}

fn in_doubt(message: String, hint: &'static str, sent: &CallResult) -> Ended {
    Some((Outcome::InDoubt, Some(trouble("in_doubt", message, hint, sent))))
}
