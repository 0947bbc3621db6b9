//! The calls of one customer are sent one at a time, in the export's order.

use std::collections::BTreeMap;
use std::time::Duration;

use omnidesk_sync::sandbox::Settings;
use proptest::prelude::*;
use serde_json::Value;

use crate::world::{World, proptest_config};

const NAMES: [&str; 4] = ["Ann", "Bob", "Cor", "Dik"];

#[derive(Debug, Clone)]
struct Row {
    customer: u8,
    operation: &'static str,
    name: u8,
    email: Option<u8>,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let operation =
        prop_oneof![3 => Just("sync"), 2 => Just("update"), 1 => Just("create"), 1 => Just("add-channel")];
    let row = (0..6_u8, operation, 0..4_u8, proptest::option::of(0..3_u8))
        .prop_map(|(customer, operation, name, email)| Row { customer, operation, name, email });
    proptest::collection::vec(row, 1..60)
}

fn export_text(rows: &[Row]) -> String {
    let line = |Row { customer, operation, name, email }: &Row| {
        let email = email.map(|email| format!("c{customer}.{email}@example.org")).unwrap_or_default();
        format!("C{customer},{},,{email},,,{operation}\n", NAMES[usize::from(*name)])
    };
    rows.iter().map(line).collect()
}

/// The calls of each customer, in order.
fn calls_by_customer<'a>(
    calls: impl Iterator<Item = (&'a Value, &'a Value)>,
) -> BTreeMap<String, Vec<String>> {
    let mut lists: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (customer, call) in calls {
        let (customer, call) = (customer.as_str().expect("an id"), call.as_str().expect("a call"));
        lists.entry(customer.to_owned()).or_default().push(call.replace('_', "-"));
    }
    lists
}

proptest! {
    #![proptest_config(proptest_config(24))]

    #[test]
    fn planned_calls_arrive_in_order_and_one_at_a_time(rows in rows()) {
        let settings = Settings { latency_jitter: Duration::from_millis(3), ..Settings::default() };
        let world = World::new(settings);
        world.write_export(&export_text(&rows));
        let plan = world.execute(&["plan", "--json", "--show", "1000000", "export.csv"]).json();
        let output = world.run_with(&["--concurrency", "16"]);
        let log = world.log();
        let id = |request: &'_ Value| ["primary_id", "externalPrimaryID", "external_id"]
            .iter().find_map(|name| request["body"].get(*name).cloned()).expect("an id");
        let requests = plan["requests"].as_array().expect("requests");
        let ids: Vec<Value> = requests.iter().map(id).collect();
        // The plan does not know that an update or add-channel of a customer who
        // does not exist turns into a create. Such exports are not compared.
        let is_comparable = !rows.iter().enumerate().any(|(at, row)| {
            matches!(row.operation, "update" | "add-channel")
                && !rows[..at].iter().any(|earlier| earlier.customer == row.customer && matches!(earlier.operation, "sync" | "create"))
        });
        let has_failures = log.iter().any(|entry| entry["status"] != 200);
        if is_comparable && !has_failures && output.code == Some(0) {
            let planned = calls_by_customer(ids.iter().zip(requests.iter().map(|request| &request["call"])));
            let arrived = calls_by_customer(log.iter().map(|entry| (&entry["primary_id"], &entry["call"])));
            prop_assert_eq!(planned, arrived);
        }
        world.assert_no_violations();
        // The last row with a name wins.
        for customer in world.state().customers {
            let last = rows.iter().rev().find(|row| {
                format!("C{}", row.customer) == customer.id.primary_id && row.operation != "add-channel"
            });
            if let Some(row) = last && output.code == Some(0) {
                prop_assert_eq!(customer.firstname.as_deref(), Some(NAMES[usize::from(row.name)]));
            }
        }
    }
}

/// A stopped run has finished most of the rows that it has begun.
#[test]
fn rows_that_have_begun_go_before_new_rows() {
    let world = World::default();
    let rows: String =
        (0..600).map(|id| format!("C{id},Ann,Smit,a{id}@example.org,b{id}@example.org,,\n")).collect();
    world.write_export(&rows);
    world.execute(&["run", "--rate", "2000/s", "--concurrency", "8", "export.csv"]).expect_code(0);
    let (mut begun, mut begun_max) = (BTreeMap::new(), 0);
    for call in world.log() {
        let customer = call["primary_id"].as_str().expect("an id").to_owned();
        let calls = begun.entry(customer.clone()).or_insert(0);
        *calls += 1;
        if *calls == 2 {
            begun.remove(&customer);
        }
        begun_max = begun_max.max(begun.len());
    }
    // Rows with a call in flight, and those recorded ahead.
    assert!(begun_max <= 64, "{begun_max} rows were begun at once");
}
