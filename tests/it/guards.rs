//! Guards: each one blocks and does not block, and the command that it prints
//! overrides it.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use omnidesk_sync::omnidesk::BaseUrl;
use omnidesk_sync::reconcile::CustomerKey;

use crate::server::{Ending, Request, Server, json, no_answer, success};
use crate::world::{CommandOutput, HEADER, KEY, MAPPING, RUN, World, kill, open_checkpoint, rows};

fn world(guard: &str) -> World {
    World::default().with_settings(&format!("[guard]\n{guard}\n"))
}

fn purges(count: usize) -> String {
    (0..count).map(|id| format!("C{id},,,,,,purge\n")).collect()
}

/// Runs these rows. Exactly these guards must block, and nothing may be sent.
#[track_caller]
pub(crate) fn expect_blocked(world: &World, rows: &str, guards: &[&str]) -> CommandOutput {
    let before = world.requests();
    let output = world.run(rows).expect_code(7);
    assert_eq!(world.requests(), before);
    let blocks = |guard: &&str| output.stderr.contains(&format!("\n  {guard}: "));
    let all = [
        "allow_purge",
        "max_purge",
        "max_changes",
        "min_rows",
        "min_fill",
        "new_ids",
        "shared_addresses",
        "same_id",
        "moved_addresses",
        "placeholder_ids",
    ];
    let blocking: Vec<&str> = all.into_iter().filter(blocks).collect();
    assert_eq!(blocking, guards, "{}", output.stderr);
    output
}

/// Runs the command that a blocked run has printed.
pub(crate) fn run_override(world: &World, blocked: &CommandOutput) -> CommandOutput {
    run_command(world, blocked, "intended, run:")
}

/// Runs the command below a line with this end.
pub(crate) fn run_command(world: &World, blocked: &CommandOutput, intro: &str) -> CommandOutput {
    let mut lines = blocked.stderr.lines().skip_while(|line| !line.ends_with(intro));
    let line = lines.nth(1).expect("a command").trim();
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).current_dir(world.path("")).env("OMNIDESK_API_KEY", KEY).stdin(Stdio::null());
    CommandOutput::read(&mut shell)
}

/// However rows are decided when they are read again, and however often the run
/// is resumed, no more purges are sent than the limit allows.
#[test]
fn a_purge_beyond_the_limit_is_not_sent() {
    let world = world("allow_purge = true\nmax_purge = 2");
    world.run(&rows(30)).expect_code(0);
    world.file("purges.csv", format!("{HEADER}{}", purges(15)).as_bytes());
    let allowed = ["run", "--rate", "50/s", "--max-purge", "15", "purges.csv"];
    world.kill_after(4, &allowed);
    let purged = world.state().purged.len();
    assert!((2..12).contains(&purged), "{purged}");
    // As if the plan had decided most rows otherwise.
    {
        let tenant = BaseUrl::try_from(world.base_url()).expect("a URL").tenant();
        let mut checkpoint =
            open_checkpoint(&world.path("omnidesk-sync.checkpoint"), &tenant).expect("a checkpoint");
        let mut run = checkpoint.open_runs().expect("runs").pop().expect("an open one");
        assert_eq!(run.record.purges_planned, 15);
        run.record.purges_planned = 2;
        let files = run.record.files.clone();
        let mut batch = checkpoint.batch().expect("a batch");
        batch.set_pending(CustomerKey([0; 16]), None);
        batch.commit(&mut run, files).expect("committed");
    }
    for _ in 0..2 {
        world.execute(&["run", "purges.csv"]).expect_code(3).expect_stderr("max_purge = 2 allows no more");
        // A call that the killed process had sent may be sent again.
        assert!(world.state().purged.len() <= purged + 2);
    }
    world.execute(&allowed).expect_code(0);
    assert_eq!(world.state().purged.len(), 15);
}

/// A purge uses up one grant, however many attempts it takes.
#[test]
fn planned_purges_are_made_even_if_their_first_answers_were_lost() {
    let hangs = Arc::new(AtomicBool::new(true));
    let (shared, failed) = (Arc::clone(&hangs), AtomicBool::new(false));
    let server = Server::new(move |_, request| {
        if is_purge(request, "C0") && !failed.swap(true, Relaxed) {
            json(500, "{}")
        } else if is_purge(request, "C2") && shared.load(Relaxed) {
            no_answer(Ending::Hang)
        } else {
            success()
        }
    });
    let settings = "concurrency = 1\n[guard]\ncanary = 0\nallow_purge = true\nmax_purge = 5\nmin_rows = 0\n";
    let world = World::with_server(&server.url()).with_settings(settings);
    world.run(&rows(5)).expect_code(0);
    world.write_export(&purges(5));
    let mut child = world.spawn(&["run", "export.csv"]);
    while !server.requests().iter().any(|request| is_purge(request, "C2")) {
        assert!(child.try_wait().expect("a child").is_none(), "the program has ended");
        std::thread::yield_now();
    }
    kill(&mut child);
    hangs.store(false, Relaxed);
    world.execute(&RUN).expect_code(0).expect_outcomes("5 purged");
}

fn is_purge(request: &Request, id: &str) -> bool {
    request.line().starts_with("DELETE") && request.body.contains(id)
}

#[test]
fn a_row_without_an_id_blocks_purges_of_missing_customers_without_an_override() {
    let world = world("min_rows = 0\nallow_purge = true\n[missing]\naction = \"purge\"");
    world.run(&rows(5)).expect_code(0);
    let output = world
        .run(&format!("{},Ann,Smit,x@example.org,,,\n", rows(3)))
        .expect_code(7)
        .expect_stderr("fix these rows");
    assert!(!output.stderr.contains("intended, run:"), "{}", output.stderr);
}

#[test]
fn purges_need_an_override_with_their_number() {
    let world = world("");
    world.run(&rows(30)).expect_code(0);
    let output = expect_blocked(&world, &purges(25), &["allow_purge", "max_purge"]);
    assert!(output.stderr.contains("25 of 25 rows would purge"), "{}", output.stderr);
    // One of the two options is not enough.
    let limits = ["run", "--max-purge", "100%", "--max-changes", "100%", "--min-rows", "0", "export.csv"];
    world.execute(&limits).expect_code(7);
    world.execute(&["run", "--allow-purge", "export.csv"]).expect_code(7);
    run_override(&world, &output).expect_code(0).expect_outcomes("25 purged");
    assert_eq!(world.state().customers.len(), 5);
}

#[test]
fn a_truncated_export_needs_an_override() {
    let world = world("");
    world.run(&rows(40)).expect_code(0);
    world.run(&rows(20)).expect_code(0);
    world.run(&rows(10)).expect_code(0);
    let output = expect_blocked(&world, &rows(4), &["min_rows"]);
    assert!(output.stderr.contains("has 4 rows, the last full run read 10"), "{}", output.stderr);
    run_override(&world, &output).expect_code(0).expect_outcomes("4 unchanged");
}

#[test]
fn more_changes_than_allowed_need_an_override() {
    let world = world("max_changes = \"50%\"");
    let output = expect_blocked(&world, &rows(20), &["max_changes"]);
    run_override(&world, &output).expect_code(0).expect_outcomes("20 created");
    let changed = |count| rows(20).replacen("Ann", "Bob", count);
    world.run(&changed(10)).expect_code(0).expect_outcomes("10 updated, 10 unchanged");
    let output = expect_blocked(&world, &rows(20).replace("Smit", "Bos"), &["max_changes"]);
    assert!(output.stderr.contains("20 of 20 rows would create or update"), "{}", output.stderr);
    // The override holds for one run only.
    run_override(&world, &output).expect_code(0);
    expect_blocked(&world, &rows(20), &["max_changes"]);
}

#[test]
fn an_emptied_column_needs_an_override() {
    let world = world("");
    let filled = |count: usize| {
        let row = |id| match id < count {
            true => format!("C{id},Ann,Smit,c{id}@example.org,,,\n"),
            false => format!("C{id},Ann,Smit,,,,\n"),
        };
        (0..30).map(row).collect::<String>()
    };
    world.run(&filled(30)).expect_code(0);
    world.run(&filled(16)).expect_code(0);
    world.run(&filled(30)).expect_code(0);
    let output = expect_blocked(&world, &filled(10), &["min_fill"]);
    assert!(output.stderr.contains("\"email\" has a value in 10 of 30 rows (33 %)"), "{}", output.stderr);
    run_override(&world, &output).expect_code(0).expect_outcomes("30 unchanged");
    // It is no baseline, unless that is said.
    let output = expect_blocked(&world, &filled(8), &["min_fill"]);
    run_command(&world, &output, "later exports will look like this one, run:").expect_code(0);
    world.run(&filled(7)).expect_code(0);
}

#[test]
fn purge_rows_and_small_exports_do_not_count_as_emptied_columns() {
    let small = world("");
    small.run(&rows(15)).expect_code(0);
    let emptied: String = (0..15).map(|id| format!("C{id},Ann,Smit,,,,\n")).collect();
    small.run(&emptied).expect_code(0);

    let world = world("");
    world.run(&rows(40)).expect_code(0);
    let purges: String = (100..200).map(|id| format!("P{id},,,,,,purge\n")).collect();
    expect_blocked(&world, &format!("{}{purges}", rows(40)), &["allow_purge", "max_purge"]);
}

#[test]
fn a_column_of_clear_markers_counts_as_emptied() {
    let mapping = format!(
        "[input]\nclear = [\"-\"]\n{}\n[customer.custom]\ntitle = {{ template = \"{{{{ row['op2'] }}}}\" }}\n",
        MAPPING.replace("[operation]\ncolumn = \"op\"", "")
    );
    let world = World::default().with_mapping(&mapping, "");
    let export = |first: &str, title: &str| {
        let rows: String = (0..30).map(|id| format!("C{id},{first},Smit,,,,{title}\n")).collect();
        format!("{}{rows}", HEADER.replace("op", "op2"))
    };
    let run = |content: String| {
        world.file("export.csv", content.as_bytes());
        world.execute(&RUN)
    };
    run(export("Ann", "Dr")).expect_code(0);
    run(export("-", "Dr")).expect_code(7).expect_stderr("min_fill: column \"first\"");
    let output = run(export("Ann", "")).expect_code(7);
    assert!(output.stderr.contains("min_fill: column \"op2\""), "a template's column: {}", output.stderr);
}

/// A word for no value fills a name or an address as little as a blank cell does. A
/// custom field gets it.
#[test]
fn a_column_of_null_words_counts_as_emptied() {
    let mapping =
        format!("[input]\nblank = [\"\", \"n.a.\"]\n{MAPPING}\n[customer.custom]\ntitle = \"title\"\n");
    let world = World::default().with_mapping(&mapping, "");
    let run = |first: &str, last: &str, title: &str| {
        let rows = (0..30).map(|id| format!("C{id},{first},{last},,,,,{title}\n")).collect::<String>();
        world.file("export.csv", format!("{},title\n{rows}", HEADER.trim_end()).as_bytes());
        world.execute(&RUN)
    };
    run("Nora", "null", "Dr").expect_code(0);
    for word in ["NULL", "\\N", "undefined", "#N/A", "(null)", "n.a."] {
        run(word, "null", "Dr").expect_code(7).expect_stderr("min_fill: column \"first\"");
    }
    run("Nora", "null", "n.a.").expect_code(7).expect_stderr("min_fill: column \"title\"");
    run("Nora", "Smit", "NULL").expect_code(0).expect_outcomes("30 updated");
    // The last name is filled by now, and its null words never were.
    run("Nora", "NULL", "NULL").expect_code(7).expect_stderr("min_fill: column \"last\"");
}

#[test]
fn several_guards_are_reported_at_once_and_overridden_by_one_command() {
    let world = world("max_changes = 3\nshared_addresses = \"block\"");
    // There is no export yet.
    world.execute(&["run", "--max-changes", "100%", "export.csv"]).expect_code(2);
    world.file("all rows.csv", format!("{HEADER}{}", rows(40)).as_bytes());
    world.execute(&["run", "--max-changes", "100%", "all rows.csv"]).expect_code(0);
    let export: String =
        (0..10).map(|id| format!("N{id},Ann,Smit,n{}@example.org,,,\n", id / 2 * 2)).collect();
    let output = expect_blocked(&world, &export, &["max_changes", "min_rows", "shared_addresses"]);
    let plan = world.execute(&["plan", "--show", "2", "export.csv"]).expect_code(0);
    assert!(plan.stdout.contains("guard min_rows will block"), "{}", plan.stdout);
    let command = output.stderr.lines().last().expect("a line").replace(" --json", "");
    assert!(plan.stdout.contains(command.trim()), "{}{}", plan.stdout, output.stderr);
    // The sandbox refuses shared addresses.
    run_override(&world, &output).expect_code(1).expect_outcomes("5 created, 5 failed");
}

#[test]
fn a_shared_address_is_reported_once_and_counted_later() {
    let world = world("");
    let export =
        "A1,Ann,Smit,info@example.org,,,\nB1,Bob,Bos,b@example.org,,,\nC1,Cor,Vos,Info@Example.org,,,\n";
    world.write_export(export);
    let plan = world.execute(&["plan", "export.csv"]).expect_code(0);
    assert!(plan.stdout.contains("such as rows 1 and 3 (email)"), "{}", plan.stdout);
    let output = world.run(export).expect_code(1);
    assert_eq!(output.notices("shared_address"), (1, 0));
    assert!(output.stderr.contains("such as rows 1 and 3 (email)"), "{}", output.stderr);
    let notices = world.result_text("notices.csv");
    let lines: Vec<&str> = notices.lines().collect();
    assert_eq!(lines.len(), 3, "{notices}");
    assert!(
        lines[1].starts_with("A1,")
            && lines[1].contains(",shared_address,email,")
            && lines[1].contains("row 3")
    );
    assert!(lines[2].starts_with("C1,") && lines[2].contains("row 1"), "{notices}");

    let output = world.run(&format!("{export}D1,Dik,Mol,d@example.org,,,\n"));
    assert_eq!(output.notices("shared_address"), (0, 1));
    let output = world.run(&format!("{export}D1,Dik,Mol,b@example.org,,,\n"));
    assert_eq!(output.notices("shared_address"), (2, 0));
}

#[test]
fn only_other_customers_of_the_same_brand_share_an_address() {
    let planned = |world: &World, rows: &str| {
        world.write_export(rows);
        world.execute(&["plan", "--json", "export.csv"]).expect_code(0).notices("shared_address")
    };
    let one_customer = "A1,Ann,Smit,a@example.org,,,\nA1,Ann,Smit,a@example.org,b@example.org,,\n";
    assert_eq!(planned(&world(""), one_customer), (0, 0));
    let two_customers = format!("{one_customer}C1,Cor,Vos,b@example.org,,,\n");
    assert_eq!(planned(&world(""), &two_customers), (1, 0));
    assert_eq!(planned(&world("shared_addresses = \"ignore\""), &two_customers), (0, 0));
    let brands = MAPPING.replace("brand_id = { value = 2 }", "brand_id = \"last\"");
    let world = World::default().with_mapping(&brands, "");
    assert_eq!(planned(&world, "A1,Ann,2,a@example.org,,,\nA1,Ann,3,a@example.org,,,\n"), (0, 0));
    assert_eq!(planned(&world, "A1,Ann,2,a@example.org,,,\nB1,Ann,2,a@example.org,,,\n"), (1, 0));
}

#[test]
fn shared_addresses_can_block_and_be_overridden() {
    let world = world("shared_addresses = \"block\"");
    world.run(&rows(3)).expect_code(0);
    let export = format!("{}N1,Ann,Smit,c1@example.org,,,\n", rows(3));
    let output = expect_blocked(&world, &export, &["shared_addresses"]);
    assert!(output.stderr.contains("such as rows 2 and 4 (email)"), "{}", output.stderr);
    run_override(&world, &output).expect_code(1).expect_outcomes("3 unchanged, 1 failed");
}

#[test]
fn conflicting_rows_of_one_customer_are_reported() {
    let world = world("");
    let export = "A1,Ann,Smit,a@example.org,,,\nB1,Bob,Bos,b@example.org,,,\nA1,Eva,Smit,a@example.org,,,\n";
    let output = world.run(export).expect_code(0);
    assert_eq!(output.notices("conflicting_row"), (1, 0));
    assert!(output.stderr.contains("row 3 on line 4 against row 1 (firstname)"), "{}", output.stderr);
    assert_eq!(world.state().customers[0].firstname.as_deref(), Some("Eva"), "the last row wins");
    let notices = world.result_text("notices.csv");
    assert!(notices.contains("A1,Eva,Smit,a@example.org,,,,4,,conflicting_row,firstname,"), "{notices}");

    let agreeing = "A1,Eva,Smit,a@example.org,,,\nA1,Eva,,x@example.org,,,\n";
    assert_eq!(world.run(agreeing).expect_code(0).notices("conflicting_row"), (0, 0));
    let update =
        "A1,Eva,Smit,a@example.org,x@example.org,,\nA1,Ina,,,,,update\nB1,Bob,Bos,b@example.org,,,\n";
    assert_eq!(world.run(update).expect_code(0).notices("conflicting_row"), (0, 0));
    assert_eq!(world.result("notices.csv"), None);
}
