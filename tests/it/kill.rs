//! SIGKILL and SIGTERM at any moment, also of a run that goes on with a killed
//! one, and the same command line again: in the end the sandbox holds what one
//! uninterrupted run leaves, and there are no duplicates.
//!
//! The long form is `examples/kill_loop.rs`; `KILL_ROWS`, `KILLS` and
//! `KILL_SEED` change this one.

use std::process::Child;
use std::time::Duration;

use omnidesk_sync::sandbox::{Duplicates, Faults, Settings};

use crate::rows::mixed_rows;
use crate::run::signal;
use crate::world::World;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn world(faults: Faults, seed: u64) -> World {
    let settings = Settings {
        faults,
        faults_per_customer_max: 3,
        seed,
        // Duplicates must show and not be refused.
        duplicates: Duplicates::Allow,
        latency_jitter: Duration::from_millis(4),
        ..Settings::default()
    };
    World::new(settings)
}

/// Two are killed, one is asked to stop, one is asked twice.
fn end(nth: u64, child: &mut Child) -> Option<i32> {
    match nth % 4 {
        1 | 2 => child.kill().expect("killed"),
        3 => signal(child, "TERM"),
        _ => ["TERM", "TERM"].iter().for_each(|name| signal(child, name)),
    }
    let code = child.wait().expect("an end").code();
    // Killed, or interrupted and resumable.
    assert_eq!(code, if matches!(nth % 4, 1 | 2) { None } else { Some(4) });
    code
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are what the long form is for")]
fn a_killed_run_ends_where_an_uninterrupted_one_does() {
    let (rows, kills) = (setting("KILL_ROWS", 900), setting("KILLS", 6));
    let seed = setting("KILL_SEED", 20_261_123);
    let mut random = fastrand::Rng::with_seed(seed);
    let export = mixed_rows(rows, &mut random);
    let arguments = [
        "run",
        "--json",
        "--allow-purge",
        "--max-purge",
        "100%",
        "--concurrency",
        "24",
        "--progress",
        "never",
        "export.csv",
    ];

    let calm = world(Faults::default(), seed);
    calm.file("export.csv", export.as_bytes());
    let uninterrupted = calm.ends(&arguments).expect(1);
    let calls = calm.state().counters.requests;

    let faults = Faults::parse(
        "refuse_before=0.02,error_after=0.02,reset_before=0.02,reset_after=0.02,late=0.01,late_for=100ms",
    )
    .expect("faults");
    let stormy = world(faults, seed);
    stormy.file("export.csv", export.as_bytes());
    for kill in 1..=kills {
        let mut child = stormy.starts(&arguments);
        let at = calls * kill / (kills + 1) + random.u64(..calls / 20 + 1);
        stormy.wait_for_requests(at, &mut child);
        let code = end(kill, &mut child);
        println!("end {kill} ({code:?}) after {} requests", stormy.state().counters.requests);
        // While it still reads, plans or opens what the one before has left.
        let mut early = stormy.starts(&arguments);
        early.kill().expect("killed");
        early.wait().expect("gone");
    }
    let resumed = stormy.ends(&arguments).expect(1);
    assert_eq!(resumed.json()["resumed"], true);
    while stormy.state().counters.late_pending > 0 {
        std::thread::yield_now();
    }

    let (left, right) = (calm.state(), stormy.state());
    println!("seed {seed}: {rows} rows, {calls} calls, {kills} kills");
    println!("uninterrupted: {} -> {:?}", uninterrupted.outcomes(), left.counters);
    println!("killed:        {} -> {:?}", resumed.outcomes(), right.counters);
    assert_eq!(left.customers, right.customers);
    assert_eq!(left.purged, right.purged);
    assert_eq!(right.counters.doubled, 0);
    assert_eq!(right.violations, Vec::<String>::new());
    assert_eq!(uninterrupted.outcomes(), resumed.outcomes());

    let again = stormy.ends(&arguments);
    assert_eq!(again.calls(), 0, "an export that was applied makes no call: {}", again.stdout);
}
