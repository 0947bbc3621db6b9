//! The encodings of exports: those of the web's standard, and of DOS.

use std::io::{self, Read};

use encoding_rs::{Encoding, UTF_8};

/// An encoding of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextEncoding {
    /// Of the WHATWG Encoding Standard.
    Standard(&'static Encoding),
    /// A code page of DOS.
    Dos(&'static DosPage),
}

/// A code page of DOS: ASCII, and these 128 characters.
#[derive(Debug, PartialEq, Eq)]
pub struct DosPage {
    name: &'static str,
    upper_half: &'static str,
}

/// What old programs of shops and offices write.
static DOS_PAGES: [DosPage; 4] = [
    DosPage {
        name: "cp437",
        upper_half: "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}",
    },
    DosPage {
        name: "cp850",
        upper_half: "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u{ad}±‗¾¶§÷¸°¨·¹³²■\u{a0}",
    },
    DosPage {
        name: "cp852",
        upper_half: "ÇüéâäůćçłëŐőîŹÄĆÉĹĺôöĽľŚśÖÜŤťŁ×čáíóúĄąŽžĘę¬źČş«»░▒▓│┤ÁÂĚŞ╣║╗╝Żż┐└┴┬├─┼Ăă╚╔╩╦╠═╬¤đĐĎËďŇÍÎě┘┌█▄ŢŮ▀ÓßÔŃńňŠšŔÚŕŰýÝţ´\u{ad}˝˛ˇ˘§÷¸°¨˙űŘř■\u{a0}",
    },
    DosPage {
        name: "cp858",
        upper_half: "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈ€ÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u{ad}±‗¾¶§÷¸°¨·¹³²■\u{a0}",
    },
];

/// Names that people use beside the labels of the standard: without capitals,
/// spaces, hyphens and underscores.
const NAMES: [(&str, &str); 19] = [
    ("macroman", "macintosh"),
    ("macosroman", "macintosh"),
    ("appleroman", "macintosh"),
    ("ansi", "windows-1252"),
    ("win1250", "windows-1250"),
    ("win1251", "windows-1251"),
    ("win1252", "windows-1252"),
    ("windows1250", "windows-1250"),
    ("windows1251", "windows-1251"),
    ("windows1252", "windows-1252"),
    ("latin1", "windows-1252"),
    ("latin2", "iso-8859-2"),
    ("latin9", "iso-8859-15"),
    ("latin15", "iso-8859-15"),
    ("utf8sig", "utf-8"),
    ("utf8bom", "utf-8"),
    ("utf16", "utf-16le"),
    ("utf16le", "utf-16le"),
    ("utf16be", "utf-16be"),
];

impl From<&'static Encoding> for TextEncoding {
    fn from(encoding: &'static Encoding) -> Self {
        Self::Standard(encoding)
    }
}

impl TextEncoding {
    pub(super) fn from_label(label: &str) -> Option<Self> {
        if let Some(encoding) = Encoding::for_label_no_replacement(label.as_bytes()) {
            return Some(encoding.into());
        }
        let plain: String = label.to_lowercase().chars().filter(|letter| !" -_".contains(*letter)).collect();
        let named = NAMES.iter().find(|(name, _)| *name == plain);
        if let Some((_, label)) = named {
            return Encoding::for_label(label.as_bytes()).map(Self::from);
        }
        let number =
            ["cp", "ibm", "oem", "dos", "codepage", ""].iter().find_map(|word| plain.strip_prefix(word))?;
        DOS_PAGES.iter().find(|page| page.name[2..] == *number).map(Self::Dos)
    }

    pub(crate) fn label(self) -> String {
        match self {
            Self::Standard(encoding) => encoding.name().to_ascii_lowercase(),
            Self::Dos(page) => page.name.to_owned(),
        }
    }

    pub(super) fn standard(self) -> Option<&'static Encoding> {
        match self {
            Self::Standard(encoding) => Some(encoding),
            Self::Dos(_) => None,
        }
    }

    pub(super) fn is_single_byte(self) -> bool {
        self.standard().is_none_or(Encoding::is_single_byte)
    }

    fn decode(self, bytes: &[u8]) -> String {
        match self {
            Self::Standard(encoding) => encoding.decode_without_bom_handling(bytes).0.into_owned(),
            Self::Dos(page) => page.decode(bytes),
        }
    }

    /// Characters outside the encoding are written as HTML writes them.
    pub(crate) fn encode(self, text: &str) -> Vec<u8> {
        match self {
            Self::Standard(encoding) => encoding.encode(text).0.into_owned(),
            Self::Dos(page) => page.encode(text),
        }
    }
}

impl DosPage {
    fn decode(&self, bytes: &[u8]) -> String {
        let upper: Vec<char> = self.upper_half.chars().collect();
        let letter =
            |byte: &u8| byte.checked_sub(0x80).map_or(char::from(*byte), |at| upper[usize::from(at)]);
        bytes.iter().map(letter).collect()
    }

    fn encode(&self, text: &str) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(text.len());
        for letter in text.chars() {
            let upper = || self.upper_half.chars().position(|own| own == letter);
            match u8::try_from(letter).ok().filter(u8::is_ascii) {
                Some(byte) => bytes.push(byte),
                None => match upper().and_then(|at| u8::try_from(at + 0x80).ok()) {
                    Some(byte) => bytes.push(byte),
                    None => bytes.extend(format!("&#{};", u32::from(letter)).bytes()),
                },
            }
        }
        bytes
    }

    /// The text that `reader` has in this code page, as UTF-8.
    pub(super) fn reader<R: Read>(&'static self, reader: R) -> DosReader<R> {
        DosReader { page: self, reader, text: Vec::new(), start: 0 }
    }
}

/// Decodes a text block by block.
pub(super) struct DosReader<R> {
    page: &'static DosPage,
    reader: R,
    text: Vec<u8>,
    /// What is read of `text`.
    start: usize,
}

/// Bytes decoded at once.
const BLOCK_BYTES: usize = 64 << 10;

impl<R: Read> Read for DosReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.start == self.text.len() {
            let mut block = vec![0; BLOCK_BYTES];
            let got = self.reader.read(&mut block)?;
            (self.text, self.start) = (self.page.decode(&block[..got]).into_bytes(), 0);
        }
        let got = (&self.text[self.start..]).read(buffer)?;
        self.start += got;
        Ok(got)
    }
}

/// Of the encodings of single bytes, the one in which accents stand where words
/// have them. The standard's guess counts unless another is clearly better.
pub(super) fn likely_single_byte(sample: &[u8], guess: &'static Encoding) -> TextEncoding {
    let others =
        [encoding_rs::MACINTOSH.into(), TextEncoding::Dos(&DOS_PAGES[1]), TextEncoding::Dos(&DOS_PAGES[0])];
    let score = |encoding: TextEncoding| plausibility(&encoding.decode(sample));
    let own = score(guess.into());
    // Of equals the first.
    let best = others.into_iter().rev().max_by_key(|encoding| score(*encoding));
    best.filter(|best| score(*best) > 0 && score(*best) > own).unwrap_or(guess.into())
}

/// Accented letters of West European names.
const LETTERS: &str = "éèëêçöüäïîôûàâáíóúñßåæøùÿœãõìòýðþ’";
/// The same as capitals, which begin words.
const CAPITALS: &str = "ÉÈËÊÇÖÜÄÏÎÔÛÀÂÁÍÓÚÑÅÆØŒÃÕ";

/// Whether all accents of a text are letters of West European names.
pub(super) fn has_western_letters(sample: &[u8], encoding: TextEncoding) -> bool {
    let text = encoding.decode(sample);
    let mut accents = text.chars().filter(|letter| !letter.is_ascii()).peekable();
    accents.peek().is_some() && accents.all(|letter| LETTERS.contains(letter) || CAPITALS.contains(letter))
}

/// How likely the accents of a text are. Names begin with capitals.
fn plausibility(text: &str) -> i64 {
    let mut score = 0;
    let mut before = ' ';
    for letter in text.chars() {
        if !letter.is_ascii() {
            score += match () {
                () if LETTERS.contains(letter) && before.is_alphabetic() => 2,
                () if LETTERS.contains(letter) => 1,
                () if CAPITALS.contains(letter) && !before.is_lowercase() => 2,
                () => -4,
            };
        }
        before = letter;
    }
    score
}

/// How UTF-8 looks after it was read as windows-1252: `Ã«` for `ë`, `â€™` for `’`.
pub(super) fn has_mojibake(text: &[u8]) -> bool {
    memchr::memmem::find_iter(text, "Ã".as_bytes()).any(|at| {
        let rest = String::from_utf8_lossy(&text[at + 2..text.len().min(at + 6)]).into_owned();
        let next = rest.chars().next().map(String::from).unwrap_or_default();
        let (byte, _, is_outside) = encoding_rs::WINDOWS_1252.encode(&next);
        !is_outside && matches!(*byte, [0x80..=0xbf])
    }) || memchr::memmem::find(text, "â€".as_bytes()).is_some()
}

/// Whether the text is UTF-8 but for a few lines that came from elsewhere.
pub(super) fn is_mostly_utf8(sample: &[u8]) -> bool {
    let lines = sample.split(|byte| *byte == b'\n' || *byte == b'\r').filter(|line| !line.is_ascii());
    let (utf8, others): (Vec<&[u8]>, Vec<&[u8]>) = lines.partition(|line| std::str::from_utf8(line).is_ok());
    utf8.len() > others.len()
}

/// Whether an encoding is UTF-8.
pub(super) fn is_utf8(encoding: TextEncoding) -> bool {
    encoding == TextEncoding::Standard(UTF_8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_have_the_names_that_people_use() {
        for (name, label) in [
            ("cp850", "cp850"),
            ("IBM850", "cp850"),
            ("DOS-437", "cp437"),
            ("850", "cp850"),
            ("mac-roman", "macintosh"),
            ("MacRoman", "macintosh"),
            ("ANSI", "windows-1252"),
            ("latin-1", "windows-1252"),
            ("cp1252", "windows-1252"),
            ("UTF-8-sig", "utf-8"),
            ("utf16", "utf-16le"),
        ] {
            assert_eq!(
                TextEncoding::from_label(name).map(TextEncoding::label).as_deref(),
                Some(label),
                "{name}"
            );
        }
        assert_eq!(TextEncoding::from_label("cp999"), None);
    }

    #[test]
    fn a_code_page_is_written_as_it_is_read() {
        for page in &DOS_PAGES {
            let all: Vec<u8> = (0..=255).collect();
            assert_eq!(page.encode(&page.decode(&all)), all, "{}", page.name);
        }
    }

    #[test]
    fn the_guess_follows_where_accents_stand() {
        let guess = |text: &str, encoding: TextEncoding| {
            likely_single_byte(&encoding.encode(text), encoding_rs::WINDOWS_1252).label()
        };
        let text = "Zoë Müller, Curaçao; André Brontë; René Böhm";
        for label in ["macintosh", "cp850", "windows-1252"] {
            assert_eq!(guess(text, TextEncoding::from_label(label).expect("an encoding")), label);
        }
    }

    #[test]
    fn a_single_capital_is_one_of_western_europe() {
        for (text, label) in [
            ("Klantnr;Naam\n1;\u{c4}rzte Haus\n", "cp850"),
            ("1;\u{d6}zil\n2;\u{dc}nal\n", "cp850"),
            ("1;\u{c4}rzte\n", "windows-1252"),
        ] {
            let encoding = TextEncoding::from_label(label).expect("an encoding");
            let guess = super::super::dialect::likely_encoding(&encoding.encode(text));
            assert_eq!(guess.label(), label, "{text}");
        }
        // More words show the code page of another region.
        let polish = "1;Wa\u{142}\u{119}sa;\u{141}\u{f3}d\u{17a}\n2;J\u{f3}zef;\u{15a}wi\u{105}tek\n3;Gra\u{17c}yna;\u{17b}\u{f3}\u{142}\u{107}\n";
        let encoding = TextEncoding::from_label("windows-1250").expect("an encoding");
        let guess = super::super::dialect::likely_encoding(&encoding.encode(polish));
        assert_eq!(guess.label(), "windows-1250");
    }

    #[test]
    fn garbled_names_are_recognised() {
        assert!(has_mojibake("ZoÃ« Smit".as_bytes()) && has_mojibake("â€™s-Hertogenbosch".as_bytes()));
        assert!(!has_mojibake("Zoë, JOÃO, Ãgueda, S\u{e3}o".as_bytes()));
    }
}
