//! Missing customers: their stored ids, finding them, and the open run's list of
//! purges.

use std::collections::BTreeSet;

use rusqlite::params;

use super::batch::Batch;
use super::checkpoint::Checkpoint;
use super::database::{Database, LogOnClose};
use super::error::CheckpointError;
use super::format::{self, damage};
use super::id_pad::IdPad;
use super::open_run::OpenRun;
use crate::mapping::Customer;
use crate::reconcile::{CustomerKey, MissingCustomers};

/// Known customers whom an export does not hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct MissingKeys {
    pub(crate) counts: MissingCustomers,
    /// With a stored id, of brands that the export has; sorted.
    pub(crate) keys: Vec<CustomerKey>,
    /// Customers of the export whose id is not stored yet.
    pub(crate) to_store: u64,
}

/// A missing customer who is to be purged.
#[derive(Debug)]
pub(crate) struct MissingCustomer {
    /// Place in the list, from 1.
    pub(crate) nth: u64,
    pub(crate) key: CustomerKey,
    pub(crate) customer: Customer,
}

impl Checkpoint {
    /// The customer with this key, if the id is stored.
    pub fn stored_id(&self, key: CustomerKey) -> Result<Option<Customer>, CheckpointError> {
        self.database.find("SELECT id FROM stored_id WHERE key = ?", [key.0], |row| {
            self.ids.decrypt(key, row.get(0)?).ok_or_else(|| damage("a stored id is wrong").into())
        })
    }

    pub fn forget_ids(&mut self) -> Result<(), CheckpointError> {
        let has_any: bool = self.database.value("SELECT EXISTS (SELECT 1 FROM stored_id)", [])?;
        if !has_any {
            return Ok(());
        }
        let mut batch = self.batch()?;
        batch.execute("DELETE FROM stored_id", [])?;
        batch.commit_states()
    }

    /// Finds customers who are not present. It reads every customer once, in
    /// the order of the keys, and keeps 16 bytes of each who is missing.
    pub(crate) fn find_missing(
        &self,
        is_present: impl Fn(CustomerKey) -> bool,
        brands: &BTreeSet<u64>,
    ) -> Result<MissingKeys, CheckpointError> {
        let (mut missing, mut keys) = (MissingKeys::default(), Vec::new());
        let error = |source| self.database.error(source);
        let sql = "SELECT key FROM stored_id ORDER BY key";
        let mut statement = self.database.connection.prepare(sql).map_err(error)?;
        let stored = statement.query_map([], |row| row.get(0).map(CustomerKey)).map_err(error)?;
        let mut stored = stored.peekable();
        self.each_customer(|key, state| {
            // Both are sorted: they are read in step.
            while stored.next_if(|own| own.as_ref().is_ok_and(|own| *own < key)).is_some() {}
            let own = stored.next_if(|own| own.as_ref().map_or(true, |own| *own == key));
            let has_id = own.transpose()?.is_some();
            let is_present = is_present(key);
            if is_present && has_id || !format::decode_state(state)?.may_be_missing() {
                return Ok(());
            }
            if has_id {
                keys.push(key);
            } else if is_present {
                missing.to_store += 1;
            } else {
                missing.counts.without_id += 1;
            }
            Ok(())
        })?;
        for key in keys {
            if self.stored_id(key)?.is_some_and(|customer| brands.contains(&customer.brand_id)) {
                missing.counts.found += 1;
                missing.keys.push(key);
            } else {
                missing.counts.other_brands += 1;
            }
        }
        Ok(missing)
    }

    /// The list of the open run, to be read while another connection writes.
    pub(crate) fn purge_list(&self) -> Result<PurgeList, CheckpointError> {
        let database = Database::open(&self.database.path)?;
        database.set_log_on_close(LogOnClose::Keep)?;
        Ok(PurgeList { database, ids: self.ids })
    }

    /// Takes the missing customers who are still to be purged out of the open run.
    pub(crate) fn cancel_purge_list(&mut self, run: &mut OpenRun) -> Result<(), CheckpointError> {
        let pending = run.pending_missing();
        let Some(missing) = &mut run.record.missing else { return Ok(()) };
        missing.found -= pending;
        run.record.purges_planned = run.record.purges_planned.saturating_sub(pending);
        run.record.calls_planned = run.record.calls_planned.saturating_sub(pending);
        let mut batch = self.batch()?;
        batch.execute("DELETE FROM missing", [])?;
        batch.update_run(run)?;
        batch.commit_states()
    }
}

impl Batch<'_> {
    /// Writes the list of a run that begins.
    pub(super) fn write_purge_list(&mut self, keys: &[CustomerKey]) -> Result<(), CheckpointError> {
        self.execute("DELETE FROM missing", [])?;
        (1_i64..)
            .zip(keys)
            .try_for_each(|(nth, key)| self.execute("INSERT INTO missing VALUES (?, ?)", params![nth, key.0]))
    }
}

/// The missing customers whom the open run is to purge.
#[derive(Debug)]
pub(crate) struct PurgeList {
    database: Database,
    ids: IdPad,
}

impl PurgeList {
    /// The next few behind the `nth`.
    pub(crate) fn after(&self, nth: u64, limit: u32) -> Result<Vec<MissingCustomer>, CheckpointError> {
        self.database.list(
            "SELECT missing.key, stored_id.id, missing.nth FROM missing
             LEFT JOIN stored_id ON stored_id.key = missing.key
             WHERE missing.nth > ? ORDER BY missing.nth LIMIT ?",
            params![nth.cast_signed(), limit],
            |row| {
                let (key, stored) = (CustomerKey(row.get(0)?), row.get::<_, Option<Vec<u8>>>(1)?);
                let customer = stored.and_then(|stored| self.ids.decrypt(key, stored));
                let customer = customer.ok_or_else(|| damage("a missing customer has no id"))?;
                Ok(MissingCustomer { nth: row.get::<_, i64>(2)?.cast_unsigned(), key, customer })
            },
        )
    }
}
