//! `plan`: the same reading, mapping and decisions as `run`, no network.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Instant;

use serde_json::{Value, json};

use super::error::CommandError;
use super::print;
use crate::checkpoint::{Checkpoint, OpenRun};
use crate::cli::PlanArgs;
use crate::config::Config;
use crate::guards::judge_guards;
use crate::mapping::Rejection;
use crate::omnidesk::{Action, Call, Request};
use crate::plan::{self, PreparedExport};
use crate::plan::{Plan, PlanError};
use crate::plan::{PlanObserver, PlanRequest, survey};
use crate::plan::{PlanView, Window};
use crate::reconcile::{Acked, CustomerKey, HashKey, Outcome, Policy};
use crate::report::report_line;
use crate::run::Exit;
use crate::run::lost;
use crate::source::RowRef;

/// Does it.
pub(super) fn plan(args: &PlanArgs) -> Result<Exit, CommandError> {
    let began = Instant::now();
    let mut config = Config::read(&args.common.config)?;
    config.limits.rate = args.rate.unwrap_or(config.limits.rate);
    let window = Window::of(&args.window, config.limits.max_duration, began)?;
    let look = || {
        let checkpoint = Checkpoint::look(&config.checkpoint.path)?;
        if let Some(found) = &checkpoint {
            found.check_tenant(&config.omnidesk.base_url.tenant())?;
        }
        Ok::<_, CommandError>(checkpoint)
    };
    let (prepared, mut checkpoint) = plan::prepare_beside(&config, &args.common, &args.export, look)?;
    let key = checkpoint.as_ref().map_or(HashKey::new([0; 32]), Checkpoint::key);
    let open = checkpoint.as_ref().map(Checkpoint::open_run).transpose()?.flatten();
    let unfinished = match (&checkpoint, args.common.full || open.is_some()) {
        (Some(found), false) => found.unfinished(&prepared.fingerprint, &prepared.plan)?,
        _ => Default::default(),
    };
    let mapped = unfinished.record.as_ref().map_or(prepared.mapped, |record| record.mapped);
    let number = |found: &Checkpoint| found.number(prepared.fingerprint, mapped);
    let export = checkpoint.as_ref().map(number).transpose()?.map_or(u32::MAX, |numbered| numbered.ordinal);
    let policy = Policy { key, export, full: args.common.full, allow_recreate: false };
    let only = unfinished.record.is_some().then_some(&unfinished.rows);
    let mut shown = RequestPreview {
        config: &config,
        most: usize::try_from(args.show).unwrap_or(usize::MAX),
        requests: BTreeMap::new(),
        taken_back: BTreeSet::new(),
    };
    let past = checkpoint.as_ref().map(Checkpoint::past).transpose()?.unwrap_or_default();
    let past = if prepared.is_part() { past.of_part() } else { past };
    let shared = config.guard.shared_addresses;
    let question = PlanRequest { policy: &policy, only, past: &past, shared, names_all: true };
    let mut found = survey(&prepared, checkpoint.as_mut(), &question, &mut shown)?;
    if shown.requests.keys().any(|(row, _)| shown.taken_back.contains(row)) {
        // Behind the requests that are not made, others are the first.
        shown.requests.clear();
        found = survey(&prepared, checkpoint.as_mut(), &question, &mut shown)?;
    }
    let survey = found;
    shown.missing(checkpoint.as_ref(), &survey)?;
    if let Some(gone) = lost(&config.checkpoint.path) {
        report_line(&format!("{gone}. If that is not meant, put the file back"));
    }
    let verdicts = judge_guards(&config.guard, &survey, &past);
    let view = PlanView {
        config: &config,
        prepared: &prepared,
        survey: &survey,
        verdicts: &verdicts,
        window: window.as_ref(),
    };
    if let Some(open) = &open {
        report_line(&of_open(open, &prepared, &survey));
    }
    if args.common.json {
        let mut value = view.json();
        value["requests"] = shown.requests.into_values().collect::<Vec<_>>().into();
        return print(format!("{value}\n").as_bytes());
    }
    let mut text = view.text();
    for request in shown.requests.values() {
        let _ = writeln!(text, "{request}");
    }
    print(text.as_bytes())
}

/// Keeps the first requests, in the export's order: rows of customers who have
/// several are decided after the others.
struct RequestPreview<'a> {
    config: &'a Config,
    most: usize,
    requests: BTreeMap<(u64, usize), Value>,
    /// Rows that make no call after all.
    taken_back: BTreeSet<u64>,
}

impl PlanObserver for RequestPreview<'_> {
    fn wants(&self, row: u64) -> bool {
        self.requests.len() < self.most
            || self.requests.last_key_value().is_some_and(|((last, _), _)| row < *last)
    }

    fn calls(&mut self, at: RowRef, calls: &[Call], _: Outcome) {
        if self.taken_back.contains(&at.number) {
            return;
        }
        for (nth, call) in calls.iter().enumerate() {
            let is_full = self.requests.len() >= self.most;
            if is_full && self.requests.last_key_value().is_none_or(|(last, _)| *last < (at.number, nth)) {
                return;
            }
            self.requests.insert((at.number, nth), self.request(at, call));
            if is_full {
                self.requests.pop_last();
            }
        }
    }

    fn taken_back(&mut self, row: u64) {
        if self.most > 0 {
            self.taken_back.insert(row);
        }
    }

    fn rejected(&mut self, _: RowRef, _: &Rejection) {}

    fn told(&mut self, _: CustomerKey, _: Option<&Acked>) -> Result<(), PlanError> {
        Ok(())
    }
}

impl RequestPreview<'_> {
    /// Purges of the missing stand behind all rows.
    fn missing(&mut self, checkpoint: Option<&Checkpoint>, survey: &Plan) -> Result<(), CommandError> {
        let (Some(checkpoint), Some(found)) = (checkpoint, &survey.missing) else { return Ok(()) };
        let left = if found.missing.purge { self.most.saturating_sub(self.requests.len()) } else { 0 };
        for (nth, key) in (1..).zip(found.keys.iter().take(left)) {
            let Some(customer) = checkpoint.named(*key)? else { continue };
            let at = RowRef { number: survey.rows + nth, ..RowRef::default() };
            let mut request = self.request(at, &Call { customer, action: Action::Purge });
            (request["row"], request["line"]) = (Value::Null, Value::Null);
            self.requests.insert((at.number, 0), request);
        }
        Ok(())
    }

    fn request(&self, at: RowRef, call: &Call) -> Value {
        let request = Request::of(call, self.config.omnidesk.body);
        let body: Value = serde_json::from_str(&request.body).unwrap_or_else(|_| request.body.clone().into());
        json!({
            "row": at.number,
            "line": at.line,
            "call": call.kind().word(),
            "method": request.method,
            "path": request.path,
            "content_type": request.content_type,
            "key": "***",
            "body": body,
        })
    }
}

/// What becomes of the run that is open.
pub(super) fn of_open(open: &OpenRun, prepared: &PreparedExport, survey: &Plan) -> String {
    let same = open.fingerprint == prepared.fingerprint && open.plan == prepared.plan;
    let what = match (same, open.record.only_sync && survey.only_sync) {
        (true, _) => "`run` goes on with it",
        (false, true) => {
            "it is over another export, mapping or version of this program, and ends when this one is run"
        }
        (false, false) => {
            "it is over another export, mapping or version of this program, and has to be finished, or given up by `run --fresh`, before this one is run"
        }
    };
    format!(
        "an open run, begun {}, has {} of {} rows to go: {what}",
        open.record.started,
        open.not_attempted(),
        open.record.rows
    )
}
