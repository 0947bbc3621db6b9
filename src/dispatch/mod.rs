//! From rows with calls to outcomes: order, pace, retry and send.
//!
//! The calls of one customer go out one at a time and in the export's order,
//! also across rows (`scheduler`). Different customers run side by side, in a
//! pool of `concurrency` workers behind one `pacer`. It finds the rate that the
//! server accepts (`rate_finder`), and waits while the server limits or fails
//! (`circuit_breaker`). A pure function decides what follows an answer (`retry`).
//! A call is recorded before it is sent ([`Record::Begin`]), so that a crash
//! leaves nothing or a known doubt.
//!
//! This room knows neither the checkpoint nor the result files. It sends
//! [`Record`]s to the recorder, in order, and waits if it must. All of it runs on
//! one thread.

mod admission;
mod canary;
mod circuit_breaker;
mod control;
mod judgement;
mod pace;
mod pacer;
mod parking;
mod probe;
mod purge_grants;
mod rate_finder;
mod record;
mod retry;
mod row_task;
mod scheduler;
mod send;
mod serial_sender;
mod settings;
mod stop;
mod vanished_brake;
mod waits;

pub use pace::DispatchEnd;
pub(crate) use pace::Pace;
pub use record::{CallEnd, LoadedState, Record};
pub(crate) use record::{CallLine, CallResult, Problem};
pub use row_task::Job;
pub use scheduler::run;
pub(crate) use serial_sender::{SendEnd, SerialSender};
pub use settings::{DispatchSettings, InDoubt};
pub(crate) use stop::Stop;
pub use stop::StopSwitch;
pub use waits::{Wait, WaitCause};
