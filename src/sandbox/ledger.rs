//! Everything that the server records, behind one lock: its content, the log, the violations.

use std::time::Instant;

use super::Settings;
use super::answer::Answer;
use super::call::{Call, Route};
use super::customer::CustomerId;
use super::faults::{Fault, FaultSelector};
use super::limit::RateLimiter;
use super::list::ListRange;
use super::log::{End, Entry, Log};
use super::reaction::Reaction;
use super::script::Script;
use super::state::{State, Store};
use super::violations::Violations;

#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) store: Store,
    pub(super) log: Log,
    violations: Violations,
    script: Script,
    faults: FaultSelector,
    limiter: Option<RateLimiter>,
    started: Instant,
}

/// A correct call within the rate limit.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) seq: u64,
    pub(super) call: Call,
    pub(super) reaction: Reaction,
}

impl Ledger {
    pub(super) fn new(settings: &Settings, now: Instant) -> Self {
        let mut store = Store::new(settings);
        store.counters.faults = Fault::ALL.iter().map(|fault| (fault.as_str().to_owned(), 0)).collect();
        Self {
            store,
            log: Log::default(),
            violations: Violations::default(),
            script: settings.script.clone(),
            faults: FaultSelector::new(settings.faults, settings.seed, settings.faults_per_customer_max),
            limiter: settings.rate_limit.map(|limit| RateLimiter::new(limit, now)),
            started: now,
        }
    }

    /// Records a request that has been read whole, and admits it or answers it at once.
    ///
    /// A request over the limit gets no fault. Which requests are over it is a matter of time, so the faults of a seed would
    /// differ from run to run.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        route: Option<Route>,
        call: Result<Call, Answer>,
    ) -> Result<Admission, Answer> {
        self.store.counters.requests += 1;
        let seq = self.store.counters.requests;
        let customer = call.as_ref().ok().map(|call| call.customer.id.clone());
        let admitted = self.admit(now, call);
        let (fault, reaction) = admitted.as_ref().map_or((None, Reaction::Execute), |call| self.react(call));
        let end =
            admitted.as_ref().map_or_else(|answer| End::Answered(answer.status.as_u16()), |_| End::Pending);
        let at_us = now.saturating_duration_since(self.started).as_micros();
        let at_us = u64::try_from(at_us).unwrap_or(u64::MAX);
        let name = route.map(|route| route.endpoint().name);
        self.log.add(Entry { seq, at_us, call: name, customer, fault: fault.map(Fault::as_str), end });
        let call = admitted?;
        let id = &call.customer.id;
        if call.route == Route::Create && self.store.is_create_acknowledged(id) {
            self.violations.add(id, "create again after one that was answered with success");
        }
        self.violations.begin(id, seq, call.route.endpoint().name);
        Ok(Admission { seq, call, reaction })
    }

    /// Records a request for the list, and answers it.
    pub(super) fn receive_list(&mut self, now: Instant, range: Result<ListRange, Answer>) -> Answer {
        self.store.counters.requests += 1;
        let seq = self.store.counters.requests;
        let admitted = self.admit(now, range);
        let answer = admitted.map_or_else(|refusal| refusal, |range| self.store.list(range));
        let at_us = now.saturating_duration_since(self.started).as_micros();
        let at_us = u64::try_from(at_us).unwrap_or(u64::MAX);
        let end = End::Answered(answer.status.as_u16());
        self.log.add(Entry { seq, at_us, call: Some("list"), customer: None, fault: None, end });
        answer
    }

    fn admit<T>(&mut self, now: Instant, request: Result<T, Answer>) -> Result<T, Answer> {
        if let Some(limiter) = &mut self.limiter
            && let Err(wait) = limiter.take(now)
        {
            self.store.counters.throttled += 1;
            return Err(Answer::throttled(limiter.retry_after(wait)));
        }
        request.inspect_err(|_| self.store.counters.refused += 1)
    }

    fn react(&mut self, call: &Call) -> (Option<Fault>, Reaction) {
        let counters = &mut self.store.counters;
        if let Some(reaction) = self.script.next(call) {
            counters.scripted += 1;
            return (None, reaction);
        }
        let Some((fault, reaction)) = self.faults.next(&call.customer.id) else {
            return (None, Reaction::Execute);
        };
        *counters.faults.entry(fault.as_str().to_owned()).or_default() += 1;
        (Some(fault), reaction)
    }

    /// Records the end of an admitted request.
    pub(super) fn end(&mut self, seq: u64, customer: &CustomerId, end: End) {
        self.violations.end(customer, seq, end);
        self.log.set_end(seq, end);
    }

    pub(super) fn snapshot(&self) -> State {
        self.store.snapshot(self.violations.texts())
    }
}
