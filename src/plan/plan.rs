//! What a first pass over an export has found.

use std::collections::{BTreeMap, BTreeSet};

use crate::checkpoint::{Work, Worklist};
use crate::guards::Findings;
use crate::mapping::{Operation, Rejection, RejectionCode, Warning};
use crate::omnidesk::CallKind;
use crate::reconcile::CauseMap;
use crate::reconcile::MissingPlan;
use crate::reconcile::{Counts, Outcome};
use crate::source::RowRef;

/// Rejected telephone numbers kept to find the region that would help.
const PHONES_KEPT: usize = 300;

/// Brands kept to be shown.
const BRANDS_KEPT: usize = 5;

/// Counts, causes and the list of rows to visit.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Rows read.
    pub rows: u64,
    /// Rows by the outcome they will have if every call works.
    pub expected: Counts,
    /// Rows that create or update.
    pub rows_changing: u64,
    /// Rows of a customer who has a row before, in the same export.
    pub rows_of_known_customers: u64,
    /// Whether every row's operation is `sync` or `skip`.
    pub only_sync: bool,
    /// Rejected rows by cause.
    pub rejected: CauseMap<RejectionCode, RejectionCause>,
    /// What a person should know of rows that go their way.
    pub warnings: BTreeMap<Warning, u64>,
    /// Telephone numbers that could not be read, a sample.
    pub bad_phones: Vec<String>,
    /// Brands that the rows are for, the first few.
    pub brands: BTreeSet<u64>,
    /// Keys of JSON lines that are mapped and that no row has.
    pub unseen: Vec<String>,
    /// Customers whom one row purges and a later one brings back.
    pub purged_and_back: Option<RecreatedCustomers>,
    /// Customers whom the checkpoint does not know.
    pub strangers: NewCustomers,
    /// What was seen besides the calls.
    pub findings: Findings,
    /// Rows to visit.
    pub worklist: Worklist,
    /// Customers that no row has; none if nobody asks.
    pub missing: Option<MissingPlan>,
    calls: [u64; 4],
}

/// Customers of whom one row would purge the data, and a later one that says how
/// the customer is to be would bring them back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecreatedCustomers {
    /// How many.
    pub customers: u64,
    /// The rows of the first of them.
    pub first: (RowRef, RowRef),
}

/// Customers whom the checkpoint does not know, and who have an address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NewCustomers {
    /// How many.
    pub all: u64,
    /// Of them, those with an address that nobody else of them has, and that is
    /// the one of just one known customer whom the export does not hold.
    pub look_known: u64,
}

/// Rows that share a cause, with the first of them.
#[derive(Debug, Clone)]
pub struct RejectionCause {
    /// How many.
    pub rows: u64,
    /// The first.
    pub first: RowRef,
    /// Its rejection.
    pub example: Rejection,
}

impl Plan {
    /// Nothing read yet.
    #[must_use]
    pub fn new() -> Self {
        Self { only_sync: true, ..Self::default() }
    }

    /// Calls of one kind, if every call works.
    #[must_use]
    pub fn calls(&self, kind: CallKind) -> u64 {
        self.calls[kind as usize]
    }

    /// All calls, if every call works.
    #[must_use]
    pub fn calls_total(&self) -> u64 {
        self.calls.iter().sum()
    }

    /// Takes in who is missing. Purges of theirs are calls, and no rows.
    pub fn miss(&mut self, found: MissingPlan) {
        if found.missing.purge {
            self.calls[CallKind::Purge as usize] += found.missing.found;
        }
        self.missing = Some(found);
    }

    /// Purges of customers that no row has.
    #[must_use]
    pub fn missing_purges(&self) -> u64 {
        self.missing.as_ref().map_or(0, |found| found.missing.pending())
    }

    /// Takes in what is true of a row whatever is decided for it.
    pub fn note(&mut self, operation: Operation, brand_id: u64, warnings: &[Warning]) {
        self.only_sync &= operation == Operation::Sync;
        if self.brands.len() < BRANDS_KEPT {
            self.brands.insert(brand_id);
        }
        for warning in warnings {
            *self.warnings.entry(*warning).or_default() += 1;
        }
    }

    /// Takes in a refused row.
    pub fn reject(&mut self, at: RowRef, rejection: Rejection) {
        self.expected.add(Outcome::Rejected);
        self.worklist.mark(at.number, Work::Rejected);
        if let (RejectionCode::BadPhone, Some(value)) = (rejection.code, &rejection.value)
            && self.bad_phones.len() < PHONES_KEPT
        {
            self.bad_phones.push(value.clone());
        }
        let entry = self.rejected.entry(rejection.code, rejection.hint.clone());
        entry.and_modify(|cause| cause.rows += 1).or_insert(RejectionCause {
            rows: 1,
            first: at,
            example: rejection,
        });
    }

    /// Takes in a row with its calls and the outcome they lead to.
    pub fn settle(&mut self, at: RowRef, outcome: Outcome, calls: &[CallKind]) {
        self.expected.add(outcome);
        for kind in calls {
            self.calls[*kind as usize] += 1;
        }
        if calls.iter().any(|kind| matches!(kind, CallKind::Create | CallKind::Update)) {
            self.rows_changing += 1;
        }
        if !calls.is_empty() {
            self.worklist.mark(at.number, Work::Calls);
        }
    }

    /// Takes in that a row which was settled with at most an update makes no
    /// call after all.
    pub fn take_back(&mut self, row: u64, is_update: bool) {
        self.worklist.unmark(row, Work::Calls);
        if is_update {
            self.expected.turn(Outcome::Updated, Outcome::Unchanged);
            self.calls[CallKind::Update as usize] -= 1;
            self.rows_changing -= 1;
        }
    }

    /// Takes in that a customer is purged by one row and brought back by another.
    pub fn comes_back(&mut self, purge: RowRef, back: RowRef) {
        let found =
            self.purged_and_back.get_or_insert(RecreatedCustomers { customers: 0, first: (purge, back) });
        found.customers += 1;
    }

    /// Takes in a row that makes a new customer with so many addresses: one goes
    /// with the create.
    pub fn settle_new(&mut self, at: RowRef, addresses: u64) {
        self.expected.add(Outcome::Created);
        self.calls[CallKind::Create as usize] += 1;
        self.calls[CallKind::AddChannel as usize] += addresses.saturating_sub(1);
        self.rows_changing += 1;
        self.worklist.mark(at.number, Work::Calls);
    }

    /// What the rows that need no visit have come to.
    #[must_use]
    pub fn settled_by_plan(&self) -> Counts {
        let visits = self.worklist.count(Work::Calls) + self.worklist.count(Work::Rejected);
        let mut counts = Counts::default();
        counts.add_many(Outcome::Skipped, self.expected.get(Outcome::Skipped));
        let unchanged = self.rows.saturating_sub(visits).saturating_sub(counts.total());
        counts.add_many(Outcome::Unchanged, unchanged);
        counts
    }

    #[cfg(test)]
    pub(crate) fn for_tests(rows: u64, purges: u64, changing: u64) -> Self {
        Self { rows, rows_changing: changing, calls: [changing, 0, 0, purges], ..Self::new() }
    }
}
