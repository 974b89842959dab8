//! The access log of a host, as its reader finds it.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Instant;

use serde_json::Value;

use super::PATIENCE;

/// The first `count` lines of a file, once they are there. There are no more.
#[track_caller]
pub fn lines(path: &Path, count: usize) -> Vec<String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let log = fs::read_to_string(path).unwrap_or_default();
        if log.ends_with('\n') && log.lines().count() >= count {
            assert_eq!(log.lines().count(), count, "{log}");
            return log.lines().map(str::to_owned).collect();
        }
        assert!(Instant::now() < until, "{count} lines do not come: {log}");
        thread::yield_now();
    }
}

/// A line of JSON.
#[track_caller]
pub fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"))
}
