//! The files in `packaging/` are right as far as this machine can tell; what
//! it has no tool for is left out with a word.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use omnidesk_sync::sandbox::Settings;
use serde_json::Value;
use tempfile::TempDir;

use crate::world::{Ended, HEADER, KEY, World};

const PROGRAM: &str = env!("CARGO_BIN_EXE_omnidesk-sync");

fn packaged(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(packaged(name)).expect("a file")
}

#[expect(clippy::print_stdout, reason = "a test that was skipped says so")]
fn has(tool: &str, arguments: &[&str]) -> bool {
    let tried = Command::new(tool).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let works = tried.is_ok_and(|status| status.success());
    if !works {
        println!("skipped: {tool} is not here");
    }
    works
}

fn runs(command: &mut Command) -> Ended {
    Ended::of(command.output().expect("a tool")).expect(0)
}

/// The units, with the program where it is.
fn units() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for name in ["omnidesk-sync.service", "omnidesk-sync.timer"] {
        let unit = text(name).replace("/usr/local/bin/omnidesk-sync", PROGRAM);
        std::fs::write(folder.path().join(name), unit).expect("a unit");
    }
    folder
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    if !has("systemd-analyze", &["--version"]) {
        return;
    }
    let folder = units();
    for unit in ["omnidesk-sync.service", "omnidesk-sync.timer"] {
        let unit = folder.path().join(unit);
        let verified = runs(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit));
        assert!(!verified.stderr.contains("omnidesk-sync"), "{}", verified.stderr);
    }
    // An exposure of 2.0 of 10.0 at the most.
    let service = folder.path().join("omnidesk-sync.service");
    let security = ["security", "--offline=true", "--threshold=20", "--no-pager"];
    runs(Command::new("systemd-analyze").args(security).arg(service));
}

/// What a unit or a table starts: the program's arguments.
fn arguments_after<'a>(text: &'a str, program: &str) -> Vec<&'a str> {
    let line = text.lines().find(|line| !line.starts_with('#') && line.contains(program)).expect("a command");
    line.split_once(program).expect("arguments").1.split_whitespace().collect()
}

/// The program runs with these arguments, when folders that only the real
/// machine has are the world's own.
fn assert_runs(arguments: &[&str]) {
    let world = World::new(Settings::default());
    world.file("customers.csv", format!("{HEADER}C1,Ann,Smit,ann@example.org,,,sync\n").as_bytes());
    let own = |argument: &&str| match argument.rsplit_once('/') {
        Some((_, "customers.csv")) => "customers.csv".to_owned(),
        Some((_, "config.toml")) => argument.replace("/etc/omnidesk-sync/config.toml", "omnidesk-sync.toml"),
        _ => (*argument).to_owned(),
    };
    let own: Vec<String> = arguments.iter().map(own).collect();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let ended = world.ends(&own).expect(0);
    assert_eq!((ended.stdout.as_str(), ended.stderr.lines().count()), ("", 1), "{}", ended.stderr);
    assert_eq!(world.state().counters.create, 1);
}

#[test]
fn the_service_starts_a_run_that_works() {
    assert_runs(&arguments_after(&text("omnidesk-sync.service"), "/usr/local/bin/omnidesk-sync "));
}

#[test]
fn the_line_for_cron_is_one_and_starts_a_run_that_works() {
    let table = text("omnidesk-sync.cron");
    assert!(table.ends_with('\n'), "cron ignores a last line without its end");
    let lines = table.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let (settings, jobs): (Vec<&str>, Vec<&str>) =
        lines.partition(|line| line.split_whitespace().next().is_some_and(|word| word.contains('=')));
    assert_eq!(settings.len(), 2, "{settings:?}");
    let [job] = jobs[..] else { panic!("{jobs:?}") };
    let fields: Vec<&str> = job.split_whitespace().take(6).collect();
    for (field, most) in fields[..5].iter().zip([59, 23, 31, 12, 7]) {
        assert!(*field == "*" || field.parse::<u32>().is_ok_and(|number| number <= most), "{field}");
    }
    assert_eq!(fields[5], "omnidesk");
    assert!(!job.contains('%'), "cron would make a line end of it");
    runs(Command::new("sh").args(["-n", "-c", job.split_once("omnidesk  ").expect("a command").1]));
    assert_runs(&arguments_after(&table, "omnidesk-sync && omnidesk-sync "));
}

/// Every value of `wanted` is in `found`, at its place.
fn missing(wanted: &Value, found: &Value, place: &str, gone: &mut Vec<String>) {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => wanted.iter().for_each(|(key, value)| {
            missing(value, found.get(key).unwrap_or(&Value::Null), &format!("{place}.{key}"), gone);
        }),
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            wanted.iter().zip(found).for_each(|(value, found)| missing(value, found, place, gone));
        }
        _ if wanted == found => {}
        _ => gone.push(place.to_owned()),
    }
}

/// Without a cluster kubectl still knows the types of what holds a pod: what it
/// does not know, it leaves out.
#[test]
fn kubernetes_knows_every_field_of_the_job() {
    if !has("kubectl", &["version", "--client"]) {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let manifest = text("kubernetes.yaml");
    let documents: Vec<&str> = manifest.split("\n---\n").collect();
    let parsed: Vec<Value> = documents
        .iter()
        .map(|document| {
            let path = folder.path().join("document.yaml");
            std::fs::write(&path, document).expect("a document");
            let mut kubectl = Command::new("kubectl");
            kubectl.args(["label", "--local", "checked=yes", "-o", "json", "-f"]).arg(&path);
            serde_json::from_str(&runs(&mut kubectl).stdout).expect("JSON")
        })
        .collect();
    let kinds: Vec<&str> = parsed.iter().filter_map(|document| document["kind"].as_str()).collect();
    assert_eq!(kinds, ["ConfigMap", "PersistentVolumeClaim", "CronJob"]);

    let path = folder.path().join("document.yaml");
    let mut kubectl = Command::new("kubectl");
    // It prints what it has changed, and nothing if it had nothing to change.
    kubectl.args(["set", "image", "--local", "omnidesk-sync=omnidesk-sync:another", "-o", "json", "-f"]);
    let typed = runs(kubectl.arg(&path)).stdout.replace("omnidesk-sync:another", "omnidesk-sync:0.1.0");
    let typed: Value = serde_json::from_str(&typed).expect("JSON");
    let mut gone = Vec::new();
    missing(&parsed[2]["spec"], &typed["spec"], "spec", &mut gone);
    assert_eq!(gone, Vec::<String>::new(), "fields that Kubernetes does not know");

    let spec = &parsed[2]["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    assert_eq!(parsed[2]["spec"]["concurrencyPolicy"], "Forbid");
    let container = &spec["containers"][0];
    let arguments: Vec<&str> =
        container["args"].as_array().expect("args").iter().filter_map(Value::as_str).collect();
    assert_runs(&arguments);
    // The configuration in it is one.
    let config = folder.path().join("config.toml");
    std::fs::write(&config, parsed[0]["data"]["config.toml"].as_str().expect("text")).expect("a file");
    omnidesk_sync::config::Config::read(&config).expect("a configuration");
    assert!(!manifest.contains(KEY));
}

#[test]
fn the_container_copies_what_is_there_and_is_nobodys_root() {
    let recipe = text("Containerfile");
    let steps = recipe.lines().filter(|line| !line.starts_with('#'));
    let ignored = text("Containerfile.dockerignore");
    let mut copied = Vec::new();
    for step in steps.clone().filter(|step| step.starts_with("COPY ") && !step.contains("--from=")) {
        let words: Vec<&str> = step.split_whitespace().skip(1).collect();
        copied.extend_from_slice(&words[..words.len() - 1]);
    }
    for path in &copied {
        let path = path.trim_start_matches("./");
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists(), "{path}");
        assert!(ignored.lines().any(|line| line == format!("!{path}")), "{path} is not let in");
    }
    // What the manifest names has to be there, or cargo reads no further.
    for folder in ["benches", "examples"] {
        let named = include_str!("../../Cargo.toml").contains(match folder {
            "benches" => "[[bench]]",
            _ => "[[example]]",
        });
        assert!(!named || copied.contains(&folder), "{folder} is named in Cargo.toml");
    }
    let users: Vec<&str> = steps.filter_map(|step| step.strip_prefix("USER ")).collect();
    assert_eq!(users, ["65532:65532"]);
}
