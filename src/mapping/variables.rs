//! Which cells of a row a template may look at, by its syntax tree.
//!
//! minijinja's own account of undeclared variables leaves some out: what is
//! sliced, what is set under its own name, what a filter of a block is given.

use std::collections::BTreeSet;
use std::iter;
use std::sync::Arc;

use minijinja::machinery::ast::{BinOpKind, CallArg, Expr, Stmt};
use minijinja::machinery::{parse, parse_expr};
use minijinja::value::ValueKind;

/// The names on the way to a cell, as a template writes them: `a.b`, `a['b']`
/// and `row.a.b` are `a` and `b`. The row itself is the way of no names.
pub(super) type Path = Vec<String>;

/// Functions that minijinja brings.
const FUNCTIONS: [&str; 4] = ["range", "dict", "debug", "namespace"];

/// The variables of a template.
#[derive(Debug, Default)]
pub(super) struct Variables {
    /// Those that the row is to have.
    pub(super) of_row: BTreeSet<Path>,
    /// Those that the template may have made itself: in a branch before.
    pub(super) perhaps: BTreeSet<Path>,
    /// All of them, also where the template has made one of that name before.
    pub(super) all: BTreeSet<Path>,
    /// What it goes through on its way to a cell: of `a.b`, the `a`.
    pub(super) parts: Arc<BTreeSet<String>>,
    /// Cells that decide by being there, see [`Variables::of_condition`].
    pub(super) truths: BTreeSet<Path>,
    /// Cells that are compared with what is no text.
    pub(super) compared: BTreeSet<Path>,
    /// The names of filters and tests.
    pub(super) filters: BTreeSet<String>,
    pub(super) tests: BTreeSet<String>,
}

impl Variables {
    pub(super) fn of(source: &str) -> Result<Self, minijinja::Error> {
        let mut walker = Walker { found: Self::default(), scopes: vec![Scope::default()] };
        walker.statement(&parse(source, "template", Default::default())?);
        let mut found = walker.found;
        let paths = found.of_row.union(&found.perhaps);
        let parts = paths.flat_map(|path| (1..path.len()).map(|end| path[..end].join(".")));
        found.parts = Arc::new(parts.collect());
        Ok(found)
    }

    /// Of a condition, the cells that are neither compared nor tested, so that
    /// any text in them makes it hold; and those of which is asked what is the
    /// same of every cell, such as whether it is defined.
    pub(super) fn of_condition(source: &str) -> Result<(BTreeSet<Path>, BTreeSet<Path>), minijinja::Error> {
        let (mut truths, mut tested) = (BTreeSet::new(), BTreeSet::new());
        take_truths(&parse_expr(source)?, &mut truths, &mut tested);
        Ok((truths, tested))
    }
}

/// Filters that make another text of a text.
const OF_TEXT: [&str; 4] = ["lower", "upper", "trim", "bool"];
/// Tests that come to the same for every cell.
const OF_KIND: [&str; 8] = ["none", "defined", "undefined", "true", "false", "boolean", "number", "integer"];

fn take_truths(expression: &Expr, truths: &mut BTreeSet<Path>, tested: &mut BTreeSet<Path>) {
    match expression {
        Expr::UnaryOp(unary) => take_truths(&unary.expr, truths, tested),
        Expr::BinOp(both) if matches!(both.op, BinOpKind::ScAnd | BinOpKind::ScOr) => {
            [&both.left, &both.right].into_iter().for_each(|side| take_truths(side, truths, tested));
        }
        Expr::Filter(filter) if OF_TEXT.contains(&filter.name) => {
            filter.expr.iter().for_each(|expression| take_truths(expression, truths, tested));
        }
        Expr::Test(test) => {
            let is_of_kind = OF_KIND.contains(&test.name)
                || test.args.iter().any(|arg| matches!(arg, CallArg::Pos(value) if is_no_text(value)));
            tested.extend(path_of(&test.expr).filter(|_| is_of_kind));
        }
        other => truths.extend(path_of(other)),
    }
}

/// A number, true or false, none, or a list with such.
fn is_no_text(expression: &Expr) -> bool {
    use ValueKind::{Bool, None, Number};
    match expression {
        Expr::UnaryOp(unary) => is_no_text(&unary.expr),
        Expr::Const(constant) => match constant.value.kind() {
            Bool | None | Number => true,
            _ => constant.value.try_iter().is_ok_and(|mut items| {
                constant.value.kind() == ValueKind::Seq
                    && items.any(|item| matches!(item.kind(), Bool | None | Number))
            }),
        },
        Expr::List(list) => list.items.iter().any(is_no_text),
        Expr::Tuple(tuple) => tuple.items.iter().any(is_no_text),
        _ => false,
    }
}

struct Walker {
    found: Variables,
    /// From the outside to the inside.
    scopes: Vec<Scope>,
}

/// Names that the template has made.
#[derive(Default)]
struct Scope {
    certain: BTreeSet<String>,
    /// In a branch that may not have been taken.
    perhaps: BTreeSet<String>,
}

impl Walker {
    fn statement(&mut self, statement: &Stmt) {
        match statement {
            Stmt::Template(template) => self.statements(&template.children),
            Stmt::EmitExpr(emit) => self.expression(&emit.expr),
            Stmt::EmitRaw(_) => {}
            Stmt::ForLoop(each) => {
                self.expression(&each.iter);
                self.scopes.push(Scope::default());
                self.assign(&each.target);
                self.expressions(&each.filter_expr);
                self.make("loop");
                self.statements(&each.body);
                self.scopes.pop();
                let otherwise = self.inside(&each.else_body);
                self.join([otherwise, Scope::default()]);
            }
            Stmt::IfCond(condition) => {
                self.expression(&condition.expr);
                let branches = [&condition.true_body, &condition.false_body].map(|body| self.inside(body));
                self.join(branches);
            }
            Stmt::WithBlock(with) => {
                self.scopes.push(Scope::default());
                for (target, value) in &with.assignments {
                    self.expression(value);
                    self.assign(target);
                }
                self.statements(&with.body);
                self.scopes.pop();
            }
            Stmt::Set(set) => {
                self.expression(&set.expr);
                self.assign(&set.target);
            }
            Stmt::SetBlock(set) => {
                self.expressions(&set.filter);
                self.statements(&set.body);
                self.assign(&set.target);
            }
            Stmt::AutoEscape(escape) => {
                self.expression(&escape.enabled);
                self.statements(&escape.body);
            }
            Stmt::FilterBlock(filter) => {
                self.expression(&filter.filter);
                self.statements(&filter.body);
            }
            Stmt::Do(work) => {
                self.callee(&work.call.expr);
                self.arguments(&work.call.args);
            }
        }
    }

    fn expression(&mut self, expression: &Expr) {
        if let Some(path) = path_of(expression) {
            return self.note(path);
        }
        match expression {
            Expr::Var(_) | Expr::Const(_) => {}
            Expr::Slice(slice) => {
                self.expression(&slice.expr);
                self.expressions([&slice.start, &slice.stop, &slice.step].into_iter().flatten());
            }
            Expr::UnaryOp(unary) => self.expression(&unary.expr),
            Expr::BinOp(both) => {
                use BinOpKind::{Eq, Gt, Gte, In, Lt, Lte, Ne};
                self.expressions([&both.left, &both.right]);
                if matches!(both.op, Eq | Ne | Lt | Lte | Gt | Gte | In) {
                    self.compare(&both.left, &both.right);
                }
            }
            Expr::Compare(compare) => {
                self.expression(&compare.expr);
                self.expressions(compare.ops.iter().map(|operand| &operand.expr));
                let sides: Vec<&Expr> =
                    iter::once(&compare.expr).chain(compare.ops.iter().map(|side| &side.expr)).collect();
                sides.windows(2).for_each(|pair| self.compare(pair[0], pair[1]));
            }
            Expr::IfExpr(choice) => {
                self.expressions([&choice.test_expr, &choice.true_expr]);
                self.expressions(&choice.false_expr);
            }
            Expr::Filter(filter) => {
                self.found.filters.insert(filter.name.to_owned());
                self.expressions(&filter.expr);
                self.arguments(&filter.args);
            }
            Expr::Test(test) => {
                self.found.tests.insert(test.name.to_owned());
                self.expression(&test.expr);
                self.arguments(&test.args);
            }
            Expr::GetAttr(part) => self.expression(&part.expr),
            Expr::GetItem(part) => self.expressions([&part.expr, &part.subscript_expr]),
            Expr::Call(call) => {
                self.callee(&call.expr);
                self.arguments(&call.args);
            }
            Expr::List(list) => self.expressions(&list.items),
            Expr::Tuple(tuple) => self.expressions(&tuple.items),
            Expr::Map(map) => self.expressions(map.keys.iter().chain(&map.values)),
        }
    }

    fn compare(&mut self, one: &Expr, other: &Expr) {
        let made =
            |scope: &Scope, name: &String| scope.certain.contains(name) || scope.perhaps.contains(name);
        for (cell, with) in [(one, other), (other, one)] {
            let path = path_of(cell).filter(|_| is_no_text(with));
            let of_row = path.filter(|path| !self.scopes.iter().any(|scope| made(scope, &path[0])));
            self.found.compared.extend(of_row);
        }
    }

    fn statements(&mut self, statements: &[Stmt]) {
        statements.iter().for_each(|statement| self.statement(statement));
    }

    fn expressions<'a, 's: 'a>(&mut self, expressions: impl IntoIterator<Item = &'a Expr<'s>>) {
        expressions.into_iter().for_each(|expression| self.expression(expression));
    }

    fn arguments(&mut self, arguments: &[CallArg]) {
        for argument in arguments {
            match argument {
                CallArg::Pos(value)
                | CallArg::Kwarg(_, value)
                | CallArg::PosSplat(value)
                | CallArg::KwargSplat(value) => self.expression(value),
            }
        }
    }

    /// A function is none of the row's; `debug` looks at all of it.
    fn callee(&mut self, callee: &Expr) {
        match callee {
            Expr::Var(name) if FUNCTIONS.contains(&name.id) => {
                if name.id == "debug" {
                    self.found.all.insert(Path::new());
                }
            }
            _ => self.expression(callee),
        }
    }

    fn assign(&mut self, target: &Expr) {
        match target {
            Expr::Var(name) => self.make(name.id),
            Expr::List(list) => list.items.iter().for_each(|item| self.assign(item)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.assign(item)),
            other => self.expression(other),
        }
    }

    fn make(&mut self, name: &str) {
        self.scopes.last_mut().map(|scope| scope.certain.insert(name.to_owned()));
    }

    /// What one of two branches makes.
    fn inside(&mut self, statements: &[Stmt]) -> Scope {
        self.scopes.push(Scope::default());
        self.statements(statements);
        self.scopes.pop().unwrap_or_default()
    }

    /// What is made in both branches is there behind them; what is made in one,
    /// if that was taken.
    fn join(&mut self, [one, other]: [Scope; 2]) {
        let Some(scope) = self.scopes.last_mut() else { return };
        scope.certain.extend(one.certain.intersection(&other.certain).cloned());
        for branch in [one, other] {
            scope.perhaps.extend(branch.certain);
            scope.perhaps.extend(branch.perhaps);
        }
    }

    fn note(&mut self, mut path: Path) {
        let is_made = self.scopes.iter().any(|scope| scope.certain.contains(&path[0]));
        let is_perhaps = self.scopes.iter().any(|scope| scope.perhaps.contains(&path[0]));
        // A row is its own `row` too.
        let rows = path.iter().take_while(|name| *name == "row").count();
        path.drain(..rows);
        match (is_made, is_perhaps) {
            (true, _) => false,
            (false, true) => self.found.perhaps.insert(path.clone()),
            (false, false) => self.found.of_row.insert(path.clone()),
        };
        self.found.all.insert(path);
    }
}

/// The way to a cell, if the names on it are written out.
fn path_of(expression: &Expr) -> Option<Path> {
    let (before, name) = match expression {
        Expr::Var(name) => return Some(vec![name.id.to_owned()]),
        Expr::GetAttr(part) => (&part.expr, part.name.to_owned()),
        Expr::GetItem(part) => match &part.subscript_expr {
            Expr::Const(name) => (&part.expr, name.value.as_str()?.to_owned()),
            _ => return None,
        },
        _ => return None,
    };
    let mut path = path_of(before)?;
    path.push(name);
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &BTreeSet<Path>) -> String {
        paths.iter().map(|path| path.join(".")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn variables_are_those_that_an_expression_looks_at() {
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
            let found = Variables::of(template).expect(template);
            assert_eq!(names(&found.of_row), of_row, "{template}");
        }
    }

    #[test]
    fn a_cell_that_is_compared_with_no_text_and_one_that_decides_by_being_there_are_known() {
        for (condition, compared, truths) in [
            ("deleted", "", "deleted"),
            ("not a.b and (row['c'] or d == 'x')", "", "a.b row.c"),
            ("age > 90 or 1 <= n < m", "age n", ""),
            ("true == a or b != -1", "a b", ""),
            ("age | int > 90 and b in ['x']", "", ""),
            ("a == none or b not in [1, 'x'] or c in (2, 3)", "a b c", ""),
            ("b | lower", "", "b"),
        ] {
            let found = Variables::of(&format!("{{% if ({condition}) %}}1{{% endif %}}")).expect(condition);
            assert_eq!(names(&found.compared), compared, "{condition}");
            assert_eq!(names(&Variables::of_condition(condition).expect(condition).0), truths, "{condition}");
        }
        let tested = Variables::of_condition("a is not none and b is defined or c is gt(5) or d is in ['x']");
        assert_eq!(names(&tested.expect("a condition").1), "a b c");
        let made = Variables::of("{% for a in b %}{% if loop.index > 1 %}{{ a }}{% endif %}{% endfor %}");
        assert!(made.expect("a template").compared.is_empty());
    }

    #[test]
    fn a_name_that_the_template_makes_itself_is_among_all() {
        let found =
            Variables::of("{% set a = b %}{{ a.c }}{% for d in a %}{% endfor %}").expect("a template");
        assert_eq!(names(&found.all), "a a.c b");
        let found = Variables::of("{% if a %}{% set b = 1 %}{% endif %}{{ b }}").expect("a template");
        assert_eq!((names(&found.all), names(&found.perhaps)), ("a b".to_owned(), "b".to_owned()));
        for (rest, perhaps) in [
            ("{% else %}{% set b = 2 %}{% endif %}", ""),
            ("{% elif c %}{% set b = 2 %}{% else %}{% set b = 3 %}{% endif %}", ""),
            ("{% elif c %}{% set b = 2 %}{% endif %}", "b"),
            ("{% else %}{% if c %}{% set b = 2 %}{% endif %}{% endif %}", "b"),
        ] {
            let found =
                Variables::of(&format!("{{% if a %}}{{% set b = 1 %}}{rest}{{{{ b }}}}")).expect(rest);
            assert_eq!(names(&found.perhaps), perhaps, "{rest}");
        }
    }

    #[test]
    fn the_row_as_a_whole_is_the_way_of_no_names() {
        let whole = Path::new();
        for template in ["{{ row[a ~ 'b'] }}", "{% set r = row %}{{ r.a }}", "{{ row.row }}", "{{ [row] }}"] {
            assert!(Variables::of(template).expect(template).of_row.contains(&whole), "{template}");
        }
        let debug = Variables::of("{{ debug() }}").expect("a template");
        assert!(debug.all.contains(&whole) && debug.of_row.is_empty());
        assert!(!Variables::of("{{ row.a }}{{ row['b'] }}").expect("a template").all.contains(&whole));
    }
}
