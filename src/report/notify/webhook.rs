//! A message to a chat: when it is due, and its body.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::RunEnd;
use super::delivery::DELIVERY_MAX;
use crate::omnidesk::{SecretName, SecretSource};
use crate::report::json_document;
use crate::units::Count;

const HEADERS: SecretName = SecretName { noun: "webhook's headers", setting: "webhook_headers in [notify]" };

/// `webhook_on`: the ends of runs that are posted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum WebhookOn {
    /// The first failure, a failure for other causes, and the first success after one.
    #[default]
    Change,
    /// Each failure.
    Failure,
    /// Each run.
    End,
}

impl WebhookOn {
    pub(super) fn is_due(self, state: &WebhookState, last: &WebhookState) -> bool {
        match self {
            Self::Change => state != last,
            Self::Failure => !state.is_ok(),
            Self::End => true,
        }
    }
}

/// How a run ended, without its counts: the same failure on the next night has the
/// same state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WebhookState(String);

const OK: &str = "ok";

impl WebhookState {
    pub(super) fn new(is_success: bool, end: &RunEnd) -> Self {
        if is_success {
            return Self(OK.to_owned());
        }
        let causes = end.causes.keys().map(|cause| format!("; {cause}"));
        Self(format!("exit code {}{}", end.exit_code, causes.collect::<String>()))
    }

    /// The last one that was delivered under this title. Without one, all is well so
    /// far.
    pub(super) fn read(path: &Path, title: &str) -> Self {
        Self(states(path).remove(title).unwrap_or_else(|| OK.to_owned()))
    }

    /// For the next run. Only the owner can read it.
    pub(super) fn write(&self, path: &Path, title: &str) -> io::Result<()> {
        let mut states = states(path);
        states.insert(title.to_owned(), self.0.clone());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(format!("{:#}\n", json!(states)).as_bytes())?;
        file.persist(path).map(drop).map_err(|error| error.error)
    }

    fn is_ok(&self) -> bool {
        self.0 == OK
    }

    fn describe(&self, last: &Self) -> &'static str {
        match (self.is_ok(), last.is_ok()) {
            (true, true) => "ok",
            (true, false) => "ok again",
            (false, false) if self != last => "failing for other causes",
            (false, _) => "failing",
        }
    }
}

/// By title: two configurations can share a checkpoint.
fn states(path: &Path) -> BTreeMap<String, String> {
    let states = std::fs::read(path).ok().and_then(|json| serde_json::from_slice(&json).ok());
    states.unwrap_or_default()
}

/// `webhook_body`: the JSON that the chat understands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum WebhookBody {
    /// `{"text": …}`, also of Mattermost, Rocket.Chat and Google Chat.
    #[default]
    Slack,
    /// An Adaptive Card, as a workflow of Microsoft Teams takes it.
    Teams,
    /// For other programs.
    Json,
}

impl WebhookBody {
    pub(super) fn render(
        self,
        title: &str,
        end: &RunEnd,
        state: &WebhookState,
        last: &WebhookState,
    ) -> String {
        let lines = lines(title, end, state.describe(last));
        let body = match self {
            Self::Slack => json!({ "text": escaped_for_slack(&lines.join("\n")) }),
            Self::Teams => teams_card(&lines),
            Self::Json => json_document(json!({
                "title": title,
                "text": lines.join("\n"),
                "ok": state.is_ok(),
                "changed": state != last,
                "exit_code": end.exit_code,
                "causes": end.causes,
            })),
        };
        body.to_string()
    }
}

fn lines(title: &str, end: &RunEnd, state: &str) -> Vec<String> {
    let head = format!("{title}: {state}");
    let line = format!("exit code {}: {}", end.exit_code, end.line);
    let causes = end.causes.iter().map(|(cause, rows)| match rows {
        Some(rows) => format!("{} {cause}", Count(*rows)),
        None => cause.clone(),
    });
    [head, line].into_iter().chain(causes).collect()
}

/// These three begin links and mentions there.
fn escaped_for_slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The text of a card is Markdown, where a line end is a space: so each line is a block.
fn teams_card(lines: &[String]) -> Value {
    let blocks: Vec<Value> = lines
        .iter()
        .enumerate()
        .map(|(nth, line)| {
            let weight = if nth == 0 { "Bolder" } else { "Default" };
            json!({ "type": "TextBlock", "text": line, "wrap": true, "weight": weight })
        })
        .collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": blocks,
            },
        }],
    })
}

/// Lines `Name: value`. An error shows the number of a line and nothing of it.
pub(super) fn headers(source: &SecretSource) -> Result<HeaderMap, String> {
    let text = source.read(HEADERS, DELIVERY_MAX).map_err(|error| error.to_string())?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parsed = lines.map(|(nth, line)| {
        header(line).ok_or_else(|| format!("line {} of {source} is no header such as Name: value", nth + 1))
    });
    parsed.collect()
}

fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    let mut value = HeaderValue::from_str(value.trim()).ok()?;
    value.set_sensitive(true);
    Some((name.trim().parse().ok()?, value))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn end(exit_code: u8, causes: &[(&str, Option<u64>)]) -> RunEnd {
        let causes = causes.iter().map(|(cause, rows)| ((*cause).to_owned(), *rows));
        RunEnd { exit_code, line: "3 rows".to_owned(), causes: causes.collect::<BTreeMap<_, _>>() }
    }

    fn state(exit_code: u8, causes: &[(&str, Option<u64>)]) -> WebhookState {
        WebhookState::new(exit_code == 0, &end(exit_code, causes))
    }

    #[test]
    fn a_change_is_a_failure_another_cause_or_the_end_of_it_but_not_another_count() {
        let ok = state(0, &[]);
        let phones = state(1, &[("rejected (bad_phone)", Some(3))]);
        let more_phones = state(1, &[("rejected (bad_phone)", Some(5))]);
        let emails = state(1, &[("rejected (bad_email)", Some(3))]);
        let due = |last: &WebhookState, state: &WebhookState| {
            [WebhookOn::Change, WebhookOn::Failure, WebhookOn::End].map(|on| on.is_due(state, last))
        };
        assert_eq!(due(&ok, &ok), [false, false, true]);
        assert_eq!((due(&ok, &phones), phones.describe(&ok)), ([true; 3], "failing"));
        assert_eq!(due(&phones, &more_phones), [false, true, true]);
        assert_eq!(
            (due(&phones, &emails), emails.describe(&phones)),
            ([true; 3], "failing for other causes")
        );
        assert_eq!((due(&emails, &ok), ok.describe(&emails)), ([true, false, true], "ok again"));
    }

    #[test]
    fn a_title_cannot_mention_everybody_in_slack() {
        let ok = state(0, &[]);
        let body = WebhookBody::Slack.render("a & <!channel>", &end(0, &[]), &ok, &ok);
        assert_eq!(body, r#"{"text":"a &amp; &lt;!channel&gt;: ok\nexit code 0: 3 rows"}"#);
    }

    #[test]
    fn a_header_is_a_name_and_a_value() {
        let (name, value) = header("Authorization: Bearer a:b ").expect("a header");
        assert_eq!((name.as_str(), value.as_bytes()), ("authorization", &b"Bearer a:b"[..]));
        assert!(value.is_sensitive());
        for line in ["Bearer", ": x", "a b: x", "A: x\u{7f}y"] {
            assert!(header(line).is_none(), "{line}");
        }
    }
}
