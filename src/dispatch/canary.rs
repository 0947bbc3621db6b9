//! The first calls of a run go one by one: a wrong key, brand, host or body
//! form costs a handful of calls and not a share of all.

/// The first calls.
#[derive(Debug)]
pub(super) struct Canary {
    left: u32,
    /// The API has worked before in this run, or in the one it goes on with:
    /// then rows that fail are the rows' own fault.
    worked: bool,
    reasons: Vec<(u64, String)>,
}

/// What one call shows of the settings.
#[derive(Debug, Clone, Copy)]
pub(super) enum CanarySign<'a> {
    /// They are right.
    Works,
    /// Neither.
    Nothing,
    /// They may be wrong: what was said.
    Problem(&'a str),
}

/// What the first calls show.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CanaryVerdict {
    /// Not enough is known yet.
    Undecided,
    /// The API works: all workers may start.
    Works,
    /// None of them worked.
    Failed(Vec<(u64, String)>),
}

impl Canary {
    pub(super) fn new(calls: u32, is_proven: bool) -> Self {
        Self { left: calls, worked: is_proven, reasons: Vec::new() }
    }

    pub(super) fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Takes in how a call ended. Says [`CanaryVerdict::Works`] once.
    pub(super) fn note(&mut self, row: u64, shown: CanarySign) -> CanaryVerdict {
        if self.left == 0 {
            return CanaryVerdict::Undecided;
        }
        self.left -= 1;
        match shown {
            CanarySign::Works => self.worked = true,
            CanarySign::Nothing => {}
            CanarySign::Problem(reason) => self.reasons.push((row, reason.to_owned())),
        }
        match (self.left, self.worked || self.reasons.is_empty()) {
            (0, true) => CanaryVerdict::Works,
            (0, false) => CanaryVerdict::Failed(std::mem::take(&mut self.reasons)),
            _ => CanaryVerdict::Undecided,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_that_works_is_enough_and_none_is_not() {
        let mut canary = Canary::new(3, false);
        assert_eq!(canary.note(1, CanarySign::Problem("no")), CanaryVerdict::Undecided);
        assert_eq!(canary.note(2, CanarySign::Works), CanaryVerdict::Undecided);
        assert_eq!(canary.note(3, CanarySign::Problem("no")), CanaryVerdict::Works);
        assert_eq!(canary.note(4, CanarySign::Problem("no")), CanaryVerdict::Undecided);

        let mut canary = Canary::new(2, false);
        canary.note(1, CanarySign::Problem("a"));
        assert_eq!(
            canary.note(2, CanarySign::Problem("b")),
            CanaryVerdict::Failed(vec![(1, "a".into()), (2, "b".into())])
        );
        // Of those who are to be purged, the API knows none: that may be so.
        let mut canary = Canary::new(2, false);
        canary.note(1, CanarySign::Nothing);
        assert_eq!(canary.note(2, CanarySign::Nothing), CanaryVerdict::Works);
        assert!(Canary::new(0, false).is_over());
        assert_eq!(Canary::new(1, true).note(1, CanarySign::Problem("no")), CanaryVerdict::Works);
    }
}
