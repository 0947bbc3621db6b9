//! The file itself: making it, and whether it can be trusted.

use std::cell::Cell;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, params};

use super::CheckpointError;
use super::lock::{self, Lock};
use super::{blocks, checksum, format};

/// "omds": tells the file from any other SQLite database.
pub(super) const APPLICATION_ID: i64 = 0x6f6d_6473;
pub(super) const FORMAT: i64 = 3;
/// The first format that there was.
const FORMAT_MIN: i64 = 1;

/// Up to this size the whole file is checked when it is opened for writing;
/// beyond it, that would take longer than a night's changes.
const CHECKED_BYTES_MAX: u64 = 64 << 20;

/// Each table is under the seal too (`seal`).
pub(super) const SCHEMA: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE export (fingerprint BLOB PRIMARY KEY, id INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE run (id INTEGER PRIMARY KEY, export INTEGER NOT NULL, plan BLOB NOT NULL, record BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE worklist (run INTEGER PRIMARY KEY, list BLOB NOT NULL);
    CREATE TABLE unfinished (run INTEGER NOT NULL, row INTEGER NOT NULL, PRIMARY KEY (run, row)) WITHOUT ROWID;
";

/// What a file has besides since format 2.
pub(super) const SCHEMA_2: &str = "
    CREATE TABLE commits (only INTEGER PRIMARY KEY, count INTEGER NOT NULL);
    INSERT INTO commits VALUES (0, 0);
    CREATE TABLE named (key BLOB PRIMARY KEY, name BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE missing (nth INTEGER PRIMARY KEY, key BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE missing_run (run INTEGER PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE seen (run INTEGER PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE gone (customer INTEGER NOT NULL, address INTEGER NOT NULL, PRIMARY KEY (customer, address)) WITHOUT ROWID;
";

/// What it has besides since format 3.
pub(super) const SCHEMA_3: &str = "
    CREATE TABLE customers (first INTEGER PRIMARY KEY, block BLOB NOT NULL);
    CREATE TABLE journal (nth INTEGER PRIMARY KEY, changes BLOB NOT NULL);
";

/// The file itself, beside what is in it.
#[derive(Debug)]
pub(super) struct CheckpointFile {
    pub(super) path: PathBuf,
    /// Device and inode: which file it is, whatever has its name by now.
    identity: (u64, u64),
    /// Of the one who writes.
    lock: Option<Lock>,
    /// The last commit has failed, or is under way.
    has_failed: Cell<bool>,
}

/// A file that can be trusted: whole, ours, and with all commits in it.
pub(super) struct VerifiedFile {
    pub(super) connection: Connection,
    pub(super) place: CheckpointFile,
    pub(super) format: i64,
    /// In blocks.
    pub(super) customers: u64,
}

impl VerifiedFile {
    pub(super) fn open(path: &Path, lock: Option<Lock>) -> Result<Self, CheckpointError> {
        let wrong = |source| explain(path, source);
        // Before the database: a run that goes on meanwhile only adds to it.
        let noted = lock::noted(path);
        let file = std::fs::metadata(path)
            .map_err(|source| CheckpointError::Io { path: path.to_owned(), source })?;
        if file.len() == 0 {
            return Err(damaged(path, "it is empty"));
        }
        // Reading a database in WAL mode may have to mend it, so it is opened
        // for writing also by those who only look.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(wrong)?;
        connection.busy_timeout(std::time::Duration::from_secs(10)).map_err(wrong)?;
        let pragma = |name| {
            connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0)).map_err(wrong)
        };
        if pragma("application_id")? != APPLICATION_ID {
            return Err(foreign(path));
        }
        if lock.is_none() {
            // One snapshot for all that follows: another process may be writing.
            connection.execute_batch("BEGIN").map_err(wrong)?;
        }
        let format = pragma("user_version")?;
        if format > FORMAT {
            return Err(CheckpointError::Newer { path: path.to_owned(), found: format, known: FORMAT });
        }
        if format < FORMAT_MIN {
            return Err(damaged(path, "no version of this program has written such a format"));
        }
        let customers = checksum::holds(&connection)
            .map_err(wrong)?
            .ok_or_else(|| damaged(path, "its rows are not those that were written"))?;
        let found = commits(&connection, format).map_err(wrong)?;
        if found < noted {
            let (path, lock) = (path.to_owned(), lock::beside(path));
            return Err(CheckpointError::Older { path, lock, found, noted });
        }
        let identity = (file.dev(), file.ino());
        let place = CheckpointFile { path: path.to_owned(), identity, lock, has_failed: Cell::new(false) };
        Ok(Self { connection, place, format, customers })
    }

    pub(super) fn check_tenant(&self, wanted: &str) -> Result<(), CheckpointError> {
        check_tenant(&self.connection, &self.place.path, wanted)
    }

    pub(super) fn check_whole(&self) -> Result<(), CheckpointError> {
        let path = &self.place.path;
        if std::fs::metadata(path).map_or(0, |meta| meta.len()) > CHECKED_BYTES_MAX {
            return Ok(());
        }
        let said: String = self
            .connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(|source| explain(path, source))?;
        if said == "ok" { Ok(()) } else { Err(damaged(path, &said)) }
    }

    /// Prepares it to be written.
    pub(super) fn configure(&self) -> Result<(), CheckpointError> {
        let path = &self.place.path;
        let io = |source| CheckpointError::Io { path: path.clone(), source };
        if !into_wal(&self.connection).map_err(|source| explain(path, source))? {
            return Err(io(std::io::Error::other("it cannot have a write-ahead log")));
        }
        // The log is there now. SQLite would sync its name as well, but does
        // not look whether that worked.
        sync_folder(path).map_err(io)?;
        self.connection
            .execute_batch("PRAGMA synchronous = FULL; PRAGMA cache_size = -8192; PRAGMA secure_delete = ON;")
            .and_then(|()| self.connection.execute_batch(checksum::PRAGMAS))
            // Until it has ended well.
            .and_then(|()| merges_on_close(&self.connection, false).map(drop))
            .map_err(|source| explain(path, source))
    }
}

pub(super) fn check_tenant(
    connection: &Connection,
    path: &Path,
    wanted: &str,
) -> Result<(), CheckpointError> {
    let found = tenant(connection, path)?;
    if found == wanted {
        return Ok(());
    }
    Err(CheckpointError::OtherTenant { path: path.to_owned(), found, wanted: wanted.to_owned() })
}

pub(super) fn tenant(connection: &Connection, path: &Path) -> Result<String, CheckpointError> {
    let tenant: Vec<u8> = meta(connection, "tenant").map_err(|source| explain(path, source))?;
    String::from_utf8(tenant).map_err(|_| damaged(path, "its tenant is no text"))
}

pub(super) fn decoded<T: serde::de::DeserializeOwned>(
    path: &Path,
    place: &[u8],
    bytes: &[u8],
) -> Result<T, CheckpointError> {
    format::decode(place, bytes).ok_or_else(|| damaged_record(path))
}

pub(super) fn damaged_record(path: &Path) -> CheckpointError {
    damaged(path, "a record does not match its check value")
}

pub(super) fn damaged(path: &Path, what: &str) -> CheckpointError {
    CheckpointError::Damaged { path: path.to_owned(), what: what.to_owned() }
}

pub(super) fn meta(connection: &Connection, name: &str) -> rusqlite::Result<Vec<u8>> {
    connection.query_row("SELECT value FROM meta WHERE name = ?", [name], |row| row.get(0))
}

/// Makes the file under another name first, so that one which has the name is
/// whole.
pub(super) fn create(path: &Path, tenant: &str) -> Result<(), CheckpointError> {
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
        "BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; {SCHEMA} {SCHEMA_2} {SCHEMA_3}"
    ))?;
    blocks::create(&connection)?;
    connection.execute("INSERT INTO meta VALUES ('hash_key', ?)", params![secret])?;
    connection.execute("INSERT INTO meta VALUES ('tenant', ?)", params![tenant.as_bytes()])?;
    checksum::set(&connection)?;
    connection.execute_batch("COMMIT")?;
    // Whether that worked is looked at when the file is opened.
    into_wal(&connection)?;
    connection.close().map_err(|(_, error)| error)
}

impl CheckpointFile {
    pub(super) fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// Makes the changes of an open transaction durable.
    pub(super) fn commit(&self, connection: &Connection) -> Result<(), CheckpointError> {
        // Into a file that has no name any more, everything could be written, and
        // the next run would know nothing of it.
        let is_there =
            std::fs::metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.identity);
        if !is_there {
            return Err(damaged(&self.path, "it was taken away or replaced while this run had it open"));
        }
        self.has_failed.set(true);
        let commits = counted_commit(connection).map_err(|source| explain(&self.path, source))?;
        self.has_failed.set(false);
        if let Some(lock) = &self.lock {
            lock.note(commits);
        }
        Ok(())
    }

    /// Before a connection is closed that has written: its log is merged into
    /// the file. But a failed sync is not tried again, since the kernel may
    /// have dropped what it could not write.
    pub(super) fn close(&self, connection: &Connection) {
        if self.is_locked() && !self.has_failed.get() {
            // If not, the next one who opens it does it.
            let _ = merges_on_close(connection, true);
        }
    }
}

fn counted_commit(connection: &Connection) -> rusqlite::Result<u64> {
    let commits = connection
        .prepare_cached("UPDATE commits SET count = count + 1 RETURNING count")?
        .query_row([], |row| row.get::<_, i64>(0))?;
    connection.prepare_cached("COMMIT")?.raw_execute()?;
    Ok(commits.cast_unsigned())
}

/// Whether the log is merged into the file when the connection is closed.
fn merges_on_close(connection: &Connection, merges: bool) -> rusqlite::Result<bool> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !merges)
}

/// How often it was written. Files of format 1 do not say, and nobody noted it
/// then: where a number is noted, such a file is older than its lock.
fn commits(connection: &Connection, format: i64) -> rusqlite::Result<u64> {
    if format < 2 {
        return Ok(0);
    }
    connection.query_row("SELECT count FROM commits", [], |row| row.get(0)).map(i64::cast_unsigned)
}

/// What begins otherwise: a checkpoint no more, if one was written here.
fn foreign(path: &Path) -> CheckpointError {
    let path = path.to_owned();
    match lock::noted(&path) {
        0 => CheckpointError::Foreign { path },
        _ => CheckpointError::Damaged { path, what: "its beginning is not that of a checkpoint".to_owned() },
    }
}

/// Tells damage from other trouble.
pub(super) fn explain(path: &Path, source: rusqlite::Error) -> CheckpointError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(NotADatabase) => foreign(&path),
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
