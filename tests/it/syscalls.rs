//! Each kind of system call fails, or kills the process, at its n-th use. Then the
//! same command line resumes the run, and the result is that of an undisturbed run.
//!
//! strace injects the faults. It counts the calls of each thread apart, so one run can
//! have the same fault in several threads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use omnidesk_sync::sandbox::{Duplicates, Settings, State};

use crate::strace;
use crate::tools::STRACE;
use crate::world::{CommandOutput, World};

const RUN: [&str; 5] = ["run", "--json", "--metrics-file", "metrics.prom", "export.csv"];

/// All kinds of calls: creates with several addresses, updates of the same customer,
/// a rejected row.
const ROWS: &str = "\
A1,Ann,Smit,a1@example.org,a2@example.org,,
A2,Bob,Smit,b@example.org,,06-12345678,
A3,Cor,Smit,no-address,,,
A1,Eva,Smit,a1@example.org,,,update
A4,Dik,Smit,d@example.org,,,create
A1,Eva,de Wit,a1@example.org,a3@example.org,,
";

/// A system call, what strace injects into it, and the number of cases at most.
type Fault = (&'static str, &'static [&'static str], usize);

const FILE_ERRORS: [Fault; 7] = [
    ("pwrite64", &["error=ENOSPC", "error=EIO"], 6),
    ("ftruncate", &["error=EIO"], 3),
    ("fsync", &["error=EIO"], 9),
    ("fdatasync", &["error=EIO"], 6),
    ("rename", &["error=ENOSPC", "error=EIO"], 3),
    ("mkdir", &["error=ENOSPC"], 3),
    ("unlink", &["error=EIO"], 3),
];

const NETWORK_ERRORS: [Fault; 5] = [
    ("socket", &["error=EMFILE"], 1),
    ("connect", &["error=ECONNREFUSED", "error=ENETUNREACH"], 2),
    ("writev", &["error=EPIPE", "error=ECONNRESET"], 6),
    ("recvfrom", &["error=ECONNRESET"], 6),
    ("epoll_ctl", &["error=ENOMEM"], 1),
];

/// Calls on files, and on the network.
const KILLS: [Fault; 9] = [
    ("pwrite64", &["signal=KILL"], 8),
    ("ftruncate", &["signal=KILL"], 2),
    ("fsync", &["signal=KILL"], 8),
    ("fdatasync", &["signal=KILL"], 6),
    ("rename", &["signal=KILL"], 2),
    ("unlink", &["signal=KILL"], 2),
    ("write", &["signal=KILL"], 6),
    ("writev", &["signal=KILL"], 6),
    ("mkdir", &["signal=KILL"], 3),
];

/// Files that cannot be opened, and the exit code: 2 for the export and the
/// configuration.
const OPEN_ERRORS: [(&str, i32); 5] = [
    ("export.csv", 2),
    ("omnidesk-sync.toml", 2),
    ("omnidesk-sync.checkpoint", 5),
    ("omnidesk-sync.checkpoint-wal", 5),
    ("omnidesk-sync.checkpoint.lock", 5),
];

fn world() -> World {
    // Allowed doubles show.
    let world = World::new(Settings { duplicates: Duplicates::Allow, ..Settings::default() });
    world.edit_config("settle = \"300ms\"", "settle = \"20ms\"");
    world.write_export(ROWS);
    world
}

/// One fault at the n-th use of a call.
struct Injection {
    call: &'static str,
    fault: &'static str,
    nth: usize,
    /// How often the busiest thread makes the call in a run without faults.
    count: usize,
}

impl Injection {
    fn all(faults: &[Fault]) -> Vec<Self> {
        let counts = count_calls(faults.iter().map(|(call, ..)| *call).collect());
        let mut injections = Vec::new();
        for (call, kinds, cases_max) in faults {
            let count = counts[call];
            for fault in *kinds {
                let numbers = spread(count, *cases_max).into_iter();
                injections.extend(numbers.map(|nth| Self { call, fault, nth, count }));
            }
        }
        injections
    }

    /// Runs the program with this fault, in a world of its own.
    fn run(&self) -> (World, CommandOutput) {
        let Self { call, fault, nth, .. } = self;
        let (world, trace) = (world(), format!("trace={call}"));
        let inject = format!("inject={call}:{fault}:when={nth}");
        let output = strace::run(&world, &["-e", &trace, "-e", &inject], &RUN);
        assert!(!output.stderr.contains("panicked"), "{self}: {}", output.stderr);
        (world, output)
    }
}

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { call, fault, nth, count } = self;
        write!(f, "{fault} at {call} {nth} of {count}")
    }
}

/// How often the busiest thread makes each call in a run without faults.
fn count_calls(calls: Vec<&'static str>) -> BTreeMap<&'static str, usize> {
    let world = world();
    strace::run(&world, &["-e", &format!("trace={}", calls.join(","))], &RUN).expect_code(1);
    let trace = world.read("trace");
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in trace.lines() {
        let (thread, rest) = line.split_once(' ').unwrap_or_default();
        if let Some(call) = calls.iter().find(|call| rest.trim_start().starts_with(&format!("{call}("))) {
            *counts.entry((thread, call)).or_default() += 1;
        }
    }
    let count = |call| counts.iter().filter(|((_, name), _)| *name == call).map(|(_, count)| *count).max();
    calls.iter().map(|call| (*call, count(*call).unwrap_or(0))).collect()
}

/// At most `cases` numbers of 1..=count, evenly spread from the first to the last.
fn spread(count: usize, cases: usize) -> BTreeSet<usize> {
    (0..cases.min(count)).map(|nth| 1 + nth * (count - 1) / (cases.min(count) - 1).max(1)).collect()
}

/// The same command line without faults leads to the state of an undisturbed run.
fn assert_resumes(world: &World, undisturbed: &State, case: impl fmt::Display) {
    let output = world.execute(&RUN);
    assert!(matches!(output.code, Some(0 | 1)), "{case}: {}", output.stderr);
    output.outcomes();
    let state = world.state();
    assert_eq!(undisturbed.customers, state.customers, "{case}: {}", output.stderr);
    assert_eq!(state.counters.doubled, 0, "{case}");
    assert_eq!(state.violations, Vec::<String>::new(), "{case}");
    assert_eq!(world.status()["in_doubt"], 0, "{case}");
    assert_eq!(world.execute(&RUN).calls(), 0, "{case}");
}

fn undisturbed_state() -> State {
    let world = world();
    world.execute(&RUN).expect_code(1);
    world.state()
}

/// A file whose sync has failed is not synced again. A folder may be: SQLite ignores
/// whether it could sync one, so the checkpoint syncs its own before the first commit.
fn assert_never_synced_again(trace: &str, case: &Injection) {
    let mut failed: BTreeSet<&str> = BTreeSet::new();
    let mut unfinished: BTreeMap<&str, &str> = BTreeMap::new();
    for line in trace.lines() {
        let (thread, call) = line.split_once(' ').unwrap_or_default();
        let call = call.trim_start();
        if call.starts_with("fsync(") || call.starts_with("fdatasync(") {
            let file = call.split(['<', '>']).nth(1).unwrap_or_default();
            assert!(!failed.contains(file), "{case}: {file} is synced again:\n{trace}");
            unfinished.insert(thread, file);
        }
        if call.contains("(INJECTED)") {
            let file =
                unfinished.get(thread).filter(|file| file.contains("checkpoint") || file.contains("runs/"));
            failed.extend(file);
        }
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "its numbers are part of the result")]
fn a_file_error_at_any_call_ends_the_run_in_order_and_the_same_command_resumes_it() {
    if !STRACE.is_here() {
        return;
    }
    let (undisturbed, injections) = (undisturbed_state(), Injection::all(&FILE_ERRORS));
    let mut failed = 0;
    for injection in &injections {
        let (world, CommandOutput { code, stderr, .. }) = injection.run();
        println!("{injection}: {code:?} {}", stderr.lines().last().unwrap_or_default());
        // An error after the last commit costs nothing: 1 is the code of an undisturbed run.
        assert!(matches!(code, Some(1 | 5)), "{injection}: {code:?} {stderr}");
        if code == Some(5) {
            failed += 1;
            let files = ["omnidesk-sync.checkpoint", "runs", "metrics.prom"];
            assert!(files.iter().any(|name| stderr.contains(name)), "{injection}: {stderr}");
        }
        if injection.call.ends_with("sync") {
            assert_never_synced_again(&world.read("trace"), injection);
        }
        assert_resumes(&world, &undisturbed, injection);
    }
    println!("{} errors injected, {failed} of them ended the run with code 5", injections.len());
}

#[test]
#[expect(clippy::print_stdout, reason = "its numbers are part of the result")]
fn a_network_error_at_any_call_fails_no_row_and_doubles_no_customer() {
    if !STRACE.is_here() {
        return;
    }
    let (undisturbed, injections) = (undisturbed_state(), Injection::all(&NETWORK_ERRORS));
    let mut injected = 0;
    for injection in &injections {
        let (world, CommandOutput { code, stderr, .. }) = injection.run();
        println!("{injection}: {code:?} {}", stderr.lines().last().unwrap_or_default());
        // 1 is for the rejected row of the export. Without a poller no run is possible.
        let expected = if injection.call == "epoll_ctl" { 5 } else { 1 };
        assert_eq!(code, Some(expected), "{injection}: {stderr}");
        assert!(expected == 1 || stderr.contains("no room for network"), "{injection}: {stderr}");
        injected += usize::from(world.read("trace").contains("(INJECTED)"));
        assert_resumes(&world, &undisturbed, injection);
    }
    println!("{} runs, an error injected in {injected} of them", injections.len());
    assert!(injected * 2 > injections.len(), "most runs have their error");
}

#[test]
fn a_file_that_cannot_be_opened_ends_the_run_in_order_and_the_same_command_resumes_it() {
    if !STRACE.is_here() {
        return;
    }
    let undisturbed = undisturbed_state();
    for (file, code) in OPEN_ERRORS {
        for error in ["EMFILE", "EACCES", "EIO"] {
            let case = format!("{error} at opening {file}");
            let world = world();
            let path = world.path(file).display().to_string();
            let inject = format!("inject=openat:error={error}");
            let options = ["-P", &path, "-P", file, "-e", "trace=openat", "-e", &inject];
            let output = strace::run(&world, &options, &RUN);
            assert!(world.read("trace").contains("(INJECTED)"), "{case}: nothing was injected");
            assert_eq!(output.code, Some(code), "{case}: {}", output.stderr);
            // An error of the log is one of the checkpoint.
            let name = file.trim_end_matches("-wal");
            assert!(output.stderr.contains(name), "{case}: {name} is not named: {}", output.stderr);
            assert_resumes(&world, &undisturbed, case);
        }
    }
}

/// Options that trace only the result files of a run that starts in the next seconds.
/// Writes to the network and the terminal use the same call.
fn trace_result_files(world: &World) -> Vec<String> {
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
fn a_result_file_that_cannot_be_written_ends_the_run_and_finally_holds_each_line_once() {
    if !STRACE.is_here() {
        return;
    }
    let undisturbed = undisturbed_state();
    for (error, nth) in [("ENOSPC", 1), ("EIO", 1), ("ENOSPC", 2), ("EIO", 3)] {
        let case = format!("{error} at write {nth} of a result file");
        let world = world();
        let inject = format!("inject=write:error={error}:when={nth}");
        let mut options = trace_result_files(&world);
        options.extend(["-e", "trace=write", "-e", &inject].map(str::to_owned));
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let output = strace::run(&world, &options, &RUN);
        let is_injected = world.read("trace").contains("(INJECTED)");
        assert_eq!(output.code, Some(if is_injected { 5 } else { 1 }), "{case}: {}", output.stderr);
        assert!(is_injected || nth > 1, "{case}: nothing was injected: {}", world.read("trace"));
        assert!(!is_injected || output.stderr.contains(".csv: "), "{case}: {}", output.stderr);
        assert_resumes(&world, &undisturbed, &case);
        let rejected = |folder: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(folder.expect("a folder").path().join("rejected.csv")).ok()
        };
        let files = std::fs::read_dir(world.path("runs")).expect("runs").filter_map(rejected);
        assert_eq!(files.map(|text| text.matches("A3,Cor").count()).max(), Some(1), "{case}");
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "its numbers are part of the result")]
fn the_same_command_resumes_a_run_that_is_killed_at_any_call() {
    if !STRACE.is_here() {
        return;
    }
    let (undisturbed, injections) = (undisturbed_state(), Injection::all(&KILLS));
    let mut killed = 0;
    for injection in &injections {
        let (world, output) = injection.run();
        killed += usize::from(output.code.is_none());
        assert_resumes(&world, &undisturbed, injection);
    }
    println!("{} runs, {killed} of them killed", injections.len());
    assert!(killed * 2 > injections.len(), "most runs are killed");
}

#[test]
fn an_adoption_that_is_killed_at_any_commit_can_be_repeated() {
    if !STRACE.is_here() {
        return;
    }
    let adopt = ["adopt", "export.csv"];
    let undisturbed = world();
    undisturbed.execute(&adopt).expect_code(1);
    for nth in 1.. {
        let world = world();
        let inject = format!("inject=fsync:signal=KILL:when={nth}");
        if strace::run(&world, &["-e", "trace=fsync", "-e", &inject], &adopt).code.is_some() {
            assert!(nth > 4, "{nth}");
            break;
        }
        world.execute(&adopt).expect_code(1);
        world.execute(&RUN).expect_code(1).expect_calls(0);
    }
}
