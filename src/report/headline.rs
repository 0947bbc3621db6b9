//! What a page says first: what happened, and what to do next.

use serde::Serialize;
use serde_json::Value;

use super::mask::mask_names;
use super::summary::NextStep;
use crate::reconcile::Outcome;
use crate::units::{Count, counted, pluralize};

/// The first words of a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Headline {
    /// For its color: `good`, `problem` or `stopped`.
    pub(super) state: &'static str,
    /// One sentence.
    pub(super) text: String,
    pub(super) next: Vec<NextStep>,
}

/// Of a summary.
pub(super) fn headline(summary: &Value) -> Headline {
    let rows = summary["rows"].as_u64().unwrap_or_default();
    let rows_with = |has: fn(Outcome) -> bool| -> u64 {
        let outcomes = Outcome::ALL.into_iter().filter(|outcome| has(*outcome));
        outcomes.filter_map(|outcome| summary["outcomes"][outcome.as_str()].as_u64()).sum()
    };
    let problems = rows_with(Outcome::is_problem);
    let left = rows_with(|outcome| outcome == Outcome::NotAttempted);
    let purges_left =
        ["failed", "in_doubt", "not_attempted"].iter().filter_map(|key| summary["missing"][key].as_u64());
    let purges_left: u64 = purges_left.sum();
    let idle = rows_with(|outcome| matches!(outcome, Outcome::Unchanged | Outcome::Skipped));
    let all = counted(rows, "row");
    let (state, text) = if !summary["stopped"].is_null() {
        let (left, are) = (Count(left), if left == 1 { "is" } else { "are" });
        ("stopped", format!("The run stopped early: {left} of {all} {are} not attempted yet."))
    } else if summary["balanced"] == false {
        ("stopped", "This program failed: not every row has one outcome.".to_owned())
    } else if problems > 0 {
        let need = if problems == 1 { "needs" } else { "need" };
        let rest = pluralize(rows.saturating_sub(problems), "other row is", "other rows are");
        ("problem", format!("{} of {all} {need} a person; {rest} done.", Count(problems)))
    } else if purges_left > 0 {
        let customers = pluralize(purges_left, "missing customer is", "missing customers are");
        ("problem", format!("{} done, but {customers} not purged.", pluralize(rows, "row is", "rows are")))
    } else if rows == 0 {
        ("good", "The export has no row, so there was nothing to do.".to_owned())
    } else if idle == rows && summary["requests"] == 0 {
        ("good", format!("Nothing to do: {} unchanged or skipped.", pluralize(rows, "row is", "rows are")))
    } else {
        ("good", format!("{} done, and none needs a person.", pluralize(rows, "row is", "rows are")))
    };
    Headline { state, text, next: next_steps(summary) }
}

/// What a stopped run says, or what the summary has.
fn next_steps(summary: &Value) -> Vec<NextStep> {
    let mut next = Vec::new();
    if let Some(message) = summary["stopped"]["message"].as_str() {
        // An indented line quotes an answer about one row.
        let masked = |line: &str| if line.starts_with(' ') { mask_names(line) } else { line.to_owned() };
        next.extend(message.lines().map(|line| NextStep { text: sentence(&masked(line)), command: None }));
    }
    for step in summary["next"].as_array().into_iter().flatten() {
        let command = step["command"].as_str().map(str::to_owned);
        next.push(NextStep { text: sentence(step["text"].as_str().unwrap_or_default()), command });
    }
    let others = summary["creates_in_doubt"].as_u64().unwrap_or_default();
    let in_doubt = summary["outcomes"]["in_doubt"].as_u64().unwrap_or_default();
    if others > in_doubt && summary["stopped"].is_null() {
        let creates =
            pluralize(others - in_doubt, "create of an earlier run is", "creates of earlier runs are");
        let text = format!("{creates} in doubt: look for the customers in Omnidesk.");
        next.push(NextStep { text, command: None });
    }
    if next.is_empty() {
        next.push(NextStep { text: "Nothing is left to do.".to_owned(), command: None });
    }
    next
}

/// A line of a message, which begins with a small letter or a label.
fn sentence(line: &str) -> String {
    let line = line.strip_prefix("hint: ").unwrap_or(line);
    let mut letters = line.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// A number with thousands separators, and the decimals that it has.
pub(super) fn number_text(number: f64) -> String {
    let text = number.to_string();
    match text.split_once('.') {
        Some((_, decimals)) => format!("{}.{decimals}", Count(number.trunc().abs() as u64)),
        None => Count(number.abs() as u64).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn summary(outcomes: &Value, more: &Value) -> Value {
        let rows: u64 =
            outcomes.as_object().into_iter().flatten().filter_map(|(_, rows)| rows.as_u64()).sum();
        let mut summary = json!({
            "rows": rows, "outcomes": outcomes, "requests": 9, "balanced": true, "stopped": null,
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            summary[key] = value.clone();
        }
        summary
    }

    #[test]
    fn one_sentence_says_what_happened() {
        let none = json!({});
        for (outcomes, more, state, text) in [
            (json!({ "created": 1200 }), &none, "good", "1,200 rows are done, and none needs a person."),
            (json!({}), &none, "good", "The export has no row, so there was nothing to do."),
            (
                json!({ "unchanged": 4 }),
                &json!({ "requests": 0 }),
                "good",
                "Nothing to do: 4 rows are unchanged or skipped.",
            ),
            (
                json!({ "created": 9, "failed": 1 }),
                &none,
                "problem",
                "1 of 10 rows needs a person; 9 other rows are done.",
            ),
            (
                json!({ "created": 9, "not_attempted": 2 }),
                &json!({ "stopped": { "message": "interrupted" } }),
                "stopped",
                "The run stopped early: 2 of 11 rows are not attempted yet.",
            ),
            (
                json!({ "created": 2 }),
                &json!({ "missing": { "failed": 1 } }),
                "problem",
                "2 rows are done, but 1 missing customer is not purged.",
            ),
        ] {
            let headline = headline(&summary(&outcomes, more));
            assert_eq!((headline.state, headline.text.as_str()), (state, text));
        }
    }

    #[test]
    fn the_next_steps_have_commands() {
        let steps = json!({ "next": [{ "text": "fix 1 row:", "command": "run it" }] });
        let next = next_steps(&summary(&json!({ "failed": 2, "rejected": 1 }), &steps));
        assert_eq!(next, [NextStep { text: "Fix 1 row:".to_owned(), command: Some("run it".to_owned()) }]);
        let said = |text: &str| NextStep { text: text.to_owned(), command: None };
        let stop = json!({ "stopped": { "message": "the API is away\nhint: run it again" } });
        let next = next_steps(&summary(&json!({ "not_attempted": 2 }), &stop));
        assert_eq!(next, ["The API is away", "Run it again"].map(said));
        let next = next_steps(&summary(&json!({ "created": 2 }), &json!({})));
        assert_eq!(next, [said("Nothing is left to do.")]);
    }

    #[test]
    fn numbers_have_separators_and_keep_their_decimals() {
        let texts = [0.0, 999.0, 1_234_567.0, 1234.5, 0.123].map(number_text);
        assert_eq!(texts, ["0", "999", "1,234,567", "1,234.5", "0.123"]);
    }
}
