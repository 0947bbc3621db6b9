//! Rows of customers who are not this program's to change or to make: `on_exists`
//! and `on_missing`.

use super::outcome::Outcome;
use super::policy::Policy;
use super::state::CustomerState;
use crate::mapping::{Intent, OnExists, OnMissing, Operation};
use crate::units::pluralize;

/// Why nothing is sent for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HandsOff {
    /// A create was refused because the customer exists.
    Exists,
    /// The answer to a create was lost, and the customer exists.
    PerhapsMade,
    /// The API does not know the customer whom the row would change.
    NotFound,
}

impl HandsOff {
    /// As in result files.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Exists => "customer_exists",
            Self::PerhapsMade => "perhaps_created",
            Self::NotFound => "not_found",
        }
    }

    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::Exists => "the customer exists in Omnidesk already and stays as it is",
            Self::PerhapsMade => {
                "the customer was made by this run or there before: a create was sent and its answer lost; nothing more is sent"
            }
            Self::NotFound => "Omnidesk does not know the customer, and nobody is created",
        }
    }

    pub(crate) fn hint(self) -> &'static str {
        match self {
            Self::Exists => {
                "set on_exists = \"update\" in [operation], or adopt the export, if such customers are to be updated"
            }
            Self::PerhapsMade => {
                "look in Omnidesk whether the customer has the row's values; adopt a file with this row if later changes are to be sent"
            }
            Self::NotFound => {
                "set on_missing = \"create\" in [operation] if such customers are to be created"
            }
        }
    }

    /// In one sentence, for so many rows that end with `outcome`.
    pub(crate) fn sentence(self, outcome: Outcome, rows: u64) -> String {
        let (one, many) = match self {
            Self::Exists | Self::PerhapsMade => ("of a customer who exists", "of customers who exist"),
            Self::NotFound => ("of a customer who does not exist", "of customers who do not exist"),
        };
        let setting = match self {
            Self::Exists | Self::PerhapsMade => "on_exists",
            Self::NotFound => "on_missing",
        };
        let (is, are) = match outcome {
            Outcome::Failed => ("fails", "fail"),
            _ => ("is skipped", "are skipped"),
        };
        let rows = pluralize(rows, &format!("row {one} {is}"), &format!("rows {many} {are}"));
        format!("{rows} ({setting})")
    }
}

impl Policy {
    /// The outcome of a row for which nothing is sent; `None` if it goes on.
    pub(super) fn outcome_of(&self, cause: HandsOff) -> Option<Outcome> {
        let on_exists = match self.on_exists {
            OnExists::Update => None,
            OnExists::Skip => Some(Outcome::Skipped),
            OnExists::Fail => Some(Outcome::Failed),
        };
        let on_missing = match self.on_missing {
            OnMissing::Create => None,
            OnMissing::Skip => Some(Outcome::Skipped),
            OnMissing::Fail => Some(Outcome::Failed),
        };
        match cause {
            HandsOff::Exists | HandsOff::PerhapsMade => on_exists,
            HandsOff::NotFound => on_missing,
        }
    }
}

/// Whether nothing is sent for the row, by what an earlier refusal has shown of its
/// customer. Purges are always sent.
pub(crate) fn hands_off(
    intent: &Intent,
    state: &CustomerState,
    policy: &Policy,
) -> Option<(HandsOff, Outcome)> {
    use Operation::{AddChannel, Create, Sync, Update};
    let cause = match (state, intent.operation) {
        (CustomerState::Existing, Sync | Create | Update | AddChannel) => HandsOff::Exists,
        (CustomerState::Vanished, Sync | Update | AddChannel)
        | (CustomerState::Absent, Update | AddChannel) => HandsOff::NotFound,
        _ => return None,
    };
    Some((cause, policy.outcome_of(cause)?))
}
