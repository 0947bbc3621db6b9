//! Where a run begins: anew, at the unfinished row, or not at all.

use super::super::exit::CommandError;
use super::super::plan::View;
use super::super::prepare::Prepared;
use super::super::say;
use super::super::survey::{Unwatched, survey};
use crate::checkpoint::{Checkpoint, OpenRun, RunRecord, RunState};
use crate::cli::RunArgs;
use crate::config::Config;
use crate::planning::{Policy, Survey, judge_guards};
use crate::report::folder_name;

/// A run that may send.
pub(super) struct Begun {
    pub(super) checkpoint: Checkpoint,
    pub(super) run: OpenRun,
    pub(super) policy: Policy,
    pub(super) resumed: bool,
}

/// Finds the run to go on with, or plans a new one.
pub(super) fn begin(
    args: &RunArgs,
    config: &Config,
    prepared: &Prepared,
    mut checkpoint: Checkpoint,
) -> Result<Begun, CommandError> {
    let policy = |checkpoint: &Checkpoint, export| Policy {
        key: checkpoint.key(),
        export,
        full: args.common.full,
        allow_recreate: args.allow_recreate,
    };
    let mut open = checkpoint.open_run()?;
    if let Some(run) = open.take_if(|run| !args.fresh && is_same(run, prepared)) {
        tell(args, || resuming(config, &run));
        let policy = policy(&checkpoint, run.export);
        return Ok(Begun { checkpoint, run, policy, resumed: true });
    }
    let export = checkpoint.register_export(&prepared.fingerprint)?;
    let policy = policy(&checkpoint, export);
    let unfinished = match args.common.full || args.fresh || open.is_some() {
        true => Default::default(),
        false => checkpoint.unfinished(&prepared.fingerprint, &prepared.plan)?,
    };
    let only = unfinished.record.is_some().then_some(&unfinished.rows);
    let survey = survey(prepared, Some(&checkpoint), &policy, only, &mut Unwatched)?;
    if let Some(run) = &open {
        check_superseding(args, run, &survey)?;
    }
    let verdicts = judge_guards(&config.guard, &survey, checkpoint.rows_of_last_finished()?);
    let view = View { config, prepared, survey: &survey, verdicts: &verdicts };
    if !verdicts.is_empty() {
        tell(args, || view.head());
        return Err(CommandError::Blocked { verdicts });
    }
    tell(args, || view.head());
    if let Some(mut run) = open {
        tell(args, || superseding(&run, prepared));
        checkpoint.close_run(&mut run, RunState::Superseded, &now())?;
    } else if unfinished.record.is_some() {
        tell(args, || match unfinished.rows.len() {
            0 => "this export was applied completely by an earlier run".to_owned(),
            rows => format!(
                "this export was applied by an earlier run, except for {rows} rows, which are tried again"
            ),
        });
    }
    let record = record_of(prepared, &survey);
    let run = checkpoint.begin(prepared.fingerprint, prepared.plan, record, survey.worklist)?;
    Ok(Begun { checkpoint, run, policy, resumed: false })
}

fn is_same(run: &OpenRun, prepared: &Prepared) -> bool {
    run.fingerprint == prepared.fingerprint && run.plan == prepared.plan
}

/// The rows of the open run are decided anew from this export, unless that
/// could lose some of them.
fn check_superseding(args: &RunArgs, run: &OpenRun, survey: &Survey) -> Result<(), CommandError> {
    if args.fresh || run.record.only_sync && survey.only_sync {
        return Ok(());
    }
    Err(CommandError::OpenRun {
        open: run.not_attempted(),
        rows: run.record.rows,
        started: run.record.started.clone(),
        fingerprint: run.fingerprint.to_string(),
    })
}

fn superseding(run: &OpenRun, prepared: &Prepared) -> String {
    let why = match run.fingerprint == prepared.fingerprint {
        true => "the mapping has changed since",
        false => "this is another export",
    };
    format!(
        "the run begun {} has {} of {} rows to go, and {why}: it ends here, and every row is decided anew from what customers were last told",
        run.record.started,
        run.not_attempted(),
        run.record.rows
    )
}

fn resuming(config: &Config, run: &OpenRun) -> String {
    let brands: Vec<String> = run.record.brands.iter().map(ToString::to_string).collect();
    format!(
        "to {}, brand {}\ngoing on with the run begun {}: {} of {} rows are settled, {} of {} calls made",
        config.omnidesk.base_url,
        brands.join(", "),
        run.record.started,
        run.record.counts.total(),
        run.record.rows,
        run.record.calls_done,
        run.record.calls_planned
    )
}

fn record_of(prepared: &Prepared, survey: &Survey) -> RunRecord {
    let started = now();
    RunRecord {
        state: RunState::Open,
        folder: folder_name(&started, prepared.export.name()),
        started,
        ended: String::new(),
        rows: survey.rows,
        only_sync: survey.only_sync,
        brands: survey.brands.iter().copied().collect(),
        calls_planned: survey.calls_total(),
        calls_done: 0,
        counts: survey.settled_by_plan(),
        watermark: 0,
        rejects_done: 0,
        files: Default::default(),
    }
}

fn tell(args: &RunArgs, text: impl FnOnce() -> String) {
    if !args.common.quiet {
        say(text().trim_end());
    }
}

/// Now, in UTC, as RFC 3339 to the millisecond.
pub(super) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}
