//! What the cells of a column look like.

use std::collections::HashMap;

use crate::mapping::{SEPARATORS, is_date, is_rounded, split_addresses};

/// Fewer digits are no telephone number, and more neither.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// Counts over the sampled cells of a column.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    pub(super) rows: usize,
    pub(super) filled: usize,
    pub(super) distinct: usize,
    /// The most frequent value and its rows.
    pub(super) top: (String, usize),
    pub(super) emails: usize,
    pub(super) phones: usize,
    pub(super) dates: usize,
    pub(super) booleans: usize,
    /// Digits and nothing else.
    pub(super) digits: usize,
    /// Digits and `.0`.
    pub(super) floats: usize,
    /// Such as `1.00E+05`.
    pub(super) rounded: usize,
    /// One word with a digit, such as an id.
    pub(super) codes: usize,
    /// At least as many letters as anything else.
    pub(super) words: usize,
    pub(super) with_letters: usize,
    /// Dutch and British post codes.
    pub(super) postcodes_nl: usize,
    pub(super) postcodes_gb: usize,
}

impl Content {
    pub(super) fn new<'a>(cells: impl Iterator<Item = &'a str>) -> Self {
        let mut content = Self::default();
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for cell in cells {
            content.rows += 1;
            if cell.is_empty() {
                continue;
            }
            content.filled += 1;
            *counts.entry(cell).or_default() += 1;
            content.count(cell);
        }
        content.distinct = counts.len();
        // Of equals the first in the order of text, so that the answer is stable.
        let top = counts.into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(a.0)));
        content.top = top.map(|(text, rows)| (text.to_owned(), rows)).unwrap_or_default();
        content
    }

    fn count(&mut self, cell: &str) {
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let lower = cell.to_lowercase();
        let booleans =
            ["true", "false", "yes", "no", "ja", "nee", "nein", "oui", "non", "waar", "onwaar", "y", "n"];
        self.rounded += usize::from(is_rounded(cell));
        self.emails += usize::from(is_email(cell));
        self.phones += usize::from(is_phone(cell));
        self.dates += usize::from(is_date(cell.split([' ', 'T']).next().unwrap_or_default()));
        self.booleans += usize::from(booleans.contains(&lower.as_str()));
        self.digits += usize::from(is_digits(cell));
        self.floats += usize::from(cell.strip_suffix(".0").is_some_and(is_digits));
        let has_digit = cell.bytes().any(|byte| byte.is_ascii_digit());
        let is_code = has_digit && !cell.contains([' ', '@']);
        self.codes += usize::from(is_code);
        let letters = cell.chars().filter(|letter| letter.is_alphabetic()).count();
        self.with_letters += usize::from(letters > 0);
        self.words += usize::from(2 * letters >= cell.chars().count());
        let shape: String = cell
            .chars()
            .filter(|letter| *letter != ' ')
            .map(|letter| match letter {
                '0'..='9' => '9',
                'A'..='Z' => 'A',
                other => other,
            })
            .collect();
        self.postcodes_nl += usize::from(shape == "9999AA");
        self.postcodes_gb += usize::from(
            ["A99AA", "A999AA", "AA99AA", "AA999AA", "A9A9AA", "AA9A9AA"].contains(&shape.as_str()),
        );
    }

    /// The share of filled cells that `count` are.
    pub(super) fn share(&self, count: usize) -> f64 {
        count as f64 / self.filled.max(1) as f64
    }

    pub(super) fn fill(&self) -> f64 {
        self.filled as f64 / self.rows.max(1) as f64
    }

    /// Filled cells with a value that an earlier row has.
    pub(super) fn repeats(&self) -> usize {
        self.filled - self.distinct
    }
}

/// Whether a cell is one e-mail address or several.
pub(super) fn is_email(cell: &str) -> bool {
    is_one_email(cell) || cell.matches('@').count() > 1 && is_list(cell, is_one_email)
}

pub(super) fn is_one_email(text: &str) -> bool {
    let text = text.strip_prefix("mailto:").unwrap_or(text);
    let Some((local, domain)) = text.split_once('@') else { return false };
    let is_plain = |part: &str| !part.is_empty() && !part.contains([' ', '@', '/']);
    is_plain(local) && is_plain(domain) && domain.contains('.')
}

/// Whether a cell is written as a telephone number, or as several.
pub(super) fn is_phone(cell: &str) -> bool {
    let digits = cell.bytes().filter(u8::is_ascii_digit).count();
    is_one_phone(cell) || digits >= 2 * PHONE_DIGITS.start() && is_list(cell, is_one_phone)
}

/// The telephone numbers in a cell, as far as they are written as such.
pub(super) fn phones_in(cell: &str) -> Vec<&str> {
    let is_between = |separator: &&&str| split_list(cell, separator, is_one_phone) == List::Several;
    let separator = SEPARATORS.iter().find(is_between).filter(|_| !is_one_phone(cell)).unwrap_or(&";");
    split_addresses(cell, separator).filter(|part| is_one_phone(part)).collect()
}

/// Whether a cell holds addresses with one separator between them.
fn is_list(cell: &str, is_address: impl Fn(&str) -> bool + Copy) -> bool {
    SEPARATORS.iter().any(|separator| split_list(cell, separator, is_address) != List::Other)
}

pub(super) fn is_one_phone(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let others = text.chars().filter(|letter| letter.is_alphabetic()).count();
    PHONE_DIGITS.contains(&digits) && others <= digits / 2 && !text.contains('@') && !is_date(text)
}

/// What a separator makes of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    /// Several addresses, and nothing else.
    Several,
    /// One, and a separator behind or before it.
    One,
    Other,
}

fn split_list(cell: &str, separator: &str, is_address: impl Fn(&str) -> bool) -> List {
    let parts = split_addresses(cell, separator);
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    match parts.len() {
        _ if !parts.iter().all(|part| is_address(part)) => List::Other,
        0 => List::Other,
        1 => List::One,
        _ => List::Several,
    }
}

/// The text between addresses in the cells with several, if there are such. Nearly
/// every cell that holds this text has to be a list: ` ` stands in numbers, too.
pub(super) fn separator(cells: &[&str], is_address: impl Fn(&str) -> bool + Copy) -> Option<&'static str> {
    let count = |separator: &&'static str| {
        let (mut lists, mut others) = (0, 0);
        for cell in cells.iter().filter(|cell| cell.contains(separator.trim_matches(' '))) {
            match split_list(cell, separator, is_address) {
                List::Several => lists += 1,
                List::One => {}
                List::Other => others += usize::from(is_address(cell)),
            }
        }
        (lists > 0 && lists >= OTHERS_FACTOR * others).then_some((lists, *separator))
    };
    let found = SEPARATORS.iter().filter_map(count);
    // Of equals the first.
    found.rev().max_by_key(|(lists, _)| *lists).map(|(_, separator)| separator)
}

/// So many cells with several addresses outweigh one that a separator would damage.
const OTHERS_FACTOR: usize = 10;
