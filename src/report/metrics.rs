//! Metrics for Prometheus' textfile collector (node_exporter): the file is
//! replaced as a whole, and has no time stamps, which the collector refuses.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::files::FilesError;
use super::summary::Summary;
use crate::reconcile::Outcome;

/// Readable for everybody: the collector is another user, and the file names no
/// customer. A stricter umask overrides it.
const MODE: u32 = 0o644;

/// The most that is read of an earlier file; ours has a few kilobytes.
const EARLIER_BYTES_MAX: u64 = 1 << 16;

const LAST_SUCCESS: &str = "last_success_timestamp_seconds";

/// The end of an execution, also of one without a summary.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExecutionReport<'a> {
    pub(crate) exit_code: u8,
    /// By `success_codes`.
    pub(crate) is_success: bool,
    pub(crate) took: Duration,
    pub(crate) summary: Option<&'a Summary>,
}

/// Checks that the file can be written, so that a run of hours does not end with a
/// typing error.
pub(crate) fn check_metrics_file(path: &Path) -> Result<(), FilesError> {
    temporary_file(path).map(drop).map_err(FilesError::at(path))
}

/// Writes the metrics of an execution to `path`. A failure keeps the time of the
/// last success of the file before it.
pub(crate) fn write_metrics(path: &Path, execution: &ExecutionReport) -> Result<(), FilesError> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let last_success = if execution.is_success { Some(now) } else { last_success(path) };
    // Two files of one folder must not hold the same series.
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let write = || {
        let mut file = temporary_file(path)?;
        file.write_all(text(&name, execution, now, last_success).as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)
    };
    write().map(drop).map_err(FilesError::at(path))
}

/// A file beside it. The collector does not read it, because of the end of its name.
fn temporary_file(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(MODE)).tempfile_in(folder)
}

/// The time in the file at `path`, if this program wrote it.
fn last_success(path: &Path) -> Option<u64> {
    let mut text = String::new();
    File::open(path).ok()?.take(EARLIER_BYTES_MAX).read_to_string(&mut text).ok()?;
    let line = text.lines().find(|line| line.starts_with(&format!("omnidesk_sync_{LAST_SUCCESS}{{")))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// All lines have the name of the file as the label `sync`.
struct Lines<'a> {
    text: String,
    name: &'a str,
}

impl Lines<'_> {
    /// One metric. Each sample has at most one label of its own.
    fn gauge(&mut self, metric: &str, help: &str, samples: &[(Option<(&str, &str)>, String)]) {
        let name = escaped(self.name);
        let text = &mut self.text;
        let _ = writeln!(text, "# HELP omnidesk_sync_{metric} {help}");
        let _ = writeln!(text, "# TYPE omnidesk_sync_{metric} gauge");
        for (label, value) in samples {
            let label = label.map(|(label, value)| format!(",{label}=\"{value}\"")).unwrap_or_default();
            let _ = writeln!(text, "omnidesk_sync_{metric}{{sync=\"{name}\"{label}}} {value}");
        }
    }
}

/// The value of a label.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn text(name: &str, execution: &ExecutionReport, now: u64, last_success: Option<u64>) -> String {
    let mut lines = Lines { text: String::new(), name };
    let one = |value: String| [(None, value)];
    lines.gauge("exit_code", "Exit code of the last execution.", &one(execution.exit_code.to_string()));
    let seconds = execution.took.as_secs_f64().to_string();
    lines.gauge("duration_seconds", "Length of the last execution.", &one(seconds));
    lines.gauge("end_timestamp_seconds", "End of the last execution.", &one(now.to_string()));
    if let Some(time) = last_success {
        lines.gauge(LAST_SUCCESS, "End of the last successful execution.", &one(time.to_string()));
    }
    if let Some(summary) = execution.summary {
        write_summary(&mut lines, summary);
    }
    lines.text
}

fn write_summary(lines: &mut Lines, summary: &Summary) {
    let rows = Outcome::ALL
        .map(|outcome| (Some(("outcome", outcome.as_str())), summary.counts.get(outcome).to_string()));
    lines.gauge("rows", "Rows of the last run by outcome.", &rows);
    if let Some(missing) = &summary.missing {
        let counts = [
            ("found", missing.found),
            ("purged", missing.counts.get(Outcome::Purged)),
            ("failed", missing.counts.get(Outcome::Failed)),
            ("without_id", missing.without_id),
        ];
        let samples = counts.map(|(state, count)| (Some(("state", state)), count.to_string()));
        lines.gauge("missing", "Known customers that the export of the last run does not hold.", &samples);
    }
    let calls: Vec<_> = summary
        .tally
        .by_kind()
        .map(|(kind, calls)| (Some(("call", kind.as_str())), calls.to_string()))
        .collect();
    lines.gauge("calls", "Calls that worked in the last execution, by kind.", &calls);
    let totals = [
        ("calls_refused", "Calls that failed in the last execution.", summary.tally.refused),
        ("requests", "Requests sent in the last execution.", summary.tally.requests),
        ("calls_planned", "Calls of the last run's plan.", summary.calls_planned),
        ("creates_in_doubt", "Creates whose answer was lost.", summary.creates_in_doubt),
    ];
    for (metric, help, value) in totals {
        lines.gauge(metric, help, &[(None, value.to_string())]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(exit_code: u8) -> ExecutionReport<'static> {
        ExecutionReport {
            exit_code,
            is_success: exit_code == 0,
            took: Duration::from_millis(1500),
            summary: None,
        }
    }

    #[test]
    fn a_failure_keeps_the_time_of_the_last_success() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("nightly.prom");
        let read = || std::fs::read_to_string(&path).expect("a file");
        write_metrics(&path, &failed(7)).expect("written");
        assert!(!read().contains(LAST_SUCCESS) && last_success(&path).is_none());
        write_metrics(&path, &failed(0)).expect("written");
        let success = last_success(&path).expect("a time");
        write_metrics(&path, &failed(3)).expect("written");
        assert_eq!(last_success(&path), Some(success));
        assert!(read().contains("omnidesk_sync_exit_code{sync=\"nightly\"} 3\n"), "{}", read());
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn a_file_name_cannot_break_its_line() {
        let text = text("a\"b\\c\nd", &failed(1), 7, None);
        assert!(text.contains(r#"{sync="a\"b\\c\nd"} 1"#), "{text}");
    }

    #[test]
    fn a_missing_folder_is_reported_before_the_run() {
        assert!(check_metrics_file(Path::new("/nowhere/at/all.prom")).is_err());
    }
}
