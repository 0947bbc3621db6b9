use crate::checkpoint::CheckpointError;
use crate::config::ConfigError;
use crate::plan::PlanError;
use crate::run::{Exit, RunError};
use crate::source::SourceError;

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("the sandbox: {0}")]
    Sandbox(String),
    #[error("{0}")]
    Usage(String),
    #[error("stdout: {0}")]
    Output(#[from] std::io::Error),
}

impl CommandError {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Run(error) => error.exit(),
            Self::Plan(error) => Exit::from_plan_error(error),
            Self::Checkpoint(error) => Exit::from_checkpoint_error(error),
            Self::Config(_) | Self::Source(_) | Self::Sandbox(_) | Self::Usage(_) => Exit::Usage,
            Self::Output(_) => Exit::Broken,
        }
    }
}
