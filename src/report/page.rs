//! `report.html`: the summary for people, in one file that needs no other.
//!
//! It goes out as an attachment and is opened by a browser, from the disk. So it has
//! its own styles, no script, and nothing to load; its policy forbids all of that to
//! whatever a text of the export might smuggle in. It shows no value of a row.
//! All numbers are those of `summary.json`.

use std::sync::Arc;

use minijinja::value::Serde;
use minijinja::{Environment, Error};
use serde_json::{Value, json};

use super::figure::{clock_text, figures};
use super::headline::{headline, number_text};
use super::mask::mask_text;
use crate::reconcile::Outcome;
use crate::units::Period;

/// Where there is no number.
const NONE: &str = "–";

/// The page of a summary. Text of the export and the server is escaped, since the
/// template's name ends with `.html`.
pub(crate) fn page(summary: &Value) -> Result<String, Error> {
    let mut environment = Environment::new();
    // Rows are mapped by templates too, which get no macros by a feature of the crate.
    // So what repeats is a template or a function of its own.
    environment.add_template("page.html", include_str!("page.html"))?;
    environment.add_template("figure.html", include_str!("figure.html"))?;
    add_functions(&mut environment, summary);
    let outcomes = |has: fn(Outcome) -> bool| {
        let outcomes = Outcome::ALL.into_iter().filter(|outcome| has(*outcome));
        outcomes.map(Outcome::as_str).collect::<Vec<_>>()
    };
    let is_rest = |outcome| matches!(outcome, Outcome::Unchanged | Outcome::Skipped | Outcome::NotAttempted);
    let mut context = summary.clone();
    context["css"] = include_str!("page.css").into();
    context["headline"] = json!(headline(summary));
    context["order"] = outcomes(|_| true).into();
    context["problems"] = outcomes(|outcome| outcome.is_problem() && outcome != Outcome::NotAttempted).into();
    context["rest"] = outcomes(is_rest).into();
    for (name, figure) in figures(summary) {
        context[name] = environment.get_template("figure.html")?.render(Serde(&figure))?.into();
    }
    environment.get_template("page.html")?.render(Serde(&context))
}

/// A number of the summary by its path, such as `calls.create` or `causes.0.count`.
fn at_path<'a>(summary: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(summary, |value, key| match key.parse::<usize>() {
        Ok(nth) => &value[nth],
        Err(_) => &value[key],
    })
}

fn add_functions(environment: &mut Environment, summary: &Value) {
    let summary = Arc::new(summary.clone());
    // A number of the summary, for people and for programs.
    let shown = |summary: Arc<Value>, text: fn(f64) -> String| {
        move |path: &str| {
            let number = at_path(&summary, path);
            let element = number
                .as_f64()
                .map(|value| format!("<data value=\"{number}\" data-key=\"{path}\">{}</data>", text(value)));
            minijinja::Value::from_safe_string(element.unwrap_or_else(|| NONE.to_owned()))
        }
    };
    environment.add_function("data", shown(Arc::clone(&summary), number_text));
    environment.add_function("period", shown(Arc::clone(&summary), period_text));
    // How much a number differs from that of the run before.
    environment.add_function("change", move |path: &str| {
        let (now, before) = (at_path(&summary, path).as_f64(), at_path(&summary["before"], path).as_f64());
        let text = if path == "seconds" { period_text } else { number_text };
        now.zip(before).map_or(NONE.to_owned(), |(now, before)| change_text(now - before, text))
    });
    environment.add_filter("number", number_text);
    // As in the configuration.
    environment.add_filter("setting", |setting: Serde<Value>| match setting.0 {
        Value::String(text) => text,
        other => other.to_string(),
    });
    environment.add_filter("masked", |text: &str| mask_text(text, None));
    environment.add_filter("time", |time: &str| clock_text(time, 0.0, "%Y-%m-%d %H:%M:%S"));
    environment.add_filter("zone", |time: &str| clock_text(time, 0.0, "%:z"));
}

fn change_text(change: f64, text: fn(f64) -> String) -> String {
    let size = (change.abs() * 100.0).round() / 100.0;
    match change {
        _ if size == 0.0 => "=".to_owned(),
        ..0.0 => format!("−{}", text(size)),
        _ => format!("+{}", text(size)),
    }
}

/// A length of time for people.
fn period_text(seconds: f64) -> String {
    let period = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
    if seconds < 10.0 {
        format!("{} s", number_text((seconds * 100.0).round() / 100.0))
    } else {
        Period(period).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As large as a page can become: a run of weeks, with many causes.
    #[test]
    fn the_page_of_the_longest_run_is_small() {
        let list = |number: f64| vec![json!(number); 120];
        let cause = json!({
            "count": 1_234_567, "row": 12_345_678, "line": 12_345_679, "column": "a".repeat(60), "outcome": "failed",
            "code": "refused", "masked_message": "m".repeat(400), "masked_value": "a".repeat(40), "hint": "h".repeat(200),
        });
        let mut timeline = json!({
            "started": "2026-11-28T02:30:00Z", "seconds": 983_040, "bucket_seconds": 8192,
            "answer_ms": { "median": list(12.3), "p95": list(1234.0), "p99": list(12_345.0) },
        });
        for key in ["requests", "calls", "limited", "failed", "waited_seconds"] {
            timeline[key] = list(1_234_567.0).into();
        }
        timeline["per_second"] = list(123.0).into();
        timeline["allowed_per_second"] = list(200.0).into();
        let outcomes: Value = Outcome::ALL.map(|outcome| (outcome.as_str(), 1_234_567)).into_iter().collect();
        let summary = json!({
            "export": "customers.csv", "started": "2026-11-28T02:30:00Z", "ended": "2026-12-09T12:00:00Z",
            "rows": 12_345_670, "outcomes": outcomes, "no_rows": { "blank": 1, "headers": 0, "footers": 0 },
            "causes": vec![cause; 64], "timeline": timeline, "calls": { "create": 1, "refused": 2 },
            "answers": { "count": 9, "median_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0 },
            "notices": [], "guards": [], "settings": {}, "files": ["failed.csv"], "before_resume": {},
        });
        let page = page(&summary).expect("a page");
        assert!(page.contains("Time to an answer") && page.contains("1,234,567"));
        assert!(page.len() < 200_000, "{} bytes", page.len());
    }

    #[test]
    fn lengths_of_time_and_changes_are_short() {
        assert_eq!([0.123, 9.999, 75.2].map(period_text), ["0.12 s", "10 s", "1 min 15 s"]);
        let changes = [-1.404, 0.001, 1200.0].map(|change| change_text(change, number_text));
        assert_eq!(changes, ["−1.4", "=", "+1,200"]);
        assert_eq!(change_text(-715.57, period_text), "−11 min 55 s");
    }
}
