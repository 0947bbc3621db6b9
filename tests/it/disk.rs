//! Faults of the disk: flipped bits, cut files, no space left, folders that are
//! read-only or vanish. None of them may make a run forget anything silently.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use omnidesk_sync::checkpoint::{
    Checkpoint, CheckpointError, ExportId, FirstPassResult, OpenRun, PlanVersion, RejectionKind, RunRecord,
    RunScope, RunState, SettingsHash, Work, Worklist,
};
use omnidesk_sync::mapping::{Customer, ExportRow, Place, PrimaryId, PurgeReason};
use omnidesk_sync::omnidesk::CallKind;
use omnidesk_sync::reconcile::{
    Acked, CustomerKey, CustomerState, Effect, Occasion, Outcome, PendingCall, PurgeRecord, RowProgress,
};
use omnidesk_sync::sandbox::{Duplicates, Settings};
use omnidesk_sync::source::{ExportHash, RowRef};
use tempfile::TempDir;

use crate::tools::SMALL_DISK;
use crate::world::{CommandOutput, RUN, World, kill, open_checkpoint};

const TENANT: &str = "account.omnidesk.example";
const CUSTOMERS: u64 = 12;

/// In memory if possible: these tests open a file thousands of times.
fn fast_folder() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).expect("a folder")
}

fn row_ref(number: u64) -> RowRef {
    RowRef { number, line: number + 1, offset: number * 40, len: 39, file: None }
}

fn plan(export: u8) -> PlanVersion {
    PlanVersion { settings: SettingsHash([export; 16]), ..PlanVersion::default() }
}

fn customer(checkpoint: &Checkpoint, row: u64) -> CustomerKey {
    let primary_id = PrimaryId::new(&format!("C{row}")).expect("an id");
    checkpoint.key().customer(&Customer { brand_id: 2, primary_id })
}

/// A run whose first rows are settled, one of them failed. One row is settled
/// ahead, and one call is pending.
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
    let purge = PurgeRecord { by: by(8), occasion: Occasion::default(), reason: PurgeReason::Export };
    batch.set_state(keys[8], &CustomerState::Purged(purge)).expect("a state");
    let call = PendingCall { by: by(4), kind: CallKind::Create };
    batch.set_pending(keys[4], Some(call));
    let created = RowProgress { effect: Effect::Created, ..RowProgress::default() };
    batch.set_progress(&run, Place::Row(row_ref(7)), &created);
    batch.commit(&mut run, vec![("failed.csv".into(), 70)]).expect("committed");
    run
}

/// A checkpoint with a finished run.
fn checkpoint_with_run(path: &Path) -> Checkpoint {
    let mut checkpoint = open_checkpoint(path, TENANT).expect("a checkpoint");
    let mut run = begin_run(&mut checkpoint, 1);
    checkpoint.close_run(&mut run, RunState::Finished, "2026-11-23T18:00:00Z").expect("closed");
    checkpoint
}

/// The bytes of a checkpoint with a finished run, and perhaps an open one.
fn checkpoint_bytes(open: bool) -> Vec<u8> {
    let folder = fast_folder();
    let path = folder.path().join("checkpoint");
    let mut checkpoint = checkpoint_with_run(&path);
    if open {
        begin_run(&mut checkpoint, 2);
    }
    drop(checkpoint);
    assert!(!folder.path().join("checkpoint-wal").exists(), "the log is merged into the file");
    std::fs::read(path).expect("bytes")
}

/// The whole content as a run sees it, and whether a run can write to it.
fn content(path: &Path) -> Result<String, CheckpointError> {
    let mut checkpoint = open_checkpoint(path, TENANT)?;
    let mut text = String::new();
    for row in 0..=CUSTOMERS {
        let (key, lookups) = (customer(&checkpoint, row), checkpoint.lookups());
        text.push_str(&format!(
            "{:?}{:?}{:?}",
            lookups.state(key)?,
            lookups.pending(key),
            [1, 2].map(|run| lookups.progress(run, Place::Row(row_ref(row))))
        ));
    }
    for export in [1, 2, 3] {
        let hash = ExportHash([export; 32]);
        text.push_str(&format!("{:?}", checkpoint.export_ordinal(&hash)?));
        text.push_str(&format!("{:?}", checkpoint.retry_rows(&hash, &plan(export), RunScope::Whole)?));
    }
    let (open, runs, totals) = (checkpoint.open_runs()?, checkpoint.runs(9)?, checkpoint.totals()?);
    text.push_str(&format!("{open:?}{runs:?}{totals:?}{:?}", checkpoint.tenant()));
    let key = customer(&checkpoint, 99);
    let mut batch = checkpoint.batch()?;
    batch.set_state(key, &CustomerState::Existing)?;
    batch.commit_states()?;
    text.push_str(&format!("{:?}", checkpoint.lookups().state(key)?));
    Ok(text)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn content_of(path: &Path, bytes: &[u8]) -> Result<String, CheckpointError> {
    for suffix in ["-wal", "-shm", "-journal", ".lock"] {
        let _ = std::fs::remove_file(with_suffix(path, suffix));
    }
    std::fs::write(path, bytes).expect("a file");
    content(path)
}

/// The files of a killed run: the checkpoint, its log and its lock file.
struct KilledRun([Vec<u8>; 3]);

impl KilledRun {
    const SUFFIXES: [&str; 3] = ["", "-wal", ".lock"];

    fn new() -> Self {
        let folder = fast_folder();
        let path = folder.path().join("checkpoint");
        let mut checkpoint = checkpoint_with_run(&path);
        begin_run(&mut checkpoint, 2);
        // The checkpoint is still open, so its log is not merged into the file.
        Self(Self::SUFFIXES.map(|suffix| std::fs::read(with_suffix(&path, suffix)).expect("bytes")))
    }

    /// The content with another log, or with none.
    fn content(&self, path: &Path, log: Option<&[u8]>) -> Result<String, CheckpointError> {
        let _ = std::fs::remove_file(with_suffix(path, "-shm"));
        for (suffix, bytes) in Self::SUFFIXES.into_iter().zip(&self.0) {
            let bytes = if suffix == "-wal" { log } else { Some(bytes.as_slice()) };
            match bytes {
                Some(bytes) => std::fs::write(with_suffix(path, suffix), bytes).expect("a file"),
                None => drop(std::fs::remove_file(with_suffix(path, suffix))),
            }
        }
        content(path)
    }
}

/// Offsets to damage: all written bytes, and some of the blank ones between.
fn offsets(bytes: &[u8]) -> Vec<usize> {
    let is_blank = |at: usize| {
        let around = at.saturating_sub(8)..(at + 8).min(bytes.len());
        bytes[around].iter().all(|byte| *byte == 0)
    };
    (0..bytes.len()).filter(|at| !is_blank(*at) || at % 509 == 0).collect()
}

#[test]
#[expect(clippy::print_stdout, reason = "its numbers are part of the result")]
fn a_flipped_bit_in_a_checkpoint_is_harmless_or_an_error() {
    let folder = fast_folder();
    let path = folder.path().join("checkpoint");
    for open in [false, true] {
        let whole = checkpoint_bytes(open);
        let expected = content_of(&path, &whole).expect("an intact checkpoint");
        let (mut harmless, mut refused) = (0, 0);
        for at in offsets(&whole) {
            let bit = at % 8;
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            match content_of(&path, &damaged) {
                Ok(content) if content == expected => harmless += 1,
                Ok(content) => panic!("bit {bit} of byte {at} of {}:\n{expected}\n{content}", whole.len()),
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
fn a_cut_checkpoint_is_an_error() {
    let folder = fast_folder();
    let path = folder.path().join("checkpoint");
    let whole = checkpoint_bytes(true);
    let expected = content_of(&path, &whole).expect("an intact checkpoint");
    for len in offsets(&whole).into_iter().filter(|len| len % 7 == 0 || *len < 600) {
        let content = content_of(&path, &whole[..len]);
        // The last page belongs to an empty table, so it is blank after its header.
        if len > whole.len() - 4096 && content.as_ref().is_ok_and(|content| *content == expected) {
            continue;
        }
        assert!(
            matches!(
                content,
                Err(CheckpointError::Damaged { .. }
                    | CheckpointError::Foreign { .. }
                    | CheckpointError::Database { .. })
            ),
            "cut at {len}: {content:?}"
        );
        assert_eq!(std::fs::metadata(&path).expect("a file").len(), len as u64, "the file is untouched");
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "its numbers are part of the result")]
fn a_damaged_cut_or_lost_log_of_a_killed_run_is_an_error() {
    let folder = fast_folder();
    let path = folder.path().join("checkpoint");
    let run = KilledRun::new();
    let log = &run.0[1];
    let expected = run.content(&path, Some(log)).expect("an intact checkpoint");
    let (mut harmless, mut refused) = (0, 0);
    let mut check = |damage: &str, log: Option<&[u8]>| match run.content(&path, log) {
        Ok(content) if content == expected => harmless += 1,
        Ok(content) => panic!("{damage}:\n{expected}\n{content}"),
        Err(CheckpointError::CommitsLost { found, noted, .. }) if found < noted => refused += 1,
        Err(error) => panic!("{damage}: {error}"),
    };
    check("lost", None);
    for at in offsets(log).into_iter().filter(|at| at % 3 == 0) {
        let mut flipped = log.clone();
        flipped[at] ^= 1 << (at % 8);
        check(&format!("a bit of byte {at}"), Some(&flipped));
        check(&format!("cut at {at}"), Some(&log[..at]));
    }
    println!("a log of {} bytes: {refused} flips and cuts refused, {harmless} without effect", log.len());
    assert!(refused > 100 && harmless < refused / 100, "{refused} refused, {harmless} not");
}

#[test]
fn an_older_copy_of_a_checkpoint_is_refused_until_its_lock_file_is_deleted() {
    let world = World::new(Settings { duplicates: Duplicates::Allow, ..Settings::default() });
    world.run("A1,Ann,Smit,a@example.org,,,\n").expect_code(0);
    let path = world.path("omnidesk-sync.checkpoint");
    let older = std::fs::read(&path).expect("bytes");
    world.run("A1,Ann,Smit,a@example.org,,,\nA2,Bob,Smit,b@example.org,,,\n").expect_code(0);
    std::fs::write(&path, older).expect("a file");
    let requests = world.requests();
    for command in ["run", "plan", "adopt"] {
        world
            .execute(&[command, "export.csv"])
            .expect_code(5)
            .expect_stderr("delete omnidesk-sync.checkpoint.lock");
    }
    assert_eq!(world.requests(), requests);
    std::fs::remove_file(with_suffix(&path, ".lock")).expect("deleted");
    // The older copy does not know A2.
    world.execute(&RUN).expect_code(0).expect_calls(1);
}

#[test]
fn a_deleted_checkpoint_is_created_anew_with_one_notice() {
    let world = World::default();
    world.run("A1,Ann,Smit,a@example.org,,,\n").expect_code(0);
    std::fs::remove_file(world.path("omnidesk-sync.checkpoint")).expect("deleted");
    world.execute(&["run", "-q", "export.csv"]).expect_code(7).expect_stderr("is lost, after");
    for is_first in [true, false] {
        let output = world.execute(&["run", "-q", "--new-checkpoint", "export.csv"]).expect_code(0);
        assert_eq!(output.stderr.contains("every customer counts as new"), is_first, "{}", output.stderr);
    }
}

#[test]
fn a_row_that_another_program_deleted_is_an_error() {
    let world = World::default();
    world.run("A1,Ann,Smit,a@example.org,,,\nA2,Bob,Smit,b@example.org,,,\n").expect_code(0);
    let path = world.path("omnidesk-sync.checkpoint");
    let connection = rusqlite::Connection::open(&path).expect("the file");
    let deleted =
        connection.execute("DELETE FROM customers WHERE first = (SELECT min(first) FROM customers)", []);
    assert_eq!(deleted.expect("deleted"), 1);
    drop(connection);
    let requests = world.requests();
    for command in
        [["run", "export.csv"], ["plan", "export.csv"], ["adopt", "export.csv"], ["status", "--json"]]
    {
        world.execute(&command).expect_code(5).expect_stderr("is damaged").expect_stderr("put back a copy");
    }
    assert_eq!(world.requests(), requests);
}

#[test]
fn unusable_checkpoints_are_refused_with_a_remedy() {
    let world = World::default();
    world.run("A1,Ann,Smit,a@example.org,,,\n").expect_code(0);
    let path = world.path("omnidesk-sync.checkpoint");
    let whole = std::fs::read(&path).expect("bytes");
    let requests = world.requests();
    let expect_refusal = |code: i32, message: &str| {
        for command in ["run", "plan"] {
            world.execute(&[command, "export.csv"]).expect_code(code).expect_stderr(message);
        }
        assert_eq!(world.requests(), requests);
    };
    let edit = |sql: &str| {
        std::fs::write(&path, &whole).expect("a file");
        rusqlite::Connection::open(&path).expect("the file").execute_batch(sql).expect("changed");
    };
    edit("PRAGMA user_version = 99");
    expect_refusal(5, "has format 99, this program knows 1; use the version that wrote it");
    edit("PRAGMA user_version = 0");
    expect_refusal(5, "is damaged");
    edit("PRAGMA application_id = 0x6f6d6473");
    expect_refusal(5, "a version before 0.1.0");
    expect_refusal(5, "run `adopt` with the last export");
    edit("PRAGMA application_id = 7");
    expect_refusal(5, "is not that of a checkpoint");
    // Without a lock file no checkpoint was ever here, so the path is wrong.
    let lock = std::fs::read(world.path("omnidesk-sync.checkpoint.lock")).expect("a lock file");
    std::fs::remove_file(world.path("omnidesk-sync.checkpoint.lock")).expect("removed");
    expect_refusal(2, "is no checkpoint of omnidesk-sync");
    world.file("omnidesk-sync.checkpoint.lock", &lock);
    std::fs::write(&path, b"").expect("a file");
    expect_refusal(5, "it is empty");
    std::fs::write(&path, &whole[..whole.len() / 2]).expect("a file");
    expect_refusal(5, "omnidesk-sync.checkpoint");
    std::fs::remove_file(&path).expect("removed");
    world.file("omnidesk-sync.checkpoint-wal", b"stray");
    world
        .execute(&["run", "--new-checkpoint", "export.csv"])
        .expect_code(5)
        .expect_stderr("they belong together");
    assert_eq!(world.requests(), requests);
    assert!(!path.exists(), "no checkpoint is created");
}

/// A file system of limited size in a folder of a world.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf, size: &str) -> Self {
        std::fs::create_dir(&path).expect("a folder");
        let options = format!("size={size},mode=700");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).status();
        assert!(status.expect("mount").success());
        Self(path)
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status();
        assert!(status.expect("mount").success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A world whose server allows doubles, so that they show.
fn world_with_doubles(latency_ms: u64, checkpoint: &str, runs: &str) -> World {
    let latency = Duration::from_millis(latency_ms);
    World::new(Settings { duplicates: Duplicates::Allow, latency, ..Settings::default() })
        .with_settings(&format!("[checkpoint]\npath = \"{checkpoint}\"\n[report]\ndir = \"{runs}\"\n"))
}

/// Rows with two addresses each.
fn rows(count: usize) -> String {
    (0..count).map(|id| format!("C{id},Ann,Smit,c{id}@example.org,c{id}@example.net,,\n")).collect()
}

/// Resumes the run. The result must be that of an undisturbed run.
fn assert_resumes(world: &World, export: &str) -> CommandOutput {
    let output = world.execute(&RUN).expect_code(0);
    assert_undisturbed(world, &output, export);
    output
}

fn assert_undisturbed(world: &World, output: &CommandOutput, export: &str) {
    let undisturbed = world_with_doubles(0, "checkpoint", "runs");
    undisturbed.run(export).expect_code(0).expect_outcomes(&output.outcomes());
    assert_eq!(undisturbed.state().customers, world.state().customers);
    assert_eq!(world.state().counters.doubled, 0);
    world.assert_no_violations();
    world.execute(&RUN).expect_code(0).expect_calls(0);
}

#[test]
fn a_full_disk_ends_the_run_and_the_same_command_resumes_it_once_there_is_space() {
    if !SMALL_DISK.is_here() {
        return;
    }
    let export = rows(300);
    for size in ["160k", "420k", "1m"] {
        let world = world_with_doubles(1, "small/state/checkpoint", "small/runs");
        let disk = SmallDisk::mount(world.path("small"), size);
        world.write_export(&export);
        let stderr = world.execute(&RUN).expect_code(5).stderr;
        let files = ["small/state/checkpoint", "outcomes.csv", "summary.json"];
        assert!(files.iter().any(|name| stderr.contains(name)), "{stderr}");
        assert!(stderr.contains("full") || stderr.contains("No space left"), "{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
        let requests = world.requests();
        assert!(requests < 600, "{requests} calls were made before {size} were full");
        if let Some(summary) = world.result_in("small/runs", "summary.json") {
            serde_json::from_slice::<serde_json::Value>(&summary).expect("a complete summary");
        }
        // Cron runs the same command before anybody looks.
        world.execute(&RUN).expect_code(5);

        disk.remount("size=32m");
        let output = world.execute(&RUN).expect_code(0);
        let outcomes = world.result_in("small/runs", "outcomes.csv").expect("outcomes.csv");
        let outcomes = String::from_utf8(outcomes).expect("UTF-8");
        assert!(outcomes.ends_with('\n') && outcomes.lines().all(|line| line.matches(',').count() == 9));
        assert_undisturbed(&world, &output, &export);
    }
}

#[test]
fn a_read_only_disk_ends_the_run_before_the_first_call() {
    if !SMALL_DISK.is_here() {
        return;
    }
    let export = rows(60);
    for checkpoint in ["small/checkpoint", "checkpoint"] {
        let world = world_with_doubles(5, checkpoint, "small/runs");
        let disk = SmallDisk::mount(world.path("small"), "32m");
        world.write_export(&export);
        let expect_refusal = |state: &str| {
            let before = world.requests();
            disk.remount("ro");
            world.execute(&RUN).expect_code(5).expect_stderr("small/").expect_stderr("Read-only");
            disk.remount("rw");
            assert_eq!(world.requests(), before, "{state}");
        };
        expect_refusal("a new run");
        world.kill_after(30, &RUN);
        expect_refusal("a resumed run");
        assert_resumes(&world, &export);
    }
}

/// Starts a run, and moves a folder away once the run has written results.
fn run_without_folder(world: &World, folder: &str) -> CommandOutput {
    let mut child = world.spawn_piped(&RUN);
    while !world.path("runs").exists() || world.result("outcomes.csv").is_none_or(|lines| lines.is_empty()) {
        assert!(child.try_wait().expect("a child").is_none(), "the program has ended");
        std::thread::yield_now();
    }
    std::fs::rename(world.path(folder), world.path("away")).expect("renamed");
    CommandOutput::wait(child)
}

#[test]
fn a_vanished_checkpoint_ends_the_run_and_the_same_command_resumes_it_once_it_is_back() {
    let export = rows(200);
    let world = world_with_doubles(5, "state/checkpoint", "runs");
    world.write_export(&export);
    let output = run_without_folder(&world, "state")
        .expect_code(5)
        .expect_stderr("state/checkpoint")
        .expect_stderr("taken away");
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
    assert!(world.requests() < 400, "the run does not continue without it");
    assert!(!world.path("state").exists(), "no new checkpoint is created");
    std::fs::rename(world.path("away"), world.path("state")).expect("renamed");
    assert_resumes(&world, &export);
}

#[test]
fn vanished_result_files_end_the_run_and_the_next_one_restores_them() {
    let export = rows(200);
    for is_back in [true, false] {
        let world = world_with_doubles(5, "checkpoint", "runs");
        world.write_export(&export);
        run_without_folder(&world, "runs")
            .expect_code(5)
            .expect_stderr("outcomes.csv")
            .expect_stderr("was deleted or replaced");
        if is_back {
            std::fs::rename(world.path("away"), world.path("runs")).expect("renamed");
        }
        let output = assert_resumes(&world, &export);
        assert_eq!(output.stderr.contains("its lines so far are lost"), !is_back, "{}", output.stderr);
    }
}

#[test]
fn a_second_run_ends_at_once_even_if_the_first_resumes_a_killed_one() {
    let export = rows(200);
    let world = world_with_doubles(10, "checkpoint", "runs");
    world.write_export(&export);
    for _ in 0..4 {
        let before = world.requests();
        let mut first = world.spawn(&RUN);
        world.wait_for_requests(before + 15, &mut first);
        world.execute(&RUN).expect_code(6).expect_stderr("another run holds the checkpoint");
        kill(&mut first);
    }
    assert_resumes(&world, &export);
}
