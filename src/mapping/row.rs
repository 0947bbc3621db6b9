//! One row through a compiled mapping.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;

use super::addresses::DraftAddress;
use super::blanks::{CellMeaning, parse_bool};
use super::expressions::{Expression, RowObject};
use super::intent::{Customer, Draft, DraftField, FieldName, Intent, PrimaryId, Warning};
use super::mapping::{Mapping, ValueOrigin, ValueSource};
use super::operation::Operation;
use super::rejection::{Rejection, RejectionCode, RowResult};
use super::settings::InvalidAddress;
use super::{names, phone};
use crate::source::Row;

/// The customer and the operation of a row, as far as they can be read. Skipped
/// and rejected rows have one, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowIdentity {
    pub(crate) customer: Option<Customer>,
    pub(crate) operation: Option<Operation>,
}

impl Mapping {
    /// What `row` asks for; nothing with the operation `skip`.
    pub fn map(&self, row: &Row) -> RowResult<Option<Intent>> {
        Ok(self.draft(row)?.map(Draft::into_intent))
    }

    /// The same, borrowed from the row.
    pub fn draft<'a>(&'a self, row: &'a Row) -> RowResult<Option<Draft<'a>>> {
        RowMapper::new(self, row)?.draft()
    }

    /// The brand and the id of the row's customer, if both can be read.
    pub fn customer_of<'a>(&'a self, row: &'a Row) -> Option<(u64, Cow<'a, str>)> {
        let mut mapper = RowMapper::new(self, row).ok()?;
        let primary_id = mapper.primary_id().ok()?;
        Some((mapper.brand_id().ok()?, primary_id))
    }

    pub(crate) fn identify(&self, row: &Row) -> RowIdentity {
        let customer = self.customer_of(row).and_then(|(brand_id, primary_id)| {
            Some(Customer { brand_id, primary_id: PrimaryId::new(&primary_id).ok()? })
        });
        let operation = RowMapper::new(self, row).and_then(|mut mapper| mapper.operation()).ok();
        RowIdentity { customer, operation }
    }
}

struct RowMapper<'a> {
    mapping: &'a Mapping,
    row: &'a Row,
    /// Made once, and only for templates.
    row_copy: Option<Arc<Row>>,
    warnings: Vec<Warning>,
}

/// A value that is not blank, with its place for messages.
struct SourceValue<'a> {
    text: Cow<'a, str>,
    /// A column, or a key of the configuration.
    place: &'a str,
    /// Whether it asks to empty the field.
    is_clear: bool,
}

impl SourceValue<'_> {
    fn reject(&self, code: RejectionCode, message: impl Into<String>, hint: &'static str) -> Box<Rejection> {
        Rejection::new(code, message, hint).at(self.place, &self.text)
    }
}

impl<'a> RowMapper<'a> {
    fn new(mapping: &'a Mapping, row: &'a Row) -> RowResult<Self> {
        if let Some(fault) = row.fault() {
            let hint = "fix the row in the export";
            return Err(Rejection::new(RejectionCode::MalformedRow, fault.to_string(), hint));
        }
        Ok(Self { mapping, row, row_copy: None, warnings: Vec::new() })
    }

    fn draft(&mut self) -> RowResult<Option<Draft<'a>>> {
        let operation = self.operation()?;
        if operation == Operation::Skip {
            return Ok(None);
        }
        let mut draft = Draft {
            at: self.row.at(),
            primary_id: self.primary_id()?,
            brand_id: self.brand_id()?,
            operation,
            fields: Vec::new(),
            addresses: Vec::new(),
            ticket_id: None,
            no_sync: false,
            warnings: mem::take(&mut self.warnings),
        };
        // Nothing else of a purge's row is sent, or has to be right.
        if operation == Operation::Purge {
            return Ok(Some(draft));
        }
        draft.fields = self.fields()?;
        draft.addresses = self.addresses()?;
        if operation == Operation::AddChannel && draft.addresses.is_empty() {
            let message = "the row asks to add an address, but has none";
            let hint = "fill one of the address columns, or give the row another operation";
            return Err(Rejection::new(RejectionCode::NoAddress, message, hint));
        }
        if let Some(source) = &self.mapping.ticket_id {
            draft.ticket_id = self.number(source)?;
        }
        if let Some(source) = &self.mapping.no_sync {
            draft.no_sync = self.boolean(source)?;
        }
        draft.warnings.append(&mut self.warnings);
        Ok(Some(draft))
    }

    fn operation(&mut self) -> RowResult<Operation> {
        let rules = &self.mapping.rules;
        for (condition, operation) in &rules.conditions {
            if self.holds(condition)? {
                return Ok(*operation);
            }
        }
        let Some(column) = &rules.column else { return Ok(rules.default) };
        let Some(value) = self.value_of(column, "operation.column")? else { return Ok(rules.default) };
        let word = value.text.as_ref();
        let standard = Operation::ALL.into_iter().find(|one| one.as_str().eq_ignore_ascii_case(word));
        rules.values.get(word).copied().or(standard).ok_or_else(|| {
            let words = rules.values.keys().map(String::as_str).chain(Operation::ALL.map(Operation::as_str));
            let message = format!("not an operation; use one of {}", words.collect::<Vec<_>>().join(", "));
            let hint = "fix the cell, or add the word to values in [operation]";
            value.reject(RejectionCode::UnknownOperation, message, hint)
        })
    }

    /// Any text makes a bare cell true, also "false". If such a cell decides, the
    /// row is refused, since its meaning is unclear.
    fn holds(&mut self, condition: &Expression) -> RowResult<bool> {
        let holds = !self.text_of(condition)?.is_empty();
        let ambiguous = condition.ambiguous_cells(&self.mapping.columns, self.row);
        let Some((name, text)) = ambiguous.first_key_value() else { return Ok(holds) };
        let text_without = self.render(condition, ambiguous.keys().cloned().collect());
        if text_without.is_ok_and(|text| text.is_empty() != holds) {
            return Ok(holds);
        }
        let message =
            format!("{}: {name:?} alone is true for any text, but this text means no", condition.key);
        let hint = format!("compare it with the text that you mean, such as {name} == 'true'");
        Err(Rejection::new(RejectionCode::BadTemplate, message, hint).at(name, text))
    }

    fn primary_id(&mut self) -> RowResult<Cow<'a, str>> {
        let source = &self.mapping.primary_id;
        let value = self.value(source)?.unwrap_or_else(|| self.no_value(source));
        let id = PrimaryId::clean(&value.text);
        if phone::is_scientific(&id) {
            let message = "a spreadsheet has rounded the id, so that several customers would share it";
            return Err(value.reject(RejectionCode::DamagedId, message, phone::ROUNDED_HINT));
        }
        let hint =
            "every row needs the customer's id: fill the cell, or map another column to customer.primary_id";
        PrimaryId::check(&id).map_err(|reason| value.reject(RejectionCode::BlankId, reason, hint))?;
        if id.len() == value.text.len() {
            return Ok(value.text);
        }
        self.warnings.push(Warning::CleanedId);
        Ok(id.into_owned().into())
    }

    fn brand_id(&mut self) -> RowResult<u64> {
        let source = &self.mapping.brand_id;
        self.number(source)?.ok_or_else(|| {
            let hint = "fill the cell, or set brand_id = { column = \"…\", default = 1 }";
            self.no_value(source).reject(RejectionCode::BadNumber, "the brand is blank", hint)
        })
    }

    fn fields(&mut self) -> RowResult<Vec<DraftField<'a>>> {
        let mapping = self.mapping;
        let mut fields = Vec::with_capacity(mapping.fields.len());
        for (name, source) in &mapping.fields {
            let Some(value) = self.first_value(source)? else { continue };
            let text = match name {
                _ if value.is_clear => None,
                FieldName::Custom(_) => Some(value.text),
                FieldName::First | FieldName::Last => Some(self.name(value)?),
            };
            fields.push((name, text));
        }
        Ok(fields)
    }

    fn name(&mut self, value: SourceValue<'a>) -> RowResult<Cow<'a, str>> {
        if names::is_plain(&value.text) {
            return Ok(value.text);
        }
        let name = names::normalise(&value.text, self.mapping.names);
        let (name, warning) = name.map_err(|rejection| rejection.at(value.place, &value.text))?;
        self.warnings.extend(warning);
        Ok(name.into())
    }

    fn addresses(&mut self) -> RowResult<Vec<DraftAddress<'a>>> {
        let mapping = self.mapping;
        let mut addresses: Vec<DraftAddress> = Vec::new();
        for (channel, source) in &mapping.addresses {
            let mut has_value = false;
            for origin in &source.origins {
                if has_value && matches!(origin, ValueOrigin::Default(_)) {
                    continue;
                }
                let value = self.value_of(origin, &source.key)?;
                let Some(value) = value.filter(|value| !value.is_clear) else { continue };
                has_value = true;
                // A rejection shows the original text.
                match DraftAddress::parse(*channel, value.text.clone(), source.region) {
                    Ok(address) if addresses.iter().any(|other| other.is_same_as(&address)) => {}
                    Ok(address) => addresses.push(address),
                    Err(_) if source.invalid == InvalidAddress::Drop => {
                        self.warnings.push(Warning::DroppedAddress);
                    }
                    Err(rejection) => return Err(rejection.at(value.place, &value.text)),
                }
            }
        }
        Ok(addresses)
    }

    fn number(&mut self, source: &'a ValueSource) -> RowResult<Option<u64>> {
        let Some(value) = self.value(source)? else { return Ok(None) };
        // The parser alone would take a sign, too.
        let has_digits_only = value.text.bytes().all(|byte| byte.is_ascii_digit());
        let number = value.text.parse().ok().filter(|_| has_digits_only);
        number.map(Some).ok_or_else(|| {
            let message = format!("{} needs a whole number", source.key);
            value.reject(RejectionCode::BadNumber, message, "fix the cell, or map another column")
        })
    }

    fn boolean(&mut self, source: &'a ValueSource) -> RowResult<bool> {
        let Some(value) = self.value(source)? else { return Ok(false) };
        parse_bool(&value.text).ok_or_else(|| {
            let message = format!("{} needs true or false (yes, no, 1, 0, ja, nee)", source.key);
            let hint = "fix the cell, or use a template that gives true or false";
            value.reject(RejectionCode::BadNumber, message, hint)
        })
    }

    /// The first value that is not blank, unless it is a `clear` marker.
    fn value(&mut self, source: &'a ValueSource) -> RowResult<Option<SourceValue<'a>>> {
        Ok(self.first_value(source)?.filter(|value| !value.is_clear))
    }

    fn first_value(&mut self, source: &'a ValueSource) -> RowResult<Option<SourceValue<'a>>> {
        let mut origins = source.origins.iter();
        origins.find_map(|origin| self.value_of(origin, &source.key).transpose()).transpose()
    }

    fn value_of(&mut self, origin: &'a ValueOrigin, key: &'a str) -> RowResult<Option<SourceValue<'a>>> {
        let (text, place) = match origin {
            ValueOrigin::Column(column) => (self.cell(*column)?, self.name_of(*column)),
            ValueOrigin::Constant(text) => (Cow::Borrowed(text.as_str()), key),
            ValueOrigin::Template(template) => (Cow::Owned(self.text_of(template)?.trim().to_owned()), key),
            ValueOrigin::Default(text) => {
                return Ok(Some(SourceValue { text: Cow::Borrowed(text), place: key, is_clear: false }));
            }
        };
        let meaning = self.mapping.blanks.meaning(&text);
        let is_clear = meaning == CellMeaning::Clear;
        Ok((meaning != CellMeaning::Blank).then_some(SourceValue { text, place, is_clear }))
    }

    /// A blank in place of a required value, for messages.
    fn no_value(&self, source: &'a ValueSource) -> SourceValue<'a> {
        let place = match source.origins.first() {
            Some(ValueOrigin::Column(column)) => self.name_of(*column),
            _ => &source.key,
        };
        SourceValue { text: Cow::Borrowed(""), place, is_clear: false }
    }

    fn name_of(&self, column: usize) -> &'a str {
        &self.mapping.columns.names()[column]
    }

    /// The text of a cell, trimmed.
    fn cell(&self, column: usize) -> RowResult<Cow<'a, str>> {
        match self.row.text(column) {
            Ok(Cow::Borrowed(text)) => Ok(Cow::Borrowed(trim(text))),
            Ok(Cow::Owned(text)) => Ok(Cow::Owned(text.trim().to_owned())),
            Err(bad) => {
                let message = format!("the cell is not {}", bad.encoding);
                let hint = "set encoding in [input], perhaps \"windows-1252\"; a \u{FFFD} in the export itself is a letter that an earlier program lost";
                let rejection = Rejection::new(RejectionCode::BadEncoding, message, hint);
                let value = String::from_utf8_lossy(self.row.bytes(column));
                Err(rejection.at(self.name_of(column), &value))
            }
        }
    }

    fn text_of(&mut self, expression: &Expression) -> RowResult<String> {
        self.render(expression, BTreeSet::new()).map_err(|error| {
            let hint = "fix the template or the cells that it uses";
            Rejection::new(RejectionCode::BadTemplate, error, hint)
        })
    }

    fn render(&mut self, expression: &Expression, ignored: BTreeSet<String>) -> Result<String, String> {
        let row = Arc::clone(self.row_copy.get_or_insert_with(|| Arc::new(self.row.clone())));
        let Mapping { columns, blanks, expressions, .. } = self.mapping;
        let (columns, blanks) = (Arc::clone(columns), Arc::clone(blanks));
        let (parents, prefix) = (Arc::clone(&expression.parents), String::new());
        expressions.render(expression, RowObject { row, columns, blanks, ignored, parents, prefix })
    }
}

/// `text.trim()`, which nearly always is the text itself.
fn trim(text: &str) -> &str {
    match text.as_bytes() {
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => text,
        _ => text.trim(),
    }
}
