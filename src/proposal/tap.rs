//! Streams of a tap, as Singer and Airbyte write them: messages of several kinds, and
//! records of several tables, in one file.

use std::collections::HashSet;

use super::Findings;
use super::reading::Reading;
use super::toml_text::{quoted, text_in_expression, variable};
use super::vocabulary::Word;
use crate::source::Sample;

/// Kinds of messages.
const KINDS: [&str; 12] = [
    "RECORD",
    "SCHEMA",
    "STATE",
    "ACTIVATE_VERSION",
    "BATCH",
    "LOG",
    "TRACE",
    "CONTROL",
    "SPEC",
    "CATALOG",
    "CONNECTION_STATUS",
    "DESTINATION_CATALOG",
];
const RECORD: &str = "RECORD";
/// Members that name the stream.
const STREAM_NAMES: [&str; 4] = ["stream", "record.stream", "_airbyte_stream", "_stream"];

/// The rule that skips all messages but the customers.
#[derive(Debug)]
pub(super) struct TapRule {
    pub(super) when: String,
    pub(super) reason: String,
}

impl TapRule {
    /// Finds the stream that holds the customers, and keeps its rows alone.
    pub(super) fn find(sample: &mut Sample) -> Option<Self> {
        let column = |name: &str| sample.names.iter().position(|own| own == name);
        let kind = column("type").filter(|at| {
            let mut kinds = sample.rows.iter().map(|row| &*row[*at]);
            kinds.clone().any(|kind| kind == RECORD) && kinds.all(|kind| KINDS.contains(&kind))
        });
        let stream = STREAM_NAMES.iter().find_map(|name| column(name));
        let stream = stream.filter(|_| kind.is_some() || sample.names.iter().any(|name| name.contains('.')));
        let is_record = |row: &Vec<String>| kind.is_none_or(|at| row[at] == RECORD);
        let mut streams: Vec<String> = Vec::new();
        for row in sample.rows.iter().filter(|row| is_record(row)) {
            let name = stream.map(|at| row[at].clone()).unwrap_or_default();
            if !streams.contains(&name) {
                streams.push(name);
            }
        }
        if kind.is_none() && streams.len() < 2 {
            return None;
        }
        let is_of =
            |row: &Vec<String>, name: &String| is_record(row) && stream.is_none_or(|at| row[at] == *name);
        let found = streams.iter().map(|name| {
            let own = with_rows(sample, |row| is_of(row, name));
            (likeness(name, &own), name.clone(), own)
        });
        // Of equals the first one.
        let best = found.reduce(|best, other| if other.0 > best.0 { other } else { best });
        let (_, chosen, own) = best?;
        let names = [kind.map(|at| (at, RECORD)), stream.map(|at| (at, &*chosen))];
        let conditions = names
            .into_iter()
            .flatten()
            .map(|(at, value)| format!("{} != {}", variable(&sample.names[at]), text_in_expression(value)));
        let when = conditions.collect::<Vec<_>>().join(" or ");
        let others: Vec<String> =
            streams.iter().filter(|name| **name != chosen).map(|name| quoted(name)).collect();
        let reason = match (stream, others.as_slice()) {
            (None, _) => "keeps the records alone".to_owned(),
            (_, []) => format!("keeps the records of the stream {} alone", quoted(&chosen)),
            (_, others) => format!(
                "keeps the stream {}, which looks most like customers; the others are {}",
                quoted(&chosen),
                others.join(", ")
            ),
        };
        *sample = own;
        Some(Self { when, reason })
    }
}

/// How much a stream looks like customers: the more, the greater.
fn likeness(name: &str, own: &Sample) -> (bool, bool, (bool, usize)) {
    let findings = Findings::new(own.clone(), Vec::new());
    let has_addresses = !(findings.emails.columns.is_empty() && findings.telephones.columns.is_empty());
    let is_of_people = Reading::new(name).has_any(&[Word::Customer, Word::Contact, Word::Member]);
    (has_addresses && is_of_people, has_addresses, findings.score())
}

/// A sample of some of its rows, without the columns that only others have.
fn with_rows(sample: &Sample, is_own: impl Fn(&Vec<String>) -> bool) -> Sample {
    let (own, others): (Vec<&Vec<String>>, Vec<&Vec<String>>) =
        sample.rows.iter().partition(|row| is_own(row));
    let has_value = |rows: &[&Vec<String>], at: usize| rows.iter().any(|row| !row[at].is_empty());
    let columns = (0..sample.names.len()).filter(|at| has_value(&own, *at) || !has_value(&others, *at));
    let columns: Vec<usize> = columns.collect();
    let names: Vec<String> = columns.iter().map(|at| sample.names[*at].clone()).collect();
    let cells = |row: &&Vec<String>| columns.iter().map(|at| row[*at].clone()).collect();
    let lists: HashSet<String> = sample.lists.iter().filter(|name| names.contains(name)).cloned().collect();
    Sample { rows: own.iter().map(cells).collect(), names, lists, ..sample.clone() }
}
