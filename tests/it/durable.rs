//! A call is on the disk before it is on the wire. A kill cannot show that,
//! since the kernel keeps what a killed process has written; the order of the
//! system calls can.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use omnidesk_sync::sandbox::Settings;

use crate::world::{HEADER, KEY, World};

const REQUESTS: [&str; 3] = ["\"POST /api/", "\"PUT /api/", "\"DELETE /api/"];

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
    let rows: String = (0..12).map(|id| format!("C{id},Ann,Smit,c{id}@example.org,,,sync\n")).collect();
    world.file("export.csv", format!("{HEADER}{rows}").as_bytes());
    let ended = Command::new("strace")
        .current_dir(world.path("."))
        .args(["-f", "-y", "-s", "24", "-o", "trace"])
        .args(["-e", "trace=pwrite64,fsync,fdatasync,write,writev,sendto,sendmsg"])
        // A slow disk: who does not wait for it is well ahead of it.
        .args(["-e", "inject=fsync,fdatasync:delay_enter=20000"])
        .arg(env!("CARGO_BIN_EXE_omnidesk-sync"))
        // At this rate one call at most is recorded before the one that is sent
        // next, and four could be sent while the disk is at one record.
        .args(["run", "--quiet", "--concurrency", "1", "--rate", "190/s", "export.csv"])
        .env("OMNIDESK_API_KEY", KEY)
        .status();
    assert!(ended.expect("strace").success());

    // Syncs of the log that have ended, and those under way, by thread.
    let (mut sent, mut synced, mut under_way) = (0, 0, BTreeSet::new());
    for line in world.read("trace").lines() {
        let thread = line.split(' ').next().unwrap_or_default().to_owned();
        let is_log = line.contains("sync(") && line.contains("-wal>");
        if is_log && line.contains("<unfinished") {
            under_way.insert(thread);
        } else if is_log || line.contains("sync resumed>") && under_way.remove(&thread) {
            synced += 1;
        } else if REQUESTS.iter().any(|request| line.contains(request)) {
            sent += 1;
            if sent == 1 {
                assert!(synced > 0, "the first request was sent before anything was on the disk");
                // That of the next call may be among them.
                synced = 2;
            }
            assert!(sent <= synced, "request {sent} was sent before its record was on the disk: {line}");
        }
    }
    assert_eq!(sent, 12, "requests in the trace");
}
