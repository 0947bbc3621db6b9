//! Bytes: rows of JSON lines.
#![no_main]

#[allow(dead_code, reason = "each target uses some of it")]
#[path = "../../tests/it/properties.rs"]
mod properties;

use libfuzzer_sys::fuzz_target;
use omnidesk_sync::source::{FormatSetting, InputSettings};

fuzz_target!(|data: &[u8]| {
    let settings = InputSettings { format: FormatSetting::Jsonl, ..InputSettings::default() };
    properties::check_rows(data, &settings);
});
