//! What a run came to, in words and as JSON.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::dispatch::{CallLine, Pace, Problem};
use crate::guards::NoticeLine;
use crate::omnidesk::CallKind;
use crate::reconcile::{CauseMap, Counts, MissingCustomers, Outcome};
use crate::source::RowRef;
use crate::units::Period;

/// Calls of one execution.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    done: [u64; 4],
    refused: u64,
    attempts: u64,
    /// Addresses that were there already, by the API's word.
    existing: u64,
}

impl Tally {
    /// Takes in a call that ended.
    pub fn add(&mut self, line: &CallLine) {
        match line.result {
            "done" | "exists" => self.done[line.kind as usize] += 1,
            "stopped" => {}
            _ => self.refused += 1,
        }
        self.existing += u64::from(line.result == "exists");
        self.attempts += u64::from(line.attempts);
    }

    /// Calls that worked.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.iter().sum()
    }

    /// Calls of one kind that worked.
    #[must_use]
    pub fn done_of(&self, kind: CallKind) -> u64 {
        self.done[kind as usize]
    }

    /// Calls that did not.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Requests of all of them.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.attempts
    }
}

/// Rows in trouble, by cause: a code, and what is to be done.
#[derive(Debug, Clone, Default)]
pub struct Causes(CauseMap<(Outcome, &'static str), CauseLine>);

/// A cause with its first row.
#[derive(Debug, Clone, Serialize)]
pub struct CauseLine {
    /// Rows.
    pub count: u64,
    /// The first row's number.
    pub row: u64,
    /// The physical line it starts on.
    pub line: u64,
    /// Its column.
    pub column: Option<String>,
    /// The reason.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl Causes {
    /// Takes in a row in trouble.
    pub fn add(&mut self, at: RowRef, outcome: Outcome, trouble: &Problem) {
        let entry = self.0.entry((outcome, trouble.code), trouble.hint.clone());
        entry.and_modify(|cause| cause.count += 1).or_insert_with(|| CauseLine {
            count: 1,
            row: at.number,
            line: at.line,
            column: trouble.column.clone(),
            message: trouble.message.clone(),
            hint: trouble.hint.to_string(),
        });
    }

    /// The causes, in the order of outcomes.
    pub fn iter(&self) -> impl Iterator<Item = (Outcome, &'static str, &CauseLine)> {
        self.0.iter().map(|((outcome, code), cause)| (outcome, code, cause))
    }
}

/// The missing as JSON.
#[must_use]
pub fn missing_json(missing: &MissingCustomers) -> Value {
    json!({
        "action": if missing.purge { "purge" } else { "report" },
        "found": missing.found,
        "purged": missing.counts.get(Outcome::Purged),
        "failed": missing.counts.get(Outcome::Failed),
        "in_doubt": missing.counts.get(Outcome::InDoubt),
        "not_attempted": missing.pending(),
        "not_named": missing.unnamed,
        "of_other_brands": missing.other_brands,
        "unreadable_rows": missing.unreadable,
    })
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The tenant.
    pub tenant: String,
    /// The export, as named.
    pub export: String,
    /// Its content.
    pub fingerprint: String,
    /// Start of the run, UTC.
    pub started: String,
    /// End of this execution, UTC.
    pub ended: String,
    /// Length of this execution.
    pub took: std::time::Duration,
    /// Whether it went on with an interrupted run.
    pub resumed: bool,
    /// Rows read.
    pub rows: u64,
    /// By outcome; the sum must be `rows`.
    pub counts: Counts,
    /// Customers that no row has, if somebody asked.
    pub missing: Option<MissingCustomers>,
    /// Calls that the plan came to.
    pub calls_planned: u64,
    /// Calls of this execution.
    pub tally: Tally,
    /// How the rate was used, if calls were made.
    pub pace: Option<Pace>,
    /// Rows in trouble, of this execution.
    pub causes: Causes,
    /// Why it stopped early, in words.
    pub stopped: Option<(&'static str, String)>,
    /// The result files, if any were made.
    pub folder: Option<String>,
    /// Their names.
    pub files: Vec<String>,
    /// What a person should know of rows that went their way.
    pub notices: Vec<NoticeLine>,
    /// Creates in doubt, those of earlier runs included.
    pub in_doubt: u64,
    /// The exit code.
    pub exit_code: u8,
}

impl Summary {
    /// Whether every row has exactly one outcome.
    #[must_use]
    pub fn balances(&self) -> bool {
        self.counts.total() == self.rows
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let outcomes: Map<String, Value> = Outcome::ALL
            .iter()
            .map(|outcome| (outcome.word().to_owned(), self.counts.get(*outcome).into()))
            .collect();
        let mut calls: Map<String, Value> = CallKind::ALL
            .iter()
            .map(|kind| (kind.word().to_owned(), self.tally.done[*kind as usize].into()))
            .collect();
        calls.insert("refused".to_owned(), self.tally.refused.into());
        let causes: Vec<Value> = self
            .causes
            .iter()
            .map(|(outcome, code, cause)| {
                let mut value = json!(cause);
                value["outcome"] = outcome.word().into();
                value["code"] = code.into();
                value
            })
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "tenant": self.tenant,
            "export": self.export,
            "fingerprint": self.fingerprint,
            "started": self.started,
            "ended": self.ended,
            "seconds": self.took.as_secs_f64(),
            "resumed": self.resumed,
            "rows": self.rows,
            "outcomes": outcomes,
            "missing": self.missing.as_ref().map(missing_json),
            "balanced": self.balances(),
            "calls_planned": self.calls_planned,
            "calls": calls,
            "attempts": self.tally.attempts,
            "pace": self.pace.as_ref().map(pace_json),
            "addresses_there_before": self.tally.existing,
            "creates_in_doubt": self.in_doubt,
            "causes": causes,
            "of_earlier_sessions": self.of_earlier_sessions()
                .map(|(outcome, rows)| (outcome.word().to_owned(), Value::from(rows)))
                .collect::<serde_json::Map<_, _>>(),
            "notices": self.notices,
            "stopped": self.stopped.as_ref().map(|(reason, message)| json!({ "reason": reason, "message": message })),
            "folder": self.folder,
            "files": self.files,
            "exit_code": self.exit_code,
        })
    }

    /// In words, for stderr.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let head = if self.stopped.is_some() { "stopped" } else { "done" };
        let _ = writeln!(text, "{head}: {} rows of {} in {}", self.rows, self.export, Period(self.took));
        self.write_outcomes(&mut text);
        if let Some(missing) = &self.missing {
            let _ = writeln!(text, "{}", missing.line());
            missing.remarks().iter().for_each(|remark| {
                let _ = writeln!(text, "{remark}");
            });
        }
        self.write_calls(&mut text);
        self.write_pace(&mut text);
        self.write_trouble(&mut text);
        text
    }

    /// For `--quiet`: one line, and what is wrong if anything is.
    #[must_use]
    pub fn quiet_text(&self) -> String {
        let mut text = format!("{}\n", self.line());
        if self.exit_code != 0 || self.creates_in_doubt() > 0 {
            self.write_trouble(&mut text);
        }
        text
    }

    fn write_trouble(&self, text: &mut String) {
        self.write_causes(text);
        for notice in self.notices.iter().filter(|notice| notice.count > 0) {
            let _ = writeln!(text, "{}", notice.message);
        }
        if let (Some(folder), false) = (&self.folder, self.files.is_empty()) {
            let _ = writeln!(text, "files: {folder}/ {}", self.files.join(" "));
        }
        if let Some((_, message)) = &self.stopped {
            let _ = writeln!(text, "{message}");
        }
    }

    fn write_outcomes(&self, text: &mut String) {
        for outcome in Outcome::ALL {
            let rows = self.counts.get(outcome);
            if rows > 0 {
                let _ = writeln!(text, "  {:<14} {rows:>10}", outcome.word());
            }
        }
        let bug = if self.balances() { "" } else { "  (the books do not balance: this is a bug)" };
        let _ = writeln!(text, "  {:<14} {:>10}{bug}", "sum", self.counts.total());
    }

    fn write_calls(&self, text: &mut String) {
        let Tally { done, attempts, existing, .. } = &self.tally;
        let calls: Vec<String> = CallKind::ALL
            .iter()
            .filter(|kind| done[**kind as usize] > 0)
            .map(|kind| format!("{} {}", done[*kind as usize], kind.word()))
            .collect();
        if *attempts > 0 {
            let calls = if calls.is_empty() { "none worked".to_owned() } else { calls.join(", ") };
            let of = if self.resumed { "calls since it was gone on with" } else { "calls" };
            let _ = writeln!(text, "{of}: {calls} in {attempts} requests");
        }
        if *existing > 0 {
            let words = "addresses were there already, by the API's word: \"exists\" in outcomes.csv";
            let _ = writeln!(text, "{existing} {words}");
        }
    }

    /// What would make the next run faster, or less of a nuisance.
    fn write_pace(&self, text: &mut String) {
        let Some(pace) = &self.pace else { return };
        if let Some(rate) = pace.tolerated {
            let refused = pace.refused;
            let _ = writeln!(
                text,
                "the server tolerated {rate}, and refused {refused} requests; set rate = \"{rate}\""
            );
        }
        if let (Some(concurrency), Some(answer)) = (pace.concurrency, pace.answer) {
            let rate = pace.tolerated.unwrap_or(pace.rate);
            let _ = writeln!(
                text,
                "the rate of {rate} was not reached because answers took {} ms: set concurrency = {concurrency}",
                answer.as_millis()
            );
        }
    }

    fn write_causes(&self, text: &mut String) {
        let open = self.creates_in_doubt();
        if open > 0 {
            let words = match self.stopped {
                Some(_) => "were under way or are in doubt: they are asked about when the run goes on",
                None => {
                    "are in doubt, and no other call to their customers was asked for: look for those in Omnidesk, or run an export that has them"
                }
            };
            let _ = writeln!(text, "{open} creates {words}");
        }
        for (outcome, code, cause) in self.causes.iter() {
            let CauseLine { count, row, line, column, message, hint } = cause;
            let place = column.as_ref().map(|column| format!(", column {column:?}")).unwrap_or_default();
            let word = outcome.word();
            let _ =
                writeln!(text, "{count} {word} ({code}), first row {row} on line {line}{place}: {message}");
            let _ = writeln!(text, "    {hint}");
        }
        for (outcome, rows) in self.of_earlier_sessions() {
            let words =
                "before the run was gone on with: each is in the result files, with its line and what to do";
            let _ = writeln!(text, "{rows} {} {words}", outcome.word());
        }
    }

    /// Creates whose answer was lost, besides those of rows in doubt.
    fn creates_in_doubt(&self) -> u64 {
        self.in_doubt.saturating_sub(self.counts.get(Outcome::InDoubt))
    }

    /// Rows in trouble whose causes an earlier session of this run has told.
    fn of_earlier_sessions(&self) -> impl Iterator<Item = (Outcome, u64)> {
        [Outcome::Rejected, Outcome::Failed, Outcome::InDoubt].into_iter().filter_map(|outcome| {
            let told = self.causes.iter().filter(|(of, ..)| *of == outcome);
            let told: u64 = told.map(|(.., cause)| cause.count).sum();
            let earlier = self.counts.get(outcome).saturating_sub(told);
            (earlier > 0).then_some((outcome, earlier))
        })
    }

    /// In one line.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{}: {}", self.export, self.figures())
    }

    /// That line without the export's name: nothing but figures.
    #[must_use]
    pub fn figures(&self) -> String {
        let outcomes: Vec<String> = Outcome::ALL
            .iter()
            .filter(|outcome| self.counts.get(**outcome) > 0)
            .map(|outcome| format!("{} {}", self.counts.get(*outcome), outcome.word()))
            .collect();
        let stopped =
            self.stopped.as_ref().map(|(reason, _)| format!(", stopped: {reason}")).unwrap_or_default();
        let missing = self.missing.as_ref().filter(|missing| missing.found > 0);
        let missing = missing.map(|missing| format!("; {}", missing.line())).unwrap_or_default();
        format!(
            "{} rows, {} calls: {}{missing}, {}{stopped}",
            self.rows,
            self.tally.done(),
            outcomes.join(", "),
            Period(self.took)
        )
    }
}

fn pace_json(pace: &Pace) -> Value {
    json!({
        "rate": pace.rate,
        "refused": pace.refused,
        "tolerated": pace.tolerated,
        "answer_ms": pace.answer.map(|answer| answer.as_secs_f64() * 1000.0),
        "concurrency_for_rate": pace.concurrency,
    })
}
