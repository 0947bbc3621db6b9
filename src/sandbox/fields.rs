//! A request body as named values, JSON or form, taken out one by one with their types checked.
//!
//! It refuses what a lenient reader would swallow: a key that comes twice, a number in quotes, a null.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::answers::Answer;

/// The values of a body that have not been taken yet.
#[derive(Debug)]
pub(super) struct Fields {
    values: BTreeMap<String, Value>,
    /// In a form everything is text, so numbers and booleans are judged by how they are written.
    is_form: bool,
}

impl Fields {
    /// Reads a body by its content type: 415 for an unknown one, 400 for a broken body.
    pub(super) fn read(content_type: Option<&str>, body: &[u8]) -> Result<Self, Answer> {
        let media_type = content_type.unwrap_or("").split(';').next().unwrap_or("").trim();
        if media_type.eq_ignore_ascii_case("application/json") {
            let pairs: Pairs = serde_json::from_slice(body).map_err(|error| broken(&error))?;
            Self::unique(pairs.0, false)
        } else if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            let pairs = url::form_urlencoded::parse(body);
            Self::unique(pairs.map(|(name, value)| (name.into_owned(), value.into())), true)
        } else {
            let said = "The content type must be application/json or application/x-www-form-urlencoded.";
            Err(Answer::error(415, said))
        }
    }

    fn unique(pairs: impl IntoIterator<Item = (String, Value)>, is_form: bool) -> Result<Self, Answer> {
        let mut values = BTreeMap::new();
        for (name, value) in pairs {
            if values.contains_key(&name) {
                return Err(Answer::refusal(format!("{name}: sent more than once")));
            }
            values.insert(name, value);
        }
        Ok(Self { values, is_form })
    }

    /// The names that are still there.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// A string.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Answer> {
        match self.values.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(mistyped(name, "a string", &other)),
        }
    }

    /// A string that must be there and must not be blank.
    pub(super) fn needed_text(&mut self, name: &str) -> Result<String, Answer> {
        let text = self.text(name)?.ok_or_else(|| missing(name))?;
        if text.trim().is_empty() { Err(Answer::refusal(format!("{name}: is empty"))) } else { Ok(text) }
    }

    /// A whole number from 0; `expected` is the page's word for its type.
    pub(super) fn whole(&mut self, name: &str, expected: &str) -> Result<Option<u64>, Answer> {
        let Some(value) = self.values.remove(name) else {
            return Ok(None);
        };
        let number = match &value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) if self.is_form => digits(text),
            _ => None,
        };
        number.map(Some).ok_or_else(|| mistyped(name, expected, &value))
    }

    /// A whole number from 0 that must be there.
    pub(super) fn needed_whole(&mut self, name: &str) -> Result<u64, Answer> {
        self.whole(name, "an integer")?.ok_or_else(|| missing(name))
    }

    /// A whole number from 0 that must be there and must be written as a string.
    pub(super) fn needed_quoted_whole(&mut self, name: &str) -> Result<u64, Answer> {
        let text = self.needed_text(name)?;
        digits(&text)
            .ok_or_else(|| Answer::refusal(format!("{name}: expected a string of digits, got other text")))
    }

    /// A boolean.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, Answer> {
        match self.values.remove(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(Value::String(text)) if self.is_form && text == "true" => Ok(Some(true)),
            Some(Value::String(text)) if self.is_form && text == "false" => Ok(Some(false)),
            Some(other) => Err(mistyped(name, "a boolean", &other)),
        }
    }

    /// All that is left, which must be strings.
    pub(super) fn rest(self) -> Result<BTreeMap<String, String>, Answer> {
        let texts = self.values.into_iter().map(|(name, value)| match value {
            _ if name.is_empty() => Err(Answer::refusal("a field without a name")),
            Value::String(text) => Ok((name, text)),
            other => Err(mistyped(&name, "a string", &other)),
        });
        texts.collect()
    }
}

/// A whole number in plain digits; no sign, no space, no leading zero, so that each number has one spelling.
fn digits(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

fn missing(name: &str) -> Answer {
    Answer::refusal(format!("{name}: is missing"))
}

/// Says what came by its type only, since the value may be personal data.
fn mistyped(name: &str, expected: &str, got: &Value) -> Answer {
    let got = match got {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_u64() => "an integer",
        Value::Number(number) if number.is_i64() => "a negative integer",
        Value::Number(_) => "a number with a fraction or exponent",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Answer::refusal(format!("{name}: expected {expected}, got {got}"))
}

/// Gives the place only, since the reader's own message quotes the body.
fn broken(error: &serde_json::Error) -> Answer {
    let (line, column) = (error.line(), error.column());
    Answer::refusal(format!("The body is not a JSON object (line {line}, column {column})."))
}

/// A JSON object with every pair kept; a map would silently keep the last of two equal keys.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}
