//! The command line that gives a blocked run leave: the same one, with what
//! the guards ask for.

use crate::guards::GuardVerdict;

/// Options of `plan` that `run` does not have, with whether a value follows.
const OF_PLAN: [(&str, bool); 1] = [("--show", true)];

/// The command line of this process, as one that gives leave.
/// None where something is to be mended that no option makes good.
pub(crate) fn this_command(verdicts: &[GuardVerdict]) -> Option<String> {
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    verdicts.iter().all(|verdict| !verdict.leave.is_empty()).then(|| command(words, verdicts))
}

/// `words` with the leave of all verdicts behind the sub-command, which
/// becomes `run`, for a shell.
fn command(words: impl Iterator<Item = String>, verdicts: &[GuardVerdict]) -> String {
    let mut words: Vec<String> = words.collect();
    let mut leave: Vec<(&str, Option<&str>)> = Vec::new();
    for (flag, value) in verdicts.iter().flat_map(|verdict| flags(&verdict.leave)) {
        leave.retain(|(known, _)| *known != flag);
        leave.push((flag, value));
    }
    for (option, has_value) in leave.iter().map(|(flag, value)| (*flag, value.is_some())).chain(OF_PLAN) {
        take_out(&mut words, option, has_value);
    }
    let arguments = words.split_off(words.len().min(2));
    let program = words.into_iter().next().unwrap_or_else(|| "omnidesk-sync".to_owned());
    let leave = leave.into_iter().flat_map(|(flag, value)| [Some(flag), value]).flatten().map(str::to_owned);
    let words = [program, "run".to_owned()].into_iter().chain(leave).chain(arguments);
    words.map(|word| quoted(&word)).collect::<Vec<_>>().join(" ")
}

/// `--a --b 3` as flags with their values.
fn flags(leave: &str) -> Vec<(&str, Option<&str>)> {
    let mut flags: Vec<(&str, Option<&str>)> = Vec::new();
    for word in leave.split_whitespace() {
        match flags.last_mut() {
            Some((_, value)) if !word.starts_with("--") => *value = Some(word),
            _ => flags.push((word, None)),
        }
    }
    flags
}

/// Takes out an option that is given with another value.
fn take_out(words: &mut Vec<String>, option: &str, has_value: bool) {
    while let Some(at) = words.iter().position(|word| word == option) {
        let end = (at + 1 + usize::from(has_value)).min(words.len());
        words.drain(at..end);
    }
    words.retain(|word| !word.strip_prefix(option).is_some_and(|rest| rest.starts_with('=')));
}

/// For a POSIX shell.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &[&str], leaves: &[&str]) -> String {
        let verdicts: Vec<GuardVerdict> = leaves
            .iter()
            .map(|leave| GuardVerdict { guard: "x", message: String::new(), leave: (*leave).to_owned() })
            .collect();
        command(line.iter().map(|word| (*word).to_owned()), &verdicts)
    }

    #[test]
    fn it_is_the_same_command_with_what_the_guards_ask_for() {
        assert_eq!(
            said(
                &["./o-s", "run", "-q", "--max-purge", "5", "it's new.csv", "--max-changes=1%"],
                &["--allow-purge --max-purge 9", "--allow-purge --max-purge 9", "--max-changes 80%"],
            ),
            r"./o-s run --allow-purge --max-purge 9 --max-changes 80% -q 'it'\''s new.csv'"
        );
    }

    #[test]
    fn a_plan_becomes_a_run() {
        assert_eq!(
            said(&["o-s", "plan", "--show", "3", "--json", "a.csv"], &["--min-rows 7"]),
            "o-s run --min-rows 7 --json a.csv"
        );
    }
}
