//! An export as a stream of rows.
//!
//! This room turns a path or standard input into [`Row`]s with their number
//! and physical line, and into a [`ExportHash`] of the content. It reads a
//! file and nothing else: it does not know what a column means.
//!
//! A run reads its export twice and comes back to single rows later, so what
//! cannot be read again from a byte offset (a pipe, a compressed file, UTF-16)
//! is first spooled to a private temporary file; see [`open()`]. Memory use does
//! not depend on the size of the export.

mod columns;
mod completeness;
mod dialect;
mod json;
mod open;
mod records;
mod rows;
mod settings;

pub use columns::{Columns, SYNC_PREFIX, UnknownColumn};
pub use dialect::{Dialect, Format, sniff_encoding};
pub use open::{Export, ExportHash, open};
pub use records::RECORD_BYTES_MAX;
pub use rows::{BadText, Row, RowFault, RowRef, Rows};
pub use settings::{Delimiter, Encoding, FormatSetting, Settings};

/// Why an export cannot be read at all. Trouble with one row is not here: that
/// is a [`RowFault`] row, and the run goes on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It is not in the encoding that the configuration names.
    #[error(
        "{name} is UTF-8, and encoding = \"{encoding}\" in [input] would spoil every name that is not plain ASCII; write encoding = \"auto\", or save the file as {encoding}"
    )]
    OtherEncoding {
        /// The export as the user named it.
        name: String,
        /// The encoding of the configuration.
        encoding: &'static str,
    },
    /// The file system said no.
    #[error("{name}: {source}")]
    Io {
        /// The export as the user named it.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file ends inside its compression, or is damaged there.
    #[error("{name}: cannot be unpacked: {source}; is it complete?")]
    Compressed {
        /// The export as the user named it.
        name: String,
        /// What the decoder said.
        source: std::io::Error,
    },
    /// The private copy could not be written.
    #[error("cannot copy {name} to a temporary file in {folder}: {source}; TMPDIR names another folder")]
    Spool {
        /// The export as the user named it.
        name: String,
        /// The temporary folder.
        folder: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no header line.
    #[error("{name}: is empty; a header line with the names of the columns is needed")]
    Empty {
        /// The export as the user named it.
        name: String,
    },
    /// The header cannot be used.
    #[error("{name}:{line}: {problem}")]
    Header {
        /// The export as the user named it.
        name: String,
        /// Physical line of the header, 1-based.
        line: u64,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The export is neither CSV nor JSON lines.
    #[error("{name}: {problem}")]
    Format {
        /// The export as the user named it.
        name: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Something else wrote to the export while it was being read.
    #[error(
        "{name}: changed while it was being read; start again when it is complete, or let it be written under another name and renamed once it is"
    )]
    Changed {
        /// The export as the user named it.
        name: String,
    },
    /// The last row breaks off.
    #[error(
        "{name}:{line}: the export breaks off in its last row, so it is not complete: {fault}. Start again when it is; if it is meant, end that line"
    )]
    CutOff {
        /// The export as the user named it.
        name: String,
        /// Physical line on which the last row starts, 1-based.
        line: u64,
        /// What is wrong with that row.
        fault: String,
    },
}
