//! A plan in words and as JSON; `run` shows the same before it starts.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::overrides;
use super::plan::Plan;
use super::prepare::PreparedExport;
use super::window::{Window, WindowFit};
use crate::checkpoint::Work;
use crate::config::Config;
use crate::guards::GuardVerdict;
use crate::mapping::suggest_region;
use crate::omnidesk::CallKind;
use crate::reconcile::Outcome;
use crate::report::missing_json;
use crate::units::Period;

/// What a plan looks like; `run` shows the same before it starts.
pub(crate) struct PlanView<'a> {
    pub(crate) config: &'a Config,
    pub(crate) prepared: &'a PreparedExport,
    pub(crate) survey: &'a Plan,
    pub(crate) verdicts: &'a [GuardVerdict],
    pub(crate) window: Option<&'a Window>,
}

/// Why rows are rejected, each cause with its first row. Values are for the
/// eyes of whoever asks for a plan, and not for a log.
pub(crate) fn rejections(survey: &Plan, with_values: bool) -> String {
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
            code.as_str(),
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

impl PlanView<'_> {
    fn duration(&self) -> std::time::Duration {
        self.config.limits.rate.time_for(self.survey.calls_total())
    }

    /// How much fits into the time window, if there is one.
    fn fit(&self) -> Option<WindowFit> {
        let (limits, timeout) = (&self.config.limits, self.config.omnidesk.timeout.0);
        let rows = self.survey.worklist.count(Work::Calls);
        self.window.map(|window| window.fit(limits.rate, timeout, self.survey.calls_total(), rows))
    }

    pub(crate) fn json(&self) -> Value {
        let calls: serde_json::Map<String, Value> = CallKind::ALL
            .iter()
            .map(|kind| (kind.word().to_owned(), self.survey.calls(*kind).into()))
            .collect();
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
                    "code": code.as_str(),
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
            .map(|(warning, rows)| (warning.as_str().to_owned(), (*rows).into()))
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
            "leave": (!self.verdicts.is_empty()).then(|| overrides::this_command(self.verdicts)).flatten(),
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
    pub(crate) fn head(&self) -> String {
        let brands: Vec<String> = self.survey.brands.iter().map(ToString::to_string).collect();
        let mut text = String::new();
        let _ = writeln!(
            text,
            "to {}, brand {}",
            self.config.omnidesk.base_url,
            if brands.is_empty() { "none".to_owned() } else { brands.join(", ") }
        );
        let calls: Vec<String> = CallKind::ALL
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
            let _ = writeln!(text, "{times} {}", warning.description());
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

    pub(crate) fn text(&self) -> String {
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
            && let Some(command) = overrides::this_command(self.verdicts)
        {
            let _ = writeln!(text, "if all of that is meant, this is the command:\n  {command}");
        }
        text
    }
}
