//! JSON as programs write it: the right rows are read, or the reason is in words.

use crate::world::World;

const SANNE: &str = r#"{"id": "C-1", "first_name": "Sanne", "email": "s@example.com"}"#;
const DAAN: &str = r#"{"id": "C-2", "first_name": "Daan", "email": "d@example.com"}"#;
const ACME: &str = r#"{"id": "O-9", "name": "Acme", "email": "info@example.com"}"#;
const CREATES: [&str; 2] = ["C-1|Sanne|s@example.com", "C-2|Daan|d@example.com"];

/// What `init` proposes is planned. Returns the proposal, the creates (id, first
/// name, address) and the plan's text.
fn propose_and_plan(text: &str) -> (String, Vec<String>, String) {
    let world = World::with_server("http://127.0.0.1:9");
    world.file("export.json", text.as_bytes());
    let proposed = world.execute(&["init", "export.json"]).expect_code(0).stdout;
    world.file("omnidesk-sync.toml", proposed.as_bytes());
    let plan = world.execute(&["plan", "--json", "--show", "100", "export.json"]).expect_code(0).json();
    assert_eq!(plan["rejected"].as_array().map(Vec::len), Some(0), "{text}: {plan}");
    let requests = plan["requests"].as_array().expect("requests");
    let creates = requests.iter().filter(|request| request["call"] == "create").map(|request| {
        let names = ["primary_id", "firstname", "customer_link_channel"];
        names.map(|name| request["body"][name].as_str().unwrap_or_default()).join("|")
    });
    let creates = creates.collect();
    let text = world.execute(&["plan", "export.json"]).expect_code(0).stdout;
    (proposed, creates, text)
}

/// What `init` and, with a mapping, `plan` say of a file that they refuse.
fn refusals(text: &str) -> [String; 2] {
    let mapping = "[customer]\nprimary_id = \"id\"\nbrand_id = { value = 2 }\nemail = \"email\"\n";
    let world = World::default().with_mapping(mapping, "");
    world.file("export.json", text.as_bytes());
    [["init", "export.json"], ["plan", "export.json"]].map(|command| {
        let output = world.execute(&command).expect_code(2);
        assert_eq!(output.stdout, "", "{text}");
        output.stderr
    })
}

#[test]
fn rows_are_found_wherever_they_stand_and_the_plan_says_where() {
    let pretty = |text: &str| {
        let value: serde_json::Value = serde_json::from_str(text).expect("JSON");
        format!("{value:#}\n")
    };
    let list = format!("[{SANNE},{DAAN}]");
    let keyed = format!("{{\"1501\": {SANNE}, \"1502\": {DAAN}}}");
    for (text, note) in [
        (format!("{SANNE}{DAAN}"), None),
        (format!("{SANNE},\n{DAAN},\n"), None),
        (format!("\u{1e}{SANNE}\n\u{1e}{DAAN}\n"), None),
        (format!("\u{feff}{SANNE}\n\u{feff}{DAAN}\n"), None),
        (format!("[{SANNE}][{DAAN}]"), None),
        (format!("[{SANNE}]\n{DAAN}\n"), None),
        (format!("[[{SANNE}],[{DAAN}]]"), None),
        (format!("{{\"total\":2,\"klantenlijst\":{list}}}"), Some("the list \"klantenlijst\"")),
        (format!("{{\"companies\":[{ACME}],\"contacts\":{list}}}"), Some("\"contacts\"; \"companies\" is not read")),
        (format!("{{\"data\":{{\"contacts\":{{\"nodes\":{list}}}}}}}"), Some("\"data.contacts.nodes\"")),
        (format!("{{\"page\":1,\"records\":[{SANNE}]}}\n{{\"page\":2,\"records\":[{DAAN}]}}\n"), Some("\"records\"")),
        (keyed.clone(), Some("each member of the object is a row, and its name is the column \"_key\"")),
        (pretty(&keyed), Some("each member of the object is a row")),
        (format!("{{\"users\":{keyed},\"orders\":{{\"7\":{{\"sum\":1}}}}}}"), Some("each member of the object \"users\" is a row")),
        ("[[\"id\",\"first_name\",\"email\"],[\"C-1\",\"Sanne\",\"s@example.com\"],[\"C-2\",\"Daan\",\"d@example.com\"]]".to_owned(), None),
        ("{\"columns\":[\"id\",\"first_name\",\"email\"],\"data\":[[\"C-1\",\"Sanne\",\"s@example.com\"],[\"C-2\",\"Daan\",\"d@example.com\"]]}".to_owned(), Some("the lists in the list \"data\"")),
    ] {
        let (proposed, creates, plan) = propose_and_plan(&text);
        assert_eq!(creates, CREATES, "{text}");
        for shown in [&proposed, &plan] {
            assert!(note.is_none_or(|note| shown.contains(note)), "{text}: {shown}");
            assert_eq!(note.is_some(), shown.contains("row is") || shown.contains("a row") || shown.contains("the rows are"), "{shown}");
        }
    }
}

#[test]
fn the_key_of_an_object_is_the_id_where_its_value_holds_none() {
    let row = |id: &str| {
        format!(
            "\"u-{id}\":{{\"name\":\"Ann Smit\",\"email\":\"{id}@example.com\",\"address\":{{\"city\":\"Ede\"}}}}"
        )
    };
    let rows = [row("1"), row("2"), row("3")].join(",\n");
    let (proposed, creates, _) = propose_and_plan(&format!("{{{rows}}}"));
    assert!(proposed.contains("primary_id = \"_key\""), "{proposed}");
    assert_eq!(creates, ["u-1|Ann|1@example.com", "u-2|Ann|2@example.com", "u-3|Ann|3@example.com"]);
    // One customer with objects inside stays one.
    let one = "{\n\"id\":\"C-1\",\n\"first_name\":\"Sanne\",\n\"contact\":{\"email\":\"s@example.com\"},\n\"address\":{\"city\":\"Ede\"}}";
    assert_eq!(propose_and_plan(one).1, ["C-1|Sanne|s@example.com"]);
}

#[test]
fn a_rejected_row_of_an_object_keeps_its_key() {
    let mapping = "[customer]\nprimary_id = \"_key\"\nbrand_id = { value = 2 }\nemail = \"email\"\n";
    let world = World::default().with_mapping(mapping, "");
    world.file("export.json", b"{\"11\":{\"email\":\"a@example.com\"},\n\"12\":{\"email\":\"no-address\"}}");
    world.execute(&["run", "--json", "export.json"]).expect_code(1).expect_outcomes("1 created, 1 rejected");
    let rejected = world.result_text("rejected.jsonl");
    assert!(rejected.contains("\"_key\":\"12\"") && rejected.contains("\"_sync_line\":2"), "{rejected}");
    world.file("fixed.jsonl", rejected.replace("no-address", "b@example.com").as_bytes());
    world.execute(&["run", "--json", "fixed.jsonl"]).expect_code(0).expect_outcomes("1 created");
}

#[test]
fn a_tap_is_read_by_the_stream_that_holds_the_customers() {
    let person = |number: u32| {
        format!("{{\"id\":\"C-{number}\",\"first_name\":\"Ann\",\"email\":\"a{number}@example.com\"}}")
    };
    let company =
        |number: u32| format!("{{\"id\":\"C-{number}\",\"name\":\"Acme\",\"email\":\"info@example.com\"}}");
    let singer = |stream: &str, row: String| {
        format!("{{\"type\":\"RECORD\",\"stream\":\"{stream}\",\"record\":{row}}}\n")
    };
    let airbyte = |stream: &str, row: String| {
        format!(
            "{{\"type\":\"RECORD\",\"record\":{{\"stream\":\"{stream}\",\"emitted_at\":1,\"data\":{row}}}}}\n"
        )
    };
    let schema = "{\"type\":\"SCHEMA\",\"stream\":\"contacts\",\"schema\":{\"properties\":{\"id\":{\"type\":[\"string\"]}}}}\n";
    let state = "{\"type\":\"STATE\",\"value\":{\"bookmarks\":{\"id\":\"C-9\"}}}\n";
    let creates = ["C-1|Ann|a1@example.com", "C-2|Ann|a2@example.com"];
    for (lines, rule, reason) in [
        (
            [
                schema,
                &singer("companies", company(1)),
                &singer("contacts", person(1)),
                &singer("companies", company(2)),
                &singer("contacts", person(2)),
                state,
            ]
            .concat(),
            "when = \"type != 'RECORD' or stream != 'contacts'\"",
            "the others are \"companies\"",
        ),
        (
            [schema, &singer("contacts", person(1)), &singer("contacts", person(2)), state].concat(),
            "when = \"type != 'RECORD' or stream != 'contacts'\"",
            "keeps the records of the stream \"contacts\" alone",
        ),
        (
            [
                &airbyte("companies", company(1)),
                &airbyte("contacts", person(1)),
                &airbyte("contacts", person(2)),
                state,
            ]
            .concat(),
            "when = \"type != 'RECORD' or row['record.stream'] != 'contacts'\"",
            "the others are \"companies\"",
        ),
    ] {
        let (proposed, found, _) = propose_and_plan(&lines);
        assert_eq!(found, creates, "{proposed}");
        assert!(proposed.contains(rule) && proposed.contains(reason), "{proposed}");
    }
    // Rows of one kind have no such rule.
    let (proposed, _, _) = propose_and_plan(&format!("{SANNE}\n{DAAN}\n"));
    assert!(!proposed.contains("operation.rule"), "{proposed}");
}

#[test]
fn numbers_that_are_none_have_no_value_and_are_counted() {
    let rows = "{\"id\":\"C-1\",\"first_name\":\"Sanne\",\"email\":\"s@example.com\",\"spent\":NaN}\n{\"id\":\"C-2\",\"first_name\":\"NaN, Daan\",\"email\":NaN,\"spent\":-Infinity}\n";
    let list = format!("[{}]", rows.trim().replace('\n', ","));
    for text in [rows, &list] {
        let (_, creates, plan) = propose_and_plan(text);
        assert_eq!(creates, ["C-1|Sanne|s@example.com", "C-2|NaN, Daan|"], "{text}");
        assert!(plan.contains("3 values are NaN or Infinity, and read as no value"), "{plan}");
    }
}

#[test]
fn what_is_undecided_or_no_export_is_refused_in_words() {
    for (text, words) in [
        (format!("{{\"customers\":[{SANNE}],\"users\":[{DAAN}]}}"), "jq -c '.customers[]'"),
        (
            format!("{{\"sanne\":{SANNE},\"daan\":{DAAN}}}"),
            "jq -c '. | to_entries[] | .value + {_key: .key}'",
        ),
        (
            "{\"error\":\"invalid_token\",\"error_description\":\"expired\"}".to_owned(),
            "the error message of an API",
        ),
        ("{\"message\":\"Unauthorized\",\"status\":401}".to_owned(), "the error message of an API"),
        ("{'id': 'C-1', 'email': None}\n{'id': 'C-2', 'email': None}".to_owned(), "json.dumps"),
        ("[[1,\"Sanne\",\"s@example.com\"]]".to_owned(), "the names of the columns first"),
        ("{\"id\":{\"0\":1},\"email\":{\"0\":\"a@example.com\"}}".to_owned(), "orient=\"records\""),
        (format!("[{SANNE},"), "no end"),
    ] {
        for refusal in refusals(&text) {
            assert!(refusal.contains(words), "{text}: {refusal}");
        }
    }
    // A broken row in the last line is one of its own, and no end of the file.
    let mapping = "[customer]\nprimary_id = \"id\"\nbrand_id = { value = 2 }\nemail = \"email\"\n";
    let world = World::default().with_mapping(mapping, "");
    world.file("export.json", format!("{SANNE}\n{DAAN} x").as_bytes());
    let output = world.execute(&["run", "--json", "export.json"]).expect_code(1);
    output.expect_outcomes("1 created, 1 rejected").expect_stderr("text follows the closing brace");
}

#[test]
fn an_export_without_any_id_is_not_planned() {
    for (rows, id) in [
        ("{\"email\":\"a@example.com\"}\n{\"email\":\"b@example.com\"}\n", "id"),
        ("{\"id\":\"\",\"email\":\"a@example.com\"}\n{\"id\":null,\"email\":\"b@example.com\"}\n", "id"),
        ("{\"nr\":\"1\",\"email\":\"a@example.com\"}\n", ""),
    ] {
        let mapping =
            format!("[customer]\nprimary_id = \"{id}\"\nbrand_id = {{ value = 2 }}\nemail = \"email\"\n");
        let world = World::default().with_mapping(&mapping, "");
        world.file("export.jsonl", rows.as_bytes());
        for command in ["plan", "run"] {
            let output = world.execute(&[command, "export.jsonl"]).expect_code(2);
            output.expect_stderr(&format!("no row has an id in \"{id}\"")).expect_stderr("the first row has");
        }
    }
}

#[test]
fn ids_keep_their_digits_and_rounded_ones_are_no_ids() {
    let row = |id: &str, name: &str| {
        format!("{{\"id\":{id},\"first_name\":\"{name}\",\"email\":\"{name}@example.com\"}}\n")
    };
    let rows = |first: &str, second: &str| row(first, "ann") + &row(second, "bob");
    for (first, second, ids) in [
        ("9007199254740993", "9007199254740994", ["9007199254740993", "9007199254740994"]),
        (
            "12345678901234567890123",
            "12345678901234567890124",
            ["12345678901234567890123", "12345678901234567890124"],
        ),
        ("1501.0", "1502.0", ["1501", "1502"]),
    ] {
        let (_, creates, _) = propose_and_plan(&rows(first, second));
        let expected = [format!("{}|ann|ann@example.com", ids[0]), format!("{}|bob|bob@example.com", ids[1])];
        assert_eq!(creates, expected);
    }
    let world = World::with_server("http://127.0.0.1:9");
    for (first, second) in [("1.00E+05", "1.01E+05"), ("1.234567E7", "1.234568E7")] {
        world.file("export.jsonl", rows(first, second).as_bytes());
        let proposed = world.execute(&["init", "export.jsonl"]).expect_code(1).stdout;
        assert!(proposed.contains("\"id\" holds numbers that a program has rounded"), "{proposed}");
    }
}
