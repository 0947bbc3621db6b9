//! From a path, or standard input, to text that can be read from any offset.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use encoding_rs::{Encoding, UTF_8};
use encoding_rs_io::DecodeReaderBytesBuilder;

use super::archive::{self, ZipContent};
use super::cell_syntax::CellSyntax;
use super::dialect::{Dialect, LineEnd, is_surely_utf8, likely_encoding};
use super::error::{ExportFault, SourceError};
use super::file_io::{BLOCK_BYTES, ReadAt, read_sample, spool, temporary_file};
use super::records::Records;
use super::rows::{RECORD_BYTES_MAX, RowRef};
use super::settings::InputSettings;
use super::sheet::Sheet;
use super::signatures;
use super::text_encoding::{TextEncoding, has_mojibake, is_utf8};
use super::workbook;

/// The text of an export. Every delimiter and line end is one ASCII byte, so
/// cells can be decoded one by one.
#[derive(Debug)]
pub(super) struct TextFile {
    /// As the user named it.
    pub(super) name: String,
    pub(super) file: Arc<File>,
    pub(super) storage: Storage,
    pub(super) dialect: Dialect,
    /// Offset after a byte order mark.
    pub(super) start: u64,
    /// Of the workbook from which it was copied.
    pub(super) sheet: Option<Arc<Sheet>>,
}

/// Where the bytes are.
#[derive(Debug)]
pub(super) enum Storage {
    /// In the user's own file.
    InPlace(OriginalFile),
    /// In a private copy of that file.
    Copy(OriginalFile),
    /// In a copied pipe, or a device: there is nothing to watch.
    Stream,
}

impl Storage {
    /// The same for a private copy of those bytes.
    fn into_copy(self) -> Self {
        match self {
            Self::InPlace(original) => Self::Copy(original),
            other => other,
        }
    }
}

/// The file that the user named, as it was before its first byte was read.
#[derive(Debug)]
pub(super) struct OriginalFile {
    file: File,
    metadata: Metadata,
}

impl OriginalFile {
    pub(super) fn modified(&self) -> io::Result<SystemTime> {
        self.metadata.modified()
    }

    pub(super) fn is_unchanged(&self) -> io::Result<bool> {
        let now = self.file.metadata()?;
        Ok(now.len() == self.metadata.len() && now.modified()? == self.modified()?)
    }
}

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

impl TextFile {
    /// Opens `path`; `-` is standard input. A file is read in place if possible.
    /// A pipe, a packed file, a sheet and a text such as UTF-16 are copied first,
    /// the text as UTF-8.
    pub(super) fn open(path: &Path, settings: &InputSettings) -> Result<Self, ExportFault> {
        let (mut file, mut storage) = open_file(path)?;
        if let Some(unpacked) = unpack(&file)? {
            (file, storage) = (unpacked, storage.into_copy());
        }
        let mut content = archive::content(&file)?;
        if let Some(ZipContent::File(table)) = content {
            (file, storage) = (table, storage.into_copy());
            content = archive::content(&file)?;
        }
        match content {
            None => {}
            Some(ZipContent::File(_)) => return Err(ExportFault::NoTable(signatures::NESTED_ZIP)),
            Some(ZipContent::Workbook) => {
                let (file, sheet) = workbook::copy_sheet(&file, settings)?;
                return Ok(Self::of_sheet(path, file, storage.into_copy(), sheet));
            }
        }
        let sample = read_sample(&file, 0)?;
        if let Some(kind) =
            signatures::recognize(&sample, settings.encoding.0.and_then(TextEncoding::standard))
        {
            return Err(ExportFault::NoTable(kind));
        }
        let bom = Encoding::for_bom(&sample);
        // A byte order mark is a fact, the setting an opinion.
        let bom = bom.map(|(encoding, len)| (TextEncoding::Standard(encoding), len));
        let (original_encoding, bom_len) = bom.unwrap_or((settings.encoding.0.unwrap_or(UTF_8.into()), 0));
        let is_single_byte = original_encoding.is_single_byte();
        if bom.is_none() && is_single_byte && is_surely_utf8(&sample) {
            return Err(ExportFault::OtherEncoding { encoding: original_encoding.label() });
        }
        let (mut encoding, mut start) = (original_encoding.standard().unwrap_or(UTF_8), bom_len as u64);
        if original_encoding != encoding.into() || encoding != UTF_8 && !is_single_byte {
            file = transcode(&file, original_encoding)?;
            storage = storage.into_copy();
            (encoding, start) = (UTF_8, 0);
        }
        let line_end = LineEnd::detect(&read_sample(&file, start)?);
        let dialect = Dialect { line_end, encoding, original_encoding, has_bom: bom.is_some() };
        Ok(Self { name: display_name(path), file: Arc::new(file), storage, dialect, start, sheet: None })
    }

    /// A text in UTF-8 that no other program can open.
    pub(super) fn from_memory(name: &str, text: &[u8]) -> Result<Self, ExportFault> {
        let mut file = private_file(name)?;
        file.write_all(text)?;
        let dialect = Dialect {
            line_end: LineEnd::detect(text),
            encoding: UTF_8,
            original_encoding: UTF_8.into(),
            has_bom: false,
        };
        let (name, file) = (name.to_owned(), Arc::new(file));
        Ok(Self { name, file, storage: Storage::Stream, dialect, start: 0, sheet: None })
    }

    /// The rows of a sheet, as CSV. The byte order mark is for its result files.
    fn of_sheet(path: &Path, file: File, storage: Storage, sheet: Sheet) -> Self {
        let dialect = Dialect {
            line_end: LineEnd::RecordSeparator,
            encoding: UTF_8,
            original_encoding: UTF_8.into(),
            has_bom: true,
        };
        let file = Arc::new(file);
        Self { name: display_name(path), file, storage, dialect, start: 0, sheet: Some(Arc::new(sheet)) }
    }

    /// The first bytes after a byte order mark.
    pub(super) fn sample(&self) -> io::Result<Vec<u8>> {
        read_sample(&self.file, self.start)
    }

    /// Replaces the text by a copy that `write` makes of it, from an offset on. The
    /// copy begins at `line`.
    pub(super) fn copy_from<T>(
        &mut self,
        offset: u64,
        line: u64,
        write: impl FnOnce(&mut dyn Read, &mut dyn Write) -> io::Result<T>,
    ) -> Result<T, ExportFault> {
        let mut copy = temporary_file()?;
        // Blank lines in place of those that are left out.
        for _ in 1..line {
            copy.write_all(b"\n")?;
        }
        let result = write(&mut ReadAt { file: &self.file, offset: self.start + offset }, &mut copy)?;
        (self.file, self.start) = (Arc::new(copy), 0);
        self.storage = std::mem::replace(&mut self.storage, Storage::Stream).into_copy();
        Ok(result)
    }

    /// What is wrong with its text, though it can be read.
    pub(super) fn warning(&self) -> io::Result<Option<&'static str>> {
        let is_garbled = self.dialect.encoding == UTF_8 && has_mojibake(&self.sample()?);
        Ok(is_garbled.then_some(
            "text looks garbled, such as \"Ã«\" for \"ë\": another program read UTF-8 as windows-1252; have it export UTF-8, and run again",
        ))
    }

    /// All bytes after a byte order mark.
    pub(super) fn text_reader(&self) -> impl Read {
        ReadAt { file: &self.file, offset: self.start }
    }

    pub(super) fn reader(&self) -> impl Read {
        ReadAt { file: &self.file, offset: 0 }
    }

    /// The records from `from` on, with quoted cells if there is a syntax.
    pub(super) fn records(&self, syntax: Option<CellSyntax>, from: RowRef) -> Records {
        Records::new(Arc::clone(&self.file), syntax, self.dialect.line_end.terminator(), from)
    }

    /// The start of the record after so many physical lines.
    pub(super) fn skip_lines(&self, from: RowRef, lines: u64) -> io::Result<RowRef> {
        let mut records = io::BufReader::new(ReadAt { file: &self.file, offset: from.offset });
        let (mut at, mut line) = (from, Vec::new());
        for _ in 0..lines {
            line.clear();
            let terminator = self.dialect.line_end.terminator();
            let read = records.by_ref().take(RECORD_BYTES_MAX as u64).read_until(terminator, &mut line)?;
            (at.line, at.offset) = (at.line + 1, at.offset + read as u64);
        }
        Ok(at)
    }

    /// Whether these bytes occur anywhere in the file.
    pub(super) fn contains(&self, bytes: &[u8]) -> io::Result<bool> {
        let finder = memchr::memmem::Finder::new(bytes);
        let (mut block, mut offset) = (vec![0; BLOCK_BYTES], 0);
        loop {
            let got = self.file.read_at(&mut block, offset)?;
            if finder.find(&block[..got]).is_some() {
                return Ok(true);
            }
            // They may lie across two blocks.
            match got.saturating_sub(bytes.len() - 1) {
                0 => return Ok(false),
                step => offset += step as u64,
            }
        }
    }
}

/// An export as the user named it.
pub(super) fn display_name(path: &Path) -> String {
    if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() }
}

/// A file in memory.
#[cfg(target_os = "linux")]
fn private_file(name: &str) -> Result<File, ExportFault> {
    use rustix::fs::{MemfdFlags, memfd_create};
    Ok(File::from(memfd_create(name, MemfdFlags::CLOEXEC).map_err(io::Error::from)?))
}

/// A file without a name: this system has none in memory.
#[cfg(not(target_os = "linux"))]
fn private_file(_: &str) -> Result<File, ExportFault> {
    temporary_file()
}

/// Bytes from which the encoding is guessed.
const ENCODING_SAMPLE_BYTES: u64 = 1 << 20;

/// The most likely encoding of an export, if it is a plain file and not UTF-8.
pub(crate) fn guess_encoding(path: &Path) -> Result<Option<TextEncoding>, SourceError> {
    if path == Path::new("-") {
        return Ok(None);
    }
    let sample = File::open(path).map(|file| unpacked_sample(&file, ENCODING_SAMPLE_BYTES));
    let sample = sample.map_err(|source| SourceError { name: display_name(path), fault: source.into() })?;
    // Why a file cannot be unpacked is said where it is opened.
    Ok(sample.ok().map(|sample| likely_encoding(&sample)).filter(|guess| !is_utf8(*guess)))
}

/// The first bytes of the text in a file that may be packed.
fn unpacked_sample(file: &File, bytes: u64) -> Result<Vec<u8>, ExportFault> {
    let (mut head, mut sample) = ([0; ZSTD.len()], Vec::new());
    let len = file.read_at(&mut head, 0)?;
    let packed = ReadAt { file, offset: 0 };
    let mut text: Box<dyn Read> = match &head[..len] {
        head if head.starts_with(&GZIP) => Box::new(flate2::read::MultiGzDecoder::new(packed)),
        head if *head == ZSTD => Box::new(zstd::Decoder::new(packed)?),
        head if signatures::is_zip(head) => return archive::table_sample(file, bytes),
        _ => Box::new(packed),
    };
    text.as_mut().take(bytes).read_to_end(&mut sample)?;
    // A zip inside is not sampled.
    Ok(if signatures::is_zip(&sample) { Vec::new() } else { sample })
}

/// A file, or a private copy of what can be read only once.
fn open_file(path: &Path) -> Result<(File, Storage), ExportFault> {
    if path == Path::new("-") {
        return Ok((spool(&mut io::stdin().lock(), ExportFault::Io)?, Storage::Stream));
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory).into());
    }
    if file.read_at(&mut [0], 0).is_err() {
        return Ok((spool(&mut &file, ExportFault::Io)?, Storage::Stream));
    }
    let watched = if metadata.is_file() { Some(file.try_clone()?) } else { None };
    let original = watched.map(|file| OriginalFile { file, metadata });
    Ok((file, original.map_or(Storage::Stream, Storage::InPlace)))
}

/// The content of a file that gzip or zstd has packed.
fn unpack(file: &File) -> Result<Option<File>, ExportFault> {
    let mut head = [0; ZSTD.len()];
    let len = file.read_at(&mut head, 0)?;
    let packed = ReadAt { file, offset: 0 };
    if head[..len].starts_with(&GZIP) {
        spool(&mut flate2::read::MultiGzDecoder::new(packed), ExportFault::Compressed).map(Some)
    } else if head[..len] == ZSTD {
        spool(&mut zstd::Decoder::new(packed)?, ExportFault::Compressed).map(Some)
    } else {
        Ok(None)
    }
}

/// Copies a text as UTF-8. Bytes outside its encoding become U+FFFD, and a row
/// with that character in a mapped cell is rejected: see `Row::text`.
fn transcode(file: &File, encoding: TextEncoding) -> Result<File, ExportFault> {
    let encoding = match encoding {
        TextEncoding::Standard(encoding) => encoding,
        TextEncoding::Dos(page) => {
            return spool(&mut page.reader(ReadAt { file, offset: 0 }), ExportFault::Io);
        }
    };
    let mut decoder = DecodeReaderBytesBuilder::new();
    decoder.encoding(Some(encoding)).bom_override(true);
    spool(&mut decoder.build(ReadAt { file, offset: 0 }), ExportFault::Io)
}
