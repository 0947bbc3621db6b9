//! Changes that become durable together.

use rusqlite::{Transaction, params};

use super::CheckpointError;
use super::database::{Checkpoint, Place, explain};
use super::lookups::Lookups;
use super::named::Names;
use super::records::{self, FileLengths};
use super::run::OpenRun;
use crate::planning::{CustomerKey, Flight, Outcome, Progress, Told, gone_customer};

/// Changes on their way to the disk: nothing of them holds before
/// [`Batch::commit`], and all of them after.
#[derive(Debug)]
pub struct Batch<'a> {
    transaction: Transaction<'a>,
    place: &'a Place,
    changed: bool,
    pub(super) names: Names,
}

impl Checkpoint {
    /// Begins a batch.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn batch(&mut self) -> Result<Batch<'_>, CheckpointError> {
        let names = Names::new(&self.key());
        let Self { connection, place, .. } = self;
        let transaction = connection.transaction().map_err(|source| explain(&place.path, source))?;
        Ok(Batch { transaction, place, changed: false, names })
    }
}

impl Batch<'_> {
    /// What is known, this batch's own changes included.
    #[must_use]
    pub fn lookups(&self) -> Lookups<'_> {
        Lookups { connection: &self.transaction, path: &self.place.path }
    }

    /// A call is about to be sent.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`], as of all below.
    pub fn intend(&mut self, key: CustomerKey, flight: &Flight) -> Result<(), CheckpointError> {
        let record = records::encode(&key.0, flight);
        self.execute("INSERT OR REPLACE INTO flight VALUES (?, ?)", params![key.0.as_slice(), record])
    }

    /// A call is no longer under way.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn landed(&mut self, key: CustomerKey) -> Result<(), CheckpointError> {
        self.execute("DELETE FROM flight WHERE key = ?", [key.0.as_slice()])
    }

    /// What the API has acknowledged of a customer, or `None` if there is no
    /// such customer.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn told(&mut self, key: CustomerKey, told: Option<&Told>) -> Result<(), CheckpointError> {
        match told {
            None => self.execute("DELETE FROM customer WHERE key = ?", [key.0.as_slice()]),
            Some(told) => {
                if told.purged {
                    self.execute("DELETE FROM gone WHERE customer = ?", [gone_customer(key)])?;
                }
                let record = records::encode(&key.0, told);
                self.execute(
                    "INSERT OR REPLACE INTO customer VALUES (?, ?)",
                    params![key.0.as_slice(), record],
                )
            }
        }
    }

    /// What is done of a row that is not settled yet.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn progress(&mut self, row: u64, progress: &Progress) -> Result<(), CheckpointError> {
        let record = records::encode(&row.to_le_bytes(), progress);
        self.execute("INSERT OR REPLACE INTO progress VALUES (?, ?)", params![row.cast_signed(), record])
    }

    /// A row with calls has its outcome.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn settle(&mut self, run: &mut OpenRun, row: u64, outcome: Outcome) -> Result<(), CheckpointError> {
        let id = row.cast_signed();
        self.execute("DELETE FROM progress WHERE row = ?", [id])?;
        if matches!(outcome, Outcome::Failed | Outcome::InDoubt | Outcome::Rejected) {
            self.execute("INSERT OR IGNORE INTO unfinished VALUES (?, ?)", [run.id, id])?;
        }
        let passed = run.settle(row, outcome);
        if passed.is_empty() {
            return self.execute("INSERT OR IGNORE INTO ahead VALUES (?)", [id]);
        }
        passed
            .iter()
            .filter(|done| **done != row)
            .try_for_each(|done| self.execute("DELETE FROM ahead WHERE row = ?", [done.cast_signed()]))
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
        let record = records::encode(&run.id.to_le_bytes(), &run.record);
        self.execute("UPDATE run SET record = ? WHERE id = ?", params![record, run.id])?;
        self.place.commit(&self.transaction)
    }

    /// Makes changes durable that are no run's.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn commit_told(self) -> Result<(), CheckpointError> {
        self.place.commit(&self.transaction)
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
