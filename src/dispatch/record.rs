//! What the keeper of the books is told, in order.

use std::borrow::Cow;

use tokio::sync::{mpsc, oneshot};

use crate::mapping::{Customer, Operation, Rejection};
use crate::omnidesk::Kind;
use crate::planning::{CustomerKey, Flight, Outcome, Progress, Told};
use crate::source::RowRef;

/// One event. Those with a reply are waited for.
#[derive(Debug)]
pub enum Record {
    /// What is known of a row's customer? The answer includes everything told
    /// before on the same channel.
    Load {
        /// The customer.
        key: CustomerKey,
        /// The row.
        row: u64,
        /// Where the answer goes.
        reply: oneshot::Sender<Loaded>,
    },
    /// A call is about to be sent; it goes when this is durable.
    Intend {
        /// The customer.
        key: CustomerKey,
        /// The call.
        flight: Flight,
        /// What the customer is certain to have been told while it is under way.
        told: Option<Told>,
        /// Told when it is durable.
        reply: oneshot::Sender<()>,
    },
    /// A call has ended.
    Ended(Box<CallEnd>),
    /// A row without a call says what its customer is to hold: see
    /// [`crate::planning::settled_silently`].
    Told {
        /// The customer.
        key: CustomerKey,
        /// What it was told, marked with this row.
        told: Option<Told>,
    },
    /// A row has its outcome.
    Settled {
        /// Whom it is about.
        customer: Customer,
        /// The customer's key.
        key: CustomerKey,
        /// The row.
        at: RowRef,
        /// What it asked for.
        operation: Operation,
        /// The outcome.
        outcome: Outcome,
        /// What a person should know of it.
        trouble: Option<Box<Trouble>>,
    },
}

/// What is known of a customer, and done of a row.
#[derive(Debug, Default)]
pub struct Loaded {
    /// What the customer was last told.
    pub told: Option<Told>,
    /// A call without outcome.
    pub flight: Option<Flight>,
    /// What the row has done already.
    pub progress: Progress,
}

/// How a call ended.
#[derive(Debug)]
pub struct CallEnd {
    /// The customer.
    pub key: CustomerKey,
    /// Who that is.
    pub customer: Customer,
    /// The row.
    pub row: u64,
    /// What the customer is known to have been told now.
    pub told: Option<Told>,
    /// What is done of the row now.
    pub progress: Progress,
    /// Whether the call is over.
    pub flight: FlightChange,
    /// For `outcomes.csv`.
    pub line: CallLine,
}

/// What becomes of the record that was made before a call was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlightChange {
    /// The call is over.
    Clear,
    /// It stays: the call may have been, or may still be, carried out.
    Keep,
    /// Another call may still be carried out.
    Become(Flight),
}

/// One line of `outcomes.csv`. Nothing personal is in it but the id of who was
/// purged: a receipt says whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallLine {
    /// The row.
    pub at: RowRef,
    /// The call.
    pub kind: Kind,
    /// In a word.
    pub result: &'static str,
    /// The last HTTP status, if an answer came.
    pub status: Option<u16>,
    /// Requests sent for it.
    pub attempts: u32,
    /// Whom a purge is about.
    pub purged: Option<Customer>,
}

/// What a person needs to mend a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The cause, in a word.
    pub code: &'static str,
    /// The column that holds it.
    pub column: Option<String>,
    /// The value in the export.
    pub value: Option<String>,
    /// The reason, in words.
    pub message: String,
    /// What to do.
    pub hint: Cow<'static, str>,
    /// The HTTP status.
    pub status: Option<u16>,
    /// Requests sent.
    pub attempts: u32,
}

impl From<Rejection> for Trouble {
    fn from(rejection: Rejection) -> Self {
        Self {
            code: rejection.code.word(),
            column: rejection.column,
            value: rejection.value,
            message: rejection.message,
            hint: rejection.hint,
            status: None,
            attempts: 0,
        }
    }
}

/// The way to the keeper of the books.
#[derive(Debug, Clone)]
pub(super) struct Books(mpsc::Sender<Record>);

/// The keeper is gone: its own error says why.
#[derive(Debug)]
pub(super) struct Gone;

impl Books {
    pub(super) fn new(sender: mpsc::Sender<Record>) -> Self {
        Self(sender)
    }

    pub(super) async fn load(&self, key: CustomerKey, row: u64) -> Result<Loaded, Gone> {
        let (reply, answer) = oneshot::channel();
        self.tell(Record::Load { key, row, reply }).await?;
        answer.await.map_err(|_| Gone)
    }

    pub(super) async fn intend(
        &self,
        key: CustomerKey,
        flight: Flight,
        told: Option<Told>,
    ) -> Result<(), Gone> {
        let (reply, durable) = oneshot::channel();
        self.tell(Record::Intend { key, flight, told, reply }).await?;
        durable.await.map_err(|_| Gone)
    }

    pub(super) async fn tell(&self, record: Record) -> Result<(), Gone> {
        self.0.send(record).await.map_err(|_| Gone)
    }
}
