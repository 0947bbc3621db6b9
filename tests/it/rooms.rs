//! Imports go one way: which rooms a room may use.

use std::collections::BTreeSet;
use std::path::Path;

/// Each room and the rooms that it may use, in the order of `lib.rs`. All may use
/// `units`.
const MAY_USE: &[(&str, &str)] = &[
    ("source", ""),
    ("mapping", "source"),
    ("omnidesk", "mapping"),
    ("reconcile", "mapping omnidesk source"),
    ("guards", "mapping omnidesk reconcile source"),
    ("checkpoint", "guards mapping omnidesk reconcile source"),
    ("plan", "checkpoint config guards mapping omnidesk reconcile source"),
    ("dispatch", "mapping omnidesk reconcile source"),
    ("report", "dispatch guards mapping omnidesk reconcile source"),
    ("run", "checkpoint config dispatch guards mapping omnidesk plan reconcile report sandbox source"),
    ("proposal", "mapping source"),
    ("doctor", "checkpoint config mapping omnidesk source"),
    ("verify", "checkpoint dispatch mapping omnidesk plan reconcile source"),
    ("sandbox", ""),
    ("config", "dispatch guards mapping omnidesk reconcile report source"),
    ("cli", "report sandbox"),
    (
        "commands",
        "checkpoint cli config dispatch doctor guards omnidesk plan proposal reconcile report run sandbox source verify",
    ),
    ("units", ""),
];

fn imports(path: &Path) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    if path.is_dir() {
        for entry in std::fs::read_dir(path).expect("a room") {
            rooms.append(&mut imports(&entry.expect("a file").path()));
        }
        return rooms;
    }
    let text = std::fs::read_to_string(path).expect("source");
    // Unit tests come last, and may use any room.
    let program = text.split("\nmod tests {").next().unwrap_or_default();
    for rest in program.split("crate::").skip(1) {
        rooms.insert(rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect());
    }
    rooms
}

#[test]
fn rooms_use_only_the_rooms_in_their_line() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (room, may_use) in MAY_USE {
        let folder = source.join(room);
        let path = if folder.is_dir() { folder } else { source.join(format!("{room}.rs")) };
        for used in imports(&path) {
            assert!(
                used == *room || used == "units" || may_use.split(' ').any(|room| room == used),
                "{room} uses {used}, which tests/it/rooms.rs does not allow"
            );
        }
    }
}

#[test]
fn every_room_is_in_the_table() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in std::fs::read_dir(source).expect("src") {
        let name = entry.expect("a room").file_name().into_string().expect("UTF-8");
        let room = name.trim_end_matches(".rs");
        let is_root = ["lib", "main"].contains(&room);
        assert!(is_root || MAY_USE.iter().any(|(name, _)| *name == room), "{room} is not in the table");
    }
}
