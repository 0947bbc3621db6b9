//! `plan`: the same reading, mapping and decisions as `run`, no network.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Instant;

use serde_json::{Value, json};

use super::{plan_options, print, print_json, selection, window};
use crate::checkpoint::{Checkpoint, OpenRun};
use crate::cli::PlanArgs;
use crate::config::Config;
use crate::guards::{GuardVerdict, judge_guards};
use crate::omnidesk::{Action, BodyEncoding, Call, Request};
use crate::plan::{
    OpenRunFate, Plan, PlanError, PlanObserver, PlanView, RunContext, make_plan, prepare_beside,
};
use crate::reconcile::Outcome;
use crate::report::{LogWriter, ProgressSetting, report_line};
use crate::run::{Exit, RunError, judge_new_checkpoint, report_lost_checkpoint};
use crate::source::RowRef;
use crate::units::Count;

pub(super) fn plan(args: &PlanArgs, log: &LogWriter) -> Result<Exit, RunError> {
    let began = Instant::now();
    let mut config = Config::read(&args.common.config)?;
    config.limits.rate = args.rate.map_or(config.limits.rate, Into::into);
    let window = window(&args.window, &config.limits, began)?;
    let open = || {
        let checkpoint = Checkpoint::open_to_read(&config.checkpoint.path)?;
        if let Some(found) = &checkpoint {
            found.check_tenant(&config.omnidesk.base_url.tenant())?;
        }
        Ok::<_, RunError>(checkpoint)
    };
    let options = plan_options(&args.common, selection(&args.selection));
    let (prepared, mut checkpoint) = prepare_beside(&config, options, &args.exports, open)?;
    let context = RunContext::new(&prepared, checkpoint.as_ref())?;
    let search = config.guard.shared_addresses.search_of_plan();
    let mut preview = RequestPreview::new(config.omnidesk.body, args.show, log);
    let reading = log.show_reading(ProgressSetting::on_terminal());
    let mut plan = make_plan(&prepared, checkpoint.as_mut(), &context, search, &mut preview)?;
    if preview.requests.keys().any(|(row, _)| preview.retracted.contains(row)) {
        // Requests that are not made took the place of others.
        preview.requests.clear();
        plan = make_plan(&prepared, checkpoint.as_mut(), &context, search, &mut preview)?;
    }
    drop(reading);
    let mut requests: Vec<Value> = preview.requests.values().cloned().collect();
    requests.extend(preview.missing(checkpoint.as_ref(), &plan)?);
    report_lost_checkpoint(&config.checkpoint.path);
    let mut is_blocked = false;
    for open in checkpoint.as_ref().map(Checkpoint::open_runs).transpose()?.into_iter().flatten() {
        let fate = context.fate_of(&open, &prepared, &plan);
        is_blocked |= fate == OpenRunFate::InTheWay;
        report_line(&open_run_text(&open, fate));
    }
    let mut verdicts = judge_guards(&config.guard, &plan.effects, &context.baseline);
    if checkpoint.is_none() {
        verdicts.extend(judge_new_checkpoint(&config, Some(&prepared.export.name()))?);
    }
    let exit = match args.exit_code {
        false => Exit::Clean,
        true if is_blocked => Exit::Usage,
        true => exit_of(&plan, &verdicts),
    };
    let (plan, window) = (&plan, window.as_ref());
    let view = PlanView { config: &config, prepared: &prepared, plan, verdicts: &verdicts, window };
    if args.common.json {
        let mut value = view.json();
        value["requests"] = requests.into();
        print_json(value)?;
        return Ok(exit);
    }
    let mut text = view.text();
    for request in requests {
        let _ = writeln!(text, "{request}");
    }
    print(text.as_bytes())?;
    Ok(exit)
}

/// What `--exit-code` says of a plan.
fn exit_of(plan: &Plan, verdicts: &[GuardVerdict]) -> Exit {
    if !verdicts.is_empty() {
        Exit::Blocked
    } else if plan.expected.get(Outcome::Rejected) > 0 {
        Exit::Problems
    } else if plan.calls_total() > 0 {
        Exit::CallsDue
    } else {
        Exit::Clean
    }
}

/// The first requests in the export's order. Rows of customers with several rows
/// are decided after the others.
struct RequestPreview<'a> {
    log: &'a LogWriter,
    body: BodyEncoding,
    max: usize,
    /// By row and by the call's place in it.
    requests: BTreeMap<(u64, usize), Value>,
    /// Rows that make no call after all.
    retracted: BTreeSet<u64>,
}

impl PlanObserver for RequestPreview<'_> {
    fn check(&self, rows: u64) -> Result<(), PlanError> {
        self.log.set_rows_read(rows);
        Ok(())
    }

    fn wants_row(&self, row: u64) -> bool {
        self.requests.len() < self.max
            || self.requests.last_key_value().is_some_and(|((last, _), _)| row < *last)
    }

    fn add_calls(&mut self, at: RowRef, calls: &[Call]) {
        if self.retracted.contains(&at.number) {
            return;
        }
        for (nth, call) in calls.iter().enumerate() {
            let is_full = self.requests.len() >= self.max;
            if is_full && self.requests.last_key_value().is_none_or(|(last, _)| *last < (at.number, nth)) {
                return;
            }
            self.requests.insert((at.number, nth), self.request(call, Some(at)));
            if is_full {
                self.requests.pop_last();
            }
        }
    }

    fn retract(&mut self, row: u64) {
        if self.max > 0 {
            self.retracted.insert(row);
        }
    }
}

impl<'a> RequestPreview<'a> {
    fn new(body: BodyEncoding, max: u64, log: &'a LogWriter) -> Self {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        Self { log, body, max, requests: BTreeMap::new(), retracted: BTreeSet::new() }
    }

    /// Purges of missing customers come after all rows.
    fn missing(&self, checkpoint: Option<&Checkpoint>, plan: &Plan) -> Result<Vec<Value>, RunError> {
        let (Some(checkpoint), Some(missing)) = (checkpoint, &plan.missing) else { return Ok(Vec::new()) };
        let mut requests = Vec::new();
        for key in missing.purge_list().iter().take(self.max.saturating_sub(self.requests.len())) {
            let customer = checkpoint.stored_id(*key)?;
            let call = customer.map(|customer| Call { customer, action: Action::Purge });
            requests.extend(call.map(|call| self.request(&call, None)));
        }
        Ok(requests)
    }

    fn request(&self, call: &Call, at: Option<RowRef>) -> Value {
        let request = Request::new(call, self.body);
        let body: Value = serde_json::from_str(&request.body).unwrap_or_else(|_| request.body.clone().into());
        let mut value = json!({
            "row": at.map(|at| at.number),
            "line": at.map(|at| at.line),
            "call": call.kind().as_str(),
            "method": request.method.as_str(),
            "path": request.path,
            "content_type": request.content_type,
            "key": "***",
            "body": body,
        });
        if let Some(file) = at.and_then(|at| at.file) {
            value["file"] = file.into();
        }
        value
    }
}

fn open_run_text(open: &OpenRun, fate: OpenRunFate) -> String {
    const OTHER: &str = "it is over another export, part, mapping or version of this program, and";
    let fate = match fate {
        OpenRunFate::Resumed => "`run` resumes it".to_owned(),
        OpenRunFate::Superseded => format!("{OTHER} ends when this export is run"),
        OpenRunFate::StaysOpen => "this export is a part of the base, and leaves it open".to_owned(),
        OpenRunFate::Request => "the same `purge` command resumes it, `purge --fresh` gives it up".to_owned(),
        OpenRunFate::InTheWay => {
            format!("{OTHER} has to be finished, or given up by `run --fresh`, before this export is run")
        }
    };
    format!(
        "the run of {} is open, with {} of {} rows left: {fate}",
        open.record.started,
        Count(open.not_attempted()),
        Count(open.record.rows)
    )
}
