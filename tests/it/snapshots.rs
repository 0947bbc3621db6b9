//! The output for people and scripts: help, plans, summaries, result files, guards,
//! errors, exit codes. Run `INSTA_UPDATE=always cargo test snapshots` after a change,
//! and review each difference.

use std::fmt::Write as _;

use omnidesk_sync::sandbox::Settings;

use crate::world::{CommandOutput, HEADER, World};

/// Hides ports, times, folders and hashes, which differ from run to run.
fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (pattern, replacement) in [
        (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
        (r"/tmp/\.tmp\w+", "FOLDER"),
        (r"\d{8}T\d{6}Z", "TIME"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME"),
        (r"\(\d+ \w+ ago\)", "(AGO)"),
        (r"TIME-(\w+)-\d+", "TIME-$1"),
        (r"\S+/omnidesk-sync run", "omnidesk-sync run"),
        (r#""(seconds|answer_ms)": \d+(\.\d+)?(e-?\d+)?"#, "\"$1\": NUMBER"),
        (r#""(seconds|answer_ms)":\d+(\.\d+)?(e-?\d+)?"#, "\"$1\":NUMBER"),
        // Their values differ, and so does the number of buckets.
        (r#"(?s)"timeline": \{.*?\n  \}"#, "\"timeline\": TIMELINE"),
        (r#""(median_ms|p95_ms|p99_ms)": \d+(\.\d+)?"#, "\"$1\": NUMBER"),
        (r#""tag": \d+"#, "\"tag\": NUMBER"),
        (r#""tag":\d+"#, "\"tag\":NUMBER"),
        // Below the numbers, which may have as many digits.
        (r"[0-9a-f]{16}\b", "HASH"),
        (r"in \d+ m?s\b", "in DURATION"),
        (r", \d+ m?s\b", ", DURATION"),
    ] {
        settings.add_filter(pattern, replacement);
    }
    settings
}

fn check(name: &str, text: &str) {
    settings().bind(|| insta::assert_snapshot!(name, text));
}

/// A command with its output and exit code.
fn transcript(world: &World, arguments: &[&str]) -> String {
    let CommandOutput { code, stdout, stderr } = world.execute(arguments);
    let json: Result<serde_json::Value, _> = serde_json::from_str(&stdout);
    let stdout = json.map_or(stdout, |json| format!("{json:#}\n"));
    let code = code.unwrap_or(-1);
    format!("$ omnidesk-sync {}\n{stdout}--- stderr, exit {code}\n{stderr}\n", arguments.join(" "))
}

const COMMANDS: [&str; 10] =
    ["run", "plan", "init", "adopt", "status", "doctor", "sandbox", "schema", "completions", "man"];

#[test]
fn the_help_matches_its_snapshot() {
    let world = World::with_server("http://127.0.0.1:9");
    let mut text = transcript(&world, &["--help"]);
    for command in COMMANDS {
        text += &transcript(&world, &[command, "--help"]);
    }
    check("help", &text);
}

/// One row of each kind.
const ROWS: &str = "\
1,Ann,Smit,ann@example.org,ann@example.net,0612345678,sync
2,Bob,Bos,bob@example.org,,,create
3,Łukasz,Wit,lukasz@example.org,,,sync
4,Dik,,dik@example,,,sync
5,Eva,Kok,,,12,sync
6,,,,,,add-channel
7,Fee,Vos,fee@example.org,,,frob
8,Gijs,Mol,,,,skip
1,Anna,Smit,ann@example.org,,,sync
9,Hans,\"a\nb,h@example.org,,,sync
,Ida,Pen,ida@example.org,,,sync
10,Jan,Tol,bob@example.org,,,sync
4.41E+11,Kim,Zee,kim@example.org,,,sync
11,Leo,Pot,,,,update
";

#[test]
fn the_commands_of_a_night_match_their_snapshot() {
    let world = World::default().with_settings("concurrency = 1");
    world.write_export(ROWS);
    let mut text = String::new();
    for arguments in [
        &["plan", "--show", "2", "export.csv"][..],
        &["plan", "--json", "export.csv"],
        &["status"],
        &["run", "export.csv"],
        &["status"],
        &["status", "--json"],
        &["run", "export.csv"],
        &["run", "--quiet", "--full", "export.csv"],
    ] {
        text += &transcript(&world, arguments);
    }
    check("a_night", &text);
}

#[test]
fn result_files_match_their_snapshot() {
    let world = World::default().with_settings("concurrency = 1");
    world.write_export(ROWS);
    world.execute(&["run", "export.csv"]).expect_code(1);
    let mut text = String::new();
    for name in ["summary.json", "rejected.csv", "failed.csv", "notices.csv", "outcomes.csv"] {
        let content = world.result(name).unwrap_or_default();
        let _ = writeln!(text, "=== {name}\n{}", String::from_utf8_lossy(&content));
    }
    check("result_files", &text);
}

#[test]
fn guards_and_missing_customers_match_their_snapshot() {
    let settings = "[missing]\naction = \"purge\"\n[guard]\nmax_purge = 3\nshared_addresses = \"block\"\n";
    let world = World::default().with_settings(settings);
    let row = |id: usize| format!("C{id},Ann{id},Smit,c{id}@example.org,,,\n");
    let rows: String = (0..40).map(row).collect();
    let mut text = String::new();
    world.file("all.csv", format!("{HEADER}{rows}").as_bytes());
    text += &transcript(&world, &["run", "all.csv"]);
    let few: String = (0..10).map(row).collect();
    world.file("few.csv", format!("{HEADER}{few}").as_bytes());
    text += &transcript(&world, &["run", "few.csv"]);
    text += &transcript(&world, &["plan", "few.csv"]);
    let shared: String = (0..39).map(|id| format!("C{id},Ann{id},Smit,same@example.org,,,\n")).collect();
    world.file("shared.csv", format!("{HEADER}{shared}").as_bytes());
    text += &transcript(&world, &["run", "--allow-purge", "shared.csv"]);
    let most: String = (0..39).map(row).collect();
    world.file("most.csv", format!("{HEADER}{most}").as_bytes());
    text += &transcript(&world, &["run", "--allow-purge", "most.csv"]);
    text += &transcript(&world, &["run", "all.csv"]);
    check("guards_and_the_missing", &text);
}

#[test]
fn error_messages_match_their_snapshot() {
    let world = World::with_server("http://127.0.0.1:9");
    let mut text = String::new();
    world.file("export.csv", b"id,first,last,email,email2,phone,op\n1,Ann,Smit,ann@example.org,,,\n");
    world.file("empty.csv", b"");
    world.file("twice.csv", b"id,id\n1,2\n");
    world.file("cut.csv", b"id,first,last,email,email2,phone,op\n1,Ann,Smit,ann@example.org,,,\n2,Bo");
    world.file("list.json", b"[{\"id\":1},");
    for export in ["export.csv", "none.csv", "empty.csv", "twice.csv", "cut.csv", "list.json"] {
        text += &transcript(&world, &["run", export]);
    }
    let config = world.read("omnidesk-sync.toml");
    for (from, to) in [
        ("base_url", "base_ulr"),
        ("firstname = \"first\"", "firstname = \"frist\""),
        ("rate = \"20000/s\"", "rate = \"fast\""),
        ("https", "http"),
        ("http://127.0.0.1:9", "http://example.org"),
        ("http://127.0.0.1:9", "https://example.org?apiKey=x"),
        ("[limits]", "api_key = \"secret\"\n[limits]"),
        ("settle = ", "names = \"sent\"\nsettle = "),
        ("email = [\"email\", \"email2\"]", "email = { template = \"{{ emial }}\" }"),
    ] {
        world.file("omnidesk-sync.toml", config.replace(from, to).as_bytes());
        let _ = writeln!(text, "# {from} -> {to}");
        text += &transcript(&world, &["plan", "export.csv"]);
    }
    text += &transcript(&world, &["plan", "-c", "none.toml", "export.csv"]);
    world.file("omnidesk-sync.toml", config.as_bytes());
    world.file("omnidesk-sync.checkpoint", b"no checkpoint at all, but a text of some length");
    text += &transcript(&world, &["run", "export.csv"]);
    check("errors", &text);
}

#[test]
fn stopped_runs_match_their_snapshot() {
    let world = World::new(Settings { brands: Some(vec![7]), ..Settings::default() });
    let rows: String = (0..8).map(|id| format!("C{id},Ann,Smit,c{id}@example.org,,,\n")).collect();
    world.write_export(&rows);
    let mut text = transcript(&world, &["run", "export.csv"]);
    text += &transcript(&world, &["plan", "export.csv"]);
    world.file("other.csv", format!("{HEADER}C1,,,,,,purge\n").as_bytes());
    text += &transcript(&world, &["run", "--allow-purge", "other.csv"]);
    text += &transcript(&world, &["status"]);
    text += &transcript(&world, &["adopt", "export.csv"]);
    text += &transcript(&world, &["run", "--stop-at", "25:00", "export.csv"]);
    check("stopped_runs", &text);
}

#[test]
fn proposed_configurations_match_their_snapshot() {
    let world = World::with_server("http://127.0.0.1:9");
    let mut text = String::new();
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");
    for name in [
        "customers.csv",
        "dutch-excel/klanten.csv",
        "hubspot/export.csv",
        "salesforce/export.csv",
        "events/events.jsonl",
    ] {
        let export = if name.ends_with("jsonl") { "export.jsonl" } else { "export.csv" };
        std::fs::copy(format!("{fixtures}/{name}"), world.path(export)).expect("a copy");
        let _ = writeln!(text, "# {name}");
        text += &transcript(&world, &["init", export]);
    }
    check("proposed_configurations", &text);
}
