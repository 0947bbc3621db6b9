//! From the configuration and the columns of an export to a [`Mapping`].

use std::sync::Arc;

use rlibphonenumber::enums::Region;

use super::addresses::Channel;
use super::expressions::{Expression, Expressions};
use super::intent::FieldName;
use super::phone;
use super::row::{Blanks, Mapping, Rules};
use super::settings::{CustomerSettings, Invalid, Names, OperationSettings, Origin, Value};
use crate::source::Columns;

/// Where a value comes from, resolved.
#[derive(Debug, Clone)]
pub(super) struct ValueSource {
    pub(super) origin: CompiledOrigin,
    pub(super) default: Option<String>,
    pub(super) region: Option<Region>,
    pub(super) invalid: Invalid,
    /// For messages: the key in the configuration.
    pub(super) key: String,
}

#[derive(Debug, Clone)]
pub(super) enum CompiledOrigin {
    Columns(Vec<(usize, String)>),
    Constant(String),
    Template(Expression),
}

struct Compiler<'a> {
    columns: &'a mut Columns,
    expressions: Expressions,
    problems: Vec<String>,
}

impl Mapping {
    /// Resolves every column and compiles every template.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, each as a sentence with the key it is about.
    pub fn compile(
        customer: &CustomerSettings,
        operation: &OperationSettings,
        names: Names,
        custom_field_prefix: &str,
        input: &crate::source::InputSettings,
        columns: &mut Columns,
    ) -> Result<Self, Vec<String>> {
        let blanks = Arc::new(Blanks::new(&input.blank, &input.clear));
        let mut compiler =
            Compiler { columns, expressions: Expressions::new(Arc::clone(&blanks)), problems: Vec::new() };
        let primary_id = compiler.getter("customer.primary_id", &customer.primary_id);
        let brand_id = compiler.getter("customer.brand_id", &customer.brand_id);
        let fields = compiler.fields(customer, custom_field_prefix);
        let addresses = compiler.addresses(customer);
        let ticket_id =
            customer.ticket_id.as_ref().and_then(|value| compiler.getter("customer.ticket_id", value));
        let no_sync = customer.no_sync.as_ref().and_then(|value| compiler.getter("customer.no_sync", value));
        let rules = compiler.rules(operation);
        let Compiler { mut expressions, problems, columns } = compiler;
        expressions.set_columns(columns);
        match (primary_id, brand_id) {
            (Some(primary_id), Some(brand_id)) if problems.is_empty() => {
                let mut mapping = Self {
                    primary_id,
                    brand_id,
                    fields,
                    addresses,
                    ticket_id,
                    no_sync,
                    rules,
                    names,
                    blanks,
                    expressions,
                    deciding: Vec::new(),
                };
                mapping.deciding = mapping.deciding(columns);
                let hidden = mapping.hidden();
                if hidden.is_empty() { Ok(mapping) } else { Err(hidden) }
            }
            _ => Err(problems),
        }
    }

    /// What is wrong with templates now that all columns are known.
    fn hidden(&self) -> Vec<String> {
        let templates = self.getters().filter_map(|getter| match &getter.origin {
            CompiledOrigin::Template(template) => Some((getter.key.clone(), template)),
            _ => None,
        });
        let place = |at| format!("operation.rule[{at}].when");
        let conditions = self.rules.conditions.iter().map(|(condition, _)| condition).enumerate();
        let all = templates.chain(conditions.map(|(at, condition)| (place(at), condition)));
        let checked = all.map(|(key, template)| (key, self.expressions.check(template)));
        checked.filter_map(|(key, checked)| Some(format!("{key}: {}", checked.err()?))).collect()
    }

    /// The columns that decide what a row asks for, in the order of their
    /// names: where a column stands decides nothing.
    fn deciding(&self, columns: &Columns) -> Vec<usize> {
        let mut deciding: Option<Vec<usize>> = Some(Vec::new());
        let mut add = |more: Option<Vec<usize>>| match (&mut deciding, more) {
            (Some(all), Some(mut more)) => all.append(&mut more),
            (all, _) => *all = None,
        };
        for getter in self.getters() {
            add(match &getter.origin {
                CompiledOrigin::Columns(columns) => Some(columns.iter().map(|(column, _)| *column).collect()),
                CompiledOrigin::Template(template) => self.expressions.deciding(template),
                CompiledOrigin::Constant(_) => Some(Vec::new()),
            });
        }
        self.rules.conditions.iter().for_each(|(condition, _)| add(self.expressions.deciding(condition)));
        add(Some(self.rules.column.iter().map(|(column, _)| *column).collect()));
        let mut deciding = deciding.unwrap_or_else(|| columns.own().map(|(column, _)| column).collect());
        deciding.sort_unstable_by_key(|column| &columns.names()[*column]);
        deciding.dedup();
        deciding
    }

    /// The names of the columns that decide what a row asks for.
    pub fn deciding_names<'a>(&self, columns: &'a Columns) -> impl Iterator<Item = &'a str> + use<'a, '_> {
        self.deciding.iter().map(|column| columns.names()[*column].as_str())
    }

    pub(super) fn getters(&self) -> impl Iterator<Item = &ValueSource> {
        let fields = self.fields.iter().map(|(_, getter)| getter);
        let addresses = self.addresses.iter().map(|(_, getter)| getter);
        let others = [&self.ticket_id, &self.no_sync].into_iter().flatten();
        [&self.primary_id, &self.brand_id].into_iter().chain(fields).chain(addresses).chain(others)
    }
}

impl Compiler<'_> {
    fn fields(&mut self, customer: &CustomerSettings, prefix: &str) -> Vec<(FieldName, ValueSource)> {
        let named = [
            (FieldName::First, "customer.firstname", &customer.firstname),
            (FieldName::Last, "customer.lastname", &customer.lastname),
        ];
        let mut fields = Vec::new();
        for (name, key, value) in named {
            let getter = value.as_ref().and_then(|value| self.getter(key, value));
            fields.extend(getter.map(|getter| (name, getter)));
        }
        for (custom, value) in &customer.custom {
            let name = FieldName::Custom(format!("{prefix}{custom}").into());
            let getter = self.getter(&format!("customer.custom.{custom}"), value);
            fields.extend(getter.map(|getter| (name, getter)));
        }
        fields
    }

    fn addresses(&mut self, customer: &CustomerSettings) -> Vec<(Channel, ValueSource)> {
        let kinds = [
            (Channel::Email, &customer.email),
            (Channel::Telephone, &customer.telephone),
            (Channel::Facebook, &customer.facebook),
            (Channel::Twitter, &customer.twitter),
        ];
        let mut addresses = Vec::new();
        for (channel, value) in kinds {
            let Some(value) = value else { continue };
            let getter = self.getter(&format!("customer.{}", channel.word()), value);
            addresses.extend(getter.map(|getter| (channel, getter)));
        }
        addresses
    }

    fn rules(&mut self, operation: &OperationSettings) -> Rules {
        let conditions = operation
            .rule
            .iter()
            .enumerate()
            .filter_map(|(at, rule)| {
                let compiled = self.expressions.condition(&rule.when, self.columns);
                let place = format!("operation.rule[{at}].when = {:?}", rule.when);
                Some((self.checked(&place, compiled)?, rule.then))
            })
            .collect();
        let column = operation
            .column
            .as_ref()
            .and_then(|name| Some((self.column("operation.column", name)?, name.clone())));
        if operation.column.is_none() && !operation.values.is_empty() {
            self.problems.push(
                "operation.values explains the words of a column, but operation.column names none".to_owned(),
            );
        }
        Rules { conditions, column, values: operation.values.clone(), default: operation.default }
    }

    fn getter(&mut self, key: &str, value: &Value) -> Option<ValueSource> {
        let origin = match &value.from {
            Origin::Columns(names) => {
                let found: Vec<_> =
                    names.iter().filter_map(|name| Some((self.column(key, name)?, name.clone()))).collect();
                (found.len() == names.len()).then_some(CompiledOrigin::Columns(found))?
            }
            Origin::Constant(constant) => CompiledOrigin::Constant(constant.trim().to_owned()),
            Origin::Template(source) => {
                let compiled = self.expressions.template(source, self.columns);
                CompiledOrigin::Template(self.checked(key, compiled)?)
            }
        };
        let region = match &value.region {
            None => None,
            Some(code) => {
                let known = phone::region(code).ok_or_else(|| {
                    format!("region {code:?} is none; write an ISO 3166-1 code such as \"NL\"")
                });
                Some(self.checked(key, known)?)
            }
        };
        Some(ValueSource {
            origin,
            default: value.default.clone(),
            region,
            invalid: value.invalid,
            key: key.to_owned(),
        })
    }

    fn column(&mut self, key: &str, name: &str) -> Option<usize> {
        let found = self.columns.require(name).map_err(|missing| missing.to_string());
        self.checked(key, found)
    }

    fn checked<T>(&mut self, key: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|problem| self.problems.push(format!("{key}: {problem}"))).ok()
    }
}
