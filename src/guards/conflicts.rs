//! Rows of one customer that contradict each other.

use std::collections::HashMap;

use super::notices::{Notice, NoticeKind, Notices, field_word};
use crate::mapping::{Intent, Operation};
use crate::reconcile::{CustomerKey, FieldTag, HashKey, ValueHash};

/// What the rows of customers with several rows have said so far.
#[derive(Debug, Default)]
pub(crate) struct ConflictTracker {
    said: HashMap<CustomerKey, Vec<FieldStatement>>,
    count: u64,
}

#[derive(Debug)]
struct FieldStatement {
    field: FieldTag,
    value: ValueHash,
    row: u64,
}

impl ConflictTracker {
    /// Takes in the next row of a customer with several. Only rows that say
    /// how the customer is can contradict each other: one that asks for an
    /// update says itself that something is new.
    pub(crate) fn row(
        &mut self,
        key: &HashKey,
        customer: CustomerKey,
        intent: &Intent,
        notices: &mut Notices,
    ) {
        let said = self.said.entry(customer).or_default();
        if intent.operation == Operation::Purge {
            said.clear();
            return;
        }
        let describes = matches!(intent.operation, Operation::Sync | Operation::Create);
        let mut conflict = None;
        for (name, value) in &intent.fields {
            let field = key.field(name);
            let new =
                FieldStatement { field, value: key.value(field, value.as_str()), row: intent.at.number };
            match said.iter_mut().find(|said| said.field == field) {
                None => said.push(new),
                Some(old) if old.value == new.value => {}
                Some(old) => {
                    if describes && conflict.is_none() {
                        conflict = Some((field_word(name), old.row));
                    }
                    *old = new;
                }
            }
        }
        if let Some((field, other)) = conflict {
            self.count += 1;
            notices.add(Notice {
                at: intent.at,
                kind: NoticeKind::ConflictingRow,
                field,
                other: Some(other),
            });
        }
    }

    pub(crate) fn finish(&self, notices: &mut Notices) {
        notices.count(NoticeKind::ConflictingRow, self.count, 0);
    }
}
