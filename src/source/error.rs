//! Why an export cannot be read at all.

use std::io;

use super::signatures::FileKind;

/// Why an export cannot be read at all. A malformed row is a
/// [`RowFault`](super::RowFault) instead, and the run continues.
#[derive(Debug, thiserror::Error)]
#[error("{name}{}: {fault}", fault.line().map(|line| format!(":{line}")).unwrap_or_default())]
pub struct SourceError {
    /// The export as the user named it.
    pub(super) name: String,
    pub(super) fault: ExportFault,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ExportFault {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file ends inside its compression, or is damaged there.
    #[error("cannot be unpacked: {0}; check that the file is complete")]
    Compressed(io::Error),
    #[error("cannot be copied to a temporary file in {folder}: {source}; set TMPDIR to another folder")]
    Spool { folder: String, source: io::Error },
    #[error(
        "the export is UTF-8, but [input] sets encoding = \"{encoding}\", which would garble every name that is not plain ASCII; set encoding = \"auto\", or save the file as {encoding}"
    )]
    OtherEncoding { encoding: String },
    #[error("is no table but {}; {}", .0.name, .0.remedy)]
    NoTable(FileKind),
    #[error("the export is empty; it needs a header line with the names of its columns")]
    Empty,
    #[error("{problem}")]
    Header { line: u64, problem: String },
    #[error(
        "{delimiters:?} stands between its cells, and a delimiter is one character; write one in its place, such as \";\""
    )]
    SeveralDelimiters { line: u64, delimiters: String },
    #[error(
        "the header comes again with its columns in another order; the files that were put together have to agree, so run them one by one"
    )]
    OtherOrder { line: u64 },
    #[error(
        "changed while it was being read; run again when it is complete, or have it written under another name and renamed at the end"
    )]
    Changed,
    #[error(
        "the export breaks off in its last row: {problem}. Run again when it is complete; if that row is as it should be, end its line"
    )]
    Truncated { line: u64, problem: String },
}

impl ExportFault {
    /// The physical line with the fault, 1-based.
    fn line(&self) -> Option<u64> {
        match self {
            Self::Header { line, .. }
            | Self::Truncated { line, .. }
            | Self::SeveralDelimiters { line, .. }
            | Self::OtherOrder { line } => Some(*line),
            _ => None,
        }
    }
}
