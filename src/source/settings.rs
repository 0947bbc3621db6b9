//! The `[input]` section.

use std::time::Duration;

use encoding_rs::Encoding;
use serde::{Deserialize, Serialize};

use crate::units::Period;

/// How an export is read. The defaults detect it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct InputSettings {
    /// CSV or JSON lines.
    pub format: FormatSetting,
    /// Between two cells of a CSV row.
    pub delimiter: DelimiterSetting,
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
            encoding: EncodingSetting(None),
            blank: vec![String::new()],
            clear: Vec::new(),
            min_age: Period(Duration::from_millis(200)),
        }
    }
}

/// `format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FormatSetting {
    /// By the file's name, else by its first byte.
    Auto,
    /// A header line and delimited rows (RFC 4180, with any of four delimiters).
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// `delimiter`: one of four, or none to detect it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct DelimiterSetting(pub Option<u8>);

/// The delimiters that CRMs write.
pub(super) const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

impl TryFrom<String> for DelimiterSetting {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_bytes() {
            b"auto" => Ok(Self(None)),
            [byte] if DELIMITERS.contains(byte) => Ok(Self(Some(*byte))),
            _ => Err(format!("{text:?} is not a delimiter; write \"auto\", \",\", \";\", \"\\t\" or \"|\"")),
        }
    }
}

impl From<DelimiterSetting> for String {
    fn from(delimiter: DelimiterSetting) -> Self {
        delimiter.0.map_or_else(|| "auto".to_owned(), |byte| char::from(byte).to_string())
    }
}

/// `encoding`: a label of the WHATWG Encoding Standard, or none to detect it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct EncodingSetting(pub Option<&'static Encoding>);

impl TryFrom<String> for EncodingSetting {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("auto") {
            return Ok(Self(None));
        }
        let encoding = Encoding::for_label_no_replacement(text.as_bytes());
        encoding.map(|encoding| Self(Some(encoding))).ok_or_else(|| format!(
            "{text:?} is not an encoding; write \"auto\", \"utf-8\", \"windows-1252\", \"utf-16le\" or another label of https://encoding.spec.whatwg.org/#names-and-labels"
        ))
    }
}

impl From<EncodingSetting> for String {
    fn from(encoding: EncodingSetting) -> Self {
        encoding.0.map_or("auto", Encoding::name).to_ascii_lowercase()
    }
}
