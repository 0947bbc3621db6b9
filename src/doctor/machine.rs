//! What can be checked without the network.

use std::path::Path;

use super::report::{Check, DoctorReport, Verdict};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::config::Config;
use crate::mapping::Mapping;
use crate::omnidesk::{ApiKey, SecretSource};
use crate::source::Columns;
use crate::units::counted;

/// Checks the machine, and returns the key if there is one.
pub(super) fn examine(config: &Config, report: &mut DoctorReport) -> Option<ApiKey> {
    report.good("configuration", format!("for {}", config.omnidesk.base_url));
    check_mapping(config, report);
    report.add(check_checkpoint(config));
    report.add(check_folder("report folder", &config.report.dir));
    check_notify(config, report);
    match ApiKey::fetch(&config.omnidesk.api_key) {
        Ok(key) => {
            report.add(describe_source("key source", &config.omnidesk.api_key));
            Some(key)
        }
        Err(error) => {
            report.add(Check::new("key source", Verdict::Misconfigured, error.to_string()));
            None
        }
    }
}

/// Of a secret that was read.
fn describe_source(name: &'static str, source: &SecretSource) -> Check {
    if source.is_public() {
        return Check::new(name, Verdict::Attention, format!("every user of this machine can read {source}"))
            .with_hint("chmod 600, and let the user of the runs own it");
    }
    Check::new(name, Verdict::Good, source.to_string())
}

/// Of URLs and headers in `[notify]` that are kept elsewhere.
fn check_notify(config: &Config, report: &mut DoctorReport) {
    match config.notify.check_sources() {
        Ok(sources) => sources.into_iter().for_each(|source| report.add(describe_source("notify", source))),
        Err(problem) => report.add(Check::new("notify", Verdict::Attention, problem)),
    }
}

/// Compiles the mapping for an export that has every column it names.
fn check_mapping(config: &Config, report: &mut DoctorReport) {
    let compiled = Mapping::compile(
        &config.customer,
        &config.operation,
        config.omnidesk.names,
        &config.omnidesk.custom_field_prefix,
        &config.input,
        &mut Columns::default(),
    );
    match compiled {
        Ok(_) => report.good("mapping", "every template and condition compiles"),
        Err(problems) => {
            let checks =
                problems.into_iter().map(|problem| Check::new("mapping", Verdict::Misconfigured, problem));
            checks.for_each(|check| report.add(check));
        }
    }
}

fn check_checkpoint(config: &Config) -> Check {
    let path = &config.checkpoint.path;
    let check = |verdict, message: String| Check::new("checkpoint", verdict, message);
    let totals = Checkpoint::open_to_read(path).and_then(|checkpoint| {
        let Some(checkpoint) = checkpoint else { return Ok(None) };
        checkpoint.check_tenant(&config.omnidesk.base_url.tenant())?;
        checkpoint.totals().map(Some)
    });
    let known = match totals {
        Ok(totals) => totals.map(|totals| counted(totals.known, "customer")),
        Err(error @ (CheckpointError::OtherTenant { .. } | CheckpointError::Foreign { .. })) => {
            return check(Verdict::Misconfigured, error.to_string());
        }
        Err(error) => return check(Verdict::Attention, error.to_string()),
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Err(problem) = try_folder(folder) {
        return check(Verdict::Attention, problem);
    }
    match known {
        Some(known) => check(Verdict::Good, format!("{}, {known}", path.display())),
        None => check(Verdict::Good, format!("{}, new: every customer counts as new", path.display())),
    }
}

fn check_folder(name: &'static str, folder: &Path) -> Check {
    match try_folder(folder) {
        Ok(()) => Check::new(name, Verdict::Good, folder.display().to_string()),
        Err(problem) => Check::new(name, Verdict::Attention, problem),
    }
}

/// Writes a file into the folder, or into the one in which a run would make it.
fn try_folder(folder: &Path) -> Result<(), String> {
    let named = folder.ancestors().find(|folder| folder.as_os_str().is_empty() || folder.exists());
    let existing = named.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::tempfile_in(existing)
        .map(drop)
        .map_err(|error| format!("nothing can be written in {}: {error}", existing.display()))
}
