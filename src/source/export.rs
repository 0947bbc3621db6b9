//! An open export, and the interface of its format.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::columns::Columns;
use super::dialect::Dialect;
use super::error::{ExportFault, SourceError};
use super::rows::{RECORD_BYTES_MAX, Row, RowReader, RowRef, Rows};
use super::text_file::{Storage, TextFile, display_name};

/// The hash of an export's content, whatever its name and age: BLAKE3 of the
/// unpacked bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportHash(pub [u8; 32]);

impl fmt::Display for ExportHash {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// A column that a result file adds to a row, and its value: a text or a number.
pub type ResultCell = (&'static str, Value);

/// A member of one row of JSON.
pub(super) enum Member {
    Value(String),
    List(String),
    Object(String),
}

/// Everything in which formats differ.
pub(super) trait Format: fmt::Debug + Send + Sync {
    /// Reads the rows from `from` on.
    fn reader(&self, export: &Export, from: RowRef) -> Box<dyn RowReader>;

    /// The members of a row, where no header has the names of the columns.
    fn members(&self, _export: &Export, _at: RowRef) -> io::Result<Vec<Member>> {
        Ok(Vec::new())
    }

    /// Settings of `[input]` that were detected.
    fn detected_settings(&self) -> Vec<(&'static str, toml::Value)> {
        Vec::new()
    }

    /// The next line that may be the header, if there is one below.
    fn next_header(&self, _export: &Export) -> Result<Option<TableHeader>, ExportFault> {
        Ok(None)
    }

    /// Finds the lines above and below the customers that are no rows. `id` are the
    /// columns of the id, and `mapped` all that are mapped.
    fn find_body(
        &mut self,
        _text: &TextFile,
        first: RowRef,
        _id: &[usize],
        _mapped: &[usize],
    ) -> io::Result<TableBody> {
        Ok(TableBody { first, notes: Vec::new() })
    }

    /// Whether the export is a result file of an earlier run.
    fn is_result_file(&self, export: &Export) -> io::Result<bool>;

    /// Why the last row is incomplete, if it is. Its line has no end.
    fn truncation(&self, last: &Row) -> Option<String>;

    fn result_extension(&self) -> &'static str;

    /// The header of a result file, encoded as the export is read.
    fn result_header(&self, _export: &Export, _results: &[ResultCell]) -> Option<Vec<u8>> {
        None
    }

    /// The export's own row followed by results, encoded as the export is read.
    fn result_row(&self, export: &Export, at: RowRef, results: &[ResultCell]) -> io::Result<Vec<u8>>;
}

/// A line as the header of an export, and what follows from it.
#[derive(Debug)]
pub(crate) struct TableHeader {
    pub(super) format: Box<dyn Format>,
    pub(super) columns: Arc<Columns>,
    pub(super) first: RowRef,
}

/// The rows of a table, once it is known which columns are mapped.
pub(super) struct TableBody {
    pub(super) first: RowRef,
    /// What a person should know of the lines around them.
    pub(super) notes: Vec<String>,
}

/// An open export. It can be read from any row on, as often as needed.
#[derive(Debug)]
pub struct Export {
    pub(super) text: TextFile,
    pub(super) format: Box<dyn Format>,
    pub(super) columns: Arc<Columns>,
    pub(super) first: RowRef,
    /// The files behind this one, whose columns these are.
    pub(super) further: Arc<[FurtherFile]>,
    /// Of several files the name of this one.
    pub(super) file_name: Option<&'static str>,
    /// Where a result file names the run and the row of each row.
    pub(super) origin: Option<(usize, usize)>,
    /// Where a result file holds the mapped id of each row.
    pub(super) mapped_id: Option<usize>,
    /// Where a result file names the run whose work a row takes back.
    pub(super) undo: Option<usize>,
    /// What a person should know of how it is read.
    pub(super) notes: Vec<String>,
    /// What is wrong with its text, though it can be read.
    pub(super) warning: Option<&'static str>,
    /// Whether another line than the first may be the header.
    pub(super) searches_header: bool,
}

/// A file behind the first one.
#[derive(Debug)]
pub(super) struct FurtherFile {
    pub(super) export: Export,
    /// Where it begins in the export.
    pub(super) base: u64,
    /// Where the columns of the first file stand in this one, unless its rows are
    /// written in the same way.
    pub(super) order: Option<Vec<Option<usize>>>,
    pub(super) name: &'static str,
}

/// The columns of a result file that name the run and the row.
pub(crate) const ORIGIN: (&str, &str) = ("_sync_run", "_sync_row");

/// The column of a result file with the mapped id, behind a word that makes a
/// spreadsheet leave it as it is.
pub(crate) const MAPPED_ID: &str = "_sync_id";

/// The column that makes each row a purge of whom the run that it names has created.
pub(crate) const UNDO: &str = "_sync_undo";
const MAPPED_ID_PREFIX: &str = "id:";

/// The cell of a mapped id.
pub(crate) fn mapped_id_cell(id: &str) -> String {
    format!("{MAPPED_ID_PREFIX}{id}")
}

/// The name of an export from the names of its files.
pub(crate) fn name_of(paths: &[PathBuf]) -> String {
    let first = paths.first().map(|path| display_name(path)).unwrap_or_default();
    name_of_several(first, paths.len().saturating_sub(1))
}

fn name_of_several(first: String, more: usize) -> String {
    if more == 0 { first } else { format!("{first} and {more} more") }
}

impl Export {
    pub(super) fn new(text: TextFile, format: Box<dyn Format>, columns: Columns, first: RowRef) -> Self {
        let columns = Arc::new(columns);
        Self {
            text,
            format,
            columns,
            first,
            further: Arc::default(),
            file_name: None,
            origin: None,
            mapped_id: None,
            undo: None,
            notes: Vec::new(),
            warning: None,
            searches_header: false,
        }
    }

    /// As the user named it: `part-1.csv and 2 more`.
    pub(crate) fn name(&self) -> String {
        name_of_several(self.text.name.clone(), self.further.len())
    }

    /// Whether offsets of rows are offsets in the file.
    pub fn is_read_in_place(&self) -> bool {
        matches!(self.text.storage, Storage::InPlace(_))
    }

    pub(crate) fn has_several_files(&self) -> bool {
        !self.further.is_empty()
    }

    /// The files, as the user named them.
    pub(crate) fn file_names(&self) -> Vec<&str> {
        self.files().map(|(file, _)| &*file.text.name).collect()
    }

    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// The columns, to request more of them: see [`Columns::require`].
    pub fn columns_mut(&mut self) -> &mut Columns {
        Arc::make_mut(&mut self.columns)
    }

    pub fn dialect(&self) -> &Dialect {
        &self.text.dialect
    }

    /// What a person should know of how it is read.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What is wrong with its text, though it can be read.
    pub(crate) fn warning(&self) -> Option<&'static str> {
        self.warning
    }

    /// Takes the next line as the header, if one of the lines below may be it.
    /// Returns the header so far.
    pub(crate) fn take_next_header(&mut self) -> Result<Option<TableHeader>, SourceError> {
        if !self.searches_header {
            return Ok(None);
        }
        let next = self.format.next_header(self).map_err(|fault| self.error(fault))?;
        Ok(next.map(|next| self.set_header(next)))
    }

    /// Sets the header, and returns the one so far.
    pub(crate) fn set_header(&mut self, header: TableHeader) -> TableHeader {
        let TableHeader { format, columns, first } = header;
        TableHeader {
            format: std::mem::replace(&mut self.format, format),
            columns: std::mem::replace(&mut self.columns, columns),
            first: std::mem::replace(&mut self.first, first),
        }
    }

    /// Once it is known which columns are mapped: looks for lines that are no rows,
    /// and notes what matters of the header.
    pub(crate) fn set_mapped(&mut self, id: &[usize], mapped: &[usize]) -> Result<(), SourceError> {
        let found = self.format.find_body(&self.text, self.first, id, mapped);
        let TableBody { first, notes } = found.map_err(|source| self.io_error(source))?;
        self.first = first;
        self.notes.extend(notes);
        for double in self.columns.doubles().filter(|(first, _)| mapped.contains(first)) {
            let (first, second) = double;
            let (name, number) = (&self.columns.names()[first], &self.columns.names()[second]);
            self.notes.push(format!(
                "columns {} and {} are both called {name:?}; the second is read as {number:?}",
                first + 1,
                second + 1
            ));
        }
        Ok(())
    }

    /// All rows.
    pub fn rows(&self) -> Rows {
        self.rows_from(self.first)
    }

    pub fn rows_from(&self, from: RowRef) -> Rows {
        let reader =
            if self.has_several_files() { self.read_files(from) } else { self.format.reader(self, from) };
        Rows::new(reader, Arc::clone(&self.columns))
    }

    /// The bytes of a row as they stand in the export, without the line end. Of
    /// a row that is too long only the beginning.
    pub(super) fn row_bytes(&self, at: RowRef) -> io::Result<Vec<u8>> {
        let (file, at) = self.locate(at);
        let mut bytes = vec![0; at.len.min(RECORD_BYTES_MAX as u64) as usize];
        file.text.file.read_exact_at(&mut bytes, at.offset)?;
        Ok(bytes)
    }

    /// Of several files the hash of their hashes: also where one ends decides what
    /// the rows are.
    pub fn hash(&self) -> Result<ExportHash, SourceError> {
        let hashes = self.files().map(|(file, _)| file.file_hash()).collect::<Result<Vec<_>, _>>()?;
        match hashes[..] {
            [hash] => Ok(hash),
            _ => {
                let mut hasher = blake3::Hasher::new();
                for hash in hashes {
                    hasher.update(&hash.0);
                }
                Ok(ExportHash(*hasher.finalize().as_bytes()))
            }
        }
    }

    fn file_hash(&self) -> Result<ExportHash, SourceError> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(self.text.reader()).map_err(|source| self.io_error(source))?;
        Ok(ExportHash(*hasher.finalize().as_bytes()))
    }

    /// Settings of `[input]` that were detected.
    pub(crate) fn detected_settings(&self) -> Vec<(&'static str, toml::Value)> {
        self.format.detected_settings()
    }

    /// Whether it is a result file of an earlier run, fixed and run again.
    pub fn is_result_file(&self) -> Result<bool, SourceError> {
        self.format.is_result_file(self).map_err(|source| self.io_error(source))
    }

    /// Reads also the run, the row and the id that a row of a result file stands for.
    pub(crate) fn require_origin(&mut self) {
        let columns = self.columns_mut();
        let run = columns.require_result(ORIGIN.0);
        let origin = run.zip(columns.require_result(ORIGIN.1));
        let mapped_id = columns.require_result(MAPPED_ID);
        let undo = columns.require_result(UNDO);
        (self.origin, self.mapped_id, self.undo) = (origin, mapped_id, undo);
    }

    /// The run whose work the row takes back, by the name of its folder.
    pub(crate) fn undo(&self, row: &Row) -> Option<String> {
        let run = row.text(self.undo?).ok()?.trim().to_owned();
        (!run.is_empty()).then_some(run)
    }

    /// The cell of such a row in a result file. Where one row has it, all do.
    pub(crate) fn undo_cell(&self, row: &Row) -> Option<ResultCell> {
        self.undo?;
        Some((UNDO, self.undo(row).unwrap_or_default().into()))
    }

    /// The mapped id of a row of a result file when it was written. A person
    /// empties the cell to accept another one.
    pub(crate) fn mapped_id<'a>(&self, row: &'a Row) -> Option<Cow<'a, str>> {
        let text = row.text(self.mapped_id?).ok()?;
        let id = text.trim().strip_prefix(MAPPED_ID_PREFIX).unwrap_or(text.trim());
        (!id.is_empty()).then(|| id.to_owned().into())
    }

    /// The run and the row of it that a row stands for.
    pub(crate) fn origin<'a>(&self, row: &'a Row) -> Option<(Cow<'a, str>, u64)> {
        let (run, number) = self.origin?;
        let run = row.text(run).ok().filter(|run| !run.is_empty())?;
        Some((run, row.text(number).ok()?.trim().parse().ok()?))
    }

    /// The extension of its result files.
    pub fn result_extension(&self) -> &'static str {
        self.format.result_extension()
    }

    /// The header of a result file with these columns, if its format has one.
    pub(crate) fn result_header(&self, results: &[ResultCell]) -> Vec<u8> {
        let Some(header) = self.format.result_header(self, results) else { return Vec::new() };
        [self.dialect().result_bom(), &self.dialect().result_line(header)].concat()
    }

    /// A line of a result file: the row as it stands in the export, without
    /// earlier results, followed by `results`.
    pub fn result_row(&self, at: RowRef, results: &[ResultCell]) -> io::Result<Vec<u8>> {
        let row = self.format.result_row(self, at, results)?;
        Ok(self.dialect().result_line(row))
    }

    pub(crate) fn io_error(&self, source: io::Error) -> SourceError {
        SourceError::from_io(&self.text.name, source)
    }

    pub(super) fn error(&self, fault: ExportFault) -> SourceError {
        SourceError { name: self.text.name.clone(), fault }
    }
}
