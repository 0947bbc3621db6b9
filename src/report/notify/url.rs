//! Where a notification goes. Anybody with the whole URL of a monitor can silence
//! the alarm, and with that of a chat write into it. So only the host is ever shown.

use std::fmt;

use reqwest::Url;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;

use super::delivery::DELIVERY_MAX;
use crate::omnidesk::{SecretName, SecretSource, parse_url};

const NAME: SecretName = SecretName { noun: "URL", setting: "the URL in [notify]" };

/// A URL, or where it is kept.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum NotifyUrl {
    Plain(Url),
    Kept(SecretSource),
}

impl NotifyUrl {
    /// An error shows nothing of the URL.
    pub(super) fn read(&self) -> Result<Url, String> {
        match self {
            Self::Plain(url) => Ok(url.clone()),
            Self::Kept(source) => {
                let text = source.read(NAME, DELIVERY_MAX).map_err(|error| error.to_string())?;
                parse(&text).map_err(|problem| format!("the URL from {source}: {problem}"))
            }
        }
    }

    pub(super) fn source(&self) -> Option<&SecretSource> {
        match self {
            Self::Plain(_) => None,
            Self::Kept(source) => Some(source),
        }
    }

    pub(super) fn source_mut(&mut self) -> Option<&mut SecretSource> {
        match self {
            Self::Plain(_) => None,
            Self::Kept(source) => Some(source),
        }
    }
}

fn parse(text: &str) -> Result<Url, String> {
    parse_url(text, "it, and send messages of its own")
}

impl fmt::Debug for NotifyUrl {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Plain(url) => write!(out, "{}://{}/…", url.scheme(), url.host_str().unwrap_or_default()),
            Self::Kept(source) => source.fmt(out),
        }
    }
}

impl JsonSchema for NotifyUrl {
    fn schema_name() -> Cow<'static, str> {
        "NotifyUrl".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let source = generator.subschema_for::<SecretSource>();
        json_schema!({
            "description": "A URL, or where it is kept.",
            "anyOf": [{ "type": "string", "pattern": "^\\s*https?://" }, source],
        })
    }
}

impl<'de> Deserialize<'de> for NotifyUrl {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(NotifyUrlVisitor)
    }
}

/// By hand: the error of an untagged enum says only that nothing fits.
struct NotifyUrlVisitor;

impl<'de> Visitor<'de> for NotifyUrlVisitor {
    type Value = NotifyUrl;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("a URL, or where it is kept: { env = \"…\" }, { file = \"…\" }, { command = [\"…\"] } or { credential = \"…\" }")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<NotifyUrl, E> {
        parse(text).map(NotifyUrl::Plain).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<NotifyUrl, A::Error> {
        SecretSource::deserialize(MapAccessDeserializer::new(table)).map(NotifyUrl::Kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_needs_https_except_on_this_machine() {
        for valid in
            ["https://hc.example.org/5f3-a/fail", "https://x/push?status=up", "http://127.0.0.1:8000/p"]
        {
            assert!(parse(valid).is_ok(), "{valid}");
        }
        for invalid in
            ["http://hc.example.org/x", "hc.example.org/x", "ftp://x/y", "https://u:p@x/y", "https://x/y#z"]
        {
            assert!(parse(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn only_the_host_is_shown() {
        let url = NotifyUrl::Plain(parse("https://hc.example.org/5f3-secret?key=secret").expect("a URL"));
        assert_eq!(format!("{url:?}"), "https://hc.example.org/…");
    }
}
