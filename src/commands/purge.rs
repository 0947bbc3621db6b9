//! `purge`: customers whom a person names, without an export.

use std::time::Instant;

use super::print_json;
use crate::cli::PurgeArgs;
use crate::config::Config;
use crate::plan::{PlanOptions, named_customers};
use crate::report::{LogWriter, ProgressSetting};
use crate::run::{self, Exit, PurgeRequest, RunError, RunOptions};

pub(super) fn purge(args: &PurgeArgs, log: &LogWriter) -> Result<Exit, RunError> {
    let began = Instant::now();
    let mut config = Config::read(&args.config)?;
    let customers = named_customers(&config, args.brand, &args.ids)?;
    // Each of these customers was named, so max_purge protects nobody.
    let configured_guard = config.guard.clone();
    config.guard.allow_purge = args.allow_purge;
    config.limits.rate = args.rate.map_or(config.limits.rate, Into::into);
    let options = RunOptions {
        config,
        config_path: args.config.clone(),
        exports: Vec::new(),
        command: String::new(),
        plan: PlanOptions::default(),
        configured_guard,
        allow_recreate: false,
        allow_vanished: 0,
        new_baseline: false,
        new_checkpoint: false,
        fresh: args.fresh,
        sandbox: args.sandbox,
        window: None,
        json: args.json,
        quiet: args.quiet,
        progress: ProgressSetting::Never,
    };
    let request = PurgeRequest { customers, is_allowed: args.allow_purge };
    let (exit, json) = if args.ids.is_empty() {
        run::give_up_purges(options)?
    } else {
        run::purge(options, &request, log, began)?
    };
    if args.json {
        print_json(json)?;
    }
    Ok(exit)
}
