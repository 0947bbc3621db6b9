//! The message for a TOML file with an error: the place, and the nearest name.

use std::path::Path;

/// With file, line, column, the line itself and the nearest name.
pub(super) fn explain(error: &toml::de::Error, text: &str, path: &Path) -> String {
    let hint = near_name(error.message()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    let message = without_inner_lines(error.message());
    let Some(span) = error.span() else {
        return format!("{}: {message}{hint}", path.display());
    };
    let before = &text[..span.start.min(text.len())];
    let line_number = before.matches('\n').count() + 1;
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = text[line_start..span.start.min(text.len())].chars().count() + 1;
    let place = format!("{}:{line_number}:{column}", path.display());
    let line = text[line_start..].lines().next().unwrap_or_default();
    // Somebody may have put the key itself there, so neither the line nor the
    // parser's message is shown.
    if line.contains("api_key") {
        return format!(
            "{place}: api_key says where the key is kept; the key itself does not belong in the file\nhint: write api_key = {{ env = \"OMNIDESK_API_KEY\" }}, {{ file = \"…\" }} or {{ command = [\"…\"] }}"
        );
    }
    if may_hold_key(line, &message) {
        return format!("{place}: {}{hint}", without_urls(&message));
    }
    format!("{place}: {message}{hint}\n  | {line}\n  | {}^", " ".repeat(column - 1))
}

/// The message without the inner lines of a value that it quotes. A string without
/// its end takes in the lines below it, and the key may be among them.
fn without_inner_lines(message: &str) -> String {
    let message = message.replace('\n', "\\n");
    match (message.find("\\n"), message.rfind("\\n")) {
        (Some(first), Some(last)) => format!("{}…{}", &message[..first], &message[last + 2..]),
        _ => message,
    }
}

/// The parser's message quotes the text before the `=`, and the name of a variant.
fn without_urls(message: &str) -> String {
    let words = message.split(' ').map(|word| if word.contains("://") { "…" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether the line may hold the API key: its name has `key` in it, misspelt or
/// not, or its value is a URL: that of a monitor or a chat is a secret, and that of
/// the API may hold one behind an `@` or a `?`.
fn may_hold_key(line: &str, message: &str) -> bool {
    let name = line.split('=').next().unwrap_or_default().to_lowercase();
    let is_secret = || line.contains(['@', '?']) || !name.trim().starts_with("base");
    // Perhaps only its scheme is missing.
    let is_url = line.contains("://") || message.contains("it is no URL");
    name.contains("key") || is_url && is_secret()
}

/// The name nearest to x in serde's "unknown field `x`, expected one of `a`, `b`".
fn near_name(message: &str) -> Option<&str> {
    let rest =
        message.strip_prefix("unknown field `").or_else(|| message.strip_prefix("unknown variant `"))?;
    let (unknown, rest) = rest.split_once('`')?;
    rest.split('`')
        .skip(1)
        .step_by(2)
        .map(|name| (strsim::damerau_levenshtein(unknown, name), name))
        .filter(|(distance, name)| *distance <= name.len().div_ceil(2))
        .min()
        .map(|(_, name)| name)
}
