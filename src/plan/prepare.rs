//! What `run`, `plan` and `adopt` do first: open the export, compile the mapping.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use super::error::PlanError;
use super::selection::{SelectedCustomers, Selection};
use crate::checkpoint::{FolderRun, PlanVersion, RunScope, SettingsHash};
use crate::config::{Config, MissingSection};
use crate::guards::GuardPolicy;
use crate::mapping::{
    Customer, CustomerSettings, Draft, ExportRow, FieldOrigin, FieldSource, Intent, MappedKey, Mapping,
    OnExists, OnMissing, Operation, OperationSettings, PurgeReason, RowResult, UndoProblem,
};
use crate::reconcile::{HashKey, MissingAction, RowFingerprinter};
use crate::source::{self, Export, ExportHash, FormatSetting, InputSettings, Row};

/// Another version of the program may map the same row to something else, so
/// the version is part of everything that says "decided as before".
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Rows, and bytes of them, that show which columns have an apostrophe in front of
/// their cells.
const SAMPLE_ROWS: usize = 1000;
const SAMPLE_BYTES: u64 = 4 << 20;

/// How much of an export is decided, and against what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PlanOptions {
    /// Send everything, whatever is acknowledged.
    pub(crate) full: bool,
    /// Only the first rows.
    pub(crate) limit: Option<u64>,
    pub(crate) selection: Selection,
}

/// An export that is ready to be read with its mapping.
pub(crate) struct PreparedExport {
    pub(crate) export: Arc<Export>,
    pub(crate) mapping: Arc<Mapping>,
    pub(crate) hash: ExportHash,
    pub(crate) options: PlanOptions,
    /// Which rows become which calls.
    pub(crate) plan: PlanVersion,
    /// The mapping with the columns that it finds, and the program.
    pub(crate) mapping_version: SettingsHash,
    pub(crate) is_result_file: bool,
    /// `--only`: no other row is decided.
    pub(crate) selected: Option<SelectedCustomers>,
    /// What is mapped, to tell a changed mapping from changed data.
    pub(crate) keys: Vec<MappedKey>,
    pub(crate) missing: MissingAction,
    pub(crate) on_exists: OnExists,
    pub(crate) on_missing: OnMissing,
    pub(crate) same_id: GuardPolicy,
    pub(crate) moved_addresses: GuardPolicy,
    /// Earlier runs, by the name of their folder, if rows of this export stand for
    /// rows of these or take back what they have created.
    pub(crate) origins: OnceLock<HashMap<String, FolderRun>>,
}

impl PreparedExport {
    /// Whether it is a part of the base on purpose, and so no measure of it.
    pub(crate) fn is_part(&self) -> bool {
        self.options.limit.is_some() || self.is_result_file || self.options.selection != Selection::All
    }

    pub(crate) fn scope(&self, key: &HashKey) -> RunScope {
        match &self.selected {
            Some(selected) => selected.scope(key),
            None if self.options.selection == Selection::Request => RunScope::Request,
            None if self.is_part() => RunScope::Part,
            None => RunScope::Whole,
        }
    }

    /// The id of the row's customer, if `--only` selects it.
    pub(super) fn selected_id<'a>(&'a self, row: &'a Row) -> Option<Cow<'a, str>> {
        let selected = self.selected.as_ref()?;
        self.mapping.customer_of(row).filter(|(brand, id)| selected.contains(*brand, id)).map(|(_, id)| id)
    }

    /// Whether the row is one of this run.
    pub(super) fn selects(&self, row: &Row) -> bool {
        self.selected.is_none() || self.selected_id(row).is_some()
    }

    /// What result files are made of.
    pub(crate) fn source(&self) -> (Arc<Export>, Arc<Mapping>) {
        (Arc::clone(&self.export), Arc::clone(&self.mapping))
    }

    /// What a row asks for.
    pub(crate) fn map(&self, row: &Row) -> RowResult<Option<Intent>> {
        let mut mapped = self.draft(row)?.map(Draft::into_intent);
        if let Some(intent) = &mut mapped {
            intent.origin = self.origin(row);
        }
        Ok(mapped)
    }

    /// The same, borrowed from the row.
    pub(crate) fn draft<'a>(&'a self, row: &'a Row) -> RowResult<Option<Draft<'a>>> {
        if let Some(run) = self.export.undo(row) {
            return self.undo_draft(row, &run).map(Some);
        }
        let drafted = self.mapping.draft(row);
        // A changed id comes first: with another cause, the old id would get lost.
        if let Some(before) = self.export.mapped_id(row)
            && !matches!(drafted, Ok(None))
        {
            self.mapping.check_unchanged_id(row, &before)?;
        }
        match self.options.selection {
            Selection::Request => Ok(drafted?.map(|draft| draft.with_reason(PurgeReason::Request))),
            _ => drafted,
        }
    }

    /// The purge of a customer whom this run has created. The mapped id must be the
    /// one for which the row was written.
    fn undo_draft<'a>(&'a self, row: &'a Row, run: &str) -> RowResult<Draft<'a>> {
        let draft = self.mapping.purge_draft(row)?;
        let problem = |problem| self.mapping.reject_undo(&draft.primary_id, problem);
        if self.export.mapped_id(row).is_none_or(|before| draft.primary_id != before) {
            return Err(problem(UndoProblem::OtherId));
        }
        let known = self.origins.get().and_then(|runs| runs.get(run));
        let FolderRun { run, .. } = *known.ok_or_else(|| problem(UndoProblem::UnknownRun))?;
        Ok(draft.with_reason(PurgeReason::Undo { run }))
    }

    /// The row of an earlier run that a row of a result file stands for.
    pub(crate) fn origin(&self, row: &Row) -> Option<ExportRow> {
        let origins = self.origins.get()?;
        let (run, row) = self.export.origin(row)?;
        Some(ExportRow { export: origins.get(&*run)?.export, row })
    }

    /// Fingerprints are the same for rows that ask for the same in the same words.
    pub(crate) fn fingerprinter(&self, key: &HashKey) -> RowFingerprinter {
        key.fingerprinter(&self.mapping_version.0[..8])
    }
}

/// Prepares the export on one thread and does something else on this one,
/// whose error counts first. Standard input may be waited for long, so it comes
/// after the other.
pub(crate) fn prepare_beside<T, E: From<PlanError>>(
    config: &Config,
    options: PlanOptions,
    paths: &[PathBuf],
    other: impl FnOnce() -> Result<T, E>,
) -> Result<(PreparedExport, T), E> {
    if paths.iter().any(|path| path == Path::new("-")) {
        let done = other()?;
        return Ok((prepare(config, options, paths)?, done));
    }
    std::thread::scope(|scope| {
        let preparing = scope.spawn(|| prepare(config, options, paths));
        let done = other();
        let prepared = preparing.join().map_err(|_| PlanError::Bug("a thread panicked".to_owned()))?;
        done.and_then(|done| Ok((prepared?, done)))
    })
}

pub(crate) fn prepare(
    config: &Config,
    options: PlanOptions,
    paths: &[PathBuf],
) -> Result<PreparedExport, PlanError> {
    let (mut export, further) = source::open_all(paths, &config.input)?;
    let mut mapping = compile(config, &mut export)?;
    let mapped = mapping.mapped_columns();
    let selected = match &options.selection {
        Selection::Customers { ids, brand } => Some(SelectedCustomers::new(ids, *brand, &mapping)?),
        Selection::All | Selection::Part | Selection::Request => None,
    };
    let is_result_file = export.is_result_file()?;
    if is_result_file {
        export.require_origin();
    }
    export.set_mapped(&mapping.id_columns(), &mapped)?;
    export.append(further, &mapping.id_columns(), &mapped)?;
    mapping.find_apostrophes(first_rows(&export)?.iter());
    let hash = export.hash()?;
    export.check_unchanged()?;
    let prepared = assemble(config, options, (export, mapping), hash);
    Ok(PreparedExport { is_result_file, selected, ..prepared })
}

/// An export in memory that purges these customers, since a person asks for it.
/// Only who has `key` can find out whom by its hash.
pub(crate) fn prepare_purge(
    config: &Config,
    customers: &[Customer],
    key: &HashKey,
) -> Result<PreparedExport, PlanError> {
    let column = |name: &str| FieldSource::from(FieldOrigin::Columns(vec![name.to_owned()]));
    // Of a template no value is suspected to be a number that a program has changed.
    let template = FieldOrigin::Template("{{ primary_id }}".to_owned());
    let config = Config {
        customer: CustomerSettings::new(template.into(), column("brand_id")),
        operation: OperationSettings { default: Operation::Purge, ..OperationSettings::default() },
        input: InputSettings { format: FormatSetting::Csv, ..InputSettings::default() },
        missing: MissingSection::default(),
        ..config.clone()
    };
    let mut writer = csv::Writer::from_writer(Vec::new());
    let rows = customers.iter().map(|customer| (customer.brand_id, customer.primary_id.as_str()));
    let written = std::iter::once(("brand_id".to_owned(), "primary_id"))
        .chain(rows.map(|(brand_id, id)| (brand_id.to_string(), id)))
        .try_for_each(|(brand_id, id)| writer.write_record([brand_id.as_str(), id]));
    let text = written.ok().and_then(|()| writer.into_inner().ok()).unwrap_or_default();
    let mut export = source::open_memory("purge", &text, &config.input)?;
    let mapping = compile(&config, &mut export)?;
    // Also who was purged before is purged again.
    let options = PlanOptions { full: true, limit: None, selection: Selection::Request };
    Ok(assemble(&config, options, (export, mapping), ExportHash(key.text(&text))))
}

fn assemble(
    config: &Config,
    options: PlanOptions,
    (export, mapping): (Export, Mapping),
    hash: ExportHash,
) -> PreparedExport {
    let settings = mapping_settings(config);
    PreparedExport {
        mapping_version: mapping_version(&settings, &export, &mapping),
        export: Arc::new(export),
        mapping: Arc::new(mapping),
        hash,
        plan: PlanVersion {
            settings: SettingsHash::new(&json!([settings, options.full, options.limit])),
            program: SettingsHash::new(&json!(VERSION)),
        },
        options,
        is_result_file: false,
        selected: None,
        keys: MappedKey::all(
            &config.customer,
            config.omnidesk.names,
            &config.omnidesk.custom_field_prefix,
            &config.input,
        ),
        missing: config.missing.action,
        on_exists: config.operation.on_exists,
        on_missing: config.operation.on_missing,
        same_id: config.guard.same_id,
        moved_addresses: config.guard.moved_addresses,
        origins: OnceLock::new(),
    }
}

fn first_rows(export: &Export) -> Result<Vec<Row>, PlanError> {
    let (mut reader, mut rows, mut bytes) = (export.rows(), Vec::new(), 0);
    while rows.len() < SAMPLE_ROWS && bytes < SAMPLE_BYTES {
        let mut row = Row::default();
        if !reader.read(&mut row).map_err(|source| export.io_error(source))? {
            break;
        }
        bytes += row.at().len;
        rows.push(row);
    }
    Ok(rows)
}

/// Compiles the mapping for the first line that holds every mapped column. If
/// there is none, the error is of the line that lacks fewest.
fn compile(config: &Config, export: &mut Export) -> Result<Mapping, PlanError> {
    let mut fewest: Option<Vec<String>> = None;
    loop {
        let compiled = Mapping::compile(
            &config.customer,
            &config.operation,
            config.omnidesk.names,
            &config.omnidesk.custom_field_prefix,
            &config.input,
            export.columns_mut(),
        );
        match compiled {
            Ok(mapping) => return Ok(mapping),
            Err(problems) if fewest.as_ref().is_none_or(|fewest| problems.len() < fewest.len()) => {
                fewest = Some(problems);
            }
            Err(_) => {}
        }
        if export.take_next_header()?.is_none() {
            let problems = fewest.unwrap_or_default();
            return Err(PlanError::Mapping { export: export.name(), problems });
        }
    }
}

/// The settings that decide what a row asks for.
fn mapping_settings(config: &Config) -> Value {
    let omnidesk = &config.omnidesk;
    json!([config.customer, config.operation, config.input, omnidesk.names, omnidesk.custom_field_prefix])
}

/// The same, with the findings about the export.
fn mapping_version(settings: &Value, export: &Export, mapping: &Mapping) -> SettingsHash {
    // A template that computes the names of columns depends on these names.
    let columns: Vec<(&str, bool)> = mapping.deciding_names().collect();
    SettingsHash::new(&json!([settings, export.dialect().encoding.name(), columns, VERSION]))
}
