//! What goes wrong, by code, and by what is to be done about it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Different things to do that are told for one code; those that come later
/// are counted with the first.
const HINTS_MAX: usize = 5;

/// Something for each code and hint.
#[derive(Debug, Clone)]
pub struct CauseMap<C, V>(BTreeMap<(C, Cow<'static, str>), V>);

impl<C, V> Default for CauseMap<C, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<C: Ord + Copy, V> CauseMap<C, V> {
    /// The place for a code and a hint.
    pub fn entry(&mut self, code: C, hint: Cow<'static, str>) -> Entry<'_, (C, Cow<'static, str>), V> {
        let mut key = (code, hint);
        if !self.0.contains_key(&key) {
            let mut alike = self.0.keys().filter(|(known, _)| *known == code);
            if let (Some(first), true) = (alike.next(), alike.count() + 1 >= HINTS_MAX) {
                key = first.clone();
            }
        }
        self.0.entry(key)
    }

    /// All of it, in the order of the codes.
    pub fn iter(&self) -> impl Iterator<Item = (C, &V)> {
        self.0.iter().map(|((code, _), value)| (*code, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_told_apart_by_what_is_to_be_done_up_to_a_number() {
        let mut found: CauseMap<u8, u64> = CauseMap::default();
        for (code, hint) in [(2, "a"), (1, "a"), (1, "b"), (1, "a")] {
            *found.entry(code, hint.into()).or_default() += 1;
        }
        assert_eq!(found.iter().collect::<Vec<_>>(), [(1, &2), (1, &1), (2, &1)]);
        for hint in 0..100 {
            *found.entry(1, format!("c{hint}").into()).or_default() += 1;
        }
        assert_eq!(found.iter().filter(|(code, _)| *code == 1).count(), HINTS_MAX);
        assert_eq!(found.iter().map(|(_, count)| count).sum::<u64>(), 104);
    }
}
