//! Where one record ends and the next begins.
//!
//! The `csv` crate has no bound on a field. It lets an unclosed quote swallow
//! the rest of the file, and appends text after a closing quote to the cell. So
//! the extent of each record is found here first, bounded and with its physical
//! line. Only a sound record goes to the parser. A record with broken quotes
//! ends with its first physical line, and reading resumes on the next.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use memchr::{memchr, memchr_iter};

use super::cell_syntax::{CellSyntax, QuotedEnd};
use super::rows::{RECORD_BYTES_MAX, RowFault, RowRef};

const BLOCK_BYTES: usize = 256 << 10;

/// A record as it stands in the file, without its line end.
#[derive(Debug)]
pub(super) struct RawRecord<'a> {
    pub(super) at: RowRef,
    pub(super) bytes: Result<&'a [u8], RowFault>,
    pub(super) has_quotes: bool,
    /// The same, also of a faulty one: that is its first line.
    pub(super) line: &'a [u8],
}

/// Splits a file into records, from the start of any record on.
#[derive(Debug)]
pub(super) struct Records {
    file: Arc<File>,
    /// Of cells, which may be quoted. `None`: a record is a line.
    syntax: Option<CellSyntax>,
    terminator: u8,
    buffer: Vec<u8>,
    /// Where the next record starts in `buffer`.
    start: usize,
    /// Where `buffer` starts in the file.
    base: u64,
    number: u64,
    line: u64,
    is_at_end: bool,
    /// Blank lines, those of nothing but delimiters, and rulers.
    blank: u64,
}

impl Records {
    pub(super) fn new(file: Arc<File>, syntax: Option<CellSyntax>, terminator: u8, from: RowRef) -> Self {
        let RowRef { number, line, offset: base, .. } = from;
        let (buffer, start, is_at_end) = (Vec::new(), 0, false);
        Self { file, syntax, terminator, buffer, start, base, number, line, is_at_end, blank: 0 }
    }

    /// The next record that is not a blank line.
    pub(super) fn next(&mut self) -> io::Result<Option<RawRecord<'_>>> {
        let line_len = loop {
            let Some(len) = self.line_len()? else { return self.skip_long_line().map(Some) };
            if self.is_at_end && self.start == self.buffer.len() {
                return Ok(None);
            }
            let line = self.ahead(len);
            if !is_blank(line, self.syntax) && !is_ruler(line, self.syntax) {
                break len;
            }
            self.consume(len, 1);
            self.blank += 1;
        };
        let line = without_cr(self.ahead(line_len));
        let quoting = self.syntax.filter(|syntax| syntax.has_quotes(line));
        let (len, fault) = match quoting.map(|syntax| self.quoted_len(syntax)).transpose()? {
            None => (line_len, None),
            Some(Ok(len)) => (len, None),
            Some(Err(fault)) => (line_len, Some(fault)),
        };
        let mut lines = 1;
        if len > line_len {
            lines += memchr_iter(self.terminator, self.ahead(len)).count() as u64;
        }
        let from = self.start;
        let to = from + without_cr(self.ahead(len)).len();
        let at = self.row_ref((to - from) as u64);
        self.number += 1;
        self.consume(len, lines);
        let line = &self.buffer[from..to];
        let bytes = fault.map_or(Ok(line), Err);
        Ok(Some(RawRecord { at, bytes, has_quotes: quoting.is_some(), line }))
    }

    /// Takes the number of the last record back: it is no row.
    pub(super) fn uncount(&mut self) {
        self.number -= 1;
    }

    /// Blank lines so far.
    pub(super) fn blank(&self) -> u64 {
        self.blank
    }

    fn ahead(&self, len: usize) -> &[u8] {
        &self.buffer[self.start..self.start + len]
    }

    fn row_ref(&self, len: u64) -> RowRef {
        RowRef {
            number: self.number,
            line: self.line,
            offset: self.base + self.start as u64,
            len,
            file: None,
        }
    }

    /// Length of the physical line at the start, without its end; `None` if
    /// that is longer than a record may be.
    fn line_len(&mut self) -> io::Result<Option<usize>> {
        let mut searched = 0;
        loop {
            if let Some(at) = memchr(self.terminator, &self.buffer[self.start + searched..]) {
                return Ok(Some(searched + at));
            }
            searched = self.buffer.len() - self.start;
            if self.is_at_end {
                return Ok(Some(searched));
            }
            if searched > RECORD_BYTES_MAX {
                return Ok(None);
            }
            self.fill()?;
        }
    }

    /// Length of the record at the start, which has quotes.
    fn quoted_len(&mut self, syntax: CellSyntax) -> io::Result<Result<usize, RowFault>> {
        loop {
            let data = &self.buffer[self.start..];
            let bounded = &data[..data.len().min(RECORD_BYTES_MAX)];
            let is_cut = bounded.len() < data.len();
            match syntax.record_end(bounded, self.terminator) {
                QuotedEnd::Open(_) if !is_cut && !self.is_at_end => self.fill()?,
                QuotedEnd::Open(Ok(_)) if is_cut => return Ok(Err(RowFault::TooLong)),
                QuotedEnd::Found(found) | QuotedEnd::Open(found) => return Ok(found),
            }
        }
    }

    /// Skips a line that is longer than a record may be, without keeping it.
    fn skip_long_line(&mut self) -> io::Result<RawRecord<'_>> {
        let mut at = self.row_ref(0);
        self.number += 1;
        loop {
            let data = &self.buffer[self.start..];
            if let Some(len) = memchr(self.terminator, data) {
                at.len += len as u64;
                self.consume(len, 1);
                break;
            }
            at.len += data.len() as u64;
            self.start = self.buffer.len();
            if self.is_at_end {
                break;
            }
            self.fill()?;
        }
        Ok(RawRecord { at, bytes: Err(RowFault::TooLong), has_quotes: false, line: &[] })
    }

    fn consume(&mut self, len: usize, lines: u64) {
        self.start = (self.start + len + 1).min(self.buffer.len());
        self.line += lines;
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.start);
        self.base += self.start as u64;
        self.start = 0;
        let kept = self.buffer.len();
        self.buffer.resize(kept + BLOCK_BYTES, 0);
        let got = loop {
            // By position: several readers share the file.
            match self.file.read_at(&mut self.buffer[kept..], self.base + kept as u64) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.buffer.truncate(kept + got);
        self.is_at_end = got == 0;
        Ok(())
    }
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Whether a line holds no value: nothing but spaces, delimiters and pairs of
/// quotes.
fn is_blank(line: &[u8], syntax: Option<CellSyntax>) -> bool {
    let (delimiter, quote) = syntax.map_or((b' ', None), |syntax| (syntax.delimiter, syntax.quote));
    let mut rest = line;
    while let Some((byte, behind)) = rest.split_first() {
        let is_gap = byte.is_ascii_whitespace() || *byte == delimiter;
        rest = match behind {
            _ if is_gap => behind,
            // Three quotes and more begin a text.
            [second, behind @ ..]
                if Some(*byte) == quote && second == byte && behind.first() != Some(byte) =>
            {
                behind
            }
            _ => return false,
        };
    }
    true
}

/// The characters of which programs draw lines between rows.
const RULER: &[u8] = b"-=+|: \t\r";

/// Whether a line is drawn between rows: `-----+----`, `|---|:--|`.
pub(super) fn is_ruler(line: &[u8], syntax: Option<CellSyntax>) -> bool {
    let Some(CellSyntax { delimiter, .. }) = syntax else { return false };
    line.iter().all(|byte| RULER.contains(byte) || *byte == delimiter)
        && line.windows(3).any(|part| part == b"---" || part == b"===")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn records_from(text: &str, from: RowRef) -> Records {
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(text.as_bytes()).expect("written");
        Records::new(Arc::new(file), Some(CellSyntax::standard(b',')), b'\n', from)
    }

    fn text(record: RawRecord) -> Result<String, RowFault> {
        record.bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    fn records(text: &str) -> Vec<(RowRef, Result<String, RowFault>)> {
        let mut records = records_from(text, RowRef { number: 1, line: 1, ..RowRef::default() });
        let mut all = Vec::new();
        while let Some(record) = records.next().expect("readable") {
            all.push((record.at, self::text(record)));
        }
        all
    }

    fn lines_and_texts(text: &str) -> Vec<(u64, String)> {
        records(text).into_iter().map(|(at, text)| (at.line, text.unwrap_or_default())).collect()
    }

    #[test]
    fn quoted_line_breaks_belong_to_the_record_and_count_as_lines() {
        let found = lines_and_texts("a,b\r\n1,\"x\r\ny\"\r\n\r\n2,z");
        let expected = [(1, "a,b"), (2, "1,\"x\r\ny\""), (5, "2,z")];
        assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn a_broken_quote_costs_its_own_line_and_no_other() {
        let faults: Vec<_> = records("a,b\n1,\"open\n2,fine\n3,\"x\"y\n4,last\n")
            .into_iter()
            .map(|(at, text)| (at.line, text.err()))
            .collect();
        assert_eq!(
            faults,
            [
                (1, None),
                (2, Some(RowFault::TextAfterQuote { column: 2 })),
                (3, None),
                (4, Some(RowFault::TextAfterQuote { column: 2 })),
                (5, None),
            ]
        );
        let unclosed = records("a,b\n1,\"open\n2,fine\n");
        assert_eq!(unclosed[1].1, Err(RowFault::UnclosedQuote { column: 2 }));
        assert_eq!(unclosed[2].1.as_deref(), Ok("2,fine"));
    }

    #[test]
    fn a_blank_line_after_an_open_quote_does_not_end_the_file() {
        let found = lines_and_texts("a,b\n1,\"open\n2,fine\n\n3,last\n");
        assert_eq!(found.last(), Some(&(5, "3,last".to_owned())));
    }

    #[test]
    fn a_quoted_line_just_over_the_bound_is_one_row_and_too_long() {
        let text = format!("a,b\n\"x\",{}\nc,d\n", "y".repeat(RECORD_BYTES_MAX + 10));
        let found = records(&text);
        assert_eq!((found.len(), &found[1].1, found[2].0.line), (3, &Err(RowFault::TooLong), 3));
    }

    #[test]
    fn a_quote_inside_an_unquoted_cell_is_text() {
        assert_eq!(lines_and_texts("1,5\" pipe,x\n2,y\n").len(), 2);
    }

    #[test]
    fn rulers_are_no_records_and_dashes_are() {
        let found = lines_and_texts("a,b\n---,---\n-,-\n----+----\n|:---|===|\n--,1\n");
        assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 3, 6]);
    }

    #[test]
    fn a_line_over_the_bound_is_skipped() {
        let text = format!("a\n{}\nb\n", "x".repeat(3 * RECORD_BYTES_MAX));
        let found = records(&text);
        assert_eq!(found[1].1, Err(RowFault::TooLong));
        assert_eq!((found[2].0.line, found[2].1.as_deref()), (3, Ok("b")));
    }

    #[test]
    fn offsets_lead_back_to_the_same_record() {
        let text = "a,b\n1,\"x\ny\"\n\n2,z\n3,w\n";
        for (at, record) in records(text) {
            let mut again = records_from(text, at);
            let found = again.next().expect("readable").expect("a record");
            assert_eq!((found.at, self::text(found)), (at, record));
        }
    }
}
