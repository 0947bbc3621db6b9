//! What the guards said about a run that began.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::verdict::{GuardSettings, GuardVerdict};

/// A guard that would have blocked the run, and that an option overrode.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct OverriddenGuard {
    guard: String,
    message: String,
}

impl From<GuardVerdict> for OverriddenGuard {
    fn from(verdict: GuardVerdict) -> Self {
        Self { guard: verdict.guard.to_owned(), message: verdict.message }
    }
}

/// Those of an earlier execution of the run, by its summary.
pub(crate) fn overridden_before(summary: &Value) -> Vec<OverriddenGuard> {
    let results = summary["guards"].as_array().into_iter().flatten();
    let overridden = results.filter(|result| result["verdict"] == "overridden");
    overridden.filter_map(|result| OverriddenGuard::deserialize(result).ok()).collect()
}

/// Each guard with its setting and verdict: `passed`, `overridden`, `stopped` if it
/// ended the run later, or `off`.
pub(crate) fn guard_results(
    settings: &GuardSettings,
    overridden: &[OverriddenGuard],
    stopped: Option<&str>,
    is_part: bool,
) -> Value {
    let settings = json!(settings);
    let names = settings.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    // Some guards have no key.
    let others =
        overridden.iter().map(|guard| guard.guard.as_str()).filter(|name| settings.get(name).is_none());
    let result = |name: &str| {
        let setting = &settings[name];
        let found = overridden.iter().find(|guard| guard.guard == name);
        let is_compared = matches!(name, "min_rows" | "min_fill");
        let (verdict, message) = match (found, setting) {
            _ if stopped == Some(name) => ("stopped", None),
            (Some(found), _) => ("overridden", Some(found.message.as_str())),
            _ if is_part && is_compared => ("off", Some("a part is not compared with the whole base")),
            (None, Value::String(policy)) if policy == "report" => ("off", Some("it only reports")),
            (None, Value::String(policy)) if policy == "ignore" => ("off", None),
            (None, Value::Number(number)) if number.as_u64() == Some(0) => ("off", None),
            _ => ("passed", None),
        };
        json!({ "guard": name, "setting": setting, "verdict": verdict, "message": message })
    };
    names.chain(others).map(result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_guard_has_one_verdict_and_a_resumed_run_keeps_the_overridden_ones() {
        let verdict = |guard| GuardVerdict::new(guard, format!("{guard} blocks"), String::new());
        let overridden = ["min_rows", "purge_and_recreate"].map(|guard| verdict(guard).into());
        let settings = GuardSettings::default();
        let results = guard_results(&settings, &overridden, Some("canary"), false);
        let verdict = |name: &str, results: &Value| {
            let mut results = results.as_array().expect("results").iter();
            results.find(|result| result["guard"] == name).expect("a result")["verdict"].clone()
        };
        for (name, expected) in [
            ("canary", "stopped"),
            ("min_rows", "overridden"),
            ("purge_and_recreate", "overridden"),
            ("max_purge", "passed"),
            ("shared_addresses", "off"),
        ] {
            assert_eq!(verdict(name, &results), expected, "{name}");
        }
        assert_eq!(overridden_before(&json!({ "guards": results })), overridden);
        assert_eq!(verdict("min_fill", &guard_results(&settings, &[], None, true)), "off");
    }
}
