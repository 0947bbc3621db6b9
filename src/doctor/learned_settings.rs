//! The settings that a trial has learned, as configuration.

use serde_json::{Value, json};

use crate::omnidesk::{Auth, BodyEncoding, MessagePattern, RefusalTexts};

/// Settings in `[omnidesk]` by which the tenant's answers are understood.
#[derive(Debug)]
pub(crate) struct LearnedSettings {
    pub(super) auth: Auth,
    pub(super) body: BodyEncoding,
    pub(super) texts: RefusalTexts,
}

impl LearnedSettings {
    pub(super) fn json(&self) -> Value {
        let RefusalTexts { exists, not_found, exists_elsewhere, exists_status, not_found_status } =
            &self.texts;
        let texts =
            |patterns: &[MessagePattern]| -> Value { patterns.iter().map(ToString::to_string).collect() };
        let mut omnidesk = json!({ "auth": self.auth, "body": self.body });
        for (key, list) in [
            ("exists_texts", texts(exists)),
            ("not_found_texts", texts(not_found)),
            ("exists_elsewhere_texts", texts(exists_elsewhere)),
            ("exists_status", json!(exists_status)),
            ("not_found_status", json!(not_found_status)),
        ] {
            if list != json!([]) {
                omnidesk[key] = list;
            }
        }
        json!({ "omnidesk": omnidesk })
    }

    /// As configuration.
    pub(crate) fn toml(&self) -> String {
        // Texts and numbers cannot fail to serialise.
        toml::to_string(&self.json()).unwrap_or_default()
    }
}
