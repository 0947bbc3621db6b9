//! Names of people, as far as the API's pages show what they may hold.

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::settings::Names;

/// What became of a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name {
    Plain(String),
    Odd(String),
    Transliterated(String),
    Refused,
}

/// Whether a name is sent as it stands: nearly all of them, in most bases, at
/// a tenth of the work.
pub(super) fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii() && in_pattern(byte.into()))
}

/// NFC and a straight apostrophe always; the rest by the setting `names`.
pub(super) fn name(text: &str, names: Names) -> Name {
    let text = match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => text.replace(['\u{2019}', '\u{2018}'], "'"),
        _ => text.nfc().collect::<String>().replace(['\u{2019}', '\u{2018}'], "'"),
    };
    if text.chars().all(in_pattern) {
        return Name::Plain(text);
    }
    match names {
        Names::Send => Name::Odd(text),
        Names::Reject => Name::Refused,
        Names::Transliterate => {
            let latin: String = text.chars().map(latin).collect();
            let latin = latin.split_whitespace().collect::<Vec<_>>().join(" ");
            if latin.is_empty() { Name::Odd(text) } else { Name::Transliterated(latin) }
        }
    }
}

/// Letters that the pattern holds stay; others become what they are nearest to.
fn latin(letter: char) -> String {
    if in_pattern(letter) {
        return letter.to_string();
    }
    let near = deunicode::deunicode_char(letter).unwrap_or_default();
    near.chars().filter(|letter| in_pattern(*letter)).collect()
}

/// The pattern seen on the API's pages: Latin letters without digits or signs.
fn in_pattern(letter: char) -> bool {
    matches!(letter, 'a'..='z' | 'A'..='Z' | '.' | '-' | '\'' | ' ' | 'Š' | 'š')
        || matches!(letter, '\u{C0}'..='\u{FF}' if letter != '×' && letter != '÷')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_setting() {
        use Names::{Reject, Send, Transliterate};
        let plain = |text: &str| Name::Plain(text.to_owned());
        let cases = [
            ("O'Brien", Send, plain("O'Brien")),
            ("O\u{2019}Brien", Reject, plain("O'Brien")),
            ("Özgür", Reject, plain("Özgür")),
            ("Rene\u{301}", Reject, plain("René")),
            ("Łukasz", Send, Name::Odd("Łukasz".into())),
            ("Łukasz", Reject, Name::Refused),
            ("Łukasz", Transliterate, Name::Transliterated("Lukasz".into())),
            ("Yıldız Özgür", Transliterate, Name::Transliterated("Yildiz Özgür".into())),
            ("Jansen & Zn", Reject, Name::Refused),
            ("李", Transliterate, Name::Transliterated("Li".into())),
            ("7", Transliterate, Name::Odd("7".into())),
        ];
        for (text, names, expected) in cases {
            assert_eq!(name(text, names), expected, "{text:?} {names:?}");
            assert!(!is_plain(text) || expected == plain(text), "{text:?}");
        }
    }
}
