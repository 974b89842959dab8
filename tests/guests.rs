//! The guests themselves.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::prelude::*;
use crate::support::wire;

/// The root of the repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Whether sources name a guest: by itself, in a manifest, or for both kinds at once.
fn is_named(sources: &str, name: &str) -> bool {
    let (stem, _) = name.rsplit_once('_').unwrap_or((name, ""));
    let forms = [format!("\"{name}\""), format!("guest:{name}"), format!("\"{stem}_{{kind}}\"")];
    forms.iter().any(|form| sources.contains(form))
}

/// A guest that no test serves proves nothing and is built all the same.
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
        .filter(|name| !is_named(&sources, name))
        .filter(|name| !(name.starts_with("greet_") && makefile.contains(name.as_str())))
        .collect();
    assert!(!guests.is_empty(), "guest/build.sh --list names no guest");
    assert!(unused.is_empty(), "no test serves {unused:?}");
}

/// Tests of swaps stand on it: an answer shows its version in every byte, and one can be held.
#[test]
fn version_guests_differ_by_their_letter_and_can_be_held_within_an_answer() {
    for (guest, letter) in
        [("version_a_p2", "a"), ("version_a_p3", "a"), ("version_b_p2", "b"), ("version_b_p3", "b")]
    {
        let host = Host::serve(guest).start();
        assert_eq!(host.get("/").text(), letter.repeat(1000));
        let mut conn = host.connect();
        conn.send(wire::chunked("/gate?bytes=250")).unwrap();
        let head = conn.read_head().unwrap();
        assert_eq!(head.header("x-version"), Some(letter), "{guest}");
        assert_eq!(conn.read_chunk().unwrap(), Some(letter.repeat(100).into_bytes()));
        assert!(conn.is_quiet(), "{guest} did not wait at its gate");
        conn.send("0\r\n\r\n").unwrap();
        let mut rest = Vec::new();
        while let Some(chunk) = conn.read_chunk().unwrap() {
            rest.extend(chunk);
        }
        assert_eq!(rest, letter.repeat(150).into_bytes(), "{guest}");
    }
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
