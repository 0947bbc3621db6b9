//! JSON lines: one object a line, split into the members that are mapped.
//!
//! Values keep their text: `1.10` and a number of thirty digits are never a
//! float. Members of nested objects have dotted names.

mod layout;
mod lexer;
mod outline;
mod reflow;
mod repair;
mod shape;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::io;
use std::sync::Arc;

use encoding_rs::{Encoding, UTF_8};
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::cells::Cells;
use super::columns::{Columns, SYNC_PREFIX};
use super::error::ExportFault;
use super::export::{Export, Format, Member, ResultCell};
use super::records::Records;
use super::rows::{Row, RowFault, RowReader, RowRef, Skipped};
use super::signatures::FileKind;
use super::text_file::TextFile;
use layout::Layout;
use outline::Outline;
use reflow::CopyFault;
use repair::repaired;
use shape::Shape;

/// The member of a result file that holds, as a text, a line that is no object.
const RAW: &str = "_sync_raw";

pub(super) fn open(mut text: TextFile) -> Result<Export, ExportFault> {
    let start: Vec<u8> =
        text.sample()?.into_iter().filter(|byte| !byte.is_ascii_whitespace()).take(3).collect();
    if start.starts_with(b"{'") || start.starts_with(b"[{'") {
        return Err(ExportFault::NoTable(PYTHON));
    }
    let layout = Layout::new(&Outline::read(text.text_reader())?)?;
    let mut notes = Vec::new();
    if let Layout::Rows(rows) = layout {
        let copied = text.copy_from(0, 1, |from, to| reflow::copy(from, to, &rows))?;
        copied.map_err(|fault| match fault {
            CopyFault::Unended(line) => ExportFault::Unended { line },
            CopyFault::NoList(line) => ExportFault::NoList { line, list: rows.path.join(".") },
        })?;
        text.dialect.line_end = text.dialect.line_end.of_copy();
        notes.extend(rows.note);
    }
    let first = RowRef { number: 1, line: 1, offset: text.start, len: 0, file: None };
    Ok(Export { notes, ..Export::new(text, Box::new(JsonLines), Columns::default(), first) })
}

const PYTHON: FileKind = FileKind {
    name: "what Python prints of its objects, and not JSON",
    remedy: "write each of them by json.dumps",
};

/// An export of JSON lines.
#[derive(Debug)]
struct JsonLines;

impl Format for JsonLines {
    fn reader(&self, export: &Export, from: RowRef) -> Box<dyn RowReader> {
        Box::new(JsonReader {
            records: export.text.records(None, from),
            encoding: export.dialect().encoding,
            columns: Arc::clone(&export.columns),
            shape: Shape::default(),
            no_numbers: 0,
        })
    }

    fn members(&self, export: &Export, at: RowRef) -> io::Result<Vec<Member>> {
        let line = export.row_bytes(at)?;
        let text = decode(&line, export.dialect().encoding).unwrap_or_default();
        let text = repair(&text).map_or(text, |(text, _)| text.into());
        let mut found = Vec::new();
        flatten(&text, None, DEPTH_MAX, Member::Value, &mut found);
        Ok(found)
    }

    fn is_result_file(&self, export: &Export) -> io::Result<bool> {
        if !export.text.contains(SYNC_PREFIX.as_bytes())? {
            return Ok(false);
        }
        // Any line: a person may have removed the results of some.
        let mut records = export.text.records(None, export.first);
        while let Some(record) = records.next()? {
            if record.bytes.is_ok_and(|line| has_results(line, export.dialect().encoding)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn truncation(&self, last: &Row) -> Option<String> {
        // Another fault has its words among the rejected rows.
        let fault = last.fault()?;
        matches!(fault, RowFault::NotAnObject(problem) if problem.starts_with(NO_END))
            .then(|| fault.to_string())
    }

    fn result_extension(&self) -> &'static str {
        "jsonl"
    }

    fn result_row(&self, export: &Export, at: RowRef, results: &[ResultCell]) -> io::Result<Vec<u8>> {
        let line = export.row_bytes(at)?;
        let own = export.dialect().encoding.decode_without_bom_handling(&line).0;
        Ok(export.dialect().encode(with_results(&own, results).as_bytes()))
    }
}

#[derive(Debug)]
struct JsonReader {
    records: Records,
    encoding: &'static Encoding,
    columns: Arc<Columns>,
    shape: Shape,
    no_numbers: u64,
}

impl RowReader for JsonReader {
    fn read(&mut self, row: &mut Row) -> io::Result<bool> {
        let Self { records, encoding, columns, shape, no_numbers } = self;
        let Some(record) = records.next()? else { return Ok(false) };
        // Cells are kept as UTF-8.
        row.fill(record.at, UTF_8, |cells| {
            *no_numbers += split(&decode(record.bytes?, encoding)?, columns, shape, cells)?;
            Ok(())
        });
        Ok(true)
    }

    fn skipped(&self) -> Skipped {
        Skipped { no_numbers: self.no_numbers, ..Skipped::default() }
    }
}

fn decode<'a>(line: &'a [u8], encoding: &'static Encoding) -> Result<Cow<'a, str>, RowFault> {
    if encoding != UTF_8 {
        return Ok(encoding.decode_without_bom_handling(line).0);
    }
    std::str::from_utf8(line).map(Cow::Borrowed).map_err(|error| {
        let byte = error.valid_up_to() + 1;
        RowFault::NotAnObject(format!("byte {byte} is not UTF-8; set encoding in [input]"))
    })
}

/// Splits a line. Returns how many of its numbers are none.
fn split(text: &str, columns: &Columns, shape: &mut Shape, cells: &mut Cells) -> Result<u64, RowFault> {
    if shape.split(text, cells) {
        return Ok(0);
    }
    match parse(text, columns, shape, cells) {
        Err(fault @ RowFault::NotAnObject(_)) => match repair(text) {
            Some((repaired, count)) => parse(&repaired, columns, shape, cells).map(|()| count),
            None => Err(fault),
        },
        result => result.map(|()| 0),
    }
}

/// A line as JSON, if it is none and its meaning is plain.
fn repair(line: &str) -> Option<(String, u64)> {
    repaired(line).filter(|(repaired, _)| all_members(line).is_err() && all_members(repaired).is_ok())
}

/// Finds the cells of a line by the parser.
fn parse(text: &str, columns: &Columns, shape: &mut Shape, cells: &mut Cells) -> Result<(), RowFault> {
    let raw = raw_line(text)?;
    let line = raw.as_deref().unwrap_or(text);
    let mut found = vec![None; columns.names().len()];
    find_cells(line, None, columns, &mut found).map_err(|fault| match raw {
        Some(_) => RowFault::NotAnObject(format!("{fault}; fix the text in {RAW}")),
        None => fault,
    })?;
    shape.learn(columns, || {
        // A key with an escape stands in no line as it is, and the text of a
        // raw line has to be parsed.
        let is_plain = !line.contains('\\') && !line.contains(RAW);
        let members = members(line).ok().filter(|_| is_plain).unwrap_or_default();
        members.into_iter().map(|(key, _)| key.0.into_owned()).collect()
    });
    cells.clear();
    for cell in found {
        cells.push(cell.as_deref().unwrap_or_default().as_bytes());
    }
    Ok(())
}

/// The line that a result file holds as a text. Once it is fixed there, it
/// counts instead of the object around it.
fn raw_line(text: &str) -> Result<Option<String>, RowFault> {
    if !text.contains(RAW) {
        return Ok(None);
    }
    let members = members(text)?;
    let raw = members.iter().find(|(key, _)| key.0 == RAW).and_then(|(_, value)| single(value.get()));
    Ok(raw.filter(|raw| !raw.is_empty()).map(Cow::into_owned))
}

/// The elements of a list.
fn elements(value: &str) -> Option<Vec<&RawValue>> {
    value.starts_with('[').then(|| serde_json::from_str(value).ok()).flatten()
}

/// The texts of a list where an address is mapped. A blank one has none.
fn list_cell<'a>(value: &'a str, name: &str, columns: &Columns, at: usize) -> Result<Cow<'a, str>, RowFault> {
    let not_a_value = || RowFault::NotAValue(name.to_owned());
    let elements = elements(value).ok_or_else(not_a_value)?;
    if !elements.is_empty() && !columns.holds_list(at) {
        return Err(not_a_value());
    }
    let texts = elements.iter().map(|element| single(element.get()).ok_or_else(not_a_value));
    Ok(Cow::Owned(texts.collect::<Result<Vec<_>, _>>()?.join(LIST_SEPARATOR)))
}

/// Between the texts of a list in one cell: no address has it.
pub(crate) const LIST_SEPARATOR: &str = "\u{1f}";

/// Finds the cell of each column in an object that stands at `path`.
fn find_cells<'a>(
    object: &'a str,
    path: Option<&str>,
    columns: &Columns,
    found: &mut [Option<Cow<'a, str>>],
) -> Result<(), RowFault> {
    for (Key(key), value) in members(object)? {
        let name = path.map_or(key.clone(), |path| Cow::Owned(format!("{path}.{key}")));
        let value = value.get();
        if let Some(at) = columns.find(&name) {
            let cell = match single(value) {
                Some(cell) => cell,
                None => list_cell(value, &name, columns, at)?,
            };
            found[at] = Some(cell);
        } else if value.starts_with('[') && has_column_below(columns, &format!("{name}[]")) {
            find_in_list(value, &name, columns, found)?;
        } else if value.starts_with('{') && has_column_below(columns, &name) {
            find_cells(value, Some(&name), columns, found)?;
        }
    }
    Ok(())
}

/// Objects inside objects whose members a proposed configuration may map.
const DEPTH_MAX: usize = 8;

/// Lists the members of an object that stands at `path`, with dotted names.
/// `kind` makes a member of those that are no list and no object.
fn flatten(
    object: &str,
    path: Option<&str>,
    depth: usize,
    kind: fn(String) -> Member,
    found: &mut Vec<Member>,
) {
    for (Key(key), value) in members(object).unwrap_or_default() {
        if path.is_none() && key.starts_with(SYNC_PREFIX) {
            continue;
        }
        let name = path.map_or(key.clone().into_owned(), |path| format!("{path}.{key}"));
        let value = value.get();
        let elements = elements(value).unwrap_or_default();
        let mut objects = elements.iter().map(|element| element.get()).filter(|text| text.starts_with('{'));
        match value.as_bytes().first() {
            Some(b'{') => {
                if depth > 0 {
                    flatten(value, Some(&name), depth - 1, kind, found);
                }
                found.push(Member::Object(name));
            }
            Some(b'[') => match objects.next() {
                None => found.push(Member::List(name)),
                Some(first) if depth > 0 => {
                    let path = format!("{name}[]");
                    for object in std::iter::once(first).chain(objects) {
                        flatten(object, Some(&path), depth - 1, Member::List, found);
                    }
                    found.push(Member::Object(name));
                }
                Some(_) => found.push(Member::Object(name)),
            },
            _ => found.push(kind(name)),
        }
    }
}

/// Finds the cells of columns such as `phones[].number`.
fn find_in_list<'a>(
    value: &'a str,
    name: &str,
    columns: &Columns,
    found: &mut [Option<Cow<'a, str>>],
) -> Result<(), RowFault> {
    let path = format!("{name}[]");
    for element in
        elements(value).unwrap_or_default().into_iter().filter(|value| value.get().starts_with('{'))
    {
        let mut own = vec![None; found.len()];
        find_cells(element.get(), Some(&path), columns, &mut own)?;
        for (at, cell) in own.into_iter().enumerate() {
            let Some(cell) = cell.filter(|cell| !cell.is_empty()) else { continue };
            found[at] = Some(match found[at].take() {
                None => cell,
                Some(_) if !columns.holds_list(at) => {
                    return Err(RowFault::NotAValue(columns.names()[at].clone()));
                }
                Some(before) => Cow::Owned(format!("{before}{LIST_SEPARATOR}{cell}")),
            });
        }
    }
    Ok(())
}

fn has_column_below(columns: &Columns, path: &str) -> bool {
    columns.names().iter().any(|name| name.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// A value that is no list and no object, as text.
fn single(value: &str) -> Option<Cow<'_, str>> {
    match value.as_bytes().first()? {
        b'{' | b'[' => None,
        b'n' => Some(Cow::Borrowed("")),
        b'"' if !value.contains('\\') => Some(Cow::Borrowed(&value[1..value.len() - 1])),
        b'"' => serde_json::from_str(value).ok().map(Cow::Owned),
        _ => Some(Cow::Borrowed(value)),
    }
}

/// Whether a line has members of a result file.
fn has_results(line: &[u8], encoding: &'static Encoding) -> bool {
    // Few lines hold these bytes, and some of those as a value.
    memchr::memmem::find(line, SYNC_PREFIX.as_bytes()).is_some()
        && decode(line, encoding)
            .is_ok_and(|text| all_members(&text).is_ok_and(|members| members.iter().any(is_result)))
}

fn is_result((key, _): &(Key, &RawValue)) -> bool {
    key.0.starts_with(SYNC_PREFIX)
}

/// The row's object with results as further members, instead of those of an
/// earlier result file. A line that is no object is kept as a text.
fn with_results(own: &str, results: &[ResultCell]) -> String {
    let repaired = repair(own).map(|(repaired, _)| repaired);
    let own = repaired.as_deref().unwrap_or(own);
    // A row that is refused for a duplicate key keeps its members, too.
    let own = match all_members(own) {
        Err(_) => format!("\"{RAW}\":{}", Value::from(own)),
        Ok(members) if members.iter().any(is_result) => {
            let own = members.iter().filter(|member| !is_result(member) || member.0.0 == RAW);
            let own = own.map(|(key, value)| format!("{}:{value}", Value::from(&*key.0)));
            own.collect::<Vec<_>>().join(",")
        }
        Ok(_) => {
            let object = own.trim();
            object[1..object.len() - 1].trim_end().to_owned()
        }
    };
    let results = results.iter().filter_map(|(name, value)| {
        let is_blank = value.as_str().is_some_and(str::is_empty);
        (!is_blank).then(|| format!("\"{name}\":{value}"))
    });
    let members: Vec<String> = std::iter::once(own).filter(|own| !own.is_empty()).chain(results).collect();
    format!("{{{}}}", members.join(","))
}

type Members<'a> = Vec<(Key<'a>, &'a RawValue)>;

/// A key, borrowed where it has no escapes.
#[derive(PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

fn members(object: &str) -> Result<Members<'_>, RowFault> {
    let members = all_members(object)?;
    let mut keys = HashSet::with_capacity(members.len());
    match members.iter().find(|(key, _)| !keys.insert(key)) {
        Some((key, _)) => Err(RowFault::DuplicateKey(key.0.to_string())),
        None => Ok(members),
    }
}

/// All members, also those whose key occurs twice.
fn all_members(object: &str) -> Result<Members<'_>, RowFault> {
    let mut reader = serde_json::Deserializer::from_str(object);
    let members = reader.deserialize_map(MembersVisitor).and_then(|members| reader.end().map(|()| members));
    members.map_err(|error| {
        RowFault::NotAnObject(format!("{} at column {}", in_words(object, &error), error.column()))
    })
}

/// What is wrong with a line that was cut.
const NO_END: &str = "the line ends before its closing brace";

/// What the parser means.
fn in_words(object: &str, error: &serde_json::Error) -> String {
    let message = error.to_string();
    // It counts lines inside the text it was given: always the first.
    let reason = message.split(" at line ").next().unwrap_or(&message);
    let words = match reason {
        _ if object.trim_start().starts_with('[') => {
            "it is a list; write an object in its place, or as many values as there are names"
        }
        _ if !object.trim_start().starts_with('{') => "it does not begin with \"{\"",
        "expected value" => "a value is missing, or a text without quotes stands in its place",
        "key must be a string" => "a key has no double quotes",
        "expected `,` or `}`" => {
            "a comma is missing between two members, or a quote in a text has no backslash"
        }
        "expected `:`" => "a colon is missing behind a key",
        "trailing comma" => "a comma stands before the closing brace",
        "trailing characters" => "text follows the closing brace; give each object a line of its own",
        "invalid number" => "a number is malformed",
        "invalid escape" => "a backslash in a text stands before a letter that it cannot escape",
        _ if error.is_eof() => NO_END,
        other => other,
    };
    words.to_owned()
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(map.size_hint().unwrap_or(16));
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cells(line: &str, names: &[&str]) -> Result<Vec<String>, RowFault> {
        let mut columns = Columns::default();
        for name in names {
            columns.require(name).expect("a column");
        }
        let mut found = vec![None; names.len()];
        find_cells(line, None, &columns, &mut found)?;
        Ok(found.into_iter().map(|cell| cell.unwrap_or_default().into_owned()).collect())
    }

    /// The cells of a line after one with the shape `first`, and whether they
    /// were cut without the parser.
    fn after(first: &str, line: &str) -> (Result<Vec<u8>, RowFault>, bool) {
        let mut columns = Columns::default();
        for name in ["a", "b", "c.d"] {
            columns.require(name).expect("a column");
        }
        let (mut shape, mut cells) = (Shape::default(), Cells::default());
        let mut split = |line: &str| {
            let is_cut = shape.split(line, &mut Cells::default());
            let result = super::split(line, &columns, &mut shape, &mut cells);
            (result.map(|_| (0..3).flat_map(|at| [cells.get(at), b"|"].concat()).collect()), is_cut)
        };
        let _ = split(first);
        split(line)
    }

    fn by_parser(line: &str) -> Result<Vec<u8>, RowFault> {
        cells(line, &["a", "b", "c.d"])
            .map(|cells| cells.iter().flat_map(|cell| [cell.as_bytes(), b"|"].concat()).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn a_line_of_a_learned_shape_is_split_as_the_parser_splits_it(
            keys in proptest::sample::subsequence(vec!["a", "b", "c.d", "x", ""], 0..5).prop_shuffle(),
            values in proptest::collection::vec("\"[a ,}{:é]{0,4}\"|-?[01]{0,3}(\\.[0-9]{0,2})?([eE][+-]?[0-9]?)?|true|nul|null|\"\\\\n\"|\\{\\}|\\[\\]|\"\t\"", 5),
            spaces in "[ ]{0,1}", tail in "[ }x]{0,1}", same in proptest::bool::weighted(0.8)
        ) {
            let line = |values: &[String]| {
                let members: Vec<String> =
                    keys.iter().zip(values).map(|(key, value)| format!("\"{key}\"{spaces}:{spaces}{value}")).collect();
                format!("{{{}{spaces}}}", members.join(&format!(",{spaces}")))
            };
            let first = line(&vec!["\"1\"".to_owned(); 5]);
            let other = r#"{"b":"1","a":"1"}"#;
            let line = format!("{}{tail}", line(&values));
            let (found, _) = after(if same { &first } else { other }, &line);
            prop_assert_eq!(found, by_parser(&line), "{}", line);
        }
    }

    #[test]
    fn the_common_shape_is_cut_and_others_are_parsed() {
        let first = r#"{"a":"1","x":null,"b":2}"#;
        for plain in [r#"{"a":"é, }","x":"y","b":-1.5e3}"#, r#"{ "a": "", "x": true, "b": null } "#] {
            assert_eq!(after(first, plain), (by_parser(plain), true), "{plain}");
        }
        for other in [r#"{"a":"\n","x":1,"b":2}"#, r#"{"a":"1","x":[],"b":2}"#, r#"{"a":"1","b":2}"#] {
            assert_eq!(after(first, other), (by_parser(other), false), "{other}");
        }
        for broken in [r#"{"a":"1","x":01,"b":2}"#, r#"{"a":"1","x":1,"b":2}}"#, r#"{"a":"1","x":1,"b":2"#] {
            assert!(after(first, broken).0.is_err(), "{broken}");
        }
    }

    #[test]
    fn a_raw_line_counts_once_it_is_fixed() {
        let raw = |text: &str| format!(r#"{{"_sync_raw":"{text}","_sync_line":3,"b":"no"}}"#);
        let fixed = raw(r#"{\"a\":\"1\",\"b\":2}"#);
        assert_eq!(after(&raw(""), &fixed).0, Ok(b"1|2||".to_vec()));
        // The same whatever was read before.
        for first in [raw(""), fixed, "{}".to_owned()] {
            let (broken, _) = after(&first, &raw("{broken"));
            let message = broken.expect_err("no object").to_string();
            assert!(message.contains("fix the text in _sync_raw"), "{message}");
        }
    }

    #[test]
    fn results_become_members_of_the_rows_own_object() {
        let results = [
            ("_sync_line", 7.into()),
            ("_sync_code", "bad_email".into()),
            ("_sync_field", "".into()),
            ("_sync_message", "no \"@\"".into()),
        ];
        let members = r#""_sync_line":7,"_sync_code":"bad_email","_sync_message":"no \"@\"""#;
        let line = |own: &str| with_results(own, &results);
        assert_eq!(
            line(r#"{"id":1.10, "a":{"b":1} }"#),
            format!(r#"{{"id":1.10, "a":{{"b":1}},{members}}}"#)
        );
        assert_eq!(line("{ }"), format!("{{{members}}}"));
        assert_eq!(line("{broken"), format!(r#"{{"_sync_raw":"{{broken",{members}}}"#));
        // Results of an earlier run are replaced.
        assert_eq!(line(&line(r#"{"id":1.10}"#)), line(r#"{"id":1.10}"#));
        assert_eq!(line(&line("{broken")), line("{broken"));
    }

    #[test]
    fn values_keep_their_text() {
        let line = r#"{"id":12345678901234567890,"n":1.10,"t":"00501","b":true,"z":null,"e":"a\u00e9\n","c":{"d":{"e":"x"}}}"#;
        let found = cells(line, &["id", "n", "t", "b", "z", "e", "c.d.e", "absent"]).expect("an object");
        assert_eq!(found, ["12345678901234567890", "1.10", "00501", "true", "", "aé\n", "x", ""]);
    }

    #[test]
    fn a_line_that_is_no_row_says_why() {
        assert_eq!(cells(r#"{"a":1,"a":2}"#, &["b"]), Err(RowFault::DuplicateKey("a".into())));
        assert_eq!(cells(r#"{"a":[1]}"#, &["a"]), Err(RowFault::NotAValue("a".into())));
        assert!(matches!(cells(r#"{"a":1"#, &["a"]), Err(RowFault::NotAnObject(_))));
        assert!(matches!(cells("[1]", &["a"]), Err(RowFault::NotAnObject(_))));
        assert!(matches!(cells(r#"{"a":1} x"#, &["a"]), Err(RowFault::NotAnObject(_))));
        assert_eq!(cells(r#"{"other":[1,{"a":2}],"a":"3"}"#, &["a"]).expect("a row"), ["3"]);
    }
}
