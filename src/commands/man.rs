//! `man`: the manual pages.

use clap::CommandFactory;
use clap_mangen::Man;

use super::print;
use crate::cli::{Cli, ManArgs};
use crate::run::{Exit, RunError};

pub(super) fn man(args: &ManArgs) -> Result<Exit, RunError> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let source = format!("omnidesk-sync {}", env!("CARGO_PKG_VERSION"));
    let page = |command: &clap::Command| Man::new(command.clone()).source(&source);
    if let Some(dir) = &args.dir {
        std::fs::create_dir_all(dir)?;
        for command in std::iter::once(&program).chain(program.get_subcommands()) {
            page(command).generate_to(dir)?;
        }
        return Ok(Exit::Clean);
    }
    let command = match &args.command {
        Some(name) => program.find_subcommand(name).ok_or_else(|| unknown(name))?,
        None => &program,
    };
    let mut text = Vec::new();
    page(command).render(&mut text)?;
    print(&text)
}

fn unknown(name: &str) -> RunError {
    RunError::Usage(format!("there is no command {name:?}\nhint: `omnidesk-sync --help` lists the commands"))
}
