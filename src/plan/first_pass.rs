//! Decides every row of an export, without sending.
//!
//! Rows are read and mapped on one thread (`reading`) and decided on another,
//! in batches, with the look-ups of a batch sorted by key. Further rows of a
//! customer are decided in a second reading, each on top of those before it.
//! Only an export with such customers pays for that.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::context::RunContext;
use super::error::PlanError;
use super::missing::MissingSearch;
use super::plan::Plan;
use super::prepare::PreparedExport;
use super::reading::{ClassifiedRow, CustomerRef, FirstReading, IntentRow, RowClass, SecondReading, read};
use super::repeated_customer::RepeatedCustomer;
use crate::checkpoint::{Checkpoint, CustomerIndex, KnownBy, PresenceSet, Work};
use crate::guards::{
    Inspection, NewCustomers, NoticeLine, PlaceholderIds, RowOrder, SharedAddressSearch, TaggedAddress,
    brand_address_tag,
};
use crate::mapping::{Fill, Operation, RowIdentity};
use crate::omnidesk::{Call, CallKind};
use crate::reconcile::{
    Acked, BuildKeyHasher, CustomerKey, CustomerState, HashKey, HashedIntent, MissingAction, Outcome,
    RowFingerprint, hands_off, rehearse, set_fingerprint, superseded,
};
use crate::source::{Row, RowRef};

/// Fingerprints written at once.
const BATCH_FINGERPRINTS: usize = 8192;

/// Gets the decisions of a first pass.
pub(crate) trait PlanObserver {
    /// Whether the calls of this row are wanted, though it saves work if not.
    fn wants_row(&self, _row: u64) -> bool {
        false
    }
    /// Whether the state of every customer is wanted, and so every row's calls.
    fn wants_states(&self) -> bool {
        false
    }
    /// The calls of a row, if every one of them works.
    fn add_calls(&mut self, _at: RowRef, _calls: &[Call]) {}
    /// A row whose calls were added makes none after all.
    fn retract(&mut self, _row: u64) {}
    /// A customer's state after these calls.
    fn add_state(&mut self, _key: CustomerKey, _state: &CustomerState) -> Result<(), PlanError> {
        Ok(())
    }
    /// Called now and then, with the rows read so far: an error ends the pass.
    fn check(&self, _rows: u64) -> Result<(), PlanError> {
        Ok(())
    }
}

struct FirstPass<'a, O> {
    prepared: &'a PreparedExport,
    checkpoint: Option<&'a mut Checkpoint>,
    context: &'a RunContext,
    plan: Plan,
    inspection: Inspection,
    present: PresentCustomers<'a>,
    /// Customers with several rows.
    repeated: HashMap<CustomerKey, RepeatedCustomer, BuildKeyHasher>,
    /// The addresses of customers whom the checkpoint does not know, if it knows
    /// any: their tags, and the customers.
    new_tags: Vec<(u64, u64)>,
    missing: MissingSearch,
    /// Rows with an id that no two rows can have.
    doubtful: HashMap<CustomerKey, DoubtfulId, BuildKeyHasher>,
    /// Customers whose row needs no call and has a fingerprint that is not
    /// stored yet: the next night is quicker with it.
    fingerprints: Vec<(CustomerKey, CustomerState)>,
    observer: &'a mut O,
}

/// An id such as `0`: the only row with it is a customer's, several are nobody's.
enum DoubtfulId {
    Single(Box<IntentRow>, Option<Box<RowIdentity>>),
    Several,
}

/// The customers of decided rows so far.
struct PresentCustomers<'a> {
    index: &'a CustomerIndex,
    known: PresenceSet,
    /// Customers whom the checkpoint does not know: [`CustomerKey::short`].
    new: HashSet<u64, BuildKeyHasher>,
}

impl PresentCustomers<'_> {
    fn add(&mut self, customer: CustomerRef) -> RowOrder {
        let is_first = match customer.known {
            Some(known) => self.known.add(known),
            None => self.new.insert(customer.key.short()),
        };
        if is_first { RowOrder::First } else { RowOrder::Later }
    }

    fn contains(&self, key: CustomerKey) -> bool {
        let known = self.index.find(key);
        known.map_or_else(|| self.new.contains(&key.short()), |known| self.known.contains(known))
    }
}

/// Reads the export and decides every row. Fingerprints of rows that need no
/// call are stored in a checkpoint that can be written.
pub(crate) fn make_plan<O: PlanObserver>(
    prepared: &PreparedExport,
    checkpoint: Option<&mut Checkpoint>,
    context: &RunContext,
    search: SharedAddressSearch,
    observer: &mut O,
) -> Result<Plan, PlanError> {
    let key = context.policy.key;
    let inspection = Inspection::new(key, &prepared.keys, &context.baseline, search);
    let known_by = known_by(prepared, checkpoint.as_deref(), &key)?;
    let (index, known) = match &checkpoint {
        Some(checkpoint) => checkpoint.index(&context.baseline.vanished, search, &known_by)?,
        None => Default::default(),
    };
    let wants_states = observer.wants_states();
    let needs_calls = context.policy.full || wants_states;
    let mut pass = FirstPass {
        prepared,
        checkpoint,
        context,
        plan: Plan::default(),
        inspection,
        present: PresentCustomers { index: &index, known, new: HashSet::default() },
        repeated: HashMap::default(),
        new_tags: Vec::new(),
        missing: MissingSearch::default(),
        doubtful: HashMap::default(),
        fingerprints: Vec::new(),
        observer,
    };
    let mut fill = prepared.mapping.fill();
    let mut reading = FirstReading {
        prepared,
        key,
        fingerprinter: prepared.fingerprinter(&key),
        index: &index,
        known_by,
        // A row of a result file may have got another customer's id.
        skips_unchanged: !needs_calls && !prepared.is_result_file,
        // Rows that an earlier run has applied do not count as calls.
        skips_new: !needs_calls
            && pass.inspection.mapping_changes.is_empty()
            && context.rows_to_decide().is_none(),
        search,
        fingerprints_all: wants_states,
        fill: &mut fill,
        selected: BTreeSet::new(),
    };
    let end = read(prepared, |rows, batch| reading.classify(rows, batch), |batch| pass.first_reading(batch))?;
    (pass.plan.absent_keys, pass.plan.skipped) = (end.absent_keys, end.skipped);
    pass.plan.check_ids(prepared)?;
    if let Some(selected) = &prepared.selected {
        selected.check_present(&reading.selected, &prepared.export.name())?;
    }
    pass.decide_doubtful()?;
    pass.write_fingerprints()?;
    pass.write_new_fingerprints(&reading.known_by)?;
    pass.find_new_ids();
    pass.read_again()?;
    pass.finish(&fill)
}

/// By what unchanged rows are known. Fingerprints are those of the mapping with which
/// the last run over the whole base has read its export.
fn known_by(
    prepared: &PreparedExport,
    checkpoint: Option<&Checkpoint>,
    key: &HashKey,
) -> Result<KnownBy, PlanError> {
    let last = checkpoint.map(Checkpoint::last_mapping).transpose()?.flatten();
    Ok(match last {
        Some(last) if last != prepared.mapping_version => {
            KnownBy::Content(prepared.mapping.changing_fields().map(|name| key.field(name)).collect())
        }
        _ => KnownBy::Fingerprint,
    })
}

impl<O: PlanObserver> FirstPass<'_, O> {
    fn finish(self, fill: &Fill) -> Result<Plan, PlanError> {
        let Self { prepared, mut plan, inspection, repeated, present, missing, checkpoint, .. } = self;
        prepared.export.check_unchanged()?;
        let read = plan.rows() + plan.unselected_rows;
        if read < prepared.options.limit.unwrap_or(u64::MAX) {
            prepared.export.check_ends(|offset| plan.worklist.entry_before(offset))?;
        }
        for customer in repeated.values().filter(|customer| customer.is_without_address) {
            plan.effects.without_address -= u64::from(customer.rows.has_addresses());
        }
        let repeated = repeated.iter().map(|(key, customer)| (*key, &customer.rows, customer.state.acked()));
        plan.effects.findings = inspection.finish(fill, &prepared.keys, repeated);
        if prepared.missing != MissingAction::Ignore {
            let (checkpoint, has_own_operations) = (checkpoint.as_deref(), plan.has_own_operations);
            let is_present = |key| present.contains(key);
            plan.set_missing(missing.finish(prepared, checkpoint, has_own_operations, is_present)?);
        }
        plan.effects.purges.all = plan.calls(CallKind::Purge);
        let lines = plan.effects.lines(prepared.same_id, prepared.moved_addresses);
        // Rows that fail have their cause in the run's own list.
        let skipped = plan.hands_off_lines().filter(|(outcome, _)| *outcome == Outcome::Skipped);
        let lines: Vec<NoticeLine> = lines.into_iter().chain(skipped.map(|(_, line)| line)).collect();
        plan.effects.findings.profile.notices.extend(lines);
        if prepared.is_result_file {
            // Such rows were rejected before, and are still to be fixed.
            plan.effects.placeholder_ids = PlaceholderIds::default();
        }
        Ok(plan)
    }

    fn first_reading(&mut self, batch: Vec<ClassifiedRow>) -> Result<(), PlanError> {
        self.observer.check(self.plan.rows() + self.plan.unselected_rows)?;
        let mut states = self.look_up(&batch)?.into_iter();
        for ClassifiedRow { at, class } in batch {
            self.plan.add_row(at, &class);
            match class {
                RowClass::Unselected => {}
                RowClass::Unchanged(customer) => self.add_unchanged(at, customer)?,
                RowClass::New(customer, new) => {
                    self.plan.add_request(new.operation, customer.brand_id, &[]);
                    let tags = new.address_tags();
                    let addresses = tags.len() as u64;
                    if self.add_customer(at, customer, tags)? == RowOrder::First {
                        self.decide_new(at, customer, addresses)?;
                    }
                }
                RowClass::Intent(row) => {
                    let state = states.next().unwrap_or_default();
                    self.add_intent(&row, state)?;
                }
                RowClass::Doubtful(row, presence) => self.add_doubtful(row, presence),
                RowClass::Skipped(presence) => {
                    self.missing.add_row(at, presence.as_deref(), &self.context.policy.key);
                    self.plan.decide(at, Outcome::Skipped, &[]);
                }
                RowClass::Rejected(rejection, presence) => {
                    self.missing.add_row(at, presence.as_deref(), &self.context.policy.key);
                    self.plan.reject(at, *rejection);
                }
            }
        }
        if self.fingerprints.len() >= BATCH_FINGERPRINTS { self.write_fingerprints() } else { Ok(()) }
    }

    fn add_intent(&mut self, row: &IntentRow, state: CustomerState) -> Result<(), PlanError> {
        let IntentRow { at, customer, ref intent, .. } = *row;
        self.plan.add_request(intent.operation, customer.brand_id, &intent.warnings);
        let hashes = intent.address_hashes().iter();
        let tags: Vec<u64> = hashes.map(|hash| brand_address_tag(*hash, customer.brand_id)).collect();
        if self.add_customer(at, customer, tags.into_iter())? == RowOrder::First {
            self.decide_first(row, state)?;
        }
        Ok(())
    }

    /// Keeps the first row of an id that no two rows can have, and rejects it with
    /// the second.
    fn add_doubtful(&mut self, row: Box<IntentRow>, presence: Option<Box<RowIdentity>>) {
        let key = row.customer.key;
        match self.doubtful.insert(key, DoubtfulId::Several) {
            None => drop(self.doubtful.insert(key, DoubtfulId::Single(row, presence))),
            Some(DoubtfulId::Single(first, first_presence)) => {
                self.reject_doubtful(&first, first_presence.as_deref());
                self.reject_doubtful(&row, presence.as_deref());
            }
            Some(DoubtfulId::Several) => self.reject_doubtful(&row, presence.as_deref()),
        }
    }

    fn reject_doubtful(&mut self, row: &IntentRow, presence: Option<&RowIdentity>) {
        self.missing.add_row(row.at, presence, &self.context.policy.key);
        let id = row.intent.customer.primary_id.as_str();
        self.plan.reject(row.at, *self.prepared.mapping.reject_placeholder_of_many(id));
    }

    /// Decides the rows that turned out to be the only ones with their id.
    fn decide_doubtful(&mut self) -> Result<(), PlanError> {
        let single = self.doubtful.extract_if(|_, found| matches!(found, DoubtfulId::Single(..)));
        let mut rows: Vec<_> = single
            .filter_map(|(_, found)| match found {
                DoubtfulId::Single(row, _) => Some(row),
                DoubtfulId::Several => None,
            })
            .collect();
        rows.sort_unstable_by_key(|row| row.at.number);
        for row in rows {
            let state = match &self.checkpoint {
                Some(checkpoint) if row.customer.known.is_some() => {
                    checkpoint.lookups().state(row.customer.key)?
                }
                _ => CustomerState::Unknown,
            };
            self.add_intent(&row, state)?;
        }
        Ok(())
    }

    fn add_unchanged(&mut self, at: RowRef, customer: CustomerRef) -> Result<(), PlanError> {
        self.plan.add_request(Operation::Sync, customer.brand_id, &[]);
        self.missing.add_brand(customer.brand_id);
        let Some(known) = customer.known else { return Ok(()) };
        if self.present.known.add_unchanged(known, customer.brand_id) {
            self.plan.effects.customers += 1;
            self.plan.decide(at, Outcome::Unchanged, &[]);
            return Ok(());
        }
        let tags = self.present.known.address_tags(known, customer.brand_id);
        self.inspection.shared_addresses.add_row(customer.key, tags, RowOrder::Later);
        self.add_repeated(at, customer)
    }

    /// Adds a row's customer. Rows that are not the customer's first wait for
    /// the second reading.
    fn add_customer(
        &mut self,
        at: RowRef,
        customer: CustomerRef,
        tags: impl Iterator<Item = u64> + Clone,
    ) -> Result<RowOrder, PlanError> {
        self.missing.add_brand(customer.brand_id);
        let order = self.present.add(customer);
        self.plan.effects.customers += u64::from(order == RowOrder::First);
        if !self.present.index.is_empty() && customer.known.is_none() && order == RowOrder::First {
            self.new_tags.extend(tags.clone().map(|tag| (tag, customer.key.short())));
        }
        self.inspection.shared_addresses.add_row(customer.key, tags, order);
        if order == RowOrder::Later {
            self.add_repeated(at, customer)?;
        }
        Ok(order)
    }

    fn add_repeated(&mut self, at: RowRef, customer: CustomerRef) -> Result<(), PlanError> {
        if self.repeated.contains_key(&customer.key) {
            return Ok(());
        }
        let state = match (&self.checkpoint, customer.known) {
            (Some(checkpoint), Some(_)) => checkpoint.lookups().state(customer.key)?,
            _ => CustomerState::Unknown,
        };
        self.repeated.insert(customer.key, RepeatedCustomer::new(at, state));
        Ok(())
    }

    /// A row that creates a customer. It is read again only if its calls are
    /// wanted.
    fn decide_new(&mut self, at: RowRef, customer: CustomerRef, addresses: u64) -> Result<(), PlanError> {
        let is_wanted = self.observer.wants_states() || self.observer.wants_row(at.number);
        if !is_wanted && !self.inspection.vanished.has_reported(customer.key) {
            self.plan.decide_new(at, addresses);
            return Ok(());
        }
        let export = &self.prepared.export;
        let mut row = Row::default();
        export.rows_from(at).read(&mut row).map_err(|source| export.io_error(source))?;
        let Ok(Some(intent)) = self.prepared.map(&row) else {
            return Err(PlanError::Bug(format!("row {} is not what it was", at.number)));
        };
        let intent = HashedIntent::of_customer(intent, customer.key, &self.context.policy.key);
        let row = IntentRow { at, customer, fingerprint: RowFingerprint::NONE, intent };
        self.decide_first(&row, CustomerState::Unknown)
    }

    /// Finds new customers with the addresses of known customers who are absent.
    fn find_new_ids(&mut self) {
        let mut tags = std::mem::take(&mut self.new_tags);
        let distinct =
            |customers: &mut dyn Iterator<Item = u64>| customers.collect::<BTreeSet<_>>().len() as u64;
        let all = distinct(&mut tags.iter().map(|(_, customer)| *customer));
        // An address that many have, such as a switchboard's, shows nothing.
        tags.sort_unstable();
        let unique: Vec<(u64, u64)> = tags
            .chunk_by(|one, other| one.0 == other.0)
            .filter(|same| same.len() == 1)
            .map(|same| same[0])
            .collect();
        let find = |tag: u64| unique.binary_search_by_key(&tag, |(tag, _)| *tag).ok();
        let mut holders = vec![0_u32; unique.len()];
        if !unique.is_empty() {
            for brand in &self.plan.effects.brands {
                self.present.known.absent_tags(*brand).filter_map(find).for_each(|at| holders[at] += 1);
            }
        }
        let held_once = unique.iter().zip(&holders).filter(|(_, holders)| **holders == 1);
        let look_known = distinct(&mut held_once.map(|((_, customer), _)| *customer));
        self.plan.effects.new_customers = NewCustomers { all, look_known };
    }

    fn read_again(&mut self) -> Result<(), PlanError> {
        let PresentCustomers { index, known, .. } = &self.present;
        // A part says nothing about customers who are not in it.
        let brands = self.plan.effects.brands.iter().filter(|_| !self.prepared.is_part());
        let absent = brands.flat_map(|brand| known.absent_tags(*brand));
        let absent = absent.map(|tag| TaggedAddress { tag, present: None });
        let others = known.unchanged(index).chain(absent);
        let customers = self.plan.effects.customers;
        let holders = self.inspection.shared_addresses.find_holders(customers, others);
        if holders.is_empty() && self.repeated.is_empty() {
            return Ok(());
        }
        let second = SecondReading {
            prepared: self.prepared,
            key: self.context.policy.key,
            repeated: self.repeated.keys().copied().collect(),
            rejected: self.doubtful.keys().copied().collect(),
            holders,
        };
        let classify = |rows: &mut [Row], batch: &mut Vec<_>| {
            batch.extend(rows.iter().filter_map(|row| second.map(row)));
        };
        read(self.prepared, classify, |batch| self.second_reading(batch))?;
        self.retract_back_and_forth();
        Ok(())
    }

    /// A customer whose rows contradict each other, and who in the end holds
    /// what is held now, gets no call: each night would change it and back.
    fn retract_back_and_forth(&mut self) {
        if self.context.policy.full || self.context.rows_to_decide().is_some() {
            return;
        }
        for customer in self.repeated.values() {
            for (row, calls) in customer.rows_back_and_forth() {
                self.plan.retract(*row, calls);
                self.observer.retract(*row);
            }
        }
    }

    /// Customers with several rows, each row on top of those before; of the
    /// others only shared addresses.
    fn second_reading(&mut self, batch: Vec<IntentRow>) -> Result<(), PlanError> {
        self.observer.check(self.plan.rows() + self.plan.unselected_rows)?;
        let mut repeated = std::mem::take(&mut self.repeated);
        for row in batch {
            self.inspection.name_shared(row.customer.key, &row.intent);
            let Some(customer) = repeated.get_mut(&row.customer.key) else { continue };
            self.inspection.add_repeated(&mut customer.rows, &row.intent);
            let calls = if row.at.number >= customer.later_from {
                self.decide_later(&row, customer)?
            } else {
                self.rehearse_again(&row, &mut customer.state)
            };
            customer.is_without_address |= row.at.number < customer.later_from
                && calls.contains(&CallKind::Create)
                && row.intent.addresses.is_empty();
            // A run that tries rows again does what the run before was allowed to do.
            let is_judged = self.context.policy.allow_recreate || self.context.retry.is_some();
            if let Some((purge, sync)) = customer.add_row(row.at, row.intent.operation, &calls)
                && !is_judged
            {
                self.plan.add_recreated(purge, sync);
            }
        }
        self.repeated = repeated;
        Ok(())
    }

    /// Decides the first row of a customer.
    fn decide_first(&mut self, row: &IntentRow, mut state: CustomerState) -> Result<(), PlanError> {
        let before = state.acked().filter(|_| row.customer.known.is_some()).cloned();
        let Some(calls) = self.decide(row, &mut state) else { return Ok(()) };
        if let Some(before) = before.filter(|_| !calls.is_empty()) {
            self.inspection.add_change(&row.intent, &before);
        }
        if calls.iter().any(|call| call.kind() == CallKind::Create) && row.intent.addresses.is_empty() {
            self.plan.add_without_address(row.at);
        }
        self.inspection.add_decision(row.customer.key, &row.intent, &calls, state.acked());
        if calls.is_empty() {
            self.add_fingerprint(row, &state);
            return Ok(());
        }
        if self.observer.wants_states() {
            set_fingerprint(&row.intent, &mut state, row.fingerprint);
        }
        self.observer.add_state(row.customer.key, &state)
    }

    /// Decides a later row of a customer. Behind a row with calls it is visited
    /// whatever is decided for it here: if those fail, it needs its own.
    fn decide_later(
        &mut self,
        row: &IntentRow,
        customer: &mut RepeatedCustomer,
    ) -> Result<Vec<CallKind>, PlanError> {
        self.plan.repeated_rows += 1;
        let Some(calls) = self.decide(row, &mut customer.state) else { return Ok(Vec::new()) };
        if customer.has_calls {
            self.plan.worklist.set(row.at.number, Work::Calls);
        } else {
            self.inspection.add_decision(row.customer.key, &row.intent, &calls, customer.state.acked());
        }
        if !calls.is_empty() {
            self.observer.add_state(row.customer.key, &customer.state)?;
        }
        Ok(calls.iter().map(Call::kind).collect())
    }

    /// The calls of a row that was decided in the first reading.
    fn rehearse_again(&self, row: &IntentRow, state: &mut CustomerState) -> Vec<CallKind> {
        if !self.is_to_decide(row.at) {
            return Vec::new();
        }
        let calls = rehearse(&row.intent, state, &self.context.policy);
        calls.map(|(calls, _)| calls.iter().map(Call::kind).collect()).unwrap_or_default()
    }

    /// The calls of a row, taken into the plan. `None` if it is rejected or was
    /// applied by an earlier run.
    fn decide(&mut self, row: &IntentRow, state: &mut CustomerState) -> Option<Vec<Call>> {
        let policy = &self.context.policy;
        let hands_off = hands_off(&row.intent, state, policy);
        if !self.is_to_decide(row.at) {
            match hands_off {
                Some((cause, Outcome::Skipped)) => self.plan.add_hands_off(row.at, cause, Outcome::Skipped),
                _ => self.plan.decide(row.at, Outcome::Unchanged, &[]),
            }
            return None;
        }
        // Only such rows can come after what has superseded them.
        if row.intent.origin.is_some() || self.context.retry.is_some() {
            let superseded = superseded(&row.intent, state, policy);
            superseded.iter().for_each(|superseded| self.inspection.add_superseded(row.at, superseded));
        }
        if let Some((cause, outcome)) = hands_off {
            self.plan.add_hands_off(row.at, cause, outcome);
            return Some(Vec::new());
        }
        match rehearse(&row.intent, state, policy) {
            Ok((calls, outcome)) => {
                self.plan.decide(row.at, outcome, &calls);
                self.observer.add_calls(row.at, &calls);
                Some(calls)
            }
            Err(rejection) => {
                self.plan.reject(row.at, *rejection);
                None
            }
        }
    }

    fn add_fingerprint(&mut self, row: &IntentRow, state: &CustomerState) {
        let fingerprint = row.fingerprint;
        let is_writable = self.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.is_writable());
        if let Some(acked) = state.acked()
            && fingerprint != RowFingerprint::NONE
            && acked.fingerprint != fingerprint
            && is_writable
            && acked.is_all_of(&row.intent)
        {
            let state = CustomerState::Acknowledged(Acked { fingerprint, ..acked.clone() });
            self.fingerprints.push((row.customer.key, state));
        }
    }

    fn write_fingerprints(&mut self) -> Result<(), PlanError> {
        let Some(checkpoint) = self.checkpoint.as_mut().filter(|_| !self.fingerprints.is_empty()) else {
            return Ok(());
        };
        let mut batch = checkpoint.batch()?;
        self.fingerprints.drain(..).try_for_each(|(key, state)| batch.set_state(key, &state))?;
        Ok(batch.commit_states()?)
    }

    /// The same for rows that were known by their customers' content.
    fn write_new_fingerprints(&mut self, known_by: &KnownBy) -> Result<(), PlanError> {
        let checkpoint = self.checkpoint.as_mut().filter(|checkpoint| checkpoint.is_writable());
        let Some(checkpoint) = checkpoint.filter(|_| *known_by != KnownBy::Fingerprint) else {
            return Ok(());
        };
        Ok(checkpoint.write_fingerprints(self.present.index, &self.present.known)?)
    }

    fn is_to_decide(&self, at: RowRef) -> bool {
        self.context.rows_to_decide().is_none_or(|rows| rows.contains(&at.number))
    }

    /// The states of the customers of rows with an intent, in the order of the rows.
    fn look_up(&self, batch: &[ClassifiedRow]) -> Result<Vec<CustomerState>, PlanError> {
        let wanted = |row: &ClassifiedRow| match &row.class {
            RowClass::Intent(row) => Some(row.customer.known.map(|_| row.customer.key)),
            _ => None,
        };
        let keys: Vec<Option<CustomerKey>> = batch.iter().filter_map(wanted).collect();
        match &self.checkpoint {
            Some(checkpoint) if !keys.is_empty() => Ok(checkpoint.lookups().states(&keys)?),
            _ => Ok(vec![CustomerState::Unknown; keys.len()]),
        }
    }
}
