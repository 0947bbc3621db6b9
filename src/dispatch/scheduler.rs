//! Decides which row goes next. Rows of one customer go one after the other, in
//! the export's order.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::pace::DispatchEnd;
use super::record::{LoadedState, Problem, Record, RecordQueue, RecorderClosed};
use super::row_task::{self, Job, RowEnd, RowTaskEnd};
use super::send::Dispatcher;
use super::settings::DispatchSettings;
use super::stop::{Stop, StopSwitch};
use super::waits::WAIT_CHECKED_EVERY;
use crate::mapping::Intent;
use crate::omnidesk::Client;
use crate::reconcile::{BuildKeyHasher, CustomerKey, Outcome};
use crate::units::Amount;

/// The fewest rows held in memory: as many customers may be in back-off before
/// others have to wait.
const ROWS_HELD_MIN: usize = 1024;
/// The fewest for each worker.
const ROWS_HELD_PER_WORKER: usize = 8;

/// Fewer failed calls are too few to judge their share.
const ERRORS_MIN: u64 = 20;

/// The length from which ended cool-downs are removed from the list.
const COOL_DOWNS_CHECKED_AT: usize = 1024;

struct Scheduler {
    dispatcher: Rc<Dispatcher>,
    rows: JoinSet<RowTaskEnd>,
    /// Rows whose state is being loaded.
    loads: JoinSet<Result<Vec<(Job, LoadedState)>, RecorderClosed>>,
    /// Customers with a row on its way, and the rows that wait behind it.
    queues: HashMap<CustomerKey, VecDeque<Job>, BuildKeyHasher>,
    held: usize,
    held_max: usize,
    cool_downs: HashMap<CustomerKey, Instant, BuildKeyHasher>,
    /// Failed rows of the first calls. They are settled once these calls have
    /// shown that the run itself is not to blame.
    unproven: Vec<(Job, Failure)>,
    /// Calls that failed or stayed in doubt: one a row, which ends with it.
    failed: u64,
    /// Rows that failed without a call, as they did in an earlier run.
    failed_uncalled: u64,
}

/// A row that failed or stayed in doubt.
struct Failure {
    outcome: Outcome,
    problem: Option<Box<Problem>>,
    was_called: bool,
}

/// Makes the calls of all `jobs`, in order, and sends `records` of them. Must be
/// called in a `LocalSet`.
pub async fn run(
    settings: DispatchSettings,
    client: Client,
    jobs: mpsc::Receiver<Vec<Job>>,
    records: mpsc::Sender<Vec<Record>>,
    switch: StopSwitch,
) -> DispatchEnd {
    let queue = RecordQueue::new();
    let end = tokio::select! {
        biased;
        end = schedule(settings, client, jobs, queue.clone(), switch) => end,
        () = queue.deliver(&records) => DispatchEnd::default(),
    };
    queue.deliver_all(&records).await;
    end
}

async fn schedule(
    settings: DispatchSettings,
    client: Client,
    mut jobs: mpsc::Receiver<Vec<Job>>,
    records: RecordQueue,
    switch: StopSwitch,
) -> DispatchEnd {
    let deadline = settings.max_duration.map(|duration| Instant::now() + duration);
    let held_max = ROWS_HELD_MIN.max(ROWS_HELD_PER_WORKER * settings.concurrency.get() as usize);
    let dispatcher = Rc::new(Dispatcher::new(settings, client, records, switch.clone()));
    let mut scheduler = Scheduler {
        dispatcher,
        rows: JoinSet::new(),
        loads: JoinSet::new(),
        queues: HashMap::default(),
        held: 0,
        held_max,
        cool_downs: HashMap::default(),
        unproven: Vec::new(),
        failed: 0,
        failed_uncalled: 0,
    };
    let mut has_more = true;
    let mut next_check = Instant::now() + WAIT_CHECKED_EVERY;
    loop {
        let is_stopped = switch.is_set();
        if scheduler.rows.is_empty() && scheduler.loads.is_empty() && (is_stopped || !has_more) {
            break;
        }
        let is_fed = !has_more && scheduler.loads.is_empty();
        let parking = &scheduler.dispatcher.parking;
        parking.set_last(is_fed && parking.rows() == scheduler.rows.len());
        let dispatcher = Rc::clone(&scheduler.dispatcher);
        tokio::select! {
            biased;
            Some(result) = scheduler.rows.join_next() => {
                scheduler.end_task(result);
                // Many end at once.
                while let Some(result) = scheduler.rows.try_join_next() {
                    scheduler.end_task(result);
                }
            }
            Some(loaded) = scheduler.loads.join_next() => match loaded {
                Ok(Ok(rows)) => rows.into_iter().for_each(|(job, loaded)| scheduler.start(job, Some(loaded))),
                Ok(Err(RecorderClosed)) | Err(_) => switch.stop(Stop::RecorderClosed),
            },
            batch = jobs.recv(), if has_more && !is_stopped && scheduler.held < scheduler.held_max => match batch {
                Some(batch) => scheduler.add(batch),
                None => has_more = false,
            },
            () = sleep_until(deadline), if !is_stopped => switch.stop(Stop::WindowClosed),
            () = switch.wait(), if !is_stopped => {}
            () = dispatcher.parking.parked() => {}
            () = tokio::time::sleep_until(next_check) => {
                next_check = Instant::now() + WAIT_CHECKED_EVERY;
                if dispatcher.check_wait().is_err() {
                    switch.stop(Stop::RecorderClosed);
                }
            }
        }
    }
    // A run with fewer calls than the canary ends here with all of its calls.
    if !switch.is_set() {
        scheduler.settle_unproven();
    }
    DispatchEnd { stop: switch.reason(), pace: Some(scheduler.dispatcher.pace()) }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn is_over(cool_down: Instant) -> bool {
    cool_down <= Instant::now()
}

impl Scheduler {
    /// The states of all customers without a row on its way are loaded at once;
    /// those of the others, when their turn comes.
    fn add(&mut self, batch: Vec<Job>) {
        self.held += batch.len();
        let mut first = Vec::with_capacity(batch.len());
        for job in batch {
            match self.queues.entry(job.key) {
                Entry::Occupied(mut queue) => queue.get_mut().push_back(job),
                Entry::Vacant(queue) => {
                    queue.insert(VecDeque::new());
                    first.push(job);
                }
            }
        }
        let records = self.dispatcher.records.clone();
        self.loads.spawn_local(async move {
            let rows = first.iter().map(|job| (job.key, job.intent.at)).collect();
            let loaded = records.load(rows).await?;
            Ok(first.into_iter().zip(loaded).collect())
        });
    }

    fn start(&mut self, job: Job, loaded: Option<LoadedState>) {
        let cool_down = self.cool_downs.remove(&job.key);
        self.rows.spawn_local(row_task::run(Rc::clone(&self.dispatcher), job, loaded, cool_down));
    }

    fn end_task(&mut self, result: Result<RowTaskEnd, JoinError>) {
        match result {
            Ok(result) => self.end_row(result),
            // A row's task panicked: a bug, and the totals cannot add up.
            Err(_) => self.dispatcher.switch.stop(Stop::RecorderClosed),
        }
    }

    fn end_row(&mut self, result: RowTaskEnd) {
        let RowTaskEnd { job, end, cool_down, was_called } = result;
        self.held -= 1;
        if let Some(cool_down) = cool_down.filter(|cool_down| !is_over(*cool_down)) {
            self.cool_downs.insert(job.key, cool_down);
            if self.cool_downs.len() >= COOL_DOWNS_CHECKED_AT {
                self.cool_downs.retain(|_, cool_down| !is_over(*cool_down));
            }
        }
        let next = self.queues.get_mut(&job.key).and_then(VecDeque::pop_front);
        match next {
            Some(next) if !self.dispatcher.switch.is_set() => self.start(next, None),
            _ => {
                self.queues.remove(&job.key);
            }
        }
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
    }

    fn fail(&mut self, job: Job, failure: Failure) {
        match self.dispatcher.switch.reason() {
            _ if !self.dispatcher.is_proven() => self.unproven.push((job, failure)),
            // The next run tries these rows again.
            Some(Stop::CanaryFailed { .. }) => {}
            _ => {
                self.settle_unproven();
                self.settle_failed(job, failure);
            }
        }
    }

    fn settle_unproven(&mut self) {
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
            let (failed, calls) = (self.failed, self.dispatcher.calls_ended.get());
            self.dispatcher.switch.stop(Stop::TooManyErrors { failed, calls });
        }
    }

    fn settle(&mut self, job: Job, outcome: Outcome, problem: Option<Box<Problem>>) {
        let Job { key, intent, .. } = job;
        let Intent { customer, at, operation, .. } = *intent;
        let record = Record::Settle { customer, key, at, operation, outcome, problem };
        if self.dispatcher.records.add(record).is_err() {
            self.dispatcher.switch.stop(Stop::RecorderClosed);
        }
    }

    fn has_too_many_errors(&self) -> bool {
        let settings = &self.dispatcher.settings;
        match settings.max_errors {
            Amount::Count(most) => self.failed > most,
            share @ Amount::Percent(_) => {
                let allowed = settings.failed_before.saturating_sub(self.failed_uncalled);
                let new = self.failed.saturating_sub(allowed);
                new >= ERRORS_MIN && new > share.count_in(self.dispatcher.calls_ended.get())
            }
        }
    }
}
