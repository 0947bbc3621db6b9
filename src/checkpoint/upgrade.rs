//! Files of earlier formats.
//!
//! Format 1 had no count of commits, and knew nobody who was missing. Until
//! format 2 each customer, each call under way and each row begun was a row of
//! a table.

use std::path::Path;

use rusqlite::{Row, Transaction};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::CheckpointError;
use super::file::{FORMAT, SCHEMA_2, SCHEMA_3, damaged_record, decoded, explain};
use super::journal::{Journal, JournalEntry, StateBytes};
use super::{blocks, checksum, format};
use crate::reconcile::{
    Acked, AckedField, AddressHash, CustomerKey, PendingCall, RowFingerprint, RowProgress,
};

/// Customers written at once.
const CUSTOMERS_AT_ONCE: usize = 4096;

/// Brings a file of an earlier format to this one, all of it or nothing: the
/// version is in the same transaction. Says how many customers it has.
pub(super) fn upgrade(transaction: &Transaction, path: &Path, format: i64) -> Result<u64, CheckpointError> {
    let wrong = |source| explain(path, source);
    if format < 2 {
        transaction.execute_batch(SCHEMA_2).map_err(wrong)?;
    }
    transaction.execute_batch(SCHEMA_3).and_then(|()| blocks::create(transaction)).map_err(wrong)?;
    let old = Old { transaction, path };
    let customers = old.customers()?;
    let changes = old.rows()?;
    if !changes.are_none() {
        Journal::default().write(transaction, changes, 0).map_err(wrong)?;
    }
    transaction
        .execute_batch(&format!(
            "DROP TABLE customer; DROP TABLE flight; DROP TABLE progress; DROP TABLE ahead;
             PRAGMA user_version = {FORMAT};"
        ))
        .and_then(|()| checksum::set(transaction))
        .map_err(wrong)?;
    Ok(customers)
}

/// What a customer was told, as it was written until format 2.
#[derive(Deserialize)]
struct ToldUntil2 {
    purged: bool,
    perhaps_purged: bool,
    export: u32,
    row: u64,
    fields: Vec<AckedField>,
    addresses: Vec<AddressHash>,
}

impl From<ToldUntil2> for Acked {
    fn from(old: ToldUntil2) -> Self {
        let ToldUntil2 { purged, perhaps_purged, export, row, fields, addresses } = old;
        Self { print: RowFingerprint::NONE, addresses, purged, perhaps_purged, export, row, fields }
    }
}

struct Old<'a> {
    transaction: &'a Transaction<'a>,
    path: &'a Path,
}

impl Old<'_> {
    /// Puts all customers into blocks.
    fn customers(&self) -> Result<u64, CheckpointError> {
        let mut customers = 0;
        let mut waiting: Vec<(CustomerKey, StateBytes)> = Vec::with_capacity(CUSTOMERS_AT_ONCE);
        self.each("SELECT key, told FROM customer ORDER BY key", |row| {
            let (key, told): (_, ToldUntil2) = self.by_customer(row)?;
            waiting.push((key, format::told(&told.into())));
            customers += 1;
            if waiting.len() < CUSTOMERS_AT_ONCE { Ok(()) } else { self.put(&mut waiting) }
        })?;
        self.put(&mut waiting)?;
        Ok(customers)
    }

    fn put(&self, waiting: &mut Vec<(CustomerKey, StateBytes)>) -> Result<(), CheckpointError> {
        let changes: Vec<blocks::BlockChange> =
            waiting.iter().map(|(key, told)| (*key, Some(&*told.0))).collect();
        blocks::apply(self.transaction, self.path, &changes)?;
        waiting.clear();
        Ok(())
    }

    /// What is under way, begun and settled.
    fn rows(&self) -> Result<JournalEntry, CheckpointError> {
        let mut changes = JournalEntry::default();
        self.each("SELECT key, record FROM flight", |row| {
            let (key, flight): (_, PendingCall) = self.by_customer(row)?;
            changes.flights.insert(key, Some(flight));
            Ok(())
        })?;
        self.each("SELECT row, record FROM progress", |row| {
            let number = self.number(row)?;
            let done: RowProgress = self.record(row, &number.to_le_bytes())?;
            changes.progress.insert(number, Some(done));
            Ok(())
        })?;
        self.each("SELECT row FROM ahead", |row| {
            changes.settled.push(self.number(row)?);
            Ok(())
        })?;
        Ok(changes)
    }

    fn each(
        &self,
        sql: &str,
        mut visit: impl FnMut(&Row) -> Result<(), CheckpointError>,
    ) -> Result<(), CheckpointError> {
        let wrong = |source| explain(self.path, source);
        let mut statement = self.transaction.prepare(sql).map_err(wrong)?;
        let mut rows = statement.query([]).map_err(wrong)?;
        while let Some(row) = rows.next().map_err(wrong)? {
            visit(row)?;
        }
        Ok(())
    }

    fn by_customer<T: DeserializeOwned>(&self, row: &Row) -> Result<(CustomerKey, T), CheckpointError> {
        let key =
            row.get_ref(0).and_then(|key| Ok(key.as_blob()?)).map_err(|source| explain(self.path, source))?;
        let key = <[u8; 16]>::try_from(key).map_err(|_| damaged_record(self.path))?;
        Ok((CustomerKey(key), self.record(row, &key)?))
    }

    fn number(&self, row: &Row) -> Result<u64, CheckpointError> {
        row.get(0).map(i64::cast_unsigned).map_err(|source| explain(self.path, source))
    }

    fn record<T: DeserializeOwned>(&self, row: &Row, place: &[u8]) -> Result<T, CheckpointError> {
        let record = row.get_ref(1).and_then(|record| Ok(record.as_blob()?));
        decoded(self.path, place, record.map_err(|source| explain(self.path, source))?)
    }
}
