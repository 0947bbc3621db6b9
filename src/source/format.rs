//! The formats of exports. Each is one file that implements [`Format`], and
//! one arm of [`open_as`].

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::Path;

use super::export::Export;
use super::rows::{Row, RowRef};
use super::settings::{FormatSetting, InputSettings};
use super::text_file::TextFile;
use super::{ExportFault, csv, jsonl};

/// Everything in which formats differ.
pub(super) trait Format: fmt::Debug + Send + Sync {
    /// Reads the rows from `from` on.
    fn reader(&self, export: &Export, from: RowRef) -> Box<dyn RowReader>;

    /// The names that a proposed configuration may map.
    fn column_names(&self, export: &Export) -> io::Result<Vec<String>>;

    /// What was detected for `[input]`.
    fn detected_settings(&self) -> Vec<(&'static str, String)>;

    /// Whether the export is a result file of an earlier run.
    fn is_result_file(&self, export: &Export) -> io::Result<bool>;

    /// Why the last row is incomplete, if it is. Its line has no end.
    fn cut_off(&self, last: &Row) -> Option<String>;

    fn result_extension(&self) -> &'static str;

    /// The header of a result file, encoded as the export is read.
    fn result_header(&self, export: &Export, results: &[ResultCell]) -> Option<Vec<u8>>;

    /// The export's own row followed by results, encoded as the export is read.
    fn result_row(&self, export: &Export, at: RowRef, results: &[ResultCell]) -> io::Result<Vec<u8>>;
}

/// Reads rows one by one.
pub(super) trait RowReader: fmt::Debug + Send {
    /// Reads the next row into `row`; `false` at the end of the export.
    fn read(&mut self, row: &mut Row) -> io::Result<bool>;
}

/// A column that a result file adds to a row, and its value.
pub type ResultCell<'a> = (&'static str, ResultValue<'a>);

/// The value of a [`ResultCell`].
#[derive(Debug, Clone, Copy)]
pub enum ResultValue<'a> {
    /// May be blank.
    Text(&'a str),
    /// A number in JSON, too.
    Number(u64),
}

impl fmt::Display for ResultValue<'_> {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Text(text) => out.write_str(text),
            Self::Number(number) => number.fmt(out),
        }
    }
}

/// Opens an export in its format.
pub(super) fn open_as(
    format: FormatSetting,
    text: TextFile,
    settings: &InputSettings,
) -> Result<Export, ExportFault> {
    match format {
        FormatSetting::Auto => open_as(detect(&text)?, text, settings),
        FormatSetting::Csv => csv::open(text, settings),
        FormatSetting::Jsonl => Ok(jsonl::open(text)),
    }
}

/// By the file's name, else by its first byte.
fn detect(text: &TextFile) -> Result<FormatSetting, ExportFault> {
    let name = text.name.to_ascii_lowercase();
    let unpacked = name.trim_end_matches(".gz").trim_end_matches(".zst");
    match Path::new(unpacked).extension().and_then(OsStr::to_str) {
        Some("csv" | "tsv") => return Ok(FormatSetting::Csv),
        Some("jsonl" | "ndjson") => return Ok(FormatSetting::Jsonl),
        _ => {}
    }
    match text.sample()?.trim_ascii_start().first() {
        Some(b'{') => Ok(FormatSetting::Jsonl),
        Some(b'[') => Err(ExportFault::JsonList),
        _ => Ok(FormatSetting::Csv),
    }
}
