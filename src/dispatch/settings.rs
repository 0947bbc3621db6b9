//! What holds for all calls of a run.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserialize;

use crate::omnidesk::RefusalTexts;
use crate::reconcile::{CustomerKey, Policy};
use crate::units::{Amount, Rate};

/// How calls are sent.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Attempts of all calls together in a unit of time.
    pub rate: Rate,
    /// Calls under way at once.
    pub concurrency: NonZeroU32,
    /// Attempts of one call; waiting for the server's leave uses up none.
    pub attempts: NonZeroU32,
    /// How long a server that fails, or only asks to wait, is waited for.
    pub patience: Duration,
    /// Failed calls before the run stops.
    pub max_errors: Amount,
    /// Rows that failed in the last run over a whole export: as many may fail
    /// again before a share counts, since they are tried in every night.
    pub failed_before: u64,
    /// Customers whom there is leave to purge. One more is not, which ends the run.
    pub purges_max: u64,
    /// Of these, those whose purge an earlier process has recorded.
    pub purging: Vec<CustomerKey>,
    /// The first calls, sent one by one.
    pub canary: u32,
    /// Whether calls of this run, or of the one it goes on with, have worked.
    pub is_proven: bool,
    /// What to do about a create whose answer was lost.
    pub in_doubt: InDoubt,
    /// How long the server may still be at work on a lost call.
    pub settle: Duration,
    /// How long the run may last.
    pub max_duration: Option<Duration>,
    /// Whether whoever keeps the books keeps who customers are.
    pub keeps_names: bool,
    /// How the API words its refusals.
    pub texts: RefusalTexts,
    /// How calls are decided.
    pub policy: Policy,
}

/// `in_doubt`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InDoubt {
    /// Ask by an update, which is safe whether it exists or not.
    #[default]
    Probe,
    /// Report it, and hold the customer's later calls.
    Hold,
    /// Send it again, at the risk of a double.
    Resend,
}
