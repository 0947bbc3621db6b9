//! The exports in `fixtures/` become the calls in their `expected.jsonl`, which are
//! written by hand from the API's page.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::world::{HEADER, RUN, World};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn expected(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder(name).join("expected.jsonl")).expect("expected.jsonl");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The rows of `rejected.*`: line, code, column and value.
fn rejected_rows(world: &World, export: &str) -> Vec<Value> {
    let extension = Path::new(export).extension().expect("an extension").to_str().expect("UTF-8");
    let Some(bytes) = world.result(&format!("rejected.{extension}")) else { return Vec::new() };
    if extension == "jsonl" {
        let text = String::from_utf8(bytes).expect("UTF-8");
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let value = |line: &Value, name: &str| line.get(name).cloned().unwrap_or_else(|| "".into());
        return lines
            .map(|line| {
                json!([
                    line["_sync_line"],
                    line["_sync_code"],
                    value(&line, "_sync_field"),
                    value(&line, "_sync_value")
                ])
            })
            .collect();
    }
    // The last physical line of a row ends with nine result cells, even if the row
    // itself is malformed.
    let text = encoding_of(export).decode(&bytes).0.into_owned();
    let delimiter = if text.contains("_sync_line;") { b';' } else { b',' };
    text.lines()
        .skip(1)
        .filter(|line| line.contains(char::from(delimiter)))
        .filter_map(|line| {
            let cells: Vec<String> = csv::ReaderBuilder::new()
                .has_headers(false)
                .delimiter(delimiter)
                .flexible(true)
                .from_reader(result_cells(line, char::from(delimiter))?.as_bytes())
                .into_records()
                .next()?
                .ok()?
                .iter()
                .map(str::to_owned)
                .collect();
            let line: u64 = cells[0].parse().ok()?;
            Some(json!([line, cells[2], cells[3], cells[4]]))
        })
        .collect()
}

/// The cells from `_sync_line` on, found by the code.
fn result_cells(line: &str, delimiter: char) -> Option<&str> {
    let codes = ["malformed_row", "blank_id", "bad_", "no_address", "unknown_operation"];
    let at = codes.iter().filter_map(|code| line.rfind(&format!("{delimiter}{code}"))).max()?;
    let before = line[..at].rfind(delimiter)?;
    let start = line[..before].rfind(delimiter)? + 1;
    Some(&line[start..])
}

fn encoding_of(export: &str) -> &'static encoding_rs::Encoding {
    if export == "klanten.csv" { encoding_rs::WINDOWS_1252 } else { encoding_rs::UTF_8 }
}

fn check(name: &str, export: &str) {
    let expected = expected(name);
    let world = World::with_server("http://127.0.0.1:9");
    // Its checkpoint and its runs go where it is.
    world.file("config.toml", &std::fs::read(folder(name).join("config.toml")).expect("a configuration"));
    let path = folder(name).join(export);
    let (config, path) = ("config.toml", path.to_str().expect("UTF-8"));
    let plan =
        world.execute(&["plan", "--json", "--show", "100000", "-c", config, path]).expect_code(0).json();

    let requests: Vec<Value> = plan["requests"].as_array().expect("requests").clone();
    let wanted: Vec<&Value> = expected.iter().filter(|line| line.get("method").is_some()).collect();
    for (request, wanted) in requests.iter().zip(&wanted) {
        for key in ["row", "line", "method", "path", "body"] {
            assert_eq!(request[key], wanted[key], "{name}, {key} of row {}", wanted["row"]);
        }
    }
    assert_eq!(requests.len(), wanted.len(), "{name}: requests");

    let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
    for line in expected.iter().filter_map(|line| line["outcome"].as_str()) {
        *outcomes.entry(line).or_default() += 1;
    }
    for outcome in ["rejected", "skipped", "unchanged"] {
        assert_eq!(
            plan["outcomes"][outcome],
            json!(outcomes.get(outcome).copied().unwrap_or(0)),
            "{name}: {outcome}"
        );
    }
    assert_eq!(plan["balanced"], true);

    world.execute(&["run", "--sandbox", "--rate", "10000/s", "-c", config, path]);
    let wanted: Vec<Value> = expected
        .iter()
        .filter(|line| line["outcome"] == "rejected")
        .map(|line| {
            let text = |key: &str| line.get(key).cloned().unwrap_or_else(|| "".into());
            json!([line["line"], line["code"], text("column"), text("value")])
        })
        .collect();
    assert_eq!(rejected_rows(&world, export), wanted, "{name}: rejected rows");
}

#[test]
fn a_hubspot_export_becomes_the_expected_calls() {
    check("hubspot", "export.csv");
}

#[test]
fn a_salesforce_export_becomes_the_expected_calls() {
    check("salesforce", "export.csv");
}

#[test]
fn a_dutch_excel_export_becomes_the_expected_calls() {
    check("dutch-excel", "klanten.csv");
}

#[test]
fn an_event_export_becomes_the_expected_calls() {
    check("events", "events.jsonl");
}

#[test]
fn the_demo_of_the_readme_succeeds() {
    let world = World::with_server("http://127.0.0.1:9");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let example = std::fs::read(root.join("config.example.toml")).expect("a configuration");
    world.file("config.example.toml", &example);
    let export = root.join("fixtures/customers.csv");
    let arguments = ["run", "--json", "--sandbox", "--rate", "1000/s", "-c"];
    let arguments = [&arguments[..], &["config.example.toml", export.to_str().expect("UTF-8")]].concat();
    world.execute(&arguments).expect_code(0).expect_outcomes("40 created").expect_calls(90);
    world.execute(&arguments).expect_code(0).expect_outcomes("40 unchanged").expect_calls(0);
}

#[test]
fn a_utf8_export_is_not_read_in_another_encoding() {
    let world = World::default().with_settings("[input]\nencoding = \"windows-1252\"\n");
    let rows = "A1,Ren\u{e9},M\u{fc}ller,a@example.org,,,\nA2,Zo\u{eb},Stra\u{df},b@example.org,,,\n";
    world.run(rows).expect_code(2).expect_stderr("export.csv: the export is UTF-8").expect_stderr("auto");
    let single: Vec<u8> = format!("{HEADER}{rows}").chars().map(|letter| letter as u8).collect();
    world.file("export.csv", &single);
    world.execute(&["run", "export.csv"]).expect_code(0);
    // Some windows-1252 names look like UTF-8.
    world.file(
        "short.csv",
        b"id,first,last,email,email2,phone,op\nA3,Ren\xe9,,,,,\nA4,Ren\xe9,,,,,\nA5,NESTL\xc9\xae,,,,,\n",
    );
    world.execute(&["run", "--json", "--min-rows", "0", "short.csv"]).expect_code(0);
    assert_eq!(world.state().customers[0].lastname.as_deref(), Some("M\u{fc}ller"));
}

#[test]
fn a_broken_line_survives_repeated_runs_of_its_result_file() {
    let world = World::default();
    world.file("export.jsonl", b"{\"id\": \"A1\", \"first\": \"Ann\n");
    let mut export = "export.jsonl".to_owned();
    for _ in 0..3 {
        world.execute(&["run", "--json", &export]).expect_code(1).expect_outcomes("1 rejected");
        let rejected = world.result("rejected.jsonl").expect("a result file");
        let line: serde_json::Value = serde_json::from_slice(&rejected).expect("JSON");
        assert_eq!(line["_sync_raw"], "{\"id\": \"A1\", \"first\": \"Ann", "{line}");
        assert_eq!(line["_sync_code"], "malformed_row");
        export = "again.jsonl".to_owned();
        world.file(&export, &rejected);
    }
}

#[test]
fn a_delimiter_after_the_last_cell_is_no_column() {
    let world = World::default();
    let header = HEADER.replace('\n', ",\n");
    let rows = "A1,Ann,Smit,a@example.org,,,,\nA2,Bob,Smit,no-address,,,,\n";
    world.file("export.csv", format!("{header}{rows}").as_bytes());
    assert!(!world.execute(&["init", "export.csv"]).expect_code(0).stdout.contains("\"\""));
    world.execute(&RUN).expect_code(1).expect_outcomes("1 created, 1 rejected");
    let rejected = world.result_text("rejected.csv");
    world.file("fixed.csv", rejected.replacen("no-address", "b@example.org", 1).as_bytes());
    world.execute(&["run", "--json", "fixed.csv"]).expect_code(0).expect_outcomes("1 created");
}

#[test]
fn a_delimiter_after_the_last_cell_of_the_header_alone_is_no_column() {
    let world = World::default();
    let header = HEADER.replace('\n', ",\n");
    let rows = "A1,Ann,Smit,a@example.org,,,\nA2,\"Bob, jr.\",Smit,no-address,,,\n";
    world.file("export.csv", format!("{header}{rows}").as_bytes());
    world.execute(&RUN).expect_code(1).expect_outcomes("1 created, 1 rejected");
    let rejected = world.result_text("rejected.csv");
    world.file("fixed.csv", rejected.replacen("no-address", "b@example.org", 1).as_bytes());
    world.execute(&["run", "--json", "fixed.csv"]).expect_code(0).expect_outcomes("1 created");
    assert_eq!(world.state().customers.len(), 2);
    // A row with fewer cells lacks one. A row with more has an extra delimiter, and
    // its cells may be in the wrong columns.
    for row in ["A3,Ann,Smit,a3@example.org,,", "A3,Ann,Smit,Jr,a3@example.org,,,"] {
        world.file("export.csv", format!("{header}A1,Ann,Smit,a@example.org,,,\n{row}\n").as_bytes());
        let output = world.execute(&RUN).expect_code(1);
        assert_eq!(output.outcomes(), "1 unchanged, 1 rejected", "{row}");
    }
    // The last cell may be blank or not, and the last line end may be missing.
    let rows =
        "A8,Ann,Smit,a8@example.org,,,sync\nA9,Ann,Smit,a9@example.org,,,\nB1,Ann,Smit,b1@example.org,,,";
    world.file("export.csv", format!("{header}{rows}").as_bytes());
    world.execute(&RUN).expect_code(0).expect_outcomes("3 created");
    // If rows end with it too, nothing may follow it.
    let rows = "A1,Ann,Smit,a@example.org,,,,\nA4,Ann,Smit,Jr,a4@example.org,,,\n";
    world.file("export.csv", format!("{header}{rows}").as_bytes());
    world.execute(&RUN).expect_code(1).expect_outcomes("1 unchanged, 1 rejected");
    // Spreadsheets omit some of them. The last cell shows which.
    let rows = "A6,Ann,Smit,a6@example.org,,,,\nA7,Ann,Smit,a7@example.org,,,sync\n";
    world.file("export.csv", format!("{header}{rows}").as_bytes());
    world.execute(&RUN).expect_code(0).expect_outcomes("2 created");
    world.file(
        "cut.csv",
        format!("{header}A1,Ann,Smit,a@example.org,,,,\nA5,Ann,Smit,a5@example.or").as_bytes(),
    );
    world.execute(&["run", "cut.csv"]).expect_code(2).expect_stderr("cut.csv");
}

/// Two inch signs in different rows make one cell of everything between them.
#[test]
fn rows_between_two_stray_quotes_are_rejected_and_not_lost() {
    let world = World::default();
    let row = |id: usize, last: &str| format!("A{id},Ann,{last},a{id}@example.org,,,\n");
    let rows = |open: &str, close: &str| -> String {
        let last = |id| match id {
            3 => open,
            6 => close,
            _ => "Smit",
        };
        (0..10).map(|id| row(id, last(id))).collect()
    };
    world.write_export(&rows("\"flat", "42\""));
    world
        .execute(&RUN)
        .expect_code(1)
        .expect_outcomes("6 created, 1 rejected")
        .expect_stderr("first row 4 on line 5")
        .expect_stderr("closes 3 lines");
    // The unchanged result file is rejected again.
    let rejected = world.result_text("rejected.csv");
    world.file("again.csv", rejected.as_bytes());
    world.execute(&["run", "--json", "again.csv"]).expect_code(1).expect_outcomes("1 rejected");
    // Without the quotes its lines are rows of their own.
    let fixed = rejected.replace("\"flat", "flat").replace("42\"", "42");
    world.file("fixed.csv", fixed.as_bytes());
    world.execute(&["run", "--json", "fixed.csv"]).expect_code(0).expect_outcomes("4 created");
    // Other quotes, blank lines and short rows between them change nothing.
    for (open, close) in [("\"17 inch", "27\",\"z, zz\""), ("\"17\"\" inch", "27\"")] {
        let rows = format!("{}\nX,1\n{}{}{}", row(3, open), row(4, "Smit"), row(5, "Smit"), row(6, close));
        world.file("export.csv", format!("{HEADER}{rows}{}", row(7, "Smit")).as_bytes());
        let output = world.run_with(&["--min-rows", "0"]).expect_code(1);
        assert!(output.stderr.contains("looks like rows"), "{open}: {}", output.stderr);
    }
    // A cell may hold line ends.
    let address = "id,address,email\n1,\"12 Main St, Apt 4\nSpringfield, IL 62701\",ann@example.org\n";
    let world = World::default().with_mapping(
        "[customer]\nprimary_id = \"id\"\nbrand_id = { value = 2 }\nemail = \"email\"\n[customer.custom]\naddress = \"address\"\n",
        "",
    );
    world.file("export.csv", address.as_bytes());
    world.execute(&RUN).expect_code(0).expect_outcomes("1 created");
    let texts = "B1,Ann,\"Smit\nJr\",b1@example.org,,,\nB2,Ann,\"a,b,c,d,e,f,\ng\",b2@example.org,,,\n";
    let world = World::default();
    world.run(texts).expect_code(0).expect_outcomes("2 created");
}

/// A frequent cause does not hide another one with the same code.
#[test]
fn causes_with_the_same_code_are_counted_apart() {
    let world = World::default();
    let rows = "A1,Ann,Smit,,,06-1,\nA2,Bob,Smit,,,\"3,16E+10\",\nA3,Cor,Smit,,,\"3,16E+11\",\n";
    let output = world.run(rows).expect_code(1);
    let causes = output.json()["causes"].as_array().expect("causes").clone();
    let counts: Vec<_> = causes.iter().map(|cause| (cause["code"].clone(), cause["count"].clone())).collect();
    assert_eq!(counts.len(), 2, "{counts:?}");
    assert!(
        counts.contains(&("bad_phone".into(), 1.into())) && counts.contains(&("bad_phone".into(), 2.into()))
    );
}
