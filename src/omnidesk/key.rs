//! The API key and its source. The key is never shown.
//!
//! A key may have been put where the name of its source belongs. So a name is shown
//! only if it looks like one, or if a source of that name is there.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// `api_key`: where the key is kept. The key itself is never in the
/// configuration: error messages print its lines.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum KeySource {
    /// An environment variable.
    Env(String),
    /// A file; its trailing line end does not count.
    File(PathBuf),
    /// The standard output of a program; the first word is the program.
    Command(Vec<String>),
    /// A credential of the service manager, by its name in `LoadCredential=`:
    /// a file in the folder that `$CREDENTIALS_DIRECTORY` names.
    Credential(String),
}

/// More than any key.
const KEY_BYTES_MAX: u64 = 64 << 10;

/// For a file or a program, also if a person has to type a password first.
const KEY_TIME_MAX: Duration = Duration::from_secs(60);

/// Why there is no key. It holds no part of the key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error(
        "api_key in [omnidesk]: there is no such {thing}, and the text behind {kind} does not look like the name of one. It could be the key itself, so it is not shown; write the name of the {thing} that has the key"
    )]
    Misplaced { kind: &'static str, thing: &'static str },
    #[error(
        "the environment variable {0} is not set; put the API key there, or change api_key in [omnidesk]"
    )]
    NoVariable(String),
    #[error("the API key's file {path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error(
        "CREDENTIALS_DIRECTORY is not set, so that there is no credential {0}; systemd sets it for a service with LoadCredential={0}:FILE, else change api_key in [omnidesk]"
    )]
    NoCredentials(String),
    #[error("the API key's command {program}: {source}")]
    Command { program: String, source: io::Error },
    #[error("the API key's command {program} ended with {status}")]
    Failed { program: String, status: ExitStatus },
    #[error("the API key from {0} is empty or holds characters that no HTTP header can carry")]
    Unusable(String),
}

/// The key. Its `Debug` is masked; only this room can read it.
#[derive(Debug, Clone)]
pub struct ApiKey(SecretString);

impl ApiKey {
    pub(crate) fn fetch(source: &KeySource) -> Result<Self, KeyError> {
        Self::fetch_within(source, KEY_TIME_MAX)
    }

    fn fetch_within(source: &KeySource, time: Duration) -> Result<Self, KeyError> {
        match source {
            KeySource::Env(name) => match std::env::var(name) {
                Ok(key) => Self::new(&key, name),
                Err(_) if is_variable_name(name) => Err(KeyError::NoVariable(name.clone())),
                Err(_) => Err(misplaced("env", "environment variable")),
            },
            KeySource::File(path) if is_misplaced(path) => Err(misplaced("file", "file")),
            KeySource::File(path) => Self::from_file(path, time),
            KeySource::Command(command) => Self::from_command(command, time),
            KeySource::Credential(name) => {
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY").unwrap_or_default();
                let path = Path::new(&folder).join(name);
                match folder.is_empty() {
                    _ if is_misplaced(&path) => Err(misplaced("credential", "credential")),
                    true => Err(KeyError::NoCredentials(name.clone())),
                    false => Self::from_file(&path, time),
                }
            }
        }
    }

    /// The in-process sandbox takes any key.
    pub fn for_sandbox() -> Self {
        Self(SecretString::from("sandbox".to_owned()))
    }

    /// A key that no tenant has: its refusal shows how the API refuses keys.
    pub(crate) fn wrong() -> Self {
        Self(SecretString::from("omnidesk-sync-no-such-key".to_owned()))
    }

    #[cfg(test)]
    pub(super) fn of_tests(key: &str) -> Self {
        Self::new(key, "a test").expect("a key")
    }

    fn from_file(path: &Path, time: Duration) -> Result<Self, KeyError> {
        let copy = path.to_owned();
        let key = read_within(move || std::fs::File::open(copy), time)
            .map_err(|source| KeyError::File { path: path.to_owned(), source })?;
        Self::new(&key, &path.display().to_string())
    }

    fn from_command(command: &[String], time: Duration) -> Result<Self, KeyError> {
        let program = command.first().cloned().unwrap_or_default();
        let end = Instant::now() + time;
        let child = Command::new(&program)
            .args(command.get(1..).unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn();
        let mut child = child.map_err(|source| match source.kind() {
            kind if kind == io::ErrorKind::PermissionDenied || is_file_name(Path::new(&program)) => {
                KeyError::Command { program: program.clone(), source }
            }
            _ => misplaced("command", "program"),
        })?;
        let output = child.stdout.take().ok_or_else(|| io::Error::other("it has no output"));
        let result = read_within(|| output, time).and_then(|key| Ok((key, wait_until(&mut child, end)?)));
        if result.is_err() {
            // It may have ended meanwhile.
            let _ = child.kill();
            let _ = child.wait();
        }
        match result {
            Ok((key, status)) if status.success() => Self::new(&key, &program),
            Ok((_, status)) => Err(KeyError::Failed { program, status }),
            Err(source) => Err(KeyError::Command { program, source }),
        }
    }

    fn new(key: &str, origin: &str) -> Result<Self, KeyError> {
        let key = key.trim();
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(KeyError::Unusable(origin.to_owned()));
        }
        Ok(Self(SecretString::from(key.to_owned())))
    }

    /// Tells one key from another, and nothing else.
    pub(crate) fn fingerprint(&self) -> String {
        blake3::derive_key("omnidesk-sync 2026 API key", self.expose().as_bytes())[..8]
            .escape_ascii()
            .to_string()
    }

    pub(super) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Reads a text on a thread of its own: even to open a pipe can take for ever.
fn read_within<R: Read>(
    open: impl FnOnce() -> io::Result<R> + Send + 'static,
    time: Duration,
) -> io::Result<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = open().and_then(|source| source.take(KEY_BYTES_MAX + 1).read_to_end(&mut bytes));
        // Nobody waits any more after the time.
        let _ = sender.send(read.map(|_| bytes));
    });
    let bytes = receiver.recv_timeout(time).unwrap_or_else(|_| Err(too_late()))?;
    if bytes.len() as u64 > KEY_BYTES_MAX {
        return Err(io::Error::other("it gives more than 64 KiB, which is no key"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Waits for the end of a program that has closed its output.
fn wait_until(child: &mut Child, end: Instant) -> io::Result<ExitStatus> {
    const PAUSE: Duration = Duration::from_millis(10);
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(status),
            None if Instant::now() >= end => return Err(too_late()),
            None => thread::sleep(PAUSE),
        }
    }
}

fn too_late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it has given no whole key within 60 seconds")
}

fn misplaced(kind: &'static str, thing: &'static str) -> KeyError {
    KeyError::Misplaced { kind, thing }
}

fn is_variable_name(name: &str) -> bool {
    const NAME_LEN_MAX: usize = 64;
    let is_allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    name.len() <= NAME_LEN_MAX
        && name.bytes().all(is_allowed)
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

fn is_misplaced(path: &Path) -> bool {
    let is_absent = |error: io::Error| error.kind() != io::ErrorKind::PermissionDenied;
    std::fs::symlink_metadata(path).is_err_and(is_absent) && !is_file_name(path)
}

/// Whether a path ends in words, as names of files do. A key has capitals or digits.
fn is_file_name(path: &Path) -> bool {
    const DIGITS_MAX: usize = 2;
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let is_allowed = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(byte);
    !name.is_empty()
        && name.iter().all(is_allowed)
        && name.iter().filter(|byte| byte.is_ascii_digit()).count() <= DIGITS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(source: &KeySource, time: Duration) -> String {
        ApiKey::fetch_within(source, time).expect_err("no key").to_string()
    }

    #[test]
    fn the_source_of_a_key_is_bounded_in_size_and_time() {
        let words =
            |words: &[&str]| KeySource::Command(words.iter().map(|word| (*word).to_owned()).collect());
        let (long, short) = (KEY_TIME_MAX, Duration::from_millis(100));
        let closed = "exec >&-; exec sleep 1000";
        let folder = tempfile::TempDir::new().expect("a folder");
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
        for (source, time, expected) in [
            (words(&["yes"]), long, "more than 64 KiB"),
            (KeySource::File("/dev/zero".into()), long, "more than 64 KiB"),
            (words(&["sleep", "1000"]), short, "within 60 seconds"),
            (words(&["sh", "-c", closed]), short, "within 60 seconds"),
            (KeySource::File(pipe), short, "within 60 seconds"),
        ] {
            let error = error(&source, time);
            assert!(error.contains(expected), "{source:?}: {error}");
        }
        let key = ApiKey::fetch_within(&words(&["echo", "a-key"]), long).expect("a key");
        assert_eq!(key.expose(), "a-key");
    }

    #[test]
    fn a_key_in_the_place_of_a_name_is_not_shown() {
        for key in ["THE-REAL-KEY", "aB3/xYz9+Qw==", "5f4dcc3b5aa765d61d8327deb882cf99"] {
            for source in [
                KeySource::Env(key.to_owned()),
                KeySource::File(key.into()),
                KeySource::File(Path::new("/etc").join(key)),
                KeySource::Command(vec![key.to_owned()]),
                KeySource::Credential(key.to_owned()),
            ] {
                let error = error(&source, KEY_TIME_MAX);
                assert!(!error.contains(key) && error.contains("could be the key itself"), "{error}");
            }
        }
        for (source, shown) in [
            (KeySource::Env("NO_SUCH_KEY_1".to_owned()), "NO_SUCH_KEY_1"),
            (KeySource::File("/nowhere/api-key.txt".into()), "/nowhere/api-key.txt"),
            (KeySource::Command(vec!["no-such-program".to_owned()]), "no-such-program"),
            (KeySource::Credential("api-key".to_owned()), "api-key"),
        ] {
            let error = error(&source, KEY_TIME_MAX);
            assert!(error.contains(shown), "{error}");
        }
    }
}
