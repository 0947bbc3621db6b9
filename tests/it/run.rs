//! `run`: what it sends, when it stops, and what it reports.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use omnidesk_sync::sandbox::{Duplicates, Sandbox, Settings, State};

use crate::server::{Ending, RESULT, Server, free_port, json, no_answer, refusal, success, with_headers};
use crate::world::{CommandOutput, HEADER, KEY, MAPPING, RUN, World, kill, rows, send_signal};

/// The customers as lines of id, first name and addresses.
fn customers(state: &State) -> Vec<String> {
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
fn a_customer_with_three_addresses_takes_one_create_and_two_add_channels() {
    let world = World::default();
    world
        .run("A1,Ann,Smit,a@example.org,b@example.org,06-12345678,\n")
        .expect_code(0)
        .expect_outcomes("1 created")
        .expect_calls(3);
    assert_eq!(customers(&world.state()), ["A1 Ann a@example.org b@example.org +31612345678"]);
    world.assert_no_violations();
}

#[test]
fn an_applied_export_makes_no_calls_and_a_changed_row_makes_only_its_own() {
    let world = World::default();
    world.run(&rows(20)).expect_code(0);
    world.run(&rows(20)).expect_code(0).expect_outcomes("20 unchanged").expect_calls(0);
    let changed =
        rows(20).replace("C7,Ann", "C7,Bob").replace("c9@example.org,", "c9@example.org,new@example.org");
    world
        .run(&changed)
        .expect_code(0)
        .expect_outcomes("1 updated, 1 channel_added, 18 unchanged")
        .expect_calls(2);
}

#[test]
fn a_blank_cell_keeps_a_field_and_a_clear_marker_empties_it() {
    let world = World::default().with_settings("[input]\nclear = [\"<clear>\"]\n");
    world.run("A1,Ann,Smit,a@example.org,,,\n").expect_code(0);
    world.run("A1,,,a@example.org,,,\n").expect_code(0).expect_outcomes("1 unchanged");
    world.run("A1,<clear>,,a@example.org,,,\n").expect_code(0).expect_outcomes("1 updated");
    assert_eq!(customers(&world.state()), ["A1  a@example.org"]);
    world.run("A1,<clear>,,a@example.org,,,\n").expect_code(0).expect_calls(0);
}

#[test]
fn rejected_rows_show_column_and_value_and_run_once_they_are_fixed() {
    let world = World::default();
    world
        .run("A1,Ann,Smit,no-address,,,\nA2,Bob,Smit,b@example.org,,,\n,Cor,Smit,,,,\n")
        .expect_code(1)
        .expect_outcomes("1 created, 2 rejected");
    let rejected = world.result_text("rejected.csv");
    let lines: Vec<&str> = rejected.lines().collect();
    assert!(
        lines[0].starts_with("id,first,last,email,email2,phone,op,_sync_line,_sync_operation,_sync_code"),
        "{rejected}"
    );
    assert!(lines[1].starts_with("A1,Ann,Smit,no-address,,,,2,,bad_email,email,no-address,"), "{rejected}");
    assert!(lines[2].starts_with(",Cor,Smit,,,,,4,,blank_id,id,,"), "{rejected}");
    assert_eq!(world.result("failed.csv"), None);

    let fixed = rejected.replace("A1,Ann,Smit,no-address", "A1,Ann,Smit,a@example.org");
    world.file("fixed.csv", fixed.as_bytes());
    world.execute(&["run", "--json", "fixed.csv"]).expect_code(1).expect_outcomes("1 created, 1 rejected");
    let rejected = world.result_text("rejected.csv");
    let columns = rejected.matches("_sync_line").count();
    assert_eq!(columns, 1, "result columns of the earlier file are not repeated: {rejected}");
}

#[test]
fn an_unusable_header_ends_the_run_before_the_first_call() {
    let cases = [
        ("id,first,last,email,email2,op\n", "no column \"phone\""),
        ("id,first,first,email,email2,phone,op\n", "no column \"last\""),
        ("id,first,,email,email2,phone,op\n", "no column \"last\""),
        ("id^first^last^email^email2^phone^op\n", "set delimiter = \"^\""),
        ("id;;first;;last;;email\n", "\";;\" stands between its cells"),
        ("id,first,last,e-mail,email2,phone,op\n", "did you mean"),
        ("", "is empty"),
    ];
    for (header, message) in cases {
        let world = World::default();
        let row = if header.is_empty() { "" } else { "A1,Ann,Smit,a@example.org,,,\n" };
        world.file("export.csv", format!("{header}{row}").as_bytes());
        let output = world.execute(&RUN).expect_code(2).expect_stderr(message);
        assert_eq!(output.json()["exit_code"], 2);
        assert_eq!(world.requests(), 0);
    }
}

#[test]
fn a_retried_row_never_undoes_a_later_one() {
    // The second row is refused; a later row of the same customer works.
    let server = Server::new(|_, request| {
        let is_second_row = request.body.contains("Bob") && !request.body.contains("Smit");
        if is_second_row { refusal("Not now.") } else { success() }
    });
    let world = World::with_server(&server.url());
    let export = "A1,Ann,Smit,a@example.org,,,\nA1,Bob,,,,,\nA1,Cor,,,,,\nB1,Dik,Smit,b@example.org,,,\n";
    world.run(export).expect_code(1).expect_outcomes("2 created, 1 updated, 1 failed");
    let before = server.requests().len();
    world.run(export).expect_outcomes("4 unchanged");
    assert_eq!(server.requests().len(), before);
}

#[test]
fn only_failed_rows_are_retried_by_the_next_run() {
    let server = Server::new(|number, request| {
        if request.body.contains("extra_") && number < 4 { refusal("Not now.") } else { success() }
    });
    let world = World::with_server(&server.url());
    let export = "A1,Ann,Smit,a@example.org,b@example.org,,\nA1,Bob,Smit,a@example.org,,,\nB1,Dik,Smit,c@example.org,,,\n";
    world.run(export).expect_code(1).expect_outcomes("1 created, 1 updated, 1 failed");
    let before = server.requests().len();
    world.run(export).expect_code(0).expect_outcomes("1 channel_added, 2 unchanged");
    assert_eq!(server.lines()[before..], ["POST /api/v2/customer/addchannelonly"]);
}

#[test]
fn a_create_of_an_existing_customer_turns_into_an_update_and_an_update_of_none_into_a_create() {
    let world = World::default();
    world.run("A1,Ann,Smit,a@example.org,,,\n").expect_code(0);
    std::fs::remove_file(world.path("omnidesk-sync.checkpoint")).expect("removed");
    let export = "A1,Bob,Smit,a@example.org,b@example.org,,create\nB1,Cor,Smit,c@example.org,,,update\n";
    world.write_export(export);
    world.run_with(&["--new-checkpoint"]).expect_code(0).expect_outcomes("1 created, 1 updated");
    assert_eq!(customers(&world.state()), ["A1 Bob a@example.org b@example.org", "B1 Cor c@example.org"]);
    world.run(export).expect_code(0).expect_calls(0);
}

#[test]
fn purges_need_an_override_and_purged_customers_are_not_recreated() {
    let world = World::default();
    world.run(&rows(3)).expect_code(0);
    let requests = world.requests();
    let export = "C1,,,,,,purge\nC2,Ann,Smit,c2@example.org,,,\nC0,Ann,Smit,c0@example.org,,,\n";
    world.run(export).expect_code(7).expect_stderr("--allow-purge --max-purge 1");
    assert_eq!(world.requests(), requests);
    // The limit alone does not allow purges.
    world.execute(&["run", "--max-purge", "5", "export.csv"]).expect_code(7);
    world.run_with(&["--allow-purge"]).expect_code(0).expect_outcomes("1 purged, 2 unchanged");
    world.run(&rows(3)).expect_code(1).expect_outcomes("2 unchanged, 1 rejected");
    world.run_with(&["--allow-recreate"]).expect_code(0).expect_outcomes("1 created, 2 unchanged");
}

#[test]
fn a_refused_key_stops_the_run_and_the_run_can_be_resumed() {
    let settings = Settings { api_key: Some("another".into()), ..Settings::default() };
    let world = World::new(settings);
    world
        .run(&rows(30))
        .expect_code(3)
        .expect_outcomes("30 not_attempted")
        .expect_stop("key_refused")
        .expect_stderr("CUSTOMER_CUD");
    assert_eq!(world.requests(), 1);
    let resumed = CommandOutput::read(world.command(&RUN).env("OMNIDESK_API_KEY", "another"))
        .expect_code(0)
        .expect_outcomes("30 created");
    assert_eq!(resumed.json()["resumed"], true);
}

#[test]
fn the_canary_stops_a_run_after_five_failed_calls() {
    let settings = Settings { brands: Some(vec![7]), ..Settings::default() };
    let world = World::new(settings);
    let output = world.run(&rows(100)).expect_code(3).expect_outcomes("100 not_attempted");
    assert_eq!(world.requests(), 5);
    assert!(
        output.stderr.contains("Brand is invalid.") && output.stderr.contains("row 1"),
        "{}",
        output.stderr
    );
    // With another mapping the same export is decided anew.
    let world = world.with_mapping(&MAPPING.replace("value = 2", "value = 7"), "");
    world
        .run(&rows(100))
        .expect_code(0)
        .expect_outcomes("100 created")
        .expect_stderr("the mapping, --limit or --full has changed: every row");
}

#[test]
fn too_many_failures_stop_the_run() {
    let server = Server::new(|number, _| if number < 5 { success() } else { refusal("No.") });
    let world = World::with_server(&server.url());
    let output = world.run(&rows(500)).expect_code(3).expect_stop("too_many_errors");
    assert!(server.requests().len() < 60, "{}", server.requests().len());
    output.outcomes();
}

/// The share counts ended calls. A run may reach it.
#[test]
fn a_run_stops_when_failures_exceed_the_allowed_share() {
    // One more call may be in flight when the run stops.
    for (one_in, code, requests) in [(4, 1, 400..=400), (3, 3, 60..=61)] {
        let server =
            Server::new(move |number, _| if (number + 1) % one_in == 0 { refusal("No.") } else { success() });
        let limits = "concurrency = 1\nmax_errors = \"25%\"\n[guard]\ncanary = 0\n";
        let world = World::with_server(&server.url()).with_settings(limits);
        world.run(&rows(400)).expect_code(code).outcomes();
        let made = server.requests().len();
        assert!(requests.contains(&made), "one in {one_in}: {made}");
    }
}

/// The share is of all calls, not of the calls of finished rows.
#[test]
fn the_share_of_failures_counts_calls_of_unfinished_rows() {
    let server =
        Server::new(|_, request| if request.body.contains("\"b1") { refusal("No.") } else { success() });
    let limits = "max_errors = \"25%\"\n[guard]\ncanary = 0\n";
    let world = World::with_server(&server.url()).with_settings(limits);
    // 300 rows have two calls each. Of a third of them, the second call is refused.
    let row = |id: usize| {
        let second = if id.is_multiple_of(3) { "b1" } else { "c" };
        format!("C{id},Ann,Smit,a{id}@example.org,{second}{id}@example.org,,\n")
    };
    let output = world.run(&(0..300).map(row).collect::<String>()).expect_code(1);
    assert_eq!(output.json()["outcomes"]["failed"], 100);
}

/// Each of the first calls waits until the one ahead of it has failed for good.
#[test]
fn an_unreachable_server_is_tried_with_one_row_only() {
    let base_url = format!("http://127.0.0.1:{}", free_port());
    let world = World::with_server(&base_url).with_settings("attempts = 3");
    let output = world.run(&rows(40)).expect_code(3).expect_stop("unreachable");
    assert_eq!(output.json()["requests"], 3, "{}", output.stdout);
}

/// One answer does not yet show that the server works, so nothing waits for it.
#[test]
fn a_server_that_vanishes_during_the_canary_stops_the_run() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let server = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().expect("a connection");
        drop(listener);
        let _ = stream.read(&mut [0; 4096]).expect("a request");
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
        write!(stream, "{head}content-length: {}\r\n\r\n{RESULT}", RESULT.len()).expect("sent");
    });
    let world = World::with_server(&url).with_settings("attempts = 2");
    let output = world.run(&rows(40)).expect_code(3);
    server.join().expect("answered");
    assert_eq!(output.json()["stopped"]["reason"], "unreachable");
    assert_eq!(output.json()["outcomes"]["created"], 1);
}

/// Calls wait for a server that has answered before.
#[test]
fn a_run_waits_while_a_server_restarts() {
    let settings = Settings { latency: Duration::from_millis(20), ..Settings::default() };
    let sandbox = Sandbox::start(settings.clone()).expect("a sandbox");
    let world = World::with_server(&sandbox.base_url()).with_settings("attempts = 1\nconcurrency = 4");
    let listen = sandbox.base_url().trim_start_matches("http://").parse().expect("an address");
    world.write_export(&rows(100));
    let mut child = world.spawn_piped(&RUN);
    while sandbox.state().counters.requests < 20 {
        assert!(child.try_wait().expect("a child").is_none(), "the program has ended");
        std::thread::yield_now();
    }
    drop(sandbox);
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut text = String::new();
    // A second time: the trial call found no server.
    while text.matches("the server has been failing").count() < 2 {
        assert!(stderr.read_line(&mut text).expect("lines") > 0, "the program has ended: {text}");
    }
    let _sandbox = Sandbox::start(Settings { listen, ..settings }).expect("the same port");
    stderr.read_to_string(&mut text).expect("the rest");
    let output = CommandOutput::wait(child);
    // Only the calls in flight have lost their one attempt.
    assert!(output.json()["stopped"].is_null(), "{text}");
    assert!(output.json()["outcomes"]["created"].as_u64() >= Some(96), "{}", output.stdout);
}

#[test]
fn an_unreachable_server_stops_the_run() {
    let world = World::with_server("http://127.0.0.1:1").with_settings("attempts = 2");
    world.run(&rows(3)).expect_code(3).expect_stop("unreachable").expect_outcomes("3 not_attempted");
}

#[test]
fn the_second_of_two_runs_ends_at_once_under_any_name_of_the_checkpoint() {
    let world = World::with_latency_ms(200);
    world.write_export(&rows(200));
    let mut first = world.spawn(&["run", "export.csv"]);
    world.wait_for_requests(1, &mut first);
    let checkpoint = world.path("omnidesk-sync.checkpoint");
    std::fs::hard_link(&checkpoint, world.path("hard")).expect("a link");
    std::os::unix::fs::symlink(&checkpoint, world.path("soft")).expect("a link");
    for name in ["hard", "soft"] {
        world.write_other_config(name);
        let config = format!("{name}.toml");
        let second = world.execute(&["run", "--config", &config, "export.csv"]).expect_code(6);
        assert!(
            second.stderr.contains(&format!("another run holds the checkpoint {name}")),
            "{}",
            second.stderr
        );
    }
    kill(&mut first);
}

#[test]
fn a_lock_file_that_is_a_symbolic_link_is_not_followed() {
    let world = World::default();
    let victim = world.file("victim", b"precious");
    let lock = world.path("omnidesk-sync.checkpoint.lock");
    std::os::unix::fs::symlink(&victim, &lock).expect("a link");
    for command in ["run", "adopt"] {
        world.write_export(&rows(1));
        world
            .execute(&[command, "export.csv"])
            .expect_code(5)
            .expect_stderr("omnidesk-sync.checkpoint.lock is a symbolic link")
            .expect_stderr("delete the link");
    }
    assert_eq!(std::fs::read(&victim).expect("the victim"), b"precious");
    std::fs::remove_file(&lock).expect("removed");
    world.execute(&RUN).expect_code(0);
}

#[test]
fn the_second_of_two_runs_ends_at_once_with_code_6() {
    let world = World::with_latency_ms(200);
    world.write_export(&rows(200));
    let mut first = world.spawn(&["run", "export.csv"]);
    world.wait_for_requests(1, &mut first);
    let second = world.execute(&RUN).expect_code(6);
    assert_eq!(second.json()["exit_code"], 6);
    kill(&mut first);
    let third = world.execute(&["run", "--limit", "1", "export.csv"]);
    assert_ne!(third.code, Some(6), "a killed run holds no lock");
}

#[test]
fn a_signal_ends_a_run_in_order_and_the_same_command_resumes_it() {
    for (name, is_repeated) in [("INT", false), ("TERM", false), ("TERM", true)] {
        let world = World::with_latency_ms(40);
        world.write_export(&rows(150));
        let mut child = world.spawn_piped(&RUN);
        world.wait_for_requests(20, &mut child);
        send_signal(child.id(), name);
        if is_repeated {
            send_signal(child.id(), name);
        }
        let output = CommandOutput::wait(child).expect_code(4).expect_stderr("run the same command again");
        assert!(output.outcomes().ends_with("not_attempted"), "{}", output.outcomes());
        world.execute(&RUN).expect_code(0).expect_outcomes("150 created");
        assert_eq!(world.state().customers.len(), 150);
        world.assert_no_violations();
    }
}

#[test]
fn an_open_run_is_superseded_by_another_export_unless_rows_could_be_lost() {
    let world = World::with_latency_ms(30);
    let interrupt = |export: &str| {
        world.write_export(export);
        world.kill_after(10, &["run", "export.csv"]);
    };
    interrupt(&rows(200));
    world.run(&rows(40)).expect_code(0).expect_stderr("this is another export").outcomes();
    assert!(world.state().customers.len() >= 40);

    interrupt(&rows(60).replace(",,,\n", ",,,update\n").replace("Ann", "Bob"));
    world.run(&rows(50)).expect_code(2).expect_stderr("--fresh");
    world.execute(&["run", "--fresh", "export.csv"]).expect_code(0);
    world.assert_no_violations();
}

#[test]
fn an_export_is_read_from_standard_input_or_a_compressed_file() {
    let world = World::default();
    let export = format!("{HEADER}{}", rows(30));
    let mut command = world.command(&["run", "--json", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program");
    child.stdin.take().expect("stdin").write_all(export.as_bytes()).expect("written");
    CommandOutput::wait(child).expect_code(0).expect_outcomes("30 created");

    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(export.as_bytes()).expect("packed");
    let packed = packer.finish().expect("packed");
    world.file("export.csv.gz", &packed);
    world
        .execute(&["run", "--json", "export.csv.gz"])
        .expect_code(0)
        .expect_outcomes("30 unchanged")
        .expect_calls(0);
    world.file("cut.csv.gz", &packed[..packed.len() - 10]);
    world.execute(&["run", "cut.csv.gz"]).expect_code(2).expect_stderr("check that the file is complete");
    world.file("export.csv.zst", &zstd::encode_all(export.as_bytes(), 1).expect("packed"));
    world.execute(&["run", "--json", "export.csv.zst"]).expect_code(0).expect_calls(0);
}

#[test]
fn requests_to_wait_use_up_no_attempts() {
    let server = Server::new(|number, _| match number {
        0..6 => with_headers(429, "Retry-After: 0\r\n", "{}"),
        6 => with_headers(503, "Retry-After: Mon, 23 Nov 2020 10:00:00 GMT\r\n", "{}"),
        _ => success(),
    });
    let world = World::with_server(&server.url()).with_settings("attempts = 1");
    world.run(&rows(4)).expect_code(0).expect_outcomes("4 created");
    // After the 503, a probe and an update come before the address.
    assert_eq!(server.requests().len(), 13);
}

#[test]
fn a_redirect_is_never_followed_so_the_key_goes_nowhere_else() {
    let elsewhere = Server::new(|_, _| success());
    let target = elsewhere.url();
    let server = Server::new(move |_, _| with_headers(307, &format!("Location: {target}/x\r\n"), ""));
    let world = World::with_server(&server.url());
    world.run(&rows(3)).expect_code(3).expect_outcomes("3 not_attempted").expect_stop("intercepted");
    assert_eq!(elsewhere.requests().len(), 0);
}

#[test]
fn the_settings_decide_where_the_key_goes_and_how_bodies_are_encoded() {
    let server = Server::new(|_, _| success());
    let header = World::with_server(&server.url());
    header.run(&rows(1)).expect_code(0);
    let query = World::with_server(&server.url());
    query.edit_config("[omnidesk]", "[omnidesk]\nauth = \"query\"\nbody = \"form\"");
    query.run(&rows(1)).expect_code(0);
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
fn a_lost_create_is_probed_and_never_blindly_resent() {
    // The second request gets no answer, on a connection that was kept alive.
    let server = Server::new(|number, _| if number == 1 { no_answer(Ending::Close) } else { success() });
    let world = World::with_server(&server.url()).with_settings("concurrency = 1");
    world.run(&rows(3)).expect_code(0).expect_outcomes("3 created");
    let lines = server.lines();
    let creates = lines.iter().filter(|line| *line == "POST /api/v2/customer").count();
    let probes = lines.iter().filter(|line| *line == "PUT /api/v2/customer/updateCustomer").count();
    // The update after the probe makes certain what the create carried.
    assert_eq!((creates, probes), (3, 2), "{lines:?}");
}

#[test]
fn a_lost_create_without_effect_is_resent_after_the_probe() {
    let server = Server::new(|number, request| match (number, request.line().as_str()) {
        (0, _) => no_answer(Ending::Close),
        (1, "PUT /api/v2/customer/updateCustomer") => refusal("Customer not found."),
        _ => success(),
    });
    let world = World::with_server(&server.url());
    world.run(&rows(1)).expect_code(0).expect_outcomes("1 created");
    assert_eq!(
        server.lines(),
        ["POST /api/v2/customer", "PUT /api/v2/customer/updateCustomer", "POST /api/v2/customer"]
    );
}

#[test]
fn in_doubt_hold_reports_a_lost_create_and_holds_later_calls_of_the_customer() {
    let server = Server::new(|number, _| if number == 0 { no_answer(Ending::Close) } else { success() });
    let world = World::with_server(&server.url());
    world.edit_config("[omnidesk]", "[omnidesk]\nin_doubt = \"hold\"");
    let export = "A1,Ann,Smit,a@example.org,,,\nA1,Bob,Smit,,,,\nB1,Cor,Smit,b@example.org,,,\n";
    world.run(export).expect_code(1).expect_outcomes("1 created, 2 in_doubt");
    assert_eq!(server.requests().len(), 2);
    assert!(world.result("in_doubt.csv").is_some());
    let status = world.status();
    assert_eq!(status["in_doubt"], 1);
    // With a probe the same command resolves it.
    world.edit_config("hold", "probe");
    world.run(export).expect_code(0).expect_outcomes("1 created, 1 updated, 1 unchanged");
    assert_eq!(world.status()["in_doubt"], 0);
}

#[test]
fn the_checkpoint_and_the_logs_hold_no_personal_data() {
    let world = World::default();
    world.write_export("ID-4711,Wilhelmina,Achternaam,w.achternaam@example.org,,06-12345678,\n");
    let output = world.execute(&["run", "-vv", "export.csv"]).expect_code(0);
    for word in ["4711", "Wilhelmina", "Achternaam", "achternaam", "612345678"] {
        assert!(!output.stderr.contains(word), "{word} in {}", output.stderr);
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
        let text = world.result_text(name);
        assert!(!text.contains("Wilhelmina") && !text.contains("4711"), "{text}");
    }
}

#[test]
fn limit_bounds_the_rows_and_full_ignores_the_acknowledged_state() {
    let world = World::default();
    world.write_export(&rows(10));
    world.run_with(&["--limit", "4"]).expect_code(0).expect_outcomes("4 created");
    world.execute(&RUN).expect_code(0).expect_outcomes("6 created, 4 unchanged");
    world.run_with(&["--full"]).expect_code(0).expect_outcomes("10 updated").expect_calls(20);
}

#[test]
fn fresh_drops_an_open_run_but_no_acknowledged_state() {
    let world = World::default();
    world.run(&rows(3)).expect_code(0);
    world.run("C0,Bob,,,,,update\n").expect_code(0);
    world.run_with(&["--fresh"]).expect_code(0).expect_outcomes("1 unchanged").expect_calls(0);
}

#[test]
fn a_changed_mapping_sends_only_the_changed_fields() {
    let world = World::default();
    world.run(&rows(5)).expect_code(0);
    let mapping = format!("{MAPPING}\n[customer.custom]\nsource = {{ value = \"crm\" }}\n");
    let world = world.with_mapping(&mapping, "");
    world.run(&rows(5)).expect_code(0).expect_outcomes("5 updated").expect_calls(5);
    assert!(world.log().iter().rev().take(5).all(|entry| entry["call"] == "update"));
}

#[test]
fn adopted_customers_are_acknowledged_without_a_call() {
    let world = World::default();
    world.write_export(&rows(5));
    world.execute(&["adopt", "export.csv"]).expect_code(0);
    assert_eq!(world.requests(), 0);
    world.run(&rows(6)).expect_code(0).expect_outcomes("1 created, 5 unchanged");
}

#[test]
fn init_proposes_only_columns_that_hold_addresses_for_addresses() {
    let world = World::default();
    let export =
        "id,E-mail,E-mail opt-in,Phone,Phone verified\nA1,a@example.org,yes,,no\nA2,,no,06-12345678,yes\n";
    world.file("klanten.csv", export.as_bytes());
    let proposed = world.execute(&["init", "klanten.csv"]).expect_code(0).stdout;
    assert!(proposed.contains("\nemail = \"E-mail\"   # "), "{proposed}");
    assert!(proposed.contains("telephone = { column = \"Phone\""), "{proposed}");
    assert!(
        proposed.contains("= \"Phone verified\"") && proposed.contains("= \"E-mail opt-in\""),
        "{proposed}"
    );
}

#[test]
fn init_proposes_a_configuration_that_plans() {
    let world = World::default();
    world.file("klanten.csv", b"Klantnummer;Voornaam;Achternaam;E-mail;Mobiel;Plaats\r\n00501;Ren\xe9;de Wit;r@example.org;06-12345678;Delft\r\n");
    let proposed = world.execute(&["init", "klanten.csv"]).expect_code(0).stdout;
    world.file("omnidesk-sync.toml", proposed.as_bytes());
    let plan = world.execute(&["plan", "--json", "--show", "1", "klanten.csv"]).expect_code(0).json();
    assert_eq!(plan["calls"]["create"], 1, "{proposed}");
    let body = &plan["requests"][0]["body"];
    assert_eq!((&body["primary_id"], &body["firstname"]), (&"00501".into(), &"René".into()), "{proposed}");
    assert_eq!(plan["calls"]["add-channel"], 1, "{proposed}");
}

#[test]
fn a_sandbox_run_does_not_touch_the_real_checkpoint() {
    let world = World::default();
    world.write_export(&rows(3));
    world.execute(&["run", "--sandbox", "export.csv"]).expect_code(0);
    assert!(!world.path("omnidesk-sync.checkpoint").exists());
    world.run(&rows(3)).expect_code(0).expect_outcomes("3 created");
}

#[test]
fn a_checkpoint_of_another_tenant_and_a_file_that_is_none_are_refused() {
    let world = World::default();
    world.run(&rows(1)).expect_code(0);
    let base_url = world.base_url();
    world.edit_config(&base_url, "https://other.example");
    world.execute(&["run", "export.csv"]).expect_code(2).expect_stderr("belongs to");
    world.edit_config("https://other.example", &base_url);
    world.file(
        "omnidesk-sync.checkpoint",
        b"not a database, but long enough to be looked at as one; not a database",
    );
    world.execute(&["run", "export.csv"]).expect_code(5).expect_stderr("damaged");
    world.file("omnidesk-sync.checkpoint", b"");
    world.execute(&["run", "export.csv"]).expect_code(5).expect_stderr("damaged");
}

#[test]
fn no_customer_is_doubled_even_if_the_server_allows_it() {
    let world = World::new(Settings { duplicates: Duplicates::Allow, ..Settings::default() });
    world.run(&rows(5)).expect_code(0);
    let output = world.run(&rows(5).replace(",,,\n", ",,,create\n")).expect_code(0);
    assert_eq!((output.outcomes().as_str(), world.state().counters.doubled), ("5 unchanged", 0));
}

#[test]
fn the_sandbox_command_prints_its_address_and_ends_on_a_signal() {
    let world = World::default();
    let mut child = world.command(&["sandbox"]).stdout(Stdio::piped()).spawn().expect("the sandbox");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
    World::with_server(line.trim()).run(&rows(2)).expect_code(0).expect_outcomes("2 created");
    send_signal(child.id(), "TERM");
    assert_eq!(child.wait().expect("an end").code(), Some(0));
}

#[test]
fn an_update_whose_answer_was_lost_does_not_count_as_acknowledged() {
    // The answers to updates with this name are lost.
    let server = Server::new(|_, request| match request.body.contains("Bob") {
        true => no_answer(Ending::Close),
        false => success(),
    });
    let world = World::with_server(&server.url()).with_settings("attempts = 2");
    world.run("A1,Ann,Smit,a@example.org,,,\n").expect_code(0);
    world.run("A1,Bob,Smit,a@example.org,,,\n").expect_code(1).expect_outcomes("1 failed");
    // It may be Ann or Bob by now.
    world.run("A1,Ann,Smit,a@example.org,,,\n").expect_code(0).expect_outcomes("1 updated");
}

#[test]
fn a_retried_purge_does_not_undo_a_later_row() {
    let server = Server::new(|_, request| match request.line().starts_with("DELETE") {
        true => refusal("Not now."),
        false => success(),
    });
    let world = World::with_server(&server.url());
    let export = "A1,Ann,Smit,a@example.org,,,\nA1,,,,,,purge\nA1,Bob,Smit,a@example.org,,,\n";
    world.write_export(export);
    world.run_with(&["--allow-purge"]).expect_code(1).expect_outcomes("1 created, 1 updated, 1 failed");
    let before = server.requests().len();
    world.run_with(&["--allow-purge"]).expect_code(0).expect_outcomes("3 unchanged");
    assert_eq!(server.requests().len(), before);
}

/// A killed process may have purged the customer whom the next process does not find.
#[test]
fn a_purge_in_flight_at_a_kill_counts_as_done_if_the_customer_is_not_found() {
    let server = Server::new(|number, request| match (request.line().starts_with("DELETE"), number) {
        (true, 1) => no_answer(Ending::Hang),
        (true, _) => refusal("Customer not found."),
        _ => success(),
    });
    let world = World::with_server(&server.url());
    world.run("A1,Ann,Smit,a@example.org,,,\n").expect_code(0);
    world.write_export("A1,,,,,,purge\n");
    let arguments = ["run", "--json", "--allow-purge", "export.csv"];
    let mut child = world.spawn(&arguments);
    server.wait_for_requests(2, &mut child);
    kill(&mut child);
    world.execute(&arguments).expect_code(0).expect_outcomes("1 purged");
    world.execute(&arguments).expect_code(0).expect_outcomes("1 unchanged");
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn an_update_never_recreates_a_purged_customer() {
    let world = World::default();
    world.run("A1,Ann,Smit,a@example.org,,,\n").expect_code(0);
    world.write_export("A1,,,,,,purge\nA1,Bob,Smit,,,,update\n");
    world.run_with(&["--allow-purge"]).expect_code(1).expect_outcomes("1 purged, 1 failed");
    assert!(world.state().customers.is_empty());
    // The tombstone stays.
    world.run("A1,Bob,Smit,a@example.org,,,\n").expect_code(1).expect_outcomes("1 rejected");
}

#[test]
fn a_row_of_a_purged_customer_stays_rejected_until_an_override() {
    let world = World::default();
    world.run("A1,Ann,Smit,a@example.org,,,\n").expect_code(0);
    world.write_export("A1,,,,,,purge\n");
    world.execute(&["run", "--allow-purge", "export.csv"]).expect_code(0);
    let export = "A1,Bob,Smit,a@example.org,,,\nB1,Cor,Smit,b@example.org,,,\n";
    world.run(export).expect_code(1).expect_outcomes("1 created, 1 rejected");
    world.run(export).expect_code(1).expect_outcomes("1 unchanged, 1 rejected");
    world.run_with(&["--allow-recreate"]).expect_code(0).expect_outcomes("1 created, 1 unchanged");
}

#[test]
fn permission_to_purge_can_be_withdrawn_while_a_run_is_open() {
    let world = World::with_latency_ms(40);
    world.run(&rows(60)).expect_code(0);
    let purges: String = (0..60).map(|id| format!("C{id},,,,,,purge\n")).collect();
    world.write_export(&purges);
    let allowed = ["run", "--allow-purge", "--max-purge", "60", "--concurrency", "1", "export.csv"];
    world.kill_after(8, &allowed);
    let requests = world.requests();
    world.execute(&["run", "export.csv"]).expect_code(7).expect_stderr("--fresh");
    // A request of the killed process may have been in flight.
    assert!(world.requests() <= requests + 1);
    world.execute(&["run", "--allow-purge", "--max-purge", "60", "export.csv"]).expect_code(0);
    assert!(world.state().customers.is_empty());
}

#[test]
fn a_truncated_export_is_blocked_and_a_repaired_result_file_is_not() {
    let world = World::default();
    world.run(&rows(40)).expect_code(0);
    world.run(&rows(10)).expect_code(7).expect_stderr("min_rows");
    let header = HEADER.replace('\n', ",_sync_line,_sync_code\n");
    world.file("failed.csv", format!("{header}C1,Eva,Smit,c1@example.org,,,,7,refused\n").as_bytes());
    world.execute(&["run", "--json", "failed.csv"]).expect_code(0).expect_outcomes("1 updated");
    // Nor does it become the baseline of the next night.
    world.run(&rows(10)).expect_code(7).expect_stderr("40");
}

#[test]
fn rows_that_the_api_always_refuses_keep_no_run_open() {
    let server =
        Server::new(|_, request| if request.body.contains("Bad") { refusal("No.") } else { success() });
    let world = World::with_server(&server.url());
    let bad: String = (0..8).map(|id| format!("B{id},Bad,Smit,b{id}@example.org,,,\n")).collect();
    let export = format!("{}{bad}", rows(40));
    for _ in 0..2 {
        let output = world.run(&export).expect_code(1);
        assert!(output.outcomes().ends_with("8 failed"), "{}", output.outcomes());
    }
    assert_eq!(world.status()["open_run"], serde_json::Value::Null);
}

#[test]
fn an_endless_outage_stops_the_run_and_fails_no_row() {
    let server = Server::new(|number, _| if number < 6 { success() } else { json(500, "{}") });
    let world = World::with_server(&server.url()).with_settings("patience = \"2s\"");
    world
        .run(&rows(600))
        .expect_code(3)
        .expect_stop("server_failing")
        .expect_stderr("the server has been failing")
        .expect_outcomes("6 created, 594 not_attempted");
    // The calls in flight when it began, and single trials since.
    assert!(server.requests().len() < 40, "{}", server.requests().len());
}

#[test]
fn the_next_call_of_a_customer_waits_for_a_late_one() {
    // One call is answered 504 at once and carried out later.
    let faults = omnidesk_sync::sandbox::Faults::parse("late=1,late_for=150ms").expect("faults");
    let settings = Settings { faults, faults_per_customer_max: 1, ..Settings::default() };
    let world = World::new(settings);
    let export = "A1,Ann,Smit,a@example.org,,,\nA1,Bob,Smit,,,,\nA1,Cor,Smit,,,,\n";
    world.run(export).expect_code(0);
    while world.state().counters.late_pending > 0 {
        std::thread::yield_now();
    }
    assert_eq!(customers(&world.state()), ["A1 Cor a@example.org"]);
    assert_eq!(world.state().counters.doubled, 0);
}

#[test]
fn an_export_that_changes_during_a_run_ends_the_run_in_order() {
    let world = World::with_latency_ms(20);
    world.write_export(&rows(4000));
    let mut child = world.spawn_piped(&RUN);
    world.wait_for_requests(10, &mut child);
    world.write_export(&rows(3000));
    CommandOutput::wait(child).expect_code(5).expect_stop("export_lost").outcomes();
    world.run_with(&["--rate", "20000/s", "--concurrency", "64"]).expect_code(0);
    world.assert_no_violations();
}

#[test]
fn the_report_page_needs_no_other_file_and_escapes_its_texts() {
    let world = World::with_server(&Server::new(|_, _| refusal("<script>alert()</script>")).url());
    world.run(&rows(2)).expect_code(1);
    let page = world.result_text("report.html");
    assert!(page.contains("2 of 2 rows need a person") && page.contains("failed"), "{page}");
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script"), "{page}");
    assert!(!page.contains("src=") && !page.contains("href="), "{page}");
}

#[test]
fn a_resumed_run_has_the_causes_of_its_stopped_executions() {
    let world = World::with_latency_ms(20);
    let rejected = "X1,Ann,Smit,no-address,,,\nX2,Ann,Smit,no-address,,,\n";
    world.write_export(&format!("{rejected}{}", rows(400)));
    for _ in 0..2 {
        let before = world.requests();
        let mut child = world.spawn_piped(&["run", "--json", "--concurrency", "2", "export.csv"]);
        world.wait_for_requests(before + 10, &mut child);
        send_signal(child.id(), "INT");
        CommandOutput::wait(child).expect_code(4).expect_stop("interrupted");
    }
    let output = world.execute(&RUN).expect_code(1).expect_outcomes("400 created, 2 rejected");
    let summary = output.json();
    assert_eq!(summary["before_resume"], serde_json::json!({}));
    assert_eq!(
        (&summary["causes"][0]["count"], &summary["causes"][0]["code"]),
        (&2.into(), &"bad_email".into())
    );
    // It is no news in the next night.
    world.write_export(&format!("{rejected}{}", rows(401)));
    let night = world.execute(&["run", "--quiet", "export.csv"]).expect_code(1);
    assert!(night.stderr.ends_with("; 2 rejected as in the last run\n"), "{}", night.stderr);
}

/// A killed execution leaves no causes; the files hold all of them.
#[test]
fn a_resumed_run_reports_the_problems_before_the_resume() {
    let world = World::with_latency_ms(20);
    let rejected = "X1,Ann,Smit,no-address,,,\nX2,Ann,Smit,no-address,,,\n";
    world.write_export(&format!("{rejected}{}", rows(80)));
    world.kill_after(10, &["run", "--concurrency", "2", "export.csv"]);
    let output = world.execute(&RUN).expect_code(1).expect_outcomes("80 created, 2 rejected");
    assert_eq!(output.json()["before_resume"], serde_json::json!({ "rejected": 2 }));
    assert!(output.stderr.contains("2 rejected before the run was resumed"), "{}", output.stderr);
    let page = world.result_text("report.html");
    assert!(page.contains("2 rejected before the run was resumed"));
}
