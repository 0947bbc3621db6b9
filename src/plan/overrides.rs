//! The command line that overrides the guards which blocked a run: the same
//! one, with the options that they name.

use crate::guards::GuardVerdict;

/// The command line of this process with the overrides. `None` where something
/// has to be fixed that no option overrides.
pub(crate) fn override_command(verdicts: &[GuardVerdict]) -> Option<String> {
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let can_override = verdicts.iter().all(|verdict| !verdict.override_options.is_empty());
    (can_override && !verdicts.is_empty()).then(|| command(words, verdicts))
}

/// `words` with all overrides behind the sub-command, which becomes `run`, for a
/// shell.
fn command(words: impl Iterator<Item = String>, verdicts: &[GuardVerdict]) -> String {
    let mut words: Vec<String> = words.collect();
    let mut overrides: Vec<(&str, Option<&str>)> = Vec::new();
    for (option, value) in verdicts.iter().flat_map(|verdict| options(&verdict.override_options)) {
        overrides.retain(|(known, _)| *known != option);
        overrides.push((option, value));
    }
    // `run` does not have these options of `plan`.
    remove(&mut words, "--show", 1);
    remove(&mut words, "--exit-code", 0);
    for (option, value) in &overrides {
        remove(&mut words, option, value.iter().len());
    }
    let arguments = words.split_off(words.len().min(2));
    let program = words.into_iter().next().unwrap_or_else(|| "omnidesk-sync".to_owned());
    let overrides = overrides.into_iter().flat_map(|(option, value)| [Some(option), value]);
    let words = [program, "run".to_owned()].into_iter();
    let words = words.chain(overrides.flatten().map(str::to_owned)).chain(arguments);
    words.map(|word| quote(&word)).collect::<Vec<_>>().join(" ")
}

/// `--a --b 3` as options with their values.
fn options(text: &str) -> Vec<(&str, Option<&str>)> {
    let mut options: Vec<(&str, Option<&str>)> = Vec::new();
    for word in text.split_whitespace() {
        match options.last_mut() {
            Some((_, value)) if !word.starts_with("--") => *value = Some(word),
            _ => options.push((word, None)),
        }
    }
    options
}

/// Removes an option that was given, with its values.
fn remove(words: &mut Vec<String>, option: &str, values: usize) {
    while let Some(at) = words.iter().position(|word| word == option) {
        let end = (at + 1 + values).min(words.len());
        words.drain(at..end);
    }
    words.retain(|word| !word.strip_prefix(option).is_some_and(|rest| rest.starts_with('=')));
}

/// For a POSIX shell.
fn quote(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overridden(line: &[&str], overrides: &[&str]) -> String {
        let verdict = |options: &&str| GuardVerdict {
            guard: "x",
            message: String::new(),
            override_options: (*options).to_owned(),
        };
        let verdicts: Vec<GuardVerdict> = overrides.iter().map(verdict).collect();
        command(line.iter().map(|word| (*word).to_owned()), &verdicts)
    }

    #[test]
    fn it_is_the_same_command_with_the_options_of_the_guards() {
        assert_eq!(
            overridden(
                &["./o-s", "run", "-q", "--max-purge", "5", "it's new.csv", "--max-changes=1%"],
                &["--allow-purge --max-purge 9", "--allow-purge --max-purge 9", "--max-changes 80%"],
            ),
            r"./o-s run --allow-purge --max-purge 9 --max-changes 80% -q 'it'\''s new.csv'"
        );
    }

    #[test]
    fn a_plan_becomes_a_run() {
        assert_eq!(
            overridden(&["o-s", "plan", "--show", "3", "--exit-code", "--json", "a.csv"], &["--min-rows 7"]),
            "o-s run --min-rows 7 --json a.csv"
        );
    }
}
