//! Finds the delimiter of a CSV export.

use crate::source::records::{QuotedEnd, quoted_end};
use crate::source::settings::DELIMITERS;

/// The delimiter of Excel's own first line `sep=;`, and that line's length.
pub(super) fn excel_separator(sample: &[u8], terminator: u8) -> Option<(u8, usize)> {
    let (&delimiter, rest) = sample.strip_prefix(b"sep=")?.split_first()?;
    // One line end: a blank line after it is a line of its own.
    let line_end = match rest {
        [b'\r', b'\n', ..] if terminator == b'\n' => 2,
        [byte, ..] if *byte == terminator => 1,
        _ => return None,
    };
    DELIMITERS.contains(&delimiter).then_some((delimiter, b"sep=;".len() + line_end))
}

/// Rows from which the delimiter is detected.
const SAMPLE_ROWS: usize = 50;

/// The delimiter with which most rows of the sample have as many cells as the
/// header; of several the one that makes most cells.
pub(super) fn detect_delimiter(sample: &[u8], terminator: u8) -> u8 {
    let scored = DELIMITERS.map(|delimiter| (score(sample, delimiter, terminator), delimiter));
    // Of equals the last: commas stand in texts, bars hardly ever.
    let best = scored.into_iter().max_by_key(|(score, _)| *score);
    best.filter(|(score, _)| score.is_some()).map_or(b',', |(_, delimiter)| delimiter)
}

/// Percent of rows as wide as the header, and how wide that is.
fn score(sample: &[u8], delimiter: u8, terminator: u8) -> Option<(usize, usize)> {
    let cells = cells_per_row(sample, delimiter, terminator);
    let header = *cells.first()?;
    let as_wide = cells.iter().filter(|cells| **cells == header).count();
    (header > 1).then_some((100 * as_wide / cells.len(), header))
}

fn cells_per_row(sample: &[u8], delimiter: u8, terminator: u8) -> Vec<usize> {
    let mut counts = Vec::new();
    let mut rest = sample;
    while !rest.is_empty() && counts.len() < SAMPLE_ROWS {
        let len = match quoted_end(rest, delimiter, terminator) {
            QuotedEnd::Found(Ok(len)) | QuotedEnd::Open(Ok(len)) => len,
            _ => memchr::memchr(terminator, rest).unwrap_or(rest.len()),
        };
        // The sample is cut somewhere: its last row does not count.
        if len == rest.len() && !counts.is_empty() {
            break;
        }
        let row = &rest[..len];
        if !row.trim_ascii().is_empty() {
            counts.push(1 + delimiters_outside_quotes(row, delimiter));
        }
        rest = rest.get(len + 1..).unwrap_or_default();
    }
    counts
}

fn delimiters_outside_quotes(row: &[u8], delimiter: u8) -> usize {
    let mut is_quoted = false;
    row.iter()
        .filter(|byte| {
            is_quoted ^= **byte == b'"';
            !is_quoted && **byte == delimiter
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
            assert_eq!(detect_delimiter(text.as_bytes(), b'\n'), *delimiter, "{text:?}");
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
}
