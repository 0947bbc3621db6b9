//! One row, from its first call to its outcome.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::conductor::Job;
use super::record::{CallEnd, CallLine, FlightChange, Gone, Record, Trouble};
use super::send::{End, Sent, Shared, unix_now};
use super::settings::InDoubt;
use super::stop::Stop;
use crate::omnidesk::{Action, Call, Kind};
use crate::planning::{
    Flight, Outcome, Situation, Step, acknowledged, found_by_probe, next, probe, turned_absent,
    turned_existing,
};

/// How a row left its lane.
#[derive(Debug)]
pub(super) struct RowEnd {
    pub(super) job: Job,
    /// None if the run stopped before the row had an outcome.
    pub(super) outcome: Option<(Outcome, Option<Box<Trouble>>)>,
    /// The customer's next call must not go before: the server may still be at
    /// work on one whose answer was lost, and would overwrite it.
    pub(super) quiet_until: Option<Instant>,
}

/// A call that may be repeated and was recorded this long ago is not under
/// way any more, whatever the clock of the wall has been through.
const FORGOTTEN_SECONDS: u64 = 3600;

/// One row on its way.
struct Lane {
    shared: Rc<Shared>,
    job: Job,
    situation: Situation,
    quiet_until: Option<Instant>,
    creates: u32,
    /// The call that an earlier process recorded for this row and may have sent.
    sent_before: Option<Kind>,
}

/// What a lane came to; `None` if the run stopped.
type Ended = Option<(Outcome, Option<Box<Trouble>>)>;

/// Walks a row. `quiet_until` is of the customer's last row.
pub(super) async fn walk(shared: Rc<Shared>, job: Job, quiet_until: Option<Instant>) -> RowEnd {
    let mut lane =
        Lane { shared, job, situation: Situation::default(), quiet_until, creates: 0, sent_before: None };
    let outcome = match lane.walk().await {
        Ok(outcome) => outcome,
        Err(Gone) => {
            lane.shared.switch.stop(Stop::RecorderGone);
            None
        }
    };
    RowEnd { job: lane.job, outcome, quiet_until: lane.quiet_until }
}

impl Lane {
    async fn walk(&mut self) -> Result<Ended, Gone> {
        let loaded = self.shared.books.load(self.job.key, self.job.intent.at.number).await?;
        self.situation = Situation::new(loaded.told, loaded.progress);
        if let Some(flight) = loaded.flight {
            let since = self.shared.started;
            if flight.kind() == Kind::Create {
                if let Some(ended) = self.resolve(flight, since).await? {
                    return Ok(ended);
                }
            } else if unix_now().saturating_sub(flight.at_unix) < FORGOTTEN_SECONDS {
                self.keep_quiet(since);
                self.sent_before = (flight.row == self.job.intent.at.number).then(|| flight.kind());
            }
        }
        loop {
            let shared = Rc::clone(&self.shared);
            match next(&self.job.intent, &self.situation, &shared.settings.policy) {
                Step::Settled(outcome) => return Ok(Some((outcome, None))),
                Step::Rejected(rejection) => {
                    return Ok(Some((Outcome::Rejected, Some(Box::new((*rejection).into())))));
                }
                Step::Call(call) => {
                    if let Some(ended) = self.make(&call).await? {
                        return Ok(ended);
                    }
                }
            }
        }
    }

    /// Makes a call and takes in its end; an outcome if the row ends with it.
    async fn make(&mut self, call: &Call) -> Result<Option<Ended>, Gone> {
        if !self.wait_quiet().await {
            return Ok(Some(None));
        }
        let flight = self.flight(call);
        let shared = Rc::clone(&self.shared);
        let lost_before = self.sent_before.take() == Some(call.kind());
        let sent =
            shared.send(call, self.job.key, Some(flight), self.job.intent.at.number, lost_before).await?;
        if let Some(lost_at) = sent.lost_at {
            self.keep_quiet(lost_at);
        }
        match sent.end {
            End::Done | End::DoneBefore => {
                acknowledged(call, &self.job.intent, &mut self.situation, &shared.settings.policy);
                let change = if sent.tries.lost > 0 { FlightChange::Keep } else { FlightChange::Clear };
                self.ended(call, &sent, change).await?;
                Ok(None)
            }
            End::Exists => {
                let goes_on = turned_existing(&mut self.situation);
                self.ended(call, &sent, FlightChange::Clear).await?;
                Ok((!goes_on).then(|| self.failed(call, &sent)))
            }
            End::NotFound => {
                let goes_on = turned_absent(&self.job.intent, &mut self.situation);
                self.ended(call, &sent, FlightChange::Clear).await?;
                Ok((!goes_on).then(|| self.failed(call, &sent)))
            }
            End::Refused { perhaps_done } => {
                // A create that may have worked is probed before the next one.
                let keep = perhaps_done && call.kind() == Kind::Create;
                self.ended(call, &sent, if keep { FlightChange::Keep } else { FlightChange::Clear }).await?;
                Ok(Some(self.failed(call, &sent)))
            }
            End::GaveUp => {
                self.ended(call, &sent, FlightChange::Keep).await?;
                Ok(Some(self.failed(call, &sent)))
            }
            End::InDoubt => self.doubt(call, &sent, flight).await,
            End::Stopped => {
                // Nothing left that could still be under way: the record goes too.
                let change = if sent.tries.lost > 0 { FlightChange::Keep } else { FlightChange::Clear };
                self.ended(call, &sent, change).await?;
                Ok(Some(None))
            }
        }
    }

    async fn doubt(&mut self, call: &Call, sent: &Sent, flight: Flight) -> Result<Option<Ended>, Gone> {
        self.ended(call, sent, FlightChange::Keep).await?;
        self.creates += 1;
        if self.creates >= self.shared.settings.attempts.get() {
            return Ok(Some(
                self.in_doubt(format!("the answer was lost {} times: {}", self.creates, sent.message), sent),
            ));
        }
        let since = sent.lost_at.unwrap_or_else(Instant::now);
        self.resolve(flight, since).await
    }

    /// Finds out whether the lost create `flight` was carried out.
    async fn resolve(&mut self, flight: Flight, since: Instant) -> Result<Option<Ended>, Gone> {
        let shared = Rc::clone(&self.shared);
        let nothing = Sent {
            end: End::InDoubt,
            tries: Default::default(),
            status: None,
            message: String::new(),
            lost_at: None,
        };
        if shared.settings.in_doubt == InDoubt::Hold {
            let message = "a create of this customer was sent and its answer lost; it is held".to_owned();
            return Ok(Some(self.in_doubt(message, &nothing)));
        }
        self.keep_quiet(since);
        if !self.wait_quiet().await {
            return Ok(Some(None));
        }
        if shared.settings.in_doubt == InDoubt::Resend {
            return Ok(None);
        }
        let call = probe(&self.job.intent);
        let sent = shared.send(&call, self.job.key, None, self.job.intent.at.number, false).await?;
        match sent.end {
            End::Done | End::DoneBefore | End::Exists => {
                found_by_probe(&flight, &self.job.intent, &mut self.situation, &shared.settings.policy);
                self.ended(&call, &sent, FlightChange::Clear).await?;
                Ok(None)
            }
            End::NotFound => {
                self.situation.told = None;
                self.ended(&call, &sent, FlightChange::Clear).await?;
                Ok(None)
            }
            End::Stopped => Ok(Some(None)),
            End::Refused { .. } | End::GaveUp | End::InDoubt => {
                self.ended(&call, &sent, FlightChange::Keep).await?;
                let message = format!(
                    "a create was sent and its answer lost; the probe came back with: {}",
                    sent.message
                );
                Ok(Some(self.in_doubt(message, &sent)))
            }
        }
    }

    fn keep_quiet(&mut self, since: Instant) {
        let until = since + self.shared.settings.settle;
        self.quiet_until = Some(self.quiet_until.map_or(until, |known| known.max(until)));
    }

    async fn wait_quiet(&self) -> bool {
        match self.quiet_until {
            Some(until) if until > Instant::now() => self.shared.switch.sleep_until(until).await,
            _ => true,
        }
    }

    fn flight(&self, call: &Call) -> Flight {
        let policy = &self.shared.settings.policy;
        let address = match &call.action {
            Action::Create { first: Some(address), .. } => Some(policy.key.address(address)),
            _ => None,
        };
        Flight::new(policy.export, self.job.intent.at.number, call.kind(), address, unix_now())
    }

    async fn ended(&self, call: &Call, sent: &Sent, flight: FlightChange) -> Result<(), Gone> {
        let end = CallEnd {
            key: self.job.key,
            row: self.job.intent.at.number,
            told: Some(self.situation.told.clone()),
            progress: Some(self.situation.progress.clone()),
            flight,
            line: CallLine {
                at: self.job.intent.at,
                kind: call.kind(),
                result: sent.end.word(),
                status: sent.status,
                attempts: sent.tries.used + sent.tries.unconnected,
            },
        };
        self.shared.books.tell(Record::Ended(Box::new(end))).await
    }

    fn failed(&self, call: &Call, sent: &Sent) -> Ended {
        let (code, hint) = match (sent.end, sent.status) {
            (End::NotFound, _) => {
                ("not_found", "there is no such customer in Omnidesk; is it the right id and brand?")
            }
            (End::Exists, _) => (
                "exists",
                "the API says both that the customer exists and that there is none; look at it in Omnidesk",
            ),
            (End::GaveUp, _) => {
                ("gave_up", "the server failed at every attempt; run the same command again later")
            }
            (_, Some(300..=399)) => ("redirected", "set base_url to the address the API itself has"),
            _ => ("refused", "the API gives the reason; mend the row and run its result file"),
        };
        let message = format!("{} was refused: {}", call.kind().word(), sent.message);
        Some((Outcome::Failed, Some(trouble(code, message, hint, sent))))
    }

    fn in_doubt(&self, message: String, sent: &Sent) -> Ended {
        let hint =
            "run the same command again: it asks the API once more; or look for the customer in Omnidesk";
        Some((Outcome::InDoubt, Some(trouble("in_doubt", message, hint, sent))))
    }
}

fn trouble(code: &'static str, message: String, hint: &'static str, sent: &Sent) -> Box<Trouble> {
    Box::new(Trouble {
        code,
        column: None,
        value: None,
        message,
        hint: Cow::Borrowed(hint),
        status: sent.status,
        attempts: sent.tries.used,
    })
}

/// How long finished rows' customers have to be remembered.
pub(super) fn is_over(until: Instant) -> bool {
    until.saturating_duration_since(Instant::now()) == Duration::ZERO
}
