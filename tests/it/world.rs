//! What most tests need: a folder, a sandbox, a configuration and the program.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use omnidesk_sync::checkpoint::{Checkpoint, CheckpointError};
use omnidesk_sync::sandbox::{Sandbox, Settings, State};
use proptest::test_runner::{Config as ProptestConfig, RngSeed};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) use crate::rows::{HEADER, MAPPING};

/// The key of every test. No output may show it.
pub(crate) const KEY: &str = "s3cr3t-k3y-0f-the-tests";

/// The command line of most runs.
pub(crate) const RUN: [&str; 3] = ["run", "--json", "export.csv"];

const CONFIG: &str = "omnidesk-sync.toml";

/// A folder with a configuration for a server.
pub(crate) struct World {
    folder: TempDir,
    sandbox: Option<Sandbox>,
    base_url: String,
}

/// What a command printed, and its exit code.
pub(crate) struct CommandOutput {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Default for World {
    fn default() -> Self {
        Self::new(Settings::default())
    }
}

impl World {
    /// With a sandbox of its own.
    pub(crate) fn new(settings: Settings) -> Self {
        let sandbox = Sandbox::start(settings).expect("a sandbox");
        let base_url = sandbox.base_url();
        Self { sandbox: Some(sandbox), ..Self::with_server(&base_url) }
    }

    pub(crate) fn with_latency_ms(latency: u64) -> Self {
        Self::new(Settings { latency: Duration::from_millis(latency), ..Settings::default() })
    }

    /// With any other server.
    pub(crate) fn with_server(base_url: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        Self { folder, sandbox: None, base_url: base_url.to_owned() }.with_settings("")
    }

    /// With keys of `[limits]`, and then other sections.
    pub(crate) fn with_settings(self, settings: &str) -> Self {
        self.with_mapping(MAPPING, settings)
    }

    /// The same with another mapping.
    pub(crate) fn with_mapping(self, mapping: &str, settings: &str) -> Self {
        let config = format!(
            "[omnidesk]\nbase_url = \"{}\"\nsettle = \"300ms\"\ntimeout = \"5s\"\n\n[limits]\nrate = \"20000/s\"\n{settings}\n{mapping}",
            self.base_url
        );
        // A test runs its export right after it has written it.
        let config = if config.contains("[input]\n") {
            config.replace("[input]\n", "[input]\nmin_age = \"0s\"\n")
        } else {
            format!("{config}\n[input]\nmin_age = \"0s\"\n")
        };
        self.file(CONFIG, config.as_bytes());
        self
    }

    /// Replaces a part of the configuration.
    pub(crate) fn edit_config(&self, from: &str, to: &str) {
        let config = self.read(CONFIG);
        assert!(config.contains(from), "{from:?} is not in {config}");
        self.file(CONFIG, config.replace(from, to).as_bytes());
    }

    /// Writes a second configuration, with a checkpoint and a report folder of its own.
    pub(crate) fn write_other_config(&self, name: &str) {
        let config = format!(
            "{}\n[checkpoint]\npath = \"{name}\"\n[report]\ndir = \"{name}.runs\"\n",
            self.read(CONFIG)
        );
        self.file(&format!("{name}.toml"), config.as_bytes());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).expect("a file");
        path
    }

    /// Writes `export.csv`: the header and these rows.
    pub(crate) fn write_export(&self, rows: &str) {
        self.file("export.csv", format!("{HEADER}{rows}").as_bytes());
    }

    pub(crate) fn read(&self, name: &str) -> String {
        let bytes = std::fs::read(self.path(name)).expect("a file");
        String::from_utf8(bytes).expect("UTF-8")
    }

    /// A result file of the last run, if it exists.
    pub(crate) fn result(&self, name: &str) -> Option<Vec<u8>> {
        self.result_in("runs", name)
    }

    /// The same for another folder of runs.
    pub(crate) fn result_in(&self, folder: &str, name: &str) -> Option<Vec<u8>> {
        let runs = std::fs::read_dir(self.path(folder)).expect("runs");
        let last = runs.map(|run| run.expect("a run").path()).max();
        std::fs::read(last?.join(name)).ok()
    }

    /// The text of a result file that must exist.
    pub(crate) fn result_text(&self, name: &str) -> String {
        String::from_utf8(self.result(name).expect(name)).expect("UTF-8")
    }

    pub(crate) fn base_url(&self) -> String {
        self.base_url.clone()
    }

    pub(crate) fn state(&self) -> State {
        self.sandbox.as_ref().expect("a sandbox").state()
    }

    /// The requests that the sandbox has received.
    pub(crate) fn requests(&self) -> u64 {
        self.state().counters.requests
    }

    pub(crate) fn assert_no_violations(&self) {
        assert_eq!(self.state().violations, Vec::<String>::new());
    }

    /// Waits until the sandbox has received this many requests, or the program has ended.
    pub(crate) fn wait_for_requests(&self, requests: u64, child: &mut Child) {
        while self.requests() < requests && child.try_wait().expect("a child").is_none() {
            std::thread::yield_now();
        }
    }

    /// The sandbox's log of requests, in order.
    pub(crate) fn log(&self) -> Vec<Value> {
        let mut server =
            TcpStream::connect(self.base_url.trim_start_matches("http://")).expect("the sandbox");
        server
            .write_all(b"GET /sandbox/log HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\n\r\n")
            .expect("sent");
        let mut answer = String::new();
        server.read_to_string(&mut answer).expect("an answer");
        let lines = answer.lines().filter(|line| line.starts_with('{'));
        lines.map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_omnidesk-sync"));
        command
            .current_dir(self.folder.path())
            .args(arguments)
            .env("OMNIDESK_API_KEY", KEY)
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn execute(&self, arguments: &[&str]) -> CommandOutput {
        CommandOutput::read(&mut self.command(arguments))
    }

    /// Starts the program and ignores its output.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program")
    }

    /// Starts the program. [`CommandOutput::wait`] reads its output.
    pub(crate) fn spawn_piped(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program")
    }

    /// Starts the program and kills it after this many more requests.
    pub(crate) fn kill_after(&self, requests: u64, arguments: &[&str]) {
        let requests = self.requests() + requests;
        let mut child = self.spawn(arguments);
        self.wait_for_requests(requests, &mut child);
        kill(&mut child);
    }

    /// Runs an export with these rows.
    pub(crate) fn run(&self, rows: &str) -> CommandOutput {
        self.write_export(rows);
        self.execute(&RUN)
    }

    /// Runs `export.csv` with further options.
    pub(crate) fn run_with(&self, options: &[&str]) -> CommandOutput {
        self.execute(&[&["run", "--json"], options, &["export.csv"]].concat())
    }

    pub(crate) fn status(&self) -> Value {
        self.execute(&["status", "--json"]).expect_code(0).json()
    }
}

impl CommandOutput {
    pub(crate) fn new(output: Output) -> Self {
        let output = Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        };
        for stream in [&output.stdout, &output.stderr] {
            assert!(!stream.contains(KEY), "the key is shown: {stream}");
        }
        output
    }

    /// Runs a command to its end.
    pub(crate) fn read(command: &mut Command) -> Self {
        Self::new(command.output().expect("the program"))
    }

    /// Waits for the end of a child with pipes.
    pub(crate) fn wait(child: Child) -> Self {
        Self::new(child.wait_with_output().expect("an end"))
    }

    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// The text is in stderr.
    #[track_caller]
    pub(crate) fn expect_stderr(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "{text:?} is not in {}", self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn expect_outcomes(self, outcomes: &str) -> Self {
        assert_eq!(self.outcomes(), outcomes, "{}", self.stderr);
        self
    }

    /// Why the run stopped.
    #[track_caller]
    pub(crate) fn expect_stop(self, reason: &str) -> Self {
        assert_eq!(self.json()["stopped"]["reason"], reason, "{}", self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn expect_calls(self, calls: u64) -> Self {
        assert_eq!(self.calls(), calls, "{}", self.stdout);
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }

    /// The outcomes that occur, with their counts. They must add up to the rows read.
    pub(crate) fn outcomes(&self) -> String {
        let summary = self.json();
        let outcomes = summary["outcomes"].as_object().expect("outcomes");
        let sum: u64 = outcomes.values().filter_map(Value::as_u64).sum();
        assert_eq!(Some(sum), summary["rows"].as_u64(), "outcomes do not add up to the rows: {summary}");
        let counts: Vec<String> = [
            "created",
            "updated",
            "channel_added",
            "purged",
            "unchanged",
            "skipped",
            "rejected",
            "failed",
            "in_doubt",
            "not_attempted",
        ]
        .iter()
        .filter(|outcome| outcomes[**outcome] != 0)
        .map(|outcome| format!("{} {outcome}", outcomes[*outcome]))
        .collect();
        counts.join(", ")
    }

    pub(crate) fn calls(&self) -> u64 {
        let calls = &self.json()["calls"];
        ["create", "update", "add-channel", "purge"].iter().filter_map(|call| calls[*call].as_u64()).sum()
    }

    /// New notices of a kind, and those of earlier runs.
    pub(crate) fn notices(&self, code: &str) -> (u64, u64) {
        let summary = self.json();
        let mut notices = summary["notices"].as_array().expect("notices").iter();
        let Some(notice) = notices.find(|notice| notice["code"] == code) else { return (0, 0) };
        let count = |name: &str| notice[name].as_u64().expect("a count");
        (count("count"), count("before"))
    }
}

/// Rows of new customers.
pub(crate) fn rows(count: usize) -> String {
    (0..count).map(|id| format!("C{id},Ann,Smit,c{id}@example.org,,,\n")).collect()
}

pub(crate) fn kill(child: &mut Child) {
    child.kill().expect("killed");
    child.wait().expect("an end");
}

pub(crate) fn send_signal(process: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &process.to_string()]).status();
    assert!(sent.expect("kill").success());
}

/// Opens a checkpoint in this process. Its lock can outlive its last holder for
/// a moment: a child that another test starts shares all open files until it
/// becomes the program.
pub(crate) fn open_checkpoint(path: &Path, tenant: &str) -> Result<Checkpoint, CheckpointError> {
    for _ in 0..1_000_000 {
        match Checkpoint::open(path, tenant) {
            Err(CheckpointError::Locked { .. }) => std::thread::yield_now(),
            opened => return opened,
        }
    }
    Checkpoint::open(path, tenant)
}

/// This many cases, the same in every run, so that a failure is due to a change
/// and not to chance. `PROPTEST_RNG_SEED` picks others.
pub(crate) fn proptest_config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let rng_seed = match default.rng_seed {
        RngSeed::Random => RngSeed::Fixed(20_261_123),
        fixed => fixed,
    };
    // The variable is one of proptest's own.
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    ProptestConfig { cases, rng_seed, failure_persistence: None, max_shrink_iters: 500, ..default }
}
