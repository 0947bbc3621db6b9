//! The file: opening, trusting, looking up.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::CheckpointError;
use super::lock::{self, Lock};
use super::lookups::Lookups;
use super::records::{self, RunRecord};
use super::seal;
use crate::planning::{Flight, HashKey, Told};
use crate::source::Fingerprint;

/// "omds": tells the file from any other SQLite database.
const APPLICATION_ID: i64 = 0x6f6d_6473;
const FORMAT: i64 = 2;
/// The first format that there was.
const FORMAT_MIN: i64 = 1;

/// Up to this size the whole file is checked when it is opened for writing;
/// beyond it, that would take longer than a night's changes.
const CHECKED_BYTES_MAX: u64 = 64 << 20;

const SCHEMA: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE export (fingerprint BLOB PRIMARY KEY, id INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE run (id INTEGER PRIMARY KEY, export INTEGER NOT NULL, plan BLOB NOT NULL, record BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE worklist (run INTEGER PRIMARY KEY, list BLOB NOT NULL);
    CREATE TABLE customer (key BLOB PRIMARY KEY, told BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE flight (key BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE progress (row INTEGER PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE ahead (row INTEGER PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE unfinished (run INTEGER NOT NULL, row INTEGER NOT NULL, PRIMARY KEY (run, row)) WITHOUT ROWID;
";

/// What format 2 has besides: a new file gets both, a file of format 1 this.
/// Each table is under the seal too (`seal::TABLES_2`).
pub(super) const SCHEMA_2: &str = "
    CREATE TABLE commits (only INTEGER PRIMARY KEY, count INTEGER NOT NULL);
    INSERT INTO commits VALUES (0, 0);
    CREATE TABLE named (key BLOB PRIMARY KEY, name BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE missing (nth INTEGER PRIMARY KEY, key BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE missing_run (run INTEGER PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE seen (run INTEGER PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE gone (customer INTEGER NOT NULL, address INTEGER NOT NULL, PRIMARY KEY (customer, address)) WITHOUT ROWID;
";

/// An open checkpoint.
#[derive(Debug)]
pub struct Checkpoint {
    pub(super) connection: Connection,
    /// Of the file as it is; one that is only looked at may have an older.
    pub(super) format: i64,
    pub(super) place: Place,
    key: HashKey,
}

/// The file itself, beside what is in it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    /// Device and inode: which file it is, whatever has its name by now.
    identity: (u64, u64),
    /// Of the one who writes.
    lock: Option<Lock>,
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
        let io = |source| CheckpointError::Io { path: path.to_owned(), source };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(io)?;
        }
        let lock = Lock::take(path)?;
        if !path.try_exists().map_err(io)? {
            // Of the one that was here before.
            lock.note(0);
            create(path, tenant)?;
        }
        let mut checkpoint = Self::existing(path, OpenFlags::SQLITE_OPEN_READ_WRITE, Some(lock))?;
        checkpoint.check_tenant(tenant)?;
        checkpoint.check_whole()?;
        checkpoint.configure()?;
        Ok(checkpoint)
    }

    /// Opens the checkpoint for looking only; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn look(path: &Path) -> Result<Option<Self>, CheckpointError> {
        match path.try_exists() {
            Ok(false) => Ok(None),
            // Reading a database in WAL mode may have to mend it, so it is
            // opened for writing; no statement of ours writes.
            Ok(true) => Self::existing(path, OpenFlags::SQLITE_OPEN_READ_WRITE, None).map(Some),
            Err(source) => Err(CheckpointError::Io { path: path.to_owned(), source }),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    /// The key of its hashes.
    #[must_use]
    pub fn key(&self) -> HashKey {
        self.key
    }

    fn existing(path: &Path, flags: OpenFlags, lock: Option<Lock>) -> Result<Self, CheckpointError> {
        let wrong = |source| explain(path, source);
        // Before the database: a run that goes on meanwhile only adds to it.
        let noted = lock::noted(path);
        let file = std::fs::metadata(path)
            .map_err(|source| CheckpointError::Io { path: path.to_owned(), source })?;
        if file.len() == 0 {
            return Err(CheckpointError::Damaged { path: path.to_owned(), what: "it is empty".to_owned() });
        }
        let connection =
            Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(wrong)?;
        connection.busy_timeout(std::time::Duration::from_secs(10)).map_err(wrong)?;
        let pragma = |name| {
            connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0)).map_err(wrong)
        };
        if pragma("application_id")? != APPLICATION_ID {
            return Err(CheckpointError::Foreign { path: path.to_owned() });
        }
        let found = pragma("user_version")?;
        if found > FORMAT {
            return Err(CheckpointError::Newer { path: path.to_owned(), found, known: FORMAT });
        }
        let damaged = |what: &str| CheckpointError::Damaged { path: path.to_owned(), what: what.to_owned() };
        if found < FORMAT_MIN {
            return Err(damaged("no version of this program has written such a format"));
        }
        if !seal::holds(&connection).map_err(wrong)? {
            return Err(damaged("its rows are not those that were written"));
        }
        let commits = commits(&connection, found).map_err(wrong)?;
        if commits < noted {
            let (path, lock) = (path.to_owned(), lock::beside(path));
            return Err(CheckpointError::Older { path, lock, found: commits, noted });
        }
        let key: Vec<u8> = meta(&connection, "hash_key").map_err(wrong)?;
        let key = <[u8; 32]>::try_from(key.as_slice()).map_err(|_| damaged("its hash key is cut"))?;
        let place = Place { path: path.to_owned(), identity: (file.dev(), file.ino()), lock };
        Ok(Self { connection, format: found, place, key: HashKey::new(key) })
    }

    /// Whether it belongs to the tenant `wanted`.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::OtherTenant`] if it does not.
    pub fn check_tenant(&self, wanted: &str) -> Result<(), CheckpointError> {
        let found = self.tenant()?;
        if found == wanted {
            return Ok(());
        }
        Err(CheckpointError::OtherTenant { path: self.place.path.clone(), found, wanted: wanted.to_owned() })
    }

    /// Whose checkpoint it is.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn tenant(&self) -> Result<String, CheckpointError> {
        let tenant: Vec<u8> = meta(&self.connection, "tenant").map_err(|source| self.explain(source))?;
        String::from_utf8(tenant).map_err(|_| self.damaged("its tenant is no text"))
    }

    fn check_whole(&self) -> Result<(), CheckpointError> {
        if std::fs::metadata(&self.place.path).map_or(0, |meta| meta.len()) > CHECKED_BYTES_MAX {
            return Ok(());
        }
        let said: String = self
            .connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(|source| self.explain(source))?;
        if said == "ok" { Ok(()) } else { Err(self.damaged(&said)) }
    }

    fn configure(&mut self) -> Result<(), CheckpointError> {
        let io = |source| CheckpointError::Io { path: self.place.path.clone(), source };
        if !into_wal(&self.connection).map_err(|source| self.explain(source))? {
            return Err(io(std::io::Error::other("it cannot have a write-ahead log")));
        }
        // The log is there now. SQLite would sync its name as well, but does
        // not look whether that worked.
        sync_folder(&self.place.path).map_err(io)?;
        self.connection
            .execute_batch("PRAGMA synchronous = FULL; PRAGMA cache_size = -8192; PRAGMA secure_delete = ON;")
            .and_then(|()| self.connection.execute_batch(seal::PRAGMAS))
            .map_err(|source| self.explain(source))?;
        if self.format == FORMAT {
            seal::keep(&self.connection).map_err(|source| self.explain(source))?;
        } else {
            self.upgrade()?;
        }
        self.connection.set_prepared_statement_cache_capacity(32);
        Ok(())
    }

    /// Brings a file of an earlier format to this one, all of it or nothing:
    /// the version is in the same transaction.
    fn upgrade(&mut self) -> Result<(), CheckpointError> {
        let Self { connection, place, format, .. } = self;
        let wrong = |source| explain(&place.path, source);
        let transaction = connection.transaction().map_err(wrong)?;
        transaction
            .execute_batch(&format!("{SCHEMA_2} PRAGMA user_version = {FORMAT};"))
            .and_then(|()| seal::renew(&transaction))
            .and_then(|()| seal::keep(&transaction))
            .map_err(wrong)?;
        place.commit(&transaction)?;
        *format = FORMAT;
        Ok(())
    }

    pub(super) fn explain(&self, source: rusqlite::Error) -> CheckpointError {
        explain(&self.place.path, source)
    }

    pub(super) fn damaged(&self, what: &str) -> CheckpointError {
        CheckpointError::Damaged { path: self.place.path.clone(), what: what.to_owned() }
    }

    /// The ordinal of an export, the same for the same content.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn export_ordinal(&self, fingerprint: &Fingerprint) -> Result<Option<u32>, CheckpointError> {
        self.connection
            .query_row("SELECT id FROM export WHERE fingerprint = ?", [fingerprint.0], |row| row.get(0))
            .optional()
            .map_err(|source| self.explain(source))
    }

    /// Looking things up.
    #[must_use]
    pub fn lookups(&self) -> Lookups<'_> {
        Lookups { connection: &self.connection, path: &self.place.path }
    }

    pub(super) fn decoded<T: serde::de::DeserializeOwned>(
        &self,
        place: &[u8],
        bytes: &[u8],
    ) -> Result<T, CheckpointError> {
        decoded(&self.place.path, place, bytes)
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
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn in_doubt(&self) -> Result<u64, CheckpointError> {
        let mut in_doubt = 0;
        self.each("SELECT key, record FROM flight", |key, bytes| {
            let flight: Flight = self.decoded(key, bytes)?;
            in_doubt += u64::from(!flight.kind().is_repeatable());
            Ok(())
        })?;
        Ok(in_doubt)
    }

    /// Customers known, purged and in doubt.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn totals(&self) -> Result<Totals, CheckpointError> {
        let mut totals = Totals { customers: 0, purged: 0, in_doubt: self.in_doubt()? };
        self.each("SELECT key, told FROM customer", |key, bytes| {
            totals.customers += 1;
            totals.purged += u64::from(self.decoded::<Told>(key, bytes)?.purged);
            Ok(())
        })?;
        Ok(totals)
    }

    fn each(
        &self,
        sql: &str,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), CheckpointError>,
    ) -> Result<(), CheckpointError> {
        let mut statement = self.connection.prepare(sql).map_err(|source| self.explain(source))?;
        let mut rows = statement.query([]).map_err(|source| self.explain(source))?;
        while let Some(row) = rows.next().map_err(|source| self.explain(source))? {
            let blob = |at| {
                row.get_ref(at).and_then(|value| Ok(value.as_blob()?)).map_err(|source| self.explain(source))
            };
            visit(blob(0)?, blob(1)?)?;
        }
        Ok(())
    }
}

pub(super) fn decoded<T: serde::de::DeserializeOwned>(
    path: &Path,
    place: &[u8],
    bytes: &[u8],
) -> Result<T, CheckpointError> {
    records::decode(place, bytes).ok_or_else(|| CheckpointError::Damaged {
        path: path.to_owned(),
        what: "a record does not match its check value".to_owned(),
    })
}

fn meta(connection: &Connection, name: &str) -> rusqlite::Result<Vec<u8>> {
    connection.query_row("SELECT value FROM meta WHERE name = ?", [name], |row| row.get(0))
}

/// Makes the file under another name first, so that one which has the name is
/// whole.
fn create(path: &Path, tenant: &str) -> Result<(), CheckpointError> {
    let io = |source| CheckpointError::Io { path: path.to_owned(), source };
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    // SQLite would take these for the new file's own.
    for ending in ["-wal", "-shm"] {
        if beside(ending).try_exists().map_err(io)? {
            let what = format!("{} is there without it; they belong together", beside(ending).display());
            return Err(CheckpointError::Damaged { path: path.to_owned(), what });
        }
    }
    let new = beside(".new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(io)?;
    let mut secret = [0; 32];
    std::fs::File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut secret)).map_err(io)?;
    fill(&new, tenant, &secret).map_err(|source| explain(path, source))?;
    std::fs::File::open(&new).and_then(|file| file.sync_all()).map_err(io)?;
    std::fs::rename(&new, path).map_err(io)?;
    sync_folder(path).map_err(io)
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder).and_then(|folder| folder.sync_all())
}

/// What stands in the way is told by another mode, not by an error.
fn into_wal(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA journal_mode = WAL", [], |row| Ok(row.get::<_, String>(0)? == "wal"))
}

fn fill(path: &Path, tenant: &str, secret: &[u8; 32]) -> rusqlite::Result<()> {
    let connection = Connection::open(path)?;
    // The file gets its name when it is whole and synced: until then there is
    // nothing to go back to.
    connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY;")?;
    connection.execute_batch(&format!(
        "BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; {SCHEMA} {SCHEMA_2}"
    ))?;
    connection.execute("INSERT INTO meta VALUES ('hash_key', ?)", params![secret])?;
    connection.execute("INSERT INTO meta VALUES ('tenant', ?)", params![tenant.as_bytes()])?;
    seal::set(&connection)?;
    connection.execute_batch("COMMIT")?;
    // Whether that worked is looked at when the file is opened.
    into_wal(&connection)?;
    connection.close().map_err(|(_, error)| error)
}

impl Place {
    /// Makes the changes of an open transaction durable.
    pub(super) fn commit(&self, connection: &Connection) -> Result<(), CheckpointError> {
        // Into a file that has no name any more, everything could be written, and
        // the next run would know nothing of it.
        let is_there =
            std::fs::metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.identity);
        if !is_there {
            let what = "it was taken away or replaced while this run had it open".to_owned();
            return Err(CheckpointError::Damaged { path: self.path.clone(), what });
        }
        let commits = counted_commit(connection).map_err(|source| explain(&self.path, source))?;
        if let Some(lock) = &self.lock {
            lock.note(commits);
        }
        Ok(())
    }
}

fn counted_commit(connection: &Connection) -> rusqlite::Result<u64> {
    // A failed sync is not tried again, since the kernel may have dropped what
    // it could not write; without this, closing would sync once more.
    let on_close =
        |writes: bool| connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !writes);
    let commits = connection
        .prepare_cached("UPDATE commits SET count = count + 1 RETURNING count")?
        .query_row([], |row| row.get::<_, i64>(0))?;
    on_close(false)?;
    connection.execute_batch("COMMIT")?;
    on_close(true)?;
    Ok(commits.cast_unsigned())
}

/// How often it was written; files of format 1 do not say.
fn commits(connection: &Connection, format: i64) -> rusqlite::Result<u64> {
    if format < 2 {
        return Ok(u64::MAX);
    }
    connection.query_row("SELECT count FROM commits", [], |row| row.get(0)).map(i64::cast_unsigned)
}

/// Tells damage from other trouble.
pub(super) fn explain(path: &Path, source: rusqlite::Error) -> CheckpointError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(NotADatabase) => CheckpointError::Foreign { path },
        Some(DatabaseCorrupt) => CheckpointError::Damaged { path, what: source.to_string() },
        _ if matches!(
            source,
            rusqlite::Error::QueryReturnedNoRows | rusqlite::Error::InvalidColumnType(..)
        ) =>
        {
            CheckpointError::Damaged { path, what: source.to_string() }
        }
        _ => CheckpointError::Database { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_waits_for_the_disk() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let checkpoint = Checkpoint::open(&folder.path().join("checkpoint"), "tenant").expect("new");
        let pragma = |sql| checkpoint.connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        // 2 is FULL.
        assert_eq!(pragma("PRAGMA synchronous").expect("a number"), 2);
    }

    /// As the first version of the program made them, with one run in it.
    fn of_format_1(path: &Path) {
        let connection = Connection::open(path).expect("a file");
        let run = records::encode(&1_i64.to_le_bytes(), &RunRecord::adopted("2026-11-01T00:00:00Z"));
        connection
            .execute_batch(&format!(
                "PRAGMA journal_mode = WAL; BEGIN; PRAGMA application_id = {APPLICATION_ID};
                 PRAGMA user_version = 1; {SCHEMA}
                 INSERT INTO meta VALUES ('hash_key', x'{}'), ('tenant', CAST('tenant' AS BLOB));
                 INSERT INTO export VALUES (x'{}', 1);",
                "07".repeat(32),
                "08".repeat(32)
            ))
            .and_then(|()| connection.execute("INSERT INTO run VALUES (1, 1, x'00', ?)", [run]))
            .expect("tables");
        seal::set(&connection).expect("a seal");
        connection.execute_batch("COMMIT").expect("a commit");
    }

    fn tables(connection: &Connection) -> Vec<String> {
        let mut statement =
            connection.prepare("SELECT name FROM sqlite_schema ORDER BY name").expect("a schema");
        let names = statement.query_map([], |row| row.get(0)).expect("names");
        names.collect::<Result<_, _>>().expect("names")
    }

    #[test]
    fn a_file_of_format_1_is_looked_at_as_it_is_and_upgraded_when_it_is_written() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        of_format_1(&old);
        let before = std::fs::read(&old).expect("a file");
        let looked = Checkpoint::look(&old).expect("whole").expect("there");
        assert_eq!(looked.format, 1);
        assert_eq!(looked.runs(9).expect("runs").len(), 1);
        assert_eq!(looked.totals().expect("totals").customers, 0);
        // What only format 2 has is not there, which is no error.
        assert_eq!(looked.named(crate::planning::CustomerKey([7; 16])).expect("no names"), None);
        assert_eq!(looked.missing_of(1).expect("nobody was missing"), None);
        assert!(looked.seen(1).expect("nothing was seen").is_none());
        assert!(looked.past().expect("a past").gone.is_empty());
        let unmet = looked.unmet(|_| false, &std::collections::BTreeSet::new()).expect("nobody");
        assert_eq!(unmet.missing.found, 0);
        drop(looked);
        assert_eq!(std::fs::read(&old).expect("a file"), before, "looking has changed it");

        for _ in 0..2 {
            let opened = Checkpoint::open(&old, "tenant").expect("upgraded");
            assert_eq!(opened.format, FORMAT);
            assert_eq!(opened.runs(9).expect("runs").len(), 1, "what was in it is in it");
            let fresh = Checkpoint::open(&new, "tenant").expect("new");
            assert_eq!(tables(&opened.connection), tables(&fresh.connection));
            // A change behind the upgrade is under the seal.
            opened
                .connection
                .execute("INSERT OR REPLACE INTO named VALUES (x'01', x'02')", [])
                .expect("written");
        }
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
