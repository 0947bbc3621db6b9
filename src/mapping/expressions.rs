//! Templates and conditions: one syntax, minijinja's.
//!
//! A column is a variable by its name; `row['Any name']` reads a column with a
//! name that is no identifier. Cells are text and are never evaluated again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use minijinja::value::{Object, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};

use super::blanks::{Blanks, CellMeaning, parse_bool};
use super::cell_text::ApostropheColumns;
use super::variables::{CellPath, Owner, Variables};
use crate::source::{Columns, Row};

/// Instructions for one template or condition: enough for any sensible one, and
/// an end for an endless loop.
const FUEL: u64 = 100_000;

/// Filters that make lists of lists, which could grow without a bound:
/// `variables` refuses all other ways to one.
const NESTING_FILTERS: [&str; 7] = ["batch", "chain", "dictsort", "groupby", "items", "slice", "zip"];

/// All templates and conditions of a mapping.
#[derive(Debug)]
pub(super) struct Expressions(Environment<'static>);

/// A compiled template or condition.
#[derive(Debug)]
pub(super) struct Expression {
    /// The key in the configuration, and in the environment.
    pub(super) key: String,
    variables: Variables,
    /// The paths above the cells that it reads.
    pub(super) parents: Arc<BTreeSet<String>>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Syntax {
    Template,
    /// Its text is empty if it does not hold.
    Condition,
}

impl Expressions {
    pub(super) fn new() -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        // The part of a template in an error is enough.
        environment.set_debug(false);
        for name in NESTING_FILTERS {
            environment.remove_filter(name);
        }
        Self(environment)
    }

    /// Compiles an expression and requests the columns that it reads.
    pub(super) fn compile(
        &mut self,
        key: &str,
        source: &str,
        syntax: Syntax,
        columns: &mut Columns,
    ) -> Result<Expression, String> {
        let (variables, template) = match syntax {
            Syntax::Template => (Variables::parse_template(source), source.to_owned()),
            // A template, too: minijinja's own expressions borrow their environment.
            Syntax::Condition => {
                (Variables::parse_condition(source), format!("{{% if ({source}) %}}1{{% endif %}}"))
            }
        };
        let variables = variables.map_err(describe)?;
        self.0.add_template_owned(key.to_owned(), template).map_err(describe)?;
        self.check_names(&variables)?;
        if let Some(place) = variables.list_misuses.first() {
            return Err(format!(
                "{place} takes no list; make a text of it with list | join(' '), or take a part of it with list[0]"
            ));
        }
        if let Some(path) = variables.misused.first() {
            return Err(format!(
                "{path} is text, like every cell, even where it is blank; write {path} == 'true', {path} != '', {path} in ['1', '2'] or {path} | int > 90"
            ));
        }
        request_columns(&variables, columns)?;
        let parents = Arc::new(variables.row_cells().flat_map(|(path, _)| path.parents()).collect());
        Ok(Expression { key: key.to_owned(), variables, parents })
    }

    /// Refuses unknown filters and tests. The engine refuses one only when a row
    /// reaches it.
    fn check_names(&self, variables: &Variables) -> Result<(), String> {
        let mut state = self.0.empty_state();
        let is_unknown =
            |error: Error| matches!(error.kind(), ErrorKind::UnknownFilter | ErrorKind::UnknownTest);
        let filter =
            variables.filters.iter().find(|name| state.apply_filter(name, &[]).is_err_and(is_unknown));
        let test = variables.tests.iter().find(|name| state.perform_test(name, &[]).is_err_and(is_unknown));
        match (filter, test) {
            (Some(name), _) => Err(format!("there is no filter {name:?}")),
            (None, Some(name)) => Err(format!("there is no test {name:?}")),
            (None, None) => Ok(()),
        }
    }

    /// The text that a template makes of a row.
    pub(super) fn render(&self, expression: &Expression, row: RowObject) -> Result<String, String> {
        let in_place = |problem: String| format!("{}: {problem}", expression.key);
        let template = self.0.get_template(&expression.key).map_err(|error| in_place(describe(error)))?;
        template.render(Value::from_object(row)).map_err(|error| {
            let part = error.range().and_then(|range| template.source().get(range));
            in_place(match part.filter(|_| error.kind() == ErrorKind::UndefinedError) {
                Some(part) => format!("{UNDEFINED}, at `{}`", part.trim()),
                None => describe(error),
            })
        })
    }
}

impl Expression {
    /// Refuses parts of a column, which is text. All columns have to be known.
    pub(super) fn check(&self, columns: &Columns) -> Result<(), String> {
        for (path, _) in self.variables.row_cells().filter(|(_, owner)| *owner == Owner::Row) {
            if let Some(parent) = path.parents().find(|parent| columns.find(parent).is_some()) {
                return Err(format!(
                    "{}: {path} would be a part of the column {parent:?}, which is text; write row['{path}'] for the column with that name",
                    self.key
                ));
            }
        }
        Ok(())
    }

    /// The columns of the cells it reads.
    pub(super) fn read_columns(&self, columns: &Columns) -> impl Iterator<Item = usize> {
        self.variables.row_cells().filter_map(|(path, _)| columns.find(&path.to_string()))
    }

    /// The columns on which the result depends: all of the export's own if it may
    /// read any, as with a computed name. One too many costs time; with one too
    /// few a change would not be sent.
    pub(super) fn deciding_columns(&self, columns: &Columns) -> Vec<usize> {
        // The template's own names count, too: the row may also have them.
        let paths: Vec<String> = self.variables.paths.keys().map(CellPath::to_string).collect();
        let reads_any = self.variables.paths.contains_key(&CellPath::ROW);
        let is_read =
            |column| reads_any || paths.iter().any(|path| is_at(column, path) || is_at(path, column));
        columns.own().filter(|(_, column)| is_read(column)).map(|(at, _)| at).collect()
    }

    /// The names and texts of cells that make a condition true because they have
    /// text, though the text means no.
    pub(super) fn ambiguous_cells(
        &self,
        columns: &Columns,
        apostrophes: &ApostropheColumns,
        row: &Row,
    ) -> BTreeMap<String, String> {
        let bare = self.variables.bare.iter().filter_map(|path| {
            let name = path.to_string();
            let text = apostrophes.read(row, columns.find(&name)?).ok()?.into_owned();
            (parse_bool(&text) == Some(false)).then_some((name, text))
        });
        bare.collect()
    }
}

/// A misspelt column is found before the first row.
const UNDEFINED: &str = "it looks up a key that is not there";

/// Without the template's key, which the caller adds.
fn describe(error: Error) -> String {
    match (error.detail(), error.kind()) {
        (Some(detail), kind) => format!("{kind}: {detail}"),
        (None, ErrorKind::UndefinedError) => UNDEFINED.to_owned(),
        (None, ErrorKind::OutOfFuel) => "it takes too long; shorten its loops".to_owned(),
        (None, kind) => kind.to_string(),
    }
}

/// Requests every column that a template names.
fn request_columns(variables: &Variables, columns: &mut Columns) -> Result<(), String> {
    if variables.reads_row() && (!columns.has_header() || columns.find("row").is_some()) {
        let problem = if columns.has_header() {
            "the export has a column \"row\", but in a template row is the whole row; rename the column"
        } else {
            "in JSON lines a template can only read keys that it names: write row['key'] with the key itself"
        };
        return Err(problem.to_owned());
    }
    for (path, owner) in variables.row_cells() {
        let column = columns.require(&path.to_string());
        if owner == Owner::Row {
            column?;
        } else if !columns.has_header() {
            return Err(format!(
                "{path} is set in one branch only, and may be a key of the JSON lines, too: set it before the branch, or write row['{path}'] for the key"
            ));
        }
    }
    Ok(())
}

/// Whether a column is at a dotted path, or below it.
fn is_at(column: &str, path: &str) -> bool {
    column.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// A row, or the part of it below a dotted path, as a map for one expression.
#[derive(Debug, Clone)]
pub(super) struct RowObject {
    pub(super) row: Arc<Row>,
    pub(super) columns: Arc<Columns>,
    pub(super) blanks: Arc<Blanks>,
    pub(super) apostrophes: Arc<ApostropheColumns>,
    /// Columns to read as blank.
    pub(super) ignored: BTreeSet<String>,
    /// See [`Expression::parents`].
    pub(super) parents: Arc<BTreeSet<String>>,
    /// The path, with a dot at its end.
    pub(super) prefix: String,
}

impl Object for RowObject {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        if self.prefix.is_empty() && key == "row" {
            return Some(Value::from_dyn_object(Arc::clone(self)));
        }
        let name = format!("{}{key}", self.prefix);
        if let Some(value) = self.value(&name) {
            return Some(value);
        }
        // Only a path above a cell is a map. Every other name is undefined: a map
        // is not text, and would equal no text.
        let is_parent = self.parents.contains(&name);
        is_parent.then(|| Value::from_object(Self { prefix: format!("{name}."), ..Self::clone(self) }))
    }
}

impl RowObject {
    fn value(&self, name: &str) -> Option<Value> {
        let column = self.columns.find(name)?;
        if self.ignored.contains(name) {
            return Some(Value::from(""));
        }
        Some(match self.apostrophes.read(&self.row, column) {
            Ok(text) if self.blanks.meaning(&text) == CellMeaning::Blank => Value::from(""),
            Ok(text) => Value::from(&*text),
            Err(bad) => {
                let message = format!("column {name:?} is not {}", bad.encoding);
                Value::from(Error::new(ErrorKind::InvalidOperation, message))
            }
        })
    }
}
