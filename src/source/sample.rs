//! A bounded number of rows from all over an export, to propose a configuration.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::error::SourceError;
use super::export::{Export, Member};
use super::jsonl::LIST_SEPARATOR;
use super::rows::{Row, RowRef};

/// Rows read from the start of an export, or of its files together.
const FIRST_ROWS: usize = 1000;
/// Places further on, at equal distances.
const PLACES: u64 = 100;
/// Rows read at each place.
const ROWS_PER_PLACE: usize = 20;
/// Columns, or members of JSON lines.
const NAMES_MAX: usize = 1000;
/// Members of a row that a message names.
const MEMBERS_SHOWN: usize = 20;
/// Letters of a cell. The rest says nothing about its column.
const CELL_CHARS: usize = 500;
/// Bytes in which the end of a line is sought.
const LINE_BYTES: usize = 64 << 10;

/// Columns of an export and some of its rows.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// The names that a configuration may map.
    pub names: Vec<String>,
    /// Names of members that hold lists.
    pub lists: HashSet<String>,
    /// The trimmed cells of each row, in the order of `names`. Of a list it is the
    /// first one. A cell outside the encoding is blank.
    pub rows: Vec<Vec<String>>,
    /// Whether the names are those of a header.
    pub has_header: bool,
    /// Rows from the start that cannot be split into cells.
    pub malformed: usize,
    /// The first of these, and why.
    pub first_fault: Option<String>,
    /// Whether these are all rows of the export.
    pub is_whole: bool,
}

impl Sample {
    /// Adds the rows of a further file: its columns by their names.
    pub(crate) fn add(&mut self, further: Self) {
        for name in &further.names {
            if !self.names.contains(name) && self.names.len() < NAMES_MAX {
                self.names.push(name.clone());
            }
        }
        let place = |name: &String| further.names.iter().position(|own| own == name);
        let places: Vec<Option<usize>> = self.names.iter().map(place).collect();
        let cells = |row: &Vec<String>| {
            places.iter().map(|at| at.map(|at| row[at].clone()).unwrap_or_default()).collect()
        };
        self.rows.iter_mut().for_each(|row| row.resize(self.names.len(), String::new()));
        self.rows.extend(further.rows.iter().map(cells));
        self.lists.extend(further.lists);
        self.malformed += further.malformed;
        self.first_fault = self.first_fault.take().or(further.first_fault);
        self.is_whole &= further.is_whole;
    }
}

/// Rows that follow each other.
struct Stretch {
    from: RowRef,
    rows: usize,
}

impl Export {
    /// Reads some rows from all over one of so many files, and all columns of these.
    pub fn sample(&mut self, files: usize) -> Result<Sample, SourceError> {
        self.read_sample(files).map_err(|source| self.io_error(source))
    }

    /// The names of the single values in the first row, where no header has them.
    pub(crate) fn first_members(&self) -> Result<Vec<String>, SourceError> {
        let read = || {
            let (mut rows, mut row) = (self.rows(), Row::default());
            let members =
                if rows.read(&mut row)? { self.format.members(self, row.at())? } else { Vec::new() };
            let names = members.into_iter().filter_map(|member| match member {
                Member::Value(name) => Some(name),
                Member::List(_) | Member::Object(_) => None,
            });
            Ok(names.take(MEMBERS_SHOWN).collect())
        };
        read().map_err(|source| self.io_error(source))
    }

    fn read_sample(&mut self, files: usize) -> io::Result<Sample> {
        let mut sample = Sample::default();
        let stretches = self.stretches(files, &mut sample)?;
        sample.has_header = self.columns.has_header();
        if sample.has_header {
            let own = self.columns.own().map(|(_, name)| name.to_owned());
            sample.names = own.filter(|name| !name.is_empty()).take(NAMES_MAX).collect();
        } else {
            self.collect_members(&stretches, &mut sample)?;
        }
        let columns = Arc::make_mut(&mut self.columns);
        let places: Vec<usize> = sample.names.iter().filter_map(|name| columns.require(name).ok()).collect();
        places.iter().for_each(|at| columns.allow_list(*at));
        for stretch in stretches {
            let (mut rows, mut row) = (self.rows_from(stretch.from), Row::default());
            for _ in 0..stretch.rows {
                if !rows.read(&mut row)? {
                    break;
                }
                if row.fault().is_none() {
                    let cell = |at: &usize| row.text(*at).map(|text| short_text(&text));
                    sample.rows.push(places.iter().map(|at| cell(at).unwrap_or_default()).collect());
                }
            }
        }
        Ok(sample)
    }

    /// Finds the rows to read: the first ones, and a few at each further place.
    /// No row is found twice.
    fn stretches(&self, files: usize, sample: &mut Sample) -> io::Result<Vec<Stretch>> {
        let (first_rows, places) = (FIRST_ROWS.div_ceil(files), PLACES.div_ceil(files as u64));
        let (mut rows, mut row) = (self.rows(), Row::default());
        let mut first = Stretch { from: self.first, rows: 0 };
        let mut end = self.first.offset;
        sample.is_whole = true;
        while rows.read(&mut row)? {
            if first.rows == first_rows {
                sample.is_whole = false;
                break;
            }
            if let Some(fault) = row.fault() {
                sample.malformed += 1;
                sample.first_fault.get_or_insert_with(|| format!("{}: {fault}", row.at().line_text()));
            }
            first.rows += 1;
            end = row.at().offset + row.at().len;
        }
        let mut stretches = vec![first];
        if sample.is_whole {
            return Ok(stretches);
        }
        let (begin, len) = (end, self.text.file.metadata()?.len().saturating_sub(end));
        for place in 1..=places {
            let wanted = begin + (len / (places + 1)) * place;
            let Some(offset) = self.line_start(wanted.max(end))? else { break };
            let from = RowRef { number: 1, line: 1, offset, len: 0, file: None };
            let (mut rows, mut found) = (self.rows_from(from), 0);
            while found < ROWS_PER_PLACE && rows.read(&mut row)? {
                found += 1;
                end = row.at().offset + row.at().len;
            }
            stretches.push(Stretch { from, rows: found });
        }
        Ok(stretches)
    }

    /// Where the next line starts. It may be one inside a cell; such a row has
    /// nearly always another number of cells.
    fn line_start(&self, from: u64) -> io::Result<Option<u64>> {
        let mut block = vec![0; LINE_BYTES];
        let len = self.text.file.read_at(&mut block, from)?;
        let end = memchr::memchr(self.dialect().line_end.terminator(), &block[..len]);
        Ok(end.map(|end| from + end as u64 + 1))
    }

    /// The union of the members of all rows, in the order in which they appear.
    fn collect_members(&self, stretches: &[Stretch], sample: &mut Sample) -> io::Result<()> {
        let (mut names, mut objects) = (HashSet::new(), HashSet::new());
        for stretch in stretches {
            let (mut rows, mut row) = (self.rows_from(stretch.from), Row::default());
            for _ in 0..stretch.rows {
                if !rows.read(&mut row)? {
                    break;
                }
                for member in self.format.members(self, row.at())? {
                    let (name, is_list) = match member {
                        Member::Value(name) => (name, false),
                        Member::List(name) => (name, true),
                        Member::Object(name) => {
                            objects.insert(name);
                            continue;
                        }
                    };
                    if names.len() == NAMES_MAX {
                        break;
                    }
                    if is_list {
                        sample.lists.insert(name.clone());
                    }
                    if names.insert(name.clone()) {
                        sample.names.push(name);
                    }
                }
            }
        }
        sample.names.retain(|name| !objects.contains(name));
        Ok(())
    }
}

fn short_text(cell: &str) -> String {
    let first = cell.split(LIST_SEPARATOR).next().unwrap_or_default();
    first.trim().chars().take(CELL_CHARS).collect()
}
