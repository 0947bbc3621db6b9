//! The command lines that override the guards which blocked a run: the same one,
//! with the options that they name.

use std::fmt;

use crate::guards::GuardVerdict;

const PART: &str = "--part";
const NEW_BASELINE: &str = "--new-baseline";

/// What has to be true for an override.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OverrideCase {
    Part,
    Intended,
    NewBaseline,
}

/// A command line that a blocked run proposes.
#[derive(Debug, Clone)]
pub(crate) struct OverrideCommand {
    pub(crate) case: OverrideCase,
    pub(crate) command: String,
}

impl fmt::Display for OverrideCommand {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let case = match self.case {
            OverrideCase::Part => "if this export is only a part of the base, run:",
            OverrideCase::Intended => "if all of this is intended, run:",
            OverrideCase::NewBaseline => "if later exports will look like this one, run:",
        };
        write!(out, "{case}\n  {}", self.command)
    }
}

/// The command lines of this process with the overrides. None where something has to
/// be fixed that no option overrides.
pub(crate) fn override_commands(verdicts: &[GuardVerdict]) -> Vec<OverrideCommand> {
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    commands(&words, verdicts)
}

fn commands(words: &[String], verdicts: &[GuardVerdict]) -> Vec<OverrideCommand> {
    if verdicts.is_empty() {
        return Vec::new();
    }
    let new = |case, options: &[&str]| OverrideCommand { case, command: command(words.to_vec(), options) };
    let overrides: Vec<&str> = verdicts.iter().map(|verdict| verdict.override_options.as_str()).collect();
    let mut commands = Vec::new();
    // `adopt` knows no parts.
    let knows_parts = words.get(1).is_none_or(|command| command != "adopt");
    let is_of_baseline = knows_parts && verdicts.iter().any(GuardVerdict::is_of_baseline);
    if is_of_baseline {
        let options: Vec<&str> =
            [PART].into_iter().chain(verdicts.iter().map(GuardVerdict::options_of_part)).collect();
        commands.push(new(OverrideCase::Part, &options));
    }
    if overrides.iter().all(|options| !options.is_empty()) {
        commands.push(new(OverrideCase::Intended, &overrides));
        if is_of_baseline {
            commands.push(new(OverrideCase::NewBaseline, &[&overrides[..], &[NEW_BASELINE]].concat()));
        }
    }
    commands
}

/// `words` with these options behind the sub-command, for a shell. `plan` becomes
/// `run`.
fn command(mut words: Vec<String>, added: &[&str]) -> String {
    let mut overrides: Vec<(&str, Option<&str>)> = Vec::new();
    for (option, value) in added.iter().flat_map(|added| options(added)) {
        overrides.retain(|(known, _)| *known != option);
        overrides.push((option, value));
    }
    // `run` does not have these options of `plan`.
    remove(&mut words, "--show", 1);
    remove(&mut words, "--exit-code", 0);
    remove(&mut words, NEW_BASELINE, 0);
    for (option, value) in &overrides {
        remove(&mut words, option, value.iter().len());
    }
    let arguments = words.split_off(words.len().min(2));
    let mut words = words.into_iter();
    let program = words.next().unwrap_or_else(|| "omnidesk-sync".to_owned());
    let command = words.next().filter(|word| word != "plan").unwrap_or_else(|| "run".to_owned());
    let overrides = overrides.into_iter().flat_map(|(option, value)| [Some(option), value]);
    let words = [program, command].into_iter();
    let words = words.chain(overrides.flatten().map(str::to_owned)).chain(arguments);
    shell_line(&words.collect::<Vec<_>>())
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

/// Words as a command line for a shell.
pub(crate) fn shell_line(words: &[String]) -> String {
    words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
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
        command(line.iter().map(|word| (*word).to_owned()).collect(), overrides)
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
        assert_eq!(overridden(&["o-s", "adopt", "a.csv"], &["--min-rows 7"]), "o-s adopt --min-rows 7 a.csv");
    }

    #[test]
    fn a_smaller_export_has_three_ways_on() {
        let words: Vec<String> = ["o-s", "run", "a.csv"].map(str::to_owned).to_vec();
        let verdict = |guard, options: &str, of_part: Option<&str>| {
            let verdict = GuardVerdict::new(guard, String::new(), options.to_owned());
            GuardVerdict { part_options: of_part.map(str::to_owned), ..verdict }
        };
        let lines = |verdicts: &[GuardVerdict]| -> Vec<String> {
            commands(&words, verdicts).into_iter().map(|command| command.command).collect()
        };
        let rows = verdict("min_rows", "--min-rows 7", Some(""));
        let changes = verdict("max_changes", "--max-changes 9", None);
        assert_eq!(
            lines(&[changes.clone(), rows.clone()]),
            [
                "o-s run --part --max-changes 9 a.csv",
                "o-s run --max-changes 9 --min-rows 7 a.csv",
                "o-s run --max-changes 9 --min-rows 7 --new-baseline a.csv",
            ]
        );
        assert_eq!(lines(&[changes]), ["o-s run --max-changes 9 a.csv"]);
        let missing = verdict("missing", "", Some(""));
        assert_eq!(lines(&[missing.clone(), rows]), ["o-s run --part a.csv"]);
        assert_eq!(lines(&[missing]), Vec::<String>::new());
    }
}
