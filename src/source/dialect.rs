//! How the text of an export is written: encoding and line ends.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::text_encoding::{TextEncoding, has_western_letters, is_mostly_utf8, is_utf8, likely_single_byte};

/// How the text of an export, as spooled, is written.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    pub line_end: LineEnd,
    /// Of the bytes as spooled.
    pub(crate) encoding: &'static Encoding,
    /// Of the export as it came; result files are written in it.
    pub(super) original_encoding: TextEncoding,
    pub(super) has_bom: bool,
}

impl Dialect {
    /// UTF-8 text in the encoding of the spooled bytes.
    pub(super) fn encode(&self, text: &[u8]) -> Vec<u8> {
        self.encoding.encode(&String::from_utf8_lossy(text)).0.into_owned()
    }

    /// A line of spooled bytes as result files hold it. Encodings that cannot
    /// be written, such as UTF-16, become UTF-8.
    pub(super) fn result_line(&self, line: Vec<u8>) -> Vec<u8> {
        let mut line = match self.original_encoding {
            same if same == self.encoding.into() => line,
            other => other.encode(&String::from_utf8_lossy(&line)),
        };
        line.extend_from_slice(if self.line_end == LineEnd::CrLf { b"\r\n" } else { b"\n" });
        line
    }

    /// The byte order mark of a result file. It also shows that UTF-8 replaces an
    /// encoding that cannot be written.
    pub(super) fn result_bom(&self) -> &'static [u8] {
        let is_replaced =
            self.original_encoding.standard().is_some_and(|encoding| encoding.output_encoding() != encoding);
        if is_replaced || self.has_bom && is_utf8(self.original_encoding) { b"\xef\xbb\xbf" } else { b"" }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEnd {
    /// `\n`
    Lf,
    /// `\r\n`
    CrLf,
    /// `\r`, as in files of old Macs, where there is no `\n`.
    Cr,
    /// ASCII's record separator, between rows that were copied from a workbook. A
    /// line break inside a cell starts no line there, so that the line of a row
    /// is its number in the sheet.
    RecordSeparator,
}

/// Never part of a cell of a workbook.
pub(super) const RECORD_SEPARATOR: u8 = 0x1e;

impl LineEnd {
    pub(super) fn detect(sample: &[u8]) -> Self {
        match memchr::memchr(b'\n', sample) {
            Some(at) if at > 0 && sample[at - 1] == b'\r' => Self::CrLf,
            None if sample.contains(&b'\r') => Self::Cr,
            _ => Self::Lf,
        }
    }

    /// In a copy of the rows as lines.
    pub(super) fn of_copy(self) -> Self {
        if self == Self::CrLf { self } else { Self::Lf }
    }

    /// The last byte of a line.
    pub fn terminator(self) -> u8 {
        match self {
            Self::Lf | Self::CrLf => b'\n',
            Self::Cr => b'\r',
            Self::RecordSeparator => RECORD_SEPARATOR,
        }
    }
}

/// Non-ASCII characters after which valid UTF-8 is no coincidence.
const UTF8_CHARS_MIN: usize = 4;

/// Whether the sample is UTF-8 and no chance made it so. A letter such as `ë` is
/// enough: in an encoding of single bytes it would be `Ã«`. Of other characters,
/// such as `ß”` makes one, there have to be several.
pub(super) fn is_surely_utf8(sample: &[u8]) -> bool {
    let valid = valid_utf8(sample);
    if valid.is_some_and(|text| text.contains(|letter| matches!(letter, '\u{C0}'..='\u{17F}'))) {
        return true;
    }
    let lossy = String::from_utf8_lossy(sample);
    let letters = lossy.chars().filter(|letter| !letter.is_ascii() && *letter != '\u{fffd}');
    (valid.is_some() || is_mostly_utf8(sample)) && letters.count() >= UTF8_CHARS_MIN
}

/// The sample as UTF-8, without a character that its end cuts.
fn valid_utf8(sample: &[u8]) -> Option<&str> {
    match std::str::from_utf8(sample) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&sample[..error.valid_up_to()]).ok(),
        Err(_) => None,
    }
}

/// Bytes outside ASCII that are too few to show a rare code page.
const ACCENTS_FEW: usize = 8;

fn is_barely_accented(sample: &[u8]) -> bool {
    sample.iter().filter(|byte| !byte.is_ascii()).count() <= ACCENTS_FEW
}

/// For proposals only: nothing but garbled names reveals a wrong guess.
pub(super) fn likely_encoding(sample: &[u8]) -> TextEncoding {
    if let Some((encoding, _)) = Encoding::for_bom(sample) {
        return encoding.into();
    }
    let even_nuls = sample.iter().step_by(2).filter(|byte| **byte == 0).count();
    let odd_nuls = sample.iter().skip(1).step_by(2).filter(|byte| **byte == 0).count();
    if even_nuls + odd_nuls > sample.len() / 8 {
        return if odd_nuls > even_nuls { UTF_16LE } else { UTF_16BE }.into();
    }
    if valid_utf8(sample).is_some() || is_mostly_utf8(sample) {
        return UTF_8.into();
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(sample, true);
    let guess = detector.guess(None, Utf8Detection::Deny);
    if guess == WINDOWS_1252 || is_barely_accented(sample) {
        let western = likely_single_byte(sample, WINDOWS_1252);
        if guess == WINDOWS_1252 || has_western_letters(sample, western) {
            return western;
        }
    }
    guess.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_letter_shows_utf8_and_one_coincidence_does_not() {
        assert!(is_surely_utf8("id;first\nK1;Zoë\n".as_bytes()));
        // `Fuß”` and `É™` in windows-1252.
        for chance in [&b"Fu\xdf\x94"[..], b"\xc9\x99", b"Zo\xeb", b"Zoe"] {
            assert!(!is_surely_utf8(chance), "{chance:?}");
        }
        assert!(is_surely_utf8("“…”–".as_bytes()));
    }

    #[test]
    fn the_likely_encoding_is_found() {
        let label = |sample: &[u8]| likely_encoding(sample).label();
        assert_eq!(label("naïef,één".as_bytes()), "utf-8");
        assert_eq!(label(b"naam;plaats\nRen\xe9;K\xf6ln\nAndr\xe9;Z\xfcrich\n"), "windows-1252");
        assert_eq!(label(b"\xff\xfea\0b\0"), "utf-16le");
        assert_eq!(label(b"a\0b\0c\0d\0"), "utf-16le");
        assert_eq!(label(&"één".as_bytes()[..4]), "utf-8");
        // A stray row changes nothing.
        assert_eq!(label("Zoë\nJosé\n".bytes().chain(*b"Ren\xe9\n").collect::<Vec<_>>().as_slice()), "utf-8");
    }

    #[test]
    fn files_of_old_macs_end_lines_with_a_carriage_return() {
        assert_eq!(LineEnd::detect(b"a,b\r1,2\r"), LineEnd::Cr);
        assert_eq!(LineEnd::detect(b"a,b\r\n1,2\r\n"), LineEnd::CrLf);
        assert_eq!(LineEnd::detect(b"a,b"), LineEnd::Lf);
    }
}
