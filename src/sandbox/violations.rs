//! Errors of the client: two calls of a customer at the same time, and a create after one that was answered with success.

use std::collections::HashMap;

use super::customer::CustomerId;
use super::log::End;

/// Enough to find the error; a client in a loop must not fill the memory.
const VIOLATIONS_MAX: usize = 100;

/// Ids are short, so a longer one is cut.
const ID_CHARS_MAX: usize = 100;

/// A request that has been received and has not ended.
#[derive(Debug)]
struct OpenRequest {
    seq: u64,
    call: &'static str,
    /// The first call that arrived meanwhile.
    overlap: Option<&'static str>,
}

#[derive(Debug, Default)]
pub(super) struct Violations {
    open: HashMap<CustomerId, Vec<OpenRequest>>,
    texts: Vec<String>,
}

impl Violations {
    /// A request begins. It overlaps with the open requests of the same customer.
    pub(super) fn begin(&mut self, customer: &CustomerId, seq: u64, call: &'static str) {
        let requests = self.open.entry(customer.clone()).or_default();
        for earlier in requests.iter_mut() {
            earlier.overlap.get_or_insert(call);
        }
        requests.push(OpenRequest { seq, call, overlap: None });
    }

    /// A request ends. After an abandoned one, the client may have sent its next call over another connection before this
    /// server learned of the end. So an overlap with it proves nothing.
    pub(super) fn end(&mut self, customer: &CustomerId, seq: u64, end: End) {
        let Some(requests) = self.open.get_mut(customer) else { return };
        let Some(index) = requests.iter().position(|request| request.seq == seq) else { return };
        let OpenRequest { call, overlap, .. } = requests.swap_remove(index);
        if requests.is_empty() {
            self.open.remove(customer);
        }
        if let Some(other) = overlap
            && end != End::Abandoned
        {
            self.add(customer, &format!("{other} arrived while {call} was unanswered"));
        }
    }

    pub(super) fn add(&mut self, customer: &CustomerId, problem: &str) {
        if self.texts.len() < VIOLATIONS_MAX {
            let id: String = customer.primary_id.chars().take(ID_CHARS_MAX).collect();
            self.texts.push(format!("customer {id} of brand {}: {problem}", customer.brand_id));
        }
    }

    /// In the order of time.
    pub(super) fn texts(&self) -> &[String] {
        &self.texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn customer() -> CustomerId {
        CustomerId { brand_id: 2, primary_id: "A1".to_owned() }
    }

    #[test]
    fn an_overlap_counts_once_the_earlier_request_is_answered() {
        let mut violations = Violations::default();
        violations.begin(&customer(), 1, "create");
        violations.begin(&customer(), 2, "update");
        violations.end(&customer(), 2, End::Answered(200));
        assert!(violations.texts().is_empty());
        violations.end(&customer(), 1, End::Answered(200));
        assert_eq!(
            violations.texts(),
            ["customer A1 of brand 2: update arrived while create was unanswered"]
        );
        assert!(violations.open.is_empty());
    }

    #[test]
    fn an_abandoned_request_overlaps_with_nothing() {
        let mut violations = Violations::default();
        violations.begin(&customer(), 1, "create");
        violations.begin(&customer(), 2, "update");
        violations.end(&customer(), 1, End::Abandoned);
        violations.end(&customer(), 2, End::Closed);
        violations.begin(&customer(), 3, "update");
        violations.end(&customer(), 3, End::Answered(200));
        assert!(violations.texts().is_empty());
    }

    #[test]
    fn the_list_is_bounded() {
        let mut violations = Violations::default();
        for _ in 0..300 {
            violations.add(&customer(), "x");
        }
        assert_eq!(violations.texts().len(), VIOLATIONS_MAX);
    }
}
