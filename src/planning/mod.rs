//! From an intent, and what the customer was last told, to calls.
//!
//! Decisions are pure functions of two values, an [`crate::mapping::Intent`]
//! and a [`Situation`], so that the plan which is printed and the run which
//! follows cannot disagree: `plan` walks [`next`] with every call succeeding,
//! `dispatch` walks it with what the API really answers.

mod guards;
mod keys;
mod outcome;
mod steps;
mod survey;
mod told;
mod worklist;

pub use guards::{GuardSettings, Verdict, judge_guards};
pub use keys::{AddressHash, CustomerKey, HashKey};
pub use outcome::{Counts, Outcome};
pub use steps::{
    Policy, Situation, Step, acknowledged, found_by_probe, next, probe, rehearse, settled_silently,
    turned_absent, turned_existing, under_way,
};
pub use survey::{Cause, Survey};
pub use told::{Flight, Progress, Told};
pub use worklist::{ROWS_PER_BLOCK, Work, Worklist};
