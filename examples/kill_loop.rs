//! The long attack on one promise: after any number of kills at any moment, the
//! same command line ends in the state of one clean run.
//!
//! ```text
//! cargo build --release && cargo run --release --example kill_loop -- --kills 1000 --seed 1
//! ```
//!
//! Each round makes an export, rehearses it once undisturbed, then runs it
//! against a sandbox with faults and latency, kills it again and again at
//! random moments, lets it finish and compares what the two sandboxes hold. In
//! some rounds the killed run is never finished: the export of the night after
//! takes its place. A round is replayed with the seed that its line names:
//! `--seed N --rounds 1`.

#![expect(clippy::print_stdout, reason = "its figures are what this program is for")]

#[path = "../tests/it/rows.rs"]
mod rows;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use clap::Parser;
use omnidesk_sync::sandbox::{Counters, Duplicates, Faults, Sandbox, Settings, State};
use serde_json::Value;
use tempfile::TempDir;

/// Longer than any `late_for` below, as a person would set it.
const SETTLE: &str = "400ms";
/// Shorter than any `stall_for` below: a stalled answer is a lost one.
const TIMEOUT: &str = "700ms";

/// Faults of a round, of which one is drawn.
const FAULTS: [&str; 6] = [
    "refuse_before=0.01,error_after=0.01,reset_before=0.01,reset_after=0.01",
    "refuse_before=0.03,error_after=0.03,reset_before=0.03,reset_after=0.03,late=0.02,late_for=150ms",
    "late=0.08,late_for=200ms",
    "reset_before=0.05,reset_after=0.08",
    "stall=0.02,stall_for=1s,error_after=0.05",
    "refuse_before=0.02,error_after=0.02,reset_before=0.02,reset_after=0.02,late=0.02,late_for=100ms,stall=0.005,stall_for=900ms",
];

/// Kills runs and looks at what is left.
#[derive(Debug, Parser)]
struct Args {
    /// Rounds go on until so many runs were killed
    #[arg(long, default_value_t = 100)]
    kills: u64,
    /// Or until so many rounds are over
    #[arg(long)]
    rounds: Option<u64>,
    /// Of the first round; each further one has the next
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The program, if it is not beside this one's folder
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// What was done and what came of it.
#[derive(Debug, Default)]
struct Tally {
    rounds: u64,
    failures: Vec<String>,
    rows: u64,
    requests: u64,
    sigkill: u64,
    sigterm: u64,
    sigterm_twice: u64,
    before_first_request: u64,
    of_a_resumed_run: u64,
    faults: u64,
    doubled: u64,
    lost: u64,
}

impl Tally {
    fn hits(&self) -> u64 {
        self.sigkill + self.sigterm + self.sigterm_twice
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let binary = args.binary.clone().unwrap_or_else(|| {
        let own = std::env::current_exe().expect("this program's own path");
        own.ancestors().nth(2).expect("a target folder").join("omnidesk-sync")
    });
    let mut tally = Tally::default();
    while tally.hits() < args.kills && args.rounds.is_none_or(|rounds| tally.rounds < rounds) {
        let seed = args.seed + tally.rounds;
        let mut round = Round::new(seed, &binary);
        let failures = round.play(&mut tally);
        for failure in &failures {
            println!("seed {seed}: FAILED: {failure}");
            println!("  look at {}", round.keep().display());
        }
        tally.failures.extend(failures.into_iter().map(|failure| format!("seed {seed}: {failure}")));
        tally.rounds += 1;
    }
    println!(
        "seeds {} to {}: {} rounds, {} rows, {} calls received, {} faults injected",
        args.seed,
        args.seed + tally.rounds - 1,
        tally.rounds,
        tally.rows,
        tally.requests,
        tally.faults
    );
    println!(
        "runs ended: {} SIGKILL, {} SIGTERM, {} SIGTERM twice; of them {} before their first request, {} resumed ones",
        tally.sigkill, tally.sigterm, tally.sigterm_twice, tally.before_first_request, tally.of_a_resumed_run
    );
    println!("lost {}, doubled {}, failures {}", tally.lost, tally.doubled, tally.failures.len());
    if tally.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A program in a folder, a sandbox, and what is tried on them.
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
            .args(["run", "--json", "--allow-purge", "--max-purge", "100%", "--progress", "never"])
            .args(["--concurrency", &self.concurrency.to_string(), export])
            .env("OMNIDESK_API_KEY", "of-no-worth")
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

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("stderr")).expect("stderr");
        text.lines().last().unwrap_or_default().to_owned()
    }

    /// What it holds once calls that come late have come.
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

    /// The lines of `rejected.csv` of all runs, which is one unless another
    /// export has taken its place.
    fn rejected(&self) -> Vec<String> {
        let Ok(runs) = std::fs::read_dir(self.folder.path().join("runs")) else { return Vec::new() };
        let files = runs.map(|run| run.expect("a run").path().join("rejected.csv"));
        let mut lines: Vec<String> = files
            .filter_map(|file| std::fs::read_to_string(file).ok())
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        lines.sort();
        lines
    }
}

/// How an execution is ended.
#[derive(Debug, Clone, Copy)]
enum Hit {
    Kill,
    Term,
    TermTwice,
}

/// When it is ended. The waits are the attack itself and order nothing.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// So long after its start: reading, planning, the first calls.
    After(Duration),
    /// When the sandbox has received so many requests.
    Requests(u64),
}

struct Round {
    seed: u64,
    random: fastrand::Rng,
    /// Exports that are killed and never finished, then the one that is.
    exports: Vec<String>,
    calm: World,
    stormy: World,
    concurrency: u32,
    hits: u64,
}

impl Round {
    fn new(seed: u64, binary: &Path) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let rows = if random.u8(..6) == 0 { random.u64(1..30) } else { random.u64(30..800) };
        let exports = match random.u8(..4) {
            0 => rows::two_nights(rows / 2 + 1, &mut random).into(),
            _ => vec![rows::mixed_rows(rows, &mut random)],
        };
        let faults = Faults::parse(FAULTS[random.usize(..FAULTS.len())]).expect("faults");
        // Duplicates must show and not be refused.
        let settings = |faults| Settings {
            faults,
            seed,
            duplicates: Duplicates::Allow,
            latency_jitter: Duration::from_millis(4),
            ..Settings::default()
        };
        let concurrency = random.u32(1..=32);
        let calm = World::new(settings(Faults::default()), binary, 32);
        let stormy = World::new(settings(faults), binary, concurrency);
        for world in [&calm, &stormy] {
            for (at, export) in exports.iter().enumerate() {
                std::fs::write(world.folder.path().join(format!("{at}.csv")), export).expect("an export");
            }
        }
        let hits = random.u64(4..16);
        Self { seed, random, exports, calm, stormy, concurrency, hits }
    }

    /// Leaves the folder where it is, and says where.
    fn keep(&mut self) -> PathBuf {
        self.stormy.folder.disable_cleanup(true);
        self.stormy.folder.path().to_owned()
    }

    fn play(&mut self, tally: &mut Tally) -> Vec<String> {
        let last = format!("{}.csv", self.exports.len() - 1);
        let clean = self.calm.start(&last).wait().expect("an end");
        let clean_summary = self.calm.summary();
        let calls = self.calm.counters().requests;

        let (mut failures, before) = (Vec::new(), tally.hits());
        let mut ended = None;
        for at in 0..self.exports.len() {
            let name = format!("{at}.csv");
            let hits = self.hits.div_ceil(self.exports.len() as u64);
            ended = self.storm(&name, hits, calls, tally, &mut failures);
        }
        let ended = ended.unwrap_or_else(|| self.stormy.start(&last).wait().expect("an end"));
        if ended.code() != clean.code() {
            let words = self.stormy.last_words();
            failures.push(format!("it ended with {ended}, the clean run with {clean}: {words}"));
        }
        let summary = self.stormy.summary();
        let state = self.stormy.state();
        self.compare(&clean_summary, &summary, &state, tally, &mut failures);
        let again = self.stormy.start(&last).wait().expect("an end");
        let (made, requests) = (calls_of(&self.stormy.summary()), self.stormy.counters().requests);
        if made != Some(0) || requests != state.counters.requests {
            failures.push(format!("one more run ended with {again} and made {made:?} calls"));
        }
        self.tell(tally.hits() - before, calls, &state, failures.len(), tally);
        failures
    }

    /// Runs an export and ends it again and again. If it came to its own end
    /// in spite of that, says how.
    fn storm(
        &mut self,
        export: &str,
        hits: u64,
        calls: u64,
        tally: &mut Tally,
        failures: &mut Vec<String>,
    ) -> Option<ExitStatus> {
        for nth in 0..hits {
            let before = self.stormy.counters().requests;
            let mut child = self.stormy.start(export);
            let moment = self.moment(before, calls / hits + 1);
            if let Some(ended) = self.wait_for(moment, &mut child) {
                if matches!(ended.code(), Some(0 | 1)) {
                    return Some(ended);
                }
                failures.push(format!("undisturbed, it ended with {ended}: {}", self.stormy.last_words()));
                continue;
            }
            let hit = [Hit::Kill, Hit::Kill, Hit::Kill, Hit::Term, Hit::TermTwice][self.random.usize(..5)];
            let ended = self.hit(hit, &mut child);
            let is_expected = match (hit, ended.code()) {
                (_, None) => true,
                (Hit::Kill, Some(0 | 1)) => true,
                (Hit::Kill, _) => false,
                (Hit::Term | Hit::TermTwice, code) => matches!(code, Some(0 | 1 | 4)),
            };
            if !is_expected {
                failures.push(format!("at {hit:?} it ended with {ended}: {}", self.stormy.last_words()));
            }
            if matches!(ended.code(), Some(0 | 1)) {
                return Some(ended);
            }
            match hit {
                Hit::Kill => tally.sigkill += 1,
                Hit::Term => tally.sigterm += 1,
                Hit::TermTwice => tally.sigterm_twice += 1,
            }
            tally.before_first_request += u64::from(self.stormy.counters().requests == before);
            tally.of_a_resumed_run += u64::from(nth > 0 && before > 0);
        }
        None
    }

    fn moment(&mut self, requests: u64, most: u64) -> Moment {
        match self.random.u8(..3) {
            0 => Moment::After(Duration::from_micros(self.random.u64(..60_000))),
            _ => Moment::Requests(requests + self.random.u64(1..=most)),
        }
    }

    /// Says how it ended, if it did so before the moment came.
    fn wait_for(&self, moment: Moment, child: &mut Child) -> Option<ExitStatus> {
        let requests = match moment {
            Moment::After(wait) => {
                std::thread::sleep(wait);
                return child.try_wait().expect("a child");
            }
            Moment::Requests(requests) => requests,
        };
        while self.stormy.counters().requests < requests {
            if let Some(ended) = child.try_wait().expect("a child") {
                return Some(ended);
            }
            std::thread::yield_now();
        }
        None
    }

    fn hit(&mut self, hit: Hit, child: &mut Child) -> ExitStatus {
        match hit {
            Hit::Kill => child.kill().expect("killed"),
            Hit::Term => terminate(child),
            Hit::TermTwice => {
                terminate(child);
                std::thread::sleep(Duration::from_micros(self.random.u64(..5_000)));
                terminate(child);
            }
        }
        child.wait().expect("an end")
    }

    fn compare(
        &self,
        clean: &Value,
        summary: &Value,
        state: &State,
        tally: &mut Tally,
        failures: &mut Vec<String>,
    ) {
        let expected = self.calm.state();
        let missing = expected.customers.iter().filter(|customer| !state.customers.contains(customer));
        let lost = missing.count() as u64;
        if lost > 0 || expected.customers.len() != state.customers.len() {
            let first = expected.customers.iter().find(|customer| !state.customers.contains(customer));
            let instead =
                state.customers.iter().filter(|customer| first.is_some_and(|first| first.id == customer.id));
            failures.push(format!(
                "{lost} customers are not as they should be, such as {first:?}, which is {:?}",
                instead.collect::<Vec<_>>()
            ));
        }
        if expected.purged != state.purged {
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
            failures.push(format!("the books do not balance: {summary}"));
        }
        // Where another export took over, rows may have less to do.
        if self.exports.len() == 1 && clean["outcomes"] != summary["outcomes"] {
            failures.push(format!("outcomes: {} instead of {}", summary["outcomes"], clean["outcomes"]));
        }
        if self.exports.len() == 1 && self.calm.rejected() != self.stormy.rejected() {
            failures.push("rejected.csv is another one".to_owned());
        }
        tally.lost += lost;
        tally.doubled += state.counters.doubled;
    }

    fn tell(&self, hits: u64, calls: u64, state: &State, failures: usize, tally: &mut Tally) {
        let rows: u64 = self.exports.iter().map(|export| export.lines().count() as u64 - 1).sum();
        let faults: u64 = state.counters.faults.values().sum();
        println!(
            "seed {}: {rows} rows in {} exports, {calls} calls when calm, {} received, {} at once, {faults} faults, {hits} times ended, {} doubled: {}",
            self.seed,
            self.exports.len(),
            state.counters.requests,
            self.concurrency,
            state.counters.doubled,
            if failures == 0 { "as it should be" } else { "FAILED" }
        );
        tally.rows += rows;
        tally.requests += state.counters.requests;
        tally.faults += faults;
    }
}

fn calls_of(summary: &Value) -> Option<u64> {
    let calls = &summary["calls"];
    ["create", "update", "add-channel", "purge"].iter().map(|call| calls[*call].as_u64()).sum()
}

/// An error means that it has gone meanwhile.
fn terminate(child: &Child) {
    let sent =
        Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).stderr(Stdio::null()).status();
    sent.expect("kill");
}
