//! CSV: delimited rows below a header, quoted by RFC 4180.

mod delimiter;

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use csv_core::ReadRecordResult;
use encoding_rs::Encoding;
use serde_json::Value;

use super::cells::Cells;
use super::columns::{Columns, named_width};
use super::dialect::{Dialect, likely_encoding};
use super::error::ExportFault;
use super::export::{Export, Format, ResultCell};
use super::records::{RawRecord, Records};
use super::rows::{Row, RowFault, RowReader, RowRef};
use super::settings::InputSettings;
use super::text_file::TextFile;
use delimiter::{detect_delimiter, excel_separator};

/// How a CSV export is written, and how many cells a row may have.
#[derive(Debug, Clone)]
struct Csv {
    delimiter: u8,
    terminator: u8,
    /// All columns of the header.
    columns: usize,
    /// Those at its end that a result file added.
    results: usize,
    /// Without the columns at the end that have no name.
    named: usize,
    /// How many cells the rows of the export have.
    width: usize,
    /// Columns without a name, in which no row has a value.
    unnamed: Vec<usize>,
}

/// Opens a CSV export: finds its delimiter, its header and the width of rows.
pub(super) fn open(text: TextFile, settings: &InputSettings) -> Result<Export, ExportFault> {
    let terminator = text.dialect.line_end.terminator();
    let sample = text.sample()?;
    let (separator, skipped) = excel_separator(&sample, terminator).unzip();
    let skipped = skipped.unwrap_or_default();
    let delimiter = settings.delimiter.0.or(separator);
    let delimiter = delimiter.unwrap_or_else(|| detect_delimiter(&sample[skipped..], terminator));
    let (line, offset) = (1 + u64::from(skipped > 0), text.start + skipped as u64);
    let mut records = text.records(Some(delimiter), RowRef { number: 0, line, offset, len: 0 });
    let Some(header) = records.next()? else { return Err(ExportFault::Empty) };
    let line = header.at.line;
    let end = RowRef { number: 1, line: line + 1, offset: header.at.offset + header.at.len, len: 0 };
    let names = header_names(header, delimiter, &text.dialect);
    let columns = names.and_then(Columns::from_header);
    let columns = columns.map_err(|problem| ExportFault::Header { line, problem })?;
    let first = records.next()?.map_or(end, |first| first.at);
    let mut csv = Csv::new(delimiter, terminator, &columns);
    csv.detect_width(&text, first)?;
    Ok(Export {
        text,
        format: Box::new(csv),
        columns: Arc::new(columns),
        first,
        origin: None,
        mapped_id: None,
    })
}

fn header_names(header: RawRecord, delimiter: u8, dialect: &Dialect) -> Result<Vec<String>, String> {
    let bytes = header.bytes.map_err(|fault| format!("the header cannot be read: {fault}"))?;
    let mut cells = Cells::default();
    // Files put together may have a second byte order mark.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    split_quoted(&mut parser(delimiter, dialect.line_end.terminator()), bytes, &mut cells);
    let name = |cell: &[u8]| {
        let name = dialect.encoding.decode_without_bom_handling_and_without_replacement(cell);
        name.map(|name| name.trim().to_owned()).ok_or_else(|| {
            format!(
                "the header is not {}; set encoding in [input], perhaps to \"{}\"",
                dialect.encoding.name(),
                likely_encoding(cell).name().to_ascii_lowercase()
            )
        })
    };
    cells.iter().map(name).collect()
}

/// Rows from which their width is detected.
const ROWS_FOR_WIDTH: usize = 100;

impl Csv {
    fn new(delimiter: u8, terminator: u8, columns: &Columns) -> Self {
        let names = columns.names();
        let results = names.len() - columns.own().count();
        // A result file has all of its columns in each row.
        let named = if results == 0 { named_width(names) } else { names.len() };
        let unnamed = (0..names.len()).filter(|at| names[*at].is_empty()).collect();
        let (columns, width) = (names.len(), names.len());
        Self { delimiter, terminator, columns, results, named, width, unnamed }
    }

    /// Whether a row may have so many cells: one for each column; one for each
    /// own column, in a row that was added to a result file; or one for each
    /// column with a name. In the last case the last cell must have a value: a
    /// blank one suggests that a cell before it is lost.
    fn accepts(&self, cells: &Cells) -> bool {
        let is_last_blank = || cells.get(cells.len - 1).trim_ascii().is_empty();
        [self.width, self.columns, self.columns - self.results].contains(&cells.len)
            || cells.len == self.named && !is_last_blank()
    }

    /// If the header ends with delimiters, the first rows show whether rows do,
    /// too. One width holds for all rows. Otherwise a cell too many would pass for
    /// one without a name.
    fn detect_width(&mut self, text: &TextFile, first: RowRef) -> io::Result<()> {
        let Self { named, width, .. } = *self;
        if named == width {
            return Ok(());
        }
        let (mut rows, mut row) = (self.rows(text, first), Row::default());
        let mut votes = Vec::new();
        for _ in 0..ROWS_FOR_WIDTH {
            if !rows.read(&mut row)? {
                break;
            }
            let cells = match row.fault() {
                Some(RowFault::Ragged { found, .. }) => *found,
                Some(_) => continue,
                None => row.cells.len,
            };
            votes.push(i32::from(cells == named) - i32::from(cells == width));
        }
        let tie_break = votes.iter().find(|vote| **vote != 0).copied().unwrap_or_default();
        if (votes.iter().sum::<i32>(), tie_break) > (0, 0) {
            self.width = named;
        }
        Ok(())
    }

    fn rows(&self, text: &TextFile, from: RowRef) -> CsvReader {
        CsvReader {
            records: text.records(Some(self.delimiter), from),
            parser: parser(self.delimiter, self.terminator),
            csv: self.clone(),
            encoding: text.dialect.encoding,
        }
    }

    /// Cells as one row, without a line end.
    fn line<T: AsRef<[u8]>>(&self, cells: impl IntoIterator<Item = T>) -> Vec<u8> {
        let mut writer = csv::WriterBuilder::new()
            .delimiter(self.delimiter)
            .terminator(csv::Terminator::Any(b'\n'))
            .from_writer(Vec::new());
        // Memory takes everything.
        let _ = writer.write_record(cells);
        let mut line = writer.into_inner().unwrap_or_default();
        line.pop();
        line
    }

    /// The row as it stands in the export, without the columns of a result file.
    /// It has all cells of the export's own columns.
    fn own_row(&self, export: &Export, at: RowRef) -> io::Result<Vec<u8>> {
        let mut row = Row::default();
        export.rows_from(at).read(&mut row)?;
        if row.fault().is_none() && self.results > 0 {
            return Ok(self.line(export.columns().own().map(|(column, _)| row.bytes(column))));
        }
        let mut bytes = export.row_bytes(at)?;
        if row.fault().is_none() {
            bytes.resize(bytes.len() + self.columns.saturating_sub(row.cells.len), self.delimiter);
        }
        Ok(bytes)
    }

    fn split(
        &self,
        record: RawRecord,
        parser: &mut csv_core::Reader,
        cells: &mut Cells,
    ) -> Result<(), RowFault> {
        let bytes = record.bytes?;
        if record.has_quotes {
            split_quoted(parser, bytes, cells);
            if let Some(lines) = self.swallowed_lines(bytes, cells) {
                return Err(RowFault::HoldsRows { lines });
            }
        } else {
            split_plain(self.delimiter, bytes, cells);
        }
        if !self.accepts(cells) {
            return Err(RowFault::Ragged { found: cells.len, expected: self.width });
        }
        match self.unnamed.iter().find(|at| !cells.get(**at).trim_ascii().is_empty()) {
            Some(at) => Err(RowFault::Unnamed { column: at + 1 }),
            None => Ok(()),
        }
    }

    /// The number of line ends in the one cell that has any, if its text looks
    /// like whole rows: without its quotes all of the record would be rows, or at
    /// least half of the lines inside are.
    fn swallowed_lines(&self, record: &[u8], cells: &Cells) -> Option<usize> {
        let Self { delimiter, terminator, results, .. } = self;
        memchr::memchr(*terminator, record)?;
        let width = self.width - results;
        let found = cells.len.checked_sub(*results)?;
        let mut multiline = (0..found).filter(|at| memchr::memchr(*terminator, cells.get(*at)).is_some());
        let (at, None) = (multiline.next()?, multiline.next()) else { return None };
        let lines: Vec<&[u8]> = cells.get(at).split(|byte| byte == terminator).collect();
        let last = lines.len() - 1;
        let is_row = |line: usize| {
            let before = if line == 0 { at } else { 0 };
            let after = if line == last { found - 1 - at } else { 0 };
            // A delimiter before a space is punctuation.
            let is_text = lines[line].windows(2).any(|pair| pair == [*delimiter, b' ']);
            let cells = memchr::memchr_iter(*delimiter, lines[line]).count() + 1;
            !is_text && before + cells + after == width
        };
        let inside = (1..last).filter(|line| !lines[*line].trim_ascii().is_empty());
        let (rows, others): (Vec<usize>, Vec<usize>) = inside.partition(|line| is_row(*line));
        // Two quotes: one that opens and one that closes.
        let is_quoted_once = *results > 0 || memchr::memchr_iter(b'"', record).count() == 2;
        let are_all = is_quoted_once && others.is_empty() && is_row(0) && is_row(last);
        let rows_min = if width > CELLS_MIN { 1 } else { 2 };
        let are_most = rows.len() >= rows_min.max(others.len());
        (width >= CELLS_MIN && (are_all || are_most)).then_some(last)
    }
}

/// Lines of ordinary text rarely have so many cells.
const CELLS_MIN: usize = 3;

impl Format for Csv {
    fn reader(&self, export: &Export, from: RowRef) -> Box<dyn RowReader> {
        Box::new(self.rows(&export.text, from))
    }

    fn detected_settings(&self) -> Vec<(&'static str, String)> {
        vec![("delimiter", char::from(self.delimiter).to_string())]
    }

    fn is_result_file(&self, _: &Export) -> io::Result<bool> {
        Ok(self.results > 0)
    }

    fn truncation(&self, last: &Row) -> Option<String> {
        match last.fault() {
            // Rows that a person added to a result file have no results.
            None if self.results == 0 && last.cells.len < self.width => {
                Some("it lacks the delimiter with which the other rows end".to_owned())
            }
            Some(RowFault::Ragged { found, expected }) if found < expected => {
                Some(format!("it has {found} of {expected} cells"))
            }
            Some(fault @ RowFault::UnclosedQuote { .. }) => Some(fault.to_string()),
            _ => None,
        }
    }

    fn result_extension(&self) -> &'static str {
        "csv"
    }

    fn result_header(&self, export: &Export, results: &[ResultCell]) -> Option<Vec<u8>> {
        let own = export.columns().own().map(|(_, name)| name);
        Some(export.dialect().encode(&self.line(own.chain(results.iter().map(|(name, _)| *name)))))
    }

    fn result_row(&self, export: &Export, at: RowRef, results: &[ResultCell]) -> io::Result<Vec<u8>> {
        let text = |value: &Value| {
            value.as_str().map_or_else(|| value.to_string(), |text| no_formula(text).into_owned())
        };
        let results = self.line(results.iter().map(|(_, value)| text(value)));
        let results = export.dialect().encode(&results);
        Ok([self.own_row(export, at)?, vec![self.delimiter], results].concat())
    }
}

/// A text that no spreadsheet reads as a formula: an apostrophe in front marks it.
pub(crate) fn no_formula(text: &str) -> Cow<'_, str> {
    const STARTS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];
    if text.starts_with(STARTS) { format!("'{text}").into() } else { text.into() }
}

#[derive(Debug)]
struct CsvReader {
    records: Records,
    parser: csv_core::Reader,
    csv: Csv,
    encoding: &'static Encoding,
}

impl RowReader for CsvReader {
    fn read(&mut self, row: &mut Row) -> io::Result<bool> {
        let Some(record) = self.records.next()? else { return Ok(false) };
        row.fill(record.at, self.encoding, |cells| self.csv.split(record, &mut self.parser, cells));
        Ok(true)
    }
}

fn parser(delimiter: u8, terminator: u8) -> csv_core::Reader {
    let terminator = csv_core::Terminator::Any(terminator);
    csv_core::ReaderBuilder::new().delimiter(delimiter).terminator(terminator).build()
}

/// Splits a record without quotes: the delimiters stay in the buffer, as gaps
/// between cells.
fn split_plain(delimiter: u8, record: &[u8], cells: &mut Cells) {
    cells.clear();
    cells.buffer.extend_from_slice(record);
    cells.ends.extend(memchr::memchr_iter(delimiter, record));
    cells.ends.push(record.len());
    (cells.len, cells.gap) = (cells.ends.len(), 1);
}

/// Splits a sound record.
fn split_quoted(parser: &mut csv_core::Reader, record: &[u8], cells: &mut Cells) {
    let Cells { buffer, ends, len, gap } = cells;
    (*len, *gap) = (0, 0);
    // Cells are never longer than the record. The parser needs one byte more: it
    // calls a buffer that is just filled too small.
    buffer.resize(record.len() + 1, 0);
    ends.resize(ends.len().max(1), 0);
    parser.reset();
    // The parser takes its input for the start of a file and drops a byte order
    // mark there. Here that is text, so the parser first gets one byte alone.
    let has_bom = record.starts_with(b"\xef\xbb\xbf");
    let (mut input, mut shown) = (record, if has_bom { 1 } else { record.len() });
    let mut written = 0;
    loop {
        let (result, read, wrote, ended) =
            parser.read_record(&input[..shown], &mut buffer[written..], &mut ends[*len..]);
        // An empty input ends the record.
        input = &input[read..];
        shown = input.len();
        written += wrote;
        *len += ended;
        match result {
            ReadRecordResult::OutputEndsFull => ends.resize(2 * ends.len(), 0),
            ReadRecordResult::OutputFull => buffer.resize(2 * buffer.len(), 0),
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::Record | ReadRecordResult::End => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_without_quotes_is_split_as_the_parser_splits_it(record in "[a\u{feff}é;, \t\r]{1,30}") {
            let (mut parsed, mut plain) = (Cells::default(), Cells::default());
            split_quoted(&mut parser(b',', b'\n'), record.as_bytes(), &mut parsed);
            split_plain(b',', record.as_bytes(), &mut plain);
            prop_assert!(plain.iter().eq(parsed.iter()));
        }
    }

    #[test]
    fn a_byte_order_mark_inside_the_file_is_text() {
        for record in ["\u{feff}a,b", "\u{feff}\"a,b"] {
            let mut cells = Cells::default();
            split_quoted(&mut parser(b',', b'\n'), record.as_bytes(), &mut cells);
            assert_eq!(cells.iter().collect::<Vec<_>>().join(&b','), record.as_bytes());
        }
    }
}
