//! Templates and rules read all columns and members that they name, and no others.

use crate::world::{RUN, World};

const CUSTOMER: &str = "[customer]\nprimary_id = \"id\"\nbrand_id = { value = 2 }\nfirstname = \"first\"\n";

fn world(mapping: &str, settings: &str) -> World {
    World::default().with_mapping(mapping, settings)
}

/// A mapping with a custom field of this template.
fn with_segment(template: &str) -> String {
    format!("{CUSTOMER}[customer.custom]\nseg = {{ template = {template:?} }}\n")
}

fn run_line(world: &World, line: &str) -> String {
    world.file("export.jsonl", format!("{line}\n").as_bytes());
    world.execute(&["run", "--json", "export.jsonl"]).expect_code(0).outcomes()
}

/// Its texts contain the names of members.
const NOTE: &str = "note = { template = \"account {{ id }}{# crm address default #}{{ 'account' }}\" }\n";

#[test]
fn a_text_in_a_template_hides_no_member() {
    let rule = "[[operation.rule]]\nwhen = \"account.status | default('') != 'active'\"\nthen = \"purge\"\n";
    let world = world(
        &format!("{CUSTOMER}[customer.custom]\n{NOTE}{rule}"),
        "[guard]\nallow_purge = true\nmax_purge = 9\n",
    );
    let line = |first: &str| format!(r#"{{"id":"C1","first":"{first}","account.status":"active"}}"#);
    assert_eq!(run_line(&world, &line("Jan")), "1 created");
    assert_eq!(run_line(&world, &line("Piet")), "1 updated");
    assert_eq!(world.state().purged.len(), 0);
}

/// In a few lines a list would take all memory, and the engine notices too late.
#[test]
fn a_template_cannot_double_a_list() {
    let double = "{% set x = x + x %}";
    for (template, message) in [
        (format!("{{% set x = [1] %}}{}{{{{ x | length }}}}", double.repeat(30)), "+ takes no list"),
        ("{{ ([1] * 9999999) | join }}".to_owned(), "* takes no list"),
        ("{% set x = [first] | chain([first]) %}".to_owned(), "there is no filter \"chain\""),
    ] {
        let world = world(&with_segment(&template), "");
        world.file("export.csv", b"id,first\nC1,Ann\n");
        world.execute(&RUN).expect_code(2).expect_stderr(message);
    }
    let template = "{% set names = first | split(';') | map('trim') %}{{ names[0] ~ names | join('+') }}";
    let world = world(&with_segment(template), "");
    world.file("export.csv", b"id,first\nC1,Ann;Bea\n");
    world.execute(&RUN).expect_code(0).expect_outcomes("1 created");
}

#[test]
fn a_changed_member_is_sent_even_if_a_text_in_a_template_has_its_name() {
    let custom = format!(
        "[customer.custom]\n{NOTE}city = {{ template = \"{{{{ address.city | default('') }}}}\" }}\ncode = {{ template = \"{{{{ address['code'] | default('') }}}}\" }}\n"
    );
    for is_dotted in [true, false] {
        let world = world(&format!("{CUSTOMER}{custom}"), "");
        let line = |city: &str, code: &str| match is_dotted {
            true => {
                format!(r#"{{"id":"C1","first":"Jan","address.city":"{city}","address.code":"{code}"}}"#)
            }
            false => {
                format!(r#"{{"id":"C1","first":"Jan","address":{{"city":"{city}","code":"{code}"}}}}"#)
            }
        };
        assert_eq!(run_line(&world, &line("Delft", "1")), "1 created");
        assert_eq!(run_line(&world, &line("Leiden", "1")), "1 updated");
        assert_eq!(run_line(&world, &line("Leiden", "2")), "1 updated");
        assert_eq!(run_line(&world, &line("Leiden", "2")), "1 unchanged");
    }
}

#[test]
fn members_that_no_template_reads_may_be_lists_and_objects() {
    let templates = [
        "{# the address of the customer #}{{ address.city }}",
        "{{ address.city | default(\"no address\") | title }}",
        "{% set city = address.city %}{{ city }}",
        "{% for title in [address.city] %}{{ title }}{% endfor %}",
    ];
    for template in templates {
        let world = world(&with_segment(template), "");
        let line = r#"{"id":"C1","first":"Jan","address":{"city":"Delft"},"city":["a"],"title":{"a":1},"default":[]}"#;
        world.file("export.jsonl", format!("{line}\n").as_bytes());
        let output = world.execute(&["run", "--json", "export.jsonl"]).expect_code(0);
        assert_eq!(output.outcomes(), "1 created", "{template}");
        assert!(!output.stderr.contains("in no row"), "{template}: {}", output.stderr);
        let state = world.state();
        let customer = state.customers.first().expect("a customer");
        assert_eq!(customer.custom.get("seg").map(String::as_str), Some("Delft"), "{template}");
    }
}

#[test]
fn a_member_of_a_text_is_refused_with_a_remedy() {
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
        world
            .execute(&["run", name])
            .expect_code(2)
            .expect_stderr("customer.custom.seg: ")
            .expect_stderr("row['account.status']");
        let world = world.with_mapping(&mapping.replace("account.status", "row['account.status']"), "");
        world.execute(&["run", "--json", name]).expect_code(0).expect_outcomes("1 created");
        let state = world.state();
        let customer = state.customers.first().expect("a customer");
        assert_eq!(customer.custom.get("seg").map(String::as_str), Some("active"));
    }
}

/// Cells are text, so a comparison with anything else is a mistake.
#[test]
fn nonsensical_rules_are_refused_before_the_run() {
    for (rule, message) in [
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
        let output = world.execute(&["run", "export.csv"]).expect_code(2);
        assert!(output.stderr.contains(message), "{rule}: {}", output.stderr);
    }
}

/// A rule that is only a column holds for any text, but `no` and `0` are rejected.
#[test]
fn a_rule_does_not_take_no_for_yes() {
    let rules = "[[operation.rule]]\nwhen = \"deleted or not active\"\nthen = \"purge\"\n[guard]\nallow_purge = true\n";
    // If another part of the rule decides, the cell does not matter.
    let other_part = world(
        CUSTOMER,
        "[[operation.rule]]\nwhen = \"orders and orders | int > 5 or last == 'x' and deleted\"\nthen = \"skip\"\n",
    );
    other_part.file("export.csv", b"id,first,last,orders,deleted\nC1,A,y,0,0\nC2,B,y,9,no\nC3,C,y,,f\n");
    other_part.execute(&RUN).expect_code(0).expect_outcomes("2 created, 1 skipped");
    let two_columns = world(CUSTOMER, "[[operation.rule]]\nwhen = \"closed or moved\"\nthen = \"skip\"\n");
    two_columns.file("export.csv", b"id,first,closed,moved\nC1,A,0,no\nC2,B,0,yes\nC3,C,,\n");
    two_columns.execute(&RUN).expect_code(1).expect_outcomes("1 created, 1 skipped, 1 rejected");
    let world = world(CUSTOMER, rules);
    let lines = [
        r#"{"id":"C1","first":"A","deleted":false,"active":true}"#,
        r#"{"id":"C2","first":"B","active":"0"}"#,
        r#"{"id":"C3","first":"C","deleted":"","active":"yes"}"#,
    ];
    world.file("export.jsonl", format!("{}\n", lines.join("\n")).as_bytes());
    world
        .execute(&["run", "--json", "export.jsonl"])
        .expect_code(1)
        .expect_outcomes("1 created, 2 rejected")
        .expect_stderr("deleted == 'true'")
        .expect_stderr("column \"deleted\"");
    assert_eq!(world.state().counters.purge, 0);
}

#[test]
fn a_name_that_only_one_branch_sets_is_refused_for_json_lines() {
    let template = "{% if first == 'Jan' %}{% set tier = 'top' %}{% endif %}{{ tier | default('none') }}";
    let world = world(&with_segment(template), "");
    world.file("export.jsonl", b"{\"id\":\"C1\",\"first\":\"Piet\"}\n");
    world.execute(&["run", "export.jsonl"]).expect_code(2).expect_stderr("tier is set in one branch only");
    let world = world.with_mapping(&with_segment(&format!("{{% set tier = 'none' %}}{template}")), "");
    world.execute(&["run", "export.jsonl"]).expect_code(0);
    let seg = world.state().customers[0].custom.get("seg").cloned();
    assert_eq!(seg.as_deref(), Some("none"));
}

#[test]
fn a_computed_name_is_refused_for_json_lines() {
    for template in ["{{ row['x' ~ '_tier'] | default('none') }}", "{% set r = row %}{{ r.tier }}"] {
        let world = world(&with_segment(template), "");
        world.file("export.jsonl", b"{\"id\":\"C1\",\"first\":\"Jan\",\"x_tier\":\"gold\"}\n");
        world
            .execute(&["run", "export.jsonl"])
            .expect_code(2)
            .expect_stderr("customer.custom.seg: in JSON lines");
    }
}

#[test]
fn a_column_named_only_in_a_text_may_become_empty() {
    let mapping =
        format!("{CUSTOMER}[customer.custom]\nnote = {{ template = \"status of {{{{ id }}}}\" }}\n");
    let world = world(&mapping, "");
    let run = |status: &str| {
        let rows: String = (0..40).map(|row| format!("C{row},Jan,{status}\n")).collect();
        world.file("export.csv", format!("id,first,status\n{rows}").as_bytes());
        world.execute(&RUN).expect_code(0).outcomes()
    };
    assert_eq!(run("active"), "40 created");
    assert_eq!(run(""), "40 unchanged");
}

#[test]
fn a_variable_that_both_branches_set_is_no_column() {
    let template =
        "{% if tier == 'gold' %}{% set word = 'vip' %}{% else %}{% set word = 'all' %}{% endif %}{{ word }}";
    let world = world(&with_segment(template), "");
    world.file("export.csv", b"id,first,tier\nC1,Jan,gold\nC2,Piet,\n");
    world.execute(&RUN).expect_code(0).expect_outcomes("2 created");
}

#[test]
fn a_missing_column_is_refused() {
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
        let output = world.execute(&["run", "export.csv"]).expect_code(2);
        assert!(output.stderr.contains("operation.rule[0].when"), "{when}: {}", output.stderr);
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
        let world = world(&with_segment(template), "");
        world.file("export.csv", b"id,first,Tier,name.first\nC1,Ann,gold,Ann\n");
        let output = world.execute(&["run", "export.csv"]).expect_code(2);
        assert!(output.stderr.contains("has no column"), "{template}: {}", output.stderr);
    }
}

#[test]
fn result_columns_are_no_members() {
    let rule = "[[operation.rule]]\nwhen = \"_sync_status == 'deleted'\"\nthen = \"purge\"\n";
    let world = world(&format!("{CUSTOMER}{rule}"), "");
    world.file("export.jsonl", b"{\"id\":\"C1\",\"first\":\"Ann\",\"_sync_status\":\"active\"}\n");
    world.execute(&["run", "export.jsonl"]).expect_code(2).expect_stderr("result files");
}

#[test]
fn a_member_of_an_empty_name_is_not_its_sibling() {
    let rule = "[[operation.rule]]\nwhen = \"status != 'active'\"\nthen = \"purge\"\n";
    let mapping =
        format!("{CUSTOMER}[customer.custom]\nseg = {{ template = \"{{{{ row['']['x'] }}}}\" }}\n{rule}");
    let world = world(&mapping, "");
    let line = r#"{"id":"C1","first":"Ann","status":"active","":{"status":"new","x":"0"}}"#;
    assert_eq!(run_line(&world, line), "1 created");
}

/// A column `name.first` does not make a column `name`.
#[test]
fn the_part_before_a_dot_is_no_column() {
    for template in [
        "{% if id == 'x' %}{% set name = 1 %}{% endif %}{{ name }}",
        "{{ row['na' ~ 'me'] }}",
        "{{ 'changed' if row | attr('name') != 'Ann' else 'same' }}",
    ] {
        let other = "other = { template = \"{{ name.first }}\" }\n";
        let world =
            world(&format!("{CUSTOMER}[customer.custom]\nseg = {{ template = {template:?} }}\n{other}"), "");
        world.file("export.csv", b"id,first,name.first\nC1,Ann,Ann\n");
        let output = world.execute(&RUN).expect_code(1);
        assert_eq!(output.outcomes(), "1 rejected", "{template}");
    }
}

#[test]
fn a_variable_may_have_the_name_of_a_column() {
    let template = "{% if id == 'C1' %}{% set tier = {'name': 'x'} %}{% else %}{% set tier = {'name': tier} %}{% endif %}{{ tier.name }}";
    let world = world(&with_segment(template), "");
    world.file("export.csv", b"id,first,tier\nC1,Ann,gold\nC2,Bob,gold\n");
    world.execute(&RUN).expect_code(0).expect_outcomes("2 created");
    let segments: Vec<_> =
        world.state().customers.iter().map(|customer| customer.custom["seg"].clone()).collect();
    assert_eq!(segments, ["x", "gold"]);
}

#[test]
fn a_key_that_a_template_misses_is_named_with_its_place() {
    for (template, place) in [
        ("{{ {'gold': 'Goud'}[first] }}", "at `{'gold': 'Goud'}[first]`"),
        ("{% set tiers = {'gold': 'Goud'} %}{{ tiers[first] }}", "at `tiers[first]`"),
        ("{{ row[first] }}", "at `row[first]`"),
    ] {
        let world = world(&with_segment(template), "");
        world.file("export.csv", b"id,first\nC1,Ann\n");
        world.execute(&RUN).expect_code(1).expect_outcomes("1 rejected");
        let rejected = world.result_text("rejected.csv");
        assert!(
            rejected.contains("it looks up a key that is not there, at") && rejected.contains(place),
            "{rejected}"
        );
    }
    let world = world(&with_segment("{{ row['First'] }}"), "");
    world.file("export.csv", b"id,first\nC1,Ann\n");
    world
        .execute(&RUN)
        .expect_code(2)
        .expect_stderr("the export has no column \"First\"; did you mean \"first\"?");
}
