//! By what a plan was made.

/// A mark of the settings that decide what a row becomes, and of the way in
/// which rows are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanMark(pub [u8; 32]);

/// Where the way of reading stands; marks that are older than it are a hash
/// there too, which is that of no way.
const READING_AT: usize = 28;

impl PlanMark {
    /// Of the hash of the settings and the number of the way of reading.
    #[must_use]
    pub fn new(settings: [u8; 32], reading: u32) -> Self {
        let mut mark = settings;
        mark[READING_AT..].copy_from_slice(&reading.to_le_bytes());
        Self(mark)
    }

    /// Whether the settings are the same.
    #[must_use]
    pub fn has_settings_of(&self, other: &Self) -> bool {
        self.0[..READING_AT] == other.0[..READING_AT]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_and_reading_are_told_apart() {
        let (older, now) = (PlanMark([7; 32]), PlanMark::new([7; 32], 2));
        assert!(older != now && older.has_settings_of(&now));
        assert_eq!(now, PlanMark::new([7; 32], 2));
        let mut others = [7; 32];
        others[27] = 8;
        assert!(!PlanMark::new(others, 2).has_settings_of(&now));
    }
}
