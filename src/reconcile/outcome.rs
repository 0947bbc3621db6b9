//! What became of a row, and the books.

use serde::{Deserialize, Serialize};

/// What became of a row. A row has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// The customer was created.
    Created,
    /// Fields were changed.
    Updated,
    /// Addresses were added, and nothing else.
    ChannelAdded,
    /// The customer's data was purged.
    Purged,
    /// There was nothing to do.
    Unchanged,
    /// A rule said so.
    Skipped,
    /// Refused here; nothing was sent.
    Rejected,
    /// Refused by the API, or attempts used up.
    Failed,
    /// Sent, answer lost, not resolved.
    InDoubt,
    /// The run stopped before.
    NotAttempted,
}

impl Outcome {
    /// All of them, in the order of summaries.
    pub const ALL: [Self; 10] = [
        Self::Created,
        Self::Updated,
        Self::ChannelAdded,
        Self::Purged,
        Self::Unchanged,
        Self::Skipped,
        Self::Rejected,
        Self::Failed,
        Self::InDoubt,
        Self::NotAttempted,
    ];

    /// The word in summaries and result files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::ChannelAdded => "channel_added",
            Self::Purged => "purged",
            Self::Unchanged => "unchanged",
            Self::Skipped => "skipped",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::InDoubt => "in_doubt",
            Self::NotAttempted => "not_attempted",
        }
    }

    /// Whether a person has to look at the row.
    #[must_use]
    pub fn is_trouble(self) -> bool {
        matches!(self, Self::Rejected | Self::Failed | Self::InDoubt | Self::NotAttempted)
    }
}

/// Rows by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts([u64; 10]);

impl Counts {
    /// Counts one row.
    pub fn add(&mut self, outcome: Outcome) {
        self.add_many(outcome, 1);
    }

    /// Counts several rows.
    pub fn add_many(&mut self, outcome: Outcome, rows: u64) {
        self.0[outcome as usize] += rows;
    }

    /// Takes one row from one outcome to another.
    pub(crate) fn turn(&mut self, from: Outcome, to: Outcome) {
        self.0[from as usize] = self.0[from as usize].saturating_sub(1);
        self.add(to);
    }

    /// The rows with that outcome.
    #[must_use]
    pub fn get(&self, outcome: Outcome) -> u64 {
        self.0[outcome as usize]
    }

    /// All rows.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Whether no row needs a person.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        Outcome::ALL.iter().filter(|outcome| outcome.is_trouble()).all(|outcome| self.get(*outcome) == 0)
    }
}
