//! Calls that are made because the mapping changed, not the data.

use std::fmt::Write as _;

use serde::Serialize;

use super::baseline::RunProfile;
use crate::mapping::{MappedKey, Subject};
use crate::omnidesk::{Call, CallKind};
use crate::units::Count;

/// What happened to a mapped key since the last finished run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChangeKind {
    Added,
    Changed,
    Removed,
}

/// A mapped key that changed, and what that leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct KeyChange {
    /// As in the configuration, below `customer`.
    key: String,
    change: ChangeKind,
    /// Customers with a call that this key takes part in.
    customers: u64,
    /// Of those, the ones whose call holds nothing else.
    alone: u64,
    #[serde(skip)]
    subject: Subject,
}

/// All mapped keys that changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct MappingChanges {
    keys: Vec<KeyChange>,
    /// Customers with a call that holds nothing but these keys.
    customers: u64,
}

impl MappingChanges {
    /// Compares the mapping with that of the last finished run; if none is
    /// known, nothing changed.
    pub(super) fn new(keys: &[MappedKey], profile: Option<&RunProfile>) -> Self {
        let before = profile.map(|profile| profile.key_hashes.as_slice()).unwrap_or_default();
        if before.is_empty() {
            return Self::default();
        }
        let changed =
            |key: String, change, subject| KeyChange { key, change, customers: 0, alone: 0, subject };
        let mut changes: Vec<KeyChange> = Vec::new();
        for MappedKey { key, subject, hash } in keys {
            let change = match before.iter().find(|(name, _)| name == key) {
                None => ChangeKind::Added,
                Some((_, old)) if old != hash => ChangeKind::Changed,
                Some(_) => continue,
            };
            changes.push(changed(key.clone(), change, subject.clone()));
        }
        let removed = before.iter().filter(|(name, _)| keys.iter().all(|key| key.key != *name));
        changes.extend(removed.map(|(name, _)| changed(name.clone(), ChangeKind::Removed, Subject::Rest)));
        Self { keys: changes, customers: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Takes in the calls of a customer's first row that has any.
    pub(super) fn add_calls(&mut self, calls: &[Call]) {
        if self.keys.is_empty() {
            return;
        }
        let subjects: Vec<Option<Subject>> = calls.iter().flat_map(subjects).collect();
        if subjects.is_empty() {
            return;
        }
        for key in &mut self.keys {
            let is_own =
                |subject: &&Option<Subject>| subject.as_ref().is_some_and(|part| key.subject.covers(part));
            let own = subjects.iter().filter(is_own).count();
            key.customers += u64::from(own > 0);
            key.alone += u64::from(own == subjects.len());
        }
        let has_key = |subject: &Subject| self.keys.iter().any(|key| key.subject.covers(subject));
        let is_for_mapping = subjects.iter().all(|subject| subject.as_ref().is_some_and(has_key));
        self.customers += u64::from(is_for_mapping);
    }

    /// A line for each change that leads to a call.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for key in &self.keys {
            text.extend(key.line());
        }
        if self.keys.iter().filter(|key| key.customers > 0).count() > 1 {
            let _ = writeln!(text, "customers sent again for the mapping alone: {}", Count(self.customers));
        }
        text
    }
}

impl KeyChange {
    fn line(&self) -> Option<String> {
        let Self { key, customers, alone, .. } = self;
        let change = match self.change {
            ChangeKind::Added => "new",
            ChangeKind::Changed => "changed",
            ChangeKind::Removed => {
                return Some(format!("`{key}` is no longer mapped: Omnidesk keeps what it holds of it\n"));
            }
        };
        if *customers == 0 {
            return None;
        }
        let (customers, alone) = (Count(*customers), Count(*alone));
        let effect = match &self.subject {
            Subject::Customer => format!("customers unknown by it, and to be created: {customers}"),
            Subject::Channel(_) => format!("customers who get another address: {customers}"),
            _ => format!("customers to update: {customers}, for this field alone: {alone}"),
        };
        Some(format!("the mapping of `{key}` is {change}; {effect}\n"))
    }
}

/// What a call fills; `None` if no key leads to the call.
fn subjects(call: &Call) -> Vec<Option<Subject>> {
    if call.kind() == CallKind::Create {
        return vec![Some(Subject::Customer)];
    }
    let fields = call.fields().iter().map(|(name, _)| Subject::Field(name.clone()));
    let channel = call.address().map(|address| Subject::Channel(address.channel()));
    let subjects: Vec<_> = fields.chain(channel).map(Some).collect();
    if subjects.is_empty() { vec![None] } else { subjects }
}
