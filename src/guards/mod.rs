//! What a whole export would do: guards that block it before the first call,
//! and notices about rows that are applied but deserve attention.

mod baseline;
mod conflicts;
mod findings;
mod mapping_changes;
mod notices;
mod shared_addresses;
mod vanished;
mod verdict;

pub use baseline::{Baseline, NoticeLine, RunProfile};
pub(crate) use findings::{Inspection, Naming, RowOrder};
pub(crate) use notices::Notices;
pub use shared_addresses::SharedAddressesPolicy;
pub(crate) use shared_addresses::brand_address_tag;
pub(crate) use vanished::vanished_customer;
pub use vanished::{VanishedAddress, VanishedChanges};
pub(crate) use verdict::{
    ExportEffects, GuardVerdict, NewCustomers, PurgeCounts, RecreatedCustomers, judge_guards, judge_purges,
};
pub use verdict::{GuardSettings, NewIdsPolicy};
