//! Why a row is refused here, with nothing sent.

use std::borrow::Cow;

use crate::units::shorten;

/// What is read of a row, or why the row is refused.
pub type RowResult<T> = Result<T, Box<Rejection>>;

/// A template's problem may quote a cell, and so may a malformed row.
const MESSAGE_CHARS_MAX: usize = 400;

/// More than the values of people. A cell can have megabytes.
const VALUE_CHARS_MAX: usize = 200;

/// A refused row, with all that a person needs to fix it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub code: RejectionCode,
    /// The column of the value, or its key in the configuration.
    pub column: Option<String>,
    /// The value as the export has it, or its start.
    pub value: Option<String>,
    pub message: String,
    /// The change to make, in the export or the configuration.
    pub hint: Cow<'static, str>,
}

impl Rejection {
    pub(crate) fn new(
        code: RejectionCode,
        message: impl Into<String>,
        hint: impl Into<Cow<'static, str>>,
    ) -> Box<Self> {
        let message = shorten(&message.into(), MESSAGE_CHARS_MAX).into_owned();
        Box::new(Self { code, column: None, value: None, message, hint: hint.into() })
    }

    pub(super) fn at(mut self: Box<Self>, column: &str, value: &str) -> Box<Self> {
        let value = shorten(value, VALUE_CHARS_MAX).into_owned();
        (self.column, self.value) = (Some(column.to_owned()), Some(value));
        self
    }
}

/// The cause of a rejection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RejectionCode {
    /// The row cannot be split into cells.
    MalformedRow,
    /// A mapped cell is not text in the export's encoding.
    BadEncoding,
    /// No primary id, or one that cannot be an id.
    BlankId,
    /// An id of which a spreadsheet or a program has made a number.
    DamagedId,
    /// An id that stands for nobody, such as `-` or `NULL`.
    PlaceholderId,
    /// A row of a result file, whose id has changed since it was written.
    ChangedId,
    /// A row takes back what a run has created, and no such run is known.
    UnknownRun,
    /// Not an e-mail address.
    BadEmail,
    /// Not a telephone number.
    BadPhone,
    /// Not a Twitter or Facebook account.
    BadHandle,
    /// A name outside the pattern, with `names = "reject"`.
    BadName,
    /// A brand or ticket that is not a number, or neither yes nor no.
    BadNumber,
    /// A value that is not in the field's `map`, which has no default.
    UnknownValue,
    /// A word that is neither an operation nor in `[operation] values`.
    UnknownOperation,
    /// `add-channel` without an address.
    NoAddress,
    /// A template or condition failed on this row.
    BadTemplate,
    /// The customer was purged before; see `--allow-recreate`.
    PurgedBefore,
}

impl RejectionCode {
    /// As in result files.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::MalformedRow => "malformed_row",
            Self::BadEncoding => "bad_encoding",
            Self::BlankId => "blank_id",
            Self::DamagedId => "damaged_id",
            Self::PlaceholderId => "placeholder_id",
            Self::ChangedId => "changed_id",
            Self::UnknownRun => "unknown_run",
            Self::BadEmail => "bad_email",
            Self::BadPhone => "bad_phone",
            Self::BadHandle => "bad_handle",
            Self::BadName => "bad_name",
            Self::BadNumber => "bad_number",
            Self::UnknownValue => "unknown_value",
            Self::UnknownOperation => "unknown_operation",
            Self::NoAddress => "no_address",
            Self::BadTemplate => "bad_template",
            Self::PurgedBefore => "purged_before",
        }
    }
}
