//! Servers that limit: what gets through, how much is refused, what is told.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use omnidesk_sync::sandbox::{RateLimit, Settings};

use crate::server::{RESULT, Server, json, with_headers};
use crate::world::{HEADER, MAPPING, World};

fn rows(count: usize) -> String {
    (0..count).map(|id| format!("C{id},Ann,Smit,c{id}@example.org,,,\n")).collect()
}

fn sandbox(calls: u32, retry_after: bool) -> Settings {
    let calls = calls.try_into().expect("above zero");
    let limit = RateLimit { calls, per: Duration::from_secs(1), retry_after };
    Settings { rate_limit: Some(limit), ..Settings::default() }
}

#[test]
fn told_far_too_high_a_rate_the_program_finds_the_one_that_is_tolerated() {
    for retry_after in [true, false] {
        let world = World::new(sandbox(100, retry_after));
        world.file("export.csv", format!("{HEADER}{}", rows(800)).as_bytes());
        let ended = world.ends(&["run", "--json", "--rate", "1000/s", "export.csv"]).expect(0);
        assert_eq!(ended.outcomes(), "800 created");
        let counters = world.state().counters;
        assert!(counters.throttled > 0);
        // Under 5 %, in words that a count can break.
        assert!(20 * counters.throttled < counters.requests, "{counters:?}");
        let pace = &ended.json()["pace"];
        assert_eq!(pace["refused"], counters.throttled);
        assert_eq!(pace["rate"], "1000/s");
        if let Some(rate) = pace["tolerated"].as_str() {
            let per_second: u32 = rate.trim_end_matches("/s").parse().expect("a rate");
            assert!(per_second <= 105, "{rate}");
            let told = format!("the server tolerated {rate}");
            let advice = format!("set rate = \"{rate}\"");
            assert!(ended.stderr.contains(&told) && ended.stderr.contains(&advice), "{}", ended.stderr);
        }
    }
}

#[test]
fn the_concurrency_that_would_reach_the_rate_is_told() {
    let world = World::new(Settings { latency: Duration::from_millis(40), ..Settings::default() })
        .with_mapping(MAPPING, "concurrency = 3");
    world.file("export.csv", format!("{HEADER}{}", rows(70)).as_bytes());
    let ended = world.ends(&["run", "--json", "--rate", "500/s", "export.csv"]).expect(0);
    let advised = ended.json()["pace"]["concurrency_for_rate"].as_u64().expect("advice");
    assert!(advised > 20, "{advised}");
    assert!(ended.stderr.contains(&format!("set concurrency = {advised}")), "{}", ended.stderr);
}

/// What the server announces is heeded before it has to refuse.
#[test]
fn a_limit_that_is_announced_is_not_run_into() {
    let spent = [
        "RateLimit: \"all\";r=0;t=1\r\n",
        "RateLimit-Remaining: 0\r\nRateLimit-Reset: 1\r\n",
        "X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1\r\n",
    ];
    for fields in spent {
        let server = Server::new(move |number, _| match number {
            9 => with_headers(200, fields, RESULT),
            _ => json(200, RESULT),
        });
        let world = World::at(&server.url()).with_mapping(MAPPING, "concurrency = 1");
        let ended = world.run(&rows(20)).expect(0);
        assert_eq!(ended.outcomes(), "20 created");
        let took = ended.json()["seconds"].as_f64().expect("seconds");
        assert!(took >= 1.0, "{fields} {took}");
    }
}

/// nginx with `limit_req` before a server, on a port of its own.
struct Nginx {
    child: Child,
    port: u16,
}

impl Nginx {
    /// None if there is no nginx here.
    fn start(folder: &Path, server: &str, status: u16) -> Option<Self> {
        let program = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"];
        let program = program.iter().map(PathBuf::from).find(|path| path.exists())?;
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            listener.local_addr().expect("an address").port()
        };
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {}/{name};", folder.display()))
            .join("\n");
        let config = format!(
            "daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
             events {{ worker_connections 256; }}
             http {{
                 access_log off; {temporary}
                 limit_req_zone $server_port zone=all:1m rate=200r/s;
                 server {{
                     listen 127.0.0.1:{port};
                     location / {{
                         limit_req zone=all burst=10 nodelay; limit_req_status {status};
                         proxy_pass {server};
                     }}
                 }}
             }}",
            folder = folder.display()
        );
        std::fs::write(folder.join("nginx.conf"), config).expect("a file");
        let mut child = Command::new(program)
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(folder.join("nginx.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx");
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert_eq!(child.try_wait().expect("nginx"), None, "nginx ended");
            std::thread::yield_now();
        }
        Some(Self { child, port })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A limiter that sends no `Retry-After`, by 429 or by its default of 503: a
/// create that got a bare 503 is asked about, since nothing shows that it was
/// not carried out.
#[test]
#[expect(clippy::print_stdout, reason = "a test that was skipped says so")]
fn the_rate_that_nginx_tolerates_is_found() {
    for status in [429, 503] {
        let behind = World::new(Settings::default());
        let folder = tempfile::TempDir::new().expect("a folder");
        let Some(nginx) = Nginx::start(folder.path(), &behind.base_url(), status) else {
            println!("skipped: nginx is not here; apt-get install nginx-light");
            return;
        };
        let world = World::at(&format!("http://127.0.0.1:{}", nginx.port));
        world.file("export.csv", format!("{HEADER}{}", rows(1000)).as_bytes());
        let ended = world.ends(&["run", "--json", "--rate", "2000/s", "export.csv"]).expect(0);
        assert_eq!(ended.outcomes(), "1000 created", "{status}: {}", ended.stderr);
        let counters = behind.state().counters;
        assert_eq!((counters.create, counters.doubled), (1000, 0));
        let summary = ended.json();
        let (refused, sent) = (&summary["pace"]["refused"], &summary["attempts"]);
        let (refused, sent) = (refused.as_u64().expect("refused"), sent.as_u64().expect("attempts"));
        assert!(refused > 0 && 20 * refused < sent, "{status}: {refused} of {sent}");
    }
}
