//! One writer: a lock on a file of its own, since the database's file is
//! replaced by tools that copy it. The kernel gives it back when its holder
//! dies, so it cannot go stale.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::CheckpointError;

/// Held as long as it lives.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "the lock lasts as long as the file is open")] File);

impl Lock {
    pub(super) fn take(checkpoint: &Path) -> Result<Self, CheckpointError> {
        let path = beside(checkpoint);
        let io = |source| CheckpointError::Io { path: path.clone(), source };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(CheckpointError::Locked { path: checkpoint.to_owned() }),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }
}

fn beside(checkpoint: &Path) -> PathBuf {
    let mut name = checkpoint.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}
