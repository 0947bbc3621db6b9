//! The exports in `fixtures/` become the calls in their `expected.jsonl`,
//! which people wrote from the API's page.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use omnidesk_sync::sandbox::Settings;
use serde_json::{Value, json};

use crate::world::{HEADER, MAPPING, World};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn expected(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder(name).join("expected.jsonl")).expect("expected.jsonl");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The rows of `rejected.*`: line, code, column and value.
fn rejected(world: &World, export: &str) -> Vec<Value> {
    let ending = Path::new(export).extension().expect("an ending").to_str().expect("UTF-8");
    let Some(bytes) = world.result(&format!("rejected.{ending}")) else { return Vec::new() };
    if ending == "jsonl" {
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
    // The results are the last nine cells of the last physical line of a row,
    // whatever is wrong with the row itself.
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
                .from_reader(results_of(line, char::from(delimiter))?.as_bytes())
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

/// From `_sync_line` on: the operation is blank or a word, the code a known one.
fn results_of(line: &str, delimiter: char) -> Option<&str> {
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
    let world = World::at("http://127.0.0.1:9");
    let config = folder(name).join("config.toml");
    let path = folder(name).join(export);
    let (config, path) = (config.to_str().expect("UTF-8"), path.to_str().expect("UTF-8"));
    let plan = world.ends(&["plan", "--json", "--show", "100000", "-c", config, path]).expect(0).json();

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

    world.ends(&["run", "--sandbox", "--rate", "10000/s", "-c", config, path]);
    let wanted: Vec<Value> = expected
        .iter()
        .filter(|line| line["outcome"] == "rejected")
        .map(|line| {
            let text = |key: &str| line.get(key).cloned().unwrap_or_else(|| "".into());
            json!([line["line"], line["code"], text("column"), text("value")])
        })
        .collect();
    assert_eq!(rejected(&world, export), wanted, "{name}: rejected rows");
}

#[test]
fn hubspot() {
    check("hubspot", "export.csv");
}

#[test]
fn salesforce() {
    check("salesforce", "export.csv");
}

#[test]
fn dutch_excel() {
    check("dutch-excel", "klanten.csv");
}

#[test]
fn events() {
    check("events", "events.jsonl");
}

#[test]
fn the_demo_of_the_readme_is_clean() {
    let world = World::at("http://127.0.0.1:9");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = root.join("config.example.toml");
    let export = root.join("fixtures/customers.csv");
    let arguments = ["run", "--json", "--sandbox", "--rate", "1000/s", "-c"];
    let arguments =
        [&arguments[..], &[config.to_str().expect("UTF-8"), export.to_str().expect("UTF-8")]].concat();
    let ended = world.ends(&arguments).expect(0);
    assert_eq!((ended.outcomes().as_str(), ended.calls()), ("40 created", 90));
    let again = world.ends(&arguments).expect(0);
    assert_eq!((again.outcomes().as_str(), again.calls()), ("40 unchanged", 0));
}

#[test]
fn an_export_that_is_utf8_is_not_read_as_anything_else() {
    let mapping = format!("{MAPPING}\n[input]\nencoding = \"windows-1252\"\n");
    let world = World::new(Settings::default()).with_mapping(&mapping, "");
    let rows = "A1,Ren\u{e9},M\u{fc}ller,a@example.org,,,\nA2,Zo\u{eb},Stra\u{df},b@example.org,,,\n";
    let ended = world.run(rows).expect(2);
    assert!(
        ended.stderr.contains("export.csv: the export is UTF-8") && ended.stderr.contains("auto"),
        "{}",
        ended.stderr
    );
    let single: Vec<u8> = format!("{HEADER}{rows}").chars().map(|letter| letter as u8).collect();
    world.file("export.csv", &single);
    world.ends(&["run", "export.csv"]).expect(0);
    // A name or two may look like UTF-8.
    world.file(
        "short.csv",
        b"id,first,last,email,email2,phone,op\nA3,Ren\xe9,,,,,\nA4,Ren\xe9,,,,,\nA5,NESTL\xc9\xae,,,,,\n",
    );
    world.ends(&["run", "--json", "--min-rows", "0", "short.csv"]).expect(0);
    assert_eq!(world.state().customers[0].lastname.as_deref(), Some("M\u{fc}ller"));
}

#[test]
fn a_broken_line_stays_whole_however_often_its_result_file_is_run() {
    let world = World::new(Settings::default()).with_mapping(MAPPING, "");
    world.file("export.jsonl", b"{\"id\": \"A1\", \"first\": \"Ann\n");
    let mut export = "export.jsonl".to_owned();
    for _ in 0..3 {
        let ended = world.ends(&["run", "--json", &export]).expect(1);
        assert_eq!(ended.outcomes(), "1 rejected");
        let rejected = world.result("rejected.jsonl").expect("a result file");
        let line: serde_json::Value = serde_json::from_slice(&rejected).expect("JSON");
        assert_eq!(line["_sync_raw"], "{\"id\": \"A1\", \"first\": \"Ann", "{line}");
        assert_eq!(line["_sync_code"], "malformed_row");
        export = "again.jsonl".to_owned();
        world.file(&export, &rejected);
    }
}

#[test]
fn a_delimiter_behind_the_last_cell_is_no_column() {
    let world = World::new(Settings::default()).with_mapping(MAPPING, "");
    let header = HEADER.replace('\n', ",\n");
    let rows = "A1,Ann,Smit,a@example.org,,,,\nA2,Bob,Smit,no-address,,,,\n";
    world.file("export.csv", format!("{header}{rows}").as_bytes());
    assert!(!world.ends(&["init", "export.csv"]).expect(0).stdout.contains("\"\""));
    assert_eq!(world.ends(&["run", "--json", "export.csv"]).expect(1).outcomes(), "1 created, 1 rejected");
    let rejected = String::from_utf8(world.result("rejected.csv").expect("a result file")).expect("UTF-8");
    world.file("mended.csv", rejected.replacen("no-address", "b@example.org", 1).as_bytes());
    assert_eq!(world.ends(&["run", "--json", "mended.csv"]).expect(0).outcomes(), "1 created");
}

#[test]
fn a_delimiter_that_only_the_header_ends_with_is_no_column_either() {
    let world = World::new(Settings::default()).with_mapping(MAPPING, "");
    let header = HEADER.replace('\n', ",\n");
    let rows = "A1,Ann,Smit,a@example.org,,,\nA2,\"Bob, jr.\",Smit,no-address,,,\n";
    world.file("export.csv", format!("{header}{rows}").as_bytes());
    assert_eq!(world.ends(&["run", "--json", "export.csv"]).expect(1).outcomes(), "1 created, 1 rejected");
    let rejected = String::from_utf8(world.result("rejected.csv").expect("a result file")).expect("UTF-8");
    world.file("mended.csv", rejected.replacen("no-address", "b@example.org", 1).as_bytes());
    assert_eq!(world.ends(&["run", "--json", "mended.csv"]).expect(0).outcomes(), "1 created");
    assert_eq!(world.state().customers.len(), 2);
    // Less than that is a row that lacks something, and more one with a
    // delimiter too many: its cells would be those of their neighbours.
    for row in ["A3,Ann,Smit,a3@example.org,,", "A3,Ann,Smit,Jr,a3@example.org,,,"] {
        world.file("export.csv", format!("{header}A1,Ann,Smit,a@example.org,,,\n{row}\n").as_bytes());
        let ended = world.ends(&["run", "--json", "export.csv"]).expect(1);
        assert_eq!(ended.outcomes(), "1 unchanged, 1 rejected", "{row}");
    }
    // Whatever stands in the last cell, and without a line end behind the last row.
    let rows =
        "A8,Ann,Smit,a8@example.org,,,sync\nA9,Ann,Smit,a9@example.org,,,\nB1,Ann,Smit,b1@example.org,,,";
    world.file("export.csv", format!("{header}{rows}").as_bytes());
    assert_eq!(world.ends(&["run", "--json", "export.csv"]).expect(0).outcomes(), "3 created");
    // Where rows end with it as well, nothing may stand behind it.
    let rows = "A1,Ann,Smit,a@example.org,,,,\nA4,Ann,Smit,Jr,a4@example.org,,,\n";
    world.file("export.csv", format!("{header}{rows}").as_bytes());
    assert_eq!(world.ends(&["run", "--json", "export.csv"]).expect(1).outcomes(), "1 unchanged, 1 rejected");
    // Spreadsheets leave some out: that is told by what stands in the last cell.
    let rows = "A6,Ann,Smit,a6@example.org,,,,\nA7,Ann,Smit,a7@example.org,,,sync\n";
    world.file("export.csv", format!("{header}{rows}").as_bytes());
    assert_eq!(world.ends(&["run", "--json", "export.csv"]).expect(0).outcomes(), "2 created");
    world.file(
        "cut.csv",
        format!("{header}A1,Ann,Smit,a@example.org,,,,\nA5,Ann,Smit,a5@example.or").as_bytes(),
    );
    assert!(world.ends(&["run", "cut.csv"]).expect(2).stderr.contains("cut.csv"));
}

/// Two quotes that stand for inches, rows apart, make one cell of all between.
#[test]
fn rows_between_two_stray_quotes_are_refused_and_not_swallowed() {
    let world = World::new(Settings::default()).with_mapping(MAPPING, "");
    let row = |id: usize, last: &str| format!("A{id},Ann,{last},a{id}@example.org,,,\n");
    let rows = |quoted: &str, closed: &str| -> String {
        let last = |id| {
            if id == 3 {
                quoted
            } else if id == 6 {
                closed
            } else {
                "Smit"
            }
        };
        (0..10).map(|id| row(id, last(id))).collect()
    };
    world.file("export.csv", format!("{HEADER}{}", rows("\"flat", "42\"")).as_bytes());
    let ended = world.ends(&["run", "--json", "export.csv"]).expect(1);
    assert_eq!(ended.outcomes(), "6 created, 1 rejected");
    assert!(
        ended.stderr.contains("first row 4 on line 5") && ended.stderr.contains("closes 3 lines"),
        "{}",
        ended.stderr
    );
    // As it is, the result file is refused again, and mended it has all of them.
    let rejected = String::from_utf8(world.result("rejected.csv").expect("a result file")).expect("UTF-8");
    world.file("again.csv", rejected.as_bytes());
    assert_eq!(world.ends(&["run", "--json", "again.csv"]).expect(1).outcomes(), "1 rejected");
    // Mended as it says, its lines are rows of their own.
    let mended = rejected.replace("\"flat", "flat").replace("42\"", "42");
    world.file("mended.csv", mended.as_bytes());
    assert_eq!(world.ends(&["run", "--json", "mended.csv"]).expect(0).outcomes(), "4 created");
    // With other quotes beside the stray ones, blank lines and ragged ones.
    for (open, close) in [("\"17 inch", "27\",\"z, zz\""), ("\"17\"\" inch", "27\"")] {
        let rows = format!("{}\nX,1\n{}{}{}", row(3, open), row(4, "Smit"), row(5, "Smit"), row(6, close));
        world.file("export.csv", format!("{HEADER}{rows}{}", row(7, "Smit")).as_bytes());
        let ended = world.ends(&["run", "--json", "--min-rows", "0", "export.csv"]).expect(1);
        assert!(ended.stderr.contains("looks like rows"), "{open}: {}", ended.stderr);
    }
    // A text with line ends is one, and a cell that spans lines is no row.
    let address = "id,address,email\n1,\"12 Main St, Apt 4\nSpringfield, IL 62701\",ann@example.org\n";
    let short = World::new(Settings::default()).with_mapping(
        "[customer]\nprimary_id = \"id\"\nbrand_id = { value = 2 }\nemail = \"email\"\n[customer.custom]\naddress = \"address\"\n",
        "",
    );
    short.file("export.csv", address.as_bytes());
    assert_eq!(short.ends(&["run", "--json", "export.csv"]).expect(0).outcomes(), "1 created");
    let texts = "B1,Ann,\"Smit\nJr\",b1@example.org,,,\nB2,Ann,\"a,b,c,d,e,f,\ng\",b2@example.org,,,\n";
    let world = World::new(Settings::default()).with_mapping(MAPPING, "");
    assert_eq!(world.run(texts).expect(0).outcomes(), "2 created");
}

/// A cause of many rows does not hide another one of the same code.
#[test]
fn what_is_to_be_done_tells_causes_of_one_code_apart() {
    let world = World::new(Settings::default()).with_mapping(MAPPING, "");
    let rows = "A1,Ann,Smit,,,06-1,\nA2,Bob,Smit,,,\"3,16E+10\",\nA3,Cor,Smit,,,\"3,16E+11\",\n";
    let ended = world.run(rows).expect(1);
    let causes = ended.json()["causes"].as_array().expect("causes").clone();
    let told: Vec<_> = causes.iter().map(|cause| (cause["code"].clone(), cause["count"].clone())).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.contains(&("bad_phone".into(), 1.into())) && told.contains(&("bad_phone".into(), 2.into())));
}
