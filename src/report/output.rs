//! stdout is for data, stderr for people. Both may be a terminal, so no text reaches
//! them but by this file.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use serde_json::Value;

/// Writes data to stdout. A reader that has seen enough, such as `head`, fails nothing.
pub(crate) fn print_data(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(printable(&String::from_utf8_lossy(text)).as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Raised when a key is removed or gets another meaning, not when one is added.
const JSON_SCHEMA: u32 = 1;

/// JSON for programs, which rely on its keys.
pub(crate) fn json_document(mut value: Value) -> Value {
    value["schema"] = JSON_SCHEMA.into();
    value
}

/// Writes a line for people to stderr. A closed stderr fails nothing.
pub(crate) fn report_line(text: &str) {
    let _ = write_report(format!("{text}\n").as_bytes());
}

/// Writes lines to stderr.
pub(super) fn write_report(lines: &[u8]) -> io::Result<()> {
    let lines = String::from_utf8_lossy(lines);
    let lines = printable(&lines);
    // In one write, so that lines of several threads stay whole.
    let has_colors = AutoStream::choice(&io::stderr()) != ColorChoice::Never;
    let lines = if has_colors { colored(&lines).into() } else { lines };
    io::stderr().write_all(lines.as_bytes())
}

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();

/// What a line is, by its first word.
const LABELS: [(&str, Style); 3] = [("error:", ERROR), ("warning:", WARNING), ("hint:", HINT)];
/// What a log line is, by the word behind its time.
const LEVELS: [(&str, Style); 2] = [("ERROR", ERROR), ("WARN", WARNING)];

/// The same lines, their labels in colors.
fn colored(lines: &str) -> String {
    lines
        .split_inclusive('\n')
        .fold(String::with_capacity(lines.len()), |text, line| text + &colored_line(line))
}

fn colored_line(line: &str) -> Cow<'_, str> {
    for (word, labels) in line.split_whitespace().zip([&LABELS[..], &LEVELS]) {
        let label = labels.iter().find(|(label, _)| *label == word);
        if let Some(((label, style), at)) = label.zip(line.find(word)) {
            let (head, rest) = (&line[..at], &line[at + label.len()..]);
            return format!("{head}{style}{label}{style:#}{rest}").into();
        }
    }
    line.into()
}

/// The text with escapes in place of characters that a terminal obeys. Names of
/// files, headers and cells can hold them: they could hide a line or write another.
/// The escapes are those of JSON, so JSON stays what it was.
fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return text.into();
    }
    let mut printable = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_obeyed(letter) {
            let _ = write!(printable, "\\u{:04x}", u32::from(letter));
        } else {
            printable.push(letter);
        }
    }
    printable.into()
}

/// Control characters and marks of direction, but not the line ends and tabs that
/// the program itself writes.
fn is_obeyed(letter: char) -> bool {
    letter.is_control() && letter != '\n' && letter != '\t'
        || matches!(letter, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_colored_and_no_other_word() {
        let colored = colored("error: a hint: b\n  hint: c\n2026-11-28T05:00:00Z  WARN d\nno error: e\n");
        let readable = colored.replace('\u{1b}', "^");
        assert_eq!(
            readable,
            "^[1m^[31merror:^[0m a hint: b\n  ^[1m^[36mhint:^[0m c\n2026-11-28T05:00:00Z  ^[1m^[33mWARN^[0m d\nno error: e\n"
        );
    }

    #[test]
    fn a_terminal_gets_no_character_that_it_obeys() {
        for (text, shown) in [
            ("Zoë\t李\n", "Zoë\t李\n"),
            ("a\u{1b}[2Jb\rc\u{7f}", "a\\u001b[2Jb\\u000dc\\u007f"),
            ("\u{9b}31m\u{202e}nna", "\\u009b31m\\u202enna"),
        ] {
            assert_eq!(printable(text), shown);
        }
        let json = serde_json::json!("\u{9b}\u{2066}").to_string();
        assert_eq!(serde_json::from_str::<String>(&printable(&json)).expect("JSON"), "\u{9b}\u{2066}");
    }
}
