//! Names of columns and where they stand in a row.

use std::collections::HashMap;

/// Columns that a result file of this program carries behind the export's own.
/// The reader ignores them, so that a repaired `failed.csv` is an export again.
pub const SYNC_PREFIX: &str = "_sync_";

/// A column that is asked for, and that the export does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownColumn {
    /// It has one that is called nearly so.
    #[error("the export has no column {name:?}; did you mean {near:?}?")]
    Near {
        /// Which.
        name: String,
        /// The one it has.
        near: String,
    },
    /// It has others.
    #[error("the export has no column {name:?}; it has {all}")]
    Other {
        /// Which.
        name: String,
        /// Those it has.
        all: String,
    },
    /// The name is one of a result file's own columns.
    #[error(
        "{name:?} is no column of an export: names that begin with {SYNC_PREFIX} are those of result files"
    )]
    OfResults {
        /// Which.
        name: String,
    },
}

/// The columns of an export.
///
/// A CSV file has a header and so a fixed set. JSON lines have none: there the
/// set is what the mapping asks for, a name being a key or a dotted path.
#[derive(Debug, Clone)]
pub struct Columns {
    names: Vec<String>,
    index: HashMap<String, usize>,
    open: bool,
    /// How many cells a row has.
    width: usize,
    /// And how many if those are left out that stand behind the last name.
    named: usize,
    /// The places of columns without a name.
    unnamed: Vec<usize>,
}

impl Columns {
    /// The columns of a CSV header, in its order.
    ///
    /// # Errors
    ///
    /// A sentence that names the columns which are empty or there twice.
    pub fn of_header(names: Vec<String>) -> Result<Self, String> {
        let mut index = HashMap::with_capacity(names.len());
        // Some programs write a delimiter behind the last cell, too.
        let end = names.iter().rposition(|name| !name.is_empty() && !name.starts_with(SYNC_PREFIX));
        for (at, name) in names.iter().enumerate() {
            if name.is_empty() && end.is_some_and(|end| at > end) {
                continue;
            }
            if name.is_empty() {
                return Err(format!(
                    "column {} of the header has no name; give it one, or take the column out",
                    at + 1
                ));
            }
            if name.starts_with(SYNC_PREFIX) {
                continue;
            }
            if let Some(first) = index.insert(name.clone(), at) {
                return Err(format!(
                    "columns {} and {} of the header are both called {name:?}; rename one of them",
                    first + 1,
                    at + 1
                ));
            }
        }
        // With the columns of a result file behind them, all are there.
        let has_results = names.iter().any(|name| name.starts_with(SYNC_PREFIX));
        let width = names.len();
        let named = end.filter(|_| !has_results).map_or(width, |end| end + 1);
        let unnamed = (0..width).filter(|at| names[*at].is_empty()).collect();
        Ok(Self { names, index, open: false, width, named, unnamed })
    }

    /// The columns of JSON lines: none yet, see [`Columns::want`].
    #[must_use]
    pub fn of_json() -> Self {
        let (names, index, unnamed) = (Vec::new(), HashMap::new(), Vec::new());
        Self { names, index, open: true, width: 0, named: 0, unnamed }
    }

    /// Where the column `name` stands. JSON lines are given any column that is
    /// asked for; whether a line has the key shows only when it is read.
    ///
    /// # Errors
    ///
    /// [`UnknownColumn`] if the export does not have it.
    pub fn want(&mut self, name: &str) -> Result<usize, UnknownColumn> {
        if let Some(&at) = self.index.get(name) {
            return Ok(at);
        }
        if !self.open || name.starts_with(SYNC_PREFIX) {
            return Err(self.no_column(name));
        }
        let at = self.names.len();
        self.names.push(name.to_owned());
        self.index.insert(name.to_owned(), at);
        Ok(at)
    }

    fn no_column(&self, name: &str) -> UnknownColumn {
        let name = name.to_owned();
        if name.starts_with(SYNC_PREFIX) {
            return UnknownColumn::OfResults { name };
        }
        match self.nearest(&name) {
            Some(near) => UnknownColumn::Near { near: near.to_owned(), name },
            None => {
                let all: Vec<&str> =
                    self.own().map(|(_, name)| name).filter(|name| !name.is_empty()).collect();
                UnknownColumn::Other { all: all.join(", "), name }
            }
        }
    }

    /// How many cells a row has.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Whether a row may have so many cells: all of them; those of the export
    /// alone, in a row that was added to a result file; or those with a name,
    /// if none of these is missing in front of a blank one.
    pub(super) fn takes(&self, cells: usize, is_last_blank: impl Fn() -> bool) -> bool {
        cells == self.width
            || cells == self.names.len()
            || self.has_results() && cells == self.own().count()
            || cells == self.named && !is_last_blank()
    }

    /// How many it has if only the header ends with a delimiter.
    pub(super) fn width_without_unnamed(&self) -> Option<usize> {
        Some(self.named).filter(|named| *named < self.width)
    }

    /// The rows leave out what has no name at the end of the header: one width
    /// for all of them, since a cell too many would else pass for theirs.
    pub(super) fn leave_out_unnamed(&mut self) {
        self.width = self.named;
    }

    /// The places of columns without a name, where no row has a value.
    pub(super) fn unnamed(&self) -> &[usize] {
        &self.unnamed
    }

    /// Whether it is given any column that is asked for.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Where the column `name` stands.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// The names in the order of the cells.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The columns that are the export's own, without [`SYNC_PREFIX`] ones.
    pub fn own(&self) -> impl Iterator<Item = (usize, &str)> {
        self.names
            .iter()
            .enumerate()
            .filter(|(_, name)| !name.starts_with(SYNC_PREFIX))
            .map(|(at, name)| (at, name.as_str()))
    }

    /// Whether a result file's columns are among them.
    #[must_use]
    pub fn has_results(&self) -> bool {
        self.names.iter().any(|name| name.starts_with(SYNC_PREFIX))
    }

    /// Whether a wanted name lies below the JSON object `path`.
    pub(super) fn wants_below(&self, path: &str) -> bool {
        self.names.iter().any(|name| name.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
    }

    /// The name most like `name`, for an error message.
    fn nearest(&self, name: &str) -> Option<&str> {
        let wanted = name.to_lowercase();
        self.own()
            .map(|(_, own)| (strsim::damerau_levenshtein(&wanted, &own.to_lowercase()), own))
            .filter(|(distance, own)| *distance <= own.chars().count().div_ceil(3).max(2))
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, own)| own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_header_with_an_empty_or_double_name_is_refused_with_its_place() {
        let empty = Columns::of_header(names(&["a", "", "b"])).expect_err("empty");
        assert!(empty.contains("column 2"), "{empty}");
        assert!(Columns::of_header(names(&["", "_sync_line"])).is_err());
        let behind =
            Columns::of_header(names(&["a", "", "_sync_line"])).expect("a delimiter behind the last cell");
        assert_eq!((behind.find("a"), behind.find("")), (Some(0), None));
        let twice = Columns::of_header(names(&["a", "b", "a"])).expect_err("twice");
        assert!(twice.contains("columns 1 and 3"), "{twice}");
    }

    #[test]
    fn columns_of_an_earlier_result_file_are_there_but_cannot_be_asked_for() {
        let mut columns = Columns::of_header(names(&["id", "_sync_line", "_sync_code"])).expect("fine");
        assert!(matches!(columns.want("_sync_line"), Err(UnknownColumn::OfResults { .. })));
        assert!(matches!(Columns::of_json().want("_sync_line"), Err(UnknownColumn::OfResults { .. })));
        assert_eq!(columns.own().count(), 1);
        assert!(columns.has_results());
    }

    #[test]
    fn a_misspelt_name_finds_its_neighbour() {
        let columns = Columns::of_header(names(&["First Name", "E-mail"])).expect("fine");
        assert_eq!(columns.nearest("first name"), Some("First Name"));
        assert_eq!(columns.nearest("Email"), Some("E-mail"));
        assert_eq!(columns.nearest("telephone"), None);
    }
}
