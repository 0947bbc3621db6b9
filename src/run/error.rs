use super::exit::Exit;
use crate::checkpoint::CheckpointError;
use crate::config::ConfigError;
use crate::guards::GuardVerdict;
use crate::omnidesk::{ClientError, KeyError};
use crate::plan::{OVERRIDE_INTRO, PlanError};
use crate::report::FilesError;
use crate::source::SourceError;

/// Why a run did not start, or could not end in order.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error("the sandbox: {0}")]
    Sandbox(String),
    #[error("{0}")]
    Usage(String),
    /// An open run over another export, whose rows could be lost.
    #[error(
        "{open} of {rows} rows of an earlier run, begun {started}, are not settled, and rows name operations of their own, so that they cannot be decided anew.\n  finish it: {way}\n  or give its rows up: the same command with --fresh"
    )]
    OpenRun {
        /// Rows without an outcome.
        open: u64,
        /// Rows of that run.
        rows: u64,
        started: String,
        /// How to finish it.
        way: String,
    },
    #[error(
        "blocked before the first call; nothing was sent.\n{}{}",
        lines(verdicts),
        command.as_ref().map(|command| format!("\n{OVERRIDE_INTRO}\n  {command}")).unwrap_or_default()
    )]
    Blocked {
        verdicts: Vec<GuardVerdict>,
        /// The command line that overrides the guards, if any can.
        command: Option<String>,
    },
    /// No sockets or signals.
    #[error(
        "the system gives no room for network connections: {0}; is there a limit on open files or memory?"
    )]
    System(#[source] std::io::Error),
    #[error("stdout: {0}")]
    Output(#[from] std::io::Error),
    #[error("this is a bug: {0}")]
    Bug(String),
}

fn lines(verdicts: &[GuardVerdict]) -> String {
    let lines: Vec<String> =
        verdicts.iter().map(|verdict| format!("  {}: {}", verdict.guard, verdict.message)).collect();
    lines.join("\n")
}

impl RunError {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Plan(error) => Exit::from_plan_error(error),
            Self::Checkpoint(error) => Exit::from_checkpoint_error(error),
            Self::Blocked { .. } => Exit::Blocked,
            Self::Config(_)
            | Self::Source(_)
            | Self::Key(_)
            | Self::Client(_)
            | Self::Usage(_)
            | Self::OpenRun { .. }
            | Self::Sandbox(_) => Exit::Usage,
            Self::Files(_) | Self::System(_) | Self::Output(_) | Self::Bug(_) => Exit::Broken,
        }
    }
}
