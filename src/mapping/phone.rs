//! Telephone numbers: whatever people type becomes E.164 (ITU-T E.164, at
//! most 15 digits behind a `+`), or the reason why it cannot.

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberFormat, enums::Region};

/// Why a text is no telephone number, and what would help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PhoneError {
    pub(super) reason: &'static str,
    pub(super) hint: &'static str,
}

/// A region of libphonenumber by its ISO 3166-1 code, in any case.
pub(super) fn region(code: &str) -> Option<Region> {
    let wanted = Region::from_code(code.trim()).ok()?;
    PHONE_NUMBER_UTIL.get_supported_regions().find(|region| *region == wanted)
}

/// `text` as E.164. National numbers are those of `region`.
pub(super) fn e164(text: &str, region: Option<Region>) -> Result<String, PhoneError> {
    // Spreadsheets mark text with a leading apostrophe.
    let text = text.trim_start_matches('\'');
    if is_scientific(text) {
        return Err(PhoneError {
            reason: "a spreadsheet has turned it into a rounded number",
            hint: "export again with that column formatted as text; the digits are lost",
        });
    }
    if is_clean(text) {
        return Ok(text.to_owned());
    }
    if let Some(reason) = no_number(text) {
        return Err(PhoneError { reason, hint: HINT });
    }
    let number = match PHONE_NUMBER_UTIL.parse(text, region) {
        Ok(number) => number,
        Err(_) if region.is_none() && !text.trim_start().starts_with('+') => {
            return Err(PhoneError {
                reason: "it has no country code",
                hint: "set region, for example telephone = { column = \"…\", region = \"NL\" }, or write it as +31…",
            });
        }
        Err(_) => {
            return Err(PhoneError { reason: "it cannot be read as a telephone number", hint: HINT });
        }
    };
    if !number.is_valid() {
        return Err(PhoneError {
            reason: "no such number can exist in its country's numbering plan",
            hint: HINT,
        });
    }
    if is_ambiguous(text, &number) {
        return Err(PhoneError {
            reason: "it is a number both with and without its country code",
            hint: "write it with + or with the 0 of the area in front, for example by a template: { template = \"{{ '+' ~ phone if phone }}\" }",
        });
    }
    Ok(number.format_as(PhoneNumberFormat::E164).into_owned())
}

/// What a text is that the library would take for a number all the same: it
/// leaves out signs, and dials letters.
fn no_number(text: &str) -> Option<&'static str> {
    let text = text.trim();
    if is_decimal(text) {
        return Some("it is a decimal number, made of one by a program or a spreadsheet");
    }
    if is_date(text) {
        return Some("it is a date");
    }
    has_words_between(text).then_some("there are words between its digits")
}

/// `612345678.0`, `1.512345678E9`.
fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = text.split_once(['E', 'e']).map_or((text, None), |(m, e)| (m, Some(e)));
    let Some((whole, fraction)) = mantissa.split_once(['.', ',']) else { return false };
    let is_scaled = exponent.is_some_and(|exponent| digits(exponent.trim_start_matches('+')));
    // Two digits at most: people group theirs by dots, too.
    digits(whole) && digits(fraction) && (is_scaled || exponent.is_none() && fraction.len() <= 2)
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

/// Words that mean an extension, which is left out.
const EXTENSION: [&str; 9] = ["x", "xt", "ext", "extn", "extension", "extensión", "int", "anexo", "доб"];

/// Whether there are letters with digits before and behind that name no extension.
fn has_words_between(text: &str) -> bool {
    let is_digit = |letter: char| letter.is_ascii_digit();
    let (Some(first), Some(last)) = (text.find(is_digit), text.rfind(is_digit)) else { return false };
    let words = text[first..=last].split(|letter: char| !letter.is_alphabetic());
    words.filter(|word| !word.is_empty()).any(|word| !EXTENSION.contains(&word.to_lowercase().as_str()))
}

/// Whether bare digits that were taken for a national number are also one that
/// begins with the country's code: in a plan of many lengths both exist.
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

/// Country codes whose national numbers the library rewrites in no way, as
/// long as they begin with neither `0` nor `1`.
const PLAIN_CODES: [&str; 16] =
    ["1", "31", "32", "33", "34", "41", "43", "44", "45", "46", "47", "48", "49", "351", "353", "420"];

/// Whether `text` is a number that exists, written as E.164 already. Only
/// saves time: the library's parser would hand it back as it is, and a test
/// holds that against it. Whether it exists is the library's to say.
pub(super) fn is_clean(text: &str) -> bool {
    let Some(digits) = text.strip_prefix('+') else { return false };
    if !(8..=15).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let split = PLAIN_CODES.iter().find_map(|code| Some((*code, digits.strip_prefix(code)?)));
    let Some((code, national)) = split.filter(|(_, national)| !national.starts_with(['0', '1'])) else {
        return false;
    };
    let number = PhoneNumber {
        country_code: code.parse().unwrap_or_default(),
        national_number: national.parse().unwrap_or_default(),
        ..PhoneNumber::default()
    };
    number.is_valid()
}

const HINT: &str = "mend the number, set another region, or leave such numbers out with invalid = \"drop\"";

/// `4.41E+11` and its like: what a spreadsheet makes of long digits.
pub(super) fn is_scientific(text: &str) -> bool {
    let Some((mantissa, exponent)) = text.trim().split_once(['E', 'e']) else {
        return false;
    };
    let (whole, fraction) = mantissa.split_once(['.', ',']).unwrap_or((mantissa, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    whole.len() == 1 && digits(whole) && digits(fraction) && exponent.strip_prefix('+').is_some_and(digits)
}

/// Regions that are proposed before others which fit as well: many share a
/// numbering plan as far as lengths and first digits go.
const LIKELY: [&str; 6] = ["NL", "BE", "DE", "FR", "GB", "US"];

/// The region whose setting makes most of `numbers` valid, with how many; one
/// of the likely ones if that comes near. A guess: numbering plans look alike.
#[must_use]
pub fn suggest_region<'a>(numbers: impl IntoIterator<Item = &'a str>) -> Option<(String, usize)> {
    let numbers: Vec<&str> = numbers.into_iter().collect();
    let of_region = |region| {
        let valid = numbers.iter().filter(|number| e164(number, Some(region)).is_ok()).count();
        (region.to_string(), valid)
    };
    let regions: Vec<(String, usize)> = PHONE_NUMBER_UTIL.get_supported_regions().map(of_region).collect();
    let most = regions.iter().map(|(_, valid)| *valid).max().filter(|most| *most > 0)?;
    let near = regions.into_iter().filter(|(_, valid)| *valid == most || 10 * valid >= 9 * most);
    near.min_by_key(|(code, valid)| {
        let rank = LIKELY.iter().position(|likely| likely == code).unwrap_or(LIKELY.len());
        (rank, usize::MAX - valid, code.clone())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The answer without the short way.
    fn by_library(text: &str, region: Option<Region>) -> Option<String> {
        let number = PHONE_NUMBER_UTIL.parse(text, region).ok().filter(PhoneNumber::is_valid)?;
        Some(number.format_as(PhoneNumberFormat::E164).into_owned())
    }

    fn same_answer(text: &str) {
        for region in [None, region("NL"), region("US"), region("GB")] {
            assert_eq!(e164(text, region).ok(), by_library(text, region), "{text} {region:?}");
        }
    }

    #[test]
    fn what_only_looks_like_a_number_is_refused() {
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
            let said = e164(text, region(code)).expect_err(text).reason;
            assert!(said.contains(reason), "{text}: {said}");
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
            assert_eq!(e164(text, region(code)).as_deref(), Ok(number), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn the_short_way_leads_where_the_library_leads(
            code in proptest::sample::select(&PLAIN_CODES[..]), national in "[0-9]{4,12}"
        ) {
            same_answer(&format!("+{code}{national}"));
        }

        #[test]
        fn so_it_does_for_numbers_of_any_country(digits in "[0-9]{6,16}") {
            same_answer(&format!("+{digits}"));
        }
    }

    /// Random digits seldom make a number that exists: these do, and nearly do.
    #[test]
    fn so_it_does_for_every_kind_of_number_and_its_neighbours() {
        use rlibphonenumber::PhoneNumberType::{FixedLine, Mobile, PremiumRate, TollFree, VoIP};
        let mut clean = 0;
        for code in PLAIN_CODES.map(|code| code.parse().expect("a number")) {
            let region = PHONE_NUMBER_UTIL.get_region_for_country_code(code).expect("a region");
            for kind in [FixedLine, Mobile, PremiumRate, TollFree, VoIP] {
                let Ok(number) = PHONE_NUMBER_UTIL.get_example_number_for_type_and_region(region, kind)
                else {
                    continue;
                };
                let text = number.format_as(PhoneNumberFormat::E164).into_owned();
                clean += u32::from(is_clean(&text));
                for at in 1..text.len() {
                    let (head, tail) = (&text[..at], &text[at + 1..]);
                    for near in ["", "0", "1", "5", "8", "06"] {
                        let near = format!("{head}{near}{tail}");
                        assert_eq!(e164(&near, None).ok(), by_library(&near, None), "{near}");
                    }
                }
            }
        }
        assert!(clean > 40, "the short way is hardly ever taken: {clean}");
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
            let found = e164(text, code.and_then(region));
            assert_eq!(found.as_deref().ok(), expected, "{text:?} {code:?}: {found:?}");
        }
    }

    #[test]
    fn the_region_that_would_help_is_found() {
        let numbers = ["06-12345678", "06 23456789", "nonsense"];
        assert_eq!(suggest_region(numbers), Some(("NL".to_owned(), 2)));
        assert_eq!(suggest_region(["nonsense"]), None);
    }

    #[test]
    fn what_spreadsheets_do_to_long_digits_is_recognised() {
        for damaged in ["4E+11", "4.41E+11", "4,41e+11", "1.0E+05"] {
            assert!(is_scientific(damaged), "{damaged}");
        }
        for fine in ["E12", "1E5", "12.5E+3", "A1.2E+3", "2.5", "1.5E-3"] {
            assert!(!is_scientific(fine), "{fine}");
        }
    }
}
