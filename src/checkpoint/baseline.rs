//! What first passes have seen: kept for the next one to compare with.

use rusqlite::{OptionalExtension, Transaction, params};

use super::CheckpointError;
use super::database::Checkpoint;
use super::format::{self, RunRecord, RunState};
use crate::guards::{Baseline, Findings, RunProfile};
use crate::reconcile::Outcome;

impl Checkpoint {
    /// What earlier runs leave to compare with.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn past(&self) -> Result<Baseline, CheckpointError> {
        let Some((run, record)) = self.last_whole_run()? else {
            return Ok(Baseline { gone: self.gone()?, ..Baseline::default() });
        };
        Ok(Baseline {
            rows: Some(record.rows),
            brands: record.brands,
            seen: self.seen(run)?,
            gone: self.gone()?,
        })
    }

    /// What the first pass of a run has seen; `None` if an earlier version of
    /// the program made it.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn seen(&self, run: i64) -> Result<Option<RunProfile>, CheckpointError> {
        let bytes: Option<Vec<u8>> = self
            .connection
            .query_row("SELECT record FROM seen WHERE run = ?", [run], |row| row.get(0))
            .optional()
            .map_err(|source| self.explain(source))?;
        bytes.map(|bytes| self.decoded(&run.to_le_bytes(), &bytes)).transpose()
    }

    /// Rows that failed, or stayed in doubt, in the last finished run over a
    /// whole export.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]
    pub fn failed_before(&self) -> Result<u64, CheckpointError> {
        let failed = |run: RunRecord| run.counts.get(Outcome::Failed) + run.counts.get(Outcome::InDoubt);
        Ok(self.last_whole_run()?.map_or(0, |(_, run)| failed(run)))
    }

    /// The last finished run over a whole export.
    pub(crate) fn last_whole_run(&self) -> Result<Option<(i64, RunRecord)>, CheckpointError> {
        let runs = self.runs(u32::MAX)?;
        Ok(runs.into_iter().find(|(_, run)| run.state == RunState::Finished && !run.partial))
    }

    fn gone(&self) -> Result<Vec<(i64, i64)>, CheckpointError> {
        let wrong = |source| self.explain(source);
        let mut statement =
            self.connection.prepare("SELECT customer, address FROM gone ORDER BY 1, 2").map_err(wrong)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(wrong)?;
        rows.map(|row| row.map_err(wrong)).collect()
    }
}

/// Keeps what the first pass of `run` has seen, together with its beginning.
/// What runs saw that nobody will compare with any more is dropped.
pub(crate) fn keep(
    transaction: &Transaction,
    run: i64,
    findings: &Findings,
    compared: Option<i64>,
) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM seen WHERE run <> coalesce(?, -1)", [compared])?;
    transaction.execute(
        "INSERT OR REPLACE INTO seen VALUES (?, ?)",
        params![run, format::encode(&run.to_le_bytes(), &findings.seen)],
    )?;
    let mut back = transaction.prepare("DELETE FROM gone WHERE customer = ? AND address = ?")?;
    findings.gone.returned.iter().try_for_each(|mark| back.execute([mark.0, mark.1]).map(drop))?;
    let mut gone = transaction.prepare("INSERT OR IGNORE INTO gone VALUES (?, ?)")?;
    findings.gone.vanished.iter().try_for_each(|mark| gone.execute([mark.0, mark.1]).map(drop))
}
