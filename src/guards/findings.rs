//! What a first pass looks at besides the calls: what a person should know,
//! and what the guards compare with the last run.

use std::collections::HashMap;

use super::baseline::{Baseline, RunProfile};
use super::conflicts::ConflictTracker;
use super::mapping_changes::MappingChanges;
use super::notices::{NoticeKind, Notices};
use super::shared_addresses::{SharedAddressTracker, SharedAddressesPolicy};
use super::vanished::{VanishedChanges, VanishedTracker, hashes, mark};
use crate::mapping::{Fill, Intent, MappedKey, Operation};
use crate::omnidesk::Call;
use crate::reconcile::Acked;
use crate::reconcile::{AddressHash, CustomerKey, HashKey};
use crate::source::RowRef;

/// What a first pass has seen, complete.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// What a person should know.
    pub notices: Notices,
    /// Keys of the mapping that changed.
    pub remapped: MappingChanges,
    /// Addresses that went from the export, or came back.
    pub gone: VanishedChanges,
    /// For the next run to compare with.
    pub seen: RunProfile,
}

/// A look at the rows of one first pass.
///
/// It is shown every row once by [`Inspection::row`] (or [`Inspection::met`]), each decision
/// by [`Inspection::decided`], and then, if [`Inspection::needs_names`] says so or customers
/// have several rows, those that matter once more by [`Inspection::again`].
#[derive(Debug)]
pub struct Inspection {
    key: HashKey,
    mapped: Vec<MappedKey>,
    names_all: bool,
    shared_before: Option<(u64, u64)>,
    shared_mark: u64,
    shared: SharedAddressTracker,
    gone: VanishedTracker,
    conflicts: ConflictTracker,
    /// Of customers with several rows: the addresses that these hold.
    held: HashMap<CustomerKey, HeldAddresses>,
    remapped: MappingChanges,
    notices: Notices,
}

#[derive(Debug, Default)]
struct HeldAddresses {
    addresses: Vec<AddressHash>,
    at: RowRef,
    is_synced: bool,
}

impl Inspection {
    /// Begins. `names_all` asks for the rows of shared addresses though they
    /// are those of the last finished run.
    #[must_use]
    pub(crate) fn new(
        key: HashKey,
        mapped: &[MappedKey],
        past: &Baseline,
        setting: SharedAddressesPolicy,
        names_all: bool,
    ) -> Self {
        let shared_before = past.seen.as_ref().map(|seen| (seen.shared_mark, seen.shared));
        Self {
            key,
            mapped: mapped.to_vec(),
            names_all: names_all || setting == SharedAddressesPolicy::Block,
            shared_before,
            shared_mark: 0,
            shared: SharedAddressTracker::new(setting),
            gone: VanishedTracker::new(&past.gone),
            conflicts: ConflictTracker::default(),
            held: HashMap::new(),
            remapped: MappingChanges::new(mapped, past.seen.as_ref()),
            notices: Notices::default(),
        }
    }

    /// Whether every decision needs the row's calls: a mapping that changed is
    /// told by them.
    #[must_use]
    pub fn needs_calls(&self) -> bool {
        !self.remapped.keys.is_empty()
    }

    /// Whether addresses of the customer were told to be gone: a row may bring
    /// them back.
    #[must_use]
    pub fn told_of(&self, customer: CustomerKey) -> bool {
        self.gone.told_of(customer)
    }

    /// Whether addresses are looked at.
    #[must_use]
    pub fn looks_at_addresses(&self) -> bool {
        self.shared.looks()
    }

    /// A row of the first reading with the marks of its addresses, see
    /// [`super::shared_mark`], and whether it is its customer's first.
    pub fn row(&mut self, customer: CustomerKey, marks: impl Iterator<Item = u64>, is_first: bool) {
        self.shared.row(customer, marks, is_first);
    }

    /// The marks of all addresses of customers who were met in the first
    /// reading by rows that were not shown.
    pub fn met(&mut self, marks: Vec<u64>) {
        self.shared.met(marks);
    }

    /// The marks of addresses whose rows the second reading is to show, sorted.
    #[must_use]
    pub fn suspects(&self) -> &[u64] {
        self.shared.suspects()
    }

    /// A row's calls; `is_alone` says that no row of the customer was decided
    /// before it.
    pub fn decided(
        &mut self,
        customer: CustomerKey,
        intent: &Intent,
        calls: &[Call],
        told: Option<&Acked>,
        is_alone: bool,
    ) {
        if is_alone {
            self.remapped.calls(calls);
            self.gone.row(&self.key, customer, intent, told);
        }
    }

    /// Ends the first reading. Says whether a second one is needed to name the
    /// rows that share addresses; those that were there at the last run too
    /// are not named again.
    pub fn needs_names(&mut self) -> bool {
        self.shared_mark = self.shared.suspect();
        let is_as_before = self.shared_before.is_some_and(|(mark, _)| mark == self.shared_mark);
        if is_as_before && !self.names_all {
            self.shared.forget_rows();
        }
        if self.shared.has_suspects() {
            self.shared.begin_naming();
        }
        self.shared.has_suspects()
    }

    /// A row of the second reading, and whether its customer has several.
    pub fn again(&mut self, customer: CustomerKey, intent: &Intent, has_several: bool) {
        self.shared.name(&self.key, customer, intent, &mut self.notices);
        if !has_several {
            return;
        }
        self.conflicts.row(&self.key, customer, intent, &mut self.notices);
        let held = self.held.entry(customer).or_default();
        match intent.operation {
            Operation::Sync => (held.is_synced, held.at) = (true, intent.at),
            Operation::Purge => held.is_synced = false,
            _ => {}
        }
        held.addresses.extend(hashes(&self.key, &intent.addresses));
    }

    /// Ends the look. `several` are the customers with several rows, with what
    /// they will have been told.
    #[must_use]
    pub(crate) fn finish<'a>(
        mut self,
        fill: &Fill,
        several: impl Iterator<Item = (CustomerKey, Option<&'a Acked>)>,
    ) -> Findings {
        if !self.held.is_empty() {
            let mut whos: Vec<i64> = self.held.keys().map(|customer| mark(&customer.0)).collect();
            whos.sort_unstable();
            self.gone.retract(|who| whos.binary_search(&who).is_ok());
        }
        for (customer, told) in several {
            let Some(told) = told.filter(|told| !told.purged) else { continue };
            if let Some(held) = self.held.get(&customer).filter(|held| held.is_synced) {
                self.gone.compare(customer, &held.addresses, told, held.at);
            }
        }
        let mut seen = RunProfile::of(fill, &self.mapped);
        seen.shared_mark = self.shared_mark;
        let is_as_before = self.shared_before.filter(|(mark, _)| *mark == self.shared_mark);
        seen.shared = match is_as_before {
            Some((_, count)) if !self.names_all => count,
            _ => self.shared.count(),
        };
        match is_as_before {
            Some(_) if !self.names_all => self.notices.count(NoticeKind::SharedAddress, 0, seen.shared),
            _ => self.notices.count(NoticeKind::SharedAddress, seen.shared, 0),
        }
        self.conflicts.finish(&mut self.notices);
        let gone = self.gone.finish(&mut self.notices);
        self.notices.sort();
        seen.notices = self.notices.lines();
        Findings { notices: self.notices, remapped: self.remapped, gone, seen }
    }
}
