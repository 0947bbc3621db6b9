//! The right to purge, by customer. The guards have judged the planned purges. A
//! row may need one more, once Omnidesk's answers show what it holds.

use std::collections::HashSet;

use crate::reconcile::CustomerKey;

/// Customers who were purged so far, or may have been.
#[derive(Debug)]
pub(super) struct PurgeGrants {
    customers_max: u64,
    customers: HashSet<CustomerKey>,
    outstanding: u64,
}

/// The right to purge a customer once.
#[derive(Debug)]
pub(super) struct PurgeGrant {
    key: CustomerKey,
    is_first: bool,
}

#[derive(Debug)]
pub(super) enum GrantAnswer {
    Granted(PurgeGrant),
    /// It depends on how the purges on their way end.
    Undecided,
    Refused,
}

impl PurgeGrants {
    /// `before` are those whose purge an earlier process has recorded.
    pub(super) fn new(customers_max: u64, before: &[CustomerKey]) -> Self {
        Self { customers_max, customers: before.iter().copied().collect(), outstanding: 0 }
    }

    pub(super) fn acquire(&mut self, key: CustomerKey) -> GrantAnswer {
        let is_first = !self.customers.contains(&key);
        if is_first && self.customers.len() as u64 >= self.customers_max {
            return if self.outstanding > 0 { GrantAnswer::Undecided } else { GrantAnswer::Refused };
        }
        self.customers.insert(key);
        self.outstanding += 1;
        GrantAnswer::Granted(PurgeGrant { key, is_first })
    }

    /// Returns the grant of a purge that certainly did nothing. It is free for
    /// another customer, unless an earlier purge of this one may have had an effect.
    pub(super) fn give_back(&mut self, grant: PurgeGrant) {
        if grant.is_first {
            self.customers.remove(&grant.key);
        }
        self.use_up(grant);
    }

    /// A purge has ended that may have had an effect.
    pub(super) fn use_up(&mut self, _grant: PurgeGrant) {
        self.outstanding -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: CustomerKey = CustomerKey([1; 16]);
    const B: CustomerKey = CustomerKey([2; 16]);
    const C: CustomerKey = CustomerKey([3; 16]);

    fn granted(grants: &mut PurgeGrants, key: CustomerKey) -> PurgeGrant {
        match grants.acquire(key) {
            GrantAnswer::Granted(grant) => grant,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_grant_depends_on_how_the_others_end() {
        let mut grants = PurgeGrants::new(2, &[A]);
        let second = granted(&mut grants, B);
        assert!(matches!(grants.acquire(C), GrantAnswer::Undecided));
        grants.give_back(second);
        let third = granted(&mut grants, C);
        grants.use_up(third);
        // A customer needs no second grant, and no other customer gets it.
        for end in [PurgeGrants::give_back, PurgeGrants::use_up] {
            let again = granted(&mut grants, A);
            end(&mut grants, again);
            assert!(matches!(grants.acquire(B), GrantAnswer::Refused));
        }
        assert!(matches!(PurgeGrants::new(0, &[]).acquire(A), GrantAnswer::Refused));
    }
}
