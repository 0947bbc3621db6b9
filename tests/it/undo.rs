//! `undo`: a run is taken back, and nothing else.

use std::collections::BTreeSet;
use std::path::Path;

use omnidesk_sync::sandbox::{Script, Settings};

use crate::world::{CommandOutput, HEADER, RUN, World, rows};

fn last_folder(world: &World) -> String {
    world.status()["runs"][0]["folder"].as_str().expect("a folder").to_owned()
}

fn undo(world: &World, arguments: &[&str]) -> CommandOutput {
    world.execute(&[&["undo", "--json"], arguments].concat())
}

/// The arguments of the command that `undo` prints.
fn command(output: &CommandOutput) -> Vec<String> {
    let json = output.json();
    let words = json["command"].as_str().expect("a command").split(' ').skip(1).map(str::to_owned);
    words.chain(["--json".to_owned()]).collect()
}

fn apply(world: &World, output: &CommandOutput) -> CommandOutput {
    world.execute(&command(output).iter().map(String::as_str).collect::<Vec<_>>())
}

/// The ids of customers in Omnidesk.
fn ids(world: &World) -> BTreeSet<String> {
    let state = world.state();
    state.customers.iter().map(|customer| customer.id.primary_id.clone()).collect()
}

/// A tenant that holds the first 10 customers, unknown to the checkpoint.
fn with_ten_there_before() -> World {
    let world = World::default();
    world.run(&rows(10)).expect_code(0);
    for name in ["omnidesk-sync.checkpoint", "omnidesk-sync.checkpoint.lock"] {
        std::fs::remove_file(world.path(name)).expect("removed");
    }
    std::fs::remove_dir_all(world.path("runs")).expect("removed");
    world
}

#[test]
fn a_run_of_50_in_a_tenant_with_10_of_them_purges_40_and_the_real_load_makes_them_again() {
    let world = with_ten_there_before();
    let before = ids(&world);
    world.run(&rows(50)).expect_code(0).expect_outcomes("40 created, 10 updated");
    let folder = last_folder(&world);
    let name = folder.rsplit('/').next().expect("a name");
    let requests = world.requests();
    let output = undo(&world, &[name, "export.csv"]).expect_code(0);
    let json = output.json();
    assert_eq!(
        (&json["customers"], &json["changed"], &json["absent"]),
        (&40.into(), &serde_json::json!([]), &0.into())
    );
    assert_eq!(world.requests(), requests, "nothing is sent");
    let file = world.result_text("undo.csv");
    assert!(file.contains(&format!(",id:C10,{name}\n")) && !file.contains("id:C9,"), "{file}");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(format!("{folder}/undo.csv")).expect("a file").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    // The guards hold.
    let path = json["file"].as_str().expect("a path");
    world.execute(&["run", path]).expect_code(7).expect_stderr("allow_purge");
    world.execute(&["run", "--allow-purge", path]).expect_code(7).expect_stderr("max_purge");
    apply(&world, &output).expect_code(0).expect_outcomes("40 purged");
    assert_eq!(ids(&world), before, "those who were there are untouched");
    // It is a part: the base is no measure for it, nor it for the base.
    world.run(&rows(50)).expect_code(0).expect_outcomes("40 created, 10 unchanged");
    assert_eq!(ids(&world).len(), 50);
    // The file takes back nobody of another run.
    world
        .execute(&["run", "--json", "--full", "--allow-purge", "--max-purge", "50", path])
        .expect_code(0)
        .expect_outcomes("40 unchanged");
    assert_eq!(ids(&world).len(), 50);
}

#[test]
fn a_customer_whom_a_later_run_has_changed_stays_unless_asked_for() {
    let world = World::default();
    world.run(&rows(4)).expect_code(0);
    let folder = last_folder(&world);
    world.file("first.csv", world.read("export.csv").as_bytes());
    world.run(&rows(4).replace("C2,Ann", "C2,Eva")).expect_code(0).expect_outcomes("1 updated, 3 unchanged");
    let output = undo(&world, &[&folder, "first.csv"]).expect_code(1);
    let changed = &output.json()["changed"];
    assert_eq!(changed, &serde_json::json!([{ "row": 3, "line": 4, "run": 2 }]));
    let text = world.execute(&["undo", &folder, "first.csv"]).expect_code(1).stdout;
    assert!(text.contains("row 3 on line 4, by run 2") && text.contains("--include-changed"), "{text}");
    let all = undo(&world, &["--include-changed", &folder, "first.csv"]).expect_code(0);
    assert_eq!(all.json()["customers"], 4);
    apply(&world, &all).expect_code(0).expect_outcomes("4 purged");
    assert_eq!(undo(&world, &[&folder, "first.csv"]).expect_code(0).json()["file"], serde_json::Value::Null);
}

#[test]
fn it_purges_under_any_operations_and_only_with_its_own_id() {
    let world = World::default();
    world.run(&rows(4)).expect_code(0);
    let folder = last_folder(&world);
    let output = undo(&world, &[&folder, "export.csv"]).expect_code(0);
    let path = format!("{folder}/undo.csv");
    let written = std::fs::read_to_string(&path).expect("a file");
    // Another id, none, and a run that nobody knows.
    let edited = written.replace("id:C1,", "id:C0,").replace("id:C2,", ",").replacen(
        folder.rsplit('/').next().expect("a name"),
        "20200101T000000Z-other",
        1,
    );
    std::fs::write(&path, edited).expect("written");
    world.edit_config("column = \"op\"", "default = \"skip\"");
    let rejected = apply(&world, &output).expect_code(1).expect_outcomes("1 purged, 3 rejected");
    let causes = rejected.json()["causes"].clone();
    let codes: BTreeSet<&str> =
        causes.as_array().expect("causes").iter().filter_map(|cause| cause["code"].as_str()).collect();
    assert_eq!(codes, BTreeSet::from(["changed_id", "unknown_run"]));
    assert_eq!(ids(&world), BTreeSet::from(["C0", "C1", "C2"].map(str::to_owned)));
}

#[test]
fn an_undo_that_is_killed_resumes() {
    let world = World::with_latency_ms(5).with_settings("concurrency = 2\n");
    world.run(&rows(30)).expect_code(0);
    let output = undo(&world, &[&last_folder(&world), "export.csv"]).expect_code(0);
    let line = command(&output);
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    for _ in 0..2 {
        world.kill_after(6, &line);
    }
    let resumed = world.execute(&line).expect_code(0);
    assert_eq!(resumed.json()["resumed"], true);
    assert_eq!(ids(&world), BTreeSet::new());
    world.execute(&line).expect_code(0).expect_calls(0);
    world.run(&rows(30)).expect_code(0).expect_outcomes("30 created");
}

#[test]
fn rows_that_fail_can_be_run_again() {
    let world = World::default();
    world.run(&rows(3)).expect_code(0);
    let output = undo(&world, &[&last_folder(&world), "export.csv"]).expect_code(0);
    // Somebody has purged one of them, so that the API does not know the customer.
    let other = World::with_server(&world.base_url()).with_settings("[guard]\nallow_purge = true\n");
    other.run("C1,,,,,,purge\n").expect_code(0);
    apply(&world, &output).expect_code(1).expect_outcomes("2 purged, 1 failed");
    let failed = world.result_text("failed.csv");
    assert!(failed.lines().next().is_some_and(|header| header.ends_with(",_sync_undo")), "{failed}");
    world.file("failed.csv", failed.as_bytes());
    world.execute(&["run", "--json", "failed.csv"]).expect_code(0).expect_outcomes("1 unchanged");
    world.run(&rows(3)).expect_code(0).expect_outcomes("3 created");
}

#[test]
fn json_lines_are_taken_back_too() {
    let world = World::default();
    let line = |id: u32| {
        format!(
            "{{\"id\":\"J{id}\",\"first\":\"Ann\",\"last\":\"Smit\",\"email\":\"j{id}@example.org\",\"email2\":\"\",\"phone\":\"\",\"op\":\"\"}}\n"
        )
    };
    world.file("export.jsonl", (0..3).map(line).collect::<String>().as_bytes());
    world.execute(&["run", "--json", "export.jsonl"]).expect_code(0).expect_outcomes("3 created");
    let output = undo(&world, &[&last_folder(&world), "export.jsonl"]).expect_code(0);
    apply(&world, &output).expect_code(0).expect_outcomes("3 purged");
    assert_eq!(ids(&world), BTreeSet::new());
}

#[test]
fn customers_without_a_row_in_the_export_are_counted() {
    let world = World::default();
    world.run(&rows(4)).expect_code(0);
    let folder = last_folder(&world);
    world.file("other.csv", format!("{HEADER}{}", rows(1)).as_bytes());
    let output = undo(&world, &[&folder, "other.csv"]).expect_code(1);
    assert_eq!((&output.json()["customers"], &output.json()["absent"]), (&1.into(), &3.into()));
    undo(&world, &["20200101T000000Z-other", "export.csv"])
        .expect_code(2)
        .expect_stderr("no run of this checkpoint");
    std::fs::remove_dir_all(&folder).expect("removed");
    undo(&world, &[&folder, "export.csv"]).expect_code(2).expect_stderr("is not there any more");
}

#[test]
fn it_leaves_an_open_run_and_missing_customers_alone() {
    let world = World::with_latency_ms(5).with_settings(
        "concurrency = 1\n[missing]\naction = \"purge\"\n[guard]\nallow_purge = true\nmax_purge = 100\n",
    );
    world.run(&rows(20)).expect_code(0);
    let folder = last_folder(&world);
    world.file("first.csv", world.read("export.csv").as_bytes());
    world.write_export(&rows(20).replace(",Ann,", ",Eva,"));
    world.kill_after(4, &RUN);
    let output = undo(&world, &[&folder, "first.csv"]).expect_code(1);
    assert_eq!(output.json()["open_run"], true);
    let text = world.execute(&["undo", &folder, "first.csv"]).expect_code(1).stdout;
    assert!(
        text.contains("a run is open: finish it first, or give it up by running the whole base"),
        "{text}"
    );
    // It names operations of its own, so it does not supersede the open run.
    apply(&world, &output).expect_code(2);
    world.execute(&RUN).expect_code(0);
    let output = undo(&world, &["--include-changed", &folder, "first.csv"]).expect_code(0);
    apply(&world, &output).expect_code(0).expect_outcomes("20 purged");
    assert_eq!(world.status()["customers"], 0, "nobody is missing, and no tombstone is left");
}

/// The answer of a create is lost: a probe finds the customer, and nobody knows who
/// was first.
#[test]
fn a_customer_whom_a_probe_has_found_is_not_taken_back() {
    let lost = "[[answer]]\ncall = \"create\"\nid = \"C1\"\ntimes = 1\nacts = true\nstatus = 502\n";
    let script = Script::parse(lost, Path::new("script.toml")).expect("a script");
    let world = World::new(Settings { script, ..Settings::default() });
    world.run(&rows(3)).expect_code(0).expect_outcomes("3 created");
    let found = world.execute(&["explain", "--json", "C1"]).expect_code(0).json();
    assert_eq!(found["origin"], "found");
    let output = undo(&world, &[&last_folder(&world), "export.csv"]).expect_code(0);
    assert_eq!(output.json()["customers"], 2);
    apply(&world, &output).expect_code(0).expect_outcomes("2 purged");
    assert_eq!(ids(&world), BTreeSet::from(["C1".to_owned()]));
}
