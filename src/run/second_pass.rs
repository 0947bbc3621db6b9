//! The second pass: visits the rows that have calls to make.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::begin::{Beginning, StartedRun, now};
use super::error::RunError;
use super::feed::{feed_missing, feed_rows};
use super::options::Execution;
use super::recorder::Recorder;
use super::signals::Interrupts;
use crate::checkpoint::{OpenRun, Probing, Work};
use crate::dispatch::{self, DispatchEnd, DispatchSettings, Job, Record, Reply, Stop, StopSwitch, Timeline};
use crate::omnidesk::Client;
use crate::reconcile::{MissingAction, Outcome, Policy};
use crate::report::{ProgressDisplay, RunFiles, Tally, Workload};
use crate::units::minutes_since;

/// Batches of records on their way to the recorder.
const RECORDS_AHEAD: usize = 16;
/// Batches of rows on their way to the scheduler.
const BATCHES_AHEAD: usize = 4;

impl Execution<'_> {
    pub(super) fn run_second_pass(
        &self,
        started: StartedRun,
        client: Client,
        interrupts: Interrupts,
    ) -> Result<(Recorder, DispatchEnd, Beginning), RunError> {
        let StartedRun { checkpoint, mut run, policy, mut beginning } = started;
        // Of an execution that was killed.
        run.record.wait = None;
        let folder = PathBuf::from(&run.record.folder);
        let causes = std::mem::take(&mut beginning.causes);
        let files = RunFiles::open(folder, self.prepared.source(), &run.record.files)?;
        let missing = run.record.missing.unwrap_or_default();
        let rows = run.worklist.count(Work::Calls) + missing.purges();
        let done = rows - run.pending_rows(Work::Calls) - missing.pending();
        let (options, heartbeat) = (self.options, self.options.config.report.heartbeat.0);
        let progress = {
            let rates = options.config.limits.rate.timeline();
            let (all, done_before) = (run.record.calls_planned, run.record.calls_done);
            let workload = Workload { noun: "calls", all, done: done_before, rows: (rows, done) };
            ProgressDisplay::start(options.progress, heartbeat, rates, workload)
        };
        self.log.watch(&progress);
        let tally = Tally::default();
        let mut recorder = Recorder { checkpoint, run, files, progress, tally, causes };
        recorder.settle_rejected(self.prepared, &policy)?;
        if done == rows {
            return Ok((recorder, DispatchEnd::default(), beginning));
        }
        let (records, inbox) = mpsc::channel(RECORDS_AHEAD);
        // Bounded by the rows that the scheduler holds.
        let (replies, replied) = mpsc::unbounded_channel();
        let (jobs, feed) = mpsc::channel(BATCHES_AHEAD);
        let pending = recorder.run.pending(Work::Calls);
        let settings = self.dispatch_settings(&recorder, policy)?;
        let purge_list = (missing.pending() > 0).then(|| recorder.checkpoint.purge_list()).transpose()?;
        std::thread::scope(|scope| {
            let recording = scope.spawn(move || recorder.record(inbox, &replies));
            let feeding = scope.spawn(move || {
                feed_rows(self.prepared, pending, &policy.key, &jobs)?;
                purge_list.map_or(Ok(()), |list| feed_missing(&list, &policy.key, &jobs))
            });
            let mut end = self.dispatch(settings, client, feed, (records, replied), interrupts)?;
            let panicked = |thread: &str| RunError::Bug(format!("the {thread} thread panicked"));
            let fed = feeding.join().map_err(|_| panicked("reading"))?;
            let recorder = recording.join().map_err(|_| panicked("recording"))??;
            // Calls were made: an export that cannot be read any more ends the run in order.
            let lost = fed.err().map(|error| Stop::ExportLost { message: error.to_string() });
            end.stop = end.stop.or(lost);
            Ok((recorder, end, beginning))
        })
    }

    fn dispatch(
        &self,
        settings: DispatchSettings,
        client: Client,
        feed: mpsc::Receiver<Vec<Job>>,
        (records, replies): (mpsc::Sender<Vec<Record>>, mpsc::UnboundedReceiver<Reply>),
        mut interrupts: Interrupts,
    ) -> Result<DispatchEnd, RunError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::System)?;
        let switch = StopSwitch::default();
        let second_signal = {
            let (switch, options) = (switch.clone(), self.options);
            async move {
                interrupts.reach(1).await;
                switch.stop(Stop::Interrupted);
                let text = "stopping: calls on their way are finished; a second signal stops at once";
                options.report(|| text.to_owned());
                interrupts.reach(2).await;
            }
        };
        let window_closed = async {
            match &self.options.window {
                Some(window) => tokio::time::sleep(window.time_for_work()).await,
                None => std::future::pending().await,
            }
        };
        let (rates, timeline) = (settings.rates.clone(), Rc::<RefCell<Timeline>>::default());
        let (own, started) = (Rc::clone(&timeline), now());
        let end = LocalSet::new().block_on(&runtime, async move {
            let stopped = |stop| DispatchEnd { stop: Some(stop), ..DispatchEnd::default() };
            tokio::select! {
                end = dispatch::run(settings, client, feed, records, replies, switch, own) => end,
                // Calls on their way are in the checkpoint: as safe as a kill.
                () = second_signal => stopped(Stop::Interrupted),
                () = window_closed => stopped(Stop::WindowClosed),
            }
        });
        let mut timeline = timeline.take();
        timeline.end(&rates, started);
        Ok(DispatchEnd { timeline: Some(timeline), ..end })
    }

    /// Purges that may still be made: those that were planned, and as many as
    /// the guards let pass, also where a row comes to one that was not planned.
    fn purges_left(&self, run: &OpenRun) -> u64 {
        let guard = &self.options.config.guard;
        let most = if guard.allow_purge {
            run.record.purges_planned.max(guard.max_purge.count_in(run.record.rows))
        } else {
            0
        };
        let missing = run.record.missing.map_or(0, |missing| missing.counts.get(Outcome::Purged));
        most.saturating_sub(run.record.counts.get(Outcome::Purged) + missing)
    }

    fn dispatch_settings(&self, recorder: &Recorder, policy: Policy) -> Result<DispatchSettings, RunError> {
        let Recorder { checkpoint, run, .. } = recorder;
        let config = &self.options.config;
        Ok(DispatchSettings {
            rates: config.limits.rate.timeline(),
            concurrency: config.limits.concurrency,
            attempts: config.limits.attempts,
            patience: config.limits.patience.0,
            max_errors: config.limits.max_errors,
            failed_before: checkpoint.failed_before()?,
            purges_max: self.purges_left(run),
            pending_purges: checkpoint.pending_purges(run.export.ordinal)?,
            canary: config.guard.canary,
            is_proven: run.record.proven_before || run.record.calls_done > 0,
            in_doubt: config.omnidesk.in_doubt,
            probing: match run.record.probing {
                Probing::Untested => None,
                Probing::Works => Some(true),
                Probing::Fails { .. } => Some(false),
            },
            max_vanished: config.guard.max_vanished,
            vanished_allowed: self.options.allow_vanished,
            settle: config.omnidesk.settle.0,
            max_duration: self
                .options
                .window
                .as_ref()
                .map(|window| window.time_for_new(config.omnidesk.timeout.0)),
            stores_ids: config.missing.action != MissingAction::Ignore,
            texts: config.omnidesk.texts(),
            policy: Policy { run: run.number(), minute: minutes_since(&run.record.started), ..policy },
        })
    }
}
