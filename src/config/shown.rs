//! The settings of a run as a person sees them: the page of a run goes out by mail.

use serde_json::{Value, json};

use super::Config;

impl Config {
    /// Settings that decide how a run goes, by section. No key, no path of one and no
    /// address of a monitor is among them, and no word of the mapping.
    pub(crate) fn shown(&self) -> Value {
        let Self { omnidesk, limits, input, operation, missing, report, .. } = self;
        json!({
            "omnidesk": {
                "base_url": omnidesk.base_url.to_string(),
                "auth": omnidesk.auth,
                "body": omnidesk.body,
                "names": omnidesk.names,
                "timeout": omnidesk.timeout.to_string(),
                "in_doubt": omnidesk.in_doubt,
                "settle": omnidesk.settle.to_string(),
            },
            "limits": {
                "rate": limits.rate.to_string(),
                "concurrency": limits.concurrency,
                "attempts": limits.attempts,
                "patience": limits.patience.to_string(),
                "max_errors": limits.max_errors,
                "max_duration": limits.max_duration.map(|duration| duration.to_string()),
            },
            "input": { "format": input.format, "encoding": input.encoding },
            "operation": {
                "default": operation.default,
                "on_exists": operation.on_exists,
                "on_missing": operation.on_missing,
            },
            "missing": { "action": missing.action.as_str() },
            "report": { "keep_runs": report.keep_runs.0.map_or("all".into(), Value::from) },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn no_secret_is_shown() {
        let config = r#"
            [omnidesk]
            base_url = "https://example.org"
            api_key = { command = ["pass", "hush"] }
            [customer]
            primary_id = "id"
            brand_id = { value = 2 }
            [notify]
            success = "https://hc.example.org/hush"
        "#;
        let config = Config::parse(config, Path::new("")).expect("a configuration");
        let shown = config.shown();
        assert_eq!(shown["limits"]["rate"], "5/s");
        assert!(!shown.to_string().contains("hush"), "{shown}");
    }
}
