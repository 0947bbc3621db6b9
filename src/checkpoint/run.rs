//! Runs: beginning, resuming, ending.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use rusqlite::params;

use super::batch::Batch;
use super::checkpoint::Checkpoint;
use super::error::CheckpointError;
use super::format::{Encoded, PlanVersion, RunRecord, RunScope, RunState, SettingsHash};
use super::open_run::{ExportId, OpenRun};
use super::worklist::Worklist;
use crate::guards::{RunProfile, VanishedChanges};
use crate::reconcile::CustomerKey;
use crate::source::ExportHash;

/// The rows that the last run over an export left unfinished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryRows {
    /// That run.
    pub record: RunRecord,
    /// Its rows that failed or stayed in doubt.
    pub rows: BTreeSet<u64>,
    /// Another run has begun since.
    pub is_old: bool,
}

/// A run that a row of a result file names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FolderRun {
    pub(crate) run: u32,
    /// The ordinal of its export.
    pub(crate) export: u32,
}

/// What a run begins with.
#[derive(Debug, Clone, Default)]
pub struct FirstPassResult {
    pub worklist: Worklist,
    pub profile: RunProfile,
    pub vanished: VanishedChanges,
    /// Missing customers who are to be purged, sorted.
    pub purge_list: Vec<CustomerKey>,
}

impl Checkpoint {
    /// The open runs, the oldest first: one over the whole base at most, and parts.
    pub fn open_runs(&self) -> Result<Vec<OpenRun>, CheckpointError> {
        self.database.list(
            "SELECT run.id, run.export, export.hash, run.record, worklist.list FROM worklist
             JOIN run ON run.id = worklist.run JOIN export ON export.ordinal = run.export
             ORDER BY run.id",
            [],
            |row| {
                let export = ExportId { hash: ExportHash(row.get(2)?), ordinal: row.get(1)? };
                let (id, Encoded::<RunRecord>(record), Encoded(worklist)) =
                    (row.get(0)?, row.get(3)?, row.get(4)?);
                let ahead = self.journal.settled.range((id, record.watermark + 1)..=(id, u64::MAX));
                let settled_ahead = ahead.map(|(_, row)| *row).collect();
                Ok(OpenRun { id, export, record, worklist, settled_ahead })
            },
        )
    }

    /// The rows that the last run of this scope over this export left, if it ran by
    /// this plan and its decisions still hold.
    ///
    /// An export whose rows name operations is applied once, whatever came after
    /// it. Any other export is decided anew once another export was applied.
    pub fn retry_rows(
        &self,
        hash: &ExportHash,
        plan: &PlanVersion,
        scope: RunScope,
    ) -> Result<Option<RetryRows>, CheckpointError> {
        let newest: i64 = self.database.value("SELECT coalesce(max(id), 0) FROM run", [])?;
        let Some(ordinal) = self.export_ordinal(hash)? else { return Ok(None) };
        let runs = self.runs_over(ordinal)?;
        // A limit is a part too, and among the settings.
        let is_same = |run: &RunRecord| {
            run.scope == scope && (scope == RunScope::Whole || run.plan.settings == plan.settings)
        };
        let found = runs.into_iter().rev().find(|(_, run)| is_same(run));
        let Some((id, record)) = found else { return Ok(None) };
        let is_newest = id == newest;
        let is_valid = record.state == RunState::Finished && (is_newest || !record.only_sync);
        // Rows that name operations were carried out, however they would be mapped now.
        let is_same_plan =
            if record.only_sync { record.plan == *plan } else { record.plan.settings == plan.settings };
        if !is_same_plan || !is_valid {
            return Ok(None);
        }
        let sql = "SELECT row FROM unfinished WHERE run = ?";
        let rows = self.database.list(sql, [id], |row| row.get(0).map(i64::cast_unsigned))?;
        Ok(Some(RetryRows { record, rows, is_old: !is_newest }))
    }

    /// The ordinal of an export whose rows are mapped by `mapping`: its own, if
    /// the last run over it used the same mapping and no other export came since;
    /// else the next. An export whose rows name operations keeps it also then: it
    /// is applied once. Nothing is written.
    pub fn export_id(&self, hash: ExportHash, mapping: SettingsHash) -> Result<ExportId, CheckpointError> {
        let next = self.next_export(hash)?;
        let known = self.export_ordinal(&hash)?;
        let own = match known.map(|ordinal| self.last_record(ordinal)).transpose()?.flatten() {
            Some(run) if run.mapping == mapping => {
                known.filter(|own| *own + 1 == next.ordinal || !run.only_sync)
            }
            _ => None,
        };
        Ok(ExportId { hash, ordinal: own.unwrap_or(next.ordinal) })
    }

    /// It comes after all that any export has decided. Nothing is written.
    pub(crate) fn next_export(&self, hash: ExportHash) -> Result<ExportId, CheckpointError> {
        let ordinal = self.database.value("SELECT coalesce(max(ordinal), 0) + 1 FROM export", [])?;
        Ok(ExportId { hash, ordinal })
    }

    /// The number of the next run.
    pub(crate) fn next_run(&self) -> Result<u32, CheckpointError> {
        self.database.value("SELECT coalesce(max(id), 0) + 1 FROM run", [])
    }

    /// All runs, by the name of their folder.
    pub(crate) fn runs_by_folder(&self) -> Result<HashMap<String, FolderRun>, CheckpointError> {
        let runs: Vec<(String, FolderRun)> =
            self.database.list("SELECT id, export, record FROM run ORDER BY id", [], |row| {
                let Encoded::<RunRecord>(record) = row.get(2)?;
                Ok((record.folder, FolderRun { run: row.get(0)?, export: row.get(1)? }))
            })?;
        let name =
            |folder: &str| Path::new(folder).file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(runs.into_iter().filter_map(|(folder, run)| Some((name(&folder)?, run))).collect())
    }

    /// The ordinal of an export: the same for the same content.
    pub fn export_ordinal(&self, hash: &ExportHash) -> Result<Option<u32>, CheckpointError> {
        self.database.find("SELECT ordinal FROM export WHERE hash = ?", [hash.0], |row| row.get(0))
    }

    /// The export of a run.
    pub(crate) fn run_export(&self, run: u32) -> Result<Option<ExportHash>, CheckpointError> {
        let sql = "SELECT export.hash FROM run JOIN export ON export.ordinal = run.export WHERE run.id = ?";
        self.database.find(sql, [run], |row| row.get(0).map(ExportHash))
    }

    /// `None` after an `adopt` that was killed before its run: something is
    /// acknowledged, and nothing says by which mapping.
    fn last_record(&self, export: u32) -> Result<Option<RunRecord>, CheckpointError> {
        Ok(self.runs_over(export)?.pop().map(|(_, record)| record))
    }

    /// The runs over an export, the oldest first.
    fn runs_over(&self, export: u32) -> Result<Vec<(i64, RunRecord)>, CheckpointError> {
        let sql = "SELECT id, record FROM run WHERE export = ? ORDER BY id";
        self.database.list(sql, [export], |row| Ok((row.get(0)?, row.get::<_, Encoded<_>>(1)?.0)))
    }

    /// Writes down the ordinal of an export, before anything is acknowledged by it.
    pub fn register(&mut self, export: &ExportId) -> Result<(), CheckpointError> {
        let mut batch = self.batch()?;
        batch.register(export)?;
        batch.commit_states()
    }

    /// Opens a run. The rest of earlier ones over the same export is dropped: this
    /// run decides it anew. A part drops only that of the same part.
    pub fn begin(
        &mut self,
        export: ExportId,
        record: RunRecord,
        first_pass: FirstPassResult,
    ) -> Result<OpenRun, CheckpointError> {
        let mut batch = self.batch()?;
        let run = batch.begin(export, record, first_pass)?;
        batch.commit_states()?;
        Ok(run)
    }

    /// Ends an open run, or its execution if `state` is open. Customers that
    /// changed go into their blocks, so that the next run begins with few.
    pub fn close_run(
        &mut self,
        run: &mut OpenRun,
        state: RunState,
        ended: &str,
    ) -> Result<(), CheckpointError> {
        self.batch()?.close_run(run, state, ended)
    }
}

impl Batch<'_> {
    /// See [`Checkpoint::begin`].
    pub(crate) fn begin(
        &mut self,
        export: ExportId,
        record: RunRecord,
        first_pass: FirstPassResult,
    ) -> Result<OpenRun, CheckpointError> {
        let compared = self.checkpoint.compared_runs()?;
        let FirstPassResult { worklist, profile, vanished, purge_list } = first_pass;
        let id = self.checkpoint.database.value("SELECT coalesce(max(id), 0) + 1 FROM run", [])?;
        self.register(&export)?;
        for (id, earlier) in self.checkpoint.runs_over(export.ordinal)? {
            if record.scope == RunScope::Whole || record.scope == earlier.scope {
                self.execute("DELETE FROM unfinished WHERE run = ?", [id])?;
            }
        }
        let run = params![id, export.ordinal, Encoded(&record)];
        self.execute("INSERT INTO run VALUES (?, ?, ?)", run)?;
        // In a table of its own: a commit writes the run anew, and the list can be a megabyte.
        self.execute("INSERT INTO worklist VALUES (?, ?)", params![id, Encoded(&worklist)])?;
        self.keep_findings(id, profile, &vanished, compared)?;
        if !record.scope.is_part() {
            self.write_purge_list(&purge_list)?;
        }
        Ok(OpenRun { id, export, record, worklist, settled_ahead: BTreeSet::new() })
    }

    /// See [`Checkpoint::close_run`]. The batch becomes durable with it.
    pub(crate) fn close_run(
        mut self,
        run: &mut OpenRun,
        state: RunState,
        ended: &str,
    ) -> Result<(), CheckpointError> {
        run.record.state = state;
        ended.clone_into(&mut run.record.ended);
        run.record.wait = None;
        self.update_run(run)?;
        let entry = std::mem::take(&mut self.entry);
        self.checkpoint.journal.apply(entry);
        self.checkpoint.journal.forget_settled(run.id, run.record.watermark);
        if state != RunState::Open {
            self.execute("DELETE FROM worklist WHERE run = ?", [run.id])?;
            if !run.record.scope.is_part() {
                self.execute("DELETE FROM missing", [])?;
            }
            self.checkpoint.journal.end_run(run.id);
        }
        let Checkpoint { database, file, journal, .. } = &mut *self.checkpoint;
        journal.fold(database)?;
        file.commit(database)
    }

    /// Earlier runs over the same content follow it to its new ordinal.
    fn register(&mut self, export: &ExportId) -> Result<(), CheckpointError> {
        let ExportId { hash, ordinal } = export;
        match self.checkpoint.export_ordinal(hash)? {
            Some(known) if known == *ordinal => Ok(()),
            Some(known) => {
                self.execute("UPDATE run SET export = ? WHERE export = ?", [*ordinal, known])?;
                self.execute("UPDATE export SET ordinal = ? WHERE hash = ?", params![ordinal, hash.0])
            }
            None => self.execute("INSERT INTO export VALUES (?, ?)", params![hash.0, ordinal]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Work;
    use super::*;
    use crate::reconcile::Outcome;
    use crate::source::RowRef;

    const HASH: ExportHash = ExportHash([7; 32]);

    fn new() -> (tempfile::TempDir, Checkpoint) {
        let folder = tempfile::TempDir::new().expect("a folder");
        let checkpoint = Checkpoint::open(&folder.path().join("checkpoint"), "tenant").expect("new");
        (folder, checkpoint)
    }

    #[test]
    fn rows_that_end_out_of_order_are_kept_ahead_until_the_watermark_passes_them() {
        let (_folder, mut checkpoint) = new();
        let mut worklist = Worklist::default();
        for number in 1..=4 {
            worklist.add_row(RowRef { number, line: number + 1, offset: number, len: 1, file: None });
            worklist.set(number, Work::Calls);
        }
        let record = RunRecord { rows: 4, ..RunRecord::default() };
        let first_pass = FirstPassResult { worklist, ..FirstPassResult::default() };
        let mut run =
            checkpoint.begin(ExportId { hash: HASH, ordinal: 1 }, record, first_pass).expect("a run");
        // Row by row: the watermark, the rows ahead of it, and those without an outcome.
        for (row, watermark, ahead, left) in
            [(3, 0, vec![3], 3), (2, 0, vec![2, 3], 2), (1, 3, vec![], 1), (4, 4, vec![], 0)]
        {
            let mut batch = checkpoint.batch().expect("a batch");
            batch.settle(&mut run, row, Outcome::Created).expect("settled");
            batch.commit(&mut run, Vec::new()).expect("durable");
            assert_eq!(checkpoint.journal.settled.len(), ahead.len(), "row {row}: none is left behind");
            let kept = checkpoint.open_runs().expect("a list").pop().expect("open");
            for run in [&run, &kept] {
                assert_eq!(run.record.watermark, watermark, "row {row}");
                assert_eq!(run.settled_ahead().iter().copied().collect::<Vec<u64>>(), ahead, "row {row}");
                assert_eq!(run.not_attempted(), left, "row {row}");
                assert_eq!(run.pending_rows(Work::Calls), left, "row {row}");
            }
        }
    }

    #[test]
    fn an_export_has_another_ordinal_by_another_mapping() {
        let (_folder, mut checkpoint) = new();
        let ordinal_by = |checkpoint: &Checkpoint, mapping| {
            checkpoint.export_id(HASH, SettingsHash([mapping; 16])).expect("an ordinal").ordinal
        };
        assert_eq!(ordinal_by(&checkpoint, 1), 1);
        // Registered by an adopt that was killed before its run.
        checkpoint.register(&ExportId { hash: HASH, ordinal: 1 }).expect("written");
        assert_eq!(ordinal_by(&checkpoint, 1), 2);
        let mut ordinal = 1;
        for (mapping, next) in [(1, 2), (1, 2), (2, 3), (1, 4)] {
            ordinal = ordinal_by(&checkpoint, mapping);
            assert_eq!(ordinal, next, "by {mapping}");
            let record = RunRecord { mapping: SettingsHash([mapping; 16]), ..RunRecord::default() };
            let mut run = checkpoint
                .begin(ExportId { hash: HASH, ordinal }, record, FirstPassResult::default())
                .expect("a run");
            checkpoint.close_run(&mut run, RunState::Finished, "now").expect("closed");
        }
        assert_eq!(checkpoint.export_ordinal(&HASH).expect("known"), Some(ordinal));
        assert_eq!(checkpoint.runs(9).expect("runs").len(), 4);
    }

    #[test]
    fn rows_that_named_operations_stay_carried_out_by_another_version_of_the_program() {
        let (_folder, mut checkpoint) = new();
        let plan = |settings, program| PlanVersion {
            settings: SettingsHash([settings; 16]),
            program: SettingsHash([program; 16]),
        };
        for (export, only_sync) in [(1, false), (2, true)] {
            let hash = ExportHash([export; 32]);
            let record = RunRecord { only_sync, plan: plan(7, 1), ..RunRecord::default() };
            let mut run = checkpoint
                .begin(ExportId { hash, ordinal: u32::from(export) }, record, FirstPassResult::default())
                .expect("a run");
            checkpoint.close_run(&mut run, RunState::Finished, "now").expect("closed");
            let is_applied =
                |plan| checkpoint.retry_rows(&hash, &plan, RunScope::Whole).expect("readable").is_some();
            assert!(is_applied(plan(7, 1)));
            assert_eq!(is_applied(plan(7, 2)), !only_sync);
            assert!(!is_applied(plan(8, 1)));
        }
    }
}
