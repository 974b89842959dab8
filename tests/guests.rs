//! The guests themselves.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A guest that nobody serves proves nothing and is built by everybody.
///
/// A guest counts as used when a file here names it in quotes; an example (`greet_*`) also when
/// the Makefile names it.
#[test]
fn every_guest_is_used_by_a_test() {
    let mut sources = String::new();
    collect(&Path::new(ROOT).join("tests"), &mut sources);
    let makefile = fs::read_to_string(Path::new(ROOT).join("Makefile")).unwrap_or_default();
    let guests = guests();
    let unused: Vec<&String> = guests
        .iter()
        .filter(|name| !sources.contains(&format!("\"{name}\"")))
        .filter(|name| !(name.starts_with("greet_") && makefile.contains(name.as_str())))
        .collect();
    assert!(!guests.is_empty(), "guest/build.sh --list names no guest");
    assert!(unused.is_empty(), "no test serves {unused:?}");
}

/// The names that `guest/build.sh --list` prints, one in a line.
fn guests() -> Vec<String> {
    let script = Path::new(ROOT).join("guest/build.sh");
    let output = Command::new("bash").arg(script).arg("--list").output().expect("bash runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "guest/build.sh --list: {}\n{errors}", output.status);
    String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect()
}

/// Adds the text of every Rust file below `folder`, less its comments, to `sources`.
fn collect(folder: &Path, sources: &mut String) {
    let entries = fs::read_dir(folder).expect("the tests have a folder");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension() == Some(OsStr::new("rs")) {
            let source = fs::read_to_string(&path).expect("a Rust file is text");
            let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
            sources.extend(code.flat_map(|line| [line, "\n"]));
        }
    }
}
