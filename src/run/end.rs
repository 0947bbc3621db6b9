//! The end of a run: the summary, the checkpoint, old folders.

use std::path::Path;

use serde_json::Value;

use super::begin::{Beginning, now};
use super::error::RunError;
use super::exit::Exit;
use super::monitors::FinishedRun;
use super::options::{Execution, run_command};
use super::recorder::Recorder;
use crate::checkpoint::{CheckpointError, Probing, RunRecord, RunScope, RunState, Work};
use crate::config::Config;
use crate::dispatch::{DispatchEnd, Stop};
use crate::guards::guard_results;
use crate::mapping::Place;
use crate::reconcile::{MissingAction, Outcome};
use crate::report::{
    MISSING_FILE, NextStep, SUMMARY_FILE, Subject, Summary, UnusableProbes, page, print_data, report_line,
    run_before, sweep,
};
use crate::units::{Period, local_time, time_after};

impl Execution<'_> {
    pub(super) fn end(
        &self,
        mut recorder: Recorder,
        end: DispatchEnd,
        beginning: &Beginning,
    ) -> Result<FinishedRun, RunError> {
        recorder.progress.finish();
        let pending_rows = recorder.run.pending_rows(Work::Calls) + recorder.run.pending_rows(Work::Rejected);
        let pending = pending_rows + recorder.run.pending_missing();
        // A signal that came when all was done stops nothing.
        let stop = end
            .stop
            .as_ref()
            .filter(|stop| pending > 0 || matches!(stop, Stop::RecorderClosed | Stop::ExportLost { .. }));
        let state = if pending == 0 { RunState::Finished } else { RunState::Open };
        let summary = self.summary(&recorder, pending_rows, stop, &end, beginning)?;
        let json = summary.json();
        recorder.files.write_whole(SUMMARY_FILE, format!("{json:#}\n").as_bytes())?;
        let page = page(&json).map_err(|error| RunError::Bug(format!("report.html: {error}")))?;
        recorder.files.write_whole("report.html", page.as_bytes())?;
        // Last: a run whose results could not be written is not finished.
        recorder.checkpoint.close_run(&mut recorder.run, state, &summary.ended)?;
        if self.options.json {
            print_data(format!("{json}\n").as_bytes())?;
        }
        let text = if self.options.quiet { summary.quiet_text() } else { summary.text() };
        report_line(text.trim_end());
        self.sweep(&recorder)?;
        if !summary.is_balanced() {
            let (rows, outcomes) = (summary.rows, summary.counts.total());
            return Err(RunError::Bug(format!("{rows} rows were read, and {outcomes} have an outcome")));
        }
        Ok(FinishedRun { exit: exit_of(&summary, stop), summary })
    }

    /// Deletes old folders. If that fails, the run does not. A rehearsal must
    /// not push out the folders of real runs.
    fn sweep(&self, recorder: &Recorder) -> Result<(), CheckpointError> {
        if self.options.sandbox {
            return Ok(());
        }
        let runs = recorder.checkpoint.runs(u32::MAX)?;
        let is_over = |folder: &Path| {
            let mut known = runs.iter().filter(|(_, run)| Path::new(&run.folder) == folder).peekable();
            known.peek().is_some() && known.all(|(_, run)| run.state != RunState::Open)
        };
        let report = &self.options.config.report;
        match sweep(&report.dir, report.keep_runs, recorder.files.folder(), is_over) {
            Ok(folders) => tracing::info!(folders, "folders of old runs were deleted"),
            Err(error) => tracing::warn!(%error, "the folder of an old run cannot be deleted"),
        }
        Ok(())
    }

    pub(super) fn summary(
        &self,
        recorder: &Recorder,
        pending_rows: u64,
        stop: Option<&Stop>,
        end: &DispatchEnd,
        beginning: &Beginning,
    ) -> Result<Summary, RunError> {
        let Recorder { checkpoint, run, files, .. } = recorder;
        let record = &run.record;
        let mut counts = record.counts;
        counts.add_many(Outcome::NotAttempted, pending_rows);
        let config = &self.options.config;
        let (tenant, export) = (config.omnidesk.base_url.to_string(), self.prepared.export.name());
        let is_part = record.scope.is_part();
        let (overridden, stopped_by) = (&beginning.overridden, stop.and_then(|stop| guard_of(stop, config)));
        let mut settings = config.shown();
        settings["options"] = self.options.json();
        let mut summary = Summary {
            settings,
            guards: guard_results(&config.guard, overridden, stopped_by, is_part),
            before: summary_before(files.folder(), (&tenant, &export), is_part),
            tenant,
            export,
            export_hash: self.prepared.hash.to_string(),
            started: record.started.clone(),
            ended: now(),
            creates_in_doubt: checkpoint.creates_in_doubt(),
            unusable_probes: unusable_probes(record).filter(|_| checkpoint.creates_in_doubt() > 0),
            took: self.began.elapsed(),
            was_resumed: beginning.was_resumed,
            is_part,
            subject: if record.scope == RunScope::Request { Subject::Customers } else { Subject::Rows },
            rows: record.rows,
            no_rows: record.no_rows,
            counts,
            missing: record.missing,
            calls_planned: record.calls_planned,
            tally: recorder.tally.clone(),
            pace: end.pace,
            timeline: end.timeline.clone(),
            causes: recorder.causes.clone(),
            stopped: stop.map(|stop| self.stop_text(stop)),
            folder: files.folder().display().to_string(),
            files: file_names(recorder),
            notices: checkpoint.profile(run.id)?.unwrap_or_default().notices,
            exit_code: 0,
            next: Vec::new(),
        };
        let exit = if summary.is_balanced() { exit_of(&summary, stop) } else { Exit::Broken };
        summary.exit_code = exit as u8;
        summary.next = self.next_steps(&summary, stop);
        Ok(summary)
    }

    /// What a person does next. A run that stopped at something to fix says so itself.
    fn next_steps(&self, summary: &Summary, stop: Option<&Stop>) -> Vec<NextStep> {
        if summary.subject == Subject::Customers {
            return Vec::new();
        }
        if let Some(stop) = stop {
            let has_nothing_to_fix = matches!(
                stop,
                Stop::Interrupted
                    | Stop::WindowClosed
                    | Stop::Unreachable { .. }
                    | Stop::Failing { .. }
                    | Stop::AskedToWait { .. }
            );
            let command = Some(self.options.command.clone()).filter(|command| !command.is_empty());
            let step = NextStep { text: "resume the run:".to_owned(), command };
            return Some(step)
                .filter(|step| has_nothing_to_fix && step.command.is_some())
                .into_iter()
                .collect();
        }
        let options: &[&str] = if self.options.sandbox { &["--sandbox"] } else { &[] };
        let steps = [
            (Outcome::Rejected, "fix the rows that were rejected here, then run the file:"),
            (Outcome::Failed, "fix the rows that Omnidesk refused, then run the file:"),
            (Outcome::InDoubt, "look in Omnidesk for the customers in doubt, then run the file:"),
        ];
        let steps = steps.into_iter().filter_map(|(outcome, text)| {
            let is_own = |file: &&String| file.split('.').next() == Some(outcome.as_str());
            let file = summary.files.iter().find(is_own).filter(|_| summary.counts.get(outcome) > 0)?;
            let file = Path::new(&summary.folder).join(file);
            let command = run_command(&self.options.config_path, options, &file);
            Some(NextStep { text: text.to_owned(), command: Some(command) })
        });
        let text = "the same command without --sandbox sends all of it to Omnidesk".to_owned();
        let real = Some(NextStep { text, command: None });
        steps.chain(real.filter(|_| self.options.sandbox && summary.exit_code == 0)).collect()
    }

    /// The reason as a code, and what happened and what to do as text.
    fn stop_text(&self, stop: &Stop) -> (&'static str, String) {
        let resume = "run the same command again to resume";
        let (base_url, limits) = (&self.options.config.omnidesk.base_url, &self.options.config.limits);
        match stop {
            Stop::Interrupted => ("interrupted", format!("interrupted; {resume}")),
            Stop::WindowClosed => ("window_closed", format!("the time window closed; {resume}")),
            Stop::KeyRefused { at, message } => (
                "key_refused",
                format!(
                    "the API refused the key at {at}: {message}\nhint: the key needs the permission CUSTOMER_CUD. Give it one, or set auth = \"header\" or \"query\" in [omnidesk]; then {resume}"
                ),
            ),
            Stop::Intercepted { at, message } => (
                "intercepted",
                format!(
                    "several customers in a row, the last at {at}, were answered in the API's place: {message}\nhint: no row is to blame. Look for maintenance, a login page or a firewall in front of {base_url}; then {resume}"
                ),
            ),
            Stop::Vanished { at, message } => (
                "vanished",
                format!(
                    "the API does not know customers whom the checkpoint knows, the last at {at}: {message}\nhint: none of them was created again. Check base_url, brand_id and not_found_texts. If Omnidesk has really lost them, {resume} with --allow-vanished N, the number of customers who may be created again"
                ),
            ),
            Stop::CanaryFailed { reasons } => ("canary_failed", canary_text(reasons)),
            Stop::TooManyErrors { failed, calls } => (
                "too_many_errors",
                format!(
                    "{failed} of {calls} calls failed: more than max_errors = {} allows beside those that failed in the last run\nhint: look at the causes above; then {resume} with the rest",
                    limits.max_errors
                ),
            ),
            Stop::PurgeNotGranted { at } => ("purge_not_granted", self.purge_not_granted_text(*at)),
            Stop::Unreachable { message } => (
                "unreachable",
                format!(
                    "{base_url} cannot be reached: {message}\nhint: check base_url and the network; then {resume}"
                ),
            ),
            Stop::Failing { message } => (
                "server_failing",
                format!(
                    "{base_url} worked before, and {message}, longer than patience = {}. No row is to blame; {resume}",
                    limits.patience
                ),
            ),
            Stop::AskedToWait { asked, wait } => {
                let until = time_after(wait.saturating_sub(asked.elapsed()))
                    .map_or("after every calendar".to_owned(), local_time);
                (
                    "asked_to_wait",
                    format!(
                        "{base_url} asks to wait until {until}, for {}, and patience = {} ends before. No row is to blame\nhint: run the same command again after that time; from cron, the next night does. It resumes",
                        Period(*wait),
                        limits.patience
                    ),
                )
            }
            Stop::ExportLost { message } => (
                "export_lost",
                format!(
                    "{message}\nhint: calls on their way were finished. Put the export back as it was to resume; another one is decided anew"
                ),
            ),
            Stop::RecorderClosed => ("broken", format!("this program failed; {resume}")),
        }
    }

    fn purge_not_granted_text(&self, at: Place) -> String {
        let guard = &self.options.config.guard;
        let (why, option) = if guard.allow_purge {
            (
                format!("max_purge = {} allows no more", guard.max_purge),
                "--max-purge and the total number of purges",
            )
        } else {
            ("allow_purge is false".to_owned(), "--allow-purge")
        };
        format!(
            "{at} would purge a customer, which the plan did not count, since Omnidesk holds something else than was acknowledged; {why}. It was not sent\nhint: if it is right, run the same command again with {option}"
        )
    }
}

/// The summary of the run before this one. That it cannot be read fails no run.
fn summary_before(folder: &Path, export: (&str, &str), is_part: bool) -> Option<Value> {
    run_before(folder, export, is_part).unwrap_or_else(|error| {
        tracing::warn!(%error, "the run before cannot be compared");
        None
    })
}

/// The guard that stopped a run on its way.
fn guard_of(stop: &Stop, config: &Config) -> Option<&'static str> {
    match stop {
        Stop::CanaryFailed { .. } => Some("canary"),
        Stop::Vanished { .. } => Some("max_vanished"),
        Stop::PurgeNotGranted { .. } if config.guard.allow_purge => Some("max_purge"),
        Stop::PurgeNotGranted { .. } => Some("allow_purge"),
        _ => None,
    }
}

pub(crate) fn unusable_probes(record: &RunRecord) -> Option<UnusableProbes> {
    match &record.probing {
        Probing::Fails { brand_id, id } => Some(UnusableProbes { brand_id: *brand_id, id: id.clone() }),
        Probing::Untested | Probing::Works => None,
    }
}

fn canary_text(reasons: &[(Place, String)]) -> String {
    let lines: Vec<String> = reasons.iter().map(|(at, reason)| format!("  {at}: {reason}")).collect();
    format!(
        "none of the first {} calls worked; nothing else was sent:\n{}\nhint: check base_url, brand_id, body and custom_field_prefix; then run the same command again to resume, which tries these rows again. If only these rows are to blame, take them out, or set canary = 0 in [guard]",
        reasons.len(),
        lines.join("\n")
    )
}

/// Of a run that began, its missing customers included.
pub(super) fn exit_of(summary: &Summary, stop: Option<&Stop>) -> Exit {
    let is_missing_clean = summary.missing.is_none_or(|missing| missing.counts.is_clean());
    match stop {
        None if summary.counts.is_clean() && is_missing_clean => Exit::Clean,
        None => Exit::Problems,
        Some(Stop::Interrupted | Stop::WindowClosed) => Exit::Interrupted,
        Some(Stop::RecorderClosed | Stop::ExportLost { .. }) => Exit::Broken,
        Some(_) => Exit::Stopped,
    }
}

fn file_names(recorder: &Recorder) -> Vec<String> {
    let files = &recorder.files;
    let mut names: Vec<String> = files.names().map(str::to_owned).collect();
    // Customers who are only reported were written down when the run began.
    let missing = recorder.run.record.missing;
    if missing.is_some_and(|missing| missing.action == MissingAction::Report && missing.found > 0) {
        names.push(MISSING_FILE.to_owned());
        names.sort_unstable();
    }
    names
}
