//! The one durable file: progress of the open run, pending calls, each
//! customer's acknowledged state, purged customers.
//!
//! What [`Batch::commit`] has returned is on the disk. One process writes, which
//! the lock file beside it ensures; anybody may read. Names, addresses and ids
//! are in it only as keyed hashes, and ids besides under a keyed pad where
//! `[missing]` is set. A file that cannot be trusted is an error, never a fresh
//! start. [`format`] says what the file looks like, and which check finds what.

mod baseline;
mod batch;
mod blocks;
#[expect(clippy::module_inception, reason = "the room's main type")]
mod checkpoint;
mod checksum;
mod database;
mod error;
mod file;
mod format;
mod id_pad;
mod index;
mod journal;
mod lock;
mod lookups;
mod missing;
mod open_run;
mod run;
mod state_sorter;
mod worklist;

pub use batch::{Batch, RejectionKind};
pub use checkpoint::Checkpoint;
pub(crate) use checkpoint::CustomerTotals;
pub use error::CheckpointError;
pub use format::{PlanVersion, Probing, RunRecord, RunScope, RunState, SettingsHash, StoredWait};
pub(crate) use index::{CustomerIndex, KnownBy, PresenceSet};
pub(crate) use lock::{Lock, path_beside};
pub(crate) use lookups::Lookups;
pub(crate) use missing::{MissingKeys, PurgeList};
pub(crate) use open_run::PendingRows;
pub use open_run::{ExportId, OpenRun};
pub(crate) use run::FolderRun;
pub use run::{FirstPassResult, RetryRows};
pub(crate) use state_sorter::StateSorter;
pub use worklist::{Work, Worklist};
