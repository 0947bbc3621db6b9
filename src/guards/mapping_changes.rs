//! Calls that are made because the mapping changed, told from those that are
//! made because the data did.

use std::fmt::Write as _;

use serde::Serialize;

use super::baseline::RunProfile;
use crate::mapping::{Channel, FieldName, MappedKey, Subject};
use crate::omnidesk::{Action, Call};

/// What happened to a mapped key since the last finished run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It was not mapped.
    Added,
    /// It was mapped in another way.
    Changed,
    /// It is not mapped any more.
    Removed,
}

/// A mapped key that changed, and what that leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyChange {
    /// As in the configuration, below `customer`.
    pub key: String,
    /// What happened to it.
    pub change: ChangeKind,
    /// Customers with a call that this key takes part in.
    pub customers: u64,
    /// Of those, the ones whose call holds nothing else.
    pub alone: u64,
    #[serde(skip)]
    subject: Subject,
}

/// All mapped keys that changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MappingChanges {
    /// The keys.
    pub keys: Vec<KeyChange>,
    /// Customers with a call that holds nothing but these keys.
    pub customers: u64,
}

impl MappingChanges {
    /// Compares the mapping with that of the last finished run; if none is
    /// known, nothing changed.
    pub(crate) fn new(keys: &[MappedKey], seen: Option<&RunProfile>) -> Self {
        let before = seen.map(|seen| seen.keys.as_slice()).unwrap_or_default();
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
        let gone = before.iter().filter(|(name, _)| keys.iter().all(|key| key.key != *name));
        changes.extend(gone.map(|(name, _)| changed(name.clone(), ChangeKind::Removed, Subject::Rest)));
        Self { keys: changes, customers: 0 }
    }

    /// Takes in the calls of a customer's first row that has any.
    pub(crate) fn calls(&mut self, calls: &[Call]) {
        if self.keys.is_empty() || calls.is_empty() {
            return;
        }
        let mut nothing_else = true;
        for key in &mut self.keys {
            let part = CallShare::of(&key.subject, calls);
            key.customers += u64::from(part != CallShare::None);
            key.alone += u64::from(part == CallShare::All);
        }
        for call in calls {
            nothing_else &= match &call.action {
                Action::Update { fields } => fields.iter().all(|(name, _)| self.has_field(name)),
                Action::AddChannel { address, .. } => self.has_channel(address.channel()),
                Action::Create { .. } => self.keys.iter().any(|key| key.subject == Subject::Customer),
                Action::Purge => false,
            };
        }
        self.customers += u64::from(nothing_else);
    }

    fn has_field(&self, name: &FieldName) -> bool {
        self.keys.iter().any(|key| matches!(&key.subject, Subject::Field(field) if field == name))
    }

    fn has_channel(&self, channel: Channel) -> bool {
        self.keys.iter().any(|key| key.subject == Subject::Channel(channel))
    }

    /// In words, a line each; nothing if the mapping leads to no call.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for key in &self.keys {
            let _ = write!(text, "{}", key.line());
        }
        if self.keys.iter().filter(|key| key.customers > 0).count() > 1 {
            let customers = self.customers;
            let _ = writeln!(text, "in all, {customers} customers are sent again for the mapping alone");
        }
        text
    }
}

impl KeyChange {
    fn line(&self) -> String {
        let Self { key, customers, alone, .. } = self;
        let what = match self.change {
            ChangeKind::Added => "is new",
            ChangeKind::Changed => "has changed",
            ChangeKind::Removed => {
                return format!("the mapping's `{key}` is gone: what Omnidesk holds of it stays as it is\n");
            }
        };
        let gets = match &self.subject {
            _ if *customers == 0 => return String::new(),
            Subject::Customer => "are not known by it and would be created",
            Subject::Channel(_) => "get another address",
            _ if alone == customers => "get an update with that field alone",
            _ => "get an update with it",
        };
        let alone = match &self.subject {
            Subject::Field(_) if alone != customers => format!(", {alone} of them with that field alone"),
            _ => String::new(),
        };
        format!("the mapping's `{key}` {what}: {customers} customers {gets}{alone}\n")
    }
}

/// Which part of a customer's calls a key makes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallShare {
    None,
    Some,
    All,
}

impl CallShare {
    fn of(subject: &Subject, calls: &[Call]) -> Self {
        let (mut some, mut all) = (false, true);
        let mut take = |is_own: bool| {
            some |= is_own;
            all &= is_own;
        };
        for call in calls {
            match (&call.action, subject) {
                (Action::Update { fields }, Subject::Field(own)) => {
                    fields.iter().for_each(|(name, _)| take(name == own));
                }
                (Action::AddChannel { address, .. }, Subject::Channel(own)) => {
                    take(address.channel() == *own)
                }
                (Action::Create { .. }, Subject::Customer) => take(true),
                _ => take(false),
            }
        }
        match (some, all) {
            (false, _) => Self::None,
            (true, true) => Self::All,
            (true, false) => Self::Some,
        }
    }
}
