//! The repair loop through a real spreadsheet: LibreOffice opens the result files of
//! a run as it opens any CSV file, and saves them.

use std::path::Path;
use std::process::Stdio;

use omnidesk_sync::sandbox::{Script, Settings};

use crate::tools::LIBREOFFICE;
use crate::world::World;

/// How an export is written, and so its result files.
#[derive(Clone, Copy)]
struct Form {
    delimiter: u8,
    encoding: &'static encoding_rs::Encoding,
}

impl Form {
    fn new(delimiter: u8, encoding: &'static encoding_rs::Encoding) -> Self {
        Self { delimiter, encoding }
    }

    /// As LibreOffice writes it in its options: delimiter, quote and encoding by number.
    fn options(self) -> String {
        let encoding = if self.encoding == encoding_rs::UTF_8 { 76 } else { 1 };
        format!("{},34,{encoding},1", self.delimiter)
    }

    fn decode(self, bytes: &[u8]) -> String {
        self.encoding.decode(bytes).0.into_owned()
    }

    fn encode(self, text: &str) -> Vec<u8> {
        let (bytes, _, has_errors) = self.encoding.encode(text);
        assert!(!has_errors, "{text}");
        bytes.into_owned()
    }
}

/// What a file is saved as before it becomes CSV again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Route {
    Csv,
    Workbook,
}

/// Opens files of the world and saves them as CSV into the folder `saved`. All
/// columns are "General", as in the dialogue that a person accepts.
fn open_and_save(world: &World, files: &[&str], form: Form, route: Route) {
    let convert = |from: &[String], filter: Option<String>, to: &str, folder: &str| {
        let mut command = LIBREOFFICE.command();
        // A profile of its own: two processes cannot share one.
        command.arg(format!("-env:UserInstallation=file://{}", world.path("profile").display()));
        command.arg("--headless").args(filter).args(["--convert-to", to, "--outdir", folder]).args(from);
        let output = command.current_dir(world.path("")).stdin(Stdio::null()).output().expect("soffice");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let paths = |folder: &str, extension: &str| -> Vec<String> {
        files.iter().map(|name| format!("{folder}{name}.{extension}")).collect()
    };
    let open = Some(format!("--infilter=CSV:{}", form.options()));
    // Language, no quotes around all texts, no special numbers, cells as they are shown.
    let save = format!("csv:Text - txt - csv (StarCalc):{},,0,false,true,true", form.options());
    match route {
        Route::Csv => convert(&paths("", "csv"), open, &save, "saved"),
        Route::Workbook => {
            convert(&paths("", "csv"), open, "xlsx", "workbooks");
            convert(&paths("workbooks/", "xlsx"), None, &save, "saved");
        }
    }
}

/// Rows with all that a spreadsheet changes: zeros in front, long numbers, exponents, a plus.
/// The third cell is wrong in some, and the API refuses two of the others once.
const BROKEN: [&str; 7] = ["000501", "0042E3", "12345678901234567890", "K100", "K101", "-0", "1E5"];
const REFUSED: [&str; 2] = ["000601", "K200"];

/// A number of each customer's own. Numbers after `06` begin with 1 to 5.
fn telephone(id: &str) -> String {
    format!(
        "+316{}",
        id.bytes().fold(20_000_000, |sum: u64, byte| (31 * sum + u64::from(byte)) % 10_000_000 + 20_000_000)
    )
}

fn export(delimiter: char) -> String {
    let row = |id: &str, domain: &str| {
        let note = format!("\"two\nlines{delimiter} \"\"quoted\"\" 1,50\"");
        let cells = [id, "Zoë", "Müller", &format!("{}@{domain}", id.to_lowercase()), &telephone(id), &note];
        format!("{}\n", cells.join(&delimiter.to_string()))
    };
    let mut text = ["id", "first", "last", "email", "phone", "note\n"].join(&delimiter.to_string());
    BROKEN.iter().for_each(|id| text += &row(id, "broken"));
    REFUSED.iter().for_each(|id| text += &row(id, "example.org"));
    (0..20).for_each(|id| text += &row(&format!("G{id}"), "example.org"));
    text
}

const SCRIPT: &str = r#"
[[answer]]
id = "000601"
times = 1
status = 422
body = "the field is not allowed"
[[answer]]
id = "K200"
times = 1
status = 422
body = "the field is not allowed"
"#;

const MAPPING: &str = r#"
[customer]
primary_id = "id"
brand_id = { value = 2 }
firstname = "first"
lastname = "last"
email = "email"
telephone = { column = "phone", region = "NL" }
[customer.custom]
note = "note"
"#;

/// Puts the ids back that the spreadsheet changed.
fn put_ids_back(saved: &str, delimiter: u8) -> String {
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(saved.as_bytes());
    let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
    let header = reader.headers().expect("a header").clone();
    let old = header.iter().position(|name| name == "_sync_id").expect("a column");
    writer.write_record(&header).expect("written");
    for record in reader.records() {
        let record = record.expect("a record");
        let id = record[old].strip_prefix("id:").expect("an id");
        writer.write_record([id].into_iter().chain(record.iter().skip(1))).expect("written");
    }
    String::from_utf8(writer.into_inner().expect("bytes")).expect("UTF-8")
}

/// Fixes the broken addresses in a saved file, and runs it. Running it twice changes nothing.
fn fix_and_run(world: &World, file: &str, form: Form, fix: impl Fn(&str) -> String) -> String {
    let saved = std::fs::read(world.path(&format!("saved/{file}.csv"))).expect("a saved file");
    let fixed = fix(&form.decode(&saved).replace("@broken", "@example.org"));
    let name = format!("{file}-fixed.csv");
    world.file(&name, &form.encode(&fixed));
    let outcomes = world.execute(&["run", "--json", &name]).outcomes();
    let rejected = world.result("rejected.csv");
    world.execute(&["run", "--json", &name]).expect_calls(0);
    rejected.into_iter().for_each(|bytes| drop(world.file("rejected.csv", &bytes)));
    outcomes
}

fn repair_loop(form: Form, route: Route) {
    let script = Script::parse(SCRIPT, Path::new("answers.toml")).expect("a script");
    let encoding = format!("[input]\nencoding = \"{}\"\n", form.encoding.name());
    let world = World::new(Settings { script, ..Settings::default() }).with_mapping(MAPPING, &encoding);
    world.file("export.csv", &form.encode(&export(form.delimiter.into())));
    let run = world.execute(&["run", "--json", "export.csv"]).expect_code(1);
    assert_eq!(run.outcomes(), "20 created, 7 rejected, 2 failed");
    for name in ["rejected.csv", "failed.csv"] {
        world.file(name, &world.result(name).expect(name));
    }

    open_and_save(&world, &["rejected", "failed"], form, route);
    assert_eq!(fix_and_run(&world, "failed", form, str::to_owned), "1 created, 1 rejected");
    let again = form.decode(&world.result("rejected.csv").expect("a result file"));
    assert!(again.contains("601 (was 000601)") && again.contains("put the old id back"), "{again}");
    world.file("refused.csv", &world.result("rejected.csv").expect("a result file"));

    // `K100`, `K101` and what the spreadsheet leaves alone.
    assert_eq!(fix_and_run(&world, "rejected", form, str::to_owned), "2 created, 5 rejected");
    let again = form.decode(&std::fs::read(world.path("rejected.csv")).expect("a result file"));
    assert!(again.contains("501 (was 000501)") && again.contains("id:12345678901234567890"), "{again}");

    open_and_save(&world, &["rejected", "refused"], form, route);
    let back = |saved: &str| put_ids_back(saved, form.delimiter);
    assert_eq!(fix_and_run(&world, "rejected", form, back), "5 created");
    assert_eq!(fix_and_run(&world, "refused", form, back), "1 created");

    // Nothing twice, and nothing lost.
    let state = world.state();
    let mut ids: Vec<&str> = state.customers.iter().map(|customer| customer.id.primary_id.as_str()).collect();
    let good: Vec<String> = (0..20).map(|id| format!("G{id}")).collect();
    let mut expected: Vec<&str> =
        BROKEN.into_iter().chain(REFUSED).chain(good.iter().map(String::as_str)).collect();
    ids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ids, expected);
    for customer in &state.customers {
        let addresses: Vec<String> =
            customer.channels.iter().map(|channel| channel.address.clone()).collect();
        let email = format!("{}@example.org", customer.id.primary_id.to_lowercase());
        assert_eq!(addresses, [email, telephone(&customer.id.primary_id)], "{customer:?}");
        assert_eq!(customer.firstname.as_deref(), Some("Zoë"));
        assert_eq!(customer.lastname.as_deref(), Some("Müller"));
        let delimiter = char::from(form.delimiter);
        assert_eq!(customer.custom["note"], format!("two\nlines{delimiter} \"quoted\" 1,50"));
    }
    let counters = state.counters;
    assert_eq!((counters.create, counters.add_channel, counters.update), (29, 29, 0));
    // Each call once, and two that the script has refused. Questions that show what such
    // a refusal means are refused, too.
    assert_eq!(counters.requests - counters.refused, 29 + 29 + 2);
    world.assert_no_violations();
}

#[test]
fn result_files_survive_libreoffice_in_every_form() {
    if !LIBREOFFICE.is_here() {
        return;
    }
    for delimiter in [b';', b','] {
        for encoding in [encoding_rs::UTF_8, encoding_rs::WINDOWS_1252] {
            repair_loop(Form::new(delimiter, encoding), Route::Csv);
        }
    }
}

#[test]
fn result_files_survive_a_workbook() {
    if LIBREOFFICE.is_here() {
        repair_loop(Form::new(b';', encoding_rs::WINDOWS_1252), Route::Workbook);
        repair_loop(Form::new(b',', encoding_rs::UTF_8), Route::Workbook);
    }
}
