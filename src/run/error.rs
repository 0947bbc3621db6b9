use super::exit::Exit;
use crate::checkpoint::CheckpointError;
use crate::config::ConfigError;
use crate::guards::GuardVerdict;
use crate::omnidesk::{ClientError, SecretError};
use crate::plan::{OverrideCommand, PlanError, override_commands};
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
    Key(#[from] SecretError),
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
    /// The API does not answer as it must.
    #[error("{0}")]
    Stopped(String),
    #[error("interrupted; run the same command again to resume")]
    Interrupted,
    /// An open run over another export, whose rows could be lost.
    #[error(
        "{open} of {rows} rows of an earlier run, begun {started}, are not settled, and rows name operations of their own, so that they cannot be decided anew.\n  finish it: {finish}\n  or give its rows up: {give_up}"
    )]
    OpenRun {
        /// Rows without an outcome.
        open: u64,
        /// Rows of that run.
        rows: u64,
        started: String,
        /// How to finish it.
        finish: String,
        /// How to give it up.
        give_up: &'static str,
    },
    #[error(
        "blocked before {before}.\n{}{}",
        lines(verdicts),
        commands.iter().map(|command| format!("\n{command}")).collect::<String>()
    )]
    Blocked {
        /// What has not happened yet.
        before: &'static str,
        verdicts: Vec<GuardVerdict>,
        /// The command lines that override the guards.
        commands: Vec<OverrideCommand>,
    },
    /// No sockets or signals.
    #[error(
        "the system gives no room for network connections: {0}; is there a limit on open files or memory?"
    )]
    System(#[source] std::io::Error),
    #[error("the list of customers beside the checkpoint: {0}")]
    SavedList(#[source] std::io::Error),
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

/// What a guard blocks before.
pub(super) const FIRST_CALL: &str = "the first call; nothing was sent";

impl RunError {
    pub(crate) fn blocked(before: &'static str, verdicts: Vec<GuardVerdict>) -> Self {
        let commands = override_commands(&verdicts);
        Self::Blocked { before, verdicts, commands }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Plan(error) => Exit::from_plan_error(error),
            Self::Checkpoint(error) => Exit::from_checkpoint_error(error),
            Self::Blocked { .. } => Exit::Blocked,
            Self::Stopped(_) => Exit::Stopped,
            Self::Interrupted => Exit::Interrupted,
            Self::Config(_)
            | Self::Source(_)
            | Self::Key(_)
            | Self::Client(_)
            | Self::Usage(_)
            | Self::OpenRun { .. }
            | Self::Sandbox(_) => Exit::Usage,
            Self::Files(_) | Self::System(_) | Self::SavedList(_) | Self::Output(_) | Self::Bug(_) => {
                Exit::Broken
            }
        }
    }
}
