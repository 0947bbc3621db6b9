//! What holds for all calls of a run.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserialize;

use crate::omnidesk::RefusalTexts;
use crate::reconcile::{CustomerKey, Policy};
use crate::units::{Amount, Rate};

#[derive(Debug, Clone)]
pub struct DispatchSettings {
    /// Attempts of all calls together in a unit of time.
    pub rate: Rate,
    /// Calls on their way at once.
    pub concurrency: NonZeroU32,
    /// Attempts of one call; waiting for the server uses up none.
    pub attempts: NonZeroU32,
    /// How long a server that fails, or only asks to wait, is waited for.
    pub patience: Duration,
    /// Failed calls before the run stops.
    pub max_errors: Amount,
    /// Rows that failed in the last run over a whole export. As many may fail
    /// again before a share counts, since every night tries them.
    pub failed_before: u64,
    /// Customers who may be purged. One more stops the run.
    pub purges_max: u64,
    /// Of these, those whose purge an earlier process has recorded.
    pub pending_purges: Vec<CustomerKey>,
    /// The first calls, sent one by one.
    pub canary: u32,
    /// Whether calls by these settings have worked before.
    pub is_proven: bool,
    pub in_doubt: InDoubt,
    /// How long the server may still be at work on a lost call.
    pub settle: Duration,
    /// How long calls may begin.
    pub max_duration: Option<Duration>,
    /// Whether the recorder stores ids.
    pub stores_ids: bool,
    pub texts: RefusalTexts,
    pub policy: Policy,
}

/// `in_doubt`: what to do about a create whose answer was lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InDoubt {
    /// Probe by an update, which is safe whether the customer exists or not.
    #[default]
    Probe,
    /// Report it, and hold the customer's later calls.
    Hold,
    /// Send it again, at the risk of a double.
    Resend,
}
