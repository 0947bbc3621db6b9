//! The key and personal data: where they must not be found, who may read what
//! holds them, and that nobody can have them written elsewhere.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use omnidesk_sync::sandbox::{Faults, Settings};

use crate::server::{Server, refusal};
use crate::world::{Ended, HEADER, KEY, MAPPING, World};

const RUN: [&str; 6] = ["run", "--json", "-vv", "--metrics-file", "metrics.prom", "export.csv"];

fn export(count: usize) -> String {
    let rows = (0..count).map(|id| format!("ID-47{id:02},Wilhelmina,Achternaam,w{id}@example.org,,,\n"));
    let rejected = "ID-4711,Wilhelmina,Achternaam,achternaam.at.example,,06-12345678,\n";
    format!("{HEADER}{rejected}{}", rows.collect::<String>())
}

fn slow_world(count: usize) -> World {
    let world = World::new(Settings { latency: Duration::from_millis(10), ..Settings::default() });
    world.file("export.csv", export(count).as_bytes());
    world
}

/// Runs, kills it amid its calls, and says which folder it wrote to.
fn killed(world: &World) -> PathBuf {
    let mut child = world.starts(&RUN);
    // So many that their file is in the checkpoint by now.
    let lines = |file: Vec<u8>| file.iter().filter(|byte| **byte == b'\n').count();
    while world.result_in("runs", "outcomes.csv").is_none_or(|file| lines(file) < 15) {
        assert!(child.try_wait().expect("a child").is_none(), "it ended too soon");
        std::thread::yield_now();
    }
    child.kill().expect("killed");
    child.wait().expect("gone");
    let runs = std::fs::read_dir(world.path("runs")).expect("runs");
    runs.map(|run| run.expect("a run").path()).max().expect("a run")
}

fn everything_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(everything_below(&path));
        }
        found.push(path);
    }
    found
}

#[test]
fn a_link_planted_at_a_result_path_is_not_followed() {
    let world = slow_world(60);
    std::fs::create_dir(world.path("runs")).expect("runs");
    let folder = killed(&world);
    let victims = ["one", "two", "three", "four"].map(|name| world.file(name, b"precious"));
    let untouched = || {
        for victim in &victims {
            assert_eq!(std::fs::read(victim).expect("a victim"), b"precious", "{}", victim.display());
        }
    };
    symlink(&victims[0], folder.join("summary.json")).expect("a link");
    symlink(&victims[1], world.path("metrics.prom")).expect("a link");
    symlink(&victims[2], folder.join("failed.csv")).expect("a link");
    let (lines, aside) = (folder.join("outcomes.csv"), world.path("aside"));
    std::fs::rename(&lines, &aside).expect("renamed");
    symlink(&victims[3], &lines).expect("a link");

    let refused = world.ends(&RUN).expect(5);
    assert!(refused.stderr.contains("outcomes.csv"), "{}", refused.stderr);
    untouched();
    std::fs::rename(&aside, &lines).expect("renamed");
    let ended = world.ends(&RUN).expect(1);
    assert_eq!(ended.outcomes(), "60 created, 1 rejected");
    untouched();
    for own in [folder.join("summary.json"), world.path("metrics.prom")] {
        assert!(own.symlink_metadata().expect("there").is_file(), "{}", own.display());
    }
}

#[test]
fn a_link_planted_in_place_of_a_file_with_rows_is_not_followed() {
    let world = slow_world(60);
    std::fs::create_dir(world.path("runs")).expect("runs");
    let folder = killed(&world);
    let victim = world.file("victim", b"precious");
    let rejected = folder.join("rejected.csv");
    std::fs::remove_file(&rejected).expect("removed");
    symlink(&victim, &rejected).expect("a link");
    let refused = world.ends(&RUN).expect(5);
    assert!(refused.stderr.contains("rejected.csv"), "{}", refused.stderr);
    assert_eq!(std::fs::read(&victim).expect("the victim"), b"precious");
}

#[test]
fn every_file_is_for_its_owner_alone_whatever_the_umask() {
    let world = slow_world(40);
    let free = |arguments: &[&str]| {
        let plain = world.command(arguments);
        let mut command = Command::new("sh");
        command.args(["-c", "umask 0; exec \"$0\" \"$@\""]).arg(plain.get_program()).args(arguments);
        command.current_dir(world.path("")).env("OMNIDESK_API_KEY", KEY);
        command
    };
    let own = |path: &Path| {
        let name = path.display().to_string();
        !name.ends_with(".toml") && !name.ends_with("export.csv")
    };
    let check = || {
        let found: Vec<PathBuf> =
            everything_below(&world.path("")).into_iter().filter(|path| own(path)).collect();
        for path in &found {
            let mode = path.metadata().expect("metadata").permissions().mode() & 0o777;
            let expected = match (path.is_dir(), path.extension()) {
                (true, _) => 0o700,
                // Prometheus' collector is another user.
                (_, Some(ending)) if ending == "prom" => 0o644,
                _ => 0o600,
            };
            assert_eq!(mode, expected, "{}", path.display());
        }
        found.len()
    };
    let mut child = free(&RUN).spawn().expect("the program");
    world.wait_for_requests(15, &mut child);
    child.kill().expect("killed");
    child.wait().expect("gone");
    // The checkpoint with its log and index, the lock, the folders and lines.
    assert!(check() >= 7, "{:?}", everything_below(&world.path("")));
    Ended::of(free(&RUN).output().expect("the program")).expect(1);
    check();
}

#[test]
fn the_key_is_in_no_file_and_not_in_the_process_list() {
    let world = slow_world(40);
    let mut child = world.starts(&RUN);
    world.wait_for_requests(15, &mut child);
    let line = std::fs::read(format!("/proc/{}/cmdline", child.id())).expect("a command line");
    assert!(!line.is_empty() && !line.windows(KEY.len()).any(|part| part == KEY.as_bytes()));
    child.kill().expect("killed");
    child.wait().expect("gone");
    let check = || {
        for path in everything_below(&world.path("")).iter().filter(|path| path.is_file()) {
            let bytes = std::fs::read(path).expect("bytes");
            assert!(!bytes.windows(KEY.len()).any(|part| part == KEY.as_bytes()), "{}", path.display());
        }
    };
    check();
    world.ends(&RUN).expect(1);
    check();
}

#[test]
fn a_password_in_a_url_is_not_shown() {
    let world = slow_world(1);
    let config = world.read("omnidesk-sync.toml");
    for secret in ["https://user:hush@example.org", "https://example.org/?apiKey=hush"] {
        let line = config.lines().find(|line| line.starts_with("base_url")).expect("a line");
        let config = config.replace(line, &format!("base_url = \"{secret}\""));
        world.file("omnidesk-sync.toml", config.as_bytes());
        let ended = world.ends(&["run", "export.csv"]).expect(2);
        assert!(ended.stderr.contains("does not belong in it"), "{}", ended.stderr);
        assert!(!ended.stderr.contains("hush"), "{}", ended.stderr);
    }
}

#[test]
fn the_key_and_the_rows_stay_out_of_what_is_said_when_nothing_can_be_reached() {
    for auth in ["header", "query"] {
        let world = World::at("http://127.0.0.1:1").with_mapping(MAPPING, "attempts = 2");
        let config = world.read("omnidesk-sync.toml");
        let config = config.replace("[omnidesk]\n", &format!("[omnidesk]\nauth = \"{auth}\"\n"));
        world.file("omnidesk-sync.toml", config.as_bytes());
        world.file("export.csv", export(3).as_bytes());
        let ended = world.ends(&RUN).expect(3);
        for word in ["ID-47", "Wilhelmina", "chternaam", "w0@example", "612345678", KEY] {
            assert!(!ended.stderr.contains(word), "{word} in {}", ended.stderr);
        }
    }
}

#[test]
fn the_logs_of_a_stormy_run_hold_no_address_and_no_id() {
    let faults = Faults::parse("refuse_before=0.1,error_after=0.2,reset_before=0.1,reset_after=0.2");
    let settings =
        Settings { faults: faults.expect("faults"), faults_per_customer_max: 2, ..Settings::default() };
    let world = World::new(settings).with_mapping(&format!("[guard]\ncanary = 0\n{MAPPING}"), "");
    world.file("export.csv", export(60).as_bytes());
    for format in ["text", "json"] {
        let ended = world.ends(&["run", "-vv", "--full", "--log-format", format, "export.csv"]).expect(1);
        for word in ["ID-47", "Wilhelmina", "chternaam", "@example", "612345678"] {
            assert!(!ended.stderr.contains(word), "{word} in {}", ended.stderr);
        }
    }
}

/// The API's words may quote an address; they are for the summary, not for the log.
#[test]
fn the_log_does_not_repeat_what_the_api_says_of_somebody() {
    let server = Server::new(|_, _| refusal("w1@example.org is no address."));
    let world = World::at(&server.url()).with_mapping(&format!("[guard]\ncanary = 0\n{MAPPING}"), "");
    world.file("export.csv", export(1).as_bytes());
    let said = world.ends(&["run", "-vv", "export.csv"]).expect(1).stderr;
    let log: Vec<&str> = said.lines().filter(|line| line.contains("answered")).collect();
    assert!(!log.is_empty() && log.iter().all(|line| !line.contains("w1@example")), "{said}");
}
