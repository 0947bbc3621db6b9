//! One call: recorded, paced, sent, judged, and sent again where that is safe.

use std::cell::{Cell, RefCell};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::canary::{self, Canary};
use super::pacer::Pacer;
use super::record::{Books, Gone};
use super::retry::{self, Tries, Verdict};
use super::settings::Settings;
use super::stop::{Stop, Switch};
use crate::omnidesk::{Answer, Call, Client, judge};
use crate::planning::{CustomerKey, Flight};

/// What all rows share. One thread, so cells are enough.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) client: Client,
    pub(super) books: Books,
    pub(super) switch: Switch,
    pub(super) started: Instant,
    workers: Semaphore,
    pacer: Pacer,
    canary: RefCell<Canary>,
    /// When the API last answered anything.
    answered: Cell<Option<Instant>>,
}

/// Without any answer for so long, an API that did answer is called unreachable.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// The shortest pause before a call is tried again.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// How a call ended.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) end: End,
    pub(super) tries: Tries,
    pub(super) status: Option<u16>,
    /// The API's words, or what went wrong.
    pub(super) message: String,
    /// When the last request left whose answer was lost.
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

impl Shared {
    pub(super) fn new(settings: Settings, client: Client, books: Books, switch: Switch) -> Self {
        let canary = Canary::new(settings.canary);
        let workers = if canary.is_over() { settings.concurrency.get() } else { 1 };
        Self {
            workers: Semaphore::new(workers as usize),
            pacer: Pacer::new(settings.rate),
            canary: RefCell::new(canary),
            answered: Cell::new(None),
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

    /// Sends a call until it has an end. `flight` is recorded before; a probe
    /// has none, since the record of the create that it asks about must stay.
    /// `lost_before` says that an earlier process may have sent it already.
    pub(super) async fn send(
        &self,
        call: &Call,
        key: CustomerKey,
        flight: Option<Flight>,
        row: u64,
        lost_before: bool,
    ) -> Result<Sent, Gone> {
        let mut sent = Sent {
            end: End::Stopped,
            tries: Tries { lost: u32::from(lost_before), ..Tries::default() },
            status: None,
            message: String::new(),
            lost_at: None,
        };
        let mut unrecorded = flight;
        loop {
            // A worker is needed to send, not to wait for another try.
            let Ok(worker) = self.workers.acquire().await else {
                return Ok(sent);
            };
            if self.switch.is_set() {
                return Ok(sent);
            }
            if let Some(flight) = unrecorded.take() {
                self.books.intend(key, flight).await?;
            }
            if !self.pacer.slot(&self.switch).await {
                return Ok(sent);
            }
            let left_at = Instant::now();
            let exchange = self.client.send(call).await;
            let answer = judge(call.kind(), &exchange, &self.settings.texts);
            self.take_in(&mut sent, &answer, left_at);
            let verdict = retry::decide(call.kind(), &answer, sent.tries, self.settings.attempts);
            if let Some(end) = self.end_of(&verdict, &answer, row, &sent) {
                sent.end = end;
                self.note_for_canary(row, &sent);
                return Ok(sent);
            }
            drop(worker);
            if !self.pause(&verdict, &sent).await {
                return Ok(sent);
            }
        }
    }

    fn take_in(&self, sent: &mut Sent, answer: &Answer, left_at: Instant) {
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
        sent.status = status;
        sent.message = message;
        match answer {
            Answer::NotSent { .. } => sent.tries.unconnected += 1,
            Answer::Throttled { .. } => self.answered.set(Some(Instant::now())),
            Answer::Unsettled { status, .. } => {
                sent.tries.used += 1;
                sent.tries.lost += 1;
                sent.tries.unconnected = 0;
                sent.lost_at = Some(left_at);
                if status.is_some() {
                    self.answered.set(Some(Instant::now()));
                }
            }
            _ => {
                sent.tries.used += 1;
                self.answered.set(Some(Instant::now()));
            }
        }
    }

    fn end_of(&self, verdict: &Verdict, answer: &Answer, row: u64, sent: &Sent) -> Option<End> {
        Some(match verdict {
            Verdict::Accept => End::Done,
            Verdict::AcceptExisting => End::DoneBefore,
            Verdict::TurnExisting => End::Exists,
            Verdict::TurnAbsent => End::NotFound,
            Verdict::Refuse => {
                End::Refused { perhaps_done: matches!(answer, Answer::Refused { perhaps_done: true, .. }) }
            }
            Verdict::GiveUp => End::GaveUp,
            Verdict::InDoubt => End::InDoubt,
            Verdict::StopRun => {
                self.switch.stop(Stop::KeyRefused { row, message: sent.message.clone() });
                End::Stopped
            }
            Verdict::Reconnect(_) if self.is_unreachable(sent.tries) => {
                self.switch.stop(Stop::Unreachable { message: sent.message.clone() });
                End::Stopped
            }
            Verdict::Again(_) | Verdict::Reconnect(_) | Verdict::HoldAll(_) => return None,
        })
    }

    /// An API that has never answered gets as many tries as a call; one that
    /// has is waited for, since rows are not to blame for an outage.
    fn is_unreachable(&self, tries: Tries) -> bool {
        match self.answered.get() {
            None => tries.unconnected >= self.settings.attempts.get(),
            Some(last) => tries.unconnected >= self.settings.attempts.get() && last.elapsed() > SILENCE_MAX,
        }
    }

    async fn pause(&self, verdict: &Verdict, _sent: &Sent) -> bool {
        match verdict {
            Verdict::HoldAll(wait) => {
                self.pacer.hold(*wait);
                true
            }
            Verdict::Again(most) | Verdict::Reconnect(most) => {
                let share = most.mul_f64(fastrand::f64());
                self.switch.sleep(share.max(PAUSE_MIN)).await
            }
            _ => true,
        }
    }

    fn note_for_canary(&self, row: u64, sent: &Sent) {
        let trouble = match sent.end {
            End::Stopped => return,
            End::Done | End::DoneBefore | End::Exists | End::NotFound => None,
            End::Refused { .. } | End::GaveUp | End::InDoubt => Some(sent.message.as_str()),
        };
        let verdict = self.canary.borrow_mut().note(row, trouble);
        match verdict {
            canary::Verdict::Undecided => {}
            canary::Verdict::Works => self.workers.add_permits(self.settings.concurrency.get() as usize - 1),
            canary::Verdict::Failed(reasons) => self.switch.stop(Stop::CanaryFailed { reasons }),
        }
    }
}

/// Seconds since 1970.
pub(super) fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
