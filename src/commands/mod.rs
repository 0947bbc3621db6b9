//! The sub-commands, one file each: options in, the work of other rooms, output.

mod adopt;
mod doctor;
mod explain;
mod init;
mod man;
mod plan;
mod purge;
mod run;
mod sandbox;
mod status;
mod undo;
mod verify;

use std::process::ExitCode;
use std::time::Instant;

use clap::CommandFactory;
use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Command, Common, GuardArgs, LogFormat, SelectionArgs, WindowArgs};
use crate::config::{Config, LimitsSection};
use crate::guards::{GuardPolicy, GuardSettings, NewIdsPolicy, SharedAddressesPolicy};
use crate::plan::{PlanError, PlanOptions, Selection, Window};
use crate::report::{LogWriter, json_document, print_data, report_line};
use crate::run::{Exit, RunError};
use crate::units::check_zone;

pub fn main(cli: Cli) -> ExitCode {
    let (common, json) = match &cli.command {
        Command::Run(args) => (Some(&args.common), args.common.json),
        Command::Plan(args) => (Some(&args.common), args.common.json),
        Command::Adopt(args) => (Some(&args.common), args.common.json),
        Command::Status(args) => (None, args.json),
        Command::Doctor(args) => (None, args.json),
        Command::Explain(args) => (None, args.json),
        Command::Undo(args) => (None, args.json),
        Command::Purge(args) => (None, args.json),
        Command::Verify(args) => (None, args.json),
        _ => (None, false),
    };
    let log = start_log(common);
    let result = match &cli.command {
        Command::Run(args) => run::run(args, &log),
        Command::Plan(args) => plan::plan(args, &log),
        Command::Init(args) => init::init(args),
        Command::Adopt(args) => adopt::adopt(args, &log),
        Command::Status(args) => status::status(args),
        Command::Doctor(args) => doctor::doctor(args),
        Command::Explain(args) => explain::explain(args),
        Command::Purge(args) => purge::purge(args, &log),
        Command::Undo(args) => undo::undo(args),
        Command::Verify(args) => verify::verify(args, &log),
        Command::Sandbox(args) => sandbox::sandbox(args),
        Command::Schema => schema(),
        Command::Completions { shell } => completions(*shell),
        Command::Man(args) => man::man(args),
    };
    match result {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(error) => {
            let exit = error.exit();
            report_line(&format!("error: {error}"));
            if json {
                let _ = print_json(json!({ "exit_code": exit as u8, "error": error.to_string() }));
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
    let make_writer = writer.clone();
    let builder = tracing_subscriber::fmt()
        // Our own message repeats the log line of the certificate verifier.
        .with_env_filter(EnvFilter::new(format!("{level},rustls_platform_verifier=off")))
        .with_writer(move || make_writer.clone())
        .with_ansi(false);
    if common.is_some_and(|common| common.log_format == LogFormat::Json) {
        builder.json().init();
    } else {
        builder.init();
    }
    writer
}

fn schema() -> Result<Exit, RunError> {
    print(format!("{:#}\n", Config::schema().to_value()).as_bytes())
}

fn completions(shell: clap_complete::Shell) -> Result<Exit, RunError> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "omnidesk-sync", &mut text);
    print(&text)
}

fn plan_options(common: &Common, selection: Selection) -> PlanOptions {
    PlanOptions { full: common.full, limit: common.limit, selection }
}

fn selection(args: &SelectionArgs) -> Selection {
    match &args.only[..] {
        [] if args.part => Selection::Part,
        [] => Selection::All,
        ids => Selection::Customers { ids: ids.to_vec(), brand: args.brand },
    }
}

/// The command line overrides the configuration.
fn window(args: &WindowArgs, limits: &LimitsSection, began: Instant) -> Result<Option<Window>, PlanError> {
    if limits.rate.is_by_clock() {
        check_zone().map_err(|problem| PlanError::Usage(format!("limits.rate: {problem}")))?;
    }
    let max_duration = args.max_duration.or(limits.max_duration).map(|duration| duration.0);
    Window::new(max_duration, args.stop_at, began)
}

fn print_json(value: Value) -> Result<Exit, RunError> {
    print(format!("{}\n", json_document(value)).as_bytes())
}

fn override_guards(guard: &mut GuardSettings, args: &GuardArgs) {
    (guard.min_rows_override, guard.min_fill_override) = (args.min_rows, args.min_fill);
    if args.allow_shared_addresses && guard.shared_addresses == SharedAddressesPolicy::Block {
        guard.shared_addresses = SharedAddressesPolicy::Report;
    }
    guard.allow_shared_addresses |= args.allow_shared_addresses;
    guard.allow_placeholder_ids |= args.allow_placeholder_ids;
    for (is_allowed, policy) in
        [(args.allow_same_id, &mut guard.same_id), (args.allow_moved_addresses, &mut guard.moved_addresses)]
    {
        if is_allowed && *policy == GuardPolicy::Block {
            *policy = GuardPolicy::Report;
        }
    }
    if args.allow_new_ids {
        guard.new_ids = NewIdsPolicy::Ignore;
    }
}

fn print(text: &[u8]) -> Result<Exit, RunError> {
    print_data(text)?;
    Ok(Exit::Clean)
}
