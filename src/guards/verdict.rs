//! Guards: what would do harm is stopped before its first call.

use serde::{Deserialize, Serialize};

use super::baseline::Baseline;
use super::notices::NoticeKind;
use super::shared_addresses::SharedAddressesPolicy;
use crate::omnidesk::CallKind;
use crate::plan::{NewCustomers, Plan, RecreatedCustomers};
use crate::units::{Amount, Share};

/// Fewer filled cells than this are too few to see a collapse in: by chance,
/// three rows of which one is blank would be one.
const FILLED_MIN: u64 = 20;

/// So many customers may have got another id in a night.
const NEW_IDS_MIN: u64 = 20;

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
    /// The least share of rows with a value in a mapped column, of the share
    /// that the last finished run saw.
    pub min_fill: Share,
    /// What to do about an address that several customers have.
    pub shared_addresses: SharedAddressesPolicy,
    /// What to do about many customers who look as if they had new ids.
    pub new_ids: NewIdsPolicy,
}

/// `new_ids`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NewIdsPolicy {
    /// Let nothing be sent.
    #[default]
    Block,
    /// Do not look.
    Ignore,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            allow_purge: false,
            max_purge: Amount::Count(20),
            max_changes: Amount::Percent(100.0),
            canary: 5,
            min_rows: Amount::Percent(50.0),
            min_fill: Share { percent: 50.0 },
            shared_addresses: SharedAddressesPolicy::Report,
            new_ids: NewIdsPolicy::Block,
        }
    }
}

/// Why a guard blocks, with the figures and the way to give leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GuardVerdict {
    /// The guard, by its key in `[guard]`.
    pub guard: &'static str,
    /// The figures.
    pub message: String,
    /// The arguments of `run` that give leave, and no more than is needed.
    pub leave: String,
}

/// What the guards say to a plan; nothing if it may start.
#[must_use]
pub fn judge_guards(settings: &GuardSettings, survey: &Plan, past: &Baseline) -> Vec<GuardVerdict> {
    let mut verdicts: Vec<GuardVerdict> = judge_missing(survey).into_iter().collect();
    let purges = PurgeCounts { all: survey.calls(CallKind::Purge), missing: survey.missing_purges() };
    verdicts.extend(judge_purges(settings, purges, survey.rows));
    verdicts.extend(judge_changes(settings, survey));
    verdicts.extend(survey.purged_and_back.map(judge_back));
    verdicts.extend(judge_ids(settings, survey, past));
    verdicts.extend(past.rows.and_then(|before| judge_rows(settings, survey, before)));
    verdicts.extend(judge_fill(settings, survey, past));
    verdicts.extend(judge_shared(settings, survey));
    verdicts
}

/// Purges that a run would make.
#[derive(Debug, Clone, Copy)]
pub struct PurgeCounts {
    /// All of them.
    pub all: u64,
    /// Those of customers whom the export does not hold.
    pub missing: u64,
}

/// What the guards say to so many purges by an export of so many rows.
#[must_use]
pub fn judge_purges(settings: &GuardSettings, purges: PurgeCounts, rows: u64) -> Vec<GuardVerdict> {
    let PurgeCounts { all, missing } = purges;
    let would_purge = match missing {
        0 => format!("{all} of {rows} rows would purge a customer's data"),
        _ => format!(
            "{all} customers' data would be purged, of whom {missing} are missing from the export of {rows} rows"
        ),
    };
    let verdict =
        |guard, message| GuardVerdict { guard, message, leave: format!("--allow-purge --max-purge {all}") };
    let mut verdicts = Vec::new();
    let most = settings.max_purge;
    if all > 0 && !settings.allow_purge {
        verdicts.push(verdict("allow_purge", format!("{would_purge}, and purging is not allowed")));
    }
    if all > most.of(rows) {
        verdicts.push(verdict("max_purge", format!("{would_purge}; {most} is the most")));
    }
    verdicts
}

fn judge_changes(settings: &GuardSettings, survey: &Plan) -> Option<GuardVerdict> {
    let (changes, rows, most) = (survey.rows_changing, survey.rows, settings.max_changes);
    (changes > most.of(rows)).then(|| GuardVerdict {
        guard: "max_changes",
        message: format!("{changes} of {rows} rows would create or update a customer; {most} is the most"),
        leave: format!("--max-changes {changes}"),
    })
}

/// A row that says how a customer is to be, behind one that purges: either
/// would be undone, every night anew.
fn judge_back(found: RecreatedCustomers) -> GuardVerdict {
    let RecreatedCustomers { customers, first: (purge, back) } = found;
    GuardVerdict {
        guard: "purged_and_back",
        message: format!(
            "the data of {customers} customers would be purged by one row and the customer made anew by a later one, such as by row {} on line {} and row {} on line {}; leave one row a customer",
            purge.number, purge.line, back.number, back.line
        ),
        leave: "--allow-recreate".to_owned(),
    }
}

/// Ids that are written otherwise than before make every customer anew: a
/// spreadsheet drops zeros in front, a program writes `1.0`.
fn judge_ids(settings: &GuardSettings, survey: &Plan, past: &Baseline) -> Option<GuardVerdict> {
    let NewCustomers { all, look_known } = survey.strangers;
    let brands_before = &past.brands;
    // The addresses of the checkpoint have no brand.
    let is_of_them =
        brands_before.is_empty() || survey.brands.iter().any(|brand| brands_before.contains(brand));
    let blocks = settings.new_ids == NewIdsPolicy::Block && is_of_them;
    (blocks && look_known >= NEW_IDS_MIN && 2 * look_known >= all).then(|| GuardVerdict {
        guard: "new_ids",
        message: format!(
            "{look_known} of {all} customers who are new have the address of a known customer with another id, who is not in this export: are the ids written as before? They would be there twice"
        ),
        leave: "--allow-new-ids".to_owned(),
    })
}

fn judge_rows(settings: &GuardSettings, survey: &Plan, before: u64) -> Option<GuardVerdict> {
    let (least, rows, missing) = (settings.min_rows, survey.rows, survey.missing_purges());
    let purges = match missing {
        0 => String::new(),
        _ => format!("; {missing} customers who are not in it would be purged"),
    };
    (rows < least.of(before)).then(|| GuardVerdict {
        guard: "min_rows",
        message: format!(
            "the export has {rows} rows, the last finished run read {before}; fewer than {least} looks truncated{purges}"
        ),
        leave: format!("--min-rows {rows}"),
    })
}

/// One verdict over all columns that collapsed.
fn judge_fill(settings: &GuardSettings, survey: &Plan, past: &Baseline) -> Option<GuardVerdict> {
    let (before, now) = (past.seen.as_ref()?, &survey.findings.seen);
    let mut least = settings.min_fill.percent;
    let mut columns = Vec::new();
    for (name, filled) in &now.fill {
        let Some((_, filled_before)) = before.fill.iter().find(|(known, _)| known == name) else { continue };
        let expected = share_of(*filled_before, before.describing, now.describing);
        if expected < FILLED_MIN || *filled >= settings.min_fill.of(expected) {
            continue;
        }
        least = least.min(percent(*filled, expected));
        let shares = (percent(*filled, now.describing), percent(*filled_before, before.describing));
        columns.push(format!(
            "{name:?} has a value in {filled} of {} rows ({:.0} %), and had one in {:.0} % at the last finished run",
            now.describing, shares.0, shares.1
        ));
    }
    (!columns.is_empty()).then(|| GuardVerdict {
        guard: "min_fill",
        message: format!("{}; below {} of that a column looks lost", columns.join("; "), settings.min_fill),
        // Rounded down, so that it is leave.
        leave: format!("--min-fill {}%", (least * 100.0).floor() / 100.0),
    })
}

fn judge_shared(settings: &GuardSettings, survey: &Plan) -> Option<GuardVerdict> {
    let count = survey.findings.notices.of(NoticeKind::SharedAddress);
    (count > 0 && settings.shared_addresses == SharedAddressesPolicy::Block).then(|| GuardVerdict {
        guard: "shared_addresses",
        message: format!(
            "{count} addresses are those of several customers each, such as {}",
            survey.findings.notices.examples(NoticeKind::SharedAddress)
        ),
        leave: "--allow-shared-addresses".to_owned(),
    })
}

/// As many of `whole` as `part` is of `of`.
fn share_of(part: u64, of: u64, whole: u64) -> u64 {
    let share = u128::from(part) * u128::from(whole) / u128::from(of.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a share of a count below 2^53")]
fn percent(part: u64, of: u64) -> f64 {
    100.0 * part as f64 / of.max(1) as f64
}

/// Somebody whose row cannot be read is not missing.
fn judge_missing(survey: &Plan) -> Option<GuardVerdict> {
    let found = survey.missing.as_ref()?;
    let unreadable = found.missing.unreadable;
    let first =
        found.first_unreadable.map(|at| format!(", the first of them row {} on line {}", at.number, at.line));
    let missing = survey.missing_purges();
    (unreadable > 0 && missing > 0).then(|| GuardVerdict {
        guard: "missing",
        message: format!(
            "{missing} customers missing from the export would be purged, and {unreadable} rejected rows do not tell whose they are{}: mend these rows (`plan` says what is wrong with them), or set action = \"report\" in [missing]",
            first.unwrap_or_default()
        ),
        // No option says whose a row is.
        leave: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::RunProfile;
    use crate::mapping::Fill;
    use crate::reconcile::{MissingCustomers, MissingPlan};

    #[test]
    fn purges_of_the_missing_count_with_those_of_rows() {
        let mut survey = Plan::for_tests(100, 3, 0);
        let found = MissingCustomers { purge: true, found: 18, ..MissingCustomers::default() };
        survey.miss(MissingPlan { missing: found, ..MissingPlan::default() });
        let mut settings = GuardSettings { allow_purge: true, ..GuardSettings::default() };
        let verdicts = judge_guards(&settings, &survey, &Baseline::default());
        assert_eq!(verdicts.len(), 1);
        assert!(
            verdicts[0].message.starts_with("21 customers' data would be purged, of whom 18 are missing")
        );
        assert_eq!(verdicts[0].leave, "--allow-purge --max-purge 21");
        settings.max_purge = Amount::Count(21);
        assert!(blocked(&settings, &survey, &Baseline::default()).is_empty());
        let mut survey = Plan::for_tests(100, 0, 0);
        let unsure = MissingCustomers { unreadable: 1, ..found };
        survey.miss(MissingPlan { missing: unsure, ..MissingPlan::default() });
        assert_eq!(blocked(&settings, &survey, &Baseline::default()), ["missing"]);
    }

    fn blocked(settings: &GuardSettings, survey: &Plan, past: &Baseline) -> Vec<&'static str> {
        judge_guards(settings, survey, past).into_iter().map(|verdict| verdict.guard).collect()
    }

    fn of_rows(rows: u64) -> Baseline {
        Baseline { rows: Some(rows), ..Baseline::default() }
    }

    #[test]
    fn purges_need_leave_and_stay_below_the_cap() {
        let survey = Plan::for_tests(100, 3, 40);
        let (mut settings, past) = (GuardSettings::default(), Baseline::default());
        assert_eq!(blocked(&settings, &survey, &past), ["allow_purge"]);
        settings.allow_purge = true;
        assert!(blocked(&settings, &survey, &past).is_empty());
        settings.max_purge = Amount::Percent(2.0);
        assert_eq!(blocked(&settings, &survey, &past), ["max_purge"]);
        // The cap never gives leave by itself.
        settings = GuardSettings { max_purge: Amount::Count(1000), ..GuardSettings::default() };
        assert_eq!(blocked(&settings, &survey, &past), ["allow_purge"]);
    }

    #[test]
    fn a_truncated_export_and_a_mass_change_are_blocked() {
        let survey = Plan::for_tests(100, 0, 40);
        let mut settings = GuardSettings::default();
        assert!(blocked(&settings, &survey, &of_rows(200)).is_empty());
        assert_eq!(blocked(&settings, &survey, &of_rows(202)), ["min_rows"]);
        settings.max_changes = Amount::Count(39);
        assert_eq!(blocked(&settings, &survey, &Baseline::default()), ["max_changes"]);
    }

    /// What is said if `now` rows of a column have a value, of 100, and
    /// `before` of 200 had.
    fn filled(settings: &GuardSettings, before: u64, now: u64) -> Option<GuardVerdict> {
        let seen = |rows, filled| RunProfile::of(&Fill::for_tests(rows, &[("email", filled)]), &[]);
        let mut survey = Plan::for_tests(100, 0, 0);
        survey.findings.seen = seen(100, now);
        let past = Baseline { seen: Some(seen(200, before)), ..Baseline::default() };
        judge_guards(settings, &survey, &past).pop()
    }

    #[test]
    fn a_column_that_lost_its_values_is_blocked_and_the_leave_is_enough() {
        let mut settings = GuardSettings::default();
        assert_eq!(filled(&settings, 180, 45), None, "just half of 90 %");
        let verdict = filled(&settings, 180, 44).expect("a verdict");
        assert_eq!((verdict.guard, verdict.leave.as_str()), ("min_fill", "--min-fill 48.88%"));
        assert!(verdict.message.contains("44 of 100 rows (44 %)") && verdict.message.contains("90 %"));
        for now in 0..45 {
            let leave = filled(&GuardSettings::default(), 180, now).expect("a verdict").leave;
            let share = leave.strip_prefix("--min-fill ").expect("a flag");
            settings.min_fill = share.parse().expect("a share");
            assert_eq!(filled(&settings, 180, now), None, "{leave}");
        }
    }

    #[test]
    fn a_column_that_was_nearly_empty_is_left_to_chance() {
        let settings = GuardSettings::default();
        assert_eq!(filled(&settings, 38, 0), None);
        assert!(filled(&settings, 40, 0).is_some());
    }
}
