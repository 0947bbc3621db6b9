//! Templates and conditions: one syntax, minijinja's.
//!
//! A column is a variable by its name; `row['Any name']` reaches those whose
//! name is no identifier. Cells are text and are never evaluated again.

use std::collections::HashSet;
use std::sync::Arc;

use minijinja::value::{Object, Value};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};

use super::row::Blanks;
use crate::source::{Columns, Row};

/// Instructions for one cell or condition: enough for any honest template,
/// and an end for one that loops.
const FUEL: u64 = 100_000;

/// All templates and conditions of a mapping.
#[derive(Debug)]
pub(super) struct Expressions {
    environment: Environment<'static>,
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
        Self { environment, blanks, columns: Arc::new(Columns::of_json()) }
    }

    /// Compiles a template and asks `columns` for what it uses.
    pub(super) fn template(&mut self, source: &str, columns: &mut Columns) -> Result<Expression, String> {
        let name = format!("template {source}");
        self.environment.add_template_owned(name.clone(), source.to_owned()).map_err(|error| said(&error))?;
        let template = self.environment.get_template(&name).map_err(|error| said(&error))?;
        let used = template.undeclared_variables(true);
        want(used.iter().map(String::as_str), source, columns)?;
        Ok(Expression(name))
    }

    /// Compiles a condition and asks `columns` for what it uses.
    pub(super) fn condition(&mut self, source: &str, columns: &mut Columns) -> Result<Expression, String> {
        self.environment.compile_expression(source).map_err(|error| said(&error))?;
        // Kept as a template, since a compiled expression borrows its environment.
        self.template(&format!("{{% if ({source}) %}}1{{% endif %}}"), columns)
    }

    /// To be called when `columns` is complete.
    pub(super) fn set_columns(&mut self, columns: &Columns) {
        self.columns = Arc::new(columns.clone());
    }

    /// The columns that a template reads, with where they stand.
    pub(super) fn columns_of(&self, expression: &Expression) -> Vec<(usize, String)> {
        let Ok(template) = self.environment.get_template(&expression.0) else { return Vec::new() };
        let columns = self.read_by(template.source()).into_iter();
        columns.map(|column| (column, self.columns.names()[column].clone())).collect()
    }

    /// The columns on which the text of a template depends; `None` if it may
    /// look at any, as with a name that it computes.
    pub(super) fn deciding(&self, expression: &Expression) -> Option<Vec<usize>> {
        let template = self.environment.get_template(&expression.0).ok()?;
        let source = template.source();
        let looks_at_any = words(source)
            .any(|(word, behind)| word == "debug" || word == "row" && named_behind_row(behind).is_none());
        (!looks_at_any).then(|| self.read_by(source))
    }

    /// Every column that is named anywhere in a template: one too many costs a
    /// look at a row, and one too few would leave a change unsent. So this is no
    /// matter for minijinja's own account of the variables that are undeclared,
    /// which leaves some out: what is sliced, what is set under its own name.
    fn read_by(&self, source: &str) -> Vec<usize> {
        let literals = words(source).filter(|(word, _)| *word == "row");
        let literals = literals.filter_map(|(_, behind)| named_behind_row(behind));
        let named: HashSet<&str> = words(source).map(|(word, _)| word).chain(literals).collect();
        // Of `a.b`, the column may be `a.b`, or `a` with something done to it.
        let is_named = |column: &str| {
            let dots = column.match_indices('.').map(|(at, _)| &column[..at]);
            dots.chain([column]).any(|part| named.contains(part))
        };
        let columns = self.columns.own().filter(|(_, column)| is_named(column));
        columns.map(|(column, _)| column).collect()
    }

    /// The row as a template sees it.
    pub(super) fn context(&self, row: &Row) -> Value {
        Value::from_object(Cells {
            row: Arc::new(row.clone()),
            columns: Arc::clone(&self.columns),
            blanks: Arc::clone(&self.blanks),
            path: String::new(),
        })
    }

    /// The text that a template makes of a row.
    pub(super) fn render(&self, expression: &Expression, context: &Value) -> Result<String, String> {
        self.environment
            .get_template(&expression.0)
            .and_then(|template| template.render(context.clone()))
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
fn want<'a>(used: impl Iterator<Item = &'a str>, source: &str, columns: &mut Columns) -> Result<(), String> {
    let names = used
        .filter(|name| *name != "row" && !GLOBALS.contains(name))
        .map(|name| name.strip_prefix("row.").unwrap_or(name));
    let mut names: Vec<&str> = names.chain(subscripts(source)).collect();
    names.sort_unstable();
    for name in names {
        let first = name.split('.').next().unwrap_or(name);
        if columns.want(name).is_none() && columns.want(first).is_none() {
            let near =
                columns.nearest(name).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
            return Err(format!("the export has no column {name:?}{near}"));
        }
    }
    // minijinja's account leaves out some, as of `(a ~ b)[:3]`. JSON lines are asked
    // for whatever is named; what is none of theirs, or the template's own, does no harm.
    for name in paths(source).filter(|name| !GLOBALS.contains(name)) {
        columns.want(name);
    }
    Ok(())
}

/// Functions that minijinja brings.
const GLOBALS: [&str; 4] = ["range", "dict", "debug", "namespace"];

/// The names in `row['…']` and `row["…"]`.
fn subscripts(source: &str) -> impl Iterator<Item = &str> {
    let rows = words(source).filter(|(word, behind)| *word == "row" && behind.trim_start().starts_with('['));
    rows.filter_map(|(_, behind)| named_behind_row(behind))
}

/// What is named in a template, with dots or without.
fn paths(source: &str) -> impl Iterator<Item = &str> {
    let paths = pieces(source, |letter| is_part(letter) || letter == '.');
    let paths = paths.map(|(path, _)| path.trim_matches('.'));
    paths.map(|path| path.strip_prefix("row.").unwrap_or(path)).filter(|path| !matches!(*path, "" | "row"))
}

/// The words of a template, each with what stands behind it.
fn words(source: &str) -> impl Iterator<Item = (&str, &str)> {
    pieces(source, is_part)
}

fn is_part(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// What consists of such letters, each with what stands behind it.
fn pieces(source: &str, is_part: impl Fn(char) -> bool) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = source;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|letter| !is_part(letter));
        let end = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        rest = behind;
        (!word.is_empty()).then_some((word, behind))
    })
}

/// The name in the `.name` or `['name']` that stands behind `row`; none if that
/// is something else.
fn named_behind_row(behind: &str) -> Option<&str> {
    let behind = behind.trim_start();
    if let Some(name) = behind.strip_prefix('.') {
        let end = name.find(|letter| !is_part(letter)).unwrap_or(name.len());
        return Some(&name[..end]).filter(|name| !name.is_empty());
    }
    let inside = behind.strip_prefix('[')?.trim_start();
    let quote = inside.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let (name, rest) = inside[1..].split_once(quote)?;
    (!name.contains('\\') && rest.trim_start().starts_with(']')).then_some(name)
}

/// A row, or the part of it below a dotted path, as a map.
#[derive(Debug)]
struct Cells {
    row: Arc<Row>,
    columns: Arc<Columns>,
    blanks: Arc<Blanks>,
    path: String,
}

impl Object for Cells {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        if self.path.is_empty() && key == "row" {
            return Some(Value::from_dyn_object(Arc::clone(self)));
        }
        let name = format!("{}{key}", self.path);
        if let Some(column) = self.columns.find(&name) {
            return Some(match self.row.text(column) {
                Ok(text) => Value::from(self.blanks.text_or_empty(&text)),
                Err(bad) => Value::from(Error::new(
                    ErrorKind::InvalidOperation,
                    format!("column {name:?} is not {}", bad.encoding),
                )),
            });
        }
        let path = format!("{name}.");
        self.columns.names().iter().any(|column| column.starts_with(&path)).then(|| {
            Value::from_object(Self {
                row: Arc::clone(&self.row),
                columns: Arc::clone(&self.columns),
                blanks: Arc::clone(&self.blanks),
                path,
            })
        })
    }
}
