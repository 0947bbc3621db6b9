//! `verify`: compares the API's list of customers with an export and the checkpoint.
//!
//! The list is read in pages (`list_reader`). A file beside the checkpoint holds what
//! was read, so an interrupted reading is resumed (`saved_list`). The comparison names
//! customers of the export from a second reading, so no id is kept in memory
//! (`comparison`).

mod comparison;
mod export_customers;
mod list_reader;
mod saved_list;

pub(crate) use comparison::{CountComparison, compare};
pub(crate) use export_customers::ExportCustomers;
pub(crate) use list_reader::{ListError, ListReader, ListSource};
pub(crate) use saved_list::{ListScope, SavedList};
