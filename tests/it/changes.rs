//! Nights in a row: what changed is sent, and nothing else.

use omnidesk_sync::sandbox::{Settings, State};
use serde_json::Value;

use crate::server::{RESULT, Server, json, refusal};
use crate::world::{HEADER, MAPPING, World};

fn world() -> World {
    World::new(Settings::default())
}

fn rows(count: usize) -> String {
    (0..count).map(|id| format!("C{id},Ann,Smit,c{id}@example.org,,,\n")).collect()
}

/// Names and addresses of the only customer.
fn only(state: &State) -> String {
    assert_eq!(state.customers.len(), 1);
    let customer = &state.customers[0];
    let channels: Vec<&str> = customer.channels.iter().map(|channel| channel.address.as_str()).collect();
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    format!("{} {} {}", name(&customer.firstname), name(&customer.lastname), channels.join(" "))
}

fn vanished(summary: &Value) -> (u64, u64) {
    let notices = summary["notices"].as_array().expect("notices");
    let found = notices.iter().find(|notice| notice["code"] == "vanished_address");
    found.map_or((0, 0), |notice| {
        (notice["count"].as_u64().expect("a count"), notice["before"].as_u64().expect("a count"))
    })
}

fn planned(world: &World, export: &str) -> String {
    world.file("export.csv", format!("{HEADER}{export}").as_bytes());
    world.ends(&["plan", "export.csv"]).expect(0).stdout
}

#[test]
fn a_changed_field_goes_alone_so_that_an_agents_edit_of_another_stays() {
    let world = world();
    world.run("A1,Ann,Smit,a@example.org,,,\n").expect(0);
    // The agent is a run of another checkpoint, of which this one knows nothing.
    let config = world.read("omnidesk-sync.toml");
    world.file("agent.toml", format!("{config}\n[checkpoint]\npath = \"agent\"\n").as_bytes());
    world.file("edit.csv", format!("{HEADER}A1,,Jansen,,,,update\n").as_bytes());
    world.ends(&["run", "-c", "agent.toml", "edit.csv"]).expect(0);
    let ended = world.run("A1,Bob,Smit,a@example.org,,,\n").expect(0);
    assert_eq!((ended.outcomes().as_str(), ended.calls()), ("1 updated", 1));
    assert_eq!(only(&world.state()), "Bob Jansen a@example.org");
    let ended = world.run("A1,Bob,Smit,b@example.org,,06-12345678,\n").expect(0);
    assert_eq!((ended.outcomes().as_str(), ended.calls()), ("1 channel_added", 2));
    assert_eq!(only(&world.state()), "Bob Jansen a@example.org b@example.org +31612345678");
}

#[test]
fn values_are_compared_as_they_are_sent() {
    let world = world();
    world.run("A1,Ann,Smit,a@example.org,,06-12345678,\n").expect(0);
    let ended = world.run("A1,  Ann ,Smit,A@Example.org,,+31 6 1234 5678,\n").expect(0);
    assert_eq!((ended.outcomes().as_str(), ended.calls()), ("1 unchanged", 0));
}

#[test]
fn a_call_that_failed_is_made_again_by_the_next_nights_export() {
    let server = Server::new(|number, request| match request.body.contains("Bob") && number < 4 {
        true => refusal("Not now."),
        false => json(200, RESULT),
    });
    let world = World::at(&server.url());
    world.run("A1,Ann,Smit,a@example.org,,,\nB1,Cor,Vos,b@example.org,,,\n").expect(0);
    let failed = world.run("A1,Bob,Smit,a@example.org,,,\nB1,Cor,Vos,b@example.org,,,\n").expect(1);
    assert_eq!(failed.outcomes(), "1 unchanged, 1 failed");
    // Until it is acknowledged, it counts as not told.
    world.run("A1,Bob,Smit,a@example.org,,,\nB1,Cor,Vos,b@example.org,,,\nD1,Dik,Bos,,,,\n").expect(1);
    let next =
        world.run("A1,Bob,Smit,a@example.org,,,\nB1,Cor,Vos,b@example.org,,,\nE1,Eva,Bos,,,,\n").expect(0);
    assert_eq!(next.outcomes(), "1 created, 1 updated, 1 unchanged");
}

#[test]
fn an_address_that_vanished_is_told_in_that_night_and_counted_after() {
    let world = world();
    let both = "A1,Ann,Smit,a@example.org,b@example.org,,\n";
    let one = "A1,Ann,Smit,a@example.org,,,\n";
    let other = |night: u32| format!("B{night},Bob,Bos,,,,\n");
    world.run(both).expect(0);
    assert!(planned(&world, one).contains("1 address has vanished from the export"));
    let ended = world.run(one).expect(0);
    assert_eq!((ended.outcomes().as_str(), ended.calls()), ("1 unchanged", 0));
    assert_eq!(vanished(&ended.json()), (1, 0));
    assert!(ended.stderr.contains("1 address has vanished from the export"), "{}", ended.stderr);
    let file = String::from_utf8(world.result("notices.csv").expect("notices.csv")).expect("UTF-8");
    assert!(file.contains("A1,Ann,Smit,a@example.org,,,,2,,vanished_address,"), "{file}");
    assert_eq!(ended.json()["files"], serde_json::json!(["notices.csv"]));

    let quiet = world.run(&format!("{one}{}", other(3))).expect(0);
    assert_eq!(vanished(&quiet.json()), (0, 1));
    assert!(!quiet.stderr.contains("vanished"), "{}", quiet.stderr);
    assert_eq!(world.result("notices.csv"), None);
    let back = world.run(&format!("{both}{}", other(4))).expect(0);
    assert_eq!((vanished(&back.json()), back.calls()), ((0, 0), 1));
    let again = world.run(&format!("{one}{}", other(5))).expect(0);
    assert_eq!(vanished(&again.json()), (1, 0));
}

#[test]
fn an_address_in_another_row_or_of_a_row_left_out_has_not_vanished() {
    let world = world();
    let export = "A1,Ann,Smit,a@example.org,,,\nA1,Ann,Smit,b@example.org,,,\nB1,Bob,Bos,c@example.org,,,\n";
    world.run(export).expect(0);
    let swapped = "A1,Ann,Smit,b@example.org,,,\nA1,Ann,Smit,a@example.org,,,\n";
    let ended = world.run(swapped).expect(0);
    assert_eq!((vanished(&ended.json()), ended.calls()), ((0, 0), 0));
    let updates = "A1,Ann,Smit,,,,update\nA1,Ann,Smit,,,,update\n";
    assert_eq!(vanished(&world.run(updates).expect(0).json()), (0, 0), "an update names no addresses");
    let less = "A1,Ann,Smit,b@example.org,,,\nA1,Ann,Smit,,,,\n";
    assert_eq!(vanished(&world.run(less).expect(0).json()), (1, 0));
}

#[test]
fn a_blocked_run_has_told_nobody_what_vanished() {
    let world = world().with_mapping(&format!("{MAPPING}\n[guard]\nmax_changes = \"50%\"\n"), "");
    let export = "A1,Ann,Smit,a@example.org,b@example.org,,\n";
    world.file("export.csv", format!("{HEADER}{export}").as_bytes());
    world.ends(&["run", "--max-changes", "1", "export.csv"]).expect(0);
    world.run("A1,Bob,Smit,a@example.org,,,\n").expect(7);
    let ended = world.ends(&["run", "--json", "--max-changes", "1", "export.csv"]).expect(0);
    assert_eq!(vanished(&ended.json()), (1, 0));
}

#[test]
fn a_mapping_that_changed_is_told_from_data_that_did() {
    let world = world();
    world.run(&rows(5)).expect(0);
    let export = rows(5).replacen("Ann", "Bob", 1);
    assert!(!planned(&world, &export).contains("the mapping of"), "only data has changed");
    let mapping = format!("{MAPPING}\n[customer.custom]\nsource = {{ value = \"crm\" }}\n");
    let world = world.with_mapping(&mapping, "");
    let plan = planned(&world, &rows(5));
    let words = "the mapping of `custom.source` is new; customers to update: 5, for this field alone: 5\n";
    assert!(plan.contains(words), "{plan}");
    let plan = planned(&world, &export);
    let words = "`custom.source` is new; customers to update: 5, for this field alone: 4\n";
    assert!(plan.contains(words), "{plan}");
    let ended = world.run(&export).expect(0);
    assert!(ended.stderr.contains(words), "{}", ended.stderr);
    assert_eq!((ended.outcomes().as_str(), ended.calls()), ("5 updated", 5));
    let plan = planned(&world, &rows(5));
    assert!(!plan.contains("the mapping of"), "it is the last one's: {plan}");

    let world = world.with_mapping(&mapping.replace("crm", "erp"), "");
    assert!(planned(&world, &export).contains("`custom.source` is changed; customers to update: 5"));
    let world = world.with_mapping(MAPPING, "");
    let plan = planned(&world, &export);
    assert!(plan.contains("`custom.source` is no longer mapped: Omnidesk keeps"), "{plan}");
    assert!(plan.contains("become 0 calls"), "{plan}");
}

#[test]
fn a_mapping_of_ids_or_addresses_that_changed_is_told_too() {
    let world = world();
    world.run("A1,Ann,Smit,a@example.org,b@example.org,,\nB1,Bob,Bos,c@example.org,,,\n").expect(0);
    let export = "A1,Ann,Smit,a@example.org,b@example.org,06-12345678,\nB1,Bob,Bos,c@example.org,,,\n";
    assert!(!planned(&world, export).contains("the mapping of"));
    let other_id = MAPPING.replace("primary_id = \"id\"", "primary_id = { template = \"X{{ id }}\" }");
    let world = world.with_mapping(&other_id, "");
    let plan = planned(&world, export);
    let words = "`primary_id` is changed; customers unknown by it, and to be created: 2";
    assert!(plan.contains(words), "{plan}");
    let more = MAPPING.replace("region = \"NL\" }", "region = \"NL\", invalid = \"drop\" }");
    let world = world.with_mapping(&more.replace("firstname = \"first\"", "firstname = \"last\""), "");
    let plan = planned(&world, export);
    assert!(plan.contains("`telephone` is changed; customers who get another address: 1"), "{plan}");
    assert!(plan.contains("customers sent again for the mapping alone: 2"), "{plan}");
}

#[test]
fn what_was_adopted_is_a_base_to_compare_with() {
    let world = world();
    world.file("export.csv", format!("{HEADER}{}", rows(30)).as_bytes());
    world.ends(&["adopt", "--limit", "2", "export.csv"]).expect(0);
    world.ends(&["adopt", "export.csv"]).expect(0);
    world.ends(&["adopt", "export.csv"]).expect(0);
    assert_eq!(world.state().counters.requests, 0);
    let emptied: String = (0..30).map(|id| format!("C{id},Ann,Smit,,,,\n")).collect();
    assert!(world.run(&emptied).expect(7).stderr.contains("min_fill"));
    assert!(world.run(&rows(10)).expect(7).stderr.contains("the last finished run read 30"));
    // Omnidesk does not hold them, and the program was told that it does: only
    // what differs is sent.
    let plan = planned(&world, &rows(30).replacen("Ann", "Bob", 1).replacen("c9@", "new@", 1));
    assert!(plan.contains("become 2 calls (1 update, 1 add-channel)"), "{plan}");
    assert!(plan.contains("1 address has vanished"), "{plan}");
}

#[test]
fn what_cannot_be_adopted_is_not_taken_for_told() {
    let world = world();
    world.file("export.csv", format!("{HEADER}A1,Ann,Smit,a@example.org,,,\nB1,,,,,,purge\n").as_bytes());
    world.ends(&["adopt", "export.csv"]).expect(2);
    world.file("export.csv", format!("{HEADER}A1,Ann,Smit,no-address,,,\nB1,Bob,Bos,,,,\n").as_bytes());
    let ended = world.ends(&["adopt", "export.csv"]).expect(1);
    assert!(ended.stderr.contains("1 of 2 rows adopted, 1 rejected"), "{}", ended.stderr);
    assert!(ended.stderr.contains("on line "), "{}", ended.stderr);
    let ended = world.run("A1,Ann,Smit,a@example.org,,,\nB1,Bob,Bos,,,,\n").expect(0);
    assert_eq!(ended.outcomes(), "1 created, 1 unchanged");
}

#[test]
fn a_full_run_sends_everything_again_and_brings_back_nobody() {
    let world = world();
    world.run("A1,Ann,Smit,a@example.org,b@example.org,,\nB1,Bob,Bos,c@example.org,,,\n").expect(0);
    world.file("purge.csv", format!("{HEADER}B1,,,,,,purge\n").as_bytes());
    world.ends(&["run", "--allow-purge", "purge.csv"]).expect(0);
    let export = "A1,Ann,Smit,a@example.org,b@example.org,,\nB1,Bob,Bos,c@example.org,,,\n";
    world.file("export.csv", format!("{HEADER}{export}").as_bytes());
    let ended = world.ends(&["run", "--json", "--full", "export.csv"]).expect(1);
    assert_eq!((ended.outcomes().as_str(), ended.calls()), ("1 updated, 1 rejected", 3));
    assert_eq!(only(&world.state()), "Ann Smit a@example.org b@example.org");
}
