//! How full the mapped columns are: what tells an export with an empty column
//! from an honest one.

use std::collections::BTreeMap;

use super::compile::{CompiledOrigin, ValueSource};
use super::row::Mapping;
use crate::source::Row;

/// Rows with a value, by mapped column.
///
/// Columns that decide what a row asks for, and not what a customer holds,
/// are not among them: a night without a single purge is an honest one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fill {
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
    /// Begins to count.
    #[must_use]
    pub fn fill(&self) -> Fill {
        let mut columns = BTreeMap::new();
        self.getters().for_each(|getter| columns.extend(self.columns_of(getter)));
        let columns = columns.into_iter().map(|(at, name)| ColumnFill { at, name, rows: 0 }).collect();
        Fill { rows: 0, columns }
    }

    fn columns_of(&self, getter: &ValueSource) -> Vec<(usize, String)> {
        match &getter.origin {
            CompiledOrigin::Columns(columns) => columns.clone(),
            CompiledOrigin::Template(template) => self.expressions.columns_of(template),
            CompiledOrigin::Constant(_) => Vec::new(),
        }
    }

    /// Whether the cell gives its customer a value: it is not blank, and no
    /// `clear` marker.
    fn has_value(&self, row: &Row, column: usize) -> bool {
        let bytes = row.bytes(column);
        match bytes.first() {
            None => false,
            Some(first) if first.is_ascii_graphic() && self.blanks.are_plain() => true,
            Some(_) => row.text(column).is_ok_and(|text| self.blanks.is_value(text.trim())),
        }
    }
}

impl Fill {
    /// Takes in a row that describes somebody: one that was read, and is
    /// neither skipped nor purges.
    pub fn count(&mut self, mapping: &Mapping, row: &Row) {
        self.rows += 1;
        for column in &mut self.columns {
            column.rows += u64::from(mapping.has_value(row, column.at));
        }
    }

    /// Adds what another counted with the same mapping.
    pub fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        for (own, other) in self.columns.iter_mut().zip(&other.columns) {
            own.rows += other.rows;
        }
    }

    /// Rows counted.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The mapped columns by name, with their rows.
    pub fn columns(&self) -> impl Iterator<Item = (&str, u64)> {
        self.columns.iter().map(|column| (column.name.as_str(), column.rows))
    }

    #[cfg(test)]
    pub(crate) fn for_tests(rows: u64, columns: &[(&str, u64)]) -> Self {
        let columns =
            columns.iter().map(|(name, rows)| ColumnFill { at: 0, name: (*name).to_owned(), rows: *rows });
        Self { rows, columns: columns.collect() }
    }
}
