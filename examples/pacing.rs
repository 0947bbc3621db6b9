//! Measures how exactly the program keeps its rate, and how well it finds the rate
//! that a server tolerates: the release binary against a sandbox in this process.
//!
//! ```text
//! cargo build --release && cargo run --release --example pacing
//! ```

#![expect(clippy::print_stdout, reason = "the program prints its results")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use omnidesk_sync::sandbox::{RateLimit, Sandbox, Settings};
use serde_json::Value;

type Error = Box<dyn std::error::Error>;

/// Rate, its unit in seconds, and rows.
const RATES: [(u32, u64, u32); 6] =
    [(1, 1, 12), (600, 60, 150), (10, 1, 100), (200, 1, 2000), (1000, 1, 10_000), (10_000, 1, 50_000)];
/// The calls of the canary go one by one and are not measured.
const CANARY: usize = 5;

struct Measurement {
    duration: Duration,
    summary: Value,
    /// Times of the requests, in seconds.
    arrivals: Vec<f64>,
}

fn main() -> Result<(), Error> {
    println!(
        "| rate | rows | share of the rate used | most calls in one unit | over |\n|---|---|---|---|---|"
    );
    for (calls, per, rows) in RATES {
        let unit = if per == 1 { "s" } else { "min" };
        let rate = format!("{calls}/{unit}");
        let measurement = run(&rate, rows, Settings::default())?;
        let times = &measurement.arrivals[CANARY..];
        let span = times[times.len() - 1] - times[0];
        let used = (times.len() - 1) as f64 * per as f64 / f64::from(calls) / span;
        let count_max = count_max(&measurement.arrivals, per as f64);
        let over = count_max.saturating_sub(calls as usize);
        println!("| {rate} | {rows} | {used:.4} | {count_max} | {over} |");
    }
    println!(
        "\n| rate | limit | Retry-After | refused | duration, × ideal | accepted rate |\n|---|---|---|---|---|---|"
    );
    for retry_after in [true, false] {
        let calls = 100.try_into()?;
        let limit = RateLimit { calls, per: Duration::from_secs(1), retry_after };
        let measurement = run("1000/s", 6000, Settings { rate_limit: Some(limit), ..Settings::default() })?;
        let refused = measurement.summary["pace"]["refused"].as_u64().unwrap_or_default() as f64;
        let share = 100.0 * refused / measurement.arrivals.len() as f64;
        let slowdown = measurement.duration.as_secs_f64() / 60.0;
        let accepted = &measurement.summary["pace"]["accepted"];
        println!("| 1000/s | 100/s | {retry_after} | {share:.2} % | {slowdown:.3} | {accepted} |");
    }
    Ok(())
}

/// The highest number of arrivals in a window of this many seconds.
fn count_max(times: &[f64], window: f64) -> usize {
    let mut last = 0;
    let counts = times.iter().enumerate().map(|(first, from)| {
        while last < times.len() && times[last] - from < window {
            last += 1;
        }
        last - first
    });
    counts.max().unwrap_or_default()
}

fn run(rate: &str, rows: u32, settings: Settings) -> Result<Measurement, Error> {
    let sandbox = Sandbox::start(settings)?;
    let folder = tempfile::TempDir::new()?;
    let export: String = (0..rows).map(|row| format!("C{row},Ann\n")).collect();
    std::fs::write(folder.path().join("export.csv"), format!("id,name\n{export}"))?;
    let config = format!(
        "[omnidesk]\nbase_url = {:?}\n[limits]\nconcurrency = 64\n[customer]\nprimary_id = \"id\"\nbrand_id = {{ value = 2 }}\nfirstname = \"name\"\n",
        sandbox.base_url()
    );
    std::fs::write(folder.path().join("omnidesk-sync.toml"), config)?;
    let start = Instant::now();
    let output = Command::new(binary()?)
        .current_dir(folder.path())
        .args(["run", "--json", "--quiet", "--rate", rate, "export.csv"])
        .env("OMNIDESK_API_KEY", "none")
        .stderr(Stdio::inherit())
        .output()?;
    let duration = start.elapsed();
    let summary = serde_json::from_slice(&output.stdout)?;
    Ok(Measurement { duration, summary, arrivals: arrivals(&sandbox.base_url())? })
}

/// The program in the folder above this one's.
fn binary() -> Result<PathBuf, Error> {
    let path = std::env::current_exe()?;
    let folder = path.parent().and_then(|examples| examples.parent()).ok_or("no folder")?;
    Ok(folder.join("omnidesk-sync"))
}

fn arrivals(base_url: &str) -> Result<Vec<f64>, Error> {
    let mut server = TcpStream::connect(base_url.trim_start_matches("http://"))?;
    server.write_all(b"GET /sandbox/log HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    server.read_to_string(&mut answer)?;
    let lines = answer.lines().filter(|line| line.starts_with('{'));
    let times = lines.map(|line| {
        let line: Value = serde_json::from_str(line)?;
        Ok(line["at_us"].as_u64().ok_or("no time")? as f64 / 1e6)
    });
    times.collect()
}
