//! Where the list, the export and the checkpoint differ.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::export_customers::{ExportCustomers, Presence, each_customer};
use super::saved_list::SavedList;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::mapping::{Customer, PrimaryId};
use crate::plan::{PlanError, PreparedExport};
use crate::reconcile::{BuildKeyHasher, CustomerKey, CustomerState};
use crate::source::RowRef;
use crate::units::{Count, counted};

/// How a customer differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// The export or the checkpoint has the customer, and the list does not.
    MissingThere,
    /// Only the list has the customer.
    UnknownHere,
    /// It is in the list, and no call or adoption is acknowledged.
    NotAcknowledged,
    /// It is in the list, and its purge is acknowledged.
    ListedAfterPurge,
}

impl Difference {
    const ALL: [Self; 4] =
        [Self::MissingThere, Self::UnknownHere, Self::NotAcknowledged, Self::ListedAfterPurge];

    /// Its JSON key.
    fn as_str(self) -> &'static str {
        match self {
            Self::MissingThere => "missing_there",
            Self::UnknownHere => "unknown_here",
            Self::NotAcknowledged => "not_acknowledged",
            Self::ListedAfterPurge => "listed_after_purge",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::MissingThere => "missing there (not in Omnidesk's list)",
            Self::UnknownHere => "unknown here (in neither the export nor the checkpoint)",
            Self::NotAcknowledged => "not acknowledged (in the list, but not by the checkpoint)",
            Self::ListedAfterPurge => "listed after a purge",
        }
    }
}

#[derive(Debug)]
struct DifferingCustomer {
    difference: Difference,
    key: CustomerKey,
    /// `None` where only the keyed hash is known.
    customer: Option<Customer>,
    /// Its first row in the export.
    row: Option<RowRef>,
}

/// Expected and listed customers of each brand, and those who differ.
#[derive(Debug)]
pub(crate) struct Comparison {
    brands: BTreeMap<u64, BrandCounts>,
    /// Customers in the list without an id, or of brands without a name here.
    others: u64,
    moves: u64,
    customers: Vec<DifferingCustomer>,
}

#[derive(Debug)]
struct BrandCounts {
    name: String,
    expected: u64,
    listed: u64,
}

/// The customers of the checkpoint, as far as they matter here.
#[derive(Default)]
struct KnownCustomers {
    exist: HashSet<CustomerKey, BuildKeyHasher>,
    purged: HashSet<CustomerKey, BuildKeyHasher>,
    /// Perhaps purged, absent or vanished.
    uncertain: HashSet<CustomerKey, BuildKeyHasher>,
}

impl KnownCustomers {
    fn read(checkpoint: &Checkpoint) -> Result<Self, CheckpointError> {
        let mut known = Self::default();
        checkpoint.each_state(|key, state| {
            let customers = match state {
                state if state.exists() => &mut known.exist,
                CustomerState::Purged(_) => &mut known.purged,
                _ => &mut known.uncertain,
            };
            customers.insert(key);
        })?;
        Ok(known)
    }
}

/// Compares a list that was read whole.
pub(crate) fn compare(
    prepared: &PreparedExport,
    export: &ExportCustomers,
    checkpoint: &Checkpoint,
    names: &BTreeMap<u64, String>,
    list: &SavedList,
) -> Result<Comparison, PlanError> {
    let known = KnownCustomers::read(checkpoint)?;
    let mut customers = differing_rows(prepared, export, checkpoint, &known, list)?;
    let is_listed = |key: &CustomerKey| list.customers.contains_key(key);
    let by_checkpoint = |difference, key| {
        let stored = checkpoint.stored_id(key)?;
        let customer = stored.or_else(|| checkpoint.ids().decrypt(key, list.ids.get(&key)?.clone()));
        Ok::<_, CheckpointError>(DifferingCustomer { difference, key, customer, row: None })
    };
    for key in known.exist.iter().filter(|key| !is_listed(key)) {
        if export.presence(*key).is_none_or(|presence| presence == Presence::Skipped) {
            customers.push(by_checkpoint(Difference::MissingThere, *key)?);
        }
    }
    for key in list.customers.keys().filter(|key| export.presence(**key).is_none()) {
        let difference = match key {
            key if known.exist.contains(key) => continue,
            key if known.purged.contains(key) => Difference::ListedAfterPurge,
            key if known.uncertain.contains(key) => Difference::NotAcknowledged,
            _ => Difference::UnknownHere,
        };
        customers.push(by_checkpoint(difference, *key)?);
    }
    let place = |one: &DifferingCustomer| {
        let id = one.customer.as_ref().map(|customer| customer.primary_id.as_str().to_owned());
        (one.difference, one.row.map_or(u64::MAX, |row| row.number), id, one.key)
    };
    customers.sort_by_cached_key(place);
    Ok(Comparison {
        brands: brand_counts(export, names, list),
        others: list.read_count() - list.customers.len() as u64,
        moves: list.moves,
        customers,
    })
}

/// Customers of the export who differ, named by their first row.
fn differing_rows(
    prepared: &PreparedExport,
    export: &ExportCustomers,
    checkpoint: &Checkpoint,
    known: &KnownCustomers,
    list: &SavedList,
) -> Result<Vec<DifferingCustomer>, PlanError> {
    let mut found: HashSet<CustomerKey, BuildKeyHasher> = HashSet::default();
    let mut customers = Vec::new();
    each_customer(prepared, &checkpoint.key(), |key, brand_id, id, row| {
        let is_expected = export.presence(key) == Some(Presence::Expected);
        let difference = match (is_expected, list.customers.contains_key(&key)) {
            (true, false) => Difference::MissingThere,
            (_, true) if known.purged.contains(&key) => Difference::ListedAfterPurge,
            (true, true) if !known.exist.contains(&key) => Difference::NotAcknowledged,
            _ => return,
        };
        let Ok(primary_id) = PrimaryId::new(id) else { return };
        if found.insert(key) {
            let customer = Some(Customer { brand_id, primary_id });
            customers.push(DifferingCustomer { difference, key, customer, row: Some(row) });
        }
    })?;
    Ok(customers)
}

fn brand_counts(
    export: &ExportCustomers,
    names: &BTreeMap<u64, String>,
    list: &SavedList,
) -> BTreeMap<u64, BrandCounts> {
    let expected = export.expected();
    let count = |(brand, name): (&u64, &String)| {
        let expected = expected.get(brand).copied().unwrap_or_default();
        (*brand, BrandCounts { name: name.clone(), expected, listed: 0 })
    };
    let mut brands: BTreeMap<u64, BrandCounts> = names.iter().map(count).collect();
    for brand in list.customers.values() {
        if let Some(counts) = brands.get_mut(brand) {
            counts.listed += 1;
        }
    }
    brands
}

impl Comparison {
    pub(crate) fn is_equal(&self) -> bool {
        self.customers.is_empty()
    }

    fn of(&self, difference: Difference) -> impl Iterator<Item = &DifferingCustomer> {
        self.customers.iter().filter(move |customer| customer.difference == difference)
    }

    pub(crate) fn json(&self) -> Value {
        let brands: Vec<Value> = self
            .brands
            .iter()
            .map(|(brand, counts)| {
                let BrandCounts { name, expected, listed } = counts;
                json!({ "brand_id": brand, "name": name, "expected": expected, "listed": listed })
            })
            .collect();
        let mut value = json!({ "brands": brands, "others_listed": self.others, "moves": self.moves });
        for difference in Difference::ALL {
            let customers: Vec<Value> = self.of(difference).map(DifferingCustomer::json).collect();
            value[difference.as_str()] = customers.into();
        }
        value
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (brand, BrandCounts { name, expected, listed }) in &self.brands {
            let (expected, listed) = (Count(*expected), Count(*listed));
            let _ = writeln!(text, "brand {brand} ({name}): {expected} in the export, {listed} listed");
        }
        if self.others > 0 {
            let others = counted(self.others, "customer");
            let _ = writeln!(text, "not compared: {others} without an id or of other brands");
        }
        if self.moves > 0 {
            let times = counted(self.moves, "time");
            let _ = writeln!(text, "the list moved {times} while it was read, and was read again there");
        }
        for difference in Difference::ALL {
            let customers = self.of(difference).count() as u64;
            let _ = writeln!(text, "{}: {}", difference.title(), Count(customers));
            self.of(difference).for_each(|customer| text += &customer.text());
        }
        text
    }
}

impl DifferingCustomer {
    fn json(&self) -> Value {
        let customer = self.customer.as_ref();
        json!({
            "customer": self.key.to_string(),
            "brand_id": customer.map(|customer| customer.brand_id),
            "id": customer.map(|customer| customer.primary_id.as_str()),
            "row": self.row.map(|row| row.number),
            "line": self.row.map(|row| row.line),
        })
    }

    fn text(&self) -> String {
        let mut text = match &self.customer {
            Some(customer) => format!("  {} of brand {}", customer.primary_id.as_str(), customer.brand_id),
            None => format!("  customer {}, whose id is not stored", self.key),
        };
        if let Some(row) = self.row {
            let _ = write!(text, " (row {}, line {})", row.number, row.line);
        }
        text + "\n"
    }
}

/// The counts alone. One request counts the customers of all brands.
#[derive(Debug)]
pub(crate) struct CountComparison {
    /// In the export, by brand.
    expected: BTreeMap<u64, (String, u64)>,
    /// Acknowledged, and not in the export.
    elsewhere: u64,
    listed: u64,
}

impl CountComparison {
    pub(crate) fn new(
        export: &ExportCustomers,
        checkpoint: &Checkpoint,
        names: &BTreeMap<u64, String>,
        listed: u64,
    ) -> Result<Self, CheckpointError> {
        let counts = export.expected();
        let count = |(brand, name): (&u64, &String)| {
            (*brand, (name.clone(), counts.get(brand).copied().unwrap_or_default()))
        };
        let mut elsewhere = 0;
        checkpoint.each_state(|key, state| {
            let is_elsewhere = export.presence(key).is_none_or(|presence| presence == Presence::Skipped);
            elsewhere += u64::from(state.exists() && is_elsewhere);
        })?;
        Ok(Self { expected: names.iter().map(count).collect(), elsewhere, listed })
    }

    fn expected_total(&self) -> u64 {
        self.expected.values().map(|(_, expected)| expected).sum::<u64>() + self.elsewhere
    }

    pub(crate) fn is_equal(&self) -> bool {
        self.expected_total() == self.listed
    }

    pub(crate) fn json(&self) -> Value {
        let brand = |(brand, (name, expected)): (&u64, &(String, u64))| json!({ "brand_id": brand, "name": name, "expected": expected });
        json!({
            "brands": self.expected.iter().map(brand).collect::<Vec<_>>(),
            "acknowledged_elsewhere": self.elsewhere,
            "expected": self.expected_total(),
            "listed": self.listed,
        })
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (brand, (name, expected)) in &self.expected {
            let _ = writeln!(text, "brand {brand} ({name}): {} in the export", Count(*expected));
        }
        if self.elsewhere > 0 {
            let customers = counted(self.elsewhere, "customer");
            let _ = writeln!(text, "not in the export: {customers} acknowledged before");
        }
        let (expected, listed) = (Count(self.expected_total()), Count(self.listed));
        let _ = writeln!(text, "all brands: {expected} expected, {listed} listed");
        text
    }
}
