//! File descriptors of the process: guests get none of the last quarter, which connections, databases
//! and the host itself need. One guest with a directory could take all of them.

use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::LazyLock;

/// The most that the process may have open (`ulimit -n`). None if the system does not tell.
pub(crate) fn limit() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    line.split_ascii_whitespace().nth(3)?.parse().ok()
}

/// Tells how many are taken: the kernel gives the lowest number that is free.
struct Probe {
    file: File,
    /// The first number that is not for guests.
    reserved: RawFd,
}

static PROBE: LazyLock<Option<Probe>> = LazyLock::new(|| {
    let limit = limit()?;
    let reserved = RawFd::try_from(limit - limit / 4).unwrap_or(RawFd::MAX);
    Some(Probe { file: File::open("/dev/null").ok()?, reserved })
});

/// Whether a guest may have another one. Guests that ask in the same instant may get a few more.
pub(super) fn are_left() -> bool {
    let Some(probe) = &*PROBE else { return true };
    probe.file.try_clone().is_ok_and(|next| next.as_raw_fd() < probe.reserved)
}
