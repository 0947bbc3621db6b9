//! One call: recorded, paced, sent, judged, and sent again where that is safe.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::admission::AdmissionQueue;
use super::canary::{Canary, CanarySign, CanaryVerdict};
use super::circuit_breaker::{BreakerEvent, CircuitBreaker, ClosedCause, Signal};
use super::pace::{Gauge, Pace};
use super::pacer::{Pacer, Permit};
use super::purge_grants::PurgeGrants;
use super::record::{RecordQueue, RecorderClosed};
use super::retry::{self, Attempts, Decision};
use super::settings::Settings;
use super::stop::{Stop, StopSwitch};
use crate::omnidesk::{Answer, Call, Client, Exchange, judge};
use crate::reconcile::{Acked, CustomerKey, PendingCall};
use crate::units::Period;

/// What all rows share. One thread, so cells are enough.
pub(super) struct Sender {
    pub(super) settings: Settings,
    pub(super) client: Client,
    pub(super) books: RecordQueue,
    pub(super) switch: StopSwitch,
    pub(super) started: Instant,
    workers: Semaphore,
    /// Calls that are recorded, or about to be, and wait for a worker.
    ahead: AdmissionQueue,
    pacer: Pacer,
    canary: RefCell<Canary>,
    gauge: Gauge,
    pub(super) purges: PurgeGrants,
    /// Calls that came to an end.
    pub(super) ended: Cell<u64>,
}

/// So much of the rate may be recorded before a worker is free, so that many
/// calls go into one commit: longer than a commit takes …
const AHEAD: Duration = Duration::from_millis(10);
/// … and so many for each worker, since after a crash each is in doubt.
const AHEAD_PER_WORKER: u32 = 3;

/// The shortest pause before a call is tried again.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// What is made durable before a call is sent.
#[derive(Debug)]
pub(super) struct CallRecord {
    pub(super) flight: PendingCall,
    pub(super) told: Option<Acked>,
    /// Whether it is not the first call of its row.
    pub(super) has_begun: bool,
}

/// How a call ended.
#[derive(Debug)]
pub(super) struct CallResult {
    pub(super) end: End,
    pub(super) tries: Attempts,
    /// Requests that were sent, or could not be.
    pub(super) requests: u32,
    /// Whether it was recorded; before, it cannot have been sent.
    pub(super) is_recorded: bool,
    pub(super) status: Option<u16>,
    /// The API's words, or what went wrong.
    pub(super) message: String,
    /// When an answer was last found to be lost.
    pub(super) lost_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Done,
    DoneBefore,
    Exists,
    NotFound,
    Refused {
        perhaps_done: bool,
    },
    GaveUp,
    InDoubt,
    /// The run stopped; the row goes on another time.
    Stopped,
}

impl CallResult {
    pub(super) fn nothing() -> Self {
        Self {
            end: End::Stopped,
            tries: Attempts::default(),
            requests: 0,
            is_recorded: false,
            status: None,
            message: String::new(),
            lost_at: None,
        }
    }
}

impl End {
    /// For `outcomes.csv`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::DoneBefore => "exists",
            Self::Exists => "customer_exists",
            Self::NotFound => "not_found",
            Self::Refused { .. } => "refused",
            Self::GaveUp => "failed",
            Self::InDoubt => "in_doubt",
            Self::Stopped => "stopped",
        }
    }
}

impl Sender {
    pub(super) fn new(settings: Settings, client: Client, books: RecordQueue, switch: StopSwitch) -> Self {
        let canary = Canary::new(settings.canary, settings.is_proven);
        let workers = if canary.is_over() { settings.concurrency.get() } else { 1 };
        let health = CircuitBreaker::new(settings.patience, settings.is_proven || canary.is_over());
        Self {
            workers: Semaphore::new(workers as usize),
            ahead: AdmissionQueue::new(if canary.is_over() { ahead(&settings) } else { 1 }),
            pacer: Pacer::new(settings.rate, health),
            canary: RefCell::new(canary),
            gauge: Gauge::default(),
            purges: PurgeGrants::new(settings.purges_max, &settings.purging),
            ended: Cell::new(0),
            started: Instant::now(),
            settings,
            client,
            books,
            switch,
        }
    }

    /// Whether the first calls have shown that the API works.
    pub(super) fn is_proven(&self) -> bool {
        self.canary.borrow().is_over()
    }

    /// Sends a call until it has an end. `recorded` is recorded before; a probe
    /// has none, since the record of the create that it asks about must stay.
    /// `lost_before` says that an earlier process may have sent it already.
    pub(super) async fn send(
        &self,
        call: &Call,
        key: CustomerKey,
        row: u64,
        recorded: Option<&CallRecord>,
        lost_before: bool,
    ) -> Result<CallResult, RecorderClosed> {
        let mut sent = CallResult::nothing();
        sent.tries.lost = u32::from(lost_before);
        let mut kept = None;
        loop {
            let worker = match kept.take() {
                None => self.recorded_worker(key, recorded, &mut sent).await?,
                kept => kept,
            };
            let Some(worker) = worker else { return Ok(sent) };
            let Some(leave) = self.pacer.slot(&self.switch).await else { return Ok(sent) };
            let exchange = self.client.send(call).await;
            let answer = judge(call.kind(), &exchange, &self.settings.texts);
            self.hear(leave, row, sign(&answer, &exchange));
            self.take_in(&mut sent, &answer);
            let verdict = retry::decide(call.kind(), &answer, sent.tries, self.settings.attempts);
            // Without the API's words, which may name a customer.
            tracing::debug!(row, call = call.kind().word(), status = ?sent.status, ?verdict, "answered");
            if let Some(end) = self.end_of(&verdict, &answer, row, &sent) {
                sent.end = end;
                return Ok(sent);
            }
            // Of the first calls, the next one waits for all tries of this one.
            let is_last = sent.tries.unconnected >= self.settings.attempts.get();
            kept = (!self.is_proven() && !is_last).then_some(worker);
            if !self.pause(&verdict).await {
                return Ok(sent);
            }
        }
    }

    /// A worker, once the call is on the disk; none if the run stopped first.
    /// A worker is needed to send, not to wait for that or for another try.
    async fn recorded_worker(
        &self,
        key: CustomerKey,
        recorded: Option<&CallRecord>,
        sent: &mut CallResult,
    ) -> Result<Option<SemaphorePermit<'_>>, RecorderClosed> {
        let Some(recorded) = recorded.filter(|_| !sent.is_recorded) else { return Ok(self.worker().await) };
        let _ahead = self.ahead.take(recorded.has_begun).await;
        if self.switch.is_set() {
            return Ok(None);
        }
        self.books.intend(key, recorded.flight, recorded.told.clone()).await?;
        sent.is_recorded = true;
        Ok(self.worker().await)
    }

    async fn worker(&self) -> Option<SemaphorePermit<'_>> {
        self.workers.acquire().await.ok().filter(|_| !self.switch.is_set())
    }

    fn take_in(&self, sent: &mut CallResult, answer: &Answer) {
        let (status, message) = match answer {
            Answer::Done => (Some(200), String::new()),
            Answer::Exists { status, message }
            | Answer::NotFound { status, message }
            | Answer::Refused { status, message, .. }
            | Answer::KeyRefused { status, message } => (Some(*status), message.clone()),
            Answer::Throttled { status, .. } => (Some(*status), "too many requests".to_owned()),
            Answer::Unsettled { status, message } => (*status, message.clone()),
            Answer::NotSent { message } => (None, message.clone()),
        };
        sent.requests += 1;
        let is_outage = self.pacer.health(|health| {
            if status.is_some() {
                health.answered();
            }
            health.is_outage()
        });
        match answer {
            Answer::NotSent { .. } => sent.tries.unconnected += 1,
            Answer::Throttled { .. } => {}
            Answer::Unsettled { .. } => {
                // What fails with the whole server is no fault of the row's.
                sent.tries.used += u32::from(!is_outage);
                sent.tries.lost += 1;
                sent.tries.unconnected = 0;
                // From now on, not from when it left: a request that timed out
                // has been at work all that time, and may be for as long again.
                sent.lost_at = Some(Instant::now());
            }
            _ => sent.tries.used += 1,
        }
        sent.status = status;
        sent.message = message;
    }

    fn end_of(&self, verdict: &Decision, answer: &Answer, row: u64, sent: &CallResult) -> Option<End> {
        Some(match verdict {
            Decision::Accept => End::Done,
            Decision::AcceptExisting => End::DoneBefore,
            Decision::TurnExisting => End::Exists,
            Decision::TurnAbsent => End::NotFound,
            Decision::Refuse => {
                End::Refused { perhaps_done: matches!(answer, Answer::Refused { perhaps_done: true, .. }) }
            }
            Decision::GiveUp => End::GaveUp,
            Decision::InDoubt => End::InDoubt,
            Decision::StopRun => {
                self.switch.stop(Stop::KeyRefused { row, message: sent.message.clone() });
                End::Stopped
            }
            Decision::Reconnect(_) if self.is_unreachable(sent.tries) => {
                self.switch.stop(Stop::Unreachable { message: sent.message.clone() });
                End::Stopped
            }
            Decision::Again(_) | Decision::Reconnect(_) | Decision::HoldAll => return None,
        })
    }

    /// An API that has never answered, or not yet shown that it works, gets as
    /// many tries as a call; another is waited for, since rows are not to blame
    /// for an outage.
    fn is_unreachable(&self, tries: Attempts) -> bool {
        let is_waited_for = self.pacer.health(|health| health.has_answered() && health.is_armed());
        !is_waited_for && tries.unconnected >= self.settings.attempts.get()
    }

    /// Takes in what an answer shows of the server.
    fn hear(&self, leave: Permit, row: u64, sign: Signal) {
        if sign == Signal::Good {
            self.gauge.note(leave.at.elapsed());
        }
        match self.pacer.answered(leave, row, sign) {
            BreakerEvent::None | BreakerEvent::Reopened(ClosedCause::Limit, _) => {}
            BreakerEvent::Held(wait) => {
                tracing::info!(
                    seconds = wait.as_secs_f64(),
                    "the server's limit is reached; everybody waits"
                );
            }
            BreakerEvent::Failing { since, wait } => {
                let (since, wait) = (Period(since), Period(wait));
                tracing::warn!("the server is failing, for {since} so far; one call probes it in {wait}");
            }
            BreakerEvent::Reopened(ClosedCause::Outage, since) => {
                tracing::warn!(
                    "the server works again, after {}; the rate is raised step by step",
                    Period(since)
                );
            }
            BreakerEvent::GivenUp(cause, since) => {
                let does = match cause {
                    ClosedCause::Limit => "has asked to wait, and answered nothing else,",
                    ClosedCause::Outage => "has failed",
                };
                self.switch.stop(Stop::Failing { message: format!("it {does} for {}", Period(since)) });
            }
        }
    }

    /// How the rate was used.
    pub(super) fn pace(&self) -> Pace {
        self.gauge.pace(self.settings.rate, self.settings.concurrency, self.pacer.refusals())
    }

    async fn pause(&self, verdict: &Decision) -> bool {
        match verdict {
            Decision::Again(most) | Decision::Reconnect(most) => {
                let share = most.mul_f64(fastrand::f64());
                self.switch.sleep(share.max(PAUSE_MIN)).await
            }
            _ => true,
        }
    }

    /// Takes in whether a call worked. To be told before anything is awaited,
    /// so that no other call goes out in between.
    pub(super) fn note_for_canary(&self, row: u64, shown: CanarySign) {
        let verdict = self.canary.borrow_mut().note(row, shown);
        match verdict {
            CanaryVerdict::Undecided => {}
            CanaryVerdict::Works => {
                self.workers.add_permits(self.settings.concurrency.get() as usize - 1);
                self.ahead.add(ahead(&self.settings) - 1);
                self.pacer.health(CircuitBreaker::arm);
            }
            CanaryVerdict::Failed(reasons) => self.switch.stop(Stop::CanaryFailed { reasons }),
        }
    }
}

fn ahead(settings: &Settings) -> usize {
    let most = settings.concurrency.get().saturating_mul(AHEAD_PER_WORKER);
    let wanted = settings.rate.per_second() * AHEAD.as_secs_f64();
    wanted.clamp(1.0, f64::from(most)) as usize
}

/// What an answer shows of the server, whatever it says of the row.
fn sign(answer: &Answer, exchange: &Exchange) -> Signal {
    match (answer, exchange) {
        (Answer::Throttled { wait, .. }, _) => Signal::Limited(*wait),
        (Answer::Unsettled { status: Some(503), .. }, _) => Signal::Busy,
        (Answer::Unsettled { .. } | Answer::NotSent { .. }, _) => Signal::Failed,
        (_, Exchange::Answered { spent: Some(wait), .. }) => Signal::Spent(*wait),
        _ => Signal::Good,
    }
}
