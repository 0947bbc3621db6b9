//! The region of telephone numbers without a country code.

use std::collections::HashMap;

use super::columns::Column;
use super::vocabulary::{LANGUAGES, Word};
use crate::mapping::{
    NationalNumber, RegionFit, clear_winner, find_country, find_region, is_valid_telephone, rank_regions,
    region_of,
};
use crate::units::Count;

/// The least share of the national numbers that are valid in their row's country.
const VALID_SHARE: f64 = 0.6;
/// The least share of numbers that a `+` in front makes valid. Hardly any national
/// numbers are valid so.
const WITH_PLUS_SHARE: f64 = 0.8;
/// The share of cells in a column of countries that name one.
const COUNTRY_SHARE: f64 = 0.8;

/// Words in the names of columns for mobile numbers.
const MOBILE: [&str; 12] = [
    "mobile",
    "mobiel",
    "mobiele",
    "mobil",
    "mobiltelefon",
    "mobilfunk",
    "handy",
    "gsm",
    "cell",
    "cellphone",
    "portable",
    "natel",
];

/// What is proposed for `region` and `region_column`, with the reason.
#[derive(Debug, Default)]
pub(super) struct RegionProposal {
    pub(super) region: Option<String>,
    pub(super) column: Option<usize>,
    pub(super) reason: String,
    /// Whether a person has to decide.
    pub(super) is_open: bool,
    /// Whether all numbers have their country code, and none the `+` before it.
    pub(super) lacks_plus: bool,
}

/// A number without `+`, and its row.
struct National<'a> {
    row: usize,
    text: &'a str,
    is_called_mobile: bool,
}

impl RegionProposal {
    pub(super) fn new(columns: &[Column], telephones: &[usize], emails: &[usize]) -> Self {
        let mut national = Vec::new();
        let mut abroad: HashMap<String, usize> = HashMap::new();
        let cells = telephones.iter().flat_map(|at| {
            let is_called_mobile = columns[*at].reading.is_one_of(&MOBILE);
            columns[*at].cells.iter().enumerate().map(move |(row, cell)| (row, cell, is_called_mobile))
        });
        for (row, cell, is_called_mobile) in cells {
            for text in super::content::phones_in(cell) {
                // Spreadsheets write an apostrophe in front of text.
                let text = text.trim_start_matches('\'');
                let plus = text.strip_prefix("00").map(|rest| format!("+{rest}"));
                let plus = plus.as_deref().or_else(|| text.starts_with('+').then_some(text));
                match plus {
                    Some(plus) => {
                        let region = region_of(plus).map(|region| region.to_string());
                        region.into_iter().for_each(|region| *abroad.entry(region).or_default() += 1);
                    }
                    None => national.push(National { row, text, is_called_mobile }),
                }
            }
        }
        if national.is_empty() {
            // `0031…` needs a region from which it is dialled.
            let has_zeros =
                telephones.iter().any(|at| columns[*at].filled_cells().any(|cell| cell.starts_with("00")));
            let most = abroad.iter().max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0)));
            let region = most.map(|(region, _)| region.clone()).filter(|_| has_zeros);
            let reason = region.as_ref().map(|_| "all numbers have a country code".to_owned());
            return Self { region, reason: reason.unwrap_or_default(), ..Self::default() };
        }
        let hint = Hints::new(columns, emails, &abroad);
        let numbers: Vec<NationalNumber> = national
            .iter()
            .map(|number| NationalNumber { text: number.text, is_called_mobile: number.is_called_mobile })
            .collect();
        let ranked = rank_regions(&numbers, |region| hint.of(&region.to_string()));
        let clear = clear_winner(&ranked);
        if let Some(found) = Self::by_country(columns, &national, clear) {
            return found;
        }
        if let Some(found) = Self::without_plus(&national, clear).filter(|_| abroad.is_empty()) {
            return found;
        }
        match clear {
            Some(fit) => Self {
                region: Some(fit.region.to_string()),
                reason: format!("{} numbers without + are valid there", of(fit.valid, fit.numbers)),
                ..Self::default()
            },
            None => Self { reason: undecided(&ranked), is_open: true, ..Self::default() },
        }
    }

    /// Numbers such as `49151…`, if more of them are valid with a `+` than in a region.
    fn without_plus(national: &[National], clear: Option<&RegionFit>) -> Option<Self> {
        let has_code = |number: &&National| !number.text.starts_with('0');
        let valid = national
            .iter()
            .filter(has_code)
            .filter(|number| region_of(&format!("+{}", number.text)).is_some());
        let (valid, all) = (valid.count(), national.len());
        let is_better = clear.is_none_or(|fit| valid * fit.numbers > fit.valid * all);
        let reason = format!("{} numbers are valid with a + in front", of(valid, all));
        (is_better && valid as f64 >= WITH_PLUS_SHARE * all as f64).then(|| Self {
            reason,
            lacks_plus: true,
            ..Self::default()
        })
    }

    /// The column of countries, if the numbers are valid in those.
    fn by_country(columns: &[Column], national: &[National], clear: Option<&RegionFit>) -> Option<Self> {
        let mut best: Option<(usize, usize, usize)> = None;
        for (at, column) in
            columns.iter().enumerate().filter(|(_, column)| !column.is_list && names_countries(column))
        {
            let regions = national.iter().map(|number| (number, find_country(column.cell(number.row))));
            let known: Vec<bool> = regions
                .filter_map(|(number, region)| Some(is_valid_telephone(number.text, region?)))
                .collect();
            let valid = known.iter().filter(|valid| **valid).count();
            let is_good =
                valid as f64 >= VALID_SHARE * known.len() as f64 && 2 * known.len() >= national.len();
            if is_good && valid > 0 && best.is_none_or(|(_, most, _)| valid > most) {
                best = Some((at, valid, known.len()));
            }
        }
        let (at, valid, known) = best?;
        let region = clear.filter(|_| known < national.len()).map(|fit| fit.region.to_string());
        let rest = if region.is_some() { "; region counts where the country is blank" } else { "" };
        let reason = format!("{} numbers without + are valid in the row's country{rest}", of(valid, known));
        Some(Self { region, column: Some(at), reason, ..Self::default() })
    }
}

fn of(part: usize, all: usize) -> String {
    format!("{} of {}", Count(part as u64), Count(all as u64))
}

fn undecided(ranked: &[RegionFit]) -> String {
    let names: Vec<String> = ranked
        .iter()
        .take(2)
        .map(|fit| format!("{} ({} valid)", fit.region, of(fit.valid, fit.numbers)))
        .collect();
    match names.as_slice() {
        [] => "numbers without + are valid in no region".to_owned(),
        [one] => format!("numbers without + need region, perhaps {one}"),
        _ => format!("numbers without + need region, perhaps {}", names.join(" or ")),
    }
}

/// Whether a column is one of countries, by its name and its content.
fn names_countries(column: &Column) -> bool {
    let Column { reading, content, .. } = column;
    let others = [Word::Phone, Word::Staff, Word::OtherPerson, Word::Name];
    if !reading.has(Word::Country) || reading.has_any(&others) || content.filled == 0 {
        return false;
    }
    let found = column.filled_cells().filter(|cell| find_country(cell).is_some()).count();
    content.share(found) >= COUNTRY_SHARE
}

/// What else speaks for a region: numbers with `+`, domains, post codes and the
/// language of the header. From 0 to 1.
struct Hints(HashMap<String, f64>);

impl Hints {
    fn new(columns: &[Column], emails: &[usize], abroad: &HashMap<String, usize>) -> Self {
        let mut hints: HashMap<String, f64> = HashMap::new();
        let mut add = |region: &str, hint: f64| *hints.entry(region.to_owned()).or_default() += hint;
        let total: usize = abroad.values().sum();
        for (region, count) in abroad {
            add(region, 0.8 * *count as f64 / total as f64);
        }
        let domains = domains(columns, emails);
        let total: usize = domains.values().sum();
        for (region, count) in domains {
            // Few addresses say little.
            add(&region, 0.5 * count as f64 / (total as f64 + 1.0));
        }
        for column in columns {
            let content = &column.content;
            if content.filled > 0 && content.share(content.postcodes_nl) >= 0.5 {
                add("NL", 0.6);
            }
            if content.filled > 0 && content.share(content.postcodes_gb) >= 0.5 {
                add("GB", 0.6);
            }
        }
        let counts = LANGUAGES.iter().map(|(words, regions)| {
            let words: Vec<&str> = words.split_whitespace().collect();
            let tokens = columns.iter().flat_map(|column| &column.reading.tokens);
            (tokens.filter(|token| words.contains(&token.as_str())).count(), *regions)
        });
        let counts: Vec<(usize, &[(&str, f64)])> = counts.collect();
        let most = counts.iter().map(|(count, _)| *count).max().unwrap_or_default();
        for (count, regions) in counts {
            if count > 0 && count == most {
                regions.iter().for_each(|(region, hint)| add(region, *hint));
            }
        }
        Self(hints)
    }

    fn of(&self, region: &str) -> f64 {
        self.0.get(region).copied().unwrap_or_default().min(1.0)
    }
}

/// Addresses by the region of their domain.
fn domains(columns: &[Column], emails: &[usize]) -> HashMap<String, usize> {
    let mut domains: HashMap<String, usize> = HashMap::new();
    for cell in emails.iter().flat_map(|at| columns[*at].filled_cells()) {
        let end = cell.rsplit('.').next().unwrap_or_default().trim().to_uppercase();
        let code = if end == "UK" { "GB".to_owned() } else { end };
        // Domains that are in use everywhere.
        if code.len() == 2
            && !["CO", "IO", "ME", "TV", "AI"].contains(&code.as_str())
            && find_region(&code).is_some()
        {
            *domains.entry(code).or_default() += 1;
        }
    }
    domains
}
