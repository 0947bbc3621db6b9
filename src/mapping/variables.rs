//! Which cells of a row a template reads, found in its syntax tree.
//!
//! The tree is minijinja's unstable interface. The stable one,
//! `Template::undeclared_variables(true)`, reports too little for the checks that
//! the program promises before the first row:
//!
//! | template | reported | needed, and why |
//! |---|---|---|
//! | `{{ row['Tier'] }}` | `row` | `Tier`: a misspelt column is named, and JSON lines are asked for the key |
//! | `{{ code[:2] }}` | nothing | `code`, for the same reasons |
//! | `{% set tier = tier \| upper %}` | nothing | `tier`, likewise |
//! | `{% filter replace('x', a) %}{% endfilter %}` | nothing | `a`, likewise |
//! | `{% if a %}{% set b = 1 %}{% endif %}{{ b }}` | `a`, `b` | that `b` may be the template's own |
//! | `{{ age > 90 }}` | `age` | that a text is compared with a number |
//! | `{{ age \| uper }}` | `age` | that there is no filter `uper` |

use std::collections::{BTreeMap, BTreeSet};
use std::iter::once;
use std::{fmt, mem};

use minijinja::machinery::ast::{BinOpKind, Call, CallArg, Expr, Stmt};
use minijinja::machinery::{parse, parse_expr};
use minijinja::value::{Value, ValueKind};

/// The names on the way to a cell: `a` and `b` for `a.b`, `a['b']` and
/// `row.a.b`. The row itself is the empty path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CellPath(Vec<String>);

/// The owner of a name where it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// The row's, at least once.
    Row,
    /// The template's if it took a certain branch before, else the row's.
    Either,
    /// The template's own.
    Template,
}

/// The cells, filters and tests of a template or condition.
#[derive(Debug, Default)]
pub(super) struct Variables {
    pub(super) paths: BTreeMap<CellPath, Owner>,
    /// Cells that make a condition true by any text: neither compared nor tested.
    pub(super) bare: BTreeSet<CellPath>,
    /// Cells that are compared or tested as if they could be something other than text.
    pub(super) misused: BTreeSet<CellPath>,
    pub(super) filters: BTreeSet<String>,
    pub(super) tests: BTreeSet<String>,
    /// Places that would make a longer list, a list of lists, or a text of a list.
    pub(super) list_misuses: BTreeSet<String>,
}

impl CellPath {
    pub(super) const ROW: Self = Self(Vec::new());

    /// Without the leading `row`: a row is its own `row`, too.
    fn new(mut names: Vec<String>) -> Self {
        names.drain(..names.iter().take_while(|name| *name == "row").count());
        Self(names)
    }

    /// The paths above the cell: `a` for `a.b`.
    pub(super) fn parents(&self) -> impl Iterator<Item = String> {
        (1..self.0.len()).map(|end| self.0[..end].join("."))
    }
}

impl fmt::Display for CellPath {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(&self.0.join("."))
    }
}

impl Variables {
    pub(super) fn parse_template(source: &str) -> Result<Self, minijinja::Error> {
        let mut walker = Walker::default();
        walker.statement(&parse(source, "template", Default::default())?);
        Ok(walker.variables)
    }

    pub(super) fn parse_condition(source: &str) -> Result<Self, minijinja::Error> {
        let (mut walker, condition) = (Walker::default(), parse_expr(source)?);
        walker.expression(&condition);
        walker.find_bare_cells(&condition);
        Ok(walker.variables)
    }

    /// Whether the row as a whole is read.
    pub(super) fn reads_row(&self) -> bool {
        self.paths.get(&CellPath::ROW) == Some(&Owner::Row)
    }

    /// Cells that are the row's, or may be.
    pub(super) fn row_cells(&self) -> impl Iterator<Item = (&CellPath, Owner)> {
        let paths = self.paths.iter().map(|(path, owner)| (path, *owner));
        paths.filter(|(path, owner)| *owner != Owner::Template && **path != CellPath::ROW)
    }
}

/// minijinja's own functions.
const FUNCTIONS: [&str; 4] = ["range", "dict", "debug", "namespace"];
/// Filters that give text, or true, for any text.
const TEXT_FILTERS: [&str; 4] = ["lower", "upper", "trim", "bool"];
/// Tests with the same result for every cell.
const POINTLESS_TESTS: [&str; 8] =
    ["none", "defined", "undefined", "true", "false", "boolean", "number", "integer"];

/// Filters that give a list.
const LIST_FILTERS: [&str; 10] =
    ["list", "split", "lines", "sort", "unique", "map", "select", "reject", "selectattr", "rejectattr"];
/// Other filters that take a list.
const FILTERS_OF_LISTS: [&str; 11] =
    ["length", "count", "reverse", "join", "first", "last", "min", "max", "sum", "default", "d"];

/// Names that the template has set so far, as far as they can be read here.
type Scope = BTreeMap<String, Name>;

#[derive(Clone, Copy)]
struct Name {
    owner: Owner,
    /// Whether it may be a list.
    is_list: bool,
}

#[derive(Default)]
struct Walker {
    variables: Variables,
    scope: Scope,
}

impl Walker {
    fn statements(&mut self, statements: &[Stmt]) {
        statements.iter().for_each(|statement| self.statement(statement));
    }

    fn statement(&mut self, statement: &Stmt) {
        match statement {
            Stmt::Template(template) => self.statements(&template.children),
            Stmt::EmitRaw(_) => {}
            Stmt::EmitExpr(emit) => {
                self.expression(&emit.expr);
                self.refuse_list("{{ }}", &emit.expr);
            }
            Stmt::Do(work) => self.call(&work.call),
            Stmt::Set(set) => {
                self.expression(&set.expr);
                self.assign_value(&set.target, &set.expr);
            }
            Stmt::SetBlock(set) => {
                self.expressions(&set.filter);
                self.statements(&set.body);
                self.assign(&set.target);
                set.filter.iter().for_each(|filter| self.assign_value(&set.target, filter));
            }
            Stmt::AutoEscape(escape) => {
                self.expression(&escape.enabled);
                self.statements(&escape.body);
            }
            Stmt::FilterBlock(filter) => {
                self.expression(&filter.filter);
                self.statements(&filter.body);
            }
            Stmt::WithBlock(with) => {
                self.block(|walker| {
                    for (target, value) in &with.assignments {
                        walker.expression(value);
                        walker.assign_value(target, value);
                    }
                    walker.statements(&with.body);
                });
            }
            Stmt::ForLoop(each) => {
                self.expression(&each.iter);
                self.block(|walker| {
                    walker.assign(&each.target);
                    walker.expressions(&each.filter_expr);
                    walker.set("loop");
                    walker.statements(&each.body);
                });
                let otherwise = self.block(|walker| walker.statements(&each.else_body));
                self.scope = join(&otherwise, &self.scope);
            }
            Stmt::IfCond(condition) => {
                self.expression(&condition.expr);
                let one = self.block(|walker| walker.statements(&condition.true_body));
                let other = self.block(|walker| walker.statements(&condition.false_body));
                self.scope = join(&one, &other);
            }
        }
    }

    /// Walks in a new scope, and returns it.
    fn block(&mut self, walk: impl FnOnce(&mut Self)) -> Scope {
        let outer = self.scope.clone();
        walk(self);
        mem::replace(&mut self.scope, outer)
    }

    fn expressions<'a, 's: 'a>(&mut self, expressions: impl IntoIterator<Item = &'a Expr<'s>>) {
        expressions.into_iter().for_each(|expression| self.expression(expression));
    }

    fn expression(&mut self, expression: &Expr) {
        if let Some(names) = names_of(expression) {
            return self.read(names);
        }
        match expression {
            Expr::Call(call) => return self.call(call),
            Expr::Filter(filter) => drop(self.variables.filters.insert(filter.name.to_owned())),
            Expr::Test(test) => drop(self.variables.tests.insert(test.name.to_owned())),
            _ => {}
        }
        let parts = parts_of(expression);
        if is_comparison(expression) {
            parts.windows(2).for_each(|sides| self.compare(sides[0], sides[1]));
        }
        self.find_list_misuse(expression, &parts);
        self.expressions(parts);
    }

    /// A list is what one filter or literal has made. If a list could be joined to a
    /// list or put into one, a few lines would double it until the memory is used
    /// up: the engine counts what a list holds too late.
    fn find_list_misuse(&mut self, expression: &Expr, parts: &[&Expr]) {
        let place = match expression {
            Expr::List(_) | Expr::Tuple(_) | Expr::Map(_) => "a list",
            Expr::BinOp(both) => match both.op {
                BinOpKind::Add => "+",
                BinOpKind::Mul => "*",
                BinOpKind::Concat => "~",
                _ => return,
            },
            Expr::Filter(filter) if filter.name == "map" => {
                let is_list_filter =
                    |name: &Value| name.as_str().is_none_or(|name| LIST_FILTERS.contains(&name));
                if let Some(CallArg::Pos(name)) = filter.args.first()
                    && name.as_const().is_none_or(|name| is_list_filter(&name))
                {
                    self.variables.list_misuses.insert("the filter map".to_owned());
                }
                return;
            }
            Expr::Filter(filter) => {
                let takes_lists =
                    LIST_FILTERS.contains(&filter.name) || FILTERS_OF_LISTS.contains(&filter.name);
                let input = filter.expr.as_ref().filter(|_| !takes_lists);
                return input
                    .into_iter()
                    .for_each(|list| self.refuse_list(&format!("the filter {}", filter.name), list));
            }
            _ => return,
        };
        parts.iter().for_each(|part| self.refuse_list(place, part));
    }

    fn refuse_list(&mut self, place: &str, expression: &Expr) {
        if self.may_be_list(expression) {
            self.variables.list_misuses.insert(place.to_owned());
        }
    }

    /// Lists hold no lists, so no part of one is a list.
    fn may_be_list(&self, expression: &Expr) -> bool {
        let any = |parts: &[&Expr]| parts.iter().any(|part| self.may_be_list(part));
        match expression {
            Expr::List(_) | Expr::Tuple(_) | Expr::Map(_) => true,
            Expr::Const(constant) => matches!(constant.value.kind(), ValueKind::Seq | ValueKind::Map),
            Expr::Var(name) => self.scope.get(name.id).is_some_and(|name| name.is_list),
            Expr::Slice(cut) => self.may_be_list(&cut.expr),
            Expr::Call(call) => matches!(&call.expr, Expr::Var(name) if ["range", "dict"].contains(&name.id)),
            Expr::Filter(filter) => match filter.name {
                name if LIST_FILTERS.contains(&name) => true,
                "reverse" | "default" | "d" | "sum" => any(&parts_of(expression)),
                _ => false,
            },
            Expr::IfExpr(_) => any(&parts_of(expression)[1..]),
            Expr::BinOp(both) if matches!(both.op, BinOpKind::ScAnd | BinOpKind::ScOr) => {
                any(&[&both.left, &both.right])
            }
            _ => false,
        }
    }

    /// minijinja's own functions are no cells; `debug` reads the whole row.
    fn call(&mut self, call: &Call) {
        match &call.expr {
            Expr::Var(name) if name.id == "debug" => {
                self.variables.paths.entry(CellPath::ROW).or_insert(Owner::Template);
            }
            Expr::Var(name) if FUNCTIONS.contains(&name.id) => {}
            callee => self.expression(callee),
        }
        values_of(&call.args).for_each(|value| self.refuse_list("a function", value));
        self.expressions(values_of(&call.args));
    }

    fn compare(&mut self, one: &Expr, other: &Expr) {
        for (cell, with) in [(one, other), (other, one)] {
            let names =
                names_of(cell).filter(|names| self.owner(&names[0]) == Owner::Row && is_not_text(with));
            self.variables.misused.extend(names.map(CellPath::new));
        }
    }

    fn read(&mut self, names: Vec<String>) {
        let owner = self.owner(&names[0]);
        let entry = self.variables.paths.entry(CellPath::new(names)).or_insert(owner);
        *entry = owner.min(*entry);
    }

    fn owner(&self, name: &str) -> Owner {
        self.scope.get(name).map_or(Owner::Row, |name| name.owner)
    }

    fn assign(&mut self, target: &Expr) {
        match target {
            Expr::Var(name) => self.set(name.id),
            Expr::List(list) => list.items.iter().for_each(|item| self.assign(item)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.assign(item)),
            other => self.expression(other),
        }
    }

    fn assign_value(&mut self, target: &Expr, value: &Expr) {
        let is_list = self.may_be_list(value);
        self.assign(target);
        match target {
            Expr::Var(name) => {
                drop(self.scope.entry(name.id.to_owned()).and_modify(|name| name.is_list = is_list))
            }
            Expr::GetAttr(_) => self.refuse_list("a namespace", value),
            _ => {}
        }
    }

    fn set(&mut self, name: &str) {
        self.scope.insert(name.to_owned(), Name { owner: Owner::Template, is_list: false });
    }

    /// Finds cells that make `condition`, or a side of it, true by any text.
    fn find_bare_cells(&mut self, condition: &Expr) {
        match condition {
            Expr::Test(test) => {
                let is_pointless =
                    POINTLESS_TESTS.contains(&test.name) || values_of(&test.args).any(is_not_text);
                let names = names_of(&test.expr).filter(|_| is_pointless);
                self.variables.misused.extend(names.map(CellPath::new));
            }
            Expr::BinOp(both) if !matches!(both.op, BinOpKind::ScAnd | BinOpKind::ScOr) => {}
            Expr::Filter(filter) if !TEXT_FILTERS.contains(&filter.name) => {}
            Expr::UnaryOp(_) | Expr::BinOp(_) | Expr::Filter(_) => {
                parts_of(condition).into_iter().for_each(|part| self.find_bare_cells(part));
            }
            cell => self.variables.bare.extend(names_of(cell).map(CellPath::new)),
        }
    }
}

/// The scope after two branches, of which one is taken.
fn join(one: &Scope, other: &Scope) -> Scope {
    let join = |name: &String| {
        let sides = [one.get(name), other.get(name)];
        let is_own = |side: &Option<&Name>| side.is_some_and(|name| name.owner == Owner::Template);
        let owner = if sides.iter().all(is_own) { Owner::Template } else { Owner::Either };
        (name.clone(), Name { owner, is_list: sides.into_iter().flatten().any(|name| name.is_list) })
    };
    one.keys().chain(other.keys()).map(join).collect()
}

/// The names on the way to a cell, if they are written out.
fn names_of(expression: &Expr) -> Option<Vec<String>> {
    let (before, name) = match expression {
        Expr::Var(name) => return Some(vec![name.id.to_owned()]),
        Expr::GetAttr(part) => (&part.expr, part.name.to_owned()),
        Expr::GetItem(part) => match &part.subscript_expr {
            Expr::Const(name) => (&part.expr, name.value.as_str()?.to_owned()),
            _ => return None,
        },
        _ => return None,
    };
    let mut names = names_of(before)?;
    names.push(name);
    Some(names)
}

/// The expressions directly inside another one.
fn parts_of<'a, 's>(expression: &'a Expr<'s>) -> Vec<&'a Expr<'s>> {
    match expression {
        Expr::Var(_) | Expr::Const(_) => Vec::new(),
        Expr::GetAttr(part) => vec![&part.expr],
        Expr::GetItem(part) => vec![&part.expr, &part.subscript_expr],
        Expr::Slice(cut) => once(&cut.expr).chain(&cut.start).chain(&cut.stop).chain(&cut.step).collect(),
        Expr::UnaryOp(unary) => vec![&unary.expr],
        Expr::BinOp(both) => vec![&both.left, &both.right],
        Expr::Compare(all) => once(&all.expr).chain(all.ops.iter().map(|side| &side.expr)).collect(),
        Expr::IfExpr(choice) => {
            [&choice.test_expr, &choice.true_expr].into_iter().chain(&choice.false_expr).collect()
        }
        Expr::Filter(filter) => filter.expr.iter().chain(values_of(&filter.args)).collect(),
        Expr::Test(test) => once(&test.expr).chain(values_of(&test.args)).collect(),
        Expr::Call(call) => once(&call.expr).chain(values_of(&call.args)).collect(),
        Expr::List(list) => list.items.iter().collect(),
        Expr::Tuple(tuple) => tuple.items.iter().collect(),
        Expr::Map(map) => map.keys.iter().chain(&map.values).collect(),
    }
}

fn values_of<'a, 's>(args: &'a [CallArg<'s>]) -> impl Iterator<Item = &'a Expr<'s>> {
    args.iter().map(|arg| match arg {
        CallArg::Pos(value)
        | CallArg::Kwarg(_, value)
        | CallArg::PosSplat(value)
        | CallArg::KwargSplat(value) => value,
    })
}

fn is_comparison(expression: &Expr) -> bool {
    use BinOpKind::{Eq, Gt, Gte, In, Lt, Lte, Ne};
    matches!(expression, Expr::Compare(_))
        || matches!(expression, Expr::BinOp(both) if matches!(both.op, Eq | Ne | Lt | Lte | Gt | Gte | In))
}

/// A number, true, false or none, or a list with one of them.
fn is_not_text(expression: &Expr) -> bool {
    let is_other =
        |value: &Value| matches!(value.kind(), ValueKind::Bool | ValueKind::None | ValueKind::Number);
    expression.as_const().is_some_and(|value| {
        let is_list = value.kind() == ValueKind::Seq;
        is_other(&value)
            || is_list && value.try_iter().is_ok_and(|mut items| items.any(|item| is_other(&item)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<'a>(paths: impl IntoIterator<Item = &'a CellPath>) -> String {
        paths.into_iter().map(CellPath::to_string).collect::<Vec<_>>().join(" ")
    }

    fn owned_by(variables: &Variables, owner: Owner) -> String {
        names(variables.paths.iter().filter(|(_, other)| **other == owner).map(|(path, _)| path))
    }

    fn parse_template(source: &str) -> Variables {
        Variables::parse_template(source).expect(source)
    }

    fn parse_condition(source: &str) -> Variables {
        Variables::parse_condition(source).expect(source)
    }

    #[test]
    fn cells_are_found_wherever_a_template_reads_them() {
        for (template, of_row) in [
            ("address of {{ id }}{# the city #}", "id"),
            ("{% raw %}{{ no }}{% endraw %}{{ name | title | default('none', true) }}", "name"),
            ("{{ address.city }}", "address.city"),
            ("{{ row.address['city'] }}{{ row['Any name'] }}", "Any name address.city"),
            ("{{ postcode[:size] }}", "postcode size"),
            ("{{ (a ~ b)[:3] }}{{ [c, d][e] }}{{ {f: g} }}{{ -h }}", "a b c d e f g h"),
            (
                "{{ a if b else c }}{{ d is divisibleby e }}{{ f < g <= h }}{{ i and not j }}",
                "a b c d e f g h i j",
            ),
            ("{% set a = a | upper %}{{ a }}", "a"),
            ("{% set a = b %}{{ a.c }}", "b"),
            ("{% set a %}{{ a }}{% endset %}{{ a }}", "a"),
            ("{% set a | replace(b, c) %}x{% endset %}{{ a }}", "b c"),
            ("{% with a = a, b = a %}{{ a }}{{ b }}{% endwith %}{{ b }}", "a b"),
            ("{% filter replace('x', a) %}{{ b }}{% endfilter %}", "a b"),
            ("{% for a in b if a == c %}{{ loop.index }}{{ a }}{% else %}{{ d }}{% endfor %}", "b c d"),
            ("{% for a in range(b) %}{{ c[a] }}{% endfor %}", "b c"),
            ("{% if a %}{% set b = c %}{% elif d %}{{ e }}{% endif %}{{ b }}", "a c d e"),
            ("{{ b }}{% if a %}{% set b = 1 %}{% endif %}{{ b }}{{ row.b }}", "a b"),
            ("{% if a %}{% set b = 1 %}{{ b }}{% endif %}{% set b = 2 %}{{ b }}", "a"),
            ("{% if a %}{% set b = 1 %}{% elif b %}{% else %}{{ b }}{% endif %}", "a b"),
            ("{% set a = row['a'] | default('') %}{{ a }}", "a"),
            ("{% for a in [a] %}{{ a }}{% endfor %}", "a"),
            ("{% for a in b if loop %}{{ loop.index }}{% endfor %}", "b loop"),
            (
                "{% set a %}{% set b = 1 %}{% endset %}{{ b }}{% with %}{% set c = 1 %}{% endwith %}{{ c }}",
                "c",
            ),
            ("{% set (a, b) = c %}{{ a }}{{ b }}", "c"),
            ("{% set n = namespace(x=a) %}{% set n.x = b %}{{ n.x }}", "a b"),
            ("{{ range }}{{ row.range }}", "range"),
            ("{% do dict(x=a) %}{{ b(c, d=e, *f, **g) }}", "a b c e f g"),
        ] {
            assert_eq!(owned_by(&parse_template(template), Owner::Row), of_row, "{template}");
        }
    }

    #[test]
    fn cells_that_are_bare_or_misused_are_found() {
        for (condition, misused, bare) in [
            ("deleted", "", "deleted"),
            ("not a.b and (row['c'] or d == 'x')", "", "a.b c"),
            ("age > 90 or 1 <= n < m", "age n", ""),
            ("true == a or b != -1", "a b", ""),
            ("age | int > 90 and b in ['x']", "", ""),
            ("a == none or b not in [1, 'x'] or c in (2, 3)", "a b c", ""),
            ("b | lower", "", "b"),
        ] {
            let variables = parse_condition(condition);
            assert_eq!(names(&variables.misused), misused, "{condition}");
            assert_eq!(names(&variables.bare), bare, "{condition}");
        }
        let tests = parse_condition("a is not none and b is defined or c is gt(5) or d is in ['x']");
        assert_eq!(names(&tests.misused), "a b c");
        let own = parse_template("{% for a in b %}{% if loop.index > 1 %}{{ a }}{% endif %}{% endfor %}");
        assert!(own.misused.is_empty());
    }

    #[test]
    fn lists_that_could_grow_are_found() {
        for (template, misuses) in [
            ("{% set x = [1] %}{% set x = x + x %}", "+"),
            ("{{ ([1] * 9) | join }}", "*"),
            ("{{ a ~ (a | split) }}", "~"),
            ("{{ (a | split)[1:] }}", "{{ }}"),
            ("{{ [a, [b]] | first }}", "a list"),
            ("{% set x = a | lines %}{{ {'a': x} | length }}", "a list"),
            ("{% with x = range(9) %}{{ x | reverse | upper }}{% endwith %}", "the filter upper"),
            ("{% set x | list %}{{ a }}{% endset %}{{ x }}", "{{ }}"),
            ("{% set n = namespace(x=[]) %}", "a function"),
            ("{% set n = namespace() %}{% set n.x = a | split if a else 'b' %}", "a namespace"),
            ("{{ a | split | map('list') | first }}", "the filter map"),
            ("{{ a | split | map(b) | first }}", "the filter map"),
            ("{{ (a | default([])) ~ 'b' }}", "~"),
            ("{{ a + b * 2 ~ (a | split)[0] + (a | split | last) }}", ""),
            (
                "{% set x = a | split(';') | map('trim') | select | sort %}{{ x[0] ~ x | join('+') ~ x | length }}",
                "",
            ),
            ("{% if a %}{% set x = [a] %}{% else %}{% set x = [x] %}{% endif %}{{ x | join }}", ""),
            ("{% if a %}{% set x = [a] %}{% else %}{% set x = b %}{% endif %}{{ x ~ a }}", "~"),
            ("{% set x = [a] %}{% for x in x %}{{ x ~ a }}{% endfor %}", ""),
            ("{% for p in a | split %}{{ p | upper + 'x' * 3 }}{% endfor %}", ""),
            ("{% set n = namespace(x=1) %}{% set n.x = n.x + 1 %}{{ [a, n.x] | join }}", ""),
        ] {
            let found: Vec<String> = parse_template(template).list_misuses.into_iter().collect();
            assert_eq!(found.join(" "), misuses, "{template}");
        }
        assert!(parse_condition("a in ['b', 'c'] and (a | split)[0] == 'd'").list_misuses.is_empty());
        assert!(!parse_condition("(a | split) + ['c']").list_misuses.is_empty());
    }

    #[test]
    fn a_name_that_the_template_sets_is_its_own_or_perhaps_its_own() {
        let variables = parse_template("{% set a = b %}{{ a.c }}{% for d in a %}{% endfor %}");
        assert_eq!(owned_by(&variables, Owner::Template), "a a.c");
        for (rest, either) in [
            ("{% endif %}", "b"),
            ("{% else %}{% set b = 2 %}{% endif %}", ""),
            ("{% elif c %}{% set b = 2 %}{% else %}{% set b = 3 %}{% endif %}", ""),
            ("{% elif c %}{% set b = 2 %}{% endif %}", "b"),
            ("{% else %}{% if c %}{% set b = 2 %}{% endif %}{% endif %}", "b"),
        ] {
            let variables = parse_template(&format!("{{% if a %}}{{% set b = 1 %}}{rest}{{{{ b }}}}"));
            assert_eq!(owned_by(&variables, Owner::Either), either, "{rest}");
        }
    }

    #[test]
    fn the_row_as_a_whole_is_the_empty_path() {
        for template in ["{{ row[a ~ 'b'] }}", "{% set r = row %}{{ r.a }}", "{{ row.row }}", "{{ [row] }}"] {
            assert!(parse_template(template).reads_row(), "{template}");
        }
        let debug = parse_template("{{ debug() }}");
        assert!(debug.paths.contains_key(&CellPath::ROW) && !debug.reads_row());
        assert!(!parse_template("{{ row.a }}{{ row['b'] }}").paths.contains_key(&CellPath::ROW));
    }

    /// The reason for the syntax tree: see the table above.
    #[test]
    fn the_stable_interface_leaves_cells_out() {
        for (template, reported, read) in [
            ("{{ row['Tier'] }}", "row", "Tier"),
            ("{{ code[:2] }}", "", "code"),
            ("{% set tier = tier | upper %}", "", "tier"),
            ("{% filter replace('x', a) %}{% endfilter %}", "", "a"),
        ] {
            let environment = minijinja::Environment::new();
            let compiled = environment.template_from_str(template).expect(template);
            let names: Vec<String> = compiled.undeclared_variables(true).into_iter().collect();
            assert_eq!(names.join(" "), reported, "{template}");
            assert_eq!(owned_by(&parse_template(template), Owner::Row), read, "{template}");
        }
    }
}
