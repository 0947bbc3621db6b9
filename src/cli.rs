//! The command line.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::report::ProgressSetting;
use crate::sandbox::{BodyForm, Faults, KeyPlace, Statuses, Wording};
use crate::units::{Amount, Period, Rate, Share, TimeOfDay};

/// Moves a company's customer base from a CRM export into Omnidesk.
///
/// The same command line, run again, is always the right way to resume.
#[derive(Debug, Parser)]
#[command(name = "omnidesk-sync", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  every row is applied, unchanged or skipped by rule
  1  finished; some rows are rejected, failed or in doubt
  2  usage, configuration or an export that cannot be read at all; nothing was sent
  3  stopped early: too many failures, the key was refused, or the API is not reachable; resumable
  4  interrupted, or the time window closed; resumable
  5  the machine or this program failed: disk full, damaged checkpoint, broken invariant
  6  another run holds the checkpoint
  7  a guard blocked the run before its first call; a person has to look
  8  of `plan --exit-code` alone: there are calls to make";

const RUN_HELP: &str = "\
Examples:
  omnidesk-sync run --sandbox customers.csv       rehearses it on this machine
  omnidesk-sync run customers.csv
  omnidesk-sync run --only K-100 customers.csv

The same command line resumes an open run. Another export supersedes it if both have only sync and
skip rows, and --fresh gives it up. --full sends every field and address again, but brings no purged
customer back. [missing] decides about customers whom the export does not hold, unless it is a part.";

const PLAN_HELP: &str = "\
A plan changes nothing: an open run stays open, and [missing] purges nobody. --full plans what
`run --full` would send. --fresh is an option of `run` and `purge`.

Exit codes with --exit-code, the first that applies:
  2  an open run is in the way; or usage, configuration or an unreadable export, as always
  7  a guard would block the run
  1  rows would be rejected
  8  there are calls to make
  0  nothing is to be done

Example:
  omnidesk-sync plan --exit-code export.csv || mail -s 'look at the plan' me";

/// Words that people try, and what to use in their place.
const TIPS: [(&[&str], &str); 4] = [
    (
        &[
            "--dry-run",
            "--dryrun",
            "-n",
            "--check",
            "--diff",
            "--noop",
            "--preview",
            "--simulate",
            "--validate",
            "--test",
            "--what-if",
            "check",
            "diff",
            "dry-run",
            "dryrun",
            "lint",
            "preview",
            "simulate",
            "test",
            "validate",
        ],
        "`omnidesk-sync plan EXPORT` checks the configuration and all rows, and shows what `run` would send; `run --sandbox` rehearses on this machine",
    ),
    (
        &[
            "apply", "execute", "import", "load", "migrate", "push", "start", "sync", "upload", "--sync",
            "--apply",
        ],
        "`omnidesk-sync run EXPORT` applies an export; `omnidesk-sync plan EXPORT` shows before what it would send",
    ),
    (
        &["continue", "resume", "retry", "--continue", "--resume", "--retry"],
        "`omnidesk-sync run EXPORT`, the same command line again, resumes the open run",
    ),
    (
        &["--force", "-f", "--yes", "-y"],
        "there is no override for everything: a guard that blocks a run shows the command that overrides it",
    ),
];

impl Cli {
    /// The arguments of this process. The process ends where they are wrong.
    pub fn read() -> Self {
        Self::try_parse().unwrap_or_else(|error| with_tip(error).exit())
    }
}

fn with_tip(mut error: clap::Error) -> clap::Error {
    let word = [ContextKind::InvalidSubcommand, ContextKind::InvalidArg]
        .into_iter()
        .find_map(|kind| error.get(kind));
    if let Some(ContextValue::String(word)) = word {
        let found = TIPS.iter().find(|(words, _)| words.contains(&word.as_str()));
        let is_export = Path::new(word).exists() && error.kind() == ErrorKind::InvalidSubcommand;
        let tip = match found {
            Some((_, tip)) => (*tip).into(),
            None if is_export => format!("`omnidesk-sync run {word}` applies an export").into(),
            None => return error,
        };
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Apply an export: create, update, add channels, purge
    #[command(after_help = RUN_HELP)]
    Run(RunArgs),
    /// Show the calls that `run` would make, without network
    Plan(PlanArgs),
    /// Propose a configuration for an export
    Init(InitArgs),
    /// Record that Omnidesk already holds an export; sends no call
    #[command(after_help = ADOPT_HELP)]
    Adopt(AdoptArgs),
    /// Show the running process and the content of the checkpoint
    Status(StatusArgs),
    /// Show what is known of one customer, and what an export would send
    #[command(after_help = EXPLAIN_HELP)]
    Explain(ExplainArgs),
    /// Purge customers by their ids, without an export
    #[command(after_help = PURGE_HELP)]
    Purge(PurgeArgs),
    /// Write a file that purges the customers whom a run has created; sends nothing
    #[command(after_help = UNDO_HELP)]
    Undo(UndoArgs),
    /// Compare Omnidesk's list of customers with an export and the checkpoint
    #[command(after_help = VERIFY_HELP)]
    Verify(VerifyArgs),
    /// Check the set-up before anything is sent
    Doctor(DoctorArgs),
    /// Start a local, stateful Omnidesk for rehearsals
    Sandbox(SandboxArgs),
    /// Print the JSON schema of the configuration, for editors
    #[command(after_help = SCHEMA_EXAMPLE)]
    Schema,
    /// Print completions for a shell
    #[command(
        after_help = "Example:\n  omnidesk-sync completions bash > ~/.local/share/bash-completion/completions/omnidesk-sync"
    )]
    Completions { shell: Shell },
    /// Print the manual page of the program or of a command
    #[command(after_help = MAN_EXAMPLES)]
    Man(ManArgs),
}

const MAN_EXAMPLES: &str = "\
Examples:
  omnidesk-sync man run | man -l -
  omnidesk-sync man --dir ~/.local/share/man/man1";

const SCHEMA_EXAMPLE: &str = "\
Example:
  omnidesk-sync schema > omnidesk-sync.schema.json

Editors find it by the first line of the configuration:
  #:schema ./omnidesk-sync.schema.json";

/// The options that most commands share.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "omnidesk-sync.toml")]
    pub(crate) config: PathBuf,
    /// Only the first N rows
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Send everything, also acknowledged values
    #[arg(long)]
    pub(crate) full: bool,
    /// Print the result as JSON on stdout
    #[arg(long)]
    pub(crate) json: bool,
    /// Write more log lines: -v, -vv
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Write only one line at the end, and errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// How log lines are written: text or json
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, hide_possible_values = true)]
    pub(crate) log_format: LogFormat,
    /// Whether to show progress: auto or never
    #[arg(long, value_name = "WHEN", value_enum, default_value_t, hide_possible_values = true)]
    pub(crate) progress: ProgressSetting,
}

/// `--log-format`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// Which rows of the export are read, and as what.
#[derive(Debug, Clone, Args)]
pub(crate) struct SelectionArgs {
    /// The export is a part of the base: min_rows, min_fill and [missing] do not apply, and no later
    /// export is compared with it
    #[arg(long)]
    pub(crate) part: bool,
    /// Only the rows of this customer, such as --only C1042; may be repeated. A part of the base
    #[arg(long, value_name = "ID")]
    pub(crate) only: Vec<String>,
    /// The brand of the ids of --only, unless brand_id is a constant
    #[arg(long, value_name = "N", requires = "only")]
    pub(crate) brand: Option<u64>,
}

/// `run`
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Command whose page is printed
    pub command: Option<String>,
    /// Write all pages into this folder instead
    #[arg(long, conflicts_with = "command")]
    pub dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// The CRM export: CSV, JSON lines or .xlsx, also packed; `-` is standard input. Several files are
    /// read as one, in this order: part-*.csv
    #[arg(required = true, value_name = "EXPORT")]
    pub(crate) exports: Vec<PathBuf>,
    /// Use an in-process sandbox instead of base_url: nothing leaves the machine, no key is needed
    #[arg(long)]
    pub(crate) sandbox: bool,
    /// Give up the open run, and decide every row anew
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Requests in a unit of time, such as 5/s or 90/min; overrides a rate by the clock
    #[arg(long, value_name = "RATE")]
    pub(crate) rate: Option<Rate>,
    /// Calls on their way at once
    #[arg(long, value_name = "N")]
    pub(crate) concurrency: Option<NonZeroU32>,
    /// Allow rows to purge customers' data
    #[arg(long)]
    pub(crate) allow_purge: bool,
    /// Most purges, as a count or a share of the rows
    #[arg(long, value_name = "N|N%")]
    pub(crate) max_purge: Option<Amount>,
    /// Most rows that create or update, likewise
    #[arg(long, value_name = "N|N%")]
    pub(crate) max_changes: Option<Amount>,
    #[command(flatten)]
    pub(crate) guards: GuardArgs,
    /// Compare later exports with this one, although it needs --min-rows or --min-fill
    #[arg(long, conflicts_with_all = ["part", "only", "limit"])]
    pub(crate) new_baseline: bool,
    /// Begin a new checkpoint, although the report folder holds runs of this export
    #[arg(long)]
    pub(crate) new_checkpoint: bool,
    /// Create so many known customers again whom Omnidesk does not know any more
    #[arg(long, value_name = "N")]
    pub(crate) allow_vanished: Option<u64>,
    #[command(flatten)]
    pub(crate) window: WindowArgs,
    /// Allow purged customers to be created again
    #[arg(long)]
    pub(crate) allow_recreate: bool,
    /// The folder for result files
    #[arg(long, value_name = "DIR")]
    pub(crate) report_dir: Option<PathBuf>,
    /// Write metrics for Prometheus' textfile collector
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics_file: Option<PathBuf>,
}

/// Overrides of the guards that compare an export with earlier ones, or find a wrong column.
#[derive(Debug, Clone, Args)]
pub(crate) struct GuardArgs {
    /// Fewest rows, as a count or a share of the baseline's
    #[arg(long, value_name = "N|N%")]
    pub(crate) min_rows: Option<Amount>,
    /// Least fill of a mapped field, as a share of the baseline's
    #[arg(long, value_name = "N%")]
    pub(crate) min_fill: Option<Share>,
    /// Allow several customers with the same address
    #[arg(long)]
    pub(crate) allow_shared_addresses: bool,
    /// Allow new customers with the addresses of known customers who are not in the export
    #[arg(long)]
    pub(crate) allow_new_ids: bool,
    /// Allow rows of one id that are different people
    #[arg(long)]
    pub(crate) allow_same_id: bool,
    /// Allow known customers to get the addresses of other known customers
    #[arg(long)]
    pub(crate) allow_moved_addresses: bool,
    /// Reject the rows whose id stands for nobody, and go on
    #[arg(long)]
    pub(crate) allow_placeholder_ids: bool,
}

/// The time window of a run.
#[derive(Debug, Clone, Args)]
pub(crate) struct WindowArgs {
    /// Stop after this time, such as 5h
    #[arg(long, value_name = "PERIOD")]
    pub(crate) max_duration: Option<Period>,
    /// Stop at this time of day, local time
    #[arg(long, value_name = "HH:MM")]
    pub(crate) stop_at: Option<TimeOfDay>,
}

/// `plan`
#[derive(Debug, Args)]
#[command(after_help = PLAN_HELP)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// The CRM export; `-` is standard input. Several files are read as one
    #[arg(required = true, value_name = "EXPORT")]
    pub(crate) exports: Vec<PathBuf>,
    /// Requests in a unit of time, such as 5/s or 90/min; overrides a rate by the clock
    #[arg(long, value_name = "RATE")]
    pub(crate) rate: Option<Rate>,
    #[command(flatten)]
    pub(crate) window: WindowArgs,
    /// Print the first N requests as they would be sent, the key masked
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) show: u64,
    /// End with an exit code that says what the plan holds
    #[arg(long)]
    pub(crate) exit_code: bool,
}

const INIT_HELP: &str = "\
Example:
  omnidesk-sync init customers.csv > omnidesk-sync.toml

It reads the export alone, and neither a configuration nor a checkpoint.
Exit codes: 0 all is found, 1 something has to be filled in, 2 the export cannot be read.";

/// `init`
#[derive(Debug, Args)]
#[command(after_help = INIT_HELP)]
pub(crate) struct InitArgs {
    /// The CRM export; `-` is standard input. Several files are read as one
    #[arg(required = true, value_name = "EXPORT")]
    pub(crate) exports: Vec<PathBuf>,
}

/// `adopt`
#[derive(Debug, Args)]
pub(crate) struct AdoptArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The CRM export; `-` is standard input. Several files are read as one
    #[arg(required_unless_present = "from_omnidesk", value_name = "EXPORT")]
    pub(crate) exports: Vec<PathBuf>,
    /// Read Omnidesk's own list instead: its customers exist, and no field is acknowledged
    #[arg(long, conflicts_with_all = ["exports", "limit", "full"])]
    pub(crate) from_omnidesk: bool,
    #[command(flatten)]
    pub(crate) guards: GuardArgs,
}

const ADOPT_HELP: &str = "\
Examples:
  omnidesk-sync adopt customers.csv
  omnidesk-sync adopt --from-omnidesk             needs [verify] brands in the configuration

An open run is to be finished first, or given up with `run --fresh`. --full changes nothing: every
row is recorded anyhow. A customer of the export can be missing from later ones: see [missing].
With --from-omnidesk the list alone is asked for, and on_exists decides about its customers.
[missing] leaves these alone until an export has held them. The same command resumes an interrupted
list.";

const STATUS_HELP: &str = "\
Example:
  omnidesk-sync status --json

It only reads, also while a run executes. It says which runs are open, and what to type then.";

/// `status`
#[derive(Debug, Args)]
#[command(after_help = STATUS_HELP)]
pub(crate) struct StatusArgs {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "omnidesk-sync.toml")]
    pub(crate) config: PathBuf,
    /// Print it as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `doctor`
#[derive(Debug, Args)]
#[command(after_help = DOCTOR_HELP)]
pub(crate) struct DoctorArgs {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "omnidesk-sync.toml")]
    pub(crate) config: PathBuf,
    /// Check the machine and the configuration alone; nothing is sent
    #[arg(long, conflicts_with = "write")]
    pub(crate) offline: bool,
    /// Make test customers, go through all four calls, purge them, and print the settings learned
    #[arg(long, requires = "brand")]
    pub(crate) write: bool,
    /// The brand of the control request or of the test customers
    #[arg(long, value_name = "N")]
    pub(crate) brand: Option<u64>,
    /// Print the result as JSON on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// `explain`
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The customer's id
    pub(crate) id: String,
    /// The CRM export; `-` is standard input. Several files are read as one
    #[arg(value_name = "EXPORT")]
    pub(crate) exports: Vec<PathBuf>,
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "omnidesk-sync.toml")]
    pub(crate) config: PathBuf,
    /// The customer's brand, where brand_id is not the same for all rows
    #[arg(long, value_name = "N")]
    pub(crate) brand: Option<u64>,
    /// Decide the rows as `run --full` would
    #[arg(long)]
    pub(crate) full: bool,
    /// Print it as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

const DOCTOR_HELP: &str = "\
Examples:
  omnidesk-sync doctor                            one control request shows whether the key works
  omnidesk-sync doctor --write --brand 2 > learned.toml

It leaves the checkpoint as it is: an open run stays open, and [missing] knows nobody of a trial.
--full and --fresh are no options of it: it sends no row.

Exit codes:
  0  all is well
  1  something to look at
  2  usage or configuration; nothing was sent
  3  the API cannot be reached, or refuses the key
  6  another run holds the checkpoint (--write)";

const EXPLAIN_HELP: &str = "\
Example:
  omnidesk-sync explain K-100 customers.csv

It only reads, also while a run executes. Rows that an open run has settled are shown as such.
--full decides the rows as `run --full` would; --fresh is an option of `run` and `purge`. Of a
customer without a row it says what [missing] would do.
Exit codes: 0 the customer is known, 1 unknown.";

/// `purge`
#[derive(Debug, Args)]
pub(crate) struct PurgeArgs {
    /// The customers' ids
    #[arg(value_name = "ID", required_unless_present = "fresh")]
    pub(crate) ids: Vec<String>,
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "omnidesk-sync.toml")]
    pub(crate) config: PathBuf,
    /// The customers' brand, where brand_id is not the same for all rows
    #[arg(long, value_name = "N")]
    pub(crate) brand: Option<u64>,
    /// Purge them; without it, they are only shown
    #[arg(long)]
    pub(crate) allow_purge: bool,
    /// Give up interrupted purges. Without an ID, nothing is sent
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Use an in-process sandbox instead of base_url: nothing leaves the machine, no key is needed
    #[arg(long)]
    pub(crate) sandbox: bool,
    /// Requests in a unit of time, such as 5/s or 90/min; overrides a rate by the clock
    #[arg(long, value_name = "RATE")]
    pub(crate) rate: Option<Rate>,
    /// Print the result as JSON on stdout
    #[arg(long)]
    pub(crate) json: bool,
    /// Write only one line at the end, and errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

const PURGE_HELP: &str = "\
Examples:
  omnidesk-sync purge K-100                       shows whom it would purge, exit code 7
  omnidesk-sync purge --allow-purge K-100 K-101
  omnidesk-sync purge --fresh                     gives up an interrupted purge

The receipt names customers by keyed hash alone. The command can be used while a run is open, and
not while one executes. The same command line resumes it; no run and no `run --fresh` ends it.
Later rows of these customers are rejected, by `run --full` too, and [missing] does not count them.

Exit codes:
  0  all are purged
  1  some are not
  2  usage, configuration, or an id that cannot be one; nothing was sent
  3  stopped early; resumable
  4  interrupted; resumable
  6  another run holds the checkpoint
  7  --allow-purge is missing, or the checkpoint is lost where the report folder holds runs";

/// `undo`
#[derive(Debug, Args)]
pub(crate) struct UndoArgs {
    /// The run: the name or the path of its folder
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,
    /// The CRM export of that run; `-` is standard input. Several files are read as one
    #[arg(required = true, value_name = "EXPORT")]
    pub(crate) exports: Vec<PathBuf>,
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "omnidesk-sync.toml")]
    pub(crate) config: PathBuf,
    /// Purge also customers whom a later run has changed
    #[arg(long)]
    pub(crate) include_changed: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

const UNDO_HELP: &str = "\
Example:
  omnidesk-sync undo 20261123T170509Z-customers customers.csv

It writes undo.csv into the folder of the run, and prints the command that applies it. An open run
stays open and has to end before the file is applied: with --full and --fresh too. [missing] does
not count whom the file has purged.
Exit codes: 0 all customers whom the run has created are in the file, 1 some are not.";

/// `verify`
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The CRM export; `-` is standard input. Several files are read as one
    #[arg(required = true, value_name = "EXPORT")]
    pub(crate) exports: Vec<PathBuf>,
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "omnidesk-sync.toml")]
    pub(crate) config: PathBuf,
    /// Read the whole list, 99 customers a request, and name who differs
    #[arg(long)]
    pub(crate) full: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

const VERIFY_HELP: &str = "\
Examples:
  omnidesk-sync verify customers.csv              one request compares the counts
  omnidesk-sync verify --full customers.csv       reads the list and names who differs

It needs [verify] brands in the configuration. It changes nothing in Omnidesk and nothing in the
checkpoint: an open run stays open, and [missing] purges nobody. --full has its own meaning here;
--fresh is an option of `run` and `purge`. An interrupted list is resumed by the same command.

Exit codes:
  0  nothing differs
  1  something differs
  2  usage, configuration or an unreadable export
  3  the list cannot be read
  4  interrupted; resumable
  6  another run holds the checkpoint";

const SANDBOX_HELP: &str = "\
Example:
  omnidesk-sync sandbox --listen 127.0.0.1:8080 --state sandbox.json

It knows nothing of runs and checkpoints; base_url of a configuration leads to it.";

/// `sandbox`
#[derive(Debug, Args)]
#[command(after_help = SANDBOX_HELP)]
pub(crate) struct SandboxArgs {
    /// Where to listen; a loopback address
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub(crate) listen: std::net::SocketAddr,
    /// Added to every answer
    #[arg(long, value_name = "PERIOD", default_value = "0s")]
    pub(crate) latency: Period,
    /// Answer 429 above this rate
    #[arg(long, value_name = "RATE")]
    pub(crate) rate_limit: Option<Rate>,
    /// Faults by probability, such as reset_after=0.02,error_after=0.01, or all=0.1
    #[arg(long, value_name = "LIST", value_parser = Faults::parse)]
    pub(crate) faults: Option<Faults>,
    /// Most faults of one customer's calls
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) faults_per_customer: u32,
    /// Seed of the faults' random numbers
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Answers in place of the API's, by rules in TOML
    #[arg(long, value_name = "FILE")]
    pub(crate) script: Option<PathBuf>,
    /// Keep the customers in this file, for the next start
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// Let a second create of a customer make a double instead of a refusal
    #[arg(long)]
    pub(crate) allow_doubles: bool,
    /// How refusals are written: english, dutch, code, or none (only a status)
    #[arg(long, value_name = "WORDING", value_enum, default_value_t, hide_possible_values = true)]
    pub(crate) wording: Wording,
    /// Statuses of refusals by kind, such as exists=409,not_found=404, or all=200
    #[arg(long, value_name = "LIST", value_parser = Statuses::parse)]
    pub(crate) statuses: Option<Statuses>,
    /// Read no field of a body in another form: json or form
    #[arg(long, value_name = "FORM", value_enum, hide_possible_values = true)]
    pub(crate) body: Option<BodyForm>,
    /// Look for the key only here: header or query
    #[arg(long, value_name = "PLACE", value_enum, hide_possible_values = true)]
    pub(crate) key_place: Option<KeyPlace>,
    /// Accept only the key in this environment variable; any other gets 401
    #[arg(long, value_name = "NAME")]
    pub(crate) key_env: Option<String>,
}
