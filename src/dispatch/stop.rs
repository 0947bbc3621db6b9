//! Ending a run before its last row.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Why a run stopped early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// A person, or the system, asked for it.
    Interrupted,
    /// The time window closed.
    WindowClosed,
    /// 401 or 403: no other call would fare better.
    KeyRefused {
        /// Row of the call.
        row: u64,
        /// The API's words.
        message: String,
    },
    /// None of the first calls worked.
    CanaryFailed {
        /// What each of them came to, with its row.
        reasons: Vec<(u64, String)>,
    },
    /// More failed calls than `max_errors`.
    TooManyErrors {
        /// Failed calls.
        failed: u64,
        /// Of so many.
        calls: u64,
    },
    /// A row came to a purge for which there is no leave.
    PurgeWithoutLeave {
        /// The row.
        row: u64,
    },
    /// No connection can be made.
    Unreachable {
        /// Why.
        message: String,
    },
    /// The server has worked, and for longer than `patience` does no more.
    Failing {
        /// What it does.
        message: String,
    },
    /// The export cannot be read any more, or was changed.
    ExportLost {
        /// Why.
        message: String,
    },
    /// The books cannot be kept any more.
    RecorderGone,
}

/// Whether to stop; the first reason counts. Shared by all of one thread.
#[derive(Debug, Clone, Default)]
pub struct StopSwitch(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    reason: RefCell<Option<Stop>>,
    changed: Notify,
}

impl StopSwitch {
    /// Stops: nothing new starts from now on.
    pub fn stop(&self, reason: Stop) {
        self.0.reason.borrow_mut().get_or_insert(reason);
        self.0.changed.notify_waiters();
    }

    /// The reason, if it is set.
    #[must_use]
    pub fn reason(&self) -> Option<Stop> {
        self.0.reason.borrow().clone()
    }

    /// Whether it is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.reason.borrow().is_some()
    }

    /// Waits until it is set.
    pub async fn wait(&self) {
        let changed = self.0.changed.notified();
        tokio::pin!(changed);
        // Enabled before the look, so that no change can fall between.
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
