//! `explain`: what is known of one customer, and what an export would send.

use serde_json::Value;

use crate::world::{CommandOutput, HEADER, RUN, World, rows};

fn explain(world: &World, arguments: &[&str]) -> CommandOutput {
    world.execute(&[&["explain", "--json"], arguments].concat())
}

/// Row, outcome and calls of each row.
fn decisions(value: &Value) -> Vec<String> {
    let rows = value["export"]["rows"].as_array().expect("rows");
    let decision = |row: &Value| {
        let calls: Vec<&str> =
            row["calls"].as_array().expect("calls").iter().filter_map(Value::as_str).collect();
        format!("{} {} {}", row["row"], row["outcome"].as_str().expect("an outcome"), calls.join(","))
    };
    rows.iter().map(|row| decision(row).trim_end().to_owned()).collect()
}

/// Key, comparison and whether it is sent, of each field and address of a row.
fn parts(row: &Value) -> Vec<String> {
    let parts = row["parts"].as_array().expect("parts").iter();
    let text = |part: &Value| {
        let word = |name: &str| part[name].as_str().expect("a text").to_owned();
        let sent = if part["sent"] == true { " sent" } else { "" };
        format!("{} {}{sent}", word("key"), word("comparison"))
    };
    parts.map(text).collect()
}

#[test]
fn it_names_the_first_and_the_last_run_and_row_that_were_acknowledged() {
    let world = World::default();
    world.run(&format!("\n{}A1,Ann,Smit,a1@example.org,,,\n", rows(2))).expect_code(0);
    world.run("A1,Ann,Bos,a1@example.org,a2@example.org,,\n").expect_code(0);
    world.run("A1,Ann,Bos,a1@example.org,a2@example.org,,\nB1,Bob,Bos,b1@example.org,,,\n").expect_code(0);
    let known = explain(&world, &["A1"]).expect_code(0).json();
    assert_eq!(
        (&known["schema"], &known["state"], &known["origin"]),
        (&1.into(), &"acknowledged".into(), &"created".into())
    );
    let (first, last) = (&known["first_acknowledged"], &known["last_acknowledged"]);
    assert_eq!((&first["run"], &first["row"], &first["line"]), (&1.into(), &3.into(), &Value::Null));
    assert_eq!((&last["run"], &last["row"]), (&2.into(), &1.into()), "the third run has no call");
    assert!(first["time"].as_str().is_some_and(|time| time.parse::<jiff::Timestamp>().is_ok()), "{first}");
    let folder = world.status()["runs"][2]["folder"].clone();
    assert_eq!(first["folder"], folder);
    assert_eq!(known["fields"], serde_json::json!(["firstname", "lastname"]));
    assert_eq!(known["addresses"], 2);
    // The id is nowhere in it: only a keyed hash.
    assert_eq!(known["customer"].as_str().map(str::len), Some(32));
    assert!(!known.to_string().contains("A1"), "{known}");
    let text = world.execute(&["explain", "A1"]).expect_code(0).stdout;
    assert!(
        text.contains("created ")
            && text.contains(" by run 1, row 3 (")
            && text.contains("last acknowledged"),
        "{text}"
    );
    // The export of that run has the line.
    world.file("first.csv", format!("{HEADER}\n{}A1,Ann,Smit,a1@example.org,,,\n", rows(2)).as_bytes());
    let known = explain(&world, &["A1", "first.csv"]).expect_code(0).json();
    assert_eq!(known["first_acknowledged"]["line"], 5);
    assert_eq!(known["last_acknowledged"]["line"], Value::Null, "another export's");
}

#[test]
fn an_unknown_customer_is_said_to_be_unknown() {
    let world = World::default();
    world.write_export(&rows(1));
    let unknown = explain(&world, &["C0", "export.csv"]).expect_code(1).json();
    assert_eq!((&unknown["known"], &unknown["state"]), (&false.into(), &"unknown".into()));
    assert_eq!(decisions(&unknown), ["1 created create"], "without a checkpoint, too");
    assert!(!world.path("omnidesk-sync.checkpoint").exists(), "it writes nothing");
    world.execute(&RUN).expect_code(0);
    explain(&world, &["--brand", "3", "C0"]).expect_code(1);
    explain(&world, &["C0"]).expect_code(0);
    let blank = explain(&world, &[" "]).expect_code(2);
    assert!(blank.stderr.contains("the id is blank"), "{}", blank.stderr);
}

#[test]
fn it_says_field_by_field_what_would_be_sent() {
    let world = World::default();
    world.run("A1,Ann,Smit,a1@example.org,,0612345678,\n").expect_code(0);
    world.file(
        "next.csv",
        b"id,first,last,email,email2,phone,op,notes\nA1,Ann,Bos,a1@example.org,a2@example.org,,,x\n-1,,,,,,,\nA1,,,bad,,,,\n",
    );
    let next = explain(&world, &["A1", "next.csv"]).expect_code(0).json();
    assert_eq!(decisions(&next), ["1 updated update,add-channel", "3 rejected"]);
    let rows = &next["export"]["rows"];
    assert_eq!(
        parts(&rows[0]),
        ["firstname same", "lastname changed sent", "email same", "email new sent", "telephone blank"]
    );
    assert_eq!(rows[1]["rejection"]["code"], "bad_email");
    assert_eq!(next["export"]["unmapped_columns"], serde_json::json!(["notes"]));
    // What it says is what the run does.
    let full = explain(&world, &["--full", "A1", "export.csv"]).expect_code(0).json();
    assert_eq!(decisions(&full), ["1 updated update,add-channel,add-channel"]);
    let plain = explain(&world, &["A1", "export.csv"]).expect_code(0).json();
    assert_eq!(decisions(&plain), ["1 unchanged"]);
    assert!(
        plain["export"]["rows"][0]["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("has applied this row"))
    );
    world.file("export.csv", world.read("next.csv").as_bytes());
    world.execute(&RUN).expect_code(1).expect_outcomes("1 created, 1 updated, 1 rejected").expect_calls(3);
    let text = world.execute(&["explain", "A1", "next.csv"]).expect_code(0).stdout;
    assert!(text.contains("columns that no key reads: notes"), "{text}");
}

#[test]
fn rows_that_lead_back_to_what_is_acknowledged_make_no_call() {
    let world = World::default();
    world.run("A1,Ann,Bos,a1@example.org,,,\n").expect_code(0);
    let rows = "A1,Ann,Smit,a1@example.org,,,\nA1,Ann,Bos,a1@example.org,,,\n";
    world.write_export(rows);
    let known = explain(&world, &["A1", "export.csv"]).expect_code(0).json();
    assert_eq!(decisions(&known), ["1 unchanged", "2 unchanged"]);
    world.execute(&RUN).expect_code(0).expect_calls(0);
}

#[test]
fn it_reads_beside_an_open_run_and_shows_what_that_has_settled() {
    let world = World::with_latency_ms(20).with_settings("concurrency = 1\n");
    world.write_export(&rows(30));
    world.kill_after(4, &RUN);
    let first = explain(&world, &["C0", "export.csv"]).expect_code(0).json();
    assert_eq!(decisions(&first), ["1 unchanged"]);
    let reason = first["export"]["rows"][0]["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("the open run"), "{reason}");
    let last = explain(&world, &["C29", "export.csv"]).expect_code(1).json();
    assert_eq!(decisions(&last), ["30 created create"]);
    // A create whose answer was lost with the process.
    let states = (0..30).map(|id| explain(&world, &[&format!("C{id}")]).json());
    let in_doubt = states.filter(|known| known["pending"]["in_doubt"] == true).count();
    assert_eq!(world.status()["in_doubt"], in_doubt);
}

#[test]
fn a_purge_and_its_reason_are_known() {
    let world = World::default().with_settings("[guard]\nallow_purge = true\n");
    world.run(&rows(2)).expect_code(0);
    world.run("C1,,,,,,purge\n").expect_code(0);
    let purged = explain(&world, &["C1", "export.csv"]).expect_code(0).json();
    assert_eq!((&purged["state"], &purged["purge"]["reason"]), (&"purged".into(), &"export".into()));
    assert_eq!(
        (&purged["purge"]["run"], &purged["purge"]["row"], &purged["purge"]["line"]),
        (&2.into(), &1.into(), &2.into())
    );
    world.write_export("C1,Ann,Smit,c1@example.org,,,\n");
    let back = explain(&world, &["C1", "export.csv"]).expect_code(0).json();
    assert_eq!(back["export"]["rows"][0]["rejection"]["code"], "purged_before");
    world.run_with(&["--allow-recreate"]).expect_code(0);
    let back = explain(&world, &["C1"]).expect_code(0).json();
    assert_eq!((&back["state"], &back["purged_before"]), (&"acknowledged".into(), &true.into()));
}

#[test]
fn a_customer_whom_an_export_does_not_hold_may_be_missing() {
    let world = World::default().with_settings("[missing]\naction = \"purge\"\n");
    world.run(&rows(3)).expect_code(0);
    world.write_export(&rows(2));
    let absent = explain(&world, &["C2", "export.csv"]).expect_code(0).json();
    assert_eq!(
        (&absent["export"]["rows"], &absent["export"]["missing"]),
        (&serde_json::json!([]), &"purge".into())
    );
}

#[test]
fn adopted_and_existing_customers_were_found() {
    let world = World::default();
    world.write_export(&rows(1));
    world.execute(&["adopt", "export.csv"]).expect_code(0);
    let adopted = explain(&world, &["C0"]).expect_code(0).json();
    assert_eq!((&adopted["origin"], &adopted["first_acknowledged"]["run"]), (&"found".into(), &1.into()));
    let other = World::default();
    other.run(&rows(2)).expect_code(0);
    std::fs::remove_file(other.path("omnidesk-sync.checkpoint")).expect("removed");
    std::fs::remove_file(other.path("omnidesk-sync.checkpoint.lock")).expect("removed");
    std::fs::remove_dir_all(other.path("runs")).expect("removed");
    other.execute(&RUN).expect_code(0);
    let found = explain(&other, &["C1"]).expect_code(0).json();
    assert_eq!(found["origin"], "found", "the API says that the customer exists");
}

#[test]
fn a_brand_by_row_has_to_be_given() {
    let world = World::default();
    world.edit_config("brand_id = { value = 2 }", "brand_id = \"brand\"");
    world.file("export.csv", b"id,first,last,email,email2,phone,op,brand\nA1,Ann,Smit,a@example.org,,,,7\n");
    world.execute(&RUN).expect_code(0);
    explain(&world, &["A1"]).expect_code(2).expect_stderr("--brand N");
    explain(&world, &["--brand", "7", "A1"]).expect_code(0);
}
