//! Looking up what is known, also amid changes that are not durable yet.

use std::path::Path;

use rusqlite::Connection;

use super::CheckpointError;
use super::blocks::Finder;
use super::file::{damaged_record, explain};
use super::format;
use super::journal::{Journal, JournalEntry, StateBytes};
use crate::reconcile::{Acked, CustomerKey, PendingCall, RowProgress};

/// Read access to what a checkpoint knows: what a batch has changed goes
/// before what is in the journal, and that before what is in the blocks.
#[derive(Debug, Clone, Copy)]
pub struct Lookups<'a> {
    pub(super) connection: &'a Connection,
    pub(super) path: &'a Path,
    pub(super) recent: &'a Journal,
    pub(super) changes: Option<&'a JournalEntry>,
    /// In blocks.
    pub(super) customers: u64,
}

impl Lookups<'_> {
    /// What a customer was last told.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`], as of all below.
    pub fn told(&self, key: CustomerKey) -> Result<Option<Acked>, CheckpointError> {
        self.told_by(&mut Finder::new(self.connection, self.path), key)
    }

    /// What many customers were last told, each at the place of its key.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn told_of_all(&self, keys: &[Option<CustomerKey>]) -> Result<Vec<Option<Acked>>, CheckpointError> {
        let mut order: Vec<usize> = (0..keys.len()).filter(|at| keys[*at].is_some()).collect();
        // Neighbours lie in the same block.
        order.sort_unstable_by_key(|at| keys[*at]);
        let wrong = |source| explain(self.path, source);
        // One snapshot: without it every look-up locks the file and forgets its pages.
        let snapshot = match self.connection.is_autocommit() {
            true => Some(self.connection.unchecked_transaction().map_err(wrong)?),
            false => None,
        };
        let mut finder = Finder::new(self.connection, self.path);
        let mut told = vec![None; keys.len()];
        for at in order {
            if let Some(key) = keys[at] {
                told[at] = self.told_by(&mut finder, key)?;
            }
        }
        snapshot.map_or(Ok(()), rusqlite::Transaction::finish).map_err(wrong)?;
        Ok(told)
    }

    fn told_by(&self, finder: &mut Finder, key: CustomerKey) -> Result<Option<Acked>, CheckpointError> {
        let found = match self.recent_told(key) {
            Some(recent) => recent.map(|told| &*told.0),
            None if self.customers == 0 => None,
            None => finder.find(key)?,
        };
        found.map(|record| format::told_of(record).ok_or_else(|| damaged_record(self.path))).transpose()
    }

    fn recent_told(&self, key: CustomerKey) -> Option<Option<&StateBytes>> {
        let changed = self.changes.and_then(|changes| changes.told.get(&key));
        changed.or_else(|| self.recent.told.get(&key)).map(Option::as_ref)
    }

    /// The call of a customer that has no outcome yet.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn flight(&self, key: CustomerKey) -> Result<Option<PendingCall>, CheckpointError> {
        let changed = self.changes.and_then(|changes| changes.flights.get(&key));
        Ok(changed.copied().unwrap_or_else(|| self.recent.flights.get(&key).copied()))
    }

    /// What is done of a row of the open run.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn progress(&self, row: u64) -> Result<Option<RowProgress>, CheckpointError> {
        let changed = self.changes.and_then(|changes| changes.progress.get(&row));
        Ok(changed.cloned().unwrap_or_else(|| self.recent.progress.get(&row).cloned()))
    }
}
