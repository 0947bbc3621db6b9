//! The text of a cell without what a spreadsheet puts around it.
//!
//! `="000501"` and `'000501` are how people keep a spreadsheet from making a
//! number of an id. The first is unwrapped in every cell. An apostrophe can also
//! be a letter of a name, as in `'t Hart`, so a column loses it only if most of
//! its cells have one.

use std::borrow::Cow;

use crate::source::{BadText, Row};

/// The columns whose cells have an apostrophe in front.
#[derive(Debug, Default)]
pub(super) struct ApostropheColumns(Vec<bool>);

impl ApostropheColumns {
    /// The text of a cell, trimmed and unwrapped.
    pub(super) fn read<'a>(&self, row: &'a Row, column: usize) -> Result<Cow<'a, str>, BadText> {
        let text = match row.text(column)? {
            Cow::Borrowed(text) => Cow::Borrowed(trim(text)),
            Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
        };
        Ok(match text.as_bytes().first() {
            Some(b'=') => unwrap_formula(text),
            Some(b'\'') if self.contains(column) && has_apostrophe(&text) => match text {
                Cow::Borrowed(text) => Cow::Borrowed(text[1..].trim()),
                Cow::Owned(text) => Cow::Owned(text[1..].trim().to_owned()),
            },
            _ => text,
        })
    }

    pub(super) fn contains(&self, column: usize) -> bool {
        self.0.get(column).is_some_and(|has| *has)
    }
}

impl ApostropheColumns {
    /// Of `width` columns, those of `columns` in which most of these first rows have
    /// an apostrophe in front.
    pub(super) fn find<'a>(width: usize, columns: &[usize], rows: impl Iterator<Item = &'a Row>) -> Self {
        let mut counts = vec![(0_u32, 0_u32); width];
        for row in rows.filter(|row| row.fault().is_none()) {
            for column in columns {
                let Ok(text) = row.text(*column) else { continue };
                let (filled, with) = &mut counts[*column];
                *filled += u32::from(!text.trim().is_empty());
                *with += u32::from(has_apostrophe(text.trim()));
            }
        }
        Self(counts.iter().map(|(filled, with)| 2 * with > *filled).collect())
    }
}

/// Whether a text begins with an apostrophe that is no letter of it, as those of
/// `'t Hart`, `'s-Gravenhage` and `'quoted'` are.
fn has_apostrophe(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('\'') else { return false };
    let mut letters = rest.chars();
    let is_article = letters.next().is_some_and(char::is_alphabetic)
        && letters.next().is_none_or(|next| matches!(next, ' ' | '-' | '\u{a0}'));
    !rest.is_empty() && !is_article && !rest.ends_with('\'')
}

/// `="text"`, with quotes inside doubled, is a text to a spreadsheet.
fn unwrap_formula(text: Cow<'_, str>) -> Cow<'_, str> {
    let inner = text.strip_prefix('=').map(str::trim_start);
    let inner = inner.and_then(|inner| inner.strip_prefix('"')?.strip_suffix('"'));
    match inner.filter(|inner| !inner.replace("\"\"", "").contains('"')) {
        Some(inner) => inner.replace("\"\"", "\"").trim().to_owned().into(),
        None => text,
    }
}

/// `text.trim()`, which nearly always is the text itself.
fn trim(text: &str) -> &str {
    match text.as_bytes() {
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => text,
        _ => text.trim(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_of_a_text_become_the_text() {
        for (text, expected) in [
            ("=\"000501\"", "000501"),
            ("= \" 000501 \"", "000501"),
            ("=\"\"", ""),
            ("=\"a \"\"b\"\"\"", "a \"b\""),
            ("=\"a\" & \"b\"", "=\"a\" & \"b\""),
            ("=\"", "=\""),
            ("=1+2", "=1+2"),
            ("=", "="),
        ] {
            assert_eq!(unwrap_formula(text.into()), expected, "{text}");
        }
    }

    #[test]
    fn an_apostrophe_that_is_a_letter_stays() {
        for text in ["'000501", "'+31612345678", "'Daan", "'Tess"] {
            assert!(has_apostrophe(text), "{text}");
        }
        for text in ["'t Hart", "'s-Gravenhage", "'n", "'quoted'", "'", "''", "O'Brien", "000501", ""] {
            assert!(!has_apostrophe(text), "{text}");
        }
    }
}
