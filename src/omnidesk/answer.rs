//! The meaning of an exchange. [`judge`] is the whole table of status codes.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::Value;

use super::call::CallKind;
use super::settings::RefusalTexts;

/// How one HTTP exchange ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchange {
    /// A whole answer came.
    Answered {
        status: u16,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
        /// How long nothing more is let in, by the header fields of the limit (`quota`).
        quota_wait: Option<Duration>,
        /// At most one mebibyte of the body.
        body: Vec<u8>,
    },
    /// The connection could not be made: the server has received nothing.
    NotSent(String),
    /// The request was sent and no whole answer came: it may have been carried out.
    Lost(String),
}

/// More than any answer of this API; a larger body is none of its answers.
pub(super) const BODY_BYTES_MAX: usize = 1 << 20;

/// Reads `Retry-After`: seconds or a date (RFC 9110, section 10.2.3).
///
/// A date counts from the server's own `Date`, so the two clocks need not agree.
/// A past one is no wait at all.
pub fn parse_retry_after(header: &str, server_date: Option<&str>) -> Option<Duration> {
    let header = header.trim();
    if !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(header.parse().map_or(Duration::MAX, Duration::from_secs));
    }
    let until = httpdate::parse_http_date(header).ok()?;
    Some(until.duration_since(server_time(server_date)).unwrap_or_default())
}

/// The time by the server's own clock, if it shows it.
pub(super) fn server_time(date: Option<&str>) -> SystemTime {
    date.and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or_else(SystemTime::now)
}

/// The meaning of an exchange for its call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub meaning: Meaning,
    /// The HTTP status, if an answer came.
    pub(crate) status: Option<u16>,
    /// The API's message, or the problem; empty if the call worked.
    pub message: String,
    /// How long nothing more is let in, if the server reports it.
    pub(crate) wait: Option<Duration>,
}

/// The meaning of an answer, on its way from HTTP to the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Meaning {
    /// The call worked.
    Done,
    /// The address that it would add exists already: as good as done.
    DoneBefore,
    /// A create was refused because the customer exists.
    Exists,
    /// Refused, because there is no such customer.
    NotFound,
    /// Refused for another reason; sending it again would not help.
    Refused,
    /// A success status with another body: it may have been carried out.
    Unclear,
    /// The key was refused: every other call would fail too.
    KeyRefused,
    /// Too many requests: all calls have to wait.
    Limited,
    /// A fault of the server or on the way to it, after the request was sent: it
    /// may have been carried out.
    Unavailable,
    /// Nothing was sent.
    Unsent,
}

impl Answer {
    fn new(meaning: Meaning, status: impl Into<Option<u16>>, message: impl Into<String>) -> Self {
        Self { meaning, status: status.into(), message: message.into(), wait: None }
    }
}

/// A success has `type`, an error has `status`.
#[derive(Deserialize)]
struct Success<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

/// The meaning of an exchange for a call of this kind.
pub fn judge(kind: CallKind, exchange: &Exchange, texts: &RefusalTexts) -> Answer {
    let (status, retry_after, quota_wait, body) = match exchange {
        Exchange::NotSent(message) => return Answer::new(Meaning::Unsent, None, message),
        Exchange::Lost(message) => return Answer::new(Meaning::Unavailable, None, message),
        Exchange::Answered { status, retry_after, quota_wait, body } => {
            (*status, *retry_after, *quota_wait, body.as_slice())
        }
    };
    let limited = |wait| Answer { wait, ..Answer::new(Meaning::Limited, status, "too many requests") };
    match status {
        200..=299 => Answer { wait: quota_wait, ..judge_success(kind, status, body, texts) },
        401 | 403 => Answer::new(Meaning::KeyRefused, status, message(body)),
        429 => limited(retry_after.or(quota_wait)),
        // Without the header, it may come from something that failed while the
        // call was carried out. The fields of a limit, which go with every
        // answer, prove nothing of this one.
        503 if retry_after.is_some() => limited(retry_after),
        408 | 425 | 500..=599 => Answer::new(Meaning::Unavailable, status, message(body)),
        300..=399 => {
            let message = "the server redirects, which is never followed; is base_url right?";
            Answer { wait: quota_wait, ..Answer::new(Meaning::Refused, status, message) }
        }
        _ => Answer { wait: quota_wait, ..judge_refusal(kind, status, message(body), texts) },
    }
}

fn judge_success(kind: CallKind, status: u16, body: &[u8], texts: &RefusalTexts) -> Answer {
    let text = body.trim_ascii();
    let done = Answer::new(Meaning::Done, status, "");
    if text.is_empty() && kind == CallKind::Purge {
        return done;
    }
    if text.first() == Some(&b'<') {
        let message = "a web page came instead of the API's answer: maintenance, a portal of the network, or a wrong base_url";
        return Answer::new(Meaning::Unavailable, status, message);
    }
    // Nothing else of it matters, so nothing else is copied.
    let is_object = text.first() == Some(&b'{');
    if is_object && serde_json::from_slice::<Success>(text).is_ok_and(|success| success.kind == "result") {
        return done;
    }
    if json_message(body).is_some() {
        return judge_refusal(kind, status, message(body), texts);
    }
    // No page explains such an answer; the call may have worked.
    let message = format!("a success status without a success message: {}", message(body));
    Answer::new(Meaning::Unclear, status, message)
}

fn judge_refusal(kind: CallKind, status: u16, message: String, texts: &RefusalTexts) -> Answer {
    let lower = message.to_lowercase();
    let contains = |texts: &[String]| texts.iter().any(|text| lower.contains(&text.to_lowercase()));
    let (is_absent, exists) = (contains(&texts.not_found), contains(&texts.exists));
    let meaning = match kind {
        CallKind::Update | CallKind::AddChannel | CallKind::Purge if is_absent => Meaning::NotFound,
        CallKind::Create if exists && !is_absent => Meaning::Exists,
        // The address exists, but elsewhere.
        CallKind::AddChannel if exists && !is_of_another(&lower) => Meaning::DoneBefore,
        _ => Meaning::Refused,
    };
    Answer::new(meaning, status, message)
}

/// Whether the address of the refusal belongs to another customer.
fn is_of_another(message: &str) -> bool {
    let owners = ["other customer", "other user", "different customer", "different user"];
    owners.iter().any(|owner| message.contains(owner))
}

/// Characters of the API's message that are shown.
const MESSAGE_CHARS_MAX: usize = 300;

/// The API's message, or the start of whatever came instead, on one line.
fn message(body: &[u8]) -> String {
    let text = json_message(body).unwrap_or_else(|| {
        String::from_utf8_lossy(&body[..body.len().min(4 * MESSAGE_CHARS_MAX)]).into_owned()
    });
    let line = text.split(|letter: char| letter.is_whitespace() || letter.is_control());
    let line = line.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MESSAGE_CHARS_MAX) {
        _ if line.is_empty() => "the answer is empty".to_owned(),
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}

/// The `message` of a JSON object.
fn json_message(body: &[u8]) -> Option<String> {
    let mut body: Value = serde_json::from_slice(body).ok()?;
    match body.get_mut("message")?.take() {
        Value::Null => None,
        Value::String(message) => Some(message),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::Meaning::{
        Done, DoneBefore, Exists, KeyRefused, Limited, NotFound, Refused, Unavailable, Unclear,
    };
    use super::*;

    const RESULT: &str = r#"{"type":"result","message":"Customer updated.","ticketID":1}"#;

    fn answered(status: u16, body: &str) -> Exchange {
        Exchange::Answered { status, retry_after: None, quota_wait: None, body: body.as_bytes().to_vec() }
    }

    fn meaning(kind: CallKind, exchange: &Exchange) -> Meaning {
        judge(kind, exchange, &RefusalTexts::default()).meaning
    }

    #[test]
    fn every_status_code_has_its_meaning() {
        for status in 100..=599 {
            let expected = match status {
                200..=299 => Done,
                401 | 403 => KeyRefused,
                429 => Limited,
                408 | 425 | 500..=599 => Unavailable,
                _ => Refused,
            };
            for kind in CallKind::ALL {
                let body = if status < 300 { RESULT } else { r#"{"status":"error","message":"No."}"# };
                assert_eq!(meaning(kind, &answered(status, body)), expected, "{status} {kind:?}");
            }
        }
    }

    #[test]
    fn answers_by_their_body() {
        use CallKind::{AddChannel, Create, Purge, Update};
        let cases = [
            (Purge, 200, "", Done),
            (Purge, 204, "", Done),
            (Purge, 200, RESULT, Done),
            (Create, 200, "", Unclear),
            (Create, 200, r#"{"status":"error","message":"This form does not exist."}"#, Refused),
            (Create, 200, r#"{"status":"error","message":"Customer already exists."}"#, Exists),
            (Create, 400, r#"{"status":"error","message":"CUSTOMER ALREADY EXISTS"}"#, Exists),
            (Update, 400, r#"{"status":"error","message":"Customer not found."}"#, NotFound),
            (Update, 404, r#"{"status":"error","message":"Customer does not exist."}"#, NotFound),
            (Update, 404, "<html>not found</html>", Refused),
            (Update, 400, r#"{"status":"error","message":"Brand not found."}"#, Refused),
            (AddChannel, 400, r#"{"status":"error","message":"Channel already exists."}"#, DoneBefore),
            (
                AddChannel,
                400,
                r#"{"status":"error","message":"Already exists for another customer."}"#,
                Refused,
            ),
            (Update, 400, r#"{"status":"error","message":"Customer already exists."}"#, Refused),
            (Create, 400, r#"{"status":"error","message":"Customer not found."}"#, Refused),
            (AddChannel, 200, "<!doctype html><title>Maintenance</title>", Unavailable),
            (AddChannel, 200, "{\"type\":\"res", Unclear),
            (AddChannel, 200, "{}", Unclear),
            (AddChannel, 200, "[1]", Unclear),
            (AddChannel, 400, "\u{0}\u{1}", Refused),
        ];
        for (kind, status, body, expected) in cases {
            assert_eq!(meaning(kind, &answered(status, body)), expected, "{kind:?} {status} {body:?}");
        }
    }

    #[test]
    fn a_limit_lasts_as_long_as_the_server_says() {
        let quota_wait = Some(Duration::from_secs(4));
        let answer = |status, retry_after| {
            let exchange = Exchange::Answered { status, retry_after, quota_wait, body: vec![] };
            let answer = judge(CallKind::Create, &exchange, &RefusalTexts::default());
            (answer.meaning, answer.wait)
        };
        let wait = Duration::from_secs(7);
        assert_eq!(answer(429, None), (Limited, quota_wait));
        assert_eq!(answer(429, Some(wait)), (Limited, Some(wait)));
        assert_eq!(answer(503, Some(wait)), (Limited, Some(wait)));
        // The fields of a limit make no 503 one.
        assert_eq!(answer(503, None), (Unavailable, None));
    }

    #[test]
    fn retry_after_in_seconds_and_as_a_date() {
        let date = Some("Mon, 23 Nov 2026 10:00:00 GMT");
        let cases = [
            ("120", Some(120)),
            ("Mon, 23 Nov 2026 10:00:30 GMT", Some(30)),
            ("Mon, 23 Nov 2026 09:00:00 GMT", Some(0)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ];
        for (header, seconds) in cases {
            let found = parse_retry_after(header, date).map(|wait| wait.as_secs());
            assert_eq!(found, seconds, "{header:?}");
        }
    }

    #[test]
    fn the_message_is_cut_and_on_one_line() {
        let long = format!(r#"{{"status":"error","message":"a\nb {}"}}"#, "x".repeat(1000));
        let text = message(long.as_bytes());
        assert!(
            text.starts_with("a b x") && text.ends_with('…') && text.chars().count() == MESSAGE_CHARS_MAX + 1
        );
    }
}
