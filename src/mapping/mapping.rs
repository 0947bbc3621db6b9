//! A mapping, compiled for the columns of one export.

use std::collections::BTreeMap;
use std::sync::Arc;

use rlibphonenumber::enums::Region;

use super::addresses::Channel;
use super::blanks::Blanks;
use super::cell_text::ApostropheColumns;
use super::expressions::{Expression, Expressions};
use super::intent::FieldName;
use super::operation::Operation;
use super::settings::{InvalidAddress, NamePolicy, SentOn};
use crate::source::{Columns, Row};

/// Turns rows of one export into intents: see [`Mapping::compile`] and [`Mapping::map`].
#[derive(Debug)]
pub struct Mapping {
    pub(super) primary_id: ValueSource,
    pub(super) brand_id: ValueSource,
    /// The brand, if it is the same of all rows.
    pub(crate) constant_brand: Option<u64>,
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
    /// The columns of [`Mapping::deciding_cells`], sorted by name: the position of a
    /// column decides nothing.
    pub(super) deciding_columns: Vec<usize>,
}

/// Where a value comes from: the first origin that is not blank.
#[derive(Debug)]
pub(super) struct ValueSource {
    pub(super) origins: Vec<ValueOrigin>,
    pub(super) table: Option<ValueTable>,
    pub(super) region: RegionSource,
    /// The text between two addresses in one cell.
    pub(super) split: Option<String>,
    pub(super) invalid: InvalidAddress,
    pub(super) on: SentOn,
    /// Whether the value is a first and a last name in one.
    pub(super) is_whole_name: bool,
    /// For messages: the key in the configuration.
    pub(super) key: String,
}

/// `map`: the values that are sent in place of the export's.
#[derive(Debug)]
pub(super) struct ValueTable {
    pub(super) entries: BTreeMap<String, String>,
    /// For all other values that are not blank.
    pub(super) default: Option<String>,
}

/// Where the region of national telephone numbers comes from.
#[derive(Debug, Default)]
pub(super) struct RegionSource {
    /// The only one, or that of rows with a blank cell in `column`.
    pub(super) fixed: Option<Region>,
    pub(super) column: Option<ValueOrigin>,
}

impl ValueSource {
    fn origins(&self) -> impl Iterator<Item = &ValueOrigin> {
        self.origins.iter().chain(&self.region.column)
    }
}

#[derive(Debug)]
pub(super) enum ValueOrigin {
    Column(usize),
    Constant(String),
    Template(Expression),
    /// The last one. It counts only if no other origin has a value.
    Default(String),
}

impl ValueOrigin {
    fn template(&self) -> Option<&Expression> {
        match self {
            Self::Template(template) => Some(template),
            _ => None,
        }
    }

    fn column(&self) -> Option<usize> {
        if let Self::Column(column) = self { Some(*column) } else { None }
    }
}

#[derive(Debug)]
pub(super) struct OperationRules {
    pub(super) conditions: Vec<(Expression, Operation)>,
    pub(super) column: Option<ValueOrigin>,
    pub(super) values: BTreeMap<String, Operation>,
    pub(super) default: Operation,
}

impl Mapping {
    /// Takes off the apostrophe in front of the cells of each column in which most
    /// of these first rows have one.
    pub(crate) fn find_apostrophes<'a>(&mut self, rows: impl Iterator<Item = &'a Row>) {
        let width = self.columns.names().len();
        let read = self.mapped_columns();
        self.apostrophes = ApostropheColumns::find(width, &read, rows).into();
    }

    /// The columns that lose an apostrophe, in the export's order.
    pub(crate) fn apostrophe_columns(&self) -> impl Iterator<Item = &str> {
        let names = self.columns.names().iter().enumerate();
        names.filter(|(column, _)| self.apostrophes.contains(*column)).map(|(_, name)| name.as_str())
    }

    /// The values that are no addresses, without the operation.
    fn text_sources(&self) -> impl Iterator<Item = &ValueSource> {
        let fields = self.fields.iter().map(|(_, source)| source);
        let others = [&self.ticket_id, &self.no_sync].into_iter().flatten();
        [&self.primary_id, &self.brand_id].into_iter().chain(fields).chain(others)
    }

    fn address_sources(&self) -> impl Iterator<Item = &ValueSource> {
        self.addresses.iter().map(|(_, source)| source)
    }

    /// The origins of all values, without that of the operation.
    pub(super) fn origins(&self) -> impl Iterator<Item = &ValueOrigin> {
        self.text_sources().chain(self.address_sources()).flat_map(ValueSource::origins)
    }

    pub(super) fn templates(&self) -> impl Iterator<Item = &Expression> {
        let templates = self.origins().filter_map(ValueOrigin::template);
        templates.chain(self.rules.conditions.iter().map(|(condition, _)| condition))
    }

    /// The columns that decide what a row asks of a known customer: not those of
    /// fields that go with a create alone.
    pub(super) fn find_deciding_columns(&self) -> Vec<usize> {
        let sources = self.text_sources().chain(self.address_sources());
        let sources = sources.filter(|source| source.on == SentOn::Change);
        self.columns_of(sources.flat_map(ValueSource::origins))
    }

    /// All columns that are read.
    pub(crate) fn mapped_columns(&self) -> Vec<usize> {
        self.columns_of(self.origins())
    }

    /// The columns that may hold a list, which is several addresses: those that
    /// nothing but addresses are read from.
    pub(super) fn list_columns(&self) -> Vec<usize> {
        let others = self.columns_of(self.text_sources().flat_map(ValueSource::origins));
        let addresses = self.address_sources().flat_map(|source| &source.origins);
        addresses.filter_map(ValueOrigin::column).filter(|column| !others.contains(column)).collect()
    }

    /// The columns of these values and of the operation.
    fn columns_of<'a>(&'a self, origins: impl Iterator<Item = &'a ValueOrigin>) -> Vec<usize> {
        let conditions = self.rules.conditions.iter().map(|(condition, _)| condition);
        let read = |template: &Expression| template.deciding_columns(&self.columns);
        let mut columns: Vec<usize> = conditions.flat_map(read).collect();
        for origin in origins.chain(&self.rules.column) {
            match origin {
                ValueOrigin::Column(column) => columns.push(*column),
                ValueOrigin::Template(template) => columns.extend(read(template)),
                ValueOrigin::Constant(_) | ValueOrigin::Default(_) => {}
            }
        }
        columns.sort_unstable_by_key(|column| &self.columns.names()[*column]);
        columns.dedup();
        columns
    }

    /// The cells that decide what a row asks for, as they are in the export. Two
    /// rows with equal cells ask for the same of a known customer.
    pub fn deciding_cells<'a>(&self, row: &'a Row) -> impl Iterator<Item = &'a [u8]> + use<'a, '_> {
        self.deciding_columns.iter().map(|column| row.bytes(*column))
    }

    /// The columns of the customer's id.
    pub(crate) fn id_columns(&self) -> Vec<usize> {
        self.primary_id.origins.iter().filter_map(ValueOrigin::column).collect()
    }

    /// The export's own columns that are not read.
    pub(crate) fn unread_names(&self) -> impl Iterator<Item = &str> {
        let read = self.mapped_columns();
        let own = self.columns.own().filter(move |(column, _)| !read.contains(column));
        own.map(|(_, name)| name).filter(|name| !name.is_empty())
    }

    /// The fields that are sent with each change of them.
    pub(crate) fn changing_fields(&self) -> impl Iterator<Item = &FieldName> {
        self.fields.iter().filter(|(_, source)| source.on == SentOn::Change).map(|(name, _)| name)
    }

    /// The names of the columns that decide what a row asks for, and whether their
    /// cells lose an apostrophe.
    pub(crate) fn deciding_names(&self) -> impl Iterator<Item = (&str, bool)> {
        let columns = self.deciding_columns.iter();
        columns.map(|column| (self.columns.names()[*column].as_str(), self.apostrophes.contains(*column)))
    }
}
