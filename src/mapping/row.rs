//! One row through a compiled mapping.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;

use rlibphonenumber::enums::Region;

use super::addresses::{Channel, DraftAddress};
use super::blanks::{CellMeaning, parse_bool};
use super::expressions::{Expression, RowObject};
use super::intent::{Customer, Draft, FieldName, Intent, PrimaryId, PurgeReason, Warning};
use super::mapping::{Mapping, RegionSource, ValueOrigin, ValueSource, ValueTable};
use super::operation::Operation;
use super::rejection::{Rejection, RejectionCode, RowResult};
use super::settings::{InvalidAddress, SentOn};
use super::{countries, names, null_words, phone, separators};
use crate::source::{LIST_SEPARATOR, Row};

/// The customer and the operation of a row, as far as they can be read. Skipped
/// and rejected rows have one, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowIdentity {
    pub(crate) customer: Option<Customer>,
    pub(crate) operation: Option<Operation>,
}

/// Why a row must not take back the work of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UndoProblem {
    OtherId,
    UnknownRun,
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

    /// A purge of the row's customer, whatever the row itself asks for.
    pub(crate) fn purge_draft<'a>(&'a self, row: &'a Row) -> RowResult<Draft<'a>> {
        RowMapper::new(self, row)?.customer_draft(Operation::Purge)
    }

    /// The brand and the id of the row's customer, if both can be read.
    pub fn customer_of<'a>(&'a self, row: &'a Row) -> Option<(u64, Cow<'a, str>)> {
        let mut mapper = RowMapper::new(self, row).ok()?;
        let primary_id = mapper.primary_id().ok()?;
        Some((mapper.brand_id().ok()?, primary_id))
    }

    /// The brand, if it is the same of all rows.
    pub(super) fn find_constant_brand(&self) -> Option<u64> {
        let is_constant = matches!(self.brand_id.origins[..], [ValueOrigin::Constant(_)]);
        RowMapper::new(self, &Row::default()).ok().filter(|_| is_constant)?.brand_id().ok()
    }

    /// The id of the row's customer, if it can be read.
    pub(crate) fn primary_id_of<'a>(&'a self, row: &'a Row) -> Option<Cow<'a, str>> {
        RowMapper::new(self, row).ok()?.primary_id().ok()
    }

    /// Refuses an id that several rows have, and that programs give to everybody
    /// without one.
    pub(crate) fn reject_placeholder_of_many(&self, id: &str) -> Box<Rejection> {
        let (place, origin) = match self.primary_id.origins.first() {
            Some(ValueOrigin::Column(column)) => (self.columns.names()[*column].as_str(), OriginKind::Column),
            _ => (self.primary_id.key.as_str(), OriginKind::Setting),
        };
        let value = SourceValue { text: Cow::Borrowed(id), place, origin, is_clear: false };
        reject_placeholder(&value, "several rows have this id, which stands for nobody")
    }

    /// Refuses a row that takes back the work of a run, and is not what was written.
    pub(crate) fn reject_undo(&self, id: &str, problem: UndoProblem) -> Box<Rejection> {
        let (code, message) = match problem {
            UndoProblem::OtherId => (
                RejectionCode::ChangedId,
                "the row takes back a customer, and _sync_id does not hold the same id",
            ),
            UndoProblem::UnknownRun => (
                RejectionCode::UnknownRun,
                "the row takes back what a run has created, and this checkpoint has no such run",
            ),
        };
        let hint = "nothing is purged by it; write the file anew with `undo`, and run it as it is";
        Rejection::new(code, message, hint).at(self.id_column(), id)
    }

    fn id_column(&self) -> &str {
        match self.primary_id.origins.first() {
            Some(ValueOrigin::Column(column)) => &self.columns.names()[*column],
            _ => &self.primary_id.key,
        }
    }

    /// Refuses a row of a result file that was written for another id than it has
    /// now: a spreadsheet makes `501` of `000501`.
    pub(crate) fn check_unchanged_id(&self, row: &Row, before: &str) -> RowResult<()> {
        let mut mapper = RowMapper::new(self, row)?;
        let value = mapper.value(&self.primary_id)?.unwrap_or_else(|| mapper.no_value(&self.primary_id));
        if PrimaryId::clean(&value.text) == before {
            return Ok(());
        }
        let message = "the row was written for another id, and a spreadsheet may have changed it";
        let hint = "put the old id back, which _sync_id has behind id:, or empty the cell _sync_id to accept the change";
        let text = format!("{} (was {before})", value.text);
        Err(Rejection::new(RejectionCode::ChangedId, message, hint).at(value.place, &text))
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
    origin: OriginKind,
    /// Whether it asks to empty the field.
    is_clear: bool,
}

/// Whether a value is a cell as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OriginKind {
    Column,
    /// A template or a constant.
    Setting,
}

impl SourceValue<'_> {
    fn reject(
        &self,
        code: RejectionCode,
        message: impl Into<String>,
        hint: impl Into<Cow<'static, str>>,
    ) -> Box<Rejection> {
        Rejection::new(code, message, hint).at(self.place, &self.text)
    }

    /// The column in a template.
    fn variable(&self) -> String {
        let is_identifier = |text: &str| {
            !text.starts_with(|letter: char| letter.is_ascii_digit())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let place = self.place.replace('\\', "\\\\").replace('\'', "\\'");
        if is_identifier(&place) { place } else { format!("row['{place}']") }
    }
}

impl ValueTable {
    fn reject(&self, key: &str, value: &SourceValue) -> Box<Rejection> {
        let mut entries = self.entries.keys();
        let message = match entries.find(|entry| entry.to_lowercase() == value.text.to_lowercase()) {
            Some(entry) => format!("map has this value only as {entry:?}"),
            None => "map does not have this value".to_owned(),
        };
        let hint =
            format!("add the value to map of {key}, fix the cell, or set default there for all other values");
        value.reject(RejectionCode::UnknownValue, message, hint)
    }
}

/// Refuses ids that a program has damaged, and those that stand for nobody.
fn check_id(value: &SourceValue, id: &str) -> RowResult<()> {
    if phone::is_rounded(id) {
        let message = "a spreadsheet has rounded the id, so that several customers would share it";
        return Err(value.reject(RejectionCode::DamagedId, message, phone::ROUNDED_HINT));
    }
    // What a template makes is meant.
    if value.origin == OriginKind::Column
        && let Some(decimals) = zero_decimals(id)
    {
        let message = "a program has made a decimal number of the id";
        let (variable, len) = (value.variable(), decimals.len());
        let hint = format!(
            "cut it with primary_id = {{ template = \"{{{{ {variable}[:-{len}] if {variable} is endingwith('{decimals}') else {variable} }}}}\" }}; if ids are written so, use \"{{{{ {variable} }}}}\""
        );
        return Err(value.reject(RejectionCode::DamagedId, message, hint));
    }
    if null_words::is_placeholder_id(id) {
        return Err(reject_placeholder(
            value,
            "the id is a word for no value, which several customers would share",
        ));
    }
    Ok(())
}

fn reject_placeholder(value: &SourceValue, message: &str) -> Box<Rejection> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\'' | b'"' | b'\\');
    let example = if value.text.bytes().all(is_plain) { value.text.as_ref() } else { "…" };
    let hint = match value.origin {
        OriginKind::Column => format!(
            "fix the cell, map another column to customer.primary_id, or leave such rows out with a rule: when = \"{} == '{example}'\", then = \"skip\"",
            value.variable()
        ),
        OriginKind::Setting => {
            "fix the template of customer.primary_id, or leave such rows out with a rule".to_owned()
        }
    };
    value.reject(RejectionCode::PlaceholderId, message, hint)
}

/// `.0` of an id that is a whole number with decimals.
fn zero_decimals(id: &str) -> Option<&str> {
    // Most ids do not end like this.
    let number = id.strip_suffix('0')?.trim_end_matches('0');
    let whole = number.strip_suffix(['.', ','])?;
    let is_number = !whole.is_empty() && whole.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| &id[whole.len()..])
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
        let mut draft = self.customer_draft(operation)?;
        // Nothing else of a purge's row is sent, or has to be right.
        if operation == Operation::Purge {
            return Ok(Some(draft));
        }
        self.add_fields(&mut draft)?;
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

    /// With nothing but the customer.
    fn customer_draft(&mut self, operation: Operation) -> RowResult<Draft<'a>> {
        Ok(Draft {
            row: self.row,
            primary_id: self.primary_id()?,
            brand_id: self.brand_id()?,
            operation,
            fields: Vec::new(),
            create_fields: Vec::new(),
            addresses: Vec::new(),
            ticket_id: None,
            no_sync: false,
            warnings: mem::take(&mut self.warnings),
            reason: PurgeReason::Export,
        })
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
        let ambiguous = condition.ambiguous_cells(&self.mapping.columns, &self.mapping.apostrophes, self.row);
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
        let value = match self.value(source)? {
            Some(value) => value,
            None => self.blank_id(source)?,
        };
        let id = PrimaryId::clean(&value.text);
        let hint =
            "every row needs the customer's id: fill the cell, or map another column to customer.primary_id";
        PrimaryId::check(&id).map_err(|reason| value.reject(RejectionCode::BlankId, reason, hint))?;
        check_id(&value, &id)?;
        if id.len() == value.text.len() {
            return Ok(value.text);
        }
        self.warnings.push(Warning::CleanedId);
        Ok(id.into_owned().into())
    }

    /// A blank id. A word that stands for nobody is no blank, though `blank` may have
    /// it: the guard counts such rows.
    fn blank_id(&self, source: &'a ValueSource) -> RowResult<SourceValue<'a>> {
        if let Some(ValueOrigin::Column(column)) = source.origins.first() {
            let (text, place) = (self.cell(*column)?, self.name_of(*column));
            let value = SourceValue { text, place, origin: OriginKind::Column, is_clear: false };
            if !value.text.is_empty() {
                check_id(&value, &PrimaryId::clean(&value.text))?;
            }
        }
        Ok(self.no_value(source))
    }

    fn brand_id(&mut self) -> RowResult<u64> {
        if let Some(brand_id) = self.mapping.constant_brand {
            return Ok(brand_id);
        }
        let source = &self.mapping.brand_id;
        self.number(source)?.ok_or_else(|| {
            let hint = match source.table {
                None => "fill the cell, or set brand_id = { column = \"…\", default = 1 }",
                Some(_) => "fill the cell, or add \"\" = 1 to map of customer.brand_id, for blank cells",
            };
            self.no_value(source).reject(RejectionCode::BadNumber, "the brand is blank", hint)
        })
    }

    fn add_fields(&mut self, draft: &mut Draft<'a>) -> RowResult<()> {
        let mapping = self.mapping;
        draft.fields = Vec::with_capacity(mapping.fields.len());
        for (name, source) in &mapping.fields {
            let value = match name {
                FieldName::Custom(_) => self.first_value(source)?,
                FieldName::First | FieldName::Last => self.first_person_value(source)?,
            };
            let Some(value) = value else { continue };
            let text = match name {
                _ if value.is_clear => None,
                FieldName::Custom(_) => Some(value.text),
                FieldName::First | FieldName::Last if source.is_whole_name => {
                    let (first, last) = names::split(&value.text);
                    let part = if *name == FieldName::First { first } else { last };
                    let Some(part) = part else { continue };
                    Some(self.name(SourceValue { text: part.into(), ..value })?)
                }
                FieldName::First | FieldName::Last => Some(self.name(value)?),
            };
            match source.on {
                SentOn::Change => draft.fields.push((name, text)),
                SentOn::Create => draft.create_fields.push((name, text)),
            }
        }
        Ok(())
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
        let mut addresses: Vec<DraftAddress> = Vec::with_capacity(mapping.addresses.len());
        for (channel, source) in &mapping.addresses {
            let (mut has_value, mut region) = (false, None);
            for origin in &source.origins {
                if has_value && matches!(origin, ValueOrigin::Default(_)) {
                    continue;
                }
                let value = self.person_value_of(origin, &source.key)?;
                let Some(value) = value.filter(|value| !value.is_clear) else { continue };
                has_value = true;
                let region = match region {
                    Some(region) => region,
                    None => *region.insert(self.region(&source.region)?),
                };
                let mut add = |text: Cow<'a, str>| {
                    // A rejection shows the original text.
                    match region.parse(*channel, text.clone()) {
                        Ok(address) if addresses.iter().any(|other| other.is_same_as(&address)) => {}
                        Ok(address) => {
                            if *channel == Channel::Telephone && region.drops_extension(&text) {
                                self.warnings.push(Warning::DroppedExtension);
                            }
                            addresses.push(address);
                        }
                        Err(_) if source.invalid == InvalidAddress::Drop => {
                            self.warnings.push(Warning::DroppedAddress);
                        }
                        Err(rejection) => return Err(rejection.at(value.place, &text)),
                    }
                    Ok(())
                };
                let Some(texts) = split_cell(&value.text, source.split.as_deref()) else {
                    add(value.text)?;
                    continue;
                };
                for text in texts {
                    if mapping.blanks.meaning(&text) == CellMeaning::Value {
                        add(text.into())?;
                    }
                }
            }
        }
        Ok(addresses)
    }

    /// The region of the row's national telephone numbers.
    fn region(&mut self, source: &'a RegionSource) -> RowResult<RowRegion<'a>> {
        let Some(column) = &source.column else { return Ok(RowRegion::Fixed(source.fixed)) };
        let value = self.value_of(column, "region_column")?.filter(|value| !value.is_clear);
        let column = match column {
            ValueOrigin::Column(column) => self.name_of(*column),
            _ => "",
        };
        Ok(match value.map(|value| countries::find(&value.text)) {
            None if source.fixed.is_none() => RowRegion::Blank { column },
            None => RowRegion::Fixed(source.fixed),
            Some(None) => RowRegion::Unknown { column },
            Some(region) => RowRegion::Fixed(region),
        })
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
        for origin in &source.origins {
            let value = self.value_of(origin, &source.key)?;
            if value.is_some() {
                return self.translate(source, value);
            }
        }
        self.translate(source, None)
    }

    /// The first value that a person can have.
    fn first_person_value(&mut self, source: &'a ValueSource) -> RowResult<Option<SourceValue<'a>>> {
        for origin in &source.origins {
            let value = self.person_value_of(origin, &source.key)?;
            if value.is_some() {
                return self.translate(source, value);
            }
        }
        self.translate(source, None)
    }

    /// The value that the field's table has for the export's.
    fn translate(
        &self,
        source: &'a ValueSource,
        found: Option<SourceValue<'a>>,
    ) -> RowResult<Option<SourceValue<'a>>> {
        let Some(table) = &source.table else { return Ok(found) };
        if found.as_ref().is_some_and(|value| value.is_clear) {
            return Ok(found);
        }
        let text = match (table.entries.get(found.as_ref().map_or("", |value| &value.text)), found) {
            (Some(text), _) => text,
            (None, None) => return Ok(None),
            (None, Some(value)) => table.default.as_ref().ok_or_else(|| table.reject(&source.key, &value))?,
        };
        Ok(self.meant(Cow::Borrowed(text), &source.key, OriginKind::Setting))
    }

    /// Nobody is called `NULL`, or has the address `#N/A`.
    fn person_value_of(
        &mut self,
        origin: &'a ValueOrigin,
        key: &'a str,
    ) -> RowResult<Option<SourceValue<'a>>> {
        let value = self.value_of(origin, key)?;
        if value.as_ref().is_some_and(|value| !value.is_clear && null_words::is_null_word(&value.text)) {
            self.warnings.push(Warning::NullWord);
            return Ok(None);
        }
        Ok(value)
    }

    fn value_of(&mut self, origin: &'a ValueOrigin, key: &'a str) -> RowResult<Option<SourceValue<'a>>> {
        let kind = OriginKind::Setting;
        let text = match origin {
            // Nearly all.
            ValueOrigin::Column(column) => {
                return Ok(self.meant(self.cell(*column)?, self.name_of(*column), OriginKind::Column));
            }
            ValueOrigin::Constant(text) => Cow::Borrowed(text.as_str()),
            ValueOrigin::Template(template) => Cow::Owned(self.text_of(template)?.trim().to_owned()),
            ValueOrigin::Default(text) => {
                let text = Cow::Borrowed(text.as_str());
                return Ok(Some(SourceValue { text, place: key, origin: kind, is_clear: false }));
            }
        };
        Ok(self.meant(text, key, kind))
    }

    /// The value that a text stands for, if it is not blank.
    fn meant(&self, text: Cow<'a, str>, place: &'a str, origin: OriginKind) -> Option<SourceValue<'a>> {
        let meaning = self.mapping.blanks.meaning(&text);
        let is_clear = meaning == CellMeaning::Clear;
        (meaning != CellMeaning::Blank).then_some(SourceValue { text, place, origin, is_clear })
    }

    /// A blank in place of a required value, for messages.
    fn no_value(&self, source: &'a ValueSource) -> SourceValue<'a> {
        let place = match source.origins.first() {
            Some(ValueOrigin::Column(column)) => self.name_of(*column),
            _ => &source.key,
        };
        SourceValue { text: Cow::Borrowed(""), place, origin: OriginKind::Setting, is_clear: false }
    }

    fn name_of(&self, column: usize) -> &'a str {
        &self.mapping.columns.names()[column]
    }

    /// The text of a cell, trimmed and unwrapped.
    fn cell(&self, column: usize) -> RowResult<Cow<'a, str>> {
        self.mapping.apostrophes.read(self.row, column).map_err(|bad| {
            let message = format!("the cell is not {}", bad.encoding);
            let hint = "set encoding in [input], perhaps \"windows-1252\"; a \u{FFFD} in the export itself is a letter that an earlier program lost";
            let rejection = Rejection::new(RejectionCode::BadEncoding, message, hint);
            let value = String::from_utf8_lossy(self.row.bytes(column));
            rejection.at(self.name_of(column), &value)
        })
    }

    fn text_of(&mut self, expression: &Expression) -> RowResult<String> {
        self.render(expression, BTreeSet::new()).map_err(|error| {
            let hint = "fix the template or the cells that it uses; where a key may be missing, write | default('') behind it";
            Rejection::new(RejectionCode::BadTemplate, error, hint)
        })
    }

    fn render(&mut self, expression: &Expression, ignored: BTreeSet<String>) -> Result<String, String> {
        let row = Arc::clone(self.row_copy.get_or_insert_with(|| Arc::new(self.row.clone())));
        let Mapping { columns, blanks, apostrophes, expressions, .. } = self.mapping;
        let (columns, blanks, apostrophes) =
            (Arc::clone(columns), Arc::clone(blanks), Arc::clone(apostrophes));
        let (parents, prefix) = (Arc::clone(&expression.parents), String::new());
        let row = RowObject { row, columns, blanks, apostrophes, ignored, parents, prefix };
        expressions.render(expression, row)
    }
}

/// The texts of a cell that holds several: of a list, or between separators.
fn split_cell(cell: &str, separator: Option<&str>) -> Option<Vec<String>> {
    if separator.is_none() && !cell.contains(LIST_SEPARATOR) {
        return None;
    }
    let parts = |text| match separator {
        Some(separator) => separators::split(text, separator).map(str::to_owned).collect(),
        None => vec![text.trim().to_owned()],
    };
    let texts: Vec<String> = cell.split(LIST_SEPARATOR).flat_map(parts).collect();
    (texts.len() > 1).then_some(texts)
}

/// The region of a row's national telephone numbers, or why there is none.
#[derive(Debug, Clone, Copy)]
enum RowRegion<'a> {
    Fixed(Option<Region>),
    /// The cell that names it is blank.
    Blank {
        column: &'a str,
    },
    /// The cell names no known country.
    Unknown {
        column: &'a str,
    },
}

impl RowRegion<'_> {
    /// Whether the number ends with an extension, which is left out.
    fn drops_extension(self, text: &str) -> bool {
        let region = if let Self::Fixed(region) = self { region } else { None };
        phone::has_extension(text, region)
    }

    fn parse<'t>(self, channel: Channel, text: Cow<'t, str>) -> RowResult<DraftAddress<'t>> {
        let (reason, column) = match self {
            Self::Fixed(region) => return DraftAddress::parse(channel, text, region),
            Self::Blank { column } => ("is blank", column),
            Self::Unknown { column } => ("names no known country", column),
        };
        let is_national = !text.starts_with('+');
        DraftAddress::parse(channel, text, None).map_err(|rejection| {
            if !is_national || !phone::needs_region(&rejection) {
                return rejection;
            }
            let message = format!("the number has no country code, and {column:?} of this row {reason}");
            Rejection::new(RejectionCode::BadPhone, message, REGION_HINT)
        })
    }
}

const REGION_HINT: &str = "write the number with + and its country code, or give the row a country by name (English, Dutch, German, French) or ISO code";
