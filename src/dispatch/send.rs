//! One call: recorded, paced, sent, judged, and sent again if that is safe.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::admission::{AdmissionQueue, Priority};
use super::canary::{Canary, CanaryVerdict, Evidence};
use super::circuit_breaker::{BreakerEvent, CircuitBreaker, OpenCause, Signal};
use super::judgement::Judgement;
use super::pace::{Gauge, Pace};
use super::pacer::{Pacer, Permit};
use super::parking::Parking;
use super::purge_grants::PurgeGrants;
use super::record::{Record, RecordQueue, RecorderClosed};
use super::retry::{Attempts, Decision, decide};
use super::settings::DispatchSettings;
use super::stop::{Stop, StopSwitch};
use super::vanished_brake::VanishedBrake;
use super::waits::{WaitCause, Waits};
use crate::mapping::Place;
use crate::omnidesk::{Answer, Call, CallKind, Client, Meaning, Proof, judge};
use crate::reconcile::{CustomerKey, CustomerState, PendingCall, Policy};
use crate::units::Period;

/// The state that all rows share. One thread, so cells are enough.
pub(super) struct Dispatcher {
    pub(super) settings: DispatchSettings,
    client: Client,
    pub(super) records: RecordQueue,
    pub(super) switch: StopSwitch,
    pub(super) start: Instant,
    workers: Semaphore,
    /// Calls that are recorded, or about to be, and wait for a worker.
    admission: AdmissionQueue,
    pacer: Pacer,
    canary: RefCell<Canary>,
    gauge: Gauge,
    pub(super) purge_grants: PurgeGrants,
    pub(super) calls_ended: Cell<u64>,
    /// A server that has never answered is most likely a wrong address.
    has_answered: Cell<bool>,
    /// Whether a call has worked with this key and these settings.
    pub(super) has_worked: Cell<bool>,
    pub(super) parking: Parking,
    pub(super) judgement: RefCell<Judgement>,
    pub(super) brake: RefCell<VanishedBrake>,
    /// What control requests have shown: whether a probe tells who exists.
    pub(super) probing: Mutex<Option<bool>>,
    waits: Waits,
}

/// Calls of this time may be recorded before a worker is free, so that many go
/// into one commit. A commit takes less.
const RECORDED_AHEAD: Duration = Duration::from_millis(10);
/// The most of them for each worker, since after a crash each is in doubt.
const RECORDED_AHEAD_PER_WORKER: u32 = 3;

/// The shortest pause before a call is tried again.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(20);

/// The record of a call, which is made durable before the call is sent.
#[derive(Debug)]
pub(super) struct CallRecord {
    pub(super) key: CustomerKey,
    pub(super) call: PendingCall,
    pub(super) state: CustomerState,
    /// Whether it is not the first call of its row.
    pub(super) has_begun: bool,
}

/// A call with its last answer.
#[derive(Debug, Default)]
pub(super) struct SentCall {
    /// `None`: the run stopped before the call had an end.
    pub(super) answer: Option<Answer>,
    pub(super) attempts: Attempts,
    /// Requests that were sent, or could not be.
    pub(super) requests: u32,
    /// An unrecorded call cannot have been sent.
    pub(super) is_recorded: bool,
    /// When the last lost answer was noticed.
    pub(super) lost_at: Option<Instant>,
}

impl SentCall {
    pub(super) fn meaning(&self) -> Option<Meaning> {
        self.answer.as_ref().map(|answer| answer.meaning)
    }

    /// The HTTP status, if an answer came.
    pub(super) fn status(&self) -> Option<u16> {
        self.answer.as_ref().and_then(|answer| answer.status)
    }

    /// The API's message, or the failure of the request.
    pub(super) fn message(&self) -> &str {
        self.answer.as_ref().map(|answer| answer.message.as_str()).unwrap_or_default()
    }

    /// Whether another call may replace this one. Then that one shows whether the
    /// settings work.
    pub(super) fn has_follow_up(&self) -> bool {
        matches!(self.meaning(), Some(Meaning::Exists | Meaning::NotFound))
    }

    /// Whether the call certainly changed nothing.
    pub(super) fn is_without_effect(&self) -> bool {
        let has_worked = self.answer.as_ref().is_some_and(|answer| answer.proof == Proof::Done);
        self.attempts.perhaps_done == 0 && !has_worked
    }

    pub(super) fn is_suspicious(&self) -> bool {
        self.meaning().is_some_and(Meaning::is_suspicious)
    }

    /// Whether nothing proves that the call's last request was not carried out.
    pub(super) fn proves_nothing(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.proof == Proof::Nothing)
    }
}

impl Dispatcher {
    /// The policy as of now.
    pub(super) fn policy(&self) -> Policy {
        let policy = self.settings.policy;
        let passed = u32::try_from(self.start.elapsed().as_secs() / 60).unwrap_or(u32::MAX);
        Policy { minute: policy.minute.saturating_add(passed), ..policy }
    }

    pub(super) fn new(
        settings: DispatchSettings,
        client: Client,
        records: RecordQueue,
        switch: StopSwitch,
    ) -> Self {
        let before = if settings.is_proven { Evidence::Works } else { Evidence::Nothing };
        let dispatcher = Self {
            workers: Semaphore::new(1),
            admission: AdmissionQueue::new(1),
            pacer: Pacer::new(settings.rates.clone(), CircuitBreaker::new(settings.patience)),
            canary: RefCell::new(Canary::new(settings.canary, before)),
            gauge: Gauge::default(),
            purge_grants: PurgeGrants::new(settings.purges_max, &settings.pending_purges),
            calls_ended: Cell::new(0),
            has_answered: Cell::new(false),
            has_worked: Cell::new(settings.is_proven),
            parking: Parking::default(),
            judgement: RefCell::default(),
            brake: RefCell::new(VanishedBrake::new(settings.max_vanished, settings.vanished_allowed)),
            probing: Mutex::new(settings.probing),
            waits: Waits::default(),
            start: Instant::now(),
            settings,
            client,
            records,
            switch,
        };
        if before == Evidence::Works {
            dispatcher.pacer.with_breaker(CircuitBreaker::arm);
        }
        if dispatcher.is_proven() {
            dispatcher.start_all_workers();
        }
        dispatcher
    }

    fn start_all_workers(&self) {
        self.workers.add_permits(self.settings.concurrency.get() as usize - 1);
        self.admission.add_places(recorded_ahead(&self.settings) - 1);
        self.pacer.with_breaker(CircuitBreaker::arm);
    }

    /// Whether the first calls have shown that the API works.
    pub(super) fn is_proven(&self) -> bool {
        self.canary.borrow().is_over()
    }

    /// Sends a call until it has an end. `record` is made durable before. A probe
    /// has none, since the record of the create that it probes must stay.
    /// `attempts` are those of an earlier process.
    pub(super) async fn send(
        &self,
        call: &Call,
        at: Place,
        record: Option<&CallRecord>,
        attempts: Attempts,
    ) -> Result<SentCall, RecorderClosed> {
        let mut sent = SentCall { attempts, ..SentCall::default() };
        let mut kept = None;
        loop {
            let worker = match kept.take() {
                None => self.acquire_worker(record, &mut sent).await?,
                kept => kept,
            };
            let Some(worker) = worker else { return Ok(sent) };
            let Some(permit) = self.pacer.acquire(&self.switch).await else { return Ok(sent) };
            self.waits.begin();
            let exchange = self.client.send(call).await;
            self.waits.end();
            let mut answer = judge(call, &exchange, &self.settings.texts);
            answer.message = self.client.show(&answer.message);
            self.note_success(permit, &answer);
            self.report_signal(permit, at, signal(&answer));
            self.count(&mut sent, &answer);
            let was_perhaps_done = sent.attempts.perhaps_done > 0;
            if call.kind() == CallKind::Purge && answer.meaning == Meaning::NotFound && was_perhaps_done {
                // An earlier attempt has purged it.
                (answer.meaning, answer.proof) = (Meaning::Done, Proof::Done);
            }
            let decision = decide(call.kind(), &answer, sent.attempts, self.settings.attempts);
            // Without the API's message, which may name a customer.
            tracing::debug!(%at, call = call.kind().as_str(), status = ?answer.status, ?decision, "answered");
            let stop = match decision {
                // Where nothing has ever worked, the key is to blame.
                Decision::End if answer.refuses_key() && !self.has_worked.get() => {
                    Some(Stop::KeyRefused { at, message: answer.message })
                }
                Decision::End => {
                    sent.answer = Some(answer);
                    return Ok(sent);
                }
                Decision::Reconnect(_) if self.is_unreachable(sent.attempts) => {
                    Some(Stop::Unreachable { message: answer.message })
                }
                _ => None,
            };
            if let Some(stop) = stop {
                self.switch.stop(stop);
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
        record: Option<&CallRecord>,
        sent: &mut SentCall,
    ) -> Result<Option<SemaphorePermit<'_>>, RecorderClosed> {
        let Some(record) = record.filter(|_| !sent.is_recorded) else { return Ok(self.worker().await) };
        let priority = if record.has_begun { Priority::BegunRow } else { Priority::NewRow };
        let _place = self.admission.enter(priority).await;
        if self.switch.is_set() {
            return Ok(None);
        }
        self.records.begin(record.key, record.call, record.state.clone()).await?;
        sent.is_recorded = true;
        Ok(self.worker().await)
    }

    async fn worker(&self) -> Option<SemaphorePermit<'_>> {
        self.workers.acquire().await.ok().filter(|_| !self.switch.is_set())
    }

    fn count(&self, sent: &mut SentCall, answer: &Answer) {
        sent.requests += 1;
        if answer.status.is_some() {
            self.has_answered.set(true);
        }
        match answer.meaning {
            Meaning::Unsent => sent.attempts.unconnected += 1,
            Meaning::Limited => {}
            Meaning::Unavailable => {
                // The row is not to blame if the whole server fails.
                let is_outage = self.pacer.with_breaker(|breaker| breaker.is_outage());
                sent.attempts.used += u32::from(!is_outage);
                sent.attempts.unconnected = 0;
            }
            _ => sent.attempts.used += 1,
        }
        if answer.proof == Proof::Nothing {
            sent.attempts.perhaps_done += 1;
        }
        // A limiter does not come back to a request that it has refused.
        if answer.proof == Proof::Nothing && answer.meaning != Meaning::Limited {
            sent.attempts.lost += 1;
            // From now on, not from the send: the server has been at work on a
            // request that timed out, and may be for as long again.
            sent.lost_at = Some(Instant::now());
        }
    }

    /// The API itself has answered: the key and the way to it are right.
    fn note_success(&self, permit: Permit, answer: &Answer) {
        use Meaning::{Done, DoneBefore, Exists, NotFound};
        if matches!(answer.meaning, Done | DoneBefore | Exists | NotFound) {
            self.has_worked.set(self.has_worked.get() || answer.proof == Proof::Done);
            if self.judgement.borrow_mut().succeed(permit.at) {
                self.parking.notify();
            }
        }
    }

    /// An API that has never answered, or not yet shown that it works, gets as
    /// many attempts as a call. Otherwise the run waits for it, since rows are not
    /// to blame for an outage.
    fn is_unreachable(&self, attempts: Attempts) -> bool {
        let is_expected = self.has_answered.get() && self.pacer.with_breaker(|breaker| breaker.is_armed());
        !is_expected && attempts.unconnected >= self.settings.attempts.get()
    }

    fn report_signal(&self, permit: Permit, at: Place, signal: Signal) {
        if signal == Signal::Good {
            self.gauge.add(permit.at.elapsed());
        }
        match self.pacer.add_answer(permit, at.position(), signal) {
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
            BreakerEvent::AskedToWait(wait) => {
                self.switch.stop(Stop::AskedToWait { asked: Instant::now(), wait });
            }
        }
    }

    /// How the rate was used.
    pub(super) fn pace(&self) -> Pace {
        let (refused, accepted) = (self.pacer.refused(), self.pacer.accepted_rate());
        self.gauge.pace(self.pacer.highest(), self.settings.concurrency, refused, accepted)
    }

    /// `false` if the run stopped.
    async fn pause(&self, decision: &Decision) -> bool {
        let (Decision::Retry(longest) | Decision::Reconnect(longest)) = decision else { return true };
        let pause = longest.mul_f64(fastrand::f64()).max(PAUSE_MIN);
        self.rest(Instant::now() + pause, WaitCause::Retry).await
    }

    /// Waits until `until`; `false` if the run stopped meanwhile.
    pub(super) async fn rest(&self, until: Instant, cause: WaitCause) -> bool {
        let _rest = self.waits.rest(until, cause);
        self.switch.sleep_until(until).await
    }

    /// Records what the run waits for, or that it goes on.
    pub(super) fn check_wait(&self) -> Result<(), RecorderClosed> {
        let breaker = self.pacer.with_breaker(|breaker| breaker.state());
        match self.waits.check(breaker, self.pacer.is_awaited(), Instant::now()) {
            Some(wait) => self.records.add(Record::Wait(wait)),
            None => Ok(()),
        }
    }

    /// Has to come before anything is awaited, so that no other call is sent in
    /// between.
    pub(super) fn report_to_canary(&self, at: Place, evidence: Evidence, message: &str) {
        let verdict = self.canary.borrow_mut().add(at, evidence, message);
        match verdict {
            CanaryVerdict::Undecided => {}
            CanaryVerdict::Works => self.start_all_workers(),
            CanaryVerdict::Failed(reasons) => self.switch.stop(Stop::CanaryFailed { reasons }),
        }
    }
}

fn recorded_ahead(settings: &DispatchSettings) -> usize {
    let most = settings.concurrency.get().saturating_mul(RECORDED_AHEAD_PER_WORKER);
    let wanted = settings.rates.schedule().highest().per_second() * RECORDED_AHEAD.as_secs_f64();
    wanted.clamp(1.0, f64::from(most)) as usize
}

/// What an answer shows about the server, whatever it says about the row.
pub(super) fn signal(answer: &Answer) -> Signal {
    match (answer.meaning, answer.wait) {
        (Meaning::Limited, wait) => Signal::Limited(wait),
        (Meaning::Unavailable, _) if answer.status == Some(503) => Signal::Busy,
        (Meaning::Unavailable | Meaning::Unsent, _) => Signal::Failed,
        (_, Some(wait)) => Signal::Spent(wait),
        _ => Signal::Good,
    }
}
