//! Connections and HTTP: reads requests, waits, fails by the chosen fault, and writes answers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::answer::Answer;
use super::call::{Call, Route};
use super::customer::CustomerId;
use super::ledger::{Admission, Ledger};
use super::list::{LIST_PATH, ListRange};
use super::log::End;
use super::reaction::{Execution, Reaction};
use super::wording::Refusal;
use super::{KeyPlace, SandboxError, Settings};

/// The longest body that is read as a call; a call has some hundred bytes.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The rest of longer bodies is read and dropped up to here, so that the client gets the 413 and no reset.
const BODY_BYTES_DISCARDED_MAX: usize = 16 * 1024 * 1024;

/// A pause after a failed accept, which is mostly a lack of descriptors that passes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// The state that the connections share with each other and with the owner of the sandbox.
#[derive(Debug)]
pub(super) struct Shared {
    settings: Settings,
    ledger: Mutex<Ledger>,
}

/// The request gets no answer: the server wants to close the connection, or the client has.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer")]
struct NoAnswer;

impl Shared {
    pub(super) fn new(settings: Settings) -> Result<Self, SandboxError> {
        let mut ledger = Ledger::new(&settings, Instant::now());
        if let Some(path) = &settings.state {
            let opened = ledger.store.open_state(path);
            opened.map_err(|source| SandboxError::State { path: path.clone(), source })?;
        }
        Ok(Self { ledger: Mutex::new(ledger), settings })
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait_latency(&self) {
        // No choice depends on the jitter, so it needs no seed.
        let jitter = self.settings.latency_jitter.mul_f64(fastrand::f64());
        let latency = self.settings.latency.saturating_add(jitter);
        if !latency.is_zero() {
            sleep(latency).await;
        }
    }
}

pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve_connection(stream, Arc::clone(&shared)))),
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn serve_connection(stream: TcpStream, shared: Arc<Shared>) {
    // Without it the answers are only slower.
    drop(stream.set_nodelay(true));
    let service = service_fn(move |request| serve(Arc::clone(&shared), request));
    // A client keeps idle connections as long as it likes, so no timeout. How it ends the connection does not matter.
    let connection =
        http1::Builder::new().header_read_timeout(None).serve_connection(TokioIo::new(stream), service);
    drop(connection.await);
}

/// Serves one request. An error makes hyper close the connection with nothing written.
async fn serve(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, NoAnswer> {
    let (head, body) = request.into_parts();
    if head.uri.path().starts_with("/sandbox/") {
        return Ok(inspect(&shared, &head).into_response());
    }
    if head.method == Method::GET && head.uri.path() == LIST_PATH {
        let answer = list(&shared, &head);
        shared.wait_latency().await;
        return Ok(answer.into_response());
    }
    let body = read_body(body).await?;
    let route = Route::from_path(head.uri.path());
    let call = read_call(&shared.settings, &head, route, body);
    let admission = shared.ledger().receive(Instant::now(), route, call);
    let answer = match admission {
        Ok(admission) => execute(&shared, admission).await?,
        Err(answer) => {
            shared.wait_latency().await;
            answer
        }
    };
    Ok(answer.into_response())
}

/// The pages about the sandbox itself. No key, limit, latency or fault applies to them.
fn inspect(shared: &Shared, head: &Parts) -> Answer {
    let (content_type, text) = match head.uri.path() {
        "/sandbox/state" => ("application/json", serde_json::to_string(&shared.ledger().snapshot())),
        "/sandbox/log" => ("application/x-ndjson", shared.ledger().log.to_json_lines()),
        _ => return not_found(),
    };
    if head.method != Method::GET {
        return wrong_method("GET");
    }
    // Texts and numbers cannot fail to serialise.
    Answer::new(StatusCode::OK, content_type, text.unwrap_or_default())
}

/// The list of customers. The limit applies to it and no fault.
fn list(shared: &Shared, head: &Parts) -> Answer {
    let checked = check_key(&shared.settings, head).and_then(|()| ListRange::parse(head.uri.query()));
    shared.ledger().receive_list(Instant::now(), checked)
}

fn not_found() -> Answer {
    Answer::error(StatusCode::NOT_FOUND, "There is nothing at this path.")
}

fn wrong_method(method: &'static str) -> Answer {
    let message = format!("This path takes {method} only.");
    let mut answer = Answer::error(StatusCode::METHOD_NOT_ALLOWED, message);
    answer.headers.push((ALLOW, HeaderValue::from_static(method)));
    answer
}

/// Reads a body to its end; `None` if it is too long.
async fn read_body(mut body: Incoming) -> Result<Option<Vec<u8>>, NoAnswer> {
    let (mut bytes, mut len) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| NoAnswer)?.into_data() else {
            continue;
        };
        len += data.len();
        if len <= BODY_BYTES_MAX {
            bytes.extend_from_slice(&data);
        } else if len > BODY_BYTES_DISCARDED_MAX {
            break;
        }
    }
    Ok((len <= BODY_BYTES_MAX).then_some(bytes))
}

/// Checks path, method, key and length, in this order, then reads the call.
fn read_call(
    settings: &Settings,
    head: &Parts,
    route: Option<Route>,
    body: Option<Vec<u8>>,
) -> Result<Call, Answer> {
    let route = route.ok_or_else(not_found)?;
    let method = route.endpoint().method;
    if head.method.as_str() != method {
        return Err(wrong_method(method));
    }
    check_key(settings, head)?;
    let too_long = || Answer::error(StatusCode::PAYLOAD_TOO_LARGE, "The body is larger than 1 MiB.");
    let body = body.ok_or_else(too_long)?;
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let call = Call::read(route, settings.body, content_type, &body);
    call.map_err(|answer| settings.refusals().rewrite(Refusal::Invalid, answer))
}

fn check_key(settings: &Settings, head: &Parts) -> Result<(), Answer> {
    let is_keyless = |key: &SecretString| !has_key(head, key.expose_secret(), settings.key_place);
    if settings.api_key.as_ref().is_some_and(is_keyless) {
        return Err(settings.refusals().answer(Refusal::WrongKey));
    }
    Ok(())
}

/// Whether the request carries the key, in the header or in the query.
fn has_key(head: &Parts, key: &str, place: Option<KeyPlace>) -> bool {
    let header = head.headers.get("apikey").filter(|_| place != Some(KeyPlace::Query));
    if header.is_some() || place == Some(KeyPlace::Header) {
        return header.is_some_and(|value| value == key);
    }
    let mut pairs = url::form_urlencoded::parse(head.uri.query().unwrap_or("").as_bytes());
    pairs.any(|(name, value)| name == "apiKey" && value == key)
}

/// An admitted request. Dropped at its end, it records that. hyper drops it earlier when the client goes away.
struct Exchange<'a> {
    shared: &'a Shared,
    seq: u64,
    customer: CustomerId,
    end: End,
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        self.shared.ledger().end(self.seq, &self.customer, self.end);
    }
}

/// Executes the call, waits, and gives the answer, or none where the connection is to be closed.
///
/// The call is executed before any wait: a server does not stop because a client does not wait for it.
async fn execute(shared: &Arc<Shared>, admission: Admission) -> Result<Answer, NoAnswer> {
    let Admission { seq, call, reaction } = admission;
    let (route, customer) = (call.route, call.customer.id.clone());
    let mut exchange = Exchange { shared, seq, customer, end: End::Abandoned };
    let (is_own, is_stalled) = (!matches!(reaction, Reaction::Replace { .. }), reaction == Reaction::Stall);
    let answer = begin(shared, call, reaction);
    if is_stalled {
        sleep(shared.settings.faults.stall_for).await;
    }
    shared.wait_latency().await;
    let is_success = answer.as_ref().is_some_and(Answer::is_success);
    exchange.end = answer.as_ref().map_or(End::Closed, |answer| End::Answered(answer.status.as_u16()));
    if is_own && route == Route::Create && is_success {
        shared.ledger().store.acknowledge_create(&exchange.customer);
    }
    answer.ok_or(NoAnswer)
}

fn begin(shared: &Arc<Shared>, call: Call, reaction: Reaction) -> Option<Answer> {
    let Reaction::Replace { execution, answer } = reaction else {
        return Some(shared.ledger().store.execute(call));
    };
    match execution {
        Execution::Never => {}
        Execution::Now => drop(shared.ledger().store.execute(call)),
        Execution::Late => execute_late(Arc::clone(shared), call),
    }
    answer
}

/// Executes the call after its answer.
fn execute_late(shared: Arc<Shared>, call: Call) {
    shared.ledger().store.counters.late_pending += 1;
    drop(tokio::spawn(async move {
        sleep(shared.settings.faults.late_for).await;
        let store = &mut shared.ledger().store;
        store.counters.late_pending -= 1;
        store.execute(call);
    }));
}
