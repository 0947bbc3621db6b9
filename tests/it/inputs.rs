//! Unusual inputs: a bounded form of the fuzz targets in `fuzz/`, and a round trip
//! through the CSV writer of the `csv` crate.

use omnidesk_sync::source::{DelimiterSetting, EncodingSetting, FormatSetting, InputSettings, Row, RowFault};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::properties::{
    COLUMNS, MappingCase, check_answer, check_config, check_config_hides_key, check_mapping, check_rows,
    open_export,
};
use crate::world::proptest_config;

/// Parts of files that readers get wrong.
const CSV_PARTS: [&[u8]; 26] = [
    b",",
    b",",
    b";",
    b"\t",
    b"|",
    b"\"",
    b"\"",
    b"\"\"",
    b"\n",
    b"\n",
    b"\r\n",
    b"\r",
    b"\0",
    b" ",
    b"\x0c",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xfe\xff",
    b"\xe9",
    b"\x80\xff",
    b"\xef\xbf\xbd",
    b"a",
    b"id",
    b"1",
    b"sep=;",
    b"_sync_line",
];

const JSON_PARTS: [&[u8]; 26] = [
    b"{",
    b"}",
    b"{}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\\",
    b"\\u00e9",
    b"\\ud800",
    b"\"id\":",
    b"\"a\":",
    b"\"b\":",
    b"{\"a\":{\"b\":1}}",
    b"\"_sync_line\":1",
    b"null",
    b"true",
    b"1.10",
    b"1e999",
    b"\n",
    b"\n",
    b"\r\n",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\0",
];

const HEADS: [&[u8]; 7] =
    [b"", b"id,name\n", b"id;name\r\n", b"\xef\xbb\xbfid\n", b"sep=;\r\nid;b\r\n", b"sep=|\n\nid\n", b"id\r"];

fn bytes_of(parts: &'static [&'static [u8]], count_max: usize) -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        9 => select(parts).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 1..4),
    ];
    vec(part, 0..count_max).prop_map(|parts| parts.concat())
}

fn settings() -> impl Strategy<Value = InputSettings> {
    let encodings = [None, Some(encoding_rs::WINDOWS_1252), Some(encoding_rs::SHIFT_JIS)];
    let delimiters = [None, None, Some(b','), Some(b';'), Some(b'\t'), Some(b'|')];
    (select(encodings.to_vec()), select(delimiters.to_vec())).prop_map(|(encoding, delimiter)| {
        InputSettings {
            encoding: EncodingSetting(encoding.map(Into::into)),
            delimiter: DelimiterSetting(delimiter),
            ..InputSettings::default()
        }
    })
}

proptest! {
    #![proptest_config(proptest_config(400))]

    #[test]
    fn any_bytes_are_csv_rows_without_a_gap(
        head in select(&HEADS[..]),
        tail in bytes_of(&CSV_PARTS, 60),
        settings in settings(),
    ) {
        check_rows(&[head, &tail].concat(), &settings);
    }

    #[test]
    fn any_bytes_are_json_lines_without_a_gap(bytes in bytes_of(&JSON_PARTS, 60), settings in settings()) {
        check_rows(&bytes, &InputSettings { format: FormatSetting::Jsonl, ..settings });
    }

    #[test]
    fn any_answer_has_a_meaning(
        status in 0..700_u16,
        kind in any::<u8>(),
        wait in "[0-9]{0,30}|.{0,10}|Mon, [0-9]{2} Nov [0-9]{4} 10:00:00 GMT",
        body in prop_oneof![
            bytes_of(&JSON_PARTS, 40),
            "\\PC{0,400}|.{0,400}".prop_map(|message| serde_json::json!({"status": "error", "message": message}).to_string().into_bytes()),
        ],
    ) {
        check_answer(status, kind, &wait, &body);
    }

    #[test]
    fn no_error_of_a_configuration_shows_the_key(
        before in vec(config_line(), 0..8),
        form in any::<u8>(),
        after in vec(config_line(), 0..8),
    ) {
        check_config_hides_key(&before.join("\n"), form, &after.join("\n"));
    }
}

/// Valid and invalid lines of configurations.
const CONFIG_LINES: [&str; 24] = [
    "[omnidesk]",
    "base_url = \"https://a.omnidesk.com\"",
    "auth = \"heder\"",
    "timeout = \"\"\"",
    "\"\"\"",
    "exists_texts = [",
    "]",
    "settle = '''",
    "[limits]",
    "rate = \"5/s\"",
    "concurrency = 0",
    "max_errors = { a = ",
    "[input]",
    "delimiter = \"\\t\"",
    "encoding = \"é\"",
    "[customer]",
    "primary_id = \"id\"",
    "brand_id = { value = 2 }",
    "email = []",
    "[customer.custom]",
    "\"Größe\" = { template = \"{{ x }\" }",
    "[[operation.rule]]",
    "when = \"x == 'y'\"",
    "[guard",
];

fn config_line() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => select(&CONFIG_LINES[..]).prop_map(str::to_owned),
        1 => "[a-z_]{1,12} = [\"'{\\[]{0,3}.{0,12}",
        1 => "\\PC{0,20}",
    ]
}

/// Cells that are easy to misread.
const CELLS: [&str; 30] = [
    "",
    " ",
    "1",
    "2",
    "00501",
    "1e5",
    "1,5E+5",
    "NULL",
    "<clear>",
    "\u{a0}",
    "\0",
    "a b",
    "José",
    "李雷",
    "ａ@ｂ.ｎｌ",
    "jan@example.nl",
    "Jan@Example.NL",
    "jan@",
    "\"a b\"@c.nl",
    "06 1234 5678",
    "+31612345678",
    "0031 6 12345678",
    "++1",
    "tel:+316",
    "@jan",
    "https://twitter.com/jan",
    "facebook.com/profile.php?id=1",
    "18446744073709551616",
    "purge",
    "{{ id }}",
];

const TEMPLATES: [&str; 14] = [
    "",
    "{{ id }}",
    "{{ row['mail 2'] | upper }}",
    "{{ id | int + 1 }}",
    "{{ first[0] }}",
    "{{ first[:3] ~ last }}",
    "{{ row.id.x }}",
    "{{ first | replace('', phone) }}",
    "{% for x in range(100000) %}{{ id }}{% endfor %}",
    "{{ id * 3 }}",
    "{{ 1 / (ticket | int) }}",
    "{{ last | float | round(999) }}",
    "{{ first | split('a') | join(row) }}",
    "{{",
];

const CONDITIONS: [&str; 8] =
    ["id == '1'", "first", "flag | int > 3", "first in last", "row", "id.x.y", "1) or (2", "\"'"];

fn mapping_case() -> impl Strategy<Value = MappingCase> {
    let cell = prop_oneof![
        6 => select(&CELLS[..]).prop_map(|cell| cell.as_bytes().to_vec()),
        1 => "\\PC{0,12}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..6),
    ];
    let template = prop_oneof![4 => select(&TEMPLATES[..]).prop_map(str::to_owned), 1 => ".{0,20}"];
    let condition = prop_oneof![4 => select(&CONDITIONS[..]).prop_map(str::to_owned), 1 => ".{0,12}"];
    (template, condition, vec(cell, COLUMNS.len()), any::<u16>())
        .prop_map(|(template, condition, cells, choice)| MappingCase { template, condition, cells, choice })
}

/// A form of CSV.
#[derive(Debug, Clone, Copy)]
struct Style {
    quotes: csv::QuoteStyle,
    delimiter: u8,
    terminator: csv::Terminator,
}

fn style() -> impl Strategy<Value = Style> {
    use csv::{QuoteStyle, Terminator};
    let quotes = [QuoteStyle::Always, QuoteStyle::Necessary, QuoteStyle::NonNumeric];
    let terminators = [Terminator::CRLF, Terminator::Any(b'\n'), Terminator::Any(b'\r')];
    (select(quotes.to_vec()), select(b",;\t|".to_vec()), select(terminators.to_vec()))
        .prop_map(|(quotes, delimiter, terminator)| Style { quotes, delimiter, terminator })
}

fn csv_text(style: Style, rows: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new()
        .quote_style(style.quotes)
        .delimiter(style.delimiter)
        .terminator(style.terminator)
        .from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).expect("written");
    }
    writer.into_inner().expect("in memory")
}

/// Whether a row with line ends has a line with as many cells as a row, quoted or not.
fn looks_like_rows(row: &[Vec<u8>], style: Style) -> bool {
    let text = row.join(&style.delimiter);
    let end = if let csv::Terminator::Any(end) = style.terminator { end } else { b'\n' };
    let cells = |line: &[u8]| 1 + line.iter().filter(|byte| **byte == style.delimiter).count();
    let lines: Vec<&[u8]> = text.split(|byte| *byte == end).collect();
    row.len() >= 3 && lines.len() > 1 && lines.into_iter().any(|line| cells(line) == row.len())
}

proptest! {
    #![proptest_config(proptest_config(300))]

    #[test]
    fn any_row_is_a_valid_intent_or_rejected(case in mapping_case()) {
        check_mapping(&case);
    }

    #[test]
    fn any_text_is_a_configuration_or_an_error_with_its_place(lines in vec(config_line(), 0..12)) {
        check_config(&lines.join("\n"));
    }

    /// The `csv` crate is the oracle: cells of any bytes come back unchanged.
    #[test]
    fn rows_of_another_csv_writer_are_read_back(
        style in style(),
        rows in (2..5_usize).prop_flat_map(|width| vec(vec(bytes_of(&CSV_PARTS, 5), width), 0..12)),
    ) {
        let width = rows.first().map_or(2, Vec::len);
        // A row without any value is no row.
        let mut rows = rows;
        rows.retain(|row: &Vec<Vec<u8>>| !row.iter().all(|cell| cell.iter().all(u8::is_ascii_whitespace)));
        // A file of an old Mac has no other line end.
        let old_mac = matches!(style.terminator, csv::Terminator::Any(b'\r'));
        prop_assume!(!old_mac || !rows.iter().flatten().flatten().any(|byte| *byte == b'\n'));
        let header = (0..width).map(|at| format!("column {at}").into_bytes()).collect();
        let all = [vec![header], rows.clone()].concat();
        let settings = InputSettings { delimiter: DelimiterSetting(Some(style.delimiter)), ..InputSettings::default() };
        let export = open_export(&csv_text(style, &all), &settings).expect("a header");
        let (mut stream, mut row, mut found) = (export.rows(), Row::default(), Vec::new());
        while stream.read(&mut row).expect("readable") {
            if let Some(RowFault::HoldsRows { .. }) = row.fault() {
                // Nothing distinguishes such a cell from one that has swallowed rows.
                prop_assert!(looks_like_rows(&rows[found.len()], style));
                found.push(rows[found.len()].clone());
                continue;
            }
            prop_assert_eq!(row.fault(), None);
            found.push((0..width).map(|column| row.bytes(column).to_vec()).collect::<Vec<_>>());
        }
        prop_assert_eq!(found, rows);
    }
}
