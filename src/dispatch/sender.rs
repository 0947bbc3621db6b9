//! The senders: each sends one call after the other, and takes in the answer.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::call_queue::{Purpose, QueuedCall};
use super::circuit_breaker::{BreakerEvent, CircuitBreaker, OpenCause, Signal};
use super::pace::Pace;
use super::pacer::Permit;
use super::retry::{Attempts, Decision, SentCall, decide};
use super::scheduler::{Due, Network, Scheduler};
use super::stop::Stop;
use super::timeline::RequestEnd;
use super::waits::WaitCause;
use crate::mapping::Place;
use crate::omnidesk::{Answer, CallKind, Exchange, Meaning, Proof, judge};
use crate::units::Period;

/// The shortest pause before a call is tried again.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(20);

/// Sends calls for as long as the run has any.
pub(super) async fn send_calls(network: Rc<Network>, scheduler: Rc<RefCell<Scheduler>>) {
    loop {
        let call = scheduler.borrow_mut().take_call();
        let Some(call) = call else {
            network.call_ready.notified().await;
            continue;
        };
        let Some(permit) = network.pacer.acquire(&network.switch).await else {
            scheduler.borrow_mut().finish(call);
            continue;
        };
        scheduler.borrow_mut().waits.begin();
        let exchange = network.client.send(&call.call).await;
        scheduler.borrow_mut().take_answer(call, permit, &exchange);
    }
}

impl Scheduler {
    /// Takes in an answer: the call has ended, or is sent again if that is safe.
    fn take_answer(&mut self, mut queued: QueuedCall, permit: Permit, exchange: &Exchange) {
        self.waits.end();
        let (at, kind, now) = (queued.row.at(), queued.call.kind(), Instant::now());
        let mut answer = judge(&queued.call, exchange, &self.settings.texts);
        answer.message = self.network.client.show(&answer.message);
        self.note_success(permit, &answer);
        let (signal, took) = (signal(&answer), now - permit.at);
        self.report_signal(permit, at, signal, took);
        self.count(&mut queued.sent, &answer);
        if kind == CallKind::Purge
            && answer.meaning == Meaning::NotFound
            && queued.sent.attempts.perhaps_done > 0
        {
            // An earlier attempt has purged it.
            (answer.meaning, answer.proof) = (Meaning::Done, Proof::Done);
        }
        let decision = decide(kind, &answer, queued.sent.attempts, self.settings.attempts);
        let breaker = |breaker: &mut CircuitBreaker| (breaker.is_limit(signal), breaker.state());
        let (is_limit, state) = self.network.pacer.with_breaker(breaker);
        // A control request is no call, and in no other count either.
        if !matches!(queued.purpose, Purpose::Control(_)) {
            let end = RequestEnd { signal, is_limit, is_last: decision == Decision::End, took };
            self.timeline.borrow_mut().add_request(now, end);
        }
        self.timeline.borrow_mut().note_breaker(state, now);
        // Without the API's message, which may name a customer.
        tracing::debug!(%at, call = kind.as_str(), status = ?answer.status, ?decision, "answered");
        match decision {
            // Where nothing has ever worked, the key is to blame.
            Decision::End if answer.refuses_key() && !self.has_worked => {
                self.stop(Stop::KeyRefused { at, message: answer.message });
                self.finish(queued);
            }
            Decision::End => {
                queued.sent.answer = Some(answer);
                self.finish(queued);
            }
            Decision::Reconnect(_) if self.is_unreachable(queued.sent.attempts) => {
                self.stop(Stop::Unreachable { message: answer.message });
                self.finish(queued);
            }
            _ if self.is_stopped() => self.finish(queued),
            decision => self.send_again(queued, decision),
        }
        self.review_parked();
    }

    fn send_again(&mut self, mut queued: QueuedCall, decision: Decision) {
        self.timeline.borrow_mut().sent_again += u64::from(!matches!(queued.purpose, Purpose::Control(_)));
        // Of the first calls, the next one waits for all attempts of this one.
        let is_last = queued.sent.attempts.unconnected >= self.settings.attempts.get();
        if self.is_proven() || is_last {
            self.calls.release_sender(&mut queued);
        }
        match decision {
            Decision::Retry(longest) | Decision::Reconnect(longest) => {
                let pause = longest.mul_f64(fastrand::f64()).max(PAUSE_MIN);
                self.wait_until(Instant::now() + pause, WaitCause::Retry, Due::Call(Box::new(queued)));
            }
            Decision::Hold | Decision::End => self.enqueue(queued),
        }
    }

    fn count(&mut self, sent: &mut SentCall, answer: &Answer) {
        sent.requests += 1;
        if answer.status.is_some() {
            self.has_answered = true;
        }
        match answer.meaning {
            Meaning::Unsent => sent.attempts.unconnected += 1,
            Meaning::Limited => sent.refused += 1,
            Meaning::Unavailable => {
                // The row is not to blame if the whole server fails.
                let is_outage = self.network.pacer.with_breaker(|breaker| breaker.is_outage());
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
    fn note_success(&mut self, permit: Permit, answer: &Answer) {
        use Meaning::{Done, DoneBefore, Exists, NotFound};
        if matches!(answer.meaning, Done | DoneBefore | Exists | NotFound) {
            self.has_worked |= answer.proof == Proof::Done;
            self.has_news |= self.judgement.succeed(permit.at);
        }
    }

    /// An API that has never answered, or not yet shown that it works, gets as
    /// many attempts as a call. Otherwise the run waits for it, since rows are not
    /// to blame for an outage.
    fn is_unreachable(&self, attempts: Attempts) -> bool {
        let is_armed = || self.network.pacer.with_breaker(|breaker| breaker.is_armed());
        let is_expected = self.has_answered && is_armed();
        !is_expected && attempts.unconnected >= self.settings.attempts.get()
    }

    fn report_signal(&mut self, permit: Permit, at: Place, signal: Signal, took: Duration) {
        if signal == Signal::Good {
            self.gauge.add(took);
        }
        match self.network.pacer.add_answer(permit, at.position(), signal) {
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
                self.stop(Stop::Failing { message: format!("it {problem} for {}", Period(since)) });
            }
            BreakerEvent::AskedToWait(wait) => {
                self.stop(Stop::AskedToWait { asked: Instant::now(), wait });
            }
        }
    }

    /// How the rate was used.
    pub(super) fn pace(&self) -> Pace {
        let pacer = &self.network.pacer;
        let (refused, accepted) = (pacer.refused(), pacer.accepted_rate());
        self.gauge.pace(pacer.highest(), self.settings.concurrency, refused, accepted)
    }
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
