//! Names of people, and the characters that the API's pages show for them.

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::intent::Warning;
use super::rejection::{Rejection, RejectionCode, RowResult};
use super::settings::NamePolicy;

/// Whether a name is sent as it stands. Saves most names the work of [`normalise`].
pub(super) fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii() && is_in_pattern(byte.into()))
}

/// Always NFC and a straight apostrophe; `policy` decides the rest.
pub(super) fn normalise(text: &str, policy: NamePolicy) -> RowResult<(String, Option<Warning>)> {
    use Warning::{OddName, TransliteratedName};
    let text = match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => text.replace(['\u{2019}', '\u{2018}'], "'"),
        _ => text.nfc().collect::<String>().replace(['\u{2019}', '\u{2018}'], "'"),
    };
    if text.chars().all(is_in_pattern) {
        return Ok((text, None));
    }
    match policy {
        NamePolicy::Send => Ok((text, Some(OddName))),
        NamePolicy::Reject => Err(Rejection::new(
            RejectionCode::BadName,
            "the name has a character outside the pattern seen on the API's pages",
            "fix the name, or set names = \"send\" or \"transliterate\" in [omnidesk]",
        )),
        NamePolicy::Transliterate => {
            let latin: String = text.chars().map(to_latin).collect();
            let latin = latin.split_whitespace().collect::<Vec<_>>().join(" ");
            let is_lost = latin.is_empty();
            Ok(if is_lost { (text, Some(OddName)) } else { (latin, Some(TransliteratedName)) })
        }
    }
}

/// Letters of the pattern stay; others become the nearest ones.
fn to_latin(letter: char) -> String {
    if is_in_pattern(letter) {
        return letter.to_string();
    }
    let near = deunicode::deunicode_char(letter).unwrap_or_default();
    near.chars().filter(|letter| is_in_pattern(*letter)).collect()
}

/// The pattern seen on the API's pages: Latin letters without digits or signs.
fn is_in_pattern(letter: char) -> bool {
    matches!(letter, 'a'..='z' | 'A'..='Z' | '.' | '-' | '\'' | ' ' | 'Š' | 'š')
        || matches!(letter, '\u{C0}'..='\u{FF}' if letter != '×' && letter != '÷')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_policy() {
        use NamePolicy::{Reject, Send, Transliterate};
        use Warning::{OddName, TransliteratedName};
        let cases = [
            ("O'Brien", Send, Some(("O'Brien", None))),
            ("O\u{2019}Brien", Reject, Some(("O'Brien", None))),
            ("Özgür", Reject, Some(("Özgür", None))),
            ("Rene\u{301}", Reject, Some(("René", None))),
            ("Łukasz", Send, Some(("Łukasz", Some(OddName)))),
            ("Łukasz", Reject, None),
            ("Łukasz", Transliterate, Some(("Lukasz", Some(TransliteratedName)))),
            ("Yıldız Özgür", Transliterate, Some(("Yildiz Özgür", Some(TransliteratedName)))),
            ("Jansen & Zn", Reject, None),
            ("李", Transliterate, Some(("Li", Some(TransliteratedName)))),
            ("7", Transliterate, Some(("7", Some(OddName)))),
        ];
        for (text, policy, expected) in cases {
            let name = normalise(text, policy).ok();
            let name = name.as_ref().map(|(name, warning)| (name.as_str(), *warning));
            assert_eq!(name, expected, "{text:?} {policy:?}");
            assert!(!is_plain(text) || name == Some((text, None)), "{text:?}");
        }
    }
}
