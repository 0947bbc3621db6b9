//! The file itself: making it, and whether it can be trusted.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rusqlite::types::FromSql;
use rusqlite::{Connection, ErrorCode, params};

use super::database::{Database, LogOnClose};
use super::error::CheckpointError;
use super::format::{APPLICATION_ID, FORMAT, PRE_RELEASE_ID, SCHEMA};
use super::lock::{self, Lock, path_beside};
use super::{blocks, checksum};

/// The file, beside its content.
#[derive(Debug)]
pub(super) struct CheckpointFile {
    /// Device and inode: another file may have its name by now.
    identity: (u64, u64),
    /// Held by the process that writes, for longer than the database.
    lock: Option<Lock>,
    /// The last commit has failed.
    has_failed: bool,
}

impl CheckpointFile {
    /// Opens a file that can be trusted: it is whole, ours, and has all commits.
    /// Returns the number of customers in blocks too. With a lock, it can be
    /// written.
    pub(super) fn open(
        path: &Path,
        mut lock: Option<Lock>,
    ) -> Result<(Database, Self, u64), CheckpointError> {
        // Before the database: a run that goes on meanwhile only adds to it.
        let noted = lock::noted_commits(path);
        let metadata = std::fs::metadata(path).map_err(|source| CheckpointError::io(path, source))?;
        if metadata.len() == 0 {
            return Err(CheckpointError::damaged(path, "it is empty"));
        }
        if let Some(lock) = &mut lock {
            lock.add_checkpoint(path)?;
        }
        let database = Database::open(path)?;
        check_origin(&database, noted)?;
        if lock.is_none() {
            // One snapshot for all that follows: another process may be writing.
            database.execute("BEGIN", [])?;
        }
        match database.value("PRAGMA user_version", [])? {
            FORMAT => {}
            found if found > FORMAT => return Err(CheckpointError::Newer { path: path.to_owned(), found }),
            _ => return Err(database.damaged("no version of this program has written its format")),
        }
        let customers = checksum::verify(&database)?;
        let found = database.value::<i64>("SELECT count FROM commits", [])?.cast_unsigned();
        if found < noted {
            let (path, lock) = (path.to_owned(), lock::lock_path(path));
            return Err(CheckpointError::CommitsLost { path, lock, found, noted });
        }
        if lock.is_some() {
            configure(&database)?;
        }
        let identity = (metadata.dev(), metadata.ino());
        Ok((database, Self { identity, lock, has_failed: false }, customers))
    }

    pub(super) fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// Makes the changes of an open transaction durable.
    pub(super) fn commit(&mut self, database: &Database) -> Result<(), CheckpointError> {
        // A file without a name would take everything, and the next run would
        // know nothing of it.
        let is_there =
            std::fs::metadata(&database.path).is_ok_and(|file| (file.dev(), file.ino()) == self.identity);
        if !is_there {
            return Err(database.damaged("it was taken away or replaced while this run had it open"));
        }
        self.has_failed = true;
        let sql = "UPDATE commits SET count = count + 1 RETURNING count";
        let commits = database.value::<i64>(sql, [])?.cast_unsigned();
        database.execute("COMMIT", [])?;
        self.has_failed = false;
        if let Some(lock) = &self.lock {
            lock.note(commits);
        }
        Ok(())
    }

    /// Before a connection is closed that has written: its log is merged into
    /// the file. A failed sync is not tried again, since the kernel may have
    /// dropped what it could not write.
    pub(super) fn close(&self, database: &Database) {
        if self.is_locked() && !self.has_failed {
            // If not, the next process that opens it does it.
            let _ = database.set_log_on_close(LogOnClose::Merge);
        }
    }
}

/// Whether this program has made the file.
fn check_origin(database: &Database, noted: u64) -> Result<(), CheckpointError> {
    let path = database.path.clone();
    match database.connection.query_row("PRAGMA application_id", [], |row| row.get(0)) {
        Ok(APPLICATION_ID) => Ok(()),
        Ok(PRE_RELEASE_ID) => Err(CheckpointError::PreRelease { path }),
        Err(error) if error.sqlite_error_code() != Some(ErrorCode::NotADatabase) => {
            Err(database.error(error))
        }
        // A checkpoint no more, if one was written here.
        _ if noted > 0 => Err(database.damaged("its beginning is not that of a checkpoint")),
        _ => Err(CheckpointError::Foreign { path }),
    }
}

/// Prepares the database to be written.
fn configure(database: &Database) -> Result<(), CheckpointError> {
    let io = |source| CheckpointError::io(&database.path, source);
    if !switch_to_wal(database)? {
        return Err(io(std::io::Error::other("it cannot have a write-ahead log")));
    }
    // The log is there now. SQLite would sync its name as well, but ignores
    // whether that worked.
    sync_folder(&database.path).map_err(io)?;
    database
        .execute_all("PRAGMA synchronous = FULL; PRAGMA cache_size = -8192; PRAGMA secure_delete = ON;")?;
    checksum::maintain(database)?;
    // Until the run has ended well.
    database.set_log_on_close(LogOnClose::Keep)
}

/// Whether it worked: SQLite answers with another mode, not with an error.
fn switch_to_wal(database: &Database) -> Result<bool, CheckpointError> {
    Ok(database.value::<String>("PRAGMA journal_mode = WAL", [])? == "wal")
}

pub(super) fn read_meta<T: FromSql>(database: &Database, name: &str) -> Result<T, CheckpointError> {
    database.value("SELECT value FROM meta WHERE name = ?", [name])
}

/// Makes the file under another name first, so that a file with the name is
/// always whole.
pub(super) fn create(path: &Path, tenant: &str) -> Result<(), CheckpointError> {
    let io = |source| CheckpointError::io(path, source);
    // SQLite would take these for the new file's own.
    for stray in ["-wal", "-shm"].map(|ending| path_beside(path, ending)) {
        if stray.try_exists().map_err(io)? {
            let problem = format!("{} is there without it; they belong together", stray.display());
            return Err(CheckpointError::damaged(path, problem));
        }
    }
    let new = path_beside(path, ".new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(io)?;
    let mut hash_key = [0; 32];
    File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut hash_key)).map_err(io)?;
    let sqlite_error = |source| CheckpointError::from_sqlite(path, source);
    let connection = Connection::open(&new).map_err(sqlite_error)?;
    let database = Database { connection, path: path.to_owned() };
    fill(&database, tenant, &hash_key)?;
    database.connection.close().map_err(|(_, error)| sqlite_error(error))?;
    File::open(&new).and_then(|file| file.sync_all()).map_err(io)?;
    std::fs::rename(&new, path).map_err(io)?;
    sync_folder(path).map_err(io)
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all())
}

fn fill(database: &Database, tenant: &str, hash_key: &[u8; 32]) -> Result<(), CheckpointError> {
    // The file gets its name when it is whole and synced: until then there is
    // nothing to go back to.
    database.execute_all(&format!(
        "PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY;
         BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; {SCHEMA}"
    ))?;
    blocks::create(database)?;
    let sql = "INSERT INTO meta VALUES ('hash_key', ?), ('tenant', ?)";
    database.execute(sql, params![hash_key, tenant.as_bytes()])?;
    checksum::write(database)?;
    database.execute("COMMIT", [])?;
    // Whether that worked is checked when the file is opened.
    switch_to_wal(database).map(drop)
}
