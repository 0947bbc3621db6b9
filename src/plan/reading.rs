//! Reading an export for decisions: rows are read and mapped on a thread of
//! their own and handed over in batches.
//!
//! Most rows of most nights are just what their customer was left with, and
//! most rows of a first load make a new customer. Neither needs a copy of
//! anything in the row: the first is known by its print, and of the second it
//! is enough to know that all of it can be sent, and how many calls it takes.

use super::error::PlanError;
use std::collections::HashSet;
use std::sync::mpsc::sync_channel;
use std::thread;

use super::prepare::{PreparedExport, RowFingerprinter};
use crate::checkpoint::CustomerIndex;
use crate::config::MissingAction;
use crate::guards::shared_mark;
use crate::mapping::{Draft, Fill, Intent, Mapping, Operation, Rejection, RowIdentity};
use crate::reconcile::{BuildKeyHasher, CustomerKey, HashKey, RowFingerprint};
use crate::source::{Row, RowRef, Rows, SourceError};

/// Rows handed over at once.
const BATCH_ROWS: usize = 1024;
/// Batches on their way.
const BATCHES_AHEAD: usize = 4;
/// Rows looked at together.
const ROWS_AT_ONCE: usize = 64;
/// A new customer with more addresses is handed over with all of the row.
const ADDRESSES_MAX: usize = 3;

/// A row that was read.
pub(crate) struct ClassifiedRow {
    pub(crate) at: RowRef,
    pub(crate) what: RowClass,
}

/// What a row is.
pub(crate) enum RowClass {
    /// Just what its customer was left with.
    Unchanged(CustomerRef),
    /// It makes a customer whom the checkpoint does not know.
    NewCustomerRow(CustomerRef, NewCustomerRow),
    /// It is to be decided by what its customer was told.
    Asks(CustomerRef, RowFingerprint, Box<Intent>),
    /// It asks for nothing; whose it is though, if somebody wants to know.
    Skipped(Option<Box<RowIdentity>>),
    /// It is refused, likewise.
    Rejected(Box<Rejection>, Option<Box<RowIdentity>>),
}

/// Whose a row is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CustomerRef {
    pub(crate) key: CustomerKey,
    pub(crate) brand_id: u64,
    /// The number of the customer among those that the checkpoint knows.
    pub(crate) known: Option<usize>,
}

/// What is to be known of a row that makes a customer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewCustomerRow {
    pub(crate) operation: Operation,
    marks: [u64; ADDRESSES_MAX],
    addresses: usize,
}

impl NewCustomerRow {
    /// The marks of its addresses, as many as it has.
    pub(crate) fn marks(&self) -> impl ExactSizeIterator<Item = u64> + Clone {
        self.marks[..self.addresses].iter().copied()
    }
}

/// Reads the export on a thread of its own: `sort` says there what is to be
/// known of some rows, and `take` gets that in batches. Gives back the keys
/// that no row has.
pub(crate) fn read<T: Send>(
    prepared: &PreparedExport,
    mut sort: impl FnMut(&[Row], &mut Vec<T>) + Send,
    mut take: impl FnMut(Vec<T>) -> Result<(), PlanError>,
) -> Result<Vec<String>, PlanError> {
    let (sender, receiver) = sync_channel(BATCHES_AHEAD);
    thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut rows = prepared.export.rows();
            let mut some = vec![Row::default(); ROWS_AT_ONCE];
            let mut batch = Vec::with_capacity(BATCH_ROWS);
            for at in 1.. {
                let read = read_some(prepared, &mut rows, &mut some)?;
                sort(&some[..read], &mut batch);
                if read < ROWS_AT_ONCE {
                    break;
                }
                // Also without anything in it, now and then: somebody may want to stop.
                if at % (BATCH_ROWS / ROWS_AT_ONCE) == 0 {
                    let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH_ROWS));
                    if sender.send(full).is_err() {
                        break;
                    }
                }
            }
            let _ = sender.send(batch);
            Ok::<_, SourceError>(rows.absent_keys())
        });
        let taken = receiver.iter().try_for_each(&mut take);
        drop(receiver);
        let unseen =
            reader.join().map_err(|_| PlanError::Bug("the reading thread panicked".to_owned()))??;
        taken.map(|()| unseen)
    })
}

/// Reads as many rows as there is room for, as long as there are any.
fn read_some(prepared: &PreparedExport, rows: &mut Rows, some: &mut [Row]) -> Result<usize, SourceError> {
    for (read, row) in some.iter_mut().enumerate() {
        let is_one = rows.read(row).map_err(|source| prepared.export.io_error(source))?;
        if !is_one || row.at().number > prepared.rows_max {
            return Ok(read);
        }
    }
    Ok(some.len())
}

/// How the rows of a first reading are sorted.
pub(crate) struct FirstReading<'a> {
    pub(crate) prepared: &'a PreparedExport,
    pub(crate) key: HashKey,
    pub(crate) prints: RowFingerprinter<'a>,
    pub(crate) known: &'a CustomerIndex,
    /// Whether a row that is just what its customer was left with may pass by
    /// its print.
    pub(crate) passes_unchanged: bool,
    /// Whether a row that makes a customer may pass without all that is in it.
    pub(crate) passes_new: bool,
    pub(crate) with_addresses: bool,
    /// Whether the print of every row is wanted, or only of known customers.
    pub(crate) prints_all: bool,
    /// How full the mapped columns are.
    pub(crate) fill: &'a mut Fill,
}

impl FirstReading<'_> {
    /// What some rows are. All of their customers are looked for in one go, so
    /// that the memory's answers are waited for together.
    pub(crate) fn sort(&mut self, rows: &[Row], batch: &mut Vec<ClassifiedRow>) {
        let mut found = [None; ROWS_AT_ONCE];
        if !self.known.is_empty() {
            for (found, row) in found.iter_mut().zip(rows) {
                *found = self.whose_by_cells(row).map(|whose| (whose, self.prints.of(row)));
            }
            for (whose, _) in found.iter_mut().flatten() {
                whose.known = self.known.find(whose.key);
            }
        }
        batch.extend(rows.iter().zip(found).map(|(row, found)| {
            let what = match found {
                Some((whose, print)) if self.is_unchanged(whose, print) => {
                    self.fill.count(&self.prepared.mapping, row);
                    RowClass::Unchanged(whose)
                }
                found => self.what(row, found),
            };
            ClassifiedRow { at: row.at(), what }
        }));
    }

    /// Whose a row is, not yet looked for.
    fn whose_by_cells(&self, row: &Row) -> Option<CustomerRef> {
        let (brand_id, primary_id) = self.prepared.mapping.customer_of(row)?;
        Some(CustomerRef { key: self.key.customer_of(brand_id, &primary_id), brand_id, known: None })
    }

    fn is_unchanged(&self, whose: CustomerRef, print: RowFingerprint) -> bool {
        self.passes_unchanged && whose.known.is_some_and(|known| self.known.has(known, print))
    }

    /// What a row is that has to be looked at.
    fn what(&mut self, row: &Row, found: Option<(CustomerRef, RowFingerprint)>) -> RowClass {
        let mapping = &*self.prepared.mapping;
        let presence = || {
            let asked = self.prepared.missing != MissingAction::Ignore;
            asked.then(|| Box::new(mapping.identify(row)))
        };
        let draft = match mapping.draft(row) {
            Ok(Some(draft)) => draft,
            Ok(None) => return RowClass::Skipped(presence()),
            Err(rejection) => {
                let presence = presence();
                if row.fault().is_none() {
                    self.fill.count(mapping, row);
                }
                return RowClass::Rejected(rejection, presence);
            }
        };
        if draft.operation != Operation::Purge {
            self.fill.count(mapping, row);
        }
        let (whose, print) = found.unwrap_or_else(|| {
            let key = self.key.customer_of(draft.brand_id, &draft.primary_id);
            let whose = CustomerRef { key, brand_id: draft.brand_id, known: self.known.find(key) };
            let print = if self.prints_all { self.prints.of(row) } else { RowFingerprint::NONE };
            (whose, print)
        });
        match self.made_by(&draft, whose) {
            Some(new) => RowClass::NewCustomerRow(whose, new),
            None => RowClass::Asks(whose, print, Box::new(draft.into_intent())),
        }
    }

    fn made_by(&self, draft: &Draft, whose: CustomerRef) -> Option<NewCustomerRow> {
        let makes_one = matches!(draft.operation, Operation::Sync | Operation::Create);
        let is_plain = draft.warnings.is_empty() && draft.addresses.len() <= ADDRESSES_MAX;
        if !self.passes_new || whose.known.is_some() || !makes_one || !is_plain {
            return None;
        }
        let (mut marks, addresses) = ([0; ADDRESSES_MAX], draft.addresses.len());
        if self.with_addresses {
            for (mark, address) in marks.iter_mut().zip(&draft.addresses) {
                let hash = self.key.address_of(address.channel(), &address.identity());
                *mark = shared_mark(hash, whose.brand_id);
            }
        }
        Some(NewCustomerRow { operation: draft.operation, marks, addresses })
    }
}

/// Which rows of a second reading matter: those of customers who have several,
/// and those with an address that several customers may have.
pub(crate) struct SecondReading<'a> {
    pub(crate) mapping: &'a Mapping,
    pub(crate) key: HashKey,
    pub(crate) several: HashSet<CustomerKey, BuildKeyHasher>,
    /// Sorted.
    pub(crate) suspects: Vec<u64>,
}

impl SecondReading<'_> {
    /// What the row asks for, if it matters.
    pub(crate) fn sort(&self, row: &Row) -> Option<(CustomerKey, Box<Intent>)> {
        let (brand_id, primary_id) = self.mapping.customer_of(row)?;
        let key = self.key.customer_of(brand_id, &primary_id);
        let has_several = self.several.contains(&key);
        if !has_several && self.suspects.is_empty() {
            return None;
        }
        let draft = self.mapping.draft(row).ok()??;
        let is_suspect = || {
            draft.addresses.iter().any(|address| {
                let hash = self.key.address_of(address.channel(), &address.identity());
                self.suspects.binary_search(&shared_mark(hash, brand_id)).is_ok()
            })
        };
        (has_several || is_suspect()).then(|| (key, Box::new(draft.into_intent())))
    }
}
