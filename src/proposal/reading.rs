//! Reads the name of a column as words.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::vocabulary::{DO_NOT_MODIFY, VENDOR_NAMES, WORDS, Word};

static DICTIONARY: LazyLock<HashMap<&'static str, Word>> = LazyLock::new(|| {
    let mut dictionary = HashMap::new();
    for (word, texts) in WORDS {
        // The first entry of a word counts.
        texts.split_whitespace().for_each(|text| {
            dictionary.entry(text).or_insert(*word);
        });
    }
    dictionary
});

/// A name as words.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    /// Small Latin letters, or digits.
    pub(super) tokens: Vec<String>,
    /// The words of the vocabulary.
    pub(super) words: Vec<Word>,
    /// Tokens that the vocabulary does not have, digits not counted.
    pub(super) unknown: usize,
    /// Whether a CRM wrote the column for its own re-import.
    pub(super) is_key_of_record: bool,
}

impl Reading {
    pub(super) fn new(name: &str) -> Self {
        let mut tokens = tokens(name);
        let squashed = tokens.concat();
        if let Some((_, words)) = VENDOR_NAMES.iter().find(|(own, _)| *own == squashed) {
            return Self { tokens, words: words.to_vec(), ..Self::default() };
        }
        let text = tokens.join(" ");
        let phrase = DO_NOT_MODIFY.iter().find(|phrase| text.starts_with(*phrase));
        if let Some(phrase) = phrase {
            tokens.drain(..phrase.split(' ').count());
        }
        let mut reading = Self { is_key_of_record: phrase.is_some(), ..Self::default() };
        let last = tokens.len().saturating_sub(1);
        for (at, token) in tokens.iter().enumerate() {
            if token.bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            // "No e-mail" is no number, and "e-mail no" is none of the other kind.
            if token == "no" && at == 0 && last > 0 {
                reading.words.push(if is_number_of(&tokens[1..]) { Word::Number } else { Word::Attribute });
                continue;
            }
            match split_compound(token) {
                Some(words) => reading.words.extend(words),
                None => reading.unknown += 1,
            }
        }
        reading.tokens = tokens;
        reading
    }

    pub(super) fn has(&self, word: Word) -> bool {
        self.words.contains(&word)
    }

    pub(super) fn has_any(&self, words: &[Word]) -> bool {
        words.iter().any(|word| self.has(*word))
    }

    /// Whether all words are of these, and none is unknown.
    pub(super) fn has_only(&self, words: &[Word]) -> bool {
        self.unknown == 0 && self.words.iter().all(|word| words.contains(word))
    }

    pub(super) fn is_one_of(&self, tokens: &[&str]) -> bool {
        self.tokens.iter().any(|token| tokens.contains(&token.as_str()))
    }
}

/// Whether a leading "no" means number: `N° client`, `No. klant`.
fn is_number_of(rest: &[String]) -> bool {
    let word = |token: &String| DICTIONARY.get(token.as_str());
    rest.iter().filter_map(word).any(|word| matches!(word, Word::Customer | Word::Contact | Word::Member))
}

/// Small Latin letters and digits, cut at signs, digits and humps.
fn tokens(name: &str) -> Vec<String> {
    let name = name.replace(['°', 'º'], "o ").replace('№', " no ").replace('#', " nr ");
    let letters: Vec<char> = name.chars().collect();
    let mut spaced = String::new();
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| letters[at]);
        let after = letters.get(at + 1);
        let is_hump = before.is_some_and(|before| {
            letter.is_uppercase() && before.is_lowercase()
                || letter.is_uppercase() && before.is_uppercase() && after.is_some_and(|c| c.is_lowercase())
                || letter.is_ascii_digit() != before.is_ascii_digit()
        });
        if is_hump {
            spaced.push(' ');
        }
        spaced.push(*letter);
    }
    let latin = deunicode::deunicode(&spaced).to_lowercase();
    let mut found: Vec<String> = Vec::new();
    for token in latin.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|token| !token.is_empty())
    {
        // `e-mail`, `WhatsApp`, `Voor` and `naam` on two lines of a cell.
        let joined = found.last().map(|last| format!("{last}{token}"));
        match joined.filter(|joined| split_compound(joined).is_some() && is_torn(&found, token)) {
            Some(joined) => {
                found.pop();
                found.push(joined);
            }
            None => found.push(token.to_owned()),
        }
    }
    found
}

/// Whether a token and the one before it are parts of one word.
fn is_torn(found: &[String], token: &str) -> bool {
    let Some(last) = found.last() else { return false };
    let is_known = |token: &str| split_compound(token).is_some();
    DICTIONARY.contains_key(format!("{last}{token}").as_str())
        || last == "e"
        || !is_known(last) && !is_known(token)
}

/// Letters between the parts of a compound.
const LINKS: [&str; 5] = ["", "s", "n", "en", "e"];

/// The words of a compound, or the word itself.
fn split_compound(token: &str) -> Option<Vec<Word>> {
    if let Some(word) = DICTIONARY.get(token) {
        return Some(vec![*word]);
    }
    for end in (3..token.len()).rev() {
        let Some(word) = token.get(..end).and_then(|part| DICTIONARY.get(part)) else { continue };
        for link in LINKS {
            let Some(rest) = token[end..].strip_prefix(link) else { continue };
            // Short words stand at an end only: `klantnr`, `contactid`.
            let is_part = rest.len() >= 3 || ["nr", "id"].contains(&rest);
            if let Some(words) = is_part.then(|| split_compound(rest)).flatten() {
                return Some([&[*word], words.as_slice()].concat());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_words() {
        use Word::*;
        let cases: &[(&str, &[Word], usize)] = &[
            ("Klantnummer", &[Customer, Number], 0),
            ("Kundennr.", &[Customer, Number], 0),
            ("Kunden-Nr.", &[Customer, Number], 0),
            ("N° client", &[Number, Customer], 0),
            ("Customer #", &[Customer, Number], 0),
            ("Tel.nr.", &[Phone, Number], 0),
            ("No Email", &[Attribute, Email], 0),
            ("E-Mail-Adresse", &[Email, Kind], 0),
            ("emailadres2", &[Email, Kind], 0),
            ("contactId", &[Contact, Id], 0),
            ("ContactID", &[Contact, Id], 0),
            ("BcCo", &[Contact, Code], 0),
            ("LEID", &[], 1),
            ("Prénom", &[First], 0),
            ("Téléphone (bureau)", &[Phone, Kind], 0),
            ("Straatnaam", &[OtherThing, Name], 0),
            ("Hausnummer", &[OtherThing, Number], 0),
            ("Company Main Phone", &[Company, Kind, Phone], 0),
        ];
        for (name, words, unknown) in cases {
            let reading = Reading::new(name);
            assert_eq!((reading.words.as_slice(), reading.unknown), (*words, *unknown), "{name}");
        }
        assert!(Reading::new("(Do Not Modify) Contact").is_key_of_record);
    }
}
