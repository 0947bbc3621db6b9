//! `run`: the main job.
//!
//! Plan, then execute: a first pass decides every row without sending, the
//! guards look at what it came to, and only then a second pass visits the rows
//! that have calls to make. Three threads: one reads and maps ([`visit`]), one
//! talks to the API (`dispatch`), one keeps the books ([`recorder`]).

mod begin;
mod end;
mod error;
mod exit;
mod feed;
mod lost;
mod monitors;
mod recorder;
mod signals;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::checkpoint::Work;
use crate::checkpoint::{Checkpoint, Lock, OpenRun};
use crate::cli::RunArgs;
use crate::config::{Config, MissingAction};
use crate::dispatch::{self, DispatchEnd, Stop, StopSwitch};
use crate::guards::{NewIdsPolicy, SharedAddressesPolicy};
use crate::omnidesk::{self, ApiKey, Client, RefusalTexts};
use crate::plan::Window;
use crate::plan::{self, PreparedExport};
use crate::reconcile::{CustomerKey, Outcome, Policy};
use crate::report::report_line;
use crate::report::{LogWriter, ProgressDisplay, RunFiles};
use crate::sandbox::Sandbox;
pub(crate) use error::RunError;
pub(crate) use exit::Exit;
pub(crate) use lost::{lost, warn_if_lost};
use monitors::{FinishedRun, Monitors};
use recorder::Recorder;
use signals::Interrupts;
pub(crate) use signals::wait_for_signal;

/// Batches of records on their way to the keeper of the books.
const RECORDS_AHEAD: usize = 16;
/// Batches of rows on their way to the dispatcher.
const BATCHES_AHEAD: usize = 4;

/// Where a rehearsal with `--sandbox` keeps its progress: beside the real
/// checkpoint, which must not learn what only a sandbox was told.
pub(crate) fn rehearsal_path(checkpoint: &Path) -> PathBuf {
    let mut name = checkpoint.as_os_str().to_owned();
    name.push(".sandbox");
    name.into()
}

/// Does it.
pub(crate) fn run(args: &RunArgs, log: &LogWriter) -> Result<Exit, RunError> {
    let began = Instant::now();
    let mut monitors = Monitors::new(args, began)?;
    let ended = work(args, log, began, &mut monitors);
    monitors.tell(ended)
}

fn work(
    args: &RunArgs,
    log: &LogWriter,
    began: Instant,
    monitors: &mut Monitors,
) -> Result<FinishedRun, RunError> {
    let mut config = Config::read(&args.common.config)?;
    monitors.read(&config);
    override_settings(&mut config, args);
    let window = Window::of(&args.window, config.limits.max_duration, began)?;
    let sandbox = start_sandbox(&mut config, args)?;
    // First of all the lock: a second process ends at once.
    let lock = Lock::of(&config.checkpoint.path)?;
    let open = || {
        let (path, tenant) = (&config.checkpoint.path, config.omnidesk.base_url.tenant());
        if !args.sandbox {
            warn_if_lost(path);
        }
        if !args.sandbox && !args.common.quiet && !path.exists() {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            report_line(&format!("a new checkpoint, {}: every customer counts as new", path.display()));
        }
        let checkpoint = Checkpoint::open_locked(path, &tenant, lock)?;
        monitors.started();
        let key = match &sandbox {
            Some(_) => ApiKey::none_needed(),
            None => ApiKey::fetch(&config.omnidesk.api_key)?,
        };
        Ok::<_, RunError>((checkpoint, Client::new(&wire_settings(&config), &key)?))
    };
    let (prepared, (checkpoint, client)) = plan::prepare_beside(&config, &args.common, &args.export, open)?;
    // Not before: standard input may be waited for, and nothing is sent yet.
    let mut interrupts = Interrupts::listen().map_err(RunError::System)?;
    let begun = begin::begin(args, &config, &prepared, checkpoint, window.as_ref(), &mut interrupts)?;
    let execution = Execution {
        args,
        config: &config,
        prepared: &prepared,
        policy: begun.policy,
        log,
        window: window.as_ref(),
    };
    let resumed = begun.resumed;
    let (recorder, finish) = execution.execute(begun.checkpoint, begun.run, client, interrupts)?;
    end::RunEnding { args, config: &config, prepared: &prepared, began, resumed }.end(recorder, finish)
}

/// What the command line says goes before what the file says.
fn override_settings(config: &mut Config, args: &RunArgs) {
    config.limits.rate = args.rate.unwrap_or(config.limits.rate);
    config.limits.concurrency = args.concurrency.unwrap_or(config.limits.concurrency);
    config.guard.allow_purge |= args.allow_purge;
    config.guard.max_purge = args.max_purge.unwrap_or(config.guard.max_purge);
    config.guard.max_changes = args.max_changes.unwrap_or(config.guard.max_changes);
    config.guard.min_rows = args.min_rows.unwrap_or(config.guard.min_rows);
    config.guard.min_fill = args.min_fill.unwrap_or(config.guard.min_fill);
    if args.allow_shared_addresses && config.guard.shared_addresses == SharedAddressesPolicy::Block {
        config.guard.shared_addresses = SharedAddressesPolicy::Report;
    }
    if args.allow_new_ids {
        config.guard.new_ids = NewIdsPolicy::Ignore;
    }
    if let Some(dir) = &args.report_dir {
        config.report.dir.clone_from(dir);
    }
}

fn start_sandbox(config: &mut Config, args: &RunArgs) -> Result<Option<Sandbox>, RunError> {
    if !args.sandbox {
        return Ok(None);
    }
    let wrong = |error: &dyn std::fmt::Display| RunError::Sandbox(error.to_string());
    let sandbox = Sandbox::start(crate::sandbox::Settings::default()).map_err(|error| wrong(&error))?;
    config.omnidesk.base_url = sandbox.base_url().parse().map_err(|error: String| wrong(&error))?;
    config.checkpoint.path = rehearsal_path(&config.checkpoint.path);
    Ok(Some(sandbox))
}

fn texts(config: &Config) -> RefusalTexts {
    RefusalTexts {
        exists: config.omnidesk.exists_texts.clone(),
        not_found: config.omnidesk.not_found_texts.clone(),
    }
}

fn wire_settings(config: &Config) -> omnidesk::Settings {
    omnidesk::Settings {
        base_url: config.omnidesk.base_url.clone(),
        auth: config.omnidesk.auth,
        body: config.omnidesk.body,
        timeout: config.omnidesk.timeout.0,
        texts: texts(config),
        connections: config.limits.concurrency.get() as usize,
    }
}

/// The second pass.
struct Execution<'a> {
    args: &'a RunArgs,
    config: &'a Config,
    prepared: &'a PreparedExport,
    policy: Policy,
    log: &'a LogWriter,
    window: Option<&'a Window>,
}

impl Execution<'_> {
    fn execute(
        &self,
        checkpoint: Checkpoint,
        run: OpenRun,
        client: Client,
        interrupts: Interrupts,
    ) -> Result<(Recorder, DispatchEnd), RunError> {
        let files = RunFiles::open(
            PathBuf::from(&run.record.folder),
            Arc::clone(&self.prepared.export),
            &run.record.files.0,
        )?;
        let missing = run.missing.unwrap_or_default();
        let calls = run.worklist.count(Work::Calls) + if missing.purge { missing.found } else { 0 };
        let done = calls - run.pending(Work::Calls) - missing.pending();
        let (common, heartbeat) = (&self.args.common, self.config.report.heartbeat.0);
        let progress = ProgressDisplay::start(common.progress, common.quiet, heartbeat, calls, done);
        self.log.watch(&progress);
        let mut recorder = Recorder::new(checkpoint, run, files, progress);
        recorder.settle_rejected(self.prepared, &self.policy)?;
        if done == calls {
            return Ok((recorder, DispatchEnd::default()));
        }
        let (records, inbox) = mpsc::channel(RECORDS_AHEAD);
        let (jobs, feed) = mpsc::channel(BATCHES_AHEAD);
        let visits = feed::WorklistRows::of_calls(self.prepared, recorder.run(), self.policy.key);
        let settings = dispatch::Settings {
            failed_before: recorder.failed_before()?,
            ..self.dispatch_settings(recorder.run(), recorder.purging()?)
        };
        let rows = recorder.run().record.rows;
        let list = (missing.pending() > 0).then(|| recorder.purge_list()).transpose()?;
        std::thread::scope(|scope| {
            let keeper = scope.spawn(move || recorder.keep(inbox));
            let reader = scope.spawn(move || {
                visits.feed(&jobs)?;
                list.map_or(Ok(()), |list| feed::feed_missing(&list, rows, &jobs))
            });
            let mut finish = self.dispatch(settings, client, feed, records, interrupts)?;
            let read = reader.join().map_err(|_| RunError::Bug("the reading thread panicked".to_owned()))?;
            let recorder =
                keeper.join().map_err(|_| RunError::Bug("the recording thread panicked".to_owned()))??;
            // Calls were made: what cannot be read any more ends the run in order.
            let lost = read.err().map(|error| Stop::ExportLost { message: error.to_string() });
            finish.stop = finish.stop.or(lost);
            Ok((recorder, finish))
        })
    }

    fn dispatch(
        &self,
        settings: dispatch::Settings,
        client: Client,
        feed: mpsc::Receiver<Vec<dispatch::Job>>,
        records: mpsc::Sender<Vec<dispatch::Record>>,
        mut interrupts: Interrupts,
    ) -> Result<DispatchEnd, RunError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::System)?;
        let switch = StopSwitch::default();
        let signalled = {
            let (switch, quiet) = (switch.clone(), self.args.common.quiet);
            async move {
                interrupts.reach(1).await;
                switch.stop(Stop::Interrupted);
                if !quiet {
                    report_line("stopping: calls under way are finished; once more stops at once");
                }
                interrupts.reach(2).await;
            }
        };
        let closed = async {
            match self.window {
                Some(window) => tokio::time::sleep(window.for_work()).await,
                None => std::future::pending().await,
            }
        };
        Ok(LocalSet::new().block_on(&runtime, async move {
            tokio::select! {
                finish = dispatch::run(settings, client, feed, records, switch) => finish,
                // What is under way is in the checkpoint: as safe as a kill.
                () = signalled => DispatchEnd { stop: Some(Stop::Interrupted), pace: None },
                () = closed => DispatchEnd { stop: Some(Stop::WindowClosed), pace: None },
            }
        }))
    }

    /// Purges that may still be made: those that were planned, and as many as
    /// the guards let pass unasked, also where a row comes to one that was not.
    fn purges_left(&self, run: &OpenRun) -> u64 {
        let guard = &self.config.guard;
        let most = match guard.allow_purge {
            true => run.record.purges_planned.max(guard.max_purge.of(run.record.rows)),
            false => 0,
        };
        let missing = run.missing.map_or(0, |missing| missing.counts.get(Outcome::Purged));
        most.saturating_sub(run.record.counts.get(Outcome::Purged) + missing)
    }

    fn dispatch_settings(&self, run: &OpenRun, purging: Vec<CustomerKey>) -> dispatch::Settings {
        let limits = &self.config.limits;
        dispatch::Settings {
            rate: limits.rate,
            concurrency: limits.concurrency,
            attempts: limits.attempts,
            patience: limits.patience.0,
            max_errors: limits.max_errors,
            failed_before: 0,
            purges_max: self.purges_left(run),
            purging,
            canary: self.config.guard.canary,
            is_proven: run.record.proven_before || run.record.calls_done > 0,
            in_doubt: self.config.omnidesk.in_doubt,
            settle: self.config.omnidesk.settle.0,
            max_duration: self.window.map(|window| window.for_new(self.config.omnidesk.timeout.0)),
            keeps_names: self.config.missing.action != MissingAction::Ignore,
            texts: texts(self.config),
            policy: self.policy,
        }
    }
}
