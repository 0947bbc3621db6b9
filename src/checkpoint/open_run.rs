//! The open run, with its settled rows. It owns the watermark.

use std::collections::BTreeSet;

use super::format::RunRecord;
use super::worklist::{Work, Worklist};
use crate::reconcile::Outcome;
use crate::source::{ExportHash, RowRef};

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

/// Rows without an outcome, in order. Each comes with the row from which reading
/// can start.
#[derive(Debug)]
pub(crate) struct PendingRows {
    worklist: Worklist,
    work: Work,
    settled_ahead: BTreeSet<u64>,
    row: u64,
}

impl Iterator for PendingRows {
    type Item = (u64, RowRef);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.row = self.worklist.next_after(self.row, self.work)?;
            if !self.settled_ahead.contains(&self.row) {
                return Some((self.row, self.worklist.entry(self.row)?));
            }
        }
    }
}

impl OpenRun {
    /// The number by which customers refer to it.
    pub(crate) fn number(&self) -> u32 {
        u32::try_from(self.id).unwrap_or_default()
    }

    pub fn settled_ahead(&self) -> &BTreeSet<u64> {
        &self.settled_ahead
    }

    /// The rows of one kind without an outcome, from now on.
    pub(crate) fn pending(&self, work: Work) -> PendingRows {
        let (worklist, settled_ahead) = (self.worklist.clone(), self.settled_ahead.clone());
        let row = match work {
            Work::Calls => self.record.watermark,
            Work::Rejected => self.record.rejected_watermark,
        };
        PendingRows { worklist, work, settled_ahead, row }
    }

    /// They are counted one by one and not as a difference, so that the totals
    /// can be checked against it.
    pub fn pending_rows(&self, work: Work) -> u64 {
        self.pending(work).count() as u64
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
    pub fn not_attempted(&self) -> u64 {
        self.record.rows.saturating_sub(self.record.counts.total())
    }
}
