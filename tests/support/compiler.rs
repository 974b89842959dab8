//! The compiling child of a host, seen from outside and stopped in the middle of its work, so that a compile
//! is too slow on any machine.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::PATIENCE;

/// A child that compiles, confined and bounded, and stopped by SIGSTOP.
#[derive(Debug)]
pub struct Compiler {
    pid: u32,
    pidfd: OwnedFd,
}

impl Compiler {
    /// Waits for a compiling child of the process with this number, and stops it.
    ///
    /// # Panics
    /// When no child comes in time.
    #[track_caller]
    pub fn stopped(host: u32) -> Self {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            for pid in children(host) {
                if let Some(stopped) = Self::stop(pid) {
                    return stopped;
                }
            }
        }
        panic!("process {host} compiles nothing");
    }

    /// Stops `pid` if it has given up all other rights: from then on it compiles.
    fn stop(pid: u32) -> Option<Self> {
        let number = Pid::from_raw(pid.try_into().expect("a number of a process"))?;
        let pidfd = pidfd_open(number, PidfdFlags::empty()).ok()?;
        let compiler = Self { pid, pidfd };
        if !compiler.status("Seccomp:")?.ends_with('2') {
            return None;
        }
        compiler.signal(Signal::STOP);
        // A child that has just been killed still has a directory in /proc.
        (!compiler.has_ended()).then_some(compiler)
    }

    /// Sends it a signal. The child may have gone.
    pub fn signal(&self, signal: Signal) {
        pidfd_send_signal(&self.pidfd, signal).ok();
    }

    /// Whether it has ended, reaped or not.
    pub fn has_ended(&self) -> bool {
        self.status("State:").is_none_or(|state| state.contains('Z') || state.contains('X'))
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it does not end in time.
    #[track_caller]
    pub fn expect_end(&self) {
        let until = Instant::now() + PATIENCE;
        while !self.has_ended() {
            assert!(Instant::now() < until, "the compiler {} goes on", self.pid);
            std::thread::yield_now();
        }
    }

    /// A field of `/proc/PID/status`.
    pub fn status(&self, key: &str) -> Option<String> {
        let text = self.proc("status")?;
        text.lines().find(|line| line.starts_with(key)).map(str::to_owned)
    }

    /// A file of `/proc/PID`.
    pub fn proc(&self, name: &str) -> Option<String> {
        fs::read_to_string(PathBuf::from(format!("/proc/{}/{name}", self.pid))).ok()
    }
}

/// The children of `parent`.
fn children(parent: u32) -> Vec<u32> {
    let is_child = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name, which may have spaces in it: the state, then the parent.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        rest.split_ascii_whitespace().nth(1) == Some(&parent.to_string())
    };
    let entries = fs::read_dir("/proc").expect("there is /proc");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(is_child).collect()
}
