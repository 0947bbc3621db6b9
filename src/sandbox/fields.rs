//! A request body as named values, JSON or form, taken out one by one with their types checked.
//!
//! It is stricter than most readers: it refuses a repeated key, a number in quotes, a null.

use std::collections::BTreeMap;
use std::fmt;

use hyper::StatusCode;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::BodyForm;
use super::answer::Answer;

/// The values of a body that have not been taken yet.
#[derive(Debug)]
pub(super) struct Fields {
    values: BTreeMap<String, Value>,
    encoding: Encoding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Json,
    /// Everything is text, so numbers and booleans are recognised by their spelling.
    Form,
}

impl Fields {
    /// Reads a body by its content type: 415 for an unknown one, 400 for a broken body. Of a body in another form than
    /// the `only` one, no field is read: so do programs that know only this form.
    pub(super) fn read(
        only: Option<BodyForm>,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<Self, Answer> {
        let media_type = content_type.unwrap_or("").split(';').next().unwrap_or("").trim();
        let (encoding, pairs) = if media_type.eq_ignore_ascii_case("application/json") {
            (Encoding::Json, read_json(body).map_err(|error| broken(&error))?)
        } else if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            let pairs = url::form_urlencoded::parse(body);
            (Encoding::Form, pairs.map(|(name, value)| (name.into_owned(), value.into())).collect())
        } else {
            let message = "The content type must be application/json or application/x-www-form-urlencoded.";
            return Err(Answer::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        };
        let is_read = match only {
            None => true,
            Some(BodyForm::Json) => encoding == Encoding::Json,
            Some(BodyForm::Form) => encoding == Encoding::Form,
        };
        let pairs = if is_read { pairs } else { Vec::new() };
        let mut values = BTreeMap::new();
        for (name, value) in pairs {
            if values.contains_key(&name) {
                return Err(Answer::refusal(format!("{name}: sent more than once")));
            }
            values.insert(name, value);
        }
        Ok(Self { values, encoding })
    }

    /// The names that have not been taken yet.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Takes a value out; `expected` is its type as the page names it.
    fn take<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&Value, Encoding) -> Option<T>,
    ) -> Result<Option<T>, Answer> {
        let Some(value) = self.values.remove(name) else { return Ok(None) };
        read(&value, self.encoding).map(Some).ok_or_else(|| mistyped(name, expected, &value))
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Answer> {
        self.take(name, "a string", |value, _| value.as_str().map(str::to_owned))
    }

    /// A string that must be there and must not be blank.
    pub(super) fn required_text(&mut self, name: &str) -> Result<String, Answer> {
        let text = self.text(name)?.ok_or_else(|| absent(name))?;
        if text.trim().is_empty() { Err(Answer::refusal(format!("{name}: is empty"))) } else { Ok(text) }
    }

    /// A whole number from 0.
    pub(super) fn integer(&mut self, name: &str, expected: &str) -> Result<Option<u64>, Answer> {
        self.take(name, expected, |value, encoding| match encoding {
            Encoding::Json => value.as_u64(),
            Encoding::Form => value.as_str().and_then(digits),
        })
    }

    pub(super) fn required_integer(&mut self, name: &str) -> Result<u64, Answer> {
        self.integer(name, "an integer")?.ok_or_else(|| absent(name))
    }

    /// A whole number from 0 that must be there and must be written as a string.
    pub(super) fn required_digits(&mut self, name: &str) -> Result<u64, Answer> {
        let expected = || Answer::refusal(format!("{name}: expected a string of digits, got other text"));
        digits(&self.required_text(name)?).ok_or_else(expected)
    }

    pub(super) fn boolean(&mut self, name: &str) -> Result<Option<bool>, Answer> {
        self.take(name, "a boolean", |value, encoding| match encoding {
            Encoding::Json => value.as_bool(),
            Encoding::Form => value.as_str()?.parse().ok(),
        })
    }

    /// All values that are left, which must be strings.
    pub(super) fn into_custom(self) -> Result<BTreeMap<String, String>, Answer> {
        let texts = self.values.into_iter().map(|(name, value)| match value {
            _ if name.is_empty() => Err(Answer::refusal("a field without a name")),
            Value::String(text) => Ok((name, text)),
            other => Err(mistyped(&name, "a string", &other)),
        });
        texts.collect()
    }
}

/// A whole number in plain digits. Without sign, space and leading zero, so that each number has one spelling.
fn digits(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

fn absent(name: &str) -> Answer {
    Answer::refusal(format!("{name}: is missing"))
}

/// Names only the type of the value, which may be personal data.
fn mistyped(name: &str, expected: &str, value: &Value) -> Answer {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_u64() => "an integer",
        Value::Number(number) if number.is_i64() => "a negative integer",
        Value::Number(_) => "a number with a fraction or exponent",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Answer::refusal(format!("{name}: expected {expected}, got {found}"))
}

/// Gives the place only, since the reader's own message quotes the body.
fn broken(error: &serde_json::Error) -> Answer {
    let (line, column) = (error.line(), error.column());
    Answer::refusal(format!("The body is not a JSON object (line {line}, column {column})."))
}

/// Reads a JSON object with every pair kept; a map would silently keep the last of two equal keys.
fn read_json(body: &[u8]) -> serde_json::Result<Vec<(String, Value)>> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let pairs = reader.deserialize_map(PairsVisitor)?;
    reader.end()?;
    Ok(pairs)
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Vec<(String, Value)>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(pairs)
    }
}
