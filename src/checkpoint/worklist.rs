//! Which rows of an export have to be visited again, after the plan.
//!
//! Two bits a row and the place of every 1024th make a quarter of a byte a row.
//! So memory does not bound a run, and a resumed one need not read the rows
//! before.

use super::format::{WORKLIST_WORDS, WorklistBlock};
use crate::source::RowRef;

pub use super::format::Worklist;

/// Rows in one block.
const ROWS_PER_BLOCK: u64 = 64 * WORKLIST_WORDS as u64;

/// Which of the two kinds of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Rows with calls to make.
    Calls,
    /// Rows that are refused here.
    Rejected,
}

impl Worklist {
    /// Adds a row. Rows come in order, none left out.
    pub fn add_row(&mut self, at: RowRef) {
        if (at.number - 1).is_multiple_of(ROWS_PER_BLOCK) {
            self.blocks.push(WorklistBlock { line: at.line, offset: at.offset, ..WorklistBlock::default() });
        }
    }

    /// Sets the work of a row that was added before.
    pub fn set(&mut self, row: u64, work: Work) {
        if let Some((word, bit)) = self.bit(row, work) {
            *word |= bit;
        }
    }

    pub(crate) fn clear(&mut self, row: u64, work: Work) {
        if let Some((word, bit)) = self.bit(row, work) {
            *word &= !bit;
        }
    }

    /// The word that holds a row's bit, and the bit.
    fn bit(&mut self, row: u64, work: Work) -> Option<(&mut u64, u64)> {
        let (block, word, bit) = position(row);
        let block = self.blocks.get_mut(block)?;
        let words = match work {
            Work::Calls => &mut block.calls,
            Work::Rejected => &mut block.rejected,
        };
        Some((&mut words[word], 1 << bit))
    }

    /// The first row with such work behind `row`.
    pub fn next_after(&self, row: u64, work: Work) -> Option<u64> {
        let (block, word, bit) = position(row + 1);
        let words = self.blocks.get(block..)?.iter().flat_map(|block| block.words(work)).skip(word);
        let mut mask = u64::MAX << bit;
        for (at, word) in (row / 64..).zip(words) {
            let bits = word & std::mem::replace(&mut mask, u64::MAX);
            if bits != 0 {
                return Some(64 * at + u64::from(bits.trailing_zeros()) + 1);
            }
        }
        None
    }

    /// Where reading can start to reach `row`: the first row of its block.
    pub fn entry(&self, row: u64) -> Option<RowRef> {
        let (block, ..) = position(row);
        let WorklistBlock { line, offset, .. } = *self.blocks.get(block)?;
        Some(RowRef { number: block as u64 * ROWS_PER_BLOCK + 1, line, offset, len: 0, file: None })
    }

    /// The last first row of a block that begins before an offset.
    pub fn entry_before(&self, offset: u64) -> Option<RowRef> {
        let blocks = self.blocks.partition_point(|block| block.offset < offset) as u64;
        self.entry(blocks * ROWS_PER_BLOCK).filter(|_| blocks > 0)
    }

    /// How many rows have such work.
    pub fn count(&self, work: Work) -> u64 {
        self.blocks.iter().flat_map(|block| block.words(work)).map(|word| u64::from(word.count_ones())).sum()
    }
}

impl WorklistBlock {
    fn words(&self, work: Work) -> &[u64; WORKLIST_WORDS] {
        match work {
            Work::Calls => &self.calls,
            Work::Rejected => &self.rejected,
        }
    }
}

/// The block, the word and the bit of a row.
fn position(row: u64) -> (usize, usize, u64) {
    let index = row.saturating_sub(1);
    ((index / ROWS_PER_BLOCK) as usize, (index % ROWS_PER_BLOCK / 64) as usize, index % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(rows: u64, set_rows: &[u64]) -> Worklist {
        let mut list = Worklist::default();
        for number in 1..=rows {
            list.add_row(RowRef { number, line: number + 1, offset: number * 10, len: 9, file: None });
        }
        set_rows.iter().for_each(|row| list.set(*row, Work::Calls));
        list
    }

    proptest! {
        #[test]
        fn walking_finds_exactly_the_rows_that_were_set(mut set_rows in proptest::collection::btree_set(1..5000_u64, 0..60)) {
            let list = list(4999, &set_rows.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(list.count(Work::Calls), set_rows.len() as u64);
            let mut at = 0;
            while let Some(row) = list.next_after(at, Work::Calls) {
                prop_assert_eq!(set_rows.pop_first(), Some(row));
                at = row;
            }
            prop_assert!(set_rows.is_empty());
        }
    }

    #[test]
    fn clearing_a_row_clears_no_other() {
        let mut list = list(200, &[64, 65, 66]);
        list.clear(65, Work::Calls);
        assert_eq!((list.count(Work::Calls), list.next_after(64, Work::Calls)), (2, Some(66)));
    }

    #[test]
    fn the_entry_of_a_row_is_the_start_of_its_block() {
        let list = list(3000, &[]);
        let entry = list.entry(2049).expect("a block");
        assert_eq!((entry.number, entry.offset), (2049, 20_490));
        assert_eq!(list.entry(2048).expect("a block").number, 1025);
        assert_eq!(list.next_after(0, Work::Rejected), None);
        let before = |offset| list.entry_before(offset).map(|entry| entry.number);
        assert_eq!(
            [10, 11, 10_250, 10_251, u64::MAX].map(before),
            [None, Some(1), Some(1), Some(1025), Some(2049)]
        );
    }
}
