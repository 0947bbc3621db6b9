//! Rows of one id that are different people: the id column is another's, such as
//! the company's.
//!
//! Rows are one person's if they share the last name or an address. An event
//! stream has many rows a customer, and most say little: a row without a last
//! name is anybody's.

use crate::reconcile::{AddressHash, ValueHash};

/// People kept for one id: enough to see that it is nobody's.
const PEOPLE_MAX: usize = 8;
/// Addresses kept of each.
const ADDRESSES_MAX: usize = 32;
/// Ids kept for a message.
const EXAMPLES: usize = 3;
/// So many ids may have rows of two people: a marriage with a new address.
const TWO_PEOPLE_MAX: u64 = 3;

/// The people among the rows of an id.
#[derive(Debug)]
pub(super) struct People(Vec<Person>);

#[derive(Debug)]
struct Person {
    last_names: Vec<ValueHash>,
    addresses: Vec<AddressHash>,
    row: u64,
}

impl People {
    /// The rows so far, which are one person's.
    pub(super) fn new(last_name: ValueHash, addresses: &[AddressHash], row: u64) -> Self {
        let addresses = addresses.iter().take(ADDRESSES_MAX).copied().collect();
        Self(vec![Person { last_names: vec![last_name], addresses, row }])
    }

    /// Adds a row. It may show that people so far are the same.
    pub(super) fn add(&mut self, last_name: ValueHash, addresses: &[AddressHash], row: u64) {
        let mut person = Self::new(last_name, addresses, row).0.remove(0);
        let is_same = |other: &mut Person| {
            other.last_names.contains(&last_name)
                || other.addresses.iter().any(|hash| addresses.contains(hash))
        };
        for other in self.0.extract_if(.., is_same) {
            person.row = person.row.min(other.row);
            person.last_names.extend(other.last_names);
            person.addresses.extend(other.addresses);
        }
        person.last_names.sort_unstable_by_key(|hash| hash.0);
        person.last_names.dedup();
        person.addresses.truncate(ADDRESSES_MAX);
        if self.0.len() < PEOPLE_MAX {
            self.0.push(person);
        }
    }

    /// The first row of each. Where some have an address, a row without is no
    /// evidence.
    fn rows(&self) -> Vec<u64> {
        let has_address = |person: &&Person| !person.addresses.is_empty();
        let with: Vec<&Person> = self.0.iter().filter(has_address).collect();
        let people = if with.is_empty() { self.0.iter().collect() } else { with };
        let mut rows: Vec<u64> = people.into_iter().map(|person| person.row).collect();
        rows.sort_unstable();
        rows
    }

    fn have_addresses(&self) -> bool {
        self.0.iter().any(|person| !person.addresses.is_empty())
    }
}

/// Ids with rows of several people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SameId {
    /// With three or more people.
    pub(super) of_many: u64,
    /// With two.
    pub(super) of_two: u64,
    /// The first ids, by their rows; those with more people first.
    pub(super) examples: Vec<Vec<u64>>,
}

impl SameId {
    pub(super) fn add(&mut self, people: &People) {
        let rows = people.rows();
        match rows.len() {
            0 | 1 => return,
            2 if people.have_addresses() => self.of_two += 1,
            2 => return,
            _ => self.of_many += 1,
        }
        self.examples.push(rows.into_iter().take(EXAMPLES).collect());
        self.examples.sort_unstable_by_key(|rows| (usize::MAX - rows.len(), rows[0]));
        self.examples.truncate(EXAMPLES);
    }

    pub(super) fn ids(&self) -> u64 {
        self.of_many + self.of_two
    }

    /// Whether it looks like a mistake, in an export of so many customers.
    pub(super) fn is_suspicious(&self, customers: u64) -> bool {
        self.of_many > 0 || self.of_two > TWO_PEOPLE_MAX && 100 * self.of_two > customers
    }

    /// `rows 3, 8 and 9`
    pub(super) fn examples(&self) -> String {
        let rows = |rows: &Vec<u64>| {
            let rows: Vec<String> = rows.iter().map(ToString::to_string).collect();
            format!("rows {}", rows.join(", "))
        };
        self.examples.iter().map(rows).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows as last name and addresses.
    fn rows(rows: &[(u8, &[u8])]) -> Vec<u64> {
        let hashes =
            |addresses: &[u8]| addresses.iter().map(|one| AddressHash([*one; 8])).collect::<Vec<_>>();
        let (name, addresses) = rows[0];
        let mut people = People::new(ValueHash([name; 8]), &hashes(addresses), 1);
        for (at, (name, addresses)) in (2..).zip(&rows[1..]) {
            people.add(ValueHash([*name; 8]), &hashes(addresses), at);
        }
        people.rows()
    }

    #[test]
    fn rows_that_share_a_last_name_or_an_address_are_one_person() {
        assert_eq!(rows(&[(1, &[1]), (2, &[2]), (3, &[3])]), [1, 2, 3]);
        assert_eq!(rows(&[(1, &[1]), (2, &[1]), (3, &[3])]), [1, 3]);
        // A later row joins those before.
        assert_eq!(rows(&[(1, &[1]), (2, &[2]), (2, &[1])]), [1]);
        assert_eq!(rows(&[(1, &[1]), (2, &[2]), (3, &[1, 2])]), [1]);
        // Rows without an address count only among themselves.
        assert_eq!(rows(&[(1, &[1]), (2, &[]), (3, &[])]), [1]);
        assert_eq!(rows(&[(1, &[]), (2, &[]), (3, &[])]), [1, 2, 3]);
    }

    #[test]
    fn one_id_of_three_people_is_enough_and_a_few_of_two_are_not() {
        let of = |of_many, of_two| SameId { of_many, of_two, examples: Vec::new() };
        assert!(of(1, 0).is_suspicious(1_000_000));
        assert!(!of(0, 3).is_suspicious(10) && !of(0, 4).is_suspicious(400));
        assert!(of(0, 4).is_suspicious(399));
    }
}
