//! SQL whose errors name the file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::FromSql;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Params, Row};

use super::error::CheckpointError;

/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// More than there are statements in a run.
const STATEMENTS_KEPT: usize = 32;

#[derive(Debug)]
pub(super) struct Database {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
}

/// What becomes of the write-ahead log when its last connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogOnClose {
    Merge,
    Keep,
}

impl Database {
    /// Readers open it for writing too: a database in WAL mode may need recovery.
    pub(super) fn open(path: &Path) -> Result<Self, CheckpointError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)
            .and_then(|connection| connection.busy_timeout(BUSY_TIMEOUT).map(|()| connection))
            .map_err(|source| CheckpointError::from_sqlite(path, source))?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        Ok(Self { connection, path: path.to_owned() })
    }

    #[cfg(test)]
    pub(super) fn in_memory() -> Self {
        Self { connection: Connection::open_in_memory().expect("a database"), path: PathBuf::from("here") }
    }

    pub(super) fn execute(&self, sql: &str, parameters: impl Params) -> Result<(), CheckpointError> {
        let executed = self.connection.prepare_cached(sql).and_then(|mut sql| sql.execute(parameters));
        executed.map(drop).map_err(|source| self.error(source))
    }

    /// Executes several statements.
    pub(super) fn execute_all(&self, sql: &str) -> Result<(), CheckpointError> {
        self.connection.execute_batch(sql).map_err(|source| self.error(source))
    }

    /// The first column of the first row, which is always there.
    pub(super) fn value<T: FromSql>(&self, sql: &str, parameters: impl Params) -> Result<T, CheckpointError> {
        let found = self.find(sql, parameters, |row| row.get(0))?;
        found.ok_or_else(|| self.error(rusqlite::Error::QueryReturnedNoRows))
    }

    /// The first row, if there is one.
    pub(super) fn find<T>(
        &self,
        sql: &str,
        parameters: impl Params,
        read: impl FnOnce(&Row) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, CheckpointError> {
        let found = self.connection.prepare_cached(sql);
        found
            .and_then(|mut sql| sql.query_row(parameters, read).optional())
            .map_err(|source| self.error(source))
    }

    /// All rows.
    pub(super) fn list<T, L: FromIterator<T>>(
        &self,
        sql: &str,
        parameters: impl Params,
        read: impl FnMut(&Row) -> rusqlite::Result<T>,
    ) -> Result<L, CheckpointError> {
        let found = self.connection.prepare_cached(sql);
        found
            .and_then(|mut sql| sql.query_map(parameters, read)?.collect())
            .map_err(|source| self.error(source))
    }

    /// Visits all rows.
    pub(super) fn each(
        &self,
        sql: &str,
        mut visit: impl FnMut(&Row) -> rusqlite::Result<()>,
    ) -> Result<(), CheckpointError> {
        self.list(sql, [], |row| visit(row))
    }

    /// Reads from one snapshot, although another process may be writing. It is
    /// faster too: without a snapshot each statement locks the file and drops
    /// its cached pages.
    pub(super) fn read_snapshot<T>(
        &self,
        read: impl FnOnce() -> Result<T, CheckpointError>,
    ) -> Result<T, CheckpointError> {
        let is_needed = self.connection.is_autocommit();
        let snapshot = is_needed.then(|| self.connection.unchecked_transaction()).transpose();
        let snapshot = snapshot.map_err(|source| self.error(source))?;
        let result = read()?;
        snapshot.map_or(Ok(()), rusqlite::Transaction::finish).map_err(|source| self.error(source))?;
        Ok(result)
    }

    pub(super) fn set_log_on_close(&self, log: LogOnClose) -> Result<(), CheckpointError> {
        let setting = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        let set = self.connection.set_db_config(setting, log == LogOnClose::Keep);
        set.map(drop).map_err(|source| self.error(source))
    }

    pub(super) fn damaged(&self, problem: impl ToString) -> CheckpointError {
        CheckpointError::damaged(&self.path, problem)
    }

    pub(super) fn error(&self, source: rusqlite::Error) -> CheckpointError {
        CheckpointError::from_sqlite(&self.path, source)
    }
}
