//! The region in which telephone numbers without a country code are national.

use rlibphonenumber::enums::Region;
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberFormat, PhoneNumberType};

use super::phone;

/// Numbers that are tried in every region.
const NUMBERS_IN_ALL: usize = 40;
/// Regions in which more numbers are tried, and how many.
const REGIONS_IN_DEPTH: usize = 12;
const NUMBERS_IN_DEPTH: usize = 400;

/// A number without a country code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NationalNumber<'a> {
    pub(crate) text: &'a str,
    /// Whether its column is called one of mobile numbers.
    pub(crate) is_called_mobile: bool,
}

/// How well a region fits.
#[derive(Debug, Clone)]
pub(crate) struct RegionFit {
    pub(crate) region: Region,
    /// Valid numbers.
    pub(crate) valid: usize,
    /// Numbers tried.
    pub(crate) numbers: usize,
    /// The share of valid numbers, and what speaks for the region besides.
    score: f64,
    /// Whether it may be proposed: a region of which many exports come, or for which
    /// something speaks besides the numbers.
    is_eligible: bool,
}

/// The least share of valid numbers in a region that is proposed.
const VALID_SHARE: f64 = 0.6;
/// How far the best region is ahead of the next.
const MARGIN: f64 = 0.1;
/// What has to speak for a region of which few exports come.
const HINT_MIN: f64 = 0.2;

/// The best of ranked regions, if it is ahead of the next by a clear margin.
pub(crate) fn clear_winner(ranked: &[RegionFit]) -> Option<&RegionFit> {
    let best = ranked.first().filter(|best| best.is_eligible && best.share() >= VALID_SHARE)?;
    let is_clear = ranked.get(1).is_none_or(|next| best.score - next.score >= MARGIN);
    is_clear.then_some(best)
}

impl RegionFit {
    fn share(&self) -> f64 {
        self.valid as f64 / self.numbers.max(1) as f64
    }
}

/// Regions in which some of the numbers are valid, the best first. `hint` is what
/// else speaks for a region, from 0 to 1.
pub(crate) fn rank_regions(numbers: &[NationalNumber], hint: impl Fn(Region) -> f64) -> Vec<RegionFit> {
    let fit = |region, numbers: &[NationalNumber]| RegionFit::new(region, numbers, hint(region));
    let few = spread(numbers, NUMBERS_IN_ALL);
    let regions = PHONE_NUMBER_UTIL.get_supported_regions();
    let mut fits: Vec<RegionFit> = regions.map(|region| fit(region, &few)).collect();
    let by_score = |a: &RegionFit, b: &RegionFit| b.score.total_cmp(&a.score);
    fits.retain(|fit| fit.valid > 0);
    fits.sort_by(by_score);
    fits.truncate(REGIONS_IN_DEPTH);
    if numbers.len() > few.len() {
        let many = spread(numbers, NUMBERS_IN_DEPTH);
        fits = fits.into_iter().map(|found| fit(found.region, &many)).collect();
        fits.sort_by(by_score);
    }
    fits
}

/// At most `count` of them, from all over the list.
fn spread<'a>(numbers: &[NationalNumber<'a>], count: usize) -> Vec<NationalNumber<'a>> {
    let step = numbers.len().div_ceil(count).max(1);
    numbers.iter().step_by(step).copied().collect()
}

/// Regions of which more exports come than of others.
const LIKELY: [&str; 12] = ["NL", "BE", "DE", "FR", "GB", "US", "CH", "AT", "LU", "IE", "ES", "IT"];

/// Of these, the regions in which people write a 0 before the area.
const WITH_ZERO: [&str; 8] = ["NL", "BE", "DE", "FR", "GB", "CH", "AT", "IE"];

/// What a number that is invalid in its own region costs: people make mistakes.
const MISTAKE: f64 = -3.5;

impl RegionFit {
    fn new(region: Region, numbers: &[NationalNumber], hint: f64) -> Self {
        let (mut valid, mut mobiles, mut grouping, mut grouped) = (0, 0, 0.0, 0);
        let (mut called_mobile, mut are_mobile, mut without_prefix) = (0, 0, 0);
        for number in numbers {
            called_mobile += usize::from(number.is_called_mobile);
            if !phone::is_valid(number.text, region) {
                continue;
            }
            let Ok(found) = PHONE_NUMBER_UTIL.parse(number.text, Some(region)) else { continue };
            valid += 1;
            let digits = number.text.trim_start_matches(|letter: char| !letter.is_ascii_digit());
            without_prefix += usize::from(!digits.starts_with('0'));
            let is_mobile =
                matches!(found.get_type(), PhoneNumberType::Mobile | PhoneNumberType::FixedLineOrMobile);
            mobiles += usize::from(is_mobile);
            are_mobile += usize::from(is_mobile && number.is_called_mobile);
            if let Some(fit) = grouping_fit(number.text, &found) {
                grouping += fit;
                grouped += 1;
            }
        }
        let mut fit = Self { region, valid, numbers: numbers.len(), score: 0.0, is_eligible: false };
        if valid == 0 {
            return fit;
        }
        let code = region.to_string();
        let is_likely = LIKELY.contains(&code.as_str());
        let without_prefix = if WITH_ZERO.contains(&code.as_str()) { without_prefix } else { 0 };
        fit.is_eligible = is_likely || hint >= HINT_MIN;
        // Customers have mobile numbers, unless there are only a few customers.
        let has_mobiles = mobiles > 0 || valid < 5;
        let by_mobiles = match called_mobile {
            0 if has_mobiles => 0.15,
            0 => 0.0,
            _ => 0.15 * are_mobile as f64 / called_mobile as f64,
        };
        // A plan in which nearly every number is valid explains little.
        let surprise = -chance_valid(region, numbers).ln();
        let evidence = valid as f64 * surprise + (numbers.len() - valid) as f64 * MISTAKE;
        fit.score = fit.share()
            + 0.3 * hint
            + if grouped > 0 { 0.25 * grouping / f64::from(grouped) } else { 0.0 }
            + by_mobiles
            + (0.03 * evidence).clamp(-0.1, 0.6)
            + if is_likely { 0.35 } else { 0.0 }
            - missing_zeros(without_prefix as f64 / valid as f64);
        fit
    }
}

/// What speaks against a region with a leading 0 if some numbers lack it. A
/// spreadsheet takes it from all of them.
fn missing_zeros(share: f64) -> f64 {
    if share > 0.95 { 0.12 } else { (2.0 * share).min(0.4) }
}

/// The share of numbers that are valid in a region if their digits are drawn by
/// lot, all but the first two.
fn chance_valid(region: Region, numbers: &[NationalNumber]) -> f64 {
    let mut random = fastrand::Rng::with_seed(1);
    let (mut valid, mut drawn) = (0, 0);
    for number in numbers.iter().cycle().take(NUMBERS_IN_ALL) {
        let mut digits = 0;
        let text: String = number
            .text
            .chars()
            .map(|letter| {
                digits += usize::from(letter.is_ascii_digit());
                if letter.is_ascii_digit() && digits > 2 { random.char('0'..='9') } else { letter }
            })
            .collect();
        valid += usize::from(phone::is_valid(&text, region));
        drawn += 1;
    }
    f64::from(u32::try_from(valid).unwrap_or_default() + 1) / f64::from(drawn + 2)
}

/// Whether the digits are grouped as the region groups them: all groups, or the
/// first one. Nothing if there is one group.
fn grouping_fit(text: &str, number: &PhoneNumber) -> Option<f64> {
    let groups = |text: &str| -> Vec<usize> {
        let groups = text.split(|letter: char| !letter.is_ascii_digit());
        groups.map(str::len).filter(|len| *len > 0).collect()
    };
    let own = groups(text);
    let usual = groups(&number.format_as(PhoneNumberFormat::National));
    match own.as_slice() {
        [] | [_] => None,
        _ if own == usual => Some(1.0),
        _ if own.first() == usual.first() => Some(0.5),
        _ => Some(0.0),
    }
}

/// The region that fits best, and how many of `numbers` are valid there. A guess:
/// numbering plans resemble each other.
pub(crate) fn suggest_region<'a>(numbers: impl IntoIterator<Item = &'a str>) -> Option<(String, usize)> {
    let number = |text| NationalNumber { text, is_called_mobile: false };
    let numbers: Vec<NationalNumber> = numbers.into_iter().map(number).collect();
    let best = rank_regions(&numbers, |_| 0.0).into_iter().next()?;
    Some((best.region.to_string(), best.valid))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of a shape: `x` is any digit, and `a-b` one of that range.
    fn numbers(shapes: &[&str], count: usize, seed: u64) -> Vec<String> {
        let mut random = fastrand::Rng::with_seed(seed);
        (0..count)
            .map(|_| {
                let shape = shapes[random.usize(..shapes.len())];
                shape.chars().map(|c| if c == 'x' { random.char('0'..='9') } else { c }).collect()
            })
            .collect()
    }

    const SHAPES: [(&str, &[&str]); 9] = [
        ("NL", &["06-12xxxxxx", "06 4xxxxxxx", "020-6xxxxxx", "(010) 4xx xx xx", "0182-xxxxxx"]),
        (
            "BE",
            &[
                "0478 xx xx xx",
                "0496 xx xx xx",
                "0468/xx.xx.xx",
                "02 5xx xx xx",
                "03 2xx xx xx",
                "09 2xx xx xx",
                "016 2x xx xx",
            ],
        ),
        (
            "DE",
            &["0151 2xxxxxxx", "0171 3xxxxxx", "0176/2xxxxxxx", "030 2xxxxxx", "089 5xxxxxx", "0221/4xxxxxx"],
        ),
        ("FR", &["06 1x xx xx xx", "07.8x.xx.xx.xx", "01 4x xx xx xx", "04 7x xx xx xx", "02-9x-xx-xx-xx"]),
        (
            "CH",
            &[
                "079 2xx xx xx",
                "078 6xx xx xx",
                "076 3xx xx xx",
                "044 3xx xx xx",
                "031 3xx xx xx",
                "022 7xx xx xx",
            ],
        ),
        ("GB", &["07400 xxxxxx", "07911 12xxxx", "020 7946 0xxx", "0161 496 0xxx", "01223 3xxxxx"]),
        ("AT", &["0664 2xxxxxx", "0676 3xxxxxx", "0699 1xxxxxxx", "01 5xxxxxx", "0316 7xxxxx"]),
        ("ES", &["612 xxx xxx", "655 xx xx xx", "91 4xx xx xx", "934 xx xx xx"]),
        ("IT", &["347 2xxxxxx", "333 4xxxxxx", "06 4xxxxxxx", "02 7xxxxxxx"]),
    ];

    fn winner(texts: &[String]) -> Option<String> {
        let numbers: Vec<NationalNumber> =
            texts.iter().map(|text| NationalNumber { text, is_called_mobile: false }).collect();
        clear_winner(&rank_regions(&numbers, |_| 0.0)).map(|fit| fit.region.to_string())
    }

    #[test]
    fn numbers_as_people_write_them_show_their_region() {
        for (code, shapes) in SHAPES.into_iter().filter(|(code, _)| *code != "IT") {
            for count in [8, 30] {
                assert_eq!(winner(&numbers(shapes, count, 7)).as_deref(), Some(code), "{count}");
            }
        }
    }

    #[test]
    fn bare_digits_show_their_region_or_none() {
        for (code, shapes) in SHAPES {
            for count in [3, 8, 30] {
                let digits = |text: String| text.chars().filter(char::is_ascii_digit).collect();
                let texts: Vec<String> = numbers(shapes, count, 3).into_iter().map(digits).collect();
                let found = winner(&texts);
                assert!(found.as_deref().is_none_or(|found| found == code), "{code} {count}: {found:?}");
            }
        }
    }

    #[test]
    fn a_few_valid_numbers_suggest_a_region() {
        assert_eq!(suggest_region(["06-12345678", "06 23456789", "nonsense"]), Some(("NL".to_owned(), 2)));
        assert_eq!(suggest_region(["nonsense"]), None);
    }
}
