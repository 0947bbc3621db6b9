//! What the sandbox says: the two JSON shapes of the API page, and the empty body of a purge.

use std::borrow::Cow;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::json;

/// An answer before it becomes bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: u16,
    /// The text of the JSON body; without one the body is empty. It never holds a value from the request.
    pub(super) message: Option<Cow<'static, str>>,
    /// Seconds for the header `Retry-After`.
    pub(super) retry_after: Option<u64>,
    /// The method for the header `Allow`.
    pub(super) allow: Option<&'static str>,
}

impl Answer {
    /// A 200 of the shape `{"type":"result","message":…}`.
    pub(super) fn done(message: &'static str) -> Self {
        Self { message: Some(message.into()), ..Self::empty() }
    }

    /// A 200 with an empty body.
    pub(super) fn empty() -> Self {
        Self { status: 200, message: None, retry_after: None, allow: None }
    }

    /// An error of the shape `{"status":"error","message":…}`.
    pub(super) fn error(status: u16, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, message: Some(message.into()), ..Self::empty() }
    }

    /// The 400 that refuses a call.
    pub(super) fn refusal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::error(400, message)
    }

    /// The 429 that slows a client down, naming a time if `seconds` are given.
    pub(super) fn throttled(seconds: Option<u64>) -> Self {
        Self { retry_after: seconds, ..Self::error(429, "Too many requests.") }
    }

    /// Whether the call did what it says.
    pub(super) fn is_success(&self) -> bool {
        self.status == 200
    }

    /// The answer as it goes over the wire.
    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let is_success = self.is_success();
        let body = match &self.message {
            None => String::new(),
            Some(message) if is_success => json!({"type": "result", "message": message}).to_string(),
            Some(message) => json!({"status": "error", "message": message}).to_string(),
        };
        let mut response = with_type("application/json", body);
        // Each status of this room is one that HTTP knows.
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or_default();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(method) = self.allow {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(method));
        }
        response
    }
}

/// A 200 with this content type and body.
pub(super) fn with_type(content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
