//! The file itself: making it, and whether it can be trusted.

use std::cell::Cell;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, params};

use super::error::CheckpointError;
use super::format::{APPLICATION_ID, FORMAT, PRE_RELEASE_ID, SCHEMA};
use super::lock::{self, Lock};
use super::{blocks, checksum};

/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// The file, beside what is in it.
#[derive(Debug)]
pub(super) struct CheckpointFile {
    pub(super) path: PathBuf,
    /// Device and inode: which file it is, whatever has its name by now.
    identity: (u64, u64),
    /// Held by the one who writes.
    lock: Option<Lock>,
    /// The last commit has failed, or is under way.
    has_failed: Cell<bool>,
}

/// A file that can be trusted: whole, ours, and with all commits in it.
pub(super) struct VerifiedFile {
    pub(super) connection: Connection,
    pub(super) file: CheckpointFile,
    /// In blocks.
    pub(super) customers: u64,
}

impl VerifiedFile {
    pub(super) fn open(path: &Path, lock: Option<Lock>) -> Result<Self, CheckpointError> {
        let sqlite_error = |source| CheckpointError::from_sqlite(path, source);
        // Before the database: a run that goes on meanwhile only adds to it.
        let noted = lock::noted(path);
        let file = std::fs::metadata(path).map_err(|source| CheckpointError::io(path, source))?;
        if file.len() == 0 {
            return Err(CheckpointError::damaged(path, "it is empty"));
        }
        let connection = connect(path).map_err(sqlite_error)?;
        let pragma = |name| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
        match pragma("application_id") {
            Ok(APPLICATION_ID) => {}
            Ok(PRE_RELEASE_ID) => return Err(CheckpointError::PreRelease { path: path.to_owned() }),
            Err(error) if error.sqlite_error_code() != Some(rusqlite::ErrorCode::NotADatabase) => {
                return Err(sqlite_error(error));
            }
            // A checkpoint no more, if one was written here.
            _ if noted > 0 => {
                return Err(CheckpointError::damaged(path, "its beginning is not that of a checkpoint"));
            }
            _ => return Err(CheckpointError::Foreign { path: path.to_owned() }),
        }
        if lock.is_none() {
            // One snapshot for all that follows: another process may be writing.
            connection.execute_batch("BEGIN").map_err(sqlite_error)?;
        }
        match pragma("user_version").map_err(sqlite_error)? {
            FORMAT => {}
            found if found > FORMAT => return Err(CheckpointError::Newer { path: path.to_owned(), found }),
            _ => {
                return Err(CheckpointError::damaged(
                    path,
                    "no version of this program has written its format",
                ));
            }
        }
        let customers = checksum::verify(&connection)
            .map_err(sqlite_error)?
            .ok_or_else(|| CheckpointError::damaged(path, "its rows are not those that were written"))?;
        let found: i64 =
            connection.query_row("SELECT count FROM commits", [], |row| row.get(0)).map_err(sqlite_error)?;
        if found.cast_unsigned() < noted {
            let (path, lock, found) = (path.to_owned(), lock::beside(path), found.cast_unsigned());
            return Err(CheckpointError::CommitsLost { path, lock, found, noted });
        }
        let identity = (file.dev(), file.ino());
        let file = CheckpointFile { path: path.to_owned(), identity, lock, has_failed: Cell::new(false) };
        Ok(Self { connection, file, customers })
    }

    /// Prepares it to be written.
    pub(super) fn configure(&self) -> Result<(), CheckpointError> {
        let path = &self.file.path;
        let sqlite_error = |source| CheckpointError::from_sqlite(path, source);
        if !switch_to_wal(&self.connection).map_err(sqlite_error)? {
            let error = std::io::Error::other("it cannot have a write-ahead log");
            return Err(CheckpointError::io(path, error));
        }
        // The log is there now. SQLite would sync its name as well, but ignores
        // whether that worked.
        sync_folder(path).map_err(|source| CheckpointError::io(path, source))?;
        self.connection
            .execute_batch("PRAGMA synchronous = FULL; PRAGMA cache_size = -8192; PRAGMA secure_delete = ON;")
            .and_then(|()| self.connection.execute_batch(checksum::PRAGMAS))
            .and_then(|()| checksum::maintain(&self.connection))
            // Until the run has ended well.
            .and_then(|()| set_log_on_close(&self.connection, LogOnClose::Keep))
            .map_err(sqlite_error)
    }
}

/// Reading a database in WAL mode may have to recover it, so it is opened for
/// writing also by those who only read.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Another connection to the same file, to read beside the one that writes.
pub(super) fn connect_beside(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path)?;
    set_log_on_close(&connection, LogOnClose::Keep)?;
    Ok(connection)
}

pub(super) fn read_meta(connection: &Connection, name: &str) -> rusqlite::Result<Vec<u8>> {
    connection.query_row("SELECT value FROM meta WHERE name = ?", [name], |row| row.get(0))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Makes the file under another name first, so that a file with the name is
/// always whole.
pub(super) fn create(path: &Path, tenant: &str) -> Result<(), CheckpointError> {
    let io = |source| CheckpointError::io(path, source);
    // SQLite would take these for the new file's own.
    for stray in ["-wal", "-shm"].map(|ending| beside(path, ending)) {
        if stray.try_exists().map_err(io)? {
            let problem = format!("{} is there without it; they belong together", stray.display());
            return Err(CheckpointError::damaged(path, problem));
        }
    }
    let new = beside(path, ".new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(io)?;
    let mut hash_key = [0; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut hash_key))
        .map_err(io)?;
    fill(&new, tenant, &hash_key).map_err(|source| CheckpointError::from_sqlite(path, source))?;
    std::fs::File::open(&new).and_then(|file| file.sync_all()).map_err(io)?;
    std::fs::rename(&new, path).map_err(io)?;
    sync_folder(path).map_err(io)
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder).and_then(|folder| folder.sync_all())
}

/// Whether it worked: SQLite answers with another mode, not with an error.
fn switch_to_wal(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA journal_mode = WAL", [], |row| Ok(row.get::<_, String>(0)? == "wal"))
}

fn fill(path: &Path, tenant: &str, hash_key: &[u8; 32]) -> rusqlite::Result<()> {
    let connection = Connection::open(path)?;
    // The file gets its name when it is whole and synced: until then there is
    // nothing to go back to.
    connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY;")?;
    connection.execute_batch(&format!(
        "BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; {SCHEMA}"
    ))?;
    blocks::create(&connection)?;
    connection.execute("INSERT INTO meta VALUES ('hash_key', ?)", params![hash_key])?;
    connection.execute("INSERT INTO meta VALUES ('tenant', ?)", params![tenant.as_bytes()])?;
    checksum::write(&connection)?;
    connection.execute_batch("COMMIT")?;
    // Whether that worked is checked when the file is opened.
    switch_to_wal(&connection)?;
    connection.close().map_err(|(_, error)| error)
}

impl CheckpointFile {
    pub(super) fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    pub(super) fn sqlite_error(&self, source: rusqlite::Error) -> CheckpointError {
        CheckpointError::from_sqlite(&self.path, source)
    }

    /// Makes the changes of an open transaction durable.
    pub(super) fn commit(&self, connection: &Connection) -> Result<(), CheckpointError> {
        // Into a file that has no name any more, everything could be written, and
        // the next run would know nothing of it.
        let is_there =
            std::fs::metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.identity);
        if !is_there {
            let problem = "it was taken away or replaced while this run had it open";
            return Err(CheckpointError::damaged(&self.path, problem));
        }
        self.has_failed.set(true);
        let commits = commit_and_count(connection).map_err(|source| self.sqlite_error(source))?;
        self.has_failed.set(false);
        if let Some(lock) = &self.lock {
            lock.note(commits);
        }
        Ok(())
    }

    /// Before a connection is closed that has written: its log is merged into
    /// the file. A failed sync is not tried again, since the kernel may have
    /// dropped what it could not write.
    pub(super) fn close(&self, connection: &Connection) {
        if self.is_locked() && !self.has_failed.get() {
            // If not, the next one who opens it does it.
            let _ = set_log_on_close(connection, LogOnClose::Merge);
        }
    }
}

fn commit_and_count(connection: &Connection) -> rusqlite::Result<u64> {
    let commits = connection
        .prepare_cached("UPDATE commits SET count = count + 1 RETURNING count")?
        .query_row([], |row| row.get::<_, i64>(0))?;
    connection.prepare_cached("COMMIT")?.raw_execute()?;
    Ok(commits.cast_unsigned())
}

/// What becomes of the write-ahead log when its last connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LogOnClose {
    Merge,
    Keep,
}

fn set_log_on_close(connection: &Connection, log: LogOnClose) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, log == LogOnClose::Keep).map(drop)
}
