//! What the rows of one customer would send now, and why: each field and address.
//! Decided as by [`super::make_plan`], with no look at other customers.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::context::RunContext;
use super::error::PlanError;
use super::known_customer::{KnownCustomer, fields_of};
use super::prepare::PreparedExport;
use super::repeated_customer::RepeatedCustomer;
use crate::checkpoint::{Checkpoint, OpenRun, Work};
use crate::mapping::{
    Channel, FieldName, FieldValue, Intent, Operation, Rejection, RowResult, Subject, is_placeholder_of_many,
};
use crate::omnidesk::{Action, Call, CallKind};
use crate::reconcile::{
    CustomerState, FieldHash, HashedIntent, MissingAction, Outcome, Policy, Superseded, hands_off, rehearse,
    superseded,
};
use crate::source::{Row, RowRef};

/// The rows of one customer in an export.
pub(crate) struct ExplainedRows {
    export: String,
    rows: Vec<ExplainedRow>,
    /// Columns that no key reads.
    unmapped_columns: Vec<String>,
    /// What a whole export without the customer leads to.
    missing: Option<MissingAction>,
}

struct ExplainedRow {
    at: RowRef,
    operation: Operation,
    outcome: Outcome,
    /// Why the row makes no call, where its values do not show it.
    reason: Option<String>,
    rejection: Option<Box<Rejection>>,
    calls: Vec<CallKind>,
    parts: Vec<ExplainedPart>,
}

/// A field or an address.
struct ExplainedPart {
    key: String,
    value: Option<String>,
    comparison: Comparison,
    is_sent: bool,
}

/// A value of a row beside what is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// The row has no value.
    Blank,
    /// Nothing is acknowledged of it.
    New,
    Changed,
    Same,
    /// A later row or export has set another value.
    Superseded,
    /// It goes with a create alone: `on = "create"`.
    CreateOnly,
}

impl Comparison {
    fn as_str(self) -> &'static str {
        match self {
            Self::Blank => "blank",
            Self::New => "new",
            Self::Changed => "changed",
            Self::Same => "same",
            Self::Superseded => "superseded",
            Self::CreateOnly => "create_only",
        }
    }
}

/// A row, and what it asks for.
type MappedRow = (RowRef, RowResult<Option<Intent>>);

/// What has to be known to decide the rows of a customer.
struct RowExplainer<'a> {
    prepared: &'a PreparedExport,
    context: RunContext,
    /// If it is over this export.
    open: Option<OpenRun>,
}

/// Reads the export and explains the customer's rows.
pub(crate) fn explain_rows(
    prepared: &PreparedExport,
    checkpoint: Option<&Checkpoint>,
    known: &mut KnownCustomer,
) -> Result<ExplainedRows, PlanError> {
    let mut context = RunContext::new(prepared, checkpoint)?;
    let open = checkpoint.map(Checkpoint::open_runs).transpose()?.unwrap_or_default();
    let open = open.into_iter().find(|run| context.is_same_run(run, prepared));
    if let Some(open) = &open {
        context.policy.export = open.export.ordinal;
    }
    let explainer = RowExplainer { prepared, context, open };
    let rows = explainer.read_rows(checkpoint, known)?;
    let action = prepared.missing;
    let is_missing = rows.is_empty() && action != MissingAction::Ignore && !prepared.is_part();
    Ok(ExplainedRows {
        export: prepared.export.name(),
        rows: explainer.explain_all(rows, &known.state),
        unmapped_columns: prepared.mapping.unread_names().map(str::to_owned).collect(),
        missing: is_missing.then_some(action),
    })
}

impl RowExplainer<'_> {
    /// The rows of the customer, mapped. Notes also the lines of the rows that the
    /// checkpoint refers to.
    fn read_rows(
        &self,
        checkpoint: Option<&Checkpoint>,
        known: &mut KnownCustomer,
    ) -> Result<Vec<MappedRow>, PlanError> {
        let export = &self.prepared.export;
        let mut wanted = known.occasions();
        if let Some(checkpoint) = checkpoint {
            let mut own = Vec::new();
            for occasion in wanted {
                if checkpoint.run_export(occasion.run)? == Some(self.prepared.hash) {
                    own.push(occasion);
                }
            }
            wanted = own;
        }
        let (mut rows, mut row, mut reader) = (Vec::new(), Row::default(), export.rows());
        while reader.read(&mut row).map_err(|source| export.io_error(source))? {
            let at = row.at();
            let lines = wanted.iter().filter(|occasion| occasion.row == at.number);
            known.lines.extend(lines.map(|occasion| ((occasion.run, occasion.row), at.line)));
            let customer = &known.customer;
            let is_own = self.prepared.mapping.customer_of(&row).is_some_and(|(brand_id, primary_id)| {
                brand_id == customer.brand_id && primary_id == customer.primary_id.as_str()
            });
            if is_own {
                rows.push((at, self.prepared.map(&row)));
            }
        }
        Ok(rows)
    }

    fn explain_all(&self, rows: Vec<MappedRow>, state: &CustomerState) -> Vec<ExplainedRow> {
        let Some((first, _)) = rows.first() else { return Vec::new() };
        let mut customer = RepeatedCustomer::new(*first, state.clone());
        let is_alone = rows.len() == 1;
        let mut explained: Vec<ExplainedRow> = Vec::new();
        for (at, mapped) in rows {
            let row = match mapped {
                Ok(None) => ExplainedRow::without_values(at, Operation::Skip, Outcome::Skipped),
                Ok(Some(intent))
                    if !is_alone && is_placeholder_of_many(intent.customer.primary_id.as_str()) =>
                {
                    let id = intent.customer.primary_id.as_str();
                    ExplainedRow::rejected(
                        at,
                        intent.operation,
                        self.prepared.mapping.reject_placeholder_of_many(id),
                    )
                }
                Ok(Some(intent)) => {
                    let intent = HashedIntent::new(intent, &self.context.policy.key);
                    let row = self.explain(at, &intent, &mut customer.state);
                    customer.add_row(at, intent.operation, &row.calls);
                    row
                }
                Err(rejection) => ExplainedRow::rejected(at, Operation::Sync, rejection),
            };
            explained.push(row);
        }
        if !self.context.policy.full && self.context.rows_to_decide().is_none() && !is_alone {
            for (number, _) in customer.rows_back_and_forth() {
                let rows = explained.iter_mut().filter(|row| row.at.number == *number);
                rows.for_each(|row| {
                    row.retract("the rows of this customer contradict each other, and lead back to what is acknowledged");
                });
            }
        }
        explained
    }

    fn explain(&self, at: RowRef, intent: &HashedIntent, state: &mut CustomerState) -> ExplainedRow {
        let policy = &self.context.policy;
        let mut row = ExplainedRow::without_values(at, intent.operation, Outcome::Unchanged);
        let before = state.clone();
        row.reason = self.decided_before(at);
        let mut calls = Vec::new();
        if row.reason.is_none() {
            if superseded(intent, state, policy) == Some(Superseded::ByPurge) {
                row.reason = Some("the customer was purged since".to_owned());
            } else if let Some((cause, _)) = hands_off(intent, state, policy) {
                row.reason = Some(cause.message().to_owned());
            }
            match rehearse(intent, state, policy) {
                Ok((own, outcome)) => (calls, row.outcome) = (own, outcome),
                Err(rejection) => return ExplainedRow::rejected(at, intent.operation, rejection),
            }
        }
        row.calls = calls.iter().map(Call::kind).collect();
        if intent.operation != Operation::Purge {
            row.parts = self.explain_parts(intent, &before, &calls);
        }
        row
    }

    /// Why no decision is left for a row.
    fn decided_before(&self, at: RowRef) -> Option<String> {
        if let Some(open) = &self.open {
            let is_pending = open.pending(Work::Calls).any(|(row, _)| row == at.number);
            let started = &open.record.started;
            return (!is_pending).then(|| format!("the open run of {started} has settled this row"));
        }
        let retry = self.context.retry.as_ref().filter(|retry| !retry.rows.contains(&at.number))?;
        Some(format!("the run of {} has applied this row", retry.record.started))
    }

    fn explain_parts(
        &self,
        intent: &HashedIntent,
        before: &CustomerState,
        calls: &[Call],
    ) -> Vec<ExplainedPart> {
        let policy = &self.context.policy;
        let mut parts = Vec::new();
        for key in &self.prepared.keys {
            for name in fields_of(key) {
                let value = intent.all_fields().find(|(own, _)| *own == name).map(|(_, value)| value);
                parts.push(ExplainedPart {
                    key: field_key(&key.key, &name),
                    value: value.map(|value| value.as_str().to_owned()),
                    comparison: compare(&name, value, before, intent, policy),
                    is_sent: calls.iter().any(|call| sends_field(call, &name)),
                });
            }
            if let Subject::Channel(channel) = key.subject {
                parts.extend(self.explain_addresses(channel, intent, before, calls));
            }
        }
        parts
    }

    fn explain_addresses(
        &self,
        channel: Channel,
        intent: &HashedIntent,
        before: &CustomerState,
        calls: &[Call],
    ) -> Vec<ExplainedPart> {
        let part = |value, comparison, is_sent| {
            let key = channel.as_str().to_owned();
            ExplainedPart { key, value, comparison, is_sent }
        };
        let own = intent.hashed_addresses().filter(|(address, _)| address.channel() == channel);
        let mut parts: Vec<ExplainedPart> = own
            .map(|(address, hash)| {
                let is_same = before.acked().is_some_and(|acked| acked.has_address(hash));
                let comparison = if is_same { Comparison::Same } else { Comparison::New };
                let is_sent = calls.iter().any(|call| call.address() == Some(address));
                part(Some(address.as_str().to_owned()), comparison, is_sent)
            })
            .collect();
        if parts.is_empty() {
            parts.push(part(None, Comparison::Blank, false));
        }
        parts
    }
}

/// Of a whole name, each of its two fields has a line.
fn field_key(key: &str, name: &FieldName) -> String {
    match (key, name) {
        ("name", FieldName::First) => "name (first)".to_owned(),
        ("name", FieldName::Last) => "name (last)".to_owned(),
        (key, _) => key.to_owned(),
    }
}

fn compare(
    name: &FieldName,
    value: Option<&FieldValue>,
    before: &CustomerState,
    intent: &Intent,
    policy: &Policy,
) -> Comparison {
    let Some(value) = value else { return Comparison::Blank };
    let Some(acked) = before.acked() else { return Comparison::New };
    let key = &policy.key;
    if intent.create_fields.iter().any(|(own, _)| own == name) {
        Comparison::CreateOnly
    } else if acked.has(FieldHash::new(key, name, value)) {
        Comparison::Same
    } else if acked.has_later(key.field(name), policy.row(intent)) {
        Comparison::Superseded
    } else if acked.fields.iter().any(|field| field.tag == key.field(name)) {
        Comparison::Changed
    } else {
        Comparison::New
    }
}

fn sends_field(call: &Call, name: &FieldName) -> bool {
    match &call.action {
        Action::Create { fields, .. } | Action::Update { fields } => {
            fields.iter().any(|(own, _)| own == name)
        }
        Action::AddChannel { .. } | Action::Purge => false,
    }
}

impl ExplainedRow {
    fn without_values(at: RowRef, operation: Operation, outcome: Outcome) -> Self {
        let (calls, parts) = (Vec::new(), Vec::new());
        Self { at, operation, outcome, reason: None, rejection: None, calls, parts }
    }

    fn rejected(at: RowRef, operation: Operation, rejection: Box<Rejection>) -> Self {
        let row = Self::without_values(at, operation, Outcome::Rejected);
        Self { rejection: Some(rejection), ..row }
    }

    fn retract(&mut self, reason: &str) {
        self.outcome = Outcome::Unchanged;
        self.reason = Some(reason.to_owned());
        self.calls.clear();
        self.parts.iter_mut().for_each(|part| part.is_sent = false);
    }

    fn json(&self) -> Value {
        let part = |part: &ExplainedPart| {
            json!({
                "key": part.key,
                "value": part.value,
                "comparison": part.comparison.as_str(),
                "sent": part.is_sent,
            })
        };
        json!({
            "row": self.at.number,
            "line": self.at.line,
            "operation": self.operation,
            "outcome": self.outcome.as_str(),
            "reason": self.reason,
            "calls": self.calls.iter().map(|call| call.as_str()).collect::<Vec<_>>(),
            "parts": self.parts.iter().map(part).collect::<Vec<_>>(),
            "rejection": self.rejection.as_ref().map(|rejection| json!({
                "code": rejection.code.as_str(),
                "column": rejection.column,
                "value": rejection.value,
                "message": rejection.message,
                "hint": rejection.hint,
            })),
        })
    }

    fn write_text(&self, text: &mut String) {
        let (operation, outcome) = (self.operation.as_str(), self.outcome.as_str());
        let calls: Vec<&str> = self.calls.iter().map(|call| call.as_str()).collect();
        let calls = if calls.is_empty() { "no call".to_owned() } else { calls.join(", ") };
        let _ = writeln!(text, "{}, {operation}: {outcome}, {calls}", self.at);
        if let Some(reason) = &self.reason {
            let _ = writeln!(text, "  {reason}");
        }
        if let Some(rejection) = &self.rejection {
            let place =
                rejection.column.as_ref().map(|column| format!("column {column:?}: ")).unwrap_or_default();
            let code = rejection.code.as_str();
            let _ = writeln!(text, "  {code}: {place}{}\n    hint: {}", rejection.message, rejection.hint);
        }
        let width = self.parts.iter().map(|part| part.key.chars().count()).max().unwrap_or_default();
        for ExplainedPart { key, value, comparison, is_sent } in &self.parts {
            let sent = if *is_sent { "sent" } else { "not sent" };
            let value = value.as_ref().map(|value| format!(" {value:?}")).unwrap_or_default();
            let _ = writeln!(text, "  {key:<width$}  {}, {sent}{value}", comparison.as_str());
        }
    }
}

impl ExplainedRows {
    pub(crate) fn json(&self) -> Value {
        json!({
            "export": self.export,
            "rows": self.rows.iter().map(ExplainedRow::json).collect::<Vec<_>>(),
            "unmapped_columns": self.unmapped_columns,
            "missing": self.missing.map(MissingAction::as_str),
        })
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("\n{}\n", self.export);
        if self.rows.is_empty() {
            text.push_str("no row of this customer\n");
        }
        if let Some(action) = self.missing {
            let action = action.as_str();
            let _ = writeln!(text, "a whole export without the customer: action = \"{action}\" in [missing]");
        }
        self.rows.iter().for_each(|row| row.write_text(&mut text));
        if !self.rows.is_empty() && !self.unmapped_columns.is_empty() {
            let _ = writeln!(text, "columns that no key reads: {}", self.unmapped_columns.join(", "));
        }
        text
    }
}
