//! JSON that is not one object a line: an array of objects, objects over several
//! lines, or a list inside of one object. It is copied as JSON lines first. Each
//! object stays on the line on which it begins, as far as they have lines of
//! their own.

use std::io::{self, BufReader, BufWriter, Read, Write};

use serde::de::IgnoredAny;

/// How the objects of a file stand in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layout {
    Lines,
    /// Over several lines each, one after another.
    Stream,
    /// In a list that begins behind this offset; its name, if it is a member.
    List(usize, Option<String>),
}

/// Names of a list of records inside of one object.
const LIST_NAMES: [&str; 28] = [
    "records",
    "data",
    "results",
    "result",
    "items",
    "value",
    "values",
    "rows",
    "contacts",
    "customers",
    "persons",
    "people",
    "users",
    "members",
    "clients",
    "klanten",
    "relaties",
    "debiteuren",
    "contacten",
    "kunden",
    "kontakte",
    "entries",
    "objects",
    "list",
    "subscribers",
    "profiles",
    "hits",
    "elements",
];
/// An object with such a member is a record itself.
const RECORD_NAMES: [&str; 5] = ["id", "email", "name", "first_name", "last_name"];
/// Objects around the list.
const DEPTH_MAX: usize = 3;

impl Layout {
    /// By the first bytes. `is_whole` if there are no more.
    pub(super) fn detect(sample: &[u8], is_whole: bool) -> Self {
        let start = sample.len() - sample.trim_ascii_start().len();
        if sample[start..].starts_with(b"[") {
            return Self::List(start + 1, None);
        }
        let mut values = serde_json::Deserializer::from_slice(&sample[start..]).into_iter::<IgnoredAny>();
        let first = values.next();
        let end = start + values.byte_offset();
        let is_complete = matches!(first, Some(Ok(_)));
        let is_open = matches!(&first, Some(Err(error)) if error.is_eof());
        let is_only = is_open || is_complete && is_whole && sample[end..].trim_ascii().is_empty();
        let list = if is_only { find_list(&sample[start..]) } else { None };
        match list {
            Some((at, name)) => Self::List(start + at, Some(name)),
            None if is_complete && sample[start..end].contains(&b'\n') => Self::Stream,
            None => Self::Lines,
        }
    }
}

/// The list of records in the object at the start of `text`: the offset behind its
/// bracket, and its name.
fn find_list(text: &[u8]) -> Option<(usize, String)> {
    let mut path: Vec<String> = Vec::new();
    let (mut at, mut depth, mut key) = (0, 0_usize, None::<String>);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                let len = string_len(&text[at..])?;
                let word = String::from_utf8_lossy(&text[at + 1..at + len - 1]).into_owned();
                at += len;
                if text[at..].trim_ascii_start().first() == Some(&b':') {
                    if RECORD_NAMES.contains(&word.to_lowercase().as_str()) {
                        return None;
                    }
                    key = Some(word);
                }
                continue;
            }
            b'{' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return None;
                }
                path.extend(key.take());
            }
            b'}' => {
                depth = depth.checked_sub(1)?;
                path.pop();
            }
            b'[' => {
                let name = key.take()?;
                let is_list = LIST_NAMES.contains(&name.to_lowercase().as_str());
                let first = text[at + 1..].trim_ascii_start().first();
                if is_list && matches!(first, Some(b'{' | b']') | None) {
                    path.push(name);
                    return Some((at + 1, path.join(".")));
                }
                at += list_len(&text[at..])?;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

fn string_len(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
}

fn list_len(text: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        match text.get(at)? {
            b'"' => {
                at += string_len(&text[at..])?;
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

/// Where a file ends in the middle of an object or of its list: the line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unended(pub(super) u64);

/// Copies objects as lines. `reader` starts behind the bracket of a list.
pub(super) fn copy(
    reader: impl Read,
    writer: impl Write,
    layout: &Layout,
    line: u64,
) -> io::Result<Result<(), Unended>> {
    let mut is_list = matches!(layout, Layout::List(..));
    // Pages of an API, put together, are one list behind the other.
    let may_repeat = matches!(layout, Layout::List(_, None));
    let mut writer = BufWriter::new(writer);
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    // Line ends inside of an object follow it.
    let (mut line, mut owed, mut has_value) = (line, 0_u64, false);
    for byte in BufReader::with_capacity(1 << 16, reader).bytes() {
        let byte = byte?;
        line += u64::from(byte == b'\n');
        if in_string {
            // A line end in a text is an error of the row, not of its neighbours.
            if byte == b'\n' {
                owed += 1;
            }
            writer.write_all(&[if byte == b'\n' { b'\t' } else { byte }])?;
            in_string = byte != b'"' || is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            continue;
        }
        match byte {
            b'\n' if depth > 0 => owed += 1,
            b'\n' => {
                writer.write_all(b"\n")?;
                has_value = false;
            }
            byte if byte.is_ascii_whitespace() => {}
            b',' if depth == 0 && is_list => {}
            b'[' if depth == 0 && may_repeat && !is_list => is_list = true,
            b']' if depth == 0 && may_repeat && is_list => is_list = false,
            b']' if depth == 0 && is_list => {
                writer.flush()?;
                return Ok(Ok(()));
            }
            _ => {
                if depth == 0 && has_value && matches!(byte, b'{' | b'[') {
                    writer.write_all(b"\n")?;
                }
                has_value = true;
                writer.write_all(&[byte])?;
                match byte {
                    b'"' => in_string = true,
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                if depth == 0 && matches!(byte, b'}' | b']') && owed > 0 {
                    for _ in 0..owed {
                        writer.write_all(b"\n")?;
                    }
                    (owed, has_value) = (0, false);
                }
            }
        }
    }
    writer.write_all(b"\n")?;
    writer.flush()?;
    Ok(if is_list || depth > 0 { Err(Unended(line)) } else { Ok(()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Result<Vec<String>, Unended> {
        let layout = Layout::detect(text.as_bytes(), true);
        let start = if let Layout::List(start, _) = layout { start } else { 0 };
        let mut copied = Vec::new();
        copy(&text.as_bytes()[start..], &mut copied, &layout, 1).expect("memory")?;
        Ok(String::from_utf8(copied).expect("UTF-8").trim_end().lines().map(str::to_owned).collect())
    }

    #[test]
    fn layouts_are_told_by_the_first_bytes() {
        let name = |text: &str| match Layout::detect(text.as_bytes(), true) {
            Layout::Lines => "lines".to_owned(),
            Layout::Stream => "stream".to_owned(),
            Layout::List(_, name) => format!("list {}", name.unwrap_or_default()),
        };
        assert_eq!(name("{\"id\":1}\n{\"id\":2}\n"), "lines");
        assert_eq!(name("{broken\n{\"id\":2}\n"), "lines");
        assert_eq!(name("{\n\"id\":1\n}\n{\n\"id\":2\n}\n"), "stream");
        assert_eq!(name(" [{\"id\":1}]"), "list ");
        assert_eq!(name("{\"total\":1,\"tags\":[1],\"records\":[{\"id\":1}]}"), "list records");
        assert_eq!(name("{\"data\":{\"items\":[{\"id\":1}]}}"), "list data.items");
        // A customer with a list is a customer.
        assert_eq!(name("{\"id\":1,\"contacts\":[{\"id\":2}]}\n"), "lines");
        assert_eq!(name("{\"phones\":[{\"number\":2}]}\n"), "lines");
    }

    #[test]
    fn objects_become_lines_and_keep_theirs() {
        assert_eq!(
            lines("[{\"a\": 1}, {\"a\":\"]},\"}]"),
            Ok(vec!["{\"a\":1}".into(), "{\"a\":\"]},\"}".into()])
        );
        let pretty = "{\n \"a\": \"x y\"\n}\n{\n \"a\": [\n2]\n}\n";
        assert_eq!(
            lines(pretty),
            Ok(vec!["{\"a\":\"x y\"}".into(), "".into(), "".into(), "{\"a\":[2]}".into()])
        );
        assert_eq!(lines("[\n{\"a\":1},\n{\"a\":2}\n"), Err(Unended(4)));
        for several in ["[{\"a\":1}]\n[{\"a\":2}]\n", "[{\"a\":1}][{\"a\":2}]", "[{\"a\":1}]\n{\"a\":2}\n"] {
            let lines = lines(several).expect("an end");
            let rows: Vec<&String> = lines.iter().filter(|line| !line.is_empty()).collect();
            assert_eq!(rows, ["{\"a\":1}", "{\"a\":2}"], "{several}");
        }
        assert_eq!(lines("{\n\"a\":1}\n{\n\"a\":"), Err(Unended(4)));
        assert_eq!(lines("[]"), Ok(Vec::new()));
    }
}
