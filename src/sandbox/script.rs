//! Answers by script: a TOML file whose rules say which calls get which answer, and whether they have their effect.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use hyper::StatusCode;
use hyper::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::SandboxError;
use super::answer::Answer;
use super::call::{Call, Route};
use super::reaction::{Execution, Reaction};

/// Rules for correct calls within the rate limit. The first rule that matches a call and is not used up answers it; the
/// rules below it do not see the call. Default: no rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    answer: Vec<Spanned<Rule>>,
}

/// `[[answer]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// Default: any.
    call: Option<Route>,
    /// A customer's id, in which one `*` stands for any text. Default: any.
    #[serde(default, deserialize_with = "read_id")]
    id: Option<String>,
    /// How many matching calls go on to the next rule before the first one is answered.
    #[serde(default)]
    skip: u64,
    /// How many calls are answered. Default: any number.
    times: Option<u64>,
    /// Whether the call has its effect, or the refusal that it deserves.
    #[serde(default)]
    acts: bool,
    #[serde(deserialize_with = "read_status")]
    status: StatusCode,
    #[serde(default, deserialize_with = "read_headers")]
    headers: Vec<(HeaderName, HeaderValue)>,
    #[serde(default)]
    body: String,
    /// The calls that have matched.
    #[serde(skip)]
    matches: u64,
}

impl Script {
    pub fn read(path: &Path) -> Result<Self, SandboxError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SandboxError::ReadScript { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// The path is for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self, SandboxError> {
        let error = |message: &str, span: Option<Range<usize>>| {
            let before = &text[..span.map_or(0, |span| span.start.min(text.len()))];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            SandboxError::Script { path: path.to_owned(), line, column, message: message.to_owned() }
        };
        let document: Document =
            toml::from_str(text).map_err(|source| error(source.message(), source.span()))?;
        let mut rules = Vec::new();
        for rule in document.answer {
            let span = rule.span();
            let rule = rule.into_inner();
            let is_bodiless = matches!(rule.status.as_u16(), 101 | 204 | 304);
            if is_bodiless && !rule.body.is_empty() {
                let status = rule.status.as_u16();
                return Err(error(&format!("an answer with status {status} has no body"), Some(span)));
            }
            rules.push(rule);
        }
        Ok(Self { rules })
    }

    /// The reaction to the next call, if a rule has one.
    pub(super) fn next(&mut self, call: &Call) -> Option<Reaction> {
        self.rules.iter_mut().find_map(|rule| rule.next(call))
    }
}

impl Rule {
    fn next(&mut self, call: &Call) -> Option<Reaction> {
        let is_match = self.call.is_none_or(|route| route == call.route)
            && self.id.as_ref().is_none_or(|id| matches_id(id, &call.customer.id.primary_id));
        if !is_match {
            return None;
        }
        let answered = self.matches.checked_sub(self.skip);
        self.matches += 1;
        if answered? >= self.times.unwrap_or(u64::MAX) {
            return None;
        }
        let execution = if self.acts { Execution::Now } else { Execution::Never };
        let Self { status, headers, body, .. } = self.clone();
        Some(Reaction::Replace { execution, answer: Some(Answer { status, headers, body: body.into() }) })
    }
}

fn matches_id(pattern: &str, id: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == id,
        Some((start, end)) => id.strip_prefix(start).is_some_and(|rest| rest.ends_with(end)),
    }
}

fn read_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let id = String::deserialize(deserializer)?;
    if id.matches('*').count() > 1 {
        return Err(D::Error::custom("an id has one * at most"));
    }
    Ok(Some(id))
}

/// Interim answers are left out: the server would send 500 in their place.
fn read_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StatusCode, D::Error> {
    let number = i64::deserialize(deserializer)?;
    let status = u16::try_from(number).ok().filter(|number| matches!(number, 101 | 200..=999));
    let status = status.and_then(|number| StatusCode::from_u16(number).ok());
    status.ok_or_else(|| {
        D::Error::custom(format!("status {number} cannot be sent; valid are 101 and 200 to 999"))
    })
}

fn read_headers<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(HeaderName, HeaderValue)>, D::Error> {
    let headers = BTreeMap::<String, String>::deserialize(deserializer)?.into_iter().map(|(name, value)| {
        let header = HeaderName::try_from(&name).ok().zip(HeaderValue::try_from(value).ok());
        let header = header.ok_or_else(|| D::Error::custom(format!("\"{name}\" is not a valid header")))?;
        if [CONTENT_LENGTH, TRANSFER_ENCODING].contains(&header.0) {
            return Err(D::Error::custom(format!("{name} follows from the body; leave it out")));
        }
        Ok(header)
    });
    headers.collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_file_line_and_column() {
        let cases = [
            ("[[answer]]\nstatus = \n", "s.toml:2:"),
            ("[[answer]]\nbody = \"x\"\n", "s.toml:1:1: missing field `status`"),
            ("", "s.toml:1:1: missing field `answer`"),
            ("[[anwser]]\nstatus = 200\n", "s.toml:1:3: unknown field `anwser`, expected `answer`"),
            (
                "[[answer]]\nstatus = 200\nfrom = 1\n",
                "s.toml:3:1: unknown field `from`, expected one of `call`, `id`, `skip`, `times`",
            ),
            (
                "[[answer]]\nstatus = 200\ncall = \"creat\"\n",
                "s.toml:3:8: unknown variant `creat`, expected one of `create`, `update`, `add-channel`, `purge`",
            ),
            (
                "[[answer]]\n  status = 103\n",
                "s.toml:2:12: status 103 cannot be sent; valid are 101 and 200 to 999",
            ),
            ("[[answer]]\nstatus = 100000\n", "s.toml:2:10: status 100000 cannot be sent"),
            ("[[answer]]\nstatus = 200\nid = \"*a*\"\n", "s.toml:3:6: an id has one * at most"),
            ("[[answer]]\nstatus = 200\ntimes = -1\n", "s.toml:3:9: "),
            (
                "[[answer]]\nstatus = 200\nheaders = { \"a b\" = \"x\" }\n",
                "s.toml:3:11: \"a b\" is not a valid header",
            ),
            (
                "[[answer]]\nstatus = 200\nheaders = { content-length = \"1\" }\n",
                "s.toml:3:11: content-length follows from the body; leave it out",
            ),
            (
                "[[answer]]\nstatus = 200\n[[answer]]\nstatus = 204\nbody = \"x\"\n",
                "s.toml:3:1: an answer with status 204 has no body",
            ),
        ];
        for (text, start) in cases {
            let error = Script::parse(text, Path::new("s.toml")).unwrap_err().to_string();
            assert!(error.starts_with(start), "{text}: {error}");
        }
    }

    #[test]
    fn one_star_in_an_id_stands_for_any_text() {
        for (pattern, id, expected) in [
            ("C-1", "C-1", true),
            ("C-1", "C-10", false),
            ("*", "", true),
            ("C-*", "C-1", true),
            ("C-*", "D-1", false),
            ("*-1", "C-1", true),
            ("C-*-1", "C-7-1", true),
            ("aba*ba", "aba", false),
        ] {
            assert_eq!(matches_id(pattern, id), expected, "{pattern} {id}");
        }
    }
}
