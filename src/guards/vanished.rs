//! Addresses that customers have in Omnidesk and that the export no longer
//! has. Each is told once, in the run in which it vanished.

use super::notices::{Notice, NoticeKind, Notices};
use crate::mapping::{Address, Intent, Operation};
use crate::reconcile::Acked;
use crate::reconcile::{AddressHash, CustomerKey, HashKey};
use crate::source::RowRef;

/// A customer and an address, 64 bits of each hash.
pub type VanishedAddress = (i64, i64);

/// What a run adds to the addresses told to be gone, and takes from them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VanishedChanges {
    /// Gone since this export.
    pub vanished: Vec<VanishedAddress>,
    /// In the export again.
    pub returned: Vec<VanishedAddress>,
}

/// Compares what customers were told with what their rows hold.
#[derive(Debug, Default)]
pub(crate) struct VanishedTracker {
    told_before: Vec<VanishedAddress>,
    changes: VanishedChanges,
    /// Customers of addresses that were told to be gone before.
    still: Vec<i64>,
    /// The rows of `changes.vanished`.
    rows: Vec<RowRef>,
}

impl VanishedTracker {
    pub(crate) fn new(told_before: &[VanishedAddress]) -> Self {
        Self { told_before: told_before.to_vec(), ..Self::default() }
    }

    pub(crate) fn told_of(&self, customer: CustomerKey) -> bool {
        !self.told_before.is_empty() && !self.before(mark(&customer.0)).is_empty()
    }

    /// Takes in what a customer has been told once the row is applied.
    ///
    /// A `sync` row's addresses have all been told by then, so that a customer
    /// with as many addresses as the row has none besides: nearly always
    /// nothing is hashed here.
    pub(crate) fn row(
        &mut self,
        key: &HashKey,
        customer: CustomerKey,
        intent: &Intent,
        told: Option<&Acked>,
    ) {
        if intent.operation != Operation::Sync {
            return;
        }
        let Some(told) = told.filter(|told| !told.purged) else { return };
        let is_known = !self.before(mark(&customer.0)).is_empty();
        if is_known || told.addresses.len() > intent.addresses.len() {
            let held: Vec<AddressHash> = hashes(key, &intent.addresses).collect();
            self.compare(customer, &held, told, intent.at);
        }
    }

    /// The same for a customer with several rows, which hold `held` together.
    pub(crate) fn compare(&mut self, customer: CustomerKey, held: &[AddressHash], told: &Acked, at: RowRef) {
        let who = mark(&customer.0);
        let returned =
            self.before(who).iter().filter(|(_, gone)| held.iter().any(|hash| mark(&hash.0) == *gone));
        let returned: Vec<VanishedAddress> = returned.copied().collect();
        self.changes.returned.extend(returned);
        for address in told.addresses.iter().filter(|address| !held.contains(address)) {
            let gone = (who, mark(&address.0));
            if self.told_before.binary_search(&gone).is_ok() {
                self.still.push(who);
            } else {
                self.changes.vanished.push(gone);
                self.rows.push(at);
            }
        }
    }

    /// Takes back what was said of customers who turned out to have more rows.
    pub(crate) fn retract(&mut self, mut has_more: impl FnMut(i64) -> bool) {
        self.still.retain(|who| !has_more(*who));
        self.changes.returned.retain(|(who, _)| !has_more(*who));
        let mut kept =
            self.changes.vanished.iter().map(|(who, _)| !has_more(*who)).collect::<Vec<_>>().into_iter();
        self.rows.retain(|_| kept.next().unwrap_or(false));
        self.changes.vanished.retain(|(who, _)| !has_more(*who));
    }

    pub(crate) fn finish(self, notices: &mut Notices) -> VanishedChanges {
        let (vanished, still) = (self.changes.vanished.len() as u64, self.still.len() as u64);
        notices.count(NoticeKind::VanishedAddress, vanished, still);
        for at in self.rows {
            notices.add(Notice { at, kind: NoticeKind::VanishedAddress, field: None, other: None });
        }
        self.changes
    }

    fn before(&self, who: i64) -> &[VanishedAddress] {
        let from = self.told_before.partition_point(|(customer, _)| *customer < who);
        let len = self.told_before[from..].iter().take_while(|(customer, _)| *customer == who).count();
        &self.told_before[from..from + len]
    }
}

pub(crate) fn hashes<'a>(key: &HashKey, addresses: &'a [Address]) -> impl Iterator<Item = AddressHash> + 'a {
    let key = *key;
    addresses.iter().map(move |address| key.address(address))
}

/// A customer as a [`VanishedAddress`] has them.
#[must_use]
pub fn gone_customer(customer: CustomerKey) -> i64 {
    mark(&customer.0)
}

/// The first 64 bits of a hash.
pub(crate) fn mark(hash: &[u8]) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    i64::from_le_bytes(first)
}
