//! The meaning of an exchange. [`judge`] is the whole table of status codes.

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::Value;

use super::call::{Call, CallKind};
use super::customer_list::ListPage;
use super::meaning::{Meaning, Proof};
use super::refusal::RefusalTexts;
use crate::units::shorten;

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
    pub proof: Proof,
    /// The HTTP status, if an answer came.
    pub(crate) status: Option<u16>,
    /// The API's message, or the problem; empty if the call worked. Whole, and
    /// unmasked until [`KeyMask::show`](super::KeyMask::show).
    pub message: String,
    /// How long nothing more is let in, if the server reports it.
    pub(crate) wait: Option<Duration>,
}

impl Answer {
    pub(crate) fn new(meaning: Meaning, proof: Proof, message: &str) -> Self {
        Self { meaning, proof, status: None, message: message.to_owned(), wait: None }
    }

    /// What the answer to a control request shows: whether probes tell customers who
    /// exist from those who do not.
    pub(crate) fn shows_probing(&self) -> Option<bool> {
        match self.proof {
            Proof::Done => Some(false),
            Proof::NotDone if !self.meaning.is_suspicious() => Some(true),
            Proof::NotDone | Proof::Nothing => None,
        }
    }

    /// Whether the server itself fails at the call, and nothing before it.
    pub(crate) fn is_server_fault(&self) -> bool {
        self.meaning == Meaning::Unavailable && self.status == Some(500)
    }

    /// Whether the key is to blame, and not a firewall that dislikes one customer:
    /// 401, or the API's own 403.
    pub(crate) fn refuses_key(&self) -> bool {
        let is_own = self.status == Some(401) || self.proof == Proof::NotDone;
        self.meaning == Meaning::KeyRefused && is_own
    }
}

/// The kind of body of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Empty,
    /// An object whose `type` is `result`.
    Success,
    /// An object with a text `message`, and `status: "error"` or another text as
    /// its `type`: the API's refusal.
    Error,
    /// A web page.
    Page,
    Other,
}

/// A line of [`RULES`].
#[derive(Debug)]
struct Rule {
    status: RangeInclusive<u16>,
    bodies: &'static [Body],
    calls: &'static [CallKind],
    meaning: Meaning,
    proof: Proof,
}

const ANY_CALL: &[CallKind] = &CallKind::ALL;
const ANY_BODY: &[Body] = &[Body::Empty, Body::Success, Body::Error, Body::Page, Body::Other];

const fn rule(
    status: RangeInclusive<u16>,
    bodies: &'static [Body],
    calls: &'static [CallKind],
    meaning: Meaning,
    proof: Proof,
) -> Rule {
    Rule { status, bodies, calls, meaning, proof }
}

/// What an answer means and proves: the first line that fits.
///
/// Only the API's own words prove that a call was not carried out, and a status
/// that the settings name. A limiter answers before it forwards, but only a create
/// needs that: sent again, the other calls change nothing. 503 may come from a
/// proxy after the API acted.
const RULES: &[Rule] = &[
    rule(200..=299, &[Body::Success], ANY_CALL, Meaning::Done, Proof::Done),
    rule(200..=200, &[Body::Empty], &[CallKind::Purge], Meaning::Done, Proof::Done),
    rule(200..=200, &[Body::Error], ANY_CALL, Meaning::Refused, Proof::NotDone),
    rule(200..=299, &[Body::Page], ANY_CALL, Meaning::Unavailable, Proof::Nothing),
    rule(300..=399, ANY_BODY, ANY_CALL, Meaning::Redirected, Proof::Nothing),
    rule(401..=401, &[Body::Error], ANY_CALL, Meaning::KeyRefused, Proof::NotDone),
    rule(403..=403, &[Body::Error], ANY_CALL, Meaning::KeyRefused, Proof::NotDone),
    rule(401..=401, ANY_BODY, ANY_CALL, Meaning::KeyRefused, Proof::Nothing),
    rule(403..=403, ANY_BODY, ANY_CALL, Meaning::KeyRefused, Proof::Nothing),
    rule(408..=408, ANY_BODY, ANY_CALL, Meaning::Unavailable, Proof::Nothing),
    rule(425..=425, ANY_BODY, ANY_CALL, Meaning::Unavailable, Proof::Nothing),
    rule(429..=429, ANY_BODY, &[CallKind::Create], Meaning::Limited, Proof::NotDone),
    rule(429..=429, ANY_BODY, ANY_CALL, Meaning::Limited, Proof::Nothing),
    rule(400..=499, &[Body::Error], ANY_CALL, Meaning::Refused, Proof::NotDone),
    rule(500..=599, ANY_BODY, ANY_CALL, Meaning::Unavailable, Proof::Nothing),
    rule(0..=u16::MAX, &[Body::Page], ANY_CALL, Meaning::Page, Proof::Nothing),
    rule(0..=u16::MAX, ANY_BODY, ANY_CALL, Meaning::Unclear, Proof::Nothing),
];

/// The meaning of an exchange for a call.
pub fn judge(call: &Call, exchange: &Exchange, texts: &RefusalTexts) -> Answer {
    judge_by(call.kind(), exchange, |status, refusal| texts.meaning(call, status, refusal))
}

/// The page of the list that an exchange has brought, and what the exchange means.
pub(crate) fn judge_page(exchange: &Exchange) -> (Answer, Option<ListPage>) {
    // Like an update, it may be sent again.
    let mut answer = judge_by(CallKind::Update, exchange, |_, _| None);
    let Exchange::Answered { status: 200, quota_wait, body, .. } = exchange else { return (answer, None) };
    let page = ListPage::parse(body);
    if page.is_some() {
        answer =
            Answer { status: Some(200), wait: *quota_wait, ..Answer::new(Meaning::Done, Proof::Done, "") };
    } else if answer.meaning == Meaning::Done {
        answer.meaning = Meaning::Unclear;
        answer.message = "an answer that is no list of customers".to_owned();
    }
    (answer, page)
}

/// `known` is what the settings say of a status and the API's words.
fn judge_by(
    call: CallKind,
    exchange: &Exchange,
    known: impl FnOnce(u16, Option<&str>) -> Option<Meaning>,
) -> Answer {
    let (status, retry_after, quota_wait, body) = match exchange {
        Exchange::NotSent(message) => return Answer::new(Meaning::Unsent, Proof::NotDone, message),
        Exchange::Lost(message) => return Answer::new(Meaning::Unavailable, Proof::Nothing, message),
        Exchange::Answered { status, retry_after, quota_wait, body } => {
            (*status, *retry_after, *quota_wait, body.as_slice())
        }
    };
    let kind = Body::of(body);
    let rule = RULES.iter().find(|rule| {
        rule.status.contains(&status) && rule.bodies.contains(&kind) && rule.calls.contains(&call)
    });
    let (mut meaning, mut proof) =
        rule.map_or((Meaning::Unclear, Proof::Nothing), |rule| (rule.meaning, rule.proof));
    if meaning == Meaning::Unavailable && status == 503 && retry_after.is_some() {
        meaning = Meaning::Limited;
    }
    if matches!(meaning, Meaning::Refused | Meaning::Unclear | Meaning::KeyRefused) && kind != Body::Page {
        let refusal = (meaning == Meaning::Refused).then(|| message(body));
        let words = refusal.as_deref().map(|text| shorten(text, MESSAGE_CHARS_MAX));
        if let Some(known) = known(status, words.as_deref()) {
            (meaning, proof) = (known, Proof::NotDone);
        }
    }
    let wait = match meaning {
        Meaning::Limited => retry_after.or(quota_wait),
        // The fields of a limit, which go with every answer, prove nothing of this one.
        Meaning::Unavailable => None,
        _ => quota_wait,
    };
    Answer { meaning, proof, status: Some(status), message: describe(meaning, kind, body), wait }
}

impl Body {
    fn of(body: &[u8]) -> Self {
        let text = body.trim_ascii();
        match text.first() {
            None => Self::Empty,
            Some(b'<') => Self::Page,
            Some(b'{') => match serde_json::from_slice::<ApiBody>(text) {
                Ok(ApiBody { status: Some(status), message: Some(_), .. }) if status == "error" => {
                    Self::Error
                }
                Ok(ApiBody { kind: Some(kind), .. }) if kind == "result" => Self::Success,
                Ok(ApiBody { kind: Some(_), message: Some(_), .. }) => Self::Error,
                _ => Self::Other,
            },
            Some(_) => Self::Other,
        }
    }
}

/// Characters of the API's message that are matched and shown.
pub(super) const MESSAGE_CHARS_MAX: usize = 300;

/// What the answer says, on one line; empty if the call worked.
fn describe(meaning: Meaning, kind: Body, body: &[u8]) -> String {
    match (meaning, kind) {
        (Meaning::Done, _) => String::new(),
        (Meaning::Redirected, _) => {
            "a redirect, which is never followed; is base_url right, or does a login page answer?".to_owned()
        }
        (Meaning::Limited, _) => "too many requests".to_owned(),
        (_, Body::Page) => match title(body) {
            Some(title) => format!("a web page came instead of the API's answer: {title:?}"),
            None => "a web page came instead of the API's answer".to_owned(),
        },
        (Meaning::Unclear, Body::Success | Body::Error | Body::Other) => {
            format!("an answer that is not the API's: {}", message(body))
        }
        _ => message(body),
    }
}

/// The title of a web page.
fn title(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let start = text.to_ascii_lowercase().find("<title")?;
    let (_, rest) = text[start..].split_once('>')?;
    let title = one_line(rest.split('<').next()?);
    (!title.is_empty()).then_some(title)
}

/// The API's message, or the start of whatever came instead, on one line.
fn message(body: &[u8]) -> String {
    let text = serde_json::from_slice::<ApiBody>(body).ok().and_then(|body| body.message);
    let line = text.map_or_else(|| one_line(&String::from_utf8_lossy(body)), |text| one_line(&text));
    if line.is_empty() { "the answer is empty".to_owned() } else { line }
}

fn one_line(text: &str) -> String {
    let words = text.split(|letter: char| letter.is_whitespace() || letter.is_control());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The members of an answer that matter. A success has `type`, an error `status`.
#[derive(Deserialize)]
struct ApiBody {
    #[serde(rename = "type", default, deserialize_with = "text")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "text")]
    status: Option<String>,
    #[serde(default, deserialize_with = "text")]
    message: Option<String>,
}

/// A text; any other value is none.
fn text<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    Ok(Value::deserialize(value)?.as_str().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::Meaning::{
        Done, DoneBefore, Exists, KeyRefused, Limited, NotFound, Page, Redirected, Refused, Unavailable,
        Unclear,
    };
    use super::*;
    use crate::mapping::{Address, Channel, Customer, PrimaryId};
    use crate::omnidesk::Action;

    const RESULT: &str = r#"{"type":"result","message":"Customer updated.","ticketID":1}"#;
    const BODIES: [(Body, &str); 9] = [
        (Body::Empty, " \n"),
        (Body::Success, RESULT),
        (Body::Error, r#"{"status":"error","message":"No."}"#),
        (Body::Error, r#"{"type":"failure","message":"No."}"#),
        (Body::Page, "<!doctype html><title>Sign in</title>"),
        (Body::Other, r#"{"status":"error"}"#),
        (Body::Other, r#"{"status":7,"message":"No."}"#),
        (Body::Other, "[1]"),
        (Body::Other, "{\"type\":\"res"),
    ];

    fn call(kind: CallKind) -> Call {
        let address = Address::parse(Channel::Email, "ann@example.org", None).expect("an address");
        let action = match kind {
            CallKind::Create => {
                Action::Create { fields: Vec::new(), first: None, ticket_id: None, no_sync: false }
            }
            CallKind::Update => Action::Update { fields: Vec::new() },
            CallKind::AddChannel => Action::AddChannel { address, no_sync: false },
            CallKind::Purge => Action::Purge,
        };
        let primary_id = PrimaryId::new("C1").expect("an id");
        Call { customer: Customer { brand_id: 2, primary_id }, action }
    }

    fn answer(kind: CallKind, status: u16, body: &str) -> Answer {
        let body = body.as_bytes().to_vec();
        let exchange = Exchange::Answered { status, retry_after: None, quota_wait: None, body };
        judge(&call(kind), &exchange, &RefusalTexts::default())
    }

    /// The whole table: each call, status and kind of body.
    #[test]
    fn what_every_answer_means_and_proves() {
        for (kind, status) in
            CallKind::ALL.into_iter().flat_map(|kind| (100..=999).map(move |code| (kind, code)))
        {
            for (body, text) in BODIES {
                let is_limit_before_create = status == 429 && kind == CallKind::Create;
                let meaning = match (status, body) {
                    (200..=299, Body::Success) => Done,
                    (200, Body::Empty) if kind == CallKind::Purge => Done,
                    (200, Body::Error) => Refused,
                    (200..=299, Body::Page) | (408 | 425 | 500..=599, _) => Unavailable,
                    (300..=399, _) => Redirected,
                    (401 | 403, _) => KeyRefused,
                    (429, _) => Limited,
                    (400..=499, Body::Error) => Refused,
                    (_, Body::Page) => Page,
                    _ => Unclear,
                };
                let proof = match meaning {
                    Done => Proof::Done,
                    Refused => Proof::NotDone,
                    KeyRefused if body == Body::Error => Proof::NotDone,
                    Limited if is_limit_before_create => Proof::NotDone,
                    _ => Proof::Nothing,
                };
                let found = answer(kind, status, text);
                assert_eq!((found.meaning, found.proof), (meaning, proof), "{kind:?} {status} {text:?}");
                assert_eq!(found.message.is_empty(), meaning == Done, "{kind:?} {status} {text:?}");
            }
        }
    }

    /// The page for users shows each line of the table.
    #[test]
    fn the_documentation_has_the_whole_table() {
        let page = include_str!("../../docs/answers.md");
        for rule in RULES {
            let (first, last) = rule.status.clone().into_inner();
            let status = match (first, last) {
                (0, _) => "any other".to_owned(),
                (first, last) if first == last => first.to_string(),
                (first, last) => format!("{first} to {last}"),
            };
            let any = |all: bool, names: Vec<String>| if all { "any".to_owned() } else { names.join(", ") };
            let bodies = rule.bodies.iter().map(|body| format!("{body:?}").to_lowercase()).collect();
            let calls = rule.calls.iter().map(|call| call.as_str().to_owned()).collect();
            let proof = match rule.proof {
                Proof::Done => "done",
                Proof::NotDone => "not done",
                Proof::Nothing => "nothing",
            };
            let (bodies, calls) = (any(rule.bodies.len() == 5, bodies), any(rule.calls.len() == 4, calls));
            let line =
                format!("| {status} | {bodies} | {calls} | {:?} | {proof} |", rule.meaning).to_lowercase();
            assert!(page.to_lowercase().contains(&line), "docs/answers.md lacks {line}");
        }
    }

    #[test]
    fn the_words_of_a_refusal_have_a_meaning() {
        use CallKind::{AddChannel, Create, Purge, Update};
        let not_found = r#"{"status":"error","message":"Customer not found."}"#;
        let exists = r#"{"status":"error","message":"Customer already exists."}"#;
        for (kind, status, body, meaning, proof) in [
            (Create, 200, exists, Exists, Proof::NotDone),
            (Create, 400, exists, Exists, Proof::NotDone),
            (Update, 404, not_found, NotFound, Proof::NotDone),
            (Purge, 400, not_found, NotFound, Proof::NotDone),
            (Update, 404, "<html>Customer not found.</html>", Page, Proof::Nothing),
            (Update, 404, "Customer not found.", Unclear, Proof::Nothing),
            (
                AddChannel,
                409,
                r#"{"status":"error","message":"Channel already exists."}"#,
                DoneBefore,
                Proof::NotDone,
            ),
            (Create, 500, exists, Unavailable, Proof::Nothing),
        ] {
            let found = answer(kind, status, body);
            assert_eq!((found.meaning, found.proof), (meaning, proof), "{kind:?} {status} {body}");
        }
    }

    #[test]
    fn a_page_is_called_a_page() {
        let found = answer(CallKind::Create, 403, "<html><head><TITLE>\nAccess\ndenied </title></head>");
        assert_eq!(found.message, "a web page came instead of the API's answer: \"Access denied\"");
    }

    #[test]
    fn a_limit_lasts_as_long_as_the_server_says() {
        let quota_wait = Some(Duration::from_secs(4));
        let answer = |status, retry_after| {
            let exchange = Exchange::Answered { status, retry_after, quota_wait, body: vec![] };
            let answer = judge(&call(CallKind::Create), &exchange, &RefusalTexts::default());
            (answer.meaning, answer.proof, answer.wait)
        };
        let wait = Duration::from_secs(7);
        assert_eq!(answer(429, None), (Limited, Proof::NotDone, quota_wait));
        assert_eq!(answer(429, Some(wait)), (Limited, Proof::NotDone, Some(wait)));
        // It may come from a proxy after the API acted.
        assert_eq!(answer(503, Some(wait)), (Limited, Proof::Nothing, Some(wait)));
        // The fields of a limit make no 503 one.
        assert_eq!(answer(503, None), (Unavailable, Proof::Nothing, None));
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
        let text = shorten(&text, MESSAGE_CHARS_MAX);
        assert!(
            text.starts_with("a b x") && text.ends_with('…') && text.chars().count() == MESSAGE_CHARS_MAX + 1
        );
    }
}
