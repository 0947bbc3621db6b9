//! Who is missing: finding them, and the list of those to be purged, which
//! goes with the open run.

use std::collections::BTreeSet;

use rusqlite::config::DbConfig;
use rusqlite::fallible_streaming_iterator::FallibleStreamingIterator as _;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, Rows, Transaction, params};

use super::CheckpointError;
use super::batch::Batch;
use super::database::Checkpoint;
use super::file::{damaged_record, explain};
use super::format;
use super::run::OpenRun;
use super::stored_ids::IdPad;
use crate::mapping::Customer;
use crate::reconcile::{CustomerKey, MissingCustomers, MissingPlan, Outcome};

/// A missing customer who is to be purged.
#[derive(Debug)]
pub struct MissingCustomer {
    /// Place in the list, from 1.
    pub nth: u64,
    /// The customer's key.
    pub key: CustomerKey,
    /// Who it is.
    pub customer: Customer,
}

impl Checkpoint {
    /// Customers that `met` does not know, of these brands. It reads every
    /// customer once, in the order of the keys, and keeps 16 bytes of each who
    /// is missing.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn unmet(
        &self,
        met: impl Fn(CustomerKey) -> bool,
        brands: &BTreeSet<u64>,
    ) -> Result<MissingPlan, CheckpointError> {
        let wrong = |source| self.explain(source);
        let names = IdPad::new(&self.key());
        let mut named = self.connection.prepare("SELECT key, name FROM named ORDER BY key").map_err(wrong)?;
        let mut names_left = MergeCursor::of(named.query([]).map_err(wrong)?).map_err(wrong)?;
        let mut found = MissingPlan::default();
        self.each_customer(|key, record| {
            let name = names_left.at(key).map_err(wrong)?;
            let is_met = met(key);
            if is_met && name.is_some() {
                return Ok(());
            }
            let told = format::told_of(record).ok_or_else(|| damaged_record(self.path()))?;
            if told.purged {
                return Ok(());
            }
            let Some(sealed) = name else {
                *(if is_met { &mut found.to_name } else { &mut found.missing.unnamed }) += 1;
                return Ok(());
            };
            let customer =
                names.opened(key, sealed).ok_or_else(|| self.damaged("an id cannot be decrypted"))?;
            if brands.contains(&customer.brand_id) {
                found.keys.push(key);
            } else {
                found.missing.other_brands += 1;
            }
            Ok(())
        })?;
        found.missing.found = found.keys.len() as u64;
        Ok(found)
    }

    /// Another connection to the same file, to read the list while somebody
    /// else writes.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn purge_list(&self) -> Result<PurgeList, CheckpointError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connect = || {
            let connection = Connection::open_with_flags(self.path(), flags)?;
            connection.busy_timeout(std::time::Duration::from_secs(10))?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            Ok(connection)
        };
        let connection = connect().map_err(|source| self.explain(source))?;
        Ok(PurgeList { connection, path: self.path().to_owned(), names: IdPad::new(&self.key()) })
    }

    /// Leave to purge the missing was taken back: the open run does not any more.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn withdraw_missing(&mut self, run: &mut OpenRun) -> Result<(), CheckpointError> {
        let Some(missing) = &mut run.missing else { return Ok(()) };
        let pending = missing.pending();
        missing.found -= pending;
        run.record.purges_planned = run.record.purges_planned.saturating_sub(pending);
        run.record.calls_planned = run.record.calls_planned.saturating_sub(pending);
        let record = format::encode(&run.id.to_le_bytes(), &run.record);
        let (Self { connection, place, .. }, id) = (self, run.id);
        let wrong = |source| explain(&place.path, source);
        let transaction = connection.transaction().map_err(wrong)?;
        transaction
            .execute("DELETE FROM missing", [])
            .and_then(|_| transaction.execute("UPDATE run SET record = ? WHERE id = ?", params![record, id]))
            .and_then(|_| keep(&transaction, id, missing))
            .map_err(wrong)?;
        place.commit(&transaction)
    }

    /// Who was missing in a run, and what became of them.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn missing_of(&self, run: i64) -> Result<Option<MissingCustomers>, CheckpointError> {
        let bytes: Option<Vec<u8>> = self
            .connection
            .query_row("SELECT record FROM missing_run WHERE run = ?", [run], |row| row.get(0))
            .optional()
            .map_err(|source| self.explain(source))?;
        bytes.map(|bytes| self.decoded(&run.to_le_bytes(), &bytes)).transpose()
    }
}

impl Batch<'_> {
    /// A missing customer has its outcome. Who it was is forgotten with the
    /// customer.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn settle_missing(
        &mut self,
        run: &mut OpenRun,
        nth: u64,
        key: CustomerKey,
        outcome: Outcome,
    ) -> Result<(), CheckpointError> {
        self.execute("DELETE FROM missing WHERE nth = ?", [nth.cast_signed()])?;
        let row = run.record.rows + nth;
        self.forget_progress(row);
        if self.lookups().told(key)?.is_none_or(|told| told.purged) {
            self.unname(key)?;
        }
        let Some(missing) = &mut run.missing else { return Ok(()) };
        missing.counts.add(outcome);
        let record = format::encode(&run.id.to_le_bytes(), missing);
        self.execute("UPDATE missing_run SET record = ? WHERE run = ?", params![record, run.id])
    }
}

/// Writes the list of a run that begins.
pub(crate) fn list(
    transaction: &Transaction,
    run: i64,
    missing: Option<&MissingPlan>,
) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM missing", [])?;
    let Some(found) = missing else { return Ok(()) };
    keep(transaction, run, &found.missing)?;
    if found.missing.purge {
        let mut statement = transaction.prepare("INSERT INTO missing VALUES (?, ?)")?;
        for (nth, key) in (1_i64..).zip(&found.keys) {
            statement.execute(params![nth, key.0.as_slice()])?;
        }
    }
    Ok(())
}

fn keep(transaction: &Transaction, run: i64, missing: &MissingCustomers) -> rusqlite::Result<usize> {
    let record = format::encode(&run.to_le_bytes(), missing);
    transaction.execute("INSERT OR REPLACE INTO missing_run VALUES (?, ?)", params![run, record])
}

/// The list, read beside whoever settles it.
#[derive(Debug)]
pub struct PurgeList {
    connection: Connection,
    path: std::path::PathBuf,
    names: IdPad,
}

impl PurgeList {
    /// The next few behind the `nth`.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn after(&self, nth: u64, most: u32) -> Result<Vec<MissingCustomer>, CheckpointError> {
        let wrong = |source| explain(&self.path, source);
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT missing.key, named.name, missing.nth FROM missing LEFT JOIN named ON named.key = missing.key
                 WHERE missing.nth > ? ORDER BY missing.nth LIMIT ?",
            )
            .map_err(wrong)?;
        let mut rows = statement.query(params![nth.cast_signed(), most]).map_err(wrong)?;
        let mut some = Vec::new();
        while let Some(row) = rows.next().map_err(wrong)? {
            let key = key_of(row).map_err(wrong)?;
            let sealed: Option<Vec<u8>> = row.get(1).map_err(wrong)?;
            let customer = sealed.and_then(|sealed| self.names.opened(key, &sealed));
            let customer = customer.ok_or_else(|| CheckpointError::Damaged {
                path: self.path.clone(),
                what: "a missing customer has no id".to_owned(),
            })?;
            let nth = row.get::<_, i64>(2).map_err(wrong)?.cast_unsigned();
            some.push(MissingCustomer { nth, key, customer });
        }
        Ok(some)
    }
}

fn key_of(row: &Row) -> rusqlite::Result<CustomerKey> {
    let bytes = row.get_ref(0)?.as_blob()?;
    let key = bytes.try_into().map_err(|_| rusqlite::Error::QueryReturnedNoRows)?;
    Ok(CustomerKey(key))
}

/// A second table, read in step with the first.
struct MergeCursor<'a> {
    rows: Rows<'a>,
    more: bool,
}

impl<'a> MergeCursor<'a> {
    fn of(mut rows: Rows<'a>) -> rusqlite::Result<Self> {
        let more = rows.next()?.is_some();
        Ok(Self { rows, more })
    }

    /// The value at a key. Keys are asked for in their order.
    fn at(&mut self, key: CustomerKey) -> rusqlite::Result<Option<&[u8]>> {
        while self.more && self.key()?.is_some_and(|own| own < key.0.as_slice()) {
            self.more = self.rows.next()?.is_some();
        }
        if !self.more || self.key()? != Some(key.0.as_slice()) {
            return Ok(None);
        }
        self.value(1)
    }

    fn key(&self) -> rusqlite::Result<Option<&[u8]>> {
        self.value(0)
    }

    fn value(&self, column: usize) -> rusqlite::Result<Option<&[u8]>> {
        match self.rows.get().map(|row| row.get_ref(column)).transpose()? {
            Some(ValueRef::Blob(bytes)) => Ok(Some(bytes)),
            _ => Ok(None),
        }
    }
}
