//! Rows that wait for what the calls of other customers show. They hold no worker.

use std::cell::Cell;

use tokio::sync::Notify;

use super::stop::StopSwitch;

#[derive(Debug, Default)]
pub(super) struct Parking {
    rows: Cell<usize>,
    /// No other row is left to call.
    is_last: Cell<bool>,
    /// Something was shown, or nobody else is left.
    changed: Notify,
    /// A row began to wait.
    parked: Notify,
}

impl Parking {
    /// Waits until `verdict` has one; `None` if the run stopped first. The argument
    /// of `verdict`: no other row is left to call.
    pub(super) async fn wait<T>(
        &self,
        switch: &StopSwitch,
        mut verdict: impl FnMut(bool) -> Option<T>,
    ) -> Option<T> {
        loop {
            if switch.is_set() {
                return None;
            }
            let changed = self.changed.notified();
            if let Some(verdict) = verdict(self.is_last.get()) {
                return Some(verdict);
            }
            self.rows.set(self.rows.get() + 1);
            self.parked.notify_one();
            tokio::select! {
                biased;
                () = switch.wait() => {}
                () = changed => {}
            }
            self.rows.set(self.rows.get() - 1);
        }
    }

    /// How many rows wait.
    pub(super) fn rows(&self) -> usize {
        self.rows.get()
    }

    /// Rows look again.
    pub(super) fn notify(&self) {
        self.changed.notify_waiters();
    }

    /// All other rows are done.
    pub(super) fn set_last(&self, is_last: bool) {
        if is_last && !self.is_last.get() {
            self.notify();
        }
        self.is_last.set(is_last);
    }

    /// Waits until another row begins to wait.
    pub(super) async fn parked(&self) {
        self.parked.notified().await;
    }
}
