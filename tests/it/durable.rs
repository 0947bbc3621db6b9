//! A call is on the disk before it is on the wire. A kill cannot show that,
//! since the kernel keeps what a killed process has written; the order of the
//! system calls can.

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
        .args(["run", "--quiet", "--concurrency", "1", "export.csv"])
        .env("OMNIDESK_API_KEY", KEY)
        .status();
    assert!(ended.expect("strace").success());

    let (mut sent, mut synced, mut dirty) = (0, false, false);
    for line in world.read("trace").lines() {
        if line.contains("pwrite64(") && line.contains("-wal>") {
            dirty = true;
        } else if line.contains("sync resumed>") || line.contains("sync(") && line.contains("-wal>) ") {
            (synced, dirty) = (true, false);
        } else if REQUESTS.iter().any(|request| line.contains(request)) {
            sent += 1;
            assert!(synced && !dirty, "request {sent} was sent before its record was on the disk: {line}");
            synced = false;
        }
    }
    assert_eq!(sent, 12, "requests in the trace");
}
