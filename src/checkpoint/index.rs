//! All customers at a glance, in memory: who is known, what row each was left
//! with, which addresses each has. What a night in which hardly anything
//! changed needs to know, without a look at any customer's record.

use super::CheckpointError;
use super::database::Checkpoint;
use super::file::damaged_record;
use super::format;
use crate::guards::{gone_customer, shared_mark};
use crate::reconcile::{AddressHash, CustomerKey, RowFingerprint};

/// Customers between two entries of an index.
const STRIDE: usize = 8;

/// Who is known, and the print of the row that each was left with: 16 bytes a
/// customer and an index of half a byte.
#[derive(Debug, Default)]
pub struct CustomerIndex {
    /// [`CustomerKey::short`] and the print, sorted. Side by side, since who
    /// looks for the one wants the other.
    customers: Vec<(u64, RowFingerprint)>,
    /// Keys are spread evenly, so that their first bits say about where one
    /// stands: where each of so many equal ranges of keys begins.
    starts: Vec<u32>,
}

/// Which of the known customers were met, and the marks of their addresses:
/// nine bytes a customer with one address.
#[derive(Debug, Default)]
pub struct PresenceSet {
    is_met: Vec<u64>,
    /// First in the row that the customer was left with; their addresses are
    /// marks by now.
    is_unchanged: Vec<u64>,
    /// How many addresses each customer has.
    counts: Vec<u8>,
    /// Where those of every eighth customer begin.
    starts: Vec<u32>,
    addresses: Vec<u64>,
}

/// A customer with more addresses goes the long way.
const ADDRESSES_MAX: usize = u8::MAX as usize;

impl Checkpoint {
    /// Reads who is known. Those whose addresses vanished, and were told of,
    /// have no print: their rows are to be looked at.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn known(
        &self,
        gone: &[(i64, i64)],
        with_addresses: bool,
    ) -> Result<(CustomerIndex, PresenceSet), CheckpointError> {
        let (mut known, mut met) = (CustomerIndex::default(), PresenceSet::default());
        let customers = usize::try_from(self.customers).unwrap_or(0) + self.recent.told.len();
        known.customers.reserve_exact(customers);
        met.counts.reserve_exact(customers);
        if with_addresses {
            met.addresses.reserve(customers);
        }
        let mut gone: Vec<i64> = gone.iter().map(|(customer, _)| *customer).collect();
        gone.sort_unstable();
        self.each_customer(|key, record| {
            let (mut print, addresses) = format::glance(record).ok_or_else(|| damaged_record(self.path()))?;
            let has_gone = !gone.is_empty() && gone.binary_search(&gone_customer(key)).is_ok();
            if has_gone || addresses.len() > ADDRESSES_MAX {
                print = RowFingerprint::NONE;
            }
            known.customers.push((key.short(), print));
            met.push(&addresses[..addresses.len().min(if with_addresses { ADDRESSES_MAX } else { 0 })]);
            Ok(())
        })?;
        known.index();
        met.is_met = vec![0; known.customers.len().div_ceil(64)];
        met.is_unchanged.clone_from(&met.is_met);
        Ok((known, met))
    }
}

impl CustomerIndex {
    /// Whether nobody is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.customers.is_empty()
    }

    /// The number of a customer, if known.
    #[must_use]
    pub fn find(&self, key: CustomerKey) -> Option<usize> {
        let (short, range) = (key.short(), self.range_of(key.short()));
        let (from, to) = (*self.starts.get(range)? as usize, *self.starts.get(range + 1)? as usize);
        Some(from + self.customers[from..to].iter().position(|(known, _)| *known == short)?)
    }

    /// Whether a row with this print is the one that the customer was left with.
    #[must_use]
    pub fn has(&self, customer: usize, print: RowFingerprint) -> bool {
        print != RowFingerprint::NONE && self.customers[customer].1 == print
    }

    fn ranges(&self) -> usize {
        self.customers.len() / STRIDE + 1
    }

    fn range_of(&self, short: u64) -> usize {
        ((u128::from(short) * self.ranges() as u128) >> 64) as usize
    }

    fn index(&mut self) {
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

    /// Meets a customer in a row that is looked at; whether for the first time.
    pub fn meet(&mut self, customer: usize) -> bool {
        let is_first = !self.has(customer);
        self.is_met[customer / 64] |= 1 << (customer % 64);
        is_first
    }

    /// Meets a customer of this brand in the row that the customer was left
    /// with; whether for the first time.
    pub fn meet_unchanged(&mut self, customer: usize, brand_id: u64) -> bool {
        let is_first = self.meet(customer);
        if is_first {
            self.is_unchanged[customer / 64] |= 1 << (customer % 64);
            let range = self.range(customer);
            self.addresses[range].iter_mut().for_each(|address| *address = marked(*address, brand_id));
        }
        is_first
    }

    /// Whether a customer was met.
    #[must_use]
    pub fn has(&self, customer: usize) -> bool {
        self.is_met[customer / 64] >> (customer % 64) & 1 == 1
    }

    fn is_unchanged(&self, customer: usize) -> bool {
        self.is_unchanged[customer / 64] >> (customer % 64) & 1 == 1
    }

    /// The marks of the addresses of a customer of this brand: see
    /// [`crate::guards::shared_mark`].
    pub fn marks(&self, customer: usize, brand_id: u64) -> impl Iterator<Item = u64> {
        let is_marked = self.is_unchanged(customer);
        let addresses = self.addresses[self.range(customer)].iter();
        addresses.map(move |address| if is_marked { *address } else { marked(*address, brand_id) })
    }

    fn range(&self, customer: usize) -> std::ops::Range<usize> {
        let block = customer / STRIDE;
        let before = self.counts[block * STRIDE..customer].iter().map(|count| usize::from(*count));
        let from = self.starts[block] as usize + before.sum::<usize>();
        from..from + usize::from(self.counts[customer])
    }

    /// The marks that the addresses of those who were not met have within a brand.
    pub fn unmet_marks(&self, brand_id: u64) -> impl Iterator<Item = u64> {
        let unmet = (0..self.counts.len()).filter(|customer| !self.has(*customer));
        unmet.flat_map(move |customer| self.marks(customer, brand_id))
    }

    /// The marks of all who were met first in the row that they were left with;
    /// nobody's are here any more then.
    pub fn take_marks(&mut self) -> Vec<u64> {
        let mut kept = 0;
        for customer in 0..self.counts.len() {
            if self.is_unchanged(customer) {
                let range = self.range(customer);
                let len = range.len();
                self.addresses.copy_within(range, kept);
                kept += len;
            }
        }
        self.addresses.truncate(kept);
        std::mem::take(&mut self.addresses)
    }
}

fn marked(address: u64, brand_id: u64) -> u64 {
    shared_mark(AddressHash(address.to_le_bytes()), brand_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::Acked;

    fn key(number: u32) -> CustomerKey {
        CustomerKey(*blake3::hash(&number.to_le_bytes()).as_bytes().first_chunk().expect("bytes"))
    }

    fn address(number: u32) -> AddressHash {
        AddressHash(u64::from(number).to_le_bytes())
    }

    /// Customer `n` has `n % 4` addresses, and every fifth has no print.
    fn known(customers: u32, gone: &[(i64, i64)]) -> (CustomerIndex, PresenceSet) {
        let folder = tempfile::TempDir::new().expect("a folder");
        let mut checkpoint = Checkpoint::open(&folder.path().join("checkpoint"), "tenant").expect("new");
        let mut batch = checkpoint.batch().expect("a batch");
        for number in 0..customers {
            let print = RowFingerprint(if number % 5 == 0 { [0; 8] } else { [number as u8 | 1; 8] });
            let addresses = (0..number % 4).map(|nth| address(10 * number + nth)).collect();
            batch.told(key(number), Some(&Acked { print, addresses, ..Acked::existing() })).expect("told");
        }
        batch.commit_told().expect("durable");
        checkpoint.known(gone, true).expect("sound")
    }

    #[test]
    fn whoever_is_known_is_found_with_print_and_addresses() {
        for customers in [0, 1, 7, 8, 9, 1000] {
            let gone = [(gone_customer(key(3)), 0)];
            let (known, met) = known(customers, &gone);
            assert_eq!(known.is_empty(), customers == 0);
            for number in 0..customers + 20 {
                let Some(found) = known.find(key(number)) else {
                    assert!(number >= customers, "{number} of {customers}");
                    continue;
                };
                assert!(number < customers, "{number} of {customers}");
                let print = RowFingerprint([number as u8 | 1; 8]);
                assert_eq!(known.has(found, print), number % 5 != 0 && number != 3, "{number}");
                assert!(
                    !known.has(found, RowFingerprint::NONE) && !known.has(found, RowFingerprint([0xee; 8]))
                );
                let marks: Vec<u64> = met.marks(found, 2).collect();
                let expected: Vec<u64> =
                    (0..number % 4).map(|nth| shared_mark(address(10 * number + nth), 2)).collect();
                assert_eq!(marks, expected, "{number}");
            }
        }
    }

    #[test]
    fn only_whoever_was_met_unchanged_leaves_marks() {
        let (known, mut met) = known(100, &[]);
        let find = |number| known.find(key(number)).expect("known");
        assert!(met.meet_unchanged(find(3), 2) && !met.meet_unchanged(find(3), 2) && !met.meet(find(3)));
        assert!(met.meet(find(6)) && !met.meet_unchanged(find(6), 2), "looked at first");
        assert!(met.has(find(3)) && met.has(find(6)) && !met.has(find(7)));
        let marks = |number: u32| (0..number % 4).map(move |nth| shared_mark(address(10 * number + nth), 2));
        for number in [3, 6, 7] {
            assert_eq!(met.marks(find(number), 2).collect::<Vec<_>>(), marks(number).collect::<Vec<_>>());
        }
        assert_eq!(met.take_marks(), marks(3).collect::<Vec<_>>());
    }
}
