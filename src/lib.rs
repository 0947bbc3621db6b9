//! Moves a company's customer base from a CRM export into Omnidesk, and keeps it
//! there.
//!
//! A first pass reads the whole export and decides every row without sending;
//! guards judge the result. A second pass visits the rows that have calls to
//! make, at a set rate, and a checkpoint records each call before it is sent. So
//! an interrupted run resumes at the unfinished call: nothing is lost, nothing
//! is done twice, and a row of which neither is certain is reported as in doubt.
//!
//! ```text
//! export -> source -> mapping -> plan -> dispatch -> omnidesk -> the API
//!            Row       Intent    Plan     |    ^
//!                         `-> reconcile <-'    | recorded before sent
//!                                          checkpoint -> report
//! ```
//!
//! The rooms, in the order in which a row passes through them:
//!
//! | room | turns | into |
//! |---|---|---|
//! | `source` | a path or standard input | rows with number and line |
//! | `mapping` | a row | what it asks for, or why it is rejected |
//! | `omnidesk` | a call | one HTTP exchange and what it means |
//! | `reconcile` | what a row asks for, and the customer's state | the next call, or the outcome |
//! | `guards` | what a whole export would do | findings, and guards that block the run |
//! | `checkpoint` | what happened | durable state; its `format` is the file |
//! | `plan` | an export and the checkpoint | a plan: the first pass |
//! | `dispatch` | rows with calls | outcomes: order, pace, retry, stop |
//! | `report` | outcomes | progress, result files, summary, metrics, notifications |
//! | `run` | a plan | the second pass, and its end |
//! | `proposal` | an export | a proposed configuration |
//! | `doctor` | a configuration | what is wrong with the set-up, and settings for the tenant's answers |
//! | `verify` | the API's list of customers | who is missing there, unknown here or not acknowledged |
//! | `sandbox` | HTTP | a stateful Omnidesk for rehearsals, on this machine |
//! | `config`, `cli` | TOML, arguments | checked settings |
//! | `commands` | arguments | the work of the rooms above, one file a sub-command |
//! | `units` | text such as `5/s` or `1%` | rates, amounts, periods |
//!
//! What holds everywhere:
//!
//! - A room imports only what `tests/it/rooms.rs` lists for it.
//! - A call is recorded before it is sent. A create whose answer was lost is
//!   never sent again without asking first.
//! - `plan` and `run` decide a row by the same function, and a run by the same
//!   context. Nothing asks whether it only rehearses.
//! - No wire name, status code or key is known outside `omnidesk`. A call is
//!   built of values that `mapping` has checked, and of no other text.
//! - No type that is on the disk is defined outside `checkpoint::format`.
//! - `sandbox` shares no code with the client: one error cannot hide in both.
//! - No name, address, id or key of anybody is in a log line, in an error of the
//!   network or in the checkpoint.
//! - Each piece of state has one owner. The reading, the sending and the recording
//!   thread share nothing but channels; on the sending thread, tasks share state
//!   in `Rc` and cells.
//! - Nothing here is unsafe, and nothing waits without a bound.

pub mod checkpoint;
pub mod cli;
pub mod commands;
pub mod config;
pub mod dispatch;
mod doctor;
pub mod guards;
pub mod mapping;
pub mod omnidesk;
mod plan;
mod proposal;
pub mod reconcile;
mod report;
mod run;
pub mod sandbox;
pub mod source;
pub mod units;
mod verify;
