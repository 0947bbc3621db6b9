//! Servers with a rate limit: few calls are refused, and the limit is reported.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use omnidesk_sync::sandbox::{RateLimit, Settings};

use crate::server::{RESULT, Server, free_port, success, with_headers};
use crate::tools::NGINX;
use crate::world::{World, rows};

#[test]
fn with_a_rate_far_too_high_the_accepted_rate_is_found() {
    for retry_after in [true, false] {
        let calls = 100.try_into().expect("above zero");
        let limit = RateLimit { calls, per: Duration::from_secs(1), retry_after };
        let world = World::new(Settings { rate_limit: Some(limit), ..Settings::default() });
        world.write_export(&rows(800));
        let output = world.run_with(&["--rate", "1000/s"]).expect_code(0).expect_outcomes("800 created");
        let counters = world.state().counters;
        assert!(counters.throttled > 0);
        // Less than 5 %.
        assert!(20 * counters.throttled < counters.requests, "{counters:?}");
        let pace = &output.json()["pace"];
        assert_eq!(pace["refused"], counters.throttled);
        assert_eq!(pace["rate"], "1000/s");
        // A machine that is too busy to reach the limit shows none.
        let Some(rate) = pace["accepted"].as_str() else { continue };
        let per_second: u32 = rate.trim_end_matches("/s").parse().expect("a rate");
        assert!(per_second <= 105, "{rate}");
        for text in [format!("the server accepted {rate}"), format!("set rate = \"{rate}\"")] {
            assert!(output.stderr.contains(&text), "{}", output.stderr);
        }
    }
}

#[test]
fn the_concurrency_that_would_reach_the_rate_is_reported() {
    let world = World::with_latency_ms(40).with_settings("concurrency = 3");
    world.write_export(&rows(70));
    let output = world.run_with(&["--rate", "500/s"]).expect_code(0);
    let concurrency = output.json()["pace"]["concurrency_for_rate"].as_u64().expect("a number");
    assert!(concurrency > 20, "{concurrency}");
    output.expect_stderr(&format!("set concurrency = {concurrency}"));
}

/// The headers of an answer can announce that the quota is spent.
#[test]
fn calls_wait_when_the_server_announces_a_spent_quota() {
    let announcements = [
        "RateLimit: \"all\";r=0;t=1\r\n",
        "RateLimit-Remaining: 0\r\nRateLimit-Reset: 1\r\n",
        "X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1\r\n",
    ];
    for headers in announcements {
        let server = Server::new(move |number, _| match number {
            9 => with_headers(200, headers, RESULT),
            _ => success(),
        });
        let world = World::with_server(&server.url()).with_settings("concurrency = 1");
        let output = world.run(&rows(20)).expect_code(0).expect_outcomes("20 created");
        let seconds = output.json()["seconds"].as_f64().expect("seconds");
        assert!(seconds >= 1.0, "{headers} {seconds}");
    }
}

/// nginx with `limit_req` in front of a server.
struct Nginx {
    child: Child,
    port: u16,
}

impl Nginx {
    fn start(folder: &Path, server: &str, status: u16) -> Self {
        let port = free_port();
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
        let mut child = NGINX
            .command()
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(folder.join("nginx.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx");
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert_eq!(child.try_wait().expect("nginx"), None, "nginx has ended");
            std::thread::yield_now();
        }
        Self { child, port }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The limit of nginx sends no `Retry-After`, with 429 or its default of 503. A
/// create with a bare 503 is probed, since it may have had an effect.
#[test]
fn the_rate_that_nginx_tolerates_is_found() {
    if !NGINX.is_here() {
        return;
    }
    for status in [429, 503] {
        let server = World::default();
        let folder = tempfile::TempDir::new().expect("a folder");
        let nginx = Nginx::start(folder.path(), &server.base_url(), status);
        let world = World::with_server(&format!("http://127.0.0.1:{}", nginx.port));
        world.write_export(&rows(1000));
        let output = world.run_with(&["--rate", "2000/s"]).expect_code(0);
        assert_eq!(output.outcomes(), "1000 created", "{status}: {}", output.stderr);
        let counters = server.state().counters;
        assert_eq!((counters.create, counters.doubled), (1000, 0));
        let summary = output.json();
        let (refused, sent) = (&summary["pace"]["refused"], &summary["requests"]);
        let (refused, sent) = (refused.as_u64().expect("refused"), sent.as_u64().expect("requests"));
        assert!(refused > 0 && 20 * refused < sent, "{status}: {refused} of {sent}");
    }
}
