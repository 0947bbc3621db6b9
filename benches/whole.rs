//! The whole program against the bare tools beneath it, as a table of ratios:
//! `cargo bench --bench whole`.
//!
//! Reading and deciding against the bare `csv` crate; sending against a bare
//! reqwest loop with the same bodies, in pairs, against one server in a process
//! of its own. `WHOLE_ROWS` (a million), `WHOLE_PAIRS` (ten) and
//! `WHOLE_PAIR_ROWS` (twenty thousand) change the sizes. CPU is user and
//! system together and comes in hundredths of a second.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_omnidesk-sync");
const CONCURRENCY: usize = 64;

const HEADER: &str =
    "customer_number,first_name,last_name,email,mobile,tier,country,segment,city,street,postcode,updated_at";

/// What one process used.
struct Used {
    wall: Duration,
    cpu: Duration,
    peak_kb: u64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--bare") {
        return bare_loop(&arguments[at + 1], number(&arguments[at + 2]));
    }
    let setting = |name: &str, usual| std::env::var(name).map_or(usual, |text| number(&text));
    let folder = tempfile::TempDir::new().expect("a folder");
    deciding(folder.path(), setting("WHOLE_ROWS", 1_000_000));
    sending(folder.path(), setting("WHOLE_PAIRS", 10), setting("WHOLE_PAIR_ROWS", 20_000));
}

fn number(text: &str) -> u64 {
    text.parse().expect("a whole number")
}

/// Row `row` of the export, the same every time; a third has a telephone.
fn cells(row: u64) -> [String; 12] {
    let pick = |of: &[&str], shift: u64| of[((row * 2_654_435_761) >> shift) as usize % of.len()].to_owned();
    let first = pick(&["Anna", "Jan", "Sanne", "Daan", "Zoë", "René"], 7);
    let last = pick(&["Jansen", "de Vries", "Bakker", "Meijer", "Müller"], 11);
    let mobile = if row.is_multiple_of(3) {
        format!("+316{:08}", 10_000_000 + row % 80_000_000)
    } else {
        String::new()
    };
    [
        format!("C{row:08}"),
        first,
        last,
        format!("customer.number.{row}@example.org"),
        mobile,
        pick(&["gold", "silver", "bronze", ""], 13),
        pick(&["NL", "BE", "DE"], 17),
        format!("S{:02}", row % 40),
        "Amsterdam".to_owned(),
        format!("Keizersgracht {}", row % 900),
        format!("{} AB", 1000 + row % 9000),
        format!("2026-01-{:02}", 1 + row % 28),
    ]
}

fn write_exports(folder: &Path, rows: u64) {
    let (mut csv, mut json) = (format!("{HEADER}\n"), String::new());
    for row in 1..=rows {
        let cells = cells(row);
        csv.push_str(&cells.join(","));
        csv.push('\n');
        let members: Vec<String> =
            HEADER.split(',').zip(&cells).map(|(name, cell)| format!("\"{name}\":\"{cell}\"")).collect();
        let _ = writeln!(json, "{{{}}}", members.join(","));
    }
    std::fs::write(folder.join("export.csv"), csv).expect("an export");
    std::fs::write(folder.join("export.jsonl"), json).expect("an export");
}

/// A configuration `<name>.toml` with a checkpoint of its own.
fn configure(folder: &Path, name: &str, base_url: &str, addresses: &str) {
    let text = format!(
        "[omnidesk]\nbase_url = \"{base_url}\"\napi_key = {{ env = \"WHOLE_KEY\" }}\n\
         [limits]\nrate = \"100000/s\"\nconcurrency = {CONCURRENCY}\n\
         [guard]\nmin_rows = 0\n\
         [customer]\nprimary_id = \"customer_number\"\nbrand_id = {{ value = 2 }}\n\
         firstname = \"first_name\"\nlastname = \"last_name\"\n{addresses}\
         [customer.custom]\ntier = \"tier\"\ncountry = \"country\"\nsegment = \"segment\"\n\
         [checkpoint]\npath = \"{name}.checkpoint\"\n[report]\ndir = \"{name}.runs\"\n"
    );
    std::fs::write(folder.join(format!("{name}.toml")), text).expect("a configuration");
}

/// Runs a command to its end.
fn used(command: &mut Command) -> Used {
    let (before, began) = (children_cpu(), Instant::now());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
    let mut peak_kb = 0;
    let status = loop {
        peak_kb = peak_kb.max(peak_of(&child).unwrap_or(0));
        match child.try_wait().expect("a child") {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    assert!(status.success(), "{command:?}: {status}");
    Used { wall: began.elapsed(), cpu: children_cpu() - before, peak_kb }
}

fn program(folder: &Path, arguments: &[&str]) -> Used {
    used(Command::new(PROGRAM).current_dir(folder).env("WHOLE_KEY", "none").args(arguments))
}

/// The highest resident memory so far.
fn peak_of(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// Of the children that have ended: proc(5), `stat`, fields 16 and 17, in the
/// hundredths of a second that Linux tells programs.
fn children_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 =
        behind_name.split_whitespace().skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn deciding(folder: &Path, rows: u64) {
    write_exports(folder, rows);
    let nowhere = "http://127.0.0.1:9";
    configure(folder, "plain", nowhere, "");
    configure(folder, "mail", nowhere, "email = \"email\"\n");
    configure(folder, "phone", nowhere, "email = \"email\"\ntelephone = \"mobile\"\n");
    let bare = bare_csv(&folder.join("export.csv"));
    println!("{rows} rows of 12 columns; the bare csv crate reads them in {:.2} s\n", bare.as_secs_f64());
    println!("| reading and deciding | wall, s | CPU, s | rows/s of wall | × bare csv | peak, MB |");
    println!("|---|---|---|---|---|---|");
    for (what, arguments) in [
        ("plan, new, plain columns", ["plan", "-c", "plain.toml", "export.csv"]),
        ("plan, new, with e-mail", ["plan", "-c", "mail.toml", "export.csv"]),
        ("plan, new, with e-mail and a third telephones", ["plan", "-c", "phone.toml", "export.csv"]),
        ("plan, new, JSON lines, plain columns", ["plan", "-c", "plain.toml", "export.jsonl"]),
        ("adopt, with e-mail", ["adopt", "-c", "mail.toml", "export.csv"]),
        ("plan, unchanged, with e-mail", ["plan", "-c", "mail.toml", "export.csv"]),
        ("run, unchanged, with e-mail", ["run", "-c", "mail.toml", "export.csv"]),
    ] {
        let used = program(folder, &arguments);
        println!(
            "| {what} | {:.2} | {:.2} | {:.0} | {:.1} | {:.0} |",
            used.wall.as_secs_f64(),
            used.cpu.as_secs_f64(),
            rows as f64 / used.wall.as_secs_f64(),
            used.wall.as_secs_f64() / bare.as_secs_f64(),
            used.peak_kb as f64 / 1024.0
        );
    }
    let size = std::fs::metadata(folder.join("mail.checkpoint")).map_or(0, |file| file.len());
    println!("\nthe checkpoint has {} bytes a customer", size / rows.max(1));
}

fn bare_csv(path: &Path) -> Duration {
    let began = Instant::now();
    let mut reader = csv::Reader::from_path(path).expect("an export");
    let mut record = csv::ByteRecord::new();
    while reader.read_byte_record(&mut record).expect("a record") {}
    began.elapsed()
}

/// A server of its own for each half of a pair, so that both begin with nothing.
fn with_server<T>(folder: &Path, work: impl FnOnce(&str) -> T) -> T {
    let mut server = Command::new(PROGRAM)
        .current_dir(folder)
        .arg("sandbox")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a server");
    let mut line = String::new();
    BufReader::new(server.stdout.take().expect("its words")).read_line(&mut line).expect("a line");
    let url = line.split_whitespace().find(|word| word.starts_with("http://")).expect("a URL").to_owned();
    let done = work(&url);
    server.kill().and_then(|()| server.wait()).expect("ended");
    done
}

fn sending(folder: &Path, pairs: u64, rows: u64) {
    let export: String = (1..=rows).map(|row| format!("{}\n", cells(row).join(","))).collect();
    std::fs::write(folder.join("pair.csv"), format!("{HEADER}\n{export}")).expect("an export");
    let (mut speeds, mut cpus, mut peak_kb) = (Vec::new(), Vec::new(), 0);
    for pair in 0..pairs {
        let bare = with_server(folder, |url| {
            let me = std::env::current_exe().expect("this program");
            used(Command::new(me).args(["--bare", url, &rows.to_string()]))
        });
        let ours = with_server(folder, |url| {
            let name = format!("pair{pair}");
            configure(folder, &name, url, "");
            program(folder, &["run", "-q", "-c", &format!("{name}.toml"), "pair.csv"])
        });
        speeds.push(bare.wall.as_secs_f64() / ours.wall.as_secs_f64());
        cpus.push(ours.cpu.as_secs_f64() / bare.cpu.as_secs_f64().max(0.01));
        peak_kb = peak_kb.max(ours.peak_kb);
    }
    if pairs == 0 {
        return;
    }
    println!(
        "\n{pairs} pairs of {rows} creates at concurrency {CONCURRENCY}, from the start of the process to its end"
    );
    println!("\n| against a bare reqwest loop | median | lowest | highest |\n|---|---|---|---|");
    for (what, ratios) in [("rows/s, × its", &mut speeds), ("CPU, × its", &mut cpus)] {
        ratios.sort_by(f64::total_cmp);
        let (lowest, highest) = (ratios[0], ratios[ratios.len() - 1]);
        println!("| {what} | {:.2} | {lowest:.2} | {highest:.2} |", ratios[ratios.len() / 2]);
    }
    println!("\nits peak memory was {:.0} MB", peak_kb as f64 / 1024.0);
}

/// The same creates without anything around them.
fn bare_loop(url: &str, rows: u64) {
    let url = std::sync::Arc::new(format!("{}/api/v2/customer", url.trim_end_matches('/')));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let client = reqwest::Client::builder().pool_max_idle_per_host(CONCURRENCY).build().expect("a client");
    runtime.block_on(async {
        let tasks: Vec<_> = (1..=CONCURRENCY as u64)
            .map(|first| {
                let (client, url) = (client.clone(), url.clone());
                tokio::spawn(async move {
                    for row in (first..=rows).step_by(CONCURRENCY) {
                        let answer = client.post(url.as_str()).header("content-type", "application/json");
                        let answer = answer.header("apikey", "none").body(body(row)).send().await;
                        let answer = answer.expect("an answer");
                        assert!(answer.status().is_success(), "{}", answer.status());
                        answer.bytes().await.expect("a body");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("a task");
        }
    });
}

fn body(row: u64) -> String {
    let [id, first, last, _, _, tier, country, segment, ..] = cells(row);
    let tier = if tier.is_empty() { None } else { Some(tier) };
    let mut body = serde_json::json!({
        "brand_id": 2, "primary_id": id, "firstname": first, "lastname": last,
        "country": country, "segment": segment,
    });
    if let Some(tier) = tier {
        body["tier"] = tier.into();
    }
    body.to_string()
}
