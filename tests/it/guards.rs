//! Guards: each one trips and does not trip, and the command that it prints
//! gives leave.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use omnidesk_sync::omnidesk::BaseUrl;
use omnidesk_sync::reconcile::CustomerKey;
use omnidesk_sync::sandbox::Settings;
use serde_json::Value;

use crate::server::{RESULT, Server, Then, json, refusal};
use crate::world::{Ended, HEADER, KEY, MAPPING, World, open_checkpoint};

fn world(guard: &str) -> World {
    World::new(Settings::default()).with_mapping(&format!("{MAPPING}\n[guard]\n{guard}\n"), "")
}

fn rows(count: usize) -> String {
    (0..count).map(|id| format!("C{id},Ann,Smit,c{id}@example.org,,,\n")).collect()
}

fn purges(count: usize) -> String {
    let rows: String = (0..count).map(|id| format!("C{id},,,,,,purge\n")).collect();
    format!("{HEADER}{rows}")
}

/// Nothing was sent by this run, which `guard` blocked.
fn blocked(world: &World, export: &str, guards: &[&str]) -> Ended {
    let before = world.state().counters.requests;
    let ended = world.run(export).expect(7);
    assert_eq!(world.state().counters.requests, before);
    let said = |guard: &&str| ended.stderr.contains(&format!("\n  {guard}: "));
    let all =
        ["allow_purge", "max_purge", "max_changes", "min_rows", "min_fill", "new_ids", "shared_addresses"];
    let tripped: Vec<&str> = all.into_iter().filter(said).collect();
    assert_eq!(tripped, guards, "{}", ended.stderr);
    ended
}

/// Runs the command line that a blocked run or a plan has printed.
fn with_leave(world: &World, said: &str) -> Ended {
    let mut lines = said.lines().skip_while(|line| !line.ends_with("intended, run:"));
    let line = lines.nth(1).expect("a command").trim();
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).current_dir(world.path("")).env("OMNIDESK_API_KEY", KEY).stdin(Stdio::null());
    Ended::of(shell.output().expect("a shell"))
}

/// The notice of a kind: how many new ones, how many told before.
fn notice(summary: &Value, code: &str) -> (u64, u64) {
    let notices = summary["notices"].as_array().expect("notices");
    let found = notices.iter().find(|notice| notice["code"] == code);
    found.map_or((0, 0), |notice| {
        (notice["count"].as_u64().expect("a count"), notice["before"].as_u64().expect("a count"))
    })
}

/// Whatever rows come to when they are read again, no more customers are purged
/// than there is leave for, however often the run is gone on with.
#[test]
fn a_purge_for_which_there_is_no_leave_is_not_sent() {
    let world = world("allow_purge = true\nmax_purge = 2");
    world.run(&rows(30)).expect(0);
    world.file("purges.csv", purges(15).as_bytes());
    let with_leave = ["run", "--rate", "50/s", "--max-purge", "15", "purges.csv"];
    let mut child = world.starts(&with_leave);
    world.wait_for_requests(34, &mut child);
    child.kill().and_then(|()| child.wait()).expect("killed");
    let purged = world.state().purged.len();
    assert!((2..12).contains(&purged), "{purged}");
    // As if the plan had been made by a program that took most rows for others.
    {
        let tenant = BaseUrl::try_from(world.base_url()).expect("a URL").tenant();
        let mut checkpoint =
            open_checkpoint(&world.path("omnidesk-sync.checkpoint"), &tenant).expect("whole");
        let mut run = checkpoint.open_run().expect("a run").expect("an open one");
        assert_eq!(run.record.purges_planned, 15);
        run.record.purges_planned = 2;
        let files = run.record.files.clone();
        let mut batch = checkpoint.batch().expect("a batch");
        batch.set_pending(CustomerKey([0; 16]), None);
        batch.commit(&mut run, files).expect("committed");
    }
    for _ in 0..2 {
        let ended = world.ends(&["run", "purges.csv"]).expect(3);
        assert!(ended.stderr.contains("max_purge = 2 allows no more"), "{}", ended.stderr);
        // A call that the killed process had sent may be sent again.
        assert!(world.state().purged.len() <= purged + 2);
    }
    world.ends(&with_leave).expect(0);
    assert_eq!(world.state().purged.len(), 15);
}

/// A plan takes what was told for what is there. Where it is not, a row that
/// the plan took for undone by a later one comes to its purge after all.
#[test]
fn a_purge_that_could_not_be_planned_needs_leave_and_no_new_plan() {
    let world = world("");
    let header = "id,first,mail,op\n";
    let mapping = "[customer]\nprimary_id = \"id\"\nbrand_id = { value = 2 }\nfirstname = \"first\"\nemail = \"mail\"\n[operation]\ncolumn = \"op\"\n";
    let world = world.with_mapping(mapping, "");
    let export = format!("{header}A,Ann,ann@example.org,sync\nA,,,purge\nA,Ann,ann2@example.org,create\n");
    world.file("export.csv", export.as_bytes());
    world.ends(&["run", "--allow-purge", "export.csv"]).expect(0);
    world.file("other.csv", format!("{header}A,,,purge\n").as_bytes());
    let checkpoint = std::fs::read(world.path("omnidesk-sync.checkpoint")).expect("a checkpoint");
    let lock = std::fs::read(world.path("omnidesk-sync.checkpoint.lock")).expect("its lock");
    world.ends(&["run", "--allow-purge", "other.csv"]).expect(0);
    // It was another program that purged.
    std::fs::write(world.path("omnidesk-sync.checkpoint"), checkpoint).expect("put back");
    std::fs::write(world.path("omnidesk-sync.checkpoint.lock"), lock).expect("put back");
    let purged = world.state().counters.purge;
    let stopped = world.ends(&["run", "--full", "export.csv"]).expect(3);
    assert!(stopped.stderr.contains("row 2 would purge a customer"), "{}", stopped.stderr);
    assert!(stopped.stderr.contains("--allow-purge"), "{}", stopped.stderr);
    assert_eq!(world.state().counters.purge, purged);
    world.ends(&["run", "--full", "--allow-purge", "export.csv"]).expect(0);
    assert_eq!(world.state().counters.purge, purged + 1);
}

/// Where the server may have purged, the leave is used up, also by a process
/// that was killed.
#[test]
fn a_purge_without_an_answer_uses_up_its_leave() {
    const LEAVE: &str = "attempts = 1\nconcurrency = 1\n[guard]\ncanary = 0\nallow_purge = true\nmax_purge = 1\nmin_rows = 0\n";
    let (phase, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, purges) = (Arc::clone(&phase), Arc::clone(&seen));
    let server = Server::new(move |_, request| match (now.load(Relaxed), request.line().as_str()) {
        (0, _) => json(200, RESULT),
        (_, "PUT /api/v2/customer/updateCustomer" | "POST /api/v2/customer/addchannelonly") => {
            refusal("Customer not found")
        }
        (after, "DELETE /api/v2/customer/purgedata") => {
            purges.fetch_add(1, Relaxed);
            // The first is carried out and its answer lost; then one is never answered.
            if after == 1 { json(500, "{}") } else { None }
        }
        _ => json(200, RESULT),
    });
    let world = World::at(&server.url()).with_mapping(MAPPING, LEAVE);
    let rows: String = ["A", "B", "C"]
        .iter()
        .map(|id| {
            format!(
                "{id},Ann,,{id}1@example.org,,,sync\n{id},,,,,,purge\n{id},Ann,,{id}@example.org,,,create\n"
            )
        })
        .collect();
    world.file("export.csv", format!("{HEADER}{rows}").as_bytes());
    world.ends(&["run", "--max-purge", "3", "--allow-recreate", "export.csv"]).expect(0);
    phase.store(1, Relaxed);
    let stopped = world.ends(&["run", "--full", "--allow-recreate", "export.csv"]).expect(3);
    assert!(stopped.stderr.contains("max_purge = 1 allows no more"), "{}", stopped.stderr);
    assert_eq!(seen.load(Relaxed), 1);
    // Nor does another start give leave for another customer.
    phase.store(2, Relaxed);
    for _ in 0..2 {
        world.ends(&["run", "--full", "--allow-recreate", "export.csv"]).expect(3);
    }
    let purged: BTreeSet<String> = server
        .requests()
        .iter()
        .filter(|request| request.line().starts_with("DELETE"))
        .skip(3)
        .map(|request| request.body.clone())
        .collect();
    assert_eq!(purged.len(), 1, "{purged:?}");
}

/// A purge that was acknowledged at last is one, and not two.
#[test]
fn purges_that_were_planned_are_made_whatever_became_of_their_first_answers() {
    let hangs = Arc::new(AtomicUsize::new(1));
    let (now, tries) = (Arc::clone(&hangs), AtomicUsize::new(0));
    let server = Server::doing(
        |_| None,
        move |_, request| {
            let is_of = |id: &str| request.line().starts_with("DELETE") && request.body.contains(id);
            let answer = |answer: Option<Vec<u8>>| (answer.unwrap_or_default(), Then::GoOn);
            match () {
                () if is_of("C0") && tries.fetch_add(1, Relaxed) == 0 => answer(json(500, "{}")),
                () if is_of("C2") && now.load(Relaxed) == 1 => (Vec::new(), Then::Hang),
                () => answer(json(200, RESULT)),
            }
        },
    );
    let limits = "concurrency = 1\n[guard]\ncanary = 0\nallow_purge = true\nmax_purge = 5\nmin_rows = 0\n";
    let world = World::at(&server.url()).with_mapping(MAPPING, limits);
    world.run(&rows(5)).expect(0);
    world.file("export.csv", purges(5).as_bytes());
    let mut child = world.starts(&["run", "export.csv"]);
    let is_there = |id: &str| {
        let requests = server.requests();
        requests.iter().any(|request| request.line().starts_with("DELETE") && request.body.contains(id))
    };
    while !is_there("C2") {
        assert!(child.try_wait().expect("a child").is_none());
        std::thread::yield_now();
    }
    child.kill().and_then(|()| child.wait()).expect("killed");
    hangs.store(0, Relaxed);
    let ended = world.ends(&["run", "--json", "export.csv"]).expect(0);
    assert_eq!(ended.outcomes(), "5 purged");
}

#[test]
fn who_is_missing_is_not_decided_while_a_row_has_no_id_and_no_option_helps() {
    let world = World::new(Settings::default()).with_mapping(
        &format!("[guard]\nmin_rows = 0\nallow_purge = true\n[missing]\naction = \"purge\"\n{MAPPING}"),
        "",
    );
    world.run(&rows(5)).expect(0);
    let ended = world.run(&format!("{},Ann,Smit,x@example.org,,,\n", rows(3))).expect(7);
    assert!(ended.stderr.contains("fix these rows"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("intended, run:"), "{}", ended.stderr);
}

#[test]
fn purges_go_only_with_leave_for_as_many_as_there_are() {
    let world = world("");
    world.run(&rows(30)).expect(0);
    let purges: String = (0..25).map(|id| format!("C{id},,,,,,purge\n")).collect();
    let ended = blocked(&world, &purges, &["allow_purge", "max_purge"]);
    assert!(ended.stderr.contains("25 of 25 rows would purge"), "{}", ended.stderr);
    // Neither a cap nor leave without one is enough.
    let caps = ["run", "--max-purge", "100%", "--max-changes", "100%", "--min-rows", "0", "export.csv"];
    world.ends(&caps).expect(7);
    world.ends(&["run", "--allow-purge", "export.csv"]).expect(7);
    let purged = with_leave(&world, &ended.stderr).expect(0);
    assert_eq!(purged.outcomes(), "25 purged");
    assert_eq!(world.state().customers.len(), 5);
}

#[test]
fn a_truncated_export_goes_only_with_leave() {
    let world = world("");
    world.run(&rows(40)).expect(0);
    world.run(&rows(20)).expect(0);
    world.run(&rows(10)).expect(0);
    let ended = blocked(&world, &rows(4), &["min_rows"]);
    assert!(ended.stderr.contains("has 4 rows, the last finished run read 10"), "{}", ended.stderr);
    assert_eq!(with_leave(&world, &ended.stderr).expect(0).outcomes(), "4 unchanged");
}

#[test]
fn more_changes_than_allowed_go_only_with_leave() {
    let world = world("max_changes = \"50%\"");
    let ended = blocked(&world, &rows(20), &["max_changes"]);
    assert_eq!(with_leave(&world, &ended.stderr).expect(0).outcomes(), "20 created");
    let changed = |count| rows(20).replacen("Ann", "Bob", count);
    assert_eq!(world.run(&changed(10)).expect(0).outcomes(), "10 updated, 10 unchanged");
    let ended = blocked(&world, &rows(20).replace("Smit", "Bos"), &["max_changes"]);
    assert!(ended.stderr.contains("20 of 20 rows would create or update"), "{}", ended.stderr);
    // The leave of that night is none for the next one.
    with_leave(&world, &ended.stderr).expect(0);
    blocked(&world, &rows(20), &["max_changes"]);
}

#[test]
fn a_column_that_lost_its_values_goes_only_with_leave() {
    let world = world("");
    let filled = |count: usize| {
        let row = |id| match id < count {
            true => format!("C{id},Ann,Smit,c{id}@example.org,,,\n"),
            false => format!("C{id},Ann,Smit,,,,\n"),
        };
        (0..30).map(row).collect::<String>()
    };
    world.run(&filled(30)).expect(0);
    world.run(&filled(16)).expect(0);
    world.run(&filled(30)).expect(0);
    let ended = blocked(&world, &filled(10), &["min_fill"]);
    assert!(ended.stderr.contains("\"email\" has a value in 10 of 30 rows (33 %)"), "{}", ended.stderr);
    assert_eq!(with_leave(&world, &ended.stderr).expect(0).outcomes(), "30 unchanged");
    // It is the measure now.
    world.run(&filled(8)).expect(0);
}

#[test]
fn rows_that_purge_and_small_exports_are_no_emptied_column() {
    let small = world("");
    small.run(&rows(15)).expect(0);
    let emptied: String = (0..15).map(|id| format!("C{id},Ann,Smit,,,,\n")).collect();
    small.run(&emptied).expect(0);

    let world = world("");
    world.run(&rows(40)).expect(0);
    let purges: String = (100..200).map(|id| format!("P{id},,,,,,purge\n")).collect();
    blocked(&world, &format!("{}{purges}", rows(40)), &["allow_purge", "max_purge"]);
}

#[test]
fn a_column_of_clear_markers_is_an_emptied_one() {
    let mapping = format!(
        "[input]\nclear = [\"-\"]\n{}\n[customer.custom]\ntitle = {{ template = \"{{{{ row['op2'] }}}}\" }}\n",
        MAPPING.replace("[operation]\ncolumn = \"op\"", "")
    );
    let world = World::new(Settings::default()).with_mapping(&mapping, "");
    let export = |first: &str, title: &str| {
        let rows: String = (0..30).map(|id| format!("C{id},{first},Smit,,,,{title}\n")).collect();
        format!("{}{rows}", HEADER.replace("op", "op2"))
    };
    let run = |content: String| {
        world.file("export.csv", content.as_bytes());
        world.ends(&["run", "--json", "export.csv"])
    };
    run(export("Ann", "Dr")).expect(0);
    let ended = run(export("-", "Dr")).expect(7);
    assert!(ended.stderr.contains("min_fill: column \"first\""), "{}", ended.stderr);
    let ended = run(export("Ann", "")).expect(7);
    assert!(ended.stderr.contains("min_fill: column \"op2\""), "a template's column: {}", ended.stderr);
}

#[test]
fn several_guards_are_said_at_once_and_one_command_gives_leave_to_all() {
    let world = world("max_changes = 3\nshared_addresses = \"block\"");
    let first = world.ends(&["run", "--max-changes", "100%", "export.csv"]);
    assert_eq!(first.code, Some(2), "there is no export yet");
    world.file("all of it.csv", format!("{HEADER}{}", rows(40)).as_bytes());
    world.ends(&["run", "--max-changes", "100%", "all of it.csv"]).expect(0);
    let export: String =
        (0..10).map(|id| format!("N{id},Ann,Smit,n{}@example.org,,,\n", id / 2 * 2)).collect();
    let ended = blocked(&world, &export, &["max_changes", "min_rows", "shared_addresses"]);
    let plan = world.ends(&["plan", "--show", "2", "export.csv"]).expect(0);
    assert!(plan.stdout.contains("guard min_rows will block"), "{}", plan.stdout);
    let command = |said: &str| said.lines().last().expect("a line").replace(" --json", "");
    assert!(plan.stdout.contains(command(&ended.stderr).trim()), "{}{}", plan.stdout, ended.stderr);
    let ended = with_leave(&world, &ended.stderr).expect(1);
    // What shares an address, the sandbox refuses.
    assert_eq!(ended.outcomes(), "5 created, 5 failed");
}

#[test]
fn a_shared_address_is_named_once_and_counted_after() {
    let world = world("");
    let export =
        "A1,Ann,Smit,info@example.org,,,\nB1,Bob,Bos,b@example.org,,,\nC1,Cor,Vos,Info@Example.org,,,\n";
    world.file("export.csv", format!("{HEADER}{export}").as_bytes());
    let plan = world.ends(&["plan", "export.csv"]).expect(0);
    assert!(plan.stdout.contains("such as rows 1 and 3 (email)"), "{}", plan.stdout);
    let ended = world.run(export).expect(1);
    assert_eq!(notice(&ended.json(), "shared_address"), (1, 0));
    assert!(ended.stderr.contains("such as rows 1 and 3 (email)"), "{}", ended.stderr);
    let file = String::from_utf8(world.result("notices.csv").expect("notices.csv")).expect("UTF-8");
    let lines: Vec<&str> = file.lines().collect();
    assert_eq!(lines.len(), 3, "{file}");
    assert!(
        lines[1].starts_with("A1,")
            && lines[1].contains(",shared_address,email,")
            && lines[1].contains("row 3")
    );
    assert!(lines[2].starts_with("C1,") && lines[2].contains("row 1"), "{file}");

    let next = world.run(&format!("{export}D1,Dik,Mol,d@example.org,,,\n"));
    assert_eq!(notice(&next.json(), "shared_address"), (0, 1));
    let other = world.run(&format!("{export}D1,Dik,Mol,b@example.org,,,\n"));
    assert_eq!(notice(&other.json(), "shared_address"), (2, 0));
}

#[test]
fn only_other_customers_of_the_same_brand_share_an_address() {
    let planned = |world: &World, export: &str| {
        world.file("export.csv", format!("{HEADER}{export}").as_bytes());
        notice(&world.ends(&["plan", "--json", "export.csv"]).expect(0).json(), "shared_address")
    };
    let own = "A1,Ann,Smit,a@example.org,,,\nA1,Ann,Smit,a@example.org,b@example.org,,\n";
    assert_eq!(planned(&world(""), own), (0, 0));
    let by_a_later_row = format!("{own}C1,Cor,Vos,b@example.org,,,\n");
    assert_eq!(planned(&world(""), &by_a_later_row), (1, 0));
    assert_eq!(planned(&world("shared_addresses = \"ignore\""), &by_a_later_row), (0, 0));
    let brands = MAPPING.replace("brand_id = { value = 2 }", "brand_id = \"last\"");
    let world = World::new(Settings::default()).with_mapping(&brands, "");
    assert_eq!(planned(&world, "A1,Ann,2,a@example.org,,,\nA1,Ann,3,a@example.org,,,\n"), (0, 0));
    assert_eq!(planned(&world, "A1,Ann,2,a@example.org,,,\nB1,Ann,2,a@example.org,,,\n"), (1, 0));
}

#[test]
fn shared_addresses_can_block_and_go_with_leave() {
    let world = world("shared_addresses = \"block\"");
    world.run(&rows(3)).expect(0);
    let export = format!("{}N1,Ann,Smit,c1@example.org,,,\n", rows(3));
    let ended = blocked(&world, &export, &["shared_addresses"]);
    assert!(ended.stderr.contains("such as rows 2 and 4 (email)"), "{}", ended.stderr);
    assert_eq!(with_leave(&world, &ended.stderr).expect(1).outcomes(), "3 unchanged, 1 failed");
}

#[test]
fn rows_of_one_customer_that_contradict_each_other_are_named() {
    let world = world("");
    let export = "A1,Ann,Smit,a@example.org,,,\nB1,Bob,Bos,b@example.org,,,\nA1,Eva,Smit,a@example.org,,,\n";
    let ended = world.run(export).expect(0);
    assert_eq!(notice(&ended.json(), "conflicting_row"), (1, 0));
    assert!(ended.stderr.contains("row 3 on line 4 against row 1 (firstname)"), "{}", ended.stderr);
    assert_eq!(world.state().customers[0].firstname.as_deref(), Some("Eva"), "the last row wins");
    let file = String::from_utf8(world.result("notices.csv").expect("notices.csv")).expect("UTF-8");
    assert!(file.contains("A1,Eva,Smit,a@example.org,,,,4,,conflicting_row,firstname,"), "{file}");

    let agreeing = "A1,Eva,Smit,a@example.org,,,\nA1,Eva,,x@example.org,,,\n";
    assert_eq!(notice(&world.run(agreeing).expect(0).json(), "conflicting_row"), (0, 0));
    let asked_for =
        "A1,Eva,Smit,a@example.org,x@example.org,,\nA1,Ina,,,,,update\nB1,Bob,Bos,b@example.org,,,\n";
    assert_eq!(notice(&world.run(asked_for).expect(0).json(), "conflicting_row"), (0, 0));
    assert_eq!(world.result("notices.csv"), None);
}
