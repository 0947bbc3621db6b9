//! What a file is when it is no table, by its first bytes.
//!
//! A new kind is one line of [`KINDS`]. The kind and the remedy are all that is
//! shown of such a file.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// A kind of file that is no table, and what to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileKind {
    pub(super) name: &'static str,
    pub(super) remedy: &'static str,
}

const SAVE_SHEET: &str = "open it in a spreadsheet program and save it as .xlsx or \"CSV UTF-8\"";
const EXPORT: &str = "export the customers as CSV or JSON lines";
const UNPACK: &str = "unpack it, and use the table inside";
const PACK: &str = "unpack it, or pack the table as .gz or .zst";
const CONVERT: &str = "convert it to CSV or JSON lines";
const IS_TABLE: &str = "check that it is the export that you mean";

/// Where the bytes stand.
enum Place {
    At(usize),
    /// At the start of the text, in any case, behind a byte order mark and blanks.
    Text,
}
use Place::{At, Text};

/// Kinds by their first bytes; the first that fits counts.
const KINDS: &[(Place, &[u8], &str, &str)] = &[
    (
        At(0),
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "an old or password-protected Office file, such as .xls",
        SAVE_SHEET,
    ),
    (At(0), b"\x09\x08\x10\x00\x00\x06\x05\x00", "an old Excel workbook (.xls)", SAVE_SHEET),
    (At(0), b"%PDF-", "a PDF document", EXPORT),
    (Text, b"{\\rtf", "an RTF document", EXPORT),
    (At(4), b"1AY&SY", "a file packed by bzip2", PACK),
    (At(0), b"\xfd7zXZ\x00", "a file packed by xz", PACK),
    (At(0), b"\x5d\x00\x00\x80\x00", "a file packed by lzma", PACK),
    (At(0), b"\x04\x22\x4d\x18", "a file packed by lz4", PACK),
    (At(0), b"\xff\x06\x00\x00sNaPpY", "a file packed by snappy", PACK),
    (At(0), b"\x1f\x9d", "a file packed by compress (.Z)", PACK),
    (At(0), b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (At(0), b"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (At(257), b"ustar", "a tar archive", UNPACK),
    (At(0), b"\x1f\x8b", "a file packed by gzip twice", "unpack it once"),
    (At(0), b"\x28\xb5\x2f\xfd", "a file packed by zstd twice", "unpack it once"),
    (At(0), b"PAR1", "a Parquet file", CONVERT),
    (At(0), b"PARE", "an encrypted Parquet file", CONVERT),
    (At(0), b"Obj\x01", "an Avro file", CONVERT),
    (At(0), b"ARROW1", "an Arrow file", CONVERT),
    (At(0), b"ORC", "an ORC file", CONVERT),
    (
        At(0),
        b"SQLite format 3\x00",
        "an SQLite database",
        "export the table: sqlite3 -csv -header FILE 'SELECT * FROM …'",
    ),
    (At(0), b"PGDMP", "a dump of PostgreSQL", "export the table by COPY … TO … CSV HEADER"),
    (Text, b"-- MySQL dump", "a dump of MySQL", "export the table as CSV"),
    (Text, b"-- MariaDB dump", "a dump of MariaDB", "export the table as CSV"),
    (
        Text,
        b"-- PostgreSQL database dump",
        "a dump of PostgreSQL",
        "export the table by COPY … TO … CSV HEADER",
    ),
    (Text, b"insert into ", "a list of SQL commands", "export the table as CSV"),
    (Text, b"create table ", "a list of SQL commands", "export the table as CSV"),
    (At(4), b"Standard Jet DB", "an Access database", "export the table as CSV"),
    (At(4), b"Standard ACE DB", "an Access database", "export the table as CSV"),
    (At(0), b"!BDN", "an Outlook mailbox (.pst)", "export the contacts as CSV"),
    (Text, b"begin:vcard", "a list of vCards", "export the contacts as CSV"),
    (Text, b"begin:vcalendar", "a calendar", EXPORT),
    (Text, b"dn: ", "an LDIF file", "export the entries as CSV"),
    (At(0), b"ID;PWXL;", "a SYLK sheet (.slk)", SAVE_SHEET),
    (At(0), b"ID;PSCALC", "a SYLK sheet (.slk)", SAVE_SHEET),
    (At(0), b"\x89PNG\r\n", "a picture", EXPORT),
    (At(0), b"\xff\xd8\xff", "a picture", EXPORT),
    (At(0), b"GIF8", "a picture", EXPORT),
    (At(0), b"\x7fELF", "a program", IS_TABLE),
    (At(0), b"\x00\x00\xfe\xff", "text in UTF-32", "save it as UTF-8"),
    (At(0), b"\xff\xfe\x00\x00", "text in UTF-32", "save it as UTF-8"),
    (
        Text,
        b"version https://git-lfs.github.com/spec/",
        "a Git LFS pointer and not the file itself",
        "run git lfs pull in its repository",
    ),
];

/// What an OpenDocument file is, by the text of its first entry.
const ODF_KINDS: &[(&[u8], &str, &str)] = &[
    (b"application/vnd.oasis.opendocument.spreadsheet", "an OpenDocument sheet (.ods)", SAVE_SHEET),
    (b"application/vnd.oasis.opendocument", "an OpenDocument file", EXPORT),
];

/// What a zip is, by the names of its files.
const ZIP_KINDS: &[(&[u8], &str, &str)] = &[
    (b"\nxl/workbook.bin", "a binary Excel workbook (.xlsb)", SAVE_SHEET),
    (b"\nindex/document.iwa", "a Numbers or Pages document", SAVE_SHEET),
    (b"\nword/", "a Word document (.docx)", EXPORT),
    (b"\nppt/", "a PowerPoint file (.pptx)", EXPORT),
];

/// What XML is about, by a word in its first bytes.
const XML_KINDS: &[(&[u8], &str, &str)] = &[
    (b"urn:schemas-microsoft-com:office:spreadsheet", "an XML workbook of Excel 2003", SAVE_SHEET),
    (b"<html", "a web page", WEB_PAGE),
    (b"<error", "an error message in XML", DOWNLOAD),
];

const WEB_PAGE: &str = "if a spreadsheet program opens it as a table, save that as \"CSV UTF-8\"; otherwise download the export again";
const DOWNLOAD: &str = "download the export again, and check the address and the rights";

/// How a web page begins.
const HTML_STARTS: [&[u8]; 9] =
    [b"<!doctype html", b"<html", b"<head", b"<body", b"<table", b"<meta", b"<title", b"<script", b"<div"];

/// What shows that a web page asks for a password.
const LOGIN_SIGNS: [&[u8]; 5] =
    [b"type=\"password\"", b"type='password'", b"type=password", b"single sign-on", b"samlrequest"];

/// Bytes that are looked at.
pub(super) const BYTES: usize = 4096;

/// The kind of a file that begins with `head` and is no table. `encoding` is the
/// one that is set.
pub(super) fn recognize(head: &[u8], encoding: Option<&'static Encoding>) -> Option<FileKind> {
    let head = &head[..head.len().min(BYTES)];
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let found = KINDS.iter().find(|(place, bytes, ..)| match place {
        At(at) => {
            head.get(*at..).is_some_and(|rest| rest.starts_with(bytes))
                && (is_binary(head) || !bytes.iter().all(u8::is_ascii_alphanumeric))
        }
        Text => starts_with(text, bytes),
    });
    let found = found.map(|(_, _, name, remedy)| FileKind { name, remedy });
    found.or_else(|| markup(text)).or_else(|| wide_text(head, encoding))
}

/// Whether a file is a zip, which may hold a table or be a workbook.
pub(super) fn is_zip(head: &[u8]) -> bool {
    head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06")
}

/// The kind of a zip with files of these names, each behind a line end, if that
/// is no table.
pub(super) fn recognize_zip(head: &[u8], names: &str) -> Option<FileKind> {
    by_content(head, ODF_KINDS).or_else(|| by_content(names.as_bytes(), ZIP_KINDS))
}

/// A zip inside of another.
pub(super) const NESTED_ZIP: FileKind = FileKind { name: "a zip archive inside of another", remedy: UNPACK };

/// HTML and XML. Pages in UTF-16 begin so as well.
fn markup(text: &[u8]) -> Option<FileKind> {
    let decoded = Encoding::for_bom(text).filter(|(encoding, _)| *encoding != UTF_8);
    let decoded = decoded.map(|(encoding, _)| encoding.decode(text).0.into_owned().into_bytes());
    let text = decoded.as_deref().unwrap_or(text).trim_ascii_start().to_ascii_lowercase();
    if HTML_STARTS.iter().any(|start| text.starts_with(start)) {
        let is_login = LOGIN_SIGNS.iter().any(|sign| contains(&text, sign));
        return Some(match is_login {
            true => FileKind {
                name: "a login page and not the export",
                remedy: "the download was not signed in: sign in, and download the export again",
            },
            false => FileKind { name: "a web page (HTML)", remedy: WEB_PAGE },
        });
    }
    // A header cell may have brackets; it closes no element.
    let is_element = matches!(&*text, [b'<', b'a'..=b'z' | b'!', ..])
        && (contains(&text, b"</") || contains(&text, b"/>") || contains(&text, b"-->"));
    let xml = FileKind { name: "an XML file", remedy: EXPORT };
    (text.starts_with(b"<?xml") || is_element).then(|| by_content(&text, XML_KINDS).unwrap_or(xml))
}

/// Text of two or four bytes a letter that has no byte order mark, and bytes that
/// are no text.
fn wide_text(head: &[u8], encoding: Option<&'static Encoding>) -> Option<FileKind> {
    // With a byte order mark or its setting it is read as it is.
    if Encoding::for_bom(head).is_some() {
        return None;
    }
    let nuls =
        |from: usize, step: usize| head.iter().skip(from).step_by(step).filter(|byte| **byte == 0).count();
    // A stray NUL in a cell is no reason.
    if 8 * nuls(0, 1) <= head.len() {
        return None;
    }
    let quarter = head.len() / 4;
    let is_utf32 = |letters: usize| {
        (0..4).all(|at| if at == letters { nuls(at, 4) == 0 } else { 10 * nuls(at, 4) >= 9 * quarter })
    };
    let utf16 = |remedy| FileKind { name: "text in UTF-16 without a byte order mark", remedy };
    if quarter > 0 && nuls(0, 1) >= 2 * quarter && (is_utf32(0) || is_utf32(3)) {
        Some(FileKind { name: "text in UTF-32", remedy: "save it as UTF-8" })
    } else if 4 * nuls(1, 2) > head.len() && nuls(0, 2) == 0 {
        (encoding != Some(UTF_16LE)).then(|| utf16("set encoding = \"utf-16le\" in [input]"))
    } else if 4 * nuls(0, 2) > head.len() && nuls(1, 2) == 0 {
        (encoding != Some(UTF_16BE)).then(|| utf16("set encoding = \"utf-16be\" in [input]"))
    } else {
        Some(FileKind { name: "binary data of an unknown kind", remedy: EXPORT })
    }
}

/// Letters alone may be the first name of a header, such as `ORCID` or `PARENT_ID`.
fn is_binary(head: &[u8]) -> bool {
    head.iter().any(|byte| *byte < b'\t')
}

fn by_content(head: &[u8], kinds: &[(&[u8], &'static str, &'static str)]) -> Option<FileKind> {
    let found = kinds.iter().find(|(bytes, ..)| contains(head, bytes));
    found.map(|(_, name, remedy)| FileKind { name, remedy })
}

fn contains(text: &[u8], bytes: &[u8]) -> bool {
    memchr::memmem::find(text, bytes).is_some()
}

fn starts_with(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_no_other_kind() {
        let tables: &[&[u8]] = &[
            b"id;name\n1;Ann\n",
            b"ID;Pnaam;Woonplaats\n1;Ann;Ede\n",
            b"<ID>;<Name>\n1;Ann\n",
            b"{\"id\":1}\n",
            b"[{\"id\":1}]",
            b"\xff\xfei\0d\0\n\0",
            b"id\x01name\n1\x01Ann\n",
            b"id,name\n1,A\0nn and a longer text\n",
            b"BZnr,naam\n",
            b"BZhuisnummer,naam\n",
            b"ORCID,Name\n0000-0002,Ann\n",
            b"PARENT_ID;NAME\n1;Ann\n",
            b"ARROW1;PAR1\n",
            b"",
        ];
        for table in tables {
            assert_eq!(recognize(table, None), None, "{}", String::from_utf8_lossy(table));
        }
    }

    #[test]
    fn text_of_several_bytes_a_letter_is_named() {
        let name = |bytes: &[u8]| recognize(bytes, None).map(|kind| kind.name);
        let utf32: Vec<u8> = "id,name\n".bytes().flat_map(|byte| [byte, 0, 0, 0]).collect();
        assert_eq!(name(&utf32), Some("text in UTF-32"));
        assert_eq!(name(b"i\0d\0,\0n\0\n\0"), Some("text in UTF-16 without a byte order mark"));
        assert_eq!(name(&[0; 64]), Some("binary data of an unknown kind"));
    }
}
