//! The operations that a row can request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// The calls that make Omnidesk hold the row's values.
    #[default]
    Sync,
    Create,
    Update,
    AddChannel,
    Purge,
    Skip,
}

impl Operation {
    pub(super) const ALL: [Self; 6] =
        [Self::Sync, Self::Create, Self::Update, Self::AddChannel, Self::Purge, Self::Skip];

    /// As in the configuration, in exports and in result files.
    pub(crate) fn as_str(self) -> &'static str {
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
