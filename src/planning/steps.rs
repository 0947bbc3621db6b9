//! Which call a row needs next.

use super::keys::HashKey;
use super::outcome::Outcome;
use super::told::{Flight, Progress, Told};
use crate::mapping::{FieldName, FieldValue, Intent, Operation, Rejection, RejectionCode};
use crate::omnidesk::{Action, Call};

/// What holds for a whole run.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Of the checkpoint.
    pub key: HashKey,
    /// Ordinal of the export.
    pub export: u32,
    /// Send everything, whatever customers were last told.
    pub full: bool,
    /// Purged customers may be created again.
    pub allow_recreate: bool,
}

/// What is known when a row's next call is decided.
#[derive(Debug, Clone, Default)]
pub struct Situation {
    /// What the customer was last told; none if the checkpoint knows nothing.
    pub told: Option<Told>,
    /// What this row has done already.
    pub progress: Progress,
    /// The API said that the customer does not exist.
    absent: bool,
    /// The API said that the customer exists.
    existing: bool,
}

impl Situation {
    /// At the start of a row.
    #[must_use]
    pub fn new(told: Option<Told>, progress: Progress) -> Self {
        Self { told, progress, absent: false, existing: false }
    }
}

/// What a row needs next.
#[derive(Debug)]
pub enum Step {
    /// This call.
    Call(Call),
    /// Nothing more.
    Settled(Outcome),
    /// Nothing at all: it is refused.
    Rejected(Box<Rejection>),
}

/// Which call the row needs next, or what it came to.
#[must_use]
pub fn next(intent: &Intent, situation: &Situation, policy: &Policy) -> Step {
    if intent.operation == Operation::Purge {
        return purge(intent, situation, policy);
    }
    let mut told = situation.told.as_ref();
    if let Some(tombstone) = told.filter(|told| told.purged) {
        if tombstone.export != policy.export && !policy.allow_recreate {
            return Step::Rejected(Box::new(purged_before()));
        }
        if tombstone.export == policy.export && tombstone.row > intent.at.number {
            // A row behind this one has purged the customer: that is the last word.
            return Step::Settled(effect(&situation.progress));
        }
        told = None;
    }
    let wants_create = match intent.operation {
        Operation::Sync | Operation::Create => told.is_none(),
        _ => situation.absent && told.is_none(),
    };
    if wants_create {
        return Step::Call(create(intent));
    }
    if intent.operation != Operation::AddChannel {
        let fields = fields_left(intent, told, situation, policy);
        if !fields.is_empty() {
            return call(intent, Action::Update { fields });
        }
    }
    // An update that went on as a create brings its addresses with it.
    if intent.operation != Operation::Update || situation.absent || situation.progress.created {
        let left = intent.addresses.iter().find(|address| {
            let hash = policy.key.address(address);
            let every = policy.full || (intent.operation == Operation::AddChannel && !situation.absent);
            let done = situation.progress.addresses.contains(&hash);
            !done && (every || !told.is_some_and(|told| told.has_address(hash)))
        });
        if let Some(address) = left {
            return call(intent, Action::AddChannel { address: address.clone(), no_sync: intent.no_sync });
        }
    }
    Step::Settled(effect(&situation.progress))
}

fn purge(intent: &Intent, situation: &Situation, policy: &Policy) -> Step {
    // A row behind this one has brought the customer back: that is the last word.
    let is_undone = situation
        .told
        .as_ref()
        .is_some_and(|told| !told.purged && told.export == policy.export && told.row > intent.at.number);
    let gone = situation.told.as_ref().is_some_and(|told| told.purged);
    if situation.progress.purged {
        Step::Settled(Outcome::Purged)
    } else if is_undone || gone && !policy.full {
        Step::Settled(Outcome::Unchanged)
    } else {
        call(intent, Action::Purge)
    }
}

fn call(intent: &Intent, action: Action) -> Step {
    Step::Call(Call { customer: intent.customer.clone(), action })
}

fn create(intent: &Intent) -> Call {
    // A customer who is new has nothing that could be cleared.
    let fields = intent.fields.iter().filter(|(_, value)| *value != FieldValue::Clear).cloned().collect();
    let action = Action::Create {
        fields,
        first: intent.addresses.first().cloned(),
        ticket_id: intent.ticket_id,
        no_sync: intent.no_sync,
    };
    Call { customer: intent.customer.clone(), action }
}

fn fields_left(
    intent: &Intent,
    told: Option<&Told>,
    situation: &Situation,
    policy: &Policy,
) -> Vec<(FieldName, FieldValue)> {
    let asked_by_name = intent.operation == Operation::Update && !situation.existing;
    let every = policy.full || asked_by_name;
    if every && (situation.progress.updated || situation.progress.created) {
        return Vec::new();
    }
    let row = intent.at.number;
    let later = |name| told.is_some_and(|told| told.has_later(&policy.key, name, policy.export, row));
    let same = |name, value| told.is_some_and(|told| told.has(&policy.key, name, value));
    intent
        .fields
        .iter()
        .filter(|(name, value)| !later(name) && (every || !same(name, value)))
        .cloned()
        .collect()
}

fn effect(progress: &Progress) -> Outcome {
    match progress {
        Progress { created: true, .. } => Outcome::Created,
        Progress { updated: true, .. } => Outcome::Updated,
        Progress { addresses, .. } if !addresses.is_empty() => Outcome::ChannelAdded,
        _ => Outcome::Unchanged,
    }
}

fn purged_before() -> Rejection {
    Rejection::new(
        RejectionCode::PurgedBefore,
        "the customer's data was purged before, and an export brings the customer back",
        "take the row out of the export, or run with --allow-recreate if the customer is really to come back",
    )
}

/// Takes in that the API has acknowledged `call`.
pub fn acknowledged(call: &Call, intent: &Intent, situation: &mut Situation, policy: &Policy) {
    let (key, row) = (&policy.key, intent.at.number);
    let mut told = match situation.told.take() {
        Some(told) if !told.purged => told,
        _ => Told::existing(),
    };
    told.touch(policy.export, row);
    match &call.action {
        Action::Create { first, .. } => {
            // Cleared fields too, though they were not sent: a new customer's are empty.
            intent.fields.iter().for_each(|(name, value)| told.tell(key, name, value, row));
            if let Some(address) = first {
                told.add_address(key.address(address));
                situation.progress.addresses.push(key.address(address));
            }
            situation.progress.created = true;
        }
        Action::Update { fields } => {
            fields.iter().for_each(|(name, value)| told.tell(key, name, value, row));
            situation.progress.updated = true;
        }
        Action::AddChannel { address, .. } => {
            told.add_address(key.address(address));
            situation.progress.addresses.push(key.address(address));
        }
        Action::Purge => {
            told = Told::tombstone(policy.export, row);
            situation.progress.purged = true;
        }
    }
    situation.told = Some(told);
}

/// The calls of a row if every one of them works, and what it comes to.
///
/// # Errors
///
/// The rejection, if it is refused.
pub fn rehearse(
    intent: &Intent,
    situation: &mut Situation,
    policy: &Policy,
) -> Result<(Vec<Call>, Outcome), Box<Rejection>> {
    let mut calls = Vec::new();
    loop {
        match next(intent, situation, policy) {
            Step::Call(call) => {
                acknowledged(&call, intent, situation, policy);
                calls.push(call);
            }
            Step::Settled(outcome) => return Ok((calls, outcome)),
            Step::Rejected(rejection) => return Err(rejection),
        }
    }
}

/// A create was refused because the customer exists: it goes on as an update.
/// `false` if the row has come this way before.
pub fn turned_existing(situation: &mut Situation) -> bool {
    let first = !situation.existing && !situation.absent;
    situation.existing = true;
    situation.told = Some(Told::existing());
    first
}

/// An update or add-channel was refused because there is no such customer: it
/// goes on as a create, if the row has something to create one of. `false` if
/// it has not, has come this way before, or the customer was purged.
pub fn turned_absent(intent: &Intent, situation: &mut Situation) -> bool {
    let first = !situation.absent && !situation.existing && !situation.progress.created;
    let was_purged = situation.told.as_ref().is_some_and(|told| told.purged);
    let named = intent.fields.iter().any(|(name, value)| {
        matches!(name, FieldName::First | FieldName::Last) && *value != FieldValue::Clear
    });
    let can = matches!(intent.operation, Operation::Sync | Operation::Create | Operation::Update);
    situation.absent = true;
    situation.told.take_if(|told| !told.purged);
    first && can && !was_purged && (named || !intent.addresses.is_empty())
}

/// What is certain of a customer while `call` is under way: what it may change
/// is not, and would otherwise be taken for unchanged if its answer is lost.
#[must_use]
pub fn under_way(call: &Call, told: Option<&Told>, policy: &Policy) -> Option<Told> {
    let mut told = told?.clone();
    match &call.action {
        Action::Update { fields } => fields.iter().for_each(|(name, _)| told.forget(&policy.key, name)),
        Action::Purge => told = Told { export: told.export, row: told.row, ..Told::existing() },
        Action::Create { .. } | Action::AddChannel { .. } => {}
    }
    Some(told)
}

/// A row that needs no call still says what its customer is to hold, so that
/// an earlier row which is tried again later does not undo it. Says whether
/// that is to be recorded.
pub fn settled_silently(intent: &Intent, situation: &mut Situation, policy: &Policy) -> bool {
    let (key, row) = (&policy.key, intent.at.number);
    let Some(told) = situation.told.as_mut().filter(|told| !told.purged) else { return false };
    if intent.operation == Operation::Purge || told.export == policy.export && told.row > row {
        return false;
    }
    told.touch(policy.export, row);
    for (name, value) in &intent.fields {
        if told.has(key, name, value) {
            told.tell(key, name, value, row);
        }
    }
    true
}

/// The safe probe for a create whose answer was lost: an update of the same
/// customer. Success means that the customer exists. A row that only adds an
/// address changes no field by it.
#[must_use]
pub fn probe(intent: &Intent) -> Call {
    let fields = if intent.operation == Operation::AddChannel { Vec::new() } else { intent.fields.clone() };
    Call { customer: intent.customer.clone(), action: Action::Update { fields } }
}

/// Takes in that the probe found the customer of the lost create `flight`.
pub fn found_by_probe(flight: &Flight, intent: &Intent, situation: &mut Situation, policy: &Policy) {
    acknowledged(&probe(intent), intent, situation, policy);
    let own = flight.export == policy.export && flight.row == intent.at.number;
    situation.progress.created = own;
    situation.progress.updated = !own;
    if let (Some(told), Some(address)) = (&mut situation.told, flight.address) {
        told.add_address(address);
        situation.progress.addresses.push(address);
    }
}
