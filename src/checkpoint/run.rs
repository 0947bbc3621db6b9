//! Runs: opening, resuming, ending.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, Transaction, params};

use super::CheckpointError;
use super::baseline;
use super::batch::fold;
use super::database::Checkpoint;
use super::file::explain;
use super::format::{self, Mark, RunRecord, RunState};
use super::journal::JournalEntry;
use super::purge_list;
use super::{PlanMark, Work, Worklist};
use crate::guards::Findings;
use crate::reconcile::{MissingCustomers, MissingPlan, Outcome};
use crate::source::ExportHash;

/// The open run, with what is settled of it. It owns the watermark.
#[derive(Debug)]
pub struct OpenRun {
    /// Its id.
    pub id: i64,
    /// Ordinal of its export.
    pub export: u32,
    /// Which export.
    pub fingerprint: ExportHash,
    /// Which mapping.
    pub plan: PlanMark,
    /// The rest of it.
    pub record: RunRecord,
    /// Rows to visit.
    pub worklist: Worklist,
    /// Customers that no row has; none if nobody asked.
    pub missing: Option<MissingCustomers>,
    /// Rows with calls that are settled behind the watermark.
    pub(super) ahead: BTreeSet<u64>,
}

/// An export, and by which number what its rows have told is known. A row does
/// not undo what a later row of the same number has done; so an export whose
/// rows come to mean something else gets another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportId {
    /// Its content.
    pub fingerprint: ExportHash,
    /// The number.
    pub ordinal: u32,
}

/// Rows that the last run over an export left unfinished.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetryRows {
    /// That run.
    pub record: Option<RunRecord>,
    /// Its rows that failed or stayed in doubt.
    pub rows: BTreeSet<u64>,
    /// Another run was begun since.
    pub is_old: bool,
}

impl OpenRun {
    /// Rows with calls that are settled behind the watermark.
    #[must_use]
    pub fn ahead(&self) -> &BTreeSet<u64> {
        &self.ahead
    }

    /// Rows of one kind that have no outcome yet, counted one by one and not
    /// as a difference, so that the books can be checked against it.
    #[must_use]
    pub fn pending(&self, work: Work) -> u64 {
        let mut at = match work {
            Work::Calls => self.record.watermark,
            Work::Rejected => self.record.rejects_done,
        };
        let mut pending = 0;
        while let Some(row) = self.worklist.next_after(at, work) {
            at = row;
            pending += u64::from(work == Work::Rejected || !self.ahead.contains(&row));
        }
        pending
    }

    /// Books a row with calls, and moves the watermark past all that are settled.
    pub(super) fn settle(&mut self, row: u64, outcome: Outcome) {
        self.record.counts.add(outcome);
        self.ahead.insert(row);
        while let Some(next) = self.worklist.next_after(self.record.watermark, Work::Calls) {
            if !self.ahead.remove(&next) {
                break;
            }
            self.record.watermark = next;
        }
    }

    /// Rows without an outcome yet.
    #[must_use]
    pub fn not_attempted(&self) -> u64 {
        self.record.rows.saturating_sub(self.record.counts.total())
    }
}

impl Checkpoint {
    /// The open run, if there is one.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn open_run(&self) -> Result<Option<OpenRun>, CheckpointError> {
        let found = self
            .connection
            .query_row(
                "SELECT run.id, run.export, export.fingerprint, run.plan, run.record, worklist.list FROM run
                 JOIN export ON export.id = run.export LEFT JOIN worklist ON worklist.run = run.id
                 ORDER BY run.id DESC LIMIT 1",
                [],
                |row| {
                    let blobs = (row.get::<_, Vec<u8>>(4)?, row.get::<_, Option<Vec<u8>>>(5)?);
                    Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?, PlanMark(row.get(3)?), blobs))
                },
            )
            .optional()
            .map_err(|source| self.explain(source))?;
        let Some((id, export, fingerprint, plan, (bytes, list))) = found else {
            return Ok(None);
        };
        let record: RunRecord = self.decoded(&id.to_le_bytes(), &bytes)?;
        if record.state != RunState::Open {
            return Ok(None);
        }
        let worklist = self.decoded(&id.to_be_bytes(), &list.unwrap_or_default())?;
        let ahead = self.recent.settled.range(record.watermark + 1..).copied().collect();
        let (fingerprint, missing) = (ExportHash(fingerprint), self.missing_of(id)?);
        Ok(Some(OpenRun { id, export, fingerprint, plan, record, worklist, missing, ahead }))
    }

    /// What the last run over this export, with this mapping, left, if that
    /// still says what is to be done: an export whose rows name their own
    /// operations is applied once, whatever came after it; one that says how
    /// customers are to be is decided anew once another export was applied.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn unfinished(
        &self,
        fingerprint: &ExportHash,
        plan: &PlanMark,
    ) -> Result<RetryRows, CheckpointError> {
        let found = self
            .connection
            .query_row(
                "SELECT run.id, run.plan, run.record, run.id = (SELECT max(id) FROM run) FROM run
                 JOIN export ON export.id = run.export WHERE export.fingerprint = ? ORDER BY run.id DESC LIMIT 1",
                params![fingerprint.0],
                |row| {
                    let newest: bool = row.get(3)?;
                    Ok((row.get::<_, i64>(0)?, PlanMark(row.get(1)?), row.get::<_, Vec<u8>>(2)?, newest))
                },
            )
            .optional()
            .map_err(|source| self.explain(source))?;
        let Some((id, mapped, bytes, newest)) = found else { return Ok(RetryRows::default()) };
        let record: RunRecord = self.decoded(&id.to_le_bytes(), &bytes)?;
        let holds = record.state == RunState::Finished && (newest || !record.only_sync);
        // Rows that name operations were carried out, however they would be read now.
        let is_same = if record.only_sync { mapped == *plan } else { mapped.has_settings_of(plan) };
        if !is_same || !holds {
            return Ok(RetryRows::default());
        }
        let rows = self.rows_of("SELECT row FROM unfinished WHERE run = ?", id)?;
        Ok(RetryRows { record: Some(record), rows, is_old: !newest })
    }

    fn rows_of(&self, sql: &str, parameter: i64) -> Result<BTreeSet<u64>, CheckpointError> {
        let mut statement = self.connection.prepare(sql).map_err(|source| self.explain(source))?;
        let rows = statement
            .query_map([parameter], |row| row.get::<_, i64>(0))
            .map_err(|source| self.explain(source))?;
        rows.map(|row| row.map(i64::cast_unsigned).map_err(|source| self.explain(source))).collect()
    }

    /// The number of an export whose rows are read by the mapping `mapped`: the
    /// one that it has, if the last run over it was by the same; else the next.
    /// Nothing is written.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn number(&self, fingerprint: ExportHash, mapped: Mark) -> Result<ExportId, CheckpointError> {
        let known = match self.export_ordinal(&fingerprint)? {
            Some(known) if self.is_mapped_by(known, mapped)? => Some(known),
            _ => None,
        };
        let next = || {
            let sql = "SELECT coalesce(max(id), 0) + 1 FROM export";
            self.connection.query_row(sql, [], |row| row.get(0)).map_err(|source| self.explain(source))
        };
        Ok(ExportId { fingerprint, ordinal: known.map_or_else(next, Ok)? })
    }

    fn is_mapped_by(&self, export: u32, mapped: Mark) -> Result<bool, CheckpointError> {
        let found = self
            .connection
            .query_row(
                "SELECT id, record FROM run WHERE export = ? ORDER BY id DESC LIMIT 1",
                [export],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)),
            )
            .optional()
            .map_err(|source| self.explain(source))?;
        // An `adopt` that was killed has told something, and nobody knows by what.
        let Some((id, bytes)) = found else { return Ok(false) };
        let record: RunRecord = self.decoded(&id.to_le_bytes(), &bytes)?;
        Ok(record.mapped == mapped || record.mapped == Mark::default())
    }

    /// Writes down the number of an export, before anything is told by it.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn register(&self, export: &ExportId) -> Result<(), CheckpointError> {
        let transaction = self.connection.unchecked_transaction().map_err(|source| self.explain(source))?;
        register(&transaction, export).map_err(|source| self.explain(source))?;
        self.place.commit(&transaction)
    }

    /// Opens a run. What is left of an earlier one over the same export is
    /// forgotten: this run tells it anew.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn begin(
        &mut self,
        export: ExportId,
        plan: PlanMark,
        record: RunRecord,
        worklist: Worklist,
        findings: &Findings,
    ) -> Result<OpenRun, CheckpointError> {
        self.begin_missing(export, plan, record, worklist, findings, None)
    }

    /// The same with who is missing: the list of those to be purged becomes
    /// durable together with the run.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn begin_missing(
        &mut self,
        export: ExportId,
        plan: PlanMark,
        record: RunRecord,
        worklist: Worklist,
        findings: &Findings,
        found: Option<&MissingPlan>,
    ) -> Result<OpenRun, CheckpointError> {
        let compared = self.last_whole_run()?.map(|(id, _)| id);
        let Self { connection, place, recent, .. } = self;
        let wrong = |source| explain(&place.path, source);
        let transaction = connection.transaction().map_err(wrong)?;
        register(&transaction, &export).map_err(wrong)?;
        let ExportId { fingerprint, ordinal: export } = export;
        transaction
            .execute("DELETE FROM unfinished WHERE run IN (SELECT id FROM run WHERE export = ?)", [export])
            .map_err(wrong)?;
        transaction.execute_batch("DELETE FROM worklist;").map_err(wrong)?;
        recent
            .write(&transaction, JournalEntry { begins: true, ..JournalEntry::default() }, 0)
            .map_err(wrong)?;
        let id: i64 = transaction
            .query_row("SELECT coalesce(max(id), 0) + 1 FROM run", [], |row| row.get(0))
            .map_err(wrong)?;
        transaction
            .execute(
                "INSERT INTO run VALUES (?, ?, ?, ?)",
                params![id, export, plan.0, format::encode(&id.to_le_bytes(), &record)],
            )
            .map_err(wrong)?;
        // In a table of its own: a commit writes the run anew, and the list can be a megabyte.
        // The other byte order, so that the two records cannot be exchanged.
        transaction
            .execute(
                "INSERT INTO worklist VALUES (?, ?)",
                params![id, format::encode(&id.to_be_bytes(), &worklist)],
            )
            .map_err(wrong)?;
        baseline::keep(&transaction, id, findings, compared).map_err(wrong)?;
        purge_list::list(&transaction, id, found).map_err(wrong)?;
        place.commit(&transaction)?;
        let missing = found.map(|found| found.missing);
        Ok(OpenRun { id, export, fingerprint, plan, record, worklist, missing, ahead: BTreeSet::new() })
    }

    /// Ends the open run, or notes that its execution ended. Customers that
    /// changed go into their blocks, so that the next one begins with few.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn close_run(
        &mut self,
        run: &mut OpenRun,
        state: RunState,
        ended: &str,
    ) -> Result<(), CheckpointError> {
        run.record.state = state;
        ended.clone_into(&mut run.record.ended);
        let record = format::encode(&run.id.to_le_bytes(), &run.record);
        let Self { connection, place, recent, customers, .. } = self;
        let wrong = |source| explain(&place.path, source);
        let transaction = connection.transaction().map_err(wrong)?;
        transaction
            .execute("UPDATE run SET record = ? WHERE id = ?", params![record, run.id])
            .map_err(wrong)?;
        if state != RunState::Open {
            transaction
                .execute("DELETE FROM worklist WHERE run = ?", [run.id])
                .and_then(|_| transaction.execute("DELETE FROM missing", []))
                .map_err(wrong)?;
            recent.take_in(JournalEntry { begins: true, ..JournalEntry::default() }, 0);
        }
        fold(&transaction, &place.path, recent, customers)?;
        place.commit(&transaction)
    }
}

/// Earlier runs over the same content stay known by it.
fn register(transaction: &Transaction, export: &ExportId) -> rusqlite::Result<()> {
    let ExportId { fingerprint, ordinal } = export;
    let known: Option<u32> = transaction
        .query_row("SELECT id FROM export WHERE fingerprint = ?", [fingerprint.0], |row| row.get(0))
        .optional()?;
    match known {
        Some(known) if known == *ordinal => {}
        Some(known) => {
            transaction.execute("UPDATE run SET export = ? WHERE export = ?", [*ordinal, known])?;
            transaction
                .execute("UPDATE export SET id = ? WHERE fingerprint = ?", params![ordinal, fingerprint.0])?;
        }
        None => {
            transaction.execute("INSERT INTO export VALUES (?, ?)", params![fingerprint.0, ordinal])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::FileLengths;
    use crate::guards::Findings;
    use crate::source::RowRef;

    #[test]
    fn rows_that_end_out_of_order_are_kept_ahead_until_the_watermark_passes_them() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let mut checkpoint = Checkpoint::open(&folder.path().join("checkpoint"), "tenant").expect("new");
        let mut worklist = Worklist::default();
        for number in 1..=4 {
            worklist.pass(RowRef { number, line: number + 1, offset: number, len: 1 });
            worklist.mark(number, Work::Calls);
        }
        let record = RunRecord { rows: 4, ..RunRecord::adopted("now") };
        let print = ExportHash([7; 32]);
        let mut run = checkpoint
            .begin(
                ExportId { fingerprint: print, ordinal: 1 },
                PlanMark([7; 32]),
                record,
                worklist,
                &Findings::default(),
            )
            .expect("a run");
        // Row by row: the watermark, the rows ahead of it, and those without an outcome.
        for (row, watermark, ahead, left) in
            [(3, 0, vec![3], 3), (2, 0, vec![2, 3], 2), (1, 3, vec![], 1), (4, 4, vec![], 0)]
        {
            let mut batch = checkpoint.batch().expect("a batch");
            batch.settle(&mut run, row, Outcome::Created).expect("settled");
            batch.commit(&mut run, FileLengths::default()).expect("durable");
            assert_eq!(checkpoint.recent.settled.len(), ahead.len(), "row {row}: none is left behind");
            let kept = checkpoint.open_run().expect("a run").expect("open");
            for run in [&run, &kept] {
                assert_eq!(run.record.watermark, watermark, "row {row}");
                assert_eq!(run.ahead().iter().copied().collect::<Vec<u64>>(), ahead, "row {row}");
                assert_eq!(run.not_attempted(), left, "row {row}");
                assert_eq!(run.pending(Work::Calls), left, "row {row}");
            }
        }
    }

    #[test]
    fn an_export_has_another_number_by_another_mapping() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let mut checkpoint = Checkpoint::open(&folder.path().join("checkpoint"), "tenant").expect("new");
        let print = ExportHash([7; 32]);
        let number = |checkpoint: &Checkpoint, mapped| {
            checkpoint.number(print, Mark([mapped; 16])).expect("a number").ordinal
        };
        assert_eq!(number(&checkpoint, 1), 1);
        // Written down by an adopt that was killed before its run.
        checkpoint.register(&ExportId { fingerprint: print, ordinal: 1 }).expect("written");
        assert_eq!(number(&checkpoint, 1), 2);
        let mut ordinal = 1;
        for (mapped, next) in [(1, 2), (1, 2), (2, 3), (1, 4)] {
            ordinal = number(&checkpoint, mapped);
            assert_eq!(ordinal, next, "by {mapped}");
            let record = RunRecord { mapped: Mark([mapped; 16]), ..RunRecord::adopted("now") };
            let (plan, findings) = (PlanMark([mapped; 32]), Findings::default());
            let numbered = ExportId { fingerprint: print, ordinal };
            let mut run =
                checkpoint.begin(numbered, plan, record, Worklist::default(), &findings).expect("a run");
            checkpoint.close_run(&mut run, RunState::Finished, "now").expect("closed");
        }
        assert_eq!(checkpoint.export_ordinal(&print).expect("known"), Some(ordinal));
        assert_eq!(checkpoint.runs(9).expect("runs").len(), 4);
    }

    #[test]
    fn rows_that_named_operations_stay_carried_out_however_they_are_read_now() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let mut checkpoint = Checkpoint::open(&folder.path().join("checkpoint"), "tenant").expect("new");
        let (settings, others) = ([7; 32], [8; 32]);
        for (export, only_sync) in [(1, false), (2, true)] {
            let print = ExportHash([export; 32]);
            let record = RunRecord { only_sync, ..RunRecord::adopted("now") };
            let numbered = ExportId { fingerprint: print, ordinal: u32::from(export) };
            let (plan, findings) = (PlanMark::new(settings, 1), Findings::default());
            let mut run =
                checkpoint.begin(numbered, plan, record, Worklist::default(), &findings).expect("a run");
            checkpoint.close_run(&mut run, RunState::Finished, "now").expect("closed");
            let is_known = |plan| checkpoint.unfinished(&print, &plan).expect("a look").record.is_some();
            assert!(is_known(PlanMark::new(settings, 1)));
            assert_eq!(is_known(PlanMark::new(settings, 2)), !only_sync);
            assert!(!is_known(PlanMark::new(others, 1)));
        }
    }
}
