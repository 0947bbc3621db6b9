//! The summary of a run for people: as much as fits on a screen.

use std::fmt::Write as _;

use super::summary::{CauseLine, NextStep, Subject, Summary, Tally};
use crate::reconcile::Outcome;
use crate::units::{Count, Period, counted, pluralize};

/// Of more causes, the page has the rest.
const CAUSES_SHOWN: usize = 6;

impl Summary {
    /// For stderr.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let head = if self.stopped.is_some() { "stopped" } else { "done" };
        let (rows, took) = (self.subject.counted(self.rows), Period(self.took));
        let _ = match self.subject {
            Subject::Rows => writeln!(text, "{head}: {rows} of {} in {took}", self.export),
            Subject::Customers => writeln!(text, "{head}: purge of {rows} in {took}"),
        };
        self.write_outcomes(&mut text);
        if let Some(missing) = &self.missing {
            for line in std::iter::once(missing.line()).chain(missing.remarks()) {
                let _ = writeln!(text, "{line}");
            }
        }
        self.write_calls(&mut text);
        self.write_pace(&mut text);
        self.write_problems(&mut text, &self.causes.iter().collect::<Vec<_>>());
        text
    }

    /// For `--quiet`: one line, and the problems that the run before did not have.
    pub(crate) fn quiet_text(&self) -> String {
        let (new, known): (Vec<_>, Vec<_>) = self.causes.iter().partition(|cause| self.is_new(cause));
        let mut text = format!("{}: {}", self.export, self.numbers());
        for outcome in [Outcome::Rejected, Outcome::Failed, Outcome::InDoubt] {
            let rows = known.iter().filter(|cause| cause.0 == outcome).map(|cause| cause.2.count);
            let rows: u64 = rows.sum();
            if rows > 0 {
                let _ = write!(text, "; {} {} as in the last run", Count(rows), outcome.as_str());
            }
        }
        text.push('\n');
        let is_news = self.exit_code != 0 || self.other_creates_in_doubt() > 0;
        if is_news {
            self.write_problems(&mut text, &new);
        }
        text
    }

    /// Whether the run before had other rows with this outcome for the same reason, or
    /// none.
    fn is_new(&self, (outcome, code, cause): &(Outcome, &'static str, &CauseLine)) -> bool {
        let before = self.before.iter().flat_map(|before| before["causes"].as_array()).flatten();
        let mut same = before.filter(|before| {
            before["outcome"] == outcome.as_str() && before["code"] == *code && before["hint"] == *cause.hint
        });
        !same.any(|before| before["count"] == cause.count && before["tag"] == cause.tag)
    }

    /// These causes, and all else that a person should know. It is silent if there is
    /// nothing.
    fn write_problems(&self, text: &mut String, causes: &[(Outcome, &'static str, &CauseLine)]) {
        let length = text.len();
        self.write_doubts(text);
        self.write_causes(text, causes);
        for notice in self.notices.iter().filter(|notice| notice.count > 0) {
            let _ = writeln!(text, "{}", notice.message);
        }
        let is_silent = text.len() == length && self.stopped.is_none();
        if is_silent {
            return;
        }
        if !self.files.is_empty() {
            let _ = writeln!(text, "files: {}/ {}", self.folder, self.files.join(" "));
        }
        if let Some((_, message)) = &self.stopped {
            let _ = writeln!(text, "{message}");
        }
        for NextStep { text: step, command } in &self.next {
            let command = command.as_ref().map(|command| format!(" {command}")).unwrap_or_default();
            let _ = writeln!(text, "next: {step}{command}");
        }
    }

    fn write_outcomes(&self, text: &mut String) {
        for (outcome, rows) in self.counts.iter() {
            let _ = writeln!(text, "  {:<14} {:>12}", outcome.as_str(), Count(rows));
        }
        let bug = if self.is_balanced() { "" } else { "  (not every row has one outcome: this is a bug)" };
        let _ = writeln!(text, "  {:<14} {:>12}{bug}", "sum", Count(self.counts.total()));
    }

    fn write_calls(&self, text: &mut String) {
        let Tally { requests, existing, unowned, .. } = self.tally;
        if requests > 0 {
            let calls = self.tally.by_kind().filter(|(_, calls)| *calls > 0);
            let calls: Vec<String> =
                calls.map(|(kind, calls)| format!("{} {}", Count(calls), kind.as_str())).collect();
            let calls = if calls.is_empty() { "none worked".to_owned() } else { calls.join(", ") };
            let head = if self.was_resumed { "calls since the run was resumed" } else { "calls" };
            let _ = writeln!(text, "{head}: {calls} in {}", counted(requests, "request"));
        }
        if existing > 0 {
            let addresses = pluralize(existing, "address was", "addresses were");
            let _ = writeln!(text, "{addresses} in Omnidesk already: \"exists\" in outcomes.csv");
        }
        if unowned > 0 {
            let addresses = pluralize(unowned, "of them is", "of them are");
            let _ = writeln!(
                text,
                "{addresses} perhaps another customer's: existing_address in the file of notices"
            );
        }
    }

    /// Settings that would make the next run faster, or get fewer refusals.
    fn write_pace(&self, text: &mut String) {
        let Some(pace) = &self.pace else { return };
        if let Some(rate) = pace.accepted {
            let requests = counted(pace.refused, "request");
            let _ =
                writeln!(text, "the server accepted {rate}, and refused {requests}; set rate = \"{rate}\"");
        }
        if let (Some(concurrency), Some(answer)) = (pace.concurrency, pace.answer) {
            let rate = pace.accepted.unwrap_or(pace.rate);
            let _ = writeln!(
                text,
                "the run did not reach the rate of {rate}, because answers took {} ms: set concurrency = {concurrency}",
                answer.as_millis()
            );
        }
    }

    fn write_doubts(&self, text: &mut String) {
        let creates = self.other_creates_in_doubt();
        if creates > 0 {
            let _ = if self.stopped.is_some() {
                let creates = pluralize(creates, "create has", "creates have");
                writeln!(text, "{creates} no answer yet: the resumed run asks Omnidesk")
            } else {
                let creates = pluralize(creates, "create is", "creates are");
                writeln!(
                    text,
                    "{creates} in doubt, and no row asked for another call: look in Omnidesk, or run an export with the same customers"
                )
            };
        }
        if let Some(probes) = &self.unusable_probes {
            let _ = writeln!(text, "{}", probes.message());
        }
        for (outcome, rows) in self.problems_before_resume() {
            let _ = writeln!(
                text,
                "{} {} before the run was resumed: each is in the result files, with its line and a hint",
                Count(rows),
                outcome.as_str()
            );
        }
    }

    fn write_causes(&self, text: &mut String, causes: &[(Outcome, &'static str, &CauseLine)]) {
        for (outcome, code, cause) in causes.iter().take(CAUSES_SHOWN) {
            let CauseLine { count, row, line, file, column, message, hint, .. } = cause;
            let file = file.as_ref().map(|file| format!(" of {file}")).unwrap_or_default();
            let place = column.as_ref().map(|column| format!(", column {column:?}")).unwrap_or_default();
            let (count, outcome) = (Count(*count), outcome.as_str());
            let _ = writeln!(
                text,
                "{count} {outcome} ({code}), first row {row} on line {line}{file}{place}: {message}\n    hint: {hint}"
            );
        }
        let rest = &causes[causes.len().min(CAUSES_SHOWN)..];
        if !rest.is_empty() {
            let rows = counted(rest.iter().map(|(.., cause)| cause.count).sum(), "row");
            let causes = counted(rest.len() as u64, "more cause");
            let _ = writeln!(text, "{causes}, of {rows}: see {}/report.html", self.folder);
        }
    }
}
