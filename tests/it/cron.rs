//! Unattended runs: time windows, quiet output, metrics, notifications, and
//! exports that are still being written.

use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use crate::server::{Ending, Server, json, no_answer, success, with_headers};
use crate::world::{CommandOutput, HEADER, KEY, RUN, World, rows};

#[test]
fn a_plan_shows_how_much_fits_into_a_window_and_a_run_stops_in_order_at_its_end() {
    let world = World::default();
    world.write_export(&rows(400));
    let narrow = ["--rate", "20/s", "--max-duration", "2s"];
    let plan =
        world.execute(&[&["plan", "--json", "export.csv"], &narrow[..]].concat()).expect_code(0).json();
    let window = &plan["window"];
    assert_eq!((&window["calls_total"], &window["rows_total"]), (&400.into(), &400.into()), "{window}");
    assert!((1..=28).contains(&window["calls"].as_u64().expect("calls")), "{window}");
    assert!(window["windows"].as_u64().expect("windows") >= 15, "{window}");

    let output = world
        .run_with(&narrow)
        .expect_code(4)
        .expect_stop("window_closed")
        .expect_stderr("of 400 calls")
        .expect_stderr("such windows");
    let summary = output.json();
    assert_eq!(summary["creates_in_doubt"], 0);
    assert!(summary["outcomes"]["created"].as_u64() <= Some(42), "{summary}");
    output.outcomes();
    world.execute(&RUN).expect_code(0).expect_outcomes("400 created");
    assert_eq!(world.state().counters.create, 400);
    world.assert_no_violations();
}

#[test]
fn calls_that_overrun_the_window_are_aborted() {
    let server = Server::new(|_, _| no_answer(Ending::Hang));
    let world = World::with_server(&server.url());
    world.edit_config("timeout = \"5s\"", "timeout = \"10m\"");
    world.write_export(&rows(3));
    let start = Instant::now();
    world
        .run_with(&["--max-duration", "1s"])
        .expect_code(4)
        .expect_stop("window_closed")
        .expect_outcomes("3 not_attempted");
    assert!(start.elapsed() < Duration::from_secs(300), "{:?}", start.elapsed());
}

#[test]
fn quiet_prints_one_line_and_the_problems() {
    let world = World::default();
    world.write_export(&rows(1));
    world
        .execute(&["run", "--quiet", "export.csv"])
        .expect_code(0)
        .expect_stderr("new checkpoint /")
        .expect_stderr("omnidesk-sync.checkpoint: every customer counts as new");
    world.write_export(&rows(2));
    let output = world.execute(&["run", "--quiet", "export.csv"]).expect_code(0);
    assert_eq!(output.stdout, "");
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    assert!(
        output.stderr.starts_with("export.csv: 2 rows, 1 call: 1 created, 1 unchanged, "),
        "{}",
        output.stderr
    );

    world.write_export(&format!("{}C9,Ann,Smit,nobody,,,sync\n", rows(2)));
    world
        .execute(&["run", "--quiet", "export.csv"])
        .expect_code(1)
        .expect_stderr("1 rejected")
        .expect_stderr("(bad_email)")
        .expect_stderr("line 4")
        .expect_stderr("rejected.csv");
    // What was wrong last night is no news, another reason and one more row are.
    let same = format!("{}C9,Ann,Smit,nobody,,,sync\n", rows(3));
    world.write_export(&same);
    let output = world.execute(&["run", "--quiet", "export.csv"]).expect_code(1);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    assert!(output.stderr.ends_with("; 1 rejected as in the last run\n"), "{}", output.stderr);
    world.write_export(&format!("{same},Ann,Smit,,,,\n"));
    let output = world.execute(&["run", "--quiet", "export.csv"]).expect_code(1);
    assert!(
        output.stderr.contains("; 1 rejected as in the last run\n1 rejected (blank_id)"),
        "{}",
        output.stderr
    );
    assert!(!output.stderr.contains("bad_email"), "{}", output.stderr);
    let next =
        output.stderr.lines().last().expect("a line").strip_prefix("next: fix the rows").expect("a hint");
    let (_, command) = next.split_once(", then run the file: ").expect("a command");
    CommandOutput::read(world.command(&[]).args(command.split(' ').skip(1)))
        .expect_code(1)
        .expect_stderr("1 rejected (bad_email)");
    for others in [format!("{same}C10,Ann,Smit,nobody,,,\n"), same.replace(",nobody,", ",somebody,")] {
        world.write_export(&others);
        world
            .execute(&["run", "--quiet", "export.csv"])
            .expect_code(1)
            .expect_stderr(" rejected (bad_email)");
    }
    world.write_export("C1,,,,,,purge\n");
    world.execute(&["run", "--quiet", "export.csv"]).expect_code(7).expect_stderr("allow_purge");
}

#[test]
fn without_a_terminal_progress_is_printed_even_while_no_row_is_done() {
    let world = World::with_latency_ms(100).with_settings("[report]\nheartbeat = \"20ms\"");
    world.write_export(&rows(20));
    let output = world.execute(&["run", "--quiet", "export.csv"]).expect_code(0);
    assert_eq!(output.stderr.lines().count(), 2, "{}", output.stderr);
    world.write_export(&rows(20).replace("Ann", "Eva"));
    world
        .execute(&["run", "export.csv"])
        .expect_code(0)
        .expect_stderr("0 of 20 calls, none in the last")
        .expect_stderr("/s of 20000/s, ");
}

/// The samples of a file in the textfile format of Prometheus, which must be valid.
fn samples(text: &str) -> Vec<(String, f64)> {
    let mut samples: Vec<(String, f64)> = Vec::new();
    let (mut help_name, mut type_name) = (String::new(), String::new());
    assert!(text.ends_with('\n'), "{text}");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help_name = rest.split(' ').next().expect("a name").to_owned();
            assert!(
                !text.split(line).next().expect("before").contains(&format!("# HELP {help_name} ")),
                "{line}"
            );
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            type_name = rest.strip_suffix(" gauge").expect("a gauge").to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let name = series.split('{').next().expect("a name");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!((name, name), (help_name.as_str(), type_name.as_str()));
            assert!(series.contains("{sync=\"nightly\"") && series.ends_with('}'), "{series}");
            assert!(samples.iter().all(|(other, _)| other != series), "{series} occurs twice");
            samples.push((series.to_owned(), value.parse().expect("a number")));
        }
    }
    samples
}

#[test]
fn metrics_are_valid_and_include_failed_runs() {
    let world = World::default();
    let run = ["run", "--quiet", "--metrics-file", "nightly.prom", "export.csv"];
    let metric = |name: &str, label: &str| {
        let series = format!("omnidesk_sync_{name}{{sync=\"nightly\"{label}}}");
        let samples = samples(&world.read("nightly.prom"));
        samples.into_iter().find(|(name, _)| *name == series).map(|(_, value)| value)
    };
    world.write_export(&rows(3));
    world.execute(&run).expect_code(0);
    assert_eq!(metric("rows", ",outcome=\"created\""), Some(3.0));
    assert_eq!(metric("calls", ",call=\"create\""), Some(3.0));
    assert_eq!((metric("exit_code", ""), metric("requests", "")), (Some(0.0), Some(3.0)));
    let success = metric("last_success_timestamp_seconds", "").expect("a time");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time").as_secs_f64();
    assert!((now - 600.0..=now).contains(&success), "{success}");
    let mode = std::fs::metadata(world.path("nightly.prom")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o004, 0o004, "the collector is another user");

    // No run, and a configuration that cannot be read.
    world.write_export("C1,,,,,,purge\n");
    world.execute(&run).expect_code(7);
    assert_eq!((metric("exit_code", ""), metric("rows", ",outcome=\"created\"")), (Some(7.0), None));
    assert_eq!(metric("last_success_timestamp_seconds", ""), Some(success));
    world.file("omnidesk-sync.toml", b"[omnidesk\n");
    world.execute(&run).expect_code(2);
    assert_eq!(metric("exit_code", ""), Some(2.0));
    assert_eq!(metric("last_success_timestamp_seconds", ""), Some(success));
}

#[test]
fn a_metrics_file_that_cannot_be_written_is_an_error_before_the_run() {
    let world = World::default();
    world.write_export(&rows(3));
    world
        .execute(&["run", "--metrics-file", "nowhere/nightly.prom", "export.csv"])
        .expect_code(2)
        .expect_stderr("nowhere/nightly.prom");
    assert_eq!(world.requests(), 0);
}

fn notify_settings(base: &str, more: &str) -> String {
    format!(
        "[notify]\nstart = \"{base}/s3cret/start\"\nsuccess = \"{base}/s3cret\"\nfailure = \"{base}/s3cret/fail\"\n{more}\n"
    )
}

#[test]
fn a_monitor_is_notified_of_start_success_and_failure_without_personal_data() {
    let monitor = Server::new(|_, _| json(200, "OK"));
    let world = World::default().with_settings(&notify_settings(&monitor.url(), ""));
    world.write_export(&rows(2));
    world.execute(&RUN).expect_code(0);
    assert_eq!(monitor.lines(), ["POST /s3cret/start", "POST /s3cret"]);
    let body = &monitor.requests()[1].body;
    assert!(body.starts_with("exit 0: 2 rows, 2 calls: 2 created, "), "{body}");

    world.write_export(&format!("{}C9,Ann,Smit,nobody,,,sync\n", rows(2)));
    world.execute(&RUN).expect_code(1);
    world.write_export("C1,,,,,,purge\n");
    world.execute(&RUN).expect_code(7);
    assert_eq!(
        monitor.lines()[2..],
        ["POST /s3cret/start", "POST /s3cret/fail", "POST /s3cret/start", "POST /s3cret/fail"]
    );
    let bodies = [monitor.requests()[3].body.clone(), monitor.requests()[5].body.clone()];
    assert!(bodies[0].starts_with("exit 1: 3 rows, 0 calls: "), "{bodies:?}");
    assert!(bodies[1].starts_with("exit 7: a guard blocked"), "{bodies:?}");
    for request in monitor.requests() {
        for word in [KEY, "Smit", "@example", "nobody", "C9", "export", "apikey"] {
            assert!(!request.head.contains(word) && !request.body.contains(word), "{word}: {request:?}");
        }
    }
    world.execute(&["run", "--sandbox", "export.csv"]).expect_code(7);
    world.execute(&["plan", "export.csv"]).expect_code(0);
    assert_eq!(monitor.lines().len(), 6, "a rehearsal notifies nobody");
}

#[test]
fn the_success_codes_and_the_method_of_a_notification_can_be_set() {
    let monitor = Server::new(|_, _| json(200, "OK"));
    let more = "method = \"get\"\nsuccess_codes = [0, 7]";
    let world = World::default().with_settings(&notify_settings(&monitor.url(), more));
    world.write_export("C1,,,,,,purge\n");
    world.execute(&RUN).expect_code(7);
    assert!(monitor.requests().iter().all(|request| request.body.is_empty()));
    assert_eq!(monitor.lines(), ["GET /s3cret/start", "GET /s3cret"]);
}

/// The stderr and the duration of a run with this monitor.
fn run_with_monitor(url: &str) -> (String, Duration) {
    let world = World::default().with_settings(&notify_settings(url, ""));
    world.write_export(&rows(1));
    let start = Instant::now();
    let output = world.execute(&["run", "--quiet", "export.csv"]).expect_code(0);
    assert_eq!(world.state().counters.create, 1);
    assert!(!output.stderr.contains("s3cret"), "{}", output.stderr);
    (output.stderr, start.elapsed())
}

#[test]
fn a_broken_monitor_fails_no_run() {
    let (stderr, _) = run_with_monitor("http://127.0.0.1:1");
    assert!(stderr.contains("the success notification was not delivered: 127.0.0.1: "), "{stderr}");

    let elsewhere = Server::new(|_, _| json(200, "OK"));
    let location = format!("Location: {}/\r\n", elsewhere.url());
    let (stderr, _) = run_with_monitor(&Server::new(move |_, _| with_headers(302, &location, "")).url());
    assert!(stderr.contains("it answered 302") && elsewhere.requests().is_empty(), "{stderr}");

    let flaky = Server::new(|number, _| if number < 2 { json(503, "") } else { success() });
    let (stderr, _) = run_with_monitor(&flaky.url());
    assert_eq!(stderr.lines().count(), 2, "a new checkpoint, and the end: {stderr}");

    let hanging = Server::new(|_, _| no_answer(Ending::Hang));
    let (stderr, duration) = run_with_monitor(&hanging.url());
    assert!(stderr.contains("no answer within 3 s"), "{stderr}");
    // The notifications of start and success take 10 s each at most.
    assert!(duration < Duration::from_secs(60), "{duration:?}");
}

#[test]
fn old_run_folders_are_removed_and_other_folders_stay() {
    let world = World::default().with_settings("[report]\nkeep_runs = 2");
    std::fs::create_dir_all(world.path("runs/notes")).expect("a folder");
    let folders = || std::fs::read_dir(world.path("runs")).expect("runs").count();
    for night in 0..4 {
        world.write_export(&rows(2).replace("Ann", &"Eva".repeat(night + 1)));
        world.execute(&RUN).expect_code(0);
        assert_eq!(folders(), 1 + (night + 1).min(2));
    }
    world.write_export(&rows(3));
    world.execute(&["run", "--sandbox", "export.csv"]).expect_code(0);
    assert_eq!(folders(), 4, "a rehearsal removes nothing");
}

#[test]
fn an_export_that_is_still_being_written_is_refused_before_the_first_call() {
    let world = World::default();
    world.edit_config("min_age = \"0s\"", "min_age = \"3s\"");
    world.write_export(&rows(3));
    let mut child =
        world.command(&["run", "export.csv"]).stderr(Stdio::piped()).spawn().expect("the program");
    let lines = BufReader::new(child.stderr.take().expect("stderr")).lines();
    let mut lines = lines.map(|line| line.expect("a line"));
    assert!(lines.any(|line| line.contains("was written just now; checking it again")));
    let mut file = File::options().append(true).open(world.path("export.csv")).expect("the export");
    file.write_all(b"C7,Ann,Smit,c7@example.org,,,sync\n").expect("written");
    let stderr: String = lines.collect();
    assert_eq!(child.wait().expect("an end").code(), Some(2), "{stderr}");
    assert!(stderr.contains("changed while it was being read"), "{stderr}");
    assert_eq!(world.requests(), 0);

    // An hour later it is not checked again.
    file.set_modified(SystemTime::now() - Duration::from_secs(3600)).expect("an older time");
    let output = world.execute(&["run", "export.csv"]).expect_code(0);
    assert!(!output.stderr.contains("checking it again"), "{}", output.stderr);
    assert_eq!(world.state().counters.create, 4);
}

#[test]
fn an_export_that_breaks_off_is_refused_and_one_without_a_final_line_end_is_not() {
    let world = World::default();
    let rows = rows(3).replace(",,,\n", ",,,sync\n");
    for (name, cut) in [
        ("export.csv", format!("{HEADER}{rows}C9,Ann,Smi")),
        ("export.csv", format!("{HEADER}{rows}C9,Ann,\"Smit")),
        ("export.jsonl", "{\"id\":\"C1\",\"op\":\"sync\"}\n{\"id\":\"C2\",\"fir".to_owned()),
    ] {
        world.file(name, cut.as_bytes());
        for command in ["run", "plan"] {
            let output = world.execute(&[command, name]).expect_code(2);
            assert!(output.stderr.contains("breaks off"), "{command} {cut}: {}", output.stderr);
        }
    }
    assert_eq!(world.requests(), 0);
    world.write_export(rows.trim_end());
    world.execute(&RUN).expect_code(0).expect_outcomes("3 created");
    // With --limit the end of the export does not matter.
    world.file("part.csv", format!("{HEADER}{rows}C9,Ann").as_bytes());
    world.execute(&["run", "--limit", "2", "part.csv"]).expect_code(0);
}

#[test]
fn the_key_can_be_a_credential_of_the_service_manager() {
    let server = Server::new(|_, _| success());
    let world = World::with_server(&server.url());
    world.edit_config("[omnidesk]\n", "[omnidesk]\napi_key = { credential = \"omnidesk-api-key\" }\n");
    world.write_export(&rows(1));
    CommandOutput::read(world.command(&RUN).env_remove("CREDENTIALS_DIRECTORY"))
        .expect_code(2)
        .expect_stderr("LoadCredential=omnidesk-api-key");
    world.file("omnidesk-api-key", format!("{KEY}\n").as_bytes());
    let mut command = world.command(&RUN);
    command.env("CREDENTIALS_DIRECTORY", world.path("")).env_remove("OMNIDESK_API_KEY");
    CommandOutput::read(&mut command).expect_code(0);
    assert!(server.requests()[0].head.contains(KEY));
}

#[test]
fn a_window_that_closes_during_the_first_pass_ends_the_run_before_the_first_call() {
    let world = World::default();
    world.write_export("A1,Ann,Smit,a@example.org,,,\n");
    world
        .execute(&["run", "--max-duration", "1ms", "export.csv"])
        .expect_code(4)
        .expect_stderr("the time window closed before the first call");
    assert_eq!(world.requests(), 0);
    world.execute(&["run", "export.csv"]).expect_code(0);
}
