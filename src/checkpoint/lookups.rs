//! Looking up what is known, also amid changes that are not durable yet.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension};
use serde::de::DeserializeOwned;

use super::CheckpointError;
use super::database::{decoded, explain};
use crate::planning::{CustomerKey, Flight, Progress, Told};

/// Read access to what a checkpoint knows.
#[derive(Debug, Clone, Copy)]
pub struct Lookups<'a> {
    pub(super) connection: &'a Connection,
    pub(super) path: &'a Path,
}

impl Lookups<'_> {
    /// What a customer was last told. Of many, sorted keys are faster:
    /// neighbours lie on the same page.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`], as of all below.
    pub fn told(&self, key: CustomerKey) -> Result<Option<Told>, CheckpointError> {
        self.record("SELECT told FROM customer WHERE key = ?", key.0.as_slice(), &key.0)
    }

    /// What many customers were last told, each at the place of its key.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn told_of_all(&self, keys: &[Option<CustomerKey>]) -> Result<Vec<Option<Told>>, CheckpointError> {
        let mut order: Vec<usize> = (0..keys.len()).filter(|at| keys[*at].is_some()).collect();
        order.sort_unstable_by_key(|at| keys[*at]);
        let wrong = |source| explain(self.path, source);
        // One snapshot: without it every look-up locks the file and forgets its pages.
        let snapshot = match self.connection.is_autocommit() {
            true => Some(self.connection.unchecked_transaction().map_err(wrong)?),
            false => None,
        };
        let mut statement =
            self.connection.prepare_cached("SELECT told FROM customer WHERE key = ?").map_err(wrong)?;
        let mut told = vec![None; keys.len()];
        for at in order {
            let Some(key) = keys[at] else { continue };
            let mut rows = statement.query([key.0.as_slice()]).map_err(wrong)?;
            if let Some(row) = rows.next().map_err(wrong)? {
                let record = row.get_ref(0).and_then(|value| Ok(value.as_blob()?)).map_err(wrong)?;
                told[at] = Some(decoded(self.path, &key.0, record)?);
            }
        }
        drop(statement);
        snapshot.map_or(Ok(()), rusqlite::Transaction::finish).map_err(wrong)?;
        Ok(told)
    }

    /// The call of a customer that has no outcome yet.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn flight(&self, key: CustomerKey) -> Result<Option<Flight>, CheckpointError> {
        self.record("SELECT record FROM flight WHERE key = ?", key.0.as_slice(), &key.0)
    }

    /// What is done of a row of the open run.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn progress(&self, row: u64) -> Result<Option<Progress>, CheckpointError> {
        self.record("SELECT record FROM progress WHERE row = ?", row.cast_signed(), &row.to_le_bytes())
    }

    fn record<T: DeserializeOwned>(
        &self,
        sql: &str,
        parameter: impl rusqlite::ToSql,
        place: &[u8],
    ) -> Result<Option<T>, CheckpointError> {
        let bytes: Option<Vec<u8>> = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row([parameter], |row| row.get(0)).optional())
            .map_err(|source| explain(self.path, source))?;
        bytes.map(|bytes| decoded(self.path, place, &bytes)).transpose()
    }
}
