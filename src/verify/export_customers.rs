//! The customers of an export, and whether Omnidesk should hold them.

use std::collections::{BTreeMap, HashMap};

use crate::mapping::Operation;
use crate::plan::PreparedExport;
use crate::reconcile::{BuildKeyHasher, CustomerKey, HashKey};
use crate::source::{Row, RowRef, SourceError};

/// What the rows of a customer ask for in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// Omnidesk should hold the customer.
    Expected,
    /// A row purges the customer.
    Purged,
    /// No row is to be sent, or none can be read.
    Skipped,
}

#[derive(Debug)]
pub(crate) struct ExportCustomers {
    pub(super) customers: HashMap<CustomerKey, (Presence, u64), BuildKeyHasher>,
}

impl ExportCustomers {
    pub(crate) fn read(prepared: &PreparedExport, key: &HashKey) -> Result<Self, SourceError> {
        let mut customers: HashMap<_, _, BuildKeyHasher> = HashMap::default();
        each_row(prepared, |row| {
            let identity = prepared.mapping.identify(row);
            let Some(customer) = identity.customer else { return };
            let presence = match identity.operation {
                Some(Operation::Skip) | None => Presence::Skipped,
                Some(Operation::Purge) => Presence::Purged,
                Some(_) => Presence::Expected,
            };
            let (known, _) =
                customers.entry(key.customer(&customer)).or_insert((presence, customer.brand_id));
            if presence != Presence::Skipped {
                *known = presence;
            }
        })?;
        Ok(Self { customers })
    }

    pub(super) fn presence(&self, key: CustomerKey) -> Option<Presence> {
        self.customers.get(&key).map(|(presence, _)| *presence)
    }

    /// Expected customers by brand; every brand of the export is in it.
    pub(crate) fn expected(&self) -> BTreeMap<u64, u64> {
        let mut expected = BTreeMap::new();
        for (presence, brand) in self.customers.values() {
            *expected.entry(*brand).or_default() += u64::from(*presence == Presence::Expected);
        }
        expected
    }
}

/// Visits each row with a readable id once more.
pub(super) fn each_customer(
    prepared: &PreparedExport,
    key: &HashKey,
    mut visit: impl FnMut(CustomerKey, u64, &str, RowRef),
) -> Result<(), SourceError> {
    each_row(prepared, |row| {
        if let Some((brand, id)) = prepared.mapping.customer_of(row) {
            visit(key.customer_id(brand, &id), brand, &id, row.at());
        }
    })
}

fn each_row(prepared: &PreparedExport, mut visit: impl FnMut(&Row)) -> Result<(), SourceError> {
    let (mut rows, mut row) = (prepared.export.rows(), Row::default());
    while rows.read(&mut row).map_err(|source| prepared.export.io_error(source))? {
        visit(&row);
    }
    prepared.export.check_unchanged()
}
