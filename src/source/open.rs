//! From a path, or standard input, to an [`Export`].

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use encoding_rs::UTF_8;
use encoding_rs_io::DecodeReaderBytesBuilder;

use super::SourceError;
use super::columns::{Columns, SYNC_PREFIX};
use super::completeness::{FileStamp, OriginalFile};
use super::dialect::{self, Dialect, Format};
use super::records::{Fault, RECORD_BYTES_MAX, Records};
use super::rows::{Row, RowFault, RowRef, Rows};
use super::settings::{FormatSetting, Settings};

/// What the dialect is sniffed from.
const SAMPLE_BYTES: usize = 64 << 10;
/// Read at once where all of a file is looked at.
const BLOCK_BYTES: usize = 1 << 20;
/// Rows that show how wide rows are.
const ROWS_FOR_WIDTH: usize = 100;

/// Which content an export has, whatever it is called and whenever it was
/// written: BLAKE3 of the bytes, unpacked.
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
    name: String,
    file: Arc<File>,
    dialect: Dialect,
    columns: Columns,
    first: RowRef,
    /// What must not change while the export is read.
    watched: Option<FileStamp>,
    origin: Option<OriginalFile>,
}

/// Opens an export: `-` is standard input.
///
/// # Errors
///
/// What makes the whole export unreadable: see [`SourceError`].
pub fn open(path: &Path, settings: &Settings) -> Result<Export, SourceError> {
    let name = if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() };
    let io_error = |source| SourceError::Io { name: name.clone(), source };
    let (plain, label, origin) = match path == Path::new("-") {
        true => (spool(&mut io::stdin().lock(), &name, false)?, "", None),
        false => unpacked(path, &name)?,
    };
    let file = transcoded(plain, &name, settings)?;
    let watched = (label == "plain").then(|| FileStamp::of(&file.file)).transpose().map_err(io_error)?;
    let sample = sample(&file.file).map_err(io_error)?;
    let format = format_of(path, &sample, settings)?;
    let mut export = Export {
        name: name.clone(),
        dialect: Dialect {
            format,
            delimiter: b',',
            terminator: dialect::sniff_terminator(&sample),
            encoding: file.encoding,
            written_in: file.written_in,
            marked: file.marked,
            crlf: dialect::sniff_crlf(&sample),
        },
        file: Arc::new(file.file),
        columns: Columns::of_json(),
        first: RowRef { number: 1, line: 1, offset: file.skip, len: 0 },
        watched,
        origin,
    };
    if format == Format::Csv {
        export.read_header(&sample[file.skip.min(sample.len() as u64) as usize..], settings)?;
        export.look_for_width()?;
    }
    Ok(export)
}

impl Export {
    /// As the user named it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn origin(&self) -> Option<&OriginalFile> {
        self.origin.as_ref()
    }

    /// Its columns.
    #[must_use]
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Its columns, to ask for more of them: see [`Columns::want`].
    pub fn columns_mut(&mut self) -> &mut Columns {
        &mut self.columns
    }

    /// How it is written.
    #[must_use]
    pub fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    /// All rows.
    #[must_use]
    pub fn rows(&self) -> Rows {
        self.rows_from(self.first)
    }

    /// The rows from `from` on.
    #[must_use]
    pub fn rows_from(&self, from: RowRef) -> Rows {
        Rows::new(Arc::clone(&self.file), self.dialect, Arc::new(self.columns.clone()), from)
    }

    /// How many cells the rows have where the header ends with a delimiter: by
    /// the first rows, since a spreadsheet leaves some out and writes others.
    fn look_for_width(&mut self) -> Result<(), SourceError> {
        let Some(named) = self.columns.width_without_unnamed() else { return Ok(()) };
        let (mut rows, mut row) = (self.rows(), Row::default());
        // Of as many of both, the first decides.
        let (mut short, mut whole, mut is_first_short) = (0, 0, None);
        for _ in 0..ROWS_FOR_WIDTH {
            if !rows.read(&mut row).map_err(|source| self.io_error(source))? {
                break;
            }
            let found = match row.fault() {
                Some(RowFault::Ragged { found, .. }) => *found,
                Some(_) => continue,
                None => row.cells(),
            };
            short += u32::from(found == named);
            whole += u32::from(found == self.columns.width());
            is_first_short.get_or_insert(found == named);
        }
        if short > whole || short == whole && is_first_short == Some(true) {
            self.columns.leave_out_unnamed();
        }
        Ok(())
    }

    /// Whether it is a result file of an earlier run, repaired and run again.
    ///
    /// # Errors
    ///
    /// What the system says of the file.
    pub fn is_result_file(&self) -> Result<bool, SourceError> {
        if self.dialect.format == Format::Csv {
            return Ok(self.columns.has_results());
        }
        if !self.holds(SYNC_PREFIX.as_bytes()).map_err(|source| self.io_error(source))? {
            return Ok(false);
        }
        // Any line: in a repaired one some may have become those of an export.
        let from = self.first;
        let mut lines = Records::at(Arc::clone(&self.file), self.dialect.framing(), from.offset, from.line);
        while let Some((_, line)) = lines.next().map_err(|source| self.io_error(source))? {
            if super::json::has_results(line, self.dialect.encoding) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether these bytes are somewhere in the file.
    fn holds(&self, wanted: &[u8]) -> io::Result<bool> {
        let finder = memchr::memmem::Finder::new(wanted);
        let mut block = vec![0; BLOCK_BYTES];
        let mut offset = 0;
        loop {
            let got = self.file.read_at(&mut block, offset)?;
            if finder.find(&block[..got]).is_some() {
                return Ok(true);
            }
            // They may lie across two blocks.
            match got.checked_sub(wanted.len() - 1) {
                Some(step) if step > 0 => offset += step as u64,
                _ => return Ok(false),
            }
        }
    }

    fn bytes_of(&self, at: RowRef) -> io::Result<Vec<u8>> {
        // A row that is longer than a row may be is shown by its beginning.
        let len = usize::try_from(at.len).unwrap_or(RECORD_BYTES_MAX).min(RECORD_BYTES_MAX);
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, at.offset)?;
        Ok(bytes)
    }

    /// The bytes of a row as they stand in the export, without the line end,
    /// and without the columns of an earlier result file.
    ///
    /// # Errors
    ///
    /// What the system says of the file.
    pub fn own_bytes(&self, at: RowRef) -> io::Result<Vec<u8>> {
        let bytes = self.bytes_of(at)?;
        if self.dialect.format == Format::Jsonl {
            return Ok(super::json::without_results(&bytes, self.dialect.encoding).unwrap_or(bytes));
        }
        let mut row = Row::default();
        self.rows_from(at).read(&mut row)?;
        if row.fault().is_some() {
            return Ok(bytes);
        }
        if !self.columns.has_results() {
            // Where the header alone ends with a delimiter, what is written
            // behind the row still has to stand below its names.
            let left_out = self.columns.names().len().saturating_sub(row.cells());
            return Ok([bytes, vec![self.dialect.delimiter; left_out]].concat());
        }
        Ok(self.dialect.csv_line(self.columns.own().map(|(column, _)| row.bytes(column))))
    }

    /// The bytes of the first row, to guess from.
    ///
    /// # Errors
    ///
    /// What the system says of the file.
    pub fn own_bytes_of_first(&self) -> io::Result<Vec<u8>> {
        let mut row = Row::default();
        if self.rows().read(&mut row)? { self.own_bytes(row.at()) } else { Ok(Vec::new()) }
    }

    /// Which content it has.
    ///
    /// # Errors
    ///
    /// What the system says of the file.
    pub fn fingerprint(&self) -> Result<ExportHash, SourceError> {
        let mut hasher = blake3::Hasher::new();
        let mut block = vec![0; BLOCK_BYTES];
        let mut offset = 0;
        loop {
            let got = self.file.read_at(&mut block, offset).map_err(|source| self.io_error(source))?;
            if got == 0 {
                return Ok(ExportHash(*hasher.finalize().as_bytes()));
            }
            hasher.update(&block[..got]);
            offset += got as u64;
        }
    }

    /// Whether the file is still as it was when it was opened.
    ///
    /// # Errors
    ///
    /// [`SourceError::Changed`] if it is not.
    pub fn check_unchanged(&self) -> Result<(), SourceError> {
        let Some(watched) = &self.watched else {
            return Ok(());
        };
        match FileStamp::of(&self.file).map_err(|source| self.io_error(source))? {
            now if now == *watched => Ok(()),
            _ => Err(SourceError::Changed { name: self.name.clone() }),
        }
    }

    /// Wraps what the system said of this file.
    #[must_use]
    pub fn io_error(&self, source: io::Error) -> SourceError {
        SourceError::Io { name: self.name.clone(), source }
    }

    fn read_header(&mut self, sample: &[u8], settings: &Settings) -> Result<(), SourceError> {
        let excel = dialect::excel_separator(sample, self.dialect.terminator);
        if let Some((_, len)) = excel {
            self.first.offset += len as u64;
            self.first.line += 1;
        }
        let sample = &sample[excel.map_or(0, |(_, len)| len)..];
        self.dialect.delimiter = settings
            .delimiter
            .0
            .or(excel.map(|(delimiter, _)| delimiter))
            .unwrap_or_else(|| dialect::sniff_delimiter(sample, self.dialect.terminator));
        let mut records =
            Records::at(Arc::clone(&self.file), self.dialect.framing(), self.first.offset, self.first.line);
        let Some((extent, bytes)) = records.next().map_err(|source| self.io_error(source))? else {
            return Err(SourceError::Empty { name: self.name.clone() });
        };
        let bytes = bytes.to_vec();
        let header =
            |problem: String| SourceError::Header { name: self.name.clone(), line: extent.line, problem };
        match extent.fault {
            None => {}
            Some(Fault::TooLong) => {
                return Err(header(format!(
                    "the header is longer than {RECORD_BYTES_MAX} bytes; is a line end missing?"
                )));
            }
            Some(Fault::UnclosedQuote { .. } | Fault::TextAfterQuote { .. }) => {
                return Err(header("the quotes of the header are not balanced; mend that line".to_owned()));
            }
        }
        self.columns = Columns::of_header(self.header_names(&bytes).map_err(header)?).map_err(header)?;
        let next = records.next().map_err(|source| self.io_error(source))?;
        let end = self.first.offset + bytes.len() as u64;
        self.first = match next {
            Some((first, _)) => RowRef { number: 1, line: first.line, offset: first.offset, len: 0 },
            None => RowRef {
                number: 1,
                line: extent.line + 1,
                offset: end.max(extent.offset + extent.len as u64),
                len: 0,
            },
        };
        Ok(())
    }

    fn header_names(&self, header: &[u8]) -> Result<Vec<String>, String> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .delimiter(self.dialect.delimiter)
            .terminator(csv::Terminator::Any(self.dialect.terminator))
            .from_reader(header);
        let mut record = csv::ByteRecord::new();
        reader.read_byte_record(&mut record).map_err(|error| error.to_string())?;
        record
            .iter()
            .map(|cell| {
                self.dialect
                    .encoding
                    .decode_without_bom_handling_and_without_replacement(cell)
                    .map(|name| name.trim().to_owned())
                    .ok_or_else(|| {
                        format!(
                            "the header is not {}; set encoding in [input], perhaps \"{}\"",
                            self.dialect.encoding.name(),
                            dialect::sniff_encoding(cell).name().to_ascii_lowercase()
                        )
                    })
            })
            .collect()
    }
}

fn format_of(path: &Path, sample: &[u8], settings: &Settings) -> Result<Format, SourceError> {
    match settings.format {
        FormatSetting::Csv => return Ok(Format::Csv),
        FormatSetting::Jsonl => return Ok(Format::Jsonl),
        FormatSetting::Auto => {}
    }
    let name = path.to_string_lossy().to_ascii_lowercase();
    let stem = name.trim_end_matches(".gz").trim_end_matches(".zst");
    if [".jsonl", ".ndjson"].iter().any(|ending| stem.ends_with(ending)) {
        return Ok(Format::Jsonl);
    }
    if [".csv", ".tsv"].iter().any(|ending| stem.ends_with(ending)) {
        return Ok(Format::Csv);
    }
    let content = sample.strip_prefix(b"\xef\xbb\xbf").unwrap_or(sample).trim_ascii_start();
    match content.first() {
        Some(b'{') => Ok(Format::Jsonl),
        Some(b'[') => Err(SourceError::Format {
            name: path.display().to_string(),
            problem: "is a JSON list; one JSON object a line is needed (jq -c '.[]' makes that)".to_owned(),
        }),
        _ => Ok(Format::Csv),
    }
}

fn sample(file: &File) -> io::Result<Vec<u8>> {
    let mut sample = vec![0; SAMPLE_BYTES];
    let mut have = 0;
    while have < sample.len() {
        match file.read_at(&mut sample[have..], have as u64)? {
            0 => break,
            got => have += got,
        }
    }
    sample.truncate(have);
    Ok(sample)
}

/// A file that is readable at any offset, whether it is the user's own, and
/// that one itself.
fn unpacked(path: &Path, name: &str) -> Result<(File, &'static str, Option<OriginalFile>), SourceError> {
    let io_error = |source| SourceError::Io { name: name.to_owned(), source };
    let file = File::open(path).map_err(io_error)?;
    if file.metadata().map_err(io_error)?.is_dir() {
        return Err(io_error(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    let origin = OriginalFile::of(&file).map_err(io_error)?;
    let mut magic = [0; 4];
    let got = file.read_at(&mut magic, 0);
    match got {
        Ok(got) if magic[..got].starts_with(&[0x1f, 0x8b]) => {
            spool(&mut flate2::read::MultiGzDecoder::new(file), name, true).map(|file| (file, "", origin))
        }
        Ok(got) if magic[..got] == [0x28, 0xb5, 0x2f, 0xfd] => {
            let mut decoder = zstd::Decoder::new(file).map_err(io_error)?;
            spool(&mut decoder, name, true).map(|file| (file, "", origin))
        }
        Ok(_) => Ok((file, "plain", origin)),
        // A named pipe can be read only once.
        Err(_) => spool(&mut &file, name, false).map(|file| (file, "", None)),
    }
}

/// Copies all of `from` into a temporary file that has no name.
fn spool(from: &mut dyn Read, name: &str, packed: bool) -> Result<File, SourceError> {
    let folder = std::env::temp_dir().display().to_string();
    let write_error = |source| SourceError::Spool { name: name.to_owned(), folder: folder.clone(), source };
    let mut file = tempfile::tempfile().map_err(write_error)?;
    let mut block = vec![0; 256 << 10];
    loop {
        let got = match from.read(&mut block) {
            Ok(0) => break,
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) if packed => {
                return Err(SourceError::Compressed { name: name.to_owned(), source });
            }
            Err(source) => {
                return Err(SourceError::Io { name: name.to_owned(), source });
            }
        };
        file.write_all(&block[..got]).map_err(write_error)?;
    }
    Ok(file)
}

/// A file whose cells can be decoded one by one.
struct Plain {
    file: File,
    encoding: &'static encoding_rs::Encoding,
    written_in: &'static encoding_rs::Encoding,
    /// Bytes of the byte order mark.
    skip: u64,
    marked: bool,
}

/// Keeps the file as it is where every delimiter and line end is one ASCII
/// byte; rewrites it as UTF-8 otherwise (UTF-16, Shift-JIS and their like).
fn transcoded(file: File, name: &str, settings: &Settings) -> Result<Plain, SourceError> {
    let head = sample(&file).map_err(|source| SourceError::Io { name: name.to_owned(), source })?;
    let mark = dialect::byte_order_mark(&head);
    // A mark is a fact, the setting an opinion.
    let (encoding, skip) = mark.unwrap_or((settings.encoding.0.unwrap_or(UTF_8), 0));
    let marked = mark.is_some();
    if !marked && encoding.is_single_byte() && dialect::is_surely_utf8(&head) {
        let (name, encoding) = (name.to_owned(), encoding.name());
        return Err(SourceError::OtherEncoding { name, encoding });
    }
    if encoding == UTF_8 || encoding.is_single_byte() {
        return Ok(Plain { file, encoding, written_in: encoding, skip: skip as u64, marked });
    }
    let unreadable = |source| SourceError::Io { name: name.to_owned(), source };
    (&file).rewind().map_err(unreadable)?;
    // Bytes that the encoding does not know become U+FFFD, and a row with
    // that character in a mapped cell is rejected: see `Row::text`.
    let mut text = DecodeReaderBytesBuilder::new().encoding(Some(encoding)).bom_override(true).build(&file);
    Ok(Plain { file: spool(&mut text, name, false)?, encoding: UTF_8, written_in: encoding, skip: 0, marked })
}
