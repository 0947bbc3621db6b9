//! What an exchange means. The whole table of status codes is [`judge`].

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::call::CallKind;
use super::settings::RefusalTexts;

/// How one HTTP exchange ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchange {
    /// An answer came, whole.
    Answered {
        /// The HTTP status.
        status: u16,
        /// The header of that name, understood.
        retry_after: Option<RetryAfter>,
        /// How long nothing more is let in, by the header fields of its limit
        /// (`quota`).
        spent: Option<Duration>,
        /// At most one mebibyte of the body.
        body: Vec<u8>,
    },
    /// The connection could not be made: the server has seen nothing.
    NotSent(String),
    /// The request left, and no whole answer came: the server may have done it.
    Lost(String),
}

/// More than any answer of this API; a larger body is none of its answers.
pub(super) const BODY_BYTES_MAX: usize = 1 << 20;

/// How long the server asks to wait: RFC 9110, section 10.2.3, seconds or a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryAfter(pub Duration);

impl RetryAfter {
    /// Understands the header. A date counts from the server's own `Date`, so
    /// that the two clocks need not agree; a past one is no wait at all.
    #[must_use]
    pub fn parse(header: &str, server_date: Option<&str>) -> Option<Self> {
        let header = header.trim();
        if let Ok(seconds) = header.parse::<u64>() {
            return Some(Self(Duration::from_secs(seconds)));
        }
        if !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(Self(Duration::MAX));
        }
        let until = httpdate::parse_http_date(header).ok()?;
        let now = server_date
            .and_then(|date| httpdate::parse_http_date(date).ok())
            .unwrap_or_else(std::time::SystemTime::now);
        Some(Self(until.duration_since(now).unwrap_or_default()))
    }
}

/// What an exchange means for the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It worked.
    Done,
    /// Refused: what it would make exists already.
    Exists {
        /// The HTTP status.
        status: u16,
        /// The API's words.
        message: String,
    },
    /// Refused: there is no such customer.
    NotFound {
        /// The HTTP status.
        status: u16,
        /// The API's words.
        message: String,
    },
    /// Refused for another reason; sending it again would not help.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The API's words, or what was odd about its answer.
        message: String,
        /// Whether it may have been carried out all the same.
        perhaps_done: bool,
    },
    /// Too many requests: everybody is to wait.
    Throttled {
        /// The HTTP status.
        status: u16,
        /// For how long, if the server says so.
        wait: Option<Duration>,
    },
    /// The key was refused: no other call would fare better.
    KeyRefused {
        /// The HTTP status.
        status: u16,
        /// The API's words.
        message: String,
    },
    /// A fault of the server or the way to it, after the request left.
    Unsettled {
        /// The HTTP status, if an answer came.
        status: Option<u16>,
        /// What went wrong.
        message: String,
    },
    /// Nothing was sent.
    NotSent {
        /// Why.
        message: String,
    },
}

/// The two forms of the vendor's answers: success has `type`, an error `status`.
#[derive(Deserialize)]
struct Body {
    #[serde(rename = "type")]
    _kind: Option<IgnoredAny>,
    message: Option<serde_json::Value>,
}

/// Of the first form, what makes it one.
#[derive(Deserialize)]
struct Success<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

/// What an exchange means for a call of this kind.
#[must_use]
pub fn judge(kind: CallKind, exchange: &Exchange, texts: &RefusalTexts) -> Answer {
    let (status, retry_after, spent, body) = match exchange {
        Exchange::NotSent(message) => {
            return Answer::NotSent { message: message.clone() };
        }
        Exchange::Lost(message) => {
            return Answer::Unsettled { status: None, message: message.clone() };
        }
        Exchange::Answered { status, retry_after, spent, body } => {
            (*status, retry_after.map(|wait| wait.0), *spent, body.as_slice())
        }
    };
    match status {
        200..=299 => success(kind, status, body, texts),
        401 | 403 => Answer::KeyRefused { status, message: message(body) },
        429 => Answer::Throttled { status, wait: retry_after.or(spent) },
        // Without the header, it may come from something that failed while the
        // call was carried out; fields of a limit that go with every answer
        // prove nothing of this one.
        503 if retry_after.is_some() => Answer::Throttled { status, wait: retry_after },
        408 | 425 | 500..=599 => Answer::Unsettled { status: Some(status), message: message(body) },
        300..=399 => Answer::Refused {
            status,
            message: "the server redirects, which is never followed; is base_url right?".to_owned(),
            perhaps_done: false,
        },
        _ => refusal(status, message(body), texts, false),
    }
}

fn success(kind: CallKind, status: u16, body: &[u8], texts: &RefusalTexts) -> Answer {
    let text = body.trim_ascii();
    if text.is_empty() && kind == CallKind::Purge {
        return Answer::Done;
    }
    if text.first() == Some(&b'<') {
        let message = "a web page came instead of the API's answer: maintenance, a portal of the network, or a wrong base_url";
        return Answer::Unsettled { status: Some(status), message: message.to_owned() };
    }
    // Nothing else of it matters, so that nothing else is copied.
    let is_object = text.first() == Some(&b'{');
    if is_object && serde_json::from_slice::<Success>(text).is_ok_and(|success| success.kind == "result") {
        return Answer::Done;
    }
    match serde_json::from_slice::<Body>(text) {
        Ok(Body { message: Some(_), .. }) => refusal(status, message(body), texts, false),
        // No page says what such an answer means; the call may have worked.
        _ => Answer::Refused {
            status,
            message: format!("success without the words of one: {}", message(body)),
            perhaps_done: true,
        },
    }
}

fn refusal(status: u16, message: String, texts: &RefusalTexts, perhaps_done: bool) -> Answer {
    let said = message.to_lowercase();
    let says = |texts: &[String]| texts.iter().any(|text| said.contains(&text.to_lowercase()));
    if says(&texts.not_found) {
        Answer::NotFound { status, message }
    } else if says(&texts.exists) {
        Answer::Exists { status, message }
    } else {
        Answer::Refused { status, message, perhaps_done }
    }
}

/// Characters of the API's words that go to the user.
const MESSAGE_CHARS_MAX: usize = 300;

/// The API's words, or the start of whatever came instead.
fn message(body: &[u8]) -> String {
    let words = match serde_json::from_slice::<Body>(body) {
        Ok(Body { message: Some(serde_json::Value::String(message)), .. }) => message,
        Ok(Body { message: Some(other), .. }) => other.to_string(),
        _ => String::from_utf8_lossy(&body[..body.len().min(4 * MESSAGE_CHARS_MAX)]).into_owned(),
    };
    let line = words.split(|letter: char| letter.is_whitespace() || letter.is_control());
    let line = line.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MESSAGE_CHARS_MAX) {
        _ if line.is_empty() => "the answer is empty".to_owned(),
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESULT: &str = r#"{"type":"result","message":"Customer updated.","ticketID":1}"#;

    fn answered(status: u16, body: &str) -> Exchange {
        Exchange::Answered { status, retry_after: None, spent: None, body: body.as_bytes().to_vec() }
    }

    /// One word for each meaning, for tables.
    fn meaning(kind: CallKind, exchange: &Exchange) -> &'static str {
        match judge(kind, exchange, &RefusalTexts::default()) {
            Answer::Done => "done",
            Answer::Exists { .. } => "exists",
            Answer::NotFound { .. } => "not found",
            Answer::Refused { perhaps_done: false, .. } => "refused",
            Answer::Refused { perhaps_done: true, .. } => "refused, perhaps done",
            Answer::Throttled { .. } => "throttled",
            Answer::KeyRefused { .. } => "key refused",
            Answer::Unsettled { .. } => "unsettled",
            Answer::NotSent { .. } => "not sent",
        }
    }

    #[test]
    fn every_status_code_has_its_meaning() {
        for status in 100..=599 {
            let expected = match status {
                200..=299 => "done",
                401 | 403 => "key refused",
                429 => "throttled",
                408 | 425 | 500..=599 => "unsettled",
                _ => "refused",
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
            (Purge, 200, "", "done"),
            (Purge, 204, "", "done"),
            (Purge, 200, RESULT, "done"),
            (Create, 200, "", "refused, perhaps done"),
            (Create, 200, r#"{"status":"error","message":"This form does not exist."}"#, "refused"),
            (Create, 200, r#"{"status":"error","message":"Customer already exists."}"#, "exists"),
            (Create, 400, r#"{"status":"error","message":"CUSTOMER ALREADY EXISTS"}"#, "exists"),
            (Update, 400, r#"{"status":"error","message":"Customer not found."}"#, "not found"),
            (Update, 404, r#"{"status":"error","message":"Customer does not exist."}"#, "not found"),
            (Update, 404, "<html>not found</html>", "refused"),
            (Update, 400, r#"{"status":"error","message":"Brand not found."}"#, "refused"),
            (AddChannel, 200, "<!doctype html><title>Maintenance</title>", "unsettled"),
            (AddChannel, 200, "{\"type\":\"res", "refused, perhaps done"),
            (AddChannel, 200, "{}", "refused, perhaps done"),
            (AddChannel, 200, "[1]", "refused, perhaps done"),
            (AddChannel, 400, "\u{0}\u{1}", "refused"),
        ];
        for (kind, status, body, expected) in cases {
            assert_eq!(meaning(kind, &answered(status, body)), expected, "{kind:?} {status} {body:?}");
        }
    }

    #[test]
    fn a_503_that_says_how_long_is_throttling() {
        let wait = Some(RetryAfter(Duration::from_secs(7)));
        let busy = Exchange::Answered { status: 503, retry_after: wait, spent: None, body: vec![] };
        assert_eq!(
            judge(CallKind::Create, &busy, &RefusalTexts::default()),
            Answer::Throttled { status: 503, wait: Some(Duration::from_secs(7)) }
        );
    }

    #[test]
    fn the_fields_of_a_limit_say_how_long_a_429_lasts_and_make_no_503_one() {
        let spent = Some(Duration::from_secs(4));
        let answer = |status, retry_after| {
            let exchange = Exchange::Answered { status, retry_after, spent, body: vec![] };
            judge(CallKind::Create, &exchange, &RefusalTexts::default())
        };
        assert_eq!(answer(429, None), Answer::Throttled { status: 429, wait: spent });
        let wait = Duration::from_secs(7);
        assert_eq!(answer(429, Some(RetryAfter(wait))), Answer::Throttled { status: 429, wait: Some(wait) });
        assert!(matches!(answer(503, None), Answer::Unsettled { status: Some(503), .. }));
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
            let found = RetryAfter::parse(header, date).map(|wait| wait.0.as_secs());
            assert_eq!(found, seconds, "{header:?}");
        }
    }

    #[test]
    fn the_words_are_cut_and_on_one_line() {
        let long = format!(r#"{{"status":"error","message":"a\nb {}"}}"#, "x".repeat(1000));
        let words = message(long.as_bytes());
        assert!(
            words.starts_with("a b x")
                && words.ends_with('…')
                && words.chars().count() == MESSAGE_CHARS_MAX + 1
        );
    }
}
