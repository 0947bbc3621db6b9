//! The whole program against the bare tools beneath it, as tables of ratios:
//! `cargo bench --bench whole`.
//!
//! | part | is compared with |
//! |---|---|
//! | reading and deciding | the bare `csv` crate |
//! | sending, in pairs against one server | a bare reqwest loop with the same bodies |
//! | sending | curl, aiohttp and qsv, where they are installed |
//! | instructions a call, by thread, where valgrind is installed | the same loop |
//! | time to the first request | none: of a new run, and of a resumed one |
//!
//! `WHOLE_ROWS` (1,000,000), `WHOLE_PAIRS` (10), `WHOLE_PAIR_ROWS` (100,000),
//! `WHOLE_CALLS` (4,000) and `WHOLE_RESUME_ROWS` (1,000,000) change the sizes; 0 skips a
//! part. CPU is user and
//! system time, in hundredths of a second.

#![expect(clippy::print_stdout, reason = "the program prints its results")]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_omnidesk-sync");
const CONCURRENCY: usize = 64;

const HEADER: &str =
    "customer_number,first_name,last_name,email,mobile,tier,country,segment,city,street,postcode,updated_at";

/// The resources of one process.
struct Usage {
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
    let rows = setting("WHOLE_ROWS", 1_000_000);
    if rows > 0 {
        compare_deciding(folder.path(), rows);
    }
    let (pairs, rows) = (setting("WHOLE_PAIRS", 10), setting("WHOLE_PAIR_ROWS", 100_000));
    if pairs > 0 {
        compare_sending(folder.path(), pairs, rows);
        compare_tools(folder.path(), rows.min(20_000));
    }
    let calls = setting("WHOLE_CALLS", 4_000);
    if calls > 0 {
        count_instructions(folder.path(), calls);
    }
    let rows = setting("WHOLE_RESUME_ROWS", 1_000_000);
    if rows > 0 {
        measure_start(folder.path(), rows);
    }
}

fn number(text: &str) -> u64 {
    text.parse().expect("a whole number")
}

/// The cells of a row, the same in every run. A third of the rows have a telephone.
fn cells(row: u64) -> [String; 12] {
    let pick = |texts: &[&str], shift: u64| {
        texts[((row * 2_654_435_761) >> shift) as usize % texts.len()].to_owned()
    };
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
         [guard]\nmin_rows = 0\n[input]\nmin_age = \"0s\"\n\
         [customer]\nprimary_id = \"customer_number\"\nbrand_id = {{ value = 2 }}\n\
         firstname = \"first_name\"\nlastname = \"last_name\"\n{addresses}\
         [customer.custom]\ntier = \"tier\"\ncountry = \"country\"\nsegment = \"segment\"\n\
         [checkpoint]\npath = \"{name}.checkpoint\"\n[report]\ndir = \"{name}.runs\"\n"
    );
    std::fs::write(folder.join(format!("{name}.toml")), text).expect("a configuration");
}

/// Runs a command to its end.
fn measure(command: &mut Command) -> Usage {
    let (cpu_before, start) = (children_cpu(), Instant::now());
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
    Usage { wall: start.elapsed(), cpu: children_cpu() - cpu_before, peak_kb }
}

fn program(folder: &Path, arguments: &[&str]) -> Usage {
    measure(Command::new(PROGRAM).current_dir(folder).env("WHOLE_KEY", "none").args(arguments))
}

/// The highest resident memory so far.
fn peak_of(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// The CPU time of ended children: fields 16 and 17 of `stat` in proc(5), in
/// hundredths of a second.
fn children_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 =
        after_name.split_whitespace().skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn compare_deciding(folder: &Path, rows: u64) {
    write_exports(folder, rows);
    let nowhere = "http://127.0.0.1:9";
    configure(folder, "plain", nowhere, "");
    configure(folder, "mail", nowhere, "email = \"email\"\n");
    configure(folder, "phone", nowhere, "email = \"email\"\ntelephone = \"mobile\"\n");
    let bare = median((0..5).map(|_| bare_csv(&folder.join("export.csv"))).collect());
    println!("{rows} rows of 12 columns; the bare csv crate reads them in {:.2} s\n", bare.as_secs_f64());
    println!("| reading and deciding | wall, s | CPU, s | rows/s of wall | × bare csv | peak, MB |");
    println!("|---|---|---|---|---|---|");
    for (name, arguments) in [
        ("plan, new, plain columns", ["plan", "-c", "plain.toml", "export.csv"]),
        ("plan, new, with e-mail", ["plan", "-c", "mail.toml", "export.csv"]),
        ("plan, new, with e-mail and a third telephones", ["plan", "-c", "phone.toml", "export.csv"]),
        ("plan, new, JSON lines, plain columns", ["plan", "-c", "plain.toml", "export.jsonl"]),
        ("adopt, with e-mail", ["adopt", "-c", "mail.toml", "export.csv"]),
        ("plan, unchanged, with e-mail", ["plan", "-c", "mail.toml", "export.csv"]),
        ("run, unchanged, with e-mail", ["run", "-c", "mail.toml", "export.csv"]),
    ] {
        let mut usage = program(folder, &arguments);
        // A quick command runs three times.
        if name.starts_with("run") {
            let more = (0..2).map(|_| program(folder, &arguments).wall);
            usage.wall = median(more.chain([usage.wall]).collect());
        }
        println!(
            "| {name} | {:.2} | {:.2} | {:.0} | {:.1} | {:.0} |",
            usage.wall.as_secs_f64(),
            usage.cpu.as_secs_f64(),
            rows as f64 / usage.wall.as_secs_f64(),
            usage.wall.as_secs_f64() / bare.as_secs_f64(),
            usage.peak_kb as f64 / 1024.0
        );
    }
    let size = std::fs::metadata(folder.join("mail.checkpoint")).map_or(0, |file| file.len());
    println!("\nthe checkpoint has {} bytes a customer", size / rows.max(1));
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn bare_csv(path: &Path) -> Duration {
    let start = Instant::now();
    let mut reader = csv::Reader::from_path(path).expect("an export");
    let mut record = csv::ByteRecord::new();
    while reader.read_byte_record(&mut record).expect("a record") {}
    start.elapsed()
}

/// Starts a server for each half of a pair, so both begin with no customers.
fn with_server<T>(folder: &Path, work: impl FnOnce(&str) -> T) -> T {
    let mut server = Command::new(PROGRAM)
        .current_dir(folder)
        .arg("sandbox")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a server");
    let mut line = String::new();
    BufReader::new(server.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
    let url = line.split_whitespace().find(|word| word.starts_with("http://")).expect("a URL").to_owned();
    let result = work(&url);
    server.kill().and_then(|()| server.wait()).expect("ended");
    result
}

/// Runs `pair.csv` with a checkpoint in this folder.
fn run_pair(folder: &Path, name: &str, checkpoints: &Path) -> Usage {
    with_server(folder, |url| {
        configure(folder, name, url, "");
        let config = folder.join(format!("{name}.toml"));
        let text = std::fs::read_to_string(&config).expect("a configuration");
        let path = checkpoints.join(format!("{name}.checkpoint"));
        let here = format!("path = \"{name}.checkpoint\"");
        std::fs::write(&config, text.replace(&here, &format!("path = {path:?}"))).expect("a configuration");
        program(folder, &["run", "-q", "-c", &format!("{name}.toml"), "pair.csv"])
    })
}

fn write_pair(folder: &Path, rows: u64) {
    let export: String = (1..=rows).map(|row| format!("{}\n", cells(row).join(","))).collect();
    std::fs::write(folder.join("pair.csv"), format!("{HEADER}\n{export}")).expect("an export");
}

fn compare_sending(folder: &Path, pairs: u64, rows: u64) {
    write_pair(folder, rows);
    let memory = tempfile::TempDir::new_in("/dev/shm").ok();
    let (mut speeds, mut cpus, mut durable, mut peak_kb) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for pair in 0..pairs {
        let bare = with_server(folder, |url| {
            let program = std::env::current_exe().expect("this program");
            measure(Command::new(program).args(["--bare", url, &rows.to_string()]))
        });
        let on_disk = run_pair(folder, &format!("pair{pair}"), folder);
        speeds.push(bare.wall.as_secs_f64() / on_disk.wall.as_secs_f64());
        cpus.push(on_disk.cpu.as_secs_f64() / bare.cpu.as_secs_f64().max(0.01));
        peak_kb = peak_kb.max(on_disk.peak_kb);
        if let Some(memory) = &memory {
            let in_memory = run_pair(folder, &format!("memory{pair}"), memory.path());
            durable.push(in_memory.wall.as_secs_f64() / on_disk.wall.as_secs_f64());
        }
    }
    println!(
        "\n{pairs} pairs of {rows} creates at concurrency {CONCURRENCY}, from the start of the process to its end"
    );
    println!("\n| compared with | measure | median | lowest | highest |\n|---|---|---|---|---|");
    for (baseline, measure, ratios) in [
        ("a bare reqwest loop", "rows/s, × its", &mut speeds),
        ("a bare reqwest loop", "CPU, × its", &mut cpus),
        ("a checkpoint in memory", "rows/s with one on the disk, × its", &mut durable),
    ] {
        ratios.sort_by(f64::total_cmp);
        let (Some(lowest), Some(highest)) = (ratios.first(), ratios.last()) else { continue };
        println!("| {baseline} | {measure} | {:.2} | {lowest:.2} | {highest:.2} |", ratios[ratios.len() / 2]);
    }
    println!("\nits peak memory was {:.0} MiB", peak_kb as f64 / 1024.0);
}

/// Counts the instructions of a create, by thread, without those of the start. They are
/// the same in every run to about 1 %, however busy the machine is.
fn count_instructions(folder: &Path, calls: u64) {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("\nvalgrind is not installed: no instructions are counted");
        return;
    }
    let run = |rows, command: &str| {
        write_pair(folder, rows);
        with_server(folder, |url| {
            let name = format!("{command}{rows}");
            configure(folder, &name, url, "");
            let config = format!("{name}.toml");
            instructions(folder, PROGRAM, &[command, "-q", "-c", &config, "pair.csv"])
        })
    };
    let bare = |rows: u64| {
        let program = std::env::current_exe().expect("this program");
        let program = program.to_str().expect("a path");
        with_server(folder, |url| instructions(folder, program, &["--bare", url, &rows.to_string()]))
    };
    // What is in both comes from the start.
    let each = |counts: &dyn Fn(u64) -> Vec<(&'static str, u64)>| {
        let (few, many) = (counts(calls), counts(3 * calls));
        move |thread: &str| {
            let sum = |counts: &[(&str, u64)]| {
                counts
                    .iter()
                    .filter(|(name, _)| thread.is_empty() || *name == thread)
                    .map(|(_, count)| count)
                    .sum()
            };
            let (few, many): (u64, u64) = (sum(&few), sum(&many));
            many.saturating_sub(few) / (2 * calls)
        }
    };
    let (run, plan, bare) = (each(&|rows| run(rows, "run")), each(&|rows| run(rows, "plan")), each(&bare));
    println!("\n| instructions | a call |\n|---|---|");
    for (part, count) in [
        ("network thread, sending", run("network") - plan("network").min(run("network"))),
        // It takes the place of the first pass's second thread.
        ("recorder", run("recorder") - plan("other").min(run("recorder"))),
        ("the whole process, plan and reading included", run("")),
        ("a bare reqwest loop", bare("")),
    ] {
        println!("| {part} | {count} |");
    }
}

/// The instructions of each thread of a program.
fn instructions(folder: &Path, program: &str, arguments: &[&str]) -> Vec<(&'static str, u64)> {
    let counts = tempfile::TempDir::new_in(folder).expect("a folder");
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--separate-threads=yes"])
        .arg(format!("--callgrind-out-file={}", counts.path().join("thread").display()))
        .arg(program)
        .args(arguments)
        .current_dir(folder)
        .env("WHOLE_KEY", "none")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.expect("valgrind").success(), "{program} {arguments:?}");
    let files = std::fs::read_dir(counts.path()).expect("a folder");
    files
        .filter_map(|file| {
            let path = file.expect("a file").path();
            let text = std::fs::read_to_string(&path).expect("counts");
            let total = text.lines().find_map(|line| line.strip_prefix("totals: "))?;
            // The first thread sends; others are recognized by their functions.
            let is_first = text.lines().any(|line| line == "thread: 1");
            let thread = match text {
                _ if is_first => "network",
                _ if text.contains("recorder") => "recorder",
                _ => "other",
            };
            Some((thread, number(total.trim())))
        })
        .collect()
}

/// Other tools make the same creates, three times each, in turn with the program.
fn compare_tools(folder: &Path, rows: u64) {
    write_pair(folder, rows);
    let bodies: Vec<String> = (1..=rows).map(body).collect();
    let lines: String = bodies.iter().map(|body| format!("{body}\n")).collect();
    std::fs::write(folder.join("bodies.jsonl"), lines).expect("bodies");
    let aiohttp = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/aiohttp_posts.py");
    let is_installed = |program: &str, arguments: &[&str]| {
        let status =
            Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    println!("\n| {rows} creates, 64 at once | rows/s | rows/s of omnidesk-sync, × that |\n|---|---|---|");
    let print_row = |tool: &str, is_installed: bool, run: &dyn Fn(&str) -> Command| {
        if !is_installed {
            println!("| {tool} | not installed | |");
            return;
        }
        let mut ratios: Vec<(f64, f64)> = (0..3)
            .map(|nth| {
                let tool_seconds = with_server(folder, |url| measure(&mut run(url))).wall.as_secs_f64();
                let own_seconds =
                    run_pair(folder, &format!("{}{nth}", &tool[..4]), folder).wall.as_secs_f64();
                (tool_seconds / own_seconds, rows as f64 / tool_seconds)
            })
            .collect();
        ratios.sort_by(|one, other| one.0.total_cmp(&other.0));
        println!("| {tool} | {:.0} | {:.1} |", ratios[1].1, ratios[1].0);
    };
    print_row("curl -Z", is_installed("curl", &["--version"]), &|url| {
        let one = |body: &String| {
            format!(
                "url = \"{url}/api/v2/customer\"\nheader = \"content-type: application/json\"\noutput = \"/dev/null\"\ndata = {body:?}\n"
            )
        };
        let all: Vec<String> = bodies.iter().map(one).collect();
        std::fs::write(folder.join("curl.conf"), all.join("next\n")).expect("a configuration");
        let mut curl = Command::new("curl");
        curl.current_dir(folder).args(["-s", "-Z", "--parallel-max", "64", "-K", "curl.conf"]);
        curl
    });
    print_row("aiohttp", is_installed("python3", &["-c", "import aiohttp"]), &|url| {
        let mut python = Command::new("python3");
        python.current_dir(folder).arg(&aiohttp).args([url, "bodies.jsonl"]);
        python
    });
    let qsv = std::env::var("WHOLE_QSV").unwrap_or("qsv".to_owned());
    let has_qsv = is_installed(&qsv, &["fetchpost", "--help"]);
    print_row("qsv fetchpost", has_qsv, &|url| {
        std::fs::write(folder.join("body.tpl"), QSV_BODY).expect("a template");
        std::fs::write(folder.join("qsv.toml"), url).expect("a file");
        let mut command = Command::new(&qsv);
        command.current_dir(folder).args(["fetchpost", &format!("{url}/api/v2/customer")]);
        command.args(["--payload-tpl", "body.tpl", "--content-type", "application/json"]);
        command.args(["--rate-limit", "0", "--no-cache", "pair.csv"]);
        command
    });
}

/// The same body in the template language of `qsv fetchpost`.
const QSV_BODY: &str = r#"{"brand_id":2,"primary_id":"{{customer_number}}","firstname":"{{first_name}}","lastname":"{{last_name}}","country":"{{country}}","segment":"{{segment}}"{% if tier %},"tier":"{{tier}}"{% endif %}}"#;

/// A server that answers this many creates, and reports when each came.
struct CountingServer {
    url: String,
    requests: std::sync::mpsc::Receiver<Instant>,
}

fn listen(answers_max: u64) -> CountingServer {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (sender, requests) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let remaining = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(answers_max));
        for stream in listener.incoming().map_while(Result::ok) {
            let (sender, remaining) = (sender.clone(), std::sync::Arc::clone(&remaining));
            std::thread::spawn(move || answer(stream, &sender, &remaining));
        }
    });
    CountingServer { url, requests }
}

fn answer(
    mut stream: TcpStream,
    requests: &std::sync::mpsc::Sender<Instant>,
    remaining: &std::sync::atomic::AtomicU64,
) {
    use std::sync::atomic::Ordering;
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    loop {
        let (mut length, mut line) = (0, String::new());
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let _ = requests.send(Instant::now());
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let take_one = |remaining: u64| remaining.checked_sub(1);
        if remaining.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take_one).is_err() {
            // The client waits until it is killed.
            std::thread::park();
        }
        let text = r#"{"type":"result","message":"User created and channel linked."}"#;
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            text.len()
        );
        if stream.write_all(format!("{head}{text}").as_bytes()).is_err() {
            return;
        }
    }
}

/// The time from the start of the process to its first request. Then it is killed.
fn time_to_first_request(folder: &Path, config: &str, export: &str, server: &CountingServer) -> Duration {
    let start = Instant::now();
    let mut child = Command::new(PROGRAM)
        .current_dir(folder)
        .env("WHOLE_KEY", "none")
        .args(["run", "-q", "-c", config, export])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("started");
    let first = server.requests.recv_timeout(Duration::from_secs(600)).expect("a request");
    // The calls of the canary, so that the next process does not repeat them.
    let calls = (0..9).take_while(|_| server.requests.recv_timeout(Duration::from_secs(2)).is_ok()).count();
    assert!(calls < 10);
    child.kill().and_then(|()| child.wait()).expect("ended");
    first - start
}

fn measure_start(folder: &Path, rows: u64) {
    let times: Vec<Duration> = (0..11)
        .map(|nth| {
            let (server, name) = (listen(u64::MAX), format!("start{nth}"));
            configure(folder, &name, &server.url, "");
            write_pair(folder, 1);
            let export = std::fs::read_to_string(folder.join("pair.csv")).expect("an export");
            std::fs::write(folder.join(format!("{name}.csv")), export).expect("an export");
            time_to_first_request(folder, &format!("{name}.toml"), &format!("{name}.csv"), &server)
        })
        .collect();
    let start = median(times).as_secs_f64() * 1e3;
    println!("\nfrom the start to the first request, one row: {start:.1} ms (median of 11)");
    if rows == 0 {
        return;
    }
    // All rows but the last 5,000 are acknowledged. Ten more calls are answered.
    write_pair(folder, rows);
    std::fs::rename(folder.join("pair.csv"), folder.join("resume.csv")).expect("an export");
    configure(folder, "resume", "http://127.0.0.1:9", "");
    program(folder, &["adopt", "-c", "resume.toml", "resume.csv"]);
    let mut export =
        std::fs::OpenOptions::new().append(true).open(folder.join("resume.csv")).expect("the export");
    for row in rows + 1..=rows + 5000 {
        writeln!(export, "{}", cells(row).join(",")).expect("written");
    }
    let server = listen(10);
    configure(folder, "resume", &server.url, "");
    let new_run = time_to_first_request(folder, "resume.toml", "resume.csv", &server);
    let server = listen(u64::MAX);
    configure(folder, "resume", &server.url, "");
    let resumed_run = time_to_first_request(folder, "resume.toml", "resume.csv", &server);
    println!(
        "from the start to the first request after {rows} unchanged rows: {:.2} s for a new run, {:.2} s for a resumed one",
        new_run.as_secs_f64(),
        resumed_run.as_secs_f64()
    );
}

/// The same creates with reqwest alone.
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
