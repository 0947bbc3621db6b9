use std::path::{Path, PathBuf};

use super::format::FORMAT;

/// What is wrong with the checkpoint, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Another process has it.
    #[error("another run holds the checkpoint {path}")]
    Locked { path: PathBuf },
    /// It could lead to any file.
    #[error(
        "the lock file {path} is a symbolic link, which is not followed; delete the link and run the same command again"
    )]
    LinkedLock { path: PathBuf },
    /// The checkpoint, or a file beside it.
    #[error("the checkpoint {path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    /// SQLite fails, and not by damage.
    #[error("the checkpoint {path}: {source}")]
    Database { path: PathBuf, source: rusqlite::Error },
    /// It cannot be trusted.
    #[error(
        "the checkpoint {path} is damaged ({problem}); put back a copy of it, or move it away and run `adopt` with the last export that was applied: without it every customer would be sent again"
    )]
    Damaged { path: PathBuf, problem: String },
    /// It holds less than was written.
    #[error(
        "the checkpoint {path} has {found} commits and was written {noted} times: the end of its write-ahead log {path}-wal is lost, or an older copy has taken its place; put back the latest copy of both files (if you mean the older one, delete {lock}: what was sent since is then sent again)"
    )]
    CommitsLost { path: PathBuf, lock: PathBuf, found: u64, noted: u64 },
    /// Another program's file.
    #[error(
        "{path} is no checkpoint of omnidesk-sync, or one whose beginning is damaged; if it was one, put back a copy of it, else set another path in [checkpoint]"
    )]
    Foreign { path: PathBuf },
    /// Written before the first release.
    #[error(
        "the checkpoint {path} was written by a version before 0.1.0, which this program does not read; move it away and run `adopt` with the last export that was applied"
    )]
    PreRelease { path: PathBuf },
    /// Written by a later version.
    #[error(
        "the checkpoint {path} has format {found}, this program knows {FORMAT}; use the version that wrote it, or a later one"
    )]
    Newer { path: PathBuf, found: i64 },
    /// It belongs to another tenant.
    #[error(
        "the checkpoint {path} belongs to {found}, and base_url is {wanted}; set another path in [checkpoint] for each tenant"
    )]
    OtherTenant { path: PathBuf, found: String, wanted: String },
}

impl CheckpointError {
    /// Separates damage from other failures of SQLite.
    pub(super) fn from_sqlite(path: &Path, source: rusqlite::Error) -> Self {
        use rusqlite::Error::{FromSqlConversionFailure, InvalidColumnType, QueryReturnedNoRows};
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match (&source, source.sqlite_error_code()) {
            (FromSqlConversionFailure(_, _, problem), _) => Self::damaged(path, problem),
            (QueryReturnedNoRows | InvalidColumnType(..), _) | (_, Some(DatabaseCorrupt | NotADatabase)) => {
                Self::damaged(path, source)
            }
            _ => Self::Database { path: path.to_owned(), source },
        }
    }

    pub(super) fn damaged(path: &Path, problem: impl ToString) -> Self {
        Self::Damaged { path: path.to_owned(), problem: problem.to_string() }
    }

    pub(super) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}
