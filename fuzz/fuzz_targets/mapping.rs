//! Cells, a template and a condition: an intent or a rejection.
#![no_main]

#[allow(dead_code, reason = "each target uses some of it")]
#[path = "../../tests/it/properties.rs"]
mod properties;

use libfuzzer_sys::fuzz_target;
use properties::MappingCase;

#[derive(Debug, arbitrary::Arbitrary)]
struct Case {
    choice: u16,
    template: String,
    condition: String,
    cells: Vec<Vec<u8>>,
}

fuzz_target!(|case: Case| {
    let Case { choice, template, condition, cells } = case;
    properties::check_mapping(&MappingCase { template, condition, cells, choice });
});
