//! A server that does what a test says, down to the bytes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

/// A request as it came.
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

/// What the server answers: bytes, or nothing and a closed connection.
pub(crate) type Answer = Option<Vec<u8>>;

/// What happens to the connection once the bytes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// The next request is awaited.
    GoOn,
    /// Closed in order.
    Close,
    /// Torn down.
    Reset,
    /// Nothing more, until the client hangs up.
    Hang,
    /// A byte now and then, until the client hangs up.
    Trickle,
    /// This again and again, until the client hangs up.
    Flood(&'static str),
    /// What comes is passed on to this port, and what it says is passed back.
    Tunnel(u16),
}

/// Bytes, and what follows them.
pub(crate) type Deed = (Vec<u8>, Then);

/// What a connection gets before its first request is read, by its number
/// from 0; nothing and a reset leave the request unread.
type Greet = dyn Fn(usize) -> Option<Deed> + Send + Sync;
type Behave = dyn Fn(usize, &Request) -> Deed + Send + Sync;

/// Answers each request by `behave`, which gets its number from 0.
pub(crate) struct Server {
    port: u16,
    seen: Arc<RunProfile>,
}

#[derive(Default)]
struct RunProfile {
    connections: AtomicUsize,
    requests: Mutex<Vec<Request>>,
    flooded: AtomicUsize,
}

impl Server {
    pub(crate) fn new(behave: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::doing(
            |_| None,
            move |number, request| match behave(number, request) {
                Some(answer) => (answer, Then::GoOn),
                None => (Vec::new(), Then::Close),
            },
        )
    }

    /// With everything in its hands.
    pub(crate) fn doing(
        greet: impl Fn(usize) -> Option<Deed> + Send + Sync + 'static,
        behave: impl Fn(usize, &Request) -> Deed + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let seen = Arc::new(RunProfile::default());
        let (greet, behave): (Arc<Greet>, Arc<Behave>) = (Arc::new(greet), Arc::new(behave));
        let noted = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = noted.connections.fetch_add(1, Relaxed);
                let (seen, greet, behave) = (Arc::clone(&noted), Arc::clone(&greet), Arc::clone(&behave));
                thread::spawn(move || serve(stream, connection, &seen, &*greet, &*behave));
            }
        });
        Self { port, seen }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.requests.lock().expect("requests").clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Relaxed)
    }

    /// Bytes of floods that went out.
    pub(crate) fn flooded(&self) -> usize {
        self.seen.flooded.load(Relaxed)
    }
}

fn serve(stream: TcpStream, connection: usize, seen: &RunProfile, greet: &Greet, behave: &Behave) {
    let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
    if let Some(deed) = greet(connection) {
        // The client has spoken, but only what is answered is read.
        if deed.0.is_empty() {
            stream.peek(&mut [0]).is_ok()
        } else {
            reader.fill_buf().is_ok()
        };
        let _ = act(&stream, &mut reader, seen, deed);
        return;
    }
    while let Some(request) = read(&mut reader, connection) {
        let number = {
            let mut seen = seen.requests.lock().expect("requests");
            seen.push(request.clone());
            seen.len() - 1
        };
        if act(&stream, &mut reader, seen, behave(number, &request)).is_none() {
            return;
        }
    }
}

/// Some if the connection stays of use.
fn act(
    mut stream: &TcpStream,
    reader: &mut BufReader<TcpStream>,
    seen: &RunProfile,
    (bytes, then): Deed,
) -> Option<()> {
    stream.write_all(&bytes).ok()?;
    match then {
        Then::GoOn => return Some(()),
        Then::Close => stream.shutdown(Shutdown::Both).ok()?,
        // Closed with no time to linger, the connection is reset.
        Then::Reset => SockRef::from(stream).set_linger(Some(Duration::ZERO)).ok()?,
        Then::Hang => while reader.read(&mut [0]).ok()? > 0 {},
        Then::Trickle => loop {
            stream.write_all(b"x").ok()?;
            thread::sleep(Duration::from_millis(20));
        },
        Then::Flood(words) => {
            let flood = words.repeat(1 << 10);
            loop {
                stream.write_all(flood.as_bytes()).ok()?;
                seen.flooded.fetch_add(flood.len(), Relaxed);
            }
        }
        Then::Tunnel(port) => tunnel(stream, port).ok()?,
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
pub(crate) fn json(status: u16, body: &str) -> Answer {
    with_headers(status, "", body)
}

/// An answer with further header lines, each with its line end.
pub(crate) fn with_headers(status: u16, headers: &str, body: &str) -> Answer {
    let length = body.len();
    Some(
        format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
            .into_bytes(),
    )
}

pub(crate) const RESULT: &str = r#"{"type":"result","message":"Fine."}"#;

/// The vendor's form of a refusal.
pub(crate) fn refusal(message: &str) -> Answer {
    json(400, &format!(r#"{{"status":"error","message":"{message}"}}"#))
}
