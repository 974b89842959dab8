//! A directory that is a link to elsewhere a moment later. An instance does one thing at a time, so
//! it takes two: one that flips, one that reads.

use std::collections::BTreeMap;

use kit::wasip2::clocks::monotonic_clock::now;
use kit::wasip2::filesystem::preopens::get_directories;

use crate::escape::read;

/// Puts `inside` and `outside` at `door` in turn, and both back at the end.
pub fn flip(ms: u64) -> String {
    let Some((root, _)) = get_directories().into_iter().next() else {
        return "no preopen\n".into();
    };
    let mut flips = 0;
    let end = now() + ms * 1_000_000;
    while now() < end {
        for name in ["inside", "outside"] {
            if root.rename_at(name, &root, "door").is_ok() {
                flips += 1;
                let _ = root.rename_at("door", &root, name);
            }
        }
    }
    format!("{flips} flips\n")
}

/// Reads `door/secret` again and again; one `outcome: number` a line.
pub fn race(ms: u64) -> String {
    let Some((root, _)) = get_directories().into_iter().next() else {
        return "no preopen\n".into();
    };
    let mut outcomes = BTreeMap::<String, u64>::new();
    let end = now() + ms * 1_000_000;
    while now() < end {
        *outcomes.entry(read(&root, "door/secret")).or_default() += 1;
    }
    outcomes.into_iter().map(|(outcome, number)| format!("{outcome}: {number}\n")).collect()
}
