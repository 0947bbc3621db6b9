//! Addresses that customers have in Omnidesk and that the export no longer has.
//! Each is reported once, in the run in which it vanished.

use super::notices::{Notice, NoticeKind, Notices};
use crate::mapping::{Address, Intent, Operation, Place};
use crate::reconcile::{Acked, AddressHash, CustomerKey, HashKey};
use crate::source::RowRef;

/// A customer and an address: the first 64 bits of each hash.
pub type VanishedAddress = (i64, i64);

/// What a run adds to the vanished addresses, and takes from them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VanishedChanges {
    pub added: Vec<VanishedAddress>,
    /// In the export again.
    pub returned: Vec<VanishedAddress>,
}

/// Compares what Omnidesk holds of customers with what their rows hold.
#[derive(Debug, Default)]
pub(super) struct VanishedTracker {
    reported: Vec<VanishedAddress>,
    changes: VanishedChanges,
    /// Customers of addresses that vanished before and still do.
    still_vanished: Vec<i64>,
    /// The rows of `changes.added`.
    rows: Vec<RowRef>,
}

impl VanishedTracker {
    pub(super) fn new(reported: &[VanishedAddress]) -> Self {
        Self { reported: reported.to_vec(), ..Self::default() }
    }

    /// Whether addresses of the customer were reported as vanished.
    pub(super) fn has_reported(&self, customer: CustomerKey) -> bool {
        !self.reported.is_empty() && !self.reported_of(hash_tag(&customer.0)).is_empty()
    }

    /// Takes in what Omnidesk holds of a customer once the row is applied.
    ///
    /// A `sync` row's addresses are all acknowledged by then. So a customer with
    /// as many addresses as the row has no others: nearly always nothing is
    /// hashed here.
    pub(super) fn add_row(&mut self, key: &HashKey, customer: CustomerKey, intent: &Intent, acked: &Acked) {
        let (Operation::Sync, Place::Row(at)) = (intent.operation, intent.at) else { return };
        if self.has_reported(customer) || acked.addresses.len() > intent.addresses.len() {
            let held: Vec<AddressHash> = address_hashes(key, &intent.addresses).collect();
            self.compare(customer, &held, acked, at);
        }
    }

    /// The same for a customer with several rows, which hold `held` together.
    pub(super) fn compare(&mut self, customer: CustomerKey, held: &[AddressHash], acked: &Acked, at: RowRef) {
        let customer = hash_tag(&customer.0);
        let is_held = |tag: i64| held.iter().any(|hash| hash_tag(&hash.0) == tag);
        let returned = self.reported_of(customer).iter().filter(|(_, address)| is_held(*address));
        let returned: Vec<VanishedAddress> = returned.copied().collect();
        self.changes.returned.extend(returned);
        for address in acked.addresses.iter().filter(|address| !held.contains(address)) {
            let vanished = (customer, hash_tag(&address.0));
            if self.reported.binary_search(&vanished).is_ok() {
                self.still_vanished.push(customer);
            } else {
                self.changes.added.push(vanished);
                self.rows.push(at);
            }
        }
    }

    /// Takes back what was found of customers who turned out to have more rows.
    pub(super) fn retract(&mut self, mut has_more: impl FnMut(i64) -> bool) {
        self.still_vanished.retain(|customer| !has_more(*customer));
        self.changes.returned.retain(|(customer, _)| !has_more(*customer));
        let kept: Vec<bool> = self.changes.added.iter().map(|(customer, _)| !has_more(*customer)).collect();
        let mut keep = kept.iter();
        self.rows.retain(|_| keep.next() == Some(&true));
        self.changes.added.retain(|(customer, _)| !has_more(*customer));
    }

    pub(super) fn finish(self, notices: &mut Notices) -> VanishedChanges {
        let (added, still) = (self.changes.added.len() as u64, self.still_vanished.len() as u64);
        notices.set_count(NoticeKind::VanishedAddress, added, still);
        for at in self.rows {
            notices.add(Notice { at, kind: NoticeKind::VanishedAddress, field: None, other: None });
        }
        self.changes
    }

    fn reported_of(&self, customer: i64) -> &[VanishedAddress] {
        let from = self.reported.partition_point(|(other, _)| *other < customer);
        let len = self.reported[from..].iter().take_while(|(other, _)| *other == customer).count();
        &self.reported[from..from + len]
    }
}

pub(super) fn address_hashes<'a>(
    key: &HashKey,
    addresses: &'a [Address],
) -> impl Iterator<Item = AddressHash> + 'a {
    let key = *key;
    addresses.iter().map(move |address| key.address(address))
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
