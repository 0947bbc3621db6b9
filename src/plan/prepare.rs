//! What `run`, `plan` and `adopt` do first: configuration, export, mapping.

use super::error::PlanError;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use crate::checkpoint::Mark;
use crate::checkpoint::PlanMark;
use crate::cli::Common;
use crate::config::{Config, MissingAction};
use crate::mapping::{MappedKey, Mapping, READING};
use crate::reconcile::{FingerprintKey, HashKey, RowFingerprint};
use crate::report::report_line;
use crate::source::{self, Export, ExportHash, Row};
use crate::units::Period;

/// An export that is ready to be read with its mapping.
pub(crate) struct PreparedExport {
    pub(crate) export: Arc<Export>,
    pub(crate) mapping: Arc<Mapping>,
    pub(crate) fingerprint: ExportHash,
    /// Which rows become which calls.
    pub(crate) plan: PlanMark,
    /// The same without how many of them, and by what else than the row.
    pub(crate) mapped: Mark,
    pub(crate) rows_max: u64,
    pub(crate) is_result_file: bool,
    /// What is mapped, to tell a changed mapping from changed data.
    pub(crate) keys: Vec<MappedKey>,
    /// A mark of all that the cells of a row are read by: see [`PreparedExport::prints`].
    reading: [u8; 8],
    /// What to do about customers whom the export does not hold.
    pub(crate) missing: MissingAction,
}

impl PreparedExport {
    /// Whether it is read only in part on purpose, so that it is no measure of
    /// a whole export: a limit, or a repaired result file.
    pub(crate) fn is_part(&self) -> bool {
        self.rows_max != u64::MAX || self.is_result_file
    }

    /// What makes the prints of rows: the same for rows that ask for the same in
    /// the same words.
    pub(crate) fn prints(&self, key: &HashKey) -> RowFingerprinter<'_> {
        RowFingerprinter { mapping: &self.mapping, key: key.prints(self.reading), room: Vec::new() }
    }
}

/// Makes the prints of rows.
pub(crate) struct RowFingerprinter<'a> {
    mapping: &'a Mapping,
    key: FingerprintKey,
    room: Vec<u8>,
}

impl RowFingerprinter<'_> {
    /// The print of a row.
    pub(crate) fn of(&mut self, row: &Row) -> RowFingerprint {
        self.key.row(self.mapping.deciding_cells(row), &mut self.room)
    }
}

/// Prepares the export on one thread and does something else on this one,
/// whose error counts first. Standard input may be waited for long, and is
/// left for when that has worked.
pub(crate) fn prepare_beside<T, E: From<PlanError>>(
    config: &Config,
    common: &Common,
    path: &Path,
    other: impl FnOnce() -> Result<T, E>,
) -> Result<(PreparedExport, T), E> {
    if path == Path::new("-") {
        let done = other()?;
        return Ok((prepare(config, common, path)?, done));
    }
    std::thread::scope(|scope| {
        let preparing = scope.spawn(|| prepare(config, common, path));
        let done = other();
        let prepared = preparing.join().map_err(|_| PlanError::Bug("a thread panicked".to_owned()))?;
        done.and_then(|done| Ok((prepared?, done)))
    })
}

/// Opens the export and compiles the mapping for it.
pub(crate) fn prepare(config: &Config, common: &Common, path: &Path) -> Result<PreparedExport, PlanError> {
    let mut export = source::open(path, &config.input)?;
    let mapping = Mapping::compile(
        &config.customer,
        &config.operation,
        config.omnidesk.names,
        &config.omnidesk.custom_field_prefix,
        &config.input,
        export.columns_mut(),
    )
    .map_err(|problems| PlanError::Mapping { export: export.name().to_owned(), problems })?;
    let fingerprint = export.hash()?;
    export.check_unchanged()?;
    let reading = reading_mark(config, &export, &mapping);
    let is_result_file = export.is_result_file()?;
    Ok(PreparedExport {
        reading,
        export: Arc::new(export),
        mapping: Arc::new(mapping),
        fingerprint,
        plan: plan_mark(config, common),
        mapped: Mark::of(&json!([mapped_by(config), READING])),
        rows_max: common.limit.unwrap_or(u64::MAX),
        is_result_file,
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
pub(crate) fn wait_until_written(
    config: &Config,
    common: &Common,
    prepared: &PreparedExport,
) -> Result<(), PlanError> {
    let min_age = config.input.min_age.0;
    let wait = prepared.export.unsettled_for(min_age)?;
    if wait.is_zero() {
        return Ok(());
    }
    if !common.quiet {
        report_line(&format!(
            "{} was written just now; looking again in {}",
            prepared.export.name(),
            Period(wait)
        ));
    }
    std::thread::sleep(wait);
    prepared.export.unsettled_for(min_age)?;
    Ok(())
}

/// By everything that decides what a row becomes.
fn plan_mark(config: &Config, common: &Common) -> PlanMark {
    let settings = [mapped_by(config).as_slice(), &[json!(common.full), json!(common.limit)]].concat();
    PlanMark::new(*blake3::hash(json!(settings).to_string().as_bytes()).as_bytes(), READING)
}

/// The same without what decides by more than the row, and with what was found
/// out about the export. Another version of the program may read otherwise.
fn reading_mark(config: &Config, export: &Export, mapping: &Mapping) -> [u8; 8] {
    let version = env!("CARGO_PKG_VERSION");
    // A template that computes the names of columns depends on these names.
    let columns: Vec<&str> = mapping.deciding_names().collect();
    let settings = json!([mapped_by(config), export.dialect().encoding.name(), columns, version, READING]);
    let mut mark = [0; 8];
    mark.copy_from_slice(&blake3::hash(settings.to_string().as_bytes()).as_bytes()[..8]);
    mark
}

fn mapped_by(config: &Config) -> [serde_json::Value; 5] {
    let omnidesk = &config.omnidesk;
    [
        json!(config.customer),
        json!(config.operation),
        json!(config.input),
        json!(omnidesk.names),
        json!(omnidesk.custom_field_prefix),
    ]
}
