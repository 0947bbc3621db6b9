//! Footers and totals below the last full row.
//!
//! A row there is a footer if all of its mapped cells but one are blank, and that
//! one holds a word of footers or is not shaped like the ids. Any other sparse row
//! is an ordinary row.

use std::io;
use std::os::unix::fs::FileExt;

use super::Csv;
use crate::source::cells::Cells;
use crate::source::rows::{Row, RowReader as _, RowRef};
use crate::source::text_file::TextFile;

/// Where footers may be, and what an id looks like.
#[derive(Debug, Clone)]
pub(in crate::source) struct FooterRule {
    /// The end of the last full row in the export.
    pub(super) from: u64,
    /// Where the export ends. A line that ends there may be cut.
    pub(super) len: u64,
    /// The mapped columns.
    pub(super) mapped: Vec<usize>,
    pub(super) ids: IdShape,
}

/// Whether a line has its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Completeness {
    Whole,
    PerhapsCut,
}

/// Words of footers, in the languages of the exports.
const WORDS: [&str; 40] = [
    "total",
    "totals",
    "totaal",
    "totalen",
    "subtotal",
    "subtotaal",
    "eindtotaal",
    "gesamt",
    "gesamtsumme",
    "summe",
    "zwischensumme",
    "somme",
    "totaux",
    "copyright",
    "afgedrukt",
    "printed",
    "gedruckt",
    "imprimé",
    "generated",
    "gegenereerd",
    "erstellt",
    "généré",
    "confidential",
    "vertrouwelijk",
    "vertraulich",
    "confidentiel",
    "records",
    "rows",
    "rijen",
    "regels",
    "zeilen",
    "lignes",
    "aantal",
    "anzahl",
    "einde",
    "ende",
    "fin",
    "eof",
    "trailer",
    "footer",
];

impl FooterRule {
    /// Whether the row at `at` is a footer.
    pub(super) fn matches(&self, at: RowRef, cells: &Cells) -> bool {
        let completeness =
            if at.offset + at.len >= self.len { Completeness::PerhapsCut } else { Completeness::Whole };
        at.offset >= self.from && self.only_cell(cells).is_some_and(|cell| self.is_footer(cell, completeness))
    }

    /// The one mapped cell with a value. A line of a single cell counts as that
    /// cell.
    fn only_cell<'a>(&self, cells: &'a Cells) -> Option<&'a [u8]> {
        let mut filled =
            self.mapped.iter().map(|at| cells.get(*at).trim_ascii()).filter(|cell| !cell.is_empty());
        match (filled.next(), filled.next()) {
            (Some(only), None) => Some(only),
            (None, _) if cells.len == 1 => Some(cells.get(0).trim_ascii()),
            _ => None,
        }
    }

    fn is_footer(&self, cell: &[u8], completeness: Completeness) -> bool {
        let text = String::from_utf8_lossy(cell).to_lowercase();
        let mut words = text.split(|letter: char| !letter.is_alphanumeric());
        text.contains('©') || words.any(|word| WORDS.contains(&word)) || !self.ids.fits(cell, completeness)
    }

    pub(super) fn is_sparse(mapped: &[usize], cells: &Cells) -> bool {
        mapped.iter().filter(|at| !cells.get(**at).trim_ascii().is_empty()).count() <= 1
    }
}

/// The length of ids, and what they are made of.
#[derive(Debug, Clone, Default)]
pub(in crate::source) struct IdShape {
    count: usize,
    len: (usize, usize),
    with_letters: usize,
    with_digits: usize,
    /// Other bytes that occur, such as a hyphen.
    others: Vec<u8>,
}

/// The next ids may be so much longer than those before.
const LONGER_MAX: usize = 2;

impl IdShape {
    pub(super) fn add(&mut self, id: &[u8]) {
        let id = id.trim_ascii();
        if id.is_empty() {
            return;
        }
        self.len = if self.count == 0 {
            (id.len(), id.len())
        } else {
            (self.len.0.min(id.len()), self.len.1.max(id.len()))
        };
        self.count += 1;
        self.with_letters += usize::from(id.iter().any(u8::is_ascii_alphabetic));
        self.with_digits += usize::from(id.iter().any(u8::is_ascii_digit));
        for byte in id.iter().filter(|byte| !byte.is_ascii_alphanumeric()) {
            if !self.others.contains(byte) {
                self.others.push(*byte);
            }
        }
    }

    /// Whether a text may be an id, or the beginning of one. Without ids to compare
    /// with, any may.
    fn fits(&self, text: &[u8], completeness: Completeness) -> bool {
        let is_cut = completeness == Completeness::PerhapsCut;
        let len_min = if is_cut { 0 } else { self.len.0 };
        let has_letters = text.iter().any(u8::is_ascii_alphabetic);
        let has_digits = text.iter().any(u8::is_ascii_digit);
        let agrees = |has: bool, with: usize| if has { with > 0 } else { is_cut || with < self.count };
        let mut others = text.iter().filter(|byte| !byte.is_ascii_alphanumeric());
        self.count == 0
            || (len_min..=self.len.1 + LONGER_MAX).contains(&text.len())
                && agrees(has_letters, self.with_letters)
                && agrees(has_digits, self.with_digits)
                && others.all(|byte| self.others.contains(byte))
    }
}

/// Bytes at the end in which footers are searched.
const TAIL_BYTES: u64 = 16 << 10;
/// Rows at the beginning from which the shape of ids is learned.
const ROWS_FOR_SHAPE: usize = 1000;

impl Csv {
    /// Where footers may be, if there is a full row above.
    pub(super) fn footer_rule(
        &self,
        text: &TextFile,
        first: RowRef,
        id: &[usize],
        mapped: &[usize],
    ) -> io::Result<Option<FooterRule>> {
        // With one mapped column every row is sparse.
        if mapped.len() < 2 || self.results > 0 {
            return Ok(None);
        }
        let Some(from) = self.end_of_full_rows(text, first, mapped)? else { return Ok(None) };
        let mut ids = IdShape::default();
        let (mut rows, mut row) = (self.rows(text, first), Row::default());
        for _ in 0..ROWS_FOR_SHAPE {
            if !rows.read(&mut row)? || row.at().offset >= from {
                break;
            }
            if let [id] = id
                && row.fault().is_none()
                && !FooterRule::is_sparse(mapped, &row.cells)
            {
                ids.add(row.bytes(*id));
            }
        }
        Ok(Some(FooterRule { from, len: text.file.metadata()?.len(), mapped: mapped.to_vec(), ids }))
    }

    /// The end of the last full row, if sparse lines follow it. It looks at the
    /// lines from the end, so a line of a longer record stops it, too.
    fn end_of_full_rows(&self, text: &TextFile, first: RowRef, mapped: &[usize]) -> io::Result<Option<u64>> {
        let len = text.file.metadata()?.len();
        let start = len.saturating_sub(TAIL_BYTES).max(first.offset);
        let mut tail = vec![0; len.saturating_sub(start) as usize];
        text.file.read_exact_at(&mut tail, start)?;
        let (mut end, mut has_sparse) = (tail.len(), false);
        while end > 0 {
            let line_start = memchr::memrchr(self.terminator, &tail[..end - 1]).map_or(0, |at| at + 1);
            let line = tail[line_start..end].trim_ascii_end();
            // The first line may be cut.
            let is_cut = line_start == 0 && start > first.offset;
            if is_cut || !self.is_sparse_line(line, mapped) {
                return Ok(has_sparse.then_some(start + end as u64));
            }
            has_sparse |= !line.is_empty();
            end = line_start;
        }
        Ok(None)
    }

    fn is_sparse_line(&self, line: &[u8], mapped: &[usize]) -> bool {
        let has_quotes = self.syntax.has_quotes(line);
        let quotes = self.syntax.quote.map_or(0, |quote| memchr::memchr_iter(quote, line).count());
        let mut cells = Cells::default();
        quotes.is_multiple_of(2)
            && self.split_cells(line, has_quotes, &mut self.parser(), &mut cells).is_ok()
            && FooterRule::is_sparse(mapped, &cells)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(ids: &[&str]) -> FooterRule {
        let mut shape = IdShape::default();
        ids.iter().for_each(|id| shape.add(id.as_bytes()));
        FooterRule { from: 0, len: 100, mapped: vec![0, 1], ids: shape }
    }

    fn is_footer(rule: &FooterRule, row: &[&str]) -> bool {
        let mut cells = Cells::default();
        row.iter().for_each(|cell| cells.push(cell.as_bytes()));
        rule.matches(RowRef::default(), &cells)
    }

    #[test]
    fn a_sparse_row_is_a_footer_by_its_word_or_its_shape() {
        let numbers = rule(&["10", "11", "999"]);
        for footer in
            ["Totaal: 2", "Grand Totals", "2 Records", "Afgedrukt op 1-2-2026", "© Bloemenhof", "1", "einde"]
        {
            assert!(is_footer(&numbers, &[footer, "", ""]), "{footer}");
        }
        for id in ["12", "1000", "10000"] {
            assert!(!is_footer(&numbers, &[id, "", "x"]), "{id}");
        }
        let letters = rule(&["0035g00000AbCdEAAV", "0035g00000AbCdFAAV"]);
        assert!(!is_footer(&letters, &["0035g00000AbCdGAAV", ""]));
        assert!(is_footer(&letters, &["Contacts with Mobile"]));
        // Two cells with a value are a row.
        assert!(!is_footer(&numbers, &["Totaal", "Smit", ""]));
        assert!(is_footer(&numbers, &["", "Totaal", "x"]));
    }
}
