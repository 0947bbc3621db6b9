//! What became of a row, and the totals.

use std::fmt;

use serde_json::{Map, Value};

use crate::units::Count;

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
    /// No call was needed.
    Unchanged,
    /// By a rule.
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
    /// In the order of summaries.
    pub(crate) const ALL: [Self; 10] = [
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

    /// As in summaries and result files.
    pub(crate) fn as_str(self) -> &'static str {
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
    pub(crate) fn is_problem(self) -> bool {
        matches!(self, Self::Rejected | Self::Failed | Self::InDoubt | Self::NotAttempted)
    }
}

/// Rows by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts(pub(crate) [u64; 10]);

impl Counts {
    pub(crate) fn add(&mut self, outcome: Outcome) {
        self.add_many(outcome, 1);
    }

    pub(crate) fn add_many(&mut self, outcome: Outcome, rows: u64) {
        self.0[outcome as usize] += rows;
    }

    /// Moves one row from one outcome to another.
    pub(crate) fn shift(&mut self, from: Outcome, to: Outcome) {
        self.0[from as usize] = self.0[from as usize].saturating_sub(1);
        self.add(to);
    }

    /// The rows with that outcome.
    pub fn get(&self, outcome: Outcome) -> u64 {
        self.0[outcome as usize]
    }

    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The outcomes that there are, in the order of summaries.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Outcome, u64)> {
        Outcome::ALL.into_iter().map(|outcome| (outcome, self.get(outcome))).filter(|(_, rows)| *rows > 0)
    }

    /// Whether no row has a problem.
    pub(crate) fn is_clean(&self) -> bool {
        self.iter().all(|(outcome, _)| !outcome.is_problem())
    }

    /// A member for each outcome.
    pub(crate) fn json(&self) -> Map<String, Value> {
        Outcome::ALL.iter().map(|outcome| (outcome.as_str().to_owned(), self.get(*outcome).into())).collect()
    }
}

impl fmt::Display for Counts {
    /// `12 created, 3 failed`
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let parts: Vec<String> =
            self.iter().map(|(outcome, rows)| format!("{} {}", Count(rows), outcome.as_str())).collect();
        out.write_str(&parts.join(", "))
    }
}
