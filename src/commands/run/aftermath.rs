//! Who is told of a run beside the one who started it: Prometheus, a
//! dead-man's switch. Also of a run that never got as far as its first row.

use std::time::Instant;

use super::super::exit::{CommandError, Exit};
use super::super::say;
use crate::cli::RunArgs;
use crate::config::Config;
use crate::report::{Execution, Notifier, NotifySettings, Summary, check_metrics_file, write_metrics};

/// How a run ended that closed its books.
pub(super) struct Ended {
    pub(super) exit: Exit,
    pub(super) summary: Summary,
}

/// What is to be told, and to whom.
pub(super) struct Aftermath<'a> {
    args: &'a RunArgs,
    began: Instant,
    notifier: Notifier,
}

impl<'a> Aftermath<'a> {
    /// Nobody is told yet.
    pub(super) fn new(args: &'a RunArgs, began: Instant) -> Result<Self, CommandError> {
        if let Some(path) = &args.metrics_file {
            check_metrics_file(path)
                .map_err(|error| CommandError::Usage(format!("--metrics-file {error}")))?;
        }
        Ok(Self { args, began, notifier: Notifier::new(NotifySettings::default()) })
    }

    /// From here on it is known who wants to hear of it. A rehearsal is nobody's business.
    pub(super) fn read(&mut self, config: &Config) {
        if !self.args.sandbox {
            self.notifier = Notifier::new(config.notify.clone());
        }
    }

    /// The run has the checkpoint.
    pub(super) fn started(&mut self) {
        self.notifier.start();
    }

    /// Tells everybody. Word that does not arrive changes nothing; a file that
    /// cannot be written is a failure of this machine.
    pub(super) fn tell(self, ended: Result<Ended, CommandError>) -> Result<Exit, CommandError> {
        let exit = ended.as_ref().map_or_else(CommandError::exit, |ended| ended.exit);
        let summary = ended.as_ref().ok().map(|ended| &ended.summary);
        let execution = Execution {
            exit_code: exit as u8,
            succeeded: self.notifier.is_success(exit as u8),
            took: self.began.elapsed(),
            summary,
        };
        let written = self.args.metrics_file.as_ref().map(|path| write_metrics(path, &execution));
        let line = summary.map_or_else(|| exit.words().to_owned(), Summary::figures);
        for unsaid in self.notifier.end(exit as u8, &line) {
            say(&unsaid);
        }
        let exit = ended?.exit;
        written.transpose()?;
        Ok(exit)
    }
}
