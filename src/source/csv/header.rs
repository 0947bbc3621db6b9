//! The header of a CSV export, and where it comes again.

use super::Csv;
use crate::source::cells::Cells;
use crate::source::columns::Columns;
use crate::source::dialect::{Dialect, likely_encoding};
use crate::source::records::RawRecord;

/// Files put together may have further byte order marks.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// The names of the header as they stand in the export, trimmed.
#[derive(Debug, Clone)]
pub(super) struct HeaderCells {
    names: Vec<Vec<u8>>,
    /// Of the names that begin with a byte, in any case, a bit for each length. Few
    /// cells of a row agree in both.
    lengths: [u64; 256],
}

impl Default for HeaderCells {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

/// What a record is that looks like the header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Repeated {
    /// The same names in the same order.
    Header,
    /// The same, behind the last cell of a row.
    Glued,
    /// The same names in another order.
    OtherOrder,
    /// Most of the names, and others.
    OtherNames,
}

impl HeaderCells {
    /// Splits a header, and decodes its names.
    pub(super) fn read(csv: &Csv, record: RawRecord, dialect: &Dialect) -> Result<(Self, Columns), String> {
        let mut cells = Cells::default();
        let has_quotes = record.has_quotes;
        let bytes = record.bytes.map_err(|fault| format!("the header cannot be read: {fault}"))?;
        let bytes = bytes.strip_prefix(BOM).unwrap_or(bytes);
        csv.split_cells(bytes, has_quotes, &mut csv.parser(), &mut cells)
            .map_err(|fault| format!("the header cannot be read: {fault}"))?;
        let name = |cell: &[u8]| {
            let name = dialect.encoding.decode_without_bom_handling_and_without_replacement(cell);
            name.map(|name| name.trim().to_owned()).ok_or_else(|| {
                format!(
                    "the header is not {}; set encoding in [input], perhaps to \"{}\"",
                    dialect.encoding.name(),
                    likely_encoding(cell).label()
                )
            })
        };
        let names = cells.iter().map(name).collect::<Result<Vec<_>, _>>()?;
        let header = Self::new(cells.iter().map(|cell| cell.trim_ascii().to_vec()).collect());
        Ok((header, Columns::from_header(names)))
    }

    fn new(names: Vec<Vec<u8>>) -> Self {
        let mut lengths = [0; 256];
        for name in &names {
            let Some(first) = name.first() else { continue };
            lengths[usize::from(first.to_ascii_lowercase())] |= length_bit(name);
            lengths[usize::from(first.to_ascii_uppercase())] |= length_bit(name);
        }
        Self { names, lengths }
    }

    pub(super) fn names(&self) -> &[Vec<u8>] {
        &self.names
    }

    /// Whether these cells are the header again. A column of a single name proves
    /// nothing but its own name.
    pub(super) fn compare(&self, cells: &Cells) -> Option<Repeated> {
        let Self { names, .. } = self;
        let width = names.len();
        let cell = |at: usize| cells.get(at).trim_ascii();
        let name = |at: usize| names.get(at).map_or(&[][..], Vec::as_slice);
        let first = cell(0).strip_prefix(BOM).unwrap_or(cell(0));
        if first.eq_ignore_ascii_case(name(0))
            && (1..width.max(cells.len)).all(|at| cell(at).eq_ignore_ascii_case(name(at)))
        {
            return Some(Repeated::Header);
        }
        if width < 2 {
            return None;
        }
        let is_glued =
            || (1..width).all(|at| cell(width - 1 + at) == names[at]) && self.glue(cell(width - 1)).is_some();
        if cells.len == 2 * width - 1 && is_glued() {
            return Some(Repeated::Glued);
        }
        // A header has a name in one of these places. Hardly any row does.
        let has_name =
            self.is_name(first) || self.is_name(cell(1)) || self.is_name(cell(cells.len.saturating_sub(1)));
        if has_name { self.compare_names(cells) } else { None }
    }

    fn is_name(&self, cell: &[u8]) -> bool {
        let lengths = cell.first().map_or(0, |byte| self.lengths[usize::from(*byte)]);
        lengths & length_bit(cell) != 0 && self.names.iter().any(|name| name.eq_ignore_ascii_case(cell))
    }

    /// Whether most cells are names of the header, and the others may be names.
    fn compare_names(&self, cells: &Cells) -> Option<Repeated> {
        let texts = texts(cells);
        let (own, others): (Vec<&[u8]>, Vec<&[u8]>) = texts.iter().partition(|text| self.is_name(text));
        let mut found: Vec<Vec<u8>> = own.iter().map(|text| text.to_ascii_lowercase()).collect();
        found.sort_unstable();
        found.dedup();
        let named = self.names.iter().filter(|name| !name.is_empty()).count();
        if others.is_empty() && own.len() == named && cells.len == self.names.len() {
            let mut wanted: Vec<Vec<u8>> = self.names.iter().map(|name| name.to_ascii_lowercase()).collect();
            let mut all: Vec<Vec<u8>> = own.iter().map(|text| text.to_ascii_lowercase()).collect();
            wanted.retain(|name| !name.is_empty());
            wanted.sort_unstable();
            all.sort_unstable();
            return (all == wanted).then_some(Repeated::OtherOrder);
        }
        let may_be_name =
            |text: &&[u8]| text.iter().any(|byte| byte.is_ascii_alphabetic()) && !text.contains(&b'@');
        let are_most = found.len() >= 2 && 2 * found.len() > named.max(texts.len());
        (are_most && others.iter().all(may_be_name)).then_some(Repeated::OtherNames)
    }

    /// The names that a header lacks of this one, and those that it alone has.
    pub(super) fn difference<'a>(&'a self, cells: &'a Cells) -> (Vec<&'a [u8]>, Vec<&'a [u8]>) {
        let texts = texts(cells);
        let is_other = |text: &&[u8]| !self.is_name(text);
        let lacks =
            |name: &&[u8]| !name.is_empty() && !texts.iter().any(|text| text.eq_ignore_ascii_case(name));
        let lacking = self.names.iter().map(Vec::as_slice).filter(lacks).collect();
        (lacking, texts.iter().copied().filter(is_other).collect())
    }

    /// The last cell of a row, without the first name of the header behind it.
    pub(super) fn glue<'a>(&self, cell: &'a [u8]) -> Option<&'a [u8]> {
        let own = cell.trim_ascii().strip_suffix(&*self.names[0])?;
        let own = own.strip_suffix(b"\"").unwrap_or(own);
        Some(own.strip_suffix(BOM).unwrap_or(own))
    }
}

fn length_bit(name: &[u8]) -> u64 {
    1 << name.len().min(63)
}

/// The cells with a value, as names are compared.
fn texts(cells: &Cells) -> Vec<&[u8]> {
    let trimmed = cells.iter().map(<[u8]>::trim_ascii);
    trimmed.map(|cell| cell.strip_prefix(BOM).unwrap_or(cell)).filter(|cell| !cell.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(header: &str, row: &str) -> Option<Repeated> {
        let header = HeaderCells::new(header.split(';').map(|name| name.as_bytes().to_vec()).collect());
        let mut cells = Cells::default();
        row.split(';').for_each(|cell| cells.push(cell.as_bytes()));
        header.compare(&cells)
    }

    #[test]
    fn a_header_is_known_again_and_a_row_is_none() {
        let header = "Klantnr;Voornaam;Achternaam;E-mail";
        for (row, repeated) in [
            ("Klantnr;Voornaam;Achternaam;E-mail", Some(Repeated::Header)),
            ("KLANTNR;voornaam; Achternaam ;E-mail", Some(Repeated::Header)),
            ("Klantnr;Voornaam;Achternaam;E-mail;", Some(Repeated::Header)),
            ("Klantnr;Achternaam;Voornaam;E-mail", Some(Repeated::OtherOrder)),
            ("e-mail;klantnr;voornaam;achternaam", Some(Repeated::OtherOrder)),
            ("Klantnr;Voornaam;Achternaam;Mail", Some(Repeated::OtherNames)),
            ("Nummer;Voornaam;Achternaam;E-mail", Some(Repeated::OtherNames)),
            ("Klantnr;Achternaam;Voornaam;Land", Some(Repeated::OtherNames)),
            ("Klantnr;Voornaam;Achternaam;E-mail;Land", Some(Repeated::OtherNames)),
            ("Klantnr;Voornaam;Achternaam", Some(Repeated::OtherNames)),
            // Customers, of whom some are called like a column.
            ("1001;Voornaam;Achternaam;test@example.com", None),
            ("1001;Voornaam;Achternaam;E-mail", None),
            ("Klantnr;Sanne;de Groot;E-mail", None),
            ("Voornaam;Voornaam;Voornaam;x", None),
        ] {
            assert_eq!(compare(header, row), repeated, "{row}");
        }
        assert_eq!(compare("id;mail", "id;e-mail"), None);
        assert_eq!(compare("id", "id"), Some(Repeated::Header));
        assert_eq!(compare("id", "mail"), None);
    }
}
