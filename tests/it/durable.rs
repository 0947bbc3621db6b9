//! A call is on the disk before it is on the wire. A kill cannot show that,
//! since the kernel keeps what a killed process has written; the order of the
//! system calls can.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

use omnidesk_sync::checkpoint::Checkpoint;
use omnidesk_sync::mapping::{Customer, PrimaryId};
use omnidesk_sync::sandbox::Settings;

use crate::world::{HEADER, KEY, World};

const CUSTOMERS: usize = 12;

fn has_strace() -> bool {
    let tried = Command::new("strace")
        .args(["-o", "/dev/null", "-e", "inject=fsync:delay_enter=1", "true"])
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

#[test]
#[expect(clippy::print_stdout, reason = "a test that was skipped says so")]
fn nothing_is_sent_before_its_record_is_synced() {
    if !has_strace() {
        println!("skipped: strace is not here, or may not trace");
        return;
    }
    let world = World::new(Settings::default());
    let rows: String =
        (0..CUSTOMERS).map(|id| format!("C{id},Ann,Smit,c{id}@example.org,,,sync\n")).collect();
    world.file("export.csv", format!("{HEADER}{rows}").as_bytes());
    let ended = Command::new("strace")
        .current_dir(world.path("."))
        .args(["-f", "-y", "-xx", "-s", "4200", "-o", "trace"])
        .args(["-e", "trace=pwrite64,fsync,fdatasync,write,writev,sendto,sendmsg"])
        // A slow disk: who does not wait for it is well ahead of it.
        .args(["-e", "inject=fsync,fdatasync:delay_enter=20000"])
        .arg(env!("CARGO_BIN_EXE_omnidesk-sync"))
        .args(["run", "--quiet", "--concurrency", "2", "export.csv"])
        .env("OMNIDESK_API_KEY", KEY)
        .status();
    assert!(ended.expect("strace").success());
    check(&world.read("trace"), &hashes(&world));
}

/// The hash of each customer, as the checkpoint has it and as a trace shows it.
fn hashes(world: &World) -> Vec<String> {
    let checkpoint =
        Checkpoint::open_to_read(&world.path("omnidesk-sync.checkpoint")).expect("whole").expect("there");
    let hash = |id| {
        let primary_id = PrimaryId::new(&format!("C{id}")).expect("an id");
        shown(&checkpoint.key().customer(&Customer { brand_id: 2, primary_id }).0)
    };
    (0..CUSTOMERS).map(hash).collect()
}

/// Bytes as a trace shows them.
fn shown(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}

/// Each customer's hash is written to the log, and the log synced, before the
/// customer's request is sent.
fn check(trace: &str, hashes: &[String]) {
    let log = format!("{}>", shown(b"-wal"));
    let requests: Vec<String> =
        (0..CUSTOMERS).map(|id| shown(format!("\"primary_id\":\"C{id}\"").as_bytes())).collect();
    let (mut written, mut durable, mut sent) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    // What was written when a thread began to sync the log.
    let mut under_way = BTreeMap::new();
    for line in trace.lines() {
        let thread = line.split(' ').next().unwrap_or_default();
        if line.contains("pwrite64(") && line.contains(&log) {
            written.extend((0..CUSTOMERS).filter(|id| line.contains(&hashes[*id])));
        } else if line.contains("sync(") && line.contains(&log) {
            match line.contains("<unfinished") {
                true => drop(under_way.insert(thread, written.clone())),
                false => durable.extend(written.iter().copied()),
            }
        } else if line.contains("sync resumed>") {
            durable.extend(under_way.remove(thread).unwrap_or_default());
        } else if let Some(id) = requests.iter().position(|request| line.contains(request)) {
            sent.insert(id);
            assert!(durable.contains(&id), "C{id} was sent before its record was on the disk");
        }
    }
    assert_eq!(sent.len(), CUSTOMERS, "requests in the trace");
}
