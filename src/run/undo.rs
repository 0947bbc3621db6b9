//! `undo`: a file of purges of those customers whom a run has created.
//!
//! The checkpoint knows by which run each customer was created, by keyed hash
//! alone. So the export is read again for the ids, and each row of a customer of
//! that run becomes a row of the file.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::error::RunError;
use super::options::run_command;
use crate::checkpoint::{Checkpoint, RunRecord, RunScope};
use crate::config::Config;
use crate::plan::PreparedExport;
use crate::reconcile::CustomerState;
use crate::report::NewFile;
use crate::source::{MAPPED_ID, ResultCell, Row, RowRef, UNDO, mapped_id_cell};
use crate::units::{Count, counted, pluralize};

/// Rows that are listed for people.
const ROWS_SHOWN: usize = 20;

/// Whether customers whom a later run has changed are taken back too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangedCustomers {
    Omit,
    Include,
}

/// What the file holds, and what it does not.
pub(crate) struct Undo {
    run: u32,
    /// The file, if there is anybody to purge.
    file: Option<PathBuf>,
    /// Rows in it.
    customers: u64,
    /// Customers whom a later run has changed.
    changed: Vec<ChangedRow>,
    changed_customers: ChangedCustomers,
    /// Customers of the run who have no row in the export.
    absent: u64,
    /// The command that applies it.
    command: Option<String>,
    has_open_run: bool,
}

struct ChangedRow {
    at: RowRef,
    /// The run that changed the customer last; `None` while its call is pending.
    run: Option<u32>,
}

/// The run whose folder has this name or path.
pub(crate) fn find_run(checkpoint: &Checkpoint, folder: &Path) -> Result<(u32, RunRecord), RunError> {
    let runs = checkpoint.runs(u32::MAX)?;
    let name = folder.file_name().unwrap_or_default();
    let has_name = |run: &RunRecord| Path::new(&run.folder).file_name() == Some(name);
    let found = runs.into_iter().find(|(_, run)| !run.folder.is_empty() && has_name(run));
    let found = found.and_then(|(id, run)| Some((u32::try_from(id).ok()?, run)));
    found.ok_or_else(|| {
        RunError::Usage(format!(
            "no run of this checkpoint has the folder {}; `omnidesk-sync status --json` lists the folders",
            folder.display()
        ))
    })
}

/// What is taken back, and by what it is known.
pub(crate) struct UndoSource<'a> {
    pub(crate) config: &'a Config,
    /// Where the configuration was read.
    pub(crate) config_path: &'a Path,
    pub(crate) prepared: &'a PreparedExport,
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) changed_customers: ChangedCustomers,
}

impl UndoSource<'_> {
    /// Writes the file into the folder of the run.
    pub(crate) fn write(&self, (run, record): (u32, RunRecord)) -> Result<Undo, RunError> {
        let folder = PathBuf::from(&record.folder);
        if !folder.is_dir() {
            let folder = folder.display();
            let text = format!("{folder} is not there any more; make that folder to write the file into it");
            return Err(RunError::Usage(text));
        }
        // An interrupted `purge` is in nobody's way.
        let has_open_run =
            self.checkpoint.open_runs()?.iter().any(|run| run.record.scope != RunScope::Request);
        let mut undo = Undo {
            run,
            file: None,
            customers: 0,
            changed: Vec::new(),
            changed_customers: self.changed_customers,
            absent: 0,
            command: None,
            has_open_run,
        };
        let name = format!("undo.{}", self.prepared.export.result_extension());
        let mut file = NewFile::create(&folder, &name)?;
        self.write_rows(&mut undo, &folder, &mut file)?;
        undo.absent = self.checkpoint.count_created(run)?.saturating_sub(undo.found());
        if undo.customers > 0 {
            undo.command = Some(self.command_line(undo.customers, file.path()));
            undo.file = Some(file.path().to_owned());
            file.finish()?;
        }
        Ok(undo)
    }

    fn write_rows(&self, undo: &mut Undo, folder: &Path, file: &mut NewFile) -> Result<(), RunError> {
        let Self { prepared, checkpoint, .. } = *self;
        let (export, key, lookups) = (&prepared.export, checkpoint.key(), checkpoint.lookups());
        let run_name = folder.file_name().unwrap_or_default().to_string_lossy();
        let (mut found, mut row, mut reader) = (HashSet::new(), Row::default(), export.rows());
        while reader.read(&mut row).map_err(|source| export.io_error(source))? {
            let Some((brand_id, id)) = prepared.mapping.customer_of(&row) else { continue };
            let customer = key.customer_id(brand_id, &id);
            let state = lookups.state(customer)?;
            if !state.is_created_by(undo.run) || !found.insert(customer) {
                continue;
            }
            if let Some(run) = undo.changed_by(&state, lookups.pending(customer).is_some()) {
                undo.changed.push(ChangedRow { at: row.at(), run });
                if undo.changed_customers == ChangedCustomers::Omit {
                    continue;
                }
            }
            let cells: [ResultCell; 4] = [
                ("_sync_line", row.at().line.into()),
                ("_sync_operation", "purge".into()),
                (MAPPED_ID, mapped_id_cell(&id).into()),
                (UNDO, (*run_name).into()),
            ];
            if undo.customers == 0 {
                file.write(&export.result_header(&cells))?;
            }
            undo.customers += 1;
            let line = export.result_row(row.at(), &cells).map_err(|source| export.io_error(source))?;
            file.write(&line)?;
        }
        Ok(export.check_unchanged()?)
    }

    /// The command that applies the file, with the overrides that it needs.
    fn command_line(&self, customers: u64, file: &Path) -> String {
        let (guard, all) = (&self.config.guard, customers.to_string());
        let mut options = Vec::new();
        if !guard.allow_purge {
            options.push("--allow-purge");
        }
        if guard.max_purge.count_in(customers) < customers {
            options.extend(["--max-purge", &all]);
        }
        run_command(self.config_path, &options, file)
    }
}

impl Undo {
    /// Who has changed the customer since, if anybody has. An undo that has not
    /// ended is no change.
    fn changed_by(&self, state: &CustomerState, is_pending: bool) -> Option<Option<u32>> {
        let last = state.acked()?.history?.last.run;
        if last != self.run { Some(Some(last)) } else { is_pending.then_some(None) }
    }

    /// Customers of the run with a row in the export.
    fn found(&self) -> u64 {
        let changed = self.changed.len() as u64;
        match self.changed_customers {
            ChangedCustomers::Omit => self.customers + changed,
            ChangedCustomers::Include => self.customers,
        }
    }

    /// Whether the file holds every customer whom the run has created.
    pub(crate) fn is_complete(&self) -> bool {
        self.absent == 0 && (self.changed.is_empty() || self.changed_customers == ChangedCustomers::Include)
    }

    pub(crate) fn json(&self) -> Value {
        let changed = |row: &ChangedRow| json!({ "row": row.at.number, "line": row.at.line, "run": row.run });
        json!({
            "schema": 1,
            "run": self.run,
            "file": self.file,
            "customers": self.customers,
            "changed": self.changed.iter().map(changed).collect::<Vec<_>>(),
            "changed_included": self.changed_customers == ChangedCustomers::Include,
            "absent": self.absent,
            "command": self.command,
            "open_run": self.has_open_run,
        })
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let customers = counted(self.customers, "customer");
        let _ = match &self.file {
            Some(file) => {
                writeln!(text, "{}: a purge of {customers} whom run {} has created", file.display(), self.run)
            }
            None => writeln!(text, "nothing to take back of run {}: no file is written", self.run),
        };
        self.write_changed(&mut text);
        if self.absent > 0 {
            let customers = pluralize(self.absent, "customer of that run has", "customers of that run have");
            let _ = writeln!(text, "{customers} no row in this export: give the export of that run");
        }
        if let Some(command) = &self.command {
            let _ = writeln!(text, "nothing was sent. To apply it:\n  {command}");
            if self.has_open_run {
                text.push_str(
                    "a run is open: finish it first, or give it up by running the whole base with --fresh\n",
                );
            }
        }
        text
    }

    fn write_changed(&self, text: &mut String) {
        if self.changed.is_empty() {
            return;
        }
        let customers = counted(self.changed.len() as u64, "customer");
        let _ = match self.changed_customers {
            ChangedCustomers::Omit => {
                writeln!(text, "{customers} changed since, and left out; --include-changed takes them in:")
            }
            ChangedCustomers::Include => writeln!(text, "{customers} changed since, and in the file:"),
        };
        for ChangedRow { at, run } in self.changed.iter().take(ROWS_SHOWN) {
            let _ = match run {
                Some(run) => writeln!(text, "  {at}, by run {run}"),
                None => writeln!(text, "  {at}, by a call without an answer"),
            };
        }
        let more = self.changed.len().saturating_sub(ROWS_SHOWN) as u64;
        if more > 0 {
            let _ = writeln!(text, "  and {} more: --json lists all", Count(more));
        }
    }
}
