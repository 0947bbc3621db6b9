//! `adopt`: records that Omnidesk already holds an export, or the customers of its own
//! list. Sends no call.

use serde_json::json;

use super::verify::{check_brands, read_list};
use super::{override_guards, plan_options, print_json};
use crate::checkpoint::{
    Checkpoint, FirstPassResult, RejectionKind, RunRecord, RunScope, RunState, StateSorter, Work,
};
use crate::cli::AdoptArgs;
use crate::config::Config;
use crate::guards::{RunProfile, SharedAddresses, judge_guards};
use crate::omnidesk::CallKind;
use crate::plan::{
    Plan, PlanError, PlanObserver, PreparedExport, RunContext, Selection, Values, make_plan, prepare,
    rejections_text, store_ids,
};
use crate::reconcile::{Counts, CustomerKey, CustomerState, MissingAction, Outcome};
use crate::report::{LogWriter, ProgressSetting, report_line};
use crate::run::{Exit, RunError, report_lost_checkpoint, wait_until_written};
use crate::units::{Amount, Count, counted};

pub(super) fn adopt(args: &AdoptArgs, log: &LogWriter) -> Result<Exit, RunError> {
    if args.from_omnidesk {
        return adopt_list(args, log);
    }
    let mut config = Config::read(&args.common.config)?;
    override_guards(&mut config.guard, &args.guards);
    // Nothing is sent, so nothing that is sent is limited.
    config.guard.max_changes = Amount::Percent(100.0);
    let mut checkpoint = open_checkpoint(&config)?;
    let mut prepared = prepare(&config, plan_options(&args.common, Selection::All), &args.exports)?;
    // Nobody is missing from an export that is only recorded.
    prepared.missing = MissingAction::Ignore;
    let mut context = RunContext::for_adoption(&prepared, &checkpoint)?;
    context.policy.run = checkpoint.next_run()?;
    let search = config.guard.shared_addresses.search_of_run();
    let mut adopted = AdoptedStates { states: checkpoint.sort_states()?, log };
    let reading = log.show_reading(ProgressSetting::on_terminal());
    let plan = make_plan(&prepared, Some(&mut checkpoint), &context, search, &mut adopted)?;
    drop(reading);
    // Nothing is recorded of an export that cannot be adopted.
    let purges = plan.calls(CallKind::Purge);
    if purges > 0 {
        let rows = counted(purges, "row");
        let message = format!("{rows} would purge a customer: a purge cannot be adopted; use `run`");
        return Err(RunError::Usage(message));
    }
    // A wrong column does its harm a night later: every right row is a change then.
    let verdicts = judge_guards(&config.guard, &plan.effects, &context.baseline);
    if !verdicts.is_empty() {
        return Err(RunError::blocked("anything was adopted", verdicts));
    }
    wait_until_written(&config, &prepared, args.common.quiet)?;
    checkpoint.register(&context.export)?;
    checkpoint.write_states(adopted.states)?;
    if config.missing.action != MissingAction::Ignore {
        store_ids(&prepared, &mut checkpoint)?;
    }
    record_run(&mut checkpoint, &prepared, &context, &plan)?;
    report(args, &plan)
}

fn open_checkpoint(config: &Config) -> Result<Checkpoint, RunError> {
    report_lost_checkpoint(&config.checkpoint.path);
    let checkpoint = Checkpoint::open(&config.checkpoint.path, &config.omnidesk.base_url.tenant())?;
    if checkpoint.open_runs()?.iter().all(|run| run.record.scope == RunScope::Request) {
        return Ok(checkpoint);
    }
    let message = "a run is open; finish it, or give it up with `run --fresh`, before you adopt anything";
    Err(RunError::Usage(message.to_owned()))
}

/// Records that the customers of Omnidesk's list exist, if nothing better is known.
fn adopt_list(args: &AdoptArgs, log: &LogWriter) -> Result<Exit, RunError> {
    let config = Config::read(&args.common.config)?;
    check_brands(&config, [])?;
    let mut checkpoint = open_checkpoint(&config)?;
    let list = read_list(&config, &checkpoint, log)?;
    let (keys, mut states) = (list.keys(), checkpoint.sort_states()?);
    for key in &keys {
        // A create without an answer is probed: it may have made the customer.
        let is_pending = checkpoint.lookups().pending(*key).is_some();
        if !is_pending && checkpoint.lookups().state(*key)?.may_be_found() {
            states.add(*key, &CustomerState::Existing)?;
        }
    }
    let adopted = states.count();
    checkpoint.write_states(states)?;
    let (known, others) = (keys.len() as u64 - adopted, list.read_count() - keys.len() as u64);
    list.remove().map_err(RunError::SavedList)?;
    if args.common.json {
        print_json(json!({ "adopted": adopted, "known": known, "others_listed": others }))?;
    }
    report_line(&format!(
        "{} of the list adopted as existing, {} known before, {} without an id or of other brands; no call was sent",
        counted(adopted, "customer"),
        Count(known),
        Count(others)
    ));
    Ok(Exit::Clean)
}

fn report(args: &AdoptArgs, plan: &Plan) -> Result<Exit, RunError> {
    let (rows, rejected) = (plan.rows(), plan.expected.get(Outcome::Rejected));
    let adopted = rows - rejected;
    if args.common.json {
        print_json(json!({ "rows": rows, "adopted": adopted, "rejected": rejected }))?;
    }
    let text = format!(
        "{} of {} adopted, {} rejected; nothing was sent\n{}",
        Count(adopted),
        counted(rows, "row"),
        Count(rejected),
        rejections_text(plan, Values::Hidden)
    );
    report_line(text.trim_end());
    Ok(if rejected == 0 { Exit::Clean } else { Exit::Problems })
}

/// Records the adoption as a finished run, in one commit: an open run without calls
/// could not be resumed.
fn record_run(
    checkpoint: &mut Checkpoint,
    prepared: &PreparedExport,
    context: &RunContext,
    plan: &Plan,
) -> Result<(), RunError> {
    let mut counts = Counts::default();
    counts.add_many(Outcome::Unchanged, plan.rows() - plan.expected.get(Outcome::Rejected));
    let now = jiff::Timestamp::now().to_string();
    let record = RunRecord {
        started: now.clone(),
        rows: plan.rows(),
        only_sync: !plan.has_own_operations,
        scope: context.scope,
        is_baseline: !context.scope.is_part(),
        plan: prepared.plan,
        mapping: prepared.mapping_version,
        brands: plan.brands(),
        counts,
        ..RunRecord::default()
    };
    // The next run searches vanished and shared addresses: none were reported here.
    let profile = RunProfile {
        notices: Vec::new(),
        shared_addresses: SharedAddresses::default(),
        ..plan.effects.findings.profile.clone()
    };
    let first_pass = FirstPassResult { profile, ..FirstPassResult::default() };
    let mut batch = checkpoint.batch()?;
    let mut run = batch.begin(context.export, record, first_pass)?;
    let mut row = 0;
    while let Some(next) = plan.worklist.next_after(row, Work::Rejected) {
        // The next run rejects it again, and writes it to its result file.
        batch.settle_rejected(&mut run, next, RejectionKind::Temporary)?;
        row = next;
    }
    Ok(batch.close_run(&mut run, RunState::Finished, &now)?)
}

/// The state of every customer, as if all calls had worked.
struct AdoptedStates<'a> {
    states: StateSorter,
    log: &'a LogWriter,
}

impl PlanObserver for AdoptedStates<'_> {
    fn check(&self, rows: u64) -> Result<(), PlanError> {
        self.log.set_rows_read(rows);
        Ok(())
    }

    fn wants_states(&self) -> bool {
        true
    }

    fn add_state(&mut self, key: CustomerKey, state: &CustomerState) -> Result<(), PlanError> {
        Ok(self.states.add(key, &state.clone().into_found())?)
    }
}
