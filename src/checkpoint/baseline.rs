//! The findings of first passes, for the next one to compare with.

use rusqlite::params;

use super::batch::Batch;
use super::checkpoint::Checkpoint;
use super::error::CheckpointError;
use super::format::{Encoded, RunRecord, RunState, SettingsHash, StoredProfile};
use crate::guards::{Baseline, RunProfile, VanishedChanges};
use crate::reconcile::Outcome;

impl Checkpoint {
    pub fn baseline(&self) -> Result<Baseline, CheckpointError> {
        let sql = "SELECT customer, address FROM vanished ORDER BY 1, 2";
        let vanished = self.database.list(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let (last, measure) = (self.last_run(RunUse::Findings)?, self.last_run(RunUse::Measure)?);
        let profile = |run: &Option<(i64, RunRecord)>| match run {
            Some((id, _)) => self.profile(*id),
            None => Ok(None),
        };
        let fill = profile(&measure)?.map(|profile| (profile.described_rows, profile.fill));
        let (described_rows, fill) = fill.unwrap_or_default();
        let profile = profile(&last)?.map(|profile| RunProfile { described_rows, fill, ..profile });
        let brands = last.map(|(_, record)| record.brands).unwrap_or_default();
        Ok(Baseline { rows: measure.map(|(_, record)| record.rows), brands, profile, vanished })
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
        Ok(self.last_run(RunUse::Findings)?.map_or(0, |(_, run)| failed(run)))
    }

    /// How the last finished run over the whole base has mapped its rows.
    pub(crate) fn last_mapping(&self) -> Result<Option<SettingsHash>, CheckpointError> {
        Ok(self.last_run(RunUse::Findings)?.map(|(_, run)| run.mapping))
    }

    /// The last finished run over the whole base, for one of two uses.
    fn last_run(&self, wanted: RunUse) -> Result<Option<(i64, RunRecord)>, CheckpointError> {
        let is_whole = |run: &RunRecord| run.state == RunState::Finished && !run.scope.is_part();
        let is_wanted = |run: &RunRecord| wanted == RunUse::Findings || run.is_baseline;
        Ok(self.runs(u32::MAX)?.into_iter().find(|(_, run)| is_whole(run) && is_wanted(run)))
    }

    /// The runs with which later ones are compared.
    pub(super) fn compared_runs(&self) -> Result<Vec<i64>, CheckpointError> {
        let runs = [self.last_run(RunUse::Findings)?, self.last_run(RunUse::Measure)?];
        Ok(runs.into_iter().flatten().map(|(id, _)| id).collect())
    }
}

/// What a later run takes from an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RunUse {
    /// What was reported, and by which mapping.
    Findings,
    /// The number of rows and the fill of the columns.
    Measure,
}

impl Batch<'_> {
    /// Keeps the findings of a run that begins, of open runs and of those in
    /// `compared`. No run will be compared with the others any more.
    pub(super) fn keep_findings(
        &mut self,
        run: i64,
        profile: RunProfile,
        vanished: &VanishedChanges,
        compared: Vec<i64>,
    ) -> Result<(), CheckpointError> {
        let sql = "SELECT run FROM profile WHERE run NOT IN (SELECT run FROM worklist)";
        let kept: Vec<i64> = self.checkpoint.database.list(sql, [], |row| row.get(0))?;
        for run in kept.iter().filter(|run| !compared.contains(run)) {
            self.execute("DELETE FROM profile WHERE run = ?", [run])?;
        }
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
