//! `sandbox`: a local Omnidesk until a signal comes.

use super::print;
use crate::cli::SandboxArgs;
use crate::run::{Exit, RunError, wait_for_signal};
use crate::sandbox::{Duplicates, RateLimit, Sandbox, SandboxError, Script, Settings};

pub(super) fn sandbox(args: &SandboxArgs) -> Result<Exit, RunError> {
    let sandbox = Sandbox::start(settings(args)?).map_err(sandbox_error)?;
    print(format!("{}\n", sandbox.base_url()).as_bytes())?;
    wait_for_signal().map_err(RunError::System)?;
    Ok(Exit::Clean)
}

fn sandbox_error(error: SandboxError) -> RunError {
    RunError::Sandbox(error.to_string())
}

fn settings(args: &SandboxArgs) -> Result<Settings, RunError> {
    let api_key = args.key_env.as_ref().map(|name| {
        let unset = |_| RunError::Usage(format!("the environment variable {name} is not set"));
        std::env::var(name).map_err(unset)
    });
    let script = args.script.as_deref().map_or_else(|| Ok(Script::default()), Script::read);
    Ok(Settings {
        listen: args.listen,
        latency: args.latency.0,
        rate_limit: args.rate_limit.map(|rate| RateLimit {
            calls: rate.calls,
            per: rate.per,
            retry_after: true,
        }),
        api_key: api_key.transpose()?.map(Into::into),
        faults: args.faults.unwrap_or_default(),
        script: script.map_err(sandbox_error)?,
        faults_per_customer_max: args.faults_per_customer,
        seed: args.seed,
        duplicates: if args.allow_doubles { Duplicates::Allow } else { Duplicates::Refuse },
        wording: args.wording,
        statuses: args.statuses.clone().unwrap_or_default(),
        body: args.body,
        key_place: args.key_place,
        state: args.state.clone(),
        ..Settings::default()
    })
}
