//! A server that does what a test says, down to the bytes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
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

/// Answers each request by `behave`, which gets its number from 0.
pub(crate) struct Server {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) fn new(behave: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, behave) = (Arc::clone(&requests), Arc::new(behave));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, behave) = (Arc::clone(&seen), Arc::clone(&behave));
                thread::spawn(move || serve(stream, &seen, &*behave));
            }
        });
        Self { address, requests }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("requests").clone()
    }
}

fn serve(stream: TcpStream, seen: &Mutex<Vec<Request>>, behave: &dyn Fn(usize, &Request) -> Answer) {
    let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
    while let Some(request) = read(&mut reader) {
        let number = {
            let mut seen = seen.lock().expect("requests");
            seen.push(request.clone());
            seen.len() - 1
        };
        match behave(number, &request) {
            Some(answer) => {
                if (&stream).write_all(&answer).is_err() {
                    return;
                }
            }
            None => {
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
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
    Some(Request { head, body: String::from_utf8_lossy(&body).into_owned() })
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
