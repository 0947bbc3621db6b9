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
mod checksum;
mod database;
mod error;
mod file;
mod format;
mod index;
mod journal;
mod lock;
mod lookups;
mod open_run;
mod purge_list;
mod run;
mod stored_ids;
mod worklist;

pub use batch::{Batch, Rejected};
pub use database::Checkpoint;
pub(crate) use database::CustomerTotals;
pub use error::CheckpointError;
pub use format::{FileLengths, PlanVersion, RunRecord, RunState, SettingsHash};
pub(crate) use index::{AddressLoading, CustomerIndex, PresenceSet};
pub(crate) use lock::Lock;
pub(crate) use lookups::Lookups;
pub use open_run::{ExportId, OpenRun};
pub(crate) use purge_list::{Absentees, PurgeList};
pub use run::{FirstPassResult, RetryRows};
pub use worklist::{Work, Worklist};
