//! The API key. It is never shown.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::secret::{SecretError, SecretName, SecretSource};

const NAME: SecretName = SecretName { noun: "API key", setting: "api_key in [omnidesk]" };

/// For a file or a program, also if a person has to type a password first.
const KEY_TIME_MAX: Duration = Duration::from_secs(60);

/// The key. Its `Debug` is masked; only this room can read it.
#[derive(Debug, Clone)]
pub struct ApiKey(SecretString);

impl ApiKey {
    pub(crate) fn fetch(source: &SecretSource) -> Result<Self, SecretError> {
        let key = source.read(NAME, KEY_TIME_MAX)?;
        Self::new(&key).ok_or_else(|| SecretError::Unusable { secret: NAME, origin: source.to_string() })
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
        Self::new(key).expect("a key")
    }

    fn new(key: &str) -> Option<Self> {
        let key = key.trim();
        let is_usable = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
        is_usable.then(|| Self(SecretString::from(key.to_owned())))
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
