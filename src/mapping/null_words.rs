//! Words that a program or a spreadsheet writes where there is no value.
//!
//! `blank` in `[input]` lists an export's own. These are never a name, an address
//! or an id of anybody, whatever is listed.

/// As programs write them. `Null` and `Nan` are names of people, and `None` is
/// one of a place.
const WORDS: [&str; 17] = [
    "\\N",
    "\\\\N",
    "NULL",
    "null",
    "(null)",
    "(NULL)",
    "<null>",
    "<NULL>",
    "[null]",
    "[NULL]",
    "NaN",
    "<NA>",
    "N/A",
    "n/a",
    "undefined",
    "(not set)",
    "(none)",
];

/// Ids have no names among them.
const ID_WORDS: [&str; 18] = [
    "null",
    "nil",
    "none",
    "nan",
    "n/a",
    "undefined",
    "unset",
    "not set",
    "blank",
    "empty",
    "leeg",
    "no value",
    "novalue",
    "nvt",
    "n.v.t.",
    "#n/v",
    "not available",
    "not applicable",
];

/// Ids that a program gives to everybody without one. One customer may have it.
const ID_WORDS_OF_MANY: [&str; 9] =
    ["-1", "na", "unknown", "onbekend", "unbekannt", "inconnu", "guest", "anonymous", "default"];

/// Whether a name or an address is such a word.
pub(super) fn is_null_word(text: &str) -> bool {
    match text.as_bytes() {
        [b'#', ..] => is_spreadsheet_error(text),
        [b'\\' | b'N' | b'n' | b'u' | b'(' | b'<' | b'[', ..] if text.len() <= 9 => WORDS.contains(&text),
        _ => false,
    }
}

/// Whether no customer can have this id.
pub(super) fn is_placeholder_id(id: &str) -> bool {
    if !id.bytes().any(|byte| byte.is_ascii_alphanumeric()) && !id.contains(char::is_alphanumeric) {
        return true;
    }
    match id.as_bytes() {
        [b'0', ..] => is_nil_uuid(id),
        [b'#', ..] => is_spreadsheet_error(id),
        // Nearly all ids: no word has a digit.
        bytes if bytes.iter().any(u8::is_ascii_digit) => false,
        _ => is_null_word(id) || is_in(&ID_WORDS, id.trim_matches(['(', ')', '<', '>', '[', ']', '{', '}'])),
    }
}

/// Whether no two rows can have this id.
pub(crate) fn is_placeholder_of_many(id: &str) -> bool {
    match id.as_bytes() {
        [b'0', ..] => id.bytes().all(|byte| byte == b'0'),
        [b'-', ..] => id == "-1",
        bytes => bytes.len() <= 9 && is_in(&ID_WORDS_OF_MANY, id),
    }
}

fn is_in(words: &[&str], text: &str) -> bool {
    words.iter().any(|word| word.eq_ignore_ascii_case(text))
}

fn is_nil_uuid(id: &str) -> bool {
    id.len() == 36 && id.bytes().all(|byte| matches!(byte, b'0' | b'-'))
}

/// `#N/A`, `#REF!` and `#NAME?` in any language; a column that is too narrow.
fn is_spreadsheet_error(text: &str) -> bool {
    let Some(word) = text.strip_prefix('#') else { return false };
    let is_upper = |part: &str| {
        !part.is_empty()
            && part.chars().all(|letter| letter.is_uppercase() || matches!(letter, '/' | '0'..='9' | '_'))
    };
    let is_marked = word.strip_suffix(['!', '?']).is_some_and(is_upper);
    is_marked
        || ["N/A", "N/B", "N/D", "N/V", "NV", "NB", "ND", "N/A N/A"].contains(&word)
        || text.len() > 1 && text.bytes().all(|byte| byte == b'#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_no_value_are_no_names() {
        for word in [
            "\\N",
            "NULL",
            "null",
            "(null)",
            "NaN",
            "#N/A",
            "#NV",
            "#N/B",
            "#REF!",
            "#WAARDE!",
            "#DIV/0!",
            "#NAAM?",
            "#ZAHL!",
            "######",
            "undefined",
            "(not set)",
        ] {
            assert!(is_null_word(word) && is_placeholder_id(word), "{word}");
        }
        for name in ["Null", "Nan", "Nil", "None", "Noor", "#", "# 12", "#1", "N", "-", "\\O", "Undefined"] {
            assert!(!is_null_word(name), "{name}");
        }
    }

    #[test]
    fn ids_that_stand_for_nobody_are_recognised() {
        for id in [
            "-",
            "--",
            "?",
            "#",
            ".",
            "None",
            "nan",
            "n/a",
            "(blank)",
            "[empty]",
            "00000000-0000-0000-0000-000000000000",
        ] {
            assert!(is_placeholder_id(id), "{id}");
            assert!(!is_placeholder_of_many(id), "{id}");
        }
        for id in ["0", "000", "-1", "NA", "Unknown", "guest"] {
            assert!(is_placeholder_of_many(id) && !is_placeholder_id(id), "{id}");
        }
        for id in ["1", "0-0", "0001", "N1", "#12", "A", "李", "-12", "00A0", "nannie"] {
            assert!(!is_placeholder_of_many(id) && !is_placeholder_id(id), "{id}");
        }
    }
}
