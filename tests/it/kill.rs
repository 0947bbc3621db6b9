//! SIGKILL and SIGTERM at any moment, also of a resumed run, and the same command
//! line again: in the end the sandbox holds the customers of one uninterrupted run,
//! and none of them twice.
//!
//! The long form is `examples/kill_loop.rs`. `KILL_ROWS`, `KILLS` and `KILL_SEED`
//! change this one.

use std::process::Child;
use std::time::Duration;

use omnidesk_sync::sandbox::{Duplicates, Faults, Settings};

use crate::rows::mixed_rows;
use crate::world::{World, kill, send_signal};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn world(faults: Faults, seed: u64) -> World {
    let settings = Settings {
        faults,
        faults_per_customer_max: 3,
        seed,
        // Allowed doubles show.
        duplicates: Duplicates::Allow,
        latency_jitter: Duration::from_millis(4),
        ..Settings::default()
    };
    World::new(settings)
}

/// Of four runs, two are killed, one gets a signal, and one gets it twice.
fn interrupt(nth: u64, child: &mut Child) -> Option<i32> {
    match nth % 4 {
        1 | 2 => child.kill().expect("killed"),
        3 => send_signal(child.id(), "TERM"),
        _ => ["TERM", "TERM"].iter().for_each(|name| send_signal(child.id(), name)),
    }
    let code = child.wait().expect("an end").code();
    // No code of a killed run, and 4 of one that can be resumed.
    assert_eq!(code, if matches!(nth % 4, 1 | 2) { None } else { Some(4) });
    code
}

#[test]
#[expect(clippy::print_stdout, reason = "the long form is for its numbers")]
fn a_killed_run_ends_where_an_uninterrupted_one_does() {
    let (rows, kills) = (setting("KILL_ROWS", 900), setting("KILLS", 6));
    let seed = setting("KILL_SEED", 20_261_123);
    let mut random = fastrand::Rng::with_seed(seed);
    let export = mixed_rows(rows, &mut random);
    let arguments = ["run", "--json", "--allow-purge", "--max-purge", "100%", "--allow-same-id"];
    let more = ["--concurrency", "24", "--progress", "never", "export.csv"];
    let arguments = [&arguments[..], &more[..]].concat();

    let undisturbed = world(Faults::default(), seed);
    undisturbed.write_export(&export);
    let uninterrupted = undisturbed.execute(&arguments).expect_code(1);
    let calls = undisturbed.requests();

    let faults = Faults::parse(
        "refuse_before=0.02,error_after=0.02,reset_before=0.02,reset_after=0.02,late=0.01,late_for=100ms",
    )
    .expect("faults");
    let disturbed = world(faults, seed);
    disturbed.write_export(&export);
    for nth in 1..=kills {
        let mut child = disturbed.spawn(&arguments);
        let at = calls * nth / (kills + 1) + random.u64(..calls / 20 + 1);
        disturbed.wait_for_requests(at, &mut child);
        let code = interrupt(nth, &mut child);
        println!("interruption {nth} ({code:?}) after {} requests", disturbed.requests());
        // The next one is killed while it still reads, plans or opens the checkpoint.
        kill(&mut disturbed.spawn(&arguments));
    }
    let resumed = disturbed.execute(&arguments).expect_code(1);
    assert_eq!(resumed.json()["resumed"], true);
    while disturbed.state().counters.late_pending > 0 {
        std::thread::yield_now();
    }

    let (left, right) = (undisturbed.state(), disturbed.state());
    println!("seed {seed}: {rows} rows, {calls} calls, {kills} kills");
    println!("uninterrupted: {} -> {:?}", uninterrupted.outcomes(), left.counters);
    println!("killed:        {} -> {:?}", resumed.outcomes(), right.counters);
    assert_eq!(left.customers, right.customers);
    assert_eq!(left.purged, right.purged);
    assert_eq!(right.counters.doubled, 0);
    assert_eq!(right.violations, Vec::<String>::new());
    assert_eq!(uninterrupted.outcomes(), resumed.outcomes());

    // An applied export makes no calls.
    disturbed.execute(&arguments).expect_calls(0);
}
