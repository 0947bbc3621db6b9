//! Changes that become durable together.

use rusqlite::{Params, params};

use super::checkpoint::Checkpoint;
use super::error::CheckpointError;
use super::format::{
    Encoded, JournalEntry, RowKey, StateBytes, StoredCall, StoredPlace, StoredProgress, StoredWait,
};
use super::lookups::Lookups;
use super::open_run::OpenRun;
use crate::guards::vanished_customer;
use crate::mapping::{Customer, Place};
use crate::reconcile::{CustomerKey, CustomerState, Outcome, PendingCall, RowProgress};

/// Changes on their way to the disk. None of them holds before
/// [`Batch::commit`], and all of them do after it.
#[derive(Debug)]
pub struct Batch<'a> {
    pub(super) checkpoint: &'a mut Checkpoint,
    pub(super) entry: JournalEntry,
    /// Whether anything changes that is not in the entry.
    is_changed: bool,
}

/// Whether the same mapping always rejects the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectionKind {
    /// For the content of the row.
    Permanent,
    /// For the state of its customer: the next run decides anew.
    Temporary,
}

impl Checkpoint {
    pub fn batch(&mut self) -> Result<Batch<'_>, CheckpointError> {
        self.database.execute("BEGIN", [])?;
        Ok(Batch { checkpoint: self, entry: JournalEntry::default(), is_changed: false })
    }
}

impl Batch<'_> {
    /// What is known, this batch's own changes included.
    pub fn lookups(&self) -> Lookups<'_> {
        Lookups { entry: Some(&self.entry), ..self.checkpoint.lookups() }
    }

    /// A call is about to be sent, or none of the customer is pending any more.
    pub fn set_pending(&mut self, key: CustomerKey, call: Option<PendingCall>) {
        self.entry.pending.insert(key, call.map(StoredCall));
    }

    pub fn set_state(&mut self, key: CustomerKey, state: &CustomerState) -> Result<(), CheckpointError> {
        if !state.may_exist() {
            self.execute("DELETE FROM vanished WHERE customer = ?", [vanished_customer(key)])?;
        }
        self.entry.states.insert(key, StateBytes::new(state));
        Ok(())
    }

    /// Part of a row is done, and the row is not settled yet.
    pub fn set_progress(&mut self, run: &OpenRun, place: Place, progress: &RowProgress) {
        self.entry.progress.insert(RowKey::new(run.id, place), Some(StoredProgress(progress.clone())));
    }

    /// A row with calls has its outcome.
    pub fn settle(&mut self, run: &mut OpenRun, row: u64, outcome: Outcome) -> Result<(), CheckpointError> {
        self.forget_progress(RowKey { run: run.id, place: StoredPlace::Row(row) });
        if matches!(outcome, Outcome::Failed | Outcome::InDoubt | Outcome::Rejected) {
            self.add_unfinished(run, row)?;
        }
        run.settle(row, outcome);
        self.entry.settled.push((run.id, row));
        Ok(())
    }

    /// A rejected row has its line in the result file.
    pub fn settle_rejected(
        &mut self,
        run: &mut OpenRun,
        row: u64,
        kind: RejectionKind,
    ) -> Result<(), CheckpointError> {
        run.record.counts.add(Outcome::Rejected);
        run.record.rejected_watermark = row;
        self.is_changed = true;
        match kind {
            RejectionKind::Permanent => Ok(()),
            RejectionKind::Temporary => self.add_unfinished(run, row),
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
        self.forget_progress(RowKey { run: run.id, place: StoredPlace::Missing(nth) });
        if !self.lookups().state(key)?.may_be_missing() {
            self.forget_id(key)?;
        }
        if let Some(missing) = &mut run.record.missing {
            missing.counts.add(outcome);
        }
        Ok(())
    }

    /// Stores a customer's brand and id.
    pub fn store_id(&mut self, key: CustomerKey, customer: &Customer) -> Result<(), CheckpointError> {
        let id = self.checkpoint.ids.encrypt(key, customer);
        self.execute("INSERT OR IGNORE INTO stored_id VALUES (?, ?)", params![key.0, id])
    }

    pub fn forget_id(&mut self, key: CustomerKey) -> Result<(), CheckpointError> {
        self.execute("DELETE FROM stored_id WHERE key = ?", [key.0])
    }

    /// A part has purged the customer. If the open run is to purge the same customer
    /// as missing, nothing is left to do there.
    pub(crate) fn forget_missing(&mut self, key: CustomerKey) -> Result<(), CheckpointError> {
        self.forget_id(key)?;
        let sql = "SELECT EXISTS (SELECT 1 FROM missing WHERE key = ?)";
        if !self.checkpoint.database.value::<bool>(sql, [key.0])? {
            return Ok(());
        }
        self.execute("DELETE FROM missing WHERE key = ?", [key.0])?;
        let open = self.checkpoint.open_runs()?.into_iter().find(|run| !run.record.scope.is_part());
        let Some(mut open) = open else { return Ok(()) };
        if let Some(missing) = &mut open.record.missing {
            missing.counts.add(Outcome::Unchanged);
        }
        self.update_run(&open)
    }

    /// What an open run waits for.
    pub fn set_wait(&mut self, run: &mut OpenRun, wait: Option<StoredWait>) {
        run.record.wait = wait;
        self.is_changed = true;
    }

    fn add_unfinished(&mut self, run: &OpenRun, row: u64) -> Result<(), CheckpointError> {
        self.execute("INSERT OR IGNORE INTO unfinished VALUES (?, ?)", [run.id, row.cast_signed()])
    }

    fn forget_progress(&mut self, row: RowKey) {
        // Most rows are settled in the batch in which they made progress.
        if self.entry.progress.remove(&row).is_none() || self.checkpoint.journal.progress.contains_key(&row) {
            self.entry.progress.insert(row, None);
        }
    }

    /// Makes everything durable, together with the lengths of the result files.
    pub fn commit(mut self, run: &mut OpenRun, files: Vec<(String, u64)>) -> Result<(), CheckpointError> {
        if !self.is_changed && self.entry.is_empty() {
            return Ok(());
        }
        run.record.files = files;
        self.update_run(run)?;
        self.write(Some(run))
    }

    /// Makes changes durable that belong to no run.
    pub fn commit_states(self) -> Result<(), CheckpointError> {
        self.write(None)
    }

    /// After an error nothing is written any more, so the content of the memory
    /// does not matter then.
    fn write(mut self, run: Option<&OpenRun>) -> Result<(), CheckpointError> {
        let entry = std::mem::take(&mut self.entry);
        let Checkpoint { database, file, journal, .. } = &mut *self.checkpoint;
        journal.add(database, entry)?;
        run.iter().for_each(|run| journal.forget_settled(run.id, run.record.watermark));
        file.commit(database)
    }

    pub(super) fn update_run(&mut self, run: &OpenRun) -> Result<(), CheckpointError> {
        self.execute("UPDATE run SET record = ? WHERE id = ?", params![Encoded(&run.record), run.id])
    }

    pub(super) fn execute(&mut self, sql: &str, parameters: impl Params) -> Result<(), CheckpointError> {
        self.is_changed = true;
        self.checkpoint.database.execute(sql, parameters)
    }
}

impl Drop for Batch<'_> {
    /// Rolls back what is not committed.
    fn drop(&mut self) {
        let connection = &self.checkpoint.database.connection;
        if !connection.is_autocommit() {
            let _ = connection.execute_batch("ROLLBACK");
        }
    }
}
