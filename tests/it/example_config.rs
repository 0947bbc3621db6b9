//! `config.example.toml` is what a new user copies: it holds every key, and
//! what it says is what holds without it.

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
        ],
    ),
    ("limits", &["rate", "concurrency", "attempts", "patience", "max_errors", "max_duration"]),
    ("input", &["format", "delimiter", "encoding", "blank", "clear", "min_age"]),
    (
        "customer",
        &[
            "primary_id",
            "brand_id",
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
    ("operation", &["default", "column", "values", "rule"]),
    ("missing", &["action"]),
    (
        "guard",
        &[
            "allow_purge",
            "max_purge",
            "max_changes",
            "canary",
            "min_rows",
            "min_fill",
            "new_ids",
            "shared_addresses",
        ],
    ),
    ("checkpoint", &["path"]),
    ("report", &["dir", "keep_runs", "heartbeat"]),
    ("notify", &["start", "success", "failure", "method", "success_codes"]),
];

/// Optional keys stand in the example as comments.
fn with_optional_keys() -> toml::Table {
    let keys = ["max_duration", "start", "success", "failure"];
    let shown = keys
        .iter()
        .fold(EXAMPLE.to_owned(), |text, key| text.replace(&format!("\n# {key} "), &format!("\n{key} ")));
    shown.parse().expect("TOML")
}

fn parsed(text: &str) -> Config {
    Config::parse(text, Path::new("config.example.toml")).expect("a configuration")
}

#[test]
fn it_holds_every_key_and_no_other() {
    let table = with_optional_keys();
    assert_eq!(table.len(), KEYS.len());
    for (section, keys) in KEYS {
        let found = table[*section].as_table().expect("a section");
        let mut found: Vec<&str> = found.keys().map(String::as_str).collect();
        let mut keys = keys.to_vec();
        found.sort_unstable();
        keys.sort_unstable();
        assert_eq!(found, keys, "[{section}]");
    }
    parsed(&toml::to_string(&table).expect("TOML"));
}

#[test]
fn what_has_a_default_shows_the_default() {
    let example = parsed(EXAMPLE);
    let bare = "[omnidesk]\nbase_url = \"https://account.omnidesk.com\"\n[customer]\nprimary_id = \"a\"\nbrand_id = \"b\"\n";
    let bare = parsed(bare);
    assert_eq!(example.omnidesk, bare.omnidesk);
    assert_eq!(example.limits, bare.limits);
    assert_eq!(example.input, bare.input);
    assert_eq!(example.missing, bare.missing);
    assert_eq!(example.guard, bare.guard);
    assert_eq!(example.checkpoint, bare.checkpoint);
    assert_eq!(example.report, bare.report);
    assert_eq!(example.notify, bare.notify);
}

#[test]
fn mistakes_are_shown_with_their_place_and_the_near_name() {
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
        ("[notify]\nfailure = \"http://a.b/5f3\"\n", ":2:11", "write https"),
        ("[report]\nkeep_runs = 0\n", ":2:13", "from 1 on"),
        ("[limits]\nrate = \"fast\"\n", ":2:8", "write a whole number and a unit"),
        ("[guard]\nmax_purge = -1\n", ":2:13", "is no amount"),
        ("[customer]\nprimary_id = { colum = \"x\" }\n", ":2:16", "did you mean `column`?"),
        ("[customer]\nprimary_id = { column = \"x\", value = 1 }\n", ":2:14", "only one of"),
    ];
    for (text, place, words) in cases {
        let error = Config::parse(text, Path::new("x.toml")).expect_err(text).to_string();
        assert!(error.starts_with(&format!("x.toml{place}")) && error.contains(words), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_custom_field_cannot_take_the_name_of_a_documented_one() {
    let text = EXAMPLE.replace("loyalty_tier =", "brandID =");
    let error = Config::parse(&text, Path::new("x.toml")).expect_err("a collision").to_string();
    assert!(error.contains("brandID"), "{error}");
}
