//! `init`: proposes a configuration for an export.

use super::print;
use crate::cli::InitArgs;
use crate::proposal::propose;
use crate::run::{Exit, RunError};

pub(super) fn init(args: &InitArgs) -> Result<Exit, RunError> {
    print(propose(&args.export)?.as_bytes())
}
