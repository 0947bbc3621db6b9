//! The wall clock may jump. Pace, waits and time windows do not follow it.

use std::path::Path;

use crate::tools::FAKETIME;
use crate::world::{KEY, World, rows};

const WALL_CLOCK: [&str; 3] = ["SystemTime::now", "UNIX_EPOCH", "jiff::"];

/// The lines of a room that read the wall clock, with their file. Comments do not count.
fn wall_clock_reads(room: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room);
    let mut found = Vec::new();
    for file in std::fs::read_dir(folder).expect("a room") {
        let path = file.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("source");
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("//"));
        let reads = lines.filter(|line| WALL_CLOCK.iter().any(|word| line.contains(word)));
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        found.extend(reads.map(|line| format!("{name}: {line}")));
    }
    found.sort();
    found
}

#[test]
fn no_decision_depends_on_the_wall_clock() {
    for room in ["dispatch", "checkpoint", "reconcile", "guards"] {
        assert_eq!(wall_clock_reads(room), Vec::<String>::new(), "{room}");
    }
}

/// An hour of the wall clock passes in every second. A window of ten minutes
/// that followed it would close before the last row. The unit tests of the pacer
/// show that the pace follows tokio's clock.
#[test]
fn a_window_does_not_follow_a_racing_clock() {
    if !FAKETIME.is_here() {
        return;
    }
    let faketime = |arguments: &[&str]| {
        let mut command = FAKETIME.command();
        // The monotonic clock stays right, as when a person sets the time.
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        command.args(["-f", "+0 x3600"]).args(arguments);
        command
    };
    let world = World::default();
    world.write_export(&rows(30));
    let arguments = ["run", "--quiet", "--rate", "20/s", "--max-duration", "10m", "export.csv"];
    let status = faketime(&[&[env!("CARGO_BIN_EXE_omnidesk-sync")], &arguments[..]].concat())
        .current_dir(world.path("."))
        .env("OMNIDESK_API_KEY", KEY)
        .status();
    assert!(status.expect("faketime").success());
    assert_eq!(world.state().counters.create, 30);
}
