//! One HTTP exchange for one call.

use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{ClientBuilder, Method, Url};

use super::answer::{BODY_BYTES_MAX, Exchange, parse_retry_after};
use super::call::{Call, CallKind};
use super::key::ApiKey;
use super::key_mask::KeyMask;
use super::quota;
use super::settings::{ApiSettings, Auth};
use super::wire::{BodyEncoding, Request};
use crate::units::error_chain;

/// For the connection alone, TLS included.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// The share of `timeout` that goes to the connection at most. With all of it,
/// the whole exchange would time out first, and a request that was never sent
/// would count as one whose answer was lost.
const CONNECT_SHARE: u32 = 2;

/// Between the pings of HTTP/2, and the wait for their answers; at most a third
/// of `timeout`. A request that times out closes a connection of HTTP/1.1, but
/// not one of HTTP/2. On a dead connection, each further request would be lost
/// for as long as the kernel keeps it.
const PING_MAX: Duration = Duration::from_secs(10);
const PING_SHARE: u32 = 3;

/// Below the keep-alive of common servers (5 s and more), so that a request
/// rarely takes a connection that the server is closing.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Why no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Most often TLS: this machine has no certificates of authorities.
    #[error(
        "cannot prepare HTTPS: {0}; are the system's CA certificates installed (package ca-certificates)?"
    )]
    Build(String),
    #[error("the API key cannot be a header of HTTP")]
    Key,
}

/// A tenant's API. It sends each call once.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    endpoints: [(Method, Url); CallKind::ALL.len()],
    body: BodyEncoding,
    mask: KeyMask,
    /// The variable that names a proxy; its value may hold a password.
    proxy: Option<&'static str>,
}

impl Client {
    /// Prepares the connection; nothing is sent.
    pub fn new(settings: &ApiSettings, key: &ApiKey) -> Result<Self, ClientError> {
        Self::build(settings, key, |builder| builder)
    }

    /// One whose [`Client::observe`] shows the server's certificate.
    pub(crate) fn with_certificate(settings: &ApiSettings, key: &ApiKey) -> Result<Self, ClientError> {
        Self::build(settings, key, |builder| builder.tls_info(true))
    }

    fn build(
        settings: &ApiSettings,
        key: &ApiKey,
        adjust: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<Self, ClientError> {
        let mut headers = HeaderMap::new();
        if settings.auth == Auth::Header {
            let mut value = HeaderValue::from_str(key.expose()).map_err(|_| ClientError::Key)?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static("apikey"), value);
        }
        let ping = (settings.timeout / PING_SHARE).min(PING_MAX);
        let mut builder = reqwest::Client::builder()
            .default_headers(headers)
            .user_agent(concat!("omnidesk-sync/", env!("CARGO_PKG_VERSION")))
            .connect_timeout((settings.timeout / CONNECT_SHARE).min(CONNECT_TIMEOUT_MAX))
            .timeout(settings.timeout)
            .http2_keep_alive_interval(ping)
            .http2_keep_alive_timeout(ping)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(settings.connections)
            .tcp_nodelay(true)
            // The default turns a POST into a GET and takes the key elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never());
        let mut proxy = None;
        if settings.base_url.is_loopback() {
            builder = builder.no_proxy();
        } else {
            proxy = proxy_variable();
        }
        let http = adjust(builder).build().map_err(|error| ClientError::Build(error_chain(&error)))?;
        let endpoints = CallKind::ALL.map(|kind| {
            let (method, path) = kind.endpoint();
            let mut url = settings.base_url.join(path);
            if settings.auth == Auth::Query {
                url.query_pairs_mut().append_pair("apiKey", key.expose());
            }
            (method, url)
        });
        Ok(Self { http, endpoints, body: settings.body, mask: KeyMask::new(key), proxy })
    }

    /// Sends a call, once, and waits for the whole answer.
    pub(crate) async fn send(&self, call: &Call) -> Exchange {
        self.observe(call).await.0
    }

    /// The same, with what the answer shows of the server.
    pub(crate) async fn observe(&self, call: &Call) -> (Exchange, ServerFacts) {
        let request = Request::new(call, self.body);
        let (method, url) = &self.endpoints[call.kind() as usize];
        let sent = self
            .http
            .request(method.clone(), url.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static(request.content_type))
            .body(request.body)
            .send()
            .await;
        self.read_answer(sent).await
    }

    /// Asks for a part of the list of customers, once, and waits for the whole answer.
    pub(crate) async fn list(&self, start: u64, limit: u64) -> Exchange {
        // The list is at the path of a create.
        let mut url = self.endpoints[CallKind::Create as usize].1.clone();
        let range = [("itemStart", start.to_string()), ("itemLimit", limit.to_string())];
        url.query_pairs_mut().extend_pairs(range);
        self.read_answer(self.http.get(url).send().await).await.0
    }

    async fn read_answer(&self, sent: reqwest::Result<reqwest::Response>) -> (Exchange, ServerFacts) {
        match sent {
            Ok(answer) => {
                let facts = ServerFacts::read(&answer);
                (read(answer).await, facts)
            }
            Err(error) => {
                // Only this phase is known to come before the request.
                let is_unsent = error.is_connect();
                let error = error.without_url();
                let exchange = if is_unsent {
                    Exchange::NotSent(self.connect_error(&error))
                } else {
                    Exchange::Lost(error_chain(&error))
                };
                (exchange, ServerFacts::default())
            }
        }
    }

    /// Why there is no connection. A proxy may be the cause, so it is named.
    fn connect_error(&self, error: &reqwest::Error) -> String {
        let text = error_chain(error);
        match self.proxy {
            Some(variable) => format!("{text} (through the proxy in {variable})"),
            None => text,
        }
    }

    /// A message of an answer, or of a failed connection, as it may be shown.
    pub(crate) fn show(&self, message: &str) -> String {
        self.mask.show(message)
    }
}

/// What an answer shows of the server, beside the call.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerFacts {
    /// The time by its clock.
    pub(crate) date: Option<SystemTime>,
    /// When its certificate expires.
    pub(crate) certificate_end: Option<SystemTime>,
}

impl ServerFacts {
    fn read(answer: &reqwest::Response) -> Self {
        let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
        let tls = answer.extensions().get::<reqwest::tls::TlsInfo>();
        Self {
            date: date.and_then(|date| httpdate::parse_http_date(date).ok()),
            certificate_end: tls.and_then(|tls| tls.peer_certificate()).and_then(certificate_end),
        }
    }
}

fn certificate_end(der: &[u8]) -> Option<SystemTime> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let end = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(end))
}

/// The environment variable that names a proxy for HTTPS. Its value is not
/// logged, since it may hold a password.
pub(crate) fn proxy_variable() -> Option<&'static str> {
    let variables = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let variable = variables.into_iter().find(is_set)?;
    let host = Url::parse(&std::env::var(variable).ok()?).ok();
    let host = host.as_ref().and_then(Url::host_str).unwrap_or("?");
    tracing::info!(variable, host, "requests go through a proxy");
    Some(variable)
}

async fn read(mut answer: reqwest::Response) -> Exchange {
    let status = answer.status().as_u16();
    let text = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let retry_after = text(RETRY_AFTER).and_then(|header| parse_retry_after(header, text(DATE)));
    let quota_wait = quota::wait(answer.headers());
    let mut body = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => {
                let room = BODY_BYTES_MAX - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if body.len() == BODY_BYTES_MAX {
                    break;
                }
            }
            Ok(None) => break,
            // The status came, so a refusal is one even if its body is cut.
            Err(_) if status >= 300 => break,
            Err(error) => return Exchange::Lost(error_chain(&error.without_url())),
        }
    }
    Exchange::Answered { status, retry_after, quota_wait, body }
}
