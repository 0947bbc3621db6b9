//! The `[input]` section.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::text_encoding::TextEncoding;
use crate::units::Period;

/// How an export is read. The defaults detect it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InputSettings {
    /// CSV or JSON lines.
    pub format: FormatSetting,
    /// Between two cells of a CSV row.
    pub delimiter: DelimiterSetting,
    /// Around a cell that holds the delimiter.
    pub quote: QuoteSetting,
    /// How a quote is written inside a quoted cell.
    pub escape: EscapeSetting,
    /// Lines above the header.
    pub skip: SkipSetting,
    /// Of a workbook; blank for its first one.
    pub sheet: String,
    /// Of the text.
    pub encoding: EncodingSetting,
    /// Cells that mean "no value", compared after trimming.
    pub blank: Vec<String>,
    /// Cells that mean "empty this field in Omnidesk", compared after trimming.
    pub clear: Vec<String>,
    /// How long ago the export must have been written; a younger one is checked
    /// again at that age. Decides no row, so no plan depends on it.
    #[serde(skip_serializing)]
    pub min_age: Period,
}

impl Default for InputSettings {
    fn default() -> Self {
        Self {
            format: FormatSetting::Auto,
            delimiter: DelimiterSetting(None),
            quote: QuoteSetting::Double,
            escape: EscapeSetting::Double,
            skip: SkipSetting(None),
            sheet: String::new(),
            encoding: EncodingSetting(None),
            blank: vec![String::new()],
            clear: Vec::new(),
            min_age: Period(Duration::from_millis(200)),
        }
    }
}

/// `format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FormatSetting {
    /// By the file's name, else by its first byte.
    Auto,
    /// A header line and delimited rows (RFC 4180, with any delimiter of one character).
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// `delimiter`: an ASCII character, or none to detect it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct DelimiterSetting(pub Option<u8>);

/// The delimiters that CRMs write.
pub(super) const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

impl TryFrom<String> for DelimiterSetting {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_bytes() {
            b"auto" => Ok(Self(None)),
            [b'"' | b'\n' | b'\r'] => {
                Err(format!("{text:?} cannot stand between cells; write \"auto\" or another character"))
            }
            [byte] if byte.is_ascii() => Ok(Self(Some(*byte))),
            _ if text.chars().count() > 1 => Err(format!(
                "a delimiter is one character, and {text:?} has several; write one between cells in the export, and here"
            )),
            _ => Err(format!(
                "{text:?} is not a delimiter; write \"auto\" or one ASCII character, such as \";\" or \"\\t\""
            )),
        }
    }
}

impl From<DelimiterSetting> for String {
    fn from(delimiter: DelimiterSetting) -> Self {
        delimiter.0.map_or_else(|| "auto".to_owned(), |byte| char::from(byte).to_string())
    }
}

/// `quote`: what surrounds a cell that holds the delimiter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum QuoteSetting {
    /// `"`
    #[default]
    #[serde(rename = "\"")]
    Double,
    /// `'`
    #[serde(rename = "'")]
    Single,
    /// Quotes are text.
    #[serde(rename = "none")]
    None,
}

impl QuoteSetting {
    pub(super) fn byte(self) -> Option<u8> {
        match self {
            Self::Double => Some(b'"'),
            Self::Single => Some(b'\''),
            Self::None => None,
        }
    }
}

/// `escape`: a quote that is text, inside quotes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EscapeSetting {
    /// It is doubled.
    #[default]
    Double,
    /// It has a backslash in front, as MySQL writes it.
    Backslash,
}

/// `skip`: lines above the header, or none to find it by the mapped columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "SkipValue", into = "SkipValue")]
pub struct SkipSetting(pub Option<u64>);

impl JsonSchema for SkipSetting {
    fn schema_name() -> Cow<'static, str> {
        "SkipSetting".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Lines above the header, or \"auto\" to find it by the mapped columns.",
            "anyOf": [{ "type": "integer", "minimum": 0 }, { "const": "auto" }],
        })
    }
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum SkipValue {
    Lines(i64),
    Word(String),
}

impl TryFrom<SkipValue> for SkipSetting {
    type Error = String;

    fn try_from(value: SkipValue) -> Result<Self, String> {
        match value {
            SkipValue::Word(word) if word == "auto" => Ok(Self(None)),
            SkipValue::Lines(lines) if lines >= 0 => Ok(Self(Some(lines.unsigned_abs()))),
            SkipValue::Lines(lines) => {
                Err(format!("{lines} is no number of lines; write \"auto\", or 0 or more"))
            }
            SkipValue::Word(word) => {
                Err(format!("{word:?} is no number of lines; write \"auto\", or a number such as 3"))
            }
        }
    }
}

impl From<SkipSetting> for SkipValue {
    fn from(skip: SkipSetting) -> Self {
        match skip.0 {
            None => Self::Word("auto".to_owned()),
            Some(lines) => Self::Lines(i64::try_from(lines).unwrap_or(i64::MAX)),
        }
    }
}

/// `encoding`: a name of it, or none to detect it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct EncodingSetting(pub Option<TextEncoding>);

impl TryFrom<String> for EncodingSetting {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("auto") {
            return Ok(Self(None));
        }
        let encoding = TextEncoding::from_label(&text);
        encoding.map(|encoding| Self(Some(encoding))).ok_or_else(|| format!(
            "{text:?} is not an encoding; write \"auto\", \"utf-8\", \"windows-1252\", \"utf-16le\", \"mac-roman\", \"cp850\", \"cp437\" or another label of https://encoding.spec.whatwg.org/#names-and-labels"
        ))
    }
}

impl From<EncodingSetting> for String {
    fn from(encoding: EncodingSetting) -> Self {
        encoding.0.map_or("auto".to_owned(), TextEncoding::label)
    }
}
