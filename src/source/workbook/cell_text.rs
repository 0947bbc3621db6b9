//! The text of a cell, as the sheet shows it.
//!
//! Numbers follow the format of their cell in digits and signs: `000000` shows
//! 501 as `000501`. They have a decimal point and no separators of thousands,
//! whatever the language. Dates are `2026-11-27` or `2026-11-27 14:30:00`.

use calamine::{DataRef, ExcelDateTime, Style};

/// How a cell shows a number.
#[derive(Debug, PartialEq)]
pub(super) enum CellFormat {
    /// As it is written.
    General,
    /// `1.5E+05`.
    Scientific,
    /// Signs and places of digits.
    Digits {
        whole: Vec<FormatPart>,
        fraction: Vec<FormatPart>,
        is_percent: bool,
    },
    Date(DateParts),
}

/// A sign of a format, or a place for a digit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum FormatPart {
    /// `0`: a digit, or a zero.
    Zero,
    /// `#` and `?`: a digit, if there is one.
    Digit,
    Sign(char),
}

/// What a format shows of a point in time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum DateParts {
    Date,
    Time,
    Both,
}

/// From here on a number has more digits than a spreadsheet keeps.
const ROUNDED_MIN: f64 = 1e15;

/// Whether a number has lost digits.
pub(super) fn is_rounded(value: &DataRef) -> bool {
    matches!(value, DataRef::Float(number) if number.abs() >= ROUNDED_MIN)
}

impl CellFormat {
    pub(super) fn of_style(style: &Style) -> Self {
        style.number_format.as_ref().map_or(Self::General, |format| Self::parse(&format.format_code))
    }

    /// Reads the first part of a format, which is the one for positive numbers. A
    /// format that is not understood shows a number as it is.
    fn parse(code: &str) -> Self {
        let (mut places, mut point, mut is_percent) = (Vec::new(), None, false);
        let (mut has_date, mut has_month, mut has_time, mut is_other) = (false, false, false, false);
        let mut letters = code.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                ';' => break,
                '"' => places.extend(letters.by_ref().take_while(|sign| *sign != '"').map(FormatPart::Sign)),
                '\\' => places.extend(letters.next().map(FormatPart::Sign)),
                // The width of a letter, and one that fills the cell.
                '_' | '*' => drop(letters.next()),
                '[' => {
                    let text: String = letters.by_ref().take_while(|sign| *sign != ']').collect();
                    match text.strip_prefix('$') {
                        Some(currency) => {
                            let sign = currency.split('-').next().unwrap_or_default();
                            places.extend(sign.chars().map(FormatPart::Sign));
                        }
                        None => is_other |= text.starts_with(['<', '>', '=']),
                    }
                }
                '0' => places.push(FormatPart::Zero),
                '#' | '?' => places.push(FormatPart::Digit),
                '.' if point.is_none() => point = Some(places.len()),
                // Behind the last digit it divides by a thousand.
                ',' => is_other |= !letters.peek().is_some_and(|next| "0#?".contains(*next)),
                '%' => {
                    places.push(FormatPart::Sign('%'));
                    is_percent = true;
                }
                'E' | 'e' if letters.peek().is_some_and(|next| "+-".contains(*next)) => {
                    return Self::Scientific;
                }
                'y' | 'Y' | 'd' | 'D' => has_date = true,
                'm' | 'M' => has_month = true,
                'h' | 'H' | 's' | 'S' => has_time = true,
                '/' | '@' => is_other = true,
                letter if letter.is_alphabetic() => is_other = true,
                sign => places.push(FormatPart::Sign(sign)),
            }
        }
        let has_digit = places.iter().any(|place| !matches!(place, FormatPart::Sign(_)));
        let fraction = point.map_or_else(Vec::new, |point| places.split_off(point));
        match (has_date || has_month && !has_time, has_time) {
            (true, true) => Self::Date(DateParts::Both),
            (true, false) => Self::Date(DateParts::Date),
            (false, true) => Self::Date(DateParts::Time),
            _ if is_other || !has_digit => Self::General,
            _ => Self::Digits { whole: places, fraction, is_percent },
        }
    }

    pub(super) fn text(&self, value: &DataRef) -> String {
        let text = match value {
            DataRef::Empty => return String::new(),
            DataRef::String(text) => text.clone(),
            DataRef::SharedString(text) => (*text).to_owned(),
            DataRef::Bool(is_true) => if *is_true { "TRUE" } else { "FALSE" }.to_owned(),
            DataRef::Error(error) => error.to_string(),
            DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.clone(),
            DataRef::Int(number) => self.number_text(*number as f64),
            DataRef::Float(number) => self.number_text(*number),
            DataRef::DateTime(time) => self.time_text(time),
        };
        // It ends rows.
        text.replace(char::from(super::RECORD_SEPARATOR), " ")
    }

    fn number_text(&self, number: f64) -> String {
        match self {
            // Digits that are lost must look so, whatever the format.
            _ if number.abs() >= ROUNDED_MIN => scientific(number),
            Self::Scientific => scientific(number),
            Self::Digits { whole, fraction, is_percent } => {
                let number = if *is_percent { number * 100.0 } else { number };
                let places = fraction.iter().filter(|place| !matches!(place, FormatPart::Sign(_))).count();
                let decimal = Decimal::new(number, Some(places));
                decimal.in_places(whole, fraction)
            }
            Self::General | Self::Date(_) => {
                let Decimal { is_negative, whole, fraction } = Decimal::new(number, None);
                let sign = if is_negative { "-" } else { "" };
                let point = if fraction.is_empty() { "" } else { "." };
                format!("{sign}{whole}{point}{fraction}")
            }
        }
    }

    fn time_text(&self, time: &ExcelDateTime) -> String {
        let seconds = (time.as_f64() * SECONDS_A_DAY).round();
        if time.is_duration() {
            let (sign, seconds) = (if seconds < 0.0 { "-" } else { "" }, seconds.abs() as u64);
            return format!("{sign}{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
        }
        if !(0.0..=SECONDS_MAX).contains(&seconds) {
            return Self::General.number_text(time.as_f64());
        }
        let (year, month, day, hour, minute, second, _) = time.to_ymd_hms_milli();
        let date = format!("{year:04}-{month:02}-{day:02}");
        let clock = format!("{hour:02}:{minute:02}:{second:02}");
        let has_clock = seconds % SECONDS_A_DAY != 0.0;
        match self {
            Self::Date(DateParts::Date) => date,
            Self::Date(DateParts::Time) => clock,
            Self::Date(DateParts::Both) => format!("{date} {clock}"),
            _ if has_clock => format!("{date} {clock}"),
            _ => date,
        }
    }
}

const SECONDS_A_DAY: f64 = 86400.0;
/// Up to the last day of the year 9999.
const SECONDS_MAX: f64 = 2_958_466.0 * SECONDS_A_DAY - 1.0;

/// Digits of a number that a spreadsheet keeps.
const DIGITS: usize = 15;

/// `1E+05`: how a spreadsheet shows a long number.
fn scientific(number: f64) -> String {
    let text = format!("{:.*e}", DIGITS - 1, number);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
    let (sign, exponent) = exponent.strip_prefix('-').map_or(("+", exponent), |digits| ("-", digits));
    format!("{mantissa}E{sign}{exponent:0>2}")
}

/// A number in decimal digits, rounded as a spreadsheet rounds.
struct Decimal {
    is_negative: bool,
    whole: String,
    fraction: String,
}

impl Decimal {
    /// With so many decimals, or with those that it has.
    fn new(number: f64, decimals: Option<usize>) -> Self {
        let text = format!("{:.*e}", DIGITS - 1, number.abs());
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let mut digits: Vec<u8> = mantissa.bytes().filter(|byte| *byte != b'.').collect();
        // Digits before the decimal point.
        let mut point = exponent.parse::<i32>().unwrap_or_default() + 1;
        while point < 1 {
            digits.insert(0, b'0');
            point += 1;
        }
        let mut point = point.unsigned_abs() as usize;
        digits.resize(digits.len().max(point), b'0');
        if let Some(decimals) = decimals {
            let cut = point + decimals;
            let rounds_up = digits.get(cut).is_some_and(|digit| *digit >= b'5');
            digits.resize(cut, b'0');
            if rounds_up && !add_one(&mut digits) {
                digits.insert(0, b'1');
                point += 1;
            }
        }
        let fraction = String::from_utf8_lossy(&digits[point..]).into_owned();
        let is_negative = number < 0.0 && digits.iter().any(|digit| *digit != b'0');
        let whole = String::from_utf8_lossy(&digits[..point]).trim_start_matches('0').to_owned();
        match decimals {
            Some(_) => Self { is_negative, whole, fraction },
            None => Self {
                is_negative,
                whole: if whole.is_empty() { "0".to_owned() } else { whole },
                fraction: fraction.trim_end_matches('0').to_owned(),
            },
        }
    }

    /// Fills the places of a format: the whole digits from the right, and what is
    /// more at the first place.
    fn in_places(&self, whole: &[FormatPart], fraction: &[FormatPart]) -> String {
        let (mut text, mut digits) = (Vec::new(), self.whole.chars().rev());
        let first_zero = whole.iter().position(|place| *place == FormatPart::Zero).unwrap_or(whole.len());
        let first = whole.iter().position(|place| !matches!(place, FormatPart::Sign(_)));
        for (at, place) in whole.iter().enumerate().rev() {
            match place {
                FormatPart::Sign(sign) => text.push(*sign),
                FormatPart::Zero | FormatPart::Digit => {
                    text.extend(digits.next().or((at >= first_zero).then_some('0')));
                }
            }
            if Some(at) == first {
                text.extend(digits.by_ref());
            }
        }
        text.extend(self.is_negative.then_some('-'));
        let mut text: String = text.into_iter().rev().collect();
        let needed = fraction.iter().rposition(|place| *place == FormatPart::Zero);
        let last = self.fraction.trim_end_matches('0').len();
        let mut digits = self.fraction.chars().enumerate();
        let mut behind = String::new();
        for (at, place) in fraction.iter().enumerate() {
            match place {
                FormatPart::Sign(sign) => behind.push(*sign),
                _ => {
                    let digit = digits.next().filter(|(nth, _)| *nth < last || Some(at) <= needed);
                    behind.extend(digit.map(|(_, digit)| digit));
                }
            }
        }
        if behind.starts_with(|first: char| first.is_ascii_digit()) {
            text.push('.');
        }
        text.push_str(&behind);
        text.trim().to_owned()
    }
}

/// Adds one to the last digit; `false` if there is no digit takes the carry.
fn add_one(digits: &mut [u8]) -> bool {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return true;
        }
        *digit = b'0';
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use calamine::ExcelDateTimeType;

    fn number(code: &str, number: f64) -> String {
        CellFormat::parse(code).text(&DataRef::Float(number))
    }

    fn time(code: &str, value: f64) -> String {
        let time = ExcelDateTime::new(value, ExcelDateTimeType::DateTime, false);
        CellFormat::parse(code).text(&DataRef::DateTime(time))
    }

    #[test]
    fn numbers_have_the_digits_that_the_sheet_shows() {
        for (code, value, text) in [
            ("General", 501.0, "501"),
            ("General", 0.0, "0"),
            ("General", -12.5, "-12.5"),
            ("General", 0.1 + 0.2, "0.3"),
            ("General", 31_612_345_678.0, "31612345678"),
            ("General", 123_456_789_012_345.0, "123456789012345"),
            ("General", 0.000_012, "0.000012"),
            ("000000", 501.0, "000501"),
            ("000000", 1_234_567.0, "1234567"),
            ("0", 2.5, "3"),
            ("0", 999.5, "1000"),
            ("0.00", 1.005, "1.01"),
            ("0.00", 12.0, "12.00"),
            ("0.0#", 12.5, "12.5"),
            ("0.##", 12.0, "12"),
            ("#,##0.00", 1_234.5, "1234.50"),
            ("#,##0.00", -0.001, "0.00"),
            ("#,##0.00;[Red]-#,##0.00", -1_234.5, "-1234.50"),
            ("0%", 0.25, "25%"),
            ("0.0%", 0.255, "25.5%"),
            ("0#########", 612_345_678.0, "0612345678"),
            ("\"+\"0", 31_612_345_678.0, "+31612345678"),
            ("\"KL-\"000000", 501.0, "KL-000501"),
            ("00\\-00", 123.0, "01-23"),
            ("000-000", 12_345.0, "012-345"),
            ("[$\u{20ac}-413]\\ #,##0.00", 5.0, "\u{20ac} 5.00"),
            ("_(* #,##0_);_(* (#,##0);_(* \"-\"_);_(@_)", 7.0, "7"),
            ("#", 0.0, ""),
            ("@", 501.0, "501"),
            ("# ?/?", 0.5, "0.5"),
            ("0,", 1_234.0, "1234"),
            ("[<100]0.0;0", 5.0, "5"),
        ] {
            assert_eq!(number(code, value), text, "{code} of {value}");
        }
    }

    #[test]
    fn a_number_that_lost_digits_looks_so() {
        assert_eq!(number("0", 1_234_567_890_123_450.0), "1.23456789012345E+15");
        assert_eq!(number("General", -1e20), "-1E+20");
        assert_eq!(number("0.00E+00", 100_000.0), "1E+05");
        assert_eq!(number("0.00E+00", 123_456.0), "1.23456E+05");
        assert_eq!(number("##0.0E+0", 0.000_5), "5E-04");
        assert!(is_rounded(&DataRef::Float(1e15)) && !is_rounded(&DataRef::Float(1e15 - 1.0)));
    }

    #[test]
    fn dates_and_times_are_written_as_by_iso_8601() {
        assert_eq!(time("dd-mm-yyyy", 46_353.0), "2026-11-27");
        assert_eq!(time("mmm-yy", 46_353.25), "2026-11-27");
        assert_eq!(time("d/m/yyyy h:mm", 46_353.0), "2026-11-27 00:00:00");
        assert_eq!(time("[$-413]d mmmm yyyy;@", 46_353.0), "2026-11-27");
        assert_eq!(time("h:mm AM/PM", 46_353.604_166_666_664), "14:30:00");
        assert_eq!(time("mm:ss", 0.5), "12:00:00");
        // Of a format that depends on the language only the number is known.
        assert_eq!(time("General", 46_353.5), "2026-11-27 12:00:00");
        assert_eq!(time("yyyy-mm-dd", -1.0), "-1");
        let hours = ExcelDateTime::new(1.5, ExcelDateTimeType::TimeDelta, false);
        assert_eq!(CellFormat::General.text(&DataRef::DateTime(hours)), "36:00:00");
    }
}
