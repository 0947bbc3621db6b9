//! One message on its way, in at most [`DELIVERY_MAX`].

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client as HttpClient, RequestBuilder, StatusCode, Url};

use super::url::NotifyUrl;
use crate::omnidesk::is_loopback;
use crate::units::error_chain;

/// For all attempts of one notification; likewise for reading its URL.
pub(super) const DELIVERY_MAX: Duration = Duration::from_secs(10);
/// For one attempt. Three and the pauses between them stay below [`DELIVERY_MAX`].
const ATTEMPT_MAX: Duration = Duration::from_secs(3);
const ATTEMPTS: u32 = 3;
/// Before the second attempt; twice as long before the third.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) enum Message {
    /// A GET.
    Empty,
    /// A POST.
    Text(String),
    /// A POST.
    Json { body: String, headers: HeaderMap },
}

impl Message {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    fn request(&self, client: &HttpClient, url: &Url) -> RequestBuilder {
        match self {
            Self::Empty => client.get(url.clone()),
            Self::Text(text) => client.post(url.clone()).body(text.clone()),
            Self::Json { body, headers } => {
                let json = HeaderValue::from_static("application/json");
                let request = client.post(url.clone()).header(CONTENT_TYPE, json);
                // They may replace the type of the content.
                request.headers(headers.clone()).body(body.clone())
            }
        }
    }
}

/// An error names the host and no more of the URL.
pub(super) fn deliver(
    url: &NotifyUrl,
    message: impl FnOnce() -> Result<Message, String>,
) -> Result<(), String> {
    let (url, message) = (url.read()?, message()?);
    let host = url.host_str().unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("{host}: {error}"))?;
    let sent = runtime.block_on(async {
        let late = || Err(format!("no answer within {} s", DELIVERY_MAX.as_secs()));
        tokio::time::timeout(DELIVERY_MAX, attempts(&url, &message)).await.unwrap_or_else(|_| late())
    });
    // A name server that does not answer would delay the end of the runtime.
    runtime.shutdown_background();
    sent.map_err(|error| format!("{host}: {error}"))
}

async fn attempts(url: &Url, message: &Message) -> Result<(), String> {
    let client = client(url).map_err(describe)?;
    let mut nth = 1;
    loop {
        let problem = match message.request(&client, url).send().await.map(|answer| answer.status()) {
            Ok(status) if status.is_success() => return Ok(()),
            Ok(status) => {
                let problem = format!("it answered {}", status.as_u16());
                if !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS {
                    return Err(problem);
                }
                problem
            }
            Err(error) => describe(error),
        };
        if nth == ATTEMPTS {
            return Err(problem);
        }
        tokio::time::sleep(PAUSE * nth).await;
        nth += 1;
    }
}

/// TLS and proxies are those of the API's client.
fn client(url: &Url) -> reqwest::Result<HttpClient> {
    let builder = HttpClient::builder()
        .user_agent(concat!("omnidesk-sync/", env!("CARGO_PKG_VERSION")))
        .timeout(ATTEMPT_MAX)
        // A redirect may lead to an address without TLS.
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never());
    if is_loopback(url) { builder.no_proxy().build() } else { builder.build() }
}

fn describe(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", ATTEMPT_MAX.as_secs());
    }
    error_chain(&error.without_url())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_attempts_fit_into_the_bound() {
        assert!(ATTEMPT_MAX * ATTEMPTS + PAUSE * (1 + 2) < DELIVERY_MAX);
    }
}
