//! Known customers whom a full export no longer holds.
//!
//! They are no rows, so they have totals of their own. A full export is one
//! that was read to its end and whose every row is `sync` or `skip`: rows that
//! name another operation say what changed, not which customers exist.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::outcome::{Counts, Outcome};
use crate::units::{Count, counted};

/// `action` in `[missing]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MissingAction {
    #[default]
    Ignore,
    Report,
    Purge,
}

impl MissingAction {
    /// As in the configuration.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ignore => "ignore",
            Self::Report => "report",
            Self::Purge => "purge",
        }
    }
}

/// Counts of missing customers, and what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MissingCustomers {
    pub action: MissingAction,
    /// Those whose id is stored.
    pub found: u64,
    /// Those whose id was not stored when they were last acknowledged.
    pub without_id: u64,
    /// Those of brands that no row has; nothing happens to them.
    pub other_brands: u64,
    /// Rejected rows without a readable id.
    pub unreadable_rows: u64,
    /// What became of those who were to be purged.
    pub counts: Counts,
}

impl MissingCustomers {
    /// Those to be purged by the run.
    pub(crate) fn purges(&self) -> u64 {
        if self.action == MissingAction::Purge { self.found } else { 0 }
    }

    /// Those still to be purged.
    pub(crate) fn pending(&self) -> u64 {
        self.purges().saturating_sub(self.counts.total())
    }

    /// In one line, without its end.
    pub(crate) fn line(&self) -> String {
        if self.action != MissingAction::Purge {
            return format!("missing: {} reported", Count(self.found));
        }
        let mut counts = self.counts;
        counts.add_many(Outcome::NotAttempted, self.pending());
        let text = counts.to_string();
        format!("missing: {}", if text.is_empty() { "none" } else { &text })
    }

    /// What else deserves attention, a line each.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let Self { without_id, other_brands, unreadable_rows, .. } = *self;
        let remarks = [
            (
                without_id,
                "known customer",
                "not in the export, without a stored id: cannot be named or purged",
            ),
            (other_brands, "known customer", "of brands that no row has: not touched"),
            (
                unreadable_rows,
                "rejected row",
                "without a readable id: their customers may be among the missing",
            ),
        ];
        let remarks = remarks.into_iter().filter(|(count, ..)| *count > 0);
        remarks.map(|(count, noun, text)| format!("{} {text}", counted(count, noun))).collect()
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "action": if self.action == MissingAction::Purge { "purge" } else { "report" },
            "found": self.found,
            "purged": self.counts.get(Outcome::Purged),
            "failed": self.counts.get(Outcome::Failed),
            "in_doubt": self.counts.get(Outcome::InDoubt),
            "not_attempted": self.pending(),
            "without_id": self.without_id,
            "of_other_brands": self.other_brands,
            "unreadable_rows": self.unreadable_rows,
        })
    }
}
