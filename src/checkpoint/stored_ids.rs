//! Ids of customers, stored for whoever asks who is missing.
//!
//! A purge needs the brand and the id, and a keyed hash does not give them
//! back. So with `[missing] action` set, both are stored, combined with a pad
//! that is made of the checkpoint's key and the customer's. The key is in the
//! same file: this keeps ids out of a glance, a search and a log. It does not
//! keep them from somebody who has the file and this program.

use rusqlite::OptionalExtension;

use super::database::Checkpoint;
use super::error::CheckpointError;
use crate::mapping::{Customer, PrimaryId};
use crate::reconcile::{CustomerKey, HashKey};

const PURPOSE: &str = "omnidesk-sync checkpoint stored ids";

/// Combines ids with a pad of their customer's own.
pub(super) struct IdPad {
    pad_key: [u8; 32],
    hash_key: HashKey,
}

impl std::fmt::Debug for IdPad {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        out.write_str("IdPad(***)")
    }
}

impl IdPad {
    pub(super) fn new(hash_key: HashKey) -> Self {
        Self { pad_key: hash_key.derive(PURPOSE), hash_key }
    }

    pub(super) fn seal(&self, key: CustomerKey, customer: &Customer) -> Vec<u8> {
        let mut bytes = customer.brand_id.to_le_bytes().to_vec();
        bytes.extend_from_slice(customer.primary_id.as_str().as_bytes());
        self.combine(key, &mut bytes);
        bytes
    }

    /// `None` if it is not what was stored: the id must lead back to its key.
    pub(super) fn open(&self, key: CustomerKey, sealed: &[u8]) -> Option<Customer> {
        let mut bytes = sealed.to_vec();
        self.combine(key, &mut bytes);
        let (brand, id) = bytes.split_first_chunk::<8>()?;
        let primary_id = PrimaryId::new(std::str::from_utf8(id).ok()?).ok()?;
        let customer = Customer { brand_id: u64::from_le_bytes(*brand), primary_id };
        (self.hash_key.customer(&customer) == key).then_some(customer)
    }

    fn combine(&self, key: CustomerKey, bytes: &mut [u8]) {
        let mut pad = vec![0; bytes.len()];
        blake3::Hasher::new_keyed(&self.pad_key).update(&key.0).finalize_xof().fill(&mut pad);
        bytes.iter_mut().zip(pad).for_each(|(byte, pad)| *byte ^= pad);
    }
}

impl Checkpoint {
    /// The customer with this key, if the id is stored.
    pub fn stored_id(&self, key: CustomerKey) -> Result<Option<Customer>, CheckpointError> {
        let sealed: Option<Vec<u8>> = self
            .connection
            .prepare_cached("SELECT id FROM stored_id WHERE key = ?")
            .and_then(|mut statement| statement.query_row([key.0.as_slice()], |row| row.get(0)).optional())
            .map_err(|source| self.sqlite_error(source))?;
        let ids = IdPad::new(self.key());
        let open = |sealed: Vec<u8>| {
            ids.open(key, &sealed)
                .ok_or_else(|| CheckpointError::damaged(self.path(), "a stored id is wrong"))
        };
        sealed.map(open).transpose()
    }

    pub fn forget_ids(&mut self) -> Result<(), CheckpointError> {
        let has_any: bool = self
            .connection
            .query_row("SELECT EXISTS (SELECT 1 FROM stored_id)", [], |row| row.get(0))
            .map_err(|source| self.sqlite_error(source))?;
        if !has_any {
            return Ok(());
        }
        let mut batch = self.batch()?;
        batch.forget_all_ids()?;
        batch.commit_states()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn customer(brand_id: u64, id: &str) -> Customer {
        Customer { brand_id, primary_id: PrimaryId::new(id).expect("an id") }
    }

    #[test]
    fn only_the_right_customer_key_and_bytes_give_an_id_back() {
        let key = HashKey::new([7; 32]);
        let (ids, other) = (IdPad::new(key), IdPad::new(HashKey::new([8; 32])));
        let jan = customer(2, "K-100 \u{e9}");
        let (at, elsewhere) = (key.customer(&jan), key.customer(&customer(3, "K-100")));
        let sealed = ids.seal(at, &jan);
        assert_eq!(ids.open(at, &sealed), Some(jan.clone()));
        assert_eq!(sealed, ids.seal(at, &jan), "the same bytes each time");
        assert!(!sealed.windows(5).any(|part| part == b"K-100"));
        assert_eq!(ids.open(elsewhere, &sealed), None);
        assert_eq!(other.open(at, &sealed), None);
        for byte in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[byte] ^= 1;
            assert_eq!(ids.open(at, &changed), None, "byte {byte}");
        }
    }

    /// With the same pad for both, the XOR of two would be the XOR of the ids.
    #[test]
    fn no_two_customers_share_a_pad() {
        let key = HashKey::new([7; 32]);
        let ids = IdPad::new(key);
        let sealed = |id| {
            let customer = customer(2, id);
            ids.seal(key.customer(&customer), &customer)
        };
        let xor = |one: &[u8], other: &[u8]| one.iter().zip(other).map(|(a, b)| a ^ b).collect::<Vec<u8>>();
        let (one, other) = (sealed("K-100"), sealed("L-234"));
        // The brand is in front of the id, and the same.
        assert_ne!(xor(&one[..8], &other[..8]), [0; 8]);
        assert_ne!(xor(&one[8..13], &other[8..13]), xor(b"K-100", b"L-234"));
    }
}
