//! The first calls of a run go one by one: a wrong key, brand, host or body
//! form costs a handful of calls and not a share of all.

use crate::mapping::Place;

#[derive(Debug)]
pub(super) struct Canary {
    left: u32,
    /// Whether the API has worked with these settings, in this run or before.
    /// Then failures are the rows' own.
    has_worked: bool,
    reasons: Vec<(Place, String)>,
}

/// What the end of a call shows about the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evidence {
    Works,
    Fails,
    Nothing,
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
    /// `before` is the evidence of earlier runs.
    pub(super) fn new(calls: u32, before: Evidence) -> Self {
        Self { left: calls, has_worked: before == Evidence::Works, reasons: Vec::new() }
    }

    pub(super) fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Adds the end of a call. The verdict is [`CanaryVerdict::Works`] once.
    pub(super) fn add(&mut self, at: Place, evidence: Evidence, message: &str) -> CanaryVerdict {
        if self.is_over() {
            return CanaryVerdict::Undecided;
        }
        self.left -= 1;
        match evidence {
            Evidence::Works => self.has_worked = true,
            Evidence::Fails => self.reasons.push((at, message.to_owned())),
            Evidence::Nothing => {}
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
    use super::Evidence::{Fails, Nothing, Works};
    use super::*;

    const AT: Place = Place::Missing(1);

    #[test]
    fn one_call_that_works_is_enough_and_none_is_not() {
        let mut canary = Canary::new(3, Nothing);
        assert_eq!(canary.add(AT, Fails, "no"), CanaryVerdict::Undecided);
        assert_eq!(canary.add(AT, Works, ""), CanaryVerdict::Undecided);
        assert_eq!(canary.add(AT, Fails, "no"), CanaryVerdict::Works);
        assert_eq!(canary.add(AT, Fails, "no"), CanaryVerdict::Undecided);

        let mut canary = Canary::new(2, Nothing);
        canary.add(AT, Fails, "a");
        let failed = CanaryVerdict::Failed(vec![(AT, "a".into()), (AT, "b".into())]);
        assert_eq!(canary.add(AT, Fails, "b"), failed);
        // The API may well know none of the customers to be purged.
        let mut canary = Canary::new(2, Nothing);
        canary.add(AT, Nothing, "");
        assert_eq!(canary.add(AT, Nothing, ""), CanaryVerdict::Works);
        assert!(Canary::new(0, Nothing).is_over());
        assert_eq!(Canary::new(1, Works).add(AT, Fails, "no"), CanaryVerdict::Works);
    }
}
