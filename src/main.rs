//! The program: arguments in, an exit code out.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use omnidesk_sync::cli::Cli;

/// One thread makes most of the small blocks, and another one frees them.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    omnidesk_sync::commands::main(Cli::read())
}
