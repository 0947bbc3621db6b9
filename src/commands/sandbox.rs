//! `sandbox`: a local Omnidesk until somebody stops it.

use super::print;
use crate::cli::SandboxArgs;
use crate::run::{Exit, RunError, wait_for_signal};
use crate::sandbox::{Duplicates, Faults, RateLimit, Sandbox, SandboxError, SandboxKey, Settings};

pub(super) fn sandbox(args: &SandboxArgs) -> Result<Exit, RunError> {
    let failed = |error: SandboxError| RunError::Sandbox(error.to_string());
    let sandbox = Sandbox::start(settings(args)?).map_err(failed)?;
    print(format!("{}\n", sandbox.base_url()).as_bytes())?;
    let stopper = sandbox.stopper();
    let waiting = std::thread::spawn(move || wait_for_signal().map(|()| stopper.stop()));
    sandbox.wait().map_err(failed)?;
    // A signal ended it, and so its thread.
    drop(waiting);
    Ok(Exit::Clean)
}

fn settings(args: &SandboxArgs) -> Result<Settings, RunError> {
    let usage = |error: &dyn std::fmt::Display| RunError::Usage(error.to_string());
    let faults = args.faults.as_ref().map(|list| Faults::parse(list)).transpose();
    let api_key = args.key_env.as_ref().map(|name| {
        std::env::var(name).map_err(|_| usage(&format!("the environment variable {name} is not set")))
    });
    Ok(Settings {
        listen: args.listen,
        latency: args.latency.0,
        rate_limit: args.rate_limit.map(|rate| RateLimit {
            calls: rate.calls,
            per: rate.per,
            retry_after: true,
        }),
        api_key: api_key.transpose()?.map(SandboxKey::from),
        faults: faults.map_err(|error| usage(&error))?.unwrap_or_default(),
        faults_per_customer_max: args.faults_per_customer,
        seed: args.seed,
        duplicates: if args.allow_doubles { Duplicates::Allow } else { Duplicates::Refuse },
        ..Settings::default()
    })
}
