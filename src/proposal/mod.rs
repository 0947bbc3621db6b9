//! Proposes a commented configuration for an export, from its header and its
//! first rows.

use std::fmt::Write as _;
use std::path::Path;

use crate::mapping::{is_date, suggest_region};
use crate::source::{self, EncodingSetting, Export, InputSettings, Row, SourceError};

/// Rows searched for addresses.
const SAMPLE_ROWS: usize = 1000;
/// Numbers of a column from which the region is guessed.
const NUMBERS: usize = 100;

/// Words in column names for each field, the best first.
const GUESSES: [(&str, &[&str]); 7] = [
    (
        "primary_id",
        &[
            "customer number",
            "customer id",
            "klantnummer",
            "record id",
            "account id",
            "contact id",
            "external id",
            "id",
        ],
    ),
    ("firstname", &["first name", "firstname", "given name", "voornaam", "vorname", "prénom"]),
    ("lastname", &["last name", "lastname", "surname", "family name", "achternaam", "nachname", "nom"]),
    ("email", &["email", "e mail", "mail"]),
    ("telephone", &["mobile", "mobiel", "phone", "telefoon", "telephone", "telefon", "gsm"]),
    ("twitter", &["twitter"]),
    ("facebook", &["facebook"]),
];

pub(crate) fn propose(path: &Path) -> Result<String, SourceError> {
    let encoding = source::guess_encoding(path)?;
    let settings = InputSettings { encoding: EncodingSetting(encoding), ..InputSettings::default() };
    let mut export = source::open(path, &settings)?;
    let columns = export.column_names()?;
    let mut likely = columns.clone();
    for field in ["email", "telephone"] {
        for name in guess(field, &columns) {
            let cells = sample(&mut export, name)?;
            if !cells.is_empty() && !cells.iter().any(|cell| may_be(field, cell)) {
                likely.retain(|likely| likely != name);
            }
        }
    }
    let region = guess_region(&mut export, &likely)?;
    Ok(proposal(&export, encoding, &columns, &likely, region.as_deref()))
}

/// Fewer digits are no telephone number.
const DIGITS_MIN: usize = 5;

/// Whether a cell may be an address. The name of a column may suggest addresses
/// that it does not hold ("E-mail opt-in").
fn may_be(field: &str, cell: &str) -> bool {
    match field {
        "email" => cell.contains('@'),
        _ => !is_date(cell) && cell.chars().filter(char::is_ascii_digit).count() >= DIGITS_MIN,
    }
}

/// The first cells of a column that are not empty.
fn sample(export: &mut Export, name: &str) -> Result<Vec<String>, SourceError> {
    let Ok(column) = export.columns_mut().require(name) else { return Ok(Vec::new()) };
    let (mut rows, mut row, mut cells) = (export.rows(), Row::default(), Vec::new());
    for _ in 0..SAMPLE_ROWS {
        if !rows.read(&mut row).map_err(|source| export.io_error(source))? {
            break;
        }
        cells.extend(row.text(column).ok().map(|cell| cell.trim().to_owned()));
    }
    cells.retain(|cell| !cell.is_empty());
    Ok(cells)
}

/// The likely columns of a field, in the export's order.
fn guess<'a>(field: &str, columns: &'a [String]) -> Vec<&'a str> {
    let words = GUESSES.iter().find(|(name, _)| *name == field).map_or(&[][..], |(_, words)| words);
    let plain = |name: &str| name.to_lowercase().replace(['_', '-', '.'], " ");
    let fits = |name: &str, word: &str| match word {
        "id" | "nom" | "mail" => plain(name) == word,
        _ => plain(name).contains(word),
    };
    if field == "email" || field == "telephone" {
        return columns
            .iter()
            .map(String::as_str)
            .filter(|name| words.iter().any(|word| fits(name, word)))
            .collect();
    }
    words
        .iter()
        .find_map(|word| columns.iter().map(String::as_str).find(|name| fits(name, word)))
        .into_iter()
        .collect()
}

fn guess_region(export: &mut Export, columns: &[String]) -> Result<Option<String>, SourceError> {
    let mut numbers = Vec::new();
    for name in guess("telephone", columns) {
        let cells = sample(export, name)?;
        numbers.extend(cells.into_iter().filter(|cell| !cell.starts_with('+')).take(NUMBERS));
    }
    Ok(suggest_region(numbers.iter().map(String::as_str)).map(|(region, _)| region))
}

fn quoted(name: &str) -> String {
    toml::Value::from(name).to_string()
}

fn proposal(
    export: &Export,
    encoding: Option<&'static encoding_rs::Encoding>,
    columns: &[String],
    likely: &[String],
    region: Option<&str>,
) -> String {
    let mut text = String::from(
        "# Proposed from the export's header and first rows: check every line.\n\n[omnidesk]\nbase_url = \"https://account.omnidesk.com\"      # your tenant\napi_key  = { env = \"OMNIDESK_API_KEY\" }        # a key with the permission CUSTOMER_CUD\n\n[limits]\nrate = \"5/s\"\n\n[input]\n",
    );
    for (key, value) in export.detected_settings() {
        let _ = writeln!(text, "{key} = {}", quoted(&value));
    }
    if let Some(encoding) = encoding {
        let _ = writeln!(
            text,
            "encoding = {}   # guessed: check the accents in `plan --show 20`",
            quoted(&encoding.name().to_ascii_lowercase())
        );
    }
    let _ = writeln!(text, "\n[customer]");
    match guess("primary_id", likely).first() {
        Some(name) => writeln!(text, "primary_id = {}", quoted(name)),
        None => writeln!(text, "primary_id = \"\"   # no column looks like the customer's id: name it"),
    }
    .unwrap_or_default();
    let _ = writeln!(text, "brand_id = {{ value = 1 }}   # admin settings of Omnidesk, tab Brands");
    for field in ["firstname", "lastname", "email", "telephone", "twitter", "facebook"] {
        let names: Vec<String> = guess(field, likely).into_iter().map(quoted).collect();
        let value = match names.as_slice() {
            [] => continue,
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        let _ = match (field, region) {
            ("telephone", Some(region)) => {
                writeln!(
                    text,
                    "telephone = {{ column = {value}, region = \"{region}\" }}   # a guess: the country of the numbers that have no +"
                )
            }
            _ => writeln!(text, "{field} = {value}"),
        };
    }
    let mapped: Vec<&str> = GUESSES.iter().flat_map(|(field, _)| guess(field, likely)).collect();
    let rest: Vec<&String> = columns.iter().filter(|name| !mapped.contains(&name.as_str())).collect();
    let _ = writeln!(text, "\n[customer.custom]   # custom fields, by their name in Omnidesk");
    for name in rest {
        let _ =
            writeln!(text, "# {} = {}", quoted(&name.to_lowercase().replace([' ', '.'], "_")), quoted(name));
    }
    text.push_str("\n[operation]\ndefault = \"sync\"\n");
    text
}
