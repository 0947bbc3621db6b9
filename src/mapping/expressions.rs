//! Templates and conditions: one syntax, minijinja's.
//!
//! A column is a variable by its name; `row['Any name']` reaches a column whose
//! name is no identifier. Cells are text and are never evaluated again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use minijinja::value::{Object, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};

use super::blanks::{Blanks, CellMeaning, parse_bool};
use super::variables::{CellPath, Owner, Variables};
use crate::source::{Columns, Row};

/// Instructions for one template or condition: enough for any honest one, and an
/// end for one that loops.
const FUEL: u64 = 100_000;

/// All templates and conditions of a mapping.
#[derive(Debug)]
pub(super) struct Expressions(Environment<'static>);

/// A compiled template or condition.
#[derive(Debug)]
pub(super) struct Expression {
    /// In the configuration, and so in the environment.
    pub(super) key: String,
    variables: Variables,
    /// What it passes through on its way to a cell.
    parents: Arc<BTreeSet<String>>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Syntax {
    Template,
    /// Its text is empty where it does not hold.
    Condition,
}

impl Expressions {
    pub(super) fn new() -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        Self(environment)
    }

    /// Compiles an expression and asks `columns` for the cells it reads.
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
        if let Some(path) = variables.misused.first() {
            return Err(format!(
                "{path} is text, like every cell, even where it is blank; write {path} == 'true', {path} != '', {path} in ['1', '2'] or {path} | int > 90"
            ));
        }
        request_columns(&variables, columns)?;
        let parents = Arc::new(variables.row_cells().flat_map(|(path, _)| path.parents()).collect());
        Ok(Expression { key: key.to_owned(), variables, parents })
    }

    /// Refuses unknown filters and tests. The engine would do so only when a row
    /// leads to one.
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
    pub(super) fn render(&self, expression: &Expression, cells: RowCells) -> Result<String, String> {
        let (cells, parents) = (Arc::new(cells), Arc::clone(&expression.parents));
        let row = RowObject { cells, parents, prefix: String::new() };
        let template = self.0.get_template(&expression.key);
        template
            .and_then(|template| template.render(Value::from_object(row)))
            .map_err(|error| format!("{}: {}", expression.key, describe(error)))
    }
}

impl Expression {
    /// Refuses parts of a column, which is text. To be called once all columns
    /// are known.
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
    /// read any, as with a computed name. One too many costs time; one too few
    /// would leave a change unsent.
    pub(super) fn deciding_columns(&self, columns: &Columns) -> Vec<usize> {
        // Names of the template's own count, too: the row may have them as well.
        let paths: Vec<String> = self.variables.paths.keys().map(CellPath::to_string).collect();
        let reads_any = self.variables.paths.contains_key(&CellPath::ROW);
        let is_read =
            |column| reads_any || paths.iter().any(|path| is_at(column, path) || is_at(path, column));
        columns.own().filter(|(_, column)| is_read(column)).map(|(at, _)| at).collect()
    }

    /// Cells that make a condition true because they have text, though the text
    /// means no: their names and texts.
    pub(super) fn ambiguous_cells(&self, columns: &Columns, row: &Row) -> BTreeMap<String, String> {
        let bare = self.variables.bare.iter().filter_map(|path| {
            let name = path.to_string();
            let text = row.text(columns.find(&name)?).ok()?.trim().to_owned();
            (parse_bool(&text) == Some(false)).then_some((name, text))
        });
        bare.collect()
    }
}

/// Without the name of the template, which the caller knows.
fn describe(error: Error) -> String {
    match (error.detail(), error.kind()) {
        (Some(detail), kind) => format!("{kind}: {detail}"),
        (None, ErrorKind::UndefinedError) => "it uses a column that the export does not have".to_owned(),
        (None, ErrorKind::OutOfFuel) => "it takes too long; shorten its loops".to_owned(),
        (None, kind) => kind.to_string(),
    }
}

/// Asks for every column that a template names.
fn request_columns(variables: &Variables, columns: &mut Columns) -> Result<(), String> {
    if variables.reads_row() && (!columns.has_header() || columns.find("row").is_some()) {
        let problem = if !columns.has_header() {
            "in JSON lines a template can only read keys that it names: write row['key'] with the key itself"
        } else {
            "the export has a column \"row\", but in a template row is the whole row; rename the column"
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

/// What a template can read of a row.
#[derive(Debug)]
pub(super) struct RowCells {
    pub(super) row: Arc<Row>,
    pub(super) columns: Arc<Columns>,
    pub(super) blanks: Arc<Blanks>,
    /// Columns to read as blank.
    pub(super) ignored_columns: BTreeSet<String>,
}

/// A row, or the part of it below a dotted path, as a map.
#[derive(Debug)]
struct RowObject {
    cells: Arc<RowCells>,
    parents: Arc<BTreeSet<String>>,
    /// The path with a dot behind it.
    prefix: String,
}

impl Object for RowObject {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        if self.prefix.is_empty() && key == "row" {
            return Some(Value::from_dyn_object(Arc::clone(self)));
        }
        let name = format!("{}{key}", self.prefix);
        if let Some(value) = self.cells.value(&name) {
            return Some(value);
        }
        // Only what the template passes through is a map. To any other reader it
        // is undefined: a map is not text, and would equal no text.
        self.parents.contains(&name).then(|| {
            let (cells, parents) = (Arc::clone(&self.cells), Arc::clone(&self.parents));
            Value::from_object(Self { cells, parents, prefix: format!("{name}.") })
        })
    }
}

impl RowCells {
    fn value(&self, name: &str) -> Option<Value> {
        let column = self.columns.find(name)?;
        if self.ignored_columns.contains(name) {
            return Some(Value::from(""));
        }
        Some(match self.row.text(column) {
            Ok(text) if self.blanks.meaning(text.trim()) == CellMeaning::Blank => Value::from(""),
            Ok(text) => Value::from(text.trim()),
            Err(bad) => {
                let message = format!("column {name:?} is not {}", bad.encoding);
                Value::from(Error::new(ErrorKind::InvalidOperation, message))
            }
        })
    }
}
