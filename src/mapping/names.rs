//! Names of people, and the characters that the API's pages show for them.

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::intent::Warning;
use super::rejection::{Rejection, RejectionCode, RowResult};
use super::settings::NamePolicy;

/// Whether a name is sent as it stands. Saves most names the work of [`normalise`].
pub(super) fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii() && is_in_pattern(byte.into()))
}

/// Words that stand before a last name and belong to it.
const PARTICLES: [&str; 44] = [
    "'s", "'t", "a", "af", "al", "am", "av", "ben", "bin", "d'", "da", "dal", "das", "de", "degli", "dei",
    "del", "della", "den", "der", "des", "di", "do", "dos", "du", "e", "el", "in", "l'", "la", "las", "le",
    "los", "op", "te", "ten", "ter", "thor", "tot", "van", "ver", "von", "y", "zu",
];

/// Words behind a comma that are no first name.
const SUFFIXES: [&str; 32] = [
    "ab", "ag", "bsc", "bv", "bvba", "co", "cv", "esq", "gmbh", "ii", "iii", "inc", "iv", "jr", "junior",
    "kg", "limited", "llc", "llp", "ltd", "mba", "md", "msc", "nv", "phd", "plc", "sa", "sarl", "senior",
    "sr", "srl", "vof",
];

fn is_particle(word: &str) -> bool {
    // Only in small letters: "Van" and "De" are first names elsewhere.
    PARTICLES.contains(&word.replace(['\u{2019}', '\u{2018}', '`'], "'").as_str())
}

fn is_suffix(word: &str) -> bool {
    let plain: String = word.chars().filter(char::is_ascii_alphanumeric).collect();
    SUFFIXES.contains(&plain.to_ascii_lowercase().as_str())
}

/// First and last name of a whole one: the first word, and the rest.
///
/// - A last name before a comma is turned round: `Bakker, Daan`, `Groot, Sanne de`.
/// - A name that begins with a particle in small letters is a last name: `van de Groot`.
/// - One word is a first name, and leaves the last name as it is. Omnidesk shows both in a row, and an agent greets by it.
pub(super) fn split(text: &str) -> (Option<String>, Option<String>) {
    let join = |words: &[&str]| Some(words.join(" ")).filter(|text| !text.is_empty());
    if let Some((last, first)) = text.split_once(',')
        && !first.contains(',')
    {
        let last: Vec<&str> = last.split_whitespace().collect();
        let first: Vec<&str> = first.split_whitespace().collect();
        let is_company = last.iter().chain(&first).any(|word| is_suffix(word));
        if !is_company {
            let given = first.iter().rposition(|word| !is_particle(word)).map_or(0, |at| at + 1);
            let (given, particles) = first.split_at(given);
            return (join(given), join(&[particles, &last].concat()));
        }
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        [first, ..] if is_particle(first) => (None, join(&words)),
        [first, rest @ ..] => (join(&[first]), join(rest)),
        [] => (None, None),
    }
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
    fn a_whole_name_is_the_first_word_and_the_rest() {
        let cases = [
            ("Sanne de Groot", Some("Sanne"), Some("de Groot")),
            ("  Sanne\u{a0} van  de\tGroot ", Some("Sanne"), Some("van de Groot")),
            ("María José de la Cruz", Some("María"), Some("José de la Cruz")),
            ("Wernher von Braun", Some("Wernher"), Some("von Braun")),
            ("Bakker, Daan", Some("Daan"), Some("Bakker")),
            ("van Dijk, Jan Willem", Some("Jan Willem"), Some("van Dijk")),
            ("Groot, Sanne van de", Some("Sanne"), Some("van de Groot")),
            ("Hof, Eva van \u{2019}t", Some("Eva"), Some("van \u{2019}t Hof")),
            ("Dupont ,Zoé", Some("Zoé"), Some("Dupont")),
            ("Bakker,", None, Some("Bakker")),
            (", Daan", Some("Daan"), None),
            ("van de Groot", None, Some("van de Groot")),
            ("'t Hart", None, Some("'t Hart")),
            ("Van Nguyen", Some("Van"), Some("Nguyen")),
            ("Groot, van de", None, Some("van de Groot")),
            ("Sanne", Some("Sanne"), None),
            ("Smit BV", Some("Smit"), Some("BV")),
            ("Acme, Inc.", Some("Acme,"), Some("Inc.")),
            ("Smit B.V., afdeling inkoop", Some("Smit"), Some("B.V., afdeling inkoop")),
            ("Martin King, Jr.", Some("Martin"), Some("King, Jr.")),
            ("a, b, c", Some("a,"), Some("b, c")),
            (" ", None, None),
        ];
        for (text, first, last) in cases {
            let found = split(text);
            assert_eq!((found.0.as_deref(), found.1.as_deref()), (first, last), "{text:?}");
        }
    }

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
