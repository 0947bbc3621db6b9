//! Footers and totals below the last full row.
//!
//! A row there is a footer if all of its mapped cells but one are blank, and that
//! one holds a word of footers or is not shaped like the ids. A row is one, too, if
//! a label stands in place of the id and the other mapped cells are figures: see
//! [`Label`]. Any other sparse row is an ordinary row.

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
    /// The column of the id, if it is a single one.
    pub(super) id: Option<usize>,
    pub(super) ids: IdShape,
}

/// Whether a line has its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Completeness {
    Whole,
    PerhapsCut,
}

/// Words of footers, in the languages of the exports.
const WORDS: [&str; 48] = [
    "total",
    "totals",
    "totale",
    "grand",
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
    "count",
    "datensätze",
    "enregistrements",
    "nombre",
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
    "général",
    "generaal",
];

/// How interfaces mark their last record.
const TAGS: [&str; 19] = [
    "T", "TR", "TRL", "TRLR", "TLR", "TRAIL", "TRAILER", "FT", "FTR", "FOOT", "FOOTER", "EOF", "EOT", "EOD",
    "END", "CNT", "Z", "ZZ", "ZZZ",
];

/// What totals count and compute, and the codes of currencies. None is a name.
const UNITS: [&str; 31] = [
    "records",
    "record",
    "rows",
    "rijen",
    "regels",
    "zeilen",
    "lignes",
    "datensätze",
    "enregistrements",
    "klanten",
    "kunden",
    "clients",
    "customers",
    "contacts",
    "contacten",
    "kontakte",
    "relaties",
    "n",
    "sum",
    "average",
    "gemiddelde",
    "durchschnitt",
    "mittelwert",
    "moyenne",
    "min",
    "max",
    "eur",
    "usd",
    "gbp",
    "chf",
    "of",
];

/// Whether a cell holds nothing but units.
fn is_unit(cell: &[u8]) -> bool {
    let text = lower_text(cell);
    words(&text).next().is_some() && words(&text).all(|word| UNITS.contains(&word))
}

/// The words of a cell, in small letters.
fn words(text: &str) -> impl Iterator<Item = &str> {
    // A letter in another encoding than UTF-8 is no gap.
    let is_part = |letter: char| letter.is_alphanumeric() || letter == char::REPLACEMENT_CHARACTER;
    text.split(move |letter| !is_part(letter)).filter(|word| !word.is_empty())
}

fn lower_text(cell: &[u8]) -> String {
    String::from_utf8_lossy(cell).to_lowercase()
}

/// What may stand in place of an id in a row of totals. The figures beside it must
/// not be those of a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    /// `TRL`: any figures may follow.
    Tag,
    /// `Total`, or a text without a digit where all ids have some: counts and
    /// amounts may follow, and no telephone numbers.
    Word,
}

impl Label {
    fn read(cell: &[u8]) -> Option<Self> {
        let text = lower_text(cell);
        let tag = text.trim_matches(|letter: char| !letter.is_alphanumeric());
        if TAGS.iter().any(|own| own.eq_ignore_ascii_case(tag)) {
            return Some(Self::Tag);
        }
        words(&text).any(|word| WORDS.contains(&word)).then_some(Self::Word)
    }

    fn allows(self, cell: &[u8]) -> bool {
        is_unit(cell) || is_figure(cell) && (self == Self::Tag || !is_dialled(cell))
    }
}

/// Whether a text labels a row of totals where an id is expected.
pub(super) fn is_label(cell: &[u8]) -> bool {
    Label::read(cell).is_some()
}

/// Whether a cell holds a count, an amount or a date, perhaps with a unit:
/// `€ 1.234,56`, `8 records`, `Anzahl: 8`.
fn is_figure(cell: &[u8]) -> bool {
    let text = lower_text(cell);
    let is_number = |word: &str| word.starts_with(|letter: char| letter.is_ascii_digit());
    let units = words(&text).filter(|word| !is_number(word)).count();
    let is_plain =
        || words(&text).all(|word| is_number(word) || WORDS.contains(&word) || UNITS.contains(&word));
    !text.contains('@')
        && words(&text).any(is_number)
        && (units == 0 || units == 1 && words(&text).next().is_some_and(is_number) || is_plain())
}

/// Fewer digits are no telephone number.
const DIALLED_DIGITS_MIN: usize = 9;

/// Whether a figure may be a telephone number. A count that is padded has more zeros
/// in front, and an amount has a fraction.
fn is_dialled(cell: &[u8]) -> bool {
    let digits: Vec<u8> = cell.iter().copied().filter(u8::is_ascii_digit).collect();
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    digits.len() >= DIALLED_DIGITS_MIN && zeros <= 2 && !cell.contains(&b',')
}

impl FooterRule {
    /// Whether the row at `at` is a footer. `width` is the number of cells of a row.
    pub(super) fn matches(&self, at: RowRef, cells: &Cells, width: usize) -> bool {
        if at.offset < self.from {
            return false;
        }
        let is_last = at.offset + at.len >= self.len;
        let is_sparse = || {
            let completeness = if is_last { Completeness::PerhapsCut } else { Completeness::Whole };
            self.only_cell(cells).is_some_and(|cell| self.is_footer(cell, completeness))
        };
        // A line with a few cells may be a row that lacks some.
        let has_shape_of_row = cells.len >= width || cells.len == 1;
        has_shape_of_row && is_sparse() || cells.len <= width && self.is_summary(cells, width)
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
        let text = lower_text(cell);
        let mut words = text.split(|letter: char| !letter.is_alphanumeric());
        text.contains('©') || words.any(|word| WORDS.contains(&word)) || !self.ids.fits(cell, completeness)
    }

    /// Whether a label stands in place of the id, or before it, and the others are
    /// figures.
    fn is_summary(&self, cells: &Cells, width: usize) -> bool {
        let Some(id) = self.id else { return false };
        let id_cell = cells.get(id).trim_ascii();
        // The last cell may be the beginning of an id.
        if cells.len == 1 || self.ids.count == 0 {
            return false;
        }
        let is_filled = |at: &usize| !cells.get(*at).trim_ascii().is_empty();
        let first = (0..cells.len).find(is_filled);
        if !id_cell.is_empty() && !self.ids.fits(id_cell, Completeness::Whole) {
            let has_digit = id_cell.iter().any(u8::is_ascii_digit);
            let by_shape = (!has_digit && self.ids.with_digits == self.ids.count).then_some(Label::Word);
            if let Some(label) = Label::read(id_cell).or(by_shape) {
                return self.are_figures(cells, width, id, label);
            }
            if is_count_in_place_of_id(id, cells, &self.mapped, width) {
                return true;
            }
        }
        // `;Total;8`, or `T;8` where the id is the second column.
        let Some(first) = first.filter(|first| *first < id || id_cell.is_empty()) else { return false };
        let text = lower_text(cells.get(first));
        let is_all_words = words(&text).all(|word| WORDS.contains(&word));
        let label = Label::read(cells.get(first)).filter(|label| *label == Label::Tag || is_all_words);
        let may_be_id = !id_cell.is_empty() && self.ids.fits(id_cell, Completeness::Whole);
        // A row that lacks cells is no customer.
        let is_short = cells.len < width;
        label.is_some_and(|label| (is_short || !may_be_id) && self.are_figures(cells, width, first, label))
    }

    /// Whether all mapped cells but one are figures or blank, and in a short line all
    /// cells.
    fn are_figures(&self, cells: &Cells, width: usize, label_at: usize, label: Label) -> bool {
        let is_figure = |at: usize| {
            let cell = cells.get(at).trim_ascii();
            at == label_at || cell.is_empty() || label.allows(cell)
        };
        if cells.len < width {
            (0..cells.len).all(is_figure)
        } else {
            self.mapped.iter().all(|at| is_figure(*at))
        }
    }

    /// Whether a line may be a footer, before the shape of ids is known.
    fn may_match(id: Option<usize>, mapped: &[usize], cells: &Cells, width: usize) -> bool {
        let filled = mapped.iter().filter(|at| !cells.get(**at).trim_ascii().is_empty()).count();
        let ids = IdShape { count: 1, with_digits: 1, len: (usize::MAX, 0), ..IdShape::default() };
        let rule = Self { from: 0, len: 0, mapped: mapped.to_vec(), id, ids };
        filled <= 1 || cells.len <= width && rule.is_summary(cells, width)
    }
}

/// Whether a count stands where an id is expected: `8;records`, or a padded one behind
/// the nines with which interfaces mark their last record: `99;000008`.
fn is_count_in_place_of_id(id: usize, cells: &Cells, mapped: &[usize], width: usize) -> bool {
    let id_cell = cells.get(id).trim_ascii();
    let others: Vec<&[u8]> = if cells.len < width {
        (0..cells.len).filter(|at| *at != id).map(|at| cells.get(at).trim_ascii()).collect()
    } else {
        mapped.iter().filter(|at| **at != id).map(|at| cells.get(*at).trim_ascii()).collect()
    };
    let mut others = others.into_iter().filter(|cell| !cell.is_empty()).peekable();
    let is_padded = |cell: &[u8]| cell.starts_with(b"000") || cells.len < width;
    let is_count = |cell: &[u8]| cell.iter().all(u8::is_ascii_digit) && is_padded(cell) && !is_dialled(cell);
    let are_nines = id_cell.iter().all(|byte| *byte == b'9');
    others.peek().is_some()
        && id_cell.iter().all(u8::is_ascii_digit)
        && others.all(|cell| is_unit(cell) || are_nines && is_count(cell))
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

    /// Whether a text is none of these ids, as far as any are known.
    pub(super) fn differs(&self, text: &[u8]) -> bool {
        !self.fits(text, Completeness::Whole)
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
        let id = if let [id] = id { Some(*id) } else { None };
        let Some(from) = self.end_of_full_rows(text, first, id, mapped)? else { return Ok(None) };
        let ids = self.id_shape(text, first, from, id, mapped)?;
        Ok(Some(FooterRule { from, len: text.file.metadata()?.len(), mapped: mapped.to_vec(), id, ids }))
    }

    /// What the ids of the first full rows look like, up to an offset.
    fn id_shape(
        &self,
        text: &TextFile,
        first: RowRef,
        end: u64,
        id: Option<usize>,
        mapped: &[usize],
    ) -> io::Result<IdShape> {
        let mut ids = IdShape::default();
        let Some(id) = id else { return Ok(ids) };
        let (mut rows, mut row) = (self.rows(text, first), Row::default());
        for _ in 0..ROWS_FOR_SHAPE {
            if !rows.read(&mut row)? || row.at().offset >= end {
                break;
            }
            let is_sparse = || FooterRule::may_match(Some(id), mapped, &row.cells, self.width);
            if row.fault().is_none() && !is_sparse() {
                ids.add(row.bytes(id));
            }
        }
        Ok(ids)
    }

    /// The end of the last full row, if sparse lines follow it. It looks at the
    /// lines from the end, so a line of a longer record stops it, too.
    fn end_of_full_rows(
        &self,
        text: &TextFile,
        first: RowRef,
        id: Option<usize>,
        mapped: &[usize],
    ) -> io::Result<Option<u64>> {
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
            if is_cut || !self.is_sparse_line(line, id, mapped) {
                return Ok(has_sparse.then_some(start + end as u64));
            }
            has_sparse |= !line.is_empty();
            end = line_start;
        }
        Ok(None)
    }

    fn is_sparse_line(&self, line: &[u8], id: Option<usize>, mapped: &[usize]) -> bool {
        let has_quotes = self.syntax.has_quotes(line);
        let quotes = self.syntax.quote.map_or(0, |quote| memchr::memchr_iter(quote, line).count());
        let mut cells = Cells::default();
        quotes.is_multiple_of(2)
            && self.split_cells(line, has_quotes, &mut self.parser(), &mut cells).is_ok()
            && FooterRule::may_match(id, mapped, &cells, self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(ids: &[&str]) -> FooterRule {
        let mut shape = IdShape::default();
        ids.iter().for_each(|id| shape.add(id.as_bytes()));
        FooterRule { from: 0, len: 100, mapped: vec![0, 1, 2, 3], id: Some(0), ids: shape }
    }

    fn is_footer(rule: &FooterRule, row: &[&str]) -> bool {
        let mut cells = Cells::default();
        row.iter().for_each(|cell| cells.push(cell.as_bytes()));
        rule.matches(RowRef::default(), &cells, 4)
    }

    #[test]
    fn a_sparse_row_is_a_footer_by_its_word_or_its_shape() {
        let numbers = rule(&["10", "11", "999"]);
        for footer in
            ["Totaal: 2", "Grand Totals", "2 Records", "Afgedrukt op 1-2-2026", "© Bloemenhof", "1", "einde"]
        {
            assert!(is_footer(&numbers, &[footer, "", "", ""]), "{footer}");
        }
        for id in ["12", "1000", "10000"] {
            assert!(!is_footer(&numbers, &[id, "", "", ""]), "{id}");
        }
        let letters = rule(&["0035g00000AbCdEAAV", "0035g00000AbCdFAAV"]);
        assert!(!is_footer(&letters, &["0035g00000AbCdGAAV", "", "", ""]));
        assert!(is_footer(&letters, &["Contacts with Mobile"]));
        // Two cells with a value are a row.
        assert!(!is_footer(&numbers, &["Totaal", "Smit", "", ""]));
        assert!(is_footer(&numbers, &["", "Totaal", "", ""]));
    }

    #[test]
    fn a_label_with_figures_is_a_footer() {
        let numbers = rule(&["000501", "000502", "000503"]);
        for footer in [
            &["Gesamt", "8 Datensätze", "", ""][..],
            &["Gesamt", "", "", "8"],
            &["Grand Total", "", "", "€ 9.876,48"],
            &["Durchschnitt", "", "", "8,5"],
            &["", "", "Totaal", "8"],
            &["", "Total général", "EUR 1.234,00", ""],
            &["TRL", "000000000008", "", ""],
            &["*** EOF ***", "8", "2026-12-31T23:59:59", ""],
            &["T", "8"],
            &["TRL", "000008"],
            &["Summe", "8", ""],
            &["T", "20261231235959", "8"],
            &["Gesamt:", "4", "Kunden", ""],
            &["Count: 8", "Average: 4", "", ""],
            &["Sum", "", "n=8", ""],
            &["8", "records", "", ""],
            &["99", "000008", "", ""],
            &["9", "8"],
        ] {
            assert!(is_footer(&numbers, footer), "{footer:?}");
        }
        for row in [
            // A company of that name, also without an address or an id.
            &["000509", "", "Total", "8"][..],
            &["000509", "Total Energies", "", ""],
            &["17", "Total", "", ""],
            &["17", "", "Total", "8"],
            &["17", "", "Fin", ""],
            &["17", "", "", "8"],
            &["99", "", "", "0612345678"],
            &["99", "", "", "8"],
            &["", "Total Energies", "8", ""],
            &["", "Total", "", "0612345678"],
            &["TOTAL", "", "", "0612345678"],
            &["TOTAL", "", "", "+31 6 1234 5678"],
            &["TOTAL", "", "", "info@total.example"],
            &["Total", "Smit", "8", ""],
            &["A17", "", "", "8"],
            &["KEES", "", "", "0612345678"],
            // A line that lacks cells.
            &["000509", "8"],
            &["Total", "0612345678"],
            &["T", "Smit"],
        ] {
            assert!(!is_footer(&numbers, row), "{row:?}");
        }
        // Where ids are words, a label is one.
        let words = rule(&["jansen", "bakker", "smit"]);
        assert!(!is_footer(&words, &["total", "8", "", ""]));
        assert!(!is_footer(&words, &["kees", "", "", "8"]));
        assert!(is_footer(&words, &["T", "8", "", ""]));
        // A column of record types stands before the id.
        let second = FooterRule { id: Some(1), mapped: vec![1, 2, 3], ..rule(&["000501", "000502"]) };
        assert!(is_footer(&second, &["T", "8", "", ""]));
        assert!(is_footer(&second, &["T", "000008"]));
        assert!(!is_footer(&second, &["Total", "000509", "", ""]));
        assert!(!is_footer(&second, &["Total Energies", "17", "", "8"]));
    }
}
