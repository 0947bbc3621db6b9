use std::collections::BTreeMap;

use super::error::PlanError;
use super::missing::MissingPlan;
use super::prepare::PreparedExport;
use super::reading::RowClass;
use crate::checkpoint::{Work, Worklist};
use crate::guards::{ExportEffects, NoticeLine, RecreatedCustomers};
use crate::mapping::{Operation, Rejection, RejectionCode, Warning};
use crate::omnidesk::{Call, CallKind};
use crate::reconcile::{CauseMap, Counts, HandsOff, Outcome};
use crate::source::{RowRef, Skipped};

/// Rejected telephone numbers kept to find the region that would help.
const PHONES_KEPT: usize = 300;

/// Rows kept for a message.
const EXAMPLES: usize = 3;

/// Brands kept to be shown.
const BRANDS_KEPT: usize = 5;

/// The first pass's result: counts, causes and the rows to visit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    /// What the guards judge.
    pub(crate) effects: ExportEffects,
    /// Rows by the outcome they will have if every call works.
    pub(crate) expected: Counts,
    /// Rows of customers whom `--only` does not select. They have no outcome.
    pub(crate) unselected_rows: u64,
    /// Rows of a customer who has an earlier row in the same export.
    pub(crate) repeated_rows: u64,
    /// Whether a row has another operation than `sync` and `skip`.
    pub(crate) has_own_operations: bool,
    pub(crate) rejected: CauseMap<RejectionCode, RejectionCause>,
    pub(crate) warnings: BTreeMap<Warning, u64>,
    /// Rows for which nothing is sent, whoever they are of.
    pub(crate) hands_off: BTreeMap<(HandsOff, Outcome), HandsOffRows>,
    /// Telephone numbers that could not be read, a sample.
    pub(crate) bad_phones: Vec<String>,
    /// Keys of JSON lines that are mapped and that no row has.
    pub(crate) absent_keys: Vec<String>,
    /// Lines that are no rows.
    pub(crate) skipped: Skipped,
    pub(crate) worklist: Worklist,
    /// Known customers whom the export does not hold, if `[missing]` asks.
    pub(crate) missing: Option<MissingPlan>,
    calls: [u64; CallKind::ALL.len()],
}

/// Rejected rows that share a cause.
#[derive(Debug, Clone)]
pub(crate) struct RejectionCause {
    pub(crate) rows: u64,
    /// The first of them.
    pub(crate) first: RowRef,
    /// Its rejection.
    pub(crate) example: Rejection,
}

/// Rows of customers who are not this program's to change or to make.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HandsOffRows {
    pub(crate) rows: u64,
    /// The first of them.
    pub(crate) first: RowRef,
}

impl Plan {
    /// Rows read, without those of customers who are not selected.
    pub(crate) fn rows(&self) -> u64 {
        self.effects.rows
    }

    /// Calls of one kind, if every call works.
    pub(crate) fn calls(&self, kind: CallKind) -> u64 {
        self.calls[kind as usize]
    }

    pub(crate) fn calls_total(&self) -> u64 {
        self.calls.iter().sum()
    }

    /// Takes in the missing customers. Their purges are calls, but no rows.
    pub(super) fn set_missing(&mut self, missing: MissingPlan) {
        if let Ok(counts) = &missing.result {
            self.calls[CallKind::Purge as usize] += counts.purges();
            self.effects.purges.missing = counts.purges();
            self.effects.unreadable_rows = counts.unreadable_rows;
            self.effects.first_unreadable = missing.first_unreadable;
        }
        self.missing = Some(missing);
    }

    pub(super) fn add_row(&mut self, at: RowRef, class: &RowClass) {
        match class {
            RowClass::Unselected => self.unselected_rows += 1,
            _ => self.effects.rows += 1,
        }
        self.worklist.add_row(at);
    }

    /// Takes in what holds for a row whatever is decided for it.
    pub(super) fn add_request(&mut self, operation: Operation, brand_id: u64, warnings: &[Warning]) {
        self.has_own_operations |= operation != Operation::Sync;
        let brands = &mut self.effects.brands;
        if brands.len() < BRANDS_KEPT {
            brands.insert(brand_id);
        }
        for warning in warnings {
            *self.warnings.entry(*warning).or_default() += 1;
        }
    }

    pub(super) fn reject(&mut self, at: RowRef, rejection: Rejection) {
        self.expected.add(Outcome::Rejected);
        self.worklist.set(at.number, Work::Rejected);
        if let (RejectionCode::BadPhone, Some(value)) = (rejection.code, &rejection.value)
            && self.bad_phones.len() < PHONES_KEPT
        {
            self.bad_phones.push(value.clone());
        }
        if rejection.code == RejectionCode::PlaceholderId {
            let found = &mut self.effects.placeholder_ids;
            found.rows += 1;
            if found.first.len() < EXAMPLES {
                found.first.push(at.number);
            }
        }
        let entry = self.rejected.entry(rejection.code, rejection.hint.clone());
        let cause = RejectionCause { rows: 1, first: at, example: rejection };
        entry.and_modify(|cause| cause.rows += 1).or_insert(cause);
    }

    /// Checks that some row has an id. Without a header, nothing else shows that
    /// another column holds it.
    pub(super) fn check_ids(&self, prepared: &PreparedExport) -> Result<(), PlanError> {
        let export = &prepared.export;
        let blank: u64 = self
            .rejected
            .iter()
            .filter(|(code, _)| *code == RejectionCode::BlankId)
            .map(|(_, cause)| cause.rows)
            .sum();
        let others = self.rows() - self.expected.get(Outcome::Skipped);
        let is_all =
            self.unselected_rows == 0 && prepared.options.limit.is_none() && !prepared.is_result_file;
        if export.columns().has_header() || !is_all || blank == 0 || blank < others {
            return Ok(());
        }
        let columns = prepared.mapping.id_columns().into_iter().map(|at| &export.columns().names()[at]);
        let columns: Vec<String> = columns.map(|name| format!("{name:?}")).collect();
        let names = export.first_members()?.join(", ");
        let place = if columns.is_empty() { String::new() } else { format!(" in {}", columns.join(", ")) };
        let problem =
            format!("no row has an id{place}: map another member to primary_id; the first row has {names}");
        Err(PlanError::Mapping { export: export.name(), problems: vec![problem] })
    }

    /// Takes in a row with its calls and the outcome they lead to.
    pub(super) fn decide(&mut self, at: RowRef, outcome: Outcome, calls: &[Call]) {
        self.expected.add(outcome);
        for call in calls {
            self.calls[call.kind() as usize] += 1;
        }
        if calls.iter().any(|call| matches!(call.kind(), CallKind::Create | CallKind::Update)) {
            self.effects.changing_rows += 1;
        }
        if !calls.is_empty() {
            self.worklist.set(at.number, Work::Calls);
        }
    }

    /// Takes in a row for which nothing is sent. One that fails is visited: it has a
    /// line in a result file.
    pub(super) fn add_hands_off(&mut self, at: RowRef, cause: HandsOff, outcome: Outcome) {
        self.expected.add(outcome);
        if outcome == Outcome::Failed {
            self.worklist.set(at.number, Work::Calls);
        }
        let first = HandsOffRows { rows: 0, first: at };
        self.hands_off.entry((cause, outcome)).or_insert(first).rows += 1;
    }

    /// A sentence for each cause and outcome of such rows.
    pub(crate) fn hands_off_lines(&self) -> impl Iterator<Item = (Outcome, NoticeLine)> {
        self.hands_off.iter().map(|((cause, outcome), HandsOffRows { rows, first })| {
            let message = format!("{}, such as {first}", cause.sentence(*outcome, *rows));
            let code = cause.code().to_owned();
            (*outcome, NoticeLine { code, count: *rows, before: 0, message })
        })
    }

    /// Takes in a row that creates a customer without any address.
    pub(super) fn add_without_address(&mut self, at: RowRef) {
        self.effects.without_address += 1;
        self.effects.first_without_address.get_or_insert(at);
    }

    /// Takes in a row that creates a customer with so many addresses: one goes
    /// with the create.
    pub(super) fn decide_new(&mut self, at: RowRef, addresses: u64) {
        self.expected.add(Outcome::Created);
        self.calls[CallKind::Create as usize] += 1;
        self.calls[CallKind::AddChannel as usize] += addresses.saturating_sub(1);
        self.effects.changing_rows += 1;
        if addresses == 0 {
            self.add_without_address(at);
        }
        self.worklist.set(at.number, Work::Calls);
    }

    /// Takes back the calls of a row that has at most an update.
    pub(super) fn retract(&mut self, row: u64, calls: &[CallKind]) {
        self.worklist.clear(row, Work::Calls);
        if calls.contains(&CallKind::Update) {
            self.expected.shift(Outcome::Updated, Outcome::Unchanged);
            self.calls[CallKind::Update as usize] -= 1;
            self.effects.changing_rows -= 1;
        }
    }

    /// Takes in that one row purges a customer and a later one creates it anew.
    pub(super) fn add_recreated(&mut self, purge: RowRef, sync: RowRef) {
        let first = RecreatedCustomers { customers: 0, first: (purge, sync) };
        self.effects.recreated.get_or_insert(first).customers += 1;
    }

    /// The outcomes of rows that need no visit.
    pub(crate) fn settled(&self) -> Counts {
        let visits = self.worklist.count(Work::Calls) + self.worklist.count(Work::Rejected);
        let mut counts = Counts::default();
        counts.add_many(Outcome::Skipped, self.expected.get(Outcome::Skipped));
        let unchanged = self.rows().saturating_sub(visits).saturating_sub(counts.total());
        counts.add_many(Outcome::Unchanged, unchanged);
        counts
    }

    pub(crate) fn brands(&self) -> Vec<u64> {
        self.effects.brands.iter().copied().collect()
    }
}
