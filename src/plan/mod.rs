//! The first pass: reads a whole export and decides every row, without sending.

mod context;
mod error;
mod explained_rows;
mod first_pass;
mod known_customer;
mod missing;
mod named_customer;
mod overrides;
#[expect(clippy::module_inception, reason = "the room's main type")]
mod plan;
mod prepare;
mod reading;
mod repeated_customer;
mod selection;
mod view;
mod window;

pub(crate) use context::{OpenRunFate, RunContext};
pub(crate) use error::PlanError;
pub(crate) use explained_rows::explain_rows;
pub(crate) use first_pass::{PlanObserver, make_plan};
pub(crate) use known_customer::KnownCustomer;
pub(crate) use missing::{MissingPlan, store_ids};
pub(crate) use named_customer::named_customers;
pub(crate) use overrides::{OverrideCommand, override_commands, shell_line};
pub(crate) use plan::Plan;
pub(crate) use prepare::{PlanOptions, PreparedExport, prepare, prepare_beside, prepare_purge};
pub(crate) use selection::Selection;
pub(crate) use view::{PlanView, Values, rejections_text, target_line};
pub(crate) use window::Window;
