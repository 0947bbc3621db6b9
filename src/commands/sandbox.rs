//! `sandbox`: a local Omnidesk until somebody stops it.

use super::error::CommandError;
use super::print;
use crate::cli::SandboxArgs;
use crate::run::Exit;
use crate::sandbox::{Duplicates, Faults, RateLimit, Sandbox, SandboxKey, Settings};

/// Does it.
pub(super) fn sandbox(args: &SandboxArgs) -> Result<Exit, CommandError> {
    let wrong = |error: &dyn std::fmt::Display| CommandError::Usage(error.to_string());
    let faults = match &args.faults {
        None => Faults::default(),
        Some(list) => Faults::parse(list).map_err(|error| wrong(&error))?,
    };
    let api_key = match &args.key_env {
        None => None,
        Some(name) => {
            let key = std::env::var(name)
                .map_err(|_| wrong(&format!("the environment variable {name} is not set")))?;
            Some(SandboxKey::from(key))
        }
    };
    let settings = Settings {
        listen: args.listen,
        latency: args.latency.0,
        rate_limit: args.rate_limit.map(|rate| RateLimit {
            calls: rate.calls,
            per: rate.per,
            retry_after: true,
        }),
        api_key,
        faults,
        faults_per_customer_max: args.faults_per_customer,
        seed: args.seed,
        duplicates: if args.allow_doubles { Duplicates::Allow } else { Duplicates::Refuse },
        ..Settings::default()
    };
    let sandbox = Sandbox::start(settings).map_err(|error| CommandError::Sandbox(error.to_string()))?;
    print(format!("{}\n", sandbox.base_url()).as_bytes())?;
    let stopper = sandbox.stopper();
    let waiting = std::thread::spawn(move || super::run::wait_for_signal().map(|()| stopper.stop()));
    sandbox.wait().map_err(|error| CommandError::Sandbox(error.to_string()))?;
    // It ended by a signal, so the thread has ended too, or will not matter.
    drop(waiting);
    Ok(Exit::Clean)
}
