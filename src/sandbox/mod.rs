//! A local, stateful stand-in for the Omnidesk customer API, for rehearsals.
//!
//! It answers the four calls (create, update, add channel, purge) as the API page describes them, keeps what it was told,
//! and can misbehave on request: slow answers, lost answers, overload, a rate limit. `GET /sandbox/state` shows what it
//! holds, `GET /sandbox/log` what it received. It listens on the loopback interface only, because it has no other
//! protection and may hold the personal data of a real export.
//!
//! It is written from the API page alone and shares nothing with the client, so that one misreading cannot hide in both.
//! For the same reason it is strict: a wrong type, a field of another call or a repeated key is refused.
//!
//! Nobody knows how the real API words its refusals. These texts, all with status 400, are this program's choice:
//! "Customer already exists.", "Customer not found.", "This channel is linked to another customer.",
//! "Channel already exists for this customer.", "Brand is invalid.".

mod answers;
mod calls;
mod faults;
mod fields;
mod ledger;
mod limit;
mod log;
mod server;
mod state;
mod violations;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Notify;

pub use calls::{Channel, ChannelKind};
pub use faults::{Faults, FaultsError};
pub use limit::RateLimit;
pub use state::{Counters, Customer, PurgedCustomer, State};

use server::Shared;

/// The longest period of a rate limit; a longer one is a slip of the unit.
const RATE_PERIOD_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The key a sandbox asks for. Its `Debug` form is masked.
#[derive(Clone, PartialEq, Eq)]
pub struct SandboxKey(String);

impl SandboxKey {
    /// Whether `offered` is this key.
    fn opens_with(&self, offered: &str) -> bool {
        self.0 == offered
    }
}

impl From<String> for SandboxKey {
    fn from(key: String) -> Self {
        Self(key)
    }
}

impl fmt::Debug for SandboxKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SandboxKey(***)")
    }
}

/// What a create of a customer that exists already does; nobody knows what the real API does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Duplicates {
    /// It is refused with 400 "Customer already exists.".
    #[default]
    Refuse,
    /// It makes a second record with the same id, which [`Counters::doubled`] counts.
    Allow,
}

/// What the sandbox does beyond answering.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens; only a loopback address is accepted. Port 0, the default, takes a free one.
    pub listen: SocketAddr,
    /// Waited before each answer; the call has been acted on by then. Default 0.
    pub latency: Duration,
    /// A random part of this, from nothing to all of it, is added to `latency`. Default 0.
    pub latency_jitter: Duration,
    /// How many calls the whole server accepts; the rest is answered 429. Default: any number.
    pub rate_limit: Option<RateLimit>,
    /// The key that is asked for, in the header `apiKey` or the query; `None`, the default, asks for none.
    pub api_key: Option<SandboxKey>,
    /// How often it misbehaves, by kind. Default: never.
    pub faults: Faults,
    /// The most faults one customer meets, so that nobody meets more than a client has attempts. Default 3.
    pub faults_per_customer_max: u32,
    /// Decides, with the customer and the number of its request, which requests meet a fault. Default 0.
    pub seed: u64,
    /// What a create of a known customer does.
    pub duplicates: Duplicates,
    /// The brands that exist; `None`, the default, accepts every brand.
    pub brands: Option<Vec<u64>>,
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
            faults_per_customer_max: 3,
            seed: 0,
            duplicates: Duplicates::default(),
            brands: None,
        }
    }
}

impl Settings {
    /// Refuses what would not do what its writer meant.
    fn check(&self) -> Result<(), SandboxError> {
        if !self.listen.ip().is_loopback() {
            return Err(SandboxError::NotLoopback { listen: self.listen });
        }
        if let Some(limit) = &self.rate_limit
            && (limit.per.is_zero() || limit.per > RATE_PERIOD_MAX)
        {
            return Err(SandboxError::RatePeriod { per: limit.per });
        }
        Ok(self.faults.check()?)
    }
}

/// Why a sandbox did not start, or ended on its own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The address could be reached from other machines.
    #[error("sandbox address {listen} is not a loopback address; use 127.0.0.1 or [::1]")]
    NotLoopback {
        /// The address that was asked for.
        listen: SocketAddr,
    },
    /// The period of the rate limit is zero or beyond a day.
    #[error("sandbox rate limit: period {per:?} is not above zero and at most a day")]
    RatePeriod {
        /// The period that was asked for.
        per: Duration,
    },
    /// The probabilities of the faults are not usable.
    #[error("sandbox faults")]
    Faults(#[from] FaultsError),
    /// The address could not be bound.
    #[error("sandbox cannot listen on {listen}")]
    Listen {
        /// The address that was asked for.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The server's thread or its runtime could not be set up.
    #[error("sandbox server cannot start")]
    Start(#[source] io::Error),
    /// The server's thread ended by a panic, which is a bug of the sandbox.
    #[error("sandbox server ended by itself")]
    Ended,
}

/// Ends a sandbox from anywhere, for example from a signal handler while another thread sits in [`Sandbox::wait`].
#[derive(Debug, Clone)]
pub struct Stopper(Arc<Notify>);

impl Stopper {
    /// Asks the server to end; open connections are closed. Returns at once; asking twice is harmless.
    pub fn stop(&self) {
        self.0.notify_one();
    }
}

/// A running server, on a thread and a runtime of its own. Dropping it ends it.
#[derive(Debug)]
pub struct Sandbox {
    address: SocketAddr,
    shared: Arc<Shared>,
    stopper: Stopper,
    thread: Option<JoinHandle<()>>,
}

impl Sandbox {
    /// Starts a server; when this returns, it accepts connections.
    ///
    /// # Errors
    ///
    /// Settings that cannot be meant, an address that is taken, or a system out of threads or descriptors.
    pub fn start(settings: Settings) -> Result<Self, SandboxError> {
        settings.check()?;
        let listen = settings.listen;
        let listener = TcpListener::bind(listen).map_err(|source| SandboxError::Listen { listen, source })?;
        let address = listener.local_addr().map_err(|source| SandboxError::Listen { listen, source })?;
        let shared = Arc::new(Shared::new(settings));
        let stopper = Stopper(Arc::new(Notify::new()));
        let (ready, is_ready) = mpsc::sync_channel(1);
        let thread = {
            let (shared, stop) = (Arc::clone(&shared), Arc::clone(&stopper.0));
            std::thread::Builder::new()
                .name("sandbox".to_owned())
                .spawn(move || server::run(listener, shared, &stop, &ready))
                .map_err(SandboxError::Start)?
        };
        is_ready.recv().map_err(|_| SandboxError::Ended)?.map_err(SandboxError::Start)?;
        Ok(Self { address, shared, stopper, thread: Some(thread) })
    }

    /// The base URL to give to a client, such as `http://127.0.0.1:40213`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the sandbox holds now; the content of `GET /sandbox/state`.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.snapshot()
    }

    /// A handle that can end this sandbox while another thread waits for it.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Asks the server to end, as [`Stopper::stop`].
    pub fn stop(&self) {
        self.stopper.stop();
    }

    /// Blocks until the server has ended and gives what it held then.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Ended`] if the server panicked.
    pub fn wait(mut self) -> Result<State, SandboxError> {
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| SandboxError::Ended)?;
        }
        Ok(self.shared.snapshot())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the server has been shown by the panic hook; a destructor has nobody to hand it to.
            drop(thread.join());
        }
    }
}
