//! The summary of a run, as text and as JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use twox_hash::XxHash3_64;

use super::mask::{mask_names, mask_text, mask_value};
use super::output::json_document;
use super::timeline::{answers_json, timeline_json, waits_json};
use crate::dispatch::{CallLine, CallResult, Pace, Problem, Timeline};
use crate::guards::NoticeLine;
use crate::omnidesk::{CallKind, Meaning};
use crate::reconcile::{CauseMap, Counts, MissingCustomers, Outcome};
use crate::source::{NoRows, RowRef};
use crate::units::{Period, counted};

/// Calls of one execution.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Calls that worked, by kind.
    worked: [u64; CallKind::ALL.len()],
    pub(crate) refused: u64,
    pub(crate) requests: u64,
    /// Addresses that existed already, by the API.
    pub(super) existing: u64,
    /// Of these, those that may be another customer's.
    pub(super) unowned: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, line: &CallLine) {
        if line.has_worked() {
            self.worked[line.kind as usize] += 1;
        } else if line.result != CallResult::Stopped {
            self.refused += 1;
        }
        self.existing += u64::from(line.result == CallResult::Answered(Meaning::DoneBefore));
        self.unowned += u64::from(line.existing.is_some());
        self.requests += u64::from(line.attempts);
    }

    /// Calls that worked, by kind.
    pub(crate) fn by_kind(&self) -> impl Iterator<Item = (CallKind, u64)> {
        CallKind::ALL.into_iter().zip(self.worked)
    }
}

/// Rows with a problem, by code and hint.
#[derive(Debug, Clone, Default)]
pub(crate) struct Causes(CauseMap<(Outcome, &'static str), CauseLine>);

/// A cause with its first row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct CauseLine {
    /// Rows.
    pub(super) count: u64,
    /// The number of the first row.
    pub(super) row: u64,
    /// The physical line on which it starts.
    pub(super) line: u64,
    /// If the export has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<Cow<'static, str>>,
    pub(super) column: Option<String>,
    pub(super) message: String,
    pub(super) hint: String,
    /// The same for the same rows: a sum of hashes of their values and messages.
    pub(super) tag: u64,
    /// For readers elsewhere: without values of rows.
    masked_message: String,
    /// The form of the first row's value.
    masked_value: Option<String>,
}

impl Causes {
    /// Those of a summary. A process that was killed has left none.
    pub(crate) fn of_summary(summary: &Value) -> Self {
        let mut causes = Self::default();
        for value in summary["causes"].as_array().into_iter().flatten() {
            let outcome = Outcome::ALL.into_iter().find(|outcome| value["outcome"] == outcome.as_str());
            let (Some(outcome), Some(code), Ok(cause)) =
                (outcome, value["code"].as_str(), CauseLine::deserialize(value))
            else {
                continue;
            };
            // Once in a process, and few.
            let code: &'static str = code.to_owned().leak();
            causes.0.entry((outcome, code), cause.hint.clone().into()).or_insert(cause);
        }
        causes
    }

    pub(crate) fn add(&mut self, at: RowRef, outcome: Outcome, problem: &Problem) {
        let entry = self.0.entry((outcome, problem.code), problem.hint.clone());
        let tag = row_tag(problem);
        let add = |cause: &mut CauseLine| {
            cause.count += 1;
            cause.tag = (cause.tag + tag) % TAGS;
        };
        entry.and_modify(add).or_insert_with(|| CauseLine {
            count: 1,
            tag,
            row: at.number,
            line: at.line,
            file: at.file.map(Cow::Borrowed),
            column: problem.column.clone(),
            message: problem.message.clone(),
            hint: problem.hint.to_string(),
            masked_message: masked_message(problem),
            masked_value: problem.value.as_deref().map(mask_value),
        });
    }

    /// The most frequent cause first; equal ones in the order of outcomes.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Outcome, &'static str, &CauseLine)> {
        let causes = self.0.iter().map(|((outcome, code), cause)| (outcome, code, cause));
        let mut causes: Vec<_> = causes.collect();
        causes.sort_by_key(|(.., cause)| std::cmp::Reverse(cause.count));
        causes.into_iter()
    }
}

/// All readers of JSON keep numbers below.
const TAGS: u64 = 1 << 53;

/// Of what is wrong in a row. Where the row stands may change from night to night.
fn row_tag(problem: &Problem) -> u64 {
    let value = problem.value.as_deref().unwrap_or_default();
    XxHash3_64::oneshot(format!("{}\n{value}", problem.message).as_bytes()) % TAGS
}

fn masked_message(problem: &Problem) -> String {
    let masked = mask_text(&problem.message, problem.value.as_deref());
    if problem.attempts > 0 { mask_names(&masked) } else { masked }
}

/// What a run counts: the rows of an export, or the customers of a purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Rows,
    Customers,
}

impl Subject {
    pub(super) fn counted(self, number: u64) -> String {
        counted(number, if self == Self::Rows { "row" } else { "customer" })
    }
}

/// A thing to do, and the command that does it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct NextStep {
    /// It begins with a small letter.
    pub(crate) text: String,
    pub(crate) command: Option<String>,
}

/// The summary of a run.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    pub(crate) tenant: String,
    /// The export, as named on the command line.
    pub(crate) export: String,
    pub(crate) export_hash: String,
    /// Start of the run, UTC.
    pub(crate) started: String,
    /// End of this execution, UTC.
    pub(crate) ended: String,
    pub(crate) took: Duration,
    pub(crate) was_resumed: bool,
    /// Whether it covers only a part of the base.
    pub(crate) is_part: bool,
    pub(crate) subject: Subject,
    pub(crate) rows: u64,
    pub(crate) no_rows: NoRows,
    /// Rows by outcome; the sum must be `rows`.
    pub(crate) counts: Counts,
    /// Unless `[missing]` ignores them.
    pub(crate) missing: Option<MissingCustomers>,
    pub(crate) calls_planned: u64,
    pub(crate) tally: Tally,
    /// If calls were made.
    pub(crate) pace: Option<Pace>,
    /// Likewise, of this execution.
    pub(crate) timeline: Option<Timeline>,
    /// Rows with a problem, as far as no execution was killed.
    pub(crate) causes: Causes,
    /// A code and a text, if it stopped early.
    pub(crate) stopped: Option<(&'static str, String)>,
    /// The folder of the result files.
    pub(crate) folder: String,
    /// The names of the result files.
    pub(crate) files: Vec<String>,
    pub(crate) notices: Vec<NoticeLine>,
    /// Creates in doubt of this run and earlier ones.
    pub(crate) creates_in_doubt: u64,
    /// Why creates in doubt are not probed.
    pub(crate) unusable_probes: Option<UnusableProbes>,
    pub(crate) exit_code: u8,
    /// The settings that decide how a run goes, by section.
    pub(crate) settings: Value,
    /// The guards with their verdicts.
    pub(crate) guards: Value,
    /// The summary of the run before this one.
    pub(crate) before: Option<Value>,
    /// What a person does next, if anything is left to do.
    pub(crate) next: Vec<NextStep>,
}

/// The API answers success to an update of a customer who does not exist: this one,
/// of a control request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnusableProbes {
    pub(crate) brand_id: u64,
    pub(crate) id: String,
}

impl UnusableProbes {
    pub(crate) fn message(&self) -> String {
        let Self { brand_id, id } = self;
        format!(
            "probes show nothing: the API answered success to an update of a customer who did not exist. So in_doubt acts as \"hold\". That update may have made the customer {id} of brand {brand_id}: purge it in Omnidesk"
        )
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "brand_id": self.brand_id, "id": self.id, "message": self.message() })
    }
}

impl Summary {
    /// Whether every row has exactly one outcome.
    pub(crate) fn is_balanced(&self) -> bool {
        self.counts.total() == self.rows
    }

    pub(crate) fn json(&self) -> Value {
        let mut calls: Map<String, Value> =
            self.tally.by_kind().map(|(kind, calls)| (kind.as_str().to_owned(), calls.into())).collect();
        calls.insert("refused".to_owned(), self.tally.refused.into());
        let causes: Vec<Value> = self
            .causes
            .iter()
            .map(|(outcome, code, cause)| {
                let mut value = json!(cause);
                value["outcome"] = outcome.as_str().into();
                value["code"] = code.into();
                value
            })
            .collect();
        json_document(json!({
            "version": env!("CARGO_PKG_VERSION"),
            "tenant": self.tenant,
            "export": self.export,
            "export_hash": self.export_hash,
            "started": self.started,
            "ended": self.ended,
            "seconds": self.took.as_secs_f64(),
            "resumed": self.was_resumed,
            "part": self.is_part,
            "rows": self.rows,
            "no_rows": self.no_rows,
            "outcomes": self.counts.json(),
            "missing": self.missing.as_ref().map(MissingCustomers::json),
            "balanced": self.is_balanced(),
            "calls_planned": self.calls_planned,
            "calls": calls,
            "requests": self.tally.requests,
            "pace": self.pace.as_ref().map(pace_json),
            "timeline": self.timeline.as_ref().map(timeline_json),
            "answers": self.timeline.as_ref().map(answers_json),
            "waits": self.timeline.as_ref().map(waits_json),
            "sent_again": self.timeline.as_ref().map(|timeline| timeline.sent_again),
            "existing_addresses": self.tally.existing,
            "creates_in_doubt": self.creates_in_doubt,
            "unusable_probes": self.unusable_probes.as_ref().map(UnusableProbes::json),
            "causes": causes,
            "before_resume": self.problems_before_resume()
                .map(|(outcome, rows)| (outcome.as_str().to_owned(), Value::from(rows)))
                .collect::<Map<_, _>>(),
            "notices": self.notices,
            "stopped": self.stopped.as_ref().map(|(reason, message)| json!({ "reason": reason, "message": message })),
            "folder": self.folder,
            "files": self.files,
            "exit_code": self.exit_code,
            "next": self.next,
            "settings": self.settings,
            "guards": self.guards,
            "before": self.before.as_ref().map(before_json),
        }))
    }

    /// Creates in doubt besides the rows in doubt of this run.
    pub(super) fn other_creates_in_doubt(&self) -> u64 {
        self.creates_in_doubt.saturating_sub(self.counts.get(Outcome::InDoubt))
    }

    /// Rows with a problem that an earlier execution of this run reported.
    pub(super) fn problems_before_resume(&self) -> impl Iterator<Item = (Outcome, u64)> {
        [Outcome::Rejected, Outcome::Failed, Outcome::InDoubt].into_iter().filter_map(|outcome| {
            let now = self.causes.iter().filter(|(other, ..)| *other == outcome);
            let now: u64 = now.map(|(.., cause)| cause.count).sum();
            let before = self.counts.get(outcome).saturating_sub(now);
            (before > 0).then_some((outcome, before))
        })
    }

    /// Why it is no success, in codes that name no customer, with numbers of rows.
    pub(crate) fn cause_codes(&self) -> BTreeMap<String, Option<u64>> {
        let mut codes: BTreeMap<String, Option<u64>> = BTreeMap::new();
        for (outcome, code, cause) in self.causes.iter() {
            let rows = codes.entry(format!("{} ({code})", outcome.as_str())).or_default();
            *rows = Some(rows.unwrap_or_default() + cause.count);
        }
        codes.extend(self.stopped.iter().map(|(reason, _)| (format!("stopped: {reason}"), None)));
        codes
    }

    /// In one line that names no customer.
    pub(crate) fn numbers(&self) -> String {
        let stopped =
            self.stopped.as_ref().map(|(reason, _)| format!(", stopped: {reason}")).unwrap_or_default();
        let missing = self.missing.as_ref().filter(|missing| missing.found > 0);
        let missing = missing.map(|missing| format!("; {}", missing.line())).unwrap_or_default();
        format!(
            "{}, {}: {}{missing}, {}{stopped}",
            self.subject.counted(self.rows),
            counted(self.tally.worked.iter().sum(), "call"),
            self.counts,
            Period(self.took)
        )
    }
}

/// What a summary is compared by.
const COMPARED: [&str; 13] = [
    "folder",
    "started",
    "ended",
    "seconds",
    "resumed",
    "rows",
    "outcomes",
    "calls",
    "requests",
    "answers",
    "sent_again",
    "stopped",
    "exit_code",
];

fn before_json(summary: &Value) -> Map<String, Value> {
    COMPARED.iter().map(|key| ((*key).to_owned(), summary[key].clone())).collect()
}

fn pace_json(pace: &Pace) -> Value {
    json!({
        "rate": pace.rate,
        "refused": pace.refused,
        "accepted": pace.accepted,
        "answer_ms": pace.answer.map(|answer| answer.as_secs_f64() * 1000.0),
        "concurrency_for_rate": pace.concurrency,
    })
}
