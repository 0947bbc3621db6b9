//! The API key and its source. The key is never shown.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// `api_key`: where the key is kept. The key itself is never in the
/// configuration: error messages print its lines.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
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

/// Why there is no key. It holds no part of the key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error(
        "the environment variable {0} is not set; put the API key there, or change api_key in [omnidesk]"
    )]
    NoVariable(String),
    #[error("the API key's file {path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error(
        "CREDENTIALS_DIRECTORY is not set, so that there is no credential {0}; systemd sets it for a service with LoadCredential={0}:FILE, else change api_key in [omnidesk]"
    )]
    NoCredentials(String),
    #[error("the API key's command {program}: {source}")]
    Command { program: String, source: std::io::Error },
    #[error("the API key's command {program} ended with {status}")]
    Failed { program: String, status: std::process::ExitStatus },
    #[error("the API key from {0} is empty or holds characters that no HTTP header can carry")]
    Unusable(String),
}

/// The key. Its `Debug` is masked; only this room can read it.
#[derive(Debug, Clone)]
pub struct ApiKey(SecretString);

impl ApiKey {
    pub(crate) fn fetch(source: &KeySource) -> Result<Self, KeyError> {
        match source {
            KeySource::Env(name) => {
                let key = std::env::var(name).map_err(|_| KeyError::NoVariable(name.clone()))?;
                Self::new(&key, name)
            }
            KeySource::File(path) => Self::from_file(path),
            KeySource::Command(command) => Self::from_command(command),
            KeySource::Credential(name) => {
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty());
                let folder = folder.ok_or_else(|| KeyError::NoCredentials(name.clone()))?;
                Self::from_file(&Path::new(&folder).join(name))
            }
        }
    }

    /// The in-process sandbox takes any key.
    pub fn for_sandbox() -> Self {
        Self(SecretString::from("sandbox".to_owned()))
    }

    #[cfg(test)]
    pub(super) fn of_tests(key: &str) -> Self {
        Self::new(key, "a test").expect("a key")
    }

    fn from_file(path: &Path) -> Result<Self, KeyError> {
        let key = std::fs::read_to_string(path)
            .map_err(|source| KeyError::File { path: path.to_owned(), source })?;
        Self::new(&key, &path.display().to_string())
    }

    fn from_command(command: &[String]) -> Result<Self, KeyError> {
        let program = command.first().cloned().unwrap_or_default();
        let output = Command::new(&program)
            .args(command.get(1..).unwrap_or_default())
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|source| KeyError::Command { program: program.clone(), source })?;
        if !output.status.success() {
            return Err(KeyError::Failed { program, status: output.status });
        }
        Self::new(&String::from_utf8_lossy(&output.stdout), &program)
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
