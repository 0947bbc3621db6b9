//! Addresses that move from known customers to other known customers: a column
//! that was sorted by itself gives everybody somebody else's.
//!
//! A family that shares an address keeps it on both, and a merged customer is not
//! in the export any more. So an address has moved only if the export takes it
//! from the one customer and gives it to the other.

use super::shared_addresses::brand_address_tag;
use super::vanished::address_hashes;
use crate::mapping::{Intent, Operation, Place};
use crate::reconcile::{Acked, AddressHash, HashKey};

/// So many customers may get others' addresses in a night: mergers and marriages.
const MOVED_MIN: u64 = 20;

/// Rows kept for a message.
const EXAMPLES: usize = 3;

/// Nothing is kept of customers who do not change.
#[derive(Debug, Default)]
pub(super) struct MovedAddressTracker {
    /// Tags of addresses that are new for their customer, with the row.
    gained: Vec<(u64, u64)>,
    /// Tags of addresses that their customer's row does not have any more.
    lost: Vec<u64>,
    /// Known customers who change.
    changed: u64,
}

/// Known customers who get the addresses of others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MovedAddresses {
    pub(super) customers: u64,
    pub(super) changed: u64,
    pub(super) rows: Vec<u64>,
}

impl MovedAddressTracker {
    /// Adds the row of a known customer who changes, with what was acknowledged
    /// before.
    pub(super) fn add_row(&mut self, key: &HashKey, intent: &Intent, before: &Acked) {
        let Place::Row(at) = intent.at else { return };
        self.changed += 1;
        if !matches!(intent.operation, Operation::Sync | Operation::Create) {
            return;
        }
        let tag = |hash: &AddressHash| brand_address_tag(*hash, intent.customer.brand_id);
        let addresses: Vec<AddressHash> = address_hashes(key, &intent.addresses).collect();
        let gained = addresses.iter().filter(|hash| !before.addresses.contains(hash));
        self.gained.extend(gained.map(|hash| (tag(hash), at.number)));
        self.lost.extend(before.addresses.iter().filter(|hash| !addresses.contains(hash)).map(tag));
    }

    pub(super) fn finish(mut self) -> MovedAddresses {
        self.lost.sort_unstable();
        let moved = self.gained.iter().filter(|(tag, _)| self.lost.binary_search(tag).is_ok());
        let mut rows: Vec<u64> = moved.map(|(_, row)| *row).collect();
        rows.sort_unstable();
        rows.dedup();
        let customers = rows.len() as u64;
        rows.truncate(EXAMPLES);
        MovedAddresses { customers, changed: self.changed, rows }
    }
}

impl MovedAddresses {
    /// Whether it looks like a mistake.
    pub(super) fn are_suspicious(&self) -> bool {
        self.customers >= MOVED_MIN && 2 * self.customers >= self.changed
    }
}
