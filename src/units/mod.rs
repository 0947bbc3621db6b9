//! Values with a unit, as the configuration and the command line write them:
//! `5/s`, `20` or `1%`, `30s`.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

macro_rules! convert_strings {
    ($($unit:ty),*) => {$(
        impl TryFrom<String> for $unit {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }
        impl From<$unit> for String {
            fn from(unit: $unit) -> String {
                unit.to_string()
            }
        }
    )*};
}
use convert_strings;

mod local_clock;
mod rate_schedule;

pub(crate) use local_clock::{TimeOfDay, check_zone, next_at};
pub(crate) use rate_schedule::RateSpan;
pub use rate_schedule::{RateSchedule, RateTimeline};

/// Requests in a unit of time: `5/s`, `90/min`, `1000/h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = r"^\s*\d+\s*/\s*(s|sec|second|m|min|minute|h|hour)\s*$"))]
pub struct Rate {
    /// 1 to 1 000 000.
    pub(crate) calls: NonZeroU32,
    /// A second, a minute or an hour.
    pub(crate) per: Duration,
}

/// No clock of an operating system keeps a higher rate.
const RATE_CALLS_MAX: u32 = 1_000_000;

impl Rate {
    pub(crate) fn per_second(self) -> f64 {
        f64::from(self.calls.get()) / self.per.as_secs_f64()
    }

    /// The higher of both.
    pub(crate) fn max(self, other: Self) -> Self {
        if self.per_second() < other.per_second() { other } else { self }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || {
            format!("{text:?} is no rate; write a whole number and a unit: \"5/s\", \"90/min\" or \"1000/h\"")
        };
        let (calls, unit) = text.split_once('/').ok_or_else(invalid)?;
        let per = match unit.trim() {
            "s" | "sec" | "second" => 1,
            "min" | "m" | "minute" => 60,
            "h" | "hour" => 3600,
            _ => return Err(invalid()),
        };
        let calls: NonZeroU32 = calls.trim().parse().map_err(|_| invalid())?;
        if calls.get() > RATE_CALLS_MAX {
            return Err(format!("{text:?} is above the highest rate, {RATE_CALLS_MAX} in a unit"));
        }
        Ok(Self { calls, per: Duration::from_secs(per) })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let unit = match self.per.as_secs() {
            1 => "s",
            60 => "min",
            _ => "h",
        };
        write!(out, "{}/{unit}", self.calls)
    }
}

/// A bound as a count (`20`) or as a share (`"1%"`).
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "Value", into = "String")]
pub enum Amount {
    Count(u64),
    /// 0 to 100.
    Percent(f64),
}

impl Amount {
    /// This bound as a count in `whole`, rounded down.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count below 2^53, at least zero"
    )]
    pub(crate) fn count_in(self, whole: u64) -> u64 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => (whole as f64 * percent / 100.0).floor() as u64,
        }
    }
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid =
            || format!("{text:?} is no amount; write a count such as 20, or a share such as \"1%\"");
        match text.trim().strip_suffix('%') {
            None => text.trim().parse().map(Self::Count).map_err(|_| invalid()),
            Some(share) => match share.trim().parse::<f64>() {
                Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Self::Percent(percent)),
                _ => Err(invalid()),
            },
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Count(count) => write!(out, "{count}"),
            Self::Percent(percent) => write!(out, "{percent}%"),
        }
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A count such as 20, or a share such as \"1%\".",
            "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*%?\s*$" }],
        })
    }
}

impl TryFrom<Value> for Amount {
    type Error = String;

    /// A bare number reads like its text. A table is not quoted, since somebody may
    /// have put the API key there.
    fn try_from(value: Value) -> Result<Self, String> {
        match value {
            Value::String(text) => text.parse(),
            Value::Number(number) => number.to_string().parse(),
            _ => Err("it is no amount; write a count such as 20, or a share such as \"1%\"".to_owned()),
        }
    }
}

/// A number as people read it: `1,234,567`.
pub(crate) struct Count(pub(crate) u64);

impl fmt::Display for Count {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let digits = self.0.to_string();
        let grouped = digits.char_indices().fold(String::new(), |mut text, (at, digit)| {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
            text
        });
        out.pad(&grouped)
    }
}

/// The start of a text, of so many characters, for a message.
pub(crate) fn shorten(text: &str, chars_max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(chars_max) {
        Some((cut, _)) => format!("{}…", &text[..cut]).into(),
        None => text.into(),
    }
}

/// The time after this one, if a calendar has it.
pub(crate) fn time_after(wait: Duration) -> Option<Timestamp> {
    Timestamp::now().checked_add(wait).ok()
}

/// Whole minutes since a time in RFC 3339; 0 if that is later than now.
pub(crate) fn minutes_since(start: &str) -> u32 {
    let start: Option<Timestamp> = start.parse().ok();
    let seconds = start.map_or(0, |start| Timestamp::now().as_second() - start.as_second());
    u32::try_from(seconds / 60).unwrap_or_default()
}

/// So many minutes after a time in RFC 3339.
pub(crate) fn minutes_after(start: &str, minutes: u32) -> Option<Timestamp> {
    let start: Timestamp = start.parse().ok()?;
    start.checked_add(SignedDuration::from_mins(minutes.into())).ok()
}

/// A time as the local clock shows it.
pub(crate) fn local_time(time: Timestamp) -> String {
    time.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// An error with its causes, on one line.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    for cause in causes.map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// `1 row`, `1,050 rows`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    pluralize(number, noun, &format!("{noun}s"))
}

/// `1 row has`, `1,050 rows have`.
pub(crate) fn pluralize(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", Count(number), if number == 1 { one } else { many })
}

/// A share of a whole: `"50%"`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = r"^\s*\d+(\.\d+)?\s*%\s*$"))]
pub struct Share {
    /// 0 to 100.
    pub(crate) percent: f64,
}

impl Share {
    /// This share of `whole`, rounded down.
    pub(crate) fn count_in(self, whole: u64) -> u64 {
        Amount::Percent(self.percent).count_in(whole)
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(Amount::Percent(percent)) => Ok(Self { percent }),
            _ => Err(format!("{text:?} is no share; write one such as \"50%\"")),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{}%", self.percent)
    }
}

/// A length of time: `30s`, `1500ms`, `1h 30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Period(pub(crate) Duration);

/// A longer time is a typing error, and would overflow clocks.
const PERIOD_MAX: Duration = Duration::from_secs(366 * 86_400);

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<jiff::SignedDuration>()
            .ok()
            .and_then(|period| Duration::try_from(period).ok())
            .filter(|period| *period <= PERIOD_MAX)
            .map(Self)
            .ok_or_else(|| {
                format!("{text:?} is no length of time up to a year; write \"30s\", \"1500ms\" or \"1h 30m\"")
            })
    }
}

impl fmt::Display for Period {
    /// For people: two units at most.
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
        match (days, hours, minutes, seconds % 60) {
            (0, 0, 0, 0) => write!(out, "{} ms", self.0.as_millis()),
            (0, 0, 0, s) => write!(out, "{s} s"),
            (0, 0, m, s) => write!(out, "{m} min {s:02} s"),
            (0, h, m, _) => write!(out, "{h} h {m:02} min"),
            (d, h, _, _) => write!(out, "{d} d {h:02} h"),
        }
    }
}

convert_strings!(Rate, Period, Share);

impl From<Amount> for String {
    fn from(amount: Amount) -> String {
        amount.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_a_unit() {
        let rate: Rate = "90/min".parse().expect("a rate");
        assert_eq!((rate.calls.get(), rate.per), (90, Duration::from_secs(60)));
        for invalid in ["5", "0/s", "-1/s", "1.5/s", "5/day", "/s", "2000000/s"] {
            assert!(invalid.parse::<Rate>().is_err(), "{invalid}");
        }
        assert_eq!("20000/s".parse::<Rate>().expect("a rate").to_string(), "20000/s");
    }

    #[test]
    fn amounts_are_counts_or_shares() {
        assert_eq!("20".parse::<Amount>().expect("a count").count_in(5), 20);
        assert_eq!("1%".parse::<Amount>().expect("a share").count_in(250), 2);
        assert_eq!("0.5%".parse::<Amount>().expect("a share").count_in(1000), 5);
        for invalid in ["", "%", "-1", "101%", "many"] {
            assert!(invalid.parse::<Amount>().is_err(), "{invalid}");
        }
    }

    #[test]
    fn a_share_is_no_count() {
        let share: Share = "12.5%".parse().expect("a share");
        assert_eq!((share.count_in(80), share.to_string().as_str()), (10, "12.5%"));
        assert!("12".parse::<Share>().is_err() && "101%".parse::<Share>().is_err());
    }

    #[test]
    fn periods_are_read_and_shown() {
        let cases = [
            ("30s", "30 s"),
            ("1500ms", "1 s"),
            ("200ms", "200 ms"),
            ("5h", "5 h 00 min"),
            ("90s", "1 min 30 s"),
            ("50h", "2 d 02 h"),
        ];
        for (text, shown) in cases {
            assert_eq!(text.parse::<Period>().expect("a period").to_string(), shown);
        }
        assert!("-3s".parse::<Period>().is_err());
        assert!("soon".parse::<Period>().is_err());
        assert!("99999999999h".parse::<Period>().is_err());
    }
}
