//! `purge`: customers whom a person names, as an export in memory.
//!
//! Its rows go the way of every purge, beside an open run over an export. No file
//! of it names the customers: each has a line in a receipt, by keyed hash.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};

use super::begin::{Beginning, StartedRun, now, staying_text, wire_settings, with_evidence};
use super::end::exit_of;
use super::error::{FIRST_CALL, RunError};
use super::exit::Exit;
use super::options::{Execution, RunOptions};
use super::recorder::Recorder;
use super::signals::Interrupts;
use super::status_reporter::StatusReporter;
use super::{
    fetch_key, open_checkpoint, rehearsal_path, sandbox_state_path, start_sandbox, use_rehearsal_checkpoint,
};
use crate::checkpoint::{
    Checkpoint, FirstPassResult, Lock, OpenRun, RunRecord, RunScope, RunState, Work, Worklist,
};
use crate::dispatch::{DispatchEnd, Stop};
use crate::guards::GuardVerdict;
use crate::mapping::Customer;
use crate::omnidesk::Client;
use crate::plan::{KnownCustomer, prepare_purge, target_line};
use crate::reconcile::{Counts, HashKey, Policy};
use crate::report::{LogWriter, RECEIPT_FILE, Word, files_with, make_run_folder, report_line};
use crate::source::Row;
use crate::units::{Count, counted};

/// Whom a person wants to be purged.
pub(crate) struct PurgeRequest {
    pub(crate) customers: Vec<Customer>,
    /// Whether `--allow-purge` was given.
    pub(crate) is_allowed: bool,
}

/// The end of such a run.
struct FinishedPurge {
    exit: Exit,
    folder: PathBuf,
    counts: Counts,
}

/// Purges the customers, or only says whom it would purge. Returns the exit code and
/// the result as JSON.
pub(crate) fn purge(
    mut options: RunOptions,
    request: &PurgeRequest,
    log: &LogWriter,
    began: Instant,
) -> Result<(Exit, Value), RunError> {
    use_rehearsal_checkpoint(&mut options);
    if !request.is_allowed {
        let checkpoint = Checkpoint::open_to_read(&options.config.checkpoint.path)?;
        report_customers(&options, request, checkpoint.as_ref())?;
        return Err(not_allowed());
    }
    // The lock comes first: beside a run that executes, this ends at once.
    let lock = Lock::take(&options.config.checkpoint.path)?;
    let sandbox = start_sandbox(&mut options)?;
    let options = &options;
    let _reporter = StatusReporter::start(&options.config.checkpoint.path, log).map_err(RunError::System)?;
    let mut checkpoint = open_checkpoint(options, lock)?;
    let key = fetch_key(options, sandbox.as_ref())?;
    let client = Client::new(&options.config.api_settings(), &key)?;
    report_customers(options, request, Some(&checkpoint))?;
    let hash_key = checkpoint.key();
    let prepared = prepare_purge(&options.config, &request.customers, &hash_key)?;
    let interrupts = Interrupts::listen().map_err(RunError::System)?;
    let given_up = if options.fresh { close_requests(options, &mut checkpoint)? } else { Vec::new() };
    let execution = Execution { options, prepared: &prepared, key: &key, log, began };
    let started = execution.begin_purge(checkpoint, request.customers.len() as u64)?;
    let (recorder, end, beginning) = execution.run_second_pass(started, client, interrupts)?;
    let finished = execution.end_purge(recorder, &end, &beginning)?;
    let older = older_files(options, request)?;
    let mut json = finished.json(request, &hash_key, &older);
    json["given_up"] = given_up.into();
    Ok((finished.exit, json))
}

/// Ends interrupted purges, and sends nothing.
pub(crate) fn give_up_purges(mut options: RunOptions) -> Result<(Exit, Value), RunError> {
    use_rehearsal_checkpoint(&mut options);
    let path = options.config.checkpoint.path.clone();
    let given_up = if path.exists() {
        let lock = Lock::take(&path)?;
        let _sandbox = start_sandbox(&mut options)?;
        let tenant = options.config.omnidesk.base_url.tenant();
        close_requests(&options, &mut Checkpoint::open_locked(&path, &tenant, lock)?)?
    } else {
        Vec::new()
    };
    if given_up.is_empty() {
        options.report(|| "no purge is open".to_owned());
    }
    Ok((Exit::Clean, json!({ "given_up": given_up, "exit_code": 0 })))
}

/// Ends the open requests. Returns them as JSON.
fn close_requests(options: &RunOptions, checkpoint: &mut Checkpoint) -> Result<Vec<Value>, RunError> {
    let open = checkpoint.open_runs()?.into_iter().filter(|run| run.record.scope == RunScope::Request);
    let close = |mut run: OpenRun| {
        checkpoint.close_run(&mut run, RunState::Superseded, &now())?;
        let (record, left) = (&run.record, run.not_attempted());
        let receipt = Some(Path::new(&record.folder).join(RECEIPT_FILE)).filter(|path| path.exists());
        options.report(|| {
            let names = |path: &PathBuf| format!("; {} has the others, by keyed hash", path.display());
            format!(
                "the purge of {} is given up, with {} of {} left{}",
                record.started,
                Count(left),
                counted(record.rows, "customer"),
                receipt.as_ref().map(names).unwrap_or_default()
            )
        });
        Ok(json!({ "started": record.started, "customers": record.rows, "left": left, "receipt": receipt }))
    };
    open.map(close).collect()
}

fn report_customers(
    options: &RunOptions,
    request: &PurgeRequest,
    checkpoint: Option<&Checkpoint>,
) -> Result<(), RunError> {
    let brands: BTreeSet<u64> = request.customers.iter().map(|customer| customer.brand_id).collect();
    let brands: Vec<u64> = brands.into_iter().collect();
    // A rehearsal that is not allowed has no sandbox yet.
    if request.is_allowed || !options.sandbox {
        options.report(|| target_line(&options.config, &brands));
    }
    for customer in &request.customers {
        let known = KnownCustomer::look_up(&options.config, checkpoint, customer.clone())?;
        let (id, brand_id) = (customer.primary_id.as_str(), customer.brand_id);
        options.report(|| format!("purge of customer {id} of brand {brand_id}: {}", known.line_text()));
    }
    Ok(())
}

fn not_allowed() -> RunError {
    let message = "a purge cannot be taken back, and each one needs this option".to_owned();
    let verdict = GuardVerdict::new("allow_purge", message, "--allow-purge".to_owned());
    RunError::blocked(FIRST_CALL, vec![verdict])
}

/// Files of earlier runs that hold one of the ids. They are named by their
/// path alone.
fn older_files(options: &RunOptions, request: &PurgeRequest) -> Result<Vec<PathBuf>, RunError> {
    let config = &options.config;
    let rehearsed = sandbox_state_path(&rehearsal_path(&config.checkpoint.path));
    let mut files = BTreeSet::new();
    for customer in &request.customers {
        let word = Word::new(customer.primary_id.as_str(), config.input.encoding.0);
        files.extend(files_with(&config.report.dir, &word)?);
        if word.is_in(&rehearsed)? {
            files.insert(rehearsed.clone());
        }
    }
    if !files.is_empty() {
        let paths: Vec<String> = files.iter().map(|file| format!("  {}", file.display())).collect();
        report_line(&format!(
            "files of earlier runs hold an id, or a number like it; they stay as they are:\n{}",
            paths.join("\n")
        ));
    }
    Ok(files.into_iter().collect())
}

impl Execution<'_> {
    /// Resumes the open run of the same request, or begins one.
    fn begin_purge(&self, mut checkpoint: Checkpoint, customers: u64) -> Result<StartedRun, RunError> {
        let hash = self.prepared.hash;
        let mut open = checkpoint.open_runs()?;
        open.retain(|run| run.record.scope == RunScope::Request);
        let same = open.iter().position(|run| run.export.hash == hash);
        let same = same.map(|at| open.remove(at));
        for other in &open {
            self.options.report(|| staying_text(other));
        }
        let was_resumed = same.is_some();
        let run = match same {
            Some(run) => {
                let (record, options) = (&run.record, self.options);
                options.report(|| {
                    let (done, rows) = (Count(record.counts.total()), counted(record.rows, "customer"));
                    format!("resuming the purge of {}: {done} of {rows} done", record.started)
                });
                run
            }
            None => self.start_purge(&mut checkpoint, customers)?,
        };
        let policy = Policy { full: true, ..Policy::new(checkpoint.key(), run.export.ordinal) };
        let beginning = Beginning { was_resumed, ..Beginning::default() };
        Ok(StartedRun { checkpoint, run, policy, beginning })
    }

    fn start_purge(&self, checkpoint: &mut Checkpoint, customers: u64) -> Result<OpenRun, RunError> {
        let Self { options, prepared, .. } = *self;
        let config = &options.config;
        let (mut worklist, mut brands) = (Worklist::default(), BTreeSet::new());
        let (mut row, mut reader) = (Row::default(), prepared.export.rows());
        while reader.read(&mut row).map_err(|source| prepared.export.io_error(source))? {
            let refused = |code: &str, message: &str| RunError::Usage(format!("{code}: {message}"));
            let mapped = prepared.map(&row).map_err(|why| refused(why.code.as_str(), &why.message))?;
            brands.extend(mapped.map(|intent| intent.customer.brand_id));
            worklist.add_row(row.at());
            worklist.set(row.at().number, Work::Calls);
        }
        let rows = worklist.count(Work::Calls);
        if rows != customers {
            return Err(RunError::Bug(format!("{customers} customers became {rows} rows")));
        }
        let (started, brands) = (now(), brands.into_iter().collect::<Vec<_>>());
        let folder = make_run_folder(&config.report.dir, &started, &prepared.export)?;
        let record = RunRecord {
            started,
            folder: folder.to_string_lossy().into_owned(),
            scope: RunScope::Request,
            rows,
            plan: prepared.plan,
            mapping: prepared.mapping_version,
            wire: wire_settings(config, self.key, &brands),
            brands,
            calls_planned: rows,
            purges_planned: rows,
            ..RunRecord::default()
        };
        let record = with_evidence(checkpoint, record, None)?;
        let first_pass = FirstPassResult { worklist, ..FirstPassResult::default() };
        Ok(checkpoint.begin(checkpoint.next_export(prepared.hash)?, record, first_pass)?)
    }

    fn end_purge(
        &self,
        mut recorder: Recorder,
        end: &DispatchEnd,
        beginning: &Beginning,
    ) -> Result<FinishedPurge, RunError> {
        recorder.progress.finish();
        let pending = recorder.run.pending_rows(Work::Calls);
        let stop = end
            .stop
            .as_ref()
            .filter(|stop| pending > 0 || matches!(stop, Stop::RecorderClosed | Stop::ExportLost { .. }));
        let state = if pending == 0 { RunState::Finished } else { RunState::Open };
        let summary = self.summary(&recorder, pending, stop, end, beginning)?;
        recorder.checkpoint.close_run(&mut recorder.run, state, &summary.ended)?;
        let text = if self.options.quiet { summary.quiet_text() } else { summary.text() };
        report_line(text.trim_end());
        let folder = recorder.files.folder().to_owned();
        Ok(FinishedPurge { exit: exit_of(&summary, stop), folder, counts: summary.counts })
    }
}

impl FinishedPurge {
    /// It names the customers by keyed hash, in the order of the command line.
    fn json(&self, request: &PurgeRequest, key: &HashKey, older: &[PathBuf]) -> Value {
        let customer = |customer: &Customer| json!({ "customer": key.customer(customer).to_string(), "brand_id": customer.brand_id });
        json!({
            "schema": 1,
            "customers": request.customers.iter().map(customer).collect::<Vec<_>>(),
            "rows": self.counts.total(),
            "outcomes": self.counts.json(),
            "receipt": self.folder.join(RECEIPT_FILE),
            "older_files": older,
            "exit_code": self.exit as u8,
        })
    }
}
