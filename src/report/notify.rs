//! Word to a monitor that a run began, and how it ended, in the style of a
//! dead-man's switch: it raises the alarm when it hears of a failure, and when
//! it hears nothing.
//!
//! Nothing here can fail a run, or hold it up for longer than [`PING_MAX`].
//! What is said are counts and exit codes: no name, address, id or key, and no
//! words of the server or of an error, which may quote a row.

use std::fmt;
use std::str::FromStr;
use std::thread::JoinHandle;
use std::time::Duration;

use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;

use crate::omnidesk::is_loopback;

/// For one notification with all its attempts.
const PING_MAX: Duration = Duration::from_secs(10);
/// For one attempt. Three and the pauses between them stay below [`PING_MAX`].
const ATTEMPT_MAX: Duration = Duration::from_secs(3);
const ATTEMPTS: u32 = 3;
/// Before the second attempt; twice as long before the third.
const PAUSE: Duration = Duration::from_millis(200);

/// The highest exit code there is.
const EXIT_CODE_MAX: u8 = 7;

/// `[notify]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotifySettings {
    /// Where to say that a run begins.
    pub start: Option<PingUrl>,
    /// Where to say that it ended well.
    pub success: Option<PingUrl>,
    /// Where to say that it did not.
    pub failure: Option<PingUrl>,
    /// How to say it.
    pub method: Method,
    /// Exit codes that are a success.
    pub success_codes: Vec<u8>,
}

impl Default for NotifySettings {
    fn default() -> Self {
        Self { start: None, success: None, failure: None, method: Method::default(), success_codes: vec![0] }
    }
}

impl NotifySettings {
    /// What is wrong with it, one sentence each.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let unknown = self.success_codes.iter().filter(|code| **code > EXIT_CODE_MAX);
        unknown.map(|code| format!("notify.success_codes: there is no exit code {code}")).collect()
    }
}

/// `method`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// With the exit code and the counts as text.
    #[default]
    Post,
    /// Without a word, for monitors that take nothing else.
    Get,
}

/// Where a monitor listens: HTTPS, or HTTP to this machine itself. Who knows
/// the path can silence the alarm, so only the host is ever shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PingUrl(Url);

impl FromStr for PingUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("it is no URL ({error})"))?;
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err("neither a password nor a fragment belongs into it".to_owned());
        }
        match url.scheme() {
            "https" => Ok(Self(url)),
            "http" if is_loopback(&url) => Ok(Self(url)),
            "http" => Err(
                "who knows it can silence the alarm, and it would cross the network in the open; write https"
                    .to_owned(),
            ),
            other => Err(format!("the scheme {other:?} is not HTTPS")),
        }
    }
}

impl<'de> Deserialize<'de> for PingUrl {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        String::deserialize(reader)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for PingUrl {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{}://{}/…", self.0.scheme(), self.0.host_str().unwrap_or_default())
    }
}

/// Tells the monitor of one run.
#[derive(Debug)]
pub struct Notifier {
    settings: NotifySettings,
    starting: Option<JoinHandle<Result<(), String>>>,
}

impl Notifier {
    /// Nothing is said yet.
    #[must_use]
    pub fn new(settings: NotifySettings) -> Self {
        Self { settings, starting: None }
    }

    /// Says that the run begins; the run does not wait for that.
    pub fn start(&mut self) {
        let Some(url) = self.settings.start.clone() else { return };
        let method = self.settings.method;
        self.starting = Some(std::thread::spawn(move || ping(&url, method, "started")));
    }

    /// Whether an exit code is a success.
    #[must_use]
    pub fn is_success(&self, exit_code: u8) -> bool {
        self.settings.success_codes.contains(&exit_code)
    }

    /// Says how the run ended. Returns what could not be said, and why.
    pub fn end(mut self, exit_code: u8, line: &str) -> Vec<String> {
        let mut unsaid = Vec::new();
        let mut note = |what: &str, said: Result<(), String>| {
            unsaid.extend(said.err().map(|why| format!("the {what} notification was not delivered: {why}")));
        };
        // First, so that the monitor hears of the start before the end.
        if let Some(starting) = self.starting.take() {
            note("start", starting.join().unwrap_or_else(|_| Err("its thread panicked".to_owned())));
        }
        let (what, url) = match self.is_success(exit_code) {
            true => ("success", &self.settings.success),
            false => ("failure", &self.settings.failure),
        };
        if let Some(url) = url {
            note(what, ping(url, self.settings.method, &format!("exit {exit_code}: {line}\n")));
        }
        unsaid
    }
}

/// Says something, within [`PING_MAX`]. An error names the host and no more of
/// the URL.
fn ping(url: &PingUrl, method: Method, words: &str) -> Result<(), String> {
    let host = url.0.host_str().unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("{host}: {error}"))?;
    let said = runtime.block_on(async {
        let late = || Err(format!("no answer within {} s", PING_MAX.as_secs()));
        tokio::time::timeout(PING_MAX, attempts(url, method, words)).await.unwrap_or_else(|_| late())
    });
    // A name server that does not answer would hold up the end of the runtime.
    runtime.shutdown_background();
    said.map_err(|why| format!("{host}: {why}"))
}

async fn attempts(url: &PingUrl, method: Method, words: &str) -> Result<(), String> {
    let client = client(url).map_err(reason)?;
    let mut nth = 1;
    loop {
        let request = match method {
            Method::Post => client.post(url.0.clone()).body(words.to_owned()),
            Method::Get => client.get(url.0.clone()),
        };
        let (why, is_final) = match request.send().await.map(|answer| answer.status()) {
            Ok(status) if status.is_success() => return Ok(()),
            Ok(status) => {
                let may_pass = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                (format!("it answered {}", status.as_u16()), !may_pass)
            }
            Err(error) => (reason(error), false),
        };
        if is_final || nth == ATTEMPTS {
            return Err(why);
        }
        tokio::time::sleep(PAUSE * nth).await;
        nth += 1;
    }
}

fn client(url: &PingUrl) -> reqwest::Result<Client> {
    let builder = Client::builder()
        .user_agent(concat!("omnidesk-sync/", env!("CARGO_PKG_VERSION")))
        .timeout(ATTEMPT_MAX)
        // A redirect may lead to where anybody can read along.
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never());
    if is_loopback(&url.0) { builder.no_proxy().build() } else { builder.build() }
}

/// An error without the URL; its innermost cause says most.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    if error.is_timeout() {
        return format!("no answer within {} s", ATTEMPT_MAX.as_secs());
    }
    let mut innermost: &dyn std::error::Error = &error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monitor_is_told_where_nobody_reads_along() {
        for fine in
            ["https://hc.example.org/5f3-a/fail", "https://x/push?status=up", "http://127.0.0.1:8000/p"]
        {
            assert!(fine.parse::<PingUrl>().is_ok(), "{fine}");
        }
        for wrong in
            ["http://hc.example.org/x", "hc.example.org/x", "ftp://x/y", "https://u:p@x/y", "https://x/y#z"]
        {
            assert!(wrong.parse::<PingUrl>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_more_than_the_host_is_shown() {
        let url: PingUrl = "https://hc.example.org/5f3-secret?key=secret".parse().expect("a URL");
        assert_eq!(format!("{url:?}"), "https://hc.example.org/…");
    }

    #[test]
    fn three_attempts_fit_into_the_bound() {
        assert!(ATTEMPT_MAX * ATTEMPTS + PAUSE * (1 + 2) < PING_MAX);
    }

    #[test]
    fn exit_codes_that_there_are_can_be_a_success() {
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
