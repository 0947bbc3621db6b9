//! Cells with more than one value, and columns that say how to read another.

use serde_json::{Value, json};

use crate::world::World;

/// The requests that a plan of `export` shows, as bodies.
fn bodies(customer: &str, export: &str) -> (Vec<Value>, Value) {
    let mapping = format!("[customer]\nprimary_id = \"id\"\nbrand_id = {{ value = 2 }}\n{customer}\n");
    let world = World::with_server("http://127.0.0.1:9").with_mapping(&mapping, "");
    world.file("export.csv", export.as_bytes());
    let plan = world.execute(&["plan", "--json", "--show", "20", "export.csv"]).json();
    let requests = plan["requests"].as_array().cloned().unwrap_or_default();
    (requests.into_iter().map(|request| request["body"].clone()).collect(), plan["rejected"].clone())
}

#[test]
fn a_whole_name_becomes_first_and_last_name() {
    let export = "id;naam\n1;Sanne van de Groot\n2;\"Bakker, Daan\"\n3;Eva\n4;\n";
    let (bodies, _) = bodies("name = \"naam\"", export);
    let names: Vec<(&Value, &Value)> =
        bodies.iter().map(|body| (&body["firstname"], &body["lastname"])).collect();
    let expected = [
        (json!("Sanne"), json!("van de Groot")),
        (json!("Daan"), json!("Bakker")),
        (json!("Eva"), Value::Null),
        (Value::Null, Value::Null),
    ];
    assert_eq!(names, expected.iter().map(|(first, last)| (first, last)).collect::<Vec<_>>());
}

#[test]
fn a_row_reads_its_national_numbers_by_its_own_country() {
    let export = "id,phone,land\n\
        1,06-12345678,Nederland\n2,0470 12 34 56,Belgi\u{eb}\n3,079 123 45 67,CHE\n4,+33 6 12 34 56 78,\n\
        5,06-12345678,\n6,06-12345678,Atlantis\n";
    let customer = "telephone = { column = \"phone\", region_column = \"land\" }";
    let (bodies, rejected) = bodies(customer, export);
    let phones: Vec<&str> = bodies.iter().filter_map(|body| body["customer_link_channel"].as_str()).collect();
    assert_eq!(phones, ["+31612345678", "+32470123456", "+41791234567", "+33612345678"]);
    let text = rejected.to_string();
    assert!(text.contains("\\\"land\\\" of this row is blank") && text.contains("bad_phone"), "{text}");
}

#[test]
fn a_cell_may_hold_several_addresses() {
    let export = "id,mail,phone\n1,a@example.org; b@example.org ;;A@example.org,+31612345678 ::: +31612345679\n\
        2,c@example.org,\n";
    let customer =
        "email = { column = \"mail\", split = \";\" }\ntelephone = { column = \"phone\", split = \" ::: \" }";
    let (bodies, _) = bodies(customer, export);
    let address = |body: &Value| {
        let keys = ["customer_link_channel", "extra_email", "extra_telephone"];
        keys.iter().find_map(|key| body[key].as_str().map(str::to_owned))
    };
    let addresses: Vec<String> = bodies.iter().filter_map(address).collect();
    assert_eq!(
        addresses,
        ["a@example.org", "b@example.org", "+31612345678", "+31612345679", "c@example.org"]
    );
}
