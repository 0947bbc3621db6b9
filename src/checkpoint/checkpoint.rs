//! An open checkpoint: customers, runs, totals.

use std::path::Path;

use super::blocks;
use super::database::Database;
use super::error::CheckpointError;
use super::file::{self, CheckpointFile};
use super::format::{self, Encoded, RunRecord};
use super::id_pad::IdPad;
use super::journal::Journal;
use super::lock::{self, Lock};
use super::lookups::Lookups;
use crate::omnidesk::CallKind;
use crate::reconcile::{CustomerKey, CustomerState, HashKey};

#[derive(Debug)]
pub struct Checkpoint {
    pub(super) database: Database,
    pub(super) file: CheckpointFile,
    pub(super) journal: Journal,
    pub(super) ids: IdPad,
}

/// Customers of a checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CustomerTotals {
    pub known: u64,
    /// Of those, purged ones.
    pub purged: u64,
    /// Of those, customers whose purge was sent and is not acknowledged.
    pub perhaps_purged: u64,
    /// Of those, customers who exist by other means.
    pub existing_before: u64,
    /// Of those, customers whom the API does not know.
    pub absent: u64,
    /// Creates without an answer.
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
        let checkpoint = Self::read(path, Some(lock))?;
        checkpoint.check_tenant(tenant)?;
        Ok(checkpoint)
    }

    /// Opens the checkpoint for reading; `None` if there is none.
    pub fn open_to_read(path: &Path) -> Result<Option<Self>, CheckpointError> {
        match path.try_exists() {
            Ok(false) => Ok(None),
            Ok(true) => Self::read(path, None).map(Some),
            Err(source) => Err(CheckpointError::io(path, source)),
        }
    }

    fn read(path: &Path, lock: Option<Lock>) -> Result<Self, CheckpointError> {
        let (database, file, customers) = CheckpointFile::open(path, lock)?;
        let key: [u8; 32] = file::read_meta(&database, "hash_key")?;
        let journal = Journal::read(&database, customers)?;
        Ok(Self { database, file, journal, ids: IdPad::new(HashKey::new(key)) })
    }

    /// Whether it was opened for a run, and not only for reading.
    pub(crate) fn is_writable(&self) -> bool {
        self.file.is_locked()
    }

    /// The key of its hashes.
    pub fn key(&self) -> HashKey {
        self.ids.hash_key
    }

    /// The pad of stored ids.
    pub(crate) fn ids(&self) -> IdPad {
        self.ids
    }

    pub(crate) fn check_tenant(&self, wanted: &str) -> Result<(), CheckpointError> {
        let found = self.tenant()?;
        if found == wanted {
            return Ok(());
        }
        let path = self.database.path.clone();
        Err(CheckpointError::OtherTenant { path, found, wanted: wanted.to_owned() })
    }

    pub fn tenant(&self) -> Result<String, CheckpointError> {
        let tenant = file::read_meta(&self.database, "tenant")?;
        String::from_utf8(tenant).map_err(|_| self.database.damaged("its tenant is no text"))
    }

    pub fn lookups(&self) -> Lookups<'_> {
        Lookups { database: &self.database, journal: &self.journal, entry: None }
    }

    /// The last `limit` runs, the latest first, with their ids.
    pub fn runs(&self, limit: u32) -> Result<Vec<(i64, RunRecord)>, CheckpointError> {
        let sql = "SELECT id, record FROM run ORDER BY id DESC LIMIT ?";
        self.database.list(sql, [limit], |row| Ok((row.get(0)?, row.get::<_, Encoded<_>>(1)?.0)))
    }

    /// Creates without an answer.
    pub fn creates_in_doubt(&self) -> u64 {
        self.journal.pending.values().filter(|call| !call.0.kind.is_repeatable()).count() as u64
    }

    /// Rows of an export whose create has no answer.
    pub(crate) fn rows_in_doubt(&self, export: u32) -> Vec<u64> {
        let calls = self.journal.pending.values().map(|call| call.0);
        let creates = calls.filter(|call| call.by.export == export && !call.kind.is_repeatable());
        let mut rows: Vec<u64> = creates.map(|call| call.by.row).collect();
        rows.sort_unstable();
        rows
    }

    /// Customers whose purge was recorded for a row of an export and is not
    /// acknowledged: it may have been carried out.
    pub(crate) fn pending_purges(&self, export: u32) -> Result<Vec<CustomerKey>, CheckpointError> {
        let mut pending = Vec::new();
        for (key, call) in &self.journal.pending {
            let is_purge = call.0.by.export == export && call.0.kind == CallKind::Purge;
            if is_purge && self.lookups().state(*key)?.may_exist() {
                pending.push(*key);
            }
        }
        Ok(pending)
    }

    /// How often a checkpoint was written that is lost now.
    pub(crate) fn lost_commits(path: &Path) -> Option<u64> {
        let is_there = path.try_exists().unwrap_or(true);
        Some(lock::noted_commits(path)).filter(|commits| !is_there && *commits > 0)
    }

    pub fn totals(&self) -> Result<CustomerTotals, CheckpointError> {
        let mut totals = CustomerTotals { in_doubt: self.creates_in_doubt(), ..CustomerTotals::default() };
        self.each_customer(|_, state| {
            totals.known += 1;
            match format::decode_state(state)? {
                CustomerState::Purged(_) => totals.purged += 1,
                CustomerState::PerhapsPurged(_) => totals.perhaps_purged += 1,
                CustomerState::Existing => totals.existing_before += 1,
                CustomerState::Absent | CustomerState::Vanished => totals.absent += 1,
                CustomerState::Acknowledged(_) | CustomerState::Unknown => {}
            }
            Ok(())
        })?;
        Ok(totals)
    }

    /// Customers whom a run has created, and who were not purged since.
    pub(crate) fn count_created(&self, run: u32) -> Result<u64, CheckpointError> {
        let mut created = 0;
        self.each_customer(|_, state| {
            created += u64::from(format::decode_state(state)?.is_created_by(run));
            Ok(())
        })?;
        Ok(created)
    }

    /// Visits every customer, in the order of the keys.
    pub(crate) fn each_state(
        &self,
        mut visit: impl FnMut(CustomerKey, &CustomerState),
    ) -> Result<(), CheckpointError> {
        self.each_customer(|key, state| {
            visit(key, &format::decode_state(state)?);
            Ok(())
        })
    }

    /// Visits every customer with the state as written, in the order of the keys.
    pub(super) fn each_customer(
        &self,
        visit: impl FnMut(CustomerKey, &[u8]) -> rusqlite::Result<()>,
    ) -> Result<(), CheckpointError> {
        blocks::each(&self.database, &self.journal.changes(), visit)
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        self.file.close(&self.database);
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::FORMAT;
    use super::*;
    use crate::mapping::ExportRow;
    use crate::reconcile::{Acked, AddressHash};
    use rusqlite::Connection;

    fn new() -> (tempfile::TempDir, std::path::PathBuf, Checkpoint) {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("checkpoint");
        let checkpoint = Checkpoint::open(&path, "tenant").expect("new");
        (folder, path, checkpoint)
    }

    fn acked(row: u64, addresses: usize) -> CustomerState {
        let addresses = (0..addresses).map(|nth| AddressHash((nth as u64).to_le_bytes())).collect();
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
        let pragma = |sql| checkpoint.database.value::<i64>(sql, []);
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
        assert!(checkpoint.journal.in_blocks >= 70_000 && in_journal == 11, "in blocks and in the journal");
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
