//! One writer: a lock on a file of its own, since tools that copy a database
//! replace its file. The checkpoint itself is locked too, since it can have
//! several names and so several such files. The kernel releases a lock when its
//! holder dies, so it cannot go stale.
//!
//! The lock of the checkpoint is another kind than SQLite's, and the two do not
//! meet. But SQLite's are released when any handle of the file is closed, so this
//! one has to stay open longer than the database.
//!
//! The lock file also holds the number of commits so far. SQLite takes damage in a
//! write-ahead log for the log's end, and a lost log for none, so what was
//! committed there would be forgotten. A checkpoint with fewer commits than
//! are noted here has lost some.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::CheckpointError;

/// Held as long as it lives.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    /// Locked once it is there.
    checkpoint: Option<File>,
}

impl Lock {
    /// Takes the lock of a checkpoint, which need not be there yet.
    pub(crate) fn take(checkpoint: &Path) -> Result<Self, CheckpointError> {
        if let Some(folder) = checkpoint.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|source| CheckpointError::io(checkpoint, source))?;
        }
        let path = lock_path(checkpoint);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            // Another file would be written, and the lock would be that file's.
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path);
        let file = file.map_err(|source| match source.raw_os_error() {
            Some(libc::ELOOP) => CheckpointError::LinkedLock { path: path.clone() },
            _ => CheckpointError::io(&path, source),
        })?;
        lock(&file, &path, checkpoint)?;
        Ok(Self { file, checkpoint: None })
    }

    /// Locks the checkpoint under all its names.
    pub(super) fn add_checkpoint(&mut self, checkpoint: &Path) -> Result<(), CheckpointError> {
        let file = File::open(checkpoint).map_err(|source| CheckpointError::io(checkpoint, source))?;
        lock(&file, checkpoint, checkpoint)?;
        self.checkpoint = Some(file);
        Ok(())
    }

    /// Notes a commit that is on the disk.
    ///
    /// It is not synced, and whether it could be written does not matter: an
    /// old note claims less than there is, never more.
    pub(super) fn note(&self, commits: u64) {
        let _ = self.file.write_all_at(format!("{commits:020}\n").as_bytes(), 0);
    }
}

fn lock(file: &File, path: &Path, checkpoint: &Path) -> Result<(), CheckpointError> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => CheckpointError::Locked { path: checkpoint.to_owned() },
        TryLockError::Error(source) => CheckpointError::io(path, source),
    })
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
