//! The time that a run may take, and how much of its work fits into that.
//!
//! A run ends before its window does: nothing new starts once a call that began
//! now could still be on its way at the end, and calls on their way then are cut
//! off. That is as safe as a kill, and the next run resumes there.

use std::time::{Duration, Instant};

use jiff::ZonedDateTime;
use jiff::civil::Time;
use jiff::tz::AmbiguousOffset;
use serde::Serialize;

use super::error::PlanError;
use crate::units::{Count, Rate};

/// Kept for the checkpoint, the result files and the notification.
const ENDING_MAX: Duration = Duration::from_secs(10);
/// Of a short window they get no more than this share …
const ENDING_SHARE: u32 = 20;
/// … and calls on their way no more than this one.
const DRAIN_SHARE: u32 = 4;

/// From the start of the program to the moment at which it has to be over.
#[derive(Debug)]
pub(crate) struct Window {
    opened: Instant,
    length: Duration,
    /// For people: nothing follows the wall clock once the run has begun.
    closes: ZonedDateTime,
}

/// How much of the work fits into one window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct WindowFit {
    /// Its end, local time.
    closes: String,
    /// Calls that can be made before it.
    calls: u64,
    calls_total: u64,
    /// About so many rows, if their calls are spread evenly.
    rows: u64,
    rows_total: u64,
    /// Windows of this length that all of it takes; none if nothing fits.
    windows: Option<u64>,
}

impl Window {
    /// The nearer of both bounds, if there is one.
    pub(crate) fn new(
        max_duration: Option<Duration>,
        stop_at: Option<Time>,
        opened: Instant,
    ) -> Result<Option<Self>, PlanError> {
        let now = ZonedDateTime::now();
        let wrong = |error: jiff::Error| PlanError::Usage(format!("the time window: {error}"));
        let mut ends = Vec::new();
        if let Some(most) = max_duration {
            ends.push(now.checked_add(most).map_err(wrong)?);
        }
        if let Some(time) = stop_at {
            check_zone(&now)?;
            ends.push(next_at(time, &now).map_err(wrong)?);
        }
        Ok(ends.into_iter().min().map(|closes| {
            let length = Duration::try_from(now.duration_until(&closes)).unwrap_or_default();
            Self { opened, length, closes }
        }))
    }

    /// How long calls may be on their way from now on.
    pub(crate) fn time_for_work(&self) -> Duration {
        let ending = (self.length / ENDING_SHARE).min(ENDING_MAX);
        (self.length - ending).saturating_sub(self.opened.elapsed())
    }

    /// How long calls may begin from now on, if one takes `timeout` at most.
    pub(crate) fn time_for_new(&self, timeout: Duration) -> Duration {
        self.time_for_work().saturating_sub(timeout.min(self.length / DRAIN_SHARE))
    }

    /// How much of `calls`, which `rows` rows ask for, fits.
    pub(crate) fn fit(&self, rate: Rate, timeout: Duration, calls: u64, rows: u64) -> WindowFit {
        let fitting = rate.calls_in(self.time_for_new(timeout)).min(calls);
        let share = |rows: u64| u128::from(rows) * u128::from(fitting) / u128::from(calls.max(1));
        WindowFit {
            closes: self.closes.strftime("%Y-%m-%d %H:%M %Z").to_string(),
            calls: fitting,
            calls_total: calls,
            rows: u64::try_from(share(rows)).unwrap_or(rows),
            rows_total: rows,
            windows: (fitting > 0).then(|| calls.div_ceil(fitting)),
        }
    }
}

impl WindowFit {
    /// In a line; `None` if there are no calls.
    pub(crate) fn text(&self) -> Option<String> {
        let Self { closes, calls, calls_total, rows, rows_total, windows } = self;
        let [calls, total, rows, rows_total] = [*calls, *calls_total, *rows, *rows_total].map(Count);
        Some(match windows {
            _ if *calls_total == 0 => return None,
            Some(1) => format!("all calls fit into the time window, which closes {closes}"),
            Some(windows) => format!(
                "about {calls} of {total} calls, {rows} of {rows_total} rows, fit into the time window, which closes {closes}; all of them take {windows} such windows"
            ),
            None => format!("no call fits into the time window, which closes {closes}"),
        })
    }
}

/// A zone that is named and unknown would pass for UTC, hours off.
fn check_zone(now: &ZonedDateTime) -> Result<(), PlanError> {
    match std::env::var("TZ") {
        Ok(zone) if !zone.is_empty() && now.time_zone().is_unknown() => Err(PlanError::Usage(format!(
            "--stop-at: the time zone TZ={zone:?} is not known here; is the package tzdata installed?"
        ))),
        _ => Ok(()),
    }
}

/// The next time that the local clock shows `time`, or passes it where it is
/// put forward. Where it is put back, it shows some times twice.
fn next_at(time: Time, now: &ZonedDateTime) -> Result<ZonedDateTime, jiff::Error> {
    let zone = now.time_zone();
    let mut date = now.date();
    loop {
        let found = zone.to_ambiguous_zoned_datetime(date.to_datetime(time));
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
    use jiff::civil::{date, time};
    use jiff::tz::TimeZone;

    /// Amsterdam, without a time zone database: 2026 from 29 March to 25 October.
    fn amsterdam() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a time zone")
    }

    fn minutes_until(now: ZonedDateTime, hour: i8, minute: i8) -> i64 {
        let next = next_at(time(hour, minute, 0, 0), &now).expect("a moment");
        now.duration_until(&next).as_mins()
    }

    #[test]
    fn the_local_clock_shows_the_time_today_or_tomorrow() {
        let evening = date(2026, 11, 23).at(22, 0, 0, 0).to_zoned_datetime(amsterdam()).expect("a time");
        assert_eq!(minutes_until(evening.clone(), 23, 30), 90);
        assert_eq!(minutes_until(evening.clone(), 5, 30), 450);
        // Just now is over: the window is a day long, and not closed at once.
        assert_eq!(minutes_until(evening, 22, 0), 1440);
    }

    #[test]
    fn a_night_in_which_the_clock_jumps_is_shorter_or_longer() {
        let at = |month, day, hour, minute| {
            let local = date(2026, month, day).at(hour, minute, 0, 0);
            local.to_zoned_datetime(amsterdam()).expect("a time")
        };
        // From 02:00 the clock goes to 03:00: a quarter past one is 3 h 15 before 05:30.
        assert_eq!(minutes_until(at(3, 29, 1, 15), 5, 30), 195);
        // 02:30 is never shown: it is over at the jump.
        assert_eq!(minutes_until(at(3, 29, 1, 15), 2, 30), 45);
        assert_eq!(minutes_until(at(3, 29, 3, 0), 2, 30), 1410);
        // From 03:00 it goes back to 02:00, and shows 02:30 twice.
        assert_eq!(minutes_until(at(10, 25, 1, 15), 5, 30), 315);
        assert_eq!(minutes_until(at(10, 25, 1, 15), 2, 30), 75);
        assert_eq!(minutes_until(at(10, 25, 2, 40), 2, 30), 50);
    }

    fn window(length: Duration) -> Window {
        let now = date(2026, 11, 23).at(0, 0, 0, 0).to_zoned_datetime(amsterdam()).expect("a time");
        Window { opened: Instant::now(), length, closes: now.checked_add(length).expect("a time") }
    }

    #[test]
    fn a_window_ends_early_enough_for_calls_on_their_way() {
        let night = window(Duration::from_secs(5 * 3600));
        let timeout = Duration::from_secs(30);
        let (work, new) = (night.time_for_work().as_secs_f64(), night.time_for_new(timeout).as_secs_f64());
        assert!((17_980.0..17_991.0).contains(&work), "{work}");
        assert!((17_950.0..17_961.0).contains(&new), "{new}");
        // A window shorter than a timeout still does some work.
        let short = window(Duration::from_secs(20)).time_for_new(timeout).as_secs_f64();
        assert!((5.0..14.1).contains(&short), "{short}");
        assert_eq!(window(Duration::ZERO).time_for_new(timeout), Duration::ZERO);
    }

    #[test]
    fn the_fit_is_in_calls_rows_and_windows() {
        let rate: Rate = "1000/h".parse().expect("a rate");
        let (night, timeout) = (window(Duration::from_secs(5 * 3600 + 30)), Duration::from_secs(10));
        let fit = night.fit(rate, timeout, 12_000, 6_000);
        assert!((4_990..=5_002).contains(&fit.calls) && (2_495..=2_501).contains(&fit.rows), "{fit:?}");
        assert_eq!(fit.windows, Some(3));
        let text = fit.text().expect("a text");
        assert!(text.contains("of 12,000 calls") && text.ends_with("3 such windows"), "{text}");
        assert!(text.contains("closes 2026-11-23 05:00 CET"), "{text}");
        let all = night.fit(rate, timeout, 4_000, 4_000);
        assert_eq!((all.calls, all.rows, all.windows), (4_000, 4_000, Some(1)));
        assert!(
            window(Duration::ZERO).fit(rate, timeout, 9, 9).text().expect("a text").starts_with("no call")
        );
        assert_eq!(night.fit(rate, timeout, 0, 0).text(), None);
    }
}
