//! Masks the API key in what is shown, in all spellings.
//!
//! An answer may quote the request, and with it the key: escaped for JSON, HTML or a
//! URL, or in base64. Texts are masked where they are shown, after every decoding.
//! They are never masked where they are matched: a key can be a part of any word.

use secrecy::{ExposeSecret, SecretString};

use super::answer::MESSAGE_CHARS_MAX;
use super::key::ApiKey;
use crate::units::shorten;

/// What is shown instead of the key.
const MASK: &str = "***";

/// Names that HTML has for characters of a key. HTML5 has more, which no server writes.
const HTML_NAMES: [(&str, u8); 34] = [
    ("excl", b'!'),
    ("quot", b'"'),
    ("num", b'#'),
    ("dollar", b'$'),
    ("percnt", b'%'),
    ("amp", b'&'),
    ("apos", b'\''),
    ("lpar", b'('),
    ("rpar", b')'),
    ("ast", b'*'),
    ("plus", b'+'),
    ("comma", b','),
    ("period", b'.'),
    ("sol", b'/'),
    ("colon", b':'),
    ("semi", b';'),
    ("lt", b'<'),
    ("equals", b'='),
    ("gt", b'>'),
    ("quest", b'?'),
    ("commat", b'@'),
    ("lsqb", b'['),
    ("lbrack", b'['),
    ("bsol", b'\\'),
    ("rsqb", b']'),
    ("rbrack", b']'),
    ("Hat", b'^'),
    ("lowbar", b'_'),
    ("grave", b'`'),
    ("lcub", b'{'),
    ("lbrace", b'{'),
    ("vert", b'|'),
    ("rcub", b'}'),
    ("rbrace", b'}'),
];

/// Finds the key in texts.
#[derive(Debug, Clone)]
pub struct KeyMask {
    /// The key, and the key in base64 of both alphabets, without padding.
    forms: [SecretString; 3],
}

impl KeyMask {
    pub fn new(key: &ApiKey) -> Self {
        let key = key.expose();
        let forms = [key.to_owned(), base64(key, *b"+/"), base64(key, *b"-_")];
        Self { forms: forms.map(SecretString::from) }
    }

    /// The start of a message as it may be shown. It is masked before it is cut,
    /// so that no half of the key is left.
    pub fn show(&self, message: &str) -> String {
        let (mut masked, mut rest) = (String::new(), message);
        // Each step adds a character at least. One more than is shown tells that
        // there are more.
        for _ in 0..=MESSAGE_CHARS_MAX {
            let Some(letter) = rest.chars().next() else { break };
            if let Some(len) = self.len_at_start(rest.as_bytes()) {
                masked.push_str(MASK);
                rest = &rest[len..];
            } else {
                masked.push(letter);
                rest = &rest[letter.len_utf8()..];
            }
        }
        shorten(&masked, MESSAGE_CHARS_MAX).into_owned()
    }

    /// The length of the longest spelling of the key with which the text begins.
    fn len_at_start(&self, text: &[u8]) -> Option<usize> {
        self.forms.iter().filter_map(|form| spelling_len(form.expose_secret(), text)).max()
    }
}

/// Follows all readings of the text at once: `\\` can be one character or two.
fn spelling_len(key: &str, text: &[u8]) -> Option<usize> {
    let mut ends = vec![0];
    for byte in key.bytes() {
        let mut next = Vec::new();
        for end in ends {
            each_spelling(byte, &text[end..], |len| next.push(end + len));
        }
        next.sort_unstable();
        next.dedup();
        ends = next;
        if ends.is_empty() {
            return None;
        }
    }
    ends.last().copied()
}

/// Reports the length of each spelling of an ASCII character at the start of a text.
fn each_spelling(byte: u8, text: &[u8], mut report: impl FnMut(usize)) {
    match text {
        // A form that was decoded has a space for a plus sign.
        [b' ', ..] if byte == b'+' => report(1),
        [first, ..] if *first == byte => report(1),
        _ => {}
    }
    let is_hex = |digits: &[u8]| parse_number(digits, 16) == Some(byte.into());
    match text {
        [b'%', high, low, ..] if is_hex(&[*high, *low]) => report(3),
        [b'\\', b'x', high, low, ..] if is_hex(&[*high, *low]) => report(4),
        [b'\\', b'u', digits @ ..] if digits.get(..4).is_some_and(is_hex) => report(6),
        [b'\\', escaped, ..] if *escaped == byte => report(2),
        [b'&', rest @ ..] => {
            // A named or numbered character ends with a semicolon.
            const NAME_BYTES_MAX: usize = 12;
            let window = &rest[..rest.len().min(NAME_BYTES_MAX)];
            let Some(len) = window.iter().position(|byte| *byte == b';') else { return };
            let found = match &rest[..len] {
                [b'#', b'x' | b'X', digits @ ..] => parse_number(digits, 16),
                [b'#', digits @ ..] => parse_number(digits, 10),
                name => HTML_NAMES
                    .iter()
                    .find(|(known, _)| known.as_bytes() == name)
                    .map(|(_, byte)| u32::from(*byte)),
            };
            if found == Some(byte.into()) {
                report(len + 2);
            }
        }
        _ => {}
    }
}

fn parse_number(digits: &[u8], radix: u32) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

/// Base64 without padding, with these two signs in its alphabet.
fn base64(text: &str, signs: [u8; 2]) -> String {
    let letter = |six_bits: u32| match six_bits as u8 {
        value @ 0..26 => b'A' + value,
        value @ 26..52 => b'a' + value - 26,
        value @ 52..62 => b'0' + value - 52,
        value => signs[usize::from(value == 63)],
    };
    let mut encoded = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let byte = |nth| u32::from(chunk.get(nth).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let letters = (0..=chunk.len()).map(|nth| char::from(letter(bits >> (18 - 6 * nth) & 63)));
        encoded.extend(letters);
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(key: &str, text: &str) -> String {
        KeyMask::new(&ApiKey::of_tests(key)).show(text)
    }

    #[test]
    fn the_key_is_masked_in_every_spelling() {
        let key = r#"a/B+c&"\=%z>>>??"#;
        for spelling in [
            key,
            "a%2FB%2Bc%26%22%5C%3D%25z%3E%3E%3E%3F%3F",
            "a%2fB%2bc%26%22%5c%3d%25z%3e%3e%3e%3f%3f",
            r#"a/B c&"\=%z>>>??"#,
            r#"a\/B+c&\"\\=%z>>>??"#,
            r"a\u002fB\u002Bc\u0026\u0022\u005c=%z\u003e>>??",
            r"a\x2fB+c\x26\x22\x5C=%z>>>??",
            "a/B+c&amp;&quot;\\=%z&gt;&gt;&gt;??",
            "a&#47;B&#043;c&#38;&#34;&#92;&#61;&#37;z&#62;>>??",
            "a&#x2f;B&#x2B;c&#X26;&#x22;&#x5C;=%z>>>??",
            "a&sol;B&plus;c&amp;&quot;&bsol;&equals;&percnt;z>>>&quest;&quest;",
            "YS9CK2MmIlw9JXo+Pj4/Pw",
            "YS9CK2MmIlw9JXo-Pj4_Pw",
            "YS9CK2MmIlw9JXo%2BPj4%2fPw",
        ] {
            assert_eq!(mask(key, &format!("the key {spelling}, é")), "the key ***, é", "{spelling}");
            assert_eq!(mask(key, &format!("{spelling}{spelling}==")), "******==", "{spelling}");
        }
        for other in ["", "é&", "a/B", "&#x;", "%", "\\u00", "\\", "a/B+c&\"\\=%z>>>?"] {
            assert_eq!(mask(key, other), other);
        }
    }

    #[test]
    fn a_message_is_cut_after_it_is_masked() {
        let key = "k".repeat(400);
        for before in [0, 250, 299, 300, 350] {
            let text = format!("{}{key}{}", "x".repeat(before), "y".repeat(300));
            let shown = KeyMask::new(&ApiKey::of_tests(&key)).show(&text);
            assert!(!shown.contains('k') && shown.chars().count() == 301, "{shown}");
        }
    }

    #[test]
    fn base64_has_two_alphabets() {
        for (text, standard, of_urls) in
            [("f", "Zg", "Zg"), ("fo", "Zm8", "Zm8"), ("~~?~", "fn4/fg", "fn4_fg")]
        {
            assert_eq!(base64(text, *b"+/"), standard);
            assert_eq!(base64(text, *b"-_"), of_urls);
        }
    }
}
