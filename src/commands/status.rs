//! `status`: the checkpoint as text or as JSON.

use std::fmt::Write as _;
use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{print, print_json};
use crate::checkpoint::{Checkpoint, CustomerTotals, RunRecord, RunScope, RunState, path_beside};
use crate::cli::StatusArgs;
use crate::config::Config;
use crate::reconcile::MissingCustomers;
use crate::report::{RunningStatus, STATUS_ENDING, UnusableProbes, read_status, wait_text};
use crate::run::{Exit, RunError, lost_checkpoint, rehearsal_path, unusable_probes};
use crate::units::{Count, counted, pluralize};

const RUNS_SHOWN: usize = 10;

pub(super) fn status(args: &StatusArgs) -> Result<Exit, RunError> {
    let config = Config::read(&args.config)?;
    let real = config.checkpoint.path;
    for path in [real.clone(), rehearsal_path(&real)] {
        if let Some(checkpoint) = Checkpoint::open_to_read(&path)? {
            let mut runs = checkpoint.runs(u32::MAX)?;
            // An open run is shown however many parts have come since.
            let mut shown = 0..RUNS_SHOWN;
            runs.retain(|(_, run)| shown.next().is_some() || run.state == RunState::Open);
            let running = read_status(&path_beside(&path, STATUS_ENDING));
            let view = StatusView {
                path,
                running,
                tenant: checkpoint.tenant()?,
                totals: checkpoint.totals()?,
                runs,
            };
            return if args.json { print_json(view.json()) } else { print(view.text().as_bytes()) };
        }
    }
    if args.json {
        return print_json(json!({ "checkpoint": real, "exists": false }));
    }
    let text = lost_checkpoint(&real)
        .unwrap_or_else(|| format!("no checkpoint at {}: there was no run yet", real.display()));
    print(format!("{text}\n").as_bytes())
}

struct StatusView {
    path: PathBuf,
    running: Option<RunningStatus>,
    tenant: String,
    totals: CustomerTotals,
    /// The latest first.
    runs: Vec<(i64, RunRecord)>,
}

impl StatusView {
    fn open_runs(&self) -> impl Iterator<Item = &(i64, RunRecord)> {
        self.runs.iter().filter(|(_, run)| run.state == RunState::Open)
    }

    /// By the settings of the last run.
    fn unusable_probes(&self) -> Option<UnusableProbes> {
        self.runs.first().and_then(|(_, run)| unusable_probes(run))
    }

    fn json(&self) -> Value {
        json!({
            "checkpoint": self.path,
            "exists": true,
            "tenant": self.tenant,
            "running": self.running,
            "customers": self.totals.known,
            "purged": self.totals.purged,
            "perhaps_purged": self.totals.perhaps_purged,
            "existing_before": self.totals.existing_before,
            "absent": self.totals.absent,
            "in_doubt": self.totals.in_doubt,
            "unusable_probes": self.unusable_probes().as_ref().map(UnusableProbes::json),
            "open_run": self.open_runs().find(|(_, run)| !run.scope.is_part()).map(run_json),
            "open_parts": self.open_runs().filter(|(_, run)| run.scope.is_part()).map(run_json).collect::<Vec<_>>(),
            "runs": self.runs.iter().map(run_json).collect::<Vec<_>>(),
        })
    }

    fn text(&self) -> String {
        let mut text = format!("{} of {}\n", self.path.display(), self.tenant);
        // Another process may be making the calls of an open run just now.
        let doubt = if self.open_runs().next().is_some() { "pending or in doubt" } else { "in doubt" };
        let CustomerTotals { known, purged, perhaps_purged, existing_before, absent, in_doubt } = self.totals;
        let (customers, creates) = (counted(known, "customer"), counted(in_doubt, "create"));
        let perhaps = Some(perhaps_purged).filter(|customers| *customers > 0);
        let perhaps = perhaps.map(|customers| format!(", {} perhaps", Count(customers))).unwrap_or_default();
        let _ =
            writeln!(text, "{customers} known, {} of them purged{perhaps}; {creates} {doubt}", Count(purged));
        if existing_before > 0 {
            let customers = pluralize(existing_before, "of them exists", "of them exist");
            let _ = writeln!(text, "{customers} by other means: on_exists decides about their rows");
        }
        if absent > 0 {
            let customers = pluralize(absent, "of them does not exist", "of them do not exist");
            let _ = writeln!(text, "{customers} in Omnidesk: on_missing decides about their rows");
        }
        if let Some(probes) = self.unusable_probes() {
            let _ = writeln!(text, "{}", probes.message());
        }
        if let Some(RunningStatus { pid, started, line, .. }) = &self.running {
            let _ = writeln!(text, "running as process {pid} since {started}: {line}");
        }
        for (id, run) in &self.runs {
            let _ = writeln!(
                text,
                "run {id}{}, {}, started {}: {} of {} settled ({})",
                scope_text(run.scope),
                run.state.as_str(),
                run.started,
                Count(run.counts.total()),
                counted(run.rows, "row"),
                run.counts
            );
            if run.state == RunState::Open && self.running.is_none() {
                let _ = writeln!(text, "  {}", ways_on(run.scope));
            }
            if let Some(wait) = waiting(run) {
                let _ = writeln!(text, "  {}", wait_text(wait.0, wait.1));
            }
            if let Some(missing) = run.missing {
                let _ = writeln!(text, "  {}", missing.line());
            }
        }
        text
    }
}

fn scope_text(scope: RunScope) -> &'static str {
    match scope {
        RunScope::Whole => "",
        RunScope::Part | RunScope::Customers(_) => " over a part",
        RunScope::Request => " by the command purge",
    }
}

/// What a person types for an open run.
fn ways_on(scope: RunScope) -> &'static str {
    match scope {
        RunScope::Request => "the same `purge` command resumes it, `purge --fresh` gives it up",
        _ => "the same command line resumes it; with --fresh added, it begins anew",
    }
}

/// What a run that executes waits for. After that time the process may have been killed.
fn waiting(run: &RunRecord) -> Option<(Timestamp, &str)> {
    let wait = run.wait.as_ref()?;
    let until = wait.until.parse().ok().filter(|until| *until > Timestamp::now())?;
    Some((until, &wait.reason))
}

fn run_json((id, run): &(i64, RunRecord)) -> Value {
    json!({
        "id": id,
        "state": run.state.as_str(),
        "kind": run.scope.as_str(),
        "part": run.scope.is_part(),
        "baseline": run.is_baseline,
        "started": run.started,
        "ended": run.ended,
        "folder": run.folder,
        "rows": run.rows,
        "settled": run.counts.total(),
        "outcomes": run.counts.json(),
        "missing": run.missing.as_ref().map(MissingCustomers::json),
        "waiting": waiting(run).map(|(until, reason)| json!({ "until": until.to_string(), "reason": reason })),
        "calls_planned": run.calls_planned,
        "calls_done": run.calls_done,
    })
}
