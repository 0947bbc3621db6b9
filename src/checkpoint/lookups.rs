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
