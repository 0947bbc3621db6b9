//! Names of columns and where they stand in a row.

use std::collections::HashMap;

/// Result files have columns of this prefix after the export's own. The
/// reader ignores them, so that a repaired `failed.csv` is an export again.
pub(super) const SYNC_PREFIX: &str = "_sync_";

/// A column that the export does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownColumn {
    /// Its name, and the similar one of another column.
    #[error("the export has no column {0:?}; did you mean {1:?}?")]
    Near(String, String),
    /// Its name, and those of all columns.
    #[error("the export has no column {0:?}; its columns are {1}")]
    Other(String, String),
    /// The name of a result file's own column.
    #[error("{0:?} cannot be mapped: names that begin with {SYNC_PREFIX} belong to result files")]
    Reserved(String),
}

/// The columns of an export: those of its header, or without one those that
/// the mapping asks for.
#[derive(Debug, Clone)]
pub struct Columns {
    names: Vec<String>,
    index: HashMap<String, usize>,
    has_header: bool,
}

impl Columns {
    /// The columns of a header, in its order, or what is wrong with them.
    pub(super) fn from_header(names: Vec<String>) -> Result<Self, String> {
        let mut index = HashMap::with_capacity(names.len());
        let named = named_width(&names);
        for (at, name) in names.iter().enumerate().filter(|(_, name)| !name.starts_with(SYNC_PREFIX)) {
            if name.is_empty() {
                // Some programs write a delimiter after the last cell, too.
                if named > 0 && at >= named {
                    continue;
                }
                return Err(format!(
                    "column {} of the header has no name; name or delete the column",
                    at + 1
                ));
            }
            if let Some(first) = index.insert(name.clone(), at) {
                return Err(format!(
                    "columns {} and {} of the header are both called {name:?}; rename one of them",
                    first + 1,
                    at + 1
                ));
            }
        }
        Ok(Self { names, index, has_header: true })
    }

    /// No columns yet: see [`Columns::require`].
    pub(crate) fn without_header() -> Self {
        Self { names: Vec::new(), index: HashMap::new(), has_header: false }
    }

    /// Where the column `name` stands. Without a header any name is granted:
    /// whether a row has it shows only when the row is read.
    ///
    /// # Errors
    ///
    /// If the header does not have it.
    pub fn require(&mut self, name: &str) -> Result<usize, UnknownColumn> {
        if let Some(&at) = self.index.get(name) {
            return Ok(at);
        }
        if name.starts_with(SYNC_PREFIX) {
            return Err(UnknownColumn::Reserved(name.to_owned()));
        }
        if self.has_header {
            return Err(self.unknown(name));
        }
        let at = self.names.len();
        self.names.push(name.to_owned());
        self.index.insert(name.to_owned(), at);
        Ok(at)
    }

    fn unknown(&self, name: &str) -> UnknownColumn {
        if let Some(near) = self.nearest(name) {
            return UnknownColumn::Near(name.to_owned(), near.to_owned());
        }
        let columns: Vec<&str> = self.own().map(|(_, name)| name).filter(|name| !name.is_empty()).collect();
        UnknownColumn::Other(name.to_owned(), columns.join(", "))
    }

    pub(crate) fn has_header(&self) -> bool {
        self.has_header
    }

    /// Where the column `name` stands.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// The names in the order of the cells.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The export's own columns, without those of a result file.
    pub(crate) fn own(&self) -> impl Iterator<Item = (usize, &str)> {
        let names = self.names.iter().map(String::as_str).enumerate();
        names.filter(|(_, name)| !name.starts_with(SYNC_PREFIX))
    }

    /// Whether there are columns of a result file.
    #[must_use]
    pub fn has_results(&self) -> bool {
        self.names.iter().any(|name| name.starts_with(SYNC_PREFIX))
    }

    /// The name most like `name`.
    fn nearest(&self, name: &str) -> Option<&str> {
        let name = name.to_lowercase();
        self.own()
            .map(|(_, own)| (strsim::damerau_levenshtein(&name, &own.to_lowercase()), own))
            .filter(|(distance, own)| *distance <= own.chars().count().div_ceil(3).max(2))
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, own)| own)
    }
}

/// How many columns there are up to the last own one with a name.
pub(super) fn named_width(names: &[String]) -> usize {
    let is_named = |name: &String| !name.is_empty() && !name.starts_with(SYNC_PREFIX);
    names.iter().rposition(is_named).map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_header(names: &[&str]) -> Result<Columns, String> {
        Columns::from_header(names.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_header_with_an_empty_or_double_name_is_refused_with_its_place() {
        let empty = from_header(&["a", "", "b"]).expect_err("empty");
        assert!(empty.contains("column 2"), "{empty}");
        assert!(from_header(&["", "_sync_line"]).is_err());
        let trailing = from_header(&["a", "", "_sync_line"]).expect("a delimiter after the last cell");
        assert_eq!((trailing.find("a"), trailing.find("")), (Some(0), None));
        let double = from_header(&["a", "b", "a"]).expect_err("double");
        assert!(double.contains("columns 1 and 3"), "{double}");
    }

    #[test]
    fn columns_of_an_earlier_result_file_exist_but_cannot_be_mapped() {
        let mut columns = from_header(&["id", "_sync_line", "_sync_code"]).expect("a header");
        for columns in [&mut columns, &mut Columns::without_header()] {
            assert!(matches!(columns.require("_sync_line"), Err(UnknownColumn::Reserved(_))));
        }
        assert_eq!(columns.own().count(), 1);
        assert!(columns.has_results());
    }

    #[test]
    fn a_misspelt_name_finds_its_neighbour() {
        let columns = from_header(&["First Name", "E-mail"]).expect("a header");
        assert_eq!(columns.nearest("first name"), Some("First Name"));
        assert_eq!(columns.nearest("Email"), Some("E-mail"));
        assert_eq!(columns.nearest("telephone"), None);
    }
}
