//! How an export relates to earlier runs. `plan`, `run` and `adopt` decide it alike.

use std::collections::BTreeSet;

use super::plan::Plan;
use super::prepare::PreparedExport;
use crate::checkpoint::{Checkpoint, CheckpointError, ExportId, OpenRun, RetryRows, RunScope, SettingsHash};
use crate::guards::Baseline;
use crate::mapping::{OnExists, OnMissing};
use crate::reconcile::{HashKey, Policy};

pub(crate) struct RunContext {
    pub(crate) export: ExportId,
    pub(crate) policy: Policy,
    /// The rest of the last run over this export.
    pub(crate) retry: Option<RetryRows>,
    pub(crate) baseline: Baseline,
    pub(crate) scope: RunScope,
}

impl RunContext {
    /// Without a checkpoint, every customer is unknown.
    pub(crate) fn new(
        prepared: &PreparedExport,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Self, CheckpointError> {
        let mut context = Self::for_all_rows(prepared, checkpoint)?;
        let Some(checkpoint) = checkpoint.filter(|_| !prepared.options.full) else { return Ok(context) };
        // A part has nothing to do with other runs, and a request with none.
        let is_related = |run: &OpenRun| {
            let is_request = run.record.scope == RunScope::Request;
            !is_request && (!context.scope.is_part() || context.is_same_run(run, prepared))
        };
        if !checkpoint.open_runs()?.iter().any(is_related)
            && let Some(retry) = checkpoint.retry_rows(&prepared.hash, &prepared.plan, context.scope)?
        {
            // Failed rows are tried again as rows of the same export; everything else
            // is decided by what the rows mean now.
            context.export = export_id(checkpoint, prepared, context.scope, retry.record.mapping)?;
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
        let key = checkpoint.map_or(HashKey::new([0; 32]), Checkpoint::key);
        let scope = prepared.scope(&key);
        let (export, baseline) = match checkpoint {
            None => (ExportId { hash, ordinal: 1 }, Baseline::default()),
            Some(checkpoint) => {
                let export = export_id(checkpoint, prepared, scope, prepared.mapping_version)?;
                if prepared.is_result_file && prepared.origins.get().is_none() {
                    let _ = prepared.origins.set(checkpoint.runs_by_folder()?);
                }
                (export, checkpoint.baseline()?)
            }
        };
        let full = prepared.options.full;
        let PreparedExport { on_exists, on_missing, .. } = *prepared;
        let policy = Policy { full, on_exists, on_missing, ..Policy::new(key, export.ordinal) };
        let baseline = if prepared.is_part() { baseline.for_part() } else { baseline };
        Ok(Self { export, policy, retry: None, baseline, scope })
    }

    /// The rows to decide; `None`: all. The others were applied by an earlier run.
    pub(super) fn rows_to_decide(&self) -> Option<&BTreeSet<u64>> {
        self.retry.as_ref().map(|retry| &retry.rows)
    }

    /// Whether an open run is resumed by this command line.
    pub(crate) fn is_same_run(&self, run: &OpenRun, prepared: &PreparedExport) -> bool {
        run.export.hash == prepared.hash && run.record.plan == prepared.plan && run.record.scope == self.scope
    }

    pub(crate) fn fate_of(&self, run: &OpenRun, prepared: &PreparedExport, plan: &Plan) -> OpenRunFate {
        if run.record.scope == RunScope::Request {
            return OpenRunFate::Request;
        }
        let is_decided_anew = run.record.only_sync && !plan.has_own_operations;
        match (self.is_same_run(run, prepared), is_decided_anew) {
            (true, _) => OpenRunFate::Resumed,
            (false, false) => OpenRunFate::InTheWay,
            (false, true) if self.scope.is_part() => OpenRunFate::StaysOpen,
            (false, true) => OpenRunFate::Superseded,
        }
    }
}

/// The ordinal by which rows of this export are recorded. Beside an open run over
/// the same export, a part's rows are rows of that run's: data that came between
/// is later than both.
fn export_id(
    checkpoint: &Checkpoint,
    prepared: &PreparedExport,
    scope: RunScope,
    mapping: SettingsHash,
) -> Result<ExportId, CheckpointError> {
    let mut open = if scope.is_part() { checkpoint.open_runs()? } else { Vec::new() };
    match open.iter().position(|run| run.export.hash == prepared.hash) {
        Some(at) => Ok(open.swap_remove(at).export),
        None => checkpoint.export_id(prepared.hash, mapping),
    }
}

/// What becomes of an open run when this export is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenRunFate {
    Resumed,
    /// Its rows are decided anew.
    Superseded,
    /// This run is a part, and leaves it as it is.
    StaysOpen,
    /// It is a request, which any run leaves as it is.
    Request,
    /// Rows name operations of their own, which could be lost: it blocks this run.
    InTheWay,
}
