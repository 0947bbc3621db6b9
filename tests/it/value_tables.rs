//! `map`: the export's values become others.

use crate::world::{RUN, World};

const MAPPING: &str = "\
[customer]
primary_id = \"id\"
brand_id = { column = \"country\", map = { NL = 2, BE = 3 } }
no_sync = { column = \"quiet\", map = { X = true }, default = false }

[customer.custom]
tier = { column = [\"tier\", \"old_tier\"], map = { gold = \"Goud\", silver = \"Zilver\", none = \"\" } }
";

const HEADER: &str = "id,country,quiet,tier,old_tier\n";

fn world(mapping: &str, rows: &str) -> World {
    let world = World::default().with_mapping(mapping, "[input]\nclear = [\"<clear>\"]\n");
    world.file("export.csv", format!("{HEADER}{rows}").as_bytes());
    world
}

/// The tier of each customer in Omnidesk.
fn tiers(world: &World) -> Vec<(String, Option<String>)> {
    let customers = world.state().customers;
    let mut tiers: Vec<_> = customers
        .into_iter()
        .map(|customer| (customer.id.primary_id, customer.custom.get("tier").cloned()))
        .collect();
    tiers.sort();
    tiers
}

fn pairs(expected: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
    expected.iter().map(|(id, tier)| ((*id).to_owned(), tier.map(str::to_owned))).collect()
}

#[test]
fn values_are_translated_and_a_value_without_an_entry_rejects_its_row() {
    let world = world(
        MAPPING,
        "C1,NL,X,gold,\nC2,BE,, silver ,gold\nC3,NL,?,,gold\nC4,NL,,,\nC5,NL,,none,\nC6,NL,,Gold,\nC7,FR,,gold,\nC8,,,gold,\n",
    );
    let output = world.execute(&RUN).expect_code(1).expect_outcomes("5 created, 3 rejected");
    let expected =
        [("C1", Some("Goud")), ("C2", Some("Zilver")), ("C3", Some("Goud")), ("C4", None), ("C5", None)];
    assert_eq!(tiers(&world), pairs(&expected));
    let state = world.state();
    let brands: Vec<u64> = state.customers.iter().map(|customer| customer.id.brand_id).collect();
    assert_eq!(brands.iter().filter(|brand| **brand == 3).count(), 1, "{brands:?}");
    let rejected = world.result_text("rejected.csv");
    assert!(
        rejected.contains("unknown_value,tier,Gold,") && rejected.contains("only as \"\"gold\"\""),
        "{rejected}"
    );
    assert!(rejected.contains("unknown_value,country,FR,"), "{rejected}");
    assert!(rejected.contains("bad_number,country,,the brand is blank"), "{rejected}");
    // Values are the export's, and not for a log.
    assert!(!output.stderr.contains("\"FR\""), "{}", output.stderr);
    world.execute(&["plan", "export.csv"]).expect_code(0).stdout.find("\"FR\"").expect("a plan shows it");
}

#[test]
fn a_default_is_for_other_values_and_an_empty_entry_for_blank_cells() {
    let table = |more: &str| MAPPING.replace("none = \"\" }", more);
    let rows = "C1,NL,,bronze,\nC2,NL,,,\nC3,NL,,gold,\n";
    let world = world(&table("none = \"\" }, default = \"Other\""), rows);
    world.execute(&RUN).expect_code(0).expect_outcomes("3 created");
    let expected = [("C1", Some("Other")), ("C2", None), ("C3", Some("Goud"))];
    assert_eq!(tiers(&world), pairs(&expected));

    // A changed table is a changed mapping: only customers with another value are sent.
    let world = world.with_mapping(&table("\"\" = \"None\" }, default = \"Other\""), "");
    let plan = world.execute(&["plan", "export.csv"]).expect_code(0).stdout;
    let line = "the mapping of `custom.tier` is changed; customers to update: 1, for this field alone: 1";
    assert!(plan.contains(line), "{plan}");
    world.execute(&RUN).expect_code(0).expect_outcomes("1 updated, 2 unchanged");
    assert_eq!(tiers(&world)[1], ("C2".to_owned(), Some("None".to_owned())));
}

#[test]
fn a_cell_that_clears_is_not_translated() {
    let world = world(MAPPING, "C1,NL,,gold,\n");
    world.execute(&RUN).expect_code(0);
    world.file("export.csv", format!("{HEADER}C1,NL,,<clear>,\n").as_bytes());
    world.execute(&RUN).expect_code(0).expect_outcomes("1 updated");
    assert_eq!(tiers(&world), pairs(&[("C1", Some(""))]));
}
