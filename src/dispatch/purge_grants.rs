//! The right to purge, by customer. The guards have judged the planned purges. A
//! row may need one more, once Omnidesk's answers show what it holds.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use tokio::sync::Notify;

use super::stop::StopSwitch;
use crate::reconcile::CustomerKey;

/// Customers who were purged so far, or may have been.
#[derive(Debug)]
pub(super) struct PurgeGrants {
    customers_max: u64,
    customers: RefCell<HashSet<CustomerKey>>,
    outstanding: Cell<u64>,
    released: Notify,
}

/// The right to purge a customer once.
#[derive(Debug)]
pub(super) struct PurgeGrant {
    key: CustomerKey,
    is_first: bool,
}

impl PurgeGrants {
    /// `before` are those whose purge an earlier process has recorded.
    pub(super) fn new(customers_max: u64, before: &[CustomerKey]) -> Self {
        let customers = RefCell::new(before.iter().copied().collect());
        Self { customers_max, customers, outstanding: Cell::new(0), released: Notify::new() }
    }

    /// Waits for purges on their way if the grant depends on how they end.
    /// `None` if there is none left.
    pub(super) async fn acquire(&self, key: CustomerKey, switch: &StopSwitch) -> Option<PurgeGrant> {
        loop {
            let grant = self.try_acquire(key);
            if grant.is_some() || self.outstanding.get() == 0 || switch.is_set() {
                return grant;
            }
            // On one thread, no purge ends between the check and this.
            tokio::select! {
                () = self.released.notified() => {}
                () = switch.wait() => {}
            }
        }
    }

    fn try_acquire(&self, key: CustomerKey) -> Option<PurgeGrant> {
        let mut customers = self.customers.borrow_mut();
        let is_first = !customers.contains(&key);
        if is_first && customers.len() as u64 >= self.customers_max {
            return None;
        }
        customers.insert(key);
        self.outstanding.set(self.outstanding.get() + 1);
        Some(PurgeGrant { key, is_first })
    }

    /// Returns the grant of a purge that certainly did nothing. It is free for
    /// another customer, unless an earlier purge of this one may have had an effect.
    pub(super) fn give_back(&self, grant: PurgeGrant) {
        if grant.is_first {
            self.customers.borrow_mut().remove(&grant.key);
        }
        self.use_up(grant);
    }

    /// A purge has ended that may have had an effect.
    pub(super) fn use_up(&self, _grant: PurgeGrant) {
        self.outstanding.set(self.outstanding.get() - 1);
        self.released.notify_waiters();
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
    async fn a_grant_depends_on_how_the_others_end() {
        let switch = StopSwitch::default();
        let grants = Rc::new(PurgeGrants::new(2, &[A]));
        let second = grants.acquire(B, &switch).await.expect("a grant");
        let local = LocalSet::new();
        let (waiting, its_switch) = (Rc::clone(&grants), switch.clone());
        let third = local.spawn_local(async move { waiting.acquire(C, &its_switch).await });
        local.run_until(yield_now()).await;
        assert!(!third.is_finished());
        grants.give_back(second);
        let third = local.run_until(third).await.expect("no panic").expect("a grant");
        grants.use_up(third);
        // A customer needs no second grant, and no other customer gets it.
        for end in [PurgeGrants::give_back, PurgeGrants::use_up] {
            end(&grants, grants.acquire(A, &switch).await.expect("a grant"));
            assert!(grants.acquire(B, &switch).await.is_none());
        }
    }

    #[tokio::test]
    async fn a_run_that_stops_waits_for_no_purge() {
        let (switch, grants) = (StopSwitch::default(), PurgeGrants::new(1, &[]));
        assert!(grants.acquire(A, &switch).await.is_some());
        switch.stop(Stop::Interrupted);
        assert!(grants.acquire(B, &switch).await.is_none());
        assert!(PurgeGrants::new(0, &[]).acquire(A, &StopSwitch::default()).await.is_none());
    }
}
