//! Rows below the header that describe its columns and are no customers: labels
//! over the names of an API, units, types of a database.

use std::io;

use super::Csv;
use super::footer::{IdShape, is_label};
use crate::source::rows::{Row, RowReader as _, RowRef};
use crate::source::text_file::TextFile;

/// Such rows below a header.
const LABEL_ROWS_MAX: usize = 2;
/// Rows below them with which they are compared.
const ROWS_COMPARED: usize = 50;
/// Fewer digits in a row are no telephone number.
const DIGITS_MIN: usize = 5;

/// Words of the types that databases and CRMs name.
const TYPES: [&str; 42] = [
    "int",
    "integer",
    "bigint",
    "smallint",
    "tinyint",
    "number",
    "numeric",
    "decimal",
    "float",
    "double",
    "real",
    "bool",
    "boolean",
    "bit",
    "char",
    "character",
    "varying",
    "varchar",
    "varchar2",
    "nchar",
    "nvarchar",
    "text",
    "string",
    "str",
    "date",
    "datetime",
    "timestamp",
    "time",
    "uuid",
    "guid",
    "unsigned",
    "not",
    "null",
    "max",
    "email",
    "phone",
    "picklist",
    "lookup",
    "reference",
    "autonumber",
    "key",
    "primary",
];

/// The mapped cells of a row, and the place of the id among them.
struct Candidate<'a> {
    cells: Vec<&'a [u8]>,
    names: Vec<&'a [u8]>,
    id: usize,
}

impl Csv {
    /// The first row below the rows that describe columns, and the lines of these.
    pub(super) fn skip_labels(
        &self,
        text: &TextFile,
        first: RowRef,
        id: &[usize],
        mapped: &[usize],
    ) -> io::Result<(RowRef, Vec<u64>)> {
        let (mut from, mut lines) = (first, Vec::new());
        let [id] = id else { return Ok((from, lines)) };
        if self.results > 0 || mapped.len() < 2 {
            return Ok((from, lines));
        }
        let (mut reader, mut row) = (self.rows(text, first), Row::default());
        let mut rows = Vec::new();
        while rows.len() < LABEL_ROWS_MAX + ROWS_COMPARED && reader.read(&mut row)? {
            if row.fault().is_none() {
                rows.push(row.clone());
            } else if rows.len() < LABEL_ROWS_MAX {
                break;
            }
        }
        let place = mapped.iter().position(|at| at == id);
        let Some(place) = place else { return Ok((from, lines)) };
        let candidate = |row: &'_ Row| -> Vec<Vec<u8>> {
            mapped.iter().map(|at| row.bytes(*at).trim_ascii().to_vec()).collect()
        };
        let cells: Vec<Vec<Vec<u8>>> = rows.iter().map(candidate).collect();
        let names = self.header.names();
        for at in 0..LABEL_ROWS_MAX.min(cells.len()) {
            let candidate = Candidate {
                cells: cells[at].iter().map(Vec::as_slice).collect(),
                names: mapped.iter().map(|at| names.get(*at).map_or(&[][..], Vec::as_slice)).collect(),
                id: place,
            };
            if !candidate.describes_columns(&cells[at + 1..]) {
                break;
            }
            lines.push(rows[at].at().line);
            let end = self.line_end(text, rows[at].at())?;
            from = rows.get(at + 1).map_or(end, |next| RowRef { number: first.number, ..next.at() });
        }
        Ok((from, lines))
    }
}

impl Candidate<'_> {
    fn describes_columns(&self, rows: &[Vec<Vec<u8>>]) -> bool {
        let filled: Vec<usize> = (0..self.cells.len()).filter(|at| !self.cells[*at].is_empty()).collect();
        if filled.len() < 2 || self.cells.iter().any(|cell| cell.contains(&b'@')) {
            return false;
        }
        let id = self.cells[self.id];
        let mut ids = IdShape::default();
        let is_row = |row: &&Vec<Vec<u8>>| !is_label(&row[self.id]);
        rows.iter().filter(is_row).for_each(|row| ids.add(&row[self.id]));
        let is_no_id = !id.is_empty() && ids.differs(id);
        if filled.iter().all(|at| is_type(self.cells[*at])) {
            return is_no_id || id.is_empty() || rows.is_empty();
        }
        let alike = filled.iter().filter(|at| are_alike(self.cells[**at], self.names[**at])).count();
        let are_names = 2 * alike >= filled.len();
        are_names && (is_no_id || rows.is_empty()) || is_no_id && self.differs_from(rows)
    }

    /// Whether it has a text where most rows have an address or digits, and no cell
    /// blank or twice. A customer without an address has a blank cell there.
    fn differs_from(&self, rows: &[Vec<Vec<u8>>]) -> bool {
        let is_full = self.cells.iter().all(|cell| !cell.is_empty() && digits(cell) < DIGITS_MIN);
        let mut texts: Vec<Vec<u8>> = self.cells.iter().map(|cell| cell.to_ascii_lowercase()).collect();
        texts.sort_unstable();
        let is_twice = texts.windows(2).any(|pair| pair[0] == pair[1]);
        let differs = |at: usize| {
            let others = rows.iter().map(|row| &row[at]).filter(|cell| !cell.is_empty());
            let is_address = |cell: &&Vec<u8>| cell.contains(&b'@') || digits(cell) >= DIGITS_MIN;
            at != self.id && 2 * others.clone().filter(is_address).count() > others.count()
        };
        is_full && !is_twice && rows.len() >= 2 && (0..self.cells.len()).any(differs)
    }
}

fn digits(cell: &[u8]) -> usize {
    cell.iter().filter(|byte| byte.is_ascii_digit()).count()
}

/// `varchar(20)`, `[text]`, `(yyyy-mm-dd)`, `-`.
fn is_type(cell: &[u8]) -> bool {
    let text = String::from_utf8_lossy(cell).to_ascii_lowercase();
    let is_bracketed = [('[', ']'), ('(', ')'), ('<', '>'), ('{', '}')]
        .into_iter()
        .any(|(open, close)| text.len() > 2 && text.starts_with(open) && text.ends_with(close));
    let mut words = text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    let is_size = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    let is_first_a_size = words.clone().next().is_some_and(is_size);
    is_bracketed || !is_first_a_size && words.all(|word| is_size(word) || TYPES.contains(&word))
}

/// Whether two names differ in signs and capitals at most, or one begins with the
/// other: `FirstName` and `First Name`.
fn are_alike(cell: &[u8], name: &[u8]) -> bool {
    let plain = |text: &[u8]| -> Vec<u8> {
        text.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).collect()
    };
    let (cell, name) = (plain(cell), plain(name));
    cell == name && !name.is_empty()
        || cell.len().min(name.len()) >= 4 && (cell.starts_with(&name) || name.starts_with(&cell))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [&str; 3] = [
        "000501;Sanne;sanne@example.com;0612345678",
        "000502;Daan;;06 23456789",
        "000503;Eva;eva@example.com;",
    ];

    fn describes_columns(row: &str, rows: &[&str]) -> bool {
        let cells =
            |row: &str| -> Vec<Vec<u8>> { row.split(';').map(|cell| cell.as_bytes().to_vec()).collect() };
        let names = ["klantnr", "first_name", "e_mail", "phone"];
        let own = cells(row);
        let candidate = Candidate {
            cells: own.iter().map(Vec::as_slice).collect(),
            names: names.iter().map(|name| name.as_bytes()).collect(),
            id: 0,
        };
        candidate.describes_columns(&rows.iter().map(|row| cells(row)).collect::<Vec<_>>())
    }

    #[test]
    fn rows_of_labels_and_types_describe_columns() {
        for row in [
            "Klantnr.;First Name;E-mail;Phone",
            "Customer number;Called;Mail;Dial",
            "Kundennummer;Vorname;E-Mail-Adresse;Telefon",
            "varchar(20);character varying(255);text;NVARCHAR(max)",
            "int;text;;",
            ";[text];[text];[number]",
            "-;(text);-;-",
        ] {
            assert!(describes_columns(row, &ROWS), "{row}");
        }
        assert!(describes_columns("varchar(20);text;text;text", &[]));
    }

    #[test]
    fn a_first_customer_of_another_kind_is_a_customer() {
        for row in [
            "000500;Bram;bram@example.com;0612345670",
            "ADMIN;System;admin@example.com;",
            "ADMIN;System;;",
            "BALIE;Balieverkoop;;020-1234567",
            "BALIE;Balieverkoop;geen;geen",
            "000500;Text;;",
            "000500;;;",
            "1;Date;;",
        ] {
            assert!(!describes_columns(row, &ROWS), "{row}");
        }
        // Ids without a shape in common prove nothing.
        assert!(!describes_columns(
            "kees;Kees;geen;onbekend",
            &["jan;Jan;j@example.com;0612345678", "piet;Piet;p@example.com;"]
        ));
        assert!(!describes_columns("kees;Kees;geen;onbekend", &[]));
    }
}
