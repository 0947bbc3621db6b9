//! The same address on several customers of one brand.
//!
//! The first reading keeps only 64 bits of every address's hash; sorting shows
//! which of them came twice. Only if there are such, a second reading finds
//! their rows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::notices::{Notice, NoticeKind, Notices};
use super::vanished::{hash_tag, vanished_customer};
use crate::mapping::{Intent, Place};
use crate::reconcile::{AddressHash, CustomerKey, HashKey};
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
    /// Tags of the first row of each customer.
    tags: Vec<u64>,
    /// Tags of further rows with the customer, which may repeat an address of
    /// their own customer.
    later_tags: Vec<(u64, i64)>,
    /// Sorted: tags of known customers who are not in the export; then only those
    /// that came.
    absent: Vec<u64>,
    /// Sorted: tags that came twice, or that an absent customer has.
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
        if !self.search.is_active() {
            return;
        }
        if order == RowOrder::First {
            self.tags.extend(tags);
        } else {
            let customer = vanished_customer(customer);
            self.later_tags.extend(tags.map(|tag| (tag, customer)));
        }
    }

    /// First reading: the tags of all customers whose rows were unchanged.
    pub(crate) fn add_unchanged(&mut self, mut tags: Vec<u64>) {
        if self.search.is_active() {
            tags.append(&mut self.tags);
            self.tags = tags;
        }
    }

    /// First reading: the tags of known customers who are not in the export.
    pub(crate) fn add_absent(&mut self, tags: impl Iterator<Item = u64>) {
        if self.search.is_active() {
            self.absent.extend(tags);
        }
    }

    /// Ends the first reading. Returns the tags of addresses whose rows the second
    /// reading brings, sorted.
    pub(crate) fn find_suspects(&mut self, customers: u64) -> &[u64] {
        let Self { tags, later_tags, absent, suspects, widest, .. } = self;
        tags.sort_unstable();
        let same = tags.chunk_by(|one, other| one == other).max_by_key(|same| same.len());
        if let Some(same) = same {
            (widest.tag, widest.customers) = (same[0], same.len() as u64);
        }
        suspects.extend(tags.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]));
        later_tags.sort_unstable();
        later_tags.dedup();
        let repeated = later_tags.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| pair[0].0);
        suspects.extend(repeated);
        suspects.extend(later_tags.iter().map(|(tag, _)| *tag).filter(|tag| tags.binary_search(tag).is_ok()));
        absent.retain(|tag| {
            tags.binary_search(tag).is_ok() || later_tags.binary_search_by_key(tag, |(tag, _)| *tag).is_ok()
        });
        absent.sort_unstable();
        suspects.extend_from_slice(absent);
        suspects.sort_unstable();
        suspects.dedup();
        (self.tags, self.later_tags) = (Vec::new(), Vec::new());
        self.found.tag = self.suspects.iter().fold(0, |all, suspect| all ^ suspect);
        self.is_widest_named = self.widest.is_suspicious(customers);
        if self.count_before().is_some() {
            self.suspects = Vec::new();
        }
        self.holders = vec![None; self.suspects.len()];
        &self.suspects
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

/// The tag of an address within a brand: customers of different brands may
/// well be the same person.
pub(crate) fn brand_address_tag(address: AddressHash, brand_id: u64) -> u64 {
    // An odd factor: different brands stay different, and zero changes nothing.
    hash_tag(&address.0).cast_unsigned() ^ brand_id.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
