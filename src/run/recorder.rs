//! The keeper of the books: one thread owns the checkpoint, the result files
//! and the counts.
//!
//! Whatever is ready goes into one commit; then those who wait for it are
//! told. The result files are written before the commit that says how long
//! they are. After an error nothing more is written: a failed sync is never
//! tried again, since the kernel may have dropped what it could not write.

use tokio::sync::{mpsc, oneshot};

use super::error::RunError;
use super::feed::WorklistRows;
use crate::checkpoint::{Batch, Checkpoint, FileLengths, Lookups, OpenRun, PurgeList};
use crate::dispatch::{CallEnd, FlightChange, LoadedState, Problem, Record};
use crate::plan::PreparedExport;
use crate::reconcile::{CustomerKey, Outcome, Policy, Situation, rehearse};
use crate::report::{Causes, ProgressDisplay, RunFiles, Tally};

/// Records in one commit, at most: it bounds what a crash can leave in doubt.
const COMMIT_RECORDS: usize = 2048;
/// How often the processor is offered to others before a commit.
const YIELDS: u32 = 4;
/// Rejected rows in one commit.
const COMMIT_REJECTED: usize = 1024;

/// The books of one run.
pub(crate) struct Recorder {
    checkpoint: Checkpoint,
    run: OpenRun,
    files: RunFiles,
    progress: ProgressDisplay,
    tally: Tally,
    causes: Causes,
}

/// The books, closed.
pub(crate) struct ClosedRun {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) run: OpenRun,
    pub(crate) files: RunFiles,
    pub(crate) tally: Tally,
    pub(crate) causes: Causes,
}

impl Recorder {
    pub(crate) fn new(
        checkpoint: Checkpoint,
        run: OpenRun,
        files: RunFiles,
        progress: ProgressDisplay,
    ) -> Self {
        let (tally, causes) = (Tally::default(), Causes::default());
        Self { checkpoint, run, files, progress, tally, causes }
    }

    pub(crate) fn purge_list(&self) -> Result<PurgeList, RunError> {
        Ok(self.checkpoint.purge_list()?)
    }

    /// Customers whose purge an earlier process has recorded, and may have sent.
    pub(crate) fn purging(&self) -> Result<Vec<CustomerKey>, RunError> {
        Ok(self.checkpoint.purging(self.run.export)?)
    }

    /// Rows that failed in the last run.
    pub(crate) fn failed_before(&self) -> Result<u64, RunError> {
        Ok(self.checkpoint.failed_before()?)
    }

    pub(crate) fn run(&self) -> &OpenRun {
        &self.run
    }

    pub(crate) fn close(self) -> ClosedRun {
        let Self { checkpoint, run, files, progress, tally, causes } = self;
        progress.finish();
        ClosedRun { checkpoint, run, files, tally, causes }
    }

    /// Writes down the rows that are refused here, before the first call: they
    /// are known even if the run stops at once.
    pub(crate) fn settle_rejected(
        &mut self,
        prepared: &PreparedExport,
        policy: &Policy,
    ) -> Result<(), RunError> {
        let visits = WorklistRows::of_rejected(prepared, &self.run, policy.key);
        // As they were decided: leave that was given since counts for the next run.
        let policy = Policy { allow_recreate: false, ..*policy };
        let mut waiting = Vec::new();
        visits.each(|row, mapped| {
            let (operation, rejection) = match mapped {
                Err(rejection) => ("", rejection),
                Ok(Some(intent)) => {
                    let key = policy.key.customer(&intent.customer);
                    let told = self.checkpoint.lookups().told(key)?;
                    let mut situation = Situation::new(told, Default::default());
                    let Err(rejection) = rehearse(&intent, &mut situation, &policy) else {
                        return Err(RunError::Bug(format!(
                            "row {} was rejected, and is not",
                            row.at().number
                        )));
                    };
                    (intent.operation.as_str(), rejection)
                }
                Ok(None) => {
                    return Err(RunError::Bug(format!(
                        "row {} was rejected, and is skipped",
                        row.at().number
                    )));
                }
            };
            let trouble = Problem::from(*rejection);
            self.files.trouble(row.at(), operation, Outcome::Rejected, &trouble)?;
            self.causes.add(row.at(), Outcome::Rejected, &trouble);
            // What was refused for what is known of the customer is decided anew by the next run.
            waiting.push((row.at().number, operation.is_empty()));
            if waiting.len() == COMMIT_REJECTED {
                self.commit_rejected(&mut waiting)?;
            }
            Ok(true)
        })?;
        self.commit_rejected(&mut waiting)
    }

    fn commit_rejected(&mut self, rows: &mut Vec<(u64, bool)>) -> Result<(), RunError> {
        if rows.is_empty() {
            return Ok(());
        }
        let lengths = FileLengths(self.files.flush()?);
        let mut batch = self.checkpoint.batch()?;
        for (row, for_good) in rows.drain(..) {
            batch.settle_rejected(&mut self.run, row, for_good)?;
        }
        Ok(batch.commit(&mut self.run, lengths)?)
    }

    /// Keeps the books until everybody who tells them is gone.
    pub(crate) fn keep(mut self, mut inbox: mpsc::Receiver<Vec<Record>>) -> Result<Self, RunError> {
        while let Some(mut records) = inbox.blocking_recv() {
            // Whatever comes meanwhile goes into the same commit. Where others
            // want the processor too, they come first: they make it larger.
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
            let durable = self.commit(records)?;
            for reply in durable {
                // Whoever asked may have been cancelled by a second signal.
                let _ = reply.send(());
            }
        }
        Ok(self)
    }

    fn commit(&mut self, records: Vec<Record>) -> Result<Vec<oneshot::Sender<()>>, RunError> {
        let mut waiting = Vec::new();
        let mut batch = self.checkpoint.batch()?;
        let mut books = RunTotals {
            run: &mut self.run,
            files: &mut self.files,
            tally: &mut self.tally,
            causes: &mut self.causes,
            settled: 0,
        };
        for record in records {
            match record {
                Record::Load { rows, reply } => {
                    // Whoever asked may be gone.
                    let _ = reply.send(loaded(&batch.lookups(), &rows)?);
                }
                Record::Intend { key, flight, told, reply } => {
                    // Of nobody nothing was told before, so that there is nothing to take back.
                    if told.is_some() {
                        batch.told(key, told.as_ref())?;
                    }
                    batch.intend(key, &flight)?;
                    waiting.push(reply);
                }
                Record::Acked { key, told } => batch.told(key, told.as_ref())?,
                Record::Ended(end) => books.call_ended(&mut batch, &end)?,
                Record::Settled { customer, key, at, outcome, trouble, .. }
                    if at.number > books.run.record.rows =>
                {
                    books.files.missing(&customer, outcome, trouble.as_deref())?;
                    let nth = at.number - books.run.record.rows;
                    batch.settle_missing(books.run, nth, key, outcome)?;
                    books.settled += 1;
                }
                Record::Settled { at, operation, outcome, trouble, .. } => {
                    if let Some(trouble) = trouble {
                        books.files.trouble(at, operation.as_str(), outcome, &trouble)?;
                        books.causes.add(at, outcome, &trouble);
                    }
                    batch.settle(books.run, at.number, outcome)?;
                    books.settled += 1;
                }
            }
        }
        self.progress.rows(books.settled);
        let lengths = FileLengths(self.files.flush()?);
        batch.commit(&mut self.run, lengths)?;
        Ok(waiting)
    }
}

fn loaded(lookups: &Lookups, rows: &[(CustomerKey, u64)]) -> Result<Vec<LoadedState>, RunError> {
    let keys: Vec<_> = rows.iter().map(|(key, _)| Some(*key)).collect();
    let told = lookups.told_of_all(&keys)?;
    let of_row = |((key, row), told): (&(CustomerKey, u64), _)| {
        let (flight, progress) = (lookups.flight(*key)?, lookups.progress(*row)?.unwrap_or_default());
        Ok(LoadedState { told, flight, progress })
    };
    rows.iter().zip(told).map(of_row).collect()
}

/// The parts of the books that change beside the batch.
struct RunTotals<'a> {
    run: &'a mut OpenRun,
    files: &'a mut RunFiles,
    tally: &'a mut Tally,
    causes: &'a mut Causes,
    /// Rows and missing customers, so far.
    settled: u64,
}

impl RunTotals<'_> {
    /// Who a customer is, is kept as long as there is one. A missing customer
    /// is needed until the purge is settled.
    fn name(&self, batch: &mut Batch, end: &CallEnd) -> Result<(), RunError> {
        match (&end.customer, &end.told) {
            (None, _) => Ok(()),
            _ if end.row > self.run.record.rows => Ok(()),
            (Some(customer), Some(told)) if !told.purged => Ok(batch.name(end.key, customer)?),
            _ => Ok(batch.unname(end.key)?),
        }
    }

    fn call_ended(&mut self, batch: &mut Batch, end: &CallEnd) -> Result<(), RunError> {
        batch.told(end.key, end.told.as_ref())?;
        batch.progress(end.row, &end.progress)?;
        self.name(batch, end)?;
        match &end.flight {
            FlightChange::Clear => batch.landed(end.key)?,
            FlightChange::Become(flight) => batch.intend(end.key, flight)?,
            FlightChange::Keep => {}
        }
        if end.line.attempts > 0 {
            self.files.call(&end.line)?;
            self.tally.add(&end.line);
            self.run.record.calls_done += u64::from(matches!(end.line.result, "done" | "exists"));
        }
        Ok(())
    }
}
