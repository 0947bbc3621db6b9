//! Runs of the program under strace, which shows its system calls and injects
//! faults into them.

use std::process::Command;

use crate::world::{CommandOutput, World};

/// Whether strace may trace here. A test that needs it is skipped otherwise.
#[expect(clippy::print_stdout, reason = "a skipped test prints why")]
pub(crate) fn is_available() -> bool {
    let probe = "inject=fsync:error=EIO:delay_enter=1:when=1";
    let output =
        Command::new("strace").args(["-f", "-qq", "-e", "trace=fsync", "-e", probe, "true"]).output();
    let is_available = output.is_ok_and(|output| output.status.success());
    if !is_available {
        println!("SKIPPED: strace is missing, or may not trace here");
    }
    is_available
}

/// Runs the program with these options of strace. The trace is in `trace`.
pub(crate) fn run(world: &World, options: &[&str], arguments: &[&str]) -> CommandOutput {
    let program = world.command(arguments);
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-y", "-o", "trace"]).args(options);
    command.arg(program.get_program()).args(program.get_args()).current_dir(world.path(""));
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    CommandOutput::read(&mut command)
}
