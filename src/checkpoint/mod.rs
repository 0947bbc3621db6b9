//! The one durable file: progress of the open run, calls under way or in
//! doubt, what each customer was last told, who was purged.
//!
//! SQLite in WAL mode with `synchronous = FULL`: what [`Batch::commit`] has
//! returned is on the disk. One process writes, which the lock file beside it
//! ensures; anybody may read. Names, addresses and ids are in it only as keyed
//! hashes; with `[missing] action`, ids are in it besides, encrypted with a
//! key that is in the same file (`named`). Every record carries a check value
//! and all rows together another one (`seal`); that the last commits are there
//! is known by their number (`lock`). A file that cannot be trusted is an error, never a
//! fresh start.

mod baseline;
mod batch;
mod blocks;
mod checksum;
mod database;
mod file;
mod format;
mod index;
mod journal;
mod lock;
mod lookups;
mod purge_list;
mod run;
mod settings_hash;
mod stored_ids;
mod upgrade;
mod worklist;

pub use batch::Batch;
pub use database::{Checkpoint, Totals};
pub use format::{FileLengths, Mark, RunRecord, RunState};
pub use index::{CustomerIndex, PresenceSet};
pub use lock::Lock;
pub use lookups::Lookups;
pub use purge_list::{MissingCustomer, PurgeList};
pub use run::{ExportId, OpenRun, RetryRows};
pub use settings_hash::PlanMark;
pub use worklist::{ROWS_PER_BLOCK, Work, Worklist};

use std::path::PathBuf;

/// What is wrong with the checkpoint, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Another process has it.
    #[error("another run holds the checkpoint {path}")]
    Locked {
        /// The checkpoint.
        path: PathBuf,
    },
    /// The file system said no.
    #[error("the checkpoint {path}: {source}")]
    Io {
        /// The checkpoint, or the file beside it.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database said no.
    #[error("the checkpoint {path}: {source}")]
    Database {
        /// The checkpoint.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// It cannot be trusted.
    #[error(
        "the checkpoint {path} is damaged ({what}); put back a copy of it, or move it away and run `adopt` with the last export that was applied: without it every customer would be sent again"
    )]
    Damaged {
        /// The checkpoint.
        path: PathBuf,
        /// What shows it.
        what: String,
    },
    /// Less is in it than was written.
    #[error(
        "the checkpoint {path} has {found} commits and was written {noted} times: the end of its write-ahead log {path}-wal is lost, or an older copy has taken its place; put back the latest copy of both files (if you mean the older one, delete {lock}: what was sent since is then sent again)"
    )]
    Older {
        /// The checkpoint.
        path: PathBuf,
        /// Where the commits are noted.
        lock: PathBuf,
        /// Commits in it.
        found: u64,
        /// Commits that there were.
        noted: u64,
    },
    /// Another program's file.
    #[error(
        "{path} is no checkpoint of omnidesk-sync, or one whose beginning is damaged; if it was one, put back a copy of it, else set another path in [checkpoint]"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Written by a later version.
    #[error(
        "the checkpoint {path} has format {found}, this program knows {known}; use the version that wrote it, or a later one"
    )]
    Newer {
        /// The checkpoint.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The latest this program knows.
        known: i64,
    },
    /// It belongs to another tenant.
    #[error(
        "the checkpoint {path} belongs to {found}, and base_url is {wanted}; set another path in [checkpoint] for each tenant"
    )]
    OtherTenant {
        /// The checkpoint.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it would have to be.
        wanted: String,
    },
}
