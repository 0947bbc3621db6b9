//! One row, from its first call to its outcome.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::canary::CanarySign;
use super::record::{CallEnd, CallLine, FlightChange, LoadedState, Problem, Record, RecorderClosed};
use super::scheduler::Job;
use super::send::{CallRecord, CallResult, End, Sender};
use super::stop::Stop;
use crate::omnidesk::{Action, Call, CallKind};
use crate::reconcile::{
    Outcome, PendingCall, Situation, Step, acknowledged, next, note_print, settled_silently, turned_absent,
    turned_existing, under_way,
};

/// How a row left its lane.
#[derive(Debug)]
pub(crate) struct RowResult {
    pub(crate) job: Job,
    /// None if the run stopped before the row had an outcome.
    pub(crate) outcome: Ended,
    /// The customer's next call must not go before: the server may still be at
    /// work on one whose answer was lost, and would overwrite it.
    pub(crate) quiet_until: Option<Instant>,
    /// Whether a call of it was made.
    pub(crate) was_called: bool,
}

/// One row on its way.
pub(crate) struct RowTask {
    pub(crate) shared: Rc<Sender>,
    pub(crate) job: Job,
    pub(crate) situation: Situation,
    pub(crate) quiet_until: Option<Instant>,
    /// Creates of this row whose answer was lost.
    pub(crate) lost_creates: u32,
    /// A lost create was neither found nor ruled out.
    pub(crate) has_open_doubt: bool,
    /// The call that an earlier process recorded for this row and may have sent.
    sent_before: Option<CallKind>,
    calls: u64,
}

/// What a lane came to; `None` if the run stopped.
pub(crate) type Ended = Option<(Outcome, Option<Box<Problem>>)>;

/// Walks a row. `loaded` is what is known of it, if that was asked for already,
/// and `quiet_until` of the customer's last row.
pub(crate) async fn walk(
    shared: Rc<Sender>,
    job: Job,
    loaded: Option<LoadedState>,
    quiet_until: Option<Instant>,
) -> RowResult {
    let mut lane = RowTask {
        shared,
        job,
        situation: Situation::default(),
        quiet_until,
        lost_creates: 0,
        has_open_doubt: false,
        sent_before: None,
        calls: 0,
    };
    let outcome = match lane.walk(loaded).await {
        Ok(outcome) => outcome,
        Err(RecorderClosed) => {
            lane.shared.switch.stop(Stop::RecorderGone);
            None
        }
    };
    RowResult { job: lane.job, outcome, quiet_until: lane.quiet_until, was_called: lane.calls > 0 }
}

impl RowTask {
    async fn walk(&mut self, loaded: Option<LoadedState>) -> Result<Ended, RecorderClosed> {
        let loaded = match loaded {
            Some(loaded) => loaded,
            None => self.shared.books.load(vec![(self.job.key, self.row())]).await?.pop().unwrap_or_default(),
        };
        self.situation = Situation::new(loaded.told, loaded.progress);
        if let Some(flight) = loaded.flight
            && let Some(ended) = self.take_up(flight).await?
        {
            return Ok(ended);
        }
        let shared = Rc::clone(&self.shared);
        let policy = &shared.settings.policy;
        loop {
            match next(&self.job.intent, &self.situation, policy) {
                Step::Settled(outcome) => {
                    if self.calls == 0 && settled_silently(&self.job.intent, &mut self.situation, policy) {
                        let told = self.situation.told.clone();
                        shared.books.tell(Record::Acked { key: self.job.key, told })?;
                    }
                    return Ok(Some((outcome, None)));
                }
                Step::Rejected(rejection) => {
                    return Ok(Some((Outcome::Rejected, Some(Box::new((*rejection).into())))));
                }
                Step::Call(call) => {
                    if let Some(ended) = self.make(&call).await? {
                        return Ok(ended);
                    }
                }
            }
        }
    }

    /// Takes up a call that an earlier row or process left without an end.
    async fn take_up(&mut self, flight: PendingCall) -> Result<Option<Ended>, RecorderClosed> {
        let since = self.shared.started;
        if flight.kind() == CallKind::Create {
            return self.resolve(flight, since).await;
        }
        // However old the record seems: the clock of the wall may have jumped,
        // and the wait ends `settle` after the start, for all of them together.
        self.keep_quiet(since);
        let own = flight.row == self.row() && flight.export == self.shared.settings.policy.export;
        self.sent_before = own.then(|| flight.kind());
        Ok(None)
    }

    /// Makes a call and takes in its end; an outcome if the row ends with it.
    async fn make(&mut self, call: &Call) -> Result<Option<Ended>, RecorderClosed> {
        if !self.wait_quiet().await {
            return Ok(Some(None));
        }
        let shared = Rc::clone(&self.shared);
        let policy = &shared.settings.policy;
        let is_purge = call.kind() == CallKind::Purge;
        let leave = match is_purge {
            true => shared.purges.begin(self.job.key, &shared.switch).await,
            false => None,
        };
        if is_purge && leave.is_none() {
            // Unless it has stopped for another reason while this one waited.
            shared.switch.stop(Stop::PurgeWithoutLeave { row: self.row() });
            return Ok(Some(None));
        }
        let recorded = CallRecord {
            flight: self.flight(call),
            // While it is under way, nobody knows what the customer holds.
            told: under_way(call, self.situation.told.as_ref(), policy),
            has_begun: self.calls > 0,
        };
        let purge_lost = self.situation.told.as_ref().is_some_and(|told| told.perhaps_purged);
        let lost_before = self.sent_before.take() == Some(call.kind()) || purge_lost && is_purge;
        let sent = shared.send(call, self.job.key, self.row(), Some(&recorded), lost_before).await?;
        if let Some(leave) = leave {
            let did_nothing =
                matches!(sent.end, End::NotFound | End::Refused { perhaps_done: false } | End::Stopped);
            shared.purges.end(&leave, did_nothing && sent.tries.lost == 0);
        }
        self.take_in(&sent);
        if !sent.is_recorded {
            return Ok(Some(None));
        }
        let mut goes_on = false;
        match sent.end {
            End::Done | End::DoneBefore => {
                acknowledged(call, &self.job.intent, &mut self.situation, policy);
                note_print(&self.job.intent, &mut self.situation, policy, self.job.print);
                goes_on = true;
            }
            End::Exists => goes_on = turned_existing(&mut self.situation, self.lost_creates > 0),
            End::NotFound => goes_on = turned_absent(&self.job.intent, &mut self.situation),
            // An earlier try whose answer was lost may have done what this one was refused.
            End::Refused { perhaps_done: false } | End::Stopped if sent.tries.lost == 0 => {}
            End::Refused { .. } | End::GaveUp | End::Stopped | End::InDoubt => {
                self.situation.told = recorded.told.clone();
            }
        }
        self.note_for_canary(call, &sent, goes_on);
        self.ended(call, &sent, self.flight_after(call, &sent))?;
        match sent.end {
            End::Stopped => Ok(Some(None)),
            End::InDoubt => {
                self.lost_creates += 1;
                self.resolve(recorded.flight, sent.lost_at.unwrap_or_else(Instant::now)).await
            }
            _ => Ok((!goes_on).then(|| self.failed(call, &sent))),
        }
    }

    /// Whether the record made before the call stays.
    fn flight_after(&self, call: &Call, sent: &CallResult) -> FlightChange {
        let stays = match sent.end {
            // An earlier try may still be under way, and overwrite what comes next.
            End::Done | End::DoneBefore | End::Exists | End::NotFound => sent.tries.lost > 0,
            // A create that may have worked is probed before the next one.
            End::Refused { perhaps_done } => {
                sent.tries.lost > 0 || perhaps_done && call.kind() == CallKind::Create
            }
            End::GaveUp | End::InDoubt => true,
            End::Stopped => sent.tries.lost > 0 || self.has_open_doubt,
        };
        match (stays, call.kind()) {
            (false, _) => FlightChange::Clear,
            // What is acknowledged is in doubt no more; only a straggler may come.
            (true, CallKind::Create) if matches!(sent.end, End::Done | End::DoneBefore) => {
                FlightChange::Clear
            }
            (true, _) => FlightChange::Keep,
        }
    }

    pub(crate) fn row(&self) -> u64 {
        self.job.intent.at.number
    }

    pub(crate) fn take_in(&mut self, sent: &CallResult) {
        let ended = u64::from(sent.end != End::Stopped);
        self.calls += ended;
        self.shared.ended.set(self.shared.ended.get() + ended);
        if let Some(lost_at) = sent.lost_at {
            self.keep_quiet(lost_at);
        }
    }

    /// An end that only turns the row another way says nothing about the
    /// settings; the call that follows does.
    pub(crate) fn note_for_canary(&self, call: &Call, sent: &CallResult, goes_on: bool) {
        let shown = match sent.end {
            End::Stopped => return,
            End::Exists | End::NotFound if goes_on => return,
            End::Done | End::DoneBefore => CanarySign::Works,
            // That the API does not know whom to purge is no sign of wrong settings.
            End::NotFound if call.kind() == CallKind::Purge => CanarySign::Nothing,
            _ => CanarySign::Problem(&sent.message),
        };
        self.shared.note_for_canary(self.row(), shown);
    }

    pub(crate) fn keep_quiet(&mut self, since: Instant) {
        let until = since + self.shared.settings.settle;
        self.quiet_until = Some(self.quiet_until.map_or(until, |known| known.max(until)));
    }

    pub(crate) async fn wait_quiet(&self) -> bool {
        match self.quiet_until {
            Some(until) if until > Instant::now() => self.shared.switch.sleep_until(until).await,
            _ => true,
        }
    }

    pub(crate) fn flight(&self, call: &Call) -> PendingCall {
        let policy = &self.shared.settings.policy;
        let address = match &call.action {
            Action::Create { first: Some(address), .. } => Some(policy.key.address(address)),
            _ => None,
        };
        PendingCall::new(policy.export, self.row(), call.kind(), address)
    }

    pub(crate) fn ended(
        &self,
        call: &Call,
        sent: &CallResult,
        flight: FlightChange,
    ) -> Result<(), RecorderClosed> {
        let end = CallEnd {
            key: self.job.key,
            customer: self.shared.settings.keeps_names.then(|| self.job.intent.customer.clone()),
            row: self.row(),
            told: self.situation.told.clone(),
            progress: self.situation.progress.clone(),
            flight,
            line: CallLine {
                at: self.job.intent.at,
                kind: call.kind(),
                result: sent.end.word(),
                status: sent.status,
                attempts: sent.requests,
                purged: (call.kind() == CallKind::Purge).then(|| call.customer.clone()),
            },
        };
        self.shared.books.tell(Record::Ended(Box::new(end)))
    }

    fn failed(&self, call: &Call, sent: &CallResult) -> Ended {
        let (code, hint) = match (sent.end, sent.status) {
            (End::NotFound, _) => {
                ("not_found", "there is no such customer in Omnidesk; is it the right id and brand?")
            }
            (End::Exists, _) => (
                "exists",
                "the API says both that the customer exists and that there is none; look at it in Omnidesk",
            ),
            (End::GaveUp, _) => {
                ("gave_up", "the server failed at every attempt; run the same command again later")
            }
            (_, Some(300..=399)) => ("redirected", "set base_url to the address the API itself has"),
            _ => ("refused", "the API gives the reason; mend the row and run its result file"),
        };
        let message = format!("{} was refused: {}", call.kind().word(), sent.message);
        Some((Outcome::Failed, Some(trouble(code, message, hint, sent))))
    }
}

pub(crate) fn trouble(
    code: &'static str,
    message: String,
    hint: &'static str,
    sent: &CallResult,
) -> Box<Problem> {
    Box::new(Problem {
        code,
        column: None,
        value: None,
        message,
        hint: Cow::Borrowed(hint),
        status: sent.status,
        attempts: sent.requests,
    })
}

/// Whether a customer need not be kept quiet any more.
pub(crate) fn is_over(until: Instant) -> bool {
    until.saturating_duration_since(Instant::now()) == Duration::ZERO
}
