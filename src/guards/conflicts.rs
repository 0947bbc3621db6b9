//! Rows of one customer that contradict each other.

use std::collections::HashMap;

use super::notices::{Notice, NoticeKind, Notices, field_name};
use crate::mapping::{Intent, Operation, Place};
use crate::reconcile::{CustomerKey, FieldTag, HashKey, ValueHash};

/// The last value of each field in the rows of customers with several.
#[derive(Debug, Default)]
pub(super) struct ConflictTracker {
    values: HashMap<CustomerKey, Vec<RowValue>>,
    count: u64,
}

#[derive(Debug)]
struct RowValue {
    field: FieldTag,
    value: ValueHash,
    row: u64,
}

impl ConflictTracker {
    /// Takes in the next row of a customer with several. Only rows that say
    /// how the customer is can contradict each other: an update says itself
    /// that something is new.
    pub(super) fn add_row(
        &mut self,
        key: &HashKey,
        customer: CustomerKey,
        intent: &Intent,
        notices: &mut Notices,
    ) {
        let Place::Row(at) = intent.at else { return };
        let values = self.values.entry(customer).or_default();
        if intent.operation == Operation::Purge {
            values.clear();
            return;
        }
        let describes = matches!(intent.operation, Operation::Sync | Operation::Create);
        let mut conflict = None;
        for (name, value) in &intent.fields {
            let field = key.field(name);
            let new = RowValue { field, value: key.value(field, value.as_str()), row: at.number };
            match values.iter_mut().find(|value| value.field == field) {
                None => values.push(new),
                Some(old) if old.value == new.value => {}
                Some(old) => {
                    if describes && conflict.is_none() {
                        conflict = Some((field_name(name), old.row));
                    }
                    *old = new;
                }
            }
        }
        if let Some((field, other)) = conflict {
            self.count += 1;
            let kind = NoticeKind::ConflictingRow;
            notices.add(Notice { at, kind, field: Some(field), other: Some(other) });
        }
    }

    pub(super) fn finish(&self, notices: &mut Notices) {
        notices.set_count(NoticeKind::ConflictingRow, self.count, 0);
    }
}
