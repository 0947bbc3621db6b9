//! When and by which run a customer's calls were acknowledged. Nothing is decided
//! by the time: it is for people, and for taking back what a run has created.

use crate::mapping::{ExportRow, PurgeReason};

/// A call of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Occasion {
    /// The run's number in the checkpoint; 0 if it has none.
    pub run: u32,
    /// Since the run began, in minutes.
    pub minute: u32,
    /// The row of the run's own export.
    pub row: u64,
}

/// What the first acknowledged call of a customer was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A create that was answered with success.
    Created,
    /// Another call, a probe or `adopt`: the customer existed before.
    Found,
}

/// The first and the last acknowledged call of a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    pub origin: Origin,
    pub first: Occasion,
    pub last: Occasion,
}

/// A purge that was carried out, or may have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgeRecord {
    pub by: ExportRow,
    pub occasion: Occasion,
    pub reason: PurgeReason,
}
