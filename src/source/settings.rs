//! The `[input]` section.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::Period;

/// How an export is to be read. The defaults find out by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// CSV or JSON lines.
    pub format: FormatSetting,
    /// Between two cells of a CSV row.
    pub delimiter: Delimiter,
    /// Of the text.
    pub encoding: Encoding,
    /// Cells that mean "no value", compared after trimming.
    pub blank: Vec<String>,
    /// Cells that mean "empty this field in Omnidesk", compared after trimming.
    pub clear: Vec<String>,
    /// How long ago the export must have been written; a younger one is looked
    /// at again when it is as old. Decides no row, so no plan depends on it.
    #[serde(skip_serializing)]
    pub min_age: Period,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            format: FormatSetting::Auto,
            delimiter: Delimiter(None),
            encoding: Encoding(None),
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

/// `delimiter`: one of four, or none for "find out".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Delimiter(pub Option<u8>);

/// The delimiters that CRMs write.
pub(super) const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

impl TryFrom<String> for Delimiter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_bytes() {
            b"auto" => Ok(Self(None)),
            [byte] if DELIMITERS.contains(byte) => Ok(Self(Some(*byte))),
            _ => Err(format!("{text:?} is no delimiter; write \"auto\", \",\", \";\", \"\\t\" or \"|\"")),
        }
    }
}

impl From<Delimiter> for String {
    fn from(delimiter: Delimiter) -> String {
        match delimiter.0 {
            None => "auto".to_owned(),
            Some(byte) => char::from(byte).to_string(),
        }
    }
}

/// `encoding`: a label of the WHATWG Encoding Standard, or none for "find out".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Encoding(pub Option<&'static encoding_rs::Encoding>);

impl TryFrom<String> for Encoding {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("auto") {
            return Ok(Self(None));
        }
        match encoding_rs::Encoding::for_label_no_replacement(text.as_bytes()) {
            Some(encoding) => Ok(Self(Some(encoding))),
            None => Err(format!(
                "{text:?} is no encoding; write \"auto\", \"utf-8\", \"windows-1252\", \"utf-16le\" or another label of https://encoding.spec.whatwg.org/#names-and-labels"
            )),
        }
    }
}

impl From<Encoding> for String {
    fn from(encoding: Encoding) -> String {
        encoding.0.map_or("auto", |encoding| encoding.name()).to_ascii_lowercase()
    }
}
