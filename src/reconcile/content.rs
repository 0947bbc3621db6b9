//! What a customer holds, as one number.
//!
//! When the mapping or the program has changed, no fingerprint of a row says
//! anything. Most rows still ask for just what their customers hold, which this
//! number shows without reading a state for each.

use twox_hash::XxHash3_64;

use super::hashes::{FieldTag, HashKey};
use super::state::Acked;
use crate::mapping::{Draft, Operation};

/// Of addresses; fields have their tags in its place, of half as many bits.
const ADDRESS_SEED: u64 = u64::MAX;

/// The fields and addresses of a customer, 64 bits: compared only within one
/// customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContentHash(pub(crate) [u8; 8]);

impl ContentHash {
    /// Equal to no other: of a customer who is decided by the state.
    pub(crate) const NONE: Self = Self([0; 8]);

    /// In any order: the parts are a set.
    fn of(parts: impl Iterator<Item = u64>) -> Self {
        Self(parts.fold(1_u64, u64::wrapping_add).max(1).to_le_bytes())
    }
}

impl Acked {
    /// What the customer holds of these fields, and all addresses.
    pub(crate) fn content(&self, fields: &[FieldTag]) -> ContentHash {
        let own = self.fields.iter().filter(|field| fields.contains(&field.tag));
        let own = own.map(|field| part(tag_seed(field.tag), field.value.0));
        ContentHash::of(own.chain(self.addresses.iter().map(|address| part(ADDRESS_SEED, address.0))))
    }
}

/// What the customer of this row holds once it is applied, if the row asks for no more
/// than that: the same where [`Acked::is_all_of`] holds.
pub(crate) fn content_asked_for(draft: &Draft, key: &HashKey) -> ContentHash {
    if draft.operation != Operation::Sync || !draft.warnings.is_empty() {
        return ContentHash::NONE;
    }
    let fields = draft.fields().map(|(name, text)| {
        let tag = key.field(name);
        part(tag_seed(tag), key.value(tag, text).0)
    });
    let addresses = draft.addresses.iter();
    let addresses = addresses
        .map(|address| part(ADDRESS_SEED, key.address_identity(address.channel(), &address.identity()).0));
    ContentHash::of(fields.chain(addresses))
}

fn tag_seed(tag: FieldTag) -> u64 {
    u32::from_le_bytes(tag.0).into()
}

fn part(seed: u64, hash: [u8; 8]) -> u64 {
    XxHash3_64::oneshot_with_seed(seed, &hash)
}
