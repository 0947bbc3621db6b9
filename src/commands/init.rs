//! `init`: proposes a configuration for an export.

use super::error::CommandError;
use super::print;
use crate::cli::InitArgs;
use crate::proposal::propose;
use crate::run::Exit;

pub(super) fn init(args: &InitArgs) -> Result<Exit, CommandError> {
    print(propose(&args.export)?.as_bytes())
}
