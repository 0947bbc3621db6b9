//! JSON whose rows do not stand one a line is copied as JSON lines first. Each row
//! stays on the line on which it begins, as far as rows have lines of their own.

use std::io::{self, BufWriter, Read, Write};

use serde_json::value::RawValue;

use super::layout::{Form, RowLayout};
use super::lexer::{Kind, Lexer, Token};
use super::repair::repaired;
use crate::source::rows::RECORD_BYTES_MAX;

const BLOCK_BYTES: usize = 64 << 10;

/// Why a file cannot be copied, and the line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CopyFault {
    /// It ends inside of a list or an object.
    Unended(u64),
    /// A page without the list that the others hold.
    NoList(u64),
}

/// Copies the rows as lines.
pub(super) fn copy(
    mut reader: impl Read,
    writer: impl Write,
    rows: &RowLayout,
) -> io::Result<Result<(), CopyFault>> {
    let mut copier = Copier::new(writer, rows);
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let got = reader.read(&mut block)?;
        if got == 0 {
            return copier.finish();
        }
        for byte in &block[..got] {
            copier.take(*byte)?;
        }
    }
}

/// What the values inside of an open container are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    /// Of an object: the member of this place in the path matters.
    Path(usize),
    /// Of a list: each element is what the list is itself.
    Elements(usize),
    /// Of an object: rows.
    Members,
    Other,
}

struct Copier<'a, W: Write> {
    writer: BufWriter<W>,
    rows: &'a RowLayout,
    lexer: Lexer,
    /// The containers around a row.
    around: Vec<Inside>,
    /// Containers of the open row, with itself.
    depth: usize,
    /// The open row.
    row: Vec<u8>,
    /// Whether a part of the open row is written already, because it is too long.
    is_long: bool,
    /// The last text outside of rows: the key of what comes.
    key: Vec<u8>,
    /// Whether the line that is written has a row.
    has_row: bool,
    /// Line ends inside of the open row follow it.
    owed: u64,
    line: u64,
    /// Whether the open page has its list.
    has_list: bool,
    /// The end of a page without a list.
    no_list: Option<u64>,
}

impl<'a, W: Write> Copier<'a, W> {
    fn new(writer: W, rows: &'a RowLayout) -> Self {
        Self {
            writer: BufWriter::new(writer),
            rows,
            lexer: Lexer::default(),
            around: Vec::new(),
            depth: 0,
            row: Vec::new(),
            is_long: false,
            key: Vec::new(),
            has_row: false,
            owed: 0,
            line: 1,
            has_list: false,
            no_list: None,
        }
    }

    fn take(&mut self, byte: u8) -> io::Result<()> {
        self.line += u64::from(byte == b'\n');
        let token = self.lexer.take(byte);
        if self.depth > 0 { self.take_inside(byte, token) } else { self.take_around(byte, token) }
    }

    /// A byte of a row.
    fn take_inside(&mut self, byte: u8, token: Token) -> io::Result<()> {
        match token {
            Token::LineEnd => self.owed += 1,
            Token::Blank | Token::Separator => {}
            // A line end in a text is an error of the row, not of its neighbours.
            Token::Text if byte == b'\n' => {
                self.owed += 1;
                self.row.push(b'\t');
            }
            Token::Open(_) => {
                self.depth += 1;
                self.row.push(byte);
            }
            Token::Close(_) => {
                self.depth -= 1;
                self.row.push(byte);
                if self.depth == 0 {
                    return self.end_row();
                }
            }
            _ => self.row.push(byte),
        }
        self.write_long_row()
    }

    /// Writes what there is of a row that is too long. The reader rejects it.
    fn write_long_row(&mut self) -> io::Result<()> {
        if self.row.len() > RECORD_BYTES_MAX {
            self.write_row_start()?;
            self.writer.write_all(&self.row)?;
            self.row.clear();
            (self.has_row, self.is_long) = (true, true);
        }
        Ok(())
    }

    /// A byte outside of rows.
    fn take_around(&mut self, byte: u8, token: Token) -> io::Result<()> {
        match token {
            Token::LineEnd => {
                self.end_value()?;
                self.writer.write_all(b"\n")?;
                self.has_row = false;
            }
            Token::Open(kind) => {
                self.end_value()?;
                return self.open(kind, byte);
            }
            Token::Close(_) => {
                self.end_value()?;
                if self.around.pop() == Some(Inside::Path(0)) && !std::mem::take(&mut self.has_list) {
                    self.no_list.get_or_insert(self.line);
                }
            }
            Token::Colon => self.has_list |= self.is_at_list(),
            Token::Comma => self.end_value()?,
            Token::TextStart => self.key.clear(),
            _ => {}
        }
        if self.holds_rows()
            && !matches!(token, Token::LineEnd | Token::Comma | Token::Close(_) | Token::Separator)
        {
            // A value that is no row is rejected as one.
            let is_gap = token == Token::Blank && self.row.is_empty();
            self.owed += u64::from(byte == b'\n');
            self.row.extend((!is_gap).then_some(if byte == b'\n' { b'\t' } else { byte }));
            self.write_long_row()?;
        } else if token == Token::Text && self.key.len() < RECORD_BYTES_MAX {
            self.key.push(byte);
        }
        Ok(())
    }

    /// Whether the value behind a key is the list of rows, or null in its place.
    fn is_at_list(&self) -> bool {
        let Some(Inside::Path(at)) = self.around.last() else { return false };
        at + 1 == self.rows.path.len() && *self.rows.path[*at] == String::from_utf8_lossy(&self.key)
    }

    /// Whether a single value would stand in place of a row.
    fn holds_rows(&self) -> bool {
        let at = match self.around.last() {
            None => 0,
            Some(Inside::Elements(at)) => *at,
            Some(_) => return false,
        };
        at == self.rows.path.len() && !matches!(self.rows.form, Form::Members(_))
    }

    /// Ends a value that is no row.
    fn end_value(&mut self) -> io::Result<()> {
        if self.row.is_empty() { Ok(()) } else { self.end_row() }
    }

    fn open(&mut self, kind: Kind, byte: u8) -> io::Result<()> {
        let path = &self.rows.path;
        // How much of the path leads here; `None` beside it.
        let place = match self.around.last() {
            None => Some(0),
            Some(Inside::Elements(at)) => Some(*at),
            Some(Inside::Path(at)) => (*path[*at] == String::from_utf8_lossy(&self.key)).then_some(at + 1),
            Some(Inside::Members | Inside::Other) => None,
        };
        let is_row = match (&self.rows.form, self.around.last()) {
            (Form::Members(_), Some(Inside::Members)) => kind == Kind::Object,
            (Form::Members(_), _) => false,
            _ if place != Some(path.len()) => false,
            (Form::Objects, _) => kind == Kind::Object,
            (Form::Cells { depth, .. }, _) => kind == Kind::List && self.lists_around() == *depth,
        };
        if is_row {
            self.row.push(byte);
            self.depth = 1;
            return Ok(());
        }
        self.around.push(match (place, kind) {
            (Some(at), Kind::List) => Inside::Elements(at),
            (Some(at), Kind::Object) if at < path.len() => Inside::Path(at),
            (Some(_), Kind::Object) if matches!(self.rows.form, Form::Members(_)) => Inside::Members,
            _ => Inside::Other,
        });
        Ok(())
    }

    fn lists_around(&self) -> usize {
        self.around.iter().rev().take_while(|inside| matches!(inside, Inside::Elements(_))).count()
    }

    /// Begins a line, if the one so far has a row.
    fn write_row_start(&mut self) -> io::Result<()> {
        if self.has_row && !self.is_long {
            self.writer.write_all(b"\n")?;
        }
        Ok(())
    }

    fn end_row(&mut self) -> io::Result<()> {
        let is_header = !self.is_long && self.fill_in();
        if !is_header {
            self.write_row_start()?;
            self.writer.write_all(&self.row)?;
            self.has_row = true;
        }
        self.row.clear();
        self.is_long = false;
        for _ in 0..self.owed {
            self.writer.write_all(b"\n")?;
            self.has_row = false;
        }
        self.owed = 0;
        Ok(())
    }

    /// Gives the row its key or the names of its cells. Returns whether it is a header.
    fn fill_in(&mut self) -> bool {
        match &self.rows.form {
            Form::Members(Some(name)) if self.row.pop_if(|last| *last == b'}').is_some() => {
                let comma = if self.row.len() > 1 { "," } else { "" };
                self.row.extend(format!("{comma}\"{name}\":\"").bytes());
                self.row.extend(&self.key);
                self.row.extend(b"\"}");
            }
            Form::Cells { names, .. } => {
                let text = String::from_utf8_lossy(&self.row).into_owned();
                let text = repaired(&text).map_or(text, |(text, _)| text);
                let Ok(cells) = serde_json::from_str::<Vec<&RawValue>>(&text) else { return false };
                let is_name = |(name, cell): (&String, &&RawValue)| {
                    cell.get().trim_matches('"') == name && cell.get().starts_with('"')
                };
                // A row with other cells stays a list, and is rejected as such.
                if cells.len() != names.len() {
                    return false;
                }
                if names.iter().zip(&cells).all(is_name) {
                    return true;
                }
                let members = names.iter().zip(cells).map(|(name, cell)| format!("\"{name}\":{cell}"));
                self.row = format!("{{{}}}", members.collect::<Vec<_>>().join(",")).into_bytes();
            }
            _ => {}
        }
        false
    }

    fn finish(mut self) -> io::Result<Result<(), CopyFault>> {
        let is_open = self.depth > 0 || !self.around.is_empty();
        self.end_value()?;
        self.writer.write_all(b"\n")?;
        self.writer.flush()?;
        Ok(match self.no_list {
            _ if is_open => Err(CopyFault::Unended(self.line)),
            Some(line) => Err(CopyFault::NoList(line)),
            None => Ok(()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::jsonl::layout::Layout;
    use crate::source::jsonl::outline::Outline;

    fn lines(text: &str) -> Result<Vec<String>, CopyFault> {
        let outline = Outline::read(text.as_bytes()).expect("memory");
        let Ok(Layout::Rows(rows)) = Layout::new(&outline) else { panic!("lines or a fault: {text}") };
        let mut copied = Vec::new();
        copy(text.as_bytes(), &mut copied, &rows).expect("memory")?;
        Ok(String::from_utf8(copied).expect("UTF-8").trim_end().lines().map(str::to_owned).collect())
    }

    fn rows(text: &str) -> Vec<String> {
        lines(text).expect("an end").into_iter().filter(|line| !line.is_empty()).collect()
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
        assert_eq!(
            lines("{\"total\":2,\n\"x\":[{\"b\":1}],\n\"records\":[\n{\"a\":1},\n{\"a\":2}]}")
                .map(|lines| lines[3..].join(" ")),
            Ok("{\"a\":1} {\"a\":2}".into())
        );
        assert_eq!(lines("[\n{\"a\":1},\n{\"a\":2}\n"), Err(CopyFault::Unended(4)));
        assert_eq!(lines("{\n\"a\":1}\n{\n\"a\":"), Err(CopyFault::Unended(4)));
        assert_eq!(lines("[]"), Ok(Vec::new()));
    }

    #[test]
    fn rows_come_out_of_every_layout() {
        for several in [
            "[{\"a\":1}]\n[{\"a\":2}]\n",
            "[{\"a\":1}][{\"a\":2}]",
            "[{\"a\":1}]\n{\"a\":2}\n",
            "[[{\"a\":1}],[{\"a\":2}]]",
            "{\"a\":1}{\"a\":2}",
            "{\"a\":1},\n{\"a\":2},\n",
            "\u{1e}{\"a\":1}\n\u{1e}{\"a\":2}\n",
            "[{\"a\":1}]\u{feff}[{\"a\":2}]",
            "{\"records\":[{\"a\":1}]}\n{\"records\":[{\"a\":2}]}\n",
            "{\"x\":{\"links\":[{\"a\":9}]},\"records\":[{\"a\":1},{\"a\":2}]}",
        ] {
            assert_eq!(rows(several), ["{\"a\":1}", "{\"a\":2}"], "{several}");
        }
        assert_eq!(
            rows("{\"7\":{\"a\":1},\"8\":{},\"\\u0039\":{\"a\":{\"b\":2}}}".replace("\\u0039", "9").as_str()),
            ["{\"a\":1,\"_key\":\"7\"}", "{\"_key\":\"8\"}", "{\"a\":{\"b\":2},\"_key\":\"9\"}"]
        );
        // A list with other cells stays one, and the reader rejects it.
        assert_eq!(
            rows("[[\"a\",\"b\"],[1,NaN],[2],[\"a\",\"b\"],[\"x\",[3]]]"),
            ["{\"a\":1,\"b\":null}", "[2]", "{\"a\":\"x\",\"b\":[3]}"]
        );
        let pages = "{\"page\":1,\"records\":[{\"a\":1}]}\n{\"page\":2,\"records\":null}\n{\"page\":3,\"status\":500}\n";
        assert_eq!(lines(pages), Err(CopyFault::NoList(3)));
        // What is no row in its place is rejected, too.
        assert_eq!(rows("[{\"a\":1}, null, 5]"), ["{\"a\":1}", "null", "5"]);
    }

    #[test]
    fn a_row_over_the_bound_is_not_kept_in_memory() {
        let text = format!("[{{\"a\":\"{}\"}},{{\"a\":2}}]", "x".repeat(3 * RECORD_BYTES_MAX));
        let found = rows(&text);
        assert_eq!((found.len(), &*found[1]), (2, "{\"a\":2}"));
        assert!(found[0].len() > 3 * RECORD_BYTES_MAX);
    }
}
