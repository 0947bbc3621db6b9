//! A plan as text and as JSON; `run` shows the same before it starts.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::overrides::{OverrideCase, override_commands};
use super::plan::{HandsOffRows, Plan};
use super::prepare::PreparedExport;
use super::window::{Window, WindowFit};
use crate::checkpoint::Work;
use crate::config::Config;
use crate::guards::GuardVerdict;
use crate::mapping::suggest_region;
use crate::omnidesk::CallKind;
use crate::reconcile::{MissingAction, Outcome};
use crate::source::NoRows;
use crate::units::{Count, Period, counted, pluralize};

/// Fewer numbers say nothing of where they are from.
const BAD_PHONES_MIN: usize = 3;

pub(crate) struct PlanView<'a> {
    pub(crate) config: &'a Config,
    pub(crate) prepared: &'a PreparedExport,
    pub(crate) plan: &'a Plan,
    pub(crate) verdicts: &'a [GuardVerdict],
    pub(crate) window: Option<&'a Window>,
}

/// Whether values of rows are shown: a person who asks for a plan sees them, a
/// log does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Values {
    Shown,
    Hidden,
}

/// Why rows are rejected, each cause with its first row.
pub(crate) fn rejections_text(plan: &Plan, values: Values) -> String {
    let mut text = String::new();
    let mut causes: Vec<_> = plan.rejected.iter().collect();
    causes.sort_by_key(|(_, cause)| Reverse(cause.rows));
    for (code, cause) in causes {
        let (at, example) = (cause.first, &cause.example);
        let column = example.column.as_ref().map(|column| format!(", column {column:?}")).unwrap_or_default();
        let value = example.value.as_ref().filter(|_| values == Values::Shown);
        let value = value.map(|value| format!(", {value:?}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "{} rejected ({}), first {at}{column}{value}: {}\n    hint: {}",
            Count(cause.rows),
            code.as_str(),
            example.message,
            example.hint
        );
    }
    text
}

/// Lines of the export that are no rows.
fn no_rows_text(lines: NoRows) -> String {
    let kinds = [(lines.blank, "blank line"), (lines.headers, "repeated header"), (lines.footers, "footer")];
    let kinds = kinds.iter().filter(|(count, _)| *count > 0);
    let kinds: Vec<String> = kinds.map(|(count, kind)| counted(*count, kind)).collect();
    if kinds.is_empty() { String::new() } else { format!("no rows: {}\n", kinds.join(", ")) }
}

/// `to https://…, brand 2`
pub(crate) fn target_line(config: &Config, brands: &[u64]) -> String {
    let noun = if brands.len() == 1 { "brand" } else { "brands" };
    let brands: Vec<String> = brands.iter().map(ToString::to_string).collect();
    let brands = if brands.is_empty() { "none".to_owned() } else { brands.join(", ") };
    format!("to {}, {noun} {brands}", config.omnidesk.base_url)
}

impl PlanView<'_> {
    fn duration(&self) -> Duration {
        self.config.limits.rate.timeline().time_for(self.plan.calls_total() as f64, Duration::ZERO)
    }

    /// How much fits into the time window, if there is one.
    fn fit(&self) -> Option<WindowFit> {
        let (limits, timeout) = (&self.config.limits, self.config.omnidesk.timeout.0);
        let rows = self.plan.worklist.count(Work::Calls);
        let rates = limits.rate.timeline();
        self.window.map(|window| window.fit(&rates, timeout, self.plan.calls_total(), rows))
    }

    pub(crate) fn json(&self) -> Value {
        let plan = self.plan;
        let calls = BTreeMap::from(CallKind::ALL.map(|kind| (kind.as_str(), plan.calls(kind))));
        let rejected: Vec<Value> = plan
            .rejected
            .iter()
            .map(|(code, cause)| {
                let mut value = json!({
                    "code": code.as_str(),
                    "count": cause.rows,
                    "row": cause.first.number,
                    "line": cause.first.line,
                    "column": cause.example.column,
                    "value": cause.example.value,
                    "message": cause.example.message,
                    "hint": cause.example.hint,
                });
                if let Some(file) = cause.first.file {
                    value["file"] = file.into();
                }
                value
            })
            .collect();
        let warnings: BTreeMap<&str, u64> =
            plan.warnings.iter().map(|(warning, rows)| (warning.as_str(), *rows)).collect();
        let commands = override_commands(self.verdicts);
        let command = |case| commands.iter().find(|one| one.case == case).map(|one| &one.command);
        json!({
            "tenant": self.config.omnidesk.base_url.to_string(),
            "brands": plan.effects.brands,
            "export": self.prepared.export.name(),
            "export_hash": self.prepared.hash.to_string(),
            "rows": plan.rows(),
            "part": self.prepared.is_part(),
            "unselected_rows": plan.unselected_rows,
            "outcomes": plan.expected.json(),
            "calls": calls,
            "calls_total": plan.calls_total(),
            "rate": self.config.limits.rate,
            "seconds": self.duration().as_secs_f64(),
            "window": self.fit(),
            "rejected": rejected,
            "warnings": warnings,
            "repeated_rows": plan.repeated_rows,
            "absent_keys": plan.absent_keys,
            "apostrophe_columns": self.prepared.mapping.apostrophe_columns().collect::<Vec<_>>(),
            "no_rows": plan.skipped.lines,
            "input_notes": self.prepared.export.notes(),
            "input_warning": self.prepared.export.warning(),
            "phone_region": self.phone_region().map(|(region, _)| region),
            "notices": plan.effects.findings.profile.notices,
            "mapping_changes": plan.effects.findings.mapping_changes,
            "hands_off": self.hands_off_json(),
            "missing": self.missing_json(),
            "guards": self.verdicts,
            "override": command(OverrideCase::Intended),
            "override_as_part": command(OverrideCase::Part),
            "override_with_new_baseline": command(OverrideCase::NewBaseline),
            "balanced": plan.expected.total() == plan.rows(),
        })
    }

    fn hands_off_json(&self) -> Vec<Value> {
        let causes = self.plan.hands_off.iter().map(|((cause, outcome), HandsOffRows { rows, first })| {
            json!({
                "code": cause.code(),
                "outcome": outcome.as_str(),
                "count": rows,
                "row": first.number,
                "line": first.line,
            })
        });
        causes.collect()
    }

    fn missing_json(&self) -> Value {
        match self.plan.missing.as_ref().map(|missing| &missing.result) {
            None => Value::Null,
            Some(Ok(missing)) => missing.json(),
            Some(Err(obstacle)) => json!({ "undecided": obstacle }),
        }
    }

    fn phone_region(&self) -> Option<(String, usize)> {
        let (phones, bad) = (self.plan.bad_phones.iter().map(String::as_str), self.plan.bad_phones.len());
        // A typing error is a good number of some region.
        let found = (bad >= BAD_PHONES_MIN).then(|| suggest_region(phones)).flatten();
        found.filter(|(_, valid)| 2 * valid >= bad)
    }

    /// What is read, what is sent where, how long it takes.
    pub(crate) fn head(&self) -> String {
        let plan = self.plan;
        let mut text = format!("{}\n", target_line(self.config, &plan.brands()));
        let calls =
            CallKind::ALL.iter().map(|kind| (kind, plan.calls(*kind))).filter(|(_, count)| *count > 0);
        let calls: Vec<String> =
            calls.map(|(kind, count)| format!("{} {}", Count(count), kind.as_str())).collect();
        let (becomes, takes) = if plan.rows() == 1 { ("becomes", "takes") } else { ("become", "take") };
        let _ = write!(
            text,
            "{} of {} {becomes} {}",
            counted(plan.rows(), "row"),
            self.prepared.export.name(),
            counted(plan.calls_total(), "call")
        );
        if !calls.is_empty() {
            let (duration, rate) = (Period(self.duration()), &self.config.limits.rate);
            let _ = write!(text, " ({}) and {takes} {duration} at {rate}", calls.join(", "));
        }
        text.push('\n');
        self.write_part(&mut text);
        let apostrophes: Vec<&str> = self.prepared.mapping.apostrophe_columns().collect();
        if !apostrophes.is_empty() {
            let columns = apostrophes.join(", ");
            let _ = writeln!(text, "taken off, the apostrophe that most first rows have in front: {columns}");
        }
        let export = &self.prepared.export;
        if let Some(warning) = export.warning() {
            let _ = writeln!(text, "warning: {warning}");
        }
        for note in export.notes() {
            let _ = writeln!(text, "{note}");
        }
        text.push_str(&no_rows_text(plan.skipped.lines));
        if plan.skipped.no_numbers > 0 {
            let values = pluralize(plan.skipped.no_numbers, "value is", "values are");
            let _ = writeln!(text, "{values} NaN or Infinity, and read as no value");
        }
        if let Some(fit) = self.fit().and_then(|fit| fit.text()) {
            let _ = writeln!(text, "{fit}");
        }
        if !plan.absent_keys.is_empty() && plan.rows() > 0 {
            let _ = writeln!(text, "mapped, but in no row: {}", plan.absent_keys.join(", "));
        }
        for (warning, times) in &plan.warnings {
            let _ = writeln!(text, "{}: {}", warning.description(), Count(*times));
        }
        text.push_str(&plan.effects.findings.mapping_changes.text());
        self.write_missing(&mut text);
        text
    }

    fn write_part(&self, text: &mut String) {
        let prepared = self.prepared;
        if !prepared.is_part() {
            return;
        }
        if prepared.is_result_file {
            text.push_str("read as a result file; ");
        }
        if let Some(selected) = &prepared.selected {
            let customers = counted(selected.len() as u64, "customer");
            let others = counted(self.plan.unselected_rows, "row");
            let _ = write!(text, "only the rows of {customers}; {others} of others are not decided; ");
        }
        text.push_str("this is a part of the base: min_rows and min_fill do not apply\n");
    }

    fn write_missing(&self, text: &mut String) {
        let _ = match self.plan.missing.as_ref().map(|missing| &missing.result) {
            None => Ok(()),
            Some(Err(obstacle)) => writeln!(text, "{}", obstacle.description()),
            Some(Ok(missing)) => {
                let action = if missing.action == MissingAction::Purge { "purged" } else { "reported" };
                let customers = counted(missing.found, "known customer");
                let _ = writeln!(text, "missing: {customers} not in the export, to be {action}");
                missing.remarks().iter().try_for_each(|remark| writeln!(text, "{remark}"))
            }
        };
    }

    pub(crate) fn text(&self) -> String {
        let plan = self.plan;
        let mut text = self.head();
        for (outcome, rows) in plan.expected.iter() {
            let _ = writeln!(text, "  {:<14} {:>10}", outcome.as_str(), Count(rows));
        }
        if plan.repeated_rows > 0 {
            let rows = pluralize(plan.repeated_rows, "row has", "rows have");
            let _ = writeln!(
                text,
                "{rows} a customer of an earlier row; rows of a customer are applied in the export's order"
            );
        }
        for (at, footer) in &plan.skipped.footer_texts {
            let _ = writeln!(text, "no row on {}: {footer:?}", at.line_text());
        }
        text.push_str(&rejections_text(plan, Values::Shown));
        if let Some((region, valid)) = self.phone_region() {
            let numbers = plan.bad_phones.len();
            let _ =
                writeln!(text, "region = \"{region}\" would make {valid} of {numbers} such numbers valid");
        }
        for notice in plan.effects.findings.profile.notices.iter().filter(|notice| notice.count > 0) {
            let _ = writeln!(text, "{}", notice.message);
        }
        for (_, line) in plan.hands_off_lines().filter(|(outcome, _)| *outcome == Outcome::Failed) {
            let _ = writeln!(text, "{}", line.message);
        }
        for verdict in self.verdicts {
            let _ = writeln!(text, "guard {} will block the run: {}", verdict.guard, verdict.message);
        }
        for command in override_commands(self.verdicts) {
            let _ = writeln!(text, "{command}");
        }
        text
    }
}
