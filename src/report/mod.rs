//! What a run tells people and other programs: progress while it lasts, the
//! result files, the summary, figures and word for monitors.
//!
//! stdout is data, stderr is talk. Result files are in the export's own bytes,
//! so that they can be repaired and run again.

mod files;
mod metrics;
mod notify;
mod page;
mod progress;
mod retention;
mod summary;
mod talk;

pub use files::{FilesError, MISSING_FILE, RunFiles, make_folder, missing_file, write_into};
pub use metrics::{ExecutionReport, check_metrics_file, write_metrics};
pub use notify::{Method, Notifier, NotifySettings, PingUrl};
pub use page::page;
pub use progress::{LogWriter, ProgressDisplay, ProgressSetting};
pub use retention::{KeepRuns, sweep};
pub use summary::{CauseLine, Causes, Summary, Tally, missing_json};
pub(crate) use talk::{print_data, report_line};
