//! A server whose every byte a test decides.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

/// The beginning of a control request's id.
pub(crate) const CONTROL: &str = "omnidesk-sync-control-";

#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The connection it came on, from 0.
    pub(crate) connection: usize,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Request {
    /// `METHOD /path`
    pub(crate) fn line(&self) -> String {
        self.head.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }
}

/// Bytes, and what happens to the connection after them.
#[derive(Debug, Clone)]
pub(crate) struct Reaction {
    pub(crate) bytes: Vec<u8>,
    pub(crate) ending: Ending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The connection waits for the next request.
    KeepOpen,
    /// It is closed in order.
    Close,
    /// It is torn down.
    Reset,
    /// Nothing more comes until the client hangs up.
    Hang,
    /// A byte comes now and then until the client hangs up.
    Trickle,
    /// This text comes again and again until the client hangs up.
    Flood(&'static str),
    /// Both directions are connected to this port.
    Tunnel(u16),
}

/// A connection's reaction before its first request is read, by the number of
/// the connection from 0. Without bytes, the request stays unread.
type Greet = dyn Fn(usize) -> Option<Reaction> + Send + Sync;
/// The reaction to a request, by its number from 0.
type React = dyn Fn(usize, &Request) -> Reaction + Send + Sync;

pub(crate) struct Server {
    port: u16,
    traffic: Arc<Traffic>,
}

#[derive(Default)]
struct Traffic {
    connections: AtomicUsize,
    requests: Mutex<Vec<Request>>,
    flooded_bytes: AtomicUsize,
}

impl Server {
    pub(crate) fn new(react: impl Fn(usize, &Request) -> Reaction + Send + Sync + 'static) -> Self {
        Self::with_greeting(|_| None, react)
    }

    pub(crate) fn with_greeting(
        greet: impl Fn(usize) -> Option<Reaction> + Send + Sync + 'static,
        react: impl Fn(usize, &Request) -> Reaction + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let traffic = Arc::new(Traffic::default());
        let (greet, react): (Arc<Greet>, Arc<React>) = (Arc::new(greet), Arc::new(react));
        let shared = Arc::clone(&traffic);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = shared.connections.fetch_add(1, Relaxed);
                let (traffic, greet, react) = (Arc::clone(&shared), Arc::clone(&greet), Arc::clone(&react));
                thread::spawn(move || serve(stream, connection, &traffic, &*greet, &*react));
            }
        });
        Self { port, traffic }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.traffic.requests.lock().expect("requests").clone()
    }

    /// The requests as `METHOD /path`.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.requests().iter().map(Request::line).collect()
    }

    /// Waits until this many requests have come.
    pub(crate) fn wait_for_requests(&self, requests: usize, child: &mut Child) {
        while self.requests().len() < requests {
            assert!(child.try_wait().expect("a child").is_none(), "the program has ended");
            thread::yield_now();
        }
    }

    pub(crate) fn connections(&self) -> usize {
        self.traffic.connections.load(Relaxed)
    }

    pub(crate) fn flooded_bytes(&self) -> usize {
        self.traffic.flooded_bytes.load(Relaxed)
    }
}

/// A port on which nobody listens.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

fn serve(stream: TcpStream, connection: usize, traffic: &Traffic, greet: &Greet, react: &React) {
    let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
    if let Some(reaction) = greet(connection) {
        // The greeting waits for the client's first byte. It reads the request
        // only if it has an answer.
        if reaction.bytes.is_empty() {
            stream.peek(&mut [0]).is_ok()
        } else {
            reader.fill_buf().is_ok()
        };
        let _ = act(&stream, &mut reader, traffic, &reaction);
        return;
    }
    while let Some(request) = read(&mut reader, connection) {
        // Like the API, it knows no customer of a control request.
        if request.body.contains(CONTROL) {
            if act(&stream, &mut reader, traffic, &refusal("Customer not found.")).is_none() {
                return;
            }
            continue;
        }
        let number = {
            let mut requests = traffic.requests.lock().expect("requests");
            requests.push(request.clone());
            requests.len() - 1
        };
        if act(&stream, &mut reader, traffic, &react(number, &request)).is_none() {
            return;
        }
    }
}

/// `Some` if the connection takes another request.
fn act(
    mut stream: &TcpStream,
    reader: &mut BufReader<TcpStream>,
    traffic: &Traffic,
    reaction: &Reaction,
) -> Option<()> {
    stream.write_all(&reaction.bytes).ok()?;
    match reaction.ending {
        Ending::KeepOpen => return Some(()),
        Ending::Close => stream.shutdown(Shutdown::Both).ok()?,
        // A close with no time to linger resets the connection.
        Ending::Reset => SockRef::from(stream).set_linger(Some(Duration::ZERO)).ok()?,
        Ending::Hang => while reader.read(&mut [0]).ok()? > 0 {},
        Ending::Trickle => loop {
            stream.write_all(b"x").ok()?;
            thread::sleep(Duration::from_millis(20));
        },
        Ending::Flood(text) => {
            let flood = text.repeat(1 << 10);
            loop {
                stream.write_all(flood.as_bytes()).ok()?;
                traffic.flooded_bytes.fetch_add(flood.len(), Relaxed);
            }
        }
        Ending::Tunnel(port) => tunnel(stream, port).ok()?,
    }
    None
}

fn tunnel(near: &TcpStream, port: u16) -> std::io::Result<()> {
    let far = TcpStream::connect(("127.0.0.1", port))?;
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = std::io::copy(&mut &*near, &mut &far);
            far.shutdown(Shutdown::Write)
        });
        let _ = std::io::copy(&mut &far, &mut &*near);
        near.shutdown(Shutdown::Both)
    })
}

fn read(reader: &mut BufReader<TcpStream>, connection: usize) -> Option<Request> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { connection, head, body: String::from_utf8_lossy(&body).into_owned() })
}

/// An answer with a JSON body.
pub(crate) fn json(status: u16, body: &str) -> Reaction {
    with_headers(status, "", body)
}

/// An answer with further header lines, each with its line end.
pub(crate) fn with_headers(status: u16, headers: &str, body: &str) -> Reaction {
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    Reaction { bytes: answer.into_bytes(), ending: Ending::KeepOpen }
}

pub(crate) const RESULT: &str = r#"{"type":"result","message":"Fine."}"#;

/// A call that works.
pub(crate) fn success() -> Reaction {
    json(200, RESULT)
}

/// The vendor's form of a refusal.
pub(crate) fn refusal(message: &str) -> Reaction {
    json(400, &format!(r#"{{"status":"error","message":"{message}"}}"#))
}

/// No answer at all.
pub(crate) fn no_answer(ending: Ending) -> Reaction {
    Reaction { bytes: Vec::new(), ending }
}
