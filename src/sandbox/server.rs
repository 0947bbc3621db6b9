//! Connections and HTTP: reads requests, waits, misbehaves where a fault says so, and writes answers.

use std::io;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::answers::{Answer, with_type};
use super::calls::{Call, CustomerKey, Route};
use super::faults::{Fault, Faults};
use super::ledger::{Admission, Books};
use super::state::State;
use super::{SandboxKey, Settings};

/// The longest body that is read as a call; a call has some hundred bytes.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Longer bodies are read on and thrown away up to here, so that the client gets to the 413 instead of a reset.
const BODY_BYTES_DISCARDED_MAX: usize = 16 * 1024 * 1024;

/// A pause after a failed accept, which is mostly a lack of descriptors that passes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// What the connections share with each other and with the owner of the sandbox.
#[derive(Debug)]
pub(super) struct Shared {
    api_key: Option<SandboxKey>,
    faults: Faults,
    latency: Duration,
    latency_jitter: Duration,
    books: Mutex<Books>,
}

/// The request gets no answer: the server wants to close the connection, or the client has.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer")]
struct Unanswered;

impl Shared {
    /// Nothing has been received yet.
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            books: Mutex::new(Books::new(&settings, Instant::now())),
            api_key: settings.api_key,
            faults: settings.faults,
            latency: settings.latency,
            latency_jitter: settings.latency_jitter,
        }
    }

    /// What the sandbox holds now.
    pub(super) fn snapshot(&self) -> State {
        self.books().snapshot()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as long as an answer is to take.
    async fn wait(&self) {
        // No decision depends on the jitter, so it needs no seed.
        let jitter = self.latency_jitter.mul_f64(fastrand::f64());
        let latency = self.latency.saturating_add(jitter);
        if !latency.is_zero() {
            sleep(latency).await;
        }
    }
}

/// Serves until `stop` is notified. `ready` hears once whether it could begin.
pub(super) fn run(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    stop: &Notify,
    ready: &SyncSender<io::Result<()>>,
) {
    let begun =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().and_then(|runtime| {
            listener.set_nonblocking(true)?;
            let entered = runtime.enter();
            let listener = TcpListener::from_std(listener)?;
            drop(entered);
            Ok((runtime, listener))
        });
    let (word, server) = match begun {
        Ok(server) => (Ok(()), Some(server)),
        Err(error) => (Err(error), None),
    };
    // The owner waits for this word; if it is gone all the same, there is nobody to serve for.
    if ready.send(word).is_err() {
        return;
    }
    if let Some((runtime, listener)) = server {
        runtime.block_on(async {
            tokio::select! {
                () = stop.notified() => {}
                () = accept(&listener, &shared) => {}
            }
        });
    }
}

async fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(converse(stream, Arc::clone(shared)))),
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Serves one connection to its end.
async fn converse(stream: TcpStream, shared: Arc<Shared>) {
    // Without it the answers are only slower.
    drop(stream.set_nodelay(true));
    let service = service_fn(move |request| serve(Arc::clone(&shared), request));
    // A client keeps idle connections as long as it likes, so no timeout. The result says how the client left.
    let connection =
        http1::Builder::new().header_read_timeout(None).serve_connection(TokioIo::new(stream), service);
    drop(connection.await);
}

/// Serves one request. An error makes hyper close the connection with nothing written.
async fn serve(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Unanswered> {
    if request.uri().path().starts_with("/sandbox/") {
        return Ok(show(&shared, &request));
    }
    let (head, body) = request.into_parts();
    let body = read_body(body).await?;
    let route = Route::at(head.uri.path());
    let read = read_call(&shared, &head, route, body);
    let (seq, admission) = shared.books().receive(Instant::now(), route, read);
    let answer = match admission {
        Admission::Act(call, fault) => Exchange::new(&shared, seq, &call).carry_out(call, fault).await?,
        Admission::Answer(answer) => {
            shared.wait().await;
            answer
        }
    };
    Ok(answer.into_response())
}

/// The pages about the sandbox itself, which no key, limit, latency or fault is in the way of.
fn show(shared: &Shared, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (content_type, page) = match request.uri().path() {
        "/sandbox/state" => ("application/json", serde_json::to_string(&shared.snapshot())),
        "/sandbox/log" => ("application/x-ndjson", shared.books().log_lines()),
        _ => return not_found().into_response(),
    };
    match page {
        _ if request.method() != Method::GET => wrong_method("GET").into_response(),
        Ok(body) => with_type(content_type, body),
        Err(_) => Answer::error(500, "This page cannot be written.").into_response(),
    }
}

fn not_found() -> Answer {
    Answer::error(404, "There is nothing at this path.")
}

fn wrong_method(method: &'static str) -> Answer {
    let error = Answer::error(405, format!("This path takes {method} only."));
    Answer { allow: Some(method), ..error }
}

/// A body that was read to its end: its bytes, or `None` if they were too many.
async fn read_body(mut body: Incoming) -> Result<Option<Vec<u8>>, Unanswered> {
    let (mut bytes, mut seen) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unanswered)?.into_data() else {
            continue;
        };
        seen += data.len();
        if seen <= BODY_BYTES_MAX {
            bytes.extend_from_slice(&data);
        } else if seen > BODY_BYTES_DISCARDED_MAX {
            break;
        }
    }
    Ok((seen <= BODY_BYTES_MAX).then_some(bytes))
}

/// Checks what surrounds the call, from the outside in, then reads it.
fn read_call(
    shared: &Shared,
    head: &Parts,
    route: Option<Route>,
    body: Option<Vec<u8>>,
) -> Result<Call, Answer> {
    let route = route.ok_or_else(not_found)?;
    if head.method.as_str() != route.method() {
        return Err(wrong_method(route.method()));
    }
    if shared.api_key.as_ref().is_some_and(|key| !is_opened(key, head)) {
        return Err(Answer::error(401, "The API key is missing or wrong."));
    }
    let too_large = || Answer::error(413, "The body is larger than 1 MiB.");
    let body = body.ok_or_else(too_large)?;
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    Call::read(route, content_type, &body)
}

/// Whether the request carries the key, in the header or in the query.
fn is_opened(key: &SandboxKey, head: &Parts) -> bool {
    if let Some(offered) = head.headers.get("apikey") {
        return offered.to_str().is_ok_and(|offered| key.opens_with(offered));
    }
    let mut pairs = url::form_urlencoded::parse(head.uri.query().unwrap_or("").as_bytes());
    pairs.any(|(name, offered)| name == "apiKey" && key.opens_with(&offered))
}

/// An admitted request until its end. Dropped before that, which hyper does when the client goes away, it is abandoned.
struct Exchange<'a> {
    shared: &'a Arc<Shared>,
    seq: u64,
    route: Route,
    customer: CustomerKey,
    is_settled: bool,
}

impl<'a> Exchange<'a> {
    fn new(shared: &'a Arc<Shared>, seq: u64, call: &Call) -> Self {
        let (route, customer) = (call.action.route(), call.customer.clone());
        Self { shared, seq, route, customer, is_settled: false }
    }

    /// Acts as the fault says, waits, and gives the answer, or none where the connection is to be closed.
    ///
    /// The call is acted on before any wait: a server does not stop because a client does not wait for it.
    async fn carry_out(mut self, call: Call, fault: Option<Fault>) -> Result<Answer, Unanswered> {
        let answer = self.begin(call, fault);
        if fault == Some(Fault::Stall) {
            sleep(self.shared.faults.stall_for).await;
        }
        self.shared.wait().await;
        self.is_settled = true;
        let mut books = self.shared.books();
        books.settle(self.seq, self.route, &self.customer, answer.as_ref());
        drop(books);
        answer.ok_or(Unanswered)
    }

    fn begin(&self, call: Call, fault: Option<Fault>) -> Option<Answer> {
        match fault {
            None | Some(Fault::Stall) => return Some(self.shared.books().act(call)),
            Some(Fault::ErrorAfter | Fault::ResetAfter) => drop(self.shared.books().act(call)),
            Some(Fault::Late) => self.put_off(call),
            Some(Fault::RefuseBefore | Fault::ResetBefore | Fault::Throttle) => {}
        }
        fault.and_then(Fault::answer)
    }

    fn put_off(&self, call: Call) {
        self.shared.books().put_off();
        let shared = Arc::clone(self.shared);
        drop(tokio::spawn(async move {
            sleep(shared.faults.late_for).await;
            shared.books().act_late(call);
        }));
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            self.shared.books().abandon(self.seq, &self.customer);
        }
    }
}
