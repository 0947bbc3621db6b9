//! What a first pass finds besides the calls: notices, and what the guards
//! compare with the last run.

use std::collections::HashMap;

use super::baseline::{Baseline, RunProfile};
use super::conflicts::ConflictTracker;
use super::mapping_changes::MappingChanges;
use super::notices::{NoticeKind, Notices};
pub(crate) use super::shared_addresses::RowOrder;
use super::shared_addresses::{SharedAddressTracker, SharedAddressesPolicy};
use super::vanished::{VanishedChanges, VanishedTracker, address_hashes, hash_tag};
use crate::mapping::{Fill, Intent, MappedKey, Operation, Place};
use crate::omnidesk::Call;
use crate::reconcile::{Acked, AddressHash, CustomerKey, HashKey};
use crate::source::RowRef;

#[derive(Debug, Clone, Default)]
pub(crate) struct Findings {
    pub(crate) notices: Notices,
    pub(crate) mapping_changes: MappingChanges,
    pub(crate) vanished: VanishedChanges,
    /// For the next run to compare with.
    pub(crate) profile: RunProfile,
}

/// Collects the findings of one first pass.
///
/// It gets every row once by [`Inspection::add_row`] (or, in one piece, by
/// [`Inspection::add_unchanged`]) and each decision by
/// [`Inspection::add_decision`]. If [`Inspection::needs_second_reading`], or if
/// customers have several rows, the rows that matter come once more by
/// [`Inspection::name_shared`] and [`Inspection::add_repeated`].
#[derive(Debug)]
pub(crate) struct Inspection {
    key: HashKey,
    keys: Vec<MappedKey>,
    naming: Naming,
    /// The tag and the number of shared addresses in the last run.
    shared_before: Option<(u64, u64)>,
    shared_tag: u64,
    shared: SharedAddressTracker,
    vanished: VanishedTracker,
    conflicts: ConflictTracker,
    /// Of customers with several rows: the addresses that these hold.
    held: HashMap<CustomerKey, HeldAddresses>,
    mapping_changes: MappingChanges,
    notices: Notices,
}

/// Which shared addresses are named by their rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    All,
    /// Only if they are others than in the last run.
    New,
}

#[derive(Debug, Default)]
struct HeldAddresses {
    addresses: Vec<AddressHash>,
    at: RowRef,
    is_synced: bool,
}

impl Inspection {
    pub(crate) fn new(
        key: HashKey,
        keys: &[MappedKey],
        baseline: &Baseline,
        policy: SharedAddressesPolicy,
        naming: Naming,
    ) -> Self {
        let profile = baseline.profile.as_ref();
        let names_all = policy == SharedAddressesPolicy::Block;
        Self {
            key,
            keys: keys.to_vec(),
            naming: if names_all { Naming::All } else { naming },
            shared_before: profile.map(|profile| (profile.shared_addresses_tag, profile.shared_addresses)),
            shared_tag: 0,
            shared: SharedAddressTracker::new(policy),
            vanished: VanishedTracker::new(&baseline.vanished),
            conflicts: ConflictTracker::default(),
            held: HashMap::new(),
            mapping_changes: MappingChanges::new(keys, profile),
            notices: Notices::default(),
        }
    }

    /// Whether every decision needs the row's calls: they show what a changed
    /// mapping leads to.
    pub(crate) fn needs_calls(&self) -> bool {
        !self.mapping_changes.keys.is_empty()
    }

    /// Whether addresses of the customer were reported as vanished: a row may
    /// bring them back.
    pub(crate) fn has_vanished(&self, customer: CustomerKey) -> bool {
        self.vanished.has_reported(customer)
    }

    pub(crate) fn needs_addresses(&self) -> bool {
        self.shared.is_active()
    }

    /// A row of the first reading with the tags of its addresses, see
    /// [`super::brand_address_tag`].
    pub(crate) fn add_row(
        &mut self,
        customer: CustomerKey,
        tags: impl Iterator<Item = u64>,
        order: RowOrder,
    ) {
        self.shared.add_row(customer, tags, order);
    }

    /// The tags of all customers whose rows were unchanged.
    pub(crate) fn add_unchanged(&mut self, tags: Vec<u64>) {
        self.shared.add_unchanged(tags);
    }

    /// The tags of addresses whose rows the second reading brings, sorted.
    pub(crate) fn suspects(&self) -> &[u64] {
        self.shared.suspects()
    }

    /// The calls of a customer's first row, and what is acknowledged after them.
    pub(crate) fn add_decision(
        &mut self,
        customer: CustomerKey,
        intent: &Intent,
        calls: &[Call],
        acked: Option<&Acked>,
    ) {
        self.mapping_changes.add_calls(calls);
        if let Some(acked) = acked {
            self.vanished.add_row(&self.key, customer, intent, acked);
        }
    }

    /// Ends the first reading. Returns whether a second one is needed to name
    /// the rows that share addresses.
    pub(crate) fn needs_second_reading(&mut self) -> bool {
        self.shared_tag = self.shared.find_suspects();
        if self.is_as_before() && self.naming == Naming::New {
            self.shared.forget_suspects();
        }
        if self.shared.has_suspects() {
            self.shared.begin_naming();
        }
        self.shared.has_suspects()
    }

    fn is_as_before(&self) -> bool {
        self.shared_before.is_some_and(|(tag, _)| tag == self.shared_tag)
    }

    /// A row of the second reading.
    pub(crate) fn name_shared(&mut self, customer: CustomerKey, intent: &Intent) {
        self.shared.name_row(&self.key, customer, intent, &mut self.notices);
    }

    /// A row of the second reading whose customer has several.
    pub(crate) fn add_repeated(&mut self, customer: CustomerKey, intent: &Intent) {
        let Place::Row(at) = intent.at else { return };
        self.conflicts.add_row(&self.key, customer, intent, &mut self.notices);
        let held = self.held.entry(customer).or_default();
        match intent.operation {
            Operation::Sync => (held.is_synced, held.at) = (true, at),
            Operation::Purge => held.is_synced = false,
            _ => {}
        }
        held.addresses.extend(address_hashes(&self.key, &intent.addresses));
    }

    /// Ends the inspection. `repeated` are the customers with several rows, with
    /// what is acknowledged after all of them.
    pub(crate) fn finish<'a>(
        mut self,
        fill: &Fill,
        repeated: impl Iterator<Item = (CustomerKey, Option<&'a Acked>)>,
    ) -> Findings {
        if !self.held.is_empty() {
            let mut customers: Vec<i64> = self.held.keys().map(|customer| hash_tag(&customer.0)).collect();
            customers.sort_unstable();
            self.vanished.retract(|customer| customers.binary_search(&customer).is_ok());
        }
        for (customer, acked) in repeated {
            let held = self.held.get(&customer).filter(|held| held.is_synced);
            if let (Some(acked), Some(held)) = (acked, held) {
                self.vanished.compare(customer, &held.addresses, acked, held.at);
            }
        }
        let mut profile = RunProfile::new(fill, &self.keys);
        profile.shared_addresses_tag = self.shared_tag;
        let unnamed = self.shared_before.filter(|_| self.is_as_before() && self.naming == Naming::New);
        let (new, before) = unnamed.map_or((self.shared.count(), 0), |(_, count)| (0, count));
        profile.shared_addresses = new + before;
        self.notices.set_count(NoticeKind::SharedAddress, new, before);
        self.conflicts.finish(&mut self.notices);
        let vanished = self.vanished.finish(&mut self.notices);
        self.notices.sort();
        profile.notices = self.notices.lines();
        Findings { notices: self.notices, mapping_changes: self.mapping_changes, vanished, profile }
    }
}
