//! What people look at: closed pipes, colors.

use crate::world::{World, rows};

#[test]
fn a_reader_that_has_seen_enough_ends_a_command_quietly() {
    let world = World::default();
    world.write_export(&rows(3));
    for arguments in [
        &["plan", "--show", "3", "export.csv"][..],
        &["status"],
        &["schema"],
        &["run", "--json", "export.csv"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = world.command(arguments).stdout(writer).output().expect("the program");
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(output.status.success() && !stderr.contains("error"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn colors_are_for_terminals_unless_the_environment_asks_for_them() {
    let world = World::default();
    world.file("export.csv", b"id\n1\n");
    let stderr = |variable: &str| {
        let mut command = world.command(&["plan", "export.csv"]);
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
        let output = command.env(variable, "1").env("TERM", "xterm").output().expect("the program");
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    let plain = stderr("NO_COLOR");
    assert!(plain.starts_with("error: "), "{plain}");
    assert_eq!(stderr("IRRELEVANT"), plain);
    let colored = stderr("CLICOLOR_FORCE");
    assert!(colored.starts_with("\u{1b}[1m\u{1b}[31merror:\u{1b}[0m "), "{colored}");
}
