//! Answers of something between client and API: a login, a proxy, a maintenance page.

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue, LOCATION, RETRY_AFTER};

use super::answer::Answer;

/// Status, a header, and the title of a page; an empty title makes an empty body.
type Template = (StatusCode, Option<(HeaderName, &'static str)>, &'static str);

const TEMPLATES: [Template; 11] = [
    (StatusCode::FOUND, Some((LOCATION, "https://login.example.org/?next=api")), "Sign in"),
    (StatusCode::TEMPORARY_REDIRECT, Some((LOCATION, "/maintenance")), "Moved"),
    (StatusCode::UNAUTHORIZED, None, "Sign in"),
    (StatusCode::FORBIDDEN, None, "Access denied"),
    (StatusCode::NOT_FOUND, None, ""),
    (StatusCode::NOT_FOUND, None, "Not found"),
    (StatusCode::BAD_REQUEST, None, "Bad request"),
    (StatusCode::CONFLICT, None, ""),
    (StatusCode::SERVICE_UNAVAILABLE, Some((RETRY_AFTER, "1")), "Maintenance"),
    (StatusCode::INTERNAL_SERVER_ERROR, None, "Something went wrong"),
    (StatusCode::NO_CONTENT, None, ""),
];

/// One of the answers.
pub(super) fn answer(random: &mut fastrand::Rng) -> Answer {
    let (status, header, title) = TEMPLATES[random.usize(..TEMPLATES.len())].clone();
    let mut answer = match title {
        "" => Answer::empty(status),
        _ => {
            let head = format!("<html><head><title>{title}</title></head>");
            Answer::new(status, "text/html", format!("{head}<body><h1>{title}</h1></body></html>"))
        }
    };
    answer.headers.extend(header.map(|(name, value)| (name, HeaderValue::from_static(value))));
    answer
}
