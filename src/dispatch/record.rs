//! What the keeper of the books is told, in order.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::sync::{Notify, mpsc, oneshot};

use crate::mapping::{Customer, Operation, Rejection};
use crate::omnidesk::CallKind;
use crate::reconcile::{Acked, CustomerKey, Outcome, PendingCall, RowProgress};
use crate::source::RowRef;

/// One event. Those with a reply are waited for.
#[derive(Debug)]
pub enum Record {
    /// What is known of rows and their customers? The answers, in the same
    /// order, include everything told before on the same channel.
    Load {
        /// The customers, each with the row.
        rows: Vec<(CustomerKey, u64)>,
        /// Where the answers go.
        reply: oneshot::Sender<Vec<LoadedState>>,
    },
    /// A call is about to be sent; it goes when this is durable.
    Intend {
        /// The customer.
        key: CustomerKey,
        /// The call.
        flight: PendingCall,
        /// What the customer is certain to have been told while it is under way.
        told: Option<Acked>,
        /// Told when it is durable.
        reply: oneshot::Sender<()>,
    },
    /// A call has ended.
    Ended(Box<CallEnd>),
    /// A row without a call says what its customer is to hold: see
    /// [`crate::reconcile::settled_silently`].
    Acked {
        /// The customer.
        key: CustomerKey,
        /// What it was told, marked with this row.
        told: Option<Acked>,
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
        trouble: Option<Box<Problem>>,
    },
}

/// What is known of a customer, and done of a row.
#[derive(Debug, Default)]
pub struct LoadedState {
    /// What the customer was last told.
    pub told: Option<Acked>,
    /// A call without outcome.
    pub flight: Option<PendingCall>,
    /// What the row has done already.
    pub progress: RowProgress,
}

/// How a call ended.
#[derive(Debug)]
pub struct CallEnd {
    /// The customer.
    pub key: CustomerKey,
    /// Who that is, if it is to be kept.
    pub customer: Option<Customer>,
    /// The row.
    pub row: u64,
    /// What the customer is known to have been told now.
    pub told: Option<Acked>,
    /// What is done of the row now.
    pub progress: RowProgress,
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
    Become(PendingCall),
}

/// One line of `outcomes.csv`. Nothing personal is in it but the id of who was
/// purged: a receipt says whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallLine {
    /// The row.
    pub at: RowRef,
    /// The call.
    pub kind: CallKind,
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
pub struct Problem {
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

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        Self {
            code: rejection.code.as_str(),
            column: rejection.column,
            value: rejection.value,
            message: rejection.message,
            hint: rejection.hint,
            status: None,
            attempts: 0,
        }
    }
}

/// The way to the keeper of the books, for all of one thread. What is told
/// goes in one piece with all that is told before the thread comes to it:
/// [`RecordQueue::deliver`].
#[derive(Debug, Clone)]
pub(super) struct RecordQueue(Rc<RecordQueueState>);

#[derive(Debug)]
struct RecordQueueState {
    records: RefCell<Vec<Record>>,
    told: Notify,
    is_gone: Cell<bool>,
}

/// The keeper is gone: its own error says why.
#[derive(Debug)]
pub(super) struct RecorderClosed;

impl RecordQueue {
    pub(super) fn new() -> Self {
        let (records, told) = (RefCell::default(), Notify::new());
        Self(Rc::new(RecordQueueState { records, told, is_gone: Cell::new(false) }))
    }

    /// Delivers what is told, as long as somebody else does something.
    pub(super) async fn deliver(&self, keeper: &mpsc::Sender<Vec<Record>>) {
        loop {
            self.0.told.notified().await;
            self.deliver_all(keeper).await;
        }
    }

    /// Delivers what is told so far.
    pub(super) async fn deliver_all(&self, keeper: &mpsc::Sender<Vec<Record>>) {
        if self.0.records.borrow().is_empty() {
            return;
        }
        // Nothing is taken before there is room for it: this may be cancelled.
        let room = keeper.reserve().await;
        let records = self.0.records.take();
        match room {
            Ok(room) => room.send(records),
            Err(_) => self.0.is_gone.set(true),
        }
    }

    pub(super) async fn load(
        &self,
        rows: Vec<(CustomerKey, u64)>,
    ) -> Result<Vec<LoadedState>, RecorderClosed> {
        let (reply, answer) = oneshot::channel();
        self.tell(Record::Load { rows, reply })?;
        answer.await.map_err(|_| RecorderClosed)
    }

    pub(super) async fn intend(
        &self,
        key: CustomerKey,
        flight: PendingCall,
        told: Option<Acked>,
    ) -> Result<(), RecorderClosed> {
        let (reply, durable) = oneshot::channel();
        self.tell(Record::Intend { key, flight, told, reply })?;
        durable.await.map_err(|_| RecorderClosed)
    }

    /// It never waits: who has much to tell has to wait for answers first.
    pub(super) fn tell(&self, record: Record) -> Result<(), RecorderClosed> {
        if self.0.is_gone.get() {
            return Err(RecorderClosed);
        }
        self.0.records.borrow_mut().push(record);
        self.0.told.notify_one();
        Ok(())
    }
}
