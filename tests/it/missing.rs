//! Customers whom the export does not hold any more: named, reported, purged,
//! and never those of whom anything says that they are still there.

use std::time::Duration;

use omnidesk_sync::sandbox::Settings;

use crate::world::{Ended, HEADER, MAPPING, World};

const PURGE: &[&str] = &["run", "--json", "--allow-purge", "--max-purge", "100", "export.csv"];

fn world(action: &str) -> World {
    switched(World::new(Settings::default()), action)
}

/// The same world with another action, or with other settings behind it.
fn switched(world: World, action: &str) -> World {
    let mapping = MAPPING.replace(
        "[operation]\n",
        "[[operation.rule]]\nwhen = \"first == 'skipped'\"\nthen = \"skip\"\n[operation]\n",
    );
    world.with_mapping(&format!("[guard]\nmin_rows = 0\n[missing]\naction = \"{action}\"\n{mapping}"), "")
}

/// Customers of these numbers.
fn rows(ids: impl IntoIterator<Item = u32>) -> String {
    ids.into_iter().map(|id| format!("KLANT-{id},Ann,Smit,k{id}@example.org,,,\n")).collect()
}

fn export(world: &World, rows: &str) {
    world.file("export.csv", format!("{HEADER}{rows}").as_bytes());
}

fn missing(ended: &Ended) -> String {
    let summary = ended.json();
    ended.outcomes();
    let missing = &summary["missing"];
    format!("{} {} {} {}", missing["action"], missing["found"], missing["purged"], missing["failed"])
        .replace('"', "")
}

fn customers(world: &World) -> usize {
    world.state().customers.len()
}

fn text(world: &World, name: &str) -> String {
    String::from_utf8(world.result(name).unwrap_or_default()).expect("UTF-8")
}

/// What was repaired of a night is no export without the others.
#[test]
fn a_result_file_of_json_lines_is_a_part_however_it_is_mended() {
    let world = world("purge");
    let line = |id: u32| format!("{{\"id\":\"C{id}\",\"first\":\"Ann\",\"mail\":\"c{id}@example.org\"}}\n");
    let broken = |id: u32| line(id).replacen("\"Ann\"", "\"A\"nn\"", 1);
    let night: String = (0..14).map(line).chain((14..20).map(broken)).collect();
    world.file("night.jsonl", night.as_bytes());
    let ended = world.ends(&["run", "--json", "--allow-purge", "night.jsonl"]).expect(1);
    assert_eq!(ended.outcomes(), "14 created, 6 rejected");
    let rejected = String::from_utf8(world.result("rejected.jsonl").expect("a file")).expect("UTF-8");
    // In its place, where it stands, or some of both.
    let in_place = rejected.replace(r#"\"A\"nn\""#, r#"\"Ann\""#);
    let first = rejected.lines().skip(1).fold(line(14), |all, line| format!("{all}{line}\n"));
    for (mended, code) in [(first, 1), (in_place, 0)] {
        world.file("mended.jsonl", mended.as_bytes());
        let ended = world.ends(&["run", "--json", "--allow-purge", "mended.jsonl"]).expect(code);
        assert!(ended.stderr.contains("only a part of an export"), "{}", ended.stderr);
    }
    assert_eq!(customers(&world), 20);
    assert_eq!(world.state().counters.purge, 0);
}

#[test]
fn a_result_file_in_another_encoding_is_a_part_too() {
    let world = world("purge");
    let config = world.read("omnidesk-sync.toml").replace("[input]", "[input]\nencoding = \"windows-1252\"");
    world.file("omnidesk-sync.toml", config.as_bytes());
    let line = |id: u32, mail: &str| {
        let line = format!("{{\"id\":\"C{id}\",\"first\":\"Ren\u{e9}\",\"email\":\"{mail}\"}}\n");
        encoding_rs::WINDOWS_1252.encode(&line).0.into_owned()
    };
    let night =
        [line(0, "c0@example.org"), line(1, "c1@example.org"), line(2, "none"), line(3, "none")].concat();
    world.file("night.jsonl", &night);
    let run = |name: &str| world.ends(&["run", "--json", "--allow-purge", name]);
    assert_eq!(run("night.jsonl").expect(1).outcomes(), "2 created, 2 rejected");
    for _ in 0..2 {
        let rejected = world.result("rejected.jsonl").expect("a result file");
        world.file("again.jsonl", &rejected);
        let ended = run("again.jsonl").expect(1);
        assert_eq!(ended.outcomes(), "2 rejected");
        assert!(ended.stderr.contains("only a part of an export"), "{}", ended.stderr);
    }
    let rejected = world.result("rejected.jsonl").expect("a result file");
    let (text, ..) = encoding_rs::WINDOWS_1252.decode(&rejected);
    let mended = text.replacen("\"email\":\"none\"", "\"email\":\"x@example.org\"", 1);
    world.file("mended.jsonl", &encoding_rs::WINDOWS_1252.encode(&mended).0);
    assert_eq!(run("mended.jsonl").expect(1).outcomes(), "1 created, 1 rejected");
    assert_eq!((customers(&world), world.state().counters.purge), (3, 0));
}

#[test]
fn an_export_that_is_too_short_says_who_would_be_purged() {
    let world = world("purge");
    world.run(&rows(1..=10)).expect(0);
    let config = world.read("omnidesk-sync.toml").replace("min_rows = 0", "allow_purge = true");
    world.file("omnidesk-sync.toml", config.as_bytes());
    let blocked = world.run(&rows(1..=2)).expect(7);
    assert!(blocked.stderr.contains("8 customers who are not in it would be purged"), "{}", blocked.stderr);
}

#[test]
fn the_missing_are_reported_and_left_alone() {
    let world = world("report");
    world.run(&rows(1..=10)).expect(0);
    let ended = world.run(&rows(3..=10)).expect(0);
    assert_eq!(missing(&ended), "report 2 0 0");
    let lines = text(&world, "missing.csv");
    for id in 1..=10 {
        assert_eq!(lines.contains(&format!("2,KLANT-{id},reported")), id < 3, "{lines}");
    }
    assert_eq!(customers(&world), 10);
    let status = world.ends(&["status", "--json"]).expect(0).json();
    assert_eq!(status["runs"][0]["missing"]["found"], 2, "{status}");
    let plan = world.ends(&["plan", "--json", "export.csv"]).expect(0).json();
    assert_eq!((&plan["missing"]["found"], &plan["calls_total"]), (&2.into(), &0.into()));
}

#[test]
fn the_missing_are_purged_with_leave_and_leave_a_receipt() {
    let world = world("purge");
    world.run(&rows(1..=10)).expect(0);
    export(&world, &rows(4..=10));
    let plan = world.ends(&["plan", "--show", "9", "export.csv"]).expect(0).stdout;
    assert!(plan.contains("KLANT-1") && plan.contains("guard allow_purge will block"), "{plan}");
    let requests = world.state().counters.requests;
    let refused = world.ends(&["run", "export.csv"]).expect(7);
    assert!(refused.stderr.contains("of which 3 are of customers missing"), "{}", refused.stderr);
    let refused = world.ends(&["run", "--allow-purge", "--max-purge", "2", "export.csv"]).expect(7);
    assert!(refused.stderr.contains("--max-purge 3"), "{}", refused.stderr);
    assert_eq!(world.state().counters.requests, requests);
    let ended = world.ends(PURGE).expect(0);
    assert_eq!((missing(&ended).as_str(), ended.outcomes().as_str()), ("purge 3 3 0", "7 unchanged"));
    assert_eq!(customers(&world), 7);
    let folder =
        ended.json()["folder"].as_str().expect("a folder").rsplit('/').next().expect("a name").to_owned();
    let receipts = text(&world, "outcomes.csv");
    for id in 1..=3 {
        let end = format!(",,,purge,done,200,1,{folder},2,KLANT-{id}");
        assert!(receipts.lines().any(|line| line.ends_with(&end) && line.starts_with("20")), "{receipts}");
    }
    assert!(text(&world, "missing.csv").contains("2,KLANT-2,purged"));
    // Purged once; an export that brings one back is refused that row.
    let again = world.ends(PURGE).expect(0);
    assert_eq!((missing(&again).as_str(), again.calls()), ("purge 0 0 0", 0));
    let back = world.run(&rows(3..=10)).expect(1);
    assert_eq!(back.outcomes(), "7 unchanged, 1 rejected");
    assert!(text(&world, "rejected.csv").contains("purged_before"));
    let allowed = world.ends(&["run", "--json", "--allow-recreate", "export.csv"]).expect(0);
    assert_eq!((allowed.outcomes().as_str(), customers(&world)), ("1 created, 7 unchanged", 8));
}

#[test]
fn a_row_that_is_skipped_or_refused_says_that_its_customer_is_there() {
    let world = world("purge");
    world.run(&rows(1..=10)).expect(0);
    let others = "KLANT-1,Ann,Smit,no-address,,,\nKLANT-2,skipped,,,,,\n";
    export(&world, &format!("{others}{}", rows(4..=10)));
    let ended = world.ends(PURGE).expect(1);
    assert_eq!(missing(&ended), "purge 1 1 0");
    assert_eq!(customers(&world), 9);
    // Nobody knows whose row the last is.
    export(&world, &format!(",Ann,Smit,,,,\n{others}{}", rows(5..=10)));
    let refused = world.ends(PURGE).expect(7);
    assert!(refused.stderr.contains("1 rejected row has no readable id"), "{}", refused.stderr);
    assert_eq!(customers(&world), 9);
}

#[test]
fn a_part_of_an_export_and_one_with_operations_of_its_own_do_not_tell_who_is_missing() {
    let world = world("purge");
    world.run(&rows(1..=10)).expect(0);
    let limited = world.ends(&["run", "--json", "--allow-purge", "--limit", "4", "export.csv"]).expect(0);
    assert!(limited.json()["missing"].is_null(), "{}", limited.stdout);
    assert!(limited.stderr.contains("only a part"), "{}", limited.stderr);
    for row in
        ["KLANT-1,Bob,Smit,,,,update\n", "KLANT-1,,,,,,purge\n", "KLANT-2,Bob,Smit,no-address,,,create\n"]
    {
        export(&world, row);
        let ended = world.ends(PURGE);
        assert!(ended.json()["missing"].is_null(), "{}", ended.stdout);
        assert!(ended.stderr.contains("operations of their own"), "{}", ended.stderr);
    }
    assert_eq!(customers(&world), 9, "the one of the row");
}

#[test]
fn customers_of_a_brand_that_the_export_is_not_for_are_left_alone() {
    let world = world("purge");
    world.run(&rows(1..=4)).expect(0);
    let config = world.read("omnidesk-sync.toml");
    world.file("omnidesk-sync.toml", config.replace("{ value = 2 }", "{ value = 3 }").as_bytes());
    export(&world, &rows(11..=12));
    let ended = world.ends(PURGE).expect(0);
    assert_eq!(missing(&ended), "purge 0 0 0");
    assert_eq!(ended.json()["missing"]["of_other_brands"], 4);
    assert_eq!(customers(&world), 6);
}

#[test]
fn who_went_missing_before_ids_were_kept_is_counted_and_the_others_are_named() {
    let world = world("ignore");
    world.run(&rows(1..=10)).expect(0);
    let world = switched(world, "purge");
    export(&world, &rows(2..=10));
    let first = world.ends(PURGE).expect(0);
    assert_eq!(
        (missing(&first).as_str(), first.json()["missing"]["without_id"].as_u64()),
        ("purge 0 0 0", Some(1))
    );
    assert!(first.stderr.contains("1 known customer not in the export, without a stored id"));
    export(&world, &rows(4..=10));
    assert_eq!(missing(&world.ends(PURGE).expect(0)), "purge 2 2 0");
    assert_eq!(customers(&world), 8);
    // Ids are forgotten with the wish to know them.
    let named = |world: &World| {
        let connection =
            rusqlite::Connection::open(world.path("omnidesk-sync.checkpoint")).expect("a checkpoint");
        connection
            .query_row("SELECT count(*) FROM stored_id", [], |row| row.get::<_, i64>(0))
            .expect("a count")
    };
    assert_eq!(named(&world), 7, "those who are there");
    let bytes = std::fs::read(world.path("omnidesk-sync.checkpoint")).expect("a checkpoint");
    assert!(!bytes.windows(5).any(|part| part == b"KLANT"), "an id in clear");
    let world = switched(world, "ignore");
    world.run(&rows(5..=10)).expect(0);
    assert_eq!(named(&world), 0);
}

#[test]
fn adopted_customers_can_be_named() {
    let world = world("purge");
    export(&world, &rows(1..=5));
    world.ends(&["adopt", "export.csv"]).expect(0);
    export(&world, &rows(2..=5));
    let plan = world.ends(&["plan", "--json", "export.csv"]).expect(0).json();
    assert_eq!(plan["missing"]["found"], 1, "{plan}");
}

/// A run with 60 purges of missing customers, killed amid them.
fn killed() -> World {
    let world = World::new(Settings { latency: Duration::from_millis(5), ..Settings::default() });
    let world = switched(world, "purge");
    world.run(&rows(1..=70)).expect(0);
    export(&world, &rows(61..=70));
    let mut child = world.starts(PURGE);
    world.wait_for_requests(world.state().counters.requests + 20, &mut child);
    child.kill().expect("killed");
    child.wait().expect("gone");
    assert!((11..70).contains(&customers(&world)), "{}", customers(&world));
    world
}

#[test]
fn a_killed_run_goes_on_with_those_who_are_left() {
    let world = killed();
    let blocked = world.ends(&["run", "export.csv"]).expect(7);
    // Those that are settled need no leave any more.
    let (before, _) = blocked.stderr.split_once(" purges").expect("a guard");
    let left: usize = before.rsplit(' ').next().and_then(|word| word.parse().ok()).expect("a number");
    assert!((1..60).contains(&left), "{}", blocked.stderr);
    let ended = world.ends(PURGE).expect(0);
    assert_eq!((missing(&ended).as_str(), ended.outcomes().as_str()), ("purge 60 60 0", "10 unchanged"));
    assert_eq!(customers(&world), 10);
    let lines = text(&world, "missing.csv");
    assert_eq!(lines.lines().count(), 61, "one line each: {lines}");
    assert_eq!(world.ends(PURGE).expect(0).calls(), 0);
}

#[test]
fn who_is_back_in_the_next_export_is_not_purged_any_more() {
    let world = killed();
    let left = customers(&world);
    export(&world, &rows(1..=70));
    let ended = world.ends(PURGE);
    assert_eq!(missing(&ended), "purge 0 0 0");
    assert!(customers(&world) >= left, "one that is there was purged");
    assert_eq!(ended.json()["calls"]["purge"], 0);
    assert!(ended.code == Some(1), "those who were purged stay so: {}", ended.stdout);
}

#[test]
fn leave_to_purge_the_missing_can_be_taken_back_while_a_run_is_open() {
    let world = switched(killed(), "report");
    let left = customers(&world);
    let ended = world.ends(&["run", "--json", "export.csv"]).expect(0);
    assert_eq!(ended.json()["calls"]["purge"], 0);
    assert_eq!(customers(&world), left);
    assert_eq!(world.ends(&["status", "--json"]).expect(0).json()["open_run"], serde_json::Value::Null);
}

#[test]
fn a_purge_that_fails_is_said_and_is_no_row() {
    let world = world("purge");
    world.run(&rows(1..=10)).expect(0);
    // Somebody else has purged one, and this checkpoint knows nothing of it.
    let config = world.read("omnidesk-sync.toml").replace("[missing]\naction = \"purge\"\n", "");
    world.file("other.toml", format!("{config}\n[checkpoint]\npath = \"other\"\n").as_bytes());
    export(&world, "KLANT-1,,,,,,purge\n");
    world.ends(&["run", "-c", "other.toml", "--allow-purge", "export.csv"]).expect(0);
    export(&world, &rows(3..=10));
    let ended = world.ends(PURGE).expect(1);
    assert_eq!((missing(&ended).as_str(), ended.outcomes().as_str()), ("purge 2 1 1", "8 unchanged"));
    assert!(ended.stderr.contains("missing: 1 purged, 1 failed"), "{}", ended.stderr);
    let lines = text(&world, "missing.csv");
    assert!(lines.contains("2,KLANT-1,failed,not_found,"), "{lines}");
    assert!(world.result("failed.csv").is_none(), "it has no row");
    assert_eq!(missing(&world.ends(PURGE).expect(0)), "purge 0 0 0");
}
