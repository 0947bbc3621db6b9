//! All customers in memory: which of them are known, the fingerprint of the row
//! that each was acknowledged with, the addresses of each. A night in which
//! hardly anything changed needs no more, and reads no customer's state.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};

use super::blocks;
use super::checkpoint::Checkpoint;
use super::error::CheckpointError;
use super::format;
use crate::guards::{
    SharedAddressSearch, TaggedAddress, VanishedAddress, brand_address_tag, vanished_customer,
};
use crate::reconcile::{AddressHash, ContentHash, CustomerKey, FieldTag, RowFingerprint};

/// Customers between two entries of an index.
const STRIDE: usize = 8;

/// A customer with more addresses is decided by the customer's state.
const ADDRESSES_MAX: usize = u8::MAX as usize;

/// By what a row is known that asks for nothing new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KnownBy {
    /// Its cells are those that its customer was acknowledged with.
    Fingerprint,
    /// Its customer holds of these fields, and as addresses, just what it asks for:
    /// the fingerprints are of another mapping.
    Content(Vec<FieldTag>),
}

/// The known customers, each with a mark by which a row is known that asks for
/// nothing new: 16 bytes a customer and an index of half a byte.
#[derive(Debug, Default)]
pub(crate) struct CustomerIndex {
    /// [`CustomerKey::short`] and the mark, sorted. They are side by side, since a
    /// look-up of the one wants the other. The mark is the fingerprint or the
    /// content; a new fingerprint takes the place of a content that was found.
    customers: Vec<(u64, AtomicU64)>,
    /// Where each of so many equal ranges of keys begins. Keys are spread
    /// evenly, so their first bits say about where one stands.
    starts: Vec<u32>,
}

/// Present by a row that was mapped.
const MAPPED: u8 = 1;
/// Present first by an unchanged row: this and the number of its brand.
const UNCHANGED: u8 = 2;
/// Brands with a number. What stands behind them is a brand without.
const NUMBERED_BRANDS: usize = (u8::MAX - UNCHANGED) as usize;

/// Which known customers appear in an export, and their addresses: ten bytes a
/// customer with one address. Customers come in no order, and each of them touches one
/// byte only.
#[derive(Debug, Default)]
pub(crate) struct PresenceSet {
    /// Zero for an absent customer.
    present: Vec<u8>,
    /// The brands of unchanged rows, by number.
    brands: Vec<u64>,
    /// The brands without a number, of which no helpdesk has so many.
    other_brands: HashMap<usize, u64>,
    /// How many addresses each customer has.
    counts: Vec<u8>,
    /// Where those of every eighth customer begin.
    starts: Vec<u32>,
    addresses: Vec<u64>,
}

impl Checkpoint {
    /// Reads all customers. A customer with a vanished address, of which the list
    /// is sorted, gets no mark: a row may bring the address back.
    pub(crate) fn index(
        &self,
        vanished: &[VanishedAddress],
        search: SharedAddressSearch,
        known_by: &KnownBy,
    ) -> Result<(CustomerIndex, PresenceSet), CheckpointError> {
        let (mut index, mut presence) = (CustomerIndex::default(), PresenceSet::default());
        let customers = usize::try_from(self.journal.in_blocks).unwrap_or(0) + self.journal.states.len();
        index.customers.reserve_exact(customers);
        presence.counts.reserve_exact(customers);
        if search.is_active() {
            presence.addresses.reserve(customers);
        }
        self.each_customer(|key, state| {
            let (fingerprint, addresses) = format::decode_head(state)?;
            let vanished = vanished.binary_search_by_key(&vanished_customer(key), |(customer, _)| *customer);
            let mark = match known_by {
                _ if vanished.is_ok() || addresses.len() > ADDRESSES_MAX => RowFingerprint::NONE.0,
                KnownBy::Fingerprint => fingerprint.0,
                KnownBy::Content(fields) => {
                    let state = format::decode_state(state)?;
                    state.acked().map_or(ContentHash::NONE, |acked| acked.content(fields)).0
                }
            };
            index.customers.push((key.short(), u64::from_le_bytes(mark).into()));
            let kept = if search.is_active() { ADDRESSES_MAX } else { 0 };
            presence.push(&addresses[..addresses.len().min(kept)]);
            Ok(())
        })?;
        index.build_starts();
        presence.present = vec![0; index.customers.len()];
        Ok((index, presence))
    }

    /// Writes the fingerprints of rows that were known by their customers' content.
    pub(crate) fn write_fingerprints(
        &mut self,
        index: &CustomerIndex,
        presence: &PresenceSet,
    ) -> Result<(), CheckpointError> {
        if presence.brands.is_empty() {
            return Ok(());
        }
        // Then the order of the blocks is that of the index.
        let batch = self.batch()?;
        batch.checkpoint.journal.fold(&batch.checkpoint.database)?;
        batch.commit_states()?;
        let (mut customer, mut next) = (0, Some(0));
        while let Some(first) = next {
            let batch = self.batch()?;
            next = blocks::patch(&batch.checkpoint.database, first, |state| {
                if presence.unchanged_brand(customer).is_some() {
                    format::set_fingerprint(state, RowFingerprint(index.mark(customer).to_le_bytes()));
                }
                customer += 1;
            })?;
            batch.commit_states()?;
        }
        Ok(())
    }
}

impl CustomerIndex {
    pub(crate) fn is_empty(&self) -> bool {
        self.customers.is_empty()
    }

    /// The number of a customer, if known.
    pub(crate) fn find(&self, key: CustomerKey) -> Option<usize> {
        let (short, range) = (key.short(), self.range_of(key.short()));
        let (from, to) = (*self.starts.get(range)? as usize, *self.starts.get(range + 1)? as usize);
        Some(from + self.customers[from..to].iter().position(|(known, _)| *known == short)?)
    }

    /// Whether the customer was acknowledged with a row of this fingerprint.
    pub(crate) fn has(&self, customer: usize, fingerprint: RowFingerprint) -> bool {
        fingerprint != RowFingerprint::NONE && self.mark(customer) == u64::from_le_bytes(fingerprint.0)
    }

    /// Whether the customer holds just this. The next night knows the row by its
    /// fingerprint then.
    pub(crate) fn holds(&self, customer: usize, content: ContentHash, fingerprint: RowFingerprint) -> bool {
        let [content, fingerprint] = [content.0, fingerprint.0].map(u64::from_le_bytes);
        let mark = &self.customers[customer].1;
        // Only the thread that reads the export sets marks.
        let is_found = content != 0 && mark.load(Ordering::Relaxed) == content;
        if is_found {
            mark.store(fingerprint, Ordering::Relaxed);
        }
        is_found
    }

    fn mark(&self, customer: usize) -> u64 {
        self.customers[customer].1.load(Ordering::Relaxed)
    }

    fn ranges(&self) -> usize {
        self.customers.len() / STRIDE + 1
    }

    fn range_of(&self, short: u64) -> usize {
        ((u128::from(short) * self.ranges() as u128) >> 64) as usize
    }

    fn build_starts(&mut self) {
        let mut starts = Vec::with_capacity(self.ranges() + 1);
        for (at, (key, _)) in self.customers.iter().enumerate() {
            while starts.len() <= self.range_of(*key) {
                starts.push(at as u32);
            }
        }
        starts.resize(self.ranges() + 1, self.customers.len() as u32);
        self.starts = starts;
    }
}

impl PresenceSet {
    fn push(&mut self, addresses: &[[u8; 8]]) {
        if self.counts.len().is_multiple_of(STRIDE) {
            self.starts.push(self.addresses.len() as u32);
        }
        self.addresses.extend(addresses.iter().map(|address| u64::from_le_bytes(*address)));
        self.counts.push(addresses.len() as u8);
    }

    /// Adds a customer by a row that is mapped; whether for the first time.
    pub(crate) fn add(&mut self, customer: usize) -> bool {
        let present = &mut self.present[customer];
        let is_first = *present == 0;
        *present = (*present).max(MAPPED);
        is_first
    }

    /// Adds a customer of this brand by an unchanged row; whether for the first
    /// time.
    pub(crate) fn add_unchanged(&mut self, customer: usize, brand_id: u64) -> bool {
        let is_first = self.add(customer);
        if is_first {
            let number = self.brands.iter().position(|brand| *brand == brand_id);
            let number = number.unwrap_or_else(|| self.add_brand(customer, brand_id));
            self.present[customer] = UNCHANGED + number as u8;
        }
        is_first
    }

    /// The number of a brand of unchanged rows that has none yet.
    #[cold]
    fn add_brand(&mut self, customer: usize, brand_id: u64) -> usize {
        if self.brands.len() == NUMBERED_BRANDS {
            self.other_brands.insert(customer, brand_id);
            return NUMBERED_BRANDS;
        }
        self.brands.push(brand_id);
        self.brands.len() - 1
    }

    /// The brand of the unchanged row by which the customer is present.
    fn unchanged_brand(&self, customer: usize) -> Option<u64> {
        let number = self.present[customer].checked_sub(UNCHANGED)?;
        self.brands.get(usize::from(number)).or_else(|| self.other_brands.get(&customer)).copied()
    }

    pub(crate) fn contains(&self, customer: usize) -> bool {
        self.present[customer] != 0
    }

    /// The tags that a customer's addresses have within this brand.
    pub(crate) fn address_tags(&self, customer: usize, brand_id: u64) -> impl Iterator<Item = u64> {
        self.addresses[self.range(customer)].iter().map(move |address| tag(*address, brand_id))
    }

    fn range(&self, customer: usize) -> std::ops::Range<usize> {
        let block = customer / STRIDE;
        let before = self.counts[block * STRIDE..customer].iter().map(|count| usize::from(*count));
        let from = self.starts[block] as usize + before.sum::<usize>();
        from..from + usize::from(self.counts[customer])
    }

    /// The tags that absent customers' addresses have within this brand.
    pub(crate) fn absent_tags(&self, brand_id: u64) -> impl Iterator<Item = u64> + Clone {
        let absent = self.customers().filter(|(customer, _)| !self.contains(*customer));
        absent.flat_map(move |(_, addresses)| addresses.iter().map(move |address| tag(*address, brand_id)))
    }

    /// The addresses of all customers who were added by an unchanged row.
    pub(crate) fn unchanged<'a>(
        &'a self,
        index: &'a CustomerIndex,
    ) -> impl Iterator<Item = TaggedAddress> + Clone {
        self.customers().flat_map(|(customer, addresses)| {
            let present = NonZero::new(index.customers[customer].0);
            let brand = self.unchanged_brand(customer);
            let tagged = move |brand| {
                addresses.iter().map(move |address| TaggedAddress { tag: tag(*address, brand), present })
            };
            brand.into_iter().flat_map(tagged)
        })
    }

    /// All customers with their addresses.
    fn customers(&self) -> impl Iterator<Item = (usize, &[u64])> + Clone {
        let mut rest = &*self.addresses;
        self.counts.iter().enumerate().map(move |(customer, count)| {
            let (addresses, behind) = rest.split_at(usize::from(*count));
            rest = behind;
            (customer, addresses)
        })
    }
}

fn tag(address: u64, brand_id: u64) -> u64 {
    brand_address_tag(AddressHash(address.to_le_bytes()), brand_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::{Acked, CustomerState};

    fn key(number: u32) -> CustomerKey {
        CustomerKey(*blake3::hash(&number.to_le_bytes()).as_bytes().first_chunk().expect("bytes"))
    }

    /// In the order of the numbers.
    fn address(number: u32) -> AddressHash {
        AddressHash(u64::from(number).to_be_bytes())
    }

    /// Customer `n` has `n % 4` addresses, and every fifth has no fingerprint.
    fn index(customers: u32, vanished: &[VanishedAddress]) -> (CustomerIndex, PresenceSet) {
        let folder = tempfile::TempDir::new().expect("a folder");
        let mut checkpoint = Checkpoint::open(&folder.path().join("checkpoint"), "tenant").expect("new");
        let mut batch = checkpoint.batch().expect("a batch");
        for number in 0..customers {
            let fingerprint = RowFingerprint(if number % 5 == 0 { [0; 8] } else { [number as u8 | 1; 8] });
            let addresses = (0..number % 4).map(|nth| address(10 * number + nth)).collect();
            let state = CustomerState::Acknowledged(Acked { fingerprint, addresses, ..Acked::default() });
            batch.set_state(key(number), &state).expect("set");
        }
        batch.commit_states().expect("durable");
        checkpoint.index(vanished, SharedAddressSearch::All, &KnownBy::Fingerprint).expect("sound")
    }

    #[test]
    fn known_customers_are_found_with_fingerprint_and_addresses() {
        for customers in [0, 1, 7, 8, 9, 1000] {
            let vanished = [(vanished_customer(key(3)), 0)];
            let (index, presence) = index(customers, &vanished);
            assert_eq!(index.is_empty(), customers == 0);
            for number in 0..customers + 20 {
                let Some(found) = index.find(key(number)) else {
                    assert!(number >= customers, "{number} of {customers}");
                    continue;
                };
                assert!(number < customers, "{number} of {customers}");
                let fingerprint = RowFingerprint([number as u8 | 1; 8]);
                assert_eq!(index.has(found, fingerprint), number % 5 != 0 && number != 3, "{number}");
                let others = [RowFingerprint::NONE, RowFingerprint([0xee; 8])];
                assert!(others.iter().all(|other| !index.has(found, *other)));
                let tags: Vec<u64> = presence.address_tags(found, 2).collect();
                let expected: Vec<u64> =
                    (0..number % 4).map(|nth| brand_address_tag(address(10 * number + nth), 2)).collect();
                assert_eq!(tags, expected, "{number}");
            }
        }
    }

    #[test]
    fn only_customers_of_unchanged_rows_leave_tags() {
        let (index, mut presence) = index(100, &[]);
        let find = |number| index.find(key(number)).expect("known");
        assert!(presence.add_unchanged(find(3), 2));
        assert!(!presence.add_unchanged(find(3), 2) && !presence.add(find(3)));
        assert!(presence.add(find(6)) && !presence.add_unchanged(find(6), 2), "mapped first");
        assert!(presence.contains(find(3)) && presence.contains(find(6)) && !presence.contains(find(7)));
        let tags =
            |number: u32| (0..number % 4).map(move |nth| brand_address_tag(address(10 * number + nth), 2));
        for number in [3, 6, 7] {
            let found: Vec<u64> = presence.address_tags(find(number), 2).collect();
            assert_eq!(found, tags(number).collect::<Vec<_>>());
        }
        let present = NonZero::new(key(3).short());
        let expected = tags(3).map(|tag| TaggedAddress { tag, present });
        assert!(presence.unchanged(&index).eq(expected));
    }

    /// Also of more brands than have a number.
    #[test]
    fn an_unchanged_customer_has_the_tags_of_the_own_brand() {
        let (index, mut presence) = index(2000, &[]);
        let find = |number| index.find(key(number)).expect("known");
        for number in 0..1000 {
            assert!(presence.add_unchanged(find(number), u64::from(number / 2)));
            assert!(!presence.add_unchanged(find(number), 7));
        }
        let mut found: Vec<u64> = presence.unchanged(&index).map(|address| address.tag).collect();
        let tags = |number: u32| {
            let brand = u64::from(number / 2);
            (0..number % 4).map(move |nth| brand_address_tag(address(10 * number + nth), brand))
        };
        let mut expected: Vec<u64> = (0..1000).flat_map(tags).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}
