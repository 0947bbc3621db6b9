//! What deserves attention in rows that are applied.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::mapping::FieldName;
use crate::source::RowRef;
use crate::units::pluralize;

/// Rows kept for the result file; all of them are counted.
const ROWS_KEPT: usize = 50_000;

/// Rows named in a sentence.
const EXAMPLES: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NoticeKind {
    /// An address that several customers of one brand have.
    SharedAddress,
    /// An address that a known customer has who is not in the export.
    HeldAddress,
    /// An address that Omnidesk has already, without saying for whom.
    ExistingAddress,
    /// A row that contradicts an earlier row of the same customer.
    ConflictingRow,
    /// A row of an earlier export, of which something is not sent: later rows or
    /// exports have decided it.
    Superseded,
    /// An address that Omnidesk holds and that the export no longer has.
    VanishedAddress,
}

/// A row that deserves attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) at: RowRef,
    pub(crate) kind: NoticeKind,
    /// Which field or kind of address, if that is known.
    pub(crate) field: Option<String>,
    /// The other row it is about.
    pub(crate) other: Option<u64>,
}

/// Notices of one kind in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NoticeLine {
    /// The kind.
    pub code: String,
    /// How many are new.
    pub count: u64,
    /// How many were reported before and still hold.
    pub before: u64,
    /// Empty if none is new.
    pub message: String,
}

#[derive(Debug, Clone, Default)]
struct NoticeGroup {
    count: u64,
    before: u64,
    rows: Vec<Notice>,
}

/// All notices of a first pass, by kind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notices(BTreeMap<NoticeKind, NoticeGroup>);

impl NoticeKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::SharedAddress => "shared_address",
            Self::HeldAddress => "held_address",
            Self::ExistingAddress => "existing_address",
            Self::ConflictingRow => "conflicting_row",
            Self::Superseded => "superseded",
            Self::VanishedAddress => "vanished_address",
        }
    }

    /// What to do about it.
    pub(crate) fn hint(self) -> &'static str {
        match self {
            Self::SharedAddress => {
                "find out whose address it is and fix the export; shared_addresses in [guard] can block such an export, or ignore them"
            }
            Self::HeldAddress => {
                "was the customer merged or renumbered? Purge the old one, or merge them in Omnidesk"
            }
            Self::ExistingAddress => {
                "look for the address in Omnidesk: if another customer has it, merge them there or fix the export"
            }
            Self::ConflictingRow => "keep one row a customer, or let the later row ask for an update",
            Self::Superseded => {
                "nothing is to be done, unless the row is right and what came after it is wrong: then put it into an export of its own"
            }
            Self::VanishedAddress => {
                "none of the four calls removes an address: if it must go, remove it in Omnidesk"
            }
        }
    }
}

impl Notice {
    pub(crate) fn message(&self) -> String {
        let other = self.other.map(|row| format!("row {row}")).unwrap_or_default();
        let field = self.field.as_deref().unwrap_or("address");
        match self.kind {
            NoticeKind::SharedAddress => format!("{other}, another customer, has the same {field}"),
            NoticeKind::HeldAddress => {
                format!("a known customer who is not in the export has the same {field}")
            }
            NoticeKind::ExistingAddress => {
                format!("Omnidesk has this {field} already, and does not say whose it is")
            }
            NoticeKind::ConflictingRow => {
                format!("{other} of the same customer has another {field}; the last row wins")
            }
            NoticeKind::Superseded => match &self.field {
                Some(field) => format!("a later row or export has set another {field}, which stays"),
                None => "the customer was purged after this row, so none of it is sent".to_owned(),
            },
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
            (NoticeKind::ConflictingRow, Some(other)) => format!("{at} against row {other}{field}"),
            _ => format!("{at}{field}"),
        }
    }
}

impl Notices {
    pub(super) fn add(&mut self, notice: Notice) {
        let group = self.0.entry(notice.kind).or_default();
        if group.rows.len() < ROWS_KEPT {
            group.rows.push(notice);
        }
    }

    /// Sets how many of a kind are new, and how many were reported before.
    pub(super) fn set_count(&mut self, kind: NoticeKind, count: u64, before: u64) {
        let group = self.0.entry(kind).or_default();
        (group.count, group.before) = (count, before);
    }

    /// How many of a kind are new.
    pub(super) fn count(&self, kind: NoticeKind) -> u64 {
        self.0.get(&kind).map_or(0, |group| group.count)
    }

    /// The rows kept, by kind and in the export's order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Notice> {
        self.0.values().flat_map(|group| &group.rows)
    }

    pub(super) fn sort(&mut self) {
        for group in self.0.values_mut() {
            group.rows.sort_by_key(|notice| (notice.at.number, notice.other));
        }
    }

    /// The first rows of a kind.
    pub(super) fn examples(&self, kind: NoticeKind) -> String {
        let rows = self.0.get(&kind).map(|group| group.rows.as_slice()).unwrap_or_default();
        // Of two rows that share an address, the later one names both.
        let is_later = |notice: &&Notice| {
            kind != NoticeKind::SharedAddress || notice.other.is_none_or(|other| other < notice.at.number)
        };
        let places: Vec<String> = rows.iter().filter(is_later).take(EXAMPLES).map(Notice::place).collect();
        places.join(", ")
    }

    /// A sentence for each kind that there is.
    pub(super) fn lines(&self) -> Vec<NoticeLine> {
        self.0.iter().filter_map(|(kind, group)| self.line(*kind, group)).collect()
    }

    fn line(&self, kind: NoticeKind, group: &NoticeGroup) -> Option<NoticeLine> {
        let NoticeGroup { count, before, .. } = *group;
        if count + before == 0 {
            return None;
        }
        let examples = match self.examples(kind) {
            none if none.is_empty() => String::new(),
            some => format!(", such as {some}"),
        };
        let message = match kind {
            _ if count == 0 => String::new(),
            NoticeKind::SharedAddress => {
                let addresses = pluralize(count, "address is", "addresses are");
                format!("{addresses} shared by several customers{examples}")
            }
            NoticeKind::HeldAddress => {
                let addresses = pluralize(count, "address belongs", "addresses belong");
                format!(
                    "{addresses} also to a known customer who is not in the export{examples}; merged or renumbered? Purge the old one, or merge them in Omnidesk"
                )
            }
            NoticeKind::ExistingAddress => {
                let addresses = pluralize(count, "address exists", "addresses exist");
                format!("{addresses} in Omnidesk already, which does not say for whom{examples}")
            }
            NoticeKind::ConflictingRow => {
                let rows = pluralize(count, "row contradicts", "rows contradict");
                format!("{rows} an earlier row of the same customer{examples}; the last row wins")
            }
            NoticeKind::Superseded => {
                let rows = pluralize(count, "row asks", "rows ask");
                format!("{rows} for what later rows or exports have decided, and it stays{examples}")
            }
            NoticeKind::VanishedAddress => {
                let addresses = pluralize(count, "address has vanished", "addresses have vanished");
                let stay = if count == 1 { "stays" } else { "stay" };
                format!(
                    "{addresses} from the export but {stay} in Omnidesk, since no call removes one{examples}"
                )
            }
        };
        Some(NoticeLine { code: kind.as_str().to_owned(), count, before, message })
    }
}

pub(super) fn field_name(name: &FieldName) -> String {
    match name {
        FieldName::First => "firstname".to_owned(),
        FieldName::Last => "lastname".to_owned(),
        FieldName::Custom(name) => name.to_string(),
    }
}
