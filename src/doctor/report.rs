//! What `doctor` found, as text and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::learned_settings::LearnedSettings;

/// How a check ended. A later one outweighs those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Good,
    /// A person has to look.
    Attention,
    /// The API cannot be reached, or refuses the key.
    Unreachable,
    /// The configuration cannot be used.
    Misconfigured,
}

#[derive(Debug)]
pub(crate) struct Check {
    name: &'static str,
    verdict: Verdict,
    message: String,
    hint: Option<String>,
}

#[derive(Debug, Default)]
pub(crate) struct DoctorReport {
    checks: Vec<Check>,
    /// Of a trial that went through.
    pub(super) settings: Option<LearnedSettings>,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Attention => "look",
            Self::Unreachable => "unreachable",
            Self::Misconfigured => "wrong",
        }
    }
}

impl Check {
    pub(super) fn new(name: &'static str, verdict: Verdict, message: impl Into<String>) -> Self {
        Self { name, verdict, message: message.into(), hint: None }
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl DoctorReport {
    pub(super) fn add(&mut self, check: Check) {
        self.checks.push(check);
    }

    pub(super) fn good(&mut self, name: &'static str, message: impl Into<String>) {
        self.add(Check::new(name, Verdict::Good, message));
    }

    pub(super) fn has(&self, verdict: Verdict) -> bool {
        self.checks.iter().any(|check| check.verdict == verdict)
    }

    /// The gravest verdict.
    pub(crate) fn verdict(&self) -> Verdict {
        self.checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Good)
    }

    pub(crate) fn settings(&self) -> Option<&LearnedSettings> {
        self.settings.as_ref()
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for Check { name, verdict, message, hint } in &self.checks {
            let _ = writeln!(text, "{:<12} {name:<14} {message}", verdict.as_str());
            if let Some(hint) = hint {
                let _ = writeln!(text, "{:<12} {:<14} hint: {hint}", "", "");
            }
        }
        text
    }

    pub(crate) fn json(&self, exit_code: u8) -> Value {
        let check = |check: &Check| {
            json!({
                "check": check.name,
                "verdict": check.verdict.as_str(),
                "message": check.message,
                "hint": check.hint,
            })
        };
        json!({
            "schema": 1,
            "exit_code": exit_code,
            "checks": self.checks.iter().map(check).collect::<Vec<_>>(),
            "settings": self.settings.as_ref().map(LearnedSettings::json),
        })
    }
}
