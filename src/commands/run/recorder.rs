//! The keeper of the books: one thread owns the checkpoint, the result files
//! and the counts.
//!
//! Whatever is ready goes into one commit; then those who wait for it are
//! told. The result files are written before the commit that says how long
//! they are. After an error nothing more is written: a failed sync is never
//! tried again, since the kernel may have dropped what it could not write.

use tokio::sync::{mpsc, oneshot};

use super::super::exit::CommandError;
use super::super::prepare::Prepared;
use super::visit::Visits;
use crate::checkpoint::{Batch, Checkpoint, FileLengths, OpenRun, PurgeList};
use crate::dispatch::{CallEnd, FlightChange, Loaded, Record, Trouble};
use crate::mapping::Mapped;
use crate::planning::{Outcome, Policy, Situation, rehearse};
use crate::report::{Causes, Progress, RunFiles, Tally};

/// Records in one commit, at most: it bounds what a crash can leave in doubt.
const COMMIT_RECORDS: usize = 2048;
/// Rejected rows in one commit.
const COMMIT_REJECTED: usize = 1024;

/// The books of one run.
pub(super) struct Recorder {
    checkpoint: Checkpoint,
    run: OpenRun,
    files: RunFiles,
    progress: Progress,
    tally: Tally,
    causes: Causes,
    /// Whether ids of customers are kept, for whoever asks who is missing.
    keeps_names: bool,
}

/// The books, closed.
pub(super) struct Closed {
    pub(super) checkpoint: Checkpoint,
    pub(super) run: OpenRun,
    pub(super) files: RunFiles,
    pub(super) tally: Tally,
    pub(super) causes: Causes,
}

impl Recorder {
    pub(super) fn new(checkpoint: Checkpoint, run: OpenRun, files: RunFiles, progress: Progress) -> Self {
        let (tally, causes) = (Tally::default(), Causes::default());
        Self { checkpoint, run, files, progress, tally, causes, keeps_names: false }
    }

    pub(super) fn keep_names(&mut self, keeps_names: bool) {
        self.keeps_names = keeps_names;
    }

    pub(super) fn purge_list(&self) -> Result<PurgeList, CommandError> {
        Ok(self.checkpoint.purge_list()?)
    }

    pub(super) fn run(&self) -> &OpenRun {
        &self.run
    }

    pub(super) fn close(self) -> Closed {
        let Self { checkpoint, run, files, progress, tally, causes, .. } = self;
        progress.finish();
        Closed { checkpoint, run, files, tally, causes }
    }

    /// Writes down the rows that are refused here, before the first call: they
    /// are known even if the run stops at once.
    pub(super) fn settle_rejected(
        &mut self,
        prepared: &Prepared,
        policy: &Policy,
    ) -> Result<(), CommandError> {
        let visits = Visits::of_rejected(prepared, &self.run, policy.key);
        // As they were decided: leave that was given since counts for the next run.
        let policy = Policy { allow_recreate: false, ..*policy };
        let mut waiting = Vec::new();
        visits.each(|row, mapped| {
            let (operation, rejection) = match mapped {
                Mapped::Rejected(rejection) => ("", rejection),
                Mapped::Intent(intent) => {
                    let key = policy.key.customer(&intent.customer);
                    let told = self.checkpoint.lookups().told(key)?;
                    let mut situation = Situation::new(told, Default::default());
                    let Err(rejection) = rehearse(&intent, &mut situation, &policy) else {
                        return Err(CommandError::Bug(format!(
                            "row {} was rejected, and is not",
                            row.at().number
                        )));
                    };
                    (intent.operation.word(), rejection)
                }
                Mapped::Skip => {
                    return Err(CommandError::Bug(format!(
                        "row {} was rejected, and is skipped",
                        row.at().number
                    )));
                }
            };
            let trouble = Trouble::from(*rejection);
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

    fn commit_rejected(&mut self, rows: &mut Vec<(u64, bool)>) -> Result<(), CommandError> {
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
    pub(super) fn keep(mut self, mut inbox: mpsc::Receiver<Record>) -> Result<Self, CommandError> {
        let mut records = Vec::with_capacity(COMMIT_RECORDS);
        while inbox.blocking_recv_many(&mut records, COMMIT_RECORDS) > 0 {
            let durable = self.commit(records.drain(..))?;
            for reply in durable {
                // Whoever asked may have been cancelled by a second signal.
                let _ = reply.send(());
            }
        }
        Ok(self)
    }

    fn commit(
        &mut self,
        records: impl Iterator<Item = Record>,
    ) -> Result<Vec<oneshot::Sender<()>>, CommandError> {
        let mut waiting = Vec::new();
        let mut batch = self.checkpoint.batch()?;
        let mut books = Books {
            run: &mut self.run,
            files: &mut self.files,
            tally: &mut self.tally,
            causes: &mut self.causes,
            progress: &mut self.progress,
            keeps_names: self.keeps_names,
        };
        for record in records {
            match record {
                Record::Load { key, row, reply } => {
                    let lookups = batch.lookups();
                    let loaded = Loaded {
                        told: lookups.told(key)?,
                        flight: lookups.flight(key)?,
                        progress: lookups.progress(row)?.unwrap_or_default(),
                    };
                    let _ = reply.send(loaded);
                }
                Record::Intend { key, flight, told, reply } => {
                    // Of nobody nothing was told before, so that there is nothing to take back.
                    if told.is_some() {
                        batch.told(key, told.as_ref())?;
                    }
                    batch.intend(key, &flight)?;
                    waiting.push(reply);
                }
                Record::Told { key, told } => batch.told(key, told.as_ref())?,
                Record::Ended(end) => books.call_ended(&mut batch, &end)?,
                Record::Settled { customer, key, at, outcome, trouble, .. }
                    if at.number > books.run.record.rows =>
                {
                    books.files.missing(&customer, outcome, trouble.as_deref())?;
                    let nth = at.number - books.run.record.rows;
                    batch.settle_missing(books.run, nth, key, outcome)?;
                    books.progress.row();
                }
                Record::Settled { at, operation, outcome, trouble, .. } => {
                    if let Some(trouble) = trouble {
                        books.files.trouble(at, operation.word(), outcome, &trouble)?;
                        books.causes.add(at, outcome, &trouble);
                    }
                    batch.settle(books.run, at.number, outcome)?;
                    books.progress.row();
                }
            }
        }
        let lengths = FileLengths(self.files.flush()?);
        batch.commit(&mut self.run, lengths)?;
        Ok(waiting)
    }
}

/// The parts of the books that change beside the batch.
struct Books<'a> {
    run: &'a mut OpenRun,
    files: &'a mut RunFiles,
    tally: &'a mut Tally,
    causes: &'a mut Causes,
    progress: &'a mut Progress,
    keeps_names: bool,
}

impl Books<'_> {
    /// Who a customer is, is kept as long as there is one. A missing customer
    /// is needed until the purge is settled.
    fn name(&self, batch: &mut Batch, end: &CallEnd) -> Result<(), CommandError> {
        match &end.told {
            _ if !self.keeps_names || end.row > self.run.record.rows => Ok(()),
            Some(told) if !told.purged => Ok(batch.name(end.key, &end.customer)?),
            _ => Ok(batch.unname(end.key)?),
        }
    }

    fn call_ended(&mut self, batch: &mut Batch, end: &CallEnd) -> Result<(), CommandError> {
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
