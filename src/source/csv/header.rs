//! The header of a CSV export, and where it comes again.

use super::Csv;
use crate::source::cells::Cells;
use crate::source::columns::Columns;
use crate::source::dialect::{Dialect, likely_encoding};
use crate::source::records::RawRecord;

/// Files put together may have further byte order marks.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// The names of the header as they stand in the export, trimmed.
#[derive(Debug, Clone, Default)]
pub(super) struct HeaderCells(Vec<Vec<u8>>);

/// What a record is that looks like the header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Repeated {
    /// The same names in the same order.
    Header,
    /// The same, behind the last cell of a row.
    Glued,
    /// The same names in another order.
    OtherOrder,
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
        let header = Self(cells.iter().map(|cell| cell.trim_ascii().to_vec()).collect());
        Ok((header, Columns::from_header(names)))
    }

    /// Whether these cells are the header again. A column of a single name proves
    /// nothing but its own name.
    pub(super) fn compare(&self, cells: &Cells) -> Option<Repeated> {
        let Self(names) = self;
        let width = names.len();
        let cell = |at: usize| cells.get(at).trim_ascii();
        let first = cell(0).strip_prefix(BOM).unwrap_or(cell(0));
        let is_same = |cell: &[u8], name: &[u8]| cell.eq_ignore_ascii_case(name);
        if cells.len == width
            && is_same(first, &names[0])
            && (1..width).all(|at| is_same(cell(at), &names[at]))
        {
            return Some(Repeated::Header);
        }
        let is_name = |cell: &[u8]| names.iter().any(|name| name == cell);
        if cells.len == width && width > 1 && is_name(cell(width - 1)) && is_name(first) {
            let mut found: Vec<&[u8]> = (1..width).map(cell).chain([first]).collect();
            let mut wanted: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
            found.sort_unstable();
            wanted.sort_unstable();
            return (found == wanted).then_some(Repeated::OtherOrder);
        }
        let is_glued =
            || (1..width).all(|at| cell(width - 1 + at) == names[at]) && self.glue(cell(width - 1)).is_some();
        (width > 1 && cells.len == 2 * width - 1 && is_glued()).then_some(Repeated::Glued)
    }

    /// The last cell of a row, without the first name of the header behind it.
    pub(super) fn glue<'a>(&self, cell: &'a [u8]) -> Option<&'a [u8]> {
        let own = cell.trim_ascii().strip_suffix(&*self.0[0])?;
        let own = own.strip_suffix(b"\"").unwrap_or(own);
        Some(own.strip_suffix(BOM).unwrap_or(own))
    }
}
