//! Runs of the program under strace, which shows its system calls and injects
//! faults into them.

use crate::tools::STRACE;
use crate::world::{CommandOutput, World};

/// Runs the program with these options of strace. The trace is in `trace`.
pub(crate) fn run(world: &World, options: &[&str], arguments: &[&str]) -> CommandOutput {
    let program = world.command(arguments);
    let mut command = STRACE.command();
    command.args(["-f", "-qq", "-y", "-o", "trace"]).args(options);
    command.arg(program.get_program()).args(program.get_args()).current_dir(world.path(""));
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    CommandOutput::read(&mut command)
}
