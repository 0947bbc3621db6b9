//! One row: its place, its cells, and its fault if it is malformed.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::sync::Arc;

use serde::Serialize;

use encoding_rs::{Encoding, UTF_8};

use super::cells::{Cells, has_replacement};
use super::columns::{Columns, SYNC_PREFIX};
use crate::units::counted;

/// The longest record that is read, in bytes. It bounds memory, and no
/// customer's row comes near it.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// Where a row stands. Every report about a row names it by this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowRef {
    /// 1-based, the header not counted.
    pub number: u64,
    /// Physical line on which it starts, 1-based.
    pub line: u64,
    /// Byte offset of its first byte in the export as spooled. Of several files
    /// each begins where the one before ends, one byte between them.
    pub offset: u64,
    /// Bytes, without the line end.
    pub len: u64,
    /// The file in which it stands, if the export has several. Names of files stay
    /// in memory until the program ends.
    pub file: Option<&'static str>,
}

impl RowRef {
    /// The line, and the file if the export has several.
    pub(crate) fn line_text(&self) -> String {
        let file = self.file.map(|file| format!(" of {file}")).unwrap_or_default();
        format!("line {}{file}", self.line)
    }
}

impl fmt::Display for RowRef {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "row {} on {}", self.number, self.line_text())
    }
}

/// Why a row cannot be split into cells.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowFault {
    /// A quote without an end within the bound of a record.
    #[error("the quote that opens cell {column} is never closed; close it, or double it if it is text")]
    UnclosedQuote {
        /// 1-based.
        column: usize,
    },
    #[error("cell {column} has text after its closing quote; double each quote that is text")]
    TextAfterQuote {
        /// 1-based.
        column: usize,
    },
    /// The row has all of its cells where quotes are text.
    #[error(
        "cell {column} begins with a quote that is text; double it and quote the cell, or set quote = \"none\" in [input] if no cell of the export is quoted"
    )]
    StrayQuote {
        /// 1-based.
        column: usize,
    },
    /// A stray quote and a later one, with rows between them.
    #[error(
        "a quote in this row closes {lines} line{} further down, and the text between looks like rows; delete the quotes that are text (such as those for inches), or double them",
        if *lines == 1 { "" } else { "s" }
    )]
    HoldsRows {
        /// Lines after the first.
        lines: usize,
    },
    /// Another number of cells than the header has.
    #[error("the row has {} and the header {expected}; quote cells that contain the delimiter", counted(*found as u64, "cell"))]
    Ragged {
        /// In this row.
        found: usize,
        /// In the header.
        expected: usize,
    },
    /// A value in a column without a name.
    #[error("cell {column} has a value but its column has no name; quote cells that contain the delimiter")]
    Unnamed {
        /// 1-based.
        column: usize,
    },
    #[error("the row is longer than {} MiB; check for a missing line end", RECORD_BYTES_MAX >> 20)]
    TooLong,
    /// A line that is no JSON object.
    #[error("the line is not a JSON object: {0}")]
    NotAnObject(String),
    #[error("the key {0:?} occurs twice; delete one of the two")]
    DuplicateKey(String),
    /// A list or an object where a value is mapped.
    #[error(
        "the key {0:?} holds a list or an object, not a single value; map one of its members, such as \"{0}.name\""
    )]
    NotAValue(String),
}

/// A cell that is not text in the export's encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadText {
    /// The encoding in which it was read.
    pub encoding: &'static str,
}

/// One row of an export. Reused from row to row: see [`Rows::read`].
#[derive(Debug, Clone)]
pub struct Row {
    pub(super) at: RowRef,
    pub(super) cells: Cells,
    fault: Option<RowFault>,
    /// The cells of a row that has another number of them than the header.
    pub(super) ragged: Cells,
    encoding: &'static Encoding,
}

impl Default for Row {
    fn default() -> Self {
        Self {
            at: RowRef::default(),
            cells: Cells::default(),
            fault: None,
            ragged: Cells::default(),
            encoding: UTF_8,
        }
    }
}

impl Row {
    pub fn at(&self) -> RowRef {
        self.at
    }

    /// Why it cannot be split into cells, if so.
    pub fn fault(&self) -> Option<&RowFault> {
        self.fault.as_ref()
    }

    /// The text of a cell, as it stands in the export; blank if the row has none.
    /// U+FFFD is refused like bytes outside the encoding: another program put it
    /// in their place.
    pub fn text(&self, column: usize) -> Result<Cow<'_, str>, BadText> {
        if let Some(text) = self.cells.text(column) {
            return Ok(Cow::Borrowed(text));
        }
        let bytes = self.cells.get(column);
        let text = if self.encoding == UTF_8 {
            std::str::from_utf8(bytes).ok().map(Cow::Borrowed)
        } else {
            self.encoding.decode_without_bom_handling_and_without_replacement(bytes)
        };
        text.filter(|text| !has_replacement(text)).ok_or(BadText { encoding: self.encoding.name() })
    }

    pub fn bytes(&self, column: usize) -> &[u8] {
        self.cells.get(column)
    }

    /// Becomes the row at `at`; `split` makes its cells.
    pub(super) fn fill(
        &mut self,
        at: RowRef,
        encoding: &'static Encoding,
        split: impl FnOnce(&mut Cells) -> Result<(), RowFault>,
    ) {
        self.at = at;
        self.encoding = encoding;
        self.fault = split(&mut self.cells).err();
        self.cells.text.clear();
        if self.fault.is_some() {
            if matches!(self.fault, Some(RowFault::Ragged { .. })) {
                std::mem::swap(&mut self.cells, &mut self.ragged);
            }
            self.cells.clear();
        }
    }

    /// Lets most cells be read more quickly. It pays if several are.
    pub(crate) fn check_text(&mut self) {
        if self.encoding == UTF_8 {
            self.cells.check_text();
        }
    }

    /// Gives a faulty row sound cells.
    pub(super) fn repair(&mut self, write: impl FnOnce(&mut Cells)) {
        write(&mut self.cells);
        self.fault = None;
    }
}

/// Reads the rows of one format.
pub(super) trait RowReader: fmt::Debug + Send {
    /// Reads the next row into `row`; `false` at the end of the export.
    fn read(&mut self, row: &mut Row) -> io::Result<bool>;

    /// What was read so far and is no row.
    fn skipped(&self) -> Skipped {
        Skipped::default()
    }
}

/// Footers whose text is kept.
const FOOTERS_KEPT: usize = 5;
/// The longest text of a footer that is kept, in characters.
const FOOTER_CHARS_MAX: usize = 60;

/// How many lines of an export are no rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct NoRows {
    /// Lines without any value.
    pub blank: u64,
    /// Lines that repeat the header.
    pub headers: u64,
    /// Lines below the last full row, such as totals.
    pub footers: u64,
}

/// Lines of an export that are no rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Skipped {
    pub lines: NoRows,
    /// The first footers, each with its first text.
    pub footer_texts: Vec<(RowRef, String)>,
    /// Values of JSON that are NaN or the like.
    pub no_numbers: u64,
}

impl Skipped {
    pub(super) fn add_footer(&mut self, at: RowRef, text: String) {
        self.lines.footers += 1;
        if self.footer_texts.len() < FOOTERS_KEPT {
            self.footer_texts.push((at, text.chars().take(FOOTER_CHARS_MAX).collect()));
        }
    }

    /// Adds the lines of a further file.
    pub(super) fn add(&mut self, further: Self, file: &'static str) {
        self.lines.blank += further.lines.blank;
        self.lines.headers += further.lines.headers;
        self.lines.footers += further.lines.footers;
        self.no_numbers += further.no_numbers;
        let texts = further.footer_texts.into_iter();
        self.footer_texts.extend(texts.map(|(at, text)| (RowRef { file: Some(file), ..at }, text)));
        self.footer_texts.truncate(FOOTERS_KEPT);
    }
}

/// A stream of rows.
#[derive(Debug)]
pub struct Rows {
    reader: Box<dyn RowReader>,
    columns: Arc<Columns>,
    /// Whether each column had a value so far; empty for an export with a header.
    has_value: Vec<bool>,
}

impl Rows {
    pub(super) fn new(reader: Box<dyn RowReader>, columns: Arc<Columns>) -> Self {
        let unchecked = if columns.has_header() { 0 } else { columns.names().len() };
        Self { reader, columns, has_value: vec![false; unchecked] }
    }

    /// Reads the next row into `row`; `false` at the end of the export. A
    /// malformed row is no error: see [`Row::fault`].
    pub fn read(&mut self, row: &mut Row) -> io::Result<bool> {
        let is_row = self.reader.read(row)?;
        if is_row {
            for (column, has_value) in self.has_value.iter_mut().enumerate().filter(|(_, has)| !**has) {
                *has_value = !row.bytes(column).is_empty();
            }
        }
        Ok(is_row)
    }

    /// What was read so far and is no row.
    pub fn skipped(&self) -> Skipped {
        self.reader.skipped()
    }

    /// Mapped keys that had no value in any row so far. Without a header,
    /// nothing else shows a misspelt name.
    pub(crate) fn absent_keys(&self) -> Vec<String> {
        let names = self.columns.names().iter().zip(&self.has_value);
        let absent = names.filter(|(name, has_value)| !**has_value && !name.starts_with(SYNC_PREFIX));
        absent.map(|(name, _)| name.clone()).collect()
    }
}
