//! `init`: proposes a configuration for an export.

use super::print;
use crate::cli::InitArgs;
use crate::proposal::{ProposalError, propose};
use crate::run::{Exit, RunError};

pub(super) fn init(args: &InitArgs) -> Result<Exit, RunError> {
    let proposal = propose(&args.exports).map_err(|error| match error {
        ProposalError::Source(error) => RunError::Source(error),
        error => RunError::Usage(error.to_string()),
    })?;
    let exit = print(proposal.text.as_bytes())?;
    // The configuration is printed all the same.
    Ok(if proposal.is_complete { exit } else { Exit::Problems })
}
