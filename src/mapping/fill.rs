//! The share of rows with a value in each mapped column, which shows an export
//! with an empty column.

use std::collections::BTreeSet;

use super::blanks::CellMeaning;
use super::mapping::{Mapping, ValueOrigin};
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
    rows: u64,
}

impl Mapping {
    /// The count before the first row.
    pub(crate) fn fill(&self) -> Fill {
        let mut mapped = BTreeSet::new();
        for origin in self.origins() {
            match origin {
                ValueOrigin::Column(column) => mapped.extend([*column]),
                ValueOrigin::Template(template) => mapped.extend(template.read_columns(&self.columns)),
                ValueOrigin::Constant(_) | ValueOrigin::Default(_) => {}
            }
        }
        let column = |at: usize| ColumnFill { at, name: self.columns.names()[at].clone(), rows: 0 };
        Fill { rows: 0, columns: mapped.into_iter().map(column).collect() }
    }

    /// Whether the cell gives its customer a value.
    fn has_value(&self, row: &Row, column: usize) -> bool {
        use CellMeaning::Value;
        match row.bytes(column).first() {
            None => false,
            Some(first) if first.is_ascii_alphanumeric() && self.blanks.are_default() => true,
            Some(_) => {
                self.apostrophes.read(row, column).is_ok_and(|text| self.blanks.meaning(&text) == Value)
            }
        }
    }
}

impl Fill {
    /// Counts a row that describes a customer: one that is well-formed, and neither
    /// skipped nor a purge.
    pub(crate) fn count(&mut self, mapping: &Mapping, row: &Row) {
        self.rows += 1;
        for column in &mut self.columns {
            column.rows += u64::from(mapping.has_value(row, column.at));
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
        let columns =
            columns.iter().map(|(name, rows)| ColumnFill { at: 0, name: (*name).to_owned(), rows: *rows });
        Self { rows, columns: columns.collect() }
    }
}
