//! No test, but the end of `cargo test`: the list of the tests that were skipped since
//! a tool is missing. `tests/it/tools.rs` records them.

use std::path::Path;

#[expect(clippy::print_stdout, reason = "it is there to print")]
fn main() {
    // Other runners ask for the tests in here.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("skipped");
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut lines: Vec<String> = files.filter_map(|file| std::fs::read_to_string(file.path()).ok()).collect();
    lines.sort();
    match lines.len() {
        0 => println!("\nno test was skipped\n"),
        1 => println!("\n1 test was skipped:"),
        count => println!("\n{count} tests were skipped:"),
    }
    for line in lines {
        print!("  {line}");
    }
}
