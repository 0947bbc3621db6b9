//! What the last full run looked like, for the next one to compare with.

use super::notices::NoticeLine;
use super::shared_addresses::SharedAddresses;
use super::vanished::VanishedAddress;
use crate::mapping::{Fill, MappedKey};

/// The findings of a run's first pass. Names of columns and keys are those of the
/// export and the configuration; no value of a row is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunProfile {
    /// Rows that describe a customer.
    pub described_rows: u64,
    /// Mapped columns, and the rows with a value in them.
    pub fill: Vec<(String, u64)>,
    /// Mapped keys with a hash of their expression.
    pub key_hashes: Vec<(String, [u8; 8])>,
    pub shared_addresses: SharedAddresses,
    pub notices: Vec<NoticeLine>,
}

/// Earlier runs, to compare with.
#[derive(Debug, Clone, Default)]
pub struct Baseline {
    /// Rows of the last finished run over the whole base that needed no override.
    pub rows: Option<u64>,
    /// The first few brands of its rows.
    pub brands: Vec<u64>,
    pub profile: Option<RunProfile>,
    /// Addresses that were reported as vanished, sorted.
    pub vanished: Vec<VanishedAddress>,
}

impl Baseline {
    /// For an export that is a part on purpose: it cannot be compared with a
    /// whole one.
    pub(crate) fn for_part(self) -> Self {
        let without_fill =
            |profile: RunProfile| RunProfile { fill: Vec::new(), described_rows: 0, ..profile };
        Self { rows: None, profile: self.profile.map(without_fill), ..self }
    }
}

impl RunProfile {
    pub(super) fn new(fill: &Fill, keys: &[MappedKey]) -> Self {
        Self {
            described_rows: fill.rows(),
            fill: fill.columns().map(|(name, rows)| (name.to_owned(), rows)).collect(),
            key_hashes: keys.iter().map(|key| (key.key.clone(), key.hash)).collect(),
            ..Self::default()
        }
    }
}
