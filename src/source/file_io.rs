//! Reading a file from any place, and private copies of what is read only once.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

use super::error::ExportFault;

/// Bytes from which the format and the dialect are detected.
pub(super) const SAMPLE_BYTES: u64 = 64 << 10;
/// Bytes read at once while a whole file is copied or searched.
pub(super) const BLOCK_BYTES: usize = 1 << 20;

/// Reads a file from an offset on. Several readers share the file, and none
/// moves its cursor.
pub(super) struct ReadAt<'a> {
    pub(super) file: &'a File,
    pub(super) offset: u64,
}

impl Read for ReadAt<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.file.read_at(buffer, self.offset)?;
        self.offset += got as u64;
        Ok(got)
    }
}

pub(super) fn read_sample(file: &File, offset: u64) -> io::Result<Vec<u8>> {
    let mut sample = Vec::new();
    ReadAt { file, offset }.take(SAMPLE_BYTES).read_to_end(&mut sample)?;
    Ok(sample)
}

pub(super) fn write_error(source: io::Error) -> ExportFault {
    ExportFault::Spool { folder: std::env::temp_dir().display().to_string(), source }
}

pub(super) fn temporary_file() -> Result<File, ExportFault> {
    tempfile::tempfile().map_err(write_error)
}

/// Copies all of `from` into a temporary file that has no name.
pub(super) fn spool(
    from: &mut dyn Read,
    read_error: fn(io::Error) -> ExportFault,
) -> Result<File, ExportFault> {
    let mut file = temporary_file()?;
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        match from.read(&mut block) {
            Ok(0) => return Ok(file),
            Ok(got) => file.write_all(&block[..got]).map_err(write_error)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(read_error(error)),
        }
    }
}
