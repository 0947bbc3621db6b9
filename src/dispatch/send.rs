//! One call: recorded, paced, sent, judged, and sent again where that is safe.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::admission::{AdmissionQueue, Priority};
use super::canary::{Canary, CanaryVerdict};
use super::circuit_breaker::{BreakerEvent, CircuitBreaker, OpenCause, Signal};
use super::pace::{Gauge, Pace};
use super::pacer::{Pacer, Permit};
use super::purge_grants::PurgeGrants;
use super::record::{RecordQueue, RecorderClosed};
use super::retry::{Attempts, Decision, decide};
use super::settings::DispatchSettings;
use super::stop::{Stop, StopSwitch};
use crate::mapping::Place;
use crate::omnidesk::{Answer, Call, CallKind, Client, Meaning, judge};
use crate::reconcile::{CustomerKey, CustomerState, PendingCall};
use crate::units::Period;

/// What all rows share. One thread, so cells are enough.
pub(super) struct Dispatcher {
    pub(super) settings: DispatchSettings,
    client: Client,
    pub(super) records: RecordQueue,
    pub(super) switch: StopSwitch,
    pub(super) started: Instant,
    workers: Semaphore,
    /// Calls that are recorded, or about to be, and wait for a worker.
    admission: AdmissionQueue,
    pacer: Pacer,
    canary: RefCell<Canary>,
    gauge: Gauge,
    pub(super) purge_grants: PurgeGrants,
    pub(super) calls_ended: Cell<u64>,
}

/// So much of the rate may be recorded before a worker is free, so that many
/// calls go into one commit: longer than a commit takes …
const RECORDED_AHEAD: Duration = Duration::from_millis(10);
/// … and so many for each worker, since after a crash each is in doubt.
const RECORDED_AHEAD_PER_WORKER: u32 = 3;

/// The shortest pause before a call is tried again.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// What is made durable before a call is sent.
#[derive(Debug)]
pub(super) struct CallRecord {
    pub(super) call: PendingCall,
    pub(super) state: CustomerState,
    /// Whether it is not the first call of its row.
    pub(super) has_begun: bool,
}

/// A call with its last answer.
#[derive(Debug, Default)]
pub(super) struct SentCall {
    /// `None`: the run stopped, and the row goes on another time.
    pub(super) answer: Option<Answer>,
    pub(super) attempts: Attempts,
    /// Requests that were sent, or could not be.
    pub(super) requests: u32,
    /// Before it is recorded, it cannot have been sent.
    pub(super) is_recorded: bool,
    /// When an answer was last found to be lost.
    pub(super) lost_at: Option<Instant>,
}

impl SentCall {
    pub(super) fn meaning(&self) -> Option<Meaning> {
        self.answer.as_ref().map(|answer| answer.meaning)
    }

    /// The API's words, or what went wrong.
    pub(super) fn message(&self) -> &str {
        self.answer.as_ref().map(|answer| answer.message.as_str()).unwrap_or_default()
    }

    pub(super) fn did_nothing(&self) -> bool {
        self.attempts.lost == 0 && matches!(self.meaning(), None | Some(Meaning::NotFound | Meaning::Refused))
    }
}

impl Dispatcher {
    pub(super) fn new(
        settings: DispatchSettings,
        client: Client,
        records: RecordQueue,
        switch: StopSwitch,
    ) -> Self {
        let canary = Canary::new(settings.canary, settings.is_proven);
        let is_over = canary.is_over();
        let workers = if is_over { settings.concurrency.get() } else { 1 };
        let breaker = CircuitBreaker::new(settings.patience, settings.is_proven || is_over);
        Self {
            workers: Semaphore::new(workers as usize),
            admission: AdmissionQueue::new(if is_over { recorded_ahead(&settings) } else { 1 }),
            pacer: Pacer::new(settings.rate, breaker),
            canary: RefCell::new(canary),
            gauge: Gauge::default(),
            purge_grants: PurgeGrants::new(settings.purges_max, &settings.pending_purges),
            calls_ended: Cell::new(0),
            started: Instant::now(),
            settings,
            client,
            records,
            switch,
        }
    }

    /// Whether the first calls have shown that the API works.
    pub(super) fn is_proven(&self) -> bool {
        self.canary.borrow().is_over()
    }

    /// Sends a call until it has an end. `record` is made durable before; a probe
    /// has none, since the record of the create that it probes must stay.
    /// `lost_before`: an earlier process may have sent it already.
    pub(super) async fn send(
        &self,
        call: &Call,
        key: CustomerKey,
        at: Place,
        record: Option<&CallRecord>,
        lost_before: bool,
    ) -> Result<SentCall, RecorderClosed> {
        let mut sent = SentCall::default();
        sent.attempts.lost = u32::from(lost_before);
        let mut kept = None;
        loop {
            let worker = match kept.take() {
                None => self.acquire_worker(key, record, &mut sent).await?,
                kept => kept,
            };
            let Some(worker) = worker else { return Ok(sent) };
            let Some(permit) = self.pacer.acquire(&self.switch).await else { return Ok(sent) };
            let exchange = self.client.send(call).await;
            let mut answer = judge(call.kind(), &exchange, &self.settings.texts);
            self.report_signal(permit, at, signal(&answer));
            self.count(&mut sent, &answer);
            if call.kind() == CallKind::Purge && answer.meaning == Meaning::NotFound && sent.attempts.lost > 0
            {
                // An earlier attempt, whose answer was lost, has purged it.
                answer.meaning = Meaning::Done;
            }
            let decision = decide(call.kind(), answer.meaning, sent.attempts, self.settings.attempts);
            // Without the API's words, which may name a customer.
            tracing::debug!(%at, call = call.kind().as_str(), status = ?answer.status, ?decision, "answered");
            if self.has_ended(&decision, &answer, at, sent.attempts) {
                sent.answer = (decision == Decision::End).then_some(answer);
                return Ok(sent);
            }
            // Of the first calls, the next one waits for all attempts of this one.
            let is_last = sent.attempts.unconnected >= self.settings.attempts.get();
            kept = (!self.is_proven() && !is_last).then_some(worker);
            if !self.pause(&decision).await {
                return Ok(sent);
            }
        }
    }

    /// A worker, once the call is on the disk; `None` if the run stopped first.
    /// A worker is needed to send, not to wait for that or for another attempt.
    async fn acquire_worker(
        &self,
        key: CustomerKey,
        record: Option<&CallRecord>,
        sent: &mut SentCall,
    ) -> Result<Option<SemaphorePermit<'_>>, RecorderClosed> {
        let Some(record) = record.filter(|_| !sent.is_recorded) else { return Ok(self.worker().await) };
        let priority = if record.has_begun { Priority::BegunRow } else { Priority::NewRow };
        let _place = self.admission.enter(priority).await;
        if self.switch.is_set() {
            return Ok(None);
        }
        self.records.begin(key, record.call, record.state.clone()).await?;
        sent.is_recorded = true;
        Ok(self.worker().await)
    }

    async fn worker(&self) -> Option<SemaphorePermit<'_>> {
        self.workers.acquire().await.ok().filter(|_| !self.switch.is_set())
    }

    fn count(&self, sent: &mut SentCall, answer: &Answer) {
        sent.requests += 1;
        let is_outage = self.pacer.with_breaker(|breaker| {
            if answer.status.is_some() {
                breaker.set_answered();
            }
            breaker.is_outage()
        });
        match answer.meaning {
            Meaning::Unsent => sent.attempts.unconnected += 1,
            Meaning::Limited => {}
            Meaning::Unavailable => {
                // The row is not to blame if the whole server fails.
                sent.attempts.used += u32::from(!is_outage);
                sent.attempts.lost += 1;
                sent.attempts.unconnected = 0;
                // From now on, not from when it was sent: the server has been at
                // work on a request that timed out, and may be for as long again.
                sent.lost_at = Some(Instant::now());
            }
            _ => sent.attempts.used += 1,
        }
    }

    /// Whether the call ends here, also because the run stops.
    fn has_ended(&self, decision: &Decision, answer: &Answer, at: Place, attempts: Attempts) -> bool {
        let message = || answer.message.clone();
        match decision {
            Decision::End => true,
            Decision::StopRun => {
                self.switch.stop(Stop::KeyRefused { at, message: message() });
                true
            }
            Decision::Reconnect(_) if self.is_unreachable(attempts) => {
                self.switch.stop(Stop::Unreachable { message: message() });
                true
            }
            Decision::Retry(_) | Decision::Reconnect(_) | Decision::Hold => false,
        }
    }

    /// An API that has never answered, or not yet shown that it works, gets as
    /// many attempts as a call. Otherwise it is waited for, since rows are not to
    /// blame for an outage.
    fn is_unreachable(&self, attempts: Attempts) -> bool {
        let is_waited_for = self.pacer.with_breaker(|breaker| breaker.has_answered() && breaker.is_armed());
        !is_waited_for && attempts.unconnected >= self.settings.attempts.get()
    }

    /// Takes in what an answer shows of the server.
    fn report_signal(&self, permit: Permit, at: Place, signal: Signal) {
        if signal == Signal::Good {
            self.gauge.add(permit.at.elapsed());
        }
        match self.pacer.answered(permit, at.position(), signal) {
            BreakerEvent::None | BreakerEvent::Closed(OpenCause::Limit) => {}
            BreakerEvent::Held(wait) => {
                let seconds = wait.as_secs_f64();
                tracing::info!(seconds, "the server's limit is reached; all calls wait");
            }
            BreakerEvent::Failing { since, wait } => {
                let (since, wait) = (Period(since), Period(wait));
                tracing::warn!("the server has been failing for {since}; one call tries it in {wait}");
            }
            BreakerEvent::Closed(OpenCause::Outage) => {
                tracing::warn!("the server works again; the rate is raised step by step");
            }
            BreakerEvent::GivenUp(cause, since) => {
                let problem = match cause {
                    OpenCause::Limit => "has asked to wait, and answered nothing else,",
                    OpenCause::Outage => "has failed",
                };
                self.switch.stop(Stop::Failing { message: format!("it {problem} for {}", Period(since)) });
            }
        }
    }

    /// How the rate was used.
    pub(super) fn pace(&self) -> Pace {
        let (refused, accepted) = self.pacer.refusals();
        self.gauge.pace(self.settings.rate, self.settings.concurrency, refused, accepted)
    }

    /// `false` if the run stopped.
    async fn pause(&self, decision: &Decision) -> bool {
        match decision {
            Decision::Retry(most) | Decision::Reconnect(most) => {
                let share = most.mul_f64(fastrand::f64());
                self.switch.sleep(share.max(PAUSE_MIN)).await
            }
            _ => true,
        }
    }

    /// Takes in whether a call worked; `None` if that shows nothing. It has to
    /// come before anything is awaited, so that no other call is sent between.
    pub(super) fn report_to_canary(&self, at: Place, has_worked: Option<bool>, message: &str) {
        let verdict = self.canary.borrow_mut().add(at, has_worked, message);
        match verdict {
            CanaryVerdict::Undecided => {}
            CanaryVerdict::Works => {
                self.workers.add_permits(self.settings.concurrency.get() as usize - 1);
                self.admission.add_places(recorded_ahead(&self.settings) - 1);
                self.pacer.with_breaker(CircuitBreaker::arm);
            }
            CanaryVerdict::Failed(reasons) => self.switch.stop(Stop::CanaryFailed { reasons }),
        }
    }
}

fn recorded_ahead(settings: &DispatchSettings) -> usize {
    let most = settings.concurrency.get().saturating_mul(RECORDED_AHEAD_PER_WORKER);
    let wanted = settings.rate.per_second() * RECORDED_AHEAD.as_secs_f64();
    wanted.clamp(1.0, f64::from(most)) as usize
}

/// What an answer shows of the server, whatever it says of the row.
fn signal(answer: &Answer) -> Signal {
    match (answer.meaning, answer.wait) {
        (Meaning::Limited, wait) => Signal::Limited(wait),
        (Meaning::Unavailable, _) if answer.status == Some(503) => Signal::Busy,
        (Meaning::Unavailable | Meaning::Unsent, _) => Signal::Failed,
        (_, Some(wait)) => Signal::Spent(wait),
        _ => Signal::Good,
    }
}
