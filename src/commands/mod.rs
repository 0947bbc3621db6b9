//! The sub-commands: wiring, one file each.

mod adopt;
mod error;
mod init;
mod plan;
mod sandbox;
mod status;

use std::io::Write;
use std::process::ExitCode;

use clap::CommandFactory;
use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Command, Common, LogFormat};
use crate::report::{LogWriter, print_data};
use crate::run::{self, Exit};
use error::CommandError;

/// Does what the command line says.
#[must_use]
pub fn main(cli: Cli) -> ExitCode {
    let (common, json) = match &cli.command {
        Command::Run(args) => (Some(&args.common), args.common.json),
        Command::Plan(args) => (Some(&args.common), args.common.json),
        Command::Adopt(args) => (Some(&args.common), args.common.json),
        Command::Status(args) => (None, args.json),
        _ => (None, false),
    };
    let log = start_log(common);
    let ended = match &cli.command {
        Command::Run(args) => run::run(args, &log).map_err(CommandError::from),
        Command::Plan(args) => plan::plan(args),
        Command::Init(args) => init::init(args),
        Command::Adopt(args) => adopt::adopt(args),
        Command::Status(args) => status::status(args),
        Command::Sandbox(args) => sandbox::sandbox(args),
        Command::Completions { shell } => completions(*shell),
        Command::Man => manual(),
    };
    match ended {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(error) => {
            let exit = error.exit();
            let _ = writeln!(std::io::stderr(), "error: {error}");
            if json {
                let error = serde_json::json!({ "exit_code": exit as u8, "error": error.to_string() });
                let _ = writeln!(std::io::stdout(), "{error}");
            }
            ExitCode::from(exit as u8)
        }
    }
}

fn start_log(common: Option<&Common>) -> LogWriter {
    let writer = LogWriter::default();
    let level = match common {
        Some(Common { quiet: true, .. }) => "error",
        Some(Common { verbose: 1, .. }) => "omnidesk_sync=info,warn",
        Some(Common { verbose: 2.., .. }) => "omnidesk_sync=debug,warn",
        _ => "warn",
    };
    let made = writer.clone();
    let builder = tracing_subscriber::fmt()
        // The verifier of certificates repeats on its own what our message says.
        .with_env_filter(EnvFilter::new(format!("{level},rustls_platform_verifier=off")))
        .with_writer(move || made.clone())
        .with_ansi(false);
    match common.map(|common| common.log_format) {
        Some(LogFormat::Json) => builder.json().init(),
        _ => builder.init(),
    }
    writer
}

fn completions(shell: clap_complete::Shell) -> Result<Exit, CommandError> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "omnidesk-sync", &mut text);
    print(&text)
}

fn manual() -> Result<Exit, CommandError> {
    let mut text = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut text)?;
    print(&text)
}

fn print(text: &[u8]) -> Result<Exit, CommandError> {
    print_data(text)?;
    Ok(Exit::Clean)
}
