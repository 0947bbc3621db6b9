//! The JSON schema of the configuration takes what the program takes.

use std::path::Path;

use jsonschema::Validator;
use omnidesk_sync::config::Config;
use serde_json::Value;

use crate::world::World;

const EXAMPLE: &str = include_str!("../../config.example.toml");

fn schema() -> Validator {
    let world = World::with_server("http://127.0.0.1:9");
    let schema = world.execute(&["schema"]).expect_code(0).json();
    jsonschema::validator_for(&schema).expect("a schema")
}

fn value(toml: &str) -> Value {
    let table: toml::Table = toml.parse().expect("TOML");
    serde_json::to_value(table).expect("JSON")
}

fn problems(schema: &Validator, toml: &str) -> Vec<String> {
    schema.iter_errors(&value(toml)).map(|error| error.to_string()).collect()
}

#[test]
fn the_example_is_valid() {
    assert_eq!(problems(&schema(), EXAMPLE), Vec::<String>::new());
}

#[test]
fn a_proposal_names_the_schema_and_is_valid() {
    let world = World::with_server("http://127.0.0.1:9");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/customers.csv");
    let export = fixtures.to_str().expect("UTF-8");
    let proposal = world.execute(&["init", export]).expect_code(0).stdout;
    assert!(proposal.starts_with("#:schema ./omnidesk-sync.schema.json\n"), "{proposal}");
    assert_eq!(problems(&schema(), &proposal), Vec::<String>::new());
}

/// Every key of the example, one at a time.
#[test]
fn a_misspelt_key_is_refused_in_every_section() {
    let schema = schema();
    let example: toml::Table = EXAMPLE.parse().expect("TOML");
    let mut keys = 0;
    for (section, table) in &example {
        let mut misspelt = example.clone();
        let content = misspelt.remove(section).expect("a section");
        misspelt.insert(format!("{section}x"), content);
        assert!(!schema.is_valid(&serde_json::to_value(&misspelt).expect("JSON")), "[{section}x]");
        for key in table.as_table().expect("a section").keys() {
            let mut misspelt = example.clone();
            let table = misspelt[section].as_table_mut().expect("a section");
            let content = table.remove(key).expect("a key");
            table.insert(format!("{key}x"), content);
            assert!(!schema.is_valid(&serde_json::to_value(&misspelt).expect("JSON")), "{section}.{key}x");
            keys += 1;
        }
    }
    assert!(keys > 50, "{keys} keys");
}

/// What the schema and the program take is the same.
#[test]
fn values_are_valid_for_the_schema_where_they_are_for_the_program() {
    let schema = schema();
    let head = "[omnidesk]\nbase_url = \"https://a.b\"\n";
    let customer = "[customer]\nprimary_id = \"a\"\nbrand_id = 2\n".replace("= 2", "= { value = 2 }");
    for (section, is_valid) in [
        ("[limits]\nrate = \"5/s\"", true),
        ("[limits]\nrate = \"fast\"", false),
        ("[limits]\nconcurrency = 0", false),
        ("[limits]\nmax_errors = \"5%\"", true),
        ("[limits]\nmax_errors = 20", true),
        ("[limits]\nmax_errors = -1", false),
        ("[limits]\nmax_errors = true", false),
        ("[guard]\nmin_fill = \"50%\"", true),
        ("[guard]\nmin_fill = 50", false),
        ("[guard]\nallow_shared_addresses = true", false),
        ("[report]\nkeep_runs = \"all\"", true),
        ("[report]\nkeep_runs = 0", false),
        ("[notify]\nmethod = \"put\"", false),
        ("[notify]\nwebhook = \"https://a.b/c\"", true),
        ("[notify]\nwebhook = { file = \"a\" }\nwebhook_headers = { env = \"B\" }", true),
        ("[notify]\nwebhook = { path = \"a\" }", false),
        ("[notify]\nwebhook = \"a.b/c\"", false),
        ("[notify]\nwebhook_headers = \"Authorization: x\"", false),
        ("[missing]\naction = \"report\"", true),
        ("[input]\nblank = \"NULL\"", false),
        ("[operation]\nvalues = { D = \"purge\" }\ncolumn = \"op\"", true),
        ("[operation]\nvalues = { D = \"delete\" }\ncolumn = \"op\"", false),
        ("[[operation.rule]]\nwhen = \"a == 'b'\"", false),
        ("[customer.custom]\na = { column = \"x\", value = 1 }", false),
        ("[customer.custom]\na = { colum = \"x\" }", false),
        ("[customer.custom]\na = { value = 1.5 }", false),
        ("[customer.custom]\na = { column = [\"x\", \"y\"], default = \"z\" }", true),
        ("[customer.custom]\na = []", false),
        ("[customer.custom]\na = [\"x\", \"y\"]", true),
    ] {
        let toml = format!("{head}{customer}{section}\n");
        let parsed = Config::parse(&toml, Path::new("x.toml"));
        assert_eq!(parsed.is_ok(), is_valid, "the program: {section}");
        assert_eq!(schema.is_valid(&value(&toml)), is_valid, "the schema: {section}");
    }
    for key in ["{ env = \"A\" }", "{ command = [\"a\"] }", "{ file = \"a\" }", "{ credential = \"a\" }"] {
        assert!(schema.is_valid(&value(&format!("{head}api_key = {key}\n{customer}"))), "{key}");
    }
    assert!(!schema.is_valid(&value(&format!("{head}api_key = \"THE-KEY\"\n{customer}"))));
}
