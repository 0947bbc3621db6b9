//! What a network and a server can do to a call, over real sockets: each
//! line of the tables is one fault and what must come of it.

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

use crate::server::{Answer, Deed, RESULT, Request, Server, Then, json, refusal, with_headers};
use crate::tls::{Authority, First, Identity, TlsServer};
use crate::world::{Ended, HEADER, KEY, MAPPING, World};

/// Far more than any of these runs takes, so that a bug ends them.
const PATIENCE: Duration = Duration::from_secs(60);

const CREATE: &str = "A1,Ann,Smit,a@example.org,,,\n";
const UPDATE: &str = "A1,Ann,Smit,,,,update\n";

/// What must come of a fault: exit code, rows by outcome, requests seen.
struct Expected {
    /// A create, of a customer whom the server has afterwards.
    found: &'static str,
    /// A create, of a customer whom the server says it does not have.
    absent: &'static str,
    /// An update.
    update: &'static str,
}

/// It works as if nothing had been.
const DONE: Expected = Expected {
    found: "0: 1 created; 1 create",
    absent: "0: 1 created; 1 create",
    update: "0: 1 updated; 1 update",
};
/// The same call is sent again.
const AGAIN: Expected = Expected {
    found: "0: 1 created; 2 create",
    absent: "0: 1 created; 2 create",
    update: "0: 1 updated; 2 update",
};
/// A lost create is asked about; only if there is no such customer it is sent again.
const LOST: Expected = Expected {
    found: "0: 1 created; 1 create, 1 update",
    absent: "0: 1 created; 2 create, 1 update",
    update: "0: 1 updated; 2 update",
};
/// The same, of requests that the server has not even read.
const LOST_UNREAD: Expected = Expected {
    found: "0: 1 created; 1 update",
    absent: "0: 1 created; 1 create, 1 update",
    update: "0: 1 updated; 1 update",
};
/// Whatever is sent is lost: two attempts, and never a second create.
const LOST_FOR_EVER: Expected = Expected {
    found: "1: 1 in_doubt; 1 create, 2 update",
    absent: "1: 1 in_doubt; 1 create, 2 update",
    update: "1: 1 failed; 2 update",
};
const UNREAD_FOR_EVER: Expected =
    Expected { found: "1: 1 in_doubt; ", absent: "1: 1 in_doubt; ", update: "1: 1 failed; " };
const REFUSED: Expected = Expected {
    found: "1: 1 failed; 1 create",
    absent: "1: 1 failed; 1 create",
    update: "1: 1 failed; 1 update",
};
/// Where a fault strikes.
#[derive(Clone)]
enum Fault {
    /// Instead of an answer.
    Answer(Vec<u8>, Then),
    /// Before the request is read.
    Unread(Then),
}

/// One line of a table.
struct Line {
    name: &'static str,
    fault: Fault,
    /// So many requests meet it.
    times: usize,
    expected: &'static Expected,
    /// What the person is told.
    says: &'static str,
}

const ONCE: usize = 1;
const FOR_EVER: usize = usize::MAX;

fn line(
    name: &'static str,
    times: usize,
    fault: Fault,
    expected: &'static Expected,
    says: &'static str,
) -> Line {
    Line { name, fault, times, expected, says }
}

/// These bytes, and then.
fn bytes(bytes: impl Into<Vec<u8>>, then: Then) -> Fault {
    Fault::Answer(bytes.into(), then)
}

/// A whole answer.
fn answer(answer: Answer) -> Fault {
    Fault::Answer(answer.expect("an answer"), Then::GoOn)
}

const HALF_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Le";
const HALF_BODY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{\"type\":\"result\",";

impl Line {
    /// A server with this fault, which otherwise knows nobody or everybody.
    fn server(&self, is_absent: bool) -> Server {
        let (fault, times) = (self.fault.clone(), self.times);
        let greet = match fault {
            Fault::Unread(then) => Some((Vec::new(), then)),
            Fault::Answer(..) => None,
        };
        Server::doing(
            move |connection| greet.clone().filter(|_| connection < times),
            move |number, request| match &fault {
                Fault::Answer(bytes, then) if number < times => (bytes.clone(), *then),
                _ => healthy(request, is_absent),
            },
        )
    }

    /// Long enough for what works on a busy machine; short where nothing does.
    fn timeout(&self) -> &'static str {
        match (&self.fault, self.times) {
            (Fault::Answer(_, Then::Hang | Then::Trickle), FOR_EVER) => "1s",
            (Fault::Answer(_, Then::Hang), _) => "2s",
            _ => "20s",
        }
    }

    /// What is wrong with what comes of it.
    fn problem(&self, row: &str, is_absent: bool, expected: &str) -> Option<String> {
        let server = self.server(is_absent);
        let world = world(&server.url(), self.timeout());
        let ended = run(&world, row, &[]);
        let found = format!("{}; {}", ended.found(), calls(&server));
        let told = ended.told(&world);
        (found != expected || !told.contains(self.says)).then(|| {
            format!(
                "{}, {row}  expected {expected}, {:?}\n  found    {found}\n  {told}",
                self.name, self.says
            )
        })
    }

    fn problems(&self) -> Vec<String> {
        let Expected { found, absent, update } = self.expected;
        let mut cases = vec![(CREATE, false, found), (UPDATE, false, update)];
        if absent != found {
            cases.push((CREATE, true, absent));
        }
        let problems = cases.iter().map(|(row, is_absent, expected)| self.problem(row, *is_absent, expected));
        problems.flatten().collect()
    }
}

/// How many lines are tried at once: they mostly wait.
const AT_ONCE: usize = 8;

/// Tries all lines and shows all that went wrong.
fn check(lines: &[Line]) {
    let (next, problems) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(line) = lines.get(next.fetch_add(1, Relaxed)) {
                    let found = line.problems();
                    problems.lock().expect("problems").extend(found);
                }
            });
        }
    });
    let problems = problems.into_inner().expect("problems");
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

fn healthy(request: &Request, is_absent: bool) -> Deed {
    let answer = match request.head.starts_with("PUT") && is_absent {
        true => refusal("Customer not found."),
        false => json(200, RESULT),
    };
    (answer.expect("an answer"), Then::GoOn)
}

fn world(base_url: &str, timeout: &str) -> World {
    let world = World::at(base_url).with_mapping(MAPPING, "attempts = 2");
    let config =
        world.read("omnidesk-sync.toml").replace("timeout = \"5s\"", &format!("timeout = \"{timeout}\""));
    world.file("omnidesk-sync.toml", config.as_bytes());
    world
}

/// `run --json` of these rows, with no proxies or authorities but these.
fn command(world: &World, rows: &str, environment: &[(&str, &str)]) -> Command {
    world.file("export.csv", format!("{HEADER}{rows}").as_bytes());
    let mut command = world.command(&["run", "--json", "export.csv"]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    if environment.iter().any(|(name, _)| *name == "SSL_CERT_FILE") {
        command.env_remove("SSL_CERT_DIR");
    }
    command.envs(environment.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(world: &World, rows: &str, environment: &[(&str, &str)]) -> Ended {
    ended(command(world, rows, environment).spawn().expect("the program"))
}

fn ended(child: Child) -> Ended {
    let id = child.id();
    let (done, waiting) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        if waiting.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            signal(id, "KILL");
        }
    });
    let output = child.wait_with_output().expect("an end");
    drop(done);
    watch.join().expect("the watch");
    Ended::of(output)
}

fn signal(id: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &id.to_string()]).status();
    assert!(sent.expect("kill").success());
}

impl Ended {
    /// Exit code, and rows by outcome.
    fn found(&self) -> String {
        match self.code {
            Some(code @ 0..=4) => format!("{code}: {}", self.outcomes()),
            code => format!("{code:?}"),
        }
    }

    /// All that the person is told.
    fn told(&self, world: &World) -> String {
        let files = ["failed.csv", "in_doubt.csv"].map(|name| world.result(name).unwrap_or_default());
        let told = format!("{}{}", self.stderr, String::from_utf8_lossy(&files.concat()));
        assert!(!told.contains(KEY), "the key is shown: {told}");
        told
    }
}

/// Requests by call.
fn calls(server: &Server) -> String {
    let mut calls = BTreeMap::<&str, usize>::new();
    for request in server.requests() {
        let call = match request.line().as_str() {
            "POST /api/v2/customer" => "create",
            "PUT /api/v2/customer/updateCustomer" => "update",
            _ => "other",
        };
        *calls.entry(call).or_default() += 1;
    }
    calls.iter().map(|(call, count)| format!("{count} {call}")).collect::<Vec<_>>().join(", ")
}

#[test]
fn connections_that_break() {
    use Fault::Unread;
    check(&[
        line("reset before the request is read", ONCE, Unread(Then::Reset), &LOST_UNREAD, ""),
        line("reset before it is read, always", FOR_EVER, Unread(Then::Reset), &UNREAD_FOR_EVER, "reset"),
        line("closed before it is read", ONCE, Unread(Then::Close), &LOST_UNREAD, ""),
        line("reset after it was read", ONCE, bytes("", Then::Reset), &LOST, ""),
        line("reset after it was read, always", FOR_EVER, bytes("", Then::Reset), &LOST_FOR_EVER, "reset"),
        line("closed after it was read", ONCE, bytes("", Then::Close), &LOST, ""),
        line("closed always", FOR_EVER, bytes("", Then::Close), &LOST_FOR_EVER, "connection closed"),
        line("reset in the head", ONCE, bytes(HALF_HEAD, Then::Reset), &LOST, ""),
        line("closed in the head", FOR_EVER, bytes(HALF_HEAD, Then::Close), &LOST_FOR_EVER, "closed"),
        line("reset in the body", ONCE, bytes(HALF_BODY, Then::Reset), &LOST, ""),
        line("closed in the body", FOR_EVER, bytes(HALF_BODY, Then::Close), &LOST_FOR_EVER, "body"),
        line(
            "no HTTP",
            FOR_EVER,
            bytes("SSH-2.0-OpenSSH_9.6\r\n", Then::Close),
            &LOST_FOR_EVER,
            "invalid HTTP",
        ),
        line("chunks that are none", FOR_EVER, bytes(NO_CHUNKS, Then::Close), &LOST_FOR_EVER, "chunk size"),
        line("a head without end", FOR_EVER, bytes(HALF_HEAD, Then::Flood("x")), &LOST_FOR_EVER, "too large"),
    ]);
}

const NO_CHUNKS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{\"type\":\"result\"}\r\n";

#[test]
fn servers_that_take_too_long() {
    check(&[
        line("no head", ONCE, bytes("", Then::Hang), &LOST, ""),
        line("never a head", FOR_EVER, bytes("", Then::Hang), &LOST_FOR_EVER, "timed out"),
        line("half a head", FOR_EVER, bytes(HALF_HEAD, Then::Hang), &LOST_FOR_EVER, "timed out"),
        line("half a body", ONCE, bytes(HALF_BODY, Then::Hang), &LOST, ""),
        line("never a whole body", FOR_EVER, bytes(HALF_BODY, Then::Hang), &LOST_FOR_EVER, "timed out"),
        line("a trickle of a head", FOR_EVER, bytes(HALF_HEAD, Then::Trickle), &LOST_FOR_EVER, "timed out"),
        line("a trickle of a body", FOR_EVER, bytes(HALF_BODY, Then::Trickle), &LOST_FOR_EVER, "timed out"),
    ]);
}

#[test]
fn servers_that_ask_to_wait_or_fail() {
    let date = |seconds: u64| httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    let wait = |status, after: &str| answer(with_headers(status, &format!("Retry-After: {after}\r\n"), "{}"));
    let dated = |until| {
        let headers = format!("Date: {}\r\nRetry-After: {}\r\n", date(1_700_000_000), date(until));
        answer(with_headers(429, &headers, "{}"))
    };
    let broken = |status| answer(json(status, r#"{"status":"error","message":"It broke."}"#));
    check(&[
        line("429 with seconds", ONCE, wait(429, "1"), &AGAIN, ""),
        line("429 with zero seconds, thrice", 3, wait(429, "0"), &FOURTH, ""),
        line("429 with a date", ONCE, dated(1_700_000_001), &AGAIN, ""),
        line("429 with a past date", ONCE, dated(1_600_000_000), &AGAIN, ""),
        line("429 with nothing", ONCE, answer(json(429, "{}")), &AGAIN, ""),
        line("429 with nonsense", ONCE, wait(429, "soon"), &AGAIN, ""),
        line("429 with half a body", ONCE, bytes(HALF_WAIT, Then::Hang), &AGAIN, ""),
        line("503 with seconds", ONCE, wait(503, "1"), &AGAIN, ""),
        line("500", ONCE, broken(500), &LOST, ""),
        line("502", ONCE, broken(502), &LOST, ""),
        line("503", ONCE, broken(503), &LOST, ""),
        line("504", ONCE, broken(504), &LOST, ""),
        line("500 for ever", FOR_EVER, broken(500), &LOST_FOR_EVER, "It broke."),
        line("502 for ever", FOR_EVER, broken(502), &LOST_FOR_EVER, "It broke."),
        line("503 for ever", FOR_EVER, broken(503), &LOST_FOR_EVER, "It broke."),
        line("504 for ever", FOR_EVER, broken(504), &LOST_FOR_EVER, "It broke."),
        line("500 without a word", FOR_EVER, answer(json(500, "")), &LOST_FOR_EVER, "the answer is empty"),
    ]);
}

const HALF_WAIT: &str = "HTTP/1.1 429 X\r\nContent-Length: 50\r\nRetry-After: 0\r\n\r\n{";

/// The same call, until the server lets it in.
const FOURTH: Expected = Expected {
    found: "0: 1 created; 4 create",
    absent: "0: 1 created; 4 create",
    update: "0: 1 updated; 4 update",
};

#[test]
fn answers_that_are_none() {
    let says = |body: &str| answer(json(200, body));
    let html = "<!doctype html><title>Maintenance</title>";
    check(&[
        line("200 with an error", ONCE, says(r#"{"status":"error","message":"No."}"#), &REFUSED, "No."),
        line("200 with a web page", ONCE, says(html), &LOST, ""),
        line("200 with a web page, always", FOR_EVER, says(html), &LOST_FOR_EVER, "a web page came"),
        line("200 with nothing", ONCE, says(""), &REFUSED, "the answer is empty"),
        line("200 with broken JSON", ONCE, says("{\"type\":\"res"), &REFUSED, "without a success message"),
        line("200 with other JSON", ONCE, says("[1]"), &REFUSED, "without a success message"),
        line("200 with no end", ONCE, bytes(NO_END, Then::Flood("x")), &REFUSED, "without a success message"),
        line("204", ONCE, bytes("HTTP/1.1 204 No Content\r\n\r\n", Then::GoOn), &REFUSED, "is empty"),
        line("a gzip bomb", ONCE, gzip_bomb(), &REFUSED, "without a success message"),
        line("100 and 103 first", ONCE, bytes([EARLY, FINE].concat(), Then::GoOn), &DONE, ""),
        line("hints upon hints", ONCE, bytes(EARLY.repeat(500) + FINE, Then::GoOn), &DONE, ""),
        line("100 and no more", FOR_EVER, bytes(EARLY, Then::Close), &LOST_FOR_EVER, "closed"),
        line("HTTP/1.0", ONCE, bytes(ONE_ZERO, Then::Close), &DONE, ""),
        line("Connection: close", ONCE, closing(), &DONE, ""),
    ]);
}

const NO_END: &str = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n";
const EARLY: &str = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"type\":\"result\"}";
const ONE_ZERO: &str = "HTTP/1.0 200 OK\r\n\r\n{\"type\":\"result\"}";

fn closing() -> Fault {
    bytes(with_headers(200, "Connection: close\r\n", RESULT).expect("an answer"), Then::Close)
}

/// Success, if it is unpacked: the words of one, and spaces without end.
fn gzip_bomb() -> Fault {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(RESULT.as_bytes()).expect("packed");
    packer.write_all(&vec![b' '; 8 << 20]).expect("packed");
    let body = packer.finish().expect("packed");
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", body.len());
    bytes([head.as_bytes(), &body].concat(), Then::GoOn)
}

#[test]
fn of_a_body_without_end_only_the_start_is_read() {
    let server = Server::doing(|_| None, |_, _| (NO_END.into(), Then::Flood("x")));
    run(&world(&server.url(), "20s"), UPDATE, &[]).expect(1);
    // 1 MiB, and what the sockets of both sides hold.
    assert!(server.flooded() < 64 << 20, "{} bytes were taken", server.flooded());
}

#[test]
fn no_redirect_takes_the_key_elsewhere() {
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = Server::new(|_, _| json(200, RESULT));
        let location = format!("Location: {}/api/v2/customer\r\n", elsewhere.url());
        let redirect =
            line("redirect", ONCE, answer(with_headers(status, &location, "{}")), &REFUSED, "redirects");
        assert_eq!(redirect.problems(), Vec::<String>::new(), "{status}");
        assert_eq!(elsewhere.connections(), 0, "{status}");
    }
}

#[test]
fn an_absurd_wait_can_be_interrupted_and_nothing_is_lost() {
    for after in ["99999999999999999999999", "86400", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        let headers = format!("Retry-After: {after}\r\n");
        let (asked, is_asked) = mpsc::channel();
        let server = Server::new(move |number, _| {
            let _ = asked.send(number);
            if number == 0 { with_headers(429, &headers, "{}") } else { json(200, RESULT) }
        });
        let world = world(&server.url(), "20s");
        let child = command(&world, CREATE, &[]).spawn().expect("the program");
        is_asked.recv_timeout(PATIENCE).expect("a request");
        signal(child.id(), "INT");
        assert_eq!(ended(child).found(), "4: 1 not_attempted", "{after}");
        assert_eq!(run(&world, CREATE, &[]).found(), "0: 1 created");
        assert_eq!(calls(&server), "2 create");
    }
}

/// What cannot be connected to: nothing is sent, and the run can be resumed.
fn unreachable(base_url: &str, timeout: &str, environment: &[(&str, &str)], says: &[&str]) -> Ended {
    let [_, ended] = [CREATE, UPDATE].map(|row| {
        let world = world(base_url, timeout);
        let ended = run(&world, row, environment).expect(3);
        assert_eq!(ended.found(), "3: 1 not_attempted", "{}", ended.stderr);
        assert_eq!(ended.json()["stopped"]["reason"], "unreachable");
        for words in ["run the same command again", base_url].iter().chain(says) {
            assert!(ended.stderr.contains(words), "no {words:?} in {}", ended.stderr);
        }
        assert_eq!(world.ends(&["status", "--json"]).json()["in_doubt"], 0);
        ended
    });
    ended
}

#[test]
fn a_host_that_no_name_server_knows() {
    unreachable("https://omnidesk.invalid", "20s", &[], &["dns error"]);
}

#[test]
fn a_port_where_nobody_listens() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address").port()
    };
    unreachable(&format!("http://127.0.0.1:{port}"), "20s", &[], &["Connection refused"]);
}

#[test]
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn a_listener_that_takes_no_more_connections() {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    listener.listen(0).expect("listening");
    let address = listener.local_addr().expect("an address").as_socket().expect("an address");
    let mut queue = Vec::new();
    while let Ok(connection) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        queue.push(connection);
        if queue.len() > 64 {
            println!("skipped: the system takes connections without end");
            return;
        }
    }
    unreachable(&format!("http://{address}"), "2s", &[], &[]);
}

#[test]
fn tls_that_fails() {
    let plain = |_| Some((b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec(), Then::Close));
    let cut = |_| Some((Vec::new(), Then::Reset));
    let hung = |_| Some((Vec::new(), Then::Hang));
    let servers = [
        (Server::doing(plain, |_, _| unreachable!()), "20s", "corrupt message"),
        (Server::doing(cut, |_, _| unreachable!()), "20s", "reset"),
        (Server::doing(hung, |_, _| unreachable!()), "2s", "timed out"),
    ];
    let authority = Authority::new("the authority of the tests");
    let world = World::at("");
    let trusted = world.file("authority.pem", authority.pem().as_bytes());
    let trusted = trusted.to_str().expect("UTF-8");
    for (server, timeout, says) in &servers {
        let url = server.url().replace("http:", "https:");
        unreachable(&url, timeout, &[("SSL_CERT_FILE", trusted)], &[says]);
        assert!(server.requests().is_empty());
    }
}

#[test]
fn a_certificate_that_is_wrong() {
    let authority = Authority::new("the authority of the tests");
    let unknown = Authority::new("an authority that nobody knows");
    let folder = World::at("");
    let trusted = folder.file("authority.pem", authority.pem().as_bytes());
    let trusted = trusted.to_str().expect("UTF-8");
    let cases = [
        (Identity::of_itself("127.0.0.1"), "UnknownIssuer"),
        (unknown.certifies("127.0.0.1", 2099), "UnknownIssuer"),
        (authority.certifies("account.omnidesk.test", 2099), "not valid for name"),
        (authority.certifies("127.0.0.1", 2020), "expired"),
    ];
    for (identity, says) in cases {
        let server = TlsServer::new(identity, "http/1.1", First::Succeeds);
        let url = format!("https://127.0.0.1:{}", server.port());
        unreachable(&url, "20s", &[("SSL_CERT_FILE", trusted)], &["certificate", says]);
        assert!(server.requests().is_empty());
    }
}

#[test]
fn a_machine_without_certificates_of_authorities() {
    let world = world("https://127.0.0.1:1", "20s");
    let none = world.file("authorities.pem", b"");
    let environment = [("SSL_CERT_FILE", none.to_str().expect("UTF-8")), ("SSL_CERT_DIR", "")];
    let ended = run(&world, CREATE, &environment).expect(2);
    assert!(ended.stderr.contains("ca-certificates"), "{}", ended.stderr);
}

#[test]
fn https_by_the_protocol_that_the_server_offers() {
    let authority = Authority::new("the authority of the tests");
    for (alpn, version) in [("http/1.1", "HTTP/1.1"), ("h2", "HTTP/2.0")] {
        let server = TlsServer::new(authority.certifies("127.0.0.1", 2099), alpn, First::Succeeds);
        let world = world(&format!("https://127.0.0.1:{}", server.port()), "20s");
        let trusted = world.file("authority.pem", authority.pem().as_bytes());
        let environment = [("SSL_CERT_FILE", trusted.to_str().expect("UTF-8"))];
        let ended = run(&world, &format!("{CREATE}{}", CREATE.replace("A1", "B1")), &environment);
        assert_eq!(ended.found(), "0: 2 created", "{}", ended.stderr);
        assert_eq!(server.requests(), vec![format!("{version} POST /api/v2/customer"); 2]);
    }
}

/// A refused stream may be repeated by HTTP/2's own rules; a create is not.
/// And a connection that is dead without a word takes no second request.
#[test]
fn a_create_that_http2_loses_is_asked_about_once() {
    let authority = Authority::new("the authority of the tests");
    for first in [First::IsReset, First::GetsStuck] {
        let server = TlsServer::new(authority.certifies("127.0.0.1", 2099), "h2", first);
        let world = world(&format!("https://127.0.0.1:{}", server.port()), "3s");
        let trusted = world.file("authority.pem", authority.pem().as_bytes());
        let ended = run(&world, CREATE, &[("SSL_CERT_FILE", trusted.to_str().expect("UTF-8"))]);
        assert_eq!(ended.found(), "0: 1 created", "{first:?} {}", ended.stderr);
        let expected = ["HTTP/2.0 POST /api/v2/customer", "HTTP/2.0 PUT /api/v2/customer/updateCustomer"];
        assert_eq!(server.requests(), expected, "{first:?}");
    }
}

/// A server that is taken out of service asks for new connections in the
/// middle of the run: what it took is answered, and nothing is sent twice.
#[test]
fn http2_that_says_goaway_again_and_again_costs_nothing() {
    let authority = Authority::new("the authority of the tests");
    let identity = authority.certifies("127.0.0.1", 2099);
    let server = TlsServer::new(identity, "h2", First::IsFollowedByGoAway);
    let world = world(&format!("https://127.0.0.1:{}", server.port()), "20s");
    let trusted = world.file("authority.pem", authority.pem().as_bytes());
    let rows: String = (0..100).map(|id| format!("C{id},Ann,Smit,c{id}@example.org,,,\n")).collect();
    let ended = run(&world, &rows, &[("SSL_CERT_FILE", trusted.to_str().expect("UTF-8"))]);
    assert_eq!(ended.found(), "0: 100 created", "{}", ended.told(&world));
    let creates = server.requests().iter().filter(|request| request.starts_with("HTTP/2.0 POST")).count();
    assert_eq!(creates, 100);
    assert!(server.connections() > 2, "{} connections", server.connections());
}

/// Everything fails, for longer than any row has attempts; then it works.
#[test]
fn an_outage_is_bridged_and_costs_no_row() {
    let says = |status, body| json(status, body).expect("an answer");
    let outages = [
        ("500", says(500, "{}"), Then::GoOn),
        ("502", says(502, "{}"), Then::GoOn),
        ("503", says(503, "{}"), Then::GoOn),
        ("closed", Vec::new(), Then::Close),
        ("a web page", says(200, "<html>Maintenance"), Then::GoOn),
    ];
    thread::scope(|scope| {
        for (name, bytes, then) in outages {
            scope.spawn(move || {
                let made = Mutex::new(BTreeSet::new());
                let server = Server::doing(
                    |_| None,
                    move |number, request| {
                        if (20..34).contains(&number) {
                            return (bytes.clone(), then);
                        }
                        let id = request.body.split('"').find(|word| word.starts_with("C-")).expect("an id");
                        let is_absent = !made.lock().expect("the made").contains(id);
                        if request.head.starts_with("POST") {
                            made.lock().expect("the made").insert(id.to_owned());
                        }
                        healthy(request, is_absent)
                    },
                );
                let rows: String =
                    (0..40).map(|id| format!("C-{id},Ann,Smit,c{id}@example.org,,,\n")).collect();
                let world = World::at(&server.url()).with_mapping(MAPPING, "attempts = 3");
                let ended = run(&world, &rows, &[]);
                assert_eq!(ended.found(), "0: 40 created", "{name}: {}", ended.told(&world));
                for words in ["the server has been failing", "the server works again"] {
                    // With late successes between them, bare 503s are a limit's, as nginx sends them.
                    assert!(
                        name == "503" || ended.stderr.contains(words),
                        "{name}: no {words:?} in {}",
                        ended.stderr
                    );
                }
            });
        }
    });
}

/// The real thing, in real minutes: `cargo test --test it -- --ignored minutes`.
#[test]
#[ignore = "takes three minutes of waiting"]
#[expect(clippy::print_stdout, reason = "the figures are part of the test's use")]
fn an_outage_of_minutes_costs_no_row() {
    const OUTAGE: Duration = Duration::from_secs(150);
    thread::scope(|scope| {
        for status in [500, 502, 503, 504] {
            scope.spawn(move || {
                let (made, began) = (Mutex::new(BTreeSet::new()), OnceLock::new());
                let server = Server::doing(
                    |_| None,
                    move |number, request| {
                        if number >= 20 && began.get_or_init(Instant::now).elapsed() < OUTAGE {
                            return (json(status, "{}").expect("an answer"), Then::GoOn);
                        }
                        let id = request.body.split('"').find(|word| word.starts_with("C-")).expect("an id");
                        let is_absent = !made.lock().expect("the made").contains(id);
                        if request.head.starts_with("POST") {
                            made.lock().expect("the made").insert(id.to_owned());
                        }
                        healthy(request, is_absent)
                    },
                );
                let rows: String =
                    (0..200).map(|id| format!("C-{id},Ann,Smit,c{id}@example.org,,,\n")).collect();
                let world = World::at(&server.url()).with_mapping(MAPPING, "attempts = 3\nrate = \"100/s\"");
                let config = world.read("omnidesk-sync.toml").replacen("rate = \"20000/s\"\n", "", 1);
                world.file("omnidesk-sync.toml", config.as_bytes());
                let began = Instant::now();
                let mut command = command(&world, &rows, &[]);
                let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("an end");
                let ended = Ended::of(output);
                assert_eq!(ended.found(), "0: 200 created", "{status}: {}", ended.told(&world));
                assert!(began.elapsed() >= OUTAGE);
                let (requests, seconds) = (server.requests().len(), began.elapsed().as_secs());
                println!("{status} for 150 s: 200 created with {requests} requests in {seconds} s");
            });
        }
    });
}

/// A row that fails alone uses its attempts up, however well the server is.
#[test]
fn a_row_that_fails_alone_fails() {
    let server = Server::doing(
        |_| None,
        |_, request| match request.body.contains("poison") {
            true => (json(500, "{}").expect("an answer"), Then::GoOn),
            false => healthy(request, false),
        },
    );
    let mut rows: String = (0..60).map(|id| format!("C-{id},Ann,Smit,c{id}@example.org,,,\n")).collect();
    rows.push_str("C-60,poison,Smit,,,,update\n");
    let world = World::at(&server.url()).with_mapping(MAPPING, "attempts = 3");
    let ended = run(&world, &rows, &[]);
    assert_eq!(ended.found(), "1: 60 created, 1 failed");
    assert!(ended.told(&world).contains("gave_up"), "{}", ended.told(&world));
    let poison = server.requests().iter().filter(|request| request.body.contains("poison")).count();
    assert_eq!(poison, 3);
}

/// Being asked to wait is no fault of the call's: with two attempts, one wait
/// and one failure, the third request still goes out.
#[test]
fn a_request_to_wait_uses_no_attempt() {
    let server = Server::doing(
        |_| None,
        |number, request| match number {
            1 => (json(429, "{}").expect("an answer"), Then::GoOn),
            2 => (json(500, "{}").expect("an answer"), Then::GoOn),
            _ => healthy(request, false),
        },
    );
    let rows = "C-1,Ann,Smit,c1@example.org,,,\nC-1,Bob,Smit,,,,update\n";
    let world = World::at(&server.url()).with_mapping(MAPPING, "attempts = 2");
    let ended = run(&world, rows, &[]);
    assert_eq!(ended.found(), "0: 1 created, 1 updated", "{}", ended.told(&world));
    assert_eq!(server.requests().len(), 4);
}

/// `resend` sends the create again, after `settle`, and asks nothing before.
#[test]
fn a_lost_create_is_sent_again_and_not_probed_where_the_settings_say_so() {
    for (setting, sent) in [("resend", ["POST", "POST"]), ("probe", ["POST", "PUT"])] {
        let server = Server::doing(
            |_| None,
            |number, request| match number {
                0 => (Vec::new(), Then::Close),
                _ => healthy(request, false),
            },
        );
        let world = World::at(&server.url()).with_mapping(MAPPING, "");
        let config = world.read("omnidesk-sync.toml");
        let chosen = format!("[omnidesk]\nin_doubt = \"{setting}\"\n");
        world.file("omnidesk-sync.toml", config.replacen("[omnidesk]\n", &chosen, 1).as_bytes());
        let ended = run(&world, "C-1,Ann,Smit,,,,\n", &[]);
        assert_eq!(ended.found(), "0: 1 created", "{setting}: {}", ended.told(&world));
        let methods: Vec<String> =
            server.requests().iter().map(|request| request.line()[..4].trim_end().to_owned()).collect();
        assert_eq!(methods, sent, "{setting}");
    }
}

/// Each create is lost and was not carried out, as the probe says each time:
/// `attempts` creates, and the customer is left in doubt.
#[test]
fn creates_that_are_always_lost_come_to_an_end() {
    let server = Server::doing(
        |_| None,
        |_, request| match request.head.starts_with("POST") {
            true => (Vec::new(), Then::Close),
            false => healthy(request, true),
        },
    );
    let world = World::at(&server.url()).with_mapping(MAPPING, "attempts = 2");
    let config = world.read("omnidesk-sync.toml").replace("settle = \"300ms\"", "settle = \"20ms\"");
    world.file("omnidesk-sync.toml", config.as_bytes());
    let ended = run(&world, CREATE, &[]);
    assert!(ended.found().ends_with(": 1 in_doubt"), "{}", ended.told(&world));
    assert!(ended.told(&world).contains("was lost 2 times"), "{}", ended.told(&world));
    let methods: Vec<String> =
        server.requests().iter().map(|request| request.line()[..4].trim_end().to_owned()).collect();
    assert_eq!(methods, ["POST", "PUT", "POST", "PUT"]);
}

/// A refusal changes nothing at the server: what it held before is still known.
#[test]
fn what_was_told_before_a_refused_update_is_still_known() {
    let server = Server::doing(
        |_| None,
        |_, request| match request.body.contains("Bob") {
            true => (refusal("No.").expect("an answer"), Then::GoOn),
            false => healthy(request, false),
        },
    );
    let world = World::at(&server.url()).with_mapping(MAPPING, "");
    let rows = |name| format!("C-1,{name},Smit,c1@example.org,,,\n");
    assert_eq!(run(&world, &rows("Ann"), &[]).found(), "0: 1 created");
    let refused = run(&world, &rows("Bob"), &[]);
    assert!(refused.found().ends_with(": 1 failed"), "{}", refused.told(&world));
    let again = run(&world, &rows("Ann"), &[]);
    assert_eq!(again.found(), "0: 1 unchanged", "{}", again.told(&world));
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_proxy_of_the_environment_carries_https_and_does_not_see_the_key() {
    let authority = Authority::new("the authority of the tests");
    let server = TlsServer::new(authority.certifies("account.omnidesk.test", 2099), "h2", First::Succeeds);
    let port = server.port();
    let connected = b"HTTP/1.1 200 Connected\r\n\r\n";
    let proxy = Server::doing(|_| None, move |_, _| (connected.to_vec(), Then::Tunnel(port)));
    let world = world("https://account.omnidesk.test", "20s");
    let trusted = world.file("authority.pem", authority.pem().as_bytes());
    let trusted = ("SSL_CERT_FILE", trusted.to_str().expect("UTF-8"));
    let ended = run(&world, CREATE, &[trusted, ("HTTPS_PROXY", &proxy.url())]);
    assert_eq!(ended.found(), "0: 1 created", "{}", ended.stderr);
    assert_eq!(server.requests(), ["HTTP/2.0 POST /api/v2/customer"]);
    let seen = proxy.requests();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].line(), "CONNECT account.omnidesk.test:443");
    assert!(!seen[0].head.contains(KEY), "{}", seen[0].head);
}

#[test]
fn a_proxy_that_refuses() {
    let cases = [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", Then::Close, "20s"),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", Then::Close, "20s"),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", Then::Close, "20s"),
        ("", Then::Close, "20s"),
        ("", Then::Hang, "2s"),
    ];
    for (bytes, then, timeout) in cases {
        let proxy = Server::doing(|_| None, move |_, _| (bytes.into(), then));
        let url = proxy.url().replace("http://", "http://somebody:a-password@");
        let ended =
            unreachable("https://account.omnidesk.test", timeout, &[("HTTPS_PROXY", &url)], &["HTTPS_PROXY"]);
        assert!(!ended.stderr.contains("a-password"), "{}", ended.stderr);
        assert!(proxy.requests().iter().all(|request| !request.head.contains(KEY)));
    }
}

#[test]
fn this_machine_is_reached_without_a_proxy() {
    let (proxy, server) = (Server::new(|_, _| None), Server::new(|_, _| json(200, RESULT)));
    let url = proxy.url();
    let environment = ["HTTP_PROXY", "http_proxy", "ALL_PROXY"].map(|name| (name, url.as_str()));
    assert_eq!(run(&world(&server.url(), "20s"), CREATE, &environment).found(), "0: 1 created");
    assert_eq!((proxy.connections(), calls(&server).as_str()), (0, "1 create"));
}

/// The promise "nothing in the HTTP stack repeats a create".
#[test]
fn a_create_on_a_kept_connection_that_is_closed_after_reading_it_is_sent_once() {
    for then in [Then::Close, Then::Reset] {
        let server = Server::doing(
            |_| None,
            move |number, request| if number == 1 { (Vec::new(), then) } else { healthy(request, false) },
        );
        let world = World::at(&server.url()).with_mapping(MAPPING, "concurrency = 1");
        let ended = run(&world, &format!("{CREATE}{}", CREATE.replace("A1", "B1")), &[]);
        assert_eq!(ended.found(), "0: 2 created", "{}", ended.stderr);
        assert_eq!(calls(&server), "2 create, 1 update", "{then:?}");
        let connections: Vec<usize> = server.requests().iter().map(|request| request.connection).collect();
        assert_eq!(connections, [0, 0, 1], "the second create was to go on the kept connection");
    }
}

#[test]
fn connections_closed_at_will_make_no_duplicate() {
    let made = Mutex::new(BTreeSet::new());
    let server = Server::doing(
        |_| None,
        move |_, request| {
            let id = request.body.split('"').find(|word| word.starts_with("C-")).expect("an id").to_owned();
            let mut made = made.lock().expect("the made");
            let answer = match request.head.starts_with("PUT") {
                true if made.contains(&id) => json(200, RESULT),
                true => refusal("Customer not found."),
                false if made.insert(id) => json(200, RESULT),
                false => refusal("This is a duplicate."),
            };
            (answer.expect("an answer"), Then::Close)
        },
    );
    let rows: String = (0..60).map(|id| format!("C-{id},Ann,Smit,c{id}@example.org,,,\n")).collect();
    let world = World::at(&server.url()).with_mapping(MAPPING, "attempts = 20");
    let ended = run(&world, &rows, &[]);
    assert_eq!(ended.found(), "0: 60 created", "{}", ended.told(&world));
    let creates = server.requests().iter().filter(|request| request.head.starts_with("POST")).count();
    assert_eq!(creates, 60);
}

/// What may have been carried out is asked about, not sent again.
#[test]
fn a_create_with_an_odd_success_is_asked_about_by_the_next_run() {
    let server = Server::new(|number, _| json(200, if number == 0 { "" } else { RESULT }));
    let world = world(&server.url(), "20s");
    assert_eq!(run(&world, CREATE, &[]).found(), "1: 1 failed");
    assert_eq!(run(&world, CREATE, &[]).found(), "0: 1 created");
    assert_eq!(calls(&server), "1 create, 1 update");
}

/// An answer that nobody asked for must not pass for that of the next call.
#[test]
fn an_answer_too_many_is_nobodys() {
    let server = Server::new(|_, request| {
        let is_odd = request.body.contains("odd");
        let answer = if is_odd { refusal("No.") } else { json(200, RESULT) };
        answer.map(|answer| [answer, json(200, RESULT).expect("an answer")].concat())
    });
    let rows: String =
        (0..60).map(|id| format!("C{id},{},Smit,c{id}@example.org,,,\n", ["even", "odd"][id % 2])).collect();
    let world = World::at(&server.url()).with_mapping(MAPPING, "max_errors = 60");
    let ended = run(&world, &rows, &[]);
    assert_eq!(ended.found(), "1: 30 created, 30 failed", "{}", ended.stderr);
}

#[test]
fn a_key_in_the_url_is_in_no_message() {
    let faults: [fn(&Request) -> Deed; 4] = [
        |_| (Vec::new(), Then::Close),
        |_| (HALF_BODY.into(), Then::Close),
        |request| (json(500, &request.head).expect("an answer"), Then::GoOn),
        |request| {
            let location = format!("Location: https://elsewhere.example{}\r\n", request.head);
            let location = location.lines().next().expect("a line").replace("POST ", "");
            (with_headers(308, &format!("{location}\r\n"), &request.head).expect("an answer"), Then::GoOn)
        },
    ];
    for fault in faults {
        let server = Server::doing(|_| None, move |_, request| fault(request));
        let world = world(&server.url(), "20s");
        let config = world.read("omnidesk-sync.toml").replace("[omnidesk]", "[omnidesk]\nauth = \"query\"");
        world.file("omnidesk-sync.toml", config.as_bytes());
        let ended = run(&world, CREATE, &[]).expect(1);
        assert!(server.requests()[0].head.contains(KEY));
        assert!(!ended.told(&world).is_empty());
    }
}
