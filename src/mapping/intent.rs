//! What a row asks for, checked and normalised.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::addresses::{Address, DraftAddress};
use super::invisible::is_invisible;
use super::operation::Operation;
use crate::source::{Row, RowRef};

/// The customer's id in the organisation's own system: trimmed, not blank,
/// without invisible characters, never a number.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PrimaryId(String);

/// Bytes in an id. The API's pages state no bound; a longer id means that the
/// wrong column is mapped.
const PRIMARY_ID_BYTES_MAX: usize = 255;

impl PrimaryId {
    /// Checks an id; the error is the reason.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let id = Self::clean(text.trim());
        Self::check(&id).map(|()| Self(id.into_owned()))
    }

    /// Takes invisible characters out of a trimmed id. An export can have them in
    /// one night and not in the next, and the same customer must have the same id.
    pub(super) fn clean(id: &str) -> Cow<'_, str> {
        if id.is_ascii() || !id.contains(is_invisible) {
            return id.into();
        }
        id.replace(is_invisible, "").trim().to_owned().into()
    }

    /// Checks a clean id.
    pub(super) fn check(id: &str) -> Result<(), &'static str> {
        match id {
            "" => Err("the id is blank"),
            id if id.len() > PRIMARY_ID_BYTES_MAX => Err("the id is longer than 255 bytes"),
            id if id.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(()),
            id if id.chars().any(char::is_control) => Err("the id has a control character"),
            _ => Ok(()),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PrimaryId {
    /// Masked: personal data.
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("PrimaryId(***)")
    }
}

/// Brand and id: the key of order, resume and change detection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Customer {
    pub brand_id: u64,
    pub primary_id: PrimaryId,
}

/// A row of an export. Exports have ordinals, which rise with time; a missing
/// customer stands behind all rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExportRow {
    pub export: u32,
    pub row: u64,
}

impl ExportRow {
    /// Whether this row stands behind `other`, or in a later export.
    pub(crate) fn is_after(self, other: Self) -> bool {
        (self.export, self.row) > (other.export, other.row)
    }
}

/// Why a row purges its customer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PurgeReason {
    /// The export asks for it.
    #[default]
    Export,
    /// A person asks for it, by `purge`.
    Request,
    /// It takes back what this run has created.
    Undo { run: u32 },
}

/// The name of a text field of a customer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum FieldName {
    First,
    Last,
    /// A custom field, by its name in Omnidesk, prefix included.
    Custom(Arc<str>),
}

/// The new value of a text field.
#[derive(Clone, PartialEq, Eq)]
pub enum FieldValue {
    /// This text, which is not blank.
    Text(String),
    /// No text: the cell had one of the `clear` texts.
    Clear,
}

impl FieldValue {
    /// As it is sent.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Clear => "",
        }
    }
}

impl fmt::Debug for FieldValue {
    /// Masked: personal data.
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(if *self == Self::Clear { "Clear" } else { "Text(***)" })
    }
}

/// Where a purge or a change comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Row(RowRef),
    /// The nth customer of the checkpoint who is not in the export, from 1.
    Missing(u64),
}

impl Place {
    /// Orders the places of one export: the missing customers come after all rows.
    pub(crate) fn position(self) -> u64 {
        match self {
            Self::Row(at) => at.number,
            Self::Missing(_) => u64::MAX,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Row(at) => write!(out, "row {}", at.number),
            Self::Missing(_) => out.write_str("the purge of a missing customer"),
        }
    }
}

/// What a row asks for.
#[derive(Debug, Clone)]
pub struct Intent {
    pub at: Place,
    pub customer: Customer,
    pub operation: Operation,
    /// Text fields that have a value, in the order of the mapping.
    pub fields: Vec<(FieldName, FieldValue)>,
    /// Text fields that go with a create alone.
    pub create_fields: Vec<(FieldName, FieldValue)>,
    /// Without repeats: e-mail, telephone, Facebook, Twitter.
    pub addresses: Vec<Address>,
    /// The ticket that a new customer is added to.
    pub ticket_id: Option<u64>,
    /// Whether other tickets stay as they are.
    pub no_sync: bool,
    pub warnings: Vec<Warning>,
    /// The row of an earlier run that a row of a result file stands for.
    pub origin: Option<ExportRow>,
    /// Of a purge.
    pub reason: PurgeReason,
}

/// A text field that has a value; `None` empties it.
pub(super) type DraftField<'a> = (&'a FieldName, Option<Cow<'a, str>>);

/// An [`Intent`] that borrows from its row: enough to decide about most rows,
/// with nothing copied.
pub struct Draft<'a> {
    pub(super) row: &'a Row,
    pub(crate) brand_id: u64,
    /// Checked.
    pub(crate) primary_id: Cow<'a, str>,
    pub(crate) operation: Operation,
    pub(super) fields: Vec<DraftField<'a>>,
    pub(super) create_fields: Vec<DraftField<'a>>,
    pub(crate) addresses: Vec<DraftAddress<'a>>,
    pub(super) ticket_id: Option<u64>,
    pub(super) no_sync: bool,
    pub(crate) warnings: Vec<Warning>,
    pub(super) reason: PurgeReason,
}

impl Draft<'_> {
    /// A purge for another reason than that the export asks for it.
    pub(crate) fn with_reason(self, reason: PurgeReason) -> Self {
        Self { reason, ..self }
    }

    /// The fields that every change of them sends, as they are sent.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&FieldName, &str)> {
        self.fields.iter().map(|(name, text)| (*name, text.as_deref().unwrap_or_default()))
    }

    pub(crate) fn into_intent(self) -> Intent {
        let owned = |(name, text): DraftField| {
            let value = text.map_or(FieldValue::Clear, |text| FieldValue::Text(text.into_owned()));
            (name.clone(), value)
        };
        Intent {
            at: Place::Row(self.row.at()),
            customer: Customer {
                brand_id: self.brand_id,
                primary_id: PrimaryId(self.primary_id.into_owned()),
            },
            operation: self.operation,
            fields: self.fields.into_iter().map(owned).collect(),
            create_fields: self.create_fields.into_iter().map(owned).collect(),
            addresses: self.addresses.into_iter().map(DraftAddress::into_owned).collect(),
            ticket_id: self.ticket_id,
            no_sync: self.no_sync,
            warnings: self.warnings,
            origin: None,
            reason: self.reason,
        }
    }
}

impl Intent {
    /// The purge of the nth missing customer.
    pub(crate) fn purge_missing(nth: u64, customer: Customer) -> Self {
        Self {
            at: Place::Missing(nth),
            customer,
            operation: Operation::Purge,
            fields: Vec::new(),
            create_fields: Vec::new(),
            addresses: Vec::new(),
            ticket_id: None,
            no_sync: false,
            warnings: Vec::new(),
            origin: None,
            reason: PurgeReason::Export,
        }
    }

    /// The fields that a create carries.
    pub(crate) fn all_fields(&self) -> impl Iterator<Item = &(FieldName, FieldValue)> {
        self.fields.iter().chain(&self.create_fields)
    }
}

/// A notice about a row that is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Warning {
    /// A name outside the pattern seen on the API's pages was sent as it is.
    OddName,
    /// A name was written in Latin letters.
    TransliteratedName,
    /// An unusable address was omitted: `invalid = "drop"`.
    DroppedAddress,
    /// Invisible characters were taken out of an id.
    CleanedId,
    /// A name or an address was a word for no value, and was left out.
    NullWord,
    /// A telephone number was sent without its extension.
    DroppedExtension,
}

impl Warning {
    /// As in summaries.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::OddName => "odd_name",
            Self::TransliteratedName => "transliterated_name",
            Self::DroppedAddress => "dropped_address",
            Self::CleanedId => "cleaned_id",
            Self::NullWord => "null_word",
            Self::DroppedExtension => "dropped_extension",
        }
    }

    /// For people, before a count.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::OddName => {
                "names sent as they are, outside the pattern on the API's pages (names = \"send\")"
            }
            Self::TransliteratedName => "names written in Latin letters (names = \"transliterate\")",
            Self::DroppedAddress => "unusable addresses left out (invalid = \"drop\")",
            Self::CleanedId => "ids with invisible characters, which were taken out",
            Self::NullWord => "names and addresses such as NULL or #N/A, read as blank (list them in blank)",
            Self::DroppedExtension => "telephone numbers sent without their extension",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_no_invisible_characters() {
        for text in [
            "A1",
            " A1 ",
            "\u{FEFF}A1",
            "A\u{200B}\u{200C}1\u{200D}",
            "A\u{AD}1",
            "\u{2060} A1",
            "\u{202E}A\u{FE0F}1",
        ] {
            assert_eq!(PrimaryId::new(text).expect("an id").as_str(), "A1", "{text:?}");
        }
        assert_eq!(PrimaryId::new("Zoë 李").expect("an id").as_str(), "Zoë 李");
        assert_eq!(PrimaryId::new("\u{FEFF}\u{200B}"), Err("the id is blank"));
    }
}
