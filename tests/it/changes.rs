//! Several nights: only changes are sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use omnidesk_sync::sandbox::State;

use crate::server::{Request, Server, refusal, success};
use crate::world::{CommandOutput, HEADER, MAPPING, World, rows};

/// Names and addresses of the only customer.
fn only_customer(state: &State) -> String {
    assert_eq!(state.customers.len(), 1);
    let customer = &state.customers[0];
    let channels: Vec<&str> = customer.channels.iter().map(|channel| channel.address.as_str()).collect();
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    format!("{} {} {}", name(&customer.firstname), name(&customer.lastname), channels.join(" "))
}

/// Vanished addresses: new ones, and those of earlier runs.
fn vanished_addresses(output: &CommandOutput) -> (u64, u64) {
    output.notices("vanished_address")
}

fn plan_text(world: &World, export: &str) -> String {
    world.write_export(export);
    world.execute(&["plan", "export.csv"]).expect_code(0).stdout
}

#[test]
fn only_changed_fields_are_sent_so_an_agents_edits_survive() {
    let world = World::default();
    world.run("A1,Ann,Smit,a@example.org,,,\n").expect_code(0);
    // The agent is a run with another checkpoint.
    world.write_other_config("agent");
    world.file("edit.csv", format!("{HEADER}A1,,Jansen,,,,update\n").as_bytes());
    world.execute(&["run", "-c", "agent.toml", "edit.csv"]).expect_code(0);
    world.run("A1,Bob,Smit,a@example.org,,,\n").expect_code(0).expect_outcomes("1 updated").expect_calls(1);
    assert_eq!(only_customer(&world.state()), "Bob Jansen a@example.org");
    world
        .run("A1,Bob,Smit,b@example.org,,06-12345678,\n")
        .expect_code(0)
        .expect_outcomes("1 channel_added")
        .expect_calls(2);
    assert_eq!(only_customer(&world.state()), "Bob Jansen a@example.org b@example.org +31612345678");
}

#[test]
fn values_are_compared_as_they_are_sent() {
    let world = World::default();
    world.run("A1,Ann,Smit,a@example.org,,06-12345678,\n").expect_code(0);
    world
        .run("A1,  Ann ,Smit,A@Example.org,,+31 6 1234 5678,\n")
        .expect_code(0)
        .expect_outcomes("1 unchanged")
        .expect_calls(0);
}

#[test]
fn a_failed_call_is_retried_with_the_next_export() {
    let server = Server::new(|number, request| match request.body.contains("Bob") && number < 4 {
        true => refusal("Not now."),
        false => success(),
    });
    let world = World::with_server(&server.url());
    world.run("A1,Ann,Smit,a@example.org,,,\nB1,Cor,Vos,b@example.org,,,\n").expect_code(0);
    world
        .run("A1,Bob,Smit,a@example.org,,,\nB1,Cor,Vos,b@example.org,,,\n")
        .expect_code(1)
        .expect_outcomes("1 unchanged, 1 failed");
    // It fails again, so it is still not acknowledged.
    world.run("A1,Bob,Smit,a@example.org,,,\nB1,Cor,Vos,b@example.org,,,\nD1,Dik,Bos,,,,\n").expect_code(1);
    world
        .run("A1,Bob,Smit,a@example.org,,,\nB1,Cor,Vos,b@example.org,,,\nE1,Eva,Bos,,,,\n")
        .expect_code(0)
        .expect_outcomes("1 created, 1 updated, 1 unchanged");
}

#[test]
fn an_id_is_the_same_without_its_invisible_characters() {
    let world = World::default();
    world.run("A1,Ann,Smit,a@example.org,,,\nB1,Bob,Bos,,,,\n").expect_code(0).expect_calls(2);
    let rows = "A\u{200B}1,Ann,Bos,a@example.org,,,\n\u{2060}B1\u{AD},Bob,Bos,,,,\n";
    assert!(plan_text(&world, rows).contains("ids with invisible characters, which were taken out: 2"));
    world.run(rows).expect_code(0).expect_outcomes("1 updated, 1 unchanged");
    assert_eq!(world.state().customers.len(), 2);
}

#[test]
fn a_vanished_address_is_reported_once_and_counted_later() {
    let world = World::default();
    let both = "A1,Ann,Smit,a@example.org,b@example.org,,\n";
    let one = "A1,Ann,Smit,a@example.org,,,\n";
    let other = |night: u32| format!("B{night},Bob,Bos,,,,\n");
    world.run(both).expect_code(0);
    assert!(plan_text(&world, one).contains("1 address has vanished from the export"));
    let output = world.run(one).expect_code(0).expect_outcomes("1 unchanged").expect_calls(0);
    assert_eq!(vanished_addresses(&output), (1, 0));
    assert!(output.stderr.contains("1 address has vanished from the export"), "{}", output.stderr);
    let notices = world.result_text("notices.csv");
    assert!(notices.contains("A1,Ann,Smit,a@example.org,,,,2,,vanished_address,"), "{notices}");
    assert_eq!(output.json()["files"], serde_json::json!(["notices.csv"]));

    let later = world.run(&format!("{one}{}", other(3))).expect_code(0);
    assert_eq!(vanished_addresses(&later), (0, 1));
    assert!(!later.stderr.contains("vanished"), "{}", later.stderr);
    assert_eq!(world.result("notices.csv"), None);
    // The address returns, and vanishes once more.
    let output = world.run(&format!("{both}{}", other(4))).expect_code(0).expect_calls(1);
    assert_eq!(vanished_addresses(&output), (0, 0));
    let output = world.run(&format!("{one}{}", other(5))).expect_code(0);
    assert_eq!(vanished_addresses(&output), (1, 0));
}

#[test]
fn an_address_in_another_row_or_of_a_removed_row_has_not_vanished() {
    let world = World::default();
    let export = "A1,Ann,Smit,a@example.org,,,\nA1,Ann,Smit,b@example.org,,,\nB1,Bob,Bos,c@example.org,,,\n";
    world.run(export).expect_code(0);
    let swapped = "A1,Ann,Smit,b@example.org,,,\nA1,Ann,Smit,a@example.org,,,\n";
    let output = world.run(swapped).expect_code(0).expect_calls(0);
    assert_eq!(vanished_addresses(&output), (0, 0));
    let updates = "A1,Ann,Smit,,,,update\nA1,Ann,Smit,,,,update\n";
    let output = world.run(updates).expect_code(0);
    assert_eq!(vanished_addresses(&output), (0, 0), "an update has no addresses");
    let fewer = "A1,Ann,Smit,b@example.org,,,\nA1,Ann,Smit,,,,\n";
    assert_eq!(vanished_addresses(&world.run(fewer).expect_code(0)), (1, 0));
}

#[test]
fn a_blocked_run_does_not_use_up_the_report_of_a_vanished_address() {
    let world = World::default().with_settings("[guard]\nmax_changes = \"50%\"\n");
    let export = "A1,Ann,Smit,a@example.org,b@example.org,,\n";
    world.write_export(export);
    world.execute(&["run", "--max-changes", "1", "export.csv"]).expect_code(0);
    world.run("A1,Bob,Smit,a@example.org,,,\n").expect_code(7);
    let output = world.run_with(&["--max-changes", "1"]).expect_code(0);
    assert_eq!(vanished_addresses(&output), (1, 0));
}

#[test]
fn a_changed_mapping_is_reported_and_changed_data_is_not() {
    let world = World::default();
    world.run(&rows(5)).expect_code(0);
    let export = rows(5).replacen("Ann", "Bob", 1);
    assert!(!plan_text(&world, &export).contains("the mapping of"), "only data has changed");
    let mapping = format!("{MAPPING}\n[customer.custom]\nsource = {{ value = \"crm\" }}\n");
    let world = world.with_mapping(&mapping, "");
    let plan = plan_text(&world, &rows(5));
    let message = "the mapping of `custom.source` is new; customers to update: 5, for this field alone: 5\n";
    assert!(plan.contains(message), "{plan}");
    let plan = plan_text(&world, &export);
    let message = "`custom.source` is new; customers to update: 5, for this field alone: 4\n";
    assert!(plan.contains(message), "{plan}");
    world.run(&export).expect_code(0).expect_stderr(message).expect_outcomes("5 updated").expect_calls(5);
    let plan = plan_text(&world, &rows(5));
    assert!(!plan.contains("the mapping of"), "the last run had the same mapping: {plan}");

    let world = world.with_mapping(&mapping.replace("crm", "erp"), "");
    assert!(plan_text(&world, &export).contains("`custom.source` is changed; customers to update: 5"));
    let world = world.with_settings("");
    let plan = plan_text(&world, &export);
    assert!(plan.contains("`custom.source` is no longer mapped: Omnidesk keeps"), "{plan}");
    assert!(plan.contains("become 0 calls"), "{plan}");
}

#[test]
fn a_changed_mapping_of_ids_or_addresses_is_reported() {
    let world = World::default();
    world.run("A1,Ann,Smit,a@example.org,b@example.org,,\nB1,Bob,Bos,c@example.org,,,\n").expect_code(0);
    let export = "A1,Ann,Smit,a@example.org,b@example.org,06-12345678,\nB1,Bob,Bos,c@example.org,,,\n";
    assert!(!plan_text(&world, export).contains("the mapping of"));
    let other_id = MAPPING.replace("primary_id = \"id\"", "primary_id = { template = \"X{{ id }}\" }");
    let world = world.with_mapping(&other_id, "");
    let plan = plan_text(&world, export);
    let message = "`primary_id` is changed; customers unknown by it, and to be created: 2";
    assert!(plan.contains(message), "{plan}");
    let mapping = MAPPING.replace("region = \"NL\" }", "region = \"NL\", invalid = \"drop\" }");
    let world = world.with_mapping(&mapping.replace("firstname = \"first\"", "firstname = \"last\""), "");
    let plan = plan_text(&world, export);
    assert!(plan.contains("`telephone` is changed; customers who get another address: 1"), "{plan}");
    assert!(plan.contains("customers sent again for the mapping alone: 2"), "{plan}");
}

#[test]
fn an_adopted_export_is_a_baseline() {
    let world = World::default();
    world.write_export(&rows(30));
    world.execute(&["adopt", "--limit", "2", "export.csv"]).expect_code(0);
    world.execute(&["adopt", "export.csv"]).expect_code(0);
    world.execute(&["adopt", "export.csv"]).expect_code(0);
    assert_eq!(world.requests(), 0);
    let emptied: String = (0..30).map(|id| format!("C{id},Ann,Smit,,,,\n")).collect();
    world.run(&emptied).expect_code(7).expect_stderr("min_fill");
    world.run(&rows(10)).expect_code(7).expect_stderr("the last full run read 30");
    // Adopted values count as acknowledged: only differences are sent.
    let plan = plan_text(&world, &rows(30).replacen("Ann", "Bob", 1).replacen("c9@", "new@", 1));
    assert!(plan.contains("become 2 calls (1 update, 1 add-channel)"), "{plan}");
    assert!(plan.contains("1 address has vanished"), "{plan}");
}

#[test]
fn rows_that_cannot_be_adopted_are_not_acknowledged() {
    let world = World::default();
    world.write_export("A1,Ann,Smit,a@example.org,,,\nB1,,,,,,purge\n");
    world.execute(&["adopt", "export.csv"]).expect_code(2);
    world.write_export("A1,Ann,Smit,no-address,,,\nB1,Bob,Bos,,,,\n");
    world
        .execute(&["adopt", "export.csv"])
        .expect_code(1)
        .expect_stderr("1 of 2 rows adopted, 1 rejected")
        .expect_stderr("on line ");
    world
        .run("A1,Ann,Smit,a@example.org,,,\nB1,Bob,Bos,,,,\n")
        .expect_code(0)
        .expect_outcomes("1 created, 1 unchanged");
}

#[test]
fn a_full_run_sends_everything_again_and_recreates_no_purged_customer() {
    let world = World::default();
    world.run("A1,Ann,Smit,a@example.org,b@example.org,,\nB1,Bob,Bos,c@example.org,,,\n").expect_code(0);
    world.file("purge.csv", format!("{HEADER}B1,,,,,,purge\n").as_bytes());
    world.execute(&["run", "--allow-purge", "--min-rows", "0", "purge.csv"]).expect_code(0);
    let export = "A1,Ann,Smit,a@example.org,b@example.org,,\nB1,Bob,Bos,c@example.org,,,\n";
    world.write_export(export);
    world.run_with(&["--full"]).expect_code(1).expect_outcomes("1 updated, 1 rejected").expect_calls(3);
    assert_eq!(only_customer(&world.state()), "Ann Smit a@example.org b@example.org");
}

/// A server that refuses the calls that hold a word.
fn refusing(word: &'static str) -> (Server, Arc<AtomicBool>) {
    let refuses = Arc::new(AtomicBool::new(true));
    let shared = Arc::clone(&refuses);
    let server = Server::new(move |_, request| {
        let refuses = shared.load(Relaxed);
        match request.line().as_str() {
            _ if refuses && request.body.contains(word) => refusal("No."),
            "DELETE /api/v2/customer/purgedata" if request.body.contains("absent") => {
                refusal("Customer not found.")
            }
            _ => success(),
        }
    });
    (server, refuses)
}

/// The result file, run again, counts as the rows that it stands for.
#[test]
fn a_result_file_undoes_nothing_that_came_after_its_rows() {
    let (server, refuses) = refusing("Silver");
    let world = World::with_server(&server.url());
    world.run("C1,Gold,Smit,,,,\nC1,Silver,Smit,,,,\nC1,Gold,Vis,,,,\n").expect_code(1);
    refuses.store(false, Relaxed);
    let failed = world.result("failed.csv").expect("a result file");
    world.file("failed.csv", &failed);
    let sent = server.requests().len();
    let output =
        world.execute(&["run", "--json", "failed.csv"]).expect_code(0).expect_outcomes("1 unchanged");
    assert_eq!(server.requests().len(), sent);
    assert!(output.stdout.contains("superseded"), "{}", output.stdout);
    assert!(world.result_text("notices.csv").contains("a later row or export has set another firstname"));
    // A later export has decided the field: the same row of the earlier one is left alone.
    world.run("C2,Gold,Smit,,,,\nC1,Bronze,Vis,,,,\n").expect_code(0);
    let sent = server.requests().len();
    world.execute(&["run", "--json", "--full", "failed.csv"]).expect_code(0);
    let later = &server.requests()[sent..];
    assert!(later.iter().all(|request| !request.body.contains("Silver")), "{later:?}");
}

/// Data from before a purge goes to no customer who is made anew.
#[test]
fn rows_before_a_purge_stay_dead_in_every_way_of_running_them_again() {
    for (id, again) in ["C1", "absent"].iter().flat_map(|id| {
        [&["export.csv"][..], &["--full", "export.csv"], &["failed.csv"]].map(|again| (id, again))
    }) {
        let (server, refuses) = refusing("Old");
        let world = World::with_server(&server.url()).with_settings("[guard]\nallow_purge = true\n");
        world
            .run(&format!(
                "{id},Old,Smit,old@example.org,,,create\n{id},,,,,,purge\n{id},New,Vis,,,,create\n"
            ))
            .expect_code(1);
        refuses.store(false, Relaxed);
        if again == ["failed.csv"] {
            let failed = world.result("failed.csv").expect("a result file");
            world.file("failed.csv", &failed);
        }
        let sent = server.requests().len();
        for _ in 0..2 {
            world.execute(&[&["run"], again].concat()).expect_code(0);
        }
        let later = &server.requests()[sent..];
        let is_old = |request: &Request| request.body.contains("Old") || request.body.contains("old@");
        assert!(!later.iter().any(is_old), "{id} {again:?}: {later:?}");
    }
}

/// Each address is named each time that it is tried, and the plan names those of
/// customers who are not in the export any more.
#[test]
fn an_address_that_exists_already_is_named() {
    let server = Server::new(|_, request| match request.line().as_str() {
        "POST /api/v2/customer/addchannelonly" => refusal("This e-mail address already exists."),
        _ => success(),
    });
    let world = World::with_server(&server.url());
    let output = world.run("C1,Ann,Smit,ann@example.org,ann2@example.org,,\n").expect_code(0);
    assert!(output.stderr.contains("1 of them is perhaps another customer's"), "{}", output.stderr);
    let notices = world.result_text("notices.csv");
    assert!(notices.contains("existing_address") && notices.lines().count() == 2, "{notices}");
}

/// A customer with a new id takes the address of the old one along.
#[test]
fn an_address_of_a_customer_who_left_the_export_is_reported_until_it_is_purged() {
    let world = World::default();
    world.run(&rows(30)).expect_code(0);
    let all = rows(30);
    let (old, others) = all.split_once('\n').expect("rows");
    let renumbered = format!("{others}{}\n", old.replacen("C0", "N0", 1));
    world.write_export(&renumbered);
    for _ in 0..2 {
        let plan = world.execute(&["plan", "export.csv"]).expect_code(0);
        let text = "1 address belongs also to a known customer who is not in the export, such as row 30 on line 31 (email)";
        assert!(plan.stdout.contains(text), "{}", plan.stdout);
        // The sandbox links an address to one customer.
        world.execute(&["run", "export.csv"]).expect_code(1).expect_stderr("linked to another customer");
    }
    world.file("purge.csv", format!("{HEADER}C0,,,,,,purge\n").as_bytes());
    world.execute(&["run", "--allow-purge", "--min-rows", "0", "purge.csv"]).expect_code(0);
    let plan = world.execute(&["plan", "export.csv"]).expect_code(0);
    assert!(!plan.stdout.contains("belongs also"), "{}", plan.stdout);
}
