//! From a row to what it asks for.
//!
//! A [`Mapping`] is compiled once from the configuration against the columns
//! of an export. It turns each row into an [`Intent`] (which customer, which
//! operation, which values), or into a [`Rejection`] that names the column,
//! the value, the reason and the setting that would help. It does no I/O and
//! knows nothing of calls.

mod addresses;
mod compile;
mod expressions;
mod fill;
mod intent;
mod marks;
mod names;
mod phone;
mod rejection;
mod row;
mod settings;

pub use addresses::{Address, Channel, DraftAddress};
pub use fill::Fill;
pub use intent::{Customer, Draft, FieldName, FieldValue, Intent, PrimaryId, Warning};
pub use marks::{MappedKey, Subject};
pub use phone::suggest_region;
pub use rejection::{Rejection, RejectionCode};
pub use row::{Drafted, Mapped, Mapping, Presence};
pub use settings::{CustomerSettings, From, Invalid, Names, Operation, OperationSettings, Rule, Value};
