//! How many folders of runs are kept: they hold customers' data.
//!
//! Only the folders of this program are ever deleted: by their name and summary,
//! and if they hold no other file. Links are not followed.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use encoding_rs::{UTF_16BE, UTF_16LE};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value;

use super::files::{FilesError, folder_prefix};
use crate::source::TextEncoding;

pub(crate) const SUMMARY_FILE: &str = "summary.json";

/// Everything that this program writes into the folder of a run.
const OWN_FILES: [&str; 14] = [
    SUMMARY_FILE,
    "report.html",
    "outcomes.csv",
    "missing.csv",
    "notices.csv",
    "notices.jsonl",
    "failed.csv",
    "failed.jsonl",
    "rejected.csv",
    "rejected.jsonl",
    "in_doubt.csv",
    "in_doubt.jsonl",
    "undo.csv",
    "undo.jsonl",
];

/// `keep_runs`: a number of folders, the newest ones, or all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub struct KeepRuns(pub(crate) Option<u32>);

impl Default for KeepRuns {
    /// Three months of nights.
    fn default() -> Self {
        Self(Some(90))
    }
}

impl JsonSchema for KeepRuns {
    fn schema_name() -> Cow<'static, str> {
        "KeepRuns".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "integer", "minimum": 1 }, { "const": "all" }] })
    }
}

impl TryFrom<Value> for KeepRuns {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match value.as_u64().map(u32::try_from) {
            Some(Ok(count @ 1..)) => Ok(Self(Some(count))),
            None if value == "all" => Ok(Self(None)),
            _ => Err("it is no number of runs; write one from 1 on, such as 90, or \"all\"".to_owned()),
        }
    }
}

/// Deletes the folders below `dir` that are older than the `keep` newest, of which
/// `current` is one. Returns their number. A run that its summary shows as resumable
/// keeps its folder, unless `is_over` contradicts.
pub(crate) fn sweep(
    dir: &Path,
    keep: KeepRuns,
    current: &Path,
    is_over: impl Fn(&Path) -> bool,
) -> Result<usize, FilesError> {
    let KeepRuns(Some(keep)) = keep else { return Ok(0) };
    let dir = dir.canonicalize().map_err(FilesError::at(dir))?;
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(&dir).map_err(FilesError::at(&dir))? {
        let path = entry.map_err(FilesError::at(&dir))?.path();
        if path != current
            && let Some(summary) = read_summary(&path)
        {
            folders.push((path, summary));
        }
    }
    // Names begin with the time.
    folders.sort_unstable_by(|(first, _), (second, _)| first.cmp(second));
    let surplus = (folders.len() + 1).saturating_sub(keep as usize);
    let mut deleted = 0;
    for (path, summary) in folders.into_iter().take(surplus) {
        if !is_resumable(&summary) || is_over(&path) {
            deleted += usize::from(delete(&path).map_err(FilesError::at(path))?);
        }
    }
    Ok(deleted)
}

/// The folder of the last run for a tenant, over an export of this name if there is
/// one. Its digits may be a date.
pub(crate) fn last_run_of(
    dir: &Path,
    tenant: &str,
    export: Option<&str>,
) -> Result<Option<PathBuf>, FilesError> {
    let name = export.map(export_stem);
    let mut last = None;
    for path in entries(dir)? {
        let is_same = read_summary(&path).is_some_and(|summary| {
            let has_name = name.is_none() || summary["export"].as_str().map(export_stem) == name;
            summary["tenant"] == tenant && has_name
        });
        if is_same {
            last = last.max(Some(path));
        }
    }
    Ok(last)
}

/// The name of an export without its numbers of several digits, which may be a date.
fn export_stem(export: &str) -> String {
    let name = Path::new(export).file_name().unwrap_or_default().to_string_lossy();
    let is_digit = |letter: char| letter.is_ascii_digit();
    let mut stem = String::with_capacity(name.len());
    let mut rest = &*name;
    while let Some(from) = rest.find(is_digit) {
        let (text, digits) = rest.split_at(from);
        let end = digits.find(|letter| !is_digit(letter)).unwrap_or(digits.len());
        stem.push_str(text);
        // One digit is a number of a brand, or of a shop.
        stem.push_str(if end == 1 { &digits[..1] } else { "" });
        rest = &digits[end..];
    }
    stem + rest
}

/// The summary of the run before the one in `folder`, like it: for the same tenant, over
/// an export of the same name, and whole or a part as it is.
pub(crate) fn run_before(
    folder: &Path,
    (tenant, export): (&str, &str),
    is_part: bool,
) -> Result<Option<Value>, FilesError> {
    // The port of a rehearsal changes.
    let host = |tenant: &str| match tenant.strip_prefix("http://") {
        Some(local) => local.rsplit_once(':').map_or(local, |(host, _)| host).to_owned(),
        None => tenant.to_owned(),
    };
    let is_like_it = |summary: &Value| {
        let text = |key: &str| summary[key].as_str().unwrap_or_default().to_owned();
        host(&text("tenant")) == host(tenant)
            && export_stem(&text("export")) == export_stem(export)
            && summary["part"] == is_part
    };
    let mut before = entries(folder.parent().unwrap_or(Path::new("")))?;
    // Names begin with the time.
    before.retain(|path| path.file_name() < folder.file_name());
    before.sort_unstable();
    Ok(before.iter().rev().filter_map(|path| read_summary(path)).find(is_like_it))
}

/// A text that is searched in files of runs.
pub(crate) struct Word {
    text: String,
    /// In the encoding of the exports, if one is set.
    encoded: Option<Vec<u8>>,
}

impl Word {
    /// Files have the encodings of their exports: UTF-8, UTF-16, or this one.
    pub(crate) fn new(text: &str, encoding: Option<TextEncoding>) -> Self {
        Self { text: text.to_owned(), encoded: encoding.map(|encoding| encoding.encode(text)) }
    }

    /// Whether the file exists and holds it as a word of its own.
    pub(crate) fn is_in(&self, file: &Path) -> Result<bool, FilesError> {
        if !file.symlink_metadata().is_ok_and(|file| file.is_file()) {
            return Ok(false);
        }
        let (bytes, word) = (std::fs::read(file).map_err(FilesError::at(file))?, self.text.as_bytes());
        Ok(has_word(&bytes, word)
            || self.encoded.as_ref().is_some_and(|word| has_word(&bytes, word))
            || wide_texts(&bytes).any(|text| has_word(text.as_bytes(), word)))
    }
}

/// The files of runs below `dir` that hold this word.
pub(crate) fn files_with(dir: &Path, word: &Word) -> Result<Vec<PathBuf>, FilesError> {
    let mut found = Vec::new();
    for folder in entries(dir)? {
        for file in OWN_FILES.iter().map(|name| folder.join(name)) {
            if word.is_in(&file)? {
                found.push(file);
            }
        }
    }
    Ok(found)
}

/// What is in `dir`: nothing if there is no such folder.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, FilesError> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(FilesError::at(dir))?,
    };
    entries.map(|entry| Ok(entry.map_err(FilesError::at(dir))?.path())).collect()
}

/// Whether the text has the word with no letter or digit beside it.
fn has_word(text: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find_iter(text, word).any(|at| {
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        [before, text.get(at + word.len())].into_iter().flatten().all(|byte| !byte.is_ascii_alphanumeric())
    })
}

/// What the bytes are as UTF-16, if they may be that.
fn wide_texts(bytes: &[u8]) -> impl Iterator<Item = Cow<'_, str>> {
    let is_wide = memchr::memchr(0, bytes).is_some();
    let encodings = [UTF_16LE, UTF_16BE].into_iter().filter(move |_| is_wide);
    encodings.map(|encoding| encoding.decode_without_bom_handling(bytes).0)
}

/// The summary of the run in this folder, if this program made it.
pub(crate) fn read_summary(path: &Path) -> Option<Value> {
    let file = path.join(SUMMARY_FILE);
    // Neither of the two may be a link.
    if !path.symlink_metadata().ok()?.is_dir() || !file.symlink_metadata().ok()?.is_file() {
        return None;
    }
    let summary: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    let started = summary["started"].as_str().filter(|time| time.parse::<jiff::Timestamp>().is_ok())?;
    let is_own = path.file_name()?.to_str()?.starts_with(&folder_prefix(started))
        && summary["export_hash"].is_string()
        && summary["outcomes"]["not_attempted"].is_u64();
    is_own.then_some(summary)
}

fn is_resumable(summary: &Value) -> bool {
    summary["outcomes"]["not_attempted"] != 0 || !summary["stopped"].is_null()
}

/// Deletes a folder that holds only files of this program; `false` if there is
/// anything else. The summary is deleted last: until then the next run recognises
/// the folder.
fn delete(folder: &Path) -> io::Result<bool> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let is_own = entry.file_name().to_str().is_some_and(|name| OWN_FILES.contains(&name));
        if !is_own || !entry.file_type()?.is_file() {
            return Ok(false);
        }
        files.push(entry.path());
    }
    files.sort_by_key(|path| path.ends_with(SUMMARY_FILE));
    files.iter().try_for_each(std::fs::remove_file)?;
    std::fs::remove_dir(folder)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A folder of a run of that day, with so many rows not attempted.
    fn run(dir: &Path, day: u32, not_attempted: u64) -> PathBuf {
        let folder = dir.join(format!("202611{day:02}T023000Z-customers"));
        std::fs::create_dir(&folder).expect("a folder");
        let summary = serde_json::json!({
            "started": format!("2026-11-{day:02}T02:30:00.123Z"),
            "export_hash": "00",
            "outcomes": { "not_attempted": not_attempted },
            "stopped": null,
        });
        std::fs::write(folder.join(SUMMARY_FILE), summary.to_string()).expect("a summary");
        std::fs::write(folder.join("failed.csv"), "id\n").expect("a file");
        folder
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).expect("a folder");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .map(|name| {
                name.get(6..8).filter(|_| name.starts_with("2026")).map_or(name.clone(), str::to_owned)
            })
            .collect();
        names.sort();
        names
    }

    fn keep(count: u32) -> KeepRuns {
        KeepRuns(Some(count))
    }

    #[test]
    fn the_newest_are_kept_and_the_current_one_is_among_them() {
        let dir = tempfile::tempdir().expect("a folder");
        let dir = dir.path().canonicalize().expect("a path");
        let folders: Vec<PathBuf> = (1..=5).map(|day| run(&dir, day, 0)).collect();
        assert_eq!(sweep(&dir, KeepRuns(None), &folders[4], |_| false).expect("swept"), 0);
        assert_eq!(sweep(&dir, keep(3), &folders[4], |_| false).expect("swept"), 2);
        assert_eq!(names(&dir), ["03", "04", "05"]);
        // A resumed run's folder is an old one.
        assert_eq!(sweep(&dir, keep(1), &folders[2], |_| false).expect("swept"), 2);
        assert_eq!(names(&dir), ["03"]);
    }

    #[test]
    fn an_open_run_keeps_its_folder_until_it_is_over() {
        let dir = tempfile::tempdir().expect("a folder");
        let dir = dir.path().canonicalize().expect("a path");
        let open = run(&dir, 1, 7);
        let current = run(&dir, 2, 0);
        assert_eq!(sweep(&dir, keep(1), &current, |_| false).expect("swept"), 0);
        assert_eq!(sweep(&dir, keep(1), &current, |path| path == open).expect("swept"), 1);
        assert_eq!(names(&dir), ["02"]);
    }

    #[test]
    fn folders_of_others_are_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        let dir = dir.path().canonicalize().expect("a path");
        let elsewhere = tempfile::tempdir().expect("a folder");
        let victim = run(elsewhere.path(), 3, 0);
        // With another file, with a folder, and without a summary.
        std::fs::write(run(&dir, 1, 0).join("failed-fixed.csv"), "").expect("a file");
        std::fs::create_dir(run(&dir, 2, 0).join("report.html")).expect("a folder");
        std::fs::remove_file(run(&dir, 4, 0).join(SUMMARY_FILE)).expect("removed");
        // Links to a folder of a run, and to its summary.
        symlink(&victim, dir.join("20261103T023000Z-customers")).expect("a link");
        let linked = run(&dir, 5, 0).join(SUMMARY_FILE);
        std::fs::remove_file(&linked).expect("removed");
        symlink(victim.join(SUMMARY_FILE), &linked).expect("a link");
        // A link in place of a result file keeps its folder too.
        symlink(victim.join("failed.csv"), run(&dir, 6, 0).join("outcomes.csv")).expect("a link");
        // Another name, and a summary of something else.
        std::fs::rename(run(&dir, 7, 0), dir.join("backup-20261107T023000Z")).expect("renamed");
        std::fs::write(run(&dir, 8, 0).join(SUMMARY_FILE), "{\"started\": \"2026\"}").expect("a file");
        let before = names(&dir);
        let current = run(&dir, 9, 0);
        assert_eq!(sweep(&dir, keep(1), &current, |_| true).expect("swept"), 0);
        assert_eq!(names(&dir).len(), before.len() + 1);
        assert_eq!(names(elsewhere.path()), ["03"]);
        assert!(victim.join("failed.csv").exists());
    }
}
