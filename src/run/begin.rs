//! Where a run begins: anew, at the unfinished row, or not at all.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::checks::wait_until_written;
use super::error::{FIRST_CALL, RunError};
use super::options::Execution;
use super::signals::{Interrupts, PassLimits};
use crate::checkpoint::{
    Checkpoint, FirstPassResult, OpenRun, Probing, RetryRows, RunRecord, RunScope, RunState, SettingsHash,
    Work,
};
use crate::config::Config;
use crate::guards::{
    OverriddenGuard, PurgeCounts, judge_guards, judge_purges, needs_size_override, overridden_before,
};
use crate::omnidesk::{ApiKey, CallKind};
use crate::plan::{
    MissingPlan, OpenRunFate, Plan, PlanObserver, PlanView, PreparedExport, RunContext, Window, make_plan,
    store_ids, target_line,
};
use crate::reconcile::{Counts, MissingAction, Outcome, Policy};
use crate::report::{
    Causes, MISSING_FILE, RunFiles, make_run_folder, missing_file, read_summary, report_line, write_into,
};
use crate::units::{Count, Period, counted};

/// Earlier runs whose calls may show that the settings are right.
const PROOF_RUNS: u32 = 10;

/// A run that may send.
pub(super) struct StartedRun {
    pub(super) checkpoint: Checkpoint,
    pub(super) run: OpenRun,
    pub(super) policy: Policy,
    pub(super) beginning: Beginning,
}

/// How an execution began, for its summary.
#[derive(Default)]
pub(super) struct Beginning {
    pub(super) was_resumed: bool,
    /// Guards that would have blocked the run.
    pub(super) overridden: Vec<OverriddenGuard>,
    /// Of the executions before.
    pub(super) causes: Causes,
}

impl Beginning {
    /// As far as the summary of the execution before shows it.
    fn resumed(run: &OpenRun) -> Self {
        let summary = read_summary(Path::new(&run.record.folder)).unwrap_or_default();
        Self {
            was_resumed: true,
            overridden: overridden_before(&summary),
            causes: Causes::of_summary(&summary),
        }
    }
}

impl Execution<'_> {
    /// Resumes the open run, or plans a new one.
    pub(super) fn begin(
        &self,
        mut checkpoint: Checkpoint,
        interrupts: &mut Interrupts,
    ) -> Result<StartedRun, RunError> {
        let Self { options, prepared, .. } = *self;
        let (config, window) = (&options.config, options.window.as_ref());
        let mut context = RunContext::new(prepared, Some(&checkpoint))?;
        context.policy.allow_recreate = options.allow_recreate;
        let mut open = checkpoint.open_runs()?;
        let same = open.iter().position(|run| !options.fresh && context.is_same_run(run, prepared));
        if let Some(at) = same {
            let mut run = open.swap_remove(at);
            run.record.command.clone_from(&options.command);
            run.record.directory = directory();
            self.cancel_purge_list(&mut checkpoint, &mut run)?;
            check_pending_purges(config, &run)?;
            forget_ids_unless_wanted(config, &mut checkpoint)?;
            // A create in doubt is probed once the server is no longer at work on it.
            let in_doubt = !checkpoint.rows_in_doubt(run.export.ordinal).is_empty();
            let settle = if in_doubt { config.omnidesk.settle.0 } else { Duration::ZERO };
            options.report(|| resume_text(config, &run, settle, window));
            let policy = Policy { export: run.export.ordinal, ..context.policy };
            let beginning = Beginning::resumed(&run);
            return Ok(StartedRun { checkpoint, run, policy, beginning });
        }
        let mut limits = PassLimits { interrupts, window, log: self.log };
        let search = config.guard.shared_addresses.search_of_run();
        let reading = self.log.show_reading(options.progress.of_terminal());
        let plan = make_plan(prepared, Some(&mut checkpoint), &context, search, &mut limits)?;
        drop(reading);
        let open = self.decide_fates(open, &context, &plan)?;
        wait_until_written(config, prepared, options.quiet)?;
        limits.check(plan.rows())?;
        let verdicts = judge_guards(&config.guard, &plan.effects, &context.baseline);
        let view = PlanView { config, prepared, plan: &plan, verdicts: &verdicts, window };
        options.report(|| view.head());
        if options.quiet && plan.calls_total() > 0 {
            let warning = prepared.export.warning();
            warning.into_iter().for_each(|warning| report_line(&format!("warning: {warning}")));
        }
        if !verdicts.is_empty() {
            return Err(RunError::blocked(FIRST_CALL, verdicts));
        }
        for (mut run, fate) in open {
            if fate != OpenRunFate::Superseded {
                options.report(|| staying_text(&run));
                continue;
            }
            options.report(|| superseding_text(&run, prepared));
            checkpoint.close_run(&mut run, RunState::Superseded, &now())?;
        }
        if let Some(retry) = &context.retry {
            self.report_retry(retry);
        }
        forget_ids_unless_wanted(config, &mut checkpoint)?;
        let overridden = judge_guards(&options.configured_guard, &plan.effects, &context.baseline);
        let overridden = overridden.into_iter().map(OverriddenGuard::from).collect();
        let run = self.start(&context, &mut checkpoint, plan)?;
        let beginning = Beginning { overridden, ..Beginning::default() };
        Ok(StartedRun { checkpoint, run, policy: context.policy, beginning })
    }

    /// Begins a run whose plan may be carried out.
    fn start(
        &self,
        context: &RunContext,
        checkpoint: &mut Checkpoint,
        plan: Plan,
    ) -> Result<OpenRun, RunError> {
        let wire = wire_settings(&self.options.config, self.key, &plan.brands());
        let retry = context.retry.as_ref().map(|retry| &retry.record);
        let needs_override =
            needs_size_override(&self.options.config.guard, &plan.effects, &context.baseline);
        let record = RunRecord {
            wire,
            scope: context.scope,
            is_baseline: !context.scope.is_part() && (!needs_override || self.options.new_baseline),
            ..self.new_record(&plan)?
        };
        let record = with_evidence(checkpoint, record, retry)?;
        // Before the run begins: whatever the checkpoint holds as reported is in the file.
        let folder = PathBuf::from(&record.folder);
        let mut files = RunFiles::open(folder, self.prepared.source(), &[])?;
        plan.effects.findings.notices.rows().try_for_each(|notice| files.add_notice(notice))?;
        let record = RunRecord { files: files.flush()?, ..record };
        if let Some(missing) = &plan.missing {
            if missing.ids_to_store > 0 {
                store_ids(self.prepared, checkpoint)?;
            }
            write_missing(checkpoint, missing, Path::new(&record.folder))?;
        }
        let first_pass = FirstPassResult {
            purge_list: plan
                .missing
                .as_ref()
                .map(|missing| missing.purge_list().to_vec())
                .unwrap_or_default(),
            worklist: plan.worklist,
            profile: plan.effects.findings.profile,
            vanished: plan.effects.findings.vanished,
        };
        Ok(checkpoint.begin(context.export, record, first_pass)?)
    }

    fn new_record(&self, plan: &Plan) -> Result<RunRecord, RunError> {
        let (prepared, started) = (self.prepared, now());
        let folder = make_run_folder(&self.options.config.report.dir, &started, &prepared.export)?;
        Ok(RunRecord {
            folder: folder.to_string_lossy().into_owned(),
            started,
            command: self.options.command.clone(),
            directory: directory(),
            rows: plan.rows(),
            no_rows: plan.skipped.lines,
            only_sync: !plan.has_own_operations,
            brands: plan.brands(),
            plan: prepared.plan,
            mapping: prepared.mapping_version,
            calls_planned: plan.calls_total(),
            purges_planned: plan.calls(CallKind::Purge),
            counts: plan.settled(),
            missing: plan.missing.as_ref().and_then(|missing| missing.result.ok()),
            ..RunRecord::default()
        })
    }

    /// Reports that an earlier run has applied this export.
    fn report_retry(&self, retry: &RetryRows) {
        let rows = counted(retry.rows.len() as u64, "row");
        if retry.is_old {
            // Also with `--quiet`: no other row is sent.
            report_line(&format!(
                "this export was applied by the run of {}, and other exports since. Its rows name operations, which are carried out once: {rows} to try again; --full sends all of them",
                retry.record.started
            ));
        } else if retry.rows.is_empty() {
            let text = "this export was applied by an earlier run: nothing is left to send";
            self.options.report(|| text.to_owned());
        } else {
            self.options.report(|| {
                format!("this export was applied by an earlier run, except for {rows}, tried again now")
            });
        }
    }

    /// The setting may have changed while the run was open.
    fn cancel_purge_list(&self, checkpoint: &mut Checkpoint, run: &mut OpenRun) -> Result<(), RunError> {
        let pending = run.pending_missing();
        if self.options.config.missing.action == MissingAction::Purge || pending == 0 {
            return Ok(());
        }
        let customers = counted(pending, "missing customer");
        self.options.report(|| format!("{customers} will not be purged: action in [missing] has changed"));
        Ok(checkpoint.cancel_purge_list(run)?)
    }

    /// What becomes of the open runs. An error if rows of one could be lost.
    fn decide_fates(
        &self,
        open: Vec<OpenRun>,
        context: &RunContext,
        plan: &Plan,
    ) -> Result<Vec<(OpenRun, OpenRunFate)>, RunError> {
        let prepared = self.prepared;
        let gives_up = |run: &OpenRun, fate| match fate {
            // A part leaves every other run as it is.
            OpenRunFate::InTheWay => !context.scope.is_part(),
            _ => context.is_same_run(run, prepared),
        };
        let decide = |run: OpenRun| match context.fate_of(&run, prepared, plan) {
            fate if self.options.fresh && gives_up(&run, fate) => Ok((run, OpenRunFate::Superseded)),
            OpenRunFate::InTheWay => Err(self.in_the_way(&run, context)),
            fate => Ok((run, fate)),
        };
        open.into_iter().map(decide).collect()
    }

    fn in_the_way(&self, run: &OpenRun, context: &RunContext) -> RunError {
        let (prepared, record) = (self.prepared, &run.record);
        let kind = if record.scope.is_part() { "part" } else { "export" };
        let finish = if run.export.hash != prepared.hash {
            format!("run the earlier {kind} again (content {})", run.export.hash)
        } else if record.scope != context.scope {
            "run it again with the --part or --only options of that run".to_owned()
        } else if record.plan.settings == prepared.plan.settings {
            "run it with the version of this program that began it".to_owned()
        } else {
            "restore the mapping, --limit and --full of that run".to_owned()
        };
        let give_up = if context.scope.is_part() {
            "run the whole base with --fresh"
        } else {
            "the same command with --fresh"
        };
        let (open, rows, started) = (run.not_attempted(), record.rows, record.started.clone());
        RunError::OpenRun { open, rows, started, finish, give_up }
    }
}

fn directory() -> String {
    std::env::current_dir().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Ids are in the checkpoint only as long as `[missing]` needs them.
fn forget_ids_unless_wanted(config: &Config, checkpoint: &mut Checkpoint) -> Result<(), RunError> {
    if config.missing.action == MissingAction::Ignore {
        checkpoint.forget_ids()?;
    }
    Ok(())
}

/// `missing.csv`, before the run begins: an open run has it.
fn write_missing(checkpoint: &Checkpoint, missing: &MissingPlan, folder: &Path) -> Result<(), RunError> {
    let is_report = missing.result.is_ok_and(|missing| missing.action == MissingAction::Report);
    if !is_report || missing.keys.is_empty() {
        return Ok(());
    }
    let mut customers = Vec::with_capacity(missing.keys.len());
    for key in &missing.keys {
        customers.extend(checkpoint.stored_id(*key)?);
    }
    Ok(write_into(folder, MISSING_FILE, &missing_file(customers.into_iter()))?)
}

/// Of a run beside which another one begins.
pub(super) fn staying_text(run: &OpenRun) -> String {
    let why = match run.record.scope {
        RunScope::Request => "until the same `purge` command resumes it, or `purge --fresh` gives it up",
        _ => "since this is a part of the base",
    };
    format!(
        "the run of {} stays open, with {} of {} rows left, {why}",
        run.record.started,
        Count(run.not_attempted()),
        Count(run.record.rows)
    )
}

fn superseding_text(run: &OpenRun, prepared: &PreparedExport) -> String {
    let why = if run.export.hash != prepared.hash {
        "this is another export"
    } else if run.record.scope.is_part() && !prepared.is_part() {
        "this is the whole base"
    } else if run.record.plan == prepared.plan {
        "--fresh was given"
    } else if run.record.plan.settings == prepared.plan.settings {
        "this is another version of the program"
    } else {
        "the mapping, --limit or --full has changed"
    };
    format!(
        "the run of {} ends here with {} of {} rows left, since {why}: every row is decided anew from its customer's acknowledged state",
        run.record.started,
        Count(run.not_attempted()),
        Count(run.record.rows)
    )
}

fn resume_text(config: &Config, run: &OpenRun, settle: Duration, window: Option<&Window>) -> String {
    let record = &run.record;
    let (rate, left) = (&config.limits.rate, record.calls_planned.saturating_sub(record.calls_done));
    let rates = rate.timeline();
    let fit = window
        .map(|window| window.fit(&rates, config.omnidesk.timeout.0, left, run.pending_rows(Work::Calls)))
        .and_then(|fit| fit.text());
    format!(
        "{}\nresuming the run of {}: {} of {} rows and {} of {} calls done, {} left at {rate}\n{}",
        target_line(config, &record.brands),
        record.started,
        Count(record.counts.total()),
        Count(record.rows),
        Count(record.calls_done),
        Count(record.calls_planned),
        Period(rates.time_for(left as f64, Duration::ZERO).max(settle)),
        fit.unwrap_or_default()
    )
}

/// All settings that can make every call fail, but for the key, which the API
/// refuses in its own way.
pub(super) fn wire_settings(config: &Config, key: &ApiKey, brands: &[u64]) -> SettingsHash {
    let omnidesk = &config.omnidesk;
    let wire = json!([omnidesk.base_url.to_string(), omnidesk.auth, omnidesk.body, key.fingerprint()]);
    let mapped = json!([config.customer, omnidesk.names, omnidesk.custom_field_prefix, brands]);
    SettingsHash::new(&json!([wire, mapped]))
}

/// Adds what earlier runs by the same key and settings have shown. A night that
/// begins with rows that failed before is not stopped by them.
pub(super) fn with_evidence(
    checkpoint: &Checkpoint,
    mut record: RunRecord,
    retried: Option<&RunRecord>,
) -> Result<RunRecord, RunError> {
    let runs = checkpoint.runs(PROOF_RUNS)?;
    let mut same = retried.into_iter().chain(runs.iter().map(|(_, run)| run));
    for run in same.by_ref().filter(|run| run.wire == record.wire) {
        record.proven_before |= run.calls_done > 0 || run.proven_before;
        if record.probing == Probing::Untested {
            record.probing.clone_from(&run.probing);
        }
    }
    Ok(record)
}

/// An override may be missing when a run is resumed.
fn check_pending_purges(config: &Config, run: &OpenRun) -> Result<(), RunError> {
    let missing = run.pending_missing();
    let purged = |counts: Counts| counts.get(Outcome::Purged);
    let done = purged(run.record.counts) + run.record.missing.map_or(0, |missing| purged(missing.counts));
    let purges = PurgeCounts { all: run.record.purges_planned.saturating_sub(done), missing };
    let mut verdicts = judge_purges(&config.guard, purges, run.record.rows);
    if verdicts.is_empty() || purges.all == 0 {
        return Ok(());
    }
    for verdict in &mut verdicts {
        let started = &run.record.started;
        verdict.message =
            format!("in the open run of {started}, {}; --fresh gives that run up", verdict.message);
    }
    Err(RunError::blocked(FIRST_CALL, verdicts))
}

/// In UTC, as RFC 3339 to the millisecond.
pub(super) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}
