//! Requests to a monitor when a run begins and when it ends. A dead man's switch
//! raises the alarm after a failure, and when no request comes.
//!
//! Nothing here can fail a run, or delay it by more than [`PING_MAX`]. A request
//! holds counts and exit codes: no name, address, id or key, and no message of the
//! server, which may quote a row.

use std::fmt;
use std::thread::JoinHandle;
use std::time::Duration;

use reqwest::{Client as HttpClient, StatusCode, Url};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::omnidesk::{is_loopback, parse_url};
use crate::units::error_chain;

/// For all attempts of one notification.
const PING_MAX: Duration = Duration::from_secs(10);
/// For one attempt. Three and the pauses between them stay below [`PING_MAX`].
const ATTEMPT_MAX: Duration = Duration::from_secs(3);
const ATTEMPTS: u32 = 3;
/// Before the second attempt; twice as long before the third.
const PAUSE: Duration = Duration::from_millis(200);

/// The highest exit code.
const EXIT_CODE_MAX: u8 = 7;

/// `[notify]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NotifySettings {
    start: Option<PingUrl>,
    success: Option<PingUrl>,
    failure: Option<PingUrl>,
    method: PingMethod,
    success_codes: Vec<u8>,
}

impl Default for NotifySettings {
    fn default() -> Self {
        Self {
            start: None,
            success: None,
            failure: None,
            method: PingMethod::default(),
            success_codes: vec![0],
        }
    }
}

impl NotifySettings {
    /// One message for each.
    pub(crate) fn problems(&self) -> Vec<String> {
        let invalid = self.success_codes.iter().filter(|code| **code > EXIT_CODE_MAX);
        invalid.map(|code| format!("notify.success_codes: there is no exit code {code}")).collect()
    }
}

/// `method` in `[notify]`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum PingMethod {
    /// The body holds the exit code and the counts.
    #[default]
    Post,
    /// For monitors that accept nothing else.
    Get,
}

/// The URL of a monitor. Anybody with its path can silence the alarm, so only the
/// host is ever shown.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
struct PingUrl(Url);

impl TryFrom<String> for PingUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_url(&text, "it, and silence the alarm").map(Self)
    }
}

impl fmt::Debug for PingUrl {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{}://{}/…", self.0.scheme(), self.0.host_str().unwrap_or_default())
    }
}

/// Notifies the monitor of one run.
#[derive(Debug)]
pub(crate) struct Notifier {
    settings: NotifySettings,
    start: Option<JoinHandle<Result<(), String>>>,
}

impl Notifier {
    pub(crate) fn new(settings: NotifySettings) -> Self {
        Self { settings, start: None }
    }

    /// The run does not wait for this.
    pub(crate) fn start(&mut self) {
        let Some(url) = self.settings.start.clone() else { return };
        let method = self.settings.method;
        self.start = Some(std::thread::spawn(move || ping(&url, method, "started")));
    }

    pub(crate) fn is_success(&self, exit_code: u8) -> bool {
        self.settings.success_codes.contains(&exit_code)
    }

    /// Returns a message for each notification that was not delivered.
    pub(crate) fn end(mut self, exit_code: u8, line: &str) -> Vec<String> {
        // First, so that the monitor gets the start before the end.
        let start = self
            .start
            .take()
            .map(|thread| ("start", thread.join().unwrap_or_else(|_| Err("its thread panicked".to_owned()))));
        let (name, url) = if self.is_success(exit_code) {
            ("success", &self.settings.success)
        } else {
            ("failure", &self.settings.failure)
        };
        let text = format!("exit {exit_code}: {line}\n");
        let end = url.as_ref().map(|url| (name, ping(url, self.settings.method, &text)));
        let failures = start.into_iter().chain(end).filter_map(|(name, sent)| Some((name, sent.err()?)));
        failures.map(|(name, error)| format!("the {name} notification was not delivered: {error}")).collect()
    }
}

/// Takes at most [`PING_MAX`]. An error names the host and no more of the URL.
fn ping(url: &PingUrl, method: PingMethod, text: &str) -> Result<(), String> {
    let host = url.0.host_str().unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("{host}: {error}"))?;
    let sent = runtime.block_on(async {
        let late = || Err(format!("no answer within {} s", PING_MAX.as_secs()));
        tokio::time::timeout(PING_MAX, attempts(url, method, text)).await.unwrap_or_else(|_| late())
    });
    // A name server that does not answer would delay the end of the runtime.
    runtime.shutdown_background();
    sent.map_err(|error| format!("{host}: {error}"))
}

async fn attempts(url: &PingUrl, method: PingMethod, text: &str) -> Result<(), String> {
    let client = client(url).map_err(describe)?;
    let mut nth = 1;
    loop {
        let request = match method {
            PingMethod::Post => client.post(url.0.clone()).body(text.to_owned()),
            PingMethod::Get => client.get(url.0.clone()),
        };
        let problem = match request.send().await.map(|answer| answer.status()) {
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

fn client(url: &PingUrl) -> reqwest::Result<HttpClient> {
    let builder = HttpClient::builder()
        .user_agent(concat!("omnidesk-sync/", env!("CARGO_PKG_VERSION")))
        .timeout(ATTEMPT_MAX)
        // A redirect may lead to an address without TLS.
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never());
    if is_loopback(&url.0) { builder.no_proxy().build() } else { builder.build() }
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
    fn a_monitor_needs_https_except_on_this_machine() {
        for valid in
            ["https://hc.example.org/5f3-a/fail", "https://x/push?status=up", "http://127.0.0.1:8000/p"]
        {
            assert!(PingUrl::try_from(valid.to_owned()).is_ok(), "{valid}");
        }
        for invalid in
            ["http://hc.example.org/x", "hc.example.org/x", "ftp://x/y", "https://u:p@x/y", "https://x/y#z"]
        {
            assert!(PingUrl::try_from(invalid.to_owned()).is_err(), "{invalid}");
        }
    }

    #[test]
    fn only_the_host_is_shown() {
        let url =
            PingUrl::try_from("https://hc.example.org/5f3-secret?key=secret".to_owned()).expect("a URL");
        assert_eq!(format!("{url:?}"), "https://hc.example.org/…");
    }

    #[test]
    fn three_attempts_fit_into_the_bound() {
        assert!(ATTEMPT_MAX * ATTEMPTS + PAUSE * (1 + 2) < PING_MAX);
    }

    #[test]
    fn existing_exit_codes_can_be_a_success() {
        let settings = |success_codes: &[u8]| NotifySettings {
            success_codes: success_codes.to_vec(),
            ..NotifySettings::default()
        };
        assert!(settings(&[0, 1, 4]).problems().is_empty());
        assert_eq!(settings(&[0, 8]).problems().len(), 1);
        assert!(
            Notifier::new(settings(&[0, 4])).is_success(4) && !Notifier::new(settings(&[0])).is_success(4)
        );
    }
}
