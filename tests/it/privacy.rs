//! The key and personal data: where they must not appear, who may read the files
//! with them, and that nobody can redirect these files.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use omnidesk_sync::sandbox::{Faults, Settings};

use crate::server::{Server, json, refusal};
use crate::world::{CommandOutput, HEADER, KEY, World, kill};

const RUN: [&str; 6] = ["run", "--json", "-vv", "--metrics-file", "metrics.prom", "export.csv"];

fn rows(count: usize) -> String {
    let rows = (0..count).map(|id| format!("ID-47{id:02},Wilhelmina,Achternaam,w{id}@example.org,,,\n"));
    let rejected = "ID-4711,Wilhelmina,Achternaam,achternaam.at.example,,06-12345678,\n";
    format!("{rejected}{}", rows.collect::<String>())
}

fn slow_world(count: usize) -> World {
    let world = World::with_latency_ms(10);
    world.write_export(&rows(count));
    world
}

/// Starts a run and kills it during its calls. Returns the folder of the run.
fn kill_run(world: &World) -> PathBuf {
    let mut child = world.spawn(&RUN);
    // After this many lines the checkpoint knows the file.
    let lines = |file: Vec<u8>| file.iter().filter(|byte| **byte == b'\n').count();
    while world.result_in("runs", "outcomes.csv").is_none_or(|file| lines(file) < 15) {
        assert!(child.try_wait().expect("a child").is_none(), "the program has ended");
        std::thread::yield_now();
    }
    kill(&mut child);
    let runs = std::fs::read_dir(world.path("runs")).expect("runs");
    runs.map(|run| run.expect("a run").path()).max().expect("a run")
}

fn paths_below(folder: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            paths.extend(paths_below(&path));
        }
        paths.push(path);
    }
    paths
}

#[test]
fn a_symlink_at_a_result_path_is_not_followed() {
    let world = slow_world(60);
    std::fs::create_dir(world.path("runs")).expect("runs");
    let folder = kill_run(&world);
    let victims = ["one", "two", "three", "four"].map(|name| world.file(name, b"precious"));
    let assert_untouched = || {
        for victim in &victims {
            assert_eq!(std::fs::read(victim).expect("a victim"), b"precious", "{}", victim.display());
        }
    };
    symlink(&victims[0], folder.join("summary.json")).expect("a link");
    symlink(&victims[1], world.path("metrics.prom")).expect("a link");
    symlink(&victims[2], folder.join("failed.csv")).expect("a link");
    let (outcomes, moved) = (folder.join("outcomes.csv"), world.path("moved"));
    std::fs::rename(&outcomes, &moved).expect("renamed");
    symlink(&victims[3], &outcomes).expect("a link");

    world.execute(&RUN).expect_code(5).expect_stderr("outcomes.csv");
    assert_untouched();
    std::fs::rename(&moved, &outcomes).expect("renamed");
    world.execute(&RUN).expect_code(1).expect_outcomes("60 created, 1 rejected");
    assert_untouched();
    for own in [folder.join("summary.json"), world.path("metrics.prom")] {
        assert!(own.symlink_metadata().expect("there").is_file(), "{}", own.display());
    }
}

#[test]
fn a_symlink_in_place_of_a_file_with_rows_is_not_followed() {
    let world = slow_world(60);
    std::fs::create_dir(world.path("runs")).expect("runs");
    let folder = kill_run(&world);
    let victim = world.file("victim", b"precious");
    let rejected = folder.join("rejected.csv");
    std::fs::remove_file(&rejected).expect("removed");
    symlink(&victim, &rejected).expect("a link");
    world.execute(&RUN).expect_code(5).expect_stderr("rejected.csv");
    assert_eq!(std::fs::read(&victim).expect("the victim"), b"precious");
}

#[test]
fn only_the_owner_can_read_the_files_whatever_the_umask() {
    let world = slow_world(40);
    let with_open_umask = |arguments: &[&str]| {
        let plain = world.command(arguments);
        let mut command = Command::new("sh");
        command.args(["-c", "umask 0; exec \"$0\" \"$@\""]).arg(plain.get_program()).args(arguments);
        command.current_dir(world.path("")).env("OMNIDESK_API_KEY", KEY);
        command
    };
    let is_written = |path: &Path| {
        let name = path.display().to_string();
        !name.ends_with(".toml") && !name.ends_with("export.csv")
    };
    let check = || {
        let found: Vec<PathBuf> =
            paths_below(&world.path("")).into_iter().filter(|path| is_written(path)).collect();
        for path in &found {
            let mode = path.metadata().expect("metadata").permissions().mode() & 0o777;
            let expected = match (path.is_dir(), path.extension()) {
                (true, _) => 0o700,
                // The collector of Prometheus is another user.
                (_, Some(ending)) if ending == "prom" => 0o644,
                _ => 0o600,
            };
            assert_eq!(mode, expected, "{}", path.display());
        }
        found.len()
    };
    let mut child = with_open_umask(&RUN).spawn().expect("the program");
    world.wait_for_requests(15, &mut child);
    kill(&mut child);
    // The checkpoint, its log and index, the lock, the folders and a result file.
    assert!(check() >= 7, "{:?}", paths_below(&world.path("")));
    CommandOutput::read(&mut with_open_umask(&RUN)).expect_code(1);
    check();
}

#[test]
fn the_terminal_gets_no_control_character_and_no_endless_value() {
    let world = World::default();
    let digits = "7".repeat(100_000);
    let name = "\u{1b}]0;title\u{7}\u{202e}.csv";
    world.file(
        name,
        format!("{HEADER}{digits},Ann,Smit,\u{9b}2J,,,\nA1,\u{1b}[31mAnn,Smit,\u{1b}c,,,\n").as_bytes(),
    );
    for arguments in
        [&["plan", name][..], &["run", name], &["run", "--json", "-vv", name], &["plan", "no\u{1b}[2J"]]
    {
        let output = world.execute(arguments);
        let shown = format!("{}{}", output.stdout, output.stderr);
        assert!(shown.contains("\\u001b"), "{shown}");
        let is_obeyed = |letter: char| letter.is_control() && letter != '\n' || letter == '\u{202e}';
        assert!(!shown.contains(is_obeyed) && shown.len() < 10_000, "{} bytes: {shown:?}", shown.len());
    }
}

/// A person opens result files with a spreadsheet, which would carry out formulas.
#[test]
fn no_column_of_a_result_file_is_a_formula() {
    let world = World::default();
    world.write_export("A1,Ann,Smit,=1+2,,,\n+1,Ann,Smit,,,,purge\n");
    world.execute(&["run", "--allow-purge", "--max-purge", "9", "export.csv"]).expect_code(1);
    let rejected = world.result_text("rejected.csv");
    assert!(rejected.contains(",bad_email,email,'=1+2,"), "{rejected}");
    let outcomes = world.result_text("outcomes.csv");
    assert!(outcomes.ends_with(",2,'+1\n"), "{outcomes}");
}

/// The server quotes the key in escapes: decoding the answer brings it back.
#[test]
fn a_key_in_escapes_is_masked_where_it_is_shown() {
    for spelling in
        ["SECRET\\/0123456789", "SECRET\\u002f0123456789", "SECRET%2f0123456789", "U0VDUkVULzAxMjM0NTY3ODk="]
    {
        let body = format!(r#"{{"status":"error","message":"{} {spelling} is odd."}}"#, "x".repeat(280));
        let server = Server::new(move |_, _| json(400, &body));
        let world = World::with_server(&server.url()).with_settings("[guard]\ncanary = 0\n");
        world.write_export(&rows(1));
        let output = CommandOutput::read(world.command(&RUN).env("OMNIDESK_API_KEY", "SECRET/0123456789"));
        let shown = format!("{}{}{}", output.stdout, output.stderr, world.result_text("failed.csv"));
        assert!(shown.contains("xx ***") && shown.contains(" is odd"), "{shown}");
        assert!(!shown.contains("SECRET") && !shown.contains("U0VDUk"), "{shown}");
    }
}

#[test]
fn a_key_that_is_a_part_of_a_word_changes_no_meaning() {
    let world = slow_world(1);
    let run = |arguments: &[&str]| CommandOutput::read(world.command(arguments).env("OMNIDESK_API_KEY", "x"));
    run(&RUN).expect_code(1).expect_outcomes("1 created, 1 rejected");
    std::fs::remove_file(world.path("omnidesk-sync.checkpoint")).expect("removed");
    std::fs::remove_file(world.path("omnidesk-sync.checkpoint.lock")).expect("removed");
    let again = [&["run", "--new-checkpoint"], &RUN[1..]].concat();
    run(&again).expect_code(1).expect_outcomes("1 updated, 1 rejected");
}

#[test]
fn the_key_is_in_no_file_and_in_no_command_line() {
    let world = slow_world(40);
    let mut child = world.spawn(&RUN);
    world.wait_for_requests(15, &mut child);
    let line = std::fs::read(format!("/proc/{}/cmdline", child.id())).expect("a command line");
    assert!(!line.is_empty() && !line.windows(KEY.len()).any(|part| part == KEY.as_bytes()));
    kill(&mut child);
    let check = || {
        for path in paths_below(&world.path("")).iter().filter(|path| path.is_file()) {
            let bytes = std::fs::read(path).expect("bytes");
            assert!(!bytes.windows(KEY.len()).any(|part| part == KEY.as_bytes()), "{}", path.display());
        }
    };
    check();
    world.execute(&RUN).expect_code(1);
    check();
}

#[test]
fn a_password_in_a_url_is_not_shown() {
    let world = slow_world(1);
    let mut base_url = world.base_url();
    for secret in ["https://user:hush@example.org", "https://example.org/?apiKey=hush"] {
        world.edit_config(&base_url, secret);
        base_url = secret.to_owned();
        let output =
            world.execute(&["run", "export.csv"]).expect_code(2).expect_stderr("does not belong in it");
        assert!(!output.stderr.contains("hush"), "{}", output.stderr);
    }
}

#[test]
fn errors_about_an_unreachable_server_show_neither_key_nor_rows() {
    for auth in ["header", "query"] {
        let world = World::with_server("http://127.0.0.1:1").with_settings("attempts = 2");
        world.edit_config("[omnidesk]\n", &format!("[omnidesk]\nauth = \"{auth}\"\n"));
        world.write_export(&rows(3));
        let output = world.execute(&RUN).expect_code(3);
        for word in ["ID-47", "Wilhelmina", "chternaam", "w0@example", "612345678", KEY] {
            assert!(!output.stderr.contains(word), "{word} in {}", output.stderr);
        }
    }
}

#[test]
fn the_logs_of_a_run_with_faults_show_no_address_and_no_id() {
    let faults = Faults::parse("refuse_before=0.1,error_after=0.2,reset_before=0.1,reset_after=0.2");
    let settings =
        Settings { faults: faults.expect("faults"), faults_per_customer_max: 2, ..Settings::default() };
    let world = World::new(settings).with_settings("[guard]\ncanary = 0\n");
    world.write_export(&rows(60));
    for format in ["text", "json"] {
        let output =
            world.execute(&["run", "-vv", "--full", "--log-format", format, "export.csv"]).expect_code(1);
        for word in ["ID-47", "Wilhelmina", "chternaam", "@example", "612345678"] {
            assert!(!output.stderr.contains(word), "{word} in {}", output.stderr);
        }
    }
}

/// A message of the API may quote an address. It belongs into the summary, not the log.
#[test]
fn the_log_shows_no_message_of_the_api() {
    let server = Server::new(|_, _| refusal("w1@example.org is no address."));
    let world = World::with_server(&server.url()).with_settings("[guard]\ncanary = 0\n");
    world.write_export(&rows(1));
    let stderr = world.execute(&["run", "-vv", "export.csv"]).expect_code(1).stderr;
    let log: Vec<&str> = stderr.lines().filter(|line| line.contains("answered")).collect();
    assert!(!log.is_empty() && log.iter().all(|line| !line.contains("w1@example")), "{stderr}");
}
