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
mod key_hashes;
mod names;
mod phone;
mod rejection;
mod row;
mod settings;
mod variables;

/// Which way of reading and mapping rows this is. To be raised with every
/// change, of a dependency too, by which the same row with the same settings may
/// come to ask for something else: a run that was planned before is planned anew
/// then, and what was noted of rows counts no more.
pub const READING: u32 = 3;

pub use addresses::{Address, Channel, DraftAddress};
pub use fill::Fill;
pub use intent::{Customer, Draft, FieldName, FieldValue, Intent, PrimaryId, Warning};
pub use key_hashes::{MappedKey, Subject};
pub(crate) use phone::is_date;
pub use phone::suggest_region;
pub use rejection::{Rejection, RejectionCode};
pub use row::{Drafted, Mapped, Mapping, Presence};
pub use settings::{CustomerSettings, Invalid, Names, Operation, OperationSettings, Origin, Rule, Value};
