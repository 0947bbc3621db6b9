//! Names of columns and where they stand in a row.

use std::collections::HashMap;

/// Result files have columns of this prefix after the export's own. The
/// reader ignores them, so that a fixed `failed.csv` is an export again.
pub(super) const SYNC_PREFIX: &str = "_sync_";

/// The columns of an export: those of its header, or without a header those that
/// the mapping requires. By default there is no header and no column.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    names: Vec<String>,
    index: HashMap<String, usize>,
    has_header: bool,
}

impl Columns {
    /// The columns of a header, in its order, or the problem with them.
    pub(super) fn from_header(names: Vec<String>) -> Result<Self, String> {
        let mut index = HashMap::with_capacity(names.len());
        let named = named_width(&names);
        for (at, name) in names.iter().enumerate().filter(|(_, name)| !name.starts_with(SYNC_PREFIX)) {
            let column = at + 1;
            if name.is_empty() {
                // Some programs write a delimiter after the last cell, too.
                if named > 0 && at >= named {
                    continue;
                }
                return Err(format!("column {column} of the header has no name; name or delete the column"));
            }
            if let Some(first) = index.insert(name.clone(), at) {
                return Err(format!(
                    "columns {} and {column} of the header are both called {name:?}; rename one of them",
                    first + 1
                ));
            }
        }
        Ok(Self { names, index, has_header: true })
    }

    /// Where the column `name` stands, or why it cannot be mapped. Without a
    /// header every name is accepted: only the rows show whether it exists.
    pub fn require(&mut self, name: &str) -> Result<usize, String> {
        if let Some(at) = self.find(name) {
            return Ok(at);
        }
        if name.starts_with(SYNC_PREFIX) {
            return Err(format!(
                "{name:?} cannot be mapped: names that begin with {SYNC_PREFIX} belong to result files"
            ));
        }
        if self.has_header {
            return Err(self.unknown_column(name));
        }
        let at = self.names.len();
        self.names.push(name.to_owned());
        self.index.insert(name.to_owned(), at);
        Ok(at)
    }

    /// Where a column of a result file stands.
    pub(super) fn require_result(&mut self, name: &str) -> Option<usize> {
        if !self.has_header {
            self.names.push(name.to_owned());
            self.index.insert(name.to_owned(), self.names.len() - 1);
        }
        self.names.iter().position(|own| own == name)
    }

    fn unknown_column(&self, name: &str) -> String {
        if let Some(near) = self.nearest(name) {
            return format!("the export has no column {name:?}; did you mean {near:?}?");
        }
        let columns: Vec<&str> = self.own().map(|(_, own)| own).filter(|own| !own.is_empty()).collect();
        format!("the export has no column {name:?}; its columns are {}", columns.join(", "))
    }

    pub(crate) fn has_header(&self) -> bool {
        self.has_header
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// The names in the order of the cells.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The export's own columns, without those of a result file.
    pub(crate) fn own(&self) -> impl Iterator<Item = (usize, &str)> {
        let names = self.names.iter().map(String::as_str).enumerate();
        names.filter(|(_, name)| !name.starts_with(SYNC_PREFIX))
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

/// The number of columns up to the last own one with a name.
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
        for columns in [&mut columns, &mut Columns::default()] {
            assert!(columns.require("_sync_line").is_err_and(|problem| problem.contains("result files")));
        }
        assert_eq!((columns.own().count(), columns.names().len()), (1, 3));
    }

    #[test]
    fn a_misspelt_name_finds_its_neighbour() {
        let columns = from_header(&["First Name", "E-mail"]).expect("a header");
        assert_eq!(columns.nearest("first name"), Some("First Name"));
        assert_eq!(columns.nearest("Email"), Some("E-mail"));
        assert_eq!(columns.nearest("telephone"), None);
    }
}
