//! The clock of the wall may jump. Pace, waits and time windows do not follow it.

use std::path::Path;
use std::process::{Command, Stdio};

use omnidesk_sync::sandbox::Settings;

use crate::world::{HEADER, KEY, World};

/// What reads the clock of the wall.
const WALL: [&str; 3] = ["SystemTime::now", "UNIX_EPOCH", "jiff::"];

/// The lines of a room that read it, with their file; comments left out.
fn readers(room: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room);
    let mut found = Vec::new();
    for file in std::fs::read_dir(folder).expect("a room") {
        let path = file.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("source");
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("//"));
        let read = lines.filter(|line| WALL.iter().any(|word| line.contains(word)));
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        found.extend(read.map(|line| format!("{name}: {line}")));
    }
    found.sort();
    found
}

#[test]
fn nothing_is_decided_by_the_clock_of_the_wall() {
    for room in ["dispatch", "checkpoint", "reconcile", "guards"] {
        assert_eq!(readers(room), Vec::<String>::new(), "{room}");
    }
}

/// A wall clock on which an hour passes in every second: a window of ten minutes
/// that followed it would close before the last row. That the pace follows
/// tokio's clock is shown beside the pacer.
#[test]
#[expect(clippy::print_stdout, reason = "a test that was skipped says so")]
fn a_window_does_not_follow_a_racing_clock() {
    let faketime = |arguments: &[&str]| {
        let mut command = Command::new("faketime");
        // The kernel's own steady clock stays as it is, as when a person sets the time.
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        command.args(["-f", "+0 x3600"]).args(arguments);
        command
    };
    let tried = faketime(&["true"]).stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        println!("skipped: faketime is not here");
        return;
    }
    let world = World::new(Settings::default());
    let rows: String = (0..30).map(|id| format!("C{id},Ann,Smit,c{id}@example.org,,,sync\n")).collect();
    world.file("export.csv", format!("{HEADER}{rows}").as_bytes());
    let arguments = ["run", "--quiet", "--rate", "20/s", "--max-duration", "10m", "export.csv"];
    let ended = faketime(&[&[env!("CARGO_BIN_EXE_omnidesk-sync")], &arguments[..]].concat())
        .current_dir(world.path("."))
        .env("OMNIDESK_API_KEY", KEY)
        .status();
    assert!(ended.expect("faketime").success());
    assert_eq!(world.state().counters.create, 30);
}
