//! The limit that a server reports beside `Retry-After`: how long nothing more
//! is let in.
//!
//! - `RateLimit: "name";r=0;t=30`, a list of RFC 9651, from
//!   draft-ietf-httpapi-ratelimit-headers-08 on; `limit=10, remaining=0,
//!   reset=30` before that
//! - `RateLimit-Remaining` and `RateLimit-Reset` in seconds, before that
//! - `X-RateLimit-Remaining` and `X-RateLimit-Reset`, which no standard
//!   specifies: the reset is seconds from now, or a time since 1970
//!
//! Only a limit that is used up counts. `RateLimit-Policy` and `…-Limit` hold the
//! whole quota, of which other clients may use a part. So the rate is found by the
//! requests that are let in, and not by these fields.

use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap};

use super::answer::server_time;

/// A reset above this is a time since 1970, not a wait: it would be 31 years.
const EPOCH_SECONDS_MIN: u64 = 1_000_000_000;
/// A reset above this is a time since 1970 in milliseconds.
const EPOCH_MILLIS_MIN: u64 = 1_000_000_000_000;

/// How long nothing more is let in: the longest wait of all limits that are used
/// up.
pub(super) fn wait(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let lists = headers.get_all("ratelimit").iter().filter_map(|value| list_wait(value.to_str().ok()?));
    let pair = |remaining: &str, reset: &str| {
        let is_used_up = number(text(remaining)?)? == 0;
        is_used_up.then(|| number(text(reset)?)).flatten()
    };
    let standard = pair("ratelimit-remaining", "ratelimit-reset").map(Duration::from_secs);
    let unspecified = pair("x-ratelimit-remaining", "x-ratelimit-reset")
        .map(|reset| time_until(reset, text(DATE.as_str())));
    lists.chain(standard).chain(unspecified).max()
}

/// The longest wait of the limits in one field that are used up.
fn list_wait(field: &str) -> Option<Duration> {
    let values = |item: &str, names: [&str; 2]| {
        names.map(|name| {
            let mut parameters = item.split([';', ',']).filter_map(|parameter| parameter.split_once('='));
            parameters.find(|(key, _)| key.trim() == name).and_then(|(_, value)| number(value))
        })
    };
    let as_one = values(field, ["remaining", "reset"]);
    let items = field.split(',').map(|item| values(item, ["r", "t"]));
    let waits = items.chain([as_one]).filter_map(|[remaining, reset]| reset.filter(|_| remaining == Some(0)));
    waits.max().map(Duration::from_secs)
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

fn time_until(reset: u64, date: Option<&str>) -> Duration {
    if reset < EPOCH_SECONDS_MIN {
        return Duration::from_secs(reset);
    }
    let since_1970 =
        if reset < EPOCH_MILLIS_MIN { Duration::from_secs(reset) } else { Duration::from_millis(reset) };
    let now = server_time(date).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since_1970.saturating_sub(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};

    /// Fields, and the seconds they hold for.
    type Case = (&'static [(&'static str, &'static str)], Option<u64>);

    #[test]
    fn only_a_limit_that_is_used_up_holds() {
        let cases: &[Case] = &[
            (&[], None),
            (&[("RateLimit", r#""default";r=50;t=30"#)], None),
            (&[("RateLimit", r#""default";r=0;t=30"#)], Some(30)),
            (&[("RateLimit", r#""burst";r=0;t=5, "day";r=900;t=4000"#)], Some(5)),
            (&[("RateLimit", r#""burst";r=0;t=5"#), ("RateLimit", r#""day";r=0;t=4000;pk=:x:"#)], Some(4000)),
            (&[("RateLimit", "default;r=0")], None),
            (&[("RateLimit", "limit=10, remaining=0, reset=7")], Some(7)),
            (&[("RateLimit", "limit=10, remaining=1, reset=7")], None),
            (&[("RateLimit-Policy", r#""default";q=100;w=0"#)], None),
            (&[("RateLimit-Limit", "10"), ("RateLimit-Remaining", "0"), ("RateLimit-Reset", "8")], Some(8)),
            (&[("RateLimit-Remaining", "3"), ("RateLimit-Reset", "8")], None),
            (&[("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "12")], Some(12)),
            (&[("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "1700000030"), DATE_THEN], Some(30)),
            (&[("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "1700000030000"), DATE_THEN], Some(30)),
            (&[("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "1600000000"), DATE_THEN], Some(0)),
            (&[("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "soon")], None),
            (&[("X-RateLimit-Remaining", "0")], None),
            (&[("X-RateLimit-Remaining", "-1"), ("X-RateLimit-Reset", "5")], None),
            (
                &[("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "18446744073709551615")],
                Some(u64::MAX),
            ),
        ];
        for (fields, seconds) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in *fields {
                let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
                headers.append(name, HeaderValue::from_static(value));
            }
            let seconds_found = wait(&headers).map(|wait| wait.as_secs());
            match seconds {
                Some(u64::MAX) => assert!(seconds_found > Some(1_000_000_000), "{fields:?}"),
                _ => assert_eq!(seconds_found, *seconds, "{fields:?}"),
            }
        }
    }

    const DATE_THEN: (&str, &str) = ("Date", "Tue, 14 Nov 2023 22:13:20 GMT");
}
