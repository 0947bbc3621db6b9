//! What most tests need: a folder, a sandbox, a configuration and the binary.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use omnidesk_sync::checkpoint::{Checkpoint, CheckpointError};
use omnidesk_sync::sandbox::{Sandbox, Settings, State};
use proptest::test_runner::{Config as ProptestConfig, RngSeed};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) use crate::rows::{HEADER, MAPPING};

/// The key that every test uses; it must never be seen again.
pub(crate) const KEY: &str = "s3cr3t-k3y-0f-the-tests";

/// A folder with a configuration for a server.
pub(crate) struct World {
    folder: TempDir,
    sandbox: Option<Sandbox>,
    base_url: String,
}

/// How a command ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl World {
    /// With a sandbox of its own.
    pub(crate) fn new(settings: Settings) -> Self {
        let sandbox = Sandbox::start(settings).expect("a sandbox");
        let base_url = sandbox.base_url();
        Self { sandbox: Some(sandbox), ..Self::at(&base_url) }.with_mapping(MAPPING, "")
    }

    /// With any other server.
    pub(crate) fn at(base_url: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        Self { folder, sandbox: None, base_url: base_url.to_owned() }.with_mapping(MAPPING, "")
    }

    /// `limits` goes into `[limits]` and what follows it.
    pub(crate) fn with_mapping(self, mapping: &str, limits: &str) -> Self {
        let config = format!(
            "[omnidesk]\nbase_url = \"{}\"\nsettle = \"300ms\"\ntimeout = \"5s\"\n\n[limits]\nrate = \"20000/s\"\n{limits}\n{mapping}",
            self.base_url
        );
        // Exports of tests are made a moment before they are run.
        let config = match config.contains("[input]\n") {
            true => config.replace("[input]\n", "[input]\nmin_age = \"0s\"\n"),
            false => format!("{config}\n[input]\nmin_age = \"0s\"\n"),
        };
        self.file("omnidesk-sync.toml", config.as_bytes());
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).expect("a file");
        path
    }

    pub(crate) fn read(&self, name: &str) -> String {
        let bytes = std::fs::read(self.path(name)).expect("a file");
        String::from_utf8(bytes).expect("UTF-8")
    }

    /// The result file of that name in the folder of the last run.
    pub(crate) fn result(&self, name: &str) -> Option<Vec<u8>> {
        self.result_in("runs", name)
    }

    /// The same for another folder of runs, if there is a run.
    pub(crate) fn result_in(&self, folder: &str, name: &str) -> Option<Vec<u8>> {
        let runs = std::fs::read_dir(self.path(folder)).expect("runs");
        let last = runs.map(|run| run.expect("a run").path()).max();
        std::fs::read(last?.join(name)).ok()
    }

    pub(crate) fn base_url(&self) -> String {
        self.base_url.clone()
    }

    pub(crate) fn state(&self) -> State {
        self.sandbox.as_ref().expect("a sandbox").state()
    }

    /// Waits until the sandbox has received so many requests.
    pub(crate) fn wait_for_requests(&self, requests: u64, child: &mut Child) {
        while self.state().counters.requests < requests {
            if child.try_wait().expect("a child").is_some() {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// Everything that the sandbox received, in order.
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
    pub(crate) fn ends(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments).output().expect("the program"))
    }

    /// Starts the program; its output is not looked at.
    pub(crate) fn starts(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program")
    }

    /// `run --json` of a file with this content.
    pub(crate) fn run(&self, export: &str) -> Ended {
        self.file("export.csv", format!("{HEADER}{export}").as_bytes());
        self.ends(&["run", "--json", "export.csv"])
    }
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        let ended = Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        };
        for stream in [&ended.stdout, &ended.stderr] {
            assert!(!stream.contains(KEY), "the key is shown: {stream}");
        }
        ended
    }

    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }

    /// Rows by outcome, those that there are, and that the books balance.
    pub(crate) fn outcomes(&self) -> String {
        let summary = self.json();
        let outcomes = summary["outcomes"].as_object().expect("outcomes");
        let sum: u64 = outcomes.values().filter_map(Value::as_u64).sum();
        assert_eq!(Some(sum), summary["rows"].as_u64(), "the books do not balance: {summary}");
        let some: Vec<String> = [
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
        some.join(", ")
    }

    pub(crate) fn calls(&self) -> u64 {
        let calls = &self.json()["calls"];
        ["create", "update", "add-channel", "purge"].iter().filter_map(|call| calls[*call].as_u64()).sum()
    }
}

/// Opens a checkpoint in this process. Its lock may be taken a moment longer
/// than its last holder lived: a child that another test starts shares every
/// open file until it becomes the program.
pub(crate) fn open_checkpoint(path: &Path, tenant: &str) -> Result<Checkpoint, CheckpointError> {
    for _ in 0..1_000_000 {
        match Checkpoint::open(path, tenant) {
            Err(CheckpointError::Locked { .. }) => std::thread::yield_now(),
            opened => return opened,
        }
    }
    Checkpoint::open(path, tenant)
}

/// So many cases, the same ones each time: a change is judged by what it does,
/// not by its luck. `PROPTEST_RNG_SEED` goes to others.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    let chosen = ProptestConfig::default();
    let rng_seed = match chosen.rng_seed {
        RngSeed::Random => RngSeed::Fixed(20_261_123),
        fixed => fixed,
    };
    ProptestConfig { cases, rng_seed, failure_persistence: None, max_shrink_iters: 500, ..chosen }
}
