//! What a correct client never does, noted as it happens: two calls of a customer at the same time, and a create after
//! one that was answered with success.

use std::collections::HashMap;

use super::calls::CustomerKey;

/// Enough to see what is wrong; a client in a loop must not fill the memory.
const VIOLATIONS_MAX: usize = 100;

/// Ids are short; one that is not need not be repeated in full.
const ID_CHARS_MAX: usize = 100;

/// A request that has been received and not yet answered.
#[derive(Debug)]
struct Flight {
    seq: u64,
    call: &'static str,
    /// The first call that arrived meanwhile.
    overlapped_by: Option<&'static str>,
}

/// The requests under way and the violations so far.
#[derive(Debug, Default)]
pub(super) struct Watch {
    flights: HashMap<CustomerKey, Vec<Flight>>,
    violations: Vec<String>,
}

impl Watch {
    /// A request is under way; those of the same customer that still are overlap with it.
    pub(super) fn begin(&mut self, customer: &CustomerKey, seq: u64, call: &'static str) {
        let flights = self.flights.entry(customer.clone()).or_default();
        for earlier in flights.iter_mut() {
            earlier.overlapped_by.get_or_insert(call);
        }
        flights.push(Flight { seq, call, overlapped_by: None });
    }

    /// A request has been answered or closed by the sandbox.
    pub(super) fn finish(&mut self, customer: &CustomerKey, seq: u64) {
        if let Some(Flight { call, overlapped_by: Some(other), .. }) = self.take(customer, seq) {
            self.violation(customer, &format!("{other} arrived while {call} was unanswered"));
        }
    }

    /// The client went away before the answer. It may have sent its next call over another connection before word of
    /// that came through, so an overlap with this request proves nothing.
    pub(super) fn abandon(&mut self, customer: &CustomerKey, seq: u64) {
        self.take(customer, seq);
    }

    fn take(&mut self, customer: &CustomerKey, seq: u64) -> Option<Flight> {
        let flights = self.flights.get_mut(customer)?;
        let index = flights.iter().position(|flight| flight.seq == seq)?;
        let flight = flights.swap_remove(index);
        if flights.is_empty() {
            self.flights.remove(customer);
        }
        Some(flight)
    }

    /// Notes a violation by this customer's calls.
    pub(super) fn violation(&mut self, customer: &CustomerKey, what: &str) {
        if self.violations.len() < VIOLATIONS_MAX {
            let id: String = customer.primary_id.chars().take(ID_CHARS_MAX).collect();
            self.violations.push(format!("customer {id} of brand {}: {what}", customer.brand_id));
        }
    }

    /// The violations so far, in the order in which they were noted.
    pub(super) fn violations(&self) -> &[String] {
        &self.violations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn customer() -> CustomerKey {
        CustomerKey { brand_id: 2, primary_id: "A1".to_owned() }
    }

    #[test]
    fn an_overlap_counts_once_the_earlier_request_is_answered() {
        let mut watch = Watch::default();
        watch.begin(&customer(), 1, "create");
        watch.begin(&customer(), 2, "update");
        watch.finish(&customer(), 2);
        assert!(watch.violations().is_empty());
        watch.finish(&customer(), 1);
        assert_eq!(
            watch.violations(),
            ["customer A1 of brand 2: update arrived while create was unanswered"]
        );
        assert!(watch.flights.is_empty());
    }

    #[test]
    fn a_request_that_the_client_gave_up_overlaps_with_nothing() {
        let mut watch = Watch::default();
        watch.begin(&customer(), 1, "create");
        watch.begin(&customer(), 2, "update");
        watch.abandon(&customer(), 1);
        watch.finish(&customer(), 2);
        watch.begin(&customer(), 3, "update");
        watch.finish(&customer(), 3);
        assert!(watch.violations().is_empty());
    }

    #[test]
    fn the_list_is_bounded() {
        let mut watch = Watch::default();
        for _ in 0..300 {
            watch.violation(&customer(), "x");
        }
        assert_eq!(watch.violations().len(), VIOLATIONS_MAX);
    }
}
