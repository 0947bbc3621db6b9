//! Faults of the network and the server, over real sockets. Each line of the
//! tables is one fault and its expected result.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use socket2::{Domain, Socket, Type};

use crate::server::{
    Ending, RESULT, Reaction, Request, Server, free_port, json, no_answer, refusal, success, with_headers,
};
use crate::tls::{Authority, FirstRequest, Identity, TlsServer};
use crate::tools;
use crate::world::{CommandOutput, KEY, RUN, World, rows, send_signal};

/// Far longer than any of these runs, so that a hanging one ends.
const TIME_LIMIT: Duration = Duration::from_secs(60);

const CREATE: &str = "A1,Ann,Smit,a@example.org,,,\n";
const UPDATE: &str = "A1,Ann,Smit,,,,update\n";

/// The result of a fault: exit code, outcomes, and requests by call.
struct Expected {
    /// Of a create, if the customer exists afterwards.
    exists: &'static str,
    /// Of a create, if the customer does not exist afterwards.
    absent: &'static str,
    /// Of an update.
    update: &'static str,
}

/// The fault has no effect.
const DONE: Expected = Expected {
    exists: "0: 1 created; 1 create",
    absent: "0: 1 created; 1 create",
    update: "0: 1 updated; 1 update",
};
/// The same call is sent again.
const RESENT: Expected = Expected {
    exists: "0: 1 created; 2 create",
    absent: "0: 1 created; 2 create",
    update: "0: 1 updated; 2 update",
};
/// A lost create is probed. If the customer exists, the update and the address make
/// certain what the create carried; else the create is resent.
const LOST: Expected = Expected {
    exists: "0: 1 created; 1 create, 1 other, 2 update",
    absent: "0: 1 created; 2 create, 1 update",
    update: "0: 1 updated; 2 update",
};
/// The same for requests that the server has not read.
const LOST_UNREAD: Expected = Expected {
    exists: "0: 1 created; 1 other, 2 update",
    absent: "0: 1 created; 1 create, 1 update",
    update: "0: 1 updated; 1 update",
};
/// Every answer is lost: two attempts, and never a second create.
const ALWAYS_LOST: Expected = Expected {
    exists: "1: 1 in_doubt; 1 create, 2 update",
    absent: "1: 1 in_doubt; 1 create, 2 update",
    update: "1: 1 failed; 2 update",
};
const ALWAYS_UNREAD: Expected =
    Expected { exists: "1: 1 in_doubt; ", absent: "1: 1 in_doubt; ", update: "1: 1 failed; " };
const REFUSED: Expected = Expected {
    exists: "1: 1 failed; 1 create",
    absent: "1: 1 failed; 1 create",
    update: "1: 1 failed; 1 update",
};

/// It is not the API's answer: a create is probed, and nothing is resent.
const UNCLEAR: Expected = Expected {
    exists: "0: 1 created; 1 create, 1 other, 2 update",
    absent: "1: 1 failed; 1 create, 1 update",
    update: "1: 1 failed; 1 update",
};

#[derive(Clone)]
enum Fault {
    /// The server reacts to the request like this.
    Answer(Reaction),
    /// The connection ends before the request is read.
    Unread(Ending),
}

/// One line of a table.
struct Case {
    name: &'static str,
    fault: Fault,
    /// How many requests have it.
    times: usize,
    expected: &'static Expected,
    /// A text that must be shown.
    message: &'static str,
}

const ONCE: usize = 1;
const ALWAYS: usize = usize::MAX;

fn case(
    name: &'static str,
    times: usize,
    fault: Fault,
    expected: &'static Expected,
    message: &'static str,
) -> Case {
    Case { name, fault, times, expected, message }
}

fn bytes(bytes: impl Into<Vec<u8>>, ending: Ending) -> Fault {
    Fault::Answer(Reaction { bytes: bytes.into(), ending })
}

const HALF_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Le";
const HALF_BODY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{\"type\":\"result\",";

impl Case {
    /// A server with this fault that otherwise knows no customer, or every one.
    fn server(&self, is_absent: bool) -> Server {
        let (fault, times) = (self.fault.clone(), self.times);
        let greet = match fault {
            Fault::Unread(ending) => Some(no_answer(ending)),
            Fault::Answer(_) => None,
        };
        Server::with_greeting(
            move |connection| greet.clone().filter(|_| connection < times),
            move |number, request| match &fault {
                Fault::Answer(reaction) if number < times => reaction.clone(),
                _ => healthy(request, is_absent),
            },
        )
    }

    /// Long enough for a busy machine, and short where no answer comes.
    fn timeout(&self) -> &'static str {
        let Fault::Answer(reaction) = &self.fault else { return "20s" };
        match (reaction.ending, self.times) {
            (Ending::Hang | Ending::Trickle, ALWAYS) => "1s",
            (Ending::Hang, _) => "2s",
            _ => "20s",
        }
    }

    /// How the result differs from the expected one.
    fn problem(&self, row: &str, is_absent: bool, expected: &str) -> Option<String> {
        let server = self.server(is_absent);
        let world = world(&server.url(), self.timeout());
        let output = run(&world, row, &[]);
        let actual = format!("{}; {}", output.result(), calls(&server));
        let (Self { name, message, .. }, messages) = (self, output.messages(&world));
        (actual != expected || !messages.contains(message)).then(|| {
            format!("{name}, {row}  expected {expected}, {message:?}\n  actual   {actual}\n  {messages}")
        })
    }

    fn problems(&self) -> Vec<String> {
        let Expected { exists, absent, update } = self.expected;
        let mut runs = vec![(CREATE, false, exists), (UPDATE, false, update)];
        if absent != exists {
            runs.push((CREATE, true, absent));
        }
        runs.iter().filter_map(|(row, is_absent, expected)| self.problem(row, *is_absent, expected)).collect()
    }
}

/// Cases that run at once: they mostly wait.
const CONCURRENT_CASES: usize = 8;

/// Runs all cases and reports all problems.
fn check(cases: &[Case]) {
    let (next, problems) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..CONCURRENT_CASES {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Relaxed)) {
                    let found = case.problems();
                    problems.lock().expect("problems").extend(found);
                }
            });
        }
    });
    let problems = problems.into_inner().expect("problems");
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

fn healthy(request: &Request, is_absent: bool) -> Reaction {
    if request.head.starts_with("PUT") && is_absent { refusal("Customer not found.") } else { success() }
}

/// A server that remembers its creates. `outage` gives the failures, by the
/// number of the request.
fn remembering_server(outage: impl Fn(usize) -> Option<Reaction> + Send + Sync + 'static) -> Server {
    let customers = Mutex::new(BTreeSet::new());
    Server::new(move |number, request| {
        outage(number).unwrap_or_else(|| {
            let mut customers = customers.lock().expect("customers");
            let is_absent = !customers.contains(&customer_id(request));
            if request.head.starts_with("POST") {
                customers.insert(customer_id(request));
            }
            healthy(request, is_absent)
        })
    })
}

/// Rows of customers whom [`customer_id`] finds in a request.
fn customer_rows(count: usize) -> String {
    rows(count).replace('C', "C-")
}

fn customer_id(request: &Request) -> String {
    request.body.split('"').find(|text| text.starts_with("C-")).expect("an id").to_owned()
}

fn world(base_url: &str, timeout: &str) -> World {
    let world = World::with_server(base_url).with_settings("attempts = 2");
    world.edit_config("timeout = \"5s\"", &format!("timeout = \"{timeout}\""));
    world
}

/// `run --json` of these rows, with no other proxies and authorities than these.
fn command(world: &World, rows: &str, environment: &[(&str, &str)]) -> Command {
    world.write_export(rows);
    let mut command = world.command(&RUN);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    if environment.iter().any(|(name, _)| *name == "SSL_CERT_FILE") {
        command.env_remove("SSL_CERT_DIR");
    }
    command.envs(environment.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(world: &World, rows: &str, environment: &[(&str, &str)]) -> CommandOutput {
    wait(command(world, rows, environment).spawn().expect("the program"))
}

/// Runs these rows and expects an exit code with outcomes.
#[track_caller]
fn expect_run(world: &World, rows: &str, environment: &[(&str, &str)], result: &str) -> CommandOutput {
    let output = run(world, rows, environment);
    assert_eq!(output.result(), result, "{}", output.messages(world));
    output
}

fn wait(child: Child) -> CommandOutput {
    let id = child.id();
    let (end, waiting) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        if waiting.recv_timeout(TIME_LIMIT) == Err(RecvTimeoutError::Timeout) {
            send_signal(id, "KILL");
        }
    });
    let output = CommandOutput::wait(child);
    drop(end);
    watchdog.join().expect("the watchdog");
    output
}

impl CommandOutput {
    /// Exit code and outcomes.
    fn result(&self) -> String {
        match self.code {
            Some(code @ 0..=4) => format!("{code}: {}", self.outcomes()),
            code => format!("{code:?}"),
        }
    }

    /// All messages, on stderr and in the result files.
    fn messages(&self, world: &World) -> String {
        let files = ["failed.csv", "in_doubt.csv"].map(|name| world.result(name).unwrap_or_default());
        let messages = format!("{}{}", self.stderr, String::from_utf8_lossy(&files.concat()));
        assert!(!messages.contains(KEY), "the key is shown: {messages}");
        messages
    }
}

/// Requests by call.
fn calls(server: &Server) -> String {
    let mut calls = BTreeMap::<&str, usize>::new();
    for line in server.lines() {
        let call = match line.as_str() {
            "POST /api/v2/customer" => "create",
            "PUT /api/v2/customer/updateCustomer" => "update",
            _ => "other",
        };
        *calls.entry(call).or_default() += 1;
    }
    calls.iter().map(|(call, count)| format!("{count} {call}")).collect::<Vec<_>>().join(", ")
}

fn methods(server: &Server) -> Vec<String> {
    server.lines().iter().map(|line| line.split(' ').next().expect("a method").to_owned()).collect()
}

/// The environment that trusts this authority.
fn trust(world: &World, authority: &Authority) -> (&'static str, String) {
    let file = world.file("authority.pem", authority.pem().as_bytes());
    ("SSL_CERT_FILE", file.to_str().expect("UTF-8").to_owned())
}

#[test]
fn broken_connections_double_no_customer() {
    use Fault::Unread;
    check(&[
        case("reset before the request is read", ONCE, Unread(Ending::Reset), &LOST_UNREAD, ""),
        case("always reset before it is read", ALWAYS, Unread(Ending::Reset), &ALWAYS_UNREAD, "reset"),
        case("closed before it is read", ONCE, Unread(Ending::Close), &LOST_UNREAD, ""),
        case("reset after it was read", ONCE, bytes("", Ending::Reset), &LOST, ""),
        case("always reset after it was read", ALWAYS, bytes("", Ending::Reset), &ALWAYS_LOST, "reset"),
        case("closed after it was read", ONCE, bytes("", Ending::Close), &LOST, ""),
        case("always closed", ALWAYS, bytes("", Ending::Close), &ALWAYS_LOST, "connection closed"),
        case("reset in the head", ONCE, bytes(HALF_HEAD, Ending::Reset), &LOST, ""),
        case("closed in the head", ALWAYS, bytes(HALF_HEAD, Ending::Close), &ALWAYS_LOST, "closed"),
        case("reset in the body", ONCE, bytes(HALF_BODY, Ending::Reset), &LOST, ""),
        case("closed in the body", ALWAYS, bytes(HALF_BODY, Ending::Close), &ALWAYS_LOST, "body"),
        case(
            "no HTTP",
            ALWAYS,
            bytes("SSH-2.0-OpenSSH_9.6\r\n", Ending::Close),
            &ALWAYS_LOST,
            "invalid HTTP",
        ),
        case("invalid chunks", ALWAYS, bytes(NO_CHUNKS, Ending::Close), &ALWAYS_LOST, "chunk size"),
        case("an endless head", ALWAYS, bytes(HALF_HEAD, Ending::Flood("x")), &ALWAYS_LOST, "too large"),
    ]);
}

const NO_CHUNKS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{\"type\":\"result\"}\r\n";

#[test]
fn slow_servers_double_no_customer() {
    check(&[
        case("no head at first", ONCE, bytes("", Ending::Hang), &LOST, ""),
        case("no head", ALWAYS, bytes("", Ending::Hang), &ALWAYS_LOST, "timed out"),
        case("half a head", ALWAYS, bytes(HALF_HEAD, Ending::Hang), &ALWAYS_LOST, "timed out"),
        case("half a body at first", ONCE, bytes(HALF_BODY, Ending::Hang), &LOST, ""),
        case("half a body", ALWAYS, bytes(HALF_BODY, Ending::Hang), &ALWAYS_LOST, "timed out"),
        case("a trickle of a head", ALWAYS, bytes(HALF_HEAD, Ending::Trickle), &ALWAYS_LOST, "timed out"),
        case("a trickle of a body", ALWAYS, bytes(HALF_BODY, Ending::Trickle), &ALWAYS_LOST, "timed out"),
    ]);
}

#[test]
fn failing_and_limiting_servers_double_no_customer() {
    let date = |seconds: u64| httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    let answer = Fault::Answer;
    let wait = |status, after: &str| answer(with_headers(status, &format!("Retry-After: {after}\r\n"), "{}"));
    let dated = |until| {
        let headers = format!("Date: {}\r\nRetry-After: {}\r\n", date(1_700_000_000), date(until));
        answer(with_headers(429, &headers, "{}"))
    };
    let broken = |status| answer(json(status, r#"{"status":"error","message":"It broke."}"#));
    check(&[
        case("429 with seconds", ONCE, wait(429, "1"), &RESENT, ""),
        case("three times 429 with zero seconds", 3, wait(429, "0"), &RESENT_THRICE, ""),
        case("429 with a date", ONCE, dated(1_700_000_001), &RESENT, ""),
        case("429 with a past date", ONCE, dated(1_600_000_000), &RESENT, ""),
        case("429 with nothing", ONCE, answer(json(429, "{}")), &RESENT, ""),
        case("429 with nonsense", ONCE, wait(429, "soon"), &RESENT, ""),
        case("429 with half a body", ONCE, bytes(HALF_WAIT, Ending::Hang), &RESENT, ""),
        case("503 with seconds", ONCE, wait(503, "1"), &LOST, ""),
        case("500", ONCE, broken(500), &LOST, ""),
        case("502", ONCE, broken(502), &LOST, ""),
        case("503", ONCE, broken(503), &LOST, ""),
        case("504", ONCE, broken(504), &LOST, ""),
        case("always 500", ALWAYS, broken(500), &ALWAYS_LOST, "It broke."),
        case("always 502", ALWAYS, broken(502), &ALWAYS_LOST, "It broke."),
        case("always 503", ALWAYS, broken(503), &ALWAYS_LOST, "It broke."),
        case("always 504", ALWAYS, broken(504), &ALWAYS_LOST, "It broke."),
        case("always 500 without a body", ALWAYS, answer(json(500, "")), &ALWAYS_LOST, "the answer is empty"),
    ]);
}

const HALF_WAIT: &str = "HTTP/1.1 429 X\r\nContent-Length: 50\r\nRetry-After: 0\r\n\r\n{";

/// The same call is sent until the server accepts it.
const RESENT_THRICE: Expected = Expected {
    exists: "0: 1 created; 4 create",
    absent: "0: 1 created; 4 create",
    update: "0: 1 updated; 4 update",
};

#[test]
fn unusual_answers_double_no_customer() {
    let answer = |body: &str| Fault::Answer(json(200, body));
    let closed = bytes(with_headers(200, "Connection: close\r\n", RESULT).bytes, Ending::Close);
    let html = "<!doctype html><title>Maintenance</title>";
    check(&[
        case("200 with an error", ONCE, answer(r#"{"status":"error","message":"No."}"#), &REFUSED, "No."),
        case("200 with a web page", ONCE, answer(html), &LOST, ""),
        case("always 200 with a web page", ALWAYS, answer(html), &ALWAYS_LOST, "a web page came"),
        case("200 with nothing", ONCE, answer(""), &UNCLEAR, ""),
        case("200 with broken JSON", ONCE, answer("{\"type\":\"res"), &UNCLEAR, ""),
        case("200 with other JSON", ONCE, answer("[1]"), &UNCLEAR, ""),
        case("200 with an endless body", ONCE, bytes(ENDLESS, Ending::Flood("x")), &UNCLEAR, ""),
        case("204", ONCE, bytes("HTTP/1.1 204 No Content\r\n\r\n", Ending::KeepOpen), &UNCLEAR, ""),
        case("a gzip bomb", ONCE, gzip_bomb(), &UNCLEAR, ""),
        case(
            "100 and 103 first",
            ONCE,
            bytes([EARLY_ANSWERS, RESULT_ANSWER].concat(), Ending::KeepOpen),
            &DONE,
            "",
        ),
        case(
            "1,000 early answers",
            ONCE,
            bytes(EARLY_ANSWERS.repeat(500) + RESULT_ANSWER, Ending::KeepOpen),
            &DONE,
            "",
        ),
        case("only early answers", ALWAYS, bytes(EARLY_ANSWERS, Ending::Close), &ALWAYS_LOST, "closed"),
        case("HTTP/1.0", ONCE, bytes(HTTP_1_0, Ending::Close), &DONE, ""),
        case("Connection: close", ONCE, closed, &DONE, ""),
    ]);
}

const ENDLESS: &str = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n";
const EARLY_ANSWERS: &str = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
const RESULT_ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"type\":\"result\"}";
const HTTP_1_0: &str = "HTTP/1.0 200 OK\r\n\r\n{\"type\":\"result\"}";

/// A success if it is unpacked, followed by 8 MiB of spaces.
fn gzip_bomb() -> Fault {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(RESULT.as_bytes()).expect("packed");
    packer.write_all(&vec![b' '; 8 << 20]).expect("packed");
    let body = packer.finish().expect("packed");
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", body.len());
    bytes([head.as_bytes(), &body].concat(), Ending::KeepOpen)
}

#[test]
fn only_the_start_of_an_endless_body_is_read() {
    let server = Server::new(|_, _| Reaction { bytes: ENDLESS.into(), ending: Ending::Flood("x") });
    run(&world(&server.url(), "20s"), UPDATE, &[]).expect_code(1);
    // 1 MiB, and the buffers of both sockets.
    assert!(server.flooded_bytes() < 64 << 20, "{} bytes were read", server.flooded_bytes());
}

#[test]
fn no_redirect_is_followed_with_the_key() {
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = Server::new(|_, _| success());
        let location = format!("Location: {}/api/v2/customer\r\n", elsewhere.url());
        let fault = Fault::Answer(with_headers(status, &location, "{}"));
        let redirect = case("redirect", ONCE, fault, &UNCLEAR, "");
        assert_eq!(redirect.problems(), Vec::<String>::new(), "{status}");
        assert_eq!(elsewhere.connections(), 0, "{status}");
    }
}

/// Also a time that no calendar has, and a quota that is spent with a success.
#[test]
fn a_wait_beyond_patience_stops_the_run_at_once() {
    let spent = "X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 999999999\r\n";
    for (status, headers) in [
        (429, "Retry-After: 7\r\n"),
        (503, "Retry-After: 86400\r\n"),
        (429, "Retry-After: 1000000000\r\n"),
        (429, "Retry-After: 18446744073709551615\r\n"),
        (429, "Retry-After: 99999999999999999999999\r\n"),
        (429, "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n"),
        (429, spent),
        (200, spent),
    ] {
        let server = Server::new(move |number, request| match number {
            1 => with_headers(status, headers, if status == 200 { RESULT } else { "{}" }),
            _ => healthy(request, true),
        });
        let world = World::with_server(&server.url()).with_settings("patience = \"6s\"");
        let output = world
            .run(&rows(4))
            .expect_code(3)
            .expect_stop("asked_to_wait")
            .expect_stderr("asks to wait until ")
            .expect_stderr("run the same command again after that time");
        if status == 503 {
            assert!(output.stderr.contains("1 create has no answer yet"), "{}", output.stderr);
        }
        let created = if status == 200 { 2 } else { 1 };
        assert_eq!(
            output.outcomes(),
            format!("{created} created, {} not_attempted", 4 - created),
            "{headers}"
        );
        assert_eq!(server.requests().len(), 2, "{headers}");
        world.run(&rows(4)).expect_code(0).expect_outcomes("4 created");
    }
}

/// Expects that nothing is sent and that the run can be resumed.
#[track_caller]
fn expect_unreachable(
    base_url: &str,
    timeout: &str,
    environment: &[(&str, &str)],
    messages: &[&str],
) -> CommandOutput {
    let [_, output] = [CREATE, UPDATE].map(|row| {
        let world = world(base_url, timeout);
        let mut output =
            expect_run(&world, row, environment, "3: 1 not_attempted").expect_stop("unreachable");
        for message in ["run the same command again", base_url].iter().chain(messages) {
            output = output.expect_stderr(message);
        }
        assert_eq!(world.status()["in_doubt"], 0);
        output
    });
    output
}

#[test]
fn an_unknown_host_stops_the_run() {
    expect_unreachable("https://omnidesk.invalid", "20s", &[], &["dns error"]);
}

#[test]
fn a_closed_port_stops_the_run() {
    expect_unreachable(&format!("http://127.0.0.1:{}", free_port()), "20s", &[], &["Connection refused"]);
}

#[test]
fn a_full_listener_stops_the_run() {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    listener.listen(0).expect("listening");
    let address = listener.local_addr().expect("an address").as_socket().expect("an address");
    let mut queue = Vec::new();
    while let Ok(connection) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        queue.push(connection);
        if queue.len() > 64 {
            tools::skip("a listener with a bounded queue", "run it on a usual Linux", tools::Shows::Extra);
            return;
        }
    }
    expect_unreachable(&format!("http://{address}"), "2s", &[], &[]);
}

#[test]
fn a_failed_tls_handshake_stops_the_run() {
    let plain = Reaction { ending: Ending::Close, ..json(400, "") };
    let cases = [
        (plain, "20s", "corrupt message"),
        (no_answer(Ending::Reset), "20s", "reset"),
        (no_answer(Ending::Hang), "2s", "timed out"),
    ];
    let world = World::with_server("");
    let (name, file) = trust(&world, &Authority::new("the authority of the tests"));
    for (reaction, timeout, message) in cases {
        let server = Server::with_greeting(move |_| Some(reaction.clone()), |_, _| unreachable!());
        let url = server.url().replace("http:", "https:");
        expect_unreachable(&url, timeout, &[(name, &file)], &[message]);
        assert!(server.requests().is_empty());
    }
}

#[test]
fn an_invalid_certificate_stops_the_run() {
    let authority = Authority::new("the authority of the tests");
    let untrusted = Authority::new("an untrusted authority");
    let world = World::with_server("");
    let (name, file) = trust(&world, &authority);
    let cases = [
        (Identity::self_signed("127.0.0.1"), "UnknownIssuer"),
        (untrusted.certify("127.0.0.1", 2099), "UnknownIssuer"),
        (authority.certify("account.omnidesk.test", 2099), "not valid for name"),
        (authority.certify("127.0.0.1", 2020), "expired"),
    ];
    for (identity, message) in cases {
        let server = TlsServer::new(identity, "http/1.1", FirstRequest::Succeeds);
        expect_unreachable(&server.url(), "20s", &[(name, &file)], &["certificate", message]);
        assert!(server.requests().is_empty());
    }
}

#[test]
fn a_machine_without_trusted_authorities_is_an_error() {
    let world = world("https://127.0.0.1:1", "20s");
    let empty = world.file("authorities.pem", b"");
    let environment = [("SSL_CERT_FILE", empty.to_str().expect("UTF-8")), ("SSL_CERT_DIR", "")];
    run(&world, CREATE, &environment).expect_code(2).expect_stderr("ca-certificates");
}

#[test]
fn https_uses_the_protocol_that_the_server_offers() {
    let authority = Authority::new("the authority of the tests");
    for (alpn, version) in [("http/1.1", "HTTP/1.1"), ("h2", "HTTP/2.0")] {
        let server = TlsServer::new(authority.certify("127.0.0.1", 2099), alpn, FirstRequest::Succeeds);
        let world = world(&server.url(), "20s");
        let (name, file) = trust(&world, &authority);
        expect_run(&world, &rows(2), &[(name, &file)], "0: 2 created");
        assert_eq!(server.requests(), vec![format!("{version} POST /api/v2/customer"); 2]);
    }
}

/// HTTP/2 allows a client to repeat a refused stream; a create is not repeated.
/// A dead connection gets no second request.
#[test]
fn a_create_that_http2_loses_is_probed_once() {
    let authority = Authority::new("the authority of the tests");
    for first in [FirstRequest::IsReset, FirstRequest::Hangs] {
        let server = TlsServer::new(authority.certify("127.0.0.1", 2099), "h2", first);
        let world = world(&server.url(), "3s");
        let (name, file) = trust(&world, &authority);
        expect_run(&world, CREATE, &[(name, &file)], "0: 1 created");
        let (create, update, add) = ("POST", "PUT", "POST");
        let lines = server.requests();
        let methods: Vec<_> = lines.iter().filter_map(|line| line.split(' ').nth(1)).collect();
        assert_eq!(methods, [create, update, update, add], "{first:?}: {lines:?}");
    }
}

/// A server that closes its connections in order answers the calls it has
/// accepted, so no call is sent twice.
#[test]
fn http2_goaway_repeats_no_call() {
    let authority = Authority::new("the authority of the tests");
    let identity = authority.certify("127.0.0.1", 2099);
    let server = TlsServer::new(identity, "h2", FirstRequest::PrecedesGoAway);
    let world = world(&server.url(), "20s");
    let (name, file) = trust(&world, &authority);
    expect_run(&world, &rows(100), &[(name, &file)], "0: 100 created");
    let creates = server.requests().iter().filter(|request| request.starts_with("HTTP/2.0 POST")).count();
    assert_eq!(creates, 100);
    assert!(server.connections() > 2, "{} connections", server.connections());
}

/// All calls fail more often than a row has attempts, and then work.
#[test]
fn an_outage_fails_no_row() {
    let outages = [
        ("500", json(500, "{}")),
        ("502", json(502, "{}")),
        ("503", json(503, "{}")),
        ("closed", no_answer(Ending::Close)),
        ("a web page", json(200, "<html>Maintenance")),
    ];
    thread::scope(|scope| {
        for (name, failure) in outages {
            scope.spawn(move || {
                let server =
                    remembering_server(move |number| (20..34).contains(&number).then(|| failure.clone()));
                let world = World::with_server(&server.url()).with_settings("attempts = 3");
                let output = expect_run(&world, &customer_rows(40), &[], "0: 40 created");
                // Bare 503s with successes between them look like the limit of nginx.
                if name != "503" {
                    output
                        .expect_stderr("the server has been failing")
                        .expect_stderr("the server works again");
                }
            });
        }
    });
}

/// An outage of real minutes: `cargo test --test it -- --ignored minutes`.
#[test]
#[ignore = "takes three minutes of waiting"]
#[expect(clippy::print_stdout, reason = "its numbers are part of the result")]
fn an_outage_of_minutes_fails_no_row() {
    const OUTAGE: Duration = Duration::from_secs(150);
    thread::scope(|scope| {
        for status in [500, 502, 503, 504] {
            scope.spawn(move || {
                let outage_start = OnceLock::new();
                let server = remembering_server(move |number| {
                    let is_failing =
                        number >= 20 && outage_start.get_or_init(Instant::now).elapsed() < OUTAGE;
                    is_failing.then(|| json(status, "{}"))
                });
                let world = World::with_server(&server.url()).with_settings("attempts = 3");
                world.edit_config("20000/s", "100/s");
                let start = Instant::now();
                let output = CommandOutput::read(&mut command(&world, &customer_rows(200), &[]));
                assert_eq!(output.result(), "0: 200 created", "{status}: {}", output.messages(&world));
                assert!(start.elapsed() >= OUTAGE);
                let (requests, seconds) = (server.requests().len(), start.elapsed().as_secs());
                println!("{status} for 150 s: 200 created with {requests} requests in {seconds} s");
            });
        }
    });
}

/// A healthy server does not save a row from using up its attempts.
#[test]
fn a_row_that_fails_alone_is_given_up() {
    let server = Server::new(|_, request| match request.body.contains("poison") {
        true => json(500, "{}"),
        false => healthy(request, false),
    });
    let rows = format!("{}C60,poison,Smit,,,,update\n", rows(60));
    let world = World::with_server(&server.url()).with_settings("attempts = 3");
    let output = expect_run(&world, &rows, &[], "1: 60 created, 1 failed");
    assert!(output.messages(&world).contains("gave_up"), "{}", output.messages(&world));
    let poison = server.requests().iter().filter(|request| request.body.contains("poison")).count();
    assert_eq!(poison, 3);
}

/// With two attempts, one wait and one failure, a third request is sent.
#[test]
fn a_request_to_wait_uses_up_no_attempt() {
    let server = Server::new(|number, request| match number {
        1 => json(429, "{}"),
        2 => json(500, "{}"),
        _ => healthy(request, false),
    });
    let rows = "C-1,Ann,Smit,c1@example.org,,,\nC-1,Bob,Smit,,,,update\n";
    let world = World::with_server(&server.url()).with_settings("attempts = 2");
    expect_run(&world, rows, &[], "0: 1 created, 1 updated");
    assert_eq!(server.requests().len(), 4);
}

/// `resend` sends the create again after `settle`, without a probe.
#[test]
fn in_doubt_decides_whether_a_lost_create_is_probed_or_resent() {
    for (setting, sent) in [("resend", &["POST", "POST"][..]), ("probe", &["POST", "PUT", "PUT"])] {
        let server = Server::new(|number, request| match number {
            0 => no_answer(Ending::Close),
            _ => healthy(request, false),
        });
        let world = World::with_server(&server.url());
        world.edit_config("[omnidesk]\n", &format!("[omnidesk]\nin_doubt = \"{setting}\"\n"));
        expect_run(&world, "C-1,Ann,Smit,,,,\n", &[], "0: 1 created");
        assert_eq!(methods(&server), sent, "{setting}");
    }
}

/// No create has an effect, and every probe shows that. After `attempts` creates
/// the customer stays in doubt.
#[test]
fn creates_that_are_always_lost_are_given_up() {
    let server = Server::new(|_, request| match request.head.starts_with("POST") {
        true => no_answer(Ending::Close),
        false => healthy(request, true),
    });
    let world = World::with_server(&server.url()).with_settings("attempts = 2");
    world.edit_config("settle = \"300ms\"", "settle = \"20ms\"");
    let output = run(&world, CREATE, &[]);
    assert!(output.result().ends_with(": 1 in_doubt"), "{}", output.messages(&world));
    assert!(output.messages(&world).contains("was lost 2 times"), "{}", output.messages(&world));
    assert_eq!(methods(&server), ["POST", "PUT", "POST", "PUT"]);
}

/// A refused call changes nothing at the server.
#[test]
fn a_refused_update_keeps_the_acknowledged_state() {
    let server = Server::new(|_, request| match request.body.contains("Bob") {
        true => refusal("No."),
        false => healthy(request, false),
    });
    let world = World::with_server(&server.url());
    let rows = |name| format!("C-1,{name},Smit,c1@example.org,,,\n");
    expect_run(&world, &rows("Ann"), &[], "0: 1 created");
    let output = run(&world, &rows("Bob"), &[]);
    assert!(output.result().ends_with(": 1 failed"), "{}", output.messages(&world));
    expect_run(&world, &rows("Ann"), &[], "0: 1 unchanged");
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_proxy_from_the_environment_tunnels_https_and_never_gets_the_key() {
    let authority = Authority::new("the authority of the tests");
    let server =
        TlsServer::new(authority.certify("account.omnidesk.test", 2099), "h2", FirstRequest::Succeeds);
    let port = server.port();
    let connected = b"HTTP/1.1 200 Connected\r\n\r\n";
    let proxy = Server::new(move |_, _| Reaction { bytes: connected.to_vec(), ending: Ending::Tunnel(port) });
    let world = world("https://account.omnidesk.test", "20s");
    let (name, file) = trust(&world, &authority);
    expect_run(&world, CREATE, &[(name, &file), ("HTTPS_PROXY", &proxy.url())], "0: 1 created");
    assert_eq!(server.requests(), ["HTTP/2.0 POST /api/v2/customer"]);
    assert_eq!(proxy.lines(), ["CONNECT account.omnidesk.test:443"]);
    assert!(!proxy.requests()[0].head.contains(KEY), "{:?}", proxy.requests());
}

#[test]
fn a_refusing_proxy_stops_the_run() {
    let cases = [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", Ending::Close, "20s"),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", Ending::Close, "20s"),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", Ending::Close, "20s"),
        ("", Ending::Close, "20s"),
        ("", Ending::Hang, "2s"),
    ];
    for (bytes, ending, timeout) in cases {
        let proxy = Server::new(move |_, _| Reaction { bytes: bytes.into(), ending });
        let url = proxy.url().replace("http://", "http://somebody:a-password@");
        let environment = [("HTTPS_PROXY", url.as_str())];
        let output =
            expect_unreachable("https://account.omnidesk.test", timeout, &environment, &["HTTPS_PROXY"]);
        assert!(!output.stderr.contains("a-password"), "{}", output.stderr);
        assert!(proxy.requests().iter().all(|request| !request.head.contains(KEY)));
    }
}

#[test]
fn loopback_addresses_use_no_proxy() {
    let (proxy, server) = (Server::new(|_, _| no_answer(Ending::Close)), Server::new(|_, _| success()));
    let url = proxy.url();
    let environment = ["HTTP_PROXY", "http_proxy", "ALL_PROXY"].map(|name| (name, url.as_str()));
    expect_run(&world(&server.url(), "20s"), CREATE, &environment, "0: 1 created");
    assert_eq!((proxy.connections(), calls(&server).as_str()), (0, "1 create"));
}

/// Nothing in the HTTP stack repeats a create.
#[test]
fn a_create_on_a_reused_connection_that_breaks_is_sent_once() {
    for ending in [Ending::Close, Ending::Reset] {
        let server = Server::new(move |number, _| if number == 1 { no_answer(ending) } else { success() });
        let world = World::with_server(&server.url()).with_settings("concurrency = 1");
        expect_run(&world, &rows(2), &[], "0: 2 created");
        assert_eq!(calls(&server), "2 create, 1 other, 2 update", "{ending:?}");
        let connections: Vec<usize> = server.requests().iter().map(|request| request.connection).collect();
        assert_eq!(connections[..2], [0, 0], "the second create must use the first connection");
    }
}

#[test]
fn connections_that_close_after_each_answer_double_no_customer() {
    let customers = Mutex::new(BTreeSet::new());
    let server = Server::new(move |_, request| {
        let (id, mut customers) = (customer_id(request), customers.lock().expect("customers"));
        let answer = match request.head.starts_with("PUT") {
            true if customers.contains(&id) => success(),
            true => refusal("Customer not found."),
            false if customers.insert(id) => success(),
            false => refusal("This is a double."),
        };
        Reaction { ending: Ending::Close, ..answer }
    });
    let world = World::with_server(&server.url()).with_settings("attempts = 20");
    expect_run(&world, &customer_rows(60), &[], "0: 60 created");
    let creates = server.requests().iter().filter(|request| request.head.starts_with("POST")).count();
    assert_eq!(creates, 60);
}

/// A create that may have had an effect is probed, not resent.
#[test]
fn a_create_with_an_unclear_success_is_probed() {
    let server = Server::new(|number, _| json(200, if number == 0 { "" } else { RESULT }));
    let world = world(&server.url(), "20s");
    expect_run(&world, CREATE, &[], "0: 1 created");
    assert_eq!(calls(&server), "1 create, 1 other, 2 update");
}

/// An extra answer must not count as the answer to the next call.
#[test]
fn an_extra_answer_belongs_to_no_call() {
    let server = Server::new(|_, request| {
        let answer = if request.body.contains("odd") { refusal("No.") } else { success() };
        Reaction { bytes: [answer.bytes, success().bytes].concat(), ending: Ending::KeepOpen }
    });
    let rows: String =
        (0..60).map(|id| format!("C{id},{},Smit,c{id}@example.org,,,\n", ["even", "odd"][id % 2])).collect();
    let world = World::with_server(&server.url()).with_settings("max_errors = 60");
    expect_run(&world, &rows, &[], "1: 30 created, 30 failed");
}

#[test]
fn no_message_shows_a_key_in_the_url() {
    let faults: [fn(&Request) -> Reaction; 4] = [
        |_| no_answer(Ending::Close),
        |_| Reaction { bytes: HALF_BODY.into(), ending: Ending::Close },
        |request| json(500, &request.head),
        |request| {
            let location = format!("Location: https://elsewhere.example{}\r\n", request.head);
            let location = location.lines().next().expect("a line").replace("POST ", "");
            with_headers(308, &format!("{location}\r\n"), &request.head)
        },
    ];
    for fault in faults {
        let server = Server::new(move |_, request| fault(request));
        let world = world(&server.url(), "20s");
        world.edit_config("[omnidesk]", "[omnidesk]\nauth = \"query\"");
        let output = run(&world, CREATE, &[]).expect_code(1);
        assert!(server.requests()[0].head.contains(KEY));
        assert!(!output.messages(&world).is_empty());
    }
}
