//! What programs write and JSON does not know, where its meaning is plain.

use super::lexer::{Lexer, Token};

/// Words that Python and JavaScript write for numbers that are none.
const NO_NUMBERS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];

/// A line as JSON, if that differs: without a byte order mark or a separator before
/// its value and a comma behind it, and with null for numbers that are none. Also
/// how many these are.
pub(super) fn repaired(line: &str) -> Option<(String, u64)> {
    let is_gap = |letter: char| letter.is_whitespace() || letter == '\u{feff}' || letter == '\u{1e}';
    let value = line.trim_matches(is_gap);
    let value = value.strip_suffix(',').unwrap_or(value);
    let (mut lexer, mut found) = (Lexer::default(), String::new());
    let (mut copied, mut word, mut count) = (0, None, 0);
    // One byte more ends the last word.
    for (at, byte) in value.bytes().chain([b' ']).enumerate() {
        match (lexer.take(byte) == Token::Bare, word) {
            (true, None) => word = Some(at),
            (false, Some(from)) => {
                if NO_NUMBERS.contains(&&value.as_bytes()[from..at]) {
                    found.push_str(&value[copied..from]);
                    found.push_str("null");
                    (copied, count) = (at, count + 1);
                }
                word = None;
            }
            _ => {}
        }
    }
    found.push_str(&value[copied..]);
    (found != line).then_some((found, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_repaired_where_its_meaning_is_plain() {
        for (line, expected, count) in [
            ("{\"a\":NaN,\"b\":[-Infinity, Infinity]}", "{\"a\":null,\"b\":[null, null]}", 3),
            ("{\"a\":1},", "{\"a\":1}", 0),
            ("\u{feff}{\"a\":1}", "{\"a\":1}", 0),
            ("\u{1e}{\"a\":\"NaN, \\\"NaN\",\"b\":NaN} ,", "{\"a\":\"NaN, \\\"NaN\",\"b\":null} ", 1),
        ] {
            assert_eq!(repaired(line), Some((expected.to_owned(), count)), "{line}");
        }
        assert_eq!(repaired("{\"a\":NaNo,\"b\":1e5}"), None);
    }
}
