//! The rows of a worklist, read again and handed to the scheduler.

use std::collections::BTreeSet;

use tokio::sync::mpsc;

use super::error::RunError;
use crate::checkpoint::{OpenRun, PurgeList, Work, Worklist};
use crate::dispatch::Job;
use crate::mapping::{Intent, RowResult};
use crate::plan::PreparedExport;
use crate::reconcile::{HashKey, RowFingerprint};
use crate::source::{Row, Rows};

/// Rows handed over at once; one at a time costs a tenth of the speed.
const BATCH_ROWS: usize = 64;

/// Rows still to be visited.
pub(super) struct WorklistRows<'a> {
    prepared: &'a PreparedExport,
    worklist: Worklist,
    work: Work,
    watermark: u64,
    settled_ahead: BTreeSet<u64>,
    key: HashKey,
}

impl<'a> WorklistRows<'a> {
    pub(super) fn with_calls(prepared: &'a PreparedExport, run: &OpenRun, key: HashKey) -> Self {
        let (watermark, settled_ahead) = (run.record.watermark, run.settled_ahead().clone());
        Self { prepared, worklist: run.worklist.clone(), work: Work::Calls, watermark, settled_ahead, key }
    }

    pub(super) fn rejected(prepared: &'a PreparedExport, run: &OpenRun, key: HashKey) -> Self {
        let watermark = run.record.rejected_watermark;
        let (worklist, settled_ahead) = (run.worklist.clone(), BTreeSet::new());
        Self { prepared, worklist, work: Work::Rejected, watermark, settled_ahead, key }
    }

    /// Visits every row, mapped, until `visit` returns `false`.
    pub(super) fn each(
        &self,
        mut visit: impl FnMut(&Row, RowResult<Option<Intent>>) -> Result<bool, RunError>,
    ) -> Result<(), RunError> {
        let export = &self.prepared.export;
        let (mut row, mut reader): (Row, Option<Rows>) = (Row::default(), None);
        let (mut wanted, mut read) = (self.watermark, 0);
        while let Some(next) = self.worklist.next_after(wanted, self.work) {
            wanted = next;
            if self.settled_ahead.contains(&next) {
                continue;
            }
            let entry = self.worklist.entry(next).ok_or_else(|| bug(next))?;
            if reader.is_none() || entry.number > read + 1 {
                read = entry.number - 1;
                reader = Some(export.rows_from(entry));
            }
            let rows = reader.as_mut().ok_or_else(|| bug(next))?;
            while read < next {
                if !rows.read(&mut row).map_err(|source| export.io_error(source))? {
                    export.check_unchanged()?;
                    return Err(bug(next));
                }
                read += 1;
            }
            if !visit(&row, self.prepared.mapping.map(&row))? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends the rows to the scheduler, until it takes no more.
    pub(super) fn feed(&self, jobs: &mpsc::Sender<Vec<Job>>) -> Result<(), RunError> {
        let mut batch = Vec::with_capacity(BATCH_ROWS);
        let mut fingerprinter = self.prepared.fingerprinter(&self.key);
        self.each(|row, mapped| {
            let Ok(Some(intent)) = mapped else {
                self.prepared.export.check_unchanged()?;
                return Err(bug(row.at().number));
            };
            let (key, fingerprint) = (self.key.customer(&intent.customer), fingerprinter.fingerprint(row));
            batch.push(Job { key, fingerprint, intent: Box::new(intent) });
            if batch.len() < BATCH_ROWS {
                return Ok(true);
            }
            // The guards have judged this content and no other.
            self.prepared.export.check_unchanged()?;
            Ok(jobs.blocking_send(std::mem::take(&mut batch)).is_ok())
        })?;
        self.prepared.export.check_unchanged()?;
        // The scheduler takes none any more once the run has stopped.
        let _ = jobs.blocking_send(batch);
        Ok(())
    }
}

/// Sends the missing customers who are to be purged, behind all rows.
pub(super) fn feed_missing(list: &PurgeList, jobs: &mpsc::Sender<Vec<Job>>) -> Result<(), RunError> {
    let mut nth = 0;
    loop {
        let customers = list.after(nth, BATCH_ROWS as u32)?;
        let Some(last) = customers.last() else { return Ok(()) };
        nth = last.nth;
        let batch = customers.into_iter().map(|missing| {
            let intent = Box::new(Intent::purge_missing(missing.nth, missing.customer));
            Job { key: missing.key, fingerprint: RowFingerprint::NONE, intent }
        });
        // The scheduler takes none any more once the run has stopped.
        if jobs.blocking_send(batch.collect()).is_err() {
            return Ok(());
        }
    }
}

fn bug(row: u64) -> RunError {
    RunError::Bug(format!("row {row} is not what it was in the first pass"))
}
