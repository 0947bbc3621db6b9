//! Proposes a commented configuration for an export, from its header and a sample
//! of its rows.
//!
//! Every column is scored by its name, as words of four languages, and by its
//! content. What a person would not map is not proposed: an address that is
//! somebody else's does more harm than one that is missing. What is unknown is
//! reported at the top.

mod addresses;
mod columns;
mod content;
mod ids;
mod names;
mod reading;
mod region;
mod render;
mod tap;
mod toml_text;
mod vocabulary;

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::source::{self, EncodingSetting, Export, InputSettings, Sample, SourceError};
use addresses::Addresses;
use columns::Column;
use ids::{Ids, Person};
use names::Names;
use region::RegionProposal;
use tap::TapRule;
use vocabulary::{NULL_WORDS, Word};

/// A proposed configuration.
#[derive(Debug)]
pub(crate) struct Proposal {
    pub(crate) text: String,
    /// Whether no needed line is left to the user.
    pub(crate) is_complete: bool,
}

/// Why nothing can be proposed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProposalError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("{name}: this is no table: {reason}; export it as CSV or JSON lines")]
    NoTable { name: String, reason: &'static str },
}

pub(crate) fn propose(paths: &[PathBuf]) -> Result<Proposal, ProposalError> {
    let encoding = source::guess_encoding(paths)?;
    let settings = InputSettings { encoding: EncodingSetting(encoding), ..InputSettings::default() };
    let (mut export, mut further) = source::open_all(paths, &settings)?;
    let (mut sample, mut input) = read_table(&mut export, paths.len())?;
    for file in &mut further {
        let (others, detected) = read_table(file, paths.len())?;
        sample.add(others);
        input.retain(|setting| detected.contains(setting));
    }
    if let Some(reason) = no_table(&sample) {
        return Err(ProposalError::NoTable { name: export.name(), reason });
    }
    export.append(further, &[], &[])?;
    let tap = TapRule::find(&mut sample);
    let mut findings = Findings::new(sample, input);
    for note in export.notes().iter().map(String::as_str).chain(export.warning()) {
        // The same lines of a further file are found again where it is appended.
        if !findings.export_notes.iter().any(|own| own == note) {
            findings.export_notes.push(note.to_owned());
        }
    }
    findings.tap = tap;
    findings.encoding = encoding.map(|encoding| encoding.label());
    Ok(findings.render())
}

/// Settings of `[input]`.
type Settings = Vec<(&'static str, toml::Value)>;

/// Samples one of several files below the line that is most likely its header, and
/// detects its settings. The export stays at this header.
fn read_table(export: &mut Export, files: usize) -> Result<(Sample, Settings), SourceError> {
    let mut best = (export.sample(files)?, export.detected_settings());
    let findings = Findings::new(best.0.clone(), Vec::new());
    if findings.may_be_title() {
        let (mut score, mut best_header) = (findings.score(), None);
        while let Some(header) = export.take_next_header()? {
            best_header.get_or_insert(header);
            let sample = export.sample(files)?;
            let other = Findings::new(sample.clone(), Vec::new()).score();
            if other > score {
                (score, best, best_header) = (other, (sample, export.detected_settings()), None);
            }
        }
        best_header.map(|header| export.set_header(header));
    }
    if export.columns().has_header() {
        // Only the mapped columns show which lines below are no rows.
        let findings = Findings::new(best.0, Vec::new());
        let place = |at: usize| export.columns().find(findings.name(at));
        let id: Vec<usize> = findings.ids.chosen.iter().filter_map(|id| place(id.at)).collect();
        let mapped: Vec<usize> = findings.mapped().into_iter().filter_map(place).collect();
        export.set_mapped(&id, &mapped)?;
        best.0 = export.sample(files)?;
    }
    Ok(best)
}

/// Why a sample is not one of a table.
fn no_table(sample: &Sample) -> Option<&'static str> {
    let is_strange = |letter: char| letter.is_control() && !letter.is_whitespace();
    if sample.names.iter().any(|name| name.contains(is_strange)) {
        return Some("its first line has control characters");
    }
    match sample.names.first() {
        None => Some("no line is a header or a JSON object"),
        Some(name) if name.starts_with('<') => Some("it is a web page or XML"),
        _ => None,
    }
}

/// All that was found in a sample.
#[derive(Debug)]
struct Findings {
    sample: Sample,
    columns: Vec<Column>,
    ids: Ids,
    names: Names,
    emails: Addresses,
    telephones: Addresses,
    twitter: Addresses,
    facebook: Addresses,
    region: RegionProposal,
    /// Cells for "no value".
    blanks: Vec<String>,
    /// A column that seems to name operations, and its values.
    operation: Option<(usize, Vec<String>)>,
    /// Of a file with several kinds of rows.
    tap: Option<TapRule>,
    input: Settings,
    encoding: Option<String>,
    /// How the export is read.
    export_notes: Vec<String>,
}

impl Findings {
    fn new(mut sample: Sample, input: Settings) -> Self {
        sample.rows.retain(|row| row.iter().any(|cell| !cell.is_empty()));
        let blanks = take_blanks(&mut sample);
        let columns = Column::all(&mut sample);
        let names = Names::find(&columns);
        let own: Vec<usize> = names.columns().collect();
        let emails = addresses::emails(&columns, &own);
        let mut telephones = addresses::telephones(&columns, &own);
        let person = Person {
            names: own.clone(),
            emails: emails.columns.clone(),
            telephones: telephones.columns.clone(),
        };
        let mut region = RegionProposal::new(&columns, &telephones.columns, &emails.columns);
        if region.lacks_plus {
            // A template makes one value of one column.
            telephones.columns.retain(|at| columns[*at].content.filled > 0);
            region.is_open = telephones.columns.len() > 1;
            if region.is_open {
                region.reason += "; put it there in the export, or map one of the columns by a template";
            }
        }
        Self {
            ids: Ids::find(&columns, &person),
            region,
            twitter: addresses::accounts(&columns, &own, Word::Twitter),
            facebook: addresses::accounts(&columns, &own, Word::Facebook),
            operation: operation(&columns),
            tap: None,
            input,
            encoding: None,
            export_notes: Vec::new(),
            sample,
            columns,
            names,
            emails,
            telephones,
            blanks,
        }
    }

    /// Whether the header may be a line of text above it.
    fn may_be_title(&self) -> bool {
        self.ids.chosen.is_none() || 2 * self.sample.malformed > self.sample.rows.len()
    }

    /// Whether no row can be split into cells, though there are some.
    fn is_unreadable(&self) -> bool {
        self.sample.rows.is_empty() && self.sample.malformed > 0
    }

    /// Whether the first row seems to be a customer and no header.
    fn lacks_header(&self) -> bool {
        let is_number = |name: &str| name.len() >= 5 && name.bytes().all(|byte| byte.is_ascii_digit());
        let is_value =
            |name: &&String| content::is_one_email(name) || content::is_one_phone(name) || is_number(name);
        let values: Vec<&String> = self.sample.names.iter().filter(is_value).collect();
        self.sample.has_header && (values.len() >= 2 || values.iter().any(|name| content::is_one_email(name)))
    }

    /// How much of a table was found.
    fn score(&self) -> (bool, usize) {
        (self.ids.chosen.is_some(), self.mapped().len())
    }

    fn mapped(&self) -> BTreeSet<usize> {
        let addresses = [&self.emails, &self.telephones, &self.twitter, &self.facebook];
        let addresses = addresses.into_iter().flat_map(|addresses| addresses.columns.iter().copied());
        self.names.columns().chain(self.ids.chosen.iter().map(|id| id.at)).chain(addresses).collect()
    }
}

/// Rows from which a word for "no value" in one column is no name.
const NULLS_MIN: usize = 2;

/// Empties the cells that hold a word for "no value", and returns these words.
fn take_blanks(sample: &mut Sample) -> Vec<String> {
    let mut found = Vec::new();
    for word in NULL_WORDS {
        let has_sign = !word.bytes().all(|byte| byte.is_ascii_alphabetic());
        let holders = sample.rows.iter().filter(|row| row.iter().any(|cell| cell == word)).count();
        let is_capital = word.bytes().all(|byte| byte.is_ascii_uppercase());
        // People are called Nan and None; nobody writes NULL in capitals.
        if holders > 0 && (has_sign || is_capital || holders >= NULLS_MIN) {
            found.push(word.to_owned());
        }
    }
    for cell in sample.rows.iter_mut().flatten().filter(|cell| found.contains(cell)) {
        cell.clear();
    }
    found
}

/// Names of columns whose values may be operations.
const OPERATION_NAMES: [&str; 8] =
    ["op", "operation", "action", "actie", "aktion", "mutatie", "event", "change"];
/// Operations of an export.
const OPERATIONS_MAX: usize = 8;

fn operation(columns: &[Column]) -> Option<(usize, Vec<String>)> {
    let at = columns.iter().position(|column| {
        !column.is_list
            && OPERATION_NAMES.contains(&column.reading.tokens.join(" ").as_str())
            && (1..=OPERATIONS_MAX).contains(&column.content.distinct)
    })?;
    let values: BTreeSet<&str> = columns[at].filled_cells().collect();
    Some((at, values.into_iter().map(str::to_owned).collect()))
}
