//! Result files come back from a spreadsheet, which may have changed the ids.

use crate::world::{HEADER, World};

/// A spreadsheet drops the zeros in front of numbers, and keeps other texts.
fn save_by_spreadsheet(csv: &str) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(csv.as_bytes());
    for record in reader.records() {
        let record = record.expect("a record");
        let cells = record.iter().map(|cell| match cell.parse::<u64>() {
            Ok(number) => number.to_string(),
            Err(_) => cell.to_owned(),
        });
        writer.write_record(cells).expect("written");
    }
    String::from_utf8(writer.into_inner().expect("bytes")).expect("UTF-8")
}

/// A world with one rejected row of the customer 000501, and its result file.
fn rejected() -> (World, String) {
    let world = World::default();
    world.run("000501,Ann,Smit,ann@example,,,\n").expect_code(1).expect_outcomes("1 rejected");
    let rejected = world.result_text("rejected.csv");
    assert!(rejected.contains(",id:000501\n"), "{rejected}");
    (world, rejected.replace("000501,Ann,Smit,ann@example,", "000501,Ann,Smit,ann@example.org,"))
}

fn ids(world: &World) -> Vec<String> {
    world.state().customers.iter().map(|customer| customer.id.primary_id.clone()).collect()
}

#[test]
fn an_id_that_a_spreadsheet_has_changed_is_rejected_until_it_is_put_back() {
    let (world, fixed) = rejected();
    let mut saved = save_by_spreadsheet(&fixed);
    // However often it is run, and the file of that run, too.
    for _ in 0..3 {
        world.file("export.csv", saved.as_bytes());
        let output =
            world.execute(&["run", "--json", "export.csv"]).expect_code(1).expect_outcomes("1 rejected");
        assert!(!output.stderr.contains("000501"), "an id in a log: {}", output.stderr);
        saved = save_by_spreadsheet(&world.result_text("rejected.csv"));
        assert!(saved.contains("changed_id,id,501 (was 000501)") && saved.contains("id:000501"), "{saved}");
    }
    assert_eq!(ids(&world), Vec::<String>::new());
    let plan = world.execute(&["plan", "export.csv"]).expect_code(0);
    assert!(plan.stdout.contains("put the old id back"), "{}", plan.stdout);
    world.file("export.csv", saved.replace("\n501,", "\n000501,").as_bytes());
    world.execute(&["run", "--json", "export.csv"]).expect_code(0).expect_outcomes("1 created");
    assert_eq!(ids(&world), ["000501"]);
}

/// Whatever else is wrong with the row, and even if its id cannot be read any more.
#[test]
fn the_old_id_survives_a_repair_that_is_not_complete() {
    for (damaged, value) in [
        ("501,Ann,Smit,ann@example,", "501 (was 000501)"),
        ("5.01E+02,Ann,Smit,ann@example.org,", "5.01E+02 (was 000501)"),
        (",Ann,Smit,ann@example.org,", "(was 000501)"),
        ("#N/A,Ann,Smit,ann@example.org,", "#N/A (was 000501)"),
    ] {
        let (world, fixed) = rejected();
        let row = fixed.replace("000501,Ann,Smit,ann@example.org,", damaged);
        world.file("export.csv", row.as_bytes());
        for _ in 0..2 {
            world.execute(&["run", "--json", "export.csv"]).expect_code(1).expect_outcomes("1 rejected");
            let again = world.result_text("rejected.csv");
            assert!(again.contains(value) && again.contains("changed_id"), "{again}");
            assert!(again.contains(",id:000501\n"), "{again}");
            world.file("export.csv", again.as_bytes());
        }
        let back =
            world.read("export.csv").replace(&format!("\n{damaged}"), "\n000501,Ann,Smit,ann@example.org,");
        world.file("export.csv", back.as_bytes());
        world.execute(&["run", "--json", "export.csv"]).expect_code(0).expect_outcomes("1 created");
        assert_eq!(ids(&world), ["000501"]);
    }
}

#[test]
fn an_emptied_cell_accepts_another_id() {
    let (world, fixed) = rejected();
    let saved = save_by_spreadsheet(&fixed).replace("id:000501", "");
    world.file("export.csv", saved.as_bytes());
    world.execute(&["run", "--json", "export.csv"]).expect_code(0).expect_outcomes("1 created");
    assert_eq!(ids(&world), ["501"]);
}

#[test]
fn a_result_file_that_nothing_has_changed_is_run_as_it_is() {
    let (world, fixed) = rejected();
    world.file("export.csv", fixed.as_bytes());
    world.execute(&["run", "--json", "export.csv"]).expect_code(0).expect_outcomes("1 created");
    assert_eq!(ids(&world), ["000501"]);
}

/// The customer of the changed id exists, and has the row that the file has now.
#[test]
fn a_changed_id_does_not_hide_behind_an_unchanged_customer() {
    let world = World::default();
    let row = "501,Ann,Smit,ann@example.org,,,\n";
    world.run(row).expect_code(0);
    world.file(
        "export.csv",
        format!("{},_sync_line,_sync_id\n{},2,id:000501\n", HEADER.trim(), row.trim()).as_bytes(),
    );
    world.execute(&["run", "--json", "export.csv"]).expect_code(1).expect_outcomes("1 rejected");
}

#[test]
fn an_id_at_fault_is_not_compared_with() {
    let world = World::default();
    let rows = ",Ann,Smit,a@example.org,,,\n7.0,Bea,Bos,b@example.org,,,\n-,Cor,Bos,c@example.org,,,\n";
    world.run(rows).expect_code(1).expect_outcomes("3 rejected");
    let rejected = world.result_text("rejected.csv");
    assert!(!rejected.contains(",id:"), "{rejected}");
    let fixed = rejected.replace("\n,Ann", "\nA1,Ann").replace("\n7.0,", "\n7,").replace("\n-,", "\nA3,");
    world.file("export.csv", fixed.as_bytes());
    world.execute(&["run", "--json", "export.csv"]).expect_code(0).expect_outcomes("3 created");
}

#[test]
fn json_lines_hold_the_id_too() {
    let world = World::default();
    world.file("export.jsonl", b"{\"id\": \"000501\", \"first\": \"Ann\", \"last\": \"Smit\", \"email\": \"ann@example\", \"email2\": \"\", \"phone\": \"\", \"op\": \"\"}\n");
    world.execute(&["run", "--json", "export.jsonl"]).expect_code(1).expect_outcomes("1 rejected");
    let rejected = String::from_utf8(world.result("rejected.jsonl").expect("a result file")).expect("UTF-8");
    assert!(rejected.contains("\"_sync_id\":\"id:000501\""), "{rejected}");
    let changed =
        rejected.replace("ann@example", "ann@example.org").replace("\"id\": \"000501\"", "\"id\": 501");
    world.file("again.jsonl", changed.as_bytes());
    world.execute(&["run", "--json", "again.jsonl"]).expect_code(1).expect_outcomes("1 rejected");
    let back = changed.replace("\"id\": 501", "\"id\": \"000501\"");
    world.file("again.jsonl", back.as_bytes());
    world.execute(&["run", "--json", "again.jsonl"]).expect_code(0).expect_outcomes("1 created");
}
