//! Bytes, and one that picks the settings: rows.
#![no_main]

#[allow(dead_code, reason = "each target uses some of it")]
#[path = "../../tests/it/properties.rs"]
mod properties;

use libfuzzer_sys::fuzz_target;
use omnidesk_sync::source::{DelimiterSetting, EncodingSetting, InputSettings};

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_last() else { return };
    let delimiters = [None, Some(b','), Some(b';'), Some(b'\t')];
    let encodings = [None, None, Some(encoding_rs::WINDOWS_1252), Some(encoding_rs::SHIFT_JIS)];
    let settings = InputSettings {
        delimiter: DelimiterSetting(delimiters[usize::from(choice & 3)]),
        encoding: EncodingSetting(encodings[usize::from(choice >> 2 & 3)].map(Into::into)),
        ..InputSettings::default()
    };
    properties::check_rows(bytes, &settings);
});
