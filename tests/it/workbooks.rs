//! Workbooks and archives: a table inside of another file is read as it is.

use std::io::{Cursor, Write};
use std::process::Stdio;

use rust_xlsxwriter::{ExcelDateTime, Format, Workbook, Worksheet};
use serde_json::Value;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::world::{CommandOutput, World};

const MAPPING: &str = "[customer]\nprimary_id = \"Klantnummer\"\nbrand_id = { value = 2 }\nfirstname = \"Voornaam\"\nemail = \"E-mail\"\n";
const HEADER: [&str; 3] = ["Klantnummer", "Voornaam", "E-mail"];
const CSV: &str = "Klantnummer,Voornaam,E-mail\n1001,Sanne,s@example.com\n1002,Daan,no-address\n";

fn world() -> World {
    World::default().with_mapping(MAPPING, "")
}

fn with_input(input: &str) -> World {
    World::default().with_mapping(MAPPING, &format!("[input]\n{input}\n"))
}

fn write_texts(sheet: &mut Worksheet, row: u32, texts: &[&str]) {
    for (text, column) in texts.iter().zip(0..).filter(|(text, _)| !text.is_empty()) {
        sheet.write(row, column, *text).expect("a cell");
    }
}

/// A workbook of these sheets, each of texts.
fn workbook(sheets: &[(&str, &[&[&str]])]) -> Workbook {
    let mut workbook = Workbook::new();
    for (name, rows) in sheets {
        let sheet = workbook.add_worksheet();
        sheet.set_name(*name).expect("a name");
        for (texts, row) in rows.iter().zip(0..) {
            write_texts(sheet, row, texts);
        }
    }
    workbook
}

fn bytes(mut workbook: Workbook) -> Vec<u8> {
    workbook.save_to_buffer().expect("a workbook")
}

/// A workbook of one sheet that has the header in its first row.
fn table(write: impl FnOnce(&mut Worksheet)) -> Vec<u8> {
    let mut workbook = Workbook::new();
    let sheet = workbook.add_worksheet();
    write_texts(sheet, 0, &HEADER);
    write(sheet);
    bytes(workbook)
}

/// The same workbook without the results of formulas, as programs write it that
/// compute none.
fn without_results(workbook: &[u8]) -> Vec<u8> {
    let mut archive = zip::ZipArchive::new(Cursor::new(workbook)).expect("a workbook");
    let mut entries = Vec::new();
    for at in 0..archive.len() {
        let mut file = archive.by_index(at).expect("a file");
        let name = file.name().expect("a name").to_string();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut content).expect("memory");
        if name.ends_with("sheet1.xml") {
            let text = String::from_utf8(content).expect("XML");
            content = text.replace("</f><v>0</v>", "</f><v></v>").into_bytes();
        }
        entries.push((name, content));
    }
    let entries: Vec<(&str, &[u8])> =
        entries.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    zip(&entries)
}

#[test]
fn formulas_without_results_are_reported() {
    let rows = |sheet: &mut Worksheet| {
        write_texts(sheet, 1, &["", "Sanne", "s@example.com"]);
        sheet.write_formula(1, 0, "=1000+1").expect("a formula");
        write_texts(sheet, 2, &["1002", "Daan", "d@example.com"]);
    };
    let world = world();
    world.file("export.xlsx", &without_results(&table(rows)));
    let plan = world.execute(&["plan", "export.xlsx"]).expect_code(0);
    assert!(plan.stdout.contains("1 formula has no result in the workbook (first in A2)"), "{}", plan.stdout);
    world.file("export.xlsx", &table(rows));
    let plan = world.execute(&["plan", "export.xlsx"]).expect_code(0);
    assert!(!plan.stdout.contains("no result"), "{}", plan.stdout);
}

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        if let Some(folder) = name.strip_suffix('/') {
            writer.add_directory(folder, SimpleFileOptions::default()).expect("a folder");
        } else {
            writer.start_file(*name, SimpleFileOptions::default()).expect("a file");
            writer.write_all(content).expect("memory");
        }
    }
    writer.finish().expect("an archive").into_inner()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(content).expect("memory");
    packed.finish().expect("memory")
}

fn run(world: &World, name: &str, content: &[u8]) -> CommandOutput {
    world.file(name, content);
    world.execute(&["run", "--json", name])
}

/// A command that reads `content` from standard input.
fn execute_with_stdin(world: &World, arguments: &[&str], content: &[u8]) -> CommandOutput {
    let mut command = world.command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program");
    let written = child.stdin.take().expect("a pipe").write_all(content);
    let output = CommandOutput::wait(child);
    written.expect("all of it is read");
    output
}

/// What `plan` would send in its creates.
fn creates(world: &World, name: &str) -> Vec<Value> {
    let plan = world.execute(&["plan", "--json", "--show", "100", name]).json();
    let requests = plan["requests"].as_array().expect("requests");
    let creates = requests.iter().filter(|request| request["call"] == "create");
    creates.map(|request| request["body"].clone()).collect()
}

#[test]
fn a_cell_is_sent_as_the_sheet_shows_it() {
    let columns = [
        "Klantnummer",
        "Telefoon",
        "Sinds",
        "Bezoek",
        "Tijd",
        "Bedrag",
        "Korting",
        "Actief",
        "Fout",
        "Tekst",
    ];
    let custom: String = columns[2..].iter().map(|name| format!("{name} = \"{name}\"\n")).collect();
    let mapping = format!(
        "[customer]\nprimary_id = \"Klantnummer\"\nbrand_id = {{ value = 2 }}\ntelephone = {{ column = \"Telefoon\", region = \"NL\" }}\n[customer.custom]\n{custom}"
    );
    let format = |code: &str| Format::new().set_num_format(code);
    let mut workbook = Workbook::new();
    let sheet = workbook.add_worksheet();
    write_texts(sheet, 0, &columns);
    let day = ExcelDateTime::from_ymd(2026, 11, 27).expect("a day");
    let time = ExcelDateTime::from_ymd(2026, 11, 27).and_then(|day| day.and_hms(14, 30, 0)).expect("a time");
    sheet.write_with_format(1, 0, 501, &format("000000")).expect("a cell");
    sheet.write_with_format(1, 1, 612_345_678, &format("0000000000")).expect("a cell");
    sheet.write_with_format(1, 2, &day, &format("d-m-yyyy")).expect("a cell");
    sheet.write_with_format(1, 3, &time, &format("d mmm yyyy h:mm")).expect("a cell");
    sheet.write_with_format(1, 4, &time, &format("h:mm")).expect("a cell");
    sheet.write_with_format(1, 5, 1234.5, &format("\u{20ac} #,##0.00")).expect("a cell");
    sheet.write_with_format(1, 6, 0.125, &format("0.0%")).expect("a cell");
    sheet.write(1, 7, true).expect("a cell");
    sheet.write_formula(1, 8, rust_xlsxwriter::Formula::new("=1/0").set_result("#DIV/0!")).expect("a cell");
    sheet.write(1, 9, "één; \"twee\"\nen drie, <&>").expect("a cell");
    sheet.write(2, 0, 31_612_345_678_901_i64).expect("a cell");
    sheet.write(2, 1, "06 12345679").expect("a cell");
    sheet.write(2, 5, 0.1 + 0.2).expect("a cell");
    let world = World::default().with_mapping(&mapping, "");
    world.file("export.xlsx", &bytes(workbook));
    let found = creates(&world, "export.xlsx");
    let text = |row: usize, key: &str| found[row][key].as_str().unwrap_or_default().to_owned();
    for (key, shown) in [
        ("primary_id", "000501"),
        ("customer_link_channel", "+31612345678"),
        ("Sinds", "2026-11-27"),
        ("Bezoek", "2026-11-27 14:30:00"),
        ("Tijd", "14:30:00"),
        ("Bedrag", "\u{20ac} 1234.50"),
        ("Korting", "12.5%"),
        ("Actief", "TRUE"),
        ("Fout", "#DIV/0!"),
        ("Tekst", "één; \"twee\"\nen drie, <&>"),
    ] {
        assert_eq!(text(0, key), shown, "{key} of {:#}", found[0]);
    }
    assert_eq!(text(1, "primary_id"), "31612345678901");
    assert_eq!(text(1, "Bedrag"), "0.3");
}

#[test]
fn the_line_of_a_row_is_its_number_in_the_sheet_and_result_files_are_run_again() {
    let mut workbook = workbook(&[(
        "Klanten",
        &[
            &["Overzicht van klanten"],
            &[],
            &HEADER,
            &["1001", "Sanne\nMarie", "s@example.com"],
            &[],
            &["1002", "Daan, \"D\"", "no-address", "", "a remark beside the table"],
            &["", "", "", "", "and one below it"],
        ],
    )]);
    workbook.add_worksheet().set_name("Uitleg").expect("a name").write(0, 0, "Uitleg").expect("a cell");
    let content = bytes(workbook);
    for input in [
        "",
        "sheet = \"Klanten\"",
        "delimiter = \";\"",
        "skip = 2",
        "encoding = \"windows-1252\"",
        "escape = \"backslash\"",
    ] {
        let world = with_input(input);
        run(&world, "export.xlsx", &content)
            .expect_code(1)
            .expect_outcomes("1 created, 1 rejected")
            .expect_stderr("the header is on line 3");
        let rejected = world.result_text("rejected.csv");
        let separator = if input.starts_with("delimiter") { ";" } else { "," };
        assert!(
            rejected.starts_with(&format!("\u{feff}{}{separator}_sync_", HEADER.join(separator))),
            "{rejected}"
        );
        let plan = world.execute(&["plan", "export.xlsx"]);
        assert!(plan.stdout.contains("row 2 on line 6"), "{}", plan.stdout);
        let fixed = rejected.replace("no-address", "d@example.com");
        run(&world, "fixed.csv", fixed.as_bytes()).expect_code(0).expect_outcomes("1 created");
        world
            .execute(&["run", "--json", "export.xlsx"])
            .expect_code(1)
            .expect_outcomes("1 unchanged, 1 rejected");
    }
}

#[test]
fn a_sheet_is_the_first_one_or_the_one_that_is_set() {
    let rows: &[&[&str]] = &[&HEADER, &["1001", "Sanne", "s@example.com"]];
    let mut sheets =
        workbook(&[("Uitleg", &[&["Zie blad 2"]]), ("Klanten", rows), ("Oud", rows), ("Leeg", &[])]);
    sheets.worksheet_from_name("Oud").expect("a sheet").set_hidden(true);
    let content = bytes(sheets);
    let expect = |input: &str, code: i32, message: &str| {
        run(&with_input(input), "export.xlsx", &content).expect_code(code).expect_stderr(message);
    };
    expect("", 2, "the sheet \"Uitleg\" has no column \"Klantnummer\"");
    expect("", 2, "for another sheet set sheet in [input], to \"Klanten\", \"Leeg\"");
    expect(
        "sheet = \"Klant\"",
        2,
        "has no sheet \"Klant\"; its sheets are \"Uitleg\", \"Klanten\", \"Leeg\", \"Oud\"",
    );
    expect("sheet = \"Leeg\"", 2, "the sheet \"Leeg\" is empty");
    expect("format = \"jsonl\"", 2, "set format = \"auto\"");
    for sheet in ["Klanten", "klanten ", "Oud"] {
        let world = with_input(&format!("sheet = \"{sheet}\""));
        run(&world, "export.xlsx", &content).expect_code(0).expect_outcomes("1 created");
    }
    // A CSV file that was opened without being split.
    let unsplit: &[&[&str]] = &[&["Klantnummer;Voornaam;E-mail"], &["1001;Sanne;s@example.com"]];
    run(&world(), "export.xlsx", &bytes(workbook(&[("Klanten", unsplit)])))
        .expect_code(2)
        .expect_stderr("split its cells at ';'");
    // A hidden sheet is not what a person calls the first one.
    let mut sheets = workbook(&[("Oud", &[&["x"]]), ("Klanten", rows), ("Leeg", &[])]);
    sheets.worksheet_from_name("Klanten").expect("a sheet").set_active(true);
    sheets.worksheet_from_name("Oud").expect("a sheet").set_hidden(true);
    let world = world();
    run(&world, "export.xlsx", &bytes(sheets))
        .expect_code(0)
        .expect_outcomes("1 created")
        .expect_stderr("the sheet \"Klanten\" is read, the first of 2: \"Klanten\", \"Leeg\"");
    let proposed = world.execute(&["init", "export.xlsx"]).expect_code(0).stdout;
    assert!(proposed.contains("\nsheet = \"Klanten\"\n"), "{proposed}");
    assert!(proposed.contains("# Note: the sheet \"Klanten\" is read, the first of 2"), "{proposed}");
    assert!(!proposed.contains("delimiter"), "{proposed}");
    let proposed = format!("{proposed}\n[checkpoint]\npath = \"proposed\"\n");
    world.file("proposed.toml", proposed.as_bytes());
    world.execute(&["plan", "-c", "proposed.toml", "export.xlsx"]).expect_code(0);
}

#[test]
fn a_number_that_lost_digits_is_no_id() {
    let content = table(|sheet| {
        sheet.write(1, 0, 1_234_567_890_123_456_789_i64).expect("a cell");
        sheet.write_with_format(2, 0, 100_000, &Format::new().set_num_format("0.00E+00")).expect("a cell");
        sheet.write(3, 0, "1234567890123456789").expect("a cell");
        sheet.write(4, 0, 1000.0).expect("a cell");
        for row in 1..5 {
            sheet.write(row, 1, "Sanne").expect("a cell");
        }
    });
    let world = world();
    let output = run(&world, "export.xlsx", &content).expect_code(1).expect_outcomes("2 created, 2 rejected");
    let output = output.expect_stderr("1 number has more than 15 digits");
    assert!(output.stderr.contains("first in A2"), "{}", output.stderr);
    let rejected = world.result_text("rejected.csv");
    assert!(rejected.contains("1.23456789012346E+18,") && rejected.contains("1E+05,"), "{rejected}");
    let ids: Vec<Value> = creates(&with_copy(&content), "export.xlsx")
        .iter()
        .map(|create| create["primary_id"].clone())
        .collect();
    assert_eq!(ids, ["1234567890123456789", "1000"]);
}

fn with_copy(content: &[u8]) -> World {
    let world = world();
    world.file("export.xlsx", content);
    world
}

#[test]
fn merged_cells_count_for_each_of_their_rows_and_columns() {
    let mut workbook = Workbook::new();
    let sheet = workbook.add_worksheet();
    let plain = Format::new();
    sheet.merge_range(0, 0, 0, 3, "Klanten van de winkel", &plain).expect("merged");
    sheet.merge_range(1, 0, 2, 0, "Klantnummer", &plain).expect("merged");
    sheet.merge_range(1, 1, 1, 3, "Gegevens", &plain).expect("merged");
    write_texts(sheet, 2, &["", "Voornaam", "E-mail"]);
    sheet.merge_range(3, 0, 4, 0, "1001", &plain).expect("merged");
    write_texts(sheet, 3, &["", "Sanne", "s@example.com"]);
    write_texts(sheet, 4, &["", "Sanne", "t@example.com"]);
    let world = world();
    // One customer with two addresses.
    run(&world, "export.xlsx", &bytes(workbook)).expect_code(0).expect_calls(2);
}

#[test]
fn a_workbook_saved_again_is_the_same_export() {
    let save = |author: &str| {
        let mut workbook = workbook(&[("Klanten", &[&HEADER, &["1001", "Sanne", "s@example.com"]])]);
        workbook.set_properties(&rust_xlsxwriter::DocProperties::new().set_author(author));
        bytes(workbook)
    };
    let (first, second) = (save("Iris"), save("Bram"));
    assert_ne!(first, second);
    let world = world();
    let hash = |content: &[u8]| {
        world.file("export.xlsx", content);
        world.execute(&["plan", "--json", "export.xlsx"]).json()["export_hash"].clone()
    };
    assert_eq!(hash(&first), hash(&second));
}

#[test]
fn every_command_reads_workbooks_and_archives_also_from_standard_input() {
    let sheet = bytes(workbook(&[("Klanten", &[&HEADER, &["1001", "Sanne", "s@example.com"]])]));
    let csv = CSV.lines().take(2).collect::<Vec<_>>().join("\n");
    let json = br#"{"Klantnummer":"1001","Voornaam":"Sanne","E-mail":"s@example.com"}"#;
    let packed_table = zip(&[("klanten/", b""), ("klanten/export.csv", csv.as_bytes())]);
    let by_a_mac = zip(&[
        ("export.csv", csv.as_bytes()),
        ("__MACOSX/._export.csv", b"\0\x05\x16\x07"),
        (".DS_Store", b"x"),
    ]);
    let contents: [(&str, Vec<u8>); 7] = [
        ("table.xlsx", sheet.clone()),
        ("table.zip", packed_table.clone()),
        ("mac.zip", by_a_mac),
        ("lines.zip", zip(&[("export.jsonl", json)])),
        ("sheet.zip", zip(&[("../../export.xlsx", &sheet)])),
        ("sheet.xlsx.gz", gzip(&sheet)),
        ("table.csv.gz", gzip(csv.as_bytes())),
    ];
    for (name, content) in &contents {
        // The name proves nothing.
        for name in [name, "export.csv", "-"] {
            let world = world();
            world.file(name, content);
            let execute = |arguments: &[&str]| {
                let arguments = [arguments, &[name]].concat();
                if name == "-" {
                    execute_with_stdin(&world, &arguments, content)
                } else {
                    world.execute(&arguments)
                }
            };
            execute(&["init"]).expect_code(0);
            execute(&["plan"]).expect_code(0);
            execute(&["run", "--json"]).expect_code(0).expect_outcomes("1 created");
            execute(&["adopt"]).expect_code(0);
        }
    }
}

#[test]
fn an_archive_that_is_not_one_table_says_what_it_is() {
    let csv = CSV.as_bytes();
    let mut encrypted = zip(&[("export.csv", csv)]);
    // The flag of encryption, in the local header and in the directory.
    encrypted[6] |= 1;
    let directory = encrypted.windows(4).position(|window| window == b"PK\x01\x02").expect("a directory");
    encrypted[directory + 8] |= 1;
    let whole = zip(&[("export.csv", csv)]);
    let mut damaged = whole.clone();
    let at = "export.csv".len() + 30 + 5;
    damaged[at] ^= 0xff;
    let sheet = table(|_| {});
    let sheets_bytes = zip(&[("[Content_Types].xml", b"<Types/>"), ("xl/workbook.xml", b"<workbook")]);
    let cases: &[(&[u8], &str)] = &[
        (
            &zip(&[("a.csv", csv), ("b/c.csv", csv)]),
            "a zip archive with 2 files, and one is expected: \"a.csv\", \"b/c.csv\"",
        ),
        (&zip(&[("a/", b"")]), "a zip archive without a file"),
        (&encrypted, "a zip archive with a password"),
        (&whole[..whole.len() - 30], "cannot be unpacked"),
        (&damaged, "cannot be unpacked"),
        (&sheet[..sheet.len() / 2], "cannot be unpacked"),
        (&sheets_bytes, "a workbook that cannot be read"),
        (&zip(&[("a.zip", &zip(&[("b.csv", csv)]))]), "is no table but a zip archive inside of another"),
        (&zip(&[("a.pdf", b"%PDF-1.7\n")]), "is no table but a PDF document"),
        (&zip(&[("a\n\u{1b}[31m.csv", csv), ("b.csv", csv)]), "\"a\\n\\u{1b}[31m.csv\""),
    ];
    let world = world();
    for (content, message) in cases {
        world.file("export.zip", content);
        for command in ["init", "plan", "run", "adopt"] {
            let output = world.execute(&[command, "export.zip"]).expect_code(2).expect_stderr(message);
            assert!(output.stderr.contains("error: export.zip: "), "{}", output.stderr);
            assert_eq!(output.stdout, "");
        }
    }
}

#[test]
fn result_files_of_an_archive_are_like_those_of_its_table() {
    let world = world();
    run(&world, "export.zip", &zip(&[("export.csv", CSV.replace(',', ";").as_bytes())])).expect_code(1);
    let fixed = world.result_text("rejected.csv").replace("no-address", "d@example.com");
    assert!(fixed.starts_with("Klantnummer;Voornaam;E-mail;_sync_"), "{fixed}");
    run(&world, "fixed.csv", fixed.as_bytes()).expect_code(0).expect_outcomes("1 created");
}
