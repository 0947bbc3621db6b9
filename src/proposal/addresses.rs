//! Which columns hold the addresses of a row's person.

use std::collections::HashSet;

use super::columns::Column;
use super::content;
use super::vocabulary::Word;

/// People from whom on a value that most of them share is nobody's address. In
/// small files they do share a telephone.
const SHARED_EMAIL_PEOPLE: usize = 3;
const SHARED_PHONE_PEOPLE: usize = 10;
/// The least share of cells that are addresses.
const ADDRESS_SHARE: f64 = 0.5;
/// The share from which content alone makes a column one of addresses.
const SURE_SHARE: f64 = 0.8;

/// Columns of one channel, and why others were left out.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    pub(super) columns: Vec<usize>,
    pub(super) reason: String,
    pub(super) split: Option<&'static str>,
    pub(super) left_out: Vec<(usize, &'static str)>,
}

pub(super) fn emails(columns: &[Column], names: &[usize]) -> Addresses {
    let people = People { columns, names };
    let mut found = Addresses::default();
    for (at, column) in columns.iter().enumerate() {
        if !column.reading.has(Word::Email) || column.reading.has_any(&[Word::Id, Word::Name]) {
            continue;
        }
        match refuse(column, column.content.emails, &people, SHARED_EMAIL_PEOPLE) {
            Some(reason) => found.left_out.push((at, reason)),
            None => found.columns.push(at),
        }
    }
    found.reason = "holds e-mail addresses".to_owned();
    let has_filled = found.columns.iter().any(|at| columns[*at].content.filled > 0);
    if !has_filled {
        // `Login`, `Adres`: by content alone.
        let by_content = columns.iter().position(|column| {
            let is_others = [Word::Staff, Word::OtherPerson, Word::Company, Word::Email];
            !column.reading.has_any(&is_others)
                && column.content.share(column.content.emails) >= SURE_SHARE
                && column.content.filled >= 2
                && !people.share_one_value(column, SHARED_EMAIL_PEOPLE)
        });
        if let Some(at) = by_content {
            found.columns.push(at);
            found.reason = "not called so, but holds e-mail addresses".to_owned();
        }
    }
    found.split = separator(columns, &found.columns, content::is_one_email);
    found
}

pub(super) fn telephones(columns: &[Column], names: &[usize]) -> Addresses {
    let people = People { columns, names };
    let mut found = Addresses::default();
    for (at, column) in columns.iter().enumerate() {
        let reading = &column.reading;
        let is_contact_number =
            reading.has(Word::Contact) && reading.has(Word::Number) && looks_dialled(column);
        let is_called_so = reading.has(Word::Phone) || is_contact_number;
        if reading.has(Word::Fax) && column.content.filled > 0 {
            found.left_out.push((at, "a fax or the like takes no messages"));
        } else if is_called_so
            && !reading.has(Word::Fax)
            && !reading.has_any(&[Word::Id, Word::Name, Word::Email])
        {
            match refuse(column, column.content.phones, &people, SHARED_PHONE_PEOPLE) {
                Some(reason) => found.left_out.push((at, reason)),
                None => found.columns.push(at),
            }
        }
    }
    found.reason = "holds telephone numbers".to_owned();
    found.split = separator(columns, &found.columns, content::is_one_phone);
    found
}

/// Tells the rows of one person from those of several, by the name.
struct People<'a> {
    columns: &'a [Column],
    names: &'a [usize],
}

impl People<'_> {
    /// Whether one value stands for most of the people: all of `people_min`, or
    /// more than half of a few more.
    fn share_one_value(&self, column: &Column, people_min: usize) -> bool {
        let top = column.content.top.0.as_str();
        let (mut all, mut sharing) = (HashSet::new(), HashSet::new());
        for row in (0..column.cells.len()).filter(|row| !column.cell(*row).is_empty()) {
            let mut name: Vec<&str> = self.names.iter().map(|at| self.columns[*at].cell(row)).collect();
            let number = row.to_string();
            if name.iter().all(|part| part.is_empty()) {
                name.push(&number);
            }
            let name = name.join(" ");
            if column.cell(row) == top {
                sharing.insert(name.clone());
            }
            all.insert(name);
        }
        let (all, sharing) = (all.len(), sharing.len());
        all >= people_min && (sharing == all || all > people_min && 2 * sharing > all)
    }
}

/// Why a column called like an address does not hold those of the row's person.
fn refuse(column: &Column, addresses: usize, people: &People, people_min: usize) -> Option<&'static str> {
    let Column { reading, content, .. } = column;
    if reading.has(Word::Staff) {
        return Some("an address of the own staff");
    }
    if reading.has(Word::OtherPerson) {
        return Some("an address of somebody else");
    }
    if reading.has(Word::Company) {
        return Some("an address of the company");
    }
    if reading.has_any(&[Word::Attribute, Word::Country]) || is_counter(column) {
        return Some("says something of an address and is none");
    }
    if content.filled == 0 {
        // Only its name speaks for it.
        return (reading.unknown > 0 || reading.has(Word::OtherThing)).then_some("no row has a value");
    }
    if content.share(addresses) < ADDRESS_SHARE {
        return Some("holds something else than addresses");
    }
    people.share_one_value(column, people_min).then_some("holds one value on most rows: nobody's address")
}

/// Whether the name counts: `Emails`, `# of emails`, as far as numbers fill it.
fn is_counter(column: &Column) -> bool {
    let short = column.filled_cells().filter(|cell| cell.len() <= 5 && cell.parse::<u32>().is_ok()).count();
    2 * short > column.content.filled
}

/// Whether most cells begin as numbers do that are dialled.
pub(super) fn looks_dialled(column: &Column) -> bool {
    let dialled = column.filled_cells().filter(|cell| {
        let digits = cell.chars().filter(char::is_ascii_digit).count();
        digits >= 9 && cell.starts_with(['+', '0', '(']) && content::is_phone(cell)
    });
    let dialled = dialled.count();
    dialled > 0 && column.content.share(dialled) >= SURE_SHARE
}

fn separator(
    columns: &[Column],
    found: &[usize],
    is_address: impl Fn(&str) -> bool + Copy,
) -> Option<&'static str> {
    let cells: Vec<&str> = found.iter().flat_map(|at| columns[*at].filled_cells()).collect();
    content::separator(&cells, is_address)
}

/// Tokens in the name of a column with accounts of a social network.
const ACCOUNT_TOKENS: [&str; 24] = [
    "twitter", "facebook", "fb", "x", "username", "user", "name", "handle", "account", "url", "link",
    "profile", "profiel", "profil", "id", "page", "site", "website", "web", "screen", "value", "contact",
    "person", "of",
];

pub(super) fn accounts(columns: &[Column], names: &[usize], network: Word) -> Addresses {
    let people = People { columns, names };
    let mut found = Addresses::default();
    for (at, column) in columns.iter().enumerate() {
        let reading = &column.reading;
        let is_x = network == Word::Twitter
            && reading.is_one_of(&["x"])
            && reading.is_one_of(&["username", "handle", "account"]);
        if !(reading.has(network) || is_x) {
            continue;
        }
        let is_plain = reading.tokens.iter().all(|token| {
            let rest = ["twitter", "facebook"].iter().find_map(|network| token.strip_prefix(network));
            let token = rest.filter(|rest| !rest.is_empty()).unwrap_or(token);
            ACCOUNT_TOKENS.contains(&token)
        });
        let content = &column.content;
        // Facebook has numeric ids; they are long.
        let numbers = column.filled_cells().filter(|cell| {
            cell.replace(['.', ','], "").bytes().all(|byte| byte.is_ascii_digit())
                && (network == Word::Twitter || cell.len() < 6)
        });
        let numbers = numbers.count();
        let reason = if !is_plain {
            Some("says something of an account and is none")
        } else if 2 * numbers > content.filled {
            Some("holds numbers, no accounts")
        } else if content.booleans + content.dates > content.filled / 2 && content.filled > 0 {
            Some("says something of an account and is none")
        } else if people.share_one_value(column, SHARED_EMAIL_PEOPLE) {
            Some("holds one value on most rows: nobody's address")
        } else {
            None
        };
        match reason {
            Some(reason) => found.left_out.push((at, reason)),
            None => found.columns.push(at),
        }
    }
    found.reason = "holds accounts".to_owned();
    found
}
