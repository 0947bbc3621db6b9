//! The settings for all calls of a run.

use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::omnidesk::RefusalTexts;
use crate::reconcile::{CustomerKey, Policy};
use crate::units::{Amount, RateTimeline};

#[derive(Debug, Clone)]
pub struct DispatchSettings {
    /// Attempts of all calls together in a unit of time.
    pub rates: RateTimeline,
    /// Calls on their way at once.
    pub concurrency: NonZeroU32,
    /// Attempts of one call; waiting for the server uses up none.
    pub attempts: NonZeroU32,
    /// How long the run waits for a server that fails, or only asks to wait.
    pub patience: Duration,
    /// Failed calls before the run stops.
    pub max_errors: Amount,
    /// Rows that failed in the last run over a whole export. Each run tries them
    /// again, so as many may fail before a share counts.
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
    /// What an earlier control request has shown.
    pub probing: Option<bool>,
    /// Known customers whom the API may not know before the run stops.
    pub max_vanished: Amount,
    /// Of these, those that are created without a wait.
    pub vanished_allowed: u64,
    /// How long the server may still be at work on a lost call.
    pub settle: Duration,
    /// How long calls may begin.
    pub max_duration: Option<Duration>,
    /// Whether the recorder stores ids.
    pub stores_ids: bool,
    pub texts: RefusalTexts,
    pub policy: Policy,
}

/// `in_doubt`: how a create whose answer was lost is resolved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InDoubt {
    /// Probe by an update, which is safe in both cases.
    #[default]
    Probe,
    /// Report it, and hold the customer's later calls.
    Hold,
    /// Send it again, at the risk of a duplicate.
    Resend,
}
