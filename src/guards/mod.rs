//! What a whole export would do: guards that block it, and notices.

mod baseline;
mod conflicts;
mod findings;
mod mapping_changes;
mod notices;
mod shared_addresses;
mod vanished;
mod verdict;

pub use baseline::{Baseline, NoticeLine, RunProfile};
pub use findings::{Findings, Inspection};
pub use mapping_changes::{ChangeKind, KeyChange, MappingChanges};
pub use notices::{Notice, NoticeKind, Notices};
pub use shared_addresses::{SharedAddressesPolicy, shared_mark};
pub use vanished::{VanishedAddress, VanishedChanges, gone_customer};
pub use verdict::{GuardSettings, GuardVerdict, NewIdsPolicy, PurgeCounts, judge_guards, judge_purges};
