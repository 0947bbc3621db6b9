//! From a TOML file to one checked [`Config`].
//!
//! The file becomes checked values here, once; no other room sees TOML. An
//! unknown key is an error with its place and the nearest name. The file holds
//! only the source of the API key and never the key, since messages quote lines.

mod explain;
mod shown;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::Deserialize;

use crate::dispatch::InDoubt;
use crate::guards::GuardSettings;
use crate::mapping::{CustomerSettings, NamePolicy, OperationSettings};
use crate::omnidesk::{
    ApiSettings, Auth, BaseUrl, BodyEncoding, MessagePattern, RefusalTexts, SecretSource,
    custom_name_problems,
};
use crate::reconcile::MissingAction;
use crate::report::{KeepRuns, NotifySettings};
use crate::source;
use crate::units::{Amount, Period, Rate, RateSchedule};

/// The path that is read unless `--config` names another.
pub(crate) const CONFIG_DEFAULT: &str = "omnidesk-sync.toml";

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{path}: {source}\nhint: `omnidesk-sync init EXPORT` proposes a configuration")]
    Read { path: PathBuf, source: std::io::Error },
    /// At a place in the file.
    #[error("{0}")]
    Syntax(String),
    /// Between keys, and so without a place.
    #[error("{path}:\n{}", problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n"))]
    Problems { path: PathBuf, problems: Vec<String> },
}

/// A checked configuration.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub omnidesk: OmnideskSection,
    #[serde(default)]
    pub limits: LimitsSection,
    #[serde(default)]
    pub input: source::InputSettings,
    pub customer: CustomerSettings,
    #[serde(default)]
    pub operation: OperationSettings,
    #[serde(default)]
    pub missing: MissingSection,
    #[serde(default)]
    pub guard: GuardSettings,
    #[serde(default)]
    pub checkpoint: CheckpointSection,
    #[serde(default)]
    pub report: ReportSection,
    #[serde(default)]
    pub notify: NotifySettings,
    #[serde(default)]
    pub verify: VerifySection,
}

/// `[omnidesk]`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OmnideskSection {
    pub base_url: BaseUrl,
    #[serde(default = "default_key")]
    pub api_key: SecretSource,
    #[serde(default)]
    pub auth: Auth,
    #[serde(default)]
    pub body: BodyEncoding,
    #[serde(default)]
    pub custom_field_prefix: String,
    /// How to treat names that a tenant may refuse.
    #[serde(default)]
    pub names: NamePolicy,
    /// For one exchange, from connecting to the last byte.
    #[serde(default = "default_timeout")]
    pub timeout: Period,
    /// How to treat a create whose answer was lost.
    #[serde(default)]
    pub in_doubt: InDoubt,
    /// How long the server may still work on a call whose answer was lost.
    #[serde(default = "default_timeout")]
    pub settle: Period,
    /// Refusals that mean "exists already", beside the built-in ones.
    #[serde(default)]
    pub exists_texts: Vec<MessagePattern>,
    /// Refusals that mean "no such customer", beside the built-in ones.
    #[serde(default)]
    pub not_found_texts: Vec<MessagePattern>,
    /// Refusals that mean "the address is another customer's", beside the built-in ones.
    #[serde(default)]
    pub exists_elsewhere_texts: Vec<MessagePattern>,
    /// Statuses that mean "exists already" without words.
    #[serde(default)]
    pub exists_status: Vec<u16>,
    /// Statuses that mean "no such customer" without words.
    #[serde(default)]
    pub not_found_status: Vec<u16>,
}

impl OmnideskSection {
    /// What refusals mean.
    pub fn texts(&self) -> RefusalTexts {
        RefusalTexts {
            exists: self.exists_texts.clone(),
            not_found: self.not_found_texts.clone(),
            exists_elsewhere: self.exists_elsewhere_texts.clone(),
            exists_status: self.exists_status.clone(),
            not_found_status: self.not_found_status.clone(),
        }
    }
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSection {
    /// Requests of all calls together.
    pub rate: RateSchedule,
    /// Calls on their way at once.
    pub concurrency: NonZeroU32,
    /// Attempts of one call.
    pub attempts: NonZeroU32,
    /// How long the run waits for a server that worked before and now fails.
    pub patience: Period,
    /// Failed calls before the run stops.
    pub max_errors: Amount,
    pub max_duration: Option<Period>,
}

impl Default for LimitsSection {
    fn default() -> Self {
        const FIVE: NonZeroU32 = NonZeroU32::new(5).unwrap();
        const EIGHT: NonZeroU32 = NonZeroU32::new(8).unwrap();
        Self {
            rate: Rate { calls: FIVE, per: Duration::from_secs(1) }.into(),
            concurrency: EIGHT,
            attempts: FIVE,
            patience: Period(Duration::from_secs(3600)),
            max_errors: Amount::Percent(5.0),
            max_duration: None,
        }
    }
}

/// `[missing]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MissingSection {
    pub action: MissingAction,
}

/// `[checkpoint]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointSection {
    pub path: PathBuf,
}

impl Default for CheckpointSection {
    fn default() -> Self {
        Self { path: "omnidesk-sync.checkpoint".into() }
    }
}

/// `[verify]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VerifySection {
    /// The names of brands in Omnidesk's list of customers, by their numbers.
    pub brands: BTreeMap<u64, String>,
}

/// `[report]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReportSection {
    pub dir: PathBuf,
    pub keep_runs: KeepRuns,
    /// Between two lines of progress where there is no terminal.
    pub heartbeat: Period,
}

impl Default for ReportSection {
    fn default() -> Self {
        Self {
            dir: "runs".into(),
            keep_runs: KeepRuns::default(),
            heartbeat: Period(Duration::from_secs(60)),
        }
    }
}

fn default_key() -> SecretSource {
    SecretSource::Env("OMNIDESK_API_KEY".to_owned())
}

fn default_timeout() -> Period {
    Period(Duration::from_secs(30))
}

impl Config {
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let mut config = Self::parse(&text, path)?;
        config.resolve_paths(path.parent().unwrap_or(Path::new("")));
        Ok(config)
    }

    /// Relative paths are relative to the folder of the configuration, so that a run
    /// is the same wherever it is started.
    fn resolve_paths(&mut self, folder: &Path) {
        let resolve = |path: &mut PathBuf| *path = folder.join(&*path);
        resolve(&mut self.checkpoint.path);
        resolve(&mut self.report.dir);
        self.omnidesk.api_key.resolve(folder);
        self.notify.resolve_paths(folder);
    }

    /// `path` is for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text)
            .map_err(|error| ConfigError::Syntax(explain::explain(&error, text, path)))?;
        let problems = config.problems();
        if problems.is_empty() {
            return Ok(config);
        }
        Err(ConfigError::Problems { path: path.to_owned(), problems })
    }

    /// The JSON schema of the file, for editors. Draft 7 is what most of them know.
    pub(crate) fn schema() -> Schema {
        SchemaSettings::draft07().into_generator().into_root_schema_for::<Self>()
    }

    /// How calls are sent.
    pub(crate) fn api_settings(&self) -> ApiSettings {
        ApiSettings {
            base_url: self.omnidesk.base_url.clone(),
            auth: self.omnidesk.auth,
            body: self.omnidesk.body,
            timeout: self.omnidesk.timeout.0,
            connections: self.limits.concurrency.get() as usize,
        }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let names = self.customer.custom.keys().map(String::as_str);
        problems.extend(custom_name_problems(names, &self.omnidesk.custom_field_prefix));
        problems.extend(self.customer.problems());
        if self.omnidesk.timeout.0.is_zero() {
            problems.push("omnidesk.timeout: a call needs some time, such as 30s".to_owned());
        }
        let key_problem = self.omnidesk.api_key.problem();
        problems.extend(key_problem.map(|problem| format!("omnidesk.api_key: {problem}")));
        if self.report.heartbeat.0.is_zero() {
            problems.push("report.heartbeat: lines need some time between them, such as 60s".to_owned());
        }
        problems.extend(self.notify.problems());
        let names: BTreeSet<&String> = self.verify.brands.values().collect();
        if names.len() < self.verify.brands.len() {
            problems
                .push("verify.brands: the list shows names alone, so each brand needs its own".to_owned());
        }
        let statuses = [
            ("exists_status", &self.omnidesk.exists_status),
            ("not_found_status", &self.omnidesk.not_found_status),
        ];
        for (key, statuses) in statuses {
            if !statuses.iter().all(|status| RefusalTexts::is_possible_status(*status)) {
                problems.push(format!(
                    "omnidesk.{key}: only a status from 400 to 499, and not 408, 425 or 429, can be the API's refusal"
                ));
            }
        }
        problems
    }
}
