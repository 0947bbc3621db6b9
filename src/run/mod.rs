//! `run`: the main job.
//!
//! Plan, then execute: a first pass decides every row without sending, the
//! guards judge it, and only then a second pass visits the rows that have calls
//! to make. Three threads: one reads and maps ([`feed`]), one talks to the API
//! (`dispatch`), one writes the checkpoint and the result files ([`recorder`]).

mod begin;
mod checks;
mod end;
mod error;
mod exit;
mod feed;
mod monitors;
mod options;
mod purge;
mod recorder;
mod second_pass;
mod signals;
mod status_reporter;
mod undo;

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::checkpoint::{Checkpoint, Lock, path_beside};
use crate::omnidesk::{ApiKey, Client};
use crate::plan::{prepare_beside, shell_line};
use crate::report::LogWriter;
use crate::sandbox::{Sandbox, Settings as SandboxSettings};
use crate::source::name_of;

use checks::report_new_checkpoint;
pub(crate) use checks::{judge_new_checkpoint, lost_checkpoint, report_lost_checkpoint, wait_until_written};
pub(crate) use end::unusable_probes;
pub(crate) use error::RunError;
pub(crate) use exit::Exit;
pub(crate) use monitors::{FinishedRun, Monitors};
use options::Execution;
pub(crate) use options::RunOptions;
pub(crate) use purge::{PurgeRequest, give_up_purges, purge};
pub(crate) use signals::{Interrupts, wait_for_signal};
pub(crate) use status_reporter::StatusReporter;
pub(crate) use undo::{ChangedCustomers, UndoSource, find_run};

/// Where a rehearsal with `--sandbox` keeps its progress: beside the real
/// checkpoint, which must not learn what only a sandbox acknowledged.
pub(crate) fn rehearsal_path(checkpoint: &Path) -> PathBuf {
    path_beside(checkpoint, ".sandbox")
}

/// Where its sandbox keeps its customers.
fn sandbox_state_path(rehearsal: &Path) -> PathBuf {
    path_beside(rehearsal, ".state")
}

pub(crate) fn run(
    mut options: RunOptions,
    log: &LogWriter,
    began: Instant,
    monitors: &mut Monitors,
) -> Result<FinishedRun, RunError> {
    use_rehearsal_checkpoint(&mut options);
    // The lock comes first: a second process ends at once.
    let lock = Lock::take(&options.config.checkpoint.path)?;
    let sandbox = start_sandbox(&mut options)?;
    let (options, config) = (&options, &options.config);
    let _reporter = StatusReporter::start(&config.checkpoint.path, log).map_err(RunError::System)?;
    let open = || {
        let checkpoint = open_checkpoint(options, lock)?;
        monitors.start();
        let key = fetch_key(options, sandbox.as_ref())?;
        Ok::<_, RunError>((checkpoint, Client::new(&config.api_settings(), &key)?, key))
    };
    let (prepared, (checkpoint, client, key)) =
        prepare_beside(config, options.plan.clone(), &options.exports, open)?;
    // Not before: standard input may be waited for, and nothing is sent yet.
    let mut interrupts = signals::Interrupts::listen().map_err(RunError::System)?;
    let execution = Execution { options, prepared: &prepared, key: &key, log, began };
    let started = execution.begin(checkpoint, &mut interrupts)?;
    let (recorder, end, beginning) = execution.run_second_pass(started, client, interrupts)?;
    execution.end(recorder, end, &beginning)
}

fn open_checkpoint(options: &RunOptions, lock: Lock) -> Result<Checkpoint, RunError> {
    let path = &options.config.checkpoint.path;
    if !options.sandbox && !path.exists() {
        let export = (!options.exports.is_empty()).then(|| name_of(&options.exports));
        let verdict = judge_new_checkpoint(&options.config, export.as_deref())?;
        if let Some(verdict) = verdict.filter(|_| !options.new_checkpoint) {
            return Err(RunError::blocked(error::FIRST_CALL, vec![verdict]));
        }
        report_new_checkpoint(path);
    }
    Ok(Checkpoint::open_locked(path, &options.config.omnidesk.base_url.tenant(), lock)?)
}

fn fetch_key(options: &RunOptions, sandbox: Option<&Sandbox>) -> Result<ApiKey, RunError> {
    match sandbox {
        Some(_) => Ok(ApiKey::for_sandbox()),
        None => Ok(ApiKey::fetch(&options.config.omnidesk.api_key)?),
    }
}

fn use_rehearsal_checkpoint(options: &mut RunOptions) {
    if options.sandbox {
        let path = &mut options.config.checkpoint.path;
        *path = rehearsal_path(path);
    }
}

/// To be called by the holder of the lock. What a rehearsal has made is there in the
/// next one, as long as its checkpoint is.
fn start_sandbox(options: &mut RunOptions) -> Result<Option<Sandbox>, RunError> {
    if !options.sandbox {
        return Ok(None);
    }
    let state = sandbox_state_path(&options.config.checkpoint.path);
    if !options.config.checkpoint.path.exists() {
        // There may be none.
        let _ = std::fs::remove_file(&state);
    } else {
        let path = options.config.checkpoint.path.to_string_lossy().into_owned();
        let afresh = format!("to begin afresh: rm {}*", shell_line(&[path]));
        let what = if state.exists() { "goes on with its sandbox" } else { "has lost its sandbox" };
        options.report(|| format!("the rehearsal {what}; {afresh}"));
    }
    let config = &mut options.config;
    let settings = SandboxSettings { state: Some(state), ..SandboxSettings::default() };
    let sandbox = Sandbox::start(settings).map_err(|error| RunError::Sandbox(error.to_string()))?;
    config.omnidesk.base_url = sandbox.base_url().try_into().map_err(RunError::Sandbox)?;
    Ok(Some(sandbox))
}
