//! Which columns hold the name of a row's person.

use super::columns::Column;
use super::vocabulary::Word;

/// Columns of the name.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// One, or one that people are called by and one for the rest.
    pub(super) first: Vec<usize>,
    pub(super) last: Option<usize>,
    /// The column with what stands between the two.
    pub(super) particle: Option<usize>,
    /// The whole name, where it is not in two columns.
    pub(super) full: Option<usize>,
    /// Whether the whole name seems to begin with the last name.
    pub(super) is_turned: bool,
    pub(super) reason: &'static str,
}

/// Words beside those of the name itself.
const SUBJECTS: [Word; 6] =
    [Word::Customer, Word::Contact, Word::Member, Word::Record, Word::Kind, Word::Vendor];

impl Names {
    pub(super) fn find(columns: &[Column]) -> Self {
        let plain = |own: &[Word]| {
            let allowed = [own, SUBJECTS.as_slice()].concat();
            let mut found: Vec<usize> = columns
                .iter()
                .enumerate()
                .filter(|(_, column)| column.reading.has(own[0]) && column.reading.has_only(&allowed))
                .filter(|(_, column)| may_be_name(column) && !is_both(column))
                .map(|(at, _)| at)
                .collect();
            // The shortest name is the plainest; of equals the first, with a value before one without.
            found.sort_by_key(|at| (columns[*at].content.filled == 0, columns[*at].reading.words.len()));
            found
        };
        let called = plain(&[Word::Called]).into_iter().find(|at| columns[*at].content.filled > 0);
        let mut first = plain(&[Word::First, Word::Name]).into_iter().next();
        if first.is_none() && called.is_none() {
            first = plain(&[Word::Initials]).into_iter().next();
        }
        let first: Vec<usize> = called.into_iter().chain(first).collect();
        let mut last = plain(&[Word::Last, Word::Name]).into_iter().next();
        let whole: Vec<usize> = plain(&[Word::Name, Word::Full]);
        let whole = whole.into_iter().chain(plain(&[Word::Full, Word::Name])).find(|at| {
            // `Customer name` of a company's export is read as the customer's, too.
            !columns[*at].reading.has(Word::Company)
        });
        if last.is_none() && !first.is_empty() {
            // `Name;Vorname`, `Nom;Prénom`: the name is the last name, unless it
            // holds the first one, too.
            last = whole.filter(|at| !holds(columns, *at, &first));
        }
        if last.is_some() && !first.is_empty() {
            let particle = plain(&[Word::Particle, Word::Name]).into_iter().next();
            let particle = particle.filter(|at| columns[*at].content.filled > 0);
            return Self { first, last, particle, reason: "called so", ..Self::default() };
        }
        let both = columns.iter().position(|column| may_be_name(column) && is_both(column));
        let full = whole.or(both).or_else(|| subject_with_names(columns));
        if full.is_some() {
            let is_turned = full == both && both.is_some_and(|at| is_turned(&columns[at]));
            let reason = "first and last name in one column: the first word, and the rest";
            return Self { full, is_turned, reason, ..Self::default() };
        }
        Self { first, last, reason: "called so", ..Self::default() }
    }

    pub(super) fn columns(&self) -> impl Iterator<Item = usize> {
        self.first.iter().copied().chain(self.last).chain(self.particle).chain(self.full)
    }
}

/// Whether the content may be names of people.
fn may_be_name(column: &Column) -> bool {
    let content = &column.content;
    let holds_names = content.share(content.with_letters) >= 0.6
        && content.share(content.emails) < 0.5
        && content.share(content.booleans) < 0.5;
    !column.is_list && (content.filled == 0 || holds_names)
}

/// Whether a column is called one of both names: `Vor- und Nachname`, `Nom et
/// prénom`. A `first name` is read as one word before.
fn is_both(column: &Column) -> bool {
    let allowed = [[Word::First, Word::Last, Word::Name].as_slice(), SUBJECTS.as_slice()].concat();
    let reading = &column.reading;
    let has_first = reading.has(Word::First) || reading.is_one_of(&["voor"]);
    let has_other = reading.has(Word::Last) || reading.has(Word::Name) && reading.has(Word::First);
    has_first && has_other && reading.has_only(&allowed)
}

/// Whether the name of the column puts the last name first, and its cells have no
/// comma that shows it.
fn is_turned(column: &Column) -> bool {
    let at = |words: &[Word]| column.reading.words.iter().position(|word| words.contains(word));
    let first = at(&[Word::First]);
    let has_commas =
        2 * column.filled_cells().filter(|cell| cell.contains(',')).count() > column.content.filled;
    first.is_some() && at(&[Word::Last, Word::Name]) < first && !has_commas
}

/// Whether most whole names hold the first name of their row.
fn holds(columns: &[Column], whole: usize, first: &[usize]) -> bool {
    let rows = 0..columns[whole].cells.len();
    let pairs = rows.filter_map(|row| {
        let first = first.iter().map(|at| columns[*at].cell(row)).find(|cell| !cell.is_empty())?;
        let whole = columns[whole].cell(row);
        (!whole.is_empty()).then(|| whole.to_lowercase().contains(&first.to_lowercase()))
    });
    let (mut all, mut held) = (0, 0);
    for is_held in pairs {
        all += 1;
        held += usize::from(is_held);
    }
    2 * held > all
}

/// A column called `Customer` or `Contactpersoon` that holds names.
fn subject_with_names(columns: &[Column]) -> Option<usize> {
    columns.iter().position(|column| {
        let Column { reading, content, is_list, .. } = column;
        !is_list
            && reading.has_any(&[Word::Customer, Word::Contact, Word::Member])
            && reading.has_only(&[Word::Customer, Word::Contact, Word::Member, Word::Kind])
            && content.filled > 0
            && content.share(content.words) >= 0.8
            && content.share(content.codes) < 0.2
            && content.share(content.emails) < 0.2
    })
}
