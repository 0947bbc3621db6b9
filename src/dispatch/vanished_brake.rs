//! A brake on creates for customers whom the checkpoint knows and the API does not.
//!
//! Many of them at once are more likely a message that is read wrong, another
//! tenant or a restored backup than customers whom somebody removed. So such a
//! create waits until other known customers were found. A pure state machine.

use crate::units::Amount;

/// Other known customers who were found before such a create is sent.
const FOUND: u32 = 20;
/// So many in a row stop the run.
const IN_A_ROW: u32 = 5;
/// The answers of which no larger share may say so.
const RECENT: u32 = 100;

#[derive(Debug)]
pub(super) struct VanishedBrake {
    /// The largest share of the recent answers.
    most: Amount,
    /// Creates that were allowed by hand.
    allowed: u64,
    found: u32,
    in_a_row: u32,
    /// The recent answers, newest in the lowest bit: whether each was "not found".
    recent: u128,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BrakeVerdict {
    Create,
    Stop,
}

impl VanishedBrake {
    pub(super) fn new(most: Amount, allowed: u64) -> Self {
        Self { most, allowed, found: 0, in_a_row: 0, recent: 0 }
    }

    /// A known customer was found. `true` if that may release creates.
    pub(super) fn find(&mut self) -> bool {
        self.found += 1;
        self.in_a_row = 0;
        self.recent <<= 1;
        self.found == FOUND
    }

    /// The API does not know a known customer. `true` if the create is allowed by hand.
    pub(super) fn miss(&mut self) -> bool {
        if let Some(left) = self.allowed.checked_sub(1) {
            self.allowed = left;
            return true;
        }
        self.in_a_row += 1;
        self.recent = self.recent << 1 | 1;
        false
    }

    /// Whether a create may be sent, as far as that is known. `is_last`: no other
    /// call is left.
    pub(super) fn verdict(&self, is_last: bool) -> Option<BrakeVerdict> {
        let missed = u64::from((self.recent & (u128::MAX >> (u128::BITS - RECENT))).count_ones());
        if self.in_a_row >= IN_A_ROW || missed > self.most.count_in(RECENT.into()) {
            return Some(BrakeVerdict::Stop);
        }
        match (self.found, is_last) {
            (FOUND.., _) | (1.., true) => Some(BrakeVerdict::Create),
            (0, true) => Some(BrakeVerdict::Stop),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(times: std::ops::Range<u32>, mut answer: impl FnMut() -> bool) {
        for _ in times {
            answer();
        }
    }

    fn brake(most: &str, allowed: u64) -> VanishedBrake {
        VanishedBrake::new(most.parse().expect("an amount"), allowed)
    }

    #[test]
    fn a_create_waits_for_twenty_others_or_the_end() {
        let mut brake = brake("5%", 0);
        assert!(!brake.miss());
        assert_eq!((brake.verdict(false), brake.verdict(true)), (None, Some(BrakeVerdict::Stop)));
        brake.find();
        assert_eq!((brake.verdict(false), brake.verdict(true)), (None, Some(BrakeVerdict::Create)));
        many(0..19, || brake.find());
        assert_eq!(brake.verdict(false), Some(BrakeVerdict::Create));
    }

    #[test]
    fn five_in_a_row_or_too_large_a_share_stop() {
        let mut row = brake("50%", 0);
        many(0..30, || row.find());
        many(0..4, || row.miss());
        assert_eq!(row.verdict(false), Some(BrakeVerdict::Create));
        row.miss();
        assert_eq!(row.verdict(false), Some(BrakeVerdict::Stop));

        let mut share = brake("5%", 0);
        for _ in 0..5 {
            many(0..20, || share.find());
            share.miss();
            assert_eq!(share.verdict(false), Some(BrakeVerdict::Create));
        }
        share.find();
        share.miss();
        assert_eq!(share.verdict(false), Some(BrakeVerdict::Stop), "six of the last hundred");
        // Old answers do not count for ever.
        many(0..100, || share.find());
        assert_eq!(share.verdict(false), Some(BrakeVerdict::Create));
    }

    #[test]
    fn creates_that_are_allowed_by_hand_do_not_wait() {
        let mut brake = brake("5%", 2);
        assert!(brake.miss() && brake.miss());
        assert!(!brake.miss());
    }
}
