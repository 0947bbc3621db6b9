//! The first calls of a run go one by one: a wrong key, brand, host or body
//! form costs a handful of calls and not a share of all.

use crate::mapping::Place;

#[derive(Debug)]
pub(super) struct Canary {
    left: u32,
    /// The API has worked before in this run, or by the same settings in an
    /// earlier one: then failures are the rows' own.
    has_worked: bool,
    reasons: Vec<(Place, String)>,
}

/// What the first calls show.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CanaryVerdict {
    Undecided,
    /// The API works: all workers may start.
    Works,
    /// None of them worked.
    Failed(Vec<(Place, String)>),
}

impl Canary {
    pub(super) fn new(calls: u32, has_worked: bool) -> Self {
        Self { left: calls, has_worked, reasons: Vec::new() }
    }

    pub(super) fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Takes in whether a call worked; `None` if that shows nothing. The verdict
    /// is [`CanaryVerdict::Works`] once.
    pub(super) fn add(&mut self, at: Place, has_worked: Option<bool>, message: &str) -> CanaryVerdict {
        if self.is_over() {
            return CanaryVerdict::Undecided;
        }
        self.left -= 1;
        self.has_worked |= has_worked == Some(true);
        if has_worked == Some(false) {
            self.reasons.push((at, message.to_owned()));
        }
        match (self.left, self.has_worked || self.reasons.is_empty()) {
            (0, true) => CanaryVerdict::Works,
            (0, false) => CanaryVerdict::Failed(std::mem::take(&mut self.reasons)),
            _ => CanaryVerdict::Undecided,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Place = Place::Missing(1);

    #[test]
    fn one_call_that_works_is_enough_and_none_is_not() {
        let mut canary = Canary::new(3, false);
        assert_eq!(canary.add(AT, Some(false), "no"), CanaryVerdict::Undecided);
        assert_eq!(canary.add(AT, Some(true), ""), CanaryVerdict::Undecided);
        assert_eq!(canary.add(AT, Some(false), "no"), CanaryVerdict::Works);
        assert_eq!(canary.add(AT, Some(false), "no"), CanaryVerdict::Undecided);

        let mut canary = Canary::new(2, false);
        canary.add(AT, Some(false), "a");
        let failed = CanaryVerdict::Failed(vec![(AT, "a".into()), (AT, "b".into())]);
        assert_eq!(canary.add(AT, Some(false), "b"), failed);
        // The API knows none of those who are to be purged: that may be so.
        let mut canary = Canary::new(2, false);
        canary.add(AT, None, "");
        assert_eq!(canary.add(AT, None, ""), CanaryVerdict::Works);
        assert!(Canary::new(0, false).is_over());
        assert_eq!(Canary::new(1, true).add(AT, Some(false), "no"), CanaryVerdict::Works);
    }
}
