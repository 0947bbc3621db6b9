//! From an intent, and what the customer was last told, to calls.
//!
//! Decisions are pure functions of two values, an [`crate::mapping::Intent`]
//! and a [`Situation`], so that the plan which is printed and the run which
//! follows cannot disagree: `plan` walks [`next`] with every call succeeding,
//! `dispatch` walks it with what the API really answers.

mod by_hint;
mod changes;
mod conflicts;
mod gone;
mod guards;
mod keys;
mod look;
mod mark;
mod missing;
mod notices;
mod outcome;
mod seen;
mod shared;
mod steps;
mod survey;
mod told;
mod worklist;

pub use by_hint::ByHint;
pub use changes::{Change, KeyChange, Remapped};
pub use gone::{GoneChanges, GoneMark, gone_customer};
pub use guards::{GuardSettings, NewIds, Purges, Verdict, judge_guards, judge_purges};
pub use keys::{AddressHash, CustomerKey, HashKey, KeyState, PrintKey, RowPrint};
pub use look::{Findings, Look};
pub use mark::PlanMark;
pub use missing::{Missing, MissingSurvey, Undecided};
pub use notices::{Notice, NoticeKind, Notices};
pub use outcome::{Counts, Outcome};
pub use seen::{NoticeLine, Past, Seen};
pub use shared::{SharedAddresses, shared_mark};
pub use steps::{
    Policy, Situation, Step, acknowledged, asks_nothing_of, found_by_probe, next, note_print, probe,
    rehearse, settled_silently, turned_absent, turned_existing, under_way,
};
pub use survey::{Cause, PurgedAndBack, Strangers, Survey};
pub use told::{Flight, Progress, Told, ToldField};
pub use worklist::{ROWS_PER_BLOCK, Work, Worklist};
