//! Keyed hashes: what the checkpoint holds instead of personal data.
//!
//! BLAKE3 in its keyed mode, cut short. The key is made with the checkpoint
//! and kept in it, so that two checkpoints cannot be compared.

use std::cell::RefCell;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use crate::mapping::{Address, Channel, Customer, FieldName};

/// A customer, 128 bits: the birthday bound for a billion customers is 2^-68.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CustomerKey(pub [u8; 16]);

impl CustomerKey {
    /// The first 64 bits, which sort as the key does. They tell customers
    /// apart well enough to find those with several rows: a false alarm costs
    /// a second reading and nothing else.
    pub(crate) fn short(self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0[..8]);
        u64::from_be_bytes(first)
    }
}

impl fmt::Display for CustomerKey {
    /// As in reports: it names nobody.
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl Hash for CustomerKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.short());
    }
}

/// Parts of a keyed hash need no hashing, and nobody can choose them.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = self.0.rotate_left(8) ^ number;
    }
}

/// For maps and sets of [`CustomerKey`]s, whole or [`CustomerKey::short`].
pub(crate) type BuildKeyHasher = BuildHasherDefault<IdentityHasher>;

/// An address of a customer, 64 bits: compared only within one customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AddressHash(pub [u8; 8]);

/// The value of a field, 64 bits: compared only with the same field's last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueHash(pub(crate) [u8; 8]);

/// A field's name, 32 bits: compared only within one customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldTag(pub(crate) [u8; 4]);

/// The mapped cells of a row as they stand in the export, 64 bits: compared
/// only with the one that its customer was acknowledged with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowFingerprint(pub [u8; 8]);

impl RowFingerprint {
    /// Of no row.
    pub const NONE: Self = Self([0; 8]);
}

/// Takes the fingerprints of rows.
///
/// By XXH3 with a secret seed, and not by BLAKE3 as all else: every row of every
/// night has its fingerprint taken, and it is compared with one other alone.
pub struct RowFingerprinter {
    seed: u64,
    buffer: Vec<u8>,
}

impl RowFingerprinter {
    /// The fingerprint of a row with these cells.
    pub fn fingerprint<'a>(&mut self, cells: impl Iterator<Item = &'a [u8]>) -> RowFingerprint {
        let buffer = &mut self.buffer;
        buffer.clear();
        for cell in cells {
            // Lengths keep the cells apart; nearly all of them are one byte.
            match u8::try_from(cell.len()) {
                Ok(len) if len < u8::MAX => buffer.push(len),
                _ => {
                    buffer.push(u8::MAX);
                    buffer.extend_from_slice(&cell.len().to_le_bytes());
                }
            }
            buffer.extend_from_slice(cell);
        }
        // Zero is no row's.
        RowFingerprint(XxHash3_64::oneshot_with_seed(self.seed, buffer).max(1).to_le_bytes())
    }
}

/// The key of all hashes in one checkpoint.
#[derive(Clone, Copy)]
pub struct HashKey([u8; 32]);

/// Texts up to this many bytes are hashed in one piece.
const SHORT_BYTES_MAX: usize = 256;

/// More fields than a mapping has. Tags of further ones are not kept.
const TAGS_MAX: usize = 64;

thread_local! {
    /// Tags that this thread has made, each with the key.
    static TAGS: RefCell<Vec<(FieldName, [u8; 32], FieldTag)>> = const { RefCell::new(Vec::new()) };
}

impl fmt::Debug for HashKey {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("HashKey(***)")
    }
}

impl HashKey {
    /// Takes 32 bytes that nobody can guess.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A key for another purpose, which reveals nothing of this one.
    pub(crate) fn derive(&self, purpose: &str) -> Self {
        Self(blake3::derive_key(purpose, &self.0))
    }

    /// So many bytes that only this key gives for the customer.
    pub(crate) fn pad(&self, customer: CustomerKey, len: usize) -> Vec<u8> {
        let mut pad = vec![0; len];
        blake3::Hasher::new_keyed(&self.0).update(&customer.0).finalize_xof().fill(&mut pad);
        pad
    }

    /// The hash of any text.
    pub(crate) fn text(&self, text: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.derive("omnidesk-sync text").0, text).as_bytes()
    }

    /// A customer's key.
    pub fn customer(&self, customer: &Customer) -> CustomerKey {
        self.customer_id(customer.brand_id, customer.primary_id.as_str())
    }

    /// The key of the customer with this id of this brand.
    pub fn customer_id(&self, brand_id: u64, primary_id: &str) -> CustomerKey {
        CustomerKey(self.hash(b"customer", &brand_id.to_le_bytes(), primary_id.as_bytes()))
    }

    /// An address's hash, the same for two spellings of one address.
    pub fn address(&self, address: &Address) -> AddressHash {
        self.address_identity(address.channel(), &address.identity())
    }

    /// The hash of the address with this [`Address::identity`].
    pub(crate) fn address_identity(&self, channel: Channel, identity: &str) -> AddressHash {
        AddressHash(self.hash(b"address", channel.as_str().as_bytes(), identity.as_bytes()))
    }

    /// For rows that are mapped in one way, which `mapping` identifies.
    pub fn fingerprinter(&self, mapping: &[u8]) -> RowFingerprinter {
        let seed = u64::from_le_bytes(self.hash(b"row", mapping, b""));
        RowFingerprinter { seed, buffer: Vec::new() }
    }

    pub(crate) fn value(&self, tag: FieldTag, text: &str) -> ValueHash {
        ValueHash(self.hash(b"value", &tag.0, text.as_bytes()))
    }

    /// The tag of a field. A mapping has a handful of them, and every row asks
    /// for them again.
    pub(crate) fn field(&self, name: &FieldName) -> FieldTag {
        TAGS.with_borrow_mut(|tags| {
            if let Some((.., tag)) = tags.iter().find(|(field, key, _)| field == name && *key == self.0) {
                return *tag;
            }
            let tag = self.hash_field(name);
            if tags.len() < TAGS_MAX {
                tags.push((name.clone(), self.0, tag));
            }
            tag
        })
    }

    fn hash_field(&self, name: &FieldName) -> FieldTag {
        let (kind, name) = match name {
            FieldName::First => ("firstname", ""),
            FieldName::Last => ("lastname", ""),
            FieldName::Custom(name) => ("custom", name.as_ref()),
        };
        FieldTag(self.hash(b"field", kind.as_bytes(), name.as_bytes()))
    }

    /// Lengths keep the parts apart. Nearly all texts are short and go in one
    /// piece: to set up a hasher of two kilobytes is more work than the hash.
    fn hash<const N: usize>(&self, domain: &[u8], first: &[u8], second: &[u8]) -> [u8; N] {
        let lengths = [domain.len() as u8, first.len().min(255) as u8];
        let parts = [&lengths, domain, first, second];
        let (mut short, mut len) = ([0; SHORT_BYTES_MAX], 0);
        let is_short = parts.iter().all(|part| {
            let place = short.get_mut(len..len + part.len());
            len += part.len();
            place.map(|place| place.copy_from_slice(part)).is_some()
        });
        let hash = if is_short {
            blake3::keyed_hash(&self.0, &short[..len])
        } else {
            let mut hasher = blake3::Hasher::new_keyed(&self.0);
            for part in parts {
                hasher.update(part);
            }
            hasher.finalize()
        };
        let mut out = [0; N];
        out.copy_from_slice(&hash.as_bytes()[..N]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_tells_rows_apart_by_every_cell_and_its_place() {
        let key = HashKey::new([7; 32]);
        let by_version = |version: [u8; 8], cells: &[&str]| {
            key.fingerprinter(&version).fingerprint(cells.iter().map(|cell| cell.as_bytes()))
        };
        let fingerprint = |cells: &[&str]| by_version([1; 8], cells);
        let long = "x".repeat(300);
        let rows: [&[&str]; 9] = [
            &["a", "b"],
            &["ab", ""],
            &["", "ab"],
            &["a", "b", ""],
            &["b", "a"],
            &[&long[..254]],
            &[&long[..255]],
            &[&long[..256]],
            &[&long, "a"],
        ];
        for (at, row) in rows.iter().enumerate() {
            assert_eq!(fingerprint(row), fingerprint(row));
            assert!(rows[..at].iter().all(|other| fingerprint(other) != fingerprint(row)), "{row:?}");
        }
        assert_ne!(fingerprint(&["a"]), by_version([2; 8], &["a"]), "by another mapping");
    }

    #[test]
    fn a_hash_is_the_same_however_long_the_text() {
        let key = HashKey::new([7; 32]);
        for len in [0, 1, 63, 64, 65, 200, 242, 243, 244, 256, 257, 2000] {
            let text = "x".repeat(len);
            let mut hasher = blake3::Hasher::new_keyed(&key.0);
            hasher.update(&[5, 4]).update(b"value").update(&[1; 4]).update(text.as_bytes());
            let expected = hasher.finalize();
            assert_eq!(key.value(FieldTag([1; 4]), &text).0, expected.as_bytes()[..8], "{len}");
        }
    }
}
