//! The executed calls in a file. The next server begins with the content that they made.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::call::Call;

#[derive(Debug)]
pub(super) struct CallFile(File);

impl CallFile {
    /// Opens the file, or makes it. `take` gets the calls in it.
    pub(super) fn open(path: &Path, mut take: impl FnMut(Call)) -> io::Result<Self> {
        // It may hold personal data.
        let mut options = OpenOptions::new();
        let file = options.create(true).read(true).append(true).mode(0o600).open(path)?;
        let (mut reader, mut line, mut whole) = (BufReader::new(&file), Vec::new(), 0);
        while reader.read_until(b'\n', &mut line)? > 0 {
            // A server that was killed may have written a part of the last line.
            if !line.ends_with(b"\n") {
                break;
            }
            take(serde_json::from_slice(&line)?);
            whole += line.len() as u64;
            line.clear();
        }
        file.set_len(whole)?;
        Ok(Self(file))
    }

    /// In one write, so that a kill of the process loses nothing.
    pub(super) fn add(&mut self, call: &Call) -> io::Result<()> {
        let mut line = serde_json::to_vec(call)?;
        line.push(b'\n');
        self.0.write_all(&line)
    }
}
