//! The time that a run may take, and how much of its work fits into that.
//!
//! A run ends before its window does: nothing new starts once a call that began
//! now could still be on its way at the end, and calls on their way then are cut
//! off. That is as safe as a kill, and the next run resumes there.

use std::time::{Duration, Instant};

use jiff::ZonedDateTime;
use serde::Serialize;

use super::error::PlanError;
use crate::units::{Count, RateTimeline, TimeOfDay, check_zone, next_at};

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
        stop_at: Option<TimeOfDay>,
        opened: Instant,
    ) -> Result<Option<Self>, PlanError> {
        let now = ZonedDateTime::now();
        let wrong = |error: jiff::Error| PlanError::Usage(format!("the time window: {error}"));
        let mut ends = Vec::new();
        if let Some(most) = max_duration {
            ends.push(now.checked_add(most).map_err(wrong)?);
        }
        if let Some(time) = stop_at {
            check_zone().map_err(|problem| PlanError::Usage(format!("--stop-at: {problem}")))?;
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

    /// How much of `calls`, which `rows` rows ask for, fits from now on.
    pub(crate) fn fit(&self, rates: &RateTimeline, timeout: Duration, calls: u64, rows: u64) -> WindowFit {
        let fitting = rates.calls_in(self.time_for_new(timeout), Duration::ZERO) as u64;
        let fitting = fitting.min(calls);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Rate;
    use jiff::civil::date;
    use jiff::tz::TimeZone;

    /// Amsterdam, without a time zone database: 2026 from 29 March to 25 October.
    fn amsterdam() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a time zone")
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
        let rates = RateTimeline::from(rate);
        let (night, timeout) = (window(Duration::from_secs(5 * 3600 + 30)), Duration::from_secs(10));
        let fit = night.fit(&rates, timeout, 12_000, 6_000);
        assert!((4_990..=5_002).contains(&fit.calls) && (2_495..=2_501).contains(&fit.rows), "{fit:?}");
        assert_eq!(fit.windows, Some(3));
        let text = fit.text().expect("a text");
        assert!(text.contains("of 12,000 calls") && text.ends_with("3 such windows"), "{text}");
        assert!(text.contains("closes 2026-11-23 05:00 CET"), "{text}");
        let all = night.fit(&rates, timeout, 4_000, 4_000);
        assert_eq!((all.calls, all.rows, all.windows), (4_000, 4_000, Some(1)));
        assert!(
            window(Duration::ZERO).fit(&rates, timeout, 9, 9).text().expect("a text").starts_with("no call")
        );
        assert_eq!(night.fit(&rates, timeout, 0, 0).text(), None);
    }
}
