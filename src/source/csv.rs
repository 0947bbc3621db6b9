//! CSV: delimited rows below a header, quoted by RFC 4180 or as MySQL does it.

mod footer;
mod header;
mod labels;
mod sniff;

use std::borrow::Cow;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use csv_core::ReadRecordResult;
use encoding_rs::Encoding;
use serde_json::Value;

use super::cell_syntax::{CellSyntax, Gaps, QuotedEnd};
use super::cells::Cells;
use super::columns::{Columns, named_width};
use super::error::ExportFault;
use super::export::{Export, Format, ResultCell, TableBody, TableHeader};
use super::records::{RawRecord, Records, is_ruler};
use super::rows::{Row, RowFault, RowReader, RowRef, Skipped};
use super::settings::{EscapeSetting, InputSettings, QuoteSetting};
use super::sheet::Sheet;
use super::text_file::TextFile;
use footer::FooterRule;
use header::{HeaderCells, Repeated};
use sniff::{Sniffed, excel_separator, has_fixed_columns, several_delimiters, sniff};

/// How a CSV export is written, and how many cells a row may have.
#[derive(Debug, Clone)]
struct Csv {
    syntax: CellSyntax,
    terminator: u8,
    /// Whether rows may stand whole in quotes.
    has_quoted_rows: bool,
    /// Whether quotes surround cells, as far as the first rows show.
    has_quoted_cells: bool,
    /// Cells of a sheet cannot shift, so that a row may have any number of them.
    sheet: Option<Arc<Sheet>>,
    header: HeaderCells,
    header_at: RowRef,
    /// The first line that may be the header.
    top: u64,
    /// All columns of the header.
    columns: usize,
    /// Those at its end that a result file added.
    results: usize,
    /// Without the columns at the end that have no name.
    named: usize,
    /// How many cells the rows of the export have.
    width: usize,
    footer: Option<FooterRule>,
}

/// Lines above the header that are searched for one.
const LINES_ABOVE_MAX: u64 = 50;

/// Opens a CSV export: finds its syntax, its header and the width of rows.
pub(super) fn open(text: TextFile, settings: &InputSettings) -> Result<Export, ExportFault> {
    let terminator = text.dialect.line_end.terminator();
    let sample = text.sample()?;
    let (separator, skipped) = match &text.sheet {
        Some(_) => (None, 0),
        None => excel_separator(&sample, terminator).unwrap_or_default(),
    };
    let Sniffed { syntax, has_quoted_rows, has_quoted_cells, notes } = match &text.sheet {
        Some(sheet) => Sniffed::of_sheet(settings, sheet),
        None => sniff(&sample[skipped..], settings, separator, terminator),
    };
    let (line, offset) = (1 + u64::from(skipped > 0), text.start + skipped as u64);
    if text.sheet.is_none()
        && settings.delimiter.0.is_none()
        && has_fixed_columns(&sample[skipped..], syntax, terminator)
    {
        return Err(ExportFault::FixedColumns);
    }
    let mut start = RowRef { number: 0, line, offset, len: 0, file: None };
    let csv = Csv {
        syntax,
        terminator,
        has_quoted_rows,
        has_quoted_cells,
        sheet: text.sheet.clone(),
        header: HeaderCells::default(),
        header_at: start,
        top: line,
        columns: 0,
        results: 0,
        named: 0,
        width: 0,
        footer: None,
    };
    // A result file has no lines above its header.
    if let Some(lines) = settings.skip.0.filter(|_| !csv.begins_a_result_file(&text, start)) {
        start = text.skip_lines(start, lines)?;
    }
    let is_last = |at: RowRef| settings.skip.0.is_some() || at.line >= LINES_ABOVE_MAX;
    let mut first_fault = None;
    let (csv, columns, first) = loop {
        let start = first_fault.as_ref().map_or(start, |(_, at): &NoHeader| *at);
        match csv.with_header(&text, start)? {
            None => return Err(first_fault.map_or(ExportFault::Empty, |(fault, _)| fault)),
            Some(Ok(header)) => break header,
            // A line above the header may be no row at all.
            Some(Err((fault, next))) => {
                let fault = first_fault.map_or(fault, |(first, _)| first);
                if is_last(next) {
                    return Err(fault);
                }
                first_fault = Some((fault, next));
            }
        }
    };
    let searches_header = settings.skip.0.is_none() && csv.results == 0;
    Ok(Export { notes, searches_header, ..Export::new(text, Box::new(csv), columns, first) })
}

/// Whether all names stand in quotes that a text program has made.
fn has_typographic_quotes(names: &[String]) -> bool {
    let is_quoted = |name: &String| name.starts_with(['“', '„', '”', '«']) && name.ends_with(['”', '“', '»']);
    names.len() > 1 && names.iter().all(is_quoted)
}

/// Bytes between the header and the first row that are looked at.
const GAP_BYTES_MAX: u64 = 4 << 10;
/// Rows from which their width is detected.
const ROWS_FOR_WIDTH: usize = 100;

/// A header that was read, its columns and the first row below it.
type WithHeader = (Csv, Columns, RowRef);
/// An unusable line in place of a header, and where the next one starts.
type NoHeader = (ExportFault, RowRef);

impl Csv {
    /// Reads the first record from `start` on as the header. In place of an
    /// unusable one, the fault and the start of the next record.
    fn with_header(
        &self,
        text: &TextFile,
        start: RowRef,
    ) -> Result<Option<Result<WithHeader, NoHeader>>, ExportFault> {
        let mut records = text.records(Some(self.syntax), RowRef { number: 0, ..start });
        let Some(header) = records.next()? else { return Ok(None) };
        let at = header.at;
        let read = HeaderCells::read(self, header, &text.dialect);
        let end = RowRef { number: 1, ..self.line_end(text, at)? };
        let first = records.next()?.map(|first| first.at);
        let (header, mut columns) = match read {
            Ok(read) => read,
            Err(problem) => {
                let fault = ExportFault::Header { line: at.line, problem };
                return Ok(Some(Err((fault, first.unwrap_or(end)))));
            }
        };
        if has_typographic_quotes(columns.names()) {
            return Err(ExportFault::TypographicQuotes { line: at.line });
        }
        if let Some(delimiters) = several_delimiters(columns.names(), self.syntax.delimiter) {
            return Err(ExportFault::SeveralDelimiters { line: at.line, delimiters });
        }
        columns.set_sheet(self.sheet.clone());
        let mut csv = Self { header, header_at: at, ..self.clone() };
        csv.set_columns(&columns);
        let first = first.unwrap_or(end);
        csv.detect_width(text, first)?;
        Ok(Some(Ok((csv, columns, first))))
    }

    /// Where the line behind a record starts that no row follows.
    fn line_end(&self, text: &TextFile, at: RowRef) -> io::Result<RowRef> {
        let (mut end, mut bytes) = (at.offset + at.len, [0; 2]);
        let len = text.file.read_at(&mut bytes, end)?;
        let terminator = memchr::memchr(self.terminator, &bytes[..len]);
        end += terminator.map_or(0, |at| at as u64 + 1);
        Ok(RowRef { line: at.line + 1, offset: end, len: 0, ..at })
    }

    /// Whether the first line is the header of a result file.
    fn begins_a_result_file(&self, text: &TextFile, start: RowRef) -> bool {
        matches!(self.with_header(text, start), Ok(Some(Ok((csv, ..)))) if csv.results > 0)
    }

    fn parser(&self) -> csv_core::Reader {
        self.syntax.parser(self.terminator)
    }

    fn set_columns(&mut self, columns: &Columns) {
        let names = columns.names();
        (self.columns, self.width) = (names.len(), names.len());
        self.results = names.len() - columns.own().count();
        // A result file has all of its columns in each row.
        self.named = if self.results == 0 { named_width(names) } else { names.len() };
    }

    /// Whether a row may have so many cells: one for each column; one for each
    /// own column, in a row that was added to a result file; or one for each
    /// column with a name. In the last case the last cell must have a value: a
    /// blank one suggests that a cell before it is lost.
    fn accepts(&self, cells: &Cells) -> bool {
        let is_last_blank = || cells.get(cells.len - 1).trim_ascii().is_empty();
        let is_full = match self.has_cell_behind() {
            true => cells.len == self.width,
            false => [self.width, self.columns, self.columns - self.results].contains(&cells.len),
        };
        is_full || cells.len == self.named && !is_last_blank()
    }

    /// Whether rows end with a delimiter, and so with a blank cell, where the header
    /// does not.
    fn has_cell_behind(&self) -> bool {
        self.width > self.columns
    }

    /// If the header or the rows end with delimiters, the first rows show whether
    /// the others do, too. One width holds for all rows. Otherwise a cell too many
    /// would pass for one without a name.
    fn detect_width(&mut self, text: &TextFile, first: RowRef) -> io::Result<()> {
        let Self { named, width, results, .. } = *self;
        if self.sheet.is_some() || results > 0 {
            return Ok(());
        }
        let other = if named < width { named } else { width + 1 };
        let (mut rows, mut row) = (self.rows(text, first), Row::default());
        let mut votes = Vec::new();
        for _ in 0..ROWS_FOR_WIDTH {
            // Another header shows once the rows are read.
            let Ok(true) = rows.read(&mut row) else { break };
            let cells = match row.fault() {
                Some(RowFault::Ragged { .. }) => &row.ragged,
                Some(_) => continue,
                None => &row.cells,
            };
            let is_other = cells.len == other && (other < width || cells.get(width).trim_ascii().is_empty());
            votes.push(i32::from(is_other) - i32::from(cells.len == width));
            // Rows as wide as a header without blank names need no further look.
            if named == width && votes[0] < 0 {
                return Ok(());
            }
        }
        let tie_break = votes.iter().find(|vote| **vote != 0).copied().unwrap_or_default();
        if (votes.iter().sum::<i32>(), tie_break) > (0, 0) {
            self.width = other;
        }
        Ok(())
    }

    fn rows(&self, text: &TextFile, from: RowRef) -> CsvReader {
        CsvReader {
            records: text.records(Some(self.syntax), from),
            parser: self.parser(),
            csv: self.clone(),
            encoding: text.dialect.encoding,
            skipped: Skipped::default(),
        }
    }

    /// Cells as one row, without a line end.
    fn line<T: AsRef<[u8]>>(&self, cells: impl IntoIterator<Item = T>) -> Vec<u8> {
        let mut line = Vec::new();
        for (at, cell) in cells.into_iter().enumerate() {
            if at > 0 {
                line.push(self.syntax.delimiter);
            }
            self.syntax.write_cell(&mut line, cell.as_ref());
        }
        line
    }

    /// The row as it stands in the export, without the columns of a result file.
    /// It has all cells of the export's own columns.
    fn own_row(&self, export: &Export, at: RowRef) -> io::Result<Vec<u8>> {
        let mut row = Row::default();
        export.rows_from(at).read(&mut row)?;
        let is_rewritten = self.results > 0 || row.cells.is_rewritten;
        if row.fault().is_none() && is_rewritten {
            return Ok(self.line(export.columns().own().map(|(column, _)| row.bytes(column))));
        }
        let mut bytes = export.row_bytes(at)?;
        if row.fault().is_some() && !export.is_in_own_syntax(at) {
            // As one cell: under this header its delimiters would make other cells.
            return Ok(self.line([bytes]));
        }
        if row.fault().is_none() {
            bytes.resize(bytes.len() + self.columns.saturating_sub(row.cells.len), self.syntax.delimiter);
        }
        Ok(bytes)
    }

    /// Splits a record into cells, whatever their number.
    fn split_cells(
        &self,
        bytes: &[u8],
        has_quotes: bool,
        parser: &mut csv_core::Reader,
        cells: &mut Cells,
    ) -> Result<(), RowFault> {
        if !has_quotes {
            split_plain(self.syntax.delimiter, bytes, cells);
            return Ok(());
        }
        match self.syntax.gaps {
            Gaps::Text => split_quoted(parser, bytes, cells),
            Gaps::Ignored => {
                split_quoted(parser, &self.syntax.without_gaps(bytes), cells);
                cells.is_rewritten = true;
            }
        }
        if !self.has_quoted_rows || cells.len != 1 {
            return Ok(());
        }
        let content = cells.get(0).to_vec();
        match self.syntax.record_end(&content, self.terminator) {
            QuotedEnd::Found(Err(fault)) | QuotedEnd::Open(Err(fault)) => return Err(fault),
            _ => {}
        }
        split_quoted(parser, &content, cells);
        cells.is_rewritten = true;
        Ok(())
    }

    fn split(
        &self,
        record: RawRecord,
        parser: &mut csv_core::Reader,
        cells: &mut Cells,
    ) -> Result<(), RowFault> {
        let bytes = record.bytes.map_err(|fault| match (&fault, self.stray_quote(record.line)) {
            (RowFault::TextAfterQuote { .. }, Some(column)) => RowFault::StrayQuote { column },
            _ => fault,
        })?;
        self.split_cells(bytes, record.has_quotes, parser, cells)?;
        if self.sheet.is_some() {
            cells.is_rewritten |= cells.len > self.columns;
            return Ok(());
        }
        if record.has_quotes
            && let Some(lines) = self.swallowed_lines(bytes, cells)
        {
            return Err(RowFault::HoldsRows { lines });
        }
        if !self.accepts(cells) {
            if record.has_quotes
                && let Some(column) = self.stray_quote(bytes)
            {
                return Err(RowFault::StrayQuote { column });
            }
            return Err(RowFault::Ragged { found: cells.len, expected: self.width });
        }
        cells.is_rewritten |= cells.len > self.columns;
        // A column without a name may have values; behind the last name they are
        // cells too many.
        let extra = self.named..cells.len.min(self.columns.max(self.width));
        match extra.into_iter().find(|at| !cells.get(*at).trim_ascii().is_empty()) {
            Some(at) => Err(RowFault::Unnamed { column: at + 1 }),
            None => Ok(()),
        }
    }

    /// The cell that begins with a quote, if the line has as many cells as a row where
    /// quotes are text. Where quotes surround other cells, they are not.
    fn stray_quote(&self, line: &[u8]) -> Option<usize> {
        if self.has_quoted_cells {
            return None;
        }
        let mut cells = Cells::default();
        split_plain(self.syntax.delimiter, line, &mut cells);
        let begins_with_quote = |cell: &[u8]| cell.first().copied() == self.syntax.quote;
        self.accepts(&cells).then(|| cells.iter().position(begins_with_quote))?.map(|at| at + 1)
    }

    /// The number of line ends in the one cell that has any, if its text looks
    /// like whole rows: without its quotes all of the record would be rows, or at
    /// least half of the lines inside are.
    fn swallowed_lines(&self, record: &[u8], cells: &Cells) -> Option<usize> {
        let Self { syntax: CellSyntax { delimiter, quote, .. }, terminator, results, .. } = self;
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
        let is_quoted_once =
            *results > 0 || quote.is_some_and(|quote| memchr::memchr_iter(quote, record).count() == 2);
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

    fn next_header(&self, export: &Export) -> Result<Option<TableHeader>, ExportFault> {
        let mut from = export.first;
        while from.line <= LINES_ABOVE_MAX && from.offset > self.header_at.offset {
            let found = match self.with_header(&export.text, from) {
                Err(fault @ ExportFault::Io(_)) => return Err(fault),
                // A row may look like a header that is not read.
                Err(_) => None,
                Ok(found) => found,
            };
            match found {
                None => return Ok(None),
                Some(Ok((csv, columns, first))) => {
                    return Ok(Some(TableHeader {
                        format: Box::new(csv),
                        columns: Arc::new(columns),
                        first,
                    }));
                }
                Some(Err((_, next))) => from = next,
            }
        }
        Ok(None)
    }

    fn find_body(
        &mut self,
        text: &TextFile,
        first: RowRef,
        id: &[usize],
        mapped: &[usize],
    ) -> io::Result<TableBody> {
        let (first, labels) = self.skip_labels(text, first, id, mapped)?;
        self.footer = self.footer_rule(text, first, id, mapped)?;
        let header = self.header_line().map(|line| format!("the header is on line {line}"));
        let labels = labels
            .iter()
            .map(|line| format!("the row on line {line} describes the columns, and is read as no customer"));
        let ruler = self.is_ruled(text, first)?.then(|| {
            "lines are drawn between its rows, and count as blank; psql --csv, mysql --batch and the like write none"
                .to_owned()
        });
        let cell_behind = self.has_cell_behind().then(|| {
            "rows end with a delimiter and the header does not; the blank cell behind it is left out"
                .to_owned()
        });
        Ok(TableBody {
            first,
            notes: header.into_iter().chain(labels).chain(ruler).chain(cell_behind).collect(),
        })
    }

    fn detected_settings(&self) -> Vec<(&'static str, toml::Value)> {
        let mut settings = Vec::new();
        match &self.sheet {
            Some(sheet) if sheet.names.len() > 1 => settings.push(("sheet", sheet.name.clone().into())),
            Some(_) => {}
            None => settings.push(("delimiter", char::from(self.syntax.delimiter).to_string().into())),
        }
        if self.syntax.quote == QuoteSetting::Single.byte() {
            settings.push(("quote", "'".into()));
        }
        if self.syntax.escape == EscapeSetting::Backslash {
            settings.push(("escape", "backslash".into()));
        }
        if self.header_line().is_some() {
            settings.push(("skip", toml::Value::Integer((self.header_at.line - self.top).cast_signed())));
        }
        settings
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
        Ok([self.own_row(export, at)?, vec![self.syntax.delimiter], results].concat())
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
    skipped: Skipped,
}

impl RowReader for CsvReader {
    fn read(&mut self, row: &mut Row) -> io::Result<bool> {
        let Self { records, parser, csv, encoding, skipped } = self;
        loop {
            let Some(record) = records.next()? else { return Ok(false) };
            let at = record.at;
            row.fill(at, encoding, |cells| csv.split(record, parser, cells));
            match csv.no_row(row) {
                None => return Ok(true),
                Some(NoRow::OtherHeader(fault)) => return Err(io::Error::other(fault)),
                Some(NoRow::Glued) => {
                    skipped.lines.headers += 1;
                    csv.unglue(row);
                    return Ok(true);
                }
                Some(NoRow::Blank) => skipped.lines.blank += 1,
                Some(NoRow::Header) => skipped.lines.headers += 1,
                Some(NoRow::Footer(text)) => skipped.add_footer(at, text),
            }
            records.uncount();
        }
    }

    fn skipped(&self) -> Skipped {
        let mut skipped = self.skipped.clone();
        skipped.lines.blank += self.records.blank();
        skipped
    }
}

/// A record that is no row.
enum NoRow {
    /// Nothing but cells beside the table of a sheet.
    Blank,
    Header,
    Glued,
    /// One that does not agree with that of the export.
    OtherHeader(ExportFault),
    Footer(String),
}

impl Csv {
    fn no_row(&self, row: &Row) -> Option<NoRow> {
        let cells = match row.fault() {
            None => &row.cells,
            Some(RowFault::Ragged { .. }) => &row.ragged,
            Some(_) => return None,
        };
        let is_blank = || (0..self.columns).all(|at| cells.get(at).trim_ascii().is_empty());
        if self.sheet.is_some() && is_blank() {
            return Some(NoRow::Blank);
        }
        if let Some(repeated) = self.header.compare(cells) {
            return Some(match repeated {
                Repeated::Header => NoRow::Header,
                Repeated::Glued => NoRow::Glued,
                Repeated::OtherOrder => NoRow::OtherHeader(ExportFault::OtherOrder { line: row.at().line }),
                // Directly below the header it may be labels of the columns.
                Repeated::OtherNames if row.at().number <= 1 => return None,
                Repeated::OtherNames => NoRow::OtherHeader(self.other_header(row.at(), cells)),
            });
        }
        let footer = self.footer.as_ref()?;
        let has_too_many = row.fault().is_some() && cells.len > self.width;
        (!has_too_many && footer.matches(row.at(), cells, self.width)).then(|| {
            let filled = cells.iter().map(<[u8]>::trim_ascii).filter(|cell| !cell.is_empty());
            NoRow::Footer(String::from_utf8_lossy(&filled.collect::<Vec<_>>().join(&b' ')).into_owned())
        })
    }

    fn other_header(&self, at: RowRef, cells: &Cells) -> ExportFault {
        let texts = |names: Vec<&[u8]>| {
            names.into_iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
        };
        let (lacking, others) = self.header.difference(cells);
        ExportFault::OtherHeader { line: at.line, lacking: texts(lacking), others: texts(others) }
    }

    /// The line of the header, if it is not the first one.
    fn header_line(&self) -> Option<u64> {
        Some(self.header_at.line).filter(|line| *line > self.top)
    }

    /// Whether a ruler stands between the header and the first row.
    fn is_ruled(&self, text: &TextFile, first: RowRef) -> io::Result<bool> {
        let from = self.header_at.offset + self.header_at.len;
        let mut gap = vec![0; first.offset.saturating_sub(from).min(GAP_BYTES_MAX) as usize];
        let len = text.file.read_at(&mut gap, from)?;
        let mut lines = gap[..len].split(|byte| *byte == self.terminator);
        Ok(lines.any(|line| is_ruler(line, Some(self.syntax))))
    }

    /// Takes the header off that stands behind the last cell of a row.
    fn unglue(&self, row: &mut Row) {
        let width = self.columns;
        let cells: Vec<Vec<u8>> = row.ragged.iter().take(width).map(<[u8]>::to_vec).collect();
        row.repair(|own| {
            own.clear();
            for (at, cell) in cells.iter().enumerate() {
                let cut = if at + 1 == width { self.header.glue(cell) } else { None };
                own.push(cut.unwrap_or(cell));
            }
            own.is_rewritten = true;
        });
    }
}

/// Splits a record without quotes: the delimiters stay in the buffer, as gaps
/// between cells.
fn split_plain(delimiter: u8, record: &[u8], cells: &mut Cells) {
    cells.clear();
    cells.buffer.extend_from_slice(record);
    push_positions(delimiter, record, &mut cells.ends);
    cells.ends.push(record.len());
    (cells.len, cells.gap) = (cells.ends.len(), 1);
}

/// Adds where the byte stands. It looks at eight bytes at once: cells are so short
/// that a vector search costs more for its start than for the bytes.
fn push_positions(byte: u8, bytes: &[u8], positions: &mut Vec<usize>) {
    const LOW: u64 = u64::from_ne_bytes([0x7f; 8]);
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let differing = u64::from_le_bytes(*word) ^ u64::from_ne_bytes([byte; 8]);
        // The high bit of each byte that is zero, and no other bit.
        let mut found = !(((differing & LOW) + LOW) | differing | LOW);
        while found != 0 {
            positions.push(8 * at + found.trailing_zeros() as usize / 8);
            found &= found - 1;
        }
    }
    let behind = 8 * words.len();
    positions.extend(rest.iter().enumerate().filter(|(_, found)| **found == byte).map(|(at, _)| behind + at));
}

/// Splits a sound record.
fn split_quoted(parser: &mut csv_core::Reader, record: &[u8], cells: &mut Cells) {
    let Cells { buffer, ends, len, gap, is_rewritten, .. } = cells;
    (*len, *gap, *is_rewritten) = (0, 0, false);
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
            ReadRecordResult::Record | ReadRecordResult::End => break,
        }
    }
    buffer.truncate(written);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_without_quotes_is_split_as_the_parser_splits_it(record in "[a\u{feff}é;, \t\r]{1,30}") {
            let (mut parsed, mut plain) = (Cells::default(), Cells::default());
            split_quoted(&mut CellSyntax::standard(b',').parser(b'\n'), record.as_bytes(), &mut parsed);
            split_plain(b',', record.as_bytes(), &mut plain);
            prop_assert!(plain.iter().eq(parsed.iter()));
        }
    }

    #[test]
    fn a_byte_order_mark_inside_the_file_is_text() {
        for record in ["\u{feff}a,b", "\u{feff}\"a,b"] {
            let mut cells = Cells::default();
            split_quoted(&mut CellSyntax::standard(b',').parser(b'\n'), record.as_bytes(), &mut cells);
            assert_eq!(cells.iter().collect::<Vec<_>>().join(&b','), record.as_bytes());
        }
    }
}
