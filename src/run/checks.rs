//! What a person should know before anything is sent.

use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::config::Config;
use crate::plan::PreparedExport;
use crate::report::report_line;
use crate::source::SourceError;
use crate::units::{Count, Period};

/// What it means if a checkpoint was there and is lost now.
pub(crate) fn lost_checkpoint(path: &Path) -> Option<String> {
    Checkpoint::lost_commits(path).map(|commits| {
        format!(
            "the checkpoint {} is lost, after {} commits: every customer counts as new, purged ones too",
            path.display(),
            Count(commits)
        )
    })
}

/// Reported also with `--quiet`: who reads one mail a month has to know, too.
pub(crate) fn report_lost_checkpoint(path: &Path) {
    if let Some(lost) = lost_checkpoint(path) {
        report_line(&format!("{lost}. If that is not intended, stop this run and put the file back"));
    }
}

/// An export that was written a moment ago is checked again in a moment: its
/// writer may only have paused. To be called when it was read, before anything
/// is sent.
pub(crate) fn wait_until_written(
    config: &Config,
    prepared: &PreparedExport,
    quiet: bool,
) -> Result<(), SourceError> {
    let min_age = config.input.min_age.0;
    let wait = prepared.export.unsettled_for(min_age)?;
    if wait.is_zero() {
        return Ok(());
    }
    if !quiet {
        let name = prepared.export.name();
        report_line(&format!(
            "the export {name} was written just now; checking it again in {}",
            Period(wait)
        ));
    }
    std::thread::sleep(wait);
    prepared.export.unsettled_for(min_age)?;
    Ok(())
}
