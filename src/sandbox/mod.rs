//! A local, stateful stand-in for the Omnidesk customer API, for rehearsals.
//!
//! It answers the four calls (create, update, add channel, purge) as the API page describes them and keeps their effects.
//! It can fail on request: slow answers, lost answers, overload, a rate limit, a gateway's pages, answers by script. `GET /sandbox/state` shows its
//! content, `GET /sandbox/log` the requests. It listens on the loopback interface only, because it has no other protection and
//! may hold the personal data of a real export.
//!
//! It is written from the API page alone and shares nothing with the client, so that one error cannot hide in both. For
//! the same reason it is strict: a wrong type, a field of another call or a repeated key is refused.
//!
//! The texts of the real API's refusals are unknown, so there are several [`Wording`]s.

mod answer;
mod call;
mod call_file;
mod customer;
mod faults;
mod fields;
mod gateway;
mod ledger;
mod limit;
mod list;
mod log;
mod reaction;
mod script;
mod server;
mod state;
mod violations;
mod wording;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::Notify;

pub use customer::{Channel, ChannelKind, Customer, CustomerId};
pub use faults::Faults;
pub use limit::RateLimit;
pub use script::Script;
pub use state::{Counters, State};
use wording::RefusalForm;
pub use wording::{Statuses, Wording};

use server::Shared;

/// The effect of a create of an existing customer; that of the real API is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Duplicates {
    /// It is refused.
    #[default]
    Refuse,
    /// It makes a second customer with the same id, which [`Counters::doubled`] counts.
    Allow,
}

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum BodyForm {
    Json,
    Form,
}

/// Where a request carries the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum KeyPlace {
    /// The header `apiKey`.
    Header,
    /// `?apiKey=` in the URL.
    Query,
}

#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens; only a loopback address is accepted. Port 0, the default, takes a free one.
    pub listen: SocketAddr,
    /// The wait before each answer, after the call has been executed. Default 0.
    pub latency: Duration,
    /// A random part of this, from nothing to all of it, is added to `latency`. Default 0.
    pub latency_jitter: Duration,
    /// How many calls the whole server accepts; the rest is answered 429. Default: any number.
    pub rate_limit: Option<RateLimit>,
    /// The key that is required, in the header `apiKey` or the query. Default: none.
    pub api_key: Option<SecretString>,
    /// How often it fails, by kind. Default: never.
    pub faults: Faults,
    /// Answers in place of the API's. A call that gets one gets no fault. Default: none.
    pub script: Script,
    /// The most faults of one customer's calls, so that none gets more than a client has attempts. Default 3.
    pub faults_per_customer_max: u32,
    /// With the customer and the number of its request, it chooses the requests that get a fault. Default 0.
    pub seed: u64,
    pub duplicates: Duplicates,
    pub wording: Wording,
    /// The statuses of refusals, by kind. Default: those of the wording.
    pub statuses: Statuses,
    /// The only form of bodies that it reads; of another it reads no field. Default: both.
    pub body: Option<BodyForm>,
    /// The only place of the key, if one is required. Default: both.
    pub key_place: Option<KeyPlace>,
    /// The brands that exist; `None`, the default, accepts every brand.
    pub brands: Option<Vec<u64>>,
    /// The file that keeps the customers from one server to the next. Default: none.
    pub state: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            latency: Duration::ZERO,
            latency_jitter: Duration::ZERO,
            rate_limit: None,
            api_key: None,
            faults: Faults::default(),
            script: Script::default(),
            faults_per_customer_max: 3,
            seed: 0,
            duplicates: Duplicates::default(),
            wording: Wording::default(),
            statuses: Statuses::default(),
            body: None,
            key_place: None,
            brands: None,
            state: None,
        }
    }
}

impl Settings {
    fn refusals(&self) -> RefusalForm {
        RefusalForm { wording: self.wording, statuses: self.statuses.clone() }
    }
}

/// Why a sandbox does not start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("other machines can reach the address {0}; use 127.0.0.1 or [::1]")]
    NotLoopback(SocketAddr),
    #[error("it cannot listen on {listen}: {source}")]
    Listen { listen: SocketAddr, source: io::Error },
    #[error("{path}: {source}")]
    ReadScript { path: PathBuf, source: io::Error },
    #[error("{path}:{line}:{column}: {message}")]
    Script { path: PathBuf, line: usize, column: usize, message: String },
    #[error("{path}: {source}; delete the file to begin with an empty Omnidesk")]
    State { path: PathBuf, source: io::Error },
    #[error("its server cannot start: {0}")]
    Start(#[source] io::Error),
}

/// A running server, on a thread and a runtime of its own. Dropping it ends it.
#[derive(Debug)]
pub struct Sandbox {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Sandbox {
    /// Starts a server. When this returns, it accepts connections.
    pub fn start(settings: Settings) -> Result<Self, SandboxError> {
        let listen = settings.listen;
        if !listen.ip().is_loopback() {
            return Err(SandboxError::NotLoopback(listen));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(SandboxError::Start)?;
        let bind = async {
            let listener = TcpListener::bind(listen).await?;
            Ok((listener.local_addr()?, listener))
        };
        let (address, listener) =
            runtime.block_on(bind).map_err(|source| SandboxError::Listen { listen, source })?;
        let (shared, stop) = (Arc::new(Shared::new(settings)?), Arc::new(Notify::new()));
        let server = server::accept(listener, Arc::clone(&shared));
        let stopped = Arc::clone(&stop);
        let serve = async move {
            tokio::select! {
                () = stopped.notified() => {}
                () = server => {}
            }
        };
        let thread = std::thread::Builder::new()
            .name("sandbox".to_owned())
            .spawn(move || runtime.block_on(serve))
            .map_err(SandboxError::Start)?;
        Ok(Self { address, shared, stop, thread: Some(thread) })
    }

    /// The base URL to give to a client, such as `http://127.0.0.1:40213`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The content of `GET /sandbox/state`.
    pub fn state(&self) -> State {
        self.shared.ledger().snapshot()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.notify_one();
        // The panic hook has shown a panic of the server; a destructor has nobody to hand it to.
        drop(self.thread.take().map(JoinHandle::join));
    }
}
