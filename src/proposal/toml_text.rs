//! Text as TOML, whatever is in it.

use std::fmt::Write as _;

/// A basic string on one line. Control characters, and marks that turn or hide
/// text, are escaped, so that it can also stand in a comment.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            letter if is_hidden(letter) => {
                let _ = write!(quoted, "\\u{:04X}", letter as u32);
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{AD}' | '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

/// One string, or a list of several.
pub(super) fn list(texts: &[&str]) -> String {
    match texts {
        [one] => quoted(one),
        several => {
            let several: Vec<String> = several.iter().map(|text| quoted(text)).collect();
            format!("[{}]", several.join(", "))
        }
    }
}

/// A key for a custom field.
pub(super) fn key(name: &str) -> String {
    let plain: String = name
        .to_lowercase()
        .chars()
        .map(|letter| if letter.is_alphanumeric() { letter } else { '_' })
        .collect();
    let words: Vec<&str> = plain.split('_').filter(|word| !word.is_empty()).collect();
    let key = words.join("_");
    let is_bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_bare { key } else { quoted(&key) }
}

/// A column in a template: by its bare name where that is an identifier.
pub(super) fn variable(name: &str) -> String {
    let is_identifier = name.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !["row", "true", "false", "none", "not", "and", "or", "in", "is", "if", "else", "loop", "self"]
            .contains(&name.to_lowercase().as_str());
    if is_identifier {
        return name.to_owned();
    }
    format!("row[{}]", text_in_expression(name))
}

/// A text in an expression.
pub(super) fn text_in_expression(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_valid_toml(text in "\\PC*|[\u{0}-\u{20}\"'\\\\#=\u{7f}-\u{a0}\u{2028}\u{202e}a]{0,12}") {
            let line = format!("{} = {}   # {}\n", key(&text), quoted(&text), quoted(&text));
            let table: toml::Table = line.parse().expect("TOML");
            prop_assert_eq!(table.values().next().and_then(|value| value.as_str()), Some(text.as_str()));
        }
    }
}
