//! stdout is for data, stderr for people.

use std::io::{self, Write};

/// Writes data to stdout.
pub(crate) fn print_data(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text)?;
    out.flush()
}

/// Writes a line for people to stderr. A closed stderr fails nothing.
pub(crate) fn report_line(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
