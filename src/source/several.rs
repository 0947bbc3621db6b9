//! Several files, read as one export in the order given.
//!
//! The first file decides the columns and their order. The others may have them in
//! another order, with another delimiter, encoding or compression. Their rows come
//! out of the reader as if they stood in the first file.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use encoding_rs::UTF_8;
use encoding_rs_io::DecodeReaderBytesBuilder;

use super::cells::Cells;
use super::columns::Columns;
use super::error::{ExportFault, SourceError};
use super::export::{Export, FurtherFile};
use super::format::{open, open_as};
use super::rows::{Row, RowReader, RowRef, Skipped};
use super::settings::InputSettings;
use super::text_encoding::TextEncoding;
use super::text_file::{self, display_name};

/// Opens the files of an export: the first one, and the others for
/// [`Export::append`].
pub(crate) fn open_all(
    paths: &[PathBuf],
    settings: &InputSettings,
) -> Result<(Export, Vec<Export>), SourceError> {
    let mut found = HashSet::new();
    for path in paths {
        if identity(path).is_some_and(|identity| !found.insert(identity)) {
            return Err(SourceError { name: display_name(path), fault: ExportFault::Repeated });
        }
    }
    let mut files = paths.iter().map(|path| open(path, settings)).collect::<Result<Vec<_>, _>>()?;
    if files.iter().any(|file| file.dialect().encoding != files[0].dialect().encoding) {
        let as_utf8 = |file: Export| file.into_utf8(settings);
        files = files.into_iter().map(as_utf8).collect::<Result<_, _>>()?;
    }
    let further = files.split_off(1);
    let first = files.pop().ok_or(SourceError { name: String::new(), fault: ExportFault::Empty })?;
    Ok((first, further))
}

/// The device and the number of a file. If it has none, opening says why.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let path = if path == Path::new("-") { Path::new("/dev/stdin") } else { path };
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// The most likely encoding of the files, where a configuration has to name it.
pub(crate) fn guess_encoding(paths: &[PathBuf]) -> Result<Option<TextEncoding>, SourceError> {
    let guesses = paths.iter().map(|path| text_file::guess_encoding(path)).collect::<Result<Vec<_>, _>>()?;
    let is_common = |guess: &TextEncoding| guesses.iter().all(|other| *other == Some(*guess));
    // Every file in plain ASCII can be read in an encoding of single bytes.
    Ok(guesses.iter().flatten().find(|guess| guess.is_single_byte() || is_common(guess)).copied())
}

impl Export {
    fn into_utf8(self, settings: &InputSettings) -> Result<Self, SourceError> {
        let encoding = self.dialect().encoding;
        if encoding == UTF_8 {
            return Ok(self);
        }
        let Self { mut text, notes, .. } = self;
        let name = text.name.clone();
        let open = || {
            text.copy_from(0, 1, |from, to| {
                let mut decoder = DecodeReaderBytesBuilder::new();
                io::copy(&mut decoder.encoding(Some(encoding)).build(from), to)
            })?;
            text.dialect.encoding = UTF_8;
            open_as(settings.format, text, settings)
        };
        let export = open().map_err(|fault| SourceError { name, fault })?;
        Ok(Self { notes, ..export })
    }

    /// Its files, and where each begins.
    pub(super) fn files(&self) -> impl DoubleEndedIterator<Item = (&Self, u64)> {
        let further = self.further.iter().map(|file| (&file.export, file.base));
        std::iter::once((self, 0)).chain(further)
    }

    /// The file of a row: the first one, or one of the others.
    fn further_file(&self, at: RowRef) -> Option<usize> {
        self.further.partition_point(|file| file.base <= at.offset).checked_sub(1)
    }

    /// The file of a row, and the row's place in it.
    pub(super) fn locate(&self, at: RowRef) -> (&Self, RowRef) {
        let file = self.further_file(at).map(|file| &self.further[file]);
        file.map_or((self, at), |file| (&file.export, RowRef { offset: at.offset - file.base, ..at }))
    }

    /// Whether the record of a row is written as one of the first file.
    pub(super) fn is_in_own_syntax(&self, at: RowRef) -> bool {
        self.further_file(at).is_none_or(|file| self.further[file].order.is_none())
    }

    /// Puts the other files behind the first one, whose columns are known. `id` are
    /// the columns of the id, and `mapped` all that are mapped.
    pub(crate) fn append(
        &mut self,
        files: Vec<Self>,
        id: &[usize],
        mapped: &[usize],
    ) -> Result<(), SourceError> {
        if files.is_empty() {
            return Ok(());
        }
        let file_name = |export: &Self| &*export.text.name.clone().leak();
        self.file_name = Some(file_name(self));
        let is_result_file = self.is_result_file()?;
        let mut notes = self.named_notes();
        let mut base = self.len_with_gap()?;
        let mut further = Vec::with_capacity(files.len());
        for mut file in files {
            self.match_columns(&mut file)?;
            let first = || self.text.name.clone();
            match (file.is_result_file()?, is_result_file) {
                (true, false) => return Err(file.error(ExportFault::ResultFileBehind { first: first() })),
                (false, true) => return Err(file.error(ExportFault::BehindResultFile { first: first() })),
                _ => {}
            }
            let order = column_order(&self.columns, &file.columns);
            let places = |columns: &[usize]| -> Vec<usize> {
                columns.iter().filter_map(|column| order[*column]).collect()
            };
            file.set_mapped(&places(id), &places(mapped))?;
            notes.extend(file.named_notes());
            let is_alike = file.columns.names() == self.columns.names()
                && file.format.detected_settings() == self.format.detected_settings();
            let (own_base, name) = (base, file_name(&file));
            base += file.len_with_gap()?;
            let order = (!is_alike).then_some(order);
            further.push(FurtherFile { export: file, base: own_base, order, name });
        }
        self.notes = notes;
        let encoding = self.text.dialect.original_encoding;
        if further.iter().any(|file| file.export.text.dialect.original_encoding != encoding) {
            // Result files hold rows of all files.
            (self.text.dialect.original_encoding, self.text.dialect.has_bom) = (UTF_8.into(), true);
        }
        self.further = further.into();
        Ok(())
    }

    /// One byte more than the text: the end of a file is not the start of the next.
    fn len_with_gap(&self) -> Result<u64, SourceError> {
        let metadata = self.text.file.metadata().map_err(|source| self.io_error(source))?;
        Ok(metadata.len() + 1)
    }

    fn named_notes(&self) -> Vec<String> {
        self.notes.iter().map(|note| format!("{}: {note}", self.text.name)).collect()
    }

    /// Checks that a file has the columns of this one, below whichever line is its
    /// header. Without a header it gets them.
    fn match_columns(&self, file: &mut Self) -> Result<(), SourceError> {
        let first = || self.text.name.clone();
        if file.columns.has_header() != self.columns.has_header() {
            let (format, first_format) = (file.result_extension(), self.result_extension());
            return Err(file.error(ExportFault::MixedFormats { format, first: first(), first_format }));
        }
        if !self.columns.has_header() {
            file.columns = Arc::clone(&self.columns);
            return Ok(());
        }
        let mut fewest: Option<(Vec<String>, Vec<String>)> = None;
        loop {
            let (lacking, others) =
                (self.columns.names_outside(&file.columns), file.columns.names_outside(&self.columns));
            let count = lacking.len() + others.len();
            if count == 0 {
                return Ok(());
            }
            if fewest.as_ref().is_none_or(|(lacking, others)| count < lacking.len() + others.len()) {
                fewest = Some((lacking, others));
            }
            if file.take_next_header()?.is_none() {
                let (lacking, others) = fewest.unwrap_or_default();
                return Err(file.error(ExportFault::OtherColumns { first: first(), lacking, others }));
            }
        }
    }

    /// Reads from a row on to the end of the last file.
    pub(super) fn read_files(&self, from: RowRef) -> Box<dyn RowReader> {
        let current = self.further_file(from);
        let (file, at) = self.locate(from);
        Box::new(FileChain {
            reader: file.format.reader(file, at),
            further: Arc::clone(&self.further),
            current,
            first_name: self.file_name.unwrap_or_default(),
            next_number: from.number,
            skipped: Skipped::default(),
            spare: Cells::default(),
        })
    }
}

/// Where columns stand in another file, by their names.
fn column_order(columns: &Columns, other: &Columns) -> Vec<Option<usize>> {
    let place = |name: &String| other.names().iter().position(|own| own == name && !name.is_empty());
    columns.names().iter().map(place).collect()
}

/// Reads one file behind the other.
#[derive(Debug)]
struct FileChain {
    reader: Box<dyn RowReader>,
    further: Arc<[FurtherFile]>,
    /// `None`: the first file.
    current: Option<usize>,
    first_name: &'static str,
    next_number: u64,
    /// In the files before.
    skipped: Skipped,
    spare: Cells,
}

impl FileChain {
    fn file(&self) -> Option<&FurtherFile> {
        self.current.map(|current| &self.further[current])
    }

    fn name(&self) -> &'static str {
        self.file().map_or(self.first_name, |file| file.name)
    }

    /// Begins the next file, if there is one.
    fn take_next_file(&mut self) -> bool {
        let next = self.current.map_or(0, |current| current + 1);
        let Some(FurtherFile { export, .. }) = self.further.get(next) else { return false };
        let from = RowRef { number: self.next_number, ..export.first };
        let reader = std::mem::replace(&mut self.reader, export.format.reader(export, from));
        self.skipped.add(reader.skipped(), self.name());
        self.current = Some(next);
        true
    }
}

impl RowReader for FileChain {
    fn read(&mut self, row: &mut Row) -> io::Result<bool> {
        // The fault of a file names it.
        let named = |error, name: &str| SourceError::from_io(name, error);
        while !self.reader.read(row).map_err(|error| io::Error::other(named(error, self.name())))? {
            if !self.take_next_file() {
                return Ok(false);
            }
        }
        self.next_number = row.at.number + 1;
        row.at.file = Some(self.name());
        let Self { further, current, spare, .. } = self;
        let Some(FurtherFile { base, order, .. }) = current.map(|current| &further[current]) else {
            return Ok(true);
        };
        row.at.offset += base;
        if let Some(order) = order.as_ref().filter(|_| row.fault().is_none()) {
            spare.clear();
            order.iter().for_each(|at| spare.push(at.map_or(&[], |at| row.cells.get(at))));
            spare.is_rewritten = true;
            std::mem::swap(&mut row.cells, spare);
        }
        Ok(true)
    }

    fn skipped(&self) -> Skipped {
        let mut skipped = self.skipped.clone();
        skipped.add(self.reader.skipped(), self.name());
        skipped
    }
}
