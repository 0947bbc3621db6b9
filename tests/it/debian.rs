//! The package for Debian and Ubuntu: what is in it, and that it can be installed,
//! upgraded and removed. Nothing on this machine is touched.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::tools::{CARGO_DEB, DPKG, MACHINE_COPY, MANDOC, SYSTEMD_ANALYZE};
use crate::world::{CommandOutput, World};

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");
const PROGRAM: &str = env!("CARGO_BIN_EXE_omnidesk-sync");

fn run(command: &mut Command) -> String {
    CommandOutput::read(command).expect_code(0).stdout
}

/// Writes manual pages and completions of this build.
fn write_pages(folder: &Path) {
    run(Command::new(Path::new(REPOSITORY).join("packaging/pages.sh")).arg(PROGRAM).arg(folder));
}

/// The package of this build: it takes the place of the release build in a target
/// folder of its own.
fn build_package(folder: &Path) -> PathBuf {
    let release = folder.join("release");
    std::fs::create_dir(&release).expect("a folder");
    std::fs::copy(PROGRAM, release.join("omnidesk-sync")).expect("the program");
    write_pages(&release);
    let package = folder.join("package.deb");
    let mut cargo = CARGO_DEB.command();
    cargo.args(["deb", "--no-build", "--fast", "--locked", "--offline", "--output"]).arg(&package);
    run(cargo.current_dir(REPOSITORY).env("CARGO_TARGET_DIR", folder));
    package
}

/// The commands in the help.
fn commands() -> Vec<String> {
    let help = run(Command::new(PROGRAM).arg("-h"));
    let list = help.split_once("Commands:\n").expect("a list").1.split("\n\n").next().expect("a list");
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn the_package_holds_the_program_its_pages_and_the_units_and_starts_nothing() {
    if !DPKG.is_here() || !CARGO_DEB.is_here() {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let package = build_package(folder.path());
    let list = run(Command::new("dpkg-deb").arg("--contents").arg(&package));
    let mut files: Vec<(&str, &str)> = list
        .lines()
        .filter_map(|line| Some((line.get(..10)?, line.split_once(" ./")?.1)))
        .filter(|(_, path)| !path.ends_with('/'))
        .collect();
    files.sort_by_key(|(_, path)| *path);
    let pages =
        commands().into_iter().map(|command| format!("usr/share/man/man1/omnidesk-sync-{command}.1.gz"));
    let mut expected: Vec<String> = [
        "usr/bin/omnidesk-sync",
        "usr/lib/systemd/system/omnidesk-sync.service",
        "usr/lib/systemd/system/omnidesk-sync.timer",
        "usr/share/bash-completion/completions/omnidesk-sync",
        "usr/share/doc/omnidesk-sync/CHANGELOG.md",
        "usr/share/doc/omnidesk-sync/README.md",
        "usr/share/doc/omnidesk-sync/copyright",
        "usr/share/doc/omnidesk-sync/examples/config.example.toml",
        "usr/share/doc/omnidesk-sync/examples/omnidesk-sync.cron",
        "usr/share/fish/vendor_completions.d/omnidesk-sync.fish",
        "usr/share/man/man1/omnidesk-sync.1.gz",
        "usr/share/zsh/vendor-completions/_omnidesk-sync",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain(pages)
    .collect();
    expected.sort();
    assert!(expected.len() > 20, "{expected:?}");
    assert_eq!(files.iter().map(|(_, path)| *path).collect::<Vec<_>>(), expected);
    for (mode, path) in files {
        assert_eq!(mode, if path.starts_with("usr/bin/") { "-rwxr-xr-x" } else { "-rw-r--r--" }, "{path}");
    }
    let field = |name| run(Command::new("dpkg-deb").arg("--field").arg(&package).arg(name));
    assert_eq!(field("Version").trim(), concat!(env!("CARGO_PKG_VERSION"), "-1"));
    assert!(field("Depends").contains("ca-certificates"));
    let control = folder.path().join("control");
    run(Command::new("dpkg-deb").arg("--control").arg(&package).arg(&control));
    let script = |name| std::fs::read_to_string(control.join(name)).expect("a script");
    for name in ["postinst", "prerm", "postrm"] {
        assert!(!script(name).contains("start"), "{name} starts nothing: {}", script(name));
    }
    assert!(script("prerm").contains("deb-systemd-invoke stop"));
}

#[test]
fn the_package_can_be_installed_upgraded_and_removed() {
    if !DPKG.is_here() || !CARGO_DEB.is_here() || !SYSTEMD_ANALYZE.is_here() || !MACHINE_COPY.is_here() {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let package = build_package(folder.path());
    let mut install = MACHINE_COPY.command();
    install.args(["--mount", "--pid", "--fork"]);
    let repository = Path::new(REPOSITORY);
    let copy = TempDir::new().expect("a folder");
    install.arg(repository.join("tests/it/debian/install.sh")).arg(package);
    run(install.arg(repository.join("fixtures/customers.csv")).arg(copy.path()));
}

#[test]
fn the_manual_pages_are_valid_and_name_every_option() {
    if !MANDOC.is_here() {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    run(Command::new(PROGRAM).arg("man").arg("--dir").arg(folder.path()));
    for command in commands() {
        let page = folder.path().join(format!("omnidesk-sync-{command}.1"));
        run(MANDOC.command().args(["-T", "lint", "-W", "error"]).arg(&page));
        let text = std::fs::read_to_string(&page).expect("a page").replace('\\', "");
        assert_eq!(run(Command::new(PROGRAM).args(["man", &command])).replace('\\', ""), text);
        let help = run(Command::new(PROGRAM).args([&command, "-h"]));
        let options = help.split_whitespace().filter(|word| word.starts_with("--"));
        for option in options.map(|option| option.trim_end_matches([',', '.', ':', ';', ')', '`', '\''])) {
            assert!(text.contains(option), "{command} {option}");
        }
    }
}

#[test]
fn a_page_of_no_command_is_an_error() {
    let output = World::default().execute(&["man", "rum"]).expect_code(2);
    output.expect_stderr("there is no command \"rum\"\nhint: `omnidesk-sync --help` lists the commands");
}

#[test]
fn the_archive_holds_the_program_its_pages_and_the_units() {
    let folder = TempDir::new().expect("a folder");
    let build = folder.path().join("build");
    std::fs::create_dir(&build).expect("a folder");
    std::fs::copy(PROGRAM, build.join("omnidesk-sync")).expect("the program");
    let output = folder.path().join("dist");
    run(Command::new(Path::new(REPOSITORY).join("packaging/archive.sh"))
        .arg(build)
        .arg("target")
        .arg(&output));
    let name = concat!("omnidesk-sync-", env!("CARGO_PKG_VERSION"), "-target");
    let archive = std::fs::File::open(output.join(format!("{name}.tar.gz"))).expect("the archive");
    let unpack = Command::new("tar").arg("-xzf").arg("-").current_dir(&output).stdin(archive).status();
    assert!(unpack.expect("tar").success());
    let unpacked = output.join(name);
    assert!(run(Command::new(unpacked.join("omnidesk-sync")).arg("--version")).starts_with("omnidesk-sync "));
    let count = |name| std::fs::read_dir(unpacked.join(name)).expect("a folder").count();
    assert_eq!((count("man"), count("completions")), (commands().len() + 1, 3));
    for file in ["LICENSE", "config.example.toml", "omnidesk-sync.service", "omnidesk-sync.timer"] {
        assert!(unpacked.join(file).exists(), "{file}");
    }
}
