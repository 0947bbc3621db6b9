//! A server behind TLS, with any certificate, and HTTP/1.1 or 2.

use std::error::Error;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::server::{CONTROL, RESULT};

/// A certificate authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub(crate) struct Identity(CertificateDer<'static>, PrivateKeyDer<'static>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `name` that ends with the year before `until`.
    pub(crate) fn certify(&self, name: &str, until: i32) -> Identity {
        self.certify_until(name, (until, 1, 1))
    }

    /// A certificate for `name` that ends with the day before year, month and day.
    pub(crate) fn certify_until(&self, name: &str, (year, month, day): (i32, u8, u8)) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.not_after = rcgen::date_time_ymd(year, month, day);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Identity(certificate.der().clone(), key.into())
    }
}

impl Identity {
    pub(crate) fn self_signed(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        Self(params.self_signed(&key).expect("a certificate").der().clone(), key.into())
    }
}

/// What happens to the first request; all others succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstRequest {
    Succeeds,
    /// Its HTTP/2 stream is refused.
    IsReset,
    /// It gets no answer, and its connection stays open.
    Hangs,
    /// It succeeds. Each connection ends with GOAWAY after some requests.
    PrecedesGoAway,
}

/// Answers every request with success, except perhaps the first.
pub(crate) struct TlsServer {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl TlsServer {
    /// Offers the protocol `alpn`.
    pub(crate) fn new(identity: Identity, alpn: &str, first: FirstRequest) -> Self {
        let Identity(certificate, key) = identity;
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a certificate");
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (requests, connections) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
        let (shared, count) = (Arc::clone(&requests), Arc::clone(&connections));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Relaxed);
                let (acceptor, requests) = (acceptor.clone(), Arc::clone(&shared));
                // A thread for each connection: one that hangs holds up no other.
                thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                    runtime.expect("a runtime").block_on(serve(stream, acceptor, requests, first))
                });
            }
        });
        Self { port, requests, connections }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// The requests as `HTTP/2.0 POST /path`.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("requests").clone()
    }
}

/// Requests of a connection before its GOAWAY.
const REQUESTS_BEFORE_GOAWAY: usize = 10;

/// Any error is only that the client hangs up.
async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    requests: Arc<Mutex<Vec<String>>>,
    first: FirstRequest,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    stream.set_nonblocking(true)?;
    let stream = acceptor.accept(tokio::net::TcpStream::from_std(stream)?).await?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let limit = Arc::new(Notify::new());
    let (count, reached) = (AtomicUsize::new(0), Arc::clone(&limit));
    let service = service_fn(move |request| {
        if count.fetch_add(1, Relaxed) + 1 == REQUESTS_BEFORE_GOAWAY {
            reached.notify_one();
        }
        answer(request, Arc::clone(&requests), first)
    });
    let stream = TokioIo::new(stream);
    match is_http2 {
        true if first == FirstRequest::PrecedesGoAway => {
            let connection = http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                end = connection.as_mut() => return Ok(end?),
                () = limit.notified() => connection.as_mut().graceful_shutdown(),
            }
            connection.await?;
        }
        true => http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await?,
        false => http1::Builder::new().serve_connection(stream, service).await?,
    }
    Ok(())
}

async fn answer(
    request: Request<Incoming>,
    requests: Arc<Mutex<Vec<String>>>,
    first: FirstRequest,
) -> Result<Response<Full<Bytes>>, Box<dyn Error + Send + Sync>> {
    let line = format!("{:?} {} {}", request.version(), request.method(), request.uri().path());
    let body = request.into_body().collect().await?.to_bytes();
    // Like the API, it knows no customer of a control request.
    if body.windows(CONTROL.len()).any(|window| window == CONTROL.as_bytes()) {
        let refusal = r#"{"status":"error","message":"Customer not found."}"#;
        return Ok(Response::builder().status(400).body(Full::from(refusal))?);
    }
    let is_first = {
        let mut requests = requests.lock().expect("requests");
        requests.push(line);
        requests.len() == 1
    };
    match first {
        FirstRequest::IsReset if is_first => Err(h2::Error::from(h2::Reason::REFUSED_STREAM).into()),
        FirstRequest::Hangs if is_first => loop {
            thread::park();
        },
        _ => Ok(Response::new(Full::from(RESULT))),
    }
}
