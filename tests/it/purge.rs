//! `purge`: one customer, without an export.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use omnidesk_sync::sandbox::{Script, Settings};

use crate::world::{CommandOutput, RUN, World, rows};

const ID: &str = "GDPR-7391";

fn purge(world: &World, arguments: &[&str]) -> CommandOutput {
    world.execute(&[&["purge", "--json"], arguments].concat())
}

/// The ids of customers in Omnidesk.
fn ids(world: &World) -> BTreeSet<String> {
    let state = world.state();
    state.customers.iter().map(|customer| customer.id.primary_id.clone()).collect()
}

fn person() -> String {
    format!("{ID},Ann,Smit,ann.smit@example.org,,,\n")
}

/// All files below a folder that hold the text, but for the export.
fn files_with(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if !path.ends_with("export.csv") {
            let bytes = std::fs::read(&path).expect("a file");
            if bytes.windows(text.len()).any(|part| part == text.as_bytes()) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn it_shows_whom_and_purges_only_if_allowed() {
    let world = World::default().with_settings("[guard]\nallow_purge = true\nmax_purge = 0\n");
    world.run(&format!("{}{}", rows(2), person())).expect_code(0);
    let requests = world.requests();
    let blocked = purge(&world, &[ID]).expect_code(7);
    assert_eq!(world.requests(), requests);
    assert!(
        blocked.stderr.contains(&format!("purge of customer {ID} of brand 2: created ")),
        "{}",
        blocked.stderr
    );
    assert!(blocked.stderr.contains(&format!("purge --allow-purge --json {ID}")), "{}", blocked.stderr);
    let output = purge(&world, &["--allow-purge", ID, ID]).expect_code(0).expect_outcomes("1 purged");
    assert_eq!(ids(&world), BTreeSet::from(["C0", "C1"].map(str::to_owned)));
    let json = output.json();
    let receipt = json["receipt"].as_str().expect("a path");
    let text = std::fs::read_to_string(receipt).expect("a receipt");
    let hash = json["customers"][0]["customer"].as_str().expect("a hash");
    assert!(text.contains(&format!(",{hash},2,purged,,,")), "{text}");
    let known = world.execute(&["explain", "--json", ID]).expect_code(0).json();
    assert_eq!((&known["customer"], &known["purge"]["reason"]), (&hash.into(), &"request".into()));
    // A tombstone as ever.
    world.run(&person()).expect_code(1).expect_outcomes("1 rejected");
    // It is sent again, since Omnidesk may hold the customer again.
    purge(&world, &["--allow-purge", ID]).expect_code(0).expect_outcomes("1 unchanged");
    assert_eq!(world.requests(), requests + 2);
    world.run_with(&["--allow-recreate"]).expect_code(0).expect_outcomes("1 created");
    purge(&world, &["--allow-purge", ID])
        .expect_code(0)
        .expect_outcomes("1 purged")
        .expect_stderr("done: purge of 1 customer in");
    assert!(!ids(&world).contains(ID));
}

#[test]
fn the_id_stays_in_clear_nowhere_that_the_program_has_written_after_it() {
    let script = format!(
        "[[answer]]\ncall = \"purge\"\nid = \"{ID}\"\ntimes = 1\nstatus = 400\nbody = '{{\"status\":\"error\",\"message\":\"{ID} is locked\"}}'\n"
    );
    let script = Script::parse(&script, Path::new("script.toml")).expect("a script");
    let world = World::new(Settings { script, ..Settings::default() })
        .with_settings("[missing]\naction = \"report\"\n");
    world.write_export(&format!("{}{}{ID},Ann,Smit,bad,,,\n", rows(3), person()));
    world.run_with(&["--metrics-file", "metrics.prom"]).expect_code(1);
    let older = files_with(&world.path("."), ID);
    assert_eq!(older.len(), 1, "{older:?}");
    // Refused once, with the id in the API's own words.
    purge(&world, &["--quiet", "--allow-purge", ID]).expect_code(1).expect_outcomes("1 failed");
    assert_eq!(files_with(&world.path("."), ID), older);
    let output = purge(&world, &["--quiet", "--allow-purge", ID]).expect_code(0).expect_outcomes("1 purged");
    assert_eq!(files_with(&world.path("."), ID), older, "checkpoint, log, receipt, metrics");
    assert!(!output.stdout.contains(ID), "{}", output.stdout);
    // The older file is named and stays.
    let named = output.json()["older_files"][0].as_str().expect("a path").to_owned();
    assert!(older[0].ends_with("rejected.csv") && named.ends_with("rejected.csv"));
    assert!(output.stderr.contains(&named), "{}", output.stderr);
    let receipt = PathBuf::from(output.json()["receipt"].as_str().expect("a path"));
    let folder = receipt.parent().expect("a folder");
    assert_eq!(std::fs::read_dir(folder).expect("a folder").count(), 1, "only the receipt");
    let mode = std::os::unix::fs::PermissionsExt::mode(&receipt.metadata().expect("a file").permissions());
    assert_eq!(mode & 0o777, 0o600);
    // Nor is the id kept for the search for missing customers.
    world.run(&rows(3)).expect_code(0);
    assert!(world.result("missing.csv").is_none());
}

#[test]
fn it_goes_beside_an_open_run_whose_rows_are_then_rejected() {
    let world = World::with_latency_ms(10).with_settings(
        "concurrency = 1\n[missing]\naction = \"purge\"\n[guard]\nallow_purge = true\nmax_purge = 100\n",
    );
    world
        .run(&format!(
            "{}{}GONE-1,Ann,Smit,gone@example.org,,,\nGONE-2,Ann,Smit,gone2@example.org,,,\n",
            rows(12),
            person()
        ))
        .expect_code(0);
    world.write_export(&format!(
        "{}{}",
        rows(12).replace(",Ann,", ",Eva,"),
        person().replace(",Ann,", ",Eva,")
    ));
    world.kill_after(4, &RUN);
    let open = world.status()["open_run"].clone();
    // One of its rows, one that it has settled, and one whom it is to purge as missing.
    purge(&world, &["--allow-purge", ID, "C0", "GONE-1"]).expect_code(0).expect_outcomes("3 purged");
    let after = world.status()["open_run"].clone();
    for name in ["id", "state", "rows", "settled", "outcomes", "calls_done"] {
        assert_eq!(after[name], open[name], "{name}");
    }
    let resumed = world.execute(&RUN).expect_code(1);
    assert_eq!(resumed.json()["resumed"], true);
    let outcomes = resumed.json()["outcomes"].clone();
    assert_eq!((&outcomes["rejected"], &outcomes["updated"]), (&1.into(), &12.into()), "{outcomes}");
    assert_eq!(resumed.json()["causes"][0]["code"], "purged_before");
    let expected: BTreeSet<String> = (1..12).map(|id| format!("C{id}")).collect();
    assert_eq!(ids(&world), expected);
}

#[test]
fn a_run_that_executes_excludes_it() {
    let world = World::with_latency_ms(50).with_settings("concurrency = 1\n");
    world.write_export(&rows(40));
    let mut child = world.spawn(&RUN);
    world.wait_for_requests(2, &mut child);
    purge(&world, &["--allow-purge", "C0"]).expect_code(6);
    crate::world::kill(&mut child);
}

#[test]
fn the_same_line_resumes_it() {
    let world = World::with_latency_ms(10).with_settings("concurrency = 1\n");
    world.run(&rows(12)).expect_code(0);
    let names: Vec<String> = (0..12).map(|id| format!("C{id}")).collect();
    let line: Vec<&str> =
        ["purge", "--json", "--allow-purge"].into_iter().chain(names.iter().map(String::as_str)).collect();
    world.kill_after(5, &line);
    let purged = 12 - ids(&world).len();
    assert!((3..12).contains(&purged), "{purged}");
    let output = world.execute(&line).expect_code(0).expect_outcomes("12 purged");
    assert_eq!(ids(&world), BTreeSet::new());
    let receipt =
        std::fs::read_to_string(output.json()["receipt"].as_str().expect("a path")).expect("a receipt");
    let lines: BTreeSet<&str> = receipt.lines().skip(1).filter_map(|line| line.split(',').nth(1)).collect();
    assert_eq!(lines.len(), 12, "one receipt for all: {receipt}");
    assert_eq!(world.status()["runs"].as_array().map(Vec::len), Some(2), "one run");
    world.run(&rows(12)).expect_code(1).expect_outcomes("12 rejected");
}

/// A purge is decided by no export that came after an earlier one.
#[test]
fn it_comes_after_all_exports() {
    let world = World::default();
    world.run(&rows(1)).expect_code(0);
    purge(&world, &["--allow-purge", "C0"]).expect_code(0);
    world.run(&rows(2)).expect_code(1);
    world.run_with(&["--allow-recreate"]).expect_code(0);
    purge(&world, &["--allow-purge", "C0"]).expect_code(0).expect_outcomes("1 purged");
    assert_eq!(ids(&world), BTreeSet::from(["C1".to_owned()]));
}

#[test]
fn a_brand_by_row_or_an_unusable_id_is_asked_for() {
    let world = World::default();
    purge(&world, &["--allow-purge", " "]).expect_code(2).expect_stderr("the id is blank");
    purge(&world, &["--allow-purge", "1.5E+10"]).expect_code(2).expect_stderr("damaged_id");
    purge(&world, &["--allow-purge", "NOBODY"]).expect_code(1).expect_outcomes("1 failed");
    world.edit_config("brand_id = { value = 2 }", "brand_id = \"brand\"");
    purge(&world, &[ID]).expect_code(2).expect_stderr("--brand N");
    world.file(
        "export.csv",
        format!("id,first,last,email,email2,phone,op,brand\n{},7\n{},8\n", person().trim(), person().trim())
            .as_bytes(),
    );
    world.execute(&RUN).expect_code(0);
    purge(&world, &["--allow-purge", "--brand", "7", ID]).expect_code(0);
    let left: Vec<u64> = world.state().customers.iter().map(|customer| customer.id.brand_id).collect();
    assert_eq!(left, [8]);
}

/// A purge of ten customers that was killed after a few of them.
fn interrupted(world: &World) -> Vec<String> {
    world.run(&rows(10)).expect_code(0);
    let mut line = vec!["purge".to_owned(), "--json".to_owned(), "--allow-purge".to_owned()];
    line.extend((0..10).map(|id| format!("C{id}")));
    world.kill_after(4, &line.iter().map(String::as_str).collect::<Vec<_>>());
    assert!((2..10).contains(&ids(world).len()), "{:?}", ids(world));
    line
}

fn execute(world: &World, line: &[String]) -> CommandOutput {
    world.execute(&line.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn an_interrupted_purge_stays_open_beside_a_nightly_run_and_is_resumed() {
    let world = World::with_latency_ms(10).with_settings("concurrency = 1\n");
    let line = interrupted(&world);
    let left = ids(&world);
    let status = world.status();
    assert_eq!(
        (&status["open_run"], &status["open_parts"][0]["kind"], &status["runs"][1]["kind"]),
        (&serde_json::Value::Null, &"request".into(), &"whole".into())
    );
    let text = world.execute(&["status"]).stdout;
    assert!(text.contains("the same `purge` command; to give it up: `purge --fresh`"), "{text}");
    // The night changes all, and brings new customers.
    world.write_export(&rows(12).replace(",Ann,", ",Eva,"));
    let plan = world.execute(&["plan", "export.csv"]).expect_code(0);
    assert!(plan.stderr.contains("`purge --fresh` gives it up"), "{}", plan.stderr);
    let night = world.execute(&RUN).expect_code(1).expect_stderr("stays open, with");
    assert_eq!(night.json()["outcomes"]["created"], 2, "{}", night.stdout);
    assert_eq!(night.json()["causes"][0]["code"], "purged_before");
    let output = execute(&world, &line).expect_code(0).expect_outcomes("10 purged");
    assert!(output.stderr.contains("resuming the purge of"), "{}", output.stderr);
    assert_eq!(ids(&world), BTreeSet::from(["C10", "C11"].map(str::to_owned)));
    assert_eq!(world.status()["open_parts"], serde_json::json!([]));
    assert_eq!(world.state().counters.purge, 10, "nobody is purged twice");
    assert!(!left.is_empty());
    world.run(&rows(12)).expect_code(1).expect_outcomes("2 updated, 10 rejected");
}

#[test]
fn fresh_gives_up_an_interrupted_purge_whose_ids_nobody_knows_any_more() {
    let world = World::with_latency_ms(10).with_settings("concurrency = 1\n");
    let none = purge(&world, &["--fresh"]).expect_code(0).expect_stderr("no purge is open");
    assert_eq!(none.json()["given_up"], serde_json::json!([]));
    assert!(!world.path("omnidesk-sync.checkpoint").exists());
    interrupted(&world);
    let (left, requests) = (ids(&world), world.requests());
    // Another purge leaves it open, and says how it ends.
    purge(&world, &["--allow-purge", "C9"]).expect_code(0).expect_stderr("or `purge --fresh` gives it up");
    // Without the option, nothing is given up.
    purge(&world, &["--fresh", "C8"]).expect_code(7).expect_stderr("purge --allow-purge --json --fresh C8");
    let open = world.status()["open_parts"][0].clone();
    let settled = open["settled"].as_u64();
    let given_up = purge(&world, &["--fresh"]).expect_code(0).expect_stderr("is given up, with").json();
    let request = &given_up["given_up"][0];
    assert_eq!((&given_up["schema"], &request["customers"]), (&1.into(), &10.into()));
    assert_eq!(request["left"].as_u64(), settled.map(|settled| 10 - settled));
    let receipt = std::fs::read_to_string(request["receipt"].as_str().expect("a path")).expect("a receipt");
    assert!(receipt.lines().count() > 1, "{receipt}");
    assert_eq!(world.requests(), requests + 1, "only that of the other purge");
    let status = world.status();
    assert_eq!(status["open_parts"], serde_json::json!([]));
    assert_eq!(
        status["runs"].as_array().expect("runs").iter().filter(|run| run["state"] == "superseded").count(),
        1
    );
    // Those who were left can be named again, and nobody comes back by himself.
    let mut line = vec!["--allow-purge"];
    line.extend(left.iter().map(String::as_str).filter(|id| *id != "C9"));
    purge(&world, &line).expect_code(0);
    assert_eq!(ids(&world), BTreeSet::new());
    world.run(&rows(10)).expect_code(1).expect_outcomes("10 rejected");
}

#[test]
fn fresh_with_ids_gives_the_interrupted_purge_up_and_begins_anew() {
    let world = World::with_latency_ms(10).with_settings("concurrency = 1\n");
    let mut line = interrupted(&world);
    line.insert(1, "--fresh".to_owned());
    let output = execute(&world, &line).expect_code(0);
    assert_eq!(
        (&output.json()["rows"], &output.json()["given_up"][0]["customers"]),
        (&10.into(), &10.into())
    );
    assert_eq!(ids(&world), BTreeSet::new());
    assert_eq!(world.status()["runs"].as_array().map(Vec::len), Some(3), "a run of its own");
}

#[test]
fn an_export_is_adopted_beside_an_interrupted_purge() {
    let world = World::with_latency_ms(10).with_settings("concurrency = 1\n");
    let line = interrupted(&world);
    let purged = 10 - ids(&world).len() as u64;
    // It records who is left, too, and brings back nobody.
    world.write_export(&rows(11));
    let adopted = world.execute(&["adopt", "--json", "export.csv"]).expect_code(1).json();
    let rejected = adopted["rejected"].as_u64().expect("a number");
    // The last call may be in doubt.
    assert!((purged..=purged + 1).contains(&rejected), "{adopted}");
    execute(&world, &line).expect_code(0).expect_outcomes("10 purged");
    assert_eq!(ids(&world), BTreeSet::new());
    world.run(&rows(10)).expect_code(1).expect_outcomes("10 rejected");
}

#[test]
fn a_lost_checkpoint_blocks_it_without_an_override() {
    let world = World::default();
    world.run(&rows(3)).expect_code(0);
    for name in ["omnidesk-sync.checkpoint", "omnidesk-sync.checkpoint.lock"] {
        std::fs::remove_file(world.path(name)).expect("removed");
    }
    let requests = world.requests();
    let blocked = purge(&world, &["--allow-purge", "C0"]).expect_code(7).expect_stderr("new_checkpoint");
    assert!(!blocked.stderr.contains("run:\n"), "no option overrides it: {}", blocked.stderr);
    assert_eq!((world.requests(), ids(&world).len()), (requests, 3));
    assert!(!world.path("omnidesk-sync.checkpoint").exists());
    // The way out that the message names.
    world.execute(&["adopt", "export.csv"]).expect_code(0);
    purge(&world, &["--allow-purge", "C0"]).expect_code(0).expect_outcomes("1 purged");
}

/// Result files have the encoding of their export.
#[test]
fn result_files_in_utf_16_or_another_encoding_are_named_too() {
    let export = format!("{}ÜN-7,Ann,Smit,bad,,,\n", crate::world::HEADER);
    let wide =
        |unit: fn(u16) -> [u8; 2], text: &str| -> Vec<u8> { text.encode_utf16().flat_map(unit).collect() };
    let latin: Vec<u8> =
        export.chars().map(|letter| u8::try_from(u32::from(letter)).expect("latin")).collect();
    let with_mark = format!("\u{feff}{export}");
    for (bytes, encoding) in [
        (wide(u16::to_le_bytes, &with_mark), "auto"),
        (wide(u16::to_be_bytes, &with_mark), "auto"),
        (wide(u16::to_le_bytes, &export), "utf-16le"),
        (latin, "windows-1252"),
    ] {
        let input = format!("[input]\nencoding = \"{encoding}\"\n");
        let world = World::default().with_settings(&input);
        world.file("export.csv", &bytes);
        world.execute(&RUN).expect_code(1).expect_outcomes("1 rejected");
        let named = |id: &str| {
            let json = purge(&world, &["--allow-purge", id]).expect_code(1).json();
            json["older_files"].as_array().expect("a list").len()
        };
        assert_eq!((named("ÜN-7"), named("ÜN")), (1, 1), "{encoding}");
    }
}

/// A rehearsal keeps its customers, and a real purge names that file.
#[test]
fn a_purge_is_rehearsed_in_the_sandbox_of_the_rehearsed_run() {
    let world = World::default();
    world.write_export(&format!("{}{}", rows(2), person()));
    world.run_with(&["--sandbox"]).expect_code(0).expect_outcomes("3 created");
    purge(&world, &["--sandbox", ID]).expect_code(7).expect_stderr(": created ");
    let options = ["--sandbox", "--allow-purge", "--rate", "100/s", ID];
    purge(&world, &options).expect_code(0).expect_outcomes("1 purged");
    world.write_export(&format!("{}{}", rows(2).replace("Ann", "Eva"), person()));
    world.run_with(&["--sandbox"]).expect_code(1).expect_outcomes("2 updated, 1 rejected");
    assert_eq!(world.requests(), 0);
    let output = purge(&world, &["--allow-purge", "C1"]).expect_code(1);
    let named = output.json()["older_files"].to_string();
    assert!(named.contains("omnidesk-sync.checkpoint.sandbox.state"), "{named}");
    // Without its checkpoint, a rehearsal begins anew.
    std::fs::remove_file(world.path("omnidesk-sync.checkpoint.sandbox")).expect("removed");
    world.run_with(&["--sandbox", "--full"]).expect_code(0).expect_outcomes("3 created");
}
