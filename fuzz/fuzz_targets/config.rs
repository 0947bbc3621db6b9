//! A text, as it is and with a key in it → a configuration or an error that
//! does not tell the key.
#![no_main]

#[allow(dead_code, reason = "each target judges by some of them")]
#[path = "../../tests/it/properties.rs"]
mod properties;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((form, bytes)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    properties::config_is_read_or_explained(text);
    // The key goes in front of the first line that says `key`, else behind all.
    let (before, after) = text.split_at(text.find("\nkey").unwrap_or(text.len()));
    properties::config_keeps_the_key_quiet(before, *form, after);
});
