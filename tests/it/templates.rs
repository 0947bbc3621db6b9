//! What templates and rules read: nothing but what they name, and all of that.

use omnidesk_sync::sandbox::Settings;

use crate::world::{Ended, World};

const CUSTOMER: &str = "[customer]\nprimary_id = \"id\"\nbrand_id = { value = 2 }\nfirstname = \"first\"\n";

fn world(mapping: &str, limits: &str) -> World {
    World::new(Settings::default()).with_mapping(mapping, limits)
}

fn night(world: &World, lines: &[&str]) -> Ended {
    world.file("export.jsonl", format!("{}\n", lines.join("\n")).as_bytes());
    world.ends(&["run", "--json", "export.jsonl"]).expect(0)
}

/// Each word of its text would hide the member with a dot in its name.
const NOTE: &str = "note = { template = \"account {{ id }}{# crm address default #}{{ 'account' }}\" }\n";

#[test]
fn a_word_in_the_text_of_a_template_hides_no_member() {
    let rule = "[[operation.rule]]\nwhen = \"account.status | default('') != 'active'\"\nthen = \"purge\"\n";
    let world = world(
        &format!("{CUSTOMER}[customer.custom]\n{NOTE}{rule}"),
        "[guard]\nallow_purge = true\nmax_purge = 9\n",
    );
    let line = |first: &str| format!(r#"{{"id":"C1","first":"{first}","account.status":"active"}}"#);
    assert_eq!(night(&world, &[&line("Jan")]).outcomes(), "1 created");
    assert_eq!(night(&world, &[&line("Piet")]).outcomes(), "1 updated");
    assert_eq!(world.state().purged.len(), 0);
}

#[test]
fn a_change_below_a_word_in_the_text_of_a_template_is_sent() {
    let custom = format!(
        "[customer.custom]\n{NOTE}city = {{ template = \"{{{{ address.city | default('') }}}}\" }}\ncode = {{ template = \"{{{{ address['code'] | default('') }}}}\" }}\n"
    );
    for dotted in [true, false] {
        let world = world(&format!("{CUSTOMER}{custom}"), "");
        let line = |city: &str, code: &str| match dotted {
            true => {
                format!(r#"{{"id":"C1","first":"Jan","address.city":"{city}","address.code":"{code}"}}"#)
            }
            false => {
                format!(r#"{{"id":"C1","first":"Jan","address":{{"city":"{city}","code":"{code}"}}}}"#)
            }
        };
        assert_eq!(night(&world, &[&line("Delft", "1")]).outcomes(), "1 created");
        assert_eq!(night(&world, &[&line("Leiden", "1")]).outcomes(), "1 updated");
        assert_eq!(night(&world, &[&line("Leiden", "2")]).outcomes(), "1 updated");
        assert_eq!(night(&world, &[&line("Leiden", "2")]).outcomes(), "1 unchanged");
    }
}

#[test]
fn members_that_no_template_looks_at_may_be_lists_and_objects() {
    let templates = [
        "{# the address of the customer #}{{ address.city }}",
        "{{ address.city | default(\"no address\") | title }}",
        "{% set city = address.city %}{{ city }}",
        "{% for title in [address.city] %}{{ title }}{% endfor %}",
    ];
    for template in templates {
        let world = world(&format!("{CUSTOMER}[customer.custom]\nseg = {{ template = {template:?} }}\n"), "");
        let line = r#"{"id":"C1","first":"Jan","address":{"city":"Delft"},"city":["a"],"title":{"a":1},"default":[]}"#;
        let ended = night(&world, &[line]);
        assert_eq!(ended.outcomes(), "1 created", "{template}");
        assert!(!ended.stderr.contains("in no row"), "{template}: {}", ended.stderr);
        let state = world.state();
        let customer = state.customers.first().expect("a customer");
        assert_eq!(customer.custom.get("seg").map(String::as_str), Some("Delft"), "{template}");
    }
}

#[test]
fn a_part_of_what_is_a_text_is_refused_with_the_way_out() {
    let template = "[customer.custom]\nseg = { template = \"{{ account.status | default('none') }}\" }\n";
    let mapping = format!("{CUSTOMER}lastname = \"account\"\n{template}");
    for (name, export) in [
        ("export.csv", "id,first,account,account.status\nC1,Jan,Smit,active\n"),
        (
            "export.jsonl",
            "{\"id\":\"C1\",\"first\":\"Jan\",\"account\":\"Smit\",\"account.status\":\"active\"}\n",
        ),
    ] {
        let world = world(&mapping, "");
        world.file(name, export.as_bytes());
        let ended = world.ends(&["run", name]).expect(2);
        assert!(ended.stderr.contains("customer.custom.seg: "), "{}", ended.stderr);
        assert!(ended.stderr.contains("row['account.status']"), "{}", ended.stderr);
        let world = world.with_mapping(&mapping.replace("account.status", "row['account.status']"), "");
        assert_eq!(world.ends(&["run", "--json", name]).expect(0).outcomes(), "1 created");
        let state = world.state();
        let customer = state.customers.first().expect("a customer");
        assert_eq!(customer.custom.get("seg").map(String::as_str), Some("active"));
    }
}

/// Cells are text: a comparison with anything else never says what it seems to.
#[test]
fn what_cannot_be_meant_is_refused_before_the_start() {
    for (rule, words) in [
        ("deleted == true", "deleted is text"),
        ("age > 90", "age | int > 90"),
        ("row['age'] >= 90 and deleted", "age is text"),
        ("deleted | uper == 'X'", "no filter \"uper\""),
        ("deleted is lowr", "no test \"lowr\""),
        ("deleted is not none", "deleted != ''"),
        ("deleted is defined", "deleted != ''"),
        ("age not in [1, 2]", "age in ['1', '2']"),
    ] {
        let rules = format!("[[operation.rule]]\nwhen = {rule:?}\nthen = \"purge\"\n");
        let world = world(CUSTOMER, &rules);
        world.file("export.csv", b"id,first,deleted,age\nC1,Jan,true,91\n");
        let ended = world.ends(&["run", "export.csv"]).expect(2);
        assert!(ended.stderr.contains(words), "{rule}: {}", ended.stderr);
    }
}

/// A rule that names nothing but a column holds for any text in it.
#[test]
fn a_rule_does_not_take_no_for_yes() {
    let rules = "[[operation.rule]]\nwhen = \"deleted or not active\"\nthen = \"purge\"\n[guard]\nallow_purge = true\n";
    // Where another part decides, it does not matter.
    let counted = world(
        CUSTOMER,
        "[[operation.rule]]\nwhen = \"orders and orders | int > 5 or last == 'x' and deleted\"\nthen = \"skip\"\n",
    );
    counted.file("export.csv", b"id,first,last,orders,deleted\nC1,A,y,0,0\nC2,B,y,9,no\nC3,C,y,,f\n");
    let ended = counted.ends(&["run", "--json", "export.csv"]).expect(0);
    assert_eq!(ended.outcomes(), "2 created, 1 skipped");
    let either = world(CUSTOMER, "[[operation.rule]]\nwhen = \"gone or left\"\nthen = \"skip\"\n");
    either.file("export.csv", b"id,first,gone,left\nC1,A,0,no\nC2,B,0,yes\nC3,C,,\n");
    let ended = either.ends(&["run", "--json", "export.csv"]).expect(1);
    assert_eq!(ended.outcomes(), "1 created, 1 skipped, 1 rejected");
    let world = world(CUSTOMER, rules);
    let lines = [
        r#"{"id":"C1","first":"A","deleted":false,"active":true}"#,
        r#"{"id":"C2","first":"B","active":"0"}"#,
        r#"{"id":"C3","first":"C","deleted":"","active":"yes"}"#,
    ];
    world.file("export.jsonl", format!("{}\n", lines.join("\n")).as_bytes());
    let ended = world.ends(&["run", "--json", "export.jsonl"]).expect(1);
    assert_eq!(ended.outcomes(), "1 created, 2 rejected");
    assert!(
        ended.stderr.contains("deleted == 'true'") && ended.stderr.contains("column \"deleted\""),
        "{}",
        ended.stderr
    );
    assert_eq!(world.state().counters.purge, 0);
}

#[test]
fn of_json_lines_a_name_that_one_branch_sets_is_refused() {
    let template = "{% if first == 'Jan' %}{% set tier = 'top' %}{% endif %}{{ tier | default('none') }}";
    let with = |template: &str| format!("{CUSTOMER}[customer.custom]\nseg = {{ template = {template:?} }}\n");
    let world = world(&with(template), "");
    world.file("export.jsonl", b"{\"id\":\"C1\",\"first\":\"Piet\"}\n");
    let ended = world.ends(&["run", "export.jsonl"]).expect(2);
    assert!(ended.stderr.contains("tier is set in one branch only"), "{}", ended.stderr);
    let world = world.with_mapping(&with(&format!("{{% set tier = 'none' %}}{template}")), "");
    world.ends(&["run", "export.jsonl"]).expect(0);
    let seg = world.state().customers[0].custom.get("seg").cloned();
    assert_eq!(seg.as_deref(), Some("none"));
}

#[test]
fn of_json_lines_a_template_cannot_compute_a_name() {
    for template in ["{{ row['x' ~ '_tier'] | default('none') }}", "{% set r = row %}{{ r.tier }}"] {
        let world = world(&format!("{CUSTOMER}[customer.custom]\nseg = {{ template = {template:?} }}\n"), "");
        world.file("export.jsonl", b"{\"id\":\"C1\",\"first\":\"Jan\",\"x_tier\":\"gold\"}\n");
        let ended = world.ends(&["run", "export.jsonl"]).expect(2);
        assert!(ended.stderr.contains("customer.custom.seg: in JSON lines"), "{}", ended.stderr);
    }
}

#[test]
fn a_column_that_is_only_a_word_in_a_text_may_become_empty() {
    let mapping =
        format!("{CUSTOMER}[customer.custom]\nnote = {{ template = \"status of {{{{ id }}}}\" }}\n");
    let world = world(&mapping, "");
    let run = |status: &str| {
        let rows: String = (0..40).map(|row| format!("C{row},Jan,{status}\n")).collect();
        world.file("export.csv", format!("id,first,status\n{rows}").as_bytes());
        world.ends(&["run", "--json", "export.csv"]).expect(0).outcomes()
    };
    assert_eq!(run("active"), "40 created");
    assert_eq!(run(""), "40 unchanged");
}

#[test]
fn what_a_template_makes_in_a_branch_is_no_column() {
    let template =
        "{% if tier == 'gold' %}{% set word = 'vip' %}{% else %}{% set word = 'all' %}{% endif %}{{ word }}";
    let world = world(&format!("{CUSTOMER}[customer.custom]\nseg = {{ template = {template:?} }}\n"), "");
    world.file("export.csv", b"id,first,tier\nC1,Jan,gold\nC2,Piet,\n");
    assert_eq!(world.ends(&["run", "--json", "export.csv"]).expect(0).outcomes(), "2 created");
}

#[test]
fn what_the_export_does_not_have_is_refused() {
    let rule = "[[operation.rule]]\nwhen = \"WHEN\"\nthen = \"purge\"\n";
    for (header, when) in [
        ("id,first,status.code,status.since", "status != 'active'"),
        ("id,first,status.code,status.since", "row['status'] is defined"),
        ("id,first,Tier,x", "row['tier'] | default('none') == 'none'"),
        ("id,first,row,x", "row == 'deleted'"),
    ] {
        let mapping = format!("{CUSTOMER}{}", rule.replace("WHEN", when));
        let world = world(&mapping, "[guard]\nallow_purge = true\n");
        world.file("export.csv", format!("{header}\nC1,Ann,active,2020\n").as_bytes());
        let ended = world.ends(&["run", "export.csv"]).expect(2);
        assert!(ended.stderr.contains("operation.rule[0].when"), "{when}: {}", ended.stderr);
    }
    for template in [
        "{% set tier = row['tier'] | default('none') %}{{ tier }}",
        "{% set tier = tier | default('none') %}{{ tier }}",
        "{% for tier in [tier | default('none')] %}{{ tier }}{% endfor %}",
        "{{ tier | default('none') }}{% set tier = 1 %}",
        "{{ name }}",
        "{% if id == 'x' %}{% set tier = 'gold' %}{% else %}{% set tier = tier | default('none') %}{% endif %}{{ tier }}",
        "{% if id == 'x' %}{% set tier = 1 %}{% elif tier | default('') == 'gold' %}{% endif %}",
    ] {
        let world = world(&format!("{CUSTOMER}[customer.custom]\nseg = {{ template = {template:?} }}\n"), "");
        world.file("export.csv", b"id,first,Tier,name.first\nC1,Ann,gold,Ann\n");
        let ended = world.ends(&["run", "export.csv"]).expect(2);
        assert!(ended.stderr.contains("has no column"), "{template}: {}", ended.stderr);
    }
}

#[test]
fn the_columns_of_result_files_are_no_members() {
    let rule = "[[operation.rule]]\nwhen = \"_sync_status == 'deleted'\"\nthen = \"purge\"\n";
    let world = world(&format!("{CUSTOMER}{rule}"), "");
    world.file("export.jsonl", b"{\"id\":\"C1\",\"first\":\"Ann\",\"_sync_status\":\"active\"}\n");
    let ended = world.ends(&["run", "export.jsonl"]).expect(2);
    assert!(ended.stderr.contains("result files"), "{}", ended.stderr);
}

#[test]
fn a_member_below_an_empty_name_is_not_the_one_beside_it() {
    let rule = "[[operation.rule]]\nwhen = \"status != 'active'\"\nthen = \"purge\"\n";
    let mapping =
        format!("{CUSTOMER}[customer.custom]\nseg = {{ template = \"{{{{ row['']['x'] }}}}\" }}\n{rule}");
    let world = world(&mapping, "");
    let line = r#"{"id":"C1","first":"Ann","status":"active","":{"status":"new","x":"0"}}"#;
    assert_eq!(night(&world, &[line]).outcomes(), "1 created");
}

/// Of `name.first` there is no `name`, whoever asks for it and however.
#[test]
fn what_stands_before_a_dot_is_nothing_by_itself() {
    for template in [
        "{% if id == 'x' %}{% set name = 1 %}{% endif %}{{ name }}",
        "{{ row['na' ~ 'me'] }}",
        "{{ 'gone' if row | attr('name') != 'Ann' else 'here' }}",
    ] {
        let other = "other = { template = \"{{ name.first }}\" }\n";
        let world =
            world(&format!("{CUSTOMER}[customer.custom]\nseg = {{ template = {template:?} }}\n{other}"), "");
        world.file("export.csv", b"id,first,name.first\nC1,Ann,Ann\n");
        let ended = world.ends(&["run", "--json", "export.csv"]).expect(1);
        assert_eq!(ended.outcomes(), "1 rejected", "{template}");
    }
}

#[test]
fn what_both_branches_make_is_the_templates_own() {
    let template = "{% if id == 'C1' %}{% set tier = {'name': 'x'} %}{% else %}{% set tier = {'name': tier} %}{% endif %}{{ tier.name }}";
    let world = world(&format!("{CUSTOMER}[customer.custom]\nseg = {{ template = {template:?} }}\n"), "");
    world.file("export.csv", b"id,first,tier\nC1,Ann,gold\nC2,Bob,gold\n");
    assert_eq!(world.ends(&["run", "--json", "export.csv"]).expect(0).outcomes(), "2 created");
    let held: Vec<_> =
        world.state().customers.iter().map(|customer| customer.custom["seg"].clone()).collect();
    assert_eq!(held, ["x", "gold"]);
}
