//! From a TOML file to one checked [`Config`].
//!
//! What the file says is turned into checked values once, here; beyond this
//! room nobody sees TOML. Unknown keys are errors with their place and the
//! near name. The API key is never in the file, only where to find it, since
//! lines of the file are printed in messages.

mod explain;

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::dispatch::InDoubt;
use crate::guards::GuardSettings;
use crate::mapping::{CustomerSettings, NamePolicy, OperationSettings};
use crate::omnidesk::{Auth, BaseUrl, BodyEncoding, KeySource, RefusalTexts, check_custom_names};
use crate::report::{KeepRuns, NotifySettings};
use crate::source;
use crate::units::{Amount, Period, Rate};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no file.
    #[error("{path}: {source}; `omnidesk-sync init EXPORT` proposes a configuration")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is wrong, at a place.
    #[error("{0}")]
    Wrong(String),
    /// Several things are wrong that have no place of their own.
    #[error("{path}:\n{}", problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n"))]
    Problems {
        /// The file.
        path: PathBuf,
        /// One sentence each.
        problems: Vec<String>,
    },
}

/// A checked configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The tenant and how to talk to it.
    pub omnidesk: OmnideskSection,
    /// How fast, how often, how long.
    #[serde(default)]
    pub limits: LimitsSection,
    /// How the export is written.
    #[serde(default)]
    pub input: source::InputSettings,
    /// What becomes which field.
    pub customer: CustomerSettings,
    /// What rows ask for.
    #[serde(default)]
    pub operation: OperationSettings,
    /// Customers that an export no longer holds.
    #[serde(default)]
    pub missing: MissingSection,
    /// What must not happen unasked.
    #[serde(default)]
    pub guard: GuardSettings,
    /// Where progress is kept.
    #[serde(default)]
    pub checkpoint: CheckpointSection,
    /// Where results go.
    #[serde(default)]
    pub report: ReportSection,
    /// Who is told that a run began, and how it ended.
    #[serde(default)]
    pub notify: NotifySettings,
}

/// `[omnidesk]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OmnideskSection {
    /// The tenant's address.
    pub base_url: BaseUrl,
    /// Where the key is kept.
    #[serde(default = "default_key")]
    pub api_key: KeySource,
    /// Where the key goes.
    #[serde(default)]
    pub auth: Auth,
    /// How bodies are written.
    #[serde(default)]
    pub body: BodyEncoding,
    /// In front of every custom field's name.
    #[serde(default)]
    pub custom_field_prefix: String,
    /// Names outside the pattern.
    #[serde(default)]
    pub names: NamePolicy,
    /// For one exchange.
    #[serde(default = "default_timeout")]
    pub timeout: Period,
    /// A create whose answer was lost.
    #[serde(default)]
    pub in_doubt: InDoubt,
    /// How long the server may still be at work on a lost call.
    #[serde(default = "default_timeout")]
    pub settle: Period,
    /// The API's words for "exists already".
    #[serde(default = "default_exists")]
    pub exists_texts: Vec<String>,
    /// The API's words for "there is no such customer".
    #[serde(default = "default_not_found")]
    pub not_found_texts: Vec<String>,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSection {
    /// Attempts of all calls together.
    pub rate: Rate,
    /// Calls under way at once.
    pub concurrency: NonZeroU32,
    /// Attempts of one call.
    pub attempts: NonZeroU32,
    /// How long a server that has worked, and does no more, is waited for.
    pub patience: Period,
    /// Failed calls before the run stops.
    pub max_errors: Amount,
    /// How long a run may last.
    pub max_duration: Option<Period>,
}

impl Default for LimitsSection {
    fn default() -> Self {
        const FIVE: NonZeroU32 = NonZeroU32::new(5).unwrap();
        const EIGHT: NonZeroU32 = NonZeroU32::new(8).unwrap();
        Self {
            rate: Rate { calls: FIVE, per: std::time::Duration::from_secs(1) },
            concurrency: EIGHT,
            attempts: FIVE,
            patience: Period(std::time::Duration::from_secs(3600)),
            max_errors: Amount::Percent(5.0),
            max_duration: None,
        }
    }
}

/// `[missing]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MissingSection {
    /// What to do about them.
    pub action: MissingAction,
}

/// `action`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MissingAction {
    /// Nothing.
    #[default]
    Ignore,
    /// Say who.
    Report,
    /// Purge them.
    Purge,
}

/// `[checkpoint]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointSection {
    /// The file.
    pub path: PathBuf,
}

impl Default for CheckpointSection {
    fn default() -> Self {
        Self { path: "omnidesk-sync.checkpoint".into() }
    }
}

/// `[report]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReportSection {
    /// The folder.
    pub dir: PathBuf,
    /// How many runs' folders are kept in it.
    pub keep_runs: KeepRuns,
    /// Between two lines of progress where there is no terminal.
    pub heartbeat: Period,
}

impl Default for ReportSection {
    fn default() -> Self {
        Self {
            dir: "runs".into(),
            keep_runs: KeepRuns::default(),
            heartbeat: Period(std::time::Duration::from_secs(60)),
        }
    }
}

fn default_key() -> KeySource {
    KeySource::Env("OMNIDESK_API_KEY".to_owned())
}

fn default_timeout() -> Period {
    Period(std::time::Duration::from_secs(30))
}

fn default_exists() -> Vec<String> {
    RefusalTexts::default().exists
}

fn default_not_found() -> Vec<String> {
    RefusalTexts::default().not_found
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// The place and what to do: see [`ConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Checks the text of a file.
    ///
    /// # Errors
    ///
    /// As [`Config::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self =
            toml::from_str(text).map_err(|error| ConfigError::Wrong(explain::explain(&error, text, path)))?;
        let problems = config.problems();
        if problems.is_empty() {
            return Ok(config);
        }
        Err(ConfigError::Problems { path: path.to_owned(), problems })
    }

    /// What is wrong between keys, all of it.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let names = self.customer.custom.keys().map(String::as_str);
        if let Err(collisions) = check_custom_names(names, &self.omnidesk.custom_field_prefix) {
            problems.extend(collisions);
        }
        if self.omnidesk.timeout.0.is_zero() {
            problems.push("omnidesk.timeout: no call can be made in no time".to_owned());
        }
        match &self.omnidesk.api_key {
            KeySource::Command(words) if words.is_empty() => {
                problems.push("omnidesk.api_key: the command has no program".to_owned());
            }
            KeySource::Credential(name) if matches!(name.as_str(), "" | "." | "..") || name.contains('/') => {
                problems.push(
                    "omnidesk.api_key: a credential has a name, as in LoadCredential=, and no path"
                        .to_owned(),
                );
            }
            _ => {}
        }
        if self.report.heartbeat.0.is_zero() {
            problems
                .push("report.heartbeat: there must be some time between two lines, such as 60s".to_owned());
        }
        problems.extend(self.notify.problems());
        let texts = [
            ("exists_texts", &self.omnidesk.exists_texts),
            ("not_found_texts", &self.omnidesk.not_found_texts),
        ];
        for (key, texts) in texts {
            if texts.iter().any(|text| text.trim().is_empty()) {
                problems.push(format!("omnidesk.{key}: a blank text would match every refusal"));
            }
        }
        problems
    }
}
