//! From rows with calls to outcomes: order, pace, retry and send.
//!
//! The calls of one customer go out one at a time and in the export's order,
//! also across rows. Rows are values that move through the queues of the `scheduler`.
//! As many `sender`s as `concurrency` says take calls from there, behind one `pacer`.
//! It finds the rate that the server accepts (`rate_finder`), and waits while the
//! server limits or fails (`circuit_breaker`). A pure function decides what follows an
//! answer (`retry`).
//! A call is recorded before it is sent ([`Record::Begin`]), so that a crash
//! leaves nothing or a known doubt.
//!
//! This room knows neither the checkpoint nor the result files. It sends
//! [`Record`]s to the recorder, in order, and waits if it must. All of it runs on
//! one thread.

mod call_queue;
mod canary;
mod circuit_breaker;
mod dispatcher;
mod judgement;
mod lost_create;
mod pace;
mod pacer;
mod purge_grants;
mod rate_finder;
mod record;
mod retry;
mod row;
mod row_steps;
mod scheduler;
mod sender;
mod serial_sender;
mod settings;
mod stop;
mod suspicion;
mod timeline;
mod vanished_brake;
mod waits;

pub use dispatcher::run;
pub use pace::DispatchEnd;
pub(crate) use pace::Pace;
pub use record::{CallEnd, LoadedState, Record, Reply};
pub(crate) use record::{CallLine, CallResult, Problem};
pub use row::Job;
pub(crate) use serial_sender::{SendEnd, SerialSender};
pub use settings::{DispatchSettings, InDoubt};
pub(crate) use stop::Stop;
pub use stop::StopSwitch;
pub use timeline::Timeline;
pub(crate) use timeline::{AnswerTimes, Bucket};
pub use waits::{Wait, WaitCause};
