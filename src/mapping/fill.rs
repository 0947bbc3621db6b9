//! The share of rows with a value in each mapped column, which shows an export
//! with an empty column.

use std::collections::BTreeSet;

use super::blanks::CellMeaning;
use super::intent::FieldName;
use super::mapping::{Mapping, ValueOrigin};
use super::null_words::is_null_word;
use crate::source::Row;

/// Rows with a value, by mapped column.
///
/// Columns that decide only the operation do not count: a night without a single
/// purge is nothing unusual.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fill {
    rows: u64,
    columns: Vec<ColumnFill>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ColumnFill {
    at: usize,
    name: String,
    null_words: NullWords,
    rows: u64,
}

/// What becomes of a word for no value, such as `NULL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NullWords {
    /// A custom field gets it.
    Sent,
    /// It is no value of a name, an address or an id.
    Dropped,
}

impl Mapping {
    /// The count before the first row.
    pub(crate) fn fill(&self) -> Fill {
        let is_custom = |name: &FieldName| matches!(name, FieldName::Custom(_));
        let custom = self.fields.iter().filter(|(name, _)| is_custom(name));
        let custom = self.read_columns_of(custom.flat_map(|(_, source)| &source.origins));
        let column = |at: usize| {
            let null_words = if custom.contains(&at) { NullWords::Sent } else { NullWords::Dropped };
            ColumnFill { at, name: self.columns.names()[at].clone(), null_words, rows: 0 }
        };
        Fill { rows: 0, columns: self.read_columns_of(self.origins()).into_iter().map(column).collect() }
    }

    fn read_columns_of<'a>(&self, origins: impl Iterator<Item = &'a ValueOrigin>) -> BTreeSet<usize> {
        let mut columns = BTreeSet::new();
        for origin in origins {
            match origin {
                ValueOrigin::Column(column) => columns.extend([*column]),
                ValueOrigin::Template(template) => columns.extend(template.read_columns(&self.columns)),
                ValueOrigin::Constant(_) | ValueOrigin::Default(_) => {}
            }
        }
        columns
    }

    /// Whether the cell gives its customer a value.
    fn has_value(&self, row: &Row, column: &ColumnFill) -> bool {
        let is_dropped = |text: &str| column.null_words == NullWords::Dropped && is_null_word(text);
        let text = self.apostrophes.read(row, column.at);
        text.is_ok_and(|text| self.blanks.meaning(&text) == CellMeaning::Value && !is_dropped(&text))
    }
}

impl Fill {
    /// Counts a row that describes a customer: one that is well-formed, and neither
    /// skipped nor a purge.
    pub(crate) fn count(&mut self, mapping: &Mapping, row: &Row) {
        self.rows += 1;
        // Most cells: no word for no value begins like this.
        let is_value = |first: &u8| first.is_ascii_alphanumeric() && !matches!(first, b'N' | b'n' | b'u');
        let knows_values = mapping.blanks.are_default();
        for column in &mut self.columns {
            let has_value = match row.bytes(column.at).first() {
                None => false,
                Some(first) if knows_values && is_value(first) => true,
                Some(_) => mapping.has_value(row, column),
            };
            column.rows += u64::from(has_value);
        }
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// The mapped columns by name, with their rows.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (&str, u64)> {
        self.columns.iter().map(|column| (column.name.as_str(), column.rows))
    }
}

#[cfg(test)]
impl Fill {
    pub(crate) fn for_tests(rows: u64, columns: &[(&str, u64)]) -> Self {
        let columns = columns.iter().map(|(name, rows)| ColumnFill {
            at: 0,
            name: (*name).to_owned(),
            null_words: NullWords::Dropped,
            rows: *rows,
        });
        Self { rows, columns: columns.collect() }
    }
}
