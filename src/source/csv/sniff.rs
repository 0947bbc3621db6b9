//! Finds how the cells of a CSV export are separated and quoted.

use crate::source::cell_syntax::{CellSyntax, Gaps, QuotedEnd};
use crate::source::settings::{DELIMITERS, EscapeSetting, InputSettings, QuoteSetting};
use crate::source::sheet::Sheet;

/// The delimiter of Excel's own first line `sep=;`, if it names one, and that
/// line's length.
pub(super) fn excel_separator(sample: &[u8], terminator: u8) -> Option<(Option<u8>, usize)> {
    let len = memchr::memchr(terminator, sample)?;
    let line = sample[..len].strip_suffix(b"\r").unwrap_or(&sample[..len]);
    let line = line.strip_prefix(b"\"").unwrap_or(line);
    let (word, rest) = line.split_at_checked(3)?;
    let rest = rest.trim_ascii_start().strip_prefix(b"=").filter(|_| word.eq_ignore_ascii_case(b"sep"))?;
    // A spreadsheet that saves such a file adds quotes, and delimiters behind.
    let rest = rest.strip_suffix(b"\"").unwrap_or(rest);
    let delimiter = match rest {
        b"\\t" | b"tab" | b"TAB" => Some(b'\t'),
        [] => None,
        [first, others @ ..] if !first.is_ascii_alphanumeric() && first.is_ascii() => {
            let is_padding = |byte: &u8| byte == first || b"\",;\t ".contains(byte);
            others.iter().all(is_padding).then_some(Some(*first))?
        }
        _ => return None,
    };
    Some((delimiter, len + 1))
}

/// What was found in the first rows.
#[derive(Debug)]
pub(super) struct Sniffed {
    pub(super) syntax: CellSyntax,
    /// Whether rows may stand whole in quotes.
    pub(super) has_quoted_rows: bool,
    /// Whether quotes surround cells, as far as the first rows show.
    pub(super) has_quoted_cells: bool,
    /// What a person should know of it.
    pub(super) notes: Vec<String>,
}

impl Sniffed {
    /// A sheet was copied in a syntax that is known.
    pub(super) fn of_sheet(settings: &InputSettings, sheet: &Sheet) -> Self {
        let syntax = CellSyntax::of_sheet(settings);
        Self { syntax, has_quoted_rows: false, has_quoted_cells: true, notes: sheet.notes.clone() }
    }
}

pub(super) fn sniff(
    sample: &[u8],
    settings: &InputSettings,
    separator: Option<u8>,
    terminator: u8,
) -> Sniffed {
    let syntax = |delimiter| CellSyntax {
        delimiter,
        quote: settings.quote.byte(),
        escape: settings.escape,
        gaps: Gaps::Text,
    };
    let sample = Sample { text: sample, terminator };
    let outdone = separator.filter(|separator| is_outdone(&sample, *separator, &syntax));
    let fixed = settings.delimiter.0.or(separator.filter(|_| outdone.is_none()));
    let mut sniffed =
        Sniffed { syntax: syntax(b','), has_quoted_rows: false, has_quoted_cells: true, notes: Vec::new() };
    if let Some(delimiter) = quoted_rows_delimiter(&sample, fixed, &syntax) {
        sniffed.syntax = syntax(delimiter);
        sniffed.has_quoted_rows = true;
    } else {
        sniffed.syntax = syntax(fixed.unwrap_or_else(|| detect_delimiter(&sample, &syntax)));
        sniffed.has_quoted_rows = sample.has_quoted_rows(sniffed.syntax);
    }
    let Sniffed { syntax, has_quoted_rows, has_quoted_cells, notes } = &mut sniffed;
    if *has_quoted_rows {
        notes.push("rows stand whole in quotes: their cells are those inside".to_owned());
    }
    if settings.escape == EscapeSetting::Double && sample.has_backslash_quotes(*syntax) {
        syntax.escape = EscapeSetting::Backslash;
        notes.push(
            "quotes inside cells have a backslash in front: read with escape = \"backslash\"".to_owned(),
        );
    }
    if settings.quote == QuoteSetting::Double && sample.has_single_quotes(*syntax) {
        syntax.quote = QuoteSetting::Single.byte();
        notes.push("cells stand in single quotes: read with quote = \"'\"".to_owned());
    }
    if let Some(named) = outdone.filter(|_| settings.delimiter.0.is_none()) {
        let [named, found] = [named, syntax.delimiter].map(|byte| char::from(byte).to_string());
        notes.push(format!("the line sep= names {named:?}, but {found:?} separates the cells"));
    }
    if sample.has_gaps(*syntax) {
        syntax.gaps = Gaps::Ignored;
        notes.push("spaces stand between delimiters and quotes, and are left out".to_owned());
    }
    *has_quoted_cells = sample.has_quoted_cells(*syntax);
    if fixed.is_none() && !DELIMITERS.contains(&syntax.delimiter) {
        let delimiter = toml::Value::from(char::from(syntax.delimiter).to_string());
        notes.push(format!("{delimiter} separates the cells"));
    }
    sniffed
}

/// Records from which the syntax is detected.
const SAMPLE_RECORDS: usize = 200;

/// The first bytes of an export.
struct Sample<'a> {
    text: &'a [u8],
    terminator: u8,
}

impl<'a> Sample<'a> {
    /// Its records that are not blank, without one that its end cuts, and whether
    /// each is sound.
    fn records(&self, syntax: CellSyntax) -> impl Iterator<Item = (&'a [u8], bool)> {
        let (mut rest, terminator, mut count) = (self.text, self.terminator, 0);
        std::iter::from_fn(move || {
            while !rest.is_empty() {
                let (len, is_sound) = match syntax.record_end(rest, terminator) {
                    QuotedEnd::Found(Ok(len)) | QuotedEnd::Open(Ok(len)) => (len, true),
                    _ => (memchr::memchr(terminator, rest).unwrap_or(rest.len()), false),
                };
                if len == rest.len() && count > 0 {
                    return None;
                }
                let record = &rest[..len];
                rest = rest.get(len + 1..).unwrap_or_default();
                if !record.iter().all(|byte| byte.is_ascii_whitespace() || *byte == syntax.delimiter) {
                    count += 1;
                    return Some((record.strip_suffix(b"\r").unwrap_or(record), is_sound));
                }
            }
            None
        })
        .take(SAMPLE_RECORDS)
    }

    fn has_backslash_quotes(&self, syntax: CellSyntax) -> bool {
        let Some(quote) = syntax.quote else { return false };
        let slashed = CellSyntax { escape: EscapeSetting::Backslash, ..syntax };
        memchr::memmem::find(self.text, &[b'\\', quote]).is_some()
            && self.records(syntax).any(|(_, is_sound)| !is_sound)
            && self.records(slashed).all(|(_, is_sound)| is_sound)
    }

    fn has_quoted_cells(&self, syntax: CellSyntax) -> bool {
        let is_quoted = |cell: &[u8]| {
            cell.len() > 1 && cell.first().copied() == syntax.quote && cell.last().copied() == syntax.quote
        };
        self.records(syntax).any(|(record, is_sound)| {
            is_sound
                && record.split(|byte| *byte == syntax.delimiter).any(|cell| is_quoted(cell.trim_ascii()))
        })
    }

    /// Whether the names of the header stand in quotes with spaces in front.
    fn has_gaps(&self, syntax: CellSyntax) -> bool {
        let (Some(quote), Some((header, _))) = (syntax.quote, self.records(syntax).next()) else {
            return false;
        };
        let ignored = CellSyntax { gaps: Gaps::Ignored, ..syntax };
        header.first() == Some(&quote)
            && memchr::memmem::find(header, &[quote, syntax.delimiter, b' ', quote]).is_some()
            && self.records(ignored).next().is_some_and(|(_, is_sound)| is_sound)
    }

    /// Whether the header has all of its names in single quotes.
    fn has_single_quotes(&self, syntax: CellSyntax) -> bool {
        let Some((header, _)) = self.records(syntax).next() else { return false };
        let names: Vec<&[u8]> = header.split(|byte| *byte == syntax.delimiter).collect();
        names.len() > 1 && names.iter().all(|name| matches!(name, [b'\'', .., b'\'']))
    }

    /// Whether a row in quotes has, inside, as many cells as the header.
    fn has_quoted_rows(&self, syntax: CellSyntax) -> bool {
        let mut records = self.records(syntax);
        let width = records.next().map_or(0, |(header, _)| width(header, syntax));
        width >= ROW_CELLS_MIN
            && records.any(|(record, _)| {
                content(record, syntax).is_some_and(|content| self::width(&content, syntax) == width)
            })
    }
}

/// The least share of rows, in percent, that another character splits alike.
const OUTDONE_PERCENT_MIN: usize = 80;

/// Whether the line `sep=` names a character that does not split the header, and
/// another one splits every row.
fn is_outdone(sample: &Sample, separator: u8, syntax: &impl Fn(u8) -> CellSyntax) -> bool {
    let header = sample.records(syntax(separator)).next();
    let splits = header.is_some_and(|(header, _)| width(header, syntax(separator)) > 1);
    let other = syntax(detect_delimiter(sample, syntax));
    !splits
        && Score::new(sample, other)
            .is_some_and(|score| score.percent >= OUTDONE_PERCENT_MIN && score.fits_header)
}

/// Columns at fixed positions, with spaces in between: fewer are none.
const FIXED_COLUMNS_MIN: usize = 3;
/// Lines in which positions are compared.
const FIXED_LINES: usize = 20;

/// Whether the columns of a text stand at fixed positions, and no delimiter is
/// between them.
pub(super) fn has_fixed_columns(sample: &[u8], syntax: CellSyntax, terminator: u8) -> bool {
    let lines = sample.split(|byte| *byte == terminator);
    let lines = lines.filter(|line| !line.trim_ascii().is_empty()).take(FIXED_LINES);
    let lines: Vec<Vec<char>> = lines.map(|line| String::from_utf8_lossy(line).chars().collect()).collect();
    let [header, rows @ ..] = lines.as_slice() else { return false };
    let is_start = |line: &[char], at: usize| at >= 2 && line[at - 2..at] == [' ', ' '] && line[at] != ' ';
    let starts: Vec<usize> = (0..header.len()).filter(|at| is_start(header, *at)).collect();
    let is_aligned = |line: &&Vec<char>| {
        starts.iter().all(|at| line.get(at - 1).is_none_or(|before| *before == ' '))
            && starts.iter().any(|at| line.get(*at).is_some_and(|letter| *letter != ' '))
    };
    let delimiter = char::from(syntax.delimiter);
    starts.len() + 1 >= FIXED_COLUMNS_MIN
        && !header.contains(&delimiter)
        && !rows.is_empty()
        && rows.iter().all(|line| is_aligned(&line))
}

/// Text with so many delimiters may be a row.
const ROW_CELLS_MIN: usize = 3;

/// The delimiter inside of rows that stand whole in quotes, if all rows do.
fn quoted_rows_delimiter(
    sample: &Sample,
    fixed: Option<u8>,
    syntax: &impl Fn(u8) -> CellSyntax,
) -> Option<u8> {
    // Only a line end separates such rows.
    let whole = syntax(sample.terminator);
    let mut text = Vec::new();
    for (record, is_sound) in sample.records(whole) {
        text.extend(content(record, whole).filter(|_| is_sound)?);
        text.push(sample.terminator);
    }
    let inner = Sample { text: &text, terminator: sample.terminator };
    let delimiter = fixed.unwrap_or_else(|| detect_delimiter(&inner, syntax));
    let (header, _) = inner.records(syntax(delimiter)).next()?;
    (width(header, syntax(delimiter)) >= 2).then_some(delimiter)
}

/// The text of a record that is one quoted cell.
fn content(record: &[u8], syntax: CellSyntax) -> Option<Vec<u8>> {
    let quote = syntax.quote?;
    let inside = record.strip_prefix(&[quote])?.strip_suffix(&[quote])?;
    let (mut text, mut rest) = (Vec::with_capacity(inside.len()), inside);
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        if *byte == quote || *byte == b'\\' && syntax.escape == EscapeSetting::Backslash {
            let (escaped, behind) = rest.split_first()?;
            if *byte == quote && *escaped != quote {
                return None;
            }
            text.push(*escaped);
            rest = behind;
        } else {
            text.push(*byte);
        }
    }
    Some(text)
}

/// Characters that separate cells in the output of programs, besides the usual.
const RARE_DELIMITERS: &[u8] = b"^~:!#*`&=%\x01\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f";

/// Fewer rows, in percent, may be as wide as others by chance.
const RARE_PERCENT_MIN: usize = 100;
/// Fewer rows than this are too few for a rare delimiter, with the header.
const RARE_ROWS_MIN: usize = 2;

/// The delimiter with which most rows have the same number of cells; of several
/// one with which the header has it, too, and then the one that makes most cells.
/// A rare one has to split every row alike, and into more cells.
fn detect_delimiter(sample: &Sample, syntax: &impl Fn(u8) -> CellSyntax) -> u8 {
    let score = |delimiter: u8| Score::new(sample, syntax(delimiter)).map(|score| (score, delimiter));
    // Of equals the last: commas stand in texts, bars hardly ever.
    let usual = DELIMITERS.into_iter().filter_map(score).max_by_key(|(score, _)| *score);
    let first_line =
        &sample.text[..memchr::memchr(sample.terminator, sample.text).unwrap_or(sample.text.len())];
    let rare =
        RARE_DELIMITERS.iter().filter(|byte| first_line.contains(byte)).filter_map(|byte| score(*byte));
    let rare = rare.filter(|(score, _)| {
        score.percent >= RARE_PERCENT_MIN
            && score.rows >= RARE_ROWS_MIN
            && score.fits_header
            && score.is_named
    });
    let rare = rare.max_by_key(|(score, _)| *score);
    match (usual, rare) {
        (Some((usual, delimiter)), Some((rare, _)))
            if usual.percent >= RARE_PERCENT_MIN && usual.width >= rare.width =>
        {
            delimiter
        }
        (_, Some((_, rare))) => rare,
        (Some((_, usual)), None) => usual,
        (None, None) => b',',
    }
}

/// How well a delimiter splits the rows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Score {
    /// Of rows with the most common width.
    percent: usize,
    fits_header: bool,
    width: usize,
    /// Whether every column has a name.
    is_named: bool,
    rows: usize,
}

impl Score {
    fn new(sample: &Sample, syntax: CellSyntax) -> Option<Self> {
        let widths: Vec<usize> = sample.records(syntax).map(|(record, _)| width(record, syntax)).collect();
        let votes = |of: usize| widths.iter().filter(|width| **width == of).count();
        let width =
            widths.iter().copied().filter(|width| *width > 1).max_by_key(|width| (votes(*width), *width))?;
        let (header, _) = sample.records(syntax).next()?;
        let is_named = header
            .split(|byte| *byte == syntax.delimiter)
            .all(|name| name.iter().any(u8::is_ascii_alphabetic));
        let rows = widths.len();
        Some(Self {
            percent: 100 * votes(width) / rows,
            fits_header: widths[0] == width,
            width,
            is_named,
            rows,
        })
    }
}

/// The number of cells of a record.
fn width(record: &[u8], syntax: CellSyntax) -> usize {
    let (mut is_quoted, mut delimiters, mut is_escaped) = (false, 0, false);
    for byte in record {
        if is_escaped {
            is_escaped = false;
            continue;
        }
        is_quoted ^= Some(*byte) == syntax.quote;
        is_escaped = is_quoted && *byte == b'\\' && syntax.escape == EscapeSetting::Backslash;
        delimiters += usize::from(!is_quoted && *byte == syntax.delimiter);
    }
    delimiters + 1
}

/// Several characters that separate the names of a header, if so. They leave blank
/// names behind (`;;`), or stay at the names (`~|~`).
pub(super) fn several_delimiters(names: &[String], delimiter: u8) -> Option<String> {
    let delimiter = char::from(delimiter);
    let is_blank = |at: usize| names[at].is_empty();
    if names.len() >= 5 && names.len() % 2 == 1 && (0..names.len()).all(|at| is_blank(at) == (at % 2 == 1)) {
        return Some(format!("{delimiter}{delimiter}"));
    }
    let mark =
        names.first()?.chars().next_back().filter(|mark| mark.is_ascii_punctuation() && *mark != '"')?;
    let last = names.len() - 1;
    let is_marked = |(at, name): (usize, &String)| {
        (at == 0 || name.starts_with(mark)) && (at == last || name.ends_with(mark))
    };
    (names.len() >= 3 && names.iter().enumerate().all(is_marked)).then(|| format!("{mark}{delimiter}{mark}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sniffed(text: &str) -> Sniffed {
        sniff(text.as_bytes(), &InputSettings::default(), None, b'\n')
    }

    #[test]
    fn delimiters_are_found_outside_quotes_and_over_several_rows() {
        let cases: &[(&str, u8)] = &[
            ("a,b,c\n1,2,3\n", b','),
            ("a;b;c\n1;\"x,y,z,w\";3\n4;5,5;6\n", b';'),
            ("a\tb\n1,2\t3\n", b'\t'),
            ("naam|plaats, land\nJan|Delft, NL\n", b'|'),
            ("id\n1\n2\n", b','),
            ("a^b^c\n1^2^3\n", b'^'),
            ("a, b^c^d\n1, 2^3^4\n", b'^'),
            ("a~b\n1~2,5\n3~4,5\n", b'~'),
            ("id:name:shell\n1:Ann:x\n", b':'),
            ("id\x01name\n1\x01Ann, Bo\n", 1),
            ("id,time: from\n1,10: 20\n", b','),
            ("Report, of today\n\nid;a;b\n1;2;3\n4;5;6\n", b';'),
        ];
        for (text, delimiter) in cases {
            assert_eq!(char::from(sniffed(text).syntax.delimiter), char::from(*delimiter), "{text:?}");
        }
    }

    #[test]
    fn quotes_are_found_as_they_are_written() {
        let backslash = sniffed("a,b\n1,\"x \\\"y\\\", z\"\n");
        assert_eq!((backslash.syntax.escape, backslash.notes.len()), (EscapeSetting::Backslash, 1));
        // The last backslash of a folder is text.
        assert_eq!(sniffed("a,b\n1,\"C:\\dir\\\"\n2,\"x\"y\n").syntax.escape, EscapeSetting::Double);
        let rows = sniffed("\"a;b\"\n\"1;\"\"x;y\"\"\"\n");
        assert_eq!((rows.syntax.delimiter, rows.has_quoted_rows), (b';', true));
        assert!(sniffed("a,b,c\n\"1,\"\"x, y\"\",z\"\n2,3,4\n").has_quoted_rows);
        assert!(!sniffed("\"a;b;c\",d\n\"1;2\",e\n").has_quoted_rows);
        assert!(!sniffed("\"a\"\n\"x,y\"\n").has_quoted_rows);
        assert_eq!(sniffed("'a';'b'\n'1';'2'\n").syntax.quote, Some(b'\''));
        assert_eq!(sniffed("a;b\n1;'t Hart\n").syntax.quote, Some(b'"'));
    }

    #[test]
    fn a_line_that_names_the_wrong_separator_is_outdone() {
        let delimiter = |separator: u8, text: &str| {
            sniff(text.as_bytes(), &InputSettings::default(), Some(separator), b'\n').syntax.delimiter
        };
        assert_eq!(delimiter(b',', "a;b;c\n1;2;3\n4;5,5;6\n"), b';');
        assert_eq!(delimiter(b',', "a,b;c\n1,2;3\n"), b',');
        assert_eq!(delimiter(b';', "a\n1\n"), b';');
        assert_eq!(delimiter(b'^', "a^b,c\n1^2,3\n"), b'^');
    }

    #[test]
    fn spaces_before_quotes_are_left_out_where_the_header_has_them() {
        let gaps = |text: &str| sniffed(text).syntax.gaps;
        assert_eq!(gaps("\"a\", \"b, c\"\n\"1\", \"2, x\"\n"), Gaps::Ignored);
        assert_eq!(gaps("\"a\",\"b\"\n1, \"x\"\n"), Gaps::Text);
        let syntax = CellSyntax { gaps: Gaps::Ignored, ..CellSyntax::standard(b',') };
        assert_eq!(
            syntax.without_gaps(b"\"1\" , \"2, x\",  \"\",4 , \"a\"\"b\""),
            b"\"1\",\"2, x\",\"\",4 ,\"a\"\"b\""
        );
    }

    #[test]
    fn columns_at_fixed_positions_are_found() {
        let is_fixed = |text: &str| has_fixed_columns(text.as_bytes(), sniffed(text).syntax, b'\n');
        assert!(is_fixed("id    name     mail\n1     Ann      a@x.nl\n20    Zo\u{eb} X    z@x.nl\n"));
        assert!(!is_fixed("id   name\n1    Ann\n"));
        assert!(!is_fixed("id,   name,    mail\n1,    Ann,     a@x.nl\n"));
        assert!(!is_fixed("Report   of   customers\nid\n100000000000000000\n"));
        assert!(!is_fixed("id\n1\n"));
    }

    #[test]
    fn several_characters_between_cells_are_named() {
        let several = |names: &[&str], delimiter| {
            several_delimiters(&names.iter().map(ToString::to_string).collect::<Vec<_>>(), delimiter)
        };
        assert_eq!(several(&["a", "", "b", "", "c"], b';').as_deref(), Some(";;"));
        assert_eq!(several(&["a~", "~b~", "~c"], b'|').as_deref(), Some("~|~"));
        assert_eq!(several(&["a", "", "b"], b','), None);
        assert_eq!(several(&["a", "", ""], b','), None);
        assert_eq!(several(&["a.", "b.", "c"], b','), None);
    }

    #[test]
    fn excel_names_its_separator_in_a_line_of_its_own() {
        let found = |text: &str| excel_separator(text.as_bytes(), b'\n');
        assert_eq!(found("sep=;\r\na;b"), Some((Some(b';'), 7)));
        assert_eq!(found("sep=;\na;b"), Some((Some(b';'), 6)));
        assert_eq!(found("sep=;\n\na;b"), Some((Some(b';'), 6)));
        assert_eq!(found("\"sep=;\"\na;b"), Some((Some(b';'), 8)));
        assert_eq!(found("SEP =\t\na"), Some((Some(b'\t'), 7)));
        assert_eq!(found("sep=\\t\na"), Some((Some(b'\t'), 7)));
        assert_eq!(found("Sep=,;;;\na"), Some((Some(b','), 9)));
        assert_eq!(found("sep=\na"), Some((None, 5)));
        assert_eq!(found("sep=;\ra;b\n"), None);
        assert_eq!(found("sep=;x\n"), None);
        assert_eq!(found("separator;b\n"), None);
        assert_eq!(found("a;b"), None);
        assert_eq!(excel_separator(b"sep=;\r\ra;b", b'\r'), Some((Some(b';'), 6)));
    }
}
