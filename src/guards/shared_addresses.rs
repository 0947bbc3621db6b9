//! The same address on several customers of one brand.
//!
//! The first reading keeps only 64 bits of every address's hash, and of its
//! customer's. Those show which addresses have several holders. Only if there are
//! such, a second reading finds the rows of these customers.

use std::collections::HashSet;
use std::num::NonZero;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::notices::{Notice, NoticeKind, Notices};
use super::vanished::{hash_tag, vanished_customer};
use crate::mapping::{Intent, Place};
use crate::reconcile::{AddressHash, BuildKeyHasher, CustomerKey, HashKey};
use crate::source::RowRef;

/// `shared_addresses`: what to do about an address that several customers have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SharedAddressesPolicy {
    /// Report which rows.
    #[default]
    Report,
    /// Block the run.
    Block,
    /// Do not search.
    Ignore,
}

/// Which shared addresses a first pass finds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum SharedAddressSearch {
    /// All, unless they are the same as in the last run.
    #[default]
    New,
    All,
    None,
}

impl SharedAddressSearch {
    pub(crate) fn is_active(self) -> bool {
        self != Self::None
    }
}

impl SharedAddressesPolicy {
    /// A run that is not blocked reports each address once.
    pub(crate) fn search_of_run(self) -> SharedAddressSearch {
        match self {
            Self::Report => SharedAddressSearch::New,
            Self::Block => SharedAddressSearch::All,
            Self::Ignore => SharedAddressSearch::None,
        }
    }

    pub(crate) fn search_of_plan(self) -> SharedAddressSearch {
        if self == Self::Ignore { SharedAddressSearch::None } else { SharedAddressSearch::All }
    }
}

#[derive(Debug, Default)]
pub(crate) struct SharedAddressTracker {
    search: SharedAddressSearch,
    /// What the last run has found.
    before: Option<SharedAddresses>,
    /// Of the first row of each customer, if it was mapped.
    first: Vec<TaggedAddress>,
    /// Of further rows with the customer, which may repeat an address.
    later: Vec<TaggedAddress>,
    /// Sorted: tags of suspects that an absent customer has.
    absent: Vec<u64>,
    /// Sorted: tags that several customers have, one of them present.
    suspects: Vec<u64>,
    /// The first holder of each suspect.
    holders: Vec<Option<AddressHolder>>,
    found: SharedAddresses,
    widest: WidestAddress,
    /// Whether its rows are wanted, also if they were reported before.
    is_widest_named: bool,
}

/// The address that most customers have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WidestAddress {
    tag: u64,
    pub(super) customers: u64,
    /// The first rows with it, and the kind of address.
    pub(super) rows: Vec<u64>,
    pub(super) field: String,
}

/// Rows kept of it.
const WIDEST_EXAMPLES: usize = 3;
/// An office and a family are smaller.
const WIDEST_MIN: u64 = 20;

impl WidestAddress {
    /// Whether it cannot be the address of so many customers.
    pub(super) fn is_suspicious(&self, customers: u64) -> bool {
        self.customers >= WIDEST_MIN && 2 * self.customers > customers
    }
}

/// What a search has found, for the next run to compare with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SharedAddresses {
    /// The same for the same addresses.
    pub tag: u64,
    /// Addresses of several customers in the export.
    pub shared: u64,
    /// Addresses of a customer in the export and of a known one who is not in it.
    pub held: u64,
}

#[derive(Debug, Clone, Copy)]
struct AddressHolder {
    customer: i64,
    at: RowRef,
    is_shared: bool,
}

/// Whether a row is its customer's first in the export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowOrder {
    First,
    Later,
}

/// An address of a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaggedAddress {
    /// See [`brand_address_tag`].
    pub(crate) tag: u64,
    /// [`CustomerKey::short`], if the export has the customer.
    pub(crate) present: Option<NonZero<u64>>,
}

impl SharedAddressTracker {
    pub(super) fn new(search: SharedAddressSearch, before: Option<SharedAddresses>) -> Self {
        Self { search, before, ..Self::default() }
    }

    /// First reading: the tags of a row's addresses, see [`brand_address_tag`].
    pub(crate) fn add_row(
        &mut self,
        customer: CustomerKey,
        tags: impl Iterator<Item = u64>,
        order: RowOrder,
    ) {
        if self.search.is_active() {
            let present = NonZero::new(customer.short());
            let addresses = if order == RowOrder::First { &mut self.first } else { &mut self.later };
            addresses.extend(tags.map(|tag| TaggedAddress { tag, present }));
        }
    }

    /// Ends the first reading. `others` are the addresses of known customers who
    /// are absent, or whose rows were unchanged. Returns the customers whose rows the
    /// second reading brings.
    pub(crate) fn find_holders(
        &mut self,
        customers: u64,
        others: impl Iterator<Item = TaggedAddress> + Clone,
    ) -> HashSet<u64, BuildKeyHasher> {
        let (first, mut later) = (std::mem::take(&mut self.first), std::mem::take(&mut self.later));
        later.sort_unstable();
        later.dedup();
        let candidates = with_equal_tags(first.iter().chain(&later).copied().chain(others));
        let mut holders = HashSet::default();
        for same in candidates.chunk_by(|one, other| one.tag == other.tag) {
            let tag = same[0].tag;
            let later =
                later.partition_point(|one| one.tag <= tag) - later.partition_point(|one| one.tag < tag);
            let mut present: Vec<_> = same.iter().filter_map(|one| one.present).collect();
            let first = (present.len() - later) as u64;
            present.dedup();
            let has_absent = same.iter().any(|one| one.present.is_none());
            if present.len() < 2 - usize::from(has_absent) {
                continue;
            }
            if has_absent {
                self.absent.push(tag);
            }
            if first > self.widest.customers {
                (self.widest.tag, self.widest.customers) = (tag, first);
            }
            self.suspects.push(tag);
            self.found.tag ^= tag;
            holders.extend(present.into_iter().map(NonZero::get));
        }
        self.is_widest_named = self.widest.is_suspicious(customers);
        if self.count_before().is_some() {
            self.suspects = Vec::new();
            holders = HashSet::default();
        }
        self.holders = vec![None; self.suspects.len()];
        holders
    }

    /// What the last run has found, if it is the same and needs no names.
    fn count_before(&self) -> Option<SharedAddresses> {
        let is_wanted = self.search == SharedAddressSearch::New && !self.is_widest_named;
        let before = self.before.filter(|_| is_wanted);
        before.filter(|before| before.tag == self.found.tag)
    }

    /// Second reading: any row.
    pub(super) fn name_row(
        &mut self,
        key: &HashKey,
        customer: CustomerKey,
        intent: &Intent,
        notices: &mut Notices,
    ) {
        let Place::Row(row) = intent.at else { return };
        if self.suspects.is_empty() {
            return;
        }
        let customer = vanished_customer(customer);
        for address in &intent.addresses {
            let tag = brand_address_tag(key.address(address), intent.customer.brand_id);
            let Ok(suspect) = self.suspects.binary_search(&tag) else { continue };
            let field = || Some(address.channel().as_str().to_owned());
            if self.is_widest_named && tag == self.widest.tag && self.widest.rows.len() < WIDEST_EXAMPLES {
                self.widest.rows.push(row.number);
                address.channel().as_str().clone_into(&mut self.widest.field);
            }
            let Some(holder) = &mut self.holders[suspect] else {
                self.holders[suspect] = Some(AddressHolder { customer, at: row, is_shared: false });
                if self.absent.binary_search(&tag).is_ok() {
                    let kind = NoticeKind::HeldAddress;
                    notices.add(Notice { at: row, kind, field: field(), other: None });
                    self.found.held += 1;
                }
                continue;
            };
            if holder.customer == customer {
                continue;
            }
            let mut notice = |at, other: RowRef| {
                let (field, other) = (field(), Some(other.number));
                notices.add(Notice { at, kind: NoticeKind::SharedAddress, field, other });
            };
            notice(row, holder.at);
            if !std::mem::replace(&mut holder.is_shared, true) {
                notice(holder.at, row);
                self.found.shared += 1;
            }
        }
    }

    pub(super) fn widest(&self) -> WidestAddress {
        self.widest.clone()
    }

    /// What was found, for the next run.
    pub(super) fn finish(&self, notices: &mut Notices) -> SharedAddresses {
        let (before, found) = (self.count_before().unwrap_or_default(), self.found);
        notices.set_count(NoticeKind::SharedAddress, found.shared, before.shared);
        notices.set_count(NoticeKind::HeldAddress, found.held, before.held);
        let (shared, held) = (found.shared + before.shared, found.held + before.held);
        SharedAddresses { shared, held, ..found }
    }
}

/// The addresses whose tag another one has, sorted, and a few more. To find them by
/// places in a bitmap takes a tenth of what sorting all does.
fn with_equal_tags(addresses: impl Iterator<Item = TaggedAddress> + Clone) -> Vec<TaggedAddress> {
    // Sixteen places for each. Tags are spread evenly.
    let places = 16 * (addresses.clone().count() as u64 + 1);
    let place = |address: &TaggedAddress| {
        let place = (u128::from(address.tag) * u128::from(places)) >> 64;
        ((place / 64) as usize, 1_u64 << (place % 64))
    };
    let mut taken = vec![(0, 0); places.div_ceil(64) as usize];
    for address in addresses.clone() {
        let (word, bit) = place(&address);
        let (once, again) = &mut taken[word];
        *again |= *once & bit;
        *once |= bit;
    }
    let mut found: Vec<_> = addresses
        .filter(|address| {
            let (word, bit) = place(address);
            taken[word].1 & bit != 0
        })
        .collect();
    found.sort_unstable();
    found
}

/// The tag of an address within a brand: customers of different brands may
/// well be the same person.
pub(crate) fn brand_address_tag(address: AddressHash, brand_id: u64) -> u64 {
    // An odd factor: different brands stay different, and zero changes nothing.
    hash_tag(&address.0).cast_unsigned() ^ brand_id.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_address_whose_tag_another_has_is_found(tags in proptest::collection::vec(0_u64..60, 0..40)) {
            let address = |(at, tag): (usize, &u64)| {
                // Spread as hashes are.
                let tag = tag.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                TaggedAddress { tag, present: NonZero::new(at as u64 / 2) }
            };
            let mut all: Vec<_> = tags.iter().enumerate().map(address).collect();
            let found = with_equal_tags(all.iter().copied());
            prop_assert!(found.is_sorted());
            all.sort_unstable();
            let are_several = |same: &&[TaggedAddress]| same.len() > 1;
            let equal = |all: &[TaggedAddress]| {
                all.chunk_by(|one, other| one.tag == other.tag).filter(are_several).collect::<Vec<_>>().concat()
            };
            prop_assert_eq!(equal(&found), equal(&all));
        }
    }
}
