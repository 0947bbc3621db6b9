//! How far a run is, for `status`: a file beside the checkpoint that the run locks
//! and keeps up to date.
//!
//! The lock shows whether the run is still there: the kernel releases it, however
//! the process ends. The file holds numbers and times, and names no customer.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A run that executes now.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
pub(crate) struct RunningStatus {
    pub(crate) pid: u32,
    /// In UTC.
    pub(crate) started: String,
    /// As SIGUSR1 shows it.
    pub(crate) line: String,
    /// Rows with calls to make; none before the export is read.
    pub(crate) rows: Option<u64>,
    pub(crate) rows_done: u64,
    /// The calls that were planned, or that were made if those are more.
    pub(crate) calls: u64,
    pub(crate) calls_done: u64,
    /// Requests that the server refused for its limit.
    pub(crate) refused: u64,
    /// Requests that were sent again for another reason.
    pub(crate) retried: u64,
    pub(crate) seconds_left: Option<u64>,
    /// What nothing is sent for, and until when.
    pub(crate) waiting: Option<String>,
    /// The rate, and how long it holds.
    pub(crate) rate: Option<String>,
}

/// Beside a checkpoint.
pub(crate) const STATUS_ENDING: &str = ".status";

/// Written by the run.
#[derive(Debug)]
pub(crate) struct StatusFile(File);

impl StatusFile {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        options.open(path).map(Self)
    }

    /// A status that cannot be written fails no run.
    pub(crate) fn write(&self, status: &RunningStatus) {
        // A reader may hold it for a moment; then the next status takes it.
        let _ = self.0.try_lock();
        let text = serde_json::to_string(status).unwrap_or_default() + "\n";
        let written = self.0.write_all_at(text.as_bytes(), 0);
        let _ = written.and_then(|()| self.0.set_len(text.len() as u64));
    }
}

impl Drop for StatusFile {
    /// Not removed: the next run may have it open already.
    fn drop(&mut self) {
        let _ = self.0.set_len(0);
    }
}

/// The run that executes now, if any.
pub(crate) fn read_status(path: &Path) -> Option<RunningStatus> {
    // It may be read while it is being written.
    const READS_MAX: u32 = 10;
    (0..READS_MAX).find_map(|_| {
        let mut file = File::open(path).ok()?;
        if file.try_lock_shared().is_ok() {
            return None;
        }
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        serde_json::from_str(text.lines().next()?).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_there_as_long_as_its_writer_lives() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("a.status");
        assert_eq!(read_status(&path), None);
        let file = StatusFile::create(&path).expect("a file");
        let status = RunningStatus { pid: 7, line: "a long line".repeat(9), ..RunningStatus::default() };
        file.write(&status);
        assert_eq!(read_status(&path), Some(status));
        let shorter = RunningStatus { pid: 7, ..RunningStatus::default() };
        file.write(&shorter);
        assert_eq!(read_status(&path), Some(shorter));
        // As after a kill: the text is still there, the lock is not.
        let text = std::fs::read(&path).expect("a text");
        drop(file);
        assert_eq!(read_status(&path), None);
        std::fs::write(&path, text).expect("written");
        assert_eq!(read_status(&path), None);
    }
}
