use crate::checkpoint::CheckpointError;
use crate::source::SourceError;

/// Why an export cannot be planned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("the configuration does not fit {export}:\n{}", problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n"))]
    Mapping { export: String, problems: Vec<String> },
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("{0}")]
    Usage(String),
    /// A signal came before the first call.
    #[error("interrupted before the first call; nothing was sent")]
    Interrupted,
    #[error(
        "the time window closed before the first call; nothing was sent. Reading the export alone took that long: give the run more time"
    )]
    WindowClosed,
    #[error("this is a bug: {0}")]
    Bug(String),
}
