//! Calls of one customer go out one at a time and in the export's order,
//! whatever else goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use omnidesk_sync::sandbox::Settings;
use proptest::prelude::*;
use serde_json::Value;

use crate::world::{HEADER, World, cases};

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

fn export(rows: &[Row]) -> String {
    let names = ["Ann", "Bob", "Cor", "Dik"];
    let mut text = HEADER.to_owned();
    for row in rows {
        let Row { customer, operation, .. } = row;
        let email = row.email.map(|email| format!("c{customer}.{email}@example.org")).unwrap_or_default();
        text.push_str(&format!("C{customer},{},,{email},,,{operation}\n", names[usize::from(row.name)]));
    }
    text
}

/// The calls of each customer, in order.
fn by_customer<'a>(calls: impl Iterator<Item = (&'a Value, &'a Value)>) -> BTreeMap<String, Vec<String>> {
    let mut lists: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (customer, call) in calls {
        let (customer, call) = (customer.as_str().expect("an id"), call.as_str().expect("a call"));
        lists.entry(customer.to_owned()).or_default().push(call.replace('_', "-"));
    }
    lists
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn what_arrives_is_what_was_planned_in_order_and_one_at_a_time(rows in rows()) {
        let settings = Settings { latency_jitter: Duration::from_millis(3), ..Settings::default() };
        let world = World::new(settings);
        world.file("export.csv", export(&rows).as_bytes());
        let plan = world.ends(&["plan", "--json", "--show", "1000000", "export.csv"]).json();
        let ended = world.ends(&["run", "--json", "--concurrency", "16", "export.csv"]);
        let log = world.log();
        let id = |request: &'_ Value| ["primary_id", "externalPrimaryID", "external_id"]
            .iter().find_map(|name| request["body"].get(*name).cloned()).expect("an id");
        let requests = plan["requests"].as_array().expect("requests");
        let ids: Vec<Value> = requests.iter().map(id).collect();
        // An update or add-channel of a customer who does not exist yet takes
        // another way than planned: only exports without those are compared.
        let plain = !rows.iter().enumerate().any(|(at, row)| {
            matches!(row.operation, "update" | "add-channel")
                && !rows[..at].iter().any(|earlier| earlier.customer == row.customer && matches!(earlier.operation, "sync" | "create"))
        });
        let repeats = log.iter().any(|entry| entry["status"] != 200);
        if plain && !repeats && ended.code == Some(0) {
            let planned = by_customer(ids.iter().zip(requests.iter().map(|request| &request["call"])));
            let arrived = by_customer(log.iter().map(|entry| (&entry["primary_id"], &entry["call"])));
            prop_assert_eq!(planned, arrived);
        }
        prop_assert_eq!(world.state().violations, Vec::<String>::new());
        // The last name that a row gives is the one that stays.
        for customer in world.state().customers {
            let last = rows.iter().rev().find(|row| {
                format!("C{}", row.customer) == customer.id.primary_id && row.operation != "add-channel"
            });
            if let Some(row) = last && ended.code == Some(0) {
                let names = ["Ann", "Bob", "Cor", "Dik"];
                prop_assert_eq!(customer.firstname.as_deref(), Some(names[usize::from(row.name)]));
            }
        }
    }
}

/// What a stopped run has done are whole rows, as far as that can be.
#[test]
fn a_row_that_has_begun_goes_before_those_that_have_not() {
    let world = World::new(Settings::default());
    let rows: String =
        (0..600).map(|id| format!("C{id},Ann,Smit,a{id}@example.org,b{id}@example.org,,\n")).collect();
    world.file("export.csv", format!("{HEADER}{rows}").as_bytes());
    world.ends(&["run", "--rate", "2000/s", "--concurrency", "8", "export.csv"]).expect(0);
    let (mut begun, mut most) = (BTreeMap::new(), 0);
    for call in world.log() {
        let customer = call["primary_id"].as_str().expect("an id").to_owned();
        let calls = begun.entry(customer.clone()).or_insert(0);
        *calls += 1;
        if *calls == 2 {
            begun.remove(&customer);
        }
        most = most.max(begun.len());
    }
    // Those under way, and those recorded ahead of them.
    assert!(most <= 64, "{most} rows were begun at once");
}
