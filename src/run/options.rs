//! What a run gets from the configuration and the command line.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};

use crate::config::{CONFIG_DEFAULT, Config};
use crate::guards::GuardSettings;
use crate::omnidesk::ApiKey;
use crate::plan::{PlanOptions, PreparedExport, Selection, Window, shell_line};
use crate::report::{LogWriter, ProgressSetting, report_line};

pub(crate) struct RunOptions {
    pub(crate) config: Config,
    pub(crate) config_path: PathBuf,
    pub(crate) exports: Vec<PathBuf>,
    /// The command line that resumes it. Empty if it names customers: the checkpoint
    /// keeps it.
    pub(crate) command: String,
    pub(crate) plan: PlanOptions,
    /// The guards as the file has them, without the overrides of the command line.
    pub(crate) configured_guard: GuardSettings,
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

    /// The options of the command line that were given, for the summary.
    pub(super) fn json(&self) -> Value {
        let PlanOptions { full, limit, selection } = &self.plan;
        let mut options = json!({
            "full": full,
            "limit": limit,
            "fresh": self.fresh,
            "sandbox": self.sandbox,
            "allow_recreate": self.allow_recreate,
            "allow_vanished": (self.allow_vanished > 0).then_some(self.allow_vanished),
            "new_baseline": self.new_baseline,
            // Ids are no settings.
            "only": matches!(selection, Selection::Customers { .. }),
            "part": matches!(selection, Selection::Part),
        });
        if let Some(options) = options.as_object_mut() {
            options.retain(|_, value| !value.is_null() && *value != json!(false));
        }
        options
    }
}

/// The command line that runs this file.
pub(super) fn run_command(config_path: &Path, options: &[&str], export: &Path) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "omnidesk-sync".to_owned());
    let (config, export) = (config_path.to_string_lossy(), export.to_string_lossy());
    let config: &[&str] = if config_path == Path::new(CONFIG_DEFAULT) { &[] } else { &["--config", &config] };
    let words = [&[&program, "run"], options, config, &[&export]].concat();
    shell_line(&words.into_iter().map(str::to_owned).collect::<Vec<_>>())
}

/// One execution of a run, from its beginning to its end.
pub(super) struct Execution<'a> {
    pub(super) options: &'a RunOptions,
    pub(super) prepared: &'a PreparedExport,
    pub(super) key: &'a ApiKey,
    pub(super) log: &'a LogWriter,
    pub(super) began: Instant,
}
