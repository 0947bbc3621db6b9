//! A long test of one promise: after any number of kills at any moment, the same
//! command line ends in the state of one undisturbed run.
//!
//! ```text
//! cargo build --release && cargo run --release --example kill_loop -- --kills 1000 --seed 1
//! ```
//!
//! Each round makes an export and runs it once undisturbed. Then it runs the export
//! against a sandbox with faults and latency, and interrupts the run again and again
//! at random moments. At last it lets the run finish, and compares the two sandboxes.
//! In some rounds the interrupted run never finishes, and the export of the next night
//! supersedes it. `--seed N --rounds 1` replays a round.

#![expect(clippy::print_stdout, reason = "the program prints its results")]

#[path = "../tests/it/rows.rs"]
mod rows;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use clap::Parser;
use omnidesk_sync::sandbox::{Counters, Customer, Duplicates, Faults, Sandbox, Settings, State};
use serde_json::Value;
use tempfile::TempDir;

/// Longer than any `late_for` below.
const SETTLE: &str = "400ms";
/// Shorter than any `stall_for` below, so a stalled answer is lost.
const TIMEOUT: &str = "700ms";

/// Each round draws one of these.
const FAULTS: [&str; 8] = [
    "refuse_before=0.01,error_after=0.01,reset_before=0.01,reset_after=0.01",
    "refuse_before=0.03,error_after=0.03,reset_before=0.03,reset_after=0.03,late=0.02,late_for=150ms",
    "late=0.08,late_for=200ms",
    "reset_before=0.05,reset_after=0.08",
    "stall=0.02,stall_for=1s,error_after=0.05",
    "refuse_before=0.02,error_after=0.02,reset_before=0.02,reset_after=0.02,late=0.02,late_for=100ms,stall=0.005,stall_for=900ms",
    "gateway_before=0.04,gateway_after=0.06",
    "gateway_before=0.02,gateway_after=0.03,error_after=0.02,reset_after=0.02,late=0.02,late_for=100ms",
];

/// Runs after the last one, at most, until no row has failed: a gateway's answer
/// fails a row, and the same command tries it again.
const RUNS_AFTER_MAX: usize = 20;

/// Interrupts runs, and checks the result
#[derive(Debug, Parser)]
struct Args {
    /// Stop after this many interrupted runs
    #[arg(long, default_value_t = 100)]
    kills: u64,
    /// Stop after this many rounds
    #[arg(long)]
    rounds: Option<u64>,
    /// The seed of the first round; each further round has the next one
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The program, if it is not in the folder above this one's
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// The totals of all rounds.
#[derive(Debug, Default)]
struct Totals {
    rounds: u64,
    failures: Vec<String>,
    rows: u64,
    requests: u64,
    sigkill: u64,
    sigterm: u64,
    sigterm_twice: u64,
    before_first_request: u64,
    resumed: u64,
    faults: u64,
    doubled: u64,
    lost: u64,
}

impl Totals {
    fn interruptions(&self) -> u64 {
        self.sigkill + self.sigterm + self.sigterm_twice
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let binary = args.binary.clone().unwrap_or_else(|| {
        let own = std::env::current_exe().expect("this program's own path");
        own.ancestors().nth(2).expect("a target folder").join("omnidesk-sync")
    });
    let mut totals = Totals::default();
    while totals.interruptions() < args.kills && args.rounds.is_none_or(|rounds| totals.rounds < rounds) {
        let seed = args.seed + totals.rounds;
        let mut round = Round::new(seed, &binary);
        let failures = round.play(&mut totals);
        for failure in &failures {
            println!("seed {seed}: FAILED: {failure}");
            println!("  its files are in {}", round.keep_folder().display());
        }
        totals.failures.extend(failures.into_iter().map(|failure| format!("seed {seed}: {failure}")));
        totals.rounds += 1;
    }
    println!(
        "seeds {} to {}: {} rounds, {} rows, {} calls received, {} faults injected",
        args.seed,
        args.seed + totals.rounds - 1,
        totals.rounds,
        totals.rows,
        totals.requests,
        totals.faults
    );
    println!(
        "interruptions: {} SIGKILL, {} SIGTERM, {} SIGTERM twice; {} before the first request, {} of resumed runs",
        totals.sigkill, totals.sigterm, totals.sigterm_twice, totals.before_first_request, totals.resumed
    );
    println!("lost {}, doubled {}, failures {}", totals.lost, totals.doubled, totals.failures.len());
    if totals.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A folder with a configuration, and a sandbox.
struct World {
    folder: TempDir,
    sandbox: Sandbox,
    binary: PathBuf,
    concurrency: u32,
}

impl World {
    fn new(settings: Settings, binary: &Path, concurrency: u32) -> Self {
        let folder = TempDir::new().expect("a folder");
        let sandbox = Sandbox::start(settings).expect("a sandbox");
        let config = format!(
            "[omnidesk]\nbase_url = \"{}\"\nsettle = \"{SETTLE}\"\ntimeout = \"{TIMEOUT}\"\n[limits]\nrate = \"20000/s\"\n{}",
            sandbox.base_url(),
            rows::MAPPING
        );
        std::fs::write(folder.path().join("omnidesk-sync.toml"), config).expect("a configuration");
        Self { folder, sandbox, binary: binary.to_owned(), concurrency }
    }

    fn start(&self, export: &str) -> Child {
        let create = |name: &str| File::create(self.folder.path().join(name)).expect("a file");
        Command::new(&self.binary)
            .current_dir(self.folder.path())
            .args([
                "run",
                "--json",
                "--allow-purge",
                "--max-purge",
                "100%",
                "--allow-same-id",
                "--progress",
                "never",
            ])
            .args(["--concurrency", &self.concurrency.to_string(), export])
            .env("OMNIDESK_API_KEY", "worthless")
            .stdin(Stdio::null())
            .stdout(create("stdout"))
            .stderr(create("stderr"))
            .spawn()
            .expect("the program, see --binary")
    }

    fn summary(&self) -> Value {
        let text = std::fs::read_to_string(self.folder.path().join("stdout")).expect("stdout");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    fn last_message(&self) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("stderr")).expect("stderr");
        text.lines().last().unwrap_or_default().to_owned()
    }

    /// The state after all late calls.
    fn state(&self) -> State {
        loop {
            let state = self.sandbox.state();
            if state.counters.late_pending == 0 {
                return state;
            }
            std::thread::yield_now();
        }
    }

    fn counters(&self) -> Counters {
        self.sandbox.state().counters
    }

    /// The lines of `rejected.csv` of all runs. It is one run unless another export has
    /// superseded it.
    /// The lines of `rejected.csv`, without the run, the row and the id.
    fn rejected(&self) -> Vec<String> {
        let Ok(runs) = std::fs::read_dir(self.folder.path().join("runs")) else { return Vec::new() };
        let files = runs.map(|run| run.expect("a run").path().join("rejected.csv"));
        let mut lines: Vec<String> = files
            .filter_map(|file| std::fs::read_to_string(file).ok())
            .flat_map(|text| text.lines().map(|line| before_origin(line).to_owned()).collect::<Vec<_>>())
            .collect();
        lines.sort();
        lines
    }
}

fn before_origin(line: &str) -> &str {
    line.rsplitn(4, ',').last().unwrap_or(line)
}

/// How a run is interrupted.
#[derive(Debug, Clone, Copy)]
enum Interruption {
    Kill,
    Term,
    TermTwice,
}

/// When a run is interrupted. The waits synchronise nothing.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// After its start, while it reads, plans or makes its first calls.
    After(Duration),
    /// Once the sandbox has received this many requests.
    Requests(u64),
}

struct Round {
    seed: u64,
    random: fastrand::Rng,
    /// Exports whose runs never finish, and the last one, whose run does.
    exports: Vec<String>,
    undisturbed: World,
    disturbed: World,
    /// Gateways answer in the API's place.
    has_gateway: bool,
    concurrency: u32,
    interruptions: u64,
}

impl Round {
    fn new(seed: u64, binary: &Path) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let rows = if random.u8(..6) == 0 { random.u64(1..30) } else { random.u64(30..800) };
        let exports = match random.u8(..4) {
            0 => rows::two_nights(rows / 2 + 1, &mut random).into(),
            _ => vec![rows::mixed_rows(rows, &mut random)],
        };
        let faults = FAULTS[random.usize(..FAULTS.len())];
        let has_gateway = faults.contains("gateway");
        let faults = Faults::parse(faults).expect("faults");
        // Allowed doubles show.
        let settings = |faults| Settings {
            faults,
            seed,
            duplicates: Duplicates::Allow,
            latency_jitter: Duration::from_millis(4),
            ..Settings::default()
        };
        let concurrency = random.u32(1..=32);
        let undisturbed = World::new(settings(Faults::default()), binary, 32);
        let disturbed = World::new(settings(faults), binary, concurrency);
        for world in [&undisturbed, &disturbed] {
            for (at, export) in exports.iter().enumerate() {
                let text = format!("{}{export}", rows::HEADER);
                std::fs::write(world.folder.path().join(format!("{at}.csv")), text).expect("an export");
            }
        }
        let interruptions = random.u64(4..16);
        Self { seed, random, exports, undisturbed, disturbed, has_gateway, concurrency, interruptions }
    }

    /// Keeps the folder of the interrupted runs.
    fn keep_folder(&mut self) -> PathBuf {
        self.disturbed.folder.disable_cleanup(true);
        self.disturbed.folder.path().to_owned()
    }

    fn play(&mut self, totals: &mut Totals) -> Vec<String> {
        let last = format!("{}.csv", self.exports.len() - 1);
        let expected = self.undisturbed.start(&last).wait().expect("an end");
        let expected_summary = self.undisturbed.summary();
        let calls = self.undisturbed.counters().requests;

        let (mut failures, before) = (Vec::new(), totals.interruptions());
        let mut end = None;
        for at in 0..self.exports.len() {
            let name = format!("{at}.csv");
            let count = self.interruptions.div_ceil(self.exports.len() as u64);
            end = self.interrupt_runs(&name, count, calls, totals, &mut failures);
        }
        let end = end.unwrap_or_else(|| self.disturbed.start(&last).wait().expect("an end"));
        if self.has_gateway {
            self.run_until_nothing_fails(&last, &mut failures);
        } else if end.code() != expected.code() {
            let message = self.disturbed.last_message();
            failures.push(format!("it ended with {end}, the undisturbed run with {expected}: {message}"));
        }
        let summary = self.disturbed.summary();
        let state = self.disturbed.state();
        self.compare(&expected_summary, &summary, &state, totals, &mut failures);
        let again = self.disturbed.start(&last).wait().expect("an end");
        let (calls_made, requests) =
            (calls_of(&self.disturbed.summary()), self.disturbed.counters().requests);
        if calls_made != Some(0) || requests != state.counters.requests {
            failures.push(format!("one more run ended with {again} and made {calls_made:?} calls"));
        }
        self.report(totals.interruptions() - before, calls, &state, failures.len(), totals);
        failures
    }

    fn run_until_nothing_fails(&self, export: &str, failures: &mut Vec<String>) {
        for _ in 0..RUNS_AFTER_MAX {
            let end = self.disturbed.start(export).wait().expect("an end");
            let outcomes = &self.disturbed.summary()["outcomes"];
            let count = |name: &str| outcomes[name].as_u64().unwrap_or(1);
            let left = count("failed") + count("in_doubt") + count("not_attempted");
            // Rows behind a purge that was perhaps carried out are rejected until it is.
            if left == 0
                && matches!(end.code(), Some(0 | 1))
                && calls_of(&self.disturbed.summary()) == Some(0)
            {
                return;
            }
        }
        failures.push(format!("rows still fail: {}", self.disturbed.last_message()));
    }

    /// Runs an export and interrupts it again and again. Returns how it ended if it
    /// finished all the same.
    fn interrupt_runs(
        &mut self,
        export: &str,
        count: u64,
        calls: u64,
        totals: &mut Totals,
        failures: &mut Vec<String>,
    ) -> Option<ExitStatus> {
        for nth in 0..count {
            let before = self.disturbed.counters().requests;
            let mut child = self.disturbed.start(export);
            let moment = self.moment(before, calls / count + 1);
            if let Some(end) = self.wait_for(moment, &mut child) {
                if matches!(end.code(), Some(0 | 1)) {
                    return Some(end);
                }
                // Several gateways in a row stop a run.
                if self.has_gateway && end.code() == Some(3) {
                    continue;
                }
                failures.push(format!("it ended by itself with {end}: {}", self.disturbed.last_message()));
                continue;
            }
            let interruption = match self.random.usize(..5) {
                0..3 => Interruption::Kill,
                3 => Interruption::Term,
                _ => Interruption::TermTwice,
            };
            let end = self.interrupt(interruption, &mut child);
            let is_expected = match (interruption, end.code()) {
                (_, None | Some(0 | 1)) => true,
                (_, Some(3)) if self.has_gateway => true,
                (Interruption::Kill, _) => false,
                (Interruption::Term | Interruption::TermTwice, code) => code == Some(4),
            };
            if !is_expected {
                let message = self.disturbed.last_message();
                failures.push(format!("after {interruption:?} it ended with {end}: {message}"));
            }
            if matches!(end.code(), Some(0 | 1)) {
                return Some(end);
            }
            match interruption {
                Interruption::Kill => totals.sigkill += 1,
                Interruption::Term => totals.sigterm += 1,
                Interruption::TermTwice => totals.sigterm_twice += 1,
            }
            totals.before_first_request += u64::from(self.disturbed.counters().requests == before);
            totals.resumed += u64::from(nth > 0 && before > 0);
        }
        None
    }

    fn moment(&mut self, requests: u64, requests_max: u64) -> Moment {
        match self.random.u8(..3) {
            0 => Moment::After(Duration::from_micros(self.random.u64(..60_000))),
            _ => Moment::Requests(requests + self.random.u64(1..=requests_max)),
        }
    }

    /// Waits for the moment. Returns how the run ended if it ended before.
    fn wait_for(&self, moment: Moment, child: &mut Child) -> Option<ExitStatus> {
        let requests = match moment {
            Moment::After(wait) => {
                std::thread::sleep(wait);
                return child.try_wait().expect("a child");
            }
            Moment::Requests(requests) => requests,
        };
        while self.disturbed.counters().requests < requests {
            if let Some(end) = child.try_wait().expect("a child") {
                return Some(end);
            }
            std::thread::yield_now();
        }
        None
    }

    fn interrupt(&mut self, interruption: Interruption, child: &mut Child) -> ExitStatus {
        match interruption {
            Interruption::Kill => child.kill().expect("killed"),
            Interruption::Term => terminate(child),
            Interruption::TermTwice => {
                terminate(child);
                std::thread::sleep(Duration::from_micros(self.random.u64(..5_000)));
                terminate(child);
            }
        }
        child.wait().expect("an end")
    }

    /// Whether the server holds a customer as the undisturbed run left it. An update
    /// brings its addresses only if it becomes a create, and so not if it failed and a
    /// later row has created the customer.
    fn is_held(&self, wanted: &Customer, held: &Customer) -> bool {
        if !self.has_gateway {
            return wanted == held;
        }
        let Customer { id, firstname, lastname, custom, channels, .. } = wanted;
        (id, firstname, lastname, custom) == (&held.id, &held.firstname, &held.lastname, &held.custom)
            && (channels.is_subset(&held.channels) || self.has_update(&id.primary_id))
    }

    fn has_update(&self, id: &str) -> bool {
        let first = self.exports.iter().flat_map(|export| export.lines());
        first.filter(|row| row.split(',').next() == Some(id)).any(|row| row.ends_with(",update"))
    }

    fn compare(
        &self,
        expected_summary: &Value,
        summary: &Value,
        state: &State,
        totals: &mut Totals,
        failures: &mut Vec<String>,
    ) {
        let expected = self.undisturbed.state();
        let is_held = |wanted: &&Customer| state.customers.iter().any(|held| self.is_held(wanted, held));
        let lost = expected.customers.iter().filter(|wanted| !is_held(wanted)).count() as u64;
        if lost > 0 || expected.customers.len() != state.customers.len() {
            let first = expected.customers.iter().find(|wanted| !is_held(wanted));
            let actual =
                state.customers.iter().filter(|customer| first.is_some_and(|first| first.id == customer.id));
            failures.push(format!(
                "{lost} customers are wrong, such as {first:?}, which is {:?}",
                actual.collect::<Vec<_>>()
            ));
        }
        // A purge finds nobody where the creates before it have failed.
        if !self.has_gateway && expected.purged != state.purged {
            failures.push("other customers were purged".to_owned());
        }
        if state.counters.doubled > 0 {
            failures.push(format!("{} doubled customers", state.counters.doubled));
        }
        failures.extend(state.violations.iter().cloned());
        let rows: u64 = summary["outcomes"]
            .as_object()
            .map_or(0, |outcomes| outcomes.values().filter_map(Value::as_u64).sum());
        if Some(rows) != summary["rows"].as_u64() {
            failures.push(format!("the outcomes do not add up to the rows read: {summary}"));
        }
        // Rows of an export that supersedes another one may have less to do.
        if self.exports.len() == 1 && !self.has_gateway && expected_summary["outcomes"] != summary["outcomes"]
        {
            failures.push(format!(
                "outcomes: {} instead of {}",
                summary["outcomes"], expected_summary["outcomes"]
            ));
        }
        if self.exports.len() == 1
            && !self.has_gateway
            && self.undisturbed.rejected() != self.disturbed.rejected()
        {
            failures.push("rejected.csv differs".to_owned());
        }
        totals.lost += lost;
        totals.doubled += state.counters.doubled;
    }

    fn report(&self, interruptions: u64, calls: u64, state: &State, failures: usize, totals: &mut Totals) {
        let rows: u64 = self.exports.iter().map(|export| export.lines().count() as u64).sum();
        let faults: u64 = state.counters.faults.values().sum();
        println!(
            "seed {}: {rows} rows in {} exports, {calls} calls undisturbed, {} disturbed, concurrency {}, {faults} faults, {interruptions} interruptions, {} doubled: {}",
            self.seed,
            self.exports.len(),
            state.counters.requests,
            self.concurrency,
            state.counters.doubled,
            if failures == 0 { "passed" } else { "FAILED" }
        );
        totals.rows += rows;
        totals.requests += state.counters.requests;
        totals.faults += faults;
    }
}

fn calls_of(summary: &Value) -> Option<u64> {
    let calls = &summary["calls"];
    ["create", "update", "add-channel", "purge"].iter().map(|call| calls[*call].as_u64()).sum()
}

/// Ignores a process that has ended meanwhile.
fn terminate(child: &Child) {
    let sent =
        Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).stderr(Stdio::null()).status();
    sent.expect("kill");
}
