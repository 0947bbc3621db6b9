//! All that the server writes down, behind one lock: what it holds, what it counts, what it noticed.

use std::time::Instant;

use super::Settings;
use super::answers::Answer;
use super::calls::{Call, CustomerKey, Route};
use super::faults::{Chance, Fault};
use super::limit::{Bucket, seconds_up};
use super::log::{End, Log};
use super::state::{Base, Counters, State};
use super::violations::Watch;

/// The books of one server.
#[derive(Debug)]
pub(super) struct Books {
    base: Base,
    counters: Counters,
    log: Log,
    watch: Watch,
    chance: Chance,
    limit: Option<(Bucket, bool)>,
    started: Instant,
}

/// What to do about a request that has been received.
#[derive(Debug)]
pub(super) enum Admission {
    /// Answer at once: it is over the limit or not a correct call.
    Answer(Answer),
    /// Act on it, and misbehave if there is a fault.
    Act(Call, Option<Fault>),
}

impl Books {
    /// Nothing has happened yet.
    pub(super) fn new(settings: &Settings, now: Instant) -> Self {
        let faults = Fault::ALL.iter().map(|fault| (fault.name().to_owned(), 0)).collect();
        Self {
            base: Base::new(settings.duplicates, settings.brands.clone()),
            counters: Counters { faults, ..Counters::default() },
            log: Log::default(),
            watch: Watch::default(),
            chance: Chance::new(settings.faults, settings.seed, settings.faults_per_customer_max),
            limit: settings.rate_limit.map(|limit| (Bucket::new(limit, now), limit.retry_after)),
            started: now,
        }
    }

    /// Writes down a request that has been read whole, gives it a number and decides what it meets.
    ///
    /// A request over the limit draws no fault: which requests are over it is a matter of time, and would make the
    /// faults of a seed differ from run to run.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        route: Option<Route>,
        read: Result<Call, Answer>,
    ) -> (u64, Admission) {
        self.counters.requests += 1;
        let over_limit = self.take_token(now);
        let fault = match (&read, &over_limit) {
            (Ok(call), None) => self.chance.next(&call.customer),
            _ => None,
        };
        let at_us =
            u64::try_from(now.saturating_duration_since(self.started).as_micros()).unwrap_or(u64::MAX);
        let customer = read.as_ref().ok().map(|call| &call.customer);
        let seq = self.log.receive(at_us, route.map(Route::name), customer, fault.map(Fault::name));
        let admission = match (over_limit, read) {
            (Some(throttled), _) => {
                self.counters.throttled += 1;
                self.turn_away(seq, throttled)
            }
            (None, Err(refusal)) => {
                self.counters.refused += 1;
                self.turn_away(seq, refusal)
            }
            (None, Ok(call)) => {
                self.admit(seq, &call, fault);
                Admission::Act(call, fault)
            }
        };
        (seq, admission)
    }

    /// A request that is not admitted has nothing to be settled later, so its end is written down at once.
    fn turn_away(&mut self, seq: u64, answer: Answer) -> Admission {
        self.log.settle(seq, End::Answered, Some(answer.status));
        Admission::Answer(answer)
    }

    fn take_token(&mut self, now: Instant) -> Option<Answer> {
        let (bucket, says_when) = self.limit.as_mut()?;
        let wait = bucket.take(now).err()?;
        Some(Answer::throttled(says_when.then(|| seconds_up(wait))))
    }

    fn admit(&mut self, seq: u64, call: &Call, fault: Option<Fault>) {
        if let Some(count) = fault.and_then(|fault| self.counters.faults.get_mut(fault.name())) {
            *count += 1;
        }
        let route = call.action.route();
        if route == Route::Create && self.base.is_create_answered(&call.customer) {
            self.watch.violation(&call.customer, "create again after one that was answered with success");
        }
        self.watch.begin(&call.customer, seq, route.name());
    }

    /// Does what the call says.
    pub(super) fn act(&mut self, call: Call) -> Answer {
        self.base.act(call, &mut self.counters)
    }

    /// A call is put off until after its answer.
    pub(super) fn put_off(&mut self) {
        self.counters.late_pending += 1;
    }

    /// Does what a call says that was put off; nobody hears the answer.
    pub(super) fn act_late(&mut self, call: Call) {
        self.counters.late_pending -= 1;
        self.act(call);
    }

    /// Writes down the end of an admitted request: its answer, or `None` if the connection is closed without one.
    pub(super) fn settle(&mut self, seq: u64, route: Route, customer: &CustomerKey, answer: Option<&Answer>) {
        self.watch.finish(customer, seq);
        let end = if answer.is_some() { End::Answered } else { End::Closed };
        self.log.settle(seq, end, answer.map(|answer| answer.status));
        if route == Route::Create && answer.is_some_and(Answer::is_success) {
            self.base.note_create_answered(customer);
        }
    }

    /// Writes down that the client of an admitted request has gone.
    pub(super) fn abandon(&mut self, seq: u64, customer: &CustomerKey) {
        self.watch.abandon(customer, seq);
        self.log.settle(seq, End::Abandoned, None);
    }

    /// The content of `GET /sandbox/state`.
    pub(super) fn snapshot(&self) -> State {
        let (customers, purged) = self.base.content();
        let violations = self.watch.violations().to_vec();
        State { customers, purged, counters: self.counters.clone(), violations }
    }

    /// The content of `GET /sandbox/log`.
    pub(super) fn log_lines(&self) -> Result<String, serde_json::Error> {
        self.log.to_json_lines()
    }
}
