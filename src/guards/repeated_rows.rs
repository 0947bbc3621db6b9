//! The rows of a customer who has several in an export.

use super::notices::{Notice, NoticeKind, field_name};
use super::same_id::People;
use super::vanished::address_hashes;
use crate::mapping::{FieldName, Intent, Operation};
use crate::reconcile::{AddressHash, FieldTag, HashKey, ValueHash};
use crate::source::RowRef;

#[derive(Debug, Default)]
pub(crate) struct RepeatedRows {
    /// The last value of each field.
    values: Vec<RowValue>,
    /// The addresses of all rows.
    pub(super) addresses: Vec<AddressHash>,
    /// The last `sync` row, unless a purge follows.
    pub(super) synced_at: Option<RowRef>,
    /// Once the rows have several last names.
    pub(super) people: Option<Box<People>>,
}

#[derive(Debug)]
struct RowValue {
    field: FieldTag,
    value: ValueHash,
    row: u64,
}

impl RepeatedRows {
    /// Adds the next row. Returns a notice if it contradicts an earlier one.
    pub(super) fn add(&mut self, key: &HashKey, at: RowRef, intent: &Intent) -> Option<Notice> {
        let addresses: Vec<AddressHash> = address_hashes(key, &intent.addresses).collect();
        self.add_person(key, at, intent, &addresses);
        self.addresses.extend(addresses);
        match intent.operation {
            Operation::Sync => self.synced_at = Some(at),
            Operation::Purge => {
                self.synced_at = None;
                self.values.clear();
                self.people = None;
                return None;
            }
            _ => {}
        }
        // An update is meant to change something, so it contradicts nothing.
        let describes = matches!(intent.operation, Operation::Sync | Operation::Create);
        let mut conflict = None;
        for (name, value) in intent.all_fields() {
            let field = key.field(name);
            let new = RowValue { field, value: key.value(field, value.as_str()), row: at.number };
            match self.values.iter_mut().find(|value| value.field == field) {
                None => self.values.push(new),
                Some(old) if old.value == new.value => {}
                Some(old) => {
                    // A field of a create alone never changes.
                    if intent.fields.iter().any(|(changing, _)| changing == name) {
                        conflict.get_or_insert_with(|| (field_name(name), old.row));
                    }
                    *old = new;
                }
            }
        }
        let (field, other) = conflict.filter(|_| describes)?;
        Some(Notice { at, kind: NoticeKind::ConflictingRow, field: Some(field), other: Some(other) })
    }

    /// Compares the row's person with those of the rows so far. Nothing is kept as
    /// long as all have one last name.
    fn add_person(&mut self, key: &HashKey, at: RowRef, intent: &Intent, addresses: &[AddressHash]) {
        if !matches!(intent.operation, Operation::Sync | Operation::Create) {
            return;
        }
        let Some((name, value)) = intent.all_fields().find(|(name, _)| *name == FieldName::Last) else {
            return;
        };
        let field = key.field(name);
        let last_name = key.value(field, value.as_str());
        if let Some(people) = &mut self.people {
            people.add(last_name, addresses, at.number);
        } else if let Some(before) = self.values.iter().find(|value| value.field == field)
            && before.value != last_name
        {
            let mut people = People::new(before.value, &self.addresses, before.row);
            people.add(last_name, addresses, at.number);
            self.people = Some(Box::new(people));
        }
    }

    pub(crate) fn has_addresses(&self) -> bool {
        !self.addresses.is_empty()
    }
}
