//! Addresses that customers have in Omnidesk and that the export no longer has.
//! Each is reported once, in the run in which it vanished.

use std::collections::BTreeSet;

use super::notices::{Notice, NoticeKind, Notices};
use crate::mapping::{Address, Intent, Operation, Place};
use crate::reconcile::{Acked, AddressHash, CustomerKey, HashKey};
use crate::source::RowRef;

/// A customer and an address: the first 64 bits of each hash.
pub type VanishedAddress = (i64, i64);

/// How a run changes the list of vanished addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VanishedChanges {
    pub added: Vec<VanishedAddress>,
    /// In the export again.
    pub returned: Vec<VanishedAddress>,
}

/// Compares the addresses that Omnidesk holds of customers with those of their rows.
#[derive(Debug, Default)]
pub(crate) struct VanishedTracker {
    /// Sorted.
    reported: Vec<VanishedAddress>,
    added: Vec<(VanishedAddress, RowRef)>,
    returned: Vec<VanishedAddress>,
    /// Reported before, and still not in the export.
    unchanged: Vec<VanishedAddress>,
}

impl VanishedTracker {
    pub(super) fn new(reported: &[VanishedAddress]) -> Self {
        Self { reported: reported.to_vec(), ..Self::default() }
    }

    /// Whether addresses of the customer were reported as vanished: a row may
    /// bring them back.
    pub(crate) fn has_reported(&self, customer: CustomerKey) -> bool {
        !self.reported.is_empty() && !self.reported_of(vanished_customer(customer)).is_empty()
    }

    /// Takes in what Omnidesk holds of a customer once the row is applied.
    ///
    /// All addresses of a `sync` row are acknowledged by then. So a customer with
    /// as many addresses as the row has no others, and hardly ever is anything
    /// hashed here.
    pub(super) fn add_row(&mut self, key: &HashKey, customer: CustomerKey, intent: &Intent, acked: &Acked) {
        let (Operation::Sync, Place::Row(at)) = (intent.operation, intent.at) else { return };
        if self.has_reported(customer) || acked.addresses.len() > intent.addresses.len() {
            let addresses: Vec<AddressHash> = address_hashes(key, &intent.addresses).collect();
            self.compare(customer, &addresses, acked, at);
        }
    }

    /// The same for a customer with several rows, which have `addresses` together.
    pub(super) fn compare(
        &mut self,
        customer: CustomerKey,
        addresses: &[AddressHash],
        acked: &Acked,
        at: RowRef,
    ) {
        let customer = vanished_customer(customer);
        let tags: BTreeSet<i64> = addresses.iter().map(|hash| hash_tag(&hash.0)).collect();
        let returned = self.reported_of(customer).iter().filter(|(_, address)| tags.contains(address));
        let returned: Vec<VanishedAddress> = returned.copied().collect();
        self.returned.extend(returned);
        let acked = acked.addresses.iter().map(|address| hash_tag(&address.0));
        for vanished in acked.filter(|tag| !tags.contains(tag)).map(|tag| (customer, tag)) {
            if self.reported.binary_search(&vanished).is_ok() {
                self.unchanged.push(vanished);
            } else {
                self.added.push((vanished, at));
            }
        }
    }

    /// Takes back the findings for customers who turned out to have more rows.
    pub(super) fn retract(&mut self, mut has_more: impl FnMut(i64) -> bool) {
        self.unchanged.retain(|(customer, _)| !has_more(*customer));
        self.returned.retain(|(customer, _)| !has_more(*customer));
        self.added.retain(|((customer, _), _)| !has_more(*customer));
    }

    pub(super) fn finish(self, notices: &mut Notices) -> VanishedChanges {
        let kind = NoticeKind::VanishedAddress;
        notices.set_count(kind, self.added.len() as u64, self.unchanged.len() as u64);
        for (_, at) in &self.added {
            notices.add(Notice { at: *at, kind, field: None, other: None });
        }
        let added = self.added.into_iter().map(|(vanished, _)| vanished).collect();
        VanishedChanges { added, returned: self.returned }
    }

    fn reported_of(&self, customer: i64) -> &[VanishedAddress] {
        let from = self.reported.partition_point(|(other, _)| *other < customer);
        let len = self.reported[from..].partition_point(|(other, _)| *other == customer);
        &self.reported[from..from + len]
    }
}

pub(super) fn address_hashes(key: &HashKey, addresses: &[Address]) -> impl Iterator<Item = AddressHash> {
    addresses.iter().map(|address| key.address(address))
}

/// A customer as in a [`VanishedAddress`].
pub(crate) fn vanished_customer(customer: CustomerKey) -> i64 {
    hash_tag(&customer.0)
}

/// The first 64 bits of a hash.
pub(super) fn hash_tag(hash: &[u8]) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    i64::from_le_bytes(first)
}
