//! Exit codes, computed in one place.

use crate::checkpoint::CheckpointError;
use crate::config::ConfigError;
use crate::dispatch::Stop;
use crate::omnidesk::{ClientError, KeyError};
use crate::planning::{Counts, Verdict};
use crate::report::FilesError;
use crate::source::SourceError;

/// How the program ends. The numbers are the public interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Every row is applied, unchanged or skipped by rule.
    Clean = 0,
    /// Finished; some rows are rejected, failed or in doubt.
    Troubles = 1,
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
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The mapping does not fit the export.
    #[error("the configuration does not fit {export}:\n{}", problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n"))]
    Mapping {
        /// The export.
        export: String,
        /// One sentence each.
        problems: Vec<String>,
    },
    /// The export.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The HTTP client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The result files.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The sandbox.
    #[error("the sandbox: {0}")]
    Sandbox(String),
    /// An option.
    #[error("{0}")]
    Usage(String),
    /// An open run over another export, whose rows could be lost.
    #[error(
        "{open} of {rows} rows of an earlier run, begun {started}, are not settled, and rows name operations of their own, so that they cannot be decided anew.\n  finish it: {way}\n  or give its rows up: the same command with --fresh"
    )]
    OpenRun {
        /// Rows not settled.
        open: u64,
        /// Rows of that run.
        rows: u64,
        /// Its start.
        started: String,
        /// How to finish it.
        way: String,
    },
    /// A signal came before the first call.
    #[error("interrupted before the first call; nothing was sent")]
    Interrupted,
    /// The time window closed before the first call.
    #[error(
        "the time window closed before the first call; nothing was sent. Reading the export alone took that long: give the run more time"
    )]
    WindowClosed,
    /// A guard.
    #[error(
        "blocked before the first call; nothing was sent.\n{}{}",
        said(verdicts),
        command.as_ref().map(|command| format!("\nif all of that is meant, this is the command:\n  {command}")).unwrap_or_default()
    )]
    Blocked {
        /// What the guards say.
        verdicts: Vec<Verdict>,
        /// The command line that gives leave, if any can.
        command: Option<String>,
    },
    /// What the network and the signals need.
    #[error(
        "the system gives no room for network connections: {0}; is there a limit on open files or memory?"
    )]
    System(#[source] std::io::Error),
    /// stdout is gone.
    #[error("stdout: {0}")]
    Output(#[from] std::io::Error),
    /// A bug.
    #[error("this is a bug: {0}")]
    Bug(String),
}

fn said(verdicts: &[Verdict]) -> String {
    let lines: Vec<String> =
        verdicts.iter().map(|verdict| format!("  {}: {}", verdict.guard, verdict.message)).collect();
    lines.join("\n")
}

impl CommandError {
    /// The exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_)
            | Self::Mapping { .. }
            | Self::Source(_)
            | Self::Key(_)
            | Self::Client(_)
            | Self::Usage(_)
            | Self::OpenRun { .. }
            | Self::Sandbox(_)
            | Self::Checkpoint(CheckpointError::OtherTenant { .. } | CheckpointError::Foreign { .. }) => {
                Exit::Usage
            }
            Self::Checkpoint(CheckpointError::Locked { .. }) => Exit::Locked,
            Self::Blocked { .. } => Exit::Blocked,
            Self::Interrupted | Self::WindowClosed => Exit::Interrupted,
            Self::Checkpoint(_) | Self::Files(_) | Self::System(_) | Self::Output(_) | Self::Bug(_) => {
                Exit::Broken
            }
        }
    }
}

impl Exit {
    /// What it means, in words that name nobody.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Clean => "every row is applied",
            Self::Troubles => "some rows are rejected, failed or in doubt",
            Self::Usage => "usage, configuration or an unreadable export; nothing was sent",
            Self::Stopped => "stopped early; resumable",
            Self::Interrupted => "interrupted, or the time window closed; resumable",
            Self::Broken => "the machine or the program failed",
            Self::Locked => "another run holds the checkpoint",
            Self::Blocked => "a guard blocked the run before its first call",
        }
    }

    /// Of a run that began.
    #[must_use]
    pub fn of_run(stop: Option<&Stop>, counts: &Counts) -> Self {
        match stop {
            None if counts.is_clean() => Self::Clean,
            None => Self::Troubles,
            Some(Stop::Interrupted | Stop::WindowClosed) => Self::Interrupted,
            Some(Stop::RecorderGone | Stop::ExportLost { .. }) => Self::Broken,
            Some(_) => Self::Stopped,
        }
    }
}
