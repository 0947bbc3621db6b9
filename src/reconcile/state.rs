//! What a customer was last told and what is still under way, as the
//! checkpoint keeps it: hashes only.

use serde::{Deserialize, Serialize};

use super::hashes::{AddressHash, FieldTag, HashKey, RowFingerprint, ValueHash};
use crate::mapping::{FieldName, FieldValue};
use crate::omnidesk::CallKind;

/// What the API has acknowledged of a customer.
///
/// The checkpoint writes the members in this order, and reads the first two
/// without the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acked {
    /// Of a row that asks for just what is told here.
    pub print: RowFingerprint,
    /// Addresses that were acknowledged.
    pub addresses: Vec<AddressHash>,
    /// The customer's data was purged; nothing else below counts then.
    pub purged: bool,
    /// A purge was sent, and nobody knows yet whether it was carried out.
    pub perhaps_purged: bool,
    /// Ordinal of the export whose row was acknowledged last.
    pub export: u32,
    /// The highest row of that export that was acknowledged.
    pub row: u64,
    /// Fields that were acknowledged.
    pub fields: Vec<AckedField>,
}

/// A field of a customer that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AckedField {
    tag: FieldTag,
    value: ValueHash,
    /// How many rows before `Acked::row` it was told: nearly always 0, one byte.
    rows_before: u64,
}

impl Acked {
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

    /// Whether a customer who was told `other` since holds just the same.
    #[must_use]
    pub fn is_held_by(&self, other: &Self) -> bool {
        let is_there = |told: &Self| !told.purged && !told.perhaps_purged;
        is_there(self)
            && is_there(other)
            && self.addresses.len() == other.addresses.len()
            && self.addresses.iter().all(|address| other.has_address(*address))
            && self.fields.len() == other.fields.len()
            && self
                .fields
                .iter()
                .all(|own| other.field(own.tag).is_some_and(|field| field.value == own.value))
    }

    /// Whether the field was last told this value.
    pub(crate) fn has(&self, key: &HashKey, name: &FieldName, value: &FieldValue) -> bool {
        let tag = key.field(name);
        self.field(tag).is_some_and(|field| field.value == key.value(tag, value.as_str()))
    }

    /// Whether a row behind `row` of the same export has told the field. A
    /// row that is tried again must not undo what stands after it.
    pub(crate) fn has_later(&self, key: &HashKey, name: &FieldName, export: u32, row: u64) -> bool {
        self.export == export
            && self
                .field(key.field(name))
                .is_some_and(|field| self.row.saturating_sub(field.rows_before) > row)
    }

    pub(crate) fn has_address(&self, address: AddressHash) -> bool {
        self.addresses.contains(&address)
    }

    pub(crate) fn tell(&mut self, key: &HashKey, name: &FieldName, value: &FieldValue, row: u64) {
        self.print = RowFingerprint::NONE;
        let tag = key.field(name);
        let told = AckedField {
            tag,
            value: key.value(tag, value.as_str()),
            rows_before: self.row.saturating_sub(row),
        };
        match self.fields.iter_mut().find(|field| field.tag == tag) {
            Some(field) => *field = told,
            None => self.fields.push(told),
        }
    }

    pub(crate) fn forget(&mut self, key: &HashKey, name: &FieldName) {
        self.print = RowFingerprint::NONE;
        let tag = key.field(name);
        self.fields.retain(|field| field.tag != tag);
    }

    pub(crate) fn add_address(&mut self, address: AddressHash) {
        if !self.has_address(address) {
            self.print = RowFingerprint::NONE;
            self.addresses.push(address);
        }
    }

    /// Says that row `row` of `export` is being told.
    pub(crate) fn touch(&mut self, export: u32, row: u64) {
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

    fn field(&self, tag: FieldTag) -> Option<&AckedField> {
        self.fields.iter().find(|field| field.tag == tag)
    }
}

/// A call that was recorded before it was sent, and has no outcome yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingCall {
    /// Ordinal of the export.
    pub export: u32,
    /// The row.
    pub row: u64,
    /// Which call: an index of [`CallKind::ALL`].
    kind: u8,
    /// The address that a create carries.
    pub address: Option<AddressHash>,
}

impl PendingCall {
    /// A call about to be sent.
    #[must_use]
    pub fn new(export: u32, row: u64, kind: CallKind, address: Option<AddressHash>) -> Self {
        Self { export, row, kind: kind as u8, address }
    }

    /// Which call it is.
    #[must_use]
    pub fn kind(&self) -> CallKind {
        CallKind::ALL.get(usize::from(self.kind)).copied().unwrap_or(CallKind::Create)
    }

    /// Whether it is a purge.
    #[must_use]
    pub fn is_purge(&self) -> bool {
        self.kind() == CallKind::Purge
    }
}

/// What is done of a row that asks for several calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowProgress {
    /// A create was acknowledged.
    pub created: bool,
    /// An update was acknowledged.
    pub updated: bool,
    /// The purge was acknowledged.
    pub purged: bool,
    /// The addresses that were acknowledged.
    pub addresses: Vec<AddressHash>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use FieldName::{First, Last};

    const KEY: [u8; 32] = [7; 32];

    fn text(text: &str) -> FieldValue {
        FieldValue::Text(text.to_owned())
    }

    /// Rows 10 and 20 of export 1 have each told a name.
    fn told_by_10_and_20(key: &HashKey) -> Acked {
        let mut told = Acked::existing();
        told.touch(1, 10);
        told.tell(key, &First, &text("a"), 10);
        told.touch(1, 20);
        told.tell(key, &Last, &text("b"), 20);
        told
    }

    #[test]
    fn a_field_is_later_than_the_rows_before_the_one_that_told_it() {
        let key = HashKey::new(KEY);
        let told = told_by_10_and_20(&key);
        for row in 1..30 {
            assert_eq!(told.has_later(&key, &First, 1, row), row < 10, "first, {row}");
            assert_eq!(told.has_later(&key, &Last, 1, row), row < 20, "last, {row}");
            assert!(!told.has_later(&key, &First, 2, row), "another export");
        }
    }

    #[test]
    fn an_earlier_row_that_is_tried_again_moves_no_later_field() {
        let key = HashKey::new(KEY);
        let mut told = told_by_10_and_20(&key);
        told.touch(1, 15);
        told.tell(&key, &First, &text("c"), 15);
        assert_eq!((told.export, told.row), (1, 20));
        assert!(told.has(&key, &First, &text("c")) && told.has(&key, &Last, &text("b")));
        for row in 1..30 {
            assert_eq!(told.has_later(&key, &First, 1, row), row < 15, "first, {row}");
            assert_eq!(told.has_later(&key, &Last, 1, row), row < 20, "last, {row}");
        }
    }

    #[test]
    fn nothing_of_an_earlier_export_is_later() {
        let key = HashKey::new(KEY);
        let mut told = told_by_10_and_20(&key);
        told.touch(2, 50);
        assert_eq!((told.export, told.row), (2, 50));
        assert!((0..60).all(|row| !told.has_later(&key, &First, 2, row)));
        assert!((0..60).all(|row| !told.has_later(&key, &Last, 2, row)));
        assert!(told.has(&key, &First, &text("a")), "what was told is not forgotten");
    }

    #[test]
    fn told_is_told_until_it_is_told_otherwise_or_forgotten() {
        let key = HashKey::new(KEY);
        let mut told = told_by_10_and_20(&key);
        assert!(!told.has(&key, &First, &text("A")) && !told.has(&key, &First, &FieldValue::Clear));
        assert!(!told.has(&key, &Last, &text("a")), "another field");
        told.tell(&key, &First, &FieldValue::Clear, 20);
        assert!(told.has(&key, &First, &FieldValue::Clear) && !told.has(&key, &First, &text("a")));
        told.forget(&key, &First);
        assert!(!told.has(&key, &First, &FieldValue::Clear) && told.has(&key, &Last, &text("b")));
        let (one, two) = (AddressHash([1; 8]), AddressHash([2; 8]));
        told.add_address(one);
        told.add_address(one);
        assert!(told.has_address(one) && !told.has_address(two));
        assert_eq!(told.addresses.len(), 1);
    }

    #[test]
    fn a_tombstone_knows_its_row_and_nothing_else() {
        let expected = Acked { purged: true, export: 3, row: 9, ..Acked::existing() };
        assert_eq!(Acked::tombstone(3, 9), expected);
    }

    #[test]
    fn a_flight_knows_its_kind_and_an_unknown_one_is_taken_for_the_gravest() {
        for kind in CallKind::ALL {
            assert_eq!(PendingCall::new(1, 2, kind, None).kind(), kind);
        }
        assert_eq!(
            PendingCall { kind: 99, ..PendingCall::new(1, 2, CallKind::Purge, None) }.kind(),
            CallKind::Create
        );
    }
}
