//! What a whole export would do: guards that block it before the first call,
//! and notices about rows that are applied but deserve attention.

mod baseline;
mod findings;
mod mapping_changes;
mod moved_addresses;
mod notices;
mod repeated_rows;
mod results;
mod same_id;
mod shared_addresses;
mod vanished;
mod verdict;

pub use baseline::{Baseline, RunProfile};
pub(crate) use findings::Inspection;
pub use notices::NoticeLine;
pub(crate) use notices::{Notice, NoticeKind};
pub(crate) use repeated_rows::RepeatedRows;
pub(crate) use results::{OverriddenGuard, guard_results, overridden_before};
pub(crate) use shared_addresses::{RowOrder, SharedAddressSearch, TaggedAddress, brand_address_tag};
pub use shared_addresses::{SharedAddresses, SharedAddressesPolicy};
pub(crate) use vanished::vanished_customer;
pub use vanished::{VanishedAddress, VanishedChanges};
pub(crate) use verdict::{
    ExportEffects, GuardVerdict, NewCustomers, PlaceholderIds, PurgeCounts, RecreatedCustomers, judge_guards,
    judge_purges, needs_size_override,
};
pub use verdict::{GuardPolicy, GuardSettings, NewIdsPolicy};
