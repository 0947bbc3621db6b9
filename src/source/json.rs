//! One line of JSON lines, split into the cells that are wanted.
//!
//! Values stay the text they are: `1.10` and a number of thirty digits are
//! never a float. Members of nested objects have dotted names.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::columns::{Columns, SYNC_PREFIX};
use super::rows::{Cells, Malformed};

pub(super) fn split(
    line: &[u8],
    encoding: &'static encoding_rs::Encoding,
    columns: &Columns,
    cells: &mut Cells,
) -> Result<(), Malformed> {
    let decoded;
    let text = if encoding == encoding_rs::UTF_8 {
        std::str::from_utf8(line)
    } else {
        decoded = encoding.decode_without_bom_handling(line).0;
        Ok(decoded.as_ref())
    };
    let text = text.map_err(|error| {
        Malformed::NotAnObject(format!(
            "byte {} is not UTF-8; name the encoding in [input]",
            error.valid_up_to() + 1
        ))
    })?;
    let mut found = vec![None; columns.names().len()];
    walk(text, "", columns, &mut found)?;
    cells.clear();
    for cell in found {
        cells.push(cell.as_deref().unwrap_or_default().as_bytes());
    }
    Ok(())
}

fn walk<'a>(
    text: &'a str,
    path: &str,
    columns: &Columns,
    found: &mut [Option<Cow<'a, str>>],
) -> Result<(), Malformed> {
    for (key, value) in members(text)? {
        let name = if path.is_empty() { key } else { Cow::Owned(format!("{path}.{key}")) };
        let raw = value.get();
        if let Some(at) = columns.find(&name) {
            found[at] = Some(plain(raw).ok_or_else(|| Malformed::NotAValue(name.clone().into_owned()))?);
        } else if raw.starts_with('{') && columns.wants_below(&name) {
            walk(raw, &name, columns, found)?;
        }
    }
    Ok(())
}

/// An object without the members that an earlier result file added; `None` if
/// it has none of them, or is no object.
pub(super) fn without_results(line: &[u8]) -> Option<Vec<u8>> {
    let members = members(std::str::from_utf8(line).ok()?).ok()?;
    if !members.iter().any(|(key, _)| key.starts_with(SYNC_PREFIX)) {
        return None;
    }
    let own: Vec<String> = members
        .iter()
        .filter(|(key, _)| !key.starts_with(SYNC_PREFIX))
        .map(|(key, value)| format!("{}:{}", serde_json::Value::from(key.as_ref()), value.get()))
        .collect();
    Some(format!("{{{}}}", own.join(",")).into_bytes())
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

fn members(text: &str) -> Result<Members<'_>, Malformed> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let members = reader.deserialize_map(MembersVisitor).map_err(not_an_object)?;
    reader.end().map_err(not_an_object)?;
    let mut seen = HashSet::with_capacity(members.len());
    match members.iter().find(|(key, _)| !seen.insert(key.as_ref())) {
        Some((key, _)) => Err(Malformed::DuplicateKey(key.clone().into_owned())),
        None => Ok(members),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn not_an_object(error: serde_json::Error) -> Malformed {
    // serde_json counts lines inside the text it was given: always the first.
    let message = error.to_string();
    let reason = message.split(" at line ").next().unwrap_or(&message);
    Malformed::NotAnObject(format!("{reason} at column {}", error.column()))
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

    fn cells(line: &str, wanted: &[&str]) -> Result<Vec<String>, Malformed> {
        let mut columns = Columns::of_json();
        for name in wanted {
            columns.want(name);
        }
        let mut found = vec![None; wanted.len()];
        walk(line, "", &columns, &mut found)?;
        Ok(found.into_iter().map(|cell| cell.unwrap_or_default().into_owned()).collect())
    }

    #[test]
    fn values_keep_their_text() {
        let line = r#"{"id":12345678901234567890,"n":1.10,"t":"00501","b":true,"z":null,"e":"a\u00e9\n","c":{"d":{"e":"x"}}}"#;
        let found = cells(line, &["id", "n", "t", "b", "z", "e", "c.d.e", "missing"]).expect("an object");
        assert_eq!(found, ["12345678901234567890", "1.10", "00501", "true", "", "aé\n", "x", ""]);
    }

    #[test]
    fn what_is_no_row_says_why() {
        assert_eq!(cells(r#"{"a":1,"a":2}"#, &["b"]), Err(Malformed::DuplicateKey("a".into())));
        assert_eq!(cells(r#"{"a":[1]}"#, &["a"]), Err(Malformed::NotAValue("a".into())));
        assert!(matches!(cells(r#"{"a":1"#, &["a"]), Err(Malformed::NotAnObject(_))));
        assert!(matches!(cells("[1]", &["a"]), Err(Malformed::NotAnObject(_))));
        assert!(matches!(cells(r#"{"a":1} x"#, &["a"]), Err(Malformed::NotAnObject(_))));
        assert_eq!(cells(r#"{"other":[1,{"a":2}],"a":"fine"}"#, &["a"]).expect("fine"), ["fine"]);
    }
}
