//! What holds for a whole run.

use super::hashes::HashKey;
use super::history::{Occasion, PurgeRecord};
use crate::mapping::{ExportRow, Intent, OnExists, OnMissing};

/// By what rows are decided.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Of the checkpoint.
    pub key: HashKey,
    /// Ordinal of the export.
    pub export: u32,
    /// Send everything, whatever is acknowledged.
    pub full: bool,
    /// Purged customers may be created again.
    pub allow_recreate: bool,
    pub on_exists: OnExists,
    pub on_missing: OnMissing,
    /// The run's number in the checkpoint, and the minutes since it began.
    pub run: u32,
    pub minute: u32,
}

impl Policy {
    /// Decides what no run has begun to send.
    pub fn new(key: HashKey, export: u32) -> Self {
        Self {
            key,
            export,
            full: false,
            allow_recreate: false,
            on_exists: OnExists::default(),
            on_missing: OnMissing::default(),
            run: 0,
            minute: 0,
        }
    }

    pub(super) fn occasion(&self, intent: &Intent) -> Occasion {
        Occasion { run: self.run, minute: self.minute, row: intent.at.position() }
    }

    pub(super) fn purge(&self, intent: &Intent) -> PurgeRecord {
        PurgeRecord { by: self.row(intent), occasion: self.occasion(intent), reason: intent.reason }
    }

    /// The row that decides: of a result file, the one that it stands for.
    pub(crate) fn row(&self, intent: &Intent) -> ExportRow {
        intent.origin.unwrap_or(ExportRow { export: self.export, row: intent.at.position() })
    }
}
