//! Ending a run before its last row.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
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
    /// None of the first calls worked.
    CanaryFailed { reasons: Vec<(Place, String)> },
    /// More failed calls than `max_errors`.
    TooManyErrors { failed: u64, calls: u64 },
    /// A row came to a purge that is not granted.
    PurgeNotGranted { at: Place },
    /// No connection can be made.
    Unreachable { message: String },
    /// The server has worked, and has not for longer than `patience`.
    Failing { message: String },
    /// The export cannot be read any more, or was changed.
    ExportLost { message: String },
    /// The recorder has ended.
    RecorderClosed,
}

/// Stops a run; the first reason counts. Shared by one thread.
#[derive(Debug, Clone, Default)]
pub struct StopSwitch(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    reason: RefCell<Option<Stop>>,
    changed: Notify,
}

impl StopSwitch {
    /// Nothing new starts from now on.
    pub fn stop(&self, reason: Stop) {
        self.0.reason.borrow_mut().get_or_insert(reason);
        self.0.changed.notify_waiters();
    }

    pub(super) fn reason(&self) -> Option<Stop> {
        self.0.reason.borrow().clone()
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.reason.borrow().is_some()
    }

    /// Waits until it is set.
    pub(super) async fn wait(&self) {
        let changed = self.0.changed.notified();
        tokio::pin!(changed);
        // Enabled before the check, so that no change can fall between.
        changed.as_mut().enable();
        if !self.is_set() {
            changed.await;
        }
    }

    /// Sleeps until `until`; `false` if the run stopped meanwhile.
    pub(super) async fn sleep_until(&self, until: Instant) -> bool {
        tokio::select! {
            biased;
            () = self.wait() => false,
            () = tokio::time::sleep_until(until) => true,
        }
    }

    pub(super) async fn sleep(&self, wait: Duration) -> bool {
        self.sleep_until(Instant::now() + wait).await
    }
}
