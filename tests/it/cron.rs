//! Nobody is watching: time windows, silence, figures for monitors, and an
//! export that is still being written.

use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use omnidesk_sync::sandbox::Settings;

use crate::server::{RESULT, Server, Then, json, with_headers};
use crate::world::{Ended, HEADER, KEY, MAPPING, World};

const RUN: [&str; 3] = ["run", "--json", "export.csv"];

fn rows(count: usize) -> String {
    (0..count).map(|id| format!("C{id},Ann,Smit,c{id}@example.org,,,sync\n")).collect()
}

fn export(world: &World, rows: &str) {
    world.file("export.csv", format!("{HEADER}{rows}").as_bytes());
}

/// With sections in front of the mapping.
fn with(world: World, sections: &str) -> World {
    world.with_mapping(&format!("{sections}\n{MAPPING}"), "")
}

fn replace(world: &World, from: &str, to: &str) {
    let config = world.read("omnidesk-sync.toml");
    assert!(config.contains(from), "{config}");
    world.file("omnidesk-sync.toml", config.replace(from, to).as_bytes());
}

#[test]
fn a_run_leaves_its_window_in_order_and_says_before_how_much_fits() {
    let world = World::new(Settings::default());
    export(&world, &rows(400));
    let narrow = ["--rate", "20/s", "--max-duration", "2s", "export.csv"];
    let plan = world.ends(&[&["plan", "--json"], &narrow[..]].concat()).expect(0).json();
    let window = &plan["window"];
    assert_eq!((&window["calls_total"], &window["rows_total"]), (&400.into(), &400.into()), "{window}");
    assert!((1..=28).contains(&window["calls"].as_u64().expect("calls")), "{window}");
    assert!(window["windows"].as_u64().expect("windows") >= 15, "{window}");

    let ended = world.ends(&[&["run", "--json"], &narrow[..]].concat()).expect(4);
    assert!(
        ended.stderr.contains("of 400 calls") && ended.stderr.contains("such windows"),
        "{}",
        ended.stderr
    );
    let summary = ended.json();
    assert_eq!(summary["stopped"]["reason"], "window_closed");
    assert_eq!(summary["creates_in_doubt"], 0);
    assert!(summary["outcomes"]["created"].as_u64() <= Some(42), "{summary}");
    ended.outcomes();
    assert_eq!(world.ends(&RUN).expect(0).outcomes(), "400 created");
    assert_eq!(world.state().counters.create, 400);
    assert_eq!(world.state().violations, Vec::<String>::new());
}

#[test]
fn calls_that_would_overrun_the_window_are_cut_off() {
    let server = Server::doing(|_| None, |_, _| (Vec::new(), Then::Hang));
    let world = World::at(&server.url());
    replace(&world, "timeout = \"5s\"", "timeout = \"10m\"");
    export(&world, &rows(3));
    let began = Instant::now();
    let ended = world.ends(&["run", "--json", "--max-duration", "1s", "export.csv"]).expect(4);
    assert!(began.elapsed() < Duration::from_secs(300), "{:?}", began.elapsed());
    assert_eq!(ended.json()["stopped"]["reason"], "window_closed");
    assert_eq!(ended.outcomes(), "3 not_attempted");
}

#[test]
fn quiet_is_one_line_when_all_is_well_and_says_what_is_not() {
    let world = World::new(Settings::default());
    export(&world, &rows(2));
    let well = world.ends(&["run", "--quiet", "export.csv"]).expect(0);
    assert_eq!(well.stdout, "");
    assert_eq!(well.stderr.lines().count(), 1, "{}", well.stderr);
    assert!(well.stderr.starts_with("export.csv: 2 rows, 2 calls: 2 created, "), "{}", well.stderr);

    export(&world, &format!("{}C9,Ann,Smit,nobody,,,sync\n", rows(2)));
    let trouble = world.ends(&["run", "--quiet", "export.csv"]).expect(1);
    for words in ["1 rejected", "(bad_email)", "line 4", "rejected.csv"] {
        assert!(trouble.stderr.contains(words), "{words}: {}", trouble.stderr);
    }
    export(&world, "C1,,,,,,purge\n");
    let blocked = world.ends(&["run", "--quiet", "export.csv"]).expect(7);
    assert!(blocked.stderr.contains("allow_purge"), "{}", blocked.stderr);
}

#[test]
fn without_a_terminal_there_is_a_line_now_and_then_also_while_nothing_is_done() {
    let settings = Settings { latency: Duration::from_millis(100), ..Settings::default() };
    let world = with(World::new(settings), "[report]\nheartbeat = \"20ms\"");
    export(&world, &rows(20));
    let ended = world.ends(&["run", "--quiet", "export.csv"]).expect(0);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    export(&world, &rows(20).replace("Ann", "Eva"));
    let ended = world.ends(&["run", "export.csv"]).expect(0);
    assert!(ended.stderr.contains("0 of 20 rows done, none in the last"), "{}", ended.stderr);
    assert!(ended.stderr.contains(" rows/s, "), "{}", ended.stderr);
}

/// The samples of a file in the textfile format, which must be right.
fn samples(text: &str) -> Vec<(String, f64)> {
    let mut samples: Vec<(String, f64)> = Vec::new();
    let (mut helped, mut typed) = (String::new(), String::new());
    assert!(text.ends_with('\n'), "{text}");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            helped = rest.split(' ').next().expect("a name").to_owned();
            assert!(
                !text.split(line).next().expect("before").contains(&format!("# HELP {helped} ")),
                "{line}"
            );
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            typed = rest.strip_suffix(" gauge").expect("a gauge").to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let name = series.split('{').next().expect("a name");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!((name, name), (helped.as_str(), typed.as_str()));
            assert!(series.contains("{sync=\"nightly\"") && series.ends_with('}'), "{series}");
            assert!(samples.iter().all(|(other, _)| other != series), "{series} is there twice");
            samples.push((series.to_owned(), value.parse().expect("a number")));
        }
    }
    samples
}

#[test]
fn figures_for_prometheus_are_whole_and_tell_of_failures_too() {
    let world = World::new(Settings::default());
    let run = ["run", "--quiet", "--metrics-file", "nightly.prom", "export.csv"];
    let figure = |name: &str, label: &str| {
        let found = samples(&world.read("nightly.prom")).into_iter();
        let series = format!("omnidesk_sync_{name}{{sync=\"nightly\"{label}}}");
        found.filter(|(found, _)| *found == series).map(|(_, value)| value).next()
    };
    export(&world, &rows(3));
    world.ends(&run).expect(0);
    assert_eq!(figure("rows", ",outcome=\"created\""), Some(3.0));
    assert_eq!(figure("calls", ",call=\"create\""), Some(3.0));
    assert_eq!((figure("exit_code", ""), figure("requests", "")), (Some(0.0), Some(3.0)));
    let success = figure("last_success_timestamp_seconds", "").expect("a time");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time").as_secs_f64();
    assert!((now - 600.0..=now).contains(&success), "{success}");
    let mode = std::fs::metadata(world.path("nightly.prom")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o004, 0o004, "the collector is another user");

    // No run, and a configuration that cannot be read.
    export(&world, "C1,,,,,,purge\n");
    world.ends(&run).expect(7);
    assert_eq!((figure("exit_code", ""), figure("rows", ",outcome=\"created\"")), (Some(7.0), None));
    assert_eq!(figure("last_success_timestamp_seconds", ""), Some(success));
    world.file("omnidesk-sync.toml", b"[omnidesk\n");
    world.ends(&run).expect(2);
    assert_eq!(figure("exit_code", ""), Some(2.0));
    assert_eq!(figure("last_success_timestamp_seconds", ""), Some(success));
}

#[test]
fn a_metrics_file_that_cannot_be_is_noticed_before_the_run() {
    let world = World::new(Settings::default());
    export(&world, &rows(3));
    let ended = world.ends(&["run", "--metrics-file", "nowhere/nightly.prom", "export.csv"]).expect(2);
    assert!(ended.stderr.contains("nowhere/nightly.prom"), "{}", ended.stderr);
    assert_eq!(world.state().counters.requests, 0);
}

fn notify(base: &str, more: &str) -> String {
    format!(
        "[notify]\nstart = \"{base}/s3cret/start\"\nsuccess = \"{base}/s3cret\"\nfailure = \"{base}/s3cret/fail\"\n{more}\n"
    )
}

#[test]
fn a_monitor_hears_of_start_success_and_failure_and_of_nobody() {
    let monitor = Server::new(|_, _| json(200, "OK"));
    let world = with(World::new(Settings::default()), &notify(&monitor.url(), ""));
    let heard = || monitor.requests().iter().map(|request| request.line()).collect::<Vec<_>>();
    export(&world, &rows(2));
    world.ends(&RUN).expect(0);
    assert_eq!(heard(), ["POST /s3cret/start", "POST /s3cret"]);
    let body = &monitor.requests()[1].body;
    assert!(body.starts_with("exit 0: 2 rows, 2 calls: 2 created, "), "{body}");

    export(&world, &format!("{}C9,Ann,Smit,nobody,,,sync\n", rows(2)));
    world.ends(&RUN).expect(1);
    export(&world, "C1,,,,,,purge\n");
    world.ends(&RUN).expect(7);
    assert_eq!(
        heard()[2..],
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
    world.ends(&["run", "--sandbox", "export.csv"]).expect(7);
    world.ends(&["plan", "export.csv"]).expect(0);
    assert_eq!(heard().len(), 6, "a rehearsal is nobody's business");
}

#[test]
fn what_counts_as_a_success_and_how_it_is_said_can_be_set() {
    let monitor = Server::new(|_, _| json(200, "OK"));
    let more = "method = \"get\"\nsuccess_codes = [0, 7]";
    let world = with(World::new(Settings::default()), &notify(&monitor.url(), more));
    export(&world, "C1,,,,,,purge\n");
    world.ends(&RUN).expect(7);
    let heard: Vec<String> =
        monitor.requests().iter().map(|request| request.line() + &request.body).collect();
    assert_eq!(heard, ["GET /s3cret/start", "GET /s3cret"]);
}

/// What a run of one row says with such a monitor, and how long it takes.
fn with_monitor(url: &str) -> (String, Duration) {
    let world = with(World::new(Settings::default()), &notify(url, ""));
    export(&world, &rows(1));
    let began = Instant::now();
    let ended = world.ends(&["run", "--quiet", "export.csv"]).expect(0);
    assert_eq!(world.state().counters.create, 1);
    assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    (ended.stderr, began.elapsed())
}

#[test]
fn a_monitor_that_is_down_or_confused_or_hangs_fails_no_run() {
    let (said, _) = with_monitor("http://127.0.0.1:1");
    assert!(said.contains("the success notification was not delivered: 127.0.0.1: "), "{said}");

    let elsewhere = Server::new(|_, _| json(200, "OK"));
    let location = format!("Location: {}/\r\n", elsewhere.url());
    let (said, _) = with_monitor(&Server::new(move |_, _| with_headers(302, &location, "")).url());
    assert!(said.contains("it answered 302") && elsewhere.requests().is_empty(), "{said}");

    let tired = Server::new(|number, _| if number < 2 { json(503, "") } else { json(200, RESULT) });
    let (said, _) = with_monitor(&tired.url());
    assert_eq!(said.lines().count(), 1, "{said}");

    let hanging = Server::doing(|_| None, |_, _| (Vec::new(), Then::Hang));
    let (said, took) = with_monitor(&hanging.url());
    assert!(said.contains("no answer within 3 s"), "{said}");
    // The start, which is under way beside the run, and the success: 10 s each at most.
    assert!(took < Duration::from_secs(60), "{took:?}");
}

#[test]
fn old_runs_go_and_what_is_not_ours_stays() {
    let world = with(World::new(Settings::default()), "[report]\nkeep_runs = 2");
    std::fs::create_dir_all(world.path("runs/notes")).expect("a folder");
    let folders = || std::fs::read_dir(world.path("runs")).expect("runs").count();
    for night in 0..4 {
        export(&world, &rows(2).replace("Ann", &"Eva".repeat(night + 1)));
        world.ends(&RUN).expect(0);
        assert_eq!(folders(), 1 + (night + 1).min(2));
    }
    export(&world, &rows(3));
    world.ends(&["run", "--sandbox", "export.csv"]).expect(0);
    assert_eq!(folders(), 4, "a rehearsal pushes nothing out");
}

#[test]
fn an_export_that_somebody_still_writes_is_noticed_before_the_first_call() {
    let world = World::new(Settings::default());
    replace(&world, "min_age = \"0s\"", "min_age = \"3s\"");
    export(&world, &rows(3));
    let mut child =
        world.command(&["run", "export.csv"]).stderr(Stdio::piped()).spawn().expect("the program");
    let mut said =
        BufReader::new(child.stderr.take().expect("stderr")).lines().map(|line| line.expect("a line"));
    assert!(said.any(|line| line.contains("was written just now; checking it again")));
    let mut file = File::options().append(true).open(world.path("export.csv")).expect("the export");
    file.write_all(b"C7,Ann,Smit,c7@example.org,,,sync\n").expect("written");
    let said: Vec<String> = said.collect();
    assert_eq!(child.wait().expect("an end").code(), Some(2), "{said:?}");
    assert!(said.concat().contains("changed while it was being read"), "{said:?}");
    assert_eq!(world.state().counters.requests, 0);

    // An hour later it is not looked at twice.
    file.set_modified(SystemTime::now() - Duration::from_secs(3600)).expect("an older time");
    let ended = world.ends(&["run", "export.csv"]).expect(0);
    assert!(!ended.stderr.contains("checking it again"), "{}", ended.stderr);
    assert_eq!(world.state().counters.create, 4);
}

#[test]
fn an_export_that_breaks_off_is_refused_and_one_without_a_last_line_end_is_not() {
    let world = World::new(Settings::default());
    for (name, cut) in [
        ("export.csv", format!("{HEADER}{}C9,Ann,Smi", rows(3))),
        ("export.csv", format!("{HEADER}{}C9,Ann,\"Smit", rows(3))),
        ("export.jsonl", "{\"id\":\"C1\",\"op\":\"sync\"}\n{\"id\":\"C2\",\"fir".to_owned()),
    ] {
        world.file(name, cut.as_bytes());
        for command in ["run", "plan"] {
            let ended = world.ends(&[command, name]).expect(2);
            assert!(ended.stderr.contains("breaks off"), "{command} {cut}: {}", ended.stderr);
        }
    }
    assert_eq!(world.state().counters.requests, 0);
    export(&world, rows(3).trim_end());
    assert_eq!(world.ends(&RUN).expect(0).outcomes(), "3 created");
    // Only the first rows are wanted: how it ends is nobody's business.
    world.file("part.csv", format!("{HEADER}{}C9,Ann", rows(3)).as_bytes());
    world.ends(&["run", "--limit", "2", "part.csv"]).expect(0);
}

#[test]
fn the_key_can_be_a_credential_of_the_service_manager() {
    let server = Server::new(|_, _| json(200, RESULT));
    let world = World::at(&server.url());
    replace(&world, "[omnidesk]\n", "[omnidesk]\napi_key = { credential = \"omnidesk-api-key\" }\n");
    export(&world, &rows(1));
    let refused = world.command(&RUN).env_remove("CREDENTIALS_DIRECTORY").output().expect("the program");
    let refused = Ended::of(refused).expect(2);
    assert!(refused.stderr.contains("LoadCredential=omnidesk-api-key"), "{}", refused.stderr);
    world.file("omnidesk-api-key", format!("{KEY}\n").as_bytes());
    let run = world
        .command(&RUN)
        .env("CREDENTIALS_DIRECTORY", world.path(""))
        .env_remove("OMNIDESK_API_KEY")
        .output();
    Ended::of(run.expect("the program")).expect(0);
    assert!(server.requests()[0].head.contains(KEY));
}

#[test]
fn a_window_that_closes_while_the_export_is_read_is_left_before_the_first_call() {
    let world = World::new(Settings::default());
    world.file("export.csv", format!("{HEADER}A1,Ann,Smit,a@example.org,,,\n").as_bytes());
    let ended = world.ends(&["run", "--max-duration", "1ms", "export.csv"]).expect(4);
    assert!(ended.stderr.contains("the time window closed before the first call"), "{}", ended.stderr);
    assert_eq!(world.state().counters.requests, 0);
    world.ends(&["run", "export.csv"]).expect(0);
}
