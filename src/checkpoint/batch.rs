//! Changes that become durable together.

use std::path::Path;

use rusqlite::{Connection, Transaction, params};

use super::CheckpointError;
use super::blocks::{self, BlockChange};
use super::database::Checkpoint;
use super::file::{CheckpointFile, explain};
use super::format::{self, FileLengths};
use super::journal::{Journal, JournalEntry};
use super::lookups::Lookups;
use super::run::OpenRun;
use super::stored_ids::IdPad;
use crate::guards::gone_customer;
use crate::reconcile::{Acked, CustomerKey, Outcome, PendingCall, RowProgress};

/// Changes on their way to the disk: nothing of them holds before
/// [`Batch::commit`], and all of them after.
#[derive(Debug)]
pub struct Batch<'a> {
    transaction: Transaction<'a>,
    place: &'a CheckpointFile,
    recent: &'a mut Journal,
    customers: &'a mut u64,
    changes: JournalEntry,
    changed: bool,
    pub(super) names: IdPad,
}

impl Checkpoint {
    /// Begins a batch.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn batch(&mut self) -> Result<Batch<'_>, CheckpointError> {
        let names = IdPad::new(&self.key());
        let Self { connection, place, recent, customers, .. } = self;
        let transaction = connection.transaction().map_err(|source| explain(&place.path, source))?;
        let changes = JournalEntry::default();
        Ok(Batch { transaction, place, recent, customers, changes, changed: false, names })
    }
}

impl Batch<'_> {
    /// What is known, this batch's own changes included.
    #[must_use]
    pub fn lookups(&self) -> Lookups<'_> {
        Lookups {
            connection: &self.transaction,
            path: &self.place.path,
            recent: self.recent,
            changes: Some(&self.changes),
            customers: *self.customers,
        }
    }

    /// A call is about to be sent.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`], as of all below.
    pub fn intend(&mut self, key: CustomerKey, flight: &PendingCall) -> Result<(), CheckpointError> {
        self.changed = true;
        self.changes.flights.insert(key, Some(*flight));
        Ok(())
    }

    /// A call is no longer under way.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn landed(&mut self, key: CustomerKey) -> Result<(), CheckpointError> {
        self.changed = true;
        self.changes.flights.insert(key, None);
        Ok(())
    }

    /// What the API has acknowledged of a customer, or `None` if there is no
    /// such customer.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn told(&mut self, key: CustomerKey, told: Option<&Acked>) -> Result<(), CheckpointError> {
        if told.is_some_and(|told| told.purged) {
            self.execute("DELETE FROM gone WHERE customer = ?", [gone_customer(key)])?;
        }
        self.changed = true;
        self.changes.told.insert(key, told.map(format::told));
        Ok(())
    }

    /// What is done of a row that is not settled yet.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn progress(&mut self, row: u64, progress: &RowProgress) -> Result<(), CheckpointError> {
        self.changed = true;
        self.changes.progress.insert(row, Some(progress.clone()));
        Ok(())
    }

    /// A row with calls has its outcome.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn settle(&mut self, run: &mut OpenRun, row: u64, outcome: Outcome) -> Result<(), CheckpointError> {
        self.forget_progress(row);
        if matches!(outcome, Outcome::Failed | Outcome::InDoubt | Outcome::Rejected) {
            self.execute("INSERT OR IGNORE INTO unfinished VALUES (?, ?)", [run.id, row.cast_signed()])?;
        }
        run.settle(row, outcome);
        self.changed = true;
        self.changes.settled.push(row);
        Ok(())
    }

    pub(super) fn forget_progress(&mut self, row: u64) {
        // Most rows are settled in the batch in which they made progress.
        if self.changes.progress.remove(&row).is_none() || self.recent.progress.contains_key(&row) {
            self.changes.progress.insert(row, None);
        }
    }

    /// A rejected row has its line in the result file. `for_good` says that
    /// the same row with the same mapping is always rejected.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn settle_rejected(
        &mut self,
        run: &mut OpenRun,
        row: u64,
        for_good: bool,
    ) -> Result<(), CheckpointError> {
        run.record.counts.add(Outcome::Rejected);
        run.record.rejects_done = row;
        self.changed = true;
        if for_good {
            return Ok(());
        }
        self.execute("INSERT OR IGNORE INTO unfinished VALUES (?, ?)", [run.id, row.cast_signed()])
    }

    /// Makes everything durable, together with where the result files stand.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn commit(mut self, run: &mut OpenRun, files: FileLengths) -> Result<(), CheckpointError> {
        if !self.changed {
            return Ok(());
        }
        run.record.files = files;
        let record = format::encode(&run.id.to_le_bytes(), &run.record);
        self.execute("UPDATE run SET record = ? WHERE id = ?", params![record, run.id])?;
        self.write(run.record.watermark)
    }

    /// Makes changes durable that are no run's.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn commit_told(self) -> Result<(), CheckpointError> {
        self.write(0)
    }

    /// After an error nothing is written any more, so that it does not matter
    /// what is in memory then.
    fn write(self, watermark: u64) -> Result<(), CheckpointError> {
        let Self { transaction, place, recent, customers, changes, .. } = self;
        let wrong = |source| explain(&place.path, source);
        if recent.is_long() || recent.told.len() + changes.told.len() >= recent_max(*customers) {
            recent.take_in(changes, watermark);
            fold(&transaction, &place.path, recent, customers)?;
        } else if !changes.are_none() {
            recent.write(&transaction, changes, watermark).map_err(wrong)?;
        }
        place.commit(&transaction)
    }

    pub(super) fn execute(
        &mut self,
        sql: &str,
        parameters: impl rusqlite::Params,
    ) -> Result<(), CheckpointError> {
        self.changed = true;
        self.transaction
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(parameters))
            .map(drop)
            .map_err(|source| explain(&self.place.path, source))
    }
}

/// Customers who changed and are not in their blocks yet, at the most: some
/// 170 bytes each in memory. The more of them, the fewer blocks are written for
/// each; an eighth comes to about 21 bytes a customer.
fn recent_max(customers: u64) -> usize {
    const RECENT_MIN: usize = 32 << 10;
    const RECENT_SHARE: u64 = 8;
    RECENT_MIN.max(usize::try_from(customers / RECENT_SHARE).unwrap_or(usize::MAX))
}

/// Writes the customers that changed into their blocks.
pub(super) fn fold(
    connection: &Connection,
    path: &Path,
    recent: &mut Journal,
    customers: &mut u64,
) -> Result<(), CheckpointError> {
    let mut changed: Vec<BlockChange> =
        recent.told.iter().map(|(key, told)| (*key, told.as_ref().map(|told| &*told.0))).collect();
    changed.sort_unstable_by_key(|(key, _)| *key);
    *customers = customers.saturating_add_signed(blocks::apply(connection, path, &changed)?);
    recent.rewrite(connection).map_err(|source| explain(path, source))
}
