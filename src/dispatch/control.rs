//! The control request: an update of a customer who cannot exist.
//!
//! Its answer shows whether the API can be reached at all, and whether a probe tells
//! customers who exist from those who do not.

use tokio::time::Instant;

use super::record::{Record, RecorderClosed};
use super::retry::Attempts;
use super::row_task::RowTask;
use super::send::{Dispatcher, SentCall};
use super::stop::Stop;
use super::vanished_brake::BrakeVerdict;
use crate::mapping::Place;
use crate::omnidesk::{Answer, Call, Meaning};

/// What a suspicious answer comes to.
enum Verdict {
    RowAtFault,
    /// No other customer is left to try: the control request decides.
    AskControl,
}

impl Dispatcher {
    /// Whether probes tell customers who exist from those who do not, or why that
    /// is unknown.
    pub(super) async fn probing_works(
        &self,
        brand_id: u64,
        at: Place,
    ) -> Result<Result<bool, String>, RecorderClosed> {
        let mut known = self.probing.lock().await;
        if let Some(works) = *known {
            return Ok(Ok(works));
        }
        let (sent, probing) = self.ask_control(brand_id, at).await?;
        *known = probing;
        Ok(probing.ok_or_else(|| sent.message().to_owned()))
    }

    /// Sends a control request. Returns its answer, and whether probes tell who exists.
    async fn ask_control(
        &self,
        brand_id: u64,
        at: Place,
    ) -> Result<(SentCall, Option<bool>), RecorderClosed> {
        let call = Call::control(brand_id);
        let sent = self.send(&call, at, None, Attempts::default()).await?;
        let probing = sent.answer.as_ref().and_then(Answer::shows_probing);
        if let Some(works) = probing {
            let fooled_by = (!works).then(|| call.customer.clone());
            self.records.add(Record::Control { fooled_by })?;
        }
        Ok((sent, probing))
    }
}

impl RowTask {
    /// Whether a suspicious answer is this row's own fault; `false` if the run
    /// stopped, and then no row is to blame.
    pub(super) async fn is_own_fault(&self, sent: &SentCall) -> Result<bool, RecorderClosed> {
        let (dispatcher, key, at) = (&self.dispatcher, self.job.key, self.at());
        let stop = || dispatcher.switch.stop(interception(sent, at));
        if dispatcher.judgement.borrow_mut().suspect(key, Instant::now()) {
            stop();
            return Ok(false);
        }
        let verdict = |is_last| {
            let is_suspect = dispatcher.judgement.borrow().is_suspect(key);
            match (is_suspect, is_last) {
                (false, _) => Some(Verdict::RowAtFault),
                (true, true) => Some(Verdict::AskControl),
                (true, false) => None,
            }
        };
        match dispatcher.parking.wait(&dispatcher.switch, verdict).await {
            None => return Ok(false),
            Some(Verdict::RowAtFault) => return Ok(true),
            Some(Verdict::AskControl) => {}
        }
        // One at a time: the first answer is for all.
        let mut known = dispatcher.probing.lock().await;
        if dispatcher.judgement.borrow().is_suspect(key) {
            let (_, probing) = dispatcher.ask_control(self.job.intent.customer.brand_id, at).await?;
            if probing.is_none() {
                stop();
                return Ok(false);
            }
            *known = probing;
            dispatcher.judgement.borrow_mut().clear();
            dispatcher.parking.notify();
        }
        Ok(true)
    }

    /// Whether a known customer whom the API does not know may be created again, or
    /// be given up; `false` if the run stopped.
    pub(super) async fn may_have_vanished(&self, message: &str) -> bool {
        let dispatcher = &self.dispatcher;
        if dispatcher.brake.borrow_mut().miss() {
            return true;
        }
        // It may stop the run, and then the others that wait stop as well.
        dispatcher.parking.notify();
        let verdict = |is_last| dispatcher.brake.borrow().verdict(is_last);
        match dispatcher.parking.wait(&dispatcher.switch, verdict).await {
            Some(BrakeVerdict::Create) => true,
            Some(BrakeVerdict::Stop) => {
                dispatcher.switch.stop(Stop::Vanished { at: self.at(), message: message.to_owned() });
                false
            }
            None => false,
        }
    }

    /// A call of a known customer worked.
    pub(super) fn note_found(&self) {
        if self.dispatcher.brake.borrow_mut().find() {
            self.dispatcher.parking.notify();
        }
    }
}

fn interception(sent: &SentCall, at: Place) -> Stop {
    let message = sent.message().to_owned();
    match sent.meaning() {
        Some(Meaning::KeyRefused) => Stop::KeyRefused { at, message },
        _ => Stop::Intercepted { at, message },
    }
}
