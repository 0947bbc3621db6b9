//! A customer with several rows in an export.

use crate::guards::RepeatedRows;
use crate::mapping::Operation;
use crate::omnidesk::CallKind;
use crate::reconcile::{Acked, CustomerState};
use crate::source::RowRef;

pub(super) struct RepeatedCustomer {
    pub(super) rows: RepeatedRows,
    /// After the rows of the second reading so far.
    pub(super) state: CustomerState,
    /// The second reading decides this row and those behind it.
    pub(super) later_from: u64,
    pub(super) has_calls: bool,
    /// Whether the plan counts the customer as created without any address.
    pub(super) is_without_address: bool,
    /// As long as no row does more than an update.
    updates: Option<Updates>,
    /// Whether the checkpoint knows the customer. `--full` can purge a customer
    /// again who was purged.
    is_known: bool,
    /// The row that would purge such a customer.
    purged_by: Option<RowRef>,
}

/// Rows of one customer that describe the customer.
struct Updates {
    /// The state before the rows.
    before: Acked,
    /// The rows to be visited, with their calls.
    rows: Vec<(u64, Vec<CallKind>)>,
}

impl RepeatedCustomer {
    /// `later` is the first row behind another row of this customer.
    pub(super) fn new(later: RowRef, state: CustomerState) -> Self {
        Self {
            rows: RepeatedRows::default(),
            later_from: later.number,
            has_calls: false,
            is_without_address: false,
            updates: state.acked().map(|acked| Updates { before: acked.clone(), rows: Vec::new() }),
            is_known: !state.is_unknown(),
            purged_by: None,
            state,
        }
    }

    /// Takes in the calls of a row. Returns the rows that purge the customer
    /// and create it anew, if this is the second of them.
    pub(super) fn add_row(
        &mut self,
        at: RowRef,
        operation: Operation,
        calls: &[CallKind],
    ) -> Option<(RowRef, RowRef)> {
        use Operation::{Create, Purge, Sync};
        self.has_calls |= !calls.is_empty();
        match (&mut self.updates, operation, calls) {
            (Some(updates), Sync | Create, [] | [CallKind::Update]) if self.has_calls => {
                updates.rows.push((at.number, calls.to_vec()));
            }
            (Some(_), Sync | Create, []) => {}
            (updates, ..) => *updates = None,
        }
        match (operation, calls) {
            (Purge, [CallKind::Purge]) if self.is_known => self.purged_by = Some(at),
            (Sync, [CallKind::Create, ..]) => return self.purged_by.take().map(|purge| (purge, at)),
            _ => {}
        }
        None
    }

    /// The rows that only change the customer back and forth.
    pub(super) fn rows_back_and_forth(&self) -> &[(u64, Vec<CallKind>)] {
        match (&self.updates, self.state.acked()) {
            (Some(Updates { before, rows }), Some(after)) if before.holds_same(after) => rows,
            _ => &[],
        }
    }
}
