//! `explain`: what the checkpoint knows of one customer, and what an export would
//! send. Writes nothing.

use super::print;
use crate::checkpoint::Checkpoint;
use crate::cli::ExplainArgs;
use crate::config::Config;
use crate::plan::{KnownCustomer, PlanOptions, explain_rows, named_customers, prepare};
use crate::run::{Exit, RunError, rehearsal_path};

pub(super) fn explain(args: &ExplainArgs) -> Result<Exit, RunError> {
    let config = Config::read(&args.config)?;
    let mut customers = named_customers(&config, args.brand, [&args.id])?;
    let customer = customers.remove(0);
    let real = &config.checkpoint.path;
    let checkpoint = match Checkpoint::open_to_read(real)? {
        None => Checkpoint::open_to_read(&rehearsal_path(real))?,
        checkpoint => checkpoint,
    };
    let mut known = KnownCustomer::look_up(&config, checkpoint.as_ref(), customer)?;
    let rows = if args.exports.is_empty() {
        None
    } else {
        let options = PlanOptions { full: args.full, ..PlanOptions::default() };
        let prepared = prepare(&config, options, &args.exports)?;
        Some(explain_rows(&prepared, checkpoint.as_ref(), &mut known)?)
    };
    let text = if args.json {
        let mut value = known.json();
        value["export"] = rows.as_ref().map(|rows| rows.json()).into();
        format!("{value}\n")
    } else {
        known.text() + &rows.map(|rows| rows.text()).unwrap_or_default()
    };
    print(text.as_bytes())?;
    Ok(if known.is_known() { Exit::Clean } else { Exit::Problems })
}
