//! The findings of first passes, for the next one to compare with.

use rusqlite::params;

use super::batch::Batch;
use super::checkpoint::Checkpoint;
use super::error::CheckpointError;
use super::format::{Encoded, RunRecord, RunState, StoredProfile};
use crate::guards::{Baseline, RunProfile, VanishedChanges};
use crate::reconcile::Outcome;

impl Checkpoint {
    pub fn baseline(&self) -> Result<Baseline, CheckpointError> {
        let sql = "SELECT customer, address FROM vanished ORDER BY 1, 2";
        let vanished = self.database.list(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let Some((run, record)) = self.last_whole_run()? else {
            return Ok(Baseline { vanished, ..Baseline::default() });
        };
        let profile = self.profile(run)?;
        Ok(Baseline { rows: Some(record.rows), brands: record.brands, profile, vanished })
    }

    /// The findings of a run's first pass.
    pub fn profile(&self, run: i64) -> Result<Option<RunProfile>, CheckpointError> {
        self.database.find("SELECT record FROM profile WHERE run = ?", [run], |row| {
            Ok(row.get::<_, Encoded<StoredProfile>>(0)?.0.0)
        })
    }

    /// Rows that failed or stayed in doubt in the last finished run over a whole
    /// export.
    pub(crate) fn failed_before(&self) -> Result<u64, CheckpointError> {
        let failed = |run: RunRecord| run.counts.get(Outcome::Failed) + run.counts.get(Outcome::InDoubt);
        Ok(self.last_whole_run()?.map_or(0, |(_, run)| failed(run)))
    }

    /// The last finished run over a whole export.
    pub(super) fn last_whole_run(&self) -> Result<Option<(i64, RunRecord)>, CheckpointError> {
        let runs = self.runs(u32::MAX)?;
        Ok(runs.into_iter().find(|(_, run)| run.state == RunState::Finished && !run.is_part))
    }
}

impl Batch<'_> {
    /// Keeps the findings of a run that begins, and those of `baseline`. No
    /// run will be compared with the others any more.
    pub(super) fn keep_findings(
        &mut self,
        run: i64,
        profile: RunProfile,
        vanished: &VanishedChanges,
        baseline: Option<i64>,
    ) -> Result<(), CheckpointError> {
        self.execute("DELETE FROM profile WHERE run <> coalesce(?, -1)", [baseline])?;
        let record = Encoded(&StoredProfile(profile));
        self.execute("INSERT OR REPLACE INTO profile VALUES (?, ?)", params![run, record])?;
        for (customer, address) in &vanished.returned {
            self.execute("DELETE FROM vanished WHERE customer = ? AND address = ?", [customer, address])?;
        }
        for (customer, address) in &vanished.added {
            self.execute("INSERT OR IGNORE INTO vanished VALUES (?, ?)", [customer, address])?;
        }
        Ok(())
    }
}
