//! `adopt`: records that Omnidesk already holds an export. Sends nothing.

use super::exit::{CommandError, Exit};
use super::prepare;
use super::survey::{Watcher, survey};
use super::{print, say};
use crate::checkpoint::Checkpoint;
use crate::cli::AdoptArgs;
use crate::config::Config;
use crate::mapping::Rejection;
use crate::omnidesk::{Call, Kind};
use crate::planning::{CustomerKey, Outcome, Policy, Told};
use crate::source::RowRef;

/// Customers written at once.
const BATCH_CUSTOMERS: usize = 4096;

/// Does it.
pub(super) fn adopt(args: &AdoptArgs) -> Result<Exit, CommandError> {
    let config = Config::read(&args.common.config)?;
    let mut checkpoint = Checkpoint::open(&config.checkpoint.path, &config.omnidesk.base_url.tenant())?;
    let prepared = prepare::prepare(&config, &args.common, &args.export)?;
    let policy = Policy {
        key: checkpoint.key(),
        export: checkpoint.register_export(&prepared.fingerprint)?,
        full: args.common.full,
        allow_recreate: false,
    };
    let mut adopted = Adopted::default();
    let survey = survey(&prepared, Some(&checkpoint), &policy, None, &mut adopted)?;
    if survey.calls(Kind::Purge) > 0 {
        let message =
            format!("{} rows purge a customer: that cannot be adopted, only done", survey.calls(Kind::Purge));
        return Err(CommandError::Usage(message));
    }
    for customers in adopted.told.chunks(BATCH_CUSTOMERS) {
        let mut batch = checkpoint.batch()?;
        for (key, told) in customers {
            batch.told(*key, Some(told))?;
        }
        batch.commit_told()?;
    }
    let rejected = survey.expected.get(Outcome::Rejected);
    let text = format!(
        "{} customers adopted from {} rows, {rejected} rows rejected; nothing was sent",
        adopted.told.len(),
        survey.rows
    );
    if args.common.json {
        let value =
            serde_json::json!({ "rows": survey.rows, "adopted": adopted.told.len(), "rejected": rejected });
        print(format!("{value}\n").as_bytes())?;
    }
    say(&text);
    Ok(if rejected == 0 { Exit::Clean } else { Exit::Troubles })
}

/// What customers will be recorded to have been told.
#[derive(Default)]
struct Adopted {
    told: Vec<(CustomerKey, Told)>,
}

impl Watcher for Adopted {
    fn calls(&mut self, _: RowRef, _: &[Call], _: Outcome) {}
    fn rejected(&mut self, _: RowRef, _: &Rejection) {}
    fn told(&mut self, key: CustomerKey, told: Option<&Told>) -> Result<(), CommandError> {
        self.told.extend(told.map(|told| (key, told.clone())));
        Ok(())
    }
}
