//! Rows that are skipped by their fingerprint: the plan is the same as without
//! fingerprints, whatever has changed since the last night.

use std::collections::BTreeMap;
use std::path::Path;

use omnidesk_sync::checkpoint::{Checkpoint, RunState};
use omnidesk_sync::mapping::{Customer, PrimaryId};
use omnidesk_sync::reconcile::{Acked, CustomerState, RowFingerprint};
use proptest::prelude::*;
use serde_json::Value;

use crate::world::{MAPPING, RUN, World, open_checkpoint, proptest_config};

const CUSTOMERS: u8 = 6;
const FIRST: [&str; 4] = ["Ann", " Ann", "Bob", ""];
const EMAIL: [&str; 5] = ["a@example.org", "A@Example.org", "b@example.org", "c@example.org", ""];
const PHONE: [&str; 5] = ["06-12345678", "+31612345678", "06-87654321", "06", ""];
const OPERATION: [&str; 4] = ["", "", "skip", "purge"];

/// A customer, and indices into the constants above.
type Cells = (u8, usize, usize, usize, usize, usize);

fn cells() -> impl Strategy<Value = Cells> {
    // Other operations than `sync` are rare, so most nights have none.
    let operation = prop_oneof![40 => 0..2_usize, 1 => 2..OPERATION.len()];
    (0..CUSTOMERS, 0..FIRST.len(), 0..EMAIL.len(), 0..EMAIL.len(), 0..PHONE.len(), operation)
}

/// The rows of the first night, and the changes of each later night.
#[derive(Debug, Clone)]
struct Case {
    first: Vec<Cells>,
    nights: Vec<Night>,
}

/// Rows that replace others, a row that is removed, and whether the order is reversed.
type Night = (Vec<(usize, Cells)>, Option<usize>, bool);

fn cases() -> impl Strategy<Value = Case> {
    let night = (
        proptest::collection::vec((0..10_usize, cells()), 0..3),
        proptest::option::weighted(0.3, 0..10_usize),
        proptest::bool::weighted(0.2),
    );
    (proptest::collection::vec(cells(), 1..10), proptest::collection::vec(night, 1..4))
        .prop_map(|(first, nights)| Case { first, nights })
}

impl Case {
    fn exports(&self) -> Vec<String> {
        let mut rows = self.first.clone();
        let mut exports = vec![export_text(&rows)];
        for (changes, removed, is_reversed) in &self.nights {
            for (at, cells) in changes {
                let len = rows.len();
                match rows.get_mut(*at) {
                    Some(row) => *row = *cells,
                    None if len < 12 => rows.push(*cells),
                    None => {}
                }
            }
            if let Some(at) = removed.filter(|at| *at < rows.len()) {
                rows.remove(at);
            }
            if *is_reversed {
                rows.reverse();
            }
            exports.push(export_text(&rows));
        }
        exports
    }
}

fn export_text(rows: &[Cells]) -> String {
    let line = |(id, first, email, other, phone, operation): &Cells| {
        let (first, email, other) = (FIRST[*first], EMAIL[*email], EMAIL[*other]);
        format!("C{id},{first},Smit,{email},{other},{},{}\n", PHONE[*phone], OPERATION[*operation])
    };
    rows.iter().map(line).collect()
}

fn world() -> World {
    // Nobody uses this word. Another one makes another mapping, which maps all alike.
    let mapping = format!("{MAPPING}values = {{ z = \"skip\" }}\n");
    let world = World::default().with_mapping(
        &mapping,
        "max_errors = 1000\n[guard]\ncanary = 0\nallow_purge = true\nmax_purge = 99\nmin_rows = 0\nmin_fill = \"0%\"\n[missing]\naction = \"report\"\n",
    );
    world.write_other_config("copy");
    world
}

/// Copies the checkpoint without its fingerprints. Returns these by customer.
fn copy_without_fingerprints(world: &World) -> BTreeMap<u8, RowFingerprint> {
    let path = world.path("copy");
    for suffix in ["", ".lock", "-wal", "-shm"] {
        let from = world.path(&format!("omnidesk-sync.checkpoint{suffix}"));
        let to = world.path(&format!("copy{suffix}"));
        let _ = std::fs::remove_file(&to);
        let _ = std::fs::copy(from, to);
    }
    let tenant = read_checkpoint(&path).tenant().expect("a tenant");
    let mut checkpoint = open_checkpoint(&path, &tenant).expect("a checkpoint");
    let mut fingerprints = BTreeMap::new();
    for id in 0..CUSTOMERS {
        let primary_id = PrimaryId::new(&format!("C{id}")).expect("an id");
        let key = checkpoint.key().customer(&Customer { brand_id: 2, primary_id });
        let state = checkpoint.lookups().state(key).expect("a state");
        let CustomerState::Acknowledged(acked) = state else {
            fingerprints.insert(id, RowFingerprint::NONE);
            continue;
        };
        fingerprints.insert(id, acked.fingerprint);
        let state = CustomerState::Acknowledged(Acked { fingerprint: RowFingerprint::NONE, ..acked });
        let mut batch = checkpoint.batch().expect("a batch");
        batch.set_state(key, &state).expect("a state");
        batch.commit_states().expect("durable");
    }
    fingerprints
}

fn read_checkpoint(path: &Path) -> Checkpoint {
    Checkpoint::open_to_read(path).expect("a checkpoint").expect("a checkpoint")
}

fn plan(world: &World, config: &str) -> Value {
    world.execute(&["plan", "--json", "--show", "99", "-c", config, "export.csv"]).json()
}

proptest! {
    #![proptest_config(proptest_config(16))]

    #[test]
    fn a_plan_is_the_same_with_fingerprints_and_without(case in cases()) {
        let world = world();
        for export in case.exports() {
            world.write_export(&export);
            if world.path("omnidesk-sync.checkpoint").exists() {
                copy_without_fingerprints(&world);
                let plan_with = plan(&world, "omnidesk-sync.toml");
                prop_assert_eq!(&plan_with, &plan(&world, "copy.toml"), "{}", export);
            }
            let output = world.execute(&RUN);
            prop_assert!(matches!(output.code, Some(0 | 1)), "{}", output.stderr);
            if output.code == Some(0) {
                let again = world.execute(&RUN);
                prop_assert_eq!(again.calls(), 0, "{}", again.stdout);
            }
        }
    }
}

proptest! {
    #![proptest_config(proptest_config(16))]

    /// Where the mapping has changed since, rows are known by what their customers hold.
    #[test]
    fn a_plan_is_the_same_with_fingerprints_of_another_mapping(case in cases()) {
        let world = world();
        let mut is_first = true;
        for export in case.exports() {
            if !is_first {
                world.edit_config("z = ", "zz = ");
                world.write_other_config("copy");
                // A copy whose last run has the new mapping, and no fingerprint.
                copy_without_fingerprints(&world);
                world.write_export("");
                // A process that another test has forked holds the lock of the copy until it
                // becomes its program.
                let adopt = || world.execute(&["adopt", "-c", "copy.toml", "export.csv"]);
                std::iter::repeat_with(adopt).take(100).find(|output| output.code != Some(6)).expect("an end").expect_code(0);
                world.write_export(&export);
                let plans = ["omnidesk-sync.toml", "copy.toml"].map(|config| plan(&world, config));
                for part in ["requests", "outcomes", "rejected", "missing"] {
                    prop_assert_eq!(&plans[0][part], &plans[1][part], "{} of {}", part, export);
                }
            }
            is_first = false;
            world.write_export(&export);
            let output = world.execute(&RUN);
            prop_assert!(matches!(output.code, Some(0 | 1)), "{}", output.stderr);
            if output.code == Some(0) {
                prop_assert_eq!(world.execute(&RUN).calls(), 0);
            }
        }
    }
}

/// The first run with another mapping gives the rows that change nothing their new
/// fingerprints, wherever in the checkpoint their customers are.
#[test]
fn a_changed_mapping_leaves_new_fingerprints() {
    let world = world();
    let rows = "C0,Ann,Smit,a@example.org,,06-12345678,\nC1,Bob,Smit,,,,\n";
    world.run(rows);
    let before = copy_without_fingerprints(&world);
    world.edit_config("z = ", "zz = ");
    world.run(&format!("{rows}C2,Cas,Smit,,,,\n")).expect_outcomes("1 created, 2 unchanged");
    let after = copy_without_fingerprints(&world);
    for id in 0..3 {
        assert!(after[&id] != RowFingerprint::NONE && after[&id] != before[&id], "{id}");
    }
}

#[test]
fn a_row_has_a_fingerprint_while_it_would_change_nothing() {
    let world = world();
    let fingerprint = |export: &str| {
        world.run(export);
        copy_without_fingerprints(&world)[&0]
    };
    let first = fingerprint("C0,Ann,Smit,a@example.org,,,\n");
    assert_ne!(first, RowFingerprint::NONE);
    // The same values in another spelling have a fingerprint of their own.
    let other = fingerprint("C0, Ann ,Smit,A@Example.org,,,\n");
    assert!(other != RowFingerprint::NONE && other != first);
    assert_eq!(fingerprint("C0,Ann,Smit,a@example.org,,,\n"), first);
    assert_ne!(fingerprint("C0,Bob,Smit,a@example.org,,,\n"), first);
    // With a vanished address the row is checked each night.
    let before = fingerprint("C0,Bob,Smit,a@example.org,b@example.org,,\n");
    assert_eq!(fingerprint("C0,Bob,Smit,a@example.org,,,\n"), before);
    assert_eq!(fingerprint("C0,Bob,Smit,a@example.org,,,purge\n"), RowFingerprint::NONE);
}

#[test]
fn an_adopted_row_has_a_fingerprint() {
    let world = world();
    world.write_export("C0,Ann,Smit,a@example.org,,06-12345678,\n");
    world.execute(&["adopt", "export.csv"]).expect_code(0);
    assert_ne!(copy_without_fingerprints(&world)[&0], RowFingerprint::NONE);
    assert_eq!(read_checkpoint(&world.path("copy")).runs(1).expect("a run")[0].1.state, RunState::Finished);
}

/// A fingerprint covers every column that a template reads, in whatever way.
#[test]
fn a_changed_cell_that_only_a_template_reads_is_sent() {
    let templates = [
        "{{ postcode[:4] }}",
        "{{ row.postcode[:4] }}",
        "{{ row['postcode'][:4] }}",
        "{{ row ['postcode'] }}",
        "{{ row[\n'postcode'] }}",
        "{{ (country ~ postcode)[:6] }}",
        "{% set postcode = postcode | upper %}{{ postcode }}",
        "{% set postcode %}{{ postcode }}{% endset %}{{ postcode }}",
        "{% with postcode = postcode %}{{ postcode }}{% endwith %}",
        "{% filter replace('x', postcode) %}x{% endfilter %}",
        "{% for part in [postcode] %}{{ part }}{% endfor %}",
        "{% if postcode == '2000' %}south{% else %}north{% endif %}",
        "{{ row['post' ~ 'code'] }}",
        "{% set all = row %}{{ all.postcode }}",
    ];
    for template in templates {
        assert_change_is_sent("id,first,postcode,country", template);
    }
    // A column may have the name of a function.
    for template in ["{{ range }}", "{{ row.range }}", "{{ row['range'] | upper }}"] {
        assert_change_is_sent("id,first,range,country", template);
    }
}

/// The reader of JSON lines extracts every member that a template names.
#[test]
fn a_changed_member_that_only_a_template_reads_is_sent() {
    for template in [
        "{{ postcode[:4] }}",
        "{{ row.postcode[:4] }}",
        "{{ home.postcode [2:] }}",
        "{{ (id ~ postcode)[:6] }}",
        "{% set postcode = postcode | upper %}{{ postcode }}",
        "{% filter replace('x', postcode) %}x{% endfilter %}",
        "{% for at in range(2) %}{{ postcode[at] }}{% endfor %}",
    ] {
        let mapping = format!(
            "[customer]\nprimary_id = \"id\"\nbrand_id = {{ value = 2 }}\n[customer.custom]\nsegment = {{ template = {template:?} }}\n"
        );
        let world = World::default().with_mapping(&mapping, "");
        let run = |cell: &str| {
            let line = format!(r#"{{"id":"C0","postcode":"{cell}","home":{{"postcode":"{cell}"}}}}"#);
            world.file("export.jsonl", format!("{line}\n").as_bytes());
            world.execute(&["run", "--json", "export.jsonl"]).expect_code(0).outcomes()
        };
        assert_eq!(run("1000AB"), "1 created", "{template}");
        assert_eq!(run("2999CD"), "1 updated", "{template}");
    }
}

/// Runs two nights that differ only in the third column.
fn assert_change_is_sent(header: &str, template: &str) {
    let mapping = format!(
        "[customer]\nprimary_id = \"id\"\nbrand_id = {{ value = 2 }}\nfirstname = \"first\"\n[customer.custom]\nsegment = {{ template = {template:?} }}\n"
    );
    let world = World::default().with_mapping(&mapping, "");
    let run = |cell: &str| {
        world.file("export.csv", format!("{header}\nC0,Ann,{cell},NL\n").as_bytes());
        world.execute(&RUN).expect_code(0).outcomes()
    };
    assert_eq!(run("1000"), "1 created", "{template}");
    assert_eq!(run("2000"), "1 updated", "{template}");
    assert_eq!(run("2000"), "1 unchanged", "{template}");
}

#[test]
fn a_changed_cell_that_only_a_rule_reads_is_noticed() {
    for condition in ["status[:3] == 'del'", "row.status[:3] == 'del'", "row ['status'] == 'deleted'"] {
        let mapping = format!(
            "[customer]\nprimary_id = \"id\"\nbrand_id = {{ value = 2 }}\nfirstname = \"first\"\n[[operation.rule]]\nwhen = {condition:?}\nthen = \"skip\"\n"
        );
        let world = World::default().with_mapping(&mapping, "");
        let run = |status: &str| {
            world.file("export.csv", format!("id,first,status\nC0,Ann,{status}\n").as_bytes());
            world.execute(&RUN).expect_code(0).outcomes()
        };
        assert_eq!(run("active"), "1 created", "{condition}");
        assert_eq!(run("deleted"), "1 skipped", "{condition}");
    }
}

#[test]
fn a_renamed_column_is_noticed_by_a_template_that_computes_column_names() {
    let mapping = "[customer]\nprimary_id = \"id\"\nbrand_id = { value = 2 }\nfirstname = \"first\"\n[customer.custom]\nsegment = { template = \"{{ row['x' ~ '_tier'] | default('none') }}\" }\n";
    let world = World::default().with_mapping(mapping, "[guard]\nmin_fill = \"0%\"\n");
    let run = |column: &str| {
        world.file("export.csv", format!("id,first,{column}\nC0,Ann,gold\n").as_bytes());
        world.execute(&RUN).expect_code(0).outcomes()
    };
    assert_eq!(run("x_tier"), "1 created");
    assert_eq!(run("y_tier"), "1 updated");
}
