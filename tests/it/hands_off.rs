//! What others have made in Omnidesk stays: `on_exists`, `on_missing` and
//! `on = "create"`.

use std::path::Path;

use omnidesk_sync::checkpoint::Checkpoint;
use omnidesk_sync::mapping::{Customer, PrimaryId};
use omnidesk_sync::reconcile::{CustomerState, RowFingerprint};
use omnidesk_sync::sandbox::{Script, Settings};

use crate::world::{MAPPING, World, open_checkpoint};

/// With keys of `[operation]`, and customers `C1` to `C3` that another program made.
fn world(operation: &str) -> World {
    with_others(World::default(), operation, "")
}

fn with_others(world: World, operation: &str, settings: &str) -> World {
    let world = world.with_settings(&format!("max_errors = 1000\n[guard]\nmin_rows = 0\n{settings}"));
    world.write_other_config("other");
    let others: String = (1..=3).map(|id| format!("C{id},Old,Hand,o{id}@example.org,,,\n")).collect();
    world.write_export(&others);
    world.execute(&["run", "--config", "other.toml", "export.csv"]).expect_code(0);
    world.edit_config("[operation]\n", &format!("[operation]\n{operation}\n"));
    world
}

/// A row of `C{id}` with this first name and operation.
fn row(id: u32, first: &str, operation: &str) -> String {
    format!("C{id},{first},Smit,c{id}@example.org,,,{operation}\n")
}

/// First name and addresses, if the customer exists.
fn customer(world: &World, id: u32) -> Option<(String, usize)> {
    let id = format!("C{id}");
    let found = world.state().customers.into_iter().find(|customer| customer.id.primary_id == id)?;
    Some((found.firstname.unwrap_or_default(), found.channels.len()))
}

fn holds(first: &str, addresses: usize) -> Option<(String, usize)> {
    Some((first.to_owned(), addresses))
}

/// The requests that `action` causes.
fn requests<T>(world: &World, action: impl FnOnce() -> T) -> (T, u64) {
    let before = world.requests();
    let result = action();
    (result, world.requests() - before)
}

#[test]
fn a_customer_who_exists_costs_one_call_and_stays_as_it_is() {
    let world = world("on_exists = \"skip\"");
    let rows = |first| row(1, first, "") + &row(9, "Bob", "");
    let (output, sent) = requests(&world, || world.run(&rows("Ann")));
    let output = output.expect_code(0).expect_outcomes("1 created, 1 skipped");
    assert_eq!(sent, 2);
    assert!(
        output.stderr.contains("1 skipped (customer_exists), first row 1 on line 2"),
        "{}",
        output.stderr
    );
    assert!(world.result_text("notices.csv").contains("customer_exists"));
    // The same night again, other values, and everything again.
    let nights: [(&str, &[&str], &str, u64); 3] = [
        ("Ann", &[], "1 unchanged, 1 skipped", 0),
        ("Cor", &[], "1 unchanged, 1 skipped", 0),
        ("Dik", &["--full"], "1 updated, 1 skipped", 2),
    ];
    for (first, options, outcomes, calls) in nights {
        world.write_export(&rows(first));
        let (output, sent) = requests(&world, || world.run_with(options));
        let output = output.expect_code(0).expect_outcomes(outcomes);
        assert_eq!(sent, calls, "{first}");
        assert_eq!(output.notices("customer_exists"), (1, 0), "{first}");
    }
    assert_eq!(customer(&world, 1), holds("Old", 1));
    let plan = world.execute(&["plan", "export.csv"]).expect_code(0).stdout;
    let line = "1 row of a customer who exists is skipped (on_exists), such as row 1";
    assert!(plan.contains(line), "{plan}");
    let status = world.status();
    assert_eq!((&status["customers"], &status["existing_before"]), (&2.into(), &1.into()));
}

#[test]
fn a_customer_who_exists_fails_every_night_without_a_call() {
    let world = world("on_exists = \"fail\"");
    let (output, sent) = requests(&world, || world.run(&(row(1, "Ann", "") + &row(9, "Bob", ""))));
    output.expect_code(1).expect_outcomes("1 created, 1 failed");
    assert_eq!(sent, 2);
    for first in ["Ann", "Cor"] {
        let (output, sent) = requests(&world, || world.run(&(row(1, first, "") + &row(9, "Bob", ""))));
        output.expect_code(1).expect_outcomes("1 unchanged, 1 failed");
        assert_eq!(sent, 0, "{first}");
        assert!(world.result_text("failed.csv").contains("customer_exists"));
    }
    let failed = world.result("failed.csv").expect("a result file");
    world.file("again.csv", &failed);
    let (output, sent) = requests(&world, || world.execute(&["run", "--json", "again.csv"]));
    output.expect_code(1).expect_outcomes("1 failed");
    assert_eq!((sent, customer(&world, 1)), (0, holds("Old", 1)));
    let plan = world.execute(&["plan", "export.csv"]).expect_code(0).stdout;
    assert!(plan.contains("1 row of a customer who exists fails (on_exists)"), "{plan}");
}

#[test]
fn a_base_of_existing_customers_stops_no_run() {
    let world = World::default().with_settings("[guard]\nmin_rows = 0\n");
    world.write_other_config("other");
    let rows: String = (0..100).map(|id| row(id, "Old", "")).collect();
    world.write_export(&rows);
    world.execute(&["run", "--config", "other.toml", "export.csv"]).expect_code(0);
    world.edit_config("[operation]\n", "[operation]\non_exists = \"skip\"\n");
    world.run(&rows).expect_code(0).expect_outcomes("100 skipped");
}

#[test]
fn rows_of_an_existing_customer_are_skipped_until_one_purges_it() {
    let world = world("on_exists = \"skip\"");
    world.edit_config("[guard]\n", "[guard]\nallow_purge = true\n");
    let before = row(1, "Ann", "") + &row(1, "Bob", "update") + &row(1, "Cor", "add-channel");
    let (output, sent) = requests(&world, || world.run(&(before + &row(1, "Dik", "create"))));
    output.expect_code(0).expect_outcomes("4 skipped");
    assert_eq!((sent, customer(&world, 1)), (1, holds("Old", 1)));
    // In one export, of a customer of whom no row is known yet.
    let rows = row(2, "Ann", "") + &row(2, "", "purge") + &row(2, "Cor", "");
    let (output, sent) = requests(&world, || world.run(&rows));
    output.expect_code(0).expect_outcomes("1 created, 1 purged, 1 skipped");
    assert_eq!((sent, customer(&world, 2)), (3, holds("Cor", 1)));
    world.run(&row(1, "", "purge")).expect_code(0).expect_outcomes("1 purged");
    assert_eq!(customer(&world, 1), None);
    // An update of a customer whom no create has found is sent.
    world.run(&row(3, "Eva", "update")).expect_code(0).expect_outcomes("1 updated");
    world.run(&row(3, "Fay", "")).expect_code(0).expect_outcomes("1 updated");
}

#[test]
fn an_existing_customer_is_synced_once_the_setting_says_update() {
    let world = world("on_exists = \"skip\"");
    world.run(&row(1, "Ann", "")).expect_code(0).expect_outcomes("1 skipped");
    world.edit_config("on_exists = \"skip\"", "on_exists = \"update\"");
    world.execute(&["run", "--json", "export.csv"]).expect_code(0).expect_outcomes("1 updated");
    assert_eq!(customer(&world, 1), holds("Ann", 2));
    // From now on it is known, whatever the setting says.
    world.edit_config("on_exists = \"update\"", "on_exists = \"skip\"");
    world.run(&row(1, "Bob", "")).expect_code(0).expect_outcomes("1 updated").expect_calls(1);
    assert_eq!(customer(&world, 1), holds("Bob", 2));
}

#[test]
fn an_existing_customer_is_synced_once_its_row_is_adopted() {
    let world = world("on_exists = \"skip\"");
    world.run(&row(1, "Ann", "")).expect_code(0).expect_outcomes("1 skipped");
    world.execute(&["adopt", "export.csv"]).expect_code(0);
    world.run(&row(1, "Bob", "")).expect_code(0).expect_outcomes("1 updated").expect_calls(1);
    assert_eq!(customer(&world, 1), holds("Bob", 1), "the adopted address is not sent");
}

#[test]
fn existing_customers_are_never_missing() {
    let missing = "allow_purge = true\n[missing]\naction = \"purge\"\n";
    let world = with_others(World::default(), "on_exists = \"skip\"", missing);
    let both = row(1, "Ann", "") + &row(8, "Ann", "") + &row(9, "Bob", "");
    world.edit_config("column = \"op\"\n", "");
    world.run(&both).expect_code(0).expect_outcomes("2 created, 1 skipped");
    let output = world.run(&row(9, "Bob", "")).expect_code(0);
    assert_eq!(
        (&output.json()["missing"]["found"], &output.json()["missing"]["without_id"]),
        (&1.into(), &0.into())
    );
    assert_eq!((customer(&world, 1), customer(&world, 8)), (holds("Old", 1), None));
    // Once a row has updated the customer, it is this program's.
    world.edit_config("on_exists = \"skip\"", "on_exists = \"update\"");
    world
        .run(&(row(1, "Ann", "") + &row(9, "Bob", "")))
        .expect_code(0)
        .expect_outcomes("1 updated, 1 unchanged");
    world.run(&row(9, "Bob", "")).expect_code(0);
    assert_eq!(customer(&world, 1), None);
}

/// The create was carried out and its answer lost, or the customer was there before.
#[test]
fn a_probe_that_finds_the_customer_sends_no_field_and_ends_the_row() {
    let lost = "[[answer]]\ncall = \"create\"\nid = \"C1\"\ntimes = 1\nacts = true\nstatus = 502\n";
    let script = Script::parse(lost, Path::new("answers.toml")).expect("a script");
    for (on_exists, code, outcome, file) in
        [("skip", 0, "1 skipped", "notices.csv"), ("fail", 1, "1 failed", "failed.csv")]
    {
        let world = World::new(Settings { script: script.clone(), ..Settings::default() });
        world.edit_config("[operation]\n", &format!("[operation]\non_exists = \"{on_exists}\"\n"));
        let rows = "C1,Ann,Smit,c1@example.org,d1@example.org,,\n";
        world.run(rows).expect_code(code).expect_outcomes(outcome);
        let result = world.result_text(file);
        assert!(result.contains("made by this run or there before"), "{result}");
        assert_eq!(customer(&world, 1), holds("Ann", 1), "the second address is not added");
        let updates: Vec<_> = world.log().into_iter().filter(|line| line["call"] == "update").collect();
        assert!(updates.iter().all(|line| !line.to_string().contains("Ann")), "{updates:?}");
        let (output, sent) = requests(&world, || world.run(&rows.replace("Ann", "Bob")));
        output.expect_code(code).expect_outcomes(outcome);
        assert_eq!(sent, 0);
        assert_eq!(world.status()["in_doubt"], 0);
    }
}

#[test]
fn a_customer_who_does_not_exist_is_created_by_no_update() {
    for (on_missing, code, outcome) in
        [("skip", 0, "1 updated, 1 skipped"), ("fail", 1, "1 updated, 1 failed")]
    {
        let world = world(&format!("on_missing = \"{on_missing}\""));
        let rows = |first| row(1, first, "update") + &row(9, first, "update");
        let (output, sent) = requests(&world, || world.run(&rows("Ann")));
        output.expect_code(code).expect_outcomes(outcome);
        assert_eq!(sent, 2);
        let (output, sent) = requests(&world, || world.run(&rows("Bob")));
        output.expect_code(code).expect_outcomes(outcome);
        assert_eq!((sent, customer(&world, 9)), (1, None));
        assert_eq!(world.status()["absent"], 1);
        // A sync makes a customer whom nobody has made.
        world.run(&row(9, "Cor", "")).expect_code(0).expect_outcomes("1 created");
        world.run(&row(9, "Dik", "update")).expect_code(0).expect_outcomes("1 updated");
    }
}

#[test]
fn a_customer_whom_somebody_removed_is_not_created_again() {
    let world = World::default().with_settings("[guard]\nmin_rows = 0\n");
    world.edit_config("[operation]\n", "[operation]\non_missing = \"skip\"\n");
    world.write_other_config("other");
    let rows = |first| (1..=9).map(|id| row(id, first, "")).collect::<String>();
    world.run(&rows("Ann")).expect_code(0).expect_outcomes("9 created");
    world.file("purge.csv", b"id,first,last,email,email2,phone,op\nC3,,,,,,purge\n");
    world.execute(&["run", "--config", "other.toml", "--allow-purge", "purge.csv"]).expect_code(0);
    world.run(&rows("Bob")).expect_code(0).expect_outcomes("8 updated, 1 skipped");
    let (output, sent) = requests(&world, || world.run(&rows("Cor")));
    output.expect_code(0).expect_outcomes("8 updated, 1 skipped");
    assert_eq!((sent, customer(&world, 3)), (8, None));
    let removed = row(3, "Dik", "");
    world.run(&removed).expect_code(0).expect_outcomes("1 skipped");
    world.edit_config("on_missing = \"skip\"", "on_missing = \"create\"");
    world.execute(&["run", "--json", "export.csv"]).expect_code(0).expect_outcomes("1 created");
    assert_eq!(customer(&world, 3), holds("Dik", 1));
}

/// A world whose last name and custom field go with a create alone.
fn with_create_fields() -> World {
    let mapping = MAPPING.replace("\"last\"", "{ column = \"last\", on = \"create\" }").replace(
        "[operation]\n",
        "[customer.custom]\nsource = { template = \"crm {{ op }}{{ phone }}\", on = \"create\" }\n[operation]\ndefault = \"sync\"\n",
    );
    let mapping = mapping.replace("column = \"op\"\n", "").replace("telephone", "# telephone");
    World::default().with_mapping(&mapping, "")
}

fn fingerprint(world: &World) -> RowFingerprint {
    let checkpoint: Checkpoint = open_checkpoint(
        &world.path("omnidesk-sync.checkpoint"),
        &world.status()["tenant"].to_string().replace('"', ""),
    )
    .expect("a checkpoint");
    let customer = Customer { brand_id: 2, primary_id: PrimaryId::new("C1").expect("an id") };
    let key = checkpoint.key().customer(&customer);
    match checkpoint.lookups().state(key).expect("a state") {
        CustomerState::Acknowledged(acked) => acked.fingerprint,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_field_of_a_create_is_sent_once_and_its_changes_are_none() {
    let world = with_create_fields();
    world.run("C1,Ann,Smit,c1@example.org,,x,\n").expect_code(0).expect_outcomes("1 created");
    let holds = |last: &str, source: &str| {
        let customer = world.state().customers.remove(0);
        assert_eq!((customer.lastname.as_deref(), &*customer.custom["source"]), (Some(last), source));
    };
    holds("Smit", "crm x");
    let before = fingerprint(&world);
    assert_ne!(before, RowFingerprint::NONE);
    world.run("C1,Ann,Vis,c1@example.org,,y,\n").expect_code(0).expect_outcomes("1 unchanged");
    assert_eq!(fingerprint(&world), before);
    world.run("C1,Bob,Bos,c1@example.org,,z,\n").expect_code(0).expect_outcomes("1 updated").expect_calls(1);
    world.run_with(&["--full"]).expect_code(0).expect_outcomes("1 updated");
    holds("Smit", "crm x");
    // Who existed before gets it from no row.
    let world = with_create_fields();
    world.write_other_config("other");
    world.write_export("C1,Ann,Hand,c1@example.org,,old,\n");
    world.execute(&["run", "--config", "other.toml", "export.csv"]).expect_code(0);
    world.run("C1,Bob,Vis,c1@example.org,,new,\n").expect_code(0).expect_outcomes("1 updated");
    let customer = world.state().customers.remove(0);
    assert_eq!((customer.firstname.as_deref(), customer.lastname.as_deref()), (Some("Bob"), Some("Hand")));
}

#[test]
fn only_names_and_custom_fields_go_with_a_create_alone() {
    let world = World::default();
    world.edit_config("primary_id = \"id\"", "primary_id = { column = \"id\", on = \"create\" }");
    let output = world.execute(&["plan", "export.csv"]).expect_code(2);
    let output = output.expect_stderr(
        "customer.primary_id: on = \"create\" is for names and custom fields; every call names its customer",
    );
    assert!(!output.stderr.contains("customer.email"));
}

/// They failed in the last run, and cost no call in this one.
#[test]
fn new_failures_do_not_hide_behind_customers_who_exist() {
    let refused =
        "[[answer]]\nid = \"N*\"\nstatus = 400\nbody = '{\"status\":\"error\",\"message\":\"No.\"}'\n";
    let script = Script::parse(refused, Path::new("answers.toml")).expect("a script");
    let world = World::new(Settings { script, ..Settings::default() });
    let world = world.with_settings("max_errors = 1000\n[guard]\nmin_rows = 0\n");
    world.write_other_config("other");
    let existing: String = (0..40).map(|id| row(id, "Ann", "")).collect();
    world.write_export(&existing);
    world.execute(&["run", "--config", "other.toml", "export.csv"]).expect_code(0);
    world.edit_config("[operation]\n", "[operation]\non_exists = \"fail\"\n");
    let existing = existing + &row(99, "Ann", "");
    world.run(&existing).expect_code(1).expect_outcomes("1 created, 40 failed");
    world.edit_config("max_errors = 1000", "max_errors = \"5%\"");
    world.run(&existing).expect_code(1).expect_outcomes("1 unchanged, 40 failed");
    let new: String = (0..500).map(|id| format!("N{id},Ann,Smit,n{id}@example.org,,,\n")).collect();
    let output = world.run(&(existing + &new)).expect_code(3).expect_stop("too_many_errors");
    // 20 failures are enough, and some more are on their way by then.
    let failed = output.json()["outcomes"]["failed"].as_u64().expect("a count");
    assert!((60..90).contains(&failed), "{failed}");
}
