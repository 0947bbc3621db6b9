//! Names of columns and where they stand in a row.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::settings::DELIMITERS;
use super::sheet::Sheet;

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
    /// Columns that may hold a list.
    lists: HashSet<usize>,
    /// Columns that were numbered, because an earlier one has the same name.
    doubles: Vec<(usize, usize)>,
    /// Of a workbook.
    sheet: Option<Arc<Sheet>>,
}

impl Columns {
    /// The columns of a header, in its order. Of several with one name, the
    /// second is `Name (2)`.
    pub(super) fn from_header(mut names: Vec<String>) -> Self {
        let mut index = HashMap::with_capacity(names.len());
        let mut doubles = Vec::new();
        for (at, name) in names.iter().enumerate() {
            if name.is_empty() || name.starts_with(SYNC_PREFIX) {
                continue;
            }
            match index.entry(name.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(at);
                }
                Entry::Occupied(entry) => doubles.push((*entry.get(), at)),
            }
        }
        for (_, at) in &doubles {
            let name = &names[*at];
            let mut numbered = (2..).map(|nth| format!("{name} ({nth})"));
            let free = numbered.find(|numbered| !index.contains_key(numbered));
            let free = free.unwrap_or_default();
            index.insert(free.clone(), *at);
            names[*at] = free;
        }
        Self { names, index, has_header: true, doubles, lists: HashSet::new(), sheet: None }
    }

    pub(super) fn set_sheet(&mut self, sheet: Option<Arc<Sheet>>) {
        self.sheet = sheet;
    }

    /// The first column of a name, and each later one.
    pub(super) fn doubles(&self) -> impl Iterator<Item = (usize, usize)> {
        self.doubles.iter().copied()
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

    /// Lets a column without a header hold a list of several values.
    pub(crate) fn allow_list(&mut self, column: usize) {
        self.lists.insert(column);
    }

    pub(super) fn holds_list(&self, column: usize) -> bool {
        self.lists.contains(&column)
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
        if let Some(sheet) = &self.sheet {
            return self.unknown_in_sheet(name, sheet);
        }
        if let [only] = self.own().map(|(_, own)| own).collect::<Vec<_>>()[..]
            && let Some(delimiter) = likely_delimiter(only, name)
        {
            let value = toml::Value::from(char::from(delimiter).to_string());
            return format!(
                "the export has no column {name:?}, but a single one, {only:?}; if {value} separates the cells, set delimiter = {value} in [input]"
            );
        }
        if let Some(near) = self.nearest(name) {
            return format!("the export has no column {name:?}; did you mean {near:?}?");
        }
        format!("the export has no column {name:?}; its columns are {}", self.list())
    }

    fn unknown_in_sheet(&self, name: &str, sheet: &Sheet) -> String {
        let has_none = format!("the sheet {:?} has no column {name:?}", sheet.name);
        if let [only] = self.own().map(|(_, own)| own).collect::<Vec<_>>()[..]
            && let Some(delimiter) = likely_delimiter(only, name)
        {
            let delimiter = char::from(delimiter);
            return format!(
                "{has_none}, but a single one, {only:?}; split its cells at {delimiter:?} in a spreadsheet program, or run the CSV file that was opened there"
            );
        }
        if let Some(near) = self.nearest(name) {
            return format!("{has_none}; did you mean {near:?}?");
        }
        let columns = self.list();
        format!("{has_none}; its columns are {columns}{}", sheet.others_hint())
    }

    fn list(&self) -> String {
        let names: Vec<&str> = self.own().map(|(_, own)| own).filter(|own| !own.is_empty()).collect();
        names.join(", ")
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

    /// Its own names that `others` lack.
    pub(super) fn names_outside(&self, others: &Self) -> Vec<String> {
        let lacking = self.own().filter(|(_, name)| !name.is_empty() && others.find(name).is_none());
        lacking.map(|(_, name)| name.to_owned()).collect()
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

/// The character that separates the names in `header`, of which `name` is one.
fn likely_delimiter(header: &str, name: &str) -> Option<u8> {
    let is_punctuation =
        |byte: &u8| byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b" \"'".contains(byte);
    let splits =
        |byte: u8| header.split(char::from(byte)).any(|part| part.trim().trim_matches(['"', '\'']) == name);
    let mut bytes = header.bytes().filter(is_punctuation);
    bytes.clone().find(|byte| splits(*byte)).or_else(|| bytes.find(|byte| DELIMITERS.contains(byte)))
}

/// The number of columns up to the last own one with a name.
pub(super) fn named_width(names: &[String]) -> usize {
    let is_named = |name: &String| !name.is_empty() && !name.starts_with(SYNC_PREFIX);
    names.iter().rposition(is_named).map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_header(names: &[&str]) -> Columns {
        Columns::from_header(names.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn blank_names_are_no_columns_and_double_ones_are_numbered() {
        let columns = from_header(&["", "a", "a (2)", "a", "", "a", "_sync_line"]);
        assert_eq!(
            ["", "a", "a (2)", "a (3)", "a (4)"].map(|name| columns.find(name)),
            [None, Some(1), Some(2), Some(3), Some(5)]
        );
    }

    #[test]
    fn a_single_column_names_the_likely_delimiter() {
        for (header, delimiter) in
            [("Nr^E-mail^Naam", "\"^\""), ("Nr;x;E-mail", "\";\""), ("Nr\u{1}E-mail", "\"\\u0001\"")]
        {
            let problem = from_header(&[header]).require("E-mail").expect_err("no such column");
            assert!(problem.contains(&format!("delimiter = {delimiter}")), "{problem}");
        }
    }

    #[test]
    fn columns_of_an_earlier_result_file_exist_but_cannot_be_mapped() {
        let mut columns = from_header(&["id", "_sync_line", "_sync_code"]);
        for columns in [&mut columns, &mut Columns::default()] {
            assert!(columns.require("_sync_line").is_err_and(|problem| problem.contains("result files")));
        }
        assert_eq!((columns.own().count(), columns.names().len()), (1, 3));
    }

    #[test]
    fn a_misspelt_name_finds_its_neighbour() {
        let columns = from_header(&["First Name", "E-mail"]);
        assert_eq!(columns.nearest("first name"), Some("First Name"));
        assert_eq!(columns.nearest("Email"), Some("E-mail"));
        assert_eq!(columns.nearest("telephone"), None);
    }
}
