//! Signals and `status` while a run executes, and a rate by the clock.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::world::{CommandOutput, World, kill, rows, send_signal};

const ROWS: usize = 400;

/// A run that takes a while, after its first calls.
fn started(world: &World, arguments: &[&str]) -> Child {
    world.write_export(&rows(ROWS));
    let mut child = world.spawn_piped(arguments);
    world.wait_for_requests(20, &mut child);
    child
}

/// What `status` shows of the running process, as soon as it shows calls.
fn running(world: &World) -> Value {
    loop {
        let running = world.status()["running"].take();
        if running["rows_done"].as_u64().is_some_and(|rows| rows > 0) {
            return running;
        }
    }
}

#[test]
fn sigusr1_shows_the_progress_and_the_run_goes_on() {
    let world = World::with_latency_ms(20);
    world.write_export(&rows(ROWS));
    let mut child = world.spawn_piped(&["run", "--quiet", "export.csv"]);
    world.wait_for_requests(20, &mut child);
    send_signal(child.id(), "USR1");
    let lines = BufReader::new(child.stderr.take().expect("stderr")).lines();
    let is_news = |line: &str| line.starts_with("new checkpoint ");
    let mut lines = lines.filter(|line| !line.as_ref().is_ok_and(|line| is_news(line)));
    let line = lines.next().expect("a line").expect("text");
    assert!(line.contains(&format!(" of {ROWS} calls, ")), "{line}");
    let rest: Vec<String> = lines.map(|line| line.expect("text")).collect();
    assert!(rest.len() == 1 && rest[0].contains("400 created"), "{rest:?}");
    assert_eq!(child.wait().expect("an end").code(), Some(0));
}

#[test]
fn a_hangup_drains_the_run_and_is_never_the_second_signal() {
    let world = World::with_latency_ms(20);
    let mut child = started(&world, &["run", "--json", "export.csv"]);
    // The terminal is closed: nobody reads what the run reports.
    drop(child.stderr.take());
    for signal in ["HUP", "HUP", "HUP"] {
        send_signal(child.id(), signal);
    }
    let output = CommandOutput::wait(child).expect_code(4).expect_stop("interrupted");
    assert!(!output.outcomes().contains("in_doubt"), "{}", output.stdout);
    world.execute(&["run", "export.csv"]).expect_code(0);
    assert_eq!(world.state().counters.create, ROWS as u64);
    assert_eq!(world.state().counters.doubled, 0);
}

#[test]
fn a_run_under_nohup_ignores_a_hangup() {
    let world = World::with_latency_ms(20);
    world.write_export(&rows(ROWS));
    let program = env!("CARGO_BIN_EXE_omnidesk-sync");
    let mut command = std::process::Command::new("nohup");
    command.args([program, "run", "--json", "export.csv"]).current_dir(world.path(""));
    command.env("OMNIDESK_API_KEY", crate::world::KEY).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("nohup");
    world.wait_for_requests(20, &mut child);
    send_signal(child.id(), "HUP");
    CommandOutput::wait(child).expect_code(0).expect_outcomes("400 created");
}

#[test]
fn status_shows_the_running_process_until_it_ends_or_is_killed() {
    let world = World::with_latency_ms(20);
    let mut child = started(&world, &["run", "export.csv"]);
    let status = running(&world);
    assert_eq!(
        (status["pid"].as_u64(), status["rows"].as_u64()),
        (Some(child.id().into()), Some(ROWS as u64))
    );
    assert!(status["seconds_left"].is_u64() && status["rate"] == "20000/s", "{status}");
    let text = world.execute(&["status"]).stdout;
    assert!(text.contains(&format!("running as process {} since ", child.id())), "{text}");
    kill(&mut child);
    assert_eq!(world.status()["running"], Value::Null);
    world.execute(&["run", "export.csv"]).expect_code(0);
    assert_eq!(world.status()["running"], Value::Null);
    assert!(!world.execute(&["status"]).stdout.contains("running"));
}

#[test]
fn status_shows_where_a_killed_run_is_what_is_in_doubt_and_the_line_that_resumes_it() {
    let world = World::with_latency_ms(20);
    let mut child = started(&world, &["run", "--fresh", "--min-rows", "1", "export.csv"]);
    kill(&mut child);
    let open = world.status()["open_run"].take();
    let doubts = open["rows_in_doubt"].as_array().expect("a list").len();
    let text = world.execute(&["status"]).stdout;
    let command = format!("{} run --min-rows 1 export.csv", env!("CARGO_BIN_EXE_omnidesk-sync"));
    for part in [
        "open: run 1, begun ",
        " ago), killed or cut off: no process runs it\n",
        " of 400 rows settled (",
        " of 400 calls made; the rest takes ",
        &format!("to resume it: {command}\n"),
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert_eq!(text.contains("no answer: row"), doubts > 0, "{doubts}: {text}");
    assert_eq!(open["command"], command);
    let mut shell = world.command(&[]);
    let arguments = command.split(' ').skip(1);
    CommandOutput::read(shell.args(arguments)).expect_code(0);
    assert_eq!(world.state().counters.doubled, 0);
    assert!(!world.execute(&["status"]).stdout.contains("open: "));
}

#[test]
fn a_row_in_doubt_is_shown_at_the_run_that_has_it() {
    let world = World::with_latency_ms(20);
    kill(&mut started(&world, &["run", "export.csv"]));
    let mut arguments = vec!["run", "export.csv"];
    let ids: Vec<String> = (300..400).map(|id| format!("C{id}")).collect();
    ids.iter().for_each(|id| arguments.extend(["--only", id]));
    let before = world.requests();
    let mut child = world.spawn_piped(&arguments);
    world.wait_for_requests(before + 20, &mut child);
    kill(&mut child);
    let status = world.status();
    let rows = |run: &Value| -> Vec<u64> {
        run["rows_in_doubt"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
    };
    let (whole, part) = (rows(&status["open_run"]), rows(&status["open_parts"][0]));
    assert!(whole.iter().any(|row| *row <= 300), "{status}");
    assert!(!part.is_empty() && part.iter().all(|row| *row > 300), "{status}");
}

#[test]
fn a_command_that_names_customers_is_not_stored() {
    let world = World::with_latency_ms(20);
    world.write_export(&rows(ROWS));
    let mut arguments = vec!["run", "export.csv"];
    let ids: Vec<String> = (100..200).map(|id| format!("C{id}")).collect();
    ids.iter().for_each(|id| arguments.extend(["--only", id]));
    let mut child = world.spawn_piped(&arguments);
    world.wait_for_requests(20, &mut child);
    kill(&mut child);
    let text = world.execute(&["status"]).stdout;
    assert!(text.contains("to resume it: the same command line"), "{text}");
    assert!(!text.contains("C1"), "{text}");
}

/// The sandbox is killed with the run, and is there again with all that it had answered.
#[test]
fn a_killed_rehearsal_is_resumed_in_its_own_sandbox() {
    let world = World::default();
    world.write_export(&rows(ROWS));
    let rehearsal = ["run", "--sandbox", "--json", "--rate", "200/s", "export.csv"];
    for _ in 0..2 {
        let before = world.status()["open_run"]["settled"].as_u64().unwrap_or_default();
        let mut child = world.spawn_piped(&rehearsal);
        while running(&world)["rows_done"].as_u64().unwrap_or_default() < before + 40 {}
        kill(&mut child);
    }
    let output = world.execute(&["run", "--sandbox", "--json", "--rate", "20000/s", "export.csv"]);
    let output = output.expect_code(0).expect_stderr("to begin afresh: rm omnidesk-sync.checkpoint.sandbox*");
    let outcomes = &output.json()["outcomes"];
    let made = ["created", "updated", "unchanged"].map(|outcome| outcomes[outcome].as_u64().unwrap_or(0));
    assert_eq!(made.iter().sum::<u64>(), ROWS as u64, "{outcomes}");
    // The second night of the rehearsal is one.
    let night = world.execute(&["run", "--sandbox", "--json", "export.csv"]).expect_code(0);
    assert_eq!(night.json()["requests"], 0);
}

/// All windows of a day together have one rate, whatever the time of the test.
#[test]
fn a_rate_by_the_clock_is_shown_and_kept_and_the_command_line_overrides_it() {
    let by_clock = r#"["1/h", { from = "00:00", to = "12:00", rate = "50/s" }, { from = "12:00", to = "24:00", rate = "50/s" }]"#;
    let world = World::with_latency_ms(1);
    world.edit_config("rate = \"20000/s\"", &format!("rate = {by_clock}"));
    world.write_export(&rows(100));
    let text = world.execute(&["plan", "export.csv"]).expect_code(0).stdout;
    let line = "take 2 s at 1/h, 50/s from 00:00 to 12:00, 50/s from 12:00 to 00:00";
    assert!(text.contains(line), "{text}");
    let plan = world.execute(&["plan", "--json", "--max-duration", "1s", "export.csv"]).json();
    assert_eq!((&plan["rate"][0], &plan["rate"][1]["rate"]), (&"1/h".into(), &"50/s".into()));
    let fitting = plan["window"]["calls"].as_u64().expect("a number");
    assert!((20..50).contains(&fitting), "{plan}");

    let mut child = world.spawn_piped(&["run", "--json", "export.csv"]);
    world.wait_for_requests(5, &mut child);
    assert_eq!(running(&world)["rate"], "50/s", "it never changes");
    let summary = CommandOutput::wait(child).expect_code(0).json();
    assert!(summary["seconds"].as_f64().is_some_and(|seconds| seconds > 1.8), "{summary}");
    assert_eq!(summary["pace"]["rate"], "50/s");

    let plan = world.execute(&["plan", "--full", "--json", "--rate", "7/s", "export.csv"]).json();
    assert_eq!(plan["rate"], "7/s");
    let overlap = by_clock.replace("\"12:00\", to = \"24", "\"11:00\", to = \"24");
    world.edit_config(by_clock, &overlap);
    world
        .execute(&["plan", "export.csv"])
        .expect_code(2)
        .expect_stderr("the rates 50/s from 00:00 to 12:00 and 50/s from 11:00 to 00:00 overlap");
    world.edit_config(&overlap, by_clock);
    let mut command = world.command(&["plan", "export.csv"]);
    CommandOutput::read(command.env("TZ", "Mars/Olympus")).expect_code(2).expect_stderr("Mars/Olympus");
}
