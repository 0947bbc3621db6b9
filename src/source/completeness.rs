//! Whether an export is all there, or somebody is still writing it.
//!
//! What changes while it is read is noticed by [`Export::check_unchanged`]. A
//! writer who pauses is not, so a file that was touched a moment ago is looked
//! at again a moment later, and a last row that breaks off is an error. For an
//! export that was written an hour ago this costs two looks at its metadata.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, SystemTime};

use super::SourceError;
use super::open::Export;
use super::rows::{Row, RowFault, RowRef};

/// A last line without its end is common, and what a writer leaves who stops
/// between two blocks: such a file has to lie still for so many times as long.
const UNENDED_FACTOR: u32 = 5;

/// What shows that somebody wrote to a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FileStamp {
    size: u64,
    modified: (i64, i64),
}

impl FileStamp {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self { size: meta.size(), modified: (meta.mtime(), meta.mtime_nsec()) })
    }
}

/// The file that the user named, as it was before its first byte was read.
#[derive(Debug)]
pub(crate) struct OriginalFile {
    file: File,
    found: FileStamp,
}

impl OriginalFile {
    /// None of a pipe, which is read to its end, whenever that is.
    pub(crate) fn of(file: &File) -> io::Result<Option<Self>> {
        if !file.metadata()?.is_file() {
            return Ok(None);
        }
        Ok(Some(Self { file: file.try_clone()?, found: FileStamp::of(file)? }))
    }
}

impl Export {
    /// How much longer the export has to lie still before it counts as written:
    /// zero once that is `min_age` ago, and five times as long where the last
    /// line has no end. A time of change in the future counts as now.
    ///
    /// # Errors
    ///
    /// [`SourceError::Changed`] if somebody wrote to it since it was opened.
    pub fn unsettled_for(&self, min_age: Duration) -> Result<Duration, SourceError> {
        let Some(origin) = self.origin() else {
            return Ok(Duration::ZERO);
        };
        let (found, modified) = FileStamp::of(&origin.file)
            .and_then(|found| Ok((found, origin.file.metadata()?.modified()?)))
            .map_err(|source| self.io_error(source))?;
        if found != origin.found {
            return Err(SourceError::Changed { name: self.name().to_owned() });
        }
        let age = SystemTime::now().duration_since(modified).unwrap_or_default();
        let needed = match self.is_ended()? {
            true => min_age,
            false => min_age.saturating_mul(UNENDED_FACTOR),
        };
        Ok(needed.saturating_sub(age))
    }

    /// Whether the last row is whole. `near` is a row not far before the end.
    ///
    /// # Errors
    ///
    /// [`SourceError::CutOff`] if it breaks off, as what was copied in part does.
    pub fn check_end(&self, near: RowRef) -> Result<(), SourceError> {
        if self.is_ended()? {
            return Ok(());
        }
        let (mut rows, mut row) = (self.rows_from(near), Row::default());
        while rows.read(&mut row).map_err(|source| self.io_error(source))? {}
        // One cell less than the others have, behind the last one with a name. To
        // a result file somebody may have added rows without results.
        let columns = self.columns();
        let is_short = row.cells() < columns.width() && !columns.is_open() && !columns.has_results();
        if row.fault().is_none() && is_short {
            return Err(SourceError::CutOff {
                name: self.name().to_owned(),
                line: row.at().line,
                fault: "the row ends before the delimiter that the other rows end with".to_owned(),
            });
        }
        let is_cut = match row.fault() {
            Some(RowFault::Ragged { found, expected }) => found < expected,
            Some(RowFault::UnclosedQuote { .. } | RowFault::NotAnObject(_)) => true,
            _ => false,
        };
        match row.fault().filter(|_| is_cut) {
            None => Ok(()),
            Some(fault) => Err(SourceError::CutOff {
                name: self.name().to_owned(),
                line: row.at().line,
                fault: fault.to_string(),
            }),
        }
    }

    /// Whether the last line has its end.
    fn is_ended(&self) -> Result<bool, SourceError> {
        let look = || -> io::Result<bool> {
            let file = self.file();
            let Some(last) = file.metadata()?.len().checked_sub(1) else { return Ok(true) };
            let mut byte = [0];
            file.read_exact_at(&mut byte, last)?;
            Ok(matches!(byte, [b'\n' | b'\r']))
        };
        look().map_err(|source| self.io_error(source))
    }
}
