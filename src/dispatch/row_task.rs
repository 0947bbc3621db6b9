//! One row, from its first call to its outcome.

use std::borrow::Cow;
use std::rc::Rc;

use tokio::time::Instant;

use super::canary::Evidence;
use super::record::{CallEnd, CallLine, CallResult, LoadedState, Problem, Record, RecorderClosed};
use super::retry::Attempts;
use super::send::{CallRecord, Dispatcher, SentCall};
use super::stop::Stop;
use super::waits::WaitCause;
use crate::mapping::{Channel, ExportRow, Intent, Place};
use crate::omnidesk::{Call, CallKind, Meaning, Proof, RefusalTexts};
use crate::reconcile::{
    AfterAnswer, CustomerKey, CustomerState, HandsOff, Outcome, PendingCall, RowFingerprint, Situation, Step,
    acknowledge, acknowledge_absence, confirm, next, set_fingerprint, state_during, turn_to_create,
    turn_to_update,
};

/// A row with calls to make.
#[derive(Debug)]
pub struct Job {
    pub key: CustomerKey,
    /// Of the row as it stands in the export.
    pub fingerprint: RowFingerprint,
    pub intent: Box<Intent>,
}

/// The end of a row task.
#[derive(Debug)]
pub(super) struct RowTaskEnd {
    pub(super) job: Job,
    pub(super) end: RowEnd,
    /// The customer's next call must wait until then: the server may still be at
    /// work on a call whose answer was lost, and would overwrite the next one.
    pub(super) cool_down: Option<Instant>,
    pub(super) was_called: bool,
}

#[derive(Debug)]
pub(super) enum RowEnd {
    Settled(Outcome, Option<Box<Problem>>),
    /// The run stopped before the row had an outcome.
    Stopped,
}

/// One row on its way.
pub(super) struct RowTask {
    pub(super) dispatcher: Rc<Dispatcher>,
    pub(super) job: Job,
    pub(super) situation: Situation,
    pub(super) cool_down: Option<Instant>,
    /// Creates of this row whose answer was lost.
    pub(super) lost_creates: u32,
    /// A create that was neither found nor ruled out.
    pub(super) doubt: Option<PendingCall>,
    /// A probe has found the customer of a lost create.
    pub(super) was_found: bool,
    /// The call that an earlier process recorded for this row and may have sent.
    sent_before: Option<CallKind>,
    calls: u64,
}

/// Runs a row. `loaded` is its state, if that is loaded already; `cool_down` is
/// that of the customer's last row.
pub(super) async fn run(
    dispatcher: Rc<Dispatcher>,
    job: Job,
    loaded: Option<LoadedState>,
    cool_down: Option<Instant>,
) -> RowTaskEnd {
    let mut task = RowTask {
        dispatcher,
        job,
        situation: Situation::default(),
        cool_down,
        lost_creates: 0,
        doubt: None,
        was_found: false,
        sent_before: None,
        calls: 0,
    };
    let end = task.run(loaded).await.unwrap_or_else(|RecorderClosed| {
        task.dispatcher.switch.stop(Stop::RecorderClosed);
        RowEnd::Stopped
    });
    RowTaskEnd { job: task.job, end, cool_down: task.cool_down, was_called: task.calls > 0 }
}

impl RowTask {
    async fn run(&mut self, loaded: Option<LoadedState>) -> Result<RowEnd, RecorderClosed> {
        let dispatcher = Rc::clone(&self.dispatcher);
        let loaded = match loaded {
            Some(loaded) => loaded,
            None => dispatcher.records.load(vec![(self.job.key, self.at())]).await?.pop().unwrap_or_default(),
        };
        self.situation = Situation::new(loaded.state, loaded.progress);
        if let Some(pending) = loaded.pending
            && let Some(end) = self.resolve_pending(pending).await?
        {
            return Ok(end);
        }
        let policy = &dispatcher.settings.policy;
        loop {
            match next(&self.job.intent, &self.situation, policy) {
                Step::Done(outcome) => {
                    if self.calls == 0 && confirm(&self.job.intent, &mut self.situation, policy) {
                        let (key, state) = (self.job.key, self.situation.state.clone());
                        dispatcher.records.add(Record::Confirm { key, state })?;
                    }
                    return Ok(RowEnd::Settled(outcome, None));
                }
                Step::HandsOff(cause, outcome) => {
                    return Ok(hands_off_end(cause, outcome, &SentCall::default()));
                }
                Step::Rejected(rejection) => {
                    return Ok(RowEnd::Settled(Outcome::Rejected, Some(Box::new((*rejection).into()))));
                }
                Step::Call(call) => {
                    if let Some(end) = self.make_call(&call).await? {
                        return Ok(end);
                    }
                }
            }
        }
    }

    /// Resolves a call of an earlier row or process that has no end.
    async fn resolve_pending(&mut self, pending: PendingCall) -> Result<Option<RowEnd>, RecorderClosed> {
        let since = self.dispatcher.start;
        if pending.kind == CallKind::Create {
            return self.resolve_create(pending, since).await;
        }
        // However old the record is: the wall clock may have jumped. The
        // cool-down ends `settle` after the start, for all customers together.
        self.extend_cool_down(since);
        self.sent_before = (pending.by == self.export_row()).then_some(pending.kind);
        Ok(None)
    }

    /// Makes a call; `Some` if the row ends with it.
    async fn make_call(&mut self, call: &Call) -> Result<Option<RowEnd>, RecorderClosed> {
        if !self.wait_for_cool_down().await {
            return Ok(Some(RowEnd::Stopped));
        }
        let dispatcher = Rc::clone(&self.dispatcher);
        let policy = &dispatcher.policy();
        let is_purge = call.kind() == CallKind::Purge;
        let grant = if is_purge {
            dispatcher.purge_grants.acquire(self.job.key, &dispatcher.switch).await
        } else {
            None
        };
        if is_purge && grant.is_none() {
            // Unless it has stopped for another reason while this one waited.
            dispatcher.switch.stop(Stop::PurgeNotGranted { at: self.at() });
            return Ok(Some(RowEnd::Stopped));
        }
        let record = CallRecord {
            key: self.job.key,
            call: self.pending_call(call),
            state: state_during(call, &self.job.intent, &self.situation.state, policy),
            has_begun: self.calls > 0,
        };
        let purge_lost = is_purge && matches!(self.situation.state, CustomerState::PerhapsPurged(_));
        let is_lost_before = self.sent_before.take() == Some(call.kind()) || purge_lost;
        let lost = is_lost_before.into();
        let attempts = Attempts { lost, perhaps_done: lost, ..Attempts::default() };
        let mut sent = dispatcher.send(call, self.at(), Some(&record), attempts).await?;
        // Before the judgement is waited for: other purges may wait for the grant.
        match grant {
            Some(grant) if sent.is_without_effect() => dispatcher.purge_grants.give_back(grant),
            Some(grant) => dispatcher.purge_grants.use_up(grant),
            None => {}
        }
        if sent.is_suspicious() && !self.is_own_fault(&sent).await? {
            sent.answer = None;
        }
        self.count_call(&sent);
        if !sent.is_recorded {
            return Ok(Some(RowEnd::Stopped));
        }
        let after = self.take_in(call, &mut sent, &record).await;
        if !(after == AfterAnswer::GoOn && sent.has_follow_up()) {
            self.report_to_canary(call, &sent, after);
        }
        let pending = self.pending_after(record.call, &sent);
        self.record_end(call, &sent, pending)?;
        self.end_of(call, &sent, record.call, after).await
    }

    /// Takes in what the call has shown of the customer.
    async fn take_in(&mut self, call: &Call, sent: &mut SentCall, record: &CallRecord) -> AfterAnswer {
        let policy = self.dispatcher.policy();
        let was_known = self.situation.state.exists();
        match sent.meaning() {
            Some(Meaning::Done | Meaning::DoneBefore) => {
                if was_known {
                    self.note_found();
                }
                acknowledge(call, &self.job.intent, &mut self.situation, &policy);
                let state = &mut self.situation.state;
                set_fingerprint(&self.job.intent, state, &policy, self.job.fingerprint);
                AfterAnswer::GoOn
            }
            Some(Meaning::Exists) => {
                let perhaps_done = self.lost_creates.max(sent.attempts.perhaps_done);
                let after = turn_to_update(&mut self.situation, perhaps_done, &policy);
                if matches!(after, AfterAnswer::HandsOff(..)) {
                    self.doubt = None;
                }
                after
            }
            // Nobody is there to be purged: what stands before this row is dead all the same.
            Some(Meaning::NotFound) if call.kind() == CallKind::Purge => {
                acknowledge_absence(&self.job.intent, &mut self.situation, &policy)
            }
            Some(Meaning::NotFound) => {
                let before = was_known.then(|| self.situation.clone());
                let after = turn_to_create(&self.job.intent, &mut self.situation, &policy);
                match before {
                    Some(before)
                        if after != AfterAnswer::Fail && !self.may_have_vanished(sent.message()).await =>
                    {
                        self.situation = before;
                        sent.answer = None;
                        AfterAnswer::Fail
                    }
                    _ => after,
                }
            }
            _ => {
                if sent.attempts.perhaps_done > 0 {
                    self.situation.state = record.state.clone();
                }
                AfterAnswer::Fail
            }
        }
    }

    /// The end of the row, if the call is its last. A create that was perhaps carried
    /// out is resolved first.
    async fn end_of(
        &mut self,
        call: &Call,
        sent: &SentCall,
        record: PendingCall,
        after: AfterAnswer,
    ) -> Result<Option<RowEnd>, RecorderClosed> {
        match sent.meaning() {
            None => Ok(Some(RowEnd::Stopped)),
            Some(meaning) if call.kind() == CallKind::Create && sent.proves_nothing() => {
                self.lost_creates += u32::from(meaning == Meaning::Unavailable);
                let end = self.resolve_create(record, sent.lost_at.unwrap_or_else(Instant::now)).await?;
                // Another create would be answered like this one.
                let is_final = !matches!(meaning, Meaning::Unavailable | Meaning::Limited);
                let is_absent = end.is_none() && !self.situation.state.may_exist();
                Ok(if is_final && is_absent { Some(failure(call, meaning, sent)) } else { end })
            }
            Some(meaning) => Ok(match after {
                AfterAnswer::GoOn => None,
                AfterAnswer::HandsOff(cause, outcome) => Some(hands_off_end(cause, outcome, sent)),
                AfterAnswer::Settled(outcome) => Some(RowEnd::Settled(outcome, None)),
                AfterAnswer::Fail => Some(failure(call, meaning, sent)),
            }),
        }
    }

    /// The call that may still be carried out, or may have been, after `sent`.
    fn pending_after(&mut self, record: PendingCall, sent: &SentCall) -> Option<PendingCall> {
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

    pub(super) fn at(&self) -> Place {
        self.job.intent.at
    }

    fn export_row(&self) -> ExportRow {
        self.dispatcher.settings.policy.row(&self.job.intent)
    }

    pub(super) fn count_call(&mut self, sent: &SentCall) {
        let ended = u64::from(sent.answer.is_some());
        self.calls += ended;
        self.dispatcher.calls_ended.set(self.dispatcher.calls_ended.get() + ended);
        if let Some(lost_at) = sent.lost_at {
            self.extend_cool_down(lost_at);
        }
    }

    pub(super) fn report_to_canary(&self, call: &Call, sent: &SentCall, after: AfterAnswer) {
        let Some(answer) = &sent.answer else { return };
        let evidence = match (answer.meaning, after) {
            (Meaning::Done | Meaning::DoneBefore, _) => Evidence::Works,
            (Meaning::Exists, AfterAnswer::HandsOff(..)) => Evidence::Works,
            // The API may rightly not know a customer to be purged, or to be updated.
            (Meaning::NotFound, AfterAnswer::HandsOff(..)) => Evidence::Nothing,
            (Meaning::NotFound, _) if call.kind() == CallKind::Purge => Evidence::Nothing,
            _ => Evidence::Fails,
        };
        self.dispatcher.report_to_canary(self.at(), evidence, &answer.message);
    }

    pub(super) fn extend_cool_down(&mut self, since: Instant) {
        self.cool_down = self.cool_down.max(Some(since + self.dispatcher.settings.settle));
    }

    /// `false` if the run stopped.
    pub(super) async fn wait_for_cool_down(&self) -> bool {
        match self.cool_down {
            Some(until) if until > Instant::now() => self.dispatcher.rest(until, WaitCause::CoolDown).await,
            _ => true,
        }
    }

    fn pending_call(&self, call: &Call) -> PendingCall {
        PendingCall { by: self.export_row(), kind: call.kind() }
    }

    /// The kind of an address that exists already, if nothing shows for whom.
    fn existing_address(&self, call: &Call, sent: &SentCall) -> Option<Channel> {
        let address = call.address().filter(|_| sent.meaning() == Some(Meaning::DoneBefore))?;
        // A create that was found by its probe has most likely brought it.
        let is_own = sent.attempts.perhaps_done > 0 || self.was_found;
        let is_told = is_own || RefusalTexts::names_this_customer(sent.message());
        (!is_told).then(|| address.channel())
    }

    pub(super) fn record_end(
        &self,
        call: &Call,
        sent: &SentCall,
        pending: Option<PendingCall>,
    ) -> Result<(), RecorderClosed> {
        let customer = &self.job.intent.customer;
        let end = CallEnd {
            key: self.job.key,
            customer: self.dispatcher.settings.stores_ids.then(|| customer.clone()),
            state: self.situation.state.clone(),
            progress: self.situation.progress.clone(),
            pending,
            line: CallLine {
                at: self.at(),
                kind: call.kind(),
                result: sent.meaning().map_or(CallResult::Stopped, CallResult::Answered),
                status: sent.status(),
                attempts: sent.requests,
                purged: (call.kind() == CallKind::Purge).then(|| customer.clone()),
                existing: self.existing_address(call, sent),
            },
        };
        self.dispatcher.records.add(Record::End(Box::new(end)))
    }
}

fn failure(call: &Call, meaning: Meaning, sent: &SentCall) -> RowEnd {
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
