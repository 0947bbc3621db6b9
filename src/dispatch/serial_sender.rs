//! Requests that change nothing, one at a time: paced and repeated like calls.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

use super::circuit_breaker::{BreakerEvent, CircuitBreaker};
use super::pacer::Pacer;
use super::retry::{Attempts, Decision, decide};
use super::sender::{PAUSE_MIN, signal};
use super::stop::StopSwitch;
use crate::omnidesk::{Answer, CallKind, Meaning};
use crate::units::{Period, RateTimeline};

/// Sends one request after the other.
pub(crate) struct SerialSender {
    pacer: Pacer,
    switch: StopSwitch,
    attempts: NonZeroU32,
    patience: Duration,
    /// Whether an answer could be used.
    has_worked: Cell<bool>,
}

/// Why no answer came that could be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SendEnd {
    Interrupted,
    /// The API refuses the request, or does not answer.
    Failed(String),
}

impl SerialSender {
    pub(crate) fn new(
        rates: RateTimeline,
        attempts: NonZeroU32,
        patience: Duration,
        switch: StopSwitch,
    ) -> Self {
        let pacer = Pacer::new(rates, CircuitBreaker::new(patience));
        Self { pacer, switch, attempts, patience, has_worked: Cell::new(false) }
    }

    /// Sends a request until an answer is its last.
    pub(crate) async fn send<T>(&self, request: impl AsyncFn() -> (Answer, Option<T>)) -> Result<T, SendEnd> {
        let (mut attempts, began) = (Attempts::default(), Instant::now());
        loop {
            let permit = self.pacer.acquire(&self.switch).await.ok_or(SendEnd::Interrupted)?;
            let (answer, content) = tokio::select! {
                biased;
                () = self.switch.wait() => return Err(SendEnd::Interrupted),
                answer = request() => answer,
            };
            match self.pacer.add_answer(permit, 0, signal(&answer)) {
                BreakerEvent::GivenUp(_, since) => {
                    let message = format!("the server has failed for {}: {}", Period(since), answer.message);
                    return Err(SendEnd::Failed(message));
                }
                BreakerEvent::AskedToWait(wait) => {
                    let message =
                        format!("the server asks to wait for {}, longer than patience", Period(wait));
                    return Err(SendEnd::Failed(message));
                }
                _ => {}
            }
            match answer.meaning {
                Meaning::Unsent => attempts.unconnected += 1,
                Meaning::Limited => {}
                _ => attempts.used += 1,
            }
            let Some(pause) = self.pause(&answer, attempts, began) else {
                self.has_worked.set(self.has_worked.get() || content.is_some());
                return content.ok_or_else(|| SendEnd::Failed(describe(&answer)));
            };
            if !self.switch.sleep_until(Instant::now() + pause).await {
                return Err(SendEnd::Interrupted);
            }
        }
    }

    /// The pause before the request is sent again; `None` if the answer is its last. A
    /// server that has worked before is waited for.
    fn pause(&self, answer: &Answer, attempts: Attempts, began: Instant) -> Option<Duration> {
        let has_worked = self.has_worked.get();
        let most = if has_worked { NonZeroU32::MAX } else { self.attempts };
        let is_over = attempts.unconnected >= most.get() || has_worked && began.elapsed() > self.patience;
        // Like an update, it may be sent again.
        match decide(CallKind::Update, answer, attempts, most) {
            Decision::End => None,
            Decision::Hold => Some(Duration::ZERO),
            Decision::Retry(_) | Decision::Reconnect(_) if is_over => None,
            Decision::Retry(longest) | Decision::Reconnect(longest) => {
                Some(longest.mul_f64(fastrand::f64()).max(PAUSE_MIN))
            }
        }
    }
}

fn describe(answer: &Answer) -> String {
    match answer.status {
        Some(status) => format!("status {status}: {}", answer.message),
        None => answer.message.clone(),
    }
}
