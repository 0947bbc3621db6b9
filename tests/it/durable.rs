//! A call is on the disk before it is on the wire. A kill cannot show that, since
//! the kernel keeps the writes of a killed process. The order of the system calls
//! can.

use std::collections::{BTreeMap, BTreeSet};

use omnidesk_sync::checkpoint::Checkpoint;
use omnidesk_sync::mapping::{Customer, PrimaryId};

use crate::strace;
use crate::tools::STRACE;
use crate::world::{World, rows};

const CUSTOMERS: usize = 12;

#[test]
fn no_call_is_sent_before_its_record_is_synced() {
    if !STRACE.is_here() {
        return;
    }
    let world = World::default();
    world.write_export(&rows(CUSTOMERS));
    let calls = "trace=pwrite64,fsync,fdatasync,write,writev,sendto,sendmsg";
    // On a slow disk, a call that does not wait for it is sent much too early.
    let slow_disk = "inject=fsync,fdatasync:delay_enter=20000";
    let options = ["-xx", "-s", "4200", "-e", calls, "-e", slow_disk];
    let run = ["run", "--quiet", "--concurrency", "2", "export.csv"];
    strace::run(&world, &options, &run).expect_code(0);
    check(&world.read("trace"), &customer_hashes(&world));
}

/// The key hashes of the customers, as a trace shows them.
fn customer_hashes(world: &World) -> Vec<String> {
    let checkpoint = Checkpoint::open_to_read(&world.path("omnidesk-sync.checkpoint"))
        .expect("a checkpoint")
        .expect("a checkpoint");
    let hash = |id| {
        let primary_id = PrimaryId::new(&format!("C{id}")).expect("an id");
        traced(&checkpoint.key().customer(&Customer { brand_id: 2, primary_id }).0)
    };
    (0..CUSTOMERS).map(hash).collect()
}

/// Bytes, as a trace shows them.
fn traced(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}

/// Each customer's hash is written and synced before the customer's request is
/// sent.
fn check(trace: &str, hashes: &[String]) {
    let log = format!("{}>", traced(b"-wal"));
    let requests: Vec<String> =
        (0..CUSTOMERS).map(|id| traced(format!("\"primary_id\":\"C{id}\"").as_bytes())).collect();
    let (mut written, mut synced, mut sent) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    // The customers written before a thread began to sync.
    let mut unfinished = BTreeMap::new();
    for line in trace.lines() {
        let thread = line.split(' ').next().unwrap_or_default();
        if line.contains("pwrite64(") && line.contains(&log) {
            written.extend((0..CUSTOMERS).filter(|id| line.contains(&hashes[*id])));
        } else if line.contains("sync(") && line.contains(&log) {
            if line.contains("<unfinished") {
                unfinished.insert(thread, written.clone());
            } else {
                synced.extend(written.iter().copied());
            }
        } else if line.contains("sync resumed>") {
            synced.extend(unfinished.remove(thread).unwrap_or_default());
        } else if let Some(id) = requests.iter().position(|request| line.contains(request)) {
            sent.insert(id);
            assert!(synced.contains(&id), "C{id} is sent before its record is synced");
        }
    }
    assert_eq!(sent.len(), CUSTOMERS, "requests in the trace");
}
