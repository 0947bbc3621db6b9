//! How the cells of a CSV record are separated and quoted.

use memchr::{memchr, memchr2};

use super::rows::RowFault;
use super::settings::{EscapeSetting, InputSettings};

/// What separates the cells of a record, and what surrounds and escapes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CellSyntax {
    pub(super) delimiter: u8,
    /// `None`: quotes are text.
    pub(super) quote: Option<u8>,
    pub(super) escape: EscapeSetting,
    pub(super) gaps: Gaps,
}

/// Spaces between a delimiter and a quote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Gaps {
    /// They begin a cell without quotes.
    #[default]
    Text,
    /// `"a", "b"`: they are left out.
    Ignored,
}

/// The end of a record with quotes: its length, or the fault that ends it.
pub(super) enum QuotedEnd {
    /// It lies in the data.
    Found(Result<usize, RowFault>),
    /// The data ends first; this holds if nothing follows.
    Open(Result<usize, RowFault>),
}

impl CellSyntax {
    /// Of a sheet that is copied as CSV. Settings hold, so that its result files are
    /// read under the same configuration.
    pub(super) fn of_sheet(settings: &InputSettings) -> Self {
        let delimiter = settings.delimiter.0.unwrap_or(b',');
        Self { delimiter, quote: settings.quote.byte(), escape: settings.escape, gaps: Gaps::Text }
    }

    /// By RFC 4180.
    #[cfg(test)]
    pub(super) fn standard(delimiter: u8) -> Self {
        Self { delimiter, quote: Some(b'"'), escape: EscapeSetting::Double, gaps: Gaps::Text }
    }

    pub(super) fn parser(self, terminator: u8) -> csv_core::Reader {
        csv_core::ReaderBuilder::new()
            .delimiter(self.delimiter)
            .terminator(csv_core::Terminator::Any(terminator))
            .quoting(self.quote.is_some())
            .quote(self.quote.unwrap_or(b'"'))
            .escape((self.escape == EscapeSetting::Backslash).then_some(b'\\'))
            .build()
    }

    /// Whether a line may have quoted cells.
    pub(super) fn has_quotes(self, line: &[u8]) -> bool {
        self.quote.is_some_and(|quote| memchr(quote, line).is_some())
    }

    /// Finds the end of the record at the start of `data`.
    pub(super) fn record_end(self, data: &[u8], terminator: u8) -> QuotedEnd {
        use QuotedEnd::{Found, Open};
        let (mut at, mut column) = (0, 1);
        loop {
            if let Some(open) = self.opening_quote(data, at) {
                let Some(close) = self.closing_quote(data, open + 1) else {
                    return Open(Err(RowFault::UnclosedQuote { column }));
                };
                at = self.skip_gap(data, close + 1);
                match &data[at..] {
                    [byte, ..] if *byte == terminator => return Found(Ok(at)),
                    [byte, ..] if *byte == self.delimiter => at += 1,
                    [b'\r', byte, ..] if *byte == terminator => return Found(Ok(at + 1)),
                    [] | [b'\r'] => return Open(Ok(data.len())),
                    _ => return Found(Err(RowFault::TextAfterQuote { column })),
                }
            } else {
                let Some(len) = memchr2(self.delimiter, terminator, &data[at..]) else {
                    return Open(Ok(data.len()));
                };
                at += len;
                if data[at] == terminator {
                    return Found(Ok(at));
                }
                at += 1;
            }
            column += 1;
        }
    }

    /// Where the quote stands that opens the cell at `at`, if there is one.
    fn opening_quote(self, data: &[u8], at: usize) -> Option<usize> {
        let open = self.skip_gap(data, at);
        data.get(open).filter(|byte| Some(**byte) == self.quote).map(|_| open)
    }

    fn skip_gap(self, data: &[u8], at: usize) -> usize {
        let gap = || data[at..].iter().take_while(|byte| **byte == b' ').count();
        if self.gaps == Gaps::Ignored { at + gap() } else { at }
    }

    /// A sound record without the spaces around its quotes.
    pub(super) fn without_gaps(self, record: &[u8]) -> Vec<u8> {
        let (mut text, mut at) = (Vec::with_capacity(record.len()), 0);
        loop {
            let quoted = self.opening_quote(record, at);
            let quoted = quoted.and_then(|open| Some((open, self.closing_quote(record, open + 1)?)));
            if let Some((open, close)) = quoted {
                text.extend_from_slice(&record[open..=close]);
                at = self.skip_gap(record, close + 1);
            }
            let Some(len) = memchr(self.delimiter, &record[at..]) else {
                text.extend_from_slice(&record[at..]);
                return text;
            };
            text.extend_from_slice(&record[at..=at + len]);
            at += len + 1;
        }
    }

    /// The quote that closes the one before `from`; escaped quotes are text.
    fn closing_quote(self, data: &[u8], mut from: usize) -> Option<usize> {
        let quote = self.quote?;
        loop {
            let rest = data.get(from..)?;
            let at = match self.escape {
                EscapeSetting::Double => from + memchr(quote, rest)?,
                EscapeSetting::Backslash => from + memchr2(quote, b'\\', rest)?,
            };
            // With backslashes, doubled quotes are text as well.
            if data[at] == quote && data.get(at + 1) != Some(&quote) {
                return Some(at);
            }
            from = at + 2;
        }
    }

    /// Appends a cell, quoted if it has to be.
    pub(super) fn write_cell(self, line: &mut Vec<u8>, cell: &[u8]) {
        let is_special =
            |byte: &u8| matches!(byte, b'\n' | b'\r') || *byte == self.delimiter || Some(*byte) == self.quote;
        let Some(quote) = self.quote.filter(|_| cell.iter().any(is_special)) else {
            // Without quotes nothing can surround a delimiter.
            line.extend(cell.iter().map(|byte| if is_special(byte) { b' ' } else { *byte }));
            return;
        };
        line.push(quote);
        for byte in cell {
            match self.escape {
                EscapeSetting::Double if *byte == quote => line.push(quote),
                EscapeSetting::Backslash if *byte == quote || *byte == b'\\' => line.push(b'\\'),
                _ => {}
            }
            line.push(*byte);
        }
        line.push(quote);
    }
}
