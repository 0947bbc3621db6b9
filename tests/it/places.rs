//! The same run from anywhere: a configuration's paths do not depend on where the
//! program is started, and a new checkpoint does not go unnoticed.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::guards::{expect_blocked, run_override};
use crate::server::{Server, success};
use crate::world::{CommandOutput, HEADER, KEY, World, rows};

/// Runs the program in another folder, with the configuration of the world.
fn elsewhere(world: &World, command: &mut Command) -> CommandOutput {
    let folder = world.path("elsewhere");
    std::fs::create_dir_all(&folder).expect("a folder");
    CommandOutput::read(command.current_dir(folder).env_remove("OMNIDESK_API_KEY"))
}

#[test]
fn paths_of_a_configuration_are_relative_to_its_folder() {
    let command = "#!/bin/sh\ncat \"$(dirname \"$0\")/api-key\"\n";
    for key in ["{ file = \"keys/api-key\" }", "{ command = [\"keys/print-key\"] }"] {
        let server = Server::new(|_, _| success());
        let world = World::with_server(&server.url())
            .with_settings("[checkpoint]\npath = \"state/one\"\n[report]\ndir = \"state/results\"\n");
        world.edit_config("[omnidesk]\n", &format!("[omnidesk]\napi_key = {key}\n"));
        for folder in ["keys", "state"] {
            std::fs::create_dir(world.path(folder)).expect("a folder");
        }
        world.file("keys/api-key", KEY.as_bytes());
        let program = world.file("keys/print-key", command.as_bytes());
        std::fs::set_permissions(program, PermissionsExt::from_mode(0o700)).expect("a mode");
        world.write_export(&rows(2));
        let config = world.path("omnidesk-sync.toml");
        for (config, export) in
            [("../omnidesk-sync.toml", "../export.csv"), (config.to_str().expect("UTF-8"), "../export.csv")]
        {
            elsewhere(&world, &mut world.command(&["run", "-c", config, export])).expect_code(0);
            for command in [&["plan", "-c", config, export][..], &["status", "-c", config]] {
                elsewhere(&world, &mut world.command(command)).expect_code(0);
            }
        }
        world.execute(&["run", "export.csv"]).expect_code(0);
        assert_eq!(server.requests().len(), 2, "{key}: one checkpoint for all of them");
        assert!(server.requests().iter().all(|request| request.head.contains(KEY)));
        assert_eq!(std::fs::read_dir(world.path("state/results")).expect("runs").count(), 3);
        assert_eq!(std::fs::read_dir(world.path("elsewhere")).expect("a folder").count(), 0);
    }
}

/// The default paths too, and those of the command line stay where the user is.
#[test]
fn paths_of_the_command_line_are_relative_to_the_working_directory() {
    let world = World::default();
    world.write_export(&rows(2));
    let run = [
        "run",
        "-c",
        "../omnidesk-sync.toml",
        "--metrics-file",
        "sync.prom",
        "--report-dir",
        "results",
        "../export.csv",
    ];
    let folder = world.path("elsewhere");
    std::fs::create_dir_all(&folder).expect("a folder");
    CommandOutput::read(world.command(&run).current_dir(&folder)).expect_code(0);
    assert!(folder.join("sync.prom").exists() && folder.join("results").exists());
    assert!(world.path("omnidesk-sync.checkpoint").exists() && !world.path("runs").exists());
}

#[test]
fn a_new_checkpoint_beside_the_runs_of_this_export_needs_an_override() {
    let world = World::default();
    world.file("customers-20261126.csv", format!("{HEADER}{}", rows(3)).as_bytes());
    world.execute(&["run", "customers-20261126.csv"]).expect_code(0);
    world.write_export(&rows(3));
    world.run_with(&[]).expect_code(0);
    let requests = world.requests();
    let path = "[checkpoint]\npath = \"moved\"\n";
    let config = format!("{}{path}", world.read("omnidesk-sync.toml"));
    world.file("omnidesk-sync.toml", config.as_bytes());
    let plan = world.execute(&["plan", "export.csv"]).expect_code(0).stdout;
    assert!(plan.contains("guard new_checkpoint will block the run: there is no checkpoint /"), "{plan}");
    // However often it is tried.
    for _ in 0..2 {
        world.execute(&["run", "-q", "export.csv"]).expect_code(7).expect_stderr("\n  new_checkpoint: ");
    }
    // The date in a name makes no other export of it.
    world.file("customers-20261127.csv", format!("{HEADER}{}", rows(3)).as_bytes());
    world.execute(&["run", "customers-20261127.csv"]).expect_code(7);
    assert_eq!(world.requests(), requests);
    assert!(!world.path("moved").exists());
    // Another export, and a rehearsal of this one.
    world.execute(&["run", "--sandbox", "export.csv"]).expect_code(0);
    let blocked = expect_blocked(&world, &rows(3), &[]);
    run_override(&world, &blocked).expect_code(0).expect_outcomes("3 updated");
    world.run_with(&[]).expect_code(0).expect_calls(0);
}

#[test]
fn a_rehearsal_and_other_exports_show_no_earlier_run() {
    let world = World::default();
    world.write_export(&rows(3));
    world.execute(&["run", "--sandbox", "export.csv"]).expect_code(0);
    world.execute(&["run", "--sandbox", "export.csv"]).expect_code(0);
    world.file("other.csv", format!("{HEADER}{}", rows(3)).as_bytes());
    world.execute(&["run", "-q", "export.csv"]).expect_code(0).expect_stderr("new checkpoint /");
    std::fs::remove_file(world.path("omnidesk-sync.checkpoint")).expect("removed");
    world.execute(&["run", "-q", "other.csv"]).expect_code(0).expect_stderr("is lost, after");
    std::fs::remove_file(world.path("omnidesk-sync.checkpoint")).expect("removed");
    world.execute(&["adopt", "export.csv"]).expect_code(0);
    world.run_with(&[]).expect_code(0).expect_calls(0);
}
