//! A server behind TLS, with certificates of every sort and HTTP/1.1 or 2.

use std::error::Error;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
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

/// Answers every request with success, or resets the first of them.
pub(crate) struct TlsServer {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl TlsServer {
    /// Offers the protocol `alpn`; resets the streams of the first `refused` requests.
    pub(crate) fn new(identity: Identity, alpn: &str, refused: usize) -> Self {
        let Identity(certificate, key) = identity;
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a certificate");
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let requests = Arc::default();
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(listen(listener, config, seen, refused))
        });
        Self { port, requests }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `HTTP/2.0 POST /path`, as they came.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("requests").clone()
    }
}

async fn listen(
    listener: TcpListener,
    config: ServerConfig,
    seen: Arc<Mutex<Vec<String>>>,
    refused: usize,
) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    loop {
        let (stream, _) = listener.accept().await?;
        let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let is_two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let service = service_fn(move |request| answer(request, Arc::clone(&seen), refused));
            let stream = TokioIo::new(stream);
            // However the client leaves is fine.
            let _ = match is_two {
                true => {
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    server.serve_connection(stream, service).await
                }
                false => hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await,
            };
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<String>>>,
    refused: usize,
) -> Result<Response<Full<Bytes>>, Box<dyn Error + Send + Sync>> {
    let line = format!("{:?} {} {}", request.version(), request.method(), request.uri().path());
    request.into_body().collect().await?;
    let mut seen = seen.lock().expect("requests");
    seen.push(line);
    if seen.len() <= refused {
        return Err(h2::Error::from(h2::Reason::REFUSED_STREAM).into());
    }
    Ok(Response::new(Full::from(RESULT)))
}
