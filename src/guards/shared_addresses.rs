//! The same address on several customers of one brand.
//!
//! The first reading keeps 64 bits of every address's hash and nothing else;
//! sorting shows which of them came twice. Only if there are such, a second
//! reading says in which rows.

use serde::{Deserialize, Serialize};

use super::notices::{Notice, NoticeKind, Notices, channel_word};
use super::vanished::mark;
use crate::mapping::{Address, Intent};
use crate::reconcile::{AddressHash, CustomerKey, HashKey};
use crate::source::RowRef;

/// `shared_addresses`: what to do about an address that several customers have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SharedAddressesPolicy {
    /// Say which rows.
    #[default]
    Report,
    /// Let nothing be sent.
    Block,
    /// Do not look.
    Ignore,
}

/// Looks for shared addresses.
#[derive(Debug, Default)]
pub(crate) struct SharedAddressTracker {
    setting: SharedAddressesPolicy,
    /// Of the first row of each customer.
    marks: Vec<u64>,
    /// Of further rows, which may repeat an address of their own customer.
    later: Vec<(u64, i64)>,
    /// Sorted: addresses that came twice.
    suspects: Vec<u64>,
    /// Who had each suspect first, and where.
    holders: Vec<Option<AddressHolder>>,
    count: u64,
}

#[derive(Debug, Clone, Copy)]
struct AddressHolder {
    customer: i64,
    at: RowRef,
    is_shared: bool,
}

impl SharedAddressTracker {
    pub(crate) fn new(setting: SharedAddressesPolicy) -> Self {
        Self { setting, ..Self::default() }
    }

    /// Whether anybody asks.
    pub(crate) fn looks(&self) -> bool {
        self.setting != SharedAddressesPolicy::Ignore
    }

    /// First reading: the marks of a row's addresses, and whether it is its
    /// customer's first.
    pub(crate) fn row(&mut self, customer: CustomerKey, marks: impl Iterator<Item = u64>, is_first: bool) {
        if !self.looks() {
            return;
        }
        if is_first {
            self.marks.extend(marks);
        } else {
            let customer = super::vanished::mark(&customer.0);
            self.later.extend(marks.map(|mark| (mark, customer)));
        }
    }

    /// The marks of customers who were met without a look at their rows.
    pub(crate) fn met(&mut self, mut marks: Vec<u64>) {
        if self.looks() {
            marks.append(&mut self.marks);
            self.marks = marks;
        }
    }

    /// Addresses that came twice, sorted.
    pub(crate) fn suspects(&self) -> &[u64] {
        &self.suspects
    }

    /// Ends the first reading; says by which mark tonight's suspects can be
    /// known again.
    pub(crate) fn suspect(&mut self) -> u64 {
        let Self { marks, later, suspects, .. } = self;
        marks.sort_unstable();
        suspects.extend(marks.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]));
        suspects.dedup();
        self.count = suspects.len() as u64;
        later.sort_unstable();
        later.dedup();
        let twice = later.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| pair[0].0);
        suspects.extend(twice);
        suspects.extend(later.iter().map(|(mark, _)| *mark).filter(|mark| marks.binary_search(mark).is_ok()));
        suspects.sort_unstable();
        suspects.dedup();
        (self.marks, self.later) = (Vec::new(), Vec::new());
        self.suspects.iter().fold(0, |mark, suspect| mark ^ suspect)
    }

    /// Whether rows can be named by a second reading.
    pub(crate) fn has_suspects(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// Nobody needs the rows.
    pub(crate) fn forget_rows(&mut self) {
        self.suspects = Vec::new();
    }

    /// Begins the second reading.
    pub(crate) fn begin_naming(&mut self) {
        self.holders = vec![None; self.suspects.len()];
        self.count = 0;
    }

    /// Second reading: any row.
    pub(crate) fn name(
        &mut self,
        key: &HashKey,
        customer: CustomerKey,
        intent: &Intent,
        notices: &mut Notices,
    ) {
        if self.suspects.is_empty() {
            return;
        }
        let customer = mark(&customer.0);
        for address in &intent.addresses {
            let Ok(at) = self.suspects.binary_search(&mark_of(key, address, intent)) else { continue };
            let Some(holder) = &mut self.holders[at] else {
                self.holders[at] = Some(AddressHolder { customer, at: intent.at, is_shared: false });
                continue;
            };
            if holder.customer == customer {
                continue;
            }
            let mut notice = |at, other: RowRef| {
                let field = channel_word(address.channel());
                notices.add(Notice { at, kind: NoticeKind::SharedAddress, field, other: Some(other.number) });
            };
            notice(intent.at, holder.at);
            if !std::mem::replace(&mut holder.is_shared, true) {
                notice(holder.at, intent.at);
                self.count += 1;
            }
        }
    }

    /// Addresses that several customers have.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

fn mark_of(key: &HashKey, address: &Address, intent: &Intent) -> u64 {
    shared_mark(key.address(address), intent.customer.brand_id)
}

/// By which an address is known again within a brand: customers of different
/// brands may well be the same person.
#[must_use]
pub fn shared_mark(address: AddressHash, brand_id: u64) -> u64 {
    // An odd factor: different brands stay different, and zero changes nothing.
    mark(&address.0).cast_unsigned() ^ brand_id.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
