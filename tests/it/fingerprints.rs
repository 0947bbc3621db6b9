//! Rows that pass by their print: the plan is the one that a look at every row
//! comes to, whatever changed since the last night.

use std::collections::BTreeMap;

use omnidesk_sync::checkpoint::{Checkpoint, RunState};
use omnidesk_sync::mapping::{Customer, PrimaryId};
use omnidesk_sync::reconcile::{Acked, CustomerState, RowFingerprint};
use omnidesk_sync::sandbox::Settings;
use proptest::prelude::*;
use serde_json::Value;

use crate::world::{HEADER, MAPPING, World, cases, open_checkpoint};

const CUSTOMERS: u8 = 6;
const FIRST: [&str; 4] = ["Ann", " Ann", "Bob", ""];
const EMAIL: [&str; 5] = ["a@example.org", "A@Example.org", "b@example.org", "c@example.org", ""];
const PHONE: [&str; 5] = ["06-12345678", "+31612345678", "06-87654321", "06", ""];
const OPERATION: [&str; 4] = ["", "", "skip", "purge"];

/// Customer, and which of the words above.
type Cells = (u8, usize, usize, usize, usize, usize);

fn cells() -> impl Strategy<Value = Cells> {
    // Operations other than sync are rare, so that most nights have none.
    let operation = prop_oneof![40 => 0..2_usize, 1 => 2..OPERATION.len()];
    (0..CUSTOMERS, 0..FIRST.len(), 0..EMAIL.len(), 0..EMAIL.len(), 0..PHONE.len(), operation)
}

/// The first night's rows, and what each later night changes: rows put in the
/// place of others, one left out, the order turned round.
#[derive(Debug, Clone)]
struct Case {
    first: Vec<Cells>,
    nights: Vec<Night>,
}

type Night = (Vec<(usize, Cells)>, Option<usize>, bool);

fn nights() -> impl Strategy<Value = Case> {
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
        let mut exports = vec![written(&rows)];
        for (changes, left_out, turned) in &self.nights {
            for (at, cells) in changes {
                let len = rows.len();
                match rows.get_mut(*at) {
                    Some(row) => *row = *cells,
                    None if len < 12 => rows.push(*cells),
                    None => {}
                }
            }
            if let Some(at) = left_out.filter(|at| *at < rows.len()) {
                rows.remove(at);
            }
            if *turned {
                rows.reverse();
            }
            exports.push(written(&rows));
        }
        exports
    }
}

fn written(rows: &[Cells]) -> String {
    let line = |(id, first, email, other, phone, operation): &Cells| {
        let (first, email, other) = (FIRST[*first], EMAIL[*email], EMAIL[*other]);
        format!("C{id},{first},Smit,{email},{other},{},{}\n", PHONE[*phone], OPERATION[*operation])
    };
    rows.iter().map(line).collect()
}

fn world() -> World {
    let world = World::new(Settings::default()).with_mapping(
        MAPPING,
        "max_errors = 1000\n[guard]\ncanary = 0\nallow_purge = true\nmax_purge = 99\nmin_rows = 0\nmin_fill = \"0%\"\n[missing]\naction = \"report\"\n",
    );
    let config = world.read("omnidesk-sync.toml");
    world.file("without.toml", format!("{config}\n[checkpoint]\npath = \"without\"\n").as_bytes());
    world
}

/// Makes a copy of the checkpoint without fingerprints. Returns what there was, by customer.
fn without_fingerprints(world: &World) -> BTreeMap<u8, RowFingerprint> {
    let path = world.path("without");
    for ending in ["", ".lock", "-wal", "-shm"] {
        let from = world.path(&format!("omnidesk-sync.checkpoint{ending}"));
        let to = world.path(&format!("without{ending}"));
        let _ = std::fs::remove_file(&to);
        let _ = std::fs::copy(from, to);
    }
    let tenant = Checkpoint::open_to_read(&path).expect("whole").expect("there").tenant().expect("a tenant");
    let mut checkpoint = open_checkpoint(&path, &tenant).expect("whole");
    let mut found = BTreeMap::new();
    for id in 0..CUSTOMERS {
        let primary_id = PrimaryId::new(&format!("C{id}")).expect("an id");
        let key = checkpoint.key().customer(&Customer { brand_id: 2, primary_id });
        let state = checkpoint.lookups().state(key).expect("sound");
        let CustomerState::Acknowledged(acked) = state else {
            found.insert(id, RowFingerprint::NONE);
            continue;
        };
        found.insert(id, acked.fingerprint);
        let state = CustomerState::Acknowledged(Acked { fingerprint: RowFingerprint::NONE, ..acked });
        let mut batch = checkpoint.batch().expect("a batch");
        batch.set_state(key, &state).expect("a state");
        batch.commit_states().expect("durable");
    }
    found
}

fn planned(world: &World, config: &str) -> Value {
    world.ends(&["plan", "--json", "--show", "99", "-c", config, "export.csv"]).json()
}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn a_plan_is_the_same_with_fingerprints_and_without(case in nights()) {
        let world = world();
        for export in case.exports() {
            world.file("export.csv", format!("{HEADER}{export}").as_bytes());
            if world.path("omnidesk-sync.checkpoint").exists() {
                without_fingerprints(&world);
                let with = planned(&world, "omnidesk-sync.toml");
                prop_assert_eq!(&with, &planned(&world, "without.toml"), "{}", export);
            }
            let ended = world.ends(&["run", "--json", "export.csv"]);
            prop_assert!(matches!(ended.code, Some(0 | 1)), "{}", ended.stderr);
            if ended.code == Some(0) {
                let again = world.ends(&["run", "--json", "export.csv"]);
                prop_assert_eq!(again.calls(), 0, "{}", again.stdout);
            }
        }
    }
}

#[test]
fn a_row_has_a_fingerprint_while_it_asks_for_just_what_is_acknowledged() {
    let world = world();
    let known = |export: &str| {
        world.run(export);
        without_fingerprints(&world)[&0]
    };
    let first = known("C0,Ann,Smit,a@example.org,,,\n");
    assert_ne!(first, RowFingerprint::NONE);
    // Written otherwise, it asks for the same: the next night knows it by that.
    let other = known("C0, Ann ,Smit,A@Example.org,,,\n");
    assert!(other != RowFingerprint::NONE && other != first);
    assert_eq!(known("C0,Ann,Smit,a@example.org,,,\n"), first);
    assert_ne!(known("C0,Bob,Smit,a@example.org,,,\n"), first);
    // An address has vanished: somebody has to look at the row each night.
    let before = known("C0,Bob,Smit,a@example.org,b@example.org,,\n");
    assert_eq!(known("C0,Bob,Smit,a@example.org,,,\n"), before);
    assert_eq!(known("C0,Bob,Smit,a@example.org,,,purge\n"), RowFingerprint::NONE);
}

#[test]
fn an_adopted_row_has_a_fingerprint() {
    let world = world();
    world.file("export.csv", format!("{HEADER}C0,Ann,Smit,a@example.org,,06-12345678,\n").as_bytes());
    world.ends(&["adopt", "export.csv"]).expect(0);
    assert_ne!(without_fingerprints(&world)[&0], RowFingerprint::NONE);
    let tenant = Checkpoint::open_to_read(&world.path("without")).expect("whole").expect("there");
    assert_eq!(tenant.runs(1).expect("a run")[0].1.state, RunState::Finished);
}

/// A column that a template or a rule reads in whatever way is one that counts.
#[test]
fn a_cell_that_only_a_template_reads_is_sent_when_it_changes() {
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
        changes_with("id,first,postcode,country", template);
    }
    // A column may have the name of a function.
    for template in ["{{ range }}", "{{ row.range }}", "{{ row['range'] | upper }}"] {
        changes_with("id,first,range,country", template);
    }
}

/// JSON lines are read for what a mapping asks for, in whatever way it does.
#[test]
fn a_member_that_a_template_names_anywhere_is_read() {
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
        let world = World::new(Settings::default()).with_mapping(&mapping, "");
        let run = |cell: &str| {
            let line = format!(r#"{{"id":"C0","postcode":"{cell}","home":{{"postcode":"{cell}"}}}}"#);
            world.file("export.jsonl", format!("{line}\n").as_bytes());
            world.ends(&["run", "--json", "export.jsonl"]).expect(0).outcomes()
        };
        assert_eq!(run("1000AB"), "1 created", "{template}");
        assert_eq!(run("2999CD"), "1 updated", "{template}");
    }
}

/// Two nights that differ in the third column alone.
fn changes_with(header: &str, template: &str) {
    let mapping = format!(
        "[customer]\nprimary_id = \"id\"\nbrand_id = {{ value = 2 }}\nfirstname = \"first\"\n[customer.custom]\nsegment = {{ template = {template:?} }}\n"
    );
    let world = World::new(Settings::default()).with_mapping(&mapping, "");
    let run = |cell: &str| {
        world.file("export.csv", format!("{header}\nC0,Ann,{cell},NL\n").as_bytes());
        world.ends(&["run", "--json", "export.csv"]).expect(0).outcomes()
    };
    assert_eq!(run("1000"), "1 created", "{template}");
    assert_eq!(run("2000"), "1 updated", "{template}");
    assert_eq!(run("2000"), "1 unchanged", "{template}");
}

#[test]
fn a_cell_that_only_a_rule_reads_counts() {
    for condition in ["status[:3] == 'del'", "row.status[:3] == 'del'", "row ['status'] == 'deleted'"] {
        let mapping = format!(
            "[customer]\nprimary_id = \"id\"\nbrand_id = {{ value = 2 }}\nfirstname = \"first\"\n[[operation.rule]]\nwhen = {condition:?}\nthen = \"skip\"\n"
        );
        let world = World::new(Settings::default()).with_mapping(&mapping, "");
        let run = |status: &str| {
            world.file("export.csv", format!("id,first,status\nC0,Ann,{status}\n").as_bytes());
            world.ends(&["run", "--json", "export.csv"]).expect(0).outcomes()
        };
        assert_eq!(run("active"), "1 created", "{condition}");
        assert_eq!(run("deleted"), "1 skipped", "{condition}");
    }
}

#[test]
fn a_column_with_another_name_is_another_column_for_a_template_that_looks_at_any() {
    let mapping = "[customer]\nprimary_id = \"id\"\nbrand_id = { value = 2 }\nfirstname = \"first\"\n[customer.custom]\nsegment = { template = \"{{ row['x' ~ '_tier'] | default('none') }}\" }\n";
    let world = World::new(Settings::default()).with_mapping(mapping, "[guard]\nmin_fill = \"0%\"\n");
    let run = |column: &str| {
        world.file("export.csv", format!("id,first,{column}\nC0,Ann,gold\n").as_bytes());
        world.ends(&["run", "--json", "export.csv"]).expect(0).outcomes()
    };
    assert_eq!(run("x_tier"), "1 created");
    assert_eq!(run("y_tier"), "1 updated");
}
