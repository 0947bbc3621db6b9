//! Who is told of a run beside the one who started it: Prometheus, a
//! dead-man's switch. Also of a run that never got as far as its first row.

use std::time::Instant;

use super::error::RunError;
use super::exit::Exit;
use crate::cli::RunArgs;
use crate::config::Config;
use crate::report::report_line;
use crate::report::{ExecutionReport, Notifier, NotifySettings, Summary, check_metrics_file, write_metrics};

/// How a run ended that closed its books.
pub(crate) struct FinishedRun {
    pub(crate) exit: Exit,
    pub(crate) summary: Summary,
}

/// What is to be told, and to whom.
pub(crate) struct Monitors<'a> {
    args: &'a RunArgs,
    began: Instant,
    notifier: Notifier,
}

impl<'a> Monitors<'a> {
    /// Nobody is told yet.
    pub(crate) fn new(args: &'a RunArgs, began: Instant) -> Result<Self, RunError> {
        if let Some(path) = &args.metrics_file {
            check_metrics_file(path).map_err(|error| RunError::Usage(format!("--metrics-file {error}")))?;
        }
        Ok(Self { args, began, notifier: Notifier::new(NotifySettings::default()) })
    }

    /// From here on it is known who wants to hear of it. A rehearsal is nobody's business.
    pub(crate) fn read(&mut self, config: &Config) {
        if !self.args.sandbox {
            self.notifier = Notifier::new(config.notify.clone());
        }
    }

    /// The run has the checkpoint.
    pub(crate) fn started(&mut self) {
        self.notifier.start();
    }

    /// Tells everybody. Word that does not arrive changes nothing; a file that
    /// cannot be written is a failure of this machine.
    pub(crate) fn tell(self, ended: Result<FinishedRun, RunError>) -> Result<Exit, RunError> {
        let exit = ended.as_ref().map_or_else(RunError::exit, |ended| ended.exit);
        let summary = ended.as_ref().ok().map(|ended| &ended.summary);
        let execution = ExecutionReport {
            exit_code: exit as u8,
            succeeded: self.notifier.is_success(exit as u8),
            took: self.began.elapsed(),
            summary,
        };
        let written = self.args.metrics_file.as_ref().map(|path| write_metrics(path, &execution));
        let line = summary.map_or_else(|| exit.words().to_owned(), Summary::figures);
        for unsaid in self.notifier.end(exit as u8, &line) {
            report_line(&unsaid);
        }
        let exit = ended?.exit;
        written.transpose()?;
        Ok(exit)
    }
}
