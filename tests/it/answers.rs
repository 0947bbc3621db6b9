//! Whatever answers in the API's place, no customer is doubled, no row is blamed for others, and people are told the truth.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::sync::Mutex;

use omnidesk_sync::sandbox::{Sandbox, Script, Settings};
use serde_json::Value;

use crate::server::{CONTROL, Ending, Server, no_answer, refusal, success, with_headers};
use crate::world::{CommandOutput, RUN, World, rows, send_signal};

const PAGE: &str = "<html><title>Blocked</title></html>";
const NO_MIN_ROWS: &str = "[guard]\nmin_rows = 0\n";

/// With a sandbox that answers by script.
fn scripted(script: &str) -> World {
    let script = Script::parse(script, Path::new("answers.toml")).expect("a script");
    World::new(Settings { script, ..Settings::default() }).with_settings(NO_MIN_ROWS)
}

/// A rule for calls that are carried out.
fn acting(call: &str, id: &str, status: u16) -> String {
    format!("[[answer]]\ncall = \"{call}\"\nid = \"{id}\"\ntimes = 1\nacts = true\nstatus = {status}\n")
}

fn changed(count: usize) -> String {
    rows(count).replace("Ann", "Bob")
}

/// First name and addresses of a customer in the sandbox.
fn customer(world: &World, id: &str) -> Option<(Option<String>, Vec<String>)> {
    let state = world.state();
    let found = state.customers.iter().find(|customer| customer.id.primary_id == id)?;
    let addresses = found.channels.iter().map(|channel| channel.address.clone()).collect();
    Some((found.firstname.clone(), addresses))
}

/// The API behind a firewall that dislikes one customer's name.
fn api_behind_firewall() -> Server {
    let known = Mutex::new(BTreeSet::new());
    Server::new(move |_, request| {
        if request.body.contains("DROP") {
            return with_headers(403, "Server: firewall\r\n", PAGE);
        }
        let id = request.body.split('"').find(|text| text.starts_with('C')).expect("an id").to_owned();
        let mut known = known.lock().expect("customers");
        match request.line().as_str() {
            "POST /api/v2/customer" => drop(known.insert(id)),
            "PUT /api/v2/customer/updateCustomer" if !known.contains(&id) => {
                return refusal("Customer not found.");
            }
            _ => {}
        }
        success()
    })
}

#[test]
fn a_firewall_that_refuses_one_customer_stops_no_night() {
    let bad = "C99,DROP,Smit,c99@example.org,,,\n";
    // It dislikes the name, or also the probe of the same customer.
    let server = api_behind_firewall();
    let by_name = World::with_server(&server.url()).with_settings(NO_MIN_ROWS);
    let by_id = scripted(&format!("[[answer]]\nid = \"C99\"\nstatus = 403\nbody = \"{PAGE}\"\n"));
    for (world, outcome) in [(by_name, "1 failed"), (by_id, "1 in_doubt")] {
        for (others, outcomes) in [
            (rows(40), "40 created, "),
            (rows(40), "40 unchanged, "),
            (changed(40), "40 updated, "),
            (changed(41), "1 created, 40 unchanged, "),
            (String::new(), ""),
        ] {
            let output = world.run(&format!("{bad}{others}")).expect_code(1);
            output.expect_outcomes(&format!("{outcomes}{outcome}"));
            assert_eq!(world.status()["open_run"], Value::Null);
        }
    }
}

#[test]
fn a_login_page_that_comes_in_mid_run_fails_no_row() {
    for acts in [false, true] {
        let world = scripted(&format!(
            "[[answer]]\nskip = 20\ntimes = 3\nacts = {acts}\nstatus = 302\nheaders = {{ Location = \"/login\" }}\n"
        ));
        world.edit_config("[limits]", "[limits]\nconcurrency = 1");
        let stopped = "20 created, 20 not_attempted";
        world.run(&rows(40)).expect_code(3).expect_stop("intercepted").expect_outcomes(stopped);
        world.run(&rows(40)).expect_code(0).expect_outcomes("40 created");
        let counters = world.state().counters;
        assert_eq!((counters.create, counters.doubled), (40, 0), "{acts}");
    }
}

#[test]
fn a_key_that_never_worked_stops_at_the_first_refusal() {
    let refusal = r#"{"status":"error","message":"Wrong key."}"#;
    for (status, body) in [(401, refusal), (401, PAGE), (401, ""), (403, refusal)] {
        let world = scripted(&format!("[[answer]]\nstatus = {status}\nbody = '''{body}'''\n"));
        world.run(&rows(40)).expect_code(3).expect_stop("key_refused").expect_outcomes("40 not_attempted");
        assert_eq!(world.requests(), 1, "{status} {body}");
    }
    // A firewall may dislike the first customer, but not three of them.
    let world = scripted(&format!("[[answer]]\nstatus = 403\nbody = \"{PAGE}\"\n"));
    world.run(&rows(40)).expect_code(3).expect_stop("key_refused").expect_outcomes("40 not_attempted");
    assert_eq!(world.requests(), 3);
}

/// The last answer of a create, an update and a purge is a gateway's, after the API acted.
#[test]
fn a_gateway_that_answers_after_the_api_acted_leaves_no_false_state() {
    for status in [101, 302, 401, 403, 404, 409, 600] {
        let rules = [("create", "C5"), ("update", "C6"), ("purge", "C7")];
        let world = scripted(&rules.map(|(call, id)| acting(call, id, status)).concat());
        world.run(&rows(10)).expect_code(0).expect_outcomes("10 created");
        let counters = world.state().counters;
        assert_eq!((counters.create, counters.doubled), (10, 0), "{status}");
        let ann = |id: &str| Some((Some("Ann".to_owned()), vec![format!("c{id}@example.org")]));
        assert_eq!(customer(&world, "C5"), ann("5"), "{status}");

        let night =
            rows(10).replace("C6,Ann", "C6,Bob").replace("C7,Ann,Smit,c7@example.org,,,", "C7,,,,,,purge");
        world.write_export(&night);
        world.run_with(&["--allow-purge"]).expect_code(1).expect_outcomes("8 unchanged, 2 failed");
        assert_eq!(customer(&world, "C6").and_then(|(name, _)| name).as_deref(), Some("Bob"), "{status}");
        assert_eq!(customer(&world, "C7"), None, "{status}");
        let totals = world.status();
        assert_eq!((&totals["purged"], &totals["perhaps_purged"]), (&0.into(), &1.into()), "{status}");
        assert!(world.execute(&["status"]).stdout.contains("0 of them purged, 1 perhaps; "));

        // The update is sent again, also with the old value. The purge may have worked.
        let output = world.run(&rows(10)).expect_code(1);
        output.expect_outcomes("1 updated, 8 unchanged, 1 rejected");
        assert!(world.result_text("rejected.csv").contains("purged_before"));
        assert_eq!(customer(&world, "C6"), ann("6"), "{status}");
        if status == 404 {
            // A purge that is acknowledged removes the doubt.
            world.write_export("C7,,,,,,purge\n");
            world.run_with(&["--allow-purge"]).expect_code(0).expect_outcomes("1 purged");
            let totals = world.status();
            assert_eq!((&totals["purged"], &totals["perhaps_purged"]), (&1.into(), &0.into()));
            world.run(&rows(10)).expect_code(1).expect_outcomes("9 unchanged, 1 rejected");
        }
        world.write_export(&rows(10));
        world.run_with(&["--allow-recreate"]).expect_code(0).expect_outcomes("1 created, 9 unchanged");
        assert_eq!(customer(&world, "C7"), ann("7"), "{status}");
    }
}

#[test]
fn a_message_about_something_else_creates_no_known_customer_again() {
    for message in [
        "Unknown customer field: tier.",
        "The custom field of this customer was not found.",
        "Brand not found.",
        "Veld bestaat niet.",
    ] {
        let world = scripted(&format!(
            "[[answer]]\ncall = \"update\"\nstatus = 400\nbody = '{{\"status\":\"error\",\"message\":\"{message}\"}}'\n"
        ));
        world.run(&rows(500)).expect_code(0).expect_outcomes("500 created");
        world.run(&changed(500)).expect_code(3).expect_stop("too_many_errors");
        let counters = world.state().counters;
        assert_eq!((counters.create, counters.doubled), (500, 0), "{message}");
    }
}

#[test]
fn customers_who_are_lost_in_a_restored_backup_are_created_only_by_hand() {
    let sandbox = Sandbox::start(Settings::default()).expect("a sandbox");
    let listen = sandbox.base_url().trim_start_matches("http://").parse().expect("an address");
    let world = World::with_server(&sandbox.base_url());
    world.run(&rows(500)).expect_code(0).expect_outcomes("500 created");
    drop(sandbox);
    let empty = Sandbox::start(Settings { listen, ..Settings::default() }).expect("the same port");
    let output = world.run(&changed(500)).expect_code(3).expect_stop("vanished");
    output.expect_outcomes("500 not_attempted");
    assert!(empty.state().customers.is_empty() && empty.state().counters.requests <= 5);
    world.run_with(&["--allow-vanished", "500"]).expect_code(0).expect_outcomes("500 created");
    assert_eq!(empty.state().customers.len(), 500);
}

#[test]
fn a_single_customer_whom_somebody_removed_is_created_again() {
    let world = scripted("[[answer]]\nid = \"nobody\"\nstatus = 500\n");
    world.run(&rows(30)).expect_code(0);
    world.write_other_config("other");
    world.file("purge.csv", b"id,first,last,email,email2,phone,op\nC3,,,,,,purge\n");
    world.execute(&["run", "--config", "other.toml", "--allow-purge", "purge.csv"]).expect_code(0);
    assert_eq!(customer(&world, "C3"), None);
    world.run(&changed(30)).expect_code(0).expect_outcomes("1 created, 29 updated");
    assert!(customer(&world, "C3").is_some());
}

/// The API answers success to an update of a customer who does not exist.
#[test]
fn probes_that_show_nothing_hold_the_create_and_are_reported() {
    let lost = "[[answer]]\ncall = \"create\"\nid = \"C1\"\ntimes = 1\nacts = true\nstatus = 502\n";
    let fooling = "[[answer]]\ncall = \"update\"\nstatus = 200\nbody = '{\"type\":\"result\"}'\n";
    let world = scripted(&format!("{lost}{fooling}"));
    let controls = || world.log().iter().filter(|request| request.to_string().contains(CONTROL)).count();
    for night in [rows(9), rows(10)] {
        let output = world.run(&night).expect_code(1);
        assert_eq!(output.json()["outcomes"]["in_doubt"], 1, "{}", output.stderr);
        let id = output.json()["unusable_probes"]["id"].as_str().expect("an id").to_owned();
        assert!(id.starts_with(CONTROL), "{id}");
        let named = format!("customer {id} of brand 2: purge it");
        let status = world.execute(&["status"]).stdout;
        for text in [&output.stderr, &status, &world.result_text("report.html")] {
            assert!(text.contains(&named) && text.contains("probes show nothing"), "{text}");
        }
        assert_eq!(world.status()["unusable_probes"]["id"], *id);
        assert_eq!(controls(), 1);
        assert_eq!(world.state().counters.doubled, 0);
    }
}

/// A row that the API refuses, a request that its limit refuses, and one that it loses.
#[test]
fn the_progress_counts_what_is_refused_sent_again_and_failed() {
    let limit = with_headers(429, "Retry-After: 0\r\n", "{}");
    let server = Server::new(move |number, _| match number {
        210 => limit.clone(),
        211 => with_headers(503, "", "{}"),
        212 => with_headers(400, "", r#"{"error":"no"}"#),
        _ => success(),
    });
    let world = World::with_server(&server.url()).with_settings("[report]\nheartbeat = \"5ms\"\n");
    world.run(&rows(200)).expect_code(0);
    // Updates are sent again whatever became of them.
    world.write_export(&rows(200).replace("Ann", "Eva"));
    world.edit_config("rate = \"20000/s\"", "rate = \"100/s\"");
    let output = world.execute(&["run", "export.csv"]).expect_code(1);
    let counts = ", 1 refused, 1 retried, 1 row failed";
    let line = output.stderr.lines().find(|line| line.ends_with(counts)).expect(&output.stderr);
    assert!(line.contains(" of 200 calls, ") && line.contains("/s of 100/s, "), "{line}");
}

#[test]
fn status_and_heartbeat_show_what_a_run_waits_for() {
    let (limit, lost) = (with_headers(429, "Retry-After: 60\r\n", "{}"), no_answer(Ending::Close));
    for (reaction, reason) in
        [(limit, "the server's limit is reached"), (lost, "a call whose answer was lost")]
    {
        let server = Server::new(move |number, _| if number == 1 { reaction.clone() } else { success() });
        let world = World::with_server(&server.url()).with_settings("[report]\nheartbeat = \"50ms\"\n");
        world.edit_config("settle = \"300ms\"", "settle = \"60s\"");
        world.write_export(&rows(3));
        let mut child = world.spawn_piped(&RUN);
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let is_heartbeat = |line: &str| line.contains(" of 3 calls, waiting until ") && line.contains(reason);
        assert!(lines.any(|line| is_heartbeat(&line.expect("a line"))), "{reason}");
        // The line can come before the commit.
        let waiting = loop {
            let waiting = world.status()["open_run"]["waiting"].take();
            if !waiting.is_null() {
                break waiting;
            }
        };
        assert!(waiting["reason"].as_str().is_some_and(|text| text.contains(reason)), "{waiting}");
        let text = world.execute(&["status"]).stdout;
        assert!(text.contains("\n  waiting until ") && text.contains(reason), "{text}");
        send_signal(child.id(), "INT");
        // Its last lines need a reader.
        lines.for_each(|line| drop(line.expect("a line")));
        CommandOutput::wait(child).expect_code(4).expect_stop("interrupted");
        assert_eq!(world.status()["open_run"]["waiting"], Value::Null);
    }
}
