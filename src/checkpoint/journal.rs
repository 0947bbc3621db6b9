//! What changed since customers were last written into their blocks.
//!
//! A commit adds one entry with all that changed in it. That costs the same for
//! one record as for a hundred, and a block is not written for each of its
//! customers. All entries together are small enough to be in memory too. When
//! they are not, the customers go into their blocks and the journal begins anew.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::{Connection, params};

use super::blocks::{self, BlockChange};
use super::error::CheckpointError;
use super::format::{self, ByCustomer, ByRow, JournalEntry, StateBytes, StoredCall, StoredProgress};
use crate::reconcile::{PendingCall, RowProgress};

/// A killed run may leave as much to be read again.
const BYTES_MAX: usize = 64 << 20;

impl JournalEntry {
    pub(super) fn is_empty(&self) -> bool {
        !self.begins_run
            && self.states.is_empty()
            && self.pending.is_empty()
            && self.progress.is_empty()
            && self.settled.is_empty()
    }

    /// The entry of a run that begins.
    pub(super) fn begin() -> Self {
        Self { begins_run: true, ..Self::default() }
    }
}

/// All of the journal, in memory.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// `None`: there is no such customer.
    pub(super) states: ByCustomer<Option<StateBytes>>,
    pub(super) pending: ByCustomer<PendingCall>,
    pub(super) progress: ByRow<RowProgress>,
    /// Settled rows behind the watermark.
    pub(super) settled: BTreeSet<u64>,
    /// The number of the next entry.
    next: i64,
    /// Of all entries.
    bytes: usize,
}

impl Journal {
    /// `None` if an entry cannot be read.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Option<Self>> {
        let mut journal = Self::default();
        let mut statement = connection.prepare("SELECT nth, entry FROM journal ORDER BY nth")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let bytes = row.get_ref(1)?.as_blob()?;
            journal.bytes += bytes.len();
            let Some(entry) = format::decode(bytes) else { return Ok(None) };
            journal.apply(entry, u64::MIN);
            journal.next = row.get::<_, i64>(0)? + 1;
        }
        Ok(Some(journal))
    }

    /// Whether the customers should go into their blocks before `more` states
    /// are added. It also grows long where a few customers have many rows.
    pub(super) fn is_full(&self, more: usize, customers: u64) -> bool {
        self.bytes >= BYTES_MAX || self.states.len() + more >= states_max(customers)
    }

    /// Adds an entry. Settled rows up to the open run's watermark are not kept.
    pub(super) fn write(
        &mut self,
        connection: &Connection,
        entry: JournalEntry,
        watermark: u64,
    ) -> rusqlite::Result<()> {
        self.append(connection, &entry)?;
        self.apply(entry, watermark);
        Ok(())
    }

    /// Takes in an entry that is written in another way.
    pub(super) fn apply(&mut self, entry: JournalEntry, watermark: u64) {
        if entry.begins_run {
            self.progress.clear();
            self.settled.clear();
        }
        self.states.extend(entry.states);
        for (key, pending) in entry.pending {
            match pending {
                Some(StoredCall(pending)) => drop(self.pending.insert(key, pending)),
                None => drop(self.pending.remove(&key)),
            }
        }
        for (row, progress) in entry.progress {
            match progress {
                Some(StoredProgress(progress)) => drop(self.progress.insert(row, progress)),
                None => drop(self.progress.remove(&row)),
            }
        }
        self.settled.extend(entry.settled);
        while self.settled.first().is_some_and(|row| *row <= watermark) {
            self.settled.pop_first();
        }
    }

    /// Writes the customers that changed into their blocks and begins the
    /// journal anew.
    pub(super) fn fold(
        &mut self,
        connection: &Connection,
        path: &Path,
        customers: &mut u64,
    ) -> Result<(), CheckpointError> {
        let states = self.states.iter();
        let mut changes: Vec<BlockChange> =
            states.map(|(key, state)| (*key, state.as_ref().map(|state| &*state.0))).collect();
        changes.sort_unstable_by_key(|(key, _)| *key);
        *customers = customers.saturating_add_signed(blocks::apply(connection, path, &changes)?);
        self.restart(connection).map_err(|source| CheckpointError::from_sqlite(path, source))
    }

    /// Begins the journal anew: all but the customers goes into one entry.
    fn restart(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        // Its pages hold nothing but hashes and are soon written over; to wipe
        // them first would write all of it a second time.
        connection.execute_batch("PRAGMA secure_delete = FAST; DELETE FROM journal;")?;
        connection.execute_batch("PRAGMA secure_delete = ON;")?;
        self.bytes = 0;
        self.states = ByCustomer::default();
        let entry = JournalEntry {
            begins_run: false,
            states: ByCustomer::default(),
            pending: self.pending.iter().map(|(key, pending)| (*key, Some(StoredCall(*pending)))).collect(),
            progress: (self.progress.iter())
                .map(|(row, progress)| (*row, Some(StoredProgress(progress.clone()))))
                .collect(),
            settled: self.settled.iter().copied().collect(),
        };
        if entry.is_empty() { Ok(()) } else { self.append(connection, &entry) }
    }

    fn append(&mut self, connection: &Connection, entry: &JournalEntry) -> rusqlite::Result<()> {
        let bytes = format::encode(entry);
        connection.prepare_cached("INSERT INTO journal VALUES (?, ?)")?.execute(params![self.next, bytes])?;
        self.bytes += bytes.len();
        self.next += 1;
        Ok(())
    }
}

/// Customers who changed and are not in their blocks yet, at the most: some
/// 170 bytes each in memory. The more of them, the fewer blocks are written for
/// each. An eighth comes to about 21 bytes a customer.
fn states_max(customers: u64) -> usize {
    const STATES_MIN: usize = 32 << 10;
    const STATES_SHARE: u64 = 8;
    STATES_MIN.max(usize::try_from(customers / STATES_SHARE).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::format::RowKey;
    use super::*;
    use crate::omnidesk::CallKind;
    use crate::reconcile::{CustomerKey, Effect, ExportRow};
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Change {
        State(u8, Option<u8>),
        Pending(u8, Option<u64>),
        Progress(u64, Option<bool>),
        Settled(u64),
        BeginsRun,
    }

    /// What one commit changes, and what comes after it.
    type Commit = (Vec<Change>, bool, bool);

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            3 => (0..3_u8, any::<Option<u8>>()).prop_map(|(key, state)| Change::State(key, state)),
            3 => (0..3_u8, proptest::option::of(1..9_u64)).prop_map(|(key, row)| Change::Pending(key, row)),
            3 => (1..9_u64, any::<Option<bool>>()).prop_map(|(row, done)| Change::Progress(row, done)),
            3 => (1..9_u64).prop_map(Change::Settled),
            1 => Just(Change::BeginsRun),
        ]
    }

    fn entry(changes: &[Change]) -> JournalEntry {
        let key = |number: u8| CustomerKey([number; 16]);
        let mut entry = JournalEntry::default();
        for change in changes {
            match change {
                Change::State(number, state) => {
                    let bytes = state.map(|state| StateBytes(vec![state; 9].into()));
                    drop(entry.states.insert(key(*number), bytes));
                }
                Change::Pending(number, row) => {
                    let by = |row| ExportRow { export: 1, row };
                    let pending =
                        row.map(|row| PendingCall { by: by(row), kind: CallKind::Create, address: None });
                    entry.pending.insert(key(*number), pending.map(StoredCall));
                }
                Change::Progress(row, is_created) => {
                    let effect = |is_created| if is_created { Effect::Created } else { Effect::Updated };
                    let progress = is_created.map(|is_created| {
                        StoredProgress(RowProgress { effect: effect(is_created), ..RowProgress::default() })
                    });
                    drop(entry.progress.insert(RowKey::Row(*row), progress));
                }
                Change::Settled(row) => entry.settled.push(*row),
                Change::BeginsRun => entry.begins_run = true,
            }
        }
        entry
    }

    proptest! {
        /// What is read again is what was in memory. That holds too for an entry
        /// that begins the journal anew, which has all but the customers.
        #[test]
        fn what_is_read_is_what_was_written(commits in vec((vec(change(), 0..5), any::<bool>(), any::<bool>()), 1..12)) {
            let connection = Connection::open_in_memory().expect("a database");
            connection
                .execute_batch("CREATE TABLE journal (nth INTEGER PRIMARY KEY, entry BLOB NOT NULL)")
                .expect("a table");
            let mut journal = Journal::default();
            for (changes, is_restarted, is_reopened) in commits as Vec<Commit> {
                let entry = entry(&changes);
                prop_assert_eq!(entry.is_empty(), changes.is_empty());
                journal.write(&connection, entry, 0).expect("written");
                if is_restarted {
                    journal.restart(&connection).expect("written");
                    prop_assert!(journal.states.is_empty());
                }
                let read = Journal::read(&connection).expect("read").expect("whole");
                prop_assert_eq!(&read.states, &journal.states);
                prop_assert_eq!(&read.pending, &journal.pending);
                prop_assert_eq!(&read.progress, &journal.progress);
                prop_assert_eq!(&read.settled, &journal.settled);
                prop_assert_eq!(read.bytes, journal.bytes);
                if is_reopened {
                    journal = read;
                }
            }
        }
    }
}
