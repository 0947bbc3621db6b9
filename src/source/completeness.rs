//! Whether an export is complete, or still being written.
//!
//! [`Export::check_unchanged`] notices a change during the reading, but not a
//! writer that pauses. So a recently written file is checked again a moment
//! later, and a truncated last row is an error. For an export that was written
//! an hour ago this costs two reads of metadata.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::dialect::RECORD_SEPARATOR;
use super::error::{ExportFault, SourceError};
use super::export::Export;
use super::rows::{Row, RowRef, Rows};
use super::text_file::{OriginalFile, Storage};

/// A last line without its end is common. It also remains when a writer stops
/// between two blocks, so such a file has to settle for longer.
const UNENDED_FACTOR: u32 = 5;

impl Export {
    /// Checks that the file under the reader has not changed since it was opened.
    pub(crate) fn check_unchanged(&self) -> Result<(), SourceError> {
        self.files().try_for_each(|(file, _)| match &file.text.storage {
            Storage::InPlace(original) => file.check_original(original),
            Storage::Copy(_) | Storage::Stream => Ok(()),
        })
    }

    fn check_original(&self, original: &OriginalFile) -> Result<(), SourceError> {
        let is_unchanged = original.is_unchanged().map_err(|source| self.io_error(source))?;
        if is_unchanged { Ok(()) } else { Err(self.error(ExportFault::Changed)) }
    }

    /// How much longer the export must stay unchanged before it counts as
    /// complete: until `min_age` after the last change, and five times as long if
    /// the last line has no end. A change in the future counts as one of now.
    pub(crate) fn unsettled_for(&self, min_age: Duration) -> Result<Duration, SourceError> {
        self.files().try_fold(Duration::ZERO, |longest, (file, _)| {
            file.file_unsettled_for(min_age).map(|wait| longest.max(wait))
        })
    }

    fn file_unsettled_for(&self, min_age: Duration) -> Result<Duration, SourceError> {
        let (Storage::InPlace(original) | Storage::Copy(original)) = &self.text.storage else {
            return Ok(Duration::ZERO);
        };
        self.check_original(original)?;
        let modified = original.modified().map_err(|source| self.io_error(source))?;
        let age = SystemTime::now().duration_since(modified).unwrap_or_default();
        let factor = if self.ends_with_line_end()? { 1 } else { UNENDED_FACTOR };
        Ok(min_age.saturating_mul(factor).saturating_sub(age))
    }

    /// Checks that the last row of each file is whole. `row_before` finds a row
    /// shortly before an offset.
    pub(crate) fn check_ends(&self, row_before: impl Fn(u64) -> Option<RowRef>) -> Result<(), SourceError> {
        let mut end = u64::MAX;
        self.files().rev().try_for_each(|(file, base)| {
            let near = row_before(end).filter(|near| near.offset >= base);
            let near = near.map_or(file.first, |near| RowRef { offset: near.offset - base, ..near });
            end = base;
            file.check_file_end(near)
        })
    }

    fn check_file_end(&self, near: RowRef) -> Result<(), SourceError> {
        if self.ends_with_line_end()? {
            return Ok(());
        }
        let mut rows = Rows::new(self.format.reader(self, near), Arc::clone(&self.columns));
        let (mut row, mut next) = (Row::default(), Row::default());
        // What follows the last row may be a footer.
        while rows.read(&mut next).map_err(|source| self.io_error(source))? {
            std::mem::swap(&mut row, &mut next);
        }
        match self.format.truncation(&row) {
            Some(problem) if row.at().number > 0 => {
                Err(self.error(ExportFault::Truncated { line: row.at().line, problem }))
            }
            _ => Ok(()),
        }
    }

    fn ends_with_line_end(&self) -> Result<bool, SourceError> {
        let read = || -> io::Result<bool> {
            let file = &self.text.file;
            let Some(last) = file.metadata()?.len().checked_sub(1) else { return Ok(true) };
            let mut byte = [0];
            file.read_exact_at(&mut byte, last)?;
            Ok(matches!(byte, [b'\n' | b'\r' | RECORD_SEPARATOR]))
        };
        read().map_err(|source| self.io_error(source))
    }
}
