//! The memory of a host, as the kernel counts it.

use std::fs;

use super::host::Host;

/// The resident memory of `host` now, in KiB.
pub fn resident_kib(host: &Host) -> u64 {
    field(host, "VmRSS:")
}

/// The peak of a host's resident memory, from a moment on.
#[derive(Debug)]
pub struct Peak<'a> {
    host: &'a Host,
    before: u64,
}

impl<'a> Peak<'a> {
    /// The peak of `host` from now on. Memory that its start used for a while does not count (proc(5),
    /// `clear_refs`).
    pub fn begin(host: &'a Host) -> Self {
        fs::write(format!("/proc/{}/clear_refs", host.pid()), "5").expect("it runs as we do");
        Self { host, before: resident_kib(host) }
    }

    /// How far the peak is above the host's memory at the beginning, in KiB.
    pub fn grown_kib(&self) -> u64 {
        field(self.host, "VmHWM:").saturating_sub(self.before)
    }
}

/// A number in the status of its process.
fn field(host: &Host, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", host.pid())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with(name)).expect("the kernel tells it");
    line.split_ascii_whitespace().nth(1).expect("a number").parse().expect("a number")
}
