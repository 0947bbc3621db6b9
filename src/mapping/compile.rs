//! Compiles a [`Mapping`] from the configuration and the columns of an export.

use std::sync::Arc;

use super::blanks::Blanks;
use super::expressions::{Expressions, Syntax};
use super::mapping::{Mapping, OperationRules, RegionSource, ValueOrigin, ValueSource, ValueTable};
use super::phone;
use super::settings::{CustomerSettings, FieldOrigin, FieldSource, NamePolicy, OperationSettings};
use crate::source::{self, Columns};

/// Collects problems, so that all of them are reported at once. A part with a
/// problem is omitted, and no mapping is returned.
struct Compiler<'a> {
    columns: &'a mut Columns,
    expressions: Expressions,
    problems: Vec<String>,
}

impl Mapping {
    /// Resolves every column and compiles every template. Returns all problems,
    /// each with its key.
    pub fn compile(
        customer: &CustomerSettings,
        operation: &OperationSettings,
        names: NamePolicy,
        custom_field_prefix: &str,
        input: &source::InputSettings,
        columns: &mut Columns,
    ) -> Result<Self, Vec<String>> {
        let mut compiler = Compiler { columns, expressions: Expressions::new(), problems: Vec::new() };
        let fields = customer.fields(custom_field_prefix);
        let addresses = customer.channels();
        let mut mapping = Self {
            primary_id: compiler.compile_source("primary_id", &customer.primary_id),
            brand_id: compiler.compile_source("brand_id", &customer.brand_id),
            constant_brand: None,
            fields: fields
                .map(|(key, name, from)| {
                    let is_whole_name = key == "name";
                    (name, ValueSource { is_whole_name, ..compiler.compile_source(&key, from) })
                })
                .collect(),
            addresses: addresses
                .map(|(channel, from)| (channel, compiler.compile_source(channel.as_str(), from)))
                .collect(),
            ticket_id: customer.ticket_id.as_ref().map(|from| compiler.compile_source("ticket_id", from)),
            no_sync: customer.no_sync.as_ref().map(|from| compiler.compile_source("no_sync", from)),
            rules: compiler.compile_rules(operation),
            names,
            blanks: Arc::new(Blanks::new(&input.blank, &input.clear)),
            apostrophes: Arc::default(),
            columns: Arc::new(compiler.columns.clone()),
            expressions: compiler.expressions,
            deciding_columns: Vec::new(),
        };
        let mut problems = compiler.problems;
        if problems.is_empty() {
            mapping.deciding_columns = mapping.find_deciding_columns();
            mapping.constant_brand = mapping.find_constant_brand();
            mapping.list_columns().into_iter().for_each(|column| columns.allow_list(column));
            problems
                .extend(mapping.templates().filter_map(|template| template.check(&mapping.columns).err()));
        }
        if problems.is_empty() { Ok(mapping) } else { Err(problems) }
    }
}

impl Compiler<'_> {
    fn compile_source(&mut self, key: &str, setting: &FieldSource) -> ValueSource {
        let key = format!("customer.{key}");
        let mut origins: Vec<ValueOrigin> = match &setting.from {
            FieldOrigin::Columns(names) => {
                names.iter().filter_map(|name| self.find_column(&key, name)).collect()
            }
            FieldOrigin::Constant(text) => vec![ValueOrigin::Constant(text.trim().to_owned())],
            FieldOrigin::Template(template) => {
                let template = self.expressions.compile(&key, template, Syntax::Template, self.columns);
                self.keep(&key, template).map(ValueOrigin::Template).into_iter().collect()
            }
        };
        let default = setting.default.as_deref().map(str::trim).filter(|text| !text.is_empty());
        let mut default = default.map(str::to_owned);
        let table = setting.map.as_ref().map(|map| {
            let trimmed =
                |(value, sent): (&String, &String)| (value.trim().to_owned(), sent.trim().to_owned());
            ValueTable { entries: map.iter().map(trimmed).collect(), default: default.take() }
        });
        origins.extend(default.map(ValueOrigin::Default));
        let fixed = setting.region.as_ref().and_then(|code| {
            let region = phone::find_region(code).ok_or_else(|| {
                format!("there is no region {code:?}; write an ISO 3166-1 code such as \"NL\"")
            });
            self.keep(&key, region)
        });
        let column = setting.region_column.as_ref();
        let column = column.and_then(|name| self.find_column(&format!("{key}.region_column"), name));
        let region = RegionSource { fixed, column };
        let split = setting.split.clone().filter(|separator| !separator.is_empty());
        ValueSource {
            origins,
            table,
            region,
            split,
            invalid: setting.invalid,
            on: setting.on,
            is_whole_name: false,
            key,
        }
    }

    fn compile_rules(&mut self, operation: &OperationSettings) -> OperationRules {
        let mut conditions = Vec::new();
        for (at, rule) in operation.rule.iter().enumerate() {
            let key = format!("operation.rule[{at}].when");
            let condition = self.expressions.compile(&key, &rule.when, Syntax::Condition, self.columns);
            conditions.extend(self.keep(&key, condition).map(|condition| (condition, rule.then)));
        }
        let column = operation.column.as_ref().and_then(|name| self.find_column("operation.column", name));
        if operation.column.is_none() && !operation.values.is_empty() {
            self.problems
                .push("operation.values needs operation.column, the column with these words".to_owned());
        }
        OperationRules { conditions, column, values: operation.values.clone(), default: operation.default }
    }

    fn find_column(&mut self, key: &str, name: &str) -> Option<ValueOrigin> {
        let column = self.columns.require(name);
        self.keep(key, column).map(ValueOrigin::Column)
    }

    /// Returns the part, or collects its problem.
    fn keep<T>(&mut self, key: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|problem| self.problems.push(format!("{key}: {problem}"))).ok()
    }
}
