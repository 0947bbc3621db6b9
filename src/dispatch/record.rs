//! Events for the recorder, in order.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::sync::{Notify, mpsc};

use super::waits::Wait;
use crate::mapping::{Channel, Customer, Operation, Place, Rejection};
use crate::omnidesk::{CallKind, Meaning};
use crate::reconcile::{CustomerKey, CustomerState, Outcome, PendingCall, RowProgress};

/// One event. The recorder answers some of them by a [`Reply`].
#[derive(Debug)]
pub enum Record {
    /// Requests the states of rows and their customers. They include all records that
    /// were sent before.
    Load { rows: Vec<(CustomerKey, Place)> },
    /// A call is about to be sent; it waits until this is durable.
    Begin {
        key: CustomerKey,
        call: PendingCall,
        /// The certain part of the customer's state while the call is on its way.
        state: CustomerState,
    },
    /// A call has ended.
    End(Box<CallEnd>),
    /// A row without a call confirms the state of its customer.
    Confirm { key: CustomerKey, state: CustomerState },
    /// A control request has been answered. `fooled_by`: the customer who cannot
    /// exist, if the API answered success.
    Control { fooled_by: Option<Customer> },
    /// Nothing is sent until then, or calls go on.
    Wait(Option<Wait>),
    /// A row has its outcome.
    Settle {
        customer: Customer,
        key: CustomerKey,
        at: Place,
        operation: Operation,
        outcome: Outcome,
        problem: Option<Box<Problem>>,
    },
}

/// An answer of the recorder's, in the order of the records.
#[derive(Debug)]
pub enum Reply {
    /// To a [`Record::Load`], in the order of its rows.
    Loaded(Vec<LoadedState>),
    /// The next so many [`Record::Begin`]s are durable.
    Recorded { calls: usize },
}

/// The state of a customer, and the progress of a row.
#[derive(Debug, Default)]
pub struct LoadedState {
    pub state: CustomerState,
    pub pending: Option<PendingCall>,
    pub progress: RowProgress,
}

/// How a call ended.
#[derive(Debug)]
pub struct CallEnd {
    pub key: CustomerKey,
    /// If ids are stored.
    pub customer: Option<Customer>,
    pub state: CustomerState,
    pub progress: RowProgress,
    /// A call of this customer that may still be carried out.
    pub pending: Option<PendingCall>,
    /// For `outcomes.csv`.
    pub line: CallLine,
}

/// One line of `outcomes.csv`. It identifies a customer only after a purge: a
/// receipt names the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallLine {
    pub at: Place,
    pub kind: CallKind,
    pub result: CallResult,
    /// The last HTTP status, if an answer came.
    pub status: Option<u16>,
    pub attempts: u32,
    /// Those of them that the server refused for its limit.
    pub refused: u32,
    /// The customer of a purge.
    pub purged: Option<Customer>,
    /// The kind of an address that exists already, perhaps for somebody else.
    pub existing: Option<Channel>,
}

/// How a call ended, as in `outcomes.csv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallResult {
    Answered(Meaning),
    /// The run stopped before the call had an answer.
    Stopped,
}

impl CallLine {
    pub(crate) fn result_text(&self) -> &'static str {
        let CallResult::Answered(meaning) = self.result else { return "stopped" };
        match meaning {
            Meaning::Done => "done",
            Meaning::DoneBefore => "exists",
            Meaning::Exists => "customer_exists",
            Meaning::NotFound => "not_found",
            Meaning::Unavailable if self.kind == CallKind::Create => "in_doubt",
            Meaning::Unavailable => "failed",
            Meaning::Refused => "refused",
            Meaning::Unclear | Meaning::KeyRefused | Meaning::Redirected | Meaning::Page => "unclear",
            Meaning::Limited if self.kind == CallKind::Create => "in_doubt",
            // No call ends with these.
            Meaning::Limited | Meaning::Unsent => "stopped",
        }
    }

    pub(crate) fn has_worked(&self) -> bool {
        matches!(self.result, CallResult::Answered(Meaning::Done | Meaning::DoneBefore))
    }
}

/// All that a person needs to fix a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub code: &'static str,
    /// The column that holds it.
    pub column: Option<String>,
    /// The value in the export.
    pub value: Option<String>,
    pub message: String,
    pub hint: Cow<'static, str>,
    pub status: Option<u16>,
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

/// The way to the recorder, shared by one thread. Records are delivered
/// together with all that come before the thread turns to them:
/// [`RecordQueue::deliver`].
#[derive(Debug, Clone)]
pub(super) struct RecordQueue(Rc<RecordQueueState>);

#[derive(Debug)]
struct RecordQueueState {
    records: RefCell<Vec<Record>>,
    added: Notify,
    is_closed: Cell<bool>,
}

/// The recorder has ended: its own error says why.
#[derive(Debug)]
pub(super) struct RecorderClosed;

impl RecordQueue {
    pub(super) fn new() -> Self {
        let (records, added) = (RefCell::default(), Notify::new());
        Self(Rc::new(RecordQueueState { records, added, is_closed: Cell::new(false) }))
    }

    /// Delivers records as long as another task runs.
    pub(super) async fn deliver(&self, recorder: &mpsc::Sender<Vec<Record>>) {
        loop {
            self.0.added.notified().await;
            self.deliver_all(recorder).await;
        }
    }

    /// Delivers the records so far.
    pub(super) async fn deliver_all(&self, recorder: &mpsc::Sender<Vec<Record>>) {
        if self.0.records.borrow().is_empty() {
            return;
        }
        // Nothing is taken before there is room for it: this may be cancelled.
        let room = recorder.reserve().await;
        let records = self.0.records.take();
        match room {
            Ok(room) => room.send(records),
            Err(_) => self.0.is_closed.set(true),
        }
    }

    /// Never waits. The queue stays short, since rows wait for replies.
    pub(super) fn add(&self, record: Record) -> Result<(), RecorderClosed> {
        if self.0.is_closed.get() {
            return Err(RecorderClosed);
        }
        self.0.records.borrow_mut().push(record);
        self.0.added.notify_one();
        Ok(())
    }
}
