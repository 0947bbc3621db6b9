//! Cells as spreadsheets and programs write them: an id stays an id, and a word
//! for no value is nobody's name.

use serde_json::Value;

use crate::world::{CommandOutput, World};

const MAPPING: &str = "[customer]\nprimary_id = \"id\"\nbrand_id = { value = 2 }\nfirstname = \"first\"\nlastname = \"last\"\nemail = \"email\"\ntelephone = { column = \"phone\", region = \"NL\" }\n";
const HEADER: &str = "id,first,last,email,phone\n";

fn world() -> World {
    World::default().with_mapping(MAPPING, "")
}

fn plan(world: &World, rows: &str) -> Value {
    world.file("export.csv", format!("{HEADER}{rows}").as_bytes());
    world.execute(&["plan", "--json", "--show", "99", "export.csv"]).expect_code(0).json()
}

fn bodies(plan: &Value) -> Vec<String> {
    let requests = plan["requests"].as_array().expect("requests").iter();
    requests.map(|request| request["body"].to_string()).collect()
}

fn codes(plan: &Value) -> Vec<(String, u64)> {
    let causes = plan["rejected"].as_array().expect("causes").iter();
    let code = |cause: &Value| {
        (cause["code"].as_str().expect("a code").to_owned(), cause["count"].as_u64().expect("a count"))
    };
    let mut codes: Vec<(String, u64)> = causes.map(code).collect();
    codes.sort();
    // Causes of one code differ in their hints.
    codes.dedup_by(|next, code| {
        let is_same = next.0 == code.0 && code.0 == "placeholder_id";
        code.1 += if is_same { next.1 } else { 0 };
        is_same
    });
    codes
}

fn run(world: &World, rows: &str) -> CommandOutput {
    world.file("export.csv", format!("{HEADER}{rows}").as_bytes());
    world.execute(&["run", "--json", "export.csv"])
}

#[test]
fn formulas_of_text_are_read_as_the_text() {
    let world = world();
    let rows = "\"=\"\"000501\"\"\",Sanne,Smit,s@example.org,\"=\"\"0612345678\"\"\"\n=\"000502\",\"=\"\"Daan\"\"\",Bos,d@example.org,=\"0623456789\"\n";
    run(&world, rows).expect_code(0).expect_outcomes("2 created");
    let state = world.state();
    let ids: Vec<&str> = state.customers.iter().map(|customer| customer.id.primary_id.as_str()).collect();
    assert_eq!(ids, ["000501", "000502"]);
    assert_eq!(state.customers[1].firstname.as_deref(), Some("Daan"));
}

#[test]
fn a_column_loses_its_apostrophes_only_if_most_cells_have_one() {
    let world = world();
    let rows = "'000501,Sanne,Smit,s@example.org,'+31612345678\n'000502,'Daan,Bos,d@example.org,'0623456789\n'000503,Eva,'t Hart,e@example.org,\n";
    let output = run(&world, rows).expect_code(0).expect_outcomes("3 created");
    output.expect_stderr("taken off, the apostrophe that most first rows have in front: id, phone");
    let state = world.state();
    let ids: Vec<&str> = state.customers.iter().map(|customer| customer.id.primary_id.as_str()).collect();
    assert_eq!(ids, ["000501", "000502", "000503"]);
    assert_eq!(state.customers[1].firstname.as_deref(), Some("'Daan"));
    assert_eq!(state.customers[2].lastname.as_deref(), Some("'t Hart"));
    // A column of Dutch surnames is no column with apostrophes.
    let plan = plan(&world, "A1,Eva,'t Hart,,\nA2,Jan,'s-Graven,,\n");
    assert!(plan["apostrophe_columns"].as_array().is_some_and(Vec::is_empty), "{plan}");
}

#[test]
fn a_column_that_loses_its_apostrophes_overnight_changes_nothing() {
    let world = world();
    run(&world, "'01,Ann,Smit,a@example.org,\n'02,Bea,Bos,b@example.org,\n").expect_code(0);
    let plain = "01,Ann,Smit,a@example.org,\n02,Bea,Bos,b@example.org,\n";
    run(&world, plain).expect_code(0).expect_outcomes("2 unchanged").expect_calls(0);
}

#[test]
fn words_for_no_value_are_neither_names_nor_addresses() {
    let world = world();
    let rows = "1001,Sanne,\\N,s@example.org,\\N\n1002,Daan,NULL,d@example.org,NULL\n1003,#N/A,Null,#REF!,\n";
    let plan = plan(&world, rows);
    assert_eq!(codes(&plan), []);
    let bodies = bodies(&plan);
    assert_eq!(bodies.len(), 3, "{bodies:?}");
    for word in ["NULL", "\\N", "#N/A", "#REF"] {
        assert!(bodies.iter().all(|body| !body.contains(word)), "{word}: {bodies:?}");
    }
    assert!(bodies[2].contains("Null"), "a surname: {bodies:?}");
    assert_eq!(plan["warnings"]["null_word"], 6);
}

#[test]
fn ids_that_a_program_made_numbers_of_are_rejected_and_the_hint_works() {
    let world = world();
    let rows = "1000.0,Ann,Smit,,\n1001.0,Bea,Bos,,\n1.0E+05,Cor,Bos,,\nA1.0,Dee,Bos,,\n1.5,Eva,Bos,,\n";
    let found = plan(&world, rows);
    assert_eq!(codes(&found), [("damaged_id".to_owned(), 1), ("damaged_id".to_owned(), 2)]);
    let hints: Vec<&str> = found["rejected"]
        .as_array()
        .expect("causes")
        .iter()
        .filter_map(|cause| cause["hint"].as_str())
        .collect();
    let hint = hints.iter().find(|hint| hint.contains("template")).expect("a template");
    let template =
        hint.strip_prefix("cut it with ").expect("a setting").split(';').next().expect("a setting");
    world.edit_config("primary_id = \"id\"", template);
    run(&world, rows).expect_code(1).expect_outcomes("4 created, 1 rejected");
    let ids: Vec<String> =
        world.state().customers.iter().map(|customer| customer.id.primary_id.clone()).collect();
    assert_eq!(ids, ["1.5", "1000", "1001", "A1"]);
}

#[test]
fn ids_that_stand_for_nobody_are_rejected() {
    let world = world();
    let rows = "-,Ann,Smit,,\n(not set),Bea,Bos,,\nNULL,Cor,Bos,,\n#N/A,Dee,Bos,,\n\\N,Eva,Bos,,\n#DEEL/0!,Fay,Bos,,\n00000000-0000-0000-0000-000000000000,Gijs,Bos,,\nA1,Hans,Bos,,\n";
    let found = plan(&world, rows);
    assert_eq!(codes(&found), [("placeholder_id".to_owned(), 7)]);
    // The rule of the hint leaves them out.
    world.edit_config("[customer]", "[[operation.rule]]\nwhen = \"id == '-'\"\nthen = \"skip\"\n[customer]");
    assert_eq!(codes(&plan(&world, rows)), [("placeholder_id".to_owned(), 6)]);
}

#[test]
fn addresses_in_the_shapes_of_mail_programs_are_cleaned() {
    let world = world();
    let rows = "A1,Ann,Smit,mailto:ann@example.org?subject=x,\nA2,Bea,Bos,Bea Bos <bea@example.org>,010 4144288 ext. 12\nA3,Cor,Bos,cor@example.org.,06-12345678 (privé)\nA4,Dee,Bos,dee\u{a0}x@example.org,\n";
    let found = plan(&world, rows);
    assert_eq!(codes(&found), [("bad_email".to_owned(), 1), ("bad_phone".to_owned(), 1)]);
    let text = found["rejected"].to_string();
    assert!(text.contains("U+00A0") && text.contains("words behind the number"), "{text}");
    assert_eq!(found["warnings"]["dropped_extension"], 1);
}
