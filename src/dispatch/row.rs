//! One row on its way: a value that moves through the scheduler's queues.

use std::borrow::Cow;

use tokio::time::Instant;

use super::canary::Evidence;
use super::record::{CallEnd, CallLine, CallResult, LoadedState, Problem};
use super::retry::SentCall;
use crate::mapping::{Channel, Place};
use crate::omnidesk::{Call, CallKind, Meaning, Proof, RefusalTexts};
use crate::reconcile::{
    AfterAnswer, CustomerKey, HandsOff, HashedIntent, Outcome, PendingCall, Policy, RowFingerprint, Situation,
};

/// A row with calls to make.
#[derive(Debug)]
pub struct Job {
    /// Of the row as it stands in the export.
    pub fingerprint: RowFingerprint,
    pub intent: Box<HashedIntent>,
}

#[derive(Debug)]
pub(super) enum RowEnd {
    Settled(Outcome, Option<Box<Problem>>),
    /// The run stopped before the row had an outcome.
    Stopped,
}

/// A row that has begun.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) job: Job,
    pub(super) situation: Situation,
    /// The customer's next call must wait until then: the server may still be at
    /// work on a call whose answer was lost, and would overwrite the next one.
    pub(super) cool_down: Option<Instant>,
    /// Creates of this row whose answer was lost.
    pub(super) lost_creates: u32,
    /// A create that was neither found nor ruled out.
    pub(super) doubt: Option<PendingCall>,
    /// A probe has found the customer of a lost create.
    pub(super) was_found: bool,
    /// The row's end, if a probe finds nobody: another create would be answered like the
    /// last one.
    pub(super) end_if_absent: Option<Box<RowEnd>>,
    /// The call that an earlier process recorded for this row and may have sent.
    pub(super) sent_before: Option<CallKind>,
    pub(super) calls: u64,
}

/// A create whose answer was lost, with the row that needs to know.
#[derive(Debug)]
pub(super) struct LostCreate {
    pub(super) row: Box<Row>,
    pub(super) create: PendingCall,
}

impl Row {
    /// `cool_down` is that of the customer's last row.
    pub(super) fn new(job: Job, loaded: LoadedState, cool_down: Option<Instant>) -> Self {
        Self {
            job,
            situation: Situation::new(loaded.state, loaded.progress),
            cool_down,
            lost_creates: 0,
            doubt: None,
            was_found: false,
            end_if_absent: None,
            sent_before: None,
            calls: 0,
        }
    }

    pub(super) fn key(&self) -> CustomerKey {
        self.job.intent.key
    }

    pub(super) fn intent(&self) -> &HashedIntent {
        &self.job.intent
    }

    pub(super) fn at(&self) -> Place {
        self.job.intent.at
    }

    pub(super) fn brand_id(&self) -> u64 {
        self.job.intent.customer.brand_id
    }

    /// The end of the customer's cool-down, if that is still to come.
    pub(super) fn cooling_until(&self) -> Option<Instant> {
        self.cool_down.filter(|until| *until > Instant::now())
    }

    pub(super) fn extend_cool_down(&mut self, until: Instant) {
        self.cool_down = self.cool_down.max(Some(until));
    }

    /// The call that may still be carried out, or may have been, after `sent`.
    pub(super) fn pending_after(&mut self, record: PendingCall, sent: &SentCall) -> Option<PendingCall> {
        let is_create = record.kind == CallKind::Create;
        let was_lost = sent.attempts.lost > 0;
        let is_pending = match sent.answer.as_ref().map(|answer| answer.proof) {
            Some(Proof::Done) => {
                // A create that is acknowledged is no longer in doubt, nor one before a purge.
                self.doubt = None;
                was_lost && !is_create
            }
            // An earlier attempt may still be on its way, and overwrite what comes next.
            Some(Proof::NotDone) => was_lost,
            Some(Proof::Nothing) => true,
            None => was_lost || is_create && sent.attempts.perhaps_done > 0,
        };
        is_pending.then_some(record).or(self.doubt)
    }

    pub(super) fn call_end(
        &self,
        call: &Call,
        sent: &SentCall,
        pending: Option<PendingCall>,
        stores_ids: bool,
    ) -> Box<CallEnd> {
        let customer = &self.intent().customer;
        Box::new(CallEnd {
            key: self.key(),
            customer: stores_ids.then(|| customer.clone()),
            state: self.situation.state.clone(),
            progress: self.situation.progress.clone(),
            pending,
            line: CallLine {
                at: self.at(),
                kind: call.kind(),
                result: sent.meaning().map_or(CallResult::Stopped, CallResult::Answered),
                status: sent.status(),
                attempts: sent.requests,
                refused: sent.refused,
                purged: (call.kind() == CallKind::Purge).then(|| customer.clone()),
                existing: self.existing_address(call, sent),
            },
        })
    }

    /// The kind of an address that exists already, if nothing shows for whom.
    fn existing_address(&self, call: &Call, sent: &SentCall) -> Option<Channel> {
        let address = call.address().filter(|_| sent.meaning() == Some(Meaning::DoneBefore))?;
        // A create that was found by its probe has most likely brought it.
        let is_own = sent.attempts.perhaps_done > 0 || self.was_found;
        let is_named = is_own || RefusalTexts::names_this_customer(sent.message());
        (!is_named).then(|| address.channel())
    }

    pub(super) fn pending_call(&self, call: &Call, policy: &Policy) -> PendingCall {
        PendingCall { by: policy.row(self.intent()), kind: call.kind() }
    }
}

/// What the end of a call shows about the settings.
pub(super) fn evidence(call: &Call, meaning: Meaning, after: AfterAnswer) -> Evidence {
    match (meaning, after) {
        (Meaning::Done | Meaning::DoneBefore, _) => Evidence::Works,
        (Meaning::Exists, AfterAnswer::HandsOff(..)) => Evidence::Works,
        // The API may rightly not know a customer to be purged, or to be updated.
        (Meaning::NotFound, AfterAnswer::HandsOff(..)) => Evidence::Nothing,
        (Meaning::NotFound, _) if call.kind() == CallKind::Purge => Evidence::Nothing,
        _ => Evidence::Fails,
    }
}

/// The end of a row whose call was refused.
pub(super) fn failure(call: &Call, meaning: Meaning, sent: &SentCall) -> RowEnd {
    let (code, hint) = match (meaning, sent.status()) {
        (Meaning::NotFound, _) => {
            ("not_found", "there is no such customer in Omnidesk; are the id and the brand right?")
        }
        (Meaning::Exists, _) => (
            "exists",
            "the API says both that the customer exists and that there is none; look at it in Omnidesk",
        ),
        (Meaning::Unavailable, _) => {
            ("gave_up", "the server failed at every attempt; run the same command again later")
        }
        (Meaning::Redirected, _) => ("redirected", "other calls work: look for what is special in this row"),
        (Meaning::KeyRefused | Meaning::Page | Meaning::Unclear, _) => (
            "unclear",
            "something in front of the API may have answered, and other calls work: look for what is special in this row",
        ),
        _ => ("refused", "the API gives the reason; fix the row and run its result file"),
    };
    let suggestion = (code == "refused").then(|| RefusalTexts::suggestion(call, sent.message())).flatten();
    let hint = suggestion.map_or(Cow::Borrowed(hint), Cow::Owned);
    let message = format!("{} was refused: {}", call.kind().as_str(), sent.message());
    RowEnd::Settled(Outcome::Failed, Some(problem(code, message, hint, sent)))
}

/// The end of a row for which nothing, or nothing more, is sent.
pub(super) fn hands_off_end(cause: HandsOff, outcome: Outcome, sent: &SentCall) -> RowEnd {
    let message = cause.message().to_owned();
    RowEnd::Settled(outcome, Some(problem(cause.code(), message, cause.hint(), sent)))
}

pub(super) fn problem(
    code: &'static str,
    message: String,
    hint: impl Into<Cow<'static, str>>,
    sent: &SentCall,
) -> Box<Problem> {
    Box::new(Problem {
        code,
        column: None,
        value: None,
        message,
        hint: hint.into(),
        status: sent.status(),
        attempts: sent.requests,
    })
}
