//! `plan`: the same reading, mapping and decisions as `run`, no network.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Instant;

use serde_json::{Value, json};

use super::exit::{CommandError, Exit};
use super::leave;
use super::prepare::{self, Prepared};
use super::survey::{Question, Watcher, survey};
use super::window::{Fit, Window};
use super::{gone, print, say};
use crate::checkpoint::{Checkpoint, OpenRun};
use crate::cli::PlanArgs;
use crate::config::Config;
use crate::mapping::{Rejection, suggest_region};
use crate::omnidesk::{Action, Call, Kind, Request};
use crate::planning::{CustomerKey, HashKey, Outcome, Policy, Survey, Told, Verdict, Work, judge_guards};
use crate::report::missing_json;
use crate::source::RowRef;
use crate::units::Period;

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
        Ok(checkpoint)
    };
    let (prepared, mut checkpoint) = prepare::prepare_beside(&config, &args.common, &args.export, look)?;
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
    let mut shown = Shown {
        config: &config,
        most: usize::try_from(args.show).unwrap_or(usize::MAX),
        requests: BTreeMap::new(),
        taken_back: BTreeSet::new(),
    };
    let past = checkpoint.as_ref().map(Checkpoint::past).transpose()?.unwrap_or_default();
    let past = if prepared.is_part() { past.of_part() } else { past };
    let shared = config.guard.shared_addresses;
    let question = Question { policy: &policy, only, past: &past, shared, names_all: true };
    let mut found = survey(&prepared, checkpoint.as_mut(), &question, &mut shown)?;
    if shown.requests.keys().any(|(row, _)| shown.taken_back.contains(row)) {
        // Behind the requests that are not made, others are the first.
        shown.requests.clear();
        found = survey(&prepared, checkpoint.as_mut(), &question, &mut shown)?;
    }
    let survey = found;
    shown.missing(checkpoint.as_ref(), &survey)?;
    if let Some(gone) = gone(&config.checkpoint.path) {
        say(&format!("{gone}. If that is not meant, put the file back"));
    }
    let verdicts = judge_guards(&config.guard, &survey, &past);
    let view = View {
        config: &config,
        prepared: &prepared,
        survey: &survey,
        verdicts: &verdicts,
        window: window.as_ref(),
    };
    if let Some(open) = &open {
        say(&of_open(open, &prepared, &survey));
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
struct Shown<'a> {
    config: &'a Config,
    most: usize,
    requests: BTreeMap<(u64, usize), Value>,
    /// Rows that make no call after all.
    taken_back: BTreeSet<u64>,
}

impl Watcher for Shown<'_> {
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

    fn told(&mut self, _: CustomerKey, _: Option<&Told>) -> Result<(), CommandError> {
        Ok(())
    }
}

impl Shown<'_> {
    /// Purges of the missing stand behind all rows.
    fn missing(&mut self, checkpoint: Option<&Checkpoint>, survey: &Survey) -> Result<(), CommandError> {
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

/// What a plan looks like; `run` shows the same before it starts.
pub(super) struct View<'a> {
    pub(super) config: &'a Config,
    pub(super) prepared: &'a Prepared,
    pub(super) survey: &'a Survey,
    pub(super) verdicts: &'a [Verdict],
    pub(super) window: Option<&'a Window>,
}

/// What becomes of the run that is open.
fn of_open(open: &OpenRun, prepared: &Prepared, survey: &Survey) -> String {
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

/// Why rows are rejected, each cause with its first row. Values are for the
/// eyes of whoever asks for a plan, and not for a log.
pub(super) fn rejections(survey: &Survey, with_values: bool) -> String {
    let mut text = String::new();
    for (code, cause) in survey.rejected.iter() {
        let example = &cause.example;
        let column = example.column.as_ref().map(|column| format!(", column {column:?}")).unwrap_or_default();
        let value = example.value.as_ref().filter(|_| with_values);
        let value = value.map(|value| format!(", {value:?}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "{} rejected ({}): first row {} on line {}{column}{value}: {}\n    {}",
            cause.rows,
            code.word(),
            cause.first.number,
            cause.first.line,
            example.message,
            example.hint
        );
    }
    text
}

/// Numbers that say something about where they are from.
const BAD_PHONES_MIN: usize = 3;

impl View<'_> {
    fn duration(&self) -> std::time::Duration {
        self.config.limits.rate.time_for(self.survey.calls_total())
    }

    /// How much fits into the time window, if there is one.
    fn fit(&self) -> Option<Fit> {
        let (limits, timeout) = (&self.config.limits, self.config.omnidesk.timeout.0);
        let rows = self.survey.worklist.count(Work::Calls);
        self.window.map(|window| window.fit(limits.rate, timeout, self.survey.calls_total(), rows))
    }

    fn json(&self) -> Value {
        let calls: serde_json::Map<String, Value> =
            Kind::ALL.iter().map(|kind| (kind.word().to_owned(), self.survey.calls(*kind).into())).collect();
        let outcomes: serde_json::Map<String, Value> = Outcome::ALL
            .iter()
            .map(|outcome| (outcome.word().to_owned(), self.survey.expected.get(*outcome).into()))
            .collect();
        let rejected: Vec<Value> = self
            .survey
            .rejected
            .iter()
            .map(|(code, cause)| {
                json!({
                    "code": code.word(),
                    "count": cause.rows,
                    "row": cause.first.number,
                    "line": cause.first.line,
                    "column": cause.example.column,
                    "value": cause.example.value,
                    "message": cause.example.message,
                    "hint": cause.example.hint,
                })
            })
            .collect();
        let warnings: serde_json::Map<String, Value> = self
            .survey
            .warnings
            .iter()
            .map(|(warning, rows)| (warning.word().to_owned(), (*rows).into()))
            .collect();
        json!({
            "tenant": self.config.omnidesk.base_url.to_string(),
            "brands": self.survey.brands,
            "export": self.prepared.export.name(),
            "fingerprint": self.prepared.fingerprint.to_string(),
            "rows": self.survey.rows,
            "outcomes": outcomes,
            "calls": calls,
            "calls_total": self.survey.calls_total(),
            "rate": self.config.limits.rate.to_string(),
            "seconds": self.duration().as_secs_f64(),
            "window": self.fit(),
            "rejected": rejected,
            "warnings": warnings,
            "rows_of_known_customers": self.survey.rows_of_known_customers,
            "unseen_columns": self.survey.unseen,
            "phone_region": self.phone_region().map(|(region, _)| region),
            "notices": self.survey.findings.seen.notices,
            "mapping": self.survey.findings.remapped,
            "missing": self.missing_json(),
            "guards": self.verdicts,
            "leave": (!self.verdicts.is_empty()).then(|| leave::this_command(self.verdicts)).flatten(),
            "balanced": self.survey.expected.total() == self.survey.rows,
        })
    }

    fn missing_json(&self) -> Value {
        let Some(found) = &self.survey.missing else { return Value::Null };
        match found.undecided {
            Some(why) => json!({ "undecided": why }),
            None => missing_json(&found.missing),
        }
    }

    fn phone_region(&self) -> Option<(String, usize)> {
        let (phones, bad) = (self.survey.bad_phones.iter().map(String::as_str), self.survey.bad_phones.len());
        // A typing error is a good number of some region.
        let found = (bad >= BAD_PHONES_MIN).then(|| suggest_region(phones)).flatten();
        found.filter(|(_, valid)| 2 * valid >= bad)
    }

    /// In words: what is read, what is sent where, how long it takes.
    pub(super) fn head(&self) -> String {
        let brands: Vec<String> = self.survey.brands.iter().map(ToString::to_string).collect();
        let mut text = String::new();
        let _ = writeln!(
            text,
            "to {}, brand {}",
            self.config.omnidesk.base_url,
            if brands.is_empty() { "none".to_owned() } else { brands.join(", ") }
        );
        let calls: Vec<String> = Kind::ALL
            .iter()
            .filter(|kind| self.survey.calls(**kind) > 0)
            .map(|kind| format!("{} {}", self.survey.calls(*kind), kind.word()))
            .collect();
        let _ = write!(
            text,
            "{} rows of {} become {} calls{}",
            self.survey.rows,
            self.prepared.export.name(),
            self.survey.calls_total(),
            if calls.is_empty() { String::new() } else { format!(" ({})", calls.join(", ")) }
        );
        if self.survey.calls_total() > 0 {
            let _ = write!(text, " and take {} at {}", Period(self.duration()), self.config.limits.rate);
        }
        text.push('\n');
        if self.prepared.is_result_file {
            text.push_str(
                "read as a result file, which is a part of an export: min_rows and min_fill do not apply\n",
            );
        }
        if let Some(words) = self.fit().and_then(|fit| fit.words()) {
            let _ = writeln!(text, "{words}");
        }
        if !self.survey.unseen.is_empty() && self.survey.rows > 0 {
            let _ = writeln!(text, "mapped, but in no row: {}", self.survey.unseen.join(", "));
        }
        for (warning, times) in &self.survey.warnings {
            let _ = writeln!(text, "{times} {}", warning.words());
        }
        text.push_str(&self.survey.findings.remapped.text());
        self.write_missing(&mut text);
        text
    }

    fn write_missing(&self, text: &mut String) {
        let Some(found) = &self.survey.missing else { return };
        if let Some(why) = found.undecided {
            let _ = writeln!(text, "{}", why.words());
            return;
        }
        let what = if found.missing.purge { "to be purged" } else { "to be reported" };
        let _ =
            writeln!(text, "missing: {} known customers are not in the export, {what}", found.missing.found);
        for remark in found.missing.remarks() {
            let _ = writeln!(text, "{remark}");
        }
    }

    fn text(&self) -> String {
        let mut text = self.head();
        for outcome in Outcome::ALL {
            let rows = self.survey.expected.get(outcome);
            if rows > 0 {
                let _ = writeln!(text, "  {:<14} {rows:>10}", outcome.word());
            }
        }
        if self.survey.rows_of_known_customers > 0 {
            let _ = writeln!(
                text,
                "{} rows are of a customer who has a row before; they go in the export's order",
                self.survey.rows_of_known_customers
            );
        }
        text.push_str(&rejections(self.survey, true));
        if let Some((region, valid)) = self.phone_region() {
            let _ = writeln!(
                text,
                "region = \"{region}\" would make {valid} of {} such numbers valid",
                self.survey.bad_phones.len()
            );
        }
        for notice in &self.survey.findings.seen.notices {
            if notice.count > 0 {
                let _ = writeln!(text, "{}", notice.message);
            }
        }
        for verdict in self.verdicts {
            let _ = writeln!(text, "the guard {} will block: {}", verdict.guard, verdict.message);
        }
        if !self.verdicts.is_empty()
            && let Some(command) = leave::this_command(self.verdicts)
        {
            let _ = writeln!(text, "if all of that is meant, this is the command:\n  {command}");
        }
        text
    }
}
