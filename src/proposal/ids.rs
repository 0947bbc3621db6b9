//! Which column holds the id of a row's person.

use std::collections::{HashMap, HashSet};

use super::addresses::looks_dialled;
use super::columns::Column;
use super::vocabulary::{PLACEHOLDER_IDS, Word};

/// The least rank of a column that may be proposed.
const RANK_MIN: f64 = 50.0;
/// Rows that may repeat an id by mistake.
const REPEATS_SHARE: f64 = 0.01;
/// Rows without an id from which a column holds no ids.
const FILL_MIN: f64 = 0.5;

/// A column that may hold the ids.
#[derive(Debug, Clone)]
pub(super) struct IdColumn {
    pub(super) at: usize,
    score: f64,
    /// Rows with an id that an earlier row has.
    pub(super) repeats: usize,
    /// Rows that share an id with somebody of another name and address.
    pub(super) strangers: usize,
    /// A value that stands for "nobody", and its rows.
    pub(super) placeholder: Option<(String, usize)>,
    pub(super) is_of_company: bool,
}

/// The proposed id, and others to mention.
#[derive(Debug, Default)]
pub(super) struct Ids {
    pub(super) chosen: Option<IdColumn>,
    /// Others that would do as well.
    pub(super) others: Vec<usize>,
    /// Columns that look like an id and would do harm.
    pub(super) harmful: Vec<IdColumn>,
}

impl Ids {
    pub(super) fn find(columns: &[Column], person: &Person) -> Self {
        let mut found: Vec<IdColumn> =
            (0..columns.len()).filter_map(|at| IdColumn::new(columns, at, person)).collect();
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        let (mut good, mut harmful): (Vec<IdColumn>, Vec<IdColumn>) =
            found.into_iter().partition(|id| !id.is_harmful(columns));
        // Without people of their own, rows with other companies are companies.
        let has_people =
            columns.iter().any(|column| column.reading.has_any(&[Word::First, Word::Last, Word::Called]));
        let company = harmful.iter().position(|id| id.is_alone_in_its_row(columns));
        if let Some(company) = company.filter(|_| good.is_empty() && !has_people) {
            good.push(harmful.remove(company));
        }
        let mut good = good.into_iter();
        let chosen = good.next();
        let others = good.filter(|id| id.repeats == 0 && columns[id.at].content.fill() >= 0.99);
        Self { others: others.map(|id| id.at).collect(), chosen, harmful }
    }
}

impl IdColumn {
    fn new(columns: &[Column], at: usize, person: &Person) -> Option<Self> {
        let column = &columns[at];
        let (rank, is_of_company) = rank(column)?;
        let content = &column.content;
        let is_other_kind = content.share(content.dates) > 0.5 || content.share(content.booleans) > 0.5;
        let is_rounded = content.filled > 0 && 2 * content.rounded > content.filled;
        if column.is_list || is_other_kind || is_rounded || content.filled > 0 && content.fill() < FILL_MIN {
            return None;
        }
        let groups = Groups::new(columns, at, person);
        let repeats = content.repeats();
        let mut score = rank - 40.0 * (1.0 - content.fill());
        if repeats > groups.tolerated(content.rows) && groups.same == 0 {
            score -= 30.0;
        }
        let Groups { strangers, placeholder, .. } = groups;
        let id = Self { at, score, repeats, strangers, placeholder, is_of_company };
        (rank >= RANK_MIN && (score >= RANK_MIN || is_of_company)).then_some(id)
    }

    /// Whether it is another company in each row.
    fn is_alone_in_its_row(&self, columns: &[Column]) -> bool {
        let content = &columns[self.at].content;
        self.is_of_company && self.repeats == 0 && content.filled == content.rows && content.rows > 1
    }

    /// Whether the values count the rows from 1 on.
    pub(super) fn counts_rows(&self, columns: &[Column]) -> bool {
        let Column { cells, reading, .. } = &columns[self.at];
        let is_bare = reading.has_only(&[Word::Number, Word::Id, Word::Code]);
        let mut rows = cells.iter().zip(1_usize..);
        is_bare && cells.len() >= 3 && rows.all(|(cell, row)| *cell == row.to_string())
    }

    /// Whether different people would become one customer.
    fn is_harmful(&self, columns: &[Column]) -> bool {
        let rows = columns[self.at].content.rows;
        self.is_of_company || self.strangers > (rows as f64 * REPEATS_SHARE) as usize
    }
}

/// Rows with the same id.
#[derive(Debug, Default)]
struct Groups {
    /// Groups in which rows agree about the person.
    same: usize,
    strangers: usize,
    placeholder: Option<(String, usize)>,
}

impl Groups {
    fn new(columns: &[Column], at: usize, person: &Person) -> Self {
        let mut groups: HashMap<&str, Vec<usize>> = HashMap::new();
        for row in 0..columns[at].cells.len() {
            let id = columns[at].cell(row);
            if !id.is_empty() {
                groups.entry(id).or_default().push(row);
            }
        }
        let mut found = Self::default();
        for (id, rows) in groups.into_iter().filter(|(_, rows)| rows.len() > 1) {
            if PLACEHOLDER_IDS.contains(&id.to_lowercase().as_str()) {
                found.placeholder = Some((id.to_owned(), rows.len()));
                continue;
            }
            match rows[1..].iter().filter(|row| person.differs(columns, rows[0], **row)).count() {
                0 => found.same += 1,
                others => found.strangers += others + 1,
            }
        }
        found
    }

    fn tolerated(&self, rows: usize) -> usize {
        let placeholders = self.placeholder.as_ref().map_or(0, |(_, rows)| *rows);
        (rows as f64 * REPEATS_SHARE) as usize + placeholders
    }
}

/// The columns that tell people apart.
#[derive(Debug, Default)]
pub(super) struct Person {
    pub(super) names: Vec<usize>,
    pub(super) emails: Vec<usize>,
    pub(super) telephones: Vec<usize>,
}

impl Person {
    /// Whether two rows are about different people: their names have no word in
    /// common, and their e-mail addresses are not the same. Without names, all
    /// addresses differ. A telephone alone may be that of a company.
    fn differs(&self, columns: &[Column], a: usize, b: usize) -> bool {
        let texts = |fields: &[usize], row: usize, part: fn(&str) -> Vec<String>| -> HashSet<String> {
            fields.iter().flat_map(|at| part(columns[*at].cell(row))).collect()
        };
        let name: fn(&str) -> Vec<String> = |cell| {
            let words = cell
                .split([' ', '\u{a0}', '-', ','])
                .filter(|word| !word.is_empty())
                .filter(|word| !word.starts_with(char::is_lowercase));
            words.map(str::to_lowercase).collect()
        };
        let email: fn(&str) -> Vec<String> =
            |cell| Some(cell.to_lowercase()).filter(|cell| !cell.is_empty()).into_iter().collect();
        let telephone: fn(&str) -> Vec<String> = |cell| {
            let digits: String = cell.chars().filter(char::is_ascii_digit).collect();
            // The last ones: with and without the country code.
            digits
                .get(digits.len().saturating_sub(8)..)
                .filter(|end| end.len() >= 6)
                .map(str::to_owned)
                .into_iter()
                .collect()
        };
        // Nothing where one of the two has no value.
        let differ = |fields: &[usize], part: fn(&str) -> Vec<String>| {
            let (a, b) = (texts(fields, a, part), texts(fields, b, part));
            (!a.is_empty() && !b.is_empty()).then(|| a.is_disjoint(&b))
        };
        match (differ(&self.names, name), differ(&self.emails, email), differ(&self.telephones, telephone)) {
            (Some(false), ..) | (_, Some(false), _) => false,
            (Some(true), Some(true), _) => true,
            // A last name alone changes with a marriage.
            (Some(true), None, _) => [a, b].iter().all(|row| texts(&self.names, *row, name).len() >= 2),
            (None, Some(true), telephone) => telephone == Some(true) || self.names.is_empty(),
            (None, None, _) => false,
        }
    }
}

/// How well a column's name names the id of the person, from 0 to 100, and
/// whether it is the company's.
fn rank(column: &Column) -> Option<(f64, bool)> {
    use Word::{
        Attribute, Code, Company, Contact, Country, Customer, Email, External, Facebook, Fax, First, Id,
        Kind, Last, Member, Name, Number, OtherPerson, OtherThing, Phone, Record, Staff, Twitter, Vendor,
    };
    let Column { reading, content, .. } = column;
    let never = [
        Staff,
        OtherPerson,
        OtherThing,
        Attribute,
        Email,
        Phone,
        Twitter,
        Facebook,
        Fax,
        Country,
        First,
        Last,
        Name,
    ];
    if reading.has_any(&never) {
        return None;
    }
    let is_number = reading.has(Number) || reading.has(Code);
    // `Contact number` may be one to dial.
    let is_dialled = !reading.has(Id) && reading.has_any(&[Contact, Member]) && looks_dialled(column);
    let is_named = (reading.has(Id) || is_number) && !is_dialled;
    // `customer`, `(Do Not Modify) Contact`: codes under the name of the subject alone.
    let is_coded = content.filled > 0 && content.share(content.codes) >= 0.9;
    let is_subject = reading.has_any(&[Customer, Contact, Member]);
    let is_bare_subject = !is_named && reading.unknown == 0 && (is_subject || reading.has(Company));
    if !(is_named || is_bare_subject && is_coded) {
        return None;
    }
    let is_of_company = reading.has(Company) && !reading.has(Customer);
    let mut rank = match () {
        () if is_of_company => 50.0,
        () if is_bare_subject && reading.is_key_of_record => 88.0,
        () if is_bare_subject => 70.0,
        () if reading.has(External) => 100.0,
        () if reading.has(Customer) && reading.has(Id) => 92.0,
        () if reading.has(Customer) => 90.0,
        // SuperOffice calls a company a contact, and Close calls it a lead.
        () if reading.is_one_of(&["person", "persoon", "personen", "personne"]) => 87.0,
        () if reading.is_one_of(&["lead"]) => 75.0,
        () if reading.has_any(&[Contact, Member]) => 85.0,
        () if reading.has(Vendor) => 70.0,
        () if reading.has(Record) || reading.has(Id) => 80.0,
        () => 60.0,
    };
    const ARTICLES: [&str; 10] = ["the", "of", "your", "uw", "de", "van", "der", "du", "le", "la"];
    let has_kind = reading.has(Kind) && !reading.is_one_of(&ARTICLES);
    if !is_of_company {
        rank -= 25.0 * (reading.unknown as f64 + f64::from(u8::from(has_kind)));
    }
    Some((rank, is_of_company))
}
