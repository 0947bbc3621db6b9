//! What a person should know before anything is sent.

use std::path::Path;

use super::error::RunError;
use crate::checkpoint::Checkpoint;
use crate::config::Config;
use crate::guards::GuardVerdict;
use crate::plan::PreparedExport;
use crate::report::{last_run_of, report_line};
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
        report_line(&format!(
            "warning: {lost}. If that is not intended, stop this run and put the file back"
        ));
    }
}

/// Reported also with `--quiet`: with another checkpoint than last night, every
/// customer is new.
pub(super) fn report_new_checkpoint(path: &Path) {
    if lost_checkpoint(path).is_some() {
        return report_lost_checkpoint(path);
    }
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    report_line(&format!("new checkpoint {}: every customer counts as new", path.display()));
}

/// The guard against a checkpoint that is new where the report folder shows that
/// this export, or any if there is none, was run before. To be asked where there is no checkpoint.
pub(crate) fn judge_new_checkpoint(
    config: &Config,
    export: Option<&str>,
) -> Result<Option<GuardVerdict>, RunError> {
    let (dir, tenant) = (&config.report.dir, config.omnidesk.base_url.to_string());
    let Some(folder) = last_run_of(dir, &tenant, export)? else { return Ok(None) };
    let path = &config.checkpoint.path;
    let none = || {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        format!("there is no checkpoint {}: every customer would count as new", path.display())
    };
    let message = format!(
        "{}. But {} shows an earlier run{}. Put the checkpoint back, or correct its path in [checkpoint]; if it is lost, `adopt` makes a new one without a call",
        lost_checkpoint(path).unwrap_or_else(none),
        folder.display(),
        export.map_or("", |_| " of this export")
    );
    // Only `run` has the option.
    let option = export.map_or("", |_| "--new-checkpoint");
    Ok(Some(GuardVerdict::new("new_checkpoint", message, option.to_owned())))
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
