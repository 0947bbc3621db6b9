//! Which call a row needs next.

use super::hashes::{HashKey, RowFingerprint};
use super::outcome::Outcome;
use super::state::{Acked, PendingCall, RowProgress};
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
    pub told: Option<Acked>,
    /// What this row has done already.
    pub progress: RowProgress,
    /// The API said that the customer does not exist.
    absent: bool,
    /// The API said that the customer exists.
    existing: bool,
}

impl Situation {
    /// At the start of a row.
    #[must_use]
    pub fn new(told: Option<Acked>, progress: RowProgress) -> Self {
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
        // That something exists may be said of the address, and not of the
        // customer: an update shows it, also one without a field.
        let is_unshown = situation.existing && !situation.progress.updated;
        if !fields.is_empty() || is_unshown {
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
    told: Option<&Acked>,
    situation: &Situation,
    policy: &Policy,
) -> Vec<(FieldName, FieldValue)> {
    let asked_by_name = intent.operation == Operation::Update && !situation.existing;
    let every = policy.full || asked_by_name;
    // A create has told all of them.
    if situation.progress.created || every && situation.progress.updated {
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

fn effect(progress: &RowProgress) -> Outcome {
    match progress {
        RowProgress { created: true, .. } => Outcome::Created,
        RowProgress { updated: true, .. } => Outcome::Updated,
        RowProgress { addresses, .. } if !addresses.is_empty() => Outcome::ChannelAdded,
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
    let before = situation.told.take();
    let tombstone = before.as_ref().filter(|told| told.purged).cloned();
    if let (Some(tombstone), Action::Update { .. } | Action::AddChannel { .. }) = (&tombstone, &call.action) {
        // Nobody is brought back by that, whatever the API says to it.
        situation.progress.updated |= matches!(call.action, Action::Update { .. });
        if let Action::AddChannel { address, .. } = &call.action {
            situation.progress.addresses.push(key.address(address));
        }
        situation.told = Some(tombstone.clone());
        return;
    }
    let mut told = before.filter(|told| !told.purged).unwrap_or_else(Acked::existing);
    told.touch(policy.export, row);
    told.perhaps_purged = false;
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
            // Who was purged before another export stays so.
            let earlier = tombstone.filter(|tombstone| tombstone.export != policy.export);
            told = earlier.unwrap_or_else(|| Acked::tombstone(policy.export, row));
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
/// `false` if the row has come this way before, or the other way: unless a create
/// of its own, whose answer was lost, may have made the customer.
pub fn turned_existing(situation: &mut Situation, may_be_its_own: bool) -> bool {
    // A create of this row, whose answer was lost, has made who was absent.
    let first = !situation.existing && (!situation.absent || may_be_its_own);
    situation.existing = true;
    situation.told = Some(Acked::existing());
    first
}

/// An update or add-channel was refused because there is no such customer: it
/// goes on as a create, if the row has something to create one of. `false` if
/// it has not, has come this way before, or the customer was purged.
pub fn turned_absent(intent: &Intent, situation: &mut Situation) -> bool {
    let first = !situation.absent && !situation.existing && !situation.progress.created;
    let named = intent.fields.iter().any(|(name, value)| {
        matches!(name, FieldName::First | FieldName::Last) && *value != FieldValue::Clear
    });
    situation.absent = true;
    // A purge whose answer was lost has been carried out, as is seen now.
    if let Some(told) = situation.told.take_if(|told| told.perhaps_purged) {
        situation.told = Some(Acked::tombstone(told.export, told.row));
    }
    let was_purged = situation.told.as_ref().is_some_and(|told| told.purged);
    situation.told.take_if(|told| !told.purged);
    let can = match intent.operation {
        Operation::Sync | Operation::Create => true,
        Operation::Update => !was_purged,
        _ => false,
    };
    first && can && (named || !intent.addresses.is_empty())
}

/// What is certain of a customer while `call` is under way: what it may change
/// is not, and would otherwise be taken for unchanged if its answer is lost.
#[must_use]
pub fn under_way(call: &Call, told: Option<&Acked>, policy: &Policy) -> Option<Acked> {
    let mut told = told?.clone();
    match &call.action {
        Action::Update { fields } => fields.iter().for_each(|(name, _)| told.forget(&policy.key, name)),
        Action::Purge => {
            told = Acked { perhaps_purged: true, export: told.export, row: told.row, ..Acked::existing() };
        }
        Action::Create { .. } | Action::AddChannel { .. } => {}
    }
    Some(told)
}

/// Whether a row asks for just what its customer was told, and nothing has
/// vanished from it: as long as that stays what was told, a row with the same
/// cells needs no look at them. Not of one that has something to warn of.
#[must_use]
pub fn asks_nothing_of(intent: &Intent, told: &Acked, key: &HashKey) -> bool {
    intent.operation == Operation::Sync
        && intent.warnings.is_empty()
        && !told.purged
        && !told.perhaps_purged
        && told.addresses.len() == intent.addresses.len()
        && intent.addresses.iter().all(|address| told.has_address(key.address(address)))
        && intent.fields.iter().all(|(name, value)| told.has(key, name, value))
}

/// Notes the print of a row whose last call was acknowledged.
pub fn note_print(intent: &Intent, situation: &mut Situation, policy: &Policy, print: RowFingerprint) {
    let told = situation.told.as_mut();
    if let Some(told) = told.filter(|told| asks_nothing_of(intent, told, &policy.key)) {
        told.print = print;
    }
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
pub fn found_by_probe(flight: &PendingCall, intent: &Intent, situation: &mut Situation, policy: &Policy) {
    // Who was purged before that create is there again.
    situation.told.take_if(|told| told.purged);
    acknowledged(&probe(intent), intent, situation, policy);
    let own = flight.export == policy.export && flight.row == intent.at.number;
    situation.progress.created = own;
    situation.progress.updated = !own;
    if let (Some(told), Some(address)) = (&mut situation.told, flight.address) {
        told.add_address(address);
        situation.progress.addresses.push(address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Address, Channel, Customer, PrimaryId};
    use crate::omnidesk::CallKind;
    use crate::source::RowRef;
    use Operation::{AddChannel, Create, Purge, Sync, Update};

    const POLICY: Policy =
        Policy { key: HashKey::new([7; 32]), export: 1, full: false, allow_recreate: false };

    /// `first=Jan last= mail` : fields, a cleared one, and an address at `x.nl`.
    fn intent(operation: Operation, row: u64, words: &str) -> Intent {
        let (mut fields, mut addresses) = (Vec::new(), Vec::new());
        for word in words.split_whitespace() {
            match word.split_once('=') {
                None => addresses
                    .push(Address::parse(Channel::Email, format!("{word}@x.nl"), None).expect("an address")),
                Some((name, value)) => {
                    let name = match name {
                        "first" => FieldName::First,
                        "last" => FieldName::Last,
                        other => FieldName::Custom(other.into()),
                    };
                    let value =
                        if value.is_empty() { FieldValue::Clear } else { FieldValue::Text(value.into()) };
                    fields.push((name, value));
                }
            }
        }
        Intent {
            at: RowRef { number: row, ..RowRef::default() },
            customer: Customer { primary_id: PrimaryId::new("1").expect("an id"), brand_id: 2 },
            operation,
            fields,
            addresses,
            ticket_id: None,
            no_sync: false,
            warnings: Vec::new(),
        }
    }

    /// A call in the words of [`intent`].
    fn words(call: &Call) -> String {
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
    fn row(told: &mut Option<Acked>, policy: &Policy, intent: &Intent) -> String {
        let mut situation = Situation::new(told.take(), RowProgress::default());
        let said = match rehearse(intent, &mut situation, policy) {
            Ok((calls, outcome)) => {
                if calls.is_empty() {
                    settled_silently(intent, &mut situation, policy);
                }
                let calls: Vec<String> = calls.iter().map(words).collect();
                format!("{} → {outcome:?}", calls.join(", "))
            }
            Err(rejection) => rejection.code.as_str().to_owned(),
        };
        *told = situation.told;
        said
    }

    /// Rows of one customer, one after the other: export, row, operation, words
    /// → calls and outcome.
    fn check(rows: &[(u32, u64, Operation, &str, &str)]) {
        let mut told = None;
        for (export, number, operation, asked, expected) in rows {
            let policy = Policy { export: *export, ..POLICY };
            let said = row(&mut told, &policy, &intent(*operation, *number, asked));
            assert_eq!(said, *expected, "export {export}, row {number}: {operation:?} {asked}");
        }
    }

    #[test]
    fn a_customer_is_made_once_and_told_only_what_is_new() {
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
    fn a_purge_is_the_last_word_until_a_later_row() {
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
        let mut told = Some(Acked::tombstone(1, 8));
        let recreate = Policy { export: 2, allow_recreate: true, ..POLICY };
        assert_eq!(
            row(&mut told, &recreate, &intent(Sync, 1, "first=Jan a")),
            "create first=Jan a → Created"
        );
        let full = Policy { full: true, ..POLICY };
        assert_eq!(row(&mut Some(Acked::tombstone(1, 1)), &full, &intent(Purge, 9, "")), "purge → Purged");
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
        let mut told = None;
        let full = Policy { full: true, ..POLICY };
        let asked = intent(Sync, 1, "first=Jan a b");
        assert_eq!(row(&mut told, &full, &asked), "create first=Jan a, add b → Created");
        let again = intent(Sync, 2, "first=Jan a b");
        assert_eq!(row(&mut told, &full, &again), "update first=Jan, add a, add b → Updated");
    }

    #[test]
    fn a_create_that_meets_a_customer_goes_on_as_an_update_once() {
        let asked = intent(Sync, 1, "first=Jan a");
        let mut situation = Situation::new(None, RowProgress::default());
        assert!(turned_existing(&mut situation, false));
        let (calls, outcome) = rehearse(&asked, &mut situation, &POLICY).expect("calls");
        let calls: Vec<_> = calls.iter().map(words).collect();
        assert_eq!((calls.join(", ").as_str(), outcome), ("update first=Jan, add a", Outcome::Updated));
        assert!(!turned_existing(&mut situation, false));
        assert!(!turned_absent(&asked, &mut situation), "no way back");
        let mut absent = Situation::new(None, RowProgress::default());
        assert!(turned_absent(&asked, &mut absent));
        let mut own = absent.clone();
        assert!(!turned_existing(&mut absent, false), "nor the other way");
        assert!(turned_existing(&mut own, true), "its own create, whose answer was lost");
    }

    #[test]
    fn an_update_that_meets_nobody_goes_on_as_a_create_if_it_can() {
        let created = RowProgress { created: true, ..RowProgress::default() };
        let cases = [
            (Update, "first=Jan", None, RowProgress::default(), true),
            (Sync, "last=Vis", Some(Acked::existing()), RowProgress::default(), true),
            (Create, "a", None, RowProgress::default(), true),
            (Update, "first= tier=x", None, RowProgress::default(), false),
            (Update, "tier=x", None, RowProgress::default(), false),
            (Update, "", None, RowProgress::default(), false),
            (AddChannel, "first=Jan a", None, RowProgress::default(), false),
            (Purge, "first=Jan a", None, RowProgress::default(), false),
            (Update, "first=Jan", Some(Acked::tombstone(1, 1)), RowProgress::default(), false),
            (Update, "first=Jan", None, created, false),
        ];
        for (operation, asked, told, progress, expected) in cases {
            let asked_for = intent(operation, 1, asked);
            let mut situation = Situation::new(told, progress);
            assert_eq!(turned_absent(&asked_for, &mut situation), expected, "{operation:?} {asked}");
            assert!(!turned_absent(&asked_for, &mut situation), "twice: {operation:?} {asked}");
        }
        let asked = intent(Update, 1, "first=Jan a b");
        let mut situation = Situation::new(Some(Acked::existing()), RowProgress::default());
        assert!(turned_absent(&asked, &mut situation));
        let (calls, outcome) = rehearse(&asked, &mut situation, &POLICY).expect("calls");
        let calls: Vec<_> = calls.iter().map(words).collect();
        assert_eq!(
            (calls.join(", ").as_str(), outcome),
            ("create first=Jan a, add b", Outcome::Created),
            "with its addresses"
        );
    }

    #[test]
    fn a_tombstone_outlives_the_answer_that_there_is_nobody() {
        let mut situation = Situation::new(Some(Acked::tombstone(1, 1)), RowProgress::default());
        turned_absent(&intent(Update, 2, "first=Jan"), &mut situation);
        assert_eq!(situation.told, Some(Acked::tombstone(1, 1)));
    }

    #[test]
    fn what_is_under_way_is_not_certain() {
        let key = &POLICY.key;
        let (first, last) = (FieldName::First, FieldName::Last);
        let mut told = Acked::existing();
        told.touch(1, 4);
        let (jan, vis) = (FieldValue::Text("Jan".into()), FieldValue::Text("Vis".into()));
        told.tell(key, &first, &jan, 4);
        told.tell(key, &last, &vis, 4);
        let customer = intent(Sync, 1, "").customer;
        let under = |action| {
            under_way(&Call { customer: customer.clone(), action }, Some(&told), &POLICY).expect("known")
        };
        let update = under(Action::Update { fields: vec![(first.clone(), jan.clone())] });
        assert!(!update.has(key, &first, &jan) && update.has(key, &last, &vis));
        let unknown = Acked { perhaps_purged: true, export: 1, row: 4, ..Acked::existing() };
        assert_eq!(under(Action::Purge), unknown);
        let address = intent(Sync, 1, "a").addresses.remove(0);
        assert_eq!(under(Action::AddChannel { address, no_sync: false }), told);
        assert_eq!(under_way(&Call { customer, action: Action::Purge }, None, &POLICY), None);
    }

    #[test]
    fn a_row_without_calls_is_recorded_unless_something_stands_behind_it() {
        let silently = |told: Option<Acked>, asked: &Intent| {
            let mut situation = Situation::new(told, RowProgress::default());
            (settled_silently(asked, &mut situation, &POLICY), situation.told)
        };
        let mut told = Acked::existing();
        told.touch(1, 10);
        let jan = FieldValue::Text("Jan".into());
        told.tell(&POLICY.key, &FieldName::First, &jan, 10);
        let (recorded, after) = silently(Some(told.clone()), &intent(Sync, 20, "first=Jan last=Vis"));
        let after = after.expect("known");
        assert!(recorded && after.has_later(&POLICY.key, &FieldName::First, 1, 19));
        assert!(
            !after.has(&POLICY.key, &FieldName::Last, &FieldValue::Text("Vis".into())),
            "it was not told"
        );
        let unrecorded = [
            (None, Sync, 20),
            (Some(Acked::tombstone(1, 1)), Sync, 20),
            (Some(told.clone()), Purge, 20),
            (Some(told.clone()), Sync, 9),
        ];
        for (told, operation, row) in unrecorded {
            let (recorded, after) = silently(told.clone(), &intent(operation, row, "first=Jan"));
            assert_eq!((recorded, after), (false, told), "{operation:?} {row}");
        }
        assert!(silently(Some(told), &intent(Sync, 10, "first=Jan")).0, "its own row again");
    }

    #[test]
    fn a_probe_finds_the_customer_of_this_row_or_of_another() {
        let asked = intent(Sync, 3, "first=Jan a");
        let address = POLICY.key.address(&asked.addresses[0]);
        assert_eq!(words(&probe(&asked)), "update first=Jan");
        assert_eq!(words(&probe(&intent(AddChannel, 3, "first=Jan a"))), "update");
        for (export, row, own) in [(1, 3, true), (1, 2, false), (2, 3, false)] {
            let mut situation = Situation::new(None, RowProgress::default());
            let flight = PendingCall::new(export, row, CallKind::Create, Some(address));
            found_by_probe(&flight, &asked, &mut situation, &POLICY);
            let progress = &situation.progress;
            assert_eq!((progress.created, progress.updated), (own, !own), "export {export}, row {row}");
            assert_eq!(progress.addresses, [address]);
            assert!(situation.told.as_ref().is_some_and(|told| told.has_address(address)));
            let (calls, _) = rehearse(&asked, &mut situation, &POLICY).expect("calls");
            assert!(calls.is_empty(), "nothing is left to do: {calls:?}");
        }
    }
}
