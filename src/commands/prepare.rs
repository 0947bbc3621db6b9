//! What `run`, `plan` and `adopt` do first: configuration, export, mapping.

use std::path::Path;
use std::sync::Arc;

use super::exit::CommandError;
use super::say;
use crate::cli::Common;
use crate::config::{Config, MissingAction};
use crate::mapping::{MappedKey, Mapping};
use crate::source::{self, Export, Fingerprint};
use crate::units::Period;

/// An export that is ready to be read with its mapping.
pub(super) struct Prepared {
    pub(super) export: Arc<Export>,
    pub(super) mapping: Arc<Mapping>,
    pub(super) fingerprint: Fingerprint,
    /// Which rows become which calls: the mapping's own fingerprint.
    pub(super) plan: [u8; 32],
    pub(super) rows_max: u64,
    /// What is mapped, to tell a changed mapping from changed data.
    pub(super) keys: Vec<MappedKey>,
    /// What to do about customers whom the export does not hold.
    pub(super) missing: MissingAction,
}

impl Prepared {
    /// Whether it is read only in part on purpose, so that it is no measure of
    /// a whole export: a limit, or a repaired result file.
    pub(super) fn is_part(&self) -> Result<bool, CommandError> {
        Ok(self.rows_max != u64::MAX || self.export.is_result_file()?)
    }
}

/// Opens the export and compiles the mapping for it.
pub(super) fn prepare(config: &Config, common: &Common, path: &Path) -> Result<Prepared, CommandError> {
    let mut export = source::open(path, &config.input)?;
    let mapping = Mapping::compile(
        &config.customer,
        &config.operation,
        config.omnidesk.names,
        &config.omnidesk.custom_field_prefix,
        &config.input,
        export.columns_mut(),
    )
    .map_err(|problems| CommandError::Mapping { export: export.name().to_owned(), problems })?;
    let fingerprint = export.fingerprint()?;
    export.check_unchanged()?;
    Ok(Prepared {
        export: Arc::new(export),
        mapping: Arc::new(mapping),
        fingerprint,
        plan: plan_fingerprint(config, common),
        rows_max: common.limit.unwrap_or(u64::MAX),
        keys: MappedKey::all(
            &config.customer,
            config.omnidesk.names,
            &config.omnidesk.custom_field_prefix,
            &config.input,
        ),
        missing: config.missing.action,
    })
}

/// An export that was written a moment ago is looked at again in a moment: its
/// writer may only have paused. To be called when it was read, before anything
/// is done by it.
pub(super) fn wait_until_written(
    config: &Config,
    common: &Common,
    prepared: &Prepared,
) -> Result<(), CommandError> {
    let min_age = config.input.min_age.0;
    let wait = prepared.export.unsettled_for(min_age)?;
    if wait.is_zero() {
        return Ok(());
    }
    if !common.quiet {
        say(&format!("{} was written just now; looking again in {}", prepared.export.name(), Period(wait)));
    }
    std::thread::sleep(wait);
    prepared.export.unsettled_for(min_age)?;
    Ok(())
}

/// BLAKE3 of every setting that decides what a row becomes.
fn plan_fingerprint(config: &Config, common: &Common) -> [u8; 32] {
    let settings = serde_json::json!([
        config.customer,
        config.operation,
        config.input,
        config.omnidesk.names,
        config.omnidesk.custom_field_prefix,
        common.full,
        common.limit,
    ]);
    *blake3::hash(settings.to_string().as_bytes()).as_bytes()
}
