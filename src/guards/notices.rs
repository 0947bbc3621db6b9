//! What a person should know of rows that go their way.

use super::baseline::NoticeLine;
use crate::mapping::{Channel, FieldName};
use crate::source::RowRef;

/// Rows kept for the result file; all of them are counted.
const ROWS_KEPT: usize = 50_000;

/// Rows named in a sentence.
const EXAMPLES: usize = 3;

/// The kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoticeKind {
    /// An address that several customers of one brand have.
    SharedAddress,
    /// A row that says otherwise than an earlier row of the same customer.
    ConflictingRow,
    /// An address that Omnidesk was given, and that the export no longer has.
    VanishedAddress,
}

/// A row with something to know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The row.
    pub at: RowRef,
    /// What it is.
    pub kind: NoticeKind,
    /// Which field or kind of address, if that is known.
    pub field: Option<String>,
    /// The other row it is about.
    pub other: Option<u64>,
}

/// Notices of one kind.
#[derive(Debug, Clone, Default)]
struct NoticeGroup {
    count: u64,
    before: u64,
    rows: Vec<Notice>,
}

/// All notices of a first pass.
#[derive(Debug, Clone, Default)]
pub struct Notices([NoticeGroup; 3]);

impl NoticeKind {
    /// All of them, in the order of summaries.
    pub const ALL: [Self; 3] = [Self::SharedAddress, Self::ConflictingRow, Self::VanishedAddress];

    /// The word in summaries and result files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::SharedAddress => "shared_address",
            Self::ConflictingRow => "conflicting_row",
            Self::VanishedAddress => "vanished_address",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::SharedAddress => {
                "find out whose it is and mend the export; shared_addresses in [guard] can block such an export, or ignore them"
            }
            Self::ConflictingRow => "leave one row a customer, or let the later row ask for an update",
            Self::VanishedAddress => {
                "the API has no call to remove an address: if it must go, take it away in Omnidesk"
            }
        }
    }
}

impl Notice {
    /// What is to be known, as a sentence about the row.
    #[must_use]
    pub fn message(&self) -> String {
        let other = self.other.map(|row| format!("row {row}")).unwrap_or_default();
        let field = self.field.as_deref().unwrap_or("address");
        match self.kind {
            NoticeKind::SharedAddress => format!("{other}, another customer, has the same {field}"),
            NoticeKind::ConflictingRow => {
                format!("{other} of the same customer says otherwise in {field}; the last row wins")
            }
            NoticeKind::VanishedAddress => {
                "the customer has an address in Omnidesk that the export no longer has".to_owned()
            }
        }
    }

    fn place(&self) -> String {
        let Self { at, kind, field, other } = self;
        let field = field.as_ref().map(|field| format!(" ({field})")).unwrap_or_default();
        match (kind, other) {
            (NoticeKind::SharedAddress, Some(other)) => format!("rows {other} and {}{field}", at.number),
            (NoticeKind::ConflictingRow, Some(other)) => {
                format!("row {} on line {} against row {other}{field}", at.number, at.line)
            }
            _ => format!("row {} on line {}{field}", at.number, at.line),
        }
    }
}

impl Notices {
    pub(crate) fn add(&mut self, notice: Notice) {
        let kind = &mut self.0[notice.kind as usize];
        if kind.rows.len() < ROWS_KEPT {
            kind.rows.push(notice);
        }
    }

    /// Says how many there are of a kind, and how many that were told before.
    pub(crate) fn count(&mut self, kind: NoticeKind, count: u64, before: u64) {
        let own = &mut self.0[kind as usize];
        (own.count, own.before) = (count, before);
    }

    /// How many there are of a kind that were not told before.
    #[must_use]
    pub fn of(&self, kind: NoticeKind) -> u64 {
        self.0[kind as usize].count
    }

    /// The rows kept, by kind and in the export's order.
    pub fn rows(&self) -> impl Iterator<Item = &Notice> {
        self.0.iter().flat_map(|kind| &kind.rows)
    }

    pub(crate) fn sort(&mut self) {
        for kind in &mut self.0 {
            kind.rows.sort_by_key(|notice| (notice.at.number, notice.other));
        }
    }

    /// The first rows of a kind, in words.
    #[must_use]
    pub fn examples(&self, kind: NoticeKind) -> String {
        let rows = &self.0[kind as usize].rows;
        // Of two rows that share an address, the later one names both.
        let later = |notice: &&Notice| {
            kind != NoticeKind::SharedAddress || notice.other.is_none_or(|other| other < notice.at.number)
        };
        let places: Vec<String> = rows.iter().filter(later).take(EXAMPLES).map(Notice::place).collect();
        places.join(", ")
    }

    /// Each kind that there is, in a sentence.
    #[must_use]
    pub fn lines(&self) -> Vec<NoticeLine> {
        NoticeKind::ALL.into_iter().filter_map(|kind| self.line(kind)).collect()
    }

    fn line(&self, kind: NoticeKind) -> Option<NoticeLine> {
        let NoticeGroup { count, before, .. } = self.0[kind as usize];
        if count + before == 0 {
            return None;
        }
        let such = match self.examples(kind) {
            none if none.is_empty() => String::new(),
            some => format!(", such as {some}"),
        };
        let words = |one: &'static str, many: &'static str| if count == 1 { one } else { many };
        let message = match kind {
            _ if count == 0 => String::new(),
            NoticeKind::SharedAddress => {
                format!(
                    "{count} {} of several customers{such}",
                    words("address is that", "addresses are those")
                )
            }
            NoticeKind::ConflictingRow => format!(
                "{count} {} otherwise than an earlier row of the same customer{such}; the last row wins",
                words("row says", "rows say")
            ),
            NoticeKind::VanishedAddress => format!(
                "{count} {} in Omnidesk, since the API has no call to remove one{such}",
                words(
                    "address has vanished from the export and stays",
                    "addresses have vanished from the export and stay"
                )
            ),
        };
        Some(NoticeLine { code: kind.word().to_owned(), count, before, message })
    }
}

pub(crate) fn channel_word(channel: Channel) -> Option<String> {
    Some(channel.as_str().to_owned())
}

pub(crate) fn field_word(name: &FieldName) -> Option<String> {
    Some(match name {
        FieldName::First => "firstname".to_owned(),
        FieldName::Last => "lastname".to_owned(),
        FieldName::Custom(name) => name.to_string(),
    })
}
