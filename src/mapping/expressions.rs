//! Templates and conditions: one syntax, minijinja's.
//!
//! A column is a variable by its name; `row['Any name']` reaches those whose
//! name is no identifier. Cells are text and are never evaluated again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use minijinja::value::{Object, Value};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};

use super::row::Blanks;
use super::variables::{Path, Variables};
use crate::source::{Columns, Row};

/// Instructions for one cell or condition: enough for any honest template,
/// and an end for one that loops.
const FUEL: u64 = 100_000;

/// All templates and conditions of a mapping.
#[derive(Debug)]
pub(super) struct Expressions {
    environment: Environment<'static>,
    /// Of each template.
    variables: HashMap<String, Variables>,
    blanks: Arc<Blanks>,
    columns: Arc<Columns>,
}

/// A compiled template or condition of an [`Expressions`].
#[derive(Debug, Clone)]
pub(super) struct Expression(String);

impl Expressions {
    pub(super) fn new(blanks: Arc<Blanks>) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        let columns = Arc::new(Columns::without_header());
        Self { environment, variables: HashMap::new(), blanks, columns }
    }

    /// Compiles a template and asks `columns` for what it uses.
    pub(super) fn template(&mut self, source: &str, columns: &mut Columns) -> Result<Expression, String> {
        let name = format!("template {source}");
        self.environment.add_template_owned(name.clone(), source.to_owned()).map_err(|error| said(&error))?;
        let variables = Variables::of(source).map_err(|error| said(&error))?;
        self.check_names(&variables)?;
        if let Some(path) = variables.compared.first() {
            let name = path.join(".");
            return Err(format!(
                "{name} is a text, as all cells are, and is compared with something else; write {name} == 'true', {name} != '', {name} in ['1', '2'] or {name} | int > 90"
            ));
        }
        want(&variables, columns)?;
        self.variables.insert(name.clone(), variables);
        Ok(Expression(name))
    }

    /// Compiles a condition and asks `columns` for what it uses.
    pub(super) fn condition(&mut self, source: &str, columns: &mut Columns) -> Result<Expression, String> {
        self.environment.compile_expression(source).map_err(|error| said(&error))?;
        // Kept as a template, since a compiled expression borrows its environment.
        let expression = self.template(&format!("{{% if ({source}) %}}1{{% endif %}}"), columns)?;
        let (truths, tested) = Variables::of_condition(source).map_err(|error| said(&error))?;
        if let Some(path) = tested.first() {
            let name = path.join(".");
            return Err(format!(
                "{name} is a text, as all cells are, and a blank one is there too; write {name} == '' or {name} != ''"
            ));
        }
        if let Some(variables) = self.variables.get_mut(&expression.0) {
            variables.truths = truths;
        }
        Ok(expression)
    }

    /// Whether all filters and tests are known: the engine says so only when it
    /// comes to one, and that would be at every row.
    fn check_names(&self, variables: &Variables) -> Result<(), String> {
        let filters = variables.filters.iter().map(|name| format!("''|{name}"));
        let tests = variables.tests.iter().map(|name| format!("'' is {name}"));
        for tried in filters.chain(tests) {
            let outcome = self.environment.compile_expression(&tried).and_then(|tried| tried.eval(()));
            let unknown = outcome
                .err()
                .filter(|error| matches!(error.kind(), ErrorKind::UnknownFilter | ErrorKind::UnknownTest));
            if let Some(error) = unknown {
                return Err(said(&error));
            }
        }
        Ok(())
    }

    /// Cells that make a condition hold by being there, though their word is one
    /// for "no": the names of their columns and the words.
    pub(super) fn doubtful(&self, condition: &Expression, row: &Row) -> BTreeMap<String, String> {
        let truths = self.variables.get(&condition.0).into_iter().flat_map(|found| &found.truths);
        let doubtful = truths.filter_map(|path| {
            let from = path.iter().take_while(|name| *name == "row").count();
            let name = path[from..].join(".");
            let text = row.text(self.columns.find(&name)?).ok()?.trim().to_owned();
            super::row::says_no(&text).then_some((name, text))
        });
        doubtful.collect()
    }

    /// To be called when `columns` is complete.
    pub(super) fn set_columns(&mut self, columns: &Columns) {
        self.columns = Arc::new(columns.clone());
    }

    /// Whether a template can be told what it asks for, now that all columns
    /// are known.
    pub(super) fn check(&self, expression: &Expression) -> Result<(), String> {
        for path in self.variables.get(&expression.0).into_iter().flat_map(|found| &found.of_row) {
            let parts = (1..path.len()).map(|end| path[..end].join("."));
            if let Some(part) = parts.into_iter().find(|part| self.columns.find(part).is_some()) {
                let whole = path.join(".");
                return Err(format!(
                    "{whole} would be a part of the column {part:?}, which is a text; write row['{whole}'] for the column of that name"
                ));
            }
        }
        Ok(())
    }

    /// The columns that a template reads, with where they stand.
    pub(super) fn columns_of(&self, expression: &Expression) -> Vec<(usize, String)> {
        let Some(variables) = self.variables.get(&expression.0) else { return Vec::new() };
        let names =
            of_cells(&variables.of_row).chain(of_cells(&variables.perhaps)).map(|path| path.join("."));
        names.filter_map(|name| Some((self.columns.find(&name)?, name))).collect()
    }

    /// The columns on which the text of a template depends; `None` if it may
    /// look at any, as with a name that it computes. One too many costs a look at
    /// a row, and one too few would leave a change unsent.
    pub(super) fn deciding(&self, expression: &Expression) -> Option<Vec<usize>> {
        let variables = self.variables.get(&expression.0)?;
        if variables.all.contains(&Path::new()) {
            return None;
        }
        let paths: Vec<String> = variables.all.iter().map(|path| path.join(".")).collect();
        let is_read = |column: &str| paths.iter().any(|path| is_at(column, path) || is_at(path, column));
        Some(self.columns.own().filter(|(_, column)| is_read(column)).map(|(at, _)| at).collect())
    }

    /// The text that a template makes of a row.
    pub(super) fn render(&self, expression: &Expression, row: &Arc<Row>) -> Result<String, String> {
        self.render_without(expression, row, BTreeSet::new())
    }

    /// The same if the cells of these names were blank.
    pub(super) fn render_without(
        &self,
        expression: &Expression,
        row: &Arc<Row>,
        blank: BTreeSet<String>,
    ) -> Result<String, String> {
        let parts = self.variables.get(&expression.0).map(|found| Arc::clone(&found.parts));
        let context = Value::from_object(RowObject {
            row: Arc::clone(row),
            columns: Arc::clone(&self.columns),
            parts: parts.unwrap_or_default(),
            blanks: Arc::clone(&self.blanks),
            path: String::new(),
            blank: Arc::new(blank),
        });
        self.environment
            .get_template(&expression.0)
            .and_then(|template| template.render(context))
            .map_err(|error| said(&error))
    }
}

/// Without the "in template …" behind it: the caller knows which one.
fn said(error: &Error) -> String {
    match (error.detail(), error.kind()) {
        (Some(detail), kind) => format!("{kind}: {detail}"),
        (None, ErrorKind::UndefinedError) => "it uses a column that the export does not have".to_owned(),
        (None, ErrorKind::OutOfFuel) => "it does not come to an end".to_owned(),
        (None, kind) => kind.to_string(),
    }
}

/// Asks for every column that a template names.
fn want(variables: &Variables, columns: &mut Columns) -> Result<(), String> {
    if variables.of_row.contains(&Path::new()) {
        if !columns.has_header() {
            return Err("of JSON lines a template can only have what it names: write row['name'], with the name itself".to_owned());
        }
        if columns.find("row").is_some() {
            return Err(
                "the export has a column \"row\", and in a template that is the whole row; rename the column"
                    .to_owned(),
            );
        }
    }
    for path in of_cells(&variables.of_row) {
        columns.require(&path.join(".")).map_err(|missing| missing.to_string())?;
    }
    if let Some(path) = of_cells(&variables.perhaps).next().filter(|_| !columns.has_header()) {
        let name = path.join(".");
        return Err(format!(
            "{name} is set in one branch only, and JSON lines cannot say whether they have it too: set it before the branch, or write row['{name}'] for the key"
        ));
    }
    // If they are the row's.
    of_cells(&variables.perhaps).for_each(|path| drop(columns.require(&path.join("."))));
    Ok(())
}

/// Those that do not mean the row as a whole.
fn of_cells(paths: &BTreeSet<Path>) -> impl Iterator<Item = &Path> {
    paths.iter().filter(|path| !path.is_empty())
}

/// Whether a column stands at a dotted path, or below it.
fn is_at(column: &str, path: &str) -> bool {
    column.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// A row, or the part of it below a dotted path, as a map.
#[derive(Debug)]
struct RowObject {
    row: Arc<Row>,
    columns: Arc<Columns>,
    /// What the template goes through: [`Variables::parts`].
    parts: Arc<BTreeSet<String>>,
    blanks: Arc<Blanks>,
    path: String,
    /// Cells that are taken for blank.
    blank: Arc<BTreeSet<String>>,
}

impl Object for RowObject {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        if self.path.is_empty() && key == "row" {
            return Some(Value::from_dyn_object(Arc::clone(self)));
        }
        let name = format!("{}{key}", self.path);
        if self.blank.contains(&name) {
            return Some(Value::from(""));
        }
        if let Some(column) = self.columns.find(&name) {
            return Some(match self.row.text(column) {
                Ok(text) => Value::from(self.blanks.text_or_empty(&text)),
                Err(bad) => Value::from(Error::new(
                    ErrorKind::InvalidOperation,
                    format!("column {name:?} is not {}", bad.encoding),
                )),
            });
        }
        // Nobody else gets it: it is no text, and equals none.
        self.parts.contains(&name).then(|| {
            Value::from_object(Self {
                row: Arc::clone(&self.row),
                columns: Arc::clone(&self.columns),
                parts: Arc::clone(&self.parts),
                blanks: Arc::clone(&self.blanks),
                path: format!("{name}."),
                blank: Arc::clone(&self.blank),
            })
        })
    }
}
