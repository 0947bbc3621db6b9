//! The recorder: one thread owns the checkpoint, the result files and the
//! totals.
//!
//! Whatever is ready goes into one commit, and then those who wait for it get
//! their replies. The result files are written before the commit that notes
//! their lengths. After an error nothing more is written: a failed sync is never
//! tried again, since the kernel may have dropped what it could not write.

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::error::RunError;
use super::feed::each_row;
use crate::checkpoint::{
    Batch, Checkpoint, Lookups, OpenRun, Probing, RejectionKind, RunScope, StoredWait, Work,
};
use crate::dispatch::{CallEnd, CallLine, CallResult, LoadedState, Problem, Record, Reply, Wait};
use crate::guards::{Notice, NoticeKind};
use crate::mapping::{Customer, Place, is_placeholder_of_many};
use crate::omnidesk::Meaning;
use crate::plan::PreparedExport;
use crate::reconcile::{CustomerKey, HashedIntent, Outcome, Policy, purged_before, rehearse};
use crate::report::{Causes, ProgressDisplay, ProgressStep, RunFiles, Tally};
use crate::units::time_after;

/// Records in one commit, at most: it bounds what a crash can leave in doubt.
const COMMIT_RECORDS: usize = 2048;
/// How often the processor is yielded before a commit.
const YIELDS: u32 = 4;
/// Rejected rows in one commit.
const COMMIT_REJECTED: usize = 1024;

pub(super) struct Recorder {
    pub(super) checkpoint: Checkpoint,
    pub(super) run: OpenRun,
    pub(super) files: RunFiles,
    pub(super) progress: ProgressDisplay,
    pub(super) tally: Tally,
    pub(super) causes: Causes,
}

impl Recorder {
    /// Writes down the rejected rows before the first call: they are known even
    /// if the run stops at once.
    pub(super) fn settle_rejected(
        &mut self,
        prepared: &PreparedExport,
        policy: &Policy,
    ) -> Result<(), RunError> {
        let pending = self.run.pending(Work::Rejected);
        // As they were decided: an override that came since counts for the next run.
        let policy = Policy { allow_recreate: false, ..*policy };
        let mut waiting = Vec::new();
        each_row(prepared, pending, |row, mapped| {
            let at = row.at();
            let bug = |is: &str| RunError::Bug(format!("row {} was rejected, and is {is}", at.number));
            let (operation, rejection, rejected) = match mapped {
                Err(rejection) => ("", rejection, RejectionKind::Permanent),
                Ok(Some(intent)) => {
                    let intent = HashedIntent::new(intent, &policy.key);
                    let mut state = self.checkpoint.lookups().state(intent.key)?;
                    let id = intent.customer.primary_id.as_str();
                    match rehearse(&intent, &mut state, &policy) {
                        Err(rejection) => (intent.operation.as_str(), rejection, RejectionKind::Temporary),
                        Ok(_) if is_placeholder_of_many(id) => {
                            ("", prepared.mapping.reject_placeholder_of_many(id), RejectionKind::Permanent)
                        }
                        // A part that ran beside this run has brought the customer back.
                        Ok(_) if self.has_later_run()? => {
                            (intent.operation.as_str(), purged_before(), RejectionKind::Temporary)
                        }
                        Ok(_) => return Err(bug("not")),
                    }
                }
                Ok(None) => return Err(bug("skipped")),
            };
            let problem = Problem::from(*rejection);
            self.files.add_problem(at, operation, Outcome::Rejected, &problem)?;
            self.causes.add(at, Outcome::Rejected, &problem);
            waiting.push((at.number, rejected));
            if waiting.len() == COMMIT_REJECTED {
                self.commit_rejected(&mut waiting)?;
            }
            Ok(true)
        })?;
        self.commit_rejected(&mut waiting)
    }

    /// Whether a part has begun since this run has.
    fn has_later_run(&self) -> Result<bool, RunError> {
        Ok(self.checkpoint.runs(1)?.first().is_some_and(|(id, _)| *id != self.run.id))
    }

    fn commit_rejected(&mut self, rows: &mut Vec<(u64, RejectionKind)>) -> Result<(), RunError> {
        if rows.is_empty() {
            return Ok(());
        }
        let lengths = self.files.flush()?;
        let mut batch = self.checkpoint.batch()?;
        for (row, rejected) in rows.drain(..) {
            batch.settle_rejected(&mut self.run, row, rejected)?;
        }
        Ok(batch.commit(&mut self.run, lengths)?)
    }

    /// Records until all senders are closed.
    pub(super) fn record(
        mut self,
        mut inbox: mpsc::Receiver<Vec<Record>>,
        replies: &mpsc::UnboundedSender<Reply>,
    ) -> Result<Self, RunError> {
        while let Some(mut records) = inbox.blocking_recv() {
            // Records that come meanwhile go into the same commit. Other threads
            // come first: they make it larger.
            let mut yields = 0;
            while records.len() < COMMIT_RECORDS && yields < YIELDS {
                match inbox.try_recv() {
                    Ok(mut more) => records.append(&mut more),
                    Err(_) => {
                        yields += 1;
                        std::thread::yield_now();
                    }
                }
            }
            let calls = self.commit(records, replies)?;
            if calls > 0 {
                // The receiver may have been cancelled by a second signal.
                let _ = replies.send(Reply::Recorded { calls });
            }
        }
        Ok(self)
    }

    /// Makes records durable. Returns how many calls may be sent now.
    fn commit(
        &mut self,
        records: Vec<Record>,
        replies: &mpsc::UnboundedSender<Reply>,
    ) -> Result<usize, RunError> {
        let mut batch = self.checkpoint.batch()?;
        let (mut calls, mut step) = (0, ProgressStep::default());
        for record in records {
            match record {
                Record::Load { rows } => {
                    // The receiver may have been cancelled.
                    let _ = replies.send(Reply::Loaded(load(&batch.lookups(), self.run.id, &rows)?));
                }
                Record::Begin { key, call, state } => {
                    // Nothing is acknowledged of an unknown customer, so there is nothing to take back.
                    if !state.is_unknown() {
                        batch.set_state(key, &state)?;
                    }
                    batch.set_pending(key, Some(call));
                    calls += 1;
                }
                Record::Confirm { key, state } => batch.set_state(key, &state)?,
                Record::End(end) => {
                    record_call_end(&mut batch, &self.run, &end)?;
                    if end.line.attempts > 0 {
                        add_call(&mut self.files, &end, self.run.record.scope)?;
                        self.tally.add(&end.line);
                        add_requests(&mut step, &end.line);
                        self.run.record.calls_done += u64::from(end.line.has_worked());
                    }
                }
                Record::Control { fooled_by } => self.run.record.probing = probing(fooled_by),
                Record::Wait(wait) => {
                    let wait =
                        wait.and_then(|Wait { cause, left }| Some((time_after(left)?, cause.as_str())));
                    self.progress.show_wait(wait);
                    batch.set_wait(&mut self.run, wait.map(stored_wait));
                }
                Record::Settle { customer, key, at, operation, outcome, problem } => {
                    step.rows += 1;
                    step.failed += u64::from(outcome.is_problem());
                    let at = match at {
                        Place::Row(at) => at,
                        Place::Missing(nth) => {
                            self.files.add_missing(&customer, outcome, problem.as_deref())?;
                            batch.settle_missing(&mut self.run, nth, key, outcome)?;
                            continue;
                        }
                    };
                    let problem = problem.as_deref();
                    match (self.run.record.scope, problem) {
                        (RunScope::Request, _) => {
                            self.files.add_receipt((key, customer.brand_id), outcome, problem)?;
                        }
                        (_, Some(problem)) => {
                            self.files.add_problem(at, operation.as_str(), outcome, problem)?;
                        }
                        (_, None) => {}
                    }
                    problem.into_iter().for_each(|problem| self.causes.add(at, outcome, problem));
                    batch.settle(&mut self.run, at.number, outcome)?;
                }
            }
        }
        self.progress.add(step);
        let lengths = self.files.flush()?;
        batch.commit(&mut self.run, lengths)?;
        Ok(calls)
    }
}

/// A call that was stopped is sent again by the resumed run. One that shows that the
/// customer exists, or does not, has another one in its place.
fn add_requests(step: &mut ProgressStep, line: &CallLine) {
    let is_followed = matches!(line.result, CallResult::Answered(Meaning::Exists | Meaning::NotFound));
    step.calls += u64::from(line.result != CallResult::Stopped && !is_followed);
    step.requests += u64::from(line.attempts);
    step.refused += u64::from(line.refused);
    step.retried += u64::from(line.attempts.saturating_sub(1 + line.refused));
}

/// The lines of a call. No file names a customer of a request.
fn add_call(files: &mut RunFiles, end: &CallEnd, scope: RunScope) -> Result<(), RunError> {
    if scope == RunScope::Request {
        return Ok(());
    }
    files.add_call(&end.line)?;
    if let (Some(channel), Place::Row(at)) = (end.line.existing, end.line.at) {
        let (kind, field) = (NoticeKind::ExistingAddress, channel.as_str().to_owned());
        files.add_notice(&Notice { at, kind, field: Some(field), other: None })?;
    }
    Ok(())
}

fn stored_wait((until, reason): (Timestamp, &str)) -> StoredWait {
    StoredWait { until: until.to_string(), reason: reason.to_owned() }
}

/// What the answer to a control request shows.
fn probing(fooled_by: Option<Customer>) -> Probing {
    match fooled_by {
        None => Probing::Works,
        Some(Customer { brand_id, primary_id }) => {
            Probing::Fails { brand_id, id: primary_id.as_str().to_owned() }
        }
    }
}

fn load(lookups: &Lookups, run: i64, rows: &[(CustomerKey, Place)]) -> Result<Vec<LoadedState>, RunError> {
    let keys: Vec<_> = rows.iter().map(|(key, _)| Some(*key)).collect();
    let states = lookups.states(&keys)?;
    let loaded = rows.iter().zip(states).map(|((key, at), state)| LoadedState {
        state,
        pending: lookups.pending(*key),
        progress: lookups.progress(run, *at),
    });
    Ok(loaded.collect())
}

fn record_call_end(batch: &mut Batch, run: &OpenRun, end: &CallEnd) -> Result<(), RunError> {
    batch.set_state(end.key, &end.state)?;
    batch.set_progress(run, end.line.at, &end.progress);
    batch.set_pending(end.key, end.pending);
    // An id is stored as long as the customer exists. That of a missing customer
    // is needed until the purge is settled.
    if matches!(end.line.at, Place::Missing(_)) {
        return Ok(());
    }
    match &end.customer {
        Some(customer) if end.state.may_be_missing() => batch.store_id(end.key, customer)?,
        _ if run.record.scope.is_part() && end.state.is_purged() => batch.forget_missing(end.key)?,
        Some(_) => batch.forget_id(end.key)?,
        None => {}
    }
    Ok(())
}
