//! The program: arguments in, an exit code out.

use std::process::ExitCode;

use omnidesk_sync::cli::Cli;

fn main() -> ExitCode {
    omnidesk_sync::commands::main(Cli::read())
}
