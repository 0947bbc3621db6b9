//! What the checkpoint knows of a customer, of a call on its way, and of a row
//! that is not done: hashes only.

use std::collections::BTreeSet;

use super::hashed_intent::{FieldHash, HashedIntent};
use super::hashes::{AddressHash, FieldTag, RowFingerprint, ValueHash};
use super::history::{History, Occasion, Origin, PurgeRecord};
use super::outcome::Outcome;
use crate::mapping::{ExportRow, Operation, PurgeReason};
use crate::omnidesk::{Action, Call, CallKind};

/// What the checkpoint knows of a customer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CustomerState {
    /// Nothing.
    #[default]
    Unknown,
    /// The customer exists, and the API has acknowledged this.
    Acknowledged(Acked),
    /// This row has perhaps purged the customer's data: nothing proves that its
    /// call was not carried out.
    PerhapsPurged(PurgeRecord),
    /// This row has purged the customer's data: a tombstone.
    Purged(PurgeRecord),
    /// The customer exists by other means, and nothing is acknowledged: a create was
    /// refused, or a list of Omnidesk's holds the customer. `on_exists` decides.
    Existing,
    /// The API does not know the customer, whom no row has made yet: an update was
    /// refused. `on_missing` decides about the next one.
    Absent,
    /// The API does not know the customer any more. `on_missing` decides.
    Vanished,
}

impl CustomerState {
    /// The same of a customer whom no call of this program has created.
    pub(crate) fn into_found(mut self) -> Self {
        if let Self::Acknowledged(Acked { history: Some(history), .. }) = &mut self {
            history.origin = Origin::Found;
        }
        self
    }

    pub(crate) fn acked(&self) -> Option<&Acked> {
        match self {
            Self::Acknowledged(acked) => Some(acked),
            _ => None,
        }
    }

    pub(crate) fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }

    pub(crate) fn may_exist(&self) -> bool {
        matches!(self, Self::Acknowledged(_) | Self::PerhapsPurged(_) | Self::Existing)
    }

    /// Whether the customer exists, as far as is known.
    pub(crate) fn exists(&self) -> bool {
        matches!(self, Self::Acknowledged(_) | Self::Existing)
    }

    /// Whether the customer is missing if a full export has no row of it. Others are
    /// not this program's to purge.
    pub(crate) fn may_be_missing(&self) -> bool {
        matches!(self, Self::Acknowledged(_) | Self::PerhapsPurged(_))
    }

    /// Whether a list that holds the customer adds to what is known.
    pub(crate) fn may_be_found(&self) -> bool {
        matches!(self, Self::Unknown | Self::Absent | Self::Vanished)
    }

    pub(crate) fn is_purged(&self) -> bool {
        matches!(self, Self::Purged(_))
    }

    /// Whether this run has created the customer, or undoing it has perhaps purged
    /// the customer.
    pub(crate) fn is_created_by(&self, run: u32) -> bool {
        match self {
            Self::Acknowledged(Acked { history: Some(history), .. }) => {
                history.origin == Origin::Created && history.first.run == run
            }
            Self::PerhapsPurged(purge) => purge.reason == PurgeReason::Undo { run },
            _ => false,
        }
    }

    /// What is left to build on when the API acknowledges a call: of a customer who
    /// was purged, only by which row.
    pub(super) fn into_acked(self) -> Acked {
        match self {
            Self::Acknowledged(acked) => acked,
            Self::PerhapsPurged(purge) | Self::Purged(purge) => {
                Acked { purge: Some(purge.by), ..Acked::default() }
            }
            Self::Unknown | Self::Existing | Self::Absent | Self::Vanished => Acked::default(),
        }
    }
}

/// What the API has acknowledged of a customer who exists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acked {
    /// Of a row that asks for just this.
    pub fingerprint: RowFingerprint,
    /// A set: rows with the wrong id are hundreds of thousands of one customer.
    pub addresses: BTreeSet<AddressHash>,
    /// The last row of the last export that was acknowledged.
    pub by: ExportRow,
    pub fields: Vec<AckedField>,
    /// The row that has, or has perhaps, purged the customer before. Rows before it
    /// are dead: what they ask for was purged.
    pub purge: Option<ExportRow>,
    /// `None` of a customer of whom only the existence is known.
    pub history: Option<History>,
}

/// An acknowledged field of a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AckedField {
    pub(crate) tag: FieldTag,
    pub(crate) value: ValueHash,
    /// How many rows before `Acked::by` it was acknowledged: nearly always 0.
    pub(crate) rows_before: u64,
}

impl Acked {
    /// Whether `other` holds the same fields and addresses.
    pub(crate) fn holds_same(&self, other: &Self) -> bool {
        self.addresses == other.addresses
            && self.fields.len() == other.fields.len()
            && self
                .fields
                .iter()
                .all(|own| other.field(own.tag).is_some_and(|field| field.value == own.value))
    }

    /// Whether a row asks for just this and nothing has vanished from it. As
    /// long as that holds, a row with the same cells needs no mapping. It does
    /// not hold for a row with warnings: those are counted every time.
    pub fn is_all_of(&self, intent: &HashedIntent) -> bool {
        intent.operation == Operation::Sync
            && intent.warnings.is_empty()
            && self.addresses.len() == intent.addresses.len()
            && intent.address_hashes().iter().all(|address| self.has_address(*address))
            && intent.hashed_fields().all(|(_, field)| self.has(field))
    }

    /// Whether the field has this value.
    pub(crate) fn has(&self, field: FieldHash) -> bool {
        self.field(field.tag).is_some_and(|own| own.value == field.value)
    }

    /// Whether a row behind `by`, or a later export, has decided the field. A row
    /// that is tried again must not undo it.
    pub(crate) fn has_later(&self, tag: FieldTag, by: ExportRow) -> bool {
        self.field(tag).is_some_and(|field| {
            let row = self.by.row.saturating_sub(field.rows_before);
            self.by.export > by.export || self.by.export == by.export && row > by.row
        })
    }

    pub(crate) fn has_address(&self, address: AddressHash) -> bool {
        self.addresses.contains(&address)
    }

    pub(super) fn set(&mut self, FieldHash { tag, value }: FieldHash, by: ExportRow) {
        self.fingerprint = RowFingerprint::NONE;
        let acked = AckedField { tag, value, rows_before: self.rows_before(by) };
        match self.fields.iter_mut().find(|field| field.tag == tag) {
            Some(field) => *field = acked,
            None => self.fields.push(acked),
        }
    }

    /// The row `by` asks for these fields. It decides those that hold its value
    /// already, so that an earlier row which is tried again does not undo it.
    pub(super) fn decide(&mut self, intent: &HashedIntent, by: ExportRow) {
        let rows_before = self.rows_before(by);
        for (_, FieldHash { tag, value }) in intent.hashed_fields() {
            // Nearly always the row has decided the field already.
            let is_earlier = |field: &&mut AckedField| field.tag == tag && field.rows_before > rows_before;
            if let Some(field) = self.fields.iter_mut().find(is_earlier)
                && field.value == value
            {
                field.rows_before = rows_before;
                self.fingerprint = RowFingerprint::NONE;
            }
        }
    }

    /// How many rows before `Acked::by` this one is, or all of this export.
    fn rows_before(&self, by: ExportRow) -> u64 {
        let row = if by.export == self.by.export { by.row } else { 0 };
        self.by.row.saturating_sub(row)
    }

    pub(super) fn forget(&mut self, tag: FieldTag) {
        self.fingerprint = RowFingerprint::NONE;
        self.fields.retain(|field| field.tag != tag);
    }

    pub(super) fn add_address(&mut self, address: AddressHash) {
        if self.addresses.insert(address) {
            self.fingerprint = RowFingerprint::NONE;
        }
    }

    /// A call of the row `by` is acknowledged. An earlier row that is tried
    /// again moves nothing.
    pub(super) fn advance(&mut self, by: ExportRow) {
        if by.export > self.by.export {
            self.by = by;
            // Fields of earlier exports are never later than any row of this.
            self.fields.iter_mut().for_each(|field| field.rows_before = by.row);
        } else if by.is_after(self.by) {
            let moved = by.row - self.by.row;
            self.by = by;
            self.fields.iter_mut().for_each(|field| field.rows_before += moved);
        }
    }

    /// A call is acknowledged. `origin` counts if it is the customer's first.
    pub(super) fn note(&mut self, occasion: Occasion, origin: Origin) {
        let first = History { origin, first: occasion, last: occasion };
        self.history.get_or_insert(first).last = occasion;
    }

    fn field(&self, tag: FieldTag) -> Option<&AckedField> {
        self.fields.iter().find(|field| field.tag == tag)
    }
}

/// A call that was recorded before it was sent and has no outcome yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingCall {
    pub by: ExportRow,
    pub kind: CallKind,
}

/// The gravest effect that a row had so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    #[default]
    None,
    Updated,
    /// A probe has found the customer whom its lost create made. Nothing that the
    /// create carried is certain.
    Found,
    Created,
    Purged,
}

/// What is done of a row that asks for several calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowProgress {
    pub effect: Effect,
    /// The addresses that were acknowledged.
    pub addresses: Vec<AddressHash>,
}

impl RowProgress {
    /// Takes in an acknowledged call.
    pub(super) fn advance(&mut self, call: &Call, intent: &HashedIntent) {
        let effect = match call.action {
            Action::Create { .. } => Effect::Created,
            Action::Update { .. } if self.effect == Effect::Found => Effect::Created,
            Action::Update { .. } => Effect::Updated,
            Action::AddChannel { .. } => Effect::None,
            Action::Purge => Effect::Purged,
        };
        self.effect = self.effect.max(effect);
        self.addresses.extend(call.address().and_then(|address| intent.address_hash(address)));
    }

    /// What the row has come to if nothing more is to be done.
    pub(super) fn outcome(&self) -> Outcome {
        match self.effect {
            Effect::Found | Effect::Created => Outcome::Created,
            Effect::Updated => Outcome::Updated,
            Effect::Purged => Outcome::Purged,
            Effect::None if self.addresses.is_empty() => Outcome::Unchanged,
            Effect::None => Outcome::ChannelAdded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{FieldName, FieldValue, Intent};
    use crate::reconcile::HashKey;
    use FieldName::{First, Last};

    const KEY: [u8; 32] = [7; 32];

    fn text(text: &str) -> FieldValue {
        FieldValue::Text(text.to_owned())
    }

    fn at(export: u32, row: u64) -> ExportRow {
        ExportRow { export, row }
    }

    /// Rows 10 and 20 of export 1 have each set a name.
    fn set_by_10_and_20(key: &HashKey) -> Acked {
        let mut acked = Acked::default();
        acked.advance(at(1, 10));
        acked.set(FieldHash::new(key, &First, &text("a")), at(1, 10));
        acked.advance(at(1, 20));
        acked.set(FieldHash::new(key, &Last, &text("b")), at(1, 20));
        acked
    }

    #[test]
    fn a_field_is_later_than_the_rows_before_the_one_that_set_it() {
        let key = HashKey::new(KEY);
        let acked = set_by_10_and_20(&key);
        for row in 1..30 {
            assert_eq!(acked.has_later(key.field(&First), at(1, row)), row < 10, "first, {row}");
            assert_eq!(acked.has_later(key.field(&Last), at(1, row)), row < 20, "last, {row}");
            assert!(!acked.has_later(key.field(&First), at(2, row)), "a later export");
            assert!(acked.has_later(key.field(&First), at(0, row)), "an earlier export");
        }
    }

    #[test]
    fn an_earlier_row_that_is_tried_again_moves_no_later_field() {
        let key = HashKey::new(KEY);
        let mut acked = set_by_10_and_20(&key);
        acked.advance(at(1, 15));
        acked.set(FieldHash::new(&key, &First, &text("c")), at(1, 15));
        assert_eq!(acked.by, at(1, 20));
        assert!(
            acked.has(FieldHash::new(&key, &First, &text("c")))
                && acked.has(FieldHash::new(&key, &Last, &text("b")))
        );
        for row in 1..30 {
            assert_eq!(acked.has_later(key.field(&First), at(1, row)), row < 15, "first, {row}");
            assert_eq!(acked.has_later(key.field(&Last), at(1, row)), row < 20, "last, {row}");
        }
    }

    #[test]
    fn nothing_of_an_earlier_export_is_later() {
        let key = HashKey::new(KEY);
        let mut acked = set_by_10_and_20(&key);
        acked.advance(at(2, 50));
        assert_eq!(acked.by, at(2, 50));
        assert!((0..60).all(|row| !acked.has_later(key.field(&First), at(2, row))));
        assert!((0..60).all(|row| !acked.has_later(key.field(&Last), at(2, row))));
        assert!(acked.has(FieldHash::new(&key, &First, &text("a"))), "values are not forgotten");
    }

    #[test]
    fn a_row_decides_also_the_fields_that_it_does_not_change() {
        let key = HashKey::new(KEY);
        let mut acked = set_by_10_and_20(&key);
        let customer = crate::mapping::Customer {
            brand_id: 2,
            primary_id: crate::mapping::PrimaryId::new("C1").expect("an id"),
        };
        let intent = Intent {
            at: crate::mapping::Place::Missing(1),
            customer,
            operation: crate::mapping::Operation::Sync,
            fields: vec![(First, text("a")), (Last, text("other"))],
            create_fields: Vec::new(),
            addresses: Vec::new(),
            ticket_id: None,
            no_sync: false,
            warnings: Vec::new(),
            origin: None,
            reason: PurgeReason::Export,
        };
        acked.advance(at(1, 30));
        acked.decide(&HashedIntent::new(intent.clone(), &key), at(1, 30));
        assert!(acked.has_later(key.field(&First), at(1, 29)), "it has this value");
        assert!(!acked.has_later(key.field(&Last), at(1, 29)), "it asks for another");
        // An earlier row takes nothing back.
        acked.decide(&HashedIntent::new(intent.clone(), &key), at(1, 5));
        assert!(acked.has_later(key.field(&First), at(1, 29)));
    }

    #[test]
    fn a_value_stays_until_it_is_replaced_or_forgotten() {
        let key = HashKey::new(KEY);
        let mut acked = set_by_10_and_20(&key);
        assert!(
            !acked.has(FieldHash::new(&key, &First, &text("A")))
                && !acked.has(FieldHash::new(&key, &First, &FieldValue::Clear))
        );
        assert!(!acked.has(FieldHash::new(&key, &Last, &text("a"))), "another field");
        acked.set(FieldHash::new(&key, &First, &FieldValue::Clear), at(1, 20));
        assert!(
            acked.has(FieldHash::new(&key, &First, &FieldValue::Clear))
                && !acked.has(FieldHash::new(&key, &First, &text("a")))
        );
        acked.forget(key.field(&First));
        assert!(
            !acked.has(FieldHash::new(&key, &First, &FieldValue::Clear))
                && acked.has(FieldHash::new(&key, &Last, &text("b")))
        );
        let (one, two) = (AddressHash([1; 8]), AddressHash([2; 8]));
        acked.add_address(one);
        acked.add_address(one);
        assert!(acked.has_address(one) && !acked.has_address(two));
        assert_eq!(acked.addresses.len(), 1);
    }
}
