//! The fast path for lines of JSON.

use serde::de::IgnoredAny;

use crate::source::cells::Cells;
use crate::source::columns::Columns;

/// The keys of a line in their order: in nearly every export the same from
/// line to line. A line of that shape, whose values hold no list, no object and
/// no escape, is cut at its quotes without a parser. This only saves time: a
/// test compares it with the parser.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Keys without escapes, and the columns they fill.
    members: Vec<(Option<usize>, String)>,
    /// Where the cell of each column stands in the line.
    places: Vec<(usize, usize)>,
    /// Lines of another shape, since the last was learned.
    others: u32,
}

/// To learn a shape costs about as much as to parse a line.
const OTHERS_PER_SHAPE: u32 = 64;

impl Shape {
    /// Counts a line of another shape, and now and then learns its keys: none
    /// if they do not stand in it as they are.
    pub(super) fn learn(&mut self, columns: &Columns, keys: impl FnOnce() -> Vec<String>) {
        self.others = (self.others + 1) % OTHERS_PER_SHAPE;
        if self.members.is_empty() || self.others == 0 {
            self.members = keys().into_iter().map(|key| (columns.find(&key), key)).collect();
            self.places = vec![(0, 0); columns.names().len()];
        }
    }

    /// Splits a line of this shape; `false` for another one.
    pub(super) fn split(&mut self, line: &str, cells: &mut Cells) -> bool {
        let Self { members, places, .. } = self;
        let text = line.as_bytes();
        let is_plain = !text.iter().fold(false, |found, byte| found | (*byte < b' ') | (*byte == b'\\'));
        if members.is_empty() || !is_plain {
            return false;
        }
        places.fill((0, 0));
        let mut cursor = Cursor { text, at: 0 };
        let mut before = b'{';
        for (column, key) in &*members {
            let Some(place) = cursor.member(before, key) else { return false };
            if let Some(column) = column {
                places[*column] = place;
            }
            before = b',';
        }
        if cursor.take(b'}').is_none() || cursor.skip_spaces() != text.len() {
            return false;
        }
        cells.clear();
        places.iter().for_each(|(from, to)| cells.push(&text[*from..*to]));
        true
    }
}

/// A place in a line.
struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    /// Returns the place after the spaces.
    fn skip_spaces(&mut self) -> usize {
        while self.text.get(self.at) == Some(&b' ') {
            self.at += 1;
        }
        self.at
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        let at = self.skip_spaces();
        self.at += 1;
        (self.text.get(at) == Some(&byte)).then_some(())
    }

    /// Steps over `before` and a member with this key. Returns where the
    /// member's value stands, without quotes.
    fn member(&mut self, before: u8, key: &str) -> Option<(usize, usize)> {
        self.take(before)?;
        self.take(b'"')?;
        let rest = self.text[self.at..].strip_prefix(key.as_bytes())?.strip_prefix(b"\"")?;
        self.at = self.text.len() - rest.len();
        self.take(b':')?;
        let from = self.skip_spaces();
        if self.text.get(from)? == &b'"' {
            let to = from + 1 + memchr::memchr(b'"', &self.text[from + 1..])?;
            self.at = to + 1;
            return Some((from + 1, to));
        }
        self.at = from + memchr::memchr3(b',', b'}', b' ', &self.text[from..])?;
        match &self.text[from..self.at] {
            b"null" => Some((from, from)),
            b"true" | b"false" => Some((from, self.at)),
            number => is_number(number).then_some((from, self.at)),
        }
    }
}

/// Whether the parser accepts the number. Most are plain digits.
fn is_number(text: &[u8]) -> bool {
    match text {
        [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit) => true,
        [b'-' | b'0'..=b'9', ..] => serde_json::from_slice::<IgnoredAny>(text).is_ok(),
        _ => false,
    }
}
