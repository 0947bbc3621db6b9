//! Times of day by the clock on the wall.

use std::fmt;
use std::str::FromStr;

use jiff::ZonedDateTime;
use jiff::civil::Time;
use jiff::tz::AmbiguousOffset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A time of day: `06:00`, `6:00`, or `24:00` for midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay(pub(crate) Time);

impl FromStr for TimeOfDay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let padded = match text {
            "24:00" => "00:00".to_owned(),
            _ if text.find(':') == Some(1) => format!("0{text}"),
            _ => text.to_owned(),
        };
        padded.parse().map(Self).map_err(|_| "it is no time of day; write it as \"06:00\"".to_owned())
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let format = if self.0.second() == 0 { "%H:%M" } else { "%H:%M:%S" };
        write!(out, "{}", self.0.strftime(format))
    }
}

super::convert_strings!(TimeOfDay);

/// A zone that is named and unknown would pass for UTC, hours off.
pub(crate) fn check_zone() -> Result<(), String> {
    match std::env::var("TZ") {
        Ok(zone) if !zone.is_empty() && ZonedDateTime::now().time_zone().is_unknown() => {
            Err(format!("the time zone TZ={zone:?} is not known here; is the package tzdata installed?"))
        }
        _ => Ok(()),
    }
}

/// The next time that the local clock shows `time`, or passes it where it is
/// put forward. Where it is put back, it shows some times twice.
pub(crate) fn next_at(time: TimeOfDay, now: &ZonedDateTime) -> Result<ZonedDateTime, jiff::Error> {
    let zone = now.time_zone();
    let mut date = now.date();
    loop {
        let found = zone.to_ambiguous_zoned_datetime(date.to_datetime(time.0));
        let moments = match found.offset() {
            AmbiguousOffset::Gap { .. } => {
                let before = found.earlier()?;
                let jump = zone.following(before.timestamp()).next();
                vec![jump.map_or(before, |jump| jump.timestamp().to_zoned_datetime(zone.clone()))]
            }
            AmbiguousOffset::Fold { .. } => vec![found.clone().earlier()?, found.later()?],
            AmbiguousOffset::Unambiguous { .. } => vec![found.compatible()?],
        };
        if let Some(moment) = moments.into_iter().find(|moment| moment > now) {
            return Ok(moment);
        }
        date = date.tomorrow()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use jiff::tz::TimeZone;

    /// Amsterdam, without a time zone database: 2026 from 29 March to 25 October.
    fn amsterdam() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a time zone")
    }

    fn minutes_until(now: ZonedDateTime, time: &str) -> i64 {
        let next = next_at(time.parse().expect("a time"), &now).expect("a moment");
        now.duration_until(&next).as_mins()
    }

    #[test]
    fn an_hour_may_have_one_digit() {
        for (text, shown) in [("6:00", "06:00"), ("06:30", "06:30"), ("23:59", "23:59"), ("24:00", "00:00")] {
            assert_eq!(text.parse::<TimeOfDay>().expect("a time").to_string(), shown);
        }
        for invalid in ["6", "25:00", "", "24:01"] {
            assert!(invalid.parse::<TimeOfDay>().is_err(), "{invalid}");
        }
    }

    #[test]
    fn the_local_clock_shows_the_time_today_or_tomorrow() {
        let evening = date(2026, 11, 23).at(22, 0, 0, 0).to_zoned_datetime(amsterdam()).expect("a time");
        assert_eq!(minutes_until(evening.clone(), "23:30"), 90);
        assert_eq!(minutes_until(evening.clone(), "05:30"), 450);
        // Just now is over: the window is a day long, and not closed at once.
        assert_eq!(minutes_until(evening, "22:00"), 1440);
    }

    #[test]
    fn a_night_in_which_the_clock_jumps_is_shorter_or_longer() {
        let at = |month, day, hour, minute| {
            let local = date(2026, month, day).at(hour, minute, 0, 0);
            local.to_zoned_datetime(amsterdam()).expect("a time")
        };
        // From 02:00 the clock goes to 03:00: a quarter past one is 3 h 15 before 05:30.
        assert_eq!(minutes_until(at(3, 29, 1, 15), "05:30"), 195);
        // 02:30 is never shown: it is over at the jump.
        assert_eq!(minutes_until(at(3, 29, 1, 15), "02:30"), 45);
        assert_eq!(minutes_until(at(3, 29, 3, 0), "02:30"), 1410);
        // From 03:00 it goes back to 02:00, and shows 02:30 twice.
        assert_eq!(minutes_until(at(10, 25, 1, 15), "05:30"), 315);
        assert_eq!(minutes_until(at(10, 25, 1, 15), "02:30"), 75);
        assert_eq!(minutes_until(at(10, 25, 2, 40), "02:30"), 50);
    }
}
