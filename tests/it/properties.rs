//! Properties that hold for any input.
//!
//! The bounded tests in `inputs.rs` and the fuzz targets in `fuzz/` check the same
//! functions, so each can replay a finding of the other.

use std::io::Write;
use std::path::Path;

use omnidesk_sync::config::Config;
use omnidesk_sync::mapping::{
    Address, Channel, Customer, CustomerSettings, FieldOrigin, FieldSource, Intent, InvalidAddress, Mapping,
    NamePolicy, Operation, OperationSettings, PrimaryId, Rule,
};
use omnidesk_sync::omnidesk::{
    Action, ApiKey, Call, Exchange, KeyMask, Meaning, RefusalTexts, judge, parse_retry_after,
};
use omnidesk_sync::source::{self, Export, InputSettings, RECORD_BYTES_MAX, Row, RowRef};

/// How many rows are read a second time, from their own offsets.
const REREAD_MAX: u64 = 4;

/// Opens an export of these bytes. One that cannot be read is an error with a
/// message, never a panic.
pub(crate) fn open_export(bytes: &[u8], settings: &InputSettings) -> Option<Export> {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("written");
    match source::open(file.path(), settings) {
        Ok(mut export) => {
            for name in ["id", "a", "a.b", "name"] {
                // A CSV file may not have it.
                let _ = export.columns_mut().require(name);
            }
            Some(export)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

/// Every byte after the header is in exactly one row or in a blank line. Each row
/// knows its line, and is the same when it is read from its own offset.
pub(crate) fn check_rows(bytes: &[u8], settings: &InputSettings) {
    let Some(mut export) = open_export(bytes, settings) else { return };
    let content = export.is_read_in_place().then_some(bytes);
    let (mut rows, mut row) = (export.rows(), Row::default());
    // Headers that come again stand between rows.
    let repeats_header = || {
        let (mut rows, mut row) = (export.rows(), Row::default());
        while rows.read(&mut row)? {}
        Ok::<_, std::io::Error>(rows.skipped().lines.headers > 0)
    };
    let Ok(repeats_header) = repeats_header() else { return };
    let content = content.filter(|_| !repeats_header);
    let mut last: Option<RowRef> = None;
    while rows.read(&mut row).expect("readable") {
        let at = row.at();
        assert_eq!(at.number, last.map_or(1, |last| last.number + 1), "numbers are consecutive");
        if let Some(last) = last {
            assert!(at.offset > last.offset + last.len && at.line > last.line, "rows overlap: {at:?}");
        }
        if let Some(content) = content {
            check_row(content, &export, at, last);
        }
        if at.number <= REREAD_MAX {
            check_reread(&export, &row);
        }
        last = Some(at);
    }
    if let (Some(content), Some(last)) = (content, last) {
        assert_blank(&content[(last.offset + last.len) as usize..]);
    }
    export.hash().expect("readable");
    export.is_result_file().expect("readable");
    export.sample(1).expect("readable");
}

fn check_row(content: &[u8], export: &Export, at: RowRef, last: Option<RowRef>) {
    let terminator = export.dialect().line_end.terminator();
    let (start, end) = (at.offset as usize, (at.offset + at.len) as usize);
    let lines_before = content[..start].iter().filter(|byte| **byte == terminator).count() as u64;
    assert_eq!(at.line, lines_before + 1, "the line of {at:?}");
    let behind = &content[end..];
    let ends_line = |bytes: &[u8]| bytes.first().is_none_or(|byte| *byte == terminator);
    assert!(
        ends_line(behind) || behind.strip_prefix(b"\r").is_some_and(ends_line),
        "{at:?} ends inside a line"
    );
    if let Some(last) = last {
        assert_blank(&content[(last.offset + last.len) as usize..start]);
    }
    let is_copied = export.result_extension() == "csv" && !export.is_result_file().expect("readable");
    // A blank cell behind the last column is left out.
    let is_gap = |byte: &u8| byte.is_ascii_punctuation() || byte.is_ascii_whitespace();
    let end_of_value = content[start..end].iter().rposition(|byte| !b"\" ".contains(byte));
    let ends_with_value = end_of_value.is_some_and(|at| !is_gap(&content[start + at]));
    if is_copied && ends_with_value && end - start <= RECORD_BYTES_MAX {
        // Results follow the row, and the unnamed cells that it lacks.
        let line = export.result_row(at, &[("_sync_line", 7.into())]).expect("readable");
        let behind = line.strip_prefix(&content[start..end]).expect("the row itself");
        let delimiters = behind.trim_ascii_end().strip_suffix(b"7").expect("the result");
        assert!(!delimiters.is_empty() && delimiters.iter().all(|byte| *byte == delimiters[0]), "{behind:?}");
    }
}

/// Only blank lines and delimiters are between two rows.
fn assert_blank(gap: &[u8]) {
    assert!(
        gap.iter().all(|byte| !byte.is_ascii_alphanumeric()),
        "belongs to no row: {:?}",
        String::from_utf8_lossy(gap)
    );
}

fn check_reread(export: &Export, row: &Row) {
    let mut again = Row::default();
    assert!(export.rows_from(row.at()).read(&mut again).expect("readable"));
    assert_eq!((again.at(), again.fault()), (row.at(), row.fault()));
    for column in 0..export.columns().names().len() {
        assert_eq!(again.bytes(column), row.bytes(column));
        assert_eq!(again.text(column), row.text(column));
    }
}

/// An unusual row and an unusual mapping.
#[derive(Debug, Clone, Default)]
pub(crate) struct MappingCase {
    /// Of a custom field.
    pub(crate) template: String,
    /// Of a rule.
    pub(crate) condition: String,
    /// A cell for each of [`COLUMNS`]. Further ones are blank.
    pub(crate) cells: Vec<Vec<u8>>,
    /// Picks one of each kind of setting.
    pub(crate) choice: u16,
}

/// The columns of a [`MappingCase`].
pub(crate) const COLUMNS: [&str; 12] = [
    "id", "brand", "first", "last", "mail", "mail 2", "phone", "twitter", "facebook", "ticket", "flag", "op",
];

/// A row becomes a valid intent or a rejection, and the same one each time.
pub(crate) fn check_mapping(case: &MappingCase) {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS).expect("written");
    let blank = Vec::new();
    let cells = (0..COLUMNS.len()).map(|at| case.cells.get(at).unwrap_or(&blank));
    writer.write_record(cells).expect("written");
    let bytes = writer.into_inner().expect("in memory");
    let input = input(case.choice);
    // Cells that happen to be UTF-8 are refused in another encoding.
    let Some(mut export) = open_export(&bytes, &input) else {
        assert!(input.encoding.0.is_some() && std::str::from_utf8(&bytes).is_ok() && !bytes.is_ascii());
        return;
    };
    let names = [NamePolicy::Send, NamePolicy::Transliterate, NamePolicy::Reject][case.choice as usize % 3];
    let (customer, operation) = (customer(case), operation(case));
    let compiled = Mapping::compile(&customer, &operation, names, "cf_", &input, export.columns_mut());
    let mapping = match compiled {
        Ok(mapping) => mapping,
        Err(problems) => return assert!(!problems.is_empty()),
    };
    let (mut rows, mut row) = (export.rows(), Row::default());
    while rows.read(&mut row).expect("readable") {
        match (mapping.map(&row), mapping.map(&row)) {
            (Ok(Some(intent)), Ok(Some(again))) => {
                assert_eq!(checked_texts(&intent), checked_texts(&again), "the same row means the same");
            }
            (Err(rejection), Err(_)) => {
                assert!(!rejection.message.is_empty() && !rejection.hint.is_empty());
            }
            (Ok(None), Ok(None)) => {}
            _ => panic!("the same row has two meanings"),
        }
    }
}

fn input(choice: u16) -> InputSettings {
    let encoding = (choice & 64 != 0).then_some(encoding_rs::WINDOWS_1252);
    InputSettings {
        delimiter: source::DelimiterSetting(Some(b',')),
        encoding: source::EncodingSetting(encoding.map(Into::into)),
        blank: vec![String::new(), "NULL".into()],
        clear: vec!["<clear>".into()],
        ..InputSettings::default()
    }
}

fn customer(case: &MappingCase) -> CustomerSettings {
    let choice = case.choice;
    let column = |name: &str| FieldSource::from(FieldOrigin::Columns(vec![name.to_owned()]));
    let invalid = if choice & 1 == 0 { InvalidAddress::Reject } else { InvalidAddress::Drop };
    let region = ["NL", "US", "GB", "DE"][choice as usize / 2 % 4].to_owned();
    let mails = FieldOrigin::Columns(vec!["mail".into(), "mail 2".into()]);
    let default = (choice & 128 != 0).then(|| "7".to_owned());
    CustomerSettings {
        primary_id: column("id"),
        brand_id: FieldSource { default, ..column("brand") },
        name: None,
        firstname: Some(column("first")),
        lastname: Some(column("last")),
        email: Some(FieldSource { invalid, ..mails.into() }),
        telephone: Some(FieldSource {
            invalid,
            region: (choice & 8 == 0).then_some(region),
            ..column("phone")
        }),
        twitter: Some(FieldSource { invalid, ..column("twitter") }),
        facebook: Some(FieldSource { invalid, ..column("facebook") }),
        ticket_id: Some(column("ticket")),
        no_sync: Some(column("flag")),
        custom: [("computed".to_owned(), FieldOrigin::Template(case.template.clone()).into())].into(),
    }
}

fn operation(case: &MappingCase) -> OperationSettings {
    let rule = Rule { when: case.condition.clone(), then: Operation::Purge };
    OperationSettings {
        column: (case.choice & 16 == 0).then(|| "op".to_owned()),
        rule: if case.choice & 32 == 0 { vec![rule] } else { Vec::new() },
        ..OperationSettings::default()
    }
}

/// Checks the texts of an intent that are sent, and returns them.
fn checked_texts(intent: &Intent) -> Vec<String> {
    let id = intent.customer.primary_id.as_str();
    assert!(!id.trim().is_empty() && id.len() <= 255 && !id.chars().any(char::is_control), "{id:?}");
    let mut parts = vec![id.to_owned(), intent.customer.brand_id.to_string(), format!("{intent:?}")];
    let mut identities = Vec::new();
    for address in &intent.addresses {
        let (channel, text) = (address.channel(), address.as_str());
        assert!(!text.trim().is_empty() && !text.contains(char::is_control), "{channel:?} {text:?}");
        if channel == Channel::Telephone {
            let digits = text.strip_prefix('+').expect("E.164");
            assert!((4..=15).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit()));
        }
        let identity = (channel, address.identity());
        assert!(!identities.contains(&identity), "an address occurs twice");
        identities.push(identity);
        parts.push(text.to_owned());
    }
    if intent.operation == Operation::Purge {
        assert!(intent.fields.is_empty() && intent.addresses.is_empty());
    }
    parts.extend(intent.fields.iter().map(|(_, value)| value.as_str().to_owned()));
    parts
}

/// A key in the configuration itself, where it does not belong.
pub(crate) const MISPLACED_KEY: &str = "k3y-0f-th3-t3nant";

/// The mistakes with which people write it there.
const KEY_FORMS: [&str; 12] = [
    "api_key = \"{}\"",
    "api_key = {}",
    "api_key = '{}' # the key",
    "api_key = { key = \"{}\" }",
    "api_key = { env = [\"{}\"] }",
    "api_key = [\"{}\"]",
    "api_key = \"\"\"\n{}\n\"\"\"",
    "api_key = \"{}",
    "api_key.value = \"{}\"",
    "apikey = \"{}\"",
    "api-key = \"{}\"",
    "[omnidesk.api_key]\nkey = \"{}\"",
];

/// Any text is a configuration, or an error that does not show the key.
pub(crate) fn check_config_hides_key(before: &str, form: u8, after: &str) {
    let line = KEY_FORMS[form as usize % KEY_FORMS.len()].replace("{}", MISPLACED_KEY);
    let text = format!("{before}\n{line}\n{after}");
    // If an earlier text is open, the quotes of this form close it. The key is then
    // on a line of its own, like any other text.
    let is_alone = line.contains("\"\"\"") && before.contains("\"\"\"");
    if is_alone || before.contains(MISPLACED_KEY) || after.contains(MISPLACED_KEY) {
        return;
    }
    if let Err(error) = Config::parse(&text, Path::new("some.toml")) {
        let message = error.to_string();
        assert!(!message.contains(MISPLACED_KEY), "{message}");
        assert!(message.starts_with("some.toml"), "{message}");
    }
}

/// Any text is a configuration, or an error with its place.
pub(crate) fn check_config(text: &str) {
    if let Err(error) = Config::parse(text, Path::new("some.toml")) {
        assert!(error.to_string().starts_with("some.toml"), "{error}");
    }
}

/// A message for people has no more characters than this.
const MESSAGE_CHARS_MAX: usize = 400;

/// Any answer has a meaning and a short, printable message.
pub(crate) fn check_answer(status: u16, kind: u8, retry_after: &str, body: &[u8]) {
    let address = Address::parse(Channel::Email, "ann@example.org", None).expect("an address");
    let action = match kind % 4 {
        0 => Action::Create { fields: Vec::new(), first: Some(address), ticket_id: None, no_sync: false },
        1 => Action::Update { fields: Vec::new() },
        2 => Action::AddChannel { address, no_sync: false },
        _ => Action::Purge,
    };
    let customer = Customer { brand_id: 2, primary_id: PrimaryId::new("C-12").expect("an id") };
    let call = Call { customer, action };
    let retry_after = parse_retry_after(retry_after, None);
    let exchange = Exchange::Answered { status, retry_after, quota_wait: None, body: body.to_vec() };
    let answer = judge(&call, &exchange, &RefusalTexts::default());
    if answer.meaning == Meaning::Done {
        assert!((200..300).contains(&status), "{status} is no success");
    }
    if matches!(answer.meaning, Meaning::Done | Meaning::DoneBefore) {
        return;
    }
    let message = KeyMask::new(&ApiKey::for_sandbox()).show(&answer.message);
    assert!(!message.is_empty() && message.chars().count() <= MESSAGE_CHARS_MAX, "{message}");
    assert!(!message.chars().any(char::is_control), "{message:?}");
}
