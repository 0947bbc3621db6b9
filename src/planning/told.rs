//! What a customer was last told and what is still under way, as the
//! checkpoint keeps it: hashes only.

use serde::{Deserialize, Serialize};

use super::keys::{AddressHash, FieldTag, HashKey, ValueHash};
use crate::mapping::{FieldName, FieldValue};
use crate::omnidesk::Kind;

/// What the API has acknowledged of a customer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The customer's data was purged; nothing else below counts then.
    pub purged: bool,
    /// Ordinal of the export whose row was acknowledged last.
    pub export: u32,
    /// The highest row of that export that was acknowledged.
    pub row: u64,
    pub(super) fields: Vec<ToldField>,
    pub(super) addresses: Vec<AddressHash>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ToldField {
    tag: FieldTag,
    value: ValueHash,
    /// How many rows before `Told::row` it was told: nearly always 0, one byte.
    rows_before: u64,
}

impl Told {
    /// A customer of whom nothing but the existence is known.
    #[must_use]
    pub fn existing() -> Self {
        Self::default()
    }

    /// A customer whose data row `row` of `export` has purged.
    #[must_use]
    pub fn tombstone(export: u32, row: u64) -> Self {
        Self { purged: true, export, row, ..Self::default() }
    }

    /// Whether the field was last told this value.
    pub(super) fn has(&self, key: &HashKey, name: &FieldName, value: &FieldValue) -> bool {
        let tag = key.field(name);
        self.field(tag).is_some_and(|field| field.value == key.value(tag, value.as_str()))
    }

    /// Whether a row behind `row` of the same export has told the field. A
    /// row that is tried again must not undo what stands after it.
    pub(super) fn has_later(&self, key: &HashKey, name: &FieldName, export: u32, row: u64) -> bool {
        self.export == export
            && self
                .field(key.field(name))
                .is_some_and(|field| self.row.saturating_sub(field.rows_before) > row)
    }

    pub(super) fn has_address(&self, address: AddressHash) -> bool {
        self.addresses.contains(&address)
    }

    pub(super) fn tell(&mut self, key: &HashKey, name: &FieldName, value: &FieldValue, row: u64) {
        let tag = key.field(name);
        let told = ToldField {
            tag,
            value: key.value(tag, value.as_str()),
            rows_before: self.row.saturating_sub(row),
        };
        match self.fields.iter_mut().find(|field| field.tag == tag) {
            Some(field) => *field = told,
            None => self.fields.push(told),
        }
    }

    pub(super) fn forget(&mut self, key: &HashKey, name: &FieldName) {
        let tag = key.field(name);
        self.fields.retain(|field| field.tag != tag);
    }

    pub(super) fn add_address(&mut self, address: AddressHash) {
        if !self.has_address(address) {
            self.addresses.push(address);
        }
    }

    /// Says that row `row` of `export` is being told.
    pub(super) fn touch(&mut self, export: u32, row: u64) {
        if self.export != export {
            self.export = export;
            self.row = row;
            // Fields of earlier exports are never later than any row of this.
            self.fields.iter_mut().for_each(|field| field.rows_before = row);
        } else if row > self.row {
            let moved = row - self.row;
            self.row = row;
            self.fields.iter_mut().for_each(|field| field.rows_before += moved);
        }
    }

    fn field(&self, tag: FieldTag) -> Option<&ToldField> {
        self.fields.iter().find(|field| field.tag == tag)
    }
}

/// A call that was recorded before it was sent, and has no outcome yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flight {
    /// Ordinal of the export.
    pub export: u32,
    /// The row.
    pub row: u64,
    /// Which call: an index of [`Kind::ALL`].
    kind: u8,
    /// The address that a create carries.
    pub address: Option<AddressHash>,
    /// When it was recorded, in seconds since 1970, for display and for
    /// forgetting calls that may be repeated anyway.
    pub at_unix: u64,
}

impl Flight {
    /// A call about to be sent.
    #[must_use]
    pub fn new(export: u32, row: u64, kind: Kind, address: Option<AddressHash>, at_unix: u64) -> Self {
        Self { export, row, kind: kind as u8, address, at_unix }
    }

    /// Which call it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::ALL.get(usize::from(self.kind)).copied().unwrap_or(Kind::Create)
    }
}

/// What is done of a row that asks for several calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// A create was acknowledged.
    pub created: bool,
    /// An update was acknowledged.
    pub updated: bool,
    /// The purge was acknowledged.
    pub purged: bool,
    /// The addresses that were acknowledged.
    pub addresses: Vec<AddressHash>,
}
