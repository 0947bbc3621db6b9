//! The end of a run: the books are closed and everybody is told.

use std::path::Path;
use std::time::Instant;

use super::begin::now;
use super::error::RunError;
use super::exit::Exit;
use super::monitors::FinishedRun;
use super::recorder::{ClosedRun, Recorder};
use crate::checkpoint::Work;
use crate::checkpoint::{CheckpointError, RunState};
use crate::cli::RunArgs;
use crate::config::Config;
use crate::dispatch::{DispatchEnd, Pace, Stop};
use crate::plan::PreparedExport;
use crate::reconcile::{Counts, MissingCustomers, Outcome};
use crate::report::{MISSING_FILE, Summary, page, sweep};
use crate::report::{print_data, report_line};

/// What the end of a run needs to know of its beginning.
pub(crate) struct RunEnding<'a> {
    pub(crate) args: &'a RunArgs,
    pub(crate) config: &'a Config,
    pub(crate) prepared: &'a PreparedExport,
    pub(crate) began: Instant,
    pub(crate) resumed: bool,
}

impl RunEnding<'_> {
    /// Closes the books and tells the result.
    pub(crate) fn end(&self, recorder: Recorder, finish: DispatchEnd) -> Result<FinishedRun, RunError> {
        let mut closed = recorder.close();
        let pending = closed.run.pending(Work::Calls) + closed.run.pending(Work::Rejected);
        let pending_missing = closed.run.missing.map_or(0, |missing| missing.pending());
        // A signal that came when all was done stops nothing.
        let stop = finish.stop.filter(|stop| {
            pending + pending_missing > 0 || matches!(stop, Stop::RecorderGone | Stop::ExportLost { .. })
        });
        let state = if pending + pending_missing == 0 { RunState::Finished } else { RunState::Open };
        let mut summary = self.summary(&closed, pending, stop.as_ref(), finish.pace)?;
        if !summary.balances() {
            summary.exit_code = Exit::Broken as u8;
        }
        let json = summary.json();
        closed.files.write_whole("summary.json", format!("{json:#}\n").as_bytes())?;
        let page = page(&summary).map_err(|error| RunError::Bug(format!("report.html: {error}")))?;
        closed.files.write_whole("report.html", page.as_bytes())?;
        // Last: a run whose results could not be written is not finished.
        closed.checkpoint.close_run(&mut closed.run, state, &summary.ended)?;
        if self.args.common.json {
            print_data(format!("{json}\n").as_bytes())?;
        }
        match self.args.common.quiet {
            true => report_line(summary.quiet_text().trim_end()),
            false => report_line(summary.text().trim_end()),
        }
        self.sweep(&closed)?;
        match summary.balances() {
            true => Ok(FinishedRun {
                exit: exit(stop.as_ref(), &summary.counts, closed.run.missing.as_ref()),
                summary,
            }),
            false => Err(RunError::Bug(format!(
                "{} rows were read, and {} have an outcome",
                summary.rows,
                summary.counts.total()
            ))),
        }
    }

    /// Old folders go; if they do not, that is no reason to fail. A rehearsal
    /// must not push out the folders of real runs.
    fn sweep(&self, closed: &ClosedRun) -> Result<(), CheckpointError> {
        if self.args.sandbox {
            return Ok(());
        }
        let runs = closed.checkpoint.runs(u32::MAX)?;
        let is_over = |folder: &Path| {
            let mut known = runs.iter().filter(|(_, run)| Path::new(&run.folder) == folder).peekable();
            known.peek().is_some() && known.all(|(_, run)| run.state != RunState::Open)
        };
        let report = &self.config.report;
        match sweep(&report.dir, report.keep_runs, closed.files.folder(), is_over) {
            Ok(folders) => tracing::info!(folders, "folders of old runs were deleted"),
            Err(error) => tracing::warn!(%error, "the folder of an old run cannot be deleted"),
        }
        Ok(())
    }

    fn summary(
        &self,
        closed: &ClosedRun,
        pending: u64,
        stop: Option<&Stop>,
        pace: Option<Pace>,
    ) -> Result<Summary, RunError> {
        let mut counts = closed.run.record.counts;
        counts.add_many(Outcome::NotAttempted, pending);
        Ok(Summary {
            tenant: self.config.omnidesk.base_url.to_string(),
            export: self.prepared.export.name().to_owned(),
            fingerprint: self.prepared.fingerprint.to_string(),
            started: closed.run.record.started.clone(),
            ended: now(),
            in_doubt: closed.checkpoint.in_doubt(),
            took: self.began.elapsed(),
            resumed: self.resumed,
            rows: closed.run.record.rows,
            counts,
            missing: closed.run.missing,
            calls_planned: closed.run.record.calls_planned,
            tally: closed.tally.clone(),
            pace,
            causes: closed.causes.clone(),
            stopped: stop.map(|stop| self.words(stop, closed.run.record.rows)),
            folder: Some(closed.files.folder().display().to_string()),
            files: files_of(closed),
            notices: closed.checkpoint.seen(closed.run.id)?.unwrap_or_default().notices,
            exit_code: exit(stop, &counts, closed.run.missing.as_ref()) as u8,
        })
    }

    fn words(&self, stop: &Stop, rows: u64) -> (&'static str, String) {
        let resume = "run the same command again to go on";
        match stop {
            Stop::Interrupted => ("interrupted", format!("interrupted; {resume}")),
            Stop::WindowClosed => ("window_closed", format!("the time window closed; {resume}")),
            Stop::KeyRefused { row, message } => (
                "key_refused",
                format!(
                    "the API refused the key at {}: {message}\nThe key needs the permission CUSTOMER_CUD. Give it one, or set auth = \"header\" or \"query\" in [omnidesk]; then {resume}",
                    place(*row, rows)
                ),
            ),
            Stop::CanaryFailed { reasons } => {
                let lines: Vec<String> = reasons
                    .iter()
                    .map(|(row, reason)| format!("  {}: {reason}", place(*row, rows)))
                    .collect();
                (
                    "canary_failed",
                    format!(
                        "none of the first {} calls worked; nothing else was sent:\n{}\nLook at base_url, brand_id, body and custom_field_prefix; then {resume}, which tries these rows again. If only these rows are to blame, take them out, or set canary = 0 in [guard]",
                        reasons.len(),
                        lines.join("\n")
                    ),
                )
            }
            Stop::TooManyErrors { failed, calls } => (
                "too_many_errors",
                format!(
                    "{failed} of {calls} calls failed, more than max_errors = {} allows beside those that failed in the last run. Look at the causes above; then {resume} with the rest",
                    self.config.limits.max_errors
                ),
            ),
            Stop::PurgeWithoutLeave { row } => ("purge_without_leave", self.without_leave(*row, rows)),
            Stop::Unreachable { message } => (
                "unreachable",
                format!(
                    "{} cannot be reached: {message}\nLook at base_url and the network; then {resume}",
                    self.config.omnidesk.base_url
                ),
            ),
            Stop::Failing { message } => (
                "server_failing",
                format!(
                    "{} worked, and does no more: {message}, longer than patience = {}. No row is to blame; {resume}",
                    self.config.omnidesk.base_url, self.config.limits.patience
                ),
            ),
            Stop::ExportLost { message } => (
                "export_lost",
                format!(
                    "{message}\nCalls under way were finished. Put the export back as it was to go on; another one is decided anew"
                ),
            ),
            Stop::RecorderGone => ("broken", format!("this program failed; {resume}")),
        }
    }
}

impl RunEnding<'_> {
    fn without_leave(&self, row: u64, rows: u64) -> String {
        let guard = &self.config.guard;
        let (why, way) = match guard.allow_purge {
            true => (
                format!("max_purge = {} allows no more", guard.max_purge),
                "--max-purge and how many may be purged in all",
            ),
            false => ("purging is not allowed".to_owned(), "--allow-purge"),
        };
        format!(
            "{} would purge a customer, which the plan did not count, since Omnidesk holds something else than it was told; {why}. It was not sent. If it is right, run the same command again with {way}",
            place(row, rows)
        )
    }
}

/// Behind the rows stand the purges of the missing.
fn place(row: u64, rows: u64) -> String {
    if row > rows { "the purge of a missing customer".to_owned() } else { format!("row {row}") }
}

/// Of a run that began, the missing included.
fn exit(stop: Option<&Stop>, counts: &Counts, missing: Option<&MissingCustomers>) -> Exit {
    match Exit::of_run(stop, counts) {
        Exit::Clean if missing.is_some_and(|missing| !missing.is_clean()) => Exit::Troubles,
        exit => exit,
    }
}

fn files_of(closed: &ClosedRun) -> Vec<String> {
    let mut files: Vec<String> =
        closed.files.names().map(str::to_owned).chain(closed.files.notices_name()).collect();
    // Those who are only reported were written down when the run began.
    if closed.run.missing.is_some_and(|missing| !missing.purge && missing.found > 0) {
        files.push(MISSING_FILE.to_owned());
        files.sort_unstable();
    }
    files
}
