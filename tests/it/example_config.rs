//! `config.example.toml` is the file that a new user copies: it holds every key
//! with its default.

use std::collections::BTreeSet;
use std::path::Path;

use omnidesk_sync::config::Config;

const EXAMPLE: &str = include_str!("../../config.example.toml");

/// Every key of the public interface, by section.
const KEYS: &[(&str, &[&str])] = &[
    (
        "omnidesk",
        &[
            "base_url",
            "api_key",
            "auth",
            "body",
            "custom_field_prefix",
            "names",
            "timeout",
            "in_doubt",
            "settle",
            "exists_texts",
            "not_found_texts",
            "exists_elsewhere_texts",
            "exists_status",
            "not_found_status",
        ],
    ),
    ("limits", &["rate", "concurrency", "attempts", "patience", "max_errors", "max_duration"]),
    (
        "input",
        &["format", "delimiter", "quote", "escape", "sheet", "skip", "encoding", "blank", "clear", "min_age"],
    ),
    (
        "customer",
        &[
            "primary_id",
            "brand_id",
            "name",
            "firstname",
            "lastname",
            "email",
            "telephone",
            "twitter",
            "facebook",
            "ticket_id",
            "no_sync",
            "custom",
        ],
    ),
    ("operation", &["default", "column", "values", "rule", "on_exists", "on_missing"]),
    ("missing", &["action"]),
    (
        "guard",
        &[
            "allow_purge",
            "max_purge",
            "max_changes",
            "canary",
            "max_vanished",
            "min_rows",
            "min_fill",
            "new_ids",
            "shared_addresses",
            "same_id",
            "moved_addresses",
        ],
    ),
    ("checkpoint", &["path"]),
    ("report", &["dir", "keep_runs", "heartbeat"]),
    (
        "notify",
        &[
            "start",
            "success",
            "failure",
            "method",
            "success_codes",
            "webhook",
            "webhook_body",
            "webhook_headers",
            "webhook_on",
            "webhook_title",
        ],
    ),
    ("verify", &["brands"]),
];

/// Optional keys are comments in the example.
fn with_optional_keys() -> toml::Table {
    let keys =
        ["max_duration", "name", "start", "success", "failure", "webhook", "webhook_headers", "brands"];
    let text = keys
        .iter()
        .fold(EXAMPLE.to_owned(), |text, key| text.replace(&format!("\n# {key} "), &format!("\n{key} ")));
    text.parse().expect("TOML")
}

fn parsed(text: &str) -> Config {
    Config::parse(text, Path::new("config.example.toml")).expect("a configuration")
}

#[test]
fn the_example_holds_every_key_and_no_other() {
    let mut table = with_optional_keys();
    assert_eq!(table.len(), KEYS.len());
    for (section, keys) in KEYS {
        let found: BTreeSet<&str> =
            table[*section].as_table().expect("a section").keys().map(String::as_str).collect();
        assert_eq!(found, keys.iter().copied().collect(), "[{section}]");
    }
    // One of the two ways to map names.
    table["customer"].as_table_mut().expect("a section").remove("name");
    parsed(&toml::to_string(&table).expect("TOML"));
}

#[test]
fn the_example_shows_the_defaults() {
    let example = parsed(EXAMPLE);
    let minimal = "[omnidesk]\nbase_url = \"https://account.omnidesk.com\"\n[customer]\nprimary_id = \"a\"\nbrand_id = \"b\"\n";
    let minimal = parsed(minimal);
    assert_eq!(example.omnidesk, minimal.omnidesk);
    assert_eq!(example.limits, minimal.limits);
    assert_eq!(example.input, minimal.input);
    assert_eq!(example.missing, minimal.missing);
    assert_eq!(example.guard, minimal.guard);
    assert_eq!(example.checkpoint, minimal.checkpoint);
    assert_eq!(example.report, minimal.report);
    assert_eq!(example.notify, minimal.notify);
    assert_eq!(example.verify, minimal.verify);
}

#[test]
fn mistakes_are_reported_with_place_and_remedy() {
    let cases = [
        ("[omnidesk]\nbase_url = \"https://a.b\"\n[limits]\nrte = \"5/s\"\n", ":4:1", "did you mean `rate`?"),
        ("[omnidesk]\nbase_url = \"http://a.b\"\n", ":2:12", "write https"),
        (
            "[omnidesk]\nbase_url = \"https://a.b\"\napi_key = \"hunter2\"\n",
            ":3:11",
            "does not belong in the file",
        ),
        (
            "[omnidesk]\nbase_url = \"https://a.b\"\napi-key = \"hunter2\"\n",
            ":3:1",
            "did you mean `api_key`?",
        ),
        ("[omnidesk.api_key]\nkey = \"hunter2\"\n", ":2:1", "unknown variant `key`"),
        (
            "[limits]\nrate = \"\"\"\n[omnidesk]\napi_key = 'hunter2'\n\"\"\"\n",
            ":2:8",
            "a whole number and a unit",
        ),
        ("[omnidesk]\nbase_url = \"https://a.b\"\nin_doubt = \"prob\"\n", ":3:12", "did you mean `probe`?"),
        ("[notify]\nfailure = \"http://a.b/hunter2\"\n", ":2:11", "write https"),
        ("[notify]\nwebhok = \"https://a.b/hunter2\"\n", ":2:1", "did you mean `webhook`?"),
        ("[notify]\nwebhook_body = \"https://a.b/hunter2\"\n", ":2:16", "expected one of `slack`"),
        ("[notify]\nwebhook = 5\n", ":2:11", "or where it is kept"),
        ("[report]\nkeep_runs = 0\n", ":2:13", "from 1 on"),
        ("[limits]\nrate = \"fast\"\n", ":2:8", "write a whole number and a unit"),
        ("[guard]\nmax_purge = -1\n", ":2:13", "is no amount"),
        ("[customer]\nprimary_id = { colum = \"x\" }\n", ":2:16", "did you mean `column`?"),
        ("[customer]\nprimary_id = { column = \"x\", value = 1 }\n", ":2:14", "only one of"),
    ];
    for (text, place, message) in cases {
        let error = Config::parse(text, Path::new("x.toml")).expect_err(text).to_string();
        assert!(error.starts_with(&format!("x.toml{place}")) && error.contains(message), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn keys_that_contradict_each_other_are_reported() {
    let add = |line: &str| EXAMPLE.replace("\ntwitter    = \"twitter\"", &format!("\n{line}"));
    for (line, message) in [
        ("name = \"full_name\"", "customer.name"),
        ("twitter = { column = \"a\", region_column = \"b\" }", "region_column is for telephone"),
        ("twitter = { column = \"a\", split = \"\" }", "split needs the text"),
        ("twitter = { column = \"a\", map = { b = \"c\" } }", "map is for fields, not for addresses"),
    ] {
        let error = Config::parse(&add(line), Path::new("x.toml")).expect_err(line).to_string();
        assert!(error.contains(message), "{error}");
    }
    let text = EXAMPLE.replace("\"customer_number\"", "{ column = \"id\", split = \";\" }");
    let error = Config::parse(&text, Path::new("x.toml")).expect_err("no address").to_string();
    assert!(error.contains("split is for addresses"), "{error}");
    for (from, to, message) in [
        ("\"customer_number\"", "{ column = \"id\", map = { a = 1 } }", "map is for fields"),
        ("{ value = 2 }", "{ value = 2, map = { a = 1 } }", "map needs a column or a template"),
        ("{ value = 2 }", "{ column = \"a\", map = { a = 1.5 } }", "a text, a whole number, true or false"),
    ] {
        let text = EXAMPLE.replace(from, to);
        let error = Config::parse(&text, Path::new("x.toml")).expect_err(to).to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn a_custom_field_cannot_take_the_name_of_a_documented_one() {
    let text = EXAMPLE.replace("loyalty_tier =", "brandID =");
    let error = Config::parse(&text, Path::new("x.toml")).expect_err("a collision").to_string();
    assert!(error.contains("brandID"), "{error}");
}
