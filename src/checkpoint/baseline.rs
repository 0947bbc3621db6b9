//! What first passes have found, kept for the next one to compare with.

use rusqlite::{OptionalExtension, Transaction, params};

use super::database::Checkpoint;
use super::error::CheckpointError;
use super::format::{self, RunRecord, RunState, StoredProfile};
use crate::guards::{Baseline, RunProfile, VanishedAddress, VanishedChanges};
use crate::reconcile::Outcome;

impl Checkpoint {
    pub fn baseline(&self) -> Result<Baseline, CheckpointError> {
        let vanished = self.vanished()?;
        let Some((run, record)) = self.last_whole_run()? else {
            return Ok(Baseline { vanished, ..Baseline::default() });
        };
        let profile = self.profile(run)?;
        Ok(Baseline { rows: Some(record.rows), brands: record.brands, profile, vanished })
    }

    /// What the first pass of a run has found.
    pub fn profile(&self, run: i64) -> Result<Option<RunProfile>, CheckpointError> {
        let bytes: Option<Vec<u8>> = self
            .connection
            .query_row("SELECT record FROM profile WHERE run = ?", [run], |row| row.get(0))
            .optional()
            .map_err(|source| self.sqlite_error(source))?;
        bytes.map(|bytes| Ok(self.decode::<StoredProfile>(&bytes)?.0)).transpose()
    }

    /// Rows that failed, or stayed in doubt, in the last finished run over a
    /// whole export.
    pub(crate) fn failed_before(&self) -> Result<u64, CheckpointError> {
        let failed = |run: RunRecord| run.counts.get(Outcome::Failed) + run.counts.get(Outcome::InDoubt);
        Ok(self.last_whole_run()?.map_or(0, |(_, run)| failed(run)))
    }

    /// The last finished run over a whole export.
    pub(super) fn last_whole_run(&self) -> Result<Option<(i64, RunRecord)>, CheckpointError> {
        let runs = self.runs(u32::MAX)?;
        Ok(runs.into_iter().find(|(_, run)| run.state == RunState::Finished && !run.is_part))
    }

    fn vanished(&self) -> Result<Vec<VanishedAddress>, CheckpointError> {
        let sqlite_error = |source| self.sqlite_error(source);
        let mut statement = self
            .connection
            .prepare("SELECT customer, address FROM vanished ORDER BY 1, 2")
            .map_err(sqlite_error)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(sqlite_error)?;
        rows.map(|row| row.map_err(sqlite_error)).collect()
    }
}

/// Keeps the findings of a run that begins. Profiles that no run will be
/// compared with any more are dropped.
pub(super) fn keep(
    transaction: &Transaction,
    run: i64,
    profile: RunProfile,
    vanished: &VanishedChanges,
    compared: Option<i64>,
) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM profile WHERE run <> coalesce(?, -1)", [compared])?;
    let record = format::encode(&StoredProfile(profile));
    transaction.execute("INSERT OR REPLACE INTO profile VALUES (?, ?)", params![run, record])?;
    let mut returned = transaction.prepare("DELETE FROM vanished WHERE customer = ? AND address = ?")?;
    vanished.returned.iter().try_for_each(|address| returned.execute([address.0, address.1]).map(drop))?;
    let mut added = transaction.prepare("INSERT OR IGNORE INTO vanished VALUES (?, ?)")?;
    vanished.added.iter().try_for_each(|address| added.execute([address.0, address.1]).map(drop))
}
