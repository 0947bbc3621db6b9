//! One row through a compiled mapping.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::addresses::{Channel, DraftAddress};
use super::compile::{CompiledOrigin, ValueSource};
use super::expressions::{Expression, Expressions};
use super::intent::{Customer, Draft, DraftField, FieldName, Intent, PrimaryId, Warning};
use super::names::{self, Name};
use super::phone;
use super::rejection::{Rejection, RejectionCode};
use super::settings::{Invalid, Names, Operation};
use crate::source::Row;

/// What a row came to.
#[derive(Debug)]
pub enum Mapped {
    /// It asks for something.
    Intent(Box<Intent>),
    /// It asks for nothing: operation `skip`.
    Skip,
    /// It is refused.
    Rejected(Box<Rejection>),
}

/// What a row came to, while the row is there.
#[derive(Debug)]
pub enum Drafted<'a> {
    /// It asks for something.
    Draft(Draft<'a>),
    /// It asks for nothing: operation `skip`.
    Skip,
    /// It is refused.
    Rejected(Box<Rejection>),
}

/// A configuration's mapping, compiled for one export's columns: see
/// [`Mapping::compile`].
#[derive(Debug)]
pub struct Mapping {
    pub(super) primary_id: ValueSource,
    pub(super) brand_id: ValueSource,
    pub(super) fields: Vec<(FieldName, ValueSource)>,
    pub(super) addresses: Vec<(Channel, ValueSource)>,
    pub(super) ticket_id: Option<ValueSource>,
    pub(super) no_sync: Option<ValueSource>,
    pub(super) rules: Rules,
    pub(super) names: Names,
    pub(super) blanks: Arc<Blanks>,
    pub(super) expressions: Expressions,
    /// Columns that decide what a row asks for.
    pub(super) deciding: Vec<usize>,
}

/// How the operation of a row is found.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) conditions: Vec<(Expression, Operation)>,
    pub(super) column: Option<(usize, String)>,
    pub(super) values: BTreeMap<String, Operation>,
    pub(super) default: Operation,
}

/// Which cells are no value, and which mean "empty this field".
#[derive(Debug)]
pub(super) struct Blanks {
    blank: Vec<String>,
    clear: Vec<String>,
}

impl Blanks {
    pub(super) fn new(blank: &[String], clear: &[String]) -> Self {
        let trimmed = |words: &[String]| words.iter().map(|word| word.trim().to_owned()).collect();
        Self { blank: trimmed(blank), clear: trimmed(clear) }
    }

    fn is_blank(&self, text: &str) -> bool {
        text.is_empty() || self.blank.iter().any(|word| word == text)
    }

    /// Whether nothing but no text at all is blank, and nothing clears.
    pub(super) fn are_plain(&self) -> bool {
        self.clear.is_empty() && self.blank.iter().all(String::is_empty)
    }

    /// Whether a trimmed text is a value: not blank, and no `clear` marker.
    pub(super) fn is_value(&self, text: &str) -> bool {
        !self.is_blank(text) && !self.clear.iter().any(|word| word == text)
    }

    /// The cell's text, for a template.
    pub(super) fn text_or_empty(&self, text: &str) -> String {
        let text = text.trim();
        if self.is_blank(text) { String::new() } else { text.to_owned() }
    }
}

/// A value with the column it came from, for messages.
struct Found<'a> {
    text: Cow<'a, str>,
    place: &'a str,
    clear: bool,
}

/// One row on its way: what templates share of it is made once, when first needed.
struct RowMapper<'a> {
    mapping: &'a Mapping,
    row: &'a Row,
    shared: Option<Arc<Row>>,
    warnings: Vec<Warning>,
}

impl Mapping {
    /// What `row` asks for.
    #[must_use]
    pub fn map(&self, row: &Row) -> Mapped {
        match self.draft(row) {
            Drafted::Draft(draft) => Mapped::Intent(Box::new(draft.into_intent())),
            Drafted::Skip => Mapped::Skip,
            Drafted::Rejected(rejection) => Mapped::Rejected(rejection),
        }
    }

    /// The same, borrowed from the row.
    #[must_use]
    pub fn draft<'a>(&'a self, row: &'a Row) -> Drafted<'a> {
        if let Some(fault) = row.fault() {
            let hint = "mend the row in the export";
            return Drafted::Rejected(Box::new(Rejection::new(
                RejectionCode::MalformedRow,
                fault.to_string(),
                hint,
            )));
        }
        let mut reading = RowMapper { mapping: self, row, shared: None, warnings: Vec::new() };
        match reading.draft() {
            Ok(Some(draft)) => Drafted::Draft(draft),
            Ok(None) => Drafted::Skip,
            Err(rejection) => Drafted::Rejected(rejection),
        }
    }

    /// Whose `row` is: the brand and the id, if it says so.
    #[must_use]
    pub fn whose<'a>(&'a self, row: &'a Row) -> Option<(u64, Cow<'a, str>)> {
        if row.fault().is_some() {
            return None;
        }
        let mut reading = RowMapper { mapping: self, row, shared: None, warnings: Vec::new() };
        let primary_id = reading.primary_id().ok()?;
        Some((reading.brand_id().ok()?, primary_id))
    }

    /// The cells that decide what a row asks for, as they stand in the export:
    /// two rows that are the same in them ask for the same.
    pub fn deciding_cells<'a>(&self, row: &'a Row) -> impl Iterator<Item = &'a [u8]> + use<'a, '_> {
        self.deciding.iter().map(|column| row.bytes(*column))
    }
}

/// Whose a row is, and what it asks for, as far as that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// Whose.
    pub customer: Option<Customer>,
    /// What for.
    pub operation: Option<Operation>,
}

impl Mapping {
    /// Whose `row` is, also when it is skipped or refused: its customer is
    /// there, whatever else is wrong with it.
    #[must_use]
    pub fn presence(&self, row: &Row) -> Presence {
        if row.fault().is_some() {
            return Presence { customer: None, operation: None };
        }
        let mut reading = RowMapper { mapping: self, row, shared: None, warnings: Vec::new() };
        let operation = reading.operation().ok();
        let customer = self.whose(row).and_then(|(brand_id, primary_id)| {
            Some(Customer { primary_id: PrimaryId::new(&primary_id).ok()?, brand_id })
        });
        Presence { customer, operation }
    }
}

type Checked<T> = Result<T, Box<Rejection>>;

impl<'a> RowMapper<'a> {
    fn draft(&mut self) -> Checked<Option<Draft<'a>>> {
        let operation = self.operation()?;
        if operation == Operation::Skip {
            return Ok(None);
        }
        let (primary_id, brand_id) = (self.primary_id()?, self.brand_id()?);
        let (fields, addresses) = match operation {
            Operation::Purge => (Vec::new(), Vec::new()),
            Operation::AddChannel => (self.fields()?, self.some_addresses()?),
            _ => (self.fields()?, self.addresses()?),
        };
        // Nothing else of a purge's row is sent, or has to be right.
        let is_purge = operation == Operation::Purge;
        let Mapping { ticket_id, no_sync, .. } = self.mapping;
        let ticket_id = ticket_id.as_ref().filter(|_| !is_purge).map(|getter| self.number(getter));
        let no_sync = no_sync.as_ref().filter(|_| !is_purge).map(|getter| self.truth(getter));
        let (ticket_id, no_sync) = (ticket_id.transpose()?.flatten(), no_sync.transpose()?.unwrap_or(false));
        let warnings = std::mem::take(&mut self.warnings);
        Ok(Some(Draft {
            at: self.row.at(),
            brand_id,
            primary_id,
            operation,
            fields,
            addresses,
            ticket_id,
            no_sync,
            warnings,
        }))
    }

    fn operation(&mut self) -> Checked<Operation> {
        let rules = &self.mapping.rules;
        for (condition, operation) in &rules.conditions {
            let holds = !self.render(condition, "operation.rule")?.is_empty();
            self.check_condition(condition, holds)?;
            if holds {
                return Ok(*operation);
            }
        }
        let Some((column, name)) = &rules.column else {
            return Ok(rules.default);
        };
        let Some(found) = self.cell(*column, name)? else {
            return Ok(rules.default);
        };
        let word = found.text.as_ref();
        let known = rules.values.get(word).copied().or_else(|| {
            Operation::WORDS
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(word))
                .map(|(_, operation)| *operation)
        });
        known.ok_or_else(|| {
            let words: Vec<&str> = rules
                .values
                .keys()
                .map(String::as_str)
                .chain(Operation::WORDS.map(|(word, _)| word))
                .collect();
            let message = format!("it is no operation; known are {}", words.join(", "));
            Box::new(
                Rejection::new(
                    RejectionCode::UnknownOperation,
                    message,
                    "mend the cell, or explain the word in [operation] values",
                )
                .at(name, word),
            )
        })
    }

    fn primary_id(&mut self) -> Checked<Cow<'a, str>> {
        let getter = &self.mapping.primary_id;
        let (text, place) = match self.one(getter)? {
            Some(found) if !found.clear => (found.text, found.place),
            Some(found) => (Cow::Borrowed(""), found.place),
            None => (Cow::Borrowed(""), place_of(getter)),
        };
        if phone::is_scientific(&text) {
            let message = "a spreadsheet has turned the id into a rounded number, so that several customers would share it";
            let hint = "export again with that column formatted as text; the digits are lost";
            return Err(Box::new(Rejection::new(RejectionCode::DamagedId, message, hint).at(place, &text)));
        }
        match PrimaryId::check(&text) {
            Ok(()) => Ok(text),
            Err(reason) => {
                let hint = "every row needs the customer's id; map another column to customer.primary_id, or fill the cell";
                Err(Box::new(Rejection::new(RejectionCode::BlankId, reason, hint).at(place, &text)))
            }
        }
    }

    fn brand_id(&mut self) -> Checked<u64> {
        let getter = &self.mapping.brand_id;
        self.number(getter)?.ok_or_else(|| {
            let hint = "fill the cell, or set brand_id = { column = \"…\", default = 1 }";
            Box::new(
                Rejection::new(RejectionCode::BadNumber, "the brand is blank", hint).at(place_of(getter), ""),
            )
        })
    }

    fn fields(&mut self) -> Checked<Vec<DraftField<'a>>> {
        let mapping = self.mapping;
        let mut fields = Vec::with_capacity(mapping.fields.len());
        for (name, getter) in &mapping.fields {
            let Some(found) = self.one(getter)? else { continue };
            let value = match name {
                _ if found.clear => None,
                FieldName::Custom(_) => Some(found.text),
                FieldName::First | FieldName::Last => Some(self.name(found)?),
            };
            fields.push((name, value));
        }
        Ok(fields)
    }

    fn name(&mut self, found: Found<'a>) -> Checked<Cow<'a, str>> {
        if names::is_plain(&found.text) {
            return Ok(found.text);
        }
        match names::name(&found.text, self.mapping.names) {
            Name::Plain(name) => Ok(name.into()),
            Name::Odd(name) => {
                self.warnings.push(Warning::OddName);
                Ok(name.into())
            }
            Name::Transliterated(name) => {
                self.warnings.push(Warning::TransliteratedName);
                Ok(name.into())
            }
            Name::Refused => {
                let message = "the name holds a letter or sign outside the pattern seen on the API's pages";
                let hint = "mend the name, or set names = \"send\" or \"transliterate\" in [omnidesk]";
                Err(Box::new(
                    Rejection::new(RejectionCode::BadName, message, hint).at(found.place, &found.text),
                ))
            }
        }
    }

    fn some_addresses(&mut self) -> Checked<Vec<DraftAddress<'a>>> {
        let addresses = self.addresses()?;
        if addresses.is_empty() {
            let message = "the row asks to add an address and has none";
            let hint = "fill one of the address columns, or let the row ask for another operation";
            return Err(Box::new(Rejection::new(RejectionCode::NoAddress, message, hint)));
        }
        Ok(addresses)
    }

    fn addresses(&mut self) -> Checked<Vec<DraftAddress<'a>>> {
        let mapping = self.mapping;
        let mut addresses: Vec<DraftAddress> = Vec::new();
        for (channel, getter) in &mapping.addresses {
            self.each(getter, |reading, Found { text, place, .. }| {
                // An error names the text as it was found.
                let parsed = DraftAddress::parse(*channel, text.clone(), getter.region);
                match parsed {
                    Ok(address)
                        if addresses.iter().any(|known| {
                            known.channel() == *channel && known.identity() == address.identity()
                        }) => {}
                    Ok(address) => addresses.push(address),
                    Err(_) if getter.invalid == Invalid::Drop => {
                        reading.warnings.push(Warning::DroppedAddress);
                    }
                    Err(rejection) => return Err(Box::new(rejection.at(place, &text))),
                }
                Ok(())
            })?;
        }
        Ok(addresses)
    }

    fn number(&mut self, getter: &'a ValueSource) -> Checked<Option<u64>> {
        let Some(found) = self.one(getter)?.filter(|found| !found.clear) else {
            return Ok(None);
        };
        let digits = !found.text.is_empty() && found.text.bytes().all(|byte| byte.is_ascii_digit());
        match found.text.parse() {
            Ok(number) if digits => Ok(Some(number)),
            _ => {
                let message = format!("{} needs a whole number", getter.key);
                Err(Box::new(
                    Rejection::new(RejectionCode::BadNumber, message, "mend the cell, or map another column")
                        .at(found.place, &found.text),
                ))
            }
        }
    }

    fn truth(&mut self, getter: &'a ValueSource) -> Checked<bool> {
        let Some(found) = self.one(getter)?.filter(|found| !found.clear) else {
            return Ok(false);
        };
        let is_one_of = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(&found.text));
        match () {
            () if is_one_of(&["true", "yes", "y", "1", "on", "ja", "j"]) => Ok(true),
            () if says_no(&found.text) => Ok(false),
            () => {
                let message = format!("{} needs true or false (yes, no, 1, 0, ja, nee)", getter.key);
                Err(Box::new(
                    Rejection::new(
                        RejectionCode::BadNumber,
                        message,
                        "mend the cell, or use a template that says true or false",
                    )
                    .at(found.place, &found.text),
                ))
            }
        }
    }

    /// The first value that is not blank.
    fn one(&mut self, getter: &'a ValueSource) -> Checked<Option<Found<'a>>> {
        if let CompiledOrigin::Columns(columns) = &getter.origin {
            for (column, name) in columns {
                if let Some(found) = self.cell(*column, name)? {
                    return Ok(Some(found));
                }
            }
            return Ok(default_of(getter));
        }
        self.computed(getter)
    }

    /// Shows every value that is not blank; a `clear` marker is none.
    fn each(
        &mut self,
        getter: &'a ValueSource,
        mut take: impl FnMut(&mut Self, Found<'a>) -> Checked<()>,
    ) -> Checked<()> {
        let mut any = false;
        if let CompiledOrigin::Columns(columns) = &getter.origin {
            for (column, name) in columns {
                if let Some(found) = self.cell(*column, name)?.filter(|found| !found.clear) {
                    any = true;
                    take(self, found)?;
                }
            }
            let default = default_of(getter).filter(|_| !any);
            return default.map_or(Ok(()), |found| take(self, found));
        }
        match self.computed(getter)?.filter(|found| !found.clear) {
            Some(found) => take(self, found),
            None => Ok(()),
        }
    }

    fn computed(&mut self, getter: &'a ValueSource) -> Checked<Option<Found<'a>>> {
        let text = match &getter.origin {
            CompiledOrigin::Template(template) => {
                Cow::Owned(self.render(template, &getter.key)?.trim().to_owned())
            }
            CompiledOrigin::Constant(constant) => Cow::Borrowed(constant.as_str()),
            CompiledOrigin::Columns(_) => Cow::Borrowed(""),
        };
        let blanks = &self.mapping.blanks;
        if blanks.is_blank(&text) {
            return Ok(default_of(getter));
        }
        let clear = blanks.clear.iter().any(|word| *word == *text);
        Ok(Some(Found { text, place: &getter.key, clear }))
    }

    /// The cell, trimmed, if it has a value.
    fn cell(&self, column: usize, name: &'a str) -> Checked<Option<Found<'a>>> {
        let text = self.row.text(column).map_err(|bad| {
            let value = String::from_utf8_lossy(self.row.bytes(column)).into_owned();
            let message = format!("the cell is not {}", bad.encoding);
            let hint = "set encoding in [input], perhaps \"windows-1252\"; a \u{FFFD} in the export itself was spoilt by an earlier program";
            Box::new(Rejection::new(RejectionCode::BadEncoding, message, hint).at(name, &value))
        })?;
        let text = match text {
            Cow::Borrowed(text) => Cow::Borrowed(trimmed(text)),
            Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
        };
        let blanks = &self.mapping.blanks;
        if blanks.is_blank(&text) {
            return Ok(None);
        }
        let clear = blanks.clear.iter().any(|word| *word == *text);
        Ok(Some(Found { text, place: name, clear }))
    }

    /// Any text makes a rule hold that names nothing but a column: also "false".
    /// Where that decides, it is not known what was meant.
    fn check_condition(&mut self, condition: &Expression, holds: bool) -> Checked<()> {
        let expressions = &self.mapping.expressions;
        let doubtful = expressions.doubtful(condition, self.row);
        let Some((name, text)) = doubtful.first_key_value() else { return Ok(()) };
        let row = self.shared.get_or_insert_with(|| Arc::new(self.row.clone()));
        let without = expressions.render_without(condition, row, doubtful.keys().cloned().collect());
        if without.is_ok_and(|without| without.is_empty() != holds) {
            return Ok(());
        }
        let message = format!("operation.rule: {name:?} alone holds for any text, and this one says no");
        let hint = format!("let the rule name the text that it means, such as {name} == 'true'");
        Err(Box::new(Rejection::new(RejectionCode::BadTemplate, message, hint).at(name, text)))
    }

    fn render(&mut self, expression: &Expression, place: &str) -> Checked<String> {
        let expressions = &self.mapping.expressions;
        let row = self.shared.get_or_insert_with(|| Arc::new(self.row.clone()));
        expressions.render(expression, row).map_err(|error| {
            let message = format!("{place}: {error}");
            Box::new(Rejection::new(
                RejectionCode::BadTemplate,
                message,
                "mend the template or the cells it uses",
            ))
        })
    }
}

/// Whether a cell's word means no.
pub(super) fn says_no(text: &str) -> bool {
    ["false", "no", "n", "0", "off", "nee", "f", "0.0", "nein", "non", "falsch", "faux"]
        .iter()
        .any(|word| word.eq_ignore_ascii_case(text))
}

/// `text.trim()`, which nearly always is the text itself.
fn trimmed(text: &str) -> &str {
    match text.as_bytes() {
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => text,
        _ => text.trim(),
    }
}

fn default_of(getter: &ValueSource) -> Option<Found<'_>> {
    let text = getter.default.as_deref().map(str::trim).filter(|text| !text.is_empty())?;
    Some(Found { text: Cow::Borrowed(text), place: &getter.key, clear: false })
}

fn place_of(getter: &ValueSource) -> &str {
    match &getter.origin {
        CompiledOrigin::Columns(columns) => columns.first().map_or(&getter.key, |(_, name)| name),
        _ => &getter.key,
    }
}
