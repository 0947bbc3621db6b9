//! Telephone numbers: any usual spelling becomes E.164 (a `+` and at most 15
//! digits), or a reason why not.

use std::borrow::Cow;

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberFormat, enums::Region};

use super::invisible::is_invisible;
use super::rejection::{Rejection, RejectionCode, RowResult};
use super::separators;

/// A region of libphonenumber by its ISO 3166-1 code, in any case.
pub(crate) fn find_region(code: &str) -> Option<Region> {
    let wanted = Region::from_code(code.trim()).ok()?;
    PHONE_NUMBER_UTIL.get_supported_regions().find(|region| *region == wanted)
}

/// `text` as E.164. National numbers are those of `region`.
pub(super) fn to_e164(text: Cow<'_, str>, region: Option<Region>) -> RowResult<Cow<'_, str>> {
    if is_clean(&text) {
        return Ok(text);
    }
    if let Some(number) = with_country_code(&text, region) {
        return Ok(number.into());
    }
    let text = with_plain_extension(with_plain_signs(&text));
    match parse_e164(text.trim(), region) {
        Ok(number) => Ok(number.into()),
        Err(_) if holds_several(&text, region) => {
            let separator = separators::find(&text, |part| parse_e164(part, region).is_ok());
            let hint = separators::hint("telephone", separator.unwrap_or("/"));
            Err(Rejection::new(RejectionCode::BadPhone, "the cell has several telephone numbers", hint))
        }
        Err(rejection) => Err(rejection),
    }
}

fn parse_e164(text: &str, region: Option<Region>) -> RowResult<String> {
    let error = |reason: &str, hint: &'static str| Err(Rejection::new(RejectionCode::BadPhone, reason, hint));
    if is_scientific(text) {
        return error("a spreadsheet has rounded the number", ROUNDED_HINT);
    }
    if let Some(reason) = not_a_number(text) {
        return error(reason, HINT);
    }
    if has_words_behind(text) {
        return error("there are words behind the number", WORDS_HINT);
    }
    let not_a_number = |otherwise: &str| match text.chars().find(|letter| !is_number_letter(*letter)) {
        Some(letter) => {
            let code = u32::from(letter);
            error(&format!("not a telephone number: it has the character {letter:?} (U+{code:04X})"), HINT)
        }
        None => error(otherwise, HINT),
    };
    let number = match PHONE_NUMBER_UTIL.parse(text, region) {
        Ok(number) => number,
        Err(_) if region.is_none() && !text.starts_with('+') => {
            return error(
                NO_COUNTRY_CODE,
                "set region, for example telephone = { column = \"…\", region = \"NL\" }, or write it as +31…",
            );
        }
        Err(_) => return not_a_number("not a telephone number"),
    };
    if !number.is_valid() {
        return not_a_number("not a valid number in its country's numbering plan");
    }
    if is_ambiguous(text, &number) {
        return error(
            "the number is valid both with and without its country code",
            "write it with + or with the area's leading 0, for example with a template: { template = \"{{ '+' ~ phone if phone }}\" }",
        );
    }
    Ok(number.format_as(PhoneNumberFormat::E164).into_owned())
}

/// The text with a space for signs that people write between digits and that the
/// library refuses: thin spaces, dots in the middle, apostrophes. Characters that
/// cannot be seen come along when a number is copied, and are left out.
fn with_plain_signs(text: &str) -> Cow<'_, str> {
    let is_sign = |letter: char| {
        "\t·•_'’".contains(letter)
            || !letter.is_ascii() && letter.is_whitespace() && !"\u{85}\u{2028}\u{2029}".contains(letter)
    };
    if !text.contains(|letter| is_sign(letter) || is_invisible(letter)) {
        return Cow::Borrowed(text);
    }
    let visible = text.chars().filter(|letter| !is_invisible(*letter));
    visible.map(|letter| if is_sign(letter) { ' ' } else { letter }).collect::<String>().into()
}

/// Words for an extension that the library does not know.
const EXTENSION_WORDS: [&str; 6] = ["nebenstelle", "durchwahl", "toestel", "poste", "tst", "dw"];

/// Writes `toestel 5` as `ext. 5`.
fn with_plain_extension(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains(char::is_alphabetic) {
        return text;
    }
    let lower = text.to_lowercase();
    let found = EXTENSION_WORDS.iter().find_map(|word| lower.split_once(word)).and_then(|(number, rest)| {
        let extension = rest.trim_matches([' ', '.', ':']);
        is_digits(extension).then(|| format!("{} ext. {extension}", number.trim_end_matches([' ', ',', '('])))
    });
    found.map_or(text, Cow::Owned)
}

/// Whether a text is several numbers with signs or words between them.
fn holds_several(text: &str, region: Option<Region>) -> bool {
    let parts = text.split(|letter: char| letter.is_alphabetic() || "/;,|&\r\n".contains(letter));
    let mut parts = parts.filter(|part| part.contains(|letter: char| letter.is_ascii_digit()));
    parts.clone().count() > 1 && parts.all(|part| parse_e164(part.trim(), region).is_ok())
}

/// Why a text is no number, though the library would accept it: the library
/// skips signs, and dials letters.
fn not_a_number(text: &str) -> Option<&'static str> {
    if is_decimal(text) {
        return Some("the number has decimals, which a program or a spreadsheet added");
    }
    if is_date(text) {
        return Some("the cell has a date, not a telephone number");
    }
    has_words_between(text).then_some("there are words between the digits")
}

/// Whether an extension was left out of the number.
pub(super) fn has_extension(text: &str, region: Option<Region>) -> bool {
    let may_have =
        text.contains(|letter: char| letter.is_alphabetic() || matches!(letter, '#' | ';' | ',' | '~'));
    let parse = || PHONE_NUMBER_UTIL.parse(with_plain_extension(with_plain_signs(text)).trim(), region);
    may_have && parse().is_ok_and(|number| number.extension.is_some())
}

/// Whether there are words behind the last digit, other than those for an extension. The letters of
/// `1-800-FLOWERS` are dialled.
fn has_words_behind(text: &str) -> bool {
    let Some(last) = text.rfind(|letter: char| letter.is_ascii_digit()) else { return false };
    let is_dialled = text[..=last].trim_start_matches(['+', '1', ' ']).len() <= 8;
    text[last..].contains(char::is_alphabetic) && !is_dialled
}

/// Whether a letter can be a part of a number, as people write them.
fn is_number_letter(letter: char) -> bool {
    letter.is_alphanumeric()
        || letter.is_whitespace()
        || letter.is_ascii_graphic()
        || "–—‐‑−…".contains(letter)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `612345678.0`, `1.512345678E9`.
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = text.split_once(['E', 'e']).map_or((text, None), |(m, e)| (m, Some(e)));
    let Some((whole, fraction)) = mantissa.split_once(['.', ',']) else { return false };
    let is_scaled = exponent.is_some_and(|exponent| is_digits(exponent.trim_start_matches('+')));
    // Two digits at most: people group digits by dots, too.
    is_digits(whole) && is_digits(fraction) && (is_scaled || exponent.is_none() && fraction.len() <= 2)
}

/// A day of these two centuries, the year first or last.
pub(crate) fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split(['-', '.', '/']).collect();
    let [first, month, last] = parts.as_slice() else { return false };
    let (year, day) = if first.len() == 4 { (first, last) } else { (last, first) };
    let is_in = |part: &str, len: usize, from: u16, to: u16| {
        part.len() <= len && part.parse().is_ok_and(|value: u16| (from..=to).contains(&value))
    };
    year.len() == 4
        && is_in(year, 4, 1900, 2099)
        // The days and months of some countries change places.
        && (is_in(month, 2, 1, 12) && is_in(day, 2, 1, 31) || is_in(month, 2, 1, 31) && is_in(day, 2, 1, 12))
}

/// Words for an extension, which is left out.
const EXTENSION: [&str; 9] = ["x", "xt", "ext", "extn", "extension", "extensión", "int", "anexo", "доб"];

/// Whether there are words between digits other than those for an extension.
fn has_words_between(text: &str) -> bool {
    let is_digit = |letter: char| letter.is_ascii_digit();
    let (Some(first), Some(last)) = (text.find(is_digit), text.rfind(is_digit)) else { return false };
    let words = text[first..=last].split(|letter: char| !letter.is_alphabetic());
    words.filter(|word| !word.is_empty()).any(|word| !EXTENSION.contains(&word.to_lowercase().as_str()))
}

/// Whether digits that were read as a national number are also a number with its
/// country code: both exist where numbers have many lengths.
fn is_ambiguous(text: &str, national: &PhoneNumber) -> bool {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if text.contains('+')
        || digits.starts_with('0')
        || !digits.starts_with(&national.country_code.to_string())
    {
        return false;
    }
    let international = PHONE_NUMBER_UTIL.parse(format!("+{digits}"), None);
    international.is_ok_and(|other| other.is_valid() && other.national_number != national.national_number)
}

/// Country codes whose national numbers the library never rewrites, as long as
/// they begin with neither `0` nor `1`.
const PLAIN_CODES: [&str; 16] =
    ["1", "31", "32", "33", "34", "41", "43", "44", "45", "46", "47", "48", "49", "351", "353", "420"];

/// Whether `text` is E.164 already, and a number that exists by the library's
/// rules. Only saves time: a test checks that the library's parser returns such
/// numbers unchanged.
fn is_clean(text: &str) -> bool {
    let Some(digits) = text.strip_prefix('+') else { return false };
    if !(8..=15).contains(&digits.len()) || !is_digits(digits) {
        return false;
    }
    let split = PLAIN_CODES.iter().find_map(|code| Some((*code, digits.strip_prefix(code)?)));
    let Some((code, national)) = split.filter(|(_, national)| !national.starts_with(['0', '1'])) else {
        return false;
    };
    exists(code, national)
}

/// Whether a number without a leading `0` exists.
fn exists(code: &str, national: &str) -> bool {
    let number = PhoneNumber {
        country_code: code.parse().unwrap_or_default(),
        national_number: national.parse().unwrap_or_default(),
        ..PhoneNumber::default()
    };
    number.is_valid()
}

/// Regions whose national numbers begin with a `0` in place of the country code.
const TRUNK_CODES: [(Region, &str); 9] = [
    (Region::NL, "31"),
    (Region::BE, "32"),
    (Region::FR, "33"),
    (Region::CH, "41"),
    (Region::AT, "43"),
    (Region::GB, "44"),
    (Region::SE, "46"),
    (Region::DE, "49"),
    (Region::IE, "353"),
];

/// The E.164 of a national number of digits, spaces and hyphens. Only saves time:
/// a test checks that the library returns the same.
fn with_country_code(text: &str, region: Option<Region>) -> Option<String> {
    let (_, code) = TRUNK_CODES.iter().find(|(own, _)| Some(*own) == region)?;
    let digits = text.strip_prefix('0').filter(|_| !(text.contains('-') && is_date(text)))?;
    let mut number = format!("+{code}");
    for byte in digits.bytes() {
        match byte {
            b'0'..=b'9' => number.push(byte.into()),
            b' ' | b'-' => {}
            _ => return None,
        }
    }
    let national = &number[1 + code.len()..];
    (!national.starts_with('0') && exists(code, national)).then_some(number)
}

const WORDS_HINT: &str = "take the number alone, in the export or with a template, or leave such numbers out with invalid = \"drop\"";
const NO_COUNTRY_CODE: &str = "the number has no country code";

/// Whether a number was refused because no region was given for it.
pub(super) fn needs_region(rejection: &Rejection) -> bool {
    rejection.message == NO_COUNTRY_CODE
}

const HINT: &str = "fix the number, set another region, or leave such numbers out with invalid = \"drop\"";
/// The remedy for numbers that a spreadsheet has rounded.
pub(super) const ROUNDED_HINT: &str =
    "format that column as text and export again; the digits are lost in this file";

/// `4.41E+11` and the like: a spreadsheet's version of a long number.
pub(super) fn is_scientific(text: &str) -> bool {
    exponent(text).is_some_and(|exponent| exponent.strip_prefix('+').is_some_and(is_digits))
}

/// Also `1.0E5`, as Java writes it. `1e5` may be a code.
pub(crate) fn is_rounded(text: &str) -> bool {
    is_scientific(text) || text.contains('.') && exponent(text).is_some_and(is_digits)
}

/// What stands behind the `E` of such a number.
fn exponent(text: &str) -> Option<&str> {
    // Few texts begin like this.
    let [b'0'..=b'9', b'.' | b',' | b'E' | b'e', ..] = text.as_bytes() else { return None };
    let (mantissa, exponent) = text[1..].split_once(['E', 'e'])?;
    is_digits(mantissa.strip_prefix(['.', ',']).unwrap_or("0")).then_some(exponent)
}

/// Whether a number is valid as a national one of `region`.
pub(crate) fn is_valid(text: &str, region: Region) -> bool {
    to_e164(Cow::Borrowed(text), Some(region)).is_ok()
}

/// The region of a number with its country code.
pub(crate) fn region_of(text: &str) -> Option<Region> {
    PHONE_NUMBER_UTIL.parse(text, None).ok().filter(PhoneNumber::is_valid)?.get_region_code()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The answer without the shortcut.
    fn by_library(text: &str, region: Option<Region>) -> Option<String> {
        let number = PHONE_NUMBER_UTIL.parse(text, region).ok().filter(PhoneNumber::is_valid)?;
        Some(number.format_as(PhoneNumberFormat::E164).into_owned())
    }

    fn e164(text: &str, region: Option<Region>) -> RowResult<String> {
        to_e164(text.into(), region).map(Cow::into_owned)
    }

    fn same_answer(text: &str) {
        for region in [None, find_region("NL"), find_region("US"), find_region("GB")] {
            assert_eq!(e164(text, region).ok(), by_library(text, region), "{text} {region:?}");
        }
    }

    fn same_national(text: &str, region: Region) {
        let number = with_country_code(text, Some(region));
        assert!(number.is_none() || number == by_library(text, Some(region)), "{text} {region:?}");
    }

    #[test]
    fn a_text_that_only_looks_like_a_number_is_refused() {
        for (text, code, reason) in [
            ("1512345678.0", "DE", "decimal"),
            ("15123456789,12", "DE", "decimal"),
            ("1.512345678E9", "DE", "decimal"),
            ("61234567.8", "NL", "decimal"),
            ("1980-02-01", "AT", "date"),
            ("01.02.1980", "BE", "date"),
            ("030 123456 App. 12", "DE", "words"),
            ("4915123456789", "DE", "both with and without"),
        ] {
            let error = e164(text, find_region(code)).expect_err(text);
            assert!(error.message.contains(reason), "{text}: {}", error.message);
        }
        for (text, code, number) in [
            ("06.12345678", "NL", "+31612345678"),
            ("01.23.45.67.89", "FR", "+33123456789"),
            ("+49 151 23456789", "DE", "+4915123456789"),
            ("015123456789", "DE", "+4915123456789"),
            ("31612345678", "NL", "+31612345678"),
            ("12025550123", "US", "+12025550123"),
            ("030 123456 ext. 12", "DE", "+4930123456"),
            ("Tel. 06-12345678", "NL", "+31612345678"),
            ("1-800-FLOWERS", "US", "+18003569377"),
        ] {
            assert_eq!(e164(text, find_region(code)).ok().as_deref(), Some(number), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn a_clean_number_is_what_the_library_returns(
            code in proptest::sample::select(&PLAIN_CODES[..]), national in "[0-9]{4,12}"
        ) {
            same_answer(&format!("+{code}{national}"));
        }

        #[test]
        fn so_is_a_national_number_with_its_country_code(
            (region, _) in proptest::sample::select(&TRUNK_CODES[..]), text in "0[1-9]([ -]{0,2}[0-9]{1,3}){1,6}[ -]?"
        ) {
            same_national(&text, region);
        }

        #[test]
        fn so_are_numbers_of_any_country(digits in "[0-9]{6,16}") {
            same_answer(&format!("+{digits}"));
        }
    }

    /// Random digits seldom make a number that exists; these do, or nearly do.
    #[test]
    fn so_are_all_kinds_of_numbers_and_their_neighbours() {
        use rlibphonenumber::PhoneNumberType::{FixedLine, Mobile, PremiumRate, TollFree, VoIP};
        let mut clean = 0;
        for code in PLAIN_CODES.map(|code| code.parse().expect("a number")) {
            let region = PHONE_NUMBER_UTIL.get_region_for_country_code(code).expect("a region");
            for kind in [FixedLine, Mobile, PremiumRate, TollFree, VoIP] {
                let Ok(number) = PHONE_NUMBER_UTIL.get_example_number_for_type_and_region(region, kind)
                else {
                    continue;
                };
                let neighbours = |format| {
                    let text = number.format_as(format).into_owned();
                    let near = ["", "0", "1", "5", "8", "06"].into_iter();
                    let near = near.flat_map(|near| (1..text.len()).map(move |at| (at, near)));
                    near.map(|(at, near)| format!("{}{near}{}", &text[..at], &text[at + 1..]))
                        .collect::<Vec<_>>()
                };
                clean += u32::from(is_clean(&number.format_as(PhoneNumberFormat::E164)));
                for near in neighbours(PhoneNumberFormat::E164) {
                    assert_eq!(e164(&near, None).ok(), by_library(&near, None), "{near}");
                }
                for near in neighbours(PhoneNumberFormat::National) {
                    same_national(&near, region);
                }
            }
        }
        assert!(clean > 40, "the shortcut is hardly ever taken: {clean}");
    }

    #[test]
    fn numbers_as_people_write_them() {
        let cases = [
            ("06-12345678", Some("NL"), Some("+31612345678")),
            ("(010) 414 42 88", Some("NL"), Some("+31104144288")),
            ("0031 6 12345678", Some("NL"), Some("+31612345678")),
            ("+31 (0)6 12345678", None, Some("+31612345678")),
            ("'0612345678", Some("NL"), Some("+31612345678")),
            ("612345678", Some("nl"), Some("+31612345678")),
            ("+44 20 7946 0958", Some("NL"), Some("+442079460958")),
            ("06-12345678", None, None),
            ("06-1234567", Some("NL"), None),
            ("4.41E+11", Some("NL"), None),
            ("4,41E+11", Some("NL"), None),
            ("geen", Some("NL"), None),
        ];
        for (text, code, expected) in cases {
            let found = e164(text, code.and_then(find_region));
            assert_eq!(found.as_deref().ok(), expected, "{text:?} {code:?}: {found:?}");
        }
    }

    /// Cells as people write them, with the answer of Google's own library.
    #[test]
    fn numbers_are_read_as_googles_library_reads_them() {
        let cases = include_str!("../../fixtures/telephones.tsv").lines().skip(1);
        let mut agreed = 0;
        for case in cases {
            let mut parts = case.split('\t');
            let [Some(region), Some(cell), Some(theirs)] = [parts.next(), parts.next(), parts.next()] else {
                panic!("{case}");
            };
            let cell: String = serde_json::from_str(cell).expect("a JSON text");
            let found = e164(&cell, find_region(region));
            let expected = parts.next().unwrap_or(theirs);
            agreed += u32::from(expected == theirs);
            match found {
                Ok(number) => assert_eq!(number, expected, "{case}"),
                Err(error) => assert!(expected == "-" || error.message == expected, "{case}: {error:?}"),
            }
        }
        assert!(agreed > 100, "{agreed}");
    }

    #[test]
    fn the_cause_of_a_bad_number_is_named() {
        for (text, reason) in [
            ("06-12345678 (privé)", "words behind"),
            ("06-12345678 Jan", "words behind"),
            ("06-1234567√8", "'√' (U+221A)"),
            ("06-1234567", "numbering plan"),
            ("06-12345678 / 010-4144288", "several"),
            ("06-12345678 of 010-4144288", "several"),
            ("06-12345678\n010-4144288", "several"),
        ] {
            let error = e164(text, find_region("NL")).expect_err(text);
            assert!(error.message.contains(reason), "{text}: {}", error.message);
        }
        for text in [
            "☎ 06-12345678",
            "06–12345678",
            "06\u{a0}12345678",
            "０６１２３４５６７８",
            "06\u{202f}12\u{2009}34\t5678",
            "06·1234•5678",
            "06'1234_5678",
            "\u{202a}+31 6 1234\u{200b}5678\u{202c}",
        ] {
            assert_eq!(e164(text, find_region("NL")).ok().as_deref(), Some("+31612345678"), "{text}");
        }
        for extension in ["ext. 12", "toestel 12", "tst. 12", "Durchwahl: 12", "poste 12"] {
            let text = format!("010 4144288 {extension}");
            assert!(has_extension(&text, find_region("NL")), "{text}");
            assert_eq!(e164(&text, find_region("NL")).ok().as_deref(), Some("+31104144288"), "{text}");
        }
        assert!(e164("010 4144288 toestel Jan", find_region("NL")).is_err());
        assert!(!has_extension("Tel. 010 4144288", find_region("NL")));
    }

    #[test]
    fn numbers_rounded_by_a_spreadsheet_are_recognised() {
        for damaged in ["4E+11", "4.41E+11", "4,41e+11", "1.0E+05"] {
            assert!(is_scientific(damaged), "{damaged}");
        }
        for fine in ["E12", "1E5", "12.5E+3", "A1.2E+3", "2.5", "1.5E-3"] {
            assert!(!is_scientific(fine), "{fine}");
        }
    }
}
