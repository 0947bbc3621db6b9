//! The files in `packaging/` work, as far as the tools of this machine show. A test
//! without its tool is skipped.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::tools::{KUBECTL, SYSTEMD_ANALYZE};
use crate::world::{CommandOutput, KEY, World};

const PROGRAM: &str = env!("CARGO_BIN_EXE_omnidesk-sync");

fn packaged(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(packaged(name)).expect("a file")
}

fn run(command: &mut Command) -> CommandOutput {
    CommandOutput::read(command).expect_code(0)
}

/// The units, with the path of this build.
fn units() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for name in ["omnidesk-sync.service", "omnidesk-sync.timer"] {
        let unit = text(name).replace("ExecStart=omnidesk-sync", &format!("ExecStart={PROGRAM}"));
        std::fs::write(folder.path().join(name), unit).expect("a unit");
    }
    folder
}

#[test]
fn systemd_accepts_the_units() {
    if !SYSTEMD_ANALYZE.is_here() {
        return;
    }
    let folder = units();
    for unit in ["omnidesk-sync.service", "omnidesk-sync.timer"] {
        let unit = folder.path().join(unit);
        let verified = run(SYSTEMD_ANALYZE.command().args(["verify", "--man=no"]).arg(&unit));
        assert!(!verified.stderr.contains("omnidesk-sync"), "{}", verified.stderr);
    }
    // The exposure level is 2.0 or less.
    let service = folder.path().join("omnidesk-sync.service");
    let security = ["security", "--offline=true", "--threshold=20", "--no-pager"];
    run(SYSTEMD_ANALYZE.command().args(security).arg(service));
}

/// The arguments of the program in a unit or table.
fn arguments_after<'a>(text: &'a str, program: &str) -> Vec<&'a str> {
    let line = text.lines().find(|line| !line.starts_with('#') && line.contains(program)).expect("a command");
    line.split_once(program).expect("arguments").1.split_whitespace().collect()
}

/// The program runs with these arguments. Paths of the real machine become paths of
/// the world.
fn assert_runs(arguments: &[&str]) {
    let world = World::default();
    world.write_export("C1,Ann,Smit,ann@example.org,,,sync\n");
    let adapt = |argument: &&str| match argument.rsplit_once('/') {
        Some((_, "customers.csv")) => "export.csv".to_owned(),
        Some((_, "config.toml")) => argument.replace("/etc/omnidesk-sync/config.toml", "omnidesk-sync.toml"),
        _ => (*argument).to_owned(),
    };
    let arguments: Vec<String> = arguments.iter().map(adapt).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = world.execute(&arguments).expect_code(0);
    // A new checkpoint, and the end.
    assert_eq!((output.stdout.as_str(), output.stderr.lines().count()), ("", 2), "{}", output.stderr);
    assert_eq!(world.state().counters.create, 1);
}

#[test]
fn the_command_of_the_service_works() {
    assert_runs(&arguments_after(&text("omnidesk-sync.service"), "ExecStart=omnidesk-sync "));
}

#[test]
fn the_cron_table_is_valid_and_its_command_works() {
    let table = text("omnidesk-sync.cron");
    assert!(table.ends_with('\n'), "cron ignores a last line without a line end");
    let lines = table.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let (settings, jobs): (Vec<&str>, Vec<&str>) =
        lines.partition(|line| line.split_whitespace().next().is_some_and(|word| word.contains('=')));
    assert_eq!(settings.len(), 2, "{settings:?}");
    let [job] = jobs[..] else { panic!("{jobs:?}") };
    let fields: Vec<&str> = job.split_whitespace().take(6).collect();
    for (field, max) in fields[..5].iter().zip([59, 23, 31, 12, 7]) {
        assert!(*field == "*" || field.parse::<u32>().is_ok_and(|number| number <= max), "{field}");
    }
    assert_eq!(fields[5], "omnidesk");
    assert!(!job.contains('%'), "cron replaces it with a line end");
    run(Command::new("sh").args(["-n", "-c", job.split_once("omnidesk  ").expect("a command").1]));
    assert_runs(&arguments_after(&table, "omnidesk-sync && omnidesk-sync "));
}

/// The paths of the values in `expected` that `found` lacks.
fn missing_paths(expected: &Value, found: &Value, path: &str) -> Vec<String> {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            let members =
                expected.iter().map(|(key, value)| (value, found.get(key), format!("{path}.{key}")));
            members
                .flat_map(|(value, found, path)| missing_paths(value, found.unwrap_or(&Value::Null), &path))
                .collect()
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            expected.iter().zip(found).flat_map(|(value, found)| missing_paths(value, found, path)).collect()
        }
        _ if expected == found => Vec::new(),
        _ => vec![path.to_owned()],
    }
}

/// Without a cluster, kubectl still knows the types around a pod, and drops unknown
/// fields.
#[test]
fn kubernetes_knows_every_field_of_the_job() {
    if !KUBECTL.is_here() {
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
            let mut kubectl = KUBECTL.command();
            kubectl.args(["label", "--local", "checked=yes", "-o", "json", "-f"]).arg(&path);
            serde_json::from_str(&run(&mut kubectl).stdout).expect("JSON")
        })
        .collect();
    let kinds: Vec<&str> = parsed.iter().filter_map(|document| document["kind"].as_str()).collect();
    assert_eq!(kinds, ["ConfigMap", "PersistentVolumeClaim", "CronJob"]);

    let path = folder.path().join("document.yaml");
    let mut kubectl = KUBECTL.command();
    // It prints nothing if it changes nothing.
    kubectl.args(["set", "image", "--local", "omnidesk-sync=omnidesk-sync:another", "-o", "json", "-f"]);
    let typed = run(kubectl.arg(&path)).stdout.replace("omnidesk-sync:another", "omnidesk-sync:0.1.0");
    let typed: Value = serde_json::from_str(&typed).expect("JSON");
    let unknown = missing_paths(&parsed[2]["spec"], &typed["spec"], "spec");
    assert_eq!(unknown, Vec::<String>::new(), "fields that Kubernetes does not know");

    let spec = &parsed[2]["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    assert_eq!(parsed[2]["spec"]["concurrencyPolicy"], "Forbid");
    let container = &spec["containers"][0];
    let arguments: Vec<&str> =
        container["args"].as_array().expect("args").iter().filter_map(Value::as_str).collect();
    assert_runs(&arguments);
    // The configuration in it is valid.
    let config = folder.path().join("config.toml");
    std::fs::write(&config, parsed[0]["data"]["config.toml"].as_str().expect("text")).expect("a file");
    let config = omnidesk_sync::config::Config::read(&config).expect("a configuration");
    assert!(config.checkpoint.path.starts_with("/state") && config.report.dir.starts_with("/state"));
    assert!(!manifest.contains(KEY));
}

#[test]
fn the_container_copies_existing_files_and_does_not_run_as_root() {
    let recipe = text("Containerfile");
    let steps = recipe.lines().filter(|line| !line.starts_with('#'));
    let ignored = text("Containerfile.dockerignore");
    let mut copied = Vec::new();
    for step in steps.clone().filter(|step| step.starts_with("COPY ") && !step.contains("--from=")) {
        let paths: Vec<&str> = step.split_whitespace().skip(1).collect();
        copied.extend_from_slice(&paths[..paths.len() - 1]);
    }
    for path in &copied {
        let path = path.trim_start_matches("./");
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists(), "{path}");
        assert!(ignored.lines().any(|line| line == format!("!{path}")), "{path} is ignored");
    }
    // The package holds them.
    let manifest: toml::Table = include_str!("../../Cargo.toml").parse().expect("a manifest");
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().expect("assets");
    let sources: Vec<&str> = assets.iter().filter_map(|asset| asset[0].as_str()).collect();
    assert!(sources.contains(&"config.example.toml"), "{sources:?}");
    for source in sources.iter().filter(|source| !source.starts_with("target/release/")) {
        assert!(copied.iter().any(|path| Path::new(source).starts_with(path)), "{source} is in the package");
    }
    // Cargo fails if a target that the manifest names does not exist.
    let targets = [("[[bench]]", "benches"), ("[[example]]", "examples"), ("[[test]]", "tests/skipped.rs")];
    for (target, path) in targets {
        let named = include_str!("../../Cargo.toml").contains(target);
        assert!(!named || copied.contains(&path), "{path} is named in Cargo.toml");
    }
    let users: Vec<&str> = steps.filter_map(|step| step.strip_prefix("USER ")).collect();
    assert_eq!(users, ["65532:65532"]);
}
