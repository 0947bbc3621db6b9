//! One row: its place, its cells, and what is wrong with it.

use std::borrow::Cow;
use std::fs::File;
use std::sync::Arc;

use super::columns::Columns;
use super::dialect::{Dialect, Format};
use super::json;
use super::records::{Extent, Fault, RECORD_BYTES_MAX, Records};

/// Where a row stands. Everything that is said about a row names it by this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowRef {
    /// 1-based, the header not counted.
    pub number: u64,
    /// Physical line on which it starts, 1-based.
    pub line: u64,
    /// Byte offset of its first byte in the export as spooled.
    pub offset: u64,
    /// Bytes, without the line end.
    pub len: u64,
}

/// Why a row could not be split into cells.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowFault {
    /// A quote with no end, or none within the bound of a record.
    #[error("the quote that opens cell {column} is never closed; close it, or double a quote that is text")]
    UnclosedQuote {
        /// 1-based.
        column: usize,
    },
    /// Text behind a closing quote.
    #[error("there is text behind the closing quote of cell {column}; double a quote that is text")]
    TextAfterQuote {
        /// 1-based.
        column: usize,
    },
    /// A quote that opened by chance and closed by chance, with rows between.
    #[error(
        "a quote that opens in it closes {lines} line(s) further down, and between them is what looks like rows; take out quotes that stand for inches or the like, or double them"
    )]
    HoldsRows {
        /// Lines behind the first.
        lines: usize,
    },
    /// Another number of cells than the header has.
    #[error(
        "the row has {found} cells and the header {expected}; is a cell with the delimiter in it not quoted?"
    )]
    Ragged {
        /// In this row.
        found: usize,
        /// In the header.
        expected: usize,
    },
    /// A value behind the last cell that has a name.
    #[error(
        "cell {column} has a value, and its column no name; is a cell with the delimiter in it not quoted?"
    )]
    Unnamed {
        /// 1-based.
        column: usize,
    },
    /// More bytes than [`RECORD_BYTES_MAX`].
    #[error("the row is longer than {RECORD_BYTES_MAX} bytes; is a line end missing?")]
    TooLong,
    /// A line that is no JSON object.
    #[error("the line is no JSON object: {0}")]
    NotAnObject(String),
    /// A key twice in one object: which one counts?
    #[error("the key {0:?} is there twice; take one out")]
    DuplicateKey(String),
    /// A list or an object where a value is mapped.
    #[error(
        "the key {0:?} holds a list or an object where a text, a number, true, false or null is needed; map one of its members, such as \"{0}.name\""
    )]
    NotAValue(String),
}

/// A cell that is not text in the export's encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadText {
    /// The encoding it was read in.
    pub encoding: &'static str,
}

/// One row of an export. Reused from row to row: see [`Rows::read`].
#[derive(Debug, Clone)]
pub struct Row {
    at: RowRef,
    cells: Cells,
    fault: Option<RowFault>,
    encoding: &'static encoding_rs::Encoding,
}

impl Default for Row {
    fn default() -> Self {
        Self { at: RowRef::default(), cells: Cells::default(), fault: None, encoding: encoding_rs::UTF_8 }
    }
}

impl Row {
    /// Where it stands.
    #[must_use]
    pub fn at(&self) -> RowRef {
        self.at
    }

    /// What is wrong with it, if it could not be split into cells.
    #[must_use]
    pub fn fault(&self) -> Option<&RowFault> {
        self.fault.as_ref()
    }

    /// The text of a cell, as it stands in the export; blank if the row has none.
    ///
    /// # Errors
    ///
    /// [`BadText`] for bytes that the encoding does not know, and for U+FFFD,
    /// which is what some other program made of such bytes before.
    pub fn text(&self, column: usize) -> Result<Cow<'_, str>, BadText> {
        let bytes = self.cells.get(column);
        let bad = BadText { encoding: self.encoding.name() };
        let text = if self.encoding == encoding_rs::UTF_8 {
            std::str::from_utf8(bytes).ok().map(Cow::Borrowed)
        } else {
            self.encoding.decode_without_bom_handling_and_without_replacement(bytes)
        };
        text.filter(|text| !holds_replacement(text)).ok_or(bad)
    }

    /// How many cells the row has.
    pub(super) fn cells(&self) -> usize {
        self.cells.len
    }

    /// The cell's own bytes.
    #[must_use]
    pub fn bytes(&self, column: usize) -> &[u8] {
        self.cells.get(column)
    }
}

/// Whether U+FFFD is in the text, of which the first byte is rare enough to
/// look for it alone.
fn holds_replacement(text: &str) -> bool {
    memchr::memchr(0xEF, text.as_bytes()).is_some() && text.contains('\u{FFFD}')
}

/// Cells end to end in one buffer, so that a row allocates nothing once the
/// buffer has grown.
#[derive(Debug, Clone, Default)]
pub(super) struct Cells {
    buffer: Vec<u8>,
    ends: Vec<usize>,
    len: usize,
    /// Bytes between two cells.
    gap: usize,
}

impl Cells {
    pub(super) fn get(&self, at: usize) -> &[u8] {
        if at >= self.len {
            return &[];
        }
        let from = if at == 0 { 0 } else { self.ends[at - 1] + self.gap };
        &self.buffer[from..self.ends[at]]
    }

    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.ends.clear();
        self.len = 0;
        self.gap = 0;
    }

    pub(super) fn push(&mut self, cell: &[u8]) {
        self.buffer.extend_from_slice(cell);
        self.ends.push(self.buffer.len());
        self.len += 1;
    }

    /// Splits a CSV record that has no quotes: a cell is what stands between
    /// two delimiters, which stay in the buffer.
    fn split_plain(&mut self, delimiter: u8, record: &[u8]) {
        self.buffer.clear();
        self.buffer.extend_from_slice(record);
        self.ends.clear();
        self.ends.extend(memchr::memchr_iter(delimiter, record));
        self.ends.push(record.len());
        self.len = self.ends.len();
        self.gap = 1;
    }

    /// Splits one sound CSV record.
    fn split(&mut self, parser: &mut csv_core::Reader, record: &[u8], expected: usize) {
        // Cells are never longer than the record; one byte more, since the
        // parser calls a buffer that is just filled too small.
        self.buffer.resize(record.len() + 1, 0);
        self.ends.resize(expected + 1, 0);
        parser.reset();
        // The parser drops a byte order mark at the start of its input, which
        // it takes for the start of a file. Here that is a cell's own text, so
        // it gets to see the first byte alone.
        let marked = record.starts_with(b"\xef\xbb\xbf");
        let (mut input, mut shown) = (record, if marked { 1 } else { record.len() });
        let mut written = 0;
        (self.len, self.gap) = (0, 0);
        loop {
            let (result, read, wrote, ended) =
                parser.read_record(&input[..shown], &mut self.buffer[written..], &mut self.ends[self.len..]);
            // An empty input tells the parser that the record is complete.
            input = &input[read..];
            shown = input.len();
            written += wrote;
            self.len += ended;
            match result {
                csv_core::ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                csv_core::ReadRecordResult::OutputFull => self.buffer.resize(2 * self.buffer.len(), 0),
                csv_core::ReadRecordResult::InputEmpty => {}
                csv_core::ReadRecordResult::Record | csv_core::ReadRecordResult::End => return,
            }
        }
    }
}

/// A stream of rows.
#[derive(Debug)]
pub struct Rows {
    records: Records,
    columns: Arc<Columns>,
    dialect: Dialect,
    parser: csv_core::Reader,
    shape: json::Shape,
    number: u64,
    /// Of JSON lines: which keys had a value so far.
    seen: Vec<bool>,
}

impl Rows {
    pub(super) fn new(file: Arc<File>, dialect: Dialect, columns: Arc<Columns>, from: RowRef) -> Self {
        let parser = csv_core::ReaderBuilder::new()
            .delimiter(dialect.delimiter)
            .terminator(csv_core::Terminator::Any(dialect.terminator))
            .build();
        let records = Records::at(file, dialect.framing(), from.offset, from.line);
        let seen = vec![dialect.format == Format::Csv; columns.names().len()];
        Self { records, columns, dialect, parser, shape: json::Shape::default(), number: from.number, seen }
    }

    /// Reads the next row into `row`; `false` at the end of the export.
    ///
    /// # Errors
    ///
    /// What the system says of the file. A malformed row is none: see
    /// [`Row::fault`].
    pub fn read(&mut self, row: &mut Row) -> std::io::Result<bool> {
        let Some((extent, bytes)) = self.records.next()? else {
            return Ok(false);
        };
        // Members of JSON objects are kept as UTF-8.
        row.encoding = match self.dialect.format {
            Format::Csv => self.dialect.encoding,
            Format::Jsonl => encoding_rs::UTF_8,
        };
        row.at =
            RowRef { number: self.number, line: extent.line, offset: extent.offset, len: extent.len as u64 };
        let parsers = (&mut self.parser, &mut self.shape);
        row.fault = parse(extent, bytes, &self.columns, &self.dialect, parsers, &mut row.cells).err();
        if row.fault.is_some() {
            row.cells.clear();
        }
        for (column, seen) in self.seen.iter_mut().enumerate().filter(|(_, seen)| !**seen) {
            *seen = !row.cells.get(column).is_empty();
        }
        self.number += 1;
        Ok(true)
    }
}

impl Rows {
    /// Keys that were asked for and had no value in any row so far. JSON lines
    /// have no header that could show a misspelt name.
    #[must_use]
    pub fn unseen(&self) -> Vec<String> {
        let names = self.columns.names().iter().zip(&self.seen);
        names.filter(|(_, seen)| !**seen).map(|(name, _)| name.clone()).collect()
    }
}

fn parse(
    extent: Extent,
    bytes: &[u8],
    columns: &Columns,
    dialect: &Dialect,
    (parser, shape): (&mut csv_core::Reader, &mut json::Shape),
    cells: &mut Cells,
) -> Result<(), RowFault> {
    match extent.fault {
        Some(Fault::UnclosedQuote { column }) => return Err(RowFault::UnclosedQuote { column }),
        Some(Fault::TextAfterQuote { column }) => return Err(RowFault::TextAfterQuote { column }),
        Some(Fault::TooLong) => return Err(RowFault::TooLong),
        None => {}
    }
    if dialect.format == Format::Jsonl {
        return json::split(bytes, dialect.encoding, columns, shape, cells);
    }
    let expected = columns.width();
    match extent.is_quoted {
        true => cells.split(parser, bytes, expected),
        false => cells.split_plain(dialect.delimiter, bytes),
    }
    if extent.is_quoted
        && memchr::memchr(dialect.terminator, bytes).is_some()
        && let Some(lines) = rows_inside(bytes, cells, columns, dialect)
    {
        return Err(RowFault::HoldsRows { lines });
    }
    let is_last_blank = |cells: &Cells| cells.get(cells.len - 1).trim_ascii().is_empty();
    if !columns.takes(cells.len, || is_last_blank(cells)) {
        return Err(RowFault::Ragged { found: cells.len, expected });
    }
    match columns.unnamed().iter().find(|at| !cells.get(**at).trim_ascii().is_empty()) {
        Some(at) => Err(RowFault::Unnamed { column: at + 1 }),
        None => Ok(()),
    }
}

/// Fewer cells than this, and lines of a text have as many by chance.
const CELLS_TOLD: usize = 3;

/// How many lines a cell goes over, if what is in it looks like whole rows: all
/// of the record would be rows without its quotes, or half of the lines inside
/// are. A delimiter with a space behind it is one of a text.
fn rows_inside(record: &[u8], cells: &Cells, columns: &Columns, dialect: &Dialect) -> Option<usize> {
    let results = columns.names().len() - columns.own().count();
    let (width, found) = (columns.width() - results, cells.len.checked_sub(results)?);
    let mut over = (0..found).filter(|at| memchr::memchr(dialect.terminator, cells.get(*at)).is_some());
    let (at, None) = (over.next()?, over.next()) else { return None };
    let lines: Vec<&[u8]> = cells.get(at).split(|byte| *byte == dialect.terminator).collect();
    let last = lines.len() - 1;
    let is_row = |line: usize, text: &[u8]| {
        let before = if line == 0 { at } else { 0 };
        let behind = if line == last { found - 1 - at } else { 0 };
        let is_text = text.windows(2).any(|pair| pair[0] == dialect.delimiter && pair[1] == b' ');
        let cells = memchr::memchr_iter(dialect.delimiter, text).count() + 1;
        !is_text && before + cells + behind == width
    };
    let inside = lines
        .iter()
        .enumerate()
        .filter(|(line, text)| *line > 0 && *line < last && !text.trim_ascii().is_empty());
    let (rows, others): (Vec<_>, Vec<_>) = inside.partition(|(line, text)| is_row(*line, text));
    // Two quotes: the one that opened, and the one that closed.
    let is_quoted_once = columns.has_results() || memchr::memchr_iter(b'"', record).count() == 2;
    let is_all = is_quoted_once && others.is_empty() && is_row(0, lines[0]) && is_row(last, lines[last]);
    let rows_min = if width > CELLS_TOLD { 1 } else { 2 };
    let are_most = rows.len() >= rows_min.max(others.len());
    (width >= CELLS_TOLD && (is_all || are_most)).then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_without_quotes_is_split_as_the_parser_splits_it(record in "[a\u{feff}é;, \t\r]{1,30}") {
            let (mut parsed, mut plain) = (Cells::default(), Cells::default());
            let terminator = csv_core::Terminator::Any(b'\n');
            let mut parser = csv_core::ReaderBuilder::new().terminator(terminator).build();
            parsed.split(&mut parser, record.as_bytes(), 3);
            plain.split_plain(b',', record.as_bytes());
            prop_assert_eq!(plain.len, parsed.len);
            for cell in 0..=plain.len {
                prop_assert_eq!(plain.get(cell), parsed.get(cell), "cell {}", cell);
            }
        }
    }

    #[test]
    fn a_byte_order_mark_inside_the_file_is_text() {
        for record in ["\u{feff}a,b", "\u{feff}\"a,b"] {
            let (mut cells, mut parser) = (Cells::default(), csv_core::Reader::new());
            cells.split(&mut parser, record.as_bytes(), 2);
            assert_eq!((cells.len, [cells.get(0), b",", cells.get(1)].concat()), (2, record.into()));
        }
    }
}
