//! The tools that tests need beside cargo. A test without its tool is skipped, and
//! says so: at once, and in the list at the end of `cargo test` (`tests/skipped.rs`).
//!
//! ```ignore
//! if !tools::STRACE.is_here() {
//!     return;
//! }
//! let mut command = tools::STRACE.command();
//! ```

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// What a test with a tool shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shows {
    /// A promise of the README, or that a package works: with `CI=true`, skipping it is
    /// a failure.
    Promise,
    Extra,
}

pub(crate) struct Tool {
    name: &'static str,
    program: &'static str,
    /// Succeed where the tool works.
    probe: &'static [&'static str],
    /// How to get it.
    hint: &'static str,
    shows: Shows,
}

pub(crate) const STRACE: Tool = Tool {
    name: "strace",
    program: "strace",
    probe: &[
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=fsync",
        "-e",
        "inject=fsync:error=EIO:delay_enter=1:when=1",
        "true",
    ],
    hint: "apt-get install strace; a container needs the capability SYS_PTRACE",
    shows: Shows::Promise,
};

pub(crate) const FAKETIME: Tool = Tool {
    name: "faketime",
    program: "faketime",
    probe: &["-f", "+0", "true"],
    hint: "apt-get install faketime",
    shows: Shows::Promise,
};

pub(crate) const NGINX: Tool = Tool {
    name: "nginx",
    program: "nginx",
    probe: &["-v"],
    hint: "apt-get install nginx-light",
    shows: Shows::Promise,
};

/// A small file system that the test mounts.
pub(crate) const SMALL_DISK: Tool = Tool {
    name: "mounting a tmpfs",
    program: "unshare",
    probe: &["--mount", "mount", "-t", "tmpfs", "tmpfs", "/tmp"],
    hint: "run the tests as root, on Linux; a container needs the capability SYS_ADMIN",
    shows: Shows::Promise,
};

pub(crate) const SYSTEMD_ANALYZE: Tool = Tool {
    name: "systemd-analyze",
    program: "systemd-analyze",
    probe: &["--version"],
    hint: "apt-get install systemd",
    shows: Shows::Promise,
};

/// `dpkg-deb`, and what finds the libraries of a program.
pub(crate) const DPKG: Tool = Tool {
    name: "dpkg-dev",
    program: "dpkg-shlibdeps",
    probe: &["--version"],
    hint: "apt-get install dpkg-dev",
    shows: Shows::Promise,
};

pub(crate) const CARGO_DEB: Tool = Tool {
    name: "cargo-deb",
    program: "cargo",
    probe: &["deb", "--version"],
    hint: "cargo install --locked cargo-deb",
    shows: Shows::Promise,
};

/// An overlay over the root, to install packages in.
pub(crate) const MACHINE_COPY: Tool = Tool {
    name: "a copy of this machine",
    program: "unshare",
    probe: &[
        "--mount",
        "sh",
        "-c",
        "cd /tmp && mount -t tmpfs tmpfs /tmp && cd /tmp && mkdir upper work root \
         && mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root",
    ],
    hint: "run the tests as root, on Linux; a container needs the capability SYS_ADMIN",
    shows: Shows::Promise,
};

pub(crate) const MANDOC: Tool = Tool {
    name: "mandoc",
    program: "mandoc",
    probe: &["-T", "lint", "-W", "error", "/dev/null"],
    hint: "apt-get install mandoc",
    shows: Shows::Extra,
};

pub(crate) const KUBECTL: Tool = Tool {
    name: "kubectl",
    program: "kubectl",
    probe: &["version", "--client"],
    hint: "install kubectl from the Kubernetes project",
    shows: Shows::Extra,
};

pub(crate) const LIBREOFFICE: Tool = Tool {
    name: "LibreOffice",
    program: "soffice",
    probe: &["--version"],
    hint: "apt-get install libreoffice-calc-nogui",
    shows: Shows::Extra,
};

pub(crate) const CHROMIUM: Tool = Tool {
    name: "Chromium",
    program: "chromium",
    probe: &["--version"],
    hint: "apt-get install chromium",
    shows: Shows::Extra,
};

/// For the recipes, like the next two.
pub(crate) const GNUPG: Tool = Tool {
    name: "GnuPG",
    program: "gpg",
    probe: &["--version"],
    hint: "apt-get install gnupg",
    shows: Shows::Extra,
};

pub(crate) const SQLITE: Tool = Tool {
    name: "SQLite",
    program: "sqlite3",
    probe: &["--version"],
    hint: "apt-get install sqlite3",
    shows: Shows::Extra,
};

/// The server, which the test starts.
pub(crate) const POSTGRESQL: Tool = Tool {
    name: "PostgreSQL",
    program: "initdb",
    probe: &["--version"],
    hint: "install the server, and put its initdb and pg_ctl into PATH",
    shows: Shows::Extra,
};

const ALL: [&Tool; 15] = [
    &STRACE,
    &FAKETIME,
    &NGINX,
    &SMALL_DISK,
    &SYSTEMD_ANALYZE,
    &DPKG,
    &CARGO_DEB,
    &MACHINE_COPY,
    &MANDOC,
    &KUBECTL,
    &LIBREOFFICE,
    &CHROMIUM,
    &GNUPG,
    &SQLITE,
    &POSTGRESQL,
];

impl Tool {
    /// Whether the tool works here. If not, the calling test is skipped, and the list
    /// says so.
    #[must_use = "a test without its tool has to return"]
    pub(crate) fn is_here(&self) -> bool {
        let probe = self.command().args(self.probe).stdout(Stdio::null()).stderr(Stdio::null()).status();
        let is_here = probe.is_ok_and(|status| status.success());
        if is_here {
            let _ = std::fs::remove_file(record(self.name));
        } else {
            skip(self.name, self.hint, self.shows);
        }
        is_here
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        // Where a user's PATH has no server programs.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin"));
        command
    }
}

/// Skips the calling test, which has to return.
pub(crate) fn skip(name: &str, hint: &str, shows: Shows) {
    let must_run = shows == Shows::Promise && std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!must_run, "with CI=true this test has to run, but {name} does not work here\nhint: {hint}");
    let line = format!("{}: {name} does not work here; hint: {hint}\n", test_name());
    let record = record(name);
    std::fs::create_dir_all(record.parent().expect("a folder")).expect("the folder of skipped tests");
    std::fs::write(record, &line).expect("the record of a skipped test");
    // Not captured, as `eprintln!` would be.
    let _ = write!(std::io::stderr(), "SKIPPED {line}");
}

/// Where a skipped test is recorded.
fn record(tool: &str) -> PathBuf {
    let folder = std::env::var_os("SKIPPED_TESTS").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("skipped"));
    folder.join(format!("{} {tool}", test_name()).replace([':', ' '], "-"))
}

/// The harness runs each test in a thread of its name.
fn test_name() -> String {
    std::thread::current().name().expect("the thread of a test").to_owned()
}

/// Runs one test in a process of its own. Returns whether it passed, and its output.
fn run_test(name: &str, path: &str, ci: &str, skipped: &Path) -> (bool, String) {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", name]).env("PATH", path).env("CI", ci).env("SKIPPED_TESTS", skipped);
    let output = command.output().expect("the test");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn a_skipped_test_is_listed_and_with_ci_one_of_a_promise_fails() {
    let folder = TempDir::new().expect("a folder");
    let (skipped, programs) = (folder.path().join("skipped"), folder.path().join("programs"));
    let (promise, extra) =
        ("clock::a_window_does_not_follow_a_racing_clock", "libreoffice::result_files_survive_a_workbook");
    for (test, tool, ci, passes) in [
        (promise, "faketime", "", true),
        (extra, "LibreOffice", "true", true),
        (promise, "faketime", "true", false),
    ] {
        let (passed, output) = run_test(test, "/nonexistent", ci, &skipped);
        assert_eq!(passed, passes, "{output}");
        assert!(output.contains("hint: apt-get install "), "{output}");
        let record = skipped.join(format!("{}-{tool}", test.replace("::", "--")));
        let line = std::fs::read_to_string(record).expect("a record");
        assert!(!passes || output.contains(&format!("SKIPPED {line}")), "{output}");
    }
    // Once the tool is there, the test runs and is no longer in the list.
    std::fs::create_dir(&programs).expect("a folder");
    let faketime = programs.join("faketime");
    std::fs::write(&faketime, "#!/bin/sh\nshift 2\nexec \"$@\"\n").expect("a program");
    run_sh(&format!("chmod +x '{}'", faketime.display()));
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").expect("a path"));
    let (passed, output) = run_test(promise, &path, "true", &skipped);
    assert!(passed && !output.contains("SKIPPED"), "{output}");
    let left = std::fs::read_dir(&skipped).expect("the records").count();
    assert_eq!(left, 1, "that of LibreOffice");
}

fn run_sh(script: &str) {
    assert!(Command::new("sh").args(["-c", script]).status().expect("sh").success());
}

/// A tool that is started by its name fails where it is missing, or somebody skips
/// the test in silence.
#[test]
fn every_tool_is_in_the_table() {
    // Of every Unix, or checked by the name of its package.
    let everywhere = ["dpkg-deb", "kill", "mount", "nohup", "sh", "tar", "umount"];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    for file in std::fs::read_dir(folder).expect("tests") {
        let path = file.expect("a file").path();
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        for call in text.split("Command::new(\"").skip(1) {
            let program = call.split('"').next().expect("a program");
            assert!(everywhere.contains(&program), "{}: {program}", path.display());
        }
    }
}

#[test]
fn contributing_names_every_tool_and_ci_installs_those_of_debian() {
    let (text, ci) = (include_str!("../../CONTRIBUTING.md"), include_str!("../../.ci/run"));
    for tool in ALL {
        let line = format!("| {} | {} |", tool.name, tool.hint);
        assert!(text.contains(&line), "{line}");
        if let Some(package) = tool.hint.strip_prefix("apt-get install ") {
            let package = package.split(';').next().expect("a package");
            assert!(ci.split([' ', ':', ';']).any(|word| word == package), "{package}");
        }
    }
}
