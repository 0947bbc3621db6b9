//! From a row to what it asks for.
//!
//! A [`Mapping`] is compiled once from the configuration and the columns of an
//! export. It turns each row into an [`Intent`]: customer, operation and values.
//! Or it turns it into a [`Rejection`], which names the column, the value, the
//! reason and the remedy. It does no I/O and knows nothing of calls.

mod addresses;
mod blanks;
mod cell_text;
mod compile;
mod countries;
mod expressions;
mod fill;
mod intent;
mod invisible;
mod key_hashes;
#[expect(clippy::module_inception, reason = "the room's main type")]
mod mapping;
mod names;
mod null_words;
mod operation;
mod phone;
mod region_guess;
mod rejection;
mod row;
mod separators;
mod settings;
mod variables;

pub use addresses::{Address, Channel, DraftAddress};
pub(crate) use countries::find as find_country;
pub(crate) use fill::Fill;
pub use intent::{
    Customer, Draft, ExportRow, FieldName, FieldValue, Intent, Place, PrimaryId, PurgeReason, Warning,
};
pub(crate) use key_hashes::{MappedKey, Subject};
pub use mapping::Mapping;
pub(crate) use null_words::is_placeholder_of_many;
pub use operation::Operation;
pub(crate) use phone::{find_region, is_date, is_rounded, is_valid as is_valid_telephone, region_of};
pub(crate) use region_guess::{NationalNumber, RegionFit, clear_winner, rank_regions, suggest_region};
pub use rejection::{Rejection, RejectionCode, RowResult};
pub(crate) use row::{RowIdentity, UndoProblem};
pub(crate) use separators::{SEPARATORS, split as split_addresses};
pub use settings::{
    CustomerSettings, FieldOrigin, FieldSource, InvalidAddress, NamePolicy, OnExists, OnMissing,
    OperationSettings, Rule, SentOn,
};
