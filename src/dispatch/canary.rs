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

/// What the first calls show.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
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

    /// Takes in how a call ended. Says [`Verdict::Works`] once.
    pub(super) fn note(&mut self, row: u64, trouble: Option<&str>) -> Verdict {
        if self.left == 0 {
            return Verdict::Undecided;
        }
        self.left -= 1;
        match trouble {
            None => self.worked = true,
            Some(reason) => self.reasons.push((row, reason.to_owned())),
        }
        match (self.left, self.worked) {
            (0, true) => Verdict::Works,
            (0, false) => Verdict::Failed(std::mem::take(&mut self.reasons)),
            _ => Verdict::Undecided,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_that_works_is_enough_and_none_is_not() {
        let mut canary = Canary::new(3, false);
        assert_eq!(canary.note(1, Some("no")), Verdict::Undecided);
        assert_eq!(canary.note(2, None), Verdict::Undecided);
        assert_eq!(canary.note(3, Some("no")), Verdict::Works);
        assert_eq!(canary.note(4, Some("no")), Verdict::Undecided);

        let mut canary = Canary::new(2, false);
        canary.note(1, Some("a"));
        assert_eq!(canary.note(2, Some("b")), Verdict::Failed(vec![(1, "a".into()), (2, "b".into())]));
        assert!(Canary::new(0, false).is_over());
        assert_eq!(Canary::new(1, true).note(1, Some("no")), Verdict::Works);
    }
}
