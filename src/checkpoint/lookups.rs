//! Looking up what is known, also amid changes that are not durable yet.

use std::path::Path;

use rusqlite::Connection;

use super::blocks::Finder;
use super::error::CheckpointError;
use super::format::{self, JournalEntry, StateBytes};
use super::journal::Journal;
use crate::mapping::Place;
use crate::reconcile::{CustomerKey, CustomerState, PendingCall, RowProgress};

/// Read access: a batch's changes go before the journal, and that before the
/// blocks.
#[derive(Debug, Clone, Copy)]
pub struct Lookups<'a> {
    pub(super) connection: &'a Connection,
    pub(super) path: &'a Path,
    pub(super) journal: &'a Journal,
    pub(super) entry: Option<&'a JournalEntry>,
    /// In blocks.
    pub(super) customers: u64,
}

impl Lookups<'_> {
    pub fn state(&self, key: CustomerKey) -> Result<CustomerState, CheckpointError> {
        self.find_state(&mut Finder::new(self.connection, self.path), key)
    }

    /// The states of many customers, each at the place of its key.
    pub fn states(&self, keys: &[Option<CustomerKey>]) -> Result<Vec<CustomerState>, CheckpointError> {
        let mut order: Vec<usize> = (0..keys.len()).filter(|at| keys[*at].is_some()).collect();
        // Neighbours lie in the same block.
        order.sort_unstable_by_key(|at| keys[*at]);
        let sqlite_error = |source| CheckpointError::from_sqlite(self.path, source);
        // One snapshot: without it every look-up locks the file and forgets its pages.
        let snapshot = (self.connection.is_autocommit())
            .then(|| self.connection.unchecked_transaction())
            .transpose()
            .map_err(sqlite_error)?;
        let mut finder = Finder::new(self.connection, self.path);
        let mut states = vec![CustomerState::Unknown; keys.len()];
        for at in order {
            if let Some(key) = keys[at] {
                states[at] = self.find_state(&mut finder, key)?;
            }
        }
        snapshot.map_or(Ok(()), rusqlite::Transaction::finish).map_err(sqlite_error)?;
        Ok(states)
    }

    fn find_state(&self, finder: &mut Finder, key: CustomerKey) -> Result<CustomerState, CheckpointError> {
        let bytes = match self.recent_state(key) {
            Some(recent) => recent.map(|state| &*state.0),
            None if self.customers == 0 => None,
            None => finder.find(key)?,
        };
        let Some(bytes) = bytes else { return Ok(CustomerState::Unknown) };
        format::decode_state(bytes).ok_or_else(|| unreadable(self.path))
    }

    fn recent_state(&self, key: CustomerKey) -> Option<Option<&StateBytes>> {
        let changed = self.entry.and_then(|entry| entry.states.get(&key));
        changed.or_else(|| self.journal.states.get(&key)).map(Option::as_ref)
    }

    /// The customer's call that has no outcome yet.
    #[must_use]
    pub fn pending(&self, key: CustomerKey) -> Option<PendingCall> {
        match self.entry.and_then(|entry| entry.pending.get(&key)) {
            Some(changed) => changed.map(|call| call.0),
            None => self.journal.pending.get(&key).copied(),
        }
    }

    /// What is done of a row of the open run.
    #[must_use]
    pub fn progress(&self, place: Place) -> RowProgress {
        let row = place.into();
        match self.entry.and_then(|entry| entry.progress.get(&row)) {
            Some(changed) => changed.as_ref().map(|progress| progress.0.clone()),
            None => self.journal.progress.get(&row).cloned(),
        }
        .unwrap_or_default()
    }
}

pub(super) fn unreadable(path: &Path) -> CheckpointError {
    CheckpointError::damaged(path, "a record cannot be read")
}
