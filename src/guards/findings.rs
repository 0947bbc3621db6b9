//! The findings of a first pass besides the calls: notices, and what the guards
//! compare with the last run.

use std::collections::HashSet;

use super::baseline::{Baseline, RunProfile};
use super::mapping_changes::MappingChanges;
use super::moved_addresses::{MovedAddressTracker, MovedAddresses};
use super::notices::{Notice, NoticeKind, Notices, field_name};
use super::repeated_rows::RepeatedRows;
use super::same_id::SameId;
use super::shared_addresses::{SharedAddressSearch, SharedAddressTracker, WidestAddress};
use super::vanished::{VanishedChanges, VanishedTracker, vanished_customer};
use crate::mapping::{Fill, Intent, MappedKey, Place};
use crate::omnidesk::Call;
use crate::reconcile::{Acked, CustomerKey, HashKey, Superseded};
use crate::source::RowRef;

#[derive(Debug, Clone, Default)]
pub(crate) struct Findings {
    pub(crate) notices: Notices,
    pub(crate) mapping_changes: MappingChanges,
    pub(crate) vanished: VanishedChanges,
    pub(crate) same_id: SameId,
    pub(crate) moved_addresses: MovedAddresses,
    pub(crate) widest_address: WidestAddress,
    /// For the next run to compare with.
    pub(crate) profile: RunProfile,
}

/// Collects the findings of one first pass.
///
/// The first reading brings every row to `shared_addresses`, and each decision
/// by [`Inspection::add_decision`]. If addresses are suspected to be shared, or
/// customers have several rows, a second reading brings the rows that matter once
/// more, by [`Inspection::name_shared`] and [`Inspection::add_repeated`].
#[derive(Debug)]
pub(crate) struct Inspection {
    key: HashKey,
    pub(crate) shared_addresses: SharedAddressTracker,
    pub(crate) vanished: VanishedTracker,
    pub(crate) mapping_changes: MappingChanges,
    moved_addresses: MovedAddressTracker,
    /// Rows that contradict an earlier one.
    conflicts: u64,
    /// Rows of which something is superseded.
    superseded: u64,
    notices: Notices,
}

impl Inspection {
    pub(crate) fn new(
        key: HashKey,
        keys: &[MappedKey],
        baseline: &Baseline,
        search: SharedAddressSearch,
    ) -> Self {
        let profile = baseline.profile.as_ref();
        let before = profile.map(|profile| profile.shared_addresses);
        Self {
            key,
            shared_addresses: SharedAddressTracker::new(search, before),
            vanished: VanishedTracker::new(&baseline.vanished),
            mapping_changes: MappingChanges::new(keys, profile),
            moved_addresses: MovedAddressTracker::default(),
            conflicts: 0,
            superseded: 0,
            notices: Notices::default(),
        }
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

    /// The row of a known customer who changes, with what was acknowledged before.
    pub(crate) fn add_change(&mut self, intent: &Intent, before: &Acked) {
        self.moved_addresses.add_row(&self.key, intent, before);
    }

    /// A row of the second reading.
    pub(crate) fn name_shared(&mut self, customer: CustomerKey, intent: &Intent) {
        self.shared_addresses.name_row(&self.key, customer, intent, &mut self.notices);
    }

    /// A row of the second reading whose customer has several: these `rows`.
    pub(crate) fn add_repeated(&mut self, rows: &mut RepeatedRows, intent: &Intent) {
        let Place::Row(at) = intent.at else { return };
        if let Some(notice) = rows.add(&self.key, at, intent) {
            self.conflicts += 1;
            self.notices.add(notice);
        }
    }

    /// A row of which something is not sent.
    pub(crate) fn add_superseded(&mut self, at: RowRef, superseded: &Superseded) {
        self.superseded += 1;
        let fields = match superseded {
            Superseded::ByPurge => vec![None],
            Superseded::Fields(fields) => fields.iter().map(|field| Some(field_name(field))).collect(),
        };
        for field in fields {
            self.notices.add(Notice { at, kind: NoticeKind::Superseded, field, other: None });
        }
    }

    /// Ends the inspection. `repeated` are the customers with several rows, with
    /// what is acknowledged after all of them.
    pub(crate) fn finish<'a>(
        mut self,
        fill: &Fill,
        keys: &[MappedKey],
        repeated: impl Iterator<Item = (CustomerKey, &'a RepeatedRows, Option<&'a Acked>)> + Clone,
    ) -> Findings {
        let customers: HashSet<i64> = repeated.clone().map(|(key, ..)| vanished_customer(key)).collect();
        self.vanished.retract(|customer| customers.contains(&customer));
        let mut same_id = SameId::default();
        for (customer, rows, acked) in repeated {
            rows.people.iter().for_each(|people| same_id.add(people));
            if let (Some(acked), Some(at)) = (acked, rows.synced_at) {
                self.vanished.compare(customer, &rows.addresses, acked, at);
            }
        }
        let notices = &mut self.notices;
        notices.set_count(NoticeKind::ConflictingRow, self.conflicts, 0);
        notices.set_count(NoticeKind::Superseded, self.superseded, 0);
        let shared_addresses = self.shared_addresses.finish(notices);
        let vanished = self.vanished.finish(notices);
        notices.sort();
        let profile =
            RunProfile { shared_addresses, notices: notices.lines(), ..RunProfile::new(fill, keys) };
        Findings {
            notices: self.notices,
            mapping_changes: self.mapping_changes,
            vanished,
            same_id,
            moved_addresses: self.moved_addresses.finish(),
            widest_address: self.shared_addresses.widest(),
            profile,
        }
    }
}
