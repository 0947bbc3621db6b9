//! What the commands do beside an open run, with `--full`, `--fresh` and `[missing]`.

use serde_json::Value;

use crate::world::{RUN, World, rows};

const SETTINGS: &str = "concurrency = 1\n[guard]\nallow_purge = true\nmax_purge = 100\n[missing]\naction = \"purge\"\n[verify]\nbrands = { 2 = \"Brand 2\" }\n";

/// 20 customers are known, and a run that changes 19 of them and would purge the last
/// as missing was killed. Gives the folder of the first run, whose export is `first.csv`.
fn with_open_run() -> (World, String) {
    let world = World::with_latency_ms(5).with_settings(SETTINGS);
    world.run(&rows(20)).expect_code(0);
    let folder = world.status()["runs"][0]["folder"].as_str().expect("a folder").to_owned();
    world.file("first.csv", world.read("export.csv").as_bytes());
    world.write_export(&rows(19).replace(",Ann,", ",Eva,"));
    world.kill_after(4, &RUN);
    (world, folder)
}

fn help(command: &str) -> String {
    World::default().execute(&[command, "--help"]).expect_code(0).stdout
}

#[test]
fn each_command_shows_an_example() {
    let all = World::default().execute(&["--help"]).expect_code(0).stdout;
    let commands = all.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next());
    let commands: Vec<&str> = commands
        .expect("commands")
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| *word != "help")
        .collect();
    assert_eq!(commands.len(), 14, "{commands:?}");
    for command in commands {
        let help = help(command);
        let example = format!("\n  omnidesk-sync {command}");
        assert!(help.contains("Example") && help.contains(&example), "{help}");
    }
}

#[test]
fn each_command_that_decides_or_changes_says_what_it_does_beside_the_others() {
    for command in ["run", "plan", "adopt", "explain", "purge", "undo", "verify", "doctor"] {
        let help = help(command);
        assert!(help.contains("open run") || help.contains("run is open"), "{command}\n{help}");
        for word in ["--full", "--fresh", "[missing]"] {
            assert!(help.contains(word), "{command}: {word}\n{help}");
        }
    }
}

/// They also purge nobody as missing, and the run goes on where it was.
#[test]
fn commands_that_send_no_row_leave_an_open_run_as_it_is() {
    let (world, folder) = with_open_run();
    let open = world.status()["open_run"].clone();
    assert_ne!(open, Value::Null);
    let commands: [(&[&str], i32); 20] = [
        (&["init", "export.csv"], 0),
        (&["plan", "export.csv"], 0),
        (&["plan", "--full", "export.csv"], 0),
        (&["plan", "--exit-code", "export.csv"], 8),
        (&["plan", "--part", "first.csv"], 0),
        (&["run", "--sandbox", "export.csv"], 0),
        (&["run", "--sandbox", "--full", "--fresh", "export.csv"], 0),
        (&["adopt", "export.csv"], 2),
        (&["adopt", "--from-omnidesk"], 2),
        (&["purge", "C19"], 7),
        (&["purge", "--fresh"], 0),
        (&["status"], 0),
        (&["explain", "C1", "export.csv"], 0),
        (&["explain", "--full", "C19", "export.csv"], 0),
        (&["undo", &folder, "first.csv"], 1),
        (&["verify", "export.csv"], 0),
        (&["verify", "--full", "export.csv"], 0),
        (&["doctor"], 0),
        (&["doctor", "--offline"], 0),
        (&["doctor", "--write", "--brand", "2"], 0),
    ];
    for (command, code) in commands {
        let output = world.execute(command);
        assert_eq!(output.code, Some(code), "{command:?}\n{}{}", output.stdout, output.stderr);
        assert_eq!(world.status()["open_run"], open, "{command:?}");
        let holds = |id: &str| world.state().customers.iter().any(|customer| customer.id.primary_id == id);
        assert!(holds("C19"), "{command:?}");
    }
    let resumed = world.execute(&RUN).expect_code(0).expect_outcomes("19 updated").json();
    assert_eq!(resumed["missing"]["purged"], 1, "the one who is missing, and nobody of a trial");
    assert_eq!(world.state().customers.len(), 19);
}

/// Its rows are purges, which must not take the place of what an open run has to do.
#[test]
fn a_file_of_undo_waits_for_the_end_of_an_open_run_with_full_and_fresh_too() {
    let (world, folder) = with_open_run();
    world.execute(&["undo", &folder, "first.csv"]).expect_code(1);
    let file = world.path(&format!("{folder}/undo.csv")).display().to_string();
    for options in [&[][..], &["--full"], &["--fresh"], &["--full", "--fresh"]] {
        world.execute(&[&["run", "--json"], options, &[&file]].concat()).expect_code(2);
        assert_ne!(world.status()["open_run"], Value::Null, "{options:?}");
    }
    world.execute(&RUN).expect_code(0);
    // The last one was purged as missing, and is nobody to be taken back.
    world.execute(&["undo", "--include-changed", &folder, "first.csv"]).expect_code(0);
    let apply = |options: &[&str]| world.execute(&[&["run", "--json"], options, &[&file]].concat());
    apply(&["--fresh"]).expect_code(0).expect_outcomes("19 purged");
    apply(&["--full"]).expect_code(0).expect_outcomes("19 unchanged").expect_calls(0);
    let plan = world.execute(&["plan", "--json", "export.csv"]).json();
    assert_eq!(plan["missing"]["found"], 0, "{plan}");
}

#[test]
fn whom_a_request_has_purged_no_run_brings_back_and_nobody_misses() {
    let world = World::default().with_settings(SETTINGS);
    world.run(&rows(3)).expect_code(0);
    world.execute(&["purge", "--allow-purge", "C2"]).expect_code(0);
    for options in [&["--full"][..], &["--fresh"], &["--full", "--fresh"]] {
        let output = world.run_with(options).expect_code(1);
        assert!(output.outcomes().contains("1 rejected"), "{options:?}: {}", output.outcomes());
    }
    world.write_export(&rows(2));
    assert_eq!(world.execute(&RUN).expect_code(0).json()["missing"]["found"], 0);
    assert_eq!(world.state().customers.len(), 2);
}

#[test]
fn an_export_is_adopted_once_the_open_run_is_given_up_and_full_adds_nothing() {
    let (world, _) = with_open_run();
    world.execute(&["adopt", "export.csv"]).expect_code(2).expect_stderr("`run --fresh`");
    world.execute(&["adopt", "--full", "export.csv"]).expect_code(2);
    world.run_with(&["--fresh"]).expect_code(0);
    for options in [&["adopt"][..], &["adopt", "--full"]] {
        world.execute(&[options, &["export.csv"]].concat()).expect_code(0);
        world.execute(&RUN).expect_code(0).expect_calls(0);
    }
    // From then on, who was adopted can be missing.
    world.write_export(&rows(17));
    let plan = world.execute(&["plan", "--json", "export.csv"]).json();
    assert_eq!(plan["missing"]["found"], 2, "{plan}");
}

#[test]
fn full_and_fresh_end_an_open_run_and_purge_who_is_missing_once() {
    for option in ["--full", "--fresh"] {
        let (world, _) = with_open_run();
        let output = world.run_with(&[option]).expect_code(0).expect_stderr("ends here with").json();
        assert_eq!((&output["resumed"], &output["missing"]["purged"]), (&false.into(), &1.into()));
        let state = world.state();
        let is_changed = |name: Option<&str>| name == Some("Eva");
        assert_eq!((state.customers.len(), state.counters.purge), (19, 1), "{option}");
        assert!(state.customers.iter().all(|customer| is_changed(customer.firstname.as_deref())));
        assert_eq!(world.status()["open_run"], Value::Null, "{option}");
        world.execute(&RUN).expect_code(0).expect_calls(0);
    }
}

#[test]
fn a_file_of_undo_does_not_wait_for_an_interrupted_purge() {
    let world = World::with_latency_ms(10).with_settings(SETTINGS);
    world.run(&rows(12)).expect_code(0);
    let folder = world.status()["runs"][0]["folder"].as_str().expect("a folder").to_owned();
    let purge = ["purge", "--allow-purge", "C0", "C1", "C2", "C3", "C4", "C5", "C6", "C7"];
    world.kill_after(3, &purge);
    let undo = world.execute(&["undo", "--json", "--include-changed", &folder, "export.csv"]).json();
    assert_eq!(undo["open_run"], false);
    world.execute(&["run", "--quiet", undo["file"].as_str().expect("a file")]).expect_code(0);
    // The API does not know those whom the file has purged.
    world.execute(&purge).expect_code(1).expect_stderr("not_found");
    assert_eq!(world.state().customers.len(), 0);
}
