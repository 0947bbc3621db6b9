//! What changed since customers were last written into their blocks.
//!
//! A commit adds one entry with all that changed in it. That costs the same for
//! one record as for a hundred, and a block is not written for each of its
//! customers. All entries together are small enough to be in memory too. When
//! they are not, the customers go into their blocks and the journal begins anew.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use rusqlite::params;

use super::blocks::{self, BlockChange};
use super::database::Database;
use super::error::CheckpointError;
use super::format::{self, ByCustomer, ByRow, JournalEntry, StateBytes, StoredCall, StoredProgress};
use crate::reconcile::BuildKeyHasher;

/// A killed run may leave as much to be read again.
const BYTES_MAX: usize = 64 << 20;

impl JournalEntry {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// All of the journal, in memory.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// `None`: there is no such customer.
    pub(super) states: ByCustomer<Option<StateBytes>>,
    pub(super) pending: ByCustomer<StoredCall>,
    pub(super) progress: ByRow<StoredProgress>,
    /// Settled rows behind the watermark of their run, which is given first.
    pub(super) settled: BTreeSet<(i64, u64)>,
    /// Customers in blocks.
    pub(super) in_blocks: u64,
    /// The number of the next entry.
    next: i64,
    /// Of all entries.
    bytes: usize,
}

impl Journal {
    pub(super) fn read(database: &Database, in_blocks: u64) -> Result<Self, CheckpointError> {
        let mut journal = Self { in_blocks, ..Self::default() };
        database.each("SELECT nth, entry FROM journal ORDER BY nth", |row| {
            let bytes = row.get_ref(1)?.as_blob()?;
            journal.apply(format::decode(bytes)?);
            journal.bytes += bytes.len();
            journal.next = row.get::<_, i64>(0)? + 1;
            Ok(())
        })?;
        Ok(journal)
    }

    /// Adds an entry. A journal that is full begins anew.
    pub(super) fn add(&mut self, database: &Database, entry: JournalEntry) -> Result<(), CheckpointError> {
        let states = self.states.len() + entry.states.len();
        // It also grows long if a few customers have many rows.
        let is_full = self.bytes >= BYTES_MAX || states >= states_max(self.in_blocks);
        if !is_full && !entry.is_empty() {
            self.append(database, &entry)?;
        }
        self.apply(entry);
        if is_full { self.fold(database) } else { Ok(()) }
    }

    /// Takes in an entry.
    pub(super) fn apply(&mut self, entry: JournalEntry) {
        self.states.extend(entry.states);
        update(&mut self.pending, entry.pending);
        update(&mut self.progress, entry.progress);
        self.settled.extend(entry.settled);
    }

    /// Settled rows of a run up to its watermark are not kept.
    pub(super) fn forget_settled(&mut self, run: i64, watermark: u64) {
        while let Some(row) = self.settled.range((run, 0)..=(run, watermark)).next().copied() {
            self.settled.remove(&row);
        }
    }

    /// Nothing is kept of the rows of a run that ends.
    pub(super) fn end_run(&mut self, run: i64) {
        self.progress.retain(|row, _| row.run != run);
        self.forget_settled(run, u64::MAX);
    }

    /// The customers that changed, sorted by key.
    pub(super) fn changes(&self) -> Vec<BlockChange<'_>> {
        let states = self.states.iter();
        let mut changes: Vec<BlockChange> =
            states.map(|(key, state)| (*key, state.as_ref().map(|state| &*state.0))).collect();
        changes.sort_unstable_by_key(|(key, _)| *key);
        changes
    }

    /// Writes the customers that changed into their blocks, and begins the
    /// journal anew.
    pub(super) fn fold(&mut self, database: &Database) -> Result<(), CheckpointError> {
        let added = blocks::apply(database, &self.changes())?;
        self.in_blocks = self.in_blocks.saturating_add_signed(added);
        self.restart(database)
    }

    /// Begins the journal anew: all but the customers goes into one entry.
    fn restart(&mut self, database: &Database) -> Result<(), CheckpointError> {
        // Its pages hold only hashes and are soon written over. Wiping them first
        // would write all of it a second time.
        database.execute_all("PRAGMA secure_delete = FAST; DELETE FROM journal;")?;
        database.execute_all("PRAGMA secure_delete = ON;")?;
        self.bytes = 0;
        self.states = ByCustomer::default();
        let entry = JournalEntry {
            pending: self.pending.iter().map(|(key, call)| (*key, Some(*call))).collect(),
            progress: self.progress.iter().map(|(row, progress)| (*row, Some(progress.clone()))).collect(),
            settled: self.settled.iter().copied().collect(),
            ..JournalEntry::default()
        };
        if entry.is_empty() { Ok(()) } else { self.append(database, &entry) }
    }

    fn append(&mut self, database: &Database, entry: &JournalEntry) -> Result<(), CheckpointError> {
        let bytes = format::encode(entry);
        database.execute("INSERT INTO journal VALUES (?, ?)", params![self.next, bytes])?;
        self.bytes += bytes.len();
        self.next += 1;
        Ok(())
    }
}

type KeyMap<K, V> = HashMap<K, V, BuildKeyHasher>;

fn update<K: Eq + Hash, V>(values: &mut KeyMap<K, V>, changes: KeyMap<K, Option<V>>) {
    for (key, change) in changes {
        match change {
            Some(value) => drop(values.insert(key, value)),
            None => drop(values.remove(&key)),
        }
    }
}

/// The most customers who changed and are not in their blocks yet, of so many in
/// blocks. Each takes some 170 bytes of memory. The more of them, the fewer
/// blocks are written for each. An eighth comes to about 21 bytes a customer.
fn states_max(in_blocks: u64) -> usize {
    const STATES_MIN: usize = 32 << 10;
    const STATES_SHARE: u64 = 8;
    STATES_MIN.max(usize::try_from(in_blocks / STATES_SHARE).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::format::{RowKey, StoredPlace};
    use super::*;
    use crate::mapping::ExportRow;
    use crate::omnidesk::CallKind;
    use crate::reconcile::{CustomerKey, Effect, PendingCall, RowProgress};
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Change {
        State(u8, Option<u8>),
        Pending(u8, Option<u64>),
        Progress(u64, Option<bool>),
        Settled(u64),
    }

    /// What one commit changes, and what comes after it.
    type Commit = (Vec<Change>, bool, bool);

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            3 => (0..3_u8, any::<Option<u8>>()).prop_map(|(key, state)| Change::State(key, state)),
            3 => (0..3_u8, proptest::option::of(1..9_u64)).prop_map(|(key, row)| Change::Pending(key, row)),
            3 => (1..9_u64, any::<Option<bool>>()).prop_map(|(row, done)| Change::Progress(row, done)),
            3 => (1..9_u64).prop_map(Change::Settled),
        ]
    }

    /// Two runs are open.
    fn run_of(row: u64) -> i64 {
        i64::from(row > 4)
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
                    let pending = row.map(|row| PendingCall { by: by(row), kind: CallKind::Create });
                    entry.pending.insert(key(*number), pending.map(StoredCall));
                }
                Change::Progress(row, is_created) => {
                    let effect = |is_created| if is_created { Effect::Created } else { Effect::Updated };
                    let progress = is_created.map(|is_created| {
                        StoredProgress(RowProgress { effect: effect(is_created), ..RowProgress::default() })
                    });
                    let place = StoredPlace::Row(*row);
                    drop(entry.progress.insert(RowKey { run: run_of(*row), place }, progress));
                }
                Change::Settled(row) => entry.settled.push((run_of(*row), *row)),
            }
        }
        entry
    }

    proptest! {
        /// What is read again is what was in memory. That holds too for an entry
        /// that begins the journal anew, which has all but the customers and the rows
        /// of a run that has ended.
        #[test]
        fn what_is_read_is_what_was_written(commits in vec((vec(change(), 0..5), any::<bool>(), any::<bool>()), 1..12)) {
            let database = Database::in_memory();
            database
                .execute_all("CREATE TABLE journal (nth INTEGER PRIMARY KEY, entry BLOB NOT NULL)")
                .expect("a table");
            let mut journal = Journal::default();
            for (changes, is_restarted, is_reopened) in commits as Vec<Commit> {
                let entry = entry(&changes);
                prop_assert_eq!(entry.is_empty(), changes.is_empty());
                journal.add(&database, entry).expect("written");
                if is_restarted {
                    let others: BTreeSet<_> = journal.settled.iter().filter(|(run, _)| *run == 0).copied().collect();
                    journal.end_run(1);
                    prop_assert_eq!(&journal.settled, &others);
                    prop_assert!(journal.progress.keys().all(|row| row.run == 0));
                    journal.restart(&database).expect("written");
                    prop_assert!(journal.states.is_empty());
                }
                let read = Journal::read(&database, 0).expect("whole");
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
