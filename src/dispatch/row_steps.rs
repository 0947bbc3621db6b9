//! The steps of a row, from its first call to its outcome.

use tokio::time::Instant;

use super::call_queue::{Parked, Purpose, QueuedCall};
use super::canary::{CanaryVerdict, Evidence};
use super::purge_grants::GrantAnswer;
use super::record::Record;
use super::retry::{Attempts, SentCall};
use super::row::{Row, RowEnd, evidence, failure, hands_off_end};
use super::scheduler::{Due, Scheduler};
use super::stop::Stop;
use super::waits::WaitCause;
use crate::omnidesk::{Call, CallKind, Meaning};
use crate::reconcile::{
    AfterAnswer, CustomerState, Outcome, PendingCall, Policy, Step, acknowledge, acknowledge_absence,
    confirm, next, set_fingerprint, state_during, turn_to_create, turn_to_update,
};

impl QueuedCall {
    /// The record to make before it is sent, if it needs one.
    pub(super) fn record(&self, policy: &Policy) -> Option<Record> {
        let Purpose::Step { record, .. } = &self.purpose else { return None };
        let state = state_during(&self.call, self.row.intent(), &self.row.situation.state, policy);
        Some(Record::Begin { key: self.row.key(), call: *record, state })
    }
}

impl Scheduler {
    /// Resolves a call of an earlier row or process that has no end.
    pub(super) fn resolve_pending(&mut self, mut row: Box<Row>, pending: PendingCall) {
        let since = self.start;
        if pending.kind == CallKind::Create {
            return self.suspect_create(row, pending, since);
        }
        // However old the record is: the wall clock may have jumped. The
        // cool-down ends `settle` after the start, for all customers together.
        row.extend_cool_down(since + self.settings.settle);
        let is_own = pending.by == self.settings.policy.row(row.intent());
        row.sent_before = is_own.then_some(pending.kind);
        self.advance(row);
    }

    /// Takes the row one step on: into a queue, or to its end.
    pub(super) fn advance(&mut self, mut row: Box<Row>) {
        let policy = &self.settings.policy;
        let end = match next(row.intent(), &row.situation, policy) {
            Step::Call(call) => return self.begin_call(row, call),
            Step::Done(outcome) => {
                let Row { job, situation, calls, .. } = &mut *row;
                if *calls == 0 && confirm(&job.intent, situation, policy) {
                    self.record(Record::Confirm { key: job.intent.key, state: situation.state.clone() });
                }
                RowEnd::Settled(outcome, None)
            }
            Step::HandsOff(cause, outcome) => hands_off_end(cause, outcome, &SentCall::default()),
            Step::Rejected(rejection) => {
                RowEnd::Settled(Outcome::Rejected, Some(Box::new((*rejection).into())))
            }
        };
        self.end_row(row, end);
    }

    /// Queues a call, unless it has to wait for something else first.
    fn begin_call(&mut self, mut row: Box<Row>, call: Call) {
        if self.is_stopped() {
            return self.end_row(row, RowEnd::Stopped);
        }
        if let Some(until) = row.cooling_until() {
            return self.wait_until(until, WaitCause::CoolDown, Due::Row(row));
        }
        let is_purge = call.kind() == CallKind::Purge;
        let grant = match is_purge.then(|| self.purge_grants.acquire(row.key())) {
            None => None,
            Some(GrantAnswer::Granted(grant)) => Some(grant),
            Some(GrantAnswer::Undecided) => return self.ungranted.push((row, call)),
            Some(GrantAnswer::Refused) => {
                self.stop(Stop::PurgeNotGranted { at: row.at() });
                return self.end_row(row, RowEnd::Stopped);
            }
        };
        let purge_lost = is_purge && matches!(row.situation.state, CustomerState::PerhapsPurged(_));
        let lost = u32::from(row.sent_before.take() == Some(call.kind()) || purge_lost);
        let attempts = Attempts { lost, perhaps_done: lost, ..Attempts::default() };
        let purpose = Purpose::Step { record: row.pending_call(&call, &self.settings.policy), grant };
        self.calls.add(QueuedCall::new(row, call, purpose, attempts));
        self.record_calls();
    }

    /// The row goes on then. It holds no sender.
    pub(super) fn wait_until(&mut self, until: Instant, cause: WaitCause, due: Due) {
        self.waits.add(until, cause, due);
        self.wake();
    }

    /// Takes in the end of a call: its last answer, or that the run stopped first.
    pub(super) fn finish(&mut self, mut queued: QueuedCall) {
        self.calls.release_sender(&mut queued);
        // Before a suspicion is looked into: other purges may wait for the grant.
        if let Purpose::Step { grant, .. } = &mut queued.purpose
            && let Some(grant) = grant.take()
        {
            if queued.sent.is_without_effect() {
                self.purge_grants.give_back(grant);
            } else {
                self.purge_grants.use_up(grant);
            }
            for (row, call) in std::mem::take(&mut self.ungranted) {
                self.begin_call(row, call);
            }
        }
        match queued.purpose {
            Purpose::Control(asker) => self.finish_control(queued.row, &queued.call, asker, &queued.sent),
            _ if queued.sent.is_suspicious() => self.suspect(queued),
            _ => self.take_in(queued),
        }
    }

    /// Takes in what a call has shown of its customer.
    pub(super) fn take_in(&mut self, mut queued: QueuedCall) {
        self.count_call(&mut queued.row, &queued.sent);
        let record = match queued.purpose {
            Purpose::Step { record, .. } => record,
            Purpose::Probe(create) => {
                return self.take_in_probe(queued.row, &queued.call, &queued.sent, create);
            }
            Purpose::Control(_) => unreachable!("a control request shows nothing of a customer"),
        };
        if !queued.sent.is_recorded {
            return self.end_row(queued.row, RowEnd::Stopped);
        }
        let policy = self.policy();
        let Row { job, situation, doubt, lost_creates, .. } = &mut *queued.row;
        let intent = &job.intent;
        let was_known = situation.state.exists();
        let after = match queued.sent.meaning() {
            Some(Meaning::Done | Meaning::DoneBefore) => {
                self.has_news |= was_known && self.brake.find();
                acknowledge(&queued.call, intent, situation, &policy);
                set_fingerprint(intent, &mut situation.state, job.fingerprint);
                AfterAnswer::GoOn
            }
            Some(Meaning::Exists) => {
                let perhaps_done = (*lost_creates).max(queued.sent.attempts.perhaps_done);
                let after = turn_to_update(situation, perhaps_done, &policy);
                if matches!(after, AfterAnswer::HandsOff(..)) {
                    *doubt = None;
                }
                after
            }
            // Nobody is there to be purged: what stands before this row is dead all the same.
            Some(Meaning::NotFound) if record.kind == CallKind::Purge => {
                acknowledge_absence(intent, situation, &policy)
            }
            Some(Meaning::NotFound) => {
                let before = was_known.then(|| situation.clone());
                let after = turn_to_create(intent, situation, &policy);
                if let Some(before) = before
                    && after != AfterAnswer::Fail
                    && !self.brake.miss()
                {
                    // It may stop the run, and then others that wait stop as well.
                    self.has_news = true;
                    return self.park(Parked::Vanished { queued, before: Box::new(before), after });
                }
                after
            }
            _ => {
                if queued.sent.attempts.perhaps_done > 0 {
                    situation.state = state_during(&queued.call, intent, &situation.state, &policy);
                }
                AfterAnswer::Fail
            }
        };
        self.go_on(queued, record, after);
    }

    /// Records the end of a step, and goes on with its row.
    pub(super) fn go_on(&mut self, mut queued: QueuedCall, record: PendingCall, after: AfterAnswer) {
        let QueuedCall { row, call, sent, .. } = &mut queued;
        if !(after == AfterAnswer::GoOn && sent.has_follow_up()) {
            self.report_to_canary(row, call, sent, after);
        }
        let pending = row.pending_after(record, sent);
        self.record_end(row, call, sent, pending);
        let QueuedCall { mut row, call, sent, .. } = queued;
        let Some(meaning) = sent.meaning() else { return self.end_row(row, RowEnd::Stopped) };
        if record.kind == CallKind::Create && sent.proves_nothing() {
            row.lost_creates += u32::from(meaning == Meaning::Unavailable);
            let is_final = !matches!(meaning, Meaning::Unavailable | Meaning::Limited);
            row.end_if_absent = is_final.then(|| Box::new(failure(&call, meaning, &sent)));
            return self.suspect_create(row, record, sent.lost_at.unwrap_or_else(Instant::now));
        }
        let end = match after {
            AfterAnswer::GoOn => return self.advance(row),
            AfterAnswer::HandsOff(cause, outcome) => hands_off_end(cause, outcome, &sent),
            AfterAnswer::Settled(outcome) => RowEnd::Settled(outcome, None),
            AfterAnswer::Fail => failure(&call, meaning, &sent),
        };
        self.end_row(row, end);
    }

    fn count_call(&mut self, row: &mut Row, sent: &SentCall) {
        let ended = u64::from(sent.answer.is_some());
        row.calls += ended;
        self.calls_ended += ended;
        if let Some(lost_at) = sent.lost_at {
            row.extend_cool_down(lost_at + self.settings.settle);
        }
    }

    pub(super) fn record_end(&self, row: &Row, call: &Call, sent: &SentCall, pending: Option<PendingCall>) {
        self.record(Record::End(row.call_end(call, sent, pending, self.settings.stores_ids)));
    }

    pub(super) fn report_to_canary(&mut self, row: &Row, call: &Call, sent: &SentCall, after: AfterAnswer) {
        let Some(answer) = &sent.answer else { return };
        let evidence: Evidence = evidence(call, answer.meaning, after);
        match self.canary.add(row.at(), evidence, &answer.message) {
            CanaryVerdict::Undecided => {}
            CanaryVerdict::Works => self.start_all_senders(),
            CanaryVerdict::Failed(reasons) => self.stop(Stop::CanaryFailed { reasons }),
        }
    }
}
