//! Whether an export is complete, or somebody still writes it.
//!
//! [`Export::check_unchanged`] notices a change during the reading. It does not
//! notice a writer who pauses. So a file that was written a moment ago is
//! checked again a moment later, and a last row that breaks off is an error.
//! For an export that was written an hour ago this costs two reads of metadata.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};

use super::export::Export;
use super::rows::{Row, RowRef};
use super::text_file::Storage;
use super::{ExportFault, SourceError};

/// A last line without its end is common. It is also what remains when a writer
/// stops between two blocks: such a file has to settle for longer.
const UNENDED_FACTOR: u32 = 5;

/// What shows that somebody wrote to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileStamp {
    size: u64,
    modified: SystemTime,
}

impl FileStamp {
    fn read(file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self { size: meta.len(), modified: meta.modified()? })
    }
}

/// The file that the user named, as it was before its first byte was read.
#[derive(Debug)]
pub(super) struct OriginalFile {
    file: File,
    stamp: FileStamp,
}

impl OriginalFile {
    /// `None` for a pipe, which is read to its end, whenever that is.
    pub(super) fn new(file: &File) -> io::Result<Option<Self>> {
        if !file.metadata()?.is_file() {
            return Ok(None);
        }
        Ok(Some(Self { file: file.try_clone()?, stamp: FileStamp::read(file)? }))
    }
}

impl Export {
    /// Whether the file that is read is still as it was when it was opened.
    pub(crate) fn check_unchanged(&self) -> Result<(), SourceError> {
        match &self.text.storage {
            Storage::InPlace(original) => self.check_original(original),
            Storage::Copy(_) | Storage::Stream => Ok(()),
        }
    }

    fn check_original(&self, original: &OriginalFile) -> Result<(), SourceError> {
        let stamp = FileStamp::read(&original.file).map_err(|source| self.io_error(source))?;
        if stamp == original.stamp { Ok(()) } else { Err(self.error(ExportFault::Changed)) }
    }

    /// How much longer nobody may write to the export before it counts as
    /// complete: until `min_age` after the last change, and five times as long if
    /// the last line has no end. A time of change in the future counts as now.
    pub(crate) fn unsettled_for(&self, min_age: Duration) -> Result<Duration, SourceError> {
        let (Storage::InPlace(original) | Storage::Copy(original)) = &self.text.storage else {
            return Ok(Duration::ZERO);
        };
        self.check_original(original)?;
        let age = SystemTime::now().duration_since(original.stamp.modified).unwrap_or_default();
        let factor = if self.ends_with_line_end()? { 1 } else { UNENDED_FACTOR };
        Ok(min_age.saturating_mul(factor).saturating_sub(age))
    }

    /// Whether the last row is whole. `near` is a row not far before the end.
    pub(crate) fn check_end(&self, near: RowRef) -> Result<(), SourceError> {
        if self.ends_with_line_end()? {
            return Ok(());
        }
        let (mut rows, mut row) = (self.rows_from(near), Row::default());
        while rows.read(&mut row).map_err(|source| self.io_error(source))? {}
        match self.format.cut_off(&row) {
            None => Ok(()),
            Some(problem) => Err(self.error(ExportFault::CutOff { line: row.at().line, problem })),
        }
    }

    fn ends_with_line_end(&self) -> Result<bool, SourceError> {
        let read = || -> io::Result<bool> {
            let file = &self.text.file;
            let Some(last) = file.metadata()?.len().checked_sub(1) else { return Ok(true) };
            let mut byte = [0];
            file.read_exact_at(&mut byte, last)?;
            Ok(matches!(byte, [b'\n' | b'\r']))
        };
        read().map_err(|source| self.io_error(source))
    }
}
