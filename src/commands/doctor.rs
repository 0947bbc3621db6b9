//! `doctor`: checks the set-up before anything is sent.

use super::print;
use crate::checkpoint::Lock;
use crate::cli::DoctorArgs;
use crate::config::Config;
use crate::doctor::{Extent, LearnedSettings, Verdict, examine};
use crate::report::report_line;
use crate::run::{Exit, RunError};

pub(super) fn doctor(args: &DoctorArgs) -> Result<Exit, RunError> {
    let config = Config::read(&args.config)?;
    let extent = match (args.offline, args.write, args.brand) {
        (true, _, _) => Extent::Machine,
        (false, true, Some(brand)) => Extent::Trial(brand),
        (false, _, brand) => Extent::Control(brand),
    };
    // A run and a trial at once would send more than the rate.
    let _lock = if args.write { Some(Lock::take(&config.checkpoint.path)?) } else { None };
    let report = examine(&config, extent).map_err(RunError::System)?;
    let exit = match report.verdict() {
        Verdict::Good => Exit::Clean,
        Verdict::Attention => Exit::Problems,
        Verdict::Unreachable => Exit::Stopped,
        Verdict::Misconfigured => Exit::Usage,
    };
    let settings = report.settings().map(LearnedSettings::toml).unwrap_or_default();
    if args.json {
        print(format!("{}\n", report.json(exit as u8)).as_bytes())?;
    } else if args.write {
        // The settings are the data.
        report_line(report.text().trim_end());
        print(settings.as_bytes())?;
    } else {
        print(report.text().as_bytes())?;
    }
    Ok(exit)
}
