//! How an export relates to earlier runs. `plan`, `run` and `adopt` decide it alike.

use std::collections::BTreeSet;

use super::plan::Plan;
use super::prepare::PreparedExport;
use crate::checkpoint::{Checkpoint, CheckpointError, ExportId, OpenRun, RetryRows};
use crate::guards::Baseline;
use crate::mapping::{OnExists, OnMissing};
use crate::reconcile::{HashKey, Policy};

pub(crate) struct RunContext {
    pub(crate) export: ExportId,
    pub(crate) policy: Policy,
    /// The rest of the last run over this export.
    pub(crate) retry: Option<RetryRows>,
    pub(crate) baseline: Baseline,
}

impl RunContext {
    /// Without a checkpoint, every customer is unknown.
    pub(crate) fn new(
        prepared: &PreparedExport,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Self, CheckpointError> {
        let mut context = Self::for_all_rows(prepared, checkpoint)?;
        if let Some(checkpoint) = checkpoint
            && !prepared.options.full
            && checkpoint.open_run()?.is_none()
            && let Some(retry) = checkpoint.retry_rows(&prepared.hash, &prepared.plan)?
        {
            // Failed rows are tried again as rows of the same export; everything else
            // is decided by what the rows mean now.
            context.export = checkpoint.export_id(prepared.hash, retry.record.mapping)?;
            context.policy.export = context.export.ordinal;
            context.retry = Some(retry);
        }
        Ok(context)
    }

    /// Every row is decided as if its customer was this program's: an adoption makes
    /// it so.
    pub(crate) fn for_adoption(
        prepared: &PreparedExport,
        checkpoint: &Checkpoint,
    ) -> Result<Self, CheckpointError> {
        let mut context = Self::for_all_rows(prepared, Some(checkpoint))?;
        let Policy { on_exists, on_missing, .. } = &mut context.policy;
        (*on_exists, *on_missing) = (OnExists::Update, OnMissing::Create);
        Ok(context)
    }

    /// Every row is decided, whatever an earlier run has applied.
    fn for_all_rows(
        prepared: &PreparedExport,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Self, CheckpointError> {
        let hash = prepared.hash;
        let (key, export, baseline) = match checkpoint {
            None => (HashKey::new([0; 32]), ExportId { hash, ordinal: 1 }, Baseline::default()),
            Some(checkpoint) => {
                let export = checkpoint.export_id(hash, prepared.mapping_version)?;
                if prepared.is_result_file && prepared.origins.get().is_none() {
                    let _ = prepared.origins.set(checkpoint.exports_by_folder()?);
                }
                (checkpoint.key(), export, checkpoint.baseline()?)
            }
        };
        let full = prepared.options.full;
        let PreparedExport { on_exists, on_missing, .. } = *prepared;
        let policy =
            Policy { key, export: export.ordinal, full, allow_recreate: false, on_exists, on_missing };
        let baseline = if prepared.is_part() { baseline.for_part() } else { baseline };
        Ok(Self { export, policy, retry: None, baseline })
    }

    /// The rows to decide; `None`: all. The others were applied by an earlier run.
    pub(super) fn rows_to_decide(&self) -> Option<&BTreeSet<u64>> {
        self.retry.as_ref().map(|retry| &retry.rows)
    }
}

/// What becomes of the open run when this export is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenRunFate {
    Resumed,
    /// Its rows are decided anew.
    Superseded,
    /// Rows name operations of their own, which could be lost: it blocks this run.
    InTheWay,
}

pub(crate) fn is_same_run(run: &OpenRun, prepared: &PreparedExport) -> bool {
    run.export.hash == prepared.hash && run.record.plan == prepared.plan
}

impl OpenRunFate {
    pub(crate) fn new(run: &OpenRun, prepared: &PreparedExport, plan: &Plan) -> Self {
        if is_same_run(run, prepared) {
            Self::Resumed
        } else if run.record.only_sync && !plan.has_own_operations {
            Self::Superseded
        } else {
            Self::InTheWay
        }
    }
}
