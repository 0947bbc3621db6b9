//! Masks values and addresses in texts that leave the machine, such as a page that
//! goes out by mail.
//!
//! What is left is the form of a text, since that is often what is wrong with it:
//! `a` for each letter and `9` for each digit, so `06-1234` is `99-9999`.

use std::borrow::Cow;

/// A longer value is cut.
const SHOWN_CHARS_MAX: usize = 40;
/// Fewer digits are no telephone number.
const PHONE_DIGITS_MIN: usize = 7;

/// The form of a value.
pub(super) fn mask_value(value: &str) -> String {
    let mut masked: String = value.chars().take(SHOWN_CHARS_MAX).map(mask_letter).collect();
    if value.chars().nth(SHOWN_CHARS_MAX).is_some() {
        masked.push('…');
    }
    masked
}

fn mask_letter(letter: char) -> char {
    match letter {
        _ if letter.is_numeric() => '9',
        _ if letter.is_alphabetic() => 'a',
        // They would be shown as text of another direction, or not at all.
        _ if letter.is_control() || !letter.is_ascii() && !letter.is_whitespace() => '·',
        _ => letter,
    }
}

/// The text without this value, e-mail addresses and telephone numbers.
pub(super) fn mask_text(text: &str, value: Option<&str>) -> String {
    // A shorter one is a part of any word.
    const VALUE_CHARS_MIN: usize = 3;
    let value = value.map(str::trim).filter(|value| value.chars().count() >= VALUE_CHARS_MIN);
    let text = match value {
        Some(value) if text.contains(value) => Cow::Owned(text.replace(value, &mask_value(value))),
        _ => Cow::Borrowed(text),
    };
    mask_phones(&mask_mails(&text))
}

/// A message of the API, behind our own words and a colon, without words that may be
/// names or ids: those with a capital letter in front or a digit.
pub(super) fn mask_names(message: &str) -> String {
    let Some((own, answer)) = message.split_once(": ") else { return message.to_owned() };
    let is_name = |word: &str| {
        let mut letters = word.chars().filter(|letter| letter.is_alphanumeric());
        letters.next().is_some_and(char::is_uppercase) || word.contains(char::is_numeric)
    };
    let mask =
        |word: &str| if is_name(word) { word.chars().map(mask_letter).collect() } else { word.to_owned() };
    let masked: String = answer.split_inclusive(char::is_whitespace).map(mask).collect();
    format!("{own}: {masked}")
}

/// Words with an `@` in them, also as a URL has it.
fn mask_mails(text: &str) -> String {
    let is_mail = |word: &str| word.contains(['@', '＠']) || word.to_lowercase().contains("%40");
    let mask =
        |word: &str| if is_mail(word) { word.chars().map(mask_letter).collect() } else { word.to_owned() };
    text.split_inclusive(char::is_whitespace).map(mask).collect()
}

/// Digits with signs between them, as people write telephone numbers. Dates and times
/// stay, and numbers with thousands separators.
fn mask_phones(text: &str) -> String {
    let is_between = |letter: char| " -–./()\u{a0}".contains(letter);
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(from) = rest.find(|letter: char| letter.is_numeric()) {
        let run = &rest[from..];
        let end = run.find(|letter: char| !letter.is_numeric() && !is_between(letter)).unwrap_or(run.len());
        let end = run[..end].trim_end_matches(is_between).len();
        let (number, after) = run.split_at(end);
        let digits = number.chars().filter(|letter| letter.is_numeric()).count();
        masked.push_str(&rest[..from]);
        // A hash is no number: letters stand beside its digits.
        let is_in_word = masked.ends_with(char::is_alphabetic) || after.starts_with(char::is_alphabetic);
        if digits < PHONE_DIGITS_MIN || is_date(number) || is_in_word && !number.contains(is_between) {
            masked.push_str(number);
        } else {
            masked.extend(number.chars().map(mask_letter));
        }
        rest = after;
    }
    masked + rest
}

/// `2026-11-28`, perhaps with an hour behind it.
fn is_date(text: &str) -> bool {
    let date = text.get(..10).unwrap_or_default();
    let rest = text.get(10..).unwrap_or_default().trim();
    date.parse::<jiff::civil::Date>().is_ok() && rest.len() <= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_of_a_message_of_the_api_are_masked() {
        for (message, masked) in [
            (
                "create was refused: Wilhelmina Roozenboom (C700010) exists",
                "create was refused: aaaaaaaaaa aaaaaaaaaa (a999999) exists",
            ),
            ("Row 7: the name is too long", "Row 7: the name is too long"),
            ("No colon", "No colon"),
        ] {
            assert_eq!(mask_names(message), masked);
        }
    }

    #[test]
    fn a_value_keeps_its_form() {
        for (value, masked) in [
            ("achternaam.at.example", "aaaaaaaaaa.aa.aaaaaaa"),
            ("06-12345678", "99-99999999"),
            ("Zoë＠٣\u{202e}x", "aaa·9·a"),
            ("", ""),
        ] {
            assert_eq!(mask_value(value), masked);
        }
        assert_eq!(mask_value(&"x".repeat(41)), format!("{}…", "a".repeat(40)));
    }

    #[test]
    fn no_address_is_left_in_a_text() {
        for (text, masked) in [
            ("\"jan@example.org\" is taken", "\"aaa@aaaaaaa.aaa\" is taken"),
            ("?email=jan%40example.org", "?aaaaa=aaa%99aaaaaaa.aaa"),
            ("call +31 6 12-34.56(78), or 0612345678!", "call +99 9 99-99.99(99), or 9999999999!"),
            ("tel:+31612345678;x", "tel:+99999999999;x"),
            // No telephone numbers.
            ("1,234,567 of 20000 rows, 429", "1,234,567 of 20000 rows, 429"),
            ("until 2026-11-28 21:04:10, row 12", "until 2026-11-28 21:04:10, row 12"),
            ("content 1234567890abcdef, 3 of 40", "content 1234567890abcdef, 3 of 40"),
        ] {
            assert_eq!(mask_text(text, None), masked);
        }
    }

    #[test]
    fn a_quoted_value_is_masked_and_other_words_stay() {
        assert_eq!(mask_text("no Jansen: Jansen", Some(" Jansen ")), "no aaaaaa: aaaaaa");
        assert_eq!(mask_text("a row", Some("a")), "a row");
    }
}
