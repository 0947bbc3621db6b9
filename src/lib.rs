//! Moves a company's customer base from a CRM export into Omnidesk.
//!
//! A reader streams the rows of an export, each row is mapped to calls of the
//! Omnidesk customer API, a paced pool of workers sends them, and a checkpoint
//! records what was done, so that an interrupted run goes on at the unfinished
//! call. Nothing is lost and nothing is done twice, or the run says which row
//! it cannot vouch for.
//!
//! The rooms, in the order in which a row passes through them:
//!
//! - [`source`]: a path or standard input → rows with number and line
//! - [`mapping`]: a row → what it asks for, or why it is refused
//! - [`omnidesk`]: a call → one HTTP exchange; the only room that knows the wire
//! - [`reconcile`]: what is asked for, and what is known → calls, or nothing
//! - [`dispatch`]: calls of many rows → outcomes: order, pace, retry, send
//! - [`checkpoint`]: what happened → durable state
//! - [`report`]: outcomes → progress, result files, summary
//! - [`sandbox`]: a stateful Omnidesk for rehearsals, on this machine
//! - [`config`] and [`cli`]: TOML and arguments → checked settings
//! - [`commands`]: the wiring, one file a sub-command
//! - [`units`]: rates, amounts and periods, as people write them
//!
//! What holds everywhere:
//!
//! - Rooms import only what `tests/rooms.rs` lists. A call is built of values
//!   that `mapping` has checked, so `omnidesk` may use its types.
//! - `sandbox` shares no code with the client: one error cannot hide in both.
//! - A call is recorded before it is sent, and a create whose answer was lost
//!   is never sent blindly again.
//! - No room below `commands` knows whether it is rehearsing or sending:
//!   `plan` and `run` walk the same decisions.
//! - Each piece of state has one owner. Nothing is shared but channels.
//! - No name, address, id or key of anybody is in a log line, an error of the
//!   network or the checkpoint.

pub mod checkpoint;
pub mod cli;
pub mod commands;
pub mod config;
pub mod dispatch;
pub mod guards;
pub mod mapping;
pub mod omnidesk;
pub mod plan;
pub mod reconcile;
pub mod report;
pub mod run;
pub mod sandbox;
pub mod source;
pub mod units;
