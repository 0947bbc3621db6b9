//! From what a row asks for and a customer's acknowledged state to the next
//! call, or to an outcome.
//!
//! Decisions are pure functions of two values, an [`crate::mapping::Intent`]
//! and a [`Situation`]. So a printed plan and the run that follows cannot
//! disagree: `plan` walks [`next`] with every call succeeding, and `dispatch`
//! walks it with the API's answers.

mod causes;
mod hashes;
mod missing;
mod outcome;
mod state;
mod step;

pub use causes::CauseMap;
pub use hashes::{
    AddressHash, BuildKeyHasher, CustomerKey, FieldTag, FingerprintKey, HashKey, RowFingerprint, ValueHash,
};
pub use missing::{MissingCustomers, MissingPlan, Undecided};
pub use outcome::{Counts, Outcome};
pub use state::{Acked, AckedField, PendingCall, RowProgress};
pub use step::{
    Policy, Situation, Step, acknowledged, asks_nothing_of, found_by_probe, next, note_print, probe,
    rehearse, settled_silently, turned_absent, turned_existing, under_way,
};
