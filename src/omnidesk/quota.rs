//! What a server says of its limit, beside `Retry-After`: how long nothing
//! more is let in.
//!
//! - `RateLimit: "name";r=0;t=30`, a list of RFC 9651, from
//!   draft-ietf-httpapi-ratelimit-headers-08 on; `limit=10, remaining=0,
//!   reset=30` before that
//! - `RateLimit-Remaining` and `RateLimit-Reset` in seconds, before that
//! - `X-RateLimit-Remaining` and `X-RateLimit-Reset`, which nobody has
//!   specified: the reset is seconds from now, or a time since 1970
//!
//! Only what is used up counts. `RateLimit-Policy` and `…-Limit` say how much
//! there is altogether, of which others may use a part: the rate is found by
//! what is let in, and not by them.

use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap};

/// A reset above this is a time since 1970, not a wait: it would be 31 years.
const EPOCH_SECONDS_MIN: u64 = 1_000_000_000;
/// And above this, one in milliseconds.
const EPOCH_MILLIS_MIN: u64 = 1_000_000_000_000;

/// How long nothing more is let in, if a limit is used up; the longest of all
/// limits that are.
pub(super) fn spent(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let listed =
        headers.get_all("ratelimit").iter().filter_map(|value| value.to_str().ok()).filter_map(listed);
    let pair = |remaining: &str, reset: &str| {
        let is_spent = number(text(remaining)?)? == 0;
        is_spent.then(|| number(text(reset)?)).flatten()
    };
    let older = pair("ratelimit-remaining", "ratelimit-reset").map(Duration::from_secs);
    let oldest =
        pair("x-ratelimit-remaining", "x-ratelimit-reset").map(|reset| until(reset, text(DATE.as_str())));
    listed.chain(older).chain(oldest).max()
}

/// The longest of the limits in one field that are used up.
fn listed(field: &str) -> Option<Duration> {
    let values = |item: &str, names: [&str; 2]| {
        let value = |name: &str| {
            let mut parameters = item.split([';', ',']).filter_map(|parameter| parameter.split_once('='));
            parameters.find(|(found, _)| found.trim() == name).and_then(|(_, value)| number(value))
        };
        names.map(value)
    };
    let as_one = values(field, ["remaining", "reset"]);
    let items = field.split(',').map(|item| values(item, ["r", "t"]));
    let waits = items.chain([as_one]).filter_map(|[remaining, reset]| reset.filter(|_| remaining == Some(0)));
    waits.max().map(Duration::from_secs)
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The server's own clock counts, if it shows it.
fn until(reset: u64, date: Option<&str>) -> Duration {
    if reset < EPOCH_SECONDS_MIN {
        return Duration::from_secs(reset);
    }
    let since_1970 =
        if reset < EPOCH_MILLIS_MIN { Duration::from_secs(reset) } else { Duration::from_millis(reset) };
    let now = date.and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or_else(SystemTime::now);
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
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
            let found = spent(&headers).map(|wait| wait.as_secs());
            match seconds {
                Some(u64::MAX) => assert!(found > Some(1_000_000_000), "{fields:?}"),
                _ => assert_eq!(found, *seconds, "{fields:?}"),
            }
        }
    }

    const DATE_THEN: (&str, &str) = ("Date", "Tue, 14 Nov 2023 22:13:20 GMT");
}
