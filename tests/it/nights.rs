//! What stays wrong from night to night: it stops nothing else, costs no calls,
//! and is told each time.

use omnidesk_sync::sandbox::Settings;

use crate::server::{RESULT, Server, json, refusal};
use crate::world::{HEADER, MAPPING, World};

fn rows(ids: impl IntoIterator<Item = usize>, first: &str) -> String {
    ids.into_iter().map(|id| format!("C{id},{first},Smit,c{id}@example.org,,,\n")).collect()
}

/// Refuses whatever is of a customer whose id begins with `BAD`.
fn picky() -> Server {
    Server::new(|_, request| match request.body.contains("BAD") {
        true => refusal("The address belongs to somebody else."),
        false => json(200, RESULT),
    })
}

#[test]
fn customers_who_are_always_refused_do_not_stop_the_nights() {
    let server = picky();
    let world = World::at(&server.url());
    let bad: String = (0..6).map(|id| format!("BAD{id},Ann,Smit,bad{id}@example.org,,,\n")).collect();
    let first = world.run(&format!("{}{bad}", rows(0..50, "Ann"))).expect(1);
    assert_eq!(first.outcomes(), "50 created, 6 failed");
    let second = world.run(&format!("{bad}{}{}", rows(0..3, "Bob"), rows(3..50, "Ann"))).expect(1);
    assert_eq!(second.outcomes(), "3 updated, 47 unchanged, 6 failed");
    // With another mapping the first calls have to show again that it is right.
    let mapping = MAPPING.replace("firstname = \"first\"", "firstname = \"last\"");
    assert_ne!(mapping, MAPPING);
    let other = world.with_mapping(&mapping, "");
    let stopped = other.run(&format!("{bad}{}", rows(0..50, "Ann"))).expect(3);
    assert_eq!(stopped.json()["stopped"]["reason"], "canary_failed");
    assert!(stopped.stderr.contains("canary = 0"), "{}", stopped.stderr);
}

/// More of them than `max_errors` is of the few calls of a night.
#[test]
fn as_many_as_failed_in_the_last_night_may_fail_again() {
    let server = picky();
    let world = World::at(&server.url());
    let bad = |count| -> String {
        (0..count).map(|id| format!("BAD{id},Ann,Smit,bad{id}@example.org,,,\n")).collect()
    };
    let rows = |changed: usize| format!("{}{}", rows(0..changed, "Bob"), rows(changed..600, "Ann"));
    assert_eq!(world.run(&format!("{}{}", rows(0), bad(25))).expect(1).outcomes(), "600 created, 25 failed");
    for (night, failing) in [(1, 25), (2, 40)] {
        let ended = world.run(&format!("{}{}", bad(failing), rows(5 * night))).expect(1);
        assert_eq!(ended.outcomes(), format!("5 updated, 595 unchanged, {failing} failed"));
    }
    // More than a few of them are new.
    let stopped = world.run(&format!("{}{}", bad(80), rows(10))).expect(3);
    assert_eq!(stopped.json()["stopped"]["reason"], "too_many_errors");
    assert!(stopped.stderr.contains("beside those that failed in the last run"), "{}", stopped.stderr);
}

#[test]
fn purges_of_strangers_are_no_sign_of_wrong_settings() {
    let world = World::new(Settings::default())
        .with_mapping(&format!("{MAPPING}\n[guard]\nallow_purge = true\nmax_purge = 20\n"), "");
    let strangers: String = (0..8).map(|id| format!("X{id},,,,,,purge\n")).collect();
    let ended = world.run(&format!("{strangers}{}", rows(0..20, "Ann"))).expect(1);
    assert_eq!(ended.outcomes(), "20 created, 8 failed");
}

/// They are settled one by one, so that a run which is stopped goes on behind them.
#[test]
fn purges_of_strangers_are_settled_as_they_come() {
    let world = World::new(Settings::default()).with_mapping(
        &format!("{MAPPING}\n[guard]\nallow_purge = true\nmax_purge = 100\n"),
        "concurrency = 1\nmax_errors = 50\n",
    );
    let strangers: String = (0..60).map(|id| format!("X{id},,,,,,purge\n")).collect();
    let stopped = world.run(&format!("{strangers}{}", rows(0..5, "Ann"))).expect(3);
    // One call more may be under way when the run stops.
    let failed = stopped.json()["outcomes"]["failed"].as_u64().expect("a count");
    assert!((51..=52).contains(&failed), "{}", stopped.outcomes());
    let requests = world.state().counters.requests;
    let ended = world.ends(&["run", "--json", "export.csv"]).expect(1);
    assert_eq!(ended.outcomes(), "5 created, 60 failed");
    assert_eq!(world.state().counters.requests - requests, 65 - failed);
}

/// Settings by which no call has worked yet are not proven by a run that had
/// nothing to send.
#[test]
fn another_body_has_to_show_that_it_works() {
    let server = Server::new(|_, request| match request.head.contains("application/json") {
        true => json(200, RESULT),
        false => refusal("No."),
    });
    let world = World::at(&server.url());
    world.run(&rows(0..30, "Ann")).expect(0);
    let config = world.read("omnidesk-sync.toml").replace("[omnidesk]", "[omnidesk]\nbody = \"form\"");
    world.file("omnidesk-sync.toml", config.as_bytes());
    assert_eq!(world.run(&rows(0..30, "Ann")).expect(0).calls(), 0);
    let stopped = world.run(&rows(0..30, "Bob")).expect(3);
    assert_eq!(stopped.json()["stopped"]["reason"], "canary_failed");
}

/// Two rows that contradict each other change a customer and change it back.
#[test]
fn rows_that_contradict_each_other_cost_calls_once() {
    let world = World::new(Settings::default());
    let twice = |id: usize| format!("C{id},Ann,Smit,c{id}@example.org,,,\nC{id},Bob,Smit,,,,\n");
    let both: String = (0..20).map(twice).collect();
    let first = world.run(&both).expect(0);
    assert_eq!(first.outcomes(), "20 created, 20 updated");
    for night in 0..3 {
        let export = format!("{both}N{night},Cor,Smit,n{night}@example.org,,,\n");
        world.file("export.csv", format!("{HEADER}{export}").as_bytes());
        let plan = world.ends(&["plan", "--json", "--show", "9", "export.csv"]).expect(0).json();
        assert_eq!(plan["calls"]["update"], 0, "{plan}");
        assert_eq!(plan["requests"].as_array().map(Vec::len), Some(1), "{plan}");
        let ended = world.run(&export).expect(0);
        assert_eq!((ended.outcomes().as_str(), ended.calls()), ("1 created, 40 unchanged", 1));
        assert!(ended.stdout.contains("conflicting_row"), "{}", ended.stdout);
    }
    // The later row says something new: the customer ends with that.
    let changed = both.replacen("C7,Bob", "C7,Dan", 1);
    assert_eq!(world.run(&changed).expect(0).outcomes(), "2 updated, 38 unchanged");
    let customers = world.state().customers;
    let seventh = customers.iter().find(|customer| customer.id.primary_id == "C7").expect("there");
    assert_eq!(seventh.firstname.as_deref(), Some("Dan"));
    // Everything is asked for: everything goes.
    let full = world.ends(&["run", "--json", "--full", "export.csv"]).expect(0);
    assert_eq!(full.outcomes(), "40 updated");
}

/// A row of a deleted record before one of the same customer's new record
/// would purge and make the customer anew in every night.
#[test]
fn who_is_purged_by_one_row_and_brought_back_by_a_later_one_needs_leave() {
    let world = World::new(Settings::default())
        .with_mapping(&format!("{MAPPING}\n[guard]\nallow_purge = true\nmin_rows = 0\n"), "");
    world.run(&rows(0..3, "Ann")).expect(0);
    let export = format!("C1,,,,,,purge\n{}", rows(0..3, "Ann"));
    let blocked = world.run(&export).expect(7);
    assert!(blocked.stderr.contains("purge_and_recreate: one row would purge"), "{}", blocked.stderr);
    assert!(blocked.stderr.contains("row 1 on line 2 and row 3 on line 4"), "{}", blocked.stderr);
    assert_eq!(world.state().counters.purge, 0);
    let allowed = world.ends(&["run", "--json", "--allow-recreate", "export.csv"]).expect(0);
    assert_eq!(allowed.outcomes(), "1 created, 1 purged, 2 unchanged");
    // One who was purged is not brought back by asking for everything.
    world.run("E1,Ann,Smit,e1@example.org,,,\n").expect(0);
    world.run("E1,,,,,,purge\n").expect(0);
    world.file("full.csv", format!("{HEADER}E1,,,,,,purge\nE1,Ann,Smit,e1@example.org,,,\n").as_bytes());
    let full = world.ends(&["run", "--json", "--full", "full.csv"]).expect(1);
    assert_eq!(full.outcomes(), "1 rejected, 1 failed");
    // Of one whom the export itself makes, it is an order of things.
    let made = "D1,Ann,Smit,d1@example.org,,,create\nD1,,,,,,purge\nD1,Bob,Smit,d1@example.org,,,\n";
    assert_eq!(world.run(made).expect(0).outcomes(), "2 created, 1 purged");
}

#[test]
fn what_adopt_rejects_is_rejected_by_the_next_run_too() {
    let world = World::new(Settings::default())
        .with_mapping(&format!("{MAPPING}\n[guard]\nallow_purge = true\nmin_rows = 0\n"), "");
    world.run(&rows(0..2, "Ann")).expect(0);
    world.run("C1,,,,,,purge\n").expect(0);
    world.file("export.csv", format!("{HEADER}{}", rows(0..2, "Ann")).as_bytes());
    world.ends(&["adopt", "export.csv"]).expect(1);
    for _ in 0..2 {
        let ended = world.ends(&["run", "--json", "export.csv"]).expect(1);
        assert_eq!(ended.outcomes(), "1 unchanged, 1 rejected");
    }
}

#[test]
fn creates_held_in_doubt_are_told_stop_nothing_and_end_when_they_are_adopted() {
    let server = Server::new(|_, request| match request.body.contains("LOST") {
        true => None,
        false => json(200, RESULT),
    });
    let world = World::at(&server.url());
    let config = world.read("omnidesk-sync.toml").replace("[omnidesk]", "[omnidesk]\nin_doubt = \"hold\"");
    let config = config.replace("[limits]", "[limits]\nmax_errors = 30");
    world.file("omnidesk-sync.toml", config.as_bytes());
    let lost = |id: usize| format!("LOST{id},Ann,Smit,lost{id}@example.org,,,\n");
    // Between calls that work, so that it is no outage.
    let pairs = (0..25).map(|id| format!("{}{}", rows([2 * id, 2 * id + 1], "Ann"), lost(id)));
    world.run(&pairs.collect::<String>()).expect(1);
    let lost: String = (0..25).map(lost).collect();
    // They were failed calls of that night, and are none of this one.
    world.file("omnidesk-sync.toml", config.replace("max_errors = 30", "max_errors = \"5%\"").as_bytes());
    let second = world.run(&format!("{lost}{}", rows(0..50, "Bob"))).expect(1);
    assert_eq!(second.outcomes(), "50 updated, 25 in_doubt");
    // An export without them: told also in one line.
    world.file("without.csv", format!("{HEADER}{}", rows(0..50, "Bob")).as_bytes());
    let quiet = world.ends(&["run", "-q", "without.csv"]).expect(0);
    assert!(quiet.stderr.contains("25 creates are in doubt"), "{}", quiet.stderr);
    world.ends(&["adopt", "export.csv"]).expect(0);
    assert_eq!(world.ends(&["status", "--json"]).json()["in_doubt"], 0);
    let changed = lost.replacen("LOST7,Ann", "LOST7,Bob", 1);
    assert_eq!(world.run(&format!("{changed}{}", rows(0..50, "Bob"))).outcomes(), "74 unchanged, 1 failed");
}

#[test]
fn an_address_of_another_customer_is_not_taken_for_added() {
    let server = Server::new(|_, request| match request.line().as_str() {
        "POST /api/v2/customer/addchannelonly" => {
            refusal("This telephone number already exists for another customer.")
        }
        _ => json(200, RESULT),
    });
    let world = World::at(&server.url());
    let ended = world.run("A1,Ann,Smit,a@example.org,,06-12345678,\n").expect(1);
    assert_eq!(ended.outcomes(), "1 failed");
    assert!(ended.stderr.contains("for another customer"), "{}", ended.stderr);
}

/// That the address exists is not that the customer does.
#[test]
fn a_row_whose_every_call_was_refused_has_not_made_a_customer() {
    let server = Server::new(|_, request| match request.line().as_str() {
        "PUT /api/v2/customer/updateCustomer" => refusal("Customer not found."),
        _ => refusal("Email address already exists."),
    });
    let world = World::at(&server.url());
    let world = world.with_mapping(MAPPING, "[guard]\ncanary = 0\n");
    assert_eq!(world.run("A1,,,a@example.org,,,\n").expect(1).outcomes(), "1 failed");
}

#[test]
fn a_checkpoint_that_is_gone_is_told_by_all_who_look_for_it() {
    let world = World::new(Settings::default());
    world.run(&rows(0..2, "Ann")).expect(0);
    std::fs::remove_file(world.path("omnidesk-sync.checkpoint")).expect("it was there");
    let status = world.ends(&["status"]).expect(0).stdout;
    let plan = world.ends(&["plan", "export.csv"]).expect(0).stderr;
    for said in [status, plan] {
        assert!(said.contains("is lost, after") && said.contains("counts as new"), "{said}");
    }
}

#[test]
fn of_a_purge_nothing_but_the_customer_has_to_be_right() {
    let mapping = MAPPING.replacen("[customer]\n", "[customer]\nticket_id = \"phone\"\n", 1);
    assert_ne!(mapping, MAPPING);
    let guard = "[guard]\nallow_purge = true\nmin_rows = 0\n";
    let world = World::new(Settings::default()).with_mapping(&format!("{mapping}\n{guard}"), "");
    world.run("A1,Ann,Smit,a@example.org,,,\n").expect(0);
    assert_eq!(world.run("A1,,,,,abc,purge\n").expect(0).outcomes(), "1 purged");
}

/// What a later row of an export has done counts as long as the rows mean what
/// they meant.
#[test]
fn a_mended_mapping_is_decided_by_what_the_rows_mean_now() {
    let rules = |rules: &str| {
        format!("{MAPPING}\n{rules}\n[guard]\nallow_purge = true\nmin_rows = 0\nmin_fill = \"0%\"\n")
    };
    let rule = |then: &str| format!("[[operation.rule]]\nwhen = \"last == 'old'\"\nthen = \"{then}\"");
    let world = World::new(Settings::default()).with_mapping(&rules(""), "");
    let export = "A1,Private,Smit,a1@example.org,,,\nA1,Billing,old,,,,\nA2,Ann,Smit,a2@example.org,,,\n";
    let first = |world: &World| {
        let customers = world.state().customers;
        customers
            .into_iter()
            .find(|customer| customer.id.primary_id == "A1")
            .and_then(|customer| customer.firstname)
    };
    world.run(export).expect(0);
    assert_eq!(first(&world).as_deref(), Some("Billing"));
    // The row that had the last word is left out.
    let world = world.with_mapping(&rules(&rule("skip")), "");
    assert_eq!(world.run(export).expect(0).outcomes(), "1 updated, 1 unchanged, 1 skipped");
    assert_eq!(first(&world).as_deref(), Some("Private"));
    // It purges by mistake; then it is left out again: nobody comes back unasked.
    let world = world.with_mapping(&rules(&rule("purge")), "");
    world.run(export).expect(0);
    assert_eq!(first(&world), None);
    let world = world.with_mapping(&rules(&rule("skip")), "");
    assert_eq!(world.run(export).expect(1).outcomes(), "1 unchanged, 1 skipped, 1 rejected");
    let back = world.ends(&["run", "--json", "--allow-recreate", "export.csv"]).expect(0);
    assert_eq!(back.outcomes(), "1 created, 1 unchanged, 1 skipped");
}

#[test]
fn nobody_is_brought_back_by_an_update_behind_a_purge() {
    let world = World::new(Settings::default())
        .with_mapping(&format!("{MAPPING}\n[guard]\nallow_purge = true\nmin_rows = 0\n"), "");
    world.run("A1,Ann,Smit,a1@example.org,,,\n").expect(0);
    let blocked = world.run("A1,,,,,,purge\nA1,Bob,,,,,update\nA1,Ann,Smit,a1@example.org,,,\n").expect(7);
    assert!(blocked.stderr.contains("purge_and_recreate"), "{}", blocked.stderr);
}

/// A spreadsheet has dropped the zeros in front: the same people, other ids.
#[test]
fn ids_that_are_written_another_way_are_not_made_a_second_time() {
    let world = World::new(Settings::default());
    let rows = |id: &dyn Fn(usize) -> String, mail: &dyn Fn(usize) -> usize| -> String {
        (0..40).map(|nth| format!("{},Ann,Smit,p{}@example.org,,,\n", id(nth), mail(nth))).collect()
    };
    world.run(&rows(&|nth| format!("{nth:06}"), &|nth| nth)).expect(0);
    let blocked = world.run(&rows(&|nth| nth.to_string(), &|nth| nth)).expect(7);
    assert!(blocked.stderr.contains("new_ids: 40 of 40 new customers"), "{}", blocked.stderr);
    assert_eq!(world.state().customers.len(), 40);
    assert!(blocked.stderr.contains("run --allow-new-ids --json export.csv"), "{}", blocked.stderr);
    // Other people, or some who got another id, are no reason.
    world.run(&rows(&|nth| format!("N{nth}"), &|nth| nth + 100)).expect(0);
    let some = rows(&|nth| format!("M{nth}"), &|nth| if nth < 19 { nth } else { nth + 200 });
    assert!(!world.run(&some).stderr.contains("new_ids"));
    // Nor is an address that many have.
    let shared = |from: usize, to: usize| -> String {
        (from..to).map(|nth| format!("S{nth},Ann,Smit,s{nth}@example.org,,020-1234567,\n")).collect()
    };
    world.run(&shared(0, 40)).outcomes();
    assert!(!world.run(&shared(40, 70)).stderr.contains("new_ids"));
}
