//! The first pass: reads the whole export and decides, without sending.
//!
//! Rows are read and mapped on one thread and decided on another, in batches,
//! with the look-ups of a batch sorted by key. The rows of a customer who has
//! several are decided in a second reading, each on top of those before it,
//! which only an export with such customers pays for.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use super::exit::CommandError;
use super::missing::Attendance;
use super::prepare::Prepared;
use crate::checkpoint::Checkpoint;
use crate::config::MissingAction;
use crate::mapping::{Fill, Intent, Mapped, Presence, Rejection};
use crate::omnidesk::Call;
use crate::planning::{CustomerKey, Look, Outcome, Policy, Situation, Survey, Told, Work, rehearse};
use crate::source::{Row, RowRef, SourceError};

/// Rows handed over at once: the more, the nearer together their customers lie
/// in the checkpoint. Some 0.7 kB each.
const BATCH_ROWS: usize = 8192;
/// Batches on their way.
const BATCHES_AHEAD: usize = 1;

/// One mapped row.
pub(super) struct MappedRow {
    pub(super) at: RowRef,
    pub(super) mapped: Mapped,
    pub(super) key: Option<CustomerKey>,
    /// Whose it is though it asks for nothing, if somebody wants to know.
    pub(super) presence: Option<Presence>,
}

/// Looks at what a decision was.
pub(super) trait Watcher {
    /// The calls of a row, if every one of them works.
    fn calls(&mut self, at: RowRef, calls: &[Call], outcome: Outcome);
    /// A refused row.
    fn rejected(&mut self, at: RowRef, rejection: &Rejection);
    /// What a customer will have been told then.
    fn told(&mut self, key: CustomerKey, told: Option<&Told>) -> Result<(), CommandError>;
    /// Asked now and then: an error ends the pass.
    fn check(&self) -> Result<(), CommandError> {
        Ok(())
    }
}

struct Pass<'a, W> {
    checkpoint: Option<&'a Checkpoint>,
    policy: &'a Policy,
    /// Only these rows are decided; the others were applied by an earlier run.
    only: Option<&'a BTreeSet<u64>>,
    survey: Survey,
    look: Look,
    /// The first 64 bits of the keys of customers met so far.
    met: HashSet<u64, BuildHasherDefault<HashedAlready>>,
    /// Customers with several rows, and what they will have been told.
    several: HashMap<CustomerKey, Several>,
    /// Rows of such customers that are not their first.
    later: BTreeSet<u64>,
    /// Who else is there, and of which brands.
    attendance: Attendance,
    watcher: &'a mut W,
}

#[derive(Default)]
struct Several {
    loaded: bool,
    told: Option<Told>,
    has_calls: bool,
}

/// Reads the export and decides every row.
pub(super) fn survey<W: Watcher>(
    prepared: &Prepared,
    checkpoint: Option<&Checkpoint>,
    policy: &Policy,
    only: Option<&BTreeSet<u64>>,
    look: Look,
    watcher: &mut W,
) -> Result<Survey, CommandError> {
    let mut pass = Pass {
        checkpoint,
        policy,
        only,
        survey: Survey::new(),
        look,
        met: HashSet::default(),
        several: HashMap::new(),
        later: BTreeSet::new(),
        attendance: Attendance::default(),
        watcher,
    };
    let End { unseen, fill } = read(prepared, policy, |batch| pass.first_reading(batch))?;
    if pass.look.needs_names() || !pass.several.is_empty() {
        read(prepared, policy, |batch| pass.second_reading(batch))?;
    }
    prepared.export.check_unchanged()?;
    let near_end = pass.survey.worklist.entry(pass.survey.rows);
    if let Some(near) = near_end.filter(|_| pass.survey.rows < prepared.rows_max) {
        prepared.export.check_end(near)?;
    }
    let Pass { mut survey, look, several, met, attendance, .. } = pass;
    survey.unseen = unseen;
    survey.findings = look.finish(&fill, several.iter().map(|(key, several)| (*key, several.told.as_ref())));
    if prepared.missing != MissingAction::Ignore {
        let found = attendance.missing(prepared, checkpoint, &survey, |key| met.contains(&short(key)))?;
        survey.miss(found);
    }
    Ok(survey)
}

/// What is known at the end of a reading.
pub(super) struct End {
    /// Keys that no row has.
    unseen: Vec<String>,
    /// How full the mapped columns are.
    fill: Fill,
}

/// Reads and maps on a thread of its own, and hands batches to `take`.
pub(super) fn read(
    prepared: &Prepared,
    policy: &Policy,
    mut take: impl FnMut(Vec<MappedRow>) -> Result<(), CommandError>,
) -> Result<End, CommandError> {
    let (sender, receiver) = sync_channel(BATCHES_AHEAD);
    thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let (mut rows, mut row) = (prepared.export.rows(), Row::default());
            let mut batch = Vec::with_capacity(BATCH_ROWS);
            let mut fill = prepared.mapping.fill();
            while rows.read(&mut row).map_err(|source| prepared.export.io_error(source))? {
                if row.at().number > prepared.rows_max {
                    break;
                }
                let mapped = prepared.mapping.map(&row);
                fill.count(&prepared.mapping, &row, &mapped);
                let key = match &mapped {
                    Mapped::Intent(intent) => Some(policy.key.customer(&intent.customer)),
                    _ => None,
                };
                let asked = prepared.missing != MissingAction::Ignore && key.is_none();
                let presence = asked.then(|| prepared.mapping.presence(&row));
                batch.push(MappedRow { at: row.at(), mapped, key, presence });
                if batch.len() == BATCH_ROWS {
                    let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH_ROWS));
                    if sender.send(full).is_err() {
                        break;
                    }
                }
            }
            let _ = sender.send(batch);
            Ok::<_, SourceError>(End { unseen: rows.unseen(), fill })
        });
        let taken = take_all(&receiver, &mut take);
        drop(receiver);
        let end =
            reader.join().map_err(|_| CommandError::Bug("the reading thread panicked".to_owned()))??;
        taken.map(|()| end)
    })
}

fn take_all(
    batches: &Receiver<Vec<MappedRow>>,
    take: &mut impl FnMut(Vec<MappedRow>) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    batches.iter().try_for_each(take)
}

impl<W: Watcher> Pass<'_, W> {
    fn first_reading(&mut self, batch: Vec<MappedRow>) -> Result<(), CommandError> {
        self.watcher.check()?;
        let told = self.look_up(&batch)?;
        for (row, told) in batch.into_iter().zip(told) {
            self.survey.rows += 1;
            self.survey.worklist.pass(row.at);
            if let Some(presence) = row.presence {
                self.attendance.take(&presence, self.policy);
            }
            match (row.mapped, row.key) {
                (Mapped::Intent(intent), Some(key)) => {
                    self.survey.note(&intent);
                    self.attendance.brand(&intent.customer);
                    let is_first = self.met.insert(short(key));
                    self.look.row(key, &intent, is_first);
                    if is_first {
                        self.decide(&intent, key, told, false)?;
                    } else {
                        self.later.insert(row.at.number);
                        self.several.entry(key).or_default();
                    }
                }
                (Mapped::Rejected(rejection), _) => self.reject(row.at, *rejection),
                _ => self.survey.settle(row.at, Outcome::Skipped, &[]),
            }
        }
        Ok(())
    }

    /// Customers with several rows, each row on top of those before; of the
    /// others only what is looked for a second time.
    fn second_reading(&mut self, batch: Vec<MappedRow>) -> Result<(), CommandError> {
        self.watcher.check()?;
        for row in batch {
            let (Mapped::Intent(intent), Some(key)) = (row.mapped, row.key) else {
                continue;
            };
            let several = self.several.remove(&key);
            self.look.again(key, &intent, several.is_some());
            let Some(mut several) = several else { continue };
            if !several.loaded {
                several.told = self.told(key)?;
                several.loaded = true;
            }
            let mut situation = Situation::new(several.told.take(), Default::default());
            if self.later.contains(&row.at.number) {
                self.survey.rows_of_known_customers += 1;
                let mut visited = several.has_calls;
                several.told = self.decide(&intent, key, situation.told, several.has_calls)?;
                visited |= self.survey.worklist.has(row.at.number, Work::Calls);
                several.has_calls = visited;
            } else {
                if self.is_wanted(row.at) {
                    several.has_calls = rehearse(&intent, &mut situation, self.policy)
                        .is_ok_and(|(calls, _)| !calls.is_empty());
                }
                several.told = situation.told;
            }
            self.several.insert(key, several);
        }
        Ok(())
    }

    /// Decides one row; says what the customer will have been told. A row
    /// behind one with calls is visited whatever is decided for it here: if
    /// those calls fail, it needs its own.
    fn decide(
        &mut self,
        intent: &Intent,
        key: CustomerKey,
        told: Option<Told>,
        visit: bool,
    ) -> Result<Option<Told>, CommandError> {
        if !self.is_wanted(intent.at) {
            self.survey.settle(intent.at, Outcome::Unchanged, &[]);
            return Ok(told);
        }
        let mut situation = Situation::new(told, Default::default());
        match rehearse(intent, &mut situation, self.policy) {
            Ok((calls, outcome)) => {
                let kinds: Vec<_> = calls.iter().map(Call::kind).collect();
                self.survey.settle(intent.at, outcome, &kinds);
                if visit {
                    self.survey.worklist.mark(intent.at.number, Work::Calls);
                }
                self.look.decided(key, intent, &calls, situation.told.as_ref(), !visit);
                self.watcher.calls(intent.at, &calls, outcome);
                if !calls.is_empty() {
                    self.watcher.told(key, situation.told.as_ref())?;
                }
            }
            Err(rejection) => self.reject(intent.at, *rejection),
        }
        Ok(situation.told)
    }

    fn reject(&mut self, at: RowRef, rejection: Rejection) {
        self.watcher.rejected(at, &rejection);
        self.survey.reject(at, rejection);
    }

    fn is_wanted(&self, at: RowRef) -> bool {
        self.only.is_none_or(|only| only.contains(&at.number))
    }

    fn look_up(&self, batch: &[MappedRow]) -> Result<Vec<Option<Told>>, CommandError> {
        match self.checkpoint {
            None => Ok(vec![None; batch.len()]),
            Some(checkpoint) => {
                let keys: Vec<_> = batch.iter().map(|row| row.key).collect();
                Ok(checkpoint.lookups().told_of_all(&keys)?)
            }
        }
    }

    fn told(&self, key: CustomerKey) -> Result<Option<Told>, CommandError> {
        match self.checkpoint {
            None => Ok(None),
            Some(checkpoint) => Ok(checkpoint.lookups().told(key)?),
        }
    }
}

/// 64 bits tell customers apart well enough to find those with several rows:
/// a false alarm costs a second reading, and nothing else.
pub(super) fn short(key: CustomerKey) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&key.0[..8]);
    u64::from_le_bytes(first)
}

/// Parts of a keyed hash need no hashing, and nobody can choose them.
#[derive(Default)]
struct HashedAlready(u64);

impl Hasher for HashedAlready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = self.0.rotate_left(8) ^ number;
    }
}
