//! From what a row asks for and a customer's acknowledged state to the next
//! call, or to an outcome.
//!
//! Decisions are pure functions of two values, an [`crate::mapping::Intent`]
//! and a [`Situation`]. So a printed plan and the run that follows cannot
//! disagree: `plan` walks [`next`] with every call succeeding, and `dispatch`
//! walks it with the API's answers.

mod causes;
mod content;
mod hands_off;
mod hashed_intent;
mod hashes;
mod history;
mod missing;
mod outcome;
mod policy;
mod state;
mod step;

pub(crate) use causes::CauseMap;
pub(crate) use content::{ContentHash, content_asked_for};
pub use hands_off::HandsOff;
pub(crate) use hands_off::hands_off;
pub(crate) use hashed_intent::FieldHash;
pub use hashed_intent::HashedIntent;
pub(crate) use hashes::BuildKeyHasher;
pub use hashes::{AddressHash, CustomerKey, FieldTag, HashKey, RowFingerprint, RowFingerprinter, ValueHash};
pub use history::{History, Occasion, Origin, PurgeRecord};
pub use missing::{MissingAction, MissingCustomers};
pub use outcome::{Counts, Outcome};
pub use policy::Policy;
pub use state::{Acked, AckedField, CustomerState, Effect, PendingCall, RowProgress};
pub(crate) use step::{
    AfterAnswer, Superseded, acknowledge_absence, acknowledge_probe, confirm, probe_call, purged_before,
    set_fingerprint, state_during, superseded, turn_to_create, turn_to_update,
};
pub use step::{Situation, Step, acknowledge, next, rehearse};
