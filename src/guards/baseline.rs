//! What the first pass of a run has seen, as the checkpoint keeps it for the
//! next one to compare with.

use serde::{Deserialize, Serialize};

use super::vanished::VanishedAddress;
use crate::mapping::{Fill, MappedKey};

/// What the first pass of a run has seen. Names of columns and keys are the
/// export's and the configuration's own; nothing of anybody is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunProfile {
    /// Rows that describe a customer.
    pub describing: u64,
    /// Mapped columns, and the rows with a value in them.
    pub fill: Vec<(String, u64)>,
    /// Mapped keys with a mark of their expression.
    pub keys: Vec<(String, [u8; 8])>,
    /// A mark of the addresses that may be shared.
    pub shared_mark: u64,
    /// Addresses that several customers share.
    pub shared: u64,
    /// What a person should know of the run.
    pub notices: Vec<NoticeLine>,
}

/// A kind of notices in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeLine {
    /// The kind, in a word.
    pub code: String,
    /// How many there are that were not told before.
    pub count: u64,
    /// How many were told before and hold still.
    pub before: u64,
    /// The sentence; none if there is nothing new.
    pub message: String,
}

/// What earlier runs leave to compare with.
#[derive(Debug, Clone, Default)]
pub struct Baseline {
    /// The rows that the last finished run over a whole export read.
    pub rows: Option<u64>,
    /// The first few brands that its rows were for.
    pub brands: Vec<u64>,
    /// What that run saw.
    pub seen: Option<RunProfile>,
    /// Addresses that were told to be gone from the export, sorted.
    pub gone: Vec<VanishedAddress>,
}

impl Baseline {
    /// For an export that is a part on purpose: it is no measure of a whole one.
    #[must_use]
    pub fn of_part(self) -> Self {
        let keys_only = |seen: RunProfile| RunProfile { fill: Vec::new(), describing: 0, ..seen };
        Self { rows: None, brands: self.brands, seen: self.seen.map(keys_only), gone: self.gone }
    }
}

impl RunProfile {
    pub(crate) fn of(fill: &Fill, keys: &[MappedKey]) -> Self {
        Self {
            describing: fill.rows(),
            fill: fill.columns().map(|(name, rows)| (name.to_owned(), rows)).collect(),
            keys: keys.iter().map(|key| (key.key.clone(), key.hash)).collect(),
            ..Self::default()
        }
    }
}
