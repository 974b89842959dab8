//! docs/hardening.md names a test for each defence. Every one of them is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::page::ROOT;

/// The names of all functions behind `#[test]` or `#[tokio::test]` in a file or folder.
fn tests_in(path: &Path, found: &mut BTreeSet<String>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a folder that can be read") {
            tests_in(&entry.expect("readable").path(), found);
        }
    } else if path.extension().is_some_and(|end| end == "rs") {
        let text = fs::read_to_string(path).expect("a source is text");
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            let function = line.trim_start_matches("async ").strip_prefix("fn ");
            if let Some(name) = function.and_then(|rest| rest.split('(').next())
                && std::mem::take(&mut is_test)
            {
                found.insert(name.to_owned());
            }
        }
    }
}

/// What stands in backticks in the last column of each row.
fn named(page: &str) -> Vec<&str> {
    let rows = page.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---"));
    let last = rows.filter_map(|row| row.trim_end_matches('|').rsplit_once('|'));
    last.flat_map(|(_, tests)| tests.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn every_defence_on_the_page_has_its_test() {
    let root = Path::new(ROOT);
    let page = fs::read_to_string(root.join("docs/hardening.md")).expect("the page is there");
    let mut tests = BTreeSet::new();
    tests_in(&root.join("tests"), &mut tests);
    for entry in fs::read_dir(root).expect("the root of the repository") {
        let sources = entry.expect("readable").path().join("src");
        if sources.is_dir() {
            tests_in(&sources, &mut tests);
        }
    }
    let named = named(&page);
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| attack"));
    assert!(named.len() > rows.count(), "each row has a test: {} in all", named.len());
    let missing: Vec<_> = named.iter().filter(|name| !tests.contains(**name)).collect();
    assert!(missing.is_empty(), "no such test: {missing:?}");
}
