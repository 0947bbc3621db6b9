//! Guards: what would do harm is stopped before its first call.

use serde::{Deserialize, Serialize};

use super::survey::Survey;
use crate::omnidesk::Kind;
use crate::units::Amount;

/// `[guard]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardSettings {
    /// Whether rows may purge at all.
    pub allow_purge: bool,
    /// The most purges of one run, of the rows read.
    pub max_purge: Amount,
    /// The most rows of one run that create or update, of the rows read.
    pub max_changes: Amount,
    /// The first calls of a run, sent one by one.
    pub canary: u32,
    /// The fewest rows, of those that the last finished run read.
    pub min_rows: Amount,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            allow_purge: false,
            max_purge: Amount::Count(20),
            max_changes: Amount::Percent(100.0),
            canary: 5,
            min_rows: Amount::Percent(50.0),
        }
    }
}

/// Why a guard blocks, with the figures and the way to give leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The guard, by its key in `[guard]`.
    pub guard: &'static str,
    /// The figures.
    pub message: String,
    /// How to give leave.
    pub leave: String,
}

/// What the guards say to a plan; nothing if it may start. `rows_before` is
/// how many rows the last finished run read.
#[must_use]
pub fn judge_guards(settings: &GuardSettings, survey: &Survey, rows_before: Option<u64>) -> Vec<Verdict> {
    let rows = survey.rows;
    let purges = survey.calls(Kind::Purge);
    let changes = survey.rows_changing;
    let mut verdicts = Vec::new();
    if purges > 0 && !settings.allow_purge {
        verdicts.push(Verdict {
            guard: "allow_purge",
            message: format!(
                "{purges} of {rows} rows would purge a customer's data, and purging is not allowed"
            ),
            leave: format!("--allow-purge --max-purge {purges}"),
        });
    }
    if purges > settings.max_purge.of(rows) {
        verdicts.push(Verdict {
            guard: "max_purge",
            message: format!(
                "{purges} of {rows} rows would purge a customer's data; {} is the most",
                settings.max_purge
            ),
            leave: format!("--allow-purge --max-purge {purges}"),
        });
    }
    if changes > settings.max_changes.of(rows) {
        verdicts.push(Verdict {
            guard: "max_changes",
            message: format!(
                "{changes} of {rows} rows would create or update a customer; {} is the most",
                settings.max_changes
            ),
            leave: format!("max_changes = {changes} in [guard]"),
        });
    }
    if let Some(before) = rows_before.filter(|before| rows < settings.min_rows.of(*before)) {
        verdicts.push(Verdict {
            guard: "min_rows",
            message: format!(
                "the export has {rows} rows, the last finished run read {before}; fewer than {} looks truncated",
                settings.min_rows
            ),
            leave: format!("min_rows = {rows} in [guard]"),
        });
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked(settings: &GuardSettings, survey: &Survey, before: Option<u64>) -> Vec<&'static str> {
        judge_guards(settings, survey, before).into_iter().map(|verdict| verdict.guard).collect()
    }

    #[test]
    fn purges_need_leave_and_stay_below_the_cap() {
        let survey = Survey::for_tests(100, 3, 40);
        let mut settings = GuardSettings::default();
        assert_eq!(blocked(&settings, &survey, None), ["allow_purge"]);
        settings.allow_purge = true;
        assert!(blocked(&settings, &survey, None).is_empty());
        settings.max_purge = Amount::Percent(2.0);
        assert_eq!(blocked(&settings, &survey, None), ["max_purge"]);
        // The cap never gives leave by itself.
        settings = GuardSettings { max_purge: Amount::Count(1000), ..GuardSettings::default() };
        assert_eq!(blocked(&settings, &survey, None), ["allow_purge"]);
    }

    #[test]
    fn a_truncated_export_and_a_mass_change_are_blocked() {
        let survey = Survey::for_tests(100, 0, 40);
        let mut settings = GuardSettings::default();
        assert!(blocked(&settings, &survey, Some(200)).is_empty());
        assert_eq!(blocked(&settings, &survey, Some(202)), ["min_rows"]);
        settings.max_changes = Amount::Count(39);
        assert_eq!(blocked(&settings, &survey, None), ["max_changes"]);
    }
}
