//! The cells of one row.

use std::ops::Range;

/// Cells end to end in one buffer, so that a row allocates nothing once the
/// buffer has grown.
#[derive(Debug, Clone, Default)]
pub(super) struct Cells {
    pub(super) buffer: Vec<u8>,
    /// Where each cell ends in `buffer`; more than `len` are unused.
    pub(super) ends: Vec<usize>,
    pub(super) len: usize,
    /// Bytes between two cells.
    pub(super) gap: usize,
    /// Whether the cells are not those of the record as it stands in the export.
    pub(super) is_rewritten: bool,
    /// The buffer once more, if it is known to be text.
    pub(super) text: String,
}

impl Cells {
    pub(super) fn get(&self, at: usize) -> &[u8] {
        &self.buffer[self.range(at)]
    }

    /// The cell as text, if [`Cells::check_text`] has found that all are.
    pub(super) fn text(&self, at: usize) -> Option<&str> {
        if self.text.is_empty() { None } else { self.text.get(self.range(at)) }
    }

    fn range(&self, at: usize) -> Range<usize> {
        if at >= self.len {
            return 0..0;
        }
        let from = if at == 0 { 0 } else { self.ends[at - 1] + self.gap };
        from..self.ends[at]
    }

    /// Checks whether all cells are UTF-8, and nothing was lost in them. At once it
    /// is quicker than one by one.
    pub(super) fn check_text(&mut self) {
        if let Ok(text) = std::str::from_utf8(&self.buffer)
            && !has_replacement(text)
        {
            self.text.push_str(text);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len).map(|at| self.get(at))
    }

    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.text.clear();
        self.ends.clear();
        (self.len, self.gap, self.is_rewritten) = (0, 0, false);
    }

    pub(super) fn push(&mut self, cell: &[u8]) {
        self.buffer.extend_from_slice(cell);
        self.ends.push(self.buffer.len());
        self.len += 1;
    }
}

/// Whether the text has U+FFFD: another program put it in place of bytes outside
/// the encoding.
pub(super) fn has_replacement(text: &str) -> bool {
    !text.is_ascii() && text.contains('\u{FFFD}')
}
