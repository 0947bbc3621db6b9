//! Leave to purge, by customer. The guards have judged what was planned; a row
//! may come to more, once it is seen what Omnidesk holds.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use tokio::sync::Notify;

use super::stop::StopSwitch;
use crate::reconcile::CustomerKey;

/// Who was purged so far, or may have been, of so many who may.
#[derive(Debug)]
pub(crate) struct PurgeGrants {
    most: u64,
    customers: RefCell<HashSet<CustomerKey>>,
    under_way: Cell<u64>,
    ended: Notify,
}

/// To purge a customer, once.
#[derive(Debug)]
pub(crate) struct PurgeGrant {
    key: CustomerKey,
    is_first: bool,
}

impl PurgeGrants {
    /// `before` are those whose purge an earlier process has recorded.
    pub(crate) fn new(most: u64, before: &[CustomerKey]) -> Self {
        let customers = RefCell::new(before.iter().copied().collect());
        Self { most, customers, under_way: Cell::new(0), ended: Notify::new() }
    }

    /// Leave to purge a customer; waits for purges under way if it depends on
    /// what becomes of them. None if there is none.
    pub(crate) async fn begin(&self, key: CustomerKey, switch: &StopSwitch) -> Option<PurgeGrant> {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            let leave = self.take(key);
            if leave.is_some() || self.under_way.get() == 0 || switch.is_set() {
                return leave;
            }
            tokio::select! {
                () = ended => {}
                () = switch.wait() => {}
            }
        }
    }

    fn take(&self, key: CustomerKey) -> Option<PurgeGrant> {
        let mut customers = self.customers.borrow_mut();
        let is_first = !customers.contains(&key);
        if is_first && customers.len() as u64 >= self.most {
            return None;
        }
        customers.insert(key);
        self.under_way.set(self.under_way.get() + 1);
        Some(PurgeGrant { key, is_first })
    }

    /// One has ended. If it certainly did nothing, there is room for another,
    /// unless an earlier one of the same customer may have done something.
    pub(crate) fn end(&self, leave: &PurgeGrant, did_nothing: bool) {
        if did_nothing && leave.is_first {
            self.customers.borrow_mut().remove(&leave.key);
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
        let switch = StopSwitch::default();
        let purges = Rc::new(PurgeGrants::new(2, &[A]));
        let second = purges.begin(B, &switch).await.expect("leave");
        let local = LocalSet::new();
        let (waiting, its_switch) = (Rc::clone(&purges), switch.clone());
        let third = local.spawn_local(async move { waiting.begin(C, &its_switch).await });
        local.run_until(yield_now()).await;
        assert!(!third.is_finished());
        purges.end(&second, true);
        let third = local.run_until(third).await.expect("no panic").expect("leave");
        purges.end(&third, false);
        // A customer needs no second leave, and nobody else gets it.
        for did_nothing in [true, false] {
            let again = purges.begin(A, &switch).await.expect("leave");
            purges.end(&again, did_nothing);
            assert!(purges.begin(B, &switch).await.is_none());
        }
    }

    #[tokio::test]
    async fn a_run_that_stops_waits_for_nobody() {
        let (switch, purges) = (StopSwitch::default(), PurgeGrants::new(1, &[]));
        assert!(purges.begin(A, &switch).await.is_some());
        switch.stop(Stop::Interrupted);
        assert!(purges.begin(B, &switch).await.is_none());
        assert!(PurgeGrants::new(0, &[]).begin(A, &StopSwitch::default()).await.is_none());
    }
}
