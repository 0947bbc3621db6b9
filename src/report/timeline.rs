//! What a run did over time, as `summary.json` holds it.

use serde_json::{Value, json};

use crate::dispatch::{AnswerTimes, Bucket, Timeline};

/// The shares of the answers whose times are shown.
const SHARES: [(&str, f64); 3] = [("median", 0.5), ("p95", 0.95), ("p99", 0.99)];

/// One value a bucket in each list.
pub(super) fn timeline_json(timeline: &Timeline) -> Value {
    let list = |of: &dyn Fn(&Bucket) -> Value| timeline.buckets.iter().map(of).collect::<Value>();
    let mut answer_ms = json!({});
    for (name, share) in SHARES {
        answer_ms[name] = list(&|bucket| quantile_ms(&bucket.answers, share));
    }
    let width = timeline.width.as_secs_f64();
    json!({
        "started": timeline.started,
        "seconds": rounded(timeline.took.as_secs_f64()),
        "bucket_seconds": timeline.width.as_secs(),
        "requests": list(&|bucket| bucket.requests.into()),
        "calls": list(&|bucket| bucket.calls.into()),
        "limited": list(&|bucket| bucket.limited.into()),
        "failed": list(&|bucket| bucket.failed.into()),
        "per_second": list(&|bucket| rounded(bucket.requests as f64 / width).into()),
        "allowed_per_second": timeline.allowed.iter().copied().map(rounded).collect::<Value>(),
        "waited_seconds": list(&|bucket| rounded(bucket.waited.as_secs_f64()).into()),
        "answer_ms": answer_ms,
    })
}

/// How long answers took, over all.
pub(super) fn answers_json(timeline: &Timeline) -> Value {
    let answers = timeline.answers();
    let mut json = json!({ "count": answers.count });
    for (name, share) in SHARES {
        json[format!("{name}_ms")] = quantile_ms(&answers, share);
    }
    json
}

/// The causes that the run waited for.
pub(super) fn waits_json(timeline: &Timeline) -> Value {
    let waits = timeline.waits().filter(|(_, wait)| wait.count > 0).map(|(cause, wait)| {
        json!({
            "code": cause.code(),
            "reason": cause.as_str(),
            "count": wait.count,
            "seconds": rounded(wait.total.as_secs_f64()),
            "longest_seconds": rounded(wait.longest.as_secs_f64()),
        })
    });
    waits.collect()
}

fn quantile_ms(answers: &AnswerTimes, share: f64) -> Value {
    answers.quantile(share).map_or(Value::Null, |time| rounded(time.as_secs_f64() * 1000.0).into())
}

/// To three digits, and to whole numbers from 100 on: no more is known or read.
fn rounded(number: f64) -> f64 {
    let unit = match number.abs() {
        ..1.0 => 1000.0,
        ..10.0 => 100.0,
        ..100.0 => 10.0,
        _ => 1.0,
    };
    (number * unit).round() / unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_at_least() {
        let numbers = [0.0, 0.12345, 1.2345, 12.345, 123.45, 123_456.7].map(rounded);
        assert_eq!(numbers, [0.0, 0.123, 1.23, 12.3, 123.0, 123_457.0]);
    }
}
