//! A zip archive: the one table in it, or a workbook, which is an archive itself.
//!
//! Names inside are shown and never used as paths.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};

use zip::ZipArchive;
use zip::result::ZipError;

use super::error::{ArchiveFault, ExportFault};
use super::file_io::{read_sample, spool};
use super::signatures;

/// The most bytes of a table that is unpacked.
const TABLE_BYTES_MAX: u64 = 16 << 30;
/// The most bytes of a workbook, whose texts are kept in memory.
const WORKBOOK_BYTES_MAX: u64 = 4 << 30;
/// Names that are shown of an archive.
const NAMES_MAX: usize = 10;

/// What a zip holds.
pub(super) enum ZipContent {
    Workbook,
    /// The one file in it, unpacked.
    File(File),
}

pub(super) type Archive<'a> = ZipArchive<BufReader<&'a File>>;

/// Opens a zip, of which only the directory is read.
pub(super) fn open(file: &File) -> Result<Archive<'_>, ExportFault> {
    let mut reader = BufReader::new(file);
    reader.rewind()?;
    ZipArchive::new(reader).map_err(fault)
}

/// What a file holds if it is a zip.
pub(super) fn content(file: &File) -> Result<Option<ZipContent>, ExportFault> {
    let head = read_sample(file, 0)?;
    if !signatures::is_zip(&head) {
        return Ok(None);
    }
    let mut archive = open(file)?;
    let mut names = String::new();
    for name in archive.file_names() {
        names.push('\n');
        names.push_str(&name.map_err(fault)?.replace('\\', "/").to_ascii_lowercase());
    }
    if let Some(kind) = signatures::recognize_zip(&head, &names) {
        return Err(ExportFault::NoTable(kind));
    }
    if names.contains("\nxl/") {
        check_size(&mut archive, WORKBOOK_BYTES_MAX)?;
        return Ok(Some(ZipContent::Workbook));
    }
    let at = only_file(&mut archive)?;
    let table = archive.by_index(at).map_err(fault)?;
    let mut table = Bounded { reader: table, remaining: TABLE_BYTES_MAX, limit: TABLE_BYTES_MAX };
    Ok(Some(ZipContent::File(spool(&mut table, unpack_error)?)))
}

/// The one file that a person put in.
fn only_file(archive: &mut Archive) -> Result<usize, ExportFault> {
    let mut found = Vec::new();
    for at in 0..archive.len() {
        let entry = archive.by_index_raw(at).map_err(fault)?;
        let name = entry.name().map_err(fault)?.replace('\\', "/");
        if entry.is_dir() || is_of_system(&name) {
            continue;
        }
        if entry.encrypted() {
            return Err(ArchiveFault::Password.into());
        }
        found.push((at, name));
    }
    let tables: Vec<usize> =
        found.iter().filter(|(_, name)| !is_about_table(name)).map(|(at, _)| *at).collect();
    match (&found[..], &tables[..]) {
        ([], _) => Err(ArchiveFault::Empty.into()),
        ([(only, _)], _) | (_, [only]) => Ok(*only),
        _ => {
            let names = found.iter().take(NAMES_MAX).map(|(_, name)| format!("{name:?}"));
            let more = if found.len() > NAMES_MAX { " …" } else { "" };
            let names = format!("{}{more}", names.collect::<Vec<_>>().join(", "));
            Err(ArchiveFault::SeveralFiles { count: found.len(), names }.into())
        }
    }
}

/// How the names of files begin that describe others.
const DESCRIPTIONS: [&str; 9] =
    ["readme", "read_me", "leesmij", "liesmich", "lisezmoi", "license", "licence", "manifest", "changelog"];
/// The extensions of files that are no tables.
const DESCRIPTION_EXTENSIONS: [&str; 13] =
    ["md", "pdf", "doc", "docx", "rtf", "htm", "html", "log", "md5", "sha1", "sha256", "asc", "sig"];

/// Whether a file describes the table beside it.
fn is_about_table(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    DESCRIPTIONS.iter().any(|word| file.starts_with(word))
        || file.rsplit_once('.').is_some_and(|(_, extension)| DESCRIPTION_EXTENSIONS.contains(&extension))
}

/// The first bytes of the table in a zip; none of a workbook, whose text is UTF-8.
pub(super) fn table_sample(file: &File, bytes: u64) -> Result<Vec<u8>, ExportFault> {
    let mut archive = open(file)?;
    let mut sample = Vec::new();
    if archive.index_for_name("xl/workbook.xml").is_none() {
        let at = only_file(&mut archive)?;
        archive.by_index(at).map_err(fault)?.take(bytes).read_to_end(&mut sample)?;
    }
    Ok(sample)
}

/// Files that macOS and Windows add.
fn is_of_system(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    name.split('/').any(|folder| folder == "__MACOSX")
        || file.starts_with("._")
        || [".DS_Store", "Thumbs.db", "desktop.ini"].contains(&file)
}

/// Unpacks everything once: the directory may state any size.
fn check_size(archive: &mut Archive, limit: u64) -> Result<(), ExportFault> {
    let mut remaining = limit;
    for at in 0..archive.len() {
        let reader = archive.by_index(at).map_err(fault)?;
        let mut part = Bounded { reader, remaining, limit };
        remaining -= io::copy(&mut part, &mut io::sink()).map_err(unpack_error)?;
    }
    Ok(())
}

/// A reader that fails at its limit.
struct Bounded<R> {
    reader: R,
    remaining: u64,
    limit: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.reader.read(buffer)?;
        self.remaining = self.remaining.checked_sub(got as u64).ok_or_else(|| {
            io::Error::other(ExportFault::from(ArchiveFault::TooLarge { limit: self.limit }))
        })?;
        Ok(got)
    }
}

fn unpack_error(error: io::Error) -> ExportFault {
    error.downcast::<ExportFault>().unwrap_or_else(ExportFault::Compressed)
}

pub(super) fn fault(error: ZipError) -> ExportFault {
    match error {
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) => ArchiveFault::Password.into(),
        ZipError::UnsupportedArchive(_) | ZipError::CompressionMethodNotSupported(_) => {
            ArchiveFault::Method.into()
        }
        ZipError::Io(error) => ExportFault::Compressed(error),
        other => ExportFault::Compressed(io::Error::other(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_beyond_the_limit_is_an_error_and_the_limit_itself_is_none() {
        let read = |limit| {
            let mut reader = Bounded { reader: &[0; 100][..], remaining: limit, limit };
            io::copy(&mut reader, &mut io::sink()).map_err(unpack_error)
        };
        assert_eq!(read(100).expect("all of it"), 100);
        assert!(matches!(read(99), Err(ExportFault::Archive(ArchiveFault::TooLarge { limit: 99 }))));
    }
}
