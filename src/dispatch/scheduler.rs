//! Which row may go when. The one owner of the lanes.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::pace::DispatchEnd;
use super::record::{LoadedState, Record, RecordQueue, RecorderClosed};
use super::row_task::{self, RowResult};
use super::send::Sender;
use super::settings::Settings;
use super::stop::{Stop, StopSwitch};
use crate::mapping::Intent;
use crate::omnidesk::Client;
use crate::reconcile::{BuildKeyHasher, CustomerKey, Outcome, RowFingerprint};
use crate::units::Amount;

/// A row with calls to make.
#[derive(Debug)]
pub struct Job {
    /// Whom it is about.
    pub key: CustomerKey,
    /// Of the row as it stands in the export.
    pub print: RowFingerprint,
    /// What it asks for.
    pub intent: Box<Intent>,
}

/// Rows held in memory, at the least: so many customers may be in back-off
/// before others have to wait for them.
const ROWS_HELD_MIN: usize = 1024;
/// And for each worker.
const ROWS_HELD_PER_WORKER: usize = 8;

/// A share of failed calls says nothing before there are so many of them.
const ERRORS_MIN: u64 = 20;

/// Customers to keep quiet before the list is cleared of those that are over.
const QUIET_CHECKED_AT: usize = 1024;

struct Scheduler {
    shared: Rc<Sender>,
    rows: JoinSet<RowResult>,
    /// Rows about whose customers the keeper of the books was asked.
    loads: JoinSet<Result<Vec<(Job, LoadedState)>, RecorderClosed>>,
    /// Customers with a row under way, and the rows that wait behind it.
    lanes: HashMap<CustomerKey, VecDeque<Job>, BuildKeyHasher>,
    held: usize,
    held_max: usize,
    quiet: HashMap<CustomerKey, Instant, BuildKeyHasher>,
    /// Failed rows of the first calls: settled once those have shown that it
    /// was not the run's own fault.
    unproven: Vec<RowResult>,
    /// Calls that failed or stayed in doubt: one a row, which ends with it.
    failed: u64,
}

/// Makes the calls of all `jobs`, in order, and tells `records` of them.
/// To be called in a `LocalSet`.
pub async fn run(
    settings: Settings,
    client: Client,
    jobs: mpsc::Receiver<Vec<Job>>,
    records: mpsc::Sender<Vec<Record>>,
    switch: StopSwitch,
) -> DispatchEnd {
    let books = RecordQueue::new();
    let finish = tokio::select! {
        biased;
        finish = conduct(settings, client, jobs, books.clone(), switch) => finish,
        () = books.deliver(&records) => DispatchEnd::default(),
    };
    books.deliver_all(&records).await;
    finish
}

async fn conduct(
    settings: Settings,
    client: Client,
    mut jobs: mpsc::Receiver<Vec<Job>>,
    books: RecordQueue,
    switch: StopSwitch,
) -> DispatchEnd {
    let deadline = settings.max_duration.map(|most| Instant::now() + most);
    let held_max = ROWS_HELD_MIN.max(ROWS_HELD_PER_WORKER * settings.concurrency.get() as usize);
    let shared = Rc::new(Sender::new(settings, client, books, switch.clone()));
    let mut conductor = Scheduler {
        shared,
        rows: JoinSet::new(),
        loads: JoinSet::new(),
        lanes: HashMap::default(),
        held: 0,
        held_max,
        quiet: HashMap::default(),
        unproven: Vec::new(),
        failed: 0,
    };
    let mut more = true;
    loop {
        let stopped = switch.is_set();
        if conductor.rows.is_empty() && conductor.loads.is_empty() && (stopped || !more) {
            break;
        }
        tokio::select! {
            biased;
            Some(end) = conductor.rows.join_next() => {
                conductor.task_ended(end);
                // Many end between two looks.
                while let Some(end) = conductor.rows.try_join_next() {
                    conductor.task_ended(end);
                }
            }
            Some(loaded) = conductor.loads.join_next() => match loaded {
                Ok(Ok(rows)) => rows.into_iter().for_each(|(job, loaded)| conductor.start(job, Some(loaded))),
                Ok(Err(RecorderClosed)) | Err(_) => switch.stop(Stop::RecorderGone),
            },
            batch = jobs.recv(), if more && !stopped && conductor.has_room() => match batch {
                Some(batch) => conductor.rows_arrived(batch),
                None => more = false,
            },
            () = sleep_until(deadline), if !stopped => switch.stop(Stop::WindowClosed),
            () = switch.wait(), if !stopped => {}
        }
    }
    conductor.finish();
    DispatchEnd { stop: switch.reason(), pace: Some(conductor.shared.pace()) }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

impl Scheduler {
    fn has_room(&self) -> bool {
        self.held < self.held_max
    }

    /// What is known of all customers who have no row under way is asked in
    /// one question; of the others, when their turn comes.
    fn rows_arrived(&mut self, batch: Vec<Job>) {
        self.held += batch.len();
        let mut first = Vec::with_capacity(batch.len());
        for job in batch {
            match self.lanes.entry(job.key) {
                Entry::Occupied(mut lane) => lane.get_mut().push_back(job),
                Entry::Vacant(lane) => {
                    lane.insert(VecDeque::new());
                    first.push(job);
                }
            }
        }
        let books = self.shared.books.clone();
        self.loads.spawn_local(async move {
            let rows = first.iter().map(|job| (job.key, job.intent.at.number)).collect();
            let loaded = books.load(rows).await?;
            Ok(first.into_iter().zip(loaded).collect())
        });
    }

    fn start(&mut self, job: Job, loaded: Option<LoadedState>) {
        let quiet_until = self.quiet.remove(&job.key);
        self.rows.spawn_local(row_task::walk(Rc::clone(&self.shared), job, loaded, quiet_until));
    }

    fn task_ended(&mut self, end: Result<RowResult, JoinError>) {
        match end {
            Ok(end) => self.row_ended(end),
            // A row's task panicked: a bug, and the books cannot balance.
            Err(_) => self.shared.switch.stop(Stop::RecorderGone),
        }
    }

    fn row_ended(&mut self, end: RowResult) {
        self.held -= 1;
        if let Some(until) = end.quiet_until.filter(|until| !row_task::is_over(*until)) {
            self.quiet.insert(end.job.key, until);
            if self.quiet.len() >= QUIET_CHECKED_AT {
                self.quiet.retain(|_, until| !row_task::is_over(*until));
            }
        }
        let stopped = self.shared.switch.is_set();
        let next = self.lanes.get_mut(&end.job.key).and_then(VecDeque::pop_front);
        match next {
            Some(job) if !stopped => self.start(job, None),
            _ => {
                self.lanes.remove(&end.job.key);
            }
        }
        self.book(end);
    }

    fn book(&mut self, end: RowResult) {
        match &end.outcome {
            None => {}
            Some((Outcome::Failed | Outcome::InDoubt, _)) if !self.shared.is_proven() => {
                self.unproven.push(end)
            }
            // The canary failed: these rows are tried again by the next run.
            Some((Outcome::Failed | Outcome::InDoubt, _)) if self.canary_failed() => {}
            Some(_) => {
                for earlier in std::mem::take(&mut self.unproven) {
                    self.settle(earlier);
                }
                self.settle(end);
            }
        }
    }

    fn canary_failed(&self) -> bool {
        matches!(self.shared.switch.reason(), Some(Stop::CanaryFailed { .. }))
    }

    fn settle(&mut self, end: RowResult) {
        let Some((outcome, trouble)) = end.outcome else {
            return;
        };
        // A create that is held in doubt since an earlier run is no call of this one.
        self.failed += u64::from(end.was_called && matches!(outcome, Outcome::Failed | Outcome::InDoubt));
        let Job { key, intent, .. } = end.job;
        let record = Record::Settled {
            customer: intent.customer,
            key,
            at: intent.at,
            operation: intent.operation,
            outcome,
            trouble,
        };
        if self.shared.books.tell(record).is_err() {
            self.shared.switch.stop(Stop::RecorderGone);
        }
        if self.has_too_many_errors() {
            self.shared
                .switch
                .stop(Stop::TooManyErrors { failed: self.failed, calls: self.shared.ended.get() });
        }
    }

    fn has_too_many_errors(&self) -> bool {
        let settings = &self.shared.settings;
        match settings.max_errors {
            Amount::Count(most) => self.failed > most,
            share @ Amount::Percent(_) => {
                let new = self.failed.saturating_sub(settings.failed_before);
                new >= ERRORS_MIN && new > share.of(self.shared.ended.get())
            }
        }
    }

    /// A run with fewer calls than the canary ends here with all of them known.
    fn finish(&mut self) {
        if !self.shared.switch.is_set() {
            for earlier in std::mem::take(&mut self.unproven) {
                self.settle(earlier);
            }
        }
    }
}
