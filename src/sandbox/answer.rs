//! The sandbox's answers: the two JSON shapes of the API page, the empty body of a purge, and any other.

use std::borrow::Cow;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::json;

/// An answer before it becomes bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Cow<'static, str>,
}

impl Answer {
    pub(super) fn new(
        status: StatusCode,
        content_type: &'static str,
        body: impl Into<Cow<'static, str>>,
    ) -> Self {
        let headers = vec![(CONTENT_TYPE, HeaderValue::from_static(content_type))];
        Self { status, headers, body: body.into() }
    }

    /// A status and nothing else.
    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: "".into() }
    }

    /// A 200 of the shape `{"type":"result","message":…}`.
    pub(super) fn success(message: &'static str) -> Self {
        let body = json!({"type": "result", "message": message}).to_string();
        Self::new(StatusCode::OK, "application/json", body)
    }

    /// Whether it has that shape.
    pub(super) fn is_success(&self) -> bool {
        self.status == StatusCode::OK && self.body.contains(r#""type":"result""#)
    }

    /// An error of the shape `{"status":"error","message":…}`. The message holds no value of the request.
    pub(super) fn error(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        let body = json!({"status": "error", "message": message.into()}).to_string();
        Self::new(status, "application/json", body)
    }

    /// The 400 that refuses a call.
    pub(super) fn refusal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::error(StatusCode::BAD_REQUEST, message)
    }

    /// The 429 that slows a client down, with the time to wait if `seconds` are given.
    pub(super) fn throttled(seconds: Option<u64>) -> Self {
        let mut answer = Self::error(StatusCode::TOO_MANY_REQUESTS, "Too many requests.");
        answer.headers.extend(seconds.map(|seconds| (RETRY_AFTER, seconds.into())));
        answer
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body.into_owned())));
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers);
        response
    }

    /// The text in a JSON body, or nothing.
    #[cfg(test)]
    pub(super) fn message(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["message"].as_str().unwrap_or_default().to_owned()
    }
}
