//! What disks do: flipped bits, cut files, no space left, folders that cannot
//! be written or are gone. Nothing of it may end in a run that has silently
//! forgotten something.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use omnidesk_sync::checkpoint::{
    Checkpoint, CheckpointError, ExportId, FirstPassResult, OpenRun, PlanVersion, RejectionKind, RunRecord,
    RunState, SettingsHash, Work, Worklist,
};
use omnidesk_sync::mapping::{Customer, Place, PrimaryId};
use omnidesk_sync::omnidesk::CallKind;
use omnidesk_sync::reconcile::{
    Acked, CustomerKey, CustomerState, Effect, ExportRow, Outcome, PendingCall, RowProgress,
};
use omnidesk_sync::sandbox::{Duplicates, Settings};
use omnidesk_sync::source::{ExportHash, RowRef};
use tempfile::TempDir;

use crate::world::{Ended, HEADER, MAPPING, World};

const TENANT: &str = "account.omnidesk.example";
const CUSTOMERS: u64 = 12;

/// A folder in memory where there is one: these tests open a file thousands
/// of times.
fn quick_folder() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).expect("a folder")
}

fn row_ref(number: u64) -> RowRef {
    RowRef { number, line: number + 1, offset: number * 40, len: 39 }
}

fn plan(export: u8) -> PlanVersion {
    PlanVersion { settings: SettingsHash([export; 16]), ..PlanVersion::default() }
}

fn customer(checkpoint: &Checkpoint, row: u64) -> CustomerKey {
    let primary_id = PrimaryId::new(&format!("C{row}")).expect("an id");
    checkpoint.key().customer(&Customer { brand_id: 2, primary_id })
}

/// A run of some rows with two customers a call, of which the first rows are
/// settled, one is ahead, one is pending and one has failed.
fn begin_run(checkpoint: &mut Checkpoint, export: u8) -> OpenRun {
    let mut worklist = Worklist::default();
    for number in 1..=CUSTOMERS {
        worklist.add_row(row_ref(number));
        worklist.set(number, if number % 6 == 5 { Work::Rejected } else { Work::Calls });
    }
    let record = RunRecord {
        rows: CUSTOMERS,
        calls_planned: 10,
        plan: plan(export),
        started: "2026-11-23T17:00:00Z".to_owned(),
        ..RunRecord::default()
    };
    let export = ExportId { hash: ExportHash([export; 32]), ordinal: u32::from(export) };
    let first_pass = FirstPassResult { worklist, ..FirstPassResult::default() };
    let mut run = checkpoint.begin(export, record, first_pass).expect("a run");
    let by = |row| ExportRow { export: export.ordinal, row };
    let keys: Vec<CustomerKey> = (0..=CUSTOMERS).map(|row| customer(checkpoint, row)).collect();
    let mut batch = checkpoint.batch().expect("a batch");
    batch.settle_rejected(&mut run, 5, RejectionKind::Temporary).expect("settled");
    for (row, outcome) in
        [(1, Outcome::Created), (2, Outcome::Created), (3, Outcome::Failed), (6, Outcome::Created)]
    {
        let state = CustomerState::Acknowledged(Acked { by: by(row), ..Acked::default() });
        batch.set_state(keys[row as usize], &state).expect("a state");
        batch.settle(&mut run, row, outcome).expect("settled");
    }
    batch.set_state(keys[8], &CustomerState::Purged(by(8))).expect("a state");
    let call = PendingCall { by: by(4), kind: CallKind::Create, address: None };
    batch.set_pending(keys[4], Some(call));
    let created = RowProgress { effect: Effect::Created, ..RowProgress::default() };
    batch.set_progress(Place::Row(row_ref(7)), &created);
    batch.commit(&mut run, vec![("failed.csv".into(), 70)]).expect("committed");
    run
}

/// The bytes of a checkpoint with a finished run and, or not, an open one.
fn checkpoint_bytes(open: bool) -> Vec<u8> {
    let folder = quick_folder();
    let path = folder.path().join("checkpoint");
    let mut checkpoint = crate::world::open_checkpoint(&path, TENANT).expect("a checkpoint");
    let mut run = begin_run(&mut checkpoint, 1);
    checkpoint.close_run(&mut run, RunState::Finished, "2026-11-23T18:00:00Z").expect("closed");
    if open {
        begin_run(&mut checkpoint, 2);
    }
    drop(checkpoint);
    assert!(!folder.path().join("checkpoint-wal").exists(), "all is in the file itself");
    std::fs::read(path).expect("bytes")
}

/// Everything that a run would learn from the checkpoint, and whether it can
/// write into it.
fn learned(path: &Path) -> Result<String, CheckpointError> {
    let mut checkpoint = loop {
        match crate::world::open_checkpoint(path, TENANT) {
            // A child that another test has just forked has the last one's lock until it executes.
            Err(CheckpointError::Locked { .. }) => std::thread::yield_now(),
            opened => break opened?,
        }
    };
    let mut text = String::new();
    for row in 0..=CUSTOMERS {
        let (key, lookups) = (customer(&checkpoint, row), checkpoint.lookups());
        text.push_str(&format!(
            "{:?}{:?}{:?}",
            lookups.state(key)?,
            lookups.pending(key),
            lookups.progress(Place::Row(row_ref(row)))
        ));
    }
    for export in [1, 2, 3] {
        let hash = ExportHash([export; 32]);
        text.push_str(&format!("{:?}", checkpoint.export_ordinal(&hash)?));
        text.push_str(&format!("{:?}", checkpoint.retry_rows(&hash, &plan(export))?));
    }
    let (open, runs, totals) = (checkpoint.open_run()?, checkpoint.runs(9)?, checkpoint.totals()?);
    text.push_str(&format!("{open:?}{runs:?}{totals:?}{:?}", checkpoint.tenant()));
    let key = customer(&checkpoint, 99);
    let mut batch = checkpoint.batch()?;
    batch.set_state(key, &CustomerState::existing())?;
    batch.commit_states()?;
    text.push_str(&format!("{:?}", checkpoint.lookups().state(key)?));
    Ok(text)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(ending);
    beside.into()
}

/// Learns from these bytes.
fn learned_of(path: &Path, bytes: &[u8]) -> Result<String, CheckpointError> {
    for ending in ["-wal", "-shm", "-journal", ".lock"] {
        let _ = std::fs::remove_file(beside(path, ending));
    }
    std::fs::write(path, bytes).expect("a file");
    learned(path)
}

/// What a killed run leaves: the file, its log, and the lock file.
struct Killed([Vec<u8>; 3]);

impl Killed {
    const ENDINGS: [&str; 3] = ["", "-wal", ".lock"];

    fn new() -> Self {
        let folder = quick_folder();
        let path = folder.path().join("checkpoint");
        let mut checkpoint = crate::world::open_checkpoint(&path, TENANT).expect("a checkpoint");
        let mut run = begin_run(&mut checkpoint, 1);
        checkpoint.close_run(&mut run, RunState::Finished, "2026-11-23T18:00:00Z").expect("closed");
        begin_run(&mut checkpoint, 2);
        // It is open still: nobody has merged the log into the file.
        Self(Self::ENDINGS.map(|ending| std::fs::read(beside(&path, ending)).expect("bytes")))
    }

    fn learned(&self, path: &Path, log: Option<&[u8]>) -> Result<String, CheckpointError> {
        let _ = std::fs::remove_file(beside(path, "-shm"));
        for (ending, bytes) in Self::ENDINGS.into_iter().zip(&self.0) {
            let bytes = if ending == "-wal" { log } else { Some(bytes.as_slice()) };
            match bytes {
                Some(bytes) => std::fs::write(beside(path, ending), bytes).expect("a file"),
                None => drop(std::fs::remove_file(beside(path, ending))),
            }
        }
        learned(path)
    }
}

/// Offsets worth damaging: every byte of what is written, and one in some of
/// the long stretches of nothing between.
fn offsets(bytes: &[u8]) -> Vec<usize> {
    let is_blank = |at: usize| {
        let around = at.saturating_sub(8)..(at + 8).min(bytes.len());
        bytes[around].iter().all(|byte| *byte == 0)
    };
    (0..bytes.len()).filter(|at| !is_blank(*at) || at % 509 == 0).collect()
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are part of the test's use")]
fn a_bit_flipped_anywhere_in_a_checkpoint_changes_nothing_or_is_an_error() {
    let folder = quick_folder();
    let path = folder.path().join("checkpoint");
    for open in [false, true] {
        let whole = checkpoint_bytes(open);
        let expected = learned_of(&path, &whole).expect("it is whole");
        let (mut harmless, mut refused) = (0, 0);
        for at in offsets(&whole) {
            let bit = at % 8;
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            match learned_of(&path, &damaged) {
                Ok(found) if found == expected => harmless += 1,
                Ok(found) => panic!("bit {bit} of byte {at} of {}:\n{expected}\n{found}", whole.len()),
                Err(error @ CheckpointError::Io { .. }) => panic!("byte {at}: {error}"),
                Err(_) => refused += 1,
            }
        }
        println!(
            "{} bytes, open run: {open}: {refused} flips refused, {harmless} in unused space",
            whole.len()
        );
        assert!(refused > harmless);
    }
}

#[test]
fn a_checkpoint_cut_anywhere_is_an_error() {
    let folder = quick_folder();
    let path = folder.path().join("checkpoint");
    let whole = checkpoint_bytes(true);
    let expected = learned_of(&path, &whole).expect("it is whole");
    for len in offsets(&whole).into_iter().filter(|len| len % 7 == 0 || *len < 600) {
        let found = learned_of(&path, &whole[..len]);
        // The last page is the one of an empty table: behind its beginning there is nothing.
        if len > whole.len() - 4096 && found.as_ref().is_ok_and(|found| *found == expected) {
            continue;
        }
        assert!(
            matches!(
                found,
                Err(CheckpointError::Damaged { .. }
                    | CheckpointError::Foreign { .. }
                    | CheckpointError::Database { .. })
            ),
            "cut at {len}: {found:?}"
        );
        assert_eq!(std::fs::metadata(&path).expect("still there").len(), len as u64, "it is left as it was");
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are part of the test's use")]
fn a_log_of_a_killed_run_that_is_damaged_cut_or_gone_is_an_error() {
    let folder = quick_folder();
    let path = folder.path().join("checkpoint");
    let killed = Killed::new();
    let log = &killed.0[1];
    let expected = killed.learned(&path, Some(log)).expect("it is whole");
    let (mut harmless, mut refused) = (0, 0);
    let mut look = |what: &str, log: Option<&[u8]>| match killed.learned(&path, log) {
        Ok(found) if found == expected => harmless += 1,
        Ok(found) => panic!("{what}:\n{expected}\n{found}"),
        Err(CheckpointError::CommitsLost { found, noted, .. }) if found < noted => refused += 1,
        Err(error) => panic!("{what}: {error}"),
    };
    look("gone", None);
    for at in offsets(log).into_iter().filter(|at| at % 3 == 0) {
        let mut flipped = log.clone();
        flipped[at] ^= 1 << (at % 8);
        look(&format!("a bit of byte {at}"), Some(&flipped));
        look(&format!("cut at {at}"), Some(&log[..at]));
    }
    println!("a log of {} bytes: {refused} flips and cuts refused, {harmless} without effect", log.len());
    assert!(refused > 100 && harmless < refused / 100, "{refused} refused, {harmless} not");
}

#[test]
fn an_older_copy_of_a_checkpoint_is_refused_until_its_owner_says_so() {
    let world = World::new(Settings { duplicates: Duplicates::Allow, ..Settings::default() });
    world.run("A1,Ann,Smit,a@example.org,,,\n").expect(0);
    let path = world.path("omnidesk-sync.checkpoint");
    let older = std::fs::read(&path).expect("bytes");
    world.run("A1,Ann,Smit,a@example.org,,,\nA2,Bob,Smit,b@example.org,,,\n").expect(0);
    std::fs::write(&path, older).expect("put back");
    let requests = world.state().counters.requests;
    for command in ["run", "plan", "adopt"] {
        let ended = world.ends(&[command, "export.csv"]).expect(5);
        assert!(ended.stderr.contains("delete omnidesk-sync.checkpoint.lock"), "{}", ended.stderr);
    }
    assert_eq!(world.state().counters.requests, requests);
    std::fs::remove_file(beside(&path, ".lock")).expect("deleted");
    assert_eq!(world.ends(&RUN).expect(0).calls(), 1, "A2 is not known to the older one");
}

#[test]
fn a_checkpoint_that_was_taken_away_on_purpose_is_begun_anew() {
    let world = World::new(Settings::default());
    world.run("A1,Ann,Smit,a@example.org,,,\n").expect(0);
    std::fs::remove_file(world.path("omnidesk-sync.checkpoint")).expect("deleted");
    // Once, also where nothing else is said.
    for is_told in [true, false] {
        let ended = world.ends(&["run", "-q", "export.csv"]).expect(0);
        assert_eq!(ended.stderr.contains("every customer counts as new"), is_told, "{}", ended.stderr);
    }
}

#[test]
fn a_row_that_another_program_took_out_is_noticed() {
    let world = World::new(Settings::default());
    world.run("A1,Ann,Smit,a@example.org,,,\nA2,Bob,Smit,b@example.org,,,\n").expect(0);
    let path = world.path("omnidesk-sync.checkpoint");
    let connection = rusqlite::Connection::open(&path).expect("the file");
    let changed =
        connection.execute("DELETE FROM customers WHERE first = (SELECT min(first) FROM customers)", []);
    assert_eq!(changed.expect("deleted"), 1);
    drop(connection);
    let requests = world.state().counters.requests;
    for command in
        [["run", "export.csv"], ["plan", "export.csv"], ["adopt", "export.csv"], ["status", "--json"]]
    {
        let ended = world.ends(&command).expect(5);
        assert!(
            ended.stderr.contains("is damaged") && ended.stderr.contains("put back a copy"),
            "{}",
            ended.stderr
        );
    }
    assert_eq!(world.state().counters.requests, requests);
}

#[test]
fn newer_foreign_empty_and_halved_checkpoints_are_refused_with_the_way_out() {
    let world = World::new(Settings::default());
    world.run("A1,Ann,Smit,a@example.org,,,\n").expect(0);
    let path = world.path("omnidesk-sync.checkpoint");
    let whole = std::fs::read(&path).expect("bytes");
    let requests = world.state().counters.requests;
    let refused = |code: i32, words: &str| {
        for command in ["run", "plan"] {
            let ended = world.ends(&[command, "export.csv"]).expect(code);
            assert!(ended.stderr.contains(words), "{}", ended.stderr);
        }
        world.state().counters.requests == requests
    };
    let edit = |sql: &str| {
        std::fs::write(&path, &whole).expect("a file");
        rusqlite::Connection::open(&path).expect("the file").execute_batch(sql).expect("changed");
    };
    edit("PRAGMA user_version = 99");
    assert!(refused(5, "has format 99, this program knows 1; use the version that wrote it"));
    edit("PRAGMA user_version = 0");
    assert!(refused(5, "is damaged"));
    edit("PRAGMA application_id = 0x6f6d6473");
    assert!(refused(5, "a version before 0.1.0") && refused(5, "run `adopt` with the last export"));
    edit("PRAGMA application_id = 7");
    assert!(refused(5, "is not that of a checkpoint"));
    // Where none was ever written, it is the path that is wrong.
    let lock = std::fs::read(world.path("omnidesk-sync.checkpoint.lock")).expect("its lock");
    std::fs::remove_file(world.path("omnidesk-sync.checkpoint.lock")).expect("removed");
    assert!(refused(2, "is no checkpoint of omnidesk-sync"));
    world.file("omnidesk-sync.checkpoint.lock", &lock);
    std::fs::write(&path, b"").expect("a file");
    assert!(refused(5, "it is empty"));
    std::fs::write(&path, &whole[..whole.len() / 2]).expect("a file");
    assert!(refused(5, "omnidesk-sync.checkpoint"));
    std::fs::remove_file(&path).expect("removed");
    world.file("omnidesk-sync.checkpoint-wal", b"left over");
    let ended = world.ends(&["run", "export.csv"]).expect(5);
    assert!(ended.stderr.contains("they belong together"), "{}", ended.stderr);
    assert_eq!(world.state().counters.requests, requests);
    assert!(!path.exists(), "nothing was begun beside it");
}

/// A file system of its own in a folder of a world.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, with a word about it, where nobody may mount.
    #[expect(clippy::print_stdout, reason = "a test that is left out says so")]
    fn of(path: PathBuf, size: &str) -> Option<Self> {
        std::fs::create_dir(&path).expect("a folder");
        let options = format!("size={size},mode=700");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(path));
        }
        println!("LEFT OUT: this user may not mount a tmpfs, so no disk can be filled or made read-only");
        None
    }

    fn remount(&self, options: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status();
        assert!(done.expect("mount").success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn strict(latency_ms: u64) -> Settings {
    // Doubles must show, not be refused.
    let latency = Duration::from_millis(latency_ms);
    Settings { duplicates: Duplicates::Allow, latency, ..Settings::default() }
}

/// Keeps the checkpoint and the result files in these folders of the world.
fn keeping(world: World, checkpoint: &str, runs: &str) -> World {
    let places = format!("{MAPPING}\n[checkpoint]\npath = \"{checkpoint}\"\n[report]\ndir = \"{runs}\"\n");
    world.with_mapping(&places, "")
}

fn rows(count: usize) -> String {
    let rows = (0..count).map(|id| format!("C{id},Ann,Smit,c{id}@example.org,c{id}@example.net,,\n"));
    format!("{HEADER}{}", rows.collect::<String>())
}

const RUN: [&str; 3] = ["run", "--json", "export.csv"];

/// What one run without any trouble comes to.
fn assert_as_undisturbed(world: &World, ended: &Ended, export: &str) {
    let calm = World::new(strict(0));
    calm.file("export.csv", export.as_bytes());
    let undisturbed = calm.ends(&RUN).expect(0);
    let (left, right) = (calm.state(), world.state());
    assert_eq!(left.customers, right.customers);
    assert_eq!(right.counters.doubled, 0);
    assert_eq!(right.violations, Vec::<String>::new());
    assert_eq!(undisturbed.outcomes(), ended.outcomes());
    assert_eq!(world.ends(&RUN).expect(0).calls(), 0, "all of it is known");
}

#[test]
fn a_disk_that_fills_up_ends_the_run_and_once_there_is_room_the_same_command_goes_on() {
    let export = rows(300);
    for size in ["160k", "420k", "1m"] {
        let world = keeping(World::new(strict(1)), "small/state/checkpoint", "small/runs");
        let Some(disk) = SmallDisk::of(world.path("small"), size) else { return };
        world.file("export.csv", export.as_bytes());
        let full = world.ends(&RUN).expect(5);
        let names_it = ["small/state/checkpoint", "outcomes.csv", "summary.json"];
        assert!(names_it.iter().any(|name| full.stderr.contains(name)), "{}", full.stderr);
        assert!(full.stderr.contains("full") || full.stderr.contains("No space left"), "{}", full.stderr);
        assert!(!full.stderr.contains("panicked"), "{}", full.stderr);
        let sent = world.state().counters.requests;
        assert!(sent < 600, "{sent} calls were made before {size} were full");
        if let Some(summary) = world.result_in("small/runs", "summary.json") {
            serde_json::from_slice::<serde_json::Value>(&summary).expect("a summary is whole");
        }
        // Nobody has looked yet, and cron tries again.
        world.ends(&RUN).expect(5);

        disk.remount("size=32m");
        let ended = world.ends(&RUN).expect(0);
        let outcomes = world.result_in("small/runs", "outcomes.csv").expect("outcomes.csv");
        let outcomes = String::from_utf8(outcomes).expect("UTF-8");
        assert!(outcomes.ends_with('\n') && outcomes.lines().all(|line| line.matches(',').count() == 9));
        assert_as_undisturbed(&world, &ended, &export);
    }
}

/// Starts the run and kills it when so many requests have arrived.
fn kill_after(world: &World, requests: u64) {
    let mut child = world.starts(&RUN);
    world.wait_for_requests(requests, &mut child);
    child.kill().expect("killed");
    child.wait().expect("gone");
}

#[test]
fn a_read_only_disk_ends_the_run_before_anything_is_sent() {
    let export = rows(60);
    for both in [true, false] {
        let world = World::new(strict(5));
        let world = keeping(world, if both { "small/checkpoint" } else { "checkpoint" }, "small/runs");
        let Some(disk) = SmallDisk::of(world.path("small"), "32m") else { return };
        world.file("export.csv", export.as_bytes());
        let refused = |at: &str| {
            let before = world.state().counters.requests;
            let ended = world.ends(&RUN).expect(5);
            assert!(
                ended.stderr.contains("small/") && ended.stderr.contains("Read-only"),
                "{}",
                ended.stderr
            );
            assert_eq!(world.state().counters.requests, before, "{at}");
        };
        disk.remount("ro");
        refused("anew");
        disk.remount("rw");
        kill_after(&world, 30);
        disk.remount("ro");
        refused("resumed");
        disk.remount("rw");
        let ended = world.ends(&RUN).expect(0);
        assert_as_undisturbed(&world, &ended, &export);
    }
}

/// Starts the run, waits until it writes its results, and takes a folder away.
fn taken_away(world: &World, folder: &str) -> Ended {
    let mut command = world.command(&RUN);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program");
    while !world.path("runs").exists() || world.result("outcomes.csv").is_none_or(|lines| lines.is_empty()) {
        assert!(child.try_wait().expect("a child").is_none(), "it ended too soon");
        std::thread::yield_now();
    }
    std::fs::rename(world.path(folder), world.path("away")).expect("renamed");
    Ended::of(child.wait_with_output().expect("an end"))
}

#[test]
fn a_checkpoint_that_is_taken_away_ends_the_run_and_once_it_is_back_the_same_command_goes_on() {
    let export = rows(200);
    let world = keeping(World::new(strict(5)), "state/checkpoint", "runs");
    world.file("export.csv", export.as_bytes());
    let ended = taken_away(&world, "state").expect(5);
    assert!(
        ended.stderr.contains("state/checkpoint") && ended.stderr.contains("taken away"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    assert!(world.state().counters.requests < 400, "it did not go on without");
    assert!(!world.path("state").exists(), "no other was begun in its place");
    std::fs::rename(world.path("away"), world.path("state")).expect("renamed");
    let ended = world.ends(&RUN).expect(0);
    assert_as_undisturbed(&world, &ended, &export);
}

#[test]
fn result_files_that_are_taken_away_end_the_run_and_are_begun_again_by_the_next() {
    let export = rows(200);
    for back in [true, false] {
        let world = keeping(World::new(strict(5)), "checkpoint", "runs");
        world.file("export.csv", export.as_bytes());
        let ended = taken_away(&world, "runs").expect(5);
        assert!(
            ended.stderr.contains("outcomes.csv") && ended.stderr.contains("was deleted or replaced"),
            "{}",
            ended.stderr
        );
        if back {
            std::fs::rename(world.path("away"), world.path("runs")).expect("renamed");
        }
        let ended = world.ends(&RUN).expect(0);
        assert_eq!(ended.stderr.contains("its lines so far are lost"), !back, "{}", ended.stderr);
        assert_as_undisturbed(&world, &ended, &export);
    }
}

#[test]
fn a_second_run_ends_at_once_also_when_the_first_has_just_taken_over_from_a_killed_one() {
    let export = rows(200);
    let world = World::new(strict(10));
    world.file("export.csv", export.as_bytes());
    for taken_over in 1..=4 {
        let before = world.state().counters.requests;
        let mut first = world.starts(&RUN);
        world.wait_for_requests(before + 15, &mut first);
        let second = world.ends(&RUN).expect(6);
        assert!(
            second.stderr.contains("another run holds the checkpoint"),
            "{taken_over}: {}",
            second.stderr
        );
        first.kill().expect("killed");
        first.wait().expect("gone");
    }
    let ended = world.ends(&RUN).expect(0);
    assert_as_undisturbed(&world, &ended, &export);
}
