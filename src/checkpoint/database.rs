//! An open checkpoint: customers, runs, totals.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use super::blocks;
use super::error::CheckpointError;
use super::file::{self, CheckpointFile, VerifiedFile};
use super::format::{self, RunRecord, StateBytes};
use super::journal::Journal;
use super::lock::{self, Lock};
use super::lookups::{Lookups, unreadable};
use crate::reconcile::{CustomerKey, HashKey};
use crate::source::ExportHash;

#[derive(Debug)]
pub struct Checkpoint {
    pub(super) connection: Connection,
    pub(super) file: CheckpointFile,
    pub(super) journal: Journal,
    /// In blocks: those of the journal alone are not counted.
    pub(super) customers: u64,
    key: HashKey,
}

/// Customers of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CustomerTotals {
    pub known: u64,
    /// Of those, purged ones.
    pub purged: u64,
    /// Creates whose answer is missing.
    pub in_doubt: u64,
}

impl Checkpoint {
    /// Opens the checkpoint for a run, or makes it, and locks it. A file that
    /// exists is never replaced.
    pub fn open(path: &Path, tenant: &str) -> Result<Self, CheckpointError> {
        Self::open_locked(path, tenant, Lock::take(path)?)
    }

    /// The same with a lock that was taken before.
    pub(crate) fn open_locked(path: &Path, tenant: &str, lock: Lock) -> Result<Self, CheckpointError> {
        if !path.try_exists().map_err(|source| CheckpointError::io(path, source))? {
            // The number belongs to the file that was here before.
            lock.note(0);
            file::create(path, tenant)?;
        }
        let verified = VerifiedFile::open(path, Some(lock))?;
        let checkpoint = Self::read(verified)?;
        checkpoint.check_tenant(tenant)?;
        Ok(checkpoint)
    }

    /// Opens the checkpoint for reading; `None` if there is none.
    pub fn open_to_read(path: &Path) -> Result<Option<Self>, CheckpointError> {
        match path.try_exists() {
            Ok(false) => Ok(None),
            Ok(true) => Self::read(VerifiedFile::open(path, None)?).map(Some),
            Err(source) => Err(CheckpointError::io(path, source)),
        }
    }

    fn read(verified: VerifiedFile) -> Result<Self, CheckpointError> {
        if verified.file.is_locked() {
            verified.configure()?;
        }
        let VerifiedFile { connection, file, customers } = verified;
        connection.set_prepared_statement_cache_capacity(32);
        let key = file::read_meta(&connection, "hash_key").map_err(|source| file.sqlite_error(source))?;
        let key = <[u8; 32]>::try_from(key.as_slice())
            .map_err(|_| CheckpointError::damaged(&file.path, "its hash key is cut"))?;
        let journal = Journal::read(&connection)
            .map_err(|source| file.sqlite_error(source))?
            .ok_or_else(|| unreadable(&file.path))?;
        Ok(Self { connection, file, journal, customers, key: HashKey::new(key) })
    }

    /// Reads on without holding on to one snapshot, beside somebody who writes
    /// much: the log cannot begin anew as long as somebody reads its beginning.
    /// The journal as it was when it was opened goes before later writes.
    pub(crate) fn release_snapshot(&self) -> Result<(), CheckpointError> {
        if self.connection.is_autocommit() {
            return Ok(());
        }
        self.connection.execute_batch("COMMIT").map_err(|source| self.sqlite_error(source))
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Whether it was opened for a run, and not only for reading.
    pub(crate) fn is_writable(&self) -> bool {
        self.file.is_locked()
    }

    /// The key of its hashes.
    #[must_use]
    pub fn key(&self) -> HashKey {
        self.key
    }

    pub(crate) fn check_tenant(&self, wanted: &str) -> Result<(), CheckpointError> {
        let found = self.tenant()?;
        if found == wanted {
            return Ok(());
        }
        let path = self.path().to_owned();
        Err(CheckpointError::OtherTenant { path, found, wanted: wanted.to_owned() })
    }

    pub fn tenant(&self) -> Result<String, CheckpointError> {
        let tenant =
            file::read_meta(&self.connection, "tenant").map_err(|source| self.sqlite_error(source))?;
        String::from_utf8(tenant).map_err(|_| CheckpointError::damaged(self.path(), "its tenant is no text"))
    }

    pub(super) fn sqlite_error(&self, source: rusqlite::Error) -> CheckpointError {
        self.file.sqlite_error(source)
    }

    pub(super) fn decode<T: serde::de::DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, CheckpointError> {
        format::decode(bytes).ok_or_else(|| unreadable(self.path()))
    }

    /// The ordinal of an export: the same for the same content.
    pub fn export_ordinal(&self, hash: &ExportHash) -> Result<Option<u32>, CheckpointError> {
        self.connection
            .query_row("SELECT ordinal FROM export WHERE hash = ?", [hash.0], |row| row.get(0))
            .optional()
            .map_err(|source| self.sqlite_error(source))
    }

    #[must_use]
    pub fn lookups(&self) -> Lookups<'_> {
        Lookups {
            connection: &self.connection,
            path: &self.file.path,
            journal: &self.journal,
            entry: None,
            customers: self.customers,
        }
    }

    /// The last `limit` runs, the latest first, with their ids.
    pub fn runs(&self, limit: u32) -> Result<Vec<(i64, RunRecord)>, CheckpointError> {
        let mut statement = self
            .connection
            .prepare("SELECT id, record FROM run ORDER BY id DESC LIMIT ?")
            .map_err(|source| self.sqlite_error(source))?;
        let rows = statement
            .query_map([limit], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))
            .map_err(|source| self.sqlite_error(source))?;
        rows.map(|row| {
            let (id, bytes) = row.map_err(|source| self.sqlite_error(source))?;
            Ok((id, self.decode(&bytes)?))
        })
        .collect()
    }

    /// Creates whose answer is missing.
    #[must_use]
    pub fn creates_in_doubt(&self) -> u64 {
        self.journal.pending.values().filter(|call| !call.kind.is_repeatable()).count() as u64
    }

    /// Customers whose purge was recorded for a row of an export and is not
    /// acknowledged: it may have been carried out.
    pub(crate) fn pending_purges(&self, export: u32) -> Result<Vec<CustomerKey>, CheckpointError> {
        let calls = self.journal.pending.iter();
        let purges = calls
            .filter(|(_, call)| call.by.export == export && call.kind == crate::omnidesk::CallKind::Purge);
        let mut pending = Vec::new();
        for (key, _) in purges {
            if !self.lookups().state(*key)?.is_purged() {
                pending.push(*key);
            }
        }
        Ok(pending)
    }

    /// How often a checkpoint was written that is lost now.
    pub(crate) fn lost_commits(path: &Path) -> Option<u64> {
        let is_there = path.try_exists().unwrap_or(true);
        Some(lock::noted(path)).filter(|commits| !is_there && *commits > 0)
    }

    pub fn totals(&self) -> Result<CustomerTotals, CheckpointError> {
        let mut totals = CustomerTotals { known: 0, purged: 0, in_doubt: self.creates_in_doubt() };
        self.each_customer(|_, state| {
            totals.known += 1;
            let state = format::decode_state(state).ok_or_else(|| unreadable(self.path()))?;
            totals.purged += u64::from(state.is_purged());
            Ok(())
        })?;
        Ok(totals)
    }

    /// Visits every customer with the state as written, in the order of the keys.
    pub(super) fn each_customer(
        &self,
        mut visit: impl FnMut(CustomerKey, &[u8]) -> Result<(), CheckpointError>,
    ) -> Result<(), CheckpointError> {
        let mut recent: Vec<(&CustomerKey, &Option<StateBytes>)> = self.journal.states.iter().collect();
        recent.sort_unstable_by_key(|(key, _)| **key);
        let mut recent = recent.into_iter().peekable();
        let visit_recent =
            |key: CustomerKey, state: &Option<StateBytes>, visit: &mut dyn FnMut(_, &[u8]) -> _| {
                state.as_ref().map_or(Ok(()), |state| visit(key, &state.0))
            };
        blocks::each(&self.connection, self.path(), |key, state| {
            while let Some((new, recent)) = recent.next_if(|(new, _)| **new < key) {
                visit_recent(*new, recent, &mut visit)?;
            }
            match recent.next_if(|(new, _)| **new == key) {
                Some((_, recent)) => visit_recent(key, recent, &mut visit),
                None => visit(key, state),
            }
        })?;
        recent.try_for_each(|(key, state)| visit_recent(*key, state, &mut visit))
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        self.file.close(&self.connection);
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::FORMAT;
    use super::*;
    use crate::reconcile::{Acked, AddressHash, CustomerState, ExportRow};

    fn new() -> (tempfile::TempDir, std::path::PathBuf, Checkpoint) {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("checkpoint");
        let checkpoint = Checkpoint::open(&path, "tenant").expect("new");
        (folder, path, checkpoint)
    }

    fn acked(row: u64, addresses: usize) -> CustomerState {
        let addresses = vec![AddressHash([7; 8]); addresses];
        CustomerState::Acknowledged(Acked { addresses, by: ExportRow { export: 1, row }, ..Acked::default() })
    }

    fn set_states(checkpoint: &mut Checkpoint, states: impl Iterator<Item = (CustomerKey, CustomerState)>) {
        let mut batch = checkpoint.batch().expect("a batch");
        states.for_each(|(key, state)| batch.set_state(key, &state).expect("a state"));
        batch.commit_states().expect("durable");
    }

    #[test]
    fn a_commit_waits_for_the_disk() {
        let (_folder, _, checkpoint) = new();
        let pragma = |sql| checkpoint.connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        // 2 is FULL.
        assert_eq!(pragma("PRAGMA synchronous").expect("a number"), 2);
    }

    /// One customer has a large state, again and again.
    #[test]
    fn the_journal_begins_anew_before_it_is_long() {
        let (_folder, path, mut checkpoint) = new();
        let (key, state) = (CustomerKey([1; 16]), |row| acked(row, 250_000));
        let mut restarts = 0;
        for row in 0..40 {
            set_states(&mut checkpoint, [(key, state(row))].into_iter());
            restarts += u64::from(checkpoint.journal.states.is_empty());
            assert_eq!(checkpoint.lookups().state(key).expect("sound"), state(row));
        }
        assert_eq!(restarts, 1);
        drop(checkpoint);
        let reader = Checkpoint::open_to_read(&path).expect("whole").expect("there");
        assert_eq!(reader.lookups().state(key).expect("sound"), state(39));
    }

    /// More customers than the journal takes: they go into blocks, are found
    /// there, and a later change goes before what is in them.
    #[test]
    fn customers_are_found_wherever_they_are() {
        let (_folder, path, mut checkpoint) = new();
        let key = |number: u64| {
            CustomerKey(*blake3::hash(&number.to_le_bytes()).as_bytes().first_chunk().expect("bytes"))
        };
        let states = |from: u64, to: u64, add: u64| {
            (from..to).map(move |number| (key(number), acked(number + add, 0)))
        };
        for (from, to, add) in [(0, 20_000, 0), (20_000, 70_000, 0), (10, 20, 7)] {
            set_states(&mut checkpoint, states(from, to, add));
            assert_eq!(checkpoint.lookups().state(key(from)).expect("sound"), acked(from + add, 0));
        }
        set_states(&mut checkpoint, [(key(5), CustomerState::Unknown)].into_iter());
        let check = |checkpoint: &Checkpoint| {
            assert_eq!(checkpoint.totals().expect("totals").known, 69_999);
            let keys: Vec<_> = (0..70_010).map(|number| Some(key(number))).collect();
            let found = checkpoint.lookups().states(&keys).expect("sound");
            for (number, found) in (0..).zip(found) {
                let expected = match number {
                    5 | 70_000.. => CustomerState::Unknown,
                    10..20 => acked(number + 7, 0),
                    _ => acked(number, 0),
                };
                assert_eq!(found, expected, "customer {number}");
            }
        };
        check(&checkpoint);
        let in_journal = checkpoint.journal.states.len();
        assert!(checkpoint.customers >= 70_000 && in_journal == 11, "in blocks and in the journal");
        drop(checkpoint);
        check(&Checkpoint::open_to_read(&path).expect("whole").expect("there"));
        check(&Checkpoint::open(&path, "tenant").expect("whole"));
    }

    #[test]
    fn every_table_is_under_the_checksum() {
        let (_folder, path, checkpoint) = new();
        drop(checkpoint);
        let connection = Connection::open(&path).expect("a database");
        let text = |sql: &str, table: &str| -> String {
            connection.query_row(sql, [table], |row| row.get(0)).expect("a text")
        };
        let tables: Vec<String> = connection
            .prepare("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'")
            .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
            .expect("names");
        assert_eq!(tables.len(), 12);
        for table in tables {
            let values = text("SELECT group_concat(77, ', ') FROM pragma_table_info(?)", &table);
            connection.execute(&format!("INSERT INTO {table} VALUES ({values})"), []).expect("a row");
            let opened = Checkpoint::open_to_read(&path);
            assert!(matches!(opened, Err(CheckpointError::Damaged { .. })), "{table}");
            let first = text("SELECT name FROM pragma_table_info(?) WHERE cid = 0", &table);
            connection.execute(&format!("DELETE FROM {table} WHERE {first} = 77"), []).expect("deleted");
            Checkpoint::open_to_read(&path).expect("as before");
        }
    }

    #[test]
    fn a_later_format_is_refused_and_left_as_it_is() {
        let (_folder, path, checkpoint) = new();
        drop(checkpoint);
        let connection = Connection::open(&path).expect("a database");
        connection.execute_batch(&format!("PRAGMA user_version = {}", FORMAT + 1)).expect("written");
        drop(connection);
        let before = std::fs::read(&path).expect("a file");
        for opened in [Checkpoint::open(&path, "tenant").map(Some), Checkpoint::open_to_read(&path)] {
            assert!(
                matches!(opened, Err(CheckpointError::Newer { found, .. }) if found == FORMAT + 1),
                "{opened:?}"
            );
        }
        assert_eq!(std::fs::read(&path).expect("a file"), before);
    }
}
