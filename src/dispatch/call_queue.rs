//! Calls that wait: to be recorded, for the record to be durable, and for a sender.
//!
//! The next one to be recorded is one of a row that has begun, before the first of
//! another row. So rows end in about the order in which they begin, and a stopped run
//! has finished whole rows.

use std::collections::VecDeque;

use super::purge_grants::PurgeGrant;
use super::retry::{Attempts, SentCall};
use super::row::Row;
use crate::omnidesk::Call;
use crate::reconcile::{AfterAnswer, PendingCall, Situation};

#[derive(Debug)]
pub(super) struct CallQueue {
    begun: VecDeque<QueuedCall>,
    new: VecDeque<QueuedCall>,
    /// Their records are on the way to the disk, in this order.
    recording: VecDeque<QueuedCall>,
    ready: VecDeque<QueuedCall>,
    /// Calls that are sent again by the sender that is kept for them.
    retained: VecDeque<QueuedCall>,
    /// Calls that may still be recorded before one is taken.
    places: usize,
    senders: usize,
}

/// A call on its way through the queue, with its row.
#[derive(Debug)]
pub(super) struct QueuedCall {
    pub(super) row: Box<Row>,
    pub(super) call: Call,
    pub(super) purpose: Purpose,
    pub(super) sent: SentCall,
    /// Whether a sender is kept for it. Of the first calls, the next one waits for all
    /// attempts of this one.
    pub(super) has_sender: bool,
}

/// What a call is sent for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// A step of its row. It is recorded before it is sent.
    Step { record: PendingCall, grant: Option<PurgeGrant> },
    /// To find out whether this create was carried out. Its record has to stay, so a
    /// probe has none.
    Probe(PendingCall),
    /// To find out what the API answers about a customer who cannot exist.
    Control(Asker),
}

/// What waits for the answer to a control request.
#[derive(Debug)]
pub(super) enum Asker {
    /// A probe of this create.
    Probe(PendingCall),
    /// A call with a suspicious answer.
    Suspect(Box<(Call, Purpose, SentCall)>),
}

/// A call that waits for what the calls of other customers show. It holds no sender.
#[derive(Debug)]
pub(super) enum Parked {
    /// Its suspicious answer is the row's own fault, or everybody's.
    Suspect(QueuedCall),
    /// The API does not know a customer whom the checkpoint knows. `before` was the
    /// situation, and `after` follows if the customer may be created again or given up.
    Vanished { queued: QueuedCall, before: Box<Situation>, after: AfterAnswer },
}

impl QueuedCall {
    pub(super) fn new(row: Box<Row>, call: Call, purpose: Purpose, attempts: Attempts) -> Self {
        let sent = SentCall { attempts, ..SentCall::default() };
        Self { row, call, purpose, sent, has_sender: false }
    }
}

impl CallQueue {
    /// For one sender, and one call that is recorded and waits for it.
    pub(super) fn new() -> Self {
        let (begun, new, recording) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        let (ready, retained) = (VecDeque::new(), VecDeque::new());
        Self { begun, new, recording, ready, retained, places: 1, senders: 1 }
    }

    pub(super) fn add_places(&mut self, places: usize) {
        self.places += places;
    }

    pub(super) fn add_senders(&mut self, senders: usize) {
        self.senders += senders;
    }

    /// Adds a call that has to be recorded.
    pub(super) fn add(&mut self, call: QueuedCall) {
        let queue = if call.row.calls > 0 { &mut self.begun } else { &mut self.new };
        queue.push_back(call);
    }

    /// The next call to be recorded, if there is a place for it.
    pub(super) fn next_to_record(&mut self) -> Option<&QueuedCall> {
        let places = self.places.checked_sub(1)?;
        let call = self.begun.pop_front().or_else(|| self.new.pop_front())?;
        self.places = places;
        self.recording.push_back(call);
        self.recording.back()
    }

    /// The first call whose record has become durable.
    pub(super) fn pop_recorded(&mut self) -> Option<QueuedCall> {
        let mut call = self.recording.pop_front()?;
        call.sent.is_recorded = true;
        Some(call)
    }

    /// Adds a call that can be sent as soon as there is a sender.
    pub(super) fn add_ready(&mut self, call: QueuedCall) {
        let queue = if call.has_sender { &mut self.retained } else { &mut self.ready };
        queue.push_back(call);
    }

    /// The next call to be sent, if there is a sender for it.
    pub(super) fn take(&mut self) -> Option<QueuedCall> {
        if let Some(call) = self.retained.pop_front() {
            return Some(call);
        }
        let senders = self.senders.checked_sub(1)?;
        let mut call = self.ready.pop_front()?;
        self.senders = senders;
        self.places += usize::from(call.sent.is_recorded && call.sent.requests == 0);
        call.has_sender = true;
        Some(call)
    }

    /// The call needs its sender no more, or not for a while.
    pub(super) fn release_sender(&mut self, call: &mut QueuedCall) {
        self.senders += usize::from(std::mem::take(&mut call.has_sender));
    }

    /// Takes all calls that nobody works on.
    pub(super) fn take_all(&mut self) -> Vec<QueuedCall> {
        let queues = [&mut self.retained, &mut self.ready, &mut self.begun, &mut self.new];
        queues.into_iter().flat_map(std::mem::take).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::{Job, LoadedState};
    use crate::mapping::{Customer, Intent, PrimaryId};
    use crate::omnidesk::{Action, CallKind};
    use crate::reconcile::{HashKey, HashedIntent, RowFingerprint};

    /// A call of a row that has made so many calls before.
    fn call(name: &str, calls: u64) -> QueuedCall {
        let customer = Customer { brand_id: 1, primary_id: PrimaryId::new(name).expect("an id") };
        let intent = Intent::purge_missing(1, customer.clone());
        let intent = Box::new(HashedIntent::new(intent, &HashKey::new([0; 32])));
        let record = PendingCall { by: Default::default(), kind: CallKind::Purge };
        let job = Job { fingerprint: RowFingerprint::NONE, intent };
        let row = Row { calls, ..Row::new(job, LoadedState::default(), None) };
        let call = Call { customer, action: Action::Purge };
        let purpose = Purpose::Step { record, grant: None };
        QueuedCall::new(Box::new(row), call, purpose, Attempts::default())
    }

    fn name(call: &QueuedCall) -> String {
        call.call.customer.primary_id.as_str().to_owned()
    }

    fn record_all(queue: &mut CallQueue) -> Vec<String> {
        std::iter::from_fn(|| queue.next_to_record().map(name)).collect()
    }

    fn take(queue: &mut CallQueue) -> Option<String> {
        queue.take().as_ref().map(name)
    }

    #[test]
    fn a_row_that_has_begun_is_recorded_first_and_a_place_is_free_once_its_call_is_taken() {
        let mut queue = CallQueue::new();
        for (name, calls) in [("new1", 0), ("begun1", 1), ("new2", 0)] {
            queue.add(call(name, calls));
        }
        assert_eq!(record_all(&mut queue), ["begun1"]);
        queue.add(call("begun2", 2));
        let recorded = queue.pop_recorded().expect("one is recorded");
        queue.add_ready(recorded);
        assert!(record_all(&mut queue).is_empty(), "it waits for a sender");
        assert_eq!(take(&mut queue).as_deref(), Some("begun1"));
        assert_eq!(record_all(&mut queue), ["begun2"]);
        queue.add_places(2);
        assert_eq!(record_all(&mut queue), ["new1", "new2"]);
    }

    #[test]
    fn a_call_waits_for_a_sender_unless_one_is_kept_for_it() {
        let mut queue = CallQueue::new();
        queue.add_ready(call("first", 0));
        queue.add_ready(call("second", 0));
        let mut first = queue.take().expect("a call");
        assert_eq!(take(&mut queue), None);
        first.sent.requests = 1;
        queue.add_ready(first);
        let mut first = queue.take().expect("the same call");
        assert_eq!((name(&first).as_str(), take(&mut queue)), ("first", None));
        queue.release_sender(&mut first);
        assert_eq!(take(&mut queue).as_deref(), Some("second"));
        queue.add(call("third", 0));
        assert_eq!(queue.take_all().iter().map(name).collect::<Vec<_>>(), ["third"]);
    }
}
