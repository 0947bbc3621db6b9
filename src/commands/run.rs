//! `run`: the options as the second pass takes them.

use std::time::Instant;

use super::override_guards;
use crate::cli::RunArgs;
use crate::config::Config;
use crate::plan::shell_line;
use crate::report::{LogWriter, ProgressSetting};
use crate::run::{self, Exit, Monitors, RunError, RunOptions};

pub(super) fn run(args: &RunArgs, log: &LogWriter) -> Result<Exit, RunError> {
    let began = Instant::now();
    let mut monitors = Monitors::new(args.metrics_file.clone(), began)?;
    let finished =
        options(args, began, &mut monitors).and_then(|options| run::run(options, log, began, &mut monitors));
    monitors.report(finished)
}

fn options(args: &RunArgs, began: Instant, monitors: &mut Monitors) -> Result<RunOptions, RunError> {
    let mut config = Config::read(&args.common.config)?;
    if !args.sandbox {
        monitors.set_notify(&config);
    }
    let configured_guard = config.guard.clone();
    override_settings(&mut config, args);
    Ok(RunOptions {
        config_path: args.common.config.clone(),
        exports: args.exports.clone(),
        command: if args.selection.only.is_empty() { resuming_command() } else { String::new() },
        plan: super::plan_options(&args.common, super::selection(&args.selection)),
        configured_guard,
        allow_recreate: args.allow_recreate,
        allow_vanished: args.allow_vanished.unwrap_or_default(),
        new_baseline: args.new_baseline,
        new_checkpoint: args.new_checkpoint,
        fresh: args.fresh,
        sandbox: args.sandbox,
        window: super::window(&args.window, &config.limits, began)?,
        json: args.common.json,
        quiet: args.common.quiet,
        progress: if args.common.quiet { ProgressSetting::Never } else { args.common.progress },
        config,
    })
}

/// The command line of this process, but for the option that gives up an open run.
fn resuming_command() -> String {
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    shell_line(&words.filter(|word| word != "--fresh").collect::<Vec<_>>())
}

/// The command line overrides the file.
fn override_settings(config: &mut Config, args: &RunArgs) {
    let (limits, guard) = (&mut config.limits, &mut config.guard);
    if let Some(rate) = args.rate {
        limits.rate = rate.into();
    }
    limits.concurrency = args.concurrency.unwrap_or(limits.concurrency);
    guard.allow_purge |= args.allow_purge;
    guard.max_purge = args.max_purge.unwrap_or(guard.max_purge);
    guard.max_changes = args.max_changes.unwrap_or(guard.max_changes);
    override_guards(guard, &args.guards);
    if let Some(dir) = &args.report_dir {
        config.report.dir.clone_from(dir);
    }
}
