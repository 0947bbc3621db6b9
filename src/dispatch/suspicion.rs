//! Answers that are judged by what the calls of other customers show, and the control
//! request: an update of a customer who cannot exist.
//!
//! Its answer shows whether the API can be reached at all, and whether a probe tells
//! customers who exist from those who do not.

use tokio::time::Instant;

use super::call_queue::{Asker, Parked, Purpose, QueuedCall};
use super::record::Record;
use super::retry::{Attempts, SentCall};
use super::row::{LostCreate, Row};
use super::scheduler::Scheduler;
use super::stop::Stop;
use super::vanished_brake::BrakeVerdict;
use crate::mapping::Place;
use crate::omnidesk::{Answer, Call, Meaning};
use crate::reconcile::{AfterAnswer, Situation};

impl Scheduler {
    /// A call got a suspicious answer.
    pub(super) fn suspect(&mut self, mut queued: QueuedCall) {
        if self.judgement.suspect(queued.row.key(), Instant::now()) {
            self.stop(interception(&queued.sent, queued.row.at()));
        }
        if self.is_stopped() {
            // No row is to blame.
            queued.sent.answer = None;
            return self.take_in(queued);
        }
        self.park(Parked::Suspect(queued));
    }

    pub(super) fn park(&mut self, parked: Parked) {
        self.parked.push(parked);
        self.wake();
    }

    /// Looks again at parked calls, if something was shown or nobody else is left.
    pub(super) fn review_parked(&mut self) {
        loop {
            let is_last = self.is_rest_parked();
            let has_news = std::mem::take(&mut self.has_news);
            if self.parked.is_empty() || !(has_news || is_last) {
                return;
            }
            for parked in std::mem::take(&mut self.parked) {
                match parked {
                    Parked::Suspect(queued) => self.review_suspect(queued, is_last),
                    Parked::Vanished { queued, before, after } => {
                        self.review_vanished(queued, before, after, is_last);
                    }
                }
            }
        }
    }

    fn review_suspect(&mut self, mut queued: QueuedCall, is_last: bool) {
        if self.is_stopped() {
            queued.sent.answer = None;
            self.take_in(queued);
        } else if !self.judgement.is_suspect(queued.row.key()) {
            self.take_in(queued);
        } else if is_last && !self.is_asking {
            // No other customer is left to try: the control request decides.
            let QueuedCall { row, call, purpose, sent, .. } = queued;
            self.ask_control(row, Asker::Suspect(Box::new((call, purpose, sent))));
        } else {
            self.parked.push(Parked::Suspect(queued));
        }
    }

    /// Whether a known customer whom the API does not know may be created again, or be
    /// given up.
    fn review_vanished(
        &mut self,
        mut queued: QueuedCall,
        before: Box<Situation>,
        mut after: AfterAnswer,
        is_last: bool,
    ) {
        let verdict = self.brake.verdict(is_last);
        if verdict.is_none() && !self.is_stopped() {
            return self.parked.push(Parked::Vanished { queued, before, after });
        }
        if verdict == Some(BrakeVerdict::Stop) {
            let message = queued.sent.message().to_owned();
            self.stop(Stop::Vanished { at: queued.row.at(), message });
        }
        if self.is_stopped() {
            queued.row.situation = *before;
            queued.sent.answer = None;
            after = AfterAnswer::Fail;
        }
        if let Purpose::Step { record, .. } = queued.purpose {
            self.go_on(queued, record, after);
        }
    }

    /// Sends a control request. One at a time: the first answer is for all.
    pub(super) fn ask_control(&mut self, row: Box<Row>, asker: Asker) {
        self.is_asking = true;
        let call = Call::control(row.brand_id());
        self.enqueue(QueuedCall::new(row, call, Purpose::Control(asker), Attempts::default()));
    }

    /// Takes in the answer to a control request.
    pub(super) fn finish_control(&mut self, row: Box<Row>, call: &Call, asker: Asker, sent: &SentCall) {
        self.is_asking = false;
        let shown = sent.answer.as_ref().and_then(Answer::shows_probing);
        if let Some(works) = shown {
            let fooled_by = (!works).then(|| call.customer.clone());
            self.record(Record::Control { fooled_by });
            self.probing = shown;
        }
        match asker {
            Asker::Probe(create) => self.end_question(LostCreate { row, create }, sent),
            Asker::Suspect(suspect) => {
                let (call, purpose, mut sent) = *suspect;
                if shown.is_some() {
                    self.judgement.clear();
                    self.has_news = true;
                } else {
                    self.stop(interception(&sent, row.at()));
                    sent.answer = None;
                }
                self.take_in(QueuedCall { row, call, purpose, sent, has_sender: false });
            }
        }
        for lost in std::mem::take(&mut self.unprobed) {
            self.resolve_create(lost);
        }
    }
}

fn interception(sent: &SentCall, at: Place) -> Stop {
    let message = sent.message().to_owned();
    match sent.meaning() {
        Some(Meaning::KeyRefused) => Stop::KeyRefused { at, message },
        _ => Stop::Intercepted { at, message },
    }
}
