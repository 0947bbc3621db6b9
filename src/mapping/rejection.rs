//! Why a row was refused here, with nothing sent.

use std::borrow::Cow;

/// A refused row: what a person needs to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The cause, for grouping.
    pub code: RejectionCode,
    /// The column that holds the trouble, where it is one column's.
    pub column: Option<String>,
    /// The value as it stands in the export.
    pub value: Option<String>,
    /// The reason, in words.
    pub message: String,
    /// What to change, in the export or the configuration.
    pub hint: Cow<'static, str>,
}

impl Rejection {
    pub(crate) fn new(
        code: RejectionCode,
        message: impl Into<String>,
        hint: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { code, column: None, value: None, message: message.into(), hint: hint.into() }
    }

    pub(super) fn at(mut self, column: &str, value: &str) -> Self {
        self.column = Some(column.to_owned());
        self.value = Some(value.to_owned());
        self
    }
}

/// The causes of rejections. The words are part of the result files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RejectionCode {
    /// The row cannot be split into cells.
    MalformedRow,
    /// A mapped cell is not text in the export's encoding.
    BadEncoding,
    /// No primary id, or one that cannot be an id.
    BlankId,
    /// An id that a spreadsheet has rounded.
    DamagedId,
    /// Not an e-mail address.
    BadEmail,
    /// No E.164 number.
    BadPhone,
    /// No Twitter or Facebook account.
    BadHandle,
    /// A name outside the pattern, with `names = "reject"`.
    BadName,
    /// A brand or ticket that is no number, a truth value that is none.
    BadNumber,
    /// A word for an operation that nobody explained.
    UnknownOperation,
    /// `add-channel` with nothing to add.
    NoAddress,
    /// A template or condition failed on this row.
    BadTemplate,
    /// The customer was purged before; see `--allow-recreate`.
    PurgedBefore,
}

impl RejectionCode {
    /// The word in result files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::MalformedRow => "malformed_row",
            Self::BadEncoding => "bad_encoding",
            Self::BlankId => "blank_id",
            Self::DamagedId => "damaged_id",
            Self::BadEmail => "bad_email",
            Self::BadPhone => "bad_phone",
            Self::BadHandle => "bad_handle",
            Self::BadName => "bad_name",
            Self::BadNumber => "bad_number",
            Self::UnknownOperation => "unknown_operation",
            Self::NoAddress => "no_address",
            Self::BadTemplate => "bad_template",
            Self::PurgedBefore => "purged_before",
        }
    }
}
