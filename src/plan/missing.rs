//! Who is missing from an export, and whose ids are to be kept for that.

use super::error::PlanError;
use std::collections::{BTreeSet, HashSet};

use super::Plan;
use super::prepare::PreparedExport;
use super::reading::read;
use crate::checkpoint::Checkpoint;
use crate::config::MissingAction;
use crate::mapping::{Customer, Operation, PrimaryId, RowIdentity};
use crate::reconcile::{CustomerKey, MissingPlan, Policy, Undecided};
use crate::source::{Row, RowRef};

/// Customers whose ids are written at once.
const BATCH_NAMES: usize = 8192;

/// Who is there besides the rows that ask for something.
#[derive(Debug, Default)]
pub(crate) struct PresenceTracker {
    /// Customers of skipped and refused rows: the first 64 bits of their
    /// keys. Two with the same bits are both there, which harms nobody.
    keys: HashSet<u64>,
    brands: BTreeSet<u64>,
    unreadable: u64,
    first_unreadable: Option<RowRef>,
    own_operations: bool,
}

impl PresenceTracker {
    /// A brand that the export is for.
    pub(crate) fn brand(&mut self, brand_id: u64) {
        if self.brands.last() != Some(&brand_id) {
            self.brands.insert(brand_id);
        }
    }

    /// A row that is skipped or refused: its customer is there all the same.
    pub(crate) fn take(&mut self, at: RowRef, presence: &RowIdentity, policy: &Policy) {
        if let Some(customer) = &presence.customer {
            self.brand(customer.brand_id);
            self.keys.insert(policy.key.customer(customer).short());
        }
        match (presence.operation, &presence.customer) {
            // Somebody wrote a rule about such rows: they may be nobody's.
            (Some(Operation::Skip), _) => {}
            (Some(Operation::Sync), Some(_)) => {}
            (Some(Operation::Sync) | None, _) => {
                self.unreadable += 1;
                self.first_unreadable.get_or_insert(at);
            }
            (Some(_), _) => self.own_operations = true,
        }
    }

    /// Who is not there, of those that the checkpoint knows.
    pub(crate) fn missing(
        self,
        prepared: &PreparedExport,
        checkpoint: Option<&Checkpoint>,
        survey: &Plan,
        met: impl Fn(CustomerKey) -> bool,
    ) -> Result<MissingPlan, PlanError> {
        let undecided = match prepared.is_part() {
            true => Some(Undecided::Part),
            false => (self.own_operations || !survey.only_sync).then_some(Undecided::OwnOperations),
        };
        let Some(checkpoint) = checkpoint else {
            return Ok(MissingPlan { undecided, ..MissingPlan::default() });
        };
        let is_met = |key: CustomerKey| met(key) || self.keys.contains(&key.short());
        let mut found = checkpoint.unmet(is_met, &self.brands)?;
        if undecided.is_some() {
            // Whose ids to keep is known from any rows.
            return Ok(MissingPlan { undecided, to_name: found.to_name, ..MissingPlan::default() });
        }
        found.missing.unreadable = self.unreadable;
        found.first_unreadable = self.first_unreadable;
        found.missing.purge = prepared.missing == MissingAction::Purge;
        Ok(found)
    }
}

/// Keeps the ids of customers who are in the export and known. It reads the
/// export once more, on the first night that somebody asks for them.
pub(crate) fn keep_names(
    prepared: &PreparedExport,
    policy: &Policy,
    checkpoint: &mut Checkpoint,
) -> Result<(), PlanError> {
    let mut waiting: Vec<(CustomerKey, Customer)> = Vec::new();
    let mut write = |waiting: &mut Vec<(CustomerKey, Customer)>| -> Result<(), PlanError> {
        waiting.sort_unstable_by_key(|(key, _)| *key);
        let mut batch = checkpoint.batch()?;
        for (key, customer) in waiting.drain(..) {
            if batch.lookups().told(key)?.is_some_and(|told| !told.purged) {
                batch.name(key, &customer)?;
            }
        }
        Ok(batch.commit_told()?)
    };
    let whose = |row: &Row| {
        let (brand_id, primary_id) = prepared.mapping.customer_of(row)?;
        let customer = Customer { brand_id, primary_id: PrimaryId::new(&primary_id).ok()? };
        Some((policy.key.customer(&customer), customer))
    };
    let sort = |rows: &[Row], batch: &mut Vec<_>| batch.extend(rows.iter().filter_map(whose));
    read(prepared, sort, |mut batch| {
        waiting.append(&mut batch);
        if waiting.len() >= BATCH_NAMES { write(&mut waiting) } else { Ok(()) }
    })?;
    write(&mut waiting)
}
