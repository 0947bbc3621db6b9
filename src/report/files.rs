//! The files of a run: `runs/<UTC start>-<export name>/`.
//!
//! Lines are appended, and the checkpoint records in the same commit how long
//! each file is. After a crash, each file is cut to that length, so every line is
//! there once.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::NamedTempFile;

use crate::dispatch::{CallLine, Problem};
use crate::guards::Notice;
use crate::mapping::{Customer, Mapping, Place, RejectionCode};
use crate::reconcile::{CustomerKey, Outcome};
use crate::source::{Export, MAPPED_ID, ORIGIN, ResultCell, Row, RowRef, mapped_id_cell, no_formula};

/// A result file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub(crate) struct FilesError {
    path: PathBuf,
    source: io::Error,
}

impl FilesError {
    pub(super) fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self { path, source }
    }
}

const CALLS_FILE: &str = "outcomes.csv";
const CALLS_HEADER: &str = "time,row,line,call,result,http_status,attempts,run,brand_id,primary_id\n";
/// If the export has several files.
const CALLS_HEADER_WITH_FILE: &str =
    "time,row,line,call,result,http_status,attempts,run,brand_id,primary_id,file\n";

/// Purges that a person asked for.
pub(crate) const RECEIPT_FILE: &str = "receipt.csv";
const RECEIPT_HEADER: &[u8] = b"time,customer,brand_id,outcome,code,http_status,run\n";

/// Customers that the export does not hold.
pub(crate) const MISSING_FILE: &str = "missing.csv";
/// Without its extension.
const NOTICES: &str = "notices";
const MISSING_HEADER: &str = "brand_id,primary_id,outcome,code,message,hint,http_status,attempts\n";

/// All of `missing.csv`, for customers that are only reported.
pub(crate) fn missing_file(customers: impl Iterator<Item = Customer>) -> Vec<u8> {
    let lines = customers.map(|customer| missing_line(&customer, "reported", None));
    format!("{MISSING_HEADER}{}", lines.collect::<String>()).into_bytes()
}

/// Writes a file into the folder of a run; see [`RunFiles::write_whole`].
pub(crate) fn write_into(folder: &Path, name: &str, content: &[u8]) -> Result<(), FilesError> {
    let mut file = NewFile::create(folder, name)?;
    file.write(content)?;
    file.finish()
}

/// A file that is there as a whole, once it is finished, or not at all.
pub(crate) struct NewFile {
    path: PathBuf,
    // tempfile makes it 0600.
    file: BufWriter<NamedTempFile>,
}

impl NewFile {
    pub(crate) fn create(folder: &Path, name: &str) -> Result<Self, FilesError> {
        let path = folder.join(name);
        let file = NamedTempFile::new_in(folder).map_err(FilesError::at(&path))?;
        Ok(Self { path, file: BufWriter::new(file) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn write(&mut self, content: &[u8]) -> Result<(), FilesError> {
        self.file.write_all(content).map_err(FilesError::at(&self.path))
    }

    pub(crate) fn finish(self) -> Result<(), FilesError> {
        let Self { path, file } = self;
        let finish = || -> io::Result<()> {
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.as_file().sync_all()?;
            // A rename does not follow a planted link.
            file.persist(&path).map_err(|error| error.error)?;
            path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        };
        finish().map_err(FilesError::at(&path))
    }
}

fn missing_line(customer: &Customer, outcome: &str, problem: Option<&Problem>) -> String {
    let (code, message, hint) =
        problem.map_or(("", "", ""), |problem| (problem.code, &problem.message, &problem.hint));
    let status = problem.and_then(|problem| problem.status).map(|status| status.to_string());
    let attempts = problem.map(|problem| problem.attempts.to_string());
    csv_line(&[
        &customer.brand_id.to_string(),
        customer.primary_id.as_str(),
        outcome,
        code,
        message,
        hint,
        &status.unwrap_or_default(),
        &attempts.unwrap_or_default(),
    ])
}

fn csv_line(cells: &[&str]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // One record of text into memory cannot fail.
    let _ = writer.write_record(cells.iter().map(|cell| no_formula(cell).into_owned()));
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

/// Makes the folder of a run of `export` that starts at `started` (RFC 3339):
/// one that did not exist before, mode 0700.
pub(crate) fn make_run_folder(dir: &Path, started: &str, export: &Export) -> Result<PathBuf, FilesError> {
    make_folder(dir).map_err(FilesError::at(dir))?;
    let dir = dir.canonicalize().map_err(FilesError::at(dir))?;
    let name = folder_name(started, &export.file_names());
    let mut path = dir.join(&name);
    let mut nth = 1;
    loop {
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                nth += 1;
                path = dir.join(format!("{name}-{nth}"));
            }
            Err(error) => return Err(FilesError::at(path)(error)),
            Ok(()) => return Ok(path),
        }
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// `20261123T170509Z-` for a time in RFC 3339.
pub(super) fn folder_prefix(started: &str) -> String {
    started.chars().filter(char::is_ascii_alphanumeric).take(15).chain("Z-".chars()).collect()
}

fn folder_name(started: &str, files: &[&str]) -> String {
    let prefix = folder_prefix(started);
    let stem = Path::new(files.first().unwrap_or(&"")).file_name().unwrap_or_default().to_string_lossy();
    let stem = stem.split('.').next().unwrap_or_default();
    let safe: String = stem
        .chars()
        .map(|letter| if letter.is_alphanumeric() || "-_".contains(letter) { letter } else { '-' })
        .take(60)
        .collect();
    let more = files.len().saturating_sub(1);
    let more = if more > 0 { format!("-and-{more}-more") } else { String::new() };
    format!("{prefix}{}{more}", if safe.is_empty() { "export" } else { &safe })
}

/// The result files of one run.
#[derive(Debug)]
pub(crate) struct RunFiles {
    folder: PathBuf,
    /// The name of the folder, as a cell of CSV.
    run_cell: String,
    export: Arc<Export>,
    mapping: Arc<Mapping>,
    files: BTreeMap<String, AppendFile>,
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
    /// file is made with its first line. A deleted one begins again, with a
    /// warning.
    pub(crate) fn open(
        folder: PathBuf,
        (export, mapping): (Arc<Export>, Arc<Mapping>),
        lengths: &[(String, u64)],
    ) -> Result<Self, FilesError> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let run_cell = csv_line(&[&name]).trim_end().to_owned();
        let mut files = Self { folder, run_cell, export, mapping, files: BTreeMap::new() };
        for (name, len) in lengths {
            match files.reopen(name, *len) {
                Ok(file) => drop(files.files.insert(name.clone(), file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    tracing::warn!(
                        file = name,
                        "was deleted; its lines so far are lost, and it begins again"
                    );
                }
                Err(error) => return Err(files.error(name)(error)),
            }
        }
        Ok(files)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Adds a line to `outcomes.csv`.
    pub(crate) fn add_call(&mut self, line: &CallLine) -> Result<(), FilesError> {
        let (row, row_line, file) = match line.at {
            Place::Row(at) => (at.number.to_string(), at.line.to_string(), at.file),
            Place::Missing(_) => Default::default(),
        };
        let customer = line
            .purged
            .as_ref()
            .map(|customer| csv_line(&[&customer.brand_id.to_string(), customer.primary_id.as_str()]));
        let customer = customer.as_deref().and_then(|cells| cells.strip_suffix('\n'));
        let (header, end) = if self.export.has_several_files() {
            (CALLS_HEADER_WITH_FILE, format!(",{}", csv_line(&[file.unwrap_or_default()])))
        } else {
            (CALLS_HEADER, "\n".to_owned())
        };
        // Faster than a CSV writer; the other cells need no quotes.
        let text = format!(
            "{:.0},{row},{row_line},{},{},{},{},{},{}{end}",
            jiff::Timestamp::now(),
            line.kind.as_str(),
            line.result_text(),
            line.status.map(|status| status.to_string()).unwrap_or_default(),
            line.attempts,
            self.run_cell,
            customer.unwrap_or(","),
        );
        self.append(CALLS_FILE, header.as_bytes(), text.as_bytes(), Sync::Never)
    }

    /// Adds a line to `missing.csv`: a customer to be purged, and the outcome.
    pub(crate) fn add_missing(
        &mut self,
        customer: &Customer,
        outcome: Outcome,
        problem: Option<&Problem>,
    ) -> Result<(), FilesError> {
        let line = missing_line(customer, outcome.as_str(), problem);
        self.append(MISSING_FILE, MISSING_HEADER.as_bytes(), line.as_bytes(), Sync::Always)
    }

    /// Adds a line to `receipt.csv`: the outcome of a purge that a person asked for.
    /// It names nobody, and so it has no text of the API either.
    pub(crate) fn add_receipt(
        &mut self,
        (key, brand_id): (CustomerKey, u64),
        outcome: Outcome,
        problem: Option<&Problem>,
    ) -> Result<(), FilesError> {
        let code = problem.map_or("", |problem| problem.code);
        let status = problem.and_then(|problem| problem.status).map(|status| status.to_string());
        let line = format!(
            "{:.0},{key},{brand_id},{},{code},{},{}\n",
            jiff::Timestamp::now(),
            outcome.as_str(),
            status.unwrap_or_default(),
            self.run_cell,
        );
        self.append(RECEIPT_FILE, RECEIPT_HEADER, line.as_bytes(), Sync::Always)
    }

    /// The columns behind the export's own. A row of a result file keeps the run and
    /// the row that it stands for.
    fn result_cells(&self, at: RowRef, operation: &str, problem: &Problem) -> io::Result<Vec<ResultCell>> {
        let mut row = Row::default();
        self.export.rows_from(at).read(&mut row)?;
        let own = || {
            let run = self.folder.file_name().map(|name| name.to_string_lossy().into_owned());
            (run.unwrap_or_default(), at.number)
        };
        let origin = self.export.origin(&row).map(|(run, row)| (run.into_owned(), row));
        let (run, number) = origin.unwrap_or_else(own);
        let mut cells = problem_cells(at, operation, problem);
        let id = self.mapped_id_cell(&row, problem.code);
        cells.extend([(ORIGIN.0, run.into()), (ORIGIN.1, number.into()), (MAPPED_ID, id.into())]);
        cells.extend(self.export.undo_cell(&row));
        Ok(cells)
    }

    /// The id with which a row is compared when it is run again; empty if the id
    /// itself is at fault.
    fn mapped_id_cell(&self, row: &Row, code: &str) -> String {
        if code == RejectionCode::PlaceholderId.as_str() {
            return String::new();
        }
        // A row that has one keeps it.
        let id = self.export.mapped_id(row).or_else(|| self.mapping.primary_id_of(row));
        id.map(|id| mapped_id_cell(&id)).unwrap_or_default()
    }

    /// Adds a row to `failed`, `rejected` or `in_doubt`, or a skipped one to `notices`.
    pub(crate) fn add_problem(
        &mut self,
        at: RowRef,
        operation: &str,
        outcome: Outcome,
        problem: &Problem,
    ) -> Result<(), FilesError> {
        // A skipped row has nothing to be fixed.
        let stem = if outcome == Outcome::Skipped { NOTICES } else { outcome.as_str() };
        let name = format!("{stem}.{}", self.export.result_extension());
        let results = self.result_cells(at, operation, problem).map_err(self.error(&name))?;
        let line = self.export.result_row(at, &results).map_err(self.error(&name))?;
        let header = self.export.result_header(&results);
        self.append(&name, &header, &line, Sync::Always)
    }

    /// Adds a row that deserves attention to `notices`.
    pub(crate) fn add_notice(&mut self, notice: &Notice) -> Result<(), FilesError> {
        let name = format!("{NOTICES}.{}", self.export.result_extension());
        let problem = Problem {
            code: notice.kind.as_str(),
            column: notice.field.clone(),
            value: None,
            message: notice.message(),
            hint: notice.kind.hint().into(),
            status: None,
            attempts: 0,
        };
        let results = self.result_cells(notice.at, "", &problem).map_err(self.error(&name))?;
        let line = self.export.result_row(notice.at, &results).map_err(self.error(&name))?;
        let header = self.export.result_header(&results);
        self.append(&name, &header, &line, Sync::Always)
    }

    fn append(&mut self, name: &str, header: &[u8], line: &[u8], sync: Sync) -> Result<(), FilesError> {
        if !self.files.contains_key(name) {
            let file = self.create(name).map_err(self.error(name))?;
            let file = AppendFile { file, pending: header.to_vec(), len: 0, is_unsynced: false };
            self.files.insert(name.to_owned(), file);
        }
        if let Some(file) = self.files.get_mut(name) {
            file.pending.extend_from_slice(line);
            file.is_unsynced |= sync == Sync::Always;
        }
        Ok(())
    }

    /// Writes everything out, and returns the lengths of the files. After this
    /// the rows with problems are on the disk. The lines of `outcomes.csv`
    /// survive the process; a power failure may cost the last of them.
    pub(crate) fn flush(&mut self) -> Result<Vec<(String, u64)>, FilesError> {
        let folder = &self.folder;
        let lengths = self.files.iter_mut().map(|(name, file)| {
            let path = folder.join(name);
            file.flush(&path).map_err(FilesError::at(path))?;
            Ok((name.clone(), file.len))
        });
        lengths.collect()
    }

    /// Writes a file that is there as a whole or not at all.
    pub(crate) fn write_whole(&self, name: &str, content: &[u8]) -> Result<(), FilesError> {
        make_folder(&self.folder).map_err(self.error(name))?;
        write_into(&self.folder, name, content)
    }

    fn create(&self, name: &str) -> io::Result<File> {
        make_folder(&self.folder)?;
        let path = self.folder.join(name);
        // A crash before the first commit may have left a cut file.
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    fn reopen(&self, name: &str, len: u64) -> io::Result<AppendFile> {
        let path = self.folder.join(name);
        let mut file = OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
        let len_found = file.metadata()?.len();
        // Lines of calls are not synced one by one: a power failure may cost some.
        if len_found < len && name != CALLS_FILE {
            return Err(io::Error::other(format!(
                "is shorter than the {len} bytes that were written; put the file back, or delete it to begin again"
            )));
        }
        let len = len.min(len_found);
        file.set_len(len)?;
        file.seek(SeekFrom::Start(len))?;
        Ok(AppendFile { file, pending: Vec::new(), len, is_unsynced: false })
    }

    fn error(&self, name: &str) -> impl FnOnce(io::Error) -> FilesError + use<> {
        FilesError::at(self.folder.join(name))
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
        // Nobody could read a file without a name.
        let id = self.file.metadata().map(|file| (file.dev(), file.ino()))?;
        if !std::fs::symlink_metadata(path).is_ok_and(|file| (file.dev(), file.ino()) == id) {
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

/// The columns behind the export's own, but for those of the origin and the id.
fn problem_cells(at: RowRef, operation: &str, problem: &Problem) -> Vec<ResultCell> {
    let file = at.file.map(|file| ("_sync_file", file.into()));
    let cells = [
        ("_sync_line", at.line.into()),
        ("_sync_operation", operation.into()),
        ("_sync_code", problem.code.into()),
        ("_sync_field", problem.column.as_deref().unwrap_or_default().into()),
        ("_sync_value", problem.value.as_deref().unwrap_or_default().into()),
        ("_sync_message", problem.message.as_str().into()),
        ("_sync_hint", problem.hint.as_ref().into()),
        ("_sync_http_status", problem.status.map_or_else(|| "".into(), Into::into)),
        ("_sync_attempts", problem.attempts.into()),
    ];
    file.into_iter().chain(cells).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_by_time_and_export() {
        assert_eq!(
            folder_name("2026-11-23T17:05:09.123Z", &["/data/Klanten (nieuw).csv.gz"]),
            "20261123T170509Z-Klanten--nieuw-"
        );
        assert_eq!(folder_name("2026-11-23T17:05:09Z", &["stdin"]), "20261123T170509Z-stdin");
        let files = ["../part-1.csv", "../part-2.csv", "-"];
        assert_eq!(folder_name("2026-11-23T17:05:09Z", &files), "20261123T170509Z-part-1-and-2-more");
    }
}
