//! Countries by the names that people give them.

use std::collections::HashMap;
use std::sync::LazyLock;

use rlibphonenumber::enums::Region;

use super::phone;

/// ISO 3166-1 codes of two and three letters, and the names of the Unicode CLDR in
/// English, Dutch, German and French, with a few that people use besides.
const COUNTRIES: &str = include_str!("countries.tsv");

static REGIONS: LazyLock<HashMap<String, Region>> = LazyLock::new(|| {
    let mut regions = HashMap::new();
    for line in COUNTRIES.lines() {
        let mut parts = line.split(['\t', '|']);
        let Some(region) = parts.clone().next().and_then(phone::find_region) else { continue };
        regions.extend(parts.by_ref().map(|name| (plain(name), region)));
    }
    regions
});

/// Letters and digits without case and accents.
fn plain(name: &str) -> String {
    let latin = deunicode::deunicode(name).to_lowercase();
    latin.chars().filter(char::is_ascii_alphanumeric).collect()
}

/// The region of a country's name or ISO code, such as `Nederland`, `NL`, `NLD`,
/// `Nederland (NL)` or `Belgi\u{eb} / Belgique`.
pub(crate) fn find(text: &str) -> Option<Region> {
    let find = |text: &str| REGIONS.get(&plain(text)).copied();
    find(text).or_else(|| {
        let parts = text.split(['/', '(', ')', '-', '|']).map(str::trim);
        let mut regions = parts.filter(|part| !part.is_empty()).map(find);
        let first = regions.next()??;
        regions.all(|region| region == Some(first)).then_some(first)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countries_are_found_by_name_and_code() {
        let cases = [
            ("NL nl NLD Nederland Netherlands NIEDERLANDE Pays-Bas Holland", "NL"),
            ("BE België Belgique Belgium Belgien Belgie", "BE"),
            ("DE DEU Deutschland Duitsland Germany Allemagne", "DE"),
            ("FR FRA Frankrijk France Frankreich", "FR"),
            ("GB UK GBR England U.K.", "GB"),
            ("CH CHE Schweiz Suisse Zwitserland Switzerland", "CH"),
            ("AT Österreich Oesterreich Oostenrijk Autriche", "AT"),
        ];
        for (names, code) in cases {
            for name in names.split(' ') {
                assert_eq!(find(name).map(|region| region.to_string()).as_deref(), Some(code), "{name}");
            }
        }
        for name in ["The Netherlands", "Nederland (NL)", "nl-NL", " nederland "] {
            assert_eq!(find(name), phone::find_region("NL"), "{name}");
        }
        assert_eq!(find("Belgi\u{eb} / Belgique"), phone::find_region("BE"));
        for name in ["", "-", "Noord-Holland", "Europe", "NL/BE", "31", "Amsterdam"] {
            assert_eq!(find(name), None, "{name}");
        }
    }
}
