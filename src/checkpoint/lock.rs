//! One writer: a lock on a file of its own, since tools that copy a database
//! replace its file. The kernel releases the lock when its holder dies, so it
//! cannot go stale.
//!
//! The file also holds the number of commits so far. SQLite takes damage in a
//! write-ahead log for the log's end, and a lost log for none, so what was
//! committed there would be forgotten. A checkpoint with fewer commits than
//! are noted here has lost some.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::CheckpointError;

/// Held as long as it lives.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    /// Takes the lock of a checkpoint, which need not be there yet.
    pub(crate) fn take(checkpoint: &Path) -> Result<Self, CheckpointError> {
        if let Some(folder) = checkpoint.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|source| CheckpointError::io(checkpoint, source))?;
        }
        let path = lock_path(checkpoint);
        let io = |source| CheckpointError::io(&path, source);
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

    /// Notes a commit that is on the disk.
    ///
    /// It is not synced, and whether it could be written does not matter: an
    /// old note claims less than there is, never more.
    pub(super) fn note(&self, commits: u64) {
        let _ = self.0.write_all_at(format!("{commits:020}\n").as_bytes(), 0);
    }
}

/// The commits that were noted, 0 where nothing legible was.
pub(super) fn noted_commits(checkpoint: &Path) -> u64 {
    let note = std::fs::read_to_string(lock_path(checkpoint)).unwrap_or_default();
    note.trim_end().parse().unwrap_or(0)
}

pub(super) fn lock_path(checkpoint: &Path) -> PathBuf {
    path_beside(checkpoint, ".lock")
}

/// The path with an ending behind its name.
pub(crate) fn path_beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
