//! Changes that become durable together.

use rusqlite::{Connection, Transaction, params};

use super::database::Checkpoint;
use super::error::CheckpointError;
use super::file::CheckpointFile;
use super::format::{self, FileLengths, JournalEntry, RowKey, StateBytes, StoredCall, StoredProgress};
use super::journal::Journal;
use super::lookups::Lookups;
use super::open_run::OpenRun;
use super::stored_ids::IdPad;
use crate::guards::vanished_customer;
use crate::mapping::{Customer, Place};
use crate::reconcile::{CustomerKey, CustomerState, Outcome, PendingCall, RowProgress};

/// Changes on their way to the disk: nothing of them holds before
/// [`Batch::commit`], and all of them after.
#[derive(Debug)]
pub struct Batch<'a> {
    transaction: Transaction<'a>,
    file: &'a CheckpointFile,
    journal: &'a mut Journal,
    customers: &'a mut u64,
    entry: JournalEntry,
    is_changed: bool,
    ids: IdPad,
}

/// Whether a row that was rejected is always rejected by the same mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// For what is in the row.
    Always,
    /// For what is known of its customer: the next run decides anew.
    ForNow,
}

impl Checkpoint {
    pub fn batch(&mut self) -> Result<Batch<'_>, CheckpointError> {
        let ids = IdPad::new(self.key());
        let Self { connection, file, journal, customers, .. } = self;
        let transaction = connection.transaction().map_err(|source| file.sqlite_error(source))?;
        let entry = JournalEntry::default();
        Ok(Batch { transaction, file, journal, customers, entry, is_changed: false, ids })
    }
}

impl Batch<'_> {
    /// What is known, this batch's own changes included.
    #[must_use]
    pub fn lookups(&self) -> Lookups<'_> {
        Lookups {
            connection: &self.transaction,
            path: &self.file.path,
            journal: self.journal,
            entry: Some(&self.entry),
            customers: *self.customers,
        }
    }

    /// A call is about to be sent.
    pub fn set_pending(&mut self, key: CustomerKey, call: &PendingCall) {
        self.is_changed = true;
        self.entry.pending.insert(key, Some(StoredCall(*call)));
    }

    /// No call of the customer is pending any more.
    pub fn clear_pending(&mut self, key: CustomerKey) {
        self.is_changed = true;
        self.entry.pending.insert(key, None);
    }

    pub fn set_state(&mut self, key: CustomerKey, state: &CustomerState) -> Result<(), CheckpointError> {
        if state.is_purged() {
            self.execute("DELETE FROM vanished WHERE customer = ?", [vanished_customer(key)])?;
        }
        self.is_changed = true;
        self.entry.states.insert(key, StateBytes::new(state));
        Ok(())
    }

    /// What is done of a row that is not settled yet.
    pub fn set_progress(&mut self, place: Place, progress: &RowProgress) {
        self.is_changed = true;
        self.entry.progress.insert(place.into(), Some(StoredProgress(progress.clone())));
    }

    /// A row with calls has its outcome.
    pub fn settle(&mut self, run: &mut OpenRun, row: u64, outcome: Outcome) -> Result<(), CheckpointError> {
        self.forget_progress(RowKey::Row(row));
        if matches!(outcome, Outcome::Failed | Outcome::InDoubt | Outcome::Rejected) {
            self.add_unfinished(run, row)?;
        }
        run.settle(row, outcome);
        self.is_changed = true;
        self.entry.settled.push(row);
        Ok(())
    }

    /// A rejected row has its line in the result file.
    pub fn settle_rejected(
        &mut self,
        run: &mut OpenRun,
        row: u64,
        rejected: Rejected,
    ) -> Result<(), CheckpointError> {
        run.record.counts.add(Outcome::Rejected);
        run.record.rejected_watermark = row;
        self.is_changed = true;
        match rejected {
            Rejected::Always => Ok(()),
            Rejected::ForNow => self.add_unfinished(run, row),
        }
    }

    /// A missing customer has its outcome. The id is forgotten with the customer.
    pub(crate) fn settle_missing(
        &mut self,
        run: &mut OpenRun,
        nth: u64,
        key: CustomerKey,
        outcome: Outcome,
    ) -> Result<(), CheckpointError> {
        self.execute("DELETE FROM missing WHERE nth = ?", [nth.cast_signed()])?;
        self.forget_progress(RowKey::Missing(nth));
        if matches!(self.lookups().state(key)?, CustomerState::Unknown | CustomerState::Purged(_)) {
            self.forget_id(key)?;
        }
        if let Some(missing) = &mut run.record.missing {
            missing.counts.add(outcome);
        }
        Ok(())
    }

    /// Stores a customer's brand and id.
    pub fn store_id(&mut self, key: CustomerKey, customer: &Customer) -> Result<(), CheckpointError> {
        let id = self.ids.seal(key, customer);
        self.execute("INSERT OR IGNORE INTO stored_id VALUES (?, ?)", params![key.0.as_slice(), id])
    }

    pub fn forget_id(&mut self, key: CustomerKey) -> Result<(), CheckpointError> {
        self.execute("DELETE FROM stored_id WHERE key = ?", [key.0.as_slice()])
    }

    pub(super) fn forget_all_ids(&mut self) -> Result<(), CheckpointError> {
        self.execute("DELETE FROM stored_id", [])
    }

    fn add_unfinished(&mut self, run: &OpenRun, row: u64) -> Result<(), CheckpointError> {
        self.execute("INSERT OR IGNORE INTO unfinished VALUES (?, ?)", [run.id, row.cast_signed()])
    }

    fn forget_progress(&mut self, row: RowKey) {
        // Most rows are settled in the batch in which they made progress.
        if self.entry.progress.remove(&row).is_none() || self.journal.progress.contains_key(&row) {
            self.entry.progress.insert(row, None);
        }
    }

    /// Makes everything durable, together with the lengths of the result files.
    pub fn commit(mut self, run: &mut OpenRun, files: FileLengths) -> Result<(), CheckpointError> {
        if !self.is_changed {
            return Ok(());
        }
        run.record.files = files;
        let record = format::encode(&run.record);
        self.execute("UPDATE run SET record = ? WHERE id = ?", params![record, run.id])?;
        self.write(run.record.watermark)
    }

    /// Makes changes durable that belong to no run.
    pub fn commit_states(self) -> Result<(), CheckpointError> {
        self.write(0)
    }

    /// After an error nothing is written any more, so it does not matter what is
    /// in memory then.
    fn write(self, watermark: u64) -> Result<(), CheckpointError> {
        let Self { transaction, file, journal, customers, entry, .. } = self;
        if journal.is_full(entry.states.len(), *customers) {
            journal.apply(entry, watermark);
            journal.fold(&transaction, &file.path, customers)?;
        } else if !entry.is_empty() {
            journal.write(&transaction, entry, watermark).map_err(|source| file.sqlite_error(source))?;
        }
        file.commit(&transaction)
    }

    fn execute(&mut self, sql: &str, parameters: impl rusqlite::Params) -> Result<(), CheckpointError> {
        self.is_changed = true;
        execute(&self.transaction, sql, parameters).map_err(|source| self.file.sqlite_error(source))
    }
}

pub(super) fn execute(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute(parameters).map(drop)
}
