//! What a checkpoint means that was there and is no more.

use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::report::report_line;

pub(crate) fn warn_if_lost(checkpoint: &Path) {
    if let Some(lost) = lost(checkpoint) {
        report_line(&format!("{lost}. If that is not meant, stop this run and put the file back"));
    }
}

pub(crate) fn lost(checkpoint: &Path) -> Option<String> {
    Checkpoint::lost(checkpoint).map(|commits| {
        format!(
            "there is no checkpoint {} any more, and it was written {commits} times: every customer counts as new, purged ones too",
            checkpoint.display()
        )
    })
}
