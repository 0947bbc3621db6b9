//! Which call a row needs next.

use std::collections::BTreeSet;

use super::hands_off::{HandsOff, hands_off};
use super::hashed_intent::{FieldHash, HashedIntent};
use super::hashes::{AddressHash, RowFingerprint};
use super::history::{Origin, PurgeRecord};
use super::outcome::Outcome;
use super::policy::Policy;
use super::state::{Acked, CustomerState, Effect, PendingCall, RowProgress};
use crate::mapping::{ExportRow, FieldName, FieldValue, Operation, PurgeReason, Rejection, RejectionCode};
use crate::omnidesk::{Action, Call};

/// Where a refusal that names the customer's existence has turned a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Turn {
    #[default]
    None,
    /// The API does not know the customer: an update became a create.
    Absent,
    /// The API knows the customer: a create became an update.
    Existing,
    /// A create of this row, whose answer was lost, made the absent customer.
    AbsentThenExisting,
}

/// What is known when a row's next call is decided.
#[derive(Debug, Clone, Default)]
pub struct Situation {
    pub state: CustomerState,
    /// What this row has done already.
    pub progress: RowProgress,
    turn: Turn,
}

impl Situation {
    /// At the start of a row.
    pub fn new(state: CustomerState, progress: RowProgress) -> Self {
        Self { state, progress, turn: Turn::None }
    }

    fn was_absent(&self) -> bool {
        matches!(self.turn, Turn::Absent | Turn::AbsentThenExisting)
    }

    fn was_existing(&self) -> bool {
        matches!(self.turn, Turn::Existing | Turn::AbsentThenExisting)
    }
}

/// What a row needs next.
#[derive(Debug)]
pub enum Step {
    /// This call.
    Call(Call),
    /// Nothing more.
    Done(Outcome),
    /// Nothing, since the customer is not this program's to change or to make.
    HandsOff(HandsOff, Outcome),
    /// Nothing at all: it is refused.
    Rejected(Box<Rejection>),
}

/// A customer who exists, with nothing acknowledged.
static NOTHING: Acked = Acked {
    fingerprint: RowFingerprint::NONE,
    addresses: BTreeSet::new(),
    by: ExportRow { export: 0, row: 0 },
    fields: Vec::new(),
    purge: None,
    history: None,
};

/// Which call the row needs next, or what it came to.
pub fn next(intent: &HashedIntent, situation: &Situation, policy: &Policy) -> Step {
    if intent.operation == Operation::Purge {
        return next_purge(intent, situation, policy);
    }
    if let Some((cause, outcome)) = hands_off(intent, &situation.state, policy) {
        return Step::HandsOff(cause, outcome);
    }
    let creates = matches!(intent.operation, Operation::Sync | Operation::Create) || situation.was_absent();
    let row = policy.row(intent);
    if is_dead(&situation.state, row) {
        return Step::Done(situation.progress.outcome());
    }
    let acked = match &situation.state {
        CustomerState::Purged(purge) if purge.by.export != row.export && !policy.allow_recreate => {
            return Step::Rejected(purged_before());
        }
        CustomerState::PerhapsPurged(_) if !policy.allow_recreate => {
            return Step::Rejected(perhaps_purged_before());
        }
        CustomerState::Acknowledged(acked) => acked,
        CustomerState::PerhapsPurged(_) | CustomerState::Existing => &NOTHING,
        _ if creates => return create(intent),
        _ => &NOTHING,
    };
    next_change(intent, acked, situation, policy)
}

/// Whether a later row has, or has perhaps, purged the customer. What a person asked
/// for is not passed over: rows that were decided before it are rejected.
fn is_dead(state: &CustomerState, row: ExportRow) -> bool {
    match state {
        CustomerState::Purged(purge) | CustomerState::PerhapsPurged(purge) => {
            purge.by.is_after(row) && purge.reason != PurgeReason::Request
        }
        CustomerState::Acknowledged(acked) => acked.purge.is_some_and(|by| by.is_after(row)),
        CustomerState::Unknown
        | CustomerState::Existing
        | CustomerState::Absent
        | CustomerState::Vanished => false,
    }
}

/// What of a row is not sent, since something came after it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Superseded {
    /// All: the customer was purged.
    ByPurge,
    /// These fields: later rows or exports have set other values.
    Fields(Vec<FieldName>),
}

pub(crate) fn superseded(
    intent: &HashedIntent,
    state: &CustomerState,
    policy: &Policy,
) -> Option<Superseded> {
    let row = policy.row(intent);
    if is_dead(state, row) && intent.operation != Operation::Purge {
        return Some(Superseded::ByPurge);
    }
    let acked = state.acked()?;
    let superseded =
        intent.hashed_fields().filter(|(_, field)| acked.has_later(field.tag, row) && !acked.has(*field));
    let fields: Vec<_> = superseded.map(|((name, _), _)| name.clone()).collect();
    (!fields.is_empty()).then_some(Superseded::Fields(fields))
}

/// The next update or add-channel of a row.
fn next_change(intent: &HashedIntent, acked: &Acked, situation: &Situation, policy: &Policy) -> Step {
    let progress = &situation.progress;
    if intent.operation != Operation::AddChannel {
        let fields = changed_fields(intent, acked, situation, policy);
        // That something exists may be said of the address and not of the
        // customer: an update shows it, also one without a field.
        let is_unproven = situation.was_existing() && progress.effect < Effect::Updated;
        if !fields.is_empty() || is_unproven {
            return call(intent, Action::Update { fields });
        }
    }
    // An update that became a create brings its addresses with it.
    let adds_addresses =
        intent.operation != Operation::Update || situation.was_absent() || progress.effect >= Effect::Found;
    let every = policy.full || intent.operation == Operation::AddChannel && !situation.was_absent();
    let is_left =
        |hash: AddressHash| !progress.addresses.contains(&hash) && (every || !acked.has_address(hash));
    let mut left = intent.hashed_addresses().filter(|(_, hash)| is_left(*hash));
    match left.next().filter(|_| adds_addresses) {
        Some((address, _)) => {
            call(intent, Action::AddChannel { address: address.clone(), no_sync: intent.no_sync })
        }
        None => Step::Done(progress.outcome()),
    }
}

fn next_purge(intent: &HashedIntent, situation: &Situation, policy: &Policy) -> Step {
    if situation.progress.effect == Effect::Purged {
        return Step::Done(Outcome::Purged);
    }
    match &situation.state {
        state if !may_undo(state, intent.reason) => Step::Done(Outcome::Unchanged),
        // A later row has brought the customer back: that decides, unless a person asks.
        CustomerState::Acknowledged(Acked { by, .. })
        | CustomerState::PerhapsPurged(PurgeRecord { by, .. })
            if by.is_after(policy.row(intent)) && intent.reason != PurgeReason::Request =>
        {
            Step::Done(Outcome::Unchanged)
        }
        CustomerState::Purged(_) if !policy.full => Step::Done(Outcome::Unchanged),
        _ => call(intent, Action::Purge),
    }
}

/// Only a customer whom the run has created, and who was not purged since, can be
/// taken back.
fn may_undo(state: &CustomerState, reason: PurgeReason) -> bool {
    match reason {
        PurgeReason::Undo { run } => state.is_created_by(run),
        PurgeReason::Export | PurgeReason::Request => true,
    }
}

fn call(intent: &HashedIntent, action: Action) -> Step {
    Step::Call(Call { customer: intent.customer.clone(), action })
}

fn create(intent: &HashedIntent) -> Step {
    // A new customer has nothing that could be cleared.
    let fields = intent.all_fields().filter(|(_, value)| *value != FieldValue::Clear).cloned().collect();
    let first = intent.addresses.first().cloned();
    call(intent, Action::Create { fields, first, ticket_id: intent.ticket_id, no_sync: intent.no_sync })
}

fn changed_fields(
    intent: &HashedIntent,
    acked: &Acked,
    situation: &Situation,
    policy: &Policy,
) -> Vec<(FieldName, FieldValue)> {
    let is_update = intent.operation == Operation::Update && !situation.was_existing();
    let every = policy.full || is_update;
    let effect = situation.progress.effect;
    // A create carries all of them.
    if effect == Effect::Created || every && effect == Effect::Updated {
        return Vec::new();
    }
    let row = policy.row(intent);
    let is_changed = |field: FieldHash| !acked.has_later(field.tag, row) && (every || !acked.has(field));
    intent.hashed_fields().filter(|(_, hash)| is_changed(*hash)).map(|(field, _)| field.clone()).collect()
}

pub(crate) fn purged_before() -> Box<Rejection> {
    Rejection::new(
        RejectionCode::PurgedBefore,
        "the customer's data was purged before, and an export brings the customer back",
        "take the row out of the export, or run with --allow-recreate if the customer is really to come back",
    )
}

fn perhaps_purged_before() -> Box<Rejection> {
    Rejection::new(
        RejectionCode::PurgedBefore,
        "the customer's data was perhaps purged: a purge was sent, and no answer of the API proves that it was not carried out",
        "purge the customer again, or run with --allow-recreate if the customer is really to come back",
    )
}

/// Takes in that the API has acknowledged `call`.
pub fn acknowledge(call: &Call, intent: &HashedIntent, situation: &mut Situation, policy: &Policy) {
    let by = policy.row(intent);
    situation.progress.advance(call, intent);
    situation.state = match (std::mem::take(&mut situation.state), &call.action) {
        // Neither brings anybody back, whatever the API answers.
        (purged @ CustomerState::Purged(_), Action::Update { .. } | Action::AddChannel { .. }) => purged,
        // A customer who was purged by an earlier export stays purged by it.
        (CustomerState::Purged(before), Action::Purge)
            if before.by.export < by.export && intent.reason == PurgeReason::Export =>
        {
            CustomerState::Purged(before)
        }
        (_, Action::Purge) => purged(intent, policy),
        (before, action) => {
            let mut acked = before.into_acked();
            acked.advance(by);
            let is_create = matches!(action, Action::Create { .. });
            let origin = if is_create { Origin::Created } else { Origin::Found };
            acked.note(policy.occasion(intent), origin);
            let fields = match action {
                // Cleared fields too, though they were not sent: a new customer's are empty.
                Action::Create { .. } => &intent.fields[..],
                Action::Update { fields } => fields,
                Action::AddChannel { .. } | Action::Purge => &[],
            };
            let hashes = fields.iter().filter_map(|(name, _)| intent.field_hash(name));
            hashes.for_each(|field| acked.set(field, by));
            if intent.operation != Operation::AddChannel {
                acked.decide(intent, by);
            }
            let address = call.address().and_then(|address| intent.address_hash(address));
            address.into_iter().for_each(|address| acked.add_address(address));
            CustomerState::Acknowledged(acked)
        }
    };
}

/// Takes in that a purge found nobody. Who was to be purged does not come back either.
pub(crate) fn acknowledge_absence(
    intent: &HashedIntent,
    situation: &mut Situation,
    policy: &Policy,
) -> AfterAnswer {
    match (situation.state.is_purged(), intent.reason) {
        // An earlier purge is confirmed.
        (true, PurgeReason::Request) => return AfterAnswer::Settled(Outcome::Unchanged),
        (true, _) => {}
        (false, _) => situation.state = purged(intent, policy),
    }
    AfterAnswer::Fail
}

/// The state after a purge. What was only taken back may come again.
fn purged(intent: &HashedIntent, policy: &Policy) -> CustomerState {
    match intent.reason {
        PurgeReason::Export | PurgeReason::Request => CustomerState::Purged(policy.purge(intent)),
        PurgeReason::Undo { .. } => CustomerState::Unknown,
    }
}

/// The calls of a row if every one of them works, and the outcome, or the
/// rejection.
pub fn rehearse(
    intent: &HashedIntent,
    state: &mut CustomerState,
    policy: &Policy,
) -> Result<(Vec<Call>, Outcome), Box<Rejection>> {
    let mut situation = Situation::new(std::mem::take(state), RowProgress::default());
    let result = rehearse_from(&mut situation, intent, policy);
    *state = situation.state;
    result
}

fn rehearse_from(
    situation: &mut Situation,
    intent: &HashedIntent,
    policy: &Policy,
) -> Result<(Vec<Call>, Outcome), Box<Rejection>> {
    let mut calls = Vec::new();
    loop {
        match next(intent, situation, policy) {
            Step::Call(call) => {
                acknowledge(&call, intent, situation, policy);
                calls.push(call);
            }
            Step::Done(outcome) | Step::HandsOff(_, outcome) => return Ok((calls, outcome)),
            Step::Rejected(rejection) => return Err(rejection),
        }
    }
}

/// How a row goes on after the answer to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterAnswer {
    /// As its customer's state says now.
    GoOn,
    /// Not at all: nothing more is sent.
    HandsOff(HandsOff, Outcome),
    /// It has come to this.
    Settled(Outcome),
    Fail,
}

impl From<Option<(HandsOff, Outcome)>> for AfterAnswer {
    fn from(hands_off: Option<(HandsOff, Outcome)>) -> Self {
        hands_off.map_or(Self::GoOn, |(cause, outcome)| Self::HandsOff(cause, outcome))
    }
}

/// A create was refused because the customer exists: the row becomes an update,
/// unless `on_exists` keeps it from that. It fails if it was turned before, unless
/// one of its `lost_creates` may have made the customer.
pub(crate) fn turn_to_update(situation: &mut Situation, lost_creates: u32, policy: &Policy) -> AfterAnswer {
    let turn = match situation.turn {
        Turn::None => Some(Turn::Existing),
        Turn::Absent if lost_creates > 0 => Some(Turn::AbsentThenExisting),
        _ => None,
    };
    situation.state = CustomerState::Existing;
    let Some(turn) = turn else { return AfterAnswer::Fail };
    situation.turn = turn;
    let cause = if lost_creates > 0 { HandsOff::PerhapsMade } else { HandsOff::Exists };
    policy.outcome_of(cause).map(|outcome| (cause, outcome)).into()
}

/// An update or add-channel was refused because there is no such customer: the
/// row becomes a create, unless `on_missing` keeps it from that. It fails if it has
/// nothing to create one of, was turned before, or the customer was purged.
pub(crate) fn turn_to_create(
    intent: &HashedIntent,
    situation: &mut Situation,
    policy: &Policy,
) -> AfterAnswer {
    let is_first = situation.turn == Turn::None && situation.progress.effect < Effect::Created;
    if situation.turn == Turn::None {
        situation.turn = Turn::Absent;
    }
    let kept = policy.outcome_of(HandsOff::NotFound).filter(|_| is_first);
    let kept = match (intent.operation, &situation.state) {
        // `--allow-recreate` brings back who was purged.
        (Operation::Sync, CustomerState::PerhapsPurged(_) | CustomerState::Purged(_)) => None,
        (Operation::Sync | Operation::Update | Operation::AddChannel, _) => kept,
        _ => None,
    };
    situation.state = match std::mem::take(&mut situation.state) {
        // This shows that the purge was carried out.
        CustomerState::PerhapsPurged(purge) | CustomerState::Purged(purge) => CustomerState::Purged(purge),
        _ if kept.is_none() => CustomerState::Unknown,
        CustomerState::Unknown | CustomerState::Absent => CustomerState::Absent,
        CustomerState::Acknowledged(_) | CustomerState::Existing | CustomerState::Vanished => {
            CustomerState::Vanished
        }
    };
    if let Some(outcome) = kept {
        return AfterAnswer::HandsOff(HandsOff::NotFound, outcome);
    }
    let may_create = match intent.operation {
        Operation::Sync | Operation::Create => true,
        Operation::Update => situation.state.is_unknown(),
        Operation::AddChannel | Operation::Purge | Operation::Skip => false,
    };
    let has_name = intent.all_fields().any(|(name, value)| {
        matches!(name, FieldName::First | FieldName::Last) && *value != FieldValue::Clear
    });
    if is_first && may_create && (has_name || !intent.addresses.is_empty()) {
        AfterAnswer::GoOn
    } else {
        AfterAnswer::Fail
    }
}

/// What is certain of a customer while `call` is on its way. What it may change
/// is not: if the answer is lost, it must not pass for unchanged.
pub(crate) fn state_during(
    call: &Call,
    intent: &HashedIntent,
    state: &CustomerState,
    policy: &Policy,
) -> CustomerState {
    match (state, &call.action) {
        (CustomerState::Acknowledged(acked), Action::Update { fields }) => {
            let mut acked = acked.clone();
            let hashes = fields.iter().filter_map(|(name, _)| intent.field_hash(name));
            hashes.for_each(|field| acked.forget(field.tag));
            CustomerState::Acknowledged(acked)
        }
        (CustomerState::Purged(_), _) => state.clone(),
        (_, Action::Purge) => CustomerState::PerhapsPurged(policy.purge(intent)),
        _ => state.clone(),
    }
}

/// Notes the fingerprint of a row whose last call was acknowledged.
pub(crate) fn set_fingerprint(intent: &HashedIntent, state: &mut CustomerState, fingerprint: RowFingerprint) {
    if let CustomerState::Acknowledged(acked) = state
        && acked.is_all_of(intent)
    {
        acked.fingerprint = fingerprint;
    }
}

/// A row without a call still decides what its customer is to hold, so that an
/// earlier row which is tried again does not undo it. Says whether that has to
/// be recorded.
pub(crate) fn confirm(intent: &HashedIntent, situation: &mut Situation, policy: &Policy) -> bool {
    let by = policy.row(intent);
    let CustomerState::Acknowledged(acked) = &mut situation.state else { return false };
    let asks_for_fields = matches!(intent.operation, Operation::Sync | Operation::Create | Operation::Update);
    if !asks_for_fields || acked.by.is_after(by) {
        return false;
    }
    acked.advance(by);
    acked.decide(intent, by);
    true
}

/// The safe probe for a create whose answer was lost: an update of the same customer
/// without a field. Success means that the customer exists.
pub(crate) fn probe_call(intent: &HashedIntent) -> Call {
    Call { customer: intent.customer.clone(), action: Action::Update { fields: Vec::new() } }
}

/// Takes in that the probe has found the customer of the lost create `pending`. With
/// `on_exists`, nothing more is sent to a customer who was perhaps there before.
pub(crate) fn acknowledge_probe(
    pending: &PendingCall,
    intent: &HashedIntent,
    situation: &mut Situation,
    policy: &Policy,
) -> AfterAnswer {
    if let Some(outcome) = policy.outcome_of(HandsOff::PerhapsMade) {
        situation.state = CustomerState::Existing;
        return AfterAnswer::HandsOff(HandsOff::PerhapsMade, outcome);
    }
    let by = policy.row(intent);
    let mut acked = std::mem::take(&mut situation.state).into_acked();
    acked.advance(by);
    acked.note(policy.occasion(intent), Origin::Found);
    situation.state = CustomerState::Acknowledged(acked);
    if pending.by == by {
        situation.progress.effect = Effect::Found;
    }
    AfterAnswer::GoOn
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Address, Channel, Customer, Intent, OnExists, OnMissing, Place, PrimaryId};
    use crate::omnidesk::CallKind;
    use crate::reconcile::{HashKey, History, Occasion};
    use crate::source::RowRef;
    use AfterAnswer::{Fail, GoOn};
    use Operation::{AddChannel, Create, Purge, Sync, Update};

    const POLICY: Policy = Policy {
        key: HashKey::new([7; 32]),
        export: 1,
        full: false,
        allow_recreate: false,
        on_exists: OnExists::Update,
        on_missing: OnMissing::Create,
        run: 3,
        minute: 4,
    };

    fn at(export: u32, row: u64) -> ExportRow {
        ExportRow { export, row }
    }

    fn purge(export: u32, row: u64) -> PurgeRecord {
        let occasion = Occasion { run: POLICY.run, minute: POLICY.minute, row };
        PurgeRecord { by: at(export, row), occasion, reason: PurgeReason::Export }
    }

    /// `first=Jan last= +tier=x mail` : fields, a cleared one, one that goes with a
    /// create alone, and an address at `x.nl`.
    fn intent(operation: Operation, row: u64, words: &str) -> HashedIntent {
        hashed(plain_intent(operation, row, words))
    }

    fn hashed(intent: Intent) -> HashedIntent {
        HashedIntent::new(intent, &POLICY.key)
    }

    fn plain_intent(operation: Operation, row: u64, words: &str) -> Intent {
        let (mut fields, mut create_fields, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
        for word in words.split_whitespace() {
            match word.split_once('=') {
                None => addresses
                    .push(Address::parse(Channel::Email, format!("{word}@x.nl"), None).expect("an address")),
                Some((word, value)) => {
                    let name = word.trim_start_matches('+');
                    let list = if name == word { &mut fields } else { &mut create_fields };
                    let name = match name {
                        "first" => FieldName::First,
                        "last" => FieldName::Last,
                        other => FieldName::Custom(other.into()),
                    };
                    let value =
                        if value.is_empty() { FieldValue::Clear } else { FieldValue::Text(value.into()) };
                    list.push((name, value));
                }
            }
        }
        Intent {
            at: Place::Row(RowRef { number: row, ..RowRef::default() }),
            customer: Customer { primary_id: PrimaryId::new("1").expect("an id"), brand_id: 2 },
            operation,
            fields,
            create_fields,
            addresses,
            ticket_id: None,
            no_sync: false,
            warnings: Vec::new(),
            origin: None,
            reason: PurgeReason::Export,
        }
    }

    /// A call in the words of [`intent`].
    fn call_text(call: &Call) -> String {
        let mail = |address: &Address| address.as_str().trim_end_matches("@x.nl").to_owned();
        let fields = |fields: &[(FieldName, FieldValue)]| {
            fields.iter().fold(String::new(), |all, (name, value)| {
                let name = match name {
                    FieldName::First => "first",
                    FieldName::Last => "last",
                    FieldName::Custom(name) => name,
                };
                format!("{all} {name}={}", value.as_str())
            })
        };
        match &call.action {
            Action::Create { fields: some, first, .. } => {
                let first = first.as_ref().map(|address| format!(" {}", mail(address))).unwrap_or_default();
                format!("create{}{first}", fields(some))
            }
            Action::Update { fields: some } => format!("update{}", fields(some)),
            Action::AddChannel { address, .. } => format!("add {}", mail(address)),
            Action::Purge => "purge".to_owned(),
        }
    }

    /// The calls of a row that all work, and its outcome.
    fn row(state: &mut CustomerState, policy: &Policy, intent: &HashedIntent) -> String {
        match rehearse(intent, state, policy) {
            Ok((calls, outcome)) => {
                if calls.is_empty() {
                    let mut situation = Situation::new(std::mem::take(state), RowProgress::default());
                    confirm(intent, &mut situation, policy);
                    *state = situation.state;
                }
                let calls: Vec<String> = calls.iter().map(call_text).collect();
                format!("{} → {outcome:?}", calls.join(", "))
            }
            Err(rejection) => rejection.code.as_str().to_owned(),
        }
    }

    /// Rows of one customer, one after the other: export, row, operation, words
    /// → calls and outcome.
    fn check(rows: &[(u32, u64, Operation, &str, &str)]) {
        let mut state = CustomerState::Unknown;
        for (export, number, operation, asked, expected) in rows {
            let policy = Policy { export: *export, ..POLICY };
            let text = row(&mut state, &policy, &intent(*operation, *number, asked));
            assert_eq!(text, *expected, "export {export}, row {number}: {operation:?} {asked}");
        }
    }

    #[test]
    fn a_customer_is_created_once_and_only_changes_are_sent() {
        check(&[
            (1, 1, Sync, "first=Jan last= a b", "create first=Jan a, add b → Created"),
            (2, 1, Sync, "first=Jan last= a b", " → Unchanged"),
            (2, 2, Sync, "first=Piet last= a b", "update first=Piet → Updated"),
            (2, 3, Sync, "first=Piet a c", "add c → ChannelAdded"),
            (2, 4, Create, "first=Piet last=Vis a d", "update last=Vis, add d → Updated"),
            (2, 5, Update, "first=Piet e", "update first=Piet → Updated"),
            (2, 6, Update, "e", " → Unchanged"),
            (2, 7, AddChannel, "first=Klaas a e", "add a, add e → ChannelAdded"),
            (3, 1, Sync, "first=Piet last=Vis a b c d e", " → Unchanged"),
        ]);
        check(&[(1, 1, Update, "first=Jan a", "update first=Jan → Updated")]);
        check(&[(1, 1, AddChannel, "first=Jan a", "add a → ChannelAdded")]);
    }

    #[test]
    fn a_purge_decides_until_a_later_row() {
        check(&[
            (1, 1, Sync, "first=Jan a", "create first=Jan a → Created"),
            (1, 5, Purge, "", "purge → Purged"),
            (1, 6, Purge, "", " → Unchanged"),
            (1, 4, Sync, "first=Jan a", " → Unchanged"),
            (1, 7, Sync, "first=Jan a", "create first=Jan a → Created"),
            (1, 5, Purge, "", " → Unchanged"),
            (1, 8, Purge, "", "purge → Purged"),
            (2, 1, Sync, "first=Jan a", "purged_before"),
            (2, 2, Purge, "", " → Unchanged"),
        ]);
        let mut state = CustomerState::Purged(purge(1, 8));
        let recreate = Policy { export: 2, allow_recreate: true, ..POLICY };
        assert_eq!(
            row(&mut state, &recreate, &intent(Sync, 1, "first=Jan a")),
            "create first=Jan a → Created"
        );
        let full = Policy { full: true, ..POLICY };
        assert_eq!(
            row(&mut CustomerState::Purged(purge(1, 1)), &full, &intent(Purge, 9, "")),
            "purge → Purged"
        );
    }

    #[test]
    fn an_earlier_row_that_is_tried_again_undoes_nothing() {
        check(&[
            (1, 10, Sync, "first=Jan", "create first=Jan → Created"),
            (1, 20, Sync, "first=Piet", "update first=Piet → Updated"),
            (1, 10, Sync, "first=Jan last=Vis", "update last=Vis → Updated"),
            (1, 30, Sync, "last=Vis", " → Unchanged"),
            (1, 25, Update, "last=Bot first=Jan", "update first=Jan → Updated"),
        ]);
    }

    #[test]
    fn a_full_run_sends_everything_once() {
        let mut state = CustomerState::Unknown;
        let full = Policy { full: true, ..POLICY };
        let asked = intent(Sync, 1, "first=Jan a b");
        assert_eq!(row(&mut state, &full, &asked), "create first=Jan a, add b → Created");
        let again = intent(Sync, 2, "first=Jan a b");
        assert_eq!(row(&mut state, &full, &again), "update first=Jan, add a, add b → Updated");
    }

    #[test]
    fn a_create_of_an_existing_customer_becomes_an_update_once() {
        let asked = intent(Sync, 1, "first=Jan a");
        let mut situation = Situation::new(CustomerState::Unknown, RowProgress::default());
        assert_eq!(turn_to_update(&mut situation, 0, &POLICY), GoOn);
        let (calls, outcome) = rehearse_from(&mut situation, &asked, &POLICY).expect("calls");
        let calls: Vec<_> = calls.iter().map(call_text).collect();
        assert_eq!((calls.join(", ").as_str(), outcome), ("update first=Jan, add a", Outcome::Updated));
        assert_eq!(turn_to_update(&mut situation, 0, &POLICY), Fail);
        assert_eq!(turn_to_create(&asked, &mut situation, &POLICY), Fail, "no way back");
        let mut absent = Situation::new(CustomerState::Unknown, RowProgress::default());
        assert_eq!(turn_to_create(&asked, &mut absent, &POLICY), GoOn);
        let mut own = absent.clone();
        assert_eq!(turn_to_update(&mut absent, 0, &POLICY), Fail, "nor the other way");
        let turned = turn_to_update(&mut own, 1, &POLICY);
        assert_eq!(turned, GoOn, "its own create, whose answer was lost");
    }

    #[test]
    fn an_update_of_an_absent_customer_becomes_a_create_if_it_can() {
        let created = RowProgress { effect: Effect::Created, ..RowProgress::default() };
        let cases = [
            (Update, "first=Jan", CustomerState::Unknown, RowProgress::default(), true),
            (Sync, "last=Vis", CustomerState::Existing, RowProgress::default(), true),
            (Update, "+first=Jan", CustomerState::Absent, RowProgress::default(), true),
            (Create, "a", CustomerState::Unknown, RowProgress::default(), true),
            (Update, "first= tier=x", CustomerState::Unknown, RowProgress::default(), false),
            (Update, "tier=x", CustomerState::Unknown, RowProgress::default(), false),
            (Update, "", CustomerState::Unknown, RowProgress::default(), false),
            (AddChannel, "first=Jan a", CustomerState::Unknown, RowProgress::default(), false),
            (Purge, "first=Jan a", CustomerState::Unknown, RowProgress::default(), false),
            (Update, "first=Jan", CustomerState::Purged(purge(1, 1)), RowProgress::default(), false),
            (Update, "first=Jan", CustomerState::Unknown, created, false),
        ];
        for (operation, asked, state, progress, expected) in cases {
            let asked_for = intent(operation, 1, asked);
            let mut situation = Situation::new(state, progress);
            let expected = if expected { GoOn } else { Fail };
            let turned = turn_to_create(&asked_for, &mut situation, &POLICY);
            assert_eq!(turned, expected, "{operation:?} {asked}");
            let again = turn_to_create(&asked_for, &mut situation, &POLICY);
            assert_eq!(again, Fail, "twice: {operation:?} {asked}");
        }
        let asked = intent(Update, 1, "first=Jan a b");
        let mut situation = Situation::new(CustomerState::Existing, RowProgress::default());
        assert_eq!(turn_to_create(&asked, &mut situation, &POLICY), GoOn);
        let (calls, outcome) = rehearse_from(&mut situation, &asked, &POLICY).expect("calls");
        let calls: Vec<_> = calls.iter().map(call_text).collect();
        assert_eq!(
            (calls.join(", ").as_str(), outcome),
            ("create first=Jan a, add b", Outcome::Created),
            "with its addresses"
        );
    }

    #[test]
    fn a_tombstone_outlives_the_answer_that_the_customer_is_absent() {
        let mut situation = Situation::new(CustomerState::Purged(purge(1, 1)), RowProgress::default());
        turn_to_create(&intent(Update, 2, "first=Jan"), &mut situation, &POLICY);
        assert_eq!(situation.state, CustomerState::Purged(purge(1, 1)));
    }

    #[test]
    fn a_field_that_a_call_on_its_way_may_change_is_not_certain() {
        let key = &POLICY.key;
        let (first, last) = (FieldName::First, FieldName::Last);
        let (jan, vis) = (FieldValue::Text("Jan".into()), FieldValue::Text("Vis".into()));
        let mut acked = Acked { by: at(1, 4), ..Acked::default() };
        acked.set(FieldHash::new(key, &first, &jan), at(1, 4));
        acked.set(FieldHash::new(key, &last, &vis), at(1, 4));
        let state = CustomerState::Acknowledged(acked);
        let asked = intent(Sync, 6, "first=Jan last=Vis");
        let during = |action, state: &CustomerState| {
            state_during(&Call { customer: asked.customer.clone(), action }, &asked, state, &POLICY)
        };
        let update = during(Action::Update { fields: vec![(first.clone(), jan.clone())] }, &state);
        let update = update.acked().expect("acknowledged");
        assert!(
            !update.has(FieldHash::new(key, &first, &jan)) && update.has(FieldHash::new(key, &last, &vis))
        );
        let purged = CustomerState::PerhapsPurged(purge(1, 6));
        assert_eq!(during(Action::Purge, &state), purged);
        assert_eq!(during(Action::Purge, &CustomerState::Unknown), purged);
        let address = intent(Sync, 1, "a").addresses[0].clone();
        assert_eq!(during(Action::AddChannel { address, no_sync: false }, &state), state);
        let purged_before = CustomerState::Purged(purge(1, 2));
        assert_eq!(during(Action::Purge, &purged_before), purged_before);
    }

    #[test]
    fn a_row_without_calls_is_recorded_unless_a_later_row_decides() {
        let confirmed = |state: &CustomerState, asked: &HashedIntent| {
            let mut situation = Situation::new(state.clone(), RowProgress::default());
            (confirm(asked, &mut situation, &POLICY), situation.state)
        };
        let mut acked = Acked { by: at(1, 10), ..Acked::default() };
        acked.set(FieldHash::new(&POLICY.key, &FieldName::First, &FieldValue::Text("Jan".into())), at(1, 10));
        let known = CustomerState::Acknowledged(acked);
        let (is_recorded, after) = confirmed(&known, &intent(Sync, 20, "first=Jan last=Vis"));
        let after = after.acked().expect("acknowledged");
        assert!(is_recorded && after.has_later(POLICY.key.field(&FieldName::First), at(1, 19)));
        let vis = FieldValue::Text("Vis".into());
        assert!(!after.has(FieldHash::new(&POLICY.key, &FieldName::Last, &vis)), "it was not acknowledged");
        let cases = [
            (CustomerState::Unknown, Sync, 20),
            (CustomerState::Purged(purge(1, 1)), Sync, 20),
            (known.clone(), Purge, 20),
            (known.clone(), Sync, 9),
        ];
        for (state, operation, row) in cases {
            let after = confirmed(&state, &intent(operation, row, "first=Jan"));
            assert_eq!(after, (false, state), "{operation:?} {row}");
        }
        assert!(confirmed(&known, &intent(Sync, 10, "first=Jan")).0, "its own row again");
    }

    #[test]
    fn a_probe_finds_the_customer_of_this_row_or_of_another() {
        let asked = intent(Sync, 3, "first=Jan a");
        assert_eq!(call_text(&probe_call(&asked)), "update");
        for (by, outcome) in
            [(at(1, 3), Outcome::Created), (at(1, 2), Outcome::Updated), (at(2, 3), Outcome::Updated)]
        {
            let mut situation = Situation::default();
            let pending = PendingCall { by, kind: CallKind::Create };
            assert_eq!(acknowledge_probe(&pending, &asked, &mut situation, &POLICY), GoOn);
            // Nothing that the create carried is certain.
            let found = rehearse_from(&mut situation, &asked, &POLICY).expect("calls");
            let calls: Vec<_> = found.0.iter().map(call_text).collect();
            assert_eq!((calls.join(", ").as_str(), found.1), ("update first=Jan, add a", outcome), "{by:?}");
        }
    }

    const HANDS_OFF: Policy = Policy { on_exists: OnExists::Skip, on_missing: OnMissing::Skip, ..POLICY };

    #[test]
    fn fields_of_a_create_alone_go_with_no_update() {
        let full = Policy { full: true, ..POLICY };
        let mut state = CustomerState::Unknown;
        let asked = intent(Sync, 1, "first=Jan +last= +tier=x a");
        assert_eq!(row(&mut state, &POLICY, &asked), "create first=Jan tier=x a → Created");
        let acked = state.acked().expect("acknowledged");
        assert!(acked.is_all_of(&intent(Sync, 2, "first=Jan +tier=y a")));
        let changed = intent(Sync, 2, "first=Piet +last=Vis +tier=y a");
        assert_eq!(row(&mut state, &POLICY, &changed), "update first=Piet → Updated");
        assert_eq!(row(&mut state, &full, &changed), "update first=Piet, add a → Updated");
        let update = intent(Update, 3, "+tier=y");
        assert_eq!(row(&mut state, &POLICY, &update), " → Unchanged");
    }

    #[test]
    fn an_existing_customer_is_left_alone_until_the_setting_says_otherwise() {
        let asked = intent(Sync, 1, "first=Jan a");
        for (on_exists, outcome) in [(OnExists::Skip, Outcome::Skipped), (OnExists::Fail, Outcome::Failed)] {
            let policy = Policy { on_exists, full: true, ..POLICY };
            let refused = |lost_creates| {
                let mut situation = Situation::default();
                (turn_to_update(&mut situation, lost_creates, &policy), situation.state)
            };
            let exists = CustomerState::Existing;
            assert_eq!(refused(0), (AfterAnswer::HandsOff(HandsOff::Exists, outcome), exists.clone()));
            assert_eq!(refused(1), (AfterAnswer::HandsOff(HandsOff::PerhapsMade, outcome), exists.clone()));
            for operation in [Sync, Create, Update, AddChannel] {
                let mut state = exists.clone();
                let later = hashed(Intent { operation, ..asked.clone().into_intent() });
                let (calls, found) = rehearse(&later, &mut state, &policy).expect("no rejection");
                assert_eq!((calls.len(), found, state), (0, outcome, exists.clone()), "{operation:?}");
            }
            let mut state = exists.clone();
            assert_eq!(row(&mut state, &policy, &intent(Purge, 2, "")), "purge → Purged");
            let mut state = exists;
            assert_eq!(row(&mut state, &POLICY, &asked), "update first=Jan, add a → Updated");
        }
    }

    #[test]
    fn a_customer_whom_the_api_does_not_know_is_not_created_until_a_row_or_the_setting_says_so() {
        let refused = |operation, state: &CustomerState, policy: &Policy| {
            let mut situation = Situation::new(state.clone(), RowProgress::default());
            let after = turn_to_create(&intent(operation, 1, "first=Jan a"), &mut situation, policy);
            (after, situation.state)
        };
        let skipped = AfterAnswer::HandsOff(HandsOff::NotFound, Outcome::Skipped);
        let acked = CustomerState::Acknowledged(Acked::default());
        assert_eq!(refused(Update, &CustomerState::Unknown, &HANDS_OFF), (skipped, CustomerState::Absent));
        assert_eq!(
            refused(AddChannel, &CustomerState::Unknown, &HANDS_OFF),
            (skipped, CustomerState::Absent)
        );
        assert_eq!(refused(Sync, &acked, &HANDS_OFF), (skipped, CustomerState::Vanished));
        assert_eq!(refused(Create, &acked, &HANDS_OFF), (GoOn, CustomerState::Unknown));
        let purged = CustomerState::Purged(purge(1, 0));
        assert_eq!(refused(Sync, &purged, &HANDS_OFF), (GoOn, purged.clone()), "--allow-recreate");
        assert_eq!(refused(Update, &purged, &HANDS_OFF), (skipped, purged));
        let fail = Policy { on_missing: OnMissing::Fail, ..POLICY };
        let failed = AfterAnswer::HandsOff(HandsOff::NotFound, Outcome::Failed);
        assert_eq!(refused(Update, &CustomerState::Unknown, &fail), (failed, CustomerState::Absent));
        let cases = [
            (CustomerState::Absent, Update, &HANDS_OFF, " → Skipped"),
            (CustomerState::Absent, Sync, &HANDS_OFF, "create first=Jan a → Created"),
            (CustomerState::Vanished, Update, &HANDS_OFF, " → Skipped"),
            (CustomerState::Vanished, Sync, &HANDS_OFF, " → Skipped"),
            (CustomerState::Vanished, Sync, &fail, " → Failed"),
            (CustomerState::Vanished, Create, &HANDS_OFF, "create first=Jan a → Created"),
            (CustomerState::Absent, Update, &POLICY, "update first=Jan → Updated"),
            (CustomerState::Vanished, Sync, &POLICY, "create first=Jan a → Created"),
            (CustomerState::Vanished, Purge, &HANDS_OFF, "purge → Purged"),
        ];
        for (state, operation, policy, expected) in cases {
            let found = row(&mut state.clone(), policy, &intent(operation, 2, "first=Jan a"));
            assert_eq!(found, expected, "{state:?} {operation:?}");
        }
    }

    #[test]
    fn a_probe_that_finds_the_customer_ends_a_row_that_keeps_its_hands_off() {
        let asked = intent(Sync, 3, "first=Jan a");
        let pending = PendingCall { by: at(1, 3), kind: CallKind::Create };
        let mut situation = Situation::default();
        let after = acknowledge_probe(&pending, &asked, &mut situation, &HANDS_OFF);
        assert_eq!(after, AfterAnswer::HandsOff(HandsOff::PerhapsMade, Outcome::Skipped));
        assert_eq!(situation.state, CustomerState::Existing);
    }

    /// Create, purge and create anew: the first row is dead.
    #[test]
    fn rows_before_a_purge_are_dead() {
        let create = intent(Sync, 1, "first=Jan a");
        let states = [
            CustomerState::Purged(purge(1, 2)),
            CustomerState::PerhapsPurged(purge(1, 2)),
            CustomerState::Purged(purge(2, 1)),
            CustomerState::Acknowledged(Acked { by: at(1, 3), purge: Some(at(1, 2)), ..Acked::default() }),
        ];
        for state in states {
            for operation in [Sync, Create, Update, AddChannel] {
                let dead = hashed(Intent { operation, ..create.clone().into_intent() });
                let mut after = state.clone();
                let (calls, outcome) = rehearse(&dead, &mut after, &POLICY).expect("no rejection");
                assert_eq!((calls.len(), outcome), (0, Outcome::Unchanged), "{operation:?} {state:?}");
                assert_eq!(after, state);
            }
        }
        let mut state = CustomerState::Purged(purge(1, 2));
        rehearse(&intent(Sync, 3, "first=Ann"), &mut state, &POLICY).expect("made anew");
        assert_eq!(state.acked().and_then(|acked| acked.purge), Some(at(1, 2)), "it is remembered");
    }

    #[test]
    fn a_customer_who_is_perhaps_purged_does_not_come_back() {
        let state = CustomerState::PerhapsPurged(purge(1, 2));
        for row in [at(1, 3), at(2, 1)] {
            let policy = Policy { export: row.export, ..POLICY };
            let asked = intent(Sync, row.row, "first=Ann");
            let rejection = rehearse(&asked, &mut state.clone(), &policy).expect_err("rejected");
            assert_eq!(rejection.code, RejectionCode::PurgedBefore);
            let policy = Policy { allow_recreate: true, ..policy };
            assert!(rehearse(&asked, &mut state.clone(), &policy).is_ok());
        }
        let mut state = state;
        let (calls, outcome) = rehearse(&intent(Purge, 2, ""), &mut state, &POLICY).expect("calls");
        assert_eq!((calls.len(), outcome, state), (1, Outcome::Purged, CustomerState::Purged(purge(1, 2))));
    }

    #[test]
    fn a_history_has_the_first_and_the_last_acknowledged_call() {
        let mut state = CustomerState::Unknown;
        let at_run = |run| Policy { export: run, run, minute: 10 * run, ..POLICY };
        let mut apply = |run, operation, number, words| {
            row(&mut state, &at_run(run), &intent(operation, number, words));
            state.acked().and_then(|acked| acked.history)
        };
        let occasion = |run, row| Occasion { run, minute: 10 * run, row };
        let history = |origin, first, last| Some(History { origin, first, last });
        let created = history(Origin::Created, occasion(1, 5), occasion(1, 5));
        assert_eq!(apply(1, Sync, 5, "first=Jan a"), created);
        assert_eq!(apply(2, Sync, 3, "first=Jan a"), created, "no call");
        let updated = history(Origin::Created, occasion(1, 5), occasion(3, 8));
        assert_eq!(apply(3, Sync, 8, "first=Piet"), updated);
        assert_eq!(apply(4, Purge, 1, ""), None);
        let again = history(Origin::Created, occasion(4, 2), occasion(4, 2));
        assert_eq!(apply(4, Sync, 2, "first=Jan"), again, "a new life");
        let mut found = Situation::default();
        turn_to_update(&mut found, 0, &POLICY);
        rehearse_from(&mut found, &intent(Sync, 1, "first=Jan"), &at_run(7)).expect("calls");
        let found = found.state.acked().and_then(|acked| acked.history);
        assert_eq!(found, history(Origin::Found, occasion(7, 1), occasion(7, 1)));
    }

    #[test]
    fn an_undo_purges_only_whom_its_run_has_created() {
        let with = |origin, run| {
            let first = Occasion { run, ..Occasion::default() };
            let history = Some(History { origin, first, last: Occasion { run: 9, ..first } });
            CustomerState::Acknowledged(Acked { by: at(1, 3), history, ..Acked::default() })
        };
        let perhaps = |reason| CustomerState::PerhapsPurged(PurgeRecord { reason, ..purge(1, 1) });
        let undo = PurgeReason::Undo { run: 5 };
        let full = Policy { full: true, export: 2, ..POLICY };
        for (state, is_purged) in [
            (with(Origin::Created, 5), true),
            (with(Origin::Created, 6), false),
            (with(Origin::Found, 5), false),
            (perhaps(undo), true),
            (perhaps(PurgeReason::Export), false),
            (CustomerState::Purged(purge(1, 1)), false),
            (CustomerState::Existing, false),
            (CustomerState::Unknown, false),
        ] {
            let asked = hashed(Intent { reason: undo, ..intent(Purge, 1, "").into_intent() });
            let mut after = state.clone();
            let expected = if is_purged { "purge → Purged" } else { " → Unchanged" };
            assert_eq!(row(&mut after, &full, &asked), expected, "{state:?}");
            assert_eq!(after, if is_purged { CustomerState::Unknown } else { state }, "no tombstone");
        }
    }

    #[test]
    fn rows_before_a_purge_that_a_person_asked_for_are_rejected() {
        let request = PurgeRecord { reason: PurgeReason::Request, ..purge(2, 1) };
        for state in [CustomerState::Purged(request), CustomerState::PerhapsPurged(request)] {
            let rejected = rehearse(&intent(Sync, 1, "first=Jan"), &mut state.clone(), &POLICY);
            assert_eq!(rejected.expect_err("rejected").code, RejectionCode::PurgedBefore);
            let recreate = Policy { allow_recreate: true, ..POLICY };
            assert!(rehearse(&intent(Sync, 1, "first=Jan"), &mut state.clone(), &recreate).is_ok());
        }
        let mut state = CustomerState::Purged(purge(1, 1));
        let asked = hashed(Intent { reason: PurgeReason::Request, ..intent(Purge, 1, "").into_intent() });
        rehearse(&asked, &mut state, &Policy { full: true, export: 2, ..POLICY }).expect("a purge");
        let by = Some(at(2, 1));
        assert_eq!(if let CustomerState::Purged(purge) = state { Some(purge.by) } else { None }, by);
    }
}
