//! The README says what `--help` says.

use crate::world::World;

const README: &str = include_str!("../../README.md");

/// Each usage block in the README starts with the command that prints it.
#[test]
fn usage_blocks_equal_the_help() {
    let world = World::at("http://127.0.0.1:9");
    let mut blocks = 0;
    for block in README.split("```console\n$ omnidesk-sync ").skip(1) {
        let (command, rest) = block.split_once('\n').expect("a command");
        if !command.ends_with("--help") {
            continue;
        }
        let shown = rest.split("```").next().expect("a block");
        let arguments: Vec<&str> = command.split_whitespace().collect();
        let help = world.ends(&arguments).expect(0).stdout;
        assert_eq!(trimmed(shown), trimmed(&help), "the README's `omnidesk-sync {command}`");
        blocks += 1;
    }
    assert!(blocks >= 3, "the README shows the help of {blocks} commands");
}

fn trimmed(text: &str) -> String {
    text.trim().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}
