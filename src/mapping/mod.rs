//! From a row to what it asks for.
//!
//! A [`Mapping`] is compiled once from the configuration against the columns
//! of an export. It turns each row into an [`Intent`] (customer, operation,
//! values), or into a [`Rejection`] that names the column, the value, the reason
//! and the setting that would help. It does no I/O and knows nothing of calls.

mod addresses;
mod blanks;
mod compile;
mod expressions;
mod fill;
mod intent;
mod key_hashes;
#[expect(clippy::module_inception, reason = "the room's main type")]
mod mapping;
mod names;
mod operation;
mod phone;
mod rejection;
mod row;
mod settings;
mod variables;

pub use addresses::{Address, Channel, DraftAddress};
pub(crate) use fill::Fill;
pub use intent::{Customer, Draft, FieldName, FieldValue, Intent, Place, PrimaryId, Warning};
pub(crate) use key_hashes::{MappedKey, Subject};
pub use mapping::Mapping;
pub use operation::Operation;
pub(crate) use phone::{is_date, suggest_region};
pub use rejection::{Rejection, RejectionCode};
pub(crate) use row::RowIdentity;
pub use row::RowResult;
pub use settings::{
    CustomerSettings, FieldOrigin, FieldSource, InvalidAddress, NamePolicy, OperationSettings, Rule,
};
