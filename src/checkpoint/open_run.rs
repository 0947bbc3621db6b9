//! The open run, with its settled rows. It owns the watermark.

use std::collections::BTreeSet;

use super::format::RunRecord;
use super::worklist::{Work, Worklist};
use crate::reconcile::Outcome;
use crate::source::ExportHash;

#[derive(Debug)]
pub struct OpenRun {
    pub id: i64,
    pub export: ExportId,
    pub record: RunRecord,
    pub worklist: Worklist,
    /// Rows with calls that are settled behind the watermark.
    pub(super) settled_ahead: BTreeSet<u64>,
}

/// An export and its ordinal, by which rows know what later rows have decided.
/// So an export whose rows come to mean something else gets another ordinal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportId {
    pub hash: ExportHash,
    pub ordinal: u32,
}

impl OpenRun {
    #[must_use]
    pub fn settled_ahead(&self) -> &BTreeSet<u64> {
        &self.settled_ahead
    }

    /// Rows of one kind that have no outcome yet. They are counted one by one
    /// and not as a difference, so that the totals can be checked against it.
    #[must_use]
    pub fn pending_rows(&self, work: Work) -> u64 {
        let mut row = match work {
            Work::Calls => self.record.watermark,
            Work::Rejected => self.record.rejected_watermark,
        };
        let mut pending = 0;
        while let Some(next) = self.worklist.next_after(row, work) {
            row = next;
            pending += u64::from(work == Work::Rejected || !self.settled_ahead.contains(&row));
        }
        pending
    }

    /// Missing customers who are still to be purged.
    pub(crate) fn pending_missing(&self) -> u64 {
        self.record.missing.map_or(0, |missing| missing.pending())
    }

    /// Counts a row with calls, and moves the watermark past all that are settled.
    pub(super) fn settle(&mut self, row: u64, outcome: Outcome) {
        self.record.counts.add(outcome);
        self.settled_ahead.insert(row);
        while let Some(next) = self.worklist.next_after(self.record.watermark, Work::Calls) {
            if !self.settled_ahead.remove(&next) {
                break;
            }
            self.record.watermark = next;
        }
    }

    /// Rows without an outcome yet.
    #[must_use]
    pub fn not_attempted(&self) -> u64 {
        self.record.rows.saturating_sub(self.record.counts.total())
    }
}
