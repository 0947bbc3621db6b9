//! Customers who are missing from an export, and whose ids are to be stored.

use std::collections::{BTreeSet, HashSet};

use super::error::PlanError;
use super::prepare::PreparedExport;
use super::reading::read;
use crate::checkpoint::{Checkpoint, MissingKeys};
use crate::mapping::{Customer, Operation, PrimaryId, RowIdentity};
use crate::reconcile::{CustomerKey, HashKey, MissingAction, MissingCustomers};
use crate::source::{Row, RowRef};

/// Customers whose ids are written at once.
const BATCH_IDS: usize = 8192;

/// Why an export does not show which customers are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SearchObstacle {
    /// It is a part of the base.
    Part,
    /// Rows name operations of their own, or their operation cannot be read.
    OwnOperations,
}

impl SearchObstacle {
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Part => "missing: not searched for, since this is a part of the base",
            Self::OwnOperations => {
                "missing: not searched for, since rows name operations of their own: this need not be the full base"
            }
        }
    }
}

/// What a first pass has found of missing customers.
#[derive(Debug, Clone)]
pub(crate) struct MissingPlan {
    pub(crate) result: Result<MissingCustomers, SearchObstacle>,
    /// Those whose id is stored, sorted.
    pub(crate) keys: Vec<CustomerKey>,
    /// Customers of the export who are known and whose id is not stored yet.
    pub(crate) ids_to_store: u64,
    /// The first rejected row without a readable id.
    pub(super) first_unreadable: Option<RowRef>,
}

/// Customers who appear in the export, besides those of the decided rows.
#[derive(Debug, Default)]
pub(super) struct MissingSearch {
    /// Customers of skipped and rejected rows: the first 64 bits of their keys.
    /// Two with the same bits are both present, which harms neither.
    keys: HashSet<u64>,
    brands: BTreeSet<u64>,
    unreadable_rows: u64,
    first_unreadable: Option<RowRef>,
    has_own_operations: bool,
}

impl MissingSearch {
    pub(super) fn add_brand(&mut self, brand_id: u64) {
        if self.brands.last() != Some(&brand_id) {
            self.brands.insert(brand_id);
        }
    }

    /// A row that is skipped or rejected: its customer is present all the same.
    pub(super) fn add_row(&mut self, at: RowRef, identity: Option<&RowIdentity>, key: &HashKey) {
        let Some(presence) = identity else { return };
        if let Some(customer) = &presence.customer {
            self.add_brand(customer.brand_id);
            self.keys.insert(key.customer(customer).short());
        }
        match (presence.operation, &presence.customer) {
            // A rule names such rows: they may have no customer.
            (Some(Operation::Skip), _) | (Some(Operation::Sync), Some(_)) => {}
            (Some(Operation::Sync) | None, _) => {
                self.unreadable_rows += 1;
                self.first_unreadable.get_or_insert(at);
            }
            (Some(_), _) => self.has_own_operations = true,
        }
    }

    /// Finds the known customers who are not present.
    pub(super) fn finish(
        self,
        prepared: &PreparedExport,
        checkpoint: Option<&Checkpoint>,
        has_own_operations: bool,
        is_present: impl Fn(CustomerKey) -> bool,
    ) -> Result<MissingPlan, PlanError> {
        let is_present = |key: CustomerKey| is_present(key) || self.keys.contains(&key.short());
        let found = checkpoint.map(|checkpoint| checkpoint.find_missing(is_present, &self.brands));
        let MissingKeys { counts, keys, to_store } = found.transpose()?.unwrap_or_default();
        let (action, unreadable_rows) = (prepared.missing, self.unreadable_rows);
        let result = if prepared.is_part() {
            Err(SearchObstacle::Part)
        } else if self.has_own_operations || has_own_operations {
            Err(SearchObstacle::OwnOperations)
        } else {
            Ok(MissingCustomers { action, unreadable_rows, ..counts })
        };
        let keys = if result.is_ok() { keys } else { Vec::new() };
        Ok(MissingPlan { result, keys, ids_to_store: to_store, first_unreadable: self.first_unreadable })
    }
}

impl MissingPlan {
    /// Missing customers who are to be purged.
    pub(crate) fn purge_list(&self) -> &[CustomerKey] {
        match &self.result {
            Ok(missing) if missing.action == MissingAction::Purge => &self.keys,
            _ => &[],
        }
    }
}

/// Stores the ids of known customers in the export. It reads the export once
/// more, on the first night that `[missing]` asks for them.
pub(crate) fn store_ids(prepared: &PreparedExport, checkpoint: &mut Checkpoint) -> Result<(), PlanError> {
    let key = checkpoint.key();
    let mut waiting: Vec<(CustomerKey, Customer)> = Vec::new();
    let mut write = |waiting: &mut Vec<(CustomerKey, Customer)>| -> Result<(), PlanError> {
        waiting.sort_unstable_by_key(|(key, _)| *key);
        let mut batch = checkpoint.batch()?;
        for (key, customer) in waiting.drain(..) {
            if batch.lookups().state(key)?.may_be_missing() {
                batch.store_id(key, &customer)?;
            }
        }
        Ok(batch.commit_states()?)
    };
    let customer_of = |row: &Row| {
        let (brand_id, primary_id) = prepared.mapping.customer_of(row)?;
        let customer = Customer { brand_id, primary_id: PrimaryId::new(&primary_id).ok()? };
        Some((key.customer(&customer), customer))
    };
    let classify = |rows: &mut [Row], batch: &mut Vec<_>| {
        batch.extend(rows.iter().filter(|row| prepared.selects(row)).filter_map(customer_of))
    };
    read(prepared, classify, |mut batch| {
        waiting.append(&mut batch);
        if waiting.len() >= BATCH_IDS { write(&mut waiting) } else { Ok(()) }
    })?;
    write(&mut waiting)
}
