//! Whether a refusal of the key, a redirect or a web page is one row's own fault,
//! such as a name that a firewall dislikes, or everybody's.
//!
//! The row waits while other customers are tried. A success that was sent later
//! shows that the way to the API works. Several customers without one between them
//! show that it does not.
//!
//! A pure state machine that reads no clock.

use tokio::time::Instant;

use crate::reconcile::CustomerKey;

/// Customers without a success between them before the run stops.
const CUSTOMERS: usize = 3;

#[derive(Debug, Default)]
pub(super) struct Judgement {
    /// The customers whose rows wait, and since when.
    suspects: Vec<(CustomerKey, Instant)>,
}

impl Judgement {
    /// A customer's call got a suspicious answer. `true` if nobody's calls work.
    pub(super) fn suspect(&mut self, customer: CustomerKey, now: Instant) -> bool {
        self.suspects.retain(|(suspect, _)| *suspect != customer);
        self.suspects.push((customer, now));
        self.suspects.len() >= CUSTOMERS
    }

    /// A call that was sent at `sent` worked. `true` if that clears somebody.
    pub(super) fn succeed(&mut self, sent: Instant) -> bool {
        let before = self.suspects.len();
        self.suspects.retain(|(_, since)| *since > sent);
        self.suspects.len() < before
    }

    /// The way to the API works: each row is itself to blame.
    pub(super) fn clear(&mut self) {
        self.suspects.clear();
    }

    pub(super) fn is_suspect(&self, customer: CustomerKey) -> bool {
        self.suspects.iter().any(|(suspect, _)| *suspect == customer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_later_success_clears_and_three_customers_without_one_do_not() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let key = |byte| CustomerKey([byte; 16]);
        let mut judgement = Judgement::default();
        assert!(!judgement.suspect(key(1), at(1)));
        assert!(!judgement.suspect(key(1), at(2)), "one customer, twice");
        assert!(!judgement.suspect(key(2), at(3)));
        // Sent before the refusals: it shows nothing.
        assert!(!judgement.succeed(at(1)));
        assert!(judgement.is_suspect(key(1)));
        assert!(judgement.succeed(at(2)));
        assert!(!judgement.is_suspect(key(1)) && judgement.is_suspect(key(2)));
        assert!(!judgement.suspect(key(3), at(4)));
        assert!(judgement.suspect(key(4), at(5)));
        judgement.clear();
        assert!(!judgement.is_suspect(key(4)));
    }
}
