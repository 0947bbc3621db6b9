//! Ids of customers, encrypted, for whoever asks who is missing.
//!
//! A purge needs the brand and the id, and a keyed hash does not give them
//! back. So with `[missing] action` set, they are kept under XChaCha20-Poly1305.
//! The key comes from the checkpoint's own, which is in the same file: this
//! keeps ids out of a glance, a search and a log, and not from somebody who
//! has the file and this program.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use rusqlite::params;

use super::CheckpointError;
use super::batch::Batch;
use super::database::Checkpoint;
use super::file::explain;
use crate::mapping::{Customer, PrimaryId};
use crate::reconcile::{CustomerKey, HashKey};

const PURPOSE: &str = "omnidesk-sync checkpoint 2026-11 ids of customers";

/// Encrypts and decrypts.
pub(crate) struct IdPad(XChaCha20Poly1305);

impl std::fmt::Debug for IdPad {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        out.write_str("Names(***)")
    }
}

impl IdPad {
    pub(crate) fn new(key: &HashKey) -> Self {
        Self(XChaCha20Poly1305::new(&key.derived(PURPOSE).into()))
    }

    /// The same customer gives the same bytes: the nonce is the customer's
    /// own key, which belongs to one plain text and no other.
    fn sealed(&self, key: CustomerKey, customer: &Customer) -> Vec<u8> {
        let mut plain = customer.brand_id.to_le_bytes().to_vec();
        plain.extend_from_slice(customer.primary_id.as_str().as_bytes());
        // It fails only beyond 256 GiB.
        self.0.encrypt(&nonce(key), Payload { msg: &plain, aad: &key.0 }).unwrap_or_default()
    }

    /// `None` if somebody has changed it, or it is another customer's.
    pub(crate) fn opened(&self, key: CustomerKey, sealed: &[u8]) -> Option<Customer> {
        let plain = self.0.decrypt(&nonce(key), Payload { msg: sealed, aad: &key.0 }).ok()?;
        let (brand, id) = plain.split_first_chunk::<8>()?;
        let primary_id = PrimaryId::new(std::str::from_utf8(id).ok()?).ok()?;
        Some(Customer { brand_id: u64::from_le_bytes(*brand), primary_id })
    }
}

fn nonce(key: CustomerKey) -> XNonce {
    let mut nonce = [0; 24];
    nonce[..16].copy_from_slice(&key.0);
    nonce.into()
}

impl Batch<'_> {
    /// Keeps who a customer is.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn name(&mut self, key: CustomerKey, customer: &Customer) -> Result<(), CheckpointError> {
        let sealed = self.names.sealed(key, customer);
        self.execute("INSERT OR IGNORE INTO named VALUES (?, ?)", params![key.0.as_slice(), sealed])
    }

    /// Forgets who a customer was.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn unname(&mut self, key: CustomerKey) -> Result<(), CheckpointError> {
        self.execute("DELETE FROM named WHERE key = ?", [key.0.as_slice()])
    }
}

impl Checkpoint {
    /// Who a customer is, if that was kept.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn named(&self, key: CustomerKey) -> Result<Option<Customer>, CheckpointError> {
        use rusqlite::OptionalExtension;
        let sealed: Option<Vec<u8>> = self
            .connection
            .prepare_cached("SELECT name FROM named WHERE key = ?")
            .and_then(|mut statement| statement.query_row([key.0.as_slice()], |row| row.get(0)).optional())
            .map_err(|source| self.explain(source))?;
        let names = IdPad::new(&self.key());
        sealed
            .map(|sealed| names.opened(key, &sealed).ok_or_else(|| self.damaged("an id cannot be decrypted")))
            .transpose()
    }

    /// Forgets who everybody is.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn forget_names(&mut self) -> Result<(), CheckpointError> {
        let path = self.path().to_owned();
        let wrong = |source| explain(&path, source);
        let any: bool = self
            .connection
            .query_row("SELECT EXISTS (SELECT 1 FROM named)", [], |row| row.get(0))
            .map_err(wrong)?;
        if !any {
            return Ok(());
        }
        let mut batch = self.batch()?;
        batch.execute("DELETE FROM named", [])?;
        batch.commit_told()
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
        let (names, other) = (IdPad::new(&key), IdPad::new(&HashKey::new([8; 32])));
        let jan = customer(2, "K-100 \u{e9}");
        let (at, elsewhere) = (key.customer(&jan), key.customer(&customer(3, "K-100")));
        let sealed = names.sealed(at, &jan);
        assert_eq!(names.opened(at, &sealed), Some(jan.clone()));
        assert_eq!(sealed, names.sealed(at, &jan), "the same bytes each time");
        assert!(!sealed.windows(5).any(|part| part == b"K-100"));
        assert_eq!(names.opened(elsewhere, &sealed), None);
        assert_eq!(other.opened(at, &sealed), None);
        for byte in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[byte] ^= 1;
            assert_eq!(names.opened(at, &changed), None, "byte {byte}");
        }
    }

    /// With the same stream for both, the XOR of two would be the XOR of the ids.
    #[test]
    fn no_two_customers_share_a_key_stream() {
        let key = HashKey::new([7; 32]);
        let names = IdPad::new(&key);
        let sealed = |id| {
            let customer = customer(2, id);
            names.sealed(key.customer(&customer), &customer)
        };
        let xor = |one: &[u8], other: &[u8]| one.iter().zip(other).map(|(a, b)| a ^ b).collect::<Vec<u8>>();
        let (one, other) = (sealed("K-100"), sealed("L-234"));
        // The brand is in front of the id, and the same.
        assert_ne!(xor(&one[..8], &other[..8]), [0; 8]);
        assert_ne!(xor(&one[8..13], &other[8..13]), xor(b"K-100", b"L-234"));
    }
}
