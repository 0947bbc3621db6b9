//! Stored ids: customers' ids, kept for the search for missing customers.
//!
//! A purge needs the brand and the id, and a keyed hash does not give them
//! back. So with `[missing] action` set, both are stored, combined with a pad
//! that is derived from the checkpoint's key and the customer's. The key is in
//! the same file. So a glance, a search or a log does not show the ids, but
//! anybody with the file and this program can read them.

use crate::mapping::{Customer, PrimaryId};
use crate::reconcile::{CustomerKey, HashKey};

const PURPOSE: &str = "omnidesk-sync checkpoint stored ids";

/// Combines ids with a pad of their customer's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdPad {
    pad_key: HashKey,
    pub(super) hash_key: HashKey,
}

impl IdPad {
    pub(super) fn new(hash_key: HashKey) -> Self {
        Self { pad_key: hash_key.derive(PURPOSE), hash_key }
    }

    pub(crate) fn encrypt(&self, key: CustomerKey, customer: &Customer) -> Vec<u8> {
        let mut bytes = customer.brand_id.to_le_bytes().to_vec();
        bytes.extend_from_slice(customer.primary_id.as_str().as_bytes());
        self.combine(key, &mut bytes);
        bytes
    }

    /// `None` if it is not what was stored: the id must lead back to its key.
    pub(crate) fn decrypt(&self, key: CustomerKey, mut bytes: Vec<u8>) -> Option<Customer> {
        self.combine(key, &mut bytes);
        let (brand, id) = bytes.split_first_chunk::<8>()?;
        let primary_id = PrimaryId::new(std::str::from_utf8(id).ok()?).ok()?;
        let customer = Customer { brand_id: u64::from_le_bytes(*brand), primary_id };
        (self.hash_key.customer(&customer) == key).then_some(customer)
    }

    fn combine(&self, key: CustomerKey, bytes: &mut [u8]) {
        let pad = self.pad_key.pad(key, bytes.len());
        bytes.iter_mut().zip(pad).for_each(|(byte, pad)| *byte ^= pad);
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
        let stored = ids.encrypt(at, &jan);
        assert_eq!(ids.decrypt(at, stored.clone()), Some(jan.clone()));
        assert_eq!(stored, ids.encrypt(at, &jan), "the same bytes each time");
        assert!(!stored.windows(5).any(|part| part == b"K-100"));
        assert_eq!(ids.decrypt(elsewhere, stored.clone()), None);
        assert_eq!(other.decrypt(at, stored.clone()), None);
        for byte in 0..stored.len() {
            let mut changed = stored.clone();
            changed[byte] ^= 1;
            assert_eq!(ids.decrypt(at, changed), None, "byte {byte}");
        }
    }

    /// With the same pad for both, the XOR of two would be the XOR of the ids.
    #[test]
    fn no_two_customers_share_a_pad() {
        let key = HashKey::new([7; 32]);
        let ids = IdPad::new(key);
        let stored = |id| {
            let customer = customer(2, id);
            ids.encrypt(key.customer(&customer), &customer)
        };
        let xor = |one: &[u8], other: &[u8]| one.iter().zip(other).map(|(a, b)| a ^ b).collect::<Vec<u8>>();
        let (one, other) = (stored("K-100"), stored("L-234"));
        // The brand is in front of the id, and the same.
        assert_ne!(xor(&one[..8], &other[..8]), [0; 8]);
        assert_ne!(xor(&one[8..13], &other[8..13]), xor(b"K-100", b"L-234"));
    }
}
