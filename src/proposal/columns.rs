//! The columns of a sample, each with its name as words and its content.

use std::collections::HashMap;

use super::content::Content;
use super::reading::Reading;
use super::vocabulary::Word;
use crate::source::Sample;

/// A column of the sample.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// A member that holds lists may be addresses, and nothing else.
    pub(super) is_list: bool,
    pub(super) reading: Reading,
    pub(super) content: Content,
    pub(super) cells: Vec<String>,
}

impl Column {
    /// All columns. Where no column speaks of a person, rows are companies, and a
    /// company's words are read as the customer's.
    pub(super) fn all(sample: &mut Sample) -> Vec<Self> {
        let prefix = common_prefix(&sample.names);
        let mut columns: Vec<Self> =
            (0..sample.names.len()).map(|at| Self::new(sample, at, &prefix)).collect();
        read_labels(&mut columns);
        let others = [Word::Staff, Word::OtherPerson, Word::Attribute, Word::OtherThing, Word::Company];
        let person =
            [Word::First, Word::Last, Word::Called, Word::Contact, Word::Customer, Word::Member, Word::Full];
        let is_of_person =
            |column: &Self| column.reading.has_any(&person) && !column.reading.has_any(&others);
        if !columns.iter().any(is_of_person) {
            for word in columns.iter_mut().flat_map(|column| &mut column.reading.words) {
                if *word == Word::Company {
                    *word = Word::Customer;
                }
            }
        }
        columns
    }

    /// Takes the cells out of the sample.
    fn new(sample: &mut Sample, at: usize, prefix: &str) -> Self {
        let cells: Vec<String> = sample
            .rows
            .iter_mut()
            .map(|row| row.get_mut(at).map(std::mem::take).unwrap_or_default())
            .collect();
        let name = sample.names[at].clone();
        let reading = Reading::new(name.strip_prefix(prefix).unwrap_or(&name));
        let content = Content::new(cells.iter().map(String::as_str));
        Self { is_list: sample.lists.contains(&name), name, reading, content, cells }
    }

    pub(super) fn cell(&self, row: usize) -> &str {
        self.cells.get(row).map_or("", String::as_str)
    }

    pub(super) fn filled_cells(&self) -> impl Iterator<Item = &str> {
        self.cells.iter().map(String::as_str).filter(|cell| !cell.is_empty())
    }
}

/// Google's `Custom Field 1 - Value` is called what `Custom Field 1 - Label` says on
/// every row.
fn read_labels(columns: &mut [Column]) {
    let says_nothing = |column: &Column| {
        column.reading.unknown > 0
            && column.reading.words.iter().all(|word| matches!(word, Word::Record | Word::Kind))
    };
    for at in 0..columns.len() {
        let Some(field) = columns[at].name.strip_suffix(" - Value").filter(|_| says_nothing(&columns[at]))
        else {
            continue;
        };
        let label = columns.iter().find(|column| column.name.strip_suffix(" - Label") == Some(field));
        if let Some(label) = label.filter(|label| label.content.distinct == 1) {
            columns[at].reading = Reading::new(&label.content.top.0);
        }
    }
}

/// The first part of dotted names, if nearly all have it: the object around each
/// row of JSON, or the table of a query.
fn common_prefix(names: &[String]) -> String {
    let prefixes = names.iter().filter_map(|name| Some(&name[..=name.find('.')?]));
    let mut counts: HashMap<&str, usize> = HashMap::new();
    prefixes.for_each(|prefix| *counts.entry(prefix).or_default() += 1);
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    let says_nothing = |prefix: &str| Reading::new(prefix).words.iter().all(|word| *word == Word::Record);
    most.filter(|(prefix, count)| names.len() > 2 && 3 * count >= 2 * names.len() && says_nothing(prefix))
        .map(|(prefix, _)| prefix.to_owned())
        .unwrap_or_default()
}
