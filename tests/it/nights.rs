//! Permanent failures: they do not block the rest, cost no needless calls, and are
//! reported each night.

use crate::server::{Ending, Server, no_answer, refusal, success};
use crate::world::{HEADER, MAPPING, RUN, World};

const ALLOW_PURGE: &str = "[guard]\nallow_purge = true\nmin_rows = 0\n";

fn rows(ids: impl IntoIterator<Item = usize>, first: &str) -> String {
    ids.into_iter().map(|id| format!("C{id},{first},Smit,c{id}@example.org,,,\n")).collect()
}

/// A server that refuses the calls of customers with `BAD` in their ids.
fn refusing_server() -> Server {
    Server::new(|_, request| match request.body.contains("BAD") {
        true => refusal("The address belongs to somebody else."),
        false => success(),
    })
}

#[test]
fn customers_who_are_always_refused_stop_no_run() {
    let server = refusing_server();
    let world = World::with_server(&server.url());
    let bad: String = (0..6).map(|id| format!("BAD{id},Ann,Smit,bad{id}@example.org,,,\n")).collect();
    world.run(&format!("{}{bad}", rows(0..50, "Ann"))).expect_code(1).expect_outcomes("50 created, 6 failed");
    world
        .run(&format!("{bad}{}{}", rows(0..3, "Bob"), rows(3..50, "Ann")))
        .expect_code(1)
        .expect_outcomes("3 updated, 47 unchanged, 6 failed");
    // Another mapping must pass the canary again.
    let mapping = MAPPING.replace("firstname = \"first\"", "firstname = \"last\"");
    assert_ne!(mapping, MAPPING);
    let world = world.with_mapping(&mapping, "");
    world
        .run(&format!("{bad}{}", rows(0..50, "Ann")))
        .expect_code(3)
        .expect_stop("canary_failed")
        .expect_stderr("canary = 0");
}

/// `max_errors` is a share of the calls, and a night has only a few.
#[test]
fn failures_of_the_last_run_do_not_count_again() {
    let server = refusing_server();
    let world = World::with_server(&server.url());
    let bad = |count| -> String {
        (0..count).map(|id| format!("BAD{id},Ann,Smit,bad{id}@example.org,,,\n")).collect()
    };
    let rows = |changed: usize| format!("{}{}", rows(0..changed, "Bob"), rows(changed..600, "Ann"));
    world.run(&format!("{}{}", rows(0), bad(25))).expect_code(1).expect_outcomes("600 created, 25 failed");
    for (night, failing) in [(1, 25), (2, 40)] {
        let output = world.run(&format!("{}{}", bad(failing), rows(5 * night))).expect_code(1);
        assert_eq!(output.outcomes(), format!("5 updated, 595 unchanged, {failing} failed"));
    }
    // Too many new failures stop the run.
    world
        .run(&format!("{}{}", bad(80), rows(10)))
        .expect_code(3)
        .expect_stop("too_many_errors")
        .expect_stderr("beside those that failed in the last run");
}

#[test]
fn purges_of_unknown_customers_do_not_fail_the_canary() {
    let world = World::default().with_settings(ALLOW_PURGE);
    let unknown: String = (0..8).map(|id| format!("X{id},,,,,,purge\n")).collect();
    world
        .run(&format!("{unknown}{}", rows(0..20, "Ann")))
        .expect_code(1)
        .expect_outcomes("20 created, 8 failed");
}

/// Each is settled at once, so a stopped run does not repeat them.
#[test]
fn purges_of_unknown_customers_are_not_repeated_by_a_resumed_run() {
    let settings = "concurrency = 1\nmax_errors = 50\n[guard]\nallow_purge = true\nmax_purge = 100\n";
    let world = World::default().with_settings(settings);
    let unknown: String = (0..60).map(|id| format!("X{id},,,,,,purge\n")).collect();
    let stopped = world.run(&format!("{unknown}{}", rows(0..5, "Ann"))).expect_code(3);
    // One call more may be in flight when the run stops.
    let failed = stopped.json()["outcomes"]["failed"].as_u64().expect("a count");
    assert!((51..=52).contains(&failed), "{}", stopped.outcomes());
    let requests = world.requests();
    world.execute(&RUN).expect_code(1).expect_outcomes("5 created, 60 failed");
    assert_eq!(world.requests() - requests, 65 - failed);
}

/// A run without calls proves no settings.
#[test]
fn another_body_encoding_must_pass_the_canary() {
    let server = Server::new(|_, request| match request.head.contains("application/json") {
        true => success(),
        false => refusal("No."),
    });
    let world = World::with_server(&server.url());
    world.run(&rows(0..30, "Ann")).expect_code(0);
    world.edit_config("[omnidesk]", "[omnidesk]\nbody = \"form\"");
    world.run(&rows(0..30, "Ann")).expect_code(0).expect_calls(0);
    world.run(&rows(0..30, "Bob")).expect_code(3).expect_stop("canary_failed");
}

/// Two conflicting rows change a customer and change it back.
#[test]
fn conflicting_rows_cost_calls_only_once() {
    let world = World::default();
    let twice = |id: usize| format!("C{id},Ann,Smit,c{id}@example.org,,,\nC{id},Bob,Smit,,,,\n");
    let conflicts: String = (0..20).map(twice).collect();
    world.run(&conflicts).expect_code(0).expect_outcomes("20 created, 20 updated");
    for night in 0..3 {
        let export = format!("{conflicts}N{night},Cor,Smit,n{night}@example.org,,,\n");
        world.write_export(&export);
        let plan = world.execute(&["plan", "--json", "--show", "9", "export.csv"]).expect_code(0).json();
        assert_eq!(plan["calls"]["update"], 0, "{plan}");
        assert_eq!(plan["requests"].as_array().map(Vec::len), Some(1), "{plan}");
        let output =
            world.run(&export).expect_code(0).expect_outcomes("1 created, 40 unchanged").expect_calls(1);
        assert!(output.stdout.contains("conflicting_row"), "{}", output.stdout);
    }
    // The later row has a new value, which wins.
    let changed = conflicts.replacen("C7,Bob", "C7,Dan", 1);
    world.run(&changed).expect_code(0).expect_outcomes("2 updated, 38 unchanged");
    let customers = world.state().customers;
    let seventh = customers.iter().find(|customer| customer.id.primary_id == "C7").expect("a customer");
    assert_eq!(seventh.firstname.as_deref(), Some("Dan"));
    // A full run sends all rows.
    // Except for what a later row has decided since.
    world.run_with(&["--full"]).expect_code(0).expect_outcomes("39 updated, 1 channel_added");
}

/// An old and a new record of a customer would purge and recreate the customer
/// every night.
#[test]
fn rows_that_purge_and_recreate_a_customer_need_an_override() {
    let world = World::default().with_settings(ALLOW_PURGE);
    world.run(&rows(0..3, "Ann")).expect_code(0);
    let export = format!("C1,,,,,,purge\n{}", rows(0..3, "Ann"));
    world
        .run(&export)
        .expect_code(7)
        .expect_stderr("purge_and_recreate: one row would purge")
        .expect_stderr("row 1 on line 2 and row 3 on line 4");
    assert_eq!(world.state().counters.purge, 0);
    world.run_with(&["--allow-recreate"]).expect_code(0).expect_outcomes("1 created, 1 purged, 2 unchanged");
    // A full run recreates no purged customer.
    world.run("E1,Ann,Smit,e1@example.org,,,\n").expect_code(0);
    world.run("E1,,,,,,purge\n").expect_code(0);
    world.file("full.csv", format!("{HEADER}E1,,,,,,purge\nE1,Ann,Smit,e1@example.org,,,\n").as_bytes());
    world
        .execute(&["run", "--json", "--full", "full.csv"])
        .expect_code(1)
        .expect_outcomes("1 rejected, 1 failed");
    // If the export itself creates the customer first, the order is intended.
    let export = "D1,Ann,Smit,d1@example.org,,,create\nD1,,,,,,purge\nD1,Bob,Smit,d1@example.org,,,\n";
    world.run(export).expect_code(0).expect_outcomes("2 created, 1 purged");
}

#[test]
fn rows_that_adopt_rejects_are_rejected_by_the_next_run() {
    let world = World::default().with_settings(ALLOW_PURGE);
    world.run(&rows(0..2, "Ann")).expect_code(0);
    world.run("C1,,,,,,purge\n").expect_code(0);
    world.write_export(&rows(0..2, "Ann"));
    world.execute(&["adopt", "export.csv"]).expect_code(1);
    for _ in 0..2 {
        world.execute(&RUN).expect_code(1).expect_outcomes("1 unchanged, 1 rejected");
    }
}

#[test]
fn creates_held_in_doubt_are_reported_stop_nothing_and_end_with_adopt() {
    let server = Server::new(|_, request| match request.body.contains("LOST") {
        true => no_answer(Ending::Close),
        false => success(),
    });
    let world = World::with_server(&server.url());
    world.edit_config("[omnidesk]", "[omnidesk]\nin_doubt = \"hold\"");
    world.edit_config("[limits]", "[limits]\nmax_errors = 30");
    let lost = |id: usize| format!("LOST{id},Ann,Smit,lost{id}@example.org,,,\n");
    // Calls that work come between them, so this is no outage.
    let pairs = (0..25).map(|id| format!("{}{}", rows([2 * id, 2 * id + 1], "Ann"), lost(id)));
    world.run(&pairs.collect::<String>()).expect_code(1);
    let lost: String = (0..25).map(lost).collect();
    // They count as failed calls in that night only.
    world.edit_config("max_errors = 30", "max_errors = \"5%\"");
    world
        .run(&format!("{lost}{}", rows(0..50, "Bob")))
        .expect_code(1)
        .expect_outcomes("50 updated, 25 in_doubt");
    // They are reported even by a quiet run of an export without them.
    world.file("without.csv", format!("{HEADER}{}", rows(0..50, "Bob")).as_bytes());
    world.execute(&["run", "-q", "without.csv"]).expect_code(0).expect_stderr("25 creates are in doubt");
    world.execute(&["adopt", "export.csv"]).expect_code(0);
    assert_eq!(world.status()["in_doubt"], 0);
    let changed = lost.replacen("LOST7,Ann", "LOST7,Bob", 1);
    assert_eq!(world.run(&format!("{changed}{}", rows(0..50, "Bob"))).outcomes(), "74 unchanged, 1 failed");
}

#[test]
fn an_address_of_another_customer_does_not_count_as_added() {
    let server = Server::new(|_, request| match request.line().as_str() {
        "POST /api/v2/customer/addchannelonly" => {
            refusal("This telephone number already exists for another customer.")
        }
        _ => success(),
    });
    let world = World::with_server(&server.url());
    world
        .run("A1,Ann,Smit,a@example.org,,06-12345678,\n")
        .expect_code(1)
        .expect_outcomes("1 failed")
        .expect_stderr("for another customer");
}

/// An existing address does not show that the customer exists.
#[test]
fn a_row_with_refused_calls_only_creates_no_customer() {
    let server = Server::new(|_, request| match request.line().as_str() {
        "PUT /api/v2/customer/updateCustomer" => refusal("Customer not found."),
        _ => refusal("Email address already exists."),
    });
    let world = World::with_server(&server.url()).with_settings("[guard]\ncanary = 0\n");
    world.run("A1,,,a@example.org,,,\n").expect_code(1).expect_outcomes("1 failed");
}

#[test]
fn status_and_plan_report_a_lost_checkpoint() {
    let world = World::default();
    world.run(&rows(0..2, "Ann")).expect_code(0);
    std::fs::remove_file(world.path("omnidesk-sync.checkpoint")).expect("removed");
    let status = world.execute(&["status"]).expect_code(0).stdout;
    let plan = world.execute(&["plan", "export.csv"]).expect_code(0).stderr;
    for text in [status, plan] {
        assert!(text.contains("is lost, after") && text.contains("counts as new"), "{text}");
    }
}

#[test]
fn a_purge_row_needs_only_a_valid_customer() {
    let mapping = MAPPING.replacen("[customer]\n", "[customer]\nticket_id = \"phone\"\n", 1);
    assert_ne!(mapping, MAPPING);
    let world = World::default().with_mapping(&mapping, ALLOW_PURGE);
    world.run("A1,Ann,Smit,a@example.org,,,\n").expect_code(0);
    world.run("A1,,,,,abc,purge\n").expect_code(0).expect_outcomes("1 purged");
}

/// A later row wins only while the mapping is the same.
#[test]
fn a_fixed_mapping_decides_all_rows_anew() {
    let settings = format!("{ALLOW_PURGE}min_fill = \"0%\"\n");
    let with_rule = |world: World, then: &str| {
        let rule = format!("[[operation.rule]]\nwhen = \"last == 'old'\"\nthen = \"{then}\"\n");
        world.with_mapping(&format!("{MAPPING}{rule}"), &settings)
    };
    let world = World::default().with_settings(&settings);
    let export = "A1,Private,Smit,a1@example.org,,,\nA1,Billing,old,,,,\nA2,Ann,Smit,a2@example.org,,,\n";
    let first_name = |world: &World| {
        let mut customers = world.state().customers.into_iter();
        customers.find(|customer| customer.id.primary_id == "A1").and_then(|customer| customer.firstname)
    };
    world.run(export).expect_code(0);
    assert_eq!(first_name(&world).as_deref(), Some("Billing"));
    // The rule skips the row that has won so far.
    let world = with_rule(world, "skip");
    world.run(export).expect_code(0).expect_outcomes("1 updated, 1 unchanged, 1 skipped");
    assert_eq!(first_name(&world).as_deref(), Some("Private"));
    // A mistake in the rule purges the customer. Only an override recreates the customer.
    let world = with_rule(world, "purge");
    world.run(export).expect_code(0);
    assert_eq!(first_name(&world), None);
    let world = with_rule(world, "skip");
    world.run(export).expect_code(1).expect_outcomes("1 unchanged, 1 skipped, 1 rejected");
    world.run_with(&["--allow-recreate"]).expect_code(0).expect_outcomes("1 created, 1 unchanged, 1 skipped");
}

#[test]
fn rows_that_purge_update_and_recreate_a_customer_need_an_override() {
    let world = World::default().with_settings(ALLOW_PURGE);
    world.run("A1,Ann,Smit,a1@example.org,,,\n").expect_code(0);
    world
        .run("A1,,,,,,purge\nA1,Bob,,,,,update\nA1,Ann,Smit,a1@example.org,,,\n")
        .expect_code(7)
        .expect_stderr("purge_and_recreate");
}

/// A spreadsheet has removed leading zeros: the same people have other ids.
#[test]
fn customers_with_ids_in_another_spelling_are_not_created_again() {
    let world = World::default();
    let rows = |id: &dyn Fn(usize) -> String, mail: &dyn Fn(usize) -> usize| -> String {
        (0..40).map(|nth| format!("{},Ann,Smit,p{}@example.org,,,\n", id(nth), mail(nth))).collect()
    };
    world.run(&rows(&|nth| format!("{nth:06}"), &|nth| nth)).expect_code(0);
    let blocked = world
        .run(&rows(&|nth| nth.to_string(), &|nth| nth))
        .expect_code(7)
        .expect_stderr("new_ids: 40 of 40 new customers");
    assert_eq!(world.state().customers.len(), 40);
    assert!(blocked.stderr.contains("run --allow-new-ids --json export.csv"), "{}", blocked.stderr);
    // Other people, or a few with other ids, block nothing.
    world.run(&rows(&|nth| format!("N{nth}"), &|nth| nth + 100)).expect_code(0);
    let some = rows(&|nth| format!("M{nth}"), &|nth| if nth < 19 { nth } else { nth + 200 });
    assert!(!world.run(&some).stderr.contains("new_ids"));
    // Nor does an address that many customers share.
    let shared = |from: usize, to: usize| -> String {
        (from..to).map(|nth| format!("S{nth},Ann,Smit,s{nth}@example.org,,020-1234567,\n")).collect()
    };
    for (from, to) in [(0, 40), (40, 70)] {
        world.write_export(&shared(from, to));
        let output = world.run_with(&["--allow-shared-addresses"]);
        assert!(!output.stderr.contains("new_ids"), "{}", output.stderr);
    }
}
