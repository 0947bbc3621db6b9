//! The first pass: reads a whole export and decides every row, without sending.

mod error;
mod first_pass;
mod missing;
mod overrides;
#[expect(clippy::module_inception, reason = "the room's main type")]
mod plan;
mod prepare;
mod reading;
mod view;
mod window;

pub(crate) use error::PlanError;
pub(crate) use first_pass::{PlanObserver, PlanRequest, survey};
pub(crate) use missing::keep_names;
pub(crate) use overrides::this_command;
pub use plan::{NewCustomers, Plan, RecreatedCustomers, RejectionCause};
pub(crate) use prepare::{PreparedExport, prepare, prepare_beside, wait_until_written};
pub(crate) use view::{PlanView, rejections};
pub(crate) use window::Window;
