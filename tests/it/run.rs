//! `run`, sentence by sentence.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use omnidesk_sync::sandbox::{Duplicates, Sandbox, Settings, State};

use crate::server::{RESULT, Server, Then, json, refusal, with_headers};
use crate::world::{Ended, HEADER, KEY, MAPPING, World};

fn world() -> World {
    World::new(Settings::default())
}

fn rows(count: usize) -> String {
    (0..count).map(|id| format!("C{id},Ann,Smit,c{id}@example.org,,,\n")).collect()
}

/// Content of the customers: id, first name, addresses.
fn held(state: &State) -> Vec<String> {
    state
        .customers
        .iter()
        .map(|customer| {
            let channels: Vec<&str> =
                customer.channels.iter().map(|channel| channel.address.as_str()).collect();
            let name = customer.firstname.as_deref().unwrap_or("-");
            format!("{} {name} {}", customer.id.primary_id, channels.join(" "))
        })
        .collect()
}

#[test]
fn a_customer_with_three_addresses_is_one_create_and_two_more_channels() {
    let world = world();
    let ended = world.run("A1,Ann,Smit,a@example.org,b@example.org,06-12345678,\n").expect(0);
    assert_eq!((ended.outcomes().as_str(), ended.calls()), ("1 created", 3));
    assert_eq!(held(&world.state()), ["A1 Ann a@example.org b@example.org +31612345678"]);
    assert_eq!(world.state().violations, Vec::<String>::new());
}

#[test]
fn an_export_that_was_applied_makes_no_call_and_a_changed_row_only_its_own() {
    let world = world();
    world.run(&rows(20)).expect(0);
    let again = world.run(&rows(20)).expect(0);
    assert_eq!((again.outcomes().as_str(), again.calls()), ("20 unchanged", 0));
    let changed =
        rows(20).replace("C7,Ann", "C7,Bob").replace("c9@example.org,", "c9@example.org,new@example.org");
    let ended = world.run(&changed).expect(0);
    assert_eq!((ended.outcomes().as_str(), ended.calls()), ("1 updated, 1 channel_added, 18 unchanged", 2));
}

#[test]
fn a_blank_cell_leaves_alone_and_a_clear_marker_empties() {
    let world = world().with_mapping(&format!("[input]\nclear = [\"<clear>\"]\n{MAPPING}"), "");
    world.run("A1,Ann,Smit,a@example.org,,,\n").expect(0);
    let blank = world.run("A1,,,a@example.org,,,\n").expect(0);
    assert_eq!(blank.outcomes(), "1 unchanged");
    let cleared = world.run("A1,<clear>,,a@example.org,,,\n").expect(0);
    assert_eq!(cleared.outcomes(), "1 updated");
    assert_eq!(held(&world.state()), ["A1  a@example.org"]);
    assert_eq!(world.run("A1,<clear>,,a@example.org,,,\n").expect(0).calls(), 0);
}

#[test]
fn rejected_rows_name_column_value_and_remedy_and_run_again_once_mended() {
    let world = world();
    let ended =
        world.run("A1,Ann,Smit,no-address,,,\nA2,Bob,Smit,b@example.org,,,\n,Cor,Smit,,,,\n").expect(1);
    assert_eq!(ended.outcomes(), "1 created, 2 rejected");
    let rejected = String::from_utf8(world.result("rejected.csv").expect("rejected.csv")).expect("UTF-8");
    let lines: Vec<&str> = rejected.lines().collect();
    assert!(
        lines[0].starts_with("id,first,last,email,email2,phone,op,_sync_line,_sync_operation,_sync_code"),
        "{rejected}"
    );
    assert!(lines[1].starts_with("A1,Ann,Smit,no-address,,,,2,,bad_email,email,no-address,"), "{rejected}");
    assert!(lines[2].starts_with(",Cor,Smit,,,,,4,,blank_id,id,,"), "{rejected}");
    assert_eq!(world.result("failed.csv"), None);

    world.file(
        "mended.csv",
        rejected.replace("A1,Ann,Smit,no-address", "A1,Ann,Smit,a@example.org").as_bytes(),
    );
    let mended = world.ends(&["run", "--json", "mended.csv"]).expect(1);
    assert_eq!(mended.outcomes(), "1 created, 1 rejected");
    let again = String::from_utf8(world.result("rejected.csv").expect("rejected.csv")).expect("UTF-8");
    assert_eq!(
        again.matches("_sync_line").count(),
        1,
        "the columns of the earlier file are left out: {again}"
    );
}

#[test]
fn header_trouble_ends_the_run_before_anything_is_sent() {
    let cases = [
        ("id,first,last,email,email2,op\n", "no column \"phone\""),
        ("id,first,first,email,email2,phone,op\n", "columns 2 and 3"),
        ("id,first,,email,email2,phone,op\n", "column 3 of the header has no name"),
        ("id,first,last,e-mail,email2,phone,op\n", "did you mean"),
        ("", "is empty"),
    ];
    for (header, words) in cases {
        let world = world();
        world.file("export.csv", format!("{header}A1,Ann,Smit,a@example.org,,,\n").as_bytes());
        if header.is_empty() {
            world.file("export.csv", b"");
        }
        let ended = world.ends(&["run", "--json", "export.csv"]).expect(2);
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
        assert_eq!(ended.json()["exit_code"], 2);
        assert_eq!(world.state().counters.requests, 0);
    }
}

#[test]
fn a_failed_row_is_tried_again_alone_and_never_undoes_a_later_one() {
    // The first update is refused once; a later row of the same customer works.
    let server = Server::new(|_, request| {
        let refused = request.body.contains("Bob") && !request.body.contains("Smit");
        if refused { refusal("Not now.") } else { json(200, RESULT) }
    });
    let world = World::at(&server.url());
    let export = "A1,Ann,Smit,a@example.org,,,\nA1,Bob,,,,,\nA1,Cor,,,,,\nB1,Dik,Smit,b@example.org,,,\n";
    let ended = world.run(export).expect(1);
    assert_eq!(ended.outcomes(), "2 created, 1 updated, 1 failed");
    let before = server.requests().len();
    let again = world.run(export);
    assert_eq!(again.outcomes(), "4 unchanged", "the later row has the last word: {}", again.stderr);
    assert_eq!(server.requests().len(), before);
}

#[test]
fn what_failed_is_tried_again_and_nothing_else() {
    let server = Server::new(|number, request| {
        if request.body.contains("extra_") && number < 4 { refusal("Not now.") } else { json(200, RESULT) }
    });
    let world = World::at(&server.url());
    let export = "A1,Ann,Smit,a@example.org,b@example.org,,\nA1,Bob,Smit,a@example.org,,,\nB1,Dik,Smit,c@example.org,,,\n";
    let ended = world.run(export).expect(1);
    assert_eq!(ended.outcomes(), "1 created, 1 updated, 1 failed");
    let before = server.requests().len();
    let again = world.run(export).expect(0);
    assert_eq!(again.outcomes(), "1 channel_added, 2 unchanged");
    let requests = server.requests();
    assert_eq!(
        requests[before..].iter().map(|request| request.line()).collect::<Vec<_>>(),
        ["POST /api/v2/customer/addchannelonly"]
    );
}

#[test]
fn a_create_of_an_existing_customer_goes_on_as_an_update_and_an_update_of_none_as_a_create() {
    let world = world();
    world.run("A1,Ann,Smit,a@example.org,,,\n").expect(0);
    std::fs::remove_file(world.path("omnidesk-sync.checkpoint")).expect("removed");
    let ended = world
        .run("A1,Bob,Smit,a@example.org,b@example.org,,create\nB1,Cor,Smit,c@example.org,,,update\n")
        .expect(0);
    assert_eq!(ended.outcomes(), "1 created, 1 updated");
    assert_eq!(held(&world.state()), ["A1 Bob a@example.org b@example.org", "B1 Cor c@example.org"]);
    let again = world
        .run("A1,Bob,Smit,a@example.org,b@example.org,,create\nB1,Cor,Smit,c@example.org,,,update\n")
        .expect(0);
    assert_eq!(again.calls(), 0);
}

#[test]
fn purges_need_leave_and_the_purged_do_not_come_back() {
    let world = world();
    world.run(&rows(3)).expect(0);
    let requests = world.state().counters.requests;
    let export = "C1,,,,,,purge\nC2,Ann,Smit,c2@example.org,,,\nC0,Ann,Smit,c0@example.org,,,\n";
    let blocked = world.run(export).expect(7);
    assert!(blocked.stderr.contains("--allow-purge --max-purge 1"), "{}", blocked.stderr);
    assert_eq!(world.state().counters.requests, requests);
    // The cap alone gives no leave.
    world.ends(&["run", "--max-purge", "5", "export.csv"]).expect(7);
    let purged = world.ends(&["run", "--json", "--allow-purge", "export.csv"]).expect(0);
    assert_eq!(purged.outcomes(), "1 purged, 2 unchanged");
    let back = world.run(&rows(3)).expect(1);
    assert_eq!(back.outcomes(), "2 unchanged, 1 rejected");
    let allowed = world.ends(&["run", "--json", "--allow-recreate", "export.csv"]).expect(0);
    assert_eq!(allowed.outcomes(), "1 created, 2 unchanged");
}

#[test]
fn a_refused_key_stops_the_run_and_the_rest_is_resumable() {
    let settings = Settings { api_key: Some("another".into()), ..Settings::default() };
    let world = World::new(settings);
    let ended = world.run(&rows(30)).expect(3);
    assert_eq!(ended.outcomes(), "30 not_attempted");
    assert_eq!(ended.json()["stopped"]["reason"], "key_refused");
    assert!(ended.stderr.contains("CUSTOMER_CUD"), "{}", ended.stderr);
    assert_eq!(world.state().counters.requests, 1);
    let mut command = world.command(&["run", "--json", "export.csv"]);
    let resumed =
        Ended::of(command.env("OMNIDESK_API_KEY", "another").output().expect("the program")).expect(0);
    assert_eq!(resumed.outcomes(), "30 created");
    assert_eq!(resumed.json()["resumed"], true);
}

#[test]
fn the_canary_stops_after_five_calls_of_which_none_works() {
    let settings = Settings { brands: Some(vec![7]), ..Settings::default() };
    let world = World::new(settings);
    let ended = world.run(&rows(100)).expect(3);
    assert_eq!(ended.outcomes(), "100 not_attempted");
    assert_eq!(world.state().counters.requests, 5);
    assert!(ended.stderr.contains("Brand is invalid.") && ended.stderr.contains("row 1"), "{}", ended.stderr);
    // The mapping is mended: decided anew, though it is the same export.
    let mended = world.with_mapping(&MAPPING.replace("value = 2", "value = 7"), "");
    let ended = mended.run(&rows(100)).expect(0);
    assert_eq!(ended.outcomes(), "100 created");
    assert!(
        ended.stderr.contains("the mapping, --limit or --full has changed: every row"),
        "{}",
        ended.stderr
    );
}

#[test]
fn too_many_failures_stop_the_run() {
    let server = Server::new(|number, _| if number < 5 { json(200, RESULT) } else { refusal("No.") });
    let world = World::at(&server.url());
    let ended = world.run(&rows(500)).expect(3);
    assert_eq!(ended.json()["stopped"]["reason"], "too_many_errors");
    assert!(server.requests().len() < 60, "{}", server.requests().len());
    ended.outcomes();
}

/// The share is of the calls that came to an end, and may be reached.
#[test]
fn a_share_of_failures_stops_the_run_when_it_is_exceeded() {
    // One call more may be under way when the run stops.
    for (one_in, code, requests) in [(4, 1, 400..=400), (3, 3, 60..=61)] {
        let server = Server::new(
            move |number, _| {
                if (number + 1) % one_in == 0 { refusal("No.") } else { json(200, RESULT) }
            },
        );
        let limits = "concurrency = 1\nmax_errors = \"25%\"\n[guard]\ncanary = 0\n";
        let world = World::at(&server.url()).with_mapping(MAPPING, limits);
        world.run(&rows(400)).expect(code).outcomes();
        let made = server.requests().len();
        assert!(requests.contains(&made), "one in {one_in}: {made}");
    }
}

/// The calls that fail are a share of all calls, and not of those of rows that
/// are over.
#[test]
fn a_share_of_failures_counts_the_calls_of_rows_under_way() {
    let server = Server::new(|_, request| match request.body.contains("\"b1") {
        true => refusal("No."),
        false => json(200, RESULT),
    });
    let limits = "max_errors = \"25%\"\n[guard]\ncanary = 0\n";
    let world = World::at(&server.url()).with_mapping(MAPPING, limits);
    // Of 300 rows with two calls, a third has a second call that is refused.
    let rows: String = (0..300)
        .map(|id| {
            format!(
                "C{id},Ann,Smit,a{id}@example.org,{}{id}@example.org,,\n",
                if id % 3 == 0 { "b1" } else { "c" }
            )
        })
        .collect();
    let ended = world.run(&rows).expect(1);
    assert_eq!(ended.json()["outcomes"]["failed"], 100);
}

/// None of the first calls leaves before the one ahead of it has failed for good.
#[test]
fn where_nobody_answers_one_row_is_tried() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let free = taken.local_addr().expect("an address").port();
    drop(taken);
    let world = World::at(&format!("http://127.0.0.1:{free}")).with_mapping(MAPPING, "attempts = 3");
    let ended = world.run(&rows(40)).expect(3);
    assert_eq!(ended.json()["stopped"]["reason"], "unreachable");
    assert_eq!(ended.json()["requests"], 3, "{}", ended.stdout);
}

/// It has answered, and not yet shown that it works: nobody waits for it.
#[test]
fn where_nobody_answers_any_more_the_first_calls_end() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let answering = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().expect("a connection");
        drop(listener);
        let mut read = [0; 4096];
        let _ = stream.read(&mut read).expect("a request");
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
        write!(stream, "{head}content-length: {}\r\n\r\n{RESULT}", RESULT.len()).expect("sent");
    });
    let world = World::at(&url).with_mapping(MAPPING, "attempts = 2");
    let ended = world.run(&rows(40)).expect(3);
    answering.join().expect("answered");
    assert_eq!(ended.json()["stopped"]["reason"], "unreachable");
    assert_eq!(ended.json()["outcomes"]["created"], 1);
}

/// Before the first answer nobody waits for a server; afterwards it may be
/// gone for a while.
#[test]
fn a_server_that_starts_again_is_waited_for() {
    let settings = Settings { latency: Duration::from_millis(20), ..Settings::default() };
    let sandbox = Sandbox::start(settings.clone()).expect("a sandbox");
    let world = World::at(&sandbox.base_url()).with_mapping(MAPPING, "attempts = 1\nconcurrency = 4");
    let listen = sandbox.base_url().trim_start_matches("http://").parse().expect("an address");
    world.file("export.csv", format!("{HEADER}{}", rows(100)).as_bytes());
    let mut command = world.command(&["run", "--json", "export.csv"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program");
    while sandbox.state().counters.requests < 20 {
        assert!(child.try_wait().expect("a child").is_none(), "it ended");
        std::thread::yield_now();
    }
    drop(sandbox);
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut said = String::new();
    // A second time: a probe has met nobody.
    while said.matches("the server has been failing").count() < 2 {
        assert!(stderr.read_line(&mut said).expect("lines") > 0, "it ended: {said}");
    }
    let _again = Sandbox::start(Settings { listen, ..settings }).expect("the same port");
    stderr.read_to_string(&mut said).expect("the rest");
    let ended = Ended::of(child.wait_with_output().expect("an end"));
    // Only what was under way just then has lost its one attempt.
    assert!(ended.json()["stopped"].is_null(), "{said}");
    assert!(ended.json()["outcomes"]["created"].as_u64() >= Some(96), "{}", ended.stdout);
}

#[test]
fn an_api_that_cannot_be_reached_stops_the_run() {
    let world = World::at("http://127.0.0.1:1").with_mapping(MAPPING, "attempts = 2");
    let ended = world.run(&rows(3)).expect(3);
    assert_eq!(ended.json()["stopped"]["reason"], "unreachable");
    assert_eq!(ended.outcomes(), "3 not_attempted");
}

#[test]
fn the_second_of_two_runs_ends_at_once_with_its_own_code() {
    let settings = Settings { latency: Duration::from_millis(200), ..Settings::default() };
    let world = World::new(settings);
    world.file("export.csv", format!("{HEADER}{}", rows(200)).as_bytes());
    let mut first = world.starts(&["run", "export.csv"]);
    world.wait_for_requests(1, &mut first);
    let second = world.ends(&["run", "--json", "export.csv"]).expect(6);
    assert_eq!(second.json()["exit_code"], 6);
    first.kill().expect("killed");
    first.wait().expect("gone");
    let third = world.starts(&["run", "--limit", "1", "export.csv"]);
    let mut third = third;
    assert_ne!(third.wait().expect("an end").code(), Some(6), "a dead holder holds nothing");
}

pub(crate) fn signal(child: &std::process::Child, name: &str) {
    let sent = std::process::Command::new("kill").args(["-s", name, &child.id().to_string()]).status();
    assert!(sent.expect("kill").success());
}

#[test]
fn a_signal_ends_a_run_softly_and_the_same_command_goes_on() {
    for (name, twice) in [("INT", false), ("TERM", false), ("TERM", true)] {
        let settings = Settings { latency: Duration::from_millis(40), ..Settings::default() };
        let world = World::new(settings);
        world.file("export.csv", format!("{HEADER}{}", rows(150)).as_bytes());
        let mut command = world.command(&["run", "--json", "export.csv"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program");
        world.wait_for_requests(20, &mut child);
        signal(&child, name);
        if twice {
            signal(&child, name);
        }
        let ended = Ended::of(child.wait_with_output().expect("an end")).expect(4);
        let not_attempted = ended.json()["outcomes"]["not_attempted"].as_u64().expect("a count");
        assert!(not_attempted > 0 && ended.stderr.contains("run the same command again"), "{}", ended.stderr);
        ended.outcomes();
        let resumed = world.ends(&["run", "--json", "export.csv"]).expect(0);
        assert_eq!(resumed.outcomes(), "150 created");
        assert_eq!(world.state().customers.len(), 150);
        assert_eq!(world.state().violations, Vec::<String>::new());
    }
}

#[test]
fn an_open_run_is_superseded_by_another_export_unless_rows_could_be_lost() {
    let settings = Settings { latency: Duration::from_millis(30), ..Settings::default() };
    let world = World::new(settings);
    let interrupted = |export: &str| {
        world.file("export.csv", format!("{HEADER}{export}").as_bytes());
        let before = world.state().counters.requests;
        let mut child = world.starts(&["run", "export.csv"]);
        world.wait_for_requests(before + 10, &mut child);
        child.kill().expect("killed");
        child.wait().expect("gone");
    };
    interrupted(&rows(200));
    let tonight = world.run(&rows(40)).expect(0);
    assert!(tonight.stderr.contains("this is another export"), "{}", tonight.stderr);
    tonight.outcomes();
    assert!(world.state().customers.len() >= 40);

    interrupted(&rows(60).replace(",,,\n", ",,,update\n").replace("Ann", "Bob"));
    let other = world.run(&rows(50)).expect(2);
    assert!(other.stderr.contains("--fresh"), "{}", other.stderr);
    world.ends(&["run", "--fresh", "export.csv"]).expect(0);
    assert_eq!(world.state().violations, Vec::<String>::new());
}

#[test]
fn exports_come_from_standard_input_and_compressed_files() {
    let world = world();
    let export = format!("{HEADER}{}", rows(30));
    let mut child = world
        .command(&["run", "--json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    child.stdin.take().expect("stdin").write_all(export.as_bytes()).expect("written");
    let ended = Ended::of(child.wait_with_output().expect("an end")).expect(0);
    assert_eq!(ended.outcomes(), "30 created");

    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(export.as_bytes()).expect("packed");
    let packed = packer.finish().expect("packed");
    world.file("export.csv.gz", &packed);
    let same = world.ends(&["run", "--json", "export.csv.gz"]).expect(0);
    assert_eq!((same.outcomes().as_str(), same.calls()), ("30 unchanged", 0));
    world.file("cut.csv.gz", &packed[..packed.len() - 10]);
    let cut = world.ends(&["run", "cut.csv.gz"]).expect(2);
    assert!(cut.stderr.contains("check that the file is complete"), "{}", cut.stderr);
    world.file("export.csv.zst", &zstd::encode_all(export.as_bytes(), 1).expect("packed"));
    assert_eq!(world.ends(&["run", "--json", "export.csv.zst"]).expect(0).calls(), 0);
}

#[test]
fn a_server_that_asks_to_wait_uses_up_no_attempts() {
    let server = Server::new(|number, _| match number {
        0..6 => with_headers(429, "Retry-After: 0\r\n", "{}"),
        6 => with_headers(503, "Retry-After: Mon, 23 Nov 2020 10:00:00 GMT\r\n", "{}"),
        _ => json(200, RESULT),
    });
    let world = World::at(&server.url()).with_mapping(MAPPING, "attempts = 1");
    let ended = world.run(&rows(4)).expect(0);
    assert_eq!(ended.outcomes(), "4 created");
    assert_eq!(server.requests().len(), 11);
}

#[test]
fn a_redirect_is_never_followed_and_the_key_stays() {
    let elsewhere = Server::new(|_, _| json(200, RESULT));
    let target = elsewhere.url();
    let server = Server::new(move |_, _| with_headers(307, &format!("Location: {target}/x\r\n"), ""));
    let world = World::at(&server.url());
    let ended = world.run(&rows(2)).expect(1);
    assert_eq!(ended.outcomes(), "2 failed");
    assert!(ended.stderr.contains("base_url"), "{}", ended.stderr);
    assert_eq!(elsewhere.requests().len(), 0);
}

#[test]
fn the_key_goes_where_the_setting_says_and_bodies_are_as_set() {
    let server = Server::new(|_, _| json(200, RESULT));
    let header = World::at(&server.url());
    header.run(&rows(1)).expect(0);
    let query = World::at(&server.url());
    let config = query
        .read("omnidesk-sync.toml")
        .replace("[omnidesk]", "[omnidesk]\nauth = \"query\"\nbody = \"form\"");
    query.file("omnidesk-sync.toml", config.as_bytes());
    query.run(&rows(1)).expect(0);
    let requests = server.requests();
    assert!(
        requests[0].head.contains(&format!("apikey: {KEY}\r\n"))
            && requests[0].head.starts_with("POST /api/v2/customer HTTP")
    );
    assert!(requests[0].body.starts_with('{'));
    assert!(
        requests[1].head.starts_with(&format!("POST /api/v2/customer?apiKey={KEY} "))
            && !requests[1].head.contains("apikey:")
    );
    assert!(requests[1].body.starts_with("primary_id=C0&brand_id=2&"), "{}", requests[1].body);
}

#[test]
fn a_lost_create_is_probed_and_never_sent_blindly_again() {
    // Acts, and closes the kept-alive connection without an answer.
    let server = Server::new(|number, request| match (number, request.line().as_str()) {
        (1, _) => None,
        (_, "PUT /api/v2/customer/updateCustomer") => json(200, RESULT),
        _ => json(200, RESULT),
    });
    let world = World::at(&server.url()).with_mapping(MAPPING, "concurrency = 1");
    let ended = world.run(&rows(3)).expect(0);
    assert_eq!(ended.outcomes(), "3 created");
    let lines: Vec<String> = server.requests().iter().map(|request| request.line()).collect();
    let creates = lines.iter().filter(|line| *line == "POST /api/v2/customer").count();
    let probes = lines.iter().filter(|line| *line == "PUT /api/v2/customer/updateCustomer").count();
    assert_eq!((creates, probes), (3, 1), "{lines:?}");
}

#[test]
fn a_lost_create_that_was_not_carried_out_is_created_after_the_probe() {
    let server = Server::new(|number, request| match (number, request.line().as_str()) {
        (0, _) => None,
        (1, "PUT /api/v2/customer/updateCustomer") => refusal("Customer not found."),
        _ => json(200, RESULT),
    });
    let world = World::at(&server.url());
    let ended = world.run(&rows(1)).expect(0);
    assert_eq!(ended.outcomes(), "1 created");
    let lines: Vec<String> = server.requests().iter().map(|request| request.line()).collect();
    assert_eq!(
        lines,
        ["POST /api/v2/customer", "PUT /api/v2/customer/updateCustomer", "POST /api/v2/customer"]
    );
}

#[test]
fn with_hold_a_lost_create_is_reported_and_the_customers_later_calls_are_held() {
    let server = Server::new(|number, _| if number == 0 { None } else { json(200, RESULT) });
    let world = World::at(&server.url());
    let config = world.read("omnidesk-sync.toml").replace("[omnidesk]", "[omnidesk]\nin_doubt = \"hold\"");
    world.file("omnidesk-sync.toml", config.as_bytes());
    let export = "A1,Ann,Smit,a@example.org,,,\nA1,Bob,Smit,,,,\nB1,Cor,Smit,b@example.org,,,\n";
    let ended = world.run(export).expect(1);
    assert_eq!(ended.outcomes(), "1 created, 2 in_doubt");
    assert_eq!(server.requests().len(), 2);
    assert!(world.result("in_doubt.csv").is_some());
    let status = world.ends(&["status", "--json"]).expect(0).json();
    assert_eq!(status["in_doubt"], 1);
    // With a probe the same command resolves it.
    world.file("omnidesk-sync.toml", config.replace("hold", "probe").as_bytes());
    let resolved = world.run(export).expect(0);
    assert_eq!(resolved.outcomes(), "1 created, 1 updated, 1 unchanged");
    assert_eq!(world.ends(&["status", "--json"]).json()["in_doubt"], 0);
}

#[test]
fn the_checkpoint_and_the_logs_hold_nobody_in_clear() {
    let world = world();
    world.file(
        "export.csv",
        format!("{HEADER}ID-4711,Wilhelmina,Achternaam,w.achternaam@example.org,,06-12345678,\n").as_bytes(),
    );
    let ended = world.ends(&["run", "-vv", "export.csv"]).expect(0);
    for word in ["4711", "Wilhelmina", "Achternaam", "achternaam", "612345678"] {
        assert!(!ended.stderr.contains(word), "{word} in {}", ended.stderr);
        for file in std::fs::read_dir(world.path("")).expect("the folder") {
            let file = file.expect("a file");
            let name = file.file_name().into_string().expect("UTF-8");
            if !name.contains("checkpoint") {
                continue;
            }
            let bytes = std::fs::read(file.path()).expect("bytes");
            assert!(!bytes.windows(word.len()).any(|window| window == word.as_bytes()), "{word} in {name}");
            assert_eq!(file.metadata().expect("metadata").permissions().mode() & 0o777, 0o600, "{name}");
        }
    }
    for name in ["outcomes.csv", "summary.json"] {
        let text = String::from_utf8(world.result(name).expect(name)).expect("UTF-8");
        assert!(!text.contains("Wilhelmina") && !text.contains("4711"), "{text}");
    }
}

#[test]
fn limit_full_and_fresh() {
    let world = world();
    world.file("export.csv", format!("{HEADER}{}", rows(10)).as_bytes());
    let few = world.ends(&["run", "--json", "--limit", "4", "export.csv"]).expect(0);
    assert_eq!(few.outcomes(), "4 created");
    let rest = world.ends(&["run", "--json", "export.csv"]).expect(0);
    assert_eq!(rest.outcomes(), "6 created, 4 unchanged");
    let full = world.ends(&["run", "--json", "--full", "export.csv"]).expect(0);
    assert_eq!((full.outcomes().as_str(), full.calls()), ("10 updated", 20));
}

#[test]
fn fresh_gives_up_an_open_run_and_nothing_else() {
    let world = world();
    world.run(&rows(3)).expect(0);
    world.run("C0,Bob,,,,,update\n").expect(0);
    let again = world.ends(&["run", "--json", "--fresh", "export.csv"]).expect(0);
    assert_eq!((again.outcomes().as_str(), again.calls()), ("1 unchanged", 0));
}

#[test]
fn a_changed_mapping_sends_what_changed_and_no_more() {
    let world = world();
    world.run(&rows(5)).expect(0);
    let mapping = format!("{MAPPING}\n[customer.custom]\nsource = {{ value = \"crm\" }}\n");
    let world = world.with_mapping(&mapping, "");
    let ended = world.run(&rows(5)).expect(0);
    assert_eq!((ended.outcomes().as_str(), ended.calls()), ("5 updated", 5));
    assert!(world.log().iter().rev().take(5).all(|entry| entry["call"] == "update"));
}

#[test]
fn adopted_customers_are_known_without_a_call() {
    let world = world();
    world.file("export.csv", format!("{HEADER}{}", rows(5)).as_bytes());
    world.ends(&["adopt", "export.csv"]).expect(0);
    assert_eq!(world.state().counters.requests, 0);
    let ended = world.run(&rows(6)).expect(0);
    assert_eq!(ended.outcomes(), "1 created, 5 unchanged");
}

#[test]
fn init_takes_no_column_for_addresses_that_holds_none() {
    let world = World::new(Settings::default());
    let export =
        "id,E-mail,E-mail opt-in,Phone,Phone verified\nA1,a@example.org,yes,,no\nA2,,no,06-12345678,yes\n";
    world.file("klanten.csv", export.as_bytes());
    let proposed = world.ends(&["init", "klanten.csv"]).expect(0).stdout;
    assert!(proposed.contains("\nemail = \"E-mail\"\n"), "{proposed}");
    assert!(proposed.contains("telephone = { column = \"Phone\""), "{proposed}");
    assert!(
        proposed.contains("= \"Phone verified\"") && proposed.contains("= \"E-mail opt-in\""),
        "{proposed}"
    );
}

#[test]
fn init_proposes_a_configuration_that_plans() {
    let world = world();
    world.file("klanten.csv", b"Klantnummer;Voornaam;Achternaam;E-mail;Mobiel;Plaats\r\n00501;Ren\xe9;de Wit;r@example.org;06-12345678;Delft\r\n");
    let proposed = world.ends(&["init", "klanten.csv"]).expect(0).stdout;
    world.file("omnidesk-sync.toml", proposed.as_bytes());
    let plan = world.ends(&["plan", "--json", "--show", "1", "klanten.csv"]).expect(0).json();
    assert_eq!(plan["calls"]["create"], 1, "{proposed}");
    let body = &plan["requests"][0]["body"];
    assert_eq!((&body["primary_id"], &body["firstname"]), (&"00501".into(), &"René".into()), "{proposed}");
    assert_eq!(plan["calls"]["add-channel"], 1, "{proposed}");
}

#[test]
fn a_rehearsal_does_not_touch_the_real_checkpoint() {
    let world = world();
    world.file("export.csv", format!("{HEADER}{}", rows(3)).as_bytes());
    world.ends(&["run", "--sandbox", "export.csv"]).expect(0);
    assert!(!world.path("omnidesk-sync.checkpoint").exists());
    assert_eq!(world.run(&rows(3)).expect(0).outcomes(), "3 created");
}

#[test]
fn a_checkpoint_of_another_tenant_or_none_at_all_is_refused() {
    let world = world();
    world.run(&rows(1)).expect(0);
    let config = world.read("omnidesk-sync.toml");
    let tenant = config
        .lines()
        .map(|line| if line.starts_with("base_url") { "base_url = \"https://other.example\"" } else { line });
    world.file("omnidesk-sync.toml", tenant.collect::<Vec<_>>().join("\n").as_bytes());
    let other = world.ends(&["run", "export.csv"]).expect(2);
    assert!(other.stderr.contains("belongs to"), "{}", other.stderr);
    world.file("omnidesk-sync.toml", config.as_bytes());
    world.file(
        "omnidesk-sync.checkpoint",
        b"not a database, but long enough to be looked at as one; not a database",
    );
    let overwritten = world.ends(&["run", "export.csv"]).expect(5);
    assert!(overwritten.stderr.contains("damaged"), "{}", overwritten.stderr);
    world.file("omnidesk-sync.checkpoint", b"");
    let empty = world.ends(&["run", "export.csv"]).expect(5);
    assert!(empty.stderr.contains("damaged"), "{}", empty.stderr);
}

#[test]
fn duplicates_are_not_made_even_where_the_server_would_make_them() {
    let world = World::new(Settings { duplicates: Duplicates::Allow, ..Settings::default() });
    world.run(&rows(5)).expect(0);
    let ended = world.run(&rows(5).replace(",,,\n", ",,,create\n")).expect(0);
    assert_eq!((ended.outcomes().as_str(), world.state().counters.doubled), ("5 unchanged", 0));
}

#[test]
fn the_sandbox_command_tells_its_address_and_ends_by_a_signal() {
    let world = World::at("http://127.0.0.1:9");
    let mut child = world.command(&["sandbox"]).stdout(Stdio::piped()).spawn().expect("the sandbox");
    let mut line = String::new();
    let mut out = std::io::BufReader::new(child.stdout.take().expect("stdout"));
    std::io::BufRead::read_line(&mut out, &mut line).expect("a line");
    let elsewhere = World::at(line.trim());
    assert_eq!(elsewhere.run(&rows(2)).expect(0).outcomes(), "2 created");
    signal(&child, "TERM");
    assert_eq!(child.wait().expect("an end").code(), Some(0));
    drop(Sandbox::start(Settings::default()).expect("another"));
}

#[test]
fn an_update_whose_answer_was_lost_is_not_taken_for_unchanged() {
    // From the second run on, every update is carried out and its answer lost.
    let server =
        Server::new(
            |number, request| {
                if number >= 1 && request.body.contains("Bob") { None } else { json(200, RESULT) }
            },
        );
    let world = World::at(&server.url()).with_mapping(MAPPING, "attempts = 2");
    world.run("A1,Ann,Smit,a@example.org,,,\n").expect(0);
    let lost = world.run("A1,Bob,Smit,a@example.org,,,\n").expect(1);
    assert_eq!(lost.outcomes(), "1 failed");
    let back = world.run("A1,Ann,Smit,a@example.org,,,\n").expect(0);
    assert_eq!(back.outcomes(), "1 updated", "nobody knows whether it is Ann or Bob");
}

#[test]
fn a_purge_that_is_tried_again_does_not_undo_a_later_row() {
    let server = Server::new(|_, request| {
        if request.line().starts_with("DELETE") { refusal("Not now.") } else { json(200, RESULT) }
    });
    let world = World::at(&server.url());
    let export = "A1,Ann,Smit,a@example.org,,,\nA1,,,,,,purge\nA1,Bob,Smit,a@example.org,,,\n";
    world.file("export.csv", format!("{HEADER}{export}").as_bytes());
    let arguments = ["run", "--json", "--allow-purge", "export.csv"];
    assert_eq!(world.ends(&arguments).expect(1).outcomes(), "1 created, 1 updated, 1 failed");
    let before = server.requests().len();
    assert_eq!(world.ends(&arguments).expect(0).outcomes(), "3 unchanged");
    assert_eq!(server.requests().len(), before);
}

/// Whoever is not found by a purge that an earlier process may have sent, was purged by that.
#[test]
fn a_purge_that_was_under_way_when_the_process_was_killed_may_find_nobody() {
    let server = Server::doing(
        |_| None,
        |number, request| match (request.line().starts_with("DELETE"), number) {
            (true, 1) => (Vec::new(), Then::Hang),
            (true, _) => (refusal("Customer not found.").expect("an answer"), Then::GoOn),
            _ => (json(200, RESULT).expect("an answer"), Then::GoOn),
        },
    );
    let world = World::at(&server.url());
    world.run("A1,Ann,Smit,a@example.org,,,\n").expect(0);
    world.file("export.csv", format!("{HEADER}A1,,,,,,purge\n").as_bytes());
    let arguments = ["run", "--json", "--allow-purge", "export.csv"];
    let mut child = world.starts(&arguments);
    while server.requests().len() < 2 {
        assert!(child.try_wait().expect("a child").is_none(), "it ended");
        std::thread::yield_now();
    }
    child.kill().expect("killed");
    child.wait().expect("an end");
    assert_eq!(world.ends(&arguments).expect(0).outcomes(), "1 purged");
    assert_eq!(world.ends(&arguments).expect(0).outcomes(), "1 unchanged");
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn an_update_never_brings_back_who_was_purged() {
    let world = world();
    world.run("A1,Ann,Smit,a@example.org,,,\n").expect(0);
    world.file("export.csv", format!("{HEADER}A1,,,,,,purge\nA1,Bob,Smit,,,,update\n").as_bytes());
    let ended = world.ends(&["run", "--json", "--allow-purge", "export.csv"]).expect(1);
    assert_eq!(ended.outcomes(), "1 purged, 1 failed");
    assert!(world.state().customers.is_empty());
    let back = world.run("A1,Bob,Smit,a@example.org,,,\n").expect(1);
    assert_eq!(back.outcomes(), "1 rejected", "the tombstone stands");
}

#[test]
fn a_row_that_was_refused_for_a_purge_before_stays_refused_until_leave_is_given() {
    let world = world();
    world.run("A1,Ann,Smit,a@example.org,,,\n").expect(0);
    world.file("export.csv", format!("{HEADER}A1,,,,,,purge\n").as_bytes());
    world.ends(&["run", "--allow-purge", "export.csv"]).expect(0);
    let export = "A1,Bob,Smit,a@example.org,,,\nB1,Cor,Smit,b@example.org,,,\n";
    assert_eq!(world.run(export).expect(1).outcomes(), "1 created, 1 rejected");
    assert_eq!(world.run(export).expect(1).outcomes(), "1 unchanged, 1 rejected");
    let allowed = world.ends(&["run", "--json", "--allow-recreate", "export.csv"]).expect(0);
    assert_eq!(allowed.outcomes(), "1 created, 1 unchanged");
}

#[test]
fn leave_to_purge_can_be_taken_back_while_a_run_is_open() {
    let settings = Settings { latency: Duration::from_millis(40), ..Settings::default() };
    let world = World::new(settings);
    world.run(&rows(60)).expect(0);
    let purges: String = (0..60).map(|id| format!("C{id},,,,,,purge\n")).collect();
    world.file("export.csv", format!("{HEADER}{purges}").as_bytes());
    let before = world.state().counters.requests;
    let leave = ["run", "--allow-purge", "--max-purge", "60", "--concurrency", "1", "export.csv"];
    let mut child = world.starts(&leave);
    world.wait_for_requests(before + 8, &mut child);
    child.kill().expect("killed");
    child.wait().expect("gone");
    let requests = world.state().counters.requests;
    let blocked = world.ends(&["run", "export.csv"]).expect(7);
    assert!(blocked.stderr.contains("--fresh"), "{}", blocked.stderr);
    // One of the killed process may have been on its way.
    assert!(world.state().counters.requests <= requests + 1);
    world.ends(&["run", "--allow-purge", "--max-purge", "60", "export.csv"]).expect(0);
    assert!(world.state().customers.is_empty());
}

#[test]
fn a_truncated_export_is_blocked_and_a_repaired_result_file_is_not() {
    let world = world();
    world.run(&rows(40)).expect(0);
    let truncated = world.run(&rows(10)).expect(7);
    assert!(truncated.stderr.contains("min_rows"), "{}", truncated.stderr);
    let header = HEADER.replace('\n', ",_sync_line,_sync_code\n");
    world.file("failed.csv", format!("{header}C1,Eva,Smit,c1@example.org,,,,7,refused\n").as_bytes());
    assert_eq!(world.ends(&["run", "--json", "failed.csv"]).expect(0).outcomes(), "1 updated");
    // It is no measure for the next night either.
    assert!(world.run(&rows(10)).expect(7).stderr.contains("40"));
}

#[test]
fn rows_that_the_api_always_refuses_do_not_keep_a_run_open() {
    let server = Server::new(
        |_, request| if request.body.contains("Bad") { refusal("No.") } else { json(200, RESULT) },
    );
    let world = World::at(&server.url());
    let good: String = (0..40).map(|id| format!("C{id},Ann,Smit,c{id}@example.org,,,\n")).collect();
    let bad: String = (0..8).map(|id| format!("B{id},Bad,Smit,b{id}@example.org,,,\n")).collect();
    let export = format!("{good}{bad}");
    for _ in 0..2 {
        let ended = world.run(&export).expect(1);
        assert!(ended.outcomes().ends_with("8 failed"), "{}", ended.outcomes());
    }
    let status = world.ends(&["status", "--json"]).json();
    assert_eq!(status["open_run"], serde_json::Value::Null);
}

#[test]
fn an_outage_without_end_stops_the_run_and_costs_no_row() {
    let server = Server::new(|number, _| if number < 6 { json(200, RESULT) } else { json(500, "{}") });
    let world = World::at(&server.url()).with_mapping(MAPPING, "patience = \"2s\"");
    let ended = world.run(&rows(600)).expect(3);
    assert_eq!(ended.json()["stopped"]["reason"], "server_failing", "{}", ended.stderr);
    assert!(ended.stderr.contains("the server has been failing"), "{}", ended.stderr);
    assert_eq!(ended.outcomes(), "6 created, 594 not_attempted");
    // Those under way when it began, and single ones that asked since.
    assert!(server.requests().len() < 40, "{}", server.requests().len());
}

#[test]
fn the_next_call_of_a_customer_waits_for_a_straggler() {
    // The first update is answered 504 at once and carried out later.
    let faults = omnidesk_sync::sandbox::Faults::parse("late=1,late_for=150ms").expect("faults");
    let settings = Settings { faults, faults_per_customer_max: 1, ..Settings::default() };
    let world = World::new(settings);
    let export = "A1,Ann,Smit,a@example.org,,,\nA1,Bob,Smit,,,,\nA1,Cor,Smit,,,,\n";
    world.run(export).expect(0);
    while world.state().counters.late_pending > 0 {
        std::thread::yield_now();
    }
    assert_eq!(held(&world.state()), ["A1 Cor a@example.org"]);
    assert_eq!(world.state().counters.doubled, 0);
}

#[test]
fn an_export_that_changes_under_a_run_ends_it_in_order() {
    let settings = Settings { latency: Duration::from_millis(20), ..Settings::default() };
    let world = World::new(settings);
    world.file("export.csv", format!("{HEADER}{}", rows(4000)).as_bytes());
    let mut command = world.command(&["run", "--json", "export.csv"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program");
    world.wait_for_requests(10, &mut child);
    world.file("export.csv", format!("{HEADER}{}", rows(3000)).as_bytes());
    let ended = Ended::of(child.wait_with_output().expect("an end")).expect(5);
    assert_eq!(ended.json()["stopped"]["reason"], "export_lost");
    ended.outcomes();
    world.ends(&["run", "--json", "--rate", "20000/s", "--concurrency", "64", "export.csv"]).expect(0);
    assert_eq!(world.state().violations, Vec::<String>::new());
}

#[test]
fn the_page_of_a_run_needs_no_other_file_and_escapes_what_it_shows() {
    let world = World::at(&Server::new(|_, _| refusal("<script>alert(1)</script>")).url());
    world.run(&rows(2)).expect(1);
    let page = String::from_utf8(world.result("report.html").expect("report.html")).expect("UTF-8");
    assert!(page.contains("2 rows to http:") && page.contains("failed"), "{page}");
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script"), "{page}");
    assert!(!page.contains("src=") && !page.contains("href="), "{page}");
}

/// Causes are told by the session that met them; the files have them all.
#[test]
fn a_run_that_goes_on_says_where_the_causes_of_before_are() {
    let settings = Settings { latency: Duration::from_millis(20), ..Settings::default() };
    let world = World::new(settings);
    let bad = "X1,Ann,Smit,no-address,,,\nX2,Ann,Smit,no-address,,,\n";
    world.file("export.csv", format!("{HEADER}{bad}{}", rows(80)).as_bytes());
    let mut child = world.starts(&["run", "--concurrency", "2", "export.csv"]);
    world.wait_for_requests(10, &mut child);
    child.kill().and_then(|()| child.wait()).expect("killed");
    let ended = world.ends(&["run", "--json", "export.csv"]).expect(1);
    assert_eq!(ended.outcomes(), "80 created, 2 rejected");
    assert_eq!(ended.json()["before_resume"], serde_json::json!({ "rejected": 2 }));
    assert!(ended.stderr.contains("2 rejected before the run was resumed"), "{}", ended.stderr);
    let page = String::from_utf8(world.result("report.html").expect("a page")).expect("UTF-8");
    assert!(page.contains("2 rejected before the run was resumed"));
}
