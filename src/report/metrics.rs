//! Figures for Prometheus' textfile collector: replaced as a whole, without
//! time stamps, which the collector refuses.

use std::io::Write;
use std::path::Path;

use super::files::FilesError;
use super::summary::Summary;
use crate::planning::Outcome;

/// Writes the figures of a run to `path`.
///
/// # Errors
///
/// [`FilesError`]
pub fn write_metrics(path: &Path, summary: &Summary) -> Result<(), FilesError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text(summary).as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)
    };
    write().map(drop).map_err(|source| FilesError { path: path.to_owned(), source })
}

fn text(summary: &Summary) -> String {
    let mut text = String::new();
    let mut metric = |name: &str, help: &str, samples: &[(String, String)]| {
        text.push_str(&format!("# HELP omnidesk_sync_{name} {help}\n# TYPE omnidesk_sync_{name} gauge\n"));
        for (labels, value) in samples {
            text.push_str(&format!("omnidesk_sync_{name}{labels} {value}\n"));
        }
    };
    let rows: Vec<_> = Outcome::ALL
        .iter()
        .map(|outcome| {
            (format!("{{outcome=\"{}\"}}", outcome.word()), summary.counts.get(*outcome).to_string())
        })
        .collect();
    metric("rows", "Rows of the last run by outcome.", &rows);
    if let Some(missing) = &summary.missing {
        let counts = [
            ("found", missing.found),
            ("purged", missing.counts.get(Outcome::Purged)),
            ("failed", missing.counts.get(Outcome::Failed)),
            ("not_named", missing.unnamed),
        ];
        let samples = counts.map(|(what, count)| (format!("{{what=\"{what}\"}}"), count.to_string()));
        metric("missing", "Known customers that the export of the last run does not hold.", &samples);
    }
    metric(
        "calls",
        "Calls that worked in the last execution.",
        &[(String::new(), summary.tally.done().to_string())],
    );
    metric(
        "duration_seconds",
        "Length of the last execution.",
        &[(String::new(), summary.took.as_secs_f64().to_string())],
    );
    metric(
        "exit_code",
        "Exit code of the last execution.",
        &[(String::new(), summary.exit_code.to_string())],
    );
    text
}
