//! How an export is written: format, delimiter, line ends, encoding.

use encoding_rs::{UTF_8, UTF_16BE, UTF_16LE};

use super::records::{Framing, quoted_extent};
use super::settings::DELIMITERS;

/// CSV or JSON lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Delimited rows below a header.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// How the export, as spooled, is written.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    /// CSV or JSON lines.
    pub format: Format,
    /// Between cells; means nothing for JSON lines.
    pub delimiter: u8,
    /// `\n`, or `\r` where there is no `\n`.
    pub terminator: u8,
    /// Of the bytes as spooled.
    pub encoding: &'static encoding_rs::Encoding,
    /// Of the file as it came; result files are written in it.
    pub written_in: &'static encoding_rs::Encoding,
    /// Whether the file began with a byte order mark.
    pub marked: bool,
    /// Whether lines end with `\r\n`.
    pub crlf: bool,
}

impl Dialect {
    /// Cells as a CSV row in this dialect, without a line end.
    #[must_use]
    pub fn csv_line<T: AsRef<[u8]>>(&self, cells: impl IntoIterator<Item = T>) -> Vec<u8> {
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

    pub(super) fn framing(&self) -> Framing {
        let delimiter = (self.format == Format::Csv).then_some(self.delimiter);
        Framing { delimiter, terminator: self.terminator }
    }
}

/// The encoding that a byte order mark names, and the mark's length.
pub(super) fn byte_order_mark(head: &[u8]) -> Option<(&'static encoding_rs::Encoding, usize)> {
    encoding_rs::Encoding::for_bom(head)
}

/// Characters beyond ASCII after which a text that is UTF-8 is so by no chance.
const UTF8_MIN: usize = 4;

/// Whether the sample has several characters beyond ASCII, all of them in UTF-8:
/// a name or two in an encoding of single bytes may be that by chance.
pub(super) fn is_surely_utf8(sample: &[u8]) -> bool {
    let whole = match std::str::from_utf8(sample) {
        Ok(text) => text,
        Err(error) if is_utf8(sample) => {
            std::str::from_utf8(&sample[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    whole.chars().filter(|letter| !letter.is_ascii()).nth(UTF8_MIN - 1).is_some()
}

/// The sample may end inside a character.
fn is_utf8(sample: &[u8]) -> bool {
    let cut = sample.len() - sample.len().min(3);
    match std::str::from_utf8(sample) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && error.valid_up_to() >= cut,
    }
}

/// The encoding that the sample is most likely in, to propose it: never to
/// use it unasked, since a wrong guess shows only in the names it spoils.
#[must_use]
pub fn sniff_encoding(sample: &[u8]) -> &'static encoding_rs::Encoding {
    if let Some((encoding, _)) = byte_order_mark(sample) {
        return encoding;
    }
    let even_nuls = sample.iter().step_by(2).filter(|byte| **byte == 0).count();
    let odd_nuls = sample.iter().skip(1).step_by(2).filter(|byte| **byte == 0).count();
    if even_nuls + odd_nuls > sample.len() / 8 {
        return if odd_nuls > even_nuls { UTF_16LE } else { UTF_16BE };
    }
    if is_utf8(sample) {
        return UTF_8;
    }
    let mut detector = chardetng::EncodingDetector::new(chardetng::Iso2022JpDetection::Deny);
    detector.feed(sample, true);
    detector.guess(None, chardetng::Utf8Detection::Deny)
}

/// `\r` for files that have no other line end.
pub(super) fn sniff_terminator(sample: &[u8]) -> u8 {
    let has = |byte| memchr::memchr(byte, sample).is_some();
    if !has(b'\n') && has(b'\r') { b'\r' } else { b'\n' }
}

/// Whether lines end with `\r\n`.
pub(super) fn sniff_crlf(sample: &[u8]) -> bool {
    memchr::memchr(b'\n', sample).is_some_and(|at| at > 0 && sample[at - 1] == b'\r')
}

/// The delimiter of Excel's own first line `sep=;`, and that line's length.
pub(super) fn excel_separator(sample: &[u8], terminator: u8) -> Option<(u8, usize)> {
    let rest = sample.strip_prefix(b"sep=")?;
    let (&delimiter, rest) = rest.split_first()?;
    // One line end: a blank line behind it is a line of its own.
    let end = match rest {
        [b'\r', b'\n', ..] if terminator == b'\n' => 2,
        [byte, ..] if *byte == terminator => 1,
        _ => return None,
    };
    DELIMITERS.contains(&delimiter).then_some((delimiter, 5 + end))
}

/// Rows looked at to find the delimiter.
const SNIFFED_ROWS: usize = 50;

/// The delimiter with which the first rows most often have as many cells as
/// the header; of several the one that makes most cells.
pub(super) fn sniff_delimiter(sample: &[u8], terminator: u8) -> u8 {
    let score = |delimiter: u8| {
        let cells = cells_per_row(sample, delimiter, terminator);
        let Some((&header, rows)) = cells.split_first() else {
            return (0, 0);
        };
        if header < 2 {
            return (0, 0);
        }
        let agreeing = rows.iter().filter(|cells| **cells == header).count();
        (100 * (agreeing + 1) / (rows.len() + 1), header)
    };
    // Of equals the last: commas stand in texts, bars hardly ever.
    DELIMITERS
        .into_iter()
        .max_by_key(|delimiter| score(*delimiter))
        .filter(|delimiter| score(*delimiter).1 > 0)
        .unwrap_or(b',')
}

fn cells_per_row(sample: &[u8], delimiter: u8, terminator: u8) -> Vec<usize> {
    let mut counts = Vec::new();
    let mut rest = sample;
    while !rest.is_empty() && counts.len() < SNIFFED_ROWS {
        let len = match quoted_extent(rest, delimiter, terminator, true) {
            Some(Ok(len)) => len,
            _ => memchr::memchr(terminator, rest).unwrap_or(rest.len()),
        };
        // The sample is cut somewhere: its last row does not count.
        if len == rest.len() && !counts.is_empty() {
            break;
        }
        if !rest[..len].trim_ascii().is_empty() {
            counts.push(1 + delimiters_outside_quotes(&rest[..len], delimiter));
        }
        rest = rest.get(len + 1..).unwrap_or_default();
    }
    counts
}

fn delimiters_outside_quotes(row: &[u8], delimiter: u8) -> usize {
    let mut quoted = false;
    row.iter()
        .filter(|byte| {
            quoted ^= **byte == b'"';
            !quoted && **byte == delimiter
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_are_found_outside_quotes_and_over_several_rows() {
        let cases: &[(&str, u8)] = &[
            ("a,b,c\n1,2,3\n", b','),
            ("a;b;c\n1;\"x,y,z,w\";3\n4;5,5;6\n", b';'),
            ("a\tb\n1,2\t3\n", b'\t'),
            ("naam|plaats, land\nJan|Delft, NL\n", b'|'),
            ("id\n1\n2\n", b','),
            ("\"a;b;c\",d\n\"1;2\",e\n", b','),
        ];
        for (text, delimiter) in cases {
            assert_eq!(sniff_delimiter(text.as_bytes(), b'\n'), *delimiter, "{text:?}");
        }
    }

    #[test]
    fn excel_names_its_separator_in_a_line_of_its_own() {
        let found = |text: &str| excel_separator(text.as_bytes(), b'\n');
        assert_eq!(found("sep=;\r\na;b"), Some((b';', 7)));
        assert_eq!(found("sep=;\na;b"), Some((b';', 6)));
        assert_eq!(found("sep=;\n\na;b"), Some((b';', 6)));
        assert_eq!(found("sep=;\ra;b\n"), None);
        assert_eq!(found("sep=;x"), None);
        assert_eq!(found("a;b"), None);
        assert_eq!(excel_separator(b"sep=;\r\ra;b", b'\r'), Some((b';', 6)));
    }

    #[test]
    fn encodings_are_proposed() {
        assert_eq!(sniff_encoding("naïef,één".as_bytes()), UTF_8);
        assert_eq!(
            sniff_encoding(b"naam;plaats\nRen\xe9;K\xf6ln\nAndr\xe9;Z\xfcrich\n").name(),
            "windows-1252"
        );
        assert_eq!(sniff_encoding(b"\xff\xfea\0b\0").name(), "UTF-16LE");
        assert_eq!(sniff_encoding(b"a\0b\0c\0d\0").name(), "UTF-16LE");
        assert_eq!(sniff_encoding(&"één".as_bytes()[..4]), UTF_8);
    }

    #[test]
    fn files_of_old_macs_end_lines_with_a_carriage_return() {
        assert_eq!(sniff_terminator(b"a,b\r1,2\r"), b'\r');
        assert_eq!(sniff_terminator(b"a,b\r\n1,2\r\n"), b'\n');
        assert_eq!(sniff_terminator(b"a,b"), b'\n');
    }
}
