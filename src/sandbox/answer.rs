//! The sandbox's answers: the two JSON shapes of the API page, and the empty body of a purge.

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
    /// The text of the JSON body; an empty one makes an empty body. It holds no value of the request.
    pub(super) message: Cow<'static, str>,
    /// A header besides the content type.
    pub(super) header: Option<(HeaderName, HeaderValue)>,
}

impl Answer {
    /// A 200 of the shape `{"type":"result","message":…}`.
    pub(super) fn success(message: &'static str) -> Self {
        Self::error(StatusCode::OK, message)
    }

    /// An error of the shape `{"status":"error","message":…}`.
    pub(super) fn error(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, message: message.into(), header: None }
    }

    /// The 400 that refuses a call.
    pub(super) fn refusal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::error(StatusCode::BAD_REQUEST, message)
    }

    /// The 429 that slows a client down, with the time to wait if `seconds` are given.
    pub(super) fn throttled(seconds: Option<u64>) -> Self {
        let header = seconds.map(|seconds| (RETRY_AFTER, seconds.into()));
        Self { header, ..Self::error(StatusCode::TOO_MANY_REQUESTS, "Too many requests.") }
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let body = if self.message.is_empty() {
            String::new()
        } else if self.status == StatusCode::OK {
            json!({"type": "result", "message": self.message}).to_string()
        } else {
            json!({"status": "error", "message": self.message}).to_string()
        };
        let mut response = page("application/json", body);
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.header);
        response
    }
}

/// A 200 with this content type and body.
pub(super) fn page(content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
