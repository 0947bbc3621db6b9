//! Where a secret is kept, such as the API key. The secret itself is never shown.
//!
//! A secret may have been put where the name of its source belongs. So a name is
//! shown only if it looks like one, or if a source of that name is there.

use std::fmt;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::units::Period;

/// Where a secret is kept. The secret itself is never in the configuration: error
/// messages print its lines.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum SecretSource {
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

/// A secret in messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SecretName {
    /// Such as "API key".
    pub(crate) noun: &'static str,
    /// Such as "api_key in [omnidesk]".
    pub(crate) setting: &'static str,
}

/// More than any key.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Why there is no secret. It holds no part of the secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error(
        "{}: there is no such {thing}, and the text behind {kind} does not look like the name of one. It could be the {} itself, so it is not shown; write the name of the {thing} that has it",
        .secret.setting, .secret.noun
    )]
    Misplaced { secret: SecretName, kind: &'static str, thing: &'static str },
    #[error(
        "the environment variable {variable} is not set; put the {} there, or change {}",
        .secret.noun, .secret.setting
    )]
    NoVariable { secret: SecretName, variable: String },
    #[error("the {}'s file {path}: {source}", .secret.noun)]
    File { secret: SecretName, path: PathBuf, source: io::Error },
    #[error(
        "CREDENTIALS_DIRECTORY is not set, so that there is no credential {credential}; systemd sets it for a service with LoadCredential={credential}:FILE, else change {}",
        .secret.setting
    )]
    NoCredentials { secret: SecretName, credential: String },
    #[error("the {}'s command {program}: {source}", .secret.noun)]
    Command { secret: SecretName, program: String, source: io::Error },
    #[error("the {}'s command {program} ended with {status}", .secret.noun)]
    Failed { secret: SecretName, program: String, status: ExitStatus },
    #[error("the {} from {origin} is empty or holds characters that no HTTP header can carry", .secret.noun)]
    Unusable { secret: SecretName, origin: String },
}

/// Only of a source that was found: any other text could be the secret itself.
impl fmt::Display for SecretSource {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Env(name) => write!(out, "the environment variable {name}"),
            Self::File(path) => write!(out, "the file {}", path.display()),
            Self::Command(words) => write!(out, "the command {}", words.first().map_or("", String::as_str)),
            Self::Credential(name) => write!(out, "the credential {name}"),
        }
    }
}

impl SecretSource {
    /// Takes at most `time`.
    pub(crate) fn read(&self, secret: SecretName, time: Duration) -> Result<String, SecretError> {
        let misplaced = |kind, thing| SecretError::Misplaced { secret, kind, thing };
        match self {
            Self::Env(variable) => std::env::var(variable).map_err(|_| match is_variable_name(variable) {
                true => SecretError::NoVariable { secret, variable: variable.clone() },
                false => misplaced("env", "environment variable"),
            }),
            Self::File(path) if is_misplaced(path) => Err(misplaced("file", "file")),
            Self::File(path) => read_file(path, secret, time),
            Self::Command(words) => read_command(words, secret, time),
            Self::Credential(credential) => {
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY").unwrap_or_default();
                let path = Path::new(&folder).join(credential);
                match folder.is_empty() {
                    _ if is_misplaced(&path) => Err(misplaced("credential", "credential")),
                    true => Err(SecretError::NoCredentials { secret, credential: credential.clone() }),
                    false => read_file(&path, secret, time),
                }
            }
        }
    }

    /// Makes a relative path relative to the folder of the configuration.
    pub(crate) fn resolve(&mut self, folder: &Path) {
        match self {
            Self::File(path) => *path = folder.join(&*path),
            // A name without a slash is searched for in PATH.
            Self::Command(words) => {
                let program = words.first_mut().filter(|program| program.contains('/'));
                program.into_iter().for_each(|word| *word = folder.join(&*word).display().to_string());
            }
            Self::Env(_) | Self::Credential(_) => {}
        }
    }

    /// Why it cannot be one at all.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        match self {
            Self::Command(words) if words.is_empty() => Some("the command has no program"),
            Self::Credential(name) if matches!(name.as_str(), "" | "." | "..") || name.contains('/') => {
                Some("a credential has a name, as in LoadCredential=, and no path")
            }
            _ => None,
        }
    }

    /// Whether every user of this machine can read it.
    pub(crate) fn is_public(&self) -> bool {
        const READABLE_BY_OTHERS: u32 = 0o004;
        match self {
            Self::File(path) => std::fs::metadata(path)
                .is_ok_and(|file| file.is_file() && file.permissions().mode() & READABLE_BY_OTHERS != 0),
            Self::Env(_) | Self::Command(_) | Self::Credential(_) => false,
        }
    }
}

fn read_file(path: &Path, secret: SecretName, time: Duration) -> Result<String, SecretError> {
    let copy = path.to_owned();
    read_within(move || std::fs::File::open(copy), time).map_err(|source| SecretError::File {
        secret,
        path: path.to_owned(),
        source,
    })
}

fn read_command(words: &[String], secret: SecretName, time: Duration) -> Result<String, SecretError> {
    let program = words.first().cloned().unwrap_or_default();
    let end = Instant::now() + time;
    let child = Command::new(&program)
        .args(words.get(1..).unwrap_or_default())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn();
    let mut child = child.map_err(|source| match source.kind() {
        kind if kind == io::ErrorKind::PermissionDenied || is_file_name(Path::new(&program)) => {
            SecretError::Command { secret, program: program.clone(), source }
        }
        _ => SecretError::Misplaced { secret, kind: "command", thing: "program" },
    })?;
    let output = child.stdout.take().ok_or_else(|| io::Error::other("it has no output"));
    let result = read_within(|| output, time).and_then(|text| Ok((text, wait_until(&mut child, end, time)?)));
    if result.is_err() {
        // It may have ended meanwhile.
        let _ = child.kill();
        let _ = child.wait();
    }
    match result {
        Ok((text, status)) if status.success() => Ok(text),
        Ok((_, status)) => Err(SecretError::Failed { secret, program, status }),
        Err(source) => Err(SecretError::Command { secret, program, source }),
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
        let read = open().and_then(|source| source.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes));
        // Nobody waits any more after the time.
        let _ = sender.send(read.map(|_| bytes));
    });
    let bytes = receiver.recv_timeout(time).unwrap_or_else(|_| Err(too_late(time)))?;
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        return Err(io::Error::other("it gives more than 64 KiB, which is too long"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Waits for the end of a program that has closed its output.
fn wait_until(child: &mut Child, end: Instant, time: Duration) -> io::Result<ExitStatus> {
    const PAUSE: Duration = Duration::from_millis(10);
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(status),
            None if Instant::now() >= end => return Err(too_late(time)),
            None => thread::sleep(PAUSE),
        }
    }
}

fn too_late(time: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("it is not complete within {}", Period(time)))
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
    let is_url = path.as_os_str().as_encoded_bytes().windows(2).any(|bytes| bytes == b":/");
    std::fs::symlink_metadata(path).is_err_and(is_absent) && (is_url || !is_file_name(path))
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

    const KEY: SecretName = SecretName { noun: "API key", setting: "api_key in [omnidesk]" };
    const LONG: Duration = Duration::from_secs(60);

    fn error(source: &SecretSource, time: Duration) -> String {
        source.read(KEY, time).expect_err("no key").to_string()
    }

    #[test]
    fn the_source_of_a_key_is_bounded_in_size_and_time() {
        let words =
            |words: &[&str]| SecretSource::Command(words.iter().map(|word| (*word).to_owned()).collect());
        let short = Duration::from_millis(100);
        let closed = "exec >&-; exec sleep 1000";
        let folder = tempfile::TempDir::new().expect("a folder");
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
        for (source, time, expected) in [
            (words(&["yes"]), LONG, "more than 64 KiB"),
            (SecretSource::File("/dev/zero".into()), LONG, "more than 64 KiB"),
            (words(&["sleep", "1000"]), short, "not complete within 100 ms"),
            (words(&["sh", "-c", closed]), short, "not complete within 100 ms"),
            (SecretSource::File(pipe), short, "not complete within 100 ms"),
        ] {
            let error = error(&source, time);
            assert!(error.contains(expected), "{source:?}: {error}");
        }
        assert_eq!(words(&["echo", "a-key"]).read(KEY, LONG).expect("a key"), "a-key\n");
    }

    #[test]
    fn a_secret_in_the_place_of_a_name_is_not_shown() {
        for secret in [
            "THE-REAL-KEY",
            "aB3/xYz9+Qw==",
            "5f4dcc3b5aa765d61d8327deb882cf99",
            "https://hooks.example.org/services/secret",
        ] {
            for source in [
                SecretSource::Env(secret.to_owned()),
                SecretSource::File(secret.into()),
                SecretSource::File(Path::new("/etc").join(secret)),
                SecretSource::Credential(secret.to_owned()),
            ] {
                let error = error(&source, LONG);
                assert!(!error.contains(secret) && error.contains("could be the API key itself"), "{error}");
            }
        }
        for (source, shown) in [
            (SecretSource::Env("NO_SUCH_KEY_1".to_owned()), "NO_SUCH_KEY_1"),
            (SecretSource::File("/nowhere/api-key.txt".into()), "/nowhere/api-key.txt"),
            (SecretSource::Command(vec!["no-such-program".to_owned()]), "no-such-program"),
            (SecretSource::Credential("api-key".to_owned()), "api-key"),
        ] {
            let error = error(&source, LONG);
            assert!(error.contains(shown), "{error}");
        }
    }
}
