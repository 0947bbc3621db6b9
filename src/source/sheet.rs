//! A sheet of a workbook, and why none can be read.

/// The most bytes of a sheet as CSV. One text may stand in a million cells.
pub(super) const COPY_BYTES_MAX: u64 = 16 << 30;

/// Why a workbook cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkbookFault {
    #[error("is a workbook that cannot be read: {0}; open it in a spreadsheet program and save it again")]
    Damaged(String),
    #[error("is a workbook, and [input] sets format = \"jsonl\"; set format = \"auto\"")]
    OtherFormat,
    #[error("has no sheet {name:?}; its sheets are {}", quoted(.names))]
    NoSheet { name: String, names: Vec<String> },
    #[error("is a workbook without a sheet of cells; check that it is the export that you mean")]
    NoSheets,
    #[error("the sheet {:?} is empty; it needs a header row with the names of its columns{}", .0.name, .0.others_hint())]
    EmptySheet(Sheet),
    #[error("the sheet {name:?} is larger than {} GiB as CSV; check it for values far from the table", COPY_BYTES_MAX >> 30)]
    TooLarge { name: String },
}

pub(super) fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

/// The sheet that was read.
#[derive(Debug)]
pub(super) struct Sheet {
    pub(super) name: String,
    /// Those of the workbook, as a person sees them.
    pub(super) names: Vec<String>,
    /// What a person should know of it.
    pub(super) notes: Vec<String>,
}

impl Sheet {
    /// How to read another sheet, if there is one.
    pub(super) fn others_hint(&self) -> String {
        let others: Vec<String> = self.names.iter().filter(|name| **name != self.name).cloned().collect();
        if others.is_empty() {
            return String::new();
        }
        format!("; for another sheet set sheet in [input], to {}", quoted(&others))
    }
}
