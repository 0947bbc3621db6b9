//! An export as a stream of rows.
//!
//! This room turns a path or standard input into [`Row`]s with their number
//! and physical line, and into an [`ExportHash`] of the content. It also writes
//! rows back for result files. It does not know what a column means.
//!
//! A run reads its export twice and returns to single rows later. So whatever
//! cannot be read again from a byte offset (a pipe, a compressed file, UTF-16)
//! is first spooled to a private temporary file. Memory use does not depend on
//! the size of the export.
//!
//! A format is one file that implements `format::Format`: CSV in `csv`, JSON
//! lines in `jsonl`.

mod cells;
mod columns;
mod completeness;
mod csv;
mod dialect;
mod export;
mod format;
mod jsonl;
mod records;
mod rows;
mod settings;
mod text_file;

pub use columns::{Columns, UnknownColumn};
pub use dialect::{Dialect, LineEnd};
pub use export::{Export, ExportHash, open};
pub use format::{ResultCell, ResultValue};
pub use records::RECORD_BYTES_MAX;
pub use rows::{BadText, Row, RowFault, RowRef, Rows};
pub use settings::{DelimiterSetting, EncodingSetting, FormatSetting, InputSettings};
pub(crate) use text_file::guess_encoding;

/// Why an export cannot be read at all. A malformed row is not here: it is a
/// [`RowFault`], and the run continues.
#[derive(Debug, thiserror::Error)]
#[error("{name}{}: {fault}", fault.line().map(|line| format!(":{line}")).unwrap_or_default())]
pub struct SourceError {
    /// The export as the user named it.
    name: String,
    fault: ExportFault,
}

#[derive(Debug, thiserror::Error)]
enum ExportFault {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The file ends inside its compression, or is damaged there.
    #[error("cannot be unpacked: {0}; check that the file is complete")]
    Compressed(std::io::Error),
    #[error("cannot be copied to a temporary file in {folder}: {source}; set TMPDIR to another folder")]
    Spool { folder: String, source: std::io::Error },
    #[error(
        "the export is UTF-8, but [input] sets encoding = \"{encoding}\", which would garble every name that is not plain ASCII; set encoding = \"auto\", or save the file as {encoding}"
    )]
    OtherEncoding { encoding: &'static str },
    #[error("the export is empty; it needs a header line with the names of its columns")]
    Empty,
    #[error("{problem}")]
    Header { line: u64, problem: String },
    #[error("the export is a JSON list; convert it to one JSON object a line with jq -c '.[]'")]
    JsonList,
    #[error(
        "changed while it was being read; run again when it is complete, or have it written under another name and renamed at the end"
    )]
    Changed,
    #[error(
        "the export breaks off in its last row: {problem}. Run again when it is complete; if that row is as it should be, end its line"
    )]
    CutOff { line: u64, problem: String },
}

impl ExportFault {
    /// The physical line that it is about, 1-based.
    fn line(&self) -> Option<u64> {
        match self {
            Self::Header { line, .. } | Self::CutOff { line, .. } => Some(*line),
            _ => None,
        }
    }
}
