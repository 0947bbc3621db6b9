//! Looking up what is known, also amid changes that are not durable yet.

use super::blocks::Finder;
use super::database::Database;
use super::error::CheckpointError;
use super::format::{self, JournalEntry, RowKey, StateBytes, UNREADABLE};
use super::journal::Journal;
use crate::mapping::Place;
use crate::reconcile::{CustomerKey, CustomerState, PendingCall, RowProgress};

/// Read access. A batch's changes go before the journal, and the journal before
/// the blocks.
#[derive(Debug, Clone, Copy)]
pub struct Lookups<'a> {
    pub(super) database: &'a Database,
    pub(super) journal: &'a Journal,
    pub(super) entry: Option<&'a JournalEntry>,
}

impl Lookups<'_> {
    pub fn state(&self, key: CustomerKey) -> Result<CustomerState, CheckpointError> {
        self.find_state(&mut Finder::new(self.database), key)
    }

    /// The states of many customers, each at the place of its key.
    pub fn states(&self, keys: &[Option<CustomerKey>]) -> Result<Vec<CustomerState>, CheckpointError> {
        let mut order: Vec<(CustomerKey, usize)> =
            keys.iter().zip(0..).filter_map(|(key, at)| Some(((*key)?, at))).collect();
        // Neighbours are in the same block.
        order.sort_unstable();
        self.database.read_snapshot(|| {
            let mut finder = Finder::new(self.database);
            let mut states = vec![CustomerState::Unknown; keys.len()];
            for (key, at) in order {
                states[at] = self.find_state(&mut finder, key)?;
            }
            Ok(states)
        })
    }

    fn find_state(&self, finder: &mut Finder, key: CustomerKey) -> Result<CustomerState, CheckpointError> {
        let bytes = match self.recent_state(key) {
            Some(recent) => recent.map(|state| &*state.0),
            None if self.journal.in_blocks == 0 => None,
            None => finder.find(key)?,
        };
        let Some(bytes) = bytes else { return Ok(CustomerState::Unknown) };
        format::decode_state(bytes).map_err(|_| self.database.damaged(UNREADABLE))
    }

    fn recent_state(&self, key: CustomerKey) -> Option<Option<&StateBytes>> {
        let changed = self.entry.and_then(|entry| entry.states.get(&key));
        changed.or_else(|| self.journal.states.get(&key)).map(Option::as_ref)
    }

    /// The customer's call that has no outcome yet.
    pub fn pending(&self, key: CustomerKey) -> Option<PendingCall> {
        let changed = self.entry.and_then(|entry| entry.pending.get(&key));
        changed.map_or_else(|| self.journal.pending.get(&key), Option::as_ref).map(|call| call.0)
    }

    /// The finished part of a row of an open run.
    pub fn progress(&self, run: i64, place: Place) -> RowProgress {
        let row = RowKey::new(run, place);
        let changed = self.entry.and_then(|entry| entry.progress.get(&row));
        let progress = changed.map_or_else(|| self.journal.progress.get(&row), Option::as_ref);
        progress.map(|progress| progress.0.clone()).unwrap_or_default()
    }
}
