//! Guards: an export that would do harm is stopped before its first call.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::baseline::{Baseline, RunProfile};
use super::findings::Findings;
use super::notices::{NoticeKind, NoticeLine};
use super::shared_addresses::SharedAddressesPolicy;
use crate::source::RowRef;
use crate::units::{Amount, Count, Share, counted, pluralize};

/// Fewer filled cells than this are too few to see a collapse in: by chance,
/// three rows of which one is blank would be one.
const FILLED_MIN: u64 = 20;

/// So many rows may have an id that stands for nobody.
const PLACEHOLDERS_MAX: u64 = 3;

/// So many customers may have got another id in a night.
const NEW_IDS_MIN: u64 = 20;

/// `[guard]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GuardSettings {
    /// Whether rows may purge at all.
    pub(crate) allow_purge: bool,
    /// The most purges of one run, of the rows read.
    pub(crate) max_purge: Amount,
    /// The most rows of one run that create or update, of the rows read.
    pub(crate) max_changes: Amount,
    /// The first calls of a run, sent one by one.
    pub(crate) canary: u32,
    /// The most known customers whom the API does not know any more, of the last
    /// hundred known customers.
    pub(crate) max_vanished: Amount,
    /// The fewest rows, of those of the baseline.
    pub(crate) min_rows: Amount,
    /// The least share of rows with a value in a mapped column, of the share in
    /// the baseline.
    pub(crate) min_fill: Share,
    /// What to do about an address that several customers have.
    pub(crate) shared_addresses: SharedAddressesPolicy,
    /// What to do about many customers who look as if they had new ids.
    pub(crate) new_ids: NewIdsPolicy,
    /// What to do about rows of one id that are different people.
    pub(crate) same_id: GuardPolicy,
    /// What to do about known customers who get the addresses of others.
    pub(crate) moved_addresses: GuardPolicy,
    /// `--min-rows`
    #[serde(skip)]
    pub(crate) min_rows_override: Option<Amount>,
    /// `--min-fill`
    #[serde(skip)]
    pub(crate) min_fill_override: Option<Share>,
    /// `--allow-shared-addresses`
    #[serde(skip)]
    pub(crate) allow_shared_addresses: bool,
    /// `--allow-placeholder-ids`
    #[serde(skip)]
    pub(crate) allow_placeholder_ids: bool,
}

/// `same_id`, `moved_addresses`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GuardPolicy {
    /// Block the run.
    #[default]
    Block,
    /// Report it.
    Report,
    /// Say nothing.
    Ignore,
}

/// `new_ids`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NewIdsPolicy {
    /// Block the run.
    #[default]
    Block,
    /// Do not search.
    Ignore,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            allow_purge: false,
            max_purge: Amount::Count(20),
            max_changes: Amount::Percent(100.0),
            canary: 5,
            max_vanished: Amount::Percent(5.0),
            min_rows: Amount::Percent(50.0),
            min_fill: Share { percent: 50.0 },
            shared_addresses: SharedAddressesPolicy::Report,
            new_ids: NewIdsPolicy::Block,
            same_id: GuardPolicy::Block,
            moved_addresses: GuardPolicy::Block,
            min_rows_override: None,
            min_fill_override: None,
            allow_shared_addresses: false,
            allow_placeholder_ids: false,
        }
    }
}

/// What a whole export would do, if every call works.
#[derive(Debug, Clone, Default)]
pub(crate) struct ExportEffects {
    /// Rows read.
    pub(crate) rows: u64,
    /// Rows that create or update.
    pub(crate) changing_rows: u64,
    pub(crate) purges: PurgeCounts,
    /// Rejected rows without a readable id, and the first of them, if customers
    /// who are missing would be purged.
    pub(crate) unreadable_rows: u64,
    pub(crate) first_unreadable: Option<RowRef>,
    /// The first few brands of the rows.
    pub(crate) brands: BTreeSet<u64>,
    pub(crate) recreated: Option<RecreatedCustomers>,
    pub(crate) new_customers: NewCustomers,
    /// Customers of the rows.
    pub(crate) customers: u64,
    /// Customers who would be created without any address, and the first row.
    pub(crate) without_address: u64,
    pub(crate) first_without_address: Option<RowRef>,
    pub(crate) placeholder_ids: PlaceholderIds,
    pub(crate) findings: Findings,
}

/// Rows that are rejected since their id stands for nobody.
#[derive(Debug, Clone, Default)]
pub(crate) struct PlaceholderIds {
    pub(crate) rows: u64,
    pub(crate) first: Vec<u64>,
}

/// Purges that a run would make.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PurgeCounts {
    pub(crate) all: u64,
    /// Those of customers whom the export does not hold.
    pub(crate) missing: u64,
}

/// Customers whom one row would purge and a later `sync` row would create anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecreatedCustomers {
    pub(crate) customers: u64,
    /// The rows of the first of them: the purge and the `sync` row.
    pub(crate) first: (RowRef, RowRef),
}

/// Customers whom the checkpoint does not know, and who have an address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct NewCustomers {
    pub(crate) all: u64,
    /// Of them, those with an address that no other of them has, and that just
    /// one known customer has whom the export does not hold.
    pub(crate) look_known: u64,
}

/// Why a guard blocks, with the numbers and the override.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct GuardVerdict {
    /// The guard, by its key in `[guard]`.
    pub(crate) guard: &'static str,
    pub(crate) message: String,
    /// The options of `run` that override the guard, and no more than needed.
    /// Empty if none does.
    #[serde(rename = "override")]
    pub(crate) override_options: String,
    /// Those that would be needed if the export were a part of the base, if they
    /// are others.
    #[serde(skip)]
    pub(crate) part_options: Option<String>,
}

impl GuardVerdict {
    pub(crate) fn new(guard: &'static str, message: String, override_options: String) -> Self {
        Self { guard, message, override_options, part_options: None }
    }

    /// It needs other options where the export is a part.
    fn of_whole_base(self, part_options: String) -> Self {
        Self { part_options: Some(part_options), ..self }
    }

    /// The options that are needed if the export is a part.
    pub(crate) fn options_of_part(&self) -> &str {
        self.part_options.as_ref().unwrap_or(&self.override_options)
    }

    /// Whether its guard compares the export with the baseline.
    pub(crate) fn is_of_baseline(&self) -> bool {
        matches!(self.guard, "min_rows" | "min_fill")
    }
}

/// The verdicts of all guards; none if the run may start.
pub(crate) fn judge_guards(
    settings: &GuardSettings,
    effects: &ExportEffects,
    baseline: &Baseline,
) -> Vec<GuardVerdict> {
    let mut verdicts: Vec<GuardVerdict> = judge_missing(effects).into_iter().collect();
    verdicts.extend(judge_purges(settings, effects.purges, effects.rows));
    verdicts.extend(judge_changes(settings, effects));
    verdicts.extend(effects.recreated.map(judge_recreated));
    verdicts.extend(judge_ids(settings, effects, baseline));
    verdicts.extend(judge_size(settings, effects, baseline));
    verdicts.extend(judge_shared(settings, effects));
    verdicts.extend(judge_placeholders(settings, effects));
    if settings.same_id == GuardPolicy::Block {
        verdicts.extend(
            effects
                .same_id_text()
                .map(|text| GuardVerdict::new("same_id", text, "--allow-same-id".to_owned())),
        );
    }
    if settings.moved_addresses == GuardPolicy::Block {
        let verdict = |text| GuardVerdict::new("moved_addresses", text, "--allow-moved-addresses".to_owned());
        verdicts.extend(effects.moved_addresses_text().map(verdict));
    }
    verdicts
}

/// The verdicts on so many purges by an export of so many rows.
pub(crate) fn judge_purges(settings: &GuardSettings, purges: PurgeCounts, rows: u64) -> Vec<GuardVerdict> {
    let PurgeCounts { all, missing } = purges;
    let rows_read = counted(rows, "row");
    let would_purge = if missing == 0 {
        format!("{} of {rows_read} would purge a customer's data", Count(all))
    } else {
        let missing = pluralize(missing, "is of a customer", "are of customers");
        format!("{}, of which {missing} missing from the export of {rows_read}", counted(all, "purge"))
    };
    let verdict = |guard, reason: String| {
        let message = format!("{would_purge}{reason}");
        let options = |purges| format!("--allow-purge --max-purge {purges}");
        let verdict = GuardVerdict::new(guard, message, options(all));
        let of_rows = all.saturating_sub(missing);
        // A part purges nobody for being missing.
        if missing == 0 {
            verdict
        } else {
            verdict.of_whole_base(if of_rows > 0 { options(of_rows) } else { String::new() })
        }
    };
    let mut verdicts = Vec::new();
    let most = settings.max_purge;
    if all > 0 && !settings.allow_purge {
        verdicts.push(verdict("allow_purge", ", and allow_purge is false".to_owned()));
    }
    if all > most.count_in(rows) {
        verdicts.push(verdict("max_purge", format!("; the limit is {most}")));
    }
    verdicts
}

fn judge_changes(settings: &GuardSettings, effects: &ExportEffects) -> Option<GuardVerdict> {
    let (changes, rows, most) = (effects.changing_rows, effects.rows, settings.max_changes);
    if changes <= most.count_in(rows) {
        return None;
    }
    let (changing, rows) = (Count(changes), counted(rows, "row"));
    let message = format!("{changing} of {rows} would create or update a customer; the limit is {most}");
    Some(GuardVerdict::new("max_changes", message, format!("--max-changes {changes}")))
}

/// Every export would undo one of the two rows and then the other.
fn judge_recreated(found: RecreatedCustomers) -> GuardVerdict {
    let RecreatedCustomers { customers, first: (purge, sync) } = found;
    let message = format!(
        "one row would purge and a later row would create anew {}, such as {purge} and {sync}; keep one row a customer",
        counted(customers, "customer")
    );
    GuardVerdict::new("purge_and_recreate", message, "--allow-recreate".to_owned())
}

/// Ids that are written otherwise than before create every customer anew: a
/// spreadsheet drops leading zeros, a program writes `1.0`.
fn judge_ids(settings: &GuardSettings, effects: &ExportEffects, baseline: &Baseline) -> Option<GuardVerdict> {
    let NewCustomers { all, look_known } = effects.new_customers;
    let brands_before = &baseline.brands;
    // The checkpoint's addresses have no brand.
    let has_same_brand =
        brands_before.is_empty() || effects.brands.iter().any(|brand| brands_before.contains(brand));
    let blocks = settings.new_ids == NewIdsPolicy::Block && has_same_brand;
    if !blocks || look_known < NEW_IDS_MIN || 2 * look_known < all {
        return None;
    }
    let message = format!(
        "{} of {} new customers have the address of a known customer with another id, who is not in this export. Are the ids written as before? These customers would exist twice",
        Count(look_known),
        Count(all)
    );
    Some(GuardVerdict::new("new_ids", message, "--allow-new-ids".to_owned()))
}

/// The verdicts of the guards that compare the export with the baseline.
fn judge_size(settings: &GuardSettings, effects: &ExportEffects, baseline: &Baseline) -> Vec<GuardVerdict> {
    let rows = baseline.rows.and_then(|before| judge_rows(settings, effects, before));
    let fill = baseline.profile.as_ref().and_then(|before| judge_fill(settings, effects, before));
    rows.into_iter().chain(fill).collect()
}

/// Whether `min_rows` or `min_fill` would block the run without an override.
pub(crate) fn needs_size_override(
    settings: &GuardSettings,
    effects: &ExportEffects,
    baseline: &Baseline,
) -> bool {
    let configured = GuardSettings { min_rows_override: None, min_fill_override: None, ..settings.clone() };
    !judge_size(&configured, effects, baseline).is_empty()
}

fn judge_rows(settings: &GuardSettings, effects: &ExportEffects, before: u64) -> Option<GuardVerdict> {
    let least = settings.min_rows_override.unwrap_or(settings.min_rows);
    let (rows, missing) = (effects.rows, effects.purges.missing);
    if rows >= least.count_in(before) {
        return None;
    }
    let mut message = format!(
        "the export has {}, the last full run read {}; fewer than {least} of that looks truncated",
        counted(rows, "row"),
        Count(before)
    );
    if missing > 0 {
        let _ = write!(message, "; {} who are not in it would be purged", counted(missing, "customer"));
    }
    let verdict = GuardVerdict::new("min_rows", message, format!("--min-rows {rows}"));
    Some(verdict.of_whole_base(String::new()))
}

/// One verdict over all columns that collapsed.
fn judge_fill(
    settings: &GuardSettings,
    effects: &ExportEffects,
    before: &RunProfile,
) -> Option<GuardVerdict> {
    let now = &effects.findings.profile;
    let min_fill = settings.min_fill_override.unwrap_or(settings.min_fill);
    let mut least = min_fill.percent;
    let mut columns = Vec::new();
    for (name, filled) in &now.fill {
        let Some((_, filled_before)) = before.fill.iter().find(|(known, _)| known == name) else { continue };
        let expected = scale(*filled_before, before.described_rows, now.described_rows);
        if expected < FILLED_MIN || *filled >= min_fill.count_in(expected) {
            continue;
        }
        least = least.min(percent(*filled, expected));
        columns.push(format!(
            "column {name:?} has a value in {} of {} ({:.0} %), in the last full run in {:.0} %",
            Count(*filled),
            counted(now.described_rows, "row"),
            percent(*filled, now.described_rows),
            percent(*filled_before, before.described_rows)
        ));
    }
    if columns.is_empty() {
        return None;
    }
    let message = format!("{}; below {min_fill} of that a column looks lost", columns.join("; "));
    // Rounded down, so that it overrides the guard.
    let enough = (least * 100.0).floor() / 100.0;
    let verdict = GuardVerdict::new("min_fill", message, format!("--min-fill {enough}%"));
    Some(verdict.of_whole_base(String::new()))
}

fn judge_shared(settings: &GuardSettings, effects: &ExportEffects) -> Option<GuardVerdict> {
    if settings.allow_shared_addresses {
        return None;
    }
    let override_options = "--allow-shared-addresses".to_owned();
    let widest = &effects.findings.widest_address;
    if settings.shared_addresses != SharedAddressesPolicy::Ignore && widest.is_suspicious(effects.customers) {
        let message = format!(
            "{} of {} have the same {}, such as those of rows {}. Is another column mapped than the customer's own address?",
            Count(widest.customers),
            counted(effects.customers, "customer"),
            widest.field,
            join(&widest.rows)
        );
        return Some(GuardVerdict::new("shared_addresses", message, override_options));
    }
    let notices = &effects.findings.notices;
    let count = notices.count(NoticeKind::SharedAddress);
    if count == 0 || settings.shared_addresses != SharedAddressesPolicy::Block {
        return None;
    }
    let message = format!(
        "{} shared by several customers, such as {}",
        pluralize(count, "address is", "addresses are"),
        notices.examples(NoticeKind::SharedAddress)
    );
    Some(GuardVerdict::new("shared_addresses", message, override_options))
}

/// A few guests have no id, but a column of them is no id column.
fn judge_placeholders(settings: &GuardSettings, effects: &ExportEffects) -> Option<GuardVerdict> {
    let found = &effects.placeholder_ids;
    if settings.allow_placeholder_ids || found.rows <= PLACEHOLDERS_MAX || 100 * found.rows <= effects.rows {
        return None;
    }
    let message = format!(
        "{} of {} have an id that stands for nobody, such as rows {}; a rule can leave such rows out (`plan` shows it)",
        Count(found.rows),
        counted(effects.rows, "row"),
        join(&found.first)
    );
    Some(GuardVerdict::new("placeholder_ids", message, "--allow-placeholder-ids".to_owned()))
}

fn join(rows: &[u64]) -> String {
    rows.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl ExportEffects {
    /// What is wrong, if rows of one id are different people.
    fn same_id_text(&self) -> Option<String> {
        let found = &self.findings.same_id;
        found.is_suspicious(self.customers).then(|| {
            format!(
                "{} rows of different people, who share neither last name nor address, such as {}. Is another column mapped to primary_id than the customer's own?",
                pluralize(found.ids(), "id has", "ids have"),
                found.examples()
            )
        })
    }

    /// What is wrong, if known customers get the addresses of others.
    fn moved_addresses_text(&self) -> Option<String> {
        let found = &self.findings.moved_addresses;
        found.are_suspicious().then(|| {
            format!(
                "{} of {} known customers who change would get an address that another known customer loses, such as rows {}. Was a column sorted by itself?",
                Count(found.customers),
                Count(found.changed),
                join(&found.rows)
            )
        })
    }

    /// Findings that are reported and block nothing.
    pub(crate) fn lines(&self, same_id: GuardPolicy, moved_addresses: GuardPolicy) -> Vec<NoticeLine> {
        let line =
            |code: &str, count, message| NoticeLine { code: code.to_owned(), count, before: 0, message };
        let same_id = self.same_id_text().filter(|_| same_id == GuardPolicy::Report);
        let moved = self.moved_addresses_text().filter(|_| moved_addresses == GuardPolicy::Report);
        let without = self.first_without_address.filter(|_| self.without_address > 0).map(|first| {
            format!(
                "{} created without any address, such as {first}: Omnidesk recognises nobody of them in a message",
                pluralize(self.without_address, "customer is", "customers are")
            )
        });
        let Findings { same_id: ids, moved_addresses: addresses, .. } = &self.findings;
        let lines = [
            same_id.map(|text| line("same_id", ids.ids(), text)),
            moved.map(|text| line("moved_addresses", addresses.customers, text)),
            without.map(|text| line("without_address", self.without_address, text)),
        ];
        lines.into_iter().flatten().collect()
    }
}

/// A customer whose row cannot be read is not missing.
fn judge_missing(effects: &ExportEffects) -> Option<GuardVerdict> {
    let (unreadable, missing) = (effects.unreadable_rows, effects.purges.missing);
    if unreadable == 0 || missing == 0 {
        return None;
    }
    let first = effects.first_unreadable.map(|at| format!(", first {at}"));
    let message = format!(
        "{} missing from the export would be purged, but {} no readable id{}: fix these rows (`plan` shows what is wrong), or set action = \"report\" in [missing]",
        counted(missing, "customer"),
        pluralize(unreadable, "rejected row has", "rejected rows have"),
        first.unwrap_or_default()
    );
    // No option can supply the id of a row.
    Some(GuardVerdict::new("missing", message, String::new()).of_whole_base(String::new()))
}

/// `part` of `of`, scaled to `whole`.
fn scale(part: u64, of: u64, whole: u64) -> u64 {
    let share = u128::from(part) * u128::from(whole) / u128::from(of.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a share of a count below 2^53")]
fn percent(part: u64, of: u64) -> f64 {
    100.0 * part as f64 / of.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::Fill;

    fn effects(rows: u64, all: u64, missing: u64, changing_rows: u64) -> ExportEffects {
        let purges = PurgeCounts { all, missing };
        ExportEffects { rows, purges, changing_rows, ..ExportEffects::default() }
    }

    fn blocking(settings: &GuardSettings, effects: &ExportEffects, baseline: &Baseline) -> Vec<&'static str> {
        judge_guards(settings, effects, baseline).into_iter().map(|verdict| verdict.guard).collect()
    }

    #[test]
    fn purges_of_the_missing_count_with_those_of_rows() {
        let effects = effects(100, 21, 18, 0);
        let mut settings = GuardSettings { allow_purge: true, ..GuardSettings::default() };
        let verdicts = judge_guards(&settings, &effects, &Baseline::default());
        assert_eq!(verdicts.len(), 1);
        assert!(verdicts[0].message.starts_with("21 purges, of which 18 are of customers missing"));
        assert_eq!(verdicts[0].override_options, "--allow-purge --max-purge 21");
        settings.max_purge = Amount::Count(21);
        assert!(blocking(&settings, &effects, &Baseline::default()).is_empty());
        let unreadable = ExportEffects { unreadable_rows: 1, ..effects };
        assert_eq!(blocking(&settings, &unreadable, &Baseline::default()), ["missing"]);
    }

    #[test]
    fn purges_need_permission_and_stay_below_the_limit() {
        let effects = effects(100, 3, 0, 40);
        let (mut settings, baseline) = (GuardSettings::default(), Baseline::default());
        assert_eq!(blocking(&settings, &effects, &baseline), ["allow_purge"]);
        settings.allow_purge = true;
        assert!(blocking(&settings, &effects, &baseline).is_empty());
        settings.max_purge = Amount::Percent(2.0);
        assert_eq!(blocking(&settings, &effects, &baseline), ["max_purge"]);
        // The limit alone permits nothing.
        settings = GuardSettings { max_purge: Amount::Count(1000), ..GuardSettings::default() };
        assert_eq!(blocking(&settings, &effects, &baseline), ["allow_purge"]);
    }

    #[test]
    fn a_truncated_export_and_a_mass_change_are_blocked() {
        let effects = effects(100, 0, 0, 40);
        let baseline = |rows| Baseline { rows: Some(rows), ..Baseline::default() };
        let mut settings = GuardSettings::default();
        assert!(blocking(&settings, &effects, &baseline(200)).is_empty());
        assert_eq!(blocking(&settings, &effects, &baseline(202)), ["min_rows"]);
        settings.max_changes = Amount::Count(39);
        assert_eq!(blocking(&settings, &effects, &Baseline::default()), ["max_changes"]);
    }

    /// The verdict if `now` rows of 100 have a value in a column, and `before`
    /// of 200 had.
    fn judge_filled(settings: &GuardSettings, before: u64, now: u64) -> Option<GuardVerdict> {
        let profile = |rows, filled| RunProfile::new(&Fill::for_tests(rows, &[("email", filled)]), &[]);
        let mut effects = effects(100, 0, 0, 0);
        effects.findings.profile = profile(100, now);
        let baseline = Baseline { profile: Some(profile(200, before)), ..Baseline::default() };
        judge_guards(settings, &effects, &baseline).pop()
    }

    #[test]
    fn a_column_that_lost_its_values_is_blocked_and_the_override_is_enough() {
        let mut settings = GuardSettings::default();
        assert_eq!(judge_filled(&settings, 180, 45), None, "just half of 90 %");
        let verdict = judge_filled(&settings, 180, 44).expect("a verdict");
        assert_eq!((verdict.guard, verdict.override_options.as_str()), ("min_fill", "--min-fill 48.88%"));
        assert!(verdict.message.contains("44 of 100 rows (44 %)") && verdict.message.contains("90 %"));
        for now in 0..45 {
            let options =
                judge_filled(&GuardSettings::default(), 180, now).expect("a verdict").override_options;
            let share = options.strip_prefix("--min-fill ").expect("an option");
            settings.min_fill = share.parse().expect("a share");
            assert_eq!(judge_filled(&settings, 180, now), None, "{options}");
        }
    }

    #[test]
    fn a_column_that_was_nearly_empty_is_not_judged() {
        let settings = GuardSettings::default();
        assert_eq!(judge_filled(&settings, 38, 0), None);
        assert!(judge_filled(&settings, 40, 0).is_some());
    }
}
