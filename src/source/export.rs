//! An open export.

use std::fmt;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::columns::Columns;
use super::dialect::Dialect;
use super::format::{Format, ResultCell, open_as};
use super::records::RECORD_BYTES_MAX;
use super::rows::{RowRef, Rows};
use super::settings::InputSettings;
use super::text_file::{TextFile, display_name};
use super::{ExportFault, SourceError};

/// Which content an export has, whatever its name and age: BLAKE3 of the bytes,
/// unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportHash(pub [u8; 32]);

impl fmt::Display for ExportHash {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// An open export. It can be read from any row on, as often as needed.
#[derive(Debug)]
pub struct Export {
    pub(super) text: TextFile,
    pub(super) format: Box<dyn Format>,
    pub(super) columns: Arc<Columns>,
    pub(super) first: RowRef,
}

/// Opens an export: `-` is standard input.
///
/// # Errors
///
/// What makes the whole export unreadable: see [`SourceError`].
pub fn open(path: &Path, settings: &InputSettings) -> Result<Export, SourceError> {
    TextFile::open(path, settings)
        .and_then(|text| open_as(settings.format, text, settings))
        .map_err(|fault| SourceError { name: display_name(path), fault })
}

impl Export {
    pub(super) fn new(
        text: TextFile,
        format: impl Format + 'static,
        columns: Columns,
        first: RowRef,
    ) -> Self {
        Self { text, format: Box::new(format), columns: Arc::new(columns), first }
    }

    /// As the user named it.
    pub(crate) fn name(&self) -> &str {
        &self.text.name
    }

    /// Its columns.
    #[must_use]
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Its columns, to ask for more of them: see [`Columns::require`].
    pub fn columns_mut(&mut self) -> &mut Columns {
        Arc::make_mut(&mut self.columns)
    }

    /// How it is written.
    #[must_use]
    pub fn dialect(&self) -> &Dialect {
        &self.text.dialect
    }

    /// All rows.
    #[must_use]
    pub fn rows(&self) -> Rows {
        self.rows_from(self.first)
    }

    /// The rows from `from` on.
    #[must_use]
    pub fn rows_from(&self, from: RowRef) -> Rows {
        Rows::new(self.format.reader(self, from), Arc::clone(&self.columns))
    }

    /// The bytes of a row as they stand in the export, without the line end. Of
    /// a row that is too long only the beginning.
    pub(super) fn row_bytes(&self, at: RowRef) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; at.len.min(RECORD_BYTES_MAX as u64) as usize];
        self.text.file.read_exact_at(&mut bytes, at.offset)?;
        Ok(bytes)
    }

    /// Which content it has.
    pub fn hash(&self) -> Result<ExportHash, SourceError> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(self.text.reader()).map_err(|source| self.io_error(source))?;
        Ok(ExportHash(*hasher.finalize().as_bytes()))
    }

    /// The names that a proposed configuration may map: those of the header, or
    /// the keys of the first row.
    pub fn column_names(&self) -> Result<Vec<String>, SourceError> {
        self.format.column_names(self).map_err(|source| self.io_error(source))
    }

    /// Settings of `[input]` that were detected.
    pub(crate) fn detected_settings(&self) -> Vec<(&'static str, String)> {
        self.format.detected_settings()
    }

    /// Whether it is a result file of an earlier run, repaired and run again.
    pub fn is_result_file(&self) -> Result<bool, SourceError> {
        self.format.is_result_file(self).map_err(|source| self.io_error(source))
    }

    /// The extension of its result files.
    #[must_use]
    pub fn result_extension(&self) -> &'static str {
        self.format.result_extension()
    }

    /// How a result file with these columns begins.
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
        self.error(source.into())
    }

    pub(super) fn error(&self, fault: ExportFault) -> SourceError {
        SourceError { name: self.text.name.clone(), fault }
    }
}
