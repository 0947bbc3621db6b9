//! `verify`: compares Omnidesk's list of customers with an export and the checkpoint.

use std::collections::BTreeSet;
use std::future::{Future, pending};

use super::{print, print_json};
use crate::checkpoint::Checkpoint;
use crate::cli::VerifyArgs;
use crate::config::Config;
use crate::dispatch::{SerialSender, Stop, StopSwitch};
use crate::omnidesk::{ApiKey, Client};
use crate::plan::{PlanOptions, prepare};
use crate::report::{LogWriter, ProgressDisplay, ProgressSetting, Workload, report_line};
use crate::run::{Exit, Interrupts, RunError, StatusReporter};
use crate::units::counted;
use crate::verify::{
    CountComparison, ExportCustomers, ListError, ListReader, ListScope, ListSource, SavedList, compare,
};

pub(super) fn verify(args: &VerifyArgs, log: &LogWriter) -> Result<Exit, RunError> {
    let config = Config::read(&args.config)?;
    check_brands(&config, [])?;
    let path = &config.checkpoint.path;
    if !path.exists() {
        let message = format!(
            "there is no checkpoint at {}: nothing is acknowledged yet\nhint: `run` or `adopt` makes one",
            path.display()
        );
        return Err(RunError::Usage(message));
    }
    // Its lock keeps a run from sending beside the list, which would exceed the rate.
    let checkpoint = Checkpoint::open(path, &config.omnidesk.base_url.tenant())?;
    let prepared = prepare(&config, PlanOptions::default(), &args.exports)?;
    let export = ExportCustomers::read(&prepared, &checkpoint.key())?;
    check_brands(&config, export.expected().into_keys())?;
    let names = &config.verify.brands;
    let (is_equal, value, text) = if args.full {
        let list = read_list(&config, &checkpoint, log)?;
        let comparison = compare(&prepared, &export, &checkpoint, names, &list)?;
        list.remove().map_err(RunError::SavedList)?;
        (comparison.is_equal(), comparison.json(), comparison.text())
    } else {
        let listed = with_list(&config, async |source| source.count().await)?;
        let comparison = CountComparison::new(&export, &checkpoint, names, listed)?;
        if !comparison.is_equal() {
            report_line("hint: `verify --full` names who differs; the count has customers of every brand");
        }
        (comparison.is_equal(), comparison.json(), comparison.text())
    };
    if args.json {
        print_json(value)?
    } else {
        print(text.as_bytes())?
    };
    Ok(if is_equal { Exit::Clean } else { Exit::Problems })
}

/// The list shows names of brands, so each brand of an export needs one.
pub(super) fn check_brands(config: &Config, brands: impl IntoIterator<Item = u64>) -> Result<(), RunError> {
    let names = &config.verify.brands;
    let unnamed: BTreeSet<u64> = brands.into_iter().filter(|brand| !names.contains_key(brand)).collect();
    let problem = match unnamed.first() {
        Some(brand) => format!("[verify] brands has no name for brand {brand}"),
        None if names.is_empty() => "[verify] brands is not set".to_owned(),
        None => return Ok(()),
    };
    let hint = "Omnidesk's list shows names of brands and no numbers, so set them: [verify] brands = { 2 = \"Bloemen\" }";
    Err(RunError::Usage(format!("{problem}\nhint: {hint}")))
}

/// Reads the whole list, or the rest of an interrupted one.
pub(super) fn read_list(
    config: &Config,
    checkpoint: &Checkpoint,
    log: &LogWriter,
) -> Result<SavedList, RunError> {
    let (key, brands) = (checkpoint.key(), &config.verify.brands);
    let scope = ListScope::new(config.omnidesk.base_url.tenant(), &key, brands.clone());
    let list = SavedList::open(&config.checkpoint.path, scope).map_err(RunError::SavedList)?;
    if list.is_resumed() {
        report_line(&format!("resuming the list: {} read before", counted(list.read_count(), "customer")));
    }
    let _reporter = StatusReporter::start(&config.checkpoint.path, log).map_err(RunError::System)?;
    let done = list.read_count();
    let mut progress = ProgressDisplay::start(
        ProgressSetting::on_terminal(),
        config.report.heartbeat.0,
        config.limits.rate.timeline(),
        Workload { noun: "customers", all: done, done, rows: (0, 0) },
    );
    log.watch(&progress);
    let list = {
        let show_progress = &|done, all| progress.show(done, all);
        with_list(config, async |source| {
            ListReader { source, checkpoint, brands, list, show_progress }.read().await
        })
    };
    progress.finish();
    list
}

/// Asks the API's list, until a signal comes.
fn with_list<T>(
    config: &Config,
    read: impl AsyncFnOnce(&ListSource) -> Result<T, ListError>,
) -> Result<T, RunError> {
    let client = Client::new(&config.api_settings(), &ApiKey::fetch(&config.omnidesk.api_key)?)?;
    let (limits, switch) = (&config.limits, StopSwitch::default());
    let sender =
        SerialSender::new(limits.rate.timeline(), limits.attempts, limits.patience.0, switch.clone());
    let source = ListSource { client, sender };
    let mut interrupts = Interrupts::listen().map_err(RunError::System)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(RunError::System)?.block_on(async {
        let interrupted = async {
            interrupts.reach(1).await;
            switch.stop(Stop::Interrupted);
            pending().await
        };
        first_of(read(&source), interrupted).await
    });
    result.map_err(|error| match error {
        ListError::Interrupted => RunError::Interrupted,
        ListError::Failed(message) => RunError::Stopped(format!(
            "the list of customers cannot be read: {message}\nhint: the key needs the permission CUSTOMER_READ; the same command resumes"
        )),
        ListError::File(error) => RunError::SavedList(error),
        ListError::Checkpoint(error) => error.into(),
    })
}

async fn first_of<T>(one: impl Future<Output = T>, other: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        result = one => result,
        result = other => result,
    }
}
