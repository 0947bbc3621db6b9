//! `adopt`: records that Omnidesk already holds an export. Sends nothing.

use super::error::CommandError;
use super::print;
use crate::checkpoint::{Checkpoint, ExportId, FileLengths, RunRecord, RunState};
use crate::checkpoint::{Work, Worklist};
use crate::cli::AdoptArgs;
use crate::config::{Config, MissingAction};
use crate::guards::{Findings, RunProfile, SharedAddressesPolicy};
use crate::mapping::Rejection;
use crate::omnidesk::{Call, CallKind};
use crate::plan::keep_names;
use crate::plan::rejections;
use crate::plan::{self, PreparedExport};
use crate::plan::{Plan, PlanError};
use crate::plan::{PlanObserver, PlanRequest, survey};
use crate::reconcile::{Acked, Counts, CustomerKey, Outcome, Policy};
use crate::report::report_line;
use crate::run::Exit;
use crate::run::warn_if_lost;
use crate::source::RowRef;

/// Customers written at once.
const BATCH_CUSTOMERS: usize = 4096;

/// Does it.
pub(super) fn adopt(args: &AdoptArgs) -> Result<Exit, CommandError> {
    let config = Config::read(&args.common.config)?;
    warn_if_lost(&config.checkpoint.path);
    let mut checkpoint = Checkpoint::open(&config.checkpoint.path, &config.omnidesk.base_url.tenant())?;
    if checkpoint.open_run()?.is_some() {
        let message =
            "a run is open; finish it, or give it up with `run --fresh`, before anything is adopted";
        return Err(CommandError::Usage(message.to_owned()));
    }
    let mut prepared = plan::prepare(&config, &args.common, &args.export)?;
    // Nobody is missing from an export that is only taken note of.
    prepared.missing = MissingAction::Ignore;
    let numbered = checkpoint.number(prepared.fingerprint, prepared.mapped)?;
    let policy = Policy {
        key: checkpoint.key(),
        export: numbered.ordinal,
        full: args.common.full,
        allow_recreate: false,
    };
    let past = checkpoint.past()?;
    let shared = SharedAddressesPolicy::Ignore;
    let question = PlanRequest { policy: &policy, only: None, past: &past, shared, names_all: false };
    // Decided twice: nothing is recorded of an export that cannot be adopted.
    let mut nothing = AdoptionObserver { writer: None, told: Vec::new() };
    let looked = survey(&prepared, Some(&mut checkpoint), &question, &mut nothing)?;
    if looked.calls(CallKind::Purge) > 0 {
        let message = format!(
            "{} rows purge a customer: that cannot be adopted, only done",
            looked.calls(CallKind::Purge)
        );
        return Err(CommandError::Usage(message));
    }
    plan::wait_until_written(&config, &args.common, &prepared)?;
    checkpoint.register(&numbered)?;
    let mut reader = Checkpoint::look(&config.checkpoint.path)?;
    reader.as_ref().map_or(Ok(()), Checkpoint::unpin)?;
    let mut adopted = AdoptionObserver { writer: Some(&mut checkpoint), told: Vec::new() };
    survey(&prepared, reader.as_mut(), &question, &mut adopted)?;
    adopted.write()?;
    drop(reader);
    if config.missing.action != MissingAction::Ignore {
        keep_names(&prepared, &policy, &mut checkpoint)?;
    }
    let rejected = looked.expected.get(Outcome::Rejected);
    let (rows, why) = (looked.rows, rejections(&looked, false));
    record(&mut checkpoint, &prepared, numbered, looked)?;
    if args.common.json {
        let value = serde_json::json!({ "rows": rows, "adopted": rows - rejected, "rejected": rejected });
        print(format!("{value}\n").as_bytes())?;
    }
    let adopted = rows - rejected;
    let said = format!("{adopted} of {rows} rows adopted, {rejected} rejected; nothing was sent\n{why}");
    report_line(said.trim_end());
    Ok(if rejected == 0 { Exit::Clean } else { Exit::Troubles })
}

/// Records it as a run that is finished.
fn record(
    checkpoint: &mut Checkpoint,
    prepared: &PreparedExport,
    export: ExportId,
    looked: Plan,
) -> Result<(), CommandError> {
    let rejected = looked.expected.get(Outcome::Rejected);
    let mut counts = Counts::default();
    counts.add_many(Outcome::Unchanged, looked.rows - rejected);
    let now = jiff::Timestamp::now().to_string();
    let record = RunRecord {
        rows: looked.rows,
        only_sync: looked.only_sync,
        partial: prepared.is_part(),
        mapped: prepared.mapped,
        brands: looked.brands.iter().copied().collect(),
        counts,
        ..RunRecord::adopted(&now)
    };
    // What has vanished is said by the next run: nobody looks for it here.
    let seen = RunProfile { notices: Vec::new(), ..looked.findings.seen };
    let findings = Findings { seen, ..Findings::default() };
    let mut run = checkpoint.begin(export, prepared.plan, record, Worklist::default(), &findings)?;
    // What is refused for what is known of a customer is refused by the next run too.
    let mut batch = checkpoint.batch()?;
    let mut row = 0;
    while let Some(next) = looked.worklist.next_after(row, Work::Rejected) {
        batch.settle_rejected(&mut run, next, false)?;
        row = next;
    }
    batch.commit(&mut run, FileLengths::default())?;
    Ok(checkpoint.close_run(&mut run, RunState::Finished, &now)?)
}

/// Writes down what customers are taken to have been told.
struct AdoptionObserver<'a> {
    writer: Option<&'a mut Checkpoint>,
    told: Vec<(CustomerKey, Acked)>,
}

impl AdoptionObserver<'_> {
    fn write(&mut self) -> Result<(), PlanError> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let mut batch = writer.batch()?;
        for (key, told) in self.told.drain(..) {
            batch.told(key, Some(&told))?;
            // Whether a create whose answer was lost has worked is known now.
            if batch.lookups().flight(key)?.is_some() {
                batch.landed(key)?;
            }
        }
        Ok(batch.commit_told()?)
    }
}

impl PlanObserver for AdoptionObserver<'_> {
    fn wants_all(&self) -> bool {
        self.writer.is_some()
    }
    fn calls(&mut self, _: RowRef, _: &[Call], _: Outcome) {}
    fn rejected(&mut self, _: RowRef, _: &Rejection) {}
    fn told(&mut self, key: CustomerKey, told: Option<&Acked>) -> Result<(), PlanError> {
        if self.writer.is_some() {
            self.told.extend(told.map(|told| (key, told.clone())));
        }
        if self.told.len() == BATCH_CUSTOMERS { self.write() } else { Ok(()) }
    }
}
