//! What is in the file: runs, customers, looking up.

use std::path::Path;

use rusqlite::backup::Backup;
use rusqlite::{Connection, OptionalExtension};

use super::CheckpointError;
use super::file::{self, CheckpointFile, FORMAT, VerifiedFile, damaged_record, explain};
use super::format::{self, RunRecord};
use super::journal::{Journal, StateBytes};
use super::lock::{self, Lock};
use super::lookups::Lookups;
use super::{blocks, checksum, upgrade};
use crate::reconcile::{CustomerKey, HashKey};
use crate::source::ExportHash;

/// An open checkpoint.
#[derive(Debug)]
pub struct Checkpoint {
    pub(super) connection: Connection,
    pub(super) place: CheckpointFile,
    /// What is in the journal.
    pub(super) recent: Journal,
    /// In blocks: those of the journal alone are not counted.
    pub(super) customers: u64,
    key: HashKey,
}

/// What `status` tells besides the runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// Customers that the checkpoint knows.
    pub customers: u64,
    /// Of those, purged ones.
    pub purged: u64,
    /// Creates whose answer is missing.
    pub in_doubt: u64,
}

impl Checkpoint {
    /// Opens the checkpoint for a run, or makes it, and locks it.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]; a file that exists is never replaced.
    pub fn open(path: &Path, tenant: &str) -> Result<Self, CheckpointError> {
        Self::open_locked(path, tenant, Lock::of(path)?)
    }

    /// The same for one who has the lock already.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn open_locked(path: &Path, tenant: &str, lock: Lock) -> Result<Self, CheckpointError> {
        let io = |source| CheckpointError::Io { path: path.to_owned(), source };
        if !path.try_exists().map_err(io)? {
            // Of the one that was here before.
            lock.note(0);
            file::create(path, tenant)?;
        }
        let file = VerifiedFile::open(path, Some(lock))?;
        file.check_tenant(tenant)?;
        file.check_whole()?;
        file.configure()?;
        let VerifiedFile { mut connection, place, format, mut customers } = file;
        let wrong = |source| explain(path, source);
        if format < FORMAT {
            let transaction = connection.transaction().map_err(wrong)?;
            customers = upgrade::upgrade(&transaction, path, format)?;
            checksum::keep(&transaction).map_err(wrong)?;
            place.commit(&transaction)?;
        } else {
            checksum::keep(&connection).map_err(wrong)?;
        }
        connection.set_prepared_statement_cache_capacity(32);
        Self::of(connection, place, customers)
    }

    /// Opens the checkpoint for looking only; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn look(path: &Path) -> Result<Option<Self>, CheckpointError> {
        match path.try_exists() {
            Ok(false) => Ok(None),
            Ok(true) => Self::looked_at(path).map(Some),
            Err(source) => Err(CheckpointError::Io { path: path.to_owned(), source }),
        }
    }

    fn looked_at(path: &Path) -> Result<Self, CheckpointError> {
        let VerifiedFile { connection, place, format, customers } = VerifiedFile::open(path, None)?;
        if format == FORMAT {
            return Self::of(connection, place, customers);
        }
        // The file stays as it is until a run opens it.
        let wrong = |source| explain(path, source);
        let mut copy = Connection::open_in_memory().map_err(wrong)?;
        Backup::new(&connection, &mut copy).and_then(|backup| backup.step(-1)).map_err(wrong)?;
        let transaction = copy.transaction().map_err(wrong)?;
        let customers = upgrade::upgrade(&transaction, path, format)?;
        transaction.commit().map_err(wrong)?;
        Self::of(copy, place, customers)
    }

    fn of(connection: Connection, place: CheckpointFile, customers: u64) -> Result<Self, CheckpointError> {
        let wrong = |source| explain(&place.path, source);
        let damaged = |what| file::damaged(&place.path, what);
        let key: Vec<u8> = file::meta(&connection, "hash_key").map_err(wrong)?;
        let key = <[u8; 32]>::try_from(key.as_slice()).map_err(|_| damaged("its hash key is cut"))?;
        let recent = Journal::read(&connection).map_err(wrong)?;
        let recent =
            recent.ok_or_else(|| damaged("an entry of its journal is not the one that was written"))?;
        Ok(Self { connection, place, recent, customers, key: HashKey::new(key) })
    }

    /// Reads on without holding on to one snapshot, beside somebody who writes
    /// much: the log cannot begin anew as long as somebody reads its beginning.
    /// What the journal said when it was opened goes before what is written now.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn unpin(&self) -> Result<(), CheckpointError> {
        match self.connection.is_autocommit() {
            true => Ok(()),
            false => self.connection.execute_batch("COMMIT").map_err(|source| self.explain(source)),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    /// Whether it was opened for a run, and not for looking only.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.place.is_locked()
    }

    /// The key of its hashes.
    #[must_use]
    pub fn key(&self) -> HashKey {
        self.key
    }

    /// Whether it belongs to the tenant `wanted`.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::OtherTenant`] if it does not.
    pub fn check_tenant(&self, wanted: &str) -> Result<(), CheckpointError> {
        file::check_tenant(&self.connection, &self.place.path, wanted)
    }

    /// Whose checkpoint it is.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn tenant(&self) -> Result<String, CheckpointError> {
        file::tenant(&self.connection, &self.place.path)
    }

    pub(super) fn explain(&self, source: rusqlite::Error) -> CheckpointError {
        explain(&self.place.path, source)
    }

    pub(super) fn damaged(&self, what: &str) -> CheckpointError {
        file::damaged(&self.place.path, what)
    }

    /// The ordinal of an export, the same for the same content.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn export_ordinal(&self, fingerprint: &ExportHash) -> Result<Option<u32>, CheckpointError> {
        self.connection
            .query_row("SELECT id FROM export WHERE fingerprint = ?", [fingerprint.0], |row| row.get(0))
            .optional()
            .map_err(|source| self.explain(source))
    }

    /// Looking things up.
    #[must_use]
    pub fn lookups(&self) -> Lookups<'_> {
        Lookups {
            connection: &self.connection,
            path: &self.place.path,
            recent: &self.recent,
            changes: None,
            customers: self.customers,
        }
    }

    pub(super) fn decoded<T: serde::de::DeserializeOwned>(
        &self,
        place: &[u8],
        bytes: &[u8],
    ) -> Result<T, CheckpointError> {
        file::decoded(&self.place.path, place, bytes)
    }

    /// The last `limit` runs, the latest first, with their ids.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn runs(&self, limit: u32) -> Result<Vec<(i64, RunRecord)>, CheckpointError> {
        let mut statement = self
            .connection
            .prepare("SELECT id, record FROM run ORDER BY id DESC LIMIT ?")
            .map_err(|source| self.explain(source))?;
        let rows = statement
            .query_map([limit], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))
            .map_err(|source| self.explain(source))?;
        rows.map(|row| {
            let (id, bytes) = row.map_err(|source| self.explain(source))?;
            Ok((id, self.decoded(&id.to_le_bytes(), &bytes)?))
        })
        .collect()
    }

    /// Creates whose answer is missing.
    #[must_use]
    pub fn in_doubt(&self) -> u64 {
        self.recent.flights.values().filter(|flight| !flight.kind().is_repeatable()).count() as u64
    }

    /// Customers whose purge was recorded for a row of an export, and who are
    /// not known to be purged: it may have been carried out.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn purging(&self, export: u32) -> Result<Vec<CustomerKey>, CheckpointError> {
        let flights = self.recent.flights.iter();
        let purges = flights.filter(|(_, flight)| flight.export == export && flight.is_purge());
        let mut purging = Vec::new();
        for (key, _) in purges {
            if !self.lookups().told(*key)?.is_some_and(|told| told.purged) {
                purging.push(*key);
            }
        }
        Ok(purging)
    }

    /// How often a checkpoint was written that is not there any more.
    #[must_use]
    pub fn lost(path: &Path) -> Option<u64> {
        let is_there = path.try_exists().unwrap_or(true);
        Some(lock::noted(path)).filter(|commits| !is_there && *commits > 0)
    }

    /// Customers known, purged and in doubt.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn totals(&self) -> Result<Totals, CheckpointError> {
        let mut totals = Totals { customers: 0, purged: 0, in_doubt: self.in_doubt() };
        self.each_customer(|_, record| {
            totals.customers += 1;
            let told = format::told_of(record).ok_or_else(|| damaged_record(&self.place.path))?;
            totals.purged += u64::from(told.purged);
            Ok(())
        })?;
        Ok(totals)
    }

    /// Shows every customer with the record of what was told, in the order of
    /// the keys.
    pub(super) fn each_customer(
        &self,
        mut visit: impl FnMut(CustomerKey, &[u8]) -> Result<(), CheckpointError>,
    ) -> Result<(), CheckpointError> {
        let mut recent: Vec<(&CustomerKey, &Option<StateBytes>)> = self.recent.told.iter().collect();
        recent.sort_unstable_by_key(|(key, _)| **key);
        let mut recent = recent.into_iter().peekable();
        blocks::each(&self.connection, &self.place.path, |key, record| {
            while let Some((new, told)) = recent.next_if(|(new, _)| **new < key) {
                told.as_ref().map_or(Ok(()), |told| visit(*new, &told.0))?;
            }
            match recent.next_if(|(new, _)| **new == key) {
                Some((_, told)) => told.as_ref().map_or(Ok(()), |told| visit(key, &told.0)),
                None => visit(key, record),
            }
        })?;
        recent.try_for_each(|(key, told)| told.as_ref().map_or(Ok(()), |told| visit(*key, &told.0)))
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        self.place.close(&self.connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::{Acked, AddressHash, RowProgress};

    #[test]
    fn a_commit_waits_for_the_disk() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let checkpoint = Checkpoint::open(&folder.path().join("checkpoint"), "tenant").expect("new");
        let pragma = |sql| checkpoint.connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        // 2 is FULL.
        assert_eq!(pragma("PRAGMA synchronous").expect("a number"), 2);
    }

    /// What was a table of its own until format 2.
    const UNTIL_2: &str = "
        CREATE TABLE customer (key BLOB PRIMARY KEY, told BLOB NOT NULL) WITHOUT ROWID;
        CREATE TABLE flight (key BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
        CREATE TABLE progress (row INTEGER PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
        CREATE TABLE ahead (row INTEGER PRIMARY KEY) WITHOUT ROWID;";

    fn customer(number: u8) -> CustomerKey {
        CustomerKey([number; 16])
    }

    /// What a customer was told in the form of that time: export 1, the row,
    /// no fields, one address.
    fn told_until_2(row: u64) -> (bool, bool, u32, u64, Vec<u8>, Vec<[u8; 8]>) {
        (false, false, 1, row, vec![], vec![[9; 8]])
    }

    /// As earlier versions of the program made them: a run that was killed,
    /// with customers, a call under way, a row begun and one ahead.
    fn of_format(format: i64, path: &Path) {
        let connection = Connection::open(path).expect("a file");
        let since_2 = if format < 2 { "" } else { file::SCHEMA_2 };
        connection
            .execute_batch(&format!(
                "PRAGMA journal_mode = WAL; BEGIN; PRAGMA application_id = {};
                 PRAGMA user_version = {format}; {} {UNTIL_2} {since_2}
                 INSERT INTO meta VALUES ('hash_key', x'{}'), ('tenant', CAST('tenant' AS BLOB));
                 INSERT INTO export VALUES (x'{}', 1); INSERT INTO ahead VALUES (4);",
                file::APPLICATION_ID,
                file::SCHEMA,
                "07".repeat(32),
                "08".repeat(32)
            ))
            .expect("tables");
        let record = RunRecord { rows: 9, watermark: 2, ..RunRecord::adopted("2026-11-01T00:00:00Z") };
        let insert = |sql: &str, place: &dyn rusqlite::ToSql, record: Vec<u8>| {
            connection.execute(sql, rusqlite::params![place, record]).expect("a row");
        };
        insert("INSERT INTO run VALUES (?, 1, x'00', ?)", &1, format::encode(&1_i64.to_le_bytes(), &record));
        for number in 1..=3 {
            let key = customer(number).0;
            let told = format::encode(&key, &told_until_2(number.into()));
            insert("INSERT INTO customer VALUES (?, ?)", &key, told);
        }
        let key = customer(4).0;
        // Of export 1, row 5: a create without an address, begun at 7.
        let flight = (1_u32, 5_u64, 0_u8, None::<[u8; 8]>, 7_u64);
        insert("INSERT INTO flight VALUES (?, ?)", &key, format::encode(&key, &flight));
        let done = RowProgress { created: true, ..RowProgress::default() };
        insert("INSERT INTO progress VALUES (?, ?)", &3, format::encode(&3_u64.to_le_bytes(), &done));
        checksum::set(&connection).expect("a seal");
        connection.execute_batch("COMMIT").expect("a commit");
    }

    fn check_contents(checkpoint: &Checkpoint) {
        assert_eq!(checkpoint.runs(9).expect("runs").len(), 1);
        let totals = checkpoint.totals().expect("totals");
        assert_eq!((totals.customers, totals.in_doubt, checkpoint.customers), (3, 1, 3));
        let lookups = checkpoint.lookups();
        for number in 1..=3 {
            let told = lookups.told(customer(number)).expect("sound").expect("known");
            let expected = Acked { export: 1, row: number.into(), ..Acked::existing() };
            assert_eq!(told, Acked { addresses: vec![AddressHash([9; 8])], ..expected });
        }
        assert_eq!(lookups.told(customer(5)).expect("sound"), None);
        assert_eq!(lookups.flight(customer(4)).expect("sound").map(|flight| flight.row), Some(5));
        assert!(lookups.progress(3).expect("sound").expect("begun").created);
        let run = checkpoint.recent.settled.iter().copied().collect::<Vec<u64>>();
        assert_eq!(run, [4]);
    }

    fn tables(connection: &Connection) -> Vec<String> {
        let mut statement =
            connection.prepare("SELECT name FROM sqlite_schema ORDER BY name").expect("a schema");
        let names = statement.query_map([], |row| row.get(0)).expect("names");
        names.collect::<Result<_, _>>().expect("names")
    }

    #[test]
    fn a_file_of_an_earlier_format_is_looked_at_as_it_is_and_upgraded_when_it_is_written() {
        for format in 1..FORMAT {
            let folder = tempfile::TempDir::new().expect("a folder");
            let (old, new) = (folder.path().join("old"), folder.path().join("new"));
            of_format(format, &old);
            let before = std::fs::read(&old).expect("a file");
            let looked = Checkpoint::look(&old).expect("whole").expect("there");
            check_contents(&looked);
            // What only later formats have is not there, which is no error.
            assert_eq!(looked.named(customer(7)).expect("no names"), None);
            assert_eq!(looked.missing_of(1).expect("nobody was missing"), None);
            assert!(looked.seen(1).expect("nothing was seen").is_none());
            assert!(looked.past().expect("a past").gone.is_empty());
            let unmet = looked.unmet(|_| false, &std::collections::BTreeSet::new()).expect("nobody");
            assert_eq!((unmet.missing.found, unmet.missing.unnamed), (0, 3));
            drop(looked);
            assert_eq!(std::fs::read(&old).expect("a file"), before, "looking has changed it");

            for _ in 0..2 {
                let opened = Checkpoint::open(&old, "tenant").expect("upgraded");
                check_contents(&opened);
                let fresh = Checkpoint::open(&new, "tenant").expect("new");
                assert_eq!(tables(&opened.connection), tables(&fresh.connection));
                // A change behind the upgrade is under the seal.
                opened
                    .connection
                    .execute("INSERT OR REPLACE INTO named VALUES (x'01', x'02')", [])
                    .expect("written");
            }
        }
    }

    #[test]
    fn a_file_of_format_1_is_older_than_a_lock_with_a_number() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("old");
        of_format(1, &path);
        std::fs::write(folder.path().join("old.lock"), "00000000000000000007\n").expect("a lock");
        for opened in [Checkpoint::open(&path, "tenant").map(Some), Checkpoint::look(&path)] {
            assert!(matches!(opened, Err(CheckpointError::Older { found: 0, noted: 7, .. })), "{opened:?}");
        }
    }

    /// One customer is told something large, again and again.
    #[test]
    fn the_journal_begins_anew_before_it_is_long() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("checkpoint");
        let mut checkpoint = Checkpoint::open(&path, "tenant").expect("new");
        let told = |row| Acked { row, addresses: vec![AddressHash([7; 8]); 250_000], ..Acked::existing() };
        let mut begun_anew = 0;
        for row in 0..40 {
            let mut batch = checkpoint.batch().expect("a batch");
            batch.told(customer(1), Some(&told(row))).expect("told");
            batch.commit_told().expect("durable");
            begun_anew += u64::from(checkpoint.recent.told.is_empty());
            assert_eq!(checkpoint.lookups().told(customer(1)).expect("sound").expect("known").row, row);
        }
        assert_eq!(begun_anew, 1);
        drop(checkpoint);
        let looked = Checkpoint::look(&path).expect("whole").expect("there");
        assert_eq!(looked.lookups().told(customer(1)).expect("sound"), Some(told(39)));
    }

    /// More customers than the journal takes: they go into blocks, are found
    /// there, and a later change goes before what is in them.
    #[test]
    fn customers_are_found_wherever_they_are() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("checkpoint");
        let key = |number: u64| {
            CustomerKey(*blake3::hash(&number.to_le_bytes()).as_bytes().first_chunk().expect("bytes"))
        };
        let told = |row| Acked { row, ..Acked::existing() };
        let mut checkpoint = Checkpoint::open(&path, "tenant").expect("new");
        let mut write = |from: u64, to: u64, add: u64| {
            let mut batch = checkpoint.batch().expect("a batch");
            (from..to).for_each(|number| batch.told(key(number), Some(&told(number + add))).expect("told"));
            assert_eq!(batch.lookups().told(key(from)).expect("sound"), Some(told(from + add)));
            batch.commit_told().expect("durable");
            assert_eq!(checkpoint.lookups().told(key(from)).expect("sound"), Some(told(from + add)));
        };
        write(0, 20_000, 0);
        write(20_000, 70_000, 0);
        write(10, 20, 7);
        let mut batch = checkpoint.batch().expect("a batch");
        batch.told(key(5), None).expect("told");
        batch.commit_told().expect("durable");
        let check = |checkpoint: &Checkpoint| {
            assert_eq!(checkpoint.totals().expect("totals").customers, 69_999);
            let keys: Vec<_> = (0..70_010).map(|number| Some(key(number))).collect();
            let found = checkpoint.lookups().told_of_all(&keys).expect("sound");
            for (number, found) in (0..).zip(found) {
                let expected = match number {
                    5 | 70_000.. => None,
                    10..20 => Some(told(number + 7)),
                    _ => Some(told(number)),
                };
                assert_eq!(found, expected, "customer {number}");
            }
        };
        check(&checkpoint);
        assert!(checkpoint.customers >= 70_000 && checkpoint.recent.told.len() == 11, "in blocks and beside");
        drop(checkpoint);
        check(&Checkpoint::look(&path).expect("whole").expect("there"));
        check(&Checkpoint::open(&path, "tenant").expect("whole"));
    }

    #[test]
    fn every_table_is_under_the_seal() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("checkpoint");
        drop(Checkpoint::open(&path, "tenant").expect("new"));
        let connection = Connection::open(&path).expect("a database");
        for table in tables(&connection) {
            let columns: i64 = connection
                .query_row("SELECT count(*) FROM pragma_table_info(?)", [&table], |row| row.get(0))
                .expect("columns");
            let values = vec!["77"; columns as usize].join(", ");
            connection.execute(&format!("INSERT INTO {table} VALUES ({values})"), []).expect("a row");
            let opened = Checkpoint::look(&path);
            assert!(matches!(opened, Err(CheckpointError::Damaged { .. })), "{table}");
            let first: String = connection
                .query_row("SELECT name FROM pragma_table_info(?) WHERE cid = 0", [&table], |row| row.get(0))
                .expect("a column");
            connection.execute(&format!("DELETE FROM {table} WHERE {first} = 77"), []).expect("deleted");
            Checkpoint::look(&path).expect("as before");
        }
    }

    #[test]
    fn a_later_format_is_refused_and_left_as_it_is() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("checkpoint");
        drop(Checkpoint::open(&path, "tenant").expect("new"));
        let raw = Connection::open(&path).expect("a database");
        raw.execute_batch(&format!("PRAGMA user_version = {}", FORMAT + 1)).expect("written");
        drop(raw);
        let before = std::fs::read(&path).expect("a file");
        for opened in [Checkpoint::open(&path, "tenant").map(Some), Checkpoint::look(&path)] {
            match opened {
                Err(CheckpointError::Newer { found, known, .. }) => {
                    assert_eq!((found, known), (FORMAT + 1, FORMAT));
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(std::fs::read(&path).expect("a file"), before);
    }
}
