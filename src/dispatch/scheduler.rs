//! Decides which row goes next. Rows of one customer go one after the other, in
//! the export's order.
//!
//! A row is a value. It waits in one place at a time: for its customer's state, for an
//! earlier row, in the [`CallQueue`], with a sender, for a time, or for what the calls of
//! other customers show. Whatever happens to it is one synchronous step, so nothing
//! happens in between.

use std::cell::RefCell;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::call_queue::{CallQueue, Parked, QueuedCall};
use super::canary::{Canary, Evidence};
use super::circuit_breaker::CircuitBreaker;
use super::judgement::Judgement;
use super::pace::Gauge;
use super::pacer::Pacer;
use super::purge_grants::PurgeGrants;
use super::record::{LoadedState, Problem, Record, RecordQueue, RecorderClosed, Reply};
use super::row::{Job, LostCreate, Row, RowEnd};
use super::settings::DispatchSettings;
use super::stop::{Stop, StopSwitch};
use super::timeline::Timeline;
use super::vanished_brake::VanishedBrake;
use super::waits::Waits;
use crate::mapping::Intent;
use crate::omnidesk::{Call, Client};
use crate::reconcile::{BuildKeyHasher, CustomerKey, Outcome, Policy};
use crate::units::Amount;

/// The fewest rows that are ready for a call at once: their memory stays in the
/// processor's cache.
const ROWS_READY_MIN: usize = 256;
/// The fewest for each sender.
const ROWS_READY_PER_SENDER: usize = 4;
/// The fewest rows held in memory: as many customers may be in back-off before
/// others have to wait.
const ROWS_HELD_MIN: usize = 1024;
/// The fewest for each sender.
const ROWS_HELD_PER_SENDER: usize = 8;

/// Calls of this time may be recorded before a sender is free, so that many go
/// into one commit. A commit takes less.
const RECORDED_AHEAD: Duration = Duration::from_millis(10);
/// The most of them for each sender, since after a crash each is in doubt.
const RECORDED_AHEAD_PER_SENDER: u32 = 3;

/// Fewer failed calls are too few to judge their share.
const ERRORS_MIN: u64 = 20;

/// The length from which ended cool-downs are removed from the list.
const COOL_DOWNS_CHECKED_AT: usize = 1024;

/// What senders wait for, and what wakes the scheduler.
pub(super) struct Network {
    pub(super) client: Client,
    pub(super) pacer: Pacer,
    pub(super) switch: StopSwitch,
    /// A call is ready to be sent.
    pub(super) call_ready: Notify,
    /// The scheduler has something to do besides answers.
    pub(super) attention: Notify,
}

/// The state of all rows. One thread, so it is borrowed for one step at a time.
pub(super) struct Scheduler {
    pub(super) settings: DispatchSettings,
    pub(super) network: Rc<Network>,
    pub(super) start: Instant,
    records: RecordQueue,
    /// Customers with a row on its way, and the rows that wait behind it.
    customers: HashMap<CustomerKey, VecDeque<Job>, BuildKeyHasher>,
    cool_downs: HashMap<CustomerKey, Instant, BuildKeyHasher>,
    /// Rows whose states are being loaded, in the order of the replies.
    loading: VecDeque<Vec<Job>>,
    has_more: bool,
    /// All rows in memory.
    held: usize,
    /// Rows on their way: at most one of each customer.
    active: usize,
    pub(super) calls: CallQueue,
    pub(super) waits: Waits<Due>,

    pub(super) canary: Canary,
    pub(super) judgement: Judgement,
    pub(super) brake: VanishedBrake,
    /// Calls that wait for what other customers' calls show.
    pub(super) parked: Vec<Parked>,
    /// Something was shown since they were looked at.
    pub(super) has_news: bool,
    /// What control requests have shown: whether a probe tells who exists.
    pub(super) probing: Option<bool>,
    /// A control request is on its way.
    pub(super) is_asking: bool,
    /// Probes that wait for it.
    pub(super) unprobed: Vec<LostCreate>,
    pub(super) purge_grants: PurgeGrants,
    /// Purges that wait for a grant.
    pub(super) ungranted: Vec<(Box<Row>, Call)>,

    pub(super) gauge: Gauge,
    pub(super) timeline: Rc<RefCell<Timeline>>,
    /// A server that has never answered is most likely a wrong address.
    pub(super) has_answered: bool,
    /// Whether a call has worked with this key and these settings.
    pub(super) has_worked: bool,
    pub(super) calls_ended: u64,
    /// Failed rows of the first calls. They are settled once these calls have
    /// shown that the run itself is not to blame.
    unproven: Vec<(Job, Failure)>,
    /// Calls that failed or stayed in doubt: one a row, which ends with it.
    failed: u64,
    /// Rows that failed without a call, as they did in an earlier run.
    failed_uncalled: u64,
}

/// What waits for a time.
#[derive(Debug)]
pub(super) enum Due {
    /// The next step of a row.
    Row(Box<Row>),
    /// A create whose answer was lost.
    LostCreate(LostCreate),
    /// A call that is sent again.
    Call(Box<QueuedCall>),
}

/// A row that failed or stayed in doubt.
struct Failure {
    outcome: Outcome,
    problem: Option<Box<Problem>>,
    was_called: bool,
}

fn is_over(cool_down: Instant) -> bool {
    cool_down <= Instant::now()
}

impl Scheduler {
    pub(super) fn new(
        settings: DispatchSettings,
        network: Rc<Network>,
        records: RecordQueue,
        timeline: Rc<RefCell<Timeline>>,
    ) -> Self {
        let before = if settings.is_proven { Evidence::Works } else { Evidence::Nothing };
        let mut scheduler = Self {
            start: Instant::now(),
            records,
            customers: HashMap::default(),
            cool_downs: HashMap::default(),
            loading: VecDeque::new(),
            has_more: true,
            held: 0,
            active: 0,
            calls: CallQueue::new(),
            waits: Waits::new(),
            canary: Canary::new(settings.canary, before),
            judgement: Judgement::default(),
            brake: VanishedBrake::new(settings.max_vanished, settings.vanished_allowed),
            parked: Vec::new(),
            has_news: false,
            probing: settings.probing,
            is_asking: false,
            unprobed: Vec::new(),
            purge_grants: PurgeGrants::new(settings.purges_max, &settings.pending_purges),
            ungranted: Vec::new(),
            gauge: Gauge::default(),
            timeline,
            has_answered: false,
            has_worked: settings.is_proven,
            calls_ended: 0,
            unproven: Vec::new(),
            failed: 0,
            failed_uncalled: 0,
            settings,
            network,
        };
        if before == Evidence::Works {
            scheduler.network.pacer.with_breaker(CircuitBreaker::arm);
        }
        if scheduler.is_proven() {
            scheduler.start_all_senders();
        }
        scheduler
    }

    pub(super) fn start_all_senders(&mut self) {
        self.calls.add_senders(self.settings.concurrency.get() as usize - 1);
        self.calls.add_places(recorded_ahead(&self.settings) - 1);
        self.network.pacer.with_breaker(CircuitBreaker::arm);
        self.network.call_ready.notify_waiters();
        self.record_calls();
    }

    /// Whether the first calls have shown that the API works.
    pub(super) fn is_proven(&self) -> bool {
        self.canary.is_over()
    }

    /// The policy as of now.
    pub(super) fn policy(&self) -> Policy {
        let policy = self.settings.policy;
        let passed = u32::try_from(self.start.elapsed().as_secs() / 60).unwrap_or(u32::MAX);
        Policy { minute: policy.minute.saturating_add(passed), ..policy }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.network.switch.is_set()
    }

    /// Ends the run before its last row. The first reason counts.
    pub(super) fn stop(&self, reason: Stop) {
        self.network.switch.stop(reason);
    }

    /// Lets the scheduler take its turn.
    pub(super) fn wake(&self) {
        self.network.attention.notify_one();
    }

    /// All that is due, besides answers.
    pub(super) fn take_turn(&mut self) {
        let now = Instant::now();
        while let Some(due) = self.waits.pop_due(now) {
            match due {
                Due::Row(row) => self.advance(row),
                Due::LostCreate(create) => self.resolve_create(create),
                Due::Call(call) => self.enqueue(*call),
            }
        }
        if self.is_stopped() {
            self.end_waiting();
        }
        self.review_parked();
    }

    /// Ends all rows that wait for something else than an answer or a reply.
    fn end_waiting(&mut self) {
        let calls = self.calls.take_all();
        calls.into_iter().for_each(|call| self.finish(call));
        let due: Vec<_> = self.waits.take_all().collect();
        for due in due {
            match due {
                Due::Row(row) | Due::LostCreate(LostCreate { row, .. }) => self.end_row(row, RowEnd::Stopped),
                Due::Call(call) => self.finish(*call),
            }
        }
        for LostCreate { row, .. } in std::mem::take(&mut self.unprobed) {
            self.end_row(row, RowEnd::Stopped);
        }
        for (row, _) in std::mem::take(&mut self.ungranted) {
            self.end_row(row, RowEnd::Stopped);
        }
        self.has_news = true;
    }

    pub(super) fn is_over(&self) -> bool {
        self.active == 0 && (self.is_stopped() || !self.has_more)
    }

    /// Whether all rows but the parked ones are done.
    pub(super) fn is_rest_parked(&self) -> bool {
        !self.has_more && self.active == self.parked.len()
    }

    /// Whether more rows are taken in.
    pub(super) fn has_room(&self) -> bool {
        let senders = self.settings.concurrency.get() as usize;
        let ready = self.active - (self.waits.len() + self.parked.len()).min(self.active);
        self.has_more
            && !self.is_stopped()
            && ready < ROWS_READY_MIN.max(ROWS_READY_PER_SENDER * senders)
            && self.held < ROWS_HELD_MIN.max(ROWS_HELD_PER_SENDER * senders)
    }

    /// The states of all customers without a row on its way are loaded at once;
    /// those of the others, when their turn comes.
    pub(super) fn add(&mut self, batch: Option<Vec<Job>>) {
        let Some(batch) = batch else {
            self.has_more = false;
            return;
        };
        self.held += batch.len();
        let mut first = Vec::with_capacity(batch.len());
        for job in batch {
            match self.customers.entry(job.intent.key) {
                Entry::Occupied(mut queue) => queue.get_mut().push_back(job),
                Entry::Vacant(queue) => {
                    queue.insert(VecDeque::new());
                    first.push(job);
                }
            }
        }
        self.load(first);
    }

    fn load(&mut self, jobs: Vec<Job>) {
        self.active += jobs.len();
        let rows = jobs.iter().map(|job| (job.intent.key, job.intent.at)).collect();
        self.record(Record::Load { rows });
        self.loading.push_back(jobs);
    }

    pub(super) fn take_reply(&mut self, reply: Option<Reply>) {
        match reply {
            Some(Reply::Loaded(states)) => {
                let jobs = self.loading.pop_front().unwrap_or_default();
                jobs.into_iter().zip(states).for_each(|(job, loaded)| self.start_row(job, loaded));
            }
            Some(Reply::Recorded { calls }) => {
                for _ in 0..calls {
                    match self.calls.pop_recorded() {
                        Some(call) if self.is_stopped() => self.finish(call),
                        Some(call) => self.enqueue(call),
                        None => break,
                    }
                }
            }
            None => self.end_unrecorded(),
        }
    }

    /// Ends the rows that wait for a recorder that has ended.
    fn end_unrecorded(&mut self) {
        self.stop(Stop::RecorderClosed);
        let lost: usize = self.loading.drain(..).map(|jobs| jobs.len()).sum();
        self.active -= lost;
        self.held -= lost;
        while let Some(call) = self.calls.pop_recorded() {
            self.end_row(call.row, RowEnd::Stopped);
        }
    }

    fn start_row(&mut self, job: Job, loaded: LoadedState) {
        let cool_down = self.cool_downs.remove(&job.intent.key);
        let pending = loaded.pending;
        let row = Box::new(Row::new(job, loaded, cool_down));
        match pending {
            Some(pending) => self.resolve_pending(row, pending),
            None => self.advance(row),
        }
    }

    /// Puts a call where a sender finds it.
    pub(super) fn enqueue(&mut self, call: QueuedCall) {
        self.calls.add_ready(call);
        self.network.call_ready.notify_one();
    }

    /// The next call to be sent.
    pub(super) fn take_call(&mut self) -> Option<QueuedCall> {
        if self.is_stopped() {
            return None;
        }
        let call = self.calls.take()?;
        self.record_calls();
        Some(call)
    }

    /// Records the next calls, as many as there are places for.
    pub(super) fn record_calls(&mut self) {
        let policy = self.policy();
        while let Some(call) = self.calls.next_to_record() {
            if let Some(record) = call.record(&policy)
                && self.records.add(record).is_err()
            {
                self.network.switch.stop(Stop::RecorderClosed);
            }
        }
    }

    pub(super) fn record(&self, record: Record) {
        if let Err(RecorderClosed) = self.records.add(record) {
            self.stop(Stop::RecorderClosed);
        }
    }

    pub(super) fn end_row(&mut self, row: Box<Row>, end: RowEnd) {
        let Row { job, cool_down, calls, .. } = *row;
        self.held -= 1;
        self.active -= 1;
        if let Some(cool_down) = cool_down.filter(|cool_down| !is_over(*cool_down)) {
            self.cool_downs.insert(job.intent.key, cool_down);
            if self.cool_downs.len() >= COOL_DOWNS_CHECKED_AT {
                self.cool_downs.retain(|_, cool_down| !is_over(*cool_down));
            }
        }
        let next = self.customers.get_mut(&job.intent.key).and_then(VecDeque::pop_front);
        match next {
            Some(next) if !self.is_stopped() => self.load(vec![next]),
            _ => {
                self.customers.remove(&job.intent.key);
            }
        }
        let was_called = calls > 0;
        match end {
            RowEnd::Stopped => {}
            RowEnd::Settled(outcome @ (Outcome::Failed | Outcome::InDoubt), problem) => {
                self.fail(job, Failure { outcome, problem, was_called });
            }
            RowEnd::Settled(outcome, problem) => {
                self.settle_unproven();
                self.settle(job, outcome, problem);
            }
        }
        if self.has_room() || self.active == self.parked.len() {
            self.wake();
        }
    }

    fn fail(&mut self, job: Job, failure: Failure) {
        match self.network.switch.reason() {
            _ if !self.is_proven() => self.unproven.push((job, failure)),
            // The next run tries these rows again.
            Some(Stop::CanaryFailed { .. }) => {}
            _ => {
                self.settle_unproven();
                self.settle_failed(job, failure);
            }
        }
    }

    pub(super) fn settle_unproven(&mut self) {
        for (job, failure) in std::mem::take(&mut self.unproven) {
            self.settle_failed(job, failure);
        }
    }

    fn settle_failed(&mut self, job: Job, failure: Failure) {
        // A create in doubt since an earlier run is no call of this one.
        self.failed += u64::from(failure.was_called);
        self.failed_uncalled += u64::from(!failure.was_called);
        self.settle(job, failure.outcome, failure.problem);
        if self.has_too_many_errors() {
            let (failed, calls) = (self.failed, self.calls_ended);
            self.stop(Stop::TooManyErrors { failed, calls });
        }
    }

    fn settle(&mut self, job: Job, outcome: Outcome, problem: Option<Box<Problem>>) {
        let key = job.intent.key;
        let Intent { customer, at, operation, .. } = job.intent.into_intent();
        self.record(Record::Settle { customer, key, at, operation, outcome, problem });
    }

    fn has_too_many_errors(&self) -> bool {
        match self.settings.max_errors {
            Amount::Count(most) => self.failed > most,
            share @ Amount::Percent(_) => {
                let allowed = self.settings.failed_before.saturating_sub(self.failed_uncalled);
                let new = self.failed.saturating_sub(allowed);
                new >= ERRORS_MIN && new > share.count_in(self.calls_ended)
            }
        }
    }

    /// Records what the run waits for, or that it goes on.
    pub(super) fn check_wait(&mut self) {
        let pacer = &self.network.pacer;
        let breaker = pacer.with_breaker(|breaker| breaker.state());
        let now = Instant::now();
        if let Some(wait) = self.waits.check(breaker, pacer.is_awaited(), now) {
            self.timeline.borrow_mut().note_wait(wait, now);
            self.record(Record::Wait(wait));
        }
    }
}

fn recorded_ahead(settings: &DispatchSettings) -> usize {
    let most = settings.concurrency.get().saturating_mul(RECORDED_AHEAD_PER_SENDER);
    let wanted = settings.rates.schedule().highest().per_second() * RECORDED_AHEAD.as_secs_f64();
    wanted.clamp(1.0, f64::from(most)) as usize
}
