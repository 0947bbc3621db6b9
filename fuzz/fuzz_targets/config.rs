//! A text, with and without a key: a configuration, or an error that does not show
//! the key.
#![no_main]

#[allow(dead_code, reason = "each target uses some of it")]
#[path = "../../tests/it/properties.rs"]
mod properties;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((form, bytes)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    properties::check_config(text);
    // The key comes before the first line that begins with `key`, or last.
    let (before, after) = text.split_at(text.find("\nkey").unwrap_or(text.len()));
    properties::check_config_hides_key(before, *form, after);
});
