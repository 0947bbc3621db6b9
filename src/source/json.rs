//! One line of JSON lines, split into the cells that are wanted.
//!
//! Values stay the text they are: `1.10` and a number of thirty digits are
//! never a float. Members of nested objects have dotted names.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use encoding_rs::{Encoding, UTF_8};
use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::columns::{Columns, SYNC_PREFIX};
use super::rows::{Cells, RowFault};

/// The member of a result file's object that holds a line which is none.
const RAW: &str = "_sync_raw";

pub(super) fn split(
    line: &[u8],
    encoding: &'static Encoding,
    columns: &Columns,
    shape: &mut Shape,
    cells: &mut Cells,
) -> Result<(), RowFault> {
    let text = text_of(line, encoding)?;
    let text = text.as_ref();
    if shape.split(text, cells) {
        return Ok(());
    }
    let held = held_line(text)?;
    let line = held.as_deref().unwrap_or(text);
    let mut found = vec![None; columns.names().len()];
    walk(line, None, columns, &mut found).map_err(|fault| match held {
        Some(_) => RowFault::NotAnObject(format!("{fault}: mend the text in {RAW}, where it stands")),
        None => fault,
    })?;
    shape.learn(line, columns);
    cells.clear();
    for cell in found {
        cells.push(cell.as_deref().unwrap_or_default().as_bytes());
    }
    Ok(())
}

fn text_of<'a>(line: &'a [u8], encoding: &'static Encoding) -> Result<Cow<'a, str>, RowFault> {
    if encoding != UTF_8 {
        return Ok(encoding.decode_without_bom_handling(line).0);
    }
    std::str::from_utf8(line).map(Cow::Borrowed).map_err(|error| {
        RowFault::NotAnObject(format!(
            "byte {} is not UTF-8; name the encoding in [input]",
            error.valid_up_to() + 1
        ))
    })
}

/// The keys that lines have, in their order: the same from line to line in
/// nearly every export. A line of that shape, whose values hold no list, no
/// object and no escape, is cut at its quotes without a parser. Only saves
/// time: a test holds it against the parser.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Keys without escapes, and the columns they fill.
    members: Vec<(String, Option<usize>)>,
    /// Where the cell of each column stands in the line.
    places: Vec<(usize, usize)>,
    /// Lines of another shape.
    others: u32,
}

/// A shape is learnt anew after so many lines that are not of it, since that
/// costs about as much as to parse one.
const LEARN_AFTER: u32 = 64;

impl Shape {
    fn learn(&mut self, text: &str, columns: &Columns) {
        self.others = (self.others + 1) % LEARN_AFTER;
        if !self.members.is_empty() && self.others > 0 {
            return;
        }
        // A key with an escape stands in no line as it is, and what is held in
        // a line as a text is to be looked at.
        let is_plain = !text.contains('\\') && !text.contains(RAW);
        let members = members(text).ok().filter(|_| is_plain).unwrap_or_default();
        let columns_of = members.iter().map(|(key, _)| (key.clone().into_owned(), columns.find(key)));
        self.members = columns_of.collect();
        self.places = vec![(0, 0); columns.names().len()];
    }

    /// Splits a line of this shape; `false` if it is of another one.
    fn split(&mut self, text: &str, cells: &mut Cells) -> bool {
        let Self { members, places, .. } = self;
        let is_plain =
            |bytes: &[u8]| !bytes.iter().fold(false, |odd, byte| odd | (*byte < b' ') | (*byte == b'\\'));
        if members.is_empty() || !is_plain(text.as_bytes()) {
            return false;
        }
        places.fill((0, 0));
        let mut line = Line { text: text.as_bytes(), at: 0 };
        let mut before = b'{';
        for (key, column) in &*members {
            let Some((from, to)) = line.member(before, key) else { return false };
            if let Some(place) = column.and_then(|column| places.get_mut(column)) {
                *place = (from, to);
            }
            before = b',';
        }
        if line.take(b'}').is_none() || line.spaces() != text.len() {
            return false;
        }
        cells.clear();
        places.iter().for_each(|(from, to)| cells.push(&text.as_bytes()[*from..*to]));
        true
    }
}

/// A place in a line.
struct Line<'a> {
    text: &'a [u8],
    at: usize,
}

impl Line<'_> {
    /// Steps over spaces; says where that ends.
    fn spaces(&mut self) -> usize {
        while self.text.get(self.at) == Some(&b' ') {
            self.at += 1;
        }
        self.at
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        let at = self.spaces();
        self.at += 1;
        (self.text.get(at) == Some(&byte)).then_some(())
    }

    /// A member with this key behind `before`: where its value stands, without quotes.
    fn member(&mut self, before: u8, key: &str) -> Option<(usize, usize)> {
        self.take(before)?;
        self.take(b'"')?;
        let behind = self.text[self.at..].strip_prefix(key.as_bytes())?;
        self.at = self.text.len() - behind.len();
        if behind.first() != Some(&b'"') {
            return None;
        }
        self.at += 1;
        self.take(b':')?;
        let from = self.spaces();
        match self.text.get(from)? {
            b'"' => {
                let to = from + 1 + memchr::memchr(b'"', &self.text[from + 1..])?;
                self.at = to + 1;
                Some((from + 1, to))
            }
            _ => {
                let len = memchr::memchr3(b',', b'}', b' ', &self.text[from..])?;
                self.at = from + len;
                match &self.text[from..self.at] {
                    b"null" => Some((from, from)),
                    b"true" | b"false" => Some((from, self.at)),
                    number => is_number(number).then_some((from, self.at)),
                }
            }
        }
    }
}

/// RFC 8259, section 6.
fn is_number(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(text);
    if whole == 0 || whole > 1 && text[0] == b'0' {
        return false;
    }
    let mut rest = &text[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let len = digits(fraction);
        if len == 0 {
            return false;
        }
        rest = &fraction[len..];
    }
    let Some(exponent) = rest.strip_prefix(b"e").or(rest.strip_prefix(b"E")) else { return rest.is_empty() };
    let exponent = exponent.strip_prefix(b"+").or(exponent.strip_prefix(b"-")).unwrap_or(exponent);
    !exponent.is_empty() && digits(exponent) == exponent.len()
}

/// The line that stands in a result file as a text, since it could not be read:
/// mended there, it counts instead of what is around it.
fn held_line(text: &str) -> Result<Option<String>, RowFault> {
    if !text.contains(RAW) {
        return Ok(None);
    }
    let members = members(text)?;
    let held = members.iter().find(|(key, _)| key == RAW).and_then(|(_, value)| plain(value.get()));
    Ok(held.filter(|held| !held.is_empty()).map(Cow::into_owned))
}

fn walk<'a>(
    text: &'a str,
    path: Option<&str>,
    columns: &Columns,
    found: &mut [Option<Cow<'a, str>>],
) -> Result<(), RowFault> {
    for (key, value) in members(text)? {
        let name = path.map_or(key.clone(), |path| Cow::Owned(format!("{path}.{key}")));
        let raw = value.get();
        if let Some(at) = columns.find(&name) {
            found[at] = Some(plain(raw).ok_or_else(|| RowFault::NotAValue(name.clone().into_owned()))?);
        } else if raw.starts_with('{') && columns.wants_below(&name) {
            walk(raw, Some(&name), columns, found)?;
        }
    }
    Ok(())
}

/// Whether a line has members that a result file added.
pub(super) fn has_results(line: &[u8], encoding: &'static Encoding) -> bool {
    // Few lines hold these bytes, and some of those as a value.
    memchr::memmem::find(line, SYNC_PREFIX.as_bytes()).is_some() && without_results(line, encoding).is_some()
}

/// An object without the members that an earlier result file added; `None` if
/// it has none of them, or is no object.
pub(super) fn without_results(line: &[u8], encoding: &'static Encoding) -> Option<Vec<u8>> {
    let text = text_of(line, encoding).ok()?;
    // Also of a row that is refused for having a key twice.
    let members = all_members(&text).ok()?;
    if !members.iter().any(|(key, _)| key.starts_with(SYNC_PREFIX)) {
        return None;
    }
    let own: Vec<String> = members
        .iter()
        .filter(|(key, _)| !key.starts_with(SYNC_PREFIX) || key == RAW)
        .map(|(key, value)| format!("{}:{}", serde_json::Value::from(key.as_ref()), value.get()))
        .collect();
    Some(encoding.encode(&format!("{{{}}}", own.join(","))).0.into_owned())
}

/// A value that is no list and no object, as text.
fn plain(raw: &str) -> Option<Cow<'_, str>> {
    match raw.as_bytes().first()? {
        b'{' | b'[' => None,
        b'n' => Some(Cow::Borrowed("")),
        b'"' if !raw.contains('\\') => Some(Cow::Borrowed(&raw[1..raw.len() - 1])),
        b'"' => serde_json::from_str(raw).ok().map(Cow::Owned),
        _ => Some(Cow::Borrowed(raw)),
    }
}

type Members<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

fn all_members(text: &str) -> Result<Members<'_>, RowFault> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let members = reader.deserialize_map(MembersVisitor).map_err(not_an_object)?;
    reader.end().map_err(not_an_object)?;
    Ok(members)
}

fn members(text: &str) -> Result<Members<'_>, RowFault> {
    let members = all_members(text)?;
    let mut seen = HashSet::with_capacity(members.len());
    match members.iter().find(|(key, _)| !seen.insert(key.as_ref())) {
        Some((key, _)) => Err(RowFault::DuplicateKey(key.clone().into_owned())),
        None => Ok(members),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn not_an_object(error: serde_json::Error) -> RowFault {
    // serde_json counts lines inside the text it was given: always the first.
    let message = error.to_string();
    let reason = message.split(" at line ").next().unwrap_or(&message);
    RowFault::NotAnObject(format!("{reason} at column {}", error.column()))
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(map.size_hint().unwrap_or(16));
        while let Some(Key(key)) = map.next_key()? {
            members.push((key, map.next_value()?));
        }
        Ok(members)
    }
}

/// A key, borrowed where it has no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Key<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;
            fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
                out.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(key)))
            }
            fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        reader.deserialize_str(KeyVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cells(line: &str, wanted: &[&str]) -> Result<Vec<String>, RowFault> {
        let mut columns = Columns::of_json();
        for name in wanted {
            columns.want(name).expect("a column");
        }
        let mut found = vec![None; wanted.len()];
        walk(line, None, &columns, &mut found)?;
        Ok(found.into_iter().map(|cell| cell.unwrap_or_default().into_owned()).collect())
    }

    /// The cells of a line behind one with the shape `first`, and whether they
    /// were cut without the parser.
    fn behind(first: &str, line: &str) -> (Result<Vec<u8>, RowFault>, bool) {
        let mut columns = Columns::of_json();
        for name in ["a", "b", "c.d"] {
            columns.want(name).expect("a column");
        }
        let (mut shape, mut cells) = (Shape::default(), Cells::default());
        let mut split = |line: &str| {
            let others = shape.others;
            let result = super::split(line.as_bytes(), encoding_rs::UTF_8, &columns, &mut shape, &mut cells);
            let all = (0..3).flat_map(|at| [cells.get(at), b"|"].concat()).collect();
            (result.map(|()| all), shape.others == others && !shape.members.is_empty())
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
        fn a_line_of_the_known_shape_is_split_as_the_parser_splits_it(
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
            let (found, _) = behind(if same { &first } else { other }, &line);
            prop_assert_eq!(found, by_parser(&line), "{}", line);
        }
    }

    #[test]
    fn the_common_shape_is_cut_and_others_are_parsed() {
        let first = r#"{"a":"1","x":null,"b":2}"#;
        for plain in [r#"{"a":"é, }","x":"y","b":-1.5e3}"#, r#"{ "a": "", "x": true, "b": null } "#] {
            assert_eq!(behind(first, plain), (by_parser(plain), true), "{plain}");
        }
        for other in [r#"{"a":"\n","x":1,"b":2}"#, r#"{"a":"1","x":[],"b":2}"#, r#"{"a":"1","b":2}"#] {
            assert_eq!(behind(first, other), (by_parser(other), false), "{other}");
        }
        for broken in [r#"{"a":"1","x":01,"b":2}"#, r#"{"a":"1","x":1,"b":2}}"#, r#"{"a":"1","x":1,"b":2"#] {
            assert!(behind(first, broken).0.is_err(), "{broken}");
        }
    }

    #[test]
    fn a_line_held_as_a_text_counts_once_it_is_mended() {
        let held = |text: &str| format!(r#"{{"_sync_raw":"{text}","_sync_line":3,"b":"no"}}"#);
        let mended = held(r#"{\"a\":\"1\",\"b\":2}"#);
        assert_eq!(behind(&held(""), &mended).0, Ok(b"1|2||".to_vec()));
        // The same whatever was read before.
        for first in [held(""), mended, "{}".to_owned()] {
            let (broken, _) = behind(&first, &held("{broken"));
            let said = broken.expect_err("no object").to_string();
            assert!(said.contains("mend the text in _sync_raw"), "{said}");
        }
    }

    #[test]
    fn values_keep_their_text() {
        let line = r#"{"id":12345678901234567890,"n":1.10,"t":"00501","b":true,"z":null,"e":"a\u00e9\n","c":{"d":{"e":"x"}}}"#;
        let found = cells(line, &["id", "n", "t", "b", "z", "e", "c.d.e", "missing"]).expect("an object");
        assert_eq!(found, ["12345678901234567890", "1.10", "00501", "true", "", "aé\n", "x", ""]);
    }

    #[test]
    fn what_is_no_row_says_why() {
        assert_eq!(cells(r#"{"a":1,"a":2}"#, &["b"]), Err(RowFault::DuplicateKey("a".into())));
        assert_eq!(cells(r#"{"a":[1]}"#, &["a"]), Err(RowFault::NotAValue("a".into())));
        assert!(matches!(cells(r#"{"a":1"#, &["a"]), Err(RowFault::NotAnObject(_))));
        assert!(matches!(cells("[1]", &["a"]), Err(RowFault::NotAnObject(_))));
        assert!(matches!(cells(r#"{"a":1} x"#, &["a"]), Err(RowFault::NotAnObject(_))));
        assert_eq!(cells(r#"{"other":[1,{"a":2}],"a":"fine"}"#, &["a"]).expect("fine"), ["fine"]);
    }
}
