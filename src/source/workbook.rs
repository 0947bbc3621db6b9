//! A sheet of an Excel workbook (.xlsx), copied row by row as CSV.
//!
//! Cells become the text that the sheet shows: see `cell_text`. The copy has a
//! line for each row of the sheet, blank ones too, so that a row's line is the
//! number that a person sees beside it.

mod cell_text;
mod merged;

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};

use calamine::{DataRef, Reader, SheetType, SheetVisible, Xlsx, XlsxError};

use super::archive;
use super::cell_syntax::CellSyntax;
use super::dialect::RECORD_SEPARATOR;
use super::error::ExportFault;
use super::file_io::{temporary_file, write_error};
use super::settings::{FormatSetting, InputSettings};
use super::sheet::{COPY_BYTES_MAX, Sheet, WorkbookFault, quoted};
use cell_text::{CellFormat, is_rounded};
use merged::Merged;

/// The rows that a sheet may have.
const ROWS_MAX: u32 = 1 << 20;

/// Copies the sheet that is set, or the first one.
pub(super) fn copy_sheet(file: &File, settings: &InputSettings) -> Result<(File, Sheet), ExportFault> {
    if settings.format == FormatSetting::Jsonl {
        return Err(WorkbookFault::OtherFormat.into());
    }
    let mut workbook = Xlsx::new(BufReader::new(file)).map_err(fault)?;
    let (name, names) = choose(&workbook, &settings.sheet)?;
    let merged = Merged::new(workbook.merge_cells_by_sheet_name(&name).map_err(fault)?);
    let mut copy = SheetCopy {
        writer: BufWriter::new(temporary_file()?),
        syntax: CellSyntax::of_sheet(settings),
        merged,
        rows: 0,
        bytes: 0,
        line: Vec::new(),
        rounded: None,
    };
    copy.copy_cells(&mut workbook, &name)?;
    let mut sheet = Sheet { name, names, notes: Vec::new() };
    if copy.rows == 0 {
        return Err(WorkbookFault::EmptySheet(sheet).into());
    }
    let unresolved = formulas_without_result(&mut workbook, &sheet.name)?;
    let Sheet { name, names, notes } = &mut sheet;
    if settings.sheet.is_empty() && names.len() > 1 {
        let count = names.len();
        notes.push(format!("the sheet {name:?} is read, the first of {count}: {}", quoted(names)));
    }
    if let Some((first, count)) = copy.rounded {
        notes.push(format!(
            "{count} {} more than 15 digits, of which a spreadsheet keeps 15 (first in {first}); they are read as 1.2E+15 and the like, and refused as ids",
            if count == 1 { "number has" } else { "numbers have" }
        ));
    }
    if let Some((first, count)) = unresolved {
        let formulas = if count == 1 { "formula has no result" } else { "formulas have no results" };
        notes.push(format!(
            "{count} {formulas} in the workbook (first in {first}), and such cells are read as blank; open it in a spreadsheet program and save it"
        ));
    }
    if copy.rows == ROWS_MAX {
        notes.push("the sheet is full to its last row; check that the export was not cut there".to_owned());
    }
    let file = copy.writer.into_inner().map_err(|error| write_error(error.into_error()))?;
    Ok((file, sheet))
}

/// The name of the sheet to read, and all names.
fn choose(workbook: &Xlsx<BufReader<&File>>, wanted: &str) -> Result<(String, Vec<String>), WorkbookFault> {
    let sheets = workbook.sheets_metadata().iter().filter(|sheet| sheet.typ == SheetType::WorkSheet);
    let (visible, hidden): (Vec<_>, Vec<_>) =
        sheets.partition(|sheet| sheet.visible == SheetVisible::Visible);
    let names = |sheets: Vec<&calamine::Sheet>| sheets.into_iter().map(|sheet| sheet.name.clone()).collect();
    let (visible, hidden): (Vec<String>, Vec<String>) = (names(visible), names(hidden));
    let all = || visible.iter().chain(&hidden);
    if wanted.is_empty() {
        let first = all().next().cloned().ok_or(WorkbookFault::NoSheets)?;
        return Ok((first, visible));
    }
    let same = |name: &&String| name.trim().to_lowercase() == wanted.trim().to_lowercase();
    let found = all().find(|name| *name == wanted).or_else(|| all().find(same)).cloned();
    match found {
        Some(name) => Ok((name, visible)),
        None => Err(WorkbookFault::NoSheet { name: wanted.to_owned(), names: all().cloned().collect() }),
    }
}

fn fault(error: XlsxError) -> ExportFault {
    match error {
        XlsxError::Zip(error) => archive::fault(error),
        XlsxError::Io(error) => ExportFault::Compressed(error),
        other => WorkbookFault::Damaged(other.to_string()).into(),
    }
}

/// A cell with text: its column, from 0 on, and the text.
type SheetCell = (u32, String);

/// Writes the rows of a sheet.
struct SheetCopy {
    writer: BufWriter<File>,
    syntax: CellSyntax,
    merged: Merged,
    /// Those written so far.
    rows: u32,
    bytes: u64,
    line: Vec<u8>,
    /// Where the first number stands that has lost digits, and how many have.
    rounded: Option<(String, u64)>,
}

impl SheetCopy {
    fn copy_cells(&mut self, workbook: &mut Xlsx<BufReader<&File>>, name: &str) -> Result<(), ExportFault> {
        let mut reader = workbook.worksheet_cells_reader(name).map_err(fault)?;
        let formats: Vec<CellFormat> = reader.styles().iter().map(CellFormat::of_style).collect();
        let (mut row, mut cells) = (0, Vec::new());
        while let Some((cell, style)) = reader.next_cell_with_style_id().map_err(fault)? {
            let (at, column) = cell.get_position();
            if at != row {
                self.write_row(row, &mut cells, name)?;
                row = at;
            }
            let text = formats.get(style).unwrap_or(&CellFormat::General).text(cell.get_value());
            if is_rounded(cell.get_value()) {
                let first = || (format!("{}{}", column_letters(column), row + 1), 0);
                self.rounded.get_or_insert_with(first).1 += 1;
            }
            if !text.is_empty() {
                cells.push((column, text));
            }
        }
        self.write_row(row, &mut cells, name)?;
        self.writer.flush().map_err(write_error)
    }

    /// Writes the row at `row`, from 0 on, and blank ones for those before it.
    /// Takes its cells.
    fn write_row(&mut self, row: u32, cells: &mut Vec<SheetCell>, name: &str) -> Result<(), ExportFault> {
        cells.sort_by_key(|(column, _)| *column);
        self.merged.fill(row, cells);
        if cells.is_empty() {
            return Ok(());
        }
        if row < self.rows {
            let problem = format!("row {} stands below row {}", row + 1, self.rows);
            return Err(WorkbookFault::Damaged(problem).into());
        }
        self.line.clear();
        self.line.resize((row - self.rows) as usize, RECORD_SEPARATOR);
        let mut next = 0;
        for (column, text) in cells.drain(..) {
            self.line.resize(self.line.len() + (column - next) as usize, self.syntax.delimiter);
            self.syntax.write_cell(&mut self.line, text.as_bytes());
            next = column;
        }
        self.line.push(RECORD_SEPARATOR);
        self.rows = row + 1;
        self.bytes += self.line.len() as u64;
        if self.bytes > COPY_BYTES_MAX {
            return Err(WorkbookFault::TooLarge { name: name.to_owned() }.into());
        }
        self.writer.write_all(&self.line).map_err(write_error)
    }
}

/// Cells in which formulas without a result are searched.
const FORMULA_CELLS: usize = 10_000;

/// The first formula whose result is not in the workbook, and how many there are.
fn formulas_without_result(
    workbook: &mut Xlsx<BufReader<&File>>,
    name: &str,
) -> Result<Option<(String, u64)>, ExportFault> {
    let mut reader = workbook.worksheet_cells_reader(name).map_err(fault)?;
    let mut found: Option<(String, u64)> = None;
    for _ in 0..FORMULA_CELLS {
        let Some(cell) = reader.next_cell_with_formula_metadata().map_err(fault)? else { break };
        if cell.formula.is_some() && matches!(cell.value, DataRef::Empty) {
            let (row, column) = cell.pos;
            found.get_or_insert_with(|| (format!("{}{}", column_letters(column), row + 1), 0)).1 += 1;
        }
    }
    Ok(found)
}

/// The name of a column: `A` to `XFD`.
fn column_letters(column: u32) -> String {
    let (mut letters, mut rest) = (Vec::new(), column + 1);
    while rest > 0 {
        rest -= 1;
        letters.push(char::from(b'A' + (rest % 26) as u8));
        rest /= 26;
    }
    letters.into_iter().rev().collect()
}
