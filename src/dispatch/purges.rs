//! Leave to purge, by customer. The guards have judged what was planned; a row
//! may come to more, once it is seen what Omnidesk holds.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use tokio::sync::Notify;

use super::stop::Switch;
use crate::planning::CustomerKey;

/// Who was purged so far, or may have been, of so many who may.
#[derive(Debug)]
pub(super) struct Purges {
    most: u64,
    customers: RefCell<HashSet<CustomerKey>>,
    under_way: Cell<u64>,
    ended: Notify,
}

impl Purges {
    /// `before` are those whose purge an earlier process has recorded.
    pub(super) fn new(most: u64, before: &[CustomerKey]) -> Self {
        let customers = RefCell::new(before.iter().copied().collect());
        Self { most, customers, under_way: Cell::new(0), ended: Notify::new() }
    }

    /// Leave to purge a customer; waits for purges under way if it depends on
    /// what becomes of them. `false` if there is none.
    pub(super) async fn begin(&self, key: CustomerKey, switch: &Switch) -> bool {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if self.take(key) {
                return true;
            }
            if self.under_way.get() == 0 || switch.is_set() {
                return false;
            }
            tokio::select! {
                () = ended => {}
                () = switch.wait() => {}
            }
        }
    }

    fn take(&self, key: CustomerKey) -> bool {
        let mut customers = self.customers.borrow_mut();
        let has_leave = customers.contains(&key) || (customers.len() as u64) < self.most;
        if has_leave {
            customers.insert(key);
            self.under_way.set(self.under_way.get() + 1);
        }
        has_leave
    }

    /// One has ended. If it certainly did nothing, there is room for another.
    pub(super) fn end(&self, key: CustomerKey, did_nothing: bool) {
        if did_nothing {
            self.customers.borrow_mut().remove(&key);
        }
        self.under_way.set(self.under_way.get() - 1);
        self.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::Stop;
    use std::rc::Rc;
    use tokio::task::{LocalSet, yield_now};

    const A: CustomerKey = CustomerKey([1; 16]);
    const B: CustomerKey = CustomerKey([2; 16]);
    const C: CustomerKey = CustomerKey([3; 16]);

    #[tokio::test]
    async fn leave_depends_on_what_becomes_of_the_others() {
        let switch = Switch::default();
        let purges = Rc::new(Purges::new(2, &[A]));
        assert!(purges.begin(B, &switch).await);
        let local = LocalSet::new();
        let (waiting, its_switch) = (Rc::clone(&purges), switch.clone());
        let third = local.spawn_local(async move { waiting.begin(C, &its_switch).await });
        local.run_until(yield_now()).await;
        assert!(!third.is_finished());
        purges.end(B, true);
        assert!(local.run_until(third).await.expect("leave"));
        // A customer needs no second leave, and nobody else gets it.
        purges.end(C, false);
        assert!(purges.begin(A, &switch).await);
        purges.end(A, false);
        assert!(!purges.begin(B, &switch).await);
    }

    #[tokio::test]
    async fn a_run_that_stops_waits_for_nobody() {
        let (switch, purges) = (Switch::default(), Purges::new(1, &[]));
        assert!(purges.begin(A, &switch).await);
        switch.stop(Stop::Interrupted);
        assert!(!purges.begin(B, &switch).await);
        assert!(!Purges::new(0, &[]).begin(A, &Switch::default()).await);
    }
}
