//! Guards against the wrong column: each blocks what it is for, and no honest export.

use crate::guards::{expect_blocked, run_override};
use crate::world::World;

fn row(id: &str, last: &str, email: &str) -> String {
    format!("{id},Ann,{last},{email},,,\n")
}

fn own(id: usize) -> String {
    row(&format!("C{id}"), &format!("Last{id}"), &format!("c{id}@example.org"))
}

fn rows(count: usize) -> String {
    (0..count).map(own).collect()
}

/// Guests of a web shop have the id 0.
#[test]
fn guests_with_one_id_block_and_the_override_rejects_them() {
    let world = World::default();
    let guest = |nth: usize| row("0", &format!("Guest{nth}"), &format!("g{nth}@example.org"));
    let guests: String = (0..5).map(guest).collect();
    let export = format!("{}{}{}", guest(10), rows(40), guests);
    let blocked = expect_blocked(&world, &export, &["placeholder_ids"]);
    assert!(
        blocked.stderr.contains("6 of 46 rows") && blocked.stderr.contains("rows 1, 42, 43"),
        "{}",
        blocked.stderr
    );
    run_override(&world, &blocked).expect_code(1).expect_outcomes("40 created, 6 rejected");
    let rejected = world.result_text("rejected.csv");
    assert_eq!(rejected.matches("placeholder_id").count(), 6, "{rejected}");
    assert!(!rejected.contains(",id:0"), "{rejected}");
    // The result file, as it is, is no reason to stop, and the next night is the same.
    world.file("export.csv", rejected.as_bytes());
    world.execute(&["run", "--json", "export.csv"]).expect_code(1).expect_outcomes("6 rejected");
}

#[test]
fn a_few_placeholders_reject_only_their_rows() {
    let world = World::default();
    let export =
        format!("0,Ann,Bos,x@example.org,,,\n0,Bea,Smit,y@example.org,,,\n-,Cor,Vos,,,,\n{}", rows(20));
    world.run(&export).expect_code(1).expect_outcomes("20 created, 3 rejected");
}

#[test]
fn words_for_no_value_in_ids_count_though_blank_has_them() {
    let world = World::default();
    world.edit_config("[input]\n", "[input]\nblank = [\"\", \"-\", \"(not set)\"]\n");
    let guest = |nth: usize| row(["-", "(not set)"][nth % 2], &format!("Guest{nth}"), "");
    let export = format!("{}{}", rows(40), (0..6).map(guest).collect::<String>());
    let blocked = expect_blocked(&world, &export, &["placeholder_ids"]);
    run_override(&world, &blocked).expect_code(1).expect_outcomes("40 created, 6 rejected");
}

/// Also on the second night, when the one customer is known and unchanged.
#[test]
fn a_single_customer_may_have_the_id_zero_until_another_has_it_too() {
    let world = World::default();
    let zero = row("0", "Zero", "zero@example.org");
    let export = format!("{}{zero}", rows(5));
    world.run(&export).expect_code(0).expect_outcomes("6 created");
    world.run(&export).expect_code(0).expect_outcomes("6 unchanged").expect_calls(0);
    let two = format!("{export}{}", row("0", "Other", "other@example.org"));
    world.run(&two).expect_code(1).expect_outcomes("5 unchanged, 2 rejected").expect_calls(0);
}

/// The column of the company's id is mapped.
#[test]
fn an_id_of_several_people_blocks() {
    let world = World::default();
    let people = ["Bos", "Smit", "Vos"].map(|last| row("A1", last, &format!("{last}@example.org"))).concat();
    let blocked = expect_blocked(&world, &format!("{}{people}", rows(300)), &["same_id"]);
    assert!(blocked.stderr.contains("rows 301, 302, 303"), "{}", blocked.stderr);
    run_override(&world, &blocked).expect_code(0);
}

#[test]
fn many_ids_of_two_people_block_and_a_few_do_not() {
    let pairs = |count: usize| -> String {
        let pair =
            |id: usize| row(&format!("C{id}"), &format!("Other{id}"), &format!("other{id}@example.org"));
        (0..count).map(pair).collect()
    };
    let world = World::default();
    let blocked = expect_blocked(&world, &format!("{}{}", rows(300), pairs(4)), &["same_id"]);
    assert!(blocked.stderr.contains("--allow-same-id"), "{}", blocked.stderr);
    world.run(&format!("{}{}", rows(300), pairs(3))).expect_code(0);
    let world = World::default().with_settings("[guard]\nsame_id = \"report\"\n");
    let output = world.run(&format!("{}{}", rows(300), pairs(4))).expect_code(0);
    assert_eq!(output.notices("same_id"), (4, 0));
}

/// Rows of one customer who marries, moves, and changes addresses one by one.
#[test]
fn event_streams_are_no_different_people() {
    let world = World::default();
    let mut export = String::new();
    for id in 0..60 {
        let id = format!("E{id}");
        export += &row(&id, "Bos", &format!("{id}@example.org"));
        export += &row(&id, "", &format!("{id}@new.example.org"));
        export += &row(&id, "Smit", "");
        export += &format!("{id},,,,,+3161234{:04},\n", 1000 + id[1..].parse::<u32>().expect("a number"));
        export += &row(&id, "Bos-Smit", &format!("{id}@new.example.org"));
        export += &format!("{id},Bea,,,,,\n");
    }
    world.run(&export).expect_code(0);
    world.run(&export).expect_code(0);
}

#[test]
fn addresses_that_change_hands_block() {
    let world = World::default();
    world.run(&rows(60)).expect_code(0).expect_outcomes("60 created");
    // The e-mail column was sorted by itself.
    let mut emails: Vec<String> = (0..60).map(|id| format!("c{id}@example.org")).collect();
    emails.sort();
    emails.reverse();
    let sorted: String = emails
        .iter()
        .enumerate()
        .map(|(id, email)| row(&format!("C{id}"), &format!("Last{id}"), email))
        .collect();
    let blocked = expect_blocked(&world, &sorted, &["moved_addresses"]);
    assert!(blocked.stderr.contains("such as rows 1, 2, 3"), "{}", blocked.stderr);
    run_override(&world, &blocked);
    let world = World::default().with_settings("[guard]\nmoved_addresses = \"report\"\n");
    world.run(&rows(60)).expect_code(0);
    let output = world.run(&sorted);
    assert!(output.notices("moved_addresses").0 >= 50, "{}", output.stdout);
}

/// Ten customers take over the addresses of ten others, of whom half stay.
#[test]
fn a_merger_is_no_sorted_column() {
    let world = World::default();
    world.run(&rows(60)).expect_code(0);
    let mut export = String::new();
    for id in 0..60 {
        match id {
            0..10 => {
                export += &row(&format!("C{id}"), &format!("Last{id}"), &format!("c{}@example.org", id + 10))
            }
            10..15 => {}
            15..20 => export += &row(&format!("C{id}"), &format!("Last{id}"), &format!("n{id}@example.org")),
            _ => export += &own(id),
        }
    }
    assert_ne!(world.run(&export).code, Some(7));
}

/// Known customers get their partners' addresses, who keep them.
#[test]
fn families_that_begin_to_share_an_address_move_nothing() {
    let world = World::default();
    world.run(&rows(80)).expect_code(0);
    let shared = |id: usize| {
        let partner = id ^ 1;
        format!("C{id},Ann,Last{id},c{id}@example.org,c{partner}@example.org,,\n")
    };
    assert_ne!(world.run(&(0..80).map(shared).collect::<String>()).code, Some(7));
}

#[test]
fn one_address_on_most_rows_blocks_unless_ignored() {
    let export: String = (0..40)
        .map(|id| {
            row(&format!("C{id}"), &format!("Last{id}"), if id < 21 { "office@example.org" } else { "" })
        })
        .collect();
    let world = World::default();
    let blocked = expect_blocked(&world, &export, &["shared_addresses"]);
    assert!(
        blocked.stderr.contains("21 of 40 customers have the same email, such as those of rows 1, 2, 3"),
        "{}",
        blocked.stderr
    );
    assert_ne!(run_override(&world, &blocked).code, Some(7));
    // Unchanged rows count, too, and rows that were reported before are named.
    let more = format!("{export}{}", own(99));
    let blocked = expect_blocked(&world, &more, &["shared_addresses"]);
    assert!(blocked.stderr.contains("rows 1, 2, 3"), "{}", blocked.stderr);
    let world = World::default().with_settings("[guard]\nshared_addresses = \"ignore\"\n");
    assert_ne!(world.run(&export).code, Some(7));
    // Half of the rows, and fewer than 20 of all.
    for (with, all) in [(20, 40), (19, 19)] {
        let world = World::default();
        let export: String = (0..all)
            .map(|id| {
                row(
                    &format!("C{id}"),
                    &format!("Last{id}"),
                    if id < with { "office@example.org" } else { "" },
                )
            })
            .collect();
        assert_ne!(world.run(&export).code, Some(7), "{with} of {all}");
    }
}

#[test]
fn families_that_share_an_address_are_no_mistake() {
    let world = World::default();
    let export: String = (0..200)
        .map(|id| row(&format!("C{id}"), &format!("Last{}", id / 4), &format!("f{}@example.org", id / 4)))
        .collect();
    assert_ne!(world.run(&export).code, Some(7));
    assert_ne!(world.run(&export).code, Some(7));
}

#[test]
fn customers_without_an_address_are_counted() {
    let world = World::default();
    let export = format!(
        "{}A1,Ann,Bos,,,,\nA2,Bea,Vos,,,,\nA3,Cor,Smit,,,,\nA3,Cor,Smit,late@example.org,,,\n",
        rows(3)
    );
    world.write_export(&export);
    let plan = world.execute(&["plan", "export.csv"]).expect_code(0);
    assert!(
        plan.stdout.contains("2 customers are created without any address, such as row 4 on line 5"),
        "{}",
        plan.stdout
    );
    let output = world.run(&export).expect_code(0);
    assert_eq!(output.notices("without_address"), (2, 0));
    assert_eq!(world.run(&export).expect_code(0).notices("without_address"), (0, 0));
}

/// Adopts these rows. Exactly this guard must block, nothing may be recorded, and the
/// printed command overrides it.
#[track_caller]
fn expect_adoption_blocked(world: &World, rows: &str, guard: &str, overridden: i32) {
    world.write_export(rows);
    let known = || world.status()["customers"].as_u64().unwrap_or_default();
    let before = known();
    let blocked = world.execute(&["adopt", "export.csv"]).expect_code(7);
    let text = format!("error: blocked before anything was adopted.\n  {guard}: ");
    assert!(blocked.stderr.contains(&text), "{}", blocked.stderr);
    assert_eq!(blocked.stderr.matches("\n  ").count(), 2, "{}", blocked.stderr);
    assert_eq!(known(), before);
    let output = run_override(world, &blocked).expect_code(overridden);
    assert!(output.stderr.contains("adopted"), "{}", output.stderr);
    assert_eq!(world.requests(), 0);
}

/// A night later each right row would be a change, and the wrong ones would hide.
#[test]
fn a_wrong_column_is_not_adopted_either() {
    let guest = |nth: usize| row("0", &format!("Guest{nth}"), &format!("g{nth}@example.org"));
    let guests: String = (0..5).map(guest).collect();
    expect_adoption_blocked(&World::default(), &format!("{}{guests}", rows(40)), "placeholder_ids", 1);

    let people = ["Bos", "Smit", "Vos"].map(|last| row("A1", last, &format!("{last}@example.org"))).concat();
    expect_adoption_blocked(&World::default(), &format!("{}{people}", rows(300)), "same_id", 0);

    let office = |id: usize| row(&format!("C{id}"), &format!("Last{id}"), "office@example.org");
    expect_adoption_blocked(
        &World::default(),
        &(0..30).map(office).collect::<String>(),
        "shared_addresses",
        0,
    );

    let world = World::default();
    world.write_export(&rows(60));
    world.execute(&["adopt", "export.csv"]).expect_code(0);
    let turned =
        |id: usize| row(&format!("C{id}"), &format!("Last{id}"), &format!("c{}@example.org", 59 - id));
    expect_adoption_blocked(&world, &(0..60).map(turned).collect::<String>(), "moved_addresses", 0);
    expect_adoption_blocked(&world, &rows(20), "min_rows", 0);
}

/// Limits of what is sent do not apply where nothing is sent, and shared addresses are
/// reported by the run that sends them.
#[test]
fn an_honest_adoption_is_not_blocked() {
    let world = World::default().with_settings("[guard]\nmax_changes = \"1%\"\n");
    let family =
        |id: usize| row(&format!("C{id}"), &format!("Last{}", id / 4), &format!("f{}@example.org", id / 4));
    let families: String = (0..80).map(family).collect();
    world.write_export(&families);
    for _ in 0..2 {
        world.execute(&["adopt", "export.csv"]).expect_code(0);
    }
    let output = world.run(&families).expect_code(0).expect_outcomes("80 unchanged");
    assert_eq!(output.notices("shared_address"), (20, 0));
}
