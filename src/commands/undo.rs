//! `undo`: writes a file that purges whom a run has created. Sends nothing.

use super::print;
use crate::checkpoint::Checkpoint;
use crate::cli::UndoArgs;
use crate::config::Config;
use crate::plan::{PlanOptions, prepare};
use crate::run::{ChangedCustomers, Exit, RunError, UndoSource, find_run};

pub(super) fn undo(args: &UndoArgs) -> Result<Exit, RunError> {
    let config = Config::read(&args.config)?;
    let path = &config.checkpoint.path;
    let checkpoint = Checkpoint::open_to_read(path)?.ok_or_else(|| {
        RunError::Usage(format!("no checkpoint at {}: there was no run yet", path.display()))
    })?;
    let run = find_run(&checkpoint, &args.run)?;
    let prepared = prepare(&config, PlanOptions::default(), &args.exports)?;
    let changed_customers =
        if args.include_changed { ChangedCustomers::Include } else { ChangedCustomers::Omit };
    let source = UndoSource {
        config: &config,
        config_path: &args.config,
        prepared: &prepared,
        checkpoint: &checkpoint,
        changed_customers,
    };
    let undo = source.write(run)?;
    let text = if args.json { format!("{}\n", undo.json()) } else { undo.text() };
    print(text.as_bytes())?;
    Ok(if undo.is_complete() { Exit::Clean } else { Exit::Problems })
}
