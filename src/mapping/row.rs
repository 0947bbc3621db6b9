//! One row through a compiled mapping.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;

use super::addresses::DraftAddress;
use super::blanks::{CellMeaning, parse_bool};
use super::expressions::{Expression, RowCells};
use super::intent::{Customer, Draft, DraftField, FieldName, Intent, PrimaryId, Warning};
use super::mapping::{Mapping, ValueOrigin, ValueSource};
use super::operation::Operation;
use super::rejection::{Rejection, RejectionCode};
use super::settings::InvalidAddress;
use super::{names, phone};
use crate::source::Row;

/// What is read of a row, or why the row is refused.
pub type RowResult<T> = Result<T, Box<Rejection>>;

/// The customer and the operation of a row, as far as they can be read: also of
/// a row that is skipped or refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowIdentity {
    pub(crate) customer: Option<Customer>,
    pub(crate) operation: Option<Operation>,
}

impl Mapping {
    /// What `row` asks for; nothing with the operation `skip`.
    ///
    /// # Errors
    ///
    /// Why it is refused.
    pub fn map(&self, row: &Row) -> RowResult<Option<Intent>> {
        Ok(self.draft(row)?.map(Draft::into_intent))
    }

    /// The same, borrowed from the row.
    ///
    /// # Errors
    ///
    /// Why it is refused.
    pub fn draft<'a>(&'a self, row: &'a Row) -> RowResult<Option<Draft<'a>>> {
        RowMapper::new(self, row)?.draft()
    }

    /// The brand and the id of the row's customer, if both can be read.
    #[must_use]
    pub fn customer_of<'a>(&'a self, row: &'a Row) -> Option<(u64, Cow<'a, str>)> {
        let mut mapper = RowMapper::new(self, row).ok()?;
        let primary_id = mapper.primary_id().ok()?;
        Some((mapper.brand_id().ok()?, primary_id))
    }

    #[must_use]
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
    /// A copy for templates, made once and only if there are any.
    shared_row: Option<Arc<Row>>,
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
    fn reject(&self, rejection: Rejection) -> Box<Rejection> {
        Box::new(rejection.at(self.place, &self.text))
    }
}

impl<'a> RowMapper<'a> {
    fn new(mapping: &'a Mapping, row: &'a Row) -> RowResult<Self> {
        if let Some(fault) = row.fault() {
            let hint = "fix the row in the export";
            return Err(Box::new(Rejection::new(RejectionCode::MalformedRow, fault.to_string(), hint)));
        }
        Ok(Self { mapping, row, shared_row: None, warnings: Vec::new() })
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
            warnings: Vec::new(),
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
            return Err(Box::new(Rejection::new(RejectionCode::NoAddress, message, hint)));
        }
        if let Some(source) = &self.mapping.ticket_id {
            draft.ticket_id = self.number(source)?;
        }
        if let Some(source) = &self.mapping.no_sync {
            draft.no_sync = self.boolean(source)?;
        }
        draft.warnings = mem::take(&mut self.warnings);
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
            value.reject(Rejection::new(RejectionCode::UnknownOperation, message, hint))
        })
    }

    /// Any text makes a bare cell true, also "false". Where such a cell decides,
    /// the row is refused, since nobody knows what was meant.
    fn holds(&mut self, condition: &Expression) -> RowResult<bool> {
        let holds = !self.render(condition)?.is_empty();
        let ambiguous = condition.ambiguous_cells(&self.mapping.columns, self.row);
        let Some((name, text)) = ambiguous.first_key_value() else { return Ok(holds) };
        let cells = self.cells_without(ambiguous.keys().cloned().collect());
        let without = self.mapping.expressions.render(condition, cells);
        if without.is_ok_and(|without| without.is_empty() != holds) {
            return Ok(holds);
        }
        let message =
            format!("{}: {name:?} alone is true for any text, but this text means no", condition.key);
        let hint = format!("compare it with the text that you mean, such as {name} == 'true'");
        Err(Box::new(Rejection::new(RejectionCode::BadTemplate, message, hint).at(name, text)))
    }

    fn primary_id(&mut self) -> RowResult<Cow<'a, str>> {
        let source = &self.mapping.primary_id;
        let value = self.value(source)?.unwrap_or_else(|| self.no_value(source));
        if phone::is_scientific(&value.text) {
            let message = "a spreadsheet has rounded the id, so that several customers would share it";
            return Err(value.reject(Rejection::new(RejectionCode::DamagedId, message, phone::ROUNDED_HINT)));
        }
        let hint =
            "every row needs the customer's id: fill the cell, or map another column to customer.primary_id";
        match PrimaryId::check(&value.text) {
            Ok(()) => Ok(value.text),
            Err(reason) => Err(value.reject(Rejection::new(RejectionCode::BlankId, reason, hint))),
        }
    }

    fn brand_id(&mut self) -> RowResult<u64> {
        let source = &self.mapping.brand_id;
        self.number(source)?.ok_or_else(|| {
            let hint = "fill the cell, or set brand_id = { column = \"…\", default = 1 }";
            self.no_value(source).reject(Rejection::new(RejectionCode::BadNumber, "the brand is blank", hint))
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
        let (name, warning) = name.map_err(|rejection| value.reject(rejection))?;
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
                // A rejection shows the text as it was.
                match DraftAddress::parse(*channel, value.text.clone(), source.region) {
                    Ok(address) => {
                        if addresses.iter().all(|other| !other.is_same_as(&address)) {
                            addresses.push(address);
                        }
                    }
                    Err(_) if source.invalid == InvalidAddress::Drop => {
                        self.warnings.push(Warning::DroppedAddress);
                    }
                    Err(rejection) => return Err(value.reject(rejection)),
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
            let hint = "fix the cell, or map another column";
            value.reject(Rejection::new(RejectionCode::BadNumber, message, hint))
        })
    }

    fn boolean(&mut self, source: &'a ValueSource) -> RowResult<bool> {
        let Some(value) = self.value(source)? else { return Ok(false) };
        parse_bool(&value.text).ok_or_else(|| {
            let message = format!("{} needs true or false (yes, no, 1, 0, ja, nee)", source.key);
            let hint = "fix the cell, or use a template that gives true or false";
            value.reject(Rejection::new(RejectionCode::BadNumber, message, hint))
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
            ValueOrigin::Template(template) => (Cow::Owned(self.render(template)?.trim().to_owned()), key),
            ValueOrigin::Default(text) => {
                return Ok(Some(SourceValue { text: Cow::Borrowed(text), place: key, is_clear: false }));
            }
        };
        let meaning = self.mapping.blanks.meaning(&text);
        let is_clear = meaning == CellMeaning::Clear;
        Ok((meaning != CellMeaning::Blank).then_some(SourceValue { text, place, is_clear }))
    }

    /// Stands for a value that is needed, with the place where it would be.
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
                Err(Box::new(rejection.at(self.name_of(column), &value)))
            }
        }
    }

    fn render(&mut self, expression: &Expression) -> RowResult<String> {
        let cells = self.cells_without(BTreeSet::new());
        self.mapping.expressions.render(expression, cells).map_err(|error| {
            let hint = "fix the template or the cells that it uses";
            Box::new(Rejection::new(RejectionCode::BadTemplate, error, hint))
        })
    }

    fn cells_without(&mut self, ignored_columns: BTreeSet<String>) -> RowCells {
        let row = Arc::clone(self.shared_row.get_or_insert_with(|| Arc::new(self.row.clone())));
        let Mapping { columns, blanks, .. } = self.mapping;
        RowCells { row, columns: Arc::clone(columns), blanks: Arc::clone(blanks), ignored_columns }
    }
}

/// `text.trim()`, which nearly always is the text itself.
fn trim(text: &str) -> &str {
    match text.as_bytes() {
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => text,
        _ => text.trim(),
    }
}
