//! The first pass: reads the whole export and decides, without sending.
//!
//! Rows are read and mapped on one thread (`reading`) and decided on another,
//! in batches, with the look-ups of a batch sorted by key. The rows of a
//! customer who has several are decided in a second reading, each on top of
//! those before it, which only an export with such customers pays for.

use super::error::PlanError;
use std::collections::{BTreeSet, HashMap, HashSet};

use super::missing::PresenceTracker;
use super::prepare::PreparedExport;
use super::reading::{ClassifiedRow, CustomerRef, FirstReading, RowClass, SecondReading, read};
use super::{NewCustomers, Plan};
use crate::checkpoint::Work;
use crate::checkpoint::{Checkpoint, CustomerIndex, PresenceSet};
use crate::config::MissingAction;
use crate::guards::{Baseline, Inspection, SharedAddressesPolicy, shared_mark};
use crate::mapping::{Intent, Rejection};
use crate::omnidesk::{Call, CallKind};
use crate::reconcile::{
    Acked, BuildKeyHasher, CustomerKey, Outcome, Policy, RowFingerprint, Situation, asks_nothing_of,
    note_print, rehearse,
};
use crate::source::{Row, RowRef};

/// Prints written at once.
const BATCH_PRINTS: usize = 8192;

/// What a first pass is asked.
pub(crate) struct PlanRequest<'a> {
    pub(crate) policy: &'a Policy,
    /// Only these rows are decided; the others were applied by an earlier run.
    pub(crate) only: Option<&'a BTreeSet<u64>>,
    pub(crate) past: &'a Baseline,
    pub(crate) shared: SharedAddressesPolicy,
    /// See [`Inspection::new`].
    pub(crate) names_all: bool,
}

/// Looks at what a decision was.
pub(crate) trait PlanObserver {
    /// Whether the calls of this row are to be seen, though it saves work if not.
    fn wants(&self, _row: u64) -> bool {
        false
    }
    /// Whether it is to be told of every customer, and so those of every row.
    fn wants_all(&self) -> bool {
        false
    }
    /// The calls of a row, if every one of them works.
    fn calls(&mut self, at: RowRef, calls: &[Call], outcome: Outcome);
    /// A row whose calls were shown makes none after all.
    fn taken_back(&mut self, _row: u64) {}
    /// A refused row.
    fn rejected(&mut self, at: RowRef, rejection: &Rejection);
    /// What a customer will have been told then.
    fn told(&mut self, key: CustomerKey, told: Option<&Acked>) -> Result<(), PlanError>;
    /// Asked now and then: an error ends the pass.
    fn check(&self) -> Result<(), PlanError> {
        Ok(())
    }
}

struct FirstPass<'a, W> {
    prepared: &'a PreparedExport,
    checkpoint: Option<&'a mut Checkpoint>,
    question: &'a PlanRequest<'a>,
    survey: Plan,
    look: Inspection,
    people: CustomersPresent,
    /// Customers with several rows, and what they will have been told.
    several: HashMap<CustomerKey, RepeatedCustomer, BuildKeyHasher>,
    /// Rows of such customers that are not their first.
    later: BTreeSet<u64>,
    /// The addresses of customers whom the checkpoint does not know, if it knows
    /// any: their marks, and whose they are.
    new_marks: Vec<(u64, u64)>,
    knows_any: bool,
    /// Who else is there, and of which brands.
    attendance: PresenceTracker,
    /// Customers whose row asks for nothing, and has a print that they were
    /// not left with: to be noted, so that the next night is quick.
    prints: Vec<(CustomerKey, Acked)>,
    watcher: &'a mut W,
}

/// Who was met so far.
struct CustomersPresent {
    met: PresenceSet,
    /// Those whom the checkpoint does not know: [`CustomerKey::short`].
    new: HashSet<u64, BuildKeyHasher>,
}

impl CustomersPresent {
    /// Meets a customer; whether for the first time.
    fn meet(&mut self, whose: CustomerRef) -> bool {
        match whose.known {
            Some(known) => self.met.meet(known),
            None => self.new.insert(whose.key.short()),
        }
    }

    fn has(&self, known: &CustomerIndex, key: CustomerKey) -> bool {
        known.find(key).map_or_else(|| self.new.contains(&key.short()), |known| self.met.has(known))
    }
}

#[derive(Default)]
struct RepeatedCustomer {
    loaded: bool,
    told: Option<Acked>,
    has_calls: bool,
    /// What the customer holds now, and the rows to be visited, with whether
    /// each makes an update: as long as all of them say how the customer is to
    /// be, and make no other call.
    to_and_fro: Option<(Acked, Vec<(u64, bool)>)>,
    /// Whether the checkpoint knows the customer; one who was purged can be so
    /// again by `--full`.
    is_known: bool,
    /// The row that would purge such a customer.
    purged_by: Option<RowRef>,
}

impl RepeatedCustomer {
    fn begin(&mut self, told: Option<Acked>) {
        self.is_known = told.is_some();
        self.to_and_fro = told.clone().map(|told| (told, Vec::new()));
        (self.told, self.loaded) = (told, true);
    }

    /// Takes in what a row was decided to do; the rows that purge the customer
    /// and bring it back, if this is the second of them.
    fn take(&mut self, intent: &Intent, calls: &[CallKind]) -> Option<(RowRef, RowRef)> {
        use crate::mapping::Operation::{Create, Purge, Sync};
        let at = intent.at;
        self.has_calls |= !calls.is_empty();
        match (&mut self.to_and_fro, intent.operation, calls) {
            (Some((_, rows)), Sync | Create, [] | [CallKind::Update]) if self.has_calls => {
                rows.push((at.number, !calls.is_empty()));
            }
            (Some(_), Sync | Create, []) => {}
            (rows, ..) => *rows = None,
        }
        match (intent.operation, calls) {
            (Purge, [CallKind::Purge]) if self.is_known => self.purged_by = Some(at),
            (Sync, [CallKind::Create, ..]) => return self.purged_by.take().map(|purge| (purge, at)),
            _ => {}
        }
        None
    }

    /// The rows that only change the customer to and fro.
    fn rows_to_and_fro(&self) -> &[(u64, bool)] {
        match (&self.to_and_fro, &self.told) {
            (Some((before, rows)), Some(after)) if before.is_held_by(after) => rows,
            _ => &[],
        }
    }
}

/// Reads the export and decides every row. What it finds out about rows that
/// ask for nothing, it notes in a checkpoint that can be written.
pub(crate) fn survey<W: PlanObserver>(
    prepared: &PreparedExport,
    mut checkpoint: Option<&mut Checkpoint>,
    question: &PlanRequest,
    watcher: &mut W,
) -> Result<Plan, PlanError> {
    let PlanRequest { policy, only, past, shared, names_all } = *question;
    let look = Inspection::new(policy.key, &prepared.keys, past, shared, names_all);
    let with_addresses = look.looks_at_addresses();
    let (known, met) = match &mut checkpoint {
        Some(checkpoint) => checkpoint.known(&past.gone, with_addresses)?,
        None => Default::default(),
    };
    let wants_all = watcher.wants_all();
    let is_plain = !policy.full && !look.needs_calls() && !wants_all;
    let mut pass = FirstPass {
        prepared,
        checkpoint,
        question,
        survey: Plan::new(),
        look,
        people: CustomersPresent { met, new: HashSet::default() },
        several: HashMap::default(),
        later: BTreeSet::new(),
        new_marks: Vec::new(),
        knows_any: !known.is_empty(),
        attendance: PresenceTracker::default(),
        prints: Vec::new(),
        watcher,
    };
    let mut fill = prepared.mapping.fill();
    let mut first = FirstReading {
        prepared,
        key: policy.key,
        prints: prepared.prints(&policy.key),
        known: &known,
        passes_unchanged: is_plain,
        // What an earlier run has done is not to be counted as calls.
        passes_new: is_plain && only.is_none(),
        with_addresses,
        prints_all: wants_all,
        fill: &mut fill,
    };
    let unseen = read(prepared, |rows, batch| first.sort(rows, batch), |batch| pass.first_reading(batch))?;
    pass.write_prints()?;
    pass.look_for_other_ids();
    pass.read_again(prepared)?;
    prepared.export.check_unchanged()?;
    let near_end = pass.survey.worklist.entry(pass.survey.rows);
    if let Some(near) = near_end.filter(|_| pass.survey.rows < prepared.rows_max) {
        prepared.export.check_end(near)?;
    }
    let FirstPass { mut survey, look, several, people, attendance, checkpoint, .. } = pass;
    survey.unseen = unseen;
    survey.findings = look.finish(&fill, several.iter().map(|(key, several)| (*key, several.told.as_ref())));
    if prepared.missing != MissingAction::Ignore {
        let found =
            attendance.missing(prepared, checkpoint.as_deref(), &survey, |key| people.has(&known, key))?;
        survey.miss(found);
    }
    Ok(survey)
}

impl<W: PlanObserver> FirstPass<'_, W> {
    fn first_reading(&mut self, batch: Vec<ClassifiedRow>) -> Result<(), PlanError> {
        self.watcher.check()?;
        let mut told = self.look_up(&batch)?.into_iter();
        for ClassifiedRow { at, what } in batch {
            self.survey.rows += 1;
            self.survey.worklist.pass(at);
            match what {
                RowClass::Unchanged(whose) => self.unchanged(at, whose),
                RowClass::NewCustomerRow(whose, new) => {
                    self.survey.note(new.operation, whose.brand_id, &[]);
                    if self.is_first(at, whose, new.marks()) {
                        self.makes(at, whose.key, new.marks().len() as u64)?;
                    }
                }
                RowClass::Asks(whose, print, intent) => {
                    let told = told.next().flatten();
                    self.survey.note(intent.operation, whose.brand_id, &intent.warnings);
                    let hashes =
                        intent.addresses.iter().map(|address| self.question.policy.key.address(address));
                    let marks: Vec<u64> = hashes.map(|hash| shared_mark(hash, whose.brand_id)).collect();
                    if self.is_first(at, whose, marks.into_iter()) {
                        self.decide(&intent, whose.key, told, print, false)?;
                    }
                }
                RowClass::Skipped(presence) => {
                    presence
                        .iter()
                        .for_each(|presence| self.attendance.take(at, presence, self.question.policy));
                    self.survey.settle(at, Outcome::Skipped, &[]);
                }
                RowClass::Rejected(rejection, presence) => {
                    presence
                        .iter()
                        .for_each(|presence| self.attendance.take(at, presence, self.question.policy));
                    self.reject(at, *rejection);
                }
            }
        }
        if self.prints.len() >= BATCH_PRINTS { self.write_prints() } else { Ok(()) }
    }

    /// A row that is just what its customer was left with.
    fn unchanged(&mut self, at: RowRef, whose: CustomerRef) {
        use crate::mapping::Operation::Sync;
        self.survey.note(Sync, whose.brand_id, &[]);
        self.attendance.brand(whose.brand_id);
        let Some(known) = whose.known else { return };
        if self.people.met.meet_unchanged(known, whose.brand_id) {
            self.survey.settle(at, Outcome::Unchanged, &[]);
        } else {
            self.look.row(whose.key, self.people.met.marks(known, whose.brand_id), false);
            self.has_several(at, whose.key);
        }
    }

    /// Whether a row is its customer's first; the others wait for the second reading.
    fn is_first(&mut self, at: RowRef, whose: CustomerRef, marks: impl Iterator<Item = u64> + Clone) -> bool {
        self.attendance.brand(whose.brand_id);
        let is_first = self.people.meet(whose);
        if self.knows_any && whose.known.is_none() && is_first {
            self.new_marks.extend(marks.clone().map(|mark| (mark, whose.key.short())));
        }
        self.look.row(whose.key, marks, is_first);
        if !is_first {
            self.has_several(at, whose.key);
        }
        is_first
    }

    fn has_several(&mut self, at: RowRef, key: CustomerKey) {
        self.later.insert(at.number);
        self.several.entry(key).or_default();
    }

    /// A row that makes a customer. It is read again only if somebody wants to
    /// see its calls.
    fn makes(&mut self, at: RowRef, key: CustomerKey, addresses: u64) -> Result<(), PlanError> {
        if !self.watcher.wants_all() && !self.watcher.wants(at.number) && !self.look.told_of(key) {
            self.survey.settle_new(at, addresses);
            return Ok(());
        }
        let export = &self.prepared.export;
        let mut row = Row::default();
        export.rows_from(at).read(&mut row).map_err(|source| export.io_error(source))?;
        match self.prepared.mapping.map(&row) {
            Ok(Some(intent)) => self.decide(&intent, key, None, RowFingerprint::NONE, false).map(drop),
            _ => Err(PlanError::Bug(format!("row {} is not what it was", at.number))),
        }
    }

    /// Whether those who are new have the addresses of known customers who are
    /// not met.
    fn look_for_other_ids(&mut self) {
        let mut marks = std::mem::take(&mut self.new_marks);
        let distinct = |whose: &mut dyn Iterator<Item = u64>| whose.collect::<BTreeSet<_>>().len() as u64;
        let all = distinct(&mut marks.iter().map(|(_, whose)| *whose));
        // An address that many have, such as a switchboard's, shows nothing.
        marks.sort_unstable();
        let only: Vec<(u64, u64)> = marks
            .chunk_by(|one, other| one.0 == other.0)
            .filter(|same| same.len() == 1)
            .map(|same| same[0])
            .collect();
        let find = |mark: u64| only.binary_search_by_key(&mark, |(mark, _)| *mark).ok();
        let mut held = vec![0_u32; only.len()];
        if !only.is_empty() {
            for brand in &self.survey.brands {
                self.people.met.unmet_marks(*brand).filter_map(find).for_each(|at| held[at] += 1);
            }
        }
        let look_known = only.iter().zip(&held).filter(|(_, held)| **held == 1);
        let look_known = distinct(&mut look_known.map(|((_, whose), _)| *whose));
        self.survey.strangers = NewCustomers { all, look_known };
    }

    fn read_again(&mut self, prepared: &PreparedExport) -> Result<(), PlanError> {
        self.look.met(self.people.met.take_marks());
        if !self.look.needs_names() && self.several.is_empty() {
            return Ok(());
        }
        let second = SecondReading {
            mapping: &prepared.mapping,
            key: self.question.policy.key,
            several: self.several.keys().copied().collect(),
            suspects: self.look.suspects().to_vec(),
        };
        let sort =
            |rows: &[Row], batch: &mut Vec<_>| batch.extend(rows.iter().filter_map(|row| second.sort(row)));
        read(prepared, sort, |batch| self.second_reading(batch))?;
        self.take_back_to_and_fro();
        Ok(())
    }

    /// A customer whose rows contradict each other, and who in the end holds
    /// what is held now, is sent nothing: each night would change it and back.
    fn take_back_to_and_fro(&mut self) {
        if self.question.policy.full || self.question.only.is_some() {
            return;
        }
        for several in self.several.values() {
            for (row, is_update) in several.rows_to_and_fro() {
                self.survey.take_back(*row, *is_update);
                self.watcher.taken_back(*row);
            }
        }
    }

    /// Customers with several rows, each row on top of those before; of the
    /// others only what is looked for a second time.
    fn second_reading(&mut self, batch: Vec<(CustomerKey, Box<Intent>)>) -> Result<(), PlanError> {
        self.watcher.check()?;
        for (key, intent) in batch {
            let several = self.several.remove(&key);
            self.look.again(key, &intent, several.is_some());
            let Some(mut several) = several else { continue };
            if !several.loaded {
                several.begin(self.told(key)?);
            }
            let mut calls = Vec::new();
            if self.later.contains(&intent.at.number) {
                self.survey.rows_of_known_customers += 1;
                let told = several.told.take();
                (several.told, calls) =
                    self.decide(&intent, key, told, RowFingerprint::NONE, several.has_calls)?;
            } else if self.is_wanted(intent.at) {
                // It was decided in the first reading.
                let mut situation = Situation::new(several.told.take(), Default::default());
                if let Ok((made, _)) = rehearse(&intent, &mut situation, self.question.policy) {
                    calls = made.iter().map(Call::kind).collect();
                }
                several.told = situation.told;
            }
            if let Some((purge, back)) = several.take(&intent, &calls)
                && !self.question.policy.allow_recreate
            {
                self.survey.comes_back(purge, back);
            }
            self.several.insert(key, several);
        }
        Ok(())
    }

    /// Decides one row; says what the customer will have been told, and by which
    /// calls. A row behind one with calls is visited whatever is decided for it here: if
    /// those calls fail, it needs its own.
    fn decide(
        &mut self,
        intent: &Intent,
        key: CustomerKey,
        told: Option<Acked>,
        print: RowFingerprint,
        visit: bool,
    ) -> Result<(Option<Acked>, Vec<CallKind>), PlanError> {
        if !self.is_wanted(intent.at) {
            self.survey.settle(intent.at, Outcome::Unchanged, &[]);
            return Ok((told, Vec::new()));
        }
        let mut situation = Situation::new(told, Default::default());
        let mut kinds = Vec::new();
        match rehearse(intent, &mut situation, self.question.policy) {
            Ok((calls, outcome)) => {
                kinds.extend(calls.iter().map(Call::kind));
                self.survey.settle(intent.at, outcome, &kinds);
                if visit {
                    self.survey.worklist.mark(intent.at.number, Work::Calls);
                }
                self.look.decided(key, intent, &calls, situation.told.as_ref(), !visit);
                self.watcher.calls(intent.at, &calls, outcome);
                if calls.is_empty() {
                    self.note_print(intent, key, situation.told.as_ref(), print);
                } else {
                    if self.watcher.wants_all() {
                        note_print(intent, &mut situation, self.question.policy, print);
                    }
                    self.watcher.told(key, situation.told.as_ref())?;
                }
            }
            Err(rejection) => self.reject(intent.at, *rejection),
        }
        Ok((situation.told, kinds))
    }

    fn note_print(&mut self, intent: &Intent, key: CustomerKey, told: Option<&Acked>, print: RowFingerprint) {
        let Some(told) = told.filter(|told| print != RowFingerprint::NONE && told.print != print) else {
            return;
        };
        if self.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.is_writable())
            && asks_nothing_of(intent, told, &self.question.policy.key)
        {
            self.prints.push((key, Acked { print, ..told.clone() }));
        }
    }

    fn write_prints(&mut self) -> Result<(), PlanError> {
        let Some(checkpoint) = self.checkpoint.as_mut().filter(|_| !self.prints.is_empty()) else {
            return Ok(());
        };
        let mut batch = checkpoint.batch()?;
        self.prints.drain(..).try_for_each(|(key, told)| batch.told(key, Some(&told)))?;
        Ok(batch.commit_told()?)
    }

    fn reject(&mut self, at: RowRef, rejection: Rejection) {
        self.watcher.rejected(at, &rejection);
        self.survey.reject(at, rejection);
    }

    fn is_wanted(&self, at: RowRef) -> bool {
        self.question.only.is_none_or(|only| only.contains(&at.number))
    }

    /// What the customers of rows that ask were told, in the order of the rows.
    fn look_up(&self, batch: &[ClassifiedRow]) -> Result<Vec<Option<Acked>>, PlanError> {
        let asking = batch.iter().filter_map(|row| match &row.what {
            RowClass::Asks(whose, ..) => {
                Some(whose.known.filter(|_| self.is_wanted(row.at)).map(|_| whose.key))
            }
            _ => None,
        });
        let keys: Vec<Option<CustomerKey>> = asking.collect();
        match &self.checkpoint {
            Some(checkpoint) if !keys.is_empty() => Ok(checkpoint.lookups().told_of_all(&keys)?),
            _ => Ok(vec![None; keys.len()]),
        }
    }

    fn told(&self, key: CustomerKey) -> Result<Option<Acked>, PlanError> {
        match &self.checkpoint {
            None => Ok(None),
            Some(checkpoint) => Ok(checkpoint.lookups().told(key)?),
        }
    }
}
