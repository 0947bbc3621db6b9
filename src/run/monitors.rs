//! Reports of a run to others: Prometheus, a dead man's switch, a chat. Also of a
//! run that never got to its first row.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use super::error::RunError;
use super::exit::Exit;
use crate::checkpoint::path_beside;
use crate::config::Config;
use crate::report::{
    ExecutionReport, Notifier, RunEnd, Summary, check_metrics_file, report_line, write_metrics,
};

/// A run that has a summary.
pub(crate) struct FinishedRun {
    pub(crate) exit: Exit,
    pub(crate) summary: Summary,
}

pub(crate) struct Monitors {
    metrics_file: Option<PathBuf>,
    began: Instant,
    notifier: Notifier,
}

impl Monitors {
    pub(crate) fn new(metrics_file: Option<PathBuf>, began: Instant) -> Result<Self, RunError> {
        if let Some(path) = &metrics_file {
            check_metrics_file(path).map_err(|error| RunError::Usage(format!("--metrics-file {error}")))?;
        }
        Ok(Self { metrics_file, began, notifier: Notifier::silent() })
    }

    /// From here on it is known where to notify.
    pub(crate) fn set_notify(&mut self, config: &Config) {
        let state_path = path_beside(&config.checkpoint.path, ".notify");
        self.notifier = Notifier::new(config.notify.clone(), state_path);
    }

    /// The run has the checkpoint.
    pub(super) fn start(&mut self) {
        self.notifier.start();
    }

    /// Reports the end everywhere. A notification that is not delivered changes
    /// nothing; a file that cannot be written is a failure of this machine.
    pub(crate) fn report(self, finished: Result<FinishedRun, RunError>) -> Result<Exit, RunError> {
        let exit = finished.as_ref().map_or_else(RunError::exit, |finished| finished.exit);
        let summary = finished.as_ref().ok().map(|finished| &finished.summary);
        let execution = ExecutionReport {
            exit_code: exit as u8,
            is_success: self.notifier.is_success(exit as u8),
            took: self.began.elapsed(),
            summary,
        };
        let written = self.metrics_file.as_ref().map(|path| write_metrics(path, &execution));
        let line = summary.map_or_else(|| exit.description().to_owned(), Summary::numbers);
        let end = RunEnd { exit_code: exit as u8, line, causes: causes(&finished) };
        for undelivered in self.notifier.end(&end) {
            report_line(&undelivered);
        }
        finished?;
        written.transpose()?;
        Ok(exit)
    }
}

/// What went wrong, in codes that name no customer.
fn causes(finished: &Result<FinishedRun, RunError>) -> BTreeMap<String, Option<u64>> {
    match finished {
        Ok(finished) => finished.summary.cause_codes(),
        Err(RunError::Blocked { verdicts, .. }) => {
            verdicts.iter().map(|verdict| (verdict.guard.to_string(), None)).collect()
        }
        Err(_) => BTreeMap::new(),
    }
}
