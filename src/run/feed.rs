//! The rows of a worklist, read again.

use std::collections::BTreeSet;

use tokio::sync::mpsc;

use super::error::RunError;
use crate::checkpoint::{OpenRun, PurgeList};
use crate::checkpoint::{Work, Worklist};
use crate::dispatch::Job;
use crate::mapping::{Intent, RowResult};
use crate::plan::PreparedExport;
use crate::reconcile::{HashKey, RowFingerprint};
use crate::source::{Row, RowRef, Rows};

/// Rows handed over at once; one at a time costs a tenth of the speed.
const BATCH_ROWS: usize = 64;

/// Rows still to be visited.
pub(crate) struct WorklistRows<'a> {
    prepared: &'a PreparedExport,
    worklist: Worklist,
    work: Work,
    after: u64,
    /// Rows that were settled out of order.
    ahead: BTreeSet<u64>,
    key: HashKey,
}

impl<'a> WorklistRows<'a> {
    /// The rows with calls that are not settled yet.
    pub(crate) fn of_calls(prepared: &'a PreparedExport, run: &OpenRun, key: HashKey) -> Self {
        Self::of(prepared, run, Work::Calls, run.record.watermark, run.ahead().clone(), key)
    }

    /// The rejected rows that are not settled yet.
    pub(crate) fn of_rejected(prepared: &'a PreparedExport, run: &OpenRun, key: HashKey) -> Self {
        Self::of(prepared, run, Work::Rejected, run.record.rejects_done, BTreeSet::new(), key)
    }

    fn of(
        prepared: &'a PreparedExport,
        run: &OpenRun,
        work: Work,
        after: u64,
        ahead: BTreeSet<u64>,
        key: HashKey,
    ) -> Self {
        Self { prepared, worklist: run.worklist.clone(), work, after, ahead, key }
    }

    /// Hands every row to `take`, mapped, until it says `false`.
    pub(crate) fn each(
        &self,
        mut take: impl FnMut(&Row, RowResult<Option<Intent>>) -> Result<bool, RunError>,
    ) -> Result<(), RunError> {
        let (mut row, mut reader): (Row, Option<Rows>) = (Row::default(), None);
        let (mut wanted, mut read) = (self.after, 0);
        while let Some(next) = self.worklist.next_after(wanted, self.work) {
            wanted = next;
            if self.ahead.contains(&next) {
                continue;
            }
            let entry = self.worklist.entry(next).ok_or_else(|| bug(next))?;
            if reader.is_none() || entry.number > read + 1 {
                read = entry.number - 1;
                reader = Some(self.prepared.export.rows_from(entry));
            }
            let rows = reader.as_mut().ok_or_else(|| bug(next))?;
            while read < next {
                if !rows.read(&mut row).map_err(|source| self.prepared.export.io_error(source))? {
                    self.prepared.export.check_unchanged()?;
                    return Err(bug(next));
                }
                read += 1;
            }
            if !take(&row, self.prepared.mapping.map(&row))? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends the rows to the dispatcher, until it takes no more.
    pub(crate) fn feed(&self, jobs: &mpsc::Sender<Vec<Job>>) -> Result<(), RunError> {
        let mut batch = Vec::with_capacity(BATCH_ROWS);
        let mut prints = self.prepared.prints(&self.key);
        self.each(|row, mapped| {
            let Ok(Some(intent)) = mapped else {
                self.prepared.export.check_unchanged()?;
                return Err(bug(row.at().number));
            };
            let (key, print) = (self.key.customer(&intent.customer), prints.of(row));
            batch.push(Job { key, print, intent: Box::new(intent) });
            if batch.len() < BATCH_ROWS {
                return Ok(true);
            }
            // What was planned and guarded is this content and no other.
            self.prepared.export.check_unchanged()?;
            Ok(jobs.blocking_send(std::mem::take(&mut batch)).is_ok())
        })?;
        self.prepared.export.check_unchanged()?;
        // Nobody takes them any more once the run has stopped.
        let _ = jobs.blocking_send(batch);
        Ok(())
    }
}

/// Sends the missing who are to be purged, behind all rows.
pub(crate) fn feed_missing(
    list: &PurgeList,
    rows: u64,
    jobs: &mpsc::Sender<Vec<Job>>,
) -> Result<(), RunError> {
    let mut nth = 0;
    loop {
        let some = list.after(nth, BATCH_ROWS as u32)?;
        let Some(last) = some.last() else { return Ok(()) };
        nth = last.nth;
        let batch = some.into_iter().map(|one| {
            // Behind the export's rows, and on no line of it.
            let at = RowRef { number: rows + one.nth, ..RowRef::default() };
            Job {
                key: one.key,
                print: RowFingerprint::NONE,
                intent: Box::new(Intent::purge(at, one.customer)),
            }
        });
        // Nobody takes them any more once the run has stopped.
        if jobs.blocking_send(batch.collect()).is_err() {
            return Ok(());
        }
    }
}

fn bug(row: u64) -> RunError {
    RunError::Bug(format!("row {row} is not what it was in the first pass"))
}
