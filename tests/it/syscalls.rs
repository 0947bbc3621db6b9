//! The system says no, or the process dies, at the n-th call of a kind: then
//! the same command line again, and everything is as if nothing had been.
//!
//! strace injects the faults; where it is missing or forbidden the tests say
//! so and are left out. It counts calls in each thread by itself, so that one
//! run can meet the same fault in the thread that opens and in the one that
//! keeps the books.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use omnidesk_sync::sandbox::{Duplicates, Settings, State};

use crate::world::{Ended, HEADER, World};

const RUN: [&str; 5] = ["run", "--json", "--metrics-file", "metrics.prom", "export.csv"];

/// A short run of everything: creates with more addresses, updates of the
/// same customer, a rejected row.
const EXPORT: &str = "\
A1,Ann,Smit,a1@example.org,a2@example.org,,
A2,Bob,Smit,b@example.org,,06-12345678,
A3,Cor,Smit,no-address,,,
A1,Eva,Smit,a1@example.org,,,update
A4,Dik,Smit,d@example.org,,,create
A1,Eva,de Wit,a1@example.org,a3@example.org,,
";

/// The calls that a run makes of its files, and with which errors they fail.
const ERRORS: [(&str, &[&str], usize); 7] = [
    ("pwrite64", &["ENOSPC", "EIO"], 6),
    ("ftruncate", &["EIO"], 3),
    ("fsync", &["EIO"], 9),
    ("fdatasync", &["EIO"], 6),
    ("rename", &["ENOSPC", "EIO"], 3),
    ("mkdir", &["ENOSPC"], 3),
    ("unlink", &["EIO"], 3),
];

/// What the network refuses: none of it costs a row or makes a duplicate.
const NETWORK_ERRORS: [(&str, &[&str], usize); 5] = [
    ("socket", &["EMFILE"], 1),
    ("connect", &["ECONNREFUSED", "ENETUNREACH"], 2),
    ("writev", &["EPIPE", "ECONNRESET"], 6),
    ("recvfrom", &["ECONNRESET"], 6),
    ("epoll_ctl", &["ENOMEM"], 1),
];

/// What cannot be opened, and with which codes the run may end: 2 says that
/// the export or the configuration cannot be read.
const OPEN_ERRORS: [(&str, &[i32]); 5] = [
    ("export.csv", &[2]),
    ("omnidesk-sync.toml", &[2]),
    ("omnidesk-sync.checkpoint", &[5]),
    ("omnidesk-sync.checkpoint-wal", &[5]),
    ("omnidesk-sync.checkpoint.lock", &[5]),
];

/// The calls before which it is killed: those, and what goes to the network.
const KILLS: [(&str, usize); 9] = [
    ("pwrite64", 8),
    ("ftruncate", 2),
    ("fsync", 8),
    ("fdatasync", 6),
    ("rename", 2),
    ("unlink", 2),
    ("write", 6),
    ("writev", 6),
    ("mkdir", 3),
];

#[expect(clippy::print_stdout, reason = "a test that is left out says so")]
fn strace_works() -> bool {
    let works = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=fsync", "-e", "inject=fsync:error=EIO:when=1", "true"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !works {
        println!("LEFT OUT: strace is missing or may not trace here, so no fault can be injected");
    }
    works
}

fn world() -> World {
    // Doubles must show, not be refused.
    let world = World::new(Settings { duplicates: Duplicates::Allow, ..Settings::default() });
    let config = world.read("omnidesk-sync.toml").replace("settle = \"300ms\"", "settle = \"20ms\"");
    world.file("omnidesk-sync.toml", config.as_bytes());
    world.file("export.csv", format!("{HEADER}{EXPORT}").as_bytes());
    world
}

/// The run, under strace with these options; what it traced is in `trace`.
fn traced(world: &World, options: &[String]) -> Ended {
    let plain = world.command(&RUN);
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-y", "-o", "trace"]).args(options);
    command.arg(plain.get_program()).args(plain.get_args()).current_dir(world.path(""));
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Ended::of(command.output().expect("strace"))
}

/// How often the busiest thread makes each call in a run without faults.
fn counted(names: impl Iterator<Item = &'static str>) -> BTreeMap<&'static str, usize> {
    let world = world();
    let names: Vec<&str> = names.collect();
    traced(&world, &["-e".to_owned(), format!("trace={}", names.join(","))]).expect(1);
    let trace = world.read("trace");
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in trace.lines() {
        let (thread, call) = line.split_once(' ').unwrap_or_default();
        if let Some(name) = names.iter().find(|name| call.trim_start().starts_with(&format!("{name}("))) {
            *counts.entry((thread, name)).or_default() += 1;
        }
    }
    let most = |name| counts.iter().filter(|((_, of), _)| *of == name).map(|(_, count)| *count).max();
    names.iter().map(|name| (*name, most(*name).unwrap_or(0))).collect()
}

/// At most `cases` of 1..=count, spread, the first and the last among them.
fn spread(count: usize, cases: usize) -> BTreeSet<usize> {
    (0..cases.min(count)).map(|nth| 1 + nth * (count - 1) / (cases.min(count) - 1).max(1)).collect()
}

/// The same command line without faults comes to what an undisturbed run does.
fn assert_mended(world: &World, calm: &State, case: &str) {
    let ended = world.ends(&RUN);
    assert!(matches!(ended.code, Some(0 | 1)), "{case}: {}", ended.stderr);
    ended.outcomes();
    let state = world.state();
    assert_eq!(calm.customers, state.customers, "{case}: {}", ended.stderr);
    assert_eq!(state.counters.doubled, 0, "{case}");
    assert_eq!(state.violations, Vec::<String>::new(), "{case}");
    assert_eq!(world.ends(&["status", "--json"]).json()["in_doubt"], 0, "{case}");
    assert_eq!(world.ends(&RUN).calls(), 0, "{case}: all of it is known");
}

fn calm() -> State {
    let calm = world();
    calm.ends(&RUN).expect(1);
    calm.state()
}

/// After a sync that failed there is none of the same file in the trace. Of
/// folders there may be: SQLite does not look at what syncing one says, so
/// the checkpoint syncs its own before the first commit.
fn assert_never_synced_again(trace: &str, case: &str) {
    let mut failed: BTreeSet<&str> = BTreeSet::new();
    let mut under_way: BTreeMap<&str, &str> = BTreeMap::new();
    for line in trace.lines() {
        let (thread, call) = line.split_once(' ').unwrap_or_default();
        let call = call.trim_start();
        if call.starts_with("fsync(") || call.starts_with("fdatasync(") {
            let file = call.split(['<', '>']).nth(1).unwrap_or_default();
            assert!(!failed.contains(file), "{case}: {file} is synced again:\n{trace}");
            under_way.insert(thread, file);
        }
        if call.contains("(INJECTED)") {
            let file =
                under_way.get(thread).filter(|file| file.contains("checkpoint") || file.contains("runs/"));
            failed.extend(file);
        }
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are part of the test's use")]
fn an_error_at_any_call_ends_the_run_in_order_and_the_same_command_mends_it() {
    if !strace_works() {
        return;
    }
    let calm = calm();
    let counts = counted(ERRORS.iter().map(|(name, ..)| *name));
    let (mut cases, mut broken) = (0, 0);
    for (name, errors, most) in ERRORS {
        for (error, at) in
            errors.iter().flat_map(|error| spread(counts[name], most).into_iter().map(move |at| (error, at)))
        {
            let case = format!("{error} at {name} {at} of {}", counts[name]);
            let world = world();
            let inject = format!("inject={name}:error={error}:when={at}");
            let ended = traced(&world, &["-e".to_owned(), format!("trace={name}"), "-e".to_owned(), inject]);
            assert!(!ended.stderr.contains("panicked"), "{case}: {}", ended.stderr);
            // What fails behind the last commit costs nothing: 1 is the undisturbed run's code.
            assert!(matches!(ended.code, Some(1 | 5)), "{case}: {:?} {}", ended.code, ended.stderr);
            if ended.code == Some(5) {
                let names_it = ["omnidesk-sync.checkpoint", "runs", "metrics.prom"];
                assert!(names_it.iter().any(|name| ended.stderr.contains(name)), "{case}: {}", ended.stderr);
            }
            if name.ends_with("sync") {
                assert_never_synced_again(&world.read("trace"), &case);
            }
            cases += 1;
            broken += u32::from(ended.code == Some(5));
            println!("{case}: {:?} {}", ended.code, ended.stderr.lines().last().unwrap_or_default());
            assert_mended(&world, &calm, &case);
        }
    }
    println!("{cases} errors injected, {broken} ended the run with 5; calls in a run: {counts:?}");
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are part of the test's use")]
fn an_error_of_the_network_at_any_call_costs_no_row_and_makes_no_duplicate() {
    if !strace_works() {
        return;
    }
    let calm = calm();
    let counts = counted(NETWORK_ERRORS.iter().map(|(name, ..)| *name));
    let (mut cases, mut met) = (0, 0);
    for (name, errors, most) in NETWORK_ERRORS {
        for (error, at) in
            errors.iter().flat_map(|error| spread(counts[name], most).into_iter().map(move |at| (error, at)))
        {
            let case = format!("{error} at {name} {at} of {}", counts[name]);
            let world = world();
            let inject = format!("inject={name}:error={error}:when={at}");
            let ended = traced(&world, &["-e".to_owned(), format!("trace={name}"), "-e".to_owned(), inject]);
            println!("{case}: {:?} {}", ended.code, ended.stderr.lines().last().unwrap_or_default());
            assert!(!ended.stderr.contains("panicked"), "{case}: {}", ended.stderr);
            // The rejected row of the export is all that is wrong; without a poller
            // there is no run at all.
            let code = if name == "epoll_ctl" { 5 } else { 1 };
            assert_eq!(ended.code, Some(code), "{case}: {}", ended.stderr);
            assert!(code == 1 || ended.stderr.contains("no room for network"), "{case}: {}", ended.stderr);
            cases += 1;
            met += u32::from(world.read("trace").contains("(INJECTED)"));
            assert_mended(&world, &calm, &case);
        }
    }
    println!("{cases} runs, an error injected in {met} of them; calls in a run: {counts:?}");
    assert!(met * 2 > cases, "most met their error");
}

#[test]
fn a_file_that_cannot_be_opened_ends_the_run_in_order_and_the_same_command_mends_it() {
    if !strace_works() {
        return;
    }
    let calm = calm();
    for (file, codes) in OPEN_ERRORS {
        for error in ["EMFILE", "EACCES", "EIO"] {
            let case = format!("{error} at opening {file}");
            let world = world();
            let path = world.path(file).display().to_string();
            let inject = format!("inject=openat:error={error}");
            let options = ["-P", &path, "-P", file, "-e", "trace=openat", "-e", &inject];
            let ended = traced(&world, &options.map(str::to_owned));
            assert!(world.read("trace").contains("(INJECTED)"), "{case}: nothing was injected");
            assert!(
                ended.code.is_some_and(|code| codes.contains(&code)),
                "{case}: {:?} {}",
                ended.code,
                ended.stderr
            );
            // A log is the checkpoint's.
            let named = file.trim_end_matches("-wal");
            assert!(ended.stderr.contains(named), "{case}: {named} is not named: {}", ended.stderr);
            assert_mended(&world, &calm, &case);
        }
    }
}

/// Where a run that starts in the next seconds will write its lines: the
/// network and the terminal are written to by the same call.
fn result_files_to_be(world: &World) -> Vec<String> {
    let mut options = Vec::new();
    for second in 0..20 {
        let time = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(second);
        let folder = time.strftime("runs/%Y%m%dT%H%M%SZ-export").to_string();
        for name in ["outcomes.csv", "rejected.csv"] {
            options.extend(["-P".to_owned(), world.path(&folder).join(name).display().to_string()]);
        }
    }
    options
}

#[test]
fn a_result_file_that_cannot_be_written_ends_the_run_and_holds_each_line_once_in_the_end() {
    if !strace_works() {
        return;
    }
    let calm = calm();
    for (error, at) in [("ENOSPC", 1), ("EIO", 1), ("ENOSPC", 2), ("EIO", 3)] {
        let case = format!("{error} at write {at} of a result file");
        let world = world();
        let mut options = result_files_to_be(&world);
        options.extend(["-e", "trace=write", "-e"].map(str::to_owned));
        options.push(format!("inject=write:error={error}:when={at}"));
        let ended = traced(&world, &options);
        let injected = world.read("trace").contains("(INJECTED)");
        assert_eq!(ended.code, Some(if injected { 5 } else { 1 }), "{case}: {}", ended.stderr);
        assert!(injected || at > 1, "{case}: nothing was injected: {}", world.read("trace"));
        assert!(!injected || ended.stderr.contains(".csv: "), "{case}: {}", ended.stderr);
        assert_mended(&world, &calm, &case);
        let rejected = |folder: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(folder.expect("a folder").path().join("rejected.csv")).ok()
        };
        let files = std::fs::read_dir(world.path("runs")).expect("runs").filter_map(rejected);
        assert_eq!(files.map(|text| text.matches("A3,Cor").count()).max(), Some(1), "{case}");
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are part of the test's use")]
fn a_kill_at_any_call_is_mended_by_the_same_command() {
    if !strace_works() {
        return;
    }
    let calm = calm();
    let counts = counted(KILLS.iter().map(|(name, _)| *name));
    let (mut cases, mut killed) = (0, 0);
    for (name, most) in KILLS {
        for at in spread(counts[name], most) {
            let case = format!("killed at {name} {at} of {}", counts[name]);
            let world = world();
            let inject = format!("inject={name}:signal=KILL:when={at}");
            let ended = traced(&world, &["-e".to_owned(), format!("trace={name}"), "-e".to_owned(), inject]);
            cases += 1;
            killed += u32::from(ended.code.is_none());
            assert_mended(&world, &calm, &case);
        }
    }
    println!("{cases} runs, {killed} killed on the way; calls in a run: {counts:?}");
    assert!(killed * 2 > cases, "most were killed");
}
