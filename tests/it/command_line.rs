//! For scripts: exit codes of a plan, the version of JSON. For newcomers: hints for
//! words that other programs use.

use serde_json::Value;

use crate::world::{RUN, World, rows};

#[test]
fn a_plan_ends_with_the_first_exit_code_that_applies() {
    let world = World::default();
    let code = |rows: &str| {
        world.write_export(rows);
        world.execute(&["plan", "export.csv"]).expect_code(0);
        world.execute(&["plan", "--exit-code", "export.csv"]).code
    };
    assert_eq!(code(&rows(3)), Some(8));
    let rejected = format!("{}C9,Ann,Smit,nobody,,,\n", rows(3));
    assert_eq!(code(&rejected), Some(1));
    assert_eq!(code(&format!("{rejected}C1,,,,,,purge\n")), Some(7));
    world.write_export(&rows(3));
    world.execute(&RUN).expect_code(0);
    assert_eq!(code(&rows(3)), Some(0));
}

#[test]
fn a_plan_beside_an_open_run_ends_as_run_would() {
    let world = World::with_latency_ms(10).with_settings("concurrency = 1\n");
    let operations = rows(20).replace(",,,\n", ",,,create\n");
    world.write_export(&operations);
    world.kill_after(5, &RUN);
    let codes = |rows: &str| {
        world.write_export(rows);
        let plan = world.execute(&["plan", "--exit-code", "export.csv"]).code;
        (plan, world.execute(&["plan", "export.csv"]).code)
    };
    // It is resumed, or in the way.
    assert_eq!(codes(&operations), (Some(8), Some(0)));
    assert_eq!(codes(&rows(3)), (Some(2), Some(0)));
    world.execute(&RUN).expect_code(2);
    // A guard comes behind it.
    assert_eq!(codes("C1,,,,,,purge\n"), (Some(2), Some(0)));
    world.write_export(&operations);
    world.execute(&RUN).expect_code(0);
    assert_eq!(codes(&rows(20).replace("Ann", "Eva")), (Some(8), Some(0)));
}

#[test]
fn every_json_document_has_its_version() {
    let world = World::default();
    world.write_export(&rows(2));
    let mut documents = Vec::new();
    for arguments in [
        &["status", "--json"][..],
        &["plan", "--json", "export.csv"],
        &["run", "--json", "export.csv"],
        &["status", "--json"],
        &["adopt", "--json", "export.csv"],
        &["run", "--json", "nowhere.csv"],
        &["plan", "--json", "nowhere.csv"],
    ] {
        documents.push((arguments.join(" "), world.execute(arguments).json()));
    }
    let summary: Value = serde_json::from_str(&world.result_text("summary.json")).expect("JSON");
    documents.push(("summary.json".to_owned(), summary));
    for (name, document) in documents {
        assert_eq!(document["schema"], 1, "{name}: {document}");
    }
}

#[test]
fn words_of_other_programs_lead_to_plan_and_run() {
    let world = World::with_server("http://127.0.0.1:9");
    world.write_export(&rows(1));
    for (arguments, tip) in [
        (&["run", "--dry-run", "export.csv"][..], "`omnidesk-sync plan EXPORT` checks"),
        (&["plan", "--dry-run", "export.csv"], "`omnidesk-sync plan EXPORT` checks"),
        (&["validate", "export.csv"], "`omnidesk-sync plan EXPORT` checks"),
        (&["sync", "export.csv"], "`omnidesk-sync run EXPORT` applies an export"),
        (&["export.csv"], "`omnidesk-sync run export.csv` applies an export"),
        (&["run", "--resume", "export.csv"], "resumes the open run"),
        (&["run", "--force", "export.csv"], "no override for everything"),
        (&["staus"], "a similar subcommand exists: 'status'"),
    ] {
        world.execute(arguments).expect_code(2).expect_stderr(tip);
    }
}
