//! `status`: the checkpoint as text or as JSON.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{print, print_json};
use crate::checkpoint::{Checkpoint, CustomerTotals, RunRecord, RunScope, RunState, Work, path_beside};
use crate::cli::StatusArgs;
use crate::config::Config;
use crate::plan::shell_line;
use crate::reconcile::MissingCustomers;
use crate::report::{RunningStatus, STATUS_ENDING, UnusableProbes, read_status, read_summary, wait_text};
use crate::run::{Exit, RunError, lost_checkpoint, rehearsal_path, unusable_probes};
use crate::units::{Count, Period, RateTimeline, counted, local_time, pluralize};

const RUNS_SHOWN: usize = 10;
const ROWS_SHOWN: usize = 5;

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
            let open = checkpoint.open_runs()?;
            let in_doubt = open.iter().map(|run| {
                let mut rows = checkpoint.rows_in_doubt(run.export.ordinal);
                // Another run over the same export may have the others.
                rows.retain(|row| run.worklist.next_after(row.saturating_sub(1), Work::Calls) == Some(*row));
                (run.id, rows)
            });
            let view = StatusView {
                path,
                running,
                now: Timestamp::now(),
                rates: config.limits.rate.timeline(),
                in_doubt: in_doubt.collect(),
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
    now: Timestamp,
    rates: RateTimeline,
    tenant: String,
    totals: CustomerTotals,
    /// Rows of open runs whose create has no answer.
    in_doubt: HashMap<i64, Vec<u64>>,
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
            "open_run": self.open_runs().find(|(_, run)| !run.scope.is_part()).map(|run| self.open_run_json(run)),
            "open_parts": self.open_runs().filter(|(_, run)| run.scope.is_part()).map(|run| self.open_run_json(run)).collect::<Vec<_>>(),
            "runs": self.runs.iter().map(run_json).collect::<Vec<_>>(),
        })
    }

    fn open_run_json(&self, run: &(i64, RunRecord)) -> Value {
        let mut value = run_json(run);
        value["rows_in_doubt"] = self.in_doubt.get(&run.0).cloned().unwrap_or_default().into();
        value["command"] = Some(&run.1.command).filter(|command| !command.is_empty()).cloned().into();
        value
    }

    fn text(&self) -> String {
        let mut text = format!("{} of {}\n", self.path.display(), self.tenant);
        if let Some(RunningStatus { pid, started, line, .. }) = &self.running {
            let _ = writeln!(text, "running as process {pid} since {}: {line}", local(started));
            let _ = writeln!(text, "  to stop it: kill -INT {pid}; calls on their way are finished");
        }
        for (id, run) in self.open_runs() {
            self.write_open_run(&mut text, *id, run);
        }
        self.write_customers(&mut text);
        if let Some(probes) = self.unusable_probes() {
            let _ = writeln!(text, "{}", probes.message());
        }
        let ended = self.runs.iter().filter(|(_, run)| run.state != RunState::Open);
        let mut ended = ended.peekable();
        if ended.peek().is_some() {
            text += "ended runs, the latest first:\n";
        }
        for (id, run) in ended {
            let _ = writeln!(text, "  {}", ended_run_text(*id, run, &self.ago(&run.ended)));
            if let Some(missing) = run.missing {
                let _ = writeln!(text, "    {}", missing.line());
            }
        }
        text
    }

    /// Since when it is open, how far it is, what it waits for, what is in doubt, and
    /// what to type.
    fn write_open_run(&self, text: &mut String, id: i64, run: &RunRecord) {
        let end = match (&self.running, run.ended.as_str()) {
            (Some(_), _) => String::new(),
            (None, "") => ", killed or cut off: no process runs it".to_owned(),
            (None, ended) => format!(", stopped {} ({})", local(ended), self.ago(ended)),
        };
        let (scope, begun) = (scope_text(run.scope), local(&run.started));
        let _ = writeln!(text, "open: run {id}{scope}, begun {begun} ({}){end}", self.ago(&run.started));
        let (settled, rows) = (Count(run.counts.total()), counted(run.rows, "row"));
        let counts = if run.counts.total() == 0 { String::new() } else { format!(" ({})", run.counts) };
        let _ = writeln!(text, "  {settled} of {rows} settled{counts}");
        let calls = counted(run.calls_planned, "call");
        let _ = writeln!(text, "  {} of {calls} made{}", Count(run.calls_done), self.rest_text(run));
        if let Some(missing) = run.missing {
            let _ = writeln!(text, "  {}", missing.line());
        }
        if self.running.is_some() {
            if let Some((until, reason)) = waiting(run) {
                let _ = writeln!(text, "  {}", wait_text(until, reason));
            }
            return;
        }
        let stopped = read_summary(Path::new(&run.folder)).filter(|_| !run.ended.is_empty());
        let stopped = stopped.as_ref().and_then(|summary| summary["stopped"]["message"].as_str());
        if let Some(why) = stopped.and_then(|message| message.lines().next()) {
            let _ = writeln!(text, "  why it stopped: {}", why.trim_end_matches(':'));
        }
        let rows = self.in_doubt.get(&id).map(Vec::as_slice).unwrap_or_default();
        if !rows.is_empty() {
            let creates = pluralize(rows.len() as u64, "create has", "creates have");
            let _ = writeln!(
                text,
                "  {creates} no answer: {}; the resumed run asks Omnidesk before it sends another one",
                rows_text(rows)
            );
        }
        let _ = match (run.scope, run.command.as_str()) {
            (RunScope::Request, _) => {
                writeln!(text, "  to resume it: the same `purge` command; to give it up: `purge --fresh`")
            }
            (_, "") => writeln!(text, "  to resume it: the same command line; to give it up: add --fresh"),
            (_, command) => {
                let input = if command.ends_with(" -") { "the same export piped into " } else { "" };
                let is_here = std::env::current_dir().is_ok_and(|here| here == Path::new(&run.directory));
                let directory = [run.directory.clone()];
                let place =
                    if is_here { String::new() } else { format!("cd {} && ", shell_line(&directory)) };
                writeln!(text, "  to resume it: {input}{place}{command}\n  to give it up: add --fresh")
            }
        };
    }

    /// How long the rest takes. A running process says it itself, and a rate of the
    /// command line is not known here.
    fn rest_text(&self, run: &RunRecord) -> String {
        if self.running.is_some() || run.command.contains(" --rate") {
            return String::new();
        }
        let left = run.calls_planned.saturating_sub(run.calls_done);
        let time = Period(self.rates.time_for(left as f64, Duration::ZERO));
        format!("; the rest takes {time} at {}", self.rates.schedule())
    }

    fn write_customers(&self, text: &mut String) {
        let doubt = if self.running.is_some() { "on their way or in doubt" } else { "in doubt" };
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
    }

    fn ago(&self, time: &str) -> String {
        let ago = time.parse().ok().and_then(|time| Duration::try_from(self.now.duration_since(time)).ok());
        format!("{} ago", Period(ago.unwrap_or_default()))
    }
}

/// A time of the checkpoint as the clock on the wall has it.
fn local(time: &str) -> String {
    time.parse().map_or_else(|_| time.to_owned(), local_time)
}

/// `run 12 over a part, finished 2026-11-28 02:03:11 (6 h 12 min ago): 3,000 rows (2,954 unchanged, 46 rejected)`
fn ended_run_text(id: i64, run: &RunRecord, ago: &str) -> String {
    format!(
        "run {id}{}, {} {} ({ago}): {} ({})",
        scope_text(run.scope),
        run.state.as_str(),
        local(&run.ended),
        counted(run.rows, "row"),
        run.counts
    )
}

/// `rows 17, 300, 301 and 4 more`
fn rows_text(rows: &[u64]) -> String {
    let shown: Vec<String> = rows.iter().take(ROWS_SHOWN).map(ToString::to_string).collect();
    let rest = (rows.len() - shown.len()) as u64;
    let rest = if rest == 0 { String::new() } else { format!(" and {} more", Count(rest)) };
    let noun = if rows.len() == 1 { "row" } else { "rows" };
    format!("{noun} {}{rest}", shown.join(", "))
}

fn scope_text(scope: RunScope) -> &'static str {
    match scope {
        RunScope::Whole => "",
        RunScope::Part | RunScope::Customers(_) => " over a part",
        RunScope::Request => " by the command purge",
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
