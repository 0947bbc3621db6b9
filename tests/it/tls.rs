//! A server behind TLS, with certificates of every sort and HTTP/1.1 or 2.

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

use crate::server::RESULT;

/// An authority that a client may be told to trust.
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
    pub(crate) fn certifies(&self, name: &str, until: i32) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Identity(certificate.der().clone(), key.into())
    }
}

impl Identity {
    /// A certificate that vouches for itself.
    pub(crate) fn of_itself(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        Self(params.self_signed(&key).expect("a certificate").der().clone(), key.into())
    }
}

/// What the first request meets; all others succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    Succeeds,
    /// Its HTTP/2 stream is refused.
    IsReset,
    /// Its connection stays open, and dead.
    GetsStuck,
    /// It succeeds, and so does every other; each connection says GOAWAY after some.
    IsFollowedByGoAway,
}

/// Answers every request with success, but perhaps the first.
pub(crate) struct TlsServer {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl TlsServer {
    /// Offers the protocol `alpn`.
    pub(crate) fn new(identity: Identity, alpn: &str, first: First) -> Self {
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
        let (seen, counted) = (Arc::clone(&requests), Arc::clone(&connections));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counted.fetch_add(1, Relaxed);
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
                // A thread each, so that one that is stuck is stuck alone.
                thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                    runtime.expect("a runtime").block_on(serve(stream, acceptor, seen, first))
                });
            }
        });
        Self { port, requests, connections }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// `HTTP/2.0 POST /path`, as they came.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("requests").clone()
    }
}

/// Before the server says GOAWAY, where it does.
const REQUESTS_OF_A_CONNECTION: usize = 10;

/// However the client leaves is fine.
async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    seen: Arc<Mutex<Vec<String>>>,
    first: First,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    stream.set_nonblocking(true)?;
    let stream = acceptor.accept(tokio::net::TcpStream::from_std(stream)?).await?;
    let is_two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let served = Arc::new(Notify::new());
    let (count, enough) = (AtomicUsize::new(0), Arc::clone(&served));
    let service = service_fn(move |request| {
        if count.fetch_add(1, Relaxed) + 1 == REQUESTS_OF_A_CONNECTION {
            enough.notify_one();
        }
        answer(request, Arc::clone(&seen), first)
    });
    let stream = TokioIo::new(stream);
    match is_two {
        true if first == First::IsFollowedByGoAway => {
            let connection = http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                ended = connection.as_mut() => return Ok(ended?),
                () = served.notified() => connection.as_mut().graceful_shutdown(),
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
    seen: Arc<Mutex<Vec<String>>>,
    first: First,
) -> Result<Response<Full<Bytes>>, Box<dyn Error + Send + Sync>> {
    let line = format!("{:?} {} {}", request.version(), request.method(), request.uri().path());
    request.into_body().collect().await?;
    let is_first = {
        let mut seen = seen.lock().expect("requests");
        seen.push(line);
        seen.len() == 1
    };
    match first {
        First::IsReset if is_first => Err(h2::Error::from(h2::Reason::REFUSED_STREAM).into()),
        First::GetsStuck if is_first => loop {
            thread::park();
        },
        _ => Ok(Response::new(Full::from(RESULT))),
    }
}
