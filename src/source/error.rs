//! Why an export cannot be read at all.

use std::io;

use super::sheet::WorkbookFault;
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

impl SourceError {
    /// A reader may have found that the export cannot be read at all. An error that
    /// names its file keeps the name.
    pub(super) fn from_io(name: &str, source: io::Error) -> Self {
        source.downcast::<Self>().unwrap_or_else(|source| Self {
            name: name.to_owned(),
            fault: source.downcast::<ExportFault>().unwrap_or_else(ExportFault::Io),
        })
    }
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
    #[error(transparent)]
    Archive(#[from] ArchiveFault),
    #[error(transparent)]
    Workbook(#[from] WorkbookFault),
    #[error("the export is empty; it needs a header line with the names of its columns")]
    Empty,
    #[error("{problem}")]
    Header { line: u64, problem: String },
    #[error(
        "{delimiters:?} stands between its cells, and a delimiter is one character; write one in its place, such as \";\""
    )]
    SeveralDelimiters { line: u64, delimiters: String },
    #[error(
        "its columns stand at fixed positions, with spaces and no delimiter between them; export it with a delimiter, as CSV"
    )]
    FixedColumns,
    #[error(
        "the names of its columns stand in typographic quotes, which a text program has made; export it again, or replace them with straight ones (\")"
    )]
    TypographicQuotes { line: u64 },
    #[error(
        "the header comes again with its columns in another order; the files that were put together have to agree, so run them one by one"
    )]
    OtherOrder { line: u64 },
    #[error(
        "a header with other columns stands here: {}; give the files that were put together the same names, or run them one by one",
        difference(lacking, others)
    )]
    OtherHeader { line: u64, lacking: Vec<String>, others: Vec<String> },
    #[error(
        "holds several lists that may be the customers: {}; write one of them to a file of its own, and run that: jq -c '{}' EXPORT > customers.jsonl",
        lists.join(", "), jq
    )]
    SeveralLists { lists: Vec<String>, jq: String },
    #[error(
        "may be one customer or several: it holds {} objects that are alike: {}; if each is a customer, write them as JSON lines, and run these: jq -c '{jq}' EXPORT > customers.jsonl; if it is one customer, give it a member with its id",
        keys.len(), keys.join(", ")
    )]
    RowsOrMembers { jq: String, keys: Vec<String> },
    #[error("is given twice; name each file once")]
    Repeated,
    #[error(
        "is read as {format}, and {first} as {first_format}; export both in one format, or run them one by one"
    )]
    MixedFormats { format: &'static str, first: String, first_format: &'static str },
    #[error("is a result file of an earlier run, and {first} is not; run them one by one")]
    ResultFileBehind { first: String },
    #[error("is no result file of an earlier run, and {first} is one; run them one by one")]
    BehindResultFile { first: String },
    #[error(
        "has other columns than {first}: {}; give the files the same names, in any order, or run them one by one",
        difference(lacking, others)
    )]
    OtherColumns { first: String, lacking: Vec<String>, others: Vec<String> },
    #[error(
        "changed while it was being read; run again when it is complete, or have it written under another name and renamed at the end"
    )]
    Changed,
    #[error("the export breaks off: its last list or object has no end. Run again when it is complete")]
    Unended { line: u64 },
    #[error(
        "the object that ends here has no list {list:?}, and the others have one: a page may be lost. Export it again"
    )]
    NoList { line: u64, list: String },
    #[error(
        "the export breaks off in its last row: {problem}. Run again when it is complete; if that row is as it should be, end its line"
    )]
    Truncated { line: u64, problem: String },
}

/// How the columns of a file differ from those of the first one.
fn difference(lacking: &[String], others: &[String]) -> String {
    let texts = [("it lacks", lacking), ("it alone has", others)].map(|(verb, names)| {
        let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
        (!names.is_empty()).then(|| format!("{verb} {}", names.join(", ")))
    });
    texts.into_iter().flatten().collect::<Vec<_>>().join(", and ")
}

impl ExportFault {
    /// The physical line with the fault, 1-based.
    fn line(&self) -> Option<u64> {
        match self {
            Self::Header { line, .. }
            | Self::Truncated { line, .. }
            | Self::Unended { line }
            | Self::NoList { line, .. }
            | Self::SeveralDelimiters { line, .. }
            | Self::TypographicQuotes { line }
            | Self::OtherHeader { line, .. }
            | Self::OtherOrder { line } => Some(*line),
            _ => None,
        }
    }
}

/// Why a zip cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveFault {
    #[error("is a zip archive without a file; check that it is the export that you mean")]
    Empty,
    #[error(
        "is a zip archive with {count} files, and one is expected: {names}; unpack it, and run the table inside"
    )]
    SeveralFiles { count: usize, names: String },
    #[error("is a zip archive with a password; unpack it, and run the table inside")]
    Password,
    #[error("is a zip archive packed in a way that is not read; unpack it, and run the table inside")]
    Method,
    #[error("unpacks to more than {} GiB; export the customers as CSV", limit >> 30)]
    TooLarge { limit: u64 },
}
