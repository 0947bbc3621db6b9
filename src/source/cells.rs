//! The cells of one row.

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
}

impl Cells {
    pub(super) fn get(&self, at: usize) -> &[u8] {
        if at >= self.len {
            return &[];
        }
        let from = if at == 0 { 0 } else { self.ends[at - 1] + self.gap };
        &self.buffer[from..self.ends[at]]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len).map(|at| self.get(at))
    }

    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.ends.clear();
        (self.len, self.gap, self.is_rewritten) = (0, 0, false);
    }

    pub(super) fn push(&mut self, cell: &[u8]) {
        self.buffer.extend_from_slice(cell);
        self.ends.push(self.buffer.len());
        self.len += 1;
    }
}
