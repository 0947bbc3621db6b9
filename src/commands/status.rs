//! `status`: the checkpoint in words or as JSON.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::error::CommandError;
use super::print;
use crate::checkpoint::{Checkpoint, RunRecord, RunState};
use crate::cli::StatusArgs;
use crate::config::Config;
use crate::reconcile::{MissingCustomers, Outcome};
use crate::report::missing_json;
use crate::run::Exit;
use crate::run::lost;
use crate::run::rehearsal_path;

/// Runs shown.
const RUNS_SHOWN: u32 = 10;

/// Does it.
pub(super) fn status(args: &StatusArgs) -> Result<Exit, CommandError> {
    let config = Config::read(&args.config)?;
    let path = config.checkpoint.path;
    let rehearsal = rehearsal_path(&path);
    let (path, found) = match Checkpoint::look(&path)? {
        Some(found) => (path, Some(found)),
        None => match Checkpoint::look(&rehearsal)? {
            Some(found) => (rehearsal, Some(found)),
            None => (path, None),
        },
    };
    let Some(checkpoint) = found else {
        let text = lost(&path)
            .unwrap_or_else(|| format!("no checkpoint at {}: nothing was run yet", path.display()));
        let json = json!({ "checkpoint": path, "exists": false });
        return print(if args.json { format!("{json}\n") } else { format!("{text}\n") }.as_bytes());
    };
    let shown = StatusView {
        path,
        tenant: checkpoint.tenant()?,
        totals: checkpoint.totals()?,
        runs: runs_of(&checkpoint)?,
    };
    print(if args.json { format!("{}\n", shown.json()) } else { shown.text() }.as_bytes())
}

fn runs_of(checkpoint: &Checkpoint) -> Result<Vec<RunStatus>, CommandError> {
    let with_missing = |(id, record)| Ok(RunStatus { id, missing: checkpoint.missing_of(id)?, record });
    checkpoint.runs(RUNS_SHOWN)?.into_iter().map(with_missing).collect()
}

/// A run, and who was missing from its export.
struct RunStatus {
    id: i64,
    record: RunRecord,
    missing: Option<MissingCustomers>,
}

struct StatusView {
    path: PathBuf,
    tenant: String,
    totals: crate::checkpoint::Totals,
    runs: Vec<RunStatus>,
}

impl StatusView {
    fn json(&self) -> Value {
        let runs: Vec<Value> = self.runs.iter().map(run_json).collect();
        let open = self.runs.first().filter(|run| run.record.state == RunState::Open).map(run_json);
        json!({
            "checkpoint": self.path,
            "exists": true,
            "tenant": self.tenant,
            "customers": self.totals.customers,
            "purged": self.totals.purged,
            "in_doubt": self.totals.in_doubt,
            "open_run": open,
            "runs": runs,
        })
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "{} of {}", self.path.display(), self.tenant);
        // Of a run that is open, another process may be making them just now.
        let is_open = self.runs.first().is_some_and(|run| run.record.state == RunState::Open);
        let doubt = if is_open { "under way or in doubt" } else { "in doubt" };
        let _ = writeln!(
            text,
            "{} customers known, {} of them purged; {} creates {doubt}",
            self.totals.customers, self.totals.purged, self.totals.in_doubt
        );
        for RunStatus { id, record: run, missing } in &self.runs {
            let settled = run.counts.total();
            let outcomes: Vec<String> = Outcome::ALL
                .iter()
                .filter(|outcome| run.counts.get(**outcome) > 0)
                .map(|outcome| format!("{} {}", run.counts.get(*outcome), outcome.word()))
                .collect();
            let _ = writeln!(
                text,
                "run {id}, {}, begun {}: {settled} of {} rows settled ({})",
                word(run.state),
                run.started,
                run.rows,
                outcomes.join(", ")
            );
            if let Some(missing) = missing {
                let _ = writeln!(text, "  {}", missing.line());
            }
        }
        text
    }
}

fn run_json(RunStatus { id, record: run, missing }: &RunStatus) -> Value {
    let outcomes: serde_json::Map<String, Value> = Outcome::ALL
        .iter()
        .map(|outcome| (outcome.word().to_owned(), run.counts.get(*outcome).into()))
        .collect();
    json!({
        "id": id,
        "state": word(run.state),
        "started": run.started,
        "ended": run.ended,
        "folder": run.folder,
        "rows": run.rows,
        "settled": run.counts.total(),
        "outcomes": outcomes,
        "missing": missing.as_ref().map(missing_json),
        "calls_planned": run.calls_planned,
        "calls_done": run.calls_done,
    })
}

fn word(state: RunState) -> &'static str {
    match state {
        RunState::Open => "open",
        RunState::Finished => "finished",
        RunState::Superseded => "superseded",
    }
}
