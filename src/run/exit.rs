//! Exit codes. The numbers are the public interface.

use crate::checkpoint::CheckpointError;
use crate::plan::PlanError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Every row is applied, unchanged or skipped by rule.
    Clean = 0,
    /// Finished; some rows are rejected, failed or in doubt.
    Problems = 1,
    /// Usage, configuration or an unreadable export; nothing was sent.
    Usage = 2,
    /// Stopped early; resumable.
    Stopped = 3,
    /// Interrupted, or the time window closed; resumable.
    Interrupted = 4,
    /// The machine or this program failed.
    Broken = 5,
    /// Another run holds the checkpoint.
    Locked = 6,
    /// A guard blocked the run before its first call.
    Blocked = 7,
    /// `plan --exit-code` alone: there are calls to make.
    CallsDue = 8,
}

impl Exit {
    /// For monitors: it names no customer.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Clean => "every row is applied",
            Self::Problems => "some rows are rejected, failed or in doubt",
            Self::Usage => "usage, configuration or an unreadable export; nothing was sent",
            Self::Stopped => "stopped early; resumable",
            Self::Interrupted => "interrupted, or the time window closed; resumable",
            Self::Broken => "the machine or the program failed",
            Self::Locked => "another run holds the checkpoint",
            Self::Blocked => "a guard blocked the run before its first call",
            Self::CallsDue => "there are calls to make",
        }
    }

    pub(crate) fn from_checkpoint_error(error: &CheckpointError) -> Self {
        match error {
            CheckpointError::OtherTenant { .. } | CheckpointError::Foreign { .. } => Self::Usage,
            CheckpointError::Locked { .. } => Self::Locked,
            _ => Self::Broken,
        }
    }

    pub(crate) fn from_plan_error(error: &PlanError) -> Self {
        match error {
            PlanError::Mapping { .. } | PlanError::Source(_) | PlanError::Usage(_) => Self::Usage,
            PlanError::Checkpoint(error) => Self::from_checkpoint_error(error),
            PlanError::Interrupted | PlanError::WindowClosed => Self::Interrupted,
            PlanError::Bug(_) => Self::Broken,
        }
    }
}
