//! Missing customers: finding them, and the list of those to be purged, which
//! belongs to the open run.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rusqlite::fallible_streaming_iterator::FallibleStreamingIterator as _;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, Rows, Transaction, params};

use super::database::Checkpoint;
use super::error::CheckpointError;
use super::file;
use super::format;
use super::lookups::unreadable;
use super::open_run::OpenRun;
use super::stored_ids::IdPad;
use crate::mapping::Customer;
use crate::reconcile::CustomerKey;

/// Known customers whom an export does not hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Absentees {
    /// Those whose id is stored, of brands that the export has; sorted.
    pub(crate) keys: Vec<CustomerKey>,
    /// Those whose id was not stored.
    pub(crate) without_id: u64,
    /// Those of brands that no row has.
    pub(crate) other_brands: u64,
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
    /// Finds customers who are not present. It reads every customer once, in
    /// the order of the keys, and keeps 16 bytes of each who is missing.
    pub(crate) fn find_absentees(
        &self,
        is_present: impl Fn(CustomerKey) -> bool,
        brands: &BTreeSet<u64>,
    ) -> Result<Absentees, CheckpointError> {
        let sqlite_error = |source| self.sqlite_error(source);
        let ids = IdPad::new(self.key());
        let mut stored =
            self.connection.prepare("SELECT key, id FROM stored_id ORDER BY key").map_err(sqlite_error)?;
        let mut stored = MergeCursor::new(stored.query([]).map_err(sqlite_error)?).map_err(sqlite_error)?;
        let mut absentees = Absentees::default();
        self.each_customer(|key, state| {
            let id = stored.value_at(key).map_err(sqlite_error)?;
            let is_present = is_present(key);
            if is_present && id.is_some() {
                return Ok(());
            }
            let state = format::decode_state(state).ok_or_else(|| unreadable(self.path()))?;
            if state.is_purged() {
                return Ok(());
            }
            let Some(sealed) = id else {
                *(if is_present { &mut absentees.to_store } else { &mut absentees.without_id }) += 1;
                return Ok(());
            };
            let customer = ids.open(key, sealed).ok_or_else(|| unreadable(self.path()))?;
            if brands.contains(&customer.brand_id) {
                absentees.keys.push(key);
            } else {
                absentees.other_brands += 1;
            }
            Ok(())
        })?;
        Ok(absentees)
    }

    /// The list of the open run, to be read while another connection writes.
    pub(crate) fn purge_list(&self) -> Result<PurgeList, CheckpointError> {
        let path = self.path().to_owned();
        let connection = file::connect_beside(&path).map_err(|source| self.sqlite_error(source))?;
        Ok(PurgeList { connection, path, ids: IdPad::new(self.key()) })
    }

    /// The open run purges no missing customer any more.
    pub(crate) fn cancel_purge_list(&mut self, run: &mut OpenRun) -> Result<(), CheckpointError> {
        let pending = run.pending_missing();
        let Some(missing) = &mut run.record.missing else { return Ok(()) };
        missing.found -= pending;
        run.record.purges_planned = run.record.purges_planned.saturating_sub(pending);
        run.record.calls_planned = run.record.calls_planned.saturating_sub(pending);
        let record = format::encode(&run.record);
        let Self { connection, file, .. } = self;
        let sqlite_error = |source| file.sqlite_error(source);
        let transaction = connection.transaction().map_err(sqlite_error)?;
        transaction
            .execute("DELETE FROM missing", [])
            .and_then(|_| {
                transaction.execute("UPDATE run SET record = ? WHERE id = ?", params![record, run.id])
            })
            .map_err(sqlite_error)?;
        file.commit(&transaction)
    }
}

/// Writes the list of a run that begins.
pub(super) fn write(transaction: &Transaction, keys: &[CustomerKey]) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM missing", [])?;
    let mut statement = transaction.prepare("INSERT INTO missing VALUES (?, ?)")?;
    (1_i64..).zip(keys).try_for_each(|(nth, key)| statement.execute(params![nth, key.0.as_slice()]).map(drop))
}

#[derive(Debug)]
pub(crate) struct PurgeList {
    connection: Connection,
    path: PathBuf,
    ids: IdPad,
}

impl PurgeList {
    /// The next few behind the `nth`.
    pub(crate) fn after(&self, nth: u64, limit: u32) -> Result<Vec<MissingCustomer>, CheckpointError> {
        let sqlite_error = |source| CheckpointError::from_sqlite(&self.path, source);
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT missing.key, stored_id.id, missing.nth FROM missing
                 LEFT JOIN stored_id ON stored_id.key = missing.key
                 WHERE missing.nth > ? ORDER BY missing.nth LIMIT ?",
            )
            .map_err(sqlite_error)?;
        let mut rows = statement.query(params![nth.cast_signed(), limit]).map_err(sqlite_error)?;
        let mut customers = Vec::new();
        while let Some(row) = rows.next().map_err(sqlite_error)? {
            let key = key_of(row).map_err(sqlite_error)?;
            let sealed: Option<Vec<u8>> = row.get(1).map_err(sqlite_error)?;
            let customer = sealed
                .and_then(|sealed| self.ids.open(key, &sealed))
                .ok_or_else(|| CheckpointError::damaged(&self.path, "a missing customer has no id"))?;
            let nth = row.get::<_, i64>(2).map_err(sqlite_error)?.cast_unsigned();
            customers.push(MissingCustomer { nth, key, customer });
        }
        Ok(customers)
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
    has_row: bool,
}

impl<'a> MergeCursor<'a> {
    fn new(mut rows: Rows<'a>) -> rusqlite::Result<Self> {
        let has_row = rows.next()?.is_some();
        Ok(Self { rows, has_row })
    }

    /// The value at a key. Keys are asked for in their order.
    fn value_at(&mut self, key: CustomerKey) -> rusqlite::Result<Option<&[u8]>> {
        while self.has_row && self.column(0)?.is_some_and(|own| own < key.0.as_slice()) {
            self.has_row = self.rows.next()?.is_some();
        }
        if !self.has_row || self.column(0)? != Some(key.0.as_slice()) {
            return Ok(None);
        }
        self.column(1)
    }

    fn column(&self, column: usize) -> rusqlite::Result<Option<&[u8]>> {
        match self.rows.get().map(|row| row.get_ref(column)).transpose()? {
            Some(ValueRef::Blob(bytes)) => Ok(Some(bytes)),
            _ => Ok(None),
        }
    }
}
