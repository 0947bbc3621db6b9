//! An export as a stream of rows.
//!
//! This room turns paths or standard input into [`Row`]s with their number
//! and physical line, and into an [`ExportHash`] of the content. It also writes
//! rows back for result files. It does not know what a column means.
//!
//! A run reads its export twice and returns to single rows later. A pipe, a
//! packed file or UTF-16 cannot be read again from a byte offset, so it is
//! first copied to a private temporary file. Memory use does not depend on the
//! size of the export, but for the texts of a workbook.
//!
//! Several files are one export: see `several`.
//!
//! A format is one file that implements `export::Format`: CSV in `csv`, JSON
//! lines in `jsonl`. A sheet of a workbook is copied as CSV, see `workbook`.

mod archive;
mod cell_syntax;
mod cells;
mod columns;
mod completeness;
mod csv;
mod dialect;
mod error;
mod export;
mod file_io;
mod format;
mod jsonl;
mod records;
mod rows;
mod sample;
mod settings;
mod several;
mod sheet;
mod signatures;
mod text_encoding;
mod text_file;
mod workbook;

pub use columns::Columns;
pub(crate) use csv::no_formula;
pub use dialect::{Dialect, LineEnd};
pub use error::SourceError;
pub use export::{Export, ExportHash, ResultCell};
pub(crate) use export::{MAPPED_ID, ORIGIN, UNDO, mapped_id_cell, name_of};
pub use format::open;
pub(crate) use format::open_memory;
pub(crate) use jsonl::LIST_SEPARATOR;
pub use rows::{BadText, NoRows, RECORD_BYTES_MAX, Row, RowFault, RowRef, Rows, Skipped};
pub use sample::Sample;
pub use settings::{
    DelimiterSetting, EncodingSetting, EscapeSetting, FormatSetting, InputSettings, QuoteSetting, SkipSetting,
};
pub(crate) use several::{guess_encoding, open_all};
pub use text_encoding::TextEncoding;
