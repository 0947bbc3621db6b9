//! Problems, grouped by code and by what to do about them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Hints that are kept apart for one code; problems with later hints are
/// counted with the first.
const HINTS_MAX: usize = 5;

/// A value for each code and hint.
#[derive(Debug, Clone)]
pub(crate) struct CauseMap<C, V>(BTreeMap<(C, Cow<'static, str>), V>);

impl<C, V> Default for CauseMap<C, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<C: Ord + Copy, V> CauseMap<C, V> {
    pub(crate) fn entry(&mut self, code: C, hint: Cow<'static, str>) -> Entry<'_, (C, Cow<'static, str>), V> {
        let mut key = (code, hint);
        if !self.0.contains_key(&key) {
            let mut same_code = self.0.keys().filter(|(known, _)| *known == code);
            if let (Some(first), true) = (same_code.next(), same_code.count() + 1 >= HINTS_MAX) {
                key = first.clone();
            }
        }
        self.0.entry(key)
    }

    /// In the order of the codes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (C, &V)> {
        self.0.iter().map(|((code, _), value)| (*code, value))
    }
}
