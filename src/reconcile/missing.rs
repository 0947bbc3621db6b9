//! Customers that the checkpoint knows and a full export no longer holds.
//!
//! They are no rows, so they have books of their own. A full export is one
//! that was read to its end and whose every row is `sync` or `skip`: rows that
//! name an operation say what changed, and not who is there.

use serde::{Deserialize, Serialize};

use super::hashes::CustomerKey;
use super::outcome::{Counts, Outcome};
use crate::source::RowRef;

/// Who is missing, and what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingCustomers {
    /// Whether they are to be purged, or only reported.
    pub purge: bool,
    /// Those whose id is known.
    pub found: u64,
    /// Those whose id was not kept when the checkpoint last met them.
    pub unnamed: u64,
    /// Those of brands that no row has, who are left alone.
    pub other_brands: u64,
    /// Rows that tell nobody whose they are.
    pub unreadable: u64,
    /// What became of those who were to be purged.
    pub counts: Counts,
}

impl MissingCustomers {
    /// Those still to be purged.
    #[must_use]
    pub fn pending(&self) -> u64 {
        if self.purge { self.found.saturating_sub(self.counts.total()) } else { 0 }
    }

    /// Whether none of them needs a person.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.counts.is_clean()
    }

    /// In one line, without its end.
    #[must_use]
    pub fn line(&self) -> String {
        if !self.purge {
            return format!("missing: {} reported", self.found);
        }
        let mut counts = self.counts;
        counts.add_many(Outcome::NotAttempted, self.pending());
        let parts: Vec<String> = Outcome::ALL
            .iter()
            .filter(|outcome| counts.get(**outcome) > 0)
            .map(|outcome| format!("{} {}", counts.get(*outcome), outcome.word()))
            .collect();
        format!("missing: {}", if parts.is_empty() { "none".to_owned() } else { parts.join(", ") })
    }

    /// What a person should know besides, a line each.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.unnamed > 0 {
            remarks.push(format!(
                "{} known customers are not in the export and cannot be named yet: their ids were not kept when they were last met",
                self.unnamed
            ));
        }
        if self.other_brands > 0 {
            remarks.push(format!(
                "{} known customers are of brands that no row has; they are left alone",
                self.other_brands
            ));
        }
        if self.unreadable > 0 {
            remarks.push(format!(
                "{} rejected rows do not tell whose they are; their customers may be among the missing",
                self.unreadable
            ));
        }
        remarks
    }
}

/// Why an export does not tell who is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Undecided {
    /// Only a part of it is read: a limit, or a result file.
    Part,
    /// Rows name operations of their own, or cannot be asked for them.
    OwnOperations,
}

impl Undecided {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Part => "missing: not looked for, since only a part of an export is read",
            Self::OwnOperations => {
                "missing: not looked for, since rows name operations of their own: this need not be the full base"
            }
        }
    }
}

/// What a first pass has found of them.
#[derive(Debug, Clone, Default)]
pub struct MissingPlan {
    /// Why nothing below counts.
    pub undecided: Option<Undecided>,
    /// The figures.
    pub missing: MissingCustomers,
    /// Those whose id is known, sorted.
    pub keys: Vec<CustomerKey>,
    /// Customers of the export who are known and whose id is not kept yet.
    pub to_name: u64,
    /// The first row that does not tell whose it is.
    pub first_unreadable: Option<RowRef>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_have_books_of_their_own() {
        let mut missing = MissingCustomers { purge: true, found: 5, ..MissingCustomers::default() };
        missing.counts.add_many(Outcome::Purged, 3);
        assert_eq!((missing.line().as_str(), missing.pending()), ("missing: 3 purged, 2 not_attempted", 2));
        assert!(missing.is_clean());
        missing.counts.add(Outcome::Failed);
        assert!(!missing.is_clean());
        let reported = MissingCustomers { found: 5, unnamed: 1, ..MissingCustomers::default() };
        assert_eq!((reported.line().as_str(), reported.pending()), ("missing: 5 reported", 0));
        assert_eq!(reported.remarks().len(), 1);
    }
}
