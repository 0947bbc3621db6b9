//! The texts between several addresses in one cell.

/// What people and programs write between addresses, the longest first.
pub(crate) const SEPARATORS: [&str; 17] = [
    " ::: ", " oder ", " und ", " and ", " of ", " or ", " ou ", " en ", " et ", " - ", ";", "|", "\n", "/",
    "&", ",", " ",
];

/// Splits a cell. Spaces around a sign may be missing in the cell. Those around a
/// word or a hyphen are a part of it: `geoff@example.com of 020-7654321`.
pub(crate) fn split<'a>(cell: &'a str, separator: &'a str) -> impl Iterator<Item = &'a str> + Clone {
    let sign = separator.trim();
    let is_spaced = sign.is_empty() || sign == "-" || sign.chars().all(char::is_alphabetic);
    cell.split(if is_spaced { separator } else { sign }).map(str::trim)
}

/// The separator between the addresses of a cell that holds nothing else.
pub(super) fn find(cell: &str, is_address: impl Fn(&str) -> bool) -> Option<&'static str> {
    SEPARATORS.into_iter().find(|separator| {
        let parts = split(cell, separator).filter(|part| !part.is_empty());
        parts.clone().nth(1).is_some() && parts.clone().all(&is_address)
    })
}

/// How to split the cells of a field.
pub(super) fn hint(field: &str, separator: &str) -> String {
    format!(
        "set split to the text between them, such as {field} = {{ column = \"…\", split = {separator:?} }}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_hyphens_separate_only_between_spaces() {
        let split = |cell, separator| split(cell, separator).collect::<Vec<_>>().join("+");
        assert_eq!(split("geoff@a.nl of b@a.nl", " of "), "geoff@a.nl+b@a.nl");
        assert_eq!(split("020-1 - 020-2", " - "), "020-1+020-2");
        assert_eq!(split("a@a.nl/ b@a.nl", " / "), "a@a.nl+b@a.nl");
        assert_eq!(split("a@a.nl b@a.nl", " "), "a@a.nl+b@a.nl");
        assert_eq!(find("a@a.nl / b@a.nl", |part| part.contains('@')), Some("/"));
        assert_eq!(find("a@a.nl of x", |part| part.contains('@')), None);
        assert_eq!(find("a@a.nl", |part| part.contains('@')), None);
    }
}
