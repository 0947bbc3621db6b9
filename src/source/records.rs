//! Where one record ends and the next begins.
//!
//! The `csv` crate has no bound on a field, lets an unclosed quote swallow the
//! rest of the file and glues text behind a closing quote to the cell. So the
//! extent of each record is found here first, bounded and with its physical
//! line, and only a sound record goes to the parser. A record whose quoting is
//! broken ends with its first physical line: what stands behind it is read on.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use memchr::{memchr, memchr2};

/// The longest record that is read, in bytes. The bound keeps memory bounded;
/// no customer's row comes near it.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

const BLOCK_BYTES: usize = 256 << 10;

/// What is wrong with the quoting of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    UnclosedQuote { column: usize },
    TextAfterQuote { column: usize },
    TooLong,
}

/// One record's place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub(super) offset: u64,
    pub(super) line: u64,
    /// In bytes, without the line end.
    pub(super) len: usize,
    /// Whether there is a quote in it.
    pub(super) is_quoted: bool,
    pub(super) fault: Option<Fault>,
}

/// The bytes that structure a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Framing {
    /// `None` for JSON lines: no quotes, a record is a line.
    pub(super) delimiter: Option<u8>,
    /// `\n`, or `\r` for files of old Macs.
    pub(super) terminator: u8,
}

/// Splits a file into records, from any record's start on.
#[derive(Debug)]
pub(super) struct Records {
    file: Arc<File>,
    framing: Framing,
    buffer: Vec<u8>,
    start: usize,
    /// Offset in the file of `buffer[0]`.
    base: u64,
    line: u64,
    at_end: bool,
}

impl Records {
    /// Reads on from `offset`, which is the start of physical line `line`.
    pub(super) fn at(file: Arc<File>, framing: Framing, offset: u64, line: u64) -> Self {
        Self { file, framing, buffer: Vec::new(), start: 0, base: offset, line, at_end: false }
    }

    /// The next record that is not a blank line, with its bytes.
    pub(super) fn next(&mut self) -> std::io::Result<Option<(Extent, &[u8])>> {
        loop {
            let Some(line_len) = self.line_len()? else {
                return self.too_long();
            };
            let (from, to) = (self.start, self.start + line_len);
            if self.at_end && from == self.buffer.len() {
                return Ok(None);
            }
            let content = without_cr(&self.buffer[from..to]);
            if content.iter().all(u8::is_ascii_whitespace) && !content.contains(&b'\t') {
                self.consume(line_len, 1);
                continue;
            }
            let quoted = self.framing.delimiter.filter(|_| memchr(b'"', content).is_some());
            let (len, fault) = match quoted {
                None => (line_len, None),
                Some(delimiter) => match self.quoted_len(delimiter)? {
                    Ok(len) => (len, None),
                    Err(fault) => (line_len, Some(fault)),
                },
            };
            let start = self.start;
            let bytes = start..start + len;
            let lines = match len == line_len {
                true => 1,
                false => {
                    1 + memchr::memchr_iter(self.framing.terminator, &self.buffer[bytes.clone()]).count()
                        as u64
                }
            };
            let extent = Extent {
                offset: self.base + start as u64,
                line: self.line,
                len: without_cr(&self.buffer[bytes.clone()]).len(),
                is_quoted: quoted.is_some(),
                fault,
            };
            self.consume(len, lines);
            return Ok(Some((extent, &self.buffer[start..start + extent.len])));
        }
    }

    /// Length of the physical line at the start, without its end; `None` if
    /// that is longer than a record may be.
    fn line_len(&mut self) -> std::io::Result<Option<usize>> {
        let mut searched = 0;
        loop {
            if let Some(at) = memchr(self.framing.terminator, &self.buffer[self.start + searched..]) {
                return Ok(Some(searched + at));
            }
            searched = self.buffer.len() - self.start;
            if self.at_end {
                return Ok(Some(searched));
            }
            if searched > RECORD_BYTES_MAX {
                return Ok(None);
            }
            self.fill()?;
        }
    }

    /// Length of the record at the start, which has quotes.
    fn quoted_len(&mut self, delimiter: u8) -> std::io::Result<Result<usize, Fault>> {
        loop {
            let data = &self.buffer[self.start..];
            let bounded = &data[..data.len().min(RECORD_BYTES_MAX)];
            let is_cut = bounded.len() < data.len();
            match quoted_extent(bounded, delimiter, self.framing.terminator, self.at_end || is_cut) {
                Some(Ok(len)) if is_cut && len == bounded.len() => return Ok(Err(Fault::TooLong)),
                Some(found) => return Ok(found),
                None => self.fill()?,
            }
        }
    }

    /// Steps over a line that is longer than a record may be, without keeping it.
    fn too_long(&mut self) -> std::io::Result<Option<(Extent, &[u8])>> {
        let offset = self.base + self.start as u64;
        let line = self.line;
        let mut len = 0;
        loop {
            let data = &self.buffer[self.start..];
            if let Some(at) = memchr(self.framing.terminator, data) {
                len += at;
                self.consume(at, 1);
                break;
            }
            len += data.len();
            self.start = self.buffer.len();
            if self.at_end {
                break;
            }
            self.fill()?;
        }
        Ok(Some((Extent { offset, line, len, is_quoted: false, fault: Some(Fault::TooLong) }, &[])))
    }

    fn consume(&mut self, len: usize, lines: u64) {
        self.start = (self.start + len + 1).min(self.buffer.len());
        self.line += lines;
    }

    fn fill(&mut self) -> std::io::Result<()> {
        self.buffer.drain(..self.start);
        self.base += self.start as u64;
        self.start = 0;
        let have = self.buffer.len();
        self.buffer.resize(have + BLOCK_BYTES, 0);
        let got = loop {
            // By position: several readers share the file.
            match self.file.read_at(&mut self.buffer[have..], self.base + have as u64) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.buffer.truncate(have + got);
        self.at_end = got == 0;
        Ok(())
    }
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Length of the record at the start of `data` by the quoting rules of
/// RFC 4180, or what breaks them; `None` if more data is needed to tell.
/// `complete` says that there is no more.
pub(super) fn quoted_extent(
    data: &[u8],
    delimiter: u8,
    terminator: u8,
    complete: bool,
) -> Option<Result<usize, Fault>> {
    let more = |fault: Fault| complete.then_some(Err(fault));
    let mut at = 0;
    for column in 1.. {
        if data.get(at) == Some(&b'"') {
            let Some(close) = closing_quote(data, at + 1) else {
                return more(Fault::UnclosedQuote { column });
            };
            at = close + 1;
            match data.get(at..) {
                None | Some([]) => return complete.then_some(Ok(data.len())),
                Some([byte, ..]) if *byte == terminator => return Some(Ok(at)),
                Some([byte, ..]) if *byte == delimiter => at += 1,
                Some([b'\r', byte, ..]) if *byte == terminator => return Some(Ok(at + 1)),
                Some([b'\r']) => return complete.then_some(Ok(data.len())),
                Some(_) => return Some(Err(Fault::TextAfterQuote { column })),
            }
        } else {
            let Some(end) = memchr2(delimiter, terminator, &data[at..]) else {
                return complete.then_some(Ok(data.len()));
            };
            if data[at + end] == terminator {
                return Some(Ok(at + end));
            }
            at += end + 1;
        }
    }
    None
}

/// The quote that closes the one before `from`; doubled quotes are text.
fn closing_quote(data: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let at = from + memchr(b'"', data.get(from..)?)?;
        match data.get(at + 1) {
            Some(b'"') => from = at + 2,
            _ => return Some(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn records_from(text: &str, offset: u64, line: u64) -> Records {
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(text.as_bytes()).expect("written");
        let framing = Framing { delimiter: Some(b','), terminator: b'\n' };
        Records::at(Arc::new(file), framing, offset, line)
    }

    fn records(text: &str) -> Vec<(u64, u64, String, Option<Fault>)> {
        let mut records = records_from(text, 0, 1);
        let mut all = Vec::new();
        while let Some((extent, bytes)) = records.next().expect("readable") {
            all.push((extent.line, extent.offset, String::from_utf8_lossy(bytes).into_owned(), extent.fault));
        }
        all
    }

    fn lines_and_texts(text: &str) -> Vec<(u64, String)> {
        records(text).into_iter().map(|(line, _, text, _)| (line, text)).collect()
    }

    #[test]
    fn quoted_line_breaks_belong_to_the_record_and_count_as_lines() {
        let found = lines_and_texts("a,b\r\n1,\"x\r\ny\"\r\n\r\n2,z");
        let expected = [(1, "a,b"), (2, "1,\"x\r\ny\""), (5, "2,z")];
        assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn a_broken_quote_costs_its_own_line_and_no_other() {
        let found = records("a,b\n1,\"open\n2,fine\n3,\"x\"y\n4,last\n");
        let faults: Vec<_> = found.iter().map(|(line, _, _, fault)| (*line, *fault)).collect();
        assert_eq!(
            faults,
            [
                (1, None),
                (2, Some(Fault::TextAfterQuote { column: 2 })),
                (3, None),
                (4, Some(Fault::TextAfterQuote { column: 2 })),
                (5, None),
            ]
        );
        let unclosed = records("a,b\n1,\"open\n2,fine\n");
        assert_eq!(unclosed[1].3, Some(Fault::UnclosedQuote { column: 2 }));
        assert_eq!(unclosed[2].2, "2,fine");
    }

    #[test]
    fn a_blank_line_behind_an_open_quote_does_not_end_the_file() {
        let found = lines_and_texts("a,b\n1,\"open\n2,fine\n\n3,last\n");
        assert_eq!(found.last(), Some(&(5, "3,last".to_owned())));
    }

    #[test]
    fn a_quoted_line_just_over_the_bound_is_one_row_and_too_long() {
        let text = format!("a,b\n\"x\",{}\nc,d\n", "y".repeat(RECORD_BYTES_MAX + 10));
        let found = records(&text);
        assert_eq!((found.len(), found[1].3, found[2].0), (3, Some(Fault::TooLong), 3));
    }

    #[test]
    fn a_quote_inside_an_unquoted_cell_is_text() {
        assert_eq!(lines_and_texts("1,5\" pipe,x\n2,y\n").len(), 2);
    }

    #[test]
    fn a_line_over_the_bound_is_stepped_over() {
        let text = format!("a\n{}\nb\n", "x".repeat(3 * RECORD_BYTES_MAX));
        let found = records(&text);
        assert_eq!(found[1].3, Some(Fault::TooLong));
        assert_eq!((found[2].0, found[2].2.as_str()), (3, "b"));
    }

    #[test]
    fn offsets_lead_back_to_the_same_record() {
        let text = "a,b\n1,\"x\ny\"\n\n2,z\n3,w\n";
        for (line, offset, record, _) in records(text) {
            let mut again = records_from(text, offset, line);
            let (extent, bytes) = again.next().expect("readable").expect("a record");
            assert_eq!((extent.line, String::from_utf8_lossy(bytes).into_owned()), (line, record));
        }
    }
}
