//! The files of a run: `runs/<UTC start>-<export name>/`.
//!
//! Lines are appended, and the checkpoint notes in the same commit how long
//! each file is. After a crash, what stands behind that length is cut off, so
//! that every line is there once.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::dispatch::{CallLine, Problem};
use crate::guards::Notices;
use crate::mapping::{Customer, Place};
use crate::reconcile::Outcome;
use crate::source::{Export, ResultCell, ResultValue, RowRef};

/// A result file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub(crate) struct FilesError {
    pub path: PathBuf,
    pub source: io::Error,
}

const CALLS_FILE: &str = "outcomes.csv";

/// Customers whom the export does not hold.
pub(crate) const MISSING_FILE: &str = "missing.csv";
const MISSING_HEADER: &[u8] = b"brand_id,primary_id,outcome,code,message,hint,http_status,attempts\n";

/// All of `missing.csv`, for those who are only reported.
pub(crate) fn missing_file(customers: impl Iterator<Item = Customer>) -> Vec<u8> {
    let mut text = MISSING_HEADER.to_vec();
    customers.for_each(|customer| text.extend(missing_line(&customer, "reported", None)));
    text
}

/// Writes a file into the folder of a run; see [`RunFiles::write_whole`].
pub(crate) fn write_into(folder: &Path, name: &str, content: &[u8]) -> Result<(), FilesError> {
    let write = || -> io::Result<()> {
        // tempfile makes it 0600; a rename does not follow a planted link.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(folder.join(name)).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|source| FilesError { path: folder.join(name), source })
}

fn missing_line(customer: &Customer, outcome: &str, problem: Option<&Problem>) -> Vec<u8> {
    let (brand, id) = customer_cells(customer);
    let (code, message, hint) =
        problem.map_or(("", "", ""), |problem| (problem.code, &problem.message, &problem.hint));
    let status = problem.and_then(|problem| problem.status).map(|status| status.to_string());
    let attempts = problem.map(|problem| problem.attempts.to_string());
    csv_line(&[
        &brand,
        &id,
        outcome,
        code,
        message,
        hint,
        &status.unwrap_or_default(),
        &attempts.unwrap_or_default(),
    ])
}

fn customer_cells(customer: &Customer) -> (String, String) {
    (customer.brand_id.to_string(), customer.primary_id.as_str().to_owned())
}

fn csv_line(cells: &[&str]) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Into memory, with one record: neither can fail.
    let _ = writer.write_record(cells);
    writer.into_inner().unwrap_or_default()
}

/// Makes the folder of a run of `export` that starts at `started` (RFC 3339):
/// one that was not there before, mode 0700.
pub(crate) fn make_folder(dir: &Path, started: &str, export: &str) -> Result<PathBuf, FilesError> {
    let make = |path: &Path| std::fs::DirBuilder::new().mode(0o700).create(path);
    let error = |path: &Path, source| FilesError { path: path.to_owned(), source };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| error(dir, source))?;
    let dir = dir.canonicalize().map_err(|source| error(dir, source))?;
    let name = folder_name(started, export);
    for nth in 1.. {
        let path = dir.join(if nth == 1 { name.clone() } else { format!("{name}-{nth}") });
        match make(&path) {
            Err(taken) if taken.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| path.clone()).map_err(|source| error(&path, source)),
        }
    }
    Err(error(&dir, io::ErrorKind::AlreadyExists.into()))
}

fn folder_name(started: &str, export: &str) -> String {
    let time: String = started.chars().filter(char::is_ascii_alphanumeric).take(15).collect();
    let stem = Path::new(export).file_name().unwrap_or_default().to_string_lossy();
    let stem = stem.split('.').next().unwrap_or_default();
    let safe: String = stem
        .chars()
        .map(|letter| if letter.is_alphanumeric() || "-_".contains(letter) { letter } else { '-' })
        .take(60)
        .collect();
    format!("{time}Z-{}", if safe.is_empty() { "export" } else { &safe })
}

/// The result files of one run.
#[derive(Debug)]
pub(crate) struct RunFiles {
    folder: PathBuf,
    /// The name of the folder, as CSV.
    run_cell: Vec<u8>,
    export: Arc<Export>,
    files: BTreeMap<String, AppendFile>,
    second: SecondStamp,
    /// Reused for each line.
    line: Vec<u8>,
}

/// The time as text, made once a second.
#[derive(Debug, Default)]
struct SecondStamp {
    unix: i64,
    text: String,
}

impl SecondStamp {
    fn write_into(&mut self, line: &mut Vec<u8>) {
        let now = jiff::Timestamp::now();
        if self.text.is_empty() || now.as_second() != self.unix {
            self.unix = now.as_second();
            self.text = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        }
        line.extend_from_slice(self.text.as_bytes());
    }
}

#[derive(Debug)]
struct AppendFile {
    file: File,
    /// Lines that are not written yet.
    pending: Vec<u8>,
    len: u64,
    is_unsynced: bool,
}

impl RunFiles {
    /// Opens the files of a run at the lengths that are known to be whole. A
    /// file is made with its first line; one that was deleted is begun again,
    /// with a warning.
    pub(crate) fn open(
        folder: PathBuf,
        export: Arc<Export>,
        lengths: &[(String, u64)],
    ) -> Result<Self, FilesError> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut run_cell = csv_line(&[&name]);
        run_cell.pop();
        let (second, line) = (SecondStamp::default(), Vec::new());
        let mut files = Self { folder, run_cell, export, files: BTreeMap::new(), second, line };
        for (name, len) in lengths {
            match files.reopen(name, *len) {
                Ok(appended) => drop(files.files.insert(name.clone(), appended)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    tracing::warn!(
                        file = name,
                        "was deleted; its lines so far are lost, and it is begun again"
                    );
                }
                Err(source) => return Err(files.error(name, source)),
            }
        }
        Ok(files)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The names of the files.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Adds a line to `outcomes.csv`.
    pub(crate) fn add_call(&mut self, line: &CallLine) -> Result<(), FilesError> {
        let mut text = std::mem::take(&mut self.line);
        text.clear();
        self.second.write_into(&mut text);
        let (row, row_line) = match line.at {
            Place::Row(at) => (Some(at.number), Some(at.line)),
            Place::Missing(_) => (None, None),
        };
        let number = |text: &mut Vec<u8>, number: Option<u64>| {
            text.push(b',');
            text.extend(number.map(|number| number.to_string()).unwrap_or_default().bytes());
        };
        number(&mut text, row);
        number(&mut text, row_line);
        for cell in [line.kind.as_str(), line.result_text()] {
            text.push(b',');
            text.extend_from_slice(cell.as_bytes());
        }
        number(&mut text, line.status.map(u64::from));
        number(&mut text, Some(line.attempts.into()));
        text.push(b',');
        text.extend_from_slice(&self.run_cell);
        match &line.purged {
            None => text.extend_from_slice(b",,\n"),
            Some(customer) => {
                let (brand, id) = customer_cells(customer);
                text.push(b',');
                text.extend_from_slice(&csv_line(&[&brand, &id]));
            }
        }
        let header = b"time,row,line,call,result,http_status,attempts,run,brand_id,primary_id\n";
        let appended = self.append(CALLS_FILE, header, &text, Sync::Never);
        self.line = text;
        appended
    }

    /// Adds a line to `missing.csv`: a customer who was to be purged, and how
    /// that ended.
    pub(crate) fn add_missing(
        &mut self,
        customer: &Customer,
        outcome: Outcome,
        problem: Option<&Problem>,
    ) -> Result<(), FilesError> {
        let line = missing_line(customer, outcome.as_str(), problem);
        self.append(MISSING_FILE, MISSING_HEADER, &line, Sync::Always)
    }

    /// Adds a row to `failed`, `rejected` or `in_doubt`.
    pub(crate) fn add_problem(
        &mut self,
        at: RowRef,
        operation: &str,
        outcome: Outcome,
        problem: &Problem,
    ) -> Result<(), FilesError> {
        let name = format!("{}.{}", outcome.as_str(), self.export.result_extension());
        let results = result_cells(at, operation, problem);
        let line = self.export.result_row(at, &results).map_err(|source| self.error(&name, source))?;
        let header = self.export.result_header(&results);
        self.append(&name, &header, &line, Sync::Always)
    }

    /// Writes the rows that a person should know of to `notices`. Without such
    /// rows there is no file.
    pub(crate) fn write_notices(&self, notices: &Notices) -> Result<(), FilesError> {
        let name = self.notices_file();
        let mut content = Vec::new();
        for notice in notices.rows() {
            let problem = Problem {
                code: notice.kind.as_str(),
                column: notice.field.clone(),
                value: None,
                message: notice.message(),
                hint: notice.kind.hint().into(),
                status: None,
                attempts: 0,
            };
            let results = result_cells(notice.at, "", &problem);
            if content.is_empty() {
                content = self.export.result_header(&results);
            }
            let line =
                self.export.result_row(notice.at, &results).map_err(|source| self.error(&name, source))?;
            content.extend_from_slice(&line);
        }
        if content.is_empty() { Ok(()) } else { self.write_whole(&name, &content) }
    }

    /// The name of the file of notices, if there is one.
    pub(crate) fn notices_name(&self) -> Option<String> {
        let name = self.notices_file();
        self.folder.join(&name).is_file().then_some(name)
    }

    fn notices_file(&self) -> String {
        format!("notices.{}", self.export.result_extension())
    }

    fn append(&mut self, name: &str, header: &[u8], line: &[u8], sync: Sync) -> Result<(), FilesError> {
        if !self.files.contains_key(name) {
            let file = self.create(name).map_err(|source| self.error(name, source))?;
            self.files.insert(
                name.to_owned(),
                AppendFile { file, pending: header.to_vec(), len: 0, is_unsynced: false },
            );
        }
        if let Some(appended) = self.files.get_mut(name) {
            appended.pending.extend_from_slice(line);
            appended.is_unsynced |= sync == Sync::Always;
        }
        Ok(())
    }

    /// Writes everything out, and returns the lengths of the files. After this
    /// the rows with problems are on the disk. The lines of `outcomes.csv`
    /// survive the process; a power failure may cost the last of them.
    pub(crate) fn flush(&mut self) -> Result<Vec<(String, u64)>, FilesError> {
        let folder = &self.folder;
        self.files
            .iter_mut()
            .map(|(name, appended)| {
                let path = folder.join(name);
                match appended.flush(&path) {
                    Ok(()) => Ok((name.clone(), appended.len)),
                    Err(source) => Err(FilesError { path, source }),
                }
            })
            .collect()
    }

    /// Writes a file that is there as a whole or not at all.
    pub(crate) fn write_whole(&self, name: &str, content: &[u8]) -> Result<(), FilesError> {
        self.make_folder().map_err(|source| self.error(name, source))?;
        write_into(&self.folder, name, content)
    }

    fn make_folder(&self) -> io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)
    }

    fn create(&self, name: &str) -> io::Result<File> {
        self.make_folder()?;
        let path = self.folder.join(name);
        // A file from before the first commit, which a crash left, may be cut.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    fn reopen(&self, name: &str, len: u64) -> io::Result<AppendFile> {
        let path = self.folder.join(name);
        let mut file = OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
        let found = file.metadata()?.len();
        // Lines of calls are not synced one by one: a power failure may cost some.
        if found < len && name != CALLS_FILE {
            return Err(io::Error::other(format!(
                "is shorter than the {len} bytes that were written; put the file back, or delete it to begin it again"
            )));
        }
        let len = len.min(found);
        file.set_len(len)?;
        file.seek(SeekFrom::Start(len))?;
        Ok(AppendFile { file, pending: Vec::new(), len, is_unsynced: false })
    }

    fn error(&self, name: &str, source: io::Error) -> FilesError {
        FilesError { path: self.folder.join(name), source }
    }
}

/// Whether lines must survive a power failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sync {
    Always,
    Never,
}

impl AppendFile {
    fn flush(&mut self, path: &Path) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        // Nobody could read what is written to a file without a name.
        let (ours, named) = (self.file.metadata()?, std::fs::symlink_metadata(path));
        if !named.is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino())) {
            return Err(io::Error::other(
                "was deleted or replaced while this run wrote it; run the same command again to begin it again",
            ));
        }
        self.file.write_all(&self.pending)?;
        self.len += self.pending.len() as u64;
        self.pending.clear();
        if std::mem::take(&mut self.is_unsynced) {
            self.file.sync_data()?;
        }
        Ok(())
    }
}

/// The columns behind the export's own.
fn result_cells<'a>(at: RowRef, operation: &'a str, problem: &'a Problem) -> [ResultCell<'a>; 9] {
    use ResultValue::{Number, Text};
    let text = |text: &'a Option<String>| Text(text.as_deref().unwrap_or_default());
    [
        ("_sync_line", Number(at.line)),
        ("_sync_operation", Text(operation)),
        ("_sync_code", Text(problem.code)),
        ("_sync_field", text(&problem.column)),
        ("_sync_value", text(&problem.value)),
        ("_sync_message", Text(&problem.message)),
        ("_sync_hint", Text(&problem.hint)),
        ("_sync_http_status", problem.status.map_or(Text(""), |status| Number(status.into()))),
        ("_sync_attempts", Number(problem.attempts.into())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_by_time_and_export() {
        assert_eq!(
            folder_name("2026-11-23T17:05:09.123Z", "/data/Klanten (nieuw).csv.gz"),
            "20261123T170509Z-Klanten--nieuw-"
        );
        assert_eq!(folder_name("2026-11-23T17:05:09Z", "stdin"), "20261123T170509Z-stdin");
    }
}
