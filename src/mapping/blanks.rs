//! The meaning of single words in cells: no value, "empty this field", yes, no.

/// The texts that `blank` and `clear` in `[input]` list.
#[derive(Debug)]
pub(super) struct Blanks {
    blank: Vec<String>,
    clear: Vec<String>,
}

/// The meaning of a trimmed text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CellMeaning {
    Blank,
    /// The field is to be emptied.
    Clear,
    Value,
}

impl Blanks {
    pub(super) fn new(blank: &[String], clear: &[String]) -> Self {
        let trimmed = |texts: &[String]| {
            let texts = texts.iter().map(|text| text.trim().to_owned());
            texts.filter(|text| !text.is_empty()).collect()
        };
        Self { blank: trimmed(blank), clear: trimmed(clear) }
    }

    pub(super) fn meaning(&self, text: &str) -> CellMeaning {
        let is_in = |texts: &[String]| texts.iter().any(|listed| listed == text);
        if text.is_empty() || is_in(&self.blank) {
            CellMeaning::Blank
        } else if is_in(&self.clear) {
            CellMeaning::Clear
        } else {
            CellMeaning::Value
        }
    }

    /// Whether only an empty cell is blank, and nothing clears.
    pub(super) fn are_default(&self) -> bool {
        self.clear.is_empty() && self.blank.is_empty()
    }
}

const YES: [&str; 7] = ["true", "yes", "y", "1", "on", "ja", "j"];
const NO: [&str; 12] = ["false", "no", "n", "0", "off", "nee", "f", "0.0", "nein", "non", "falsch", "faux"];

/// Whether a text means yes or no, if it means either.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    let is_in = |texts: &[&str]| texts.iter().any(|listed| listed.eq_ignore_ascii_case(text));
    is_in(&YES).then_some(true).or_else(|| is_in(&NO).then_some(false))
}
