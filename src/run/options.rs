//! What a run gets from the configuration and the command line.

use std::path::PathBuf;
use std::time::Instant;

use crate::config::Config;
use crate::omnidesk::ApiKey;
use crate::plan::{PlanOptions, PreparedExport, Window};
use crate::report::{LogWriter, ProgressSetting, report_line};

pub(crate) struct RunOptions {
    pub(crate) config: Config,
    pub(crate) exports: Vec<PathBuf>,
    /// The command line that resumes it. Empty if it names customers: the checkpoint
    /// keeps it.
    pub(crate) command: String,
    pub(crate) plan: PlanOptions,
    /// Purged customers may be created again.
    pub(crate) allow_recreate: bool,
    /// Known customers who may be created again without a wait.
    pub(crate) allow_vanished: u64,
    /// The export is what later ones are compared with, whatever was overridden.
    pub(crate) new_baseline: bool,
    /// A checkpoint may be new beside the folders of earlier runs.
    pub(crate) new_checkpoint: bool,
    /// Give up the open run's progress.
    pub(crate) fresh: bool,
    /// A rehearsal: an in-process sandbox instead of the tenant.
    pub(crate) sandbox: bool,
    pub(crate) window: Option<Window>,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) progress: ProgressSetting,
}

impl RunOptions {
    /// Reports to a person, except with `--quiet`.
    pub(super) fn report(&self, text: impl FnOnce() -> String) {
        if !self.quiet {
            report_line(text().trim_end());
        }
    }
}

/// One execution of a run, from its beginning to its end.
pub(super) struct Execution<'a> {
    pub(super) options: &'a RunOptions,
    pub(super) prepared: &'a PreparedExport,
    pub(super) key: &'a ApiKey,
    pub(super) log: &'a LogWriter,
    pub(super) began: Instant,
}
