//! The reports of a run for people and other programs: progress, result files,
//! summary, metrics and notifications.
//!
//! stdout is for data, stderr for people. Result files keep the rows in the
//! export's own bytes, so that they can be fixed and run again.

mod chart;
mod figure;
mod files;
mod headline;
mod mask;
mod metrics;
mod notify;
mod output;
mod page;
mod progress;
mod progress_line;
mod retention;
mod running_status;
mod summary;
mod summary_text;
mod timeline;

pub(crate) use files::{
    FilesError, MISSING_FILE, NewFile, RECEIPT_FILE, RunFiles, make_run_folder, missing_file, write_into,
};
pub(crate) use metrics::{ExecutionReport, check_metrics_file, write_metrics};
pub(crate) use notify::{Notifier, NotifySettings, RunEnd};
pub(crate) use output::{json_document, print_data, report_line};
pub(crate) use page::page;
pub(crate) use progress::{LogWriter, ProgressDisplay, ProgressSetting};
pub(crate) use progress_line::{ProgressStep, Workload, wait_text};
pub(crate) use retention::{
    KeepRuns, SUMMARY_FILE, Word, files_with, last_run_of, read_summary, run_before, sweep,
};
pub(crate) use running_status::{RunningStatus, STATUS_ENDING, StatusFile, read_status};
pub(crate) use summary::{Causes, NextStep, Subject, Summary, Tally, UnusableProbes};
