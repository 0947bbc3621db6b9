//! Messages to other programs when a run begins and when it ends: to a monitor, and
//! to a chat.
//!
//! A monitor is notified of every run. A dead man's switch raises the alarm after a
//! failure, and when no request comes. A chat is notified of a run
//! whose state differs from the last one.
//!
//! Nothing here can fail a run. A message holds counts, exit codes and codes of
//! causes: no name, address, id or key, and no message of the server, which may
//! quote a row.

mod delivery;
mod url;
mod webhook;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use reqwest::header::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;

use self::delivery::{Message, deliver};
use self::url::NotifyUrl;
use self::webhook::{WebhookBody, WebhookOn, WebhookState};
use crate::omnidesk::SecretSource;

/// The highest exit code.
const EXIT_CODE_MAX: u8 = 7;

/// `[notify]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NotifySettings {
    start: Option<NotifyUrl>,
    success: Option<NotifyUrl>,
    failure: Option<NotifyUrl>,
    method: PingMethod,
    success_codes: Vec<u8>,
    /// Of a chat.
    webhook: Option<NotifyUrl>,
    webhook_body: WebhookBody,
    /// Lines `Name: value`.
    webhook_headers: Option<SecretSource>,
    webhook_on: WebhookOn,
    /// Begins each message to the chat.
    webhook_title: String,
}

impl Default for NotifySettings {
    fn default() -> Self {
        Self {
            start: None,
            success: None,
            failure: None,
            method: PingMethod::default(),
            success_codes: vec![0],
            webhook: None,
            webhook_body: WebhookBody::default(),
            webhook_headers: None,
            webhook_on: WebhookOn::default(),
            webhook_title: "omnidesk-sync".to_owned(),
        }
    }
}

impl NotifySettings {
    /// One message for each.
    pub(crate) fn problems(&self) -> Vec<String> {
        let invalid = self.success_codes.iter().filter(|code| **code > EXIT_CODE_MAX);
        let invalid = invalid.map(|code| format!("notify.success_codes: there is no exit code {code}"));
        let sources = self.sources().into_iter().filter_map(|(key, source)| Some((key, source?)));
        let sources =
            sources.filter_map(|(key, source)| Some(format!("notify.{key}: {}", source.problem()?)));
        invalid.chain(sources).collect()
    }

    /// Makes relative paths relative to the folder of the configuration.
    pub(crate) fn resolve_paths(&mut self, folder: &Path) {
        let urls = [&mut self.start, &mut self.success, &mut self.failure, &mut self.webhook];
        let sources = urls.into_iter().flatten().filter_map(NotifyUrl::source_mut);
        sources.chain(&mut self.webhook_headers).for_each(|source| source.resolve(folder));
    }

    /// Where URLs and headers are kept, by key.
    fn sources(&self) -> [(&'static str, Option<&SecretSource>); 5] {
        [
            ("start", kept(&self.start)),
            ("success", kept(&self.success)),
            ("failure", kept(&self.failure)),
            ("webhook", kept(&self.webhook)),
            ("webhook_headers", self.webhook_headers.as_ref()),
        ]
    }

    /// Reads everything that is kept elsewhere, and names the sources that are there.
    pub(crate) fn check_sources(&self) -> Result<Vec<&SecretSource>, String> {
        for (key, url) in [
            ("start", &self.start),
            ("success", &self.success),
            ("failure", &self.failure),
            ("webhook", &self.webhook),
        ] {
            url.as_ref()
                .map_or(Ok(()), |url| url.read().map(drop))
                .map_err(|error| format!("{key}: {error}"))?;
        }
        if let Some(source) = &self.webhook_headers {
            webhook::headers(source).map_err(|error| format!("webhook_headers: {error}"))?;
        }
        Ok(self.sources().into_iter().filter_map(|(_, source)| source).collect())
    }
}

fn kept(url: &Option<NotifyUrl>) -> Option<&SecretSource> {
    url.as_ref().and_then(NotifyUrl::source)
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

/// The end of a run, as messages have it.
pub(crate) struct RunEnd {
    pub(crate) exit_code: u8,
    /// In one line that names no customer.
    pub(crate) line: String,
    /// Codes of what went wrong, with the number of rows if they are causes of rows.
    pub(crate) causes: BTreeMap<String, Option<u64>>,
}

/// Notifies the monitor and the chat of one run.
#[derive(Debug)]
pub(crate) struct Notifier {
    settings: NotifySettings,
    /// Where the state of the last run is kept.
    state_path: PathBuf,
    start: Option<JoinHandle<Result<(), String>>>,
}

impl Notifier {
    pub(crate) fn new(settings: NotifySettings, state_path: PathBuf) -> Self {
        Self { settings, state_path, start: None }
    }

    /// Of nobody.
    pub(crate) fn silent() -> Self {
        Self::new(NotifySettings::default(), PathBuf::new())
    }

    /// The run does not wait for this.
    pub(crate) fn start(&mut self) {
        let Some(url) = self.settings.start.clone() else { return };
        let message = self.ping("started");
        self.start = Some(std::thread::spawn(move || deliver(&url, || Ok(message))));
    }

    pub(crate) fn is_success(&self, exit_code: u8) -> bool {
        self.settings.success_codes.contains(&exit_code)
    }

    fn ping(&self, text: &str) -> Message {
        match self.settings.method {
            PingMethod::Post => Message::text(text),
            PingMethod::Get => Message::Empty,
        }
    }

    /// Returns a line for each notification that was not delivered.
    pub(crate) fn end(mut self, end: &RunEnd) -> Vec<String> {
        // First, so that the monitor gets the start before the end.
        let start = self
            .start
            .take()
            .map(|thread| ("start", thread.join().unwrap_or_else(|_| Err("its thread panicked".to_owned()))));
        let (name, url) = if self.is_success(end.exit_code) {
            ("success", &self.settings.success)
        } else {
            ("failure", &self.settings.failure)
        };
        let ping = self.ping(&format!("exit {}: {}\n", end.exit_code, end.line));
        let ping = url.as_ref().map(|url| (name, deliver(url, || Ok(ping))));
        let webhook = self.settings.webhook.as_ref().map(|url| ("webhook", self.post(url, end)));
        let sent = start.into_iter().chain(ping).chain(webhook);
        let failures = sent.filter_map(|(name, sent)| Some((name, sent.err()?)));
        failures.map(|(name, error)| format!("the {name} notification was not delivered: {error}")).collect()
    }

    /// Notifies the chat, if this end is due. The next run compares its own state with
    /// the last one that was delivered.
    fn post(&self, url: &NotifyUrl, end: &RunEnd) -> Result<(), String> {
        let settings = &self.settings;
        let title = &settings.webhook_title;
        let state = WebhookState::new(self.is_success(end.exit_code), end);
        let last = WebhookState::read(&self.state_path, title);
        if settings.webhook_on.is_due(&state, &last) {
            let body = settings.webhook_body.render(title, end, &state, &last);
            deliver(url, || {
                let headers =
                    settings.webhook_headers.as_ref().map_or(Ok(HeaderMap::new()), webhook::headers)?;
                Ok(Message::Json { body, headers })
            })?;
        }
        if state == last {
            return Ok(());
        }
        let written = state.write(&self.state_path, title);
        written.map_err(|error| format!("its state cannot be kept, so the next run may repeat it: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn existing_exit_codes_can_be_a_success() {
        let settings = |success_codes: &[u8]| NotifySettings {
            success_codes: success_codes.to_vec(),
            ..NotifySettings::default()
        };
        assert!(settings(&[0, 1, 4]).problems().is_empty());
        assert_eq!(settings(&[0, 8]).problems().len(), 1);
        let notifier = |codes| Notifier::new(settings(codes), PathBuf::new());
        assert!(notifier(&[0, 4]).is_success(4) && !notifier(&[0]).is_success(4));
    }
}
