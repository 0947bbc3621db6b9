//! The operations that a row can ask for.

use serde::{Deserialize, Serialize};

/// What a row asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Whatever makes Omnidesk hold what the row holds.
    #[default]
    Sync,
    /// A new customer.
    Create,
    /// New values for a customer.
    Update,
    /// More addresses for a customer.
    AddChannel,
    /// The end of a customer's data.
    Purge,
    /// Nothing.
    Skip,
}

impl Operation {
    pub(super) const ALL: [Self; 6] =
        [Self::Sync, Self::Create, Self::Update, Self::AddChannel, Self::Purge, Self::Skip];

    /// The word in the configuration, in exports and in result files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Create => "create",
            Self::Update => "update",
            Self::AddChannel => "add-channel",
            Self::Purge => "purge",
            Self::Skip => "skip",
        }
    }
}
