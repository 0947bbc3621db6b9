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
    purge(&world, &["--allow-purge", ID]).expect_code(0).expect_outcomes("1 purged");
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
