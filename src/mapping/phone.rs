//! Telephone numbers: whatever people type becomes E.164 (ITU-T E.164, at
//! most 15 digits behind a `+`), or the reason why it cannot.

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat, enums::Region};

/// Why a text is no telephone number, and what would help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoPhone {
    pub(super) reason: &'static str,
    pub(super) hint: &'static str,
}

/// A region of libphonenumber by its ISO 3166-1 code, in any case.
pub(super) fn region(code: &str) -> Option<Region> {
    let wanted = Region::from_code(code.trim()).ok()?;
    PHONE_NUMBER_UTIL.get_supported_regions().find(|region| *region == wanted)
}

/// `text` as E.164. National numbers are those of `region`.
pub(super) fn e164(text: &str, region: Option<Region>) -> Result<String, NoPhone> {
    // Spreadsheets mark text with a leading apostrophe.
    let text = text.trim_start_matches('\'');
    if is_scientific(text) {
        return Err(NoPhone {
            reason: "a spreadsheet has turned it into a rounded number",
            hint: "export again with that column formatted as text; the digits are lost",
        });
    }
    let number = match PHONE_NUMBER_UTIL.parse(text, region) {
        Ok(number) => number,
        Err(_) if region.is_none() && !text.trim_start().starts_with('+') => {
            return Err(NoPhone {
                reason: "it has no country code",
                hint: "set region, for example telephone = { column = \"…\", region = \"NL\" }, or write it as +31…",
            });
        }
        Err(_) => {
            return Err(NoPhone { reason: "it cannot be read as a telephone number", hint: HINT });
        }
    };
    if !number.is_valid() {
        return Err(NoPhone {
            reason: "no such number can exist in its country's numbering plan",
            hint: HINT,
        });
    }
    Ok(number.format_as(PhoneNumberFormat::E164).into_owned())
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

/// The region whose setting makes most of `numbers` valid, with how many.
#[must_use]
pub fn suggest_region<'a>(numbers: impl IntoIterator<Item = &'a str>) -> Option<(String, usize)> {
    let numbers: Vec<&str> = numbers.into_iter().collect();
    PHONE_NUMBER_UTIL
        .get_supported_regions()
        .map(|region| {
            let valid = numbers.iter().filter(|number| e164(number, Some(region)).is_ok()).count();
            (region.to_string(), valid)
        })
        .filter(|(_, valid)| *valid > 0)
        .min_by_key(|(code, valid)| {
            let rank = LIKELY.iter().position(|likely| likely == code).unwrap_or(LIKELY.len());
            (usize::MAX - valid, rank, code.clone())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

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
