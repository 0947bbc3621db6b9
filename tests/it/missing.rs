//! Missing customers: they are reported or purged, but never if anything shows that
//! they still exist.

use crate::world::{CommandOutput, MAPPING, RUN, World};

const PURGE: &[&str] = &["run", "--json", "--allow-purge", "--max-purge", "100", "export.csv"];

fn world(action: &str) -> World {
    with_action(World::default(), action)
}

/// The same world with another action.
fn with_action(world: World, action: &str) -> World {
    let mapping = MAPPING.replace(
        "[operation]\n",
        "[[operation.rule]]\nwhen = \"first == 'skipped'\"\nthen = \"skip\"\n[operation]\n",
    );
    world.with_mapping(&mapping, &format!("[guard]\nmin_rows = 0\n[missing]\naction = \"{action}\"\n"))
}

/// Rows of customers with these numbers.
fn rows(ids: impl IntoIterator<Item = u32>) -> String {
    ids.into_iter().map(|id| format!("KLANT-{id},Ann,Smit,k{id}@example.org,,,\n")).collect()
}

/// Action, and counts of missing, purged and failed customers.
fn missing(output: &CommandOutput) -> String {
    output.outcomes();
    let missing = &output.json()["missing"];
    format!("{} {} {} {}", missing["action"], missing["found"], missing["purged"], missing["failed"])
        .replace('"', "")
}

fn customers(world: &World) -> usize {
    world.state().customers.len()
}

/// Fixed rows are no full export.
#[test]
fn a_fixed_result_file_of_json_lines_is_a_part() {
    let world = world("purge");
    let line = |id: u32| format!("{{\"id\":\"C{id}\",\"first\":\"Ann\",\"mail\":\"c{id}@example.org\"}}\n");
    let broken = |id: u32| line(id).replacen("\"Ann\"", "\"A\"nn\"", 1);
    let night: String = (0..14).map(line).chain((14..20).map(broken)).collect();
    world.file("night.jsonl", night.as_bytes());
    world
        .execute(&["run", "--json", "--allow-purge", "night.jsonl"])
        .expect_code(1)
        .expect_outcomes("14 created, 6 rejected");
    let rejected = world.result_text("rejected.jsonl");
    // One line is replaced, or all are fixed in place.
    let replaced = rejected.lines().skip(1).fold(line(14), |all, line| format!("{all}{line}\n"));
    let in_place = rejected.replace(r#"\"A\"nn\""#, r#"\"Ann\""#);
    for (fixed, code) in [(replaced, 1), (in_place, 0)] {
        world.file("fixed.jsonl", fixed.as_bytes());
        world
            .execute(&["run", "--json", "--allow-purge", "fixed.jsonl"])
            .expect_code(code)
            .expect_stderr("this is a part of the base");
    }
    assert_eq!(customers(&world), 20);
    assert_eq!(world.state().counters.purge, 0);
}

#[test]
fn a_result_file_in_another_encoding_is_a_part() {
    let world = world("purge");
    world.edit_config("[input]", "[input]\nencoding = \"windows-1252\"");
    let line = |id: u32, mail: &str| {
        let line = format!("{{\"id\":\"C{id}\",\"first\":\"Ren\u{e9}\",\"email\":\"{mail}\"}}\n");
        encoding_rs::WINDOWS_1252.encode(&line).0.into_owned()
    };
    let night =
        [line(0, "c0@example.org"), line(1, "c1@example.org"), line(2, "none"), line(3, "none")].concat();
    world.file("night.jsonl", &night);
    let run = |name: &str| world.execute(&["run", "--json", "--allow-purge", name]);
    run("night.jsonl").expect_code(1).expect_outcomes("2 created, 2 rejected");
    for _ in 0..2 {
        let rejected = world.result("rejected.jsonl").expect("a result file");
        world.file("again.jsonl", &rejected);
        run("again.jsonl")
            .expect_code(1)
            .expect_outcomes("2 rejected")
            .expect_stderr("this is a part of the base");
    }
    let rejected = world.result("rejected.jsonl").expect("a result file");
    let (text, ..) = encoding_rs::WINDOWS_1252.decode(&rejected);
    let fixed = text.replacen("\"email\":\"none\"", "\"email\":\"x@example.org\"", 1);
    world.file("fixed.jsonl", &encoding_rs::WINDOWS_1252.encode(&fixed).0);
    run("fixed.jsonl").expect_code(1).expect_outcomes("1 created, 1 rejected");
    assert_eq!((customers(&world), world.state().counters.purge), (3, 0));
}

#[test]
fn the_message_about_a_short_export_counts_the_purges() {
    let world = world("purge");
    world.run(&rows(1..=10)).expect_code(0);
    world.edit_config("min_rows = 0", "allow_purge = true");
    world.run(&rows(1..=2)).expect_code(7).expect_stderr("8 customers who are not in it would be purged");
}

#[test]
fn missing_customers_are_reported_and_not_changed() {
    let world = world("report");
    world.run(&rows(1..=10)).expect_code(0);
    let output = world.run(&rows(3..=10)).expect_code(0);
    assert_eq!(missing(&output), "report 2 0 0");
    let lines = world.result_text("missing.csv");
    for id in 1..=10 {
        assert_eq!(lines.contains(&format!("2,KLANT-{id},reported")), id < 3, "{lines}");
    }
    assert_eq!(customers(&world), 10);
    let status = world.status();
    assert_eq!(status["runs"][0]["missing"]["found"], 2, "{status}");
    let plan = world.execute(&["plan", "--json", "export.csv"]).expect_code(0).json();
    assert_eq!((&plan["missing"]["found"], &plan["calls_total"]), (&2.into(), &0.into()));
}

#[test]
fn missing_customers_are_purged_with_an_override_and_a_receipt() {
    let world = world("purge");
    world.run(&rows(1..=10)).expect_code(0);
    world.write_export(&rows(4..=10));
    let plan = world.execute(&["plan", "--show", "9", "export.csv"]).expect_code(0).stdout;
    assert!(plan.contains("KLANT-1") && plan.contains("guard allow_purge will block"), "{plan}");
    let requests = world.requests();
    world.execute(&["run", "export.csv"]).expect_code(7).expect_stderr("of which 3 are of customers missing");
    world
        .execute(&["run", "--allow-purge", "--max-purge", "2", "export.csv"])
        .expect_code(7)
        .expect_stderr("--max-purge 3");
    assert_eq!(world.requests(), requests);
    let output = world.execute(PURGE).expect_code(0).expect_outcomes("7 unchanged");
    assert_eq!(missing(&output), "purge 3 3 0");
    assert_eq!(customers(&world), 7);
    let summary = output.json();
    let folder = summary["folder"].as_str().expect("a folder").rsplit('/').next().expect("a name");
    let receipts = world.result_text("outcomes.csv");
    for id in 1..=3 {
        let end = format!(",,,purge,done,200,1,{folder},2,KLANT-{id}");
        assert!(receipts.lines().any(|line| line.ends_with(&end) && line.starts_with("20")), "{receipts}");
    }
    assert!(world.result_text("missing.csv").contains("2,KLANT-2,purged"));
    // They are purged once. A later row of one of them is rejected.
    let output = world.execute(PURGE).expect_code(0).expect_calls(0);
    assert_eq!(missing(&output), "purge 0 0 0");
    world.run(&rows(3..=10)).expect_code(1).expect_outcomes("7 unchanged, 1 rejected");
    assert!(world.result_text("rejected.csv").contains("purged_before"));
    world.run_with(&["--allow-recreate"]).expect_code(0).expect_outcomes("1 created, 7 unchanged");
    assert_eq!(customers(&world), 8);
}

#[test]
fn a_skipped_or_rejected_row_shows_that_its_customer_is_not_missing() {
    let world = world("purge");
    world.run(&rows(1..=10)).expect_code(0);
    let others = "KLANT-1,Ann,Smit,no-address,,,\nKLANT-2,skipped,,,,,\n";
    world.write_export(&format!("{others}{}", rows(4..=10)));
    let output = world.execute(PURGE).expect_code(1);
    assert_eq!(missing(&output), "purge 1 1 0");
    assert_eq!(customers(&world), 9);
    // A row without an id may be a row of any customer.
    world.write_export(&format!(",Ann,Smit,,,,\n{others}{}", rows(5..=10)));
    world.execute(PURGE).expect_code(7).expect_stderr("1 rejected row has no readable id");
    assert_eq!(customers(&world), 9);
}

#[test]
fn parts_and_exports_with_operations_of_their_own_do_not_show_who_is_missing() {
    let world = world("purge");
    world.run(&rows(1..=10)).expect_code(0);
    let output =
        world.run_with(&["--allow-purge", "--limit", "4"]).expect_code(0).expect_stderr("a part of the base");
    assert!(output.json()["missing"].is_null(), "{}", output.stdout);
    for row in
        ["KLANT-1,Bob,Smit,,,,update\n", "KLANT-1,,,,,,purge\n", "KLANT-2,Bob,Smit,no-address,,,create\n"]
    {
        world.write_export(row);
        let output = world.execute(PURGE).expect_stderr("operations of their own");
        assert!(output.json()["missing"].is_null(), "{}", output.stdout);
    }
    assert_eq!(customers(&world), 9, "only the purge row purges");
}

#[test]
fn customers_of_other_brands_are_not_missing() {
    let world = world("purge");
    world.run(&rows(1..=4)).expect_code(0);
    world.edit_config("{ value = 2 }", "{ value = 3 }");
    world.write_export(&rows(11..=12));
    let output = world.execute(PURGE).expect_code(0);
    assert_eq!(missing(&output), "purge 0 0 0");
    assert_eq!(output.json()["missing"]["of_other_brands"], 4);
    assert_eq!(customers(&world), 6);
}

#[test]
fn missing_customers_without_a_stored_id_are_only_counted() {
    let world = world("ignore");
    world.run(&rows(1..=10)).expect_code(0);
    let world = with_action(world, "purge");
    world.write_export(&rows(2..=10));
    let output = world
        .execute(PURGE)
        .expect_code(0)
        .expect_stderr("1 known customer not in the export, without a stored id");
    assert_eq!(missing(&output), "purge 0 0 0");
    assert_eq!(output.json()["missing"]["without_id"], 1);
    world.write_export(&rows(4..=10));
    assert_eq!(missing(&world.execute(PURGE).expect_code(0)), "purge 2 2 0");
    assert_eq!(customers(&world), 8);
    // Without `[missing]`, no id stays stored.
    let stored_ids = |world: &World| {
        let connection =
            rusqlite::Connection::open(world.path("omnidesk-sync.checkpoint")).expect("a checkpoint");
        connection
            .query_row("SELECT count(*) FROM stored_id", [], |row| row.get::<_, i64>(0))
            .expect("a count")
    };
    assert_eq!(stored_ids(&world), 7);
    let bytes = std::fs::read(world.path("omnidesk-sync.checkpoint")).expect("a checkpoint");
    assert!(!bytes.windows(5).any(|part| part == b"KLANT"), "an id is stored in clear");
    let world = with_action(world, "ignore");
    world.run(&rows(5..=10)).expect_code(0);
    assert_eq!(stored_ids(&world), 0);
}

#[test]
fn adopted_customers_can_be_missing() {
    let world = world("purge");
    world.write_export(&rows(1..=5));
    world.execute(&["adopt", "export.csv"]).expect_code(0);
    world.write_export(&rows(2..=5));
    let plan = world.execute(&["plan", "--json", "export.csv"]).expect_code(0).json();
    assert_eq!(plan["missing"]["found"], 1, "{plan}");
}

/// A run with 60 purges of missing customers, killed during the purges.
fn killed_run() -> World {
    let world = with_action(World::with_latency_ms(5), "purge");
    world.run(&rows(1..=70)).expect_code(0);
    world.write_export(&rows(61..=70));
    world.kill_after(20, PURGE);
    assert!((11..70).contains(&customers(&world)), "{}", customers(&world));
    world
}

#[test]
fn a_resumed_run_purges_the_remaining_missing_customers() {
    let world = killed_run();
    let blocked = world.execute(&["run", "export.csv"]).expect_code(7);
    // Only the remaining purges need an override.
    let (text, _) = blocked.stderr.split_once(" purges").expect("a guard");
    let remaining: usize = text.rsplit(' ').next().and_then(|count| count.parse().ok()).expect("a number");
    assert!((1..60).contains(&remaining), "{}", blocked.stderr);
    let output = world.execute(PURGE).expect_code(0).expect_outcomes("10 unchanged");
    assert_eq!(missing(&output), "purge 60 60 0");
    assert_eq!(customers(&world), 10);
    let lines = world.result_text("missing.csv");
    assert_eq!(lines.lines().count(), 61, "one line for each: {lines}");
    world.execute(PURGE).expect_code(0).expect_calls(0);
}

#[test]
fn customers_in_the_next_export_are_not_purged() {
    let world = killed_run();
    let before = customers(&world);
    world.write_export(&rows(1..=70));
    // Rows of purged customers are rejected.
    let output = world.execute(PURGE).expect_code(1);
    assert_eq!(missing(&output), "purge 0 0 0");
    assert!(customers(&world) >= before, "a customer in the export was purged");
    assert_eq!(output.json()["calls"]["purge"], 0);
}

#[test]
fn the_missing_action_can_be_changed_while_a_run_is_open() {
    let world = with_action(killed_run(), "report");
    let before = customers(&world);
    let output = world.execute(&RUN).expect_code(0);
    assert_eq!(output.json()["calls"]["purge"], 0);
    assert_eq!(customers(&world), before);
    assert_eq!(world.status()["open_run"], serde_json::Value::Null);
}

#[test]
fn a_failed_purge_of_a_missing_customer_is_reported_and_is_no_row() {
    let world = world("purge");
    world.run(&rows(1..=10)).expect_code(0);
    // A run with another checkpoint purges a customer.
    world.write_other_config("other");
    world.write_export("KLANT-1,,,,,,purge\n");
    world.execute(&["run", "-c", "other.toml", "--allow-purge", "export.csv"]).expect_code(0);
    world.write_export(&rows(3..=10));
    let output = world
        .execute(PURGE)
        .expect_code(1)
        .expect_outcomes("8 unchanged")
        .expect_stderr("missing: 1 purged, 1 failed");
    assert_eq!(missing(&output), "purge 2 1 1");
    let lines = world.result_text("missing.csv");
    assert!(lines.contains("2,KLANT-1,failed,not_found,"), "{lines}");
    assert!(world.result("failed.csv").is_none(), "a missing customer has no row");
    assert_eq!(missing(&world.execute(PURGE).expect_code(0)), "purge 0 0 0");
}
