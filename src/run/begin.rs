//! Where a run begins: anew, at the unfinished row, or not at all.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::error::RunError;
use super::signals::{Interrupts, PassLimits};
use crate::checkpoint::Work;
use crate::checkpoint::{Checkpoint, ExportId, Mark, OpenRun, RetryRows, RunRecord, RunState};
use crate::cli::RunArgs;
use crate::config::{Config, MissingAction};
use crate::guards::{GuardVerdict, PurgeCounts, judge_guards, judge_purges};
use crate::omnidesk::CallKind;
use crate::plan::Plan;
use crate::plan::PlanView;
use crate::plan::Window;
use crate::plan::keep_names;
use crate::plan::this_command;
use crate::plan::{self, PreparedExport};
use crate::plan::{PlanObserver, PlanRequest, survey};
use crate::reconcile::{MissingPlan, Outcome, Policy};
use crate::report::report_line;
use crate::report::{MISSING_FILE, RunFiles, make_folder, missing_file, write_into};
use crate::units::Period;

/// Runs whose calls may show that the settings are right.
const RUNS_LOOKED_AT: u32 = 10;

/// A run that may send.
pub(crate) struct StartedRun {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) run: OpenRun,
    pub(crate) policy: Policy,
    pub(crate) resumed: bool,
}

/// Finds the run to go on with, or plans a new one.
pub(crate) fn begin(
    args: &RunArgs,
    config: &Config,
    prepared: &PreparedExport,
    mut checkpoint: Checkpoint,
    window: Option<&Window>,
    interrupts: &mut Interrupts,
) -> Result<StartedRun, RunError> {
    let policy = |checkpoint: &Checkpoint, export| Policy {
        key: checkpoint.key(),
        export,
        full: args.common.full,
        allow_recreate: args.allow_recreate,
    };
    let mut open = checkpoint.open_run()?;
    if let Some(mut run) = open.take_if(|run| !args.fresh && is_same(run, prepared)) {
        withdraw_missing(args, config, &mut checkpoint, &mut run)?;
        check_purges_left(config, &run)?;
        forget_names_unless_asked(config, &mut checkpoint)?;
        tell(args, || resuming(config, &run, window));
        let policy = policy(&checkpoint, run.export);
        return Ok(StartedRun { checkpoint, run, policy, resumed: true });
    }
    let unfinished = match args.common.full || open.is_some() {
        true => Default::default(),
        false => checkpoint.unfinished(&prepared.fingerprint, &prepared.plan)?,
    };
    // What failed is tried again as rows of the same export; all else is decided
    // by what the rows mean now.
    let mapped = unfinished.record.as_ref().map_or(prepared.mapped, |record| record.mapped);
    let numbered = checkpoint.number(prepared.fingerprint, mapped)?;
    let policy = policy(&checkpoint, numbered.ordinal);
    let only = unfinished.record.is_some().then_some(&unfinished.rows);
    let part = prepared.is_part();
    let past = checkpoint.past()?;
    let past = if part { past.of_part() } else { past };
    let shared = config.guard.shared_addresses;
    let question = PlanRequest { policy: &policy, only, past: &past, shared, names_all: false };
    let mut patience = PassLimits { interrupts, window };
    let survey = survey(prepared, Some(&mut checkpoint), &question, &mut patience)?;
    if let Some(run) = &open {
        check_superseding(args, run, &survey, prepared)?;
    }
    plan::wait_until_written(config, &args.common, prepared)?;
    PassLimits { interrupts, window }.check()?;
    let verdicts = judge_guards(&config.guard, &survey, &past);
    let view = PlanView { config, prepared, survey: &survey, verdicts: &verdicts, window };
    tell(args, || view.head());
    if !verdicts.is_empty() {
        return Err(blocked(verdicts));
    }
    if let Some(mut run) = open {
        tell(args, || superseding(&run, prepared));
        checkpoint.close_run(&mut run, RunState::Superseded, &now())?;
    } else {
        tell_applied(args, &unfinished);
    }
    forget_names_unless_asked(config, &mut checkpoint)?;
    let proof = proof(config, &survey);
    let record = RunRecord {
        proven_before: is_proven(&checkpoint, proof, unfinished.record.as_ref())?,
        proof,
        mapped: prepared.mapped,
        ..record_of(config, prepared, &survey, part)?
    };
    write_notices(&record, prepared, &survey)?;
    let run = anew(prepared, numbered, &policy, &mut checkpoint, record, survey)?;
    Ok(StartedRun { checkpoint, run, policy, resumed: false })
}

/// What an earlier run over this export leaves to be done.
fn tell_applied(args: &RunArgs, unfinished: &RetryRows) {
    let Some(record) = &unfinished.record else { return };
    if unfinished.is_old {
        // Whoever reads one mail a month has to know: nothing of it is sent.
        report_line(&format!(
            "this export was applied by the run begun {}, and others were run since. Its rows name operations, which are carried out once: {} are tried again; --full sends all of them",
            record.started,
            unfinished.rows.len()
        ));
        return;
    }
    tell(args, || match unfinished.rows.len() {
        0 => "this export was applied by an earlier run: nothing of it is left to send".to_owned(),
        rows => format!(
            "this export was applied by an earlier run, except for {rows} rows, which are tried again"
        ),
    });
}

/// A run whose plan may be carried out.
fn anew(
    prepared: &PreparedExport,
    export: ExportId,
    policy: &Policy,
    checkpoint: &mut Checkpoint,
    record: RunRecord,
    survey: Plan,
) -> Result<OpenRun, RunError> {
    if survey.missing.as_ref().is_some_and(|found| found.to_name > 0) {
        keep_names(prepared, policy, checkpoint)?;
    }
    // Nothing is kept of a question that was not answered.
    let found = survey.missing.filter(|found| found.undecided.is_none());
    if let Some(found) = found.as_ref().filter(|found| !found.missing.purge && found.missing.found > 0) {
        report(checkpoint, found, Path::new(&record.folder))?;
    }
    Ok(checkpoint.begin_missing(
        export,
        prepared.plan,
        record,
        survey.worklist,
        &survey.findings,
        found.as_ref(),
    )?)
}

/// The setting may have changed while the run was open.
fn withdraw_missing(
    args: &RunArgs,
    config: &Config,
    checkpoint: &mut Checkpoint,
    run: &mut OpenRun,
) -> Result<(), RunError> {
    let pending = run.missing.map_or(0, |missing| missing.pending());
    if config.missing.action == MissingAction::Purge || pending == 0 {
        return Ok(());
    }
    tell(args, || format!("{pending} missing customers are not purged any more: [missing] says so"));
    Ok(checkpoint.withdraw_missing(run)?)
}

/// Ids are in the checkpoint as long as somebody asks who is missing.
fn forget_names_unless_asked(config: &Config, checkpoint: &mut Checkpoint) -> Result<(), RunError> {
    match config.missing.action {
        MissingAction::Ignore => Ok(checkpoint.forget_names()?),
        MissingAction::Report | MissingAction::Purge => Ok(()),
    }
}

/// `missing.csv`, before the run begins: one that is open has it.
fn report(checkpoint: &Checkpoint, found: &MissingPlan, folder: &Path) -> Result<(), RunError> {
    let mut customers = Vec::with_capacity(found.keys.len());
    for key in &found.keys {
        customers.extend(checkpoint.named(*key)?);
    }
    Ok(write_into(folder, MISSING_FILE, &missing_file(customers.into_iter()))?)
}

fn is_same(run: &OpenRun, prepared: &PreparedExport) -> bool {
    run.fingerprint == prepared.fingerprint && run.plan == prepared.plan
}

/// The rows of the open run are decided anew from this export, unless that
/// could lose some of them.
fn check_superseding(
    args: &RunArgs,
    run: &OpenRun,
    survey: &Plan,
    prepared: &PreparedExport,
) -> Result<(), RunError> {
    if args.fresh || run.record.only_sync && survey.only_sync {
        return Ok(());
    }
    Err(RunError::OpenRun {
        open: run.not_attempted(),
        rows: run.record.rows,
        started: run.record.started.clone(),
        way: match (run.fingerprint == prepared.fingerprint, run.plan.has_settings_of(&prepared.plan)) {
            (true, true) => "run it by the version of this program that began it".to_owned(),
            (true, false) => "put the mapping, and --limit and --full, back to what they were".to_owned(),
            (false, _) => format!("run the earlier export again (content {})", run.fingerprint),
        },
    })
}

fn superseding(run: &OpenRun, prepared: &PreparedExport) -> String {
    let why = match () {
        () if run.fingerprint != prepared.fingerprint => "this is another export",
        () if run.plan == prepared.plan => "--fresh was given",
        () if run.plan.has_settings_of(&prepared.plan) => {
            "this version of the program reads rows in another way"
        }
        () => "the mapping, --limit or --full has changed since",
    };
    format!(
        "the run begun {} has {} of {} rows to go, and {why}: it ends here, and every row is decided anew from what customers were last told",
        run.record.started,
        run.not_attempted(),
        run.record.rows
    )
}

fn resuming(config: &Config, run: &OpenRun, window: Option<&Window>) -> String {
    let brands: Vec<String> = run.record.brands.iter().map(ToString::to_string).collect();
    let (rate, left) = (config.limits.rate, run.record.calls_planned.saturating_sub(run.record.calls_done));
    let fit = window
        .map(|window| window.fit(rate, config.omnidesk.timeout.0, left, run.pending(Work::Calls)))
        .and_then(|fit| fit.words());
    format!(
        "to {}, brand {}\ngoing on with the run begun {}: {} of {} rows are settled, {} of {} calls made; the rest takes {} at {rate}\n{}",
        config.omnidesk.base_url,
        brands.join(", "),
        run.record.started,
        run.record.counts.total(),
        run.record.rows,
        run.record.calls_done,
        run.record.calls_planned,
        Period(rate.time_for(left)),
        fit.unwrap_or_default()
    )
}

fn record_of(
    config: &Config,
    prepared: &PreparedExport,
    survey: &Plan,
    partial: bool,
) -> Result<RunRecord, RunError> {
    let started = now();
    let folder = make_folder(&config.report.dir, &started, prepared.export.name())?;
    Ok(RunRecord {
        state: RunState::Open,
        folder: folder.to_string_lossy().into_owned(),
        started,
        ended: String::new(),
        rows: survey.rows,
        only_sync: survey.only_sync,
        brands: survey.brands.iter().copied().collect(),
        partial,
        purges_planned: survey.calls(CallKind::Purge),
        proven_before: false,
        calls_planned: survey.calls_total(),
        calls_done: 0,
        counts: survey.settled_by_plan(),
        watermark: 0,
        rejects_done: 0,
        files: Default::default(),
        proof: Default::default(),
        mapped: Default::default(),
    })
}

/// Of all settings that can make every call fail, but for the key, which the
/// API refuses in its own way.
fn proof(config: &Config, survey: &Plan) -> Mark {
    let omnidesk = &config.omnidesk;
    let wire = json!([omnidesk.base_url.to_string(), omnidesk.auth, omnidesk.body]);
    let mapped = json!([config.customer, omnidesk.names, omnidesk.custom_field_prefix, survey.brands]);
    Mark::of(&json!([wire, mapped]))
}

/// Whether calls have worked before: of this export, or by the same settings.
/// A night that begins with rows which failed before is not stopped by them.
fn is_proven(checkpoint: &Checkpoint, proof: Mark, earlier: Option<&RunRecord>) -> Result<bool, RunError> {
    let has_worked = |run: &RunRecord| run.calls_done > 0 || run.proven_before;
    // A run of before there were proofs is one over this export.
    let is_ours = |run: &&RunRecord| run.proof == proof || run.proof == Mark::default();
    let runs = checkpoint.runs(RUNS_LOOKED_AT)?;
    Ok(earlier.filter(is_ours).is_some_and(has_worked)
        || runs.iter().any(|(_, run)| run.proof == proof && has_worked(run)))
}

/// Leave to purge can be taken back while a run is open.
fn check_purges_left(config: &Config, run: &OpenRun) -> Result<(), RunError> {
    let missing = run.missing.map_or(0, |missing| missing.pending());
    let done = run.record.counts.get(Outcome::Purged)
        + run.missing.map_or(0, |missing| missing.counts.get(Outcome::Purged));
    let purges = PurgeCounts { all: run.record.purges_planned.saturating_sub(done), missing };
    let mut verdicts = judge_purges(&config.guard, purges, run.record.rows);
    if verdicts.is_empty() || purges.all == 0 {
        return Ok(());
    }
    for verdict in &mut verdicts {
        verdict.message = format!(
            "in the open run, begun {}, {}; --fresh gives that run up",
            run.record.started, verdict.message
        );
    }
    Err(blocked(verdicts))
}

/// Before the run is begun: once the checkpoint holds that something was said,
/// it is in the file.
fn write_notices(record: &RunRecord, prepared: &PreparedExport, survey: &Plan) -> Result<(), RunError> {
    let folder = PathBuf::from(&record.folder);
    let files = RunFiles::open(folder, Arc::clone(&prepared.export), &[])?;
    Ok(files.write_notices(&survey.findings.notices)?)
}

/// A blocked run, with the way out.
fn blocked(verdicts: Vec<GuardVerdict>) -> RunError {
    let command = this_command(&verdicts);
    RunError::Blocked { verdicts, command }
}

fn tell(args: &RunArgs, text: impl FnOnce() -> String) {
    if !args.common.quiet {
        report_line(text().trim_end());
    }
}

/// Now, in UTC, as RFC 3339 to the millisecond.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}
