//! From rows with calls to outcomes: order, pace, retry and send.
//!
//! The calls of one customer go out one at a time and in the export's order,
//! also across rows (`conductor`); different customers run side by side, a
//! pool of `concurrency` workers behind one `pacer`, which also finds the
//! rate that the server tolerates (`tolerance`) and waits where it limits or
//! fails (`health`). What to do with an answer is a pure function (`retry`). A call is recorded before it is sent
//! ([`Record::Intend`]), so that a crash leaves nothing or a known doubt.
//!
//! This room knows neither the checkpoint nor the result files: it tells
//! [`Record`]s to whoever keeps the books, in order, and waits where it must.
//! All of it runs on one thread.

mod admission;
mod canary;
mod circuit_breaker;
mod pace;
mod pacer;
mod probe;
mod purge_grants;
mod rate_finder;
mod record;
mod retry;
mod row_task;
mod scheduler;
mod send;
mod settings;
#[cfg(test)]
mod simulation;
mod stop;

pub use pace::{DispatchEnd, Pace};
pub use record::{CallEnd, CallLine, FlightChange, LoadedState, Problem, Record};
pub use retry::{Decision, decide};
pub use scheduler::{Job, run};
pub use settings::{InDoubt, Settings};
pub use stop::{Stop, StopSwitch};
