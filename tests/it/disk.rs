//! What disks do: flipped bits, cut files, no space left, folders that cannot
//! be written or are gone. Nothing of it may end in a run that has silently
//! forgotten something.

use std::path::{Path, PathBuf};

use omnidesk_sync::checkpoint::{Checkpoint, CheckpointError, FileLengths, RunRecord, RunState};
use omnidesk_sync::mapping::{Customer, PrimaryId};
use omnidesk_sync::omnidesk::Kind;
use omnidesk_sync::planning::{CustomerKey, Flight, Outcome, Progress, Told, Work, Worklist};
use omnidesk_sync::sandbox::Settings;
use omnidesk_sync::source::{Fingerprint, RowRef};
use tempfile::TempDir;

use crate::world::World;

const TENANT: &str = "account.omnidesk.example";
const CUSTOMERS: u64 = 12;

/// A folder in memory where there is one: these tests open a file thousands
/// of times.
fn quick_folder() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).expect("a folder")
}

fn customer(checkpoint: &Checkpoint, row: u64) -> CustomerKey {
    let primary_id = PrimaryId::new(&format!("C{row}")).expect("an id");
    checkpoint.key().customer(&Customer { brand_id: 2, primary_id })
}

/// A run of some rows with two customers a call, of which the first rows are
/// settled, one is ahead, one is under way and one has failed.
fn begun(checkpoint: &mut Checkpoint, export: u8) -> omnidesk_sync::checkpoint::OpenRun {
    let mut worklist = Worklist::default();
    for number in 1..=CUSTOMERS {
        worklist.pass(RowRef { number, line: number + 1, offset: number * 40, len: 39 });
        worklist.mark(number, if number % 6 == 5 { Work::Rejected } else { Work::Calls });
    }
    let record =
        RunRecord { rows: CUSTOMERS, calls_planned: 10, ..RunRecord::adopted("2026-11-23T17:00:00Z") };
    let plan = [export; 32];
    let mut run = checkpoint.begin(Fingerprint([export; 32]), plan, record, worklist).expect("a run");
    let keys: Vec<CustomerKey> = (0..=CUSTOMERS).map(|row| customer(checkpoint, row)).collect();
    let mut batch = checkpoint.batch().expect("a batch");
    batch.settle_rejected(&mut run, 5, true).expect("settled");
    for (row, outcome) in
        [(1, Outcome::Created), (2, Outcome::Created), (3, Outcome::Failed), (6, Outcome::Created)]
    {
        let mut told = Told::existing();
        (told.export, told.row) = (run.export, row);
        batch.told(keys[row as usize], Some(&told)).expect("told");
        batch.settle(&mut run, row, outcome).expect("settled");
    }
    batch.told(keys[8], Some(&Told::tombstone(run.export, 8))).expect("told");
    batch.intend(keys[4], &Flight::new(run.export, 4, Kind::Create, None, 1_700_000_000)).expect("intended");
    batch.progress(7, &Progress { created: true, ..Progress::default() }).expect("progress");
    batch.commit(&mut run, FileLengths(vec![("failed.csv".into(), 70)])).expect("committed");
    run
}

/// The bytes of a checkpoint with a finished run and, or not, an open one.
fn checkpoint_bytes(open: bool) -> Vec<u8> {
    let folder = quick_folder();
    let path = folder.path().join("checkpoint");
    let mut checkpoint = Checkpoint::open(&path, TENANT).expect("a checkpoint");
    let mut run = begun(&mut checkpoint, 1);
    checkpoint.close_run(&mut run, RunState::Finished, "2026-11-23T18:00:00Z").expect("closed");
    if open {
        begun(&mut checkpoint, 2);
    }
    drop(checkpoint);
    assert!(!folder.path().join("checkpoint-wal").exists(), "all is in the file itself");
    std::fs::read(path).expect("bytes")
}

/// Everything that a run would learn from the checkpoint, and whether it can
/// write into it.
fn learned(path: &Path) -> Result<String, CheckpointError> {
    let mut checkpoint = loop {
        match Checkpoint::open(path, TENANT) {
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
            lookups.told(key)?,
            lookups.flight(key)?,
            lookups.progress(row)?
        ));
    }
    for export in [1, 2, 3] {
        let fingerprint = Fingerprint([export; 32]);
        text.push_str(&format!("{:?}", checkpoint.export_ordinal(&fingerprint)?));
        text.push_str(&format!("{:?}", checkpoint.unfinished(&fingerprint, &[export; 32])?));
    }
    let (open, runs, totals) = (checkpoint.open_run()?, checkpoint.runs(9)?, checkpoint.totals()?);
    text.push_str(&format!("{open:?}{runs:?}{totals:?}{:?}", checkpoint.tenant()));
    let key = customer(&checkpoint, 99);
    let mut batch = checkpoint.batch()?;
    batch.told(key, Some(&Told::existing()))?;
    batch.commit_told()?;
    text.push_str(&format!("{:?}", checkpoint.lookups().told(key)?));
    Ok(text)
}

/// Learns from these bytes.
fn learned_of(path: &Path, bytes: &[u8]) -> Result<String, CheckpointError> {
    for ending in ["-wal", "-shm", "-journal"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(ending);
        let _ = std::fs::remove_file(PathBuf::from(beside));
    }
    std::fs::write(path, bytes).expect("a file");
    learned(path)
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
    learned_of(&path, &whole).expect("it is whole");
    for len in offsets(&whole).into_iter().filter(|len| len % 7 == 0 || *len < 600) {
        let found = learned_of(&path, &whole[..len]);
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
fn a_row_that_another_program_took_out_is_noticed() {
    let world = World::new(Settings::default());
    world.run("A1,Ann,Smit,a@example.org,,,\nA2,Bob,Smit,b@example.org,,,\n").expect(0);
    let path = world.path("omnidesk-sync.checkpoint");
    let connection = rusqlite::Connection::open(&path).expect("the file");
    let changed = connection.execute("DELETE FROM customer WHERE key = (SELECT min(key) FROM customer)", []);
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
    edit("PRAGMA application_id = 7");
    assert!(refused(2, "is no checkpoint of omnidesk-sync"));
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
