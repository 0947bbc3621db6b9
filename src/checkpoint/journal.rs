//! What changed since customers were last written into their blocks.
//!
//! A commit adds one entry with all that changed in it, whatever it is about:
//! that costs the same for one record as for a hundred, and a block is not
//! written for each of its customers. All entries together are small enough to
//! be in memory too, as the [`Journal`]; when they are not, the customers go
//! into their blocks and the journal begins anew.

use std::collections::{BTreeSet, HashMap};

use rusqlite::{Connection, params};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::format;
use crate::reconcile::{BuildKeyHasher, CustomerKey, PendingCall, RowProgress};

/// What a killed run may leave to be read again.
const BYTES_MAX: usize = 64 << 20;

/// A map by customer.
pub(super) type ByCustomer<V> = HashMap<CustomerKey, V, BuildKeyHasher>;
/// A map by row; their numbers need no hashing.
pub(super) type ByRow<V> = HashMap<u64, V, BuildKeyHasher>;

/// A record as it is in the file. It is written and read in one piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StateBytes(pub(super) Box<[u8]>);

impl Serialize for StateBytes {
    fn serialize<S: Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        writer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for StateBytes {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = StateBytes;
            fn expecting(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
                out.write_str("a record")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<StateBytes, E> {
                Ok(StateBytes(bytes.into()))
            }
        }
        reader.deserialize_bytes(Bytes)
    }
}

/// What one commit changes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct JournalEntry {
    /// A run begins: what is done of rows of an earlier one is forgotten.
    pub(super) begins: bool,
    pub(super) told: ByCustomer<Option<StateBytes>>,
    pub(super) flights: ByCustomer<Option<PendingCall>>,
    pub(super) progress: ByRow<Option<RowProgress>>,
    /// Rows of the open run that are settled.
    pub(super) settled: Vec<u64>,
}

impl JournalEntry {
    pub(super) fn are_none(&self) -> bool {
        !self.begins
            && self.told.is_empty()
            && self.flights.is_empty()
            && self.progress.is_empty()
            && self.settled.is_empty()
    }
}

/// What the journal says, all of it.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// What customers were told; `None` where there is no such customer.
    pub(super) told: ByCustomer<Option<StateBytes>>,
    pub(super) flights: ByCustomer<PendingCall>,
    pub(super) progress: ByRow<RowProgress>,
    /// Rows that were settled: those before the watermark are not kept.
    pub(super) settled: BTreeSet<u64>,
    /// The number of the next entry.
    next: i64,
    /// Of all entries.
    bytes: usize,
}

impl Journal {
    /// Reads the journal; `None` if an entry is damaged.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Option<Self>> {
        let mut recent = Self::default();
        let mut statement = connection.prepare("SELECT nth, changes FROM journal ORDER BY nth")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let nth: i64 = row.get(0)?;
            let entry = row.get_ref(1)?.as_blob().ok();
            recent.bytes += entry.map_or(0, <[u8]>::len);
            let Some(changes) = entry.and_then(|entry| format::decode(&nth.to_le_bytes(), entry)) else {
                return Ok(None);
            };
            recent.take_in(changes, u64::MIN);
            recent.next = nth + 1;
        }
        Ok(Some(recent))
    }

    /// Whether it has grown too long, as it does where a few customers have many
    /// rows.
    pub(super) fn is_long(&self) -> bool {
        self.bytes >= BYTES_MAX
    }

    /// Adds an entry for `changes`, and takes them in. The watermark is of the
    /// open run: rows before it need no place here.
    pub(super) fn write(
        &mut self,
        connection: &Connection,
        changes: JournalEntry,
        watermark: u64,
    ) -> rusqlite::Result<()> {
        self.append(connection, &changes)?;
        self.take_in(changes, watermark);
        Ok(())
    }

    /// Takes changes in that are written in another way.
    pub(super) fn take_in(&mut self, changes: JournalEntry, watermark: u64) {
        if changes.begins {
            self.progress.clear();
            self.settled.clear();
        }
        self.told.extend(changes.told);
        for (key, flight) in changes.flights {
            match flight {
                Some(flight) => drop(self.flights.insert(key, flight)),
                None => drop(self.flights.remove(&key)),
            }
        }
        for (row, progress) in changes.progress {
            match progress {
                Some(progress) => drop(self.progress.insert(row, progress)),
                None => drop(self.progress.remove(&row)),
            }
        }
        self.settled.extend(changes.settled);
        while self.settled.first().is_some_and(|row| *row <= watermark) {
            self.settled.pop_first();
        }
    }

    /// Begins the journal anew once the customers are in their blocks: what
    /// else it says goes into one entry.
    pub(super) fn rewrite(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        // Its pages hold nothing but hashes and are soon written over; to wipe
        // them first would write all of it a second time.
        connection.execute_batch("PRAGMA secure_delete = FAST; DELETE FROM journal;")?;
        connection.execute_batch("PRAGMA secure_delete = ON;")?;
        self.bytes = 0;
        self.told = ByCustomer::default();
        let changes = JournalEntry {
            begins: true,
            told: ByCustomer::default(),
            flights: self.flights.iter().map(|(key, flight)| (*key, Some(*flight))).collect(),
            progress: self.progress.iter().map(|(row, done)| (*row, Some(done.clone()))).collect(),
            settled: self.settled.iter().copied().collect(),
        };
        let is_empty =
            changes.flights.is_empty() && changes.progress.is_empty() && changes.settled.is_empty();
        if is_empty { Ok(()) } else { self.append(connection, &changes) }
    }

    fn append(&mut self, connection: &Connection, changes: &JournalEntry) -> rusqlite::Result<()> {
        let record = format::encode(&self.next.to_le_bytes(), changes);
        connection
            .prepare_cached("INSERT INTO journal VALUES (?, ?)")?
            .execute(params![self.next, record])?;
        self.bytes += record.len();
        self.next += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::omnidesk::CallKind;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Acked(u8, Option<u8>),
        PendingCall(u8, Option<u64>),
        RowProgress(u64, Option<bool>),
        Settled(u64),
        Begins,
    }

    /// What one commit does, and what comes after it.
    type Commit = (Vec<Step>, bool, bool);

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..3_u8, any::<Option<u8>>()).prop_map(|(key, told)| Step::Acked(key, told)),
            3 => (0..3_u8, proptest::option::of(1..9_u64)).prop_map(|(key, row)| Step::PendingCall(key, row)),
            3 => (1..9_u64, any::<Option<bool>>()).prop_map(|(row, done)| Step::RowProgress(row, done)),
            3 => (1..9_u64).prop_map(Step::Settled),
            1 => Just(Step::Begins),
        ]
    }

    fn changes(steps: &[Step]) -> JournalEntry {
        let key = |number: u8| CustomerKey([number; 16]);
        let mut changes = JournalEntry::default();
        for step in steps {
            match step {
                Step::Acked(of, told) => {
                    let record = told.map(|told| StateBytes(vec![told; 9].into()));
                    drop(changes.told.insert(key(*of), record));
                }
                Step::PendingCall(of, row) => {
                    let flight = row.map(|row| PendingCall::new(1, row, CallKind::Create, None));
                    changes.flights.insert(key(*of), flight);
                }
                Step::RowProgress(row, created) => {
                    let progress = created.map(|created| RowProgress { created, ..RowProgress::default() });
                    drop(changes.progress.insert(*row, progress));
                }
                Step::Settled(row) => changes.settled.push(*row),
                Step::Begins => changes.begins = true,
            }
        }
        changes
    }

    proptest! {
        /// What is read again is what was in memory: also behind an entry that
        /// begins the journal anew, which has all but what customers were told.
        #[test]
        fn what_is_read_is_what_was_written(commits in vec((vec(step(), 0..5), any::<bool>(), any::<bool>()), 1..12)) {
            let connection = Connection::open_in_memory().expect("a database");
            connection
                .execute_batch("CREATE TABLE journal (nth INTEGER PRIMARY KEY, changes BLOB NOT NULL)")
                .expect("a table");
            let mut recent = Journal::default();
            for (steps, is_folded, is_reopened) in commits as Vec<Commit> {
                let changes = changes(&steps);
                prop_assert_eq!(changes.are_none(), steps.is_empty());
                recent.write(&connection, changes, 0).expect("written");
                if is_folded {
                    recent.rewrite(&connection).expect("written");
                    prop_assert!(recent.told.is_empty());
                }
                let read = Journal::read(&connection).expect("read").expect("whole");
                prop_assert_eq!(&read.told, &recent.told);
                prop_assert_eq!(&read.flights, &recent.flights);
                prop_assert_eq!(&read.progress, &recent.progress);
                prop_assert_eq!(&read.settled, &recent.settled);
                prop_assert_eq!(read.bytes, recent.bytes);
                if is_reopened {
                    recent = read;
                }
            }
        }
    }
}
