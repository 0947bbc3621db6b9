//! Merged cells, of which a workbook holds only the first.

use calamine::Dimensions;

use super::SheetCell;

/// The merged cells of a sheet.
#[derive(Debug)]
pub(super) struct Merged {
    /// Those that begin further down, the next one last.
    waiting: Vec<Dimensions>,
    /// Those in the current row, and their text.
    current: Vec<(Dimensions, String)>,
}

impl Merged {
    pub(super) fn new(mut ranges: Vec<Dimensions>) -> Self {
        ranges.sort_by_key(|range| std::cmp::Reverse(range.start));
        Self { waiting: ranges, current: Vec::new() }
    }

    /// Fills the merged cells of a row. The one text of a row is a title, and stays
    /// alone. `cells` are in order, and rows come in order.
    pub(super) fn fill(&mut self, row: u32, cells: &mut Vec<SheetCell>) {
        self.current.retain(|(range, _)| range.end.0 >= row);
        while let Some(range) = self.waiting.pop_if(|range| range.start.0 <= row) {
            let first = cells.iter().find(|(column, _)| *column == range.start.1);
            // The first cell of one that began above is blank.
            if let Some((_, text)) = first.filter(|_| range.start.0 == row) {
                self.current.push((range, text.clone()));
            }
        }
        let own: Vec<u32> = cells.iter().map(|(column, _)| *column).collect();
        for (range, text) in &self.current {
            let columns = range.start.1..=range.end.1;
            if own.iter().any(|column| !columns.contains(column)) {
                let blank = columns.filter(|column| !own.contains(column));
                cells.extend(blank.map(|column| (column, text.clone())));
            }
        }
        cells.sort_by_key(|(column, _)| *column);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(merged: &mut Merged, row: u32, cells: &[(u32, &str)]) -> String {
        let mut cells: Vec<SheetCell> =
            cells.iter().map(|(column, text)| (*column, (*text).to_owned())).collect();
        merged.fill(row, &mut cells);
        cells.iter().map(|(column, text)| format!("{column}{text}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn merged_cells_have_their_text_in_each_row_and_column_and_a_title_has_not() {
        let mut merged = Merged::new(vec![
            Dimensions::new((0, 0), (1, 4)),
            Dimensions::new((2, 0), (3, 0)),
            Dimensions::new((2, 1), (2, 2)),
        ]);
        assert_eq!(filled(&mut merged, 0, &[(0, "title")]), "0title");
        assert_eq!(
            filled(&mut merged, 2, &[(0, "id"), (1, "phone"), (3, "name")]),
            "0id 1phone 2phone 3name"
        );
        assert_eq!(filled(&mut merged, 3, &[(3, "x")]), "0id 3x");
        assert_eq!(filled(&mut merged, 4, &[(3, "y")]), "3y");
    }
}
