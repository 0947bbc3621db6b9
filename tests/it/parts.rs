//! A part of the base is no whole: it is no measure, decides nothing for other runs,
//! and has a record of its own.

use serde_json::Value;

use crate::guards::{expect_blocked, run_command, run_override};
use crate::world::{HEADER, MAPPING, RUN, World, rows};

/// The ids of the sandbox's customers with this first name.
fn ids_of(world: &World, first: &str) -> Vec<String> {
    let customers = world.state().customers.into_iter();
    let named = customers.filter(|customer| customer.firstname.as_deref() == Some(first));
    let mut ids: Vec<String> = named.map(|customer| customer.id.primary_id).collect();
    ids.sort_unstable();
    ids
}

/// A run with a few calls on their way, killed.
fn killed(world: &World, options: &[&str], export: &str) {
    world.kill_after(10, &[&["run", "--rate", "100/s"], options, &[export]].concat());
}

fn write_rows(world: &World, name: &str, rows: &str) {
    world.file(name, format!("{HEADER}{rows}").as_bytes());
}

#[test]
fn a_part_and_an_override_leave_the_baseline_as_it_is() {
    let world = World::default();
    world.run(&rows(40)).expect_code(0);
    let blocked = expect_blocked(&world, &rows(1), &["min_rows"]);
    for option in ["--part", "--min-rows 1", "--min-rows 1 --new-baseline"] {
        assert!(blocked.stderr.contains(&format!("run {option} --json export.csv")), "{}", blocked.stderr);
    }
    world.write_export(&rows(1).replace("Ann", "Eva"));
    run_command(&world, &blocked, "only a part of the base, run:")
        .expect_code(0)
        .expect_outcomes("1 updated");
    let blocked = expect_blocked(&world, &rows(10), &["min_rows"]);
    run_override(&world, &blocked).expect_code(0).expect_outcomes("1 updated, 9 unchanged");
    let blocked = expect_blocked(&world, &rows(9), &["min_rows"]);
    assert!(blocked.stderr.contains("the last full run read 40"), "{}", blocked.stderr);
    run_command(&world, &blocked, "later exports will look like this one, run:").expect_code(0);
    world.run(&rows(8)).expect_code(0);
    world.write_export(&rows(40));
    world.run_with(&["--limit", "2"]).expect_code(0).expect_outcomes("2 unchanged");
    expect_blocked(&world, &rows(3), &["min_rows"]);
}

/// An override that was not needed makes no difference.
#[test]
fn an_export_that_needs_no_override_becomes_the_baseline() {
    let world = World::default();
    world.run(&rows(40)).expect_code(0);
    world.write_export(&rows(30));
    world.run_with(&["--min-rows", "1"]).expect_code(0);
    world.run(&rows(16)).expect_code(0);
    world.write_export(&rows(9));
    world.run_with(&["--part", "--new-baseline"]).expect_code(2);
}

#[test]
fn only_the_rows_of_these_customers_are_decided() {
    let world = World::default();
    world.run(&rows(30)).expect_code(0);
    world.write_export(&format!("{}C3,Eva,Smit,nobody,,,\nC7,Eva,Bos,,,,\n", rows(30).replace("Ann", "Eva")));
    let options = ["--only", "C3", "--only", " C7"];
    let plan = world.execute(&[&["plan", "--json", "--show", "9"], &options[..], &["export.csv"]].concat());
    let plan = plan.expect_code(0).json();
    assert_eq!(
        (&plan["rows"], &plan["unselected_rows"], &plan["calls_total"]),
        (&4.into(), &28.into(), &3.into())
    );
    assert!(
        plan["requests"].as_array().expect("requests").iter().all(|request| request["row"] != 1),
        "{plan}"
    );
    let text = world.execute(&[&["plan"], &options[..], &["export.csv"]].concat()).expect_code(0).stdout;
    assert!(text.contains("only the rows of 2 customers; 28 rows of others are not decided"), "{text}");
    let output = world.run_with(&options).expect_code(1).expect_outcomes("3 updated, 1 rejected");
    assert_eq!(output.json()["part"], true);
    assert_eq!(ids_of(&world, "Eva"), ["C3", "C7"]);
    assert!(world.result_text("rejected.csv").contains("C3,Eva,Smit,nobody"));
    // The same again has nothing left to do, and the whole base all the rest.
    world.run_with(&options).expect_code(1).expect_calls(0);
    world.execute(&RUN).expect_code(1).expect_outcomes("28 updated, 3 unchanged, 1 rejected");
}

#[test]
fn a_customer_without_a_row_or_a_brand_is_an_error_before_the_first_call() {
    let world = World::default();
    world.write_export(&rows(3));
    for command in ["run", "plan"] {
        for id in ["C9", "c1", ""] {
            world
                .execute(&[command, "--only", "C1", "--only", id, "export.csv"])
                .expect_code(2)
                .expect_stderr(if id.is_empty() {
                    "the id is blank"
                } else {
                    "has no row of brand 2 with the id"
                });
        }
        world.execute(&[command, "--only", "C1", "--brand", "3", "export.csv"]).expect_code(2);
    }
    let mapping =
        MAPPING.replace("brand_id = { value = 2 }", "brand_id = \"op\"").replace("column = \"op\"", "");
    let world = world.with_mapping(&mapping, "");
    world.write_export("C1,Ann,Smit,a@example.org,,,2\nC1,Eva,Smit,e@example.org,,,3\n");
    world.run_with(&["--only", "C1"]).expect_code(2).expect_stderr("add --brand");
    assert_eq!(world.requests(), 0);
    world.run_with(&["--only", "C1", "--brand", "3"]).expect_code(0).expect_outcomes("1 created");
    assert_eq!(ids_of(&world, "Eva"), ["C1"]);
}

#[test]
fn a_killed_part_is_resumed_by_the_same_command_and_by_no_other() {
    let world = World::with_latency_ms(5);
    let zero = ["--only", "C0"];
    let rows_of_zero: String = (0..50).map(|nth| format!("C0,Ann,Smit,c{nth}@example.com,,,\n")).collect();
    world.write_export(&format!("{}{rows_of_zero}", rows(60)));
    killed(&world, &zero, "export.csv");
    world.run_with(&["--only", "C1"]).expect_code(0).expect_outcomes("1 created");
    let open = |world: &World| world.status()["open_parts"].as_array().expect("parts").len();
    assert_eq!(open(&world), 1, "another part neither resumes nor ends it");
    let output = world.run_with(&zero).expect_code(0).expect_stderr("resuming the run of");
    assert_eq!(output.json()["resumed"], true);
    assert_eq!((open(&world), world.state().customers.len()), (0, 2));
    world.assert_no_violations();
    // What was selected cannot be read from the checkpoint.
    let checkpoint = std::fs::read(world.path("omnidesk-sync.checkpoint")).expect("a file");
    assert!(!checkpoint.windows(3).any(|bytes| bytes == b"\"C0"));
}

#[test]
fn a_part_leaves_an_open_run_over_the_whole_base_open() {
    let world = World::with_latency_ms(5);
    let export = rows(80);
    world.write_export(&export);
    killed(&world, &[], "export.csv");
    // Of the same export, of another one with newer data, and a result file.
    world.run_with(&["--only", "C70"]).expect_code(0).expect_stderr("stays open, with");
    write_rows(&world, "new.csv", "C71,Eva,Smit,c71@example.org,,,\nN1,Eva,Smit,n1@example.org,,,\n");
    world.execute(&["run", "--part", "new.csv"]).expect_code(0);
    let header = HEADER.replace('\n', ",_sync_line\n");
    world.file("failed.csv", format!("{header}C72,Eva,Smit,c72@example.org,,,,7\n").as_bytes());
    world.execute(&["run", "failed.csv"]).expect_code(0).expect_stderr("stays open, with");
    let plan = world.execute(&["plan", "--part", "new.csv"]).expect_code(0);
    assert!(plan.stderr.contains("leaves it open"), "{}", plan.stderr);
    // Again of the same export, after newer data: it is older than that.
    world.run_with(&["--only", "C71"]).expect_code(0).expect_outcomes("1 unchanged");
    // A part is killed beside it.
    write_rows(&world, "more.csv", &rows(40).replace('C', "M").replace(",c", ",m"));
    killed(&world, &["--part"], "more.csv");
    let status = world.status();
    assert_eq!((&status["open_run"]["part"], &status["open_parts"][0]["rows"]), (&false.into(), &40.into()));
    let text = world.execute(&["status"]).expect_code(0).stdout;
    assert!(text.contains(" over a part, begun ") && text.matches("open: run ").count() == 2, "{text}");
    // Both are resumed, each by its own command.
    let output = world.execute(&RUN).expect_code(0).expect_stderr("resuming the run of");
    assert!(output.outcomes().contains("unchanged"), "{}", output.outcomes());
    assert_eq!(ids_of(&world, "Eva"), ["C71", "C72", "N1"]);
    world.execute(&["run", "--part", "more.csv"]).expect_code(0).expect_stderr("resuming the run of");
    let status = world.status();
    assert_eq!((&status["open_run"], status["open_parts"].as_array().map(Vec::len)), (&Value::Null, Some(0)));
    assert_eq!(world.state().customers.len(), 121);
    world.assert_no_violations();
}

/// Calls in doubt of the part are resolved, and nothing of it is lost.
#[test]
fn a_killed_part_is_superseded_by_the_next_run_over_the_base() {
    let world = World::with_latency_ms(50);
    world.run(&rows(3)).expect_code(0);
    write_rows(&world, "new.csv", &rows(60));
    killed(&world, &["--part"], "new.csv");
    assert_ne!(world.status()["in_doubt"], 0);
    let output = world.run(&rows(80)).expect_code(0).expect_stderr("since this is another export");
    assert!(output.outcomes().contains("created"), "{}", output.outcomes());
    let status = world.status();
    assert_eq!((&status["in_doubt"], &status["customers"]), (&0.into(), &80.into()));
    assert_eq!(status["open_parts"], serde_json::json!([]));
    world.run(&rows(80)).expect_code(0).expect_calls(0);
    // Nothing is left of it to resume.
    world.execute(&["run", "--part", "--json", "new.csv"]).expect_code(0).expect_calls(0);
    world.assert_no_violations();
}

#[test]
fn rows_with_operations_of_their_own_have_to_be_finished_first() {
    let world = World::with_latency_ms(5);
    world.run(&rows(60)).expect_code(0);
    let updates = rows(60).replace(",,,\n", ",,,update\n").replace("Ann", "Bob");
    world.write_export(&updates);
    killed(&world, &[], "export.csv");
    write_rows(&world, "new.csv", &rows(1).replace("Ann", "Eva"));
    let ways = ["run the earlier export again", "run the whole base with --fresh"];
    for options in [&["--part"][..], &["--part", "--fresh"], &["--only", "C0"]] {
        let output = world.execute(&[&["run"], options, &["new.csv"]].concat()).expect_code(2);
        assert!(ways.iter().all(|way| output.stderr.contains(way)), "{}", output.stderr);
    }
    world.execute(&RUN).expect_code(0);
    // The other way round.
    write_rows(&world, "part.csv", &updates.replace("Bob", "Dik"));
    killed(&world, &["--part"], "part.csv");
    world.run(&rows(60)).expect_code(2).expect_stderr("run the earlier part again");
    write_rows(&world, "part.csv", &updates.replace("Bob", "Dik"));
    world.execute(&["run", "--part", "part.csv"]).expect_code(0).expect_stderr("resuming");
    assert_eq!(ids_of(&world, "Dik").len(), 60);
    // An export is carried out once, whatever parts of it come between.
    world.write_export(&updates);
    world.execute(&RUN).expect_code(0).expect_calls(0);
}

#[test]
fn fresh_gives_up_a_part_and_leaves_the_other_runs() {
    let world = World::with_latency_ms(5);
    world.write_export(&rows(80));
    killed(&world, &[], "export.csv");
    write_rows(&world, "new.csv", &rows(60).replace('C', "N").replace(",c", ",n"));
    killed(&world, &["--part"], "new.csv");
    world.execute(&["run", "--part", "--fresh", "new.csv"]).expect_code(0).expect_stderr("--fresh was given");
    let status = world.status();
    assert_eq!((&status["open_run"]["rows"], &status["open_parts"]), (&80.into(), &serde_json::json!([])));
    world.execute(&RUN).expect_code(0).expect_stderr("resuming");
    assert_eq!(world.state().customers.len(), 140);
}

#[test]
fn a_part_decides_of_nobody_that_the_customer_is_missing() {
    let world =
        World::default().with_settings("[missing]\naction = \"purge\"\n[guard]\nallow_purge = true\n");
    world.run(&rows(10)).expect_code(0);
    world.write_export(&rows(2));
    for options in [&["--part"][..], &["--only", "C1"]] {
        let output = world.run_with(options).expect_code(0).expect_stderr("a part of the base");
        assert!(output.json()["missing"].is_null(), "{}", output.stdout);
    }
    assert_eq!(world.state().customers.len(), 10);
    world.run(&rows(9)).expect_code(0);
    assert_eq!(world.state().customers.len(), 9);
}

/// Beside an open run it has to wait; without one, the whole base finds nobody twice.
#[test]
fn a_part_purges_a_customer_who_is_missing_from_the_base() {
    for options in [&["--part"][..], &["--only", "G0"]] {
        let world = World::with_latency_ms(10).with_settings(
            "concurrency = 1\n[missing]\naction = \"purge\"\n[guard]\nallow_purge = true\nmax_purge = 9\n",
        );
        let lost = "G0,Ann,Vos,g0@example.org,,,\nG1,Ann,Vos,g1@example.org,,,\n";
        world.run(&format!("{}{lost}", rows(20))).expect_code(0);
        write_rows(&world, "part.csv", "G0,,,,,,purge\n");
        let line = [&["run", "--json"], options, &["part.csv"]].concat();
        world.write_export(&rows(20).replace("Ann", "Eva"));
        world.kill_after(6, &RUN);
        assert_eq!(world.status()["open_run"]["missing"]["found"], 2);
        let requests = world.requests();
        world.execute(&line).expect_code(2).expect_stderr("run the whole base with --fresh");
        assert_eq!(world.requests(), requests);
        let resumed = world.execute(&RUN).expect_code(0).json();
        assert_eq!((&resumed["missing"]["found"], &resumed["missing"]["purged"]), (&2.into(), &2.into()));
        // Now the part comes first.
        world.write_export(&format!("{}{lost}", rows(20)));
        world.run_with(&["--allow-recreate"]).expect_code(0);
        write_rows(&world, "part.csv", "G0,Ann,,,,,purge\n");
        world.execute(&line).expect_code(0).expect_outcomes("1 purged");
        let night = world.run(&rows(20)).expect_code(0).json();
        assert_eq!((&night["missing"]["found"], &night["missing"]["purged"]), (&1.into(), &1.into()));
        assert_eq!(world.state().customers.len(), 20);
        assert_eq!(world.state().counters.purge, 4);
        world.assert_no_violations();
    }
}
