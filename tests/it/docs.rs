//! The documentation and the program say the same.

use std::collections::BTreeSet;
use std::path::Path;

use omnidesk_sync::config::Config;

use crate::world::World;

const REFERENCE: &str = include_str!("../../docs/configuration.md");

/// Each usage block in the reference starts with the command that prints it.
#[test]
fn the_reference_shows_the_help_of_every_command() {
    let world = World::with_server("http://127.0.0.1:9");
    let help = |arguments: &str| {
        world.execute(&arguments.split_whitespace().collect::<Vec<&str>>()).expect_code(0).stdout
    };
    let mut shown = BTreeSet::new();
    for block in REFERENCE.split("```console\n$ omnidesk-sync ").skip(1) {
        let (arguments, rest) = block.split_once('\n').expect("a command");
        let text = rest.split("```").next().expect("a block");
        assert_eq!(text.trim(), help(arguments).trim(), "omnidesk-sync {arguments}");
        shown.insert(arguments.trim_end_matches("--help").trim());
    }
    let overview = help("--help");
    let list =
        overview.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a list");
    let commands: BTreeSet<&str> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    shown.retain(|command| !command.is_empty());
    assert_eq!(shown, commands.into_iter().filter(|command| *command != "help").collect());
}

/// The tables of the reference, by section: each key and its default.
fn reference() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
    let sections = REFERENCE.split("\n## [").skip(1).map(|section| {
        let (name, rest) = section.split_once(']').expect("a section");
        let text = rest.split("\n# ").next().unwrap_or_default();
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `")).map(|row| {
            let (key, rest) = row.split_once("` | ").expect("a key");
            (key, rest.split(" | ").next().expect("a default").trim_matches('`'))
        });
        (name, rows.collect())
    });
    sections.collect()
}

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("reference.toml")).map_err(|error| error.to_string())
}

/// The program itself lists the keys that it knows.
#[test]
fn the_reference_has_every_key_and_no_other() {
    let listed = |error: &str| -> BTreeSet<String> {
        let list = error.split("expected").nth(1).unwrap_or_else(|| panic!("no list of keys: {error}"));
        list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let sections: BTreeSet<String> = reference().iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(sections, listed(&parse("unknown = 1").expect_err("no such section")));
    for (section, rows) in reference() {
        let keys: BTreeSet<String> = rows.iter().map(|(key, _)| (*key).to_owned()).collect();
        let error = parse(&format!("[{section}]\nunknown = 1")).expect_err("no such key");
        assert_eq!(keys, listed(error.split('\n').next().unwrap_or_default()), "[{section}]");
    }
}

#[test]
fn the_reference_shows_the_defaults() {
    let required = "base_url = \"https://account.omnidesk.com\"";
    let bare = format!("[omnidesk]\n{required}\n[customer]\nprimary_id = \"a\"\nbrand_id = \"b\"\n");
    let mut shown = String::new();
    for (section, rows) in reference() {
        shown.push_str(&format!("[{section}]\n"));
        for (key, default) in rows {
            match default {
                "none" | "built in" => {}
                "required" => {
                    let line = bare.lines().find(|line| line.starts_with(key)).expect("in the bare one");
                    shown.push_str(&format!("{line}\n"));
                }
                default => shown.push_str(&format!("{key} = {default}\n")),
            }
        }
    }
    assert_eq!(parse(&shown).expect(&shown), parse(&bare).expect("the least"));
}

#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).expect("docs").map(|page| page.expect("a page").path());
    let top = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"].map(|name| root.join(name));
    for page in docs.chain(top) {
        let text = std::fs::read_to_string(&page).expect("a page");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            if path.contains("://") {
                continue;
            }
            let target = if path.is_empty() { page.clone() } else { page.with_file_name("").join(path) };
            assert!(target.exists(), "{}: {link}", page.display());
            let heading = |line: &str| {
                let words = line.trim_start_matches('#').trim().to_lowercase();
                words.replace(' ', "-").replace(['`', ',', '.', '?', '[', ']', '\''], "")
            };
            let target = std::fs::read_to_string(&target).unwrap_or_default();
            let has_anchor = target.lines().any(|line| line.starts_with('#') && heading(line) == anchor);
            assert!(anchor.is_empty() || has_anchor, "{}: {link}", page.display());
        }
    }
}

/// Of `docs/README.md`: the pages of `docs/` in their order, with their titles.
fn contents() -> Vec<(String, String)> {
    let rows = include_str!("../../docs/README.md").lines().filter_map(|line| line.strip_prefix("| ["));
    let links = rows.map(|row| {
        let (title, rest) = row.split_once("](").expect("a link");
        (title.to_owned(), rest.split(')').next().expect("a path").to_owned())
    });
    links.filter(|(_, path)| !path.starts_with("..")).collect()
}

#[test]
fn the_contents_name_every_page_and_each_page_leads_to_the_next() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let names = std::fs::read_dir(&folder).expect("docs").map(|page| page.expect("a page").file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().expect("UTF-8")).collect();
    names.retain(|name| name != "README.md");
    names.sort_unstable();
    let contents = contents();
    let mut listed: Vec<String> = contents.iter().map(|(_, path)| path.clone()).collect();
    listed.sort_unstable();
    assert_eq!(listed, names);
    let next = contents.iter().skip(1).map(|(title, path)| format!("[{title}]({path})"));
    let next = next.chain(["[Contributing](../CONTRIBUTING.md)".to_owned()]);
    for ((title, path), next) in contents.iter().zip(next) {
        let text = std::fs::read_to_string(folder.join(path)).expect("a page");
        assert!(text.starts_with(&format!("# {title}\n\nFor ")), "{path} says for whom it is");
        assert!(text.ends_with(&format!("\n\nNext: {next} · [Contents](README.md)\n")), "{path}: {next}");
    }
}

/// Each sample of a configuration is a part of one.
#[test]
fn the_samples_of_a_configuration_are_valid() {
    let bare =
        "omnidesk.base_url = \"https://a.b\"\ncustomer.primary_id = \"a\"\ncustomer.brand_id = \"b\"\n";
    let mut samples = 0;
    for (_, path) in contents() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(&path);
        let text = std::fs::read_to_string(page).expect("a page");
        let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        // Those are answers of the sandbox.
        for block in blocks.filter(|block| !block.contains("[[answer]]")) {
            parse(&format!("{bare}{block}")).unwrap_or_else(|error| panic!("{path}: {error}"));
            samples += 1;
        }
    }
    assert!(samples > 5, "{samples} samples");
}
