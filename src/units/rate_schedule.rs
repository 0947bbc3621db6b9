//! A rate that changes by the local clock: `["5/s", { from = "20:00", to = "06:00",
//! rate = "20/s" }]`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use jiff::ZonedDateTime;
use jiff::civil::Time;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Rate;
use super::local_clock::{TimeOfDay, next_at};

/// A longer time is estimated by the average so far.
const SPANS_MAX: u32 = 1000;

/// The rate at each time of day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateSchedule {
    /// Outside all windows.
    base: Rate,
    windows: Vec<RateWindow>,
}

/// The rate at some time of every day, also over midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RateWindow {
    from: TimeOfDay,
    to: TimeOfDay,
    rate: Rate,
}

impl RateWindow {
    fn contains(&self, time: Time) -> bool {
        let (from, to) = (self.from.0, self.to.0);
        if from < to { (from..to).contains(&time) } else { time >= from || time < to }
    }
}

impl fmt::Display for RateWindow {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{} from {} to {}", self.rate, self.from, self.to)
    }
}

impl From<Rate> for RateSchedule {
    fn from(base: Rate) -> Self {
        Self { base, windows: Vec::new() }
    }
}

impl JsonSchema for RateSchedule {
    fn schema_name() -> Cow<'static, str> {
        "RateSchedule".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (rate, window) = (generator.subschema_for::<Rate>(), generator.subschema_for::<RateWindow>());
        json_schema!({
            "description": "A rate such as \"5/s\", or a list of one and of rates by the local clock.",
            "anyOf": [rate, { "type": "array", "items": { "anyOf": [rate, window] } }],
        })
    }
}

impl RateSchedule {
    fn new(base: Rate, windows: Vec<RateWindow>) -> Result<Self, String> {
        for (at, window) in windows.iter().enumerate() {
            if window.from == window.to {
                return Err(format!("the rate {window} needs some time between its start and its end"));
            }
            let overlaps =
                |other: &&RateWindow| other.contains(window.from.0) || window.contains(other.from.0);
            if let Some(other) = windows[..at].iter().find(overlaps) {
                return Err(format!("the rates {other} and {window} overlap; each time of day has one rate"));
            }
        }
        Ok(Self { base, windows })
    }

    pub(crate) fn is_by_clock(&self) -> bool {
        !self.windows.is_empty()
    }

    pub(crate) fn rates(&self) -> impl Iterator<Item = Rate> {
        std::iter::once(self.base).chain(self.windows.iter().map(|window| window.rate))
    }

    pub(crate) fn highest(&self) -> Rate {
        self.rates().fold(self.base, Rate::max)
    }

    fn at(&self, time: Time) -> Rate {
        self.windows.iter().find(|window| window.contains(time)).map_or(self.base, |window| window.rate)
    }

    /// The next time at which the rate may change: a window begins or ends, or the
    /// clock jumps.
    fn next_limit(&self, now: &ZonedDateTime) -> Option<ZonedDateTime> {
        let limits = self.windows.iter().flat_map(|window| [window.from, window.to]);
        let limits = limits.filter_map(|limit| next_at(limit, now).ok());
        let jump = self.is_by_clock().then(|| now.time_zone().following(now.timestamp()).next()).flatten();
        let jump = jump.map(|jump| jump.timestamp().to_zoned_datetime(now.time_zone().clone()));
        limits.chain(jump).min()
    }

    /// From now on.
    pub(crate) fn timeline(&self) -> RateTimeline {
        RateTimeline { schedule: self.clone(), start: ZonedDateTime::now() }
    }
}

impl fmt::Display for RateSchedule {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{}", self.base)?;
        self.windows.iter().try_for_each(|window| write!(out, ", {window}"))
    }
}

/// As in the configuration.
impl Serialize for RateSchedule {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        if !self.is_by_clock() {
            return self.base.serialize(out);
        }
        let mut list = out.serialize_seq(Some(1 + self.windows.len()))?;
        list.serialize_element(&self.base)?;
        self.windows.iter().try_for_each(|window| list.serialize_element(window))?;
        list.end()
    }
}

impl<'de> Deserialize<'de> for RateSchedule {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(RateScheduleVisitor)
    }
}

/// By hand: the error of an untagged enum says only that nothing fits.
struct RateScheduleVisitor;

impl<'de> Visitor<'de> for RateScheduleVisitor {
    type Value = RateSchedule;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(
            "a rate \"5/s\", or a list of one and of rates by the clock, [\"5/s\", { from = \"20:00\", to = \"06:00\", rate = \"20/s\" }]",
        )
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RateSchedule, E> {
        text.parse::<Rate>().map(Into::into).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RateSchedule, A::Error> {
        let (mut base, mut windows) = (None, Vec::new());
        while let Some(part) = list.next_element()? {
            match part {
                SchedulePart::Window(window) => windows.push(window),
                SchedulePart::Base(rate) => {
                    if base.replace(rate).is_some() {
                        return Err(A::Error::custom("only one rate can be without from and to"));
                    }
                }
            }
        }
        let missing = || A::Error::custom("the list needs a rate for the rest of the day, such as \"5/s\"");
        RateSchedule::new(base.ok_or_else(missing)?, windows).map_err(A::Error::custom)
    }
}

enum SchedulePart {
    Base(Rate),
    Window(RateWindow),
}

impl<'de> Deserialize<'de> for SchedulePart {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct PartVisitor;

        impl<'de> Visitor<'de> for PartVisitor {
            type Value = SchedulePart;

            fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
                out.write_str("a rate \"5/s\" or { from = \"20:00\", to = \"06:00\", rate = \"20/s\" }")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<SchedulePart, E> {
                text.parse().map(SchedulePart::Base).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<SchedulePart, A::Error> {
                RateWindow::deserialize(MapAccessDeserializer::new(table)).map(SchedulePart::Window)
            }
        }

        reader.deserialize_any(PartVisitor)
    }
}

/// The rates from a moment on. Times are counted from it by a clock that nobody
/// sets: who corrects the clock on the wall moves no rate of a run on its way.
#[derive(Debug, Clone)]
pub struct RateTimeline {
    schedule: RateSchedule,
    start: ZonedDateTime,
}

/// A time with one rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateSpan {
    pub(crate) rate: Rate,
    /// Since the timeline's start; `None` if the rate never changes.
    pub(crate) until: Option<Duration>,
}

impl From<Rate> for RateTimeline {
    fn from(rate: Rate) -> Self {
        RateSchedule::from(rate).timeline()
    }
}

impl RateTimeline {
    pub(crate) fn schedule(&self) -> &RateSchedule {
        &self.schedule
    }

    /// What holds after `elapsed`. No rate changes beyond the calendar.
    pub(crate) fn at(&self, elapsed: Duration) -> RateSpan {
        let now = self.start.checked_add(elapsed).unwrap_or_else(|_| self.start.clone());
        let rate = self.schedule.at(now.time());
        // A window may be jumped over today, so two days have a change if any has.
        let moments = std::iter::successors(Some(now), |now| self.schedule.next_limit(now));
        let mut moments = moments.take(4 * self.schedule.windows.len() + 4);
        let until = moments.find(|moment| self.schedule.at(moment.time()) != rate);
        let until = until.map(|until| self.start.duration_until(&until));
        RateSpan { rate, until: until.and_then(|until| until.try_into().ok()) }
    }

    /// How long `calls` requests take from `elapsed` on.
    pub(crate) fn time_for(&self, calls: f64, elapsed: Duration) -> Duration {
        let (mut left, mut at) = (calls, elapsed);
        for _ in 0..SPANS_MAX {
            let RateSpan { rate, until } = self.at(at);
            let needed = Duration::try_from_secs_f64(left / rate.per_second()).unwrap_or(Duration::MAX);
            match until {
                Some(until) if until.saturating_sub(at) < needed => {
                    left -= (until - at).as_secs_f64() * rate.per_second();
                    at = until;
                }
                _ => return at.saturating_add(needed) - elapsed,
            }
        }
        let estimate = (at - elapsed).as_secs_f64() * calls / (calls - left);
        Duration::try_from_secs_f64(estimate).unwrap_or(Duration::MAX)
    }

    /// How many requests fit into `time` from `elapsed` on.
    pub(crate) fn calls_in(&self, time: Duration, elapsed: Duration) -> f64 {
        let (mut calls, mut at, end) = (0.0, elapsed, elapsed.saturating_add(time));
        for _ in 0..SPANS_MAX {
            let RateSpan { rate, until } = self.at(at);
            let next = until.unwrap_or(end).min(end);
            calls += next.saturating_sub(at).as_secs_f64() * rate.per_second();
            at = next;
            if at == end {
                return calls;
            }
        }
        calls * time.as_secs_f64() / (at - elapsed).as_secs_f64()
    }

    /// The rate after `elapsed`, and how long it holds.
    pub(crate) fn text(&self, elapsed: Duration) -> String {
        let RateSpan { rate, until } = self.at(elapsed);
        match until {
            Some(until) => match self.start.checked_add(until) {
                Ok(until) => format!("{rate} until {}", until.strftime("%H:%M")),
                Err(_) => rate.to_string(),
            },
            None => rate.to_string(),
        }
    }
}

#[cfg(test)]
impl RateTimeline {
    /// Of a list in TOML, from a local time such as `2026-11-23T19:55[UTC]` on.
    pub(crate) fn parse(rates: &str, start: &str) -> Self {
        let mut table: toml::Table = format!("rate = {rates}").parse().expect("TOML");
        let schedule = table.remove("rate").expect("a value").try_into().expect("rates");
        Self { schedule, start: start.parse().expect("a time") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use jiff::tz::TimeZone;

    const NIGHT: &str = r#"["5/s", { from = "20:00", to = "06:00", rate = "20/s" }]"#;
    const MINUTE: Duration = Duration::from_secs(60);

    fn read(rates: &str) -> Result<RateSchedule, String> {
        #[derive(Debug, Deserialize)]
        struct Settings {
            rate: RateSchedule,
        }
        let settings: Result<Settings, _> = toml::from_str(&format!("rate = {rates}"));
        settings.map(|settings| settings.rate).map_err(|error| error.message().to_owned())
    }

    /// The rates from a time in Amsterdam on, as minutes and texts.
    fn changes(rates: &str, month: i8, day: i8, hour: i8) -> Vec<(u64, String)> {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a time zone");
        let start = date(2026, month, day).at(hour, 0, 0, 0).to_zoned_datetime(zone).expect("a time");
        let timeline = RateTimeline { schedule: read(rates).expect("rates"), start };
        let mut at = Duration::ZERO;
        let spans = (0..3).map(|_| {
            let span = timeline.at(at);
            let began = std::mem::replace(&mut at, span.until.expect("another rate"));
            (began.as_secs() / 60, span.rate.to_string())
        });
        spans.collect()
    }

    fn minutes(expected: [(u64, &str); 3]) -> Vec<(u64, String)> {
        expected.map(|(minute, rate)| (minute, rate.to_owned())).into()
    }

    #[test]
    fn the_clock_sets_the_rate_over_midnight_and_when_it_is_changed() {
        assert_eq!(changes(NIGHT, 11, 23, 19), minutes([(0, "5/s"), (60, "20/s"), (660, "5/s")]));
        assert_eq!(changes(NIGHT, 11, 23, 3), minutes([(0, "20/s"), (180, "5/s"), (1020, "20/s")]));
        // One hour less of the night in March, one more in October.
        assert_eq!(changes(NIGHT, 3, 28, 19), minutes([(0, "5/s"), (60, "20/s"), (600, "5/s")]));
        assert_eq!(changes(NIGHT, 10, 24, 19), minutes([(0, "5/s"), (60, "20/s"), (720, "5/s")]));
        // A window between times that the clock shows twice, or jumps over.
        let early = r#"["5/s", { from = "02:15", to = "02:45", rate = "20/s" }]"#;
        assert_eq!(changes(early, 10, 25, 2)[1..], minutes([(0, ""), (15, "20/s"), (45, "5/s")])[1..]);
        assert_eq!(changes(early, 3, 29, 1)[1].0, 60 + 23 * 60 + 15, "not on that day");
        let half = r#"["5/s", { from = "02:30", to = "04:00", rate = "20/s" }]"#;
        assert_eq!(changes(half, 3, 29, 1), minutes([(0, "5/s"), (60, "20/s"), (120, "5/s")]));
        assert_eq!(changes(half, 10, 25, 1), minutes([(0, "5/s"), (90, "20/s"), (120, "5/s")]));
    }

    #[test]
    fn calls_and_their_duration_follow_the_clock() {
        let timeline = RateTimeline::parse(NIGHT, "2026-11-23T19:00[UTC]");
        let hour = 60 * MINUTE;
        assert_eq!(timeline.calls_in(2 * hour, Duration::ZERO), 18_000.0 + 72_000.0);
        assert_eq!(timeline.time_for(18_000.0 + 20.0, Duration::ZERO), hour + Duration::from_secs(1));
        assert_eq!(timeline.time_for(20.0, 2 * hour), Duration::from_secs(1));
        // A day has 14 slow hours and 10 fast ones.
        let day = f64::from(14 * 3600 * 5 + 10 * 3600 * 20);
        assert_eq!(timeline.time_for(3.0 * day, Duration::ZERO), 72 * hour);
        let years = timeline.time_for(10_000.0 * day, Duration::ZERO).as_secs_f64();
        assert!((years / (240_000.0 * hour.as_secs_f64()) - 1.0).abs() < 0.01, "{years}");
        assert_eq!(timeline.text(Duration::ZERO), "5/s until 20:00");
        let constant = RateTimeline::parse("\"90/min\"", "2026-11-23T19:00[UTC]");
        assert_eq!(constant.time_for(135.0, Duration::ZERO), Duration::from_secs(90));
        assert_eq!(constant.calls_in(Duration::from_secs(60), hour), 90.0);
        assert_eq!(constant.text(hour), "90/min");
    }

    #[test]
    fn rates_that_contradict_each_other_are_refused_by_name() {
        let window = |from: &str, to: &str| format!("{{ from = \"{from}\", to = \"{to}\", rate = \"9/s\" }}");
        let list = |windows: &[String]| read(&format!("[\"5/s\", {}]", windows.join(", ")));
        for (one, other) in [
            (("20:00", "06:00"), ("05:00", "07:00")),
            (("20:00", "06:00"), ("23:00", "24:00")),
            (("08:00", "12:00"), ("11:59", "08:01")),
            (("08:00", "12:00"), ("08:00", "12:00")),
        ] {
            let error = list(&[window(one.0, one.1), window(other.0, other.1)]).expect_err("an overlap");
            assert!(
                error.contains("from 20:00 to 06:00") || error.contains("from 08:00 to 12:00"),
                "{error}"
            );
            assert!(error.contains("overlap"), "{error}");
        }
        let shown =
            list(&[window("20:00", "06:00"), window("6:00", "8:00")]).expect("no overlap").to_string();
        assert_eq!(shown, "5/s, 9/s from 20:00 to 06:00, 9/s from 06:00 to 08:00");
        for (rates, problem) in [
            (format!("[\"5/s\", {}]", window("08:00", "08:00")), "needs some time"),
            (format!("[{}]", window("08:00", "09:00")), "for the rest of the day"),
            ("[\"5/s\", \"6/s\"]".to_owned(), "only one rate"),
            ("\"fast\"".to_owned(), "is no rate"),
            ("[\"fast\"]".to_owned(), "is no rate"),
            ("5".to_owned(), "a rate \"5/s\""),
            (format!("[\"5/s\", {}]", window("25:00", "09:00")), "is no time of day"),
            ("[\"5/s\", { form = \"8:00\" }]".to_owned(), "unknown field `form`"),
        ] {
            let error = read(&rates).expect_err(&rates);
            assert!(error.contains(problem), "{rates}: {error}");
        }
    }
}
