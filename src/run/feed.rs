//! The rows of a worklist, read again and handed to the scheduler.

use tokio::sync::mpsc;

use super::error::RunError;
use crate::checkpoint::{PendingRows, PurgeList};
use crate::dispatch::Job;
use crate::mapping::{Intent, RowResult};
use crate::plan::PreparedExport;
use crate::reconcile::{HashKey, HashedIntent, RowFingerprint};
use crate::source::{Row, Rows};

/// Rows handed over at once; one at a time costs a tenth of the speed.
const BATCH_ROWS: usize = 64;

/// Visits every pending row, mapped, until `visit` returns `false`.
pub(super) fn each_row(
    prepared: &PreparedExport,
    pending: PendingRows,
    mut visit: impl FnMut(&Row, RowResult<Option<Intent>>) -> Result<bool, RunError>,
) -> Result<(), RunError> {
    let export = &prepared.export;
    let (mut row, mut read) = (Row::default(), 0);
    let mut reader: Option<Rows> = None;
    for (next, entry) in pending {
        let rows = match reader.take() {
            Some(rows) if entry.number <= read + 1 => rows,
            _ => {
                read = entry.number - 1;
                export.rows_from(entry)
            }
        };
        let rows = reader.insert(rows);
        while read < next {
            if !rows.read(&mut row).map_err(|source| export.io_error(source))? {
                export.check_unchanged()?;
                return Err(bug(next));
            }
            read += 1;
        }
        if !visit(&row, prepared.map(&row))? {
            break;
        }
    }
    Ok(())
}

/// Sends the pending rows to the scheduler, until it takes no more.
pub(super) fn feed_rows(
    prepared: &PreparedExport,
    pending: PendingRows,
    key: &HashKey,
    jobs: &mpsc::Sender<Vec<Job>>,
) -> Result<(), RunError> {
    let mut batch = Vec::with_capacity(BATCH_ROWS);
    let mut fingerprinter = prepared.fingerprinter(key);
    each_row(prepared, pending, |row, mapped| {
        let Ok(Some(intent)) = mapped else {
            prepared.export.check_unchanged()?;
            return Err(bug(row.at().number));
        };
        let fingerprint = fingerprinter.fingerprint(prepared.mapping.deciding_cells(row));
        batch.push(Job { fingerprint, intent: Box::new(HashedIntent::new(intent, key)) });
        if batch.len() < BATCH_ROWS {
            return Ok(true);
        }
        // The guards have judged this content and no other.
        prepared.export.check_unchanged()?;
        Ok(jobs.blocking_send(std::mem::take(&mut batch)).is_ok())
    })?;
    prepared.export.check_unchanged()?;
    // The scheduler takes none any more once the run has stopped.
    let _ = jobs.blocking_send(batch);
    Ok(())
}

/// Sends the missing customers who are to be purged, behind all rows.
pub(super) fn feed_missing(
    list: &PurgeList,
    key: &HashKey,
    jobs: &mpsc::Sender<Vec<Job>>,
) -> Result<(), RunError> {
    let mut nth = 0;
    loop {
        let customers = list.after(nth, BATCH_ROWS as u32)?;
        let Some(last) = customers.last() else { return Ok(()) };
        nth = last.nth;
        let batch = customers.into_iter().map(|missing| {
            let intent = Intent::purge_missing(missing.nth, missing.customer);
            let intent = Box::new(HashedIntent::of_customer(intent, missing.key, key));
            Job { fingerprint: RowFingerprint::NONE, intent }
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
