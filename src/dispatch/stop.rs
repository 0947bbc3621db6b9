//! Ending a run before its last row.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::mapping::Place;

/// Why a run stopped early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// By a person or the system.
    Interrupted,
    /// The time window closed.
    WindowClosed,
    /// 401 or 403: no other call would fare better.
    KeyRefused { at: Place, message: String },
    /// Something in front of the API answers in its place.
    Intercepted { at: Place, message: String },
    /// The API does not know customers whom the checkpoint knows.
    Vanished { at: Place, message: String },
    /// None of the first calls worked.
    CanaryFailed { reasons: Vec<(Place, String)> },
    /// More failed calls than `max_errors`.
    TooManyErrors { failed: u64, calls: u64 },
    /// A row needs a purge for which no grant is left.
    PurgeNotGranted { at: Place },
    /// No connection can be made.
    Unreachable { message: String },
    /// The server worked before, and has failed for longer than `patience`.
    Failing { message: String },
    /// The server asks to wait for this time, counted from `asked`, which ends after
    /// `patience`.
    AskedToWait { asked: Instant, wait: Duration },
    /// The export cannot be read any more, or was changed.
    ExportLost { message: String },
    /// The recorder has ended.
    RecorderClosed,
}

/// Stops a run; the first reason counts.
#[derive(Debug, Clone, Default)]
pub struct StopSwitch(watch::Sender<Option<Stop>>);

impl StopSwitch {
    /// Nothing new starts from now on.
    pub(crate) fn stop(&self, reason: Stop) {
        self.0.send_modify(|first| {
            first.get_or_insert(reason);
        });
    }

    pub(super) fn reason(&self) -> Option<Stop> {
        self.0.borrow().clone()
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Waits until it is set.
    pub(super) async fn wait(&self) {
        // No error: the sender outlives the receiver.
        let _ = self.0.subscribe().wait_for(Option::is_some).await;
    }

    /// Sleeps until `until`; `false` if the run stopped meanwhile.
    pub(super) async fn sleep_until(&self, until: Instant) -> bool {
        tokio::select! {
            biased;
            () = self.wait() => false,
            () = tokio::time::sleep_until(until) => true,
        }
    }
}
