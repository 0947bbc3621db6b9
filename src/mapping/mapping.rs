//! A mapping, compiled for the columns of one export.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use rlibphonenumber::enums::Region;

use super::addresses::Channel;
use super::blanks::Blanks;
use super::cell_text::ApostropheColumns;
use super::expressions::{Expression, Expressions};
use super::intent::FieldName;
use super::operation::Operation;
use super::settings::{InvalidAddress, NamePolicy};
use crate::source::{Columns, Row};

/// Turns rows of one export into intents: see [`Mapping::compile`] and [`Mapping::map`].
#[derive(Debug)]
pub struct Mapping {
    pub(super) primary_id: ValueSource,
    pub(super) brand_id: ValueSource,
    pub(super) fields: Vec<(FieldName, ValueSource)>,
    pub(super) addresses: Vec<(Channel, ValueSource)>,
    pub(super) ticket_id: Option<ValueSource>,
    pub(super) no_sync: Option<ValueSource>,
    pub(super) rules: OperationRules,
    pub(super) names: NamePolicy,
    pub(super) blanks: Arc<Blanks>,
    pub(super) apostrophes: Arc<ApostropheColumns>,
    pub(super) columns: Arc<Columns>,
    pub(super) expressions: Expressions,
    /// Sorted by name: the position of a column decides nothing.
    pub(super) deciding_columns: Vec<usize>,
}

/// Where a value comes from: the first origin that is not blank.
#[derive(Debug)]
pub(super) struct ValueSource {
    pub(super) origins: Vec<ValueOrigin>,
    pub(super) region: RegionSource,
    /// The text between two addresses in one cell.
    pub(super) split: Option<String>,
    pub(super) invalid: InvalidAddress,
    /// Whether the value is a first and a last name in one.
    pub(super) is_whole_name: bool,
    /// For messages: the key in the configuration.
    pub(super) key: String,
}

/// Where the region of national telephone numbers comes from.
#[derive(Debug, Default)]
pub(super) struct RegionSource {
    /// The only one, or that of rows with a blank cell in `column`.
    pub(super) fixed: Option<Region>,
    pub(super) column: Option<ValueOrigin>,
}

#[derive(Debug)]
pub(super) enum ValueOrigin {
    Column(usize),
    Constant(String),
    Template(Expression),
    /// The last one. It counts only if no other origin has a value.
    Default(String),
}

#[derive(Debug)]
pub(super) struct OperationRules {
    pub(super) conditions: Vec<(Expression, Operation)>,
    pub(super) column: Option<ValueOrigin>,
    pub(super) values: BTreeMap<String, Operation>,
    pub(super) default: Operation,
}

impl ValueSource {
    fn all_origins(&self) -> impl Iterator<Item = &ValueOrigin> {
        self.origins.iter().chain(&self.region.column)
    }
}

impl ValueOrigin {
    fn column(&self) -> Option<usize> {
        if let Self::Column(column) = self { Some(*column) } else { None }
    }
}

impl Mapping {
    /// Takes off the apostrophe in front of the cells of each column in which most
    /// of these first rows have one.
    pub(crate) fn find_apostrophes<'a>(&mut self, rows: impl Iterator<Item = &'a Row>) {
        let width = self.columns.names().len();
        self.apostrophes = ApostropheColumns::find(width, &self.deciding_columns, rows).into();
    }

    /// The columns that lose an apostrophe, in the export's order.
    pub(crate) fn apostrophe_columns(&self) -> impl Iterator<Item = &str> {
        let names = self.columns.names().iter().enumerate();
        names.filter(|(column, _)| self.apostrophes.contains(*column)).map(|(_, name)| name.as_str())
    }

    /// The origins of all values, without that of the operation.
    pub(super) fn origins(&self) -> impl Iterator<Item = &ValueOrigin> {
        let addresses = self.addresses.iter().map(|(_, source)| source);
        self.text_sources().chain(addresses).flat_map(ValueSource::all_origins)
    }

    /// The sources of all values that are no addresses.
    fn text_sources(&self) -> impl Iterator<Item = &ValueSource> {
        let fields = self.fields.iter().map(|(_, source)| source);
        let others = [&self.ticket_id, &self.no_sync].into_iter().flatten();
        [&self.primary_id, &self.brand_id].into_iter().chain(fields).chain(others)
    }

    pub(super) fn templates(&self) -> impl Iterator<Item = &Expression> {
        let templates = self.origins().filter_map(|origin| match origin {
            ValueOrigin::Template(template) => Some(template),
            _ => None,
        });
        templates.chain(self.rules.conditions.iter().map(|(condition, _)| condition))
    }

    /// The columns that decide what a row asks for.
    pub(super) fn find_deciding_columns(&self) -> Vec<usize> {
        let columns = self.origins().chain(&self.rules.column).filter_map(ValueOrigin::column);
        let read = self.templates().flat_map(|template| template.deciding_columns(&self.columns));
        let mut deciding: Vec<usize> = columns.chain(read).collect();
        deciding.sort_unstable_by_key(|column| &self.columns.names()[*column]);
        deciding.dedup();
        deciding
    }

    /// The columns that may hold a list, which is several addresses: those that
    /// nothing but addresses are read from.
    pub(super) fn list_columns(&self) -> Vec<usize> {
        let texts = self.text_sources().flat_map(ValueSource::all_origins).chain(&self.rules.column);
        let read = self.templates().flat_map(|template| template.deciding_columns(&self.columns));
        let others: HashSet<usize> = texts.filter_map(ValueOrigin::column).chain(read).collect();
        let addresses = self.addresses.iter().flat_map(|(_, source)| &source.origins);
        addresses.filter_map(ValueOrigin::column).filter(|column| !others.contains(column)).collect()
    }

    /// The cells that decide what a row asks for, as they are in the export. Two
    /// rows with equal cells ask for the same.
    pub fn deciding_cells<'a>(&self, row: &'a Row) -> impl Iterator<Item = &'a [u8]> + use<'a, '_> {
        self.deciding_columns.iter().map(|column| row.bytes(*column))
    }

    /// The columns that decide what a row asks for, sorted by name.
    pub(crate) fn deciding_columns(&self) -> &[usize] {
        &self.deciding_columns
    }

    /// The columns of the customer's id.
    pub(crate) fn id_columns(&self) -> Vec<usize> {
        self.primary_id.origins.iter().filter_map(ValueOrigin::column).collect()
    }

    /// The names of the columns that decide what a row asks for.
    pub(crate) fn deciding_names(&self) -> impl Iterator<Item = &str> {
        self.deciding_columns.iter().map(|column| self.columns.names()[*column].as_str())
    }
}
