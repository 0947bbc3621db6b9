//! Which format an export has. A format is one file that implements
//! [`Format`](super::export::Format), and one arm of [`open_as`].

use std::ffi::OsStr;
use std::path::Path;

use super::error::{ExportFault, SourceError};
use super::export::Export;
use super::settings::{FormatSetting, InputSettings};
use super::text_file::{TextFile, display_name};
use super::{csv, jsonl};

/// Opens an export: `-` is standard input.
pub fn open(path: &Path, settings: &InputSettings) -> Result<Export, SourceError> {
    let open = || {
        let text = TextFile::open(path, settings)?;
        let warning = text.warning()?;
        let mut export = open_as(settings.format, text, settings)?;
        export.warning = warning;
        Ok(export)
    };
    open().map_err(|fault| SourceError { name: display_name(path), fault })
}

/// Opens an export in UTF-8 from memory. On Linux it leaves no trace on a disk.
pub(crate) fn open_memory(name: &str, text: &[u8], settings: &InputSettings) -> Result<Export, SourceError> {
    TextFile::from_memory(name, text)
        .and_then(|text| open_as(settings.format, text, settings))
        .map_err(|fault| SourceError { name: name.to_owned(), fault })
}

pub(super) fn open_as(
    format: FormatSetting,
    text: TextFile,
    settings: &InputSettings,
) -> Result<Export, ExportFault> {
    match format {
        FormatSetting::Auto => open_as(detect(&text)?, text, settings),
        FormatSetting::Csv => csv::open(text, settings),
        FormatSetting::Jsonl => jsonl::open(text),
    }
}

/// JSON shows by its first bytes, whatever its name; else by the file's name, else
/// by its first byte.
fn detect(text: &TextFile) -> Result<FormatSetting, ExportFault> {
    if text.sheet.is_some() {
        return Ok(FormatSetting::Csv);
    }
    let sample = text.sample()?;
    if is_json(sample.trim_ascii_start()) {
        return Ok(FormatSetting::Jsonl);
    }
    let name = text.name.to_ascii_lowercase();
    let unpacked = name.trim_end_matches(".gz").trim_end_matches(".zst").trim_end_matches(".zip");
    match Path::new(unpacked).extension().and_then(OsStr::to_str) {
        Some("csv" | "tsv") => return Ok(FormatSetting::Csv),
        Some("jsonl" | "ndjson") => return Ok(FormatSetting::Jsonl),
        _ => {}
    }
    match sample.trim_ascii_start().first() {
        Some(b'{' | b'[') => Ok(FormatSetting::Jsonl),
        _ => Ok(FormatSetting::Csv),
    }
}

/// No header begins with `{"`, `[{` or `["`, and none with a separator of JSON.
fn is_json(text: &[u8]) -> bool {
    let value = text.trim_ascii_start();
    let rest = |start: &[u8]| value.strip_prefix(start).map(<[u8]>::trim_ascii_start);
    match (rest(b"{"), rest(b"[")) {
        (Some(rest), _) => matches!(rest.first(), Some(b'"' | b'\'')),
        (_, Some(rest)) => {
            matches!(rest.first(), Some(b'{' | b'"')) || rest.starts_with(b"[") && is_json(rest)
        }
        _ => value.strip_prefix(b"\x1e").is_some_and(is_json),
    }
}
