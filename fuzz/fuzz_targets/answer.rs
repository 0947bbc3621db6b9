//! Status, `Retry-After` and body: a meaning.
#![no_main]

#[allow(dead_code, reason = "each target uses some of it")]
#[path = "../../tests/it/properties.rs"]
mod properties;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, u8, &str, &[u8])| {
    let (status, kind, retry_after, body) = input;
    properties::check_answer(status % 700, kind, retry_after, body);
});
