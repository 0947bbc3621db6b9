//! Reading an export for decisions: rows are read and mapped on a thread of
//! their own and handed over in batches.
//!
//! Most rows of most nights are unchanged, and most rows of a first load create
//! a customer. Neither needs a copy of anything in the row. An unchanged row is
//! known by its fingerprint. Of a row that creates a customer, it is enough that
//! all of it can be sent, and in how many calls.

use std::collections::{BTreeSet, HashSet};
use std::sync::mpsc::sync_channel;
use std::thread;

use super::error::PlanError;
use super::prepare::PreparedExport;
use crate::checkpoint::{CustomerIndex, KnownBy};
use crate::guards::{SharedAddressSearch, brand_address_tag};
use crate::mapping::{Draft, Fill, Operation, Rejection, RowIdentity, is_placeholder_of_many};
use crate::reconcile::{
    BuildKeyHasher, CustomerKey, HashKey, HashedIntent, MissingAction, RowFingerprint, RowFingerprinter,
    content_asked_for,
};
use crate::source::{Row, RowRef, Rows, Skipped, SourceError};

/// Rows handed over at once.
const BATCH_ROWS: usize = 1024;
/// Batches on their way.
const BATCHES_AHEAD: usize = 4;
/// Rows classified together.
const ROWS_AT_ONCE: usize = 64;
/// A new customer with more addresses is handed over as a whole row.
const ADDRESSES_MAX: usize = 6;

/// A row that was read.
pub(super) struct ClassifiedRow {
    pub(super) at: RowRef,
    pub(super) class: RowClass,
}

pub(super) enum RowClass {
    /// The row that its customer was acknowledged with.
    Unchanged(CustomerRef),
    /// It creates a customer whom the checkpoint does not know.
    New(CustomerRef, NewCustomerRow),
    /// It is decided by its customer's state.
    Intent(Box<IntentRow>),
    /// A row with an id that no two rows can have.
    Doubtful(Box<IntentRow>, Option<Box<RowIdentity>>),
    /// Operation `skip`. Its customer is given if `[missing]` asks.
    Skipped(Option<Box<RowIdentity>>),
    /// Likewise.
    Rejected(Box<Rejection>, Option<Box<RowIdentity>>),
    /// It is of a customer whom `--only` does not select.
    Unselected,
}

/// A row that is decided by its customer's state.
pub(super) struct IntentRow {
    pub(super) at: RowRef,
    pub(super) customer: CustomerRef,
    /// [`RowFingerprint::NONE`] if it is not needed.
    pub(super) fingerprint: RowFingerprint,
    pub(super) intent: HashedIntent,
}

impl IntentRow {
    fn new(
        prepared: &PreparedExport,
        row: &Row,
        draft: Draft,
        (customer, fingerprint): (CustomerRef, RowFingerprint),
        key: &HashKey,
    ) -> Self {
        let mut intent = draft.into_intent();
        intent.origin = prepared.origin(row);
        let intent = HashedIntent::of_customer(intent, customer.key, key);
        Self { at: row.at(), customer, fingerprint, intent }
    }
}

/// The customer of a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct CustomerRef {
    pub(super) key: CustomerKey,
    pub(super) brand_id: u64,
    /// The customer's number in the index.
    pub(super) known: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct NewCustomerRow {
    pub(super) operation: Operation,
    tags: [u64; ADDRESSES_MAX],
    addresses: usize,
}

impl NewCustomerRow {
    /// The tags of its addresses, as many as it has.
    pub(super) fn address_tags(&self) -> impl ExactSizeIterator<Item = u64> + Clone {
        self.tags[..self.addresses].iter().copied()
    }
}

/// What is known once the export is read.
pub(super) struct ReadingEnd {
    /// The mapped keys that no row has.
    pub(super) absent_keys: Vec<String>,
    pub(super) skipped: Skipped,
}

/// Reads the export on a thread of its own. `classify` adds there what `take`
/// gets in batches.
pub(super) fn read<T: Send>(
    prepared: &PreparedExport,
    mut classify: impl FnMut(&mut [Row], &mut Vec<T>) + Send,
    mut take: impl FnMut(Vec<T>) -> Result<(), PlanError>,
) -> Result<ReadingEnd, PlanError> {
    let (sender, receiver) = sync_channel(BATCHES_AHEAD);
    thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut rows = prepared.export.rows();
            let mut buffer = vec![Row::default(); ROWS_AT_ONCE];
            let mut batch = Vec::with_capacity(BATCH_ROWS);
            for at in 1.. {
                let read = read_rows(prepared, &mut rows, &mut buffer)?;
                classify(&mut buffer[..read], &mut batch);
                if read < ROWS_AT_ONCE {
                    break;
                }
                // Also an empty batch, now and then: the receiver may want to stop.
                if at % (BATCH_ROWS / ROWS_AT_ONCE) == 0 {
                    let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH_ROWS));
                    if sender.send(full).is_err() {
                        break;
                    }
                }
            }
            let _ = sender.send(batch);
            Ok::<_, SourceError>(ReadingEnd { absent_keys: rows.absent_keys(), skipped: rows.skipped() })
        });
        let taken = receiver.iter().try_for_each(&mut take);
        drop(receiver);
        let end = reader.join().map_err(|_| PlanError::Bug("the reading thread panicked".to_owned()))??;
        taken.map(|()| end)
    })
}

/// Fills the buffer with rows, as far as there are any.
fn read_rows(prepared: &PreparedExport, rows: &mut Rows, buffer: &mut [Row]) -> Result<usize, SourceError> {
    let limit = prepared.options.limit.unwrap_or(u64::MAX);
    for (read, row) in buffer.iter_mut().enumerate() {
        let has_row = rows.read(row).map_err(|source| prepared.export.io_error(source))?;
        if !has_row || row.at().number > limit {
            return Ok(read);
        }
    }
    Ok(buffer.len())
}

/// Classifies the rows of a first reading.
pub(super) struct FirstReading<'a> {
    pub(super) prepared: &'a PreparedExport,
    pub(super) key: HashKey,
    pub(super) fingerprinter: RowFingerprinter,
    pub(super) index: &'a CustomerIndex,
    /// Whether an unchanged row may be handed over without its values.
    pub(super) skips_unchanged: bool,
    /// By what such a row is known.
    pub(super) known_by: KnownBy,
    /// Whether a row that creates a customer may be handed over without its values.
    pub(super) skips_new: bool,
    pub(super) search: SharedAddressSearch,
    /// Whether the fingerprint of every row is wanted, not only of known customers.
    pub(super) fingerprints_all: bool,
    /// How full the mapped columns are.
    pub(super) fill: &'a mut Fill,
    /// The ids of selected customers with a row so far.
    pub(super) selected: BTreeSet<String>,
}

impl FirstReading<'_> {
    /// All customers of these rows are found in one go, so that the memory's
    /// answers are waited for together.
    pub(super) fn classify(&mut self, rows: &mut [Row], batch: &mut Vec<ClassifiedRow>) {
        let mut found = [None; ROWS_AT_ONCE];
        if !self.index.is_empty() {
            for (found, row) in found.iter_mut().zip(&*rows) {
                *found = self.customer_of(row).map(|customer| (customer, self.fingerprint(row)));
            }
            for (customer, _) in found.iter_mut().flatten() {
                customer.known = self.index.find(customer.key);
            }
        }
        batch.extend(rows.iter_mut().zip(found).map(|(row, found)| {
            let class = match found {
                _ if !self.selects(row) => RowClass::Unselected,
                Some((customer, fingerprint)) if self.is_unchanged(customer, fingerprint) => {
                    self.fill.count(&self.prepared.mapping, row);
                    RowClass::Unchanged(customer)
                }
                found => {
                    row.check_text();
                    self.map(row, found)
                }
            };
            ClassifiedRow { at: row.at(), class }
        }));
    }

    fn selects(&mut self, row: &Row) -> bool {
        if self.prepared.selected.is_none() {
            return true;
        }
        let id = self.prepared.selected_id(row);
        id.map(|id| self.selected.insert(id.into_owned())).is_some()
    }

    fn customer_of(&self, row: &Row) -> Option<CustomerRef> {
        let (brand_id, primary_id) = self.prepared.mapping.customer_of(row)?;
        // Such a row is compared with others first.
        if is_placeholder_of_many(&primary_id) {
            return None;
        }
        Some(CustomerRef { key: self.key.customer_id(brand_id, &primary_id), brand_id, known: None })
    }

    fn fingerprint(&mut self, row: &Row) -> RowFingerprint {
        self.fingerprinter.fingerprint(self.prepared.mapping.deciding_cells(row))
    }

    fn is_unchanged(&self, customer: CustomerRef, fingerprint: RowFingerprint) -> bool {
        self.skips_unchanged
            && self.known_by == KnownBy::Fingerprint
            && customer.known.is_some_and(|known| self.index.has(known, fingerprint))
    }

    /// The same of a row that is mapped.
    fn asks_for_nothing_new(
        &self,
        draft: &Draft,
        customer: CustomerRef,
        fingerprint: RowFingerprint,
    ) -> bool {
        let holds = |known| self.index.holds(known, content_asked_for(draft, &self.key), fingerprint);
        self.skips_unchanged && self.known_by != KnownBy::Fingerprint && customer.known.is_some_and(holds)
    }

    fn map(&mut self, row: &Row, found: Option<(CustomerRef, RowFingerprint)>) -> RowClass {
        let mapping = &*self.prepared.mapping;
        let presence = || {
            let is_wanted = self.prepared.missing != MissingAction::Ignore;
            is_wanted.then(|| Box::new(mapping.identify(row)))
        };
        let draft = match self.prepared.draft(row) {
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
        let (customer, fingerprint) = found.unwrap_or_else(|| {
            let key = self.key.customer_id(draft.brand_id, &draft.primary_id);
            let customer = CustomerRef { key, brand_id: draft.brand_id, known: self.index.find(key) };
            let fingerprint =
                if self.fingerprints_all { self.fingerprint(row) } else { RowFingerprint::NONE };
            (customer, fingerprint)
        });
        if is_placeholder_of_many(&draft.primary_id) {
            let row = IntentRow::new(self.prepared, row, draft, (customer, fingerprint), &self.key);
            return RowClass::Doubtful(Box::new(row), presence());
        }
        if self.asks_for_nothing_new(&draft, customer, fingerprint) {
            return RowClass::Unchanged(customer);
        }
        match self.new_customer(&draft, customer) {
            Some(new) => RowClass::New(customer, new),
            None => {
                let row = IntentRow::new(self.prepared, row, draft, (customer, fingerprint), &self.key);
                RowClass::Intent(Box::new(row))
            }
        }
    }

    fn new_customer(&self, draft: &Draft, customer: CustomerRef) -> Option<NewCustomerRow> {
        let creates = matches!(draft.operation, Operation::Sync | Operation::Create);
        let is_plain = draft.warnings.is_empty() && draft.addresses.len() <= ADDRESSES_MAX;
        if !self.skips_new || customer.known.is_some() || !creates || !is_plain {
            return None;
        }
        let (mut tags, addresses) = ([0; ADDRESSES_MAX], draft.addresses.len());
        if self.search.is_active() {
            for (tag, address) in tags.iter_mut().zip(&draft.addresses) {
                let hash = self.key.address_identity(address.channel(), &address.identity());
                *tag = brand_address_tag(hash, customer.brand_id);
            }
        }
        Some(NewCustomerRow { operation: draft.operation, tags, addresses })
    }
}

/// Which rows of a second reading matter: those of customers with several rows,
/// or with an address that others may have, too.
pub(super) struct SecondReading<'a> {
    pub(super) prepared: &'a PreparedExport,
    pub(super) key: HashKey,
    pub(super) repeated: HashSet<CustomerKey, BuildKeyHasher>,
    /// Customers whose rows are rejected, since their id stands for nobody.
    pub(super) rejected: HashSet<CustomerKey, BuildKeyHasher>,
    /// [`CustomerKey::short`].
    pub(super) holders: HashSet<u64, BuildKeyHasher>,
}

impl SecondReading<'_> {
    /// What the row asks for, if it matters.
    pub(super) fn map(&self, row: &Row) -> Option<IntentRow> {
        let (brand_id, primary_id) = self.prepared.mapping.customer_of(row)?;
        let key = self.key.customer_id(brand_id, &primary_id);
        let matters = self.repeated.contains(&key) || self.holders.contains(&key.short());
        if !matters || self.rejected.contains(&key) || !self.prepared.selects(row) {
            return None;
        }
        let draft = self.prepared.draft(row).ok()??;
        let customer = CustomerRef { key, brand_id, known: None };
        let known = (customer, RowFingerprint::NONE);
        Some(IntentRow::new(self.prepared, row, draft, known, &self.key))
    }
}
